# SPDX-License-Identifier: Apache-2.0
"""Whatever comes from outside may be wrong: an error reports it, and everything else continues."""

import json
import os
import re
import signal
import subprocess

import pytest

from harness.channel import Channel
from harness.http_client import Exchange, Turn
from harness.process import BUILD, clean_env, wait_until

PLAIN = "Hello, world! Grüße 😀\nBye."


def still_fine(service):
    assert service.http.get("/").json()["status"] == "ready"
    turn = service.chat("[plain] hello")
    assert turn.whole and turn.text == PLAIN, turn.chunks


# ---- configuration -------------------------------------------------------------------------

CONFIGS = {
    "no libconfig": ("log = {\n  level = ;\n}\n", ":2: "),
    "unknown key": ("polling = {\n  intervall = 5;\n}\n", ":2: .*polling.intervall"),
    "wrong type": ('health = {\n  interval = "often";\n}\n', ":2: .*health.interval"),
    "out of range": ("local = {\n\n  port = 70000;\n}\n", ":3: .*local.port.*65535"),
    "an integer that wraps": ("http = {\n  body_limit = 5000000000;\n}\n", ":2: .*http.body_limit"),
}


def check_config(path):
    return subprocess.run([str(BUILD / "tt-agentd"), "-t", "--config", str(path)], capture_output=True, text=True,
                          env=clean_env(), timeout=60)


@pytest.mark.parametrize("fault", CONFIGS)
def test_a_wrong_file_is_refused_with_its_line(testbed, fault):
    text, pattern = CONFIGS[fault]
    file = testbed.directory / "wrong.conf"
    file.write_text(text)
    done = check_config(file)
    assert done.returncode == 1
    assert re.search(re.escape(str(file)) + pattern, done.stdout + done.stderr), done.stdout + done.stderr


def test_all_errors_are_reported_at_once(testbed):
    file = testbed.directory / "wrong.conf"
    file.write_text("local = { port = 0; };\nhealth = { interval = true; };\nnonsense = 1;\n")
    done = check_config(file)
    for line in (1, 2, 3):
        assert f"{file}:{line}: " in done.stdout + done.stderr, done.stdout + done.stderr


def test_a_wrong_variable_is_named(testbed):
    done = subprocess.run([str(BUILD / "tt-agentd"), "-t"], capture_output=True, text=True, timeout=60,
                          env=clean_env({"AGENT_HEALTH_CHECK_INTERVAL": "soon", "LOCAL_LLM_PORT": "0x50"}))
    assert done.returncode == 1
    for name in ("AGENT_HEALTH_CHECK_INTERVAL", "LOCAL_LLM_PORT"):
        assert name in done.stdout + done.stderr


def test_a_file_that_becomes_wrong_leaves_the_old_one_in_force(testbed):
    llm = testbed.llm()
    service = testbed.service(backend=testbed.backend({"d1": llm.deployment()}),
                            conf='selection = {\n  priority_models = [ "One" ];\n}\n').wait_ready()
    service.conf.write_text("selection = {\n  priority_models = 17;\n}\n")
    answer = service.http.post("/refresh_config").json()
    assert answer["status"] == "error" and answer["message"].startswith(f"{service.conf}:2: "), answer
    assert service.status()["configuration"]["priority_models"] == ["One"]
    service.daemon.send(signal.SIGHUP)
    service.daemon.wait_log(r"tt-agent\.conf:2: ")
    still_fine(service)
    service.conf.write_text('selection = {\n  priority_models = [ "Two" ];\n}\n')
    assert service.http.post("/refresh_config").json()["status"] == "success"
    service.wait_status(lambda s: s["configuration"]["priority_models"] == ["Two"], "the new configuration")


# ---- the backend's list --------------------------------------------------------------------

LISTS = {
    "no JSON": {"body": "<html>busy</html>"},
    "an array": {"body": "[1, 2]"},
    "500": {"status": 500},
    "cut": {"cut": 20},
    "silence": {"stall": True},
}


@pytest.mark.parametrize("fault", LISTS)
def test_a_bad_list_leaves_the_last_one_in_force(testbed, fault):
    llm = testbed.llm()
    backend = testbed.backend({"d1": llm.deployment()})
    service = testbed.service(backend=backend, env={"AGENT_DISCOVERY_INTERVAL": "0.2"},
                            sets=["discovery.timeout=0.5"]).wait_ready()
    deployed = {"d1": llm.deployment()}
    before = len(service.daemon.log())
    backend.script(deployed=deployed, **LISTS[fault])
    wait_until(lambda: re.search(r"WARN|ERROR", service.daemon.log()[before:]), "a complaint in the log")
    assert backend.host in service.daemon.log()[before:] or "discovery" in service.daemon.log()[before:]
    still_fine(service)


def test_a_malformed_entry_is_skipped_and_named(testbed):
    llm = testbed.llm()
    backend = testbed.backend({
        "good": llm.deployment(), "text": "nonsense", "empty": {}, "number": 5, "no-url": {"name": "x", "model_impl": {}},
        "bad-url": llm.deployment(internal_url="http://[:::/"), "null": None,
    })
    service = testbed.service(backend=backend).wait_ready()
    assert [m["deploy_id"] for m in service.status()["available_models"]] == ["good"]
    for name in ("text", "empty", "number", "no-url", "bad-url", "null"):
        assert re.search(rf"\b{name}\b", service.daemon.log()), name
    still_fine(service)


def test_a_huge_entry_harms_nothing(testbed):
    llm = testbed.llm()
    backend = testbed.backend({"d1": llm.deployment()}, huge=30000000)
    service = testbed.service(backend=backend, env={"AGENT_LLM_POLLING_INTERVAL": "0.2"})
    backend.wait_request("/models/deployed/")
    backend.deploy(d1=llm.deployment())
    service.wait_ready()
    still_fine(service)


# ---- /health -------------------------------------------------------------------------------

HEALTHS = {
    "unhealthy with 200": {"health_body": '{"status":"unhealthy"}'},
    "500": {"health_status": 500},
    "loading": {"health_status": 503,
                "health_body": '{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}'},
    "silence": {"health_delay_us": 60000000},
}


@pytest.mark.parametrize("fault", HEALTHS)
def test_a_bad_health_answer_counts_for_its_model_alone(testbed, fault):
    good, bad = testbed.llm(), testbed.llm(**HEALTHS[fault])
    backend = testbed.backend({"bad": bad.deployment("Llama-3.2-1B-Instruct"), "good": good.deployment("Other")})
    service = testbed.service(backend=backend, env={"AGENT_HEALTH_CHECK_TIMEOUT": "0.5"}).wait_ready()
    status = service.wait_status(lambda s: s["available_models"][0]["status"] == "unhealthy", "unhealthy")
    assert status["available_models"][1]["is_current"]
    still_fine(service)


@pytest.mark.parametrize("body", ["{}", "gibberish", "[]", '"ok"', '{"status": 7}', "\x01\x02"])
def test_an_odd_health_body_with_200_is_healthy(testbed, body):
    service, _ = testbed.one(script={"health_body": body})
    assert service.status()["available_models"][0]["status"] == "healthy"


# ---- events, request bodies ----------------------------------------------------------------

EVENTS = ["{", "null", "[]", '{"choices": 5}', '{"choices": [{"delta": {"content": 7}}]}', '{"choices":[{"delta":null}]}',
          '{"choices":[{"delta":{"content":"\\ud800"}}]}', "{" * 5000, '{"usage": {"completion_tokens": "x"}}']


@pytest.fixture(scope="module")
def one(shared):
    return shared.one(sets=["http.body_limit=65536"])


@pytest.mark.parametrize("event", EVENTS, ids=range(len(EVENTS)))
def test_one_bad_event_loses_no_other(one, event):
    turn = one[0].chat("[[" + json.dumps({"bad_after": 3, "bad_event": event}) + "]]")
    assert turn.whole and turn.text.replace("\ufffd", "") == PLAIN, turn.chunks


BODIES = {
    "nothing": (b"", 422), "no JSON": (b"{", 422), "invalid UTF-8": (b'{"message":"\xff","thread_id":"t"}', 422),
    "NUL": (b'{"message":"\x00","thread_id":"t"}', 422), "an array": (b"[]", 422),
    "deep": (b"[" * 30000, 422), "a number": (b"1", 422),
    "null": (b'{"message":null,"thread_id":null}', 422),
}


@pytest.mark.parametrize("fault", BODIES)
def test_a_bad_body_is_422_and_says_why(one, fault):
    body, status = BODIES[fault]
    answer = one[0].http.post("/poll_requests", content=body)
    assert answer.status_code == status
    detail = answer.json()["detail"]
    assert detail and all({"type", "loc", "msg"} <= set(d) for d in detail)


def test_a_body_that_is_only_odd_is_a_turn(one):
    """Unknown keys are not checked; NUL is one of the message's characters."""
    service, llm = one
    body = b'{"message":"a\\u0000b","thread_id":"odd","n":[99999999999999999999,"\\u0000"]}'
    assert Turn(Exchange(service.host, "POST", "/poll_requests", body)).whole
    assert service.chat("[plain]", "odd").text == PLAIN
    said = [m["content"] for m in llm.chats()[-1]["body"]["messages"] if m["role"] == "user"]
    assert said == ["a\ufffdb", "[plain]"]


def test_a_body_over_the_limit_is_refused_in_a_sentence(one):
    turn = one[0].chat("x" * 100000)
    assert turn.status == 200 and turn.whole
    assert re.fullmatch(r"[A-Z][^\n]+\.", turn.text), turn.text
    still_fine(one[0])


# ---- the command socket --------------------------------------------------------------------

LINES = {
    "no JSON": b"hello\n",
    "no object": b"[1]\n",
    "no version": b'{"id":1,"command":"ping"}\n',
    "another version": b'{"v":99,"id":1,"command":"ping"}\n',
    "unknown command": b'{"v":1,"id":1,"command":"explode"}\n',
    "no command": b'{"v":1,"id":1}\n',
    "wrong argument": b'{"v":1,"id":1,"command":"select","args":{"deploy_id":7}}\n',
    "missing argument": b'{"v":1,"id":1,"command":"select"}\n',
    "args no object": b'{"v":1,"id":1,"command":"ping","args":5}\n',
    "invalid UTF-8": b'{"v":1,"id":1,"command":"\xff"}\n',
    "too long": b'{"v":1,"id":1,"command":"' + b"x" * 200000 + b'"}\n',
}


@pytest.mark.parametrize("fault", LINES)
def test_a_bad_command_line_is_answered_with_what_is_wrong(one, fault):
    with Channel(one[0].run) as channel:
        try:
            channel.raw(LINES[fault])
        except (BrokenPipeError, ConnectionResetError):
            pass  # refused and closed before all of it was sent
        answer = channel.receive()
        assert answer and answer["ok"] is False and answer["error"], answer
    with Channel(one[0].run) as channel:
        assert channel.command("ping")["ok"]


def test_peers_that_say_half_a_line_or_nothing_cost_nothing(one):
    channels = [Channel(one[0].run) for _ in range(50)]
    for i, channel in enumerate(channels):
        if i % 2:
            channel.raw(b'{"v":1,"id":1,"comm')
    with Channel(one[0].run) as channel:
        assert channel.command("ping")["ok"]
    for channel in channels:
        channel.close()
    still_fine(one[0])


# ---- the status file -----------------------------------------------------------------------


def damage_garbage(file):
    return os.urandom(4096)


def damage_empty(file):
    return b""


def damage_cut(file):
    return file[: len(file) // 2]


def damage_flipped(file):
    return file[:64] + bytes(b ^ 0xFF for b in file[64:256]) + file[256:]


def damage_foreign(file):
    return b"SQLite format 3\x00" + bytes(4000)


DAMAGES = [damage_garbage, damage_empty, damage_cut, damage_flipped, damage_foreign]


def spoil(service, damage):
    """Puts a damaged file in the place of the status file; its inode."""
    file = service.run / "status.v3"
    new = file.with_name("damaged")
    new.write_bytes(damage(file.read_bytes()))
    inode = new.stat().st_ino
    new.rename(file)
    return inode


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_status_file_leaves_the_last_state_in_force(testbed, damage):
    service, _ = testbed.one()
    service.daemon.send(signal.SIGSTOP)  # it would repair the file
    before = len(service.responder.log())
    spoil(service, damage)
    wait_until(lambda: "status.v3" in service.responder.log()[before:], "the responder names the file")
    still_fine(service)
    service.daemon.send(signal.SIGCONT)
    wait_until(lambda: "status_fresh" in service.responder.log()[before:], "the file is repaired")
    still_fine(service)


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_daemon_repairs_a_damaged_status_file(testbed, damage):
    service, _ = testbed.one()
    inode = spoil(service, damage)
    wait_until(lambda: (service.run / "status.v3").stat().st_ino != inode, "the file is written again")
    still_fine(service)


def test_a_status_file_that_is_gone_is_written_again(testbed):
    service, _ = testbed.one()
    (service.run / "status.v3").unlink()
    still_fine(service)
    wait_until((service.run / "status.v3").exists, "the file is there again")
    still_fine(service)


# ---- ids of models ------------------------------------------------------------------------


@pytest.mark.parametrize("query, id", [("deploy_id=", ""), ("deploy_id=d1&deploy_id=nope", "nope"), ("x&deploy_id=nope", "nope"),
                                       ("deploy_id=%ff", "?")])
def test_odd_model_ids_are_not_found(one, query, id):
    service, _ = one
    answer = service.http.post(f"/select_model?{query}")
    assert answer.status_code == 200
    assert answer.json()["message"] == f"Model with deploy_id {id} not found" and answer.json()["available_models"]
    assert service.http.post("/select_model?deploy_id=nope&deploy_id=d1").json()["status"] == "success"

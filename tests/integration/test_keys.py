# SPDX-License-Identifier: Apache-2.0
"""Who may use the service, by API keys, and how much."""

import json
import os
import threading
import time

import pytest
from harness import fastcgi
from harness.http_client import Exchange, Turn
from harness.llm_script import said, words
from harness.process import PATIENCE, wait_until

THREAD = "keys-of-a-thread"


def keyed_service(testbed, *settings, script=None, **more):
    """(service, llm) that wants keys, and its file of keys."""
    sets = ["access.require=all", f"access.keys_file={testbed.directory}/keys.jsonl", "http.strict_status=true", *settings]
    return testbed.one({"text": ["yes"], **(script or {})}, sets=sets, **more)


@pytest.fixture(scope="module")
def keyed(shared):
    """A service with a key alice that reads only."""
    sets = ["access.require=all", f"access.keys_file={shared.directory}/keys.jsonl"]
    llm = shared.llm(text=["yes"])
    service = shared.service(backend=shared.backend({"d1": llm.deployment()}), sets=sets, workers=2)
    wait_until(lambda: service.http.get("/").json().get("status") == "ready", "ready")
    return service, llm, create(service, "alice")


def create(service, name, *fields):
    """The key's text, as soon as all workers know it."""
    key = service.ctl("keys", "create", name, *fields)["key"]
    service.secrets.append(key)
    known(service, key)
    return key


def get(service, key=None, path="/status", host=None, **headers):
    if key:
        headers["Authorization"] = f"Bearer {key}"
    x = Exchange(host or service.host, "GET", path, headers=headers)
    x.head()
    x.body = x.read()
    x.close()
    return x


def known(service, key, status=200):
    """Every worker answers the key with this status: it looks at the file several times a second, but not each may be asked."""
    deadline = time.monotonic() + 10 * PATIENCE
    seen, since = 0, time.monotonic()
    while seen < 8 * service.workers or time.monotonic() < since + 0.4:
        assert time.monotonic() < deadline, f"not {status} for the key"
        if get(service, key).status == status:
            seen += 1
        else:
            seen, since = 0, time.monotonic()


def ask(service, key, message, thread=THREAD, **more):
    return service.ask(message, thread, headers={"Authorization": f"Bearer {key}"} if key else None, **more)


# ---- who ------------------------------------------------------------------------------------------------


def test_without_the_setting_nobody_needs_a_key(testbed):
    service, _ = testbed.one({"text": ["yes"]})
    for headers in {}, {"Authorization": "Bearer nonsense"}, {"X-Api-Key": "nonsense"}, {"Authorization": "Basic YTpi"}:
        assert get(service, **headers).status == 200
        assert Turn(service.ask("hello", THREAD, headers=headers)).whole


@pytest.mark.parametrize("server", ["nginx", "lighttpd", "apache"])
def test_requests_need_a_key(keyed, server):
    service, llm, key = keyed
    host = service.host_of(server)
    for method, path in ("GET", "/status"), ("POST", "/poll_requests"), ("POST", "/refresh"), ("GET", "/test_llm"):
        x = Exchange(host, method, path, {"message": "hello", "thread_id": THREAD} if method == "POST" else None)
        x.head()
        assert x.status == 401
        assert x.headers["www-authenticate"] == "Bearer"
        assert json.loads(x.read())["detail"].startswith("This service needs an API key")
        x.close()
    assert get(service, host=host, path="/").status == 200
    for headers in [{"Authorization": f"Bearer {key}"}, {"Authorization": f"bearer   {key} "}, {"X-Api-Key": key}, {"Api-Key": key},
                    {"Authorization": "Basic YTpi", "X-Api-Key": key}, {"Authorization": "Bearer other", "X-Api-Key": key},
                    {"Authorization": f"Bearer {key}", "X-Api-Key": "other"}]:
        assert get(service, host=host, **headers).status == 200, headers
        assert Turn(service.ask("hello", THREAD, host, headers=headers)).whole


def forged(key):
    return ["", " ", ".", "..", "a.b.c", "tta_", key[:-1], key + "x", key.upper(), key.swapcase(), key[4:], f"{key} {key}", f'"{key}"',
            f"{key},", "tta_" + "A" * 43, "A" * 6000, "\xff\xfe", "ä" * 40, "%s%n", "null", key + "=", "Bearer " + key,
            "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.YQ"]


def test_no_other_text_is_a_key(keyed):
    service, llm, key = keyed
    before = len(llm.chats())
    for text in forged(key):
        value = text.encode("latin-1", errors="replace").decode("latin-1")
        for name in "HTTP_AUTHORIZATION", "HTTP_X_API_KEY", "HTTP_API_KEY":
            given = f"Bearer {value}" if name == "HTTP_AUTHORIZATION" else value
            head, body = fastcgi.ask(service.socket, "POST", "/poll_requests", b'{"message":"x","thread_id":"t"}', **{name: given})
            assert "401" in head.split("\n")[0], (name, text)
            assert key not in head + body.decode()
    for scheme in key, f"Basic {key}", f"Bearer{key}", f"Token {key}", f"Bearer\n{key}":
        assert "401" in fastcgi.ask(service.socket, "GET", "/status", HTTP_AUTHORIZATION=scheme)[0]
    assert len(llm.chats()) == before


def test_whom_the_web_server_authenticates_needs_no_key(keyed):
    service, _, key = keyed
    turn = b'{"message":"hello","thread_id":"t"}'
    for params in {"REMOTE_USER": "ann"}, {"REMOTE_USER": "ann", "HTTP_AUTHORIZATION": "Basic YTpi"}, {
            "REMOTE_USER": "ann", "HTTP_AUTHORIZATION": "Bearer of-the-web-servers-own"}:
        assert b"[STATS]" in fastcgi.ask(service.socket, "POST", "/poll_requests", turn, **params)[1]
    for params in {"REMOTE_USER": ""}, {"HTTP_REMOTE_USER": "ann"}, {"HTTP_X_USER": "ann"}:
        assert "401" in fastcgi.ask(service.socket, "POST", "/poll_requests", turn, **params)[0]


def test_a_page_of_another_site_may_do_nothing_with_a_key(keyed):
    service, _, key = keyed
    assert get(service, key, Origin="http://evil.example").status == 403


def test_each_key_has_conversations_of_its_own(testbed):
    service, llm = keyed_service(testbed)
    own, shared_1, shared_2 = create(service, "own"), create(service, "s1", "subject=ann"), create(service, "s2", "subject=ann")
    for key, word in (own, "first"), (shared_1, "second"), (shared_2, "third"):
        assert Turn(ask(service, key, word)).whole
    heard = [[m["content"] for m in r["body"]["messages"] if m["role"] == "user"] for r in llm.chats()[-3:]]
    assert heard == [["first"], ["second"], ["second", "third"]]
    fastcgi.ask(service.socket, "POST", "/poll_requests", json.dumps({"message": "fourth", "thread_id": THREAD}).encode(), REMOTE_USER="ann")
    assert [m["content"] for m in llm.chats()[-1]["body"]["messages"] if m["role"] == "user"] == ["second", "third", "fourth"]


def test_a_key_of_an_administrator_may_what_the_web_server_allows_administrators(keyed):
    service, _, key = keyed
    admin = create(service, "root", "admin=true")
    for text, status in (key, "403"), (admin, "200"):
        head, body = fastcgi.ask(service.socket, "POST", "/refresh", TT_AGENT_ADMIN="", HTTP_AUTHORIZATION=f"Bearer {text}")
        assert (status in head.split("\n")[0]) if status != "200" else "Status" not in head, (head, body)
    service.ctl("keys", "delete", "root")


# ---- the file ---------------------------------------------------------------------------------------------


def test_changes_of_keys_are_in_force_without_a_reload_and_without_the_daemon(testbed):
    service, _ = keyed_service(testbed, workers=2)
    service.daemon.stop()
    service.daemon.expected_exit = {0}
    key = create(service, "ann", "expires=90d", "models=llama-*,qwen*", "requests=600")
    listed = service.ctl("keys", "list")["keys"][0]
    assert (listed["id"], listed["models"], listed["requests_per_minute"]) == ("ann", ["llama-*", "qwen*"], 600)
    assert "sha256" not in json.dumps(listed) and key not in json.dumps(listed)
    newer = service.ctl("keys", "rotate", "ann", "1h")["key"]
    known(service, newer)
    known(service, key)
    newest = service.ctl("keys", "rotate", "ann")["key"]
    known(service, newest)
    known(service, newer, 401)
    known(service, key, 401)
    service.ctl("keys", "revoke", "ann")
    known(service, newest, 401)
    assert "revoked" in json.loads(get(service, newest).body)["detail"]
    assert service.ctl("keys", "rotate", "ann", ok=False).returncode == 1
    expired = create(service, "bob", "expires=3s")
    known(service, expired, 401)
    service.ctl("keys", "delete", "ann")
    assert [k["id"] for k in service.ctl("keys", "list")["keys"]] == ["bob"]
    service.secrets += [newer, newest]


def test_a_wrong_command_changes_nothing(testbed):
    service, _ = keyed_service(testbed)
    service.ctl("keys", "create", "ann")
    before = (testbed.directory / "keys.jsonl").read_text()
    for words_ in (["create", "ann"], ["create", "a b"], ["create", "x" * 65], ["create", "bob", "budget=3"], ["create", "bob", "requests=many"],
                   ["create", "bob", "requests=-1"], ["create", "bob", "priority=urgent"], ["create", "bob", "expires=tomorrow"],
                   ["create", "bob", "subject="], ["create", "bob", "admin=yes"], ["create", "bob", "requests"], ["rotate", "carl"],
                   ["rotate", "ann", "soon"], ["revoke", "carl"], ["revoke", "ann", "later"], ["delete", "carl"], ["create"]):
        done = service.ctl("keys", *words_, ok=False)
        assert done.returncode in (1, 2), (words_, done)
        assert json.loads(done.stdout or done.stderr), words_
    assert (testbed.directory / "keys.jsonl").read_text() == before


def test_a_damaged_file_costs_no_key_that_is_in_it(testbed):
    service, _ = keyed_service(testbed)
    key = create(service, "ann")
    file = testbed.directory / "keys.jsonl"
    good = file.read_text()
    file.write_text('{"id":"x\n\0\xff nonsense\n' + good)
    service.responder.wait_log("keys .*line 1")
    known(service, key)
    os.chmod(file, 0o666)
    service.responder.wait_log("keys .*chmod 640")
    known(service, key)  # the last that could be read
    os.chmod(file, 0o640)
    file.write_text(good.replace('"id":"ann"', '"id":"ann","unknown":1'))
    known(service, key, 401)
    file.unlink()
    known(service, key, 401)


# ---- running answers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("now", [True, False])
def test_a_revoked_key_ends_running_answers_if_the_admin_wants_that(testbed, now):
    service, llm = keyed_service(testbed)
    key = create(service, "ann")
    x = ask(service, key, words(40, stall_after=10) if now else words(30, delay_us=100000))
    chunks = x.chunks()
    text = next(chunks).decode()
    service.ctl("keys", "revoke", "ann", *(["now"] if now else []))
    known(service, key, 401)
    for chunk in chunks:
        text += chunk.decode()
    if now:
        assert text.split("[STATS]")[0].endswith("its API key was revoked."), text
        assert text.startswith(said(3))
    else:
        assert text.startswith(said(30)) and "revoked" not in text
    assert "[STATS]" in text
    x.close()


# ---- how much -----------------------------------------------------------------------------------------------


def at_once(service, key, count, message="hello"):
    """Statuses of so many turns that begin at the same time."""
    answers = []

    def run(n):
        x = ask(service, key, message, f"thread-{n}-of-many")
        x.head()
        answers.append((x.status, x.headers, x.read()))
        x.close()

    threads = [threading.Thread(target=run, args=(n,)) for n in range(count)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return answers


def test_as_many_requests_pass_as_the_limit_says(testbed):
    service, _ = keyed_service(testbed, workers=4)
    key, other = create(service, "ann", "requests=12"), create(service, "bob")  # one more every 5 seconds
    began = time.monotonic()
    answers = at_once(service, key, 60)
    more = int((time.monotonic() - began) / 5)
    passed = [headers for status, headers, _ in answers if status == 200]
    assert 12 <= len(passed) <= 12 + more
    assert sorted(int(h["x-ratelimit-remaining-requests"]) for h in passed)[-12:] == list(range(12))
    for status, headers, body in answers:
        assert status in (200, 429)
        assert headers["x-ratelimit-limit-requests"] == "12"
        if status == 429:
            assert 1 <= int(headers["retry-after"]) <= 5
            assert "12 requests per minute" in json.loads(body)["detail"]
    assert {status for status, _, _ in at_once(service, other, 5)} == {200}


def test_limits_hold_over_a_restart_of_the_responder(testbed):
    service, _ = keyed_service(testbed, "access.requests_per_minute=2")
    key = create(service, "ann")
    assert [Turn(ask(service, key, "hello")).status for _ in range(2)] == [200, 200]
    service.responder.send(1)
    service.responder.wait_log("old_workers_draining")
    x = ask(service, key, "hello")
    assert x.head().status == 429
    x.close()


def test_so_many_turns_of_a_key_run_at_once(testbed):
    service, llm = keyed_service(testbed, workers=2)
    key = create(service, "ann", "turns=3")
    running = [ask(service, key, words(3, stall_after=1)) for _ in range(3)]
    for x in running:
        next(x.chunks())
    assert {status for status, _, _ in at_once(service, key, 8)} == {429}
    running[0].close()
    wait_until(lambda: ask_status(service, key) == 200, "one has ended")
    os.kill(service.worker_pids()[0], 9)  # what a dead worker held is free, except for what another one resumes
    service.responder.expected_exit = {0}
    for x in running[1:]:
        x.close()
    wait_until(lambda: [status for status, _, _ in at_once(service, key, 3)] == [200] * 3, "all have ended")


def ask_status(service, key):
    x = ask(service, key, "hello")
    status = x.head().status
    x.close()
    return status


def test_all_clients_together_have_a_limit(testbed):
    service, _ = testbed.one({"text": ["yes"]}, sets=["limits.requests_per_minute=6", "http.strict_status=true"], workers=2)
    began = time.monotonic()
    statuses = [status for status, _, _ in at_once(service, None, 20)]
    assert 6 <= statuses.count(200) <= 6 + int((time.monotonic() - began) / 10)


def test_tt_studio_is_told_of_a_limit_in_words(testbed):
    service, _ = testbed.one({"text": ["yes"]}, sets=["limits.requests_per_minute=1"])
    assert service.chat("hello").answer == "yes"
    turn = service.chat("hello")
    assert turn.status == 200 and turn.whole and "1 requests per minute" in turn.text


# ---- what they may use ---------------------------------------------------------------------------------------


def test_a_key_uses_only_the_models_and_tools_that_it_may(testbed):
    a, b = testbed.llm(text=["from Llama"]), testbed.llm(text=["from Qwen"])
    backend = testbed.backend({"d1": a.deployment(), "d2": b.deployment("Qwen3-8B", name="c-d2")})
    service = testbed.service(backend=backend, sets=["access.require=all", f"access.keys_file={testbed.directory}/keys.jsonl"])
    wait_until(lambda: service.http.get("/").json().get("status") == "ready", "ready")
    keys = {name: create(service, name, *fields) for name, fields in {
        "all": [], "qwen": ["models=Qwen*,gpt*"], "none": ["models=gpt*"], "mute": ["tools="], "search": ["tools=web_*,tavily*"],
        "code": ["tools=document_*,code_*"]}.items()}
    wait_until(lambda: len(json.loads(get(service, keys["all"]).body)["available_models"]) == 2, "two models")
    wait_until(lambda: Turn(ask(service, keys["qwen"], "hello")).answer == "from Qwen", "the other LLM is known")
    assert Turn(ask(service, keys["all"], "hello")).answer == "from Llama"
    a.script(status=500)  # the key's model is down: no other one takes over
    b.script(status=500)
    refused = Turn(ask(service, keys["none"], "hello"))
    assert refused.whole and "may not use any of the models" in refused.text
    a.script(status=200, text=["yes"])
    b.forget()
    assert "yes" not in Turn(ask(service, keys["qwen"], "hello")).text
    a.forget()
    for name in "all", "mute", "search":
        assert Turn(ask(service, keys[name], "hello")).answer == "yes"
    # A model that calls a tool although it was not offered runs nothing.
    a.script(rounds=[{"calls": [{"id": "c1", "name": "tavily_search_results_json", "arguments": "{\"query\": \"x\"}"}], "force_calls": True},
                     {"text": ["done"]}])
    for name in "mute", "code":
        assert "Searching" not in Turn(ask(service, keys[name], "hello", f"calls-of-{name}")).text
    offered = [[t["function"]["name"] for t in r["body"].get("tools", [])] for r in a.chats()]
    assert len(offered[0]) >= 1 and offered[1] == [] and offered[2] == [n for n in offered[0] if n.startswith("tavily")]

# SPDX-License-Identifier: Apache-2.0
"""The code interpreter through nginx, in E2B's sandboxes (a mock)."""

import json
import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.http_client import Exchange, Turn
from harness.process import PATIENCE, wait_until
from harness.tool_mocks import CODE, call, calls, e2b, e2b_env, rounds

PLAIN = "Hello, world! Grüße 😀\nBye."
RAN = "<think>Running code\nDone.\n</think>" + PLAIN


class World:
    def __init__(self, testbed, *sets, **more):
        self.e2b = e2b(testbed)
        self.service, self.llm = testbed.one(
            env={**e2b_env(self.e2b), "TAVILY_API_KEY": None}, sets=["code.timeout=2", *sets], **more)

    def fresh(self):
        self.e2b.script()
        self.e2b.forget()
        self.llm.forget()
        return self

    def run(self, *codes, thread_id=None):
        """One turn that runs these codes in one answer; what the LLM is sent as the result of each."""
        turn = self.service.chat(rounds(calls(*(call(CODE, id=f"c{i}", code=c) for i, c in enumerate(codes)))), thread_id)
        assert turn.whole and turn.answer == PLAIN, turn.chunks
        return turn, [m["content"] for m in self.llm.chats()[-1]["body"]["messages"][-len(codes):]]


    def run_alone(self, code, thread_id):
        turn = self.service.chat(rounds(calls(call(CODE, code=code))), thread_id)
        return turn, turn.text == RAN


@pytest.fixture(scope="module")
def made(shared):
    return World(shared)


@pytest.fixture
def world(made):
    return made.fresh()


def test_code_is_run_in_a_sandbox_of_its_thread(world):
    turn, contents = world.run("print(1)", thread_id="code-one")
    assert turn.text == RAN and contents == ["Output:\nran\n"]
    create, execute = world.e2b.requests("/sandboxes")[0], world.e2b.requests("/execute")[0]
    assert create["headers"]["x-api-key"] == "e2b-test-key"
    assert create["body"] == {"templateID": "code-interpreter-v1", "timeout": 303, "secure": True,
                              "allow_internet_access": False}
    headers = execute["headers"]
    id = headers["e2b-sandbox-id"]
    assert headers["x-access-token"] == f"access-{id}" and headers["e2b-sandbox-port"] == "49999"
    assert headers["e2b-traffic-access-token"] == "traffic-token"
    assert execute["body"] == {"code": "print(1)", "context_id": None, "language": None, "env_vars": None}
    # Used again by the same thread, extended after each use, never shared with another.
    world.run("print(2)", thread_id="code-one")
    world.run("print(3)", thread_id="code-two")
    ids = [r["headers"]["e2b-sandbox-id"] for r in world.e2b.requests("/execute")]
    assert ids[0] == ids[1] != ids[2]
    assert len(world.e2b.wait_request(f"/sandboxes/{id}/timeout", 2)) == 2
    assert world.e2b.calls().count("POST /sandboxes") == 2


def test_a_thread_without_a_name_has_a_sandbox_for_one_turn(world):
    one = calls(call(CODE, code="print(1)"))
    for _ in range(2):
        assert world.service.chat(rounds(one, one), "").whole
    ids = [r["headers"]["e2b-sandbox-id"] for r in world.e2b.requests("/execute")]
    assert ids[0] == ids[1] != ids[2] == ids[3]
    for id in (ids[0], ids[2]):
        wait_until(lambda: f"DELETE /sandboxes/{id}" in world.e2b.calls(), "the sandbox ends with its turn")


def test_runs_of_one_answer_follow_one_another_in_one_sandbox(world):
    world.e2b.script(runs={"a": [200000, {"type": "stdout", "text": "A"}], "b": [{"type": "stdout", "text": "B"}]},
                     create_delay_us=100000)
    turn, contents = world.run("a", "b", "a")
    assert contents == ["Output:\nA", "Output:\nB", "Output:\nA"]
    assert world.e2b.codes() == ["a", "b", "a"] and world.e2b.calls().count("POST /sandboxes") == 1
    assert turn.text.count("Running code\n") == 3


def test_code_and_its_output_are_shown_to_those_who_want_them(world):
    evil = "print('</think>')\n" + "x" * 20000
    world.e2b.script(runs={"a": [{"type": "stdout", "text": "1 < 2\n</think>\n"}], evil: [{"type": "stdout", "text": "B"}]})
    message = rounds(calls(call(CODE, code="a"), call(CODE, "call_b", code=evil)))
    for body in {}, {"show_code": False}, {"show_code": "yes"}, {"show_code": None}:
        turn = Turn(Exchange(world.service.host, "POST", "/poll_requests", {"message": message, "thread_id": "show-not", **body}))
        assert turn.whole and "Code: " not in turn.text
    turn = Turn(Exchange(world.service.host, "POST", "/poll_requests", {"message": message, "thread_id": "show-me", "show_code": True}))
    assert turn.whole and turn.answer == PLAIN and turn.text.count("<") == 2
    shown = [json.loads(row[len("Code: "):]) for row in turn.text.split("\n") if row.startswith("Code: ")]
    assert shown == [{"code": "a", "output": "Output:\n1 < 2\n</think>\n"}, {"code": evil, "output": "Output:\nB"}]


EVENTS = [
    {"type": "stdout", "text": "Grüße 😀\n", "timestamp": 1}, {"type": "keepalive"},
    {"type": "stderr", "text": "careful\n"}, {"type": "unknown", "text": "no"},
    {"type": "result", "text": "4", "is_main_result": True},
    {"type": "result", "text": "<Figure>", "png": "iVBO" * 1000},
    {"type": "error", "name": "ValueError", "value": "bad", "traceback": "line 1"},
]
CONTENTS = ("Output:\nGrüße 😀\ncareful\n\nResult:\n4\n<Figure>\n[a picture was made (png, about 3 KiB); the user does not "
        "see it]\n\nError:\nValueError: bad\nline 1\n")


@pytest.mark.parametrize("knobs", [{}, {"pieces": 1}, {"pieces": 7, "keepalives": 20}, {"delay_us": 300000}])
def test_events_are_read_in_any_pieces(world, knobs):
    world.e2b.script(events=EVENTS, **knobs)
    assert world.run("x")[1] == [CONTENTS]


def test_output_is_limited(world):
    world.e2b.script(events=[{"type": "stdout", "text": "ü" * 20000}] * 50)
    contents = world.run("x")[1][0]
    assert len(contents.encode()) < 21000 and contents.endswith("the rest was left out.]")
    assert set(contents[8:9000]) == {"ü"}


def test_lines_that_are_no_events_are_passed_over(world):
    world.e2b.script(events=["garbage\n", "[]\n", "7\n", "\n\n", "{\"type\":7}\n", {"type": "stdout", "text": "ok"}])
    assert world.run("x")[1] == ["Output:\nok"]


def test_a_sandbox_that_vanished_is_made_again_once(world):
    world.run("first", thread_id="code-gone")
    world.e2b.script(vanish=1)
    world.e2b.forget()
    assert world.run("again", thread_id="code-gone")[1] == ["Output:\nran\n"]
    assert world.e2b.calls()[:3] == ["POST /execute", "POST /sandboxes", "POST /execute"]


def test_a_sandbox_that_vanishes_again_is_reported(world):
    world.e2b.script(vanish=5)
    contents = world.run("x", thread_id="code-gone-twice")[1][0]
    assert re.match(r"Error: the code was not run to its end \(.*502", contents), contents
    assert world.e2b.calls().count("POST /execute") == 2
    world.e2b.script()
    assert world.run("x", thread_id="code-gone-twice")[1] == ["Output:\nran\n"]


def test_code_that_did_something_is_not_run_twice(world):
    world.e2b.script(events=[{"type": "stdout", "text": "half"}], cut=True)
    contents = world.run("x")[1][0]
    assert contents.startswith("Error: the code was not run to its end") and "half" in contents
    assert world.e2b.calls().count("POST /execute") == 1


FAULTS = {
    "no key": ({"create_status": 401}, "HTTP 401, scripted"),
    "too many": ({"create_status": 429}, "HTTP 429"),
    "broken": ({"create_status": 500}, "HTTP 500"),
    "no JSON": ({"create_body": "oops"}, "sandboxID"),
    "hostile id": ({"create_body": json.dumps({"sandboxID": "a/../b\r\nX: y"})}, "sandboxID"),
    "execute fails": ({"execute_status": 500}, "HTTP 500"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_failing_service_is_reported_to_the_model(world, fault):
    knobs, why = FAULTS[fault]
    world.e2b.script(**knobs)
    contents = world.run("x", "y")[1]
    assert all(t.startswith("Error: the code was not run to its end") and why in t for t in contents), contents


def test_code_that_runs_too_long_is_stopped(world):
    world.e2b.script(events=[{"type": "stdout", "text": "tick"}], stall=True)
    began = time.monotonic()
    contents = world.run("x")[1][0]
    assert "ran longer than is allowed" in contents and "tick" in contents
    assert 1.9 < time.monotonic() - began < 4 and world.e2b.stats()["active"] == 0


def test_a_client_that_leaves_interrupts_the_code_and_the_sandbox_stays(world):
    world.e2b.script(stall=True)
    message = rounds(calls(call(CODE, id="c0", code="x"), call(CODE, id="c1", code="y")))
    exchange = world.service.ask(message, "code-leaving")
    world.e2b.wait_request("/execute")
    before = world.e2b.stats()["cancelled"]
    exchange.reset()
    wait_until(lambda: world.e2b.stats()["cancelled"] == before + 1, "the code's connection closed", 5)
    world.e2b.script()
    world.run("z", thread_id="code-leaving")
    assert world.e2b.codes() == ["x", "z"] and world.e2b.calls().count("POST /sandboxes") == 1


def test_a_client_that_leaves_while_the_sandbox_is_made_wastes_none(world):
    world.e2b.script(create_delay_us=300000)
    exchange = world.service.ask(rounds(calls(call(CODE, code="x"))), "code-early")
    world.e2b.wait_request("/sandboxes")
    exchange.reset()
    wait_until(lambda: world.e2b.stats()["active"] == 0, "the sandbox made", 5)
    world.run("y", thread_id="code-early")
    assert world.e2b.codes() == ["y"] and world.e2b.calls().count("POST /sandboxes") == 1


def test_proxies_are_kept_awake_while_code_runs(testbed):
    world = World(testbed, "code.timeout=30")
    world.e2b.script(delay_us=10500000)
    turn, _ = world.run("x")
    assert turn.text == "<think>Running code\n\nDone.\n</think>" + PLAIN
    assert "\n" in turn.chunks  # chunks of whitespace are shown by neither of TT-Studio's readers


def test_idle_sandboxes_are_ended(testbed):
    world = World(testbed, "code.idle=1")
    world.run("x", thread_id="a")
    world.run("x", thread_id="b")
    ids = {r["headers"]["e2b-sandbox-id"] for r in world.e2b.requests("/execute")}
    ended = lambda: {r["path"].split("/")[2] for r in world.e2b.requests() if r["method"] == "DELETE"}
    wait_until(lambda: ended() == ids, "both sandboxes ended", 4)
    assert world.run("x", thread_id="a")[1] == ["Output:\nran\n"]


def test_a_short_ids_sandbox_ends_with_the_run_of_the_service(testbed):
    world = World(testbed, workers=2)
    made = lambda: world.e2b.calls().count("POST /sandboxes")
    world.run("secret = 1", thread_id="7")
    world.service.responder.send(signal.SIGHUP)  # its new workers are the same service
    world.service.responder.wait_log("(?s)(worker_started.*){4}")
    for _ in range(4):
        world.run("x", thread_id="7")
    assert made() == 1
    world.service.responder.stop()
    world.service.start_responder()
    wait_until(world.service.answers, "the new responder")
    world.run("x", thread_id="7")  # another browser counts from 0 as well
    assert made() == 2


def test_a_sandbox_is_forgotten_with_its_conversation(testbed):
    world = World(testbed, "code.idle=60", "threads.short_id_idle=0.3")
    ids = lambda: [r["headers"]["e2b-sandbox-id"] for r in world.e2b.requests("/execute")]
    ended = lambda: [r["path"].split("/")[2] for r in world.e2b.requests() if r["method"] == "DELETE"]
    world.run("x", thread_id="7")
    wait_until(lambda: ended() == ids(), "the idle sandbox ended", 5)
    # The same where the worker has nothing that wakes it so early.
    world.run("x", thread_id="a-long-one")
    world.run("x", thread_id="7")
    time.sleep(0.4)  # that is what idle means
    world.run("x", thread_id="7")
    first, long, second, third = ids()
    assert len({first, long, second, third}) == 4
    wait_until(lambda: second in ended(), "the second one ended", 5)
    world.run("x", thread_id="a-long-one")
    assert ids()[-1] == long


def test_a_thread_has_one_sandbox_whichever_worker_its_turns_come_to(testbed):
    world = World(testbed, f"code.idle={3 * PATIENCE}", workers=4)
    names = [f"shared-{i}" for i in range(3)]
    for i in range(8):
        with ThreadPoolExecutor(3) as pool:  # so that no worker is always the first to wake
            assert [contents for _, contents in pool.map(lambda n: world.run_alone("x", n), names)] == [True] * 3
    assert world.e2b.calls().count("POST /sandboxes") == 3 and len(world.e2b.codes()) == 24
    directory = world.service.run / "sandboxes"
    assert directory.stat().st_mode & 0o777 == 0o700 and {f.stat().st_mode & 0o777 for f in directory.iterdir()} == {0o600}
    # A restarted responder finds them again.
    world.service.responder.stop()
    world.service.start_responder()
    wait_until(lambda: world.service.http.get("/").status_code == 200, "the new responder")
    world.run("x", thread_id=names[0])
    assert world.e2b.calls().count("POST /sandboxes") == 3
    # One that vanished is made again for all workers.
    world.e2b.script(vanish=1)
    for i in range(6):
        world.run("x", thread_id=names[0])
    assert world.e2b.calls().count("POST /sandboxes") == 4
    deleted = lambda: [r["path"] for r in world.e2b.requests() if r["method"] == "DELETE"]
    wait_until(lambda: len(list(directory.iterdir())) == 2 and len(deleted()) == 1, "the idle sandbox ended", 8)
    assert len(set(deleted())) == 1


def test_without_a_key_there_is_no_code_interpreter(testbed):
    service, llm = testbed.one()
    assert service.status()["tools"] == ["tavily_search_results_json"]
    assert "no tool named code_interpreter" in tool_result(service, llm)


def tool_result(service, llm):
    service.chat(rounds(calls(call(CODE, code="x"))))
    return llm.chats()[-1]["body"]["messages"][-1]["content"]

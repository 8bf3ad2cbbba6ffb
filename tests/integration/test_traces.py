# SPDX-License-Identifier: Apache-2.0
"""Traces: what is taken of traceparent, what LLMs and tools get, and what a collector gets of it."""

import json
import re
import uuid

import pytest

from harness.collector import Collector, attributes
from harness.llm_script import inline
from harness.process import wait_until
from harness.tool_mocks import CODE, SEARCH, call, calls, e2b, e2b_env, rounds, search, search_env

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GIVEN = f"00-{TRACE}-{PARENT}-01"
MODEL = "meta-llama/Llama-3.1-8B-Instruct"
LINE = re.compile("00-([0-9a-f]{32})-([0-9a-f]{16})-(0[01])")


def collector(testbed, *answers, **more):
    return testbed.client(Collector(*answers, **more))


def recording(testbed, c, *sets):
    """(service, llm) with traces on."""
    return testbed.one(sets=[f"trace.endpoint={c.url}", *sets])


def sent(mock, path=None):
    return [r["headers"] for r in mock.requests(path)]


# --- without a collector ---


@pytest.fixture(scope="module")
def plain(shared):
    tools = search(shared)
    service, llm = shared.one(env=search_env(tools))
    return service, llm, tools


def test_what_came_is_passed_on_unchanged(plain):
    service, llm, tools = plain
    llm.forget(), tools.forget()
    turn = service.chat(rounds(calls(call(SEARCH, query="x")), {"text": "done"}),
                        headers={"traceparent": GIVEN, "tracestate": "congo=t61rcWkgMzE"})
    assert turn.whole
    for headers in [r["headers"] for r in llm.chats()] + sent(tools):
        assert headers["traceparent"] == GIVEN and headers["tracestate"] == "congo=t61rcWkgMzE"


def test_of_a_long_request_as_well(plain):
    service, llm, _ = plain
    llm.forget()
    service.chat("long " * 20000, headers={"traceparent": GIVEN})
    assert [r["headers"].get("traceparent") for r in llm.chats()] == [GIVEN]


@pytest.mark.parametrize("headers", [
    {},
    {"tracestate": "a=b"},
    {"traceparent": GIVEN.upper(), "tracestate": "a=b"},
    {"traceparent": f"00-{'0' * 32}-{PARENT}-01"},
    {"traceparent": f"ff-{TRACE}-{PARENT}-01"},
    {"traceparent": GIVEN + "-more"},
    {"traceparent": GIVEN + "\r\ntraceparent: " + GIVEN.replace("4", "5")},
])
def test_what_is_not_valid_is_not_passed_on(plain, headers):
    service, llm, _ = plain
    llm.forget()
    assert service.chat("hello", headers=headers).whole
    assert not {"traceparent", "tracestate"} & set(llm.chats()[0]["headers"])


@pytest.mark.parametrize("headers, parent, state", [
    ({"traceparent": f"cc-{TRACE}-{PARENT}-01-more"}, GIVEN, None),
    ({"traceparent": GIVEN, "tracestate": "A=1"}, GIVEN, None),
    ({"traceparent": GIVEN, "tracestate": "a=1\r\ntracestate: b=2"}, GIVEN, "a=1,b=2"),
])
def test_what_is_odd_but_valid_is_passed_on(plain, headers, parent, state):
    service, llm, _ = plain
    llm.forget()
    assert service.chat("hello", headers=headers).whole
    got = llm.chats()[0]["headers"]
    assert got["traceparent"] == parent and got.get("tracestate") == state


# --- with one ---


def by_name(spans):
    found = {}
    for s in spans:
        found.setdefault(s["name"], []).append(s)
    return found


def test_a_turn_with_tools_is_one_trace(testbed):
    c, tools, sandbox = collector(testbed), search(testbed), e2b(testbed)
    service, llm = testbed.one(
        env={**search_env(tools), **e2b_env(sandbox), "OTEL_EXPORTER_OTLP_ENDPOINT": c.url,
             "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20secret-token,x-tenant=a"})
    thread = uuid.uuid4().hex
    turn = service.chat(rounds(calls(call(SEARCH, query="private query"), call(CODE, id="b", code="print(1)")), {"text": "private answer"}),
                        thread, headers={"traceparent": GIVEN, "tracestate": "a=b", "X-Request-Id": "one"})
    assert turn.whole
    spans = c.wait_spans(5)
    found = by_name(spans)
    assert sorted(found) == [f"chat {MODEL}", f"execute_tool {CODE}", f"execute_tool {SEARCH}", "invoke_agent tt-agent"]
    root, = found["invoke_agent tt-agent"]
    assert root["parentSpanId"] == PARENT and root["kind"] == 2
    for s in spans:
        assert s["traceId"] == TRACE and s["traceState"] == "a=b"
        assert re.fullmatch("[0-9a-f]{16}", s["spanId"])
        assert root["startTimeUnixNano"] <= s["startTimeUnixNano"] and int(s["startTimeUnixNano"]) <= int(s["endTimeUnixNano"])
        assert s is root or s["parentSpanId"] == root["spanId"]
        assert "status" not in s
    assert len({s["spanId"] for s in spans}) == 5
    of_root = attributes(root)
    assert of_root["gen_ai.operation.name"] == "invoke_agent" and of_root["gen_ai.conversation.id"] == thread
    assert of_root["tt_agent.request_id"] == "one" and of_root["tt_agent.status"] == "complete"
    assert of_root["gen_ai.usage.output_tokens"] == turn.stats["tokens_decoded"] and of_root["tt_agent.tool_calls"] == 2
    for s in found[f"chat {MODEL}"]:
        a = attributes(s)
        assert s["kind"] == 3 and a["gen_ai.request.model"] == MODEL and a["http.response.status_code"] == 200
        assert f"{a['server.address']}:{a['server.port']}" == llm.host and a["gen_ai.usage.output_tokens"] >= 0
    assert attributes(found[f"execute_tool {CODE}"][0])["gen_ai.tool.call.id"] == "b"
    # Each request names the span that it belongs to.
    attempts = [LINE.fullmatch(r["headers"]["traceparent"]) for r in llm.chats()]
    assert [m[1] for m in attempts] == [TRACE] * 2 and all(m[3] == "01" for m in attempts)
    assert {m[2] for m in attempts} == {s["spanId"] for s in found[f"chat {MODEL}"]}
    assert [h["traceparent"] for h in sent(tools)] == [f"00-{TRACE}-{found[f'execute_tool {SEARCH}'][0]['spanId']}-01"]
    assert {h["traceparent"] for h in sent(sandbox)} == {f"00-{TRACE}-{found[f'execute_tool {CODE}'][0]['spanId']}-01"}
    # The collector's side.
    path, headers, body, _ = c.requests[0]
    assert path == "/v1/traces" and headers["Content-Type"] == "application/json"
    assert headers["authorization"] == "Bearer secret-token" and headers["x-tenant"] == "a"
    resource = attributes(c.taken()[0][0])
    assert resource["service.name"] == "tt-agent" and resource["service.version"] and resource["service.instance.id"]
    assert not any(b"private" in r[2] for r in c.requests), "neither prompts nor answers"
    assert f"trace_id={TRACE}" in service.responder.log()
    for log in (service.daemon.log(), service.responder.log(), json.dumps(service.ctl("config"))):
        assert "secret-token" not in log


def test_a_failover_is_two_attempts_of_one_trace(testbed):
    c = collector(testbed)
    first, second = testbed.llm(status=500), testbed.llm()
    backend = testbed.backend({"d1": first.deployment(), "d2": second.deployment("Qwen3-8B", name="c-d2")})
    service = testbed.service(backend=backend, sets=[f"trace.endpoint={c.url}/v1/traces/"]).wait_ready()
    service.wait_status(lambda s: s["current_llm"]["llm_info"]["deploy_id"] == "d1", "d1 is current")
    assert service.chat("hello").whole
    spans = c.wait_spans(3)
    failed = [s for s in spans if "status" in s]
    assert len({s["traceId"] for s in spans}) == 1 and [s["name"] for s in failed] == [f"chat {MODEL}"]
    assert failed[0]["status"]["code"] == 2 and attributes(failed[0])["error.type"] == "unavailable"
    assert attributes(failed[0])["http.response.status_code"] == 500
    root = by_name(spans)["invoke_agent tt-agent"][0]
    assert "parentSpanId" not in root and attributes(root)["tt_agent.failovers"] == 1


def test_waiting_and_a_client_that_leaves(testbed):
    c = collector(testbed)
    llm = testbed.llm()
    backend = testbed.backend()
    service = testbed.service(backend=backend, sets=[f"trace.endpoint={c.url}", "polling.hold=60", "discovery.interval=0.05"])
    exchange = service.ask(inline(tokens=1000, delay_us=100000))
    wait_until(lambda: "tt_agent_turns_queued 1" in service.http.get("/metrics").text, "the turn waits")
    backend.deploy(d1=llm.deployment())
    next(exchange.chunks())
    exchange.reset()
    found = by_name(c.wait_spans(3))
    assert sorted(found) == [f"chat {MODEL}", "invoke_agent tt-agent", "wait for an LLM"]
    assert attributes(found[f"chat {MODEL}"][0])["error.type"] == "cancelled"
    assert attributes(found["invoke_agent tt-agent"][0])["tt_agent.status"] == "cancelled"


def test_a_request_that_is_not_sampled_is_passed_on_but_not_recorded(testbed):
    c = collector(testbed)
    service, llm = recording(testbed, c)
    service.chat("hello", headers={"traceparent": GIVEN[:-2] + "00"})
    assert llm.chats()[0]["headers"]["traceparent"] == GIVEN[:-2] + "00"
    service.chat("hello", headers={"traceparent": GIVEN})
    assert {s["traceId"] for s in c.wait_spans(2)} == {TRACE}


def test_none_is_recorded_of_a_share_of_none(testbed):
    c = collector(testbed)
    service, llm = recording(testbed, c, "trace.sample=0")
    service.chat("hello")
    assert LINE.fullmatch(llm.chats()[0]["headers"]["traceparent"])[3] == "00"
    service.chat("hello", headers={"traceparent": GIVEN})
    assert {s["traceId"] for s in c.wait_spans(2)} == {TRACE}


# --- collectors that misbehave ---

BUSY = (503, b"busy", {"Retry-After": "1"})


@pytest.mark.parametrize("answers", [[BUSY], [None], [(429, b"", {})], [(502, b"<html>", {}), BUSY]],
                         ids=["503", "closes", "429", "twice"])
def test_spans_that_were_not_taken_are_sent_again(testbed, answers):
    c = collector(testbed, *answers)
    service, _ = recording(testbed, c)
    assert service.chat("hello").whole
    assert len(c.wait_spans(2)) == 2
    service.daemon.wait_log("INFO spans_sent lost=0")
    assert service.daemon.log().count("WARNING spans_not_sent") == 1
    assert len(c.requests) == len(answers) + 1 and len({r[2] for r in c.requests}) == 1


def test_spans_that_a_collector_refuses_are_lost_and_counted(testbed):
    c = collector(testbed, (400, b'{"code":3,"message":"no"}', {}))
    service, _ = recording(testbed, c)
    assert service.chat("hello").whole
    service.daemon.wait_log('WARNING spans_not_sent error="HTTP 400"')
    assert service.chat("hello").whole
    assert len(c.wait_spans(2)) == 2
    service.daemon.wait_log("INFO spans_sent lost=2")


def test_a_part_that_a_collector_rejects_is_counted(testbed):
    c = collector(testbed, (200, b'{"partialSuccess":{"rejectedSpans":"1","errorMessage":"too old"}}', {}))
    service, _ = recording(testbed, c)
    assert service.chat("hello").whole
    service.daemon.wait_log('WARNING spans_not_sent error="too old"')
    assert service.chat("hello").whole
    service.daemon.wait_log("INFO spans_sent lost=1")


@pytest.mark.parametrize("body", [b"", b"not json", b"[1]", b'{"partialSuccess":7}', b"x" * 200000], ids=["empty", "text", "list", "number", "long"])
def test_any_answer_is_read_without_harm(testbed, body):
    c = collector(testbed, then=(200, body, {}))
    service, _ = recording(testbed, c)
    for _ in range(2):
        assert service.chat("hello").whole
    wait_until(lambda: len(c.requests) >= 1, "a request")
    assert service.takes_commands()


def test_without_a_collector_chats_go_on_and_one_line_says_so(testbed):
    service, _ = testbed.one(sets=[f"trace.endpoint=http://127.0.0.1:{testbed.closed_port()}"])
    for _ in range(20):
        assert service.chat("hello").whole
    service.daemon.wait_log("WARNING spans_not_sent error=\"Connection refused")
    assert service.daemon.log().count("spans_not_sent") == 1


def test_without_the_daemon_chats_go_on(testbed):
    c = collector(testbed)
    service, _ = recording(testbed, c)
    service.daemon.stop()
    for _ in range(3):
        assert service.chat("hello").whole

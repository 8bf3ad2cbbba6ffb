# SPDX-License-Identifier: Apache-2.0
"""POST /v1/messages on the wire, and Anthropic's own Python client, unmodified."""

import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.api_clients import Sdk, client, python
from harness.http_client import Cut, Exchange
from harness.llm_script import COUNT, PLAIN, inline, said, words
from harness.openai_stream import post, user
from harness.process import WRAP, wait_until
from harness.raw_llm import RawLlm, whole
from harness.tool_mocks import call, calls, rounds, search, search_env

MODEL = "meta-llama/Llama-3.1-8B-Instruct"
API = ["http.api=true", "health.canary_interval=0"]
PATH, COUNT_TOKENS = "/v1/messages", "/v1/messages/count_tokens"
TOOL = {"name": "weather", "description": "tells the weather", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}
WAYS = ("create", "stream", "helper")
needs_keeper = pytest.mark.skipif(bool(WRAP), reason="valgrind cannot follow a keeper")


@pytest.fixture(scope="module", params=[client("anthropic")])
def anthropic(request):
    a = Sdk("anthropic (Python) 2.14.0", python, request.param, "anthropic_python.py").start()
    yield a
    a.close()


@pytest.fixture(scope="module")
def world(worlds):
    return worlds.get("one", lambda t: t.one(sets=API + ["llm.stall_timeout=1", "llm.silence_timeout=2"]))


def ask(text, **more):
    return {"model": MODEL, "max_tokens": 1000, "messages": user(text), **more}


class Stream:
    """A streamed answer as the strictest client reads it."""

    def __init__(self, exchange):
        raw, self.cut = [], False
        try:
            for chunk in exchange.chunks():
                raw.append(chunk)
        except Cut:
            self.cut = True
        exchange.close()
        self.status, self.headers, self.body = exchange.status, exchange.headers, b"".join(raw).decode()
        assert self.headers["content-type"].startswith("text/event-stream"), (self.status, self.body)
        self.error = self.stop = self.usage = self.message = None
        self.blocks, self.open, self.stopped, self.pings, self.kinds = [], None, False, 0, []
        for event in self.body.split("\n\n"):
            if event.strip("\n"):
                self._read(event.strip("\n"))

    def _read(self, event):
        name, data = event.split("\n")
        assert name.startswith("event: ") and data.startswith("data: "), event
        data = json.loads(data[len("data: "):])
        kind = data["type"]
        assert name == "event: " + kind
        assert not self.stopped and self.error is None, f"after the end: {event}"
        self.kinds.append(kind)
        if kind == "ping":
            self.pings += 1
        elif kind == "error":
            assert set(data["error"]) == {"type", "message"}
            self.error = data["error"]
        elif kind == "message_start":
            assert self.message is None
            self.message = data["message"]
            assert set(self.message) == {"id", "type", "role", "content", "model", "stop_reason", "stop_sequence", "usage"}
        elif kind == "content_block_start":
            assert self.message and self.open is None and data["index"] == len(self.blocks), event
            self.open = data["index"]
            self.blocks.append({**data["content_block"], "json": ""})
        elif kind == "content_block_delta":
            assert data["index"] == self.open, event
            block, delta = self.blocks[-1], data["delta"]
            part = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json", "citations_delta": "citation"}[delta["type"]]
            if part == "citation":
                block.setdefault("citations", []).append(delta["citation"])
            elif part == "partial_json":
                assert block["type"] == "tool_use"
                block["json"] += delta[part]
            else:
                assert block["type"] == part
                block[part] += delta[part]
        elif kind == "content_block_stop":
            assert data["index"] == self.open
            self.open = None
        elif kind == "message_delta":
            assert self.open is None and self.stop is None
            self.stop, self.usage = data["delta"]["stop_reason"], data["usage"]
        else:
            assert kind == "message_stop" and self.stop is not None, event
            self.stopped = True

    @property
    def text(self):
        return "".join(b["text"] for b in self.blocks if b["type"] == "text")

    @property
    def thinking(self):
        return "".join(b["thinking"] for b in self.blocks if b["type"] == "thinking")

    @property
    def calls(self):
        return [(b["id"], b["name"], json.loads(b["json"])) for b in self.blocks if b["type"] == "tool_use"]

    @property
    def whole(self):
        assert self.cut or self.stopped != (self.error is not None), self.body
        return self.stopped and not self.cut


def stream(host, body, headers=None, **more):
    return Stream(Exchange(host, "POST", PATH, {**body, "stream": True}, headers, **more))


def error_of(answer, status):
    assert answer[0] == status, answer
    assert set(answer[2]) == {"type", "error"} and set(answer[2]["error"]) == {"type", "message"} and answer[2]["type"] == "error", answer
    return answer[2]["error"]


# --- answers ---


def test_an_answer(world):
    service, llm = world
    status, _, answer = post(service.host, ask(words()), PATH)
    assert status == 200
    assert answer["content"] == [{"type": "text", "text": said(COUNT)}]
    assert answer["usage"] == {"input_tokens": 12, "output_tokens": COUNT, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
    assert answer["id"].startswith("msg_") and {k: answer[k] for k in ("type", "role", "model", "stop_reason", "stop_sequence")} == {
        "type": "message", "role": "assistant", "model": MODEL, "stop_reason": "end_turn", "stop_sequence": None}
    streamed = stream(service.host, ask(words()))
    assert streamed.whole and streamed.text == said(COUNT) and streamed.stop == "end_turn"
    assert streamed.usage["input_tokens"] == 12 and streamed.usage["output_tokens"] == COUNT
    assert [b["type"] for b in streamed.blocks] == ["text"] and streamed.message["model"] == MODEL


def test_any_character(world):
    assert stream(world[0].host, ask("hello")).text == PLAIN
    odd = "\"\\\n\t\u0001 ü €  😀 </think"
    assert stream(world[0].host, ask(inline(text=[odd[:3], odd[3:]]))).text == odd


@pytest.mark.parametrize("more, stop", [({"finish": "length"}, "max_tokens"), ({"finish": "content_filter"}, "refusal")])
def test_other_ends(world, more, stop):
    knobs = inline(tokens=6, token="w ", **more)
    assert post(world[0].host, ask(knobs), PATH)[2]["stop_reason"] == stop
    streamed = stream(world[0].host, ask(knobs))
    assert streamed.whole and streamed.stop == stop


def test_reasoning_is_for_those_that_want_it(world):
    knobs = inline(reasoning=["think ", "hard"], text=["yes"])
    thinking = {"thinking": {"type": "enabled", "budget_tokens": 1024}}
    assert post(world[0].host, ask(knobs, **thinking), PATH)[2]["content"] == [
        {"type": "thinking", "thinking": "think hard", "signature": ""}, {"type": "text", "text": "yes"}]
    assert post(world[0].host, ask(knobs), PATH)[2]["content"] == [{"type": "text", "text": "yes"}]
    streamed = stream(world[0].host, ask(knobs, **thinking))
    assert streamed.whole and streamed.thinking == "think hard" and streamed.text == "yes"
    assert [b["type"] for b in streamed.blocks] == ["thinking", "text"]
    assert [b["type"] for b in stream(world[0].host, ask(knobs)).blocks] == ["text"]


# --- requests ---


def test_what_the_llm_gets(world):
    service, llm = world
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
    request = ask("x", system=[{"type": "text", "text": "Be", "cache_control": {"type": "ephemeral"}}, {"type": "text", "text": "brief."}],
        stop_sequences=["STOP"], temperature=0.5, top_k=3, metadata={"user_id": "u1"}, tools=[TOOL, {"type": "web_search_20250305", "name": "web_search"}],
        tool_choice={"type": "any", "disable_parallel_tool_use": True}, chat_template_kwargs={"a": 1}, context_management={}, thinking={"type": "disabled"})
    request["messages"] = [
        {"role": "user", "content": [{"type": "text", "text": "Look"}, {"type": "text", "text": "here"}]},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm.", "signature": "s"}, {"type": "text", "text": "I call."}, {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Bern"}},
                                          {"type": "tool_use", "id": "t2", "name": "weather", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "rain"}, image]}, {"type": "tool_result", "tool_use_id": "t2", "content": "no", "is_error": True},
                                     {"type": "text", "text": "So?"}]},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "old", "signature": ""}, {"type": "text", "text": "Rain."}]},
        {"role": "user", "content": [image, {"type": "document", "title": "T", "source": {"type": "text", "media_type": "text/plain", "data": "D"}}]}]
    assert post(service.host, request, PATH)[0] == 200
    body = llm.chats()[-1]["body"]
    url = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    function = lambda id, arguments: {"id": id, "type": "function", "function": {"name": "weather", "arguments": arguments}}
    assert body["messages"] == [
        {"role": "system", "content": "Be\n\nbrief."}, {"role": "user", "content": "Look\n\nhere"},
        {"role": "assistant", "content": "I call.", "tool_calls": [function("t1", '{"city":"Bern"}'), function("t2", "{}")], "reasoning_content": "Hm."},
        {"role": "tool", "tool_call_id": "t1", "content": "rain"}, {"role": "tool", "tool_call_id": "t2", "content": "Error: no"},
        {"role": "user", "content": [url, {"type": "text", "text": "So?"}]}, {"role": "assistant", "content": "Rain."},
        {"role": "user", "content": [url, {"type": "text", "text": "T"}, {"type": "text", "text": "D"}]}]
    expected = {"model": MODEL, "stop": ["STOP"], "temperature": 0.5, "top_k": 3, "user": "u1", "max_tokens": 1000, "tool_choice": "required", "parallel_tool_calls": False,
                "chat_template_kwargs": {"a": 1}, "tools": [{"type": "function", "function": {"name": "weather", "description": "tells the weather", "parameters": TOOL["input_schema"]}}]}
    assert {k: body.get(k) for k in expected} == expected
    assert not {"system", "stop_sequences", "metadata", "thinking", "context_management", "cache_control"} & set(body)


def test_an_answer_that_the_client_begins(world):
    service, llm = world
    post(service.host, ask("x", messages=[*user("x"), {"role": "assistant", "content": "{\""}]), PATH)
    body = llm.chats()[-1]["body"]
    assert body["messages"][-1] == {"role": "assistant", "content": "{\""} and body["continue_final_message"] is True and body["add_generation_prompt"] is False


@pytest.mark.parametrize("body, word", [
    (b"", "JSON"), (b"{", "JSON"), (b"[]", "object"), ({}, "model"), ({"model": MODEL}, "messages"), ({"model": MODEL, "messages": []}, "messages"),
    ({"model": MODEL, "messages": ["x"]}, "messages.0"), (ask("x", messages=[{"role": "tool", "content": "x"}]), "role"), (ask("x", system=7), "system"),
    (ask("x", messages=[{"role": "user", "content": [{"type": "container_upload", "file_id": "f"}]}]), "container_upload"),
    (ask("x", messages=[{"role": "user", "content": [{"type": "image", "source": {"type": "file", "file_id": "f"}}]}]), "image"),
    (ask("x", stream=1), "stream"), (ask("x", tools=[TOOL], tool_choice={"type": "nix"}), "tool_choice")])
def test_requests_that_are_wrong(world, body, word):
    error = error_of(post(world[0].host, body, PATH), 400)
    assert error["type"] == "invalid_request_error" and word in error["message"]


# --- tools ---


@pytest.mark.parametrize("fragment", [1, 0])
def test_a_round_of_tools(world, fragment):
    service, llm = world
    wanted = [call("weather", "call_a", city="Zürich"), call("weather", "call_b", city="Bern")]
    question = user(rounds(calls(*wanted), text=["It ", "rains."], fragment=fragment))
    streamed = stream(service.host, ask("", messages=question, tools=[TOOL]))
    assert streamed.whole and streamed.stop == "tool_use"
    assert streamed.calls == [("call_a", "weather", {"city": "Zürich"}), ("call_b", "weather", {"city": "Bern"})]
    answer = post(service.host, ask("", messages=question, tools=[TOOL]), PATH)[2]
    assert answer["stop_reason"] == "tool_use" and [(c["id"], c["name"], c["input"]) for c in answer["content"]] == streamed.calls


def test_a_call_that_is_no_json(world):
    wrong = inline(calls=[{"id": "a", "name": "weather", "arguments": "[1"}])
    assert error_of(post(world[0].host, ask(wrong, tools=[TOOL]), PATH), 500)["type"] == "api_error"
    error_of(post(world[0].host, ask(wrong, tools=[TOOL], stream=True), PATH), 500)


def test_the_agent(testbed):
    searching = search(testbed, all={"results": [{"title": "Pandas", "url": "http://pandas/", "content": "red"}]})
    service, _ = testbed.one(sets=API, env=search_env(searching))
    request = ask("[search]", model=MODEL + ":agent")
    streamed = stream(service.host, {**request, "thinking": {"type": "adaptive"}})
    assert streamed.whole and "Searching" in streamed.thinking
    assert streamed.blocks[-1]["citations"][0]["url"] == "http://pandas/"
    answer = post(service.host, request, PATH)[2]
    assert [b["type"] for b in answer["content"]] == ["text"] and answer["content"][0]["citations"][0]["title"] == "Pandas"


# --- failures ---


@pytest.mark.parametrize("body, status, kind, word", [
    (ask("x", model="nix"), 404, "not_found_error", "nix"), (ask(inline(status=429)), 429, "rate_limit_error", "busy"),
    (ask(inline(status=500)), 529, "overloaded_error", ""), (ask(inline(status=401)), 500, "api_error", "credentials"),
    (ask(inline(window=3)), 400, "invalid_request_error", "prompt is too long"), (ask(inline(status=400, body='{"error":{"message":"odd"}}')), 400, "invalid_request_error", "odd")])
def test_failures(failing, body, status, kind, word):
    for streams in (False, True):
        answer = post(failing.host, {**body, "stream": streams}, PATH)
        error = error_of(answer, status)
        assert error["type"] == kind and word in error["message"]


@pytest.fixture(scope="module")
def failing(shared):
    """A service whose LLMs fail, which others need not suffer from."""
    return shared.one(sets=API)[0]


FAULTS = [{"cut_after": 3}, {"reset_after": 3}, {"error_after": 3}, {"stall_after": 3}, {"tokens": 3, "finish": "", "done": False}]


@pytest.mark.parametrize("fault", FAULTS)
def test_no_broken_stream_looks_whole(world, fault):
    knobs = inline(**{"tokens": 20, "token": "w ", "delay_us": 5000, **fault})
    streamed = stream(world[0].host, ask(knobs))
    assert not streamed.whole and streamed.text == "w w w " and streamed.error["type"] in ("api_error", "overloaded_error")
    assert post(world[0].host, ask(knobs), PATH)[0] == 500


def test_another_llm_continues(testbed):
    first, second = testbed.llm(), testbed.llm()
    backend = testbed.backend({f"d{i}": llm.deployment(name=f"c-d{i}") for i, llm in enumerate((first, second))})
    service = testbed.service(backend=backend, sets=API).wait_ready()
    wait_until(lambda: sum(m["status"] == "healthy" and bool(m.get("context_length")) for m in service.ctl("models")["models"]) == 2, "both are healthy", 20)
    for llm in (first, second):
        llm.script(continues=True)
    first.script(cut_after=5, continues=True)
    second.script(cut_after=5, continues=True)
    # Whichever is asked breaks off; only one that continues is whole.
    message = words(20)
    seen = stream(service.host, ask(message))
    assert seen.error is not None or seen.text == said(20)


def killed(testbed, count, body, **more):
    """Answers of a worker that is killed in their midst."""
    service, _ = testbed.one(sets=API + more.pop("sets", []), **more)
    wait_until(lambda: any(m["context_length"] for m in service.ctl("models")["models"]), "what the LLM tells of itself", 20)
    exchanges = [Exchange(service.host, "POST", PATH, {**body, "stream": True}) for _ in range(count)]
    for exchange in exchanges:
        exchange.head()  # it comes with the first word
    service.responder.expected_exit.add(-signal.SIGKILL)
    os.kill(service.worker_pids()[0], signal.SIGKILL)
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(Stream, exchanges))


@needs_keeper
@pytest.mark.parametrize("more", [{}, {"thinking": {"type": "enabled"}}])
def test_a_worker_that_dies_is_not_noticed(testbed, more):
    """Another one goes on with the answer, in the same block."""
    for answer in killed(testbed, 10, ask(words(200, delay_us=10000), **more)):
        assert answer.whole and answer.text == said(200) and len(answer.blocks) == 1


@needs_keeper
def test_a_worker_that_dies_where_nobody_can_go_on(testbed):
    for answer in killed(testbed, 10, ask(words(200, delay_us=10000)), sets=["llm.continue=false"]):
        assert not answer.whole and answer.error["type"] == "api_error" and answer.text.startswith("word0 ")


# --- rights ---


def test_keys(testbed, anthropic):
    service, _ = testbed.one(sets=API + ["access.require=api", f"access.keys_file={testbed.directory}/keys.jsonl"])
    key = service.ctl("keys", "create", "alice", "models=meta*")["key"]
    other = service.ctl("keys", "create", "bob", "models=else*")["key"]
    service.secrets += [key, other]
    url = service.url
    wait_until(lambda: "error" not in anthropic.do(url, ("create", ask("x")), key=key), "the key is known")
    assert anthropic.do(url, ("create", ask("x")), token=key)["stop"] == "end_turn"
    seen = anthropic.do(url, ("create", ask("x")), ("stream", ask("x")), ("count", {"model": MODEL, "messages": user("x")}), key="wrong")
    assert [(s["error"], s["type"]) for s in seen] == [("AuthenticationError", "authentication_error")] * 3
    wait_until(lambda: anthropic.do(url, ("create", ask("x")), key=other).get("type") == "permission_error", "403")


def test_switched_off_and_other_methods(testbed):
    service, _ = testbed.one()
    assert "http.api" in error_of(post(service.host, ask("x"), PATH), 404)["message"]
    service, _ = testbed.one(sets=API)
    exchange = Exchange(service.host, "GET", PATH)
    assert json.loads(exchange.read())["error"]["type"] == "invalid_request_error" and exchange.status == 405
    exchange.close()
    error_of(post(service.host, b"x", PATH, {"Content-Type": "text/plain"}), 400)


# --- counting ---


def test_counting_tokens(testbed):
    llm = RawLlm(testbed, lambda path, headers, body: whole({"input_tokens": 7}) if path == COUNT_TOKENS else whole({}, 404))
    service = testbed.service(backend=testbed.backend({"d1": llm.deployment()}), sets=API).wait_ready()
    request = {"model": MODEL, "messages": user("x")}
    assert post(service.host, request, COUNT_TOKENS)[2] == {"input_tokens": 7}
    assert json.loads(llm.wants(COUNT_TOKENS)[0][2]) == request
    llm.answer = lambda *_: whole({"detail": "Not Found"}, 404)
    assert "cannot count" in error_of(post(service.host, request, COUNT_TOKENS), 404)["message"]
    error_of(post(service.host, {"model": "nix", "messages": []}, COUNT_TOKENS), 404)
    error_of(post(service.host, {"messages": []}, COUNT_TOKENS), 400)


# --- Anthropic's client ---


def test_answers_of_the_client(world, anthropic):
    plain, streamed, helped = anthropic.do(world[0].url, *((way, ask(words())) for way in WAYS))
    assert plain["text"] == streamed["text"] == helped["text"] == said(COUNT)
    assert plain["stop"] == streamed["stop"] == helped["stop"] == "end_turn"
    assert plain["usage"]["input_tokens"] == helped["usage"]["input_tokens"] == streamed["usage"]["input_tokens"] == 12
    assert plain["usage"]["output_tokens"] == helped["usage"]["output_tokens"] == COUNT
    assert streamed["kinds"][:2] == ["message_start", "content_block_start"] and streamed["kinds"][-3:] == ["content_block_stop", "message_delta", "message_stop"]


def test_below_a_prefix(world, anthropic):
    assert anthropic.do(world[0].url + "/agent", ("create", ask("x")))["stop"] == "end_turn"


def test_a_round_of_tools_of_the_client(world, anthropic):
    service, llm = world
    question = user(rounds(calls(call("weather", "call_a", city="Zürich"), call("weather", "call_b", city="Bern")), text=["It ", "rains."]))
    for way in ("create", "helper"):
        first = anthropic.do(service.url, (way, ask("", messages=question, tools=[TOOL])))
        assert first["stop"] == "tool_use" and [(c["id"], c["name"], c["input"]["city"]) for c in first["content"]] == [
            ("call_a", "weather", "Zürich"), ("call_b", "weather", "Bern")]
        history = question + [{"role": "assistant", "content": first["content"]},
                              {"role": "user", "content": [{"type": "tool_result", "tool_use_id": c["id"], "content": "rain"} for c in first["content"]]}]
        assert anthropic.do(service.url, (way, ask("", messages=history, tools=[TOOL])))["text"] == "It rains."


def test_failures_have_their_class(failing, anthropic):
    seen = anthropic.do(failing.url, ("create", ask("x", model="nix")), ("create", ask("x", messages=[])), ("stream", ask(inline(status=429))),
                        ("create", ask(inline(window=3))), ("stream", ask(inline(window=3))), ("create", ask(inline(status=500))))
    assert [(s["error"], s["type"]) for s in seen] == [
        ("NotFoundError", "not_found_error"), ("BadRequestError", "invalid_request_error"), ("RateLimitError", "rate_limit_error"),
        ("BadRequestError", "invalid_request_error"), ("BadRequestError", "invalid_request_error"), (seen[5]["error"], "overloaded_error")]
    assert seen[5]["status"] == 529


@pytest.mark.parametrize("fault", FAULTS)
def test_the_client_takes_no_broken_answer_as_whole(world, anthropic, fault):
    knobs = inline(**{"tokens": 20, "token": "w ", "delay_us": 5000, **fault})
    for seen in anthropic.do(world[0].url, *((way, ask(knobs)) for way in WAYS)):
        assert "error" in seen, seen


def test_a_program_that_leaves(world, anthropic):
    service, llm = world
    before = llm.stats()["cancelled"]
    assert anthropic.do(service.url, ("leave", ask(inline(tokens=1000, delay_us=20000)))) == {}
    wait_until(lambda: llm.stats()["cancelled"] > before, "the LLM's connection is closed", 10)

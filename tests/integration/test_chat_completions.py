# SPDX-License-Identifier: Apache-2.0
"""POST /v1/chat/completions and GET /v1/models: the OpenAI API on the wire."""

import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.http_client import Exchange
from harness.llm_script import COUNT, PLAIN, inline, said, words
from harness.openai_stream import PATH, Stream, error_of, post, stream, user
from harness.process import WRAP, wait_until
from harness.tool_mocks import SEARCH, call, calls, rounds, search, search_env

MODEL = "meta-llama/Llama-3.1-8B-Instruct"
AGENT = MODEL + ":agent"
API = ["http.api=true"]
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}}}}}
CITY = {"id": "call_x", "name": "weather", "arguments": json.dumps({"city": "Zürich", "note": "\"a\"\n" * 20})}


@pytest.fixture(scope="module")
def world(worlds):
    return worlds.get("one", lambda t: t.one(sets=API + ["http.cors_origins=https://chat.example.org"]))


def ask(text, model=MODEL, **more):
    return {"model": model, "messages": user(text), **more}


# --- models ---


def test_each_model_is_there_under_its_own_name_and_as_the_agent(world):
    service, _ = world
    wait_until(lambda: service.ctl("models")["models"][0]["context_length"], "what the LLM tells of itself", 20)
    answer = service.http.get("/v1/models")
    assert answer.status_code == 200
    listed = answer.json()
    assert listed["object"] == "list"
    assert [m["id"] for m in listed["data"]] == [MODEL, AGENT]
    for model in listed["data"]:
        assert model["object"] == "model" and isinstance(model["created"], int) and model["owned_by"]
        assert model["max_model_len"] == 8192


@pytest.mark.parametrize("path", [MODEL, MODEL.replace("/", "%2F"), MODEL.replace("/", "%2f") + "%3Aagent", AGENT])
@pytest.mark.parametrize("prefix", ["", "/agent"])
def test_a_model_has_an_address(world, prefix, path):
    service, _ = world
    answer = service.http.get(f"{prefix}/v1/models/{path}")
    assert answer.status_code == 200
    assert answer.json()["id"] == (AGENT if "agent" in path else MODEL)


def test_models_that_are_not_there(world):
    service, _ = world
    for path in ("nix", "a%2Fb", MODEL + "x"):
        answer = service.http.get("/v1/models/" + path)
        assert answer.status_code == 404 and answer.json()["error"]["code"] == "model_not_found"
    error = error_of(post(service.host, ask("x", model="nix")), 404)
    assert error["code"] == "model_not_found" and error["param"] == "model" and "nix" in error["message"]


def test_it_is_off_unless_it_is_switched_on(testbed):
    service, llm = testbed.one()
    assert service.http.get("/v1/models").status_code == 404
    error = error_of(post(service.host, ask("x")), 404)
    assert "http.api" in error["message"]
    assert not llm.chats()


# --- answers ---


def test_an_answer_that_is_not_streamed(world):
    service, _ = world
    status, headers, answer = post(service.host, ask(words()))
    assert status == 200 and headers["content-type"] == "application/json" and headers["x-request-id"]
    assert answer["object"] == "chat.completion" and answer["id"].startswith("chatcmpl-") and answer["model"] == MODEL
    choice, = answer["choices"]
    assert choice["index"] == 0 and choice["finish_reason"] == "stop"
    assert choice["message"] == {"role": "assistant", "content": said(COUNT), "refusal": None}
    assert answer["usage"] == {"prompt_tokens": 12, "completion_tokens": COUNT, "total_tokens": 12 + COUNT}


def test_a_streamed_answer(world):
    service, _ = world
    answer = stream(service.host, ask(words()))
    assert answer.whole and answer.finish == "stop"
    assert answer.text == said(COUNT) and answer.usage is None
    assert answer.chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}


def test_usage_comes_where_it_is_wanted(world):
    service, _ = world
    answer = stream(service.host, ask(words(), stream_options={"include_usage": True}))
    assert answer.whole
    assert answer.usage == {"prompt_tokens": 12, "completion_tokens": COUNT, "total_tokens": 12 + COUNT}
    assert answer.chunks[-1]["choices"] == []


@pytest.mark.parametrize("form", [{"coalesce": True}, {"pieces": 1}, {"pieces": 7}, {"line_end": "crlf"}, {"comments": True},
                                  {"usage": "none"}, {"role": False}, {"null_content": True}])
def test_however_the_llm_cuts_its_stream(world, form):
    service, _ = world
    assert stream(service.host, ask(inline(**form))).text == PLAIN
    assert post(service.host, ask(inline(**form)))[2]["choices"][0]["message"]["content"] == PLAIN


def test_every_character_arrives(world):
    service, _ = world
    text = "".join(chr(c) for c in range(1, 0x180)) + "\\\"</script>\u2028\ud7ff\U0001f600<think>&[STATS][DONE]"
    body = ask(inline(text=list(text)))
    answer = stream(service.host, body)
    assert answer.whole and answer.text == text
    assert post(service.host, body)[2]["choices"][0]["message"]["content"] == text


def test_reasoning_is_apart_from_the_answer(world):
    service, _ = world
    knobs = inline(reasoning=["I ", "think"], text=["yes"])
    answer = stream(service.host, ask(knobs))
    assert answer.whole and answer.message["reasoning_content"] == "I think" and answer.text == "yes"
    message = post(service.host, ask(knobs))[2]["choices"][0]["message"]
    assert message["reasoning_content"] == "I think" and message["content"] == "yes"


@pytest.mark.parametrize("finish, told", [("length", "length"), ("stop", "stop"), ("content_filter", "content_filter"),
                                          ("eos_token", "stop"), ("max_tokens", "length")])
def test_the_reason_of_the_end_is_told(world, finish, told):
    service, _ = world
    body = ask(inline(text=["a", "b"], finish=finish))
    answer = stream(service.host, body)
    assert answer.whole and answer.finish == told and answer.text == "ab"
    assert post(service.host, body)[2]["choices"][0]["finish_reason"] == told


def test_an_empty_answer_is_an_answer(world):
    service, _ = world
    body = ask(inline(text=[], finish="length"))
    answer = stream(service.host, body)
    assert answer.whole and answer.finish == "length" and answer.text == ""
    assert post(service.host, body)[2]["choices"][0]["message"]["content"] == ""


# --- what the LLM gets ---


def test_the_llm_gets_what_the_client_sent_and_nothing_else(world):
    service, llm = world
    messages = [
        {"role": "developer", "content": "be brief", "name": "dev"},
        {"role": "user", "content": [{"type": "text", "text": "look", "x": 1},
                                     {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "low"}}]},
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}, "extra_content": {"a": 1}}]},
        {"role": "tool", "tool_call_id": "c1", "content": "rain"},
        {"role": "user", "content": "so?"},
    ]
    fields = {"temperature": 0.7, "top_k": 5, "seed": 12345678901234, "stop": ["x"], "chat_template_kwargs": {"a": [1, None]},
              "guided_json": {"type": "object"}, "max_tokens": 17, "tools": [WEATHER], "tool_choice": "required",
              "parallel_tool_calls": False, "response_format": {"type": "json_object"}, "metadata": {"a": "b"}, "user": "u",
              "logit_bias": {"5": -100}, "something_new": {"deep": [1.5, "x"]}, "n": 1}
    for streamed in (False, True):
        body = {"model": MODEL, "messages": messages, "stream": streamed, **fields}
        (stream if streamed else post)(service.host, body)
        sent = llm.chats()[-1]["body"]
        assert sent["messages"] == messages
        assert sent.pop("stream_options")["include_usage"] is True and sent.pop("stream") is True
        assert sent == {"model": MODEL, "messages": messages, **fields}


def test_the_agent_has_our_prompt_and_tools_and_the_client_s(world):
    service, llm = world
    messages = [{"role": "developer", "content": "be brief"}, *user("hello")]
    post(service.host, {"model": AGENT, "messages": messages, "tools": [WEATHER], "temperature": 0.1})
    sent = llm.chats()[-1]["body"]
    assert sent["model"] == MODEL and sent["temperature"] == 0.1 and sent["top_k"] == 20
    assert [m["role"] for m in sent["messages"]] == ["system", "user"]
    assert sent["messages"][0]["content"].endswith("\n\nbe brief") and "TT-Studio" in sent["messages"][0]["content"]
    assert [t["function"]["name"] for t in sent["tools"]] == ["weather", SEARCH]


def test_a_tool_of_the_client_takes_the_place_of_ours(world):
    service, llm = world
    own = {"type": "function", "function": {"name": SEARCH, "parameters": {"type": "object"}}}
    body = {**ask(rounds(calls(call(SEARCH, query="x"))), model=AGENT), "tools": [own]}
    message = post(service.host, body)[2]["choices"][0]["message"]
    assert llm.chats()[-1]["body"]["tools"] == [own]
    assert [c["function"]["name"] for c in message["tool_calls"]] == [SEARCH]


# --- tools ---


@pytest.mark.parametrize("fragment", [0, 1, 2, 7, 1000])
@pytest.mark.parametrize("form", [{}, {"coalesce": True}, {"pieces": 1}, {"reasoning": ["I ", "see"]}])
def test_calls_of_the_client_s_tools_come_whole(world, fragment, form):
    service, _ = world
    second = {**CITY, "id": "call_y", "arguments": "{\"city\": \"Bern\"}"}
    body = {**ask(inline(calls=[CITY, second], fragment=fragment, **form)), "tools": [WEATHER]}
    answer = stream(service.host, body)
    assert answer.whole and answer.finish == "tool_calls"
    want = [{"index": n, "id": c["id"], "type": "function", "function": {"name": c["name"], "arguments": c["arguments"]}}
            for n, c in enumerate((CITY, second))]
    assert answer.calls == want
    assert answer.text == "" and answer.message.get("reasoning_content", "") == "".join(form.get("reasoning", []))
    choice = post(service.host, body)[2]["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["tool_calls"] == [{k: v for k, v in w.items() if k != "index"} for w in want]


def test_a_call_without_an_id_gets_one(world):
    service, _ = world
    bare = {"name": "weather", "arguments": "{}"}
    answer = stream(service.host, {**ask(inline(calls=[bare, {**bare, "arguments": "{\"city\":\"x\"}"}])), "tools": [WEATHER]})
    assert answer.whole and all(c["id"] for c in answer.calls)
    assert len({c["id"] for c in answer.calls}) == 2


def test_functions_as_they_were_called_before_tools(world):
    service, _ = world
    body = {**ask(inline(calls=[CITY], force_calls=True)), "functions": [WEATHER["function"]]}
    answer = stream(service.host, body)
    assert answer.whole and answer.finish == "function_call"
    assert answer.message["function_call"] == {"name": "weather", "arguments": CITY["arguments"]}
    choice = post(service.host, body)[2]["choices"][0]
    assert choice["finish_reason"] == "function_call" and choice["message"]["function_call"]["name"] == "weather"


def test_a_call_that_a_model_wrote_as_text(world):
    """Models whose server has no parser for their calls."""
    service, _ = world
    text = '<tool_call>{"name": "weather", "arguments": {"city": "Ulm"}}</tool_call>'
    answer = stream(service.host, {**ask(inline(text=list(text))), "tools": [WEATHER]})
    assert answer.whole and answer.finish == "tool_calls" and answer.text == ""
    assert json.loads(answer.calls[0]["function"]["arguments"]) == {"city": "Ulm"}
    assert stream(service.host, ask(inline(text=list(text)))).text == text, "without tools it is text"


def test_the_agent_runs_our_tools_and_returns_the_client_s(testbed):
    tavily = search(testbed)
    service, llm = testbed.one(sets=API, env=search_env(tavily))
    knobs = rounds(calls(call(SEARCH, query="one")), calls({**CITY}), text=["done"])
    answer = stream(service.host, {**ask(knobs, model=AGENT), "tools": [WEATHER]})
    assert answer.whole and answer.finish == "tool_calls"
    assert [c["function"]["name"] for c in answer.calls] == ["weather"] and answer.calls[0]["id"] == CITY["id"]
    assert tavily.queries() == [("tavily", "one")]
    assert answer.message["annotations"] and all(a["type"] == "url_citation" for a in answer.message["annotations"])


def test_sources_are_annotations(testbed):
    tavily = search(testbed)
    service, _ = testbed.one(sets=API, env=search_env(tavily))
    body = ask(rounds(calls(call(SEARCH, query="one")), text=["found"]), model=AGENT)
    message = post(service.host, body)[2]["choices"][0]["message"]
    for annotation in message["annotations"]:
        assert annotation["type"] == "url_citation"
        assert annotation["url_citation"]["url"].startswith("http") and annotation["url_citation"]["title"]
    assert sum("annotations" in c["choices"][0]["delta"] for c in stream(service.host, body).chunks) == 1


def test_calls_of_both_in_one_round(testbed):
    """Ours run first. The model is asked again, with their results, and calls the client's tool then."""
    tavily = search(testbed)
    service, llm = testbed.one(sets=API, env=search_env(tavily))
    both = calls(call(SEARCH, query="one"), CITY)
    body = {**ask(rounds(both, calls(CITY)), model=AGENT), "tools": [WEATHER]}
    answer = stream(service.host, body)
    assert answer.whole and [c["function"]["name"] for c in answer.calls] == ["weather"]
    sent = llm.chats()[-1]["body"]["messages"]
    results = {m["tool_call_id"]: m["content"] for m in sent if m["role"] == "tool"}
    assert "Not run yet" in results[CITY["id"]] and len(results) == 2
    assert tavily.queries() == [("tavily", "one")]


# --- memory ---


def test_nothing_is_remembered_unless_a_conversation_is_named(testbed):
    service, llm = testbed.one(sets=API)
    sent = lambda: [(m["role"], m["content"]) for m in llm.chats()[-1]["body"]["messages"]]
    first, second = inline(text=["one"]), inline(text=["two"])
    post(service.host, ask(first))
    post(service.host, ask(second))
    assert sent() == [("user", second)]
    thread = {"metadata": {"thread_id": "a-conversation-of-its-own"}}
    post(service.host, ask(first, **thread))
    body = {"model": MODEL, "messages": [{"role": "system", "content": "be brief"}, *user(second)], **thread}
    stream(service.host, body)
    assert sent() == [("system", "be brief"), ("user", first), ("assistant", "one"), ("user", second)]
    assert "metadata" not in llm.chats()[-1]["body"]
    history = [*user("a"), {"role": "assistant", "content": "b"}, *user(first)]
    post(service.host, {"model": MODEL, "messages": history, **thread})
    assert llm.chats()[-1]["body"]["messages"] == history, "the client's history counts"
    post(service.host, ask("last", **thread))
    assert [text for role, text in sent() if role == "user"] == [first, second, first, "last"]
    assert service.chat(first, "a-conversation-of-its-own").text == "one", "and TT-Studio's page goes on with it"
    assert ("assistant", "two") in sent()


def test_a_turn_with_calls_of_the_client_is_remembered_once(testbed):
    service, llm = testbed.one(sets=API)
    body = {"model": MODEL, "tools": [WEATHER], "metadata": {"thread_id": "a-conversation-of-its-own"}}
    question = user(rounds(calls(CITY), text=["rain"]))
    message = post(service.host, {**body, "messages": question})[2]["choices"][0]["message"]
    result = {"role": "tool", "tool_call_id": CITY["id"], "content": "it rains"}
    post(service.host, {**body, "messages": [*question, message, result]})
    post(service.host, {**body, "messages": user(inline(text=["end"]))})
    sent = llm.chats()[-1]["body"]["messages"]
    assert [m["role"] for m in sent] == ["user", "assistant", "tool", "assistant", "user"]
    assert sent[1]["tool_calls"][0]["id"] == CITY["id"] and sent[3]["content"] == "rain"


# --- errors ---


@pytest.mark.parametrize("body, param", [
    (b"", None), (b"{", None), (b"[]", None), (b"null", None), (b"\xff", None), (b'"x"', None),
    ({}, "model"), ({"model": ""}, "model"), ({"model": 5, "messages": user("x")}, "model"),
    ({"model": MODEL}, "messages"), ({"model": MODEL, "messages": []}, "messages"),
    ({"model": MODEL, "messages": "x"}, "messages"), ({"model": MODEL, "messages": ["x"]}, "messages"),
    ({"model": MODEL, "messages": [{"content": "x"}]}, "messages"),
    ({"model": MODEL, "messages": [{"role": "user", "content": 5}]}, "messages"),
    (ask("x", stream="yes"), "stream"), (ask("x", n=2, metadata={"thread_id": "t"}), "n"), (ask("x", n="1", metadata={"thread_id": "t"}), "n"),
    (ask("x", metadata={"thread_id": 5}), "metadata"),
    (ask("x", model="m" * 600), "model"), (ask("x", model="a\0b"), "model"),
])
def test_requests_that_are_wrong(world, body, param):
    service, llm = world
    before = len(llm.chats())
    error = error_of(post(service.host, body), 400)
    assert error["param"] == param and error["type"] == "invalid_request_error"
    assert len(llm.chats()) == before


def test_the_paths_and_methods(world):
    service, _ = world
    for method, path, status in [("GET", PATH, 405), ("POST", "/v1/models", 405), ("GET", "/v1/nix", 404), ("DELETE", "/v1", 404),
                                 ("POST", "/agent/v1/nix/more", 404)]:
        answer = service.http.request(method, path)
        assert answer.status_code == status, (method, path)
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert "POST" in service.http.get(PATH).headers["allow"]
    assert service.http.get("/v1%2Fmodels").status_code == 400, "only a model's id may have encoded slashes"


def test_a_body_that_is_too_long(testbed):
    service, _ = testbed.one(sets=API + ["http.body_limit=2000"])
    error_of(post(service.host, ask("x" * 3000)), 413)


def test_a_body_that_is_not_declared_as_json(world):
    service, _ = world
    error_of(post(service.host, ask("x"), headers={"Content-Type": "text/plain"}), 400)


def test_many_values_are_not_too_many(world):
    """Coding agents send hundreds of messages and long schemas."""
    service, llm = world
    messages = [{"role": "user", "content": [{"type": "text", "text": f"part {n}"}]} for n in range(3000)]
    body = {"model": MODEL, "messages": messages + user(words(2))}
    assert stream(service.host, body).text == said(2)
    assert llm.chats()[-1]["body"]["messages"] == body["messages"]


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("knobs, status, code", [
    ({"status": 400, "body": '{"error":{"message":"top_z is not known","type":"BadRequestError"}}'}, 400, None),
    ({"status": 429, "retry_after": 7}, 429, "rate_limit_exceeded"),
    ({"status": 500}, 503, "service_unavailable"),
    ({"status": 401}, 503, "service_misconfigured"),
    ({"error_after": 0}, 502, "upstream_error"),
    ({"window": 3}, 400, "context_length_exceeded"),
])
def test_errors_of_the_llm_before_its_first_word(testbed, knobs, status, code, streamed):
    service, _ = testbed.one(sets=API)
    answer = post(service.host, ask(inline(**knobs), stream=streamed))
    error = error_of(answer, status)
    assert error["code"] == code
    if status == 429 or code == "service_unavailable":
        assert "retry-after" in answer[1]
    if code == "service_misconfigured":
        assert answer[1]["x-should-retry"] == "false"
    if "body" in knobs:
        assert "top_z is not known" in error["message"]
    if "window" in knobs:
        assert error["param"] == "messages" and "maximum context length is" in error["message"]


def test_without_an_llm(testbed):
    service = testbed.service(sets=API)
    answer = post(service.host, ask("x"))
    assert error_of(answer, 503)["code"] == "service_unavailable" and "retry-after" in answer[1]
    assert service.http.get("/v1/models").json() == {"object": "list", "data": []}


def test_too_many_at_once(testbed):
    service, llm = testbed.one(sets=API + ["limits.turns=1"])
    first = Exchange(service.host, "POST", PATH, ask(inline(tokens=1000, delay_us=20000), stream=True)).head()
    answer = post(service.host, ask("x"))
    assert error_of(answer, 429)["code"] == "rate_limit_exceeded" and answer[1]["retry-after"]
    first.close()


# --- ends ---


@pytest.mark.parametrize("fault", [{"cut_after": 3}, {"reset_after": 3}, {"error_after": 3}, {"tokens": 3, "finish": "", "done": False},
                                   {"tokens": 3, "finish": "abort"}])
@pytest.mark.parametrize("model", [MODEL, AGENT])
def test_a_broken_answer_never_looks_whole(testbed, fault, model):
    service, _ = testbed.one(sets=API)
    body = ask(inline(**{"tokens": 20, "token": "w# ", "numbered": True, **fault}), model=model)
    answer = stream(service.host, body)
    assert not answer.whole and not answer.done and answer.finish is None
    assert answer.error["type"] == "server_error" and "w0" in answer.text or "reset_after" in fault
    error_of(post(service.host, body), 502)


def test_a_silent_llm_is_given_up(testbed):
    service, _ = testbed.one(sets=API + ["llm.stall_timeout=0.5", "llm.silence_timeout=1"])
    answer = stream(service.host, ask(inline(tokens=20, stall_after=3)))
    assert not answer.whole and answer.error and answer.text
    error_of(post(service.host, ask(inline(tokens=20, stall_after=0))), 502)


@pytest.mark.parametrize("after", [1, 7, 19])
def test_another_llm_of_the_model_goes_on_in_the_same_answer(testbed, after):
    knobs = {"token": "w# ", "numbered": True, "tokens": 20}
    a, b = testbed.llm(**knobs, cut_after=after), testbed.llm(**knobs)
    backend = testbed.backend({"d1": a.deployment(), "d2": {**b.deployment(), "name": "c-d2"}})
    service = testbed.service(backend=backend, sets=API).wait_ready()
    wait_until(lambda: all(m["context_length"] for m in service.ctl("models")["models"] if m["kind"] == "discovered"),
               "what both LLMs tell of themselves", 20)
    service.ctl("select", "d1")
    assert len(service.http.get("/v1/models").json()["data"]) == 2
    answer = stream(service.host, ask("tell me", stream_options={"include_usage": True}))
    assert answer.whole and answer.text == "".join(f"w{n} " for n in range(20))
    assert b.chats()[-1]["body"]["messages"][-1]["role"] == "assistant"
    assert answer.usage["prompt_tokens"] == 12 and answer.usage["completion_tokens"] >= 20


def test_another_model_does_not_answer_in_its_place(testbed):
    service, a, b = testbed.two(first={"status": 500}, sets=API)
    error_of(post(service.host, ask("x")), 503)
    assert not b.chats()
    assert stream(service.host, ask("x", model="meta-llama/Qwen3-8B")).text == PLAIN


@pytest.mark.parametrize("streamed", [False, True])
def test_a_client_that_leaves_ends_the_request_to_the_llm(world, streamed):
    service, llm = world
    left, seen = llm.stats()["cancelled"], len(llm.chats())
    exchange = Exchange(service.host, "POST", PATH, ask(inline(tokens=1000, delay_us=20000), stream=streamed))
    wait_until(lambda: len(llm.chats()) > seen, "the LLM is asked")
    if streamed:
        exchange.head()
    exchange.reset()
    wait_until(lambda: llm.stats()["cancelled"] > left, "the LLM's connection is closed", 10)


# --- a worker dies ---

needs_keeper = pytest.mark.skipif(bool(WRAP), reason="valgrind cannot follow a keeper")
LONG = {"tokens": 300, "token": "w# ", "numbered": True, "delay_us": 10000}


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
def test_a_worker_that_dies_is_not_noticed(testbed):
    """Neither of the answer that it was writing."""
    answers = killed(testbed, 10, ask(inline(**LONG), stream_options={"include_usage": True}))
    assert all(a.whole for a in answers)
    for answer in answers:
        assert answer.finish == "stop" and answer.text == "".join(f"w{n} " for n in range(LONG["tokens"]))
        assert answer.usage["prompt_tokens"] == 12


@needs_keeper
def test_a_worker_that_dies_where_nobody_can_go_on(testbed):
    for answer in killed(testbed, 10, ask(inline(**LONG)), sets=["llm.continue=false"]):
        assert not answer.whole and answer.error["code"] == "upstream_error" and answer.text.startswith("w0 ")


# --- browsers ---


def test_scripts_of_other_sites_are_kept_out_unless_they_are_allowed(world):
    service, llm = world
    foreign, allowed = {"Origin": "https://evil.example"}, {"Origin": "https://chat.example.org"}
    error_of(post(service.host, ask("x"), headers=foreign), 403)
    assert service.http.get("/v1/models", headers={**foreign}).status_code == 403
    assert service.http.options(PATH, headers=foreign).status_code == 403
    answer = service.http.options(PATH, headers={**allowed, "Access-Control-Request-Method": "POST",
                                                 "Access-Control-Request-Headers": "authorization,x-stainless-os"})
    assert answer.status_code == 204 and answer.content == b""
    assert answer.headers["access-control-allow-origin"] == "https://chat.example.org"
    assert "x-stainless-os" in answer.headers["access-control-allow-headers"] and {"POST", "DELETE"} <= set(answer.headers["access-control-allow-methods"].split(", "))
    status, headers, _ = post(service.host, ask(words(2)), headers={**allowed, "Sec-Fetch-Site": "cross-site"})
    assert status == 200 and headers["access-control-allow-origin"] == "https://chat.example.org" and headers["vary"] == "Origin"
    assert "access-control-allow-origin" not in post(service.host, ask(words(2)))[1]
    long = {"model": MODEL, "messages": user("x" * 40000) + user(words(2))}
    assert post(service.host, long, headers=allowed)[1]["access-control-allow-origin"] == "https://chat.example.org"
    assert error_of(post(service.host, {}, headers=allowed), 400)

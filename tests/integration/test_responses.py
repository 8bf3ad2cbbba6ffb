# SPDX-License-Identifier: Apache-2.0
"""POST /v1/responses: the Responses API on the wire, and as OpenAI's own Python client reads it."""

import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.api_clients import client, responses_client
from harness.http_client import Exchange
from harness.llm_script import COUNT, PLAIN, inline, said, words
from harness.openai_stream import error_of, post as post_to
from harness.process import WRAP, wait_until
from harness.responses_stream import PATH, Events, calls_of, check_response, events, reasoning_of, text_of
from harness.tool_mocks import SEARCH, call, calls, rounds, search, search_env

MODEL = "meta-llama/Llama-3.1-8B-Instruct"
AGENT = MODEL + ":agent"
API = ["http.api=true"]
WEATHER = {"type": "function", "name": "weather", "description": "how it is", "strict": None,
           "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}
CITY = {"id": "call_x", "name": "weather", "arguments": json.dumps({"city": "Zürich", "note": "\"a\"\n" * 20})}


@pytest.fixture(scope="module")
def world(worlds):
    return worlds.get("one", lambda t: t.one(sets=API + ["llm.stall_timeout=1", "llm.silence_timeout=2"]))


def ask(text, model=MODEL, **more):
    return {"model": model, "input": text, **more}


def post(host, body, **more):
    return post_to(host, body, path=PATH, **more)


def answer_of(host, body):
    status, headers, response = post(host, body)
    assert status == 200 and headers["content-type"] == "application/json", response
    check_response(response)
    return response


def sent(llm):
    return llm.chats()[-1]["body"]["messages"]


# --- answers ---


def test_an_answer_that_is_not_streamed(world):
    service, _ = world
    response = answer_of(service.host, ask(words(), instructions="be brief", metadata={"a": "b"}, temperature=0.5))
    assert response["status"] == "completed" and response["model"] == MODEL and response["instructions"] == "be brief"
    item, = response["output"]
    assert item["type"] == "message" and item["role"] == "assistant" and item["status"] == "completed"
    assert item["content"] == [{"type": "output_text", "text": said(COUNT), "annotations": [], "logprobs": []}]
    assert response["usage"] == {"input_tokens": 12, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": COUNT,
                                 "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 12 + COUNT}
    assert response["metadata"] == {"a": "b"} and response["temperature"] == 0.5 and response["error"] is None


def test_a_streamed_answer(world):
    service, _ = world
    answer = events(service.host, ask(words()))
    assert answer.whole and answer.text == said(COUNT) and answer.end["usage"]["total_tokens"] == 12 + COUNT
    head, tail = answer.types[:4], answer.types[-4:]
    assert head == ["response.created", "response.in_progress", "response.output_item.added", "response.content_part.added"]
    assert tail == ["response.output_text.done", "response.content_part.done", "response.output_item.done", "response.completed"]


@pytest.mark.parametrize("form", [{"coalesce": True}, {"pieces": 1}, {"usage": "none"}, {"reasoning": ["I ", "think"]}])
def test_however_the_llm_cuts_its_stream(world, form):
    service, _ = world
    answer = events(service.host, ask(inline(**form)))
    assert answer.whole and answer.text == PLAIN and reasoning_of(answer.end) == "".join(form.get("reasoning", []))
    assert text_of(answer_of(service.host, ask(inline(**form)))) == PLAIN


def test_every_character_arrives(world):
    service, _ = world
    text = "".join(chr(c) for c in range(1, 0x180)) + "\\\"</script>\u2028\ud7ff\U0001f600<think>&\n\nevent: x\ndata: {}\n\n"
    body = ask(inline(text=list(text)))
    answer = events(service.host, body)
    assert answer.whole and answer.text == text
    assert text_of(answer_of(service.host, body)) == text


@pytest.mark.parametrize("finish, how, reason", [("length", "incomplete", "max_output_tokens"), ("stop", "completed", None),
                                                 ("content_filter", "incomplete", "content_filter")])
def test_the_reason_of_the_end_is_told(world, finish, how, reason):
    service, _ = world
    body = ask(inline(text=["a", "b"], finish=finish))
    answer = events(service.host, body)
    plain = answer_of(service.host, body)
    for response in (answer.end, plain):
        assert response["status"] == how and text_of(response) == "ab"
        assert (response["incomplete_details"] or {}).get("reason") == reason
    assert answer.how == "response." + how and answer.whole == (how == "completed")


# --- what the LLM gets ---


def test_the_llm_gets_a_chat_completion(world):
    service, llm = world
    body = {
        "model": MODEL, "instructions": "one", "store": False, "max_output_tokens": 17, "tools": [WEATHER, {"type": "web_search"}],
        "tool_choice": "required", "text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}}}, "seed": 5,
        "reasoning": {"effort": "low"}, "include": ["reasoning.encrypted_content"], "prompt_cache_key": "k", "client_metadata": {"a": 1},
        "input": [
            {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "two"}]},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "look"},
                                                            {"type": "input_image", "image_url": "data:image/png;base64,AA=="}]},
            {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": "rain"},
            {"type": "message", "role": "user", "content": "so?"}],
    }
    answer = events(service.host, body)
    assert answer.whole and [t["name"] for t in answer.end["tools"]] == ["weather"]
    got = llm.chats()[-1]["body"]
    assert got.pop("messages") == [
        {"role": "system", "content": "one\n\ntwo"},
        {"role": "user", "content": [{"type": "text", "text": "look"},
                                     {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]},
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "c1", "content": "rain"},
        {"role": "user", "content": "so?"}]
    assert got.pop("stream_options")["include_usage"] is True and got.pop("stream") is True
    function = {k: v for k, v in WEATHER.items() if k not in ("type", "strict")}
    assert got == {"model": MODEL, "seed": 5, "max_tokens": 17, "tools": [{"type": "function", "function": function}],
                   "tool_choice": "required", "reasoning_effort": "low",
                   "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}}


# --- tools ---


@pytest.mark.parametrize("fragment", [0, 1, 7])
def test_calls_of_the_client_s_tools_come_whole(world, fragment):
    service, _ = world
    second = {**CITY, "id": "call_y", "arguments": "{\"city\": \"Bern\"}"}
    body = ask(inline(calls=[CITY, second], fragment=fragment), tools=[WEATHER])
    answer = events(service.host, body)
    assert answer.whole
    for response in (answer.end, answer_of(service.host, body)):
        assert [(c["call_id"], c["name"], c["arguments"], c["status"]) for c in calls_of(response)] == [
            (c["id"], "weather", c["arguments"], "completed") for c in (CITY, second)]


def test_the_agent_searches_and_names_its_sources(testbed):
    tavily = search(testbed)
    service, llm = testbed.one(sets=API, env=search_env(tavily))
    body = ask(rounds(calls(call(SEARCH, query="one")), text=["found"]), model=AGENT, tools=[{"type": "web_search"}], store=False)
    answer = events(service.host, body)
    assert answer.whole and answer.text == "found" and tavily.queries() == [("tavily", "one")]
    searched = answer.items[0]
    assert (searched["type"], searched["status"], searched["action"]["query"]) == ("web_search_call", "completed", "one")
    assert searched["action"]["sources"] and not reasoning_of(answer.end)
    assert answer.types[2:8] == ["response.output_item.added", *(f"response.web_search_call.{how}" for how in ("in_progress", "searching", "completed")),
                                 "response.output_item.done", "response.output_item.added"]
    annotations = answer.items[-1]["content"][0]["annotations"]
    assert annotations and annotations == answer.annotations and all(a["type"] == "url_citation" for a in annotations)
    both = ask(rounds(calls(call(SEARCH, query="two")), calls(CITY)), model=AGENT, tools=[WEATHER])
    response = answer_of(service.host, both)
    assert [c["name"] for c in calls_of(response)] == ["weather"]
    assert [i["type"] for i in response["output"]] == ["web_search_call", "function_call"]


# --- memory ---


def test_an_answer_goes_on_from_another(testbed):
    service, llm = testbed.one(sets=API, workers=2)
    roles = lambda: [(m["role"], m["content"]) for m in sent(llm)]
    one, two = inline(text=["one"]), inline(text=["two"])
    first = answer_of(service.host, ask([{"role": "developer", "content": "dev"}, {"role": "user", "content": one}], instructions="a"))
    second = events(service.host, ask(two, previous_response_id=first["id"], instructions="b"))
    assert second.whole and second.end["previous_response_id"] == first["id"]
    assert roles() == [("system", "b\n\ndev"), ("user", one), ("assistant", "one"), ("user", two)]
    answer_of(service.host, ask("three", previous_response_id=second.id))
    assert roles() == [("system", "dev"), ("user", one), ("assistant", "one"), ("user", two), ("assistant", "two"), ("user", "three")]
    answer_of(service.host, ask("again", previous_response_id=first["id"], store=False))
    assert roles() == [("system", "dev"), ("user", one), ("assistant", "one"), ("user", "again")], "two may follow the same one"
    alone = answer_of(service.host, ask("x"))
    assert roles() == [("user", "x")] and alone["previous_response_id"] is None
    assert service.responder.stop() == 0
    service.start_responder()
    wait_until(service.answers, "an answer", 20)
    service.wait_ready()
    answer_of(service.host, ask("four", previous_response_id=second.id))
    assert ("assistant", "two") in roles()


def test_a_round_of_tools_goes_on_from_the_call(world):
    service, llm = world
    question = rounds(calls(CITY), text=["It ", "rains."])
    first = events(service.host, ask(question, tools=[WEATHER]))
    result = [{"type": "function_call_output", "call_id": calls_of(first.end)[0]["call_id"], "output": "rain"}]
    second = answer_of(service.host, ask(result, tools=[WEATHER], previous_response_id=first.id))
    assert [m["role"] for m in sent(llm)] == ["user", "assistant", "tool"] and text_of(second) == "It rains."
    answer_of(service.host, ask("thanks", previous_response_id=second["id"]))
    assert [m["role"] for m in sent(llm)] == ["user", "assistant", "tool", "assistant", "user"]
    assert sent(llm)[1]["tool_calls"][0]["id"] == CITY["id"]


def test_a_conversation_is_one_of_our_threads(world):
    service, llm = world
    one = inline(text=["one"])
    response = answer_of(service.host, ask(one, conversation="a-conversation-of-its-own", instructions="be"))
    assert response["conversation"] == {"id": "a-conversation-of-its-own"}
    service.chat("two", "a-conversation-of-its-own")
    assert ("assistant", "one") in [(m["role"], m["content"]) for m in sent(llm)], "TT-Studio's page goes on with it"
    answer_of(service.host, ask("three", conversation={"id": "a-conversation-of-its-own"}))
    assert [m["role"] for m in sent(llm)] == ["user", "assistant", "user", "assistant", "user"]


def test_stored_answers(world):
    service, llm = world
    stored = answer_of(service.host, ask(words(3), metadata={"a": "b"}))
    answer = service.http.get(f"{PATH}/{stored['id']}")
    assert answer.status_code == 200 and answer.json() == stored
    streamed = events(service.host, ask(inline(text=["let me"], calls=[CITY]), tools=[WEATHER]))
    assert service.http.get(f"{PATH}/{streamed.id}").json() == streamed.end
    limited = events(service.host, ask(inline(text=["a"], finish="length"), previous_response_id=stored["id"]))
    assert service.http.get(f"{PATH}/{limited.id}").json() == limited.end
    forgotten = answer_of(service.host, ask(words(3), store=False))
    before = len(llm.chats())
    for id in (forgotten["id"], stored["id"][:-1] + ("0" if stored["id"][-1] != "0" else "1"), "resp_x", "nix"):
        assert service.http.get(f"{PATH}/{id}").status_code == 404
        for streamed in (False, True):
            error = error_of(post(service.host, ask("x", previous_response_id=id, stream=streamed)), 404)
            assert error["code"] == "previous_response_not_found" and error["param"] == "previous_response_id"
    assert len(llm.chats()) == before


def delete(service, id, **more):
    return service.http.delete(f"{PATH}/{id}", **more)


def test_an_answer_is_deleted(testbed):
    service, llm = testbed.one(sets=API, workers=2)
    roles = lambda: [(m["role"], m["content"]) for m in sent(llm)]
    one, two, three = (inline(text=[word]) for word in ("one", "two", "three"))
    first = answer_of(service.host, ask(one))
    second = answer_of(service.host, ask(two, previous_response_id=first["id"]))
    third = answer_of(service.host, ask(three, previous_response_id=second["id"]))
    done = delete(service, second["id"])
    assert done.status_code == 200 and done.json() == {"id": second["id"], "object": "response", "deleted": True}
    for _ in range(4):  # any worker
        assert [service.http.get(f"{PATH}/{r['id']}").status_code for r in (first, second, third)] == [200, 404, 200]
    assert service.http.get(f"{PATH}/{second['id']}/input_items").status_code == 404
    assert delete(service, second["id"]).status_code == 404
    error = error_of(post(service.host, ask("x", previous_response_id=second["id"])), 404)
    assert error["code"] == "previous_response_not_found"
    answer_of(service.host, ask("four", previous_response_id=third["id"]))
    assert roles() == [("user", three), ("assistant", "three"), ("user", "four")], "what follows the one that was deleted"
    answer_of(service.host, ask("five", previous_response_id=first["id"]))
    assert roles() == [("user", one), ("assistant", "one"), ("user", "five")]
    assert two not in json.dumps(service.ctl("threads", "export")), "nothing of it is stored"
    for id in ("resp_x", "nix", first["id"][:-1] + ("0" if first["id"][-1] != "0" else "1")):
        assert delete(service, id).status_code == 404
    assert delete(service, first["id"]).status_code == delete(service, third["id"]).status_code == 200


def test_results_of_calls_that_were_deleted_are_left_out(world):
    service, llm = world
    first = answer_of(service.host, ask(rounds(calls(CITY), text=["It rains."]), tools=[WEATHER]))
    result = [{"type": "function_call_output", "call_id": calls_of(first)[0]["call_id"], "output": "rain"}]
    second = answer_of(service.host, ask(result, tools=[WEATHER], previous_response_id=first["id"]))
    assert delete(service, first["id"]).status_code == 200
    answer_of(service.host, ask("thanks", previous_response_id=second["id"]))
    assert [(m["role"], m["content"]) for m in sent(llm)] == [("assistant", "It rains."), ("user", "thanks")]


def test_an_answer_that_is_made_while_its_history_is_deleted(world):
    service, llm = world
    first, seen = answer_of(service.host, ask(words(3))), len(llm.chats())
    exchange = Exchange(service.host, "POST", PATH, ask(inline(tokens=100, delay_us=10000), previous_response_id=first["id"], stream=True))
    exchange.head()
    assert len(llm.chats()) > seen and delete(service, first["id"]).status_code == 200
    answer = Events(exchange)
    assert answer.whole and service.http.get(f"{PATH}/{answer.id}").json() == answer.end
    assert service.http.get(f"{PATH}/{first['id']}").status_code == 404


def test_answers_are_stored_as_the_admin_says_where_the_client_does_not(testbed):
    service, _ = testbed.one(sets=API + ["threads.store_responses=false"])
    unsaid, said_so = answer_of(service.host, ask(words(3))), answer_of(service.host, ask(words(3), store=True))
    assert unsaid["store"] is False and said_so["store"] is True
    assert [service.http.get(f"{PATH}/{a['id']}").status_code for a in (unsaid, said_so)] == [404, 200]
    follows = answer_of(service.host, ask(words(3), previous_response_id=said_so["id"]))
    assert follows["store"] is True and service.http.get(f"{PATH}/{follows['id']}").json() == follows


def key_of(service, name):
    key = service.ctl("keys", "create", name)["key"]
    service.secrets.append(key)
    wait_until(lambda: service.http.get("/v1/models", headers={"Authorization": f"Bearer {key}"}).status_code == 200, "the key is known")
    return key


def test_answers_of_others_are_not_there(testbed):
    service, llm = testbed.one(sets=API + ["access.require=api", f"access.keys_file={testbed.directory}/keys.jsonl"])
    mine, others = ({"Authorization": f"Bearer {key_of(service, name)}"} for name in ("ann", "bob"))
    stored = post(service.host, ask(words(3)), headers=mine)[2]
    assert service.http.get(f"{PATH}/{stored['id']}", headers=mine).json() == stored
    nothing = service.http.get(f"{PATH}/resp_{'0' * 36}", headers=others)
    theirs = service.http.get(f"{PATH}/{stored['id']}", headers=others)
    assert theirs.status_code == nothing.status_code == 404 and theirs.json() == nothing.json()
    nothing, theirs = (delete(service, id, headers=others) for id in (f"resp_{'0' * 36}", stored["id"]))
    assert theirs.status_code == nothing.status_code == 404 and theirs.json() == nothing.json()
    assert delete(service, stored["id"]).status_code == 401
    error_of(post(service.host, ask("x", previous_response_id=stored["id"]), headers=others), 404)
    assert post(service.host, ask("x", previous_response_id=stored["id"]), headers=mine)[0] == 200
    assert service.http.get(f"{PATH}/{stored['id']}").status_code == 401


# --- errors ---


@pytest.mark.parametrize("body, param", [
    (b"", None), (b"{", None), (b"[]", None), ({}, "model"), ({"model": MODEL}, "input"), (ask([]), "input"), (ask("x", stream="yes"), "stream"),
    (ask("x", tools=[{"type": "mcp", "server_url": "http://169.254.169.254/"}]), "tools"), (ask("x", background=True), "background"),
])
def test_requests_that_are_wrong(world, body, param):
    service, llm = world
    before = len(llm.chats())
    error = error_of(post(service.host, body), 400)
    assert error["param"] == param and error["type"] == "invalid_request_error" and len(llm.chats()) == before


def test_the_paths_and_methods(world):
    service, _ = world
    for method, path, status in [("GET", PATH, 405), ("POST", PATH + "/resp_x", 405), ("DELETE", PATH, 405),
                                 ("DELETE", f"{PATH}/resp_{'0' * 36}/input_items", 405), ("PUT", PATH + "/resp_x", 405)]:
        answer = service.http.request(method, path)
        assert answer.status_code == status and answer.headers["allow"], (method, path)
    assert service.http.options(PATH).status_code in (204, 403)


def test_errors_of_the_llm_before_its_first_word(testbed):
    service, _ = testbed.one(sets=API)
    for knobs, status, code in [({"window": 3}, 400, "context_length_exceeded"), ({"status": 429, "retry_after": 7}, 429, "rate_limit_exceeded"),
                                ({"error_after": 0}, 502, "upstream_error"), ({"status": 500}, 503, "service_unavailable")]:
        for streamed in (False, True):
            error = error_of(post(service.host, ask(inline(**knobs), stream=streamed)), status)
            assert error["code"] == code
            if "window" in knobs:
                assert error["param"] == "input" and "maximum context length is" in error["message"]


# --- ends ---


@pytest.mark.parametrize("fault", [{"cut_after": 3}, {"reset_after": 3}, {"error_after": 3}, {"stall_after": 3},
                                   {"tokens": 3, "finish": "", "done": False}])
def test_a_broken_answer_never_looks_whole(world, fault):
    service, _ = world
    for model in (MODEL, AGENT):
        body = ask(inline(**{"tokens": 20, "token": "w# ", "numbered": True, **fault}), model=model)
        answer = events(service.host, body)
        assert not answer.whole and answer.how == "response.failed" and answer.end["status"] == "failed"
        assert answer.end["error"]["message"]
    error_of(post(service.host, body), 502)


@pytest.mark.parametrize("after", [7, pytest.param(1, marks=pytest.mark.long), pytest.param(19, marks=pytest.mark.long)])
def test_another_llm_of_the_model_goes_on_in_the_same_answer(testbed, after):
    knobs = {"token": "w# ", "numbered": True, "tokens": 20}
    a, b = testbed.llm(**knobs, cut_after=after), testbed.llm(**knobs)
    backend = testbed.backend({"d1": a.deployment(), "d2": {**b.deployment(), "name": "c-d2"}})
    service = testbed.service(backend=backend, sets=API).wait_ready()
    wait_until(lambda: all(m["context_length"] for m in service.ctl("models")["models"] if m["kind"] == "discovered"),
               "what both LLMs tell of themselves", 20)
    service.ctl("select", "d1")
    answer = events(service.host, ask("tell me"))
    assert answer.whole and answer.text == "".join(f"w{n} " for n in range(20)) and len(answer.items) == 1
    assert b.chats()[-1]["body"]["messages"][-1]["role"] == "assistant"


def test_a_client_that_leaves_ends_the_request_to_the_llm(world):
    service, llm = world
    left, seen = llm.stats()["cancelled"], len(llm.chats())
    exchange = Exchange(service.host, "POST", PATH, ask(inline(tokens=1000, delay_us=20000), stream=True))
    wait_until(lambda: len(llm.chats()) > seen, "the LLM is asked")
    exchange.head()
    exchange.reset()
    wait_until(lambda: llm.stats()["cancelled"] > left, "the LLM's connection is closed", 10)


needs_keeper = pytest.mark.skipif(bool(WRAP), reason="valgrind cannot follow a keeper")
LONG = {"tokens": 150, "token": "w# ", "numbered": True, "delay_us": 10000}


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
        return service, list(pool.map(Events, exchanges))


@needs_keeper
@pytest.mark.parametrize("reasoning", [["I ", "think"], pytest.param([], marks=pytest.mark.long)])
def test_a_worker_that_dies_is_not_noticed(testbed, reasoning):
    """Neither of the answer that it was writing."""
    service, answers = killed(testbed, 10, ask(inline(**LONG, reasoning=reasoning)))
    assert all(a.whole for a in answers)
    for answer in answers:
        assert answer.text == "".join(f"w{n} " for n in range(LONG["tokens"]))
        assert text_of(service.http.get(f"{PATH}/{answer.id}").json()) == answer.text, "it is stored under its id"


@needs_keeper
def test_a_worker_that_dies_where_nobody_can_go_on(testbed):
    for answer in killed(testbed, 10, ask(inline(**LONG)), sets=["llm.continue=false"])[1]:
        assert not answer.whole and answer.how == "error" and answer.end["code"] == "upstream_error"
        assert answer.end["error"]["message"]


# --- OpenAI's own Python client ---

WAYS = ("create", "stream", "helper")


@pytest.fixture(scope="module", params=[client("openai-2"), client("openai-3")])
def openai(request):
    o = responses_client(request.param)
    yield o
    o.close()


def test_answers_as_the_client_reads_them(world, openai):
    url = world[0].url + "/v1"
    plain, streamed, helped = openai.do(url, *((way, ask(words())) for way in WAYS))
    for seen in (plain, streamed, helped):
        assert seen["text"] == said(COUNT) and seen["status"] == "completed" and seen["usage"] == 12 + COUNT
    stored = openai.do(url, ("retrieve", {"response_id": plain["id"]}))
    assert stored["text"] == plain["text"] and stored["id"] == plain["id"]
    gone, again = openai.do(url, *(("delete", {"response_id": plain["id"]}),) * 2)
    assert gone is None and again["error"] == "NotFoundError"


def test_what_an_answer_answers(world, openai):
    """However small its pages are."""
    url = world[0].url + "/v1"
    first = openai.do(url, ("create", ask(words(), instructions="Be brief.")))
    second = openai.do(url, ("create", ask([{"role": "user", "content": c} for c in ("one", "two", words())], previous_response_id=first["id"])))
    plain, reverse = openai.do(url, *(("inputs", {"response_id": second["id"], "order": order, "limit": 2}) for order in ("asc", "desc")))
    assert [i["content"][0]["text"] for i in plain] == ["one", "two", words()] and reverse == plain[::-1]
    assert all(i["role"] == "user" and i["content"][0]["type"] == "input_text" for i in plain)
    assert openai.do(url, ("inputs", {"response_id": "resp_x"}))["error"] == "NotFoundError"


@pytest.mark.parametrize("way", WAYS)
def test_a_round_of_tools_as_the_client_does_it(world, openai, way):
    service, llm = world
    wanted = [call("weather", "call_a", city="Zürich"), call("weather", "call_b", city="Bern")]
    question = [{"role": "user", "content": rounds(calls(*wanted), text=["It ", "rains."], fragment=3)}]
    url = service.url + "/v1"
    first = openai.do(url, (way, ask(question, tools=[WEATHER])))
    assert [(c["call_id"], c["name"], json.loads(c["arguments"])["city"]) for c in first["calls"]] == [
        ("call_a", "weather", "Zürich"), ("call_b", "weather", "Bern")]
    results = [{"type": "function_call_output", "call_id": c["call_id"], "output": "rain"} for c in first["calls"]]
    assert openai.do(url, (way, ask(question + first["output"] + results, tools=[WEATHER])))["text"] == "It rains."
    assert [m["role"] for m in sent(llm)] == ["user", "assistant", "tool", "tool"]
    assert openai.do(url, (way, ask(results, tools=[WEATHER], previous_response_id=first["id"])))["text"] == "It rains."
    assert [m["role"] for m in sent(llm)] == ["user", "assistant", "tool", "tool"]


def test_failures_have_their_class(world, openai):
    seen = openai.do(world[0].url + "/v1", ("create", ask("x", model="nix")), ("create", ask([])), ("stream", ask(inline(status=429))),
                     ("helper", ask(inline(window=3))), ("create", ask("x", previous_response_id="resp_x")),
                     ("retrieve", {"response_id": "resp_x"}))
    assert [(s["error"], s["code"]) for s in seen] == [
        ("NotFoundError", "model_not_found"), ("BadRequestError", None), ("RateLimitError", "rate_limit_exceeded"),
        ("BadRequestError", "context_length_exceeded"), ("NotFoundError", "previous_response_not_found"), ("NotFoundError", "not_found")]


@pytest.mark.parametrize("fault", [{"cut_after": 3}, {"stall_after": 3}, {"tokens": 3, "finish": "", "done": False}])
def test_no_broken_answer_looks_whole_to_the_client(world, openai, fault):
    knobs = inline(**{"tokens": 20, "token": "w ", "delay_us": 5000, **fault})
    plain, streamed, helped = openai.do(world[0].url + "/v1", *((way, ask(knobs)) for way in WAYS))
    assert plain["error"] and helped["error"]
    assert streamed["status"] == "failed" and streamed["types"][-1] == "response.failed"


def test_keys(testbed, openai):
    service, _ = testbed.one(sets=API + ["access.require=api"])
    seen = openai.do(service.url + "/v1", ("create", ask("x")), ("retrieve", {"response_id": "resp_x"}), key="wrong")
    assert [s["error"] for s in seen] == ["AuthenticationError"] * 2 and seen[0]["code"] == "invalid_api_key"

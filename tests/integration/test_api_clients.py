# SPDX-License-Identifier: Apache-2.0
"""OpenAI's own Python client, unmodified, in two major versions: what a program sees of answers, and of their ends."""

import json

import pytest

from harness.api_clients import CLIENTS, client
from harness.llm_script import COUNT, inline, said, words
from harness.openai_stream import user
from harness.process import wait_until
from harness.tool_mocks import call, calls, rounds

MODEL = "meta-llama/Llama-3.1-8B-Instruct"
API = ["http.api=true"]
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
WAYS = ("create", "stream", "helper")


@pytest.fixture(scope="module", params=[client("openai-2"), client("openai-3")])
def openai(request):
    o = CLIENTS[request.param].start()
    yield o
    o.close()


@pytest.fixture(scope="module")
def world(worlds):
    return worlds.get("one", lambda t: t.one(sets=API + ["llm.stall_timeout=1", "llm.silence_timeout=2"]))


def ask(text, **more):
    return {"model": MODEL, "messages": user(text), **more}


@pytest.mark.parametrize("prefix", ["", "/agent"])
def test_models(world, openai, prefix):
    seen = openai.do(world[0].url + prefix + "/v1", ("models", {}), ("model", {"model": MODEL}), ("model", {"model": "a/b"}))
    assert seen[0]["ids"] == [MODEL, MODEL + ":agent"] and seen[1]["id"] == MODEL
    assert seen[2]["error"] == "NotFoundError" and seen[2]["code"] == "model_not_found"


def test_answers(world, openai):
    plain, streamed, counted, helped = openai.do(world[0].url + "/v1", ("create", ask(words())), ("stream", ask(words())), ("stream", ask(words(), stream_options={"include_usage": True})),
        ("helper", ask(words())))
    assert all(a["text"] == said(COUNT) and a["finish"] == "stop" for a in (plain, streamed, counted, helped))
    assert streamed["ids"] == 1 and streamed["usage"] is None
    assert plain["usage"] == counted["usage"] == {"prompt_tokens": 12, "completion_tokens": COUNT, "total_tokens": 12 + COUNT}


@pytest.mark.parametrize("fragment", [1, 0])
def test_a_round_of_tools(world, openai, fragment):
    """The call goes to the client's program, and its result to the model."""
    service, llm = world
    wanted = [call("weather", "call_a", city="Zürich"), call("weather", "call_b", city="Bern")]
    question = user(rounds(calls(*wanted), text=["It ", "rains."], fragment=fragment))
    url = service.url + "/v1"
    for way in ("create", "helper"):
        first = openai.do(url, (way, {"model": MODEL, "messages": question, "tools": [TOOL]}))
        assert first["finish"] == "tool_calls"
        assert [(c["id"], c["type"], c["function"]["name"], json.loads(c["function"]["arguments"])["city"]) for c in first["calls"]] == [
            ("call_a", "function", "weather", "Zürich"), ("call_b", "function", "weather", "Bern")]
        plain = [{"id": c["id"], "type": "function", "function": {k: c["function"][k] for k in ("name", "arguments")}} for c in first["calls"]]
        history = question + [{"role": "assistant", "content": None, "tool_calls": plain}]
        history += [{"role": "tool", "tool_call_id": c["id"], "content": "rain"} for c in plain]
        assert openai.do(url, (way, {"model": MODEL, "messages": history, "tools": [TOOL]}))["text"] == "It rains."
        assert llm.chats()[-1]["body"]["messages"] == history


def test_failures_have_their_class(world, openai):
    seen = openai.do(world[0].url + "/v1", ("create", ask("x", model="nix")), ("create", ask("x", messages=[])), ("stream", ask(inline(status=429))),
        ("create", ask(inline(status=500))), ("create", ask(inline(window=3))), ("stream", ask(inline(window=3))))
    assert [(s["error"], s["code"]) for s in seen] == [
        ("NotFoundError", "model_not_found"), ("BadRequestError", None), ("RateLimitError", "rate_limit_exceeded"),
        ("InternalServerError", "service_unavailable"), ("BadRequestError", "context_length_exceeded"),
        ("BadRequestError", "context_length_exceeded")]


@pytest.mark.parametrize("fault", [{"cut_after": 3}, {"reset_after": 3}, {"error_after": 3}, {"stall_after": 3},
                                   {"tokens": 3, "finish": "", "done": False}])
def test_no_broken_answer_looks_whole(world, openai, fault):
    knobs = inline(**{"tokens": 20, "token": "w ", "delay_us": 5000, **fault})
    for seen in openai.do(world[0].url + "/v1", *((way, ask(knobs)) for way in WAYS)):
        assert "error" in seen, seen


def test_it_tries_again_no_more_than_it_wants(world, openai):
    service, llm = world
    before = len(llm.chats())
    openai.do(service.url + "/v1", ("create", ask(inline(status=400))), retries=2)
    assert len(llm.chats()) == before + 1, "a refusal is final"


def test_a_program_that_leaves(world, openai):
    service, llm = world
    before = llm.stats()["cancelled"]
    assert openai.do(service.url + "/v1", ("leave", ask(inline(tokens=1000, delay_us=20000)))) == {}
    wait_until(lambda: llm.stats()["cancelled"] > before, "the LLM's connection is closed", 10)


def test_keys(testbed, openai):
    service, _ = testbed.one(sets=API + ["access.require=api"])
    seen = openai.do(service.url + "/v1", ("create", ask("x")), ("models", {}), key="wrong")
    assert [s["error"] for s in seen] == ["AuthenticationError"] * 2 and seen[0]["code"] == "invalid_api_key"

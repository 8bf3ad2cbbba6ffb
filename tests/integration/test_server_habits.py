# SPDX-License-Identifier: Apache-2.0
"""Streams as servers and clouds really send them, beyond what OpenAI's API describes."""

import json

import pytest
from harness.http_client import broke_off
from harness.llm_script import inline
from harness.tool_mocks import SEARCH, search, search_env

HALF = ["Half of ", "an answer"]


@pytest.fixture(scope="module")
def one(shared):
    return shared.one()


def chunk(finish=None, **delta):
    return {"id": "c", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def raw(*events, content_type="text/event-stream", headers="", head="", end="data: [DONE]\n\n"):
    """An answer with these events: text as it is, everything else as JSON."""
    body = head + "".join(e if isinstance(e, str) else f"data: {json.dumps(e)}\n\n" for e in events) + end
    return inline(raw=f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\n{headers}Connection: close\r\n\r\n{body}")


def both(text, so_far, finish=None):
    message = {"role": "assistant", "content": so_far}
    return {"object": "chat.completion.chunk", "choices": [{"index": 0, "finish_reason": finish, "message": message,
                                                           "delta": {"role": "assistant", "content": text}}]}


FILTERS = {"hate": {"filtered": False, "severity": "safe"}}
OK = {"status_code": 0, "status_msg": ""}
WHOLE = {
    "Azure: results of its filter": raw(
        {"choices": [], "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": FILTERS}]},
        {"choices": [{"index": 0, "delta": {"content": HALF[0]}, "content_filter_results": FILTERS, "finish_reason": None}]},
        {"choices": [{"index": 0, "content_filter_offsets": {"check_offset": 1}, "content_filter_results": FILTERS, "finish_reason": None}]},
        chunk("stop", content=HALF[1]), {"choices": [], "usage": None}),
    "OpenRouter: comments, its own word": raw(
        ": OPENROUTER PROCESSING\n\n", chunk(content=HALF[0]), ": OPENROUTER PROCESSING\n\n",
        {"choices": [{"index": 0, "delta": {"role": "assistant", "content": HALF[1]}, "finish_reason": "stop", "native_finish_reason": "STOP"}]}),
    "Perplexity: all so far beside each piece": raw(
        both(HALF[0], HALF[0]), both(HALF[1], "".join(HALF)), {**both("", "".join(HALF), "stop"), "object": "chat.completion.done"}),
    "MiniMax: a result of no error, all at the end": raw(
        {**chunk(content=HALF[0]), "base_resp": OK}, {**chunk("stop", content=HALF[1]), "base_resp": OK},
        {"object": "chat.completion", "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "".join(HALF)}}],
         "usage": {"total_tokens": 9}, "base_resp": OK}),
    "Spark: a code and a message of no error": raw(
        {"code": 0, "message": "Success", "sid": "x", **chunk(content=HALF[0])},
        {"code": 0, "message": "Success", "sid": "x", **chunk("stop", content=HALF[1])}),
    "Mistral: parts": raw(
        chunk(content=[{"type": "text", "text": HALF[0]}]), chunk(content=[{"type": "reference", "reference_ids": [1]}]),
        chunk("stop", content=[{"type": "text", "text": HALF[1]}])),
    "watsonx: numbered events": raw(
        f"id: 1\nevent: message\ndata: {json.dumps(chunk(content=HALF[0]))}\n\n", f"id: 2\nevent: message\ndata: {json.dumps(chunk('stop', content=HALF[1]))}\n\n",
        "id: 3\nevent: close\ndata: {}\n\n", end=""),
    "Anthropic: pings": raw(
        'event: ping\ndata: {"type": "ping"}\n\n', chunk(content=HALF[0]), 'event: ping\ndata: {"type": "ping"}\n\n', chunk("stop", content=HALF[1])),
    "a byte order mark": raw(chunk(content=HALF[0]), chunk("stop", content=HALF[1]), head="\ufeff"),
    "no space after data:": raw(*(f"data:{json.dumps(c)}\r\n\r\n" for c in (chunk(content=HALF[0]), chunk("stop", content=HALF[1]))), end="data:[DONE]\r\n\r\n"),
    "the end's reason as an object": raw(chunk(content=HALF[0]), chunk({"type": "stop", "matched": 2}, content=HALF[1])),
    "Moonshot: usage in the choice": raw(chunk(content=HALF[0]), {"choices": [{"index": 0, "delta": {"content": HALF[1]}, "finish_reason": "stop", "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}}]}),
    "Groq: x_groq": raw({**chunk(role="assistant", content=""), "x_groq": {"id": "r"}}, chunk(content=HALF[0]), chunk(content=HALF[1]),
                        {**chunk("stop"), "x_groq": {"id": "r", "usage": {"prompt_tokens": 1, "completion_tokens": 2}}}),
    "text in place of a delta": raw({"choices": [{"index": 0, "text": HALF[0], "finish_reason": None}]}, {"choices": [{"index": 0, "text": HALF[1], "finish_reason": "stop"}]}),
    "a refusal": raw(chunk(role="assistant", content="", refusal=None), chunk(refusal=HALF[0]), chunk(refusal=HALF[1]), chunk("stop")),
    "lines of JSON": raw(json.dumps(chunk(content=HALF[0])) + "\n", json.dumps(chunk("stop", content=HALF[1])) + "\n", content_type="application/x-ndjson", end=""),
    "all choices but one empty": raw({"choices": [{"index": 0, "delta": {"content": HALF[0]}}, {"index": 1, "delta": {"content": "another"}}]}, chunk("stop", content=HALF[1])),
    "errors that are none": raw({**chunk(content=HALF[0]), "error": None, "errors": [], "detail": None}, {**chunk("stop", content=HALF[1]), "error": ""}),
    "a success that is named": raw({**chunk(content=HALF[0]), "status": "success", "success": True, "errors": []}, {**chunk("stop", content=HALF[1]), "error_code": 0, "error_msg": ""}),
    "a whole answer in one event": raw({"object": "chat.completion", "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "".join(HALF)}}]}),
}


@pytest.mark.parametrize("case", WHOLE)
def test_it_is_whole(one, case):
    turn = one[0].chat(WHOLE[case])
    assert turn.whole and turn.text == "".join(HALF), turn.chunks


def test_reasoning_as_parts(one):
    """Mistral's models that reason."""
    turn = one[0].chat(raw(chunk(content=[{"type": "thinking", "thinking": [{"type": "text", "text": "Let me see."}]}]),
                           chunk(content=HALF[0]), chunk("stop", content=HALF[1])))
    assert turn.whole and turn.answer == "".join(HALF) and "Let me see." in turn.text, turn.chunks


BROKEN = {
    "OpenRouter": ({"id": "x", "error": {"code": "server_error", "message": "Provider disconnected unexpectedly"},
                    "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}]}, "Provider disconnected"),
    "OpenRouter, of a provider": ({"error": {"code": 502, "message": "Provider returned error", "metadata": {"raw": "upstream sank", "provider_name": "x"}},
                                   "choices": []}, "upstream sank"),
    "TGI": ({"error": "Request failed during generation: Server error: CANCELLED", "error_type": "generation"}, "CANCELLED"),
    "vLLM, older": ({"object": "error", "message": "EngineCore died", "type": "InternalServerError", "param": None, "code": 500}, "EngineCore died"),
    "FastAPI": ({"detail": "worker 3 is gone"}, "worker 3 is gone"),
    "MiniMax": ({"choices": None, "base_resp": {"status_code": 1013, "status_msg": "unknown error, 1013"}}, "1013"),
    "Gemini": ([{"error": {"code": 503, "message": "it sank", "status": "UNAVAILABLE"}}], "it sank"),
    "Cloudflare": ({"success": False, "errors": [{"code": 5006, "message": "AiError: it sank"}], "result": {}}, "it sank"),
    "Anthropic": ('event: error\ndata: {"type": "error", "error": {"type": "api_error", "message": "it sank"}}\n\n', "it sank"),
    "LM Studio": ('event: error\ndata: {"error": {"message": "The model has crashed without additional information."}}\n\n', "has crashed"),
    "Ollama: a line of its own": ('{"error":"an error was encountered while running the model: unexpected EOF"}\n', "unexpected EOF"),
    "Baidu": ({"error_code": 336000, "error_msg": "Internal error, it sank", "id": "x"}, "it sank"),
    "a message of an error event": ('event: error\ndata: it sank\n\n', "it sank"),
    "Together": ({"id": "x", "error": {"message": "it sank", "type_": "server_error"}}, "it sank"),
    "Spark": ({"code": 10008, "message": "it sank", "sid": "x"}, "it sank"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_it_is_broken_and_why(one, case):
    event, why = BROKEN[case]
    service, llm = one
    for text in (HALF, []):
        size = len(service.responder.log())
        turn = service.chat(raw(*(chunk(content=t) for t in text), event, end=""))
        broke_off(turn, "".join(text))
        assert why in service.responder.log()[size:], service.responder.log()[size:]


# --- calls of tools ---

ARGUMENTS = '{"query": "alpha"}'


def called(*deltas, finish="tool_calls"):
    return [chunk(role="assistant", content=None), *(d if "choices" in d else chunk(**d) for d in deltas), chunk(finish)]


def function(name=SEARCH, arguments=ARGUMENTS, **more):
    return {"index": 0, "id": "call_1", "type": "function", "function": {"name": name, "arguments": arguments}, **more}


CALLS = {
    "TGI: one call, not a list of them": called({"tool_calls": function()}),
    "arguments as an object": called({"tool_calls": [function(arguments={"query": "alpha"})]}),
    "Gemini: no index, and stop": called({"tool_calls": [{"id": "", "type": "function", "function": {"name": SEARCH, "arguments": ARGUMENTS}}]}, finish="stop"),
    "an id that is a number, no type": called({"tool_calls": [{"index": 0, "id": 7, "function": {"name": SEARCH, "arguments": ARGUMENTS}}]}),
    "no id at all": called({"tool_calls": [{"index": 0, "type": "function", "function": {"name": SEARCH, "arguments": ARGUMENTS}}]}),
    "an index from 1 on": called({"tool_calls": [function(index=1)]}),
    "an index as text": called({"tool_calls": [function(index="0")]}),
    "null where nothing new is": called({"tool_calls": [function(arguments="")]},
                                        {"tool_calls": [{"index": 0, "id": None, "type": None, "function": {"name": None, "arguments": ARGUMENTS}}]}),
    "empty where nothing new is": called({"tool_calls": [function(arguments="")]},
                                         {"tool_calls": [{"index": 0, "id": "", "type": "", "function": {"name": "", "arguments": ARGUMENTS}}]}),
    "the name again in each piece": called(*({"tool_calls": [function(arguments=part)]} for part in (ARGUMENTS[:5], ARGUMENTS[5:]))),
    "all so far in each piece": called(*({"tool_calls": [function(arguments=ARGUMENTS[:n])]} for n in (3, 9, len(ARGUMENTS)))),
    "in the message of the end": called({"choices": [{"index": 0, "delta": {}, "message": {"role": "assistant", "tool_calls": [function()]}, "finish_reason": None}]}),
    "in the delta and in the message of the end": called(
        {"tool_calls": [function()]}, {"choices": [{"index": 0, "delta": {}, "message": {"role": "assistant", "tool_calls": [function()]}, "finish_reason": None}]}),
    "a whole answer": [{"object": "chat.completion", "choices": [{"index": 0, "finish_reason": "tool_calls", "message": {"role": "assistant", "content": None, "tool_calls": [function()]}}]}],
    "with the reason of a text": called({"tool_calls": [function()]}, finish="stop"),
    "with an older reason": called({"function_call": {"name": SEARCH, "arguments": ""}}, {"function_call": {"arguments": ARGUMENTS}}, finish="function_call"),
    "Bedrock: tool_use": called({"tool_calls": [function()]}, finish="tool_use"),
    "Cohere: TOOL_CALL": called({"tool_calls": [function()]}, finish="TOOL_CALL"),
    "Gemini: thought signatures": called({"tool_calls": [function(extra_content={"google": {"thought_signature": "c2ln"}})]}),
    "OpenRouter: details of its reasoning": called({"reasoning": "hm", "reasoning_details": [{"type": "reasoning.text", "text": "hm", "index": 0}]}, {"tool_calls": [function()]}),
    "after an empty list": called({"content": "", "tool_calls": []}, {"content": None, "tool_calls": None}, {"tool_calls": [function()]}),
    "arguments in the call, not in its function": called({"tool_calls": [{"index": 0, "id": "c", "type": "function", "name": SEARCH, "arguments": ARGUMENTS}]}),
    "parameters in place of arguments": called({"tool_calls": [{"index": 0, "id": "c", "type": "function", "function": {"name": SEARCH, "parameters": {"query": "alpha"}}}]}),
    "as the text of its content": called({"content": f"<tool_call>{json.dumps({'name': SEARCH, 'arguments': {'query': 'alpha'}})}</tool_call>"}, finish="stop"),
    "usage after it": [*called({"tool_calls": [function()]}), {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}}],
}


@pytest.fixture(scope="module")
def searching(shared):
    mock = search(shared)
    return shared.one(env=search_env(mock)), mock


@pytest.mark.parametrize("case", CALLS)
def test_a_call_is_made(searching, case):
    (service, llm), mock = searching
    before = len(mock.queries())
    first = json.loads(raw(*CALLS[case])[2:-2])
    turn = service.chat(inline(rounds=[first, {"text": ["Found."]}]))
    assert turn.whole and turn.answer.endswith("Found."), turn.chunks
    assert mock.queries()[before:] == [("tavily", "alpha")]

# SPDX-License-Identifier: Apache-2.0
"""Tool calls as servers other than vLLM stream them, and what each server gets back with its calls."""

import json

import pytest

from harness.tool_mocks import SEARCH, search, search_env

HEAD = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


def raw(*deltas, finish="tool_calls", done=True):
    """A round: the deltas of an answer, each in an event; a string is an event as it is."""
    events = [d if isinstance(d, str) else json.dumps({"choices": [{"index": 0, "delta": d}]}) for d in deltas]
    events.append(json.dumps({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]}))
    if done:
        events.append("[DONE]")
    return {"raw": HEAD + "".join(f"data: {e}\n\n" for e in events)}


def call(name=None, arguments=None, index=0, **more):
    function = {k: v for k, v in (("name", name), ("arguments", arguments)) if v is not None}
    return {**({} if index is None else {"index": index}), **more, "function": function}


def calls(*each):
    return {"tool_calls": list(each)}


def query(text):
    return json.dumps({"query": text})


class World:
    def __init__(self, testbed):
        self.search = search(testbed)
        self.service, self.llm = testbed.one(env=search_env(self.search))

    def chat(self, *rounds):
        self.search.forget()
        self.llm.forget()
        self.llm.script(rounds=list(rounds))
        turn = self.service.chat("question")
        assert turn.whole, turn.chunks
        return turn

    def queries(self):
        return sorted(q for _, q in self.search.queries())

    def sent(self, ask=1):
        """The assistant's message with the calls, as the LLM got it back."""
        return [m for m in self.llm.chats()[ask]["body"]["messages"] if m["role"] == "assistant"][-1]

    def results(self):
        return [m["content"] for m in self.llm.chats()[-1]["body"]["messages"] if m["role"] == "tool"]


@pytest.fixture(scope="module")
def world(shared):
    return World(shared)


A, B = query("alpha"), query("beta")
BOTH = ["alpha", "beta"]
STREAMS = {
    "one index, no ids, one chunk": ([calls(call(SEARCH, A, id=""), call(SEARCH, B, id=""))], BOTH),
    "one index, no ids, two chunks": ([calls(call(SEARCH, A, id="")), calls(call(SEARCH, B, id=""))], BOTH),
    "no index": ([calls(call(SEARCH, A, None)), calls(call(SEARCH, B, None))], BOTH),
    "a name in fragments": ([calls(call("tavily", id="a")), calls(call("_search_results_json", A))], ["alpha"]),
    "a namespace": ([calls(call(f"functions.{SEARCH}:0", A, id="a"))], ["alpha"]),
    "another namespace": ([calls(call(f"default_api:{SEARCH}", A, id="a"))], ["alpha"]),
    "an empty object first": ([calls(call(SEARCH, "{}", id="a")), calls(call(None, A))], ["alpha"]),
    "the object twice": ([calls(call(SEARCH, A, id="a")), calls(call(None, A))], ["alpha"]),
    "all so far with each chunk": ([calls(call(SEARCH, A[:n], id="a")) for n in (1, 6, 15, len(A))], ["alpha"]),
    "encoded twice": ([calls(call(SEARCH, json.dumps(A), id="a"))], ["alpha"]),
    "a template token": ([calls(call(SEARCH, A + "\n</tool_call>", id="a"))], ["alpha"]),
    "a fence": ([calls(call(SEARCH, f"```json\n{A}\n```", id="a"))], ["alpha"]),
    "an object": ([calls(call(SEARCH, {"query": "alpha"}, id="a"))], ["alpha"]),
    "function_call": ([{"function_call": {"name": SEARCH, "arguments": A[:9]}}, {"function_call": {"arguments": A[9:]}}],
                      ["alpha"]),
    "again at the end": ([calls(call(SEARCH, A, id="a")), json.dumps({"choices": [{"index": 0, "delta": None, "message": {
        "content": None, "tool_calls": [{"id": "b", "function": {"name": SEARCH, "arguments": A}}]}}]})], ["alpha"]),
}


@pytest.mark.parametrize("stream", STREAMS)
def test_calls_are_put_together(world, stream):
    deltas, queries = STREAMS[stream]
    turn = world.chat(raw(*deltas))
    assert world.queries() == queries
    assert turn.answer == "Hello, world! Grüße 😀\nBye."
    message = world.sent()
    assert [json.loads(c["function"]["arguments"])["query"] for c in message["tool_calls"]] == queries
    assert {c["function"]["name"] for c in message["tool_calls"]} == {SEARCH}
    assert len({c["id"] for c in message["tool_calls"]}) == len(queries)


def test_a_whole_answer_with_calls_despite_streaming(world):
    body = json.dumps({"object": "chat.completion", "choices": [{"index": 0, "finish_reason": "tool_calls", "message": {
        "role": "assistant", "content": None, "tool_calls": [{"id": "a", "type": "function", "function": {"name": SEARCH, "arguments": A}}]}}]}, indent=2)
    world.chat({"raw": f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}"})
    assert world.queries() == ["alpha"]


@pytest.mark.parametrize("arguments", ["", "{}", A[:-2], json.dumps(A)[:-3]])
def test_a_call_that_was_cut_at_the_limit_is_not_run(world, arguments):
    world.chat(raw(calls(call(SEARCH, arguments, id="a")), finish="length"))
    assert world.queries() == []
    assert "cut off" in world.results()[0]


# ---- what comes back ---------------------------------------------------------------------------

SIGNATURE = {"google": {"thought_signature": "c2ln"}}
DETAILS = [{"type": "reasoning.text", "text": "I must", "format": "x", "index": 0},
           {"type": "reasoning.text", "text": " look", "signature": "s", "index": 0},
           {"type": "reasoning.encrypted", "data": "xyz", "index": 1}]
MERGED = [{"type": "reasoning.text", "text": "I must look", "format": "x", "signature": "s", "index": 0}, DETAILS[2]]
BESIDE = {
    "reasoning_content": ([{"reasoning_content": "I must"}, {"reasoning_content": " look"}], {"reasoning_content": "I must look"}),
    "reasoning": ([{"reasoning": "hm"}], {"reasoning": "hm"}),
    "thinking": ([{"thinking": "hm"}], {"thinking": "hm"}),
    "reasoning_details": ([{"reasoning": d.get("text"), "reasoning_details": [d]} for d in DETAILS],
                          {"reasoning": "I must look", "reasoning_details": MERGED}),
    "thinking_blocks": ([{"reasoning_content": "hm", "thinking_blocks": [{"type": "thinking", "thinking": "hm"}]},
                         {"thinking_blocks": [{"type": "thinking", "thinking": "", "signature": "s"}]}],
                        {"reasoning_content": "hm", "thinking_blocks": [{"type": "thinking", "thinking": "hm", "signature": "s"}]}),
    "parts": ([{"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]}, {"content": "So"}],
              {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "So"}]}),
    "tags": ([{"content": "<think>hm</think>\n\nSo"}], {"content": "<think>hm</think>\n\nSo"}),
    "null": ([{"role": "assistant", "content": None}], {"content": None}),
    "an empty text": ([{"role": "assistant", "content": ""}, {"content": None}], {"content": ""}),
}


@pytest.mark.parametrize("kind", BESIDE)
def test_what_came_beside_a_call_goes_back(world, kind):
    deltas, want = BESIDE[kind]
    world.chat(raw(*deltas, calls(call(SEARCH, A, id="a", type="function"))))
    plain = {"role": "assistant", "content": "", "tool_calls": [
        {"id": "a", "type": "function", "function": {"name": SEARCH, "arguments": A}}]}
    assert world.sent() == {**plain, **want}


def test_unknown_members_of_a_call_go_back(world):
    first = call(SEARCH, A[:5], id="a", extra_content=SIGNATURE)
    first["function"]["provider_specific_fields"] = {"x": 1}
    world.chat(raw(calls(first), calls(call(None, A[5:]))))
    [sent] = world.sent()["tool_calls"]
    assert sent == {"id": "a", "type": "function", "extra_content": SIGNATURE,
                    "function": {"name": SEARCH, "arguments": A, "provider_specific_fields": {"x": 1}}}


def test_it_goes_back_in_each_round_but_not_in_the_next_turn(world):
    world.llm.forget()
    world.llm.script(rounds=[raw({"reasoning_content": "one"}, calls(call(SEARCH, A, id="a"))),
                             raw({"reasoning_content": "two"}, calls(call(SEARCH, B, id="b")))])
    world.service.chat("question", "beside")
    world.service.chat("[plain] more", "beside")
    bodies = [r["body"]["messages"] for r in world.llm.chats()]
    assert [m.get("reasoning_content") for m in bodies[2] if "tool_calls" in m] == ["one", "two"]
    assert not any("reasoning_content" in m for m in bodies[3])


def test_another_llm_gets_the_plain_form(testbed):
    tavily = search(testbed)
    service, a, b = testbed.two({"rounds": [raw({"reasoning_content": "hm"}, calls(call(SEARCH, A, id="a", extra_content=SIGNATURE))),
                                            {"status": 500}]}, env=search_env(tavily))
    turn = service.chat("question")
    assert turn.whole and turn.answer == "Hello, world! Grüße 😀\nBye."
    assert "reasoning_content" in json.dumps(a.chats()[1]["body"]["messages"])
    [message] = [m for m in b.chats()[0]["body"]["messages"] if "tool_calls" in m]
    assert "reasoning_content" not in message and "extra_content" not in message["tool_calls"][0]


def test_an_llm_that_refuses_its_own_form_gets_the_plain_one(world):
    refusal = {"status": 400, "body": json.dumps({"error": {"message": "Extra inputs are not permitted: reasoning"}})}
    turn = world.chat(raw({"reasoning": "hm"}, calls(call(SEARCH, A, id="a"))), refusal)
    assert "refused" in turn.text  # by the mock each time; what counts is what it was sent
    assert "reasoning" in world.sent(1) and "reasoning" not in world.sent(2)
    assert len(world.llm.chats()) == 3

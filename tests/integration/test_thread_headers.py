# SPDX-License-Identifier: Apache-2.0
"""Conversations of the OpenAI API that a header of the request names (http.thread_headers)."""

import pytest

from harness.llm_script import inline
from harness.openai_stream import post, stream, user
from harness.process import wait_until
from harness.tool_mocks import CODE, call, calls, e2b, e2b_env, rounds

MODEL = "meta-llama/Llama-3.1-8B-Instruct"
AGENT = MODEL + ":agent"
API = ["http.api=true", "http.thread_headers=thread-id, X-OpenWebUI-Chat-Id"]
TITLE = "### Task:\nGenerate a concise, 3-5 word title with an emoji summarizing the chat history.\n<chat_history>USER: one</chat_history>"


@pytest.fixture(scope="module")
def world(worlds):
    return worlds.get("one", lambda t: t.one({"max_model_len": 100000}, sets=API))


def say(text):
    return inline(text=[text])


def ask(world, name, *messages, model=AGENT, header="thread-id", **more):
    """Whom the LLM then hears, without our prompt."""
    service, llm = world
    body = {"model": model, "messages": list(messages), **more}
    status, _, answer = post(service.host, body, headers={header: name} if name is not None else None)
    assert status == 200, answer
    return [(m["role"], m["content"]) for m in llm.chats()[-1]["body"]["messages"] if m["role"] in ("user", "assistant")]


def one(text):
    return user(text)[0]


def answered(text):
    return {"role": "assistant", "content": text}


def test_a_client_that_sends_only_its_new_message_is_remembered(world):
    first, second = say("one"), say("two")
    ask(world, "remembered", one(first))
    both = [("user", first), ("assistant", "one"), ("user", second)]
    assert ask(world, "remembered", one(second), header="Thread-Id") == both
    assert ask(world, "remembered", {"role": "system", "content": "be brief"}, one("x"), stream=False)[:2] == both[:2]
    assert ask(world, "another", one(second)) == [("user", second)]
    assert ask(world, "remembered", one(second), header="x-openwebui-chat-id")[:2] == both[:2], "the name counts, not the header"


@pytest.mark.parametrize("name, model, header", [
    (None, AGENT, "thread-id"), ("raw", MODEL, "thread-id"), ("other", AGENT, "x-session-id"), ("", AGENT, "thread-id"),
    ("  ", AGENT, "thread-id"), ("x" * 513, AGENT, "thread-id"),
])
def test_nothing_is_remembered_where_nothing_names_it(world, name, model, header):
    for _ in range(2):
        assert ask(world, name, one(say("one")), model=model, header=header) == [("user", say("one"))]


def test_the_client_s_own_conversation_counts_and_is_not_doubled(world):
    first, second, third = say("one"), say("two"), say("three")
    ask(world, "whole", one(first))
    whole = [one(first), answered("one"), one(second)]
    assert ask(world, "whole", *whole) == [("user", first), ("assistant", "one"), ("user", second)]
    assert ask(world, "whole", *whole, answered("two"), one(third))[:4] == [
        ("user", first), ("assistant", "one"), ("user", second), ("assistant", "two")]
    assert ask(world, "whole", one(third)) == [("user", first), ("assistant", "one"), ("user", third)], "stored once"


def test_an_answer_that_is_made_again_does_not_know_the_first(world):
    """As chat pages do it: the same first message once more."""
    first = say("one")
    for _ in range(3):
        assert ask(world, "again", one(first)) == [("user", first)]
    parts = {"role": "user", "content": [{"type": "text", "text": first}]}
    assert len(ask(world, "again", parts)) == 1


@pytest.mark.parametrize("messages", [
    [one(TITLE)], [one("### Task:\nGenerate 1-3 broad tags")], [one("### Task:\nSuggest 3-5 relevant follow-up questions")],
    [{"role": "system", "content": "You are a title generator."}, one("hello")],
    [one("Generate a title for this conversation:\n"), one("hello")],
    [one("Provide a concise, 5-word-or-less title for the conversation, using title case conventions.")],
])
def test_titles_and_tags_belong_to_no_conversation(world, messages):
    name = f"titled-{len(messages)}-{abs(hash(str(messages)))}"
    first, second = say("one"), say("two")
    ask(world, name, one(first))
    assert ("assistant", "one") not in ask(world, name, *messages)
    assert ask(world, name, one(second)) == [("user", first), ("assistant", "one"), ("user", second)]


def test_a_round_of_the_client_s_tools_knows_what_was_said_before(world):
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
    first, question = say("one"), rounds(calls(call("weather")), text=["rain"])
    ask(world, "round", one(first))
    assert ask(world, "round", one(question), tools=[tool])[:2] == [("user", first), ("assistant", "one")]
    result = [{"role": "assistant", "content": None, "tool_calls": [{"id": "call_a", "type": "function", "function": {"name": "weather", "arguments": "{}"}}]},
              {"role": "tool", "tool_call_id": "call_a", "content": "it rains"}]
    assert ask(world, "round", one(question), *result, tools=[tool])[:3] == [("user", first), ("assistant", "one"), ("user", question)]
    assert ask(world, "round", one(say("two")))[-2] == ("assistant", "rain")


def test_a_name_in_the_body_counts_more(world):
    ask(world, "header-of-two", one(say("one")), metadata={"thread_id": "body-of-two"})
    assert len(ask(world, "header-of-two", one(say("two")))) == 1
    assert len(ask(world, None, one(say("three")), metadata={"thread_id": "body-of-two"})) == 3


def test_a_long_request_is_remembered_too(world):
    first, second = "x" * 40000 + say("one"), "y" * 40000 + say("two")
    ask(world, "long-request", one(first))
    assert ask(world, "long-request", one(second)) == [("user", first), ("assistant", "one"), ("user", second)]


@pytest.mark.parametrize("server", ["nginx", "lighttpd", "apache"])
def test_each_web_server_passes_the_header_on(world, server):
    service, llm = world
    for text in "one", "two":
        assert stream(service.host_of(server), {"model": AGENT, "messages": user(say(text))}, headers={"thread-id": f"by-{server}"}).text == text
    assert [m["content"] for m in llm.chats()[-1]["body"]["messages"]][1:3] == [say("one"), "one"]


def test_each_key_has_conversations_of_its_own(testbed):
    service, llm = testbed.one(sets=[*API, "access.require=api", f"access.keys_file={testbed.directory}/keys.jsonl"])
    keys = [service.ctl("keys", "create", name)["key"] for name in ("ann", "bob")]
    service.secrets += keys
    for key in keys:
        answer = lambda: post(service.host, {"model": AGENT, "messages": user(say("one"))},
                              headers={"Authorization": f"Bearer {key}", "thread-id": "the-same"})[0] == 200
        wait_until(answer, "the key is known")
        assert [m["role"] for m in llm.chats()[-1]["body"]["messages"]] == ["system", "user"]


def test_code_of_a_conversation_runs_in_one_sandbox(testbed):
    """Also for a client that sends the whole conversation."""
    sandboxes = e2b(testbed)
    service, llm = testbed.one(sets=API, env=e2b_env(sandboxes))
    run = lambda n: rounds(calls(call(CODE, code=f"print({n})")), text=[f"done {n}"])
    chats = [[one(run(1))], [one(run(1)), answered("done 1"), one(run(2))],
             [one(run(1)), answered("done 1"), one(run(2)), answered("done 2"), one(run(3))]]
    for messages in chats:
        ask((service, llm), "with-code", *messages)
    assert sandboxes.calls().count("POST /sandboxes") == 1
    ask((service, llm), "other-code", *chats[0])
    ask((service, llm), None, *chats[0])
    assert sandboxes.calls().count("POST /sandboxes") == 3

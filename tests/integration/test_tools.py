# SPDX-License-Identifier: Apache-2.0
"""Turns with tools, through nginx: what the client sees, what the LLM is sent, which requests the tools get."""

import copy
import json
import re
import time

import pytest

from harness.daemon import replace_file
from harness.golden import recording
from harness.process import wait_until
from harness.tool_mocks import CODE, SEARCH, call, calls, e2b, e2b_env, rounds, search, search_env

PLAIN = "Hello, world! Grüße 😀\nBye."
# Brackets of titles and parentheses of URLs would end the link for TT-Studio's pattern.
SOURCES = "Source: [First (one)](https://www.example.org/a_%28b%29)\nSource: [example.com](https://www.example.com/x)\n"
TT_STUDIO_SOURCE = re.compile(r"Source:\s*\[([^\]]*)\]\(([^)]+)\)")


class World:
    def __init__(self, testbed):
        self.search = search(testbed)
        self.e2b = e2b(testbed)
        self.env = {**search_env(self.search, searxng=True, brave=True), **e2b_env(self.e2b)}
        self.service, self.llm = testbed.one(env=self.env, sets=self.sets())

    def sets(self):
        return [f"search.brave_url={self.search.url}", "search.timeout=2", "search.bench=0"]

    def fresh(self):
        for mock in (self.search, self.e2b):
            mock.script()
        for mock in (self.search, self.e2b, self.llm):
            mock.forget()
        return self

    def chat(self, message, thread_id=None):
        turn = self.service.chat(message, thread_id)
        assert turn.whole, turn.chunks
        return turn

    def results(self, ask=-1):
        """The tools' results that the LLM was sent."""
        return [m["content"] for m in self.llm.chats()[ask]["body"]["messages"] if m["role"] == "tool"]


@pytest.fixture(scope="module")
def made(shared):
    return World(shared)


@pytest.fixture
def world(made):
    return made.fresh()


def reasoning(*lines):
    return "<think>" + "".join(lines) + "</think>"


# ---- as recorded -----------------------------------------------------------------------------


def escaped(text):
    return text.replace("[First [one]](https://www.example.org/a_(b))", "[First (one)](https://www.example.org/a_%28b%29)")


def shown_messages(messages):
    """What of a request must be as recorded: roles, contents, calls, ids, order."""
    shown = []
    for m in messages:
        m = dict(m)
        if m["role"] == "system":
            m["content"] = "<system prompt>"
        if m["role"] == "tool":
            results = json.loads(m["content"])
            m["content"] = [(r["title"], r["url"], re.sub("c{800}", "<c x 800>", r["content"])) for r in results]
        for c in m.get("tool_calls", []):
            c["function"]["arguments"] = json.loads(c["function"]["arguments"])
        shown.append(m)
    return shown


def recorded_messages(upstream, message):
    """The recorded request without what other threads had said."""
    messages = copy.deepcopy(upstream["body"]["messages"])
    begin = max(i for i, m in enumerate(messages) if m["content"] == message)
    return shown_messages(messages[:1] + messages[begin:])


@pytest.mark.parametrize("name", ["[plain]", "[search]", "[search2]", "[tworounds]"])
def test_dialogue_is_as_recorded(world, name):
    want = recording("one")[f"chat {name}"]
    message = want["request"]["body"]["message"]
    turn = world.chat(message)
    assert turn.text == escaped(want["text"].split("[STATS]")[0])
    if "</think>" in turn.text:
        assert "</think>" in turn.chunks
    asked = sorted(world.llm.chats() + world.search.requests(), key=lambda r: r["at_ns"])
    assert [r["path"] for r in asked] == [u["path"] for u in want["upstream"]]
    for have, recorded in zip(asked, want["upstream"]):
        if recorded["to"] == "search":
            assert have["body"]["query"] == recorded["body"]["query"]
            assert have["headers"]["authorization"] == "Bearer tvly-test"
            for key in ("search_depth", "topic", "include_answer", "max_results"):
                assert have["body"][key] == recorded["body"][key]
        else:
            assert shown_messages(have["body"]["messages"]) == recorded_messages(recorded, message)
            assert have["body"]["tool_choice"] == "auto"


def test_sources_match_the_pattern_of_tt_studio(world):
    found = TT_STUDIO_SOURCE.findall(world.chat("[search] hello").text)
    assert found == [("First (one)", "https://www.example.org/a_%28b%29"), ("example.com", "https://www.example.com/x")]


def test_the_history_of_a_thread_keeps_its_tool_calls_valid(world):
    world.chat("[search] first", "tools-history")
    world.chat("[plain] second", "tools-history")
    roles = [m["role"] for m in world.llm.chats()[-1]["body"]["messages"]]
    assert roles == ["system", "user", "assistant", "tool", "assistant", "user"]


# ---- more than one -----------------------------------------------------------------------------


def test_a_repeated_query_is_asked_and_shown_once(world):
    turn = world.chat(rounds(calls(call(SEARCH, query="same")), calls(call(SEARCH, id="call_b", query="same"))))
    assert turn.text == reasoning("[searching]\n", "Searching: same\n", SOURCES) + PLAIN
    assert world.search.queries() == [("tavily", "same")]
    assert "made before" in world.results()[1]


def test_searches_of_one_answer_run_in_parallel(world):
    world.search.script(tavily={"delay_us": 400000})
    began = time.monotonic()
    turn = world.chat(rounds(calls(*(call(SEARCH, id=f"c{i}", query=f"q{i}") for i in range(5)))))
    assert turn.text.count("Source: [First (one)]") == 5
    first, last = world.search.requests()[0], world.search.requests()[-1]
    assert last["at_ns"] - first["at_ns"] < 300e6 and time.monotonic() - began < 1.9


def test_so_many_calls_of_a_turn_are_run(world):
    """limits.tool_calls is 20: a model that calls on and on must answer with what it has."""
    asked = [calls(*(call(SEARCH, id=f"c{r}-{i}", query=f"q{r}-{i}") for i in range(32))) for r in range(5)]
    turn = world.chat(rounds(*asked))
    assert turn.answer == PLAIN and turn.text.count("Searching: ") == 20
    assert len(world.search.queries()) == 20
    results = world.results()
    assert len(results) == 160 and "Error" not in "".join(results[:20])
    assert set(results[20:]) == {"Error: no more tools can be used for this question. Answer now with what you have."}
    assert world.llm.chats()[-1]["body"]["tool_choice"] == "none"


def test_results_go_back_with_their_ids_in_the_order_of_the_calls(world):
    world.search.script(tavily={"delay_us": 100000})
    world.chat(rounds(calls(call(SEARCH, id="slow", query="x"), call(CODE, id="quick", code="1"), call("nope", id="none"))))
    messages = world.llm.chats()[-1]["body"]["messages"]
    assert [m.get("tool_call_id") for m in messages[-3:]] == ["slow", "quick", "none"]
    assert [c["id"] for c in messages[-4]["tool_calls"]] == ["slow", "quick", "none"]


def test_search_then_code(world):
    world.e2b.script(events=[{"type": "stdout", "text": "42\n"}])
    turn = world.chat(rounds(calls(call(SEARCH, query="six")), calls(call(CODE, id="call_b", code="print(6*7)"))))
    assert turn.text == reasoning("[searching]\n", "Searching: six\n", SOURCES, "Running code\n", "Done.\n") + PLAIN
    assert world.e2b.codes() == ["print(6*7)"] and "42" in world.results()[1]


def test_text_before_a_call_stays_text(world):
    leaked = json.dumps({"name": SEARCH, "parameters": {"query": "berlin"}})
    turn = world.chat(rounds({"text": ["I will look.\n", leaked]}))
    assert turn.text == "I will look.\n" + reasoning("[searching]\n", "Searching: berlin\n", SOURCES) + PLAIN
    assert world.llm.chats()[-1]["body"]["messages"][-2]["content"].strip() == "I will look."


# ---- what goes wrong ----------------------------------------------------------------------------

BAD = {
    "no JSON": "{\"query\": \"cut",
    "a list": "[1, 2]",
    "a number": "7",
    "no query": "{}",
    "nothing": "",
    "another type": "{\"query\": 7}",
    "whitespace": "{\"query\": \"  \"}",
}


@pytest.mark.parametrize("arguments", BAD)
def test_bad_arguments_are_a_result_that_the_model_reads(world, arguments):
    turn = world.chat(rounds(calls({"id": "call_a", "name": SEARCH, "arguments": BAD[arguments]})))
    assert turn.answer == PLAIN and world.search.queries() == []
    assert re.match("Error: the argument", world.results()[0]), world.results()
    sent = world.llm.chats()[-1]["body"]["messages"][-2]["tool_calls"][0]["function"]["arguments"]
    assert isinstance(json.loads(sent), dict)


@pytest.mark.parametrize("code", ["{}", "{\"code\": \"\"}", "{\"code\": [1]}"])
def test_code_with_bad_arguments_is_not_run(world, code):
    turn = world.chat(rounds(calls({"id": "call_a", "name": CODE, "arguments": code})))
    assert turn.answer == PLAIN and world.e2b.calls() == []
    assert "argument code" in world.results()[0]


@pytest.mark.parametrize("name", ["no_such_tool", "ü" * 80, "a" * 5000])
def test_an_unknown_tool_is_a_result_that_the_model_reads(world, name):
    turn = world.chat(rounds(calls(call(name, x=1))))
    assert turn.text == PLAIN
    assert world.results()[0].startswith(f"Error: there is no tool named {name[:30]}"), world.results()


FAILURES = {
    "401": {"status": 401},
    "429": {"status": 429},
    "432": {"status": 432},
    "500": {"status": 500},
    "no JSON": {"body": "<html>"},
    "wrong JSON": {"body": "{\"results\": 7}"},
    "another JSON": {"body": "[]"},
    "cut": {"cut": 100},
    "reset": {"reset": True},
    "stalled": {"stall": True},
    "too large": {"huge": 5000000},
}


@pytest.mark.parametrize("fault", FAILURES)
def test_a_failing_search_service_gives_way_to_the_next(world, fault):
    world.search.script(tavily=FAILURES[fault])
    turn = world.chat(rounds(calls(call(SEARCH, query="x"))))
    assert turn.text == reasoning("[searching]\n", "Searching: x\n", SOURCES) + PLAIN
    # A reset of a connection that was used before is met with another one.
    assert list(dict.fromkeys(world.search.queries())) == [("tavily", "x"), ("searxng", "x")]


def test_engines_that_do_not_answer_are_a_failure_and_not_no_hits(world):
    world.search.script(tavily={"status": 500}, searxng={"results": [], "unresponsive": [["google", "timeout"]]})
    turn = world.chat(rounds(calls(call(SEARCH, query="x y&z"))))
    assert turn.text.count("Source:") == 2
    assert world.search.queries() == [("tavily", "x y&z"), ("searxng", "x%20y%26z"), ("brave", "x%20y%26z")]
    assert world.search.requests("/res/v1/web/search")[0]["headers"]["x-subscription-token"] == "brave-test-key"


def test_nothing_found_is_said_and_asks_no_other_service(world):
    world.search.script(tavily={"results": []})
    turn = world.chat(rounds(calls(call(SEARCH, query="x"))))
    assert turn.text == reasoning("[searching]\n", "Searching: x\n", "Done.\n") + PLAIN
    assert "found nothing" in world.results()[0] and len(world.search.queries()) == 1


def test_results_that_cannot_be_linked_end_in_done(world):
    found = [{"title": "a", "url": "ftp://h/", "content": "c"}, {"title": "b", "url": "javascript:x", "content": "d"}]
    world.search.script(tavily={"results": found})
    turn = world.chat(rounds(calls(call(SEARCH, query="x"))))
    assert turn.text == reasoning("[searching]\n", "Searching: x\n", "Done.\n") + PLAIN
    assert [r["content"] for r in json.loads(world.results()[0])] == ["c", "d"]


def test_with_all_services_down_the_model_is_told_and_answers(world):
    world.search.script(all={"status": 500})
    turn = world.chat(rounds(calls(call(SEARCH, query="x"))))
    assert turn.text == reasoning("[searching]\n", "Searching: x\n", "Done.\n") + PLAIN
    assert len(world.search.queries()) == 3
    assert world.results()[0].startswith("Error: the web search failed (brave: HTTP 500")


def test_a_service_that_failed_is_tried_last_for_a_while_and_at_once_with_a_new_key(testbed):
    searching = search(testbed, tavily={"status": 401})
    volume = testbed.directory / "volume"
    (volume / "backend_volume").mkdir(parents=True)
    env = {**search_env(searching, searxng=True), "INTERNAL_PERSISTENT_STORAGE_VOLUME": volume}
    service, _ = testbed.one(env=env)
    for i in range(3):
        service.chat(rounds(calls(call(SEARCH, query=f"q{i}"))))
    assert [s for s, _ in searching.queries()] == ["tavily", "searxng", "searxng", "searxng"]
    # Where all others fail, it is used all the same.
    searching.script(tavily={}, searxng={"status": 500})
    assert "Source:" in service.chat(rounds(calls(call(SEARCH, query="q3")))).text
    assert [s for s, _ in searching.queries()][4:] == ["searxng", "tavily"]
    searching.script(tavily={"status": 401})
    service.chat(rounds(calls(call(SEARCH, query="q4"), call(SEARCH, id="b", query="q5"))))
    searching.forget()
    searching.script()
    service.secrets.append("tvly-new-key")
    replace_file(volume / "backend_volume" / "user_config.env", "TAVILY_API_KEY=tvly-new-key\n")

    def asked_with_the_new_key():
        service.chat(rounds(calls(call(SEARCH, query="q"))))
        last = searching.requests()[-1]
        return last["headers"].get("authorization") == "Bearer tvly-new-key"

    wait_until(asked_with_the_new_key, "the new key in use", 2)


def test_an_answer_of_the_service_and_hostile_titles(world):
    world.search.script(tavily={"answer": "Rain.", "results": [
        {"title": "a](x)\n</think>b", "url": "javascript:alert(1)", "content": "c"},
        {"title": "a]( x)\n</think>b\u0007", "url": "http://h/<a> b", "content": "ü" * 900},
        {"url": "ftp://h/"}, {}, 7]})
    turn = world.chat(rounds(calls(call(SEARCH, query="x\n</think>y"))))
    assert turn.text.count("</think>") == 1 and turn.answer == PLAIN
    assert TT_STUDIO_SOURCE.findall(turn.text) == [("a)( x) /think)b", "http://h/%3Ca%3E%20b")]
    result = json.loads(world.results()[0])
    assert result["answer"] == "Rain." and result["results"][1]["content"] == "ü" * 800 + "…"


# ---- text-encoded tool calls -------------------------------------------------------------------------------

ARGUMENTS = '{"query": "leaked"}'
NAMED = f'"name": "{SEARCH}"'
LEAKS = {
    "bare": f'{{{NAMED}, "parameters": {ARGUMENTS}}}',
    "bare with type": f'{{"type": "function", {NAMED}, "arguments": {ARGUMENTS}}}',
    "python_tag": f'<|python_tag|>{{{NAMED}, "parameters": {ARGUMENTS}}}<|eom_id|>',
    "llama 4": f'<|python_start|>{{{NAMED}, "parameters": {ARGUMENTS}}}<|python_end|>',
    "fence": f'```json\n{{{NAMED}, "parameters": {ARGUMENTS}}}\n```',
    "hermes": f'<tool_call>\n{{{NAMED}, "arguments": {ARGUMENTS}}}\n</tool_call>',
    "function": f'<function={SEARCH}>{ARGUMENTS}</function>',
    "qwen coder": f'<tool_call>\n<function={SEARCH}>\n<parameter=query>\nleaked\n</parameter>\n</function>\n</tool_call>',
    "mistral": f'[TOOL_CALLS][{{{NAMED}, "arguments": {ARGUMENTS}}}]',
}


@pytest.mark.parametrize("form", LEAKS)
def test_a_text_encoded_call_is_executed_and_not_shown(world, form):
    text = LEAKS[form]
    turn = world.chat(rounds({"text": [text[i:i + 3] for i in range(0, len(text), 3)]}))
    assert turn.text == reasoning("[searching]\n", "Searching: leaked\n", SOURCES) + PLAIN
    assert world.search.queries() == [("tavily", "leaked")]
    messages = world.llm.chats()[-1]["body"]["messages"]
    assert json.loads(messages[-2]["tool_calls"][0]["function"]["arguments"]) == {"query": "leaked"}
    assert messages[-1]["tool_call_id"] == messages[-2]["tool_calls"][0]["id"]


def test_two_text_encoded_calls_of_one_answer(world):
    text = LEAKS["bare"] + "; " + LEAKS["bare"].replace("leaked", "second")
    turn = world.chat(rounds({"text": [text]}))
    assert turn.text == reasoning("[searching]\n", "Searching: leaked\n", "Searching: second\n", SOURCES, SOURCES) + PLAIN


def test_json_that_the_user_asked_for_passes(world):
    text = '{"name": "Ada", "parameters": {"query": "x"}}'
    assert world.chat(rounds(text=[text])).text == text
    assert world.search.queries() == []


# ---- reasoning ------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content", "thinking"])
def test_reasoning_before_a_search_is_shown_with_it(world, field):
    said = {"reasoning": ["I must ", "look."], "reasoning_field": field}
    turn = world.chat(rounds({**said, **calls(call(SEARCH, query="x"))}, **said))
    assert turn.text == reasoning("I must look.", "\n[searching]\n", "Searching: x\n", SOURCES, "I must look.") + PLAIN
    assert all("look" not in m["content"] for m in world.llm.chats()[-1]["body"]["messages"][2:])


def test_reasoning_in_the_content_before_a_search(world):
    turn = world.chat(rounds({"text": ["<thi", "nk>hm</th", "ink>", LEAKS["hermes"]]}))
    assert turn.text == reasoning("hm", "\n[searching]\n", "Searching: leaked\n", SOURCES) + PLAIN


# ---- limits ------------------------------------------------------------------------------------------


def test_after_the_last_round_the_model_must_answer(world):
    turn = world.chat(rounds(*(calls(call(SEARCH, id=f"c{i}", query=f"q{i}")) for i in range(5))))
    assert turn.text.endswith("</think>" + PLAIN) and turn.text.count("Searching:") == 5
    assert [r["body"]["tool_choice"] for r in world.llm.chats()] == ["auto"] * 5 + ["none"]


def test_a_model_that_goes_on_calling_is_told_to_stop_and_then_stopped(world):
    turn = world.chat(rounds(*(calls(call(SEARCH, id=f"c{i}", query=f"q{i}")) for i in range(9))))
    assert len(world.search.queries()) == 5 and len(world.llm.chats()) == 7
    assert "no more tools" in world.results()[5]
    assert re.fullmatch(r"[A-Z][^\n]+\.", turn.answer), turn.text


def test_a_message_of_a_thousand_calls_is_bounded(world):
    world.chat(rounds({**calls(*(call(SEARCH, id=f"c{i}", query=f"q{i}") for i in range(100))), "fragment": 0}))
    assert len(world.search.queries()) <= 32


def test_tools_that_take_too_long_are_ended_and_the_model_answers(testbed):
    searching = search(testbed, all={"stall": True})
    service, llm = testbed.one(env=search_env(searching), sets=["limits.tool_time=1"])
    began = time.monotonic()
    turn = service.chat(rounds(calls(call(SEARCH, query="x"))))
    assert turn.text == reasoning("[searching]\n", "Searching: x\n", "Done.\n") + PLAIN
    assert 0.9 < time.monotonic() - began < 5
    assert "too long" in llm.chats()[-1]["body"]["messages"][-1]["content"]
    assert llm.chats()[-1]["body"]["tool_choice"] == "none"
    stats = searching.stats()
    assert stats["cancelled"] == 1 and stats["active"] == 0


def test_a_client_that_leaves_ends_its_search(world):
    world.search.script(tavily={"stall": True})
    exchange = world.service.ask(rounds(calls(call(SEARCH, query="x"))), "tools-leaving")
    world.search.wait_request("/search")
    before = world.search.stats()["cancelled"]
    exchange.reset()
    deadline = time.monotonic() + 5
    while world.search.stats()["cancelled"] == before and time.monotonic() < deadline:
        time.sleep(0.005)
    assert world.search.stats()["cancelled"] == before + 1
    world.chat("[plain] again", "tools-leaving")
    roles = [m["role"] for m in world.llm.chats()[-1]["body"]["messages"]]
    assert roles in (["system", "user"], ["system", "user", "assistant", "user"])


# ---- who is offered tools, and with which key -----------------------------------------------------------


def test_an_llm_without_tools_is_never_offered_any(testbed):
    searching = search(testbed)
    service, llm = testbed.one(deployment={"tool_calling_enabled": False}, env=search_env(searching))
    assert service.status()["tools"] == [] and not service.status()["capabilities"]["web_search"]
    assert service.chat("[search] hello").text == PLAIN
    assert all("tools" not in r["body"] and "tool_choice" not in r["body"] for r in llm.chats())
    # What it writes is text, and what it calls all the same is not run.
    assert service.chat(rounds({"text": [LEAKS["bare"]]})).text == LEAKS["bare"]
    assert service.chat(rounds({**calls(call(SEARCH, query="x")), "force_calls": True})).whole
    assert searching.queries() == []


def test_the_key_of_user_config_takes_effect_within_a_second(testbed):
    searching = search(testbed)
    directory = testbed.directory / "volume" / "backend_volume"
    directory.mkdir(parents=True)
    env = {**search_env(searching), "INTERNAL_PERSISTENT_STORAGE_VOLUME": testbed.directory / "volume",
           "TAVILY_API_KEY": "tavily-api-key-not-configured"}
    service, llm = testbed.one(env=env)
    service.chat("[plain]")
    assert "tools" not in llm.chats()[-1]["body"]
    for key in ("tvly-first", "tvly-second"):
        service.secrets.append(key)
        replace_file(directory / "user_config.env", f'TAVILY_API_KEY="{key}"\nJWT_SECRET={service.env["JWT_SECRET"]}\n')
        began = time.monotonic()
        service.wait_status(lambda s: s["capabilities"]["web_search"], "web search", 2)
        while True:
            service.chat(rounds(calls(call(SEARCH, query="x"))))
            if searching.requests() and searching.requests()[-1]["headers"]["authorization"] == f"Bearer {key}":
                break
            assert time.monotonic() - began < 1.0, "the new key is not used"
    replace_file(directory / "user_config.env", "TAVILY_API_KEY=tavily-api-key-not-configured\n")
    service.wait_status(lambda s: not s["capabilities"]["web_search"], "no web search", 2)


def test_the_prompt_of_turns_with_tools_has_date_and_model(testbed):
    searching = search(testbed)
    service, llm = testbed.one(env=search_env(searching), sets=["prompts.tools=T {date} {model} {other} {"])
    service.chat("[plain]")
    system = llm.chats()[-1]["body"]["messages"][0]["content"]
    assert re.fullmatch(r"T \d{4}-\d\d-\d\d meta-llama/Llama-3.1-8B-Instruct \{other\} \{", system), system


# ---- a failing LLM in between -----------------------------------------------------------------------------


def test_results_are_kept_when_the_next_ask_needs_another_llm(testbed):
    searching = search(testbed)
    first, second = testbed.llm(), testbed.llm(models=["other"])
    backend = testbed.backend({"d1": first.deployment(), "d2": second.deployment(name="c-d2", tool_calling_enabled=False)})
    service = testbed.service(backend=backend, env=search_env(searching)).wait_ready()
    service.wait_status(lambda s: len(s["available_models"]) == 2, "two models")
    # The tool call comes from the first; its next request fails.
    turn = service.chat(rounds(calls(call(SEARCH, query="x")), {"status": 500}))
    assert turn.text == reasoning("[searching]\n", "Searching: x\n", SOURCES) + PLAIN
    body = second.chats()[-1]["body"]
    assert "tools" not in body and all(m["role"] in ("system", "user", "assistant") for m in body["messages"])
    assert "example.org" in body["messages"][-1]["content"]
    assert len(searching.queries()) == 1


# ---- an LLM that breaks off ------------------------------------------------------------------------


LEAK = ['{"name": "', SEARCH, '", "parameters": {"query": "le', 'aked"}}']


@pytest.mark.parametrize("before", [[], ["Let me see.\n"]])
def test_a_call_that_broke_off_is_no_word_of_the_answer(testbed, before):
    first = testbed.llm(text=[*before, *LEAK], cut_after=len(before) + 3)
    other = testbed.llm(text=["Let me see.\n", "Hello."])
    backend = testbed.backend({"d1": first.deployment("Preferred"), "d2": {**other.deployment("Other"), "name": "c-d2"}})
    service = testbed.service(backend=backend, env={"AGENT_PRIORITY_MODELS": "Preferred", **search_env(search(testbed))}).wait_ready()
    known = lambda: all(m["context_length"] for m in service.ctl("models")["models"] if m["kind"] == "discovered")
    wait_until(known, "what both LLMs tell of themselves", 20)
    service.ctl("select", "d1")
    turn = service.chat("hello")
    assert first.chats() and turn.whole
    assert turn.text == "Let me see.\nHello."

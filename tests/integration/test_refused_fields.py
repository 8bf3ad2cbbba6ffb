# SPDX-License-Identifier: Apache-2.0
"""LLMs that refuse a part of a request: asked at once without it, and never sent it again."""

import json

import pytest
from harness.process import wait_until
from harness.tool_mocks import search, search_env

SAYS = "yes"
JINJA = "tools param requires --jinja flag"
ALTERNATE = "Conversation roles must alternate user/assistant/user/assistant/..."


def error(text, status=400, **members):
    return json.dumps({"error": {"code": status, "message": text, "type": "invalid_request_error", "param": None, **members}})


def rule(text, status=400, body=None, **when):
    return {"status": status, "body": body or error(text, status), **when}


def world(testbed, *refuses, deployment=None, **more):
    return testbed.one({"text": [SAYS], "rules": list(refuses)}, deployment, **more)


def models(service):
    return service.ctl("models")["models"]


def quirks(service, n=0):
    return models(service)[n]["quirks"]


def wait_quirks(service, *expected):
    wait_until(lambda: quirks(service) == list(expected), f"the quirks {expected}, not {quirks(service)}")


REFUSED = [
    (rule("Unrecognized request argument supplied: top_k", field="top_k"), ["no top_k"]),
    (rule("", 422, json.dumps({"detail": [{"type": "extra_forbidden", "loc": ["body", "top_k"],
                                           "msg": "Extra inputs are not permitted", "input": 20}]}), field="top_k"), ["no top_k"]),
    (rule("", 400, json.dumps([{"error": {"code": 400, "message": "Invalid JSON payload received. Unknown name \"top_k\": "
                                          "Cannot find field.", "status": "INVALID_ARGUMENT"}}]), field="top_k"), ["no top_k"]),
    (rule("", 400, error("Unknown parameter: 'stream_options.continuous_usage_stats'.",
                         param="stream_options.continuous_usage_stats", code="unknown_parameter"),
          field="stream_options.continuous_usage_stats"), ["no stream_options.continuous_usage_stats"]),
    (rule("property 'stop' is unsupported", field="stop"), ["no stop"]),
    (rule("Unsupported value: 'temperature' does not support 0.6 with this model. Only the default (1) value is supported.",
          field="temperature"), ["no temperature"]),
    (rule("Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
          field="max_tokens"), ["max_completion_tokens"]),
    (rule("max_tokens is too large: 2048. This model supports at most 1000 completion tokens, whereas you provided 2048.",
          field="max_tokens", above=1000), ["max_tokens 1000"]),
    (rule("This model's maximum context length is 2000 tokens. However, you requested 2100 tokens (52 in the messages, 2048 in the "
          "completion). Please reduce the length of the messages or completion.", field="max_tokens", above=1900), ["max_tokens 1000"]),
    (rule("System role not supported", role="system"), ["no system role"]),
    (rule(ALTERNATE, role="system"), ["alternating roles"]),
    (rule("Internal error: unknown field `top_k`", 500, field="top_k"), ["no top_k"]),
]


@pytest.mark.parametrize("refusal, expected", REFUSED, ids=[f"{i}-{e[0]}" for i, (_, e) in enumerate(REFUSED)])
def test_a_refused_part_is_left_out_at_once_and_from_then_on(testbed, refusal, expected):
    service, llm = world(testbed, refusal, deployment={"tool_calling_enabled": False})
    llm.forget()
    turn = service.chat("hello")
    assert turn.whole and turn.text == SAYS
    assert len(llm.chats()) == 2
    wait_quirks(service, *expected)
    llm.forget()
    assert service.chat("again").text == SAYS
    assert len(llm.chats()) == 1
    assert models(service)[0]["failures"] == 0 and models(service)[0]["ejected_until"] is None
    assert service.daemon.log().count("llm_quirks") == 1
    assert "attempt_failed" not in service.responder.log()


def test_several_refusals_follow_one_another(testbed):
    refuses = [rule(f"Unknown parameter: '{field}'", field=field) for field in ("top_k", "top_p", "stop", "stream_options", "temperature")]
    service, llm = world(testbed, *refuses, deployment={"tool_calling_enabled": False})
    llm.forget()
    assert service.chat("hello").text == SAYS
    assert len(llm.chats()) == 6
    body = llm.chats()[-1]["body"]
    assert sorted(body) == ["max_tokens", "messages", "model", "stream"]


def test_a_server_that_never_stops_refusing_is_asked_a_bounded_number_of_times(testbed):
    service, llm = world(testbed, rule("Unknown parameter: 'top_k'; 'model' is not allowed either", field="model"),
                         deployment={"tool_calling_enabled": False})
    llm.forget()
    turn = service.chat("hello")
    assert "refused the request" in turn.text
    assert len(llm.chats()) == 2
    assert quirks(service) == []  # it was no help, so it is not remembered


@pytest.mark.parametrize("text, status", [
    (JINJA, 500), ("\"auto\" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set", 400),
    ("registry.ollama.ai/library/gemma:2b does not support tools", 400), ("No endpoints found that support tool use.", 404)])
def test_an_llm_that_refuses_tools_answers_without_them(testbed, text, status):
    searching = search(testbed)
    service, llm = world(testbed, rule(text, status, field="tools"), env=search_env(searching))
    llm.forget()
    turn = service.chat("hello")
    assert turn.whole and turn.text == SAYS
    assert ["tools" in r["body"] for r in llm.chats()] == [True, False]
    wait_quirks(service, "no tools")
    model = models(service)[0]
    assert model["tools"] is False and model["ejected_until"] is None
    wait_until(lambda: service.status()["tools"] == [], "no tools in /status")
    assert service.chat("again").text == SAYS
    assert len(llm.chats()) == 3
    assert text.replace('"', '\\"')[:60] in service.daemon.log() or text[:60] in service.daemon.log()


def test_the_results_of_tools_are_sent_as_text_where_roles_must_alternate(testbed):
    searching = search(testbed)
    service, llm = testbed.one({"rules": [rule(ALTERNATE, role="tool")]}, env=search_env(searching), sets=["prompts.tools="])
    llm.forget()
    assert service.chat("[search] hello").whole
    first, refused, again = [r["body"] for r in llm.chats()][:3]
    assert [m["role"] for m in first["messages"]] == ["user"]
    assert [m["role"] for m in refused["messages"]] == ["user", "assistant", "tool"]
    assert [m["role"] for m in again["messages"]] == ["user"]
    assert "Result of a tool" in again["messages"][0]["content"] and "tools" in again
    wait_quirks(service, "alternating roles")


def test_an_error_event_in_a_stream_counts_as_well(testbed):
    event = "data: " + error(JINJA, 500) + "\n\n"
    service, llm = world(testbed, rule(JINJA, 200, event, field="tools"), env=search_env(search(testbed)))
    llm.forget()
    turn = service.chat("hello")
    assert turn.whole and turn.text == SAYS
    assert ["tools" in r["body"] for r in llm.chats()] == [True, False]


def test_without_a_daemon_the_worker_remembers(testbed):
    service, llm = world(testbed, rule("Unknown parameter: 'top_k'", field="top_k"), deployment={"tool_calling_enabled": False})
    service.daemon.stop()
    llm.forget()
    assert service.chat("hello").text == SAYS
    assert service.chat("again").text == SAYS
    assert len(llm.chats()) == 3


def test_it_is_remembered_over_a_restart_of_the_daemon_and_forgotten_with_the_deployment(testbed):
    llm = testbed.llm(text=[SAYS], rules=[rule("Unknown parameter: 'top_k'", field="top_k")])
    backend = testbed.backend({"d1": llm.deployment(tool_calling_enabled=False)})
    service = testbed.service(backend=backend).wait_ready()
    assert service.chat("hello").text == SAYS
    wait_quirks(service, "no top_k")
    service.daemon.stop()
    service.start_daemon()
    service.daemon.wait_log("restored")
    wait_until(service.takes_commands, "the new daemon")
    wait_quirks(service, "no top_k")
    llm.forget()
    assert service.chat("again").text == SAYS
    assert len(llm.chats()) == 1
    backend.deploy(d1=llm.deployment("Qwen3-8B", tool_calling_enabled=False))
    service.ctl("refresh")
    wait_until(lambda: models(service)[0]["model_name"] == "Qwen3-8B" and quirks(service) == [], "another deployment")
    llm.script(text=[SAYS], rules=[])
    llm.forget()
    assert service.chat("again").text == SAYS
    assert "top_k" in llm.chats()[-1]["body"]


def test_a_configured_llm_that_came_back_is_sent_everything_again(testbed):
    llm = testbed.llm(text=[SAYS], rules=[rule("Unknown parameter: 'top_k'", field="top_k")])
    service = testbed.service(env={"LLM_CONTAINER_NAME": llm.host, "AGENT_AUTO_DISCOVERY": "false"},
                              sets=["health.interval=0.1", "health.fast_interval=0.05", "health.max_failures=1"]).wait_ready()
    assert service.chat("hello").text == SAYS
    wait_quirks(service, "no top_k")
    llm.script(health_status=500)
    wait_until(lambda: models(service)[0]["status"] == "unhealthy", "an outage")
    llm.script(text=[SAYS], rules=[])
    wait_until(lambda: models(service)[0]["status"] == "healthy" and quirks(service) == [], "it came back")
    llm.forget()
    wait_until(lambda: service.chat("again").text == SAYS and "top_k" in llm.chats()[-1]["body"], "all fields again")


def test_what_the_user_wrote_teaches_nothing(testbed):
    message = f"Why does my server say: {JINJA}? And what is top_k, and 'temperature' is not supported?"
    service, llm = world(testbed, rule(f"Flagged content: {message}", field="messages"))
    llm.forget()
    turn = service.chat(message)
    assert "refused the request" in turn.text
    assert len(llm.chats()) == 1
    assert quirks(service) == []


def test_an_image_goes_to_another_llm_where_one_refuses_images(testbed):
    vlm = {"model_impl": {"model_type": "vlm"}}
    text_only, sees = testbed.llm(text=["no"], rules=[rule("This model does not support image input", field="messages")]), testbed.llm(text=["a cat"])
    backend = testbed.backend({"d1": text_only.deployment(**vlm), "d2": sees.deployment("Qwen3-8B", name="c-d2", model_impl={"model_type": "vlm"})})
    service = testbed.service(backend=backend).wait_ready()
    service.wait_status(lambda s: len(s["available_models"]) == 2, "two models")
    message = [{"type": "text", "text": "what is it"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,aaaa"}}]
    text_only.forget()
    for _ in range(2):
        turn = service.chat(message)
        assert turn.whole and turn.text == "a cat"
    assert len(text_only.chats()) <= 1


def test_settings_leave_fields_out_and_add_others(testbed):
    service, llm = world(testbed, deployment={"tool_calling_enabled": False}, sets=[
        "llm.omit=top_k, stream_options.continuous_usage_stats", "discovery.omit=stop",
        'llm.extra={"chat_template_kwargs":{"enable_thinking":false},"seed":1}', 'discovery.extra={"seed":2}'])
    llm.forget()
    assert service.chat("hello").text == SAYS
    body = llm.chats()[-1]["body"]
    assert not {"top_k", "stop"} & set(body)
    assert body["stream_options"] == {"include_usage": True}
    assert body["chat_template_kwargs"] == {"enable_thinking": False} and body["seed"] == 2

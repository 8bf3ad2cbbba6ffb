# SPDX-License-Identifier: Apache-2.0
"""Whose fault a refusal is: what another LLM could answer is asked of it, what is temporary is not held against
the LLM, and what is the account's or the model's fault is told to the administrator."""

import json
import re

import pytest
from harness.llm_script import PLAIN, said
from harness.process import wait_until


def error(message, **more):
    return json.dumps({"error": {"message": message, **more}})


TPM = error("Request too large for model `m` on tokens per minute (TPM): Limit 6000, Requested 12328, please reduce your "
            "message size and try again.", type="tokens", code="rate_limit_exceeded")
NO_CREDIT = error("Insufficient Balance", type="unknown_error", code="invalid_request_error")

TEMPORARY = [(409, error("conflict")), (413, TPM), (425, ""), (429, error("slow down")), (498, ""), (529, error("Overloaded")),
             (503, error("The model is overloaded")), (500, error("litellm.RateLimitError: too much"))]
NO_MODEL = [(400, error("x", code="model_not_found")), (404, error("The model `m` does not exist.")),
            (400, error("Model Not Exist")), (404, json.dumps({"error": "model 'm' not found, try pulling it first"})),
            (400, error("m is not a valid model ID")), (400, error("Failed to load model \"m\"")), (410, "")]
ACCOUNT = [(402, NO_CREDIT), (402, ""), (400, NO_CREDIT), (429, error("quota", code="insufficient_quota")),
           (403, error("Sorry, your account balance is insufficient")), (401, error("no")),
           (400, json.dumps([{"error": {"code": 400, "message": "API key not valid."}}]))]


@pytest.mark.parametrize("status, body", TEMPORARY + NO_MODEL + [(503, error("Loading model")), (405, ""), (424, "")])
def test_another_llm_answers(testbed, status, body):
    service, a, b = testbed.two({"status": status, "body": body, "retry_after": 600})
    turn = service.chat("[plain]")
    assert turn.whole and turn.text == PLAIN
    assert len(a.chats()) == 1 and len(b.chats()) == 1


@pytest.mark.parametrize("status, body", TEMPORARY)
def test_what_is_temporary_is_not_held_against_the_llm(testbed, status, body):
    service, llm = testbed.one({"status": status, "body": body, "retry_after": 600})
    turn = service.chat("hello")
    assert turn.whole and turn.text == "The language model is busy right now. Please try again in a moment."
    llm.script()
    assert service.chat("[plain]").text == PLAIN
    assert "ejected" not in service.status() and not re.search("WARNING ejected ", service.daemon.log())


@pytest.mark.parametrize("status, body", ACCOUNT)
def test_an_account_that_is_refused_ejects_the_llm(testbed, status, body):
    service, a, b = testbed.two({"status": status, "body": body})
    turn = service.chat("[plain]")
    assert turn.whole and turn.text == PLAIN and len(b.chats()) == 1
    held, = service.wait_status(lambda s: "ejected" in s, "it is ejected")["ejected"]
    expected = "Insufficient Balance" if body == NO_CREDIT else ""
    assert held["reason"].startswith("a chat turn got HTTP 40") and expected in held["reason"]


@pytest.mark.parametrize("status, body, sentence", [
    (402, NO_CREDIT, "The account that pays for the language model is used up. Please tell the administrator."),
    (401, "", "The language model does not accept this service's credentials. Please tell the administrator."),
    (404, error("model not found"), "The server does not have the language model that it was asked for. Please tell the "
                                    "administrator."),
    (400, error("content_filter"), "The content filter of the language model's server stopped the answer. Please ask "
                                   "differently."),
    (422, error("top_k: no"), "The language model refused the request: top_k: no"),
])
def test_a_refusal_is_told_where_nobody_else_is_there(testbed, status, body, sentence):
    service, llm = testbed.one({"status": status, "body": body})
    turn = service.chat("hello")
    assert turn.whole and turn.text == sentence


@pytest.mark.parametrize("status", [400, 402])
def test_a_token_that_the_server_repeats_is_hidden(testbed, status):
    """At the end of every test, logs and views are searched for secrets."""
    authority, certificate, key = testbed.certificate()
    llm = testbed.llm("--tls-cert", certificate, "--tls-key", key, status=status, body=error("not the key: cloud-token-4711."))
    env = {"CLOUD_CHAT_UI_URL": f"https://localhost:{llm.port}/v1/chat/completions",
           "CLOUD_CHAT_UI_AUTH_TOKEN": "cloud-token-4711", "USE_CLOUD_LLM": "true"}
    service = testbed.service(sets=[f"cloud.ca_file={authority}"], env=env).wait_ready()
    turn = service.chat("hello")
    assert turn.whole and "4711" not in turn.text
    service.responder.wait_log(r"attempt_failed .*not the key: \*+\.")


def test_the_clients_fault_is_told_at_once(testbed):
    service, a, b = testbed.two({"status": 400, "body": error("messages.1.content: too strange")})
    turn = service.chat("hello")
    assert turn.text == "The language model refused the request: messages.1.content: too strange"
    assert not b.chats() and "ejected" not in service.status()


# --- in the stream ---

def two(testbed, **first):
    """Both write the same numbered words, and the second can continue what the first began."""
    script = {"token": "word# ", "numbered": True, "tokens": 20}
    a, b = testbed.llm(**script), testbed.llm(**script)
    backend = testbed.backend({"d1": a.deployment("Preferred"), "d2": {**b.deployment("Other"), "name": "c-d2"}})
    service = testbed.service(backend=backend, env={"AGENT_PRIORITY_MODELS": "Preferred"}).wait_ready()
    wait_until(lambda: all(m["context_length"] for m in service.ctl("models")["models"] if m["kind"] == "discovered"), "both")
    service.ctl("select", "d1")
    a.script(**script, **first)
    return service, a, b


EVENTS = {
    "no credit": ({"error": {"message": "Insufficient Balance", "code": 402}}, True),
    "busy": ({"error": {"message": "slow down", "code": "429"}}, False),
    "overloaded": ({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, False),
    "no model": ({"error": {"message": "model not found"}}, None),
    "array": ([{"error": {"code": 503, "message": "try again later", "status": "UNAVAILABLE"}}], True),
    "minimax": ({"choices": None, "base_resp": {"status_code": 1000, "status_msg": "unknown error"}}, True),
    "overflow": ({"error": {"message": "Context size has been exceeded."}}, False),
}


@pytest.mark.parametrize("kind", EVENTS)
@pytest.mark.parametrize("after", [0, 5])
def test_an_error_in_the_stream_is_read_in_the_same_way(testbed, kind, after):
    event, ejects = EVENTS[kind]
    service, a, b = two(testbed, error_after=after, error_event=event)
    turn = service.chat("hello")
    assert turn.whole and turn.text == said(20)
    assert len(b.chats()) == 1
    if ejects:
        service.wait_status(lambda s: "ejected" in s, "it is ejected")
    elif ejects is False:
        assert "ejected" not in service.status()


# --- 200, but no stream ---

def response(body, content_type="application/json"):
    return f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n{body}"


@pytest.mark.parametrize("body", [
    error("upstream went away", code=502),
    json.dumps({"error": {"message": "upstream went away"}}, indent=2),
    "\n" + json.dumps([{"error": {"message": "upstream went away"}}]),
    json.dumps({"error": "upstream went away"}),
    json.dumps({"detail": "upstream went away"}),
    json.dumps({"code": 502, "msg": "upstream went away", "success": False}),
])
def test_an_error_as_a_whole_response_moves_on_with_its_reason(testbed, body):
    service, a, b = testbed.two({"raw": response(body)})
    turn = service.chat("[plain]")
    assert turn.whole and turn.text == PLAIN and len(b.chats()) == 1
    service.responder.wait_log(r"attempt_failed .*upstream went away")
    held, = service.wait_status(lambda s: "ejected" in s, "it is ejected")["ejected"]
    assert "upstream went away" in held["reason"]


def test_an_overflow_as_a_whole_response_is_one(testbed):
    service, llm = testbed.one({"raw": response(error("prompt is too long", code=400))})
    assert service.chat("hello").text.startswith("The message is too long for the language model's context window")
    assert "ejected" not in service.status()

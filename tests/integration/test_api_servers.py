# SPDX-License-Identifier: Apache-2.0
"""The OpenAI API behind each web server, at its root and under a path."""

import http.client
import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.http_client import Cut, Exchange
from harness.llm_script import COUNT, inline, said, words
from harness.openai_stream import PATH, Stream, error_of, post, stream, user
from harness.process import WRAP, wait_until

MODEL = "meta-llama/Llama-3.1-8B-Instruct"
ORIGIN = "https://chat.example.org"
PLACES = [(server, prefix) for server in ("nginx", "lighttpd", "apache") for prefix in ("", "/agent")]
DROP_INS = {"lighttpd": "50-tt-agent.conf", "apache": "tt-agent.conf"}
LONG = {"tokens": 150, "token": "w# ", "numbered": True, "delay_us": 10000}

needs_keeper = pytest.mark.skipif(bool(WRAP), reason="valgrind cannot follow a keeper")


class Place:
    """Where the service is for one web server: at its root, or under /agent of another site."""

    def __init__(self, service, server, prefix):
        self.prefix = prefix
        if prefix == "":
            self.host = service.host_of(server)
        elif server == "nginx":
            self.host = service.nginx.prefix
        else:
            self.host = getattr(service, f"start_{server}")(DROP_INS[server]).host

    def path(self, path=PATH):
        return self.prefix + path


@pytest.fixture(scope="module")
def world(worlds):
    def make(testbed):
        service, llm = testbed.one(sets=["http.api=true", f"http.cors_origins={ORIGIN}"], workers=2)
        return service, llm, {}

    return worlds.get("one", make)


@pytest.fixture(params=PLACES, ids=lambda p: p[0] + p[1].replace("/", "-"))
def place(world, request):
    service, _, places = world
    if request.param not in places:
        places[request.param] = Place(service, *request.param)
    return places[request.param]


def ask(text, **more):
    return {"model": MODEL, "messages": user(text), **more}


def test_answers_and_errors(place):
    answer = stream(place.host, ask(words(), stream_options={"include_usage": True}), path=place.path())
    assert answer.whole and answer.text == said(COUNT) and answer.usage["completion_tokens"] == COUNT
    assert "content-encoding" not in answer.headers
    status, headers, plain = post(place.host, ask(words()), path=place.path())
    assert status == 200 and plain["choices"][0]["message"]["content"] == said(COUNT) and headers["x-request-id"]
    assert error_of(post(place.host, ask("x", model="nix"), path=place.path()), 404)["code"] == "model_not_found"
    assert error_of(post(place.host, ask(inline(window=3)), path=place.path()), 400)["code"] == "context_length_exceeded"
    busy = post(place.host, ask(inline(status=429, retry_after=7)), path=place.path())
    assert error_of(busy, 429)["code"] == "rate_limit_exceeded" and int(busy[1]["retry-after"]) > 0
    error_of(post(place.host, b"{", path=place.path()), 400)
    error_of(post(place.host, ask("x"), path=place.path("/v1/nix")), 404)


def test_a_model_by_its_address(place):
    for name in MODEL, MODEL.replace("/", "%2F"), MODEL + ":agent":
        exchange = Exchange(place.host, "GET", place.path(f"/v1/models/{name}"))
        assert json.loads(exchange.read())["id"] == name.replace("%2F", "/"), name
        exchange.close()


def test_a_preflight_of_a_page_of_another_site(place):
    for origin, status in (ORIGIN, 204), ("https://evil.example", 403):
        exchange = Exchange(place.host, "OPTIONS", place.path(), headers={
            "Origin": origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"})
        exchange.read()
        exchange.close()
        assert exchange.status == status
        assert exchange.headers.get("access-control-allow-origin") == (ORIGIN if status == 204 else None)
    answer = stream(place.host, ask(words(2)), path=place.path(), headers={"Origin": ORIGIN, "Sec-Fetch-Site": "cross-site"})
    assert answer.whole and answer.headers["access-control-allow-origin"] == ORIGIN


def test_a_connection_serves_many_requests(place):
    """As SDKs keep it."""
    connection = http.client.HTTPConnection(place.host, timeout=30)
    connection.connect()
    socket = connection.sock
    for body, status in [(ask(words(), stream=True), 200), (ask("x", model="nix"), 404), (ask(words()), 200), (ask(words(), stream=True), 200)]:
        connection.request("POST", place.path(), json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read().decode()
        assert answer.status == status and connection.sock is socket, "still the same connection"
        if status == 200:
            assert text.endswith("data: [DONE]\n\n") if body.get("stream") else said(COUNT) in text
    connection.close()


@pytest.mark.parametrize("streamed", [True, False])
def test_a_client_that_leaves_ends_the_request_to_the_llm(world, place, streamed):
    _, llm, _ = world
    left, seen = llm.stats()["cancelled"], len(llm.chats())
    exchange = Exchange(place.host, "POST", place.path(), ask(inline(tokens=300, delay_us=10000), stream=streamed))
    wait_until(lambda: len(llm.chats()) > seen, "the LLM is asked")
    if streamed:
        next(exchange.chunks())
    exchange.reset()
    # Apache notices only when it writes: an answer that is no stream is made for nobody.
    wait_until(lambda: llm.stats()["cancelled"] > left or (not streamed and llm.stats()["active"] == 0), "the LLM's connection is closed")


def read_object(exchange):
    """The text of an answer that is no stream; None: an error, or it was cut."""
    try:
        answer = exchange.read()
    except Cut:
        return None
    finally:
        exchange.close()
    assert exchange.status == 200 or exchange.status >= 500, answer
    return json.loads(answer)["choices"][0]["message"]["content"] if exchange.status == 200 else None


@needs_keeper
@pytest.mark.parametrize("continues", [True, False])
def test_no_answer_of_a_dead_worker_looks_whole(testbed, continues):
    """One that can go on does, in the same stream; another one ends with an error. What is no stream is an error, at which
    SDKs try again, or is made once more."""
    service, llm = testbed.one(sets=["http.api=true", f"llm.continue={'true' if continues else 'false'}"], workers=1)
    wait_until(lambda: any(m["context_length"] for m in service.ctl("models")["models"]), "what the LLM tells of itself", 20)
    places = [Place(service, *p) for p in PLACES]
    streams = [Exchange(p.host, "POST", p.path(), ask(inline(**LONG), stream=True)) for p in places for _ in range(4)]
    for exchange in streams:
        exchange.head()  # it comes with the first word
    objects = [Exchange(p.host, "POST", p.path(), ask(inline(**LONG))) for p in places]
    wait_until(lambda: llm.stats()["active"] == len(streams) + len(objects), "all are being answered")
    service.responder.expected_exit.add(-signal.SIGKILL)
    os.kill(service.worker_pids()[0], signal.SIGKILL)
    with ThreadPoolExecutor(len(streams) + len(objects)) as pool:
        answers, others = pool.map(Stream, streams), pool.map(read_object, objects)
        answers, others = list(answers), list(others)
    whole = [a for a in answers if a.whole]
    assert len(whole) >= len(answers) - 1 if continues else not whole  # but one that it may have been writing
    for answer in answers:
        if answer.whole:
            assert answer.text == said(150).replace("word", "w") and answer.finish == "stop"
        else:
            assert answer.error["code"] == "upstream_error" and answer.finish is None and not answer.done
    assert set(others) <= {None, said(150).replace("word", "w")}
    assert None not in others[:2], "nginx has the other worker answer"

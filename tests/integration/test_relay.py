# SPDX-License-Identifier: Apache-2.0
"""/v1/embeddings and /v1/completions, and chats that no turn can answer: bytes that pass unchanged."""

import base64
import json
import os
import signal
import socket
import struct
import threading

import pytest

from harness.api_clients import CLIENTS, client
from harness.http_client import Cut, Exchange
from harness.openai_stream import error_of, post
from harness.process import WRAP, wait_until
from harness.raw_llm import RESET, RawLlm, chunked, events, whole

EMBEDDER, WRITER = "BAAI/bge-large", "meta-llama/Llama-3.1-8B-Instruct"
API = ["http.api=true", "health.eject_time=0.1", "health.canary_interval=0"]
EMBED, COMPLETE, CHAT = "/v1/embeddings", "/v1/completions", "/v1/chat/completions"
# As odd as JSON may be: order, spaces, escapes, numbers and unknown members stay as they are.
ODD = b'{ "input" :["a\\u00e9\\ud83d\\ude00", "b"],\n "x": 1.50e+2, "y":[{"model":"inner"}], "model"\t: "%s", "z":"\\/" , "dimensions":12345678901234567890}'
VECTORS = b'{"object":"list","data":[{"object":"embedding","index":0,"embedding":"AAAAgA=="}], "model":"x","usage":{"prompt_tokens":3,"total_tokens":3}} \n'
SAID = [b'data: {"id":"c","object":"text_completion","choices":[{"index":0,"text":"%s","finish_reason":null}]}\n\n' % t for t in (b"Hel", b"lo")]
TEXT = b'{"id":"cmpl-1","object":"text_completion","choices":[{"index":0,"text":"Hi","finish_reason":"stop"}],"usage":{"prompt_tokens":4,"completion_tokens":2}}'


def embedder(llm, number=1, **more):
    return llm.deployment(name=f"c-e{number}", model_impl={"model_name": "bge-large", "model_type": "embedding", "hf_model_id": EMBEDDER}, **more)


def set_up(testbed, answer, count=1, sets=(), deploy=None, **more):
    """(service, LLMs): so many that answer so, and a chat LLM of the mock."""
    llms = [RawLlm(testbed, answer) for _ in range(count)]
    deployed = {f"e{i}": (deploy or embedder)(llm, i) for i, llm in enumerate(llms)}
    deployed["d1"] = testbed.llm().deployment(name="c-d1")
    service = testbed.service(backend=testbed.backend(deployed), sets=[*API, *sets], **more).wait_ready()
    healthy(service, deployed)
    return service, llms


def healthy(service, deployed):
    wait_until(lambda: {m["deploy_id"] for m in service.ctl("models")["models"] if m["status"] == "healthy"} >= set(deployed), "all are healthy", 20)


def writers(llm, number=1, model=WRITER):
    return llm.deployment(name=f"c-w{number}", model_impl={"model_name": f"Writer{number}", "hf_model_id": "a/writer"})


class Answer:
    """(status, headers, body) of a request, in bytes; cut: the connection ended before the answer did."""

    def __init__(self, service, path, body, host=None, **more):
        exchange = Exchange(host or service.host, "POST", path, body, **more)
        self.cut, parts = False, []
        try:
            for part in exchange.chunks():
                parts.append(part)
        except Cut as e:
            self.cut = True
            parts.append(e.args[0])
        exchange.close()
        self.status, self.headers, self.body = exchange.status, exchange.headers, b"".join(parts)


class World:
    """A service whose two embedders and two writers answer as the test says."""

    def __init__(self, testbed):
        self.answers = {}
        llms = [RawLlm(testbed, lambda path, headers, body, n=n: self.answers[n](path, headers, body)) for n in range(4)]
        self.embedders, self.writers = llms[:2], llms[2:]
        deployed = {f"e{i}": embedder(llm, i) for i, llm in enumerate(self.embedders)}
        deployed |= {f"w{i}": writers(llm, i) for i, llm in enumerate(self.writers)}
        self.service = testbed.service(backend=testbed.backend(deployed), sets=API).wait_ready()
        healthy(self.service, deployed)

    def say(self, *parts, n=(0, 1, 2, 3)):
        for i in n:
            self.answers[i] = lambda *_: parts
        for llm in (*self.embedders, *self.writers):
            llm.requests.clear()

    def asked(self, path):
        return [r for llm in (*self.embedders, *self.writers) for r in llm.wants(path)]


@pytest.fixture(scope="module")
def world(worlds):
    return worlds.get("world", World)


def embed(world, body=None, **more):
    return Answer(world.service, EMBED, body or {"model": EMBEDDER, "input": "x"}, **more)


def complete(world, body=None, **more):
    return Answer(world.service, COMPLETE, {"model": "a/writer", "prompt": "x", **(body or {})}, **more)


# --- bytes ---


def test_a_request_passes_as_it_came(world):
    world.say(*whole(VECTORS))
    answer = embed(world, ODD % EMBEDDER.replace("/", "\\/").encode())
    assert (answer.status, answer.body) == (200, VECTORS)
    assert answer.headers["content-type"] == "application/json" and int(answer.headers["content-length"]) == len(VECTORS)
    (_, headers, body), = world.asked(EMBED)
    assert body == ODD % EMBEDDER.encode() and headers["content-type"] == "application/json"
    assert headers["authorization"].startswith("Bearer ") and headers["x-request-id"].startswith(answer.headers["x-request-id"])


def test_the_name_that_people_see_becomes_the_one_of_its_server(world):
    world.say(*whole(VECTORS))
    assert embed(world, ODD % b"bge-large").status == 200
    assert world.asked(EMBED)[0][2] == ODD % EMBEDDER.encode()


@pytest.mark.parametrize("size", [40_000, 900_000])
def test_long_requests(world, size):
    world.say(*whole(VECTORS))
    tokens = json.dumps([7] * (size // 3)).encode()  # many values, and hardly a byte for each
    assert embed(world, b'{"input":' + tokens + b',"model":"%s"}' % EMBEDDER.encode()).body == VECTORS
    assert tokens in world.asked(EMBED)[0][2]


@pytest.mark.parametrize("framing", ["length", "chunks", "close"])
@pytest.mark.parametrize("size", [100, 300_000, 3_000_000])
def test_an_answer_passes_as_it_came(world, size, framing):
    body = b'{"data":"' + os.urandom(size // 2).hex().encode() + b'"}'
    parts = {"length": whole(body), "chunks": chunked(*(body[i:i + 50_000] for i in range(0, len(body), 50_000))),
             "close": [b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n", body]}[framing]
    world.say(*parts)
    answer = embed(world)
    assert answer.status == 200 and answer.body == body and not answer.cut
    if size < 1_000_000 or framing == "length":
        assert int(answer.headers["content-length"]) == len(body)


@pytest.mark.parametrize("kind", ["audio/mpeg", "application/x-ndjson", "text/plain"])
def test_any_type(world, kind):
    body = bytes(range(256)) * 100
    world.say(*whole(body, kind=kind))
    answer = complete(world)
    assert (answer.body, answer.headers["content-type"]) == (body, kind)


STREAM = [b'data: {"choices":[{"index":0,"text":"Hel"}]}\r\n\r\n: ping\r\n\r\n', b'data: {"choices":[{"index":0,', b'"text":"lo"}]}\n\nda',
          b'ta: {"choices":[{"index":0,"text":"","finish_reason":"stop"}]}\n\ndata: [DO', b"NE]\n\n"]


@pytest.mark.parametrize("stream", [STREAM, [b"".join(STREAM)], [bytes([b]) for b in b"".join(STREAM)], STREAM[:-1] + [b"NE]"], STREAM[:-1] + [b"NE]\n"]])
def test_a_stream_passes_as_it_came(world, stream):
    world.say(*events(*stream))
    answer = complete(world, {"stream": True})
    assert answer.status == 200 and answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.body == b"".join(stream) and not answer.cut
    assert answer.headers["x-accel-buffering" if "x-accel-buffering" in answer.headers else "cache-control"]


def test_a_stream_comes_as_it_is_written(world):
    go_on = threading.Event()
    world.say(*events(STREAM[0], go_on, b"".join(STREAM[1:])))
    exchange = Exchange(world.service.host, "POST", COMPLETE, {"model": "a/writer", "prompt": "x", "stream": True})
    chunks = exchange.chunks()
    assert next(chunks) == STREAM[0]
    go_on.set()
    assert b"".join(chunks) == b"".join(STREAM[1:])
    exchange.close()


def test_a_stream_without_done_that_tells_its_end(world):
    last = b'data: {"choices":[{"index":0,"text":"","finish_reason":"length"}]}\n\n'
    world.say(*events(STREAM[0], last))
    assert complete(world, {"stream": True}).body == STREAM[0] + last


# --- answers that are none ---


@pytest.mark.parametrize("body, param", [
    (b"", None), (b"{", None), (b"[]", None), (b'"x"', None), (b'{"input":"x"}', "model"), (b'{"model":1}', "model"),
    (b'{"model":""}', "model"), (b'{"model":null}', "model"), (b'{"model":"a\\u0000b"}', "model"), (b'{"model":"x","model":"y"}', "model"),
    (b'{"model":"x","Model":"y"}', "model"), (b'{"MODEL":"y"}', "model"), (b'{"model":"x","m\\u006fdel":"y"}', "model"),
    (b'{"model":"' + b"x" * 600 + b'"}', "model"), (b'{"model":"x"} x', None), (b'{"a":{"model":"x"}}', "model"), (b"[" * 100_000, None)])
@pytest.mark.parametrize("path", [EMBED, COMPLETE])
def test_requests_that_are_wrong(world, path, body, param):
    world.say(*whole(VECTORS))
    error = error_of(post(world.service.host, body, path), 400)
    assert error["param"] == param and error["type"] == "invalid_request_error"
    assert not world.asked(path)


def test_models_that_are_not_there_or_do_other_work(world):
    for path, model, status, word in ((EMBED, "nix", 404, "nix"), (COMPLETE, "nix", 404, "nix"), (EMBED, "a/writer", 400, "makes no embeddings"),
                                      (EMBED, EMBEDDER + ":agent", 404, "agent"), (COMPLETE, EMBEDDER, 400, "completes no texts")):
        error = error_of(post(world.service.host, {"model": model, "input": "x", "prompt": "x"}, path), status)
        assert word in error["message"] and (error["code"] == "model_not_found") == (status == 404)
    error = error_of(post(world.service.host, {"model": EMBEDDER, "messages": [{"role": "user", "content": "x"}]}, CHAT), 400)
    assert "embeddings" in error["message"]


def test_embedders_are_models(world):
    ids = [m["id"] for m in world.service.http.get("/v1/models").json()["data"]]
    assert ids == ["a/writer", "a/writer:agent", EMBEDDER]
    assert world.service.http.get("/v1/models/" + EMBEDDER).json()["id"] == EMBEDDER


# --- LLMs that fail ---

REFUSED = {"error": {"message": "too long", "type": "BadRequestError", "param": None, "code": 400}}


@pytest.mark.parametrize("parts", [
    [], [RESET], [b"HTTP/1.1 200 OK\r\nContent-Le"], whole({"error": "x"}, 500), whole("x", 503), whole({"detail": "Not Found"}, 404), whole({"error": "x"}, 429),
    whole(b"", 500), [*whole(VECTORS)[:1], VECTORS[:50]], [*whole(VECTORS)[:1], VECTORS[:50], RESET], chunked(VECTORS[:50], end=()),
    [b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n", VECTORS[:50]], whole(b""), whole({"error": {"message": "overloaded", "code": 503}}),
    whole(b"", 302, location="http://127.0.0.1:1/"), whole({"error": "unauthorized"}, 401), whole(b"x" * 3_000_000, 500),
], ids=lambda p: repr(p)[:40])
def test_another_one_answers(world, parts):
    world.say(*parts, n=(0,))
    world.say(*whole(VECTORS), n=(1,))
    for _ in range(2):  # whichever is asked first
        answer = embed(world)
        assert (answer.status, answer.body) == (200, VECTORS)


@pytest.mark.parametrize("begin", [[], [b": ping\n\n"], [b'data: {"error":{"message":"overloaded","code":503}}\n\n', b"data: [DONE]\n\n"], [b'data: {"choices":[{"te']])
@pytest.mark.parametrize("end", [(), (RESET,), (b"0\r\n\r\n",)])
def test_another_one_streams(world, begin, end):
    world.say(*events(*begin, end=end), n=(2,))
    world.say(*events(*STREAM), n=(3,))
    for _ in range(2):
        answer = complete(world, {"stream": True})
        assert answer.body.removeprefix(b": ping\n\n") == b"".join(STREAM), answer.body


@pytest.mark.parametrize("parts, status, body", [
    (whole(REFUSED, 400), 400, REFUSED), (whole({"detail": "no"}, 422), 422, {"detail": "no"}), (whole({"x": 1}, 501), 501, {"x": 1}),
    (whole({"error": "busy"}, 429, retry_after=7), 429, {"error": "busy"}), (whole({"detail": "Not Found"}, 404), 404, {"detail": "Not Found"}),
    (whole({"error": "x"}, 529), 529, {"error": "x"})])
def test_what_an_llm_refuses_is_passed_on(world, parts, status, body):
    world.say(*parts)
    answer = embed(world)
    assert (answer.status, json.loads(answer.body)) == (status, body)
    assert answer.headers.get("retry-after") == ("7" if status == 429 else None)
    assert len(world.asked(EMBED)) == (1 if status in (400, 422) else 2)


def test_a_refused_token_is_not_the_clients(world):
    world.say(*whole({"error": {"message": "bad key"}}, 401))
    error = error_of(post(world.service.host, {"model": EMBEDDER, "input": "x"}, EMBED), 503)
    assert error["code"] == "service_misconfigured" and "bad key" not in error["message"]


def test_a_token_that_is_repeated_is_hidden(world):
    def repeat(path, headers, body):
        return whole({"error": {"message": "what is " + headers["authorization"].split()[1]}}, 400)

    world.say()
    world.answers[0] = world.answers[1] = repeat
    answer = embed(world)
    assert answer.status == 400 and json.loads(answer.body)["error"]["message"].strip("*") == "what is "


@pytest.mark.parametrize("cut", [(), (RESET,), (b"0\r\n\r\n",)])
@pytest.mark.parametrize("pieces", [STREAM[:1], STREAM[:2], STREAM[:3]])
def test_no_broken_stream_looks_whole(world, pieces, cut):
    world.say(*events(*pieces, end=cut))
    answer = complete(world, {"stream": True})
    assert answer.status == 200 and b"[DONE]" not in answer.body
    passed, _, error = answer.body.rpartition(b"data: ")
    assert b"".join(pieces).startswith(passed) and passed.endswith((b"\n\n", b"\r\n\r\n")), answer.body
    assert set(json.loads(error)["error"]) == {"message", "type", "param", "code"}
    assert len(world.asked(COMPLETE)) == 1


def test_an_error_in_a_stream_passes_as_it_came(world):
    said = [STREAM[0], b'data: {"error":{"message":"CUDA","type":"x","param":null,"code":500}}\n\n', b"data: [DONE]\n\n"]
    for count in (2, 3):
        world.say(*events(*said[:count]))
        assert complete(world, {"stream": True}).body == b"".join(said[:count])


@pytest.mark.parametrize("server", ["nginx", "lighttpd", "apache"])
@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_no_broken_answer_looks_whole(world, framing, server):
    """It began to pass because it is too long to be held."""
    body = b'{"data":"' + b"x" * 3_000_000
    world.say(*([whole(body + b'"}')[0], body] if framing == "length" else chunked(*(body[i:i + 65536] for i in range(0, len(body), 65536)), end=())))
    answer = embed(world, host=world.service.host_of(server))
    assert answer.status == 200 and answer.cut and body.startswith(answer.body[:100])


def test_silence(testbed):
    service, llms = set_up(testbed, lambda *_: events(STREAM[0], 30), sets=["llm.silence_timeout=1", "llm.stall_timeout=0.5"], deploy=writers)
    answer = Answer(service, COMPLETE, {"model": "a/writer", "prompt": "x", "stream": True})
    assert answer.body.startswith(STREAM[0]) and b"silent" in answer.body
    llms[0].answer = lambda *_: events(30)
    assert Answer(service, COMPLETE, {"model": "a/writer", "prompt": "x", "stream": True}).status == 502


# --- clients ---


def test_a_client_that_leaves(world):
    world.say(*events(*STREAM[:1], *([STREAM[0], 0.01] * 3000)))
    exchange = Exchange(world.service.host, "POST", COMPLETE, {"model": "a/writer", "prompt": "x", "stream": True})
    next(exchange.chunks())
    before = sum(w.left for w in world.writers)
    exchange.reset()
    wait_until(lambda: sum(w.left for w in world.writers) > before, "the LLM's connection is closed", 10)


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_reads_slowly(world, stream):
    """What it does not read stays at the LLM."""
    sent, piece = [], b"data: " + b"x" * 65000 + b"\n\n"
    parts = [part for _ in range(600) for part in (piece, lambda: sent.append(1))]
    end = b'data: {"choices":[{"index":0,"text":"","finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    world.say(*(events(*parts, end) if stream else chunked(*parts, kind="application/x-anything")))
    exchange = Exchange(world.service.host, "POST", COMPLETE, {"model": "a/writer", "prompt": "x", "stream": stream}, receive_buffer=65536)
    chunks = exchange.chunks()
    got = len(next(chunks))
    seen = -1
    while len(sent) != seen:
        seen = len(sent)
        threading.Event().wait(0.5)
    assert seen < 400, "it was all taken in"
    got += sum(len(c) for c in chunks)
    exchange.close()
    assert got == 600 * len(piece) + (len(end) if stream else 0)


def test_others_are_not_held_up(world):
    """One LLM that sends as fast as it can."""
    go_on = threading.Event()
    world.say(*events(*([b"data: " + b"x" * 60000 + b"\n\n"] * 50), go_on, b"data: [DONE]\n\n"), n=(2, 3))
    world.say(*whole(VECTORS), n=(0, 1))
    slow = Exchange(world.service.host, "POST", COMPLETE, {"model": "a/writer", "prompt": "x", "stream": True}, receive_buffer=65536)
    next(slow.chunks())
    assert embed(world).body == VECTORS
    go_on.set()
    slow.close()


# --- chats that no turn can answer ---


@pytest.mark.parametrize("more", [{"n": 2}, {"logprobs": True, "top_logprobs": 2}, {"modalities": ["text", "audio"], "audio": {"voice": "x"}}])
def test_a_chat_that_no_turn_can_answer(world, more):
    said = b'{"choices":[{"index":0,"message":{"content":"a"},"finish_reason":"stop","logprobs":{}},{"index":1,"message":{"content":"b"},"finish_reason":"stop"}]}'
    world.say(*whole(said))
    chat = {"model": "a/writer", "messages": [{"role": "user", "content": "x"}], "x": 1.5, **more}
    assert Answer(world.service, CHAT, chat).body == said
    (_, _, body), = world.asked(CHAT)
    assert json.loads(body) == chat
    long = {**chat, "messages": [{"role": "user", "content": "x" * 100_000}]}
    assert Answer(world.service, CHAT, long).body == said
    assert long in [json.loads(body) for _, _, body in world.asked(CHAT)]  # another one may have been chosen
    error = error_of(post(world.service.host, {**chat, "model": "a/writer:agent"}), 400)
    assert error["param"] == next(iter(more))
    assert error_of(post(world.service.host, {**chat, "metadata": {"thread_id": "t"}}), 400)["param"] == next(iter(more))
    assert len(world.asked(CHAT)) == 2


# --- rights, limits, and what is counted ---


def test_switched_off(testbed):
    service, _ = testbed.one()
    for path in (EMBED, COMPLETE):
        assert "http.api" in error_of(post(service.host, {"model": "x"}, path), 404)["message"]


def test_no_llm(testbed):
    service = testbed.service(sets=API)
    for path in (EMBED, COMPLETE):
        assert post(service.host, {"model": "x", "input": "x"}, path)[0] == 503


def usage(service, count):
    import sqlite3

    def look():
        try:
            db = sqlite3.connect(f"file:{service.directory}/usage.db?mode=rw", uri=True, timeout=10)
            found = db.execute("SELECT key_id, outcome, prompt_tokens, completion_tokens FROM usage ORDER BY id").fetchall()
            db.close()
        except sqlite3.OperationalError:
            return None
        return found if len(found) >= count else None

    return wait_until(look, f"{count} rows of usage")


def test_keys_and_limits(testbed):
    service, (llm,) = set_up(testbed, lambda *_: whole(VECTORS), sets=["access.require=api", f"access.keys_file={testbed.directory}/keys.jsonl", "log.requests=true"])
    make = lambda name, *more: service.ctl("keys", "create", name, *more)["key"]
    keys = {"all": make("all"), "other": make("other", "models=else*"), "two": make("two", "requests=2")}
    service.secrets += keys.values()
    ask = lambda key, **more: post(service.host, {"model": EMBEDDER, "input": "x", **more}, EMBED, {"Authorization": f"Bearer {keys[key]}"} if key else {})
    for key, status in (("all", 200), ("other", 403)):
        wait_until(lambda: ask(key)[0] == status, "the keys are known")
    wait_until(lambda: service.http.get("/v1/models", headers={"Authorization": f"Bearer {keys['two']}"}).status_code == 200, "the last one, too")
    assert error_of(ask(None), 401)["code"] == "invalid_api_key"
    assert error_of(ask("other"), 403)["code"] == "model_not_allowed"
    answers = [ask("two") for _ in range(3)]
    assert [a[0] for a in answers] == [200, 200, 429]
    assert answers[0][1]["x-ratelimit-limit-requests"] == "2" and "retry-after" in answers[2][1]
    assert usage(service, 3)[-1][1:] == ("complete", 3, 0)
    line = wait_until(lambda: next((l for l in service.responder.log().splitlines() if EMBED in l and "turn=complete" in l), None), "a line of the log")
    assert f"model={EMBEDDER}" in line and "status=200" in line


def test_turns_at_once(testbed):
    hold = threading.Event()
    service, (llm,) = set_up(testbed, lambda *_: [hold, *whole(VECTORS)], sets=["limits.turns=1"])
    first = Exchange(service.host, "POST", EMBED, {"model": EMBEDDER, "input": "x"})
    wait_until(lambda: llm.wants(EMBED), "it is asked")
    assert error_of(post(service.host, {"model": EMBEDDER, "input": "x"}, EMBED), 429)["code"] == "rate_limit_exceeded"
    hold.set()
    assert first.read() == VECTORS
    first.close()
    assert Answer(service, EMBED, {"model": EMBEDDER, "input": "x"}).status == 200


def test_what_was_used(testbed):
    answers = iter([whole(TEXT), events(*STREAM), events(STREAM[0], end=(RESET,))])
    service, _ = set_up(testbed, lambda *_: next(answers), deploy=writers)
    for stream in (False, True, True):
        Answer(service, COMPLETE, {"model": "a/writer", "prompt": "x", "stream": stream})
    assert [row[1:] for row in usage(service, 3)] == [("complete", 4, 2), ("complete", None, 4), ("cut", None, 1)]
    metrics = service.http.get("/metrics").text
    assert 'result="complete"' in metrics


def test_a_body_that_is_too_long(testbed):
    service, _ = set_up(testbed, lambda *_: whole(VECTORS), sets=["http.body_limit=2000"])
    error = error_of(post(service.host, {"model": EMBEDDER, "input": "x" * 5000}, EMBED), 413)
    assert "http.body_limit" in error["message"]


# --- clients as they are published ---


@pytest.fixture(scope="module", params=[client(name) for name in ("openai-2", "openai-3", "openai-node")])
def openai(request):
    o = CLIENTS[request.param].start()
    yield o
    o.close()


def test_clients_get_numbers_and_text(world, openai):
    url = world.service.url + "/v1"
    numbers = [[0.5, -2.0, 3.25], [1e-3, 0.0, 7.0]]
    for batch in ["one"], ["one", "two"], [[1, 2], [3]]:
        vectors = [{"object": "embedding", "index": i, "embedding": base64.b64encode(struct.pack("<3f", *n)).decode()} for i, n in enumerate(numbers[:len(batch)])]
        world.say(*whole({"object": "list", "data": vectors, "model": EMBEDDER, "usage": {"prompt_tokens": 2, "total_tokens": 2}}))
        seen = openai.do(url, ("embed", {"model": EMBEDDER, "input": batch}))
        assert [pytest.approx(n) for n in numbers[:len(batch)]] == seen["vectors"], seen
        sent = json.loads(world.asked(EMBED)[0][2])
        assert sent["encoding_format"] == "base64" and sent["input"] == batch
    world.say(*whole(TEXT))
    assert openai.do(url, ("complete", {"model": "a/writer", "prompt": "x"})) == {"text": "Hi"}
    world.say(*events(*SAID, b"data: [DONE]\n\n"))
    assert openai.do(url, ("completed", {"model": "a/writer", "prompt": "x"})) == {"text": "Hello"}


BROKEN = {
    "embeddings that were cut": ("embed", [whole(VECTORS)[0], VECTORS[:-20]], {}),
    "long embeddings that were cut": ("embed", [whole(b"x" * 3_000_000)[0], b'{"data":"' + b"x" * 2_000_000], {}),
    "a completion that was cut": ("complete", [whole(TEXT)[0], TEXT[:-9]], {}),
    "a stream that was cut": ("completed", "cut", {}),
    "a stream that ended early": ("completed", "early", {}),
    "no embeddings": ("embed", whole({"error": {"message": "too long", "type": "BadRequestError", "param": None, "code": 400}}, 400), {"status": 400}),
}


@pytest.mark.parametrize("name", BROKEN)
def test_no_client_takes_a_broken_answer_for_a_whole_one(world, openai, name):
    way, parts, expected = BROKEN[name]
    world.say(*{"cut": events(*SAID, end=()), "early": events(*SAID)}.get(parts, parts) if isinstance(parts, str) else parts)
    request = {"model": EMBEDDER, "input": "x"} if way == "embed" else {"model": "a/writer", "prompt": "x"}
    seen = openai.do(world.service.url + "/v1", (way, request))
    assert seen.get("error") and expected.items() <= seen.items(), seen


# --- the service itself ---


@pytest.mark.skipif(bool(WRAP), reason="without keepers")
@pytest.mark.parametrize("server", ["nginx", "lighttpd", "apache"])
def test_a_worker_that_is_killed(testbed, server):
    service, _ = set_up(testbed, lambda *_: events(STREAM[0], 30), deploy=writers)
    host = service.host_of(server)
    exchange = Exchange(host, "POST", COMPLETE, {"model": "a/writer", "prompt": "x", "stream": True})
    chunks = exchange.chunks()
    begun = next(chunks)
    for pid in service.worker_pids():
        os.kill(pid, signal.SIGKILL)
    body = begun + b"".join(chunks)
    exchange.close()
    assert body.startswith(STREAM[0]) and b"[DONE]" not in body
    assert json.loads(body.rsplit(b"data: ", 1)[1])["error"]["code"] == "upstream_error"


def test_a_service_that_stops(testbed):
    service, _ = set_up(testbed, lambda *_: events(STREAM[0], 30), deploy=writers, options=["--drain", "0.2"])
    exchange = Exchange(service.host, "POST", COMPLETE, {"model": "a/writer", "prompt": "x", "stream": True})
    chunks = exchange.chunks()
    assert next(chunks) == STREAM[0]
    os.kill(service.responder.pid, signal.SIGTERM)
    assert b"stopped or restarted" in b"".join(chunks)
    exchange.close()

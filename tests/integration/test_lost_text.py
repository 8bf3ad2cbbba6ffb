# SPDX-License-Identifier: Apache-2.0
"""Answers in forms that other servers send: no text is lost, and none is shown twice."""

import gzip
import http.server
import json
import random
import threading
import zlib

import pytest

from harness.http_client import broke_off
from harness.process import PATIENCE
from harness.tt_studio_reader import read_like_tt_studio

TYPES = {"stream": "text/event-stream", "json": "application/json", "lines": "application/x-ndjson"}


def answer(body, kind="stream"):
    body = body.encode() if isinstance(body, str) else body
    return f"HTTP/1.1 200 OK\r\nContent-Type: {TYPES[kind]}\r\nConnection: close\r\n\r\n{body.decode()}"


def event(delta, escaped=True, **choice):
    return "data: " + json.dumps({"choices": [{"index": 0, "delta": delta, **choice}]}, ensure_ascii=escaped) + "\n\n"


def texts(*pieces):
    return "".join(event({"content": p}) for p in pieces)


STOP = event({}, finish_reason="stop") + "data: [DONE]\n\n"
WHOLE = {"object": "chat.completion", "choices": [{"index": 0, "finish_reason": "stop",
                                                   "message": {"role": "assistant", "content": "Grüße, \"{[😀\"\nBye."}}]}
SAID = WHOLE["choices"][0]["message"]["content"]
OLLAMA = [{"message": {"role": "assistant", "content": p}, "done": False} for p in ("Grüße, ", "😀")]
OLLAMA.append({"message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop"})

FORMS = {
    "halves of a surrogate pair": (answer(texts("Hi \ud83d", "\ude00!") + STOP), "Hi 😀!"),
    "an empty delta between the halves": (answer(texts("Hi \ud83d", "", "\ude00!") + STOP), "Hi 😀!"),
    "a lost half": (answer(texts("Hi \ud83d", "you\ude00") + STOP), "Hi \ufffdyou\ufffd"),
    "a whole answer": (answer(json.dumps(WHOLE), "json"), SAID),
    "a whole answer on many lines": (answer(json.dumps(WHOLE, indent=2, ensure_ascii=False), "json"), SAID),
    "a whole answer in an event": (answer("data: " + json.dumps(WHOLE) + "\n\n"), SAID),
    "lines without data:": (answer(texts("Hi", " you").replace("data: ", "").replace("\n\n", "\n") + STOP[6:], "lines"), "Hi you"),
    "lines as Ollama writes them": (answer("".join(json.dumps(o) + "\n" for o in OLLAMA), "lines"), "Grüße, 😀"),
    "data: without a space, a BOM": (answer("\ufeff" + (texts("Hi", " you") + STOP).replace("data: ", "data:")), "Hi you"),
    "the whole message at the end": (
        answer(texts("Hi", " you") + event(None, message={"content": "Hi you"}, finish_reason="stop")), "Hi you"),
    "two answers": (answer(texts("Hi") + event({"content": "x"}, index=1, finish_reason="stop") + texts(" you") + STOP), "Hi you"),
    "an error that is none": (
        answer("".join((e + "\n\n").replace('{"choices"', '{"error": %s, "choices"' % none)
                       for e, none in zip(texts("a", "b", "c", "d").split("\n\n"), ("{}", "null", '""', "false"))) + STOP), "abcd"),
}


@pytest.fixture(scope="module")
def one(shared):
    return shared.one()


@pytest.mark.parametrize("form", FORMS)
def test_the_answer_is_read(one, form):
    service, llm = one
    raw, text = FORMS[form]
    llm.script(raw=raw)
    turn = service.chat("question")
    assert turn.whole and turn.text == text


SPACES = "\u00a0", "\u3000", "\u2028", "\u2029", "\u1680", "\u2003", "\u202f", "\u205f", "\u0085", "\u001c", "\u000b"


def test_tt_studio_sees_every_space(one):
    service, llm = one
    llm.script(text=["a", *(p for b in SPACES for p in (b, "b")), " ", "\u3000", "c"], delay_us=3000)
    seen, stats = read_like_tt_studio(f"{service.url}/poll_requests", "question", "spaces")
    assert "".join(seen) == "a" + "".join(b + "b" for b in SPACES) + " \u3000c" and stats


def test_an_error_event_is_told_as_one(one):
    service, llm = one
    llm.script(raw=answer(texts("Half") + "event: error\ndata: overloaded\n\n"))
    broke_off(service.chat("question"), "Half")


# ---- compressed answers ------------------------------------------------------------------------


class Compressing(http.server.BaseHTTPRequestHandler):
    """An LLM that compresses although nobody asked."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def reply(self, body, encoding=None, kind="application/json"):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if encoding:
            self.send_header("Content-Encoding", encoding)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.reply(b'{"object":"list","data":[{"id":"m","object":"model"}]}')

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append(self.headers.get("Accept-Encoding"))
        self.reply(*self.server.answer, "text/event-stream")


@pytest.fixture(scope="module")
def compressing(shared):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Compressing)
    server.asked, server.answer = [], (STOP.encode(), None)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/v1/chat/completions"
    yield shared.service(env={"LLM_CONTAINER_NAME": url}).wait_ready(), server
    server.shutdown()
    server.server_close()


def deflated(data):
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize("encoding, pack", [("gzip", gzip.compress), ("deflate", zlib.compress), ("deflate", deflated)])
@pytest.mark.parametrize("words", [3, 20000])
def test_a_compressed_answer_is_decoded(compressing, encoding, pack, words):
    service, server = compressing
    said = [f"word{n * random.Random(n).random()} " for n in range(words)]
    server.answer = pack((texts(*said) + STOP).encode()), encoding
    turn = service.chat("question")
    assert turn.whole and turn.text == "".join(said)
    assert set(server.asked) == {None}


def brotli(data):
    """Not compressed, but so that what reads Brotli reads it."""
    assert len(data) <= 65536
    return (len(data) - 1 << 4 | 1 << 20).to_bytes(3, "little") + data + b"\x03"


def zstd(data):
    assert len(data) <= 131072
    return b"\x28\xb5\x2f\xfd\xa0" + len(data).to_bytes(4, "little") + (len(data) << 3 | 1).to_bytes(3, "little") + data


@pytest.mark.parametrize("encoding, pack", [("br", brotli), ("zstd", zstd), ("gzip, br", lambda data: brotli(gzip.compress(data)))])
def test_what_libcurl_can_read_is_decoded_and_all_else_refused(compressing, encoding, pack):
    """Which encodings it reads depends on how it was built."""
    service, server = compressing
    said = [f"word{n} " for n in range(500)]
    server.answer = pack((texts(*said) + STOP).encode()), encoding
    turn = service.chat("question")
    if turn.text != "".join(said):
        broke_off(turn)
        service.responder.wait_log("attempt_failed.*[Cc]ontent.encoding")


@pytest.mark.parametrize("encoding", ["snappy", "compress", "br, snappy"])
def test_an_encoding_that_nobody_reads_is_refused_with_the_reason(compressing, encoding):
    service, server = compressing
    server.answer = (texts("word") + STOP).encode(), encoding
    size = len(service.responder.log())
    broke_off(service.chat("question"))
    assert "ontent encoding" in service.responder.log()[size:], service.responder.log()[size:]


def test_a_damaged_compressed_answer_is_no_answer(compressing):
    service, server = compressing
    packed = gzip.compress(texts(*(f"word{random.Random(n).random()} " for n in range(500))).encode())
    server.answer = packed[:40] + b"\xff" * 40 + packed[80:], "gzip"
    turn = service.chat("question")
    assert turn.whole and turn.text.rstrip(".").endswith(("try again in a moment", "Please ask again"))


def test_a_compressed_bomb_is_bounded(compressing):
    service, server = compressing
    packer = zlib.compressobj(9, wbits=31)
    packed = b"".join(packer.compress(b"data: " + b" " * (1 << 20)) for _ in range(300)) + packer.flush()
    server.answer = packed, "gzip"
    turn = service.chat("question")
    assert turn.whole and turn.text
    peaks = [int(line.split()[1]) for pid in service.worker_pids() for line in open(f"/proc/{pid}/status") if line.startswith("VmHWM")]
    assert PATIENCE > 1 or max(peaks) < 150 << 10  # a sanitizer keeps what was freed

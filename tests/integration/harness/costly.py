# SPDX-License-Identifier: Apache-2.0
"""Requests that cost the most: what they make a worker do must not hold its loop, nor take much memory. tests/bench
measures them."""

import json

SIZE = 1 << 20


def fill(before, unit, after):
    return before + unit * ((SIZE - len(before) - len(after)) // len(unit)) + after


IGNORED = b'{"message":"[plain]","thread_id":"cost","ignored":'
BODIES = {
    "items": fill(b'{"message":[', b"1,", b'1],"thread_id":"cost"}'),
    "parts": fill(b'{"thread_id":"cost","message":[', b'{"type":"text","text":""},', b"{}]}"),
    "bad parts": fill(b'{"thread_id":"cost","message":[', b'{},', b"{}]}"),
    "bad texts": fill(b'{"thread_id":"cost","message":[', b'{"type":"text","text":1},', b"{}]}"),
    "some bad parts": fill(b'{"thread_id":"cost","message":[{"type":"' + b"x" * 900000 + b'"},', b'[]' + b" " * 20 + b",", b"{}]}"),
    "no string": fill(b'{"thread_id":"cost","message":{"a":"', b"x", b'"}}'),
    "no fields": fill(b'{"a":"', b"x", b'"}'),
    "no object": fill(b'"', b"x", b'"'),
    "an array": fill(b'["', b"x", b'"]'),
    "text": fill(b'{"message":"', b"x", b'","thread_id":"cost"}'),
    "lines": fill(b'{"message":"', b"line\\n", b'","thread_id":"cost"}'),
    "escapes": fill(b'{"message":"', b"\\n", b'","thread_id":"cost"}'),
    "controls": fill(b'{"message":"', b"\\u0001", b'","thread_id":"cost"}'),
    "NULs": fill(b'{"message":"', b"\\u0000", b'","thread_id":"cost"}'),
    "surrogates": fill(b'{"message":"', b"\\ud83d\\ude00", b'","thread_id":"cost"}'),
    "half surrogates": fill(b'{"message":"', b"\\ud83d", b'","thread_id":"cost"}'),
    "emoji": fill(b'{"message":"', "😀".encode(), b'","thread_id":"cost"}'),
    "a cut string": fill(b'{"thread_id":"cost","message":"', b"x", b""),
    "a late fault": fill(b'{"message":"', b"x", b'","thread_id":"cost",'),
    "invalid UTF-8 at the end": fill(b'{"message":"', b"x", b'\xff","thread_id":"cost"}'),
    "an image": fill(b'{"thread_id":"cost","message":[{"type":"image_url","image_url":{"url":"data:image/png;base64,', b"A",
                     b'"}}]}'),
    "long id": fill(b'{"message":"x","thread_id":"', b"i", b'"}'),
    "a long key": fill(b'{"message":"x","thread_id":"cost","', b"k", b'":1}'),
    "objects": fill(IGNORED + b"[", b"{},", b"{}]}"),
    "arrays": fill(IGNORED + b"[", b"[],", b"[]]}"),
    "small objects": fill(IGNORED + b"[", b'{"":0},', b"{}]}"),
    "strings": fill(IGNORED + b"[", b'"",', b'""]}'),
    "keys": IGNORED + b"{" + b",".join(b'"%x":1' % i for i in range(90000)) + b"}}",
    "one key": fill(b'{"message":"[plain]","thread_id":"cost"', b',"a":1', b"}"),
    "reals": fill(IGNORED + b"[", b"1e5,", b"1]}"),
    "depth": IGNORED + b"[" * 500000 + b"]" * 500000 + b"}",
    "deep objects": fill(IGNORED, b'{"a":', b""),
    "an integer": fill(IGNORED, b"9", b"}"),
    "a fraction": fill(IGNORED + b"0.", b"9", b"}"),
    "an exponent": fill(IGNORED + b"1e", b"9", b"}"),
    "integers": fill(IGNORED + b"[", b"9" * 4000 + b",", b"9]}"),
    "whitespace": fill(b'{"message":"[plain]",', b" ", b'"thread_id":"cost"}'),
    "medium strings": fill(b'{"message":[', b'"' + b"x" * 4090 + b'",', b'1],"thread_id":"cost"}'),
    "long strings": fill(b'{"message":[', b'"' + b"x" * 4100 + b'",', b'1],"thread_id":"cost"}'),
    "NUL before long": fill(b'{"n":"\\u0000","thread_id":"cost","message":"', b"x", b'"}'),
    "as many values as may be": fill(b'{"n":[' + b"{}," * 9900 + b'{}],"thread_id":"cost","message":"', b"x", b'"}'),
}


# ---- what tests/bench measures -------------------------------------------------------------------

TEXTS = {
    "text": b"x", "lines": b"line\\n", "escapes": b'\\"', "controls": b"\\u0001", "emoji": "😀".encode(),
    "surrogates": b"\\ud83d\\ude00", "NULs": b"\\u0000", "accents": "é".encode(),
}
HEADERS = {
    "many headers": {f"HTTP_X_{i}": "v" for i in range(450)},
    "long headers": {f"HTTP_X_{i}": "v" * 8000 for i in range(4)},
    "forwarded": {"HTTP_X_FORWARDED_FOR": ",".join(["10.0.0.1"] * 3000)},
    "a long origin": {"HTTP_ORIGIN": "http://" + "a." * 15000, "HTTP_HOST": "b" + ".a" * 15000},
    "a long path": {"PATH_INFO": "/" + "%41/../" * 4000, "REQUEST_URI": "/" + "%41/../" * 4000},
    "query parameters": {"QUERY_STRING": "&".join(["a=%41"] * 6000)},
    "a long parameter": {"QUERY_STRING": "deploy_id=" + "%41" * 10000},
}


def post(path, body=b"", **params):
    return {"method": "POST", "url": path, "body": body, **params}


def turn(message, thread):
    return post("/poll_requests", b'{"message":"' + message + b'","thread_id":"' + thread.encode() + b'"}')


def script(**knobs):
    return json.dumps("[[" + json.dumps(knobs) + "]]")[1:-1].encode()


def searches(count):
    """A turn whose LLM searches so often."""
    return script(rounds=[{"calls": [{"id": f"call_{n}", "name": "tavily_search_results_json", "arguments": json.dumps({"query": str(n)})}]}
                          for n in range(count)])


def measured(names, set_search):
    """(name, what to send before, what is measured) of each kind; both are called with the number of the try."""
    def nothing(n):
        return []

    for kind, body in BODIES.items():
        yield kind, nothing, lambda n, body=body: [post("/poll_requests", body)]
        if kind in ("text", "controls", "as many values as may be"):
            yield f"select: {kind}", nothing, lambda n, body=body: [post("/select_model", body)]
    for kind, params in HEADERS.items():
        yield kind, nothing, lambda n, params=params: [post("/refresh" if "FORWARDED" in str(params) else "/select_model", **params)]
    for kind, unit in TEXTS.items():
        message = unit * ((SIZE - 100) // len(unit))
        thread = names.format(f"history-{kind}-{{}}").replace(" ", "-")
        yield (f"history: {kind}", lambda n, message=message, thread=thread: [turn(message, thread.format(n))] * 8,
               lambda n, thread=thread: [turn(b"[plain]", thread.format(n))])
    for kind, text in {"text": "x", "escapes": '"', "controls": "\x01", "emoji": "😀"}.items():
        def prepare(n, text=text):
            set_search({"all": {"results": [{"title": "t", "url": f"https://example.org/{i}", "content": text * 20000, "score": 0.5}
                                            for i in range(20)]}})
            return []

        thread = names.format(f"results-{kind}-{{}}")
        yield f"tool results: {kind}", prepare, lambda n, thread=thread: [turn(searches(8), thread.format(n))]
    for kind, knobs in ANSWERS.items():
        thread = names.format(f"answer-{kind}-{{}}").replace(" ", "-")
        yield f"answer: {kind}", nothing, lambda n, knobs=knobs, thread=thread: [turn(script(**knobs), thread.format(n))]


ANSWERS = {
    "10 MiB in one chunk": {"tokens": 160, "token": "x" * 65536, "coalesce": True},
    "one event of 7 MiB": {"tokens": 1, "token": "x", "huge": 7 << 20},
    "10 MiB of lines": {"tokens": 160, "token": "\n" * 65536, "tokens_per_write": 1},
    "10 MiB of quotes": {"tokens": 160, "token": '"' * 65536, "tokens_per_write": 1},
    "10 MiB of emoji": {"tokens": 160, "token": "😀" * 16384, "tokens_per_write": 1},
    "10 MiB of tags": {"tokens": 160, "token": "<|" * 32768, "tokens_per_write": 1},
    "arguments": {"fragment": 0, "rounds": [{"calls": [
        {"id": f"call_{n}", "name": "tavily_search_results_json", "arguments": json.dumps({"query": '"' * 60000 + str(n)})}
        for n in range(7)]}]},
}

# SPDX-License-Identifier: Apache-2.0
"""Does with Anthropic's own Python client what each line of its input, JSON, says, and prints what it saw. Runs in the
environment of that client; see harness/api_clients.py."""

import json
import sys

import anthropic


def seen(call):
    """What a program sees of an answer, or of its failure."""
    try:
        return call()
    except anthropic.APIStatusError as e:
        body = e.body if isinstance(e.body, dict) else {}
        return {"error": type(e).__name__, "status": e.status_code, "type": (body.get("error") or {}).get("type"), "message": e.message}
    except anthropic.APIError as e:
        return {"error": type(e).__name__, "type": None, "message": e.message}
    except Exception as e:  # what the client does not expect itself
        return {"error": type(e).__name__, "type": None, "message": str(e)}


def message(m):
    return {"content": [b.model_dump(exclude_none=True) for b in m.content], "stop": m.stop_reason, "id": m.id, "model": m.model, "role": m.role,
            "usage": m.usage.model_dump(exclude_none=True), "text": "".join(b.text for b in m.content if b.type == "text")}


def streamed(client, request):
    """The events as they come."""
    text, kinds, stop, usage = "", [], None, {}
    for event in client.messages.create(**request, stream=True):
        kinds.append(event.type)
        if event.type == "content_block_delta" and event.delta.type == "text_delta":
            text += event.delta.text
        elif event.type == "message_delta":
            stop, usage = event.delta.stop_reason, event.usage.model_dump(exclude_none=True)
    return {"text": text, "kinds": kinds, "stop": stop, "usage": usage}


def helper(client, request):
    """The client's own way to add events up."""
    with client.messages.stream(**request) as stream:
        text = "".join(stream.text_stream)
        final = message(stream.get_final_message())
    assert text == final["text"]
    return final


def left(client, request):
    stream = client.messages.create(**request, stream=True)
    for event in stream:
        if event.type == "content_block_delta":
            break
    stream.close()
    return {}


WAYS = {
    "create": lambda client, request: message(client.messages.create(**request)),
    "stream": streamed,
    "helper": helper,
    "leave": left,
    "count": lambda client, request: {"tokens": client.messages.count_tokens(**request).input_tokens},
}

for line in sys.stdin:
    order = json.loads(line)
    auth = {"auth_token": order["token"], "api_key": None} if "token" in order else {"api_key": order.get("key", "none")}
    with anthropic.Anthropic(base_url=order["url"], max_retries=order.get("retries", 0), timeout=60, **auth) as c:
        print(json.dumps([seen(lambda: WAYS[way](c, request)) for way, request in order["do"]]), flush=True)

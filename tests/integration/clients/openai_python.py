# SPDX-License-Identifier: Apache-2.0
"""Does with OpenAI's own Python client what each line of its input, JSON, says, and prints what it saw. Runs in the
environment of that client; see harness/api_clients.py."""

import json
import sys

import openai


def seen(call):
    """What a program sees of an answer, or of its failure."""
    try:
        return call()
    except openai.APIStatusError as e:
        return {"error": type(e).__name__, "status": e.status_code, "code": e.code, "message": e.message,
                "retry_after": e.response.headers.get("retry-after")}
    except openai.APIError as e:
        return {"error": type(e).__name__, "code": e.code, "message": e.message}
    except Exception as e:  # what the client does not expect itself
        return {"error": type(e).__name__, "message": str(e)}


def message(completion):
    choice, = completion.choices
    return {"text": choice.message.content, "finish": choice.finish_reason, "id": completion.id,
            "calls": [c.model_dump() for c in choice.message.tool_calls or []],
            "usage": completion.usage.model_dump(exclude_none=True) if completion.usage else None}


def streamed(client, request):
    text, finish, ids, usage = "", None, set(), None
    for chunk in client.chat.completions.create(**request, stream=True):
        ids.add(chunk.id)
        usage = chunk.usage or usage
        for choice in chunk.choices:
            text += choice.delta.content or ""
            finish = choice.finish_reason or finish
    return {"text": text, "finish": finish, "ids": len(ids), "usage": usage.model_dump(exclude_none=True) if usage else None}


def helped(client, request):
    """The client's own way to add chunks up."""
    with client.chat.completions.stream(**request) as stream:
        for _ in stream:
            pass
        return stream.get_final_completion()


def tools(client, request):
    """Runs the tools that the model calls, in both ways, until it answers."""
    messages, ran = list(request["messages"]), []
    for _ in range(5):
        answer = helped(client, {**request, "messages": messages}).choices[0].message
        if not answer.tool_calls:
            return {"text": answer.content, "ran": ran}
        messages.append({"role": "assistant", "content": answer.content, "tool_calls": [
            {"id": c.id, "type": "function", "function": {"name": c.function.name, "arguments": c.function.arguments}} for c in answer.tool_calls]})
        for call in answer.tool_calls:
            ran.append([call.function.name, json.loads(call.function.arguments)])
            messages.append({"role": "tool", "tool_call_id": call.id, "content": "rain"})
    return {"error": "loop", "message": "the model calls tools again and again"}


def left(client, request):
    stream = client.chat.completions.create(**request, stream=True)
    next(iter(stream))
    stream.close()
    return {}


WAYS = {
    "models": lambda client, request: {"ids": [m.id for m in client.models.list()]},
    "model": lambda client, request: {"id": client.models.retrieve(request["model"]).id},
    "create": lambda client, request: message(client.chat.completions.create(**request)),
    "stream": streamed,
    "helper": lambda client, request: message(helped(client, request)),
    "tools": tools,
    "leave": left,
    # The client asks for base64, and makes numbers of it.
    "embed": lambda client, request: {"vectors": [list(e.embedding) for e in client.embeddings.create(**request).data]},
    "complete": lambda client, request: {"text": client.completions.create(**request).choices[0].text},
    "completed": lambda client, request: {"text": "".join(c.choices[0].text for c in client.completions.create(**request, stream=True))},
}

for line in sys.stdin:
    order = json.loads(line)
    with openai.OpenAI(base_url=order["url"], api_key=order.get("key", "none"), max_retries=order.get("retries", 0), timeout=60) as c:
        print(json.dumps([seen(lambda: WAYS[way](c, request)) for way, request in order["do"]]), flush=True)

# SPDX-License-Identifier: Apache-2.0
"""Does with OpenAI's own Python client what each line of its input, JSON, says of the Responses API, and prints what it
saw. Runs in the environment of that client."""

import json
import sys

import openai


def seen(call):
    """What a program sees of an answer, or of its failure."""
    try:
        return call()
    except openai.APIError as e:
        return {"error": type(e).__name__, "code": e.code, "message": e.message}
    except Exception as e:  # what the client does not expect itself
        return {"error": type(e).__name__, "message": str(e)}


def response(r):
    return {"text": r.output_text, "status": r.status, "id": r.id, "usage": r.usage.total_tokens if r.usage else None,
            "calls": [i.model_dump() for i in r.output if i.type == "function_call"],
            "output": [i.model_dump(exclude_none=True) for i in r.output], "classes": [type(i).__name__ for i in r.output]}


def streamed(client, request):
    """What the last event says, and the text of all."""
    text, types, classes, last = "", [], [], None
    for event in client.responses.create(**request, stream=True):
        types.append(event.type)
        classes.append(type(event).__name__)
        if event.type == "response.output_text.delta":
            text += event.delta
        last = event
    return {**response(last.response), "types": types, "classes": classes, "text": text}


def helper(client, request):
    """The client's own way to add events up."""
    with client.responses.stream(**request) as stream:
        for _ in stream:
            pass
        return response(stream.get_final_response())


def converse(client, request):
    """A conversation from its beginning to its end."""
    all, made = client.conversations, client.conversations.create(**request)
    seen = {"made": made.model_dump(), "retrieved": all.retrieve(made.id).model_dump(),
            "added": [i.content[0].text for i in all.items.create(made.id, items=[{"role": "assistant", "content": "Hi!"}]).data]}
    items = list(all.items.list(made.id, order="asc", limit=1))
    seen |= {"items": [i.content[0].text for i in items], "item": all.items.retrieve(items[0].id, conversation_id=made.id).content[0].text,
             "updated": all.update(made.id, metadata={"topic": "other"}).model_dump(), "deleted": all.delete(made.id).model_dump()}
    try:
        all.retrieve(made.id)
    except openai.APIError as e:
        seen["gone"] = type(e).__name__
    return seen


WAYS = {
    "converse": converse,
    "create": lambda client, request: response(client.responses.create(**request)),
    "stream": streamed,
    "helper": helper,
    "retrieve": lambda client, request: response(client.responses.retrieve(**request)),
    "delete": lambda client, request: client.responses.delete(**request),
    "inputs": lambda client, request: [i.model_dump(exclude_none=True) for i in client.responses.input_items.list(**request)],
}

for line in sys.stdin:
    order = json.loads(line)
    with openai.OpenAI(base_url=order["url"], api_key=order.get("key", "none"), max_retries=0, timeout=60) as c:
        print(json.dumps([seen(lambda: WAYS[way](c, request)) for way, request in order["do"]]), flush=True)

# SPDX-License-Identifier: Apache-2.0
"""Does with LangChain's client what each line of its input, JSON, says, and prints what it saw; see openai_python.py."""

import json
import sys

from langchain_core.messages import HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI


def seen(call):
    try:
        return call()
    except Exception as e:
        return {"error": type(e).__name__, "status": getattr(e, "status_code", None), "message": str(e)}


def created(model, request):
    answer = model.invoke(request["messages"])
    return {"text": answer.text if isinstance(answer.text, str) else answer.text(), "finish": answer.response_metadata.get("finish_reason")}


def streamed(model, request):
    text, finish = "", None
    for chunk in model.stream(request["messages"]):
        text += chunk.content
        finish = chunk.response_metadata.get("finish_reason") or finish
    return {"text": text, "finish": finish}


def tools(model, request):
    bound = model.bind_tools(request["tools"])
    messages, ran = [HumanMessage(m["content"]) for m in request["messages"]], []
    for _ in range(5):
        answer = None
        for chunk in bound.stream(messages):
            answer = chunk if answer is None else answer + chunk
        if not answer.tool_calls:
            return {"text": answer.content, "ran": ran}
        messages.append(answer)
        for call in answer.tool_calls:
            ran.append([call["name"], call["args"]])
            messages.append(ToolMessage("rain", tool_call_id=call["id"]))
    return {"error": "loop", "message": "the model calls tools again and again"}


def left(model, request):
    stream = model.stream(request["messages"])
    next(stream)
    stream.close()
    return {}


WAYS = {"create": created, "stream": streamed, "tools": tools, "leave": left}

for line in sys.stdin:
    order = json.loads(line)
    found = []
    for way, request in order["do"]:
        model = ChatOpenAI(base_url=order["url"], api_key=order.get("key", "none"), max_retries=order.get("retries", 0), timeout=60,
                           model=request["model"])
        found.append(seen(lambda: WAYS[way](model, request)))
    print(json.dumps(found), flush=True)

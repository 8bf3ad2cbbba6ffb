# SPDX-License-Identifier: Apache-2.0
"""Does with LiteLLM what each line of its input, JSON, says, and prints what it saw; see openai_python.py."""

import json
import os
import sys

# Else prices and tokenizers are downloaded, while a stream waits.
os.environ |= {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "HF_HUB_OFFLINE": "1"}

import litellm

litellm.telemetry = False
litellm.suppress_debug_info = True
REPORT = sys.stdout
sys.stdout = sys.stderr  # it prints advice


def seen(call):
    try:
        return call()
    except Exception as e:
        return {"error": type(e).__name__, "status": getattr(e, "status_code", None), "message": str(e)}


def request_of(order, request):
    return {**request, "model": "openai/" + request["model"], "api_base": order["url"], "api_key": order.get("key", "none"),
            "max_retries": order.get("retries", 0), "timeout": 60}


def created(order, request):
    choice = litellm.completion(**request_of(order, request)).choices[0]
    return {"text": choice.message.content, "finish": choice.finish_reason}


def streamed(order, request):
    text, finish = "", None
    for chunk in litellm.completion(**request_of(order, request), stream=True):
        text += chunk.choices[0].delta.content or ""
        finish = chunk.choices[0].finish_reason or finish
    return {"text": text, "finish": finish}


def tools(order, request):
    messages, ran = list(request["messages"]), []
    for _ in range(5):
        answer = litellm.completion(**request_of(order, {**request, "messages": messages})).choices[0].message
        if not answer.tool_calls:
            return {"text": answer.content, "ran": ran}
        messages.append(answer.model_dump())
        for call in answer.tool_calls:
            ran.append([call.function.name, json.loads(call.function.arguments)])
            messages.append({"role": "tool", "tool_call_id": call.id, "content": "rain"})
    return {"error": "loop", "message": "the model calls tools again and again"}


def left(order, request):
    stream = litellm.completion(**request_of(order, request), stream=True)
    next(iter(stream))
    stream.completion_stream.close()  # it has no close of its own, and LiteLLM still refers to a stream that is not read to its end
    return {}


WAYS = {"create": created, "stream": streamed, "tools": tools, "leave": left}

for line in sys.stdin:
    o = json.loads(line)
    print(json.dumps([seen(lambda: WAYS[way](o, request)) for way, request in o["do"]]), file=REPORT, flush=True)

# SPDX-License-Identifier: Apache-2.0
"""How TT-Studio reads /poll_requests: its rules on top of httpx."""

import json
import re

import httpx

PYTHON_TAG = re.compile(r"[\[<|]*python_tag[\]>|]*", re.I)


def chunks(url, message, thread_id):
    timeout = httpx.Timeout(connect=5.0, read=None, write=None, pool=None)
    with httpx.Client(timeout=timeout, verify=False, trust_env=False) as client:
        with client.stream("POST", url, json={"thread_id": thread_id, "message": message}) as answer:
            answer.raise_for_status()
            yield from answer.iter_text()


def read_like_tt_studio(url, message, thread_id):
    """(texts, statistics): every text that the chat page adds, and the parsed statistics, which end the answer."""
    texts, stats = [], []
    for chunk in chunks(url, message, thread_id):
        stripped = chunk.strip()
        if stripped.startswith("[STATS]"):
            stats.append(json.loads(stripped[len("[STATS]"):]))
        elif stripped and stripped != "[DONE]" and PYTHON_TAG.sub("", chunk).strip():
            texts.append(PYTHON_TAG.sub("", chunk))
    assert len(stats) <= 1, stats
    return texts, stats[0] if stats else None


def read_like_a_workflow(url, message, thread_id):
    """The output of an Agent node: its chunks, stripped and joined."""
    stripped = (chunk.strip() for chunk in chunks(url, message, thread_id))
    return "".join(chunk for chunk in stripped if chunk and chunk != "[DONE]" and not chunk.startswith("[STATS]"))

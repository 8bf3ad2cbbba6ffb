# SPDX-License-Identifier: Apache-2.0
"""How TT-Studio's backend reads /poll_requests: its rules on top of httpx."""

import json

import httpx


def read_like_tt_studio(url, message, thread_id):
    """(texts, statistics): every text that its frontend would get, and the parsed statistics."""
    texts, stats = [], None
    timeout = httpx.Timeout(connect=5.0, read=None, write=None, pool=None)
    with httpx.Client(timeout=timeout, trust_env=False) as client:
        with client.stream("POST", url, json={"thread_id": thread_id, "message": message}) as answer:
            answer.raise_for_status()
            for chunk in answer.iter_text():
                if not chunk.strip():
                    continue
                if chunk.strip() == "[DONE]":
                    continue
                if chunk.startswith("[STATS]"):
                    stats = json.loads(chunk[len("[STATS]"):])
                    continue
                texts.append(chunk.replace("<|python_tag|>", ""))
    return texts, stats

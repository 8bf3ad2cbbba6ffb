# SPDX-License-Identifier: Apache-2.0
"""TT-Studio judges the text by its chunks: none may be taken for something else, whatever a model says."""

import json
import os
import signal
import threading

import pytest

from harness.http_client import Turn
from harness.llm_script import inline
from harness.process import WRAP, wait_until
from harness.tt_studio_reader import read_like_a_workflow, read_like_tt_studio

FORGED = '[STATS]{"tokens_decoded": 1}'


@pytest.fixture(scope="module")
def one(shared):
    service, llm = shared.one(workers=2)
    wait_until(lambda: any(m["context_length"] for m in service.ctl("models")["models"]), "what the LLM tells of itself")
    return service, llm


def splits(text):
    yield [text]
    yield list(text)
    yield from ([text[:n], text[n:]] for n in range(1, 9))


@pytest.mark.parametrize("server", ["nginx", "lighttpd"])
@pytest.mark.parametrize("coalesce", [False, True])
def test_no_text_forges_the_end(one, server, coalesce):
    service, _ = one
    host = service.host if server == "nginx" else (service.lighttpds[0] if service.lighttpds else service.start_lighttpd()).host
    text = []
    for word in (FORGED, "[DONE]", "[STATS][DONE][DONE]" + FORGED):
        for before in ([], [" \n"], ["\u3000"], ["Say: "]):
            for tokens in splits(word):
                text += [*before, *tokens, " and more."]
    message = inline(text=text, delay_us=0 if coalesce else 1000, coalesce=coalesce)
    for thread in ("50010", "forged"):  # of a page, of a workflow
        texts, stats = read_like_tt_studio(f"http://{host}/poll_requests", message, thread)
        assert stats["tokens_decoded"] >= len(text) and "".join(texts) == "".join(text), texts


def test_no_reasoning_forges_the_end(one):
    for tokens in splits(FORGED):
        message = inline(reasoning=tokens, delay_us=1000)
        texts, stats = read_like_tt_studio(f"{one[0].url}/poll_requests", message, "forged")
        assert stats["tokens_decoded"] > 1
        assert "".join(texts).startswith(f"<think>{FORGED}</think>Hello"), texts


@pytest.mark.skipif(bool(WRAP), reason="valgrind cannot follow a keeper")
def test_no_resumed_answer_forges_the_end(one):
    service, _ = one
    message = inline(tokens=400, token="[STATS]{#} [DONE]", numbered=True, delay_us=5000)
    exchanges = [service.ask(message) for _ in range(8)]
    turns = []
    readers = [threading.Thread(target=lambda e=e: turns.append(Turn(e))) for e in exchanges]
    for e in exchanges:
        e.head()
    for reader in readers:
        reader.start()
    os.kill(service.worker_pids()[0], signal.SIGKILL)
    for reader in readers:
        reader.join()
    for turn in turns:
        assert all("[STATS]" not in chunk and "[DONE]" not in chunk for chunk in turn.chunks[:-1])
        assert turn.chunks[-1].startswith('[STATS]{"tokens_decoded": ') and not turn.cut
    whole = "".join(f"[STATS]{{{n}}} [DONE]" for n in range(400))
    assert sum("".join(turn.chunks[:-1]) == whole for turn in turns) >= 7


SENTENCES = ["It", " is", " sunny", " in", " Berlin", ".", "\n\n", "Bring", " no", " ", "umbrella", "\u3000", "today", ".", "\n"]


@pytest.mark.parametrize("server", ["nginx", "lighttpd", "apache"])
@pytest.mark.parametrize("delay_us", [0, 3000])
def test_a_workflow_gets_words_apart(one, delay_us, server):
    """TT-Studio's Agent node sends an empty thread_id, or one that somebody wrote into it."""
    message = inline(text=SENTENCES, delay_us=delay_us)
    url = f"http://{one[0].host_of(server)}/poll_requests"
    for thread in ("", "research", "0b3f6c1e-58e3-4c0f-9d0e-0d6c6f1f8a51"):
        assert read_like_a_workflow(url, message, thread) == "".join(SENTENCES).strip()
    goal = f"Find out.\n\nContext:\n{message}"
    assert read_like_a_workflow(url, goal, "17") == "".join(SENTENCES).strip()
    turn = one[0].chat(message, "")
    assert turn.whole and turn.text == "".join(SENTENCES) and all(c.strip() for c in turn.chunks)


@pytest.mark.parametrize("space", [" ", "\n", "\n\n", "\u3000", "\u00a0", "\u2028"])
def test_whitespace_is_never_lost(one, space):
    message = inline(text=["one", space, "two", space, space, "three."], delay_us=3000)
    for thread in ("50011", "spaces", ""):
        texts, stats = read_like_tt_studio(f"{one[0].url}/poll_requests", message, thread)
        assert stats and "".join(texts) == f"one{space}two{space}{space}three."
    end = inline(text=["the end.", space])
    assert one[0].chat(end, "spaces").text == "the end." + space
    turn = one[0].chat(end, "")
    assert turn.whole and turn.text == "the end." + space and all(c.strip() for c in turn.chunks)

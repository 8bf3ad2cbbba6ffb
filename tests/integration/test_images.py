# SPDX-License-Identifier: Apache-2.0
"""Chat turns with images, as TT-Studio sends them: only models of type vlm get to see one."""

import json

import pytest

PLAIN = "Hello, world! Grüße 😀\nBye."
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
NO_VISION = "None of the available language models can see images."


def picture(text="[plain] what is it?"):
    return [{"type": "text", "text": text}, IMAGE]


def world(testbed, *types, **more):
    """(service, LLMs): a model of each type, tried in this order."""
    llms = [testbed.llm() for _ in types]
    entries = {f"d{n}": llm.deployment(f"model-{n}", name=f"c-d{n}", model_impl={"model_type": kind})
               for n, (llm, kind) in enumerate(zip(llms, types))}
    env = {"AGENT_PRIORITY_MODELS": ",".join(f"model-{n}" for n in range(len(types)))}
    service = testbed.service(backend=testbed.backend(entries), env=env, **more).wait_ready()
    service.wait_status(lambda s: s["discovery_summary"]["healthy"] == len(types), "all models are healthy")
    return service, *llms


def strict(on):
    return [f"http.strict_status={str(on).lower()}"]


@pytest.mark.parametrize("on", [False, True])
def test_an_image_goes_to_the_model_with_vision(testbed, on):
    service, text_only, seeing = world(testbed, "chat", "vlm", sets=strict(on))
    turn = service.chat(picture(), "t")
    assert turn.status == 200 and turn.whole and turn.text == PLAIN
    assert seeing.chats()[-1]["body"]["messages"][-1]["content"] == picture() and text_only.chats() == []
    # What follows in the thread without one goes to the first model, which learns that there was one.
    assert service.chat("[plain]", "t").text == PLAIN
    assert "[image]" in json.dumps(text_only.chats()[-1]["body"]["messages"]) and len(seeing.chats()) == 1


@pytest.mark.parametrize("on", [False, True])
def test_an_image_moves_on_to_the_next_model_with_vision(testbed, on):
    service, text_only, broken, seeing = world(testbed, "chat", "vlm", "vlm", sets=strict(on))
    broken.script(status=503)
    turn = service.chat(picture())
    assert turn.status == 200 and turn.whole and turn.text == PLAIN
    assert text_only.chats() == [] and len(broken.chats()) == 1
    assert seeing.chats()[-1]["body"]["messages"][-1]["content"] == picture()


def test_an_image_that_the_only_model_with_vision_fails_is_reported(testbed):
    service, text_only, broken = world(testbed, "chat", "vlm", sets=strict(True))
    broken.script(status=503)
    turn = service.chat(picture())
    assert turn.status == 200 and turn.whole and NO_VISION not in turn.text and PLAIN not in turn.text
    assert text_only.chats() == []


@pytest.mark.parametrize("on", [False, True])
def test_an_image_is_refused_where_no_model_has_vision(testbed, on):
    service, text_only = world(testbed, "chat", sets=strict(on))
    turn = service.chat(picture(), "t")
    if on:
        assert turn.status == 503 and turn.headers["retry-after"]
        assert json.loads(turn.body)["detail"].startswith(NO_VISION)
    else:
        assert turn.status == 200 and turn.whole and turn.text.startswith(NO_VISION)
        assert turn.stats["tokens_decoded"] == 0
    assert text_only.chats() == []
    assert service.chat("[plain]", "t").text == PLAIN  # the thread goes on


def test_an_image_waits_for_a_model_like_any_message(testbed):
    service = testbed.service(sets=strict(True))
    turn = service.chat(picture())
    assert turn.status == 200 and '"status": "waiting"' in turn.body

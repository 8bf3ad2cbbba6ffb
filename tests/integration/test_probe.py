# SPDX-License-Identifier: Apache-2.0
"""What is found out about an LLM: its context length, and whether it takes tools."""

import pytest

from harness.daemon import Daemon
from harness.process import wait_until

LISTS = {
    "llama.cpp": {"/v1/models": {"models": [{"name": "m"}], "data": [{"id": "m", "owned_by": "llamacpp",
                                                                    "meta": {"n_ctx_train": 131072, "n_ctx": 4096}}]}},
    "llama.cpp, older": {"/v1/models": {"data": [{"id": "m", "owned_by": "llamacpp"}]},
                         "/props": {"default_generation_settings": {"n_ctx": 4096}}},
    "LM Studio": {"/v1/models": {"data": [{"id": "other"}, {"id": "m"}]},
                  "/api/v0/models": {"data": [{"id": "other", "loaded_context_length": 2048},
                                              {"id": "m", "max_context_length": 131072, "loaded_context_length": 4096}]}},
    "Ollama": {"/v1/models": {"data": [{"id": "m", "owned_by": "library"}]}, "/api/ps": {"models": []},
               "/api/show": {"parameters": "num_ctx 4096", "model_info": {"llama.context_length": 131072}}},
    "TGI": {"/v1/models": {"data": [{"id": "m", "owned_by": "m"}]}, "/info": {"model_id": "m", "max_total_tokens": 4096}},
    "KoboldCpp": {"/v1/models": {"data": [{"id": "m"}]}, "/api/extra/true_max_context_length": {"value": 4096}},
    "LiteLLM": {"/v1/models": {"data": [{"id": "m"}, {"id": "n"}]},
                "/model/info": {"data": [{"model_name": "m", "model_info": {"max_input_tokens": 4096}}]}},
    "an array": {"/v1/models": [{"id": "m", "context_length": "4096"}]},
}


@pytest.mark.parametrize("server", LISTS)
def test_the_context_length_is_found(testbed, server):
    llm = testbed.llm(documents=LISTS[server])
    daemon = Daemon(testbed, env={"LLM_CONTAINER_NAME": llm.host, "HF_MODEL_PATH": "m"}).wait_current("container")
    wait_until(lambda: daemon.models()["container"]["context_length"] == 4096, "the context length")


def test_the_clouds_context_length_is_found(testbed):
    cloud = testbed.llm(documents={"/openai/v1/models": {"data": [{"id": "other", "context_window": 1000},
                                                                  {"id": "big", "context_window": 131072}]}})
    env = {"USE_CLOUD_LLM": "true", "CLOUD_CHAT_UI_URL": f"{cloud.url}/openai/v1", "CLOUD_CHAT_UI_AUTH_TOKEN": "cloud-token-1",
           "CLOUD_MODEL_NAME": "big"}
    daemon = Daemon(testbed, env=env).wait_current("cloud")
    wait_until(lambda: daemon.models()["cloud"]["context_length"] == 131072, "the context length")
    asked = cloud.requests()
    assert [r["path"] for r in asked] == ["/openai/v1/models"]
    assert asked[0]["headers"]["authorization"] == "Bearer cloud-token-1"
    daemon.wait_log(rf"INFO url_completed kind=cloud given={cloud.url}/openai/v1 url={cloud.url}/openai/v1/chat/completions")


def test_a_cloud_without_a_list_of_models_is_used_as_before(testbed):
    cloud = testbed.llm(models_status=500)
    env = {"USE_CLOUD_LLM": "true", "CLOUD_CHAT_UI_URL": f"{cloud.url}/v1", "CLOUD_CHAT_UI_AUTH_TOKEN": "cloud-token-1"}
    service = testbed.service(env=env).wait_ready()
    assert service.chat("[plain]").whole
    assert service.status()["current_llm"]["is_cloud"] is True


REFUSALS = {
    '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set': (400, False),
    "tools param requires --jinja flag": (500, False),
    "registry.ollama.ai/library/gemma:2b does not support tools": (400, False),
    "No endpoints found that support tool use": (404, False),
    "Function calling is not enabled for this model": (400, False),
    "Invalid value for 'model'": (400, None),
    "max_tokens must be at least 32; see the list of fields: messages, tools": (400, None),
    "internal error in the scheduler": (500, None),
    "the tool parser crashed": (500, None),
    "rate limit of tool calls": (429, None),
}


@pytest.mark.parametrize("words", REFUSALS)
def test_only_words_about_tools_say_that_there_are_none(testbed, words):
    status, tools = REFUSALS[words]
    llm = testbed.llm(status=status, body='{"error": {"message": "%s"}}' % words.replace('"', '\\"'))
    deployment = llm.deployment()
    del deployment["tool_calling_enabled"]
    daemon = Daemon(testbed, backend=testbed.backend({"d1": deployment}), env={"AGENT_HEALTH_CHECK_INTERVAL": "0.2"})
    daemon.wait_current("d1")
    wait_until(lambda: len(llm.chats()) >= 1, "it was asked")
    wait_until(lambda: daemon.models()["d1"]["tools"] is tools, "its tools")
    if tools is None:
        llm.script()
        wait_until(lambda: daemon.models()["d1"]["tools"] is True, "asked again", 15)


def test_a_server_that_takes_no_max_tokens_has_tools(testbed):
    llm = testbed.llm(refused={"max_tokens": "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."})
    deployment = llm.deployment()
    del deployment["tool_calling_enabled"]
    daemon = Daemon(testbed, backend=testbed.backend({"d1": deployment})).wait_current("d1")
    wait_until(lambda: daemon.models()["d1"]["tools"] is True, "tools")
    assert ["max_tokens" in r["body"] for r in llm.chats()] == [True, False]

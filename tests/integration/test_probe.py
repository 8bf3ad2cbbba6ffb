# SPDX-License-Identifier: Apache-2.0
"""What is found out about an LLM, by the daemon and by tt-agentctl probe."""

import json
import subprocess

import pytest

from harness.daemon import Daemon
from harness.proxy import Proxy
from harness.process import BUILD, PATIENCE, clean_env, wait_until


def rule(field, words, status=400, **when):
    """For the mock: what it answers to a request with that field."""
    return {"field": field, "status": status, "body": json.dumps({"error": {"message": words}}), **when}


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


REFUSED_BESIDES = {
    "max_tokens": ("max_tokens", 400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."),
    "a limit that is too low": ("max_tokens", 400, "Could not finish the message because max_tokens or model output limit was "
                                                   "reached. Please try again with higher max_tokens."),
    "tool_choice": ("tool_choice", 400, "Unknown parameter: 'tool_choice'."),
    "tool_choice, with 500": ("tool_choice", 500, "tool_choice is not supported by this backend"),
}


@pytest.mark.parametrize("case", REFUSED_BESIDES)
def test_a_server_that_refuses_a_field_has_tools_all_the_same(testbed, case):
    field, status, words = REFUSED_BESIDES[case]
    llm = testbed.llm(rules=[rule(field, words, status)])
    deployment = llm.deployment()
    del deployment["tool_calling_enabled"]
    daemon = Daemon(testbed, backend=testbed.backend({"d1": deployment})).wait_current("d1")
    wait_until(lambda: daemon.models()["d1"]["tools"] is True, "tools")
    assert [field in r["body"] for r in llm.chats()] == [True, False]
    assert daemon.models()["d1"]["status"] == "healthy"


def test_a_server_that_only_streams_has_tools_all_the_same(testbed):
    words = "This model only support stream mode, please enable the stream parameter to access the model."
    llm = testbed.llm(rules=[rule("stream", words, **{"is": False})])
    deployment = llm.deployment()
    del deployment["tool_calling_enabled"]
    daemon = Daemon(testbed, backend=testbed.backend({"d1": deployment})).wait_current("d1")
    wait_until(lambda: daemon.models()["d1"]["tools"] is True, "tools")


def test_what_a_probe_was_refused_no_turn_sends(testbed):
    words = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
    llm = testbed.llm(text=["yes"], rules=[rule("max_tokens", words)])
    deployment = llm.deployment()
    del deployment["tool_calling_enabled"]
    service = testbed.service(backend=testbed.backend({"d1": deployment})).wait_ready()
    wait_until(lambda: service.ctl("models")["models"][0]["quirks"] == ["max_completion_tokens"], "what it refuses")
    llm.forget()
    assert service.chat("hello").text == "yes"
    assert len(llm.chats()) == 1


def test_a_canary_probe_leaves_out_what_is_refused(testbed):
    """A server that answers 500 to a field that it does not know is no server that hangs."""
    words = "Unsupported parameter: 'max_tokens' is not supported with this model"
    llm = testbed.llm(rules=[rule("max_tokens", words, 500)])
    daemon = Daemon(testbed, backend=testbed.backend({"d1": llm.deployment()}),
                    sets=["health.canary_interval=0.2", "health.canary_timeout=10"]).wait_current("d1")
    wait_until(lambda: len(llm.chats()) >= 4, "several of them")
    assert daemon.models()["d1"]["status"] == "healthy"
    assert "max_tokens" not in llm.chats()[-1]["body"]


# --- tt-agentctl probe ---

def probe(url, *options, env=None, code=0):
    done = subprocess.run([str(BUILD / "tt-agentctl"), "probe", url, *options], env={**clean_env(), **(env or {})},
                          capture_output=True, text=True, timeout=60 * PATIENCE)
    assert done.returncode == code, (done.stdout, done.stderr)
    return done


def probed(url, *options, **more):
    return json.loads(probe(url, "--json", *options, **more).stdout)


def test_an_llm_that_can_all(testbed):
    llm = testbed.llm(max_model_len=12345, reasoning=["hm"], calls=[{"id": "c", "name": "noop", "arguments": "{}"}])
    found = probed(f"{llm.host}/v1")
    wanted = {"url": f"{llm.url}/v1/chat/completions", "models": ["mock/demo-model"], "model": "mock/demo-model",
              "context": 12345, "health": True, "refused": [], "streaming": True, "usage": True, "reasoning": True,
              "tools": True, "tool_called": True, "vision": True, "continuing": True, "usable": True}
    assert {key: found.get(key) for key in wanted} == wanted and found["ttft"] >= 0
    shown = probe(llm.host).stdout
    assert f'container: {{ name = "{llm.url}/v1/chat/completions"; }};' in shown
    assert f"LLM_CONTAINER_NAME={llm.url}/v1/chat/completions" in shown


def test_what_is_to_be_configured_is_accepted(testbed):
    llm = testbed.llm()
    found = probed(llm.host, "--model", "some/model")
    conf = testbed.directory / "x.conf"
    conf.write_text(found["settings"])
    done = subprocess.run([str(BUILD / "tt-agentd"), "-t", "--config", str(conf)], env=clean_env(), capture_output=True, text=True)
    assert done.returncode == 0 and "some/model" in conf.read_text(), done.stderr
    assert "HF_MODEL_PATH=some/model" in found["environment"]


def test_fields_that_are_refused_are_named(testbed):
    words = {"top_k": "Unrecognized request argument supplied: top_k", "stream_options": "stream_options: extra inputs are not permitted",
             "tools": "this model does not support tools"}
    llm = testbed.llm(rules=[rule(*of) for of in words.items()])
    found = probed(llm.host)
    assert found["refused"] == ["top_k", "stream_options"] and found["tools"] is False and found["usable"] is True
    assert found["settings"] == f'container: {{ name = "{llm.url}/v1/chat/completions"; omit = ["top_k", "stream_options"]; }};'


def test_the_token_comes_from_the_environment_and_is_never_shown(testbed):
    llm = testbed.llm(bearer="probe-token-7")
    wanting = probe(llm.host, code=1)
    assert "--token-env" in wanting.stderr
    wrong = probe(llm.host, "--token-env", "T", env={"T": "other-token-8"}, code=1)
    assert "does not accept this token" in wrong.stderr and "other-token-8" not in wrong.stderr
    found = probe(llm.host, "--token-env", "T", env={"T": "probe-token-7"})
    assert "probe-token-7" not in found.stdout + found.stderr
    assert "cloud: { enabled = true;" in found.stdout and 'CLOUD_CHAT_UI_AUTH_TOKEN="$T"' in found.stdout
    for name in ("NOT_SET", "probe-token-7"):
        refused = probe(llm.host, "--token-env", name, code=2)
        assert "--token-env" in refused.stderr and "probe-token-7" not in refused.stderr


def test_a_server_behind_a_proxy(testbed):
    llm = testbed.llm(bearer="probe-token-7")
    proxy = Proxy(testbed, int(llm.host.rsplit(":", 1)[1]))
    found = probed("http://llm.example.com/v1", "--proxy", f"http://127.0.0.1:{proxy.port}", "--token-env", "T",
                   env={"T": "probe-token-7"})
    assert found["usable"] and found["tools"] and "health" not in found
    assert proxy.heads and all("llm.example.com" in head for head in proxy.heads)


def test_a_proxy_that_is_none(testbed):
    secret = probe("http://llm.example.com/v1", "--proxy", "http://me:proxy-password-9@127.0.0.1:1", code=2).stderr
    assert "process list" in secret and "proxy-password-9" not in secret
    assert "proxy" in probe("http://llm.example.com/v1", "--proxy", "ftp://x", code=2).stderr


def test_a_certificate_of_an_authority_of_ones_own(testbed):
    authority, certificate, key = testbed.certificate()
    llm = testbed.llm("--tls-cert", certificate, "--tls-key", key)
    assert probed(llm.url, "--ca", str(authority))["usable"]
    assert "certificate" in probe(llm.url, code=3).stderr


def test_names_from_a_server_are_harmless(testbed):
    llm = testbed.llm(models=["$(touch x)'\x1b[31m\u202e"])
    found = probe(llm.host, "--token-env", "T", env={"T": "probe-token-7"}).stdout
    assert "\x1b" not in found and "\u202e" not in found
    assert "CLOUD_MODEL_NAME='$(touch x)'\\''" in found


@pytest.mark.parametrize("kind", ["refused", "no name", "tls", "web page", "wrong path", "silent", "not http"])
def test_each_failure_has_its_sentence(testbed, kind):
    says = {"refused": (3, "nothing listens there"), "no name": (3, "cannot be looked up"), "tls": (3, "certificate"),
            "web page": (1, "a web page, not an LLM server"), "wrong path": (1, "no answer to a chat request: HTTP 404"),
            "silent": (3, "within"), "not http": (3, "")}
    code, sentence = says[kind]
    options = []
    if kind == "refused":
        url = f"127.0.0.1:{testbed.closed_port()}"
    elif kind == "no name":
        url = "http://nobody.invalid"
    elif kind == "tls":
        _, certificate, key = testbed.certificate()
        url = testbed.llm("--tls-cert", certificate, "--tls-key", key).url
    elif kind == "web page":
        url = testbed.llm(raw="HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\nContent-Length: 15\r\n\r\n<html>no</html>").host
    elif kind == "wrong path":
        url = testbed.llm().host + "/other/way"
    elif kind == "silent":
        url = testbed.llm(models_delay_us=60000000).host
        options = ["--timeout", "1"]
    else:
        url = testbed.llm(raw="SSH-2.0-x\r\n").host
    done = probe(url, *options, code=code)
    assert sentence in done.stderr and done.stderr.startswith("tt-agentctl: "), done.stderr

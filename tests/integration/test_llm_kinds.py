# SPDX-License-Identifier: Apache-2.0
"""The four kinds of LLM each answer a chat turn, and each is sent what the contract says."""

import json
import re

PLAIN = "Hello, world! Grüße 😀\nBye."
TOKEN = "cloud-token-4711"


def chat_is_answered(service):
    turn = service.chat("[plain] hello")
    assert turn.whole and turn.text == PLAIN, turn.chunks


def cloud_env(llm, **more):
    return {"CLOUD_CHAT_UI_URL": f"https://localhost:{llm.port}/v1/chat/completions",
            "CLOUD_CHAT_UI_AUTH_TOKEN": TOKEN, **more}


def test_cloud_over_https(testbed):
    authority, certificate, key = testbed.certificate()
    llm = testbed.llm("--tls-cert", certificate, "--tls-key", key, bearer=TOKEN)
    service = testbed.service(sets=[f"cloud.ca_file={authority}"], env=cloud_env(llm, USE_CLOUD_LLM="true")).wait_ready()
    assert service.http.get("/").json()["llm_mode"] == "cloud"
    chat_is_answered(service)
    body = llm.chats()[-1]["body"]
    assert body["temperature"] == 0.7 and "top_k" not in body and "stop" not in body


def test_a_cloud_whose_certificate_is_not_trusted_is_not_talked_to(testbed):
    _, certificate, key = testbed.certificate()
    llm = testbed.llm("--tls-cert", certificate, "--tls-key", key)
    service = testbed.service(env=cloud_env(llm, USE_CLOUD_LLM="true")).wait_ready()
    turn = service.chat("[plain] hello")
    assert turn.whole and PLAIN not in turn.text
    assert llm.chats() == []


def test_discovered(testbed):
    service, llm = testbed.one()
    chat_is_answered(service)
    request = llm.chats()[-1]
    assert request["headers"]["authorization"].startswith("Bearer eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.")
    assert request["body"]["model"] == "meta-llama/Llama-3.1-8B-Instruct"


def test_container_by_host_and_port(testbed):
    llm = testbed.llm()
    service = testbed.service(env={"LLM_CONTAINER_NAME": f"localhost:{llm.port}"}).wait_ready()
    chat_is_answered(service)
    assert llm.chats()[-1]["body"]["model"] == "mock/demo-model"  # the first of /v1/models


def test_container_by_full_url(testbed):
    llm = testbed.llm()
    service = testbed.service(env={"LLM_CONTAINER_NAME": f"http://127.0.0.1:{llm.port}/v1/chat/completions",
                                 "HF_MODEL_PATH": "some/model"}).wait_ready()
    chat_is_answered(service)
    assert llm.chats()[-1]["body"]["model"] == "some/model"


def test_local_host(testbed):
    llm = testbed.llm()
    service = testbed.service(env={"LOCAL_LLM_HOST": "localhost", "LOCAL_LLM_PORT": llm.port}).wait_ready()
    assert service.status()["current_llm"]["server_url"] == f"http://localhost:{llm.port}/v1/chat/completions"
    chat_is_answered(service)


def test_completions(testbed):
    llm = testbed.llm()
    entry = llm.deployment(internal_url=f"{llm.host}/v1/completions", tool_calling_enabled=False)
    service = testbed.service(backend=testbed.backend({"d1": entry})).wait_ready()
    chat_is_answered(service)
    body = llm.chats()[-1]["body"]
    assert body["prompt"].endswith("\n[plain] hello") and "messages" not in body


def test_cloud_as_the_last_resort(testbed):
    authority, certificate, key = testbed.certificate()
    llm = testbed.llm("--tls-cert", certificate, "--tls-key", key, bearer=TOKEN)
    service = testbed.service(sets=[f"cloud.ca_file={authority}"],
                            env=cloud_env(llm, AGENT_FALLBACK_TO_CLOUD="true")).wait_ready()
    chat_is_answered(service)


def test_a_cloud_that_refuses_its_token_is_ejected(testbed):
    """Turns of all workers go to the next LLM, and it is shown why; nothing probes the cloud."""
    authority, certificate, key = testbed.certificate()
    cloud = testbed.llm("--tls-cert", certificate, "--tls-key", key, bearer="another token")
    llm = testbed.llm()
    service = testbed.service(workers=2, sets=[f"cloud.ca_file={authority}"], backend=testbed.backend({"d1": llm.deployment()}),
                            env=cloud_env(cloud, USE_CLOUD_LLM="true")).wait_ready()
    shown = lambda: service.http.get("/").json()
    assert shown()["llm_mode"] == "cloud" and "ejected" not in service.status()
    service.wait_status(lambda s: s["available_models"], "the discovered one is known")
    chat_is_answered(service)
    status = service.wait_status(lambda s: "ejected" in s, "the cloud is ejected")
    assert list(status)[-1] == "generation" and status["current_llm"]["is_discovered"]
    held, = status["ejected"]
    assert held["kind"] == "cloud" and held["since"] < held["until"]
    assert held["reason"] == "a chat turn got HTTP 401: the token is not accepted"
    model = next(m for m in service.ctl("models")["models"] if m["kind"] == "cloud")
    assert (model["ejected_until"], model["reason"], model["status"]) == (held["until"], held["reason"], "unknown")
    assert re.search(r"WARNING ejected model=\S+ kind=cloud for_s=10\.0* repetition=1 reason=", service.daemon.log())
    for _ in range(8):
        chat_is_answered(service)
    assert len(cloud.chats()) == 1
    cloud.script(bearer=TOKEN)
    service.ctl("refresh")
    assert shown()["llm_mode"] == "cloud" and shown()["health_monitoring"] == "N/A"
    for _ in range(8):  # whichever worker is asked, one that saw it fail as well
        chat_is_answered(service)
    assert len(cloud.chats()) == 9 and "ejected" not in service.status()
    assert {r["path"] for r in cloud.requests() if not r["path"].startswith("/_")} == {"/v1/chat/completions", "/v1/models"}


def test_a_cloud_alone_is_asked_although_it_is_ejected(testbed):
    authority, certificate, key = testbed.certificate()
    cloud = testbed.llm("--tls-cert", certificate, "--tls-key", key, status=503)
    service = testbed.service(sets=[f"cloud.ca_file={authority}"], env=cloud_env(cloud, USE_CLOUD_LLM="true")).wait_ready()
    turn = service.chat("[plain] hello")
    assert turn.whole and PLAIN not in turn.text
    service.wait_status(lambda s: "ejected" in s, "the cloud is ejected")
    root = service.http.get("/").json()
    assert root["status"] == "ready" and root["llm_mode"] == "cloud" and root["health_monitoring"] == "N/A"
    cloud.script()
    chat_is_answered(service)
    service.wait_status(lambda s: "ejected" not in s, "a turn that succeeds is the end of it", 8)


def test_the_cloud_token_goes_to_no_other_llm(testbed):
    llm = testbed.llm()
    cloud = testbed.llm()
    service = testbed.service(backend=testbed.backend({"d1": llm.deployment()}), env={
        "CLOUD_CHAT_UI_URL": f"{cloud.url}/v1/chat/completions", "CLOUD_CHAT_UI_AUTH_TOKEN": TOKEN,
        "AGENT_FALLBACK_TO_CLOUD": "true"}).wait_ready()
    chat_is_answered(service)
    assert TOKEN not in json.dumps(llm.requests())


def test_the_deployments_own_secret_signs_its_token(testbed):
    llm, other = testbed.llm(), testbed.llm()
    backend = testbed.backend({"d1": llm.deployment(jwt_secret="of-this-deployment-alone")})
    service = testbed.service(backend=backend).wait_ready()
    service.secrets.append("of-this-deployment-alone")
    chat_is_answered(service)
    assert "of-this-deployment-alone" not in service.http.get("/status").text
    backend2 = testbed.backend({"d1": other.deployment()})
    plain = testbed.service(backend=backend2).wait_ready()
    chat_is_answered(plain)
    assert llm.chats()[-1]["headers"]["authorization"] != other.chats()[-1]["headers"]["authorization"]


def test_without_a_secret_no_authorization_is_sent(testbed):
    service, llm = testbed.one(env={"JWT_SECRET": None})
    chat_is_answered(service)
    assert "authorization" not in llm.chats()[-1]["headers"]

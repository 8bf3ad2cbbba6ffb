# SPDX-License-Identifier: Apache-2.0
"""tt-agentd alone: discovery, verdicts, selection, polling, refresh, select, reports."""

import contextlib
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from harness.daemon import Daemon, replace_file
from harness.process import BUILD, PATIENCE, clean_env, wait_until
from harness.process_usage import proportional_set_kib

FAST = {"AGENT_HEALTH_CHECK_INTERVAL": "0.2", "AGENT_DISCOVERY_INTERVAL": "0.2", "AGENT_HEALTH_CHECK_TIMEOUT": "1"}
NO_TOOLS = '{"error": {"message": "\\"auto\\" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set"}}'
DEBUG = {"AGENT_DEBUG_MODE": "true"}


def two(testbed, **more):
    """(daemon, llm 1, llm 2, backend): d1 is preferred by the order of discovery."""
    a, b = testbed.llm(), testbed.llm()
    backend = testbed.backend({"d1": a.deployment(), "d2": {**b.deployment("Qwen3-8B"), "name": "c-d2"}})
    return Daemon(testbed, backend=backend, **more), a, b, backend


# --- start and end ---

def test_a_first_state_is_there_before_anything_answers(testbed):
    stalled = testbed.backend(stall=True)
    daemon = Daemon(testbed, backend=stalled)
    assert (daemon.run / "status.v3").exists()
    assert daemon.status()["status"] == "initializing"
    assert daemon.ask("ping")["waiting"] is True
    assert len(list(daemon.run.glob("config.*"))) == 1


def test_one_discovered_llm(testbed):
    llm = testbed.llm()
    daemon = Daemon(testbed, backend=testbed.backend({"d1": llm.deployment()})).wait_current("d1")
    status = daemon.status()
    assert status["status"] == "ready"
    assert status["current_llm"]["llm_info"]["deploy_id"] == "d1"
    assert status["available_models"][0]["status"] == "healthy"
    assert llm.requests("/health")[0]["headers"]["authorization"].startswith("Bearer ey")
    log = daemon.log()
    assert re.search(r"INFO discovery found=1 .*duration_ms=\d+", log)
    assert re.search(r"INFO selection model=Llama-3.1-8B-Instruct deploy_id=d1 .*reason=", log)
    assert daemon.stop() == 0


def test_a_container_that_only_its_own_network_knows_is_mapped(testbed):
    llm = testbed.llm()
    deployment = {**llm.deployment(), "internal_url": "tt-llama:7000/v1/chat/completions", "health_url": "tt-llama:7000/health"}
    daemon = Daemon(testbed, backend=testbed.backend({"d1": deployment}),
                    sets=[f"discovery.hosts=other=127.0.0.1:1,tt-llama={llm.host}"]).wait_current("d1")
    assert daemon.models()["d1"]["url"] == f"{llm.url}/v1/chat/completions"
    assert daemon.status()["current_llm"]["llm_info"]["internal_url"] == deployment["internal_url"]


def test_a_list_that_has_not_changed_is_logged_only_at_debug(testbed):
    backend = testbed.backend({"d1": testbed.llm().deployment()})
    daemon = Daemon(testbed, backend=backend, env=DEBUG).wait_current("d1")
    for _ in range(3):
        daemon.ask("refresh")
    assert len(re.findall(r" INFO discovery found=1", daemon.log())) == 1
    assert len(re.findall(r" DEBUG discovery found=1", daemon.log())) >= 3
    backend.script(status=500)
    daemon.ask("refresh")
    daemon.ask("refresh")
    assert len(re.findall(r" WARNING discovery error=", daemon.log())) == 1
    backend.script(deployed={"d1": testbed.llm().deployment()})
    daemon.ask("refresh")
    assert len(re.findall(r" INFO discovery found=1", daemon.log())) == 2


def test_a_second_daemon_refuses_and_names_the_first(testbed):
    daemon = Daemon(testbed)
    second = subprocess.run([str(BUILD / "tt-agentd"), "--run-dir", str(daemon.run)], env=clean_env(),
                            capture_output=True, text=True, timeout=10 * PATIENCE)
    assert second.returncode == 1
    assert str(daemon.process.pid) in second.stderr
    assert daemon.ask("ping")["pid"] == daemon.process.pid


@pytest.mark.parametrize("text, code, says", [
    ("health: { interval = 20.0; };", 0, "ok"),
    ('container: { name = "my llm"; };', 1, ":1: container.name"),
    ('container: { name = "http://h:8000/v1/"; };', 0, "http://h:8000/v1/ is completed to http://h:8000/v1/chat/completions"),
    ("health: { intervall = 20.0; };", 1, "intervall"),
    ("health: { interval = ", 1, ":1:"),
])
def test_tests_a_file(testbed, text, code, says):
    conf = testbed.directory / "x.conf"
    conf.write_text(text)
    done = subprocess.run([str(BUILD / "tt-agentd"), "-t", "--config", str(conf)], env=clean_env(),
                          capture_output=True, text=True, timeout=10 * PATIENCE)
    assert done.returncode == code, done.stderr
    assert says in done.stdout + done.stderr


def test_a_file_is_tested_as_the_service_reads_it(testbed):
    """systemd-run is what systemd has; here it only says how it was called, and runs the test."""
    tools = testbed.directory / "bin"
    tools.mkdir()
    (tools / "systemd-run").write_text('#!/bin/sh\nfor w; do [ "$w" = -- ] && break; echo "$w"; done\n'
                                       'while [ "$1" != -- ]; do shift; done; shift; exec "$@"\n')
    (tools / "systemd-run").chmod(0o755)
    conf = testbed.directory / "x.conf"
    conf.write_text("local: { prot = 1; };\n")

    def tested(*more, path=tools):
        return subprocess.run([str(BUILD / "tt-agentd"), "--as-service", "--config", str(conf), *more], text=True,
                              env={**clean_env(), "PATH": f"{path}:/usr/bin:/bin"}, capture_output=True, timeout=10 * PATIENCE)

    done = tested("--test", "--set", "local.port=5")
    assert done.returncode == 1 and ":1: local.prot: no such setting" in done.stderr
    assert {"--pipe", "--wait", "--property=User=tt-agent", "--property=EnvironmentFile=-/etc/default/tt-agent"} <= set(done.stdout.split())
    conf.write_text("local: { port = 1; };\n")
    assert tested("--test", "--set", "local.port=5").returncode == 0
    assert tested().returncode == 2, "it belongs to --test"


def test_a_killed_daemon_is_restored_with_its_pin(testbed):
    daemon, a, b, backend = two(testbed, env=FAST)
    daemon.wait_current("d1")
    assert daemon.ask("select", deploy_id="d2")["status"] == "success"
    instance = daemon.models()["d2"]["instance"]
    backend.script(stall=True)
    daemon.restart(kill=True)
    assert daemon.current() == "d2", "usable from the first moment, without the backend"
    assert daemon.models()["d2"]["instance"] == instance
    assert daemon.models()["d2"]["pinned"]


# --- discovery ---

@pytest.mark.parametrize("fault", [{"status": 500}, {"body": "[]"}, {"body": "{\"d1\":"}, {"cut": 20}, {"body": ""}])
def test_a_bad_answer_keeps_the_last_list(testbed, fault):
    daemon, a, b, backend = two(testbed, env=FAST)
    daemon.wait_current("d1")
    backend.script(deployed={"d2": b.deployment()}, **fault)
    daemon.wait_log(r"WARNING discovery error=")
    assert daemon.current() == "d1"
    assert set(daemon.models()) >= {"d1", "d2"}


def test_one_malformed_entry_is_skipped(testbed):
    llm = testbed.llm()
    backend = testbed.backend({"d1": llm.deployment(), "d4": {"name": 5}})
    daemon = Daemon(testbed, backend=backend).wait_current("d1")
    assert "d4" not in daemon.models()
    daemon.wait_log(r"discovery_skipped.* deploy_id=d4")


def test_models_that_left_are_gone_at_once(testbed):
    daemon, a, b, backend = two(testbed, env={**FAST, **DEBUG})
    daemon.wait_current("d1")
    backend.deploy(d2=b.deployment("Qwen3-8B"))
    daemon.wait_current("d2")
    assert "d1" not in daemon.models()
    a.forget()
    count = len(b.requests("/health"))
    b.wait_request("/health", count + 3)
    assert a.requests("/health") == []


def test_a_redeployed_model_is_another_instance(testbed):
    daemon, a, b, backend = two(testbed, env=FAST)
    daemon.wait_current("d1")
    before = daemon.models()["d1"]["instance"]
    late = int(time.clock_gettime(time.CLOCK_BOOTTIME) * 1000)
    backend.deploy(d1=b.deployment("Llama-3.1-8B-Instruct"))
    wait_until(lambda: daemon.models()["d1"]["instance"] != before, "another instance")
    daemon.wait_current("d1")
    answer = daemon.ask("report", report={"instance": before, "began_boot_ms": late, "outcome": "reset"})
    assert answer["counted"] is False
    assert daemon.models()["d1"]["status"] == "healthy"


# --- verdicts ---

def test_an_llm_that_dies_gives_way_and_comes_back(testbed):
    daemon, a, b, backend = two(testbed, env={**FAST, "AGENT_MAX_FAILURES": "2"}, sets=["health.stable_time=0"])
    daemon.wait_current("d1")
    a.script(health_status=500)
    daemon.wait_current("d2").wait_health("d1", "unhealthy")
    assert "500" in daemon.models()["d1"]["reason"]
    status = daemon.status()
    assert status["discovery_summary"]["unhealthy"] == 1 and status["discovery_summary"]["healthy"] == 1
    a.script()
    daemon.wait_health("d1", "healthy").wait_current("d1")
    assert re.search(r"health .*deploy_id=d1 .*from=\w+ to=unhealthy reason=", daemon.log())


def test_a_slow_one_is_degraded(testbed):
    daemon, a, b, backend = two(testbed, env=FAST, sets=["health.degraded_after=0.05"])
    daemon.wait_current("d1")
    a.script(health_delay_us=100000)
    daemon.wait_health("d1", "degraded").wait_current("d2")


# --- the kinds of LLM ---

def test_container(testbed):
    llm = testbed.llm()
    daemon = Daemon(testbed, env={"LLM_CONTAINER_NAME": llm.host, "HF_MODEL_PATH": "some/model"}).wait_current("container")
    status = daemon.status()
    assert status["current_llm"]["server_url"] == f"http://{llm.host}/v1/chat/completions"
    assert status["current_llm"]["llm_info"] is None
    assert daemon.ask("refresh")["new_model"] == "some/model"
    assert daemon.ask("test") == {"status": "success", "llm_url": f"http://{llm.host}/v1/chat/completions",
                                  "llm_info": None, "connection_test": True}


def test_own_authority_counts_for_all_that_the_daemon_asks(testbed):
    """As it does for chats."""
    authority, certificate, key = testbed.certificate()
    tls = ("--tls-cert", certificate, "--tls-key", key)
    container, llm = testbed.llm(*tls), testbed.llm(*tls)
    deployment = {**llm.deployment(), "internal_url": llm.url, "health_url": f"{llm.url}/health"}
    daemon = Daemon(testbed, backend=testbed.backend({"d1": deployment}, tls), sets=[f"cloud.ca_file={authority}", "health.completion_interval=0.2"],
                    env={**FAST, "LLM_CONTAINER_NAME": f"https://localhost:{container.port}"}).wait_current("container")
    daemon.wait_health("d1", "healthy")
    wait_until(lambda: daemon.models()["container"]["model"] == "mock/demo-model", "its model")
    container.wait_request("/v1/chat/completions", 3)
    assert "certificate" not in daemon.log()


def test_an_authority_that_was_replaced_is_trusted_within_seconds(testbed):
    tls = lambda d: ("--tls-cert", d / "server.pem", "--tls-key", d / "server.key")
    testbed.certificate()
    old = (testbed.directory / "tls").rename(testbed.directory / "tls-old")
    new = testbed.certificate()[0].parent
    authority = testbed.directory / "authority.pem"
    replace_file(authority, (old / "ca.pem").read_text())
    llm = testbed.llm(*tls(old))
    # The backend's answer is waited for: there is always something that curl works on.
    daemon = Daemon(testbed, backend=testbed.backend(stall=True), sets=[f"cloud.ca_file={authority}", "discovery.timeout=60"],
                    env={**FAST, "LLM_CONTAINER_NAME": f"https://localhost:{llm.port}"}).wait_current("container")
    llm.stop()
    daemon.wait_health("container", "unhealthy")
    replace_file(authority, (new / "ca.pem").read_text())
    testbed.llm(*tls(new), "--port", llm.port)
    daemon.wait_health("container", "healthy")


def test_local_host(testbed):
    llm = testbed.llm()
    daemon = Daemon(testbed, env={"LOCAL_LLM_PORT": llm.port}).wait_current("local")
    assert daemon.models()["local"]["tools"] is True
    assert daemon.ask("refresh")["status"] == "success"


def test_cloud_needs_no_probe_and_keeps_its_token(testbed):
    cloud, local = testbed.llm(), testbed.llm()
    env = {"USE_CLOUD_LLM": "true", "CLOUD_CHAT_UI_URL": f"{cloud.url}/v1/chat/completions",
           "CLOUD_CHAT_UI_AUTH_TOKEN": "cloud-token-1", "LOCAL_LLM_PORT": local.port}
    daemon = Daemon(testbed, env=env)
    assert daemon.current() == "cloud"
    answer = daemon.ask("test")
    assert answer["status"] == "success" and answer["llm_info"] is None
    assert [r["path"] for r in cloud.requests() if r["path"] != "/v1/models"] == ["/v1/chat/completions"]
    assert {r["headers"]["authorization"] for r in cloud.requests()} == {"Bearer cloud-token-1"}
    local.wait_request("/health")
    assert all(r["headers"].get("authorization") != "Bearer cloud-token-1" for r in local.requests())


def test_an_unhealthy_container_gives_way(testbed):
    llm = testbed.llm()
    env = {"LLM_CONTAINER_NAME": f"127.0.0.1:{testbed.closed_port()}"}
    daemon = Daemon(testbed, env=env, backend=testbed.backend({"d1": llm.deployment()})).wait_current("d1")
    assert daemon.models()["container"]["status"] == "unhealthy"


def test_without_discovery_the_backend_is_never_asked(testbed):
    llm, local = testbed.llm(), testbed.llm()
    backend = testbed.backend({"d1": llm.deployment()})
    daemon = Daemon(testbed, backend=backend, env={
        **FAST, "AGENT_AUTO_DISCOVERY": "false", "LOCAL_LLM_PORT": local.port}).wait_current("local")
    assert daemon.status()["configuration"]["auto_discovery_enabled"] is False
    assert daemon.ask("refresh")["status"] == "success"
    assert daemon.ask("select", deploy_id="d1")["message"] == "Model with deploy_id d1 not found"
    local.wait_request("/health", len(local.requests("/health")) + 3)  # far longer than an interval of discovery
    assert backend.requests() == [] and llm.requests() == []


def test_without_the_fallback_the_local_host_is_never_asked(testbed):
    local, backend = testbed.llm(), testbed.backend()
    daemon = Daemon(testbed, backend=backend, env={
        **FAST, "AGENT_FALLBACK_TO_LOCAL": "false", "LOCAL_LLM_PORT": local.port, "AGENT_LLM_POLLING_INTERVAL": "0.1"})
    daemon.wait_log(r"INFO polling attempt=3")
    assert daemon.ask("refresh") == {"status": "error", "message": "No LLMs available and no fallback configured"}
    assert daemon.status()["configuration"]["fallback_to_local"] is False
    assert daemon.models() == {} and local.requests() == []


@pytest.mark.parametrize("env, model", [
    ({}, "listed/first"),
    ({"LOCAL_MODEL_NAME": "my/local"}, "my/local"),
    ({"LOCAL_MODEL_NAME": "my/local", "HF_MODEL_PATH": "my/hf"}, "my/hf"),
])
def test_the_model_that_the_local_host_is_asked_for(testbed, env, model):
    local = testbed.llm(models=["listed/first", "listed/second"])
    daemon = Daemon(testbed, env={"LOCAL_LLM_PORT": local.port, **env}).wait_current("local")
    wait_until(lambda: daemon.models()["local"]["model"] == model, f"{model} asked for")
    local.forget()
    assert daemon.ask("test")["status"] == "success"
    assert [r["body"]["model"] for r in local.chats()] == [model]


@pytest.mark.parametrize("how", ["reload", "restart"])
@pytest.mark.parametrize("key, value", [("llm", "wrong/one"), ("local", "wrong/two")])
def test_a_model_that_is_no_longer_named_is_not_asked_for(testbed, key, value, how):
    local = testbed.llm(models=["listed/first"])
    conf = "local: { port = %d; %%s }; llm: { %%s };\n" % local.port
    named = 'model = "%s";' % value
    daemon = Daemon(testbed, conf=conf % (("", named) if key == "llm" else (named, "")), env={"LOCAL_LLM_PORT": None}).wait_current("local")
    assert daemon.models()["local"]["model"] == value
    replace_file(daemon.service.conf, conf % ("", ""))
    if how == "reload":
        daemon.ask("reload")
    else:
        daemon.restart()
    wait_until(lambda: daemon.models()["local"]["model"] == "listed/first", "what it lists is asked for")


@pytest.mark.parametrize("noticed", ["probes", "refresh", "restart"])
def test_another_model_behind_the_same_url_is_asked_for_by_its_own_name(testbed, noticed):
    local = testbed.llm(models=["listed/first"], max_model_len=1000)
    daemon = Daemon(testbed, env={"LOCAL_LLM_PORT": local.port, **(FAST if noticed == "probes" else {})}).wait_current("local")
    wait_until(lambda: daemon.models()["local"]["model"] == "listed/first", "the model is known")
    if noticed == "probes":
        local.script(health_status=503, health_body="Loading model")
        daemon.wait_health("local", "unhealthy")
    local.script(models=["another/one"], max_model_len=2000)
    if noticed == "refresh":
        daemon.ask("refresh")
    elif noticed == "restart":
        daemon.restart()
    wait_until(lambda: daemon.models()["local"]["model"] == "another/one", "the other model")
    assert daemon.models()["local"]["context_length"] == 2000
    local.forget()
    assert daemon.ask("test")["status"] == "success"
    assert [r["body"]["model"] for r in local.chats()] == ["another/one"]


# --- polling ---

def test_polling_finds_what_comes_later(testbed):
    llm, backend = testbed.llm(), testbed.backend()
    daemon = Daemon(testbed, backend=backend, env={"AGENT_LLM_POLLING_INTERVAL": "0.2"})
    daemon.wait_log(r"INFO polling attempt=3 next_s=0.2")
    assert daemon.status()["status"] == "initializing"
    backend.deploy(d1=llm.deployment())
    daemon.wait_current("d1")


def test_polling_off_leaves_it_to_refresh(testbed):
    llm, backend = testbed.llm(), testbed.backend()
    daemon = Daemon(testbed, backend=backend, env={**FAST, "AGENT_LLM_POLLING_ENABLED": "false"})
    assert daemon.status()["next_poll"] == "LLM polling is disabled"
    backend.wait_request("/models/deployed/")
    backend.deploy(d1=llm.deployment())
    with pytest.raises(AssertionError):
        daemon.wait_current("d1", 1 / PATIENCE)
    assert daemon.ask("refresh")["status"] == "success"
    assert daemon.current() == "d1"


def test_attempts_are_used_up_and_refresh_starts_again(testbed):
    backend = testbed.backend()
    daemon = Daemon(testbed, backend=backend,
                    env={"AGENT_LLM_POLLING_INTERVAL": "0.1", "AGENT_LLM_POLLING_MAX_ATTEMPTS": "2"})
    wait_until(lambda: daemon.status()["next_poll"] == "Stopped after 2 attempts", "attempts used up")
    count = len(backend.requests("/models/deployed/"))
    assert daemon.ask("refresh") == {"status": "error", "message": "No LLMs available and no fallback configured"}
    wait_until(lambda: daemon.status()["next_poll"] == "Stopped after 2 attempts", "attempts used up again")
    assert len(backend.requests("/models/deployed/")) == count + 3


# --- refresh and select ---

def test_refresh_answers(testbed):
    daemon, a, b, backend = two(testbed)
    daemon.wait_current("d1")
    brief = lambda name, container: {"model_name": name, "model_type": "chat", "status": "healthy",
                                     "container_name": container, "deploy_id": container[2:]}
    assert daemon.ask("refresh") == {
        "status": "success", "message": "LLM refreshed successfully", "old_model": "Llama-3.1-8B-Instruct",
        "new_model": "Llama-3.1-8B-Instruct",
        "available_models": [brief("Llama-3.1-8B-Instruct", "c-d1"), brief("Qwen3-8B", "c-d2")]}
    a.script(health_status=500)
    b.script(health_status=503)
    for _ in range(3):
        answer = daemon.ask("refresh")
    assert answer == {"status": "error", "message": "No suitable LLM found among discovered models"}


def test_refresh_answers_in_time_with_what_is_there(testbed):
    daemon, a, b, backend = two(testbed)
    daemon.wait_current("d1")
    backend.script(stall=True)
    began = time.monotonic()
    answer = daemon.ask("refresh")
    assert answer["status"] == "success" and time.monotonic() - began < 8 * PATIENCE


def test_refreshes_share_runs(testbed):
    daemon, a, b, backend = two(testbed, env={"AGENT_DISCOVERY_INTERVAL": "600"})
    daemon.wait_current("d1")
    daemon.ask("refresh")
    backend.script(deployed={"d1": a.deployment()}, delay_us=200000)
    backend.forget()
    channels = [daemon.channel() for _ in range(20)]
    for channel in channels:
        channel.send("refresh")
    assert all(channel.receive()["result"]["status"] == "success" for channel in channels)
    assert len(backend.requests("/models/deployed/")) <= 3


def test_select_pins_until_refresh(testbed):
    daemon, a, b, backend = two(testbed, env=FAST)
    daemon.wait_current("d1")
    assert daemon.ask("select", deploy_id="d2") == {
        "status": "success", "message": "Successfully switched to Qwen3-8B", "old_model": "Llama-3.1-8B-Instruct",
        "new_model": "Qwen3-8B", "model_info": {"deploy_id": "d2", "model_name": "Qwen3-8B", "model_type": "chat",
                                                "status": "healthy", "container_name": "c-d2"}}
    assert daemon.current() == "d2"
    daemon.ask("refresh")
    assert daemon.current() == "d1"
    daemon.ask("select", deploy_id="d2")
    assert daemon.ask("unselect")["new_model"] == "Llama-3.1-8B-Instruct"
    daemon.ask("select", deploy_id="d2")
    b.script(health_status=500)
    daemon.wait_current("d1")
    b.script()
    daemon.wait_health("d2", "healthy")
    assert daemon.current() in ("d1", "d2")
    assert daemon.ask("select", deploy_id="")["message"] == "Model with deploy_id  not found"
    assert daemon.refused("select")


def test_select_errors(testbed):
    daemon, a, b, backend = two(testbed, env={"AGENT_MAX_FAILURES": "1"})
    daemon.wait_current("d1")
    daemon.ask("refresh")  # both were probed
    assert daemon.ask("select", deploy_id="nope") == {
        "status": "error", "message": "Model with deploy_id nope not found",
        "available_models": [{"deploy_id": "d1", "model_name": "Llama-3.1-8B-Instruct", "status": "healthy"},
                             {"deploy_id": "d2", "model_name": "Qwen3-8B", "status": "healthy"}]}
    b.script(health_status=500)
    daemon.ask("refresh")
    assert daemon.ask("select", deploy_id="d2") == {
        "status": "error", "message": "Model Qwen3-8B is unhealthy (status: unhealthy)"}


def test_select_asks_the_backend_for_an_unknown_id(testbed):
    daemon, a, b, backend = two(testbed)
    daemon.wait_current("d1")
    llm = testbed.llm()
    backend.deploy(d1=a.deployment(), d9=llm.deployment("New-Model"))
    assert daemon.ask("select", deploy_id="d9")["new_model"] == "New-Model"
    assert daemon.current() == "d9"


@pytest.mark.parametrize("ttl, answer", [("600", "Successfully switched to Qwen3-8B"), ("0.001", "Model with deploy_id d2 not found")])
def test_select_asks_the_backend_when_the_list_is_old(testbed, ttl, answer):
    daemon, a, b, backend = two(testbed, env={"AGENT_DISCOVERY_CACHE_TTL": ttl, "AGENT_DISCOVERY_INTERVAL": "600"})
    daemon.wait_current("d1").wait_health("d2", "healthy")
    backend.deploy(d1=a.deployment())
    assert daemon.ask("select", deploy_id="d2")["message"] == answer


# --- reports ---

def test_a_reported_failure_is_probed_at_once_and_counts_once(testbed):
    daemon, a, b, backend = two(testbed, env={"AGENT_HEALTH_CHECK_INTERVAL": "600"},
                                sets=["health.eject_time=0.2", "health.stable_time=0"])
    daemon.wait_current("d1")
    a.script(health_status=500)
    began = int(time.clock_gettime(time.CLOCK_BOOTTIME) * 1000)
    assert daemon.report("d1", began_ms=began)["counted"]
    assert daemon.current() == "d2"
    assert not any(daemon.report("d1", began_ms=began)["counted"] for _ in range(20))
    wait_until(lambda: daemon.models()["d1"]["failures"] == 2, "the turn and the probe, once each")
    a.script()
    assert daemon.report("d1")["counted"] in (True, False)
    daemon.wait_health("d1", "healthy").wait_current("d1")


def test_the_clients_own_errors_never_count(testbed):
    daemon, a, b, backend = two(testbed)
    daemon.wait_current("d1")
    for status in (400, 404, 413, 422, 429):
        assert not daemon.report("d1", "done", status)["counted"]
    assert daemon.models()["d1"]["failures"] == 0


def test_a_refused_token_benches(testbed):
    daemon, a, b, backend = two(testbed)
    daemon.wait_current("d1")
    assert daemon.report("d1", "done", 401)["counted"]
    daemon.wait_current("d2").wait_health("d1", "healthy")
    model = daemon.models()["d1"]
    assert model["ejected_until"] > time.time() and "token" in model["reason"]
    assert daemon.current() == "d2"
    daemon.ask("refresh")  # whoever repaired it need not wait
    assert daemon.current() == "d1" and daemon.models()["d1"]["ejected_until"] is None


# --- capabilities ---

def test_tools_and_context_are_found_out(testbed):
    llm = testbed.llm(max_model_len=12345)
    deployment = llm.deployment()
    del deployment["tool_calling_enabled"]
    daemon = Daemon(testbed, backend=testbed.backend({"d1": deployment})).wait_current("d1")
    model = daemon.models()["d1"]
    assert model["tools"] is True and model["context_length"] == 12345
    assert daemon.status()["capabilities"]["tool_calling"] is True
    probe = llm.chats()[0]["body"]
    assert probe["max_tokens"] == 16 and probe["tools"]


def test_an_llm_without_tools(testbed):
    llm = testbed.llm(status=400, body=NO_TOOLS)
    deployment = llm.deployment()
    del deployment["tool_calling_enabled"]
    daemon = Daemon(testbed, backend=testbed.backend({"d1": deployment})).wait_current("d1")
    assert daemon.models()["d1"]["tools"] is False


@pytest.mark.parametrize("kind, port", [("local", "LOCAL_LLM_PORT"), ("container", "LLM_CONTAINER_NAME")])
def test_a_server_that_was_restarted_with_tools_gets_them(testbed, kind, port):
    llm = testbed.llm(status=400, body=NO_TOOLS)
    daemon = Daemon(testbed, env={**FAST, port: llm.port if kind == "local" else llm.host}).wait_current(kind)
    wait_until(lambda: daemon.models()[kind]["tools"] is False, "no tools")
    llm.script(health_status=503, health_body="Loading model")
    daemon.wait_health(kind, "unhealthy")
    llm.script()
    wait_until(lambda: daemon.models()[kind]["tools"] is True, "tools")


# --- configuration ---

CONF = 'discovery: { backend_url = "%s"; };\nselection: { priority_models = %s; };\n'


def configured(testbed, more=""):
    a, b = testbed.llm(), testbed.llm()
    backend = testbed.backend({"d1": a.deployment(), "d2": b.deployment("Qwen3-8B")})
    conf = CONF % (backend.url, '("Llama")') + more
    daemon = Daemon(testbed, conf=conf, env={"AGENT_BACKEND_URL": None}).wait_current("d1")
    return daemon, backend


@pytest.mark.parametrize("how", ["command", "signal"])
def test_reload_takes_the_new_file(testbed, how):
    daemon, backend = configured(testbed)
    replace_file(daemon.service.conf, CONF % (backend.url, '("Qwen")'))
    if how == "command":
        answer = daemon.ask("reload")
        assert answer["message"] == "Configuration refreshed successfully"
        assert answer["current_config"]["priority_models"] == ["Qwen"]
        assert daemon.current() == "d2"
    else:
        daemon.process.send(signal.SIGHUP)
    daemon.wait_current("d2")
    daemon.wait_log(r"INFO config key=selection.priority_models old=Llama new=Qwen")
    assert (daemon.run / "config.2").exists()


def test_a_backend_that_is_named_while_the_one_before_is_asked_is_asked_at_once(testbed):
    llm, stalled = testbed.llm(), testbed.backend(stall=True)
    backend = testbed.backend({"d1": llm.deployment()})
    conf = 'discovery: { backend_url = "%s"; };\n'
    daemon = Daemon(testbed, conf=conf % stalled.url, env={"AGENT_BACKEND_URL": None})
    stalled.wait_request("/models/deployed/")
    replace_file(daemon.service.conf, conf % backend.url)
    daemon.ask("reload")
    daemon.wait_current("d1", 4)


def test_a_backend_that_is_switched_off_while_it_is_asked_is_not_heard(testbed):
    llm = testbed.llm()
    backend = testbed.backend({"d1": llm.deployment()}, delay_us=1000000)
    conf = 'discovery: { backend_url = "%s"; enabled = %s; };\n'
    daemon = Daemon(testbed, conf=conf % (backend.url, "true"), env={"AGENT_BACKEND_URL": None, "AGENT_LLM_POLLING_INTERVAL": "2"})
    backend.wait_request("/models/deployed/")
    replace_file(daemon.service.conf, conf % (backend.url, "false"))
    daemon.ask("reload")
    daemon.wait_log("polling attempt=2")  # by then the answer was there
    assert "d1" not in daemon.models() and len(backend.requests("/models/deployed/")) == 1


def test_a_refused_file_leaves_the_old_in_force(testbed):
    daemon, backend = configured(testbed)
    replace_file(daemon.service.conf, "health: {\n interval = \"x\";\n};\n")
    answer = daemon.ask("reload")
    assert answer["status"] == "error"
    assert re.match(rf"{re.escape(str(daemon.service.conf))}:2: ", answer["message"])
    assert daemon.current() == "d1" and daemon.status()["status"] == "ready"


def test_what_waits_for_a_restart_is_said(testbed):
    daemon, backend = configured(testbed, "log: { target = \"stderr\"; };\nlimits: { turns = 10; };\n")
    replace_file(daemon.service.conf, CONF % (backend.url, '("Llama")') + "log: { target = \"journal\"; };\nlimits: { turns = 20; };\n")
    daemon.ask("reload")
    daemon.wait_log("WARNING config key=log.target .*restart")
    assert "INFO config key=limits.turns" in daemon.log() and "WARNING config key=limits.turns" not in daemon.log()


def test_reload_can_refresh(testbed):
    daemon, backend = configured(testbed, "config: { refresh_llm = true; };\n")
    answer = daemon.ask("reload")
    assert answer["message"] == "Configuration refreshed and LLM updated"
    assert answer["llm_refresh"]["new_model"] == "Llama-3.1-8B-Instruct" and "current_config" not in answer


def test_dynamic_off_reads_nothing(testbed):
    daemon, backend = configured(testbed, "config: { dynamic = false; };\n")
    replace_file(daemon.service.conf, "nonsense")
    assert daemon.ask("reload")["message"] == "Configuration refreshed successfully"
    daemon.process.send(signal.SIGHUP)
    daemon.wait_log("config_not_read.*false.*SIGHUP")
    assert daemon.current() == "d1"


def test_dynamic_off_refreshes_the_llm_all_the_same(testbed):
    """A refresh reads no configuration: the two settings don't forbid each other."""
    daemon, backend = configured(testbed, "config: { dynamic = false; refresh_llm = true; };\n")
    replace_file(daemon.service.conf, "nonsense")
    backend.forget()
    answer = daemon.ask("reload")
    assert answer["message"] == "Configuration refreshed and LLM updated"
    assert answer["llm_refresh"]["status"] == "success" and "current_config" not in answer
    assert backend.requests("/models/deployed/")


def watches(process):
    """What it watches with inotify."""
    found = []
    for fd in Path(f"/proc/{process.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it was closed meanwhile
            found += [fd] if "inotify" in os.readlink(fd) else []
    return found


@pytest.mark.parametrize("dynamic", ["true", "false"])
def test_dynamic_off_looks_at_nothing_by_itself(testbed, dynamic):
    volume = testbed.directory / "volume"
    replace_file(volume / "backend_volume" / "user_config.env", "JWT_SECRET=a-secret\n")
    conf = "selection: { priority_models = (%s); };\n"
    daemon = Daemon(testbed, conf=conf % '"Llama"', env={
        "AGENT_DYNAMIC_CONFIG": dynamic, "AGENT_CONFIG_REFRESH_INTERVAL": "0.05", "INTERNAL_PERSISTENT_STORAGE_VOLUME": volume})
    daemon.service.secrets += ["a-secret", "another-secret"]
    assert bool(watches(daemon.process)) == (dynamic == "true")
    replace_file(daemon.service.conf, conf % '"Qwen"')
    replace_file(volume / "backend_volume" / "user_config.env", "JWT_SECRET=another-secret\n")
    changes = [r"config key=auth.jwt_secret", r"config key=selection.priority_models"]
    if dynamic == "true":
        for change in changes:
            daemon.wait_log(change)
    else:
        with pytest.raises(AssertionError, match="not within"):
            daemon.wait_log("|".join(changes), 1.2 / PATIENCE)


def test_the_file_is_looked_at_by_itself(testbed):
    daemon, backend = configured(testbed, "config: { refresh_interval = 0.2; };\n")
    replace_file(daemon.service.conf, CONF % (backend.url, '("Qwen")'))
    daemon.wait_current("d2")


def test_user_config_counts_within_a_second(testbed):
    volume = testbed.directory / "volume"
    volume.mkdir()
    file = volume / "backend_volume" / "user_config.env"
    llm = testbed.llm()
    daemon = Daemon(testbed, backend=testbed.backend({"d1": llm.deployment()}), env={
        **FAST, "INTERNAL_PERSISTENT_STORAGE_VOLUME": volume}).wait_current("d1")
    first = llm.requests("/health")[-1]["headers"]["authorization"]
    for secret in ("another-secret-1", "another-secret-2"):
        daemon.service.secrets.append(secret)
        began = time.monotonic()
        replace_file(file, f"JWT_SECRET='{secret}'\n")
        origin = lambda: daemon.ask("config")["auth.jwt_secret"]["origin"]
        seen = len(re.findall(r"config key=auth.jwt_secret", daemon.log()))
        wait_until(lambda: len(re.findall(r"config key=auth.jwt_secret", daemon.log())) > seen or "user_config" in origin(),
                   "the new secret")
        assert time.monotonic() - began < 1.3 * PATIENCE
        wait_until(lambda: llm.requests("/health")[-1]["headers"]["authorization"] != first, "another token")
        first = llm.requests("/health")[-1]["headers"]["authorization"]


def test_the_legacy_user_config_counts_within_a_second(testbed):
    directory = testbed.directory / "volume" / "backend_volume"
    directory.mkdir(parents=True)
    daemon = Daemon(testbed, env={"INTERNAL_PERSISTENT_STORAGE_VOLUME": directory.parent, "TAVILY_API_KEY": None})
    key = lambda: daemon.ask("config")["search.tavily_key"]
    changes = lambda: len(re.findall(r"config key=search.tavily_key", daemon.log()))

    def put(name, text):
        seen, began = changes(), time.monotonic()
        replace_file(directory / name, text)
        wait_until(lambda: changes() > seen, f"{text} in force")
        assert time.monotonic() - began < 1.0 * PATIENCE

    assert key()["set"] is False
    for value in ("tvly-legacy-1", "tvly-legacy-2"):
        daemon.service.secrets.append(value)
        put("user_config.json", json.dumps({"tavily_api_key": value}))
        assert key()["origin"] == str(directory / "user_config.json")
    # TT-Studio makes the new file of it and removes the old one.
    daemon.service.secrets.append("tvly-new-1")
    put("user_config.env", "TAVILY_API_KEY=tvly-new-1\n")
    assert key()["origin"] == str(directory / "user_config.env")


# --- the channel ---

def test_events_tell_what_happens(testbed):
    daemon, a, b, backend = two(testbed, env=FAST)
    daemon.wait_current("d1")
    channel = daemon.channel()
    channel.send("events")
    daemon.ask("select", deploy_id="d2")
    seen = set()
    while "selection" not in seen:
        message = channel.receive()
        assert message["event"]["at"] > 0
        seen.add(message["event"]["event"])
    channel.close()
    assert daemon.ask("ping")["pid"]


@pytest.mark.parametrize("line", [b"\n", b"x\n", b"[]\n", b"{}\n", b'{"v":9,"id":1,"command":"ping"}\n', b"\xff\xfe\n",
                                  b'{"v":1,"id":1,"command":"nope"}\n', b"{" * 70000])
def test_a_hostile_line_costs_its_own_connection(testbed, line):
    daemon = Daemon(testbed)
    channel = daemon.channel()
    try:
        channel.raw(line)
        channel.receive()
    except OSError:
        pass
    assert daemon.ask("ping")["pid"]


def test_log_level_and_shutdown(testbed):
    daemon = Daemon(testbed)
    assert daemon.ask("log-level", level="debug")["level"] == "DEBUG"
    assert "DEBUG" in daemon.refused("log-level", level="loud")
    assert daemon.ask("shutdown")["status"] == "success"
    assert daemon.process.wait() == 0


# --- many ---

def test_a_thousand_models(testbed):
    backend = testbed.backend(many=1000, many_delay_us=20000)
    daemon = Daemon(testbed, backend=backend)
    wait_until(lambda: daemon.ask("ping")["usable"] == 1000, "all usable")
    times = []
    for _ in range(5):
        began = time.monotonic()
        answer = daemon.ask("refresh")
        times.append(time.monotonic() - began)
        assert len(answer["available_models"]) == 1000
    print(f"refresh of 1000 models: {sorted(t * 1000 for t in times)} ms")
    assert min(times) < 1.0 * PATIENCE


# --- further ---

def test_an_open_event_stream_ends_with_the_daemon(testbed):
    daemon = Daemon(testbed)
    channel = daemon.channel()
    channel.send("events")
    daemon.ask("refresh")
    assert channel.receive()["event"]["event"] == "discovery"
    assert daemon.stop() == 0
    while channel.receive():
        pass


def test_commands_that_wait_are_answered_at_the_end(testbed):
    daemon = Daemon(testbed, backend=testbed.backend(stall=True))
    channel = daemon.channel()
    channel.send("refresh")
    channel.send("select", deploy_id="d1")
    assert daemon.ask("ping")["pid"]
    assert daemon.stop() == 0


def test_a_container_without_health_is_asked_for_its_models(testbed):
    llm = testbed.llm(health_status=404)
    daemon = Daemon(testbed, env={"LLM_CONTAINER_NAME": llm.host}).wait_current("container")
    assert daemon.models()["container"]["status"] == "healthy"
    assert daemon.models()["container"]["model"] == "mock/demo-model"


def test_a_loading_model_is_waited_for(testbed):
    llm = testbed.llm(health_status=503, health_body='{"error":{"code":503,"message":"Loading model"}}')
    daemon = Daemon(testbed, env=FAST, backend=testbed.backend({"d1": llm.deployment()})).wait_health("d1", "unhealthy")
    assert "loading" in daemon.models()["d1"]["reason"]
    llm.script()
    daemon.wait_current("d1")


def test_monitoring_off(testbed):
    llm = testbed.llm()
    daemon = Daemon(testbed, backend=testbed.backend({"d1": llm.deployment()}),
                    env={**FAST, "AGENT_HEALTH_CHECK_ENABLED": "false"}).wait_current("d1")
    count = len(llm.requests("/health"))
    with pytest.raises(AssertionError):
        llm.wait_request("/health", count + 1, 0.7 / PATIENCE)
    assert daemon.status()["configuration"]["health_check_enabled"] is False
    llm.script(health_status=500)  # what a turn found is looked at all the same
    assert daemon.report("d1")["counted"]
    wait_until(lambda: daemon.models()["d1"]["failures"] >= 2, "a probe at once")
    llm.script()
    daemon.wait_health("d1", "healthy")


def test_a_deployments_own_secret_survives_a_restart(testbed):
    llm = testbed.llm()
    backend = testbed.backend({"d1": {**llm.deployment(), "jwt_secret": "its-own-secret"}})
    daemon = Daemon(testbed, backend=backend, env=FAST).wait_current("d1")
    daemon.service.secrets.append("its-own-secret")
    own = llm.requests("/health")[-1]["headers"]["authorization"]
    instance = daemon.models()["d1"]["instance"]
    backend.script(stall=True)
    daemon.restart()
    assert daemon.current() == "d1"
    llm.forget()
    assert llm.wait_request("/health")[0]["headers"]["authorization"] == own
    backend.script(deployed={"d1": {**llm.deployment(), "jwt_secret": "its-own-secret"}})
    daemon.wait_log(r"discovery found=1", 20)
    assert daemon.models()["d1"]["instance"] == instance


@pytest.mark.parametrize("backend_answers", [True, False])
def test_a_secret_that_changed_while_no_daemon_ran_counts_at_once(testbed, backend_answers):
    llm = testbed.llm()
    backend = testbed.backend({"d1": llm.deployment()})
    daemon = Daemon(testbed, backend=backend, env=FAST).wait_current("d1")
    old = llm.requests("/health")[-1]["headers"]["authorization"]
    daemon.stop()
    llm.forget()
    backend.script(deployed={"d1": llm.deployment()}, stall=not backend_answers)
    daemon.service.env["JWT_SECRET"] = "test-secret-of-now"
    daemon.service.secrets.append("test-secret-of-now")
    daemon.start()
    sent = {r["headers"]["authorization"] for r in llm.wait_request("/health", 3)}
    assert len(sent) == 1 and sent != {old}


def test_a_deployment_that_lost_its_own_secret_gets_the_usual_token(testbed):
    llm = testbed.llm()
    backend = testbed.backend({"d1": {**llm.deployment(), "jwt_secret": "its-own-secret"}})
    daemon = Daemon(testbed, backend=backend, env=FAST).wait_current("d1")
    daemon.service.secrets.append("its-own-secret")
    own = llm.requests("/health")[-1]["headers"]["authorization"]
    daemon.stop()
    backend.deploy(d1=llm.deployment())
    daemon.start()
    wait_until(lambda: llm.requests("/health")[-1]["headers"]["authorization"] != own, "the usual token")


def test_a_model_that_cannot_chat_is_listed_but_not_selected(testbed):
    llm = testbed.llm()
    backend = testbed.backend({"e1": llm.deployment("Embedder", model_impl={"model_type": "embedding"}),
                             "d1": llm.deployment("Chatter")})
    daemon = Daemon(testbed, backend=backend).wait_current("d1")
    assert daemon.models()["e1"]["rank"] is None
    assert [m["deploy_id"] for m in daemon.status()["available_models"]] == ["e1", "d1"]
    assert daemon.ask("select", deploy_id="e1")["status"] == "error"


# The libraries are most of both: each process is charged its share of them, so both run, as they do for an admin.
@pytest.mark.skipif(PATIENCE != 1, reason="measured without sanitizers")
def test_idle_memory(testbed):
    llm = testbed.llm()
    service = testbed.service(backend=testbed.backend({"d1": llm.deployment()}))
    service.wait_ready()
    processes = {"daemon": (service.daemon.pid, 4096)}
    processes |= {f"worker {n}": (pid, 6144) for n, pid in enumerate(service.worker_pids())}
    for name, (pid, most) in processes.items():
        wait_until(lambda: proportional_set_kib(pid) <= most, f"{name}: at most {most} KiB")


def test_start_is_quick(testbed):
    service = testbed.service(start=False)
    began = time.monotonic()
    process = service.start_daemon()
    wait_until(lambda: (service.run / "status.v3").exists(), "a first state")
    took = time.monotonic() - began
    process.wait_log("started")
    print(f"first state after {took * 1000:.1f} ms")
    assert took < 0.5 * PATIENCE

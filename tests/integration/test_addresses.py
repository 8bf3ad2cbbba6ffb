# SPDX-License-Identifier: Apache-2.0
"""Where LLMs are: base URLs, wrong addresses, and hosts whose address changes."""

import os
import re
import subprocess
import time

import pytest

from harness.daemon import Daemon
from harness.mocks import Llm
from harness.process import BUILD, PATIENCE, clean_env, wait_until
from harness.proxy import Proxy


@pytest.mark.parametrize("base", ["/v1", "/v1/", "/v1/models", "/openai/v1", ""])
@pytest.mark.parametrize("kind", ["container", "discovered", "cloud"])
def test_the_base_url_of_an_api_is_enough(testbed, kind, base):
    llm = testbed.llm()
    if base == "/openai/v1":  # the mock knows no other path
        base = "/v1//"
    env, backend = {}, None
    if kind == "container":
        env = {"LLM_CONTAINER_NAME": llm.host + base}
    elif kind == "cloud":
        env = {"USE_CLOUD_LLM": "true", "CLOUD_CHAT_UI_URL": llm.url + base, "CLOUD_CHAT_UI_AUTH_TOKEN": "cloud-token-1"}
    else:
        backend = testbed.backend({"d1": llm.deployment(internal_url=llm.host + base)})
    service = testbed.service(env=env, backend=backend).wait_ready()
    assert service.chat("[plain]").whole
    log = service.daemon.log()
    assert len(re.findall(r"INFO url_completed ", log)) == (1 if base else 0), log


@pytest.mark.parametrize("name", ['"vllm:7000"', "vllm ", " vllm", "'vllm'", "vllm\t", 'http://h:8000/v1"'])
def test_a_name_with_quotes_or_whitespace_is_an_error(testbed, name):
    done = subprocess.run([str(BUILD / "tt-agentd"), "-t"], env={**clean_env(), "LLM_CONTAINER_NAME": name},
                          capture_output=True, text=True, timeout=10 * PATIENCE)
    assert done.returncode == 1 and "LLM_CONTAINER_NAME" in done.stderr and "refused" in done.stdout


@pytest.fixture
def names(testbed):
    """/etc/hosts of what is started with .before; .set(address) moves the name llm.test."""
    if os.geteuid() != 0:
        pytest.skip("needs root")

    class Names:
        file = testbed.directory / "hosts"
        before = ("unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', str(file))

        def set(self, address):
            text = f"127.0.0.1 localhost\n{address} llm.test\n" if address else "127.0.0.1 localhost\n"
            with open(self.file, "w") as f:  # the same file, since it is mounted
                f.write(text)

    names = Names()
    names.set("127.0.0.1")
    if subprocess.run([*names.before, "true"], capture_output=True).returncode != 0:
        pytest.skip("no mount namespace can be made on this machine")
    return names


@pytest.mark.parametrize("gone", [False, True])
def test_a_container_that_comes_back_with_another_address_is_used_soon(testbed, names, gone):
    llm = testbed.llm()
    daemon = Daemon(testbed, env={"LLM_CONTAINER_NAME": f"llm.test:{llm.port}"}, before=names.before).wait_current("container")
    daemon.wait_health("container", "healthy")
    if gone:
        names.set(None)
    llm.stop()
    testbed.others.remove(llm)
    daemon.report("container")  # a turn that finds nobody
    daemon.wait_health("container", "degraded")
    time.sleep(1.5)  # the container starts
    moved = testbed.keep(Llm(testbed, "moved", options=("--address", "127.0.0.3", "--port", str(llm.port))))
    names.set("127.0.0.3")
    began = time.monotonic()
    daemon.wait_health("container", "healthy", 10 * PATIENCE)
    assert time.monotonic() - began < 4 * PATIENCE
    assert moved.process.alive()


def test_a_host_that_stays_away_is_not_asked_for_all_the_time(testbed, names):
    port = testbed.closed_port()
    daemon = Daemon(testbed, env={"LLM_CONTAINER_NAME": f"llm.test:{port}", "AGENT_DEBUG_MODE": "true",
                                  "AGENT_HEALTH_CHECK_INTERVAL": "0.05"}, before=names.before)
    names.set(None)
    daemon.wait_log(r"DEBUG lookup ")
    time.sleep(3)
    assert 1 <= len(re.findall(r"DEBUG lookup ", daemon.log())) <= 5
    names.set("127.0.0.1")
    wait_until(lambda: daemon.models()["container"]["status"] == "unhealthy", "still nobody there")


# --- a proxy ---

def cloud_behind_proxy(testbed, tls, credentials=None, **more):
    if tls:
        authority, certificate, key = testbed.certificate("cloud.example.test")
        cloud = testbed.llm("--tls-cert", certificate, "--tls-key", key)
        scheme, more["conf"] = "https", f'cloud: {{ ca_file = "{authority}"; }};\n'
    else:
        cloud, scheme = testbed.llm(), "http"
    proxy = Proxy(testbed, cloud.port, credentials)
    user = "proxyuser:proxy-password-7@" if credentials else ""
    variable = "https_proxy" if tls else "HTTP_PROXY"
    env = {"USE_CLOUD_LLM": "true", "CLOUD_CHAT_UI_URL": f"{scheme}://cloud.example.test/v1",
           "CLOUD_CHAT_UI_AUTH_TOKEN": "cloud-token-1", variable: f"http://{user}127.0.0.1:{proxy.port}"}
    return testbed.service(env=env, **more), cloud, proxy


@pytest.mark.parametrize("tls", [False, True])
def test_the_cloud_is_requested_through_the_proxy(testbed, tls):
    service, cloud, proxy = cloud_behind_proxy(testbed, tls, "proxyuser:proxy-password-7")
    service.secrets.append("proxy-password-7")
    service.wait_ready()
    assert service.chat("[plain]").whole
    assert cloud.chats() and all(r["headers"]["authorization"] == "Bearer cloud-token-1" for r in cloud.chats())
    assert proxy.heads
    if tls:
        assert all(head.startswith("CONNECT cloud.example.test:443 ") and "cloud-token-1" not in head for head in proxy.heads)
    shown = service.ctl("config", "proxy")
    assert "proxy-password-7" not in str(shown)


def test_what_is_local_is_not_requested_through_the_proxy(testbed):
    llm = testbed.llm()
    proxy = Proxy(testbed, testbed.closed_port())
    url = f"http://127.0.0.1:{proxy.port}"
    service = testbed.service(env={"HTTP_PROXY": url, "HTTPS_PROXY": url, "http_proxy": url},
                              backend=testbed.backend({"d1": llm.deployment()})).wait_ready()
    assert service.chat("[plain]").whole
    assert proxy.heads == []


def test_a_proxy_that_refuses_is_named(testbed):
    service, cloud, proxy = cloud_behind_proxy(testbed, True, "somebody:else")
    service.secrets.append("proxy-password-7")
    service.wait_ready()
    turn = service.chat("[plain]")
    assert "Hello" not in turn.text and not cloud.chats()
    service.responder.wait_log(rf"through the proxy http://127\.0\.0\.1:{proxy.port}")

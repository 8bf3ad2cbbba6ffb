# SPDX-License-Identifier: Apache-2.0
"""Why no LLM is seen: discovery's state in /status, and as tt-agentctl shows it."""

import json
import subprocess

import pytest

from harness import no_llm
from harness.daemon import Daemon
from harness.doctor import doctor
from harness.process import BUILD, PATIENCE, clean_env, wait_until

def ctl(service, *words):
    return subprocess.run([str(BUILD / "tt-agentctl"), "--run-dir", str(service.run), *words], env=clean_env(),
                          capture_output=True, text=True, timeout=20 * PATIENCE)


def discovery(daemon):
    return daemon.status()["discovery"][0]


def explained(daemon, state, *texts):
    """Everywhere the same: what discovery says."""
    wait_until(lambda: discovery(daemon)["state"] == state, f"discovery is {state}")
    shown = [ctl(daemon.service, "status"), ctl(daemon.service, "models"), ctl(daemon.service, "refresh")]
    for done in shown:
        for text in texts:
            assert text in done.stdout + done.stderr, (text, done)
    return discovery(daemon)


@pytest.mark.parametrize("fault", no_llm.FAULTS)
def test_why_no_llm_is_seen_is_answered_everywhere_alike(testbed, fault):
    """By status, models, refresh, doctor, and the document from which the page says it (test_browser.py)."""
    service, backend, words, finding = no_llm.make(testbed, fault)
    state = no_llm.known(service, fault)
    said = no_llm.views(service)
    found = said.pop("doctor")
    assert set(found) == {finding, *no_llm.FOLLOWS}
    if fault == "empty":
        assert state["found"] == 0 and state["url"] in found[finding]["message"]
        texts = [words, state["url"]]
    else:
        assert words in state["error"] and state["found"] == 0 and state["answered"] is None
        assert state["since"] > 0 and state["next_attempt"] > state["since"]
        assert found[finding]["message"] == state["error"]
        texts = ["failing for ", state["error"], "/models/deployed/", "last answer never", "next attempt "]
    for view, shown in said.items():
        for text in texts:
            assert text in shown, (view, text, shown)
    if backend:
        backend.script(deployed={"d1": testbed.llm().deployment()})
        assert ctl(service, "refresh").returncode == 0
        assert "1 model found " in ctl(service, "status").stdout
        state = service.status()["discovery"][0]
        assert state["error"] is None and state["next_attempt"] is None and state["found"] == 1
    else:  # also without the daemon
        service.daemon.kill()
        found = doctor(service)
        assert set(found) == {finding, "daemon_down"} and words in found[finding]["message"]


def test_an_empty_list_is_no_failure(testbed):
    backend = testbed.backend({"d4": {"name": 5}})
    daemon = Daemon(testbed, backend=backend)
    state = explained(daemon, "answers", "0 models found ", backend.url, "1 malformed, left out")
    assert state["found"] == 0 and state["skipped"] == 1


def test_discovery_that_is_off_says_so(testbed):
    daemon = Daemon(testbed, env={"AGENT_AUTO_DISCOVERY": "false"})
    explained(daemon, "off", "discovery     off")


def test_polling_that_is_off_has_no_next_attempt(testbed):
    daemon = Daemon(testbed, env={"AGENT_LLM_POLLING_ENABLED": "false"})
    state = explained(daemon, "failing", "it is asked again only on request")
    assert state["next_attempt"] is None


def test_a_backend_that_fails_beside_a_working_llm_is_explained(testbed):
    llm = testbed.llm()
    daemon = Daemon(testbed, env={"LLM_CONTAINER_NAME": llm.host, "AGENT_DISCOVERY_INTERVAL": "60"}).wait_current("container")
    explained(daemon, "failing", "failing for", "next attempt ")


def test_the_document_of_get_status_says_it_too(testbed):
    service = testbed.service()
    service.wait_status(lambda s: s.get("discovery", [{}])[0].get("state") == "failing", "discovery fails")
    status = service.status()
    keys = list(status)
    assert keys[keys.index("next_poll") + 1:] == ["pinned", "discovered", "discovery", "generation"]
    assert status["discovery_summary"]["total"] == 0
    service.daemon.kill()
    done = ctl(service, "status")
    assert "STALE" in done.stdout and "failing for" in done.stdout


def test_unhealthy_models_are_counted_while_none_is_usable(testbed):
    a, b = testbed.llm(health_status=500), testbed.llm(health_status=500)
    backend = testbed.backend({"d1": a.deployment(), "d2": {**b.deployment(), "name": "c2"}})
    daemon = Daemon(testbed, backend=backend)
    daemon.wait_health("d1", "unhealthy").wait_health("d2", "unhealthy")
    assert "2 discovered: 0 healthy, 0 degraded, 2 unhealthy" in ctl(daemon.service, "status").stdout
    assert daemon.status()["discovery_summary"] == {"total": 0, "healthy": 0, "degraded": 0, "unhealthy": 0}
    assert json.loads(ctl(daemon.service, "--json", "status").stdout)["discovered"]["total_llms"] == 2


def test_a_backend_that_comes_after_the_daemon_is_soon_seen(testbed):
    backend = testbed.backend(status=503)
    daemon = Daemon(testbed, backend=backend)  # polling.interval is 180 s
    daemon.wait_log(r"INFO polling attempt=2 next_s=2.000")
    assert daemon.status()["next_poll"] == "Will retry every 3 minutes"
    backend.script(deployed={"d1": testbed.llm().deployment()})
    daemon.wait_current("d1")

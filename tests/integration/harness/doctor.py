# SPDX-License-Identifier: Apache-2.0
"""tt-agentctl doctor, and a service for it to examine."""

import json
import subprocess

from .process import BUILD, PATIENCE, clean_env, wait_until

OK, WARNINGS, ERRORS = 0, 1, 2
CONF = "polling: { interval = 60; };\nsearch: { timeout = 5; };\n"


def run(service, *words, env=None, before=()):
    return subprocess.run([*before, str(BUILD / "tt-agentctl"), "--run-dir", str(service.run), *words], text=True,
                          env=clean_env(env), capture_output=True, timeout=60 * PATIENCE)


def doctor(service, *words, **more):
    """{finding: the row}; the exit status fits."""
    done = run(service, "--json", "doctor", *words, **more)
    report = json.loads(done.stdout)
    assert report["errors"] + report["warnings"] == len(report["findings"])
    assert done.returncode == (ERRORS if report["errors"] else WARNINGS if report["warnings"] else OK), done
    return {f["name"]: f for f in report["findings"]}


def expect(service, name, *texts, fix, also=(), words=(), **more):
    """Exactly this fault is found (and those of also, which follow from it)."""
    found = doctor(service, *words, **more)
    assert set(found) == {name, *also}, found
    for text in texts:
        assert text in found[name]["message"], found[name]
    assert fix in found[name]["fix"], found[name]
    return found[name]


def start(testbed, script=None, conf=CONF, **more):
    """A service on which nothing is wrong, with one LLM."""
    llm = testbed.llm(**(script or {}))
    backend = testbed.backend({"d1": llm.deployment()})
    service = testbed.service(backend=backend, conf=conf, **more).wait_ready()
    wait_until(lambda: service.ctl("models")["models"][0]["context_length"] > 0, "the context window is known")
    service.backend, service.llm = backend, llm
    return service

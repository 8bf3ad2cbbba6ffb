# SPDX-License-Identifier: Apache-2.0
"""Real Prometheus with the files of deploy/prometheus, and a real OpenTelemetry collector."""

import json
import os
import re
import shutil
import subprocess
import time

import httpx
import pytest

from harness.monitoring import dashboard_expressions, filled
from harness.process import BUILD, SOURCE, Process, clean_env, wait_until
from harness.tool_mocks import CODE, SEARCH, call, calls, e2b, e2b_env, rounds, search, search_env
from harness.web_servers import reserved

pytestmark = pytest.mark.long


# --- Prometheus ---


class Prometheus:
    """deploy/prometheus/scrape.yml as it is but for the target, the rules' place and the intervals."""

    def __init__(self, testbed, host):
        directory = testbed.directory / "prometheus"
        directory.mkdir()
        config = (SOURCE / "deploy/prometheus/scrape.yml").read_text()
        for old, new in (("/usr/share/tt-agent/prometheus", str(SOURCE / "deploy/prometheus")), ("agent.example.org:8080", host),
                         ("scrape_interval: 15s", "scrape_interval: 1s"), ("metrics_path: /agent/metrics", "metrics_path: /metrics")):
            assert old in config
            config = config.replace(old, new)
        (directory / "prometheus.yml").write_text("global: {evaluation_interval: 1s}\n" + config)
        port = testbed.client(reserved())
        self.http = testbed.client(httpx.Client(base_url=f"http://127.0.0.1:{port.getsockname()[1]}/api/v1", trust_env=False, timeout=30))
        self.process = testbed.keep(self)._start(testbed, directory, port.getsockname()[1])
        wait_until(self.is_ready, "Prometheus is ready", 60)

    def _start(self, testbed, directory, port):
        return Process("prometheus", [
            "prometheus", f"--config.file={directory}/prometheus.yml", f"--storage.tsdb.path={directory}/data",
            f"--web.listen-address=127.0.0.1:{port}"], testbed.directory)

    def is_ready(self):
        assert self.process.alive(), self.process.log()
        try:
            return self.get("targets")["activeTargets"]
        except (httpx.TransportError, json.JSONDecodeError):  # not yet
            return False

    def get(self, what, **parameters):
        answer = self.http.get(f"/{what}", params=parameters).json()
        assert answer["status"] == "success", answer
        return answer["data"]

    def value(self, expression):
        """{labels: value} of an expression."""
        return {tuple(sorted(r["metric"].items())): float(r["value"][1]) for r in self.get("query", query=expression)["result"]}

    def stop(self):
        return self.process.stop(deadline=60)


@pytest.mark.skipif(not shutil.which("prometheus"), reason="Prometheus is not installed")
def test_prometheus_scrapes_evaluates_and_alerts(testbed):
    tools, sandbox = search(testbed), e2b(testbed)
    service, llm = testbed.one({"tokens": 7}, env={**search_env(tools), **e2b_env(sandbox)}, workers=2)
    assert service.chat(rounds(calls(call(SEARCH, query="x")), calls(call(CODE, code="print(1)")), {"text": "done"})).whole
    prometheus = Prometheus(testbed, service.host)

    target = wait_until(lambda: [t for t in prometheus.get("targets")["activeTargets"] if t["health"] != "unknown"], "a scrape", 30)[0]
    assert (target["health"], target["lastError"], target["labels"]["job"]) == ("up", "", "tt-agent")
    rules = [r for g in prometheus.get("rules")["groups"] for r in g["rules"]]
    assert len(rules) > 10
    evaluated = lambda: [r for g in prometheus.get("rules")["groups"] for r in g["rules"] if r["health"] != "unknown"]
    wait_until(lambda: len(evaluated()) == len(rules), "every rule is evaluated", 30)
    assert {r["health"] for r in evaluated()} == {"ok"} and not any(r.get("lastError") for r in evaluated())
    for _ in range(5):
        assert service.chat("[plain]").whole
    wait_until(lambda: 6 in prometheus.value('tt_agent_turns_total{outcome="complete"}').values(), "the turns are counted", 30)
    assert set(prometheus.value("tt_agent_ready").values()) == {1.0}
    names = set(prometheus.get("label/__name__/values"))
    assert len({n for n in names if n.startswith("tt_agent_")}) > 40
    # Every box of the dashboard and every rule reads series that there are.
    for expression in dashboard_expressions():
        prometheus.get("query", query=filled(expression))
        assert {m for m in re.findall(r"\btt_agent_\w+", expression)} <= names, expression
    for metric in {m for r in rules for m in re.findall(r"\btt_agent_\w+", r["query"])}:
        assert metric in names, metric
    assert prometheus.get("alerts")["alerts"] == []

    # A fault, as it comes and goes.
    service.daemon.kill()
    firing = lambda: {a["labels"]["alertname"] for a in prometheus.get("alerts")["alerts"] if a["state"] == "firing"}
    wait_until(lambda: firing() == {"TtAgentDaemonDown"}, "the alert", 120)
    service.start_daemon()
    wait_until(lambda: not firing(), "its end", 60)
    assert "level=error" not in prometheus.process.log()


# --- OpenTelemetry ---

COLLECTOR = """
receivers: {otlp: {protocols: {http: {endpoint: "127.0.0.1:%d"}}}}
exporters: {file: {path: %s, flush_interval: 100ms, append: true}}
service:
  telemetry: {metrics: {level: none}}
  pipelines: {traces: {receivers: [otlp], exporters: [file]}}
"""


@pytest.fixture(scope="module")
def collector_program():
    """Built once from its Go modules: there is no package of it."""
    go = shutil.which("go") or shutil.which("/usr/local/go/bin/go")
    directory, program = BUILD / "otel-collector", BUILD / "otel-collector" / "collector"
    source = SOURCE / "tests/integration/otel-collector"
    if not program.exists():
        if not go:
            pytest.skip("Go is not installed")
        shutil.copytree(source, directory, dirs_exist_ok=True)
        done = subprocess.run([go, "build", "-mod=mod", "-o", program, "."], cwd=directory, capture_output=True, text=True,
                              env={**clean_env(), **{k: v for k, v in os.environ.items() if k.startswith(("GO", "HOME"))}})
        if done.returncode:
            pytest.skip(f"the collector cannot be built: {done.stderr[-500:]}")
    return program


def spans_in(file):
    """Each span that the collector has written."""
    lines = file.read_text().splitlines() if file.exists() else []
    return [span for line in lines for r in json.loads(line)["resourceSpans"] for s in r["scopeSpans"] for span in s["spans"]]


def test_a_collector_takes_the_spans(testbed, collector_program):
    """One that is restarted costs no chat and no span."""
    out, conf = testbed.directory / "spans.json", testbed.directory / "collector.yml"
    port = testbed.client(reserved()).getsockname()[1]
    conf.write_text(COLLECTOR % (port, out))
    collector = testbed.own(Process("collector", [collector_program, f"file:{conf}"], testbed.directory))
    collector.wait_log("Everything is ready", 60)
    tools, sandbox = search(testbed), e2b(testbed)
    service, llm = testbed.one(sets=[f"trace.endpoint=http://127.0.0.1:{port}"], env={**search_env(tools), **e2b_env(sandbox)})
    began = time.time()
    trace, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    assert service.chat(rounds(calls(call(SEARCH, query="x"), call(CODE, id="b", code="print(1)")), {"text": "done"}),
                        headers={"traceparent": f"00-{trace}-{parent}-01"}).whole
    spans = wait_until(lambda: len(spans_in(out)) >= 5 and spans_in(out), "the spans", 30)
    by_id = {s["spanId"]: s for s in spans}
    assert len(by_id) == len(spans) == 5 and {s["traceId"] for s in spans} == {trace}
    root, = [s for s in spans if s["parentSpanId"] == parent]
    assert root["name"] == "invoke_agent tt-agent" and root["kind"] == 2
    for span in spans:
        assert re.fullmatch("[0-9a-f]{16}", span["spanId"]) and (span is root or by_id[span["parentSpanId"]] is root)
        start, end = (int(span[k]) / 1e9 for k in ("startTimeUnixNano", "endTimeUnixNano"))
        assert began - 1 <= start <= end <= time.time() + 1, span
        assert int(root["startTimeUnixNano"]) <= int(span["startTimeUnixNano"]) and int(span["endTimeUnixNano"]) <= int(root["endTimeUnixNano"])
        names = [a["key"] for a in span["attributes"]]
        assert names and len(names) == len(set(names)) and "status" in span
    assert sorted(s["name"].split()[0] for s in spans) == ["chat", "chat", "execute_tool", "execute_tool", "invoke_agent"]
    # It is restarted.
    assert collector.stop(deadline=30) == 0
    assert service.chat("[plain]").whole
    service.daemon.wait_log("WARNING spans_not_sent")
    again = testbed.own(Process("collector-2", [collector_program, f"file:{conf}"], testbed.directory))
    again.wait_log("Everything is ready", 60)
    wait_until(lambda: len(spans_in(out)) >= 7, "the spans of the time between", 60)
    assert "rejected" not in collector.log() + again.log() and again.stop(deadline=30) == 0

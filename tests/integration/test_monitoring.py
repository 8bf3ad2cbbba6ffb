# SPDX-License-Identifier: Apache-2.0
"""The alerts and the dashboard of deploy/: their expressions are valid, and what they read exists."""

import json
import re
import shutil

import pytest

from harness.metrics import promtool
from harness.monitoring import DASHBOARD, dashboard_expressions, filled
from harness.process import SOURCE

RULES = SOURCE / "deploy/prometheus/tt-agent.rules.yml"
CASES = SOURCE / "deploy/prometheus/tt-agent.rules.test.yml"
FROM_PROMETHEUS = {"job", "instance", "le", "up"}

needs_promtool = pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed (Debian: prometheus)")


def table():
    """{name of a sample: its labels}, as the manual page prints the table."""
    found = {}
    page = (SOURCE / "man/tt-agent-metrics.7").read_text().replace("\\-", "-")
    for name, kind, labels in re.findall(r'^\.BR (tt_agent_\w+) " \((\w+)(?: by ([^)]*))?\)"$', page, re.M):
        for suffix in ("_bucket", "_sum", "_count") if kind == "histogram" else ("",):
            found[name + suffix] = set(labels.split(", ")) - {""}
    return found


def dashboard_queries():
    return [v["definition"] for v in DASHBOARD["templating"]["list"] if v["type"] == "query"]


def rule_expressions():
    """What is read there, comments and sentences left out."""
    text = RULES.read_text()
    return re.findall(r"expr: (?:>\n((?: {10}.*\n)+)|(.*)\n)", text)


def read(expressions):
    """(metric, labels that are named with it) of each."""
    for expression in expressions:
        for metric, labels in re.findall(r"\b(tt_agent_\w+)(?:\{([^}]*)\})?", expression):
            yield metric, set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", re.sub(r'"[^"]*"', "", labels)))


def test_every_metric_that_is_read_is_in_the_table():
    known = table()
    assert len(known) > 40
    expressions = dashboard_expressions() + dashboard_queries() + [block or line for block, line in rule_expressions()]
    assert len(rule_expressions()) == len(re.findall("- alert:", RULES.read_text()))
    found = list(read(expressions)) + list(read(re.findall(r"series: '([^']*)'", CASES.read_text())))
    assert len(found) > 60
    for metric, labels in found:
        assert metric in known, metric
        assert labels <= known[metric] | FROM_PROMETHEUS, (metric, labels)
    for expression in expressions:
        for by in re.findall(r"by \(([^)]*)\)", expression):
            labels = set().union(*(known[metric] for metric, _ in read([expression])))
            assert set(re.split(r",\s*", by)) <= labels | FROM_PROMETHEUS, expression


def test_every_alert_is_tried_both_ways():
    alerts = re.findall(r"- alert: (\w+)", RULES.read_text())
    cases = CASES.read_text()
    assert len(set(alerts)) == len(alerts) > 10
    for alert in alerts:
        assert re.search(rf"alertname: {alert}\n +exp_alerts:", cases), f"{alert} is never expected"
        assert re.search(rf"alertname: {alert}}}", cases), f"{alert} is never expected to be silent"


def test_the_dashboard_is_laid_out():
    assert len({box["id"] for box in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    taken = set()
    for box in DASHBOARD["panels"]:
        at = box["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24 and not cells & taken, box["title"]
        taken |= cells
        if box["type"] != "row":
            assert box["datasource"]["uid"] == "${datasource}" and box["targets"], box["title"]


@needs_promtool
def test_promtool_accepts_every_expression_of_the_dashboard(tmp_path):
    rules = [{"record": f"box:{n}", "expr": filled(e)} for n, e in enumerate(dashboard_expressions())]
    path = tmp_path / "dashboard.yml"
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))  # JSON is YAML
    assert f"{len(rules)} rules found" in promtool("check", "rules", path)


@needs_promtool
def test_promtool_accepts_the_alerts_and_the_scrape_configuration():
    assert "SUCCESS" in promtool("check", "rules", RULES)
    assert "SUCCESS" in promtool("check", "config", "--syntax-only", SOURCE / "deploy/prometheus/scrape.yml")


@needs_promtool
def test_the_alerts_come_when_they_should():
    assert "SUCCESS" in promtool("test", "rules", CASES)

# SPDX-License-Identifier: Apache-2.0
"""GET /metrics, read by Prometheus' own parsers."""

import shutil
import subprocess

from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics

from . import fastcgi
from .process import clean_env

OPENMETRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"


class Metrics:
    """The samples of one answer."""

    def __init__(self, text, openmetrics_text=False):
        self.text = text
        read = openmetrics.text_string_to_metric_families if openmetrics_text else parser.text_string_to_metric_families
        self.families = {family.name: family for family in read(text)}
        self.samples = {}
        for family in self.families.values():
            for sample in family.samples:
                key = sample.name, tuple(sorted(sample.labels.items()))
                assert key not in self.samples, f"twice: {key}"
                self.samples[key] = sample.value

    def value(self, name, **labels):
        """Of this sample; None: there is none."""
        return self.samples.get((f"tt_agent_{name}", tuple(sorted(labels.items()))))

    def sum(self, name, **labels):
        """Of all samples that have these labels."""
        return sum(v for (n, has), v in self.samples.items() if n == f"tt_agent_{name}" and set(labels.items()) <= set(has))

    def counters(self):
        """The samples that must never go down, but for those of processes, which begin again."""
        monotonic = {"_total", "_bucket", "_count", "_sum"}
        return {key: v for key, v in self.samples.items() if "_" + key[0].rsplit("_", 1)[1] in monotonic and "process" not in key[0]}


def scrape(service, accept=""):
    """From the responder itself, as an admin."""
    head, body = fastcgi.ask(service.socket, "GET", "/metrics", **({"HTTP_ACCEPT": accept} if accept else {}))
    assert "Status:" not in head, head
    return Metrics(body.decode(), "openmetrics" in head)


def goes_up(before, after):
    """No counter of before is less in after, or missing."""
    return {key: (v, after.samples.get(key)) for key, v in before.counters().items()
            if after.samples.get(key) is None or after.samples[key] < v} == {}


def promtool(*arguments, text=None):
    """What it says, or None where it is not installed."""
    if not shutil.which("promtool"):
        return None
    done = subprocess.run(["promtool", *map(str, arguments)], input=text, capture_output=True, text=True, timeout=120, env=clean_env())
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr

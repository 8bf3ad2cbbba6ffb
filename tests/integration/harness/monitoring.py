# SPDX-License-Identifier: Apache-2.0
"""The expressions of deploy/grafana."""

import json

from .process import SOURCE

DASHBOARD = json.loads((SOURCE / "deploy/grafana/tt-agent.json").read_text())
# What Grafana puts in their place.
VARIABLES = {"$__rate_interval": "1m", "$instance": ".*", "$model": ".*", "$job": "tt-agent"}


def filled(expression):
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    assert "$" not in expression, expression
    return expression


def dashboard_expressions():
    boxes = [target["expr"] for box in DASHBOARD["panels"] for target in box.get("targets", [])]
    return boxes + [annotation["expr"] for annotation in DASHBOARD["annotations"]["list"]]

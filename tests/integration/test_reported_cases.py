# SPDX-License-Identifier: Apache-2.0
"""Failures that users of services like this one reported: 37 of them. The docstring of the test that
proves what holds here instead begins with the case's number, and names the thread where it is public."""

import re
from pathlib import Path


def test_each_of_the_37_has_a_test():
    texts = "".join(file.read_text() for file in Path(__file__).parent.glob("test_*.py"))
    found = re.findall(r'^def test_.*\n    """Case (\d\d)[.:]', texts, re.M)
    assert sorted(set(found)) == [f"{n:02}" for n in range(1, 38)]

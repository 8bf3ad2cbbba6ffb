# SPDX-License-Identifier: Apache-2.0
"""5,000 streams at once, none of them harmed."""

import json

from harness.load import many_turns

WORDS = 5


def test_5000_streams_without_an_error(testbed):
    service, llm = testbed.one(workers=2)
    message = "[[" + json.dumps({"tokens": WORDS, "delay_us": 1000000, "first_delay_us": 1000000}) + "]]"
    report = many_turns(service.host, 5000, 1, message, "word " * WORDS, spread_ms=2000)
    assert report["failed"] == 0 and report["whole"] == 5000, report
    assert llm.stats()["active_most"] >= 4900


def test_a_burst_of_2000_new_clients(testbed):
    service, llm = testbed.one(workers=2)
    report = many_turns(service.host, 2000, 1, "[plain]", "Hello, world! Grüße 😀\nBye.")
    assert report["failed"] == 0, report

# SPDX-License-Identifier: Apache-2.0
"""tests/chaos/run, for half a minute; with --long for ten, and tests/soak/run for an hour."""

import os
import subprocess

import pytest

from harness.process import BUILD, SOURCE


@pytest.mark.parametrize("seconds, seed", [(30, 7), pytest.param(600, 8, marks=pytest.mark.long)])
def test_no_turn_fails_while_one_llm_is_healthy(seconds, seed):
    clients = 50 if "TT_PATIENCE" in os.environ else 200  # sanitizers are slow
    done = subprocess.run([SOURCE / "tests" / "chaos" / "run", "--build", BUILD, "--seconds", str(seconds), "--seed",
                           str(seed), "--clients", str(clients)], capture_output=True, text=True, timeout=seconds * 5 + 300)
    print(done.stdout, done.stderr)
    assert done.returncode == 0, "see the table"


@pytest.mark.long
def test_nothing_grows_in_an_hour():
    done = subprocess.run([SOURCE / "tests" / "soak" / "run", "--build", BUILD, "--minutes", "60"],
                          capture_output=True, text=True, timeout=2 * 3600)
    print(done.stdout, done.stderr)
    assert done.returncode == 0, "see the table"

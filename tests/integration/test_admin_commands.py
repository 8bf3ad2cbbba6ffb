# SPDX-License-Identifier: Apache-2.0
"""tt-agentctl's commands that change something, and what they say."""

import json
import subprocess

import pytest

from harness.daemon import Daemon, replace_file
from harness.process import BUILD, PATIENCE, clean_env

RESTART = 4


@pytest.fixture
def daemon(testbed):
    """Two models, and a file with two settings."""
    a, b = testbed.llm(), testbed.llm()
    backend = testbed.backend({"3f2b-1": a.deployment(), "9c0d-2": {**b.deployment("Qwen/Qwen3-8B"), "name": "tt-qwen"}})
    conf = 'polling: { interval = 60; };\nlocal: { port = 7001; };\n'
    return Daemon(testbed, backend=backend, conf=conf).wait_current("3f2b-1").wait_health("9c0d-2", "healthy")


def ctl(daemon, *words):
    return subprocess.run([str(BUILD / "tt-agentctl"), "--run-dir", str(daemon.run), *words], env=clean_env(),
                          capture_output=True, text=True, timeout=20 * PATIENCE)


# --- select ---

@pytest.mark.parametrize("name", ["9c0d-2", "9c", "tt-qwen", "TT-Q", "Qwen/Qwen3-8B", "qwen"])
def test_a_model_is_selected_by_id_name_container_or_prefix(daemon, name):
    done = ctl(daemon, "select", name)
    assert done.returncode == 0 and "Successfully switched to Qwen/Qwen3-8B" in done.stdout, done
    assert daemon.current() == "9c0d-2"


def test_whatever_is_listed_as_id_can_be_selected(daemon):
    for command in ("models", "refresh"):
        lines = ctl(daemon, command).stdout.splitlines()
        start = next(i for i, line in enumerate(lines) if " ID " in f" {line} ")
        column = lines[start].split().index("ID")
        ids = [line.split()[column if "*" not in line else column + 1] for line in lines[start + 1:] if "-8B" in line]
        assert sorted(ids) == ["3f2b-1", "9c0d-2"], (command, lines)


def test_a_name_of_nothing_is_refused_on_stderr(daemon):
    done = ctl(daemon, "select", "gpt")
    assert done.returncode == 1 and "Model with deploy_id gpt not found" in done.stderr and done.stdout == ""


def test_the_pin_is_shown_and_unselect_says_whether_there_was_one(daemon):
    assert "pinned" not in ctl(daemon, "status").stdout
    ctl(daemon, "select", "tt-qwen")
    assert "pinned        9c0d-2" in ctl(daemon, "status").stdout
    assert "9c0d-2 is not pinned any more" in ctl(daemon, "unselect").stdout
    assert "No model was pinned" in ctl(daemon, "unselect").stdout
    assert "pinned" not in ctl(daemon, "status").stdout


# --- reload ---

def change(daemon, text):
    replace_file(daemon.service.conf, text)
    return ctl(daemon, "reload")


def test_reload_says_what_changed(daemon):
    done = change(daemon, 'polling: { interval = 90; };\nlocal: { port = 7001; };\n')
    assert done.returncode == 0
    assert [line.split() for line in done.stdout.splitlines() if "polling" in line] == [["polling.interval", "60", "90"]]
    assert "local.port" not in done.stdout
    done = ctl(daemon, "reload")
    assert "Configuration refreshed successfully" in done.stdout and "changed       nothing" in done.stdout


def test_reload_never_shows_a_secret(daemon):
    daemon.service.secrets += ["hush-one", "hush-two"]
    expected = [('cloud: { token = "hush-one"; };', ["unset", "set"]),
                ('cloud: { token = "hush-two"; };', ["set", "set", "to", "another", "one"]), ("", ["set", "unset"])]
    for text, words in expected:
        done = change(daemon, text)
        assert [line.split()[1:] for line in done.stdout.splitlines() if "cloud.token" in line] == [words], done.stdout
    for form in ((), ("--json",)):
        assert "hush" not in ctl(daemon, *form, "reload").stdout


def test_reload_says_what_needs_a_restart(daemon):
    done = change(daemon, 'log: { target = "journal"; };')
    assert done.returncode == RESTART and "restart       log.target" in done.stdout
    assert ctl(daemon, "reload").returncode == RESTART, "it still does"
    done = change(daemon, "")
    assert done.returncode == 0 and "restart  " not in done.stdout


def test_reload_shows_every_error_on_stderr(daemon):
    done = change(daemon, "health: { interval = \"x\"; };\nlocal: { prot = 1; };\n")
    assert done.returncode == 1 and done.stdout == ""
    assert ":1: health.interval" in done.stderr and ":2: local.prot" in done.stderr and "stays in effect" in done.stderr
    answer = json.loads(ctl(daemon, "--json", "reload").stdout)
    assert answer["status"] == "error" and len(answer["errors"]) == 2


def test_reload_shows_warnings(daemon):
    done = change(daemon, 'health: { interval = 3; };\nthreads: { store = "memory:"; };\n')
    assert "below 10 seconds" in done.stdout
    daemon.service.sets.clear()


def test_reload_says_that_nothing_is_read(testbed):
    daemon = Daemon(testbed, conf="config: { dynamic = false; };\n")
    done = ctl(daemon, "reload")
    assert done.returncode == RESTART and "config.dynamic is false" in done.stdout


# --- the file is read when it is told to ---

def test_an_edit_takes_effect_only_when_it_is_told_to(testbed):
    volume = testbed.directory / "volume"
    daemon = Daemon(testbed, conf='polling: { interval = 60; };\n',
                    env={"INTERNAL_PERSISTENT_STORAGE_VOLUME": volume, "TAVILY_API_KEY": None})
    replace_file(daemon.service.conf, 'polling: { interval = 90; };\n')
    daemon.service.secrets.append("tvly-1")
    replace_file(volume / "backend_volume" / "user_config.env", "TAVILY_API_KEY=tvly-1\n")
    daemon.wait_log("config key=search.tavily_key")
    assert daemon.ask("config")["polling.interval"]["value"] == 60
    assert "polling.interval  60   90" in ctl(daemon, "reload").stdout


def test_a_watched_file_is_read_by_itself(testbed):
    conf = 'polling: { interval = %d; };\nconfig: { watch = true; };\n'
    daemon = Daemon(testbed, conf=conf % 60, env={"AGENT_CONFIG_REFRESH_INTERVAL": "0.2"})
    replace_file(daemon.service.conf, conf % 90)
    daemon.wait_log("config key=polling.interval old=60 new=90")

# SPDX-License-Identifier: Apache-2.0
"""tt-agentctl's commands that change something, and what they say."""

import json
import re
import subprocess

import pytest

from harness.daemon import Daemon, replace_file
from harness.http_client import Turn
from harness.process import BUILD, PATIENCE, clean_env

RESTART = 4


@pytest.fixture
def daemon(testbed):
    """Two models, and a file with two settings."""
    a, b = testbed.llm(), testbed.llm()
    backend = testbed.backend({"3f2b-1": a.deployment(), "9c0d-2": {**b.deployment("Qwen/Qwen3-8B"), "name": "tt-qwen"}})
    conf = 'polling: { interval = 60; };\nlocal: { port = 7001; };\n'
    daemon = Daemon(testbed, backend=backend, conf=conf).wait_current("3f2b-1").wait_health("9c0d-2", "healthy")
    daemon.service.backend = backend
    return daemon


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


# --- settings ---

def test_only_what_differs_from_the_defaults_is_shown_with_its_origin(testbed):
    daemon = Daemon(testbed, conf='polling: { interval = 60; };\nhealth: { interval = 30; };\n',
                    env={"CLOUD_CHAT_UI_AUTH_TOKEN": "hush-one", "AGENT_DISCOVERY_INTERVAL": "5"}, sets=["llm.top_p=0.7"])
    daemon.service.secrets.append("hush-one")
    shown = {line.split()[0]: line.split(None, 2)[1:] for line in ctl(daemon, "config", "--changed").stdout.splitlines()[1:]}
    assert shown["polling.interval"] == ["60", f"{daemon.service.conf}:1"]
    assert shown["discovery.interval"] == ["5", "environment AGENT_DISCOVERY_INTERVAL"]
    assert shown["llm.top_p"] == ["0.7", "command line"] and shown["cloud.token"] == ["(secret)", "environment CLOUD_CHAT_UI_AUTH_TOKEN"]
    assert "health.interval" not in shown and "polling.enabled" not in shown, "30 is its default"
    assert list(json.loads(ctl(daemon, "--json", "config", "--changed", "polling").stdout)) == ["polling.interval"]
    assert ctl(daemon, "config", "--changed", "code").stdout.splitlines()[1:] == []


def test_a_setting_is_explained(daemon):
    text = ctl(daemon, "config", "explain", "polling.interval").stdout
    lines = {line[:14].strip(): line[14:] for line in text.splitlines()}
    assert "Time between two attempts" in text and lines["value"] == f"60 s ({daemon.service.conf}:1)"
    assert lines["default"] == "180 s" and "0.05 to 86400" in lines["allowed"]
    assert lines["variable"] == "AGENT_LLM_POLLING_INTERVAL" and lines["in effect"] == "with tt-agentctl reload"
    assert "polling.max_attempts" in lines["see also"]
    same = ctl(daemon, "config", "explain", "AGENT_LLM_POLLING_INTERVAL").stdout
    assert same == text
    assert "with a restart" in ctl(daemon, "config", "explain", "log.target").stdout
    assert "cloud.url" in ctl(daemon, "config", "explain", "cloud.token").stdout
    explained = json.loads(ctl(daemon, "--json", "config", "explain", "search.bench").stdout)
    assert explained["setting"] == "search.cooldown" and explained["former_name"] == "search.bench" and explained["value"] == 60


def test_a_setting_is_explained_without_a_daemon(daemon):
    daemon.stop()
    done = ctl(daemon, "config", "explain", "llm.temperature")
    assert done.returncode == 0 and "not known: tt-agentd does not answer" in done.stdout


@pytest.mark.parametrize("name, words", [("polling.intervall", "did you mean polling.interval?"), ("pollng.interval", "did you mean polling?"),
                                         ("polling", "polling is a group of settings; in it are enabled, interval"), ("x", "no such setting")])
def test_a_setting_that_is_mistyped_is_suggested(daemon, name, words):
    done = ctl(daemon, "config", "explain", name)
    assert done.returncode == 2 and done.stdout == "" and words in done.stderr, done
    if name != "polling":
        done = ctl(daemon, "config", name)
        assert done.returncode == 2 and words in done.stderr, done


def test_numbers_are_printed_as_they_were_written(testbed):
    daemon = Daemon(testbed, conf="llm: { temperature = 0.7; top_p = 0.1; };\n", env={"AGENT_DISCOVERY_INTERVAL": "0.3"})
    for shown in (ctl(daemon, "config").stdout, ctl(daemon, "--json", "config").stdout, ctl(daemon, "config", "explain", "llm.temperature").stdout):
        assert "0.69999" not in shown and "0.7" in shown
    assert "0.1000" not in ctl(daemon, "config").stdout and "0.3" in ctl(daemon, "config", "discovery.interval").stdout


# --- drain ---

@pytest.mark.parametrize("name", ["3f2b-1", "3f", "Llama"])
def test_a_drained_model_gets_no_new_turns_until_it_is_undrained(daemon, name):
    assert daemon.current() == "3f2b-1"
    done = ctl(daemon, "drain", name)
    assert done.returncode == 0 and "3f2b-1 gets no new turns" in done.stdout, done
    assert daemon.current() == "9c0d-2"
    ctl(daemon, "refresh")
    assert daemon.current() == "9c0d-2", "a refresh does not end it"
    who = subprocess.run(["id", "-un"], capture_output=True, text=True).stdout.strip()
    assert f"drained by {who} " in ctl(daemon, "models").stdout
    assert f"drained       3f2b-1 (Llama-3.1-8B-Instruct), by {who} " in ctl(daemon, "status").stdout
    assert "was drained before" in ctl(daemon, "drain", name).stdout
    done = ctl(daemon, "select", "3f2b-1")
    assert done.returncode == 1 and "tt-agentctl undrain 3f2b-1" in done.stderr
    assert "3f2b-1 gets new turns again" in ctl(daemon, "undrain", name).stdout
    daemon.wait_current("3f2b-1")
    assert "drained" not in ctl(daemon, "status").stdout and "drained" not in daemon.status()
    assert "3f2b-1 was not drained" in ctl(daemon, "undrain", name).stdout
    log = daemon.log()
    assert f"INFO drained model=Llama-3.1-8B-Instruct deploy_id=3f2b-1 by={who}" in log and "INFO undrained" in log


def test_a_drain_outlives_the_daemon_and_the_deployment(daemon, testbed):
    ctl(daemon, "drain", "3f2b-1")
    before = daemon.status()["drained"]
    assert [d["name"] for d in before] == ["3f2b-1"] and list(daemon.status())[-2:] == ["drained", "generation"]
    for kill in (False, True):
        daemon.restart(kill=kill)
        assert daemon.status()["drained"] == before
        daemon.wait_health("3f2b-1", "healthy").wait_current("9c0d-2")
    backend = daemon.service.backend
    backend.script(deployed={"9c0d-2": testbed.others[1].deployment("Qwen/Qwen3-8B")})
    ctl(daemon, "refresh")
    assert "drained       3f2b-1, by " in ctl(daemon, "status").stdout
    assert "gets new turns again" in ctl(daemon, "undrain", "3f2b-1").stdout


def test_no_turn_goes_to_a_drained_model_even_if_none_is_left(testbed):
    service, llm = testbed.one()
    running = service.ask("[[" + json.dumps({"tokens": 40, "delay_us": 20000}) + "]]")
    llm.wait_request("/v1/chat/completions")
    done = service.ctl("drain", "d1")
    assert "no LLM is left for new ones" in done["message"] and done["new_model"] == "Unknown"
    assert "waiting for LLM" in service.chat("Hello").text
    turn = Turn(running)
    assert turn.whole and len(llm.chats()) == 1, "what runs ends"
    assert service.ctl("undrain", "d1")["status"] == "success"
    assert service.chat("Hello").whole


def test_a_configured_llm_is_drained_by_its_kind(testbed):
    llm = testbed.llm()
    daemon = Daemon(testbed, env={"LLM_CONTAINER_NAME": llm.host}).wait_current("container")
    assert "container gets no new turns" in ctl(daemon, "drain", "contai").stdout
    assert daemon.current() is None and [d["kind"] for d in daemon.status()["drained"]] == ["container"]
    assert "container gets new turns again" in ctl(daemon, "undrain", "container").stdout
    daemon.wait_current("container")


def test_draining_what_is_not_there_is_refused(daemon):
    done = ctl(daemon, "drain", "gpt")
    assert done.returncode == 1 and "gpt not found" in done.stderr and done.stdout == ""
    assert "gpt was not drained" in ctl(daemon, "undrain", "gpt").stdout


def test_a_drain_removes_the_pin(daemon):
    ctl(daemon, "select", "9c0d-2")
    ctl(daemon, "drain", "9c0d-2")
    assert daemon.current() == "3f2b-1" and daemon.status()["pinned"] is None
    daemon.wait_log('pin_removed deploy_id=9c0d-2 reason="the model is drained"')


def test_the_list_of_conversations_has_a_time_zone(testbed):
    service, _ = testbed.one()
    assert service.chat("Hello", "12345678-z").whole
    done = subprocess.run([str(BUILD / "tt-agentctl"), "--run-dir", str(service.run), "threads", "list"], text=True, capture_output=True,
                          env={**clean_env(), "TZ": "XYZ-05:30"}, timeout=20 * PATIENCE)
    assert re.search(r"12345678-z .* \d{4}-\d\d-\d\d \d\d:\d\d:\d\d \+0530", done.stdout), done

# SPDX-License-Identifier: Apache-2.0
"""tt-agentctl top: pages, and the screen under tmux."""

import json
import os
import re
import signal
import subprocess

import pytest
from harness.http_client import Turn
from harness.process import BUILD, WRAP, clean_env, wait_until
from harness.tmux import AVAILABLE, Tmux

needs_tmux = pytest.mark.skipif(not AVAILABLE or bool(WRAP), reason="tmux is missing, or valgrind is too slow for it")
SLOW = "[[" + json.dumps({"tokens": 300, "token": "w# ", "numbered": True, "delay_us": 10000}) + "]]"


def command(service, *arguments):
    return [BUILD / "tt-agentctl", "--run-dir", service.run, "top", *arguments]


def many(testbed, count):
    llm = testbed.llm()
    backend = testbed.backend({f"d{n}": llm.deployment(f"Model-{n}", name=f"c-{n}") for n in range(count)})
    service = testbed.service(backend=backend).wait_ready()
    service.wait_status(lambda s: s["discovery_summary"]["healthy"] == count, "all are healthy", 30)
    return service


def test_pages_for_scripts(testbed):
    service, _ = testbed.one()
    exchange = service.ask(SLOW)
    exchange.head()
    done = subprocess.run(command(service, "-b", "-n", "3", "-d", "0.5"), capture_output=True, text=True, env=clean_env())
    assert done.returncode == 0 and done.stderr == ""
    assert len(re.findall("^tt-agent ", done.stdout, re.M)) == 3
    last = done.stdout[done.stdout.rindex("tt-agent "):]
    assert "ready: Llama-3.1-8B-Instruct" in last and "turns   1 running" in last
    row = re.search(r"^\* Llama\S+ +healthy +(\d+) +([0-9.]+) +([0-9]+/[0-9]+ms) +0 ", last, re.M)
    assert row and row[1] == "1" and float(row[2]) > 10, last
    assert re.search(r"selected +Llama", last) and all(len(line) <= 80 for line in done.stdout.split("\n"))
    assert Turn(exchange).whole
    wide = subprocess.run(command(service, "-b", "-n", "1"), capture_output=True, text=True,
                          env=clean_env({"COLUMNS": "150", "LC_ALL": "C"}))
    assert re.search(r" d1 .* H+$", wide.stdout, re.M), wide.stdout  # letters, as the locale is not UTF-8
    live = json.loads(subprocess.run([*command(service, "-n", "1")[:3], "--json", "top", "-n", "1"],
                                     capture_output=True, text=True, env=clean_env()).stdout)
    assert live["stale"] is False and live["live"]["turns"]["complete"] == 1


def test_pages_of_a_directory_without_a_daemon(testbed):
    nothing = testbed.service(start=False)
    done = subprocess.run(command(nothing, "-b", "-n", "1"), capture_output=True, text=True, env=clean_env())
    assert done.returncode == 3 and "has not published anything" in done.stdout and "status.v3" in done.stdout


@needs_tmux
@pytest.mark.parametrize("width, height", [(80, 24), (200, 50)])
def test_a_thousand_models_on_a_terminal(testbed, width, height):
    service = many(testbed, 1000)
    terminal = Tmux(testbed, command(service, "-d", "0.2"), width, height)
    terminal.wait("ready: Model-0")
    terminal.wait("q quit")  # the last line: the page is whole
    lines = terminal.screen()
    assert len(lines) == height and all(len(line) <= width for line in lines)
    assert terminal.flag("alternate_on") == "1" and terminal.flag("cursor_flag") == "0"
    rows = [line for line in lines if re.search(r" healthy ", line) and "Model-" in line]
    assert len(rows) == {24: 11, 50: 32}[height] and "▇" in rows[0], lines
    terminal.keys("O")
    terminal.wait(r"by order")
    terminal.keys("NPage")
    terminal.wait(rf"{len(rows) + 1}-{2 * len(rows)} of 1001")
    terminal.wait(f"Model-{len(rows)} ")
    terminal.keys("End")
    terminal.wait("1001 of 1001")
    terminal.keys("Home", "M")
    terminal.wait(r"by model +1-")
    terminal.keys("r")
    terminal.wait("by model \\(reversed\\)")
    terminal.wait("Model-999 ")
    terminal.keys("?")
    terminal.wait("q quits")
    terminal.keys("h", "q")
    wait_until(lambda: terminal.flag("alternate_on") == "0", "the terminal is as before")
    assert terminal.flag("cursor_flag") == "1"


@needs_tmux
def test_a_terminal_that_changes_its_size(testbed):
    service, _ = testbed.one()
    terminal = Tmux(testbed, command(service, "-d", "0.2"), 80, 24)
    terminal.wait("HISTORY")
    for width, height in ((120, 40), (30, 8), (5, 2), (200, 50), (80, 24)):
        terminal.resize(width, height)
        wait_until(lambda: len(terminal.screen()) == height, "the new size")
        if width >= 80:
            terminal.wait("HISTORY")
            wait_until(lambda: "q quit" in terminal.screen()[-1], "the last line")
    terminal.resize(130, 30)
    terminal.wait(" ID ")


@needs_tmux
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGSEGV, signal.SIGABRT])
def test_the_terminal_is_restored_after_a_signal(testbed, number):
    service = testbed.service(start=False)
    terminal = Tmux(testbed, None, 80, 24)
    terminal.type("stty -a | cksum")
    terminal.wait(r"^\d+ \d+$")
    terminal.type(" ".join(str(c) for c in command(service)))
    terminal.wait("has not published anything")
    os.kill(terminal.pid("tt-agentctl"), number)
    wait_until(lambda: terminal.flag("alternate_on") == "0", "the end of the screen")
    terminal.type("echo ended $?; stty -a | cksum")
    terminal.wait(rf"ended {128 + number}")
    assert terminal.flag("cursor_flag") == "1"
    sums = lambda: [line for line in terminal.screen() if re.match(r"^\d+ \d+$", line)]
    wait_until(lambda: len(sums()) == 2, "both sums")
    assert sums()[0] == sums()[1]


@needs_tmux
def test_a_daemon_that_dies_and_comes_back(testbed):
    service, _ = testbed.one()
    terminal = Tmux(testbed, command(service, "-d", "0.2"), 100, 24)
    terminal.wait("ready: Llama")
    service.daemon.kill()
    terminal.wait("STALE for .* no sign of life", 20)
    page = subprocess.run(command(service, "-b", "-n", "1"), capture_output=True, text=True, env=clean_env())
    assert page.returncode == 0 and "STALE for" in page.stdout and "Llama" in page.stdout
    service.start_daemon()
    lines = terminal.wait("^tt-agent [0-9:]+ +ready: Llama", 20)
    terminal.wait("started .* the one before was killed")
    assert lines


@needs_tmux
def test_terminals_that_are_no_screen(testbed):
    service, _ = testbed.one()
    dumb = Tmux(testbed, ["env", "TERM=dumb", *command(service, "-n", "2", "-d", "0.1")], 80, 50)
    wait_until(lambda: sum("tt-agent " in line and "ready" in line for line in dumb.screen()) == 2, "two pages")
    odd = Tmux(testbed, ["env", "TERM=no-such-terminal", *command(service)], 80, 24)
    odd.wait("TERM=no-such-terminal is not known here: use --batch")

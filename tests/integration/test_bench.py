# SPDX-License-Identifier: Apache-2.0
"""tests/bench/run, and what it writes to doc/performance.md."""

import json
import re
import shutil
import signal
import subprocess
import xml.etree.ElementTree as ElementTree

import pytest

from harness.process import BUILD, PATIENCE, SOURCE, Process, processes_of, wait_until

RUN = SOURCE / "tests" / "bench" / "run"
DOCUMENT = SOURCE / "doc" / "performance.md"
SIDES = ["LLM alone", "nginx", "tt-agent", "its /v1", "other"]
CROWD = [f"ttft100.{pause}.median" for pause in ("0", "0.2", "1.5", "5")]


def table(columns, **rows):
    return {"title": "", "columns": [str(c) for c in columns], "seconds": 1, "others_cores": 0.5, "rounds": 5,
            "rows": [{"key": key, "what": f"what {key} is", "unit": "us", "values": values, "note": ""} for key, values in rows.items()]}


SAMPLE = {
    "about": {"machine": "2 x Sample", "date": "2026-01-02", "revision": "v1"},
    "tables": {
        "gateway-latency": table(SIDES, **{key: [1.25, 2, 3, 4, 5] for key in [*CROWD, "way1", "way100", "way100.batch"]}),
        "gateway-load": table(SIDES, **{"chats": [16000, 15700, 8200, 9500, 8600], "chat.cpu.all": [None, 49, 124, 110, 125],
                                        "token.cpu.all": [None, 12, 22, 21, 20]}),
        "streams": table((10, 1000, 10000), **{"memory.agent": [None, 17, 16], "memory.proxy": [None, 17, 16.5],
                                               "memory.all.agent": [None, 30, 27], "ttft.p99.agent": [0.4, 3, 12]}),
        "turns": table((0, 10, 200), **{"cpu.memory": [50, 55, 120], "cpu.SQLite": [63, 70, 150]}),
        "workers": table((1, 2, 4), chats=[8000, 9500, 9300]),
        "models": table((1, 1000), refresh=[22, 60], memory=[3, 9], responder=[6, 7]),
        "threads": table((1, 1000000), append=[20, 45], load=[9, 22]),
    },
}


def run(*arguments, **more):
    return subprocess.run([RUN, *map(str, arguments)], capture_output=True, text=True, timeout=1200 * PATIENCE, **more)


def known_measurements():
    return set(re.findall(r"^  ([a-z-]+)  +\S", run("--help").stdout.split("WHAT is any of these")[1].split("They need")[0], re.M))


def test_the_document_names_what_there_is():
    text, usage, known = DOCUMENT.read_text(), run("--help").stdout, known_measurements()
    for target in re.findall(r"\]\(([^)#]+)", text):
        assert target.startswith("https://") or (DOCUMENT.parent / target).is_file(), target
    for path in re.findall(r"`((?:tests|deploy|doc)/[\w./-]+)", text):
        assert (SOURCE / path).exists(), path
    for words in re.findall(r"`tests/bench/run ([^`]*)`", text):
        for word in words.split():
            assert word in known or (word.startswith("--") and word in usage), word
    marked = re.findall(r"<!-- bench (\S+) -->", text)
    assert len(marked) >= 8 and set(marked) <= known
    assert text.count("<!-- end -->") == len(marked)


def test_plots_are_small_the_same_every_time_and_readable(tmp_path):
    sample = tmp_path / "figures.json"
    sample.write_text(json.dumps(SAMPLE))
    drawn = [run("--from", sample, "--plots", tmp_path / name) for name in ("one", "other")]
    assert [d.returncode for d in drawn] == [0, 0], drawn[0].stderr
    files = sorted((tmp_path / "one").iterdir())
    assert len(files) == 11 and {str(f) for f in files} == set(drawn[0].stdout.split())
    for file in files:
        svg = file.read_text()
        assert len(svg) < 60 << 10 and svg == (tmp_path / "other" / file.name).read_text(), file
        ElementTree.fromstring(svg)
        assert "prefers-color-scheme: dark" in svg and not re.search(r"20\d\d-\d\d-\d\d|<metadata>", svg), file
    memory = re.findall(r"<text[^>]*>([^<]*)</text>", (tmp_path / "one" / "streams-memory.svg").read_text())
    assert {"Memory of each stream", "KiB", "streams at once", "10,000", "tt-agent 16", "nginx 16.5", "tt-agent and nginx 27"} <= set(memory)
    cpu = re.findall(r"<text[^>]*>([^<]*)</text>", (tmp_path / "one" / "gateway-cpu.svg").read_text())
    assert {"a short chat", "other", "125"} <= set(cpu)


def test_the_document_is_filled_between_its_markers(tmp_path):
    tree = tmp_path / "tree"
    for directory in "tests/bench", "tests/integration/harness", "core/status", "doc":
        shutil.copytree(SOURCE / directory, tree / directory, ignore=shutil.ignore_patterns("__pycache__", "*.c", "*.h"))
    sample = tmp_path / "figures.json"
    sample.write_text(json.dumps(SAMPLE))
    done = subprocess.run([tree / "tests/bench/run", "--from", sample, "--performance"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    text = (tree / "doc/performance.md").read_text()
    block = re.search(r"<!-- bench workers -->\n(.*?)<!-- end -->", text, re.S)[1]
    assert "![Whole short chats of 32 clients](performance/workers.svg)" in block and (tree / "doc/performance/workers.svg").is_file()
    assert "| what chats is | 8,000 | 9,500 | 9,300 | us |" in block
    assert "`tests/bench/run workers`, 2026-01-02, 2 x Sample; v1, 5 rounds in 1 s, of which other processes used 0.50 cores." in block
    outside = lambda t: re.sub(r"(<!-- bench \S+ -->).*?(<!-- end -->)", r"\1\2", t, flags=re.S)
    assert outside(text) == outside(DOCUMENT.read_text())


@pytest.mark.parametrize("arguments, reason", [
    (["nothing"], "no such measurement: nothing (there are: gateway-latency,"),
    (["--peer", "other"], "--peer other: must be NAME=http://ADDRESS:PORT/v1"),
    (["--peer", "nginx=http://127.0.0.1:1/v1,what=1"], "must be NAME=http://"),
    (["--peer-command", "other=true"], "with the NAME of a --peer"),
    (["--from", "x.json", "chats"], "--from takes --plots or --performance"),
    (["--build", "/nonexistent"], "/nonexistent/tt-agentd is missing"),
])
def test_refuses_what_it_cannot_do(arguments, reason):
    done = run(*arguments)
    assert done.returncode != 0 and reason in done.stderr, done


def test_a_peer_that_does_not_answer_is_an_error():
    done = run("--build", BUILD, "--quick", "gateway-load", "--peer", "other=http://127.0.0.1:{port}/v1",
               "--peer-command", "other=sh -c 'echo no such thing >&2; exit 3'")
    assert done.returncode != 0 and "ended with status 3: no such thing" in done.stderr, done


def left(directory):
    """What has to do with a run that had this directory for temporary files."""
    return [*directory.iterdir(), *processes_of(directory)]


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_leaves_nothing_behind(testbed, tmp_path, sent):
    bench = testbed.own(Process("bench", [RUN, "--build", BUILD, "--quick", "streams"], testbed.directory,
                                env={"TMPDIR": tmp_path}))
    wait_until(lambda: any("bench-load" in str(p) or "nginx.conf" in str(p) for p in left(tmp_path)), "it runs", 30)
    bench.expected_exit = {1}
    assert bench.stop(sent) == 1
    assert "interrupted" in bench.log() and left(tmp_path) == []


@pytest.mark.long
def test_measures_everything_and_another_gateway(tmp_path):
    """The other gateway is an LLM mock of its own."""
    figures = tmp_path / "figures.json"
    done = run("--build", BUILD, "--quick", "--json", figures, "--plots", tmp_path / "plots", "--peer", "mock=http://127.0.0.1:{port}/v1,model=m",
               "--peer-command", f"mock={BUILD}/llm-mock --port {{port}}", env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "TMPDIR": str(tmp_path)})
    assert done.returncode == 0 and "  ! " not in done.stdout, done.stdout + done.stderr
    tables = json.loads(figures.read_text())["tables"]
    assert {t["measurement"] for t in tables.values()} == known_measurements()
    for name in "gateway-latency", "gateway-load":
        errors = [row for row in tables[name]["rows"] if row["key"] == "errors"][0]
        assert tables[name]["columns"][-1] == "mock" and errors["values"] == [0] * 5
    assert not list(tmp_path.glob("tt-agent-bench.*"))

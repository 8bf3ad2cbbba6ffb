# SPDX-License-Identifier: Apache-2.0
"""GET /metrics: the numbers are right, nothing is lost, and it answers when nothing else does."""

import concurrent.futures
import json
import os
import resource
import signal
import subprocess

import httpx
import pytest

from harness import fastcgi
from harness.metrics import OPENMETRICS, Metrics, goes_up, promtool, scrape
from harness.process import BUILD, WRAP, wait_until
from harness.tool_mocks import SEARCH, call, calls, rounds, search, search_env

MODEL = "Llama-3.1-8B-Instruct"
RARE = {"AGENT_HEALTH_CHECK_INTERVAL": "600", "AGENT_DISCOVERY_INTERVAL": "600"}


def counted(service, condition):
    """The metrics, as soon as condition(they) holds."""

    def look():
        metrics = scrape(service)
        return metrics if condition(metrics) else None

    return wait_until(look, "the metrics", 20)


# ---- numbers ----------------------------------------------------------------------------------


def test_ten_turns_are_counted_exactly(testbed):
    service, llm = testbed.one({"tokens": 7}, workers=2)
    before = scrape(service)
    assert before.value("turns_started_total") == 0 and before.value("ready") == 1
    for _ in range(10):
        assert service.chat("[plain]").whole
    m = scrape(service)
    assert m.value("turns_total", outcome="complete") == m.value("turns_started_total") == 10
    for outcome in ("broken", "cancelled", "refused", "waiting"):
        assert m.value("turns_total", outcome=outcome) == 0
    assert len(llm.chats()) == 10
    assert m.value("attempts_total", model=MODEL, result="complete") == 10 == m.sum("attempts_total")
    assert m.value("output_tokens_total", model=MODEL) == 70
    assert m.value("time_to_first_token_seconds_count", model=MODEL) == 10
    assert m.value("inter_token_seconds_count", model=MODEL) == 60
    assert m.value("turn_duration_seconds_count", model=MODEL) == 10
    for name in ("time_to_first_token", "inter_token", "turn_duration"):
        inf = m.value(f"{name}_seconds_bucket", model=MODEL, le="+Inf")
        assert inf == m.value(f"{name}_seconds_count", model=MODEL)
    assert m.value("input_tokens_total", model=MODEL) > 0
    assert m.value("requests_total", endpoint="/poll_requests", code="2xx") == 10
    assert m.value("requests_total", endpoint="/metrics", code="2xx") == 1  # the one before
    assert m.value("streams", model=MODEL) == m.value("turns_active") == m.value("turns_queued") == 0
    assert m.value("store_info", kind="sqlite") == 1
    wait_until(lambda: scrape(service).value("threads") == 10, "10 threads in the database")
    assert m.value("llm_up", model=MODEL, deploy_id="d1", kind="discovered") == 1
    assert m.value("llms", kind="discovered", health="healthy") == 1
    for process in ("agentd", "worker.0", "worker.1"):
        assert m.value("process_resident_memory_bytes", process=process) > 1e6
        assert m.value("process_open_fds", process=process) > 5
        assert m.value("process_start_time_seconds", process=process) > 1.7e9
        assert m.value("process_cpu_seconds_total", process=process) >= 0
    assert goes_up(before, m)


@pytest.fixture(scope="module")
def lively(shared):
    """A service that has seen turns with tools, failover, a continued answer, one that broke off, a client that left."""
    mock = search(shared)
    script = {"token": "w# ", "numbered": True, "tokens": 20}
    a, b = shared.llm(**script), shared.llm(**script)
    backend = shared.backend({"d1": a.deployment('Pre"ferred\\'), "d2": {**b.deployment("Other"), "name": "c-d2"}})
    service = shared.service(backend=backend, env={"AGENT_PRIORITY_MODELS": 'Pre"ferred\\', **search_env(mock), **RARE}).wait_ready()
    known = lambda: all(m["context_length"] for m in service.ctl("models")["models"] if m["kind"] == "discovered")
    wait_until(known, "what both LLMs tell of themselves", 20)
    service.ctl("select", "d1")

    def chat(message="tell me", **knobs):
        a.script(**script, **knobs)
        return service.chat(message)

    assert chat().whole
    assert chat(rounds(calls(call(SEARCH, query="one")), tokens=3)).whole
    mock.script(all={"status": 500})
    assert chat(rounds(calls(call(SEARCH, query="two")), tokens=3)).whole
    assert chat(cut_after=5).text == "".join(f"w{n} " for n in range(20))
    b.script(**script, cut_after=9)
    assert "broke off" in chat(cut_after=5).text
    for llm in (a, b):
        llm.script(**script, stall_after=3)
    leaves = service.ask("tell me")
    leaves.head()
    leaves.close()
    metrics = counted(service, lambda m: m.value("turns_total", outcome="cancelled") == 1)
    for llm in (a, b):
        llm.script(**script)
    return service, metrics


def test_everything_that_happens_is_counted(lively):
    service, m = lively
    assert m.value("turns_total", outcome="complete") == 4 and m.value("turns_total", outcome="broken") == 1
    assert m.value("tool_calls_total", tool=SEARCH, outcome="ok") == 1
    assert m.value("tool_calls_total", tool=SEARCH, outcome="failed") == 1
    assert m.value("tool_duration_seconds_count", tool=SEARCH) == 2
    assert m.value("answers_continued_total") == 2 and m.value("answers_broken_off_total") == 1
    assert m.value("failovers_total") == 2
    # The model that failed is tried last the next time.
    assert m.value("attempts_total", model='Pre"ferred\\', result="cut") == 2
    assert m.value("attempts_total", model="Other", result="cut") == 1
    assert m.value("attempts_total", model='Pre"ferred\\', result="complete") == 1 + 2 + 2
    assert m.value("attempts_total", model="Other", result="complete") == 1
    assert m.sum("attempts_total", result="cancelled") == 1
    assert m.sum("attempts_total") == 10
    assert m.sum("turn_duration_seconds_count") == m.value("turns_started_total") == 6


@pytest.mark.parametrize("accept", ["", OPENMETRICS])
def test_the_page_is_as_parsers_and_promtool_want_it(lively, accept):
    service, _ = lively
    m = scrape(service, accept)
    assert len(m.families) > 30
    if not accept:
        problems = promtool("check", "metrics", text=m.text)
        assert not problems, problems


def test_both_formats_have_the_same_samples(lively):
    service, _ = lively
    counters = ["tt_agent_turns_total", "tt_agent_attempts_total", "tt_agent_inter_token_seconds_bucket"]
    of = lambda m: {k: v for k, v in m.samples.items() if k[0] in counters}
    assert of(scrape(service)) == of(scrape(service, OPENMETRICS)) != {}


def test_the_admin_tool_prints_the_same(lively):
    service, _ = lively
    done = service.ctl("metrics", ok=False)
    assert done.returncode == 0 and not done.stderr
    of = lambda m: {k: v for k, v in m.counters().items() if "requests" not in k[0]}
    assert of(Metrics(done.stdout)) == of(scrape(service))
    assert Metrics(done.stdout).samples.keys() == scrape(service).samples.keys()


def test_the_admin_tool_says_why_it_cannot_read_them(tmp_path):
    done = subprocess.run([BUILD / "tt-agentctl", "--run-dir", tmp_path / "none", "metrics"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 3 and not done.stdout and str(tmp_path / "none") in done.stderr


# ---- who may read it ----------------------------------------------------------------------------


@pytest.mark.parametrize("admin, status", [("1", 200), ("metrics", 200), ("", 403), ("0", 403), ("metrics1", 403)])
def test_the_web_server_says_who_may_read_it(lively, admin, status):
    service, _ = lively
    head, body = fastcgi.ask(service.socket, "GET", "/agent/metrics/", TT_AGENT_ADMIN=admin)
    assert (f"Status: {status}" in head) == (status != 200)
    if status == 403:
        assert "TT_AGENT_ADMIN=metrics" in json.loads(body)["detail"]


def test_who_may_read_it_may_do_nothing_else(lively):
    service, _ = lively
    for method, path in (("POST", "/refresh"), ("POST", "/refresh_config"), ("GET", "/test_llm"), ("POST", "/select_model")):
        head, _ = fastcgi.ask(service.socket, method, path, TT_AGENT_ADMIN="metrics")
        assert "Status: 403" in head


def test_it_tells_nothing_about_hosts(lively):
    service, _ = lively
    text = scrape(service).text
    assert "127.0.0.1" not in text and "localhost" not in text and "http:" not in text


@pytest.mark.parametrize("server", ["nginx", "lighttpd", "apache"])
def test_it_is_served_like_the_other_endpoints(lively, server):
    service, _ = lively
    url = f"http://{service.host_of(server)}/agent/metrics"
    with httpx.Client(verify=False, trust_env=False) as client:
        x = client.get(url)
        assert x.status_code == 200 and x.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert "tt_agent_ready 1" in x.text
        x = client.head(url)
        assert x.status_code == 200 and x.content == b""
        x = client.post(url)
        assert x.status_code == 405 and x.headers["allow"] == "GET, HEAD"
        assert client.get(url, headers={"Origin": "http://evil.example"}).status_code == 403
        x = client.get(url, headers={"Accept": OPENMETRICS})
        assert x.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
        assert x.text.endswith("# EOF\n")


# ---- what it must survive --------------------------------------------------------------------------


def test_made_up_names_add_no_series(lively):
    service, _ = lively
    before = scrape(service)
    for n in range(1000):
        body = json.dumps({"message": "", "thread_id": f"thread-{n}", "model": f"model-{n}", "tool": f"t{n}"}).encode()
        fastcgi.ask(service.socket, "POST", "/select_model", json.dumps({"deploy_id": f"d-{n}"}).encode())
        fastcgi.ask(service.socket, "GET", f"/path-{n}", HTTP_HOST=f"host-{n}", HTTP_USER_AGENT=f"agent-{n}")
        fastcgi.ask(service.socket, "POST", f"/poll_requests-{n}", body)
    for n in range(20):
        service.chat(json.dumps({"model": f"model-{n}"}), f"thread-{n}", path=f"/poll_requests?model=m{n}")
    after = scrape(service)
    new = {key for key in after.samples if key not in before.samples}
    assert {labels for _, labels in new} <= {(("code", f"{n}xx"), ("endpoint", e)) for n in range(2, 6) for e in ("other", "/select_model")}
    assert after.value("requests_total", endpoint="other", code="4xx") >= 2000
    assert goes_up(before, after)


MADE_UP = [
    ("POST", "/poll_requests", '{"message": "", "thread_id": "thread-%d", "model": "model-%d"}'),
    ("POST", "/v1/chat/completions", '{"model": "thread-%d-model-%d", "messages": [{"role": "user", "content": "x"}]}'),
    ("POST", "/select_model", '{"deploy_id": "thread-%d-%d"}'),
    ("GET", "/v1/models/thread-%d-%d", ""),
    ("GET", "/nothing-%d-%d", ""),
]


@pytest.mark.parametrize("count", [2000, pytest.param(1_000_000, marks=pytest.mark.long)])
def test_no_name_of_a_client_becomes_a_series(testbed, count):
    """Of models, threads, ids, paths: each of `count` requests has two that nobody used before."""
    service, _ = testbed.one(sets=["http.api=true"], workers=2)

    def ask(first, last):
        with fastcgi.connect(service.socket, 60) as s:
            for n in range(first, last):
                method, path, body = MADE_UP[n % len(MADE_UP)]
                fill = lambda text: text % (n, n) if "%d" in text else text
                s.sendall(fastcgi.request(method, fill(path), fill(body).encode(), keep=True, HTTP_HOST=f"host-{n}"))
                fastcgi.read_answer(s)

    ask(0, 50)
    before = scrape(service)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(ask, 50 + n * count // 4, 50 + (n + 1) * count // 4) for n in range(4)]:
            done.result()
    after = scrape(service)
    assert after.samples.keys() == before.samples.keys()
    assert after.sum("requests_total") - before.sum("requests_total") == count + 1


def test_models_without_end_become_other(testbed):
    """The backend may deploy what it wants to."""
    llm = testbed.llm()
    backend = testbed.backend({"d0": llm.deployment("model-0")})
    service = testbed.service(backend=backend, env={**RARE, "AGENT_DISCOVERY_CACHE_TTL": "0"}).wait_ready()
    for n in range(1, 40):
        backend.deploy(d0=llm.deployment(f"model-{n}"))
        assert service.http.post("/refresh").json()["status"] == "success"
        assert service.chat("[plain]").whole
    m = scrape(service)
    assert m.value("turn_duration_seconds_count", model="model-1") == 1
    assert m.value("turn_duration_seconds_count", model="other") == 39 - 31
    assert m.sum("turn_duration_seconds_count") == 39


def test_no_counter_goes_down(testbed):
    """While workers die, the service reloads, and the daemon is restarted."""
    service, llm = testbed.one(workers=2)
    seen = scrape(service)

    def check(what):
        nonlocal seen
        for _ in range(4):
            assert service.chat("[plain]").whole, what
        now = scrape(service)
        assert goes_up(seen, now), what
        seen = now

    check("before")
    for pid in service.worker_pids():
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: len(service.worker_pids()) == 2, "new workers")
    check("after the workers' death")
    service.responder.send(signal.SIGHUP)
    service.responder.wait_log("old_workers_draining")
    check("after a reload")
    service.ctl("reload")
    check("after a reload of the configuration")
    service.daemon.stop()
    check("without the daemon")
    service.start_daemon()
    wait_until(service.takes_commands, "the next daemon")
    check("with the next daemon")
    assert seen.value("turns_total", outcome="complete") == 24
    assert seen.value("output_tokens_total", model=MODEL) == seen.value("inter_token_seconds_count", model=MODEL) + 24


@pytest.mark.skipif(bool(WRAP), reason="valgrind takes descriptors of its own")
def test_it_answers_when_all_workers_are_full_and_the_daemon_is_dead(testbed):
    a = testbed.llm()
    backend = testbed.backend({"d1": a.deployment()})
    service = testbed.service(backend=backend, env=RARE, workers=2, responder_limits={resource.RLIMIT_NOFILE: 96}).wait_ready()
    most = int(service.responder.wait_log(r"turns_max=(\d+)")[1])
    a.script(stall_after=2)
    body = b'{"message":"[plain]","thread_id":"metrics"}'
    running = []
    while scrape(service).value("turns_active") < 2 * most:
        assert len(running) < 20 * most
        running.append(testbed.client(fastcgi.connect(service.socket)))
        running[-1].sendall(fastcgi.request("POST", "/poll_requests", body))
        assert running[-1].recv(65536), "a word, or that there is no room in this worker"
    refused = scrape(service).value("turns_total", outcome="refused")
    service.daemon.kill()
    m = counted(service, lambda m: m.value("daemon_up") == 0)
    assert m.value("turns_active") == m.value("streams", model=MODEL) == 2 * most
    assert m.value("process_resident_memory_bytes", process="agentd") is None
    assert m.value("llm_up", model=MODEL, deploy_id="d1", kind="discovered") == 1  # as it was last known
    assert service.chat("[plain]").text.startswith("The agent is answering as many chats as it can")
    assert scrape(service).value("turns_total", outcome="refused") == refused + 1


def test_it_answers_before_anything_was_published(testbed):
    service = testbed.service(start=False)
    service.start_responder()
    service.responder.wait_log("worker_started")
    m = scrape(service)
    assert m.value("ready") == m.value("daemon_up") == 0
    assert m.value("process_open_fds", process="worker.0") > 5


def test_turns_that_wait_are_counted(testbed):
    service = testbed.service(sets=["polling.hold=30"])
    waits = service.ask("hello")
    counted(service, lambda m: m.value("turns_queued") == 1)
    waits.close()
    m = counted(service, lambda m: m.value("turns_queued") == 0)
    assert m.value("turns_total", outcome="cancelled") == 1


def test_turns_without_a_model_are_counted(testbed):
    service = testbed.service()
    service.chat("hello")
    assert scrape(service).value("turns_total", outcome="waiting") == 1

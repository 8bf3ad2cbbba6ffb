# SPDX-License-Identifier: Apache-2.0
"""Two hosts, each in a network of its own, behind one nginx with the files of deploy/nginx."""

import json
import os
import re
import threading
import time

import httpx
import pytest

from harness.http_client import Exchange, Turn
from harness.llm_script import said, words
from harness.networks import FrontOfHosts, Network, Redis
from harness.process import WRAP, wait_until

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root can make networks")

# A host that vanished is noticed soon.
KERNEL = {"tcp_keepalive_time": 1, "tcp_keepalive_intvl": 1, "tcp_keepalive_probes": 2}


@pytest.fixture
def network():
    n = Network()
    yield n
    n.close()


class Hosts:
    """a and b behind .front: where a request goes that is sent there, one of them decides."""

    def __init__(self, network, testbed, *settings, **more):
        self.testbed = testbed
        self.llm = testbed.llm("--address", "0.0.0.0")
        self.places = [network.host() for _ in range(2)]
        self.services = [self._service(place, settings, more) for place in self.places]
        self.front = testbed.keep(FrontOfHosts(testbed, [f"{p.address}:8080" for p in self.places]))
        for service in self.services:
            service.wait_ready()
        self.a, self.b = self.services

    def _service(self, place, settings, more):
        llm = {"LOCAL_LLM_HOST": Network.ADDRESS, "LOCAL_LLM_PORT": str(self.llm.port)}
        sets = [f"hosts.name=host-{place.address}", *(s.format(directory=self.testbed.directory) for s in settings)]
        return self.testbed.service(env=llm, sets=sets, before=place.before, listen=f"{place.address}:8080", **more)

    def ask(self, message, thread_id=None, **more):
        return self.a.ask(message, thread_id, host=self.front.root, **more)

    def kill(self, service):
        for process in service.nginx.process, service.responder, service.daemon:
            process.kill()


@pytest.fixture
def hosts(network, testbed):
    return Hosts(network, testbed)


class Streams:
    """Answers of the front that are read as they come, all of which have begun."""

    def __init__(self, hosts, count, message):
        exchanges = [hosts.ask(message) for _ in range(count)]
        for e in exchanges:
            e.head()
        self.turns = [None] * count
        self.threads = [threading.Thread(target=self._read, args=(n, e)) for n, e in enumerate(exchanges)]
        for t in self.threads:
            t.start()

    def _read(self, n, exchange):
        self.turns[n] = Turn(exchange)

    def ended(self):
        for t in self.threads:
            t.join()
        return self.turns


def complete(turn):
    """A proxy in front may put the statistics and what was before them into one chunk."""
    return not turn.cut and re.search(r"\[STATS\]\{[^{}]*\}$", turn.body) is not None


def active(service):
    return service.ctl("status")["counters"]["active_turns"]


def judged(turns, count):
    """(whole, cut): none ends as if it were whole and is not."""
    whole = [t for t in turns if complete(t)]
    for t in turns:
        assert t.status == 200
        assert complete(t) or t.cut, (t.chunks[-2:], "ended cleanly, but is not whole")
        assert said(count).startswith(t.text.strip("\n")) or complete(t), t.text
    for t in whole:
        assert t.text == said(count)
    return len(whole), len(turns) - len(whole)


def test_both_hosts_answer(hosts):
    for n in range(10):
        assert complete(Turn(hosts.ask(words(3))))
    for service in hosts.services:
        assert service.ctl("status")["counters"]["turns"] > 0


def test_the_request_id_is_the_same_everywhere(hosts):
    turn = Turn(hosts.ask(words(3), headers={"X-Request-Id": "from-the-client"}))
    assert complete(turn) and turn.headers["x-request-id"] == "from-the-client"
    assert sum("from-the-client" in s.responder.log() for s in hosts.services) == 1


@pytest.mark.skipif(bool(WRAP), reason="too slow under valgrind")
@pytest.mark.parametrize("unplugged", [False, True], ids=["killed", "unplugged"])
def test_a_host_dies_under_streams(hosts, unplugged):
    for name, value in KERNEL.items():
        with open(f"/proc/sys/net/ipv4/{name}", "w") as f:
            f.write(str(value))
    count = 150
    streams = Streams(hosts, 200, words(count, delay_us=20000))
    shares = [active(s) for s in hosts.services]
    assert min(shares) >= 50, shares
    if unplugged:  # nobody is told that it is gone
        hosts.places[0].unplug()
        hosts.kill(hosts.a)
    else:
        hosts.kill(hosts.a)
        hosts.places[0].unplug()
    new = [Turn(hosts.ask(words(5))) for _ in range(10)]
    assert all(complete(t) and t.text == said(5) for t in new), [t.chunks[-1:] for t in new]
    whole, cut = judged(streams.ended(), count)
    assert whole >= shares[1] and whole + cut == 200, (whole, cut, shares)


def test_no_host_is_left(hosts):
    for service in hosts.services:
        hosts.kill(service)
    x = hosts.ask("hello").head()
    assert x.status == 502
    assert "does not answer" in json.loads(x.read())["detail"]


def test_a_host_whose_service_is_away_costs_nothing(hosts):
    hosts.a.responder.stop()
    turns = [Turn(hosts.ask(words(3))) for _ in range(10)]
    assert all(complete(t) for t in turns), [t.body for t in turns]


# ---- what hosts count together ------------------------------------------------------------------------------


REDIS = f"hosts.redis=redis://{Network.ADDRESS}:{Redis.PORT}"


def sharing(network, testbed, *settings, **more):
    """(redis, hosts)"""
    redis = testbed.keep(Redis(testbed))
    hosts = Hosts(network, testbed, REDIS, "http.strict_status=true", *settings, **more)
    for service in hosts.services:
        service.wait_status(lambda s: len(s["hosts"]["hosts"]) == 2, "two hosts")
    return redis, hosts


def passed(hosts, count, places=None, **more):
    """How many of so many turns are admitted, by turns at each of the hosts."""
    places = places or hosts.services
    statuses = []
    for n in range(count):
        turn = Turn(places[n % len(places)].ask(words(1), **more))
        assert turn.status in (200, 429), turn.body
        assert turn.status == 429 or turn.whole
        statuses.append(turn)
    return statuses


def minutes(began):
    return (time.monotonic() - began) / 60


@pytest.mark.parametrize("workers", [1, 2])
def test_a_limit_holds_over_all_hosts(network, testbed, workers):
    redis, hosts = sharing(network, testbed, "limits.requests_per_minute=60", workers=workers)
    began = time.monotonic()
    turns = passed(hosts, 90)
    granted = [t for t in turns if t.status == 200]
    # One more each second: exactly 60 on a machine that is fast enough.
    assert 60 <= len(granted) <= 60 + 60 * minutes(began), len(granted)
    remaining = [int(t.headers["x-ratelimit-remaining-requests"]) for t in granted[:60]]
    assert remaining[:5] == [59, 58, 57, 56, 55] and sorted(remaining, reverse=True) == remaining
    refused = [t for t in turns if t.status == 429][-1]
    assert refused.headers["x-ratelimit-limit-requests"] == "60"
    assert refused.headers["x-ratelimit-remaining-requests"] == "0"
    assert refused.headers["retry-after"] == "1"


def test_each_host_takes_its_part_while_redis_is_away(network, testbed):
    redis, hosts = sharing(network, testbed, "limits.requests_per_minute=60")
    assert all(t.status == 200 for t in passed(hosts, 4))
    redis.stop()
    for service in hosts.services:
        service.wait_status(lambda s: s["hosts"]["state"] == "away", "Redis is away")
        service.responder.wait_log("WARNING limits_alone")
        began = time.monotonic()
        granted = sum(t.status == 200 for t in passed(hosts, 50, [service]))
        assert 30 <= granted <= 30 + 30 * minutes(began)
        assert service.ctl("status")["counters"]["limits_alone"] == 1
        assert "tt_agent_limits_alone 1" in service.http.get("/metrics").text
    redis.start()
    for service in hosts.services:
        service.wait_status(lambda s: s["hosts"]["state"] == "connected", "Redis is there")
        wait_until(lambda: service.ctl("status")["counters"]["limits_alone"] == 0, "limits are counted together")
    # It has forgotten what it counted.
    began = time.monotonic()
    granted = sum(t.status == 200 for t in passed(hosts, 80))
    assert 60 <= granted <= 60 + 60 * minutes(began)


def key(hosts, *limits):
    """A key that both hosts know."""
    secret = hosts.a.ctl("keys", "create", "alice", *limits)["key"]
    for service in hosts.services:
        service.secrets.append(secret)
        wait_until(lambda: httpx.get(f"{service.url}/status", headers={"Authorization": f"Bearer {secret}"}).status_code == 200, "the key")
    return {"Authorization": f"Bearer {secret}"}


KEYS = "http.api=true", "access.require=api", "access.keys_file={directory}/keys.jsonl"


def chat(service, headers, message, **more):
    body = {"model": "mock/demo-model", "messages": [{"role": "user", "content": message}], **more}
    return httpx.post(f"{service.url}/v1/chat/completions", json=body, headers=headers, timeout=60)


def test_tokens_are_counted_over_all_hosts(network, testbed):
    """What was reserved and not used is given back, wherever it was."""
    redis, hosts = sharing(network, testbed, *KEYS)
    headers = key(hosts, "tokens=10000")
    left = []
    for n in range(6):
        answer = chat(hosts.services[n % 2], headers, words(5), max_tokens=2000)
        assert answer.status_code == 200, answer.text
        left.append(int(answer.headers["x-ratelimit-remaining-tokens"]))
        wait_until(lambda: active(hosts.services[n % 2]) == 0, "its end")
    assert min(left) > 7000, left
    answer = chat(hosts.b, headers, words(5), max_tokens=9000)
    assert answer.status_code == 200, answer.text


def test_turns_at_once_are_counted_over_all_hosts(network, testbed):
    redis, hosts = sharing(network, testbed, *KEYS)
    headers = key(hosts, "turns=2")
    body = {"model": "mock/demo-model", "messages": [{"role": "user", "content": words(2000, delay_us=10000)}], "stream": True}
    running = [Exchange(s.host, "POST", "/v1/chat/completions", body, headers).head() for s in hosts.services]
    assert [x.status for x in running] == [200, 200]
    for service in hosts.services:
        answer = chat(service, headers, words(1))
        assert answer.status_code == 429 and answer.json()["error"]["code"] == "rate_limit_exceeded", answer.text
    running[0].close()
    wait_until(lambda: chat(hosts.b, headers, words(1)).status_code == 200, "a place is free")
    running[1].close()
    assert active(hosts.a) <= 1


def test_usage_of_all_hosts(network, testbed):
    """Also of a turn whose client left, and of a worker that was killed."""
    redis, hosts = sharing(network, testbed, *KEYS)
    headers = key(hosts)
    for n in range(6):
        assert chat(hosts.services[n % 2], headers, words(5)).status_code == 200
    body = {"model": "mock/demo-model", "messages": [{"role": "user", "content": words(2000, delay_us=10000)}], "stream": True}
    Exchange(hosts.b.host, "POST", "/v1/chat/completions", body, headers).head().close()
    own = lambda s: sum(row["attempts"] for row in s.ctl("usage")["usage"])
    wait_until(lambda: own(hosts.a) == 3 and own(hosts.b) == 4, "rows of all attempts")
    tokens = [sum(row["completion_tokens"] for row in s.ctl("usage")["usage"]) for s in hosts.services]
    everybody = lambda by: hosts.a.ctl("--all-hosts", "--by", by, "usage")["usage"]
    wait_until(lambda: sum(row["attempts"] for row in everybody("key")) == 7, "the rows of both hosts", 20)
    row, = everybody("key")
    assert row["key"] == "alice" and row["failed"] == 1 and row["completion_tokens"] == sum(tokens)
    assert {r["host"]: r["attempts"] for r in everybody("host")} == {f"host-{p.address}": n for p, n in zip(hosts.places, (3, 4))}
    assert {r["outcome"]: r["attempts"] for r in everybody("outcome")} == {"complete": 6, "cancelled": 1}
    hosts.a.daemon.kill()
    hosts.a.start_daemon()
    assert chat(hosts.a, headers, words(5)).status_code == 200
    wait_until(lambda: sum(row["attempts"] for row in everybody("day")) == 8, "what the new tt-agentd found", 20)
    assert "summed by key, model" in hosts.a.ctl("--all-hosts", "--by", "subject", "usage", ok=False).stdout


def test_hosts_see_one_another(network, testbed):
    redis, hosts = sharing(network, testbed)
    status = hosts.a.status()["hosts"]
    assert status["state"] == "connected" and status["redis"] == REDIS.split("=")[1]
    assert {h["name"] for h in status["hosts"]} == {f"host-{p.address}" for p in hosts.places}
    hosts.kill(hosts.b)
    hosts.a.wait_status(lambda s: len(s["hosts"]["hosts"]) == 1, "the other one is gone", 20)
    assert "host_gone" in hosts.a.daemon.log()


def test_a_host_hears_of_failures_of_another(network, testbed):
    """A hint: the LLM is tried last, and not left out."""
    first, second = (testbed.llm("--address", "0.0.0.0") for _ in range(2))
    deployed = {f"d{n}": {**llm.deployment(f"model-{n}", name=f"c{n}"), "internal_url": f"{Network.ADDRESS}:{llm.port}/v1/chat/completions",
                          "health_url": f"{Network.ADDRESS}:{llm.port}/health"} for n, llm in enumerate((first, second))}
    backend = testbed.backend(deployed, options=("--address", "0.0.0.0"))
    backend.url = backend.url.replace("127.0.0.1", Network.ADDRESS)
    redis, hosts = sharing(network, testbed, backend=backend)
    current = lambda s: (s.status().get("current_llm") or {}).get("llm_info", {}).get("deploy_id")
    for service in hosts.services:
        wait_until(lambda: current(service) == "d0", "d0 is current")
    first.script(status=500)
    assert Turn(hosts.a.ask("hello")).whole
    for service in hosts.services:
        wait_until(lambda: current(service) == "d1", "d1 is current")
        assert len(service.status()["available_models"]) == 2
    second.process.stop()
    first.script(status=200)
    assert Turn(hosts.b.ask(words(3))).text == said(3)


@pytest.mark.parametrize("hosts_redis", ["redis://10.77.0.9:1", "none"])
def test_a_host_without_the_others_works_as_one(network, testbed, hosts_redis):
    hosts = Hosts(network, testbed, f"hosts.redis={hosts_redis}", "limits.requests_per_minute=5", "http.strict_status=true")
    for service in hosts.services:
        assert [t.status for t in passed(hosts, 6, [service])] == [200] * 5 + [429]

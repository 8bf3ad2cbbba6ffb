# SPDX-License-Identifier: Apache-2.0
"""Two hosts, each in a network of its own, behind one nginx with the files of deploy/nginx."""

import json
import os
import re
import signal
import threading
import time

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
        sets = [f"hosts.name=host-{place.address}", *(s.format(directory=self.testbed.directory, name=place.address) for s in settings)]
        return self.testbed.service(env=llm, sets=sets, before=place.before, listen=f"{place.address}:8080", **more)

    def ask(self, message, thread_id=None, **more):
        return self.a.ask(message, thread_id, host=self.front.root, **more)

    def kill(self, service):
        for process in service.nginx.process, service.responder, service.daemon:
            if process.alive():
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


@pytest.mark.skipif(bool(WRAP), reason="too slow under valgrind")
@pytest.mark.parametrize("unplugged", [pytest.param(False, marks=pytest.mark.long, id="killed"), pytest.param(True, id="unplugged")])
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


def test_an_answer_needs_one_host(hosts):
    hosts.a.responder.stop()
    turns = [Turn(hosts.ask(words(3))) for _ in range(10)]
    assert all(complete(t) for t in turns), [t.body for t in turns]
    for service in hosts.services:
        hosts.kill(service)
    x = hosts.ask("hello").head()
    assert x.status == 502
    assert "does not answer" in json.loads(x.read())["detail"]


# ---- what hosts count together ------------------------------------------------------------------------------


URL = f"redis://{Network.ADDRESS}:{Redis.PORT}"
KEYS = "http.api=true", "access.require=api", "access.keys_file={directory}/keys.jsonl"


class Sharing(Hosts):
    """They share .redis."""

    def __init__(self, network, testbed, *settings, **more):
        self.redis = testbed.keep(Redis(testbed))
        super().__init__(network, testbed, f"threads.store={URL}", f"usage.file={{directory}}/{{name}}-usage.db", "http.strict_status=true", *settings, **more)
        for service in self.services:
            service.wait_status(lambda s: len(s["hosts"]["hosts"]) == 2, "two hosts")

    def key(self, name, *limits):
        """Headers with a key that both know."""
        secret = self.a.ctl("keys", "create", name, *limits)["key"]
        headers = {"Authorization": f"Bearer {secret}"}
        for service in self.services:
            service.secrets.append(secret)
            for _ in range(2 * service.workers):
                wait_until(lambda: service.http.get("/v1/models", headers=headers).status_code == 200, "the key")
        return headers


@pytest.fixture(scope="module")
def outside():
    n = Network()
    yield n
    n.close()


@pytest.fixture(scope="module")
def both(outside, shared):
    """Two that share, for all tests that only count."""
    return Sharing(outside, shared, *KEYS, workers=2)


def chat(service, headers, message, path="chat/completions", **more):
    body = {"model": "mock/demo-model", "messages": [{"role": "user", "content": message}], **more}
    if path != "chat/completions":
        body["prompt"] = body.pop("messages")[0]["content"]
    return service.http.post(f"/v1/{path}", json=body, headers=headers)


def stream(service, headers, message):
    body = {"model": "mock/demo-model", "messages": [{"role": "user", "content": message}], "stream": True}
    return Exchange(service.host, "POST", "/v1/chat/completions", body, headers).head()


ENDLESS = words(3000, delay_us=10000)


def per_minute(limit, ask):
    """Asserts that so many pass, and those that time adds meanwhile. Returns all, with some that were refused."""
    began = time.monotonic()
    answers = [ask(n) for n in range(limit)]
    while sum(a.status_code == 429 for a in answers) < 6:
        answers.append(ask(len(answers)))
    took = time.monotonic() - began
    granted = [a for a in answers if a.status_code == 200]
    assert {a.status_code for a in answers} <= {200, 429}, answers
    assert limit <= len(granted) <= limit + limit * took / 60, (len(granted), took)
    return answers


@pytest.mark.parametrize("path, limit", [("chat/completions", 60), ("completions", 10)])  # a turn, a relay
def test_a_limit_holds_over_all_hosts(both, path, limit):
    headers = both.key(f"limit-{path[:4]}", f"requests={limit}")
    answers = per_minute(limit, lambda n: chat(both.services[n % 2], headers, words(1), path))
    remaining = [int(a.headers["x-ratelimit-remaining-requests"]) for a in answers if a.status_code == 200]
    assert remaining[0] == limit - 1 and remaining[-1] == 0 and all(b >= a - 1 for a, b in zip(remaining, remaining[1:])), remaining
    refused = [a for a in answers if a.status_code == 429][-1]
    assert refused.json()["error"]["code"] == "rate_limit_exceeded"
    assert refused.headers["x-ratelimit-limit-requests"] == str(limit)
    assert refused.headers["x-ratelimit-remaining-requests"] == "0"
    assert 1 <= int(refused.headers["retry-after"]) <= 60 / limit


def test_tokens_are_counted_over_all_hosts(both):
    """What was reserved and not used is given back, wherever it was."""
    headers = both.key("tokens", "tokens=10000")
    for n in range(6):
        answer = chat(both.services[n % 2], headers, words(5), max_tokens=2000)
        assert answer.status_code == 200, answer.text
        assert int(answer.headers["x-ratelimit-remaining-tokens"]) > 7000
        wait_until(lambda: active(both.services[n % 2]) == 0, "its end")
    assert chat(both.b, headers, words(5), max_tokens=9000).status_code == 200


def test_turns_at_once_are_counted_over_all_hosts(both):
    headers = both.key("turns", "turns=2")
    running = [stream(s, headers, ENDLESS) for s in both.services]
    assert [x.status for x in running] == [200, 200]
    for service in both.services:
        answer = chat(service, headers, words(1))
        assert answer.status_code == 429 and answer.json()["error"]["code"] == "rate_limit_exceeded", answer.text
    running[0].close()
    wait_until(lambda: chat(both.b, headers, words(1)).status_code == 200, "a place is free")
    running[1].close()


def test_usage_of_all_hosts(both):
    """Also of a turn whose client left."""
    headers = both.key("user")
    for n in range(6):
        assert chat(both.services[n % 2], headers, words(5)).status_code == 200
    stream(both.b, headers, ENDLESS).close()
    own = lambda s: {row["key"]: row for row in s.ctl("usage")["usage"]}.get("user", {"attempts": 0})
    wait_until(lambda: [own(s)["attempts"] for s in both.services] == [3, 4], "rows of all attempts")
    everybody = lambda: {r["key"]: r for r in both.a.ctl("--all-hosts", "usage")["usage"]}.get("user", {"attempts": 0})
    wait_until(lambda: everybody()["attempts"] == 7, "the rows of both hosts", 30)
    assert everybody()["failed"] == 1
    for what in "prompt_tokens", "completion_tokens":
        assert everybody()[what] == sum(own(s)[what] for s in both.services)
    by_host = {r["host"] for r in both.a.ctl("--all-hosts", "--by", "host", "usage")["usage"]}
    assert by_host == {f"host-{p.address}" for p in both.places}
    # What is written again is not counted again.
    both.a.daemon.kill()
    both.a.start_daemon()
    assert chat(both.a, headers, words(5)).status_code == 200
    wait_until(lambda: everybody()["attempts"] == 8, "what the new tt-agentd found", 30)
    assert "summed by key, model" in both.a.ctl("--all-hosts", "--by", "subject", "usage", ok=False).stdout
    # Over HTTP.
    get = lambda **query: both.b.http.get("/usage", params=query).json()
    own_rows, all_rows = get(), get(hosts="all")
    assert own_rows["host"] == f"host-{both.places[1].address}" and "hosts" not in own_rows
    assert all_rows["hosts"] == "all" and "host" not in all_rows
    assert {r["key"]: r["attempts"] for r in all_rows["usage"]}["user"] == 8
    assert {r["host"] for r in get(hosts="all", by="host")["usage"]} == by_host
    assert "summed by key, model" in get(hosts="all", by="subject")["detail"]


def users(llm):
    """What users said in the last request."""
    return [m["content"] for m in llm.chats()[-1]["body"]["messages"] if m["role"] == "user"]


def test_a_conversation_goes_on_on_another_host(both):
    first, second = words(2), words(3)
    for n, message in enumerate((first, second, "third")):
        turn = Turn(both.services[n % 2].ask(message, "a-thread-of-both"))
        assert turn.whole, turn.body
    assert users(both.llm) == [first, second, "third"]


def test_an_answer_is_followed_on_another_host(both):
    headers = both.key("responses")
    create = lambda s, text, **more: s.http.post("/v1/responses", headers=headers, json={"model": "mock/demo-model", "input": text, **more}).json()
    one = create(both.a, "first")
    two = create(both.b, "second", previous_response_id=one["id"])
    three = create(both.a, "third", previous_response_id=two["id"])
    assert three["status"] == "completed", three
    assert users(both.llm) == ["first", "second", "third"]
    again = create(both.b, "instead", previous_response_id=one["id"])
    assert again["status"] == "completed" and users(both.llm) == ["first", "instead"]


def test_a_redis_that_hangs_holds_up_nobody(both):
    """The turn waits for it a second, and its client may leave meanwhile."""
    headers = both.key("patient", "requests=1000")
    assert chat(both.a, headers, words(1)).status_code == 200
    both.redis.process.send(signal.SIGSTOP)
    try:
        left = [stream_without_head(both.a, headers) for _ in range(5)]
        for x in left:
            x.close()
        assert chat(both.a, headers, words(1)).status_code == 200
        assert chat(both.b, headers, words(1)).status_code == 200
    finally:
        both.redis.process.send(signal.SIGCONT)
    wait_until(lambda: both.a.ctl("status")["counters"]["limits_alone"] == 0, "limits are counted together", 20)
    wait_until(lambda: both.b.ctl("status")["counters"]["limits_alone"] == 0, "limits are counted together", 20)
    assert active(both.a) == 0


def stream_without_head(service, headers):
    body = {"model": "mock/demo-model", "messages": [{"role": "user", "content": ENDLESS}], "stream": True}
    return Exchange(service.host, "POST", "/v1/chat/completions", body, headers)


class Answer:
    def __init__(self, turn):
        self.status_code = turn.status


@pytest.mark.long
def test_each_host_takes_its_part_while_redis_is_away(network, testbed):
    hosts = Sharing(network, testbed, "limits.requests_per_minute=60")
    ask = lambda service: Answer(Turn(service.ask(words(1))))
    assert all(ask(s).status_code == 200 for s in 2 * hosts.services)
    hosts.redis.stop()
    for service in hosts.services:
        service.wait_status(lambda s: s["hosts"]["state"] == "away", "Redis is away")
        service.responder.wait_log("WARNING limits_alone")
        per_minute(30, lambda n: ask(service))
        assert service.ctl("status")["counters"]["limits_alone"] == 1
        assert "tt_agent_limits_alone 1" in service.http.get("/metrics").text
    hosts.redis.start()
    for service in hosts.services:
        service.wait_status(lambda s: s["hosts"]["state"] == "connected", "Redis is there")
        wait_until(lambda: service.ctl("status")["counters"]["limits_alone"] == 0, "limits are counted together")
    per_minute(60, lambda n: ask(hosts.services[n % 2]))  # it has forgotten what it counted


@pytest.mark.long
def test_hosts_see_one_another(network, testbed):
    hosts = Sharing(network, testbed)
    status = hosts.a.status()["hosts"]
    assert status["state"] == "connected" and status["redis"] == URL
    assert {h["name"] for h in status["hosts"]} == {f"host-{p.address}" for p in hosts.places}
    hosts.kill(hosts.b)
    hosts.a.wait_status(lambda s: len(s["hosts"]["hosts"]) == 1, "the other one is gone", 20)
    assert "host_gone" in hosts.a.daemon.log()


@pytest.mark.long
def test_a_host_hears_of_failures_of_another(network, testbed):
    """A hint: the LLM is tried last, and not left out."""
    first, second = (testbed.llm("--address", "0.0.0.0") for _ in range(2))
    deployed = {f"d{n}": {**llm.deployment(f"model-{n}", name=f"c{n}"), "internal_url": f"{Network.ADDRESS}:{llm.port}/v1/chat/completions",
                          "health_url": f"{Network.ADDRESS}:{llm.port}/health"} for n, llm in enumerate((first, second))}
    backend = testbed.backend(deployed, options=("--address", "0.0.0.0"))
    backend.url = backend.url.replace("127.0.0.1", Network.ADDRESS)
    hosts = Sharing(network, testbed, backend=backend)
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


@pytest.mark.long
def test_what_other_hosts_have_in_flight_counts(network, testbed):
    """Among replicas of one model: a turn goes to the one that both together use least."""
    first, second = (testbed.llm("--address", "0.0.0.0") for _ in range(2))

    def deployed(llm, name):
        return {**llm.deployment(name=name), "internal_url": f"{Network.ADDRESS}:{llm.port}/v1/chat/completions",
                "health_url": f"{Network.ADDRESS}:{llm.port}/health"}

    backend = testbed.backend({"d0": deployed(first, "c0")}, options=("--address", "0.0.0.0"))
    backend.url = backend.url.replace("127.0.0.1", Network.ADDRESS)
    hosts = Sharing(network, testbed, "balance.warmup=0", "discovery.interval=0.2", "local.enabled=false", backend=backend)
    streams = [hosts.b.ask(words(3000, delay_us=10000)).head() for _ in range(6)]
    backend.deploy(d0=deployed(first, "c0"), d1=deployed(second, "c1"))
    hosts.a.wait_status(lambda s: len(s["available_models"]) == 2, "two replicas")

    def only_the_second():
        first.forget()
        assert all(Turn(hosts.a.ask(words(1))).whole for _ in range(24))
        return not first.chats()

    wait_until(only_the_second, "the turns go to the one that is idle", 20)
    for x in streams:
        x.close()


@pytest.mark.parametrize("hosts_redis", ["none", pytest.param("redis://10.77.0.9:1", marks=pytest.mark.long)])
def test_a_host_without_the_others_works_as_one(network, testbed, hosts_redis):
    hosts = Hosts(network, testbed, f"hosts.redis={hosts_redis}", "limits.requests_per_minute=5", "http.strict_status=true")
    for service in hosts.services:
        assert [Turn(service.ask(words(1))).status for _ in range(6)] == [200] * 5 + [429]

# SPDX-License-Identifier: Apache-2.0
"""Two hosts, each in a network of its own, behind one nginx with the files of deploy/nginx."""

import json
import os
import re
import threading

import pytest

from harness.http_client import Turn
from harness.llm_script import said, words
from harness.networks import FrontOfHosts, Network
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

    def __init__(self, network, testbed, *settings, count=2, **more):
        self.testbed = testbed
        self.llm = testbed.llm("--address", "0.0.0.0")
        self.places = [network.host() for _ in range(count)]
        self.services = [self._service(place, settings, more) for place in self.places]
        self.front = testbed.keep(FrontOfHosts(testbed, [f"{p.address}:8080" for p in self.places]))
        for service in self.services:
            service.wait_ready()
        self.a, self.b = self.services

    def _service(self, place, settings, more):
        llm = {"LOCAL_LLM_HOST": place.gateway, "LOCAL_LLM_PORT": str(self.llm.port)}
        sets = [*(s.format(gateway=place.gateway, directory=self.testbed.directory) for s in settings)]
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

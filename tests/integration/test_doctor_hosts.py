# SPDX-License-Identifier: Apache-2.0
"""tt-agentctl doctor: what is wrong with Redis, and between the hosts that share it."""

import contextlib
import json

import pytest

from harness.doctor import doctor, expect, start
from harness.process import wait_until
from harness.redis_servers import Redis

KEY = "tt:{hosts}"


def host(testbed, redis, name, *sets, **more):
    """Nothing is wrong with it."""
    service = start(testbed, sets=[f"threads.store=redis://{redis.host}", f"hosts.name={name}", *sets], **more)
    wait_until(lambda: name in redis.cli("HKEYS", KEY).split(), f"{name} is among the hosts")
    return service


@pytest.fixture(scope="module")
def redis(shared):
    return Redis(shared, "--appendonly", "yes")


@pytest.fixture(scope="module")
def service(shared, redis):
    return host(shared, redis, "here")


@contextlib.contextmanager
def other(redis, name="there", ahead_ms=0, settings=None, **says):
    """Another host that says what this one does, but for that. It is fresh for a minute."""
    own = json.loads(redis.cli("HGET", KEY, "here").split(" ", 1)[1])
    seconds, micros = map(int, redis.cli("TIME").split())
    at = seconds * 1000 + micros // 1000
    message = {**own, "id": "of-another", "clock": at + 60000 + ahead_ms, **says}
    message["settings"].update(settings or {})
    redis.cli("HSET", KEY, name, f"{at + 60000} {json.dumps(message)}")
    try:
        yield
    finally:
        redis.cli("HDEL", KEY, name)


# --- servers of Redis ---

def test_nothing_is_said_where_all_is_well(service, redis):
    assert doctor(service) == {}
    with other(redis):
        assert doctor(service) == {}


def full(redis):
    used = int(next(line for line in redis.cli("INFO", "memory").splitlines() if line.startswith("used_memory:")).split(":")[1])
    return int(used * 1.05)


@pytest.mark.parametrize("name, plant, undo, words, fix", [
    ("redis_evicts", ("CONFIG", "SET", "maxmemory-policy", "allkeys-lru"), ("CONFIG", "SET", "maxmemory-policy", "noeviction"), "is allkeys-lru", "maxmemory-policy noeviction"),
    ("redis_forgets", ("CONFIG", "SET", "appendonly", "no"), ("CONFIG", "SET", "appendonly", "yes"), "appendonly no", "CONFIG SET appendonly yes"),
    ("redis_full", ("CONFIG", "SET", "maxmemory", full), ("CONFIG", "SET", "maxmemory", 0), "maxmemory", "CONFIG SET maxmemory"),
    ("redis_read_only", ("REPLICAOF", "127.0.0.1", 1), ("REPLICAOF", "NO", "ONE"), "is a replica", "its master"),
])
def test_a_fault_of_a_server_is_found(service, redis, name, plant, undo, words, fix):
    redis.cli(*(a(redis) if callable(a) else a for a in plant))
    try:
        expect(service, name, words, f"redis://{redis.host}", fix=fix)
    finally:
        redis.cli(*undo)
    assert doctor(service) == {}


def test_what_a_user_may_not_see_is_no_fault(testbed, shared):
    """Many who rent a Redis may not read its settings."""
    redis = Redis(testbed, "--rename-command", "CONFIG", "")
    assert doctor(host(testbed, redis, "here")) == {}


def test_a_refused_password_is_found(testbed):
    redis = Redis(testbed, "--requirepass", "hush-hush")
    url = f"redis://{redis.host}"
    service = start(testbed, sets=[f"threads.store={url}"])
    expect(service, "redis_password", "NOAUTH", fix="set redis.password")
    service = start(testbed, sets=[f"threads.store={url}"], env={"AGENT_REDIS_PASSWORD": "wrong"})
    found = expect(service, "redis_password", "the password is refused", fix="set redis.password")
    assert "wrong" not in found["message"].replace("WRONGPASS", "")


def test_a_redis_of_the_hosts_that_is_not_there_is_found(testbed):
    url = f"redis://127.0.0.1:{testbed.closed_port()}"
    expect(start(testbed, sets=[f"hosts.redis={url}"]), "hosts_unreachable", "Connection refused", fix="hosts.redis")


# --- between hosts ---

@pytest.mark.parametrize("name, says, words, fix", [
    ("host_clock", {"ahead_ms": 3600_500}, "is 3600 s ahead of", "timedatectl set-ntp true  # on this host and on there"),
    ("host_clock", {"ahead_ms": -60_500}, "is 60 s behind", "timedatectl set-ntp true"),
    ("host_version", {"version": "0.0.1"}, "there runs 0.0.1", "install the same version"),
    ("hosts_differ", {"settings": {"limits.requests_per_minute": "7"}}, "limits.requests_per_minute is 0 here, and 7 on there", "set limits.requests_per_minute"),
    ("hosts_differ", {"settings": {"access.require": "all"}}, "access.require is none here, and all on there", "set access.require"),
    ("hosts_differ", {"settings": {"threads.store": "sqlite"}}, "threads.store is redis here, and sqlite on there", "set threads.store"),
    ("host_keys_differ", {"settings": {"access.keys_file": "0123"}}, "the file of keys of there", "copy the newer file"),
])
def test_what_differs_between_hosts_is_found(service, redis, name, says, words, fix):
    with other(redis, **says):
        expect(service, name, words, fix=fix)


def test_a_host_of_an_older_version_is_not_compared(service, redis):
    """What it does not say differs from nothing."""
    own = json.loads(redis.cli("HGET", KEY, "here").split(" ", 1)[1])
    with other(redis):
        time = redis.cli("HGET", KEY, "there").split(" ", 1)[0]
        redis.cli("HSET", KEY, "there", f"{time} " + json.dumps({"id": "x", "version": own["version"]}))
        assert doctor(service) == {}
        redis.cli("HSET", KEY, "there", f"{time} no message")
        assert doctor(service) == {}


def test_two_hosts_that_differ_are_found_on_both(testbed, tmp_path):
    redis = Redis(testbed, "--appendonly", "yes")
    files = [tmp_path / name for name in "ab"]
    for n, file in enumerate(files):
        file.write_text("# no key\n" * n)
    a = host(testbed, redis, "a", f"access.keys_file={files[0]}", "hosts.count=1")
    b = host(testbed, redis, "b", f"access.keys_file={files[1]}", "hosts.count=1", "limits.tokens_per_minute=1000")
    for service, there in (a, "b"), (b, "a"):
        found = doctor(service)
        assert set(found) == {"host_keys_differ", "hosts_differ", "hosts_more"}, found
        assert found["hosts_differ"]["subject"] == "limits.tokens_per_minute" and found["host_keys_differ"]["subject"] == there
        assert "2 hosts are there" in found["hosts_more"]["message"]


def test_a_name_that_two_hosts_have_is_found(testbed):
    redis = Redis(testbed, "--appendonly", "yes")
    services = [host(testbed, redis, "twin") for _ in range(2)]
    for service in services:
        service.wait_status(lambda s: s["hosts"].get("name_taken"), "the name is taken")
        expect(service, "host_name_taken", "another host has the name twin", fix="set hosts.name")


@pytest.mark.long
def test_a_name_that_is_free_again_is_no_fault(testbed):
    redis = Redis(testbed, "--appendonly", "yes")
    services = [host(testbed, redis, "twin") for _ in range(2)]
    services[0].wait_status(lambda s: s["hosts"].get("name_taken"), "the name is taken")
    services[1].daemon.stop()
    services[0].wait_status(lambda s: "name_taken" not in s["hosts"], "the name is free", 30)
    assert doctor(services[0]) == {}

# SPDX-License-Identifier: Apache-2.0
"""Conversations in a real Redis: shared by services, and what a turn sees of each fault of it."""

import json
import os
import signal
import subprocess

import pytest
from harness import metrics
from harness.load import many_turns
from harness.openai_stream import post
from harness.process import BUILD, PATIENCE, clean_env, wait_until
from harness.process_usage import proportional_set_kib
from harness.redis_servers import Cluster, Group, Redis

AGENT = "meta-llama/Llama-3.1-8B-Instruct:agent"
LONG = "a-thread-of-its-own"


def said(llm):
    """The user's words of the last request to the LLM, oldest first."""
    return [m["content"] for m in llm.chats()[-1]["body"]["messages"] if m["role"] == "user"]


def one(testbed, url, *sets, **more):
    # Turns of several services are in order by milliseconds: none is as short.
    return testbed.one({"text": ["yes"], "first_delay_us": 3000}, conf="", sets=[f"threads.store={url}", *sets], **more)


def value(service, name):
    return metrics.scrape(service).value(name) or 0


def stored(service):
    """What the service has is in the store, which it reaches."""
    wait_until(lambda: value(service, "turns_unsaved") == value(service, "stores_away") == 0, "nothing waits to be stored", 20)


def test_two_services_share_a_conversation(testbed):
    redis = Redis(testbed)
    first, llm = one(testbed, f"redis://{redis.host}", workers=2)
    other, other_llm = one(testbed, f"redis://{redis.host}/0", workers=2)
    words = []
    for n in range(8):  # each request follows the statistics of the one before
        service, its_llm = ((first, llm), (other, other_llm))[n % 2]
        words.append(f"word {n}")
        assert service.chat(words[-1], LONG).whole
        assert said(its_llm) == words
    first.chat("short", "7")
    other.chat("not of this host", "7")
    assert said(other_llm) == ["not of this host"]
    listed = other.ctl("threads", "list")
    assert {t["thread_id"] for t in listed["threads"]} == {LONG, "7"}
    assert len(first.ctl("threads", "show", LONG)["turns"]) == 8
    assert first.ctl("threads", "stat")["turns"] == 10
    first.ctl("threads", "delete", LONG)
    other.chat("again", LONG)
    assert said(other_llm) == ["again"]


def test_turns_go_on_while_redis_is_away_and_are_stored_later(testbed):
    redis = Redis(testbed)
    service, llm = one(testbed, f"redis://{redis.host}", workers=2)
    service.chat("before", LONG)
    redis.kill()
    for n in range(10):
        assert service.chat(f"away {n}", f"thread-{n}").whole
        assert said(llm) == [f"away {n}"]
    assert service.responder.log().count("threads_redis") <= 2  # one line for each worker that noticed
    assert value(service, "turns_unsaved") == 10
    assert value(service, "stores_away") >= 1
    assert service.status()["conversations"] == {"away": True, "unsaved_turns": 10, "lost_turns": 0}
    assert "store_unreachable" in service.ctl("doctor", ok=False).stdout
    redis.start()
    stored(service)
    assert value(service, "stores_away") == 0 and value(service, "turns_lost_total") == 0
    assert "conversations" not in service.status()
    for n in range(10):
        service.chat("after", f"thread-{n}")
        assert said(llm) == [f"away {n}", "after"]


def test_what_waits_outlives_workers_and_the_service(testbed):
    redis = Redis(testbed)
    service, llm = one(testbed, f"redis://{redis.host}", workers=2)
    redis.kill()
    words = [f"away {n}" for n in range(12)]
    for word in words[:6]:
        assert service.chat(word, LONG).whole
    wait_until(lambda: len(list(service.directory.glob("unsaved-*.db"))) >= 1, "turns wait on the disk")
    assert all(f.stat().st_mode & 0o777 == 0o600 for f in service.directory.glob("unsaved-*"))
    for pid in service.worker_pids():
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: value(service, "turns_unsaved") == 6, "the next workers have them")
    for word in words[6:]:
        assert service.chat(word, LONG).whole
    service.responder.stop()
    service.start_responder()
    service.wait_ready()
    wait_until(lambda: value(service, "turns_unsaved") == 12, "the next service has them")
    redis.start()
    stored(service)
    service.chat("after", LONG)
    assert said(llm) == [*words, "after"]
    assert value(service, "turns_lost_total") == 0
    service.responder.stop()
    assert not any(b"away" in f.read_bytes() for f in service.directory.glob("unsaved-*"))


def test_without_a_disk_turns_wait_in_memory(testbed):
    redis = Redis(testbed)
    service, llm = one(testbed, f"redis://{redis.host}", "threads.unsaved_dir=/nowhere/at/all")
    found = json.loads(service.ctl("doctor", "--json", ok=False).stdout)
    assert ["install -d -m 700" in f["fix"] for f in found["findings"] if f["name"] == "unsaved_dir"] == [True]
    redis.kill()
    assert service.chat("away", LONG).whole
    wait_until(lambda: "/nowhere/at/all" in service.responder.log(), "the reason is logged")
    redis.start()
    stored(service)
    service.chat("after", LONG)
    assert said(llm) == ["away", "after"]


def test_turns_of_an_outage_are_in_their_order_whoever_had_them(testbed):
    redis = Redis(testbed, "--appendonly", "yes", "--appendfsync", "always")
    url = f"redis://{redis.host}"
    (first, llm), (other, _), (third, third_llm) = one(testbed, url, workers=2), one(testbed, url), one(testbed, url)
    third.chat("before", LONG)  # which caches it
    redis.kill()
    words = [f"away {n}" for n in range(8)]
    for n, word in enumerate(words):
        assert (first, other)[n // 2 % 2].chat(word, LONG).whole
    redis.start()
    for service in (first, other, third):
        stored(service)
    third.chat("after", LONG)
    assert said(third_llm) == ["before", *words, "after"]
    first.chat("later", LONG)
    assert said(llm) == ["before", *words, "after", "later"]
    third.chat("last", LONG)
    assert said(third_llm) == ["before", *words, "after", "later", "last"]


OUTAGE_S = int(os.environ.get("TT_REDIS_OUTAGE_S", 40))  # in ten parts


@pytest.mark.long
def test_an_outage_of_minutes(testbed):
    """All turns of it are answered, counted and stored when it is over; however many wait, they take no memory."""
    redis = Redis(testbed)
    service, _ = one(testbed, f"redis://{redis.host}", "limits.requests_per_minute=1000000", workers=2)
    pids = {"daemon": service.daemon.pid, **{f"worker {n}": pid for n, pid in enumerate(service.worker_pids())}}
    memory = {}

    def chats(seconds):
        report = many_turns(service.host, 4, 1, "[[" + json.dumps({"tokens": 20, "first_delay_us": 300000}) + "]]", seconds=seconds)
        assert report["failed"] == 0 and report["whole"] > 0, report
        return report["whole"]

    def measure(when):
        memory[when] = {name: proportional_set_kib(pid, "Pss_Anon") for name, pid in pids.items()}
        print(when, {name: (kib, proportional_set_kib(pids[name])) for name, kib in memory[when].items()}, "KiB",
              value(service, "turns_unsaved"), "turns wait")

    chats(OUTAGE_S // 10)
    measure("before")
    redis.kill()
    turns = 0
    for part in range(1, 11):
        turns += chats(OUTAGE_S // 10)
        wait_until(lambda: value(service, "turns_unsaved") == turns, "all turns are counted")
        measure(part)
        assert service.status()["conversations"] == {"away": True, "unsaved_turns": turns, "lost_turns": 0}
    redis.start()  # it has forgotten what was before
    stored(service)
    measure("stored")
    turns += chats(OUTAGE_S // 10)
    measure("after")
    wait_until(lambda: service.ctl("threads", "stat")["turns"] == turns, "all turns are stored")
    assert value(service, "turns_lost_total") == 0
    if PATIENCE == 1:  # without sanitizers
        for name, kib in memory[10].items():
            assert kib < memory[1][name] + 512, (name, memory)


@pytest.mark.long
def test_what_waits_is_bounded_and_what_is_lost_is_counted(testbed):
    redis = Redis(testbed)
    service, llm = one(testbed, f"redis://{redis.host}", "threads.max_unsaved_bytes=20000")
    service.chat("before", LONG)
    redis.kill()
    for n in range(30):
        assert service.chat(str(n) * 1000, f"thread-{n:08}").whole
    waiting, lost = value(service, "turns_unsaved"), value(service, "turns_lost_total")
    assert waiting + lost == 30 and 5 < waiting < 20
    redis.start()
    stored(service)
    assert service.ctl("threads", "stat")["threads"] == waiting
    service.chat("after", "thread-00000029")
    assert said(llm) == ["29" * 1000, "after"]


def test_where_conversations_are_required_chats_are_refused(testbed):
    redis = Redis(testbed)
    service, llm = one(testbed, f"redis://{redis.host}", "threads.required=true", "http.api=true", "http.thread_headers=thread-id")
    assert service.chat("before", LONG).whole
    redis.kill()
    wait_until(lambda: "could not be loaded" in service.chat("away", LONG).text, "a refusal")
    chats = len(llm.chats())
    body = {"model": AGENT, "messages": [{"role": "user", "content": "away"}]}
    status, _, answer = post(service.host, body, headers={"thread-id": LONG})
    assert status == 503 and "could not be loaded" in answer["error"]["message"]
    assert post(service.host, body)[0] == 200  # needs no stored conversation
    assert len(llm.chats()) == chats + 1
    redis.start()
    wait_until(lambda: service.chat("after", LONG).text.startswith("yes"), "an answer", 20)


def test_conversations_are_copied_between_stores(testbed):
    redis = Redis(testbed)
    service, llm = testbed.one({"text": ["yes"]}, conf="")
    database, url = service.sets[-1].removeprefix("threads.store="), f"redis://{redis.host}"
    for n in range(5):
        for word in ("first", "second")[: 1 + n % 2]:
            service.chat(word, f"thread-{n:04}")
    service.chat("short", "7")
    copied = lambda *way: (lambda d: tuple(d[k] for k in ("threads", "turns", "short_ids", "differ")))(service.ctl("threads", "copy", *way))
    assert copied(database, url) == (6, 7, 1, 0)
    assert copied(database, url) == (6, 0, 1, 0)  # again: nothing is there twice
    service.chat("third", "thread-0001")
    other, other_llm = one(testbed, url)
    other.chat("elsewhere", "thread-0002")
    assert copied(database, url) == (6, 1, 1, 1)
    other.chat("next", "thread-0001")
    assert said(other_llm) == ["first", "second", "third", "next"]
    back = f"sqlite:{service.directory}/back.db"
    assert copied(url, back) == (5, 10, 0, 0)
    exported = [json.loads(line) for line in other.ctl("threads", "export", ok=False).stdout.splitlines()]
    assert sum(len(t["turns"]) for t in exported) == 10
    missing = service.ctl("threads", "copy", database, f"redis://127.0.0.1:{testbed.closed_port()}", ok=False)
    assert missing.returncode == 1 and "Connection refused" in missing.stdout + missing.stderr


@pytest.mark.long
def test_a_stopped_server_holds_nobody_up_twice(testbed):
    redis = Redis(testbed)
    service, llm = one(testbed, f"redis://{redis.host}")
    service.chat("before", LONG)
    redis.process.send(signal.SIGSTOP)
    for n in range(30):  # half a minute, if each waited
        assert service.chat(f"stopped {n}", LONG).whole
    redis.process.send(signal.SIGCONT)
    stored(service)
    service.chat("after", LONG)
    assert said(llm)[0] == "before" and said(llm)[-2:] == ["stopped 29", "after"]


@pytest.mark.long
@pytest.mark.parametrize("break_it, fix_it, word", [
    (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0"), "OOM"),
    (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE"), "READONLY")])
def test_a_server_that_stores_nothing_is_read(testbed, break_it, fix_it, word):
    redis = Redis(testbed)
    service, llm = one(testbed, f"redis://{redis.host}")
    service.chat("before", LONG)
    redis.cli(*break_it)
    assert service.chat("refused", LONG).whole
    service.responder.wait_log(f"threads_redis.*{word}")
    service.chat("next", LONG)
    assert said(llm) == ["before", "refused", "next"]
    redis.cli(*fix_it)
    stored(service)
    assert len(service.ctl("threads", "show", LONG)["turns"]) == 3


@pytest.mark.long
def test_passwords_are_needed_and_never_shown(testbed):
    redis = Redis(testbed, "--requirepass", "hush-hush")
    service, llm = one(testbed, f"redis://{redis.host}")
    assert service.chat("no password", LONG).whole
    service.responder.wait_log("threads_redis.*NOAUTH")
    password = testbed.directory / "password"
    password.write_text("hush-hush\n")
    for sets, env in ((["redis.password_file=" + str(password)], {}), ([], {"AGENT_REDIS_PASSWORD": "hush-hush"})):
        service, llm = one(testbed, f"redis://{redis.host}", *sets, env=env)
        service.chat("first", LONG)
        service.chat("second", LONG)
        assert said(llm)[-2:] == ["first", "second"]
        service.ctl("threads", "delete", LONG)
        for text in (json.dumps(service.ctl("config")), service.responder.log(), service.daemon.log()):
            assert "hush-hush" not in text
    service, llm = one(testbed, f"redis://{redis.host}", env={"AGENT_REDIS_PASSWORD": "a wrong one"})
    assert service.chat("wrong password", LONG).whole
    service.responder.wait_log("threads_redis.*the password is refused")


def test_a_password_in_the_url_is_masked(testbed):
    redis = Redis(testbed, "--requirepass", "hush-hush")
    llm = testbed.llm(text=["yes"])
    service = testbed.service(start=False, backend=testbed.backend({"d1": llm.deployment()}), conf=(
        f'threads: {{ store = "redis://default:hush-hush@{redis.host}"; }};\n'))
    service.sets.clear()
    service.conf.chmod(0o600)
    service.start().wait_ready()
    service.chat("first", LONG)
    service.chat("second", LONG)
    assert said(llm) == ["first", "second"]
    shown = [json.dumps(x) for x in (service.ctl("config"), service.ctl("threads", "list"), service.status())]
    shown.append(service.ctl("doctor", ok=False).stdout)
    for text in shown:
        assert text.replace("hush-hush", "") == text
    assert f"redis://default:***@{redis.host}" in shown[0] and f"redis://default:***@{redis.host}" in shown[1]
    redis.kill()
    service.chat("away", LONG)
    assert "hush-hush" not in service.responder.log() + service.daemon.log()


def test_tls_with_an_authority_of_its_own(testbed):
    authority, certificate, key = testbed.certificate()
    redis = Redis(testbed, tls=(authority, certificate, key))
    service, llm = one(testbed, f"rediss://localhost:{redis.port}", f"redis.ca_file={authority}")
    service.chat("first", LONG)
    service.chat("second", LONG)
    assert said(llm) == ["first", "second"]
    assert len(service.ctl("threads", "show", LONG)["turns"]) == 2
    stranger, _ = one(testbed, f"rediss://localhost:{redis.port}")
    assert stranger.chat("not trusted", LONG).whole
    stranger.responder.wait_log("threads_redis.*certificate is refused")


def test_a_server_that_wants_a_certificate_of_its_clients(testbed):
    authority, certificate, key = testbed.certificate()
    redis = Redis(testbed, tls=(authority, certificate, key), strict=True)
    mine = testbed.directory / "mine.pem"
    mine.write_text(certificate.read_text() + key.read_text())
    url, trust = f"rediss://localhost:{redis.port}", f"redis.ca_file={authority}"
    for sets in [f"redis.cert_file={certificate}", f"redis.key_file={key}"], [f"redis.cert_file={mine}"]:
        service, llm = one(testbed, url, trust, *sets)
        service.chat("first", LONG)
        service.chat("second", LONG)
        assert said(llm)[-2:] == ["first", "second"]
        service.ctl("threads", "delete", LONG)
    stranger, _ = one(testbed, url, trust)
    assert stranger.chat("who is that?", LONG).whole
    stranger.responder.wait_log(r"threads_redis.*certificate (required|\(redis.cert_file\))")
    # One that is renewed is used without a reload.
    renewed = testbed.directory / "renewed.pem"
    late, llm = one(testbed, url, trust, f"redis.cert_file={renewed}")
    assert late.chat("early", LONG).whole
    late.responder.wait_log(r"threads_redis.*renewed.pem cannot be used as our certificate \(redis.cert_file\)")
    renewed.write_text(mine.read_text())
    stored(late)
    late.chat("late", LONG)
    assert said(llm) == ["early", "late"]


@pytest.mark.long
def test_sentinels_have_a_password_of_their_own(testbed):
    group = Group(testbed, password="hush-hush")
    file = testbed.directory / "password"
    file.write_text("hush-hush\n")
    name, env = "redis.sentinel_password_file", {"AGENT_REDIS_SENTINEL_PASSWORD": "hush-hush"}
    conf = f'threads: {{ store = "{group.url}?sentinel_password=hush-hush"; }};\n'
    for sets, more in ([f"{name}={file}"], {}), ([], env), (None, {}):
        if sets is None:  # a secret may not be on the command line
            llm = testbed.llm(text=["yes"])
            service = testbed.service(start=False, backend=testbed.backend({"d1": llm.deployment()}), conf=conf)
            service.sets.clear()
            service.conf.chmod(0o600)
            service.start().wait_ready()
        else:
            service, llm = one(testbed, group.url, *sets, env=more)
        service.chat("first", LONG)
        service.chat("second", LONG)
        assert said(llm)[-2:] == ["first", "second"]
        service.ctl("threads", "delete", LONG)
        for text in json.dumps([service.ctl("config"), service.status()]), service.responder.log(), service.daemon.log():
            assert "hush-hush" not in text
    for more, words in ({}, "NOAUTH"), ({"AGENT_REDIS_SENTINEL_PASSWORD": "wrong"}, r"the password is refused \(redis.sentinel_password\)"):
        service, llm = one(testbed, group.url, env=more)
        assert service.chat("refused", LONG).whole
        service.responder.wait_log(f"threads_redis.*{words}")


@pytest.mark.long
def test_the_master_of_a_group_dies(testbed):
    group = Group(testbed)
    service, llm = one(testbed, group.url, workers=2)
    service.chat("before", LONG)
    group.master.kill()
    turns = 0
    while group.replica.cli("ROLE").split()[0] != "master" or turns < 20:
        assert service.chat(f"turn {turns}", f"thread-{turns:04}").whole
        turns += 1
    stored(service)
    assert value(service, "turns_lost_total") == 0
    wait_until(lambda: value(service, "stores_away") == 0, "the new master is used", 20)
    assert service.ctl("threads", "stat")["threads"] == turns + 1
    service.chat("after", LONG)
    assert said(llm) == ["before", "after"]


@pytest.mark.long
def test_a_cluster_has_each_thread_on_one_server(testbed):
    cluster = Cluster(testbed)
    service, llm = one(testbed, cluster.url, workers=2)
    for n in range(12):
        service.chat("first", f"thread-{n:04}")
    for n in range(12):
        service.chat("second", f"thread-{n:04}")
        assert said(llm) == ["first", "second"]
    assert all(int(s.cli("DBSIZE")) > 0 for s in cluster.servers)
    assert service.ctl("threads", "stat")["turns"] == 24
    assert len(service.ctl("threads", "list")["threads"]) == 12
    # Slots move while it runs.
    moved = cluster.servers[0].cli("--cluster", "reshard", cluster.servers[0].host, "--cluster-from", "all", "--cluster-to",
                                   cluster.servers[2].cli("CLUSTER", "MYID").strip(), "--cluster-slots", 2000, "--cluster-yes")
    assert "Moving slot" in moved
    for n in range(12):
        service.chat("third", f"thread-{n:04}")
        assert said(llm) == ["first", "second", "third"]
    service.ctl("threads", "delete-all")
    assert {key for s in cluster.servers for key in s.cli("KEYS", "*").split()} <= {"tt:{hosts}"}  # that is no conversation


@pytest.mark.long
def test_a_master_of_a_cluster_dies(testbed):
    """Turns wait for its replica to take over. None fails, and none is lost."""
    cluster = Cluster(testbed, replicas=1)
    service, llm = one(testbed, cluster.url, workers=2)
    masters, count = cluster.masters(), 12
    threads = [f"thread-{n:04}" for n in range(count)]
    for thread in threads:
        assert service.chat("before", thread).whole
    for master in masters:
        wait_until(lambda m=master: m.cli("WAIT", 1, 100).strip() == "1", "its replica has all")
    masters[0].kill()
    turns = 1
    while set(cluster.masters()) & {masters[0]} or turns < 4:
        for thread in threads:
            assert service.chat(f"turn {turns}", thread).whole
        turns += 1
    stored(service)
    wait_until(lambda: value(service, "stores_away") == 0, "the new master is used", 20)
    assert value(service, "turns_lost_total") == 0
    for thread in threads:
        service.chat("after", thread)
        assert said(llm) == ["before", *(f"turn {n}" for n in range(1, turns)), "after"]
    assert service.ctl("threads", "stat")["turns"] == count * (turns + 1)
    masters[0].start()  # it is a replica now
    wait_until(lambda: masters[0].cli("ROLE").split()[0] == "slave", "it is a replica", 20)
    for thread in threads:
        assert service.chat("later", thread).whole and said(llm)[-2:] == ["after", "later"]


@pytest.mark.long
def test_the_death_of_a_master_that_nobody_uses_is_over(testbed):
    """The store is not away for ever because no turn needs its server."""
    cluster = Cluster(testbed, replicas=1)
    service, _ = one(testbed, cluster.url, workers=2)
    service.chat("before", LONG)
    dead = cluster.masters()[0]
    dead.kill()
    wait_until(lambda: dead not in cluster.masters(), "another one is the master", 20)
    wait_until(lambda: value(service, "stores_away") == 0, "the store is there", 20)
    assert "conversations" not in service.status()


# In Lua: threads of a turn each, used one after the other.
FILL = """
for i = ARGV[1], ARGV[2] do
  local key = 'tt:{' .. redis.sha1hex(i) .. string.format('%024x', i) .. '}:'
  redis.call('HSET', key .. 'm', 'subject', 'alice', 'thread_id', string.format('thread-%08d', i), 'run', '', 'created', i, 'used', i,
             'n', 1, 'bytes', 10)
  redis.call('RPUSH', key .. 't', '{"number":1,"at":' .. i .. ',"id":"x","mark":"y","messages":[]}')
end
"""


@pytest.mark.parametrize("count", [2500, pytest.param(100000, marks=pytest.mark.long)])
def test_many_threads_are_listed_in_little_memory(testbed, count):
    redis = Redis(testbed)
    service, _ = one(testbed, f"redis://{redis.host}")
    for first in range(1, count, 10000):
        redis.cli("EVAL", FILL, 0, first, min(first + 9999, count))
    names = [f"thread-{n:08}" for n in range(count, 0, -1)]
    for words in ["--json"], []:
        limit = ["prlimit", f"--data={(24 << 20) + count * 160}"] if PATIENCE == 1 else []  # without sanitizers
        done = subprocess.run([*limit, BUILD / "tt-agentctl", "--run-dir", service.run, *words, "threads", "list"], capture_output=True, text=True, env=clean_env())
        assert done.returncode == 0, done.stderr
        text = done.stdout
        if words:
            listed = json.loads(text)
            assert [t["thread_id"] for t in listed["threads"]] == names and listed["store"] == f"redis://{redis.host}"
            assert listed["threads"][0] == {"thread_id": names[0], "subject": "alice", "turns": 1, "bytes": 10, "created": count / 1000,
                                            "used": count / 1000, "short_id": False}
        else:
            heading, *rows = text.splitlines()
            assert heading.split()[:2] == ["THREAD", "SUBJECT"] and [row.split()[0] for row in rows] == names


def test_a_list_that_breaks_off_does_not_look_whole(testbed):
    redis = Redis(testbed)
    service, _ = one(testbed, f"redis://{redis.host}")
    redis.cli("EVAL", FILL, 0, 1, 300)
    found = redis.cli("EVAL", "return redis.sha1hex(ARGV[1]) .. string.format('%024x', ARGV[1])", 0, 10).strip()
    redis.cli("EVAL", "redis.call('HSET', KEYS[1], 'thread_id', '\\255')", 1, f"tt:{{{found}}}:m")
    for words in [], ["--json"]:
        done = subprocess.run([BUILD / "tt-agentctl", "--run-dir", service.run, *words, "threads", "list"], capture_output=True, text=True,
                              env=clean_env())
        assert done.returncode == 1 and "is not UTF-8" in done.stderr
    assert "thread-00000300" in done.stdout
    with pytest.raises(json.JSONDecodeError):
        json.loads(done.stdout)

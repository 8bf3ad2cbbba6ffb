# SPDX-License-Identifier: Apache-2.0
"""What is remembered of conversations, and for how long."""

import json
import os
import random
import signal
import socket
import sqlite3
import threading
import time
import uuid

import pytest
from harness import fastcgi, llm_script
from harness.http_client import Turn
from harness.process import wait_until

LONG = "a-thread-of-its-own"


def said(llm):
    """The user's words of the last request to the LLM, oldest first."""
    return [m["content"] for m in llm.chats()[-1]["body"]["messages"] if m["role"] == "user"]


def restart_responder(service):
    assert service.responder.stop() == 0
    service.start_responder()
    wait_until(service.answers, "an answer", 20)
    service.wait_ready()


def test_turns_survive_a_restart_but_short_ids_do_not(testbed):
    service, llm = testbed.one({"text": ["yes"]})
    for thread in (LONG, "7"):
        assert service.chat("first", thread).whole
    restart_responder(service)
    service.chat("second", LONG)
    assert said(llm) == ["first", "second"]
    service.chat("second", "7")
    assert said(llm) == ["second"]
    service.chat("third", "7")
    assert said(llm) == ["second", "third"]


def test_a_reload_keeps_short_ids(testbed):
    service, llm = testbed.one({"text": ["yes"]})
    service.chat("first", "7")
    service.responder.send(signal.SIGHUP)
    service.responder.wait_log("old_workers_draining")
    service.chat("second", "7")
    assert said(llm) == ["first", "second"]


def test_a_reload_may_move_the_database(testbed):
    service, llm = testbed.one({"text": ["yes"]}, conf="", sets=["threads.store=memory:"], workers=2)
    old = service.worker_pids()
    service.sets.remove("threads.store=memory:")
    service.daemon.stop()
    service.start_daemon()
    service.conf.write_text(f'threads: {{ store = "sqlite:{service.directory}/moved.db"; }};\n')
    wait_until(service.takes_commands, "the daemon's answer")
    service.ctl("reload")
    for pid in old:
        service.responder.wait_log(f"worker_draining pid={pid} ")  # from now on it accepts nothing
    for word in ("first", "second"):  # nginx may still have kept connections to old workers
        body = json.dumps({"message": word, "thread_id": LONG}).encode()
        assert b"[STATS]" in fastcgi.ask(service.socket, "POST", "/poll_requests", body)[1]
    assert said(llm) == ["first", "second"]
    assert [t["thread_id"] for t in service.ctl("threads", "list")["threads"]] == [LONG]


def test_workers_share_what_they_remember(testbed):
    service, llm = testbed.one({"text": ["yes"]}, workers=3)
    words = [f"word {n}" for n in range(12)]
    for n, word in enumerate(words):
        # Requested right after the statistics, from any worker.
        assert service.chat(word, LONG).whole
        assert said(llm) == words[: n + 1]


def metric(service, name):
    text = service.http.get("/metrics").text
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name) and not line.startswith("#"))


def test_many_threads_over_all_workers(testbed):
    """Turns of many threads in turns, each right after the one before: none is missed, and most are known without the database."""
    service, llm = testbed.one({"text": ["yes"]}, workers=2)
    chance, words, wrong = random.Random(5), {f"a-longer-name-{n}": [] for n in range(24)}, []

    def talk(threads):
        for _ in range(40):
            thread = chance.choice(threads)
            words[thread].append(f"{thread} {len(words[thread])}")
            if not service.chat(words[thread][-1], thread).whole:
                wrong.append(thread)

    talkers = [threading.Thread(target=talk, args=(list(words)[i::6],)) for i in range(6)]
    for t in talkers:
        t.start()
    for t in talkers:
        t.join()
    assert not wrong
    for chat in llm.chats():
        user = [m["content"] for m in chat["body"]["messages"] if m["role"] == "user"]
        thread = user[0].split()[0]
        assert user == words[thread][:len(user)] and len(user) == int(user[-1].split()[1]) + 1
    assert metric(service, "tt_agent_threads_known_total") > 0


def test_what_another_program_deletes_is_gone(testbed):
    service, llm = testbed.one({"text": ["yes"]}, workers=2)
    for word in ("one", "two"):
        assert service.chat(word, LONG).whole
    database = sqlite3.connect(service.directory / "threads.db", isolation_level=None)
    delete = "DELETE FROM history WHERE number = 2 AND thread_id = ?"
    wait_until(lambda: database.execute(delete, (LONG,)).rowcount == 1, "a turn in the database")
    database.close()
    for _ in range(2):
        assert service.chat("three", "another-long-name").whole
    assert service.chat("four", LONG).whole
    assert "two" not in said(llm)


@pytest.mark.parametrize("setting, param", [(None, "REMOTE_USER"), ("http.subject_header=X-Studio-User", "HTTP_X_STUDIO_USER")])
def test_users_that_the_web_server_authenticates_are_apart(testbed, setting, param):
    """Case 34: memory keyed by thread alone leaks between users."""
    service, llm = testbed.one({"text": ["yes"]}, sets=[setting] if setting else [])

    def ask(message, user):
        body = json.dumps({"message": message, "thread_id": LONG}).encode()
        _, answer = fastcgi.ask(service.socket, "POST", "/poll_requests", body, **{param: user})
        assert b"[STATS]" in answer

    ask("from ann", "ann")
    ask("from bob", "bob")
    assert said(llm) == ["from bob"]
    ask("ann again", "ann")
    assert said(llm) == ["from ann", "ann again"]


@pytest.mark.parametrize("first, second", [("ann", "bob"), ("bob", "ann")])
def test_nobody_becomes_another_user_by_another_spelling_of_the_header(testbed, first, second):
    """lighttpd passes on a client's X_Studio_User as well, before or after the X-Studio-User that it sets."""
    service, llm = testbed.one({"text": ["yes"]}, sets=["http.subject_header=X-Studio-User"])

    def ask(message, **params):
        body = json.dumps({"message": message, "thread_id": LONG}).encode()
        with fastcgi.connect(service.socket) as s:
            request = fastcgi.request("POST", "/poll_requests", body, **params)
            s.sendall(request.replace(b"HTTP_x_studio_user", b"HTTP_X_STUDIO_USER"))
            assert b"[STATS]" in fastcgi.read_answer(s)[1]

    for user in ("ann", "bob"):
        ask(f"from {user}", HTTP_X_STUDIO_USER=user)
    ask("from whom?", HTTP_X_STUDIO_USER=first, HTTP_x_studio_user=second)
    assert said(llm) == ["from whom?"]
    ask("ann again", HTTP_X_STUDIO_USER="ann", HTTP_x_studio_user="ann")
    assert said(llm) == ["from ann", "ann again"]


@pytest.mark.parametrize("setting", [
    "store=sqlite:{}/threads.db", "store=memory:", "store=sqlite:{}/no-such-directory/threads.db",
    "file={}/threads.db", "file=memory"])
def test_threads_of_a_short_id_are_forgotten_when_idle(testbed, setting):
    store = "threads." + setting.format(testbed.directory)
    service, llm = testbed.one({"text": ["yes"]}, sets=["threads.short_id_idle=0.3", "threads.expire=0", store])
    service.chat("first", "7")
    service.chat("first", LONG)
    time.sleep(0.4)  # that is what idle means
    service.chat("second", "7")
    assert said(llm) == ["second"]
    service.chat("second", LONG)
    assert said(llm) == ["first", "second"]


NO_NAMES = ["", " ", "\t\n", "\u00a0", "\u2003\u3000", "\u200b", "\ufeff"]


@pytest.mark.parametrize("store", ["sqlite:{}/threads.db", "memory:"])
def test_threads_without_a_name_are_never_shared(testbed, store, request):
    """What one user says reaches no other user's LLM, however many of them send an empty thread_id at once."""
    count = 1000 if request.config.getoption("--long") else 50
    service, llm = testbed.one({"echo": "users"}, workers=2, sets=["threads.store=" + store.format(testbed.directory)])

    asked = [(f"{('ann', 'bob')[n % 2]}-{n}.", NO_NAMES[n // 2 % len(NO_NAMES)]) for n in range(count)]
    for words, exchange in [(words, service.ask(words, thread)) for words, thread in asked]:
        turn = Turn(exchange)
        assert turn.whole and turn.answer == words, turn.text
    assert all([m["role"] for m in r["body"]["messages"]] == ["system", "user"] for r in llm.chats())
    if not store.startswith("memory"):
        assert service.ctl("threads", "list")["threads"] == []


@pytest.mark.parametrize("store", ["sqlite:{}/threads.db", "memory:"])
@pytest.mark.parametrize("name", ["", "\u3000"])
def test_a_thread_without_a_name_is_not_stored_by_another_worker(testbed, store, name):
    service, llm = testbed.one(workers=2, sets=["threads.store=" + store.format(testbed.directory)])
    wait_until(lambda: any(m["context_length"] for m in service.ctl("models")["models"]), "what the LLM tells of itself")
    message = llm_script.words(200, delay_us=10000)
    turns = []
    exchanges = [service.ask(message, name) for _ in range(6)]
    readers = [threading.Thread(target=lambda e=e: turns.append(Turn(e))) for e in exchanges]
    for e in exchanges:
        e.head()
    for reader in readers:
        reader.start()
    os.kill(service.worker_pids()[0], signal.SIGKILL)
    for reader in readers:
        reader.join()
    assert all(t.whole for t in turns)
    assert sum(t.text == llm_script.said(200) for t in turns) >= 5
    service.chat("second", name)
    assert said(llm) == ["second"]
    if not store.startswith("memory"):
        assert service.ctl("threads", "list")["threads"] == []


def test_a_damaged_database_costs_the_memory_not_the_chat(testbed):
    service, llm = testbed.one({"text": ["yes"]}, sets=[])
    service.chat("first", LONG)
    assert service.responder.stop() == 0
    database = service.directory / "threads.db"
    for rest in ("-wal", "-shm"):
        database.with_name(database.name + rest).unlink(missing_ok=True)
    database.write_bytes(b"this is no database " * 1000)
    service.start_responder()
    service.wait_ready()
    for word in ("second", "third"):
        turn = service.chat(word, LONG)
        assert turn.whole and turn.answer == "yes"
        assert said(llm) == [word]
    service.responder.wait_log(r"threads_database error=.*not a database")
    database.unlink()
    wait_until(lambda: service.chat("again", LONG).whole and len(said(llm)) > 1, "memory again", 20)


def test_a_database_without_tables_yet_lists_nothing(testbed):
    service = testbed.service(start=False)
    service.start_daemon()
    wait_until(service.takes_commands, "the daemon's answer")
    (service.directory / "threads.db").touch(0o600)
    assert service.ctl("threads", "list")["threads"] == []


def test_the_admin_sees_exports_and_deletes(testbed):
    service, llm = testbed.one({"text": ["yes\x1b[2J"]})
    assert service.ctl("threads", "list", ok=False).returncode == 0
    for thread in (LONG, "7", LONG):
        service.chat("a question", thread)
    listed = service.ctl("threads", "list")["threads"]
    assert [(t["thread_id"], t["subject"], t["turns"], t["short_id"]) for t in listed] == [
        (LONG, "", 2, False), ("7", "", 1, True)]
    shown = service.ctl("threads", "show", LONG)
    assert [t["number"] for t in shown["turns"]] == [1, 2]
    assert shown["turns"][0]["messages"][0] == {"role": "user", "content": "a question"}
    lines = service.ctl("threads", "export", ok=False).stdout.splitlines()
    assert sorted(json.loads(line)["thread_id"] for line in lines) == ["7", LONG]
    size = service.ctl("threads", "stat")
    assert (size["threads"], size["turns"]) == (2, 3) and size["disk_bytes"] > size["bytes"] > 0
    assert (size["max_threads"], size["max_bytes"], size["evicted_threads"]) == (1000000, 1 << 30, 0)
    assert abs(size["oldest_used"] - time.time()) < 600
    for command in ("stat", "size"):
        assert "1073741824" in service.ctl("threads", command, ok=False).stdout
    assert service.ctl("threads", "delete-user", "ann")["message"] == "0 threads deleted"
    assert service.ctl("threads", "delete", LONG)["message"] == "1 thread deleted"
    assert service.ctl("threads", "show", LONG, ok=False).returncode == 1
    assert service.ctl("threads", "delete", LONG, ok=False).returncode == 1
    service.chat("again", LONG)
    assert said(llm) == ["again"]
    body = json.dumps({"message": "from ann", "thread_id": LONG}).encode()
    assert b"[STATS]" in fastcgi.ask(service.socket, "POST", "/poll_requests", body, REMOTE_USER="ann")[1]
    assert service.ctl("threads", "delete-user", "ann")["message"] == "1 thread deleted"
    assert service.ctl("threads", "delete-all")["message"] == "2 threads deleted"
    assert service.ctl("threads", "list")["threads"] == []
    assert service.ctl("threads", "show", ok=False).returncode == 2
    assert service.ctl("threads", ok=False).returncode == 2
    # What was deleted is in no file any more.
    for rest in ("", "-wal"):
        assert b"a question" not in (service.directory / f"threads.db{rest}").read_bytes()


def test_the_least_recently_used_threads_are_deleted_beyond_the_limit(testbed):
    service, _ = testbed.one({"text": ["yes"]}, sets=["threads.max_threads=5", "threads.max_turn_bytes=4096"])
    for n in range(12):
        assert service.chat(f"question {n}", f"{LONG}-{n}").whole
        assert service.chat("again", f"{LONG}-0").whole
    kept = {t["thread_id"] for t in service.ctl("threads", "list")["threads"]}
    assert len(kept) <= 5 and {f"{LONG}-0", f"{LONG}-11"} <= kept
    stat = service.ctl("threads", "stat")
    assert stat["threads"] == len(kept) and stat["evicted_threads"] == 12 - len(kept)
    assert service.chat("x" * 100000, f"{LONG}-long").whole
    (turn,) = service.ctl("threads", "show", f"{LONG}-long")["turns"]
    assert len(json.dumps(turn)) < 5000 and "[Cut here: " in turn["messages"][0]["content"]


def test_memory_shows_the_admin_nothing_and_says_why(testbed):
    service, _ = testbed.one({"text": ["yes"]}, sets=["threads.store=memory:"])
    service.chat("a question", LONG)
    for command in (["list"], ["show", LONG], ["stat"], ["delete-all"], ["export"]):
        refused = service.ctl("threads", *command, ok=False)
        assert refused.returncode == 1
        assert "in the memory of the responder's workers" in refused.stdout + refused.stderr


def turns_in_the_database(service, count):
    """They get there soon after they are told."""
    database = sqlite3.connect(service.directory / "threads.db")
    rows = lambda: database.execute("SELECT thread_id, number, messages FROM history ORDER BY id").fetchall()
    wait_until(lambda: len(rows()) >= count, f"{count} turns in the database")
    assert len(rows()) == count
    return rows()


def test_a_thousand_threads_at_once(testbed):
    service, llm = testbed.one({"text": ["yes"], "models": ["Llama-3.1-8B-Instruct"]}, workers=2)
    service_errors = []

    def talk(numbers):
        for n in numbers:
            for part in ("a", "b"):
                if not service.chat(f"marker-{n}-{part}", f"thread-{n}").whole:
                    service_errors.append(n)

    talkers = [threading.Thread(target=talk, args=(range(i, 1000, 20),)) for i in range(20)]
    for t in talkers:
        t.start()
    for t in talkers:
        t.join()
    assert not service_errors
    rows = turns_in_the_database(service, 2000)
    for thread, number, messages in rows:
        user = json.loads(messages)[0]["content"]
        assert user == f"marker-{thread.split('-')[1]}-{'ab'[number - 1]}"


def check_whole(path):
    """Every turn in the database is a user's words and an answer, or marked as interrupted."""
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    threads = {}
    for thread, first, number in db.execute("SELECT thread, first, number FROM history ORDER BY id"):
        threads.setdefault(thread, []).append((first, number))
    for turns in threads.values():
        assert [number for _, number in turns] == list(range(turns[-1][0], turns[-1][1] + 1))
    assert db.execute("SELECT threads FROM history ORDER BY id DESC LIMIT 1").fetchone()[0] == len(threads)
    for messages, in db.execute("SELECT messages FROM history"):
        roles = [m["role"] for m in json.loads(messages)]
        assert roles == ["user", "assistant"], roles
    count = db.execute("SELECT count(*) FROM history").fetchone()[0]
    db.close()
    return count


def listens(path):
    with socket.socket(socket.AF_UNIX) as s:
        return s.connect_ex(str(path)) == 0


@pytest.mark.parametrize("kills", [20, pytest.param(200, marks=pytest.mark.long)])
def test_killed_at_random_moments(testbed, kills):
    """The responder is killed while turns are stored: the database opens, no turn is half
    there, and what was answered to its end is there."""
    service, llm = testbed.one({"text": ["some ", "words ", "of ", "an answer"]}, workers=2)
    chance = random.Random(7)
    answered, stop, slow = [], threading.Event(), False

    def talk():
        while not stop.is_set():
            thread = uuid.uuid4().hex
            try:
                if service.chat("a question", thread).whole:
                    answered.append(thread)
            except (OSError, ValueError, AssertionError):
                pass

    talkers = [threading.Thread(target=talk) for _ in range(4)]
    for t in talkers:
        t.start()
    try:
        for _ in range(kills):
            before = len(answered)
            wait_until(lambda: len(answered) > before, "a turn", 20)
            time.sleep(chance.random() * 0.01)
            service.responder.kill()
            slow |= "history_slow" in service.responder.log()
            wait_until(lambda: not listens(service.socket), "the end of its workers")
            service.start_responder()
    finally:
        stop.set()
        for t in talkers:
            t.join()
    db = sqlite3.connect(service.directory / "threads.db")
    kept = lambda: {thread for thread, in db.execute("SELECT thread_id FROM history")}
    if not slow:  # else a client was not kept waiting until its turn was stored
        wait_until(lambda: set(answered) <= kept(), "all turns in the database")
    count = check_whole(service.directory / "threads.db")
    print(f"{kills} kills: {len(answered)} turns answered to their end, {count} kept, history_slow: {slow}")
    wait_until(service.answers, "an answer", 20)
    assert service.chat("still there", LONG).whole


def test_a_locked_database_costs_a_turn_its_memory_not_its_answer(testbed):
    service, llm = testbed.one({"text": ["yes"]})
    service.chat("first", LONG)
    lock = sqlite3.connect(service.directory / "threads.db", isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    try:
        turn = service.chat("second", LONG)
        assert turn.whole and turn.text == "yes"
    finally:
        lock.execute("ROLLBACK")
        lock.close()
    service.chat("third", LONG)
    assert said(llm)[0] == "first" and said(llm)[-1] == "third"


def test_threads_of_different_users_are_apart(testbed):
    """Case 34: Memory whose key is the thread alone leaks between users."""
    service, llm = testbed.one({"echo": "users"})
    message = lambda text: json.dumps({"message": text, "thread_id": "the-same-thread"}).encode()
    ask = lambda user, text: fastcgi.ask(service.socket, "POST", "/poll_requests", message(text), REMOTE_USER=user)[1].decode()
    ask("ada", "I am Ada")
    ask("bob", "I am Bob")
    answer = ask("ada", "who?")
    assert "I am Ada" in answer and "Bob" not in answer
    answer = ask("bob", "who?")
    assert "I am Bob" in answer and "Ada" not in answer
    answer = ask("", "who?")
    assert "Ada" not in answer and "Bob" not in answer

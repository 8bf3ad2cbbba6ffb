# SPDX-License-Identifier: Apache-2.0
"""tt-agentctl chat: in a pipe, and at a terminal."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import time

import pytest

from harness.llm_script import inline, words
from harness.process import BUILD, PATIENCE, clean_env
from harness.tool_mocks import CODE, SEARCH, search, search_env

PROGRAM = str(BUILD / "tt-agentctl")


def say(service, message, *options, url=None, env=None):
    """One message in a pipe."""
    return subprocess.run([PROGRAM, "chat", "--url", url or service.url, *options], input=message, capture_output=True, text=True,
                          timeout=60 * PATIENCE, env=clean_env(env))


class Terminal:
    """A conversation at a terminal of its own."""

    def __init__(self, *options, env=None):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(PROGRAM, [PROGRAM, "chat", *options], {**clean_env(env), "TERM": "xterm", "LC_ALL": "C.UTF-8"})
        self.text = ""

    def wait(self, pattern, deadline=20):
        """What the terminal has shown until the pattern, which it consumes."""
        end = time.monotonic() + deadline * PATIENCE
        while True:
            found = re.search(pattern, self.text, re.S)
            if found:
                shown, self.text = self.text[:found.end()], self.text[found.end():]
                return shown
            left = end - time.monotonic()
            assert left > 0 and select.select([self.fd], [], [], left)[0], f"no {pattern!r} in {self.text!r}"
            try:
                self.text += os.read(self.fd, 65536).decode(errors="replace")
            except OSError:
                raise AssertionError(f"it ended without {pattern!r}: {self.text!r}") from None

    def type(self, text):
        os.write(self.fd, text.encode())

    def has_ended(self, seconds):
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if select.select([self.fd], [], [], left)[0]:
                try:
                    if not os.read(self.fd, 65536):
                        return True
                except OSError:
                    return True
        return False

    def end(self):
        """Its exit status."""
        assert self.has_ended(20 * PATIENCE), "it does not end"
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def leave(self, key="\x04"):
        """Again if need be: before the editor has set the terminal up, the kernel takes the key. Its exit status."""
        for _ in range(10):
            self.type(key)
            if self.has_ended(2 * PATIENCE):
                break
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def close(self):
        try:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass
        os.close(self.fd)


@pytest.fixture(scope="module")
def service(shared):
    service, service_llm = shared.one()
    service.llm = service_llm
    return service


@pytest.fixture
def terminal(service):
    made = []

    def make(*options, **more):
        made.append(Terminal("--url", service.url, *options, **more))
        made[-1].wait("> ")
        return made[-1]
    yield make
    for t in made:
        t.close()


# --- in a pipe ---

def test_a_pipe_gets_the_answer_and_nothing_else(service):
    done = say(service, words(5))
    assert (done.returncode, done.stdout, done.stderr) == (0, "word0 word1 word2 word3 word4 \n", "")


def test_reasoning_and_tools_are_not_the_answer(testbed):
    mock = search(testbed)
    service, _ = testbed.one(env=search_env(mock))
    message = inline(rounds=[{"call": SEARCH, "args": {"query": "x"}}, {"text": ["It ", "is."]}])
    done = say(service, message)
    assert done.returncode == 0 and "Searching" not in done.stdout and "think" not in done.stdout and done.stdout.endswith("\n"), done


def test_the_whole_turn_is_a_document(service):
    done = say(service, words(3), "--json", "--thread", "12345678-a")
    answer = json.loads(done.stdout)
    assert answer["answer"] == "word0 word1 word2 " and answer["complete"] and answer["thread_id"] == "12345678-a"
    assert answer["statistics"]["tokens_decoded"] == 3 and done.returncode == 0


def test_a_thread_is_continued(service):
    for message in ("first", "second"):
        assert say(service, message, "--thread", "12345678-b").returncode == 0
    asked = [m["content"] for m in service.llm.chats()[-1]["body"]["messages"] if m["role"] == "user"]
    assert asked == ["first", "second"]


def test_an_answer_that_is_not_whole_is_no_success(testbed, service):
    done = say(service, inline(tokens=5, cut=3))
    assert done.returncode == 0, "the service ends it with a sentence and statistics"
    done = say(service, "x", url=f"http://127.0.0.1:{testbed.closed_port()}")
    assert done.returncode == 3 and "onnect" in done.stderr and done.stdout == ""
    done = say(service, " \n")
    assert done.returncode == 2 and "no message" in done.stderr
    done = say(service, "x", url=f"http://{service.nginx.prefix}")  # another site
    assert done.returncode == 1 and done.stdout.strip() in ("", "another site") and done.stderr


def test_the_service_that_waits_for_an_llm_says_so(testbed):
    service = testbed.service(backend=testbed.backend())
    done = say(service, "Hello")
    assert done.returncode == 1 and done.stdout == "" and "waiting for LLM" in done.stderr, done


def test_what_an_answer_cannot_hold_is_shown_as_it_is(service):
    text = "a <think> b [STATS]{x} c `</think>` d [STATS] e\n"
    done = say(service, inline(text=[text]))
    assert done.stdout == text, done


# --- at a terminal ---

def test_an_answer_streams_and_its_statistics_are_dim(terminal):
    t = terminal()
    t.type(words(3) + "\r")
    t.wait(r"word0 word1 word2 \r\n")
    t.wait(r"\x1b\[2m3 tokens, the first after [0-9.]+ s, all after [0-9.]+ s, [0-9.]+ tokens/s\x1b\[0m\r\n")
    t.wait("> ")
    assert t.leave() == 0


def test_reasoning_is_dim(terminal, service):
    t = terminal()
    t.type(inline(reasoning=["Let me ", "see."], text=["Four."]) + "\r")
    t.wait(r"\x1b\[2mLet me see\..*\x1b\[0m.*Four\.")


def test_a_message_has_several_lines(terminal, service):
    t = terminal()
    t.type("one\\\rtwo\r")
    t.wait("tokens/s")
    assert service.llm.chats()[-1]["body"]["messages"][-1]["content"] == "one\ntwo"
    t.wait("> ")
    t.type("three\rfour\r")  # a paste: all of it at once
    t.wait("tokens/s")
    assert service.llm.chats()[-1]["body"]["messages"][-1]["content"] == "three\nfour"


def test_ctrl_c_stops_the_answer_and_another_one_leaves(terminal, service):
    t = terminal()
    t.type(words(1000, delay_us=20000) + "\r")
    t.wait("word2 ")
    t.type("\x03")
    t.wait("stopped")
    t.wait("> ")
    t.type("never sent\x03")  # empties the line
    t.type(words(2) + "\r")
    t.wait("word0 word1 ")
    t.wait("> ")
    assert t.leave("\x03") == 0


def test_earlier_lines_come_back(terminal, service):
    t = terminal()
    if not b"el_gets" in open(PROGRAM, "rb").read():
        pytest.skip("built without libedit")
    t.type("say this again\r")
    t.wait("tokens/s")
    t.wait("> ")
    t.type("\x1b[A\r")
    t.wait("tokens/s")
    asked = [m["content"] for m in service.llm.chats()[-1]["body"]["messages"] if m["role"] == "user"]
    assert asked == ["say this again", "say this again"]


def test_an_answer_cannot_control_the_terminal(terminal):
    t = terminal(env={"NO_COLOR": "1"})
    t.type(inline(text=["a\x1b[2Jb\u009b31mc"]) + "\r")
    assert "a?[2Jb?31mc" in t.wait("tokens/s")


# --- a model that was named: /v1/chat/completions, here of the LLM itself ---

def test_a_named_model_answers(service):
    done = say(service, words(3), "--model", "some-model", "--thread", "12345678-c", url=service.llm.url)
    assert (done.returncode, done.stdout) == (0, "word0 word1 word2 \n"), done
    body = service.llm.chats()[-1]["body"]
    assert body["model"] == "some-model" and body["metadata"] == {"thread_id": "12345678-c"} and body["stream"] is True


def test_a_named_model_whose_answer_breaks_off_is_no_success(service):
    done = say(service, inline(tokens=9, cut=200), "--model", "some-model", url=service.llm.url)
    assert done.returncode == 1 and done.stderr, done


def test_a_refusal_says_why(service):
    done = say(service, inline(status=401, body='{"error":{"message":"no such key"}}'), "--model", "x", "--token-env", "SOME_KEY",
               url=service.llm.url, env={"SOME_KEY": "hush-key"})
    assert done.returncode == 1 and "HTTP 401: no such key" in done.stderr and "hush" not in done.stderr + done.stdout, done
    done = say(service, "x", "--token-env", "NO_SUCH_VARIABLE")
    assert done.returncode == 2 and "--token-env" in done.stderr

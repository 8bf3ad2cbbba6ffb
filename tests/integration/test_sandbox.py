# SPDX-License-Identifier: Apache-2.0
"""The local sandbox: code that tries to break out of it or to take too much, and who may wait for whom."""

import contextlib
import json
import os
import re
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from harness.channel import Channel
from harness.daemon import replace_file
from harness.process import PATIENCE, wait_until
from harness.runner import Runner, children, lives
from harness.tool_mocks import CODE, call, calls, rounds

PLAIN = "Hello, world! Grüße 😀\nBye."


@pytest.fixture(scope="module", params=["root", "nobody"])
def runner(request, shared_users):
    return shared_users(request.param)


@pytest.fixture(scope="module")
def shared_users(shared):
    made = {}

    def get(user):
        if user not in made:
            made[user] = Runner(shared, user, env={"SECRET": "hunter2"}, options=["--sandboxes", 24])
        return made[user]

    return get


def attempts(*lines):
    """Tries each expression; prints the ones that succeed."""
    tries = "".join(f"attempt({line!r})\n" for line in lines)
    return ("import os, socket, subprocess, ctypes, mmap\ndef attempt(e):\n  try: print('DONE', e, eval(e))\n"
            "  except BaseException as x: print('no', type(x).__name__)\n") + tries


# ---- what cannot be reached -----------------------------------------------------------------------


def test_there_is_no_network(runner):
    tcp = socket.create_server(("127.0.0.1", 0))
    abstract = socket.socket(socket.AF_UNIX)
    name = f"\0tt-test-{os.getpid()}-{time.monotonic_ns()}"
    abstract.bind(name)
    abstract.listen()
    text, errors = runner.run(attempts(
        f"socket.create_connection(('127.0.0.1', {tcp.getsockname()[1]}), 1)",
        "socket.create_connection(('1.1.1.1', 53), 1)",
        "socket.getaddrinfo('example.org', 80)",
        "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('1.1.1.1', 53))",
        "socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)",
        "socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
        f"socket.socket(socket.AF_UNIX).connect({name!r})",
        f"socket.socket(socket.AF_UNIX).connect({str(runner.path)!r})",
        "open('/sys/class/net/eth0/address')",
        "socket.if_nameindex()",
    ) + "import fcntl, struct\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\nnames = set()\nfor i in range(1, 99):\n"
        "  try: names.add(fcntl.ioctl(s, 0x8910, struct.pack('16si', b'', i) + bytes(64))[:16].rstrip(b'\\0').decode())\n"
        "  except OSError: pass\nprint(names - {'lo'})\n")
    assert "DONE" not in text and text.count("no ") == 10 and text.endswith("set()\n") and not errors, text
    for listener in (tcp, abstract):
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()
        listener.close()


def test_nothing_of_the_machine_is_seen_or_written(runner):
    text, errors = runner.run(attempts(
        "open('/etc/passwd')", "open('/etc/shadow')", "os.listdir('/root')", "os.listdir('/home')", "os.listdir('/var')",
        "os.listdir('/run')", f"os.listdir({str(runner.directory)!r})", "os.listdir('/sys')",
        "open('/x', 'w')", "open('/usr/x', 'w')", "open('/usr/bin/python3', 'r+b')", "open('/dev/x', 'w')",
        "open('/dev/shm/x', 'w')", "open('/proc/sys/kernel/hostname', 'w')", "open('/proc/1/environ').read()[:0] + 'x' * 0 or 1/0",
        "os.mknod('/tmp/null', 0o600 | 0o20000, os.makedev(1, 3))", "open('/dev/sda', 'rb')", "open('/dev/mem', 'rb')",
        "open('/proc/kcore', 'rb').read(1)", "open('/proc/sysrq-trigger', 'w')",
    ) + "print(sorted(set(os.listdir('/')) - {'proc'}), os.getuid(), os.getgid(), dict(os.environ), os.path.exists('/tmp/left'))\n"
        "open('/tmp/left', 'w').write('x')\n")
    assert "DONE" not in text and not errors, text
    assert "['bin', 'dev', 'lib', 'lib64', 'tmp', 'usr'] 65534 65534" in text.replace("'lib32', ", "").replace("'libx32', ", ""), text
    assert "hunter2" not in text and "SECRET" not in text
    # Nothing stays for the next run.
    assert runner.run("import os\nprint(os.listdir('/tmp'))") == ("[]\n", [])


def test_no_rights_are_gained(runner):
    text, errors = runner.run(attempts(
        "os.setuid(0)", "os.setgroups([0])", "os.chroot('/tmp')",
        "ctypes.CDLL(None, use_errno=True).unshare(0x10000000) and 1/0",
        "ctypes.CDLL(None, use_errno=True).mount(b'none', b'/tmp', b'tmpfs', 0, None) and 1/0",
        "ctypes.CDLL(None, use_errno=True).umount2(b'/usr', 2) and 1/0",
        "ctypes.CDLL(None, use_errno=True).reboot(0) and 1/0",
        "subprocess.run(['unshare', '-U', 'true'], check=True, stderr=subprocess.DEVNULL)",
        "subprocess.run(['su', '-c', 'id'], check=True, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)",
        "os.kill(%d, 9)" % runner.pid, "os.fstat(3)", "os.fstat(4)",
    ) + "print([p for p in os.listdir('/proc') if p.isdigit()] if os.path.isdir('/proc') else [])\nprint(subprocess.run(['grep', "
        "'NoNewPrivs', '/proc/self/status'], capture_output=True, text=True).stdout or 'NoNewPrivs: 1')")
    assert "DONE" not in text and not errors, text
    assert text.split("\n")[-2].split() == ["NoNewPrivs:", "1"] or "NoNewPrivs:\t1" in text, text
    assert runner.process.alive()


REFUSED = {
    "io_uring_setup": 425, "userfaultfd": 323, "keyctl": 250, "add_key": 248, "request_key": 249, "bpf": 321, "perf_event_open": 298,
    "ptrace": 101, "process_vm_readv": 310, "mount": 165, "umount2": 166, "unshare": 272, "setns": 308, "clone3": 435, "fsopen": 430,
    "kexec_load": 246, "init_module": 175, "quotactl": 179, "personality": 135, "pidfd_getfd": 438, "name_to_handle_at": 303,
    "open_by_handle_at": 304, "shmget": 29, "semget": 64, "msgget": 68, "mq_open": 240, "memfd_create": 319, "memfd_secret": 447,
    "inotify_init1": 294, "fanotify_init": 300, "io_setup": 206, "vmsplice": 278, "mbind": 237, "modify_ldt": 154, "swapon": 167,
}


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="has other numbers of system calls")
def test_system_calls_that_reach_further_are_refused(runner):
    text, errors = runner.run(
        "import ctypes, errno\nlibc = ctypes.CDLL(None, use_errno=True)\n"
        f"for name, number in {REFUSED!r}.items():\n"
        "  if libc.syscall(number, 0, 0, 0, 0, 0, 0) != -1 or ctypes.get_errno() != errno.ENOSYS: print(name, ctypes.get_errno())\n")
    assert (text, errors) == ("", [])


@pytest.mark.parametrize("family", ["AF_NETLINK", "AF_VSOCK", "AF_ALG", "AF_PACKET", "AF_BLUETOOTH", "AF_CAN"])
def test_sockets_that_reach_the_kernel_or_its_host_are_refused(runner, family):
    text, errors = runner.run(f"import socket\ntry: socket.socket(socket.{family}, socket.SOCK_RAW)\nexcept OSError as e: print(e.errno)\n")
    assert (text, errors) == ("97\n", [])  # EAFNOSUPPORT


# add_key, and what finds a key, in each keyring that a process may inherit.
KEYS = ("import ctypes\nlibc = ctypes.CDLL(None)\nif libc.syscall(250, 11, {ring}, ctypes.create_string_buffer(99), 99) >= 0: print('a keyring')\n"
        "if libc.syscall(249, b'user', b'tt-test', None, 0) > 0: print('the key of another run')\n"
        "libc.syscall(248, b'user', b'tt-test', b'secret', 6, {ring})\n")


@pytest.mark.parametrize("ring", [-3, -4, -5], ids=["session", "user", "user session"])
def test_keys_do_not_pass_from_run_to_run(runner, ring):
    assert [runner.run(KEYS.format(ring=ring)) for _ in range(2)] == [("", [])] * 2


def test_each_run_has_a_keyring_of_its_own(runner):
    keyring = ("import os\nif not os.path.exists('/proc/keys'): print('none', os.urandom(9))\n"
               "else: print([line.split()[0] for line in open('/proc/keys') if 'keyring' in line and '_ses' in line])\n")
    one, other = runner.run(keyring), runner.run(keyring)
    assert one != other and not one[1] and not other[1]


def test_ordinary_python_runs(runner):
    """What libraries rely on: threads, processes, terminals, sockets, files, locks."""
    text, errors = runner.run(
        "import asyncio, concurrent.futures, ctypes, multiprocessing, os, pty, shutil, sqlite3, ssl, subprocess, tempfile\n"
        "print(list(concurrent.futures.ThreadPoolExecutor(4).map(abs, [-1, 2])))\n"
        "print(subprocess.run('ls / | grep usr; (sleep 0.1; echo x) & wait', shell=True, capture_output=True, text=True).stdout.split())\n"
        "db = sqlite3.connect('/tmp/x.db')\ndb.execute('pragma journal_mode=wal')\ndb.execute('create table a (b)')\n"
        "db.execute('insert into a values (7)')\ndb.commit()\nprint(db.execute('select * from a').fetchall())\n"
        "async def served():\n"
        "  p = await asyncio.create_subprocess_exec('echo', 'x', stdout=asyncio.subprocess.PIPE)\n"
        "  s = await asyncio.start_server(lambda r, w: (w.write(b'ok'), w.close()), '127.0.0.1', 0)\n"
        "  r, w = await asyncio.open_connection('127.0.0.1', s.sockets[0].getsockname()[1])\n"
        "  return (await p.communicate())[0], await r.read()\n"
        "print(asyncio.run(served()))\n"
        "r, w = multiprocessing.Pipe()\np = multiprocessing.get_context('fork').Process(target=lambda: w.send(8))\n"
        "p.start()\np.join()\nprint(r.recv(), p.exitcode)\n"
        "print(ssl.create_default_context().check_hostname, shutil.copy2('/usr/bin/env', tempfile.mkdtemp())[:5])\n"
        "print(open('/dev/zero', 'rb').read(2), ctypes.CFUNCTYPE(ctypes.c_int)(lambda: 9)())\n"
        "print(pty.spawn(['true']))\n")
    assert (text.split("\n"), errors) == ([
        "[1, 2]", "['usr', 'x']", "[(7,)]", "(b'x\\n', b'ok')", "8 0", "True /tmp/", "b'\\x00\\x00' 9", "0", ""], [])


# ---- what cannot be taken -------------------------------------------------------------------------

GREEDY = {
    "memory": ("try:\n  x = bytearray(2 << 30)\n  print('DONE')\nexcept MemoryError: print('MemoryError')", "MemoryError\n", []),
    "mapping": ("import mmap\ntry:\n  mmap.mmap(-1, 1 << 30, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)\n  print('DONE')\nexcept OSError: print('no')", "no\n", []),
    "descriptors": ("import os\ntry:\n  for i in range(1000): os.open('/usr', 0)\n  print('DONE')\nexcept OSError: print(i < 64)",
                    "True\n", []),
    "a large file": ("f = open('/tmp/x', 'wb')\ntry:\n  for i in range(100): f.write(b'x' * (1 << 20)); f.flush()\n"
                     "  print('DONE')\nexcept OSError: print('no')", "no\n", []),
    "many files": ("i = 0\ntry:\n  while i < 100: open(f'/tmp/{i}', 'wb').write(b'x' * (1 << 20)); i += 1\n  print('DONE')\n"
                   "except OSError: print(i <= 4)", "True\n", []),
    "processes": ("import os, time\nn = 0\ntry:\n  while n < 500:\n    if os.fork() == 0:\n      time.sleep(60)\n    n += 1\n"
                  "  print('DONE')\nexcept OSError: print(n < 20)", "True\n", []),
    "threads": ("import threading, time\nn = 0\ntry:\n  while n < 500:\n    threading.Thread(target=time.sleep, args=(60,), "
                "daemon=True).start(); n += 1\n  print('DONE')\nexcept RuntimeError: print(n < 20)", "True\n", []),
    "CPU": ("while True: pass", "", ["Killed"]),
    "shared memory": ("import ctypes, mmap, os\nlibc = ctypes.CDLL(None, use_errno=True)\nprint(libc.shmget(0, 1 << 20, 0o1600))\n"
                      "print(libc.syscall(319, b'x', 0) if os.uname().machine == 'x86_64' else -1)\n"
                      "for fd in (-1, os.open('/dev/zero', os.O_RDWR)):\n  try: print(mmap.mmap(fd, 1 << 20))\n  except OSError: print('no')",
                      "-1\n-1\nno\nno\n", []),
    "empty files": ("import os\ni = 0\ntry:\n  while i < 100000: os.close(os.open(f'/tmp/{i}', os.O_CREAT)); i += 1\n  print('DONE')\n"
                    "except OSError: print(i <= 4 * 256)", "True\n", []),
    "empty directories": ("import os\ni = 0\ntry:\n  while i < 100000: os.mkdir(f'/tmp/{i}'); i += 1\n  print('DONE')\n"
                          "except OSError: print(i <= 4 * 256)", "True\n", []),
    "time": ("import time\nprint('begun')\ntime.sleep(60)\nprint('DONE')", "begun\n", ["TimeoutError"]),
    "time, hidden": ("import os, signal, time\nfor s in range(1, 32):\n  try: signal.signal(s, signal.SIG_IGN)\n"
                     "  except (OSError, ValueError): pass\nos.setsid() if os.getpid() != os.getsid(0) else 0\nos.close(1); os.close(2)\n"
                     "time.sleep(60)", "", ["TimeoutError"]),
    "a fork bomb": ("import os, time\nwhile True:\n  try: os.fork()\n  except OSError: time.sleep(0.1)", "", ["TimeoutError"]),
    "an error": ("print('before')\n1/0", None, ["ExitStatus"]),
    "a status": ("import sys\nsys.exit(200)", "", ["ExitStatus"]),
}


# What no process alone takes too much of.
TOGETHER = {
    "CPU": {
        "CPU of several": ("import os\nfor i in range(3): os.fork()\nwhile True: pass", "", ["Killed"]),
        "CPU one after the other": ("import os, signal, time\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\nfor i in range(40):\n"
                                    "  if os.fork() == 0:\n    while time.process_time() < 0.3: pass\n    os._exit(0)\n"
                                    "  try: os.wait()\n  except OSError: pass\n", "", ["Killed"]),
        "CPU without a parent": ("import os, time\nfor i in range(40):\n  if os.fork() == 0:\n    if os.fork() == 0:\n"
                                 "      while time.process_time() < 0.4: pass\n    os._exit(0)\n  os.wait()\n  time.sleep(0.2)\n", "", ["Killed"]),
    },
    "memory": {
        "memory of several": ("import os, time\nfor i in range(8):\n  if os.fork() == 0:\n    x = bytearray(60 << 20)\n"
                              "    for j in range(0, len(x), 4096): x[j] = 1\n    time.sleep(60)\ntime.sleep(60)", "", ["Killed"]),
        "memory of an undumpable process": (
            "import ctypes, os, time\nctypes.CDLL(None).prctl(4, 0)\nfor i in range(8):\n  if os.fork() == 0:\n    x = bytearray(60 << 20)\n"
            "    for j in range(0, len(x), 4096): x[j] = 1\n    time.sleep(60)\ntime.sleep(60)", "", ["Killed"]),
        "memory of sockets": (
            "import os, socket, time\nfor i in range(16):\n  if os.fork() == 0:\n    pairs = []\n    while True:\n"
            "      try: pairs.append(socket.socketpair())\n      except OSError: break\n    time.sleep(60)\ntime.sleep(60)", "", ["Killed"]),
    },
}


def test_code_that_takes_too_much_is_stopped_and_the_others_go_on(runner):
    began = time.monotonic()
    results = runner.run_all({n: GREEDY[n][0] for n in GREEDY})
    runner.wait_empty()
    for name, (_, text, errors) in GREEDY.items():
        have_text, have_errors = results[name]
        if name == "CPU" and have_errors == ["TimeoutError"]:
            continue  # on a busy machine a second of CPU time takes longer than the run may
        assert have_errors == errors and (text is None or have_text == text), f"{name}: {results[name]}"
    assert "ZeroDivisionError" in results["an error"][0]
    assert time.monotonic() - began < 12 * PATIENCE
    assert runner.run("print('alive')") == ("alive\n", [])


@pytest.mark.parametrize("what", TOGETHER)
def test_processes_that_take_too_much_together_are_stopped(runner, what):
    codes = TOGETHER[what]
    results = runner.run_all({n: codes[n][0] for n in codes})
    runner.wait_empty()
    for name, (_, text, errors) in codes.items():
        if what != "CPU" or results[name][1] != ["TimeoutError"]:  # on a busy machine, as above
            assert results[name] == (text, errors), name


def test_memory_that_a_fork_shares_counts_once(runner):
    text, errors = runner.run(
        "import os\nx = bytearray(100 << 20)\nfor j in range(0, len(x), 4096): x[j] = 1\n"
        "for i in range(4):\n  if os.fork() == 0:\n    import time\n    time.sleep(0.3)\n    os._exit(0)\n"
        "for i in range(4): os.wait()\nprint('done')")
    assert (text, errors) == ("done\n", [])


def test_code_is_ended_first_where_memory_is_short(runner):
    s = runner.begin("import time\ntime.sleep(1)")
    below = wait_until(lambda: len(children(runner.pid)) > 1 and children(runner.pid), "the code running", 5)
    assert {Path(f"/proc/{p}/oom_score_adj").read_text() for p in below if lives(p)} == {"1000\n"}
    assert runner.read(s)[1] == []


def test_output_is_limited_and_read_as_utf8(runner):
    s = runner.begin("while True: print('x' * 1000)")
    text, errors = runner.read(s)
    assert errors == ["OutputLimit"] and len(text) == 64 << 10
    text, errors = runner.run("import sys\nfor i in range(6000): sys.stdout.write('ü😀'); i % 7 or sys.stdout.flush()\n")
    assert text == "ü😀" * 6000 and errors == []
    text, errors = runner.run("import os\nos.write(1, b'a\\xff\\xc3'); os.write(2, b'\\x00b\\xf0\\x9f')")
    assert sorted(text) == sorted("a??" + "?b??") and errors == []


def test_the_code_is_not_in_the_process_list(runner):
    s = runner.begin("import time\nx = 'Xochiquetzal'\ntime.sleep(1)\nprint(x)")
    below = wait_until(lambda: children(runner.pid), "the sandbox", 5)
    lines = b"".join(Path(f"/proc/{p}/{f}").read_bytes() for p in below for f in ("cmdline", "environ") if Path(f"/proc/{p}").exists())
    assert runner.read(s) == ("Xochiquetzal\n", []) and b"Xochiquetzal" not in lines


# ---- who waits for whom ---------------------------------------------------------------------------


def test_a_client_that_leaves_ends_its_code(runner):
    runner.wait_empty()
    s = runner.begin("import os, time\nfor i in range(5): os.fork()\ntime.sleep(60)")
    wait_until(lambda: len(children(runner.pid)) > 1, "the code running", 5)
    s.close()
    runner.wait_empty(2)


def test_a_client_may_leave_while_the_sandbox_is_made(runner):
    runner.wait_empty()
    for number in range(12):
        s = runner.begin("import time\ntime.sleep(60)")
        wait_until(lambda: len(children(runner.pid)) >= 1 + number % 2, "so many processes", 5)
        s.close()
        runner.wait_empty()


@pytest.mark.parametrize("end", ["the client leaves", "it takes too long", "the runner stops"])
def test_code_ends_although_its_life_is_not_bound_to_bwraps(testbed, end):
    """Its life is bound only at the end of bwrap's work, without a look whether bwrap still lives;
    here it never is."""
    path = tools_in(testbed.directory / "bin", "prlimit", "timeout", "setpriv", "sh", "bash",
                    bwrap="#!/bin/bash\nexec /usr/bin/bwrap \"${@/--die-with-parent/--unshare-all}\"\n")
    testbed.directory.chmod(0o711)
    runner = Runner(testbed, env={"PATH": path})
    s = runner.begin("import os, time\nos.write(1, b'begun')\ntime.sleep(60)", timeout_ms=3000 if end == "it takes too long" else 0)
    assert b"begun" in s.recv(65536)
    below = children(runner.pid)
    if end == "the client leaves":
        s.close()
    elif end == "it takes too long":
        assert runner.read(s)[1] == ["TimeoutError"]
    else:
        runner.process.stop()
    wait_until(lambda: not any(lives(p) for p in below), "its code gone", 2)


def test_bad_requests_cost_only_themselves(runner):
    for line, name in ((b"garbage\n", "RequestError"), (b"[]\n", "RequestError"), (b'{"code":7}\n', "RequestError"),
                       (b'{"code":""}\n', "RequestError"), (b"x" * 1100000, "RequestError"), (b"\n", "RequestError")):
        s = runner.connect()
        try:
            s.sendall(line)
        except OSError:
            pass
        assert runner.read(s)[1] == [name], line[:40]
    silent = runner.connect()
    half = runner.connect()
    half.sendall(b'{"code":"print(1')
    assert runner.run("print(1)") == ("1\n", [])
    silent.close()
    half.close()


def test_the_shorter_of_two_timeouts_counts(runner):
    began = time.monotonic()
    assert runner.run("import time\ntime.sleep(60)", timeout_ms=300)[1] == ["TimeoutError"]
    assert time.monotonic() - began < 2 * PATIENCE


def test_beyond_the_sandboxes_it_is_busy(testbed):
    runner = Runner(testbed, "root" if os.geteuid() == 0 else "nobody", options=["--sandboxes", 2])
    running = [runner.begin("import time\ntime.sleep(1)\nprint('ok')") for _ in range(2)]
    wait_until(lambda: len(children(runner.pid)) >= 2, "two sandboxes", 5)
    assert runner.run("print(1)")[1] == ["Busy"]
    assert [runner.read(s) for s in running] == [("ok\n", [])] * 2
    assert runner.run("print(1)") == ("1\n", [])


def test_forty_runs_one_after_the_other_leave_nothing(runner):
    count = lambda: len(list(Path(f"/proc/{runner.pid}/fd").iterdir()))
    before = count()
    for i in range(20):
        runner.run_all({i: f"print({i})" for i in range(2)})
    runner.wait_empty()
    wait_until(lambda: count() <= before, "no descriptor left open")


def test_a_killed_runner_takes_its_code_along(testbed):
    runner = Runner(testbed, "root" if os.geteuid() == 0 else "nobody")
    s = runner.begin("import os, time\nos.fork()\nprint('begun', flush=True)\ntime.sleep(60)")
    assert b"begun" in s.recv(65536)
    below = children(runner.pid)
    assert len(below) > 2
    runner.process.expected_exit = {-9}
    os.kill(runner.pid, 9)
    runner.process.popen.wait()
    wait_until(lambda: not any(lives(p) for p in below), "its code gone", 2)
    s.close()


def test_a_stopped_runner_takes_its_code_and_socket_along(testbed):
    runner = Runner(testbed, "nobody" if os.geteuid() != 0 else "root")
    s = runner.begin("import time\ntime.sleep(60)")
    below = wait_until(lambda: len(children(runner.pid)) > 1 and children(runner.pid), "the code running", 5)
    runner.process.stop()
    wait_until(lambda: not any(lives(p) for p in below), "its code gone", 2)
    s.close()


def test_a_second_runner_on_the_same_socket_is_refused(testbed):
    runner = Runner(testbed)
    again = Runner(testbed, options=["--socket", runner.path], check=False)
    again.process.expected_exit = {1}
    assert again.process.wait() == 1 and "another runner listens" in again.process.log()
    assert runner.run("print(1)") == ("1\n", [])


def test_a_socket_that_was_handed_over_stays_and_no_code_gets_it(testbed):
    path = testbed.directory / "handed.sock"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    fd = listener.fileno()
    before = ["bash", "-c", f'exec 3<&{fd}; LISTEN_FDS=1 LISTEN_PID=$$ exec "$@"', "bash"]
    os.set_inheritable(fd, True)
    runner = Runner(testbed, before=before, pass_fds=[fd])
    runner.path = path
    text, errors = runner.run("import os\nfor fd in range(3, 64):\n  try: print(fd, os.fstat(fd))\n  except OSError: pass")
    assert (text, errors) == ("", [])
    runner.process.stop()
    assert path.exists()
    listener.close()


# ---- where it does not isolate ------------------------------------------------------------------------


def tools_in(directory, *names, **scripts):
    directory.mkdir()
    for name in names:
        (directory / name).symlink_to(f"/usr/bin/{name}")
    for name, text in scripts.items():
        (directory / name).write_text(text)
        (directory / name).chmod(0o755)
    return directory


LEAKY = {
    "no bwrap": None,
    "bwrap that fails": "#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n",
    "bwrap that isolates nothing": "#!/bin/sh\nwhile [ \"$1\" != -- ]; do shift; done\nshift\nexec \"$@\"\n",
    "bwrap that keeps the network": "#!/bin/bash\nexec /usr/bin/bwrap \"${@/--unshare-all/--unshare-pid}\"\n",
    "bwrap that shows files": "#!/bin/bash\nargs=(); for a; do [ \"$a\" = -- ] && args+=(--ro-bind /etc /etc); args+=(\"$a\"); done\n"
                              "exec /usr/bin/bwrap \"${args[@]}\"\n",
}


@pytest.mark.parametrize("how", LEAKY)
def test_where_it_does_not_isolate_no_code_is_run(testbed, how):
    scripts = {"bwrap": LEAKY[how]} if LEAKY[how] else {}
    path = tools_in(testbed.directory / "bin", "prlimit", "timeout", "setpriv", "sh", "bash", **scripts)
    testbed.directory.chmod(0o711)
    runner = Runner(testbed, env={"PATH": path}, check=False)
    runner.process.expected_exit = {1}
    assert runner.process.wait(25) == 1
    assert "no_sandbox" in runner.process.log() and "ready" not in runner.process.log()
    with pytest.raises(OSError):
        runner.connect()


# ---- through the service -----------------------------------------------------------------------------------


class World:
    def __init__(self, testbed, runner=None):
        self.runner = runner or Runner(testbed)
        self.service, self.llm = testbed.one(
            env={"TAVILY_API_KEY": None}, sets=["code.local=true", f"code.runner_socket={self.runner.path}", "code.timeout=2"])

    def wait_tools(self, *tools, deadline=10):
        """What /status, the admin tool and turns say, all of them."""
        self.service.wait_status(lambda s: s["tools"] == list(tools), f"tools {tools}", deadline)
        assert self.service.ctl("status")["tools"] == list(tools)
        self.service.chat("[plain]")
        offered = self.llm.chats()[-1]["body"].get("tools", [])
        assert [t["function"]["name"] for t in offered] == list(tools)
        return self

    def told_of_code(self):
        """Lines in the log about whether code can be run."""
        return re.findall(r" code (available=.*)$", self.service.daemon.log(), re.M)

    def run(self, *codes):
        turn = self.service.chat(rounds(calls(*(call(CODE, id=f"c{i}", code=c) for i, c in enumerate(codes)))))
        assert turn.whole and turn.answer == PLAIN, turn.chunks
        return [m["content"] for m in self.llm.chats()[-1]["body"]["messages"][-len(codes):]]


def test_the_code_of_a_turn_runs_in_the_local_sandbox(testbed):
    world = World(testbed).wait_tools(CODE)
    results = world.run("print(6 * 7)", "print('Grüße 😀')", "1/0", "import time; time.sleep(9)")
    assert results[:2] == ["Output:\n42\n", "Output:\nGrüße 😀\n"]
    assert "ZeroDivisionError" in results[2] and "longer than is allowed" in results[3]


class Slow:
    """Listens as the runner does, and takes a while for each code."""

    def __init__(self, testbed):
        self.path = testbed.directory / "slow.sock"
        self.listener = testbed.client(socket.socket(socket.AF_UNIX))
        self.listener.bind(str(self.path))
        self.listener.listen(64)
        self.codes, self.running, self.most, self.lock = [], 0, 0, threading.Lock()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        try:
            while True:
                threading.Thread(target=self.serve, args=(self.listener.accept()[0],), daemon=True).start()
        except OSError:
            pass

    def serve(self, peer):
        for line in peer.makefile("rb"):
            code = json.loads(line).get("code")
            if code is None:
                peer.sendall(b'{"type":"ready"}\n')
                continue
            with self.lock:
                self.codes.append(code)
                self.running += 1
                self.most = max(self.most, self.running)
            time.sleep(0.2)
            with self.lock:
                self.running -= 1
            with contextlib.suppress(BrokenPipeError):  # the client has left
                peer.sendall(json.dumps({"type": "stdout", "text": code}).encode() + b'\n{"type":"end_of_execution"}\n')


def test_one_conversation_holds_a_few_sandboxes_and_the_others_find_one(testbed):
    world = World(testbed, Slow(testbed)).wait_tools(CODE)
    turns = []
    greedy = threading.Thread(target=lambda: turns.append(world.run(*(f"greedy {n}" for n in range(10)))))
    greedy.start()
    wait_until(lambda: len(world.runner.codes) >= 2, "the first codes")
    assert world.runner.most == 2
    other = world.service.chat(rounds(calls(call(CODE, code="other"))))
    assert other.whole and world.runner.codes.index("other") < 8
    greedy.join()
    assert world.runner.codes[-1] == "greedy 9" and world.runner.most <= 3
    assert sorted(c for c in world.runner.codes if c != "other") == sorted(f"greedy {n}" for n in range(10))


def test_code_that_waits_for_a_sandbox_goes_with_its_client(testbed):
    world = World(testbed, Slow(testbed)).wait_tools(CODE)
    exchange = world.service.ask(rounds(calls(*(call(CODE, id=f"c{n}", code=f"left {n}") for n in range(8)))), "one")
    wait_until(lambda: len(world.runner.codes) >= 2, "the first codes")
    exchange.reset()
    wait_until(lambda: world.runner.running == 0, "they end")
    assert len(world.runner.codes) <= 4
    assert world.run("after") == ["Output:\nafter"]


def test_a_chat_client_that_leaves_ends_its_code(testbed):
    world = World(testbed).wait_tools(CODE)
    exchange = world.service.ask(rounds(calls(call(CODE, code="import time\ntime.sleep(60)"))))
    wait_until(lambda: len(children(world.runner.pid)) > 1, "the code running", 5)
    exchange.reset()
    world.runner.wait_empty(2)


def test_a_runner_that_ended_between_two_looks_is_reported_to_the_model(testbed):
    world = World(testbed).wait_tools(CODE)
    world.service.daemon.stop()  # from now on nobody finds out
    world.runner.process.stop()
    assert world.run("print(1)") == ["Error: the code was not run to its end (tt-agent-runner is not running)."]


def test_code_is_offered_only_while_the_runner_lives(testbed):
    world = World(testbed).wait_tools(CODE)
    events = testbed.client(Channel(world.service.run, timeout=10))
    events.send("events")
    asked = events.send("ping")
    while events.receive().get("id") != asked:  # from then on it hears all
        pass
    world.runner.process.expected_exit = {-9}
    os.kill(world.runner.pid, 9)
    world.wait_tools()
    event = next(e for e in iter(lambda: events.receive()["event"], None) if e["event"] == "code")
    assert event["available"] is False and event["reason"] == "tt-agent-runner is not running"
    assert world.service.ctl("config")["code.local"]["value"] is True  # as it was configured
    seen = world.told_of_code()
    again = Runner(testbed, options=["--socket", world.runner.path])  # meanwhile it is looked for without a word
    world.wait_tools(CODE)
    assert seen == ["available=true", 'available=false reason="tt-agent-runner is not running"']
    assert world.told_of_code() == [*seen, "available=true"]
    again.path = world.runner.path
    assert again.run("print(1)") == ("1\n", [])


def test_a_runner_that_hangs_offers_nothing(testbed):
    world = World(testbed).wait_tools(CODE)
    os.kill(world.runner.pid, signal.SIGSTOP)
    try:
        world.wait_tools()
    finally:
        os.kill(world.runner.pid, signal.SIGCONT)
    world.wait_tools(CODE)


class Answering:
    """Listens as the runner does, and gives the same answer to every request; None: no answer."""

    def __init__(self, testbed, answer):
        self.path = testbed.directory / "answering.sock"
        self.listener = testbed.client(socket.socket(socket.AF_UNIX))
        self.listener.bind(str(self.path))
        self.listener.listen()
        self.asked, self.answer = [], answer
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        try:
            while True:
                peer = self.listener.accept()[0]
                self.asked.append(peer.recv(4096))
                if self.answer:
                    peer.sendall(self.answer)
                    peer.close()
                else:
                    self.kept = peer
        except OSError:
            pass


@pytest.mark.parametrize("answer, reason", [
    (None, "tt-agent-runner does not answer"),  # its self-test runs, and has not passed yet
    (b'{"type":"error","name":"RequestError"}\n', "of another version"),
    (b"x" * 10000, "of another version"),
])
def test_a_runner_that_is_not_ready_offers_nothing(testbed, answer, reason):
    world = World(testbed, Answering(testbed, answer))
    world.service.daemon.wait_log(f'code available=false reason=".*{reason}')
    world.wait_tools()
    assert world.runner.asked[0] == b'{"hello":true}\n'


def test_a_runner_is_looked_for_when_the_configuration_asks_for_one(testbed):
    runner = Runner(testbed)
    conf = f'code: {{ local = %s; runner_socket = "{runner.path}"; }};\n'
    service, llm = testbed.one(env={"TAVILY_API_KEY": None}, conf=conf % "false")
    assert service.status()["tools"] == []
    for local, tools in (("true", [CODE]), ("false", []), ("true", [CODE])):
        replace_file(service.conf, conf % local)
        assert service.ctl("reload")["status"] == "success"
        service.wait_status(lambda s: s["tools"] == tools, f"tools {tools}")


def test_no_runner_is_asked_where_code_runs_at_e2b(testbed):
    answering = Answering(testbed, None)
    service, llm = testbed.one(
        env={"TAVILY_API_KEY": None, "E2B_API_KEY": "e2b-test-key"}, sets=["code.local=true", f"code.runner_socket={answering.path}"])
    service.daemon.wait_log("selection")
    assert service.status()["tools"] == [CODE] and answering.asked == []


def test_hello_may_be_said_again_and_holds_no_sandbox(testbed):
    runner = Runner(testbed, options=["--sandboxes", 1])
    s = runner.connect()
    lines = s.makefile("rb")
    for _ in range(3):
        s.sendall(b'{"hello":true}\n')
        assert lines.readline() == b'{"type":"ready"}\n'
    assert runner.run("print(1)") == ("1\n", [])
    # The same connection can be used for a run then.
    s.sendall(b'{"code":"print(2)"}\n')
    assert runner.read(s) == ("2\n", [])

# SPDX-License-Identifier: Apache-2.0
"""The Debian packages and the units of systemd, in booted Debian systems; only with --long and as root."""

import json
import re
import subprocess
import threading

import pytest

from harness import debian_tree
from harness.debian_tree import SUITES, TREES, Booted
from harness.load import many_turns
from harness.process import SOURCE, wait_until

pytestmark = pytest.mark.long
UNITS = ["tt-agentd.service", "tt-agent-fcgi.service", "tt-agent-fcgi.socket"]
NGINX = "127.0.0.1:8080"
WORD = "c{i}w# "


def script(words, delay_ms):
    return f'[[{{"tokens":{words},"token":"{WORD}","numbered":true,"delay_us":{delay_ms * 1000}}}]]'


class Server:
    """A booted Debian with the packages; configured() adds an LLM and nginx."""

    def __init__(self, suite, testbed, packages=True):
        self.testbed = testbed
        debian_tree.have_everything()
        self.packages = debian_tree.packages(suite)
        self.system = Booted(suite)
        self.sh = self.system.sh
        if packages:
            self.system.install(*self.packages)

    def configured(self):
        with self.system.network():
            self.llm = self.testbed.llm()
        self.system.write("/etc/tt-agent/tt-agent.conf", f"""
discovery: {{ enabled = false; }};
local: {{ host = "127.0.0.1"; port = {self.llm.port}; }};
threads: {{ store = "sqlite:/var/lib/tt-agent/threads.db"; }};
""", "640")
        self.sh("chgrp tt-agent /etc/tt-agent/tt-agent.conf; systemctl start tt-agentd tt-agent-fcgi")
        self.sh("ln -sf ../sites-available/tt-agent /etc/nginx/sites-enabled/; nginx -t; systemctl restart nginx")
        self.wait_ready()
        return self

    def status(self):
        text = self.sh(f"curl -sS -m 10 http://{NGINX}/status", check=False)
        return json.loads(text) if text.startswith("{") else {"status": text}

    def wait_ready(self):
        wait_until(lambda: self.status()["status"] == "ready", "ready", 60)

    def load(self, clients=1, words=3, delay_ms=1, **more):
        with self.system.network():
            return many_turns(NGINX, clients, 1, script(words, delay_ms), word=WORD, words=words, **more)

    def chat(self):
        report = self.load()
        assert report["whole"] == 1, report

    def active(self):
        with self.system.network():
            return self.llm.stats()["active"]

    def can_make_sandboxes(self):
        return self.sh("/usr/libexec/tt-agent-runner --test >/dev/null && echo yes", check=False) == "yes"

    def pid(self, unit):
        return int(self.system.show(unit, "MainPID"))

    def events(self, event, unit="tt-agent-fcgi"):
        return self.sh(f"journalctl -o cat -u {unit} | grep -c '^{event} '", check=False)


class Streams:
    """Chats that run while something happens; each word is checked."""

    def __init__(self, server, count=200, words=150, delay_ms=100):
        self.server, self.count, self.report = server, count, {}
        self.thread = threading.Thread(target=lambda: self.report.update(server.load(count, words, delay_ms, spread_ms=500)))

    def __enter__(self):
        self.thread.start()
        wait_until(lambda: self.server.active() == self.count, f"{self.count} streams", 60)
        return self

    def __exit__(self, *failed):
        self.thread.join()

    def all_whole(self):
        assert self.report["whole"] == self.report["turns"] == self.count, self.report


@pytest.fixture(params=SUITES)
def suite(request):
    debian_tree.have_everything()
    return request.param


@pytest.fixture
def server(suite, testbed):
    """make(): a Server."""
    made = []

    def make(**more):
        made.append(Server(suite, testbed, **more))
        return made[-1]

    yield make
    for s in made:
        s.system.stop()


# --- the files -------------------------------------------------------------------------------------------


def test_the_packages_are_small_clean_and_the_same_each_time(suite):
    first = debian_tree.packages(suite)
    sizes = {p.name: p.stat().st_size for p in first}
    print(sizes)
    assert sum(sizes.values()) < 1.2 * (1 << 20), sizes
    log, again = TREES / f"{suite}-again.log", TREES / f"{suite}-again"
    # Somewhere else, at another time, by another clock, with other rights of new files.
    assert debian_tree.build_packages(suite, again / "deeper" / "down", log, ["TZ=Pacific/Apia", "LC_ALL=C", "CCACHE_DISABLE=1"]), log.read_text()[-3000:]
    for package in first:
        assert package.read_bytes() == (again / "deeper" / "down" / package.name).read_bytes(), package.name
    debian_tree.shutil.rmtree(again)
    log.unlink()
    found = TREES / f"{suite}-lintian.log"
    found.unlink(missing_ok=True)
    debian_tree.enter(debian_tree.build_tree(suite), ["sh", "-c", "lintian --allow-root --tag-display-limit 0 /run/out/*.changes"], found, first[0].parent)
    assert not re.findall(r"^[EW]: .*", found.read_text(), re.M), found.read_text()


def test_nothing_runs_until_it_is_configured_and_then_it_chats(server):
    """debian/tests/chat, which autopkgtest runs as well."""
    s = server()
    assert s.sh("systemctl list-units --failed --no-legend --plain 'tt-agent*'") == ""
    assert not s.sh("journalctl -u tt-agentd -u tt-agent-fcgi -o cat | grep -i started", check=False)
    s.sh("mkdir /root/tests")
    for name in ("chat", "fake-llm"):
        s.system.put(SOURCE / "debian" / "tests" / name, "/root/tests/")
    assert "All is well." in s.sh("sh /root/tests/chat")
    assert s.sh("stat -c '%U:%G %a' /etc/tt-agent/tt-agent.conf") == "root:tt-agent 640"


def test_autopkgtest_passes(server):
    """As Debian runs debian/tests; its container is this system."""
    s = server(packages=False)
    s.sh("mkdir -p /root/source/debian; : >/etc/apt/sources.list; rm -f /etc/apt/sources.list.d/*")  # what is there is enough
    archive = s.testbed.directory / "debian.tar"
    subprocess.run(["tar", "-C", SOURCE, "--owner=0", "--group=0", "-cf", archive, "debian"], check=True)
    s.sh(f"tar -C /root/source -xf {s.system.put(archive)}")
    files = " ".join(s.system.put(p) for p in s.packages)
    out = s.sh(f"cd /root && autopkgtest --no-built-binaries --ignore-restrictions=isolation-container {files} source/ -- null 2>&1; echo status=$?")
    print(out[-600:])
    assert re.search(r"^chat +PASS", out, re.M) and out.endswith("status=0"), out[-3000:]


@pytest.mark.parametrize("enable, test, prefix", [
    ("lighty-enable-mod tt-agent", "lighttpd -tt -f /etc/lighttpd/lighttpd.conf", "/agent"),
    ("lighty-enable-mod tt-agent-root", "lighttpd -tt -f /etc/lighttpd/lighttpd.conf", ""),
    ("a2enmod -q proxy_fcgi env headers && a2enconf -q tt-agent", "apachectl configtest", "/agent"),
], ids=["lighttpd", "lighttpd-root", "apache"])
def test_the_other_web_servers(server, enable, test, prefix):
    s = server().configured()
    unit = "apache2" if "a2" in enable else "lighttpd"
    s.sh(f"systemctl stop nginx; {enable} && {test} && systemctl restart {unit}")
    assert '"ready"' in s.sh(f"curl -sS --retry 20 --retry-connrefused --retry-delay 1 http://127.0.0.1{prefix}/status")
    s.sh(f"dpkg -P tt-agent-runner tt-agent; {test} && systemctl restart {unit}")  # without what was enabled


# --- the units ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unit, most", [("tt-agentd", 1.2), ("tt-agent-fcgi", 1.2), ("tt-agent-runner", 2.3)])
def test_exposure(server, unit, most):
    s = server()
    text = s.sh(f"systemd-analyze security --no-pager {unit}.service")
    assert float(re.search(r"exposure level for .*: ([0-9.]+)", text)[1]) <= most, text
    assert s.sh(f"systemd-analyze verify --man=no {unit}.service 2>&1 | grep -F tt-agent", check=False) == ""


def test_no_restart_reload_or_crash_holds_a_request_or_ends_a_stream(server):
    s = server().configured()
    for how, act in {
        "restart": lambda: s.sh("systemctl restart tt-agent-fcgi"),
        "try-restart of both": lambda: s.sh("systemctl try-restart tt-agentd tt-agent-fcgi"),
        "reload": lambda: s.sh("systemctl reload tt-agent-fcgi"),
        "crash": lambda: s.sh(f"kill -9 {s.pid('tt-agent-fcgi')}"),
        "reload of the daemon": lambda: s.sh("systemctl reload tt-agentd"),
        "crash of the daemon": lambda: s.sh(f"kill -9 {s.pid('tt-agentd')}"),
    }.items():
        with Streams(s, 100) as streams:
            act()
            s.chat()
            assert s.active() == 100, f"{how}: the new chat waited for the streams, or some of them ended"
        streams.all_whole()
    s.wait_ready()
    # A stop waits for the answers; the socket's requests start the service again.
    with Streams(s, 20, words=30) as streams:
        s.sh("systemctl stop tt-agent-fcgi")
        assert s.active() == 0
    streams.all_whole()
    s.chat()
    assert s.system.show("tt-agent-fcgi", "ActiveState") == "active"
    # A stop of both is one: nobody answers, nothing is left.
    s.sh("systemctl stop tt-agent-fcgi.socket tt-agent-fcgi tt-agentd")
    assert "does not answer" in s.sh(f"curl -sS http://{NGINX}/")
    assert s.sh("pgrep -u tt-agent || true") == ""
    assert s.sh("systemctl list-units --failed --no-legend --plain 'tt-agent*'") == ""


def test_a_service_that_cannot_start_comes_back_when_it_is_repaired(server):
    s = server().configured()
    s.sh("cp -p /etc/tt-agent/tt-agent.conf /root/good; echo 'nonsense' >/etc/tt-agent/tt-agent.conf; systemctl restart tt-agentd; true", check=False)
    wait_until(lambda: int(s.system.show("tt-agentd", "NRestarts")) > 6, "more starts than systemd's usual limit", 60)
    s.chat()  # with the last published state
    s.sh("cp -p /root/good /etc/tt-agent/tt-agent.conf")
    s.system.wait_show("tt-agentd", "ActiveState", "active")
    s.wait_ready()
    # Wrong options do not repair themselves: systemd says so once, and starts nothing again.
    s.system.write("/etc/systemd/system/tt-agentd.service.d/wrong.conf", "[Service]\nExecStart=\nExecStart=/usr/sbin/tt-agentd --no-such-option\n")
    s.sh("systemctl daemon-reload; systemctl restart tt-agentd", check=False)
    s.system.wait_show("tt-agentd", "ActiveState", "failed")
    s.sh("rm -r /etc/systemd/system/tt-agentd.service.d; systemctl daemon-reload; systemctl start tt-agentd")
    s.wait_ready()


def test_what_cannot_start_at_all_ends_as_failed(server):
    s = server().configured()
    s.sh("cp -p /etc/tt-agent/tt-agent.conf /root/good; echo 'nonsense' >/etc/tt-agent/tt-agent.conf; systemctl restart tt-agentd; true", check=False)
    wait_until(lambda: s.system.show("tt-agentd", "ActiveState") == "failed", "the end of the loop", 180)
    # Its result is that of the last failure: systemd's own line about the limit goes to a console that nobody reads here.
    assert int(s.system.show("tt-agentd", "NRestarts")) >= 59
    assert "tt-agentd" in s.sh("systemctl list-units --failed --no-legend --plain 'tt-agent*'")
    s.chat()  # with the last published state
    s.sh("cp -p /root/good /etc/tt-agent/tt-agent.conf; systemctl reset-failed tt-agentd; systemctl start tt-agentd")
    s.wait_ready()


def test_the_watchdog_replaces_what_hangs(server):
    s = server()
    for unit in ("tt-agentd", "tt-agent-fcgi", "tt-agent-runner"):
        assert s.sh(f"systemctl cat {unit} | grep ^WatchdogSec="), "each unit has one"
        s.system.write(f"/etc/systemd/system/{unit}.service.d/soon.conf", "[Service]\nWatchdogSec=3\n")
    s.sh("systemctl daemon-reload")
    s.configured()
    units = ["tt-agentd", "tt-agent-fcgi"] + (["tt-agent-runner"] if s.can_make_sandboxes() else [])
    s.sh("systemctl start " + " ".join(units))
    pids = {unit: s.pid(unit) for unit in units}
    s.sh("sleep 7")
    assert pids == {unit: s.pid(unit) for unit in pids}, "nothing hangs yet"
    with Streams(s, 20) as streams:
        s.sh("kill -STOP " + " ".join(map(str, pids.values())))
        for unit, old in pids.items():
            wait_until(lambda: s.pid(unit) not in (0, old), f"another {unit}", 30)
    streams.all_whole()
    s.wait_ready()


def test_the_journal_has_priorities(server):
    s = server().configured()
    s.sh(f"kill -9 $(pgrep -P {s.pid('tt-agent-fcgi')} | head -n 1)")
    wait_until(lambda: s.sh("journalctl -o cat -u tt-agent-fcgi -p err | grep worker_died", check=False), "a worker died", 20)
    lines = [json.loads(line) for line in s.sh("journalctl -o json -u tt-agent-fcgi -u tt-agentd _UID=$(id -u tt-agent)").splitlines()]
    by_event = {line["MESSAGE"].split()[0]: line for line in lines if isinstance(line["MESSAGE"], str)}
    assert by_event["worker_died"]["PRIORITY"] == "3" and by_event["worker_started"]["PRIORITY"] == "6"
    assert by_event["started"]["SYSLOG_IDENTIFIER"] == "tt-agentd" and by_event["worker_died"]["SYSLOG_IDENTIFIER"] == "tt-agent-fcgi"
    assert not s.sh("journalctl -o cat -u tt-agentd -u tt-agent-fcgi -p warning | grep -vE 'worker_died|answers_broke_off|LLM|local|killed'", check=False)


def test_code_runs_in_the_units_sandbox(server):
    s = server()
    if not s.can_make_sandboxes():
        pytest.skip("no sandbox can be made on this machine")
    s.sh("systemctl start tt-agent-runner")
    assert "control_groups=yes" in s.sh("journalctl -o cat -u tt-agent-runner")
    for _ in range(2):  # and after a crash, which leaves control groups
        out = s.sh("""setpriv --reuid=tt-agent --clear-groups python3 -c '
import json, socket
s = socket.socket(socket.AF_UNIX); s.connect("/run/tt-agent-runner/runner.sock")
s.sendall(json.dumps({"code": "print(6 * 7)", "timeout_ms": 20000}).encode() + b"\\n")
print(s.makefile().read())'""")
        assert "42" in out, out
        assert "ready" in s.sh("journalctl -o cat -u tt-agent-runner")
        s.sh(f"kill -9 {s.pid('tt-agent-runner')}")
    assert s.sh("setpriv --reuid=www-data --clear-groups python3 -c 'import socket; socket.socket(socket.AF_UNIX).connect(\"/run/tt-agent-runner/runner.sock\")' 2>&1",
                check=False).endswith("Permission denied")


# --- upgrade, removal ----------------------------------------------------------------------------------------


def test_an_upgrade_breaks_no_stream(server):
    s = server().configured()
    parent, workers = s.pid("tt-agent-fcgi"), s.sh(f"pgrep -P {s.pid('tt-agent-fcgi')}").split()
    socket = s.sh("stat -c %i /run/tt-agent-fcgi/fcgi.sock")
    newer = [debian_tree.newer(p, "0.9.9", s.testbed.directory) for p in s.packages]
    files = [s.system.put(p) for p in newer]
    more = threading.Thread(target=lambda: reports.append(s.load(50, 20, 20, seconds=8)))
    reports = []
    with Streams(s, 200, words=600) as streams:  # a minute: dpkg may be slow
        more.start()  # and new ones all the time
        s.sh("dpkg -i " + " ".join(files))
        s.chat()
        assert s.active() >= 200
        more.join()
    streams.all_whole()
    report = reports[0]
    print(f"upgrade: {streams.report['whole']} of 200 streams whole, {report['whole']} of {report['turns']} new chats whole")
    assert report["whole"] == report["turns"] > 0, report
    assert s.sh("dpkg-query -W -f '${Version}' tt-agent") == "0.9.9"
    assert s.pid("tt-agent-fcgi") == parent and s.sh("stat -c %i /run/tt-agent-fcgi/fcgi.sock") == socket
    wait_until(lambda: not set(workers) & set(s.sh(f"pgrep -P {parent}").split()), "the old workers end", 60)
    assert not s.sh(f"ls -l /proc/{parent}/exe | grep deleted", check=False), "the new program runs"
    assert not s.sh(f"ls -l /proc/{s.pid('tt-agentd')}/exe | grep deleted", check=False)
    s.chat()


def test_what_is_purged_leaves_nothing(server):
    s = server(packages=False)
    s.sh("systemctl stop nginx lighttpd")
    before = s.system.changes()
    accounts = s.sh("cut -d: -f1 /etc/passwd /etc/group /etc/shadow /etc/gshadow")
    s.system.install(*s.packages)
    s.configured().chat()
    s.sh("lighty-enable-mod tt-agent; systemctl start tt-agent-runner.socket", check=False)
    s.sh("printf 'AGENT_NOTHING=1\\n' >/etc/default/tt-agent; chmod 600 /etc/default/tt-agent")
    s.sh("dpkg -r tt-agent-runner tt-agent")
    assert s.sh("pgrep -a tt-agent || true") == "" and s.sh("systemctl list-units --no-legend --plain 'tt-agent*'") == ""
    assert s.sh("find /run -name 'tt-agent*' -not -path '/run/systemd/*' -not -path '/run/credentials/*'") == ""
    assert s.sh("ls /etc/tt-agent/tt-agent.conf /var/lib/tt-agent/threads.db"), "what the admin made and the conversations are kept"
    s.system.install(*s.packages)
    s.wait_ready()  # as before
    s.sh("systemctl stop nginx; dpkg -P tt-agent-runner tt-agent")
    assert s.sh("cut -d: -f1 /etc/passwd /etc/group /etc/shadow /etc/gshadow") == accounts
    assert s.sh("find / -xdev \\( -user tt-agent -o -nouser -o -nogroup \\) 2>/dev/null", check=False) == ""
    s.sh("nginx -t && lighttpd -tt -f /etc/lighttpd/lighttpd.conf")
    assert s.sh("find / -xdev -name '*tt-agent*' -not -path '/proc/*' -not -path '/root/*' 2>/dev/null", check=False) == ""
    system = re.compile(r"/(var/(log|cache|lib/(dpkg|systemd|nginx|lighttpd|private)|tmp)|tmp|root|run|dev)(/|$)|/etc/(passwd|group|shadow|gshadow|subuid|subgid)-?$|/etc/\.pwd\.lock$")
    changed = {p: v for p, v in s.system.changes().items() if before.get(p) != v and not system.match(p) and v[0] != "directory"}
    gone = {p for p in before if p not in s.system.changes() and not system.match(p)}
    assert not changed and not gone, (changed, gone)


def test_an_installation_from_the_sources(server, suite):
    """doc/operations.md, with `make install` below /usr/local."""
    s = server(packages=False)
    log = TREES / f"{suite}-install.log"
    log.unlink(missing_ok=True)
    out = s.testbed.directory / "install"
    out.mkdir()
    command = """cp -r /run/source /tmp/source && cd /tmp/source && rm -rf build config.status && autoreconf -fi && mkdir -p build/release && cd build/release &&
        ../../configure --disable-tests && make -j2 && make install DESTDIR=/run/out; status=$?; rm -rf /tmp/source; exit $status"""
    command = command.replace("cp -r /run/source /tmp/source", "mkdir /tmp/source && tar -C /run/source --exclude=./build --exclude=./.git -cf - . | tar -C /tmp/source -xf -")
    assert debian_tree.enter(debian_tree.build_tree(suite), ["nice", "sh", "-c", command], log, out), log.read_text()[-3000:]
    archive = s.testbed.directory / "install.tar"
    subprocess.run(["tar", "-C", out, "--owner=0", "--group=0", "-cf", archive, "."], check=True)
    s.sh(f"tar -C / -xf {s.system.put(archive)}; systemd-sysusers; systemd-tmpfiles --create; mkdir -p /etc/tt-agent; systemctl daemon-reload")
    s.sh("cp /usr/local/share/tt-agent/nginx/tt-agent-upstream.conf /etc/nginx/conf.d/; cp /usr/local/share/tt-agent/nginx/*.conf /etc/nginx/snippets/")
    s.system.write("/etc/nginx/sites-available/tt-agent", "server { listen 8080; include snippets/tt-agent-root.conf; }\n")
    s.configured()
    s.sh("systemctl enable --now tt-agentd tt-agent-fcgi.socket tt-agent-fcgi")
    s.chat()
    with Streams(s, 50) as streams:
        s.sh("systemctl restart tt-agentd; systemctl reload tt-agent-fcgi; systemctl try-restart tt-agent-runner")
        s.chat()
    streams.all_whole()

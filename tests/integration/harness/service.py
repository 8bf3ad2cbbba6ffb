# SPDX-License-Identifier: Apache-2.0
"""One instance of tt-agent: daemon, responder and web server under one directory."""

import json
import os
import re
import resource
import socket
import subprocess
import uuid
from pathlib import Path

import httpx

from .channel import Channel
from .http_client import Exchange, Turn
from .process import BUILD, PATIENCE, Process, WRAP, clean_env, wait_until
from .web_servers import Apache, Lighttpd, Nginx

JWT_SECRET = "test-secret-456"
TAVILY_KEY = "tvly-test"


def limit(limits):
    for what, number in (limits or {}).items():
        resource.setrlimit(what, (number, number))


def listens(host):
    address, port = host.rsplit(":", 1)
    with socket.socket() as s:
        return s.connect_ex((address, int(port))) == 0


def name_of(pid):
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:  # it has just ended
        return ""


class Service:
    """options: further ones of the responder; before: what both programs are started with;
    limits: RLIMIT_...: number."""

    def __init__(self, testbed, name="tt-agent", env=None, conf=None, sets=(), workers=1, backend=None, options=(), before=(),
                 responder_limits=None, responder_env=None, daemon_limits=None, access_log=None, listen=None):
        self.testbed, self.name, self.workers, self.options, self.before = testbed, name, workers, options, before
        self.responder_limits, self.responder_env, self.daemon_limits = responder_limits, responder_env, daemon_limits
        self.access_log, self.listen_at = access_log, listen  # nginx's; listen: one more address
        self.program = BUILD / "tt-agent-fcgi"
        self.directory = Path(testbed.directory) / name
        self.directory.mkdir()
        self.run = self.directory / "run"
        self.run.mkdir()
        self.socket = self.directory / "fcgi.sock"
        self.conf = None
        if conf is not None:
            self.conf = self.directory / "tt-agent.conf"
            self.conf.write_text(conf)
        nowhere = f"127.0.0.1:{testbed.closed_port()}"
        self.env = {
            "JWT_SECRET": JWT_SECRET,
            "TAVILY_API_KEY": TAVILY_KEY,
            "AGENT_BACKEND_URL": backend.url if backend else f"http://{nowhere}",
            "LOCAL_LLM_HOST": "127.0.0.1",
            "LOCAL_LLM_PORT": nowhere.rsplit(":", 1)[1],
            **(env or {}),
        }
        self.sets = list(sets)
        if not any(s.startswith(("threads.store=", "threads.file=")) for s in self.sets):
            self.sets.append(f"threads.store=sqlite:{self.directory}/threads.db")
        if not any(s.startswith("threads.unsaved_dir=") for s in self.sets):
            self.sets.insert(0, f"threads.unsaved_dir={self.directory}")
        self.daemon = self.responder = self.nginx = self.listening = None
        self.lighttpds, self.apaches, self.roots = [], [], {}
        self.secrets = [v for k, v in self.env.items() if v and re.search("SECRET|KEY|TOKEN", k)]
        self.started = {"daemon": 0, "responder": 0}

    # --- processes ---

    def _name(self, kind):
        self.started[kind] += 1
        count = self.started[kind]
        return f"{self.name}-{kind}" + (f"-{count}" if count > 1 else "")

    def start_daemon(self):
        argv = [*self.before, BUILD / "tt-agentd", "--run-dir", self.run]
        argv += ["--config", self.conf] if self.conf else []
        for setting in self.sets:
            argv += ["--set", setting]
        self.daemon = self.testbed.own(Process(self._name("daemon"), argv, self.directory, self.env, own=True,
                                              before_exec=lambda: limit(self.daemon_limits)))
        return self.daemon

    def listen(self):
        """From now on the responder gets a socket that outlives it, as systemd does it."""
        self.listening = socket.socket(socket.AF_UNIX)
        self.testbed.client(self.listening)
        self.socket.unlink(missing_ok=True)
        self.listening.bind(str(self.socket))
        os.chmod(self.socket, 0o666)
        self.listening.listen(4096)

    def start_responder(self):
        argv = [*self.before, self.program, "--run-dir", self.run, "--workers", self.workers, *self.options, *(["--no-keeper"] if WRAP else [])]
        if self.listening:
            fd = self.listening.fileno()
            argv = ["/bin/bash", "-c", f'LISTEN_PID=$$ LISTEN_FDS=1 exec "$@" 3<&{fd}', "bash", *argv]
            self.responder = self.testbed.own(Process(self._name("responder"), argv, self.directory, pass_fds=[fd]))
            self.responder.wait_log("worker_started")  # before that a signal would meet the shell
            return self.responder
        argv += ["--listen", self.socket]
        self.responder = self.testbed.own(Process(self._name("responder"), argv, self.directory, self.responder_env, own=True,
                                                before_exec=lambda: limit(self.responder_limits)))
        return self.responder

    def start(self):
        self.start_daemon()
        self.start_responder()
        self.nginx = self.testbed.keep(Nginx(self.testbed, f"{self.name}-nginx", self.socket, access_log=self.access_log,
                                             listen=self.listen_at, before=self.before if self.listen_at else ()))
        self.host = self.nginx.root
        self.url = f"http://{self.host}"
        self.http = self.testbed.client(httpx.Client(base_url=self.url, verify=False, timeout=30 * PATIENCE, trust_env=False))
        wait_until(self.answers, f"an answer of {self.name}", 20)
        wait_until(self.takes_commands, f"the command socket of {self.name}", 20)
        return self

    def start_lighttpd(self, drop_in="50-tt-agent-root.conf", **more):
        count = len(self.lighttpds)
        server = self.testbed.keep(Lighttpd(self.testbed, f"{self.name}-lighttpd{count}", self.socket, drop_in, **more))
        self.lighttpds.append(server)
        return server

    def start_apache(self, drop_in="tt-agent-root.conf", **more):
        server = self.testbed.keep(
            Apache(self.testbed, f"{self.name}-apache{len(self.apaches)}", self.socket, drop_in, **more))
        self.apaches.append(server)
        wait_until(lambda: server.process.alive() and listens(server.host), f"{server.process.name} listens\n{server.process.log()}")
        return server

    def host_of(self, server):
        """Where nginx, lighttpd or apache has the service at its root; started when it is first needed."""
        if server == "nginx":
            return self.host
        if server not in self.roots:
            self.roots[server] = getattr(self, f"start_{server}")().host
        return self.roots[server]

    def stop_web_servers(self):
        """Those that end at once: Apache's children wait for answers that still run."""
        for server in filter(None, [self.nginx, *self.lighttpds]):
            server.stop()

    # --- requests ---

    def answers(self):
        for process in (self.daemon, self.responder):
            if process and not process.alive():
                raise AssertionError(f"{process.name} ended ({process.popen.returncode}):\n{process.log()}")
        return self.http.get("/").status_code == 200

    def takes_commands(self):
        try:
            with Channel(self.run) as channel:
                return channel.command("ping")["ok"]
        except OSError:
            return False

    def status(self):
        return self.http.get("/status").json()

    def wait_ready(self, deadline=20.0):
        wait_until(lambda: self.http.get("/").json().get("status") == "ready", f"{self.name} ready", deadline)
        assert self.takes_commands(), "the daemon has reported to all workers what one has seen"
        return self

    def wait_status(self, condition, what, deadline=20.0):
        """/status, as soon as condition(it) holds."""

        def look():
            status = self.status()
            return status if condition(status) else None

        return wait_until(look, what, deadline)

    def wait_capabilities(self, count=2, deadline=20.0):
        """Until the workers know what that many discovered models can do, which is learned and published after their health:
        the daemon publishes what it has learned before it answers."""
        known = lambda: [m for m in self.ctl("models")["models"] if m["kind"] == "discovered" and m["context_length"]]
        wait_until(lambda: len(known()) == count, "what the models tell of themselves", deadline)

    def ask(self, message, thread_id=None, host=None, path="/poll_requests", **more):
        """Begins a turn; the caller reads the Exchange."""
        body = {"message": message, "thread_id": uuid.uuid4().hex if thread_id is None else thread_id}
        return Exchange(host or self.host, "POST", path, body, **more)

    def chat(self, message, thread_id=None, **more):
        """One whole turn."""
        return Turn(self.ask(message, thread_id, **more))

    def ctl(self, *arguments, ok=True):
        """The admin tool: its result as JSON (--json), or the finished process where not ok."""
        done = subprocess.run(
            [str(BUILD / "tt-agentctl"), "--run-dir", str(self.run), "--json", *arguments],
            capture_output=True, text=True, timeout=60 * PATIENCE, env=clean_env())
        if not ok:
            return done
        assert done.returncode == 0, f"tt-agentctl {arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
        return json.loads(done.stdout)

    def worker_pids(self):
        children = Path(f"/proc/{self.responder.pid}/task/{self.responder.pid}/children").read_text()
        # Besides workers, for a moment, the keepers of those that died.
        return [int(pid) for pid in children.split() if name_of(pid) == "tt-agent-fcgi"]

    # --- what is left ---

    def leftovers(self):
        """Files that an ended service must not leave."""
        found = [str(f) for f in (None if self.listening else self.socket, self.run / "command.sock") if f and f.exists()]
        for file in self.run.rglob("*"):
            if re.search(r"tmp|\.new|~$", file.name):
                found.append(str(file))
        if len(list(self.run.glob("config.*"))) > 2:
            found.append("more than two config.N")
        return found

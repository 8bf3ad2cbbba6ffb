# SPDX-License-Identifier: Apache-2.0
"""What is measured: the LLM mock, the service and nginx, under one temporary directory, and loads against them."""

import contextlib
import glob
import itertools
import json
import os
import re
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

from . import processes
from .processes import children, cpu_ns, free_port, pss_kib, wait_until

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
STAMP = "@0000000000000000000 "
TOKEN = "@tok "
MODEL = "bench/model"
CHAT = {"tokens": 1, "token": TOKEN}
BULK = {"tokens": 20000, "token": TOKEN, "tokens_per_write": 20}
SINGLE = {"tokens": 4000, "token": TOKEN, "tokens_per_write": 1}
PACED = {"tokens": 50, "token": STAMP, "delay_us": 20000, "first_delay_us": 20000}
SLOW = {"tokens": 100, "token": TOKEN, "delay_us": 10000}


def http_get(port, path):
    with socket.create_connection(("127.0.0.1", port), timeout=5) as s:
        s.sendall(f"GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n".encode())
        data = b""
        while chunk := s.recv(65536):
            data += chunk
    return data


def answers_ready(port, path):
    try:
        return b'"ready"' in http_get(port, path)
    except OSError:
        return False


def put_script(port, script):
    body = json.dumps(script, ensure_ascii=False).encode()
    with socket.create_connection(("127.0.0.1", port), timeout=5) as s:
        s.sendall(b"PUT /_script HTTP/1.1\r\nHost: bench\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        if b" 200 " not in s.recv(65536):
            sys.exit("bench: the mock does not take the script")


class Bench:
    """One instance of everything. threads: where conversations are stored: a file in the bench's directory, "memory", or the URL
    of a store. service: another build, whose daemon and responder are measured; mock and load are from build. sets, env: further
    settings; script: of the LLM; search: with a web search; backend: the script of a backend that lists models."""

    def __init__(self, build, threads="threads.db", service=None, sets=(), env=(), script=None, search=False, workers=0,
                 nginx_workers=1, backend=None, llm_port=None, quick=False):
        self.quick = quick
        self.build, self.threads, self.service = build, threads, service or build
        self.sets, self.env, self.script, self.search, self.backend = sets, dict(env), script or {}, search, backend
        self.worker_count, self.nginx_worker_count, self.llm_port = workers, nginx_workers, llm_port
        self.dir = tempfile.mkdtemp(prefix="tt-agent-bench.")
        os.chmod(self.dir, 0o755)
        self.processes, self.loads, self.peers, self.errors = [], set(), {}, {}
        self.serial = itertools.count()  # each load talks in threads of its own

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def spawn(self, name, *command, **more):
        p = processes.start(command, os.path.join(self.dir, name + ".log"), **more)
        self.processes.append(p)
        return p

    def mocked(self, name, *command):
        """The process and its port."""
        p = self.spawn(name, *command, stdout=subprocess.PIPE)
        found = re.search(rb"(\d+)\s*$", p.stdout.readline())
        if not found:
            sys.exit(f"bench: {command[0]} does not start: {open(f'{self.dir}/{name}.log').read().strip()}")
        return p, int(found[1])

    def start(self):
        with open(f"{self.dir}/mock.json", "w") as f:
            json.dump(self.script, f)
        self.mock, self.llm_port = self.mocked("mock", f"{self.build}/llm-mock", "--record", "64", "--script", f"{self.dir}/mock.json",
                                               *(("--port", self.llm_port) if self.llm_port else ()))
        if self.search:
            _, self.search_port = self.mocked("search", f"{self.build}/search-mock")
            self.env |= {"TAVILY_API_KEY": "bench", "TAVILY_BASE_URL": f"http://127.0.0.1:{self.search_port}"}
        if self.backend is not None:
            _, port = self.mocked("backend", f"{self.build}/backend-mock")
            put_script(port, self.backend)
            self.env |= {"AGENT_AUTO_DISCOVERY": "true", "AGENT_BACKEND_URL": f"http://127.0.0.1:{port}"}
        self.run_dir, self.socket = f"{self.dir}/run", f"{self.dir}/fcgi.sock"
        os.mkdir(self.run_dir)
        self.start_service()
        self.start_nginx()
        wait_until("the service is ready", lambda: answers_ready(self.port, "/agent/"))

    def store_settings(self):
        if ":" in self.threads:
            return [f"threads.store={self.threads}", f"threads.unsaved_dir={self.dir}"]
        if self.service != self.build:  # which may be from before threads.store
            return [f"threads.file={'memory' if self.threads == 'memory' else f'{self.dir}/{self.threads}'}"]
        return ["threads.store=" + ("memory:" if self.threads == "memory" else f"sqlite:{self.dir}/{self.threads}")]

    def start_service(self):
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("AGENT_", "LLM_", "CLOUD_"))}
        environment |= {"AGENT_AUTO_DISCOVERY": "false", "JWT_SECRET": "bench", "HF_MODEL_PATH": MODEL,
                        "LLM_CONTAINER_NAME": f"http://127.0.0.1:{self.llm_port}/v1/chat/completions",
                        "AGENT_LOG_LEVEL": "ERROR"} | self.env
        began = time.monotonic()
        self.daemon = self.spawn("tt-agentd", f"{self.service}/tt-agentd", "--run-dir", self.run_dir,
                                 *itertools.chain(*(("--set", s) for s in [*self.store_settings(), *self.sets])), env=environment)
        wait_until("tt-agentd publishes", lambda: glob.glob(f"{self.run_dir}/status.v*") or self.daemon.poll() is not None)
        if self.daemon.poll() is not None:
            sys.exit(f"bench: tt-agentd does not start: {open(f'{self.dir}/tt-agentd.log').read().strip()}")
        self.daemon_start_ms = (time.monotonic() - began) * 1000
        began = time.monotonic()
        self.responder = self.spawn("tt-agent-fcgi", f"{self.service}/tt-agent-fcgi", "--run-dir", self.run_dir,
                                    "--workers", self.worker_count, "--listen", self.socket, "--mode", "0666", env=environment)
        wait_until("tt-agent-fcgi listens", self.connects)
        self.responder_start_ms = (time.monotonic() - began) * 1000

    def connects(self):
        try:
            with socket.socket(socket.AF_UNIX) as s:
                s.connect(self.socket)
            return True
        except OSError:
            return False

    def workers(self):
        return children(self.responder.pid)

    def nginx_workers(self):
        return children(self.nginx.pid)

    def copy_drop_ins(self):
        """What an admin would use, with our socket."""
        os.mkdir(f"{self.dir}/snippets")
        for name in os.listdir(f"{SOURCE}/deploy/nginx"):
            with open(f"{SOURCE}/deploy/nginx/{name}") as f:
                text = f.read().replace("/run/tt-agent-fcgi/fcgi.sock", self.socket)
            directory = self.dir if "upstream" in name else f"{self.dir}/snippets"
            with open(f"{directory}/{name}", "w") as f:
                f.write(text)

    def start_nginx(self):
        self.port = free_port()
        conf = f"{self.dir}/nginx.conf"
        files = min(21000, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
        self.copy_drop_ins()
        with open(conf, "w") as f:
            # Another user may not enter every directory for temporary files.
            f.write(f"""{'user root;' if os.geteuid() == 0 else ''}
daemon off; worker_processes {self.nginx_worker_count}; worker_rlimit_nofile {files}; pid {self.dir}/nginx.pid;
error_log {self.dir}/nginx-error.log warn;
events {{ worker_connections {files - 300}; }}
http {{
    access_log off; keepalive_requests 100000000; keepalive_timeout 3600;
    client_body_temp_path {self.dir}/t1; proxy_temp_path {self.dir}/t2; fastcgi_temp_path {self.dir}/t3;
    uwsgi_temp_path {self.dir}/t4; scgi_temp_path {self.dir}/t5;
    upstream llm {{ server 127.0.0.1:{self.llm_port}; keepalive 256; keepalive_requests 100000000; }}
    upstream constant {{ server unix:{self.dir}/constant.sock; keepalive 256; keepalive_requests 100000000; }}
    include tt-agent-upstream.conf;
    server {{
        listen 127.0.0.1:{self.port} backlog=4096;
        location = /return {{ default_type application/json; return 200 '{{"status":"ready"}}'; }}
        location = /constant {{ fastcgi_pass constant; include snippets/tt-agent-fastcgi.conf; }}
        location /v1/ {{
            proxy_pass http://llm; proxy_http_version 1.1; proxy_set_header Connection "";
            proxy_buffering off; proxy_request_buffering off; proxy_read_timeout 600;
        }}
        include snippets/tt-agent-locations.conf;
    }}
}}
""")
        os.chmod(conf, 0o644)
        self.nginx = self.spawn("nginx", "nginx", "-c", conf, "-p", self.dir)
        wait_until("nginx listens", lambda: answers_ready(self.port, "/return"))

    def start_constant(self):
        """What answers GET /constant."""
        self.spawn("constant", f"{self.build}/bench-constant", f"{self.dir}/constant.sock")
        wait_until("bench-constant answers", lambda: answers_ready(self.port, "/constant"))

    def stop(self):
        for p in list(self.loads):
            p.kill()
        processes.stop(self.processes[::-1])
        if any(self.errors.values()):
            self.show_logs()
        shutil.rmtree(self.dir, ignore_errors=True)

    def show_logs(self):
        """The last lines of each, since they are removed."""
        for path in sorted(glob.glob(f"{self.dir}/*.log")):
            with open(path, errors="replace") as f:
                for line in f.readlines()[-3:]:
                    print(f"    {os.path.basename(path)}: {line.rstrip()[:300]}", flush=True)

    # ---- loads -------------------------------------------------------------------------

    def target(self, side, knobs):
        """bench-load's options for a side: "proxy" (nginx proxy_pass), "agent" (/poll_requests), "alone" (the same without a
        conversation), "api", "direct" (the LLM itself), the name of a peer, or a path for GET."""
        message = "[[" + json.dumps(knobs or {}) + "]]"
        # The LLM has the same work for all: tt-agent asks it for the usage in each event.
        body = {"model": MODEL, "messages": [{"role": "user", "content": message}], "stream": True,
                "stream_options": {"include_usage": True, "continuous_usage_stats": True}}
        if side == "api":
            return ["--port", self.port, "--path", "/agent/v1/chat/completions", "--body", json.dumps(body)]
        if side in ("proxy", "direct"):
            return ["--port", self.llm_port if side == "direct" else self.port, "--path", "/v1/chat/completions", "--body", json.dumps(body)]
        if side in ("agent", "alone"):
            thread = f"bench-{next(self.serial)}-{{id}}" if side == "agent" else ""
            return ["--port", self.port, "--path", "/agent/poll_requests", "--body", json.dumps({"message": message, "thread_id": thread})]
        if side in self.peers:
            return self.peers[side].target(body)
        return ["--port", self.port, "--path", side]

    def load(self, side, knobs=None, thread=None, **options):
        """thread: the thread_id of the chats, with {id} in it; options: of bench-load."""
        if self.quick and not thread:
            options["requests"] = max(1, options["requests"] // 8)
            knobs = knobs and knobs | {"tokens": knobs["tokens"] if knobs["tokens"] < 1000 or "leave_after" in options else knobs["tokens"] // 8}
        command = [f"{self.build}/bench-load"] + self.target(side, knobs)
        if thread:
            command[command.index("--body") + 1] = json.dumps({"message": "[[" + json.dumps(knobs) + "]]", "thread_id": thread})
        for name, value in options.items():
            command += ["--" + name.replace("_", "-")] + ([] if value is True else [value])
        p = subprocess.Popen([str(c) for c in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True)
        self.loads.add(p)
        try:
            out = p.communicate()[0]
        finally:
            if p.poll() is None:
                p.kill()
                p.wait()
            self.loads.discard(p)
        if p.returncode != 0:
            sys.exit(f"bench: bench-load ended with status {p.returncode}")
        result = json.loads(out)
        lost = result["complete"] * knobs["tokens"] - result["tokens"] if knobs and "leave_after" not in options else 0
        failed = result["failed"] + result["unfinished"] + (lost > 0)
        self.errors[side] = self.errors.get(side, 0) + failed
        if failed:
            print(f"  ! {side}: {result['failed']} failed, {result['unfinished']} unfinished, {max(0, lost)} tokens of complete "
                  f"answers lost: {result['why']}", flush=True)
        return result

    def worked(self, groups, side, knobs=None, **options):
        """The load's result, and the CPU time that each group of processes used for it, in us."""
        before = [cpu_ns(pids) for pids in groups]
        result = self.load(side, knobs, **options)
        return result, [(cpu_ns(pids) - was) / 1e3 for pids, was in zip(groups, before)]

    @contextlib.contextmanager
    def loading(self, side, knobs, **options):
        """The load runs meanwhile, and is over afterwards; yields its thread and a list for its result."""
        results = []
        thread = threading.Thread(target=lambda: results.append(self.load(side, knobs, **options)), daemon=True)
        thread.start()
        yield thread, results
        thread.join()
        if not results:
            sys.exit("bench: a load failed")

    def memory_of_streams(self, groups, side, streams, knobs, **options):
        """The load's result, and by how much the memory of each group of processes grows meanwhile, in KiB a stream."""
        before = [pss_kib(pids) for pids in groups]
        peak = before[:]
        with self.loading(side, knobs, clients=streams, requests=1, time_limit=60, **options) as (thread, results):
            while thread.is_alive():
                peak = [max(p, pss_kib(pids)) for p, pids in zip(peak, groups)]
                thread.join(0.25)
        return results[0], [(p - b) / streams for p, b in zip(peak, before)]

# SPDX-License-Identifier: Apache-2.0
"""One test's world: everything that it starts is in one directory and is judged at the end."""

import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

from . import secrecy
from .mocks import Backend, Llm
from .process import raise_descriptor_limit
from .service import Service


class Testbed:
    alive = []  # of this run, for the logs of what fails

    def __init__(self):
        Testbed.alive.append(self)
        self.failed = False
        raise_descriptor_limit()
        self.directory = Path(tempfile.mkdtemp(prefix="tt-", dir="/tmp"))
        self.processes = []  # ours, in the order of their start
        self.others = []     # mocks and web servers
        self.services = []
        self.clients = []
        self.reserved = []
        self.names = {}
        self.ignore_faults = []

    def _name(self, kind):
        self.names[kind] = self.names.get(kind, 0) + 1
        return f"{kind}{self.names[kind]}"

    def own(self, process):
        self.processes.append(process)
        return process

    def keep(self, other):
        self.others.append(other)
        return other

    def client(self, client):
        self.clients.append(client)
        return client

    def closed_port(self):
        """A port on which nothing listens, and nothing else will."""
        s = socket.socket()
        s.bind(("127.0.0.1", 0))
        self.reserved.append(s)
        return s.getsockname()[1]

    def llm(self, *options, **script):
        return self.keep(Llm(self, self._name("llm"), script, options))

    def backend(self, deployed=None, options=(), **script):
        return self.keep(Backend(self, self._name("backend"), {"deployed": deployed or {}, **script}, options))

    def service(self, start=True, **more):
        s = Service(self, self._name("tt-agent"), **more)
        self.services.append(s)
        return s.start() if start else s

    def one(self, script=None, deployment=None, **more):
        """(service, llm): one discovered healthy LLM, ready."""
        llm = self.llm(**(script or {}))
        backend = self.backend({"d1": llm.deployment(**(deployment or {}))})
        return self.service(backend=backend, **more).wait_ready(), llm

    def two(self, first=None, **more):
        """(service, LLM 1, LLM 2): both are healthy, 1 is current and behaves as `first` says."""
        a, b = self.llm(), self.llm()
        backend = self.backend({"d1": a.deployment(), "d2": b.deployment("Qwen3-8B", name="c-d2")})
        service = self.service(backend=backend, **more).wait_ready()
        service.wait_status(lambda s: len(s["available_models"]) == 2, "two models")
        service.wait_status(lambda s: s["current_llm"]["llm_info"]["deploy_id"] == "d1", "d1 is current")
        service.wait_capabilities()
        a.script(**(first or {}))
        return service, a, b

    def certificate(self, name="localhost"):
        """(authority, certificate, key) as PEM files, made now."""
        d = self.directory / "tls"
        d.mkdir()
        run = lambda *a: subprocess.run(["openssl", *a], cwd=d, check=True, capture_output=True)
        run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
            "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=tt-agent test authority",
            "-addext", "basicConstraints=critical,CA:TRUE")
        run("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-keyout", "server.key", "-out", "server.csr", "-subj", f"/CN={name}")
        (d / "ext").write_text(f"subjectAltName=DNS:{name},IP:127.0.0.1\n")
        run("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
            "-days", "2", "-extfile", "ext", "-out", "server.pem")
        return d / "ca.pem", d / "server.pem", d / "server.key"

    # --- the end ---

    def _stop(self):
        faults = []
        for service in self.services:  # a worker does not wait for requests that they may still send then
            try:
                service.stop_web_servers()
            except AssertionError as e:
                faults.append(str(e))
        for process in reversed(self.processes):
            try:
                if process.exit_code is None:
                    process.stop()
            except AssertionError as e:
                faults.append(str(e))
                process.kill_group()
                process.popen.wait()
        for other in reversed(self.others):
            try:
                other.stop()
            except AssertionError as e:
                faults.append(str(e))
        for process in self.processes + [o.process for o in self.others]:
            process.kill_group()
        return faults

    def _secrets(self, answers):
        """answers: what the services answered while they ran, where -> text."""
        secrets = {secret for service in self.services for secret in service.secrets}
        logs = {log.name: log.read_text(errors="replace") for log in sorted(self.directory.rglob("*.log"))}
        found = [fault for where, text in {**logs, **answers}.items() for fault in secrecy.leaks(where, text, secrets)]
        for service in self.services:
            found += secrecy.open_files(service)
        return found

    def close(self):
        Testbed.alive.remove(self)
        answers = {where: text for service in self.services for where, text in secrecy.answers(service).items()}
        for client in self.clients:
            client.close()
        faults = self._stop()
        for process in self.processes:
            if process not in self.ignore_faults:
                faults += process.faults()
        for service in self.services:
            if not any(min(p.expected_exit) < 0 for p in self.processes):  # killed: it could not tidy up
                faults += [f"left behind: {f}" for f in service.leftovers()]
        faults += self._secrets(answers)
        for s in self.reserved:
            s.close()
        return faults

    def logs(self):
        parts = []
        for log in sorted(self.directory.rglob("*.log")):
            text = log.read_text(errors="replace")
            parts.append(f"--- {log.relative_to(self.directory)}\n{text[-6000:]}")
        return "\n".join(parts)

    def remove(self):
        shutil.rmtree(self.directory, ignore_errors=True)

# SPDX-License-Identifier: Apache-2.0
"""Servers of Redis: one, with TLS, a Sentinel group, a cluster."""

import subprocess

from .process import Process, clean_env, wait_until
from .web_servers import reserved


class Redis:
    """A redis-server on a reserved port; `host` is how it is reached. Stopped with the test."""

    def __init__(self, testbed, *options, tls=None, program="redis-server", config="", strict=False):
        """tls: (authority, certificate, key); strict: clients need a certificate, too."""
        self.testbed, self.options, self.tls, self.program, self.config = testbed, options, tls, program, config
        self.strict = strict
        port = testbed.client(reserved())
        self.port = port.getsockname()[1]
        self.host = f"127.0.0.1:{self.port}"
        self.name = testbed._name("redis")
        self.directory = testbed.directory / self.name
        self.directory.mkdir()
        testbed.keep(self).start()

    def start(self):
        options = ["--bind", "127.0.0.1", "--dir", self.directory]
        if self.program == "redis-server":
            options += ["--save", "", "--appendonly", "no"]
        if self.tls:
            options += ["--port", 0, "--tls-port", self.port, "--tls-auth-clients", "yes" if self.strict else "no", "--tls-ca-cert-file", self.tls[0],
                        "--tls-cert-file", self.tls[1], "--tls-key-file", self.tls[2]]
        else:
            options += ["--port", self.port]
        config = []
        if self.config:
            (self.directory / "conf").write_text(self.config)
            config = [self.directory / "conf"]
        self.process = Process(self.name, [self.program, *config, *options, *self.options], self.testbed.directory)
        wait_until(self.answers, f"an answer of {self.name}")

    def answers(self):
        assert self.process.alive(), self.process.log()
        return self.cli("PING", ok=False).strip() in ("PONG", "NOAUTH Authentication required.")

    def cli(self, *arguments, ok=True, password=None):
        command = ["redis-cli", "-p", str(self.port), *(["--tls", "--cacert", str(self.tls[0]), "--cert", str(self.tls[1]), "--key", str(self.tls[2])] if self.tls else []),
                   *(["-a", password, "--no-auth-warning"] if password else []), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, env=clean_env())
        assert done.returncode == 0 or not ok, done.stdout + done.stderr
        return done.stdout

    def kill(self):
        self.process.kill()

    def stop(self):
        self.process.kill()


class Group:
    """A master, a replica and a Sentinel, with a password of its own if it is given one."""

    def __init__(self, testbed, password=None):
        self.master = Redis(testbed)
        self.replica = Redis(testbed, "--replicaof", "127.0.0.1", self.master.port, "--repl-diskless-sync-delay", 0)
        wait_until(lambda: "master_link_status:up" in self.replica.cli("INFO", "replication"), "the replica follows", 20)
        self.sentinel = Redis(testbed, program="redis-sentinel", config=(
            f"sentinel monitor group 127.0.0.1 {self.master.port} 1\nsentinel down-after-milliseconds group 500\n"
            "sentinel failover-timeout group 2000\n" + (f"requirepass {password}\n" if password else "")))
        wait_until(lambda: str(self.replica.port) in self.sentinel.cli("SENTINEL", "replicas", "group", password=password),
                   "the Sentinel knows the replica", 20)
        self.url = f"redis+sentinel://{testbed.closed_port()},".replace("//", "//127.0.0.1:") + f"{self.sentinel.host}/group"


class Cluster:
    """Three masters, or with a replica for each."""

    def __init__(self, testbed, replicas=0):
        self.servers = []
        for _ in range(3 * (1 + replicas)):
            bus = testbed.client(reserved()).getsockname()[1]
            self.servers.append(Redis(testbed, "--cluster-enabled", "yes", "--cluster-port", bus, "--cluster-node-timeout", 1000))
        self.servers[0].cli("--cluster", "create", *(s.host for s in self.servers), "--cluster-replicas", replicas, "--cluster-yes")
        for s in self.servers:
            wait_until(lambda s=s: "cluster_state:ok" in s.cli("CLUSTER", "INFO"), "the cluster is complete", 20)
        for s in self.servers[3:]:
            wait_until(lambda s=s: "master_link_status:up" in s.cli("INFO", "replication"), "the replica follows", 20)
        self.url = f"redis+cluster://{self.servers[0].host},{self.servers[1].host}"

    def masters(self):
        """Those that the others hold for masters that are alive."""
        lines = next(s for s in self.servers if s.process.alive()).cli("CLUSTER", "NODES").splitlines()
        flags = {int(line.split()[1].split("@")[0].rsplit(":", 1)[1]): line.split()[2].split(",") for line in lines}
        return [s for s in self.servers if "master" in flags[s.port] and "fail" not in flags[s.port]]

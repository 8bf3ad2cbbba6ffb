# SPDX-License-Identifier: Apache-2.0
"""Hosts of their own: network namespaces, which end with the processes in them. Nothing outside changes."""

import ctypes
import os
import subprocess
from pathlib import Path

import pytest

from .process import SOURCE, Process, wait_until
from .web_servers import listener

NEW_NETWORK = 0x40000000
libc = ctypes.CDLL(None, use_errno=True)


def ip(*arguments, before=()):
    subprocess.run([*before, "ip", *arguments], check=True, capture_output=True, text=True)


class Network:
    """A network in which this thread is from now on, and whatever it starts, up to close()."""

    ADDRESS = "10.77.0.1"  # of it, for all hosts

    def __init__(self):
        self.before = os.open("/proc/self/ns/net", os.O_RDONLY)
        self.hosts = []
        if libc.unshare(NEW_NETWORK) != 0:
            os.close(self.before)
            pytest.skip(f"no right to make a network: {os.strerror(ctypes.get_errno())}")
        try:
            ip("link", "set", "lo", "up")
            ip("address", "add", f"{self.ADDRESS}/32", "dev", "lo")
        except (OSError, subprocess.CalledProcessError) as e:
            self.close()
            pytest.skip(f"no right to configure a network: {e}")

    def host(self):
        """One more, which reaches this network, and nothing else."""
        self.hosts.append(Host(len(self.hosts) + 1))
        return self.hosts[-1]

    def close(self):
        for host in self.hosts:
            host.close()
        if libc.setns(self.before, NEW_NETWORK) != 0:
            raise OSError(ctypes.get_errno(), "setns")
        os.close(self.before)


class Host:
    def __init__(self, number):
        gateway, self.address, self.link = f"10.77.{number}.1", f"10.77.{number}.2", f"host{number}"
        # It is there as long as this process.
        self.holder = subprocess.Popen(["unshare", "--net", "setpriv", "--pdeathsig", "KILL", "sleep", "infinity"])
        space = f"/proc/{self.holder.pid}/ns/net"
        try:
            wait_until(lambda: os.readlink(space) != os.readlink("/proc/self/ns/net"), "a network for a host")
            self.before = ["nsenter", f"--net={space}"]  # before the command of a process that runs there
            ip("link", "add", self.link, "type", "veth", "peer", "name", "outside", "netns", str(self.holder.pid))
            ip("address", "add", f"{gateway}/24", "dev", self.link)
            ip("link", "set", self.link, "up")
            ip("address", "add", f"{self.address}/24", "dev", "outside", before=self.before)
            for link in "outside", "lo":
                ip("link", "set", link, "up", before=self.before)
            ip("route", "add", "default", "via", gateway, before=self.before)
        except BaseException:
            self.close()
            raise

    def unplug(self):
        ip("link", "set", self.link, "down")

    def plug(self):
        ip("link", "set", self.link, "up")

    def close(self):
        self.holder.kill()
        self.holder.wait()


class Redis:
    """redis-server at all addresses of this network."""

    PORT = 6379

    def __init__(self, testbed, *options):
        self.testbed, self.options, self.count = testbed, options, 0
        self.directory = Path(testbed.directory) / "redis"
        self.directory.mkdir()
        self.start()

    def start(self):
        self.count += 1
        name = f"redis-{self.count}"
        self.process = Process(name, ["redis-server", "--port", self.PORT, "--bind", "0.0.0.0", "--protected-mode", "no", "--dir",
                                      self.directory, "--save", "", *self.options], self.testbed.directory)
        self.process.wait_log("Ready to accept connections")
        return self

    def call(self, *arguments):
        done = subprocess.run(["redis-cli", "-p", str(self.PORT), *map(str, arguments)], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def stop(self):
        if self.process.alive():
            return self.process.stop()


FRONT = """
daemon off;
{user}
worker_processes 2;
worker_rlimit_nofile 20000;
pid {dir}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 9000; }}
http {{
	access_log off;
	client_body_temp_path {dir}/body;
	proxy_temp_path {dir}/proxy;
	fastcgi_temp_path {dir}/fastcgi;
	uwsgi_temp_path {dir}/uwsgi;
	scgi_temp_path {dir}/scgi;
	include {dir}/tt-agent-hosts-upstream.conf;
	server {{
		listen {root} backlog=8192;
		include {dir}/tt-agent-hosts.conf;
	}}
}}
"""


class FrontOfHosts:
    """nginx in front of several hosts, with the files of deploy/nginx: .root."""

    def __init__(self, testbed, addresses):
        directory = Path(testbed.directory) / "front"
        directory.mkdir()
        for name in "tt-agent-hosts-upstream.conf", "tt-agent-hosts.conf":
            text = (SOURCE / "deploy" / "nginx" / name).read_text()
            for documented, address in zip(("192.0.2.11:8080", "192.0.2.12:8080"), addresses, strict=True):
                text = text.replace(documented, address)
            (directory / name).write_text(text)
        s = listener()
        self.root = f"127.0.0.1:{s.getsockname()[1]}"
        (directory / "nginx.conf").write_text(FRONT.format(
            dir=directory, root=self.root, user="user root;" if os.getuid() == 0 else ""))
        argv = ["nginx", "-p", directory, "-c", directory / "nginx.conf", "-e", "stderr"]
        subprocess.run([*map(str, argv), "-t"], check=True, capture_output=True)
        self.process = Process("front", argv, testbed.directory, env={"NGINX": f"{s.fileno()};"}, pass_fds=[s.fileno()])
        s.close()

    def stop(self):
        return self.process.stop()

# SPDX-License-Identifier: Apache-2.0
"""The image of deploy/container, built without a container engine's daemon and started from its unpacked root."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import httpx

from .http_client import Exchange, Turn
from .process import PATIENCE, SOURCE, Process, wait_until
from .web_servers import reserved

TOOLS = {"buildah": "buildah", "debootstrap": "debootstrap", "unshare": "util-linux"}
UID = 1000
START = """
set -e
mount --make-rprivate /
mount --bind "$0" "$0"
cd "$0"
mount -t proc proc proc
mount -t tmpfs -o mode=755 dev dev
for device in null zero full random urandom; do : >dev/$device; mount --bind /dev/$device dev/$device; done
mount --bind "$1" run/tt-agent
mount --bind "$2" var/lib/tt-agent
mount -t tmpfs mnt mnt
[ -z "$3" ] || { mkdir "mnt/volume"; mount --bind "$3" mnt/volume; }
mount --bind /etc/hosts etc/hosts
mount -o remount,bind,ro "$0"
shift 3
exec "$@"
"""


class Image:
    """root: where it is unpacked; sizes: of its layers, compressed, in bytes, the base first."""

    def __init__(self, directory):
        self.directory = Path(directory)
        self.root, self.sizes = self.directory / "root", []

    def _run(self, name, *command, **more):
        log = self.directory / f"{name}.log"
        with open(log, "wb") as output:
            done = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, stderr=output, **more)
        assert done.returncode == 0, f"{name}: {done.stdout.decode()}{log.read_text(errors='replace')[-3000:]}"
        return done.stdout.decode().strip()

    def _buildah(self, name, *command, **more):
        return self._run(name, "buildah", "--root", self.directory / "storage", "--runroot", self.directory / "runroot",
                         "--storage-driver", "vfs", *command, **more)

    def build(self):
        base = self.directory / "base"
        self._run("debootstrap", "debootstrap", "--variant=minbase", "bookworm", base, "http://deb.debian.org/debian")
        shutil.rmtree(base / "var/cache/apt/archives")  # which the images that are published do not have
        container = self._buildah("from", "from", "scratch")
        self._buildah("add", "add", "--quiet", container, base, "/")
        self._buildah("commit", "commit", "--quiet", "--rm", container, "localhost/base")
        container_files = SOURCE / "deploy" / "container"
        self._buildah("bud", "bud", "--isolation", "chroot", "--quiet", "--ignorefile", container_files / "Dockerfile.dockerignore",
                      "--build-arg", "BASE=localhost/base", "-f", container_files / "Dockerfile", "-t", "localhost/tt-agent", SOURCE)
        self._buildah("push", "push", "--quiet", "localhost/tt-agent", f"oci:{self.directory}/oci:tt-agent")
        blob = lambda digest: json.loads((self.directory / "oci/blobs" / digest.replace(":", "/")).read_text())
        index = json.loads((self.directory / "oci/index.json").read_text())
        self.manifest = blob(index["manifests"][0]["digest"])
        self.config = blob(self.manifest["config"]["digest"])["config"]
        self.sizes = [layer["size"] for layer in self.manifest["layers"]]
        container = self._buildah("unpack", "from", "localhost/tt-agent")
        self._run("copy", "cp", "-a", self._buildah("mount", "mount", container), self.root)
        return self


class Container:
    """One start of the image, as process 1 of its own namespace. volume: a directory that it has as /mnt/volume."""

    def __init__(self, testbed, image, env=None, user=UID, volume=None, data_owner=UID):
        self.image = image
        name = testbed._name("container")
        directory = Path(testbed.directory) / name
        self.run, self.data = directory / "run", directory / "data"
        testbed.directory.chmod(0o755)
        for d, owner in (directory, 0), (self.run, UID), (self.data, data_owner):
            d.mkdir()
            os.chown(d, owner, owner)
        port = testbed.client(reserved()).getsockname()[1]
        self.host = f"127.0.0.1:{port}"
        env = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TT_AGENT_PORT": port, **(env or {})}
        self.process = testbed.own(Process(
            name, ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", START, image.root, self.run, self.data,
                   volume or "", "chroot", f"--userspec={user}:{user}", "--groups=", image.root, "env", "-i",
                   *(f"{k}={v}" for k, v in env.items() if v is not None), "/usr/local/sbin/tt-agent-container"],
            testbed.directory))
        self.process.stop = self.stop

    def entry(self):
        """Process 1, as it is seen from outside."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(children[0])

    def processes(self):
        """{pid: (name, parent)} of all that run in it."""
        found, space = {}, os.readlink(f"/proc/{self.entry()}/ns/pid")
        for p in Path("/proc").glob("[0-9]*"):
            try:
                fields = (p / "stat").read_text()
                if os.readlink(p / "ns/pid") == space and fields.rsplit(")", 1)[1].split()[0] != "Z":
                    found[int(p.name)] = (fields.split("(", 1)[1].rsplit(")", 1)[0], int(fields.rsplit(")", 1)[1].split()[1]))
            except OSError:
                continue
        return found

    def get(self, path="/", method="GET", **headers):
        return httpx.request(method, f"http://{self.host}{path}", headers=headers, trust_env=False, timeout=30 * PATIENCE)

    def answers(self):
        assert self.process.alive(), self.process.log()
        try:
            return self.get().status_code == 200 and self.get()
        except httpx.TransportError:
            return None

    def wait_ready(self):
        wait_until(lambda: (a := self.answers()) and a.json()["status"] == "ready", f"{self.process.name} ready", 30)
        return self

    def wait_answers(self):
        wait_until(self.answers, f"an answer of {self.process.name}", 30)
        return self

    def ask(self, message, thread_id="t"):
        return Exchange(self.host, "POST", "/poll_requests", {"message": message, "thread_id": thread_id})

    def chat(self, message, thread_id="t"):
        return Turn(self.ask(message, thread_id))

    def exec(self, *command):
        """In the container, as docker exec does it."""
        done = subprocess.run(["nsenter", "--target", str(self.entry()), "--mount", "--pid", "chroot", f"--userspec={UID}:{UID}",
                               self.image.root, *command], capture_output=True, text=True, timeout=60)
        return done

    def stop(self, number=15, deadline=10.0):
        if self.process.alive():
            os.kill(self.entry(), number)
        return self.process.wait(deadline)

# SPDX-License-Identifier: Apache-2.0
"""Bare Debian systems whose systemd is booted in namespaces, to try packages and units in.

Needs root, debootstrap, overlayfs and, once for each suite, Debian's archive: without one of these, tests
are skipped. What was downloaded stays in build/debian. Each booted system has an overlay of its own, which
is removed with it, and a network of its own without any way out."""

import contextlib
import ctypes
import hashlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from .process import PATIENCE, SOURCE, wait_until

TREES = SOURCE / "build" / "debian"
SUITES = ["bookworm", "trixie"]
# What the tests use in the system where the packages are installed; the network is not there then.
RUNTIME = "systemd systemd-sysv dbus iproute2 curl python3 nginx lighttpd apache2 bubblewrap procps ca-certificates autopkgtest dpkg-dev".split()
BUILDING = ["dpkg-dev", "lintian", "ccache"]
PATH = "/usr/lib/ccache:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ENVIRONMENT = ["env", "-i", f"PATH={PATH}", "HOME=/root", "LANG=C.UTF-8", "TERM=dumb", "DEBIAN_FRONTEND=noninteractive"]
ENTER = """set -e
mount -t proc proc "$1/proc"; mount --rbind /dev "$1/dev"; mount -t sysfs sysfs "$1/sys" -o ro
mount -t tmpfs tmpfs "$1/run"; mkdir "$1/run/source" "$1/run/out" "$1/run/ccache" "$1/run/lock"
mount --bind "$2" "$1/run/source" -o ro; mount --bind "$3" "$1/run/out"; mount --bind "$4" "$1/run/ccache"
tree=$1; shift 4
exec chroot "$tree" "$@"
"""
BOOT = """set -e
root=$1; hostname debian; ip link set lo up
mount -t overlay overlay -o "lowerdir=$2,upperdir=$3/upper,workdir=$3/work" "$root"
mount -t proc proc "$root/proc"; mount -t sysfs sysfs "$root/sys" -o ro; mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$root/run"; mount -t tmpfs -o mode=755 tmpfs "$root/dev"
mkdir "$root/dev/pts" "$root/dev/shm"
for d in null zero full random urandom tty; do touch "$root/dev/$d"; mount --bind "/dev/$d" "$root/dev/$d"; done
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"; ln -s /proc/self/fd "$root/dev/fd"
for n in 0:stdin 1:stdout 2:stderr; do ln -s "/proc/self/fd/${n%:*}" "$root/dev/${n#*:}"; done
mount -t tmpfs tmpfs "$root/dev/shm"; : >"$root/dev/console"
cd "$root"; mkdir oldroot; pivot_root . oldroot; umount -l oldroot; rmdir oldroot
exec env -i container=tt-agent-test PATH=/usr/sbin:/usr/bin:/sbin:/bin /sbin/init --log-target=console --show-status=0
"""


def have_everything():
    if os.geteuid() != 0:
        pytest.skip("needs root")
    for program in ("debootstrap", "unshare", "nsenter"):
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed")
    if "overlay" not in Path("/proc/filesystems").read_text():
        pytest.skip("this kernel has no overlayfs")
    if subprocess.run(["unshare", "-m", "-p", "-f", "-u", "-i", "-n", "-C", "true"], capture_output=True).returncode != 0:
        pytest.skip("no namespaces can be made on this machine")
    if not cgroup2():
        pytest.skip("cgroup v2 is not mounted")


def cgroup2():
    return next((Path(line.split()[1]) for line in Path("/proc/mounts").read_text().splitlines()
                 if line.split()[2] == "cgroup2"), None)


def run(argv, log):
    with open(log, "ab") as out:
        return subprocess.run([str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=out, stderr=out).returncode == 0


# --- what stays -----------------------------------------------------------------------------------------


def mirror():
    """Where this machine gets its Debian from, else the usual server."""
    for file in [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]:
        found = file.is_file() and re.search(r"^(?:URIs:|deb)\s+(?:\[.*\]\s+)?(\S+/debian/?)\s", file.read_text(), re.M)
        if found:
            return found[1]
    return "http://deb.debian.org/debian"


def enter(tree, argv, log, out=None):
    """Runs it in a tree that is not booted, with the machine's network, the sources in /run/source, the directory
    `out` in /run/out, and a cache for the compiler."""
    cache = TREES / "ccache"
    cache.mkdir(exist_ok=True)
    return run(["unshare", "-m", "--propagation", "private", "bash", "-c", ENTER, "bash", tree, SOURCE, out or cache, cache, *ENVIRONMENT,
                "CCACHE_DIR=/run/ccache", *argv], log)


def made(name, wanted, make):
    """A directory below TREES, as make(path, log) makes it, once for each text of `wanted`."""
    tree, stamp, log = TREES / name, TREES / f"{name}.made", TREES / f"{name}.log"
    if not stamp.exists() or stamp.read_text() != wanted:
        TREES.mkdir(parents=True, exist_ok=True)
        stamp.unlink(missing_ok=True)
        log.unlink(missing_ok=True)
        shutil.rmtree(tree, ignore_errors=True)
        if not make(tree, log):
            pytest.skip(f"{name} cannot be made: {log.read_text(errors='replace')[-500:]}")
        stamp.write_text(wanted)
    return tree


def install(tree, packages, log):
    """apt's settings of this machine, proxies among them, hold there too."""
    settings = subprocess.run(["apt-config", "dump"], capture_output=True, text=True).stdout
    (tree / "etc/apt/apt.conf.d/99machine").write_text("".join(re.findall(r"^Acquire::.*\n", settings, re.M)))
    shutil.copy("/etc/resolv.conf", tree / "etc/resolv.conf")
    (tree / "usr/sbin/policy-rc.d").write_text("#!/bin/sh\nexit 101\n")
    (tree / "usr/sbin/policy-rc.d").chmod(0o755)
    done = (enter(tree, ["apt-get", "-q", "update"], log)
            and enter(tree, ["apt-get", "-qy", "install", "--no-install-recommends", *packages], log)
            and enter(tree, ["apt-get", "clean"], log))
    (tree / "usr/sbin/policy-rc.d").unlink()
    return done


def bare_tree(suite):
    return made(f"{suite}-bare", suite, lambda tree, log: run(["debootstrap", "--variant=minbase", suite, tree, mirror()], log))


def build_tree(suite):
    """Has what the build of the packages needs."""
    bare, control = bare_tree(suite), (SOURCE / "debian" / "control").read_text()
    needed = re.search(r"^Build-Depends:\n((?: .*\n)+)", control, re.M)[1]

    def make(tree, log):
        return (run(["cp", "-a", bare, tree], log) and install(tree, BUILDING, log)
                and enter(tree, ["apt-get", "-qy", "build-dep", "--no-install-recommends", "/run/source"], log))

    return made(f"{suite}-build", " ".join(BUILDING) + needed, make)


def compose_tree():
    """Debian 13 with docker compose, which Debian 12 has only in an older version that reads other files."""
    bare = bare_tree("trixie")
    return made("trixie-compose", "docker-compose", lambda tree, log: run(["cp", "-a", bare, tree], log) and install(tree, ["docker-compose"], log))


def depends(package):
    """What it needs beside the other package of ours."""
    text = subprocess.run(["dpkg-deb", "-f", package, "Depends"], capture_output=True, text=True, check=True).stdout.strip()
    return ", ".join(d for d in text.split(", ") if not d.startswith("tt-agent"))


def runtime_tree(suite):
    """Has what the packages and the tests need, but not the packages."""
    bare, wanted = bare_tree(suite), ", ".join(depends(p) for p in packages(suite))

    def make(tree, log):
        return (run(["cp", "-a", bare, tree], log) and install(tree, RUNTIME, log)
                and enter(tree, ["apt-get", "-qy", "satisfy", "--no-install-recommends", wanted], log)
                and enter(tree, ["systemctl", "disable", "nginx", "lighttpd", "apache2"], log))  # each would want port 80

    return made(suite, " ".join(RUNTIME) + wanted, make)


def sources():
    """Their content as a word: of all that the packages are made of."""
    content = hashlib.sha256()
    for top in ("Makefile.am", "README.md", "configure.ac", "agentctl", "agentd", "conf", "core", "debian", "deploy", "doc", "fcgi", "man", "runner", "ui"):
        for file in sorted([SOURCE / top, *(SOURCE / top).rglob("*")]):
            if file.is_file():
                content.update(str(file).encode() + file.read_bytes())
    return content.hexdigest()


def build_packages(suite, directory, log, variables=()):
    """deploy/debian-packages in the tree of the suite."""
    directory.mkdir(parents=True, exist_ok=True)
    return enter(build_tree(suite), ["env", *variables, "nice", "/run/source/deploy/debian-packages", "/run/out"], log, directory)


def packages(suite):
    """[tt-agent's, tt-agent-runner's]: the paths of the packages, built once for these sources."""
    directory = made(f"{suite}-packages", sources(), lambda path, log: build_packages(suite, path, log))
    return [next(directory.glob(f"{name}_*.deb")) for name in ("tt-agent", "tt-agent-runner")]


def newer(package, version, directory):
    """The same package with a higher version."""
    content = directory / "newer"
    shutil.rmtree(content, ignore_errors=True)
    subprocess.run(["dpkg-deb", "-R", package, content], check=True)
    control = content / "DEBIAN" / "control"
    control.write_text(re.sub(r"^Version: .*$", f"Version: {version}", re.sub(r"\(= [^)]*\)", f"(= {version})", control.read_text()), flags=re.M))
    made_file = directory / package.name.replace("_", f"-{version}_", 1)
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", content, made_file], check=True, capture_output=True)
    shutil.rmtree(content)
    return made_file


# --- what is booted ---------------------------------------------------------------------------------------


class Booted:
    def __init__(self, suite):
        base = runtime_tree(suite)
        self.suite = suite
        self.directory = Path(tempfile.mkdtemp(prefix=f"{suite}-", dir=TREES))
        for name in ("root", "upper", "work"):
            (self.directory / name).mkdir()
        (self.directory / "upper").chmod(0o755)
        self.group = cgroup2() / self.directory.name
        self.group.mkdir()
        with open(self.directory / "boot.log", "wb") as log:
            self.popen = subprocess.Popen(
                ["unshare", "-m", "-p", "-f", "-u", "-i", "-n", "-C", "--kill-child", "--propagation", "private", "bash", "-c", BOOT, "bash",
                 self.directory / "root", base, self.directory],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                preexec_fn=lambda: (self.group / "cgroup.procs").write_text(str(os.getpid())))
        try:
            self.init = wait_until(self._init, "the first process", 30)
            wait_until(lambda: self.sh("systemctl is-system-running", check=False) in ("running", "degraded"),
                       lambda: f"{suite} boots", 120)
        except AssertionError:
            text = (self.directory / "boot.log").read_text(errors="replace")
            self.stop()
            raise AssertionError(f"{suite} does not boot:\n{text[-3000:]}") from None

    def _init(self):
        assert self.popen.poll() is None
        children = Path(f"/proc/{self.popen.pid}/task/{self.popen.pid}/children").read_text().split()
        return children and os.readlink(f"/proc/{children[0]}/exe").endswith("systemd") and int(children[0])

    def sh(self, script, check=True):
        """What a shell in it prints."""
        done = subprocess.run(["nsenter", "-t", str(self.init), "-m", "-p", "-u", "-i", "-n", "-C", "-r", "-w", "--", *ENVIRONMENT,
                               "sh", "-c", script], capture_output=True, text=True, stdin=subprocess.DEVNULL)
        assert not check or done.returncode == 0, f"{script}\n{done.stdout[-3000:]}{done.stderr[-3000:]}\n{self.journal()[-3000:]}"
        return done.stdout.strip()

    def journal(self):
        return self.sh("journalctl --no-pager -o short-monotonic -n 100", check=False)

    def put(self, file, path="/root/"):
        """A file of this machine in there."""
        with open(file, "rb") as content:
            target = path + Path(file).name if path.endswith("/") else path
            subprocess.run(["nsenter", "-t", str(self.init), "-m", "-r", "--", "sh", "-c", f"cat >'{target}'"], stdin=content, check=True)
        return target

    def write(self, path, text, mode="644"):
        subprocess.run(["nsenter", "-t", str(self.init), "-m", "-r", "--", "sh", "-c", f"mkdir -p '{os.path.dirname(path)}'; cat >'{path}'; chmod {mode} '{path}'"],
                       input=text, text=True, check=True)

    def install(self, *files):
        return self.sh("dpkg -i " + " ".join(self.put(f) for f in files) + " && rm -f /root/*.deb")

    def show(self, unit, prop):
        return self.sh(f"systemctl show --value -p {prop} {unit}")

    def wait_show(self, unit, prop, value, deadline=30):
        wait_until(lambda: self.show(unit, prop) == value, f"{prop} of {unit} is {value}", deadline)

    def changes(self):
        """path -> what it is: what differs from the system before it was booted."""
        found = {}
        upper = self.directory / "upper"
        for directory, names, files in os.walk(upper):
            for name in names + files:
                path = Path(directory) / name
                state = path.lstat()
                kind = os.readlink(path) if path.is_symlink() else hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "directory"
                found["/" + str(path.relative_to(upper))] = (kind, state.st_mode, state.st_uid, state.st_gid)
        return found

    @contextlib.contextmanager
    def network(self):
        """This thread, and the threads and processes that it starts, are in its network."""
        libc = ctypes.CDLL(None, use_errno=True)

        def enter_network(path):
            with open(path) as f:
                assert libc.setns(f.fileno(), 0x40000000) == 0, os.strerror(ctypes.get_errno())

        own = os.open(f"/proc/self/task/{libc.gettid()}/ns/net", os.O_RDONLY)
        enter_network(f"/proc/{self.init}/ns/net")
        try:
            yield
        finally:
            enter_network(f"/proc/self/fd/{own}")
            os.close(own)

    def stop(self):
        try:
            os.killpg(self.popen.pid, signal.SIGKILL)  # and with unshare its child, the first process, and all of its processes
        except ProcessLookupError:
            pass
        self.popen.wait()
        for _ in range(int(500 * PATIENCE)):
            # Its processes may take a moment to end.
            with contextlib.suppress(OSError):
                for directory, _, _ in os.walk(self.group, topdown=False):
                    os.rmdir(directory)
            if not self.group.exists():
                break
            time.sleep(0.02)
        shutil.rmtree(self.directory, ignore_errors=True)

# SPDX-License-Identifier: Apache-2.0
"""The README's two commands on the other release of Debian, in a bare tree: what one release has and the other lacks is found
here. Takes an hour, and the network (apt, PyPI) for the packages; the tree stays in build/releases."""

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from harness.process import PATIENCE, SOURCE, wait_until

RELEASES = {"bookworm": "trixie", "trixie": "bookworm"}
MIRROR = "http://deb.debian.org/debian"
# A root of its own, not chroot: in a chroot no user namespaces can be made, and the sandbox needs one.
ENTER = """set -e
tree=$1; shift
mount --bind "$tree" "$tree"; cd "$tree"
mount -t proc proc proc; mount --rbind /dev dev; mount -t sysfs sysfs sys; mount -t tmpfs tmpfs run; mount -t tmpfs tmpfs tmp
mkdir -p .old; pivot_root . .old; umount -l /.old; rmdir /.old
cd /root/tt-agent; exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 "$@"
"""
pytestmark = pytest.mark.long


def entered(tree, *command):
    """The arguments that run a command in the tree; nothing of it outlives the command."""
    return ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "bash", "-c", ENTER, "bash",
            str(tree), *map(str, command)]


def run(tree, *command, seconds=600):
    done = subprocess.run(entered(tree, *command), stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=seconds * PATIENCE)
    assert done.returncode == 0, (done.stdout + done.stderr)[-20000:]
    return done.stdout


def make(tree, release):
    """debootstrap, with this machine's name servers, proxies and authorities."""
    shutil.rmtree(tree, ignore_errors=True)
    sources = Path("/etc/apt/sources.list.d/debian.sources")
    found = re.search(r"^URIs: *(\S+)", sources.read_text() if sources.exists() else "", re.M)
    done = subprocess.run(["debootstrap", "--variant=minbase", "--include=ca-certificates", release, tree, found[1] if found else MIRROR],
                          capture_output=True, text=True)
    if done.returncode != 0:
        shutil.rmtree(tree, ignore_errors=True)
        pytest.skip(f"debootstrap {release}: {done.stdout[-300:]}")
    for path in "/etc/resolv.conf", "/etc/hosts", "/etc/pip.conf", "/usr/local/share/ca-certificates", "/etc/apt/apt.conf.d":
        if os.path.isdir(path):
            shutil.copytree(path, f"{tree}{path}", dirs_exist_ok=True)
        elif os.path.exists(path):
            shutil.copy(path, f"{tree}{path}")
    (tree / "root" / "tt-agent").mkdir()
    run(tree, "update-ca-certificates")
    (tree / "made").touch()


@pytest.fixture(scope="module")
def tree():
    """The other release with these sources as a new user has them: without what was built, and without git."""
    release = RELEASES.get(dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
                           .get("VERSION_CODENAME"))
    if release is None or os.geteuid() != 0 or not shutil.which("debootstrap"):
        pytest.skip("needs Debian 12 or 13, root and debootstrap")
    tree = SOURCE / "build" / "releases" / release
    if not (tree / "made").exists():
        make(tree, release)
    sources = tree / "root" / "tt-agent"
    shutil.rmtree(sources, ignore_errors=True)
    shutil.copytree(SOURCE, sources, symlinks=True, ignore=lambda directory, names: {
        n for n in names if n in (".git", "__pycache__", "autom4te.cache") or n.endswith(".o") or
        Path(directory) == SOURCE and n in ("build", "configure", "Makefile.in", "aclocal.m4", "config.h.in", "build-aux")})
    return tree


def test_the_first_command_starts_a_chat(tree):
    log = tree / "root" / "quickstart.log"
    with open(log, "w") as out:
        process = subprocess.Popen(entered(tree, "deploy/quickstart", "--port", "0"), stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        try:
            wait_until(lambda: process.poll() is not None or "\nready: " in log.read_text(), "a first chat", 1200)
            assert process.poll() is None and "\nLLM: This is the demo model" in log.read_text(), log.read_text()
            for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
                os.kill(int(child), signal.SIGINT)
            process.wait(60 * PATIENCE)
        finally:
            process.kill()
            process.wait()


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_it_compiles_without_a_warning(tree, compiler):
    run(tree, "bash", "-ec", f"""command -v {compiler} || apt-get install -qy --no-install-recommends {compiler}
        autoreconf -fi; mkdir -p build/{compiler}; cd build/{compiler}
        ../../configure --enable-developer CC={compiler}; make -j2; make -j2 check TESTS=""", seconds=3600)


def test_the_checks_of_style_pass(tree):
    run(tree, "bash", "-ec", "apt-get install -qy --no-install-recommends python3; tests/check-style", seconds=3600)


def test_the_second_command_passes(tree):
    output = run(tree, "tests/run", seconds=7200)
    assert re.search(r"^[1-9]\d+ passed, 0 failed, \d+ skipped$", output, re.M), output[-2000:]
    print(output[-4000:])

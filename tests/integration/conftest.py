# SPDX-License-Identifier: Apache-2.0
"""Fixtures. A test asks for `testbed` and builds its world on it; see harness/testbed.py."""

import os
import shutil
import signal
from pathlib import Path

import pytest

from harness import api_clients
from harness.doctor import CONF
from harness.process import BUILD
from harness.testbed import Testbed


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="also the tests that take minutes")


def pytest_configure(config):
    config.addinivalue_line("markers", "long: takes minutes; only with --long")
    # A shell that runs us in the background has it ignored, and all that we start would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config, items):
    if config.getoption("--long"):
        return
    for item in items:
        if item.get_closest_marker("long"):
            item.add_marker(pytest.mark.skip(reason="only with --long"))


def pytest_terminal_summary(terminalreporter):
    if api_clients.seen_in_this_run:
        terminalreporter.section("clients of the OpenAI API")
        for line in api_clients.table():
            terminalreporter.line(line)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """What failed is shown with the logs of its world."""
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for testbed in Testbed.alive:
            report.sections.append((f"logs of {testbed.directory}", testbed.logs()))
            testbed.failed = True


def finish(testbed):
    """Ends the world; what is wrong with its end fails the test."""
    faults = testbed.close()
    if faults:
        print(testbed.logs())
    if not ((faults or testbed.failed) and os.environ.get("TT_KEEP")):
        testbed.remove()
    assert not faults, "\n".join(faults)


@pytest.fixture
def testbed():
    s = Testbed()
    yield s
    finish(s)


@pytest.fixture(scope="module")
def shared():
    """A world for all tests of a module that only read from it."""
    s = Testbed()
    yield s
    finish(s)


class Worlds:
    """One world at a time for many tests of a module: made when the first test needs it,
    ended when a test needs another."""

    def __init__(self):
        self.name = self.testbed = self.made = self.error = None

    def get(self, name, make):
        if self.name != name:
            self.end()
            self.name, self.testbed = name, Testbed()
            try:
                self.made = make(self.testbed)
            except BaseException as error:
                self.error = error
        if self.error:
            raise AssertionError(f"the world {self.name} was not made: {self.error}") from self.error
        return self.made

    def end(self):
        testbed, self.testbed, self.name, self.error = self.testbed, None, None, None
        if testbed:
            finish(testbed)


@pytest.fixture(scope="module")
def worlds():
    w = Worlds()
    yield w
    w.end()


AS_NOBODY = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]


@pytest.fixture
def unprivileged(testbed):
    """The service of an unprivileged user: programs and directories that it may use."""
    if os.getuid() != 0:
        pytest.skip("only root can be another user")
    directory = testbed.directory
    directory.chmod(0o711)

    def make(prepare=lambda service: None, **more):
        service = testbed.service(start=False, before=AS_NOBODY, conf=more.pop("conf", CONF),
                                  backend=testbed.backend({"d1": testbed.llm().deployment("x")}), **more)
        for path in (service.directory, service.run, service.conf):
            shutil.chown(path, "nobody", "nogroup")
        service.conf.chmod(0o640)
        prepare(service)
        return service.start().wait_ready()

    os.environ.pop("TT_WRAP", None)
    parent = BUILD
    while parent != Path("/"):
        if not parent.stat().st_mode & 0o001:
            pytest.skip(f"others may not enter {parent}")
        parent = parent.parent
    yield make

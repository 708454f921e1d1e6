"""A machine on which the same user has other test runs going, which leave daemons behind all the time."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from inner import Inner

# What it starts would leave the logs of the tests beside it undecided.
pytestmark = [
    pytest.mark.may_skip,
    pytest.mark.skipif("EXECPROBE_OTHER_WORK" not in os.environ, reason="it disturbs others: EXECPROBE_OTHER_WORK=1"),
]

#: Daemons without end, each in a session of its own, that end after some seconds: nothing tells whose they are.
OTHER_RUN = """
import os, select, signal, sys

signal.signal(signal.SIGCHLD, signal.SIG_IGN)
print(flush=True)
while not select.select([0], [], [], 0.05)[0]:
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            select.select([], [], [], 3)
        os._exit(0)
"""


@contextlib.contextmanager
def other_run() -> Iterator[None]:
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-S", "-c", OTHER_RUN], stdin=pipe, stdout=pipe) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"\n"
        yield
        process.communicate(b"end")


SUITE = """
import subprocess, pytest

@pytest.mark.parametrize("n", range(200))
def test(n):
    subprocess.run(["true"], check=True)
"""
CONFTEST = "import subprocess\nsubprocess.run(['true'], check=True)\n"
OPTIONS = ("--execprobe-budget=1", "--execprobe-allow=true", "--execprobe-deny=git")


@pytest.mark.exec_budget(2100)  # 200 in each run, and what takes it to start that
def test_rules_are_decided_ten_times_of_ten(inner: Inner) -> None:
    """Also with a plugin that starts a thread when it is configured."""
    inner.suite(conftest=CONFTEST, test_it=SUITE)
    names = {"xdist": "xdist.plugin", "pytest_rerunfailures": "pytest_rerunfailures"}
    plugins = [plugin for module, plugin in names.items() if importlib.util.find_spec(module) is not None]
    with other_run(), other_run():
        runs = [inner.run("-q", *OPTIONS, plugins=plugins) for _ in range(10)]
    passed = [run.ret == 0 and list(run.outcomes.values()) == [["passed"]] * 200 for run in runs]
    assert passed.count(True) == 10


def test_logs_are_whole_where_a_test_arms_the_probe(inner: Inner) -> None:
    """At the end of the collection: nothing has asked for it before, so that what begins meanwhile can be anyone's, but
    for the proof that no child has ended."""
    inner.suite(test_it="def test(execprobe): execprobe.assert_nothing_ran()")
    with other_run(), other_run():
        runs = [inner.run("-q") for _ in range(10)]
    assert [run.ret for run in runs] == [0] * 10

"""Tests in threads of one process, at the same time: whose exec is whose could not be told, so the second that begins
is an error that says so, and the first is judged by what it ran."""

from __future__ import annotations

import pytest
from inner import Inner

pytestmark = pytest.mark.both_probes

LOOP = """
import threading, pytest

begun, other_is_over = threading.Event(), threading.Event()

@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session):
    first, second = session.items
    thread = threading.Thread(target=protocol, args=[first])
    thread.start()
    assert begun.wait(30)  # the first is in its call
    protocol(second)
    other_is_over.set()
    thread.join()
    return True

def protocol(item):
    item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)

@pytest.hookimpl(tryfirst=True)
def pytest_runtest_logreport(report):
    if "second" in report.nodeid and report.when == "setup":
        at = WHEN
        if at == "during":  # the first goes on while the second is under way, and the second while the first is
            other_is_over.set()
            assert first_has_run.wait(30)

first_has_run = threading.Event()
"""

SUITE = """
import subprocess, pytest
from conftest import begun, other_is_over, first_has_run

@pytest.mark.exec_budget(BUDGET)
def test_first():
    begun.set()
    assert other_is_over.wait(30)
    subprocess.run(["true"])
    first_has_run.set()

@pytest.mark.exec_none
def test_second():
    subprocess.run(["uname"])
"""


@pytest.mark.parametrize("when", ["during", "after"])
@pytest.mark.parametrize("budget", [0, 1])
def test_two_at_once(inner: Inner, when: str, budget: int) -> None:
    inner.suite(conftest=LOOP.replace("WHEN", repr(when)), test_it=SUITE.replace("BUDGET", str(budget)))
    run = inner.run()
    assert run.outcomes["test_first"] == ["passed" if budget else "failed"]
    assert "error" in run.outcomes["test_second"]
    assert "failed" not in run.outcomes["test_second"]
    errors = "".join(report.text for report in run.reports if report.nodeid.endswith("test_second"))
    assert "test_it.py::test_second begins in one thread while test_it.py::test_first runs in another" in errors
    assert "Run tests in processes (pytest-xdist), not in threads" in errors
    assert run.ret == pytest.ExitCode.TESTS_FAILED


def test_threads_of_a_test_are_its_own(inner: Inner) -> None:
    inner.suite(
        test_it="""
        import subprocess, threading, pytest
        from concurrent.futures import ThreadPoolExecutor

        pool = ThreadPoolExecutor(2)

        def runs(n):
            list(pool.map(subprocess.run, [["true"]] * n))

        @pytest.mark.exec_budget(4)
        def test_keeps():
            runs(4)

        @pytest.mark.exec_budget(4)
        def test_breaks():
            runs(5)

        def test_log(execprobe):
            runs(3)
            assert execprobe.counts == {"true": 3}

        def test_free():
            runs(1)
        """
    )
    run = inner.run()
    assert run.outcomes == {
        "test_keeps": ["passed"],
        "test_breaks": ["failed"],
        "test_log": ["passed"],
        "test_free": ["passed"],
    }
    inner.as_without("--execprobe-audit", "-k", "free or keeps")

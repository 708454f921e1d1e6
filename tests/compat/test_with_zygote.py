"""pytest-zygote: workers that are forked while no test is running, so that only they know which test is whose."""

from __future__ import annotations

import pytest
import runners
from inner import Inner, needs

pytestmark = needs("pytest_zygote")

PLUGINS = ("pytest_zygote.plugin",)


def test_outcomes_stay(inner: Inner) -> None:
    inner.suite(test_it=runners.SUITE.replace("MARK", "").replace("exec_", "with_"))
    inner.as_without("--execprobe-audit", "--workers=2", "-W", "ignore", plugins=PLUGINS)


@pytest.mark.both_probes
def test_one_verdict_one_summary_one_report(inner: Inner) -> None:
    run = runners.check(inner, "--workers=2", plugins=PLUGINS)
    assert "recorded        6 execs in 6 tests and around them, 0 lost" in run.summary()
    assert "outside of tests" not in run.summary()


def test_a_worker_that_is_killed_leaves_its_test_to_the_run(inner: Inner) -> None:
    inner.suite(
        test_it="""
        import os, signal, subprocess

        def test_killed():
            subprocess.run(["uname"])
            os.kill(os.getpid(), signal.SIGKILL)

        def test_next():
            subprocess.run(["true"])
        """
    )
    run = inner.run("--workers=1", "--execprobe-deny=uname", "--execprobe-audit", plugins=PLUGINS)
    assert run.outcomes == {"test_killed": ["failed"], "test_next": ["passed"], "outside of tests": ["error"]}
    assert "outside of tests: uname 1" in run.summary()
    assert "test_it.py::test_next: true 1" in run.summary()


def test_what_a_test_leaves_behind_in_its_worker(inner: Inner) -> None:
    inner.suite(
        test_it=runners.LEAVES.replace("MARK", ""),
        conftest="""
        import os
        for name in ("go", "done"):
            os.mkfifo(name)
        """,
    )
    run = inner.run("--workers=1", "--execprobe-audit", plugins=PLUGINS)
    assert run.outcomes == {"test_leaves": ["passed", "error"], "test_next": ["passed"]}
    assert "uname must not run, but it ran once (left behind)" in run.text("test_leaves", "error")

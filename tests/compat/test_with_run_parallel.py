"""pytest-run-parallel: a test's function runs in several threads at once, as on free-threaded Pythons. What they
execute is the test's, in one log."""

from __future__ import annotations

import pytest
from inner import Inner, needs

pytestmark = [needs("pytest_run_parallel"), pytest.mark.both_probes]

PLUGINS = ("pytest_run_parallel.plugin",)


def test_outcomes_stay(inner: Inner) -> None:
    inner.suite(
        test_it="""
        import subprocess

        def test_runs():
            subprocess.run(["true"], check=True)

        def test_breaks():
            subprocess.run(["false"], check=True)
        """
    )
    run = inner.as_without("--parallel-threads=4", "--execprobe-budget=8", "--execprobe-audit", plugins=PLUGINS)
    assert run.outcomes["test_runs"] == ["passed"]


def test_rules_are_for_all_threads_of_a_test(inner: Inner) -> None:
    inner.suite(
        test_it="""
        import subprocess, pytest

        @pytest.mark.exec_budget(8)
        def test_keeps():
            subprocess.run(["true"])
            subprocess.run(["true"])

        @pytest.mark.exec_budget(7)
        def test_breaks():
            subprocess.run(["true"])
            subprocess.run(["true"])

        @pytest.mark.exec_none
        def test_none():
            pass
        """
    )
    run = inner.run("--parallel-threads=4", plugins=PLUGINS)
    assert run.outcomes["test_keeps"] == ["passed"]
    assert run.outcomes["test_none"] == ["passed"]
    assert "8 execs" in next(r.text for r in run.reports if "test_breaks" in r.nodeid and r.text)


def test_threads_share_a_log_in_which_each_exec_has_the_line_that_spawned_it(inner: Inner) -> None:
    """None of them misses what it has run itself, and what others run at the same time is in it, too."""
    inner.suite(
        test_it="""
        import subprocess, threading

        all_have_run = threading.Barrier(4)

        def one():
            subprocess.run(["true"])

        def other():
            subprocess.run(["uname"], stdout=subprocess.DEVNULL)

        def test_log(execprobe, thread_index):
            (one, other)[thread_index % 2]()
            assert execprobe.count("true" if thread_index % 2 == 0 else "uname") >= 1
            all_have_run.wait(60)
            assert execprobe.counts == {"true": 2, "uname": 2}
            sites = {(record.program, record.call_site.function) for record in execprobe.records}
            assert sites == {("true", "one"), ("uname", "other")}
        """
    )
    run = inner.run("--parallel-threads=4", plugins=PLUGINS)
    assert run.outcomes["test_log"] == ["passed"]

"""pytest-timeout: a test that hangs is ended by a signal in the middle of whatever it does, or with the whole run."""

from __future__ import annotations

import pytest
from inner import Inner, gone, needs

pytestmark = [needs("pytest_timeout"), pytest.mark.both_probes]

PLUGINS = ("pytest_timeout",)

#: What begins the run has no limit, for the probe may take long on a busy machine until it is there.
PLAIN = """
import signal, subprocess, pytest

def test_before():
    subprocess.run(["true"])

@pytest.mark.timeout(0.5)
def test_hangs():
    subprocess.run(["true"])
    signal.pause()

@pytest.mark.timeout(0.5)
def test_child_hangs():
    subprocess.run(["sleep", "1000"])

def test_after():
    subprocess.run(["true"])
"""


def test_outcomes_stay(inner: Inner) -> None:
    inner.suite(test_it=PLAIN)
    run = inner.as_without("--timeout-method=signal", "--execprobe-budget=1", "--execprobe-audit", plugins=PLUGINS)
    assert run.outcomes["test_hangs"] == ["failed"]
    assert run.outcomes["test_after"] == ["passed"]


def test_rules(inner: Inner) -> None:
    inner.suite(
        test_it="""
        import subprocess, pytest

        @pytest.mark.exec_budget(1)
        def test_breaks():
            subprocess.run(["true"])
            subprocess.run(["true"])

        @pytest.mark.timeout(0.5)
        @pytest.mark.exec_none
        def test_hangs():
            subprocess.run(["true"])
            subprocess.run(["sleep", "1000"])

        @pytest.mark.exec_none
        def test_next():
            pass
        """
    )
    run = inner.run("--timeout-method=signal", plugins=PLUGINS)
    assert run.outcomes == {"test_breaks": ["failed"], "test_hangs": ["failed"], "test_next": ["passed"]}
    hangs = run.report("test_hangs", "failed")
    assert "Timeout" in hangs.text
    assert "nothing may run, but true, sleep ran" in hangs.sections[0][1]


def test_a_signal_in_the_middle_of_a_read(inner: Inner) -> None:
    """The reads go on until it comes. Wherever it breaks in, the probe goes on, and the log is whole."""
    inner.suite(
        test_it="""
        import subprocess, pytest

        def test_begins(execprobe):
            pass

        @pytest.mark.timeout(0.5)
        @pytest.mark.parametrize("n", range(3))
        def test_reads(n, execprobe):
            subprocess.run(["true"])
            while True:
                execprobe.assert_ran("true", times=1)

        @pytest.mark.timeout(0.5)
        @pytest.mark.parametrize("n", range(3))
        def test_waits(n, execprobe):
            execprobe.wait_for("uname", timeout=1000)

        def test_next(execprobe):
            subprocess.run(["true"])
            assert execprobe.programs == ["true"]
        """
    )
    run = inner.run("--execprobe-session-budget=4", "--timeout-method=signal", plugins=PLUGINS)
    assert run.outcomes == {
        "test_begins": ["passed"],
        **{f"test_{name}[{n}]": ["failed"] for name in ("reads", "waits") for n in range(3)},
        "test_next": ["passed"],
    }
    assert all("Timeout" in r.text for r in run.reports if r.category == "failed")
    assert len(run.helpers_ever) == 1
    assert "4 execs in 8 tests and around them, 0 lost" in run.summary()


def test_the_whole_run_ends(inner: Inner) -> None:
    inner.suite(test_it=PLAIN)
    run = inner.as_without("--timeout-method=thread", "--execprobe-budget=1", plugins=PLUGINS)
    assert run.outcomes == {"test_before": ["passed"], "test_hangs": []}
    assert run.ret != 0
    assert all(gone(helper) for helper in run.helpers.values())

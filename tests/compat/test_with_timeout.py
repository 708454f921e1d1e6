"""pytest-timeout: a test that hangs is ended by a signal in the middle of whatever it does, or with the whole run."""

from __future__ import annotations

from inner import LOST, Inner, gone, needs

pytestmark = needs("pytest_timeout")

PLUGINS = ("pytest_timeout",)

PLAIN = """
import signal, subprocess

def test_before():
    subprocess.run(["true"])

def test_hangs():
    subprocess.run(["true"])
    signal.pause()

def test_child_hangs():
    subprocess.run(["sleep", "1000"])

def test_after():
    subprocess.run(["true"])
"""


def test_outcomes_stay(inner: Inner) -> None:
    inner.suite(test_it=PLAIN)
    run = inner.as_without(
        "--timeout=0.5", "--timeout-method=signal", "--execprobe-budget=1", "--execprobe-audit", plugins=PLUGINS
    )
    assert run.outcomes["test_hangs"] == ["failed"]
    assert run.outcomes["test_after"] == ["passed"]


def test_rules(inner: Inner) -> None:
    inner.suite(
        test_it="""
        import subprocess, pytest

        @pytest.mark.exec_none
        def test_hangs():
            subprocess.run(["true"])
            subprocess.run(["sleep", "1000"])

        @pytest.mark.exec_none
        def test_next():
            pass

        @pytest.mark.exec_budget(1)
        def test_breaks():
            subprocess.run(["true"])
            subprocess.run(["true"])
        """
    )
    run = inner.run("--timeout=0.5", "--timeout-method=signal", plugins=PLUGINS)
    assert run.outcomes == {"test_hangs": ["failed"], "test_next": ["passed"], "test_breaks": ["failed"]}
    hangs = run.report("test_hangs", "failed")
    assert "Timeout" in hangs.text
    assert "nothing may run, but true, sleep ran" in hangs.sections[0][1]


def test_a_signal_in_the_middle_of_a_read(inner: Inner) -> None:
    """The reads go on until it comes. Wherever it breaks in, the next test knows what it runs."""
    inner.suite(
        test_it="""
        import subprocess, pytest

        @pytest.mark.parametrize("n", range(3))
        def test_reads(n, execprobe):
            while True:
                execprobe.assert_nothing_ran()

        @pytest.mark.parametrize("n", range(3))
        def test_waits(n, execprobe):
            execprobe.wait_for("uname", timeout=1000)

        def test_next(execprobe):
            subprocess.run(["true"])
            assert execprobe.programs == ["true"]
        """
    )
    # It is the calls that hang; a set-up may have to start a new helper.
    run = inner.run("--timeout=0.3", "--timeout-method=signal", "-o", "timeout_func_only=true", plugins=PLUGINS)
    assert {name: shown for name, shown in run.outcomes.items() if name not in LOST} == {
        **{f"test_{name}[{n}]": ["failed"] for name in ("reads", "waits") for n in range(3)},
        "test_next": ["passed"],
    }
    assert all("Timeout" in r.text for r in run.reports if r.category == "failed")


def test_the_whole_run_ends(inner: Inner) -> None:
    inner.suite(test_it=PLAIN)
    run = inner.as_without("--timeout=0.5", "--timeout-method=thread", "--execprobe-budget=1", plugins=PLUGINS)
    assert run.outcomes == {"test_before": ["passed"], "test_hangs": []}
    assert run.ret != 0
    assert all(gone(helper) for helper in run.helpers.values())

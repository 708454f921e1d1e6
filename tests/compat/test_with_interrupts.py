"""Ctrl-C and pytest.exit() in the middle of a test: the run ends as without the plugin, and what is known is told."""

from __future__ import annotations

import pytest
from inner import Inner, alike, gone

from pytest_execprobe.cli import main

SUITE = """
import os, signal, subprocess, pytest

def test_before():
    subprocess.run(["true"])

def test_ends(ENDS):
    subprocess.run(["true"])
    HOW

def test_after():
    subprocess.run(["true"])
"""

WAYS = {
    "signal": "os.kill(os.getpid(), signal.SIGINT); signal.pause()",
    "exit": "pytest.exit('enough')",
    "exit-5": "pytest.exit('enough', returncode=5)",
    "exit-0": "pytest.exit('enough', returncode=0)",
}


@pytest.mark.parametrize("how", ["signal", *alike("exit", "exit-5", "exit-0")])
def test_outcomes_stay_and_the_report_passes_no_gate(inner: Inner, how: str) -> None:
    inner.suite(test_it=SUITE.replace("ENDS", "").replace("HOW", WAYS[how]))
    run = inner.as_without("--execprobe-budget=1", "--execprobe-audit", "--execprobe-report=a.json")
    assert run.outcomes == {"test_before": ["passed"], "test_ends": []}
    assert run.ret == {"exit-5": 5, "exit-0": 0}.get(how, pytest.ExitCode.INTERRUPTED)
    assert "test_it.py::test_before: true 1" in run.summary()
    assert "test_it.py::test_ends: true 1" in run.summary()
    assert all(gone(helper) for helper in run.helpers.values())
    file = inner.path / "execs.toml"
    file.write_text("version = 1\n[total]\nat_most = 9\n")
    gate = main(["gate", str(inner.path / "a.json"), "--budget", str(file)])
    assert gate == 2, "its report passes, whatever the exit status was"


@pytest.mark.parametrize("how", alike("exit-0", "signal"))
def test_what_was_broken_before_is_told(inner: Inner, how: str) -> None:
    inner.suite(test_it=SUITE.replace("ENDS", "").replace("HOW", WAYS[how]))
    run = inner.run("--execprobe-session-budget=1")
    assert run.outcomes["session budget"] == ["error"]
    assert run.ret == (pytest.ExitCode.INTERRUPTED if how == "signal" else pytest.ExitCode.TESTS_FAILED)
    inner.suite(
        test_it=SUITE.replace("ENDS", "")
        .replace("HOW", WAYS[how])
        .replace("def test_before", "@pytest.mark.exec_none\ndef test_before")
    )
    run = inner.run()
    assert run.outcomes["test_before"] == ["failed"]


def test_a_fixture_that_ends_after_it(inner: Inner) -> None:
    """pytest ends it when all tests are over."""
    fixture = """
@pytest.fixture(scope="module")
def server():
    yield
    subprocess.run(["uname"])

pytestmark = pytest.mark.exec_deny("uname")
"""
    inner.suite(test_it=SUITE.replace("ENDS", "server").replace("HOW", WAYS["exit-0"]) + fixture)
    run = inner.run("--execprobe-audit")
    assert "fixture 'server' (module): uname 1" in run.summary()
    assert "uname must not run, but it ran once" in run.out
    assert run.ret == pytest.ExitCode.TESTS_FAILED


def test_in_the_middle_of_a_read(inner: Inner) -> None:
    """A thread sends it while the log is being read, again and again."""
    inner.suite(
        test_it="""
        import os, signal, subprocess, threading, time, pytest

        @pytest.mark.parametrize("n", range(20))
        def test_reads(n, execprobe):
            subprocess.run(["true"])
            timer = threading.Timer(0.01, os.kill, [os.getpid(), signal.SIGINT])
            with pytest.raises(KeyboardInterrupt):
                timer.start()
                while True:
                    execprobe.partial
            timer.join()
            subprocess.run(["uname"])
            assert execprobe.programs == ["true", "uname"]

        def test_next(execprobe):
            subprocess.run(["true"])
            assert execprobe.programs == ["true"]

        @pytest.mark.exec_none
        def test_breaks():
            subprocess.run(["true"])
        """
    )
    run = inner.run("--execprobe-session-budget=42")
    assert run.outcomes == {
        **{f"test_reads[{n}]": ["passed"] for n in range(20)},
        "test_next": ["passed"],
        "test_breaks": ["failed"],
    }
    assert len(run.helpers_ever) == 1
    assert "42 execs in 22 tests and around them, 0 lost" in run.summary()

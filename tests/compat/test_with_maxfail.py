"""-x and --maxfail: a broken rule counts as a failure, and what runs when the run is broken off is still judged."""

from __future__ import annotations

import pytest
from inner import Inner

PLAIN = """
import subprocess, pytest

@pytest.mark.parametrize("n", range(5))
def test(n):
    subprocess.run(["true"])
    assert n % 2 == 0
"""


@pytest.mark.parametrize("option", ["-x", "--maxfail=2"])
def test_outcomes_stay(inner: Inner, option: str) -> None:
    inner.suite(test_it=PLAIN)
    run = inner.as_without("--execprobe-budget=1", "--execprobe-session-budget=5", option)
    assert run.outcomes[f"test[{1 if option == '-x' else 3}]"] == ["failed"]
    assert f"{2 if option == '-x' else 4} execs, at most 5 allowed" in run.summary()


RULES = """
import subprocess, pytest

@pytest.mark.parametrize("n", range(5))
@pytest.mark.exec_budget(0)
def test(n):
    if n % 2:
        subprocess.run(["true"])
"""


@pytest.mark.parametrize(("option", "last"), [("-x", 1), ("--maxfail=2", 3), ("--maxfail=3", 4)])
def test_broken_rules_count(inner: Inner, option: str, last: int) -> None:
    inner.suite(test_it=RULES)
    run = inner.run(option)
    assert run.outcomes == {f"test[{n}]": ["failed" if n % 2 else "passed"] for n in range(last + 1)}
    assert run.ret == pytest.ExitCode.TESTS_FAILED


def test_a_fixture_that_ends_when_the_run_is_broken_off(inner: Inner) -> None:
    """pytest ends it when all tests are over."""
    inner.suite(
        test_it="""
        import subprocess, pytest

        pytestmark = pytest.mark.exec_deny("uname")

        @pytest.fixture(scope="module")
        def server():
            yield
            subprocess.run(["uname"])

        def test_fails(server):
            assert False

        def test_next(server):
            pass
        """
    )
    run = inner.run("-x", "--execprobe-audit")
    assert run.outcomes["test_fails"][0] == "failed"
    assert "test_next" not in run.outcomes
    assert "uname must not run, but it ran once" in run.out
    assert "fixture 'server' (module): uname 1" in run.summary()


def test_what_a_test_left_behind_is_judged_before_the_run_ends(inner: Inner) -> None:
    inner.suite(
        test_it="""
        import os, subprocess, pytest

        @pytest.mark.exec_deny("uname")
        def test_leaves(tmp_path):
            # The shell ends at once; what it leaves behind waits for the end of the test.
            go, done = tmp_path / "go", tmp_path / "done"
            os.mkfifo(go)
            os.mkfifo(done)
            subprocess.run(["sh", "-c", f"(read x < {go}; /usr/bin/uname; echo > {done}) > {tmp_path}/out 2>&1 &"])
            test_fails.fifos = go, done

        def test_fails():
            go, done = test_fails.fifos
            go.write_text("now")
            done.read_text()
            assert False

        def test_next():
            pass
        """
    )
    run = inner.run("-x")
    assert run.outcomes == {"test_leaves": ["passed", "error"], "test_fails": ["failed"]}
    assert "uname must not run, but it ran once (left behind)" in run.text("test_leaves", "error")

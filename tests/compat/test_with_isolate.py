"""pytest-isolate: each test in a fork of the run, as under pytest-forked, but reported by its phases."""

from __future__ import annotations

import pytest
import runners
from inner import Inner, needs, pytest_version

# pytest-isolate 0.0.17 asks pytest for what 9.2 has no more: there is nothing to be compatible with.
pytestmark = [needs("pytest_isolate"), *([pytest.mark.may_skip] if pytest_version() >= (9, 0) else [])]

PLUGINS = ("pytest_isolate.plugin",)


@pytest.fixture(autouse=True)
def works(inner: Inner) -> None:
    inner.suite(test_bare="def test(): pass")
    if inner.bare("--isolate", "test_bare.py", plugins=PLUGINS).ret != 0:
        pytest.skip(f"pytest-isolate does not work with pytest {pytest.__version__}")
    (inner.path / "test_bare.py").unlink()


def test_outcomes_stay(inner: Inner) -> None:
    inner.suite(test_it=runners.SUITE.replace("MARK", "").replace("exec_", "with_"))
    inner.as_without("--execprobe-audit", "--isolate", "-W", "ignore", plugins=PLUGINS)


def test_one_verdict_one_summary_one_report(inner: Inner) -> None:
    run = runners.check(inner, "--isolate", plugins=PLUGINS)
    assert "recorded        6 execs in 6 tests and around them, 0 lost" in run.summary()


def test_a_child_that_is_killed(inner: Inner) -> None:
    inner.suite(
        test_it="""
        import os, signal, subprocess, pytest

        @pytest.mark.exec_deny("uname")
        def test_killed():
            subprocess.run(["uname"])
            os.kill(os.getpid(), signal.SIGKILL)

        @pytest.mark.xfail(reason="so")
        @pytest.mark.exec_deny("uname")
        def test_expected():
            subprocess.run(["uname"])
            os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    run = inner.run("--isolate", "-W", "ignore", plugins=PLUGINS)
    assert run.outcomes == {"test_killed": ["failed"], "test_expected": ["xfailed", "error"]}
    assert "it was not recorded" in run.text("test_expected", "error")

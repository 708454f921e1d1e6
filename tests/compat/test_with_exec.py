"""os.exec*: a child that becomes another program, and a pytest that does. What takes its place is no pytest any more,
so all there is to see to is that nothing hangs, nothing stays, and nothing reads as passed."""

from __future__ import annotations

import pytest
from inner import Inner, gone, needs

CHILD = """
import os, pytest

def becomes(program):
    child = os.fork()
    if child == 0:
        os.execvp(program, [program])
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

def test_plain():
    becomes("true")
"""


def test_a_forked_child(inner: Inner) -> None:
    inner.suite(test_it=CHILD)
    run = inner.as_without("--execprobe-budget=1", "--execprobe-audit")
    assert "test_it.py::test_plain: true 1" in run.summary()
    inner.suite(
        test_it=CHILD
        + """
@pytest.mark.exec_none
def test_breaks():
    becomes("true")

def test_log(execprobe):
    becomes("true")
    becomes("env")
    assert execprobe.programs == ["true", "env"]
    assert execprobe.direct.programs == ["true", "env"]
"""
    )
    run = inner.run()
    assert run.outcomes == {"test_plain": ["passed"], "test_breaks": ["failed"], "test_log": ["passed"]}


def replaced(inner: Inner, program: str) -> None:
    inner.suite(
        test_it=f"""
        import os, subprocess, pytest

        @pytest.mark.exec_budget(1)
        def test_before():
            subprocess.run(["true"])

        @pytest.mark.exec_none
        def test_becomes(execprobe):
            os.execvp({program!r}, [{program!r}])

        def test_after():
            assert False
        """
    )


@pytest.mark.parametrize(("program", "status"), [("true", 0), ("false", 1)])
def test_pytest_itself(inner: Inner, program: str, status: int) -> None:
    replaced(inner, program)
    run = inner.run()
    assert run.ret == status  # the program's
    assert run.outcomes == {"test_before": ["passed"], "test_becomes": []}
    assert " passed" not in run.out
    assert len(run.helpers) == 1
    assert all(gone(helper) for helper in run.helpers.values())


@needs("xdist")
def test_a_worker(inner: Inner) -> None:
    replaced(inner, "true")
    run = inner.run("-n1", "--execprobe-session-budget=9", "--max-worker-restart=0", plugins=["xdist.plugin"])
    assert run.outcomes["test_before"] == ["passed"]
    assert run.outcomes["test_becomes"] == ["failed"]
    assert run.outcomes["session budget"] == ["error"]
    assert run.ret != 0
    assert all(gone(helper) for helper in run.helpers.values())


def test_another_pytest_in_its_place(inner: Inner) -> None:
    """It has the process id of the first, and starts a helper of its own."""
    inner.suite(
        test_first="""
        import os, sys, pytest

        @pytest.mark.exec_none
        def test_becomes(request):
            request.config.pluginmanager.get_plugin("capturemanager").stop_global_capturing()
            options = ["-p", "pytest_execprobe.plugin", "-p", "told", "-p", "no:cacheprovider"]
            os.execv(sys.executable, [sys.executable, "-m", "pytest", *options, "test_second.py"])
        """,
        test_second="""
        import subprocess, pytest

        @pytest.mark.exec_budget(1)
        def test_keeps():
            subprocess.run(["true"])

        @pytest.mark.exec_budget(1)
        def test_breaks():
            subprocess.run(["true"])
            subprocess.run(["true"])

        def test_log(execprobe):
            subprocess.run(["uname"])
            assert execprobe.programs == ["uname"]
        """,
    )
    run = inner.run("test_first.py")
    assert run.outcomes == {
        "test_becomes": [],
        "test_keeps": ["passed"],
        "test_breaks": ["failed"],
        "test_log": ["passed"],
    }
    assert run.ret == pytest.ExitCode.TESTS_FAILED
    assert len(run.helpers_ever) == 2
    assert all(gone(helper) for helper in run.helpers_ever)

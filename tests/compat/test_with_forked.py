"""pytest-forked: the phases of a test run in a child, which is judged there; what its parent sees is counted once."""

from __future__ import annotations

import pytest
from inner import Inner, needs, pytest_version

# pytest-forked 1.7.5 does not know the reports of pytest 9.2: there is nothing to be compatible with.
pytestmark = [needs("pytest_forked"), *([pytest.mark.may_skip] if pytest_version() >= (9, 0) else [])]

PLUGINS = ("pytest_forked",)


_statuses: list[int] = []  # of a run without the probe, which is made once


@pytest.fixture(autouse=True)
def works(inner: Inner) -> None:
    if not _statuses:
        inner.suite(test_bare="def test(): pass")
        _statuses.append(inner.bare("--forked", "test_bare.py", plugins=PLUGINS).ret)
        (inner.path / "test_bare.py").unlink()
    if _statuses != [0]:
        pytest.skip(f"pytest-forked does not work with pytest {pytest.__version__}")


PLAIN = """
import os, signal, subprocess, pytest

def test_passes():
    subprocess.run(["true"])

def test_fails():
    subprocess.run(["true"])
    assert False

def test_skips():
    pytest.skip("so")

def test_killed():
    subprocess.run(["true"])
    os.kill(os.getpid(), signal.SIGKILL)

def test_leaves():
    os._exit(0)

@pytest.mark.xfail
def test_expected():
    assert False

@pytest.mark.xfail
def test_killed_as_expected():
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_outcomes_stay(inner: Inner) -> None:
    inner.suite(test_it=PLAIN)
    run = inner.as_without("--forked", "--execprobe-budget=1", "--execprobe-audit", plugins=PLUGINS)
    assert run.outcomes["test_killed"] == ["failed"]
    assert run.outcomes["test_leaves"] == ["failed"]
    assert "test_it.py::test_killed: true 1" in run.summary()
    assert "3 execs in 7 tests" in run.summary()


RULES = """
import os, signal, subprocess, pytest

@pytest.fixture(scope="module")
def shell():
    subprocess.run(["sh", "-c", "exit"])

@pytest.mark.exec_budget(1)
def test_breaks(shell):
    subprocess.run(["true"])
    subprocess.run(["true"])

@pytest.mark.exec_budget(1)
def test_keeps(shell):
    subprocess.run(["true"])

@pytest.mark.exec_none
def test_teardown(request):
    request.addfinalizer(lambda: subprocess.run(["uname"]))

@pytest.mark.exec_none(phases=["call"])
def test_log(execprobe, shell):
    execprobe.assert_nothing_ran()

def test_log_of_something(execprobe, shell):
    subprocess.run(["true"])
    assert execprobe.programs == ["true"]

@pytest.mark.exec_none
def test_both():
    subprocess.run(["true"])
    assert False

@pytest.mark.xfail(raises=AssertionError)
@pytest.mark.exec_none
def test_expected():
    subprocess.run(["true"])

@pytest.mark.exec_none
def test_skips():
    subprocess.run(["true"])
    pytest.skip("after that")
"""


def test_rules(inner: Inner) -> None:
    inner.suite(test_it=RULES)
    run = inner.run("--forked", plugins=PLUGINS)
    assert run.outcomes == {
        "test_breaks": ["failed"],
        "test_keeps": ["passed"],
        "test_teardown": ["passed", "error"],
        "test_log": ["passed"],
        "test_log_of_something": ["passed"],
        "test_both": ["failed"],
        "test_expected": ["xfailed"],
        "test_skips": ["failed"],
    }
    assert "exec budget exceeded: 2 execs, at most 1 allowed" in run.text("test_breaks")
    both = run.report("test_both", "failed")
    assert "assert False" in both.text
    assert "nothing may run, but true ran" in str(both.sections)
    assert run.properties("test_both")["execprobe_execs"] == 1
    assert "test_expected: nothing may run, but true ran" in run.summary()


def test_a_child_that_was_killed_is_judged_by_what_it_ran(inner: Inner) -> None:
    inner.suite(
        test_it="""
        import os, signal, subprocess, pytest

        pytestmark = pytest.mark.exec_deny("uname")

        def test_breaks():
            subprocess.run(["uname"])
            os.kill(os.getpid(), signal.SIGKILL)

        def test_keeps():
            subprocess.run(["true"])
            os.kill(os.getpid(), signal.SIGKILL)

        @pytest.mark.xfail
        def test_expected():
            subprocess.run(["uname"])
            os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    run = inner.run("--forked", plugins=PLUGINS)
    assert run.outcomes == {
        "test_breaks": ["failed", "error"],
        "test_keeps": ["failed"],
        "test_expected": ["xfailed"],
    }
    assert "uname must not run, but it ran once (a process that was killed)" in run.text("test_breaks", "error")
    assert "test_expected: uname must not run, but it ran once" in run.summary()


def test_only_marked_tests_are_forked(inner: Inner) -> None:
    inner.suite(
        test_it="""
        import subprocess, pytest

        @pytest.mark.exec_budget(1)
        def test_before():
            subprocess.run(["true"])

        @pytest.mark.forked
        @pytest.mark.exec_budget(1)
        def test_forked():
            subprocess.run(["true"])
            subprocess.run(["true"])

        @pytest.mark.exec_budget(1)
        def test_after():
            subprocess.run(["true"])
        """
    )
    run = inner.run("--execprobe-session-budget=3", plugins=PLUGINS)
    assert run.outcomes == {
        "test_before": ["passed"],
        "test_forked": ["failed"],
        "test_after": ["passed"],
        "session budget": ["error"],
    }
    assert "session budget exceeded: 4 execs, at most 3 allowed" in run.out


def test_what_is_unknown_is_an_error(inner: Inner) -> None:
    inner.suite(
        test_it="""
        import pytest
        from lose import lose_helper

        @pytest.mark.xfail
        @pytest.mark.exec_none(phases=["call"])
        def test_loses(request):
            lose_helper(request.config)

        @pytest.mark.exec_none
        def test_next():
            pass
        """
    )
    run = inner.run("--forked", "--execprobe-session-budget=3", plugins=PLUGINS)
    assert run.outcomes["test_loses"] == ["error"]
    assert run.outcomes["test_next"] == ["passed"]
    assert run.outcomes["session budget"] == ["error"]
    assert run.ret == pytest.ExitCode.TESTS_FAILED


def test_a_mark_that_is_added_in_the_child_speaks_of_its_set_up(inner: Inner) -> None:
    inner.suite(
        test_it="""
        import subprocess, pytest
        @pytest.fixture
        def ready():
            subprocess.run(["true"])
        def test_breaks(request, ready, execprobe):
            request.node.add_marker(pytest.mark.exec_none())
        """
    )
    run = inner.run("--forked", plugins=PLUGINS)
    assert "nothing may run, but true ran (setup phase)" in run.text("test_breaks")


LEAVES = """
import os, subprocess, time, pytest

@pytest.fixture
def left():
    os.system("(sleep 0.4; date >/dev/null) &")

@pytest.mark.exec_deny("date", phases=("setup",))
def test_denied_in_set_up(left): pass

@pytest.mark.exec_deny("date")
def test_denied(left): pass

@pytest.mark.exec_deny("curl", phases=("setup",))
def test_keeps(left): pass

@pytest.mark.exec_budget(3, phases=("setup", "call", "teardown"))
def test_exceeds(left):
    subprocess.run(["true"], check=True)

@pytest.mark.exec_budget(3)
def test_may_exceed(left):
    subprocess.run(["true"], check=True)

@pytest.mark.exec_budget(4)
def test_is_within(left):
    subprocess.run(["true"], check=True)

def test_waits():
    time.sleep(1)
"""


def test_what_a_child_has_left_behind_counts_beside_what_it_ran(inner: Inner) -> None:
    """In which phase it was begun is not known where it is judged."""
    inner.suite(test_it=LEAVES)
    run = inner.run("--forked", plugins=PLUGINS)
    found = {name: outcomes for name, outcomes in run.outcomes.items() if outcomes != ["passed"]}
    assert found == {
        name: ["passed", "error"]
        for name in ("test_denied_in_set_up", "test_denied", "test_exceeds", "test_may_exceed")
    }
    assert "date must not run, but it ran once (left behind)" in run.out
    assert "exec budget exceeded: 4 execs, at most 3 allowed (setup and call and teardown phases, and left behind)" in (
        run.out
    )
    assert (
        "why   the test ran in a process of its own, and in which of its phases this was begun is not known" in run.out
    )


def test_rows_have_what_a_child_has_left_behind_beside_what_it_ran(inner: Inner) -> None:
    inner.suite(
        test_it="""
        import os, time

        def test_leaves():
            os.system("date >/dev/null; (sleep 0.4; date >/dev/null) & exit 0")

        def test_waits():
            time.sleep(1)
        """
    )
    baseline = inner.path / "execs.toml"
    baseline.write_text('version = 1\n\n[tests."test_it.py::test_leaves"]\ndate = 1\nsh = 1\nsleep = 1\n')
    run = inner.run("--forked", "--execprobe-baseline=execs.toml", plugins=PLUGINS)
    assert "grew: date ran 2 times, at most once in the baseline" in run.out
    inner.run("--forked", "--execprobe-baseline=execs.toml", "--execprobe-update", plugins=PLUGINS)
    assert "date = 2" in baseline.read_text()
    assert "no test is beyond it" in inner.run("--forked", "--execprobe-baseline=execs.toml", plugins=PLUGINS).out


def test_what_is_left_behind_and_runs_at_once_is_judged_by_one_of_both(inner: Inner) -> None:
    """By the child while it lives, and from then on by its parent, which is still busy with the test."""
    inner.suite(
        test_it="""
        import os, time, pytest

        @pytest.mark.exec_deny("date")
        @pytest.mark.parametrize("ms", range(16))
        def test_leaves(ms):
            os.system(f"(sleep {ms / 1000}; date >/dev/null) & exit 0")

        def test_waits():
            time.sleep(1)
        """
    )
    run = inner.run("--forked", plugins=PLUGINS)
    assert [name for name, outcomes in run.outcomes.items() if outcomes == ["passed"]] == ["test_waits"]


def test_rows_have_what_is_left_behind_and_runs_at_once(inner: Inner) -> None:
    inner.suite(
        test_it="""
        import os, time, pytest

        @pytest.mark.parametrize("ms", range(8))
        def test_leaves(ms):
            os.system(f"(sleep {ms / 1000}; date >/dev/null) & exit 0")

        def test_waits():
            time.sleep(1)
        """
    )
    baseline = inner.path / "execs.toml"
    baseline.write_text('version = 1\n\n[tests."test_it.py::test_leaves[*]"]\nsh = 1\nsleep = 1\n')
    run = inner.run("--forked", "--execprobe-baseline=execs.toml", plugins=PLUGINS)
    assert [name for name, outcomes in run.outcomes.items() if outcomes == ["passed"]] == ["test_waits"]

"""pytest-rerunfailures: each try is judged by itself, and the properties are those of the last."""

from __future__ import annotations

import pytest
from inner import Inner, needs

pytestmark = needs("pytest_rerunfailures")

PLUGINS = ("pytest_rerunfailures",)

PLAIN = """
import subprocess, pytest
tries = []

def test_flaky():
    subprocess.run(["true"])
    tries.append(1)
    assert len(tries) == 3

@pytest.mark.flaky(reruns=1)
def test_fails():
    subprocess.run(["true"])
    assert False

def test_passes():
    subprocess.run(["true"])
"""


def test_outcomes_stay(inner: Inner) -> None:
    inner.suite(test_it=PLAIN)
    run = inner.as_without("--execprobe-budget=1", "--execprobe-audit", "--reruns=2", plugins=PLUGINS)
    assert run.outcomes["test_flaky"] == ["rerun", "rerun", "passed"]
    assert run.outcomes["test_fails"] == ["rerun", "failed"]
    assert "test_it.py::test_flaky: true 3" in run.summary()


RULES = """
import subprocess, pytest
tries = []
ends_of_it = []

@pytest.fixture
def ends():
    yield
    ends_of_it.append(1)
    if len(ends_of_it) == 1:
        subprocess.run(["uname"])

@pytest.mark.exec_budget(1)
@pytest.mark.exec_allow("true")
def test_second_time():
    tries.append(1)
    if len(tries) == 1:
        subprocess.run(["uname"])
    subprocess.run(["true"])

@pytest.mark.exec_deny("uname")
def test_teardown(ends):
    subprocess.run(["true"])

@pytest.mark.exec_none
def test_never():
    subprocess.run(["true"])
    subprocess.run(["uname"])

@pytest.mark.exec_none
def test_kept():
    pass
"""


def test_a_rule_that_is_kept_the_second_time(inner: Inner) -> None:
    inner.suite(test_it=RULES)
    run = inner.run("--reruns=2", plugins=PLUGINS)
    assert run.outcomes == {
        "test_second_time": ["rerun", "passed"],
        "test_teardown": ["passed", "rerun", "passed"],
        "test_never": ["rerun", "rerun", "failed"],
        "test_kept": ["passed"],
    }
    assert "exec budget exceeded: 2 execs, at most 1 allowed" in run.text("test_second_time", "rerun")
    assert "unexpected program: uname ran" in run.text("test_second_time", "rerun")
    assert run.properties("test_second_time") == {"execprobe_execs": 1, "execprobe_lost": 0}
    assert run.properties("test_never") == {
        "execprobe_execs": 2,
        "execprobe_lost": 0,
        "execprobe_unexpected": "true, uname",
    }
    assert run.properties("test_kept") == {"execprobe_execs": 0, "execprobe_lost": 0}


def test_what_is_unknown_the_first_time_is_known_the_second(inner: Inner) -> None:
    inner.suite(
        test_it="""
        import subprocess, pytest
        from lose import lose_helper
        tries = []

        @pytest.mark.exec_budget(1)
        def test_loses(request):
            tries.append(1)
            subprocess.run(["true"])
            if len(tries) == 1:
                lose_helper(request.config)

        @pytest.mark.exec_budget(1)
        def test_always(request):
            lose_helper(request.config)
        """
    )
    run = inner.run("--reruns=1", "--execprobe-session-budget=5", plugins=PLUGINS)
    assert run.outcomes["test_loses"] == ["rerun", "passed"]
    assert run.outcomes["test_always"][-1] == "error"
    assert run.outcomes["session budget"] == ["error"]
    assert run.ret == pytest.ExitCode.TESTS_FAILED

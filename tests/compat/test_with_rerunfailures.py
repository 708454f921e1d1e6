"""pytest-rerunfailures: each try is judged by itself, and the properties are those of the last."""

from __future__ import annotations

import pytest
from inner import Inner, alike, needs

from pytest_execprobe.cli import main

pytestmark = needs("pytest_rerunfailures")
TRACED = [pytest.mark.beside, pytest.mark.long]  # which probe it is is no matter of who tries a test again

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


@pytest.mark.both_probes(long=True)
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


@pytest.mark.both_probes(long=True)
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


@pytest.mark.both_probes(long=True)
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


FLAKY = """
import os, subprocess
from pathlib import Path

def test_flaky(request):
    subprocess.run(["true"])
    there = Path(request.config.rootpath, "there")
    if not there.exists():
        there.touch()
        subprocess.run(["uname"])
        assert False
    there.unlink()

def test_fails():
    subprocess.run(["ls"])
    assert False
"""

ROWS = '[tests."test_it.py::test_fails"]\nls = 1\n\n[tests."test_it.py::test_flaky"]\ntrue = 1\n'


@pytest.mark.parametrize(
    ("inner", "how"),
    [
        pytest.param(None, (), id="alone"),
        pytest.param(None, ("-n1",), id="-n1", marks=needs("xdist")),
        pytest.param("ptrace", ("-n1",), id="-n1, ptrace", marks=[needs("xdist"), *TRACED]),
    ],
    indirect=["inner"],
)
def test_rows_go_by_the_last_try(inner: Inner, how: tuple[str, ...]) -> None:
    """In an update, in a run and in the gate; the total has all of them."""
    plugins = (*PLUGINS, *(["xdist.plugin"] if how else []))
    inner.suite(test_it=FLAKY)
    options = ("--reruns=1", "--execprobe-baseline=execs.toml", *how)
    file, report = inner.path / "execs.toml", inner.path / "a.json"
    inner.run(*options, "--execprobe-update", plugins=plugins)
    assert ROWS in file.read_text()
    run = inner.run(*options, f"--execprobe-report={report}", plugins=plugins)
    assert run.outcomes["test_flaky"] == ["rerun", "passed"]
    assert "execs.toml: no test is beyond it" in run.summary()
    assert "tried again     test_it.py::test_flaky: beyond it in an earlier try" in run.summary()
    gate = ["gate", str(report), "--budget", str(file)]
    assert main([*gate, "--budget-only"]) == 0
    assert main(gate) == 2, "a test has failed"
    file.write_text(f"version = 1\n{ROWS}[total.programs]\nuname = 0\n")
    assert main(gate) == 1


@pytest.mark.both_probes(long=True)
def test_a_test_that_always_fails_is_accepted_by_the_command_that_is_offered(inner: Inner) -> None:
    inner.suite(test_it=FLAKY)
    options = ("--reruns=1", "--execprobe-baseline=execs.toml")
    (inner.path / "execs.toml").write_text("version = 1\n[tests]\n")
    run = inner.run(*options, plugins=PLUGINS)
    assert "2 beyond it; if what ran is right: python -m pytest" in run.summary()
    inner.run(*options, "--execprobe-update", plugins=PLUGINS)
    assert "no test is beyond it" in inner.run(*options, plugins=PLUGINS).summary()


@pytest.mark.parametrize(
    ("inner", "option"),
    [
        *alike(
            (None, ""), (None, "--execprobe-budget=0"), (None, "--execprobe-allow=git"), (None, "--execprobe-deny=curl")
        ),
        pytest.param("ptrace", "", marks=TRACED),
    ],
    indirect=["inner"],
)
def test_a_rule_of_a_try_in_a_worker_that_crashed_is_not_decided(inner: Inner, option: str) -> None:
    """Nothing of that try has been reported when the worker is gone, not even that it has rules."""
    pytest.importorskip("xdist")
    inner.suite(
        test_it="import os, pytest\n\n"
        + ("" if option else "@pytest.mark.exec_deny('curl')\n")
        + """def test_crashes(request):
            if not os.path.exists("crashed"):
                open("crashed", "x").close()
                # An answer: the controller has read by then that the test may be tried again.
                request.config.failures_db.get_test_reruns(request.node.nodeid)
                os._exit(3)
        """
    )
    options = ("-n1", "--reruns=1", *filter(None, [option]))
    run = inner.run(*options, plugins=("xdist", *PLUGINS))  # by this name it is known
    assert run.outcomes == {"test_crashes": ["rerun", "passed"], "outside of tests": ["error"]}
    assert "ended before it had sent all that it recorded" in run.out
    assert run.ret == pytest.ExitCode.TESTS_FAILED

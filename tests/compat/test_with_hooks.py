"""The plugin's own hooks, in an inner conftest: pytest_execprobe_record and pytest_execprobe_log."""

from __future__ import annotations

import json
from typing import Any

import pytest
from inner import Inner, needs

CONFTEST = """
import json, os, pytest

@pytest.hookimpl(optionalhook=True)
def pytest_execprobe_record(record, item):
    if item.name == "test_kept" and record.program == "uname":
        return False
    if record.program == "sleep":
        return record.argv[1] != "0"

@pytest.hookimpl(optionalhook=True)
def pytest_execprobe_log(item, phase, log):
    line = [item.name, phase, [record.program for record in log.partial], log.lost]
    with open("logs", "a") as file:
        file.write(json.dumps(line) + "\\n")
"""

SUITE = """
import subprocess, pytest
from lose import lose_helper

@pytest.fixture
def before():
    subprocess.run(["sleep", "0"])

@pytest.mark.exec_none
def test_kept(before):
    subprocess.run(["uname"])

@pytest.mark.exec_none
def test_breaks(before):
    subprocess.run(["uname"])

@pytest.mark.exec_budget(0)
def test_sleeps(before):
    subprocess.run(["sleep", "0"])
    subprocess.run(["sleep", "0.0"])

def test_log(execprobe, before):
    subprocess.run(["sleep", "0"])
    assert execprobe.programs == ["sleep"]  # it is left out of rules alone

def test_fails():
    subprocess.run(["true"])
    assert False

@pytest.mark.xfail
@pytest.mark.exec_none(phases=["call"])
def test_loses(request):
    lose_helper(request.config)
"""

OUTCOMES = {
    "test_kept": ["passed"],
    "test_breaks": ["failed"],
    "test_sleeps": ["failed"],
    "test_log": ["passed"],
    "test_fails": ["failed"],
    "test_loses": ["error"],
    "outside of tests": ["error"],
}

LOGS = {
    ("test_kept", "setup"): (["sleep"], 0),
    ("test_kept", "call"): (["uname"], 0),
    ("test_kept", "teardown"): ([], 0),
    ("test_breaks", "setup"): (["sleep"], 0),
    ("test_breaks", "call"): (["uname"], 0),
    ("test_breaks", "teardown"): ([], 0),
    ("test_sleeps", "setup"): (["sleep"], 0),
    ("test_sleeps", "call"): (["sleep", "sleep"], 0),
    ("test_sleeps", "teardown"): ([], 0),
    ("test_log", "setup"): (["sleep"], 0),
    ("test_log", "call"): (["sleep"], 0),
    ("test_log", "teardown"): ([], 0),
    ("test_fails", "setup"): ([], 0),
    ("test_fails", "call"): (["true"], 0),
    ("test_fails", "teardown"): ([], 0),
    ("test_loses", "setup"): ([], 0),
    ("test_loses", "call"): ([], None),
    ("test_loses", "teardown"): ([], None),
}


def logs(inner: Inner) -> dict[Any, Any]:
    lines = [json.loads(line) for line in (inner.path / "logs").read_text().splitlines()]
    told = {(name, phase): (programs, lost) for name, phase, programs, lost in lines}
    assert len(told) == len(lines), "a phase was told twice"
    return told


@pytest.mark.parametrize(
    "how",
    [
        "alone",
        pytest.param("xdist", marks=needs("xdist")),
    ],
)
def test_both_hooks(inner: Inner, how: str) -> None:
    inner.suite(conftest=CONFTEST, test_it=SUITE)
    run = inner.run("-n1", plugins=["xdist.plugin"]) if how == "xdist" else inner.run()
    assert run.outcomes == OUTCOMES
    assert logs(inner) == LOGS
    assert "nothing may run, but uname ran" in run.text("test_breaks")
    assert "exec budget exceeded: 1 exec, at most 0 allowed" in run.text("test_sleeps")


def test_outcomes_stay(inner: Inner) -> None:
    """Whoever goes without the plugin now and then says so of its hooks: pytest knows none but those of its plugins."""
    inner.suite(conftest=CONFTEST, test_it="import subprocess\n\ndef test():\n    subprocess.run(['true'])\n")
    inner.as_without("--execprobe-audit", "--execprobe-budget=1")
    assert logs(inner)["test", "call"] == (["true"], 0)


def test_a_hook_that_raises_is_seen(inner: Inner) -> None:
    inner.suite(
        conftest="""
        def pytest_execprobe_log(item, phase, log):
            if phase == "call":
                raise KeyError("a mistake")
        """,
        test_it="""
        import subprocess, pytest

        @pytest.mark.exec_none
        def test_breaks():
            subprocess.run(["true"])

        def test_free():
            pass
        """,
    )
    run = inner.run()
    assert run.ret == pytest.ExitCode.TESTS_FAILED
    assert "a mistake" in run.text("test_breaks")

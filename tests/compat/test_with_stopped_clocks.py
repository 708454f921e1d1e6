"""freezegun, which replaces the functions of ``time`` in every module that holds one, and time-machine, which replaces
what is behind them, so that who holds one has it replaced, too."""

from __future__ import annotations

import datetime
import json

import pytest
from inner import LOST, Inner, needs

#: Each has ``frozen()`` stop the clock.
FREEZERS = {
    "freezegun": 'from freezegun import freeze_time; frozen = lambda: freeze_time("2012-01-14")',
    "time_machine": 'import time_machine; frozen = lambda: time_machine.travel("2012-01-14 00:00Z", tick=False)',
}
pytestmark = pytest.mark.parametrize(
    "freezer", [pytest.param(text, marks=needs(name), id=name) for name, text in FREEZERS.items()]
)

SUITE = """
import subprocess, time, pytest
FREEZER

def test_passes():
    with frozen():
        assert time.gmtime().tm_year == 2012
        subprocess.run(["true"])

def test_fails():
    with frozen():
        subprocess.run(["true"])
        assert time.gmtime().tm_year != 2012

@frozen()
def test_decorated():
    subprocess.run(["true"])
"""

RULES = """
import os, subprocess, time, pytest
FREEZER

@pytest.mark.exec_budget(1)
@frozen()
def test_breaks():
    subprocess.run(["true"])
    subprocess.run(["true"])

@pytest.mark.exec_budget(1)
@frozen()
def test_keeps():
    subprocess.run(["true"])

@frozen()
def test_reads(execprobe):
    subprocess.run(["true"])
    assert execprobe.programs == ["true"]
    with execprobe.watch() as log:
        child = subprocess.Popen(["uname"])
    child.wait()
    assert log.programs == ["uname"]
    with pytest.raises(TimeoutError):
        execprobe.wait_for("git", timeout=0.2)

@pytest.mark.xfail
@pytest.mark.exec_none(phases=["call"])
@frozen()
def test_unknown(request):
    from lose import lose_helper
    lose_helper(request.config)

@frozen()
def test_again(execprobe):  # with a new helper
    subprocess.run(["true"])
    assert execprobe.programs == ["true"]
"""


def test_outcomes_stay(inner: Inner, freezer: str) -> None:
    inner.suite(test_it=SUITE.replace("FREEZER", freezer))
    run = inner.as_without("--execprobe-budget=1", "--execprobe-audit")
    assert run.outcomes == {"test_passes": ["passed"], "test_fails": ["failed"], "test_decorated": ["passed"]}
    for name in run.outcomes:
        assert f"test_it.py::{name}: true 1" in run.summary()


def test_rules(inner: Inner, freezer: str) -> None:
    inner.suite(test_it=RULES.replace("FREEZER", freezer))
    run = inner.run()
    assert run.outcomes == {
        "test_breaks": ["failed"],
        "test_keeps": ["passed"],
        "test_reads": ["passed"],
        "test_unknown": ["error"],
        "test_again": ["passed"],
        **LOST,
    }


def test_armed_in_the_middle(inner: Inner, freezer: str) -> None:
    inner.suite(
        test_it=f"""
        import subprocess
        {freezer}

        @frozen()
        def test_late(request):
            execprobe = request.getfixturevalue("execprobe")
            with execprobe.watch() as log:
                subprocess.run(["true"])
            assert log.programs == ["true"]
        """
    )
    assert inner.run().outcomes == {"test_late": ["passed"]}


def test_a_report_has_the_real_time(inner: Inner, freezer: str) -> None:
    """Where a conftest.py stops the clock for the whole run."""
    inner.suite(
        conftest=f"""
        {freezer}

        frozen().start()
        """,
        test_it="import subprocess\n\ndef test():\n    subprocess.run(['true'])\n",
    )
    before = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
    run = inner.run("--execprobe-report=report.json")
    assert (run.outcomes, run.ret) == ({"test": ["passed"]}, 0)
    (document,) = json.loads((inner.path / "report.json").read_text())["runs"]
    assert before <= datetime.datetime.fromisoformat(document["started"].replace("Z", "+00:00"))

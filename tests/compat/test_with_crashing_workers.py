"""Workers of pytest-xdist that crash: what their earlier tests ran is known, and what is lost is not passed over."""

from __future__ import annotations

import json

import pytest
from inner import Inner, gone, needs

pytestmark = needs("xdist")

PLUGINS = ("xdist.plugin",)

SUITE = """
import os, signal, subprocess, pytest

@pytest.mark.parametrize("n", range(3))
def test_before(n):
    subprocess.run(["true"])

def test_crashes():
    subprocess.run(["uname"])
    HOW

@pytest.mark.parametrize("n", range(3))
@pytest.mark.exec_budget(0)
def test_after(n):
    if n == 1:
        subprocess.run(["true"])
"""

WAYS = {
    "status 0": "os._exit(0)",
    "status 1": "os._exit(1)",
    "SIGKILL": "os.kill(os.getpid(), signal.SIGKILL); signal.pause()",
    "SIGSEGV": "os.kill(os.getpid(), signal.SIGSEGV); signal.pause()",
}


@pytest.mark.bpf  # one helper serves all workers
@pytest.mark.parametrize(
    ("how", "workers"),
    [
        *(("status 0", 1), ("SIGKILL", 2)),
        *(pytest.param(*case, marks=pytest.mark.long) for case in (("status 1", 2), ("SIGSEGV", 1))),
    ],
)
def test_a_crash_in_the_middle(inner: Inner, how: str, workers: int) -> None:
    inner.suite(test_it=SUITE.replace("HOW", WAYS[how]))
    run = inner.run(f"-n{workers}", "--execprobe-session-budget=50", plugins=PLUGINS)
    outcomes = dict(run.outcomes)
    assert outcomes == {
        **{f"test_before[{n}]": ["passed"] for n in range(3)},
        "test_crashes": ["failed"],
        "test_after[0]": ["passed"],
        "test_after[1]": ["failed"],
        "test_after[2]": ["passed"],
        "session budget": ["error"],
    }
    assert run.ret == pytest.ExitCode.TESTS_FAILED
    for n in range(3):
        assert f"test_it.py::test_before[{n}]: true 1" in run.summary()
    assert "cannot tell whether at most 50 execs ran" in run.out
    assert "ended before it had sent all that it recorded" in run.summary()
    assert len(run.helpers_ever) == 1  # of the worker that took its place, too
    assert all(gone(helper) for helper in run.helpers_ever)


def test_outcomes_stay(inner: Inner) -> None:
    inner.suite(test_it=SUITE.replace("HOW", WAYS["SIGKILL"]).replace("@pytest.mark.exec_budget(0)", ""))
    inner.as_without("-n1", "--execprobe-audit", plugins=PLUGINS)


def test_a_budget_that_is_certainly_exceeded(inner: Inner) -> None:
    inner.suite(test_it=SUITE.replace("HOW", WAYS["SIGKILL"]))
    run = inner.run("-n1", "--execprobe-session-budget=2", plugins=PLUGINS)
    assert run.outcomes["session budget"] == ["error"]
    assert "session budget exceeded" in run.out


def test_rules_alone_say_nothing_of_the_run(inner: Inner) -> None:
    """Without a budget or a rule for the whole run, a crash is the crashed test's failure."""
    inner.suite(test_it=SUITE.replace("HOW", WAYS["SIGKILL"]))
    run = inner.run("-n1", plugins=PLUGINS)
    assert run.outcomes["test_crashes"] == ["failed"]
    assert run.outcomes["test_after[1]"] == ["failed"]
    assert "session budget" not in run.outcomes


@pytest.mark.parametrize("option", ["", "--execprobe-deny=curl"])
def test_a_crash_when_all_tests_are_over(inner: Inner, option: str) -> None:
    """No test is blamed for it by pytest-xdist, and what its tests have left behind is judged only then."""
    inner.suite(
        conftest="""
        import os, pytest

        @pytest.hookimpl(tryfirst=True)
        def pytest_sessionfinish(session):
            if hasattr(session.config, "workerinput"):
                os._exit(0)
        """,
        test_it="import pytest\n\n"
        + ("" if option else "@pytest.mark.exec_deny('curl')\n")
        + "def test():\n    pass\n",
    )
    options = ("-n1", "--max-worker-restart=0", *filter(None, [option]))
    run = inner.run(*options, plugins=PLUGINS)
    assert run.outcomes == {"test": ["passed"], "outside of tests": ["error"]}
    assert run.ret == pytest.ExitCode.TESTS_FAILED
    bare = inner.bare(*options, plugins=PLUGINS)
    assert (bare.outcomes, bare.ret) == ({"test": ["passed"]}, 0)


def test_a_worker_that_has_no_probe_and_no_test_is_missing_from_the_run(inner: Inner) -> None:
    """What its conftests have run is not known, whatever the others have recorded."""
    inner.suite(
        without="""
        import os
        from pytest_execprobe.source import connect
        from pytest_execprobe.errors import ProbeUnavailable

        def refuse(*_):
            raise ProbeUnavailable("execprobe: none for this one")

        if os.environ.get("PYTEST_XDIST_WORKER") == "gw1":
            connect.start_helper = refuse
        """,
        conftest="""
        from xdist.scheduler import LoadScheduling

        class InOrder(LoadScheduling):
            def schedule(self):
                ordered = sorted(self.node2pending.items(), key=lambda pair: pair[0].gateway.id)
                self.node2pending = dict(ordered)
                super().schedule()

        def pytest_xdist_make_scheduler(config, log):
            return InOrder(config, log)
        """,
        test_it="def test(): pass",
    )
    options = ("-n2", "--execprobe=auto", "--execprobe-session-budget=99", "--execprobe-report=a.json")
    run = inner.run(*options, plugins=(*PLUGINS, "without"))
    assert run.outcomes == {"test": ["passed"], "session budget": ["error"]}
    assert "not known       a process of the run had no probe: none for this one" in run.summary()
    unknown = json.loads((inner.path / "a.json").read_text())["runs"][0]["unknown"]
    assert unknown == ["a process of the run had no probe: none for this one"]


def test_an_update_lowers_no_row_for_what_was_lost(inner: Inner) -> None:
    """What its tests had left behind could have run as often as the rows say."""
    inner.suite(test_it=SUITE.replace("HOW", WAYS["SIGKILL"]).replace("@pytest.mark.exec_budget(0)", ""))
    rows = inner.path / "execs.toml"
    rows.write_text('version = 1\n[tests."test_it.py::test_before[0]"]\ntrue = 3\ndate = 1\n')
    options = ("-n1", f"--execprobe-baseline={rows}")
    assert "lowers their rows" not in inner.run(*options, plugins=PLUGINS).out
    run = inner.run(*options, "--execprobe-update", plugins=PLUGINS)
    assert "not recorded    test_it.py::test_before[0]" in run.out
    assert "date = 1\ntrue = 3\n" in rows.read_text()
    assert '[tests."test_it.py::test_crashes"]' not in rows.read_text()  # its records went with the worker
    assert '[tests."test_it.py::test_after[1]"]\ntrue = 1\n' in rows.read_text()

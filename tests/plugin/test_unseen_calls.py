"""Plugins that call a test without the hook of its call, or end it without that of its teardown: it has both all the
same."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from suites import Run

#: What some plugins for coroutines do, in little.
WITHOUT_HOOK = """
import pytest

@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    hook = item.ihook

    def run(when, what):
        call = pytest.CallInfo.from_call(what, when=when)
        report = hook.pytest_runtest_makereport(item=item, call=call)
        hook.pytest_runtest_logreport(report=report)
        return report.passed

    hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    if run("setup", lambda: hook.pytest_runtest_setup(item=item)):
        {call}
    {teardown}
    hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True
"""
TEARDOWN = 'run("teardown", lambda: hook.pytest_runtest_teardown(item=item, nextitem=nextitem))'
REPORTED = WITHOUT_HOOK.format(call='run("call", item.runtest)', teardown=TEARDOWN)
UNREPORTED = WITHOUT_HOOK.format(call="item.runtest()", teardown=TEARDOWN)
#: And without that of the teardown.
CALL, ENDS = (
    'run("call", lambda: hook.pytest_runtest_call(item=item))',
    "item.session._setupstate.teardown_exact(nextitem)",
)
ENDED = WITHOUT_HOOK.format(call=CALL, teardown=f'run("teardown", lambda: {ENDS})')
UNSAID = WITHOUT_HOOK.format(call=CALL, teardown=ENDS)


@pytest.mark.parametrize("marker", ["exec_budget(0)", "exec_allow('ls')", "exec_none(phases=('call',))"])
@pytest.mark.parametrize(
    ("conftest", "outcome"), [(REPORTED, "failed"), (UNREPORTED, "errors")], ids=["reported", "unreported"]
)
def test_rules_of_the_call_judge_it(run: Run, marker: str, conftest: str, outcome: str) -> None:
    ran = run(f"@pytest.mark.{marker}\ndef test_it(): runs('git')", conftest=conftest, **{outcome: 1})
    assert ran.rules == [f"{marker} on test_it, test_it.py:3"]


@pytest.mark.parametrize("when", ["call", "teardown"])
@pytest.mark.parametrize("marker", ["exec_budget(0)", "exec_allow('ls')", "exec_none(phases=('call',))"])
def test_report_of_a_part_of_it_is_no_end(run: Run, marker: str, when: str) -> None:
    source = f"""
    @pytest.mark.{marker}
    def test_it(request):
        part = pytest.CallInfo.from_call(lambda: None, when="{when}")
        request.node.ihook.pytest_runtest_makereport(item=request.node, call=part)
        runs("git")
    """
    assert run(source, failed=1).rules == [f"{marker} on test_it, test_it.py:4"]


def test_what_others_ran_around_it_is_not_the_calls(run: Run) -> None:
    source = """
    @pytest.fixture
    def around():
        runs("git")
        yield
        runs("git")

    @pytest.mark.exec_budget(0)
    def test_it(around): pass

    @pytest.mark.exec_budget(0)
    def test_wrong(missing): pass
    """
    run(source, conftest=REPORTED, passed=1, errors=1)


@pytest.mark.parametrize(
    "check",
    [
        "execprobe.assert_nothing_ran()",
        "execprobe.call.assert_nothing_ran()",
        "assert execprobe.programs == []",
    ],
)
def test_the_fixture_stands_for_it(run: Run, check: str) -> None:
    run(f"def test_it(execprobe):\n    runs('git')\n    {check}", conftest=REPORTED, failed=1)


def test_a_block_is_watched_in_it(run: Run) -> None:
    source = "def test_it(execprobe):\n    with execprobe.watch(deny=['git']):\n        runs('git')"
    run(source, conftest=REPORTED, failed=1)


CLEANS = """
    @pytest.fixture
    def cleans():
        yield
        runs("ls")
"""


@pytest.mark.parametrize("conftest", [ENDED, UNSAID], ids=["reported", "unreported"])
def test_rules_of_the_teardown_judge_it(run: Run, conftest: str) -> None:
    source = f"""{CLEANS}
    @pytest.mark.exec_deny("ls")
    def test_it(cleans): runs("git")

    @pytest.mark.exec_deny("ls", phases=("setup", "call"))
    def test_kept(cleans): runs("git")
    """
    ran = run(source, conftest=conftest, passed=2, errors=1)
    assert "ls must not run, but it ran once (teardown phase)" in ran.text
    assert len(ran.rules) == 1


@pytest.mark.parametrize("conftest", [ENDED, UNSAID, REPORTED, UNREPORTED])
def test_an_update_has_the_same_run_be_within(run: Run, conftest: str) -> None:
    source = CLEANS + "    def test_it(cleans): runs('git')"
    run(source, "--execprobe-baseline=execs.toml", "--execprobe-update", conftest=conftest)
    written = Path("execs.toml").read_text()
    assert '[tests."test_it.py::test_it"]\ngit = 1\nls = 1\n' in written
    assert run(source, "--execprobe-baseline=execs.toml", conftest=conftest).ret == 0

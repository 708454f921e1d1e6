"""Suites of one file, and what comes of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from textwrap import dedent

import pytest

ROW = re.compile(r"^(E +)?([> ]) (\d+) +\d+\.\d +\d+ +(\S+) +(/.*)$", re.M)


@dataclass
class Ran:
    """What came of an inner run: in its text times and pids are T and P, and each cell is followed by one space."""

    result: pytest.RunResult

    @property
    def ret(self) -> int:
        return int(self.result.ret)

    @property
    def text(self) -> str:
        text = re.sub(r"# +\+ms +pid +parent +argv$", "# +ms pid parent argv", self.result.stdout.str(), flags=re.M)
        text = re.sub(r"^([=_-])\1+ (.*) [=_-]+$", r"\1\1 \2 \1\1", text, flags=re.M)
        return ROW.sub(r"\1\2 \3 T P \4 \5", text) + "\n"

    def has(self, block: str) -> bool:
        """Whether these lines are in the text, one after the other."""
        wanted = dedent(block).strip("\n") + "\n"
        assert f"\n{wanted}" in f"\n{self.text}", f"{wanted}\n--- is not in ---\n{self.text}"
        return True

    @property
    def rules(self) -> list[str]:
        """The rules that are told of as broken, each once."""
        return [*dict.fromkeys(re.findall(r"^  rule  (.*)$", self.text, flags=re.M))]


Run = Callable[..., Ran]


#: A test that leaves a process behind, detached.
LEAVES = """
@pytest.mark.exec_deny("curl")
def test_leaves():
    global shell
    shell = runs("sh")
    ends(shell)

def test_next():
    {body}
"""

#: As pytest-forked has it: the phases run in another process, and all that is known of it is that it was killed.
KILLED = """
import pytest
@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item):
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    item.obj()
    report = pytest.TestReport(item.nodeid, item.location, {}, "failed", "it crashed", "???")
    if item.get_closest_marker("xfail"):
        report.outcome, report.wasxfail = "skipped", "reason"
    item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True
"""

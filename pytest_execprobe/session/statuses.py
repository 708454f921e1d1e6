"""How tests come out of whose reports pytest would say something else; and who has what is logged of tests."""

from __future__ import annotations

from collections.abc import Callable

import pytest

#: The attribute of a report whose test raised IncompleteLogError.
UNDECIDED = "execprobe_undecided"
#: The attribute of a report, while it is logged, that is made when all tests are over.
LATE = "execprobe_late"


class Statuses:
    """Registered with the first such report."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        said = vars(report)
        if LATE in said:
            return "error", "", ""  # no letter, for all tests have theirs already
        # Whatever an xfail made of it: what is not known never passes. It is no failure if a rerun has taken its place.
        return ("error", "E", "ERROR") if said.get(UNDECIDED, False) and report.failed else None


class Logged:
    """Registered where reports are taken and no test runs: else what records it passes them on."""

    def __init__(self, take: Callable[[pytest.TestReport], None]) -> None:
        self._take = take

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._take(report)

"""How an undecided test is shown: as an error, also by an xdist controller, which has no probe of its own."""

from __future__ import annotations

import pytest

#: The attribute of a report whose test raised IncompleteLogError.
UNDECIDED = "execprobe_undecided"


class Outcome:
    """A plugin of its own, registered where such reports can come."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        return ("error", "E", "ERROR") if getattr(report, UNDECIDED, False) else None

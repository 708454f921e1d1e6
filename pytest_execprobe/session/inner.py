"""A pytest that another one has started to run tests of its own run: it hands over what it has judged, and leaves the
summary, the reports, the baseline and the session budget to that one."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest

from .._util import originals
from .handover import HANDED_OVER, Handover
from .offer import BEGUN, DONE, leave
from .reporting import Reporting
from .settings import Settings


class Inner(Reporting):
    """Where a pytest that reports has its Reporting."""

    def __init__(self, config: pytest.Config, settings: Settings, folder: str) -> None:
        super().__init__(config, settings)
        self._tells = False
        self._folder = folder
        self.handover = Handover(settings, by_reports=False)
        with suppress(OSError):
            originals.mkdir(folder, 0o700)
        with suppress(OSError):
            leave(folder, self.handover.process + BEGUN, "")

    def _gather(self, worker: str | None = None) -> None:
        """It is handed over."""

    @pytest.hookimpl
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._is_copy:
            return
        exported = self.totals.export()
        # The other one's are of the whole run, and what goes on now need not when that is over.
        for name in ("probe", "collected", "running", "more_running"):
            exported.pop(name, None)
        exported[HANDED_OVER] = self.handover.export()
        try:
            leave(self._folder, self.handover.process + DONE, originals.json_dumps(exported))
        except OSError:  # the other one is gone, or judges what it sees
            super().pytest_sessionfinish(session)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        terminalreporter.write_line("execprobe: the run that has started this one sums up and reports")

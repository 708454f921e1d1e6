"""The hooks of the process that reports: pytest itself, or an xdist controller, which has no probe of its own.

Reports bring what their tests have executed. At the end come the session budget, the rules that could be judged only
then, and the summary.
"""

from __future__ import annotations

from typing import Any

import pytest

from . import summary
from .client import HelperSettings, HelperSource, hold_helper
from .errors import ProbeUnavailable, RuleBroken, RuleUndecided
from .ledger import Breach, Ledger
from .settings import Settings

#: The attribute of a report whose test raised IncompleteLogError.
UNDECIDED = "execprobe_undecided"
#: The attribute of a report that brings an exported ledger.
NEWS = "execprobe_news"
_LATE = "execprobe_late"  # while a report is logged that is made when all tests are over


class Reporting:
    """Registered where a test needs the probe, or the settings ask for one, and in every xdist controller."""

    def __init__(self, config: pytest.Config, settings: Settings) -> None:
        self._config = config
        self._settings = settings
        self.ledger = Ledger()
        self._held: HelperSource | None = None
        self._introduced = False
        self._workers: set[str] = set()  # that have not told all
        self._judging: set[str] = set()  # workers of which tests have rules

    def hold(self, helper: HelperSettings) -> None:
        """Starts the helper for the workers, before there are any. Raises pytest.UsageError if it must be had."""
        try:
            self._held = hold_helper(helper)
        except ProbeUnavailable as error:
            if self._settings.mode == "require":
                raise pytest.UsageError(required(error)) from None
            self.ledger.probe = f"no probe: {str(error).removeprefix('execprobe: ')}"
        else:
            self.ledger.probe = summary.probe(self._held.description)

    def introduce(self) -> str | None:
        """What the probe is, for the header, if that is known and has not been said."""
        if self._introduced or not self.ledger.probe:
            return None
        self._introduced = True
        return f"execprobe: {self.ledger.probe}"

    # ---- from reports ----

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        if hasattr(report, _LATE):
            return "error", "", ""  # no letter, for all tests have theirs already
        # Whatever an xfail made of it: what is not known never passes. It is no failure if a rerun has taken its place.
        return ("error", "E", "ERROR") if getattr(report, UNDECIDED, False) and report.failed else None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        news = getattr(report, NEWS, None)
        if news:
            self.ledger.take(news)
            if news.get("judged") and hasattr(report, "node"):
                self._judging.add(report.node.gateway.id)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodeready(self, node: Any) -> None:
        self._workers.add(node.gateway.id)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:  # noqa: ARG002
        news = (getattr(node, "workeroutput", None) or {}).get(NEWS)
        if news is not None:
            self.ledger.take(news)
            self._workers.discard(node.gateway.id)

    # ---- at the end ----

    @pytest.hookimpl
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._held is not None:
            self._held.close()
        for worker in sorted(self._workers):
            why = f"worker {worker} ended before it had told all that it recorded"
            if self._settings.whole_run or worker in self._judging:
                self.ledger.unknown[why] = None
            denying = any(rule.kind == "deny" for rule in (*self._settings.command_line, *self._settings.ini))
            if worker in self._judging or denying:
                self.ledger.breaches.append(Breach.of_the_rest([why]))
        budget = summary.session_budget(
            self.ledger, self._settings.session_budget, filtered=bool(self._settings.ignore)
        )
        for breach in [*self.ledger.breaches, *([budget] if budget else [])]:
            self._report(session, breach)

    def _report(self, session: pytest.Session, breach: Breach) -> None:
        """An error like that of a teardown: in the summary, in JUnit's file and in the exit status."""
        error = (RuleUndecided if breach.undecided else RuleBroken)(breach.text)
        report = pytest.TestReport(
            nodeid=breach.nodeid,
            location=breach.location,
            keywords={},
            outcome="failed",
            longrepr=as_text(error, breach.headline),
            when="teardown",
        )
        report.__dict__[_LATE] = True
        session.config.hook.pytest_runtest_logreport(report=report)
        del report.__dict__[_LATE]
        if session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        verbosity = self._config.get_verbosity()
        lines = summary.lines(self.ledger, self._settings, verbosity)
        if lines:
            terminalreporter.write_sep("=", "execprobe")  # not section(), which goes on in the line of the dots
            for line in lines:
                terminalreporter.write_line(line)


def required(error: ProbeUnavailable) -> str:
    """Why the run ends, and how it would go on."""
    return (
        f"{error}. The probe is required, by --execprobe=require or by a rule for the whole suite; with"
        " --execprobe=auto the run would go on unchecked"
    )


def as_text(error: BaseException, headline: str) -> Any:
    """What a report shows of an error whose message is all there is to say: no traceback."""
    if error.__traceback__ is None:
        try:
            raise error
        except type(error):
            pass
    shown = pytest.ExceptionInfo.from_exception(error).getrepr(style="value")
    if shown.reprcrash is not None:
        shown.reprcrash.message = headline
    return shown

"""What the rules make of a test's outcome, and what its reports bring."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ..errors import IncompleteLogError, RuleUndecided
from ..log import checks
from ..log.text import footer
from ..rules.rule import PHASES
from ..rules.text import Problem, section
from ..timeline.evidence import Evidence
from ..timeline.spans import Span
from .reporting import EXPORTED, WHOLE, as_text
from .run import ProbedRun, RunningTest
from .statuses import UNDECIDED
from .totals import LateBreach
from .unphased import of_any_phase

#: The attribute of a report, until it is logged, whose test has been recorded by the process that sends it.
_RECORDED = "execprobe_recorded"
#: In what a forked child's report brings: when it had judged the last phase.
_UNTIL = "judged_until"
#: Properties of a test that has run nothing.
_NOTHING_RAN: tuple[tuple[str, object], ...] = (("execprobe_execs", 0), ("execprobe_lost", 0))
_BY_ANOTHER = "another plugin ran it, and reported it, without the hooks of a test's phases"
_KILLED = "the test's process ended before its phases did: in which of them this ran is not known"


class Outcomes:
    """Registered in a run that probes."""

    def __init__(self, run: ProbedRun) -> None:
        self._run = run
        #: Tests that were recorded, by this process or one that has sent their reports; and others whose call was
        #: reported.
        self.recorded: set[str] = set()
        self._elsewhere: set[str] = set()
        self._sent: pytest.TestReport | None = None  # the last one that has brought something to another process
        self._crash: pytest.TestReport | None = None
        self._failed: set[str] = set()
        self._judged_until: int | None = None  # by a forked child, of the test that is running
        if run.reporting is not None:
            run.config.pluginmanager.unregister(name="execprobe-logged")

    # ---- of a test ----

    def use(self, test: RunningTest) -> None:
        """For the baseline, however the test came out: what it ran can be beyond a row in any case."""
        strays = self._run.strays
        if self._run.settings.baseline is not None and self._run.was_armed and test.unchecked is None:
            strays.use("tests", test.item.nodeid, test.judge, whole=not test.broken_off, attempt=test.attempt)

    def note(self, test: RunningTest) -> None:
        """What it ran, for JUnit's file, and whatever else shows a test's properties."""
        run, item = self._run, test.item
        if test.unchecked is not None:
            item.user_properties.append(("execprobe_not_checked", test.unchecked))
        if run.settings.baseline is not None:
            self.use(test)
        if run.may_gather and run.gathers:
            for phase, window in run.recorder.windows.items():
                if window.owner is not None:
                    run.gather_window(window.owner, phase, window)
        if not (run.is_whole or run.recorder.in_use or test.judge.is_any) or not run.recorder.was_armed:
            return
        properties = _NOTHING_RAN
        if not run.recorder.were_quiet:
            tallies = [window.tally() for window in run.recorder.windows.values()]
            execs = sum(len(commands) for commands, _ in tallies)
            lost = _number_of_lost(Evidence.merged(losses for _, losses in tallies))
            properties = ("execprobe_execs", execs), ("execprobe_lost", lost)
        if item.user_properties:  # those of an earlier try are to go
            others = [pair for pair in item.user_properties if not str(pair[0]).startswith("execprobe_")]
            item.user_properties[:] = others
        item.user_properties += properties
        if test.unexpected:
            item.user_properties.append(("execprobe_unexpected", ", ".join(test.unexpected)))

    # ---- reports ----

    def complete(
        self, item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport, last: RunningTest | None
    ) -> pytest.TestReport:
        """A report as it has been made; ``last`` is the test that was running, or had run, before that."""
        run = self._run
        last = last if last is not None and last.item is item else None
        if call.excinfo is not None or (run.last is not None and run.last.problems):
            if last is not None and call.excinfo is not None:
                last.broken_off = True  # unittest's, which no hook of a phase raises
            report = self._judged(item, call, report)
        if report.outcome == "failed" and last is not None:
            _show_tree(report, last, run)
        if run.recorder.forked or run.strays.handover is not None:
            self._complete_to_send(item, call, report, last)
        return report

    def _complete_to_send(
        self, item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport, last: RunningTest | None
    ) -> None:
        """Where another process reports it."""
        handover = self._run.strays.handover
        if last is not None:
            vars(report)[_RECORDED] = True
        if call.when == "teardown":
            if handover is not None and last is not None and last.unchecked is None:
                handover.judged(item.nodeid, last.meaning or [], last.failed_for)
            if self._run.recorder.forked or (handover is not None and handover.by_reports):
                self._bring(report)

    def _judged(self, item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport) -> pytest.TestReport:
        """With what the rules have found."""
        last, strays = self._run.last, self._run.strays
        error = None if call.excinfo is None else call.excinfo.value
        last = last if last is not None and last.item is item else None
        problem = last.problems.get(call.when) if last is not None else None
        if error is not None and is_incomplete(error):
            assert call.excinfo is not None
            # A rule's says all by itself.
            whole = isinstance(error, RuleUndecided)
            text = as_text(error, str(error).partition("\n")[0]) if whole else item.repr_failure(call.excinfo)
            _fail(report, text, undecided=True)  # an xfail made it a skip, or passed it
        if last is None or problem is None:
            return report
        expected = _is_expected(item, report, problem.error, error)
        if expected and problem.left_open:
            problem = problem.of_what_is_open()
        if not expected or problem.undecided:
            last.failed_for += (problem,)
            strays.gatherer.breach(
                item.nodeid, problem.headline, problem.in_report, undecided=problem.undecided, site=problem.site
            )
            strays.totals.changes.update(dict.fromkeys(problem.changes))
        if expected and not problem.undecided:
            strays.totals.excused[item.nodeid] = problem.headlines
            self._report_fixtures(item)  # which are not expected to do that, whichever test sets them up
            if problem.error is error:
                report.longrepr = _shown(problem)
        elif expected or problem.error is error or not report.failed:
            # Expected was the test's own failure, and not that a rule can't be decided. Not failed although rules are
            # broken: unittest keeps skips, and its own failures, from the hooks.
            _fail(report, _shown(problem), undecided=problem.undecided)
        else:
            report.sections += [("execprobe", str(problem.error)), *problem.sections]
        return report

    def _bring(self, report: pytest.TestReport) -> None:
        exported = self._run.strays.export()
        if self._run.recorder.forked:
            exported[_UNTIL] = max(window.end or 0 for window in self._run.recorder.windows.values())
        if exported:
            report.__dict__[EXPORTED] = exported

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if self._sent is not None:
            vars(self._sent).pop(EXPORTED, None)  # some plugins have one report logged twice
            self._sent = None
        said, strays, reporting = vars(report), self._run.strays, self._run.reporting
        last = self._run.last
        if last is not None and last.item.nodeid == report.nodeid:
            last.reported[report.when] = report.outcome
        if report.outcome != "passed" or _RECORDED in said or report.nodeid not in self.recorded:
            self._look_at(report)
        if reporting is None or strays.handover is not None:
            is_due = bool(strays.recorded) or strays.has_new
        else:  # this process reports itself: there is time until the test's end, and for the count until the run's
            is_due = report.when not in ("setup", "call") and strays.has_new
        if is_due or EXPORTED in said:
            self._pass_on(report)
        if report.when == "call" and report.nodeid in strays.takeover.tests:
            said[WHOLE] = True
        if reporting is not None:
            reporting.take_report(report)
        if EXPORTED in said:
            is_yet_to_be_sent = strays.handover is not None and strays.handover.by_reports
            self._sent = None if is_yet_to_be_sent else report

    def _look_at(self, report: pytest.TestReport) -> None:
        """At one that is no mere success of a test that was recorded here."""
        strays, name, outcome = self._run.strays, report.nodeid, str(report.outcome)
        if vars(report).pop(_RECORDED, False):
            self.recorded.add(name)
        recorded = name in self.recorded
        if str(report.when) not in PHASES:
            self._crash = report  # pytest-forked's, of a child
        if outcome == "rerun" and (last := self._run.last) is not None and last.item.nodeid == name:
            strays.supersede(name, last.attempt)
            self._report_fixtures(last.item)  # the next try finds them as they are
            outcome = ""
        if not recorded and report.when == "call" and outcome != "failed":
            self._elsewhere.add(name)
        if not recorded and name not in strays.takeover.tests and not self._run.recorder.forked:
            strays.look_for_handed_over()
        if outcome == "rerun":  # another process has run it
            strays.supersede(name)
        if outcome == "failed":
            self._failed.add(name)

    def _pass_on(self, report: pytest.TestReport) -> None:
        """What another process has recorded, and this one."""
        said, strays = vars(report), self._run.strays
        is_own = strays.handover is not None and strays.handover.is_of(said.get(EXPORTED, {}))
        if not (is_own or self._run.recorder.forked):
            exported = said.pop(EXPORTED, {})
            self._judged_until = exported.pop(_UNTIL, self._judged_until)
            strays.take_over(exported)
            self._bring(report)

    def supersede(self, test: RunningTest) -> None:
        """Another try begins: some plugins say so by no report."""
        strays = self._run.strays
        strays.supersede(test.item.nodeid, test.attempt)
        if test.owner is not None:
            strays.gatherer.supersede(test.owner)
        self._report_fixtures(test.item)

    def _report_fixtures(self, item: pytest.Item) -> None:
        """What is wrong with wider fixtures, apart from the test in which that was found."""
        if self._run.last is not None:
            for problem in self._run.last.of_fixtures:
                self._run.strays.late(item, problem)
            self._run.last.of_fixtures = ()

    def judge_crash(self, item: pytest.Item, span: Span) -> None:
        """What a process has run that was forked for a test, if it was killed: then it has judged nothing. Else what is
        left behind may be too much beside that."""
        run, strays, crash, until = self._run, self._run.strays, self._crash, self._judged_until
        self._crash = self._judged_until = None
        if not run.was_armed or not run.judge_after(item).is_any:
            return
        evidence = strays.counting(item, run.recorder.window_of(span, "the test").evidence())
        strays.ran_elsewhere(span.owner, evidence, until)
        if crash is None or crash.nodeid != item.nodeid:
            return
        judges = {phase: run.judge_test(item) for phase in PHASES}
        found = of_any_phase(judges, evidence, _KILLED)
        strays.use("tests", item.nodeid, judges["call"], whole=False, attempt=span.owner.attempt)
        if found:
            problem = Problem.of(found, evidence, span.start, "a process that was killed", run.recorder.style)
            expected = _is_expected(item, crash, problem.error)
            if expected and problem.left_open:
                problem = problem.of_what_is_open()
            if expected and not problem.undecided:
                strays.totals.excused[item.nodeid] = problem.headlines
            else:
                strays.late(item, problem)

    def find_unrecorded(self, session: pytest.Session) -> None:
        """Tests that are said to have run, and that nothing has been recorded of."""
        run, totals, takeover = self._run, self._run.strays.totals, self._run.strays.takeover
        unrecorded = self._elsewhere - self.recorded
        for item in getattr(session, "items", ()):
            if item.nodeid in takeover.problems and item.nodeid not in self._failed:  # by a runner that left it out
                for problem in takeover.problems[item.nodeid]:
                    totals.breaches.append(LateBreach(item.nodeid, item.location, *problem))
            if item.nodeid in takeover.tests or item.nodeid not in unrecorded:
                continue
            is_any = self._has_rules(item)
            if run.settings.whole_run or is_any:
                why = run.refusal or takeover.refused.get(item.nodeid, _BY_ANOTHER)
                why = totals.not_checked.setdefault(item.nodeid, why)
                if is_any and run.was_armed:
                    headline = "cannot tell whether its rules are kept: it was not recorded"
                    text = f"{headline}\n  why   {why}"
                    totals.breaches.append(LateBreach(item.nodeid, item.location, headline, text, undecided=True))

    def _has_rules(self, item: pytest.Item) -> bool:
        try:
            return self._run.judge_test(item).is_any
        except RuleUndecided:  # no set-up has said so
            return True


def _is_expected(
    item: pytest.Item, report: pytest.TestReport, error: BaseException, raised: BaseException | None = None
) -> bool:
    """Whether an xfail of a report is about what rules have found, too: one with ``raises`` is about that alone, as it
    is where a teardown fails. ``raised`` is what has ended the phase."""
    reason = vars(report).get("wasxfail")
    if reason is None or isinstance(raised, pytest.xfail.Exception):
        return reason is not None
    every = [*item.iter_markers("xfail")]
    # Which of several it was pytest says by the reason alone; where that is another plugin's it is the first.
    mark = next(iter([mark for mark in every if reason in _reasons(mark)] or every), None)
    raises = None if mark is None else mark.kwargs.get("raises")
    matches = getattr(raises, "matches", None)  # of a group, with pytest 8.4 and later
    return raises is None or bool(matches(error) if matches else isinstance(error, raises))


def _reasons(mark: pytest.Mark) -> Iterator[object]:
    """Those that an xfail can give."""
    conditions = mark.args or ((mark.kwargs["condition"],) if "condition" in mark.kwargs else ())
    if not conditions:
        yield mark.kwargs.get("reason", "")
    yield from (mark.kwargs.get("reason") or f"condition: {condition}" for condition in conditions if condition)


def _shown(problem: Problem) -> Any:
    """As a failure. What ran is a part of it, because IDEs and readers of JUnit's file know no sections of a report."""
    shown = as_text(problem.error, problem.headline)
    for title, text in problem.sections:
        shown.addsection(title, text)
    return shown


def _show_tree(report: Any, test: RunningTest, run: ProbedRun) -> None:
    """What the report of a test that has failed by itself shows of what ran: with ``-vv`` the processes of the phase in
    which it has failed, where nothing else of the report draws them."""
    style, window = run.recorder.style, run.recorder.windows.get(report.when)
    is_recorded = run.was_armed and (run.is_whole or run.recorder.in_use or test.judge.is_any)
    if style.verbosity < 2 or not is_recorded or window is None or window.end is None or report.when in test.problems:
        return
    evidence = window.evidence()
    drawn = section((), evidence, window.start, f"{report.when} phase", style)
    if evidence.records and drawn and footer(evidence, window.label).strip() not in report.longreprtext:
        report.sections.append(drawn)


def _fail(report: pytest.TestReport, text: Any, *, undecided: bool) -> None:
    report.outcome = "failed"
    report.__dict__.pop("wasxfail", None)
    report.__dict__[UNDECIDED] = undecided
    report.longrepr = text


def _number_of_lost(evidence: Evidence) -> int | str:
    """As a JUnit property has it: a number where that is known, else its bounds, or that there are none."""
    if evidence.missing is None:
        return "unknown"
    return evidence.missing if evidence.missing == evidence.surely_lost else checks.lost(evidence)


def keep_undecided(item: Any) -> None:
    """unittest reports an expected failure without the exception, so that one that can't be decided would be lost."""
    if "addExpectedFailure" in vars(item) or not hasattr(item, "addExpectedFailure"):
        return
    expected = item.addExpectedFailure

    def add(testcase: object, error: Any, *reason: str) -> None:
        if is_incomplete(error[1]):
            item.addError(testcase, error)
        else:
            expected(testcase, error, *reason)

    item.addExpectedFailure = add


def is_incomplete(error: BaseException | None) -> bool:
    """Whether a check that could not be decided is behind an exception."""
    seen: set[int] = set()
    todo = [error]
    while todo:
        current = todo.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        if isinstance(current, IncompleteLogError):
            return True
        todo += [current.__cause__, current.__context__]
        for name in ("exceptions", "failures", "exc_info"):  # of a group, and of doctests: what they met with
            within = getattr(current, name, ())
            if type(within) in (list, tuple):
                todo += [error for error in within if isinstance(error, BaseException)]
    return False

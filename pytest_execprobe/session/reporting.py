"""The hooks of the process that reports: pytest itself, or an xdist controller, which has no probe of its own.

Reports bring what their tests have executed. At the end come the session budget, the rules that could be judged only
then, and the summary.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from .._util import originals
from ..baseline.model import BEYOND, Baseline, table_name
from ..errors import ProbeUnavailable, RuleBroken, RuleUndecided
from ..rules.markers import MARKERS
from ..rules.rule import PHASES
from ..source.client import HelperSource, in_words
from ..source.connect import HelperSettings, hold_helper
from . import summary
from .collected import collection_in, former, idle_packages, obsolete, of_another_root, outside
from .early import required
from .options import of_python
from .place import UNNAMED
from .reports import Reports
from .settings import Settings, runs_none, sets_up_only
from .statuses import LATE, UNDECIDED, Statuses
from .totals import LateBreach, Totals

if TYPE_CHECKING:
    from ..report.model import Document
    from . import closing

#: The attribute of a report that brings exported totals.
EXPORTED = "execprobe_exported"
#: The attribute of a report of a call whose test another process has run to its end.
WHOLE = "execprobe_whole"


class Reporting:
    """Registered where a test needs the probe, or the settings ask for one, and in every xdist controller."""

    def __init__(self, config: pytest.Config, settings: Settings) -> None:
        self._config = config
        self._settings = settings
        self.totals = Totals()
        self._held: HelperSource | None = None
        self._introduced = False
        self._workers: set[str] = set()  # that have not sent all
        self._judging: set[str] = set()  # workers of which tests have rules
        self._crashed: dict[str, str] = {}  # tests that are tried again, and the workers that have ended in them
        self._document: Document | None = None
        self._annotates = (start := settings.start).environment.get("GITHUB_ACTIONS") == "true"
        #: Whether there is to be a document, or something else for which it matters how each test came out.
        self._tells = bool(settings.reports or settings.baseline is not None or self._annotates)
        if self._tells:
            from ..report.assembly import Assembly  # it takes a tenth of all that a run imports

            self._assembly = Assembly(start.command, start.started, start.start_ns, settings.folders)
        self._collected: set[str] = set()  # by xdist's workers
        self._not_collected: dict[str, None] = {}  # because of errors
        self._said: list[str] = []  # of the baseline and the reports, for the summary
        self._runs_none = runs_none(config)
        self._pid = originals.getpid()
        self._reports = Reports(settings.reports)
        self._broken_off = False

    def hold(self, helper: HelperSettings) -> None:
        """Starts the helper for the workers, before there are any. Raises pytest.UsageError if it must be had."""
        try:
            self._held = hold_helper(helper)
        except ProbeUnavailable as error:
            if self._settings.mode == "require":
                raise pytest.UsageError(required(error)) from None
            self.totals.probe = f"no probe: {str(error).removeprefix('execprobe: ')}"
        else:
            self.totals.probe = in_words(self._held.description)

    def introduce(self) -> str | None:
        """What the probe is, for the header, if that is known and has not been said."""
        if self._introduced or not self.totals.probe:
            return None
        self._introduced = True
        return f"execprobe: {self.totals.probe}"

    # ---- from reports ----

    def take_report(self, report: pytest.TestReport) -> None:
        """As it is logged, before it is shown how the test came out."""
        said = vars(report)
        if report.outcome == "passed" and not (EXPORTED in said or self._tells or self._crashed):
            return  # most say nothing else
        if (UNDECIDED in said or LATE in said) and not self._config.pluginmanager.has_plugin("execprobe-statuses"):
            self._config.pluginmanager.register(Statuses(), "execprobe-statuses")
        exported = said.get(EXPORTED)
        worker = report.node.gateway.id if "node" in said else None
        if self._tells and LATE not in said:
            if report.when == "setup":
                file, line, _ = report.location
                self._assembly.begin_try(worker, report.nodeid, file, None if line is None else line + 1)
            self._assembly.outcome(worker, report.nodeid, str(report.when), _outcome(report), whole=WHOLE in said)
        if exported:
            self._take(worker, exported)
            if exported.get("judged") and worker is not None:
                self._judging.add(worker)
        if worker is not None and str(report.outcome) == "rerun" and str(report.when) not in PHASES:
            self._crashed[report.nodeid] = worker
        elif report.nodeid in self._crashed and (self._settings.rules or MARKERS.keys() & report.keywords.keys()):
            self._judging.add(self._crashed[report.nodeid])  # which had not reported anything of it

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._not_collected[report.nodeid] = None

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        self._collected.update(ids)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodeready(self, node: Any) -> None:
        self._workers.add(node.gateway.id)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:  # noqa: ARG002
        exported = (getattr(node, "workeroutput", None) or {}).get(EXPORTED)
        if exported is not None:
            self._take(node.gateway.id, exported)
            self._workers.discard(node.gateway.id)
        else:
            self._workers.add(node.gateway.id)  # it may have ended before it was ready

    def _take(self, worker: str | None, exported: dict[str, Any]) -> None:
        self.totals.take(exported)
        self._gather(worker)

    def _gather(self, worker: str | None = None) -> None:
        """Passes on to the report what has come for it."""
        for part in self.totals.gathered if self._tells else ():
            self._assembly.take(worker, part)
        self.totals.gathered.clear()

    def pytest_keyboard_interrupt(self) -> None:
        """Also where pytest.exit() ends the run, with whatever exit status."""
        self._broken_off = True

    # ---- at the end ----

    @property
    def _is_copy(self) -> bool:
        """Whether a test has forked this process, which came back into pytest. The run is its parent's, and so are its
        reports and its baseline: this one knows little, and might be the last to write them."""
        return originals.getpid() != self._pid

    @pytest.hookimpl
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._is_copy:
            return
        if self._held is not None:
            self._held.close()
        for worker in sorted(self._workers):
            why = f"worker {worker} ended before it had sent all that it recorded"
            if self._settings.whole_run or worker in self._judging:
                self.totals.unknown[why] = None
            denying = any(rule.kind == "deny" for rule in self._settings.rules)
            if worker in self._judging or denying:
                self.totals.breaches.append(LateBreach.of_the_rest([why]))
        if self.totals.recorded:  # else nothing is checked, which is all there is to say
            self.totals.unknown.update(self.totals.unprobed)
        limit = None if self._runs_none is not None else self._settings.session_budget
        budget = summary.session_budget(self.totals, limit, filtered=bool(self._settings.ignore))
        self._gather()
        # Each worker has a collection of its own, which breaks the same rules.
        around = {(breach.nodeid, breach.headline): breach for breach in self.totals.breaches if breach.is_around}
        superseded = self._superseded()
        of_tests = [breach for breach in self.totals.breaches if not breach.is_around and breach not in superseded]
        for breach in [*of_tests, *around.values(), *([budget] if budget else [])]:
            self._report(session, breach)
        if self._settings.baseline is not None and self._runs_none is None:
            self._close(session, self._settings.baseline)
            for breach in list(self._judge_file(session, self._settings.baseline)):
                self._report(session, breach)
        if not self._tells:
            return
        self._document = self._make_document(session, [*self.totals.unknown, *self._not_run(session)])
        for path, failure in self._reports.write(self._document, session):
            unnamed = failure or path.parent == session.config.stash.get(UNNAMED, None)
            self._said += [] if unnamed else [f"{'report':<16}{path}"]
            self._fail(session, "report", failure)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_unconfigure(self) -> Generator[None, object, object]:
        try:
            return (yield)
        finally:
            self._reports.end()

    def _superseded(self) -> list[LateBreach]:
        """What was found of tries that another one has followed, when they had been reported."""
        folders, tries = self._settings.folders, self.totals.superseded
        if folders is None:
            return []
        return [b for b in self.totals.breaches if b.attempt in tries.get(table_name(folders.portable(b.nodeid)), ())]

    # ---- the baseline ----

    def _judge_file(self, session: pytest.Session, baseline: Baseline) -> Iterator[LateBreach]:
        """What a baseline says to no purpose, and what is beyond its limits of sums."""
        from . import closing  # few runs have a baseline

        collected = self.totals.collected
        yield from closing.shared_names(baseline, self._settings, collected)
        yield from closing.another_root(self._of_another_root(session))
        if not self.totals.is_unchecked:
            config = session.config
            files = of_python(config, "python_files")
            wrong, left_out = idle_packages(baseline, collected, self.totals.used, config.rootpath, files)
            yield from closing.idle(baseline, wrong)
            self._said += summary.left_out(left_out)
            if baseline.sums:
                yield from closing.beyond_sums(self._make_document(session, self.totals.unknown), baseline)

    def _close(self, session: pytest.Session, baseline: Baseline) -> None:
        """Reports what is stale in the baseline, or rewrites it."""
        from . import closing  # few runs have a baseline

        root, collected = session.config.rootpath, self.totals.collected
        assert self._settings.folders is not None, "read wherever there is a baseline"
        named = former(baseline, collected, self.totals.used, self._settings.folders, root)
        gone = {
            section: [name for name in names if name not in named.names[section]]
            for section, names in obsolete(baseline, collected, self.totals.used, root).items()
        }
        course = self._course(session)
        end = closing.Closing(baseline, self._settings, self.totals, course, gone, named)
        if self._settings.update is None:
            self._said += end.compared()
        elif course.hindrance:
            self._said.append(f"{'baseline':<16}NOT WRITTEN: {course.hindrance}")
        else:
            failure = ""
            try:
                self._said += end.rewritten()
            except (OSError, ValueError) as error:  # also if it was damaged meanwhile
                reason = getattr(error, "strerror", None) or error
                failure = f"the baseline {baseline.path} can't be written: {reason}"
            self._fail(session, "baseline", failure)

    def _course(self, session: pytest.Session) -> closing.Course:
        """How the run went."""
        from . import closing  # few runs have a baseline

        outcomes = self._assembly.outcomes()
        beyond, before = self._assembly.found(closing.is_beyond)
        late = dict.fromkeys(breach.nodeid for breach in self._superseded() if not breach.undecided)
        before += [name for name in late if name not in (*beyond, *before)]
        undecided, _ = self._assembly.found(closing.is_undecided)
        hindrance = ""
        ended = session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED) and not self._broken_off
        if not ended or not outcomes:
            hindrance = "the run was broken off, or had no tests"
        elif self.totals.is_unchecked:
            hindrance = "nothing was recorded"
        elif sets_up_only(session.config):
            hindrance = "no test was called (--setup-only, --setup-plan)"
        hindrance = hindrance or self._of_another_root(session)
        left, set_up_only = self._left(session), sets_up_only(session.config)
        excused = [name for name, said in self.totals.excused.items() if BEYOND in said and name not in beyond]
        lost = bool(self._workers)
        return closing.Course(outcomes, beyond, before, undecided, hindrance, left, set_up_only, excused, lost)

    def _of_another_root(self, session: pytest.Session) -> str:
        from . import closing  # few runs have a baseline

        baseline, root = self._settings.baseline, session.config.rootpath
        if baseline is None:
            return ""
        another = closing.of_another_root(baseline, of_another_root(baseline, root), root)
        return another or closing.outside(baseline, outside(baseline, self.totals.collected, root))

    # ---- reports ----

    def _make_document(self, session: pytest.Session, unknown: Iterable[str]) -> Document:
        around = [breach.nodeid for breach in self.totals.breaches if breach.is_around]
        return self._assembly.document(
            exit_status=int(session.exitstatus),
            probe=self.totals.probe,
            ignored=self.totals.ignored,
            filtered=bool(self._settings.ignore or self._config.hook.pytest_execprobe_record.get_hookimpls()),
            unknown=unknown,
            gaps=self.totals.gaps,
            not_checked=self.totals.not_checked,
            left_out=self.totals.collected.get("left_out", ()),
            collection=collection_in(self.totals.collected),
            variant=self._settings.variant,
            names={name: name.partition("::")[2] for name in around},
            running=self.totals.running,
            more_running=self.totals.more_running,
        )

    def _not_run(self, session: pytest.Session) -> Iterator[str]:
        """What the run has left out: no report is to look like a whole one then."""
        if self._runs_none is not None:
            yield f"{self._runs_none}: no test was run"
            return
        for nodeid in self._not_collected:
            yield f"{nodeid or 'the suite'} was not collected: that ended in an error"
        if self.totals.collected.get("failed_alone"):
            yield "--lf: only tests that had failed before were run"
        wanted, left = self._left(session)
        if left <= 0:
            if not self._assembly.finished:
                yield "no test was run"
            return
        if sets_up_only(session.config):
            yield f"--setup-only or --setup-plan: {left} of {wanted} tests were not called"
        else:
            yield f"the run was broken off: {left} of {wanted} tests were not run to their end"

    def _left(self, session: pytest.Session) -> tuple[int, int]:
        """How many tests there were to run, and how many of them were not run to their end."""
        wanted = len(self._collected or {item.nodeid for item in getattr(session, "items", ())})
        return wanted, wanted - self._assembly.finished

    def _fail(self, session: pytest.Session, what: str, headline: str) -> None:
        """An error of the run, if there is one. Not called while it is handled: it would be shown with its causes."""
        if headline:
            self._report(session, LateBreach.around(what, headline, headline, undecided=False))

    def _report(self, session: pytest.Session, breach: LateBreach) -> None:
        """An error like that of a teardown: in the summary, in JUnit's file and in the exit status."""
        late = not breach.is_around
        if self._tells:
            self._assembly.report(breach.nodeid, breach.headline, breach.text, undecided=breach.undecided, late=late)
        error = (RuleUndecided if breach.undecided else RuleBroken)(breach.text)
        report = pytest.TestReport(
            nodeid=breach.nodeid,
            location=breach.location,
            keywords={},
            outcome="failed",
            longrepr=as_text(error, breach.headline),
            when="teardown",
        )
        report.__dict__[LATE] = True
        session.config.hook.pytest_runtest_logreport(report=report)
        del report.__dict__[LATE]
        if session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        verbosity, stats = self._config.get_verbosity(), terminalreporter.stats
        if self._is_copy:
            lines = [summary.OF_A_COPY]
        else:
            lines = [] if self._runs_none is not None else summary.lines(self.totals, self._settings, verbosity, stats)
            lines += self._said
        if lines:
            terminalreporter.write_sep("=", "execprobe")  # not section(), which goes on in the line of the dots
            for line in lines:
                terminalreporter.write_line(line)
        if self._annotates and self._document is not None:
            from ..report.annotations import annotations

            for line in annotations(self._document):
                terminalreporter.write_line(line)


def _outcome(report: pytest.TestReport) -> str:
    """How a phase of a test is counted."""
    outcome = str(report.outcome)
    said = vars(report)
    if said.get(UNDECIDED, False) and report.failed:
        return "error"
    if hasattr(report, "wasxfail"):
        return "xpassed" if report.passed else "xfailed"
    return "error" if report.failed and report.when != "call" else outcome


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

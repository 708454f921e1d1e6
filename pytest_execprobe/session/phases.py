"""The hooks of a run that probes: they tell the recorder when tests, phases and wider fixtures begin and end, and have
the rules judged."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from .._util import originals
from .._util.text import Style, printable
from ..baseline.model import COLLECTION, Section
from ..errors import IncompleteLogError, ProbeUnavailable, RuleBroken, RuleUndecided
from ..log import checks
from ..log.log import ExecLog, ExecProbe
from ..log.pattern import ignoring
from ..rules.markers import MARKERS
from ..rules.rule import PHASES, Finding, Judge, RuleError, deciders
from ..rules.text import Problem
from ..source.client import HelperSource, in_words
from ..source.connect import HelperSettings, start_helper
from ..timeline.kinds import Kinds
from ..timeline.record import Phase
from ..timeline.recorder import RecordedWindow, Recorder
from ..timeline.timeline import Evidence, Owner, Span
from .collected import Collected, fixture_id, fixture_label
from .marks import Markers
from .reporting import NEWS, UNDECIDED, Reporting, as_text, required
from .settings import Settings
from .strays import Accounts, attempt_of
from .totals import Breach

_MANY = (list, tuple)
#: The marks that are the plugin's, each with how far above a node it stands.
_Marks = list[tuple[int, pytest.Mark]]
#: The attribute of a report, until it is logged, whose test has been recorded.
_RECORDED = "execprobe_recorded"
_BY_ANOTHER = "another plugin ran it, and reported it, without the hooks of a test's phases"


@dataclass(eq=False)
class _Wide:
    """A wider fixture, from its set-up to the judgement of its end."""

    node: pytest.Item | pytest.Collector
    key: str
    judge: Judge
    marks: _Marks  # that have been read
    set_up: RecordedWindow | None = None  # once it has been judged


@dataclass
class _Fixture:
    """A wider fixture that has been set up, or ended, in the phase that is running."""

    wide: _Wide
    window: RecordedWindow
    phase: Phase
    key: str = ""
    failed: bool = False


@dataclass
class _Test:
    """The test that is running, and what is known of it so far."""

    item: pytest.Item
    thread: int
    judge: Judge
    marks: _Marks  # that have been read
    attempt: str = ""  # which try of it this is
    of_fixtures: list[Problem] = field(default_factory=list)  # which set up once, whoever is tried again
    fixtures: list[_Fixture] = field(default_factory=list)
    unchecked: str | None = None  # why it is not, though it should be
    problems: dict[str, Problem] = field(default_factory=dict)
    unexpected: dict[str, None] = field(default_factory=dict)


def _starting(helper: HelperSettings) -> Callable[[], HelperSource]:
    """Starts the helper of a run, and later ones by the same probe, whatever a test has made of the machine."""
    settings = helper

    def start() -> HelperSource:
        nonlocal settings
        source = start_helper(settings)
        settings = replace(settings, backend=source.description.get("backend", "bpf"))
        return source

    return start


class ArmedEarly:
    """A recorder that is armed before there is a session, which takes it over."""

    def __init__(self, settings: Settings, helper: HelperSettings, *, is_worker: bool) -> None:
        """Raises pytest.UsageError if there must be a probe and is none; in an xdist worker not yet."""
        self.settings = settings
        self.recorder = Recorder(
            _starting(helper), style=Style(), timeout=settings.timeout, ignores=ignoring(settings.ignore)
        )
        #: Why there is no probe.
        self.error: ProbeUnavailable | None = None
        try:
            self.recorder.ensure()
        except ProbeUnavailable as error:
            self.error = error
            if settings.mode == "require" and not is_worker:
                raise pytest.UsageError(required(error)) from None
        self.collection = self.recorder.open_span(COLLECTION, None)

    def close(self) -> None:
        self.recorder.close()


def _number_of_lost(evidence: Evidence) -> int | str:
    """As a JUnit property has it: a number where that is known, else its bounds, or that there are none."""
    if evidence.missing is None:
        return "unknown"
    return evidence.missing if evidence.missing == evidence.surely_lost else checks.lost(evidence)


class Armed:
    """Registered as a plugin once a test needs the probe, or the settings ask for one."""

    def __init__(
        self,
        config: pytest.Config,
        settings: Settings,
        helper: HelperSettings,
        markers: Markers,
        reporting: Reporting | None,
        early: ArmedEarly | None = None,
    ) -> None:
        """``reporting`` is None in an xdist worker: it is its controller that reports."""
        self._config = config
        self._settings = settings
        self._markers = markers
        self._reporting = reporting
        self._early = early
        self._recorder = Recorder(
            _starting(helper),
            style=Style(_verbosity(config)),
            timeout=settings.timeout,
            ignores=ignoring(settings.ignore),
        )
        if early is not None:
            self._recorder = early.recorder
            self._recorder.reset(Style(_verbosity(config)), settings.timeout, ignoring(settings.ignore))
        self._accounts = Accounts(config, settings, self._recorder, self._judge_test)
        self._collected: Collected | None = None
        if settings.folders is not None:
            self._collected = Collected(config.rootpath, settings.folders)
            config.pluginmanager.register(self._collected, "execprobe-collected")
        self._test: _Test | None = None  # that is running
        self._last: _Test | None = None  # that has run, or is running
        self._reported_calls: dict[str, bool] = {}  # by node id, and whether one of them has been recorded
        self._thread: int | None = None  # in which a test is under way
        self._collection = None if early is None else early.collection
        self._introduced = False
        self._wide: dict[object, _Wide] = {}  # wider fixtures that are set up
        self._set_up: dict[object, Owner] = {}  # likewise
        self._judges: dict[object, tuple[Judge, object]] = {}  # of tests, by the ids of what is kept with them
        self._ends: dict[object, Span] = {}  # of wider fixtures that are being ended
        self._refusal = "execprobe: switched off by --execprobe=off" if settings.mode == "off" else None
        self._connect()

    def _connect(self) -> None:
        if self._refusal is None:
            before = self._recorder.was_armed
            try:
                self._ensure()
            except ProbeUnavailable as error:
                self._refusal = str(error)
                if self._settings.mode == "require" and not before:
                    raise pytest.UsageError(required(error)) from None
        if not self._introduced:
            self._introduced = True
            said = (
                f"no probe: {self._refusal.removeprefix('execprobe: ')}"
                if self._refusal
                else in_words(self._recorder.description)
            )
            self._accounts.ledger.probe = said
            if self._reporting is not None:
                self._reporting.ledger.probe = said  # now, for the header

    def _ensure(self) -> None:
        if self._early is not None and self._early.error is not None:
            error, self._early.error = self._early.error, None
            raise error  # it has just been tried
        self._recorder.ensure()

    # ---- the collection ----

    def begin_collection(self) -> None:
        self._collection = self._collection or self._recorder.open_span(COLLECTION, None)

    def end_collection(self) -> None:
        if self._collection is not None:
            self._recorder.close_span(self._collection)
            self._collection = None

    # ---- the fixture ----

    def probe(self, item: pytest.Item) -> ExecProbe:
        if self._test is None or self._test.item is not item:  # armed in the middle, by request.getfixturevalue()
            self._begin_late(item)
        self._connect()
        if self._refusal is not None:
            if self._recorder.was_armed:  # a skip would hide that the probe was lost on the way, or kept away
                raise ProbeUnavailable(self._refusal)
            pytest.skip(self._refusal)
        self._recorder.in_use = True
        return ExecProbe(self._recorder)

    def _begin_late(self, item: pytest.Item) -> None:
        self._begin(item, under_way=True)
        self._recorder.begin_phase("setup")
        # pytest's own word for where it is: "path::test (call)".
        if originals.environ.get("PYTEST_CURRENT_TEST", "").endswith("(call)"):
            self._recorder.skip_to_call()

    # ---- tests and phases ----

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        here, before = originals.get_ident(), self._thread
        if before not in (None, here):  # its set-up refuses it, and what runs meanwhile is the other test's
            return (yield)
        self._thread = here
        # pytest-forked has the phases run in a child: then this span is all that tells whose the child's execs are.
        span = self._recorder.open_span(item.nodeid, None, is_test=True)
        self._accounts.enter(span.owner, item)
        try:
            return (yield)
        finally:
            self._thread = before
            self._recorder.close_span(span)
            if self._last is None or self._last.item is not item:  # a child has run the phases
                self._recorder.sync()
                self._count()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, object, object]:
        self._begin(item)
        return (yield from self._run_phase("setup"))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self) -> Generator[None, object, object]:
        return (yield from self._run_phase("call"))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, object, object]:
        test = self._test
        if test is None or test.item is not item:
            return (yield)
        try:
            return (yield from self._run_phase("teardown"))
        finally:
            self._test = None  # first, for an exception may break into the rest
            self._recorder.end_test()
            self._count()  # now, so that the teardown's report brings it: a worker may crash in the next test
            self._tell(test)

    def _count(self) -> None:
        self._accounts.recorded += self._recorder.was_armed and not self._recorder.forked
        self._accounts.take_news()

    def _begin(self, item: pytest.Item, *, under_way: bool = False) -> None:
        here = originals.get_ident()
        if self._test is not None and self._test.thread != here:
            raise pytest.UsageError(
                f"execprobe: {item.nodeid} begins in one thread while {self._test.item.nodeid} runs in another: what"
                " they execute could not be told apart. Run tests in processes (pytest-xdist), not in threads"
            )
        if self._recorder.forked:
            self._accounts.forget()
        _keep_undecided(item)
        marks = _marks(item)
        judge = self._judge_test(item, marks)
        self._test = self._last = _Test(item, here, judge, marks)
        checked = self._settings.whole_run or judge.is_any
        uses = "execprobe" in getattr(item, "fixturenames", ())
        if checked or uses:
            self._connect()  # a new one, if the last was lost
        if checked and self._refusal is not None and not self._recorder.was_armed:
            self._accounts.ledger.not_checked[item.nodeid] = self._test.unchecked = self._refusal
        owner = self._recorder.begin_test(item.nodeid, under_way=under_way)
        self._test.attempt = attempt_of(owner)
        self._accounts.enter(owner, item, judge)
        if self._settings.gathers and not self._recorder.forked:
            self._accounts.gather_test(owner, item)
        self._recorder.in_use = uses and self._refusal is None

    def _judge_test(self, item: pytest.Item, marks: _Marks | None = None) -> Judge:
        if self._settings.baseline is not None:  # which has rows for each
            return self._judge(item, "tests", item.nodeid)
        marks = _marks(item) if marks is None else marks
        key: object = None
        parameters: Sequence[pytest.Mark] = ()
        if marks:  # those of one function's tests, with other parameters, are the same
            parameters = getattr(getattr(item, "callspec", None), "marks", ())
            name = getattr(item, "originalname", None) or item.name
            levels = [(level, id(mark)) for level, mark in marks]
            key = (id(item.parent), name, *levels, *map(id, parameters))
        if key not in self._judges:
            self._judges[key] = self._judge(item, "tests", item.nodeid), (item.parent, marks, parameters)
        return self._judges[key][0].anew()

    def _judge(
        self, node: pytest.Item | pytest.Collector, section: Section, name: str, during: Phase | None = None
    ) -> Judge:
        """The rules that apply to a test, or to a fixture that belongs to a node. ``during``: the phase in which marks
        have been added."""
        baseline = self._accounts.baseline_rules(section, name)
        try:
            levels = self._markers.levels(node, during)
            return Judge(deciders([*levels, self._settings.command_line, self._settings.ini, baseline]))
        except RuleError as error:  # a mark that was added after the collection
            raise pytest.UsageError(str(error)) from None

    def _run_phase(self, phase: Phase) -> Generator[None, object, object]:
        test = self._test
        if test is None:  # somebody calls a phase by itself
            return (yield)
        self._recorder.begin_phase(phase)
        try:
            result = yield
        except (KeyboardInterrupt, pytest.exit.Exception):
            problem = self._end_phase(test, phase, last=True)
            self._use(test)
            if problem is not None:  # there will be no report
                self._accounts.late(test.item, problem)
            raise
        except BaseException as error:
            problem = self._end_phase(test, phase)
            # A failure of the test's own stays what it is. A skip does not hide what has run already.
            if problem is not None and isinstance(error, pytest.skip.Exception):
                raise problem.error from None
            raise
        problem = self._end_phase(test, phase)
        if problem is not None:
            raise problem.error
        return result

    def _end_phase(self, test: _Test, phase: Phase, *, last: bool = False) -> Problem | None:
        """``last``: no other phase will come."""
        self._recorder.end_phase()
        fixtures, test.fixtures = test.fixtures, []
        if self._refusal is not None and not self._recorder.was_armed:
            return None
        window = self._recorder.windows[phase]
        problem = self._read_added(test, phase)
        if not self._is_settled(test, window, phase):
            problem = _both(problem, self._judge_phase(test, window, phase, last=last))
        if fixtures or self._wide:
            for more in self._judge_fixtures(test, phase, fixtures):
                test.of_fixtures.append(more)
                problem = _both(problem, more)
        if problem is not None:
            test.problems[phase] = problem
        # Last, so that no hook keeps the rules from being judged.
        if self._config.hook.pytest_execprobe_log.get_hookimpls():
            test.item.ihook.pytest_execprobe_log(item=test.item, phase=phase, log=ExecLog(window))
        return problem

    def _is_settled(self, test: _Test, window: RecordedWindow, phase: Phase) -> bool:
        """Whether a phase that has ended keeps all rules for certain: none speaks of it, or nothing ran in it."""
        return not test.judge.has_to_do(phase) or (window.is_quiet and test.judge.saw_nothing(phase))

    def _judge_phase(self, test: _Test, window: RecordedWindow, phase: Phase, *, last: bool) -> Problem | None:
        # A test that runs something new in its set-up is to run all the same: its call is judged with both.
        problem = self._judge_window(
            test, window, test.judge, phase, f"{phase} phase", baseline=last or phase != "setup", last=last
        )
        for earlier in PHASES[: PHASES.index(phase)]:
            more = self._judge_window(test, window, test.judge, earlier, f"left running until {phase}", phase)
            problem = _both(problem, more)
        return problem

    def _read_added(self, test: _Test, phase: Phase) -> Problem | None:
        """Judges by what fixtures, or the test, have marked it with what has run already."""
        marks = _marks(test.item)
        if marks == test.marks:
            return None
        test.marks = marks
        test.judge = self._judge(test.item, "tests", test.item.nodeid, phase).instead_of(test.judge)
        window = self._recorder.windows[phase]
        if window.owner is not None:  # what it leaves behind is judged by them, too
            self._accounts.enter(window.owner, test.item, test.judge)
        ended = PHASES[: PHASES.index(phase)]
        if "setup" not in self._recorder.windows:
            test.judge.show("setup", lambda: Evidence(unknown=("the probe was armed only after the set-up",)))
        for index, earlier in enumerate(ended):
            its = self._recorder.windows.get(earlier)
            if its is not None:  # else there was none: the set-up has failed
                self._show(test, test.judge, earlier, its)
                for before in ended[:index]:
                    self._show(test, test.judge, before, its, earlier)
        return self._belated(test, test.judge, phase)

    def _show(
        self, test: _Test, judge: Judge, phase: Phase, window: RecordedWindow, during: Phase | None = None
    ) -> None:
        def evidence() -> Evidence:
            known = self._accounts.counting(test.item, window.evidence())
            return known if during is None else known.begun_in(phase)

        judge.show(phase, evidence, during)

    def _belated(self, test: _Test, judge: Judge, now: Phase | None, of: str = "") -> Problem | None:
        problem = None
        for phase, during, evidence, found in judge.belated(now):
            where = of or (f"left running until {during}" if during else f"{phase} phase")
            start = evidence.records[0].timestamp_ns if evidence.records else 0
            problem = _both(problem, self._problem(test, found, evidence, start, where))
        return problem

    def _judge_fixtures(self, test: _Test, phase: Phase, fixtures: Sequence[_Fixture]) -> Iterator[Problem]:
        """Those that have been set up or ended in a phase, and those of which the rules have changed."""
        for wide in dict.fromkeys([*self._wide.values(), *(fixture.wide for fixture in fixtures)]):
            marks = _marks(wide.node)
            if marks != wide.marks:
                wide.marks = marks
                wide.judge = self._judge(wide.node, "fixtures", wide.key, phase).instead_of(wide.judge)
                if wide.set_up is not None and wide.set_up.owner is not None:
                    self._show(test, wide.judge, "setup", wide.set_up)
                    more = self._belated(test, wide.judge, None, f"set-up of {wide.set_up.owner.name}")
                    if more is not None:
                        yield more
        for fixture in fixtures:
            end = "set-up" if fixture.phase == "setup" else "end"
            where = f"{end} of {fixture.window.owner and fixture.window.owner.name}"
            more = self._judge_window(test, fixture.window, fixture.wide.judge, fixture.phase, where)
            fixture.wide.set_up = fixture.window if fixture.phase == "setup" else fixture.wide.set_up
            self._note_fixture(fixture)
            if more is not None:
                yield more

    def _judge_window(
        self,
        test: _Test,
        window: RecordedWindow,
        judge: Judge,
        phase: Phase,
        where: str,
        during: Phase | None = None,
        *,
        baseline: bool = True,
        last: bool = False,
    ) -> Problem | None:
        if not judge.concerns(phase):
            return None
        evidence = self._accounts.counting(test.item, window.evidence())
        if during is not None:
            evidence = evidence.begun_in(phase)
            if not evidence.records and not evidence.lost:
                return None
        found = judge.judge(phase, evidence, during, baseline=baseline)
        if last:  # an update of such a run would write nothing
            found = [replace(one, advice="") if one.rules[0].kind == "baseline" else one for one in found]
        return self._problem(test, found, evidence, window.start, where) if found else None

    def _problem(self, test: _Test, found: list[Finding], evidence: Evidence, start: int, where: str) -> Problem:
        test.unexpected.update(
            dict.fromkeys(
                printable(record.program or "?")
                for finding in found
                if finding.rules[0].kind != "budget"
                for record in Kinds(finding.marked, in_tree=False).first
            )
        )
        return Problem.of(found, evidence, start, where, self._recorder.style)

    # ---- fixtures of wider scope ----

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
    ) -> Generator[None, object, object]:
        if fixturedef.scope == "function":
            return (yield)
        key = fixture_id(fixturedef)
        judge = self._judge(request.node, "fixtures", key)
        wide = self._wide[fixturedef] = _Wide(request.node, key, judge, _marks(request.node))
        span = self._recorder.open_span(_fixture_name(fixturedef), "setup", key=key)
        self._set_up[fixturedef] = span.owner
        failed = True
        try:
            result = yield
            failed = False
            return result
        finally:
            self._close_fixture(span, wide, "setup", failed=failed)
            # Finalizers run in reverse, so this one comes before those that the set-up has registered.
            fixturedef.addfinalizer(lambda: self._open_end(fixturedef))

    def _open_end(self, fixturedef: pytest.FixtureDef[Any]) -> None:
        span = self._recorder.open_span(_fixture_name(fixturedef), "teardown", key=fixture_id(fixturedef))
        self._ends[fixturedef] = span
        set_up = self._set_up.pop(fixturedef)
        if self._settings.gathers and not self._recorder.forked:
            self._accounts.gatherer.unit(set_up, "fixture")
            self._accounts.gatherer.join(span.owner, set_up)

    def pytest_fixture_post_finalizer(self, fixturedef: pytest.FixtureDef[Any]) -> None:
        span = self._ends.pop(fixturedef, None)
        if span is not None:
            self._close_fixture(span, self._wide.pop(fixturedef), "teardown")

    def _close_fixture(self, span: Span, wide: _Wide, phase: Phase, *, failed: bool = False) -> None:
        self._recorder.close_span(span)
        window = self._recorder.window_of(span, f"the {'set-up' if phase == 'setup' else 'end'} of {span.owner.name}")
        fixture = _Fixture(wide, window, phase, span.owner.id, failed)
        if self._test is not None:
            self._test.fixtures.append(fixture)
        elif self._last is not None:  # the run was broken off, and ends it without a test
            for problem in self._judge_fixtures(self._last, phase, [fixture]):
                self._accounts.late(self._last.item, problem)

    def _note_fixture(self, fixture: _Fixture) -> None:
        """For the baseline and the report."""
        if self._recorder.was_armed:
            self._accounts.use("fixtures", fixture.key, fixture.wide.judge, whole=not fixture.failed)
        owner = fixture.window.owner
        if self._settings.gathers and owner is not None and not self._recorder.forked:
            self._accounts.gatherer.unit(owner, "fixture")
            self._gather_window(owner, fixture.phase, fixture.window)

    def _gather_window(self, owner: Owner, phase: Phase, window: RecordedWindow) -> None:
        assert window.end is not None
        self._accounts.gatherer.span(owner, phase, window.start, window.end)
        if self._recorder.was_armed:  # else it is not checked, which is all that is known
            self._accounts.gatherer.losses(owner, window.tally()[1])

    # ---- what is told of a test ----

    def _use(self, test: _Test) -> None:
        """For the baseline, however the test came out: what it ran can be beyond a row in any case."""
        if self._recorder.was_armed and test.unchecked is None:
            self._accounts.use("tests", test.item.nodeid, test.judge, attempt=test.attempt)

    def _tell(self, test: _Test) -> None:
        """For JUnit's file, and whatever else shows a test's properties."""
        if test.unchecked is not None:
            test.item.user_properties.append(("execprobe_not_checked", test.unchecked))
        self._use(test)
        for phase, window in self._recorder.windows.items():
            if self._settings.gathers and window.owner is not None and not self._recorder.forked:
                self._gather_window(window.owner, phase, window)
        if not self._recorder.was_armed or not (self._settings.whole_run or self._recorder.in_use or test.judge.is_any):
            return
        properties = [pair for pair in test.item.user_properties if not str(pair[0]).startswith("execprobe_")]
        windows = list(self._recorder.windows.values())
        execs: int = 0
        lost: int | str = 0
        if not self._recorder.were_quiet(windows):
            tallies = [window.tally() for window in windows]
            execs = sum(len(commands) for commands, _ in tallies)
            lost = _number_of_lost(Evidence.merged(losses for _, losses in tallies))
        properties += [("execprobe_execs", execs), ("execprobe_lost", lost)]
        if test.unexpected:
            properties.append(("execprobe_unexpected", ", ".join(test.unexpected)))
        test.item.user_properties[:] = properties  # those of an earlier try are gone

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = self._reported(item, call, (yield))
        if self._last is not None and self._last.item is item:
            report.__dict__[_RECORDED] = True
        if call.when == "teardown" and self._recorder.forked:
            self._bring(report)
        return report

    def _reported(self, item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport) -> pytest.TestReport:
        """A report that says what the rules have found."""
        error = None if call.excinfo is None else call.excinfo.value
        problem = self._last.problems.get(call.when) if self._last and self._last.item is item else None
        if error is not None and _is_incomplete(error):
            # An xfail made it a skip, and strict or not a good outcome.
            report.outcome = "failed"
            report.__dict__.pop("wasxfail", None)
            report.__dict__[UNDECIDED] = True
            assert call.excinfo is not None
            report.longrepr = item.repr_failure(call.excinfo)
        if problem is None:
            return report
        expected = hasattr(report, "wasxfail")
        undecided = isinstance(problem.error, RuleUndecided)
        if not expected or undecided:
            self._accounts.gatherer.breach(item.nodeid, problem.headline, problem.in_report, undecided=undecided)
        if expected and isinstance(problem.error, RuleBroken):
            self._accounts.ledger.excused[item.nodeid] = problem.headline
            self._tell_of_fixtures(item)  # which are not expected to do that, whichever test sets them up
        elif problem.error is error or not report.failed:
            # Expected was the test's own failure, and not that a rule can't be decided. Not failed although rules are
            # broken: unittest keeps skips, and its own failures, from the hooks.
            report.outcome = "failed"
            report.__dict__.pop("wasxfail", None)
            report.longrepr = as_text(problem.error, problem.headline)
            report.__dict__[UNDECIDED] = undecided
        else:
            report.sections.append(("execprobe", str(problem.error)))
        if report.failed:
            report.sections += problem.sections
        return report

    def _bring(self, report: pytest.TestReport) -> None:
        news = self._accounts.export()
        if news:
            report.__dict__[NEWS] = news

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        recorded = report.__dict__.pop(_RECORDED, False)
        if recorded or (report.when == "call" and not report.failed):
            self._reported_calls[report.nodeid] = recorded or self._reported_calls.get(report.nodeid, False)
        if str(report.outcome) == "rerun" and self._last is not None:
            self._accounts.supersede(self._last.item.nodeid, self._last.attempt)
            self._tell_of_fixtures(self._last.item)  # the next try finds them as they are
        brought = report.__dict__.get(NEWS)  # a forked child's
        if (brought or self._accounts.has_news) and not self._recorder.forked:
            self._accounts.ledger.take(report.__dict__.pop(NEWS, {}))
            self._bring(report)

    def _tell_of_fixtures(self, item: pytest.Item) -> None:
        """What is wrong with wider fixtures, apart from the test in which that was found."""
        if self._last is not None:
            for problem in self._last.of_fixtures:
                self._accounts.late(item, problem)
            self._last.of_fixtures.clear()

    # ---- the run as a whole ----

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, object, object]:
        error = None
        if not self._recorder.forked:
            error = self._end_fixtures(session)
            self.end_collection()
            self._recorder.sync()
            if self._settings.accounts or self._settings.gathers:
                self._accounts.look_for_running()
            self._tell_of_unrecorded(session)
            self._accounts.finish()
            if self._collected is not None:
                self._accounts.ledger.collected = self._collected.export(session)
            news = self._accounts.export()
            if self._reporting is not None:
                self._reporting.ledger.take(news)
            else:
                self._config.workeroutput[NEWS] = news  # type: ignore[attr-defined]
            self._recorder.close()
        result = yield
        if error is not None:
            raise error
        return result

    def _tell_of_unrecorded(self, session: pytest.Session) -> None:
        """Tests that are said to have run, and that nothing has been recorded of."""
        for item in getattr(session, "items", ()):
            if self._reported_calls.get(item.nodeid, True):
                continue
            judge = self._judge_test(item)
            if self._settings.whole_run or judge.is_any:
                why = self._accounts.ledger.not_checked.setdefault(item.nodeid, self._refusal or _BY_ANOTHER)
                if judge.is_any and self._recorder.was_armed:
                    headline = "cannot tell whether its rules are kept: it was not recorded"
                    text = f"{headline}\n  why   {why}"
                    self._accounts.ledger.breaches.append(
                        Breach(item.nodeid, item.location, headline, text, undecided=True)
                    )

    def _end_fixtures(self, session: pytest.Session) -> BaseException | None:
        """A run that was broken off has left fixtures of wider scope: pytest would end them when the probe is gone."""
        if self._test is not None:  # it was broken off itself
            self._recorder.end_test()
            self._test = None
        try:
            session._setupstate.teardown_exact(None)
        except BaseException as error:
            return error
        return None

    def pytest_unconfigure(self) -> None:
        self._recorder.close()


def _marks(node: pytest.Item | pytest.Collector) -> _Marks:
    found: _Marks = []
    level = 0
    above: pytest.Item | pytest.Collector | None = node
    while above is not None:
        if above.own_markers:
            found += [(level, mark) for mark in above.own_markers if mark.name in MARKERS]
        level += 1
        above = above.parent
    return found


def _both(one: Problem | None, other: Problem | None) -> Problem | None:
    return one.and_also(other) if one and other else one or other


def _fixture_name(fixturedef: pytest.FixtureDef[Any]) -> str:
    """What messages call a fixture."""
    label, is_fixture = fixture_label(fixturedef)
    return f"fixture {label!r} ({fixturedef.scope})" if is_fixture else label


def _verbosity(config: pytest.Config) -> int:
    return int(config.getoption("verbose", 0))  # there is no such option with -p no:terminal


def _keep_undecided(item: Any) -> None:
    """unittest tells of an expected failure without the exception, so that one that can't be decided would be lost."""
    if "addExpectedFailure" in vars(item) or not hasattr(item, "addExpectedFailure"):
        return
    expected = item.addExpectedFailure

    def add(testcase: object, error: Any, *reason: str) -> None:
        if _is_incomplete(error[1]):
            item.addError(testcase, error)
        else:
            expected(testcase, error, *reason)

    item.addExpectedFailure = add


def _is_incomplete(error: BaseException | None) -> bool:
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
            todo += [error for error in within if isinstance(error, BaseException)] if type(within) in _MANY else []
    return False

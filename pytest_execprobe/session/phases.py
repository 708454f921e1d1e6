"""The hooks of a run that probes: they follow the collection, tests and their phases, and have the rules judged."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from .._util import originals
from ..baseline.model import COLLECTION
from ..errors import ProbeUnavailable, RuleUndecided
from ..log.log import ExecLog
from ..log.probe import ExecProbe
from ..rules.rule import PHASES
from ..rules.text import Problem
from ..timeline.evidence import Evidence
from ..timeline.record import Phase
from ..timeline.windows import RecordedWindow
from .breaks import Breaks
from .collected import Collected
from .early import EarlyRun
from .fixtures import Fixtures
from .handover import Handover, meaning_of
from .outcomes import Outcomes, keep_undecided
from .reporting import EXPORTED
from .run import ProbedRun, RunningTest, both, marks_along, marks_of


class Phases:
    """Registered as a plugin, with those of its parts, once a test needs the probe, or the settings ask for one."""

    def __init__(self, run: ProbedRun, early: EarlyRun | None) -> None:
        self.run = run
        self.recorder = run.recorder
        self._fixtures = Fixtures(run)
        self._outcomes = Outcomes(run)
        run.config.pluginmanager.register(self._fixtures, "execprobe-fixtures")
        run.config.pluginmanager.register(self._outcomes, "execprobe-outcomes")
        run.config.pluginmanager.register(run.enforcement, "execprobe-enforcement")
        if run.settings.update is not None:
            run.config.pluginmanager.register(Breaks(run), "execprobe-breaks")
        self._collected: Collected | None = None
        if run.settings.folders is not None:
            self._collected = Collected(run.config.rootpath, run.settings.folders)
            run.config.pluginmanager.register(self._collected, "execprobe-collected")
        self._shows_logs = run.config.hook.pytest_execprobe_log.get_hookimpls
        self._pid = originals.getpid()  # in which tests were last seen to run
        self._thread: int | None = None  # in which a test is running
        self._try: RunningTest | None = None  # the last one since its test came up
        self._collection = None if early is None else early.collection

    # ---- the collection ----

    def begin_collection(self) -> None:
        self._collection = self._collection or self.recorder.open_span(COLLECTION, None)

    def end_collection(self) -> None:
        if self._collection is not None:
            self.recorder.close_span(self._collection)
            self._collection = None

    # ---- the fixture ----

    def probe(self, session: pytest.Session) -> ExecProbe:
        run, item = self.run, next(reversed(session._setupstate.stack))
        if run.test is None or (run.test.item is not item and isinstance(item, pytest.Item)):
            assert isinstance(item, pytest.Item)
            self._begin(item, has_begun=True)  # armed in the middle, by request.getfixturevalue()
            self.recorder.begin_phase("setup")
            # pytest's own word for where it is: "path::test (call)".
            if originals.environ.get("PYTEST_CURRENT_TEST", "").endswith("(call)"):
                self.recorder.skip_to_call()
        if not self.recorder.sees:
            run.connect()
        if run.refusal is not None:
            if run.was_armed:  # a skip would hide that the probe was lost on the way, or kept away
                raise ProbeUnavailable(run.refusal)
            pytest.skip(run.refusal)
        self.recorder.in_use = True
        return ExecProbe(self.recorder)

    # ---- tests ----

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        here, before = originals.get_ident(), self._thread
        if before not in (None, here):  # its set-up refuses it, and what runs meanwhile is the other test's
            return (yield)
        if originals.getpid() != self._pid:
            self._settle()
        self._thread, self._try = here, None
        # pytest-forked has the phases run in a child: then this span alone says whose the child's execs are.
        span = self.recorder.open_span(item.nodeid, None, is_test=True)
        self.run.strays.enter(span.owner, item)
        try:
            result = yield
            if self.run.test is not None:
                self._end_unseen_teardown(item)
            return result
        finally:
            self._thread = before
            self.recorder.close_span(span)
            if self.run.last is None or self.run.last.item is not item:  # a child has run the phases
                self.recorder.sync()
                self._outcomes.judge_crash(item, span)
                self._count(item)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, object, object]:
        try:
            self._begin(item)
        except RuleUndecided:
            yield  # or the other hooks would have nothing to end
            raise
        return (yield from self._run_phase("setup"))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self) -> Generator[None, object, object]:
        return (yield from self._run_phase("call"))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> Generator[None, object, object]:
        test, handover = self.run.test, self.run.strays.handover
        if test is None or test.item is not item:
            return (yield)
        problem = None if test.was_called else self._end_unseen_call(test)
        try:
            result = yield from self._run_phase("teardown")
            if problem is not None:
                test.problems["teardown"] = both(problem, test.problems.get("teardown")) or problem
                raise problem.error
            return result
        finally:
            self._end_test(test)
            if nextitem is None and handover is not None and handover.by_reports:  # there need be no end of a session
                self.recorder.sync()
                self.run.strays.finish()
                handover.is_over = True

    def _end_test(self, test: RunningTest) -> None:
        self.run.test = None  # first, for an exception may break into the rest
        self.recorder.end_test()
        if self.run.enforcement.is_at_work:
            self.run.enforcement.end_test()
        self.run.strays.takeover.show()
        self._count(test.item)  # now, so that the teardown's report brings it: a worker may crash in the next test
        self._outcomes.note(test)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        test = self.run.test
        if test is not None and not test.is_in_phase:  # else of a part of it, as subtests have reports of their own
            if call.when == "call" and not test.was_called and test.item is item:
                self._end_unseen_call(test)
            elif call.when == "teardown":
                self._end_unseen_teardown(item, is_reported=True)
        last = self.run.last  # a plugin may try the test again in here
        report = yield
        return self._outcomes.complete(item, call, report, last)

    def _end_unseen_call(self, test: RunningTest) -> Problem | None:
        """The call of a test that was called without the hook of that, if it was."""
        window = self.recorder.windows.get("call")
        if window is None and not test.broken_off:
            self.recorder.begin_unseen_call()
            window = self.recorder.windows.get("call")
        return None if window is None or window.end is not None else self._end_phase(test, "call")

    def _end_unseen_teardown(self, item: pytest.Item, *, is_reported: bool = False) -> None:
        """Likewise: all since the call. A problem is that of its report, if there is one."""
        test = self.run.test
        if test is None or test.item is not item:
            return
        problem = self._end_unseen_call(test)
        self.recorder.begin_phase("teardown")
        problem = both(problem, self._end_phase(test, "teardown"))
        self._end_test(test)
        if problem is not None and is_reported:
            test.problems["teardown"] = problem
        elif problem is not None:
            self.run.strays.late(item, problem)

    def _count(self, item: pytest.Item) -> None:
        strays, last = self.run.strays, self.run.last
        is_elsewhere = (last is None or last.item is not item) and item.nodeid in strays.takeover.tests
        strays.recorded += self.recorder.was_armed and not self.recorder.forked and not is_elsewhere
        if self.recorder.timeline.has_new:
            strays.take_new()

    def _settle(self) -> None:
        """In a process that was forked to run tests, whose parent does not know which."""
        if self.recorder.is_alone:
            if not self.run.was_armed:
                return
            self._thread = None
            self.recorder.settle()
            self.run.strays.forget()
            self.run.strays.hand_over(Handover(self.run.settings, by_reports=True))
        self._pid = originals.getpid()

    def _begin(self, item: pytest.Item, *, has_begun: bool = False) -> None:
        if originals.getpid() != self._pid:
            self._settle()
        run, here = self.run, originals.get_ident()
        run.strays.takeover.hide()
        if run.test is not None and run.test.thread != here:
            raise pytest.UsageError(
                f"execprobe: {item.nodeid} begins in one thread while {run.test.item.nodeid} runs in another: what"
                " they execute could not be told apart. Run tests in processes (pytest-xdist), not in threads"
            )
        if self.recorder.forked:
            run.strays.forget()
        if hasattr(item, "addExpectedFailure"):
            keep_undecided(item)
        if self._try is not None and self._try.item is item and not self._try.is_over:
            self._outcomes.supersede(self._try)
        test = run.test = run.last = self._try = run.begin(item, here)
        judge = test.judge
        checked = run.is_whole or judge.is_any
        uses = "execprobe" in getattr(item, "fixturenames", ())
        if (checked or uses) and not self.recorder.sees:
            run.connect()  # a new one, if the last was lost
        if checked and run.refusal is not None and run.is_unchecked:
            assert run.refusal is not None
            run.strays.totals.not_checked[item.nodeid] = test.unchecked = run.refusal
        owner = test.owner = self.recorder.begin_test(item.nodeid, has_begun=has_begun)
        self._outcomes.recorded.add(owner.name)
        if run.strays.handover is not None:
            test.meaning = meaning_of(item, judge)
        run.enforcement.since = owner.began
        run.strays.enter(owner, item, judge)
        if run.may_gather and run.gathers:
            run.strays.gather_test(owner, item)
        self.recorder.in_use = uses and run.refusal is None

    # ---- phases ----

    def _run_phase(self, phase: Phase) -> Generator[None, object, object]:
        test = self.run.test
        if test is None:  # a plugin calls a phase by itself
            return (yield)
        self.recorder.begin_phase(phase)
        test.is_in_phase = True
        refused = None
        if test.judge.enforces or self.run.enforcement.is_at_work:
            refused = self.run.enforcement.begin_phase(test.judge, phase, self.run.refusal)
        try:
            result = yield
        except (KeyboardInterrupt, pytest.exit.Exception):
            test.broken_off = True
            problem = self._end_phase(test, phase, last=True)
            self._outcomes.use(test)
            if problem is not None:  # there will be no report
                self.run.strays.late(test.item, problem)
            raise
        except BaseException as error:
            test.broken_off = True
            problem = self._end_phase(test, phase)
            if refused is not None and error is refused.error:  # it is all that has run
                test.problems[phase] = refused = refused.and_also(problem) if problem else refused
                raise refused.error from None
            # A failure of the test's own stays what it is. A skip does not hide what has run already.
            if problem is not None and isinstance(error, pytest.skip.Exception):
                raise problem.error from None
            raise
        problem = self._end_phase(test, phase)
        if refused is not None:
            problem = both(refused, problem)
        if problem is not None:
            test.problems[phase] = problem
            raise problem.error
        return result

    def _end_phase(self, test: RunningTest, phase: Phase, *, last: bool = False) -> Problem | None:
        """``last``: no other phase will come."""
        if test.judge.enforces or self.run.enforcement.is_at_work:
            self.run.enforcement.end_phase(test.judge, phase)
        test.is_in_phase = False
        test.was_called |= phase == "call"
        window = self.recorder.end_phase()
        ended, test.fixtures = test.fixtures, ()
        if self.run.refusal is not None and self.run.is_unchecked:
            return None
        error: BaseException | None = None
        problem = None
        if self._shows_logs():  # first, for it may add marks; none that fails keeps the rules from being judged
            try:
                test.item.ihook.pytest_execprobe_log(item=test.item, phase=phase, log=ExecLog(window))
            except BaseException as failure:
                error = failure
        if not test.has_marks_of(test.line):
            problem = self._read_added(test, phase)
        # Nothing to judge where no rule is about the phase, or nothing ran in it for certain.
        if phase in test.judge.busy and not (window.is_quiet and test.judge.saw_nothing(phase)):
            problem = both(problem, self._judge_phase(test, window, phase, last=last))
        if ended or self._fixtures.wide:
            for more in self._fixtures.judge(test, phase, ended):
                test.of_fixtures += (more,)
                problem = both(problem, more)
        if problem is not None:
            test.problems[phase] = problem
        if error is not None:
            raise error
        return problem

    def _judge_phase(self, test: RunningTest, window: RecordedWindow, phase: Phase, *, last: bool) -> Problem | None:
        # A test that runs something new in its set-up is to run all the same: its call is judged with both.
        problem = self.run.judge_window(
            test, window, test.judge, phase, f"{phase} phase", baseline=last or phase != "setup", last=last
        )
        for earlier in PHASES[: PHASES.index(phase)]:
            more = self.run.judge_window(test, window, test.judge, earlier, f"left running until {phase}", phase)
            problem = both(problem, more)
        return problem

    def _read_added(self, test: RunningTest, phase: Phase) -> Problem | None:
        """Judges what has run already by marks that fixtures, or the test itself, have added."""
        run, windows = self.run, self.recorder.windows
        marks, test.every_mark = marks_of(test.line), marks_along(test.line)
        test.mark_ids = [*map(id, test.every_mark)]
        if marks == test.marks:
            return None
        test.marks = marks
        test.judge = run.judge(test.item, "tests", test.item.nodeid, phase).instead_of(test.judge)
        owner = windows[phase].owner
        if owner is not None:  # what it leaves behind is judged by them, too
            run.strays.enter(owner, test.item, test.judge)
        ended = PHASES[: PHASES.index(phase)]
        if "setup" not in windows:
            test.judge.show("setup", lambda: Evidence(unknown=("the probe was armed only after the set-up",)))
        for index, earlier in enumerate(ended):
            if earlier in windows:  # else there was none: the set-up has failed
                run.show(test, test.judge, earlier, windows[earlier])
                for before in ended[:index]:
                    run.show(test, test.judge, before, windows[earlier], earlier)
        return both(run.judge_belated(test, test.judge, phase), run.enforcement.missed(test.judge, phase))

    # ---- the run as a whole ----

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        if self.run.was_armed:
            self.run.strays.takeover.offer(session)
        try:
            return (yield)
        finally:
            self.run.strays.takeover.hide()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, object, object]:
        error, run, strays = None, self.run, self.run.strays
        if not self.recorder.forked:
            error = self._end_fixtures(session)
            self.end_collection()
            self.recorder.sync()
            strays.look_for_handed_over()
            if run.settings.sums_up or run.settings.gathers:
                strays.look_for_running()
            self._outcomes.find_unrecorded(session)
            strays.finish()
            strays.takeover.end()
            if run.is_unchecked and run.settings.whole_run:
                why = str(run.refusal).removeprefix("execprobe: ")
                strays.totals.unprobed[f"a process of the run had no probe: {why}"] = None
            if self._collected is not None:
                strays.totals.collected = self._collected.export(session)
            exported = strays.export()
            if run.reporting is not None:
                run.reporting.totals.take(exported)
            else:
                run.config.workeroutput[EXPORTED] = exported  # type: ignore[attr-defined]
            self.recorder.close()
        result = yield
        if error is not None:
            raise error
        return result

    def _end_fixtures(self, session: pytest.Session) -> BaseException | None:
        """A run that was broken off has left fixtures of wider scope: pytest would end them when the probe is gone."""
        if self.run.test is not None:  # it was broken off itself
            self.recorder.end_test()
            self.run.test = None
        try:
            session._setupstate.teardown_exact(None)
        except BaseException as error:
            return error
        return None

    def pytest_unconfigure(self) -> None:
        self.recorder.forget()

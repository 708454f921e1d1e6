"""The recorder of a run: it keeps the source and the timeline together, and gives out windows.

Nothing of pytest is known here. A run registers once; a window is then two readings of the clock and, when it is read
or closed, one synchronisation.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable

from .._util import clock, originals
from .._util.text import Style
from ..source.command import Command
from ..source.events import Process, Source
from ..source.launch import executes_helper
from .entry import Entry
from .evidence import Evidence, Gap
from .feed import read
from .lighter import lighter
from .record import ExecRecord, Phase
from .spans import Owner, Span
from .timeline import Timeline
from .windows import Readable, RecordedWindow

_MUCH = 10_000  # pieces of what is known, some hundred bytes each
_OVER = "the run is over, and the probe closed"
_LABELS: dict[Phase, str] = {"setup": "the setup phase", "call": "the call phase", "teardown": "the teardown phase"}


class Recorder(Readable):
    """What a test process's tree executes, test by test.

    ``connect`` makes a source and raises ProbeUnavailable. ``timeout`` is how long, in seconds, a synchronisation waits
    for execs in flight, and then for its answer. What ``ignores`` says true of is in no window.
    """

    def __init__(
        self,
        connect: Callable[[], Source],
        *,
        style: Style,
        timeout: float,
        ignores: Callable[[ExecRecord], bool] | None = None,
    ) -> None:
        super().__init__(connect, Timeline(hides=_is_helpers), timeout, style, ignores)
        #: Whether this process is a fork of the one that made the recorder.
        self.forked = False
        self._is_test_forked = False
        self._test: Owner | None = None
        self._phase: Span | None = None
        #: Those of the running test that have begun.
        self.windows: dict[Phase, RecordedWindow] = {}
        #: Whether it is certain that nothing was executed in them, once they have all ended.
        self.were_quiet = False
        self._windows: weakref.WeakSet[RecordedWindow] = weakref.WeakSet()  # that may not be final
        self._heavy = _MUCH  # how much the timeline may keep before it is made lighter
        _recorders.add(self)

    def reset(self, style: Style, timeout: float, ignores: Callable[[ExecRecord], bool] | None) -> None:
        """What was not known for certain when it was made."""
        self.style, self.timeout, self.ignores = style, timeout, ignores

    def close(self) -> None:
        with self.lock:
            if self.source is not None:
                if not self.forked:
                    self.source.part(self.timeout)
                self.go_blind(_OVER)

    def forget(self) -> None:
        """Closes it, and keeps of all only what closed windows have: pytest has Python's collector look at everything
        at its end, twice."""
        self.close()
        with self.lock:
            self.timeline.forget()
            self.timeline.blind = Gap(0, None, _OVER)

    def after_fork(self) -> None:
        self.forked = True
        self._is_test_forked = self.timeline.spans.is_in_test
        super().after_fork()

    @property
    def is_alone(self) -> bool:
        """Whether this process was forked while no test was running: then its parent does not know which test it is
        that this one runs."""
        return self.forked and not self._is_test_forked

    def settle(self) -> None:
        """Makes the recorder this forked process's own."""
        self.forked, self._test, self._phase, self.windows = False, None, None, {}
        self.sync()
        self.since = clock.monotonic_ns()

    # ---- tests, phases, fixtures ----

    def begin_test(self, name: str, *, has_begun: bool = False) -> Owner:
        """``has_begun``: before the probe was armed, so that it is not known what it ran until then."""
        if self._test is not None:
            self._end_what_goes_on(self._test)
        if not self.were_quiet:
            for window in self.windows.values():
                self._watch_over(window)
        if not self.were_quiet or len(self.timeline.spans) >= self._heavy:  # else there are a few spans more
            self._lighten()
        self.windows = {}
        self.in_use = self.were_quiet = False
        began = self.timeline.armed_at - 1 if has_begun else clock.monotonic_ns()
        self._test = Owner(name, is_test=True, began=began)
        self._phase = None
        if self.traces:
            self._look_at_what_runs()
        return self._test

    def _look_at_what_runs(self) -> None:
        """Where no one sees when an exec is entered: what is seen outside of one executes something only after that. To
        be called when something has begun, for else it would seem to have been executed before."""
        if self.traces and self.is_own:
            self.sync()

    def begin_phase(self, phase: Phase) -> None:
        """Phases follow each other without a gap, so that an exec between two of them belongs to the second."""
        test, last, timeline = self._test, self._phase, self.timeline
        assert test is not None
        if last is not None and last.end is None:
            self._close_phase()
        start = test.began if last is None or last.end is None else last.end
        with self.lock:
            self._phase = self.timeline.spans.open(test, phase, start)
            timeline.awaited = None
            if timeline.known.settled:
                timeline.stop_waiting()
        self.windows[phase] = RecordedWindow(self, test, start, _LABELS[phase])

    def _close_phase(self) -> None:
        """Where an exception broke into its end."""
        phase = self._phase
        if phase is not None and phase.end is None:
            self.timeline.spans.close(phase, clock.monotonic_ns())
            window = self.windows.get(phase.phase) if phase.phase is not None else None
            if window is not None:
                window.end = phase.end

    def _end_what_goes_on(self, test: Owner) -> None:
        """Likewise of a test: what it has left behind is a stray from then on."""
        self._close_phase()
        test.ended = test.ended or (self._phase and self._phase.end) or clock.monotonic_ns()

    def begin_unseen_call(self) -> None:
        """Of a test that is called without the hook of its call, as some plugins do it: what has run since its set-up
        is the call's."""
        if self._test is not None and self.windows.keys() == {"setup"} and self.windows["setup"].closed:
            self.begin_phase("call")

    def skip_to_call(self) -> None:
        """Of a test that had begun, the call is all that is left: it takes the place of the set-up."""
        assert self._phase is not None
        self._phase.phase = "call"
        self.windows = {"call": RecordedWindow(self, self._test, self._phase.start, _LABELS["call"])}

    def end_phase(self) -> RecordedWindow:
        """The phase's log is final from now on."""
        test, span, timeline = self._test, self._phase, self.timeline
        assert test is not None
        assert span is not None
        phase = span.phase
        assert phase is not None
        if phase == "teardown" and self.description.get("untraced"):
            self.sync()  # what has ended by now of what runs untraced is seen to have ended before the test
        end = clock.monotonic_ns()
        with self.lock:
            timeline.spans.close(span, end)
            if phase == "teardown":  # now: what is entered from here on is a stray, whenever it is read
                test.ended = end
            else:
                timeline.awaited = end  # the next phase's
        window = self.windows[phase]
        window.end = end
        if self.traces:
            self._look_at_what_runs()
        if self.in_use and not window.is_quiet:
            window.evidence()  # what is known when it closes is what it keeps
        return window

    def end_test(self) -> None:
        test = self._test
        assert test is not None
        if test.ended is None or (self._phase is not None and self._phase.end is None):
            self._end_what_goes_on(test)
        self._test = None
        if self.timeline.awaited is not None or self.timeline.known.settled:
            with self.lock:
                self.timeline.stop_waiting()
        # Whatever it was, it is taken in, so that it does not pile up in the helper.
        self.were_quiet = self.is_quiet(test.began, test.ended or 0)

    def open_span(self, name: str, phase: Phase | None, *, is_test: bool = False, key: str = "") -> Span:
        """What runs from now on belongs to something else than a phase of a test, inside whatever runs already.

        That is a fixture of wider scope than a test, the collection, or a test of which a forked child runs the phases.
        """
        now = clock.monotonic_ns()
        span = self.timeline.spans.open(Owner(name, is_test=is_test, began=now, key=key), phase, now)
        if phase is not None:
            self._look_at_what_runs()
        return span

    def close_span(self, span: Span) -> None:
        span.owner.ended = now = clock.monotonic_ns()
        self.timeline.spans.close(span, now)
        if span.phase is not None:
            self._look_at_what_runs()

    def window_of(self, span: Span, label: str) -> RecordedWindow:
        """That of a span that has been closed."""
        window = RecordedWindow(self, span.owner, span.start, label, span.end)
        self._watch_over(window)
        return window

    def _lighten(self) -> None:
        """Between two tests: forgets what can't be asked for any more."""
        with self.lock:
            if self.timeline.size < self._heavy or not self.is_own:
                return
            listed_at = clock.monotonic_ns()
            running = self.ask_running(0, self.timeout)
            if running is None:
                return
            self.sync()
            windows = list(self._windows)
            for window in windows:
                window.last = None  # it keeps the heavy one
                if window.closed:
                    window.evidence()
            since = min((window.start for window in windows if not window.closed), default=listed_at)
            self.timeline = lighter(self.timeline, since, running, listed_at)
            self._windows = weakref.WeakSet(window for window in windows if not window.closed)
            self._heavy = self.timeline.size + max(_MUCH, self.timeline.size // 2)

    def _watch_over(self, window: RecordedWindow) -> None:
        """What a window holds is kept until it is final. For those of the running test this is seen to at its end:
        until then nothing is forgotten."""
        if not window.is_final:
            self._windows.add(window)

    # ---- the whole run ----

    @read
    def take_new(self) -> list[Entry]:
        """The execs whose owner has been found since this was last asked, ignored ones too."""
        self.refuse_nested()
        with self.lock:
            return [entry for entry in self.timeline.take_new() if not entry.hidden]

    def take_killed(self) -> list[Entry]:
        """The execs whose processes a signal has ended since this was last asked, and whose owner is known."""
        with self.lock:
            killed = list(self.timeline.killed.values())
            self.timeline.killed.clear()
        return [entry for entry in killed if not entry.hidden]

    def take_killed_forks(self) -> list[tuple[Owner | None, int]]:
        """How signals have ended children that had executed nothing, since this was last asked, and what had forked
        them."""
        with self.lock:
            killed = list(self.timeline.killed_forks.values())
            self.timeline.killed_forks.clear()
            spans = [self.timeline.spans.at(event.branch.born).span for event in killed]
        return [(span.owner if span else None, one.status or 0) for span, one in zip(spans, killed, strict=True)]

    @read
    def losses(self, spares: Callable[[Owner], bool] = lambda _: False) -> Evidence:
        """Why there may have been execs, since the probe was there, of which nothing is known; nothing else. ``spares``
        says of an owner that it does not matter if all of them were that one's."""
        self.refuse_nested()
        with self.lock:
            return self.timeline.losses(self.since, clock.monotonic_ns(), spares)

    @read
    def running(self) -> tuple[list[tuple[Process, ExecRecord | None]], int]:
        """The processes that were begun since the probe was there and have not ended, with the records of what they
        run, and how many more there are. To be asked after :meth:`sync`."""
        self.refuse_nested()
        with self.lock:
            running = self.ask_running(1, self.timeout)
            if running is None:
                return [], 0
            entries = [(process, self.timeline.entry_of(process.image)) for process in running.listed]
            shown = [(process, entry) for process, entry in entries if entry is None or not entry.hidden]
            return [
                (process, None if entry is None else entry.record) for process, entry in shown
            ], running.count - len(entries)

    # ---- windows ----

    def open_window(self, label: str) -> RecordedWindow:
        window = RecordedWindow(self, self._test, clock.monotonic_ns(), label)
        self._watch_over(window)
        self._look_at_what_runs()
        return window

    def close_window(self, window: RecordedWindow) -> None:
        window.end = clock.monotonic_ns()
        window.evidence()


def _is_helpers(command: Command) -> bool:
    """Helpers of other runs, such as that of a pytest which a test starts: how they work is no one's business."""
    return command.may_contain("/pytest_execprobe/helper") and executes_helper(command)


# Handlers of fork can't be removed, so there is one for all recorders.
_recorders: weakref.WeakSet[Recorder] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for recorder in list(_recorders):
        recorder.after_fork()


originals.register_at_fork(after_in_child=_after_fork_in_child)

"""The recorder of a run: it keeps the source and the timeline together, and gives out windows.

Nothing of pytest is known here. A run registers once; a window is then two readings of the clock and, when it is read
or closed, one synchronisation.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from .._util import clock, originals
from .._util.collector import postponed
from .._util.text import Style
from ..errors import IncompleteLogError, ProbeObstructed, SourceLost
from ..source.command import Command
from ..source.doubts import doubts
from ..source.events import Batch, Process, Source
from ..source.launch import is_helper
from .record import ExecRecord, Phase
from .timeline import Entry, Evidence, Gap, Owner, Span, Timeline

_ARMED_LATER = "the probe was armed only after that: name execprobe in the test's or the fixture's parameters"
_SLICE = 0.05  # seconds that a wait keeps other threads from reading
_GREEN_SLICE = 0.01  # seconds that a wait leaves to green threads
_MUCH = 10_000  # pieces of what is known, some hundred bytes each
_LABELS: dict[Phase, str] = {"setup": "the setup phase", "call": "the call phase", "teardown": "the teardown phase"}
#: What is known of a window in which nothing was executed.
NOTHING = Evidence()


class ProcessSource(Source, Protocol):
    """A source that belongs to the process that made it."""

    pid: int

    @property
    def description(self) -> Mapping[str, Any]:
        """What the helper says of itself."""

    def in_child(self, *, fresh: bool, timeout: float) -> ProcessSource:
        """For a forked child, ``fresh`` if it has no child yet: a source of its own. Raises SourceLost."""


class Recorder:
    """What a test process's tree executes, test by test.

    ``connect`` makes a source and raises ProbeUnavailable. ``timeout`` is how long, in seconds, a synchronisation waits
    for execs under way, and then for its answer. What ``ignores`` says true of is in no window.
    """

    def __init__(
        self,
        connect: Callable[[], ProcessSource],
        *,
        style: Style,
        timeout: float,
        ignores: Callable[[ExecRecord], bool] | None = None,
    ) -> None:
        self._connect = connect
        self.style = style
        self._timeout = timeout
        self._ignores = ignores
        self._pid = originals.getpid()
        #: From when on everything is recorded, ns; 0 before there was a source.
        self.since = 0
        self._source: ProcessSource | None = None
        self._timeline = Timeline(hides=_is_helpers)
        self._timeline.blind = Gap(0, None, _ARMED_LATER)
        self._obstructed = False
        self._lock = originals.RLock()
        self._test: Owner | None = None
        self._phase: Span | None = None
        #: Those of the running test that have begun.
        self.windows: dict[Phase, RecordedWindow] = {}
        self.attempts_refused: str | None = None
        self._description: Mapping[str, Any] = {}
        #: Whether the running test uses its log, so that its forked children will too.
        self.in_use = False
        self._windows: weakref.WeakSet[RecordedWindow] = weakref.WeakSet()  # that may not be final
        self._heavy = _MUCH  # how much the timeline may keep before it is made lighter
        _recorders.add(self)

    def reset(self, style: Style, timeout: float, ignores: Callable[[ExecRecord], bool] | None) -> None:
        """What was not known for certain when it was made."""
        self.style, self._timeout, self._ignores = style, timeout, ignores

    # ---- the source ----

    def ensure(self) -> None:
        """Connects, at first and after the source was lost. Raises ProbeUnavailable."""
        with self._lock:
            if self._source is not None and self._source.pid != originals.getpid():
                self._adopt_child()
            if self._source is None:
                try:
                    self._source = self._connect()
                except ProbeObstructed as error:
                    self._obstruct(str(error).removeprefix("execprobe: "))
                    raise
            elif self._timeline.blind is None:
                return
            source = self._source
            self.attempts_refused = source.attempts_refused
            self._description = source.description
            self._timeline.armed_at = self._timeline.armed_at or source.armed_at
            now = clock.monotonic_ns()
            self.since = self.since or now
            self._see_again(source, now)

    def _obstruct(self, why: str) -> None:
        self._obstructed = True
        if self._timeline.blind is not None:
            self._timeline.blind = Gap(self._timeline.blind.start, None, f"there was no probe: {why}")

    def _go_blind(self, why: str) -> None:
        """Gives the source up: until there is another, nothing is known."""
        if self._source is not None:
            self._source.close()
        # In this order: an exception may come in between, and at no moment may there be neither.
        self._timeline.blind = Gap(self._timeline.complete_to, None, why)
        self._source = None

    def _see_again(self, source: ProcessSource, now: int) -> None:
        blind = self._timeline.blind
        for why in doubts(source):
            self._timeline.add_gap(Gap(source.armed_at, None, why))
        if blind is not None:
            # Not only up to armed_at: what was there before has been adopted since.
            self._timeline.add_gap(Gap(blind.start, now, blind.why))
            self._timeline.blind = None

    def sync(self) -> None:
        """Takes in everything up to now. What goes wrong becomes a gap, never an exception."""
        self._refuse_nested()
        with self._lock:
            if self._source is not None and self._source.pid != originals.getpid():
                self._adopt_child()
            if self._source is None:
                return
            self._take(self._source.sync, self._timeout)

    def wait(self, timeout: float) -> bool:
        """Until something new is there, or for a moment: other threads want to read, too. False if nothing can come."""
        sleep = _green_sleep()
        self._refuse_nested()
        with self._lock:
            patience = 0.0 if sleep is not None else min(timeout, _SLICE)
            can_come = self._source is not None and self._take(self._source.wait, patience)
        if can_come and sleep is not None:
            sleep(min(timeout, _GREEN_SLICE))
        return can_come

    def _take(self, ask: Callable[[float, object], Batch], timeout: float) -> bool:
        """An exception, as that of a signal's handler, may break in: then the next batch has what this one had."""
        try:
            batch = ask(timeout, self._timeline.known.mark)
            with postponed:
                self._timeline.add(batch)
        except SourceLost as error:
            self._lose(str(error))
            return False
        return True

    def _refuse_nested(self) -> None:
        """A handler of a signal may read a log, but not in the middle of a read: that could not go on."""
        if not self._lock._is_owned():  # type: ignore[attr-defined]
            return  # no read is in the middle, and to look for one takes as long as all else
        frame = originals.frame(1).f_back  # of who calls the read which is to begin
        while frame is not None:
            if frame.f_code in _READS and frame.f_locals.get("self") is self:
                raise IncompleteLogError(
                    "a log was read by what broke into a read of it, such as a signal's handler: read it when that is"
                    " over"
                )
            frame = frame.f_back

    def close(self) -> None:
        with self._lock:
            if self._source is not None:
                if not self.forked:
                    self._source.part(self._timeout)
                self._go_blind("the run is over, and the probe closed")

    def _lose(self, why: str) -> None:
        self._go_blind(f"the probe helper was lost: {why}. The next test gets a new one")
        self._timeline.settle()

    @property
    def was_armed(self) -> bool:
        """Whether there has ever been a source, or would have been but for another process: what is not known then
        must not pass."""
        return self._timeline.armed_at != 0 or self._obstructed

    @property
    def description(self) -> Mapping[str, Any]:
        """What the helper says of itself."""
        return self._description

    @property
    def forked(self) -> bool:
        """Whether this process is a fork of the one that made the recorder."""
        return originals.getpid() != self._pid

    # ---- forked children ----

    def after_fork(self) -> None:
        """In a forked child. It becomes a root of its own if its test uses the log: now, before it spawns anything."""
        self._lock = originals.RLock()  # another thread may have held it
        if self._source is not None and self.in_use:
            self._adopt_child(fresh=True)

    def _adopt_child(self, *, fresh: bool = False) -> None:
        assert self._source is not None
        forked = Gap(0, None, "the test's process was forked, and registered only after that")
        self._timeline.blind = None if fresh else forked
        self._timeline.forget()
        try:
            self._source = self._source.in_child(fresh=fresh, timeout=self._timeout)
        except SourceLost as error:
            self._lose(str(error))
        else:
            self._timeline.armed_at = self._source.armed_at
            self._see_again(self._source, clock.monotonic_ns())

    # ---- tests, phases, fixtures ----

    def begin_test(self, name: str, *, under_way: bool = False) -> Owner:
        """``under_way``: it had begun before the probe was armed, so that nobody knows what it ran until then."""
        self._end_what_goes_on()
        for window in self.windows.values():
            self._watch_over(window)
        self.windows = {}
        self.in_use = False
        self._lighten()
        began = self._timeline.armed_at - 1 if under_way else clock.monotonic_ns()
        self._test = Owner(name, is_test=True, began=began)
        self._phase = None
        return self._test

    def begin_phase(self, phase: Phase) -> None:
        """Phases follow each other without a gap, so that an exec between two of them belongs to the second."""
        assert self._test is not None
        self._close_phase()
        start = self._test.began if self._phase is None or self._phase.end is None else self._phase.end
        with self._lock:
            self._phase = self._timeline.open(self._test, phase, start)
            self._timeline.stop_waiting()
        self.windows[phase] = RecordedWindow(self, self._test, start, _LABELS[phase])

    def _close_phase(self) -> None:
        """Where an exception broke into its end."""
        phase = self._phase
        if phase is not None and phase.end is None:
            self._timeline.close(phase, clock.monotonic_ns())
            window = self.windows.get(phase.phase) if phase.phase is not None else None
            if window is not None:
                window.end = phase.end

    def _end_what_goes_on(self) -> None:
        """Likewise of a test: what it has left behind is a stray from then on."""
        self._close_phase()
        if self._test is not None:
            self._test.ended = self._test.ended or (self._phase and self._phase.end) or clock.monotonic_ns()

    def skip_to_call(self) -> None:
        """Of a test that was under way, the call is all that is left: it takes the place of the set-up."""
        assert self._phase is not None
        self._phase.phase = "call"
        self.windows = {"call": RecordedWindow(self, self._test, self._phase.start, _LABELS["call"])}

    def end_phase(self) -> None:
        """The phase's log is final from now on."""
        assert self._phase is not None
        assert self._phase.phase is not None
        end = clock.monotonic_ns()
        with self._lock:
            self._timeline.close(self._phase, end)
            if self._phase.phase == "teardown":  # now: what is entered from here on is a stray, whenever it is read
                assert self._test is not None
                self._test.ended = end
            else:
                self._timeline.wait_for_span(end)  # the next phase's
        window = self.windows[self._phase.phase]
        window.end = end
        if self.in_use:
            window.evidence()  # what is known when it closes is what it keeps

    def end_test(self) -> None:
        assert self._test is not None
        test = self._test
        self._end_what_goes_on()
        self._test = None
        with self._lock:
            self._timeline.stop_waiting()
        if test.ended is None or not self.knows(test.ended):
            self.sync()  # so that what this test ran does not pile up in the helper

    def open_span(self, name: str, phase: Phase | None, *, is_test: bool = False, key: str = "") -> Span:
        """What runs from now on belongs to something else than a phase of a test, inside whatever runs already.

        That is a fixture of wider scope than a test, the collection, or a test of which a forked child runs the phases.
        """
        now = clock.monotonic_ns()
        return self._timeline.open(Owner(name, is_test=is_test, began=now, key=key), phase, now)

    def close_span(self, span: Span) -> None:
        span.owner.ended = now = clock.monotonic_ns()
        self._timeline.close(span, now)

    def window_of(self, span: Span, label: str) -> RecordedWindow:
        """That of a span that has been closed."""
        window = RecordedWindow(self, span.owner, span.start, label)
        window.end = span.end
        self._watch_over(window)
        return window

    def _lighten(self) -> None:
        """Between two tests: forgets what nobody can ask for any more, so that a long run takes no more than a short
        one."""
        with self._lock:
            source = self._source
            if self._timeline.size < self._heavy or source is None or source.pid != originals.getpid():
                return
            listed_at = clock.monotonic_ns()
            try:
                running = source.running(0, self._timeout)
            except SourceLost as error:
                self._lose(str(error))
                return
            self.sync()
            windows = list(self._windows)
            for window in windows:
                window.last = None  # it keeps the heavy one
                if window.closed:
                    window.evidence()
            since = min((window.start for window in windows if not window.closed), default=listed_at)
            self._timeline = self._timeline.lighter(since, running, listed_at)
            self._windows = weakref.WeakSet(window for window in windows if not window.closed)
            self._heavy = self._timeline.size + max(_MUCH, self._timeline.size // 2)

    def _watch_over(self, window: RecordedWindow) -> None:
        """What a window holds is kept until it is final. For those of the running test this is seen to at its end:
        until then nothing is forgotten."""
        if not window.is_final:
            self._windows.add(window)

    # ---- the whole run ----

    @property
    def has_news(self) -> bool:
        return self._timeline.has_news

    def take_news(self) -> list[Entry]:
        """The execs that have been found to belong to somebody since this was last asked, ignored ones too."""
        self._refuse_nested()
        with self._lock:
            return [entry for entry in self._timeline.take_news() if not entry.hidden]

    def losses(self) -> Evidence:
        """Why there may have been execs, since the probe was there, of which nothing is known; nothing else."""
        self._refuse_nested()
        with self._lock:
            return self._timeline.losses(self.since, clock.monotonic_ns())

    def running(self) -> tuple[list[tuple[Process, ExecRecord | None]], int]:
        """The processes that were begun since the probe was there and have not ended, with the records of what they
        run, and how many more there are. To be asked after :meth:`sync`."""
        self._refuse_nested()
        with self._lock:
            if self._source is None:
                return [], 0
            try:
                running = self._source.running(1, self._timeout)
            except SourceLost as error:
                self._lose(str(error))
                return [], 0
            listed = [(process, self._timeline.entry_of(process.image)) for process in running.listed]
            shown = [(process, entry) for process, entry in listed if entry is None or not entry.hidden]
            records = [(process, None if entry is None else entry.record) for process, entry in shown]
            return records, running.count - len(listed)

    def is_ignored(self, record: ExecRecord) -> bool:
        return self._ignores is not None and self._ignores(record)

    # ---- windows ----

    def open_window(self, label: str) -> RecordedWindow:
        window = RecordedWindow(self, self._test, clock.monotonic_ns(), label)
        self._watch_over(window)
        return window

    def close_window(self, window: RecordedWindow) -> None:
        window.end = clock.monotonic_ns()
        window.evidence()

    def evidence(self, window: RecordedWindow, end: int) -> Evidence:
        self._refuse_nested()
        with self._lock:
            timeline = self._timeline
            if timeline.is_quiet(window.start, end):
                return NOTHING
            state = timeline.state(end)
            if window.last is not None and state is not None and window.last[:2] == (timeline, state):
                last, losses = window.last[2], timeline.losses(window.start, end)
                if (last.unknown, last.gaps) == (losses.unknown, losses.gaps):
                    return last
            with postponed:
                evidence = timeline.evidence(window.start, end, window.owner, self._ignores)
            window.last = timeline, state, evidence
            return evidence

    def is_quiet(self, start: int, end: int) -> bool:
        """Whether it is certain that nothing of the tree was executed from ``start`` to before ``end``, and all until
        then is here."""
        with self._lock:
            return self._timeline.is_quiet(start, end)

    def were_quiet(self, windows: Sequence[RecordedWindow]) -> bool:
        """Of closed windows that follow each other, whether it is certain of them all."""
        end = windows[-1].end
        return end is not None and self.knows(end) and self.is_quiet(windows[0].start, end)

    def tally(self, window: RecordedWindow, end: int) -> tuple[list[Command], Evidence]:
        self._refuse_nested()
        with self._lock:
            return self._timeline.tally(window.start, end, window.owner)

    @property
    def ignores(self) -> bool:
        """Whether anything is in no window because of its name."""
        return self._ignores is not None

    def knows(self, until: int) -> bool:
        """Whether everything up to a moment is here, so that there is no need to ask."""
        return self._timeline.complete_to >= until and not self._timeline.is_waiting


class RecordedWindow:
    """A stretch of one test's time. It is closed once it has an end, and never changes after it was first read then."""

    def __init__(self, recorder: Recorder, owner: Owner | None, start: int, label: str) -> None:
        self._recorder = recorder
        self.owner = owner
        self.start = start
        self.label = label
        self.end: int | None = None
        #: What was seen in it last, while it is open, and by what state of which timeline.
        self.last: tuple[Timeline, object, Evidence] | None = None
        self._final: Evidence | None = None

    @property
    def style(self) -> Style:
        return self._recorder.style

    @property
    def attempts_refused(self) -> str | None:
        return self._recorder.attempts_refused

    @property
    def closed(self) -> bool:
        return self.end is not None

    @property
    def is_final(self) -> bool:
        return self._final is not None

    def _synchronised(self) -> int:
        """Its end, or now, when all up to then is known."""
        end = clock.monotonic_ns() if self.end is None else self.end
        if not self._recorder.knows(end):
            self._recorder.sync()
        return end

    def evidence(self) -> Evidence:
        if self._final is not None:
            return self._final
        evidence = self._recorder.evidence(self, self._synchronised())
        if self.end is not None:
            self._final, self.last = evidence, None
        return evidence

    @property
    def is_quiet(self) -> bool:
        """Of a closed one: whether it is certain that nothing was executed in it, by whatever process of the tree.
        False where that takes a closer look."""
        assert self.end is not None
        if self._final is None:
            if not self._recorder.knows(self.end):
                self._recorder.sync()
            if self._recorder.is_quiet(self.start, self.end):
                self._final, self.last = NOTHING, None
        return self._final is NOTHING

    def tally(self) -> tuple[list[Command], Evidence]:
        if self._final is not None or self._recorder.ignores:
            evidence = self.evidence()
            return evidence.commands, evidence
        return self._recorder.tally(self, self._synchronised())

    def wait(self, timeout: float) -> bool:
        return self._recorder.wait(timeout)


def _is_helpers(command: Command) -> bool:
    """Helpers of other runs, such as that of a pytest which a test starts: how they work is no one's business."""
    return command.may_contain("/pytest_execprobe/helper") and is_helper(command.argv)


_READS = frozenset(
    method.__code__
    for method in (
        Recorder.sync,
        Recorder.wait,
        Recorder.take_news,
        Recorder.losses,
        Recorder.running,
        Recorder.evidence,
        Recorder.tally,
    )
)


def _green_sleep() -> Callable[[float], object] | None:
    """That of gevent or eventlet, where one is loaded: the green threads of this thread go on only while it sleeps."""
    for name in ("gevent", "eventlet"):
        sleep: Callable[[float], object] | None = getattr(sys.modules.get(name), "sleep", None)
        if sleep is not None:
            return sleep
    return None


# Handlers of fork can't be taken back, so there is one for all recorders.
_recorders: weakref.WeakSet[Recorder] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for recorder in list(_recorders):
        recorder.after_fork()


originals.register_at_fork(after_in_child=_after_fork_in_child)

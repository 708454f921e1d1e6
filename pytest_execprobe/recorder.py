"""The recorder of a run: it keeps the source and the timeline together, and gives out windows.

Nothing of pytest is known here. A run registers once; a window is then two readings of the clock and, when it is read
or closed, one synchronisation.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable
from typing import Protocol

from .attribution import Evidence, Gap, Owner, Span, Timeline
from .client import is_helper
from .errors import ProbeUnavailable, SourceLost
from .events import Source
from .record import ExecRecord, Phase
from .render import Style


class ProcessSource(Source, Protocol):
    """A source that belongs to the process that made it."""

    pid: int

    def in_child(self, timeout: float) -> ProcessSource:
        """For a forked child: a source of its own. Raises SourceLost."""


class Recorder:
    """What a test process's tree executes, test by test.

    ``connect`` makes a source and raises ProbeUnavailable. ``timeout`` is how long, in seconds, a synchronisation waits
    for execs under way, and then for its answer.
    """

    def __init__(self, connect: Callable[[], ProcessSource], *, style: Style, timeout: float) -> None:
        self._connect = connect
        self.style = style
        self._timeout = timeout
        self._source: ProcessSource | None = None
        self._timeline = Timeline()
        self._lost_gap: Gap | None = None
        self._lock = threading.RLock()
        self._test: Owner | None = None
        self._phase: Span | None = None
        self._windows: dict[Phase, RecordedWindow] = {}
        self.attempts_refused: str | None = None
        #: Whether the running test uses its log, so that its forked children will too.
        self.in_use = False
        _recorders.add(self)

    # ---- the source ----

    def ensure(self) -> None:
        """Connects, at first and after the source was lost. Raises ProbeUnavailable."""
        with self._lock:
            if self._source is not None and self._source.pid != os.getpid():
                self._adopt_child()
            if self._source is not None:
                return
            source = self._connect()
            self._source = source
            self.attempts_refused = source.attempts_refused
            timeline = self._timeline
            if self._lost_gap is not None:
                timeline.gaps.remove(self._lost_gap)
                timeline.gaps.append(Gap(self._lost_gap.start, source.armed_at, self._lost_gap.why))
                self._lost_gap = None
            else:
                timeline.armed_at = source.armed_at
                timeline.gaps.append(
                    Gap(
                        0,
                        source.armed_at,
                        "the probe was armed only after that: name execprobe in the test's or the fixture's parameters",
                    )
                )
            if source.unadopted:
                timeline.gaps.append(
                    Gap(
                        source.armed_at,
                        None,
                        f"{source.unadopted} processes that were there before the probe could not be followed",
                    )
                )

    def sync(self) -> None:
        """Takes in everything up to now. What goes wrong becomes a gap, never an exception."""
        with self._lock:
            if self._source is not None and self._source.pid != os.getpid():
                self._adopt_child()
            if self._source is None:
                return
            try:
                self._timeline.add(self._source.sync(self._timeout))
            except SourceLost as error:
                self._lose(str(error))

    def wait(self, timeout: float) -> bool:
        with self._lock:
            if self._source is None or timeout <= 0:
                return False
            try:
                self._timeline.add(self._source.wait(timeout))
            except SourceLost as error:
                self._lose(str(error))
                return False
            return True

    def close(self) -> None:
        with self._lock:
            if self._source is not None:
                self._source.close()
                self._source = None

    def _lose(self, why: str) -> None:
        if self._source is not None:
            self._source.close()
            self._source = None
        self._lost_gap = Gap(
            self._timeline.complete_to, None, f"the probe helper was lost: {why}. The next test gets a new one"
        )
        self._timeline.gaps.append(self._lost_gap)

    # ---- forked children ----

    def after_fork(self) -> None:
        """In a forked child. It becomes a root of its own if its test uses the log: now, before it spawns anything."""
        self._lock = threading.RLock()  # another thread may have held it
        if self._source is not None and self.in_use:
            self._adopt_child()

    def _adopt_child(self) -> None:
        assert self._source is not None
        self._timeline.forget()
        try:
            self._source = self._source.in_child(self._timeout)
        except SourceLost as error:
            self._lose(str(error))
        else:
            self._timeline.armed_at = self._source.armed_at

    # ---- tests, phases, fixtures ----

    def begin_test(self, name: str, *, under_way: bool = False) -> None:
        """``under_way``: it had begun before the probe was armed, so that nobody knows what it ran until then."""
        self._windows = {}
        began = self._timeline.armed_at - 1 if under_way else time.monotonic_ns()
        self._test = Owner(name, is_test=True, began=began)
        self._phase = None

    def begin_phase(self, phase: Phase) -> None:
        """Phases follow each other without a gap, so that an exec between two of them belongs to the second."""
        assert self._test is not None
        start = self._test.began if self._phase is None or self._phase.end is None else self._phase.end
        self._phase = self._timeline.open(self._test, phase, start)
        self._windows[phase] = RecordedWindow(self, self._test, start, f"the {phase} phase")

    def skip_to_call(self) -> None:
        """Of a test that was under way, the call is all that is left: it takes the place of the set-up."""
        assert self._phase is not None
        self._phase.phase = "call"
        self._windows = {"call": RecordedWindow(self, self._test, self._phase.start, "the call phase")}

    def end_phase(self) -> None:
        """The phase's log is final from now on."""
        assert self._phase is not None
        assert self._phase.phase is not None
        end = time.monotonic_ns()
        self._timeline.close(self._phase, end)
        if self.in_use:
            self._windows[self._phase.phase].close(end)

    def end_test(self) -> None:
        assert self._test is not None
        self._test.ended = self._phase.end if self._phase else time.monotonic_ns()
        self.in_use = False
        self.sync()  # so that what this test ran does not pile up in the helper

    def open_fixture(self, name: str) -> Span:
        """A fixture of wider scope than a test is being set up."""
        now = time.monotonic_ns()
        return self._timeline.open(Owner(name, is_test=False, began=now), None, now)

    def close_fixture(self, span: Span) -> None:
        now = time.monotonic_ns()
        span.owner.ended = now
        self._timeline.close(span, now)

    # ---- windows ----

    def current_window(self) -> RecordedWindow:
        """The call's window once there is one, the set-up's before."""
        return self._windows["call"] if "call" in self._windows else self._windows["setup"]

    def phase_window(self, phase: Phase) -> RecordedWindow:
        try:
            return self._windows[phase]
        except KeyError:
            raise RuntimeError(f"the test's {phase} has not begun") from None

    def open_window(self, label: str) -> RecordedWindow:
        return RecordedWindow(self, self._test, time.monotonic_ns(), label)

    def close_window(self, window: RecordedWindow) -> None:
        window.close(time.monotonic_ns())

    def evidence(self, window: RecordedWindow, end: int) -> Evidence:
        return self._timeline.evidence(window.start, end, window.owner, _hidden)


class RecordedWindow:
    """A stretch of one test's time."""

    def __init__(self, recorder: Recorder, owner: Owner | None, start: int, label: str) -> None:
        self._recorder = recorder
        self.owner = owner
        self.start = start
        self.label = label
        self._final: Evidence | None = None

    @property
    def style(self) -> Style:
        return self._recorder.style

    @property
    def attempts_refused(self) -> str | None:
        return self._recorder.attempts_refused

    @property
    def closed(self) -> bool:
        return self._final is not None

    def evidence(self) -> Evidence:
        if self._final is not None:
            return self._final
        now = time.monotonic_ns()
        self._recorder.sync()
        return self._recorder.evidence(self, now)

    def wait(self, timeout: float) -> bool:
        return self._recorder.wait(timeout)

    def close(self, end: int) -> None:
        self._recorder.sync()
        self._final = self._recorder.evidence(self, end)


def _hidden(record: ExecRecord) -> bool:
    """Helpers of other runs, such as that of a pytest which a test starts: how they work is no one's business."""
    above: ExecRecord | None = record
    while above is not None:
        if is_helper(above.argv):
            return True
        above = above._previous or above.parent
    return False


# Handlers of fork can't be taken back, so there is one for all recorders.
_recorders: weakref.WeakSet[Recorder] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for recorder in list(_recorders):
        recorder.after_fork()


os.register_at_fork(after_in_child=_after_fork_in_child)

__all__ = ["ProbeUnavailable", "ProcessSource", "RecordedWindow", "Recorder"]

"""Keeps a source and a timeline together. A source that is lost is a gap in what is known, never an exception."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from types import CodeType
from typing import Any, TypeVar

from .._util import clock, originals
from .._util.collector import postponed
from ..errors import IncompleteLogError, ProbeObstructed, SourceLost
from ..source.doubts import doubts
from ..source.events import Batch, Running, Source
from ..source.stopping import StopError
from . import noting
from .evidence import Gap
from .timeline import Timeline

_ARMED_LATER = "the probe was armed only after that: name execprobe in the test's or the fixture's parameters"
_SLICE = 0.05  # seconds that a wait keeps other threads from reading
_GREEN_SLICE = 0.01  # seconds that a wait leaves to green threads

_FILTER_STAYS = (
    ". By the filter of --execprobe-attempts=seccomp nothing can be executed without it, neither by this process nor"
    " below it (ENOSYS): leave the option out"
)
AnyMethod = TypeVar("AnyMethod", bound=Callable[..., Any])


class Feed:
    """What the source has is added to the timeline."""

    #: What is done about a lost source.
    after_loss = ""

    def __init__(self, timeline: Timeline, source: Source | None) -> None:
        self.timeline = timeline
        self.source = source

    def _add(self, batch: Batch) -> None:
        if not batch.events:
            self.timeline.add(batch)
            return
        with postponed:
            self.timeline.add(batch)

    def take(self, ask: Callable[[float, object], Batch], timeout: float) -> bool:
        """Adds a batch; False if the source is lost. An exception, as that of a signal's handler, may break in: then
        the next batch has what this one had."""
        try:
            self._add(ask(timeout, self.timeline.known.mark))
        except SourceLost as error:
            self._lose(str(error))
            return False
        return True

    def ask_running(self, since: int, timeout: float) -> Running | None:
        """The processes of branches begun ``since`` that have not ended; None without a source."""
        try:
            return None if self.source is None else self.source.running(since, timeout)
        except SourceLost as error:
            self._lose(str(error))
            return None

    def go_blind(self, why: str) -> None:
        """Gives the source up: until there is another, nothing is known."""
        noting.end(self.timeline.calls)
        if self.source is not None:
            self.source.close()
        # In this order: an exception may come in between, and at no moment may there be neither.
        self.timeline.blind = Gap(self.timeline.complete_to, None, why)
        self.timeline.settle()
        self.source = None

    def _lose(self, why: str) -> None:
        self.go_blind(f"the probe helper was lost: {why}{self.after_loss}")


_READS: set[CodeType] = set()


def read(method: AnyMethod) -> AnyMethod:
    """A read, into the middle of which no other may come."""
    _READS.add(method.__code__)
    return method


class ProcessFeed(Feed):
    """That of this process, or of a forked child. ``connect`` makes a source and raises ProbeUnavailable."""

    after_loss = ". The next test gets a new one"

    def __init__(self, connect: Callable[[], Source], timeline: Timeline, timeout: float) -> None:
        super().__init__(timeline, None)
        self._connect = connect
        self.timeout = timeout
        self.lock = originals.RLock()
        #: From when on everything is recorded, ns; 0 before there was a source.
        self.since = 0
        self.attempts_refused: str | None = None
        #: What the helper says of itself.
        self.description: Mapping[str, Any] = {}
        #: Whether no one sees when an exec is entered: not before its process was seen outside of one.
        self.traces = False
        #: Whether the running test uses its log, so that its forked children will too.
        self.in_use = False
        self._obstructed = False
        self._stopping: tuple[Source | None, frozenset[str], int] = (None, frozenset(), 0)
        timeline.blind = Gap(0, None, _ARMED_LATER)

    @property
    def was_armed(self) -> bool:
        """Whether there has ever been a source, or would have been but for another process: what is not known then
        must not pass."""
        return self.timeline.armed_at != 0 or self._obstructed

    @property
    def sees(self) -> bool:
        """Whether there is nothing to be done for it to have a source."""
        source = self.source
        return source is not None and self.timeline.blind is None and source.pid == originals.getpid()

    def ensure(self) -> None:
        """Connects, at first and after the source was lost. Raises ProbeUnavailable."""
        with self.lock:
            if self.source is not None and self.source.pid != originals.getpid():
                self._adopt_child(self.source)
            if self.source is None:
                try:
                    self.source = self._connect()
                except ProbeObstructed as error:
                    self._obstruct(str(error).removeprefix("execprobe: "))
                    raise
            elif self.timeline.blind is None:
                return
            source = self.source
            self.attempts_refused, self.description = source.attempts_refused, source.description
            self.traces = self.description.get("backend") == "ptrace"
            if self.description.get("attempts") == "seccomp":
                self.after_loss = _FILTER_STAYS
            self.timeline.armed_at = self.timeline.armed_at or source.armed_at
            now = clock.monotonic_ns()
            self.since = self.since or now
            self._see_again(source, now)

    def _obstruct(self, why: str) -> None:
        self._obstructed = True
        if self.timeline.blind is not None:
            self.timeline.blind = Gap(self.timeline.blind.start, None, f"there was no probe: {why}")

    def _see_again(self, source: Source, now: int) -> None:
        noting.begin(self.timeline.calls)
        blind = self.timeline.blind
        for why in doubts(source):
            self.timeline.add_gap(Gap(source.armed_at, None, why))
        if blind is not None:
            # Not only up to armed_at: what was there before has been adopted since.
            self.timeline.add_gap(Gap(blind.start, now, blind.why))
            self.timeline.blind = None

    def is_quiet(self, start: int, end: int) -> bool:
        """Whether it is certain that nothing of the tree was executed from ``start`` to before ``end``, which has
        passed. False where that takes a closer look."""
        self.refuse_nested()
        with self.lock:
            if self.timeline.is_calm(start) and (self.timeline.quiet_to >= end or self._shows_nothing_new(end)):
                return True
        if not self.knows(end):
            self.sync()
        with self.lock:
            return self.timeline.is_quiet(start, end)

    def knows(self, until: int) -> bool:
        """Whether everything up to a moment that has passed is here, so that there is no need to ask: because the
        source has said so, or because memory shows that nothing has happened since it did."""
        with self.lock:
            timeline = self.timeline
            if timeline.complete_to >= until:
                return timeline.known.late is None
            return not timeline.known.has_pending and self._shows_nothing_new(until)

    def _shows_nothing_new(self, until: int) -> bool:
        source, timeline = self.source, self.timeline
        if source is None or source.pid != originals.getpid():
            return False
        is_here = source.shows_nothing_new(until, timeline.known.mark)
        if is_here:
            timeline.quiet_to = until
        return is_here

    @read
    def sync(self) -> None:
        """Takes in everything up to now."""
        self.refuse_nested()
        with self.lock:
            if self.source is not None and self.source.pid != originals.getpid():
                self._adopt_child(self.source)
            if self.source is not None:
                self.take(self.source.sync, self.timeout)

    @read
    def wait(self, timeout: float) -> bool:
        """Until something new is there, or for a moment: other threads want to read, too. False if nothing can come."""
        sleep = _green_sleep()
        self.refuse_nested()
        with self.lock:
            patience = 0.0 if sleep is not None else min(timeout, _SLICE)
            can_come = self.source is not None and self.take(self.source.wait, patience)
        if can_come and sleep is not None:
            sleep(min(timeout, _GREEN_SLICE))
        return can_come

    # ---- what is stopped before it runs ----

    @property
    def stopping(self) -> frozenset[str]:
        """The names and paths of what is killed before it runs, as :meth:`stop` has last said."""
        return self._stopping[1] if self.is_own and self._stopping[0] is self.source else frozenset()

    @read
    def stop(self, patterns: frozenset[str], since: int, *, anew: bool = False) -> None:
        """Has what goes by these names and paths killed before it runs, and nothing else any more: execs that are
        entered from when this returns on. Branches that were begun before ``since`` (ns) count while their top process
        lives. ``anew``: the files at these paths are those of now, and else can be those of an earlier call. Raises
        StopError."""
        self.refuse_nested()
        with self.lock:
            if not patterns and not self.stopping:
                return
            if self.source is not None and self.source.pid != originals.getpid():
                self._adopt_child(self.source)
            anew = anew and any("/" in pattern for pattern in patterns)
            if self.stopping and self._stopping[1:] == (patterns, since) and not anew:
                return
            if (anew or patterns - self.stopping) and self.source is not None:
                self.take(self.source.sync, self.timeout)  # no exec that was entered before is to be stopped by these
            if self.source is None:
                raise StopError("the probe helper was lost")
            self._stopping = (None, frozenset(), 0)  # not known, should an exception break in
            try:
                self.source.stop(sorted(patterns), since, self.timeout)
            except SourceLost as error:
                self._lose(str(error))
                raise StopError(f"the probe helper was lost: {error}") from error
            self._stopping = (self.source, patterns, since)

    def refuse_nested(self) -> None:
        """A handler of a signal may read a log, but not in the middle of a read: that could not go on."""
        if not self.lock._is_owned():  # type: ignore[attr-defined]
            return  # no read is in the middle, and to look for one takes as long as all else
        frame = originals.frame(1).f_back  # of what calls the read that is to begin
        while frame is not None:
            if frame.f_code in _READS and frame.f_locals.get("self") is self:
                raise IncompleteLogError(
                    "a log was read by what broke into a read of it, such as a signal's handler: read it when that is"
                    " over"
                )
            frame = frame.f_back

    # ---- forked children ----

    def after_fork(self) -> None:
        """In a forked child. It becomes a root of its own if its test uses the log: now, before it spawns anything."""
        self.lock = originals.RLock()  # another thread may have held it
        if self.source is not None and self.in_use:
            self._adopt_child(self.source, fresh=True)

    @property
    def is_own(self) -> bool:
        """Whether there is a source, and it is this process's, and not its parent's."""
        return self.source is not None and self.source.pid == originals.getpid()

    def _adopt_child(self, source: Source, *, fresh: bool = False) -> None:
        forked = Gap(0, None, "the test's process was forked, and registered only after that")
        self.timeline.blind = None if fresh else forked
        self.timeline.forget()
        try:
            self.source = source.in_child(fresh=fresh, timeout=self.timeout)
        except SourceLost as error:
            self._lose(str(error))
        else:
            self.timeline.armed_at = self.source.armed_at
            self._see_again(self.source, clock.monotonic_ns())


def _green_sleep() -> Callable[[float], object] | None:
    """That of gevent or eventlet, where one is loaded: the green threads of this thread go on only while it sleeps."""
    for name in ("gevent", "eventlet"):
        sleep: Callable[[float], object] | None = getattr(sys.modules.get(name), "sleep", None)
        if sleep is not None:
            return sleep
    return None

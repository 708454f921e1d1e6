"""What is read of a timeline: the evidence of a stretch of time."""

from __future__ import annotations

from collections.abc import Callable

from .._util import clock
from .._util.collector import postponed
from .._util.text import Style
from ..source.command import Command
from ..source.events import Source
from .evidence import NOTHING, Evidence
from .feed import ProcessFeed, read
from .record import ExecRecord
from .spans import Owner
from .timeline import Timeline


class Readable(ProcessFeed):
    """A feed of which windows are read. ``style`` is how their logs are printed; what ``ignores`` says true of is in
    none of them."""

    def __init__(
        self,
        connect: Callable[[], Source],
        timeline: Timeline,
        timeout: float,
        style: Style,
        ignores: Callable[[ExecRecord], bool] | None,
    ) -> None:
        super().__init__(connect, timeline, timeout)
        self.style = style
        self.ignores = ignores

    def is_ignored(self, record: ExecRecord) -> bool:
        return self.ignores is not None and self.ignores(record)

    @read
    def evidence(self, window: RecordedWindow, end: int) -> Evidence:
        self.refuse_nested()
        with self.lock:
            timeline = self.timeline
            state = timeline.state(end)
            if window.last is not None and state is not None and window.last[:2] == (timeline, state):
                last, losses = window.last[2], timeline.losses(window.start, end)
                if (last.unknown, last.gaps) == (losses.unknown, losses.gaps):
                    return last
            with postponed:
                evidence = timeline.evidence(window.start, end, window.owner, self.ignores)
            window.last = timeline, state, evidence
            return evidence

    @read
    def tally(self, window: RecordedWindow, end: int) -> tuple[list[Command], Evidence]:
        self.refuse_nested()
        with self.lock:
            return self.timeline.tally(window.start, end, window.owner)


class RecordedWindow:
    """A stretch of time, whose execs a log shows. It is closed once it has an end, and never changes after it was first
    read then. ``label`` is what it is, as in "2 execs in the call phase"."""

    #: What was seen in it last, while it is open, and by what state of which timeline.
    last: tuple[Timeline, object, Evidence] | None = None
    _final: Evidence | None = None

    def __init__(self, feed: Readable, owner: Owner | None, start: int, label: str, end: int | None = None) -> None:
        self._feed = feed
        self.owner = owner
        self.start = start
        self.label = label
        self.end = end

    @property
    def style(self) -> Style:
        return self._feed.style

    @property
    def attempts_refused(self) -> str | None:
        """Why failed attempts are not recorded, None if they are."""
        return self._feed.attempts_refused

    @property
    def closed(self) -> bool:
        return self.end is not None

    @property
    def is_final(self) -> bool:
        return self._final is not None

    def evidence(self) -> Evidence:
        """What is known, after synchronising with the kernel if it is still open."""
        if self._final is not None:
            return self._final
        end = clock.monotonic_ns() if self.end is None else self.end
        evidence = NOTHING if self._feed.is_quiet(self.start, end) else self._feed.evidence(self, end)
        if self.end is not None:
            self._final, self.last = evidence, None
        return evidence

    @property
    def is_quiet(self) -> bool:
        """Of a closed one: whether it is certain that nothing was executed in it, by whatever process of the tree.
        False where that takes a closer look."""
        assert self.end is not None
        if self._final is None and self._feed.is_quiet(self.start, self.end):
            self._final, self.last = NOTHING, None
        return self._final is NOTHING

    def tally(self) -> tuple[list[Command], Evidence]:
        """The commands of all records, and what is missing from it. It makes no record for that."""
        if self._final is not None or self._feed.ignores is not None:
            evidence = self.evidence()
            return evidence.commands, evidence
        end = clock.monotonic_ns() if self.end is None else self.end
        return ([], NOTHING) if self._feed.is_quiet(self.start, end) else self._feed.tally(self, end)

    def wait(self, timeout: float) -> bool:
        """Until something new may be there, at most so many seconds; False if nothing can come any more."""
        return self._feed.wait(timeout)

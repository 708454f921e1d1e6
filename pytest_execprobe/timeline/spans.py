"""Tests and wider fixtures, and the stretches of time that are theirs."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, NamedTuple

from .record import Phase


@dataclass(eq=False)
class Owner:
    """A test (with its phases), or a fixture of wider scope than a test."""

    name: str
    is_test: bool
    began: int
    ended: int | None = None
    #: What reports and baselines know it by, if not by its name.
    key: str = ""
    #: What whoever has made it keeps with it: here, for an object more of each test would cost its time. Of a test
    #: pytest's item, and of its phases the judge of its rules.
    held: Any = None
    judge: Any = None
    #: Whether what it runs is run around the phases of a test, which have an owner of their own.
    is_around: bool = False

    @property
    def id(self) -> str:
        return self.key or self.name

    @property
    def attempt(self) -> str:
        """Tells a try of a test from its others."""
        return str(self.began)


@dataclass(eq=False, slots=True)
class Span:
    """A stretch of time that belongs to an owner. Spans nest, and the innermost counts."""

    owner: Owner
    start: int
    end: int | None
    phase: Phase | None
    outer: Span | None

    def covers(self, time: int) -> bool:
        return self.start <= time and (self.end is None or time < self.end)


class Stretch(NamedTuple):
    """From ``start`` to before ``end`` the same span is the innermost."""

    span: Span | None
    start: int
    end: int


NO_STRETCH = Stretch(None, 0, 0)
_NEVER = 1 << 64
_START = attrgetter("start")


@dataclass(eq=False)
class Spans:
    """All spans of a timeline, in the order in which they were opened."""

    _all: list[Span] = field(default_factory=list)
    _current: Span | None = None

    def __len__(self) -> int:
        return len(self._all)

    def open(self, owner: Owner, phase: Phase | None, start: int) -> Span:
        span = Span(owner, start, None, phase, self._current)
        self._all.append(span)
        self._current = span
        return span

    def close(self, span: Span, end: int) -> None:
        span.end = end
        self._current = span.outer

    @property
    def is_in_test(self) -> bool:
        """Whether a test is running."""
        span = self._current
        while span is not None and not span.owner.is_test:
            span = span.outer
        return span is not None

    def at(self, time: int) -> Stretch:
        """The stretch around a moment, with the innermost span that covers it."""
        index = self._last_before(time) + 1
        span = self._all[index - 1] if index else None
        start = span.start if span else 0
        end = self._all[index].start if index < len(self._all) else _NEVER
        while span is not None and not span.covers(time):
            if span.start <= time:
                start = max(start, span.end or 0)
            span = span.outer
        if span is not None and span.end is not None:
            end = min(end, span.end)
        return Stretch(span, start, end)

    def only_owner(self, born: int, ended: int | None) -> Owner | None:
        """The test whose a branch is alone: it has begun it, and the branch's top had ended when it did. ``born`` is 0
        where the branch was there before; ``ended`` is None where its top has not."""
        span = self.at(born).span if born else None
        owner = None if span is None or not span.owner.is_test else span.owner
        if owner is None or owner.ended is None or ended is None or ended > owner.ended:
            return None
        return owner

    def _last_before(self, time: int) -> int:
        return bisect_right(self._all, time, key=_START) - 1

    def lighter(self, since: int, births: Iterable[int], until: int) -> Spans:
        """Those that are open, that began ``until`` then, or in which a branch was born; and all of ``since``."""
        first, of_branches = self._last_before(since), set(map(self._last_before, births))
        kept = [
            span
            for index, span in enumerate(self._all)
            if index >= first or index in of_branches or span.start <= until or span.end is None
        ]
        return Spans(kept, self._current)

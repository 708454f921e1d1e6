"""Interleaved runs, and the medians and ranges of what they took.

Machines are shared and noisy. So what is compared runs in turn, and the median of the pairs' ratios or differences
counts, shown with the least and the greatest of them.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeVar

#: The series that the others are compared with: no probe is attached, and no plugin loaded.
BARE = "bare"

#: The unit of ratios.
TIMES = "\N{MULTIPLICATION SIGN}"

#: One run: what it took, by the name of a line.
Run = Callable[[], Mapping[str, float]]


_Of = TypeVar("_Of")
_Made = TypeVar("_Made")


class Trouble(Exception):
    """Why something could not be measured."""


class Figure(NamedTuple):
    median: float
    low: float
    high: float
    count: int


def figure(samples: Sequence[float]) -> Figure:
    return Figure(statistics.median(samples), min(samples), max(samples), len(samples))


@dataclass(frozen=True)
class Line:
    """What was measured of one thing: samples of each series, the n-th of each taken side by side.

    ``form`` says what a series' figure is: its ratio to bare, what it takes beyond bare, or as it is.
    """

    title: str
    unit: str
    samples: Mapping[str, Sequence[float]]
    form: Literal["ratio", "beyond", "plain"] = "plain"

    def bare(self) -> Figure | None:
        return figure(self.samples[BARE]) if BARE in self.samples else None

    def figures(self) -> dict[str, Figure]:
        return {series: figure(self._compared(series)) for series in self.samples if series != BARE}

    def share(self, series: str, of: str) -> Figure | None:
        """A series' part of another's. None of a ratio, for a part of it means nothing, and where one is missing."""
        if self.form == "ratio" or self.unit == TIMES or not {series, of} <= set(self.samples):
            return None
        pairs = list(zip(self._compared(series), self._compared(of), strict=True))
        return figure([one / other for one, other in pairs]) if all(other > 0 for _, other in pairs) else None

    def _compared(self, series: str) -> list[float]:
        samples = self.samples[series]
        if self.form == "plain":
            return list(samples)
        pairs = zip(samples, self.samples[BARE], strict=True)
        return [one / bare if self.form == "ratio" else one - bare for one, bare in pairs]


@dataclass(frozen=True)
class Taken:
    """The samples of a row, by the name of a line and by series; and why a series has none."""

    lines: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


def prepare(
    series: Mapping[str, _Of], make: Callable[[_Of], _Made], needed: str
) -> tuple[dict[str, _Made], dict[str, str]]:
    """What is made for each, and why it could not be, unless that is needed."""
    made: dict[str, _Made] = {}
    failed = {}
    for name, one in series.items():
        try:
            made[name] = make(one)
        except Trouble as trouble:
            if name == needed:
                raise
            failed[name] = str(trouble)
    return made, failed


def interleave(pairs: int, series: Mapping[str, Run], needed: Iterable[str]) -> Taken:
    """Runs all series in turn, so many times, each time another first.

    One that can't be run is left out with all that it took before, unless it is needed.
    """
    taken, failed = {name: list[Mapping[str, float]]() for name in series}, {}
    needed = frozenset(needed)
    for pair in range(pairs):
        names = list(taken)
        first = pair % len(names)
        for name in names[first:] + names[:first]:
            try:
                taken[name].append(series[name]())
            except Trouble as trouble:
                if name in needed:
                    raise
                failed[name] = str(trouble)
                del taken[name]
    lines: dict[str, dict[str, list[float]]] = {}
    for name, runs in taken.items():
        for run in runs:
            for line, value in run.items():
                lines.setdefault(line, {}).setdefault(name, []).append(value)
    return Taken(lines, failed)

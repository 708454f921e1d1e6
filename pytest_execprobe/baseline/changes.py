"""How a run and a baseline differ. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from .model import Baseline, Limit, Section

#: Section, name, row: how often a run has used it.
Uses = Mapping[str, Mapping[str, Mapping[str, int]]]


@dataclass(frozen=True)
class Seen:
    """What a run has to say of a test, a fixture or the collection."""

    usage: Mapping[str, int]
    #: How much of it was left behind detached, and so is a matter of chance.
    by_chance: Mapping[str, int] = field(default_factory=dict)
    #: Whether it ran to its end as it should have, and all of it is known. Else its rows are added and raised alone.
    whole: bool = True


@dataclass
class Changes:
    """What an update has done: (table, row) of each."""

    new: list[tuple[str, str]] = field(default_factory=list)
    raised: list[tuple[str, str]] = field(default_factory=list)
    lowered: list[tuple[str, str]] = field(default_factory=list)
    gone: list[tuple[str, str]] = field(default_factory=list)
    #: Tables whose test has another name now: (old, new).
    renamed: list[tuple[str, str]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return any((self.new, self.raised, self.lowered, self.gone, self.renamed))


def renames(baseline: Baseline, section: Section, obsolete: Iterable[str], seen: Mapping[str, Seen]) -> dict[str, str]:
    """Which obsolete tables seem to speak of something that is new: the same programs, and a file or a last name in
    common. One that could be several is none."""
    tables = baseline.sections.get(section, {})
    fresh = {name: what for name, what in seen.items() if what.usage and baseline.table(section, name) is None}
    found: dict[str, list[str]] = {}
    for old in obsolete:
        limits = tables[old].limits
        for new, what in fresh.items():
            file, _, last = new.rpartition("::")
            alike = old.rpartition("::")[2] == last or old.partition("::")[0] == file.partition("::")[0]
            if (
                alike
                and set(what.usage) == set(limits)
                and not any(_beyond(limits[k], n) for k, n in what.usage.items())
            ):
                found.setdefault(old, []).append(new)
    taken = Counter(new for news in found.values() for new in news)
    return {old: news[0] for old, news in found.items() if len(news) == 1 and taken[news[0]] == 1}


def _beyond(limit: Limit, count: int) -> bool:
    return limit.most is None or count > limit.most

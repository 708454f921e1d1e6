"""How a run and a baseline differ. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from .._util.text import printable
from ..log.checks import execs
from .model import Baseline, Limit, Section, few

#: Section, name, row: how often a run has used it.
Uses = Mapping[str, Mapping[str, Mapping[str, int]]]


@dataclass(frozen=True)
class Seen:
    """What a run has to say of a test, a fixture or the collection."""

    #: 0 of a row that has only what is below the top of its subtree.
    usage: Mapping[str, int]
    #: How much of it was left behind detached, and so is a matter of chance.
    by_chance: Mapping[str, int] = field(default_factory=dict)
    #: The rows of what ran, and no rule looks at: nothing was learnt about them.
    left_out: Mapping[str, int] = field(default_factory=dict)
    #: Whether it ran to its end as it should have, and all of it is known. Else its rows are added and raised alone.
    whole: bool = True


@dataclass
class Changes:
    """What an update has done: (table, row) of each."""

    new: list[tuple[str, str]] = field(default_factory=list)
    raised: list[tuple[str, str]] = field(default_factory=list)
    lowered: list[tuple[str, str]] = field(default_factory=list)
    gone: list[tuple[str, str]] = field(default_factory=list)
    #: Those that were kept, because what they are about is not looked at.
    kept: list[tuple[str, str]] = field(default_factory=list)
    #: Tables whose test has another name now: (old, new).
    renamed: list[tuple[str, str]] = field(default_factory=list)


def renames(baseline: Baseline, section: Section, obsolete: Iterable[str], seen: Mapping[str, Seen]) -> dict[str, str]:
    """Which obsolete tables seem to be about something that is new: the same programs, and a file or a last name in
    common. One that could be several is none."""
    tables = baseline.sections.get(section, {})
    fresh = {
        name: what
        for name, what in seen.items()
        if (any(what.usage.values()) or what.left_out) and baseline.table(section, name) is None
    }
    found: dict[str, list[str]] = {}
    for old in obsolete:
        limits = tables[old].limits
        for new, what in fresh.items():
            file, _, last = new.rpartition("::")
            alike = old.rpartition("::")[2] == last or old.partition("::")[0] == file.partition("::")[0]
            if (
                alike
                and {key for key, count in what.usage.items() if count} <= set(limits)
                and set(limits) <= {*what.usage, *what.left_out}
                and not any(_beyond(limits[k], n) for k, n in what.usage.items())
            ):
                found.setdefault(old, []).append(new)
    taken = Counter(new for names in found.values() for new in names)
    return {old: names[0] for old, names in found.items() if len(names) == 1 and taken[names[0]] == 1}


def _beyond(limit: Limit, count: int) -> bool:
    return limit.most is None or count > limit.most


def moved(
    used: Mapping[str, Mapping[str, Mapping[str, int]]], baseline: Baseline, whole: Collection[str]
) -> Iterator[str]:
    """Rows that some tests exceed by as much as others, which ran as a ``whole``, fall short of them."""
    section: Section = "tests"
    if not baseline.has(section):
        return
    more: dict[str, dict[str, int]] = {}
    less: dict[str, dict[str, int]] = {}
    for name, counts in used.get(section, {}).items():
        rows = baseline.rows(section, name).limits
        is_own = name in whole and baseline.table(section, name) == name  # else others may use the rest of a row
        for key in {**rows, **counts}:
            limit, count = rows.get(key), counts.get(key, 0)
            most = 0 if limit is None else limit.most
            if most is not None and count > most:
                more.setdefault(key, {})[name] = count - most
            elif limit and most is not None and count < most and limit.least is None and is_own:
                less.setdefault(key, {})[name] = most - count
    for key in sorted(more.keys() & less.keys()):
        number = sum(more[key].values())
        if number == sum(less[key].values()):
            less_here, more_here = (few(map(printable, names[key])) for names in (less, more))
            yield (
                f"{key} ({execs(number)}) from {less_here} to {more_here}: if it runs once a process, in"
                f' whichever test is first, write everywhere = ["{key}"] in {baseline.path.name}, for an update would'
                " only move it"
            )

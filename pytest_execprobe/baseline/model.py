"""What a baseline says, and what is beyond it. Pure."""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from .._util import originals
from .._util.text import printable
from ..log.checks import execs, times_word
from ..log.matching import literal
from ..log.pattern import Match, Pattern, Side, any_match
from ..log.patterns import compile_pattern
from ..timeline.evidence import Evidence
from ..timeline.kinds import Answers
from ..timeline.record import ExecRecord

#: What a table of rows is about; the first three are names of sections in the file, too.
Section = Literal["tests", "fixtures", "around"]
#: The row of programs whose names could not be read. A program of this name has another.
NAMELESS = "?"
SECTIONS: tuple[Section, ...] = ("tests", "fixtures", "around")
#: How the headline of what is beyond a baseline begins.
BEYOND = "beyond the baseline"
#: What is not known where something is missing.
WITHIN = "whether only what the baseline has ran"
_FEW = 3  # names that stand for many

COLLECTION = "collection"
#: Between tests: in hooks of conftest files and plugins, or by what tests left running.
OUTSIDE = "outside of tests"


@dataclass(frozen=True)
class Limit:
    """How often a program may run. ``least`` is no demand: below it, an update leaves the row alone as unstable."""

    most: int | None
    least: int | None = None

    def __str__(self) -> str:
        return "any number" if self.most is None else f"at most {self.most}"


@dataclass(frozen=True)
class Rows:
    """What a test may run, by program name or pattern, in the order of the file."""

    limits: Mapping[str, Limit]
    #: What each key stands for by itself.
    alone: Mapping[str, Pattern] = field(default_factory=dict)
    #: Those whose key is more than a name.
    patterns: tuple[tuple[str, Pattern], ...] = ()
    #: What needs no row here.
    free: tuple[Pattern, ...] = ()


@dataclass(frozen=True)
class Sums:
    """Limits of a sum: of the run as a whole, or of all tests of a package. What they do not name is not limited."""

    name: str
    at_most: int | None
    programs: Rows


@dataclass(frozen=True)
class Excess:
    """A row that was exceeded, or with ``holds`` None one of which that is not known.

    ``key`` is the row's, None where it is the number of all programs together, or an exec of unknown name.
    """

    key: str | None
    ran: int
    limit: int | None  # None: there is no such row
    holds: bool | None
    marked: tuple[ExecRecord, ...] = ()

    @property
    def what(self) -> str:
        """In words."""
        if self.holds is None:
            return f"whether {self.key} ran at most {times_word(self.limit or 0)}" if self.key else "whether more ran"
        if self.key is None:
            return f"{execs(self.ran)}, at most {self.limit} allowed"
        if self.limit is None:
            return f"new: {self.key} ran {times_word(self.ran)}"
        return f"grew: {self.key} ran {times_word(self.ran)}, at most {times_word(self.limit)} in the baseline"


@dataclass(frozen=True)
class Baseline:
    """What the file says."""

    path: Path
    #: Glob of a program's name -> the name that rows have.
    aliases: Mapping[str, str] = field(default_factory=dict)
    #: May run anywhere, and need no row.
    everywhere: tuple[Pattern, ...] = ()
    #: What they match has a row of theirs, instead of one by its name.
    patterns: tuple[tuple[str, Pattern], ...] = ()
    #: None where the file has no such section: then they are not limited one by one.
    sections: Mapping[Section, Mapping[str, Rows]] = field(default_factory=dict)
    sums: tuple[Sums, ...] = ()

    @property
    def limits_nothing(self) -> bool:
        return not self.sections and not self.sums

    def has(self, section: Section) -> bool:
        """Whether each test (or fixture, or the collection) is limited by itself."""
        return section in self.sections

    def rows(self, section: Section, name: str) -> Rows:
        """Those of a test: of the table with its node id, else of the longest whose ``*`` fits. Without any, nothing
        may run."""
        key = self.table(section, name)
        rows = _NOTHING if key is None else self.sections[section][key]
        return replace(rows, free=PYTHONS_OWN) if section == "around" else rows

    def table(self, section: Section, name: str) -> str | None:
        """The name of a test's table."""
        tables = self.sections.get(section, {})
        name = table_name(name)
        if name in tables:
            return name
        return max((key for key in tables if is_wildcard(key) and covers(key, name)), key=len, default=None)

    @property
    def tables(self) -> list[Rows]:
        """The rows of each test, fixture and the like."""
        return [rows for section in self.sections.values() for rows in section.values()]

    def names(self, program: str, rows: Rows) -> list[Limit]:
        """The limits that are about a program, as far as its name tells."""
        known = {program, self.alias(program)}
        return [limit for key, limit in rows.limits.items() if any(_may_be_about(key, name) for name in known)]

    # ---- rows of records ----

    def alias(self, program: str) -> str:
        """The name that rows have for a program."""
        return next((name for known, name in self.aliases.items() if fnmatchcase(program, known)), program)

    def usage(self, evidence: Evidence, rows: Rows) -> Usage:
        """How often each row was used, of ``rows`` or of those that an update would add to them."""
        patterns = [pattern for _, pattern in (*rows.patterns, *self.patterns)] + [*self.everywhere, *rows.free]
        kinds = evidence.kinds(in_tree=any(pattern.looks_up for pattern in patterns) or _look_up(rows))
        found = kinds.ask(lambda record: self._row_of(record, rows))
        usage = Usage(Counter(), Counter(), found)
        for (key, doubtful, is_counted), number in zip(found.of_kinds, kinds.counts, strict=True):
            if key is not None:
                usage.counts[key] += number if is_counted else 0
            usage.unsure.update(dict.fromkeys(doubtful, number))
        return usage

    def accepted(self, evidence: Evidence, rows: Rows) -> Usage:
        """The same for an update: what a row of zero forbids has raised that, and then another one has it, be it by
        chance one that forbids, too."""
        raised: dict[str, int] = {}
        while True:
            usage = self.usage(evidence, rows)
            forbidden = (key for key, limit in rows.limits.items() if limit.most == 0)
            more = {key: usage.counts[key] for key in forbidden if usage.counts[key]}
            if not more:
                for key, count in raised.items():
                    usage.counts[key] = max(count, usage.counts[key])
                return usage
            raised |= more
            rows = replace(rows, limits={**rows.limits, **{key: Limit(count) for key, count in more.items()}})

    def _row_of(self, record: ExecRecord, rows: Rows) -> tuple[str | None, set[str], bool]:
        """The row that has an exec, if it is certain that there is one, those for which it may count, and whether it
        counts: what is below the top of a subtree has a row and does not."""
        # Rows of zero forbid, whatever else may run, has a row or another name: they come first.
        against = {key: self._counts_for(key, rows, record) for key, limit in rows.limits.items() if limit.most == 0}
        broken = next((key for key, match in against.items() if match is True), None)
        doubtful = {key for key, match in against.items() if match is None}
        free = any_match((*self.everywhere, *rows.free), record, Side.ALLOW)
        if broken is not None or free is True:
            return broken, set() if broken else doubtful, True
        candidates: list[tuple[str, Pattern | None]] = []
        certain = free is False and record.program is not None
        free_of_rows = {pattern.text for pattern in (*self.everywhere, *rows.free)}
        for key, listed in (*rows.patterns, *self.patterns):
            if listed.text in free_of_rows:
                continue  # what it matches needs no row
            match = listed.match(record, Side.ALLOW)
            if match is not False:
                candidates.append((key, listed))
            certain = certain and match is not None
            if match is True:
                break
        else:
            name = NAMELESS if record.program is None else row_key(_written(self.alias(record.program)))
            candidates.append((name, None))
        key, pattern = candidates[0]
        top = _is_top(record, pattern, Side.ALLOW)
        if not certain or top is None:
            return None, doubtful | {key for key, _ in candidates}, True
        return key, doubtful, top

    def beyond(self, rows: Rows, evidence: Evidence) -> list[Excess]:
        """What some rows do not allow, certain excesses first."""
        usage = self.usage(evidence, rows)
        found = []
        for key in sorted({*usage.counts, *usage.unsure}):
            limit = rows.limits.get(key)
            listed, most = (None, 0) if limit is None else (limit.most, limit.most)
            if most is None:
                continue
            ran, may = usage.counts[key], usage.counts[key] + usage.unsure[key]
            if ran > most:
                found.append(Excess(key, ran, listed, False, usage.marked(key)[most:]))
            elif may > most:
                found.append(Excess(key, may, listed, None))
        if evidence.missing != 0 and not found:
            found.append(Excess(None, len(evidence.records), None, None))
        return sorted(found, key=lambda excess: excess.holds is None)

    def beyond_sums(self, sums: Sums, evidence: Evidence) -> list[Excess]:
        """What limits of a sum do not allow, certain excesses first."""
        found = []
        low = len(evidence.records) + evidence.surely_lost
        most = sums.at_most
        if most is not None and low > most:
            found.append(Excess(None, low, most, False, evidence.records[most:]))
        for key, limit in sums.programs.limits.items():
            if limit.most is None:
                continue
            # Each by itself, whatever else may run anywhere or has rows of its own: here they forbid.
            in_tree = key != NAMELESS and sums.programs.alone[key].looks_up
            matches = evidence.kinds(in_tree=in_tree).ask(functools.partial(self._counts_for, key, sums.programs))
            ran = matches.count(True)
            if ran > limit.most:
                found.append(Excess(key, ran, limit.most, False, matches.those(True)[limit.most :]))
            elif evidence.missing is None or ran + matches.count(None) + evidence.missing > limit.most:
                found.append(Excess(key, ran, limit.most, None))
        high = None if evidence.missing is None else len(evidence.records) + evidence.missing
        if most is not None and low <= most and (high is None or high > most):
            found.append(Excess(None, low, most, None))
        return sorted(found, key=lambda excess: excess.holds is None)

    def _counts_for(self, key: str, rows: Rows, record: ExecRecord) -> Match:
        """Whether an exec counts for a row by itself, as one of a sum or one that forbids."""
        if key == NAMELESS:
            return record.program is None
        if record.program is not None and key in (record.program, row_key(_written(self.alias(record.program)))):
            return True
        pattern = rows.alone[key]
        match, top = pattern.match(record), _is_top(record, pattern, Side.FIND)
        return False if match is False or top is False else None if match is None or top is None else True


@dataclass
class Usage:
    """How often each row was used for certain, and how often besides that may have been."""

    #: 0 where a row has only what is below the top of its subtree.
    counts: Counter[str]
    unsure: Counter[str]
    _rows: Answers[tuple[str | None, set[str], bool]]

    def marked(self, key: str) -> tuple[ExecRecord, ...]:
        """The records that have used a row for certain."""
        return Answers(self._rows.kinds, [row if counted else None for row, _, counted in self._rows.of_kinds]).those(
            key
        )


def _look_up(rows: Rows) -> bool:
    """Whether a row that forbids asks what is above an exec."""
    return any(limit.most == 0 and key != NAMELESS and rows.alone[key].looks_up for key, limit in rows.limits.items())


_NOTHING = Rows({})
# platform.processor() asks it, once in a process: in each worker of pytest-xdist, and only there, before it collects.
PYTHONS_OWN = (compile_pattern("argv:uname -p"),)


def row_key(name: str) -> str:
    """The key of a program's row: its name, or where that would be read as something else, an ``argv:`` pattern."""
    try:
        if compile_pattern(name, of_file=True).name == name:
            return name
    except ValueError:
        pass
    return f"argv:{originals.quote(literal(name))}"


def _written(name: str) -> str:
    """A name without control characters and bytes that are no text, which no other name has: where a backslash could be
    taken for that of such a character it is doubled."""
    text = printable(name)
    if "\\" in name and (text != name or _LIKE_A_CHARACTER.search(name)):
        return printable(name.replace("\\", "\\\\"))
    return text


_LIKE_A_CHARACTER = re.compile(r"\\(?:[tnr]|x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})")


def is_pattern(key: str) -> bool:
    """Whether a row's key is more than a name."""
    return key != NAMELESS and ("/" in key or compile_pattern(key, of_file=True).name != key)


def _may_be_about(key: str, program: str) -> bool:
    """Whether a row may be one of a program, of which no more than its name is known. That is not asked of rows which
    say nothing of a name: of all programs, of a folder, and regular expressions."""
    *_, pattern = key.split("subtree:")
    if pattern.startswith("argv:"):
        pattern = originals.split(pattern.removeprefix("argv:"))[0]
    name = pattern.rpartition("/")[2]
    return key in (program, row_key(program)) or (name.strip("*") != "" and fnmatchcase(program, name))


def _is_top(record: ExecRecord, pattern: Pattern | None, side: Side) -> Match:
    """Whether an exec counts for a pattern's row: of a subtree only its top does, for what a tool runs is its own."""
    if pattern is None or not pattern.text.startswith("subtree:"):
        return True
    above = [ancestor for ancestor in (record.parent, record._lineage.previous) if ancestor is not None]
    matches = [pattern.match(ancestor, side) for ancestor in above]
    if any(match is True for match in matches):
        return False
    return None if record._lineage.lost or any(match is None for match in matches) else True


def few(names: Iterable[str]) -> str:
    """The first of some names, and how many more there are."""
    names = list(names)
    more = f", … {len(names) - _FEW} more" if len(names) > _FEW else ""
    return ", ".join(names[:_FEW]) + more


def covers(key: str, name: str) -> bool:
    """Whether a name, as :func:`table_name` has it, is one of those that a key with ``*`` stands for.

    Nothing else in the key is special: ``[`` begins the parameters of a test.
    """
    first, *rest = _STAR.split(key)
    if not rest:
        return key == name
    if not name.startswith(first):
        return False
    at = len(first)
    for part in rest[:-1]:
        found = name.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return name.endswith(rest[-1]) and len(name) - len(rest[-1]) >= at


_STAR = re.compile(r"(?<!\\)\*")


def is_wildcard(key: str) -> bool:
    """Whether a table's key stands for several names."""
    return _STAR.search(key) is not None


def is_within(name: str, package: str) -> bool:
    """Whether a test, or a fixture, stands in a folder, a file or a class."""
    rest = name[len(package) :]
    return name.startswith(package) and (not rest or rest[0] in "/:[")


def table_name(name: str) -> str:
    """The key of a test's own table: a ``*`` in its name is one, and not any text. The same for such a key."""
    return _STAR.sub(r"\\*", name)

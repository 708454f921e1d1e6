"""The rule that a recorded run of a suite keeps: what ``execprobe init`` proposes. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from .._util.text import printable
from ..gate import incompleteness
from ..log.additions import as_text, of_any_python
from ..log.askers import asked_by
from ..log.pattern import Pattern, Side, any_match
from ..log.patterns import compile_pattern
from ..report.model import Document, Unit
from ..rules.configured import listed_in, single_in
from ..timeline.record import ExecRecord

#: What libraries run by themselves, and no test asks for: each has a line of what asks it, too. None has a secret.
HELPERS = (
    "argv:uname -p",
    "subtree:argv:lsb_release -a",
    "argv:uname -rs",
    r"re:\s-c\s'from (multiprocessing|(joblib\.externals\.)?loky\.backend)\.(resource_tracker|forkserver) import main;"
    r" ?main\(",
    "argv:lscpu --parse=core",
    r"re:/file -b \S*/python[\d.]*t?$",
    "subtree:argv:gcc -Wl,-t -o",
    "argv:ld -t -o /dev/null",
    "argv:ldconfig -p",
    r"re:/objdump -p -j \.dynamic ",
    r"subtree:re:/cpuinfo\.py --json$",
    "argv:sysctl machdep.cpu hw.cpufrequency",
    "argv:dmesg -a",
    "argv:fc-list --help",
    r"re:/fc-list '--format=.\{file\}",
    "subtree:argv:git maintenance run --auto",
    "subtree:argv:git gc --auto",
)


@dataclass
class _Found:
    """What matches one line."""

    names: dict[str, None] = field(default_factory=dict)
    tests: dict[str, None] = field(default_factory=dict)
    first: ExecRecord | None = None
    execs: int = 0

    def add(self, name: str, test: str, record: ExecRecord) -> None:
        self.names[name] = self.tests[test] = None
        self.first = self.first or record
        self.execs += 1

    @property
    def size(self) -> str:
        return f"{_number(len(self.tests), 'test')}, {_number(self.execs, 'exec')}"


@dataclass(frozen=True)
class Proposal:
    """Patterns with the reason for each, and a number with its reason."""

    allow: tuple[tuple[str, str], ...] = ()
    ignore: tuple[tuple[str, str], ...] = ()
    budget: tuple[int, str] | None = None
    summary: str = ""
    #: Tests that did not pass: what they would run besides is not known.
    failed: tuple[str, ...] = ()
    #: How many were skipped: nothing is known of what they would run.
    skipped: int = 0

    def lines(self, file: str) -> list[str]:
        """As they stand in a file of that name."""
        some = [f"# Proposed by execprobe init, of {self.summary}.", *listed_in(file, "execprobe_allow", self.allow)]
        some += listed_in(file, "execprobe_ignore", self.ignore) if self.ignore else []
        return [*some, *(single_in(file, "execprobe_budget", *self.budget) if self.budget else [])]


class NoProposal(Exception):
    """What was recorded is not enough for a rule that holds. ``why`` is a line for each reason."""

    def __init__(self, why: Sequence[str]) -> None:
        super().__init__("; ".join(why))
        self.why = tuple(why)


def propose(document: Document, before: Mapping[str, Sequence[str] | None] | None = None) -> Proposal:
    """What allows all that the tests of a run have executed in their calls. ``before`` are the settings that are there
    already, by name. Raises NoProposal."""
    why = [*dict.fromkeys(incompleteness(document))]
    if why:
        raise NoProposal(why)
    before = before or {}
    units = [unit for unit in document.units if unit.kind == "test"]
    allowed, helpers, counts = _sorted_out(units)
    keep = tuple((value, "stands there already") for value in before.get("allow") or ())
    keep += tuple(pair for pair in _by_frequency(allowed) if pair[0] not in (before.get("allow") or ()))
    ignore = tuple((value, "stands there already") for value in before.get("ignore") or ())
    ignore += tuple((pattern, f"{found.size}: {_asker(found)}") for pattern, found in helpers.items())
    _check(units, [pattern for pattern, _ in keep], [*helpers])
    most = max(counts.items(), key=lambda pair: pair[1], default=("", 0))
    bound = max([most[1], *map(int, before.get("budget") or ())])
    reason = "stands there already" if bound > most[1] else f"{printable(most[0])} runs the most"
    failed = tuple(printable(unit.name) for unit in units if unit.outcome in ("failed", "error"))
    execs = sum(found.execs for found in (*allowed.values(), *helpers.values()))
    tests = len({unit.name for unit in units})
    summary = f"{_number(tests, 'test')} with {_number(execs, 'exec')} in their calls"
    skipped = sum(unit.outcome == "skipped" for unit in units)
    return Proposal(keep, ignore, (bound, reason) if bound else None, summary, failed, skipped)


def counting(unit: Unit) -> Iterator[ExecRecord]:
    """What a rule for the call of a test sees: what ran in it, or was begun in it."""
    uncounted = {id(record) for record in unit.uncounted}
    for record in unit.records:
        if id(record) not in uncounted and "call" in (record.phase, record._lineage.begun_in):
            yield record
    # In which phase a stray was begun decides, too, and is not always known.
    yield from (record for record in unit.strays if id(record) not in uncounted)


def _sorted_out(units: Iterable[Unit]) -> tuple[dict[str, _Found], dict[str, _Found], dict[str, int]]:
    """By pattern, what is to be allowed and what ignored; and of how many execs each test is by that."""
    patterns = [*map(compile_pattern, HELPERS)]
    allowed: dict[str, _Found] = {}
    helpers: dict[str, _Found] = {}
    counts: dict[str, int] = {}
    for unit in units:
        number = 0
        for record in counting(unit):
            helper = _helper(record, patterns)
            name = record.program
            if not name:
                raise NoProposal([f"{unit.name}: the name of a program could not be read"])
            pattern = helper or of_any_python(name) or as_text(name)
            (helpers if helper else allowed).setdefault(pattern, _Found()).add(name, unit.name, record)
            number += helper is None
        counts[unit.name] = max(number, counts.get(unit.name, 0))
    return allowed, helpers, counts


def _helper(record: ExecRecord, patterns: Iterable[Pattern]) -> str | None:
    return next((pattern.text for pattern in patterns if pattern.match(record, Side.ALLOW) is True), None)


def _by_frequency(found: Mapping[str, _Found]) -> Iterator[tuple[str, str]]:
    for pattern, one in sorted(found.items(), key=lambda pair: (-len(pair[1].tests), -pair[1].execs, pair[0])):
        names = "" if [*one.names] == [pattern] else f": {', '.join(map(printable, one.names))}"
        yield pattern, f"{one.size}{names}"


def _asker(found: _Found) -> str:
    said = asked_by([found.first] if found.first is not None else [])
    return said[0] if said else f"{', '.join(map(printable, found.names))}, which no test asks for"


def _check(units: Iterable[Unit], allow: Iterable[str], ignore: Iterable[str]) -> None:
    """Raises NoProposal where the lines would not hold for the very run that they are made of."""
    patterns = [compile_pattern(text, of_file=True) for text in (*allow, *ignore)]
    open_ = {
        printable(record.program or "?")
        for unit in units
        for record in counting(unit)
        if any_match(patterns, record, Side.ALLOW) is not True
    }
    if open_:
        raise NoProposal([f"no pattern certainly matches {', '.join(sorted(open_))}"])


def _number(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"

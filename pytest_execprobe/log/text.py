"""Every text about a log that a user sees. Pure functions over evidence."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import compress, islice

from .._util import originals
from .._util.paths import leads_through_descriptor
from .._util.text import Style, printable
from ..timeline.evidence import Evidence
from ..timeline.program import STOPPED, described, files, has_unclear_arguments, may_name_descriptor
from ..timeline.record import ExecRecord
from ..timeline.site import place
from . import tree
from .askers import asked_by
from .checks import Verdict, execs, lost
from .ends import end_of
from .hints import did_not_run


def table(evidence: Evidence, start: int, marked: Iterable[ExecRecord], style: Style) -> list[str]:
    """The execs of a window, a row each; the process tree where all are to be shown. Parents are named by their row,
    the test's own process as pytest."""
    records = evidence.records
    if not records or style.rows == 0:
        return []
    if style.rows is None:
        return tree.lines(records, start, marked, root=style.root)
    shown = _selection(records, marked, style.rows)
    wanted = {one._identity for _, record in shown for one in (record, record.parent) if one is not None}
    numbers = {record: number for number, record in enumerate(records, 1) if record._identity in wanted}
    pid_width = max(5, *(len(str(record.pid)) for _, record in shown))
    number_width = len(str(len(records)))
    time_width = max(5, *(len(_milliseconds(record, start)) for _, record in shown))
    parents = [_parent(record, numbers) for _, record in shown]
    parent_width = max(6, *map(len, parents))
    ends = _column("ended", [end_of(record) for _, record in shown])
    lines = [
        f"  {'#':<{number_width}}  {'+ms':>{time_width}}  {'pid':>{pid_width}}"
        f"  {'parent':<{parent_width}}{ends[0]}  argv",
    ]
    previous = 0
    for (is_marked, record), parent, end in zip(shown, parents, ends[1:], strict=True):
        number = numbers[record]
        if number != previous + 1:
            lines.append(_hidden(number - previous - 1))
        previous = number
        line = (
            f"{'>' if is_marked else ' '} {number:<{number_width}}"
            f"  {_milliseconds(record, start):>{time_width}}  {record.pid:>{pid_width}}"
            f"  {parent:<{parent_width}}{end}  {_command(record, style.width)}"
        )
        became = record._lineage.previous is not None and record._lineage.previous in numbers
        lines.append(line if parent.startswith("#") or became else beside(line, record, style))
    if previous != len(records):
        lines.append(_hidden(len(records) - previous))
    return lines


def beside(line: str, record: ExecRecord, style: Style) -> str:
    """A line about an exec, with where Python spawned it at its end, right-aligned if there is room."""
    if record.call_site is None:
        return line
    where = printable(place(record.call_site, style.root))
    return f"{line}  {where:>{max(0, style.columns - len(line) - 2)}}"


def _column(head: str, cells: Sequence[str]) -> list[str]:
    """A column that is there only if a cell of it says something, with what stands in front of it."""
    width = max(len(head), *map(len, cells))
    return [f"  {cell:<{width}}" for cell in (head, *cells)] if any(cells) else [""] * (len(cells) + 1)


def footer(evidence: Evidence, where: str) -> str:
    """How many execs a window holds, and how many are missing."""
    ignored = f", {evidence.ignored} ignored" if evidence.ignored else ""
    return f"  {execs(len(evidence.records))} in {where}, {lost(evidence)} lost{ignored}"


def _missing(evidence: Evidence) -> str:
    number = lost(evidence)
    if number == "an unknown number":
        return f"{number} of execs is"
    return f"{number} exec" if number.split()[-1] == "1" else f"{number} execs"


def failure(verdict: Verdict, evidence: Evidence, start: int, where: str, style: Style) -> str:
    """The message of an assertion that certainly does not hold."""
    headline = printable(verdict.headline)
    advice = [f"  if this is right: {printable(verdict.advice)}"] if verdict.advice else []
    if style.rows == 0:
        return "\n".join([headline, *advice])
    rows = table(evidence, start, verdict.marked, style)
    return "\n".join([headline, *hints_of(verdict, evidence), *rows, footer(evidence, where), *advice])


def hints_of(verdict: Verdict, evidence: Evidence) -> list[str]:
    """A line for each known reason why something did not run that had to, for who asked for what was not to run, or for
    what to write instead of what did."""
    found = asked_by(verdict.marked) if verdict.wanted is None else did_not_run(verdict.wanted, evidence)
    return [f"  hint  {hint}" for hint in (*verdict.hints, *found)]


#: What was not recorded of some commands, and what to do about it.
_UNREAD: list[tuple[Callable[[ExecRecord], bool], str]] = [
    (
        lambda record: record.argv_truncated,
        "argv of {rows} is longer than what is kept (16 KiB): match on the program's name",
    ),
    (
        lambda record: record._command.redacted,
        "secrets in argv of {rows} were hidden when the report was written (--execprobe-redact=none keeps them): match"
        " on the program's name",
    ),
    (
        lambda record: None in files(record),
        "the file of {rows} could not be resolved (it lies too deep, or in no mount any more; or it is a script, and"
        " the process that executed it uses io_uring, or the kernel shows no exec being prepared): allow it by the"
        " program's name",
    ),
    (
        lambda record: record.path is not None and leads_through_descriptor(record.path, record.cwd),
        "the folder of {rows} is named by a descriptor, and not known: match on the program's name",
    ),
    (
        may_name_descriptor,
        "the path of {rows} may lead through a descriptor, and then argv[0] and the file name it: execute it by a path"
        " of its own",
    ),
    (
        has_unclear_arguments,
        "which words in argv of {rows} are options of #! lines stands nowhere: match on the script's name",
    ),
    (
        lambda record: record._command.argv is None,
        "argv of {rows} could not be read: match on the program's name",
    ),
]


def undecided(
    question: str,
    evidence: Evidence,
    start: int,
    where: str,
    style: Style,
    open_ends: Iterable[ExecRecord] = (),
) -> str:
    """The message of a check that can't be decided: what is missing, why, and what to change. ``open_ends`` are records
    of which it would matter how they ended."""
    what = "what would tell was not recorded"
    reasons: list[str] = [*evidence.why]
    running = _rows_of(open_ends, evidence)
    if running:
        reasons.append(
            f"{_numbers(running)} still ran, or the end is not known: wait for it first, or name what must succeed"
        )
    if evidence.missing != 0:
        what = f"{_missing(evidence)} missing from the log"
    elif running:
        what = f"{_numbers(running)} had not ended"
    else:
        for is_meant, reason in _UNREAD:
            if rows := _numbered(evidence, is_meant):
                reasons.append(reason.format(rows=_numbers(rows)))
        sites = [record.call_site for record in evidence.records] if "from:" in question else []
        if rows := [number for number, site in enumerate(sites, 1) if site is None]:
            reasons.append(
                f"which code spawned {_numbers(rows)} is not known (C code, or a thread or task that runs nothing but"
                " the standard library): call it in a function of your own, or match on the program's name"
            )
    orphans = [number for number, record in enumerate(evidence.records, 1) if record._lineage.lost]
    if orphans:
        above = f"a record above {_numbers(orphans)} in the tree was lost"
        reasons.append(f"{above}: raise --execprobe-buffer-pages, or match without subtree()")
    if evidence.lost:
        full = f"{execs(len(evidence.lost))} found the perf buffer full"
        reasons.append(f"{full}: raise --execprobe-buffer-pages, or give the helper a CPU")
    headline = f"cannot tell {printable(question)}: {what}"
    if style.rows == 0:
        return headline
    why = [f"  why   {reason}" for reason in reasons]
    return "\n".join([headline, *why, *table(evidence, start, (), style), footer(evidence, where)])


def _rows_of(those: Iterable[ExecRecord], evidence: Evidence) -> list[int]:
    wanted = {record._identity for record in those}
    return [number for number, record in enumerate(evidence.records, 1) if record._identity in wanted] if wanted else []


def _numbered(evidence: Evidence, is_meant: Callable[[ExecRecord], bool]) -> list[int]:
    """The rows of records, where that is the same for all of a command."""
    every = evidence.kinds().ask(is_meant).every
    return [number for number, meant in enumerate(every, 1) if meant]


def _numbers(numbers: Sequence[int]) -> str:
    return ", ".join(f"#{number}" for number in numbers[:3]) + (", …" if len(numbers) > 3 else "")


def _selection(records: Sequence[ExecRecord], marked: Iterable[ExecRecord], rows: int) -> list[tuple[bool, ExecRecord]]:
    """The rows to show, and whether they are marked: those first, the rest from the beginning, in order."""
    identities = {record._identity for record in marked}
    every = range(len(records))
    is_marked = [record._identity in identities for record in records]
    shown: Iterable[int] = every
    if len(records) > rows:
        important = [*islice(compress(every, is_marked), rows)]
        others = islice((at for at in every if not is_marked[at]), rows - len(important))
        shown = sorted([*important, *others])
    return [(is_marked[at], records[at]) for at in shown]


def _hidden(count: int) -> str:
    return f"  … {count} more (all with -vv)"


def _milliseconds(record: ExecRecord, start: int) -> str:
    return f"{(record.timestamp_ns - start) / 1e6:.1f}"


def _parent(record: ExecRecord, numbers: dict[ExecRecord, int]) -> str:
    above = record.parent
    if above is None:
        return "?" if record._lineage.lost else "pytest"
    if above in numbers:
        return f"#{numbers[above]}"
    return printable(above.program or "?")


def _command(record: ExecRecord, width: int | None) -> str:
    text = printable(described(record))
    if record._lineage.previous is not None and record._lineage.previous.program:
        text += f"  (was {printable(originals.basename(record._lineage.previous.program))})"
    if width is not None and len(text) > width:
        text = text[: width - 1] + "…"
    if record.stopped:
        text += STOPPED
    if record._lineage.shared:
        text += f"  (begun by {printable(record.begun_by or '?')})"
    return text

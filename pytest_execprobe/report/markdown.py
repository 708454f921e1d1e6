"""A report as Markdown, for the summary of a CI job (``$GITHUB_STEP_SUMMARY``, which takes at most a mebibyte).

All that comes from a run (tests, programs, arguments, reasons) stands between ``<code>`` or ``<pre>`` tags, where
GitHub looks for no mentions, issues or emoji, and what Markdown or HTML could take for something else is written as
character references. A code span in backticks would not do: in a table it can hold no backslash before a pipe.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from ..log.ends import end_of
from ..timeline.record import ExecRecord
from . import digest
from .model import Document, Run, Unit

#: In bytes. GitHub's own limit is 1 MiB for a step, which may have more to say than this.
LIMIT = 500_000
_LEAST = 2_000

_ROWS = 15
_BREACHES = 25
_BREACH_LINES = 40
_WIDTH = 200
_PROGRAMS = 5

_ALERTS = {
    digest.Level.BROKEN: "CAUTION",
    digest.Level.UNDECIDED: "CAUTION",
    digest.Level.INCOMPLETE: "WARNING",
    digest.Level.GOOD: "NOTE",
}

_CUT_OFF = "\n_There is more than fits here: the rest is in the report's other forms._\n"

# All but what can stand in a text without a meaning. Letters, digits and what lies beyond ASCII are harmless.
_MEANINGFUL = re.compile(r"[!\"#$%&'()*:;<=>?@\[\\\]^_`{|}~]|(?<=www)\.", re.IGNORECASE)


def render(document: Document, *, limit: int = LIMIT) -> str:
    """Markdown of at most ``limit`` bytes. What matters most comes first, and what does not fit is left out, and said.

    Raises ValueError for a limit below 2000.
    """
    if limit < _LEAST:
        raise ValueError(f"the limit of a summary is a number of bytes from {_LEAST} on, not {limit}")
    parts: tuple[Callable[[Document], Iterable[str]], ...] = (
        _head,
        _missing,
        _breaches,
        _runs,
        _running,
        _programs,
        _sites,
        _ends,
        _tests,
        _others,
        _strays,
        _not_checked,
        _excused,
    )
    room = limit - len(_CUT_OFF.encode())
    written: list[str] = []
    for part in parts:
        for block in part(document):
            room -= len(block.encode())
            if room < 0:
                return "".join([*written, _CUT_OFF])
            written.append(block)
    return "".join(written)


# ---- parts: each gives blocks that can be left out from the end ----


def _head(document: Document) -> Iterable[str]:
    said = digest.verdict(document)
    yield f"### Execs: {said.text}\n"
    numbers = " · ".join(f"**{number}** {name}" for name, number in digest.totals(document))
    yield f"\n{numbers}\n"


def _missing(document: Document) -> Iterable[str]:
    reasons = digest.missing(document)
    if not reasons:
        return
    yield "\n> [!WARNING]\n> **This report is incomplete.** What is missing from it may have broken a rule.\n"
    for reason in reasons[:_ROWS]:
        yield f"> - {code(reason, 500)}\n"
    if len(reasons) > _ROWS:
        yield f"> - … {len(reasons) - _ROWS} more reasons\n"


def _breaches(document: Document) -> Iterable[str]:
    every = [item for item in digest.found(document) if item.excused is None]
    if not every:
        return
    yield f"\n> [!{_ALERTS[digest.verdict(document).level]}]\n> **{digest.verdict(document).text}**\n"
    for item in every[:_BREACHES]:
        yield from _breach(item)
    yield from _more(len(every) - _BREACHES, "broken or undecided rules")


def _breach(item: digest.PlacedBreach) -> Iterable[str]:
    headline = code(item.breach.headline, 500)
    place = _place(item.unit) if item.unit else item.where
    # Without empty lines, at which Markdown would take the block for ended.
    lines = [line for line in digest.shown_lines(item.breach.text) if line.strip()]
    if lines[:1] == [digest.shown(item.breach.headline)]:
        del lines[0]
    if len(lines) > _BREACH_LINES:
        lines = [*lines[:_BREACH_LINES], f"… {len(lines) - _BREACH_LINES} lines more"]
    if not lines:
        yield f"\n- {headline} in {place}\n"
        return
    body = "\n".join(_escaped(digest.cut(line, _WIDTH)) for line in lines)
    # One block, so that no tag is opened and not closed.
    yield f"\n<details><summary>{headline} in {place}</summary>\n<pre>\n{body}\n</pre>\n</details>\n"


def _runs(document: Document) -> Iterable[str]:
    if not document.runs:
        yield "\nNo run is in this report.\n"
        return
    yield from _table(
        "Run" if len(document.runs) == 1 else "Runs",
        ("started by", "at", "took", "ended with", "probe"),
        [_run_row(run) for run in document.runs],
        "runs",
    )


def _run_row(run: Run) -> Sequence[str]:
    took = digest.duration(run.end_ns - run.start_ns) if run.end_ns > run.start_ns else ""
    return code(digest.started_by(run)), code(run.started), took, digest.ended(run), code(run.probe, 300)


def _running(document: Document) -> Iterable[str]:
    rows = [(code(digest.started_by(run)), code(text)) for run in document.runs for text in digest.running(run)]
    yield from _table("Still running when the recording ended", ("started by", "process"), rows, "processes")


def _programs(document: Document) -> Iterable[str]:
    rows = [(code(program), f"{count:,}") for program, count in digest.most(document.programs)]
    yield from _table("Most executed programs", ("program", "-execs"), rows, "programs")
    ignored = sum(sum(run.ignored.values()) for run in document.runs)
    if ignored:
        names = sorted({name for run in document.runs for name in run.ignored})
        yield f"\nNot counted, because `--execprobe-ignore` names them: {', '.join(map(code, names[:_ROWS]))}.\n"


def _sites(document: Document) -> Iterable[str]:
    sites = digest.sites(document)
    rows = [(code(where), f"{len(records):,}", _programs_of(records)) for where, records in sites[: _ROWS + 1]]
    yield from _table("Where Python spawned most", ("where", "-execs", "programs"), rows, "places", total=len(sites))


def _ends(document: Document) -> Iterable[str]:
    """What did not end with exit status 0, the signals first."""
    counts: Counter[tuple[bool, str, str, str]] = Counter()
    for unit in document.units:
        bad = [record for record in unit.all_records if record.signal is not None or record.exit_code]
        where = _place(unit) if bad else ""
        for record in bad:
            counts[record.signal is None, where, record.program or "?", end_of(record)] += 1
    ordered = sorted(counts, key=lambda key: (key[0], -counts[key], key))
    rows = [(where, code(program, 60), end, f"{counts[key]:,}") for key in ordered for _, where, program, end in (key,)]
    yield from _table("Ended otherwise than with exit status 0", ("where", "program", "ended", "-times"), rows, "ends")


def _tests(document: Document) -> Iterable[str]:
    yield from _units("Tests that ran most", [unit for unit in document.units if unit.kind == "test"], "tests")


def _others(document: Document) -> Iterable[str]:
    yield from _units("Besides tests", [unit for unit in document.units if unit.kind != "test"], "others")


def _units(title: str, units: Iterable[Unit], what: str) -> Iterable[str]:
    ran = sorted((unit for unit in units if unit.records), key=lambda unit: (-len(unit.records), unit.name))
    rows = [
        (_place(unit), _escaped(unit.outcome or ""), _taken(unit), _counted(unit), _programs_of(unit.records))
        for unit in ran[: _ROWS + 1]  # one more, by which it is seen that there are more
    ]
    yield from _table(title, ("where", "outcome", "-took", "-execs", "programs"), rows, what, total=len(ran))


def _strays(document: Document) -> Iterable[str]:
    left = sorted((unit for unit in document.units if unit.strays), key=lambda unit: (-len(unit.strays), unit.name))
    rows = [(_place(unit), f"{len(unit.strays):,}", _programs_of(unit.strays)) for unit in left[: _ROWS + 1]]
    yield from _table(
        "Left behind, and ran after its test", ("begun by", "-execs", "programs"), rows, "tests", total=len(left)
    )


def _not_checked(document: Document) -> Iterable[str]:
    units = document.not_checked
    rows = [(_place(unit), code(unit.not_checked or "", 300)) for unit in units[: _ROWS + 1]]
    yield from _table("Not checked", ("what", "why"), rows, "not checked", total=len(units))


def _excused(document: Document) -> Iterable[str]:
    every = [item for item in digest.found(document) if item.excused is not None]
    rows = [
        (_place(item.unit) if item.unit else "", item.excused or "", code(item.breach.headline, 300))
        for item in every[: _ROWS + 1]
    ]
    yield from _table(
        "Broken without consequence", ("where", "because it was", "what"), rows, "broken rules", total=len(every)
    )


# ---- pieces ----


def _table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], what: str, total: int | None = None
) -> Iterable[str]:
    """A heading and a table; nothing for no row. A column with a dash before its name has numbers."""
    if not rows:
        return
    rules = ("--:" if name.startswith("-") else "---" for name in columns)
    head = f"\n#### {title}\n\n{_row(name.lstrip('-') for name in columns)}{_row(rules)}"
    # The head is never without a row.
    yield head + _row(rows[0])
    for row in rows[1:_ROWS]:
        yield _row(row)
    yield from _more((len(rows) if total is None else total) - _ROWS, what)


def _more(count: int, what: str) -> Iterable[str]:
    if count > 0:
        yield f"\n… {count:,} more {what}\n"


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |\n"


def _place(unit: Unit) -> str:
    name = code(unit.name)
    kind = "" if unit.kind in ("test", "outside", "collection") else f"{digest.KIND_NAMES[unit.kind]} "
    worker = f" on {code(unit.worker, 40)}" if unit.worker else ""
    return f"{kind}{name}{worker}"


def _programs_of(records: Sequence[ExecRecord]) -> str:
    counted = digest.most(Counter(record.program or "?" for record in records))
    named = ", ".join(f"{code(program, 60)} {count:,}" for program, count in counted[:_PROGRAMS])
    return named + (f", … {len(counted) - _PROGRAMS} more" if len(counted) > _PROGRAMS else "")


def _counted(unit: Unit) -> str:
    return f"{len(unit.records):,}{'' if unit.complete else '+'}"


def _taken(unit: Unit) -> str:
    times = digest.span(unit)
    return "" if times is None else digest.duration(max(0, times[1] - times[0]))


def code(text: str, width: int = _WIDTH) -> str:
    """A text that comes from a run, of at most ``width`` characters, as it may stand anywhere in Markdown."""
    return f"<code>{_escaped(digest.cut(digest.shown(text), width))}</code>" if text else ""


def _escaped(text: str) -> str:
    """Text of which no character means anything in Markdown or HTML."""
    return _MEANINGFUL.sub(_reference, text)


def _reference(match: re.Match[str]) -> str:
    # Addresses are found after references were resolved, so what is around an at sign is kept apart by a comment.
    return f"&#{ord(match[0])};" + ("<!-- -->" if match[0] == "@" else "")

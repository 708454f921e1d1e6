"""A report as a page for a browser: one file that needs nothing else, and of which nothing is sent anywhere.

``report.html.j2`` is the page, with what can be read without scripts; ``report.js`` makes the list of units and their
process trees from data that stands in the page as JSON. The page's own policy allows its one script and its one style
sheet, by their hashes, and nothing besides. All texts of the data are printable already, and the script puts them into
the page as text alone.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from .. import __version__
from .._util import originals
from ..log.ends import successors
from ..source.events import Image
from ..timeline.record import ExecRecord
from . import digest
from .lines import Line, arrange
from .model import Document, ReportedBreach, Run, Unit
from .rows import COLUMNS, Rows, Texts

_BREACHES = 50
_PROGRAMS = 12
_ALL_PROGRAMS = 1000
_RUNNING = 50


def render(document: Document) -> str:
    """The page."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    style, script = _part("report.css"), _part("report.js")
    every = digest.found(document)
    programs = digest.most(document.programs)
    return environment.from_string(_part("report.html.j2")).render(
        title=_title(document),
        version=__version__,
        policy=_policy(style, script),
        style=Markup(style),
        script=Markup(script),
        data=Markup(_embedded(data(document))),
        verdict=digest.verdict(document),
        runs=[_run(run) for run in document.runs],
        totals=digest.totals(document),
        missing=digest.missing(document),
        breaches=[_breach_row(item) for item in every[:_BREACHES]],
        more_breaches=max(0, len(every) - _BREACHES),
        programs=[_program(program, programs) for program in programs[:_PROGRAMS]],
        other_programs=[_program(program, programs) for program in programs[_PROGRAMS:_ALL_PROGRAMS]],
        more_programs=max(0, len(programs) - _ALL_PROGRAMS),
    )


def _part(name: str) -> str:
    return originals.read_bytes(originals.join(originals.dirname(__file__), name)).decode()


def _policy(style: str, script: str) -> str:
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src '{_hash(script)}'",
            f"style-src '{_hash(style)}'",
            "img-src data:",  # the icon, so that no browser asks a server for one
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        ]
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(originals.sha256(text.encode()).digest()).decode()


def _embedded(value: object) -> str:
    """JSON that nothing in a page takes for a tag, nor a script for the end of a line: all of it is ASCII."""
    text = originals.json_dumps(value, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


# ---- the head, which is read without scripts ----


def _title(document: Document) -> str:
    runs = document.runs
    return digest.cut(digest.title(runs[0]), 100) if len(runs) == 1 else f"{len(runs)} runs"


def _run(run: Run) -> dict[str, Any]:
    left = digest.running(run)
    return {
        "command": digest.started_by(run),
        "started": digest.shown(run.started),
        "took": digest.duration(run.end_ns - run.start_ns) if run.end_ns > run.start_ns else "",
        "ended": digest.ended(run),
        "probe": digest.shown(run.probe),
        "ignored": ", ".join(f"{digest.shown(name)} {count}" for name, count in sorted(run.ignored.items())),
        "running": left[:_RUNNING],
        "more_running": max(0, len(left) - _RUNNING),
    }


def _breach_row(item: digest.PlacedBreach) -> dict[str, Any]:
    return {
        **_breach(item.breach),
        "where": item.where,
        "unit": None if item.unit is None else digest.shown(item.unit.name),
        "excused": item.excused,
    }


def _breach(breach: ReportedBreach) -> dict[str, Any]:
    lines = digest.shown_lines(breach.text)
    if lines[0] == digest.shown(breach.headline):
        del lines[0]
    text = "\n".join(lines).rstrip()
    return {"headline": digest.shown(breach.headline), "text": text, "undecided": breach.undecided, "late": breach.late}


def _program(program: tuple[str, int], every: Sequence[tuple[str, int]]) -> dict[str, Any]:
    name, count = program
    return {"name": name, "count": f"{count:,}", "share": f"{100 * count / every[0][1]:.2f}%"}


# ---- the data of the units ----


def data(document: Document) -> dict[str, Any]:
    """What the script gets."""
    texts = Texts()
    became = [
        successors(record for unit in document.units if unit.run == index for record in unit.all_records)
        for index in range(len(document.runs))
    ]
    rows = [Rows(run, texts, its) for run, its in zip(document.runs, became, strict=True)]
    units = [_unit(unit, document.runs[unit.run], rows[unit.run], texts) for unit in document.units]
    return {
        "columns": COLUMNS,
        "kinds": digest.KIND_NAMES,
        "runs": [
            {"label": digest.cut(digest.title(run), 60), "command": run.kind == "command"} for run in document.runs
        ],
        "units": units,
        "texts": texts.every,
    }


def _unit(unit: Unit, run: Run, rows: Rows, texts: Texts) -> dict[str, Any]:
    whole = digest.span(unit)
    times = [*(record.timestamp_ns for record in unit.records), *(whole or ())]
    origin, end = (min(times), max(times)) if times else (run.start_ns, run.start_ns)
    if whole is None:
        # Without phases, what ran last is to be seen, too.
        end = max([end, *(record.timestamp_ns + (record.duration_ns or 0) for record in unit.records)])
    strays_origin = min((record.timestamp_ns for record in unit.strays), default=origin)
    strays_end = max((record.timestamp_ns + (record.duration_ns or 0) for record in unit.strays), default=origin)
    return {
        "kind": unit.kind,
        "name": digest.shown(unit.name),
        "run": unit.run,
        "worker": None if unit.worker is None else digest.shown(unit.worker),
        "outcome": None if unit.outcome is None else digest.shown(unit.outcome),
        "place": None if unit.file is None else digest.shown(f"{unit.file}:{unit.line}" if unit.line else unit.file),
        "begins": origin - run.start_ns if run.start_ns else None,
        "took": None if whole is None else max(0, whole[1] - whole[0]),
        "phases": [[phase, begin - origin, max(0, stop - origin)] for phase, (begin, stop) in unit.phases.items()],
        "lost": unit.lost,
        "unknown": [digest.shown(why) for why in unit.why],
        "unchecked": None if unit.not_checked is None else digest.shown(unit.not_checked),
        "breaches": [_breach(breach) for breach in unit.breaches],
        "length": end - origin,
        **_named("", "records", _tree(unit, unit.records, origin, rows, texts)),
        "strays_after": strays_origin - origin,
        "strays_length": max(0, strays_end - strays_origin),
        **_named("stray_", "strays", _tree(unit, unit.strays, strays_origin, rows, texts)),
    }


def _named(prefix: str, rows: str, tree: tuple[list[Any], list[Any], list[int]]) -> dict[str, Any]:
    return dict(zip((rows, f"{prefix}lines", f"{prefix}folds"), tree, strict=True))


def _tree(
    unit: Unit, records: Iterable[ExecRecord], origin: int, rows: Rows, texts: Texts
) -> tuple[list[Any], list[Any], list[int]]:
    """Execs as rows, each below what started it: the closest of those above it that is in the tree at all. And where
    they are not all that there is to show, the lines: of an exec the index of its row; else the level, a text, a time
    and a pid. And for each the line that it is folded into, -1 for none."""
    lines = list(arrange(sorted(dict.fromkeys(records), key=lambda record: record.timestamp_ns)))
    places: dict[Line, int] = {}
    numbers: dict[Image, int] = {}
    made: list[list[Any]] = []
    listed: list[Any] = []
    for number, line in enumerate(lines):
        places[line] = number
        record = line.record
        if record is None:
            began = None if line.process is None else line.process.began
            pid = None if line.process is None else line.process.pid
            listed.append([line.level, texts.place(line.text), None if began is None else began - origin, pid])
            continue
        listed.append(len(made))
        numbers[record._identity] = len(made)
        parent = -1 if line.parent is None else numbers[line.parent._identity]
        is_listed = parent >= 0 and record.parent is not None and record.parent._identity in numbers
        made.append(rows.row(record, line, parent, None if is_listed else _above(unit, record), origin))
    is_plain = len(made) == len(lines) and not any(line.fold for line in lines)
    folds = [] if is_plain else [-1 if line.fold is None else places[line.fold] for line in lines]
    return made, [] if is_plain else listed, folds


def _above(unit: Unit, record: ExecRecord) -> str:
    if record.parent is not None:
        return f"{record.parent.program or '?'}, pid {record.parent.pid}, which is not listed here"
    if record._lineage.lost:
        return "not known: a record above it was lost"
    if record._lineage.fork is not None:
        return "a fork of the test's own process, which has executed nothing"
    return "execprobe" if unit.kind == "command" else "the test's own process"

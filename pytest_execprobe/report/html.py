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
from ..log.ends import signal_name, successors
from ..timeline import site
from ..timeline.program import described
from ..timeline.record import ExecRecord
from . import digest
from .lines import Line, arrange
from .model import Document, ReportedBreach, Run, Unit
from .origins import file_of

#: Characters of the arguments of an exec that are kept: a page with all of them may be too much for a browser.
_ARGUMENTS = 4096
_BREACHES = 50
_PROGRAMS = 12
_ALL_PROGRAMS = 1000
_RUNNING = 50

# Of an exec, in this order. Texts are indices into a list of texts, -1 if there is none; times are nanoseconds from the
# beginning of the unit's time line.
_COLUMNS = (
    *(
        "level",
        "again",
        "parent",
        "above",
        "program",
        "command",
        "path",
        "executable",
        "interpreter",
        "script",
        "origin",
        "argv",
        "cut",
    ),
    *("cwd", "pid", "ppid", "uid", "gid", "depth", "at", "duration", "became", "exit", "signal", "phase", "begun"),
    *("shared", "site", "through", "stopped", "odd"),
)


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


class _Texts:
    """Each text once; an argument or a path is often that of many execs."""

    def __init__(self) -> None:
        self.every: list[str] = []
        self._places: dict[str, int] = {}

    def place(self, text: str | None) -> int:
        if text is None:
            return -1
        place = self._places.get(text)
        if place is None:
            place = self._places[text] = len(self.every)
            self.every.append(digest.shown(text))
        return place


def data(document: Document) -> dict[str, Any]:
    """What the script gets."""
    texts = _Texts()
    became = [
        successors(record for unit in document.units if unit.run == index for record in unit.all_records)
        for index in range(len(document.runs))
    ]
    units = [_unit(unit, document.runs[unit.run], became[unit.run], texts) for unit in document.units]
    return {
        "columns": _COLUMNS,
        "kinds": digest.KIND_NAMES,
        "runs": [
            {"label": digest.cut(digest.title(run), 60), "command": run.kind == "command"} for run in document.runs
        ],
        "units": units,
        "texts": texts.every,
    }


def _unit(unit: Unit, run: Run, became: dict[ExecRecord, ExecRecord], texts: _Texts) -> dict[str, Any]:
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
        **_named("", "records", _tree(unit, run, unit.records, origin, became, texts)),
        "strays_after": strays_origin - origin,
        "strays_length": max(0, strays_end - strays_origin),
        **_named("stray_", "strays", _tree(unit, run, unit.strays, strays_origin, became, texts)),
    }


def _named(prefix: str, rows: str, tree: tuple[list[Any], list[Any], list[int]]) -> dict[str, Any]:
    return dict(zip((rows, f"{prefix}lines", f"{prefix}folds"), tree, strict=True))


def _tree(
    unit: Unit,
    run: Run,
    records: Iterable[ExecRecord],
    origin: int,
    became: dict[ExecRecord, ExecRecord],
    texts: _Texts,
) -> tuple[list[Any], list[Any], list[int]]:
    """Execs as rows, each below what started it: the closest of those above it that is in the tree at all. And where
    they are not all that there is to show, the lines: of an exec the index of its row; else the level, a text, a time
    and a pid. And for each the line that it is folded into, -1 for none."""
    lines = list(arrange(sorted(dict.fromkeys(records), key=lambda record: record.timestamp_ns)))
    places: dict[Line, int] = {}
    numbers: dict[ExecRecord, int] = {}
    rows: list[list[Any]] = []
    listed: list[Any] = []
    for number, line in enumerate(lines):
        places[line] = number
        record = line.record
        if record is None:
            began = None if line.process is None else line.process.began
            pid = None if line.process is None else line.process.pid
            listed.append([line.level, texts.place(line.text), None if began is None else began - origin, pid])
            continue
        listed.append(len(rows))
        numbers[record] = len(rows)
        parent = -1 if line.parent is None else numbers[line.parent]
        above = None if parent >= 0 and record.parent in numbers else _above(unit, record)
        rows.append(_row(record, run, line, parent, above, origin, became.get(record), texts))
    is_plain = len(rows) == len(lines) and not any(line.fold for line in lines)
    folds = [] if is_plain else [-1 if line.fold is None else places[line.fold] for line in lines]
    return rows, [] if is_plain else listed, folds


def _above(unit: Unit, record: ExecRecord) -> str:
    if record.parent is not None:
        return f"{record.parent.program or '?'}, pid {record.parent.pid}, which is not listed here"
    if record._lineage.lost:
        return "not known: a record above it was lost"
    if record._lineage.fork is not None:
        return "a fork of the test's own process, which has executed nothing"
    return "execprobe" if unit.kind == "command" else "the test's own process"


def _row(
    record: ExecRecord,
    run: Run,
    line: Line,
    parent: int,
    above: str | None,
    origin: int,
    became: ExecRecord | None,
    texts: _Texts,
) -> list[Any]:
    place = texts.place
    found = (run.origins or {}).get(file_of(record) or "")
    argv, left_out = _arguments(record)
    lasted = record.duration_ns
    if lasted is None and became is not None:
        lasted = became.timestamp_ns - record.timestamp_ns
    row = {
        "level": line.level,  # in the tree of the unit
        "again": int(line.is_later),  # whether its process has executed something before
        "parent": parent,  # its row, -1 if what started it is not in this tree
        "above": place(above),  # what started it, in words, where it has no row
        "program": place(record.program or "?"),
        "command": place(digest.cut(described(record), _ARGUMENTS)),
        "path": place(record.path),
        "executable": place(record.executable),
        "interpreter": place(record.interpreter),
        "script": place(record.script),
        "origin": -1 if found is None else place(str(found)),
        "argv": None if argv is None else [place(argument) for argument in argv],
        "cut": left_out,  # characters of the arguments, -1 if their number is not known
        "cwd": place(record.cwd),
        "pid": record.pid,
        "ppid": record.ppid,
        "uid": record.uid,
        "gid": record.gid,
        "depth": record.depth,
        "at": record.timestamp_ns - origin,
        "duration": None if lasted is None else max(0, lasted),
        "became": -1 if became is None else place(became.program or "?"),
        "exit": record.exit_code,
        "signal": -1 if record.signal is None else place(signal_name(record.signal)),
        "phase": record.phase,
        "begun": place(record.begun_by),
        "shared": int(record._lineage.shared),  # whether it counts for another than began it
        "site": -1 if record.call_site is None else place(site.place(record.call_site)),
        "through": -1 if record.call_site is None else place(_stack(record.call_site)),
        "stopped": int(record.stopped),
        "odd": int(found is not None and (found.owned is False or bool(found.remarks))),
    }
    return [row[column] for column in _COLUMNS]


def _stack(call_site: site.CallSite) -> str | None:
    """The frames outside of the standard library, if there is more than the one that is named besides."""
    frames = [f"{site.place(frame)}" for frame in call_site.stack]
    return ", by ".join(frames) if len(frames) > 1 else None


def _arguments(record: ExecRecord) -> tuple[list[str] | None, int]:
    """The arguments, as far as there is room for them, and how many characters are left out."""
    argv = record._command.shown.argv
    if argv is None:
        return None, 0
    kept: list[str] = []
    room = _ARGUMENTS
    for argument in argv:
        if room <= 0:
            break
        kept.append(argument[:room])
        room -= len(argument) + 1
    left_out = sum(map(len, argv)) - sum(map(len, kept))
    return kept, -1 if record.argv_truncated else left_out

"""A report as JSON, and back. The form is published as ``schema.json`` beside this file.

Reading checks every field, because a report comes from another machine. Records refer to each other by their ids,
which are unique within a run.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from .. import originals
from ..command import Command
from ..record import ExecRecord, Phase
from .document import KINDS, OUTCOMES, Breach, Collection, Document, Process, Run, Unit

FORMAT = "pytest-execprobe report"
VERSION = 1

_ID = re.compile(r"([0-9]{1,10})\.([0-9]{1,20})")
_PHASES: tuple[Phase, ...] = ("setup", "call", "teardown")
_RUNS: tuple[Literal["pytest", "command"], ...] = ("pytest", "command")

T = TypeVar("T")
C = TypeVar("C", bound=str)


class DocumentError(Exception):
    """What was read is no report, or not one that this version understands. The message says where and why."""


# ---- writing ----


def dump(document: Document) -> str:
    """JSON. A byte of an argv that is no UTF-8 is a lone surrogate, escaped, as Python decodes it."""
    return originals.json_dumps(to_data(document), separators=(",", ":")) + "\n"


def to_data(document: Document) -> dict[str, Any]:
    runs = []
    for index, run in enumerate(document.runs):
        units = [unit for unit in document.units if unit.run == index]
        listed = {record for unit in units for record in unit.all_records}
        runs.append(_run_data(run, above(listed)))
    units_data = [_unit_data(unit) for unit in document.units]
    return {"format": FORMAT, "version": VERSION, "runs": runs, "units": units_data}


def above(records: Iterable[ExecRecord]) -> list[ExecRecord]:
    """The ancestors of some records that are not themselves among them: those that ``--execprobe-ignore`` names."""
    known = set(records)
    todo, found = list(known), []
    while todo:
        record = todo.pop()
        for ancestor in (record.parent, record._previous):
            if ancestor is not None and ancestor not in known:
                known.add(ancestor)
                found.append(ancestor)
                todo.append(ancestor)
    return found


def _run_data(run: Run, ancestors: Iterable[ExecRecord]) -> dict[str, Any]:
    return {
        "id": run.id,
        "kind": run.kind,
        "command": list(run.command),
        "started": run.started,
        "start_ns": run.start_ns,
        "end_ns": run.end_ns,
        "exit_status": run.exit_status,
        "probe": run.probe,
        "ignored": dict(run.ignored),
        "filtered": run.filtered,
        "unknown": list(run.unknown),
        "gaps": dict(run.gaps),
        "breaches": [_breach_data(breach) for breach in run.breaches],
        "left_out": list(run.left_out),
        "collection": run.collection and {name: list(found) for name, found in asdict(run.collection).items()},
        "platform": run.platform,
        "variant": run.variant,
        "above": [record_data(record) for record in ancestors],
        "running": [asdict(process) for process in run.running],
        "more_running": run.more_running,
    }


def _unit_data(unit: Unit) -> dict[str, Any]:
    return {
        "kind": unit.kind,
        "name": unit.name,
        "run": unit.run,
        "worker": unit.worker,
        "outcome": unit.outcome,
        "file": unit.file,
        "line": unit.line,
        "phases": {phase: list(times) for phase, times in unit.phases.items()},
        "lost": unit.lost,
        "unknown": list(unit.unknown),
        "gaps": dict(unit.gaps),
        "not_checked": unit.not_checked,
        "breaches": [_breach_data(breach) for breach in unit.breaches],
        "records": [record_data(record) for record in unit.records],
        "strays": [record_data(record) for record in unit.strays],
        "uncounted": [_id(record) for record in unit.uncounted],
    }


def _breach_data(breach: Breach) -> dict[str, Any]:
    return {"headline": breach.headline, "text": breach.text, "undecided": breach.undecided, "late": breach.late}


def record_data(record: ExecRecord) -> dict[str, Any]:
    """A record as plain data; those that it refers to by their ids alone."""
    return {
        "id": _id(record),
        "program": record.program,
        "path": record.path,
        "executable": record.executable,
        "argv": None if record.argv is None else list(record.argv),
        "argv_truncated": record.argv_truncated,
        "pid": record.pid,
        "ppid": record.ppid,
        "parent": _id(record.parent),
        "previous": _id(record._previous),
        "lineage_lost": record._lineage_lost,
        "depth": record.depth,
        "direct": record._direct,
        "comm": record.comm,
        "uid": record.uid,
        "gid": record.gid,
        "cwd": record.cwd,
        "interpreter": record.interpreter,
        "script": record.script,
        "nested": None if record._nested is None else list(record._nested),
        "arguments_at": record._arguments_at,
        "timestamp_ns": record.timestamp_ns,
        "phase": record.phase,
        "begun_by": record.begun_by,
        "begun_in": record._begun_in,
        "shared": record._shared,
        "exit_code": record.exit_code,
        "signal": record.signal,
        "duration_ns": record.duration_ns,
        "call_site": None if record.call_site is None else list(record.call_site),
    }


def _id(record: ExecRecord | None) -> str | None:
    return None if record is None else "{}.{}".format(*record._identity)


# ---- reading ----


def read(path: Path) -> Document:
    """A stored report. Raises DocumentError, with the path."""
    try:
        text = originals.read_bytes(path).decode()
    except OSError as error:
        raise DocumentError(f"{path}: can't be read ({error.strerror or error})") from None
    except UnicodeDecodeError:
        raise DocumentError(f"{path}: is no JSON: it is not UTF-8") from None
    try:
        return load(text)
    except DocumentError as error:
        raise DocumentError(f"{path}: {error}") from None


def load(text: str) -> Document:
    """Raises DocumentError."""
    try:
        data = originals.json_loads(text)
    except (ValueError, RecursionError) as error:
        raise DocumentError(f"is no JSON, or was cut off ({error})") from None
    return from_data(data)


def from_data(data: object) -> Document:
    """Raises DocumentError."""
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise DocumentError('is no report of pytest-execprobe\'s (its "format" does not say so)')
    version = data.get("version")
    if isinstance(version, int) and version > VERSION:
        raise DocumentError(
            f"is a report of version {version}, and this pytest-execprobe reads up to {VERSION}: use a newer one"
        )
    if version != VERSION or isinstance(version, bool):
        raise DocumentError(f"has no version that is known: {version!r}")
    top = _Fields(data, "")
    runs_data, units_data = top.objects("runs"), top.objects("units")
    records: list[dict[str, _Fields]] = [{} for _ in runs_data]
    for run, fields in enumerate(runs_data):
        _list_records(fields.objects("above"), records[run])
    for fields in units_data:
        run = fields.whole("run")
        if run >= len(runs_data):
            raise DocumentError(f"{fields.where}.run: there is no run {run}")
        _list_records([*fields.objects("records"), *fields.objects("strays")], records[run])
    made = [_records(listed) for listed in records]
    runs = tuple(_run(fields) for fields in runs_data)
    if len({run.id for run in runs}) < len(runs):
        raise DocumentError("runs: two have one id")
    return Document(runs, tuple(_unit(fields, made[fields.whole("run")]) for fields in units_data))


def _list_records(listed: Iterable[_Fields], into: dict[str, _Fields]) -> None:
    for fields in listed:
        id = fields.text("id")
        if id in into:
            raise DocumentError(f"{fields.where}.id: another record of its run has it, too")
        into[id] = fields


def _run(fields: _Fields) -> Run:
    return Run(
        id=fields.text("id"),
        kind=fields.choice("kind", _RUNS),
        command=tuple(fields.texts("command")),
        started=fields.text("started"),
        start_ns=fields.whole("start_ns"),
        end_ns=fields.whole("end_ns"),
        exit_status=fields.maybe(fields.number, "exit_status"),
        probe=fields.text("probe"),
        ignored=fields.counts("ignored"),
        filtered=fields.flag("filtered"),
        unknown=tuple(fields.texts("unknown")),
        gaps=fields.counts("gaps"),
        breaches=_breaches(fields),
        running=tuple(map(_process, fields.objects("running"))),
        more_running=fields.whole("more_running"),
        left_out=tuple(fields.texts("left_out")),
        collection=fields.maybe(lambda name: _collection(fields.object(name)), "collection"),
        platform=fields.text("platform"),
        variant=fields.text("variant"),
    )


def _collection(fields: _Fields) -> Collection:
    return Collection(
        places=tuple(fields.texts("places")),
        files=tuple(fields.texts("files")),
        examples=tuple(fields.texts("examples")),
        skipped=tuple(fields.texts("skipped")),
        folders=tuple(fields.texts("folders")),
        passed_over=tuple(fields.texts("passed_over")),
    )


def _process(fields: _Fields) -> Process:
    return Process(
        pid=fields.maybe(fields.whole, "pid"),
        program=fields.maybe(fields.text, "program"),
        own_exec=fields.flag("own_exec"),
        since_ns=fields.maybe(fields.whole, "since_ns"),
    )


def _unit(fields: _Fields, made: Mapping[str, ExecRecord]) -> Unit:
    phases: dict[Phase, tuple[int, int]] = {}
    for phase, times in fields.mapping("phases").items():
        are_times = isinstance(times, list) and len(times) == 2 and all(map(_is_whole, times))
        if phase not in _PHASES or not are_times or times[0] > times[1]:
            raise DocumentError(f"{fields.where}.phases: {phase!r} is no phase with its beginning and end")
        phases[phase] = (times[0], times[1])
    listed = [record.text("id") for record in (*fields.objects("records"), *fields.objects("strays"))]
    uncounted = set(fields.texts("uncounted"))
    return Unit(
        kind=fields.choice("kind", KINDS),
        name=fields.text("name"),
        run=fields.whole("run"),
        worker=fields.maybe(fields.text, "worker"),
        outcome=fields.maybe(lambda name: fields.choice(name, OUTCOMES), "outcome"),
        file=fields.maybe(fields.text, "file"),
        line=fields.maybe(fields.whole, "line"),
        phases=phases,
        records=tuple(made[record.text("id")] for record in fields.objects("records")),
        strays=tuple(made[record.text("id")] for record in fields.objects("strays")),
        uncounted=tuple(made[id] for id in listed if id in uncounted),
        lost=fields.whole("lost"),
        unknown=tuple(fields.texts("unknown")),
        gaps=fields.counts("gaps"),
        not_checked=fields.maybe(fields.text, "not_checked"),
        breaches=_breaches(fields),
    )


def _breaches(fields: _Fields) -> tuple[Breach, ...]:
    return tuple(
        Breach(breach.text("headline"), breach.text("text"), breach.flag("undecided"), breach.flag("late"))
        for breach in fields.objects("breaches")
    )


def records_of(data: Iterable[object], known: Mapping[str, ExecRecord]) -> dict[str, ExecRecord]:
    """Records, by their ids, that may refer to each other and to those ``known``. Raises DocumentError."""
    listed: dict[str, _Fields] = {}
    _list_records([_Fields(record, "records") for record in data], listed)
    return _records(listed, known)


def _records(listed: Mapping[str, _Fields], known: Mapping[str, ExecRecord] | None = None) -> dict[str, ExecRecord]:
    """Frozen records are made after those that they refer to."""
    made = dict(known or {})
    for first in listed:
        todo, begun = [first], set()
        while todo:
            id = todo[-1]
            if id in made:
                todo.pop()
                continue
            wanted = [other for other in _references(listed[id]) if other in listed and other not in made]
            if wanted and id in begun:
                raise DocumentError(f"{listed[id].where}: the record {id} is its own ancestor")
            begun.add(id)
            todo += wanted
            if not wanted:
                made[id] = _record(listed[id], made)
    return made


def _references(fields: _Fields) -> Iterator[str]:
    for name in ("parent", "previous"):
        id = fields.maybe(fields.text, name)
        if id is not None:
            yield id


def _record(fields: _Fields, made: Mapping[str, ExecRecord]) -> ExecRecord:
    identity = _ID.fullmatch(fields.text("id"))
    if identity is None:
        raise DocumentError(f"{fields.where}.id: is not made of a pid and a time")
    argv, site = fields.maybe(fields.texts, "argv"), fields.get("call_site")
    nested = fields.maybe(fields.maybe_texts, "nested")
    if site is not None and not (
        isinstance(site, list) and list(map(type, site)) == [str, int, str]  # file, line, function
    ):
        raise DocumentError(f"{fields.where}.call_site: is not a file, a line and a function")
    command = Command(
        path=fields.maybe(fields.text, "path"),
        executable=fields.maybe(fields.text, "executable"),
        argv=None if argv is None else tuple(argv),
        argv_truncated=fields.flag("argv_truncated"),
        comm=fields.text("comm"),
        cwd=fields.maybe(fields.text, "cwd"),
        interpreter=fields.maybe(fields.text, "interpreter"),
        script=fields.maybe(fields.text, "script"),
        nested=None if nested is None else tuple(nested),
        arguments_at=fields.maybe(fields.whole, "arguments_at"),
    )
    command.program = fields.maybe(fields.text, "program")
    record = ExecRecord(
        command,
        pid=fields.whole("pid"),
        ppid=fields.maybe(fields.whole, "ppid"),
        parent=None,
        depth=fields.maybe(fields.whole, "depth"),
        uid=fields.whole("uid"),
        gid=fields.whole("gid"),
        timestamp_ns=fields.whole("timestamp_ns"),
        phase=fields.maybe(lambda name: fields.choice(name, _PHASES), "phase"),
        begun_by=fields.maybe(fields.text, "begun_by"),
        error=None,
        exit_code=fields.maybe(fields.whole, "exit_code"),
        signal=fields.maybe(fields.whole, "signal"),
        duration_ns=fields.maybe(fields.whole, "duration_ns"),
        call_site=None if site is None else (site[0], site[1], site[2]),
        _direct=fields.flag("direct"),
        _shared=fields.flag("shared"),
        _begun_in=fields.maybe(lambda name: fields.choice(name, _PHASES), "begun_in"),
        _lineage_lost=fields.flag("lineage_lost"),
        _identity=(int(identity[1]), int(identity[2])),
    )
    references = [fields.maybe(fields.text, name) for name in ("parent", "previous")]
    found = [None if id is None else made.get(id) for id in references]
    lost = any(id is not None and other is None for id, other in zip(references, found, strict=True))
    return replace(record, parent=found[0], _previous=found[1], _lineage_lost=record._lineage_lost or lost)


# ---- fields ----


class _Fields:
    """A JSON object, of which each field is read with its type. Raises DocumentError."""

    def __init__(self, data: object, where: str) -> None:
        if not isinstance(data, dict):
            raise DocumentError(f"{where or 'the report'}: is no object")
        self._data: dict[str, Any] = data
        self.where = where or "the report"

    def get(self, name: str) -> Any:
        if name not in self._data:
            raise DocumentError(f"{self.where}: has no {name!r}")
        return self._data[name]

    def _checked(self, name: str, what: str, right: Callable[[Any], bool]) -> Any:
        value = self.get(name)
        if not right(value):
            raise DocumentError(f"{self.where}.{name}: is no {what}")
        return value

    def text(self, name: str) -> str:
        return str(self._checked(name, "text", lambda value: isinstance(value, str)))

    def flag(self, name: str) -> bool:
        return bool(self._checked(name, "true or false", lambda value: isinstance(value, bool)))

    def number(self, name: str) -> int:
        return int(self._checked(name, "whole number", _is_int))

    def whole(self, name: str) -> int:
        return int(self._checked(name, "whole number from 0 on", _is_whole))

    def choice(self, name: str, choices: tuple[C, ...]) -> C:
        value = self.text(name)
        for choice in choices:
            if choice == value:
                return choice
        raise DocumentError(f"{self.where}.{name}: is none of {', '.join(choices)}")

    def mapping(self, name: str) -> dict[str, Any]:
        return dict(self._checked(name, "object", lambda value: isinstance(value, dict)))

    def counts(self, name: str) -> dict[str, int]:
        return dict(
            self._checked(
                name,
                "object of whole numbers",
                lambda value: isinstance(value, dict) and all(map(_is_whole, value.values())),
            )
        )

    def texts(self, name: str) -> list[str]:
        return list(
            self._checked(
                name, "list of texts", lambda value: isinstance(value, list) and set(map(type, value)) <= {str}
            )
        )

    def maybe_texts(self, name: str) -> list[str | None]:
        return list(
            self._checked(
                name,
                "list of texts or nulls",
                lambda value: isinstance(value, list) and set(map(type, value)) <= {str, type(None)},
            )
        )

    def object(self, name: str) -> _Fields:
        return _Fields(self.get(name), f"{self._prefix}{name}")

    @property
    def _prefix(self) -> str:
        return "" if self.where == "the report" else f"{self.where}."

    def objects(self, name: str) -> list[_Fields]:
        values = self._checked(name, "list", lambda value: isinstance(value, list))
        prefix = self._prefix
        return [_Fields(value, f"{prefix}{name}[{index}]") for index, value in enumerate(values)]

    def maybe(self, read: Callable[[str], T], name: str) -> T | None:
        return None if self.get(name) is None else read(name)


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 63


def _is_whole(value: Any) -> bool:
    return _is_int(value) and value >= 0

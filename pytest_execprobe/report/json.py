"""A report as JSON, and back. The form is published as ``schema.json`` beside this file.

Reading checks every field, because a report comes from another machine. Records refer to each other by their ids,
which are unique within a run, and to what they executed by its place in a list of the run's commands: a suite executes
few commands, and those often.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

from .._util import originals
from ..source.command import Command
from ..source.events import Image
from ..timeline.record import ExecRecord, Phase
from .model import KINDS, OUTCOMES, Breach, Collection, Document, Process, Run, Unit

FORMAT = "pytest-execprobe report"
VERSION = 2

_ID = re.compile(r"([0-9]{1,10})\.([0-9]{1,20})")
_PHASES: tuple[Phase, ...] = ("setup", "call", "teardown")
_MAYBE_PHASES = (None, *_PHASES)
_AT_ONCE = 1000  # records that are written at once
_RUNS: tuple[Literal["pytest", "command"], ...] = ("pytest", "command")

T = TypeVar("T")
C = TypeVar("C", bound=str)


class DocumentError(Exception):
    """What was read is no report, or not one that this version understands. The message says where and why."""


# ---- writing ----


def dump(document: Document) -> str:
    """JSON. A byte of an argv that is no UTF-8 is a lone surrogate, escaped, as Python decodes it."""
    return "".join(_pieces(document)) + "\n"


def _pieces(document: Document) -> Iterator[str]:
    """Of very many records, there is never the plain data of all at once."""
    commands = [Commands() for _ in document.runs]
    head = {"format": FORMAT, "version": VERSION}
    yield _json(head)[:-1] + ',"units":['
    for index, unit in enumerate(document.units):
        yield "," if index else ""
        yield from _object(_unit_data(unit), commands[unit.run], {"records": unit.records, "strays": unit.strays})
    yield '],"runs":['
    for index, (run, its) in enumerate(zip(document.runs, commands, strict=True)):
        yield "," if index else ""
        listed = [record for unit in document.units if unit.run == index for record in unit.all_records]
        ancestors = above(listed)
        for record in ancestors:
            its.number(record._command)
        yield from _object({**_run_data(run), "commands": its.listed}, its, {"above": ancestors})
    yield "]}"


def _object(data: dict[str, Any], commands: Commands, lists: Mapping[str, Sequence[ExecRecord]]) -> Iterator[str]:
    """Some data, and lists of records."""
    yield _json(data)[:-1]
    for name, records in lists.items():
        yield f',"{name}":['
        for start in range(0, len(records), _AT_ONCE):
            part = [record_data(record, commands) for record in records[start : start + _AT_ONCE]]
            yield ("," if start else "") + _json(part)[1:-1]
        yield "]"
    yield "}"


def _json(data: object) -> str:
    return originals.json_dumps(data, separators=(",", ":"))


class Commands:
    """The commands of some records, each once."""

    def __init__(self) -> None:
        #: As plain data.
        self.listed: list[dict[str, Any]] = []
        self._numbers: dict[int, tuple[int, Command]] = {}  # with the command, for its id is another's when it has gone
        self._same: dict[str, int] = {}

    def number(self, command: Command) -> int:
        """Where in the list a command is."""
        found = self._numbers.get(id(command))
        if found is None:
            data = command_data(command)
            number = self._same.setdefault(_json(data), len(self.listed))
            if number == len(self.listed):
                self.listed.append(data)
            found = self._numbers[id(command)] = number, command
        return found[0]


def above(records: Iterable[ExecRecord]) -> list[ExecRecord]:
    """The ancestors of some records that are not themselves among them: those that ``--execprobe-ignore`` names."""
    todo, found = list(records), []
    known = {record._identity for record in todo}
    while todo:
        record = todo.pop()
        for ancestor in (record.parent, record._previous):
            if ancestor is not None and ancestor._identity not in known:
                known.add(ancestor._identity)
                found.append(ancestor)
                todo.append(ancestor)
    return found


def _run_data(run: Run) -> dict[str, Any]:
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
        "uncounted": [_id(record) for record in unit.uncounted],
    }


def _breach_data(breach: Breach) -> dict[str, Any]:
    return {"headline": breach.headline, "text": breach.text, "undecided": breach.undecided, "late": breach.late}


def command_data(command: Command) -> dict[str, Any]:
    """As plain data."""
    return {
        "program": command.program,
        "path": command.path,
        "executable": command.executable,
        "argv": None if command.argv is None else list(command.argv),
        "argv_truncated": command.argv_truncated,
        "comm": command.comm,
        "cwd": command.cwd,
        "interpreter": command.interpreter,
        "script": command.script,
        "nested": None if command.nested is None else list(command.nested),
        "arguments_at": command.arguments_at,
    }


def record_data(record: ExecRecord, commands: Commands) -> dict[str, Any]:
    """A record as plain data; those that it refers to by their ids alone."""
    return {
        "id": _id(record),
        "command": commands.number(record._command),
        "pid": record.pid,
        "ppid": record.ppid,
        "parent": _id(record.parent),
        "previous": _id(record._previous),
        "lineage_lost": record._lineage_lost,
        "depth": record.depth,
        "direct": record._direct,
        "uid": record.uid,
        "gid": record.gid,
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
    return None if record is None else id_of(record._identity)


def id_of(image: Image) -> str:
    """By which records refer to an exec."""
    return f"{image[0]}.{image[1]}"


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
    read = [Records(list(map(_command, fields.objects("commands")))) for fields in runs_data]
    for fields, records in zip(runs_data, read, strict=True):
        records.take(fields, "above")
    for fields in units_data:
        run = fields.whole("run")
        if run >= len(runs_data):
            raise DocumentError(f"{fields.where}.run: there is no run {run}")
        read[run].take(fields, "records")
        read[run].take(fields, "strays")
    made = [records.make() for records in read]
    runs = tuple(_run(fields) for fields in runs_data)
    if len({run.id for run in runs}) < len(runs):
        raise DocumentError("runs: two have one id")
    return Document(runs, tuple(_unit(fields, made[fields.whole("run")]) for fields in units_data))


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
    records, strays = (tuple(made[data["id"]] for data in fields.get(name)) for name in ("records", "strays"))
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
        records=records,
        strays=strays,
        uncounted=tuple(one for one in (*records, *strays) if _id(one) in uncounted) if uncounted else (),
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


class Records:
    """The records of a run, while they are read. ``commands`` may still grow."""

    def __init__(self, commands: list[Command]) -> None:
        self._commands = commands
        self._listed: dict[str, Sequence[Any]] = {}  # by id, the values of the fields
        self._made: dict[str, ExecRecord] = {}
        self._same: dict[Any, Any] = {}  # what many of them have, once

    def take(self, fields: _Fields, name: str) -> None:
        """Takes in a list of them. Raises DocumentError."""
        for index, data in enumerate(fields.items(name)):
            values = _values(data) or _checked(_Fields(data, fields.place(name, index)))
            id = values[0]
            if id in self._listed:
                raise DocumentError(f"{fields.place(name, index)}.id: another record of its run has it, too")
            if values[1] >= len(self._commands):
                raise DocumentError(f"{fields.place(name, index)}.command: there is no command {values[1]}")
            self._listed[id] = values

    def make(self) -> dict[str, ExecRecord]:
        """All of them, by their ids. Frozen records are made after those that they refer to. Raises DocumentError."""
        made, listed = self._made, self._listed
        for first in listed:
            todo, begun = [first], set()
            while todo:
                id = todo[-1]
                if id in made:
                    todo.pop()
                    continue
                wanted = [other for other in listed[id][4:6] if other in listed and other not in made]
                if wanted and id in begun:
                    raise DocumentError(f"the record {id} is its own ancestor")
                begun.add(id)
                todo += wanted
                if not wanted:
                    self.add(listed[id])
        return made

    def add(self, values: Sequence[Any]) -> ExecRecord:
        """Makes a record of the values of its fields, if there is none of its id. Those that it refers to are there, or
        lost."""
        (
            id, command, pid, ppid, parent, previous, lost, depth, direct, uid, gid, timestamp, phase, begun_by,
            begun_in, shared, exit_code, signal, duration, site,
        ) = values  # fmt: skip
        known = self._made.get(id)
        if known is not None:
            return known
        once = self._same.setdefault
        kernel_pid, _, at = id.partition(".")
        above, before = self._made.get(parent), self._made.get(previous)
        lost = lost or (above is None) is not (parent is None) or (before is None) is not (previous is None)
        record = self._made[id] = ExecRecord(
            self._commands[command],
            pid,
            once(ppid, ppid),
            above,
            depth,
            once(uid, uid),
            once(gid, gid),
            timestamp,
            once(phase, phase),
            once(begun_by, begun_by),
            None,
            exit_code,
            signal,
            duration,
            None if site is None else tuple(site),
            _previous=before,
            _direct=direct,
            _shared=shared,
            _begun_in=once(begun_in, begun_in),
            _lineage_lost=lost,
            _identity=(int(kernel_pid), int(at)),
        )
        return record

    def end(self, id: str, exit_code: int | None, signal: int | None, duration_ns: int | None) -> None:
        """How the process of a record that was added has ended."""
        for name, value in (("exit_code", exit_code), ("signal", signal), ("duration_ns", duration_ns)):
            object.__setattr__(self._made[id], name, value)  # nobody has been given it yet


_FIELDS = (
    *("id", "command", "pid", "ppid", "parent", "previous", "lineage_lost", "depth", "direct", "uid", "gid"),
    *("timestamp_ns", "phase", "begun_by", "begun_in", "shared", "exit_code", "signal", "duration_ns", "call_site"),
)
_VALUES = itemgetter(*_FIELDS)
#: The types of records that were right, and what has their numbers: most records have those of one before.
_known_types: dict[tuple[type, ...], Callable[[tuple[Any, ...]], tuple[int, ...]]] = {}


def _values(data: Any) -> tuple[Any, ...] | None:
    """The values of a record's fields, None where it is not certain that they are right."""
    try:
        values: tuple[Any, ...] = _VALUES(data)
    except (KeyError, TypeError):
        return None
    numbers = _known_types.get(tuple(map(type, values)))
    if numbers is None or values[12] not in _MAYBE_PHASES or values[14] not in _MAYBE_PHASES:
        return None
    given = numbers(values)
    right = min(given) >= 0 and max(given) < 1 << 63 and _ID.fullmatch(values[0])
    return values if right else None


def _checked(fields: _Fields) -> tuple[Any, ...]:
    """The same, with each of them looked at. Raises DocumentError."""
    if _ID.fullmatch(fields.text("id")) is None:
        raise DocumentError(f"{fields.where}.id: is not made of a pid and a time")
    for name in ("command", "pid", "uid", "gid", "timestamp_ns"):
        fields.whole(name)
    for name in ("ppid", "depth", "exit_code", "signal", "duration_ns"):
        fields.maybe(fields.whole, name)
    for name in ("parent", "previous", "begun_by"):
        fields.maybe(fields.text, name)
    for name in ("lineage_lost", "direct", "shared"):
        fields.flag(name)
    for name in ("phase", "begun_in"):
        fields.maybe(lambda name: fields.choice(name, _PHASES), name)
    site = fields.get("call_site")
    if site is not None and not (
        isinstance(site, list) and list(map(type, site)) == [str, int, str]  # file, line, function
    ):
        raise DocumentError(f"{fields.where}.call_site: is not a file, a line and a function")
    values: tuple[Any, ...] = tuple(map(fields.get, _FIELDS))
    types = tuple(map(type, values))
    if site is None:
        _known_types[types] = itemgetter(*(place for place, its in enumerate(types) if its is int))
    return values


def read_command(data: object) -> Command:
    """A command of plain data. Raises DocumentError."""
    return _command(_Fields(data, "commands"))


def _command(fields: _Fields) -> Command:
    argv, nested = fields.maybe(fields.texts, "argv"), fields.maybe(fields.maybe_texts, "nested")
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
    return command


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

    def items(self, name: str) -> list[Any]:
        return cast("list[Any]", self._checked(name, "list", lambda value: isinstance(value, list)))

    def place(self, name: str, index: int) -> str:
        return f"{self._prefix}{name}[{index}]"

    def objects(self, name: str) -> list[_Fields]:
        return [_Fields(value, self.place(name, index)) for index, value in enumerate(self.items(name))]

    def maybe(self, read: Callable[[str], T], name: str) -> T | None:
        return None if self.get(name) is None else read(name)


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 63


def _is_whole(value: Any) -> bool:
    return _is_int(value) and value >= 0

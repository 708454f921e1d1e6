"""A report as JSON. The form is published as ``schema.json`` beside this file.

Records refer to each other by their ids, which are unique within a run, and to what they executed by its place in a
list of the run's commands: a suite executes few commands, and those often.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from .._util import originals
from .._util.redaction import in_force
from ..source.command import Command
from ..source.events import Image
from ..timeline.record import ExecRecord
from ..timeline.site import CallSite

if TYPE_CHECKING:
    from .model import Document

FORMAT = "pytest-execprobe report"
VERSION = 2

_AT_ONCE = 1000  # records that are written at once
_OF_COMMAND = [field.name for field in fields(Command) if field.init]


def dump(document: Document) -> str:
    """JSON, without secrets. A byte of an argv that is no UTF-8 is a lone surrogate, escaped, as Python decodes it."""
    return "".join(_pieces(document)) + "\n"


def _pieces(document: Document) -> Iterator[str]:
    """Of very many records, there is never the plain data of all at once."""
    commands = [CommandTable(lambda command: command.shown) for _ in document.runs]
    head = {"format": FORMAT, "version": VERSION}
    yield _json(head)[:-1] + ',"units":['
    for index, unit in enumerate(document.units):
        yield "," if index else ""
        data = {**vars(unit), "uncounted": [_id(record) for record in unit.uncounted]}
        lists = {name: data.pop(name) for name in ("records", "strays")}
        yield from _object(data, commands[unit.run], lists)
    yield '],"runs":['
    for index, (run, its) in enumerate(zip(document.runs, commands, strict=True)):
        yield "," if index else ""
        listed = [record for unit in document.units if unit.run == index for record in unit.all_records]
        ancestors = above(listed)
        for record in ancestors:
            its.number(record._command)
            its.site(record.call_site)
        tables = {"redacted": run.redacted or in_force().on, "commands": its.listed, "call_sites": its.sites}
        yield from _object({**vars(run), **tables}, its, {"above": ancestors})
    yield "]}"


def _object(data: dict[str, Any], commands: CommandTable, lists: Mapping[str, Sequence[ExecRecord]]) -> Iterator[str]:
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
    return originals.json_dumps(data, separators=(",", ":"), default=vars)  # its dataclasses have the schema's names


class CommandTable:
    """The commands of some records, as ``shown`` has them, and the call sites, each once."""

    def __init__(self, shown: Callable[[Command], Command] = lambda command: command) -> None:
        self._shown = shown
        #: As plain data.
        self.listed: list[dict[str, Any]] = []
        self.sites: list[dict[str, Any]] = []
        self._known_sites: dict[CallSite, int] = {}
        self._numbers: dict[int, tuple[int, Command]] = {}  # with the command, for its id is another's when it has gone
        self._same: dict[str, int] = {}

    def number(self, command: Command) -> int:
        """Where in the list a command is."""
        found = self._numbers.get(id(command))
        if found is None:
            data = command_data(self._shown(command))
            number = self._same.setdefault(_json(data), len(self.listed))
            if number == len(self.listed):
                self.listed.append(data)
            found = self._numbers[id(command)] = number, command
        return found[0]

    def site(self, site: CallSite | None) -> int | None:
        """Where in its list a call site is."""
        if site is None:
            return None
        number = self._known_sites.setdefault(site, len(self.sites))
        if number == len(self.sites):
            self.sites.append(vars(site))
        return number


def above(records: Iterable[ExecRecord]) -> list[ExecRecord]:
    """The ancestors of some records that are not themselves among them: those that ``--execprobe-ignore`` names."""
    todo, found = list(records), []
    known = {record._identity for record in todo}
    while todo:
        record = todo.pop()
        for ancestor in (record.parent, record._lineage.previous):
            if ancestor is not None and ancestor._identity not in known:
                known.add(ancestor._identity)
                found.append(ancestor)
                todo.append(ancestor)
    return found


def command_data(command: Command) -> dict[str, Any]:
    """As plain data."""
    return {name: getattr(command, name) for name in ("program", *_OF_COMMAND)}


def record_data(record: ExecRecord, commands: CommandTable) -> dict[str, Any]:
    """A record as plain data; those that it refers to by their ids alone."""
    return {
        "id": _id(record),
        "command": commands.number(record._command),
        "pid": record.pid,
        "ppid": record.ppid,
        "parent": _id(record.parent),
        "previous": _id(record._lineage.previous),
        "lineage_lost": record._lineage.lost,
        "depth": record.depth,
        "direct": record._lineage.direct,
        "uid": record.uid,
        "gid": record.gid,
        "timestamp_ns": record.timestamp_ns,
        "phase": record.phase,
        "begun_by": record.begun_by,
        "begun_in": record._lineage.begun_in,
        "shared": record._lineage.shared,
        "fork": record._lineage.fork,
        "exit_code": record.exit_code,
        "signal": record.signal,
        "duration_ns": record.duration_ns,
        "stopped": record.stopped,
        "call_site": commands.site(record.call_site),
    }


def _id(record: ExecRecord | None) -> str | None:
    return None if record is None else id_of(record._identity)


def id_of(image: Image) -> str:
    """By which records refer to an exec."""
    return f"{image[0]}.{image[1]}"

"""A report as JSON. The form is published as ``schema.json`` beside this file.

Records refer to each other by their ids, which are unique within a run, and to what they executed by its place in a
list of the run's commands: a suite executes few commands, and those often.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields
from itertools import islice
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

_AT_ONCE = 100  # records that are written at once
_OF_COMMAND = [field.name for field in fields(Command) if field.init]


def pieces(document: Document) -> Iterator[str]:
    """JSON, without secrets. A byte of an argv that is no UTF-8 is a lone surrogate, escaped, as Python decodes it.
    Piece by piece: of very many records, neither their plain data nor their text is ever there at once."""
    commands = [CommandTable(lambda command: command.shown) for _ in document.runs]
    head = {"format": FORMAT, "version": VERSION}
    yield _json(head)[:-1] + ',"units":['
    for index, unit in enumerate(document.units):
        yield "," if index else ""
        data = {**vars(unit), "uncounted": [_id(record) for record in unit.uncounted]}
        lists = {name: data.pop(name) for name in ("records", "strays")}
        yield from _object(data, {name: _texts(records, commands[unit.run]) for name, records in lists.items()})
    yield '],"runs":['
    for index, (run, its) in enumerate(zip(document.runs, commands, strict=True)):
        yield "," if index else ""
        listed = [record for unit in document.units if unit.run == index for record in unit.all_records]
        ancestors = above(listed)
        for record in ancestors:
            its.number(record._command)
            its.site(record.call_site)
        data = {**vars(run), "redacted": run.redacted or in_force().on}
        sites = map(_json, its.sites)
        yield from _object(data, {"commands": its.texts, "call_sites": sites, "above": _texts(ancestors, its)})
    yield "]}\n"


def _object(data: dict[str, Any], lists: Mapping[str, Iterable[str]]) -> Iterator[str]:
    """Some data, and lists of what is JSON already."""
    yield _json(data)[:-1]
    for name, items in lists.items():
        yield f',"{name}":['
        todo, is_first = iter(items), True
        while part := list(islice(todo, _AT_ONCE)):
            yield ("" if is_first else ",") + ",".join(part)
            is_first = False
        yield "]"
    yield "}"


def _texts(records: Iterable[ExecRecord], commands: CommandTable) -> Iterator[str]:
    return (record_text(record, commands) for record in records)


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
        self._same: dict[str, int] = {}  # by what it is as JSON
        self._texts: dict[str | None, str] = {None: "null"}

    @property
    def texts(self) -> Iterable[str]:
        """The list as JSON."""
        return self._same

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

    def text(self, value: str | None) -> str:
        """A text that many records have, as JSON."""
        known = self._texts.get(value)
        if known is None:
            known = self._texts[value] = _json(value)
        return known

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


_RECORD = (
    '{"id":"%d.%d","command":%d,"pid":%d,"ppid":%s,"parent":%s,"previous":%s,"lineage_lost":%s,"depth":%s,"direct":%s,'
    '"uid":%d,"gid":%d,"timestamp_ns":%d,"phase":%s,"begun_by":%s,"begun_in":%s,"shared":%s,"fork":%s,"exit_code":%s,'
    '"signal":%s,"duration_ns":%s,"stopped":%s,"call_site":%s}'
)


def record_text(record: ExecRecord, commands: CommandTable) -> str:
    """A record as JSON; those that it refers to by their ids alone. There are very many: this takes a third of the time
    that it would by way of plain data."""
    above, lineage, text = record.parent, record._lineage, commands.text
    before, site = lineage.previous, record.call_site
    return _RECORD % (
        *record._identity,
        commands.number(record._command),
        record.pid,
        _number(record.ppid),
        "null" if above is None else f'"{id_of(above._identity)}"',
        "null" if before is None else f'"{id_of(before._identity)}"',
        _FLAGS[lineage.lost],
        _number(record.depth),
        _FLAGS[lineage.direct],
        record.uid,
        record.gid,
        record.timestamp_ns,
        text(record.phase),
        text(record.begun_by),
        text(lineage.begun_in),
        _FLAGS[lineage.shared],
        "null" if lineage.fork is None else _json(lineage.fork),
        _number(record.exit_code),
        _number(record.signal),
        _number(record.duration_ns),
        _FLAGS[record.stopped],
        "null" if site is None else commands.site(site),
    )


_FLAGS = ("false", "true")


def _number(value: int | None) -> str:
    return "null" if value is None else f"{value:d}"  # of a signal, too, which is an enum


def _id(record: ExecRecord | None) -> str | None:
    return None if record is None else id_of(record._identity)


def id_of(image: Image) -> str:
    """By which records refer to an exec."""
    return f"{image[0]}.{image[1]}"

"""A report read back from JSON: every field is checked, because a report comes from another machine."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal

from .._util import originals
from .._util.collector import postponed
from .._util.fields import Fields, is_whole
from ..origin.origin import Origin
from ..source.command import Command
from ..timeline.record import ExecRecord, Phase, lineage, make_record
from ..timeline.site import CallSite, Frame
from .json import FORMAT, VERSION, id_of
from .model import KINDS, OUTCOMES, Collection, Document, LeftRunning, ReportedBreach, Run, Unit

_ID = re.compile(r"([0-9]{1,10})\.([0-9]{1,20})")
_PHASES: tuple[Phase, ...] = ("setup", "call", "teardown")
_MAYBE_PHASES = (None, *_PHASES)
_RUNS: tuple[Literal["pytest", "command"], ...] = ("pytest", "command")


class DocumentError(Exception):
    """What was read is no report, or not one that this version understands. The message says where and why."""


def read(path: Path) -> Document:
    """A stored report. Raises DocumentError, with the path."""
    try:
        text = originals.read_bytes(path).decode()
    except OSError as error:
        raise DocumentError(f"{path}: can't be read ({error.strerror or error})") from None
    except UnicodeDecodeError:
        raise DocumentError(f"{path}: expected JSON, and it is not UTF-8") from None
    try:
        with postponed:
            return load(text)
    except DocumentError as error:
        raise DocumentError(f"{path}: {error}") from None


def load(text: str) -> Document:
    """Raises DocumentError."""
    try:
        data = originals.json_loads(text, object_pairs_hook=_of_pairs)
    except (ValueError, RecursionError) as error:
        raise DocumentError(f"expected JSON; it may be cut off ({error})") from None
    return from_data(data)


def _of_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object. One that has a name twice can be read in two ways, of which only one may be what was meant."""
    data = dict(pairs)
    if len(data) < len(pairs):
        name = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise DocumentError(f"an object has {name!r} more than once, so that it is not known what is meant")
    return data


def from_data(data: object) -> Document:
    """Raises DocumentError."""
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise DocumentError(f'expected a report of pytest-execprobe, whose "format" is "{FORMAT}"')
    version = data.get("version")
    if isinstance(version, int) and version > VERSION:
        raise DocumentError(
            f"is a report of version {version}, and this pytest-execprobe reads up to {VERSION}: use a newer one"
        )
    if version != VERSION or isinstance(version, bool):
        raise DocumentError(f"has no version that is known: {version!r}")
    top = Fields(data, "", DocumentError)
    runs_data, units_data = top.objects("runs"), top.objects("units")
    read = [Records(_commands(fields), list(map(_call_site, fields.objects("call_sites")))) for fields in runs_data]
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


def _run(fields: Fields) -> Run:
    return Run(
        kind=fields.choice("kind", _RUNS),
        exit_status=fields.maybe(fields.number, "exit_status"),
        filtered=fields.flag("filtered"),
        redacted=fields.flag("redacted"),
        origins=_origins(fields),
        breaches=_breaches(fields),
        running=tuple(map(_left_running, fields.objects("running"))),
        collection=fields.maybe(lambda name: _collection(fields.object(name)), "collection"),
        **_each(fields.text, "id", "started", "probe", "platform", "variant"),
        **_each(fields.whole, "start_ns", "end_ns", "more_running"),
        **_each(fields.counts, "ignored", "gaps"),
        **_tuples(fields, "command", "unknown", "left_out"),
    )


def _origins(run: Fields) -> dict[str, Origin] | None:
    if run.get("origins") is None:
        return None
    by_path = run.object("origins")
    return {path: _origin(by_path.object(path)) for path in run.mapping("origins")}


def _origin(fields: Fields) -> Origin:
    return Origin(
        owned=fields.maybe(fields.flag, "owned"),
        package=fields.maybe(fields.text, "package"),
        why=fields.text("why"),
        **_tuples(fields, "remarks"),
    )


def _collection(fields: Fields) -> Collection:
    return Collection(
        **_tuples(fields, "places", "files", "examples", "skipped", "folders", "passed_over", "functions")
    )


def _left_running(fields: Fields) -> LeftRunning:
    return LeftRunning(
        program=fields.maybe(fields.text, "program"),
        own_exec=fields.flag("own_exec"),
        **_maybe(fields, fields.whole, "pid", "since_ns"),
    )


def _unit(fields: Fields, made: Mapping[str, ExecRecord]) -> Unit:
    phases: dict[Phase, tuple[int, int]] = {}
    for phase, times in fields.mapping("phases").items():
        are_times = isinstance(times, list) and len(times) == 2 and all(map(is_whole, times))
        if phase not in _PHASES or not are_times or times[0] > times[1]:
            raise DocumentError(f"{fields.where}.phases: expected a phase's beginning and end, not {phase!r}: {times}")
        phases[phase] = (times[0], times[1])
    records, strays = (tuple(made[data["id"]] for data in fields.get(name)) for name in ("records", "strays"))
    uncounted = set(fields.texts("uncounted"))
    return Unit(
        kind=fields.choice("kind", KINDS),
        name=fields.text("name"),
        outcome=fields.maybe(lambda name: fields.choice(name, OUTCOMES), "outcome"),
        phases=phases,
        records=records,
        strays=strays,
        uncounted=tuple(one for one in (*records, *strays) if id_of(one._identity) in uncounted) if uncounted else (),
        unknown=tuple(fields.texts("unknown")),
        gaps=fields.counts("gaps"),
        breaches=_breaches(fields),
        **_each(fields.whole, "run", "lost"),
        **_maybe(fields, fields.text, "worker", "file", "not_checked"),
        **_maybe(fields, fields.whole, "line"),
    )


def _each(read: Callable[[str], Any], *names: str) -> dict[str, Any]:
    """Several fields of one type, by their names."""
    return {name: read(name) for name in names}


def _maybe(fields: Fields, read: Callable[[str], Any], *names: str) -> dict[str, Any]:
    return {name: fields.maybe(read, name) for name in names}


def _tuples(fields: Fields, *names: str) -> dict[str, Any]:
    return {name: tuple(fields.texts(name)) for name in names}


def _breaches(fields: Fields) -> tuple[ReportedBreach, ...]:
    return tuple(
        ReportedBreach(
            **_each(breach.text, "headline", "text"),
            **_each(breach.flag, "undecided", "late"),
            call_site=breach.maybe(lambda name: _call_site(breach.object(name)), "call_site"),  # noqa: B023
        )
        for breach in fields.objects("breaches")
    )


class Records:
    """The records of a run, while they are read. ``commands`` and ``sites`` may still grow."""

    def __init__(self, commands: list[Command], sites: list[CallSite]) -> None:
        self._commands, self._sites = commands, sites
        self._listed: dict[str, Sequence[Any]] = {}  # by id, the values of the fields
        self._made: dict[str, ExecRecord] = {}
        self._same: dict[Any, Any] = {}  # what many of them have, once

    def take(self, fields: Fields, name: str) -> None:
        """Takes in a list of them. Raises DocumentError."""
        for index, data in enumerate(fields.items(name)):
            values = _values(data) or _checked(Fields(data, fields.place(name, index), DocumentError))
            id = values[0]
            if id in self._listed:
                raise DocumentError(f"{fields.place(name, index)}.id: another record of its run has it, too")
            if values[1] >= len(self._commands):
                raise DocumentError(f"{fields.place(name, index)}.command: there is no command {values[1]}")
            if values[-1] is not None and values[-1] >= len(self._sites):
                raise DocumentError(f"{fields.place(name, index)}.call_site: there is no call site {values[-1]}")
            self._listed[id] = values

    def make(self) -> dict[str, ExecRecord]:
        """All of them, by their ids. Frozen records are made after those that they refer to. Raises DocumentError."""
        made, listed = self._made, self._listed
        for first, values in listed.items():
            parent, previous = values[4], values[5]
            if (parent is None or parent in made) and (previous is None or previous in made):  # as most are
                self.add(values)
                continue
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
            begun_in, shared, fork, exit_code, signal, duration, stopped, site,
        ) = values  # fmt: skip
        known = self._made.get(id)
        if known is not None:
            return known
        once = self._same.setdefault
        kernel_pid, _, at = id.partition(".")
        above, before = self._made.get(parent), self._made.get(previous)
        lost = lost or (above is None) is not (parent is None) or (before is None) is not (previous is None)
        record = self._made[id] = make_record(
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
            None if site is None else self._sites[site],
            stopped,
            lineage(before, direct, shared, begun_in, lost, fork, False),
            (int(kernel_pid), int(at)),
        )
        return record

    def end(self, id: str, exit_code: int | None, signal: int | None, duration_ns: int | None) -> None:
        """How the process of a record that was added has ended."""
        for name, value in (("exit_code", exit_code), ("signal", signal), ("duration_ns", duration_ns)):
            object.__setattr__(self._made[id], name, value)  # no one else has it yet


_FIELDS = (
    *("id", "command", "pid", "ppid", "parent", "previous", "lineage_lost", "depth", "direct", "uid", "gid"),
    *("timestamp_ns", "phase", "begun_by", "begun_in", "shared", "fork", "exit_code", "signal", "duration_ns"),
    *("stopped", "call_site"),
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
    return values if right and (values[16] is None or _ID.fullmatch(values[16])) else None


def _checked(fields: Fields) -> tuple[Any, ...]:
    """The same, with each of them looked at. Raises DocumentError."""
    for name, id in (("id", fields.text("id")), ("fork", fields.maybe(fields.text, "fork"))):
        if id is not None and _ID.fullmatch(id) is None:
            raise DocumentError(f"{fields.where}.{name}: is not made of a pid and a time")
    for name in ("command", "pid", "uid", "gid", "timestamp_ns"):
        fields.whole(name)
    for name in ("ppid", "depth", "exit_code", "signal", "duration_ns", "call_site"):
        fields.maybe(fields.whole, name)
    for name in ("parent", "previous", "begun_by"):
        fields.maybe(fields.text, name)
    for name in ("lineage_lost", "direct", "shared", "stopped"):
        fields.flag(name)
    for name in ("phase", "begun_in"):
        fields.maybe(lambda name: fields.choice(name, _PHASES), name)
    values: tuple[Any, ...] = tuple(map(fields.get, _FIELDS))
    types = tuple(map(type, values))
    _known_types[types] = itemgetter(*(place for place, its in enumerate(types) if its is int))
    return values


def read_site(data: object) -> CallSite:
    """A call site of plain data. Raises DocumentError."""
    return _call_site(Fields(data, "call_sites", DocumentError))


def _call_site(fields: Fields) -> CallSite:
    stack = fields.items("stack")
    for frame in stack:
        if not isinstance(frame, list) or list(map(type, frame)) != [str, int, str] or not is_whole(frame[1]):
            raise DocumentError(f"{fields.where}.stack: a frame is a file, a line and a function")
    return CallSite(
        fields.text("file"), fields.whole("line"), fields.text("function"), tuple(Frame(*frame) for frame in stack)
    )


def _commands(run: Fields) -> list[Command]:
    """With where their files come from, which is not to be looked up on this machine."""
    commands = list(map(_command, run.objects("commands")))
    owned = {path: origin.owned for path, origin in (_origins(run) or {}).items()}
    for command in commands:
        command.owned = owned
    return commands


def read_command(data: object) -> Command:
    """A command of plain data. Raises DocumentError."""
    return _command(Fields(data, "commands", DocumentError))


def _command(fields: Fields) -> Command:
    argv, nested = fields.maybe(fields.texts, "argv"), fields.maybe(fields.maybe_texts, "nested")
    command = Command(
        argv=None if argv is None else tuple(argv),
        argv_truncated=fields.flag("argv_truncated"),
        comm=fields.text("comm"),
        nested=None if nested is None else tuple(nested),
        arguments_at=fields.maybe(fields.whole, "arguments_at"),
        lost_privilege=fields.flag("lost_privilege"),
        redacted=fields.flag("redacted"),
        **_maybe(fields, fields.text, "path", "executable", "cwd", "interpreter", "script"),
    )
    command.program = fields.maybe(fields.text, "program")
    return command

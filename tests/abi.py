"""The layout of bpf/abi.h against the formats by which Python reads and writes it, as assertions in C.

A compiler decides: they are text that compiles only where all of them hold.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

from pytest_execprobe.helper import stopping, wire
from pytest_execprobe.helper.bpf import probe, stops
from pytest_execprobe.source import decode


class Layout(NamedTuple):
    """A format, the members that its values are, and where in the struct it begins. ``whole``: to the struct's end."""

    struct: str
    format: struct.Struct
    members: list[str]
    start: int = 0
    whole: bool = True


def _arrays(*names: str, length: int = wire.SLOTS) -> list[str]:
    return [f"{name}[{at}]" for name in names for at in range(length)]


_MEMBERS = ["root", "born", "top", "thread"]
_SLOT = [f"slot.{member}" for member in _MEMBERS]
_SLOTS = [f"{slot}.{member}" for slot in _arrays("slots") for member in _MEMBERS]
_PROCESS = [
    "kind",
    "error",
    "at",
    "entered",
    "parent_at",
    "previous_at",
    "parent_pid",
    "pid",
    "ppid",
    "uid",
    "gid",
    "stopped",
]
_COMMAND = ["flags", "dirfd", "comm", "path_len", "interp_len", "argv_len", "data_len"]
_FIRST = [*_PROCESS, *_SLOT, "seen_pid", "seen_ppid"]
_COUNTERS = ["submitted", "dropped", "unlisted", "seen", "entered", "ended", "blind"]
_PROC = [
    "image_at",
    "parent_at",
    "image_pid",
    "parent_pid",
    "own_exec",
    "recorded",
    *_SLOTS,
    "forked",
    "adopted",
    "comm",
]
_ROOT = ["armed_at", "forks", "tgid", "refused", "level", *_arrays("reapers", length=8), "all_reapers"]

LAYOUTS = [
    Layout("head", wire.HEAD, [*_FIRST, *_COMMAND]),
    # In front of it stands what the kernel puts before each event.
    Layout("head", wire.FIRST, [*_FIRST, "flags", "data_len"], -wire.EVENT.size),
    Layout("head", wire.ROOT, ["slot.root"], wire.ROOT_AT, whole=False),
    Layout("head", wire._SHARE, ["stopped", *_SLOT, "seen_pid", "seen_ppid"], wire._SHARE_AT, whole=False),
    Layout("nested", wire.NESTED, ["kind", "stopped", *_SLOTS, *_arrays("pids", "ppids")]),
    Layout("nested_head", struct.Struct(f"<{wire.NESTED.size}s{wire.HEAD.size}s"), ["nested", "head"]),
    Layout("head", wire.COMMAND, _COMMAND, wire.COMMAND_AT),
    Layout("head", struct.Struct("<I"), ["uid"], wire._UID_AT, whole=False),
    Layout("head", wire._ARGV_LENGTHS, ["argv_len", "data_len"], wire._ARGV_LENGTHS_AT),
    Layout("head", decode._WHOSE, ["uid", "gid", "stopped", *_SLOT], wire._UID_AT, whole=False),
    Layout("counters", wire.COUNTERS, _COUNTERS),
    Layout("counters", wire.SEEN_AND_ENTERED, ["seen", "entered"]),
    Layout("proc", probe._PROC, [*_PROC, *_arrays("pids")]),
    Layout("root", probe._ROOT, _ROOT),
    Layout("claim", probe._CLAIM, ["comm"]),
    Layout("helper_process", probe._HELPER, ["device", "inode", "pid"]),
    Layout("pid_answer", probe._PID_ANSWER, ["given", "pid"]),
    Layout("denial", stops._DENIAL, ["device", "inode", "name"]),
    Layout("enforcer", stops._ENFORCER, ["bit", "since", "uid"]),
    Layout("exec_in_flight", probe._ENTERED, ["at", "tgid"], whole=False),
]

CONSTANTS = {
    "SLOTS": wire.SLOTS,
    "PID_UNKNOWN": wire.NOT_KNOWN,
    "PATH_CAP": decode._PATH_MAX,
    "INTERP_CAP": decode._INTERPRETER_MAX,
    "WANT_WAKEUP": probe._WANT_WAKEUP,
    "WANT_CLAIMS": probe._WANT_CLAIMS,
    "WANT_PID": probe._WANT_PID,
    "WANT_STOPS": probe._WANT_STOPS,
    "NAME_CAP": stopping.LONGEST + 1,
    **{name: value for name, value in vars(wire).items() if name.startswith(("KIND_", "FLAG_", "STOPPED_"))},
}


def assertions() -> str:
    """For behind ``#include "abi.h"``."""
    claims = [claim for layout in LAYOUTS for claim in _claims(layout)]
    claims += [f"{name} == {value}" for name, value in CONSTANTS.items()]
    return "".join(f'_Static_assert({claim}, "{claim}");\n' for claim in claims)


def _claims(layout: Layout) -> Iterator[str]:
    fields = [field for field in _fields(layout.format.format, layout.start) if field[0] >= 0]
    for (offset, size), member in zip(fields, layout.members, strict=True):
        yield f"__builtin_offsetof(struct {layout.struct}, {member}) == {offset}"
        yield f"sizeof(((struct {layout.struct} *)0)->{member}) == {size}"
    if layout.whole:
        yield f"sizeof(struct {layout.struct}) == {layout.start + layout.format.size}"


def _fields(format: str, start: int) -> Iterator[tuple[int, int]]:
    """Where each value of a format is, and how large."""
    assert format[0] == "<", format  # else there would be an alignment to follow
    for count, kind in re.findall(r"(\d*)([a-zA-Z])", format[1:]):
        number = int(count or 1)
        size = struct.calcsize(f"<{kind}")
        if kind in "sx":
            number, size = 1, number * size
        for _ in range(number):
            if kind != "x":
                yield start, size
            start += size

"""Records of the wire, made of what a stop has shown."""

from __future__ import annotations

import struct
from typing import Optional, Tuple

from .. import wire
from . import attempts, image, statuses
from .tree import Slot, Tracee, Tree

_NOTHING = wire.COMMAND.pack(0, 0, b"", 0, 0, 0, 0)
#: All that is before the command.
_BEFORE = struct.Struct(wire.FIRST.format.partition("I32xI")[0])


def executed(
    tree: Tree,
    process: Tracee,
    at: int,
    entered: int,
    found: image.Image,
    ids: Optional[statuses.Ids],
    stopped: int = 0,
) -> bytes:
    """For each root whose tree it is in, as all of these. ``process`` is as it was before the exec, but for its slots.
    ``stopped``: bits of slots, whose roots stop it."""
    return _event(tree, process, wire.KIND_EXEC, 0, at, entered, ids, _command(found), stopped)


def untraced(tree: Tree, process: Tracee, at: int, found: image.Image, ids: Optional[statuses.Ids]) -> bytes:
    """What it has executed is not followed, nor is what it forks."""
    return _event(tree, process, wire.KIND_UNTRACED, 0, at, at, ids, _command(found))


def failed(
    tree: Tree,
    process: Tracee,
    error: int,
    at: int,
    entered: int,
    tried: attempts.Tried,
    ids: Optional[statuses.Ids],
) -> bytes:
    path = b"" if tried.path is None else tried.path + b"\0"
    argv, flags = tried.argv or b"", wire.FLAG_ARGV_CUT * tried.is_cut
    flags |= wire.FLAG_ARGV_UNREAD * (tried.argv is None)
    command = wire.COMMAND.pack(flags, tried.folder, process.comm, len(path), 0, len(argv), len(path) + len(argv))
    return _event(tree, process, wire.KIND_ATTEMPT, error, at, entered, ids, command + path + argv)


def ended(tree: Tree, process: Tracee, at: int, status: int) -> bytes:
    return _event(tree, process, wire.KIND_EXIT, status, at, at, None, _NOTHING)


def _command(found: image.Image) -> bytes:
    path, interpreter = image.strings(found)
    files = [image.components(file) for file in (found.executable, found.cwd, *found.scripts)]
    flags = wire.FLAG_ARGV_CUT * found.stack.is_cut | wire.FLAG_ARGV0_KEPT * found.stack.argv0_kept
    flags |= wire.FLAG_SCRIPTS_ALL * found.has_all_scripts | wire.FLAG_PRIVILEGE_LOST * found.lost_privilege
    if found.stack.argv is None:
        flags |= wire.FLAG_ARGV_UNREAD
    argv = found.stack.argv or b""
    data = b"".join([path, interpreter, *files, argv])
    return wire.COMMAND.pack(flags, 0, found.comm, len(path), len(interpreter), len(argv), len(data)) + data


def _event(
    tree: Tree,
    process: Tracee,
    kind: int,
    error: int,
    at: int,
    entered: int,
    ids: Optional[statuses.Ids],
    command: bytes,
    stopped: int = 0,
) -> bytes:
    previous = process.image_at if process.own_exec else 0
    pid, ppid, uid, gid = process.pid, wire.NOT_KNOWN, 0, 0
    if ids is not None:
        ppid, uid, gid = ids.ppid, ids.uid, ids.gid
    head = (kind, error, at, entered, process.parent_at, previous, process.parent_pid, pid, ppid, uid, gid)
    size = wire.COMMAND_AT + len(command)
    events = []
    for number, slot in enumerate(process.slots):
        whose = stopped and (wire.STOPPED_FOR_THIS if stopped >> number & 1 else wire.STOPPED_FOR_OTHERS)
        seen = _seen(tree, process, slot, ppid, ids) if tree.has_levels else (pid, ppid)
        before = _BEFORE.pack(wire.WHOLE, wire.EVENT.size + size, size, *head, whose, *slot, *seen)
        events.append(before + command)
    return b"".join(events)


def _seen(tree: Tree, process: Tracee, slot: Slot, ppid: int, ids: Optional[statuses.Ids]) -> Tuple[int, int]:
    """What a process and its parent are called in the PID namespace of a root."""
    level = tree.levels.get(slot.root, 0)
    if not level or ids is None:
        return process.pid, ppid
    return ids.number(level), parents_number(ppid, level)


def parents_number(pid: int, level: int) -> int:
    """0 of one that is outside of the namespace."""
    if pid in (0, wire.NOT_KNOWN):
        return pid
    status = statuses.status_of(pid)
    return wire.NOT_KNOWN if status is None else status.number(level)

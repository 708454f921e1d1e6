"""Records of the wire, made of what a stop has shown."""

from __future__ import annotations

from typing import List, Optional, Tuple

from .. import wire
from . import image
from .tree import Slot, Tracee, Tree

_NO_SLOTS = [0] * 4 * wire.SLOTS
_NOTHING = wire.COMMAND.pack(0, 0, b"", 0, 0, 0, 0)
_PROCESS_AND_SLOTS = wire.HEAD.size - wire.COMMAND.size


def executed(
    tree: Tree,
    process: Tracee,
    at: int,
    entered: int,
    found: image.Image,
    status: Optional[image.Status],
    stopped: int = 0,
) -> bytes:
    """``process`` is as it was before the exec, but for its slots. ``stopped``: bits of slots, whose
    roots stop it."""
    return wire.event(_of_exec(tree, process, wire.KIND_EXEC, at, entered, found, status, stopped))


def untraced(tree: Tree, process: Tracee, at: int, found: image.Image, status: Optional[image.Status]) -> bytes:
    """What it has executed is not followed, nor is what it forks."""
    return wire.event(_of_exec(tree, process, wire.KIND_UNTRACED, at, at, found, status))


def _of_exec(
    tree: Tree,
    process: Tracee,
    kind: int,
    at: int,
    entered: int,
    found: image.Image,
    status: Optional[image.Status],
    stopped: int = 0,
) -> bytes:
    path, interpreter = image.strings(found)
    files = [image.components(file) for file in (found.executable, found.cwd, *found.scripts)]
    flags = wire.FLAG_ARGV_CUT * found.stack.is_cut | wire.FLAG_ARGV0_KEPT * found.stack.argv0_kept
    flags |= wire.FLAG_SCRIPTS_ALL * found.has_all_scripts | wire.FLAG_PRIVILEGE_LOST * found.lost_privilege
    if found.stack.argv is None:
        flags |= wire.FLAG_ARGV_UNREAD
    argv = found.stack.argv or b""
    data = b"".join([path, interpreter, *files, argv])
    comm = b"" if status is None else status.comm
    command = wire.COMMAND.pack(flags, 0, comm, len(path), len(interpreter), len(argv), len(data))
    return _head(tree, process, kind, 0, at, entered, status, stopped) + command + data


def ended(tree: Tree, process: Tracee, at: int, status: int) -> bytes:
    return wire.event(_head(tree, process, wire.KIND_EXIT, status, at, at, None) + _NOTHING)


def _head(
    tree: Tree,
    process: Tracee,
    kind: int,
    error: int,
    at: int,
    entered: int,
    status: Optional[image.Status],
    stopped: int = 0,
) -> bytes:
    previous = process.image_at if process.own_exec else 0
    uid, gid, ppid = (0, 0, wire.NOT_KNOWN) if status is None else (status.uid, status.gid, status.ppid)
    slots: List[int] = [*_NO_SLOTS]
    pids, ppids = [0] * wire.SLOTS, [0] * wire.SLOTS
    for number, slot in enumerate(process.slots):
        slots[4 * number : 4 * number + 4] = slot
        pids[number], ppids[number] = _seen(tree, process, slot, ppid, status)
    whole = wire.HEAD.pack(
        *(kind, error, at, entered, process.parent_at, previous, process.parent_pid, process.pid, ppid, uid, gid),
        stopped,
        *slots,
        *pids,
        *ppids,
        *(0, 0, b"", 0, 0, 0, 0),
    )
    return whole[:_PROCESS_AND_SLOTS]


def _seen(tree: Tree, process: Tracee, slot: Slot, ppid: int, status: Optional[image.Status]) -> Tuple[int, int]:
    """What a process and its parent are called in the PID namespace of a root."""
    level = tree.levels.get(slot.root, 0)
    if not level or status is None:
        return process.pid, ppid
    return status.number(level), parents_number(ppid, level)


def parents_number(pid: int, level: int) -> int:
    """0 of one that is outside of the namespace."""
    if pid in (0, wire.NOT_KNOWN):
        return pid
    status = image.status_of(pid)
    return wire.NOT_KNOWN if status is None else status.number(level)

"""Kernel records into events: pure, and strict about every length."""

from __future__ import annotations

import errno
import struct
from collections.abc import Mapping
from typing import Any

from .._util.paths import base
from .._util.text import printable
from ..helper import wire
from .command import Command
from .events import Blind, Branch, Ended, Event, Exec, Image, Process, Running

# Looked up once, for decode() goes by them for each record.
_WHOLE, _HEAD_ALONE, _RECORD = wire.WHOLE, wire.HEAD_ALONE, wire.EVENT.size
_EXEC, _ATTEMPT, _EXIT = wire.KIND_EXEC, wire.KIND_ATTEMPT, wire.KIND_EXIT
_HEAD, _WITH_HEAD = wire.HEAD.size, wire.EVENT.size + wire.HEAD.size
_AT_FDCWD = -100
_PATH_MAX = 4096  # bytes that are kept of a path, with the NUL; what execveat is given has a descriptor in front
_INTERPRETER_MAX = 512  # likewise of an interpreter's, which in binfmt_misc may be longer
#: From a record's uid to the thread of its slot: what execs that follow each other mostly have the same.
_WHOSE = struct.Struct("<IIIQQII")
#: As wire.FIRST, with all of that as one piece, and without ppid.
_FIRST = struct.Struct(wire.FIRST.format.replace("IIIIQQII", f"4x{_WHOSE.size}s"))
_new = tuple.__new__  # a third of what Branch() takes
_DEEPEST = 5  # interpreters of interpreters, at which the kernel gives up


class Commands:
    """The commands that were met last: most execs are of one of these, and need no more than a look. And the branch and
    the parent of the last exec, which are mostly those of the next: there are very many, and what is equal is one
    object."""

    MOST = 4096

    def __init__(self) -> None:
        #: By what records have of them: those of execs, and of attempts.
        self.known: tuple[dict[bytes, Command], ...] = ({}, {})
        self.last: tuple[Branch, Image] = Branch(0, 0, 0), (0, 0)

    def meet(self, data: bytes, is_attempt: bool) -> Command:
        """Raises wire.WireError for what the kernel side can't have written."""
        _, _, _, path_len, interp_len, argv_len, data_len = wire.COMMAND.unpack_from(data)
        if path_len + interp_len + argv_len > data_len:
            raise wire.WireError("a record is shorter than it says")
        known = self.known[is_attempt]
        if len(known) >= self.MOST:
            known.clear()
        known[data] = made = Command.deferred(data, _read_attempt if is_attempt else _read)
        return made


def decode(payload: bytes, root: int, commands: Commands) -> list[Event]:
    """The events of an EVENTS payload that are in a root's tree, as it sees them. Raises wire.WireError."""
    found: list[Event] = []
    at, end, last = 0, len(payload), len(payload) - _WITH_HEAD
    add, unpack, known = found.append, _FIRST.unpack_from, commands.known
    branch, parent = commands.last
    known_whose, its_root, stopped, uid, gid = b"", 0, 0, 0, 0
    while at <= last:
        (
            type, size, length, kind, error, happened, entered, parent_at, previous_at, parent_pid, pid, whose,
            seen_pid, seen_ppid, flags, data_len,
        ) = unpack(payload, at)  # fmt: skip
        record, at = at + _RECORD, at + size
        if type != _WHOLE and type != _HEAD_ALONE and size >= _RECORD:
            continue
        if at > end or not _HEAD <= length <= size - _RECORD:
            raise wire.WireError("an event is cut short")
        if whose != known_whose:
            known_whose, (its_uid, its_gid, stopped, its_root, born, top, thread) = whose, _WHOSE.unpack(whose)
            uid, gid = uid if uid == its_uid else its_uid, gid if gid == its_gid else its_gid
            if its_root == root and (born, top, thread) != branch:
                # Mostly this process is its top, and one number takes less room.
                branch = _new(Branch, (born, pid if top == pid else top, thread))
        if its_root != root:
            continue
        if kind == _EXIT:
            add(Ended(happened, pid, branch, (pid, previous_at) if previous_at else None, error))
        elif kind != _EXEC and kind != _ATTEMPT:
            add(_blind(kind, happened, payload[record:] if kind == wire.KIND_UNTRACED else b"", branch))
        else:
            if parent_at != parent[1] or parent_pid != parent[0]:
                parent = (parent_pid, parent_at)
            command = None
            if type == _WHOLE:
                if length < _HEAD + data_len or (seen_pid != pid and seen_pid in (0, wire.NOT_KNOWN)):
                    raise _wrong(length < _HEAD + data_len)
                data = payload[record + wire.COMMAND_AT : record + _HEAD + data_len]
                command = known[kind == _ATTEMPT].get(data) or commands.meet(data, kind == _ATTEMPT)
            add(Exec(
                happened, entered, pid, branch, parent if parent_at else None,
                (pid, previous_at) if previous_at else None, seen_pid if command and seen_pid != pid else None,
                seen_ppid if command and seen_ppid != wire.NOT_KNOWN else None, uid if command else 0,
                gid if command else 0, _error_name(error) if kind == _ATTEMPT else None,
                flags & wire.FLAG_ENTRY_UNSEEN != 0, command, stopped,
            ))  # fmt: skip
    if at > end or (at < end and [*wire.split_events(payload[at:])]):
        raise wire.WireError("an event is cut short")
    commands.last = branch, parent
    return found


def _wrong(is_short: bool) -> wire.WireError:
    if is_short:
        return wire.WireError("a record is shorter than it says")
    return wire.WireError("a record of a process that has no number where its root is")


def _blind(kind: int, at: int, record: bytes, branch: Branch) -> Blind:
    """Raises wire.WireError."""
    if kind == wire.KIND_UNTRACED:
        why = (
            f"{_name(record)} ran untraced (--execprobe-untraced), and what it has executed, itself and below it, is"
            " not known: BPF alone sees that (--execprobe-backend=bpf)"
        )
        return Blind(at=at, moment=False, why=why, branch=branch)
    if kind == wire.KIND_UNFOLLOWED:
        why = "the map of watched processes was full, and a new one not followed: run fewer at once"
        return Blind(at=at, moment=False, why=why)
    if kind == wire.KIND_UNMARKED:
        why = "the map of execs in flight was full, and an exec not waited for: run fewer at once"
        return Blind(at=at, moment=True, why=why)
    raise wire.WireError(f"a record of unknown kind {kind}")


def _name(record: bytes) -> str:
    """Of what an exec's record is about, which may have lost all but its head."""
    _, _, comm, path_len, *_ = wire.COMMAND.unpack_from(record, wire.COMMAND_AT)
    return printable(base(_text(record[_HEAD : _HEAD + path_len])) or _text(comm) or "a program")


def _read_attempt(command: Command, data: bytes) -> None:
    _read(command, data, is_attempt=True)


def _read(command: Command, data: bytes, is_attempt: bool = False) -> None:
    """A field that is set is never read again, so each is set once: an exception, or a thread, may come between."""
    flags, dirfd, comm, path_len, interp_len, argv_len, data_len = wire.COMMAND.unpack_from(data)
    data = data[wire.COMMAND.size :]
    path = _text(data[:path_len]) if path_len else None
    if path_len >= _PATH_MAX and data.startswith(b"/dev/fd/"):
        path = None  # its end, and so the name, may be missing
    if is_attempt and path is not None and not path.startswith("/") and dirfd != _AT_FDCWD:
        path = f"/dev/fd/{dirfd}/{path}" if path else f"/dev/fd/{dirfd}"  # as the kernel names what execveat is given
    interpreter = _text(data[path_len : path_len + interp_len]) if interp_len else None
    executable, cwd, *scripts = *_files(data[path_len + interp_len : data_len - argv_len]), None, None
    # The last of them is the script itself; the others are what stood in #! lines, and were scripts, too.
    *nested, script = scripts[:-2] or [None]
    all_scripts = script is not None and bool(flags & wire.FLAG_SCRIPTS_ALL)
    argv = None if flags & wire.FLAG_ARGV_UNREAD else _argv(data[data_len - argv_len :])
    if interp_len >= _INTERPRETER_MAX and argv:
        interpreter = argv[0]
    command.path, command.executable, command.cwd, command.interpreter = path, executable, cwd, interpreter
    command.comm = _text(comm)
    command.script = script if all_scripts and interpreter is not None else None
    command.nested = () if interpreter is None else tuple(nested) if all_scripts else None
    command.lost_privilege, command.redacted = bool(flags & wire.FLAG_PRIVILEGE_LOST), False
    command.argv, command.argv_truncated = argv, bool(flags & wire.FLAG_ARGV_CUT)
    command.arguments_at = (
        1
        if interpreter is None
        else arguments_at(argv, path, len(nested) + 1 if all_scripts else None, bool(flags & wire.FLAG_ARGV0_KEPT))
    )


def running(fields: Mapping[str, Any]) -> Running:
    """What a helper says of the processes that have not ended. Raises wire.WireError."""
    count = wire.whole(dict(fields), "count", 0, 1 << 32)
    listed = fields.get("listed")
    if not isinstance(listed, list) or not len(listed) <= min(count, wire.LISTED):
        raise wire.WireError("the field 'listed' must be a list of at most as many processes as there are")
    return Running(count, tuple(map(_process, listed)), fields.get("all") is True and count == len(listed))


def _process(item: object) -> Process:
    types = [int, int, int, int, int, bool, str]
    if not isinstance(item, list) or list(map(type, item)) != types or not all(0 <= n < 1 << 64 for n in item[:5]):
        raise wire.WireError("a process is not as this protocol has it")
    seen, pid, forked, image_pid, image_at, own_exec, comm = item
    return Process(
        pid=seen or None,
        kernel_pid=pid,
        image=(image_pid, image_at) if image_at else None,
        comm=comm,
        own_exec=own_exec,
        since=(image_at if own_exec else forked) or None,
    )


def arguments_at(argv: tuple[str, ...] | None, path: str | None, levels: int | None, argv0_kept: bool) -> int | None:
    """Where in a script's argv its own arguments begin; None where that is unknown.

    Each of the ``levels`` (the script, and scripts that are its interpreter; None: not known how many) has put the
    interpreter's path in front, and perhaps one option. A binfmt_misc interpreter with flag P has none, and behind the
    path the caller's argv[0]: where a script's interpreter is for another machine (qemu), its own path once more.
    """
    if argv is None or path is None or (argv0_kept and levels not in (1, 2)):
        return None
    if argv0_kept and levels == 1:
        return 3
    if argv0_kept and argv[1:2] != argv[2:3]:
        return None  # it is the script's interpreter that is one
    first, last = (3, 4) if argv0_kept else (1, 2 * _DEEPEST) if levels is None else (levels, 2 * levels)
    # Where an option, or the first argument, is the script's path as well, there are two such places.
    found = [at for at, word in enumerate(argv[: last + 1]) if at >= first and word == path]
    return found[0] + 1 if len(found) == 1 else None


def _text(data: bytes) -> str:
    return data.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _argv(data: bytes) -> tuple[str, ...]:
    if not data:
        return ()
    if data.endswith(b"\0"):
        data = data[:-1]
    return tuple(arg.decode("utf-8", "surrogateescape") for arg in data.split(b"\0"))


def _files(data: bytes) -> list[str | None]:
    """Paths of which the last component comes first, and something that is no component after each; None for one that
    is not whole."""
    paths: list[str | None] = []
    names: list[str] = []
    for name in data.split(b"\0")[:-1]:
        if name == b"/":
            paths.append("/" + "/".join(reversed(names)))
        elif name == b".":  # in no folder
            paths.append(names[0] if len(names) == 1 else None)
        elif name == b"..":  # there is more above
            paths.append(None)
        else:
            names.append(name.decode("utf-8", "surrogateescape"))
            continue
        names = []
    return paths


#: include/linux/errno.h. They reach no program, and so have no name in errno: to the caller an execve that was to be
#: restarted is one that goes on, or it has been killed.
_KERNELS_OWN = {
    512: "ERESTARTSYS", 513: "ERESTARTNOINTR", 514: "ERESTARTNOHAND", 515: "ENOIOCTLCMD", 516: "ERESTART_RESTARTBLOCK",
    517: "EPROBE_DEFER", 518: "EOPENSTALE", 519: "ENOPARAM", 521: "EBADHANDLE", 522: "ENOTSYNC", 523: "EBADCOOKIE",
    524: "ENOTSUPP", 525: "ETOOSMALL", 526: "ESERVERFAULT", 527: "EBADTYPE", 528: "EJUKEBOX", 529: "EIOCBQUEUED",
    530: "ERECALLCONFLICT", 531: "ENOGRACE",
}  # fmt: skip


def _error_name(number: int) -> str:
    return errno.errorcode.get(number, _KERNELS_OWN.get(number, f"E{number}"))

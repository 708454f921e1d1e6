"""What a process has become, read at the stop of its exec: the new program has not run an instruction yet, so that what
the kernel has put on its stack is as the kernel has put it there."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import struct
from typing import Dict, List, NamedTuple, Optional, Tuple

from . import calls
from .machines import Machine

#: What is wanted of it, in one go: an exec waits for this. A kernel without PID namespaces has no NSpid.
_STATUS = re.compile(
    rb"Name:\t([^\n]*)\n.*?\nPPid:\t(\d+)\n.*?\nUid:\t(\d+)\t(\d+)\t[^\n]*\nGid:\t(\d+)\t(\d+)\t"
    rb"(?:.*?\nNSpid:([^\n]*))?.*?\nNoNewPrivs:\t(\d)",
    re.DOTALL,
)

ARGV_CAP = 16384
_PATH_CAP, _INTERPRETER_CAP = 4096, 512
_AT_NULL, _AT_FLAGS, _AT_EXECFN = 0, 8, 31  # uapi/linux/auxvec.h
_ARGV0_KEPT = 1  # AT_FLAGS_PRESERVE_ARGV0, uapi/linux/binfmts.h
_STACK_SIZE, _STACK_SIZE_MOST = 4096, 1 << 16  # bytes that pointers take: of nearly all programs the one is enough
_DEEPEST = 5  # interpreters of interpreters, at which the kernel gives up
_DELETED = b" (deleted)"
_STANDARD = {b"/dev/stdin": b"/dev/fd/0", b"/dev/stdout": b"/dev/fd/1", b"/dev/stderr": b"/dev/fd/2"}


class Stack(NamedTuple):
    """What the kernel has put on the stack of a new program. None: it can't be read."""

    path: Optional[bytes] = None
    argv: Optional[bytes] = None  # each with its NUL, cut
    is_cut: bool = False
    argv0_kept: bool = False


class Image(NamedTuple):
    stack: Stack
    executable: Optional[bytes]  # as /proc has it
    cwd: Optional[bytes]
    interpreter: Optional[bytes]
    scripts: Tuple[Optional[bytes], ...]  # resolved; the one that was executed is the last
    has_all_scripts: bool
    #: It would have had another user's or group's rights, had it not been traced.
    lost_privilege: bool


class Status(NamedTuple):
    """Of /proc/PID/status. Numbers of a process from the outermost PID namespace that /proc shows to its own."""

    comm: bytes
    ppid: int
    uid: int
    gid: int
    effective: Tuple[int, int]  # user and group
    numbers: Tuple[int, ...]
    no_new_privileges: bool


def read_file(path: bytes, size: int) -> bytes:
    """Its beginning. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, size)
    finally:
        os.close(fd)


def fields_of(pid: int) -> Dict[bytes, bytes]:
    """Of /proc/PID/status; empty if it is not there."""
    try:
        text = read_file(b"/proc/%d/status" % pid, 8192)
    except OSError:
        return {}
    return dict(line.split(b":\t", 1) for line in text.split(b"\n") if b":\t" in line)


def status_of(pid: int) -> Optional[Status]:
    """None if it is not there."""
    try:
        found = _STATUS.match(read_file(b"/proc/%d/status" % pid, 8192))
    except OSError:
        return None
    if found is None:
        return None
    name, ppid, uid, euid, gid, egid, numbers, no_new_privileges = found.groups()
    return Status(
        name.replace(b"\\n", b"\n").replace(b"\\\\", b"\\"),
        int(ppid),
        int(uid),
        int(gid),
        (int(euid), int(egid)),
        tuple(map(int, numbers.split())) or (pid,),
        no_new_privileges == b"1",
    )


def read(pid: int, machine: Machine, status: Optional[Status]) -> Image:
    stack = _stack(pid, machine)
    (executable, file), (cwd, _) = _place(pid, b"exe"), _place(pid, b"cwd")
    interpreter, scripts, has_all = _Scripts(pid, stack, executable, file).found()
    return Image(stack, executable, cwd, interpreter, scripts, has_all, _has_lost_privilege(pid, status, file))


# ---- the stack ----


def _stack(pid: int, machine: Machine) -> Stack:
    state = calls.registers(pid, machine)
    found = None if state is None else _pointers(pid, state[state.layout.stack], state.layout.word)
    if found is None:
        return _command_line(pid)
    first, end, auxiliary = found
    name = auxiliary.get(_AT_EXECFN, 0)
    end = end or name
    first = first or end
    length = min(max(0, end - first), ARGV_CAP)
    data = calls.read_memory(pid, [(first, length), (name, _PATH_CAP)] if name else [(first, length)])
    path = data[length:].partition(b"\0")[0] if len(data) > length else None
    if len(data) < length:
        return _command_line(pid)._replace(path=path)
    return Stack(path, data[:length], end - first > ARGV_CAP, bool(auxiliary.get(_AT_FLAGS, 0) & _ARGV0_KEPT))


#: Where the arguments' text begins and ends (0: there is none, or no environment behind it), and the auxiliary vector.
_Pointers = Tuple[int, int, Dict[int, int]]


def _pointers(pid: int, at: int, word: int) -> Optional[_Pointers]:
    """What is below the text: how many arguments, a pointer to each, a NUL, the same of the environment, and the
    auxiliary vector."""
    data = calls.read_memory(pid, [(at, _STACK_SIZE)])
    if len(data) < 2 * word:
        return None
    for size in (_STACK_SIZE // 3, _STACK_SIZE):  # to make all of the numbers takes long, and mostly some are enough
        words = _words(data[:size], word)
        environment = words[0] + 2
        found = _auxiliary(words[1], words[environment:])
        if found is not None:
            return found
    # There are so many that it takes another look, behind those of the arguments.
    rest = calls.read_memory(pid, [(at + environment * word, _STACK_SIZE_MOST)])
    return _auxiliary(words[1], _words(rest, word))


def _words(data: bytes, word: int) -> Tuple[int, ...]:
    number = len(data) // word
    return struct.unpack("<%d%s" % (number, "Q" if word == 8 else "I"), data[: number * word])


def _auxiliary(first: int, words: Tuple[int, ...]) -> Optional[_Pointers]:
    """``words``: from the environment on. None if they do not go far enough."""
    try:
        at = words.index(0) + 1
        auxiliary = {}
        while words[at] != _AT_NULL:
            auxiliary[words[at]] = words[at + 1]
            at += 2
    except (IndexError, ValueError):
        return None
    return first, words[0], auxiliary


def _command_line(pid: int) -> Stack:
    """Of a program that others may not look into, as of one that its user may not read, there is no more than this."""
    try:
        argv = read_file(b"/proc/%d/cmdline" % pid, ARGV_CAP + 1)
    except OSError:
        return Stack()
    return Stack(None, argv[:ARGV_CAP], len(argv) > ARGV_CAP)


def paths(found: Image) -> List[str]:
    """What a program goes by: its path as it was executed, and its file's where it is no script."""
    path = found.stack.path
    if path is not None and found.cwd is not None:
        path = os.path.normpath(os.path.join(found.cwd, path))
    known = [path, found.executable if found.interpreter is None else None]
    return [os.fsdecode(one) for one in known if one is not None]


def _place(pid: int, link: bytes) -> Tuple[Optional[bytes], Optional[os.stat_result]]:
    """Where /proc/PID/LINK leads, and to what."""
    path = b"/proc/%d/%s" % (pid, link)
    try:
        file = os.stat(path)
        return _proven(pid, os.readlink(path), file), file
    except OSError:
        return None, None


def _proven(pid: int, path: bytes, file: os.stat_result) -> Optional[bytes]:
    """The text of a link in /proc if it is this file's: that of what is in no mount any more (umount -l) is a path from
    where that was mounted, and may lead to another."""
    if path.endswith(_DELETED):
        return path
    for seen in (path, b"/proc/%d/root%s" % (pid, path)):
        with contextlib.suppress(OSError):
            if os.path.samestat(file, os.stat(seen)):
                return path
    return None


# ---- scripts ----


class _Scripts:
    """Which scripts stand between what was executed and what was loaded: each is read, and argv has to be what the
    kernel makes of them."""

    def __init__(self, pid: int, stack: Stack, executable: Optional[bytes], file: Optional[os.stat_result]) -> None:
        self._pid = pid
        self._stack = stack
        self._executable = executable
        self._loaded = None if file is None else (file.st_dev, file.st_ino)

    def found(self) -> Tuple[Optional[bytes], Tuple[Optional[bytes], ...], bool]:
        """The interpreter as it was named, None where what was executed was loaded itself; the scripts, the last first;
        and whether these are all."""
        none: Tuple[Optional[bytes], Tuple[Optional[bytes], ...], bool] = (None, (), False)
        path, argv = self._stack.path, self._stack.argv
        if path is None or path == self._executable or not argv:
            return none
        loaded = self._loaded
        if loaded is None or self._inode(self._seen(path)) == loaded:
            return none
        words = argv.split(b"\0")
        if path not in words[1 : 2 * _DEEPEST + 1] or self._inode(self._seen(words[0])) != loaded:
            return none
        scripts = self._scripts(path, words, loaded)
        return words[0], tuple(scripts or ()), scripts is not None

    def _scripts(self, path: bytes, words: List[bytes], loaded: Tuple[int, int]) -> Optional[List[Optional[bytes]]]:
        scripts: List[Optional[bytes]] = []
        expected: List[bytes] = []
        for _ in range(_DEEPEST):
            read = self._read(path)
            if read is None:
                return None
            resolved, head = read
            scripts.insert(0, resolved)
            if not head.startswith(b"#!"):  # it is binfmt_misc that has named an interpreter
                expected = [words[0], path, *expected[not self._stack.argv0_kept :]]
                break
            interpreter, _, option = head[2:].partition(b"\n")[0].strip(b" \t").replace(b"\t", b" ").partition(b" ")
            expected = [interpreter, *filter(None, [option.strip(b" \t")]), path, *expected[1:]]
            if self._inode(self._seen(interpreter)) == loaded:
                break
            path = interpreter
        return scripts if words[: len(expected)] == expected else None

    def _read(self, path: bytes) -> Optional[Tuple[Optional[bytes], bytes]]:
        """Where a file is, and its beginning."""
        try:
            fd = os.open(self._seen(path), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            return None
        try:
            file = os.fstat(fd)
            if not stat.S_ISREG(file.st_mode):
                return None
            return _proven(self._pid, os.readlink(b"/proc/self/fd/%d" % fd), file), os.read(fd, 256)
        except OSError:
            return None
        finally:
            os.close(fd)

    def _seen(self, path: bytes) -> bytes:
        """A path of that process, for this one."""
        path = _STANDARD.get(path, path)
        for own, part in ((b"/dev/fd/", b"fd/"), (b"/proc/self/", b""), (b"/proc/thread-self/", b"")):
            if path.startswith(own):
                return b"/proc/%d/%s%s" % (self._pid, part, path[len(own) :])
        return b"/proc/%d/%s%s" % (self._pid, b"root" if path.startswith(b"/") else b"cwd/", path)

    @staticmethod
    def _inode(path: bytes) -> Optional[Tuple[int, int]]:
        try:
            found = os.stat(path)
        except (OSError, ValueError):
            return None
        return found.st_dev, found.st_ino


# ---- what tracing takes away ----


def _has_lost_privilege(pid: int, status: Optional[Status], file: Optional[os.stat_result]) -> bool:
    """Whether the file has another user's or group's rights to give, and the process has not got them. It had not got
    them untraced either where it may get no new ones."""
    if file is None or not file.st_mode & (stat.S_ISUID | stat.S_ISGID) or status is None or status.no_new_privileges:
        return False
    try:
        if os.statvfs(b"/proc/%d/exe" % pid).f_flag & os.ST_NOSUID:
            return False
    except OSError:
        return False
    of_group = file.st_mode & stat.S_ISGID and file.st_mode & stat.S_IXGRP
    return bool(
        (file.st_mode & stat.S_ISUID and status.effective[0] != file.st_uid)
        or (of_group and status.effective[1] != file.st_gid)
    )


# ---- as a record has it ----


def components(pid: int, link: str, path: Optional[bytes]) -> bytes:
    """A path of /proc/PID/LINK as the wire has it: its components, the last first, and what is behind them."""
    if path is None or not path.startswith(b"/"):  # "(unreachable)/…"
        return b"..\0"
    if path.endswith(_DELETED) and not _is_named(pid, link, path):
        path = path[: -len(_DELETED)]
        if path.startswith(b"/memfd:") and path.count(b"/") == 1:
            return path[1:] + b"\0.\0"
    return b"\0".join([*reversed(path.split(b"/")[1:]), b"/\0"]) if path != b"/" else b"/\0"


def _is_named(pid: int, link: str, path: bytes) -> bool:
    """Whether a file is called what a deleted one would be."""
    try:
        return os.path.samestat(os.stat(path), os.stat("/proc/%d/%s" % (pid, link)))
    except OSError:
        return False


def strings(image: Image) -> Tuple[bytes, bytes]:
    """The path and the interpreter as the wire has them: with a NUL, or empty where there is none."""
    path, interpreter = image.stack.path, image.interpreter
    return (
        b"" if path is None else path[: _PATH_CAP - 1] + b"\0",
        b"" if interpreter is None else interpreter[: _INTERPRETER_CAP - 1] + b"\0",
    )

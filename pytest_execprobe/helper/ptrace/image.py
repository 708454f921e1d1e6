"""What a process has become, read at the stop of its exec: the new program has not run an instruction yet, so that what
the kernel has put on its stack is as the kernel has put it there."""

from __future__ import annotations

import os
import re
import stat
import struct
from typing import Dict, List, NamedTuple, Optional, Tuple

from . import calls
from .machines import Machine

#: What is between these: PPid, TracerPid, four numbers each of Uid and Gid. In names of processes no line ends.
_PARENT, _BEHIND = b"\nPPid:\t", b"\nFDSize:"
_NUMBERS = b"\nNSpid:\t"  # which a kernel without PID namespaces does not have

ARGV_CAP = 16384
_PATH_CAP, _INTERPRETER_CAP = 4096, 512
_AT_NULL, _AT_FLAGS, _AT_EXECFN = 0, 8, 31  # uapi/linux/auxvec.h
_ARGV0_KEPT = 1  # AT_FLAGS_PRESERVE_ARGV0, uapi/linux/binfmts.h
_STACK_SIZE, _STACK_SIZE_MOST = 4096, 1 << 16  # bytes that pointers take: of nearly all programs the one is enough
_DEEPEST = 5  # interpreters of interpreters, at which the kernel gives up
_HEAD_SIZE = 256  # BINPRM_BUF_SIZE, uapi/linux/binfmts.h
_COMM_MOST = 15
_DELETED = b" (deleted)"
#: What is a process's own in /proc, and the links there that lead to files.
_OWN = re.compile(rb"/dev/fd/(.+)|/proc/(?:thread-)?self/(.+)", re.DOTALL)
_LINK = re.compile(rb"(?:fd/)?\d+|exe")
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

    def number(self, level: int) -> int:
        """In a PID namespace so far below that of /proc; 0 where it is outside of that."""
        return self.numbers[level] if len(self.numbers) > level else 0


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
        text = read_file(b"/proc/%d/status" % pid, 8192)
        begin = text.index(_PARENT) + len(_PARENT)
        ppid, _, _, _, uid, euid, _, _, _, gid, egid = text[begin : text.index(_BEHIND, begin)].split()[:11]
        numbers = _field(text, _NUMBERS) if _NUMBERS in text else b"%d" % pid
        return Status(
            _field(text, b"Name:\t").replace(b"\\n", b"\n").replace(b"\\\\", b"\\"),
            int(ppid),
            int(uid),
            int(gid),
            (int(euid), int(egid)),
            tuple(map(int, numbers.split())),
            _field(text, b"\nNoNewPrivs:\t") == b"1",
        )
    except (OSError, ValueError):
        return None


def _field(text: bytes, name: bytes) -> bytes:
    begin = text.index(name) + len(name)
    return text[begin : text.index(b"\n", begin)]


def read(pid: int, machine: Machine, status: Optional[Status]) -> Image:
    stack = _stack(pid, machine)
    (executable, file), (cwd, _) = _place(pid, b"exe"), _place(pid, b"cwd")
    interpreter, scripts, has_all = _Scripts(pid, stack, file, None if status is None else status.comm).found()
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
    path: Optional[bytes]
    path, is_whole, _ = data[length:].partition(b"\0")
    path = path if is_whole else None
    if len(data) < length:
        return _command_line(pid)._replace(path=path)
    return Stack(path, data[:length], end - first > ARGV_CAP, bool(auxiliary.get(_AT_FLAGS, 0) & _ARGV0_KEPT))


#: Where the arguments' text begins and ends (0: there is none, or no environment behind it), and the auxiliary vector.
_Pointers = Tuple[int, int, Dict[int, int]]


def _pointers(pid: int, at: int, word: int) -> Optional[_Pointers]:
    """What is below the text: how many arguments, a pointer to each, a NUL, the same of the environment, and the
    auxiliary vector."""
    for size in (_STACK_SIZE // 3, _STACK_SIZE):  # to make all of the numbers takes long, and mostly some are enough
        data = calls.read_memory(pid, [(at, size)])
        if len(data) < 2 * word:
            return None
        words = _words(data, word)
        environment = words[0] + 2
        found = _auxiliary(words[1], words[environment:])
        if found is not None:
            return found
    # There are so many that it takes further looks, behind those of the arguments.
    at, rest, piece = at + environment * word, b"", b"more"
    while found is None and piece:
        piece = calls.read_memory(pid, [(at + len(rest), _STACK_SIZE_MOST)])
        rest += piece
        found = _auxiliary(words[1], _words(rest, word))
    return found


def _words(data: bytes, word: int) -> Tuple[int, ...]:
    number = len(data) // word
    return struct.unpack("<%d%s" % (number, "Q" if word == 8 else "I"), data[: number * word])


def _auxiliary(first: int, words: Tuple[int, ...]) -> Optional[_Pointers]:
    """``words``: from the environment on. None if they do not go far enough."""
    try:
        at = words.index(0) + 1
        names = words[at::2]
        names = names[: names.index(_AT_NULL)]
    except ValueError:
        return None
    return first, words[0], dict(zip(names, words[at + 1 :: 2]))


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
    """Where a file is, by the text of a link in /proc: that of what is in no mount any more (umount -l) is a path from
    where that was mounted, and may lead to another. What has been removed has a word behind its path, which can
    be a part of a name as well; a memfd has no path, and is called what it was."""
    if _is_at(path, file) or _is_at(b"/proc/%d/root%s" % (pid, path), file):
        return path
    if not path.endswith(_DELETED):
        return None
    return path[path.startswith(b"/memfd:") : -len(_DELETED)]


def _is_at(path: bytes, file: os.stat_result) -> bool:
    try:
        return os.path.samestat(file, os.stat(path))
    except OSError:
        return False


# ---- scripts ----


class _Scripts:
    """Which scripts stand between what was executed and what was loaded: each is read, and argv has to be what the
    kernel makes of them."""

    def __init__(self, pid: int, stack: Stack, file: Optional[os.stat_result], comm: Optional[bytes]) -> None:
        self._pid = pid
        self._stack = stack
        self._comm = comm
        self._loaded = None if file is None else (file.st_dev, file.st_ino)
        self._shares_root: Optional[bool] = None

    def found(self) -> Tuple[Optional[bytes], Tuple[Optional[bytes], ...], bool]:
        """The interpreter as it was named, None where what was executed was loaded itself; the scripts, the last first;
        and whether these are all."""
        path, words = self._stack.path, (self._stack.argv or b"").split(b"\0")
        # Of a script the kernel has put the path there. Where that is not known, the process is called like it.
        among = words[1 : 2 * _DEEPEST + 1]
        may_be_script = any(map(self._is_called, among)) if path is None else path in among
        if not may_be_script or (path is not None and self._is_loaded(path)):
            return None, (), False
        scripts = None if path is None else self._scripts(path, words)
        return words[0], tuple(scripts or ()), scripts is not None

    def _is_called(self, path: bytes) -> bool:
        return path.startswith(b"/dev/fd/") or path.rpartition(b"/")[2][:_COMM_MOST] == self._comm

    def _scripts(self, path: bytes, words: List[bytes]) -> Optional[List[Optional[bytes]]]:
        scripts: List[Optional[bytes]] = []
        expected: List[bytes] = []
        for _ in range(_DEEPEST):
            read = self._read(path)
            if read is None:
                return None
            resolved, head = read
            scripts.insert(0, resolved)
            line = interpreter_line(head)
            if line is None:  # it is binfmt_misc that has named an interpreter, and may have opened it long before
                expected = [words[0], path, *expected[not self._stack.argv0_kept :]]
                break
            expected = [*line, path, *expected[1:]]
            if self._is_loaded(line[0]):
                break
            path = line[0]
        return scripts if words[: len(expected)] == expected else None

    def _read(self, path: bytes) -> Optional[Tuple[Optional[bytes], bytes]]:
        """Where a file is, and its beginning."""
        try:
            fd = self._open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            return None
        try:
            file = os.fstat(fd)
            if not stat.S_ISREG(file.st_mode):
                return None
            return _proven(self._pid, os.readlink(b"/proc/self/fd/%d" % fd), file), os.read(fd, _HEAD_SIZE)
        except OSError:
            return None
        finally:
            os.close(fd)

    def _is_loaded(self, path: bytes) -> bool:
        try:
            fd = self._open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            found = os.fstat(fd)
            return (found.st_dev, found.st_ino) == self._loaded
        finally:
            os.close(fd)

    def _open(self, path: bytes, flags: int) -> int:
        """A file by a path of that process. Raises OSError."""
        here, own = b"/proc/%d/" % self._pid, _OWN.fullmatch(_STANDARD.get(path, path))
        if self._shares_root is None:
            self._shares_root = _shares_root(self._pid)
        if own and (self._shares_root or _LINK.fullmatch(own[1] or own[2])):
            return os.open(here + (b"fd/" + own[1] if own[1] else own[2]), flags)
        is_absolute = path.startswith(b"/")
        if self._shares_root:
            return os.open(here + (b"root" if is_absolute else b"cwd/") + path, flags)
        # Its links with a path from / lead elsewhere than they do for this process.
        root = os.open(here + b"root", os.O_PATH | os.O_CLOEXEC)
        try:
            return calls.open_in(root, path if is_absolute else _below_root(here) + path, flags)
        finally:
            os.close(root)


def _shares_root(pid: int) -> bool:
    """Whether a process has the root folder, and the mounts, that this one has. Raises OSError."""
    here = b"/proc/%d/" % pid
    is_same_root = os.path.samestat(os.stat(here + b"root"), os.stat(b"/"))
    return is_same_root and os.readlink(here + b"ns/mnt") == os.readlink(b"/proc/self/ns/mnt")


def _below_root(here: bytes) -> bytes:
    """A process's working directory, as it has it, with a slash behind. Raises OSError."""
    root, cwd = (os.readlink(here + link).rstrip(b"/") + b"/" for link in (b"root", b"cwd"))
    below = cwd[len(root) - 1 :]
    if not cwd.startswith(root) or not os.path.samestat(os.stat(here + b"root" + below), os.stat(here + b"cwd")):
        raise FileNotFoundError(cwd)
    return below


def interpreter_line(head: bytes) -> Optional[List[bytes]]:
    """Of a file's first bytes the interpreter that a ``#!`` line names, and its option if there is one: as the kernel
    reads it, which ends a line after 255 bytes, and a word at a NUL. None where there is no such line."""
    if not head.startswith(b"#!"):
        return None
    head = head.ljust(_HEAD_SIZE, b"\0")
    line = head[2 : head.index(b"\n") if b"\n" in head else -1].strip(b" \t")
    interpreter, *option = re.split(rb"[ \t]+", line, maxsplit=1)
    return [word.partition(b"\0")[0] for word in ([interpreter] if b"\0" in interpreter else [interpreter, *option])]


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


def components(path: Optional[bytes]) -> bytes:
    """A path as the wire has it: its components, the last first, and what is behind them."""
    if path is None or path.startswith(b"("):  # "(unreachable)/…"
        return b"..\0"
    if not path.startswith(b"/"):
        return path + b"\0.\0"
    return b"\0".join([*reversed(path.split(b"/")[1:]), b"/\0"]) if path != b"/" else b"/\0"


def strings(image: Image) -> Tuple[bytes, bytes]:
    """The path and the interpreter as the wire has them: with a NUL, or empty where there is none."""
    path, interpreter = image.stack.path, image.interpreter
    return (
        b"" if path is None else path[: _PATH_CAP - 1] + b"\0",
        b"" if interpreter is None else interpreter[: _INTERPRETER_CAP - 1] + b"\0",
    )

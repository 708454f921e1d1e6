"""What a process has become, read at the stop of its exec: the new program has not run an instruction yet, so that what
the kernel has put on its stack is as the kernel has put it there."""

from __future__ import annotations

import functools
import os
import re
import stat
from typing import List, NamedTuple, Optional, Tuple

from . import calls
from .machines import Machine
from .stack import PATH_CAP, Stack
from .stack import read as read_stack
from .statuses import status_of

_INTERPRETER_CAP = 512
_DEEPEST = 5  # interpreters of interpreters, at which the kernel gives up
_HEAD_SIZE = 256  # BINPRM_BUF_SIZE, uapi/linux/binfmts.h
_COMM_MOST = 15
_DELETED = b" (deleted)"
_PRIVILEGED = stat.S_ISUID | stat.S_ISGID
_NO_SCRIPT: Tuple[Optional[bytes], Tuple[Optional[bytes], ...], bool] = (None, (), False)
_stat, _readlink = os.stat, os.readlink  # looked up once: every exec takes each several times
_BY_DESCRIPTOR = b"/dev/fd/"
#: What is a process's own in /proc, and the links there that lead to files.
_OWN = re.compile(rb"/dev/fd/(.+)|/proc/(?:thread-)?self/(.+)", re.DOTALL)
_LINK = re.compile(rb"(?:fd/)?\d+|exe")
_STANDARD = {b"/dev/stdin": b"/dev/fd/0", b"/dev/stdout": b"/dev/fd/1", b"/dev/stderr": b"/dev/fd/2"}


class Image(NamedTuple):
    stack: Stack
    executable: Optional[bytes]  # as /proc has it
    cwd: Optional[bytes]
    interpreter: Optional[bytes]
    scripts: Tuple[Optional[bytes], ...]  # resolved; the one that was executed is the last
    has_all_scripts: bool
    #: It would have had another user's or group's rights, had it not been traced.
    lost_privilege: bool
    comm: bytes = b""  # empty where it could not be read


def read(pid: int, machine: Machine, takes_privilege: bool = False) -> Image:
    """``takes_privilege``: that it may get no more is this probe's doing."""
    stack = read_stack(pid, machine)
    (executable, file), (cwd, _) = _place(pid, b"/proc/%d/exe" % pid), _place(pid, b"/proc/%d/cwd" % pid)
    path, comm = stack.path, _comm(pid, stack.path)
    # Of a script the kernel has put the path behind the first argument.
    if path is not None and b"\0%s\0" % path not in (stack.argv or b""):
        interpreter, scripts, has_all = _NO_SCRIPT
    else:
        interpreter, scripts, has_all = _Scripts(pid, stack, file, comm).found()
    has_lost = file is not None and file.st_mode & _PRIVILEGED != 0 and _has_lost_privilege(pid, file, takes_privilege)
    return Image(stack, executable, cwd, interpreter, scripts, has_all, has_lost, comm)


def _comm(pid: int, path: Optional[bytes]) -> bytes:
    """The kernel makes it of the path, but for what is executed by a descriptor: of that since 6.14 it takes the file's
    name."""
    if path is not None and not path.startswith(_BY_DESCRIPTOR):
        return path.rpartition(b"/")[2][:_COMM_MOST]
    status = status_of(pid)
    return b"" if status is None else status.comm


# ---- files ----


def paths(found: Image) -> List[str]:
    """What a program goes by: its path as it was executed, and its file's where it is no script."""
    path = found.stack.path
    if path is not None and found.cwd is not None:
        path = os.path.normpath(os.path.join(found.cwd, path))
    known = [path, found.executable if found.interpreter is None else None]
    return [os.fsdecode(one) for one in known if one is not None]


def _place(pid: int, link: bytes) -> Tuple[Optional[bytes], Optional[os.stat_result]]:
    """Where a link in /proc/PID leads, and to what."""
    try:
        file = _stat(link)
        path = _readlink(link)
    except OSError:
        return None, None
    try:
        there = _stat(path)
        if there.st_ino == file.st_ino and there.st_dev == file.st_dev:
            return path, file
    except OSError:
        pass
    return _proven(pid, path, file), file


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

    def __init__(self, pid: int, stack: Stack, file: Optional[os.stat_result], comm: bytes) -> None:
        self._pid = pid
        self._stack = stack
        self._comm = comm
        self._loaded = None if file is None else (file.st_dev, file.st_ino)
        self._shares_root: Optional[bool] = None

    def found(self) -> Tuple[Optional[bytes], Tuple[Optional[bytes], ...], bool]:
        """The interpreter as it was named, None where what was executed was loaded itself; the scripts, the last first;
        and whether these are all."""
        path, argv = self._stack.path, self._stack.argv or b""
        words = argv.split(b"\0")
        # Of a script the kernel has put the path there. Where that is not known, the process is called like it.
        among = words[1 : 2 * _DEEPEST + 1]
        may_be_script = any(map(self._is_called, among)) if path is None else path in among
        if not may_be_script or (path is not None and self._is_loaded(path)):
            return None, (), False
        scripts = None if path is None else self._scripts(path, words)
        return words[0], tuple(scripts or ()), scripts is not None

    def _is_called(self, path: bytes) -> bool:
        return path.startswith(_BY_DESCRIPTOR) or path.rpartition(b"/")[2][:_COMM_MOST] == self._comm

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


def _has_lost_privilege(pid: int, file: os.stat_result, takes_privilege: bool) -> bool:
    """Whether the process has not got the rights that the file has to give, which is setuid or setgid. It had not got
    them untraced either where it may get no new ones."""
    status = status_of(pid)
    if status is None or (status.no_new_privileges and not takes_privilege):
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


@functools.lru_cache(maxsize=1024)
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
        b"" if path is None else path[: PATH_CAP - 1] + b"\0",
        b"" if interpreter is None else interpreter[: _INTERPRETER_CAP - 1] + b"\0",
    )

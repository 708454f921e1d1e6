"""Execs that fail: a seccomp filter has a thread stop where it begins one, and it is then made to stop at its end."""

from __future__ import annotations

import ctypes
import struct
from typing import NamedTuple, Optional, Tuple

from .. import wire
from . import calls
from .machines import Machine

_ARGUMENTS_MOST, _ARGUMENT_CAP, _PATH_CAP = 48, 1024, 4096  # as bpf/execprobe.c has them
_BEGUN = struct.Struct("=B3xI16xQ6QI")  # struct ptrace_syscall_info of a stop by seccomp
_ENDED = struct.Struct("=B23xq")  # and of one at a call's end
_IS_END, _IS_SECCOMP = 2, 3
_X32 = 0x40000000
_64_BITS = 0x80000000  # __AUDIT_ARCH_64BIT, uapi/linux/audit.h
_EXECVEAT = frozenset((322, 545, 358, 281, 387))  # as machines.py has them; of what is filtered none is another call
_AT_FDCWD = -100
_RESTARTED = range(512, 517)  # include/linux/errno.h, ERESTARTSYS and the like: it goes on, or is killed
_DATA_MASK = 0xFFFF  # SECCOMP_RET_DATA


class Call(NamedTuple):
    """An exec that has begun."""

    at: int
    word: int  # bytes of a pointer
    folder: int  # a descriptor, or AT_FDCWD
    path: int  # where it stands
    argv: int


class Tried(NamedTuple):
    """What it was to execute; None: that can't be read."""

    folder: int
    path: Optional[bytes]
    argv: Optional[bytes]  # each with its NUL
    is_cut: bool


def begun(tid: int, at: int) -> Optional[Call]:
    """None if it is another filter that has stopped it."""
    info = calls.call_info(tid)
    if len(info) < _BEGUN.size or info[0] != _IS_SECCOMP:
        return None
    _, kind, number, *arguments, data = _BEGUN.unpack_from(info)
    if data & _DATA_MASK != wire.SECCOMP_DATA:
        return None
    is_at = number & ~_X32 in _EXECVEAT
    folder = ctypes.c_int32(arguments[0]).value if is_at else _AT_FDCWD
    return Call(at, 8 if kind & _64_BITS and not number & _X32 else 4, folder, *arguments[is_at : is_at + 2])


def skip(tid: int, machine: Machine) -> bool:
    """Ends a call as where there is no tracer, with ENOSYS."""
    state = calls.registers(tid, machine)
    if state is None or state.layout.call is None:
        return False
    state[state.layout.call] = -1
    state.write()
    return True


def error(tid: int) -> int:
    """By what the call has failed that ends here; 0 if it has not, or goes on."""
    info = calls.call_info(tid)
    if len(info) < _ENDED.size or info[0] != _IS_END:
        return 0
    result = _ENDED.unpack_from(info)[1]
    return -result if -4096 < result < 0 and -result not in _RESTARTED else 0


def read(tid: int, call: Call) -> Tried:
    path, is_whole, _ = calls.read_memory(tid, [(call.path, _PATH_CAP)]).partition(b"\0")
    argv, is_cut = _argv(tid, call) if call.argv else (b"", False)
    return Tried(call.folder, path if is_whole else None, argv, is_cut)


def _argv(tid: int, call: Call) -> Tuple[Optional[bytes], bool]:
    data = calls.read_memory(tid, [(call.argv, (_ARGUMENTS_MOST + 1) * call.word)])
    number = len(data) // call.word
    pointers = struct.unpack("=%d%s" % (number, "Q" if call.word == 8 else "I"), data[: number * call.word])
    if 0 not in pointers and number <= _ARGUMENTS_MOST:
        return None, False
    found, is_cut = [], 0 not in pointers
    for pointer in pointers[: pointers.index(0) if 0 in pointers else _ARGUMENTS_MOST]:
        text, is_whole, _ = calls.read_memory(tid, [(pointer, _ARGUMENT_CAP)]).partition(b"\0")
        if not is_whole and len(text) < _ARGUMENT_CAP:
            return None, False
        is_cut = is_cut or not is_whole
        found.append(text[: _ARGUMENT_CAP - 1] + b"\0")
    return b"".join(found), is_cut

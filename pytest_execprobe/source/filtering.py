"""Has failed execs seen by a tracer, which without this sees those alone that have succeeded: a seccomp filter stops
each at its beginning. It holds for this process and all that it starts, stays until they end, and once there is no
tracer each of their execs fails with ENOSYS."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from .._util import originals
from ..errors import ProbeUnavailable
from ..helper import wire
from . import libc

# uapi/linux/filter.h, seccomp.h and audit.h: by machine the number of seccomp(2), and by each kind of program that it
# runs those of execve and execveat, on x86_64 with those of x32.
_X32 = 0x40000000
_CALLS: dict[str, tuple[int, dict[int, tuple[int, ...]]]] = {
    "x86_64": (317, {0xC000003E: (59, 322, _X32 | 520, _X32 | 545), 0x40000003: (11, 358)}),
    "aarch64": (277, {0xC00000B7: (221, 281), 0x40000028: (11, 387)}),
}
_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_NUMBER_AT, _KIND_AT = 0, 4  # of struct seccomp_data
_ALLOW, _TRACE = 0x7FFF0000, 0x7FF00000
_SET_MODE_FILTER, _ALL_THREADS = 1, 1  # SECCOMP_FILTER_FLAG_TSYNC
_PR_SET_NO_NEW_PRIVS = 38
_INSTRUCTION = struct.Struct("=HBBI")
_PROGRAM = struct.Struct("=H6xQ")  # struct sock_fprog
_syscall = libc.function("syscall", *[libc.LONG] * 4, returns=libc.LONG)
_prctl = libc.function("prctl", *[libc.LONG] * 5, returns=libc.LONG)
_MINUS_ONE = 2**64 - 1


def program(machine: str) -> list[tuple[int, int, int, int]]:
    """The filter: each (code, jump if true, jump if false, operand). KeyError for a machine that is not known."""
    whole = [(_LOAD, 0, 0, _KIND_AT)]
    for kind, numbers in _CALLS[machine][1].items():
        block = [(_LOAD, 0, 0, _NUMBER_AT)]
        block += [(_JUMP_IF_EQUAL, len(numbers) - before, 0, number) for before, number in enumerate(numbers)]
        block += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _TRACE | wire.SECCOMP_DATA)]
        whole += [(_JUMP_IF_EQUAL, 0, len(block), kind), *block]
    return [*whole, (_RETURN, 0, 0, _ALLOW)]


def filter_execs() -> None:
    """For this process, with all of its threads. Raises ProbeUnavailable."""
    machine = originals.uname().machine
    if _syscall is None or machine not in _CALLS:
        raise _unavailable(f"it is written for {' and '.join(_CALLS)}, and this is {machine}")
    instructions = program(machine)
    code = b"".join(_INSTRUCTION.pack(*one) for one in instructions)
    kept = (libc.CHAR * len(code)).from_buffer_copy(code)
    head = _PROGRAM.pack(len(instructions), libc.address(kept))
    pointer = (libc.CHAR * len(head)).from_buffer_copy(head)
    arguments: Sequence[int] = (_CALLS[machine][0], _SET_MODE_FILTER, _ALL_THREADS, libc.address(pointer))
    refused = _syscall(*arguments)
    if refused == _MINUS_ONE:  # mostly EACCES: without privilege it takes a promise never to get any
        _prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        refused = _syscall(*arguments)
    if refused:
        raise _unavailable("seccomp(2) refused the filter" if refused == _MINUS_ONE else "a thread has another filter")


def _unavailable(why: str) -> ProbeUnavailable:
    return ProbeUnavailable(f"execprobe: failed attempts can't be seen (--execprobe-attempts=seccomp): {why}")

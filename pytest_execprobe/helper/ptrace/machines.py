"""What differs between machines: where registers are, and the numbers of the system calls that execute."""

from __future__ import annotations

import platform
from typing import Dict, FrozenSet, NamedTuple, Optional


class Registers(NamedTuple):
    """A register set as PTRACE_GETREGSET has it: indices into its words."""

    word: int  # bytes
    stack: int
    counter: int
    result: int
    #: The number of the system call, -1 outside of one; None where the set does not have it.
    call: Optional[int]
    #: Bytes of the instruction that makes a system call; 0: a system call can't be begun again from here.
    instruction: int


class Machine(NamedTuple):
    #: By the size of the set, which is how the kernel says whether a program has 32 bits or 64.
    registers: Dict[int, Registers]
    #: execve and execveat, of all kinds of programs that the machine runs. A number may mean another call to another
    #: kind: then that call is waited for as well.
    execs: FrozenSet[int]
    #: Likewise fork, vfork, clone and clone3.
    forks: FrozenSet[int]
    tgkill: int
    #: Of programs of this machine's own word, where one register can be read by itself (PTRACE_PEEKUSER).
    peeked: Optional[Registers] = None


_X32 = 0x40000000

#: arch/x86/include/asm/user_64.h and user_32.h; arch/arm64/include/uapi/asm/ptrace.h and arch/arm's.
MACHINES = {
    "x86_64": Machine(
        {
            27 * 8: Registers(word=8, stack=19, counter=16, result=10, call=15, instruction=2),
            17 * 4: Registers(word=4, stack=15, counter=12, result=6, call=11, instruction=2),
        },
        frozenset((59, 322, 11, 358, 520, 545, _X32 | 520, _X32 | 545)),
        frozenset((56, 57, 58, 435, 2, 190, 120, _X32 | 56, _X32 | 57, _X32 | 58, _X32 | 435)),
        tgkill=234,
        peeked=Registers(word=8, stack=19, counter=16, result=10, call=15, instruction=2),
    ),
    "aarch64": Machine(
        {
            # At a stop for a signal a call's first argument is lost already, and what it was: in do_signal().
            34 * 8: Registers(word=8, stack=31, counter=32, result=0, call=None, instruction=0),
            18 * 4: Registers(word=4, stack=13, counter=15, result=0, call=None, instruction=0),
        },
        frozenset((221, 281, 11, 387)),
        frozenset((220, 435, 2, 190, 120)),
        tgkill=131,
    ),
}


def here() -> Optional[Machine]:
    """None where no one has written down what this machine's are."""
    return MACHINES.get(platform.machine())

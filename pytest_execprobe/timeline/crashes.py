"""Ends by a signal, and those that say of themselves that a process has crashed.

Who has sent a signal is not known. SIGTERM, SIGKILL, SIGINT, SIGHUP and SIGPIPE are how tests, supervisors and
pipelines end processes on purpose, so they say nothing. These are raised by the processor for what a program has done,
by abort(), by a seccomp filter, or where a limit of its time or of a file's size is passed, and next to never sent.
"""

from __future__ import annotations

from signal import Signals

CRASHES = frozenset(
    {
        *(Signals.SIGILL, Signals.SIGTRAP, Signals.SIGABRT, Signals.SIGBUS, Signals.SIGFPE, Signals.SIGSEGV),
        *(Signals.SIGSYS, Signals.SIGXCPU, Signals.SIGXFSZ),
    }
)


def is_crash(status: int | None) -> bool:
    """Of a status as wait() has it."""
    return status is not None and status & 0x7F in CRASHES


def is_killed(status: int | None) -> bool:
    """Whether it was any signal."""
    return status is not None and status & 0x7F != 0

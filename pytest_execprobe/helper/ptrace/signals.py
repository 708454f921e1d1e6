"""Signals and stops that would not have ended a system call, had the process not been traced."""

from __future__ import annotations

import signal
from typing import NamedTuple, Optional

from . import calls, statuses
from .machines import Machine

#: What the kernel drops where no handler is set, unless the process is traced.
_IGNORED = (signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH)


def to_deliver(tid: int, number: int, machine: Machine) -> int:
    """Of a signal, which a thread has stopped for, what is to be delivered: 0 for none. One that the process ignores
    would not have come so far untraced, and not have ended a system call."""
    if not calls.is_interrupted(tid, machine):
        return number
    state, masks = calls.registers(tid, machine), _masks(tid)
    if state is None or masks is None or masks.caught >> number - 1 & 1:
        return number
    if masks.ignored >> number - 1 & 1 or number in _IGNORED:
        _begin_again(state, masks)
        return 0
    return number


def undo_interruption(tid: int, machine: Machine) -> None:
    """The thread was on its way into a system call that a stop ends."""
    if calls.is_interrupted(tid, machine):
        state, masks = calls.registers(tid, machine), _masks(tid)
        if state is not None and masks is not None:
            _begin_again(state, masks)


def _begin_again(state: calls.State, masks: "_Masks") -> None:
    """The system call that has just been ended, unless a signal is to end it."""
    layout = state.layout
    if layout.call is None or state.signed(layout.call) < 0 or masks.is_due:
        return
    state[layout.result] = state[layout.call]
    state[layout.counter] = state[layout.counter] - layout.instruction
    state.write()


class _Masks(NamedTuple):
    """Of /proc/PID/status."""

    pending: int
    blocked: int
    ignored: int
    caught: int

    @property
    def is_due(self) -> bool:
        """Whether a handler is about to be called."""
        return self.pending & ~self.blocked & self.caught != 0


def _masks(tid: int) -> Optional[_Masks]:
    fields = statuses.fields_of(tid)
    try:
        of_thread, of_process, *others = (
            int(fields[name], 16) for name in (b"SigPnd", b"ShdPnd", b"SigBlk", b"SigIgn", b"SigCgt")
        )
        return _Masks(of_thread | of_process, *others)
    except (KeyError, ValueError):
        return None

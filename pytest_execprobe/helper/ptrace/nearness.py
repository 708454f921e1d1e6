"""Has the tracer run where what it traces does: two that wait for each other in turn gain nothing by a CPU each, and to
wake an idle one takes longer than all that is done at a stop.

A CPU can be taken by others meanwhile. So it is looked for again and again, and the watchdog frees the tracer.
"""

from __future__ import annotations

import contextlib
import os
from typing import Set

from . import statuses

_LOOKS = 50_000_000  # ns between two


class Nearness:
    def __init__(self) -> None:
        self._allowed = os.sched_getaffinity(0)
        self._next = 0 if len(self._allowed) > 1 else 1 << 63

    def follow(self, tid: int, at: int) -> None:
        """To the CPU of a thread that has stopped; ``at``: now."""
        if at < self._next:
            return
        self._next = at + _LOOKS
        cpu = statuses.cpu_of(tid)
        if cpu in self._allowed:
            move(0, {cpu})


def move(pid: int, cpus: Set[int]) -> None:
    with contextlib.suppress(OSError):  # it has ended, or may not use these any more
        os.sched_setaffinity(pid, cpus)

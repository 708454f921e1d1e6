"""Memory of the kernel side and of the helper, by which a process sees that nothing has happened, and asks nobody."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from mmap import MAP_SHARED, PAGESIZE, PROT_READ

from . import originals
from .helper import wire

#: struct counters of one CPU: how many records there were, and how many execs have been entered.
_COUNTERS = struct.Struct("<24xQQ88x")


class Pages:
    """``counters`` and ``life`` are descriptors. Raises OSError."""

    def __init__(self, counters: int, life: int, cpus: int) -> None:
        self._size = cpus * _COUNTERS.size
        self._counters = originals.mmap(counters, self._size, MAP_SHARED, PROT_READ)
        self._life = originals.mmap(life, PAGESIZE, MAP_SHARED, PROT_READ)
        self._alive = self._life[: wire.LIFE]

    def sums(self) -> tuple[int, int] | None:
        """Records and entered execs, of all CPUs. None once the helper has died, and its probe with it.

        It dies before its probe goes: while it lives after the counters were read, they counted.
        """
        seen = entered = 0
        for records, execs in _COUNTERS.iter_unpack(self._counters[: self._size]):
            seen += records
            entered += execs
        return (seen, entered) if self._life[: wire.LIFE] == self._alive else None


def given(descriptors: Sequence[int], cpus: int) -> Pages | None:
    """What a helper has given; None where that is nothing, or can't be mapped: then it is asked each time."""
    try:
        return Pages(descriptors[0], descriptors[1], cpus) if len(descriptors) == 2 else None
    except (OSError, ValueError):
        return None
    finally:
        for descriptor in descriptors:
            originals.close(descriptor)

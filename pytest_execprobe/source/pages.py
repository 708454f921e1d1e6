"""Memory of the kernel side and of the helper, by which a process sees that nothing has happened without asking."""

from __future__ import annotations

from collections.abc import Sequence
from mmap import MAP_SHARED, PROT_READ
from sys import maxsize
from typing import Any

from .._util import originals
from ..helper import wire
from . import libc

_mmap = libc.function("mmap", libc.ADDRESS, *[libc.LONG] * 5, returns=libc.ADDRESS)
_FAILED = 2 * maxsize + 1  # MAP_FAILED


class Pages:
    """``counters`` and ``life`` are descriptors, which need not stay open. Raises OSError.

    Python's own mmap keeps a descriptor and closes its number at the end, though a test may have closed all and opened
    a file there. This has none, and what is mapped stays so: it is little.
    """

    def __init__(self, counters: int, life: int, cpus: int) -> None:
        self._counters = _mapped(counters, cpus * wire.SEEN_AND_ENTERED.size)
        self._life = _mapped(life, wire.LIFE)
        self._alive = self._life.raw
        self._shown: tuple[bytes, tuple[int, int]] = b"", (-1, -1)  # counters, and their sums

    def show(self, sums: tuple[int, int]) -> bool:
        """Whether these are the sums of records and entered execs, of all CPUs. False once the helper has died, and its
        probe with it.

        It dies before its probe goes: while it lives after the counters were read, they counted.
        """
        counters = self._counters.raw
        if self._shown != (counters, sums):
            each = [*wire.SEEN_AND_ENTERED.iter_unpack(counters)]
            self._shown = counters, (sum(records for records, _ in each), sum(execs for _, execs in each))
        return self._shown[1] == sums and self._life.raw == self._alive


def given(descriptors: Sequence[int], cpus: int) -> Pages | None:
    """What a helper has given; None where that is nothing, or can't be mapped: then it is asked each time."""
    try:
        return Pages(descriptors[0], descriptors[1], cpus) if len(descriptors) == 2 else None
    except OSError:
        return None
    finally:
        for descriptor in descriptors:
            originals.close(descriptor)


def _mapped(descriptor: int, size: int) -> Any:
    """An array of characters, to be read. Raises OSError."""
    at = _mmap(None, size, PROT_READ, MAP_SHARED, descriptor, 0) if _mmap else _FAILED
    if at == _FAILED:
        raise OSError("it can't be mapped")
    return (libc.CHAR * size).from_address(at)

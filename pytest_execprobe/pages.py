"""Memory of the kernel side and of the helper, by which a process sees that nothing has happened, and asks nobody."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from mmap import MAP_SHARED, PAGESIZE, PROT_READ

from . import originals
from .helper import wire

try:
    import ctypes
except ImportError:  # this Python was built without it
    _mmap = None
else:
    _mmap = ctypes.CDLL(None, use_errno=True).mmap
    _mmap.restype = ctypes.c_void_p
    _mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]

#: struct counters of one CPU: how many records there were, and how many execs have been entered.
_COUNTERS = struct.Struct("<24xQQ88x")
_FAILED = (1 << 8 * struct.calcsize("P")) - 1  # MAP_FAILED


class Pages:
    """``counters`` and ``life`` are descriptors, which need not stay open. Raises OSError.

    Python's own mmap keeps a descriptor and closes its number at the end, though a test may have closed all and opened
    a file there. This has none, and what is mapped stays so: it is little.
    """

    def __init__(self, counters: int, life: int, cpus: int) -> None:
        self._counters = _mapped(counters, cpus * _COUNTERS.size)
        self._life = _mapped(life, PAGESIZE)
        self._alive = self._life[: wire.LIFE]

    def sums(self) -> tuple[int, int] | None:
        """Records and entered execs, of all CPUs. None once the helper has died, and its probe with it.

        It dies before its probe goes: while it lives after the counters were read, they counted.
        """
        seen = entered = 0
        for records, execs in _COUNTERS.iter_unpack(self._counters.raw):
            seen += records
            entered += execs
        return (seen, entered) if self._life[: wire.LIFE] == self._alive else None


def given(descriptors: Sequence[int], cpus: int) -> Pages | None:
    """What a helper has given; None where that is nothing, or can't be mapped: then it is asked each time."""
    try:
        return Pages(descriptors[0], descriptors[1], cpus) if len(descriptors) == 2 else None
    except OSError:
        return None
    finally:
        for descriptor in descriptors:
            originals.close(descriptor)


def _mapped(descriptor: int, size: int) -> ctypes.Array[ctypes.c_char]:
    """To be read. Raises OSError."""
    at = _mmap(None, size, PROT_READ, MAP_SHARED, descriptor, 0) if _mmap else _FAILED
    if at == _FAILED:
        raise OSError("it can't be mapped")
    return (ctypes.c_char * size).from_address(at)

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
        self._sums: list[int] = []  # of records and entered execs, of all CPUs, while nothing happens
        self._before = b""  # the helper's life, before it has said so
        self._shown = b""  # counters of which they are the sums

    @property
    def life(self) -> bytes:
        """As it is, while the helper lives and has let no client go since."""
        return self._life.raw  # type: ignore[no-any-return]

    def expect(self, sums: list[int], life: bytes) -> None:
        """What the helper has said of the counters, and its life as it was before it was asked; no sums if something
        was going on."""
        self._before = b""  # an exception may break in
        self._sums, self._shown = sums, b""
        self._before = life

    def show_nothing_new(self) -> bool:
        """Whether nothing has happened since. False once the helper has died, and its probe with it, or has let a
        client go, which may be this one.

        That shows before its probe goes, or watches for the client no more: as it does not after the counters were
        read, they counted.
        """
        counters = self._counters.raw
        if counters != self._shown:
            each = wire.SEEN_AND_ENTERED.iter_unpack(counters)
            if [*map(sum, zip(*each, strict=True))] != self._sums:
                return False
            self._shown = counters
        return self._life.raw == self._before  # type: ignore[no-any-return]


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

"""Reads perf buffers: all that one holds at once, and not a call for each record."""

from __future__ import annotations

import ctypes
import mmap
import os

_PAGE = mmap.PAGESIZE
_HEAD_AT, _TAIL_AT = 1024, 1032  # uapi/linux/perf_event.h, struct perf_event_mmap_page
_STORES_IN_ORDER = os.uname().machine in ("x86_64", "s390x")  # and loads


class Ring:
    """One CPU's perf buffer, of ``pages`` (a power of two), by its descriptor."""

    def __init__(self, fd: int, pages: int) -> None:
        self.fd = fd
        self._size = pages * _PAGE
        self._memory = mmap.mmap(fd, _PAGE + self._size)
        self._head = ctypes.c_uint64.from_buffer(self._memory, _HEAD_AT)
        self._tail = ctypes.c_uint64.from_buffer(self._memory, _TAIL_AT)

    def take(self) -> bytes:
        """What the kernel has put in since the last call."""
        head, tail = self._head.value, self._tail.value
        if head == tail:
            return b""
        _fence()
        begin, end = _PAGE + tail % self._size, _PAGE + head % self._size
        taken = self._memory[begin:end] if begin < end else self._memory[begin:] + self._memory[_PAGE:end]
        _fence()
        self._tail.value = head
        return taken


def _fence() -> None:
    """What was loaded before is loaded before what comes after, and so for stores: where the machine does not see to
    that, the kernel does in each of its ``schedule()``."""
    if not _STORES_IN_ORDER:
        os.sched_yield()

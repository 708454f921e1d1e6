"""What the kernel side is to stop: the maps ``denied`` and ``enforcers`` of bpf/abi.h, kept as clients have it."""

from __future__ import annotations

import struct
import time
from collections import deque
from typing import Callable, Deque, Dict, FrozenSet, Iterable, Optional, Tuple

from ..errors import ProbeError
from ..probe import Denial, Enforced
from .load import LoadedMap

_DENIAL = struct.Struct("<QQ256s")  # struct denial
_ENFORCER = struct.Struct("<QQI4x")  # struct enforcer
_BITS = struct.Struct("<Q")
_ROOT = struct.Struct("<Q")
_MOST = 64  # roots, for each has a bit of its own
_REALTIME = "/sys/kernel/realtime"
_LATE = 0.05  # seconds, in which the kernel side is through with an exec that it has begun to look at


def stops_refused(is_preempted: bool) -> Optional[str]:
    """Why nothing can be stopped before it runs, None if it can. ``is_preempted``: tracing programs are."""
    try:
        with open(_REALTIME) as file:
            is_realtime = file.read().strip() == "1"
    except OSError:
        is_realtime = False
    if is_realtime and not is_preempted:
        return "on a kernel with PREEMPT_RT a signal of BPF's can be late: the program might have run by then"
    return None


class Stops:
    """``want`` says whether the kernel side is to look at execs for this."""

    def __init__(self, denied: LoadedMap, enforcers: LoadedMap, want: Callable[[bool], None]) -> None:
        self._denied = denied
        self._enforcers = enforcers
        self._want = want
        self._roots: Dict[int, Tuple[int, FrozenSet[Denial]]] = {}  # their bits, and what each denies
        self._free: Deque[Tuple[float, int]] = deque((0.0, 1 << number) for number in range(_MOST))  # since when

    def set(self, root: int, enforced: Enforced) -> None:
        """In the place of what was. Raises ProbeError; then that still is."""
        if not enforced.denials:
            self.forget(root)
            return
        bit, before = self._roots.get(root) or (self._take_bit(), frozenset())
        try:
            self._add(enforced.denials - before, bit)
        except ProbeError:
            self._remove(enforced.denials - before, bit)
            if root not in self._roots:
                self._free.append((time.monotonic(), bit))
            raise
        self._roots[root] = bit, enforced.denials
        self._enforcers.set(_ROOT.pack(root), _ENFORCER.pack(bit, enforced.since, enforced.uid))
        self._remove(before - enforced.denials, bit)
        self._want(True)

    def forget(self, root: int) -> None:
        if root not in self._roots:
            return
        bit, denials = self._roots.pop(root)
        self._enforcers.delete(_ROOT.pack(root))
        self._remove(denials, bit)
        self._free.append((time.monotonic(), bit))
        self._want(bool(self._roots))

    def _take_bit(self) -> int:
        if not self._free:
            raise ProbeError("busy", "programs are stopped for %d processes already" % _MOST, "run fewer at once")
        freed, bit = self._free.popleft()
        # An exec that is being looked at for the one that had it must not be stopped for the next.
        time.sleep(max(0.0, freed + _LATE - time.monotonic()) if freed else 0.0)
        return bit

    def _add(self, denials: Iterable[Denial], bit: int) -> None:
        for denial in denials:
            if not self._denied.set(_DENIAL.pack(*denial), _BITS.pack(self._bits(denial) | bit)):
                raise ProbeError("busy", "there is no room for more programs that are to be stopped", "name fewer")

    def _remove(self, denials: Iterable[Denial], bit: int) -> None:
        for denial in denials:
            left = self._bits(denial) & ~bit
            if left:
                self._denied.set(_DENIAL.pack(*denial), _BITS.pack(left))
            else:
                self._denied.delete(_DENIAL.pack(*denial))

    def _bits(self, denial: Denial) -> int:
        found = self._denied.get(_DENIAL.pack(*denial))
        return 0 if found is None else int(_BITS.unpack(found)[0])

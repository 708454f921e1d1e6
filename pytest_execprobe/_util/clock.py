"""The clock that windows go by: CLOCK_MONOTONIC, as the kernel stamps execs with it.

Libraries that freeze time in tests replace the functions of :mod:`time`, wherever a module holds one. A window whose
ends were read off a frozen clock would hold nothing and look complete, so none of those functions is held here.
"""

from __future__ import annotations

import functools
from time import CLOCK_MONOTONIC

from . import originals

#: Now, in nanoseconds.
monotonic_ns = functools.partial(originals.clock_gettime_ns, CLOCK_MONOTONIC)


def monotonic() -> float:
    """Now, in seconds."""
    return monotonic_ns() / 1e9

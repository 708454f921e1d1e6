"""Windows around nothing."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

WINDOWS = 500


def test(tell: Callable[..., None], execprobe: Any) -> None:
    took = []
    for _ in range(WINDOWS):
        begin = time.monotonic_ns()
        with execprobe.watch():
            pass
        took.append(time.monotonic_ns() - begin)
    tell(window=statistics.median(took))

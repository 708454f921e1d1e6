"""Reads right after a program was started, which may not be in place yet."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Callable
from typing import Any

READS = 300


def test(tell: Callable[..., None], execprobe: Any) -> None:
    took = []
    for number in range(1, READS + 1):
        with subprocess.Popen(["true"]):
            begin = time.monotonic_ns()
            found = execprobe.count()
            took.append(time.monotonic_ns() - begin)
        assert found == number
    tell(sync=statistics.median(took))

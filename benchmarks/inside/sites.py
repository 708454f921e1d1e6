"""Spawns by Python, whose call sites are recorded, and in turn by the same function of C under a name of which they are
not: the CPU of this process for each, with what a read of their records takes."""

from __future__ import annotations

import os
import posix
import statistics
import time
from collections.abc import Callable
from typing import Any

ROUNDS = int(os.environ["BENCH_ROUNDS"])
PROGRAM = os.environ["BENCH_PROGRAM"]
DEPTH = int(os.environ["BENCH_DEPTH"])
EACH = 50


def deep(frames: int, spawn: Callable[..., int]) -> int:
    return deep(frames - 1, spawn) if frames > 1 else spawn(PROGRAM, [PROGRAM], {})


def of(spawn: Callable[..., int], execprobe: Any, number: int) -> float:
    """ns for each: of the call, the median, for a page fault may take longer; and of the read its part."""
    took = []
    for _ in range(EACH):
        begin = time.process_time_ns()
        pid = deep(DEPTH, spawn)
        took.append(time.process_time_ns() - begin)
        os.waitpid(pid, 0)
    begin = time.process_time_ns()
    assert execprobe.count() == number
    return statistics.median(took) + (time.process_time_ns() - begin) / EACH


def test(tell: Callable[..., None], execprobe: Any) -> None:
    beyond = []
    for number in range(ROUNDS):
        plain = of(posix.posix_spawn, execprobe, (2 * number + 1) * EACH)
        noted = of(os.posix_spawn, execprobe, (2 * number + 2) * EACH)
        beyond.append(noted - plain)
    tell(beyond=statistics.median(beyond))

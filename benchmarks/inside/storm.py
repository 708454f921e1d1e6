"""Storms of execs, each in a test."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest
from costs import cpu_ns, find_helper, kernel_ns, resident_bytes

COMMAND = json.loads(os.environ["BENCH_COMMAND"])
STORMS = int(os.environ["BENCH_STORMS"])
EXECS = int(os.environ["BENCH_EXECS"]) // STORMS
KERNEL = "BENCH_KERNEL" in os.environ  # who asks is root, and has the kernel count
KIND = os.environ["BENCH_KIND"]
RULES = json.loads(os.environ.get("BENCH_RULES", "[]"))  # (marker, patterns, keywords)

pytestmark = [getattr(pytest.mark, name)(*patterns, **keywords) for name, patterns, keywords in RULES]


def storm(tell: Callable[..., None], n: int, log: Any = None) -> None:
    if n == 0:
        tell(before=resident_bytes())
    helper = None if log is None else find_helper()
    kernel = kernel_ns(helper) if helper and KERNEL else 0
    cpu = cpu_ns(helper)
    begin = time.monotonic_ns()
    printed = subprocess.run(COMMAND, check=True, stdout=subprocess.PIPE).stdout
    tell(stormed=time.monotonic_ns(), printed=int(printed))
    if log is not None:
        assert sum(log.counts.values()) == EXECS
    tell(took=time.monotonic_ns() - begin, cpu=cpu_ns(helper) - cpu)
    if helper and KERNEL:
        tell(kernel=kernel_ns(helper) - kernel)
    if KIND == "tree":
        begin = time.process_time_ns()
        assert log.tree()
        tell(tree=time.process_time_ns() - begin)


if KIND in ("read", "tree"):

    @pytest.mark.parametrize("n", range(STORMS))
    def test(n: int, tell: Callable[..., None], execprobe: Any) -> None:
        storm(tell, n, execprobe)

else:

    @pytest.mark.parametrize("n", range(STORMS))
    def test(n: int, tell: Callable[..., None]) -> None:
        storm(tell, n)

"""A long session: many tests, each with some execs."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable

import pytest
from costs import find_helper, resident_bytes

COMMAND = json.loads(os.environ["BENCH_COMMAND"])
TESTS = int(os.environ["BENCH_TESTS"])


@pytest.mark.parametrize("n", range(TESTS))
def test(n: int, tell: Callable[..., None]) -> None:
    subprocess.run(COMMAND, check=True, stdout=subprocess.DEVNULL)
    if os.environ["BENCH_KIND"] != "bare":
        for when, last in (("tenth", TESTS // 10 - 1), ("end", TESTS - 1)):
            if n == last:
                tell(**{f"client_{when}": resident_bytes(), f"helper_{when}": resident_bytes(find_helper())})

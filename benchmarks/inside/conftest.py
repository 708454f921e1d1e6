"""Runs in the sessions that are measured. What they say goes to a file: figures in ns and bytes, or moments of
CLOCK_MONOTONIC.

Nothing but the public fixture is used here, so that other commits run the same.
"""

from __future__ import annotations

import json
import os
import resource
import time
from collections.abc import Callable
from pathlib import Path

import pytest

_FIGURES: dict[str, float] = {}


@pytest.fixture(scope="session")
def tell() -> Callable[..., None]:
    return _FIGURES.update


def pytest_runtest_logstart() -> None:
    _FIGURES.setdefault("first_began", time.monotonic_ns())


def pytest_runtest_logfinish() -> None:
    _FIGURES["last_ended"] = time.monotonic_ns()
    _FIGURES.setdefault("first_ended", _FIGURES["last_ended"])


def pytest_unconfigure() -> None:
    _FIGURES["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    Path(os.environ["BENCH_RESULT"]).write_text(json.dumps(_FIGURES))

"""No test of the project waits for ever."""

from __future__ import annotations

from pathlib import Path

import pytest

pytestmark = pytest.mark.exec_budget(3)

SUITE = """
import os, subprocess, pytest

ours, _theirs = os.pipe()

@pytest.fixture
def waits(request):
    if request.param == "setup":
        os.read(ours, 1)
    yield
    if request.param == "teardown":
        os.read(ours, 1)

@pytest.mark.parametrize("waits", ["setup", "teardown"], indirect=True)
def test_fixture(waits):
    pass

def test_waits_twice():
    try:
        os.read(ours, 1)
    finally:
        os.read(ours, 1)

def test_does_not_wait():
    pass
"""


def test_what_waits_for_what_does_not_come_fails(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(Path(__file__).parents[1].joinpath("conftest.py").read_text().replace(", 10)", ", 0.2)"))
    pytester.makepyfile(SUITE)
    result = pytester.runpytest_subprocess("--limit=0.2", timeout=60)
    result.assert_outcomes(passed=2, failed=1, errors=2)
    result.stdout.fnmatch_lines(["E * it goes on after 0.2 s (--limit)"] * 3)

"""eventlet: ``monkey_patch()`` in a test's file, in the middle of a run, and before pytest."""

from __future__ import annotations

import sys

import green
import pytest
from inner import Inner, needs

# Its authors support no Python from 3.14 on.
pytestmark = [needs("eventlet"), *([pytest.mark.may_skip] if sys.version_info >= (3, 14) else [])]

PATCH = """
import eventlet
eventlet.monkey_patch()
from eventlet import sleep, spawn, Timeout
wait = lambda task: task.wait()
"""
UNPATCHED = PATCH.replace("eventlet.monkey_patch()", "")


@pytest.fixture(autouse=True)
def works(inner: Inner) -> None:
    if not green.works(inner, PATCH):
        pytest.skip(f"eventlet does not work with pytest {pytest.__version__} on Python {sys.version.split()[0]}")


def test_outcomes_stay(inner: Inner) -> None:
    green.outcomes_stay(inner, PATCH)


def test_rules(inner: Inner) -> None:
    green.rules(inner, PATCH)


def test_rules_in_a_pytest_that_was_patched_before(inner: Inner) -> None:
    start = "import eventlet, sys; eventlet.monkey_patch(); import pytest; sys.exit(pytest.main())"
    green.rules(inner, UNPATCHED, "-c", start)


def test_armed_in_the_middle(inner: Inner) -> None:
    green.armed_in_the_middle(inner, PATCH)

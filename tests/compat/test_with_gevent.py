"""gevent: ``monkey.patch_all()`` in a test's file, in the middle of a run, and before pytest."""

from __future__ import annotations

import green
from inner import Inner, needs

pytestmark = needs("gevent")

PATCH = """
import gevent, gevent.monkey
gevent.monkey.patch_all()
from gevent import sleep, spawn, Timeout
wait = lambda task: task.get()
"""
UNPATCHED = PATCH.replace("gevent.monkey.patch_all()", "")


def test_outcomes_stay(inner: Inner) -> None:
    green.outcomes_stay(inner, PATCH)


def test_rules(inner: Inner) -> None:
    green.rules(inner, PATCH)


def test_rules_in_a_pytest_that_was_patched_before(inner: Inner) -> None:
    green.rules(inner, UNPATCHED, "-m", "gevent.monkey", "--module", "pytest")


def test_armed_in_the_middle(inner: Inner) -> None:
    green.armed_in_the_middle(inner, PATCH)

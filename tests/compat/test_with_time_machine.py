"""time-machine: it replaces what is behind the functions of ``time``, so that who holds one has it replaced, too."""

from __future__ import annotations

import frozen
from inner import Inner, needs

pytestmark = needs("time_machine")

FREEZER = """
import time_machine; frozen = lambda: time_machine.travel("2012-01-14 00:00Z", tick=False)
"""


def test_outcomes_stay(inner: Inner) -> None:
    frozen.outcomes_stay(inner, FREEZER)


def test_rules(inner: Inner) -> None:
    frozen.rules(inner, FREEZER)


def test_armed_in_the_middle(inner: Inner) -> None:
    frozen.armed_in_the_middle(inner, FREEZER)


def test_a_report_has_the_real_time(inner: Inner) -> None:
    frozen.report_has_the_real_time(inner, FREEZER)

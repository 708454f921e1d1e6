"""freezegun: it replaces the functions of ``time`` in every module that holds one."""

from __future__ import annotations

import frozen
from inner import Inner, needs

pytestmark = needs("freezegun")

FREEZER = """
from freezegun import freeze_time; frozen = lambda: freeze_time("2012-01-14")
"""


def test_outcomes_stay(inner: Inner) -> None:
    frozen.outcomes_stay(inner, FREEZER)


def test_rules(inner: Inner) -> None:
    frozen.rules(inner, FREEZER)


def test_armed_in_the_middle(inner: Inner) -> None:
    frozen.armed_in_the_middle(inner, FREEZER)


def test_a_report_has_the_real_time(inner: Inner) -> None:
    frozen.report_has_the_real_time(inner, FREEZER)

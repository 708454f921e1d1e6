"""Inner suites that run once, and whose tests are a test each out here: a pytest takes half a second to start."""

from __future__ import annotations

import re


def inner_tests(suite: str) -> list[str]:
    """The names of its tests, without their prefix."""
    return re.findall(r"^def test_(\w+)", suite, re.MULTILINE)


def assert_passed(name: str, output: str) -> None:
    """By what a run of one file has said with ``-rA``; of each case of the test, if it has several."""
    outcomes = re.findall(rf"^(\w+) \S+::test_{name}(?:\[.*\])?(?: - .*)?$", output, re.MULTILINE)
    assert {*outcomes} == {"PASSED"}, output

"""Checks of what users pass besides patterns: a mistake is an error at once, in words."""

from __future__ import annotations

from collections.abc import Mapping

from .pattern import Pattern
from .patterns import PatternLike, compile_pattern


def natural(value: object, what: str, least: int = 0) -> int:
    """A whole number from ``least`` on. Raises TypeError or ValueError; ``what`` names the argument."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{what} is a whole number, not {value!r}")
    if value < least:
        raise ValueError(f"{what} can't be less than {least}: {value}")
    return value


def numbers_by_pattern(limits: Mapping[PatternLike, int]) -> dict[Pattern, int]:
    """The limits of ``per_program``. Raises TypeError or ValueError."""
    if not isinstance(limits, Mapping):
        raise TypeError(f"per_program is a mapping of patterns to numbers, not {limits!r}")
    if not limits:
        raise ValueError("per_program is empty, and limits nothing: leave it out")
    compiled = {compile_pattern(pattern): n for pattern, n in limits.items()}
    for pattern, n in compiled.items():
        natural(n, f"per_program of {pattern}")
    return compiled

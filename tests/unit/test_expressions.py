"""Regular expressions that are compiled when they are first used."""

from __future__ import annotations

import re

import pytest

from pytest_execprobe._util import expressions
from pytest_execprobe._util.expressions import expression


def test_it_is_compiled_when_it_is_first_used_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def compiles(text: str, flags: int) -> re.Pattern[str]:
        made.append(text)
        return re.compile(text, flags)

    monkeypatch.setattr(expressions, "_compile", compiles)
    digits = expression(r"(?P<of>x)\d+", re.IGNORECASE)
    assert made == []
    found = digits.search("aX12")
    assert found is not None
    assert (found["of"], digits.sub("_", "x1 X2"), digits.fullmatch("x"), digits.match("x1y") is None) == (
        "X",
        "_ _",
        None,
        False,
    )
    assert made == [r"(?P<of>x)\d+"]
    assert digits.pattern == r"(?P<of>x)\d+"

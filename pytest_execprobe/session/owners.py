"""What an owner of execs has to do with pytest's tests."""

from __future__ import annotations

import pytest

from ..rules.judge import Judge
from ..timeline.spans import Owner


def item_of(owner: Owner) -> pytest.Item | None:
    """The test that it is of, if it is: of its phases, or without a judge of all that it runs."""
    held: pytest.Item | None = owner.held
    return held


def judge_of(owner: Owner) -> Judge | None:
    judge: Judge | None = owner.judge
    return judge


def is_around(owner: Owner) -> bool:
    """Whether what it runs is run around the phases of a test, which have an owner of their own."""
    return owner.is_around


def attempt_of(owner: Owner) -> str:
    """Tells a try of a test from its others."""
    return str(owner.began)

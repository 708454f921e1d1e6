"""What an owner of execs has to do with pytest's tests."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from ..rules.judge import Judge
from ..timeline.spans import Owner


@dataclass
class Held:
    """Of which test an owner is: of its phases, or without a judge of all that it runs."""

    item: pytest.Item
    judge: Judge | None
    #: Whether its phases are owners of their own, so that this is what runs around them.
    is_around: bool = False


def is_around(owner: Owner) -> bool:
    """Whether what it runs is run around the phases of a test."""
    return owner.held is not None and owner.held.is_around


def attempt_of(owner: Owner) -> str:
    """Tells a try of a test from its others."""
    return str(owner.began)

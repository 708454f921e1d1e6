"""Logic of three values: True and False are certain, None is not known."""

from __future__ import annotations


def either(*values: bool | None) -> bool | None:
    """The *or* of them."""
    if any(value is True for value in values):
        return True
    return None if any(value is None for value in values) else False


def both(*values: bool | None) -> bool | None:
    """The *and* of them."""
    if any(value is False for value in values):
        return False
    return None if any(value is None for value in values) else True

"""Options of commands, in tables, and their values, as types for argparse."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterable
from typing import Any

#: Names, metavar ("" for a flag), help, and argparse's other arguments.
Option = tuple[str, str, str, dict[str, Any]]

#: Of each command that shows command lines.
REDACT: Option = (
    "--redact",
    "REGEX",
    "hide this in command lines, too, besides what is known for a secret: what its groups match, without any all of it;"
    " none hides nothing; can be given more than once",
    {"action": "append", "default": []},
)


def add_options(parser: argparse._ActionsContainer, options: Iterable[Option]) -> None:
    for names, metavar, help, more in options:
        kind: dict[str, Any] = {"metavar": metavar} if metavar else {"action": "store_true"}
        parser.add_argument(*names.split(), help=help, **{**kind, **more})


def whole(least: int, most: int) -> Callable[[str], int]:
    """A whole number in decimal digits, within bounds."""

    def number(text: str) -> int:
        if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
            raise argparse.ArgumentTypeError(f"expected a whole number from {least} to {most}, not {text!r}")
        return int(text)

    return number


def real(least: float, most: float = math.inf) -> Callable[[str], float]:
    """A number within bounds."""

    def number(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most:
            bounds = f"from {least:g} on" if most == math.inf else f"from {least:g} to {most:g}"
            raise argparse.ArgumentTypeError(f"expected a number {bounds}, not {text!r}")
        return value

    return number

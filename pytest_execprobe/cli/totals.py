"""What several commands say of many execs: tables of the most frequent, and words for numbers. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from .._util.text import printable
from .terminal import Line

ROWS = 10
_INDENT = 16


def row(title: str, *text: str | tuple[str, str]) -> Line:
    """A line with what it is about before it."""
    return ((f"{title:<{_INDENT}}", "dim"), *text)


def table(title: str, counted: Iterable[tuple[int, str, str]], rows: int = ROWS) -> Iterator[Line]:
    """Number, name and what more there is to say of each: the greatest first, as many as ``rows``."""
    counted = sorted(counted, key=lambda item: (-item[0], item[1]))
    width = max((len(f"{count:,}") for count, _, _ in counted[:rows]), default=0)
    for count, name, more in counted[:rows]:
        yield row(title, f"{count:>{width},}  ", (printable(name), "strong"), f": {more}" if more else "")
        title = ""
    yield from rest(len(counted) - rows)


def rest(count: int) -> Iterator[Line]:
    """How many more there are than are shown, if any."""
    if count > 0:
        yield row("", (f"… {count:,} more", "dim"))


def most(counter: Counter[str], rows: int = 5) -> str:
    """The most frequent with their numbers, in a line."""
    ordered = sorted(counter.items(), key=lambda item: (-item[1], item[0]))
    named = ", ".join(f"{printable(name)} {count:,}" for name, count in ordered[:rows])
    return named + (f", … {len(ordered) - rows} more" if len(ordered) > rows else "")


def number(count: int, what: str) -> str:
    """``1 exec``, ``2 execs``."""
    return f"1 {what}" if count == 1 else f"{count:,} {what}s"

"""A compiled pattern, and what it is used for.

A match has three outcomes. True and False are certain; None means that what would decide it is not known: a cut-off
argv, a field that could not be read, a lost ancestor.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from .._util.ternary import either
from ..source.command import Command
from ..timeline.record import ExecRecord
from .links import may_lead_by_links

Match = bool | None
_TEXT = 160  # characters of a pattern that a message shows
_KNOWN = 4096  # answers that a pattern keeps


class _Any(enum.Enum):
    ANY = "ANY"

    def __repr__(self) -> str:
        return "ANY"


#: In a list pattern: any one argument.
ANY: Final = _Any.ANY


class Side(enum.Enum):
    """What a match is used for, which decides which of an exec's names count."""

    FIND = "find"  # what must run, and counts: the program's own name, and any of its paths
    FORBID = "forbid"  # what must not: any name under which it is known
    ALLOW = "allow"  # what may: of paths that of the file which was loaded, of a script the script's


@dataclass(frozen=True)
class Pattern:
    """A compiled pattern. ``text`` is how it is written in messages."""

    text: str
    _test: Callable[[ExecRecord, Side], Match]
    #: The one program name that it stands for, if it is no more than that.
    name: str | None = None
    #: Whether what is above an exec in the tree decides, too, or who has spawned that.
    looks_up: bool = False
    #: The folder from which a relative path in it is taken; empty where it has none.
    start: str = ""
    #: Where links decide, too, as they are at that moment.
    by_links: frozenset[Side] = frozenset()
    #: Whether else it has the same answer for a command at any time.
    lasts: bool = True
    _known: dict[tuple[int, bool | None, Side], tuple[Command, Match, bool]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def match(self, record: ExecRecord, side: Side = Side.FIND) -> Match:
        if self.looks_up:
            return self._test(record, side)
        key = (id(record._command), record._itself, side)
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= _KNOWN:
                self._known.clear()
            lasts = self.lasts and (side not in self.by_links or not may_lead_by_links(record))
            # With the command, for its number is another's when it has gone.
            found = self._known[key] = (record._command, self._test(record, side), lasts)
            return found[1]
        return found[1] if found[2] else self._test(record, side)

    @property
    def meaning(self) -> list[str]:
        """As plain data: the same for patterns that match the same."""
        return [self.text, self.start]

    def __str__(self) -> str:
        return self.text if len(self.text) <= _TEXT else self.text[: _TEXT - 1] + "…"


def any_match(patterns: Iterable[Pattern], record: ExecRecord, side: Side = Side.FIND) -> Match:
    """Whether at least one matches."""
    return either(*(pattern.match(record, side) for pattern in patterns))


def ignoring(patterns: Sequence[Pattern]) -> Callable[[ExecRecord], bool] | None:
    """Whether a record certainly matches one of them; None where there are none. What this run's own rules have stopped
    never does: nothing is killed without a word."""
    if not patterns:
        return None
    return lambda record: not record._lineage.enforced and any_match(patterns, record, Side.ALLOW) is True

"""What every text for users is made with: how much to say, and what a terminal may be shown."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

_ROWS = 10
_WIDTH = 160


@dataclass(frozen=True)
class Style:
    """How much to say: pytest's ``-q`` is -1, ``-vv`` is 2."""

    verbosity: int = 0
    #: The folder from which places in code are named.
    root: str = ""
    #: How many characters a line has room for, if it is not to be broken.
    columns: int = 80

    @property
    def rows(self) -> int | None:
        """How many rows a table has at most, None for all."""
        return None if self.verbosity >= 2 else 0 if self.verbosity < 0 else _ROWS

    @property
    def width(self) -> int | None:
        """How many characters of a command line are shown, None for all."""
        return None if self.verbosity >= 2 else _WIDTH


def printable(text: str) -> str:
    """No control character reaches a terminal, nor any byte that is not text."""
    return "".join(
        char.encode("unicode_escape").decode() if unicodedata.category(char)[0] == "C" else char for char in text
    )

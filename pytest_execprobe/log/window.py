"""What a log needs of the stretch of time that it shows."""

from __future__ import annotations

from typing import Protocol

from .._util.text import Style
from ..source.command import Command
from ..timeline.evidence import Evidence


class Window(Protocol):
    """A stretch of time whose execs can be read."""

    @property
    def label(self) -> str:
        """What it is, as in "2 execs in the call phase"."""

    @property
    def start(self) -> int: ...

    @property
    def style(self) -> Style: ...

    @property
    def attempts_refused(self) -> str | None:
        """Why failed attempts are not recorded, None if they are."""

    @property
    def closed(self) -> bool: ...

    def evidence(self) -> Evidence:
        """What is known, after synchronising with the kernel if the window is still open."""

    def tally(self) -> tuple[list[Command], Evidence]:
        """The commands of all records, and what is missing from it. It makes no record for that."""

    def wait(self, timeout: float) -> bool:
        """Until something new may be there, at most so many seconds; False if nothing can come any more."""

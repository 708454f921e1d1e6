"""Where Python code spawned something, as users see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

#: How many frames a call site has at most: a recursion may be as deep as Python allows.
MOST_FRAMES = 100


class Frame(NamedTuple):
    """A line of Python that was being executed."""

    #: As its code has it, without ``..``: absolute, but for what was compiled of no file (``<string>``).
    file: str
    line: int
    #: The function's name; ``<module>`` outside of any.
    function: str


@dataclass(frozen=True)
class CallSite:
    """Where Python spawned what an exec belongs to: the innermost frame in the user's own code, that is neither of the
    standard library nor of an installed package. Where there is no such frame, the innermost one outside of the
    standard library."""

    file: str
    line: int
    function: str
    #: The frames outside of the standard library, innermost first, up to where pytest called the test or the fixture.
    stack: tuple[Frame, ...] = ()


def place(site: CallSite | Frame, root: str = "") -> str:
    """Where that is, in short: the path relative to a folder if it is below it."""
    return f"{below(site.file, root)}:{site.line} in {site.function}"


def relative(site: CallSite, root: str) -> CallSite:
    """The same, with paths relative to a folder where they are below it."""
    stack = tuple(Frame(below(frame.file, root), frame.line, frame.function) for frame in site.stack)
    return CallSite(below(site.file, root), site.line, site.function, stack)


def below(file: str, root: str) -> str:
    """A path relative to a folder, if it is below it."""
    return file.removeprefix(f"{root.rstrip('/')}/") if root else file

"""What a list of programs that may run lacks, so that what has run is right. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from .._util import originals
from ..timeline.kinds import Kinds
from ..timeline.record import ExecRecord
from .matching import literal
from .pattern import Side
from .patterns import compile_pattern

_LOOKED_AT = 1000  # records that are not of one kind
_FEWEST = 2  # programs, besides itself, that one above them explains if it is to be worth a pattern
#: What runs whatever it is given: all that is below one of these can be anything.
_RUNS_ANYTHING = re.compile(
    r"(?:a|ba|da|z|k|mk|c|tc|fi|tcl|s)?sh|busybox|toybox|(?:python|pypy)[\d.]*t?|(?:perl|ruby|php|lua|node|nodejs)[\d.]*"
    r"|expect|[gmn]?awk|env|sudo|su|runuser|doas|setpriv|xargs|parallel|find|timeout|nohup|nice|ionice|chrt|taskset"
    r"|prlimit|stdbuf|setsid|flock|script|time|watch|chroot|unshare|nsenter|setarch|fakeroot|bwrap|systemd-run|docker"
    r"|podman|xvfb-run|dbus-run-session|strace|ltrace|gdb|valgrind|[gb]?make|ninja|rake|tox|nox|uvx?|poetry|hatch|np[mx]"
)

_PYTHON = re.compile(r"python[\d.]*t?")


@dataclass(frozen=True)
class Additions:
    """Programs by name, and the one pattern that has all of them, if there is such a one."""

    programs: tuple[str, ...] = ()
    subtree: str = ""
    #: Whether what is below that is no more than what it needs itself, by its name.
    is_narrow: bool = False

    @property
    def as_arguments(self) -> tuple[str | list[str], ...]:
        """The names as patterns of a marker."""
        return tuple(map(_as_argument, self.programs))

    @property
    def as_texts(self) -> tuple[str, ...]:
        """The names as patterns that stand in a file, or an option."""
        return tuple(map(as_text, self.programs))


NOTHING = Additions()


def additions(records: Iterable[ExecRecord]) -> Additions:
    """What to add for records that nothing allows."""
    records = [*records]
    commands = {id(record._command): record for record in records}.values()
    programs = tuple(dict.fromkeys(record.program for record in commands if record.program))
    above = _above_all(records, programs)
    if not above:
        return Additions(programs)
    return Additions(programs, f"subtree:{as_text(above)}", runs_its_own(above))


def runs_its_own(program: str) -> bool:
    """Whether what a program runs is its own matter, and not what it is given to run."""
    return _RUNS_ANYTHING.fullmatch(program) is None


def of_any_python(program: str) -> str:
    """For a Python, the pattern of all its names: an environment has it as python, python3 and python3.11."""
    return "python*" if _PYTHON.fullmatch(program) else ""


def as_text(program: str) -> str:
    """A pattern for a program of that name, as it is written in a file."""
    escaped = literal(program) if set(program) & set("*?") else program
    # What can't be written as text is any one character.
    name = "".join(character if character.isprintable() else "?" for character in escaped)
    try:
        pattern = compile_pattern(name)
        if pattern.name == name and name[0] not in "#;[":
            return name
    except ValueError:
        pass
    return name if name != program and re.fullmatch(r"\w[^\s:,;|&~]*", name) else f"argv:{originals.quote(name)}"


def _as_argument(program: str) -> str | list[str]:
    """In a list, where it would be taken for something else."""
    if not set(program) & set("*?"):
        with suppress(ValueError):
            compile_pattern(program)
            return program
    return [literal(program)]


def _above_all(records: list[ExecRecord], programs: tuple[str, ...]) -> str:
    """The nearest program that all of some records are, or are below: best one that runs nothing but its own."""
    if len(programs) < _FEWEST:
        return ""
    first = Kinds(records, in_tree=True).first[: _LOOKED_AT + 1]
    if len(first) > _LOOKED_AT:
        return ""
    common: dict[str, None] | None = None
    for record in first:
        names = _upwards(record)
        common = names if common is None else {name: None for name in common if name in names}
        if not common:
            return ""
    for name in sorted(common or (), key=lambda name: not runs_its_own(name)):
        pattern = compile_pattern(f"subtree:{as_text(name)}")
        explained = len(programs) - (name in programs)
        if explained >= _FEWEST and all(pattern.match(record, Side.ALLOW) is True for record in first):
            return name
    return ""


def _upwards(record: ExecRecord) -> dict[str, None]:
    """The names of a record and of those above it, the nearest first."""
    found: dict[str, None] = {}
    at: ExecRecord | None = record
    while at is not None:
        if at.program:
            found[at.program] = None
        at = at._lineage.previous or at.parent
    return found

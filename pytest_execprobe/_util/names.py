"""Names of tests that are the same on every machine: parameters may hold its home and temporary folders."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from os import W_OK, X_OK
from typing import Any

from . import originals

_HOME, _TEMPORARY = "~", "$TMPDIR"
_ANY_SIGN = re.compile(r"~|\$TMPDIR")
# What may stand before a path, and after it, in parameters that pytest has joined with "-" or that hold more than it.
_BEFORE = r"(?:(?<=[\s\-=:,;(\[{<>\"'`|&!])|(?<=://))"
_AFTER = r"(?=[/\s=:,;)\]}<>\"'`|&!])"
_PLACED_SIGN = re.compile(rf"{_BEFORE}(?:~|\$TMPDIR){_AFTER}")
# pytest numbers the folders of its runs, and names them after the user.
_OF_A_RUN = re.compile(rf"\$TMPDIR/pytest-of-[^/]+/pytest-\d+{_AFTER}")
_ANY_RUN = "$TMPDIR/pytest-of-$USER/pytest-N"
_STAR = re.compile(r"(?<!\\)\*")
# What is no text, as a name has it, and a star, as a table does.
_ESCAPED = re.compile(r"\\(?:u(dc[89a-f][0-9a-f])|\*)")
_GROUP = re.compile(r"(?<=\])@[^\]]*\Z")  # behind parameters, which end with a bracket and may hold the sign


@dataclass(frozen=True)
class Folders:
    """A machine's home and temporary folders, "" for one that there is not. Read once, when the run begins."""

    home: str = ""
    temporary: str = ""
    #: Whether pytest-xdist adds the group of a test to its name (--dist=loadgroup, with pytest before 9).
    grouped: bool = False

    @classmethod
    def here(cls, *, grouped: bool = False) -> Folders:
        """Those of this process, as they are now."""
        return cls(_usable(originals.expanduser("~")), _usable(_temporary_folder()), grouped)

    def export(self) -> list[Any]:
        """As plain data, for xdist's workers."""
        return [self.home, self.temporary, self.grouped]

    def ungrouped(self, name: str) -> str:
        """A test's name without the group that pytest-xdist has added: what pytest is given to run the test."""
        if not self.grouped:
            return name
        head, parameters = _parted(name)
        place, colons, rest = head.partition("::")
        rest, sign, _ = rest.partition("@")  # which no name of a function has
        return f"{place}{colons}{rest}" + ("" if sign else _GROUP.sub("", parameters))

    def portable(self, name: str) -> str:
        """A test's or fixture's name with signs in the place of these folders, and with what is no text escaped.

        Only parameters change, and only where a path begins with a folder: ``/rooted`` is not in ``/root``.
        """
        head, parameters = _parted(_text(self.ungrouped(name)))
        if self._paths is not None:
            parameters = self._paths.sub(lambda match: self._signs[match[0]], parameters)
        return head + _OF_A_RUN.sub(lambda _: _ANY_RUN, parameters)

    def formerly(self, name: str) -> str:
        """What earlier versions made of a name: the folders were replaced wherever they stood."""
        for folder in sorted(filter(None, (self.home, self.temporary)), key=len, reverse=True):
            name = name.replace(folder, self._signs[folder])
        return name

    @cached_property
    def _signs(self) -> dict[str, str]:
        """Each way to write a folder. pytest, for one, resolves links."""
        given = {self.home: _HOME, self.temporary: _TEMPORARY}
        resolved = {_usable(originals.realpath(folder)): sign for folder, sign in given.items() if folder}
        return {folder: sign for folder, sign in {**resolved, **given}.items() if folder}

    @cached_property
    def _paths(self) -> re.Pattern[str] | None:
        folders = sorted(self._signs, key=len, reverse=True)  # one may be in the other
        return re.compile(f"{_BEFORE}(?:{'|'.join(map(re.escape, folders))}){_AFTER}") if folders else None


def renamed(tables: Iterable[str], known: Sequence[str], folders: Folders) -> dict[str, str]:
    """The tables that are named as earlier versions named them, on this machine or another, and their names now.

    ``known`` are names of tests, or fixtures. A table that could be that of several is left out.
    """
    found = {}
    for table in tables:
        if table not in known and _misplaced(table):
            names = {name for name in (_filled(table, other) for other in known) if name is not None}
            own = {name for name in names if folders.formerly(name) == table}
            if len(own or names) == 1:
                (found[table],) = own or names
    return found


def place_of(table: str) -> str:
    """The path of a table's file or folder, from the root directory, as the system has it; "" where its name does not
    show it, for a folder above has ``::`` in its name."""
    place, _, rest = table.partition("::")
    is_plain = "/" not in _parted("::" + rest)[0].rpartition("::")[0]
    return _ESCAPED.sub(lambda match: chr(int(match[1], 16)) if match[1] else "*", place) if is_plain else ""


def without_parameters(name: str) -> str:
    """The name of the function of which a test is one call."""
    return _parted(name)[0]


def may_have_more(table: str, names: Iterable[str]) -> bool:
    """Whether a table may be about one of some calls of its test, with further parameters than they have now, which a
    fixture or a hook gives them in other circumstances."""
    its = _parts(table)
    return any("*" in part for part in its) or any(_is_in_order(_parts(name), iter(its)) for name in names)


def _is_in_order(parts: Sequence[str], others: Iterator[str]) -> bool:
    return all(part in others for part in parts)


def _parts(name: str) -> list[str]:
    """Parameters as pytest joins them, or parts of them."""
    parameters = _parted(name)[1][1:-1]
    return parameters.split("-") if parameters else []


def has_no_place(table: str) -> bool:
    """Whether a table's file is named as earlier versions named some: there is none of that name."""
    return _ANY_SIGN.search(_parted(table)[0]) is not None


def _filled(table: str, name: str) -> str | None:
    """A table's name with what a test's name has in the place of signs that stand where none can; None if it is
    another's. A ``*`` is any text."""
    spans = _misplaced(table)
    signs = [table[start:end] for start, end in spans]
    edges = [0, *(edge for span in spans for edge in span), len(table)]
    texts = [table[start:end] for start, end in zip(edges[::2], edges[1::2], strict=True)]
    parts = [".*".join(map(re.escape, _STAR.split(text))) for text in texts]
    meant = [rf"({re.escape(sign)}|(?:/[^/:\[\]]+)+)" for sign in signs]  # itself, or a folder
    match = re.fullmatch("".join(_alternating(parts, meant)), name, flags=re.DOTALL)
    found = () if match is None else match.groups()
    folders = {pair for pair in zip(signs, found, strict=False) if pair[0] != pair[1]}
    if match is None or len(folders) > len(dict(folders)):  # on one machine each sign stands for one folder
        return None
    return "".join(_alternating(texts, found))


def _alternating(texts: Sequence[str], between: Sequence[str]) -> Iterator[str]:
    for pair in zip(texts, [*between, ""], strict=True):
        yield from pair


def _misplaced(table: str) -> list[tuple[int, int]]:
    """Where a name has signs that no folder of its parameters can have left there."""
    start = len(_parted(table)[0])
    placed = {match.start() for match in _PLACED_SIGN.finditer(table, start)}
    return [match.span() for match in _ANY_SIGN.finditer(table) if match.start() not in placed]


def _parted(name: str) -> tuple[str, str]:
    """A name up to its parameters, and those with their brackets. A folder, too, may have brackets in its name."""
    start = name.find("[", name.find("::")) if "::" in name else -1
    return (name, "") if start < 0 else (name[:start], name[start:])


def _text(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode()


def _usable(folder: str) -> str:
    """A folder as paths below it begin; "" if those are all paths, or it is relative."""
    folder = originals.normpath(folder) if folder.startswith("/") else ""
    return "" if not folder.strip("/") else "/" + folder.lstrip("/")


def _temporary_folder() -> str:
    """Where Python puts such files; nowhere ("") if there is no place."""
    set_to = (originals.environ.get(name, "") for name in ("TMPDIR", "TEMP", "TMP"))
    places = (*map(originals.abspath, filter(None, set_to)), "/tmp", "/var/tmp", "/usr/tmp")
    return next((place for place in places if originals.is_folder(place) and originals.access(place, W_OK | X_OK)), "")

"""Names of tests that are the same on every machine: parameters may hold its home and temporary folders."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from os import W_OK, X_OK
from typing import Any

from . import originals

_HOME, _TEMPORARY = "~", "$TMPDIR"
# What may stand before a path, and after it, in parameters that pytest has joined with "-" or that hold more than it.
_BEFORE = r"(?:(?<=[\s\-=:,;(\[{<>\"'`|&!])|(?<=://))"
_AFTER = r"(?=[/\s=:,;)\]}<>\"'`|&!])"
# pytest numbers the folders of its runs, and names them after the user.
_OF_A_RUN = re.compile(rf"\$TMPDIR/pytest-of-[^/]+/pytest-\d+{_AFTER}")
_ANY_RUN = "$TMPDIR/pytest-of-$USER/pytest-N"
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


def without_parameters(name: str) -> str:
    """The name of the function of which a test is one call."""
    return _parted(name)[0]


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

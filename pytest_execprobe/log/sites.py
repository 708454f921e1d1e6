"""The pattern ``from:PATH[:FUNCTION]``: what certain code has spawned, by the frames of a record's call site."""

from __future__ import annotations

import re
import sys
from fnmatch import translate

from .._util import originals
from .._util.originals import Path
from .._util.paths import as_recorded, on_disk, real
from ..timeline.record import ExecRecord
from ..timeline.site import MOST_FRAMES, Frame
from .pattern import Match, Pattern, Side

_INSTALLED = re.compile(r".*/(?:site|dist)-packages/", re.DOTALL)


def site_pattern(rest: str, text: str, start: Path) -> Pattern:
    """What was spawned while a frame of a file (or of a folder's) was on the stack, or only of a function in it.
    Raises ValueError."""
    path, _, function = rest.rpartition(":") if ":" in rest else (rest, "", "*")
    if not path.strip() or not function.strip():
        raise ValueError(f"a call site is from:PATH or from:PATH:FUNCTION, and neither is empty: {text!r}")
    if re.search(r"^\d|[\s./]", function):  # a line, a method, a second path
        raise ValueError(f"{text!r} would match nothing: a function goes by its name alone ({path}:tag)")
    file, name = _Files(path, start), re.compile(translate(function))

    def test(record: ExecRecord, side: Side) -> Match:  # noqa: ARG001
        site = record.call_site
        if site is None:
            return None
        stack = site.stack or (Frame(site.file, site.line, site.function),)
        if any(name.match(frame.function) and file.match(frame.file) for frame in stack):
            return True
        return None if len(stack) >= MOST_FRAMES else False

    return Pattern(text, test, looks_up=True)


class _Files:
    """A glob over files of Python, by what code says of its file: mostly its absolute path, in stored reports that from
    pytest's root directory."""

    def __init__(self, glob: str, start: Path) -> None:
        self._known: dict[str, bool] = {}
        try:
            self._start = originals.normpath(originals.join(as_recorded(originals.getcwd()), start))
        except FileNotFoundError:
            self._start = as_recorded(start)
        self._is_name = "/" not in glob
        globs = [glob]
        if not self._is_name and glob[0] not in "/*?[":
            globs = [originals.normpath(glob)]
        if not self._is_name and glob[0] not in "*?[":
            whole = originals.normpath(originals.join(self._start, glob))
            globs += [whole, real(whole)]
        if glob.endswith("/") or (not self._is_name and originals.is_folder(on_disk(globs[-1]))):
            globs = [f"{one.rstrip('/')}/*" for one in globs]
        # It stands for a name like itself, too, if that has brackets in it.
        self._regex = re.compile("|".join([*(re.escape(one) + r"\Z" for one in globs), *map(translate, globs)]))

    def match(self, file: str) -> bool:
        found = self._known.get(file)
        if found is None:
            found = self._known[file] = self._matches(file)
        return found

    def _matches(self, file: str) -> bool:
        if not self._is_name:
            return self._regex.match(file) is not None
        # A name is that of a file, with or without .py, or of a folder: of those that lead to it from where the pattern
        # was written, or from where packages are installed or imported. What these lie in says nothing of the code.
        last = file.rpartition("/")[2]
        names = {last, last.removesuffix(".py")}
        for folder in (self._start, _imported_from(file)):
            short = _INSTALLED.sub("", file.removeprefix(f"{folder.rstrip('/')}/"))
            names.update([] if short.startswith("/") else short.split("/")[:-1])
        return any(self._regex.match(one) for one in names)


def _imported_from(file: str) -> str:
    """The folder from which a file's package is found by its name."""
    folders = [path.rstrip("/") for path in sys.path if isinstance(path, str)]
    return max((path for path in folders if path and file.startswith(f"{path}/")), key=len, default=file)

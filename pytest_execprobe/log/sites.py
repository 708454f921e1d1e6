"""The pattern ``from:PATH[:FUNCTION]``: what certain code has spawned, by the frames of a record's call site."""

from __future__ import annotations

import re
import sys
from fnmatch import translate

from .._util import originals
from .._util.originals import Path
from .._util.paths import on_disk, real
from .._util.ternary import either
from ..timeline.frames import is_shown
from ..timeline.record import ExecRecord
from ..timeline.site import MOST_FRAMES, Frame
from .matching import taken_from, written_in
from .pattern import Match, Pattern, Side

#: Whose frames call sites do not have, by the names of its modules.
_NOT_SHOWN = sys.stdlib_module_names | {"pytest", "_pytest", "pluggy", "pytest_execprobe"}
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
    if file.is_never_shown:
        raise ValueError(
            f"{text!r} would match nothing: call sites have no frames of the standard library and of pytest. Name the"
            f" code that calls it; a file of your own by its path, as '*/{path.strip('/').rpartition('/')[2]}'"
        )

    def test(record: ExecRecord, side: Side) -> Match:  # noqa: ARG001
        site = record.call_site
        if site is None:
            return None
        stack = site.stack or (Frame(site.file, site.line, site.function),)
        found = either(*(file.match(frame.file) for frame in stack if name.match(frame.function)))
        return None if found is False and len(stack) >= MOST_FRAMES else found

    return Pattern(text, test, looks_up=True, start=written_in(path, start))


class _Files:
    """A glob over files of Python, by what code says of its file: mostly its absolute path, in stored reports that from
    pytest's root directory."""

    def __init__(self, glob: str, start: Path) -> None:
        self._known: dict[str, Match] = {}
        self.start = taken_from(start)
        self._glob = glob
        self._is_name = "/" not in glob
        globs = [glob]
        if not self._is_name and glob[0] not in "/*?[":
            globs = [originals.normpath(glob)]
        if not self._is_name and glob[0] not in "*?[":
            whole = originals.normpath(originals.join(self.start, glob))
            globs += [whole, real(whole)]
        self._paths = globs
        if glob.endswith("/") or (not self._is_name and originals.is_folder(on_disk(globs[-1]))):
            globs = [f"{one.rstrip('/')}/*" for one in globs]
        # It stands for a name like itself, too, if that has brackets in it.
        self._regex = re.compile("|".join([*(re.escape(one) + r"\Z" for one in globs), *map(translate, globs)]))

    @property
    def is_never_shown(self) -> bool:
        """Whether no call site has a frame of what it names."""
        if not self._is_name:
            return not set(self._glob) & set("*?[") and not all(map(is_shown, self._paths))
        if self._glob.removesuffix(".py") not in _NOT_SHOWN:
            return False
        name = self._glob.removesuffix(".py")
        folders = {self.start, *(path for path in sys.path if isinstance(path, str))}
        own = ((f"{folder}/{name}.py", f"{folder}/{name}", f"{folder}/{name}/x.py") for folder in folders)
        return not any(
            (is_shown(file) and originals.lexists(on_disk(file)))
            or (is_shown(inner) and originals.is_folder(on_disk(package)))
            for file, package, inner in own
        )

    def match(self, file: str) -> Match:
        if file not in self._known:
            is_known = file.startswith(("/", "<"))
            self._known[file] = self._matches_either(file) if is_known else self._matches_stored(file)
        return self._known[file]

    def _matches_either(self, file: str) -> bool:
        """As it was imported, or what that leads to: a checkout can be reached by a link."""
        return self._matches(file) or (file.startswith("/") and self._matches(real(file)))

    def _matches_stored(self, file: str) -> Match:
        """The root directory is where the file is: the folder of the pattern, or one above it. Where it is in neither
        it is taken for the folder of the pattern, if that can be."""
        root = self.start
        while root != originals.dirname(root) and not originals.lexists(on_disk(originals.join(root, file))):
            root = originals.dirname(root)
        if originals.lexists(on_disk(originals.join(root, file))):
            found = self._matches_either(originals.join(root, file))
            # It may have been imported from another folder where it ran.
            return found or (None if self._is_name and self._matches(file) else False)
        as_if = (file, originals.join(self.start, file), *([f"/{file}"] if self._glob[0] == "*" else []))
        if any(map(self._matches, as_if)):
            return True
        last = self._glob.rpartition("/")[2]
        may_lead_there = not last.endswith(".py") or re.match(translate(last), file.rpartition("/")[2])
        return None if not self._is_name and self._glob[0] in "/.*?[" and may_lead_there else False

    def _matches(self, file: str) -> bool:
        if not self._is_name:
            return self._regex.match(file) is not None
        # A name is that of a file, with or without .py, or of a folder: of those that lead to it from where the pattern
        # was written, or from where packages are installed or imported. What these lie in says nothing of the code.
        last = file.rpartition("/")[2]
        names = {last, last.removesuffix(".py")}
        for folder in (self.start, real(self.start), _imported_from(file)):
            short = _INSTALLED.sub("", file.removeprefix(f"{folder.rstrip('/')}/"))
            names.update([] if short.startswith("/") else short.split("/")[:-1])
        return any(self._regex.match(one) for one in names)


def _imported_from(file: str) -> str:
    """The folder from which a file's package is found by its name."""
    folders = [path.rstrip("/") for path in sys.path if isinstance(path, str)]
    return max((path for path in folders if path and file.startswith(f"{path}/")), key=len, default=file)

"""Which of the frames of a thread are the user's own code, and the call site that they make."""

from __future__ import annotations

import sys
from types import CodeType, FrameType

from .._util import originals
from .._util.paths import real
from .site import MOST_FRAMES, CallSite, Frame

_KEPT = 4096  # call sites that are shared, and kinds of files that are known

_STANDARD, _RUNNERS, _HOOKS, _LOOP, _LIBRARY, _OWN = range(6)
_kinds: dict[str, int] = {}
#: By the codes of frames, and how far each has come; with the codes, for their numbers are others' when they have gone.
_known: dict[tuple[int, ...], tuple[CallSite | None, list[CodeType]]] = {}


def call_site(frame: FrameType | None) -> CallSite | None:
    """That of what a frame calls, None where there is no frame outside of the standard library.

    The frames end where pytest has called a hook, as it does for a test, a fixture and a module: what is above them has
    not asked for it. Where it is called in between (``pytest.raises(error, function)``, an import of a module whose
    assertions it rewrites), or another program calls hooks, they go on.
    """
    key: list[int] = []  # every spawn comes here: which line that is, is not looked up each time
    innermost, kinds, room, kind = frame, _kinds, 2 * MOST_FRAMES, None
    while frame is not None and room:
        code, within = frame.f_code, kind
        kind = kinds.get(code.co_filename)
        if kind is None:
            kind = _learn(code.co_filename)
        if kind >= _LOOP:
            key.append(id(code))
            key.append(frame.f_lasti)
            room -= 2
        elif kind == _RUNNERS and within == _HOOKS:
            break
        frame = frame.f_back
    known = _known.get(tuple(key))
    if known is None:
        if len(_known) >= _KEPT:
            _known.clear()
        known = _known[tuple(key)] = _made(innermost, len(key) // 2)
    return known[0]


def _made(frame: FrameType | None, number: int) -> tuple[CallSite | None, list[CodeType]]:
    """Of the first frames that are not of the standard library."""
    stack: list[Frame] = []
    codes: list[CodeType] = []
    asking: list[Frame] = []  # those that have not only run the loop, as a plugin for asynchronous tests does
    while frame is not None and len(codes) < number:
        code = frame.f_code
        kind = _learn(code.co_filename)
        if kind >= _LIBRARY:
            stack.append(Frame(_plain(code.co_filename), frame.f_lineno or 0, code.co_name))
        if kind >= _LOOP:
            codes.append(code)
            asking = asking if len(codes) > len(stack) else [*stack]
        frame = frame.f_back
    own = next((frame for frame in stack if _learn(frame.file) == _OWN), None) or next(iter(asking), None)
    return None if own is None else CallSite(*own, tuple(stack)), codes


def _learn(file: str) -> int:
    if file not in _kinds:
        if len(_kinds) >= _KEPT:
            _kinds.clear()
        _kinds[file] = kind_of(_plain(file))
    return _kinds[file]


def _plain(file: str) -> str:
    """Without what an entry of sys.path has left in it (``tests/../src``), unless that leads elsewhere by a link."""
    if not file.startswith("/") or not ("/." in file or "//" in file):
        return file
    plain = originals.normpath(file)
    return plain if real(plain) == real(file) else file


def kind_of(file: str) -> int:
    """Whose code has this file."""
    if file.startswith("<"):  # what was compiled of no file belongs to whoever runs it
        return _STANDARD if file.startswith("<frozen ") else _LIBRARY
    if file.startswith(_folders("pytest", "_pytest", __name__.partition(".")[0])):
        return _RUNNERS
    if file.startswith(_folders("pluggy")):
        return _HOOKS
    if "/site-packages/" in file or "/dist-packages/" in file:
        return _LIBRARY
    if not file.startswith(_STANDARD_FOLDERS):
        return _OWN
    return _LOOP if file.endswith("/asyncio/events.py") else _STANDARD  # where a callback of a loop is called


def is_shown(file: str) -> bool:
    """Whether call sites have frames of a file."""
    return kind_of(file) >= _LIBRARY


def _folders(*modules: str) -> tuple[str, ...]:
    """Those of modules, as paths of what is in them begin."""
    files = [getattr(sys.modules.get(name), "__file__", None) for name in modules]
    folders = [originals.dirname(file) for file in files if file]
    return tuple(f"{path}/" for folder in folders for path in dict.fromkeys([folder, originals.realpath(folder)]))


_STANDARD_FOLDERS = _folders("os")

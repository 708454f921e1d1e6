"""Notes the calls by which Python code spawns something, while a probe follows what they make.

The functions of C that do it are replaced where the standard library looks them up, so that whoever calls it (asyncio,
multiprocessing, pty) is noted, and no other code pays for it: a hook of audit events would cost a call for each
event of any kind. What forks by ``fork()`` is seen by a handler of that, which has it from whatever name, from uvloop's
C code, too. It stands close to the fork, and no warning of Python's changes its place.

A name that was bound elsewhere before (``from os import system``) leads to the function itself, and is not noted.
"""

from __future__ import annotations

import functools
import itertools
import mmap
import sys
from types import FrameType, ModuleType
from typing import Any

from .._util import clock, originals
from .calls import Call, Calls
from .frames import call_site

#: Where the functions are looked up, and what they do that matters: return the number of a process, or exec.
_PLACES = (
    ("_posixsubprocess", "fork_exec", "pid"),  # by multiprocessing, and by subprocess before Python 3.11
    ("subprocess", "_fork_exec", "pid"),
    ("os", "posix_spawn", "pid"),
    ("os", "posix_spawnp", "pid"),
    ("os", "system", ""),
    ("os", "execv", "exec"),
    ("os", "execve", "exec"),
)

_MARKS = 16384  # children of fork() that have a mark at a time, four bytes each
_FIRST_NAMESPACE = 0xEFFFFFFC  # PROC_PID_INIT_INO, include/linux/proc_ns.h

#: Who is to know of them. It is replaced as a whole.
_listeners: tuple[Calls, ...] = ()
#: By thread, as Python names it in a forked child, too, the innermost call that goes on.
_going_on: dict[int, Call] = {}
#: Memory that forked children share, in which each puts its number: fork() is seen, but not what it returns.
_marks: memoryview | None = None
_marked: dict[int, Call] = {}  # whose each is
_next_mark = itertools.count()


class Noted:
    """A function that spawns something. It equals what it stands for (``os.execve in os.supports_fd``), and like a
    function of C it is no method of a class that holds it."""

    def __init__(self, function: Any, does: str) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self._gives_pid, self._is_exec = does == "pid", does == "exec"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        if not _listeners:
            return self._function(*args, **kwargs)
        call = _begin(originals.frame(1))
        call.is_exec = self._is_exec
        try:
            result = self._function(*args, **kwargs)
            if self._gives_pid:
                call.pid = result
            return result
        finally:
            _end(call)

    def __eq__(self, other: object) -> bool:
        return self is other or bool(self._function == other)

    def __hash__(self) -> int:
        return hash(self._function)

    def __repr__(self) -> str:
        return repr(self._function)

    def __reduce__(self) -> Any:
        return functools.partial, (self._function,)


def _begin(frame: FrameType | None) -> Call:
    this, site = originals.get_ident(), call_site(frame)
    call = _going_on[this] = Call(originals.get_native_id(), site, _going_on.get(this), clock.monotonic_ns())
    for calls in _listeners:
        calls.inbox.append(call)
    return call


def _end(call: Call) -> None:
    call.after = clock.monotonic_ns()
    if call.outer is None:
        _going_on.pop(originals.get_ident(), None)
    else:
        _going_on[originals.get_ident()] = call.outer


# ---- fork() ----


def _before_fork() -> None:
    global _marks
    if not _listeners:
        return
    if _marks is None:
        _marks = memoryview(mmap.mmap(-1, 4 * _MARKS)).cast("I")
    number = next(_next_mark) % _MARKS
    former = _marked.pop(number, None)
    if former is not None:
        former.forget_mark()
    _marks[number] = 0
    call = _marked[number] = _begin(originals.frame(1))
    call.mark = _marks, number


def _after_fork_in_parent() -> None:
    call = _going_on.get(originals.get_ident()) if _going_on else None
    if call is not None and call.mark is not None:
        _end(call)


def _after_fork_in_child() -> None:
    """What a child's own Python spawns is of the child's branch, unless it becomes a root itself."""
    global _listeners, _marks
    call = _going_on.get(originals.get_ident()) if _going_on else None
    if call is not None and call.mark is not None:
        marks, number = call.mark
        marks[number] = originals.getpid()
    _listeners, _marks = (), None
    _going_on.clear()
    _marked.clear()


originals.register_at_fork(
    before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child
)


# ---- from when to when ----


def begin(calls: Calls) -> None:
    """From now on they are noted for this one, too."""
    global _listeners
    if calls in _listeners:
        return
    for module, name, does in _places():
        function = getattr(module, name, None)
        if function is not None and not isinstance(function, Noted):
            setattr(module, name, Noted(function, does))
    calls.same_numbers = _is_in_first_namespace()
    _listeners = (*_listeners, calls)


def end(calls: Calls) -> None:
    """No longer. After the last, what stands where it was put is taken away; what others have put over it stays, and
    what they put back does nothing."""
    global _listeners, _marks
    _listeners = tuple(one for one in _listeners if one is not calls)
    if not _listeners:
        for call in _marked.values():
            call.forget_mark()
        _marked.clear()
        _marks = None
    for module, name, _ in _places() if not _listeners else ():
        function = getattr(module, name, None)
        if isinstance(function, Noted):
            setattr(module, name, function._function)


def _is_in_first_namespace() -> bool:
    """Of PID namespaces, that of the machine, in which processes see the kernel's numbers."""
    try:
        return originals.stat("/proc/self/ns/pid").st_ino == _FIRST_NAMESPACE
    except OSError:
        return False


def _places() -> list[tuple[ModuleType, str, str]]:
    return [(sys.modules[module], name, does) for module, name, does in _PLACES if module in sys.modules]

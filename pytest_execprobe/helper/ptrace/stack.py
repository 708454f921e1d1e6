"""What the kernel has put on the stack of a new program: how many arguments, a pointer to each, a NUL, the same of the
environment, the auxiliary vector, and behind that the text of all of them."""

from __future__ import annotations

from typing import NamedTuple, Optional, Tuple

from . import calls
from .machines import Machine
from .statuses import read_file

ARGV_CAP = 16384
PATH_CAP = 4096
_AT_FLAGS, _AT_EXECFN = 8, 31  # uapi/linux/auxvec.h
_ARGV0_KEPT = 1  # AT_FLAGS_PRESERVE_ARGV0, uapi/linux/binfmts.h
_NEAR = 1 << 14  # bytes that are read at once: of nearly all programs that is all of it, up to the stack's end
_MORE = 1 << 16  # where there are more pointers than these
_NAMES = {(name, word): name.to_bytes(word, "little") for name in (_AT_EXECFN, _AT_FLAGS) for word in (4, 8)}
_ZEROS = {word: bytes(word) for word in (4, 8, 16)}


class Stack(NamedTuple):
    """None: it can't be read."""

    path: Optional[bytes] = None
    argv: Optional[bytes] = None  # each with its NUL, cut
    is_cut: bool = False
    argv0_kept: bool = False


def read(pid: int, machine: Machine) -> Stack:
    at, word = calls.stack_pointer(pid, machine)
    near = calls.read_ahead(pid, at, _NEAR) if word else b""
    found = _pointers(pid, at, word, near) if len(near) >= 2 * word > 0 else None
    if found is None:
        return _command_line(pid)
    first, end, name, flags = found
    end = end or name
    first = first or end
    length = min(max(0, end - first), ARGV_CAP)
    begin, path_at = first - at, name - at
    path_end = near.find(b"\0", path_at) if path_at > 0 else -1
    path: Optional[bytes]
    if path_end > 0 and begin > 0 and begin + length <= len(near):
        argv, path = near[begin : begin + length], near[path_at:path_end]
    else:
        data = calls.read_memory(pid, [(first, length), (name, PATH_CAP)] if name else [(first, length)])
        path, is_whole, _ = data[length:].partition(b"\0")
        path = path if is_whole else None
        if len(data) < length:
            return _command_line(pid)._replace(path=path)
        argv = data[:length]
    return Stack(path, argv, end - first > ARGV_CAP, bool(flags & _ARGV0_KEPT))


#: Where the arguments' text begins and ends (0: there is none, or no environment behind it), AT_EXECFN and AT_FLAGS.
_Pointers = Tuple[int, int, int, int]


def _pointers(pid: int, at: int, word: int, data: bytes) -> Optional[_Pointers]:
    """``data``: as much as has been read from ``at`` on."""
    first = int.from_bytes(data[word : 2 * word], "little")
    environment = (int.from_bytes(data[:word], "little") + 2) * word
    found = auxiliary(data, environment, word)
    # There are so many that it takes further looks, behind those of the arguments.
    rest, piece = b"", b"more"
    while found is None and piece:
        piece = calls.read_memory(pid, [(at + environment + len(rest), _MORE)])
        rest += piece
        found = auxiliary(rest, 0, word)
    return None if found is None else (first, *found)


def auxiliary(data: bytes, environment: int, word: int) -> Optional[Tuple[int, int, int]]:
    """The first pointer of the environment, which begins there, AT_EXECFN and AT_FLAGS. None if ``data`` does not go
    far enough."""
    # No word is made a number that is not looked for: there are hundreds.
    end = _zero(data, environment, word)
    begin = end + word
    last = data.find(_ZEROS[2 * word], begin) if end >= 0 else -1  # AT_NULL: no other entry's name is 0
    if last < 0:
        return None
    name, flags = _value(data, begin, last, _AT_EXECFN, word), _value(data, begin, last, _AT_FLAGS, word)
    return int.from_bytes(data[environment : environment + word], "little"), name, flags


def _value(data: bytes, begin: int, end: int, name: int, word: int) -> int:
    """Of an auxiliary vector, 0 where it has none of this name."""
    sought = _NAMES[name, word]
    found = data.find(sought, begin, end)
    while found >= 0:
        if (found - begin) % (2 * word) == 0:
            return int.from_bytes(data[found + word : found + 2 * word], "little")
        found = data.find(sought, found + 1, end)
    return 0


def _zero(data: bytes, at: int, word: int) -> int:
    """Where the first word is that is 0, from ``at`` on, where one begins; -1 if there is none."""
    zero = _ZEROS[word]
    found = data.find(zero, at)
    while found >= 0:
        found += (at - found) % word  # zeros of two words may be next to each other
        if data.startswith(zero, found):
            return found
        found = data.find(zero, found)
    return -1


def _command_line(pid: int) -> Stack:
    """Of a program that others may not look into, as of one that its user may not read, there is no more than this."""
    try:
        argv = read_file(b"/proc/%d/cmdline" % pid, ARGV_CAP + 1)
    except OSError:
        return Stack()
    return Stack(None, argv[:ARGV_CAP], len(argv) > ARGV_CAP)

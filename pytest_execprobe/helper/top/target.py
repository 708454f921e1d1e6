"""Where ``execprobe top`` is to put its probe, as the user writes it, and what may have been meant where there is none.

Pure: the command line and the helper read it alike, the one to refuse early, the other because it runs with privilege.
"""

from __future__ import annotations

import difflib
import re
import time
from typing import Iterable, List, NamedTuple

#: Successful execs of the whole machine.
EXEC = "exec"

FORMS = (
    "kprobe:FUNCTION",
    "tracepoint:CATEGORY:NAME",
    "uprobe:LIBRARY:SYMBOL",
    "usdt:BINARY:PROVIDER:NAME",
)

_FUNCTION = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,127}")
_TRACEPOINT = re.compile(r"[A-Za-z0-9_-]{1,100}")
_SYMBOL = re.compile(r"[A-Za-z_$.][A-Za-z0-9_$.]{0,511}")
_LABEL = re.compile(r"[A-Za-z0-9_.-]{1,100}")
_FILE_NAME = re.compile(r"[A-Za-z0-9_+][A-Za-z0-9_.+-]{0,100}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_PATH_MAX = 4096

_NEAR = 6
_PER_WAY = 3  # so that neither way to be near takes all the room
_ALIKE = 0.7  # of 1
_AT_ONCE, _MOMENT = 100, 3.0  # names, seconds
_SHORTEST = 4  # a shorter word is in far too many names to say anything


class Target(NamedTuple):
    """``place`` is a tracepoint's category, or the file or its short name; ``name`` what is looked for there."""

    kind: str
    place: str = ""
    name: str = ""


def parse(text: str) -> Target:
    """Raises ValueError, in words, for what can't be a target, whatever there is on this machine."""
    if text == EXEC:
        return Target(EXEC)
    kind, _, rest = text.partition(":")
    if kind == "kprobe":
        return Target(kind, "", _checked("function of the kernel", rest, _FUNCTION))
    if kind == "tracepoint" and rest.count(":") == 1:
        category, _, name = rest.partition(":")
        _checked("category of tracepoints", category, _TRACEPOINT)
        return Target(kind, category, _checked("tracepoint", name, _TRACEPOINT))
    if kind == "uprobe" and ":" in rest:
        place, _, name = rest.rpartition(":")  # a path may have colons of its own
        return Target(kind, _checked_place(place), _checked("symbol", name, _SYMBOL))
    if kind == "usdt" and rest.count(":") >= 2:
        place, provider, name = rest.rsplit(":", 2)
        _checked("provider", provider, _LABEL)
        return Target(kind, _checked_place(place), "%s:%s" % (provider, _checked("probe", name, _LABEL)))
    raise ValueError("a probe is written as one of %s, and %r is none of these" % (", ".join(FORMS), text))


def _checked(what: str, text: str, allowed: "re.Pattern[str]") -> str:
    if allowed.fullmatch(text) is None:
        raise ValueError("%r is no name of a %s" % (text, what))
    return text


def _checked_place(text: str) -> str:
    if "/" not in text:
        return _checked("library or program", text, _FILE_NAME)
    if not text.startswith("/") or len(text) > _PATH_MAX or _CONTROL.search(text):
        raise ValueError("%r is no path that can be used: give it from / on, or a library's name, such as c" % text)
    return text


def near(wanted: str, names: Iterable[str]) -> List[str]:
    """A few of the names that may have been meant: those that hold the wanted one, and those that are spelt like it."""
    known = sorted(set(names) - {wanted})
    word = wanted.rpartition(":")[2].lower()
    holding = []
    if len(word) >= _SHORTEST:
        holding = sorted((name for name in known if word in name.lower()), key=len)[:_NEAR]
    # The comparison is slow, and there are a hundred thousand functions in a kernel.
    room = max(2, len(wanted) // 3)
    alike = _alike(wanted, [name for name in known if abs(len(name) - len(wanted)) <= room])
    first = alike[:_PER_WAY] + holding[:_PER_WAY]
    return list(dict.fromkeys(first + alike + holding))[:_NEAR]


def _alike(wanted: str, names: List[str]) -> List[str]:
    """The most alike first; of very many, or very long ones, as many as can be compared in a moment."""
    ends = time.monotonic() + _MOMENT
    found: List[str] = []
    for at in range(0, len(names), _AT_ONCE):
        if time.monotonic() > ends:
            break
        found += difflib.get_close_matches(wanted, names[at : at + _AT_ONCE], n=_NEAR, cutoff=_ALIKE)
    return difflib.get_close_matches(wanted, found, n=_NEAR, cutoff=_ALIKE)

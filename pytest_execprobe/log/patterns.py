"""Patterns: which execs a check speaks of.

A match has three outcomes. True and False are certain; None means that what would decide it is not known: a cut-off
argv, a field that could not be read, a lost ancestor.
"""

from __future__ import annotations

import enum
import functools
import itertools
import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import translate
from typing import Any, Final

from .._util import originals
from .._util.originals import Path
from .._util.paths import absolute, base, leads_through_descriptor, name_of
from ..source.command import Command
from ..timeline.program import as_interpreters, called, files, interpreters
from ..timeline.record import ExecRecord

Match = bool | None


_TEXT = 160  # characters of a pattern that a message shows
_STARS = 4  # places of /**/ in a pattern that are tried without a folder, too
_KNOWN = 4096  # answers that a pattern keeps


class _Any(enum.Enum):
    ANY = "ANY"

    def __repr__(self) -> str:
        return "ANY"


#: In a list pattern: any one argument.
ANY: Final = _Any.ANY


class Side(enum.Enum):
    """What a match is used for, which decides which of an exec's names speak."""

    FIND = "find"  # what must run, and counts: the program's own name, and any of its paths
    FORBID = "forbid"  # what must not: any name under which it is known
    ALLOW = "allow"  # what may: of paths that of the file which was loaded, of a script the script's


@dataclass(frozen=True)
class Pattern:
    """A compiled pattern. ``text`` is how it is written in messages."""

    text: str
    _test: Callable[[ExecRecord, Side], Match]
    #: The one program name that it stands for, if it is no more than that.
    name: str | None = None
    #: Whether what is above an exec in the tree decides, too.
    looks_up: bool = False
    #: Whether links decide about an exec, too, as they are at that moment.
    by_links: Callable[[ExecRecord], bool] = field(default=lambda _: False, repr=False, compare=False)
    _known: dict[tuple[int, bool | None, Side], tuple[Command, Match, bool]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def match(self, record: ExecRecord, side: Side = Side.FIND) -> Match:
        if self.looks_up:
            return self._test(record, side)
        key = (id(record._command), record._itself, side)
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= _KNOWN:
                self._known.clear()
            lasts = side is Side.ALLOW or not self.by_links(record)
            # With the command, for its number is another's when it has gone.
            found = self._known[key] = (record._command, self._test(record, side), lasts)
            return found[1]
        return found[1] if found[2] else self._test(record, side)

    def __str__(self) -> str:
        return self.text if len(self.text) <= _TEXT else self.text[: _TEXT - 1] + "…"


@dataclass(frozen=True)
class Subtree:
    """What :func:`subtree` returns."""

    pattern: Pattern

    def __repr__(self) -> str:
        return f"subtree({self.pattern.text})"


PatternLike = str | re.Pattern[str] | list[Any] | tuple[Any, ...] | Subtree | Pattern


def subtree(pattern: PatternLike) -> Subtree:
    """Matches the execs that match, and everything below them in the process tree.

    What a program becomes by exec'ing again in the same process counts as below it.
    """
    return Subtree(compile_pattern(pattern))


def compile_pattern(pattern: PatternLike, start: Path = "") -> Pattern:
    """The pattern that a user wrote, ready to match. ``start`` is the folder in which it was written, from which a
    relative path is taken: by default the working directory.

    Raises ValueError for an empty or malformed pattern and TypeError for what can't be one.
    """
    if isinstance(pattern, Pattern):
        return pattern
    if isinstance(pattern, Subtree):
        return _subtree(pattern.pattern)
    if isinstance(pattern, re.Pattern):
        if not isinstance(pattern.pattern, str):
            raise TypeError("a pattern over bytes can't match: command lines are text")
        if not pattern.pattern:
            raise ValueError("an empty pattern matches everything")
        return _regex(pattern, f"re:{pattern.pattern}")
    if isinstance(pattern, (list, tuple)):
        return _argv(list(pattern), _argv_text(pattern), start)
    if isinstance(pattern, str):
        return _from_string(pattern, start)
    raise TypeError(
        f"a pattern is a str, re.Pattern, list, tuple or subtree(), not {type(pattern).__name__}: {pattern!r}"
    )


def compile_all(patterns: Iterable[PatternLike], what: str) -> list[Pattern]:
    """A list of patterns; ``what`` names the argument, for the error on a bare string."""
    if isinstance(patterns, (str, bytes)) or not isinstance(patterns, Iterable):
        raise TypeError(f"{what} takes a list of patterns, not {patterns!r}: write {what}=[{patterns!r}]")
    return [compile_pattern(pattern) for pattern in patterns]


def any_match(patterns: Iterable[Pattern], record: ExecRecord, side: Side = Side.FIND) -> Match:
    """Whether at least one matches."""
    return either(*(pattern.match(record, side) for pattern in patterns))


def ignoring(patterns: Sequence[Pattern]) -> Callable[[ExecRecord], bool] | None:
    """Whether a record certainly matches one of them; None where there are none."""
    return (lambda record: any_match(patterns, record, Side.ALLOW) is True) if patterns else None


def either(*matches: Match) -> Match:
    """Three-valued *or*."""
    if any(match is True for match in matches):
        return True
    return None if any(match is None for match in matches) else False


def _both(*matches: Match) -> Match:
    if any(match is False for match in matches):
        return False
    return None if any(match is None for match in matches) else True


def _from_string(text: str, start: Path) -> Pattern:
    if not text.strip():
        raise ValueError("an empty pattern matches nothing")
    kind, colon, rest = text.partition(":")
    if colon and kind in ("re", "argv", "subtree"):
        if not rest.strip():
            raise ValueError(f"an empty pattern matches nothing: {text!r}")
        if kind == "re":
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("error", FutureWarning)  # of [[ and the like, which may mean a set one day
                    return _regex(re.compile(rest, re.DOTALL), text)  # arguments may have several lines
            except (re.error, FutureWarning) as error:
                raise ValueError(f"not a regular expression: {rest!r} ({error})") from None
        if kind == "subtree":
            return _subtree(compile_pattern(rest, start))
        try:
            words = originals.split(rest)
        except ValueError as error:
            raise ValueError(f"not a command line: {rest!r} ({error})") from None
        if rest.lstrip()[0] in "~$":  # a quoted one means itself
            _refuse_unexpanded(words[0], rest)
        return _argv([words[0], *(ANY if word == "*" else word for word in words[1:])], text, start)
    # Slips that would match nothing, for ever. Who means such a name writes it as a list.
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'`":
        raise ValueError(
            f"{text} is in quotation marks: leave them out, or write {[text]!r} for a program of that name"
        )
    _refuse_unexpanded(text, text)
    if re.search(r"\{[^{}]*,[^{}]*\}", text):
        raise ValueError(f"{text!r} has braces, which are not expanded: write each pattern by itself")
    if colon and kind.isidentifier() and kind != "memfd":
        raise ValueError(
            f"{text!r} begins with an unknown form: there are re:, argv: and subtree:. For a program of that name write"
            f" {[text]!r}"
        )
    if "/" in text:
        _refuse_several(text, start)
        return _path(text, start)
    if "," in text:
        raise ValueError(
            f"{text!r} has a comma: write each pattern by itself, or {[text]!r} for a program of that name"
        )
    if " " in text.strip() or text != text.strip():
        raise ValueError(_several(text))
    return _name(text)


def _refuse_unexpanded(program: str, text: str) -> None:
    if program.startswith("~"):
        raise ValueError(
            f"{text!r} begins with ~, which is not expanded: write the path as it is, or"
            f" '*/{program.rpartition('/')[2]}'"
        )
    if program.startswith("$") and "/" in program:
        raise ValueError(f"{text!r} begins with a variable, which is not expanded: write the path as it is")


def _several(text: str) -> str:
    words = text.split()
    return (
        f"{text!r} is no program's name: for arguments write 'argv:{' '.join(words)}' or {words!r}; several patterns"
        " are written one by one, in ini files each on its own line"
    )


def _refuse_several(path: str, start: Path) -> None:
    """Paths may have spaces in them, but not these."""
    first = path.split()[0]
    is_of_a_file = first != path and originals.is_file(originals.join(start, first))
    if path != path.strip() or re.search(r"[,:;\s]/", path) or is_of_a_file:
        raise ValueError(_several(path))


def _name(glob: str) -> Pattern:
    regex = _glob(glob)

    def match(path: str | None) -> Match:
        return None if path is None else regex.match(base(path)) is not None

    def match_file(file: str | None) -> Match:
        return None if file is None else regex.match(name_of(file)) is not None

    def test(record: ExecRecord, side: Side) -> Match:
        by_program = None if record.program is None else regex.match(record.program) is not None
        if side is Side.ALLOW:
            return by_program
        found = [by_program, _any_name(match, *called(record))]
        if side is Side.FORBID:
            found += [_any_name(match, *interpreters(record)), match(record.path), *map(match_file, files(record))]
        return either(*found)

    return Pattern(glob, test, None if set(glob) & set("*?[") else glob)


def _path(glob: str, start: Path) -> Pattern:
    if glob.endswith("/") or originals.is_folder(originals.join(start, glob)):
        folder = glob.rstrip("/") + "/*"
        raise ValueError(f"{glob!r} is a folder: write {folder!r} for all that is in it")
    is_relative = glob[0] not in "/*?["
    regex, resolved, from_cwd = map(_glob, (glob, _resolved(glob, start), originals.normpath(glob)))
    goes_up = originals.normpath(glob).startswith("..")
    last = glob.rpartition("/")[2]

    def may_be(path: str) -> Match:
        return None if set(last) & set("*?[") or last == base(path) else False

    def match(path: str | None, record: ExecRecord) -> Match:
        if path is None or regex.match(path) or resolved.match(path):
            return None if path is None else True
        if not is_relative or not path.startswith("/"):
            return False
        if record.cwd is None:
            return may_be(path)
        below = f"{record.cwd.rstrip('/')}/"
        if path.startswith(below):
            return from_cwd.match(path[len(below) :]) is not None
        return goes_up and from_cwd.match(originals.relpath(path, record.cwd)) is not None

    def as_executed(path: str | None, record: ExecRecord) -> Match:
        if path is None or regex.match(path):
            return None if path is None else True
        whole = absolute(path, record.cwd)
        # A working directory has no links in it, but what comes behind it may have, and then .. leads elsewhere; and
        # which folder a descriptor is stands nowhere.
        leads_back = ".." in path.lstrip("./").split("/") or leads_through_descriptor(path, record.cwd)
        plain = whole and originals.normpath(whole)
        if plain is None or (leads_back and plain not in (record.executable, record.script)):
            return may_be(path)
        return either(match(plain, record), in_linked_folder(plain, record))

    def may_be_linked(plain: str, record: ExecRecord) -> bool:
        """Whether its folder may be behind a link: the kernel names none by one."""
        folder = f"{originals.dirname(plain).rstrip('/')}/"
        return not any(f"{known}/".startswith(folder) for known in (record.cwd, *files(record)) if known)

    def in_linked_folder(plain: str, record: ExecRecord) -> Match:
        """Of a link in a folder that is behind a link (/bin/sh), no file's path names the folder that it lies in."""
        if not may_be_linked(plain, record):
            return False
        folder, name = originals.dirname(plain), originals.basename(plain)
        if not match(originals.join(_behind_links(folder), name), record):
            return False
        # Links are as they are now, and here: in a chroot, say, they can be others.
        return True if originals.realpath(plain) in files(record) else None

    def match_file(file: str | None, record: ExecRecord, side: Side) -> Match:
        # A memfd is in no folder, whatever it is called.
        is_elsewhere = file is not None and not file.startswith("/") and not glob.startswith("memfd:")
        return False if is_elsewhere and side is not Side.FORBID else match(file, record)

    def test(record: ExecRecord, side: Side) -> Match:
        if side is Side.ALLOW:
            return match_file(record.executable if record.interpreter is None else record.script, record, side)
        return either(
            as_executed(record.path, record),
            _any_name(lambda path: as_executed(path, record), *interpreters(record)),
            *(match_file(file, record, side) for file in files(record)),
        )

    def by_links(record: ExecRecord) -> bool:
        certain, possible = interpreters(record)
        paths = [absolute(path, record.cwd) for path in (record.path, *certain, *possible) if path is not None]
        return any(path is not None and may_be_linked(originals.normpath(path), record) for path in paths)

    return Pattern(glob, test, by_links=by_links)


def _behind_links(folder: str) -> str:
    try:
        there = originals.stat(folder)
    except OSError:
        return folder
    return _realpath(folder, there.st_dev, there.st_ino, there.st_ctime_ns)


@functools.lru_cache(maxsize=256)
def _realpath(folder: str, *_: int) -> str:
    """A folder's, as long as the same one is there: it takes ten times as long as to look which that is."""
    return originals.realpath(folder)


def _glob(text: str) -> re.Pattern[str]:
    """It stands for a name like itself, too, if that has brackets in it; and /**/ for no folder as for any number."""
    parts = re.split(r"(?:/\*\*)+/", text, maxsplit=_STARS)
    ways = itertools.product(("/*/", "/"), repeat=len(parts) - 1)
    globs = ["".join(itertools.chain(*zip(parts, (*way, ""), strict=True))) for way in ways]
    return re.compile("|".join([re.escape(text) + r"\Z", *map(translate, globs)]))


def _resolved(glob: str, start: Path) -> str:
    """A pattern as the kernel tells of files: without links in its folders, and where it is no glob in its name."""
    if glob[0] in "*?[":
        return glob
    try:
        glob = originals.join(originals.getcwd(), start, glob)
    except FileNotFoundError:
        return glob
    if not re.search(r"[*?[]", glob) or originals.lexists(glob):
        return _literal(originals.realpath(glob))
    # Of folders, those that are there by these names, which may have brackets in them, and others without a wildcard.
    folder = originals.dirname(glob)
    while re.search(r"[*?[]", folder) and not originals.lexists(folder):
        folder = originals.dirname(folder)
    return _literal(originals.realpath(folder).rstrip("/")) + glob[len(folder.rstrip("/")) :]


def _literal(path: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", path)


def _any_name(match: Callable[[str | None], Match], certain: list[str | None], possible: list[str | None]) -> Match:
    """Whether one of an exec's names matches; of possible ones none does for certain."""
    return either(*map(match, certain), *(None if match(name) is not False else False for name in possible))


# A match of these can depend on text beyond its own end. The last two, atomic groups and possessive repetitions, take
# nothing back, so that they could take so much of a longer text that the rest does not fit.
_LOOKS_AHEAD = re.compile(r"\\[bBzZ]|\$|\(\?[=!>]|[*+?}]\+")


def _regex(regex: re.Pattern[str], text: str) -> Pattern:
    looks_ahead = _LOOKS_AHEAD.search(regex.pattern) is not None

    def search(arguments: tuple[str, ...] | None, is_cut: bool) -> Callable[[str | None], Match]:
        quoted = None if arguments is None else [originals.quote(word) for word in arguments]

        def behind(name: str | None) -> Match:
            if name is None or quoted is None:
                return None
            words = [originals.quote(name), *quoted]
            if not is_cut:
                return regex.search(" ".join(words)) is not None
            # The last argument that is there may be cut, and its quoting with it.
            known = " ".join(words[:-1]) + " " if len(words) > 1 else words[0]
            found = regex.search(known)
            return True if found and found.end() < len(known) and not looks_ahead else None

        return behind

    def test(record: ExecRecord, side: Side) -> Match:
        certain: list[str | None] = [record.path]
        possible: list[str | None] = []
        if side is not Side.ALLOW:
            for names in [called(record)] + [interpreters(record)] * (side is Side.FORBID):
                certain += names[0]
                possible += names[1]
        if side is Side.FORBID:
            certain += files(record)
            certain = _with_bases(certain)
        found = [_any_name(search(record.arguments, record.argv_truncated), certain, possible)]
        for inner, is_certain in as_interpreters(record) if side is Side.FORBID else ():
            known = _with_bases([inner.path, inner.executable])
            given = search(inner.arguments, inner.argv_truncated)
            found.append(_any_name(given, known, []) if is_certain else _any_name(given, [], known))
        return either(*found)

    return Pattern(text, test)


def _with_bases(paths: list[str | None]) -> list[str | None]:
    """Each once, and their names."""
    return list(dict.fromkeys([*paths, *(path and base(path) for path in paths)]))


def _argv_text(pattern: Iterable[object]) -> str:
    words = ("*" if word is ANY else originals.quote(word) if isinstance(word, str) else "?" for word in pattern)
    return "argv:" + " ".join(words)


def _argv(words: list[object], text: str, start: Path) -> Pattern:
    if not words:
        raise ValueError("an empty pattern matches nothing")
    for word in words[1:]:
        if not isinstance(word, str) and word is not ANY:
            raise TypeError(f"an argument in a pattern is a str or ANY, not {type(word).__name__}: {word!r}")
    first = words[0]
    if not isinstance(first, str) and first is not ANY:
        raise TypeError(f"a list pattern begins with a program's name or path, not {type(first).__name__}: {first!r}")
    program = None if first is ANY else _path(first, start) if "/" in str(first) else _name(str(first))
    if first == "":
        raise ValueError("an empty pattern matches nothing")

    def arguments_match(given: tuple[str, ...] | None, is_cut: bool) -> Match:
        if given is None:
            return None if len(words) > 1 else True
        for index, word in enumerate(words[1:]):
            if index >= len(given):
                return None if is_cut else False
            # Of the last argument, where argv was cut, only the beginning may be known.
            cut = is_cut and index == len(given) - 1
            if word is ANY or (word == given[index] and not cut):
                continue
            return None if cut and str(word).startswith(_without_half(given[index])) else False
        return True

    def test(record: ExecRecord, side: Side) -> Match:
        matching = arguments_match(record.arguments, record.argv_truncated)
        found = [False if matching is False else _both(program.match(record, side) if program else True, matching)]
        # The exec is one of its interpreters, too, with all that each is given.
        for inner, is_certain in as_interpreters(record) if side is Side.FORBID else ():
            matching = arguments_match(inner.arguments, inner.argv_truncated)
            if matching is not False:
                found.append(_both(matching, program.match(inner, side) if program else True, is_certain or None))
        return either(*found)

    return Pattern(text, test, by_links=program.by_links if program else lambda _: False)


def _without_half(word: str) -> str:
    """A word that was cut anywhere, without the bytes at its end that are half a character."""
    return word.rstrip("".join(map(chr, range(0xDC80, 0xDD00))))


def _subtree(pattern: Pattern) -> Pattern:
    def test(record: ExecRecord, side: Side) -> Match:
        seen: list[Match] = []
        todo: list[ExecRecord] = [record]
        known: set[ExecRecord] = set()
        while todo:
            current = todo.pop()
            if current in known:
                continue
            known.add(current)
            seen.append(pattern.match(current, side))
            if current._lineage_lost:
                seen.append(None)
            todo += [above for above in (current.parent, current._previous) if above is not None]
        return either(*seen)

    return Pattern(f"subtree:{pattern.text}", test, looks_up=True)

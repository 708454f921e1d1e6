"""What each kind of pattern matches: names, paths, regular expressions, command lines, trees."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable
from fnmatch import translate

from .._util import originals
from .._util.apparent import HIDDEN
from .._util.hiding import covers
from .._util.originals import Path
from .._util.paths import absolute, as_recorded, base, leads_through_descriptor, name_of, on_disk, real
from .._util.ternary import both, either
from ..source.command import Command
from ..timeline.program import as_interpreters, called, files, interpreters
from ..timeline.record import ExecRecord
from .links import links, where, whole
from .pattern import ANY, Match, Pattern, Side

# Where links decide, of names and of paths.
_NAMES, _PATHS = frozenset({Side.FORBID}), frozenset({Side.FORBID, Side.FIND})
_STARS = 4  # places of /**/ in a pattern that are tried without a folder, too


def name_pattern(glob: str) -> Pattern:
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
            found.append(_any_name(match, *links(record)))
        return either(*found)

    return Pattern(glob, test, None if set(glob) & set("*?[") else glob, by_links=_NAMES)


def path_pattern(glob: str, start: Path) -> Pattern:
    paths = _PathGlob(glob, start)
    return Pattern(glob, paths.test, start=written_in(glob, start), by_links=_PATHS)


def written_in(path: str, start: Path) -> str:
    """The folder from which a path is taken, if it is relative."""
    return "" if path[0] in "/*?[" else taken_from(start)


def taken_from(start: Path) -> str:
    """The same, of any path that was written in a folder."""
    try:
        return originals.normpath(originals.join(as_recorded(originals.getcwd()), start))
    except FileNotFoundError:
        return as_recorded(start)


class _PathGlob:
    """A glob over the paths by which a program is known: as it was executed, and of its file."""

    def __init__(self, glob: str, start: Path) -> None:
        if glob.endswith("/") or originals.is_folder(on_disk(originals.join(start, glob))):
            folder = glob.rstrip("/") + "/*"
            raise ValueError(f"{glob!r} is a folder: write {folder!r} for all that is in it")
        plain = re.sub(r"/(?:\.?/)+", "/", glob)  # no path of the kernel has more than that
        if re.search(r"[*?[].*/\.\.(?:/|\Z)", plain, re.DOTALL) and not originals.lexists(
            on_disk(originals.join(start, glob))
        ):
            raise ValueError(f"{glob!r} goes up behind a wildcard, which leads nowhere: write the path without ..")
        self._last = glob.rpartition("/")[2]
        self._is_relative = glob[0] not in "/*?["
        self._is_of_memfd = glob.startswith("memfd:")
        normal = originals.normpath(glob)
        self._goes_up = normal.startswith("..")
        self._regex, self._resolved, self._from_cwd = map(_glob, (glob, _resolved(plain, start), normal))

    def test(self, record: ExecRecord, side: Side) -> Match:
        if side is Side.ALLOW:
            return self._match_file(record._command.file, record, side)
        return either(
            self._as_executed(record.path, record),
            _any_name(lambda path: self._as_executed(path, record), *interpreters(record)),
            *(self._match_file(file, record, side) for file in files(record)),
            _any_name(lambda path: self._match(path, record), *links(record)) if side is Side.FORBID else False,
        )

    def _may_be(self, path: str) -> Match:
        return None if set(self._last) & set("*?[") or self._last == base(path) else False

    def _match(self, path: str | None, record: ExecRecord) -> Match:
        if path is None or self._regex.match(path) or self._resolved.match(path):
            return None if path is None else True
        if not self._is_relative or not path.startswith("/"):
            return False
        if record.cwd is None:
            return self._may_be(path)
        below = f"{record.cwd.rstrip('/')}/"
        if path.startswith(below):
            return self._from_cwd.match(path[len(below) :]) is not None
        return self._goes_up and self._from_cwd.match(originals.relpath(path, record.cwd)) is not None

    def _as_executed(self, path: str | None, record: ExecRecord) -> Match:
        if path is None or self._regex.match(path):
            return None if path is None else True
        whole = absolute(path, record.cwd)
        plain = whole and originals.normpath(whole)
        through = leads_through_descriptor(path, record.cwd)  # which folder that is stands nowhere
        # A working directory has no links in it, but what comes behind it may have, and then .. leads elsewhere.
        leads_back = not through and ".." in path.lstrip("./").split("/")
        if leads_back and whole is not None and real(whole) in files(record):
            return self._match(where(whole), record)
        if plain is None or ((leads_back or through) and plain not in (record.executable, record.script)):
            return self._may_be(path)
        return either(self._match(plain, record), self._in_linked_folder(plain, record))

    def _in_linked_folder(self, plain: str, record: ExecRecord) -> Match:
        """Of a link in a folder that is behind a link (/bin/sh), no file's path names the folder that it lies in."""
        if not _may_be_linked(plain, record):
            return False
        match = self._match(where(plain), record)
        # Links are as they are now, and here: in a chroot, or when a gate reads of it, they can be others. Then the
        # name, if the pattern has one, is what is left.
        if real(plain) in files(record):
            return match
        return None if match or self._last == base(plain) else False

    def _match_file(self, file: str | None, record: ExecRecord, side: Side) -> Match:
        # A memfd is in no folder, whatever it is called.
        is_elsewhere = file is not None and not file.startswith("/") and not self._is_of_memfd
        return False if is_elsewhere and side is not Side.FORBID else self._match(file, record)


def _may_be_linked(plain: str, record: ExecRecord) -> bool:
    """Whether its folder may be behind a link: the kernel names none by one."""
    folder = f"{originals.dirname(plain).rstrip('/')}/"
    return not any(f"{known}/".startswith(folder) for known in (record.cwd, *files(record)) if known)


def _glob(text: str) -> re.Pattern[str]:
    """It stands for a name like itself, too, if that has brackets in it; and /**/ for no folder as for any number."""
    parts = re.split(r"(?:/\*\*)+/", text, maxsplit=_STARS)
    ways = itertools.product(("/*/", "/"), repeat=len(parts) - 1)
    globs = ["".join(itertools.chain(*zip(parts, (*way, ""), strict=True))) for way in ways]
    return re.compile("|".join([re.escape(text) + r"\Z", *map(translate, globs)]))


def _resolved(glob: str, start: Path) -> str:
    """A pattern in the kernel's names of files: without links in its folders, and where it is no glob in its name."""
    if glob[0] in "*?[":
        return glob
    try:
        glob = originals.join(as_recorded(originals.getcwd()), start, glob)
    except FileNotFoundError:
        return glob
    if not re.search(r"[*?[]", glob) or originals.lexists(on_disk(glob)):
        return literal(real(glob))
    # Of folders, those that are there by these names, which may have brackets in them, and others without a wildcard.
    folder = originals.dirname(glob)
    while re.search(r"[*?[]", folder) and not originals.lexists(on_disk(folder)):
        folder = originals.dirname(folder)
    return literal(real(folder).rstrip("/")) + glob[len(folder.rstrip("/")) :]


def literal(text: str) -> str:
    """A glob that stands for this text alone."""
    return re.sub(r"([*?[])", r"[\1]", text)


def _any_name(match: Callable[[str | None], Match], certain: list[str | None], possible: list[str | None]) -> Match:
    """Whether one of an exec's names matches; of possible ones none does for certain."""
    return either(*map(match, certain), *(None if match(name) is not False else False for name in possible))


# A match of these can depend on text beyond its own end. The last two, atomic groups and possessive repetitions, take
# nothing back, so that they could take so much of a longer text that the rest does not fit.
_LOOKS_AHEAD = re.compile(r"\\[bBzZ]|\$|\(\?[=!>]|[*+?}]\+")


def regex_pattern(regex: re.Pattern[str], text: str) -> Pattern:
    looks_ahead = _LOOKS_AHEAD.search(regex.pattern) is not None

    def search(command: Command) -> Callable[[str | None], Match]:
        arguments, is_cut = command.arguments, command.argv_truncated
        if command.redacted and arguments is not None:
            hidden = [index for index, word in enumerate(arguments, 1) if HIDDEN in word]
            arguments, is_cut = arguments[: hidden[0]] if hidden else arguments, is_cut or bool(hidden)
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
            for names in [called(record)] + [interpreters(record), links(record)] * (side is Side.FORBID):
                certain += names[0]
                possible += names[1]
        if side is Side.FORBID:
            certain = _with_bases([*certain, *files(record), *whole(record)])
        found = [_any_name(search(record._command), certain, possible)]
        for inner, is_certain in as_interpreters(record) if side is Side.FORBID else ():
            known = _with_bases([inner.path, inner.executable, *whole(inner)])
            given = search(inner._command)
            found.append(_any_name(given, known, []) if is_certain else _any_name(given, [], known))
        return either(*found)

    return Pattern(text, test, by_links=_NAMES)


def _with_bases(paths: list[str | None]) -> list[str | None]:
    """Each once, and their names."""
    return list(dict.fromkeys([*paths, *(path and base(path) for path in paths)]))


def argv_text(pattern: Iterable[object]) -> str:
    words = ("*" if word is ANY else originals.quote(word) if isinstance(word, str) else "?" for word in pattern)
    return "argv:" + " ".join(words)


def argv_pattern(words: list[object], text: str, start: Path) -> Pattern:
    if not words:
        raise ValueError("an empty pattern matches nothing")
    for word in words[1:]:
        if not isinstance(word, str) and word is not ANY:
            raise TypeError(f"an argument in a pattern is a str or ANY, not {type(word).__name__}: {word!r}")
    first = words[0]
    if not isinstance(first, str) and first is not ANY:
        raise TypeError(f"a list pattern begins with a program's name or path, not {type(first).__name__}: {first!r}")
    program = None if first is ANY else path_pattern(first, start) if "/" in str(first) else name_pattern(str(first))
    if first == "":
        raise ValueError("an empty pattern matches nothing")

    def arguments_match(command: Command) -> Match:
        given, is_cut = command.arguments, command.argv_truncated
        if given is None:
            return None if len(words) > 1 else True
        found: Match = True
        for index, word in enumerate(words[1:]):
            if index >= len(given):
                return None if is_cut else False
            # Of the last argument, where argv was cut, only the beginning may be known.
            cut = is_cut and index == len(given) - 1
            if word is ANY or (word == given[index] and not cut):
                continue
            hidden = command.redacted and HIDDEN in given[index]
            if not (
                covers(given[index], str(word)) if hidden else cut and str(word).startswith(_without_half(given[index]))
            ):
                return False
            found = None
        return found

    def test(record: ExecRecord, side: Side) -> Match:
        matching = arguments_match(record._command)
        found = [False if matching is False else both(program.match(record, side) if program else True, matching)]
        # The exec is one of its interpreters, too, with all that each is given.
        for inner, is_certain in as_interpreters(record) if side is Side.FORBID else ():
            matching = arguments_match(inner._command)
            if matching is not False:
                found.append(both(matching, program.match(inner, side) if program else True, is_certain or None))
        return either(*found)

    return Pattern(
        text,
        test,
        start=program.start if program else "",
        by_links=program.by_links if program else frozenset(),
    )


def _without_half(word: str) -> str:
    """A word that was cut anywhere, without the bytes at its end that are half a character."""
    return word.rstrip("".join(map(chr, range(0xDC80, 0xDD00))))


def unowned_pattern() -> Pattern:
    """What no package owns: to forbid, any of the files that an exec has loaded or read."""
    from ..origin.origin import here  # few runs have this pattern

    def is_unowned(file: str | None, record: ExecRecord) -> Match:
        if file is None:
            return None
        known = record._command.owned
        owned = here().origin(file).owned if known is None else known.get(file)
        return None if owned is None else not owned

    def test(record: ExecRecord, side: Side) -> Match:
        those = files(record) if side is Side.FORBID else [record._command.file]
        return either(*(is_unowned(file, record) for file in those))

    return Pattern("unowned:", test, lasts=False)  # a test may install something


def subtree_pattern(pattern: Pattern) -> Pattern:
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
            if current._lineage.lost:
                seen.append(None)
            todo += [above for above in (current.parent, current._lineage.previous) if above is not None]
        return either(*seen)

    return Pattern(f"subtree:{pattern.text}", test, looks_up=True, start=pattern.start)

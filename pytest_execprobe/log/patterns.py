"""Patterns as users write them, compiled: which execs a check is about. And the numbers that they write beside them."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .._util import originals
from .._util.originals import Path
from .._util.paths import as_recorded, on_disk
from .matching import (
    argv_pattern,
    argv_text,
    name_pattern,
    path_pattern,
    regex_pattern,
    subtree_pattern,
    unowned_pattern,
)
from .pattern import ANY, Pattern
from .sites import site_pattern


@dataclass(frozen=True)
class Subtree:
    """What :func:`subtree` returns."""

    pattern: Pattern

    def __repr__(self) -> str:
        return f"subtree({self.pattern.text})"


_BETWEEN = {",": "a comma", ";": "a semicolon", "|": "a |", "&": "an &"}

PatternLike = str | re.Pattern[str] | list[Any] | tuple[Any, ...] | Subtree | Pattern


def subtree(pattern: PatternLike) -> Subtree:
    """Matches the execs that match, and everything below them in the process tree.

    What a program becomes by exec'ing again in the same process counts as below it.
    """
    return Subtree(compile_pattern(pattern))


def compile_pattern(pattern: PatternLike, start: Path = "", *, of_file: bool = False) -> Pattern:
    """The pattern that a user wrote, ready to match. ``start`` is the folder in which it was written, from which a
    relative path is taken: by default the working directory. The text of a file is UTF-8, and that of programs stands
    for the bytes that the locale makes of it.

    Raises ValueError for an empty or malformed pattern and TypeError for what can't be one.
    """
    if isinstance(pattern, Pattern):
        return pattern
    if isinstance(pattern, Subtree):
        return subtree_pattern(pattern.pattern)
    if isinstance(pattern, re.Pattern):
        if not isinstance(pattern.pattern, str):
            raise TypeError("a pattern over bytes can't match: command lines are text")
        if not pattern.pattern:
            raise ValueError("an empty pattern matches everything")
        return regex_pattern(pattern, f"re:{_with_flags(pattern)}")
    if isinstance(pattern, (list, tuple)):
        words = [as_recorded(word) if isinstance(word, str) else word for word in pattern]
        return argv_pattern(words, argv_text(words), as_recorded(start))
    if isinstance(pattern, str):
        return _from_string(pattern if of_file else as_recorded(pattern), as_recorded(start))
    raise TypeError(
        f"a pattern is a str, re.Pattern, list, tuple or subtree(), not {type(pattern).__name__}: {pattern!r}"
    )


def compile_all(patterns: Iterable[PatternLike], what: str) -> list[Pattern]:
    """A list of patterns; ``what`` names the argument, for the error on a bare string."""
    if isinstance(patterns, (str, bytes)) or not isinstance(patterns, Iterable):
        raise TypeError(f"{what} takes a list of patterns, not {patterns!r}: write {what}=[{patterns!r}]")
    return [compile_pattern(pattern) for pattern in patterns]


def natural(value: object, what: str, least: int = 0) -> int:
    """A whole number from ``least`` on. Raises TypeError or ValueError; ``what`` names the argument."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{what} is a whole number, not {value!r}")
    if value < least:
        raise ValueError(f"{what} can't be less than {least}: {value}")
    return value


def numbers_by_pattern(limits: Mapping[PatternLike, int]) -> dict[Pattern, int]:
    """The limits of ``per_program``. Raises TypeError or ValueError."""
    if not isinstance(limits, Mapping):
        raise TypeError(f"per_program is a mapping of patterns to numbers, not {limits!r}")
    if not limits:
        raise ValueError("per_program is empty, and limits nothing: leave it out")
    compiled = {compile_pattern(pattern): n for pattern, n in limits.items()}
    for pattern, n in compiled.items():
        natural(n, f"per_program of {pattern}")
    return compiled


def _regex(text: str) -> re.Pattern[str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", FutureWarning)  # of [[ and the like, which may mean a set one day
            return re.compile(text, re.DOTALL)  # arguments may have several lines
    except (re.error, FutureWarning) as error:
        raise ValueError(f"not a regular expression: {text!r} ({error})") from None


def _with_flags(regex: re.Pattern[str]) -> str:
    """Its text with the flags that do not stand in that, so that this means the same."""
    try:
        flags = re.compile(regex.pattern).flags ^ regex.flags
    except re.error:  # what one of them makes a comment of
        flags = regex.flags
    letters = "".join(letter for letter in "aimx" if flags & getattr(re, letter.upper()))
    known = re.match(r"\(\?([a-z]+)\)", regex.pattern)
    rest = regex.pattern[known.end() :] if known else regex.pattern
    letters += known[1] if known else ""
    if not regex.flags & re.DOTALL and "." in re.sub(r"\\.", "", rest, flags=re.DOTALL):  # as a text has that flag
        end = "\n" if regex.flags & re.VERBOSE else ""  # of a comment
        rest = f"(?-s:{rest}{end})"
    return f"(?{letters}){rest}" if letters else rest


def _from_string(text: str, start: Path) -> Pattern:
    if not text.strip():
        raise ValueError("an empty pattern matches nothing")
    if "\0" in text:
        raise ValueError(f"{text!r} has a NUL, which is in no name, path or argument")
    kind, colon, rest = text.partition(":")
    if kind == "unowned" and colon:
        if rest:
            raise ValueError(f"{text!r}: unowned: is all that no package owns, and takes nothing behind it")
        return unowned_pattern()
    if colon and kind in ("re", "argv", "subtree", "from"):
        if not rest.strip():
            raise ValueError(f"an empty pattern matches nothing: {text!r}")
        if kind == "re":
            return regex_pattern(_regex(rest), text)
        if kind == "from":
            _refuse_unexpanded(rest, text)
            return site_pattern(rest, text, start)
        if kind == "subtree":
            return subtree_pattern(_from_string(rest, start))
        try:
            words = originals.split(re.sub(r"(?<!\S)\*(?!\S)", "\0", rest))  # a quoted * means itself
        except ValueError as error:
            raise ValueError(f"not a command line: {rest!r} ({error})") from None
        if rest.lstrip().startswith(words[0]):  # a quoted one means itself
            _refuse_unexpanded(words[0], rest)
        first, *others = (word.replace("\0", "*") if word != "\0" or not at else ANY for at, word in enumerate(words))
        return argv_pattern([first, *others], text, start)
    # Slips that would match nothing, for ever. Who means such a name writes it as a list.
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'`":
        raise ValueError(
            f"{text} is in quotation marks: leave them out, or write {[text]!r} for a program of that name"
        )
    _refuse_unexpanded(text, text)
    if colon and kind.isidentifier() and kind != "memfd":
        raise ValueError(
            f"{text!r} begins with an unknown form: there are re:, argv:, subtree:, from: and unowned:. For a"
            f" program of that name write {[text]!r}"
        )
    if "/" in text:
        _refuse_several(text, start)
        return path_pattern(text, start)
    between = re.search(r"[,;|&]", text)
    if between is not None:
        raise ValueError(
            f"{text!r} has {_BETWEEN[between[0]]}: write each pattern by itself, or {[text]!r} for a program of that"
            " name"
        )
    if [text] != text.split():
        raise ValueError(_several(text))
    return name_pattern(text)


def _refuse_unexpanded(program: str, text: str) -> None:
    if program.startswith("~"):
        raise ValueError(
            f"{text!r} begins with ~, which is not expanded: write the path as it is, or"
            f" '*/{program.rpartition('/')[2]}'"
        )
    if re.search(r"\$[A-Za-z_{]", program):
        raise ValueError(
            f"{text!r} has a variable, which is not expanded: write the name or path as it is, or {[program]!r} for a"
            " program of that name"
        )
    if re.search(r"\{[^{}]*(?:,|\.\.)[^{}]*\}", program):
        raise ValueError(f"{text!r} has braces, which are not expanded: write each pattern by itself")


def _several(text: str) -> str:
    words = text.split()
    return (
        f"{text!r} is no program's name: for arguments write 'argv:{' '.join(words)}' or {words!r}; several patterns"
        " are written one by one, in ini files each on its own line"
    )


def _refuse_several(path: str, start: Path) -> None:
    """Paths may have spaces in them, but not these."""
    first = path.split()[0]
    is_of_a_file = first != path and originals.is_file(on_disk(originals.join(start, first)))
    if path != path.strip() or re.search(r"[,:;&\s]/|\|", path) or is_of_a_file:
        raise ValueError(_several(path))

"""What texts and reports show of arguments: secrets become ``•••``. Pure, but for which rules are in force."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from .apparent import HIDDEN
from .hiding import hidden_text, hidden_words, may_hold_secret, quoted


@dataclass(frozen=True, eq=False)
class Redaction:
    """The rules of a run: whether there are any, and the user's own."""

    on: bool = True
    #: Searched in the arguments, joined by one space each. What its groups match is hidden, without any all of it.
    extra: tuple[re.Pattern[str], ...] = ()

    def arguments(self, argv: tuple[str, ...], program: str | None = None, *, cut: bool = False) -> tuple[str, ...]:
        """Arguments as they are shown: the same tuple if there is nothing to hide. ``program`` is what was executed,
        ``cut`` whether of the last argument only the beginning may be there."""
        if not self.on:
            return argv
        words: Sequence[str] = argv
        if may_hold_secret(" ".join(words), program):
            words = hidden_words(words, program, cut)
        if self.extra:
            words = _by_user(words, self.extra)
        shown = tuple(words)
        return argv if shown == argv else shown

    def text(self, text: str, *, cut: bool = False) -> str:
        """A text that may have command lines in it, as it is shown."""
        if not self.on:
            return text
        if may_hold_secret(text, None):
            text = hidden_text(text, cut)
        return _by_user([text], self.extra)[0] if self.extra else text

    def join(self, argv: Iterable[str]) -> str:
        """A command line as a shell would take it, as it is shown."""
        return " ".join(map(quoted, self.arguments(tuple(argv))))


#: What is hidden where the user has set nothing.
DEFAULT = Redaction()


def compile_redaction(values: Iterable[str]) -> Redaction:
    """The rules that a user has set: regular expressions, or ``none``. Raises ValueError."""
    extra: list[re.Pattern[str]] = []
    on = True
    for value in values:
        if value == "none":
            on = False
            continue
        if not value:
            raise ValueError("an empty regular expression hides nothing")
        try:
            extra.append(re.compile(value, re.DOTALL))
        except (re.error, OverflowError) as error:
            raise ValueError(f"not a regular expression: {value!r} ({error})") from None
    if not on and extra:
        raise ValueError("none switches redaction off, so that no regular expression can stand beside it")
    return DEFAULT if on and not extra else Redaction(on, tuple(extra))


_in_force = [DEFAULT]


def in_force() -> Redaction:
    """The rules by which texts are made now."""
    return _in_force[0]


def put_in_force(redaction: Redaction) -> Redaction:
    """Returns what was in force before."""
    before, _in_force[0] = _in_force[0], redaction
    return before


# ---- the user's own ----


def _by_user(words: Sequence[str], extra: Iterable[re.Pattern[str]]) -> list[str]:
    """What the regexes match in the joined words is hidden in each of them."""
    for regex in extra:
        text = " ".join(words)
        spans = sorted(span for match in regex.finditer(text) for span in _spans(match))
        if spans:
            words = [*_without_spans(words, spans)]
    return list(words)


def _spans(match: re.Match[str]) -> Iterator[tuple[int, int]]:
    groups = range(1, match.re.groups + 1) if match.re.groups else (0,)
    return (match.span(group) for group in groups if match.start(group) < match.end(group))


def _without_spans(words: Sequence[str], spans: Sequence[tuple[int, int]]) -> Iterator[str]:
    begin, first = 0, 0
    for word in words:
        end = begin + len(word)
        while first < len(spans) and spans[first][1] <= begin:
            first += 1
        done, pieces, at = begin, [], first
        while at < len(spans) and spans[at][0] < end:
            start, stop = max(spans[at][0], done), min(spans[at][1], end)
            if start < stop:
                pieces += [word[done - begin : start - begin], HIDDEN]
                done = stop
            at += 1
        yield "".join([*pieces, word[done - begin :]])
        begin = end + 1

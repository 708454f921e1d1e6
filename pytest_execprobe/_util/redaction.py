"""What texts and reports show of arguments: secrets become ``•••``. Pure, but for which rules are in force.

All of it takes time in proportion to the text: each regex begins only where a word does, or at a delimiter, and what it
takes it does not give back.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from . import originals, secrets
from .secrets import Known

HIDDEN = "•••"

_DEPTH = 4  # command lines within command lines
#: Without one of these, in small letters, and without a known program there is nothing to hide.
_SIGNS = ("pass", "pwd", "token", "secret", "key", "auth", "cookie", "credential", "://")
_SIGNS += tuple(sign.lower() for sign in secrets.TOKENS)
_NAMES = re.compile(r"[\w.+-]+")
_KNOWN_NAMES = frozenset(secrets.PROGRAMS)

_KEYED = re.compile(r"(?<![\w.\-])(?P<name>[\w.\-]+)(?P<quote>\\?[\"'])?\s{0,9}(?P<sign>=>|=|:(?!//))(?P<space>\s{0,9})")
_QUOTED = {
    '"': re.compile(r'"(?:[^"\\]|\\.)*"?', re.DOTALL),
    "'": re.compile(r"'[^']*'?"),
    "\\": re.compile(r"""\\["'](?:[^\\]|\\(?!["']))*(?:\\["'])?"""),
}
#: Up to a separator with another name behind it.
_BARE = re.compile(r"(?:[^\s\"&;,\\]|\\.|[&;,](?!\s{0,3}[\w.\-\[\]% ]{1,60}=))+", re.DOTALL)
_LINE = re.compile(r"[^\"'\r\n]+")
_WORD = re.compile(r"[^\s,}\]\"']+")
_SCHEME = re.compile(rf"(?:{'|'.join(secrets.SCHEMES)})\s+", re.IGNORECASE)
_AUTHORITY = re.compile(r"://([^\s/?#'\"<>]*)")
_UNTIL_SPACE = re.compile(r"[^\s'\"<>@]*@")
_TOKEN = re.compile(rf"(?<![A-Za-z0-9])(?:{'|'.join(map(re.escape, secrets.TOKENS))})[\w\-]{{16,}}(?:\.[\w\-]+)*")
_LIKE_A_TOKEN = re.compile(r"(?=.*\d)[\w\-.~%]{20,}")
_OPTION = re.compile(r"--?[A-Za-z](?:[A-Za-z0-9_\-]*)?=?")
_SHORT_OR_LONG = re.compile(r"-[A-Za-z]|--[A-Za-z][\w\-]*(?:=.*)?", re.DOTALL)
#: Of a connection string, which is one argument and has more in it than its password.
_CONNECTION = re.compile(r"\s(?:host|hostaddr|port|dbname|user|sslmode|service|application_name|server|database)\s?=")
_PIECES = re.compile(
    r"(?P<space>[^\S\n]+)|(?P<sign>[;&|()<>`\n]+|\$\()|(?P<single>'[^']*'?)|(?P<double>\"(?:[^\"\\]|\\.)*\"?)"
    r"|\\(?P<escaped>.?)|(?P<plain>[^\s;&|()<>`'\"\\$]+|\$)",
    re.DOTALL,
)
_ESCAPED = re.compile(r"\\([\"\\$`])")


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
        if _may_hold_secret(" ".join(words), program):
            words = _redacted(words, program, cut, _DEPTH)
        if self.extra:
            words = _by_user(words, self.extra)
        shown = tuple(words)
        return argv if shown == argv else shown

    def text(self, text: str, *, cut: bool = False) -> str:
        """A text that may have command lines in it, as it is shown."""
        if not self.on:
            return text
        if _may_hold_secret(text, None):
            text = _redacted_text(text, cut, _DEPTH)
        return _by_user([text], self.extra)[0] if self.extra else text

    def join(self, argv: Iterable[str]) -> str:
        """A command line as a shell would take it, as it is shown."""
        return " ".join(map(quoted, self.arguments(tuple(argv))))


def compile_redaction(values: Iterable[str]) -> Redaction:
    """The rules that a user has set: regular expressions, or ``none``. Raises ValueError."""
    extra = []
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
    return Redaction(on, tuple(extra))


_in_force = [Redaction()]


def in_force() -> Redaction:
    """The rules by which texts are made now."""
    return _in_force[0]


def put_in_force(redaction: Redaction) -> Redaction:
    """Returns what was in force before."""
    before, _in_force[0] = _in_force[0], redaction
    return before


def quoted(word: str) -> str:
    """As a shell would take it; what was hidden needs no quotes."""
    return word if word and not originals.quote(word.replace("•", "")).startswith("'") else originals.quote(word)


def covers(shown: str, word: str) -> bool:
    """Whether a word can be what is shown of it, where something in it may be hidden."""
    parts = shown.split(HIDDEN)
    if len(parts) == 1:
        return shown == word
    at = len(parts[0])
    if not (word.startswith(parts[0]) and word[at:].endswith(parts[-1])):
        return False
    end = len(word) - len(parts[-1])
    for part in parts[1:-1]:
        found = word.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return at <= end


def _may_hold_secret(text: str, program: str | None) -> bool:
    low = text.lower()
    if any(sign in low for sign in _SIGNS) or program in _KNOWN_NAMES:
        return True
    return not _KNOWN_NAMES.isdisjoint(_NAMES.findall(text))


# ---- arguments ----


class _Arguments:
    """What is known while the arguments of a command are gone through."""

    def __init__(self, program: str | None) -> None:
        self.rules: list[Known] = []
        self._words: set[str] = set()
        self._asks = False
        self._positional = 0
        if program is not None:
            self.see(program)

    def see(self, word: str) -> None:
        """A word that is no option: it can be a program, or its subcommand."""
        name = originals.basename(word).removesuffix(".exe")
        self._words.add(name)
        if name in secrets.PROGRAMS:
            self.rules += (rule for rule in secrets.PROGRAMS[name] if rule not in self.rules)
        self._asks |= name in secrets.ASKING

    def active(self) -> Iterator[Known]:
        return (rule for rule in self.rules if self._words.issuperset(rule.within))

    def takes_secret(self, option: str) -> bool:
        return secrets.takes_secret(option) and not (self._asks and option == "--password")


def _redacted(words: Sequence[str], program: str | None, cut: bool, depth: int) -> list[str]:
    known = _Arguments(program)
    shown: list[str] = []
    following: str | None = None  # how the next argument holds a secret
    for at, word in enumerate(words):
        is_last = cut and at == len(words) - 1
        if following is not None:
            how, following = following, None
            if not (how == secrets.VALUE and _SHORT_OR_LONG.fullmatch(word)):
                shown.append(_hidden_in(word, how))
                continue
        found = _by_program(word, known)
        if found is not None:
            replaced, following = found
        elif word.startswith("-") and _OPTION.fullmatch(word) and "=" not in word and known.takes_secret(word):
            replaced, following = word, secrets.VALUE
        else:
            replaced = _redacted_word(word, is_last, depth)
        shown.append(replaced)
        if not word.startswith("-") and len(word) < 256:
            known.see(word)
    return shown


def _by_program(word: str, known: _Arguments) -> tuple[str, str | None] | None:
    """What a rule of a known program makes of an argument, and how the next one holds a secret; None if none does."""
    for rule in known.active():
        if rule.how == secrets.NAMED and not rule.options:
            if not word.startswith("-") and "=" not in word and secrets.is_secret(word):
                return word, secrets.ATTACHED
        elif rule.how == secrets.EACH and not rule.options:
            if "=" in word and not word.startswith("-"):
                return _hidden_in(word, secrets.EACH), None
        elif rule.how == secrets.POSITIONAL:
            if not word.startswith("-") and originals.basename(word) not in (*rule.programs, *rule.within):
                return HIDDEN, None
        else:
            found = _by_option(word, rule)
            if found is not None:
                return found
    return None


def _by_option(word: str, rule: Known) -> tuple[str, str | None] | None:
    for option in rule.options:
        if word == option:
            return None if rule.how == secrets.ATTACHED else (word, rule.how)
        if option.startswith("--"):
            if word.startswith(f"{option}="):
                return f"{option}={_hidden_in(word[len(option) + 1 :], rule.how)}", None
            continue
        if word.startswith(option) and not word.startswith("--") and rule.how != secrets.PASS:
            return option + _hidden_in(word[len(option) :], rule.how), None
        if rule.flags and word[:1] == "-" and word[1:2] != "-" and option[1:] in word[1:]:
            before, _, value = word[1:].partition(option[1:])
            if set(before) <= set(rule.flags):
                head = f"-{before}{option[1:]}"
                return (head + _hidden_in(value, rule.how), None) if value else (head, rule.how)
    return None


_AFTER = {secrets.OF_USER: ":", secrets.OF_USER_PERCENT: "%", secrets.OF_USER_COMMA: ",", secrets.EACH: "="}


def _hidden_in(value: str, how: str) -> str:
    """What is shown of a value. Without a password beside the name of the user nothing is hidden."""
    if how == secrets.PASS:
        return f"pass:{HIDDEN}" if value.startswith("pass:") else value
    sign = _AFTER.get(how)
    if sign is None:
        return HIDDEN if value else value
    if how == secrets.OF_USER and "://" in value:
        return _without_users(value, cut=False)
    before, sign, behind = value.partition(sign)
    return f"{before}{sign}{HIDDEN}" if behind else value


def _redacted_word(word: str, cut: bool, depth: int) -> str:
    """An argument by itself."""
    start = _KEYED.match(word)
    if start is not None and start["sign"] == "=" and not start["quote"] and not start["space"]:
        value = word[start.end() :]
        if value and secrets.is_secret_variable(start["name"]) and not _CONNECTION.search(value):
            return word[: start.end()] + HIDDEN
    if not _may_hold_secret(word, None):
        return word
    return _redacted_text(word, cut, depth) if " " in word or "\n" in word or "\t" in word else _by_text(word, cut)


# ---- texts ----


def _redacted_text(text: str, cut: bool, depth: int) -> str:
    """A text that may be a command line for a shell."""
    return _by_text(_as_shell(text, depth - 1) if depth > 0 else text, cut)


def _as_shell(text: str, depth: int) -> str:
    done, pieces = 0, []
    for command in _commands(text):
        shown = _redacted([value for value, _, _ in command], None, False, depth)
        for (value, start, end), new in zip(command, shown, strict=True):
            if new != value:
                pieces += [text[done:start], quoted(new)]
                done = end
    return "".join([*pieces, text[done:]])


def _commands(text: str) -> Iterator[list[tuple[str, int, int]]]:
    """The simple commands of a shell's text: their words without quotes, and where they stand."""
    command: list[tuple[str, int, int]] = []
    word: list[str] = []
    start = end = 0
    for piece in _PIECES.finditer(text):
        kind = piece.lastgroup
        if kind in ("space", "sign"):
            if word:
                command.append(("".join(word), start, end))
                word = []
            if kind == "sign" and command:
                yield command
                command = []
            continue
        if not word:
            start = piece.start()
        end = piece.end()
        raw = piece[kind or 0]
        if kind == "single":
            word.append(raw[1:].removesuffix("'"))
        elif kind == "double":
            word.append(_ESCAPED.sub(r"\1", raw[1:-1] if len(raw) > 1 and raw[-1] == '"' else raw[1:]))
        else:
            word.append(raw)
    if word:
        command.append(("".join(word), start, end))
    if command:
        yield command


def _by_text(text: str, cut: bool) -> str:
    """What can be seen without knowing whose argument it is: users in URLs, names and values, headers, tokens."""
    if "://" in text:
        text = _without_users(text, cut)
    done, pieces = 0, []
    for match in _KEYED.finditer(text):
        if match.start() < done:
            continue
        value = _value(text, match)
        if value is not None:
            start, end, shown = value
            pieces += [text[done:start], shown]
            done = end
    text = "".join([*pieces, text[done:]])
    return _TOKEN.sub(HIDDEN, text)


def _value(text: str, match: re.Match[str]) -> tuple[int, int, str] | None:
    """Where the secret stands that a name has, and what is shown for it; None if it has none."""
    name, at = match["name"], match.end()
    is_header = match["sign"] == ":" and name.lower() in secrets.HEADERS
    named = secrets.is_secret_variable(name) if match["sign"] == "=" else secrets.is_secret(name)
    if at >= len(text) or not (is_header or named or (match["sign"] == ":" and name.lower().endswith("-auth"))):
        return None
    first = text[at]
    if first in _QUOTED and (first != "\\" or text[at + 1 : at + 2] in ("'", '"')):
        found = _QUOTED[first].match(text, at)
        assert found is not None
        mark = 2 if first == "\\" else 1
        closes = len(found[0]) > mark and found[0].endswith(found[0][mark - 1])
        return at, found.end(), found[0][:mark] + HIDDEN + (found[0][:mark] if closes else "")
    if match["sign"] == ":" and (is_header or "-" in name):
        scheme = _SCHEME.match(text, at)
        at = at if scheme is None else scheme.end()
        found = _LINE.match(text, at)
    else:
        found = (_BARE if match["sign"] != ":" or match["quote"] is None else _WORD).match(text, at)
        if match["sign"] == ":" and not match["space"] and not match["quote"]:
            return None  # a target, or a name in a namespace: token:x
    return None if found is None else (at, found.end(), HIDDEN)


def _without_users(text: str, cut: bool) -> str:
    """URLs without the passwords of their users, and without users that are tokens."""
    done, pieces = 0, []
    for match in _AUTHORITY.finditer(text):
        if match.start(1) < done:
            continue
        start, end = match.span(1)
        users, at, _ = match[1].rpartition("@")
        user, colon, password = users.partition(":")
        if not at:
            user, colon, password = match[1].partition(":")
            if not colon or password.isdecimal() or not password:
                continue
            further = _UNTIL_SPACE.match(text, end)  # a password that is not escaped
            if further is not None and "@" not in match[1]:
                password, end = "?", further.end() - 1
            elif not (cut and end == len(text)):
                continue
            else:
                password, at = "?", "@"
        else:
            end = start + len(users)
        is_alone = password in ("", "x-oauth-basic")  # as GitHub takes a token: it is the user
        if is_alone and not (_LIKE_A_TOKEN.fullmatch(user) and user != HIDDEN):
            continue
        pieces += [text[done:start], f"{HIDDEN}{colon}{password}" if is_alone else f"{user}:{HIDDEN}"]
        done = end
    return "".join([*pieces, text[done:]])


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

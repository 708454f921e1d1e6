"""Finds secrets in arguments and in texts, by the rules of ``secret``. Pure.

All of it takes time in proportion to the text: each regex begins only where a word does, or at a delimiter, and what it
takes it does not give back.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from . import originals, secret
from .apparent import HIDDEN, KEYED, by_text, without_users
from .expressions import expression
from .secret import Known

DEPTH = 4  # command lines within command lines
#: Without one of these, in small letters, and without a known program there is nothing to hide.
_SIGNS = (
    *("pass", "pw", "psk", "masterauth", "token", "secret", "key", "authoriz", "auth=", "auth:", 'auth"', "auth'"),
    *("cookie", "credential", "identified", "/services/", "/webhooks/", "/bot", "://"),
    *map(str.lower, secret.TOKENS),
)
_NAMES = expression(r"[\w.+-]+")
#: Of each known program the words without which none of its rules applies. Where they are about names, signs show it.
_KNOWN = {
    name: [
        frozenset(_NAMES.findall(" ".join(word for word in rule.within if not word.endswith("."))))
        for rule in rules
        if rule.how != secret.NAMED
    ]
    for name, rules in secret.PROGRAMS.items()
}
_READERS = {name: expression(option) for name, option in secret.FROM_STDIN.items()}

_OF_LOGIN = expression(r"(?P<shown>(?:userid=)?[\w$#]{1,128}/)(?P<value>[^\s/@][^\s]*?)(?P<at>@[^@]*)?")
_OPTION = expression(r"--?[A-Za-z](?:[A-Za-z0-9_\-]*)?=?")
_SCRIPT = expression(r"-[A-Za-z]*c|--command")
_FROM_STDIN = expression(r"--(?:password|passphrase|token|secret)-stdin|--with-token")
_ONE_DASH = expression(r"-[A-Za-z]{2,}")
_SHORT_OR_LONG = expression(r"-[A-Za-z]|--[A-Za-z][\w\-]*(?:=.*)?", re.DOTALL)
#: Of a connection string, which is one argument and has more in it than its password.
_CONNECTION = expression(r"\s(?:host|hostaddr|port|dbname|user|sslmode|service|application_name|server|database)\s?=")
_PIECES = expression(
    r"(?P<space>(?:[^\S\n]|\\\n)+)|(?P<sign>[;&|()<>`\n]+|\$\()|(?P<single>'[^']*'?)|(?P<double>\"(?:[^\"\\]|\\.)*\"?)"
    r"|\\(?P<escaped>.?)|(?P<plain>[^\s;&|()<>`'\"\\$]+|\$)",
    re.DOTALL,
)
_ESCAPED = expression(r"\\([\"\\$`])")


def quoted(word: str) -> str:
    """As a shell would take it; what was hidden needs no quotes."""
    whole = originals.quote(word)
    return word if HIDDEN in word and not originals.quote(word.replace("•", "x")).startswith("'") else whole


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


def may_hold_secret(text: str, program: str | None) -> bool:
    """For a soon answer: no is certain. ``program`` is what was executed, by its name."""
    low = text.lower()
    if any(sign in low for sign in _SIGNS):
        return True
    names = {*_NAMES.findall(text), *(() if low == text else _NAMES.findall(low)), program}
    if not names.isdisjoint(_READERS):
        return True
    return any(names.issuperset(within) for name in names & _KNOWN.keys() for within in _KNOWN[name or ""])


# ---- arguments ----


class _Arguments:
    """What is known while the arguments of a command are gone through."""

    def __init__(self, program: str | None, words: Sequence[str]) -> None:
        self.rules: list[Known] = []
        self._words = {word.partition("=")[0] for word in words if word.startswith("-")}
        self._asks = self._names = False
        self.is_shell = False
        if program is not None:
            self.see(program)

    def see(self, word: str) -> None:
        """A word that is no option: it can be a program, or its subcommand."""
        name = originals.basename(word.rpartition("=")[2]).removesuffix(".exe")  # ProxyCommand=sshpass …
        self._words |= {name, name.lower(), f"{name.partition('.')[0]}."}
        if name in secret.PROGRAMS:
            self.rules += (rule for rule in secret.PROGRAMS[name] if rule not in self.rules)
        self._asks |= name in secret.ASKING
        self._names |= name in secret.NAMING
        self.is_shell |= name in secret.SHELLS

    def active(self) -> Iterator[Known]:
        return (rule for rule in self.rules if self._words.issuperset(rule.within))

    def takes_secret(self, option: str) -> bool:
        is_another = (self._asks and option == "--password") or (self._names and option == "--secret")
        return secret.takes_secret(option) and not is_another


def hidden_words(words: Sequence[str], program: str | None, cut: bool, depth: int = DEPTH) -> list[str]:
    known = _Arguments(program, words)
    shown: list[str] = []
    following: str | None = None  # how the next argument holds a secret
    for at, word in enumerate(words):
        is_last = cut and at == len(words) - 1
        if following is not None:
            how, following = following, None
            if not (how == secret.VALUE and _is_option(word, words[at - 1])):
                shown.append(_hidden_in(word, how))
                continue
        found = _by_program(word, known)
        if found is not None:
            replaced, following = found
        elif word.startswith("-") and _OPTION.fullmatch(word) and "=" not in word and known.takes_secret(word):
            replaced, following = word, secret.VALUE
        else:
            is_script = known.is_shell and at > 0 and _SCRIPT.fullmatch(words[at - 1]) is not None
            replaced = hidden_text(word, is_last, depth) if is_script else _hidden_word(word, is_last, depth)
        shown.append(replaced)
        if not word.startswith("-") and len(word) < 256:
            known.see(word)
    return shown


def _is_option(word: str, before: str) -> bool:
    """Whether it is none's value: where one has one dash and a whole name, so may the next (keytool)."""
    alike = before[:1] == "-" != before[1:2] and len(before) > 2
    return bool(_SHORT_OR_LONG.fullmatch(word) or (alike and _ONE_DASH.fullmatch(word)))


def _by_program(word: str, known: _Arguments) -> tuple[str, str | None] | None:
    """What a rule of a known program makes of an argument, and how the next one holds a secret; None if none does."""
    for rule in known.active():
        if rule.how == secret.NAMED and not rule.options:
            if not word.startswith("-") and "=" not in word and secret.is_secret_variable(word):
                return word, secret.ATTACHED
        elif not rule.options and rule.how != secret.POSITIONAL:
            shown = word if word.startswith("-") else _hidden_in(word, rule.how)
            if shown != word or (rule.how == secret.EACH and "=" in word):
                return shown, None
        elif rule.how == secret.POSITIONAL:
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
            return None if rule.how == secret.ATTACHED else (word, rule.how)
        if option.startswith("--"):
            if word.startswith(f"{option}="):
                return f"{option}={_hidden_in(word[len(option) + 1 :], rule.how)}", None
            continue
        if not rule.attached or rule.how == secret.PASS:
            continue
        if word.startswith(option) and not word.startswith("--"):
            return option + _hidden_in(word[len(option) :], rule.how), None
        if rule.flags and word[:1] == "-" and word[1:2] != "-" and option[1:] in word[1:]:
            before, _, value = word[1:].partition(option[1:])
            if set(before) <= set(rule.flags):
                head = f"-{before}{option[1:]}"
                return (head + _hidden_in(value, rule.how), None) if value else (head, rule.how)
    return None


_AFTER = {secret.OF_USER: ":", secret.OF_USER_PERCENT: "%", secret.OF_USER_COMMA: ",", secret.EACH: "="}
_AFTER[secret.GREATER] = ">"
_KEYS = expression(r"(?:hex)?(?:key|pass|secret):")


def _hidden_in(value: str, how: str) -> str:
    """What is shown of a value. Without a password beside the name of the user nothing is hidden."""
    if how == secret.PASS:
        return f"pass:{HIDDEN}" if value.startswith("pass:") else value
    if how == secret.KEY:
        key = _KEYS.match(value)
        return value if key is None else key[0] + HIDDEN
    if how == secret.OF_LOGIN:
        login = _OF_LOGIN.fullmatch(value)
        return value if login is None else f"{login['shown']}{HIDDEN}{login['at'] or ''}"
    if how in (secret.OF_USER, secret.OF_URL) and "://" in value:
        return without_users(value, cut=False)
    if how == secret.OF_URL:
        return without_users(f"://{value}", cut=False).removeprefix("://")
    sign = _AFTER.get(how)
    if sign is None:
        return HIDDEN if value else value
    before, sign, behind = value.partition(sign)
    return f"{before}{sign}{HIDDEN}" if behind else value


def _hidden_word(word: str, cut: bool, depth: int) -> str:
    """An argument by itself."""
    start = KEYED.match(word)
    if start is not None and start["sign"] == "=" and not start["quote"] and not start["space"]:
        value = word[start.end() :]
        if value and secret.is_secret_variable(start["name"]) and not _CONNECTION.search(value):
            return word[: start.end()] + HIDDEN
    if not may_hold_secret(word, None):
        return word
    return hidden_text(word, cut, depth) if " " in word or "\n" in word or "\t" in word else by_text(word, cut)


# ---- texts ----


def hidden_text(text: str, cut: bool, depth: int = DEPTH) -> str:
    """A text that may be a command line for a shell."""
    return by_text(_as_shell(text, depth - 1) if depth > 0 else text, cut)


def _as_shell(text: str, depth: int) -> str:
    done, pieces = 0, []
    commands = [*_commands(text)]
    is_given = False  # whether the word in front of which this stands is what the last one reads
    for command, behind in zip(commands, [*commands[1:], []], strict=True):
        words = [value for value, _, _ in command]
        between = text[command[-1][2] : behind[0][1]] if behind else ""
        shown = hidden_words(words, None, False, depth)
        if is_given:
            shown[0] = HIDDEN
        if (
            words[0] in ("echo", "printf", "yes")
            and "|" in between
            and "||" not in between
            and _reads_secret([word[0] for word in behind])
        ):
            shown = [words[0], *(HIDDEN if word else word for word in words[1:])]
        is_given = "<<<" in between and _reads_secret(words)
        for (value, start, end), new in zip(command, shown, strict=True):
            if new != value:
                pieces += [text[done:start], quoted(new)]
                done = end
    return "".join([*pieces, text[done:]])


def _reads_secret(words: Sequence[str]) -> bool:
    """Whether a command takes one from its standard input."""
    if any(map(_FROM_STDIN.fullmatch, words)):
        return True
    readers = {originals.basename(word) for word in words} & _READERS.keys()
    return any(not secret.FROM_STDIN[name] or any(map(_READERS[name].fullmatch, words)) for name in readers)


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

"""Shells that a test's own process has asked for (``shell=True``, ``os.system``), and how to do without."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from .._util import originals
from .._util.paths import base
from .._util.redaction import in_force
from .._util.text import printable
from ..timeline.evidence import Evidence
from ..timeline.program import described
from ..timeline.record import ExecRecord
from .checks import Verdict
from .pattern import Match, Pattern, Side, any_match

#: Shells whose language is that of sh.
LIKE_SH = {
    *("sh", "ash", "bash", "busybox", "dash", "hush", "ksh", "lksh", "mksh", "oksh", "osh", "posh", "rbash", "rksh"),
    *("rzsh", "toybox", "yash", "zsh"),
}
_UNLIKE_SH = {"csh", "elvish", "fish", "nu", "tcsh", "xonsh", "ysh"}
_SHELLS = LIKE_SH | _UNLIKE_SH
#: These are shells if their first argument, or the name by which they are called, says so.
_MANY_IN_ONE = {"busybox", "toybox"}
#: bash takes these with one dash, too.
_LONG_WITH_VALUE = {"--init-file", "--rcfile"}
_LONG_OF_BASH = _LONG_WITH_VALUE | {
    *("--debug", "--debugger", "--dump-po-strings", "--dump-strings", "--login", "--noediting", "--noprofile"),
    *("--norc", "--posix", "--pretty-print", "--protected", "--restricted", "--verbose"),
}
#: Options whose value is the next word: of zsh, fish, and nu; and of what may be bash.
_WITH_VALUE = _LONG_WITH_VALUE | {
    *("--emulate", "--init-command", "--profile", "--profile-startup", "--features"),
    *("--debug", "--debug-output", "--config", "--env-config", "--plugin-config"),
}
#: Of each shell the letters with a value, which is the rest of the word, or the next one. Others (bash, dash, ash) read
#: all letters of a word as options, and then as many words as it has ``o`` and ``O``.
_LETTERS = {
    **dict.fromkeys(("ksh", "lksh", "mksh", "oksh", "osh", "rksh", "rzsh", "yash", "zsh"), "o"),
    "fish": "CDdfop",
    "xonsh": "D",
}
#: Of some shells, besides ``-c``.
_WITH_COMMAND = {"--command", "--commands"}
#: What says which build of a shell it is: bash5, zsh-5.9, bash-static, static-sh.
_BUILD = re.compile(r"\Astatic-|[-.]static\Z|[-.]?\d+(?:\.\d+)*(?:u\+m)?\Z")
_SHOWN = 3  # shells of which it is said how to do without
_WIDTH = 240

#: Programs that shells have as builtins, too.
PROGRAMS = {"[", "echo", "false", "kill", "printf", "pwd", "test", "true"}
#: Builtins that are programs nowhere, or only in name.
BUILTINS = {
    *(".", ":", "alias", "bg", "cd", "command", "eval", "exec", "exit", "export", "fg", "getopts", "hash", "jobs"),
    *("read", "readonly", "return", "set", "shift", "source", "times", "trap", "type", "ulimit", "umask"),
    *("unset", "wait"),
}
_KEYWORDS = {
    *("!", "[[", "case", "coproc", "do", "done", "elif", "else", "esac", "fi", "for", "function", "if", "in", "select"),
    *("then", "time", "until", "while", "{", "}"),
}


# ---- which execs are that ----


def no_shell(evidence: Evidence, allowed: Sequence[Pattern] = ()) -> Verdict:
    """The test's own process has asked for no shell, but those that are ``allowed``."""
    known: dict[int, Match] = {}  # of commands: a storm has few
    shells: list[ExecRecord] = []
    is_undecided = evidence.only_direct().missing != 0
    for record in evidence.records:
        # Not what a program has become that the test has asked for (env sh -c ...).
        if not record._lineage.direct or record._lineage.previous is not None:
            continue
        asked = known.get(id(record._command), False)
        if id(record._command) not in known:
            asked = known[id(record._command)] = _Call(record).is_shell
        if asked is False or (allowed and (may := any_match(allowed, record, Side.ALLOW)) is True):
            continue
        # Of a process that was there before the probe it is not known what it ran before.
        if asked is None or record._lineage.lost or (allowed and may is None):
            is_undecided = True
        else:
            shells.append(record)
    numbers = {record: number for number, record in enumerate(evidence.records, 1)} if shells else {}
    first = _Call(shells[0]).shown if shells else ""
    return Verdict(
        holds=False if shells else None if is_undecided else True,
        headline=f"no shell must be asked for, but {_number(shells)}: {first}",
        question="whether a shell was asked for",
        marked=tuple(shells),
        hints=tuple(f"#{numbers[record]} {how_to_do_without(record)}" for record in shells[:_SHOWN]),
    )


def _number(shells: Sequence[ExecRecord]) -> str:
    return "one was" if len(shells) == 1 else f"{len(shells)} were"


class _Call:
    """What is known of an exec as a call of a shell: ``-c``, and the command behind that. A script of a shell's is no
    such call, whoever reads it."""

    def __init__(self, record: ExecRecord) -> None:
        self.record = record
        self.is_shell: Match = False
        #: None if it is not known, or there is none.
        self.command: str | None = None
        self.names = _names(record)
        arguments = record._command.arguments
        if not self.names & _SHELLS:
            if record.executable is None and record.interpreter is None:  # which may have another name
                self._read(arguments or ("-c",), record.argv_truncated)
                self.is_shell, self.command = None if self.is_shell is not False else False, None
        elif arguments is None:
            self.is_shell = None
        elif self.names & (_SHELLS - _MANY_IN_ONE):
            self._read(arguments, record.argv_truncated)
        elif arguments[:1] and arguments[0] in _SHELLS - _MANY_IN_ONE:  # busybox sh -c ...
            self._read(arguments[1:], record.argv_truncated)

    def _read(self, arguments: Sequence[str], is_cut: bool) -> None:
        """Options may stand between ``-c`` and the command, some of them with a value."""
        values, rest = 0, None
        for at, word in enumerate(arguments):
            if values:
                values -= 1
            elif word in ("-", "--"):
                rest = at + 1
                break
            elif word.partition("=")[0] in _WITH_COMMAND:
                self.is_shell = True
                if "=" in word:
                    rest, arguments = 0, [word.partition("=")[2]]
                    break
            elif word.startswith("-") and self.names & {"bash", "rbash"} and _dashed(word) in _LONG_OF_BASH:
                values = _dashed(word) in _LONG_WITH_VALUE
            elif word.startswith("--"):
                values = word in _WITH_VALUE
            elif word[:1] in ("-", "+"):
                letters, values = self._letters(word)
                # Shells like sh run the command of +c, too.
                self.is_shell = self.is_shell or ("c" in letters and (word[0] == "-" or not self.names & _UNLIKE_SH))
            else:
                rest = at
                break
        if not self.is_shell:
            self.is_shell = None if is_cut and rest is None else False
        elif rest is not None and rest < len(arguments) - is_cut:
            self.command = arguments[rest]

    def _letters(self, word: str) -> tuple[str, int]:
        """The options in a word, and how many of the next words are values of theirs."""
        valued = "".join(_LETTERS.get(name, "") for name in self.names)
        if not valued:
            return word, word.count("o") + word.count("O")
        at = next((at for at, letter in enumerate(word) if letter in valued), len(word))
        return word[:at], int(at == len(word) - 1)

    @property
    def shown(self) -> str:
        """The command, if it is known, as far as there is room."""
        text = described(self.record) if self.command is None else in_force().text(self.command)
        return text if len(text) <= _WIDTH else text[: _WIDTH - 1] + "…"


def _dashed(word: str) -> str:
    """A long option with both of its dashes."""
    return "--" + word.lstrip("-")


def _names(record: ExecRecord) -> set[str]:
    """By which it may be known that it is a shell."""
    names = {_plain(path) for path in (record.path, record.program) if path is not None}
    if record.interpreter is not None:
        return names
    if record.executable is not None:
        names |= {_plain(record.executable)} - _MANY_IN_ONE  # which are what they are called
    if record._command.argv and names & _MANY_IN_ONE:
        names.add(_plain(record._command.argv[0]))
    return names


def _plain(path: str) -> str:
    """The name of a shell, whichever build of it that is; of one program of many names its own."""
    name = base(path).lstrip("-")
    # By such a beginning they know themselves.
    return next((many for many in _MANY_IN_ONE if name.startswith(many)), None) or _BUILD.sub("", name) or name


# ---- how to do without ----


class NeedsShell(Exception):
    """What in a command does, in words."""


def how_to_do_without(record: ExecRecord) -> str:
    """What to write instead, or what in it needs a shell. Where it was asked for its row says, and a rule."""
    call = _Call(record)
    if call.command is None or not call.names & LIKE_SH:
        return printable(call.shown)
    try:
        words = words_of(call.command)
    except NeedsShell as error:
        return printable(f"it has {error}: {call.shown}")
    listed = originals.json_dumps(in_force().arguments(tuple(words), base(words[0])), ensure_ascii=False)
    if len(listed) > _WIDTH:
        listed = "[…]"
    return printable(f"without a shell: subprocess.run({listed})")


#: What ends a word, or is no part of one, unless it is quoted.
_SPECIAL = {
    "|": "a pipe",
    "&": "a job in the background (&)",
    ";": "several commands",
    "<": "a redirection",
    ">": "a redirection",
    "(": "a subshell",
    ")": "a subshell",
    "`": "the output of a command",
    "*": "a pattern of file names",
    "?": "a pattern of file names",
    "[": "a pattern of file names",
}
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*\+?=", re.ASCII)
_BRACES = re.compile(r"\{[^{}]*(?:,|\.\.)[^{}]*\}")


def words_of(command: str) -> list[str]:
    """The program and its arguments, if that is all that the command is: what a shell would make of it, without
    executing anything. Raises NeedsShell."""
    words = [*_split(command)]
    first = words[0] if words else ""
    if not words:
        raise NeedsShell("no program")
    if _ASSIGNMENT.match(first):
        raise NeedsShell(f"an assignment in front ({first.partition('=')[0]}=), which env= is for")
    if first in _KEYWORDS:
        raise NeedsShell(f"a word of the shell's language ({first})")
    if first in BUILTINS or (first in PROGRAMS and not _is_same_program(words)):
        raise NeedsShell(f"a builtin of shells ({first})")
    return words


def _is_same_program(words: Sequence[str]) -> bool:
    """Whether a builtin does what the program of that name does: echo has options of its own in each shell, and kill
    knows jobs."""
    is_plain = not any(word.startswith("-") or "\\" in word for word in words[1:])
    return words[0] in ("[", "false", "test", "true") or (words[0] == "echo" and is_plain)


def _split(command: str) -> Iterator[str]:
    at, word = 0, None
    while at < len(command):
        char = command[at]
        if char in " \t\n":
            if char == "\n" and command[at:].strip() and command[:at].strip():
                raise NeedsShell("several commands")
            if word is not None:
                yield word
            at, word = at + 1, None
            continue
        if char in "~#" and word is None:
            raise NeedsShell("a comment" if char == "#" else "a home folder (~)")
        text, at = _piece(command, at)
        word = (word or "") + text
    if word is not None:
        yield word


def _piece(command: str, at: int) -> tuple[str, int]:
    """What stands at a place, unquoted, and where it goes on."""
    char = command[at]
    if char == "'":
        end = command.find("'", at + 1)
        if end < 0:
            raise NeedsShell("a quote that is not closed")
        return command[at + 1 : end], end + 1
    if char == '"':
        return _in_double_quotes(command, at + 1)
    if char == "\\":
        if at + 1 == len(command):
            raise NeedsShell("a backslash at its end")
        return "" if command[at + 1] == "\n" else command[at + 1], at + 2
    if char == "$":
        raise NeedsShell(_variable(command, at))
    if char in "|&" and command[at + 1 : at + 2] == char:
        raise NeedsShell(char * 2)
    if char in _SPECIAL and not (char == "[" and command[at + 1 : at + 2] in (" ", "\t")):
        raise NeedsShell(_SPECIAL[char])
    if char == "{" and _BRACES.match(command, at):
        raise NeedsShell("braces")
    return char, at + 1


def _in_double_quotes(command: str, at: int) -> tuple[str, int]:
    text = ""
    while at < len(command):
        char = command[at]
        if char == '"':
            return text, at + 1
        if char == "\\" and command[at + 1 : at + 2] in ("$", "`", '"', "\\", "\n"):
            text += command[at + 1].replace("\n", "")
            at += 2
            continue
        if char in "$`":
            raise NeedsShell(_variable(command, at) if char == "$" else _SPECIAL[char])
        text += char
        at += 1
    raise NeedsShell("a quote that is not closed")


def _variable(command: str, at: int) -> str:
    if command.startswith("$(", at):
        return _SPECIAL["`"]
    name = re.compile(r"\$\{?(\w*)").match(command, at)
    return f"a variable (${name[1]})" if name and name[1] else "a $"

"""The command ``execprobe``: finds the subcommand, and says what went wrong in one line.

Each module here that is named in _COMMANDS is a subcommand: SUMMARY is a line about it, its docstring, USAGE and EPILOG
are what its --help says, ``add_arguments`` has what it takes, and ``run`` does it. Slow imports are in ``run``.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from importlib import import_module
from itertools import islice
from typing import Any, NoReturn

from .. import __version__
from .._util.redaction import compile_redaction, in_force, put_in_force
from .._util.text import printable
from .terminal import COLORS, CommandError, Terminal, prepare_streams

_COMMANDS = ("doctor", "init", "run", "top", "gate", "report", "merge", "serve")

#: The status of a command that could not do what it was asked for.
UNUSABLE = 2

_DESCRIPTION = "Which programs ran: recorded, counted, and held against a budget."
_EPILOG = """\
examples:
  execprobe doctor                      what this machine can do, and what is missing
  execprobe run -- make -j4             every program that a build executes
  execprobe report execs.json -o execs.html

'execprobe COMMAND --help' has more about each, and its exit statuses. The manual is docs/cli.md.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a subcommand and returns its exit status. Never raises, save for a defect."""
    prepare_streams()
    try:
        return _run(sys.argv[1:] if argv is None else argv)
    except KeyboardInterrupt:
        return 130  # as a shell says of a command that SIGINT has ended
    except BrokenPipeError:  # its reader has gone: `execprobe report … | head`
        return 141  # and of one that SIGPIPE has ended
    finally:
        _empty_streams()


def _run(argv: Sequence[str]) -> int:
    terminal = Terminal("never")
    before = in_force()
    try:
        arguments = _parser(argv).parse_args(argv)
        terminal = Terminal(arguments.color)
        _redact(getattr(arguments, "redact", ()))
        status = int(arguments.run(arguments, terminal))
        terminal.put("")
        return status
    except SystemExit as end:  # argparse has said all
        return end.code if isinstance(end.code, int) else UNUSABLE
    except CommandError as error:
        terminal.complain(("execprobe: ", "bad"), printable(str(error)))
        return error.status
    finally:
        put_in_force(before)


def _redact(values: Sequence[str]) -> None:
    try:
        put_in_force(compile_redaction(values))
    except ValueError as error:
        raise CommandError(f"--redact: {error}") from None


def script() -> NoReturn:
    """The entry point."""
    sys.exit(main())


def _empty_streams() -> None:
    """What can't be written is dropped: Python would try again at its end, and change the exit status."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())
            os.close(null)


def _parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    parser = _Parser(prog="execprobe", usage="execprobe COMMAND ...", description=_DESCRIPTION, epilog=_EPILOG)
    common = parser.add_argument_group("options")
    common.add_argument("--version", action="version", version=f"execprobe {__version__} (pytest-execprobe)")
    _add_common(common, default="auto")
    commands = parser.add_subparsers(title="commands", prog="execprobe", metavar="COMMAND", required=True)
    for name in _named(argv):
        module = import_module(f"{__name__}.{name}")
        command = commands.add_parser(
            name,
            help=module.SUMMARY,
            description=_flowing(module.__doc__),
            usage=getattr(module, "USAGE", None),
            epilog=getattr(module, "EPILOG", None),
        )
        module.add_arguments(command)
        # Not given here, it is what was given before the command.
        _add_common(command.add_argument_group("in every command"), default=argparse.SUPPRESS)
        command.set_defaults(run=module.run)
    return parser


def _add_common(group: argparse._ArgumentGroup, default: str) -> None:
    group.add_argument(
        "--color",
        choices=COLORS,
        default=default,
        metavar="WHEN",
        help=f"when to write in colour: {', '.join(COLORS)}; auto, the default, is on a terminal without NO_COLOR",
    )
    group.add_argument("-h", "--help", action="help", help="show this, and do nothing else")


def _named(argv: Sequence[str]) -> Iterable[str]:
    """The command that is asked for, so that no other is imported; all of them if there is none."""
    words = iter(argv)
    for word in words:
        if word == "--color":
            next(words, None)
        elif not word.startswith("-"):
            return (word,) if word in _COMMANDS else _COMMANDS
    return _COMMANDS


def _flowing(docstring: str | None) -> str:
    """Its paragraphs, each of them a line, to be wrapped at the terminal's width; without the marks of literal text.
    One with indented lines, such as a table, stays as it is."""
    paragraphs = (docstring or "").replace("``", "").strip().split("\n\n")
    return "\n\n".join(
        paragraph if "\n " in f"\n{paragraph}" else " ".join(paragraph.split()) for paragraph in paragraphs
    )


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, and looks the same in every version of Python."""

    def __init__(self, **more: object) -> None:
        super().__init__(formatter_class=_Formatter, allow_abbrev=False, add_help=False, **more)  # type: ignore[arg-type]
        self.color = False  # Python 3.14 colours it otherwise, whatever --color says

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[argparse.Namespace, list[str]]:
        return super().parse_known_args(None if args is None else self._made_plain(args), namespace)

    def _made_plain(self, words: Sequence[str]) -> list[str]:
        """An option whose value can be left out has it behind an equals sign alone: argparse would take the next word,
        which is the command that is to be run."""
        plain: list[str] = []
        rest = iter(words)
        for word in rest:
            if word in ("-", "--") or not word.startswith("-"):
                return [*plain, word, *rest]
            option = self._option_string_actions.get(word)
            plain.append(f"{word}=" if option is not None and option.nargs == "?" else word)
            if self._takes_the_next(word):
                plain += islice(rest, 1)
        return plain

    def _takes_the_next(self, word: str) -> bool:
        """Whether a word is an option, or ends a bundle of short ones, whose value is the word after it."""
        names = [word] if word.startswith("--") else [f"-{letter}" for letter in word[1:]]
        taking = [name for name in names if (option := self._option_string_actions.get(name)) and option.nargs is None]
        return taking[:1] == names[-1:]

    def _print_message(self, message: str, file: Any = None) -> None:
        # Not as argparse does it, which swallows errors.
        if file is sys.stdout:
            Terminal("never").put(message)
        else:
            Terminal("never").complain(message.rstrip("\n"))

    def error(self, message: str) -> NoReturn:
        self.exit(UNUSABLE, f"execprobe: {printable(in_force().text(message))} ('{self.prog} --help' has more)\n")


class _Formatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        width = min(shutil.get_terminal_size().columns, 100) - 2
        super().__init__(prog, max_help_position=30, width=width)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        # Examples and tables are as they are to look; a paragraph of prose is one line.
        prose = (line if line.startswith(" ") else textwrap.fill(line, width) for line in text.splitlines())
        return "".join(f"{indent}{line}\n" for line in "\n".join(prose).splitlines())

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        names = ", ".join(action.option_strings)
        if action.nargs == "?":
            return f"{names}[={action.metavar}]"
        return f"{names} {self._format_args(action, action.dest.upper())}"

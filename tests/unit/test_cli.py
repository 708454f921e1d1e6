"""The frame of the command line: what every command has in common."""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from types import ModuleType

import pytest

import pytest_execprobe.cli as cli
from pytest_execprobe import __version__
from pytest_execprobe.cli.terminal import CommandError, Terminal

pytestmark = pytest.mark.exec_budget(4)

Capture = pytest.CaptureFixture[str]

MERGE_HELP = """\
usage: execprobe merge STORED... -o PATH.json

Makes one stored report of several, such as those of the jobs that a test suite is divided among.

A run that is in more than one of them is taken once. Of a folder, every *.json below it is read.

input:
  STORED             a stored report, or a folder of them

output:
  -o, --output PATH  the report to write, whole or not at all
  --redact REGEX     hide this in command lines, too, besides what is known for a secret: what its
                     groups match, without any all of it; none hides nothing; can be given more
                     than once

in every command:
  --color WHEN       when to write in colour: auto, always, never; auto, the default, is on a
                     terminal without NO_COLOR
  -h, --help         show this, and do nothing else

examples:
  execprobe merge amd64.json arm64.json -o all.json
  execprobe merge shards/ -o all.json && execprobe gate all.json --budget execs.toml

exit status:
  0    done
  2    an input can't be read, or is not a report, or the output can't be written, which then stays as it was
"""


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")


@pytest.fixture
def merge_does(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[argparse.Namespace, Terminal], int]], None]:
    """Makes `execprobe merge` a command that does what a test gives it, and takes one argument."""

    def put(run: Callable[[argparse.Namespace, Terminal], int]) -> None:
        module = ModuleType("merge")
        module.SUMMARY = "played"  # type: ignore[attr-defined]
        module.add_arguments = lambda parser: parser.add_argument("word", nargs="?")  # type: ignore[attr-defined]
        module.run = run  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "pytest_execprobe.cli.merge", module)

    return put


# ---- help ----


def test_how_help_looks(capsys: Capture) -> None:
    assert cli.main(["merge", "--help"]) == 0
    assert capsys.readouterr() == (MERGE_HELP, "")
    assert cli.main(["run", "--help"]) == 0
    assert "\n  --wait[=SECONDS]    record until all processes that COMMAND" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "what"),
    [
        (["re:gdb"], "is the name of a program or an absolute path, and may have * ? [ ], not 're:gdb'"),
        (["gdb", "./gdb"], "is the name of a program or an absolute path, and may have * ? [ ], not './gdb'"),
        (["a" * 300, "b" * 201], "is named in 500 characters in all: * can stand for some, not 'bbb"),
    ],
)
def test_what_can_not_run_untraced(given: list[str], what: str, capsys: Capture) -> None:
    options = [word for pattern in given for word in ("--untraced", pattern)]
    assert cli.main(["run", *options, "--", "/nonexistent"]) == 2
    assert f"--untraced: what runs untraced {what}" in capsys.readouterr().err


@pytest.mark.parametrize("command", cli._COMMANDS)
def test_help_has_all_that_a_command_takes(command: str, capsys: Capture) -> None:
    assert cli.main([command, "--help"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.startswith(f"usage: execprobe {command}")
    words, parser = " ".join(out.split()), argparse.ArgumentParser()
    module = importlib.import_module(f"pytest_execprobe.cli.{command}")
    module.add_arguments(parser)
    said = [module.__doc__.replace("``", ""), getattr(module, "EPILOG", "")]
    for action in parser._actions[1:]:  # the first is argparse's own --help
        said += [", ".join(action.option_strings), "" if action.help == argparse.SUPPRESS else str(action.help)]
    assert [text for text in said if " ".join(text.split()) not in words] == []


def test_help_of_all(capsys: Capture) -> None:
    assert cli.main(["--help"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.startswith("usage: execprobe COMMAND ...\n\nWhich programs ran")
    for name in cli._COMMANDS:
        assert f"\n    {name} " in out
    assert "examples:\n  execprobe doctor " in out


def test_help_fits_a_narrow_terminal(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    cli.main(["run", "--help"])
    described = capsys.readouterr().out.partition("examples:")[0]
    assert max(map(len, described.splitlines()[1:])) <= 60


def test_version(capsys: Capture) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr() == (f"execprobe {__version__} (pytest-execprobe)\n", "")


# ---- what is wrong is said in one line ----


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ([], "the following arguments are required: COMMAND ('execprobe --help' has more)"),
        (["merge", "a.json"], "the following arguments are required: -o/--output ('execprobe merge --help' has more)"),
        (["merge", "a.json", "--out", "b.json"], None),  # no abbreviations: they would end with the next option
        (["--colour", "never", "merge"], None),
        (["merge", "a\x1b[31m", "-o", "b.json", "--odd=\x1b[31m"], None),
        (["run", "--timeout", "0", "true"], "argument --timeout: expected a number from 0.001 to 3600, not '0'"),
        (["run", "--timeout", "x", "true"], "argument --timeout: expected a number from 0.001 to 3600, not 'x'"),
        (["run", "--buffer-pages", "3", "true"], "argument --buffer-pages: expected a power of two, not '3'"),
        (["run", "--buffer-pages", "0", "true"], "argument --buffer-pages: expected a power of two, not '0'"),
        (["run", "--budget", "-1", "true"], None),
        (["run", "--budget", "few", "true"], "argument --budget: expected a whole number from 0 on, or the path"),
        (["run", "--allow", "", "true"], "argument --allow: an empty pattern matches nothing"),
        (["run", "--deny", "re:(", "true"], "argument --deny: not a regular expression: '('"),
        (["run"], "there is no command to run: execprobe run -- COMMAND [ARGUMENT]..."),
        (["run", "--"], "there is no command to run: execprobe run -- COMMAND [ARGUMENT]..."),
    ],
)
def test_a_wrong_argument(argv: list[str], said: str | None, capsys: Capture) -> None:
    assert cli.main(argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"execprobe: {said or ''}")
    assert err.count("\n") == 1
    assert err.endswith("\n")
    assert "\x1b" not in err


def test_an_unknown_command_names_those_there_are(capsys: Capture) -> None:
    assert cli.main(["rum", "run"]) == 2
    err = capsys.readouterr().err
    assert all(name in err for name in cli._COMMANDS)


def test_an_error_of_a_command(merge_does: Callable[..., None], capsys: Capture) -> None:
    def run(_: argparse.Namespace, __: Terminal) -> int:
        raise CommandError("it has\nno \x1b[31msense", 126)

    merge_does(run)
    assert cli.main(["merge"]) == 126
    assert capsys.readouterr() == ("", "execprobe: it has\\nno \\x1b[31msense\n")


def test_the_status_of_a_command(merge_does: Callable[..., None]) -> None:
    merge_does(lambda arguments, _: int(arguments.word))
    assert cli.main(["merge", "7"]) == 7


def test_an_interrupt_says_nothing(merge_does: Callable[..., None], capsys: Capture) -> None:
    def run(_: argparse.Namespace, __: Terminal) -> int:
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("it goes on")

    merge_does(run)
    assert cli.main(["merge"]) == 130
    assert capsys.readouterr() == ("", "")


# ---- --color, before and after ----


@pytest.mark.parametrize(
    ("argv", "color"),
    [
        (["merge"], "auto"),
        (["--color", "never", "merge"], "never"),
        (["--color=never", "merge"], "never"),
        (["merge", "--color", "always"], "always"),
        (["--color", "never", "merge", "--color", "always"], "always"),
    ],
)
def test_color_is_taken_in_both_places(merge_does: Callable[..., None], argv: list[str], color: str) -> None:
    seen: list[str] = []
    merge_does(lambda arguments, _: len(seen.append(arguments.color) or ""))  # type: ignore[func-returns-value]
    assert cli.main(argv) == 0
    assert seen == [color]


# ---- what is imported ----


@pytest.mark.parametrize(
    ("argv", "names"),
    [
        (["run", "top"], ("run",)),
        (["--color", "merge", "run"], ("run",)),
        (["--color=never", "gate", "--", "run"], ("gate",)),
        (["--help"], cli._COMMANDS),
        (["rum", "run"], cli._COMMANDS),
        ([], cli._COMMANDS),
    ],
)
def test_only_the_command_that_is_asked_for_is_imported(argv: list[str], names: tuple[str, ...]) -> None:
    assert tuple(cli._named(argv)) == names


@pytest.mark.parametrize("argv", [["--help"], ["run", "--help"], ["report", "--help"], ["merge", "--help"]])
def test_help_imports_nothing_that_takes_long(argv: list[str]) -> None:
    program = (
        "import sys; from pytest_execprobe.cli import main; main(sys.argv[1:]);"
        "print(*sys.modules, file=sys.stderr, sep='\\n')"
    )
    done = subprocess.run([sys.executable, "-c", program, *argv], capture_output=True, text=True, check=True)
    loaded = set(done.stderr.splitlines())
    assert "pytest_execprobe.cli.terminal" in loaded
    assert not {"rich", "jinja2", "pytest", "pytest_execprobe.source.client"} & loaded
    assert argv == ["--help"] or "pytest_execprobe.report.json" not in loaded


# ---- streams that fail ----


def outcome_of(*argv: str, **streams: object) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "pytest_execprobe.cli", *argv],
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams},  # type: ignore[call-overload]
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stderr or ""


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_is_no_success(unbuffered: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    with open("/dev/full", "w") as full:
        assert outcome_of("--help", stdout=full) == (
            2,
            "execprobe: standard output can't be written: No space left on device\n",
        )
        assert outcome_of("--nonsense", stderr=full) == (2, "")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_has_gone_is_not_mentioned(unbuffered: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    readable, writable = os.pipe()
    os.close(readable)
    try:
        assert outcome_of("--help", stdout=writable) == (141, "")
        assert outcome_of("--nonsense", stderr=writable) == (2, "")
    finally:
        os.close(writable)


def test_closed_streams() -> None:
    closed = 'exec >&- 2>&-; exec "$@"'
    for argv, status in ((["--help"], 0), (["--nonsense"], 2)):
        command = ["sh", "-c", closed, "sh", sys.executable, "-m", "pytest_execprobe.cli", *argv]
        assert subprocess.run(command, check=False).returncode == status

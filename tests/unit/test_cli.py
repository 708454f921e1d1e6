"""The frame of the command line: what every command has in common."""

from __future__ import annotations

import argparse
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

RUN_HELP = """\
usage: execprobe run [OPTION]... [--] COMMAND [ARGUMENT]...

Runs a command and records every program that it executes, itself and all that is below it, until
it ends; with --wait until all that it has left running has ended, too.

The command has the terminal, standard input and standard output to itself, as if it had been
started without this. On a terminal each exec is shown as it happens, and at the end there are
totals: on standard error.

how long:
  --wait[=SECONDS]   record until all processes that COMMAND has left running have ended, for at
                     most so many seconds

what is told:
  -q, --quiet        show no exec as it happens, only the totals
  -r, --report PATH  write a report: .json, .html, .md or .trace.json, by its ending; can be given
                     more than once
  --variant NAME     what the report's run is of a matrix

limits:
  --budget N|PATH    at most so many execs in all, COMMAND's own included; or what a budget file
                     (.toml) allows in all
  --allow PATTERN    nothing but these may run; can be given more than once
  --deny PATTERN     none of these may run; can be given more than once

probe:
  --optional         where there can be no probe, run COMMAND all the same: unrecorded, and
                     unchecked
  --helper ADDRESS   use a probe helper that is running: its socket, or @NAME
  --backend NAME     bpf, ptrace (without privilege), or auto, the default: bpf where it can be
                     had and else ptrace
  --python PATH      interpreter to run the helper, one that has the distro's BCC
  --buffer-pages N   perf buffer per CPU, in pages, a power of two (default 512)
  --timeout SECONDS  how long to wait at the end for execs under way, and for the helper (default
                     10)

in every command:
  --color WHEN       when to write in colour: auto, always, never; auto, the default, is on a
                     terminal without NO_COLOR
  -h, --help         show this, and do nothing else

examples:
  execprobe run -- make -j4
  execprobe run --report execs.html --report execs.json -- ./build.sh
  execprobe run --budget 40 --deny curl --deny 'argv:git fetch' -- ./release.sh
  execprobe run --wait=60 --report execs.json -- ./start-workers.sh

exit status:
  that of COMMAND, or 128 + N if signal N ended it; but
  1    if COMMAND succeeded, and a limit is exceeded
  2    if there can be no probe, and COMMAND was not run; or if COMMAND succeeded, and it can't be
       told whether a limit is exceeded (processes that it has left running may exceed it), or a
       report can't be written
  126  if COMMAND can't be executed
  127  if there is no COMMAND

PATTERN is the name of a program (git, 'python3*') or its path (/usr/bin/git), 'argv:git push',
're:REGEX', or 'subtree:git' for git and all that is below it. Of a budget file, [total] counts.
What is lost or not known is said, and nothing that it could exceed passes as kept. So are
processes
that still run at the end, with an exec of their own or without. --wait goes on until they have
ended,
or SECONDS are over, or SIGINT (Ctrl-C), SIGTERM, SIGHUP or SIGQUIT comes; the exit status stays
COMMAND's.
"""

REPORT_HELP = """\
usage: execprobe report STORED... [-o PATH]... [--format FORM]

Shows stored reports, or writes them in other forms.

A stored report is the JSON that pytest's --execprobe-report=PATH.json or execprobe run --report
PATH.json has written. Several are shown as one, and a run that is in more than one of them is
taken once. Of a folder, every *.json below it is read.

input:
  STORED             a stored report, or a folder of them

output:
  -o, --output PATH  write .json, .html, .md or .trace.json, by its ending, whole or not at all; -
                     is standard output; can be given more than once
  --format FORM      of standard output: text, json, html, md, trace (default text)

in every command:
  --color WHEN       when to write in colour: auto, always, never; auto, the default, is on a
                     terminal without NO_COLOR
  -h, --help         show this, and do nothing else

examples:
  execprobe report execs.json                          totals, and what ran most
  execprobe report execs.json -o execs.html -o execs.trace.json
  execprobe report shards/ --format md >> "$GITHUB_STEP_SUMMARY"

exit status:
  0    done, whatever the reports say ('execprobe gate' is what judges them)
  2    an input is no report or can't be read, or an output can't be written
"""

MERGE_HELP = """\
usage: execprobe merge STORED... -o PATH.json

Makes one stored report of several, such as those of the jobs that a test suite is divided among.

A run that is in more than one of them is taken once. Of a folder, every *.json below it is read.

input:
  STORED             a stored report, or a folder of them

output:
  -o, --output PATH  the report to write, whole or not at all

in every command:
  --color WHEN       when to write in colour: auto, always, never; auto, the default, is on a
                     terminal without NO_COLOR
  -h, --help         show this, and do nothing else

examples:
  execprobe merge amd64.json arm64.json -o all.json
  execprobe merge shards/ -o all.json && execprobe gate all.json --budget execs.toml

exit status:
  0    done
  2    an input is no report or can't be read, or the output can't be written, which then stays as it was
"""


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[argparse.Namespace, Terminal], int]], None]:
    """Makes `execprobe merge` a command that does what it is told, and takes one argument."""

    def tell(run: Callable[[argparse.Namespace, Terminal], int]) -> None:
        module = ModuleType("merge")
        module.SUMMARY = "told"  # type: ignore[attr-defined]
        module.add_arguments = lambda parser: parser.add_argument("word", nargs="?")  # type: ignore[attr-defined]
        module.run = run  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "pytest_execprobe.cli.merge", module)

    return tell


# ---- help ----


@pytest.mark.parametrize(
    ("command", "text"),
    [("run", RUN_HELP), ("report", REPORT_HELP), ("merge", MERGE_HELP)],
    ids=lambda value: value[:6],
)
def test_help_of_a_command(command: str, text: str, capsys: Capture) -> None:
    assert cli.main([command, "--help"]) == 0
    assert capsys.readouterr() == (text, "")


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
        ([], "the following arguments are required: COMMAND ('execprobe --help' tells more)"),
        (
            ["merge", "a.json"],
            "the following arguments are required: -o/--output ('execprobe merge --help' tells more)",
        ),
        (["merge", "a.json", "--out", "b.json"], None),  # no abbreviations: they would end with the next option
        (["--colour", "never", "merge"], None),
        (["merge", "a\x1b[31m", "-o", "b.json", "--odd=\x1b[31m"], None),
        (["run", "--timeout", "0", "true"], "argument --timeout: is a number of seconds up to 3600, not '0'"),
        (["run", "--timeout", "x", "true"], "argument --timeout: is a number of seconds up to 3600, not 'x'"),
        (["run", "--buffer-pages", "3", "true"], "argument --buffer-pages: is a power of two, not '3'"),
        (["run", "--buffer-pages", "0", "true"], "argument --buffer-pages: is a power of two, not '0'"),
        (["run", "--budget", "-1", "true"], None),
        (["run", "--budget", "few", "true"], "argument --budget: is a whole number from 0 on, or the path of a .toml"),
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


def test_an_error_of_a_command(told: Callable[..., None], capsys: Capture) -> None:
    def run(_: argparse.Namespace, __: Terminal) -> int:
        raise CommandError("it has\nno \x1b[31msense", 126)

    told(run)
    assert cli.main(["merge"]) == 126
    assert capsys.readouterr() == ("", "execprobe: it has\\nno \\x1b[31msense\n")


def test_the_status_of_a_command(told: Callable[..., None]) -> None:
    told(lambda arguments, _: int(arguments.word))
    assert cli.main(["merge", "7"]) == 7


def test_an_interrupt_is_no_news(told: Callable[..., None], capsys: Capture) -> None:
    def run(_: argparse.Namespace, __: Terminal) -> int:
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("it goes on")

    told(run)
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
def test_color_is_taken_in_both_places(told: Callable[..., None], argv: list[str], color: str) -> None:
    seen: list[str] = []
    told(lambda arguments, _: len(seen.append(arguments.color) or ""))  # type: ignore[func-returns-value]
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
def test_a_reader_that_has_gone_is_no_news(unbuffered: str, monkeypatch: pytest.MonkeyPatch) -> None:
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

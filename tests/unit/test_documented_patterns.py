"""The patterns that the documentation advises, against command lines as they were recorded."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from fakes import record

from pytest_execprobe import ExecRecord
from pytest_execprobe.log.pattern import Pattern, Side, any_match
from pytest_execprobe.log.patterns import compile_pattern

_DOCS = Path(__file__).parents[2] / "docs"
_RULES, _KNOWN = _DOCS / "rules.md", _DOCS / "what-runs.md"

#: What Python 3.10 to 3.13, loky 3.7.0 and joblib 1.6.0 start for themselves, without the interpreter.
OWN = [
    ("-B", "-c", "from multiprocessing.resource_tracker import main;main(11)"),
    ("-c", "from multiprocessing.resource_tracker import main;main(5)"),
    ("-B", "-Wignore", "-X", "dev", "-c", "from multiprocessing.resource_tracker import main;main(5)"),
    (
        *("-B", "-c"),
        "from multiprocessing.forkserver import main; main(11, 12, ['__main__'], **{'sys_path': ['/tmp', '/usr/lib']})",
    ),
    ("-B", "-c", "from loky.backend.resource_tracker import main; main(3, False)"),
    ("-B", "-c", "from joblib.externals.loky.backend.resource_tracker import main; main(3, False)"),
]
#: Their workers, which run what a test has them run, and what only speaks of trackers.
OTHERS = [
    (
        *("-B", "-c"),
        "from multiprocessing.spawn import spawn_main; spawn_main(tracker_fd=6, pipe_handle=13)",
        "--multiprocessing-fork",
    ),
    ("-m", "loky.backend.popen_loky_posix", "--process-name", "LokyProcess-1", "--pipe", "14"),
    ("-m", "joblib.externals.loky.backend.popen_loky_posix", "--process-name", "LokyProcess-1", "--pipe", "14"),
    ("-c", "import os; from multiprocessing.resource_tracker import main;main(5)"),
    ("tracker.py", "from multiprocessing.resource_tracker import main;main(5)"),
]


@pytest.fixture(scope="module")
def ignored() -> list[Pattern]:
    """The lines of the documented setting."""
    (block,) = re.findall(r"^execprobe_ignore =\n(.*?)^```", _RULES.read_text(), re.DOTALL | re.MULTILINE)
    return [compile_pattern(line.strip()) for line in block.splitlines()]


@pytest.mark.parametrize("argv", OWN)
def test_what_python_keeps_for_itself_is_ignored(ignored: list[Pattern], argv: tuple[str, ...]) -> None:
    for interpreter in ("/opt/venv/bin/python", "/usr/bin/python3.13", "python3"):
        name = interpreter.rpartition("/")[2]
        assert any_match(ignored, record(name, path=interpreter, argv=(interpreter, *argv))) is True


@pytest.mark.parametrize("argv", OTHERS)
def test_workers_are_not(ignored: list[Pattern], argv: tuple[str, ...]) -> None:
    assert any_match(ignored, record("python", *argv)) is False


def test_only_the_one_question_to_uname(ignored: list[Pattern]) -> None:
    assert any_match(ignored, record("uname", "-p")) is True
    assert any_match(ignored, record("uname", "-s")) is False


# ---- what libraries execute: each pattern stands with the command lines that it is for ----

_ITEM = re.compile(r"^- Pattern `(.+?)`:\s(.+?)(?=\n\n|\n- |\Z)", re.DOTALL | re.MULTILINE)
_ITEMS = _ITEM.findall(_KNOWN.read_text())


def ran(command: str, parent: ExecRecord | None = None) -> ExecRecord:
    words = shlex.split(command)
    path = words[0] if "/" in words[0] else f"/usr/bin/{words[0]}"
    return record(path.rpartition("/")[2], *words[1:], path=path, parent=parent)


def test_the_page_has_its_patterns() -> None:
    assert len(_ITEMS) == _KNOWN.read_text().count("- Pattern ") > 40
    assert [pattern for pattern, _ in _ITEMS if len([p for p, _ in _ITEMS if p == pattern]) > 1] == []


@pytest.mark.parametrize(("text", "said"), _ITEMS, ids=[text for text, _ in _ITEMS])
def test_a_pattern_is_for_the_commands_behind_it(text: str, said: str) -> None:
    (pattern,), commands = [compile_pattern(text)], re.findall(r"`(.+?)`", said)
    assert commands
    is_of_tree = "what is below it" in said
    assert is_of_tree == text.startswith("subtree:")
    for command in commands:
        top = ran(command)
        assert pattern.match(top, Side.ALLOW) is True
        assert pattern.match(ran("cut -c1", parent=top), Side.ALLOW) is is_of_tree
        # Of arguments it is these that it is for.
        bare = text.removeprefix("subtree:")
        if bare.startswith(("argv:", "re:")):
            assert pattern.match(ran(f"{shlex.split(command)[0]} --other"), Side.ALLOW) is False

"""The patterns that the documentation advises, against command lines as they were recorded."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fakes import record

from pytest_execprobe.log.pattern import Pattern, any_match
from pytest_execprobe.log.patterns import compile_pattern

_RULES = Path(__file__).parents[2] / "docs" / "rules.md"

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

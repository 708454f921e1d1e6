"""Fixtures of the release suite, and a summary of what all of its tests executed."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from pytest_execprobe import ExecProbe

_EXECUTED = pytest.StashKey[Counter[str]]()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git repository with one commit, that no setting of the user or the machine touches."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "A. Tester")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "tester@example.org")
    folder = tmp_path / "repository"
    folder.mkdir()
    (folder / "hello.txt").write_text("Hello\n")
    for command in ("git init --quiet", "git add .", "git commit --quiet --message First"):
        subprocess.run(command.split(), cwd=folder, check=True)
    return folder


@pytest.fixture
def downloads(tmp_path: Path) -> Path:
    """An empty folder for what is released."""
    folder = tmp_path / "downloads"
    folder.mkdir()
    return folder


@pytest.fixture(autouse=True)
def tally(execprobe: ExecProbe, request: pytest.FixtureRequest) -> Iterator[None]:
    """Adds what each test executed, set-up included, to the sum of the run."""
    yield
    executed = request.config.stash.setdefault(_EXECUTED, Counter())
    executed.update(execprobe.setup.counts + execprobe.call.counts)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> Generator[None, None, None]:
    yield  # pytest's own summary comes first
    executed = config.stash.get(_EXECUTED, None)
    if executed:
        terminalreporter.section("programs executed, the most executed first")
        for program, times in executed.most_common():
            terminalreporter.write_line(f"{times:5}  {program}")

"""Two runs at once on one machine, each with its own budget: neither sees the other."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from inner import Inner

SUITE = """
import pathlib, subprocess, pytest

def meet(name):
    '''Returns when both runs are here.'''
    ours, theirs = (pathlib.Path(FOLDER, f"{name}-{who}") for who in (MINE, OTHER))
    if MINE < OTHER:
        ours.write_text("here")
        theirs.read_text()
    else:
        theirs.read_text()
        ours.write_text("here")

@pytest.mark.exec_allow(MINE)
@pytest.mark.exec_budget(NUMBER)
def test_both():
    meet("begin")
    for _ in range(3):
        subprocess.run([MINE])
    meet("end")

def test_log(execprobe):
    meet("begin")
    subprocess.run([MINE])
    meet("end")
    assert execprobe.programs == [MINE]
"""


@pytest.mark.parametrize("number", [3, 2])
def test_neither_sees_the_other(inner: Inner, tmp_path: Path, number: int) -> None:
    for name in ("begin", "end"):
        for who in ("true", "uname"):
            os.mkfifo(tmp_path / f"{name}-{who}")
    folders = []
    for mine, other, budget in (("true", "uname", 3), ("uname", "true", number)):
        folder = inner.path / mine
        folder.mkdir()
        text = SUITE.replace("FOLDER", repr(str(tmp_path))).replace("MINE", repr(mine)).replace("OTHER", repr(other))
        (folder / "test_it.py").write_text(text.replace("NUMBER", str(budget)))
        folders.append(folder)
    options = ["-p", "pytest_execprobe.plugin", "-p", "no:cacheprovider", "--execprobe-session-budget=4"]

    def run(folder: Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pytest", "--rootdir=.", *options]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)

    with ThreadPoolExecutor() as pool:
        first, second = pool.map(run, folders)
    assert "2 passed" in first.stdout, first.stdout + first.stderr
    assert first.returncode == 0
    assert "recorded        4 execs in 2 tests and around them, 0 lost" in first.stdout
    assert "recorded        4 execs in 2 tests and around them, 0 lost" in second.stdout
    if number == 3:
        assert "2 passed" in second.stdout, second.stdout + second.stderr
    else:
        assert "1 failed, 1 passed" in second.stdout, second.stdout + second.stderr
        assert "exec budget exceeded: 3 execs, at most 2 allowed" in second.stdout


def test_outcomes_stay(inner: Inner) -> None:
    """A run that another run's test starts, with a rule for each."""
    inner.suite(
        test_it="""
        import subprocess, sys

        def test_passes():
            subprocess.run(["true"])

        def test_starts_another():
            options = ["-p", "no:cacheprovider", "-q"]
            result = subprocess.run([sys.executable, "-m", "pytest", *options, "other.py"])
            assert result.returncode == 1
        """,
        other="def test(): assert False",
    )
    inner.as_without("--execprobe-audit", "--execprobe-budget=1")

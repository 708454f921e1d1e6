"""--collect-only: nothing is run, so nothing is recorded, and no helper is started."""

from __future__ import annotations

from pathlib import Path

import pytest
from inner import Inner, needs

SUITE = """
import pytest

@pytest.mark.exec_budget(1)
@pytest.mark.parametrize("n", range(2))
def test(n, execprobe):
    pass
"""


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """For helpers. A file beside it tells that one was started."""
    script = tmp_path / "python"
    script.write_text(f'#!/bin/sh\n: > {tmp_path}/started\nexec /usr/bin/python3 "$@"\n')
    script.chmod(0o755)
    return script


OPTIONS = ["", "--execprobe=require", "--execprobe-audit", "--execprobe-session-budget=0", "--execprobe-deny=true"]


@pytest.mark.parametrize("option", OPTIONS)
def test_no_helper_is_started(inner: Inner, python: Path, option: str) -> None:
    inner.suite(test_it=SUITE)
    run = inner.run("--collect-only", "-q", f"--execprobe-python={python}", *filter(None, [option]))
    assert run.ret == 0
    assert run.out.splitlines()[:2] == ["test_it.py::test[0]", "test_it.py::test[1]"]
    assert not python.with_name("started").exists()


def test_and_otherwise_one_is(inner: Inner, python: Path) -> None:
    inner.suite(test_it=SUITE)
    assert inner.run(f"--execprobe-python={python}").ret == 0
    assert python.with_name("started").exists()


@needs("xdist")
def test_nor_for_workers(inner: Inner, python: Path) -> None:
    inner.suite(test_it=SUITE)
    options = ("--collect-only", "-n2", "--execprobe=require", f"--execprobe-python={python}")
    run = inner.run(*options, plugins=["xdist.plugin"])
    assert run.ret == 0
    assert not python.with_name("started").exists()


def test_wrong_markers_are_found_all_the_same(inner: Inner, python: Path) -> None:
    inner.suite(test_it=SUITE.replace("exec_budget(1)", "exec_budget('one')"))
    run = inner.run("--collect-only", f"--execprobe-python={python}")
    assert run.ret == pytest.ExitCode.INTERRUPTED
    assert "test_it.py:3: exec_budget('one')" in run.out
    assert not python.with_name("started").exists()

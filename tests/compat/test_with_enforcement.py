"""A test's own process that executes what is denied is killed: if it is a worker or a fork, its test fails alone."""

from __future__ import annotations

import pytest
from inner import Inner, needs, pytest_version

SUITE = """
import os, pathlib, subprocess, pytest

HERE = pathlib.Path(__file__).parent
FILE, SCRIPT = HERE / "precious", HERE / "cleaner"

def test_before():
    subprocess.run(["true"], check=True)

@pytest.mark.exec_deny("cleaner", enforce=True)
def test_runs_it():
    assert subprocess.run([SCRIPT]).returncode == -9

@pytest.mark.exec_deny("cleaner", enforce=True)
def test_becomes_it():
    os.execv(SCRIPT, [str(SCRIPT)])

@pytest.mark.parametrize("number", range(4))
@pytest.mark.exec_deny("cleaner", enforce=True)
def test_behind(number):
    subprocess.run(["true"], check=True)
"""
PASSED = {"test_before": ["passed"], **{f"test_behind[{number}]": ["passed"] for number in range(4)}}


@pytest.fixture
def suite(inner: Inner) -> Inner:
    inner.suite(test_it=SUITE)
    (inner.path / "precious").touch()
    script = inner.path / "cleaner"
    script.write_text('#!/bin/sh\nrm -f "$(dirname "$0")/precious"\n')
    script.chmod(0o755)
    return inner


@needs("xdist")
@pytest.mark.bpf  # one helper serves all workers
@pytest.mark.parametrize("workers", [1, 2])
def test_a_worker(suite: Inner, workers: int) -> None:
    run = suite.run(f"-n{workers}", "--execprobe-audit", plugins=["xdist.plugin"])
    lost = {"outside of tests": ["error"]}  # what that worker had not sent
    assert run.outcomes == {**PASSED, "test_runs_it": ["failed"], "test_becomes_it": ["failed"], **lost}
    assert "cleaner must not run, and was stopped before it ran" in run.text("test_runs_it")
    assert "crashed while running" in run.text("test_becomes_it")
    assert (suite.path / "precious").exists()


@needs("pytest_forked")
@pytest.mark.skipif(pytest_version() >= (9, 2), reason="pytest-forked does not work with pytest 9.2")
@pytest.mark.may_skip
@pytest.mark.both_probes
def test_a_forked_test(suite: Inner) -> None:
    run = suite.run("--forked", "--execprobe-audit", plugins=["pytest_forked"])
    assert run.outcomes == {**PASSED, "test_runs_it": ["failed"], "test_becomes_it": ["failed", "error"]}
    assert "stopped before it ran (a process that was killed)" in run.text("test_becomes_it", "error")
    assert "cleaner must not run, and was stopped before it ran" in run.text("test_runs_it")
    assert (suite.path / "precious").exists()

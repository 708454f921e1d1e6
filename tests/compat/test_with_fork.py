"""A test that forks, and of which both processes come back into pytest: the run is the first one's."""

from __future__ import annotations

import json

import pytest
from inner import Inner

pytestmark = pytest.mark.both_probes

SUITE = """
import os, subprocess

def test_a():
    subprocess.run(["true"])

def test_forks():
    if "forks" in os.environ:
        mine, theirs = os.pipe()
        if os.fork() == 0:
            os.close(theirs)
            os.read(mine, 1)  # until the other one has ended
    subprocess.run(["true"])

def test_b():
    subprocess.run(["ls", "/"])
"""


def test_the_copy_writes_neither_reports_nor_the_baseline(inner: Inner, monkeypatch: pytest.MonkeyPatch) -> None:
    inner.suite(test_it=SUITE)
    options = ("--execprobe-baseline=execs.toml", "--execprobe-update", "--execprobe-report=r.json")
    assert inner.run(*options).ret == 0
    before = (inner.path / "execs.toml").read_text()
    monkeypatch.setenv("forks", "1")
    run = inner.run(*options)
    assert run.out.count("execs.toml: no change") == 1
    assert run.out.count("a copy of the run") == 1
    assert (inner.path / "execs.toml").read_text() == before
    units = json.loads((inner.path / "r.json").read_text())["units"]
    assert {unit["name"]: len(unit["records"]) for unit in units if unit["kind"] == "test"} == {
        "test_it.py::test_a": 1,
        "test_it.py::test_forks": 1,
        "test_it.py::test_b": 1,
    }

"""Tests that change a machine as a whole, its CPUs, its clock, its memory: in a virtual machine of tests/vm/run."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "kernel"))  # their helpers are for these tests, too

from environments import open_folder
from programs import programs

from pytest_execprobe import ExecProbe
from pytest_execprobe.source.client import HelperSource
from pytest_execprobe.source.connect import HelperSettings

__all__ = ["open_folder", "programs"]

_HERE = Path(__file__).parent


def _in_a_guest() -> bool:
    """The kernel was started by virtme-ng. An environment variable could be there by mistake; this can't."""
    return "virtme_hostname=" in Path("/proc/cmdline").read_text()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if _HERE in item.path.parents and not _in_a_guest():
        pytest.skip("this test changes the whole machine, so it runs in a virtual one only: tests/vm/run")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes a CPU away comes last: no helper that was there gets anything from it any more."""
    items.sort(key=lambda item: item.path == _HERE / "test_cpus.py")


@pytest.fixture
def helper(execprobe: ExecProbe) -> HelperSettings:
    """The one that the run has: to start another takes long in an emulated machine."""
    source = execprobe._recorder.source
    assert isinstance(source, HelperSource)
    return HelperSettings(address=f"@{source.description['address']}")

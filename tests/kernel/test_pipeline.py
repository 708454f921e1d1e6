"""The worked release pipeline of the examples does what it says."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from releases import PIPELINE, Release

from pytest_execprobe.report.read import read

pytestmark = [pytest.mark.exec_budget(400), pytest.mark.usefixtures("kernel")]


@pytest.mark.exec_deny(inherit=False)  # the regression's curl is a stand-in that sends nothing
def test_a_release_within_its_budget_and_one_with_a_regression(release: Release) -> None:
    folder, first = release(False)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "within  53 execs in 6 tests of 2 runs\n" in first.stdout
    assert first.stdout.endswith("released\n")
    stored = read(folder / "last-release.json")
    assert len(stored.runs) == 2
    assert stored.complete

    _, second = release(True)
    assert second.returncode == 1, second.stdout + second.stderr
    assert "grew: curl ran once, at most 0 times" in second.stdout
    assert "new      curl 1 (test_regression.py::test_checksums_offline)" in second.stdout
    assert "\nreleased" not in second.stdout


def test_a_shard_that_is_missing_or_cut_off_passes_no_gate(release: Release, tmp_path: Path) -> None:
    shutil.copytree(release(False)[0], tmp_path, dirs_exist_ok=True)
    shard = tmp_path / "shard-1.json"
    shard.write_bytes(shard.read_bytes()[:-100])
    budget = PIPELINE.with_name("execs.toml")
    command = [sys.executable, "-m", "pytest_execprobe.cli", "gate"]
    command += [shard, tmp_path / "shard-2.json", "--budget", budget]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (2, "")
    assert f"execprobe: {shard}: expected JSON; it may be cut off" in result.stderr
    shard.unlink()
    assert subprocess.run(command, capture_output=True, check=False).returncode == 2

"""The worked release pipeline of the examples does what it says."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_execprobe.report.read import read

pytestmark = [pytest.mark.exec_budget(400), pytest.mark.usefixtures("kernel")]

_PIPELINE = Path(__file__).parents[2] / "examples" / "pipeline" / "run"


def release(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return subprocess.run(
        [_PIPELINE, folder],
        env={**inherited, "PYTHON": sys.executable, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    folder = tmp_path_factory.mktemp("released")
    return folder, release(folder)


Released = tuple[Path, "subprocess.CompletedProcess[str]"]


@pytest.mark.exec_deny(inherit=False)  # the regression's curl is a stand-in that sends nothing
def test_a_release_within_its_budget_and_one_with_a_regression(released: Released, tmp_path: Path) -> None:
    folder, first = released
    assert first.returncode == 0, first.stdout + first.stderr
    assert "within  53 execs in 6 tests of 2 runs\n" in first.stdout
    assert first.stdout.endswith("released\n")
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    stored = read(tmp_path / "last-release.json")
    assert len(stored.runs) == 2
    assert stored.complete

    second = release(tmp_path, REGRESSION="1")
    assert second.returncode == 1, second.stdout + second.stderr
    assert "grew: curl ran once, at most 0 times" in second.stdout
    assert "new      curl 1 (test_regression.py::test_checksums_offline)" in second.stdout
    assert "\nreleased" not in second.stdout


def test_a_shard_that_is_missing_or_cut_off_passes_no_gate(released: Released, tmp_path: Path) -> None:
    shutil.copytree(released[0], tmp_path, dirs_exist_ok=True)
    shard = tmp_path / "shard-1.json"
    shard.write_bytes(shard.read_bytes()[:-100])
    budget = _PIPELINE.with_name("execs.toml")
    command = [
        sys.executable,
        "-m",
        "pytest_execprobe.cli",
        "gate",
        shard,
        tmp_path / "shard-2.json",
        "--budget",
        budget,
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (2, "")
    assert f"execprobe: {shard}: expected JSON; it may be cut off" in result.stderr
    shard.unlink()
    assert subprocess.run(command, capture_output=True, check=False).returncode == 2

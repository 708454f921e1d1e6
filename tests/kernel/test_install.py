"""The plugin finds its BPF sources wherever it is installed from."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from environments import Environment, make_environment

pytestmark = pytest.mark.exec_budget(12)

_PROJECT = Path(__file__).parents[2]

SUITE = """
import subprocess

def test_uses(execprobe):
    subprocess.run(["true"])
    assert execprobe.programs == ["true"]
"""


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    environment = make_environment(tmp_path / "venv", Path(sys.executable))
    environment.add("pytest")
    return environment


def check(environment: Environment, folder: Path) -> str:
    """Runs a suite there, and returns where the BPF sources were found."""
    suite = folder / "test_suite.py"
    suite.write_text(SUITE)
    command = [environment.python, "-m", "pytest", "-q", "-p", "no:cacheprovider", suite]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert "1 passed" in result.stdout, result.stdout + result.stderr
    where = "from pytest_execprobe.source.launch import bpf_folder; print(bpf_folder())"
    return subprocess.run(
        [environment.python, "-c", where], cwd=folder, capture_output=True, text=True, check=True
    ).stdout.strip()


@pytest.mark.usefixtures("kernel")
def test_from_a_wheel(environment: Environment, wheel: Path, tmp_path: Path) -> None:
    environment.add_wheel(wheel)
    assert check(environment, tmp_path) == str(environment.packages / "pytest_execprobe" / "bpf")


@pytest.mark.usefixtures("kernel")
def test_editable(environment: Environment, wheel: Path, tmp_path: Path) -> None:
    """An editable install is the wheel's metadata and the way to the checkout."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(environment.packages, [name for name in archive.namelist() if ".dist-info/" in name])
    (environment.packages / "editable.pth").write_text(f"{_PROJECT}\n")
    assert check(environment, tmp_path) == str(_PROJECT / "bpf")


def test_what_the_wheel_holds(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (metadata,) = [archive.read(name).decode() for name in names if name.endswith(".dist-info/METADATA")]
        (entry_points,) = [archive.read(name).decode() for name in names if name.endswith("entry_points.txt")]
    sources = {path.relative_to(_PROJECT).as_posix() for path in (_PROJECT / "bpf").rglob("*.[ch]")}
    assert {f"pytest_execprobe/{name}" for name in sources} <= names
    assert {path.relative_to(_PROJECT).as_posix() for path in (_PROJECT / "pytest_execprobe").rglob("*.py")} <= names
    assert "pytest_execprobe/py.typed" in names
    assert "pytest_execprobe/helper/__main__.py" in names
    assert "Classifier: Framework :: Pytest" in metadata
    required = {line for line in metadata.splitlines() if line.startswith("Requires-Dist:") and "extra" not in line}
    assert {line.split()[1].partition(">")[0] for line in required} == {"pytest", "pluggy"}
    assert "[pytest11]\nexecprobe = pytest_execprobe.plugin" in entry_points

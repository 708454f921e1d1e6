"""Environments to run the plugin in as it is installed, made without a network from what is installed here.

What other users run or read in a test is in ``open_folder``, never in the checkout nor in pytest's temporary folders:
many a machine closes homes, and those folders, to others.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import pytest
from users import enterable_python

from pytest_execprobe.cli.doctor.machine import _open_to_others, _way_to

_PROJECT = Path(__file__).parents[2]


def users_environment(options: str = "") -> dict[str, str]:
    """Without what is the outer run's. Plugins load as they are installed, but for Hypothesis's: to import that takes
    longer than all else."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return {**kept, "PYTEST_ADDOPTS": f"-p no:hypothesispytest {options}".strip()}


@dataclass(frozen=True)
class Environment:
    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def packages(self) -> Path:
        (packages,) = self.folder.glob("lib/python*/site-packages")
        return packages

    @property
    def helper(self) -> Path:
        return self.packages / "pytest_execprobe" / "helper"

    def add(self, name: str) -> None:
        """A distribution, and all that it requires, as copies of what is installed here."""
        for distribution in _needed(name, set()):
            for file in distribution.files or ():
                if ".." not in file.parts and Path(str(file.locate())).is_file():
                    target = self.packages / file
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(str(file.locate()), target)  # what is compiled of it holds by its time

    def add_wheel(self, wheel: Path) -> None:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(self.packages)


def make_environment(folder: Path, python: Path) -> Environment:
    subprocess.run([python, "-m", "venv", "--without-pip", folder], check=True)
    return Environment(folder)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's wheel, built from a copy of what goes into it."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pytest_execprobe", "bpf"):
        shutil.copytree(_PROJECT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copyfile(_PROJECT / name, source / name)
    built = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", built, source]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stdout + made.stderr
    shutil.rmtree(source)  # nothing may be found there any more
    (file,) = built.glob("*.whl")
    return file


@pytest.fixture(scope="session")
def open_folder() -> Iterator[Path]:
    """A folder that every user can enter, and if there is a place for such a one, root alone can write to."""
    with tempfile.TemporaryDirectory(prefix="execprobe-tests-", dir=_place()) as name:
        Path(name).chmod(0o755)
        yield Path(name)


def _place() -> str:
    """A folder that root alone can write to, as a sudo rule for what is in it takes."""
    if os.geteuid() == 0:
        for folder in ("/opt", "/srv", "/var/lib", "/"):
            if os.path.isdir(folder) and not any(map(_open_to_others, _way_to(Path(folder)))):
                return folder
    return "/tmp"


@pytest.fixture(scope="session")
def installed(wheel: Path, open_folder: Path) -> Environment:
    """The plugin as it is installed, without any extra, where every user can run it."""
    environment = make_environment(open_folder / "venv", enterable_python())
    environment.add("pytest")
    environment.add_wheel(wheel)
    # Who can't write there would compile it anew, and have pytest rewrite the plugin, at each of hundreds of starts.
    for what in (["compileall", "-q", environment.packages / "pytest_execprobe"], ["pytest", "--help"]):
        command, env = [environment.python, "-m", *what], {"PATH": os.environ["PATH"]}
        subprocess.run(command, cwd=open_folder, env=env, stdout=subprocess.DEVNULL, check=True)
    return environment


def _needed(name: str, seen: set[str]) -> Iterator[metadata.Distribution]:
    if name in seen:
        return
    seen.add(name)
    try:
        distribution = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return  # for another platform or an older Python
    yield distribution
    for requirement in distribution.requires or ():
        if "extra ==" not in requirement:
            yield from _needed(re.split(r"[^\w.-]", requirement)[0], seen)

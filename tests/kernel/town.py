"""Where two ordinary users live who do not trust each other."""

from __future__ import annotations

import contextlib
import pwd
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from environments import make_environment
from users import as_user, enterable_python, ordinary_user

SUITE = """
import subprocess

def test_runs(execprobe):
    for _ in range(3):
        subprocess.run(["sh", "-c", "true; /bin/true"])
    assert execprobe.counts == {"sh": 3, "true": 3}

def test_runs_nothing(execprobe):
    execprobe.assert_nothing_ran()
"""


@dataclass(frozen=True)
class Town:
    """A folder and a Python with the plugin that every user can enter, and two of them."""

    folder: Path
    python: Path
    a: str
    b: str

    def pytest(self, user: str, *options: str) -> list[str]:
        suite = str(self.folder / "test_suite.py")
        return [*as_user(user), str(self.python), "-m", "pytest", "-rA", "-p", "no:cacheprovider", *options, suite]


@pytest.fixture(scope="module")
def town(wheel: Path) -> Iterator[Town]:
    python = enterable_python()
    with (
        tempfile.TemporaryDirectory(prefix="execprobe-service-", dir="/tmp") as name,
        ordinary_user("execprobe-a") as a,
        ordinary_user("execprobe-b") as b,
    ):
        folder = Path(name)
        folder.chmod(0o755)
        environment = make_environment(folder / "venv", python)
        environment.add("pytest")
        environment.add_wheel(wheel)
        (folder / "test_suite.py").write_text(SUITE)
        yield Town(folder, environment.python, a, b)


@pytest.fixture
def folder(town: Town) -> Iterator[Path]:
    """Of a socket."""
    made = Path(tempfile.mkdtemp(dir=town.folder))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


def clean(seen: str, *expected: str) -> bool:
    """Whether these execs were seen, no others, and none was lost."""
    return seen.split() == [*expected, "0"]


@contextlib.contextmanager
def sudoer(user: str) -> Iterator[int]:
    """A user whom sudo lets start whatever he likes, without a password. His number."""
    if shutil.which("sudo") is None:
        pytest.skip("execprobe: there is no sudo")
    rule = Path(f"/etc/sudoers.d/{user}")
    rule.touch(mode=0o440)
    try:
        rule.write_text(f"{user} ALL=(root) NOPASSWD: ALL\n")
        yield pwd.getpwnam(user).pw_uid
    finally:
        rule.unlink()

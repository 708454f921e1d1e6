"""Where two ordinary users live who do not trust each other."""

from __future__ import annotations

import contextlib
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from environments import Environment
from users import as_user, ordinary_user

SUITE = """
import subprocess

def test_runs(execprobe):
    for _ in range(3):
        subprocess.run(["sh", "-c", "true; /bin/true"])
    assert execprobe.counts == {"sh": 3, "true": 3}

def test_runs_nothing(execprobe):
    execprobe.assert_nothing_ran()
"""


#: Has a child before it begins to record, which may become another user by a setuid program.
BEGINS_A_CHILD = """
import os, sys
program, uid = sys.argv[2], int(sys.argv[3])
read, written = os.pipe()
os.set_inheritable(written, True)
code = f"import os, signal; os.setreuid({uid}, {uid}); os.write({written}, str(os.getuid()).encode()); signal.pause()"
os.posix_spawn(program, [program, "-I", "-c", code], {})
os.close(written)
assert int(os.read(read, 10)) == uid
"""


@dataclass(frozen=True)
class Town:
    """A folder and a Python with the plugin that every user can enter, and two users."""

    folder: Path
    python: Path
    a: str
    b: str

    @property
    def suite(self) -> Path:
        return self.folder / "test_suite.py"

    def pytest(self, user: str, suite: Path, *options: str, **more: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*as_user(user), self.python, "-m", "pytest", "-rA", "-p", "no:cacheprovider", *options, suite],
            **{"cwd": self.folder, "env": {"PATH": "/usr/bin:/bin"}, "stdout": subprocess.PIPE, "text": True, **more},
        )

    def run(self, user: str, *options: str) -> tuple[int, str]:
        """The exit status of a run of the suite, and all that it says."""
        process = self.pytest(user, self.suite, *options, stderr=subprocess.STDOUT)
        output, _ = process.communicate(timeout=120)
        return process.returncode, output


@pytest.fixture(scope="module")
def town(installed: Environment, open_folder: Path) -> Iterator[Town]:
    folder = Path(tempfile.mkdtemp(dir=open_folder))
    folder.chmod(0o755)
    with ordinary_user("a") as a, ordinary_user("b") as b:
        made = Town(folder, installed.python, a, b)
        made.suite.write_text(SUITE)
        yield made


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


def honest(seen: str, *expected: str) -> bool:
    """Whether no others were seen, and what is missing is said to be."""
    *names, lost = seen.split()
    return names == [name for name in expected if name in names] and (len(names) == len(expected) or int(lost) > 0)


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

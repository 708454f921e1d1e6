"""The tests of the kernel once more, under the probe without privilege: by an ordinary user who has no capability,
can't get any, and can't use sudo."""

from __future__ import annotations

import functools
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from environments import Environment
from inner import Ran, read_files
from users import without_privilege

_PROJECT = Path(__file__).parents[2]
#: All that is not about BPF itself; what is in them is marked.
FILES = {
    "test_truth.py": 20,
    "test_synchronisation.py": 8,
    "test_whose_exec.py": 13,
    "test_ends.py": 18,
    "test_asked_shells.py": 10,
    "test_trees.py": 6,
    "test_every_name.py": 50,
    "test_what_shells_do.py": 10,
    "test_tracing.py": 15,
    "test_between_looks.py": 5,
    "test_untraced.py": 18,
    "test_attempts_by_filter.py": 9,
    "test_faults.py": 30,
    "test_faults_of_tests.py": 13,
    "test_quiet.py": 6,
    "test_enforcement.py": 15,
}
#: What is marked ``own_helper``.
OWN = {
    "test_tracing.py",
    "test_between_looks.py",
    "test_untraced.py",
    "test_attempts_by_filter.py",
    "test_faults.py",
    "test_faults_of_tests.py",
    "test_quiet.py",
    "test_enforcement.py",
}

pytestmark = [
    pytest.mark.exec_budget(20_000),  # what is in them is judged there
    pytest.mark.exec_deny(inherit=False),
    pytest.mark.bpf,  # where there is none, they are run without it in any case
]


@pytest.fixture(scope="module")
def nobody() -> Iterator[list[str]]:
    with without_privilege("traced") as command:
        yield command


@pytest.fixture(scope="module")
def tests(open_folder: Path) -> Path:
    """Where any user can read them."""
    folder = open_folder / "suite"
    shutil.copytree(_PROJECT / "tests", folder / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(_PROJECT / "pyproject.toml", folder / "pyproject.toml")
    return folder


@pytest.fixture(scope="module")
def results(nobody: list[str], tests: Path, installed: Environment) -> Callable[[bool], tuple[str, dict[str, Ran]]]:
    """Of all files that have a helper of their own, or of the others: of one run each, which compiles programs once.
    What it has said, and by file what came of it."""

    @functools.cache
    def results(own: bool) -> tuple[str, dict[str, Ran]]:
        signal.setitimer(signal.ITIMER_REAL, 1200, 10)  # for all of them; each has a limit of its own
        with tempfile.TemporaryDirectory(prefix="execprobe-traced-") as theirs:
            # They can write there, and it is below no configuration of the project's.
            Path(theirs).chmod(0o777)
            probe = ["--execprobe=off"] if own else ["--execprobe-backend=ptrace", "--execprobe=require"]
            command = [
                *(*nobody, installed.python, "-B", "-m", "pytest", "-p", "no:cacheprovider", "-m", "not bpf", "-q"),
                *(f"--basetemp={theirs}/base", f"--junit-xml={theirs}/made.xml", "--limit=120", *probe),
                *(f"tests/kernel/{file}" for file in FILES if (file in OWN) == own),
            ]
            environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/nonexistent", "TMPDIR": theirs}
            made = subprocess.run(command, cwd=tests, env=environment, capture_output=True, text=True, check=False)
            said, xml = made.stdout[-8000:] + made.stderr[-2000:], Path(theirs, "made.xml")
            return said, read_files(xml) if made.returncode in (0, 1) else {}

    return results


@pytest.mark.parametrize("file", FILES)
def test_it_holds_without_privilege(file: str, results: Callable[[bool], tuple[str, dict[str, Ran]]]) -> None:
    said, found = results(file in OWN)
    ran = found.get(file.removeprefix("test_").removesuffix(".py"))
    assert ran is not None, said
    assert ran.failed == [], "\n".join(ran.failed)
    assert ran.passed >= FILES[file], said

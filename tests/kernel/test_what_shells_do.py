"""What hints and the reference say of shells, on the shells that are there."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from recording import recording

from pytest_execprobe.source.connect import HelperSettings

pytestmark = [pytest.mark.usefixtures("kernel"), pytest.mark.exec_budget(4)]

BUILTINS = ("true", "false", "echo", "test", "printf", "[", "kill", "pwd")
SHELLS = [shell for shell in ("dash", "bash") if shutil.which(shell)]


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """A program to nobody but a shell."""
    path = tmp_path / "text"
    path.write_text("exit 0\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("name", BUILTINS)
def test_a_builtin_is_no_exec_and_the_way_out_makes_it_one(shell: str, name: str) -> None:
    pattern = [name]
    arguments = {"[": "1 ]", "test": "1", "kill": "-l", "printf": "x"}.get(name, "")
    with recording() as made:
        with made.execprobe.watch() as log:
            subprocess.run([shell, "-c", f"{name} {arguments}; :"], stdout=subprocess.DEVNULL, check=False)
        with pytest.raises(AssertionError, match=r"hint  a shell runs .* itself, as a builtin"):
            log.assert_ran(pattern)
        with made.execprobe.watch() as log:
            subprocess.run([shell, "-c", f"env {name} {arguments}; :"], stdout=subprocess.DEVNULL, check=False)
        log.assert_ran(pattern)


@pytest.mark.bpf
@pytest.mark.parametrize(
    ("command", "ran"),
    [
        (["bash", "-c", "{}; :"], False),
        (["dash", "-c", "{}; :"], True),
        (["env", "{}"], True),
        (["xargs", "{}"], True),
        (["find", "{}", "-exec", "{}", ";"], True),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_who_executes_a_shell_for_a_text_without_an_interpreter(command: list[str], ran: bool, text: Path) -> None:
    if not shutil.which(command[0]):
        pytest.skip(f"there is no {command[0]}")
    with recording(HelperSettings(attempts="tracepoint")) as made:
        with made.execprobe.watch() as log:
            subprocess.run([part.format(text) for part in command], stdin=subprocess.DEVNULL, check=True)
        assert [(record.path, record.error) for record in log.attempts if record.error != "ENOENT"] == [
            (str(text), "ENOEXEC")
        ]
        assert [record.path for record in log.records[1:]] == (["/bin/sh"] if ran else [])
        with pytest.raises(AssertionError, match=r"hint  .*/text was tried and is no program \(ENOEXEC\)"):
            log.assert_ran("text")

"""What ``execprobe init`` proposes holds: the suite that it ran passes with it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from environments import users_environment

pytestmark = [pytest.mark.usefixtures("kernel"), pytest.mark.exec_budget(400)]

SUITE = """
import os, platform, subprocess, sys
import pytest

@pytest.fixture
def repository(tmp_path):
    subprocess.run(["uname"], check=True)  # in the set-up: no rule for the call has it

def test_descendants(repository):
    subprocess.run(["sh", "-c", "ls / | sort > /dev/null; env true --token=hunter2"], check=True)

def test_python():
    subprocess.run([sys.executable, "-c", "import platform; platform.processor()"], check=True)

def test_leaves_behind():
    global write, done
    read, write = os.pipe()
    done, end = os.pipe()
    command = "exec 3<&0; (read x; wc /dev/null) <&3 > /dev/null & exit 0"
    subprocess.run(["sh", "-c", command], stdin=read, pass_fds=[end], check=True)
    os.close(read)
    os.close(end)

def test_next():
    os.write(write, b"\\n")
    os.read(done, 1)  # until what was left behind has ended

def test_script(tmp_path):
    script = tmp_path / "my tool"
    script.write_text("#!/bin/sh\\nexec date > /dev/null\\n")
    script.chmod(0o755)
    subprocess.run([script], check=True)
"""
FAILS = "def test_fails():\n    subprocess.run(['cat', '/dev/null'], check=True)\n    assert 0\n"
MORE = "def test_more():\n    subprocess.run(['cksum', '/dev/null'], check=True)\n"
CONFIGURED = {
    "pytest.ini": "[pytest]\naddopts = -p no:cacheprovider\n",
    "setup.cfg": "[metadata]\nname = a\n\n[tool:pytest]\naddopts = -p no:cacheprovider\n\n[other]\n",
    "pyproject.toml": "[project]\n\n[tool.pytest.ini_options]\naddopts = '-p no:cacheprovider'\n\n[tool.a]\n",
}


def execute(*command: str, backend: str = "auto") -> subprocess.CompletedProcess[str]:
    """In an environment of its own, with the plugin as it is installed."""
    environ = users_environment(f"--execprobe-backend={backend}")
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False)


def init(*arguments: str, backend: str = "auto") -> subprocess.CompletedProcess[str]:
    return execute(sys.executable, "-m", "pytest_execprobe.cli", "init", *arguments, backend=backend)


def run_again(*arguments: str, backend: str = "auto") -> subprocess.CompletedProcess[str]:
    return execute(sys.executable, "-m", "pytest", *arguments, backend=backend)


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "test_it.py").write_text(SUITE)
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize(
    ("file", "backend"),
    [
        pytest.param("pytest.ini", "bpf", marks=pytest.mark.bpf),
        ("setup.cfg", "ptrace"),
        ("pyproject.toml", "auto"),
    ],
)
def test_what_is_proposed_holds(file: str, backend: str, project: Path) -> None:
    (project / file).write_text(CONFIGURED[file])
    done = init("--write", backend=backend)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    assert f"\nFor {file}, under [" in done.stdout
    written = (project / file).read_text()
    assert sorted(CONFIGURED[file].split("\n")) == sorted(
        line for line in written.split("\n") if line in CONFIGURED[file].split("\n")
    )
    assert "hunter2" not in written
    assert "uname -p` is what platform.processor() asks" in written
    # It is a rule: what it does not have is a breach.
    with open("test_it.py", "a") as suite:
        suite.write(MORE)
    again = run_again(backend=backend)
    assert "= 1 failed, 5 passed in " in again.stdout, f"{written}\n{again.stdout}"
    assert "unexpected program: cksum ran" in again.stdout


def test_in_a_file_of_a_folder_below_that_has_no_section_yet(project: Path) -> None:
    (project / "pyproject.toml").write_text("[project]\n")
    below = project / "tests" / "pyproject.toml"
    below.parent.mkdir()
    below.write_text("[tool.a]\nb = 1\n")
    (project / "test_it.py").unlink()
    (below.parent / "test_it.py").write_text(f"{SUITE}\n@pytest.mark.skip\ndef test_elsewhere(): ...\n")
    arguments = ("-p", "no:cacheprovider", "tests")
    done = init("--write", "--", *arguments)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    assert "\nFor tests/pyproject.toml, under [tool.pytest.ini_options]:\n" in done.stdout
    assert "\nskipped: 1 test; what they run where they are not skipped is not known\n" in done.stdout
    assert "\npytest takes tests/pyproject.toml for what it was given here, " in done.stdout
    assert "\nreport " not in done.stdout, "it is gone by now"
    assert below.read_text().startswith("[tool.a]\nb = 1\n\n[tool.pytest.ini_options]\n# Proposed by ")
    again = run_again(*arguments)
    assert (again.returncode, "configfile: pyproject.toml" in again.stdout) == (0, True), again.stdout


def test_without_a_file_and_with_a_test_that_fails(project: Path) -> None:
    (project / "test_it.py").write_text(f"{SUITE}\n{FAILS}")
    done = init("--write", "--", "-p", "no:cacheprovider")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "did not pass: test_it.py::test_fails; what these would run besides is not known" in done.stdout
    assert (project / "pytest.ini").read_text().startswith("[pytest]\n# Proposed by execprobe init, of 6 tests ")
    again = run_again()
    assert "1 failed, 5 passed" in again.stdout
    assert "assert 0" in again.stdout
    assert "unexpected program" not in again.stdout


def test_of_a_log_that_is_not_complete_nothing_is_proposed(losing: pytest.Pytester, project: Path) -> None:
    (project / "lose.py").write_text((losing.path / "lose.py").read_text())
    (project / "test_it.py").write_text(
        f"{SUITE}\nfrom lose import lose_helper\ndef test_loses(request):\n    lose_helper(request.config)\n"
    )
    (project / "pytest.ini").write_text(CONFIGURED["pytest.ini"])
    done = init("--write")
    assert done.returncode == 2
    assert "execprobe: the log is not complete, so nothing is proposed:\n  why   " in done.stderr
    assert "execprobe_allow" not in done.stdout
    assert (project / "pytest.ini").read_text() == CONFIGURED["pytest.ini"]


def test_without_a_probe_or_a_run_nothing_is_proposed(project: Path) -> None:
    done = init("--", "--execprobe=off")
    assert (done.returncode, "nothing is proposed" in done.stderr) == (2, True)
    done = init("--", "--no-such-option")
    assert done.returncode == 2
    assert done.stderr.endswith(
        "pytest ended with status 4 before there was a report (is the plugin loaded, and --execprobe not off?)\n"
    )
    assert not (project / "pytest.ini").exists()

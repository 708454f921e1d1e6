"""The template for GitLab: its script, run by a shell in a project of its own, on the real plugin."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from environments import users_environment
from workflows import ROOT, read_yaml, write_project

from pytest_execprobe.report.read import read

pytestmark = [pytest.mark.exec_budget(100), pytest.mark.usefixtures("kernel")]

Job = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """Runs the job with some variables. Its lines are of one shell, as GitLab's runner has it."""
    template = read_yaml(ROOT / "ci/gitlab.yml")[".execprobe"]
    lines = "\n".join([*template["before_script"], *template["script"]])

    def job(program: str = "true", *, shell: str = "sh", **variables: str) -> subprocess.CompletedProcess[str]:
        write_project(tmp_path, program)
        given = {f"EXECPROBE_{name}": value for name, value in {"INSTALL": "false", **variables}.items()}
        assert given.keys() <= template["variables"].keys()
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return subprocess.run(
            [shell, "-e", "-c", lines],
            cwd=tmp_path,
            env={**users_environment(), **template["variables"], **given, "PATH": path},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return job


def test_a_suite_within_its_baseline(job: Job, tmp_path: Path) -> None:
    ended = job(BASELINE="execs.toml", VARIANT="a b")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "\nwithin " in ended.stdout
    document = read(tmp_path / "execprobe/execs.json")
    assert (document.execs, document.runs[0].variant) == (2, "a b")
    kept = {path.name for path in (tmp_path / "execprobe").iterdir()}
    assert kept == {"execs.json", "execs.md", "execs.sarif", "junit.xml"}
    assert len(list(ElementTree.parse(tmp_path / "execprobe/junit.xml").iter("testcase"))) == 2


def test_a_suite_beyond_its_baseline(job: Job) -> None:
    ended = job("uname", BASELINE="execs.toml", shell="bash")
    assert ended.returncode == 1
    assert "beyond the baseline: new: uname ran once" in ended.stdout
    assert "\nexceeded " in ended.stdout


def test_a_part_of_a_suite(job: Job, tmp_path: Path) -> None:
    variables = {"BASELINE": "execs.toml", "PYTEST_ARGS": "-k 'one or none'"}
    assert job(**variables).returncode == 2  # the gate misses the rest
    assert job(**variables, GATE="false", REPORT="part").returncode == 0
    assert len(read(tmp_path / "execprobe/part.json").runs) == 1


def test_nothing_of_what_a_variable_holds_is_executed(job: Job, tmp_path: Path) -> None:
    made = tmp_path / "made"
    nasty = f"'$(touch {made}) `touch {made}`; touch {made} | x"
    for name in ("PYTEST_ARGS", "BASELINE"):
        assert job(**{name: nasty}).returncode != 0
    assert job("uname", VARIANT=nasty).returncode == 0  # without a baseline it records
    assert not made.exists()

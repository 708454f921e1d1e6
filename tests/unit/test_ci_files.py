"""What is for CI systems is as their schemas and a linter of shells want it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from workflows import ROOT, read_yaml

SCHEMAS = {
    "vendor.github-actions": ["action.yml"],
    "vendor.github-workflows": [
        *(".github/workflows/ci.yml", ".github/workflows/nightly.yml"),
        *("examples/pipeline/release.yml", "examples/ci/github.yml"),
    ],
    "vendor.gitlab-ci": ["ci/gitlab.yml"],
}
#: By the least severity of what counts.
SCRIPTS = {
    "style": ["ci/action", "tests/versions/run"],
    "warning": [
        *("examples/pipeline/run", ".ci/run", "scripts/setup", "tests/vm/run"),
        *(f"findings/{file.name}" for file in (ROOT / "findings").iterdir() if file.name != "README.md"),
    ],
}
STARTS_ONE = pytest.mark.exec_budget(1)


@STARTS_ONE
@pytest.mark.parametrize("schema", SCHEMAS)
def test_a_file_is_valid(schema: str) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *SCHEMAS[schema]]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@STARTS_ONE
@pytest.mark.parametrize("severity", SCRIPTS)
def test_no_script_has_a_fault(severity: str) -> None:
    command = [Path(sys.executable).with_name("shellcheck"), f"--severity={severity}", "--external-sources"]
    check = [*command, "--source-path=SCRIPTDIR", *SCRIPTS[severity]]
    ended = subprocess.run(check, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout


def test_every_input_of_the_action_reaches_its_script() -> None:
    """By an environment, and by names that the script knows."""
    text = (ROOT / "ci/action").read_text()
    for step in read_yaml(ROOT / "action.yml")["runs"]["steps"]:
        assert "${{" not in step.get("run", "")
        for name in step.get("env", {}):
            assert re.search(rf"\b{name}\b", text), name

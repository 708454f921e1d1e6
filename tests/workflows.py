"""Plays what runs on a CI system: the steps of a composite action, as GitHub's runner does, in a small project."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]

_EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}")
_TOKEN = re.compile(
    r"\s*(?:(!cancelled\(\))|(&&)|(==|!=)|'([^']*)'|inputs\.([\w-]+)|steps\.([\w-]+)\.outputs\.([\w-]+))"
)


_SUITE = """
import subprocess

def test_one():
    subprocess.run(["true"])

def test_two():
    subprocess.run(["{program}"])
"""
_BASELINE = """
version = 1
[tests."test_it.py::test_one"]
true = 1
[tests."test_it.py::test_two"]
true = 1
"""


def write_project(folder: Path, program: str) -> None:
    """One with two tests, of which the second runs this program, and a baseline by which that is ``true``."""
    (folder / "pytest.ini").write_text("[pytest]\naddopts = -p no:cacheprovider\n")
    (folder / "test_it.py").write_text(_SUITE.format(program=program))
    (folder / "execs.toml").write_text(_BASELINE)


def read_yaml(path: Path) -> Any:
    return YAML(typ="safe", pure=True).load(path.read_text())


@dataclass
class Played:
    """What came of an action."""

    #: By name: "success", "failure" or "skipped".
    steps: dict[str, str] = field(default_factory=dict)
    #: What other actions were called with, by the name of the step.
    used: dict[str, dict[str, str]] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    #: What the steps printed, and the job's summary.
    text: str = ""
    summary: str = ""

    @property
    def failed(self) -> list[str]:
        return [name for name, came in self.steps.items() if came == "failure"]


class Action:
    """An action's steps, with expressions of the kinds that it has."""

    def __init__(self, path: Path, workspace: Path, temporary: Path, environment: Mapping[str, str]) -> None:
        self._action = read_yaml(path)
        self._path, self._workspace, self._temporary = path.parent, workspace, temporary
        self._environment = environment
        self._inputs: dict[str, str] = {}
        self._outputs: dict[tuple[str, str], str] = {}

    def play(self, **inputs: str) -> Played:
        given = {name.replace("_", "-"): value for name, value in inputs.items()}
        known = {name: str(spec["default"]) for name, spec in self._action["inputs"].items()}
        assert given.keys() <= known.keys()
        self._inputs, self._outputs = {**known, **given}, {}
        played = Played()
        for step in self._action["runs"]["steps"]:
            name = step["name"]
            if not (self._holds(step["if"]) if "if" in step else not played.failed):
                played.steps[name] = "skipped"
            elif "uses" in step:
                played.steps[name] = "success"
                played.used[name] = {"uses": step["uses"], **self._each(step["with"])}
            else:
                played.steps[name] = self._run(step, played)
        for name, spec in self._action["outputs"].items():
            played.outputs[name] = self._filled(spec["value"])
        return played

    def _run(self, step: Mapping[str, Any], played: Played) -> str:
        assert step["shell"] == "bash"
        assert "${{" not in step["run"], "a script that is made of what a workflow says can be made to run anything"
        files = {name: self._temporary / name.lower() for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
        for file in files.values():
            file.write_text("")
        own = {"GITHUB_ACTIONS": "true", "GITHUB_ACTION_PATH": self._path, "RUNNER_TEMP": self._temporary, **files}
        ended = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            cwd=self._workspace / self._filled(step.get("working-directory", ".")),
            env={
                **self._environment,
                **{name: os.fspath(value) for name, value in own.items()},
                **self._each(step["env"]),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        played.text += ended.stdout
        played.summary += files["GITHUB_STEP_SUMMARY"].read_text()
        for line in files["GITHUB_OUTPUT"].read_text().splitlines():
            name, _, value = line.partition("=")
            self._outputs[step["id"], name] = value
        return "failure" if ended.returncode else "success"

    def _each(self, values: Mapping[str, str]) -> dict[str, str]:
        return {name: self._filled(value) for name, value in values.items()}

    def _filled(self, text: str) -> str:
        return _EXPRESSION.sub(lambda match: str(self._evaluated(match[1])), text)

    def _holds(self, condition: str) -> bool:
        match = _EXPRESSION.fullmatch(condition)
        assert match is not None
        return bool(self._evaluated(match[1]))

    def _evaluated(self, expression: str) -> object:
        """An expression of operators, literals, inputs and outputs, by Python's own."""
        words, rest = [], expression.rstrip()
        while rest:
            match = _TOKEN.match(rest)
            assert match is not None, f"{rest} is not understood here"
            always, conjunction, comparison, literal, given, step, output = match.groups()
            if always or conjunction or comparison:
                words.append("True" if always else "and" if conjunction else comparison)
            elif given is not None:
                words.append(repr(self._inputs[given]))
            else:
                words.append(repr(literal if step is None else self._outputs.get((step, output), "")))
            rest = rest[match.end() :]
        return eval(" ".join(words), {})  # of literals and operators alone

"""Inner suites that run together, once, and are each a test out here: a pytest takes half a second to start."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent
from typing import NamedTuple
from xml.etree import ElementTree

import pytest


def inner_tests(suite: str) -> list[str]:
    """The names of its tests, without their prefix."""
    return re.findall(r"^def test_(\w+)", suite, re.MULTILINE)


def assert_passed(name: str, output: str) -> None:
    """By what a run of one file has said with ``-rA``; of each case of the test, if it has several."""
    outcomes = re.findall(rf"^(\w+) \S+::test_{name}(?:\[.*\])?(?: - .*)?$", output, re.MULTILINE)
    assert {*outcomes} == {"PASSED"}, output


class Ran(NamedTuple):
    """What came of one file."""

    passed: int
    #: What failed says, behind the kind: "failure" in the call, and else "error".
    failed: list[str]

    def said(self, *, passed: int = 0, failure: int = 0, error: int = 0) -> list[str]:
        """So many have passed, and failed each way; what these say."""
        kinds = Counter(one.split()[0] for one in self.failed)
        assert (self.passed, kinds["failure"], kinds["error"]) == (passed, failure, error), "\n".join(self.failed)
        return self.failed


def run_files(config: pytest.Config, folder: Path, files: Mapping[str, str], *options: str) -> dict[str, Ran]:
    """Of files of these names, in one pytest that captures nothing, under the probe that the outer run has."""
    for name, text in files.items():
        (folder / f"test_{name}.py").write_text(dedent(text))
    backend = config.getoption("execprobe_backend", None)
    same = [] if backend is None else [f"--execprobe-backend={backend}"]
    command = [sys.executable, "-m", "pytest", "-s", "-p", "no:cacheprovider", "--junit-xml=made.xml", *same, *options]
    alone = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_PLUGINS": "pytest_execprobe.plugin"}
    done = subprocess.run(
        [*command, *(f"test_{name}.py" for name in files)],
        cwd=folder,
        env={**os.environ, **alone},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return read_files(folder / "made.xml")


def read_files(xml: Path) -> dict[str, Ran]:
    """By the last part of each file's name, without ``test_``."""
    found: dict[str, Ran] = {}
    for case in ElementTree.parse(xml).iter("testcase"):
        bad = [part for part in case if part.tag in ("failure", "error", "skipped")]
        (name,) = re.findall(r"(?:^|\.)test_(\w+)(?:\.[A-Z]|$)", case.get("classname") or "")
        passed, failed = found.get(name, Ran(0, []))
        said = [f"{part.tag} of {case.get('name')}: {part.text}" for part in bad if part.tag != "skipped"]
        found[name] = Ran(passed + (not bad), [*failed, *said])
    return found

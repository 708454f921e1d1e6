"""The release pipeline of the examples, run once for all tests: a release, and then one with a regression."""

from __future__ import annotations

import functools
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from environments import users_environment

PIPELINE = Path(__file__).parents[2] / "examples" / "pipeline" / "run"

#: The folder of a release, and how the pipeline ended.
Released = tuple[Path, "subprocess.CompletedProcess[str]"]
Release = Callable[[bool], Released]


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """The first, or with a regression what comes after it: its curl is a stand-in that sends nothing. The test that
    asks first runs it, under its own rules."""

    @functools.cache
    def release(regression: bool) -> Released:
        folder = tmp_path_factory.mktemp("release")
        environment = {**users_environment(), "PYTHON": sys.executable}
        if regression:
            shutil.copytree(release(False)[0], folder, dirs_exist_ok=True)
            environment["REGRESSION"] = "1"
        command = [PIPELINE, folder]
        return folder, subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=300, check=False
        )

    return release

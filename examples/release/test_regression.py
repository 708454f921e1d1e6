"""A regression, as a test sees it: this test fails, and is meant to.

Someone has put a curl into a pipeline. The code still starts nothing but a shell, so a mock of subprocess notices
nothing.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import release

from pytest_execprobe import ExecProbe


def write_checksums(folder: Path) -> None:
    """As in release.py, and the mirror is told at once."""
    command = "sha256sum *.tar.gz | tee SHA256SUMS | curl --silent --data-binary @- https://mirror.example/sums"
    subprocess.run(["sh", "-c", command], cwd=folder, check=True)


@pytest.fixture(autouse=True)
def stand_in_for_curl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A curl that swallows its input, so that this example sends nothing to anyone."""
    programs = tmp_path / "bin"
    programs.mkdir()
    curl = programs / "curl"
    curl.write_text("#!/bin/sh\nwhile read -r line; do :; done\n")
    curl.chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=":")


def test_checksums_offline(execprobe: ExecProbe, repository: Path, downloads: Path) -> None:
    release.build(repository, "HEAD", downloads)
    write_checksums(downloads)
    execprobe.assert_not_ran("curl", "wget")

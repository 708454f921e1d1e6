"""Where programs come from, and that no secret is shown, on the real kernel."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from programs import Programs

pytestmark = [pytest.mark.usefixtures("kernel"), pytest.mark.exec_budget(40), pytest.mark.own_helper]

TIMEOUT = 60
#: Executes itself from a memfd, and then a copy that is gone when the run is over.
ODD = """
import os, shutil, subprocess, sys
true = shutil.which("true")
memory = os.memfd_create("odd", 0)
os.write(memory, open(true, "rb").read())
subprocess.run(["odd"], executable=f"/proc/{os.getpid()}/fd/{memory}", check=True)
copy = shutil.copy(true, "gone")
subprocess.run([os.path.abspath(copy)], check=True)
os.unlink(copy)
subprocess.run([true, "--token", "S3cr3t"], check=True)
subprocess.run(["sh", "-c", "FOO_TOKEN=S3cr3t /bin/true"], check=True)
"""


def recorded(folder: Path, *command: object) -> Any:
    report = folder / "a.json"
    done = subprocess.run(
        [sys.executable, "-m", "pytest_execprobe.cli", "run", "--report", report, "--", *map(str, command)],
        cwd=folder, capture_output=True, text=True, timeout=TIMEOUT, check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "S3cr3t" not in report.read_text() + done.stderr
    return json.loads(report.read_text())["runs"][0]


@pytest.mark.skipif(shutil.which("dpkg-query") is None, reason="this is no Debian")
def test_where_programs_come_from(tmp_path: Path, programs: Programs) -> None:
    script = tmp_path / "script"
    script.write_text(f"#!{sys.executable}\n{ODD}")
    script.chmod(0o777)
    run = recorded(tmp_path, script)
    origins = run["origins"]
    true = os.path.realpath(str(shutil.which("true")))
    assert origins[true]["package"].startswith("coreutils ")
    assert origins[true]["remarks"] == []
    shell = os.path.realpath("/bin/sh")
    assert origins[shell]["owned"] is True
    odd = {path: found for path, found in origins.items() if not found["owned"]}
    assert "not there any more" in odd[str(tmp_path / "gone")]["remarks"]
    assert "writable by others" in odd[str(script)]["remarks"]
    assert [found["remarks"] for path, found in odd.items() if path.startswith("memfd:odd")] == [
        ["in no folder: a memfd"]
    ]
    shown = [command["argv"] for command in run["commands"] if command["redacted"]]
    assert sorted(argv[1:] for argv in shown) == [["--token", "•••"], ["-c", "FOO_TOKEN=••• /bin/true"]]
    minimal = recorded(tmp_path, programs.minimal)["origins"]
    assert minimal[os.path.realpath(programs.minimal)]["owned"] is False

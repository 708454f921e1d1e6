"""The probe without privilege under each of Yama's scopes, for an ordinary user. The last, 3, holds until the machine
is started again, so it is left out."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from users import enterable_python, needs_root

import pytest_execprobe

_SCOPE = Path("/proc/sys/kernel/yama/ptrace_scope")

# What it has started before, and whether that is followed; and what it starts then.
SCRIPT = """
import subprocess, sys
sys.path.insert(0, sys.argv[1])
from pytest_execprobe.errors import ProbeUnavailable
from pytest_execprobe.source.connect import HelperSettings, start_helper
from pytest_execprobe.source.events import Exec

with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as older:
    try:
        source = start_helper(HelperSettings(backend="ptrace"))
    except ProbeUnavailable as error:
        print(error)
    else:
        subprocess.run(["true"], check=True)
        found = source.sync(60).events
        print([event.command.path for event in found if isinstance(event, Exec)], source.unadopted)
        source.close()
    older.communicate()
"""


@pytest.fixture(params=[0, 1, 2])
def scope(request: pytest.FixtureRequest) -> Iterator[int]:
    if not _SCOPE.exists():
        pytest.skip("this kernel has no Yama")
    before = _SCOPE.read_text()
    _SCOPE.write_text(str(request.param))
    try:
        yield request.param
    finally:
        _SCOPE.write_text(before)


@needs_root
def test_what_each_scope_lets_through(scope: int, open_folder: Path) -> None:
    package = open_folder / f"scope-{scope}"
    shutil.copytree(Path(pytest_execprobe.__file__).parent, package / "pytest_execprobe")
    nobody = ["setpriv", "--reuid=61001", "--regid=61001", "--clear-groups", "--no-new-privs", "--"]
    command = [*nobody, enterable_python(), "-c", SCRIPT, package]
    said = subprocess.check_output(command, text=True, timeout=600)
    true = shutil.which("true")
    if scope < 2:
        assert said == f"[{true!r}] {scope}\n"  # at 1 a process is traced by whom it names, and others have named none
    else:
        assert (
            "(Operation not permitted), kernel.yama.ptrace_scope is 2. Fix: sysctl kernel.yama.ptrace_scope=1" in said
        )

"""On a machine that can't probe, tests are skipped with a reason that a person can act on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from environments import Environment, make_environment
from users import as_user, needs_root, user

__all__ = ["user"]

pytestmark = pytest.mark.exec_budget(12)

SUITE = """
import subprocess

def test_uses(execprobe):
    subprocess.run(["true"])
    assert execprobe.programs == ["true"]

def test_does_not():
    pass
"""


@dataclass(frozen=True)
class Suite:
    """A suite, and a Python with the plugin to run it, that every user can enter and read."""

    file: Path
    python: Path

    def run(self, *before: str, env: dict[str, str] | None = None, options: tuple[str, ...] = ()) -> str:
        """A run's output. The test that does not use the fixture passes in each."""
        command = [*before, self.python, "-m", "pytest", "-rs", "-p", "no:cacheprovider", *options, self.file.name]
        result = subprocess.run(
            command,
            cwd=self.file.parent,
            env={"PATH": os.environ["PATH"], "COLUMNS": "400", **(env or {})},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    def skip_reason(self, *before: str, env: dict[str, str] | None = None, options: tuple[str, ...] = ()) -> str:
        output = self.run(*before, env=env, options=("--execprobe-backend=bpf", *options))
        assert "1 passed, 1 skipped" in output, output
        (line,) = [line for line in output.splitlines() if line.startswith("SKIPPED")]
        return line.partition("execprobe: ")[2]


@pytest.fixture(scope="module")
def suite(installed: Environment, open_folder: Path) -> Suite:
    folder = open_folder / "refusal"
    folder.mkdir()
    (folder / "test_suite.py").write_text(SUITE)
    return Suite(folder / "test_suite.py", installed.python)


@needs_root
@pytest.mark.parametrize("most", [24, 32])
def test_too_few_open_files(suite: Suite, most: int) -> None:
    """Whatever needs one more: a map, a program, a tracepoint."""
    prlimit = shutil.which("prlimit")
    if prlimit is None:
        pytest.skip("execprobe: there is no prlimit")
    reason = suite.skip_reason(prlimit, f"--nofile={most}", "--")
    assert "Too many open files. Fix: raise the limit of open files (ulimit -n): execprobe doctor says" in reason


@needs_root
def test_an_unprivileged_user_whom_sudo_refuses(suite: Suite, user: str) -> None:
    if shutil.which("sudo") is None:
        pytest.skip("execprobe: there is no sudo to be refused by")
    reason = suite.skip_reason(*as_user(user))
    assert reason.startswith("the probe needs privilege, and sudo refused it without a password")
    assert "Run pytest as root" in reason


@needs_root
def test_execs_of_an_unprivileged_user_are_traced(suite: Suite, user: str) -> None:
    output = suite.run(*as_user(user, "--no-new-privs"), options=("--execprobe-audit",))
    assert "2 passed" in output
    assert "execprobe: ptrace on Linux" in output
    assert "\nprobe           ptrace\n" in output
    assert "; no BPF: the probe needs privilege" in output or "; no BPF: user " in output


@needs_root
def test_an_unprivileged_user_without_sudo(suite: Suite, user: str) -> None:
    reason = suite.skip_reason(*as_user(user), env={"PATH": "/nonexistent"})
    assert reason.startswith("user ")
    assert "has no privilege to probe, and there is no sudo. Run pytest as root" in reason


@needs_root
def test_an_unprivileged_user_with_sudo(suite: Suite, user: str) -> None:
    if shutil.which("sudo") is None:
        pytest.skip("execprobe: there is no sudo")
    rule = Path("/etc/sudoers.d", user)
    rule.write_text(f"{user} ALL=(root) NOPASSWD: ALL\n")
    rule.chmod(0o440)
    try:
        assert "2 passed" in suite.run(*as_user(user))
    finally:
        rule.unlink()


@needs_root
def test_root_without_capabilities(suite: Suite) -> None:
    reason = suite.skip_reason("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--")
    assert reason.startswith("the kernel refused a BPF map: Operation not permitted")
    assert "docker run --privileged" in reason


@pytest.mark.bpf
def test_an_interpreter_without_bcc(suite: Suite) -> None:
    reason = suite.skip_reason(options=(f"--execprobe-python={sys.executable}",))
    assert "no Python with BCC was found" in reason
    assert "apt install python3-bpfcc" in reason


@pytest.mark.bpf
def test_the_unrelated_bcc_of_pypi(suite: Suite, tmp_path: Path) -> None:
    environment = make_environment(tmp_path / "venv", Path(sys.executable))
    unrelated = environment.packages / "bcc"
    unrelated.mkdir()
    (unrelated / "__init__.py").write_text("class Lattice: pass\n")
    reason = suite.skip_reason(env={"EXECPROBE_PYTHON": str(environment.python)})
    assert "is PyPI's unrelated package, not the BPF Compiler Collection" in reason
    assert str(unrelated) in reason
    assert "apt install python3-bpfcc" in reason


@pytest.mark.bpf
def test_no_such_interpreter(suite: Suite) -> None:
    reason = suite.skip_reason(options=("--execprobe-python=/nonexistent/python",))
    assert reason.startswith("/nonexistent/python is no program")


@needs_root
@pytest.mark.parametrize(
    ("own", "why"), [("/nonexistent", "No such file or directory"), ("/etc/passwd", "Permission denied")]
)
def test_an_interpreter_whose_own_interpreter_can_not_be_run(suite: Suite, tmp_path: Path, own: str, why: str) -> None:
    script = tmp_path / "python"
    script.write_text(f"#!{own}\n")
    script.chmod(0o755)
    reason = suite.skip_reason(options=(f"--execprobe-python={script}",))
    assert reason.startswith(f"user {os.geteuid()} can't run {script}, which starts the helper: {why}. ")


BECOMES_ANOTHER = """
import os, sys
sys.path.insert(0, sys.argv[1])
from pytest_execprobe.source.connect import HelperSettings, start_helper
os.setresuid(61001, 61001, 61001)
try:
    start_helper(HelperSettings())
except Exception as error:
    print(type(error).__name__, error)
"""


@needs_root
def test_a_user_who_can_not_reach_the_package_any_more(installed: Environment, tmp_path: Path) -> None:
    """As in a home that is closed to others, where a test becomes another user."""
    package = shutil.copytree(installed.packages / "pytest_execprobe", tmp_path / "pytest_execprobe")
    tmp_path.chmod(0o700)
    said = subprocess.check_output([installed.python, "-c", BECOMES_ANOTHER, tmp_path], text=True, timeout=120)
    source = package / "bpf" / "execprobe.c"
    assert said.startswith(
        f"ProbeUnavailable execprobe: user 61001 can't reach its BPF source, {source} (Permission denied): install"
    )


def test_another_system(suite: Suite) -> None:
    conftest = suite.file.with_name("conftest.py")
    conftest.write_text("from pytest_execprobe._util import originals\noriginals.platform = 'darwin'\n")
    try:
        reason = suite.skip_reason()
    finally:
        conftest.unlink()
    assert reason.startswith("needs Linux, and this is darwin")

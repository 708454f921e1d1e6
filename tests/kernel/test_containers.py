"""The probe without privilege in what containers are made of: namespaces, seccomp filters, few capabilities, hidden
processes. What works there, and what a refusal says.

As an ordinary user where nothing else is said, and without BPF: a container that lets that through is like any machine.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from environments import Environment
from programs import Programs
from users import needs_root, without_privilege

pytestmark = [pytest.mark.exec_budget(400), pytest.mark.own_helper]

SUITE = """
import os, subprocess

def test_log_is_whole(execprobe):
    subprocess.run(["sh", "-c", "cd /; (/bin/true); /bin/echo a b; exit 3"], check=False)
    assert execprobe.programs == ["sh", "true", "echo"]
    shell, *below = execprobe.records
    assert [record.ppid for record in below] == [shell.pid] * 2
    assert [record.argv for record in below] == [("/bin/true",), ("/bin/echo", "a", "b")]
    assert [record.cwd for record in execprobe.records] == [os.getcwd(), "/", "/"]
    assert [record.exit_code for record in execprobe.records] == [3, 0, 0]
    for record in execprobe.records:
        assert None not in (record.path, record.executable, record.uid)
    assert not execprobe.strays

def test_what_was_just_started_is_there(execprobe):
    for number in range(1, 31):
        process = subprocess.Popen(["true"])
        assert execprobe.counts == {"true": number}
        process.wait()

def test_does_not():
    pass
"""

AS_ANOTHER = """
import subprocess

def test_another_users_process(execprobe):
    command = "cd /; /bin/true a; /bin/echo b"
    subprocess.run(["setpriv", "--reuid=1234", "--regid=1235", "--clear-groups", "sh", "-c", command], check=True)
    assert execprobe.programs == ["setpriv", "sh", "true", "echo"]
    assert [record.uid for record in execprobe.records] == [0, 1234, 1234, 1234]
    for record in execprobe.records[1:]:
        assert record.cwd is not None
        assert None not in (record.path, record.executable, record.argv)
    execprobe.assert_only_ran("setpriv", "/usr/bin/*", "/bin/*")
    subprocess.run(["true"], check=True)
    assert execprobe.records[-1].uid == 0
"""

#: What root has in a container of Docker's, of capabilities; and what it can do with them to become another user.
DOCKERS = (
    "chown dac_override fsetid fowner mknod net_raw setgid setuid setfcap setpcap net_bind_service sys_chroot kill"
)
WITH_DOCKERS = ["setpriv", f"--bounding-set=-all,+{',+'.join(DOCKERS.split())}", "--inh-caps=-all", "--"]
AND_OF_BPF = [
    "setpriv",
    f"--bounding-set=-all,+{',+'.join([*DOCKERS.split(), 'bpf', 'perfmon'])}",
    "--inh-caps=-all",
    "--",
]
WITHOUT_ANY = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs", "--"]
#: Of a user namespace whose root is this user.
ROOTLESS = ["unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "--mount-proc"]
NAMESPACE = ["unshare", "--mount", "--pid", "--fork", "--mount-proc"]
HIDDEN = ["unshare", "--mount", "--pid", "--fork", "sh", "-c"]
HIDDEN += ['mount -t proc -o hidepid=2 proc /proc && "$@"; exit $?', "sh"]


@pytest.fixture(scope="module")
def nobody() -> Iterator[list[str]]:
    with without_privilege("contained") as command:
        yield command


@pytest.fixture(scope="module")
def suite(open_folder: Path) -> Path:
    folder = open_folder / "contained"
    folder.mkdir()
    (folder / "test_suite.py").write_text(SUITE)
    (folder / "test_as_another.py").write_text(AS_ANOTHER)
    return folder


@pytest.fixture
def user_namespaces(nobody: list[str]) -> None:
    made = subprocess.run([*nobody, *ROOTLESS, "true"], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        pytest.skip(f"an ordinary user can't make a user namespace here: {made.stderr.strip()}")


def run(
    suite: Path, installed: Environment, *before: str | Path, file: str = "test_suite.py", backend: str = "ptrace"
) -> str:
    command = [*before, installed.python, "-m", "pytest", "-rs", "-p", "no:cacheprovider", file]
    result = subprocess.run(
        [*command, f"--execprobe-backend={backend}"],
        cwd=suite,
        env={"PATH": os.environ["PATH"], "COLUMNS": "600"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return result.stdout + result.stderr


# ---- where it works ----


def test_ordinary_user(suite: Path, installed: Environment, nobody: list[str]) -> None:
    assert "3 passed" in run(suite, installed, *nobody)


@pytest.mark.parametrize("profile", ["now", "ptrace"])
def test_seccomp_profile_of_docker(
    profile: str, suite: Path, installed: Environment, nobody: list[str], programs: Programs
) -> None:
    """That of 19.03 lets ptrace(2) through, and not process_vm_readv(2)."""
    assert "3 passed" in run(suite, installed, *nobody, programs.confined, profile)


@needs_root
@pytest.mark.parametrize("profile", ["now", "ptrace"])
def test_root_in_a_container_of_dockers(profile: str, suite: Path, installed: Environment, programs: Programs) -> None:
    assert "3 passed" in run(suite, installed, *NAMESPACE, *WITH_DOCKERS, programs.confined, profile)


@needs_root
@pytest.mark.parametrize("profile", ["now", "ptrace"])
def test_root_without_the_capability_sees_what_another_users_process_runs(
    profile: str, suite: Path, installed: Environment, programs: Programs
) -> None:
    before = [*WITH_DOCKERS, programs.confined, profile]
    assert "1 passed" in run(suite, installed, *before, file="test_as_another.py")


@needs_root
def test_root_with_the_capabilities_of_bpf_has_that(kernel: None, suite: Path, installed: Environment) -> None:  # noqa: ARG001
    """As by docker run --cap-add BPF --cap-add PERFMON."""
    if "sched_prepare_exec" not in Path("/proc/kallsyms").read_text():
        pytest.skip("this kernel has no sched_prepare_exec, and so it takes more")
    assert "3 passed" in run(suite, installed, *NAMESPACE, *AND_OF_BPF, backend="bpf")


@needs_root
def test_root_with_the_capability_sees_it_as_well(suite: Path, installed: Environment) -> None:
    assert "1 passed" in run(suite, installed, file="test_as_another.py")


@pytest.mark.usefixtures("user_namespaces")
def test_root_of_a_user_namespace(suite: Path, installed: Environment, nobody: list[str]) -> None:
    """As in a rootless container."""
    assert "3 passed" in run(suite, installed, *nobody, *ROOTLESS)


@pytest.mark.usefixtures("user_namespaces")
def test_namespaces_without_any_capability(
    suite: Path, installed: Environment, nobody: list[str], programs: Programs
) -> None:
    assert "3 passed" in run(suite, installed, *nobody, *ROOTLESS, *WITHOUT_ANY, programs.confined, "now")


@pytest.mark.usefixtures("user_namespaces")
def test_user_namespace_in_which_this_user_has_no_number(
    suite: Path, installed: Environment, nobody: list[str]
) -> None:
    assert "3 passed" in run(suite, installed, *nobody, "unshare", "--user", "--")


@needs_root
def test_proc_hides_the_processes_of_others(suite: Path, installed: Environment, nobody: list[str]) -> None:
    assert "3 passed" in run(suite, installed, *HIDDEN, *nobody)


@needs_root
def test_root_for_whom_proc_hides_the_processes_of_others(suite: Path, installed: Environment) -> None:
    """What it finds in /proc is read as another user, too."""
    assert "3 passed" in run(suite, installed, *HIDDEN, *WITH_DOCKERS)
    assert "1 passed" in run(suite, installed, *HIDDEN, *WITH_DOCKERS, file="test_as_another.py")


# ---- where it does not, and what that says ----


def reason(suite: Path, installed: Environment, *before: str | Path) -> str:
    output = run(suite, installed, *before)
    assert "1 passed, 2 skipped" in output, output
    (said,) = {line.partition("execprobe: ")[2] for line in output.splitlines() if line.startswith("SKIPPED")}
    return said


def test_seccomp_profile_that_refuses_ptrace(
    suite: Path, installed: Environment, nobody: list[str], programs: Programs
) -> None:
    """As those of older engines do."""
    said = reason(suite, installed, *nobody, programs.confined, "before")
    assert said.startswith("ptrace is refused here (Operation not permitted), under a seccomp filter. Fix: have the")
    assert "docker run --cap-add SYS_PTRACE" in said
    assert "yama" not in said


@needs_root
@pytest.mark.parametrize("proc", ["unshare --pid --fork", "unshare --mount --pid --fork sh -c"])
def test_proc_of_another_namespace_or_none(proc: str, suite: Path, installed: Environment, nobody: list[str]) -> None:
    place = proc.split()
    if place[-1] == "-c":
        place += ['mount -t tmpfs none /proc && "$@"; exit $?', "sh"]
    said = reason(suite, installed, *place, *nobody)
    assert said.startswith("/proc is not there, or is another PID namespace's")
    assert "unshare --mount-proc" in said


def test_who_runs_under_strace(suite: Path, installed: Environment, nobody: list[str]) -> None:
    if shutil.which("strace") is None:
        pytest.skip("there is no strace")
    said = reason(suite, installed, *nobody, "strace", "-qq", "-f", "-e", "trace=none", "-e", "signal=none")
    assert said.startswith("this process is traced by strace (process ")

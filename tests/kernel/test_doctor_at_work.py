"""``execprobe doctor`` on this machine and on what can be made of it: what it finds, and that its remedies mend it."""

from __future__ import annotations

import json
import os
import platform
import pwd
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from environments import Environment, make_environment
from users import as_user, needs_root, user

__all__ = ["user"]

pytestmark = [pytest.mark.usefixtures("kernel"), pytest.mark.exec_budget(40), pytest.mark.bpf]

# Refuses bpf(2) to itself and all that it starts, with EPERM or by a signal, and becomes the command that it is given.
FILTERED = """
import ctypes, os, struct, sys
number, verdict, *command = sys.argv[1:]
load, equal, give, let_through = 0x20, 0x15, 0x06, 0x7FFF0000
program = struct.pack(
    "HBBI" * 4,
    *(load, 0, 0, 0),
    *(equal, 0, 1, int(number)),
    *(give, 0, 0, int(verdict, 0)),
    *(give, 0, 0, let_through),
)
buffer = ctypes.create_string_buffer(program)
filter = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(buffer))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, filter, 0, 0) == 0, os.strerror(ctypes.get_errno())
os.execv(command[0], command)
"""
BPF_CALL = {"x86_64": "321", "aarch64": "280"}
REFUSED, KILLED = "0x00050001", "0x80000000"


@dataclass(frozen=True)
class Result:
    status: int
    data: dict[str, Any]

    def __getitem__(self, check: str) -> dict[str, Any]:
        """The last finding of a check."""
        found: dict[str, Any] = [finding for finding in self.data["checks"] if finding["check"] == check][-1]
        return found

    def is_broken_by(self, check: str, *words: str) -> str:
        """Asserts that there can be no BPF, for this reason and no other, so that execs are traced; what mends it."""
        broken = {finding["check"] for finding in self.data["checks"] if finding["status"] == "not ok"}
        assert broken == {check, "proof"}, self.data
        assert self.status == 0
        assert self.data["ok"] is True
        assert self["ptrace"]["status"] == "ok"
        assert ", and nothing else" in self["ptrace"]["found"]
        for word in words:
            assert word in self[check]["found"], self[check]
        assert self["proof"]["remedy"] == f"fix what is not ok above: {check}"
        return str(self[check]["remedy"])

    def is_proven(self) -> None:
        assert self.data["ok"] is True, self.data
        assert self.status == 0
        assert "saw a program run" in self["proof"]["found"]
        assert not [finding for finding in self.data["checks"] if finding["status"] == "not ok"]


@dataclass(frozen=True)
class Doctor:
    """The plugin as it is installed, without any extra, where every user can enter and read, and root alone write."""

    python: Path

    def text(self, *before: str, env: dict[str, str] | None = None, options: tuple[str, ...] = ()) -> tuple[int, str]:
        result = subprocess.run(
            [*before, self.python, "-m", "pytest_execprobe.cli", "doctor", *options],
            cwd="/",
            env={"PATH": os.environ["PATH"], **(env or {})},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert not result.stderr, result.stderr
        return result.returncode, result.stdout

    def run(self, *before: str, env: dict[str, str] | None = None, options: tuple[str, ...] = ()) -> Result:
        status, text = self.text(*before, env=env, options=("--json", *options))
        return Result(status, json.loads(text))


@pytest.fixture(scope="module")
def doctor(installed: Environment) -> Doctor:
    return Doctor(installed.python)


def unshare(*options: str) -> list[str]:
    """What to put before a command that is to run in new namespaces; skips where there are none."""
    command = [shutil.which("unshare") or "unshare", *options]
    try:
        refused = subprocess.run([*command, "true"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("execprobe: there is no unshare")
    if refused.returncode != 0:
        pytest.skip(f"execprobe: {' '.join(command)} is refused ({refused.stderr.strip()})")
    return command


# ---- success ----


@pytest.fixture(scope="module")
def usual(doctor: Doctor) -> tuple[Result, list[Path]]:
    """Of this machine as it is, and the files that are there since."""
    folder = doctor.python.parents[2]
    before = sorted(folder.rglob("*"))
    result = doctor.run()
    made = [path for path in sorted(folder.rglob("*")) if path not in before]
    return result, [path for path in made if "__pycache__" not in path.parts]


def test_this_machine(usual: tuple[Result, list[Path]]) -> None:
    result, made = usual
    result.is_proven()
    assert made == []
    assert result["plugin"]["found"].startswith("pytest-execprobe ")
    assert result["kernel"]["found"].startswith(f"Linux {platform.release()}")
    versions = result.data["versions"]
    assert versions["kernel"] == platform.release()
    assert versions["bcc"] in result["bcc"]["found"]
    assert versions["bcc"] in result["proof"]["found"]
    assert versions["helper_python"] in result["bcc"]["found"]
    assert versions["rich"] is None
    assert result["extras"]["status"] == "note"


def test_the_text_says_what_the_data_say(doctor: Doctor, usual: tuple[Result, list[Path]]) -> None:
    status, text = doctor.text()
    result, _ = usual
    assert status == result.status == 0
    *lines, empty, last = text.splitlines()
    assert empty == ""
    assert last.startswith("This machine can probe")
    expected = []
    for finding in result.data["checks"]:
        expected.append((finding["status"], finding["check"], finding["found"]))
        expected += [("", "", f"-> {line}") for line in (finding["remedy"] or "").splitlines()]
    width = max(len(finding["check"]) for finding in result.data["checks"])
    told = [(line[:6].strip(), line[8 : 8 + width].strip(), line[10 + width :]) for line in lines]
    assert told[:-1] == expected[:-1]
    assert told[-1][:2] == expected[-1][:2] == ("ok", "proof")  # the times differ


# ---- other users ----


@needs_root
def test_a_user_without_sudo(doctor: Doctor, user: str) -> None:
    remedy = doctor.run(*as_user(user), env={"PATH": "/nonexistent"}).is_broken_by("privilege", "there is no sudo")
    assert remedy.startswith("run pytest as root\n")


@needs_root
def test_a_user_whom_sudo_refuses_and_the_line_that_mends_it(doctor: Doctor, user: str) -> None:
    if shutil.which("sudo") is None or shutil.which("visudo") is None:
        pytest.skip("execprobe: there is no sudo to be refused by")
    remedy = doctor.run(*as_user(user)).is_broken_by("privilege", "does not start the helper without a password")
    now, serve, how, line = remedy.splitlines()
    assert now.startswith("sudo -v ")
    assert "execprobe serve" in serve
    assert "visudo -f /etc/sudoers.d/execprobe" in how
    rule = Path("/etc/sudoers.d", user)
    rule.write_text(line + "\n")
    rule.chmod(0o440)
    try:
        subprocess.run(["visudo", "-c", "-q", "-f", rule], check=True)
        result = doctor.run(*as_user(user))
        result.is_proven()
        assert "starts the helper without a password" in result["privilege"]["found"]
        assert "helper started through sudo" in result["proof"]["found"]
    finally:
        rule.unlink()


@needs_root
@pytest.mark.parametrize("part", ["helper", "helper/main.py", "../.."])
def test_no_line_for_what_the_user_can_change(doctor: Doctor, user: str, part: str) -> None:
    if shutil.which("sudo") is None:
        pytest.skip("execprobe: there is no sudo to be refused by")
    (package,) = doctor.python.parents[1].glob("lib/python*/site-packages/pytest_execprobe")
    changed = (package / part).resolve()
    before = changed.stat()
    os.chown(changed, pwd.getpwnam(user).pw_uid, -1)
    try:
        remedy = doctor.run(*as_user(user)).is_broken_by("privilege", "does not start the helper without a password")
    finally:
        os.chown(changed, before.st_uid, -1)
    assert "NOPASSWD" not in remedy
    assert f"not so: {changed}," in remedy


@needs_root
def test_a_user_whom_nobody_knows(doctor: Doctor) -> None:
    if shutil.which("sudo") is None:
        pytest.skip("execprobe: there is no sudo to be refused by")
    before = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups", "--"]
    assert "useradd --uid 54321" in doctor.run(*before).is_broken_by("privilege", "no user of this machine")


@needs_root
def test_a_user_with_ambient_capabilities(doctor: Doctor, user: str) -> None:
    """As the remedy for capabilities that are not ambient has it."""
    names = "+bpf,+perfmon,+dac_read_search,+ipc_lock"
    result = doctor.run(*as_user(user, "--inh-caps", names, "--ambient-caps", names))
    result.is_proven()
    assert "with ambient capabilities" in result["privilege"]["found"]
    assert "helper started with capabilities" in result["proof"]["found"]


@needs_root
def test_a_user_with_one_capability_of_two(doctor: Doctor, user: str) -> None:
    result = doctor.run(*as_user(user, "--inh-caps", "+bpf", "--ambient-caps", "+bpf"))
    assert "setpriv" in result.is_broken_by("privilege", "without CAP_PERFMON")


@needs_root
def test_a_user_who_may_gain_no_privilege(doctor: Doctor, user: str) -> None:
    if shutil.which("sudo") is None:
        pytest.skip("execprobe: there is no sudo to be refused by")
    remedy = doctor.run(*as_user(user, "--no-new-privs")).is_broken_by("privilege", "no_new_privs is set")
    assert "allowPrivilegeEscalation: true" in remedy


@needs_root
def test_root_without_capabilities(doctor: Doctor) -> None:
    result = doctor.run("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--")
    assert "--cap-add BPF" in result.is_broken_by("privilege", "root, but without CAP_BPF, CAP_PERFMON")


@needs_root
def test_root_with_no_more_than_what_the_remedy_adds(doctor: Doctor) -> None:
    """What Docker leaves to root by default, and the two that are to be added."""
    docker = "chown,dac_override,fowner,fsetid,kill,setgid,setuid,setpcap,net_bind_service,net_raw,sys_chroot,mknod"
    names = f"-all,+bpf,+perfmon,+{docker.replace(',', ',+')}"
    doctor.run("setpriv", f"--bounding-set={names}", "--inh-caps=-all", "--").is_proven()


# ---- other interpreters ----


@pytest.mark.parametrize("by", ["option", "environment"])
def test_no_such_interpreter(doctor: Doctor, by: str) -> None:
    if by == "option":
        result = doctor.run(options=("--python", "/nonexistent/python"))
    else:
        result = doctor.run(env={"EXECPROBE_PYTHON": "/nonexistent/python"})
    remedy = result.is_broken_by("bcc", "/nonexistent/python is no program")
    assert remedy.startswith("leave --python out" if by == "option" else "unset EXECPROBE_PYTHON")


def test_an_interpreter_without_bcc(doctor: Doctor) -> None:
    result = doctor.run(env={"EXECPROBE_PYTHON": str(doctor.python)})
    assert result.is_broken_by("bcc", "EXECPROBE_PYTHON names can't run the helper") == "unset EXECPROBE_PYTHON"
    (said, _) = [finding for finding in result.data["checks"] if finding["check"] == "bcc"]
    assert str(doctor.python) in said["found"]
    assert "no usable module bcc" in said["found"]


def test_the_unrelated_bcc_of_pypi(doctor: Doctor, tmp_path: Path) -> None:
    environment = make_environment(tmp_path / "venv", Path(sys.executable))
    unrelated = environment.packages / "bcc"
    unrelated.mkdir()
    (unrelated / "__init__.py").write_text("class Lattice: pass\n")
    result = doctor.run(options=("--python", str(environment.python)))
    result.is_broken_by("bcc", "--python names can't run the helper")
    (said, _) = [finding for finding in result.data["checks"] if finding["check"] == "bcc"]
    assert f"the bcc in {unrelated} is PyPI's unrelated package" in said["found"]
    assert said["remedy"] == f"{environment.python} -m pip uninstall bcc"


def test_a_program_that_is_no_python(doctor: Doctor) -> None:
    result = doctor.run(env={"EXECPROBE_PYTHON": "false"})
    result.is_broken_by("bcc", "EXECPROBE_PYTHON names can't run the helper")
    (said, _) = [finding for finding in result.data["checks"] if finding["check"] == "bcc"]
    assert said["found"].endswith("/false: it runs no Python: it ended with status 1")


# ---- what is around it ----


@needs_root
def test_a_time_namespace(doctor: Doctor) -> None:
    result = doctor.run(*unshare("--time", "--monotonic", "1000"))
    assert "outside of the time namespace" in result.is_broken_by("time-namespace", "shifted by 1000 s")


@needs_root
def test_a_pid_namespace(doctor: Doctor) -> None:
    result = doctor.run(*unshare("--pid", "--fork", "--mount-proc"))
    result.is_proven()
    assert result["pid-namespace"]["status"] == "ok"


@pytest.mark.may_skip
def test_a_user_namespace(doctor: Doctor) -> None:
    result = doctor.run(*unshare("--user", "--map-root-user"))
    assert "run it outside" in result.is_broken_by("user-namespace", "root's included")


@needs_root
@pytest.mark.parametrize(("verdict", "words"), [(REFUSED, "refuses bpf(2)"), (KILLED, "ends whoever calls bpf(2)")])
def test_a_filter_of_system_calls(doctor: Doctor, verdict: str, words: str) -> None:
    number = BPF_CALL.get(platform.machine())
    if number is None:
        pytest.skip(f"execprobe: the number of bpf(2) on {platform.machine()} is not known here")
    result = doctor.run(sys.executable, "-c", FILTERED, number, verdict)
    assert "without the filter" in result.is_broken_by("bpf", f"a seccomp filter on this process {words}")
    assert result["seccomp"]["status"] == "note"


@needs_root
def test_too_few_files(doctor: Doctor) -> None:
    """The kernel then refuses now this, now that, and the helper can't tell why."""
    prlimit = shutil.which("prlimit")
    if prlimit is None:
        pytest.skip("execprobe: there is no prlimit")
    remedy = doctor.run(prlimit, "--nofile=24:1024", "--").is_broken_by("files", "may open 24 files")
    enough = re.fullmatch(r"ulimit -n (\d+)", remedy)
    assert enough is not None
    result = doctor.run(prlimit, f"--nofile={enough[1]}", "--")
    result.is_proven()
    assert result["files"]["status"] == "ok"

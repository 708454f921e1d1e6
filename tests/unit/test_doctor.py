"""Each thing that ``execprobe doctor`` can find to be wrong, on machines that are made up."""

from __future__ import annotations

import argparse
import json
import os
import signal
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from fakes import FakeSource

from pytest_execprobe.cli import doctor
from pytest_execprobe.cli.doctor import everything, installation
from pytest_execprobe.cli.doctor import machine as machine_module
from pytest_execprobe.cli.doctor.bcc import bcc, search
from pytest_execprobe.cli.doctor.diagnosis import Diagnosis, Examination, bad, note, ok
from pytest_execprobe.cli.doctor.everything import examine
from pytest_execprobe.cli.doctor.kernel import AttachPoints, attach_points, bpf, btf, kernel
from pytest_execprobe.cli.doctor.machine import (
    BPF,
    DAC_READ_SEARCH,
    IPC_LOCK,
    PERFMON,
    SETGID,
    SETUID,
    SYS_ADMIN,
    Answer,
    Machine,
)
from pytest_execprobe.cli.doctor.privilege import Route, lockdown, route
from pytest_execprobe.cli.doctor.proof import Proof, prove
from pytest_execprobe.cli.doctor.surroundings import container, limits, namespaces, processes
from pytest_execprobe.cli.terminal import Terminal
from pytest_execprobe.errors import ProbeUnavailable
from pytest_execprobe.source.connect import HelperSettings

ALL = (1 << 41) - 1
WITH_BCC = {
    "python": "3.11.2",
    "bcc": "0.26.0",
    "folder": "/usr/lib/python3/dist-packages/bcc",
    "modules": ["/usr/lib/python3.11", "/usr/local/lib/python3.11/dist-packages"],
    "offsets": 28,
}
WITHOUT_BCC = {"python": "3.11.7", "code": "no-bcc", "reason": "this Python has no usable module bcc (…)"}
PYPIS_BCC = {"python": "3.11.7", "code": "wrong-bcc", "reason": "the bcc in /x is PyPI's unrelated package, not …"}
OLD_BCC = {"python": "3.10.12", "code": "old-bcc", "reason": "BCC 0.18.0 is too old"}
DEBIAN = "ID=debian\n"
FEDORA = 'ID="rocky"\nID_LIKE="rhel centos fedora"\n'


@dataclass(frozen=True)
class MadeUp(Machine):
    """A machine of files in a folder, whose programs answer as they are told."""

    answers: Mapping[str, Answer] = field(default_factory=dict)
    pythons: tuple[str, ...] = ("/usr/bin/python3",)
    #: How the path ends of what others than root can change.
    writable: str | None = None

    def run(self, command: Sequence[str]) -> Answer:
        what = " ".join(command)
        for words, answer in self.answers.items():
            if words in what:
                return answer
        raise AssertionError(f"nobody expected {what}")

    def changeable(self, installed: Path) -> Path | None:
        return installed if str(installed).endswith(self.writable or "?") else None

    def interpreters(self, named: str | None) -> list[str]:
        named = named or self.environ.get("EXECPROBE_PYTHON")
        if named == "/nonexistent":
            raise ProbeUnavailable(f"execprobe: {named} is no program (…)")
        return [named] if named else list(self.pythons)

    def write(self, path: str, text: str | None) -> None:
        """Text is a file, ``-> TEXT`` a link, None nothing."""
        place = self.root / path
        place.unlink(missing_ok=True)
        if text is not None:
            place.parent.mkdir(parents=True, exist_ok=True)
            if text.startswith("-> "):
                place.symlink_to(text[3:])
            else:
                place.write_text(text)
                place.chmod(0o755)

    def answering(self, **answers: Answer) -> MadeUp:
        known = {"bpf": "check.py bpf", "check": "check.py", "sudo": "sudo -n -l", "version": "sudo -V"}
        return replace(self, answers={**self.answers, **{known[name]: answer for name, answer in answers.items()}})


Build = Callable[..., MadeUp]


def says(data: object) -> Answer:
    return Answer(0, json.dumps(data))


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """Makes a machine that lacks nothing, save for what is said to be otherwise: ``files`` by their paths."""

    def build(
        files: Mapping[str, str | None] = {},
        *,
        effective: int = ALL,
        ambient: int = 0,
        bounding: int = ALL,
        status: str = "",
        **facts: object,
    ) -> MadeUp:
        defaults: dict[str, object] = {
            "environ": {"PATH": "/usr/bin:/bin"},
            "release": "6.1.0-18-amd64",
            "architecture": "x86_64",
            "uid": 0,
            "gid": 0,
            "cpus": 4,
            "page": 4096,
            "locked_memory": 8 << 20,
            "open_files": 1 << 20,
        }
        made = MadeUp(root=tmp_path, **{**defaults, **facts})  # type: ignore[arg-type]
        symbols = ["__traceiter_" + name for name in ("task_newtask", "task_rename")]
        symbols += ["__tracepoint_sched_process_exec", "__traceiter_sched_process_exit", "perf_syscall_enter"]
        capabilities = f"CapEff:\t{effective:016x}\nCapBnd:\t{bounding:016x}\nCapAmb:\t{ambient:016x}\n"
        healthy: dict[str, str | None] = {
            "proc/kallsyms": "".join(f"0000000000000000 T {name}\n" for name in symbols),
            "proc/self/status": f"Name:\tpython\nSeccomp:\t0\nNoNewPrivs:\t0\n{capabilities}{status}",
            "proc/self/uid_map": "         0          0 4294967295\n",
            "proc/self/mounts": "tracefs /sys/kernel/tracing tracefs rw 0 0\n",
            "proc/self/timens_offsets": "monotonic           0         0\nboottime            0         0\n",
            "proc/self/ns/user": "-> user:[4026531837]",
            "proc/self/ns/pid": "-> pid:[4026531836]",
            "proc/self/ns/time": "-> time:[4026531834]",
            "proc/filesystems": "nodev\ttracefs\n\text4\n",
            "proc/sys/kernel/unprivileged_bpf_disabled": "2\n",
            "proc/sys/kernel/perf_event_mlock_kb": "516\n",
            "proc/sys/kernel/perf_event_paranoid": "2\n",
            "proc/sys/kernel/pid_max": "32768\n",
            "sys/bus/event_source/devices/kprobe/type": "8\n",
            "sys/kernel/btf/vmlinux": "BTF",
            "sys/kernel/security/lockdown": "[none] integrity confidentiality\n",
            "etc/os-release": DEBIAN,
            "etc/passwd": "root:x:0:0:root:/root:/bin/sh\ntester:x:1000:1000::/home/tester:/bin/sh\n",
            "usr/bin/sudo": "",
            "usr/bin/apt-get": "",
        }
        for path, text in {**healthy, **files}.items():
            made.write(path, text)
        return made.answering(
            bpf=says({"error": "EINVAL"}),
            check=says(WITH_BCC),
            sudo=Answer(0, "/usr/bin/python3 …\n"),
            version=Answer(0, "Sudo version 1.9.13p3\n"),
        )

    return build


def the(findings: Sequence[Diagnosis], check: str) -> Diagnosis:
    """The last finding of a check: if there are several, it sums up."""
    return [finding for finding in findings if finding.check == check][-1]


def broken(finding: Diagnosis, *words: str, mend: str) -> None:
    """Asserts that it is not ok, for this reason, and that this mends it."""
    told(finding, "not ok", *words, mend=mend)


def told(finding: Diagnosis, status: str, *words: str, mend: str | None = None) -> None:
    assert finding.status == status, finding
    for word in words:
        assert word in finding.found, finding
    if mend is None:
        assert finding.remedy is None, finding
    else:
        assert mend in (finding.remedy or ""), finding


# ---- as it should be ----


def proven(_: HelperSettings) -> Proof:
    return Proof(ok("proof", "a probe was loaded"), {"bcc": "0.26.0"})


def refused(_: HelperSettings) -> Proof:
    return Proof(bad("proof", "the kernel refused a BPF map", "please report this"), {})


def test_a_machine_that_lacks_nothing(build: Build) -> None:
    examination = examine(build(), None, prove=proven)
    assert {finding.status for finding in examination.findings if finding.check != "extras"} == {"ok"}
    assert examination.findings[-1].check == "proof"
    assert examination.ok
    assert examination.versions["kernel"] == "6.1.0-18-amd64"
    assert examination.versions["bcc"] == "0.26.0"
    assert examination.versions["helper_python"] == "3.11.2"


def test_whatever_is_not_ok_has_a_remedy(build: Build) -> None:
    """On a machine that has nothing at all."""
    files = dict.fromkeys(
        (
            "proc/kallsyms",
            "proc/self/mounts",
            "proc/filesystems",
            "sys/kernel/btf/vmlinux",
            "usr/bin/sudo",
            "etc/passwd",
        )
    )
    machine = build(files, release="4.19.0", architecture="s390x", effective=0, uid=1000, open_files=4)
    machine = machine.answering(check=says(WITHOUT_BCC), bpf=says({"error": "ENOSYS"}))
    examination = examine(machine, None, prove=refused)
    wrong = [finding for finding in examination.findings if finding.status == "not ok"]
    assert {finding.check for finding in wrong} == {"kernel", "bpf", "btf", "bcc", "privilege", "files", "proof"}
    assert all(finding.remedy for finding in wrong)
    assert wrong[-1].remedy == "fix what is not ok above: kernel, bpf, btf, bcc, privilege, files"
    assert not examination.ok


def test_what_the_proof_refutes_is_a_note(build: Build) -> None:
    examination = examine(build({"sys/kernel/btf/vmlinux": None}), None, prove=proven)
    told(
        the(examination.findings, "btf"), "note", "not there", "the probe works all the same", mend="CONFIG_DEBUG_INFO"
    )
    assert examination.ok


def test_a_proof_that_fails_with_no_cause_known_keeps_its_own_remedy(build: Build) -> None:
    examination = examine(build(), None, prove=refused)
    broken(examination.findings[-1], "refused a BPF map", mend="please report this")
    assert not examination.ok


# ---- the kernel ----


def test_an_old_kernel(build: Build) -> None:
    findings = list(kernel(build(release="5.4.0-42-generic")))
    broken(the(findings, "kernel"), "5.4.0", "5.8 or later is needed", mend="boot Linux 5.8 or later")


@pytest.mark.parametrize("release", ["5.8.0", "5.10.0-28-amd64", "6.18.44"])
def test_new_enough_kernels(build: Build, release: str) -> None:
    told(the(list(kernel(build(release=release))), "kernel"), "ok", release)


def test_a_kernel_without_a_number(build: Build) -> None:
    told(the(list(kernel(build(release="custom"))), "kernel"), "note", "is not known")


def test_a_machine_that_is_not_tested(build: Build) -> None:
    told(the(list(kernel(build(architecture="aarch64"))), "architecture"), "note", "aarch64 is not tested")


def test_a_kernel_without_bpf(build: Build) -> None:
    machine = build().answering(bpf=says({"error": "ENOSYS"}))
    broken(the(list(bpf(machine)), "bpf"), "no bpf(2)", mend="CONFIG_BPF_SYSCALL=y")


@pytest.mark.parametrize("error", ["EPERM", "ENOSYS"])
def test_a_filter_of_system_calls(build: Build, error: str) -> None:
    machine = build({"proc/self/status": f"Seccomp:\t2\nCapEff:\t{ALL:x}\n"}).answering(bpf=says({"error": error}))
    findings = list(bpf(machine))
    broken(the(findings, "bpf"), "a seccomp filter on this process refuses", mend="seccomp=unconfined")
    told(the(findings, "seccomp"), "note", "seccomp filter is on")


def test_a_filter_that_kills(build: Build) -> None:
    machine = build({"proc/self/status": "Seccomp:\t2\n"}).answering(bpf=Answer(-signal.SIGSYS))
    broken(the(list(bpf(machine)), "bpf"), "ends whoever calls bpf(2)", mend="without the filter")


def test_a_filter_that_lets_bpf_through(build: Build) -> None:
    machine = build({"proc/self/status": f"Seccomp:\t2\nCapEff:\t{ALL:x}\n"})
    told(the(list(bpf(machine)), "bpf"), "ok")


def test_a_refusal_without_a_filter(build: Build) -> None:
    machine = build().answering(bpf=says({"error": "EPERM"}))
    broken(the(list(bpf(machine)), "bpf"), "although this process has the capability", mend="dmesg")


def test_a_refusal_to_a_user_is_as_it_should_be(build: Build) -> None:
    machine = build(effective=0, uid=1000).answering(bpf=says({"error": "EPERM"}))
    told(the(list(bpf(machine)), "bpf"), "ok", "for those with privilege", "unprivileged_bpf_disabled is 2")


def test_a_kernel_without_btf(build: Build) -> None:
    machine = build({"sys/kernel/btf/vmlinux": None})
    broken(
        the(list(btf(machine, search(machine, None))), "btf"), "vmlinux is not there", mend="CONFIG_DEBUG_INFO_BTF=y"
    )


def test_a_btf_that_lacks_a_member(build: Build) -> None:
    said = "the kernel's struct task_struct has no member tgid"
    machine = build().answering(check=says({key: WITH_BCC[key] for key in ("python", "bcc", "folder")} | {"btf": said}))
    broken(the(list(btf(machine, search(machine, None))), "btf"), said, mend="boot a kernel of your distribution")


def test_a_libbpf_that_is_not_there(build: Build) -> None:
    found = {key: WITH_BCC[key] for key in ("python", "bcc", "folder")}
    machine = build().answering(check=says({**found, "btf": "libbpf, which BCC brings along, is not there"}))
    finding = the(list(btf(machine, search(machine, None))), "btf")
    broken(finding, "libbpf", mend="apt-get install libbpf1")


def test_btf_where_nobody_can_be_asked(build: Build) -> None:
    machine = build().answering(check=says(WITHOUT_BCC))
    told(the(list(btf(machine, search(machine, None))), "btf"), "ok", "only BCC's Python shows")


# ---- attach points ----


def symbols(*names: str) -> dict[str, str | None]:
    return {"proc/kallsyms": "".join(f"0000000000000000 T {name}\n" for name in names)}


FOUR = tuple(
    "__traceiter_" + name for name in ("task_newtask", "task_rename", "sched_process_exec", "sched_process_exit")
)
NO_KPROBES: dict[str, str | None] = {"sys/bus/event_source/devices/kprobe/type": None}
NO_TRACEFS: dict[str, str | None] = {"proc/self/mounts": "", "proc/filesystems": "\text4\n"}


def points(machine: Machine, can_mount: bool | None = True) -> list[Diagnosis]:
    return list(attach_points(AttachPoints(machine), can_mount))


def test_a_kernel_that_lacks_tracepoints(build: Build) -> None:
    finding = the(points(build(symbols(*FOUR[1:]))), "tracepoints")
    broken(finding, "no task_newtask", mend="CONFIG_TRACEPOINTS")
    # A name that only contains it is another.
    finding = the(points(build(symbols(*FOUR[1:], "__traceiter_task_newtask_other"))), "tracepoints")
    broken(finding, "no task_newtask", mend="CONFIG_TRACEPOINTS")


def test_symbols_that_can_not_be_read(build: Build) -> None:
    findings = points(build({"proc/kallsyms": None}))
    told(the(findings, "tracepoints"), "note", "the proof below shows")
    assert "entry" not in [finding.check for finding in findings]


def test_nothing_that_tells_when_an_exec_begins(build: Build) -> None:
    finding = the(points(build({**symbols(*FOUR), **NO_KPROBES})), "entry")
    broken(finding, "nothing in this kernel shows", mend="CONFIG_KPROBES=y")


def test_only_system_call_tracepoints_tell_when_an_exec_begins(build: Build) -> None:
    machine = build({**symbols(*FOUR, "perf_syscall_enter"), **NO_KPROBES})
    told(the(points(machine), "entry"), "note", "every system call", mend="CONFIG_KPROBES=y")
    told(the(points(machine), "tracefs"), "ok", "mounted at /sys/kernel/tracing", "needed to see an execve begin")


def test_a_new_kernel_without_kprobes(build: Build) -> None:
    machine = build({**symbols(*FOUR, "__traceiter_sched_prepare_exec"), **NO_KPROBES})
    told(the(points(machine), "entry"), "ok", "sched_prepare_exec")
    told(the(points(machine), "attempts"), "note", "no kprobes", "only where a test reads them")
    told(the(points(machine), "tracefs"), "ok", "needed only for failed attempts")


def test_neither_kprobes_nor_tracefs(build: Build) -> None:
    machine = build({**symbols(*FOUR, "__traceiter_sched_prepare_exec"), **NO_KPROBES, **NO_TRACEFS})
    told(the(points(machine), "attempts"), "note", "can't be recorded")
    told(the(points(machine), "tracefs"), "note", "the kernel has none", mend="CONFIG_FTRACE=y")


def test_tracefs_that_the_helper_will_mount(build: Build) -> None:
    told(the(points(build({"proc/self/mounts": ""})), "tracefs"), "ok", "not mounted", "for itself alone")


def test_tracefs_that_the_helper_can_not_mount(build: Build) -> None:
    machine = build({"proc/self/mounts": ""})
    mount = "mount -t tracefs tracefs /sys/kernel/tracing"
    told(the(points(machine, can_mount=False), "tracefs"), "note", "without CAP_SYS_ADMIN", mend=mount)


def test_tracefs_that_is_needed_and_can_not_be_mounted(build: Build) -> None:
    machine = build({**symbols(*FOUR, "perf_syscall_enter"), **NO_KPROBES, "proc/self/mounts": ""})
    broken(the(points(machine, can_mount=False), "tracefs"), "needed to see an execve begin", mend="mount -t tracefs")


# ---- BCC ----


def of_bcc(machine: Machine, named: str | None = None) -> list[Diagnosis]:
    return list(bcc(machine, search(machine, named), named))


@pytest.mark.parametrize(
    ("release", "program", "uid", "command"),
    [
        (DEBIAN, "apt-get", 0, "apt-get install python3-bpfcc"),
        (DEBIAN, "apt-get", 1000, "sudo apt-get install python3-bpfcc"),
        (FEDORA, "dnf", 0, "dnf install python3-bcc"),
        ("ID=linuxmint\nID_LIKE='ubuntu debian'\n", "apt-get", 1000, "sudo apt-get install python3-bpfcc"),
        ("ID=unheard-of\n", "dnf", 0, "dnf install python3-bcc"),
        ("ID=arch\n", "pacman", 0, "install your distribution's package of BCC with its Python module"),
    ],
)
def test_no_bcc(build: Build, release: str, program: str, uid: int, command: str) -> None:
    files: dict[str, str | None] = {"usr/bin/apt-get": None, f"usr/bin/{program}": "", "etc/os-release": release}
    machine = build(files, uid=uid).answering(check=says(WITHOUT_BCC))
    finding = the(of_bcc(machine), "bcc")
    broken(finding, "no Python with BCC was found", mend=command)
    assert (finding.remedy or "").startswith(command)


def test_no_bcc_and_no_sudo(build: Build) -> None:
    machine = build({"usr/bin/sudo": None}, uid=1000).answering(check=says(WITHOUT_BCC))
    broken(the(of_bcc(machine), "bcc"), mend="as root: apt-get install python3-bpfcc")


def test_each_python_that_was_asked_is_told_with_what_it_said(build: Build) -> None:
    machine = build(pythons=("/usr/bin/python3", "/usr/local/bin/python3", "/venv/bin/python"))
    machine = machine.answering(check=says(WITHOUT_BCC))
    findings = of_bcc(machine)
    assert [finding.found.partition(" (")[0] for finding in findings[:3]] == list(machine.pythons)
    assert all("no usable module bcc" in finding.found for finding in findings[:3])
    broken(findings[3], "none of these has BCC", mend="apt-get install python3-bpfcc")


def test_the_first_python_with_bcc_is_the_last_that_is_asked(build: Build) -> None:
    machine = build(pythons=("/usr/local/bin/python3", "/usr/bin/python3", "/venv/bin/python"))
    machine = replace(machine, answers={"/usr/local/bin/python3": says(WITHOUT_BCC), **machine.answers})
    passed_over, taken = of_bcc(machine)
    told(passed_over, "note", "/usr/local/bin/python3 (Python 3.11.7)", "no usable module bcc")
    told(taken, "ok", "/usr/bin/python3 (Python 3.11.2) has BCC 0.26.0")


def test_pypis_bcc_beside_the_systems(build: Build) -> None:
    machine = build(pythons=("/usr/bin/python3", "/venv/bin/python"), uid=1000).answering(check=says(PYPIS_BCC))
    of_system, of_venv, finding = of_bcc(machine)
    assert of_system.status == of_venv.status == "note"
    assert of_system.remedy == "sudo /usr/bin/python3 -m pip uninstall bcc"
    assert of_venv.remedy == "/venv/bin/python -m pip uninstall bcc"
    broken(finding, "none of these", mend="apt-get install python3-bpfcc")


def test_pypis_bcc_where_pip_is_to_keep_out(build: Build) -> None:
    machine = build({"usr/lib/python3.11/EXTERNALLY-MANAGED": ""}, uid=1000).answering(check=says(PYPIS_BCC))
    told(
        of_bcc(machine)[0],
        "note",
        mend="sudo /usr/bin/python3 -m pip uninstall bcc --break-system-packages",
    )


def test_an_old_bcc_ends_the_search(build: Build) -> None:
    machine = build(pythons=("/usr/bin/python3", "/venv/bin/python")).answering(check=says(OLD_BCC))
    old, finding = of_bcc(machine)
    told(old, "note", "BCC 0.18.0 is too old")
    broken(finding, mend="Debian 12, Ubuntu 24.04")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(1, "", "Traceback …\nSyntaxError: invalid syntax\n"), "SyntaxError: invalid syntax"),
        (Answer(1), "it ended with status 1"),
        (Answer(-11), "it was ended by signal 11"),
        (Answer(None, err="it can't be run: Permission denied"), "Permission denied"),
        (Answer(0, "hello\n"), "hello"),
        (Answer(0, "[1]\n"), "[1]"),
    ],
)
def test_what_is_no_python(build: Build, answer: Answer, words: str) -> None:
    machine = build().answering(check=answer)
    said, finding = of_bcc(machine)
    told(said, "note", "it runs no Python", words)
    broken(finding, mend="python3-bpfcc")


def test_a_named_python_without_bcc(build: Build) -> None:
    machine = build().answering(check=says(WITHOUT_BCC))
    said, finding = of_bcc(machine, "/venv/bin/python")
    told(said, "note", "/venv/bin/python (Python 3.11.7)")
    broken(finding, "the Python that --python names can't run the helper", mend="leave --python out")


@pytest.mark.parametrize(
    ("path", "said"), [("/venv/bin/python", "EXECPROBE_PYTHON names"), ("/nonexistent", "no program")]
)
def test_a_python_named_by_the_environment(build: Build, path: str, said: str) -> None:
    machine = build(environ={"PATH": "/usr/bin", "EXECPROBE_PYTHON": path}).answering(check=says(WITHOUT_BCC))
    broken(the(of_bcc(machine), "bcc"), said, mend="unset EXECPROBE_PYTHON")


def test_no_python_at_all(build: Build) -> None:
    broken(the(of_bcc(build(pythons=())), "bcc"), "no Python with BCC", mend="python3-bpfcc")


# ---- privilege ----


def way(machine: Machine) -> Route:
    return route(machine, search(machine, None))


def test_root(build: Build) -> None:
    found = way(build())
    told(found.finding, "ok", "root")
    assert found.can_mount is True


@pytest.mark.parametrize(
    ("lacking", "named"),
    [
        (BPF | SYS_ADMIN, "CAP_BPF"),
        (PERFMON | SYS_ADMIN, "CAP_PERFMON"),
        (SETUID, "CAP_SETUID"),
        (SETGID, "CAP_SETGID"),
        (ALL, "CAP_BPF, CAP_PERFMON, CAP_SETUID, CAP_SETGID"),
    ],
)
def test_root_without_a_capability(build: Build, lacking: int, named: str) -> None:
    found = way(build(effective=ALL & ~lacking))
    broken(found.finding, f"root, but without {named}", mend="docker run --cap-add BPF --cap-add PERFMON")
    assert found.can_mount is None


def test_root_with_sys_admin_needs_no_more(build: Build) -> None:
    told(way(build(effective=SYS_ADMIN | SETUID | SETGID)).finding, "ok")


def test_ambient_capabilities(build: Build) -> None:
    have = BPF | PERFMON | DAC_READ_SEARCH
    found = way(build(uid=1000, effective=have, ambient=have))
    told(found.finding, "ok", "user 1000 with ambient capabilities")
    assert found.can_mount is False


def test_capabilities_that_are_not_passed_on(build: Build) -> None:
    found = way(build(uid=1000, gid=1000, effective=BPF | PERFMON))
    setpriv = "sudo setpriv --reuid 1000 --regid 1000 --init-groups --inh-caps +bpf,+perfmon"
    broken(found.finding, "CAP_BPF, CAP_PERFMON not as ambient ones", mend=setpriv)


def test_one_capability_of_two(build: Build) -> None:
    broken(way(build(uid=1000, effective=BPF, ambient=BPF)).finding, "without CAP_PERFMON", mend="--ambient-caps")


def test_no_look_at_tracefs(build: Build) -> None:
    have = BPF | PERFMON
    told(way(build(uid=1000, effective=have, ambient=have)).finding, "note", "CAP_DAC_READ_SEARCH", mend="setpriv")


def test_sudo(build: Build) -> None:
    told(way(build(uid=1000, effective=0)).finding, "ok", "/usr/bin/sudo starts the helper without a password")


def test_no_sudo(build: Build) -> None:
    found = way(build({"usr/bin/sudo": None}, uid=1000, effective=0))
    broken(found.finding, "user 1000 has no privilege to probe, and there is no sudo", mend="run pytest as root\n")
    assert "as root: apt-get install sudo" in (found.finding.remedy or "")


def test_sudo_that_wants_a_password(build: Build) -> None:
    machine = build(uid=1000, effective=0).answering(sudo=Answer(1, "", "sudo: a password is required\n"))
    found = way(machine)
    broken(found.finding, "(sudo: a password is required)", mend="sudo -v ")
    *_, line = (found.finding.remedy or "").splitlines()
    assert line.startswith("tester ALL=(root) NOPASSWD: /usr/bin/python3 ^-I -B /")
    assert line.endswith("$")
    assert "(auto|always|kprobe|tracepoint|off)" in line
    assert "|1024|2048))?$" in line
    assert "execprobe serve" in (found.finding.remedy or "")


@pytest.mark.parametrize(
    "writable",
    ["pytest_execprobe/helper", "bpf", "/usr/bin/python3", "dist-packages/bcc", "local/lib/python3.11/dist-packages"],
)
def test_sudo_for_what_others_than_root_can_change(build: Build, writable: str) -> None:
    """Whoever could would be root."""
    machine = build(uid=1000, effective=0, writable=writable).answering(sudo=Answer(1, "", "sudo: a password …\n"))
    finding = way(machine).finding
    broken(finding, mend="have root install it where root alone can write (not so: /")
    assert "execprobe serve" in (finding.remedy or "")
    assert "NOPASSWD" not in (finding.remedy or "")
    assert "visudo" not in (finding.remedy or "")


def test_what_root_alone_can_change(tmp_path: Path) -> None:
    machine = Machine()
    assert machine.changeable(Path("/usr/bin/env")) is None
    assert machine.changeable(tmp_path) is not None
    sticky = next(folder for folder in (*reversed(tmp_path.parents), tmp_path) if folder.stat().st_mode & 0o022)
    assert machine.changeable(tmp_path) == sticky  # others can't rename what is in it, until it is removed as too old


@pytest.mark.parametrize("change", ["owner", "group", "others", "a file in it", "nothing there"])
def test_what_anyone_else_can_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    """Where all above it is root's."""
    installed = tmp_path / "installed"
    (installed / "deep").mkdir(parents=True, mode=0o755)
    target = installed / "deep/file"
    target.touch(mode=0o644)
    installed.chmod(0o755)
    monkeypatch.setattr(machine_module, "_way_to", lambda path: [path])
    monkeypatch.setattr(machine_module.os, "access", lambda *_: False)
    real, others = os.lstat, {target} if change == "owner" else set()
    monkeypatch.setattr(
        machine_module.os,
        "lstat",
        lambda path: types.SimpleNamespace(st_mode=real(path).st_mode, st_uid=1000 if path in others else 0),
    )
    if change != "owner":
        assert Machine().changeable(installed) is None
    if change == "nothing there":
        target = installed / "nothing"
        assert Machine().changeable(target) == target
        return
    if change == "group":
        target.parent.chmod(0o775)
        target = target.parent
    elif change == "others":
        installed.chmod(0o757)
        target = installed
    elif change == "a file in it":
        target.chmod(0o666)
    assert Machine().changeable(installed) == target


def test_links_on_the_way_count_with_all_that_they_lead_through(tmp_path: Path) -> None:
    (tmp_path / "real/inner").mkdir(parents=True)
    (tmp_path / "middle").symlink_to("real")
    (tmp_path / "far").mkdir()
    (tmp_path / "far/link").symlink_to(tmp_path / "middle/inner")
    way = list(machine_module._way_to(tmp_path / "far/link/file"))
    for part in ("far", "far/link", "middle", "real", "real/inner", "real/inner/file"):
        assert tmp_path / part in way, part
    (tmp_path / "round").symlink_to("round")
    assert len(list(machine_module._way_to(tmp_path / "round/file"))) < 1000


def test_a_sudo_that_knows_no_regular_expressions(build: Build) -> None:
    machine = build(uid=1000, effective=0)
    machine = machine.answering(sudo=Answer(1), version=Answer(0, "Sudo version 1.9.5p2\n"))
    broken(way(machine).finding, "it does not allow that", mend="docs/privilege.md")
    assert "NOPASSWD" not in (way(machine).finding.remedy or "")


def test_sudo_for_a_user_whom_nobody_knows(build: Build) -> None:
    machine = build(uid=4711, effective=0).answering(
        sudo=Answer(1, "", "sudo: you do not exist in the passwd database\n")
    )
    broken(way(machine).finding, "no user of this machine has that number", mend="useradd --uid 4711")


def test_a_process_that_may_gain_no_privilege(build: Build) -> None:
    machine = build({"proc/self/status": "NoNewPrivs:\t1\n"}, uid=1000)
    broken(way(machine).finding, "no_new_privs", mend="allowPrivilegeEscalation: true")


def test_a_sudo_that_gives_less_than_root(build: Build) -> None:
    machine = build(uid=1000, effective=0, bounding=SETUID | SETGID)
    broken(way(machine).finding, "sudo gives root without CAP_BPF, CAP_PERFMON", mend="docker run --cap-add BPF")


@pytest.mark.parametrize(
    ("text", "status"),
    [("[none] integrity confidentiality", "ok"), ("none [integrity] confidentiality", "ok"), (None, "ok")],
)
def test_lockdowns_that_do_not_matter(build: Build, text: str | None, status: str) -> None:
    told(the(list(lockdown(build({"sys/kernel/security/lockdown": text}))), "lockdown"), status)


def test_a_lockdown_that_forbids_to_read(build: Build) -> None:
    machine = build({"sys/kernel/security/lockdown": "none integrity [confidentiality]"})
    broken(the(list(lockdown(machine)), "lockdown"), "confidentiality", mend="boot without lockdown=confidentiality")


# ---- containers and namespaces ----


@pytest.mark.parametrize(
    ("files", "environ", "sign"),
    [
        ({".dockerenv": ""}, {}, "/.dockerenv"),
        ({"run/.containerenv": ""}, {}, "/run/.containerenv"),
        ({}, {"container": "lxc"}, "$container is lxc"),
        ({}, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "Kubernetes"),
        ({"proc/1/cgroup": "0::/kubepods/besteffort/pod1/abc\n"}, {}, "kubepods"),
        ({"proc/1/cgroup": "12:pids:/docker/0123\n"}, {}, "docker"),
        ({"proc/1/environ": "A=b\0container=lxc\0"}, {}, "init's $container is lxc"),
    ],
)
def test_signs_of_a_container(build: Build, files: dict[str, str | None], environ: dict[str, str], sign: str) -> None:
    told(the(list(container(build(files, environ={"PATH": "/usr/bin", **environ}))), "container"), "note", sign)


def test_no_sign_of_a_container(build: Build) -> None:
    machine = build({"proc/1/cgroup": "0::/init.scope\n", "proc/1/environ": "PATH=/bin\0xcontainer=1\0"})
    told(the(list(container(machine)), "container"), "ok")


@pytest.mark.parametrize(
    "files",
    [{"proc/self/uid_map": "         0       1000          1\n"}, {"proc/self/ns/user": "-> user:[4026532400]"}],
)
def test_a_user_namespace(build: Build, files: dict[str, str | None]) -> None:
    broken(the(list(namespaces(build(files))), "user-namespace"), "root's included", mend="run it outside")


def test_a_pid_namespace(build: Build) -> None:
    machine = build({"proc/self/ns/pid": "-> pid:[4026532400]"})
    told(the(list(namespaces(machine)), "pid-namespace"), "ok", "numbers that are seen in here")


def test_a_time_namespace(build: Build) -> None:
    machine = build(
        {
            "proc/self/ns/time": "-> time:[4026532400]",
            "proc/self/timens_offsets": "monotonic        1000         0\nboottime            0         0\n",
        }
    )
    broken(the(list(namespaces(machine)), "time-namespace"), "shifted by 1000 s", mend="outside of the time namespace")


@pytest.mark.parametrize(
    "files",
    [
        {"proc/self/ns/time": "-> time:[4026532400]"},  # with no shift
        {"proc/self/timens_offsets": "monotonic 1000 0\nboottime 0 0\n"},  # only children will be in it
        {"proc/self/timens_offsets": None, "proc/self/ns/time": None},  # a kernel without
    ],
)
def test_time_namespaces_that_do_not_matter(build: Build, files: dict[str, str | None]) -> None:
    told(the(list(namespaces(build(files))), "time-namespace"), "ok")


# ---- other processes ----


@pytest.mark.parametrize("hidepid", ["1", "2", "4", "noaccess", "invisible", "ptraceable"])
def test_proc_that_hides_processes(build: Build, hidepid: str) -> None:
    machine = build({"proc/self/mounts": f"proc /proc proc rw 0 0\nproc /proc proc rw,gid=7,hidepid={hidepid} 0 0\n"})
    told(the(list(processes(machine, True)), "processes"), "ok", "hidepid", "for itself alone")
    for can_mount in (False, None):
        told(
            the(list(processes(machine, can_mount)), "processes"),
            "note",
            "hidepid",
            "can't be found",
            mend="hidepid=0 /proc",
        )


@pytest.mark.parametrize("options", ["rw", "rw,hidepid=0", "rw,hidepid=off", "rw,gid=7"])
def test_proc_that_shows_all_processes(build: Build, options: str) -> None:
    mounts = f"proc /proc proc rw,hidepid=2 0 0\nproc /proc proc {options} 0 0\nproc /mnt proc rw,hidepid=2 0 0\n"
    told(the(list(processes(build({"proc/self/mounts": mounts}), False)), "processes"), "ok", "all users")


# ---- limits ----


def test_buffers_that_fit(build: Build) -> None:
    told(the(list(limits(build(), ALL)), "buffers"), "ok", "8.0 MiB", "no limit")
    told(the(list(limits(build(), 0)), "buffers"), "ok", "10.0 MiB may be locked")
    told(the(list(limits(build(cpus=64, locked_memory=None), 0)), "buffers"), "ok", "64 CPUs, 128.8 MiB")


def test_buffers_that_do_not_fit(build: Build) -> None:
    finding = the(list(limits(build(cpus=64), BPF | PERFMON)), "buffers")
    broken(finding, "128.8 MiB, but only 40.2 MiB may be locked", mend="--execprobe-buffer-pages=128 ")
    # What is recommended is enough.
    assert (64 * 1932 + 8192) * 1024 >= 64 * (512 + 3) * 4096
    assert "sysctl kernel.perf_event_mlock_kb=1932" in (finding.remedy or "")


def test_buffers_where_nobody_minds(build: Build) -> None:
    machine = build({"proc/sys/kernel/perf_event_paranoid": "-1\n"}, cpus=64)
    told(the(list(limits(machine, IPC_LOCK)), "buffers"), "ok")
    told(the(list(limits(machine, BPF)), "buffers"), "ok")


def test_few_files(build: Build) -> None:
    broken(the(list(limits(build(open_files=40), ALL)), "files"), "40 files", "needs 56", mend="ulimit -n 568")
    told(the(list(limits(build(open_files=256), ALL)), "files"), "note", "100 processes", mend="ulimit -n 568")
    told(the(list(limits(build(open_files=1024), ALL)), "files"), "ok", "1024")
    told(the(list(limits(build(open_files=None), ALL)), "files"), "ok", "any number")


def test_pids(build: Build) -> None:
    told(the(list(limits(build(), ALL)), "pids"), "ok", "32768 (pid_max)")
    assert "pids" not in [finding.check for finding in limits(build({"proc/sys/kernel/pid_max": "many"}), ALL)]


# ---- the installation ----


def test_missing_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "version_of", lambda name: None if name == "rich" else "1.0")
    finding = the(list(installation.installation()), "extras")
    told(finding, "note", "without rich: no colour", mend="-m pip install rich")
    assert "jinja2" not in finding.found


def test_a_lost_source(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> Path:
        raise ProbeUnavailable("execprobe: its BPF source, bpf/execprobe.c, is missing")

    monkeypatch.setattr(installation, "bpf_folder", missing)
    broken(the(list(installation.installation()), "plugin"), "bpf/execprobe.c, is missing", mend="--force-reinstall")


# ---- the proof ----


def proof_with(source: FakeSource, *during: Callable[[], object]) -> Diagnosis:
    source.meanwhile = lambda: [do() for do in during]
    return prove(HelperSettings(), start=lambda _: source, run=lambda _: None, command=["/usr/bin/true"]).finding


def test_a_proof() -> None:
    source = FakeSource()
    told(proof_with(source, lambda: source.runs("true")), "ok", "saw a program run: /usr/bin/true, and nothing else")
    assert source.closed


def test_a_proof_that_sees_nothing() -> None:
    broken(proof_with(FakeSource()), "of /usr/bin/true it saw nothing", mend="report this")


def test_a_proof_that_sees_too_much() -> None:
    source = FakeSource()
    finding = proof_with(source, lambda: source.runs("true"), lambda: source.runs("sh"))
    broken(finding, "it saw /usr/bin/true, then /usr/bin/sh", mend="report this")


def test_a_proof_that_sees_another_program() -> None:
    source = FakeSource()
    broken(proof_with(source, lambda: source.runs("false")), "it saw /usr/bin/false", mend="report this")


def test_failed_attempts_do_not_disturb_a_proof() -> None:
    source = FakeSource()
    told(proof_with(source, lambda: source.runs("true", error="ENOENT"), lambda: source.runs("true")), "ok")


def test_a_proof_with_losses() -> None:
    source = FakeSource()
    broken(proof_with(source, lambda: source.runs("true", lost=True)), "it lost what it saw", mend="report this")
    source = FakeSource()
    source.unplaced = 1
    broken(proof_with(source, lambda: source.runs("true")), "it lost what it saw", mend="report this")
    source = FakeSource()
    source.under_way = 1
    broken(proof_with(source, lambda: source.runs("true")), "it lost what it saw", mend="report this")


def test_a_helper_that_dies_in_the_proof() -> None:
    source = FakeSource()
    source.broken = "it died"
    broken(proof_with(source), "the helper was lost: it died", mend="report this")
    assert source.closed


def test_a_program_that_can_not_be_run() -> None:
    def run(_: Sequence[str]) -> None:
        raise PermissionError(13, os.strerror(13))

    proof = prove(HelperSettings(), start=lambda _: FakeSource(), run=run, command=["/usr/bin/true"])
    broken(proof.finding, "/usr/bin/true could not be run: Permission denied", mend="/usr/bin/true")


def test_a_probe_that_can_not_be_had() -> None:
    def start(_: HelperSettings) -> FakeSource:
        raise ProbeUnavailable("execprobe: the kernel refused a BPF map: no. Fix: run as root")

    told(prove(HelperSettings(), start=start).finding, "not ok", "the kernel refused a BPF map: no", mend="run as root")


# ---- what is shown ----

FINDINGS = (
    ok("kernel", "Linux 6.1"),
    note("container", "this looks like one\x1b[31m"),
    bad("bcc", "none", "apt-get install python3-bpfcc\nor else"),
    bad("proof", "no", "fix what is not ok above: bcc"),
)


def shown(examination: Examination, monkeypatch: pytest.MonkeyPatch, *, as_json: bool = False) -> int:
    monkeypatch.setattr(everything, "examine", lambda *_, **__: examination)
    return doctor.run(argparse.Namespace(python=None, json=as_json), Terminal("never"))


def test_a_text(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(Examination(FINDINGS, {}), monkeypatch) == 1
    assert capsys.readouterr().out == (
        "ok      kernel     Linux 6.1\n"
        "note    container  this looks like one\\x1b[31m\n"
        "not ok  bcc        none\n"
        "                   -> apt-get install python3-bpfcc\n"
        "                   -> or else\n"
        "not ok  proof      no\n"
        "                   -> fix what is not ok above: bcc\n"
        "\n"
        "There can be no probe here, for this user. Fix what is not ok (bcc), then run execprobe doctor again.\n"
    )


def test_a_text_of_success(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(Examination((*FINDINGS[:2], ok("proof", "seen")), {}), monkeypatch) == 0
    assert capsys.readouterr().out.endswith("\nThis machine can probe, for this user. (1 note above)\n")


def test_a_text_where_the_proof_alone_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shown(Examination((FINDINGS[0], FINDINGS[3]), {}), monkeypatch) == 1
    assert "Fix what is not ok (proof)" in capsys.readouterr().out


@pytest.mark.parametrize("last", [ok("proof", "seen"), bad("proof", "no", "report this")])
def test_json(last: Diagnosis, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    status = shown(Examination((*FINDINGS[:3], last), {"bcc": None}), monkeypatch, as_json=True)
    data = json.loads(capsys.readouterr().out)
    assert data["ok"] is (last.status == "ok")
    assert status == (0 if data["ok"] else 1)
    assert data["versions"] == {"bcc": None}
    assert data["checks"][0] == {"check": "kernel", "status": "ok", "found": "Linux 6.1", "remedy": None}
    assert data["checks"][2]["remedy"] == "apt-get install python3-bpfcc\nor else"


def test_another_system(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    assert doctor.run(argparse.Namespace(python=None, json=False), Terminal("never")) == 1
    output = capsys.readouterr().out
    assert "not ok  kernel  this is darwin" in output
    assert "-> use Linux" in output


# ---- the machine itself ----


def test_a_machine_that_is_read(tmp_path: Path) -> None:
    machine = Machine(root=tmp_path, environ={"PATH": "relative:/bin:/sbin"})
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "tool").write_text("")
    assert machine.which("tool") is None  # it can't be executed
    (tmp_path / "bin" / "tool").chmod(0o755)
    assert machine.which("tool") == "/bin/tool"
    assert machine.read("/etc/missing") is None
    assert machine.number("/etc/missing") is None
    assert machine.standing("Seccomp") is None
    assert machine.capabilities("CapEff") == 0
    assert machine.packages is None
    assert machine.user is None


def test_this_machine_is_read() -> None:
    machine = Machine()
    assert machine.uid == os.geteuid()
    assert machine.standing("Uid") is not None
    assert machine.capabilities("CapBnd") >= machine.capabilities("CapEff")

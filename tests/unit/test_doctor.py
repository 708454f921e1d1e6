"""Each thing that ``execprobe doctor`` can find to be wrong, on machines that are made up."""

from __future__ import annotations

import argparse
import json
import os
import signal
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

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
    """A machine of files in a folder, whose programs give the answers of a test."""

    answers: Mapping[str, Answer] = field(default_factory=dict)
    pythons: tuple[str, ...] = ("/usr/bin/python3",)
    #: How the path ends of what others than root can change.
    writable: str | None = None

    def run(self, command: Sequence[str]) -> Answer:
        what = " ".join(command)
        for words, answer in self.answers.items():
            if words in what:
                return answer
        raise AssertionError(f"{what} is not expected")

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


def broken(finding: Diagnosis, *words: str, fix: str) -> None:
    """Asserts that it is not ok, for this reason, and that this fixes it."""
    finds(finding, "not ok", *words, fix=fix)


def finds(finding: Diagnosis, status: str, *words: str, fix: str | None = None) -> None:
    assert finding.status == status, finding
    for word in words:
        assert word in finding.found, finding
    if fix is None:
        assert finding.remedy is None, finding
    else:
        assert fix in (finding.remedy or ""), finding


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
    finds(
        the(examination.findings, "btf"), "note", "not there", "the probe works all the same", fix="CONFIG_DEBUG_INFO"
    )
    assert examination.ok


def test_a_proof_that_fails_with_no_cause_known_keeps_its_own_remedy(build: Build) -> None:
    examination = examine(build(), None, prove=refused)
    broken(examination.findings[-1], "refused a BPF map", fix="please report this")
    assert not examination.ok


# ---- one finding of one check ----

FOUR = tuple(
    "__traceiter_" + name for name in ("task_newtask", "task_rename", "sched_process_exec", "sched_process_exit")
)
NO_KPROBES: dict[str, str | None] = {"sys/bus/event_source/devices/kprobe/type": None}
NO_TRACEFS: dict[str, str | None] = {"proc/self/mounts": "", "proc/filesystems": "\text4\n"}
FILTERED: dict[str, str | None] = {"proc/self/status": f"Seccomp:\t2\nCapEff:\t{ALL:x}\n"}
NO_TASK = "the kernel's struct task_struct has no member tgid"
NO_LIBBPF = "libbpf, which BCC brings along, is not there"
SHIFTED = "monotonic 1000 0\nboottime 0 0\n"
MAY_PROBE = BPF | PERFMON


def symbols(*names: str) -> dict[str, str | None]:
    return {"proc/kallsyms": "".join(f"0000000000000000 T {name}\n" for name in names)}


def without_offsets(said: str) -> Answer:
    return says({key: WITH_BCC[key] for key in ("python", "bcc", "folder")} | {"btf": said})


def proc(*options: str) -> dict[str, str | None]:
    """Mounts of proc, one over the other."""
    return {"proc/self/mounts": "".join(f"proc /proc proc {option} 0 0\n" for option in options)}


def points(machine: Machine, can_mount: bool | None = True) -> list[Diagnosis]:
    return list(attach_points(AttachPoints(machine), can_mount))


def unmounted(machine: Machine) -> list[Diagnosis]:
    return points(machine, can_mount=False)


def of_btf(machine: Machine) -> Iterable[Diagnosis]:
    return btf(machine, search(machine, None))


def of_bcc(machine: Machine, named: str | None = None) -> list[Diagnosis]:
    return list(bcc(machine, search(machine, named), named))


def way(machine: Machine) -> Route:
    return route(machine, search(machine, None))


def privilege(machine: Machine) -> list[Diagnosis]:
    return [way(machine).finding]


def shown_processes(machine: Machine) -> Iterable[Diagnosis]:
    return processes(machine, can_mount=False)


def limits_of(capabilities: int) -> Look:
    return lambda machine: limits(machine, capabilities)


Look = Callable[[Machine], Iterable[Diagnosis]]
#: What is looked at, on which machine (``files`` and ``answers`` are what differs), and what is found.
FINDINGS_OF = [
    (kernel, {"release": "5.4.0-42-generic"},
     "kernel", "not ok", "5.4.0-42-generic is too old: 5.8 or later is needed|boot Linux 5.8 or"),
    (kernel, {"release": "5.8.0"}, "kernel", "ok", "5.8.0"),
    (kernel, {"release": "5.10.0-28-amd64"}, "kernel", "ok", "5.10.0-28-amd64"),
    (kernel, {"release": "6.18.44"}, "kernel", "ok", "6.18.44"),
    (kernel, {"release": "custom"}, "kernel", "note", "is not known"),
    (kernel, {"architecture": "aarch64"}, "architecture", "note", "aarch64 is not tested"),
    (bpf, {"answers": {"bpf": says({"error": "ENOSYS"})}}, "bpf", "not ok", "no bpf(2)|CONFIG_BPF_SYSCALL=y"),
    *(
        (bpf, {"files": FILTERED, "answers": {"bpf": says({"error": error})}}, check, status, said)
        for error in ("EPERM", "ENOSYS")
        for check, status, said in (
            ("bpf", "not ok", "a seccomp filter on this process refuses|seccomp=unconfined"),
            ("seccomp", "note", "seccomp filter is on"),
        )
    ),
    (bpf, {"files": {"proc/self/status": "Seccomp:\t2\n"}, "answers": {"bpf": Answer(-signal.SIGSYS)}},
     "bpf", "not ok", "ends whoever calls bpf(2)|without the filter"),
    (bpf, {"files": FILTERED}, "bpf", "ok", ""),
    (bpf, {"answers": {"bpf": says({"error": "EPERM"})}},
     "bpf", "not ok", "although this process has the capability|dmesg"),
    (bpf, {"effective": 0, "uid": 1000, "answers": {"bpf": says({"error": "EPERM"})}},
     "bpf", "ok", "for those with privilege (unprivileged_bpf_disabled is 2"),
    (of_btf, {"files": {"sys/kernel/btf/vmlinux": None}},
     "btf", "not ok", "vmlinux is not there|CONFIG_DEBUG_INFO_BTF=y"),
    (of_btf, {"answers": {"check": without_offsets(NO_TASK)}},
     "btf", "not ok", f"{NO_TASK}|boot a kernel of your distribution"),
    (of_btf, {"answers": {"check": without_offsets(NO_LIBBPF)}}, "btf", "not ok", "libbpf|apt-get install libbpf1"),
    (of_btf, {"answers": {"check": says(WITHOUT_BCC)}}, "btf", "ok", "only BCC's Python shows"),
    (points, {"files": symbols(*FOUR[1:])}, "tracepoints", "not ok", "no task_newtask|CONFIG_TRACEPOINTS"),
    # A name that only contains it is another.
    (points, {"files": symbols(*FOUR[1:], "__traceiter_task_newtask_other")},
     "tracepoints", "not ok", "no task_newtask|CONFIG_TRACEPOINTS"),
    (points, {"files": {**symbols(*FOUR), **NO_KPROBES}},
     "entry", "not ok", "nothing in this kernel shows|CONFIG_KPROBES=y"),
    *(
        (points, {"files": {**symbols(*FOUR, "perf_syscall_enter"), **NO_KPROBES}}, check, status, said)
        for check, status, said in (
            ("entry", "note", "every system call|CONFIG_KPROBES=y"),
            ("tracefs", "ok", "mounted at /sys/kernel/tracing (needed to see an execve begin"),
        )
    ),
    *(
        (points, {"files": {**symbols(*FOUR, "__traceiter_sched_prepare_exec"), **NO_KPROBES}}, check, status, said)
        for check, status, said in (
            ("entry", "ok", "sched_prepare_exec"),
            ("attempts", "note", "no kprobes: failed attempts are recorded only where a test reads them"),
            ("tracefs", "ok", "needed only for failed attempts"),
        )
    ),
    *(
        (points, {"files": {**symbols(*FOUR, "__traceiter_sched_prepare_exec"), **NO_KPROBES, **NO_TRACEFS}}, *found)
        for found in (
            ("attempts", "note", "can't be recorded"),
            ("tracefs", "note", "the kernel has none|CONFIG_FTRACE=y"),
        )
    ),
    (points, {"files": {"proc/self/mounts": ""}},
     "tracefs", "ok", "not mounted; the helper mounts it for itself alone"),
    (unmounted, {"files": {"proc/self/mounts": ""}},
     "tracefs", "note", "without CAP_SYS_ADMIN|mount -t tracefs tracefs /sys/kernel/tracing"),
    (unmounted, {"files": {**symbols(*FOUR, "perf_syscall_enter"), **NO_KPROBES, "proc/self/mounts": ""}},
     "tracefs", "not ok", "needed to see an execve begin|mount -t tracefs"),
    (of_bcc, {"files": {"usr/bin/sudo": None}, "uid": 1000, "answers": {"check": says(WITHOUT_BCC)}},
     "bcc", "not ok", "|as root: apt-get install python3-bpfcc"),
    *(
        (of_bcc, {"environ": {"PATH": "/usr/bin", "EXECPROBE_PYTHON": path}, "answers": {"check": says(WITHOUT_BCC)}},
         "bcc", "not ok", f"{said}|unset EXECPROBE_PYTHON")
        for path, said in (("/venv/bin/python", "EXECPROBE_PYTHON names"), ("/nonexistent", "no program"))
    ),
    (of_bcc, {"pythons": ()}, "bcc", "not ok", "no Python with BCC|python3-bpfcc"),
    (privilege, {"effective": SYS_ADMIN | SETUID | SETGID}, "privilege", "ok", ""),
    (privilege, {"uid": 1000, "gid": 1000, "effective": MAY_PROBE}, "privilege", "not ok",
     "CAP_BPF, CAP_PERFMON not as ambient ones"
     "|sudo setpriv --reuid 1000 --regid 1000 --init-groups --inh-caps +bpf,+perfmon"),
    (privilege, {"uid": 1000, "effective": BPF, "ambient": BPF},
     "privilege", "not ok", "without CAP_PERFMON|--ambient-caps"),
    (privilege, {"uid": 1000, "effective": MAY_PROBE, "ambient": MAY_PROBE},
     "privilege", "note", "CAP_DAC_READ_SEARCH|setpriv"),
    (privilege, {"uid": 1000, "effective": 0}, "privilege", "ok", "/usr/bin/sudo starts the helper without a password"),
    (privilege, {"uid": 4711, "effective": 0, "answers": {"sudo": Answer(1, "", "sudo: you do not exist in …\n")}},
     "privilege", "not ok", "no user of this machine has that number|useradd --uid 4711"),
    (privilege, {"files": {"proc/self/status": "NoNewPrivs:\t1\n"}, "uid": 1000},
     "privilege", "not ok", "no_new_privs|allowPrivilegeEscalation: true"),
    (privilege, {"uid": 1000, "effective": 0, "bounding": SETUID | SETGID},
     "privilege", "not ok", "sudo gives root without CAP_BPF, CAP_PERFMON|docker run --cap-add BPF"),
    *(
        (lockdown, {"files": {"sys/kernel/security/lockdown": text}}, "lockdown", "ok", "")
        for text in ("[none] integrity confidentiality", "none [integrity] confidentiality", None)
    ),
    (lockdown, {"files": {"sys/kernel/security/lockdown": "none integrity [confidentiality]"}},
     "lockdown", "not ok", "confidentiality|boot without lockdown=confidentiality"),
    (container, {"files": {".dockerenv": ""}}, "container", "note", "/.dockerenv"),
    (container, {"files": {"run/.containerenv": ""}}, "container", "note", "/run/.containerenv"),
    (container, {"environ": {"container": "lxc"}}, "container", "note", "$container is lxc"),
    (container, {"environ": {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}}, "container", "note", "Kubernetes"),
    (container, {"files": {"proc/1/cgroup": "0::/kubepods/besteffort/pod1/abc\n"}}, "container", "note", "kubepods"),
    (container, {"files": {"proc/1/cgroup": "12:pids:/docker/0123\n"}}, "container", "note", "docker"),
    (container, {"files": {"proc/1/environ": "A=b\0container=lxc\0"}}, "container", "note", "init's $container is lxc"),
    (container, {"files": {"proc/1/cgroup": "0::/init.scope\n", "proc/1/environ": "PATH=/bin\0xcontainer=1\0"}},
     "container", "ok", ""),
    *(
        (namespaces, {"files": files}, "user-namespace", "not ok", "root's included|run it outside")
        for files in ({"proc/self/uid_map": "  0  1000  1\n"}, {"proc/self/ns/user": "-> user:[4026532400]"})
    ),
    (namespaces, {"files": {"proc/self/ns/pid": "-> pid:[4026532400]"}},
     "pid-namespace", "ok", "numbers that are seen in here"),
    (namespaces, {"files": {"proc/self/ns/time": "-> time:[4026532400]", "proc/self/timens_offsets": SHIFTED}},
     "time-namespace", "not ok", "shifted by 1000 s|outside of the time namespace"),
    *(
        (namespaces, {"files": files}, "time-namespace", "ok", "")
        for files in (
            {"proc/self/ns/time": "-> time:[4026532400]"},  # with no shift
            {"proc/self/timens_offsets": SHIFTED},  # only children will be in it
            {"proc/self/timens_offsets": None, "proc/self/ns/time": None},  # a kernel without
        )
    ),
    *(
        (shown_processes, {"files": proc("rw,hidepid=2", options)}, "processes", "ok", "all users")
        for options in ("rw", "rw,hidepid=0", "rw,hidepid=off", "rw,gid=7")
    ),
    (limits_of(ALL), {}, "buffers", "ok", "8.0 MiB: no limit"),
    (limits_of(0), {}, "buffers", "ok", "10.0 MiB may be locked"),
    (limits_of(0), {"cpus": 64, "locked_memory": None}, "buffers", "ok", "64 CPUs, 128.8 MiB"),
    *(
        (limits_of(capability), {"files": {"proc/sys/kernel/perf_event_paranoid": "-1\n"}, "cpus": 64},
         "buffers", "ok", "")
        for capability in (IPC_LOCK, BPF)
    ),
    (limits_of(ALL), {"open_files": 40}, "files", "not ok", "40 files (ulimit -n), and needs 56|ulimit -n 568"),
    (limits_of(ALL), {"open_files": 256}, "files", "note", "100 processes|ulimit -n 568"),
    (limits_of(ALL), {"open_files": 1024}, "files", "ok", "1024"),
    (limits_of(ALL), {"open_files": None}, "files", "ok", "any number"),
]  # fmt: skip


@pytest.mark.parametrize(("look", "differs", "check", "status", "said"), FINDINGS_OF)
def test_a_finding(build: Build, look: Look, differs: dict[str, Any], check: str, status: str, said: str) -> None:
    """``said`` is what is found, and after the bar what fixes it."""
    facts = {name: value for name, value in differs.items() if name not in ("files", "answers")}
    machine = build(differs.get("files", {}), **facts).answering(**differs.get("answers", {}))
    found, _, fix = said.partition("|")
    finds(the(list(look(machine)), check), status, found, fix=fix or None)


def test_symbols_that_can_not_be_read(build: Build) -> None:
    findings = points(build({"proc/kallsyms": None}))
    finds(the(findings, "tracepoints"), "note", "the proof below shows")
    assert "entry" not in [finding.check for finding in findings]


# ---- BCC ----


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
    broken(finding, "no Python with BCC was found", fix=command)
    assert (finding.remedy or "").startswith(command)


def test_each_python_that_was_asked_is_told_with_what_it_said(build: Build) -> None:
    machine = build(pythons=("/usr/bin/python3", "/usr/local/bin/python3", "/venv/bin/python"))
    machine = machine.answering(check=says(WITHOUT_BCC))
    findings = of_bcc(machine)
    assert [finding.found.partition(" (")[0] for finding in findings[:3]] == list(machine.pythons)
    assert all("no usable module bcc" in finding.found for finding in findings[:3])
    broken(findings[3], "none of these has BCC", fix="apt-get install python3-bpfcc")


def test_the_first_python_with_bcc_is_the_last_that_is_asked(build: Build) -> None:
    machine = build(pythons=("/usr/local/bin/python3", "/usr/bin/python3", "/venv/bin/python"))
    machine = replace(machine, answers={"/usr/local/bin/python3": says(WITHOUT_BCC), **machine.answers})
    passed_over, taken = of_bcc(machine)
    finds(passed_over, "note", "/usr/local/bin/python3 (Python 3.11.7)", "no usable module bcc")
    finds(taken, "ok", "/usr/bin/python3 (Python 3.11.2) has BCC 0.26.0")


def test_pypis_bcc_beside_the_systems(build: Build) -> None:
    machine = build(pythons=("/usr/bin/python3", "/venv/bin/python"), uid=1000).answering(check=says(PYPIS_BCC))
    of_system, of_venv, finding = of_bcc(machine)
    assert of_system.status == of_venv.status == "note"
    assert of_system.remedy == "sudo /usr/bin/python3 -m pip uninstall bcc"
    assert of_venv.remedy == "/venv/bin/python -m pip uninstall bcc"
    broken(finding, "none of these", fix="apt-get install python3-bpfcc")


def test_an_old_bcc_ends_the_search(build: Build) -> None:
    machine = build(pythons=("/usr/bin/python3", "/venv/bin/python")).answering(check=says(OLD_BCC))
    old, finding = of_bcc(machine)
    finds(old, "note", "BCC 0.18.0 is too old")
    broken(finding, fix="Debian 12, Ubuntu 24.04")


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
    finds(said, "note", "it runs no Python", words)
    broken(finding, fix="python3-bpfcc")


def test_a_named_python_without_bcc(build: Build) -> None:
    machine = build().answering(check=says(WITHOUT_BCC))
    said, finding = of_bcc(machine, "/venv/bin/python")
    finds(said, "note", "/venv/bin/python (Python 3.11.7)")
    broken(finding, "the Python that --python names can't run the helper", fix="leave --python out")


# ---- privilege ----


def test_root(build: Build) -> None:
    found = way(build())
    finds(found.finding, "ok", "root")
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
    broken(found.finding, f"root, but without {named}", fix="docker run --cap-add BPF --cap-add PERFMON")
    assert found.can_mount is None


def test_ambient_capabilities(build: Build) -> None:
    have = BPF | PERFMON | DAC_READ_SEARCH
    found = way(build(uid=1000, effective=have, ambient=have))
    finds(found.finding, "ok", "user 1000 with ambient capabilities")
    assert found.can_mount is False


def test_no_sudo(build: Build) -> None:
    found = way(build({"usr/bin/sudo": None}, uid=1000, effective=0))
    broken(found.finding, "user 1000 has no privilege to probe, and there is no sudo", fix="run pytest as root\n")
    assert "as root: apt-get install sudo" in (found.finding.remedy or "")


def test_sudo_that_wants_a_password(build: Build) -> None:
    machine = build(uid=1000, effective=0).answering(sudo=Answer(1, "", "sudo: a password is required\n"))
    found = way(machine)
    broken(found.finding, "(sudo: a password is required)", fix="sudo -v ")
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
    broken(finding, fix="have root install it where root alone can write (not so: /")
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
    broken(way(machine).finding, "it does not allow that", fix="docs/privilege.md")
    assert "NOPASSWD" not in (way(machine).finding.remedy or "")


# ---- containers and namespaces ----


# ---- other processes ----


@pytest.mark.parametrize("hidepid", ["1", "2", "4", "noaccess", "invisible", "ptraceable"])
def test_proc_that_hides_processes(build: Build, hidepid: str) -> None:
    machine = build({"proc/self/mounts": f"proc /proc proc rw 0 0\nproc /proc proc rw,gid=7,hidepid={hidepid} 0 0\n"})
    finds(the(list(processes(machine, True)), "processes"), "ok", "hidepid", "for itself alone")
    for can_mount in (False, None):
        finds(
            the(list(processes(machine, can_mount)), "processes"),
            "note",
            "hidepid",
            "can't be found",
            fix="hidepid=0 /proc",
        )


# ---- limits ----


def test_buffers_that_do_not_fit(build: Build) -> None:
    finding = the(list(limits(build(cpus=64), BPF | PERFMON)), "buffers")
    broken(finding, "128.8 MiB, but only 40.2 MiB may be locked", fix="--execprobe-buffer-pages=128 ")
    # What is recommended is enough.
    assert (64 * 1932 + 8192) * 1024 >= 64 * (512 + 3) * 4096
    assert "sysctl kernel.perf_event_mlock_kb=1932" in (finding.remedy or "")


def test_pids(build: Build) -> None:
    finds(the(list(limits(build(), ALL)), "pids"), "ok", "32768 (pid_max)")
    assert "pids" not in [finding.check for finding in limits(build({"proc/sys/kernel/pid_max": "many"}), ALL)]


# ---- the installation ----


def test_missing_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "version_of", lambda name: None if name == "rich" else "1.0")
    finding = the(list(installation.installation()), "extras")
    finds(finding, "note", "without rich: no colour", fix="-m pip install rich")
    assert "jinja2" not in finding.found


def test_a_lost_source(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> Path:
        raise ProbeUnavailable("execprobe: its BPF source, bpf/execprobe.c, is missing")

    monkeypatch.setattr(installation, "bpf_folder", missing)
    broken(the(list(installation.installation()), "plugin"), "bpf/execprobe.c, is missing", fix="--force-reinstall")


# ---- the proof ----


def proof_with(source: FakeSource, *during: Callable[[], object]) -> Diagnosis:
    source.meanwhile = lambda: [do() for do in during]
    return prove(HelperSettings(), start=lambda _: source, run=lambda _: None, command=["/usr/bin/true"]).finding


def test_a_proof() -> None:
    source = FakeSource()
    finds(proof_with(source, lambda: source.runs("true")), "ok", "saw a program run: /usr/bin/true, and nothing else")
    assert source.closed


def test_a_proof_that_sees_nothing() -> None:
    broken(proof_with(FakeSource()), "of /usr/bin/true it saw nothing", fix="report this")


def test_a_proof_that_sees_too_much() -> None:
    source = FakeSource()
    finding = proof_with(source, lambda: source.runs("true"), lambda: source.runs("sh"))
    broken(finding, "it saw /usr/bin/true, then /usr/bin/sh", fix="report this")


def test_a_proof_that_sees_another_program() -> None:
    source = FakeSource()
    broken(proof_with(source, lambda: source.runs("false")), "it saw /usr/bin/false", fix="report this")


def test_failed_attempts_do_not_disturb_a_proof() -> None:
    source = FakeSource()
    finds(proof_with(source, lambda: source.runs("true", error="ENOENT"), lambda: source.runs("true")), "ok")


def test_a_proof_with_losses() -> None:
    source = FakeSource()
    broken(proof_with(source, lambda: source.runs("true", lost=True)), "it lost what it saw", fix="report this")
    source = FakeSource()
    source.unplaced = 1
    broken(proof_with(source, lambda: source.runs("true")), "it lost what it saw", fix="report this")
    source = FakeSource()
    source.in_flight = 1
    broken(proof_with(source, lambda: source.runs("true")), "it lost what it saw", fix="report this")


def test_a_helper_that_dies_in_the_proof() -> None:
    source = FakeSource()
    source.broken = "it died"
    broken(proof_with(source), "the helper was lost: it died", fix="report this")
    assert source.closed


def test_a_program_that_can_not_be_run() -> None:
    def run(_: Sequence[str]) -> None:
        raise PermissionError(13, os.strerror(13))

    proof = prove(HelperSettings(), start=lambda _: FakeSource(), run=run, command=["/usr/bin/true"])
    broken(proof.finding, "/usr/bin/true could not be run: Permission denied", fix="/usr/bin/true")


def test_a_probe_that_can_not_be_had() -> None:
    def start(_: HelperSettings) -> FakeSource:
        raise ProbeUnavailable("execprobe: the kernel refused a BPF map: no. Fix: run as root")

    finds(prove(HelperSettings(), start=start).finding, "not ok", "the kernel refused a BPF map: no", fix="run as root")


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

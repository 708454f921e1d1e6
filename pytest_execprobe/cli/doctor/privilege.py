"""How the helper would come by its privilege."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ...errors import ProbeUnavailable
from ...helper.bounds import PAGES
from ...helper.bpf.attach import ROUTES
from ...source.launch import HELPER, bpf_folder, helper_command
from .bcc import BccSearch
from .diagnosis import Diagnosis, bad, note, ok
from .machine import BPF, DAC_READ_SEARCH, PERFMON, SETGID, SETUID, SYS_ADMIN, Machine

#: With these in the path of an installation no line for sudoers is written: they would have to be escaped there.
_UNUSUAL = re.compile(r"[^A-Za-z0-9/_.-]")

#: What a rule lets a user choose: the options that the helper would take.
OPTIONS = (
    rf"( --attempts ({'|'.join(ROUTES)}))?"
    rf"( --pages ({'|'.join(str(1 << power) for power in range(PAGES.bit_length()))}))?"
)

_CHECK = "privilege"
_CONTAINER = (
    "in a container, give it the capability: docker run --cap-add BPF --cap-add PERFMON IMAGE, or --privileged; in"
    " Kubernetes securityContext: {privileged: true}"
)


@dataclass(frozen=True)
class Route:
    """``capabilities`` are those that the helper would start with, None if it can't be started."""

    finding: Diagnosis
    capabilities: int | None

    @property
    def can_mount(self) -> bool | None:
        return None if self.capabilities is None else bool(self.capabilities & SYS_ADMIN)


def route(machine: Machine, search: BccSearch) -> Route:
    """In the order in which the plugin looks: root, capabilities, sudo."""
    effective = machine.capabilities("CapEff")
    if machine.uid == 0:
        return _as_root(effective)
    if effective & (BPF | SYS_ADMIN):
        return _by_capabilities(machine, effective)
    return _by_sudo(machine, search)


def _granted(found: str, capabilities: int) -> Route:
    return Route(ok(_CHECK, found), capabilities)


def _refused(found: str, *remedy: str) -> Route:
    return Route(bad(_CHECK, found, "\n".join(remedy)), None)


def _lacking(capabilities: int) -> list[str]:
    """The names of those that the probe must have; CAP_SYS_ADMIN stands for both."""
    if capabilities & SYS_ADMIN:
        return []
    return [name for name, bit in (("CAP_BPF", BPF), ("CAP_PERFMON", PERFMON)) if not capabilities & bit]


# ---- root ----


def _as_root(effective: int) -> Route:
    lacking = _lacking(effective)
    # By these the helper becomes an ordinary user, and it does not go on as root.
    lacking += [name for name, bit in (("CAP_SETUID", SETUID), ("CAP_SETGID", SETGID)) if not effective & bit]
    if lacking:
        return _refused(f"root, but without {', '.join(lacking)}", _CONTAINER)
    return _granted("root: the helper is started as it is, and gives up its privilege", effective)


# ---- capabilities ----


def _by_capabilities(machine: Machine, effective: int) -> Route:
    ambient = machine.capabilities("CapAmb")
    who = f"user {machine.uid}"
    if lacking := _lacking(effective):
        return _refused(f"{who}, without {', '.join(lacking)}", _setpriv(machine))
    if lacking := _lacking(ambient):
        found = f"{who} has capabilities, but {', '.join(lacking)} not as ambient ones: the helper would not get them"
        return _refused(found, _setpriv(machine))
    if not ambient & (DAC_READ_SEARCH | SYS_ADMIN):
        found = (
            f"{who} with ambient capabilities, but not CAP_DAC_READ_SEARCH: tracefs can't be read, nor failed attempts"
            " be recorded where there are no kprobes"
        )
        return Route(note(_CHECK, found, _setpriv(machine)), ambient)
    return _granted(f"{who} with ambient capabilities, which the helper gets and gives up", ambient)


def _setpriv(machine: Machine) -> str:
    names = "+bpf,+perfmon,+dac_read_search,+ipc_lock"
    user = f"--reuid {machine.uid} --regid {machine.gid} --init-groups"
    return machine.as_root(f"setpriv {user} --inh-caps {names} --ambient-caps {names} -- pytest")


# ---- sudo ----


def _by_sudo(machine: Machine, search: BccSearch) -> Route:
    who = f"user {machine.uid} has no privilege to probe"
    sudo = machine.which("sudo")
    if sudo is None:
        get = f"{machine.install('sudo', 'sudo', 'install sudo')}    (and allow the helper: docs/privilege.md)"
        return _refused(f"{who}, and there is no sudo", "run pytest as root", get)
    if machine.standing("NoNewPrivs") == "1":
        return _refused(
            f"{who}, and no sudo can help: this process may gain none (no_new_privs is set)",
            "start it without that: docker run without --security-opt no-new-privileges, Kubernetes with"
            " allowPrivilegeEscalation: true, systemd without NoNewPrivileges=",
        )
    python = search.chosen.path if search.chosen else "/usr/bin/python3"
    try:
        bpf = str(bpf_folder())
    except ProbeUnavailable as error:
        return _refused(str(error).removeprefix("execprobe: "), "reinstall pytest-execprobe")
    command = helper_command([], python, "--connect", "pytest-execprobe-0", "--bpf", bpf)
    answer = machine.run([sudo, "-n", "-l", "--", *command])  # asks whether it may, and does not
    if answer.status == 0:
        # As root, the helper gets what this process's bounding set has.
        bounding = machine.capabilities("CapBnd")
        if lacking := _lacking(bounding):
            return _refused(f"{who}, and sudo gives root without {', '.join(lacking)}", _CONTAINER)
        return _granted(f"{who}, and {sudo} starts the helper without a password", bounding)
    if machine.user is None:
        return _refused(
            f"{who}, and sudo does not serve it: no user of this machine has that number",
            "run it as root; in a container: docker run --user 0 --privileged IMAGE",
            f"as root: useradd --uid {machine.uid} tester    (and allow it sudo: docs/privilege.md)",
        )
    said = answer.last_words if answer.err or answer.out else "it does not allow that"
    return _refused(
        f"{who}, and {sudo} does not start the helper without a password ({said})",
        "sudo -v    (if you may give a password: it lasts some minutes, in this terminal)",
        *_allow(machine, sudo, search, python, bpf),
    )


def _allow(machine: Machine, sudo: str, search: BccSearch, python: str, bpf: str) -> list[str]:
    """How sudo is made to allow the helper, and nothing else, for good."""
    # Folders of modules that come before BCC's count, too: what is written there the helper would import.
    modules = [search.chosen.found["folder"], *search.chosen.found["modules"]] if search.chosen else []
    for privileged in map(Path, (HELPER, bpf, python, *modules)):
        changeable = machine.changeable(privileged)
        if changeable is not None:
            return [
                f"for good: have root install it where root alone can write (not so: {changeable}, and a rule of sudo's"
                " would make whoever can change that root), and run execprobe doctor from there",
                "or have root run execprobe serve, from such a place (docs/serve.md)",
            ]
    version = re.search(r"(\d+)\.(\d+)\.(\d+)", machine.run([sudo, "-V"]).out)
    knows_expressions = version is not None and tuple(map(int, version.groups())) >= (1, 9, 10)
    if not knows_expressions or _UNUSUAL.search(f"{machine.user}{python}{HELPER}{bpf}"):
        return ["for good: have root allow the command that docs/privilege.md shows"]
    helper, bpf = (path.replace(".", "[.]") for path in (str(HELPER), bpf))
    return [
        "or have root run execprobe serve, if you are not to be trusted with the machine's resources (docs/serve.md)",
        "for good, as root: visudo -f /etc/sudoers.d/execprobe, with this line in it:",
        f"{machine.user} ALL=(root) NOPASSWD: {python} ^-I -B {helper} --connect pytest-execprobe-[0-9a-f]+"
        f" --bpf {bpf}{OPTIONS}$",
    ]


# ---- lockdown ----


def lockdown(machine: Machine) -> Iterator[Diagnosis]:
    text = machine.read("sys/kernel/security/lockdown")
    chosen = re.search(r"\[(\w+)\]", text or "")
    if chosen is None:
        yield ok("lockdown", "not there, or not to be read (/sys/kernel/security/lockdown)")
    elif chosen[1] == "confidentiality":
        yield bad(
            "lockdown",
            "the kernel is locked down for confidentiality: no BPF program may read its memory, whoever loads it",
            "boot without lockdown=confidentiality on the kernel's command line; lockdown=integrity does not matter",
        )
    else:
        yield ok("lockdown", f"{chosen[1]}, which lets BPF programs read")

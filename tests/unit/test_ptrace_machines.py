"""The tables of registers and system calls against the kernel's headers, which the compiler reads.

Those of this machine are there with any compiler. Those of others come with Debian's linux-libc-dev-arm64-cross and
linux-libc-dev-armhf-cross: installed, or unpacked below EXECPROBE_HEADERS.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pytest_execprobe.helper.ptrace.machines import MACHINES, Registers

_BELOW = Path(os.environ.get("EXECPROBE_HEADERS", "/"))


@dataclass(frozen=True)
class Kind:
    """One kind of programs that a machine runs."""

    machine: str
    size: int  # of its register set, bytes
    folder: Path
    #: What the compiler is told that it compiles for.
    options: tuple[str, ...]
    #: What headers say of where registers are, in bytes: the whole set, then stack, counter, result, and call if it is
    #: there.
    places: tuple[str, ...]
    includes: tuple[str, ...]
    calls: tuple[str, ...] = field(default=("__NR_execve", "__NR_execveat"))

    @property
    def layout(self) -> Registers:
        return MACHINES[self.machine].registers[self.size]


_X86 = Path("/usr/include", f"{platform.machine()}-linux-gnu")
_ARM64, _ARM = (_BELOW / "usr" / name / "include" for name in ("aarch64-linux-gnu", "arm-linux-gnueabihf"))
_REGS = "__builtin_offsetof(struct user_regs_struct, {})".format
_PT_REGS = "__builtin_offsetof(struct user_pt_regs, {})".format
_OF_ARM = "__builtin_offsetof(struct pt_regs, {})".format

KINDS = {
    "x86-64": Kind(
        *("x86_64", 27 * 8, _X86, ()),
        ("sizeof(struct user_regs_struct)", *map(_REGS, ("rsp", "rip", "rax", "orig_rax"))),
        ("sys/user.h", "asm/unistd.h"),
    ),
    "x32": Kind(
        *("x86_64", 27 * 8, _X86, ("-D__ILP32__",)),
        ("sizeof(struct user_regs_struct)", *map(_REGS, ("rsp", "rip", "rax", "orig_rax"))),
        ("sys/user.h", "asm/unistd.h"),
    ),
    "i386": Kind(
        *("x86_64", 17 * 4, _X86, ("-U__x86_64__", "-D__i386__")),
        ("4 * FRAME_SIZE", "4 * UESP", "4 * EIP", "4 * EAX", "4 * ORIG_EAX"),
        ("asm/ptrace-abi.h", "asm/unistd_32.h"),
    ),
    "aarch64": Kind(
        *("aarch64", 34 * 8, _ARM64, ("-nostdinc",)),
        ("sizeof(struct user_pt_regs)", _PT_REGS("sp"), _PT_REGS("pc"), _PT_REGS("regs[0]")),
        ("asm/ptrace.h", "asm/unistd.h"),
    ),
    "arm": Kind(
        *("aarch64", 18 * 4, _ARM, ("-nostdinc", "-D__ARM_EABI__", "-Dlong=int")),
        ("sizeof(struct pt_regs)", _OF_ARM("ARM_sp"), _OF_ARM("ARM_pc"), _OF_ARM("ARM_r0")),
        ("asm/ptrace.h", "asm/unistd.h"),
    ),
}


def facts(kind: Kind) -> Iterator[str]:
    """What has to be true for a compiler that reads the headers."""
    layout = kind.layout
    indices = (layout.stack, layout.counter, layout.result, *([] if layout.call is None else [layout.call]))
    for place, expected in zip(kind.places, (kind.size, *(layout.word * index for index in indices)), strict=True):
        yield f"{place} == {expected}"
    for call in kind.calls:
        yield " || ".join(f"{call} == {number}" for number in sorted(MACHINES[kind.machine].execs))


@pytest.mark.may_skip
@pytest.mark.exec_budget(3)
@pytest.mark.parametrize("name", KINDS)
def test_table_is_as_headers_have_it(name: str) -> None:
    kind = KINDS[name]
    if shutil.which("gcc") is None or not (kind.folder / "asm" / "ptrace.h").exists():
        pytest.skip(f"there is no compiler, or no {kind.folder}/asm/ptrace.h")
    source = [f"#include <{header}>" for header in kind.includes]
    source += [f'_Static_assert({fact}, "");' for fact in facts(kind)]
    command = ["gcc", "-fsyntax-only", *kind.options, "-I", str(kind.folder), "-x", "c", "-"]
    made = subprocess.run(command, input="\n".join(source), capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr

"""The small C programs that the tests run, compiled once per session."""

from __future__ import annotations

import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest

_SOURCES = Path(__file__).with_name("programs")


# What it takes to compile each, after the compiler's name and common options.
_BUILDS = {
    "minimal": ["minimal.c", "-static"],
    "report": ["report.c"],
    "vforks": ["vforks.c"],
    "vforks.so": ["vforks.c", "-shared", "-fPIC"],
    "threads": ["threads.c", "-pthread"],
    "execat": ["execat.c"],
    "daemonise": ["daemonise.c"],
    "storm": ["storm.c"],
    "crowd": ["crowd.c", "-static"],
    "forkexec": ["forkexec.c", "-pthread"],
    "leaderless": ["leaderless.c", "-pthread"],
    "probed": ["probed.c", "-pthread"],
    "multicall": ["multicall.c"],
    "traceme": ["traceme.c"],
    "confined": ["confined.c"],
}
if platform.machine() == "x86_64":
    _BUILDS["int80"] = ["int80.c"]


@dataclass(frozen=True)
class Programs:
    """Where the programs are. The head of each source says what it does."""

    folder: Path

    @property
    def confined(self) -> Path:
        return self.folder / "confined"

    @property
    def traceme(self) -> Path:
        return self.folder / "traceme"

    @property
    def minimal(self) -> Path:
        return self.folder / "minimal"

    @property
    def report(self) -> Path:
        """:func:`parse_report` reads its output."""
        return self.folder / "report"

    @property
    def vforks(self) -> Path:
        return self.folder / "vforks"

    @property
    def vfork_library(self) -> Path:
        return self.folder / "vforks.so"

    @property
    def threads(self) -> Path:
        return self.folder / "threads"

    @property
    def execat(self) -> Path:
        return self.folder / "execat"

    @property
    def int80(self) -> Path:
        """There is none but on x86-64."""
        return self.folder / "int80"

    @property
    def daemonise(self) -> Path:
        return self.folder / "daemonise"

    @property
    def storm(self) -> Path:
        return self.folder / "storm"

    @property
    def crowd(self) -> Path:
        return self.folder / "crowd"

    @property
    def leaderless(self) -> Path:
        return self.folder / "leaderless"

    @property
    def forkexec(self) -> Path:
        return self.folder / "forkexec"

    @property
    def multicall(self) -> Path:
        return self.folder / "multicall"

    @property
    def probed(self) -> Path:
        return self.folder / "probed"


class Report(NamedTuple):
    """What a program says of itself."""

    pid: int
    ppid: int
    uid: int
    gid: int
    executable: str
    argv: tuple[str, ...]


def parse_report(output: bytes) -> Report:
    """The report of the one program that wrote."""
    (report,) = parse_reports(output)
    return report


def parse_reports(output: bytes) -> list[Report]:
    """The reports of programs that wrote one after another."""
    *fields, end = (field.decode("utf-8", "surrogateescape") for field in output.split(b"\0"))
    if end != "":
        raise ValueError(f"a field without an end: {end!r}")
    reports: list[Report] = []
    while fields:
        pid, ppid, uid, gid, executable, count = fields[:6]
        argv = fields[6 : 6 + int(count)]
        reports.append(Report(int(pid), int(ppid), int(uid), int(gid), executable, tuple(argv)))
        del fields[: 6 + int(count)]
    return reports


@pytest.fixture(scope="session")
def programs(open_folder: Path) -> Programs:
    """All of them at once, so that no test sees the compiler at work."""
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("the programs that these tests run are in C, and there is no gcc")
    folder = open_folder / "programs"
    folder.mkdir()
    for name, (source, *flags) in _BUILDS.items():
        command = [compiler, "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", *flags, "-o", folder / name]
        made = subprocess.run([*command, _SOURCES / source], capture_output=True, text=True, timeout=120)
        if made.returncode != 0:
            pytest.fail(f"{source} does not compile:\n{made.stderr}", pytrace=False)
    return Programs(folder)

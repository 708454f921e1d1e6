"""What benchmarks/suites.py makes of strace's output: the lines are strace's own (6.1)."""

from __future__ import annotations

import importlib.util
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "suites.py"


@pytest.fixture(scope="module")
def suites() -> ModuleType:
    spec = importlib.util.spec_from_file_location("suites", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "suites", module)  # where dataclasses look for it
        spec.loader.exec_module(module)
    return module


def hexed(text: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in text.encode())


def call(path: str, *argv: str, end: str = ") = 0") -> str:
    words = ", ".join(f'"{hexed(word)}"' for word in argv)
    return f'execve("{hexed(path)}", [{words}], 0x7fff17ecf7f8 /* 42 vars */{end}'


def line(pid: int, micros: int, event: str) -> str:
    return f"{pid:<5} 1796007987.{micros:06} {event}\n"


HELPER = ("/usr/bin/python3", "-I", "-B", "/x/pytest_execprobe/helper", "--connect", "y")


def read(suites: ModuleType, tmp_path: Path, *events: tuple[int, str]) -> Any:
    file = tmp_path / "strace"
    file.write_text("".join(line(pid, number, event) for number, (pid, event) in enumerate(events)))
    return suites.read_strace(file)


def names(execs: list[Any]) -> list[tuple[int, str]]:
    return [(one.pid, one.program) for one in execs]


def test_an_exec_inside_of_which_its_process_was_killed_is_counted_apart(suites: ModuleType, tmp_path: Path) -> None:
    trace = read(
        suites,
        tmp_path,
        (1, call("/bin/true", "true", "x y")),
        (2, call("/bin/true", "true", end=") = ?")),
        (2, "+++ killed by SIGKILL +++"),
        (3, call("/bin/git", "git", end=" <unfinished ...>")),
        (4, call("/bin/sh", "sh", end=") = -1 ENOENT (No such file or directory)")),
        (3, "<... execve resumed>) = ?"),
        (3, "+++ killed by SIGKILL +++"),
        (5, call("/bin/cc", "cc", end=" <unfinished ...>) = ?")),
        (6, "???( <detached ...>"),
        (7, "execve(0x7f0000000000, 0x7f0000000008, 0x7f0000000010) = ?"),
        (8, call("/bin/last", "last", end=" <unfinished ...>")),
    )
    assert names(trace.execs) == [(1, "true")]
    assert names(trace.possible) == [(2, "true"), (3, "git"), (5, "cc"), (6, "?"), (7, "?"), (8, "last")]
    assert trace.possible[1].entered == 1796007987_000003_000


@pytest.mark.parametrize("event", ["execve(garbage", "open() = ?", "???", "execve() = 5"])
def test_what_is_not_understood_is_an_error(suites: ModuleType, tmp_path: Path, event: str) -> None:
    with pytest.raises(suites.Trouble, match="not understood"):
        read(suites, tmp_path, (1, event))


def test_only_what_the_audit_can_have_counted(suites: ModuleType, tmp_path: Path) -> None:
    trace = read(
        suites,
        tmp_path,
        (1, call(HELPER[0], *HELPER)),
        (2, call("/bin/early", "early", end=") = ?")),
        (3, call("/bin/git", "git")),
        (4, call("/bin/git", "git", end=") = ?")),
        (5, call("/bin/late", "late", end=") = ?")),
    )
    second = 1796007987 * 10**9
    counted = suites.Counted(Counter(), 0, 0, second + 2000, second + 4000)
    assert suites.programs_of(trace, counted) == (Counter(git=1), Counter(git=1))


@pytest.mark.parametrize(
    ("audit", "differences"),
    [
        ({"git": 2, "sh": 1}, []),
        ({"git": 3, "sh": 1}, []),
        ({"git": 3, "sh": 1, "unread": 1}, []),
        ({"git": 4, "sh": 1}, []),
        ({"git": 1, "sh": 1}, ["git: audit 1, strace 2 and maybe 1 more"]),
        ({"git": 2}, ["sh: audit 0, strace 1"]),
        ({"git": 4, "sh": 1, "unread": 1}, ["git: audit 4, strace 2 and maybe 1 more", "unread: audit 1, strace 0"]),
    ],
)
def test_the_audit_may_have_what_may_have_happened(
    suites: ModuleType, audit: dict[str, int], differences: list[str]
) -> None:
    programs = Counter(audit)
    traced = suites.Programs(Counter(git=2, sh=1), Counter({"git": 1, "?": 1}))
    run = suites.Run({}, 1.0, suites.Counted(programs, programs.total(), 0, 0, 1), traced)
    assert suites.differing_programs(run) == differences


def test_the_table_says_how_many_may_have_happened(suites: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    suite = suites.Suite("a", "1", "", ())
    suites.print_table([suites.Row(suite, [str(n) for n in range(len(suites.HEADS) - 1)], "top", [])])
    heads, cells, *_, _, last = capsys.readouterr().out.strip("\n").splitlines()
    at = heads.index("maybe") + len("maybe")
    assert cells[:at].split()[-1] == str(suites.HEADS.index("maybe"))
    assert last.endswith("(= ? in strace): they may have happened, and the audit may have each of them or not.")

"""``execprobe top`` without a kernel: what may be asked for, what the helper may say, and how it reads."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_execprobe import launch
from pytest_execprobe.cli import top
from pytest_execprobe.cli.terminal import CommandError, Terminal
from pytest_execprobe.cli.top import Asked, as_data, table
from pytest_execprobe.counting import Attached, Counts, Failed, parse_line
from pytest_execprobe.errors import ProbeUnavailable
from pytest_execprobe.helper import elf, probe
from pytest_execprobe.helper import top as helper
from pytest_execprobe.helper.target import Target, near, parse

# ---- where a probe is to be put ----


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("exec", Target("exec")),
        ("kprobe:vfs_read", Target("kprobe", "", "vfs_read")),
        ("kprobe:foo.constprop.0", Target("kprobe", "", "foo.constprop.0")),
        ("tracepoint:sched:sched_switch", Target("tracepoint", "sched", "sched_switch")),
        ("uprobe:c:malloc", Target("uprobe", "c", "malloc")),
        ("uprobe:stdc++:_ZSt9terminatev", Target("uprobe", "stdc++", "_ZSt9terminatev")),
        ("uprobe:/opt/a:b/lib.so:f", Target("uprobe", "/opt/a:b/lib.so", "f")),
        ("usdt:/usr/bin/python3:python:gc__start", Target("usdt", "/usr/bin/python3", "python:gc__start")),
        ("usdt:c:libc:setjmp", Target("usdt", "c", "libc:setjmp")),
    ],
)
def test_a_target(text: str, target: Target) -> None:
    assert parse(text) == target


BAD = [
    "",
    "execs",
    "vfs_read",
    "kretprobe:vfs_read",
    "kprobe:",
    "kprobe:vfs read",
    "kprobe:vfs_read+4",
    "kprobe:-1",
    "kprobe:*",
    "kprobe:" + "x" * 200,
    "kprobe:vfs_read\n",
    "tracepoint:sched",
    "tracepoint:../../etc:passwd",
    "tracepoint:sched:sched_switch/..",
    "tracepoint:a:b:c",
    "uprobe:c",
    "uprobe:c:",
    "uprobe:lib/c.so:malloc",
    "uprobe:-c:malloc",
    "uprobe::malloc",
    "uprobe:/a\x00b:malloc",
    "uprobe:/a\x1b[31m:malloc",
    "uprobe:c:mal loc",
    "uprobe:/" + "x" * 5000 + ":malloc",
    "usdt:c:setjmp",
    "usdt:c:libc:",
    "usdt:c:li/bc:x",
]


@pytest.mark.parametrize("text", BAD)
def test_what_can_be_no_target_is_refused_by_both_sides(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no|is written as"):
        parse(text)
    with pytest.raises(argparse.ArgumentTypeError):
        top._target(text)
    with pytest.raises(probe.ProbeError) as raised:
        helper._parse(["--probe=" + text])
    assert raised.value.code == "bad-argument"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--by", "pid"],
        ["--max-names", "0"],
        ["--max-names", "1000000000"],
        ["--max-names", "-DEVIL"],
        ["--interval", "0"],
        ["--interval", "nan"],
        ["--duration", "inf"],
        ["--duration", "x"],
        ["--bpf", "/tmp"],
        ["--prob", "exec"],
        ["--help"],
        ["more"],
        ["--by=--"],
        ["--max-names=--"],
        ["--interval=--"],
        ["--probe=--"],
    ],
)
def test_the_helper_refuses_what_it_does_not_know(arguments: list[str]) -> None:
    with pytest.raises(probe.ProbeError) as raised:
        helper._parse(arguments)
    assert raised.value.code == "bad-argument"


def test_both_sides_mean_the_same_by_the_defaults() -> None:
    parser = argparse.ArgumentParser()
    top.add_arguments(parser)
    asked, done = parser.parse_args([]), helper._parse([])
    assert (parse(asked.probe), asked.by, asked.max_names) == (done.probe, done.by, done.max_names)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--rows", "0"],
        ["--rows", "x"],
        ["--interval", "0"],
        ["--interval", "nan"],
        ["--duration", "-1"],
        ["--by", "pid"],
    ],
)
def test_the_command_refuses(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    top.add_arguments(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(arguments)
    assert arguments[1] in capsys.readouterr().err


# ---- what may have been meant ----


@pytest.mark.parametrize(
    ("wanted", "first"),
    [
        ("sched:sched_process_exe", "sched:sched_process_exec"),
        ("vfs_raed", "vfs_read"),
        ("execve", "__x64_sys_execve"),
        ("Malloc", "malloc"),
        ("raw:sched_switch", "sched:sched_switch"),
    ],
)
def test_near_names(wanted: str, first: str) -> None:
    names = ["sched:sched_process_exec", "sched:sched_switch", "vfs_read", "vfs_write", "__x64_sys_execve", "malloc"]
    assert near(wanted, names)[0] == first


def test_what_is_nowhere_near_is_not_said() -> None:
    assert near("xyzzy", ["malloc", "free"]) == []
    assert near("malloc", ["malloc"]) == []
    assert near("a", ["fab", "tab"]) == []


def test_near_names_are_few_and_of_both_kinds() -> None:
    names = [f"do_read_{number:04}" for number in range(5000)] + ["read_one", "reed"]
    found = near("read", names)
    assert len(found) == 6
    assert "reed" in found
    assert "read_one" in found


# ---- programs and libraries ----


@pytest.mark.parametrize(
    "data",
    [b"", b"#!/bin/sh\n" * 10, b"\x7fELF" + bytes(10), b"\x7fELF" + b"\x07" * 100, b"\x7fELF\x02\x01" + b"\xff" * 100],
    ids=["empty", "script", "short", "unknown width", "broken"],
)
def test_what_is_no_elf_file(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    with pytest.raises(elf.ElfError):
        elf.Elf(str(path))


def test_a_pipe_keeps_nobody_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(elf.ElfError, match="no program or library"):
        elf.Elf(str(tmp_path / "pipe"))


# ---- what the helper says ----


def line(**fields: object) -> bytes:
    return json.dumps(fields).encode() + b"\n"


COUNTS = {"type": "counts", "elapsed": 2.0, "no_room": 0, "missed": None, "last": True}


def test_counts_are_sorted_and_of_equals_the_first_by_name_is_first() -> None:
    counts = parse_line(line(**COUNTS, counts=[["b", 1], ["git", 3], ["a", 1]]))
    assert counts == Counts(2.0, (("git", 3), ("a", 1), ("b", 1)), 0, None, True)
    assert counts.total == 5


def test_counts_by_user_and_names_that_are_no_text() -> None:
    counts = parse_line(line(**{**COUNTS, "no_room": 4, "missed": 2}, counts=[[0, 3], [1000, 1]]))
    assert counts == Counts(2.0, ((0, 3), (1000, 1)), 4, 2, True)
    assert counts.total == 8
    counts = parse_line(line(**COUNTS, counts=[["\udcff", 1]]))
    assert isinstance(counts, Counts)
    assert counts.by == (("\udcff", 1),)


def test_the_other_lines() -> None:
    assert parse_line(line(type="attached", where=["here"], more="ignored")) == Attached(("here",))
    failed = parse_line(line(type="failed", code="c", reason="it is not there", remedy="mend it", near=["a", "b"]))
    assert failed == Failed("c", "it is not there", "mend it", ("a", "b"))
    assert str(failed) == "it is not there. Near it: a, b. To mend it: mend it"
    assert str(Failed("c", "it is not there", "", ())) == "it is not there"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"Traceback (most recent call last):\n",
        b"[]\n",
        b"{}\n",
        line(type="other"),
        line(type="failed", code="c", reason="r"),
        line(type="failed", code="c", reason="r", remedy="m", near=[1]),
        line(type="attached", where="here"),
        line(**COUNTS),
        line(**COUNTS, counts={"git": 1}),
        line(**COUNTS, counts=[["git"]]),
        line(**COUNTS, counts=[["git", -1]]),
        line(**COUNTS, counts=[["git", True]]),
        line(**COUNTS, counts=[[-1, 1]]),
        line(**COUNTS, counts=[[1.5, 1]]),
        line(**{**COUNTS, "last": 1}, counts=[]),
        line(**{**COUNTS, "elapsed": "2"}, counts=[]),
        line(**{**COUNTS, "no_room": None}, counts=[]),
    ],
)
def test_what_the_helper_can_not_have_said(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_line(data)


# ---- what the user reads ----


def shown(counts: Counts, asked: Asked = Asked(), rows: int = 20) -> str:  # noqa: B008
    lines = table(counts, asked, rows)
    return "\n".join("".join(part if isinstance(part, str) else part[0] for part in parts) for parts in lines)


def test_the_table() -> None:
    counts = Counts(4.0, (("cc1", 12000), ("as", 3000), ("sh", 40), ("git", 1)), 0, 0, True)
    assert (
        shown(counts)
        == """\
 count   share  program
12,000   79.8%  cc1
 3,000   19.9%  as
    40    0.3%  sh
     1    0.0%  git
15,041 execs of 4 programs in 4.0 s, 3,760.2 a second"""
    )


def test_the_table_says_what_it_does_not_show_and_what_it_does_not_know() -> None:
    counts = Counts(10.0, (("cc1", 50), ("as", 30), ("sh", 10), ("ls", 4)), 6, 3, True)
    assert (
        shown(counts, rows=2)
        == """\
 count   share  program
    50   50.0%  cc1
    30   30.0%  as
    14   14.0%  2 programs more
     6    6.0%  of programs that found no room: raise --max-names
3 more were not counted: each came while the probe was at work on the same CPU
100 execs of 4 programs in 10.0 s, 10.0 a second"""
    )


def test_the_table_of_nothing_and_of_one() -> None:
    assert shown(Counts(0.04, (), 0, None, True)) == "0 execs in 0.0 s"
    assert shown(Counts(0.5, (("ls", 1),), 0, None, True)).endswith("\n1 exec of 1 program in 0.5 s")
    asked = Asked("kprobe:vfs_read", "user")
    assert shown(Counts(2.0, ((0, 1),), 0, None, True), asked).endswith(
        "\n1 hit of kprobe:vfs_read by 1 user in 2.0 s, 0.5 a second"
    )


def test_users_have_names_where_there_are_any() -> None:
    asked = Asked(by="user")
    counts = Counts(1.0, ((0, 2), (4123456789, 1)), 0, None, True)
    assert (
        shown(counts, asked)
        == """\
 count   share  user
     2   66.7%  root
     1   33.3%  4123456789
3 execs by 2 users in 1.0 s, 3.0 a second"""
    )
    assert as_data(counts, asked)["counts"] == [
        {"uid": 0, "user": "root", "count": 2},
        {"uid": 4123456789, "user": None, "count": 1},
    ]


def test_no_name_moves_the_cursor() -> None:
    text = shown(Counts(1.0, (("\x1b[2J", 1), ("two\nlines", 1), ("\udcff", 1)), 0, None, True))
    assert "\x1b" not in text
    assert "\\x1b[2J" in text
    assert "two\\nlines" in text
    assert text.encode()


def test_the_json() -> None:
    counts = Counts(1.23456, (("git", 2), ("\udcff", 1)), 1, None, True)
    data = json.loads(json.dumps(as_data(counts, Asked())))
    assert data == {
        "probe": "exec",
        "by": "program",
        "elapsed": 1.235,
        "total": 4,
        "no_room": 1,
        "missed": None,
        "counts": [{"program": "git", "count": 2}, {"program": "\udcff", "count": 1}],
    }


# ---- the command ----


class Helper:
    """One that has told this, and has ended."""

    def __init__(self, *told: Counts) -> None:
        self.told = told
        self.closed = False

    def messages(self) -> Iterator[Counts]:
        yield from self.told

    def hang_up(self) -> None: ...

    def close(self) -> None:
        self.closed = True


def outcome(monkeypatch: pytest.MonkeyPatch, helper: Helper, *arguments: str) -> int:
    parser = argparse.ArgumentParser()
    top.add_arguments(parser)
    monkeypatch.setattr(top, "_start", lambda *_: helper)
    try:
        return top.run(parser.parse_args(arguments), Terminal())
    finally:
        assert helper.closed


def test_the_last_counts_are_what_stays(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    helper = Helper(Counts(1.0, (("ls", 1),), 0, 0, False), Counts(2.0, (("ls", 2),), 0, 0, True))
    assert outcome(monkeypatch, helper) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[1:] == ["     2  100.0%  ls", "2 execs of 1 program in 2.0 s, 1.0 a second"]
    assert err == ""


def test_counts_that_were_not_the_last_are_shown_and_do_not_pass(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(CommandError, match="was killed: what came after these counts is not in them") as raised:
        outcome(monkeypatch, Helper(Counts(1.0, (("ls", 1),), 0, 0, False)))
    assert raised.value.status == 2
    assert "1  100.0%  ls" in capsys.readouterr().out


def test_a_helper_that_told_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CommandError, match="was killed before it had told of anything"):
        outcome(monkeypatch, Helper())


# ---- how it is launched ----


@pytest.fixture
def unprivileged(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(launch, "_effective_capabilities", lambda: 0)
    monkeypatch.setattr(launch.shutil, "which", lambda _: "/usr/bin/sudo")
    return monkeypatch


@pytest.mark.usefixtures("unprivileged")
def test_sudo_asks_for_a_password_only_where_somebody_is_to_type_it() -> None:
    assert launch.privilege_route("x") == ["/usr/bin/sudo", "-n", "--"]
    assert launch.privilege_route("x", may_ask=True) == ["/usr/bin/sudo", "--"]


def test_without_sudo(unprivileged: pytest.MonkeyPatch) -> None:
    unprivileged.setattr(launch.shutil, "which", lambda _: None)
    with pytest.raises(ProbeUnavailable, match=r"there is no sudo\. Run this command as root"):
        launch.privilege_route("this command")


def test_the_privileged_need_nothing(unprivileged: pytest.MonkeyPatch) -> None:
    unprivileged.setattr(launch, "_effective_capabilities", lambda: 1 << 39)
    assert launch.privilege_route("x") == []
    unprivileged.setattr(os, "geteuid", lambda: 0)
    assert launch.privilege_route("x") == []


def test_an_interpreter_that_is_named_is_the_only_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(launch.PYTHON_VARIABLE, raising=False)
    assert launch.interpreters("sh", "--python") == [launch.shutil.which("sh")]
    with pytest.raises(ProbeUnavailable, match=r"no-such-python is no program \(--python\)"):
        launch.interpreters("no-such-python", "--python")
    monkeypatch.setenv(launch.PYTHON_VARIABLE, "sh")
    assert launch.interpreters(None, "--python") == [launch.shutil.which("sh")]

"""``execprobe top`` without a kernel: what may be asked for, what the helper may say, and how it reads."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import struct
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_execprobe._util import originals
from pytest_execprobe.cli import top
from pytest_execprobe.cli.counting import TopAttached, TopCounts, TopFailed, parse_line
from pytest_execprobe.cli.terminal import CommandError, Terminal
from pytest_execprobe.cli.top import Asked, as_data, table
from pytest_execprobe.errors import ProbeUnavailable
from pytest_execprobe.helper.errors import ProbeError
from pytest_execprobe.helper.top import elf, places, target
from pytest_execprobe.helper.top import main as helper
from pytest_execprobe.helper.top.target import Target, near, parse
from pytest_execprobe.source import launch

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
    with pytest.raises(ProbeError) as raised:
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
    with pytest.raises(ProbeError) as raised:
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


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a file is crafted."""
    return tmp_path / "crafted"


@contextlib.contextmanager
def opened(path: Path) -> Iterator[int]:
    file = os.open(path, os.O_RDONLY)
    try:
        yield file
    finally:
        os.close(file)


@pytest.mark.parametrize(
    "data",
    [b"", b"#!/bin/sh\n" * 10, b"\x7fELF" + bytes(10), b"\x7fELF" + b"\x07" * 100, b"\x7fELF\x02\x01" + b"\xff" * 100],
    ids=["empty", "script", "short", "unknown width", "broken"],
)
def test_what_is_no_elf_file(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    with pytest.raises(elf.ElfError), opened(path) as file:
        elf.Elf(file)


def crafted(path: Path, body: bytes, *sections: tuple[int, int, int, int], segments: int = 1, count: int = 0) -> None:
    """A file for x86-64 with this at 4096, and these sections: name, type, offset and size. Of segments and sections
    its header may say that there are more. The first section has the names of all, and of symbols."""
    header = b"\x7fELF\2\1\1" + bytes(9)
    header += struct.pack(
        "<HHIQQQIHHHHHH", 3, 62, 1, 0, 64, 8192 + len(body), 0, 64, 56, segments, 64, count or len(sections), 0
    )
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, 0, 0, 8192, 8192, 1)
    table = b"".join(
        struct.pack("<IIQQQQIIQQ", name, type, 0, 0, at, size, 0, 0, 0, 0) for name, type, at, size in sections
    )
    path.write_bytes((header + segment).ljust(4096, b"\0") + body.ljust(4096 + len(body), b"\0") + table)


NAMES = b"\0.note.stapsdt\0function\0"
NOTE = struct.pack("<III", 8, 32, 3) + b"stapsdt\0" + struct.pack("<QQQ", 0x100, 0, 0) + b"prov\0go\0"
SYMBOL = struct.pack("<IBBHQQ", 15, 2, 0, 1, 0x100, 8)
NAMES_AT, NOTES_AT = 4096, 4096 + len(NAMES)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Where something is read by the reader of programs, each time."""
    places: list[int] = []
    for name in ("_unpack", "_string"):
        real = getattr(elf.Elf, name)

        def read(self: elf.Elf, what: object, at: int, real: Any = real) -> object:
            places.append(at)
            assert len(places) < 50_000, "it reads on and on"
            return real(self, what, at)

        monkeypatch.setattr(elf.Elf, name, read)
    return places


def sought(path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """What is said of a probe that is sought in a file; "" if it is found."""
    sources = path.parent / "sources"
    (sources / "uprobe").mkdir(parents=True, exist_ok=True)
    (sources / "uprobe" / "type").touch()
    monkeypatch.setattr(places, "_SOURCES", str(sources))
    try:
        found = places.find(None, Target(kind, str(path), "prov:go" if kind == "usdt" else "function"), False)
    except places.Unattached as error:
        return error.reason
    os.close(found.file)
    return ""


def test_a_crafted_file_that_is_good(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = NAMES + NOTE + SYMBOL
    symbols = (0, 2, NOTES_AT + len(NOTE), len(SYMBOL))
    crafted(path, body, (0, 3, NAMES_AT, len(NAMES)), (1, 7, NOTES_AT, len(NOTE)), symbols)
    assert sought(path, "usdt", monkeypatch) == ""
    assert sought(path, "uprobe", monkeypatch) == ""


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"count": 65535}, "more sections than the 4096 that are read at most"),
        ({"segments": 65535}, "more segments than the 64 that are read at most"),
    ],
)
def test_a_file_with_very_many_parts_is_not_read(
    path: Path, monkeypatch: pytest.MonkeyPatch, reads: list[int], more: dict[str, int], said: str
) -> None:
    crafted(path, bytes(70000 * 64), (0, 3, 4096, 1), **more)
    assert sought(path, "usdt", monkeypatch) == f"{path} can't be probed: it has {said}"
    assert len(reads) == 1


def test_a_file_with_very_many_symbols_is_not_read(
    path: Path, monkeypatch: pytest.MonkeyPatch, reads: list[int]
) -> None:
    """Of one table that is said to be huge, or of the same table very often."""
    said = f"{path} can't be probed: it has more symbols and notes than the {1 << 21} that are read at most"
    crafted(path, NAMES, (0, 3, NAMES_AT, len(NAMES)), (0, 2, NAMES_AT, 1 << 40))
    os.truncate(path, 1 << 41)
    assert sought(path, "uprobe", monkeypatch) == said
    assert len(reads) < 10
    monkeypatch.setattr(elf, "_ENTRIES_MAX", 100)
    reads.clear()
    body = NAMES + SYMBOL * 10
    crafted(path, body, (0, 3, NAMES_AT, len(NAMES)), *[(0, 2, NOTES_AT, 240)] * 2000)
    assert sought(path, "uprobe", monkeypatch) == said.replace(str(1 << 21), "100")
    assert len(reads) < 2 + 2001 + 2 * 100 + 1


@pytest.mark.parametrize("note", [NOTE, struct.pack("<III", 0, 0, 9)], ids=["a probe's", "another"])
def test_a_file_with_very_many_notes_is_not_read(
    path: Path, monkeypatch: pytest.MonkeyPatch, reads: list[int], note: bytes
) -> None:
    monkeypatch.setattr(elf, "_ENTRIES_MAX", 100)
    crafted(path, NAMES + note * 5000, (0, 3, NAMES_AT, len(NAMES)), (1, 7, NOTES_AT, 5000 * len(note)))
    said = f"{path} can't be probed: it has more symbols and notes than the 100 that are read at most"
    assert sought(path, "usdt", monkeypatch) == said
    assert len(reads) < 10 + 2 * 100


@pytest.mark.parametrize("kind", ["usdt", "uprobe"])
def test_a_file_with_very_long_texts_is_not_read(
    path: Path, monkeypatch: pytest.MonkeyPatch, reads: list[int], kind: str
) -> None:
    """The same text, over and over."""
    monkeypatch.setattr(elf, "_BYTES_MAX", 10_000)
    long = b"x" * 3000 + b"\0"
    if kind == "usdt":
        note = struct.pack("<III", 8, 3024, 3) + NOTE[12:44] + long[:3000]
        body = NAMES + note * 50
        tables = [(1, 7, NOTES_AT, len(note) * 50)]
    else:
        body = NAMES[:15] + long + SYMBOL * 50
        tables = [(0, 2, NAMES_AT + 15 + len(long), 24 * 50)]
    crafted(path, body, (0, 3, NAMES_AT, 15 + len(long)), *tables)
    said = f"{path} can't be probed: it has more bytes of names and notes than the 10000 that are read at most"
    assert sought(path, kind, monkeypatch) == said
    assert len(reads) < 20


@pytest.mark.parametrize(
    ("head", "most"),
    [(struct.pack("<III", 1 << 24, 32, 3), 1 << 20), (struct.pack("<III", 8, 1 << 20, 3) + NOTE[12:44], 4 << 20)],
    ids=["a long owner", "many texts"],
)
def test_a_crafted_note_takes_little_memory(path: Path, head: bytes, most: int) -> None:
    crafted(path, NAMES + head + bytes(1 << 24), (0, 3, NAMES_AT, len(NAMES)), (1, 7, NOTES_AT, 12))
    with opened(path) as file:
        reader = elf.Elf(file)
        tracemalloc.start()
        try:
            list(reader.usdt())
            assert tracemalloc.get_traced_memory()[1] < most
        finally:
            tracemalloc.stop()


def test_a_name_without_an_end(path: Path) -> None:
    crafted(path, b"", (0, 3, 4096, 64))
    path.write_bytes(path.read_bytes() + b"x" * 100)
    with pytest.raises(elf.ElfError, match="it is broken: it ends within"), opened(path) as file:
        elf.Elf(file)._string(elf.Section(0, 3, 0, path.stat().st_size - 50, 0, 0), 0)


def test_a_file_that_is_cut_off_while_it_is_read(path: Path) -> None:
    """Of a file in memory that would end the helper by SIGBUS."""
    crafted(path, NAMES + bytes(1 << 20), (0, 3, NAMES_AT, len(NAMES)), (0, 2, 1 << 16, 24 * 100), (1, 7, 1 << 16, 12))
    with opened(path) as file:
        reader = elf.Elf(file)
        os.truncate(path, 5000)
        for read in (reader.functions, lambda: list(reader.usdt())):
            with pytest.raises(elf.ElfError, match="it is broken: it ends within"):
                read()


def test_what_is_read_across_blocks(path: Path) -> None:
    path.write_bytes(bytes(64) + b"x" * 200_000 + b"\0" + b"y" * 100)
    with opened(path) as file:
        reader = elf._File(file)
        assert reader.string(64, 1 << 20) == b"x" * 200_000
        assert len(reader.string(64, 1000)) > 1000
        assert reader.read(60, 200_010) == bytes(4) + b"x" * 200_000 + b"\0" + b"y" * 5
        with pytest.raises(elf.ElfError, match="beyond its end"):
            reader.read(64, 200_102)


def test_reading_has_an_end_in_time(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crafted(path, NAMES + SYMBOL, (0, 3, NAMES_AT, len(NAMES)), (0, 2, NOTES_AT, len(SYMBOL)))
    monkeypatch.setattr(elf, "_SECONDS", 0.0)
    assert sought(path, "uprobe", monkeypatch) == f"{path} can't be probed: it takes longer than 0 s to read"


def test_comparing_names_has_an_end_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"vfs_read{number}" for number in range(1000)]
    assert near("vfs_raed1", names)
    monkeypatch.setattr(target, "_MOMENT", -1.0)
    assert near("vfs_raed1", names) == []
    assert near("read1", names)[0] == "vfs_read1"


def noted(path: Path, place: int, semaphore: int, flags: int = 6, size: int = 8192, data: int = 4096) -> None:
    """A USDT probe that is said to be there. From 0 on to 4096 there is code, and behind that 4096 bytes of ``size``
    with other flags: as a rule, data."""
    note = struct.pack("<III", 8, 32, 3) + b"stapsdt\0" + struct.pack("<QQQ", place, 0, semaphore) + b"prov\0go\0"
    crafted(path, NAMES + note, (0, 3, NAMES_AT, len(NAMES)), (1, 7, NOTES_AT, len(note)), segments=2)
    whole = bytearray(path.read_bytes().ljust(12288, b"\0"))
    for at, (offset, kind, length) in enumerate([(0, 5, 4096), (data, flags, size - data)]):
        segment = struct.pack("<IIQQQQQQ", 1, kind, offset, offset, 0, length, length, 1)
        whole[64 + 56 * at : 64 + 56 * (at + 1)] = segment
    path.write_bytes(whole)


@pytest.mark.parametrize(
    ("place", "semaphore", "more", "said"),
    [
        (0x100, 0, {}, ""),
        (0x100, 5000, {}, ""),
        (5000, 0, {}, "where it says that prov:go is, there is no code"),
        (1 << 20, 0, {}, "where it says that prov:go is, there is no code"),
        (0x100, 0x200, {}, "where it says that the semaphore of prov:go is, there is no data"),
        (0x100, 5000, {"flags": 4}, "where it says that the semaphore of prov:go is, there is no data"),
        (0x100, 5000, {"flags": 7}, "where it says that the semaphore of prov:go is, there is no data"),
        (0x100, 1 << 20, {}, "where it says that the semaphore of prov:go is, there is no data"),
        (0x100, 8191, {}, "where it says that the semaphore of prov:go is, there is no data"),
        # What the loader makes of nothing is no file's.
        (0x100, 20000, {"size": 30000}, "where it says that the semaphore of prov:go is, there is no data"),
        (20000, 0, {"size": 30000, "flags": 5}, "where it says that prov:go is, there is no code"),
    ],
)
def test_a_probe_of_code_alone_and_a_semaphore_in_data_alone(
    path: Path, monkeypatch: pytest.MonkeyPatch, place: int, semaphore: int, more: dict[str, int], said: str
) -> None:
    noted(path, place, semaphore, **more)
    assert sought(path, "usdt", monkeypatch) == (said and f"{path} can't be probed: it is broken: {said}")


def test_a_semaphore_where_the_kernel_has_no_number_for_it(path: Path) -> None:
    """It has 32 bits, and would take the rest for all."""
    noted(path, 0x100, 5000, size=1 << 34)
    os.truncate(path, 1 << 34)
    with opened(path) as file:
        reader = elf.Elf(file)
        assert reader.is_counter((1 << 32) - 2)
        assert not reader.is_counter((1 << 32) - 1)
        assert not reader.is_counter((1 << 32) + 5000)


def test_symbols_in_a_file_of_their_own(tmp_path: Path) -> None:
    """As distributions have them: by the build ID, and without what is loaded."""
    program, symbols = tmp_path / "program", tmp_path / "symbols"
    names = NAMES + b".note.gnu.build-id\0"
    build_id = struct.pack("<III", 4, 3, 3) + b"GNU\0" + b"\1\2\3\0"
    at = 4096 + len(names)
    ids = (len(NAMES), 7, at, len(build_id))
    crafted(program, names + build_id, (0, 3, 4096, len(names)), ids)
    crafted(symbols, names + build_id + SYMBOL, (0, 3, 4096, len(names)), ids, (0, 2, at + len(build_id), len(SYMBOL)))
    whole = bytearray(symbols.read_bytes())
    whole[64 : 64 + 56] = bytes(56)
    symbols.write_bytes(whole)
    with opened(program) as file, opened(symbols) as other:
        reader, of_symbols = elf.Elf(file), elf.Elf(other)
        assert reader.build_id() == of_symbols.build_id() == b"\1\2\3"
        assert not reader.functions().own
        assert not of_symbols.functions().own
        assert reader.functions(of_symbols).own == {"function": {0x100}}


# ---- what the helper says ----


def line(**fields: object) -> bytes:
    return json.dumps(fields).encode() + b"\n"


COUNTS = {"type": "counts", "elapsed": 2.0, "no_room": 0, "missed": None, "last": True}


def test_counts_are_sorted_and_of_equals_the_first_by_name_is_first() -> None:
    counts = parse_line(line(**COUNTS, counts=[["b", 1], ["git", 3], ["a", 1]]))
    assert counts == TopCounts(2.0, (("git", 3), ("a", 1), ("b", 1)), 0, None, True)
    assert counts.total == 5


def test_counts_by_user_and_names_that_are_no_text() -> None:
    counts = parse_line(line(**{**COUNTS, "no_room": 4, "missed": 2}, counts=[[0, 3], [1000, 1]]))
    assert counts == TopCounts(2.0, ((0, 3), (1000, 1)), 4, 2, True)
    assert counts.total == 8
    counts = parse_line(line(**COUNTS, counts=[["\udcff", 1]]))
    assert isinstance(counts, TopCounts)
    assert counts.by == (("\udcff", 1),)


def test_the_other_lines() -> None:
    assert parse_line(line(type="attached", where=["here"], more="ignored")) == TopAttached(("here",))
    failed = parse_line(line(type="failed", code="c", reason="it is not there", remedy="mend it", near=["a", "b"]))
    assert failed == TopFailed("c", "it is not there", "mend it", ("a", "b"))
    assert str(failed) == "it is not there. Near it: a, b. Fix: mend it"
    assert str(TopFailed("c", "it is not there", "", ())) == "it is not there"


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


def shown(counts: TopCounts, asked: Asked = Asked(), rows: int = 20) -> str:  # noqa: B008
    lines = table(counts, asked, rows)
    return "\n".join("".join(part if isinstance(part, str) else part[0] for part in parts) for parts in lines)


def test_the_table() -> None:
    counts = TopCounts(4.0, (("cc1", 12000), ("as", 3000), ("sh", 40), ("git", 1)), 0, 0, True)
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
    counts = TopCounts(10.0, (("cc1", 50), ("as", 30), ("sh", 10), ("ls", 4)), 6, 3, True)
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
    assert shown(TopCounts(0.04, (), 0, None, True)) == "0 execs in 0.0 s"
    assert shown(TopCounts(0.5, (("ls", 1),), 0, None, True)).endswith("\n1 exec of 1 program in 0.5 s")
    asked = Asked("kprobe:vfs_read", "user")
    assert shown(TopCounts(2.0, ((0, 1),), 0, None, True), asked).endswith(
        "\n1 hit of kprobe:vfs_read by 1 user in 2.0 s, 0.5 a second"
    )


def test_users_have_names_where_there_are_any() -> None:
    asked = Asked(by="user")
    counts = TopCounts(1.0, ((0, 2), (4123456789, 1)), 0, None, True)
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
    text = shown(TopCounts(1.0, (("\x1b[2J", 1), ("two\nlines", 1), ("\udcff", 1)), 0, None, True))
    assert "\x1b" not in text
    assert "\\x1b[2J" in text
    assert "two\\nlines" in text
    assert text.encode()


def test_the_json() -> None:
    counts = TopCounts(1.23456, (("git", 2), ("\udcff", 1)), 1, None, True)
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
    """One that has written this, and has ended."""

    def __init__(self, *written: TopCounts) -> None:
        self.written = written
        self.closed = False

    def messages(self) -> Iterator[TopCounts]:
        yield from self.written

    def end_input(self) -> None: ...

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
    helper = Helper(TopCounts(1.0, (("ls", 1),), 0, 0, False), TopCounts(2.0, (("ls", 2),), 0, 0, True))
    assert outcome(monkeypatch, helper) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[1:] == ["     2  100.0%  ls", "2 execs of 1 program in 2.0 s, 1.0 a second"]
    assert err == ""


def test_counts_that_were_not_the_last_are_shown_and_do_not_pass(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(CommandError, match="was killed: what came after these counts is not in them") as raised:
        outcome(monkeypatch, Helper(TopCounts(1.0, (("ls", 1),), 0, 0, False)))
    assert raised.value.status == 2
    assert "1  100.0%  ls" in capsys.readouterr().out


def test_a_helper_that_wrote_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CommandError, match="was killed before its first counts"):
        outcome(monkeypatch, Helper())


# ---- how it is launched ----


@pytest.fixture
def unprivileged(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(originals, "geteuid", lambda: 1000)
    monkeypatch.setattr(launch, "_effective_capabilities", lambda: 0)
    monkeypatch.setattr(originals, "which", lambda *_: "/usr/bin/sudo")
    return monkeypatch


@pytest.mark.usefixtures("unprivileged")
def test_sudo_asks_for_a_password_only_where_a_user_is_to_type_it() -> None:
    assert launch.privilege_route("x") == ["/usr/bin/sudo", "-n", "--"]
    assert launch.privilege_route("x", may_ask=True) == ["/usr/bin/sudo", "--"]


def test_without_sudo(unprivileged: pytest.MonkeyPatch) -> None:
    unprivileged.setattr(originals, "which", lambda *_: None)
    with pytest.raises(ProbeUnavailable, match=r"there is no sudo\. Run this command as root"):
        launch.privilege_route("this command")


def test_the_privileged_need_nothing(unprivileged: pytest.MonkeyPatch) -> None:
    unprivileged.setattr(launch, "_effective_capabilities", lambda: 1 << 39)
    assert launch.privilege_route("x") == []
    unprivileged.setattr(originals, "geteuid", lambda: 0)
    assert launch.privilege_route("x") == []


def test_an_interpreter_that_is_named_is_the_only_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(launch.PYTHON_VARIABLE, raising=False)
    assert launch.interpreters("sh", "--python") == [shutil.which("sh")]
    with pytest.raises(ProbeUnavailable, match=r"no-such-python is no program \(--python\)"):
        launch.interpreters("no-such-python", "--python")
    monkeypatch.setenv(launch.PYTHON_VARIABLE, "sh")
    assert launch.interpreters(None, "--python") == [shutil.which("sh")]

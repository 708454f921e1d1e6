"""What was compiled and is kept: who can have written it, whether it is whole, and by what it is named."""

from __future__ import annotations

import builtins
import errno
import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from descriptors import opened

from pytest_execprobe.helper.bpf import attach, kept
from pytest_execprobe.helper.bpf.attach import Attached, Wanted
from pytest_execprobe.helper.bpf.kept import Kept, default_folder, key
from pytest_execprobe.helper.bpf.unit import RAW_TRACEPOINT, Compiled, Map, Program

UNIT = Compiled((Map("counts", 6, 4, 72, 1, 0),), (Program("on_exec", RAW_TRACEPOINT, bytes(16)),))
OTHER = UNIT._replace(maps=())
NAME = key([b"source"])


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The path begins here: pytest's own folders are below /tmp, which all can write to."""
    tmp_path.chmod(0o700)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def file(here: Path) -> Path:
    """One that is kept as it must be, in a folder that was made for it."""
    Kept("cache/execprobe").put(NAME, UNIT)
    assert got() == UNIT
    return here / "cache" / "execprobe" / f"{NAME}.bpf"


def got() -> Compiled | None:
    return Kept("cache/execprobe").get(NAME)


def with_digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=32).hexdigest().encode() + b"\n" + data


@pytest.fixture
def give(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, int], None]:
    """Has a file or folder be another user's, as whoever looks at it by a descriptor sees it."""
    owners: dict[tuple[int, int], int] = {}
    real = os.fstat

    def fstat(descriptor: int) -> os.stat_result:
        status = real(descriptor)
        fields = list(status[:10])
        fields[stat.ST_UID] = owners.get((status.st_dev, status.st_ino), status.st_uid)
        return os.stat_result(fields)

    def give(path: Path, uid: int) -> None:
        status = path.lstat()
        owners[status.st_dev, status.st_ino] = uid

    monkeypatch.setattr(os, "fstat", fstat)
    return give


# ---- whose it is ----


def test_it_and_its_folder_are_for_their_user_alone_to_write_whatever_the_umask(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = os.umask(0)
    try:
        for uid, mode in ((1000, 0o700), (0, 0o755)):
            with monkeypatch.context() as patch:
                patch.setattr(os, "geteuid", lambda uid=uid: uid)
                patch.setattr(kept, "_check", lambda _: None)
                Kept(f"of{uid}/execprobe").put(NAME, UNIT)
            folder = here / f"of{uid}" / "execprobe"
            assert [stat.S_IMODE(path.stat().st_mode) for path in (folder.parent, folder)] == [mode, mode]
            assert stat.S_IMODE((folder / f"{NAME}.bpf").stat().st_mode) == 0o600
        assert os.umask(0) == 0
    finally:
        os.umask(before)


def test_the_umask_is_as_before_where_it_cannot_be_kept() -> None:
    before = os.umask(0o027)
    try:
        Kept("/proc/nowhere").put(NAME, UNIT)
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)


@pytest.mark.parametrize("which", ["file", "folder", "above"])
def test_what_another_user_owns_is_not_used_and_nothing_is_put_there(
    file: Path, give: Callable[[Path, int], None], which: str
) -> None:
    path = {"file": file, "folder": file.parent, "above": file.parent.parent}[which]
    give(path, os.geteuid() + 1000)
    assert got() is None
    Kept("cache/execprobe").put(NAME, OTHER)
    assert got() == (OTHER if which == "file" else None)  # a file of another's, in a folder of one's own, is replaced
    give(path, 0)  # root's is as good as one's own
    assert got() == (OTHER if which == "file" else UNIT)


@pytest.mark.parametrize("mode", [0o020, 0o002])
@pytest.mark.parametrize("which", ["file", "folder", "above", "beginning"])
def test_what_others_can_write_to_is_not_used_and_nothing_is_put_there(file: Path, which: str, mode: int) -> None:
    folders = {"folder": file.parent, "above": file.parent.parent, "beginning": file.parents[2]}
    path = folders.get(which, file)
    path.chmod(stat.S_IMODE(path.stat().st_mode) | mode)
    assert got() is None
    Kept("cache/execprobe").put(NAME, OTHER)
    path.chmod(stat.S_IMODE(path.stat().st_mode) & 0o700)
    assert got() == (OTHER if which == "file" else UNIT)


def test_nor_does_a_sticky_bit_help(file: Path) -> None:
    """Others can't take away what is in such a folder, but put there what is not."""
    file.parent.chmod(0o1777)
    assert got() is None


def test_nothing_is_made_in_a_folder_that_others_can_write_to(here: Path) -> None:
    (here / "cache").mkdir()
    (here / "cache").chmod(0o777)
    Kept("cache/execprobe").put(NAME, UNIT)
    assert list((here / "cache").iterdir()) == []


# ---- links ----


def test_a_link_in_a_folder_of_ones_own_leads_there(file: Path, here: Path) -> None:
    file.parent.rename(here / "elsewhere")
    file.parent.symlink_to("../elsewhere")
    assert got() == UNIT
    (here / "elsewhere").chmod(0o777)
    assert got() is None


def test_a_link_that_another_user_could_have_put_in_the_way_is_not_followed(file: Path, here: Path) -> None:
    """Where it leads is in order, and still he would say which of several it is."""
    (here / "all").mkdir()
    (here / "all").chmod(0o1777)
    (here / "all" / "link").symlink_to(file.parent)
    assert Kept("all/link").get(NAME) is None
    Kept("all/link").put(NAME, OTHER)
    assert got() == UNIT


def test_so_does_a_link_in_place_of_the_file(file: Path, here: Path) -> None:
    file.rename(here / "moved")
    file.symlink_to("../../moved")
    assert got() == UNIT
    Kept("cache/execprobe").put(NAME, OTHER)
    assert file.is_symlink()
    assert got() == OTHER
    file.unlink()
    file.symlink_to(here / "moved")  # by a way on which is /tmp
    assert got() is None


# ---- what is in it ----


def damaged(data: bytes) -> dict[str, bytes]:
    digest, _, rest = data.partition(b"\n")
    return {
        "empty": b"",
        "cut": data[:-1],
        "cut to its digest": digest,
        "longer": data + b"\n",
        "another byte": data[:-5] + bytes([data[-5] ^ 1]) + data[-4:],
        "a wrong digest": digest[1:] + digest[:1] + b"\n" + rest,
        "no digest": rest,
        "zeros": bytes(len(data)),
        "no BPF": with_digest(b"#!/bin/sh\n"),
        "an unknown format": with_digest(b'{"format": 2, "maps": [], "programs": []}'),
        "a map that is not there": with_digest(UNIT._replace(programs=(of_map(1),)).dump()),
    }


def of_map(place: int) -> Program:
    return Program("on_exec", RAW_TRACEPOINT, b"\x18\x11\0\0" + bytes([place]) + bytes(11))


@pytest.mark.parametrize("how", damaged(bytes(5)))
def test_what_is_damaged_is_as_if_it_were_not_there_and_is_replaced(file: Path, how: str) -> None:
    file.write_bytes(damaged(file.read_bytes())[how])
    assert got() is None
    Kept("cache/execprobe").put(NAME, UNIT)
    assert got() == UNIT


def test_what_is_too_long_is_not_read(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "_LONGEST", file.stat().st_size)
    assert got() == UNIT
    monkeypatch.setattr(kept, "_LONGEST", file.stat().st_size - 1)
    assert got() is None
    os.truncate(file, 1 << 40)  # sparse: who reads it would have no memory left
    monkeypatch.undo()
    assert Kept(str(file.parent)).get(NAME) is None


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
def test_what_is_no_file_is_not_read_nor_waited_for(file: Path, make: Callable[[Path], None]) -> None:
    file.unlink()
    make(file)
    assert got() is None
    Kept("cache/execprobe").put(NAME, UNIT)
    assert got() == (None if file.is_dir() else UNIT)


# ---- how it is written ----


@pytest.mark.parametrize("folder", ["/proc/nowhere", "file/below", None])
def test_where_it_cannot_be_kept_nothing_happens(here: Path, folder: str | None) -> None:
    (here / "file").touch()
    Kept(folder).put(NAME, UNIT)
    assert Kept(folder).get(NAME) is None
    assert os.listdir(here) == ["file"]


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC, errno.EDQUOT])
def test_of_what_cannot_be_written_nothing_stays(file: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def rename(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "rename", rename)
    Kept("cache/execprobe").put(NAME, OTHER)
    assert got() == UNIT
    assert os.listdir(file.parent) == [file.name]


def test_it_is_replaced_at_once(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who reads it meanwhile has the old one or the new one, whole."""
    seen = []
    rename = os.rename

    def look_and_rename(*arguments: Any, **folders: Any) -> None:
        seen.append(got())
        rename(*arguments, **folders)

    monkeypatch.setattr(os, "rename", look_and_rename)
    with file.open("rb") as held:
        Kept("cache/execprobe").put(NAME, OTHER)
        assert seen == [UNIT]
        assert got() == OTHER
        assert held.read() == with_digest(UNIT.dump())


def test_the_oldest_are_forgotten(file: Path) -> None:
    at = file.stat().st_mtime
    for number in range(40):
        other = file.with_name(f"{number:02}.bpf")
        other.write_bytes(b"")
        os.utime(other, (at - 100 + number,) * 2)
    Kept("cache/execprobe").put(NAME, UNIT)
    left = sorted(path.name for path in file.parent.iterdir())
    assert left == sorted([file.name, *(f"{number:02}.bpf" for number in range(40 - 31, 40))])


def test_nothing_is_forgotten_but_what_was_kept(file: Path) -> None:
    """The folder can be a link to one that has more in it. What was being written when its process died goes, too."""
    at = file.stat().st_mtime
    others = [file.with_name(name) for name in (*map(str, range(40)), "bpf", ".profile", "thesis.tex", "deep.bpf.old")]
    for path in others:
        path.touch()
        os.utime(path, (at - 1000,) * 2)
    for number in range(40):
        begun = file.with_name(f".{number:016x}.bpf")
        begun.touch()
        os.utime(begun, (at - 100 + number,) * 2)
    Kept("cache/execprobe").put(NAME, UNIT)
    left = {path.name for path in file.parent.iterdir()}
    assert left > {path.name for path in others}
    assert len(left) == len(others) + 32


def test_nothing_is_left_open(file: Path) -> None:
    before = opened()
    for folder in ("cache/execprobe", "file/below", "/proc/nowhere"):
        Kept(folder).put(NAME, UNIT)
        Kept(folder).get(NAME)
    file.write_bytes(b"damaged")
    assert got() is None
    assert opened() <= before


# ---- where it is ----


@pytest.mark.parametrize(
    ("uid", "cache", "folder"),
    [
        (0, "/home/user/cache", "/var/cache/pytest-execprobe"),
        (1000, "/home/user/cache", "/home/user/cache/pytest-execprobe"),
        (1000, "relative", "/home/user/.cache/pytest-execprobe"),
        (1000, "", "/home/user/.cache/pytest-execprobe"),
    ],
)
def test_the_folder(monkeypatch: pytest.MonkeyPatch, uid: int, cache: str, folder: str) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    monkeypatch.setenv("HOME", "/home/user")
    monkeypatch.setenv("XDG_CACHE_HOME", cache)
    assert default_folder() == folder


# ---- by what it is named ----


def test_a_name_tells_parts_apart() -> None:
    names = [key(parts) for parts in ([b"ab", b"c"], [b"a", b"bc"], [b"abc"], [b"c", b"ab"], [b"ab", b"c", b""], [])]
    assert len(set(names)) == len(names)
    assert key(iter([b"ab", b"c"])) == names[0]


@pytest.fixture
def files(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of sources, and a BCC."""
    (here / "bpf" / "include" / "linux").mkdir(parents=True)
    (here / "bpf" / "execprobe.c").write_text("int x;")
    (here / "bpf" / "include" / "linux" / "version.h").write_text("")
    for name in ("__init__.py", "version.py"):
        (here / name).write_text("")
    monkeypatch.setattr(attach, "_bcc_files", lambda: (str(here / "__init__.py"), str(here / "version.py")))
    return here


WANTED = Wanted("auto", 512, {"procs": 100}, own_numbers=False, keeps=True)


def name_of(files: Path, unit: str = "TRACE", wanted: Wanted = WANTED, *, twice: bool = False) -> str | None:
    made = object.__new__(Attached)
    made._folder, made._wanted, made.twice = str(files / "bpf"), wanted, twice
    return made._key(unit)


@pytest.mark.parametrize(
    "file",
    ["bpf/execprobe.c", "bpf/abi.h", "bpf/include/linux/version.h", "bpf/include/new.h", "__init__.py", "version.py"],
)
def test_the_name_goes_by_every_file_that_is_compiled_or_compiles(files: Path, file: str) -> None:
    before = name_of(files)
    assert name_of(files) == before
    (files / file).write_text("int y;")
    assert name_of(files) not in (before, None)


def test_the_name_goes_by_where_files_are(files: Path) -> None:
    before = name_of(files)
    (files / "bpf" / "include" / "linux").rename(files / "bpf" / "include" / "uapi")
    assert name_of(files) not in (before, None)


def test_the_name_goes_by_files_in_a_folder_that_is_a_link(files: Path) -> None:
    (files / "bpf" / "include").rename(files / "elsewhere")
    (files / "bpf" / "include").symlink_to(files / "elsewhere")
    before = name_of(files)
    (files / "elsewhere" / "linux" / "version.h").write_text("int y;")
    assert name_of(files) not in (before, None)


def test_the_name_goes_by_what_is_set(files: Path) -> None:
    names = [
        name_of(files),
        name_of(files, "SYSCALLS"),
        name_of(files, wanted=WANTED._replace(route="off")),
        name_of(files, wanted=WANTED._replace(pages=256)),
        name_of(files, wanted=WANTED._replace(own_numbers=True)),
        name_of(files, twice=True),
    ]
    assert None not in names
    assert len(set(names)) == len(names)
    # What is the same program, loaded or attached otherwise.
    assert name_of(files, wanted=WANTED._replace(entries={"procs": 9}, route="always", keeps=False)) == names[0]


@pytest.mark.parametrize("what", ["release", "version", "machine", "notes", "CPUs", "maker"])
def test_the_name_goes_by_the_kernel_and_by_what_makes_the_unit(
    files: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    before = name_of(files)
    of_kernel = os.uname()
    fields = list(of_kernel)
    opened = builtins.open
    path = {"notes": "/sys/kernel/notes", "maker": os.path.join(os.path.dirname(attach.__file__), "build.py")}.get(what)
    (files / "other").write_text("another")

    def open_other(name: Any, *arguments: Any, **options: Any) -> Any:
        return opened(files / "other" if name == path else name, *arguments, **options)

    if path is not None:
        monkeypatch.setattr(builtins, "open", open_other)
    elif what == "CPUs":
        monkeypatch.setattr(attach, "possible_cpus", lambda: 99)
    else:
        fields[{"release": 2, "version": 3, "machine": 4}[what]] += "-other"
        monkeypatch.setattr(os, "uname", lambda: os.uname_result(fields))
    after = name_of(files)
    monkeypatch.undo()
    assert after not in (before, None)


def test_what_cannot_be_read_has_no_name(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (files / "bpf" / "link.h").symlink_to("nowhere")
    assert name_of(files) is None
    (files / "bpf" / "link.h").unlink()
    monkeypatch.setattr(attach, "_bcc_files", lambda: (str(files / "gone.py"),))
    assert name_of(files) is None

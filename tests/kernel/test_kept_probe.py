"""The probe is compiled once: from then on what was kept is loaded, without a compiler, and only if it is that.

Whatever is wrong with it, the probe works, and what it says is true.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import itertools
import json
import os
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from environments import Environment
from faulty import change_helper
from programs import Programs
from recording import recording
from service import service, with_capabilities

from pytest_execprobe.errors import ProbeUnavailable
from pytest_execprobe.helper.bpf.unit import Compiled, parse
from pytest_execprobe.source import connect, launch
from pytest_execprobe.source.connect import HelperSettings

pytestmark = [
    pytest.mark.usefixtures("kernel", "stops"),
    pytest.mark.exec_budget(60),
    pytest.mark.skipif(os.geteuid() != 0, reason="execprobe: what root keeps is tested as root"),
]

UNPRIVILEGED = 64321


# ---- the second start ----

#: Starts two helpers one after the other, and of each prints the libraries that it has mapped, what it has seen of its
#: starter, its memory, and the kept files with their inodes. Arguments: what to run before the second; the files; and
#: whether it is to ignore the end of its children, as all that it starts does then.
STARTS = """
import contextlib, glob, json, os, signal, subprocess, sys
from pytest_execprobe.source.connect import HelperSettings, start_helper
from pytest_execprobe.source.events import Exec

before, kept, ignored = sys.argv[1:]
if ignored:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for number in range(2):
    if number:
        subprocess.run(["sh", "-c", before], check=True)
    source = start_helper(HelperSettings(backend="bpf"))
    child = os.posix_spawn("/bin/true", ["seen"], {})
    with contextlib.suppress(ChildProcessError):
        os.waitpid(child, 0)
    seen = [event.command.argv for event in source.sync(30).events if isinstance(event, Exec)]
    source.stop(["no such program"], 0, 30)  # which waits for what a process of its own compiles and keeps
    process = "/proc/%d/" % source.description["pid"]
    libraries = sorted({line.split()[-1] for line in open(process + "maps") if ".so" in line})
    (memory,) = [line.split(":")[1].strip() for line in open(process + "status") if line.startswith("VmRSS")]
    files = {name: os.stat(name).st_ino for name in glob.glob(kept)}
    print(json.dumps({"libraries": libraries, "seen": seen, "memory": memory, "files": files}), flush=True)
    source.close()
"""


@dataclass(frozen=True)
class Start:
    libraries: list[str]
    seen: list[list[str]]
    memory: str
    files: dict[str, int]


def starts(mounts: str, before: str = ":", *, ignored: str = "") -> list[Start]:
    """Two starts in a mount namespace of their own, after these commands there; ``before`` comes before the second."""
    inner = [sys.executable, "-c", STARTS, before, "/var/cache/pytest-execprobe/*", ignored]
    return run_starts(["unshare", "--mount", "sh", "-c", mounts + '\nexec "$@"', "sh", *inner])


def run_starts(command: Sequence[str], environment: dict[str, str] | None = None) -> list[Start]:
    made = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment)
    assert made.returncode == 0, made.stderr
    found = [Start(**json.loads(line)) for line in made.stdout.splitlines()]
    for which, start in zip(("first", "second"), found, strict=True):
        print(f"the {which} start: {start.memory} resident")
        assert start.seen == [["seen"]]
    return found


EMPTY = "mount -t tmpfs none /var/cache -o mode=755"


def unreadable_compiler() -> str:
    """Commands that leave nothing of BCC but what is loaded without its compiler."""
    places = ("/usr/lib*", "/usr/lib*/*", "/usr/local/lib*")
    libraries = {os.path.realpath(path) for place in places for path in glob.glob(place + "/libbcc.so*")}
    assert libraries
    return "\n".join(f"mount --bind /dev/null {path}" for path in sorted(libraries))


def names_a_compiler(library: str) -> bool:
    return any(name in os.path.basename(library) for name in ("libbcc.so", "libclang", "libLLVM"))


def test_the_second_start_takes_no_compiler() -> None:
    first, second = starts(EMPTY, unreadable_compiler())
    assert first.files
    assert second.files == first.files  # not written again
    for start in (first, second):
        assert [library for library in start.libraries if names_a_compiler(library)] == []
    assert any("libbcc_bpf" in library for library in second.libraries)


@pytest.fixture(scope="module")
def without_it() -> str:
    """What is said where it is removed before the second start, and shown before that."""
    show = "stat -c '%u %g %a' /var/cache/pytest-execprobe /var/cache/pytest-execprobe/* >&2"
    with pytest.raises(AssertionError) as raised:
        starts("umask 0\n" + EMPTY, f"{show}\nrm -r /var/cache/pytest-execprobe\n{unreadable_compiler()}")
    return str(raised.value)


def test_without_what_was_kept_that_start_fails(without_it: str) -> None:
    """Or the test above would say nothing."""
    assert re.search(r"could not compile the probe: OSError: .*libbcc", without_it)


def test_it_is_roots_alone(without_it: str) -> None:
    lines = [line.strip() for line in without_it.splitlines()]
    assert [line for line in lines if line.startswith("0 0 ")] == ["0 0 755", "0 0 600", "0 0 600"]


@pytest.mark.parametrize(
    "mounts",
    [EMPTY + ",size=4k", "mount -t tmpfs -o ro none /var"],
    ids=["full", "missing, and read-only"],
)
def test_where_nothing_can_be_kept_it_is_compiled_each_time(mounts: str) -> None:
    first, second = starts(mounts)
    assert (first.files, second.files) == ({}, {})


def test_it_is_compiled_where_whoever_has_started_pytest_ignores_the_end_of_children() -> None:
    first, _ = starts(EMPTY, ignored="yes")
    assert first.files


#: Compiles, and prints what of the probe sees an exec begin, and whether the kernel's symbols have been read.
READS = """
import json, os
from pytest_execprobe.source.connect import HelperSettings, start_helper

before = os.stat("/proc/kallsyms").st_atime_ns
source = start_helper(HelperSettings(backend="bpf", attempts="off"))
source.close()
print(json.dumps([source.description["entry"], os.stat("/proc/kallsyms").st_atime_ns != before]))
"""


def test_what_is_always_needed_is_compiled_without_a_look_at_the_kernels_symbols() -> None:
    mounts = f"""{EMPTY}
        mkdir /var/cache/symbols
        mount -t tmpfs -o strictatime none /var/cache/symbols
        cat /proc/kallsyms >/var/cache/symbols/copy
        mount --bind /var/cache/symbols/copy /proc/kallsyms"""
    command = ["unshare", "--mount", "sh", "-ec", mounts + '\nexec "$@"', "sh", sys.executable, "-c", READS]
    made = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert made.returncode == 0, made.stderr
    entry, has_read = json.loads(made.stdout)
    if entry != ["sched_prepare_exec"]:
        pytest.skip("execprobe: this kernel needs kprobes, and for those the symbols")
    assert not has_read


def test_a_user_with_capabilities_keeps_it_in_a_cache_of_his_own(installed: Environment, open_folder: Path) -> None:
    folder = open_folder / "kept-by-a-user"
    folder.mkdir(mode=0o700)
    os.chown(folder, UNPRIVILEGED, UNPRIVILEGED)
    prefix = with_capabilities(UNPRIVILEGED, "bpf", "perfmon", "dac_read_search")
    command = [*prefix, str(installed.python), "-c", STARTS, ":", f"{folder}/pytest-execprobe/*", ""]
    environment = {"PATH": os.environ["PATH"], "XDG_CACHE_HOME": str(folder)}
    first, second = run_starts(command, environment)
    assert first.files
    assert second.files == first.files
    assert {Path(name).stat().st_uid for name in first.files} == {UNPRIVILEGED}


def test_a_service_that_is_not_root_keeps_nothing(installed: Environment, open_folder: Path) -> None:
    folder = open_folder / "of-a-service"
    folder.mkdir(mode=0o700)
    os.chown(folder, UNPRIVILEGED, UNPRIVILEGED)
    prefix = with_capabilities(UNPRIVILEGED, "bpf", "perfmon")
    with service(folder, prefix=prefix, env={"XDG_CACHE_HOME": str(folder)}, helper=installed.helper) as served:
        assert served.serves, served.said
        assert "pytest-execprobe" not in os.listdir(folder)


# ---- what is kept is not what it should be ----


@pytest.fixture
def kept(open_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of its own for what helpers keep, empty: root alone can write to it, and to those above."""
    number = next(_numbers)
    folder = open_folder / f"kept-{number}"
    folder.mkdir(mode=0o700)
    change_helper(
        tmp_path, monkeypatch, {"bpf/kept.py": {'"/var/cache/pytest-execprobe"': repr(str(folder / "cache"))}}
    )
    yield folder / "cache"
    shutil.rmtree(folder)


_numbers = itertools.count()
_compiled: dict[str, bytes] = {}  # by name


def programs_seen(programs: Programs) -> list[str]:
    with recording(HelperSettings(backend="bpf")) as made, made.execprobe.watch() as log:
        made.recorder.stop(frozenset({"no such program"}), 0)  # when this is answered, all is kept that will be
        subprocess.run([programs.minimal], check=False)
        return log.programs


@pytest.fixture
def file(kept: Path, programs: Programs) -> Path:
    """What a first start has kept, of the units the one that is always needed. It is compiled for the first test."""
    if _compiled:
        kept.mkdir(mode=0o755)
        for name, data in _compiled.items():
            (kept / name).write_bytes(data)
            (kept / name).chmod(0o600)
    else:
        assert programs_seen(programs) == ["minimal"]
        _compiled.update({path.name: path.read_bytes() for path in kept.iterdir()})
    found = [path for path in kept.iterdir() if any(one.name == "on_exec" for one in unit_in(path).programs)]
    (file,) = found
    return file


def unit_in(file: Path) -> Compiled:
    digest, _, data = file.read_bytes().partition(b"\n")
    assert hashlib.blake2b(data, digest_size=32).hexdigest().encode() == digest
    return parse(data)


def write(file: Path, unit: Compiled) -> None:
    """With a right digest."""
    data = unit.dump()
    file.write_bytes(hashlib.blake2b(data, digest_size=32).hexdigest().encode() + b"\n" + data)


def change_byte(file: Path) -> None:
    data = file.read_bytes()
    middle = len(data) // 2
    file.write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])


def change_program(file: Path, name: str, change: Callable[[bytes], bytes]) -> None:
    unit = unit_in(file)
    programs = [one._replace(code=change(one.code)) if one.name == name else one for one in unit.programs]
    assert programs != list(unit.programs)
    write(file, unit._replace(programs=tuple(programs)))


def refused_by_the_verifier(file: Path) -> None:
    """The last of its programs jumps to nowhere: those before it have been loaded by then."""
    change_program(file, unit_in(file).programs[-1].name, lambda code: b"\x05\0\xff\x7f\0\0\0\0" + code[8:])


def refused_in_its_thread(file: Path) -> None:
    """The one that is loaded beside the others."""
    change_program(file, "on_exec_paths", lambda code: b"\x05\0\xff\x7f\0\0\0\0" + code[8:])


def maps_of_another_size(file: Path) -> None:
    """They are made before a program that uses them is refused, and must not be taken for those of the next."""
    unit = unit_in(file)
    maps = [one._replace(key_size=one.key_size + 4) if one.name == "procs" else one for one in unit.maps]
    write(file, unit._replace(maps=tuple(maps)))
    refused_by_the_verifier(file)


def no_such_map(file: Path) -> None:
    unit = unit_in(file)
    write(file, unit._replace(maps=tuple(one._replace(type=9999) for one in unit.maps)))


# More that can have become of it, and more of who can have changed it, is in tests/unit/test_kept.py.
@pytest.mark.parametrize(
    "damage", [change_byte, refused_by_the_verifier, refused_in_its_thread, maps_of_another_size, no_such_map]
)
def test_what_is_damaged_or_does_not_load_is_compiled_again(
    file: Path, programs: Programs, damage: Callable[[Path], None]
) -> None:
    before = file.read_bytes()
    damage(file)
    assert file.read_bytes() != before
    assert programs_seen(programs) == ["minimal"]
    assert file.read_bytes() == before


def falls_back(code: bytes) -> list[tuple[int, int]]:
    """Where a program goes back to the beginning of a loop by what is no jump: Linux 6.1 refuses that, as
    a back-edge."""
    instructions = [*struct.iter_unpack("<BBhi", code)]
    met, left, path, found = {0}, set[int](), [0], []
    ways = {}
    for at, (operation, _, offset, _) in enumerate(instructions):
        is_jump, kind = operation & 7 in (5, 6), operation & 0xF0
        others = [] if operation == 0x95 or (is_jump and kind == 0) else [at + 1]
        ways[at] = [*others, *([at + 1 + offset] if is_jump and kind not in (0x80, 0x90) else [])]
    while path:
        at = path[-1]
        to = ways[at].pop(0) if ways[at] else None
        if to is None:
            left.add(path.pop())
        elif to not in met:
            met.add(to)
            path.append(to)
        elif to not in left and instructions[at][0] & 7 not in (5, 6):
            found.append((at, to))
    return found


@pytest.mark.usefixtures("file")
def test_loops_are_such_as_older_verifiers_follow(kept: Path) -> None:
    programs = [program for one in kept.iterdir() for program in unit_in(one).programs]
    assert len(programs) > 5
    assert {program.name: falls_back(program.code) for program in programs if falls_back(program.code)} == {}


#: A probe that sees nothing: r0 = 0; exit.
BLIND = b"\xb7" + bytes(7) + b"\x95" + bytes(7)


def blind(file: Path) -> Compiled:
    unit = unit_in(file)
    return unit._replace(programs=tuple(one._replace(code=BLIND) for one in unit.programs))


def test_what_root_has_kept_is_believed(file: Path, programs: Programs) -> None:
    """What the tests below put there would be loaded, were it not another user's."""
    write(file, blind(file))
    with pytest.raises(ProbeUnavailable):  # it does not even see the client take on its name
        programs_seen(programs)


def others_file(file: Path) -> None:
    os.chown(file, UNPRIVILEGED, UNPRIVILEGED)


def folder_above_for_all(file: Path) -> None:
    file.parents[1].chmod(0o1777)


@pytest.mark.parametrize("arrange", [others_file, folder_above_for_all])
def test_what_another_user_can_have_put_there_is_not_loaded(
    file: Path, programs: Programs, arrange: Callable[[Path], None]
) -> None:
    good = file.read_bytes()
    write(file, blind(file))
    bad = file.read_bytes()
    arrange(file)
    assert programs_seen(programs) == ["minimal"]
    # In a folder of root's own it is put right; where others can write, nothing is.
    assert file.read_bytes() == (good if arrange is others_file else bad)


# ---- the compiler ----


@contextlib.contextmanager
def source(folder: Path, patch: pytest.MonkeyPatch, first: str) -> Iterator[Path]:
    """The probe's source, with a line before its first."""
    bpf = folder / "changed" / "bpf"
    shutil.copytree(connect.bpf_folder(), bpf)
    file = bpf / "execprobe.c"
    file.write_text(first + "\n" + file.read_text())
    patch.setattr(connect, "bpf_folder", lambda: bpf)
    yield bpf


def refusal() -> str:
    with pytest.raises(ProbeUnavailable) as raised, recording(HelperSettings(backend="bpf")):
        pass
    return str(raised.value)


def test_no_variable_reaches_the_compiler(kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A header that CPATH alone leads to is not found: what is kept is for others, too."""
    headers = tmp_path / "headers"
    headers.mkdir()
    (headers / "in_cpath.h").write_text("")
    variables = dict.fromkeys(("CPATH", "C_INCLUDE_PATH"), str(headers))
    with (
        source(tmp_path, monkeypatch, "#include <in_cpath.h>") as bpf,
        service(tmp_path / "socket", f"--bpf={bpf}", env=variables, helper=launch.HELPER) as served,
    ):
        assert not served.serves
        assert "BCC could not compile the probe" in served.said
        assert "in_cpath.h" in served.said
    assert not kept.exists()


def test_what_the_compiler_says_is_told(kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with source(tmp_path, monkeypatch, '#error "this is no probe"'):
        said = refusal()
    assert "BCC could not compile the probe" in said
    assert "this is no probe" in said
    assert not kept.exists()


@pytest.mark.parametrize(
    ("instead", "said"),
    [
        ("os.kill(os.getpid(), 9)", "BCC ended while it compiled the probe"),
        ("os.abort()", "BCC ended while it compiled the probe"),
        ("{}['no such function']", "BCC could not compile the probe: KeyError: 'no such function'"),
    ],
)
def test_a_compiler_that_dies_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, instead: str, said: str) -> None:
    imports = "    bcc = import_bcc()\n"
    change_helper(tmp_path, monkeypatch, {"bpf/build.py": {imports: f"    {instead}\n{imports}"}})
    assert said in refusal()


def test_where_no_thread_can_be_begun_all_is_loaded_by_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, programs: Programs
) -> None:
    begins = "_thread.start_new_thread(load_slowest, ())"
    change_helper(tmp_path, monkeypatch, {"bpf/load.py": {begins: 'raise RuntimeError("can\'t start new thread")'}})
    assert programs_seen(programs) == ["minimal"]


@pytest.mark.parametrize(("number", "is_final"), [("EACCES", False), ("EPERM", True)])
def test_what_a_verifier_refuses_is_compiled_otherwise(
    kept: Path, programs: Programs, number: str, is_final: bool
) -> None:
    """And that is kept. Where nothing may be loaded at all it is not."""
    attach = launch.HELPER / "bpf" / "attach.py"
    text, loads = attach.read_text(), "                self.loaded.load(made, entries)\n                break\n"
    assert text.count(loads) == 1
    refuses = f"                if not twice: raise LoadError('a program', OSError(errno.{number}, 'so it says'))\n"
    attach.write_text(text.replace(loads, refuses + loads))
    if is_final:
        with pytest.raises(ProbeUnavailable, match="so it says"):
            programs_seen(programs)
        return
    assert programs_seen(programs) == ["minimal"]
    assert {one.name for file in kept.iterdir() for one in unit_in(file).programs} >= {"on_exec", "on_exec_stop"}


def test_what_is_compiled_while_a_file_of_it_is_exchanged_is_not_kept(
    kept: Path, programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by an upgrade. It is used, and the next start compiles what is there then."""
    with source(tmp_path, monkeypatch, "") as bpf:
        build = launch.HELPER / "bpf" / "build.py"
        text = build.read_text()
        exchange = f"open({str(bpf / 'execprobe.c')!r}, 'a').write('//')\n"
        build.write_text(text.replace("    bcc = import_bcc()\n", f"    {exchange}    bcc = import_bcc()\n"))
        assert programs_seen(programs) == ["minimal"]
        assert not kept.exists()
        build.write_text(text)
        assert programs_seen(programs) == ["minimal"]
        assert kept.exists()

"""``execprobe top``: what it counts on the whole machine is what was known to run, for every kind of probe.

Others may run programs meanwhile, so the programs of these tests have names of their own.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import pty
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from programs import Programs
from recording import watched_to_its_end

from pytest_execprobe.cli.counting import Counting, TopCounts, start_counting
from pytest_execprobe.errors import ProbeUnavailable
from pytest_execprobe.helper.top.elf import Elf, ElfError
from pytest_execprobe.source.launch import helper_command, helper_environment, interpreters, privilege_route

pytestmark = [pytest.mark.usefixtures("kernel"), pytest.mark.exec_budget(2400), pytest.mark.bpf]

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="execprobe: these tests do what root alone can")
needs_kprobes = pytest.mark.skipif(
    not os.path.exists("/sys/bus/event_source/devices/kprobe/type"), reason="execprobe: this kernel has no kprobes"
)

MINE = f"top{os.getpid()}"
TIMES = 7


class Counted:
    """What was counted while the block ran."""

    def __init__(self, helper: Counting) -> None:
        self.helper = helper
        self.counts: TopCounts

    def of(self, name: str | int) -> int:
        return dict(self.counts.by).get(name, 0)

    @property
    def mine(self) -> dict[str | int, int]:
        """By the programs of this test run, without the prefix."""
        return {str(name)[len(MINE) :]: n for name, n in self.counts.by if str(name).startswith(MINE)}


@contextlib.contextmanager
def counting(*options: str) -> Iterator[Counted]:
    helper = start_counting(privilege_route("these tests"), None, options, asks=False)
    try:
        made = Counted(helper)
        yield made
        helper.end_input()
        *_, last = helper.messages()
        assert isinstance(last, TopCounts)
        assert last.last
        assert len(dict(last.by)) == len(last.by)
        made.counts = last
    finally:
        helper.close()


def copied(program: Path, folder: Path, name: str) -> Path:
    """A program under a name that no other on this machine has."""
    return Path(shutil.copy(program, folder / f"{MINE}{name}"))


def run_as(uid: int, program: Path, *arguments: str) -> None:
    """By a user who could not find it: the folders of tests are closed to others."""
    with program.open("rb") as file:
        path = f"/proc/self/fd/{file.fileno()}"
        subprocess.run([path, *arguments], user=uid, pass_fds=[file.fileno()], check=True, stdout=subprocess.DEVNULL)


def run(*command: str | Path) -> str:
    return subprocess.run(list(map(str, command)), check=True, stdout=subprocess.PIPE, text=True).stdout


# ---- execs ----


def test_a_storm_on_all_cpus_is_counted_to_the_last(programs: Programs, tmp_path: Path) -> None:
    program = copied(programs.minimal, tmp_path, "-storm")
    with counting() as counted:
        run(programs.storm, program, "2000")
    assert counted.mine == {"-storm": 2000}
    assert counted.counts.no_room == counted.counts.missed == 0


def test_many_programs_are_kept_apart(programs: Programs, tmp_path: Path) -> None:
    names = {f"-{number}-{'x' * (3 * number)}": number % 3 + 1 for number in range(60)}
    for name in names:
        copied(programs.minimal, tmp_path, name)
    with counting() as counted:
        for name, times in names.items():
            for _ in range(times):
                path = tmp_path / f"{MINE}{name}"
                os.waitpid(os.posix_spawn(path, ["another"], {}), 0)
    assert counted.mine == names


def test_the_whole_name_counts_up_to_the_longest_that_a_file_can_have(programs: Programs, tmp_path: Path) -> None:
    name = "n" * (255 - len(MINE))
    deep = tmp_path / ("d" * 200) / ("e" * 200)
    deep.mkdir(parents=True)
    program = copied(programs.minimal, deep, name)
    with counting() as counted:
        run(program)
    assert counted.mine == {name: 1}


def test_a_name_is_one_whatever_was_counted_before_it(programs: Programs, tmp_path: Path) -> None:
    short, longer, longest = (copied(programs.minimal, tmp_path, "-" + "n" * length) for length in (1, 10, 100))
    with counting() as counted:
        for program in (longest, short, longer, short):
            run(programs.storm, program, "20")
    assert counted.mine == {"-n": 40, "-" + "n" * 10: 20, "-" + "n" * 100: 20}


def test_a_script_counts_as_the_script_and_a_link_as_the_link(programs: Programs, tmp_path: Path) -> None:
    script = tmp_path / f"{MINE}-script"
    script.write_text(f"#!{programs.minimal}\n")
    script.chmod(0o755)
    link = tmp_path / f"{MINE}-link"
    link.symlink_to(copied(programs.minimal, tmp_path, "-linked"))
    with counting() as counted:
        run(script)
        run(link)
    assert counted.mine == {"-script": 1, "-link": 1}


def test_a_program_without_a_path_counts_by_its_file(programs: Programs, tmp_path: Path) -> None:
    program = copied(programs.minimal, tmp_path, "-by-number")
    descriptor = os.open(program, os.O_RDONLY)
    memory = os.memfd_create(f"{MINE}-memory", 0)
    os.write(memory, programs.minimal.read_bytes())
    # What is below a descriptor's folder has a name of its own.
    folder = os.open(tmp_path, os.O_RDONLY)
    (tmp_path / f"{MINE}-below").symlink_to(program)
    with counting() as counted:
        for path in (f"/dev/fd/{descriptor}", f"/proc/self/fd/{descriptor}", f"/dev/fd/{memory}"):
            subprocess.run([path], check=True, pass_fds=(descriptor, memory))
        subprocess.run([f"/dev/fd/{folder}/{MINE}-below"], check=True, pass_fds=(folder,))
    for opened in (descriptor, memory, folder):
        os.close(opened)
    assert counted.mine == {"-by-number": 2, "-below": 1}
    assert counted.of(f"memfd:{MINE}-memory") == 1


def test_what_failed_does_not_count(tmp_path: Path) -> None:
    nothing = tmp_path / f"{MINE}-empty"
    nothing.touch(0o755)
    with counting() as counted, contextlib.suppress(OSError):
        run(nothing)
    assert counted.mine == {}


@needs_root
def test_by_user(programs: Programs) -> None:
    uid = 300000 + os.getpid()
    with counting("--by", "user") as counted:
        for _ in range(TIMES):
            run_as(uid, programs.minimal)
        run(programs.minimal)
    assert counted.of(uid) == TIMES
    assert counted.of(0) >= 1


def test_what_finds_the_map_full_is_told(programs: Programs, tmp_path: Path) -> None:
    minimal = [copied(programs.minimal, tmp_path, f"-{number}") for number in range(5)]
    with counting("--max-names", "2") as counted:
        for program in minimal:
            run(program)
            run(program)
    assert len(counted.counts.by) == 2
    assert counted.counts.no_room >= 6
    assert counted.counts.total >= 10


# ---- the other probes ----


@pytest.mark.parametrize(
    ("probe", "hits", "listened"),
    [
        ("uprobe:{program}:probed_tick", TIMES, False),
        ("uprobe:c:getppid", TIMES, False),
        ("usdt:{program}:probed:plain", 2 * TIMES, False),
        ("usdt:{program}:probed:guarded", TIMES, True),
        ("tracepoint:syscalls:sys_enter_getppid", TIMES, False),
        pytest.param("kprobe:{kernel}", TIMES, False, marks=[needs_kprobes, pytest.mark.may_skip]),
    ],
    ids=["uprobe", "uprobe of a library by its short name", "usdt", "usdt with a semaphore", "tracepoint", "kprobe"],
)
def test_each_kind_of_probe(programs: Programs, tmp_path: Path, probe: str, hits: int, listened: bool) -> None:
    program = copied(programs.probed, tmp_path, "")
    kernel = {"x86_64": "__x64_sys_getppid", "aarch64": "__arm64_sys_getppid"}.get(platform.machine(), "sys_getppid")
    with counting("--probe", probe.format(program=program, kernel=kernel)) as counted:
        said = run(program, str(TIMES))
    assert counted.mine == {"": hits}
    assert int(said) == (TIMES if listened else 0)


@needs_root
def test_another_probe_by_user(programs: Programs) -> None:
    uid = 300000 + os.getpid()
    with counting("--by", "user", "--probe", f"uprobe:{programs.probed}:probed_tick") as counted:
        run_as(uid, programs.probed, str(TIMES))
    assert counted.counts.by == ((uid, TIMES),)


def refusal(probe: str) -> str:
    with pytest.raises(ProbeUnavailable) as raised, counting("--probe", probe):
        pass
    return str(raised.value)


@pytest.mark.parametrize(
    ("probe", "reason", "near"),
    [
        ("uprobe:{program}:probed_tikc", "probed has no function probed_tikc", "probed_tick"),
        ("uprobe:c:getpidd", "has no function getpidd", "getpid"),
        ("uprobe:{program}:probed_semaphores", "has no function probed_semaphores", ""),  # it is data
        ("uprobe:{program}:getppid", "is a function of another library", "name the library that has it"),
        ("uprobe:c-which-is-not-there:x", "there is no library or program c-which-is-not-there", "give its path"),
        ("uprobe:/nonexistent:x", "/nonexistent can't be probed: No such file or directory", ""),
        ("uprobe:/dev/null:x", "/dev/null can't be probed: it is no program or library", ""),
        ("uprobe:{source}:x", "can't be probed: it is no ELF file", "name a program or a library"),
        ("usdt:{program}:probed:plan", "has no USDT probe probed:plan", "probed:plain"),
        ("usdt:{minimal}:probed:plain", "has no USDT probe probed:plain, nor any other", "readelf -n"),
        ("tracepoint:sched:sched_process_exe", "has no tracepoint sched:sched_process_exe", "sched:sched_process_exec"),
        pytest.param("kprobe:vfs_raed", "has no function vfs_raed", "vfs_read", marks=needs_kprobes),
        pytest.param("kprobe:execve", "has no function execve", "sys_execve", marks=needs_kprobes),
    ],
)
@pytest.mark.may_skip
def test_a_probe_that_does_not_exist(programs: Programs, probe: str, reason: str, near: str) -> None:
    text = refusal(probe.format(program=programs.probed, minimal=programs.minimal, source=__file__))
    assert reason in text
    assert near in text.partition(reason)[2]


@pytest.mark.may_skip
def test_a_kernel_without_kprobes() -> None:
    if os.path.exists("/sys/bus/event_source/devices/kprobe/type"):
        pytest.skip("execprobe: this kernel has kprobes")
    text = refusal("kprobe:vfs_read")
    assert "this kernel was built without kprobes" in text
    assert "use a tracepoint" in text


@pytest.mark.may_skip
@needs_kprobes
def test_a_name_that_several_functions_of_the_kernel_have() -> None:
    seen: set[str] = set()
    for line in Path("/proc/kallsyms").read_text().splitlines():
        _, kind, name = line.split()[:3]
        if kind == "t" and name in seen and name.isidentifier():
            break
        seen.add(name) if kind == "t" else None
    assert f"functions {name}, and a probe by name would see one of them" in refusal(f"kprobe:{name}")


@pytest.mark.may_skip
def test_a_function_that_is_chosen_at_run_time() -> None:
    for path in ("/lib/x86_64-linux-gnu/libc.so.6", "/lib64/libc.so.6"):
        if not os.path.exists(path):
            continue
        with open(path, "rb") as file:
            indirect = Elf(file.fileno()).functions().indirect
        if indirect:
            assert "is chosen anew for each machine" in refusal(f"uprobe:{path}:{min(indirect)}")
            return
    pytest.skip("execprobe: this libc has no indirect functions, or is elsewhere")


def test_a_broken_file_is_told_and_no_more(programs: Programs, tmp_path: Path) -> None:
    """The reader runs with privilege, on files that anybody may have written."""
    chance = random.Random(1)
    whole, broken = programs.probed.read_bytes(), tmp_path / "broken"
    ends = {"whole": 0, "told": 0}
    for _ in range(500):
        data = bytearray(whole[: chance.choice([len(whole), chance.randrange(len(whole))])])
        for _ in range(chance.randrange(20)):
            # Most of what is read stands at the beginning and, of the sections, at the end.
            at = chance.choice([chance.randrange(len(data)), chance.randrange(200), -chance.randrange(1, 2500)])
            if -len(data) <= at < len(data):
                data[at] = chance.randrange(256)
        broken.write_bytes(data)
        try:
            with broken.open("rb") as file:
                elf = Elf(file.fileno())
                elf.functions()
                list(elf.usdt())
            ends["whole"] += 1
        except ElfError:
            ends["told"] += 1
    assert min(ends.values()) > 20


# ---- what it tells, and what it does not ----


def raw(*options: str) -> subprocess.Popen[bytes]:
    """The helper itself, with what it is told as it comes."""
    (python, *_) = interpreters(None, "")
    command = helper_command(privilege_route("these tests"), python, "top", *options)
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=helper_environment()
    )


def attached(helper: subprocess.Popen[bytes]) -> dict[str, object]:
    assert helper.stdout is not None
    fields = json.loads(helper.stdout.readline())
    assert isinstance(fields, dict)
    assert fields["type"] == "attached", fields
    return fields


def test_no_argument_gets_out(programs: Programs, tmp_path: Path) -> None:
    program = copied(programs.minimal, tmp_path, "-secret")
    with raw("--interval", "0.1") as helper:
        attached(helper)
        run(program, "a-password")
        output, _ = helper.communicate()
    assert f"{MINE}-secret".encode() in output
    assert b"a-password" not in output
    assert str(tmp_path).encode() not in output


def test_it_tells_at_every_interval() -> None:
    with counting("--interval", "0.1") as counted:
        messages = counted.helper.messages()
        first, second = next(messages), next(messages)
    assert isinstance(first, TopCounts)
    assert isinstance(second, TopCounts)
    assert not first.last
    assert first.elapsed < second.elapsed < counted.counts.elapsed


def test_it_ends_when_its_time_is_up() -> None:
    with raw("--duration", "0.2") as helper:
        attached(helper)
        assert helper.stdout is not None
        last = json.loads(helper.stdout.read())
    assert last["last"]
    assert last["elapsed"] >= 0.2
    assert helper.returncode == 0


@needs_root
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_it_tells_once_more_when_it_is_ended(programs: Programs, tmp_path: Path, number: signal.Signals) -> None:
    program = copied(programs.minimal, tmp_path, "-last")
    with raw() as helper:
        attached(helper)
        run(program)
        helper.send_signal(number)
        assert helper.stdout is not None
        last = json.loads(helper.stdout.read())
    assert last["last"]
    assert [f"{MINE}-last", 1] in last["counts"]
    assert helper.returncode == 0


def test_it_gives_up_every_privilege_once_it_counts() -> None:
    with raw() as helper:
        pid = attached(helper)["pid"]
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        helper.communicate()
    fields = {key: value.split() for key, _, value in (line.partition(":") for line in lines)}
    assert "0" not in fields["Uid"]
    assert "0" not in fields["Gid"]
    assert fields["Groups"] == []
    assert fields["NoNewPrivs"] == ["1"]
    kernel = tuple(map(int, platform.release().split("-")[0].split(".")[:2]))
    if kernel >= (5, 19):
        assert {fields[name][0] for name in ("CapPrm", "CapEff", "CapInh", "CapAmb")} == {"0" * 16}


def test_it_ends_with_whoever_started_it_however_that_ends() -> None:
    program = """
import json, signal, sys
from subprocess import PIPE, Popen
helper = Popen(sys.argv[1:], stdin=PIPE, stdout=PIPE)
print(json.loads(helper.stdout.readline())["pid"], flush=True)
signal.pause()
"""
    (python, *_) = interpreters(None, "")
    command = helper_command(privilege_route("these tests"), python, "top")
    between = subprocess.Popen([sys.executable, "-c", program, *command], stdout=subprocess.PIPE, text=True)
    assert between.stdout is not None
    with watched_to_its_end(int(between.stdout.readline())):
        between.kill()
        between.wait()
    between.stdout.close()


# ---- the command ----


@contextlib.contextmanager
def command(*options: str) -> Iterator[subprocess.Popen[str]]:
    """``execprobe top``, which counts by now: that is said where somebody may read it."""
    main, side = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest_execprobe.cli", "top", *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=side,
        text=True,
        env={**os.environ, "TERM": "xterm"},
    )
    os.close(side)
    try:
        said = b""
        while b"counting" not in said:
            said += os.read(main, 4096)
        yield process
    finally:
        process.kill()
        process.wait()
        os.close(main)
        assert process.stdout is not None
        process.stdout.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_ctrl_c_leaves_the_table(programs: Programs, tmp_path: Path, number: signal.Signals) -> None:
    often, seldom = (copied(programs.minimal, tmp_path, name) for name in ("-often", "-seldom"))
    with command("--rows", "1000") as process:
        run(seldom, "--with", "an-argument")
        run(programs.storm, often, "200")
        process.send_signal(number)
        output, _ = process.communicate()
    assert process.returncode == 0
    rows = [line.split() for line in output.splitlines()]
    mine = [(row[0], row[2]) for row in rows if len(row) > 2 and row[2].startswith(MINE)]
    assert mine == [("200", f"{MINE}-often"), ("1", f"{MINE}-seldom")]
    assert "an-argument" not in output
    assert rows[-1][1:3] == ["execs", "of"]


def test_its_json_has_all_counts(programs: Programs, tmp_path: Path) -> None:
    named = [copied(programs.minimal, tmp_path, f"-{number}") for number in range(30)]
    with command("--json", "--rows", "1") as process:
        for program in named:
            run(program)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate()
    data = json.loads(output)
    assert {row["program"] for row in data["counts"]} >= {program.name for program in named}
    assert data["total"] == sum(row["count"] for row in data["counts"])


def test_its_error_names_what_is_near() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest_execprobe.cli", "top", "--probe", "tracepoint:sched:sched_process_exe"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert "execprobe: the running kernel has no tracepoint" in done.stderr
    assert "Near it: sched:sched_process_exec" in done.stderr


@needs_root
def test_a_helper_that_is_killed_is_told() -> None:
    """What it had counted is lost, or old, and that must not pass for the counts."""
    with command() as process:
        (helper,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        with watched_to_its_end(int(helper)):
            os.kill(int(helper), signal.SIGKILL)
        output, _ = process.communicate()
    assert process.returncode == 2
    assert output == ""

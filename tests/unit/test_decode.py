"""Kernel records, packed by hand, into events."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from fakes import event_of, exec_event, kernel_record

from pytest_execprobe._util.paths import program_name
from pytest_execprobe.helper import wire
from pytest_execprobe.source.decode import Commands, arguments_at, decode, running
from pytest_execprobe.source.events import Blind, Branch, Ended, Exec, Process, Running

CUT, UNREAD, ALL, KEPT = wire.FLAG_ARGV_CUT, wire.FLAG_ARGV_UNREAD, wire.FLAG_SCRIPTS_ALL, wire.FLAG_ARGV0_KEPT
AT_FDCWD = -100


def exec_of(record: bytes, root: int = 1, *, lost: bool = False) -> Exec:
    event = event_of(record, root, lost)
    assert isinstance(event, Exec)
    return event


def decoded(**fields: object) -> Exec:
    return exec_of(kernel_record(**fields))  # type: ignore[arg-type]


def test_events_are_taken_apart_as_they_come() -> None:
    """What is equal for one after the other is one object. What is of another tree, or no record, is left out."""
    ours, theirs = (1, 900, 77, 5), (2, 800, 77, 5)
    said = wire.EVENT.pack(2, 24, 0) + bytes(12)
    payload = b"".join(
        [
            wire.event(kernel_record(slot=ours, parent=(70, 500))),
            said,
            wire.event(kernel_record(slot=theirs)),
            wire.event(kernel_record(wire.KIND_EXIT, slot=ours, previous_at=2000, at=3000)),
            wire.event(kernel_record(slot=ours, pid=78, parent=(70, 500), at=2001)[: wire.HEAD.size], lost=True),
            said,
        ]
    )
    first, end, lost = decode(payload, 1, Commands())
    assert isinstance(first, Exec)
    assert isinstance(lost, Exec)
    assert end == Ended(3000, 77, Branch(900, 77, 5), (77, 2000), 0)
    assert (first.lost, lost.lost, lost.parent, lost.branch) == (False, True, (70, 500), (900, 77, 5))
    assert first.branch is end.branch is lost.branch
    assert first.parent is lost.parent
    for cut in range(1, len(payload)):
        with pytest.raises(wire.WireError) if wire_ends_within(payload, cut) else contextlib.nullcontext():
            decode(payload[:cut], 1, Commands())


def test_what_is_equal_is_one_object_in_the_next_payload_too() -> None:
    """Buffers of several CPUs come in turns."""
    commands = Commands()
    record = wire.event(kernel_record(slot=(1, 900, 70, 5), parent=(70, 500)))
    first, second = (decode(record, 1, commands)[0] for _ in range(2))
    assert isinstance(first, Exec)
    assert isinstance(second, Exec)
    assert first.branch is second.branch
    assert first.parent is second.parent


def test_each_record_is_read_by_itself_whatever_was_before() -> None:
    """Of several trees, users and branches."""
    records = [
        kernel_record(slot=slot, pid=pid, uid=uid, gid=gid, kind=kind, stopped=stopped)
        for slot in ((1, 900, 77, 5), (1, 901, 78, 6), (2, 800, 77, 5), (2, 900, 77, 5))
        for pid in (77, 78)
        for uid, gid in ((1000, 100), (1000, 0), (0, 0))
        for kind in (wire.KIND_EXEC, wire.KIND_EXIT)
        for stopped in (0, 1, 2)
    ]
    events = [wire.event(record) for record in records]
    expected = [decode(event, 1, Commands()) for event in events]
    for step in (1, 5, 7, 11):
        order = [number * step % len(events) for number in range(len(events))]
        assert sorted(order) == list(range(len(events)))
        together = decode(b"".join(events[number] for number in order), 1, Commands())
        assert together == [event for number in order for event in expected[number]]


def wire_ends_within(payload: bytes, cut: int) -> bool:
    """Whether an end there is within something."""
    at = 0
    while at < cut:
        at += wire.EVENT.unpack_from(payload, at)[1]
    return at != cut


# ---- execs ----


def test_exec() -> None:
    assert decoded(parent=(70, 500), previous_at=600) == exec_event(
        at=2000,
        entered=1000,
        pid=77,
        branch=Branch(born=900, top=77, thread=5),
        parent=(70, 500),
        previous=(77, 600),
        ppid=7,
        uid=1000,
        gid=100,
        comm="git",
        path="/usr/bin/git",
        executable="/usr/bin/git",
        interpreter=None,
        argv=("git", "fetch"),
        argv_truncated=False,
        error=None,
        lost=False,
    )


def test_exec_without_a_parent_or_a_previous_image() -> None:
    event = decoded(parent=(70, 0), previous_at=0)
    assert (event.parent, event.previous) == (None, None)


def test_script() -> None:
    command = decoded(
        path=b"./release.sh\0",
        interpreter=b"/bin/sh\0",
        components=b"dash\0bin\0usr\0/\0",
        scripts=b"release-1.sh\0opt\0/\0",
        argv=b"/bin/sh\0-e\0./release.sh\0v1.2\0",
        flags=ALL,
    ).command
    assert (command.path, command.interpreter, command.executable) == ("./release.sh", "/bin/sh", "/usr/bin/dash")
    assert (command.script, command.nested, command.arguments_at) == ("/opt/release-1.sh", (), 3)
    assert command.argv == ("/bin/sh", "-e", "./release.sh", "v1.2")


@pytest.mark.parametrize(
    ("components", "executable"),
    [
        (b"git\0bin\0usr\0/\0", "/usr/bin/git"),
        (b"git\0/\0", "/git"),
        (b"git\0\xc3\xbc\0/\0", "/ü/git"),
        (b"git\0\xff\0/\0", "/\udcff/git"),
        (b"git\0bin\0..\0", None),  # it goes on above, too deep to be read
        (b"..\0", None),
        (b"memfd:payload\0.\0", "memfd:payload"),
        (b"a\0b\0.\0", None),
    ],
)
def test_executable_is_its_components_reversed_or_none(components: bytes, executable: str | None) -> None:
    assert decoded(components=components).command.executable == executable


@pytest.mark.parametrize(
    ("scripts", "flags", "script", "nested"),
    [
        (b"x.sh\0opt\0/\0", ALL, "/opt/x.sh", ()),
        (b"inner\0/\0outer\0opt\0/\0x.sh\0/\0", ALL, "/x.sh", ("/inner", "/opt/outer")),
        (b"memfd:x\0.\0", ALL, "memfd:x", ()),
        (b"inner\0..\0x.sh\0/\0", ALL, "/x.sh", (None,)),  # one lies too deep
        (b"x.sh\0opt\0..\0", ALL, None, None),
        (b"inner\0/\0", 0, None, None),  # there were more than fitted in: the script itself is not among these
        (b"", 0, None, None),
        (b"", ALL, None, None),
    ],
)
def test_files_of_a_script_and_of_its_interpreters(
    scripts: bytes, flags: int, script: str | None, nested: tuple[str | None, ...] | None
) -> None:
    event = decoded(interpreter=b"/bin/sh\0", scripts=scripts, flags=flags)
    assert (event.command.script, event.command.nested) == (script, nested)


def test_what_is_no_script_has_no_file_of_one() -> None:
    event = decoded(scripts=b"x.sh\0/\0", flags=ALL)
    assert (event.command.script, event.command.nested, event.command.arguments_at) == (None, (), 1)


@pytest.mark.parametrize(
    ("argv", "levels", "kept", "at"),
    [
        (("/bin/sh", "./x", "a"), 1, False, 2),
        (("/bin/sh", "-e", "./x", "a"), 1, False, 3),
        (("/bin/sh", "-e", "./x", "./x"), 1, False, 3),  # no option comes behind an option
        (("/bin/sh", "./x", "a", "./x"), 1, False, 2),
        (("/bin/sh", "./x", "./x"), 1, False, None),  # the option of its #! line, or its first argument
        (("/bin/sh", "a", "b", "./x"), 1, False, None),
        (("/bin/sh", "/inner", "-o", "./x", "a"), 2, False, 4),
        (("/bin/sh", "-e", "/inner", "-o", "./x", "a"), 2, False, 5),
        (("/bin/sh", "./x", "./x", "a"), 2, False, 3),  # its interpreter is a script of the same path, elsewhere
        (("/bin/sh", "-e", "./x", "a"), None, False, 3),
        (("/bin/sh", "./x", "a", "./x"), None, False, None),
        (("/usr/bin/qemu", "./x", "argv0", "a"), 1, True, 3),
        (("/usr/bin/qemu", "./x", "./x", "./x"), 1, True, 3),
        (("/usr/bin/qemu", "/inner", "/inner", "./x", "a"), 2, True, 4),  # a script for a shell of another machine
        (("/usr/bin/qemu", "/inner", "/inner", "-e", "./x", "a"), 2, True, 5),
        (("/usr/bin/qemu", "/inner", "/inner", "./x", "./x"), 2, True, None),
        (("/bin/sh", "/qemu", "./x", "argv0", "a"), 2, True, None),  # a program for a qemu that is a script
        (("/usr/bin/qemu", "/i", "/i", "/inner", "./x"), 3, True, None),
        (("/usr/bin/qemu",), 2, True, None),
        (("/usr/bin/qemu", "./x", "argv0", "a"), None, True, None),
        (("/bin/sh",), 1, False, None),
        (None, 1, False, None),
    ],
)
def test_where_the_arguments_of_a_script_begin(
    argv: tuple[str, ...] | None, levels: int | None, kept: bool, at: int | None
) -> None:
    assert arguments_at(argv, "./x", levels, kept) == at


@pytest.mark.parametrize(
    ("argv", "arguments"),
    [
        (b"git\0fetch\0", ("git", "fetch")),
        (b"git\0", ("git",)),
        (b"", ()),
        (b"\0", ("",)),
        (b"git\0\0\0x\0", ("git", "", "", "x")),
        (b"git\0x\0\0", ("git", "x", "")),
        (b"git\0two words\0", ("git", "two words")),
        (b"git\0gr\xc3\xbc\xc3\x9fe\0", ("git", "grüße")),
        (b"git\0\xff\xfe\0", ("git", "\udcff\udcfe")),
        (b"git\0a\nb\0", ("git", "a\nb")),
    ],
)
def test_argv(argv: bytes, arguments: tuple[str, ...]) -> None:
    event = decoded(argv=argv)
    assert event.command.argv == arguments
    assert event.command.argv_truncated is False


@pytest.mark.parametrize(
    ("argv", "arguments"),
    [(b"git\0add\0fil", ("git", "add", "fil")), (b"git\0add\0", ("git", "add")), (b"git\0\xc3", ("git", "\udcc3"))],
)
def test_cut_argv(argv: bytes, arguments: tuple[str, ...]) -> None:
    event = decoded(argv=argv, flags=CUT)
    assert event.command.argv == arguments
    assert event.command.argv_truncated is True


def test_unread_argv_is_none_and_not_empty() -> None:
    assert decoded(argv=b"", flags=UNREAD).command.argv is None
    assert decoded(argv=b"half", flags=UNREAD | CUT).command.argv is None


def test_unread_path_is_none_and_not_empty() -> None:
    assert decoded(path=b"").command.path is None


def test_bytes_that_are_no_utf_8_survive() -> None:
    command = decoded(path=b"/opt/\xff\0", comm=b"\xffgit", interpreter=b"/\xfe\0").command
    assert (command.path, command.comm, command.interpreter) == ("/opt/\udcff", "\udcffgit", "/\udcfe")
    assert command.path.encode("utf-8", "surrogateescape") == b"/opt/\xff"


def test_comm_ends_at_its_nul() -> None:
    assert decoded(comm=b"git\0rubbish").command.comm == "git"
    assert decoded(comm=b"exactly-fifteen").command.comm == "exactly-fifteen"


# ---- failed attempts ----


@pytest.mark.parametrize(
    ("path", "dirfd", "attempted"),
    [
        (b"/usr/bin/git\0", AT_FDCWD, "/usr/bin/git"),
        (b"./git\0", AT_FDCWD, "./git"),
        (b"git\0", 5, "/dev/fd/5/git"),
        (b"bin/git\0", 5, "/dev/fd/5/bin/git"),
        (b"\0", 5, "/dev/fd/5"),
        (b"/usr/bin/git\0", 5, "/usr/bin/git"),
        (b"\0", AT_FDCWD, ""),
        (b"", 5, None),
    ],
)
def test_path_of_a_failed_execveat(path: bytes, dirfd: int, attempted: str | None) -> None:
    event = decoded(kind=wire.KIND_ATTEMPT, error=2, path=path, dirfd=dirfd, components=b"", flags=0)
    assert event.command.path == attempted


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (2, "ENOENT"),
        (13, "EACCES"),
        (8, "ENOEXEC"),
        (512, "ERESTARTSYS"),
        (513, "ERESTARTNOINTR"),
        (514, "ERESTARTNOHAND"),
        (516, "ERESTART_RESTARTBLOCK"),
        (517, "EPROBE_DEFER"),
        (518, "EOPENSTALE"),
        (519, "ENOPARAM"),
        (520, "E520"),
        (530, "ERECALLCONFLICT"),
        (9999, "E9999"),
    ],
)
def test_error_of_an_attempt(number: int, name: str) -> None:
    event = decoded(kind=wire.KIND_ATTEMPT, error=number, components=b"", flags=0)
    assert event.error == name
    assert event.command.executable is None
    assert event.command.argv == ("git", "fetch")


def test_success_has_no_error_whatever_the_field_holds() -> None:
    assert decoded(error=2).error is None


def test_successful_execveat_keeps_the_kernels_own_path() -> None:
    assert decoded(path=b"/dev/fd/5\0", dirfd=9).command.path == "/dev/fd/5"


# ---- whose tree ----


def test_branch_is_that_of_the_root() -> None:
    data = kernel_record(slot=(9, 950, 77, 2))
    assert exec_of(data, 9).branch == Branch(950, 77, 2)


@pytest.mark.parametrize("kind", [wire.KIND_EXEC, wire.KIND_ATTEMPT, wire.KIND_EXIT, wire.KIND_UNFOLLOWED])
def test_record_of_another_tree_is_none(kind: int) -> None:
    assert event_of(kernel_record(kind), 2, lost=False) is None


# ---- in PID namespaces ----


@pytest.mark.parametrize("kind", [wire.KIND_EXEC, wire.KIND_ATTEMPT])
@pytest.mark.parametrize("seen", [(77, 7), (5, 1), (2, 0)])
def test_root_sees_numbers_of_its_own(kind: int, seen: tuple[int, int]) -> None:
    event = exec_of(kernel_record(kind, error=2, parent=(70, 500), previous_at=600, seen=seen), 1)
    assert (event.seen_pid, event.ppid) == (None if seen[0] == 77 else seen[0], seen[1])
    # Whatever links one record to another goes by the kernel's numbers.
    assert (event.pid, event.parent, event.previous) == (77, (70, 500), (77, 600))


def test_number_of_a_parent_that_was_just_ending_is_not_known() -> None:
    event = exec_of(kernel_record(seen=(5, wire.NOT_KNOWN)))
    assert (event.seen_pid, event.ppid) == (5, None)


@pytest.mark.parametrize("number", [0, wire.NOT_KNOWN])
def test_process_without_a_number_where_its_root_is(number: int) -> None:
    with pytest.raises(wire.WireError, match="no number where its root is"):
        event_of(kernel_record(seen=(number, 1)), 1, lost=False)


# ---- other kinds ----


def test_end_of_a_branch() -> None:
    assert event_of(kernel_record(wire.KIND_EXIT), 1, lost=False) == Ended(2000, 77, Branch(900, 77, 5), None, 0)


def test_end_of_another_process_of_a_branch() -> None:
    record = kernel_record(wire.KIND_EXIT, pid=78, previous_at=950, error=3 << 8)
    assert event_of(record, 1, lost=False) == Ended(2000, 78, Branch(900, 77, 5), (78, 950), 3 << 8)


@pytest.mark.parametrize(
    ("cwd", "expected"),
    [
        (b"git\0src\0/\0", "/src/git"),
        (b"/\0", "/"),
        (b"git\0src\0..\0", None),  # its beginning is missing
        (b"", None),
    ],
)
def test_working_directory(cwd: bytes, expected: str | None) -> None:
    command = decoded(cwd=cwd).command
    assert (command.cwd, command.executable, command.argv) == (expected, "/usr/bin/git", ("git", "fetch"))


def test_end_of_a_branch_survives_the_loss_of_its_record() -> None:
    head = kernel_record(wire.KIND_EXIT)[: wire.HEAD.size]
    assert event_of(head, 1, lost=True) == Ended(2000, 77, Branch(900, 77, 5), None, 0)


def test_blindness() -> None:
    for kind, moment in ((wire.KIND_UNFOLLOWED, False), (wire.KIND_UNMARKED, True)):
        found = event_of(kernel_record(kind), 1, lost=False)
        assert isinstance(found, Blind)
        assert (found.at, found.moment) == (2000, moment)


def test_blindness_of_what_runs_untraced_is_its_branchs_and_named() -> None:
    record = kernel_record(wire.KIND_UNTRACED, path=b"/opt/gdb\n\0", comm=b"other")
    found = event_of(record, 1, lost=False)
    assert isinstance(found, Blind)
    assert (found.at, found.moment, found.branch) == (2000, False, Branch(900, 77, 5))
    assert found.why.startswith("gdb\\n ran untraced")
    shrunk = event_of(record[: wire.HEAD.size], 1, lost=True)
    assert isinstance(shrunk, Blind)
    assert shrunk.why.startswith("other ran untraced")


# ---- lost records ----


@pytest.mark.parametrize(("kind", "error"), [(wire.KIND_EXEC, None), (wire.KIND_ATTEMPT, "ENOENT")])
def test_lost_record_shows_only_that_it_took_place(kind: int, error: str | None) -> None:
    head = kernel_record(kind, error=2, parent=(70, 500))[: wire.HEAD.size]
    event = exec_of(head, lost=True)
    assert (event.lost, event.entered, event.pid, event.error) == (True, 1000, 77, error)
    assert event.branch == Branch(900, 77, 5)
    assert event.command is None


# ---- what the kernel side can't have written ----


@pytest.mark.parametrize("size", [0, 1, wire.HEAD.size - 1])
@pytest.mark.parametrize("lost", [False, True])
def test_record_shorter_than_its_head(size: int, lost: bool) -> None:
    with pytest.raises(wire.WireError, match="cut short"):
        event_of(kernel_record()[:size], 1, lost=lost)


@pytest.mark.parametrize("missing", [1, 5, 30])
def test_record_shorter_than_it_says(missing: int) -> None:
    with pytest.raises(wire.WireError, match="shorter than it says"):
        event_of(kernel_record()[:-missing], 1, lost=False)


def _with_lengths(path: int, interpreter: int, argv: int, data: int) -> bytes:
    whole = bytearray(kernel_record())
    end = wire.HEAD.size
    whole[end - 16 : end] = b"".join(n.to_bytes(4, "little") for n in (path, interpreter, argv, data))
    return bytes(whole)


@pytest.mark.parametrize(
    "lengths", [(36, 0, 0, 35), (0, 36, 0, 35), (0, 0, 36, 35), (13, 13, 13, 35), (2**32 - 1, 0, 0, 35)]
)
def test_lengths_that_do_not_add_up(lengths: tuple[int, int, int, int]) -> None:
    with pytest.raises(wire.WireError, match="shorter than it says"):
        event_of(_with_lengths(*lengths), 1, lost=False)


@pytest.mark.parametrize("kind", [0, 7, 2**32 - 1])
def test_unknown_kind(kind: int) -> None:
    with pytest.raises(wire.WireError, match=f"unknown kind {kind}"):
        event_of(kernel_record(kind), 1, lost=False)


# ---- names ----


@pytest.mark.parametrize(
    ("path", "executable", "name"),
    [
        ("//proc/self/fd/5", "/usr/bin/git", "git"),
        ("/proc/self/fd/../fd/5", "/usr/bin/git", "git"),
        ("/proc/./self//exe", "/usr/bin/git", "git"),
        ("/proc/7/task/8/exe", "/usr/bin/git", "git"),
        ("/proc/self/map_files/7f-80", "/usr/bin/git", "git"),
        ("/proc/self/root/proc/self/exe", "/usr/bin/git", "git"),
        ("/dev/fd/../exe", "/usr/bin/git", "git"),
        ("/dev/./fd/5", "/usr/bin/git", "git"),
        ("/./dev/fd//5", "/usr/bin/git", "git"),
        ("/proc/self/root/dev/fd/5", "/usr/bin/git", "git"),
        ("/proc/self/cwd/proc/self/fd/5", "/usr/bin/git", "git"),
        ("/jail/proc/7/fd/5", "/jail/usr/bin/git", "git"),
        ("/dev/stdin", "/usr/bin/git", "git"),
        ("/proc/self/root/bin/sh", "/usr/bin/dash", "sh"),
        ("/dev/shm/tool", "/dev/shm/tool-1", "tool"),
        ("/usr/bin/git", "/usr/bin/git", "git"),
        ("git", "/usr/bin/git", "git"),
        ("./run.sh", "/usr/bin/dash", "run.sh"),
        ("/bin/sh", "/usr/bin/busybox", "sh"),
        ("/venv/bin/python", "/usr/bin/python3.11", "python"),
        ("/usr/bin/git", None, "git"),
        ("/dev/fd/5", "/usr/bin/git", "git"),
        ("/proc/self/fd/5", "/usr/bin/git", "git"),
        ("/proc/self/exe", "/usr/bin/python3.11", "python3.11"),
        ("/dev/fd/5", "memfd:payload", "memfd:payload"),
        ("/proc/self/exe", "memfd:payload", "memfd:payload"),
        ("/dev/fd/5", "memfd:", "memfd:"),
        ("/dev/fd/5", "memfd:bin/git", "memfd:bin/git"),
        ("memfd:bin/git", "/usr/bin/git", "git"),
        ("/dev/fd/5/tool", "/opt/tool-1.2", "tool"),
        ("/dev/fd/5/7", "/usr/bin/busybox", "7"),
        ("/dev/fd/5", None, None),
        ("/proc/self/exe", None, None),
        ("/dev/fd/5", "/opt/7", "7"),
        ("/opt/fd/5", "/usr/bin/git", "5"),
        ("exe", "/usr/bin/git", "exe"),
        (None, "/usr/bin/git", None),
        (None, None, None),
    ],
)
def test_program_is_named_by_its_path_unless_that_names_a_descriptor(
    path: str | None, executable: str | None, name: str | None
) -> None:
    assert program_name(path, executable, cwd="/tmp") == name


@pytest.mark.parametrize(
    ("path", "cwd", "name"),
    [
        ("./5", "/proc/77/fd", "git"),
        ("fd/5", "/proc/77", "git"),
        ("../exe", "/proc/77/fd", "git"),
        ("./5", "/tmp/fd", "5"),
        ("./5", None, "5"),
    ],
)
def test_relative_path_names_a_descriptor_where_its_folder_holds_descriptors(
    path: str, cwd: str | None, name: str
) -> None:
    assert program_name(path, "/usr/bin/git", cwd) == name


# ---- processes that have not ended ----

PROCESS = [5, 7, 100, 7, 200, True, "sleep"]


def test_running_processes() -> None:
    forked, before = [5, 8, 100, 7, 200, False, "sh"], [0, 9, 0, 0, 0, False, ""]
    assert running({"count": 4, "listed": [PROCESS, forked, before]}) == Running(
        4,
        (
            Process(5, 7, (7, 200), "sleep", own_exec=True, since=200),
            Process(5, 8, (7, 200), "sh", own_exec=False, since=100),
            Process(None, 9, None, "", own_exec=False, since=None),
        ),
    )
    assert running({"count": 0, "listed": []}) == Running(0)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"count": 1},
        {"count": 1, "listed": None},
        {"count": -1, "listed": []},
        {"count": True, "listed": []},
        {"count": 0, "listed": [PROCESS]},
        {"count": 9999, "listed": [PROCESS] * (wire.LISTED + 1)},
        {"count": 1, "listed": [PROCESS[:-1]]},
        {"count": 1, "listed": [[*PROCESS, 1]]},
        {"count": 1, "listed": [tuple(PROCESS)]},
        {"count": 1, "listed": [{}]},
        {"count": 1, "listed": [[-1, *PROCESS[1:]]]},
        {"count": 1, "listed": [[1 << 64, *PROCESS[1:]]]},
        {"count": 1, "listed": [["5", *PROCESS[1:]]]},
        {"count": 1, "listed": [[True, *PROCESS[1:]]]},
        {"count": 1, "listed": [[*PROCESS[:5], 1, "sleep"]]},
        {"count": 1, "listed": [[*PROCESS[:6], None]]},
    ],
)
def test_running_processes_that_no_helper_can_have_listed(fields: dict[str, Any]) -> None:
    with pytest.raises(wire.WireError):
        running(fields)

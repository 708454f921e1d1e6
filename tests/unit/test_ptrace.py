"""What of the probe without privilege is pure: trees, stacks, paths as the wire has them, and machines."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import struct
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from pytest_execprobe.helper import wire
from pytest_execprobe.helper.ptrace import (
    calls,
    image,
    machines,
    nearness,
    outside,
    probe,
    records,
    stack,
    statuses,
    tracer,
)
from pytest_execprobe.helper.ptrace.outside import Task
from pytest_execprobe.helper.ptrace.tree import Slot, Tracee, Tree
from pytest_execprobe.source.decode import Commands, decode
from pytest_execprobe.source.events import Branch, Ended, Exec

# ---- trees ----


def watched(*roots: int) -> tuple[Tree, Tracee]:
    tree = Tree()
    process = tree.add(10)
    for root in roots:
        tree.levels[root] = 0
        assert tree.enter(process, Slot(root, 0, 0, 0))
    return tree, process


def test_child_of_a_root_begins_a_branch_and_its_children_stay_in_it() -> None:
    tree, root = watched(1)
    child = tree.fork(root, 11, thread=12, at=100)
    grandchild = tree.fork(child, 13, thread=11, at=200)
    assert child.slots == grandchild.slots == [Slot(1, 100, 11, 12)]
    assert (child.is_top, grandchild.is_top) == (True, False)
    assert [process.pid for process in tree.below(1)] == [11, 13]


def test_image_of_the_creator_is_the_childs_parent() -> None:
    tree, root = watched(1)
    child = tree.fork(root, 11, 10, 100)
    child.image_pid, child.image_at, child.own_exec, child.comm = 11, 150, True, b"sh"
    grandchild = tree.fork(child, 12, 11, 200)
    assert (grandchild.parent_pid, grandchild.parent_at, grandchild.own_exec) == (11, 150, False)
    assert (grandchild.image_pid, grandchild.image_at, grandchild.comm) == (11, 150, b"sh")


def test_root_inside_a_root_has_branches_of_its_own() -> None:
    tree, root = watched(1)
    inner = tree.fork(root, 11, 10, 100)
    tree.levels[2] = 0
    assert tree.enter(inner, Slot(2, 0, 0, 0))
    assert tree.fork(inner, 12, 11, 200).slots == [Slot(1, 100, 11, 10), Slot(2, 200, 12, 11)]


def test_root_that_executes_something_begins_a_branch() -> None:
    tree, root = watched(1)
    tree.replace_roots(root, 10, 300)
    assert root.slots == [Slot(1, 300, 10, 10)]


def test_slots_of_roots_that_have_gone_are_given_to_others() -> None:
    tree, process = watched(*range(1, wire.SLOTS + 1))
    tree.levels[99] = 0
    assert not tree.enter(process, Slot(99, 0, 0, 0))
    tree.forget_root(3)
    assert tree.enter(process, Slot(99, 0, 0, 0))
    assert [slot.root for slot in process.slots] == [1, 2, 4, 5, 6, 99]


def test_process_that_is_in_a_tree_is_not_entered_twice() -> None:
    tree, root = watched(1)
    child = tree.fork(root, 11, 10, 100)
    assert tree.enter(child, Slot(1, 0, 11, 0))
    assert child.slots == [Slot(1, 100, 11, 10)]


@pytest.mark.parametrize(
    ("pattern", "path", "is_left"),
    [
        ("gdb", "/usr/bin/gdb", True),
        ("gdb", "/gdb/sh", False),
        ("g*", "/usr/bin/gdb", True),
        ("[!x]*", "/usr/bin/x", False),  # a name is no path
        ("/usr/*", "/usr/bin/gdb", True),
        ("*/gdb", "/usr/bin/gdb", True),
        ("/bin/gdb", "/usr/bin/gdb", False),
        ("gd", "/usr/bin/gdb", False),
    ],
)
def test_programs_that_are_not_to_be_followed(pattern: str, path: str, is_left: bool) -> None:
    tree, root = watched(1)
    child = tree.fork(root, 11, 10, 100)
    tree.leave(1, ["other", pattern])
    assert tree.is_left(child, ["/y/xx", path]) is is_left


def test_programs_that_are_not_to_be_followed_are_those_of_a_root() -> None:
    tree, root = watched(1, 2)
    tree.leave(1, ["gdb"])
    child = tree.fork(root, 11, 10, 100)
    assert tree.is_left(child, ["/usr/bin/gdb"])
    tree.forget_root(1)
    tree.living(child)
    assert not tree.is_left(child, ["/usr/bin/gdb"])
    tree.levels[1] = 0
    assert tree.enter(child, Slot(1, 0, 11, 0))
    assert not tree.is_left(child, ["/usr/bin/gdb"])


# ---- what a process inside a tree has started ----


def test_descendants_are_known_whoever_has_taken_them_in() -> None:
    tree, root = watched(1)
    inner, beside = tree.fork(root, 11, 10, 100), tree.fork(root, 12, 10, 100)
    child = tree.fork(inner, 13, 11, 200)
    daemon = tree.fork(child, 14, 13, 300)
    of_daemon = tree.fork(daemon, 15, 14, 400)
    del tree.processes[13]
    assert tree.descendants(inner) == [(daemon, 14), (of_daemon, 14)]
    assert tree.descendants(beside) == []


def test_whether_these_are_all_is_known_of_what_was_followed_from_its_fork_on() -> None:
    tree, root = watched(1)
    assert tree.descendants(root) is None
    before = tree.add(11)
    assert tree.enter(before, Slot(1, 0, 11, 0))
    assert tree.descendants(before) is None
    tree.replace_roots(root, 10, 300)
    assert tree.descendants(root) is None  # what it had started before it executed this was not followed
    assert tree.descendants(tree.fork(root, 12, 10, 400)) == []
    child = tree.fork(tree.processes[12], 13, 12, 500)
    tree.forget_root(1)
    assert tree.descendants(child) is None  # what is in no tree is let go


def test_what_runs_untraced_may_have_started_others() -> None:
    tree, root = watched(1)
    inner = tree.fork(root, 11, 10, 100)
    assert tree.descendants(inner) == []
    tree.has_left.add(1)
    assert tree.descendants(inner) is None


def test_what_forks_on_and_on_leaves_no_line_of_what_has_ended() -> None:
    tree, process = watched(1)
    for pid in range(11, 100):
        child = tree.fork(process, pid, process.pid, pid)
        if process.pid != 10:
            del tree.processes[process.pid]
        process = child
    assert process.creator is not None
    assert process.creator.creator is tree.processes[10]


# ---- records ----


def executed(tree: Tree, process: Tracee, found: image.Image, ids: statuses.Ids | None = None) -> Exec:
    (event,) = decode(records.executed(tree, process, 500, 400, found, ids), 1, Commands())
    assert isinstance(event, Exec)
    return event


IDS = statuses.Ids(10, 1000, 1001, (11,))


def test_record_is_read_as_it_was_written() -> None:
    tree, root = watched(1)
    child = tree.fork(root, 11, 10, 100)
    shown = stack.Stack(b"./tool", b"/bin/sh\0-e\0./tool\0a b\0")
    scripts = (b"/home/tool",)
    found = image.Image(shown, b"/usr/bin/dash", b"/home", b"/bin/sh", scripts, True, True, b"tool")
    event = executed(tree, child, found, IDS)
    assert (event.at, event.entered, event.pid, event.branch) == (500, 400, 11, Branch(100, 11, 10))
    assert (event.ppid, event.uid, event.gid) == (10, 1000, 1001)
    command = event.command
    assert command is not None
    assert (command.path, command.executable, command.cwd) == ("./tool", "/usr/bin/dash", "/home")
    assert (command.interpreter, command.script, command.comm) == ("/bin/sh", "/home/tool", "tool")
    assert (command.argv, command.arguments) == (("/bin/sh", "-e", "./tool", "a b"), ("a b",))
    assert command.lost_privilege


def test_what_could_not_be_read_is_not_known() -> None:
    tree, root = watched(1)
    event = executed(tree, tree.fork(root, 11, 10, 100), image.Image(stack.Stack(), None, None, None, (), False, False))
    assert event.ppid is None
    command = event.command
    assert command is not None
    assert (command.path, command.executable, command.cwd, command.argv) == (None, None, None, None)
    assert not command.lost_privilege


def test_record_of_one_tree_is_made_as_one_of_many_is() -> None:
    tree, root = watched(1)
    child = tree.fork(root, 11, 10, 100)
    shown = stack.Stack(b"./tool", b"./tool\0")
    found = image.Image(shown, b"/home/tool", b"/home", None, (), False, False, b"tool")
    made = records.executed(tree, child, 500, 400, found, IDS), records.ended(tree, child, 600, 9)
    tree.has_levels = True
    assert made == (records.executed(tree, child, 500, 400, found, IDS), records.ended(tree, child, 600, 9))


def test_end_is_one_of_the_image() -> None:
    tree, root = watched(1)
    child = tree.fork(root, 11, 10, 100)
    child.own_exec, child.image_at = True, 500
    (event,) = decode(records.ended(tree, child, 600, 9), 1, Commands())
    assert event == Ended(600, 11, Branch(100, 11, 10), (11, 500), 9)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"/usr/bin/true", b"true\0bin\0usr\0/\0"),
        (b"/", b"/\0"),
        (b"memfd:in memory", b"memfd:in memory\0.\0"),
        (b"(unreachable)/tmp", b"..\0"),
        (None, b"..\0"),
    ],
)
def test_paths_are_written_from_their_end(path: bytes | None, expected: bytes) -> None:
    assert image.components(path) == expected


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"\x7fELF", None),
        (b"#!/bin/sh\n:", [b"/bin/sh"]),
        (b"#! \t/bin/sh \t -e\t -u \t\n:", [b"/bin/sh", b"-e\t -u"]),
        (b"#!./sh\r\n", [b"./sh\r"]),
        (b"#!/bin/sh -e", [b"/bin/sh", b"-e"]),
        (b"#!/bin/sh -e  ", [b"/bin/sh", b"-e  "]),
        (b"#!/bin/sh ", [b"/bin/sh", b""]),
        (b"#!/bin/sh\0-e -u\n", [b"/bin/sh"]),
        (b"#!/bin/sh -e\0-u\n", [b"/bin/sh", b"-e"]),
        (b"#!/bin/sh " + 246 * b"a", [b"/bin/sh", 245 * b"a"]),
        (b"#!/bin/sh " + 245 * b"a" + b"\n", [b"/bin/sh", 245 * b"a"]),
    ],
)
def test_interpreters_line_as_the_kernel_reads_it(head: bytes, expected: list[bytes] | None) -> None:
    assert image.interpreter_line(head) == expected


# ---- stacks and registers ----


def words(*numbers: int, word: int = 8) -> bytes:
    return struct.pack(f"<{len(numbers)}{'Q' if word == 8 else 'I'}", *numbers)


@pytest.mark.parametrize("word", [4, 8])
def test_stack_of_a_new_program(word: int) -> None:
    # An argument, two variables, AT_EXECFN, AT_FLAGS, AT_UID, AT_NULL, text.
    data = words(1, 0x80, 0, 0x100, 0x110, 0, 31, 0x200, 8, 1, 11, 0, 0, 0, word=word) + b"text"
    assert stack.auxiliary(data, 3 * word, word) == (0x100, 0x200, 1)


def test_stack_without_an_environment_ends_with_the_path() -> None:
    assert stack.auxiliary(words(0, 31, 0x200, 0, 0), 0, 8) == (0, 0x200, 0)


def test_zeros_of_two_words_are_no_word() -> None:
    data = words(0xFF << 32, 0x100 << 32, 0, 31, 0x200, 0, 0)
    assert stack.auxiliary(data, 0, 8) == (0xFF << 32, 0x200, 0)


def test_number_that_is_no_name_in_the_auxiliary_vector() -> None:
    # AT_ENTRY is 31, and so is what two of its words have together.
    data = words(0x100, 0, 9, 31, 31 << 32, 0, 8, 31, 31, 0x200, 0, 0)
    assert stack.auxiliary(data, 0, 8) == (0x100, 0x200, 31)


@pytest.mark.parametrize("numbers", [(), (0x100,), (0x100, 0), (0x100, 0, 31), (0x100, 0, 31, 0x200)])
def test_stack_that_is_cut_is_not_guessed_at(numbers: tuple[int, ...]) -> None:
    assert stack.auxiliary(words(*numbers), 0, 8) is None


@pytest.mark.parametrize("name", machines.MACHINES)
def test_registers_are_inside_of_their_set(name: str) -> None:
    for size, layout in machines.MACHINES[name].registers.items():
        used = [layout.stack, layout.counter, layout.result, *([] if layout.call is None else [layout.call])]
        assert size % layout.word == 0
        assert max(used) * layout.word < size
        assert len(set(used)) == len(used)


def test_registers_are_read_and_written_by_word() -> None:
    layout = machines.MACHINES["x86_64"].registers[17 * 4]
    state = calls.State(0, layout, struct.pack("<17I", *range(17)))
    assert [state[layout.stack], state[layout.counter]] == [15, 12]
    state[layout.result] = -4
    assert (state[layout.result], state.signed(layout.result)) == (0xFFFFFFFC, -4)
    assert state[layout.result + 1] == 7


def test_whose_thread_it_is() -> None:
    machine = machines.here()
    assert machine is not None
    pid, over = os.getpid(), threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    assert thread.native_id is not None
    assert calls.is_thread_of(thread.native_id, pid, machine)
    assert calls.is_thread_of(pid, pid, machine)
    assert not calls.is_thread_of(thread.native_id, thread.native_id, machine)
    assert not calls.is_thread_of(pid, os.getppid(), machine)
    over.set()
    thread.join()
    assert not calls.is_thread_of(1 << 30, 1 << 30, machine)


# ---- what a refusal says ----


@pytest.mark.parametrize(
    ("scope", "filter_", "profile", "words", "fix"),
    [
        ("", b"0", "", ["refused (Operation not permitted)"], "allow ptrace(2) here, or run where BPF can be had"),
        ("1", b"0", "unconfined", ["refused (Operation not permitted)"], "allow ptrace(2) here"),
        ("2", b"0", "", ["kernel.yama.ptrace_scope is 2"], "sysctl kernel.yama.ptrace_scope=1"),
        ("3", b"0", "", ["kernel.yama.ptrace_scope is 3"], "reboot with kernel.yama.ptrace_scope at most 1"),
        ("1", b"2", "", ["under a seccomp filter"], "docker run --cap-add SYS_PTRACE"),
        ("", b"0", "cri (x) (enforce)", ["under the AppArmor profile cri (x)"], "have AppArmor's cri (x) allow ptrace"),
        ("2", b"2", "", ["ptrace_scope is 2, under a seccomp filter"], "ptrace_scope=1; have the container's filter"),
    ],
)
def test_refusal_names_what_is_in_the_way_and_what_mends_it(
    scope: str, filter_: bytes, profile: str, words: list[str], fix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"/proc/sys/kernel/yama/ptrace_scope": scope, "/proc/self/attr/current": profile}
    monkeypatch.setattr(probe, "_read", lambda path: files.get(path, ""))
    monkeypatch.setattr(statuses, "fields_of", lambda _: {b"Seccomp": filter_})
    made = probe.refusal("refused", PermissionError(1, "Operation not permitted"))
    assert all(word in made.reason for word in words)
    assert fix in made.remedy


# ---- memory ----


def test_memory_is_read_by_a_file_where_the_call_for_that_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        ctypes.set_errno(errno.EPERM)
        return -1

    text = ctypes.create_string_buffer(b"some text" * 1000)
    at = ctypes.addressof(text)
    ranges = [(at, 9), (at + 9, 9000 - 9)]
    expected = calls.read_memory(os.getpid(), ranges)
    assert expected == text.raw[:9000]
    monkeypatch.setattr(calls, "_readv", refuse)
    assert calls.read_memory(os.getpid(), ranges) == expected
    assert calls.read_memory(os.getpid(), [(at, 9), (8, 9), (at, 9)]) == expected[:9]  # up to what can't be read
    assert calls.read_memory(1 << 30, ranges) == b""


# ---- /proc/PID/status ----


def test_status_of_this_process() -> None:
    found = statuses.status_of(os.getpid())
    assert found is not None
    assert (found.ppid, found.uid, found.gid) == (os.getppid(), os.getuid(), os.getgid())
    assert (found.effective, found.numbers[-1]) == ((os.geteuid(), os.getegid()), os.getpid())


@pytest.mark.exec_budget(1)
def test_name_in_the_status_is_as_the_process_has_it() -> None:
    code = "import sys; open('/proc/self/comm', 'w').write('a\\\\b\\nUid:\\tc'); print(flush=True); sys.stdin.read()"
    command = [sys.executable, "-I", "-S", "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"\n"
        found = statuses.status_of(process.pid)
        process.stdin.close()
    assert found is not None
    assert found.comm == b"a\\b\nUid:\tc"


def test_status_of_no_process() -> None:
    assert statuses.status_of(1 << 30) is None


# ---- whose process it is ----


def test_ids_are_those_of_the_status(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = statuses.Ids(os.getppid(), os.getuid(), os.getgid())
    assert statuses.ids_of(os.getpid(), numbers=False)[:3] == expected[:3]  # type: ignore[index]
    whole = statuses.ids_of(os.getpid(), numbers=True)
    assert whole is not None
    assert (whole[:3], whole.numbers[-1]) == (expected[:3], os.getpid())

    def refuse(*_: object) -> int:
        raise OSError(errno.ENOTTY, "")

    monkeypatch.setattr(calls.fcntl, "ioctl", refuse)  # type: ignore[attr-defined]
    assert statuses.ids_of(os.getpid(), numbers=False) == whole
    assert statuses.ids_of(1 << 30, numbers=False) is None


@pytest.mark.exec_budget(1)
@pytest.mark.parametrize("name", ["short", "a name that is longer than the kernel keeps"])
def test_name_is_what_the_kernel_makes_of_the_path(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.symlink_to("/usr/bin/cat")
    with subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"\n")
        assert process.stdout.read(1) == b"\n"  # it runs
        found = statuses.status_of(process.pid)
        process.stdin.close()
    assert found is not None
    assert image._comm(0, os.fsencode(path)) == found.comm


# ---- requests ----


WAITING = """
    import os, signal, socket
    from pytest_execprobe.helper.ptrace import calls, probe

    probe.check = lambda: None  # nothing is traced here, and this process may be
    made, (here, there) = probe.PtraceProbe(0), socket.socketpair()
    made.interrupt_for(here.fileno())
    real, waits, own = calls.await_stop, [], os.getpid()
    ended, ends = os.pipe()  # so that the child ends with this process
    if os.fork() == 0:
        os.close(ends)
        os.read(ended, 1)
        os._exit(0)

    def await_stop():
        waits.append(before())
        return real()

    def send_when_it_waits():
        if os.fork() == 0:
            while open(f"/proc/{own}/syscall").read().split()[0] != wait4:
                os.sched_yield()
            there.send(b"request")
            os._exit(0)

    wait4 = {"x86_64": "61", "aarch64": "260"}[os.uname().machine]
    calls.await_stop, probe._STAY = await_stop, stay
    if not during:
        there.send(b"request")
    made.drain()
    assert len(waits) == expected, waits
    os._exit(0)
"""


@pytest.mark.exec_budget(1)
@pytest.mark.parametrize(
    "settings",
    [
        pytest.param("stay, during, expected, before = 1000, False, 0, None", id="before it"),
        pytest.param("stay, during, expected, before = 1000, True, 1, lambda: send_when_it_waits()", id="during it"),
        # The signal comes too early for the system call to be ended by it, and too late for it not to be made.
        pytest.param(
            "stay, during, expected, before = 0.05, True, 1, lambda: os.kill(own, signal.SIGIO)", id="in between"
        ),
    ],
)
def test_request_ends_the_wait_for_stops(tmp_path: Path, settings: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(settings + "\n" + textwrap.dedent(WAITING))
    subprocess.run([sys.executable, script], check=True, timeout=60)


# ---- when others were last seen outside of an exec ----


class Looked:
    """Threads of a root's tree, and what /proc says of each; which were asked to stop."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tree, root = watched(1)
        self.parent = self.tree.fork(root, 11, 10, 100)
        self.child = self.tree.fork(self.parent, 12, 11, 200)
        self.tasks = [Task(process.pid, process, 300) for process in (self.parent, self.child)]
        self.says: dict[int, int | None] = {}
        self.asked: list[int] = []
        monkeypatch.setattr(Task, "system_call", lambda task: self.says[task.tid])
        monkeypatch.setattr(calls, "interrupt", lambda tid: self.asked.append(tid) is None)

    def look(self, *, at_an_end: bool = False) -> None:
        outside.look_at_others(self.tasks, self.child, 400, machines.MACHINES["x86_64"], interrupting=at_an_end)


@pytest.mark.parametrize(("call", "is_outside"), [(61, True), (-1, True), (59, False), (None, False)])
def test_who_waits_in_another_call_executes_nothing(
    monkeypatch: pytest.MonkeyPatch, call: int | None, is_outside: bool
) -> None:
    looked = Looked(monkeypatch)
    looked.says[11] = call
    looked.look()
    assert (looked.tasks[0].outside_at > 400) is is_outside
    assert looked.asked == []


def test_who_runs_when_another_ends_is_asked_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = Looked(monkeypatch)
    looked.says[11] = None
    looked.look(at_an_end=True)
    looked.look(at_an_end=True)
    assert looked.asked == [11]


def test_who_stops_for_its_childs_end_is_not_asked_besides(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = Looked(monkeypatch)
    looked.says[11] = None
    looked.tasks[0].is_told = True
    looked.look(at_an_end=True)
    assert looked.asked == []
    looked.look(at_an_end=True)  # it has not: it may have blocked the signal meanwhile
    assert looked.asked == [11]


def test_who_was_seen_just_now_is_not_asked_to_stop_but_by_its_childs_end(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = Looked(monkeypatch)
    monkeypatch.setattr(outside.time, "monotonic_ns", lambda: 300 + outside._SOON - 1)
    looked.says[11] = None
    looked.child.creator = None
    looked.look(at_an_end=True)
    assert looked.asked == []
    looked.child.creator = looked.parent
    looked.look(at_an_end=True)
    assert looked.asked == [11]


def test_who_was_forked_just_now_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = Looked(monkeypatch)
    looked.child.creator = None
    looked.parent.forked = 350
    monkeypatch.setattr(outside.time, "monotonic_ns", lambda: 350 + outside._SOON - 1)
    looked.look(at_an_end=True)  # of which it says nothing
    looked.says[11] = 61
    looked.parent.own_exec = True
    looked.look(at_an_end=True)
    assert looked.tasks[0].outside_at > 400


def test_others_child_tells_nothing_of_when_one_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = Looked(monkeypatch)
    looked.says[11] = None
    looked.tasks[0].is_told = True
    looked.child.creator = None
    looked.look(at_an_end=True)
    assert looked.asked == [11]


@pytest.mark.exec_budget(1)
@pytest.mark.parametrize("kept", [64, 0])
def test_what_a_thread_waits_in_is_read_again_and_again(monkeypatch: pytest.MonkeyPatch, kept: int) -> None:
    monkeypatch.setattr(outside, "_KEPT", kept)
    before = set(os.listdir("/proc/self/fd"))
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
        assert process.stdout.read(1) == b"\n"
        task = Task(process.pid, Tracee(process.pid), 0)
        while task.system_call() is None:  # it is on its way to read on
            time.sleep(0.001)
        assert task.system_call() == {"x86_64": 0, "aarch64": 63}[os.uname().machine]
        process.stdin.close()
        process.wait()
        assert task.system_call() == -1
    task.close()
    assert set(os.listdir("/proc/self/fd")) == before


# ---- the CPU that it runs on ----


def test_cpu_of_a_thread_is_read() -> None:
    allowed = os.sched_getaffinity(0)
    try:
        for cpu in allowed:
            os.sched_setaffinity(0, {cpu})
            assert statuses.cpu_of(threading.get_native_id()) == cpu
    finally:
        os.sched_setaffinity(0, allowed)
    assert statuses.cpu_of(1 << 22) == -1  # there is none with that number


def test_tracer_follows_to_the_cpu_that_it_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    moved: list[set[int]] = []
    cpus = {5: 0, 6: 1, 7: 2, 8: -1}  # of threads
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr(statuses, "cpu_of", cpus.__getitem__)
    monkeypatch.setattr(nearness, "move", lambda _, cpus: moved.append(cpus))
    near = nearness.Nearness()
    for tid, at in [(5, 10**9), (6, 10**9 + 1), (6, 2 * 10**9), (7, 3 * 10**9), (8, 4 * 10**9)]:
        near.follow(tid, at)
    assert moved == [{0}, {1}]


def test_tracer_with_one_cpu_does_not_look_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1})
    monkeypatch.setattr(statuses, "cpu_of", lambda _: pytest.fail("it has looked"))
    nearness.Nearness().follow(5, 10**9)


# ---- what has been forked, it is not known yet by whom ----


@pytest.mark.parametrize(
    ("status", "threads", "may_have"),
    [(0, 1, False), (signal.SIGKILL, 1, True), (0, 2, True)],
    ids=["it has ended by itself", "it was killed", "a thread may have been"],
)
def test_only_who_may_have_been_killed_at_a_fork_is_taken_for_who_has_forked(
    monkeypatch: pytest.MonkeyPatch, status: int, threads: int, may_have: bool
) -> None:
    made = tracer.Tracer(machines.MACHINES["x86_64"])
    read: list[int] = []
    monkeypatch.setattr(statuses, "fields_of", lambda pid: read.append(pid) or {b"Tgid": b"12", b"PPid": b"11"})
    monkeypatch.setattr(calls, "resume", lambda _: None)
    made._tasks = {tid: Task(tid, made.tree.add(11), 0) for tid in range(11, 11 + threads)}
    made._held[20] = time.monotonic_ns()
    made._take(11, status)
    assert bool(read) is may_have


def test_who_has_forked_is_given_the_time_to_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    made = tracer.Tracer(machines.MACHINES["x86_64"])
    read: list[int] = []
    monkeypatch.setattr(statuses, "fields_of", lambda pid: read.append(pid) or {})
    made._held[12] = 10**9
    assert not made._look_at_held(10**9 + tracer._SAYS_SO - 1)
    assert read == []  # that takes longer than it mostly takes them
    assert made._look_at_held(10**9 + tracer._SAYS_SO)
    assert read


@pytest.mark.exec_budget(1)
def test_zombie_is_not_followed() -> None:
    made = tracer.Tracer(machines.MACHINES["x86_64"])
    with subprocess.Popen(["true"]) as zombie:
        os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
        with pytest.raises(ProcessLookupError):
            made.seize(zombie.pid)
    assert not made.tree.processes


@pytest.mark.exec_budget(1)
@pytest.mark.parametrize("is_adopted", [False, True])
def test_what_ends_before_its_fork_is_seen_is_not_followed(monkeypatch: pytest.MonkeyPatch, is_adopted: bool) -> None:
    made = tracer.Tracer(machines.MACHINES["x86_64"], filtered=True)  # or it would be let go
    made._tasks[11] = Task(11, made.tree.add(11), 0)
    with subprocess.Popen(["true"]) as zombie:
        os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
        if is_adopted:
            made.tree.add(zombie.pid)  # it is traced since it was forked, and its first stop is still to come
        made._take(zombie.pid, signal.SIGKILL)
        monkeypatch.setattr(calls, "event_message", lambda _: zombie.pid)
        made._take(11, calls.EVENT_FORK << 16 | signal.SIGTRAP << 8 | 0x7F)
    assert list(made.tree.processes) == [11]


@pytest.mark.exec_budget(1)
@pytest.mark.parametrize(
    ("executes", "is_seen", "threads"),
    [(True, False, 1), (True, False, 2), (True, True, 1), (False, False, 1), (False, False, 2)],
    ids=["executed", "executed, of two threads", "executed, and was seen to", "forked", "forked, of two threads"],
)
def test_what_its_end_may_show_to_have_executed_is_not_settled_before_that(
    executes: bool, is_seen: bool, threads: int
) -> None:
    made = tracer.Tracer(machines.MACHINES["x86_64"])
    made.tree.levels[10] = 0
    root = made.tree.add(10)
    made.tree.enter(root, Slot(10, 0, 0, 0))
    pid = os.posix_spawn("/bin/true", ["true"], {}) if executes else os.fork()
    if pid == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    process = made.tree.fork(root, pid, 10, 1)
    process.own_exec, process.is_fresh = is_seen, not is_seen
    gone = 2**22  # a thread's number that no process has: the thread has executed something, or would still be there
    tasks = [Task(tid, process, 1) for tid in (pid, gone)[:threads]]
    made._tasks = {task.tid: task for task in tasks}
    is_settled = is_seen or not executes
    outside.look_at_others(tasks, root, 2, made._machine)
    assert [task.outside_at > 1 for task in tasks] == [is_settled, False][:threads]
    for task in tasks:
        task.outside_at = 1
    assert made.in_flight(10, 10) == threads - is_settled
    for task in tasks:
        task.close()
    os.waitpid(pid, 0)

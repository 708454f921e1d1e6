"""Helpers of runs, started through sudo, among users who do not trust each other."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import select
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from recording import open_for_reader, watched_to_its_end
from service import LENDS_ITS_NAME, PYTHON, RUNS, Person, misuse, person
from town import BEGINS_A_CHILD, Town, clean, folder, sudoer, town
from users import as_user, being, needs_root

from pytest_execprobe.helper import bounds, handshake, wire
from pytest_execprobe.source.launch import bpf_folder, helper_command, helper_environment
from pytest_execprobe.source.meeting import new_secret

__all__ = ["folder", "town"]

pytestmark = [needs_root, pytest.mark.usefixtures("kernel"), pytest.mark.exec_budget(20000)]


@pytest.fixture(scope="module", autouse=True)
def uids(town: Town) -> Iterator[tuple[int, int]]:
    """Of both users, whom sudo lets start a helper."""
    with sudoer(town.a) as a, sudoer(town.b) as b:
        yield a, b


def runs(town: Town, user: str, **settings: object) -> contextlib.AbstractContextManager[Person]:
    return person(town.python, user, RUNS, json.dumps(settings))


# ---- what a user can have ----


@pytest.mark.parametrize("settings", [{"pages": 4096}, {"procs": 32769}], ids=["pages", "procs"])
def test_options_that_ask_for_too_much(town: Town, uids: tuple[int, int], settings: dict[str, int]) -> None:
    ((option, value),) = settings.items()
    with runs(town, town.a, backend="bpf", **settings) as a:
        said = a.ask("record")
    assert said.startswith(f"ProbeUnavailable: execprobe: --{option}={value} is more than the ")
    assert f" that user {uids[0]} can have through sudo. Fix: " in said


def test_options_at_their_bounds(town: Town) -> None:
    with runs(town, town.a, pages=bounds.PAGES, procs=bounds.PROCS) as a:
        assert a.ask("record") == "recording 0"


@contextlib.contextmanager
def places_taken(uid: int, number: int, kind: bounds.Kind = bounds.HELPER) -> Iterator[None]:
    """As by so many helpers of a user."""
    fd = os.open(bounds._LOCKS, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX, number, kind.first + uid * kind.most)  # the last test's may be just ending
        yield
    finally:
        os.close(fd)


def test_no_user_can_have_any_number_of_helpers(town: Town, uids: tuple[int, int]) -> None:
    with places_taken(uids[0], bounds.HELPER.most):
        with runs(town, town.a) as a:
            said = a.ask("record")
        assert said.startswith(f"ProbeObstructed: execprobe: user {uids[0]} runs 16 probe helpers already")
        with runs(town, town.b) as b:
            assert b.ask("record") == "recording 0"
    with runs(town, town.a) as a:
        assert a.ask("record") == "recording 0"
        status = os.lstat(bounds._LOCKS)
        assert (status.st_uid, stat.S_IMODE(status.st_mode), status.st_size) == (0, 0o600, 0)
        assert taken(uids[0]) == [0]
        with runs(town, town.a) as second:
            assert second.ask("record") == "recording 0"
            assert taken(uids[0]) == [0, 1]
            pid = int(a.ask("helper").split()[0])
            with watched_to_its_end(pid):
                os.kill(pid, signal.SIGKILL)
            assert taken(uids[0]) == [1]


def taken(uid: int) -> list[int]:
    """Places of a user that helpers hold."""
    found = []
    with open(bounds._LOCKS, "r+b") as file:
        for place in range(bounds.HELPER.most):
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, uid * bounds.HELPER.most + place)
            except BlockingIOError:
                found.append(place)
    return found


@pytest.mark.parametrize(("before", "policy"), [(3, os.SCHED_RR), (4, os.SCHED_OTHER)])
def test_only_the_first_have_real_time_priority(town: Town, uids: tuple[int, int], before: int, policy: int) -> None:
    with places_taken(uids[0], before), runs(town, town.a) as a:
        assert a.ask("record") == "recording 0"
        pid = int(a.ask("helper").split()[0])
        assert policy_of(pid) == policy


def test_whole_run_whose_user_has_all_its_helpers_is_no_green_one(town: Town, uids: tuple[int, int]) -> None:
    with places_taken(uids[0], bounds.HELPER.most):
        status, output = town.run(town.a, "--execprobe=auto")
    assert status == 1, output
    assert "2 errors" in output
    assert "skipped" not in output


# ---- what others would see of them ----


def test_a_user_that_makes_another_execute_its_name_sees_nothing(town: Town, folder: Path) -> None:
    """As with a link that lies where the other executes all that there is."""
    with runs(town, town.b) as holder, runs(town, town.a) as a:
        assert holder.ask("record") == a.ask("record") == "recording 0"
        address = holder.ask("helper").split()[1]
        with person(town.python, town.b, LENDS_ITS_NAME, address) as b:
            link = folder / b.answer()
            link.symlink_to("/bin/true")
            a.ask(f"link {link}")
            assert b.ask("arm") == f"{wire.ERROR} its new name was taken on by another process"
            assert b.ask("sync") == f"{wire.ERROR} there is no root yet"
        a.ask("run secret")
        assert clean(a.ask("seen"), str(link), "secret")


ADOPTS = BEGINS_A_CHILD + RUNS


@pytest.fixture
def python_of_a(folder: Path, uids: tuple[int, int]) -> Path:
    """A setuid program of one user, that does as it is asked."""
    python = folder / "python"
    shutil.copyfile(os.path.realpath(PYTHON), python)
    os.chown(python, uids[0], -1)
    python.chmod(0o4755)
    return python


def test_process_of_another_user_is_not_adopted(town: Town, uids: tuple[int, int], python_of_a: Path) -> None:
    with person(town.python, town.b, ADOPTS, "{}", PYTHON, str(uids[1])) as b:
        assert b.ask("record") == "recording 0"
    with person(town.python, town.b, ADOPTS, "{}", str(python_of_a), str(uids[0])) as b:
        assert b.ask("record") == "recording 1"


FAILS = """
import os, sys
uid, name = int(sys.argv[1]), sys.argv[2]
if uid > 0:
    os.setreuid(uid, uid)
elif uid < 0:
    os.seteuid(os.getuid())
try:
    os.execv("/nonexistent/" + name, [name, "secret"])
except FileNotFoundError:
    pass
"""


def test_arguments_of_what_another_users_process_failed_to_execute_are_that_users(
    town: Town, uids: tuple[int, int], python_of_a: Path
) -> None:
    """/proc shows to none what was never executed; a setuid program keeps its memory from who has started it."""
    with runs(town, town.b, attempts="tracepoint") as b:
        assert b.ask("record") == "recording 0"
        b.ask("python " + json.dumps([PYTHON, FAILS, "0", "own"]))
        b.ask("python " + json.dumps([str(python_of_a), FAILS, "0", "borrowed"]))
        b.ask("python " + json.dumps([str(python_of_a), FAILS, str(uids[0]), "foreign"]))
        b.ask("python " + json.dumps([str(python_of_a), FAILS, "-1", "put aside"]))
        assert json.loads(b.ask("failed")) == [
            ["/nonexistent/own", ["own", "secret"]],
            ["/nonexistent/borrowed", None],
            ["/nonexistent/foreign", None],
            ["/nonexistent/put aside", None],
        ]


# ---- who stands in the way ----

#: Takes every name of a run's that shows anywhere, as soon as it does.
SQUATS = """
import os, re, socket, sys, threading

kept, mine = [], str(os.getpid())

def take(name):
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.bind(b"\\0" + name)
    except OSError:
        return
    sock.listen()
    kept.append(sock)

def look():
    for pid in [pid for pid in os.listdir("/proc") if pid.isdigit() and pid != mine] + ["net/unix"]:
        try:
            with open(f"/proc/{pid}/cmdline" if pid.isdigit() else "/proc/net/unix", "rb") as file:
                for name in set(re.findall(rb"pytest-execprobe-[0-9a-f]+", file.read())):
                    take(name)
        except OSError:
            pass

def forever():
    while True:
        look()

threading.Thread(target=forever, daemon=True).start()
print("at it", flush=True)
sys.stdin.read()
"""


def test_name_of_a_run_can_not_be_taken_beforehand(town: Town) -> None:
    shared = new_secret()
    with person(town.python, town.b, SQUATS) as b:
        assert b.answer() == "at it"
        with runs(town, town.a, shared=shared) as first, runs(town, town.a, shared=shared) as second:
            assert first.ask("record") == second.ask("record") == "recording 0"
            assert first.ask("helper") == second.ask("helper")
            pid, address = first.ask("helper").split()
            with watched_to_its_end(int(pid)):
                os.kill(int(pid), signal.SIGKILL)
            # Now it is taken. Those of the run that come by meet again, elsewhere.
            with runs(town, town.a, shared=shared) as third, runs(town, town.a, shared=shared) as fourth:
                assert third.ask("record") == fourth.ask("record") == "recording 0"
                assert third.ask("helper") == fourth.ask("helper")
                third.ask("run one")
                assert clean(third.ask("seen"), "one")
    assert address.startswith("@pytest-execprobe-")


def test_helper_of_another_users_is_none(town: Town, folder: Path) -> None:
    """Which is root's, and connects where the user says."""
    go = folder / "go"
    os.mkfifo(go, 0o644)
    slow = folder / "python3"
    slow.write_text(f'#!/bin/sh\nread line < {go}\nexec {PYTHON} "$@"\n')
    slow.chmod(0o755)
    with runs(town, town.a, python=str(slow)) as a:
        a.tell("record")
        assert a.process.stdout is not None
        with open(open_for_reader(go, a.process.stdout.fileno()), "w") as tell:  # its launcher is at it
            (line,) = (line for line in command_lines() if line[:3] == ("/bin/sh", str(slow), "-I"))
            name = line[line.index("--connect") + 1]
            aimed = subprocess.run(
                [*as_user(town.b), "sudo", "-n", "--", PYTHON, *line[2:], "--pages", "1"],
                input="0" * 64,
                text=True,
                check=False,
            )
            assert aimed.returncode == 0
            assert "--connect" in line
            assert name.startswith("pytest-execprobe-")
            tell.write("!\n")
        assert a.answer() == "recording 0"
        helper = a.ask("helper").split()[0]
        assert "--pages" not in Path(f"/proc/{helper}/cmdline").read_text().split("\0")


def command_lines() -> list[tuple[str, ...]]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                found.append(tuple((entry / "cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]))
    return found


# ---- what it costs ----

#: Connects without end, from several threads, where it is not let in.
KNOCKS = """
import socket, sys, threading

address = sys.argv[1].replace("@", "\\0", 1)

def knock():
    while True:
        with socket.socket(socket.AF_UNIX) as sock:
            try:
                sock.connect(address)
                sock.recv(4096)
            except OSError:
                pass

for _ in range(int(sys.argv[2])):
    threading.Thread(target=knock, daemon=True).start()
print("at it", flush=True)
sys.stdin.read()
"""


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def cpu_share(pid: int, seconds: float) -> float:
    """Of one CPU, over so long."""
    before, began = cpu_seconds(pid), time.monotonic()
    time.sleep(seconds)
    return (cpu_seconds(pid) - before) / (time.monotonic() - began)


@pytest.mark.parametrize("threads", [1, 200], ids=["a few", "more than may wait"])
def test_strangers_who_are_refused_cost_little_and_keep_none_out(town: Town, threads: int) -> None:
    with runs(town, town.a) as a, contextlib.ExitStack() as stack:
        assert a.ask("record") == "recording 0"
        pid, address = a.ask("helper").split()
        for _ in range(3):
            b = stack.enter_context(person(town.python, town.b, KNOCKS, address, str(threads)))
            assert b.answer() == "at it"
        assert cpu_share(int(pid), 1) < 0.15
        with runs(town, town.a, address=address) as second:
            began = time.monotonic()
            assert second.ask("record") == "recording 0"
            assert time.monotonic() - began < 20
            second.ask("run one")
            assert clean(second.ask("seen"), "one")
        a.ask("run other")
        assert clean(a.ask("seen"), "other")


def test_no_user_can_have_root_wait_any_number_of_times(town: Town, uids: tuple[int, int]) -> None:
    """Before a helper has heard from its starter, and is an ordinary user, it is root."""
    options = ["--connect", "pytest-execprobe-0", "--bpf", str(bpf_folder())]
    command = [*as_user(town.a), "sudo", "-n", "--", *helper_command([], PYTHON, *options)]
    with contextlib.ExitStack() as stack:
        waiting = [stack.enter_context(_waits_for_tokens(command)) for _ in range(bounds.HELPER.most + 3)]
        refused = []
        for _ in range(3):
            ended = next(iter(_first_to_end([process for process in waiting if process not in refused])))
            assert ended.wait() == handshake.REFUSED
            refused.append(ended)
        assert taken(uids[0]) == list(range(bounds.HELPER.most))
        assert sum(process.poll() is None for process in waiting) == bounds.HELPER.most


@contextlib.contextmanager
def _waits_for_tokens(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            assert process.stdin is not None
            process.stdin.close()


def _first_to_end(processes: list[subprocess.Popen[bytes]]) -> list[subprocess.Popen[bytes]]:
    """Within the time that a helper waits for its starter, else none."""
    with contextlib.ExitStack() as stack:
        watched = {}
        for process in processes:
            pidfd = os.pidfd_open(process.pid)
            stack.callback(os.close, pidfd)
            watched[pidfd] = process
        return [watched[fd] for fd in select.select(list(watched), [], [], handshake._PATIENCE / 2)[0]]


@pytest.mark.parametrize("full", [False, True], ids=["who reads", "who never reads"])
def test_no_user_can_have_any_number_of_counters(uids: tuple[int, int], full: bool) -> None:
    out, to = os.pipe()
    if full:
        os.write(to, bytes(fcntl.fcntl(to, fcntl.F_GETPIPE_SZ)))
    environment = {**helper_environment(), "SUDO_UID": str(uids[0]), "SUDO_GID": str(uids[0])}
    with open(out, "rb") as said, places_taken(uids[0], bounds.COUNTER.most, bounds.COUNTER):
        helper = subprocess.Popen(helper_command([], PYTHON, "top"), stdin=subprocess.PIPE, stdout=to, env=environment)
        os.close(to)
        assert helper.wait(30) == 1
        assert helper.stdin is not None
        helper.stdin.close()
        words = said.read()
    if not full:
        failed = json.loads(words)
        assert (failed["type"], failed["code"]) == ("failed", "busy")
        assert failed["reason"].startswith(f"user {uids[0]} runs 4 processes of execprobe top already")


@pytest.mark.may_skip
def test_no_user_gives_a_helper_the_priority_back_that_it_has_left(town: Town) -> None:
    with runs(town, town.a) as a:
        assert a.ask("record") == "recording 0"
        pid, address = a.ask("helper").split()
        helper = int(pid)
        assert policy_of(helper) == os.SCHED_RR
        if not re.search(r"Max realtime priority +1 ", Path(f"/proc/{helper}/limits").read_text()):
            pytest.skip(
                "execprobe: root may not raise limits here, and nobody gets this priority back (CAP_SYS_RESOURCE)"
            )
        with person(town.python, town.a, misuse("asks without end"), address) as busy:
            assert busy.answer() == "at it"
            ends = time.monotonic() + 60
            while policy_of(helper) != os.SCHED_OTHER:
                assert time.monotonic() < ends
                select.select([], [], [], 0.1)
            with being(town.a), pytest.raises(PermissionError):
                os.sched_setscheduler(helper, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))
        assert policy_of(helper) == os.SCHED_OTHER
        a.ask("run one")
        assert clean(a.ask("seen"), "one")


def policy_of(pid: int) -> int:
    return os.sched_getscheduler(pid) & ~os.SCHED_RESET_ON_FORK

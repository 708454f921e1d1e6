"""The helper as a service of users who do not trust each other: who gets what, and what it takes to run it."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from environments import Environment
from service import (
    CAPABILITIES,
    LENDS_ITS_NAME,
    MISUSES,
    PYTHON,
    RECORDS,
    Person,
    Service,
    misuse,
    person,
    service,
    with_capabilities,
)
from town import BEGINS_A_CHILD, Town, clean, folder, honest, town
from users import needs_root

from pytest_execprobe.helper import wire
from pytest_execprobe.source.launch import HELPER

__all__ = ["folder", "town"]

pytestmark = [needs_root, pytest.mark.usefixtures("kernel"), pytest.mark.exec_budget(20000)]

_UNPRIVILEGED = 61001  # no user's number


# ---- users ----


def test_two_users_see_each_their_own(town: Town, folder: Path) -> None:
    with (
        service(folder) as served,
        person(town.python, town.a, RECORDS, served.path) as a,
        person(town.python, town.b, RECORDS, served.path) as b,
    ):
        assert a.ask("record") == b.ask("record") == "recording 0"
        for turn in range(10):
            a.ask(f"run a{turn} a{turn}+")
            b.ask(f"run b{turn}")
            assert clean(a.ask("seen"), f"a{turn}", f"a{turn}+")
            assert clean(b.ask("seen"), f"b{turn}")


@pytest.mark.parametrize("name", MISUSES)
def test_none_is_harmed_by_one_that(name: str, town: Town, folder: Path) -> None:
    fails = name == "fails without end"
    options = ["--attempts=tracepoint"] if fails else []
    is_so = honest if fails else clean  # it may fill the buffers where all CPUs are busy with others besides
    with (
        service(folder, "--max-clients=800", "--max-clients-per-user=400", *options) as served,
        person(town.python, town.a, RECORDS, served.path) as a,
        person(town.python, town.b, misuse(name), served.path) as b,
    ):
        assert a.ask("record") == "recording 0"
        assert b.answer().startswith("at it")
        with person(town.python, town.a, RECORDS, served.path) as late:
            assert late.ask("record") == "recording 0"
            for turn in range(10):
                words = [f"a{turn}.{at}" for at in range(5)]
                a.ask(f"run {' '.join(words)}")
                late.ask(f"run late{turn}")
                assert is_so(a.ask("seen"), *words)
                assert is_so(late.ask("seen"), f"late{turn}")
        assert served.process.poll() is None


def test_one_users_connections_leave_room_for_others(town: Town, folder: Path) -> None:
    with (
        service(folder, "--max-clients=20", "--max-clients-per-user=7") as served,
        person(town.python, town.b, misuse("calls a thousand times"), served.path) as b,
        person(town.python, town.a, RECORDS, served.path) as a,
    ):
        assert b.answer() == "at it 7 993"
        assert a.ask("record") == "recording 0"
        uid = int(subprocess.check_output(["id", "-u", town.b]))
        with person(town.python, town.b, RECORDS, served.path) as more:
            assert f"serves 7 processes of user {uid} already" in more.ask("record")


def test_name_that_another_process_takes_on_makes_none_a_root(town: Town, folder: Path) -> None:
    with service(folder) as served, person(town.python, town.b, LENDS_ITS_NAME, served.path) as b:
        b.answer()
        b.ask("child takes it")
        assert b.ask("arm") == f"{wire.ERROR} its new name was taken on by another process"
        assert b.ask("sync") == f"{wire.ERROR} there is no root yet"


def test_a_user_that_makes_another_execute_its_name_sees_nothing(town: Town, folder: Path) -> None:
    """As with a link that lies where the other executes all that there is."""
    with (
        service(folder) as served,
        person(town.python, town.b, LENDS_ITS_NAME, served.path) as b,
        person(town.python, town.a, RECORDS, served.path) as a,
    ):
        link = folder / b.answer()
        link.symlink_to("/bin/true")
        assert a.ask("record") == "recording 0"
        a.ask(f"link {link}")
        assert b.ask("arm") == f"{wire.ERROR} its new name was taken on by another process"
        assert b.ask("sync") == f"{wire.ERROR} there is no root yet"
        a.ask("run secret")
        assert clean(a.ask("seen"), str(link), "secret")


def test_who_arms_without_a_name_is_no_root(town: Town, folder: Path) -> None:
    with service(folder) as served, person(town.python, town.b, LENDS_ITS_NAME, served.path) as b:
        b.answer()
        assert b.ask("arm") == f"{wire.ERROR} the process's new name did not reach the probe"
        assert b.ask("sync") == f"{wire.ERROR} there is no root yet"


ADOPTS = BEGINS_A_CHILD + RECORDS


def test_process_of_another_user_is_not_adopted_and_makes_logs_incomplete(town: Town, folder: Path) -> None:
    """A setuid program that has become its owner altogether, as sudo does."""
    python = folder / "python"
    shutil.copyfile(os.path.realpath(PYTHON), python)
    owner, other = (int(subprocess.check_output(["id", "-u", name])) for name in (town.a, town.b))
    os.chown(python, owner, -1)
    python.chmod(0o4755)
    with service(folder / "made") as served:
        with person(town.python, town.b, ADOPTS, served.path, PYTHON, str(other)) as b:
            assert b.ask("record") == "recording 0"
        with person(town.python, town.b, ADOPTS, served.path, str(python), str(owner)) as b:
            assert b.ask("record") == "recording 1"


#: Has left a process behind when it begins to record.
LEAVES = (
    """
import ctypes, os, signal, sys
told, tell = os.pipe()
if os.fork() == 0:
    if os.fork() == 0:
        ctypes.CDLL(None).prctl(4, int(sys.argv[2]))  # PR_SET_DUMPABLE
        os.write(tell, b"!")
        signal.pause()
    os._exit(0)
os.wait()
os.close(tell)
assert os.read(told, 1), "it has ended"
"""
    + RECORDS
)


@pytest.mark.parametrize("dumpable", ["1", "0"])
def test_orphan_whose_files_in_proc_are_roots_is_noticed_too(town: Town, folder: Path, dumpable: str) -> None:
    with service(folder) as served, person(town.python, town.b, LEAVES, served.path, dumpable) as b:
        assert b.ask("record") == "recording 1"


def limit_files(helper: int, number: object) -> None:
    """By its own user, who needs no privilege for that."""
    status = Path(f"/proc/{helper}/status").read_text()
    uid, gid = (re.findall(rf"{name}:\t(\d+)", status)[0] for name in ("Uid", "Gid"))
    command = ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", "prlimit", f"--pid={helper}"]
    subprocess.run([*command, f"--nofile={number}:"], check=True)


def test_without_descriptors_nothing_is_overlooked(town: Town, folder: Path) -> None:
    """With a child that it must find; what is refused learns so, and the service goes on."""
    with service(folder) as served, person(town.python, town.b, RECORDS, served.path) as first:
        assert first.ask("record") == "recording 0"
        for free in range(4):
            assert_nothing_overlooked(town, served, first, free)


def assert_nothing_overlooked(town: Town, served: Service, first: Person, free: int) -> None:
    arguments = (PYTHON, subprocess.check_output(["id", "-u", town.b], text=True).strip())
    with person(town.python, town.b, ADOPTS, served.path, *arguments) as b:
        helper = served.process.pid
        numbers = {int(fd) for fd in os.listdir(f"/proc/{helper}/fd")}
        (before,) = re.findall(r"Max open files +(\d+)", Path(f"/proc/{helper}/limits").read_text())
        # The caller takes two: so many are left then.
        unused = [number for number in range(1 << 16) if number not in numbers]
        limit_files(helper, unused[2 + free])
        answer = b.ask("record")
        limit_files(helper, before)
        assert answer == "recording 0" or "Too many open files" in answer
        if answer == "recording 0":
            assert free > 1
            assert b.ask("run one") == "ran"
            assert b.ask("seen") == "one 0"
        first.ask("run other")
        assert first.ask("seen") == "other 0"


def test_service_starts_though_a_user_has_locked_its_folder(town: Town, folder: Path) -> None:
    folder.chmod(0o755)
    locks = (
        "import fcntl, os, sys; fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), 2); print('locked', flush=True); input()"
    )
    with person(town.python, town.b, locks, str(folder)) as b:
        assert b.answer() == "locked"
        with service(folder) as served:
            assert served.serves


@pytest.mark.parametrize(("mode", "serves"), [(0o755, True), (0o777, False), (0o1777, True)])
def test_folder_above_that_others_can_write_to(folder: Path, mode: int, serves: bool) -> None:
    inner = folder / "inner"
    inner.mkdir(0o755)
    folder.chmod(mode)
    with service(inner) as served:
        assert served.serves == serves
        if not serves:
            assert "other users can write to" in served.said


def test_socket_lets_in_its_group_alone(town: Town, folder: Path) -> None:
    group = subprocess.check_output(["id", "-gn", town.a], text=True).strip()
    with (
        service(folder, f"--group={group}", mode="0660") as served,
        person(town.python, town.a, RECORDS, served.path) as a,
        person(town.python, town.b, RECORDS, served.path) as b,
    ):
        made = os.stat(served.path)
        assert (made.st_uid, stat.S_IMODE(made.st_mode)) == (0, 0o660)
        assert a.ask("record") == "recording 0"
        assert re.match("ProbeUnavailable: .*Permission denied", b.ask("record"))


# ---- tests ----


def test_whole_run_of_a_user_without_sudo(town: Town, folder: Path) -> None:
    with service(folder) as served:
        options = (f"--execprobe-helper={served.path}", "--execprobe=require")
        status, output = town.run(town.a, *options)
        assert status == 0, output
        assert "2 passed" in output
        served.stop()
        status, output = town.run(town.a, *options)
        assert status == 4, output
        assert f"there is no helper to be used at {served.path}" in output


STOPPED = """
import os, subprocess

def meet():
    os.write(int(os.environ["HERE"]), b"!")
    assert os.read(int(os.environ["GO"]), 1) == b"!"

def test_before(execprobe):
    subprocess.run(["true"])
    assert execprobe.programs == ["true"]

def test_while_it_stops(execprobe):
    subprocess.run(["true"])
    meet()
    subprocess.run(["true"])
    execprobe.assert_at_most(2)

def test_after(execprobe):
    subprocess.run(["true"])
    assert execprobe.programs == ["true"]
"""


@pytest.mark.parametrize("restarted", [True, False], ids=["started again", "not started again"])
def test_service_that_stops_in_the_middle_of_a_run(town: Town, folder: Path, restarted: bool) -> None:
    suite = folder / "test_stopped.py"
    suite.write_text(STOPPED)
    arrived, here = os.pipe()
    go, tell = os.pipe()
    with service(folder / "made") as served:
        options = (f"--execprobe-helper={served.path}", "--execprobe=require")
        environment = {"PATH": "/usr/bin:/bin", "HERE": str(here), "GO": str(go)}
        run = town.pytest(town.a, suite, *options, env=environment, pass_fds=(here, go))
        os.close(here), os.close(go)  # so that either notices the other's end
        try:
            assert os.read(arrived, 1) == b"!", run.communicate(timeout=60)
            assert served.stop()[0] == 0
            with service(folder / "made") if restarted else contextlib.nullcontext() as again:
                assert again is None or again.serves
                os.write(tell, b"!")
                output, _ = run.communicate(timeout=60)
        finally:
            run.kill()
            os.close(arrived), os.close(tell)
    assert run.returncode == 1
    assert "the service was stopped" in output
    outcomes = dict(re.findall(r"^(\w+) .*::(test_\w+)", output, re.MULTILINE))
    assert re.search(r"^PASSED .*::test_before", output, re.MULTILINE), outcomes
    assert re.search(r"^(ERROR|FAILED) .*::test_while_it_stops", output, re.MULTILINE), output
    assert not re.search(r"^PASSED .*::test_while_it_stops", output, re.MULTILINE)
    assert bool(re.search(r"^PASSED .*::test_after", output, re.MULTILINE)) == restarted, output
    assert ("there is no helper to be used at" in output) != restarted


# ---- its life ----


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_at_a_signal_and_removes_its_socket(folder: Path, number: int) -> None:
    with service(folder) as served:
        assert served.serves
        assert stat.S_ISSOCK(os.lstat(served.path).st_mode)
        assert served.stop(number) == (0, "")
        assert not os.path.lexists(served.path)


def test_it_keeps_no_privilege_and_outlives_its_clients(town: Town, folder: Path) -> None:
    with service(folder) as served:
        for _ in range(2):
            with person(town.python, town.a, RECORDS, served.path) as a:
                assert a.ask("record") == "recording 0"
        lines = Path(f"/proc/{served.process.pid}/status").read_text().splitlines()
        fields = {key: value.split() for key, _, value in (line.partition(":") for line in lines)}
        assert fields["Uid"] == ["65534"] * 4
        assert "0" not in fields["Gid"]
        assert fields["Groups"] == []
        assert {fields[name][0] for name in ("CapPrm", "CapEff", "CapInh", "CapAmb")} == {"0" * 16}
        assert fields["NoNewPrivs"] == ["1"]


def test_socket_of_a_service_that_was_killed_is_removed_all_the_same(folder: Path) -> None:
    with service(folder) as served:
        # The janitor has its standard output closed, so this waits for the service alone, and then for none.
        children = Path(f"/proc/{served.process.pid}/task/{served.process.pid}/children")
        janitor = int(children.read_text().split()[0])  # before that which loads what stops programs
        ended = os.pidfd_open(janitor)
        served.stop(signal.SIGKILL)
        assert _ends(ended)
        assert not os.path.lexists(served.path)


def _ends(pidfd: int) -> bool:
    import select

    try:
        return bool(select.select([pidfd], [], [], 30)[0])
    finally:
        os.close(pidfd)


def test_stale_socket_is_replaced_and_that_of_a_living_service_is_not(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(folder / "socket"))
    with service(folder) as served:
        assert served.serves
        with service(folder) as second:
            assert second.said.startswith(f"execprobe: a service is there already: {served.path}. Fix: ")
            assert second.stop()[0] == 2
        with socket.socket(socket.AF_UNIX) as caller:
            caller.settimeout(30)
            caller.connect(served.path)
            assert wire.Reader(wire.REPLIES, 1 << 20).feed(caller.recv(1 << 16))[0].type == wire.WELCOME


def test_command_serves(folder: Path) -> None:
    path = folder / "socket"
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest_execprobe.cli", "serve", "--socket", str(path), "--mode=600", "--attempts=off"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(f"execprobe: serving at {path}, mode 0600 (BCC ")
        assert Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0")[1:5] == [
            b"-I",
            b"-B",
            str(HELPER).encode(),
            b"serve",
        ]
        process.terminate()
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.communicate()


# ---- systemd ----


def test_it_notifies_systemd_when_it_is_ready_and_when_it_ends(folder: Path) -> None:
    notified = folder / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(notified))
        notified.chmod(0o777)
        manager.settimeout(30)
        with service(folder, env={"NOTIFY_SOCKET": str(notified)}) as served:
            assert manager.recv(4096).splitlines()[0] == b"READY=1"
            assert served.serves
            served.stop()
            assert manager.recv(4096) == b"STOPPING=1\n"


@pytest.mark.may_skip
def test_systemd_hands_over_the_socket_to_an_unprivileged_service(
    town: Town, folder: Path, installed: Environment
) -> None:
    """As with the units: root listens, and the service has been an ordinary user all along."""
    activate = shutil.which("systemd-socket-activate")
    if activate is None:
        pytest.skip("execprobe: there is no systemd-socket-activate")
    path = folder / "socket"
    command = [*with_capabilities(_UNPRIVILEGED, *CAPABILITIES), PYTHON, "-I", "-B", str(installed.helper), "serve"]
    process = subprocess.Popen(
        [activate, f"--listen={path}", *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        assert process.stdout is not None
        assert "Listening on" in process.stdout.readline()
        path.chmod(0o666)
        with person(town.python, town.a, RECORDS, str(path)) as a:
            assert a.ask("record") == "recording 0"
            a.ask("run a")
            assert clean(a.ask("seen"), "a")
        lines = [process.stdout.readline() for _ in range(3)]
        assert any(f"uid {_UNPRIVILEGED}, no capabilities" in line for line in lines), lines
        process.terminate()
        assert process.wait(30) == 0
        assert path.exists()  # it is systemd's
    finally:
        process.kill()
        process.communicate()


@pytest.mark.may_skip
def test_units_are_sound(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("execprobe: there is no systemd-analyze")
    units = Path(__file__).parents[2] / "examples" / "systemd"
    for name in ("execprobe.service", "execprobe.socket"):
        text = (units / name).read_text()
        (tmp_path / name).write_text(text.replace("/opt/execprobe/bin/execprobe", "/usr/bin/python3"))
    files = [str(tmp_path / name) for name in ("execprobe.service", "execprobe.socket")]
    made = subprocess.run([analyze, "verify", *files], capture_output=True, text=True, check=False)
    assert (made.returncode, made.stderr) == (0, "")


# ---- what it takes to start ----

_MEMORY = "a perf buffer of 512 pages per CPU could not be had"


@pytest.mark.parametrize(
    ("capabilities", "options", "said"),
    [
        (("bpf", "perfmon"), (), "execprobe: serving at .* without real-time priority"),
        (("bpf", "perfmon", "sys_nice"), (), r"no capabilities\)"),
        (("perfmon",), (), "the kernel refused a BPF map: Operation not permitted"),
        (("bpf",), (), r"the kernel refused the probe: a program \(on_exit\): Operation not permitted"),
        ((), (), "the kernel refused a BPF map"),
        (("sys_admin",), (), "execprobe: serving at "),
        (("bpf", "perfmon"), ("--pages=8192",), "a perf buffer of 8192 pages per CPU could not be had"),
        (("bpf", "perfmon", "ipc_lock"), ("--pages=8192",), "execprobe: serving at "),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, tuple) else None,
)
def test_capabilities_that_it_takes_to_start(
    folder: Path, installed: Environment, capabilities: tuple[str, ...], options: tuple[str, ...], said: str
) -> None:
    os.chown(folder, _UNPRIVILEGED, _UNPRIVILEGED)
    prefix = with_capabilities(_UNPRIVILEGED, *capabilities)
    with service(folder, *options, prefix=prefix, helper=installed.helper) as served:
        assert re.search(said, served.said), served.said
        assert served.stop()[0] == (0 if served.serves else 2)


_MOUNTS = 'test -e /sys/kernel/tracing/events || mount -t tracefs tracefs /sys/kernel/tracing; exec "$@"'
_TRACEFS = ["unshare", "--mount", "sh", "-c", _MOUNTS, "sh"]


@pytest.mark.parametrize(
    ("capabilities", "said"),
    [
        (("bpf", "perfmon"), "a mount namespace for tracefs: Operation not permitted"),
        (("bpf", "perfmon", "dac_read_search"), "execprobe: serving at "),
    ],
    ids=["without", "with"],
)
def test_failed_attempts_by_tracepoint_take_tracefs(
    folder: Path, installed: Environment, capabilities: tuple[str, ...], said: str
) -> None:
    os.chown(folder, _UNPRIVILEGED, _UNPRIVILEGED)
    prefix = [*_TRACEFS, *with_capabilities(_UNPRIVILEGED, *capabilities)]
    with service(folder, "--attempts=tracepoint", prefix=prefix, helper=installed.helper) as served:
        assert said in served.said


def test_service_that_can_not_see_all_processes_refuses_to_serve(folder: Path) -> None:
    hides = ["unshare", "--mount", "sh", "-c", 'mount -t proc -o hidepid=2 proc /proc && exec "$@"', "sh"]
    with service(folder, prefix=hides) as served:
        assert served.said.startswith("execprobe: /proc hides other users' processes from the service (hidepid)")
        assert served.stop()[0] == 2


def test_service_in_a_pid_namespace_refuses_to_serve(folder: Path) -> None:
    with service(folder, prefix=["unshare", "--pid", "--fork", "--mount-proc"]) as served:
        assert "in a PID namespace, as in a container" in served.said
        assert served.stop()[0] == 2

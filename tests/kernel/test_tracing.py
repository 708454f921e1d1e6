"""The probe without privilege, where it differs from the other: what it does to whom it traces, and how it fails.

Nothing here needs privilege. ``test_under_ptrace.py`` runs it as an ordinary user as well.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from faulty import change_helper
from programs import Programs
from recording import Recording, recording, stop, watched_to_its_end

from pytest_execprobe import IncompleteLogError
from pytest_execprobe.errors import ProbeUnavailable
from pytest_execprobe.source.connect import HelperSettings, hold_helper, start_helper

pytestmark = [pytest.mark.exec_budget(3000), pytest.mark.own_helper]

PTRACE = HelperSettings(backend="ptrace")


@pytest.fixture
def traced() -> Iterator[Recording]:
    with recording(PTRACE) as made:
        yield made


def tracer() -> int:
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("TracerPid:"))
    return int(line.split()[1])


def until(happened: object) -> None:
    deadline = time.monotonic() + 30
    while not happened():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.01)


# ---- what it is ----


def test_it_says_what_it_is_and_what_it_does_not_show(traced: Recording) -> None:
    assert traced.source.description["backend"] == "ptrace"
    assert traced.helper == tracer()
    subprocess.run(["true"], check=True)
    assert traced.execprobe.programs == ["true"]
    with pytest.raises(IncompleteLogError, match="ptrace"):
        _ = traced.execprobe.attempts


def test_a_second_recorder_registers_with_the_same_tracer(traced: Recording) -> None:
    with recording(PTRACE) as other:
        assert other.helper == traced.helper
        subprocess.run(["true"], check=True)
        assert (other.execprobe.programs, traced.execprobe.programs) == (["true"], ["true"])
    subprocess.run(["false"], check=False)
    assert traced.execprobe.programs == ["true", "false"]


def test_threads_that_were_there_before_are_traced() -> None:
    begin, started = threading.Event(), []

    def work() -> None:
        begin.wait(30)
        started.append(subprocess.run(["true"], check=True))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    with recording(PTRACE) as made:
        begin.set()
        for thread in threads:
            thread.join()
        assert made.execprobe.programs == ["true"] * 8


def test_a_process_that_was_there_before_is_traced() -> None:
    with subprocess.Popen(["sh"], stdin=subprocess.PIPE) as shell, recording(PTRACE) as made:
        shell.communicate(b"/bin/true\n")
        assert made.execprobe.programs == ["true"]


def test_who_has_a_tracer_is_told_which() -> None:
    """As under strace or in a debugger."""
    if shutil.which("strace") is None:
        pytest.skip("there is no strace")
    until(lambda: tracer() == 0)  # the tracer of the test before lets go in its own time
    code = "from pytest_execprobe.source.connect import *; start_helper(HelperSettings(backend='ptrace'))"
    said = subprocess.run(
        ["strace", "-qq", "-e", "trace=none", sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert "this process is traced by strace" in said.stderr


def test_auto_says_why_it_is_not_bpf(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> list[str]:
        raise ProbeUnavailable("execprobe: there is no sudo")

    monkeypatch.setattr("pytest_execprobe.source.connect.privilege_route", refuse)
    with contextlib.closing(start_helper(HelperSettings())) as source:
        assert (source.description["backend"], source.description["instead"]) == ("ptrace", "there is no sudo")


@pytest.mark.parametrize("variables", [0, 1, 100, 165, 170, 400, 510, 3000])
def test_what_is_behind_a_long_environment_is_read(traced: Recording, variables: int) -> None:
    """The name of the file stands behind a pointer to each variable: in what is looked at first, or not."""
    environment = {f"V{number}": "" for number in range(variables)}
    subprocess.run(["/bin/true", "", "a b"], env=environment, check=True)
    (record,) = traced.execprobe.records
    assert (record.path, record.argv) == ("/bin/true", ("/bin/true", "", "a b"))


# ---- what was there before ----

#: Says of its orphans what it knows once it is told to arm.
ARMS = """
import os, subprocess, sys
from pytest_execprobe.source.connect import HelperSettings, start_helper
left = []
if "leaves" in sys.argv:
    code = "import os; os.fork() and os._exit(0); print(os.getpid(), flush=True); os.read(0, 1)"
    child = subprocess.Popen([sys.executable, "-S", "-c", code], stdin=-1, stdout=-1)
    left.append(int(child.stdout.readline()))
    child.wait()
else:
    subprocess.run(["true"])  # so that there may be something
print(*left, flush=True)
sys.stdin.readline()
source = start_helper(HelperSettings(backend="ptrace"))
print(*[orphan.pid for orphan in source.orphans.listed], flush=True)
print(*[process.pid for process in source.running(0, 30).listed], flush=True)
"""


SUBREAPER = """
import ctypes, subprocess, sys
assert ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) == 0  # PR_SET_CHILD_SUBREAPER
sys.exit(subprocess.call([sys.executable, *sys.argv[1:]]))
"""


@contextlib.contextmanager
def arming(*words: str, below: Sequence[str] = ()) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """A process that is about to arm, and what it has left behind."""
    command = [sys.executable, *below, "-c", ARMS, *words]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process, [int(word) for word in process.stdout.readline().split()]


def armed(process: subprocess.Popen[str]) -> tuple[list[int], list[int]]:
    """What may be an orphan of its, and what it follows."""
    orphans, running = process.communicate("\n", timeout=60)[0].splitlines()
    return list(map(int, orphans.split())), list(map(int, running.split()))


def test_what_another_process_of_the_run_has_started_is_no_orphan() -> None:
    """As one worker of pytest-xdist is to another."""
    with arming() as (process, _), subprocess.Popen(["cat"], stdin=subprocess.PIPE) as beside:
        orphans, running = armed(process)
        assert beside.pid not in (*orphans, *running)
        beside.communicate()


def test_what_a_subreaper_above_has_taken_in_may_be_ones_own() -> None:
    with arming("leaves", below=("-c", SUBREAPER)) as (process, left):
        assert set(left) <= set(armed(process)[0])
    assert len(left) == 1


def test_what_is_traced_already_knows_what_it_has_left_behind(traced: Recording) -> None:
    with arming("leaves") as (process, left), subprocess.Popen(["cat"], stdin=subprocess.PIPE) as beside:
        assert armed(process) == ([], left)
        beside.communicate()
    assert len(left) == 1
    assert traced.execprobe.complete


def test_starter_that_ignores_the_signal_of_a_stop_is_traced() -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with contextlib.ExitStack() as stack:
        stack.callback(signal.signal, signal.SIGCHLD, before)
        made = stack.enter_context(recording(PTRACE))
        signal.signal(signal.SIGCHLD, before)
        subprocess.run(["true"], check=True)
        assert made.execprobe.programs == ["true"]


def test_what_is_in_no_tree_any_more_goes_on() -> None:
    """A child that it forks just then is traced, too, and no tree has it."""
    with subprocess.Popen(["sh"], stdin=subprocess.PIPE) as shell:
        with recording(PTRACE) as made:
            other = hold_helper(HelperSettings(address="@" + made.source.description["address"]))
        with contextlib.closing(other):
            shell.communicate(b"/bin/true & wait; exit 3\n", timeout=30)
    assert shell.returncode == 3


def test_threads_that_were_let_go_are_traced_again() -> None:
    """Where a process has lost its connection, and registers again with the helper that others keep."""
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    try:
        for _ in range(5):
            with recording(PTRACE) as made:
                address = HelperSettings(address="@" + made.source.description["address"])
                other = hold_helper(address)
            with contextlib.closing(other):
                subprocess.run(["true"], check=True)  # this thread is let go, if no other is yet
                with recording(address) as again:
                    subprocess.run(["true"], check=True)
                    assert again.execprobe.programs == ["true"]
    finally:
        over.set()
        thread.join()


# ---- what it does to whom it traces ----


@pytest.mark.usefixtures("traced")
def test_ignored_signal_interrupts_nothing() -> None:
    """Of a tracee the kernel does not drop it: epoll_wait() would fail with EINTR."""
    code = """
import os, select, sys
poll = select.epoll()
pid = os.fork()
if pid == 0:
    os._exit(0)  # SIGCHLD
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
print(libc.epoll_wait(poll.fileno(), ctypes.create_string_buffer(64), 1, 300), ctypes.get_errno())
"""
    command = [sys.executable, "-I", "-S", "-c", code]
    waiting = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(20)]
    assert [process.communicate()[0] for process in waiting] == [b"0 0\n"] * 20


@pytest.mark.usefixtures("traced")
def test_caught_signal_interrupts_as_it_does() -> None:
    code = """
import ctypes, select, signal
signal.signal(signal.SIGALRM, lambda *_: None)
poll = select.epoll()
libc = ctypes.CDLL(None, use_errno=True)
signal.setitimer(signal.ITIMER_REAL, 0.05)
print(libc.epoll_wait(poll.fileno(), ctypes.create_string_buffer(64), 1, 20000), ctypes.get_errno())
"""
    said = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, check=True)
    assert said.stdout == b"-1 4\n"


def test_synchronising_interrupts_nothing(traced: Recording) -> None:
    """What runs is asked to stop, and may be on its way into a system call that this would end."""
    code = """
import ctypes, select, sys
poll = select.epoll()
libc = ctypes.CDLL(None, use_errno=True)
buffer = ctypes.create_string_buffer(64)
failed = 0
for _ in range(1000):
    failed += libc.epoll_wait(poll.fileno(), buffer, 1, 1) != 0
print(failed, flush=True)
"""
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", code], stdout=subprocess.PIPE) as process:
        while process.poll() is None:
            assert len(traced.execprobe.records) == 1
        assert process.stdout is not None
        assert process.stdout.read() == b"0\n"


def test_job_control_is_as_it_is(traced: Recording) -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        try:
            traced.execprobe.wait_for("sleep")
            process.send_signal(signal.SIGSTOP)
            assert os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1])
            assert traced.execprobe.programs == ["sleep"]  # nor does a synchronisation have it go on
            process.send_signal(signal.SIGCONT)
            assert os.WIFCONTINUED(os.waitpid(process.pid, os.WCONTINUED)[1])
        finally:
            process.kill()  # stopped, it would be waited for without end


def test_setuid_program_is_said_to_have_run_without_its_privilege(traced: Recording) -> None:
    mount = shutil.which("mount") or "mount"
    if not os.stat(mount).st_mode & 0o4000:
        pytest.skip("mount is no setuid program here")
    code = f"import os; os.geteuid() or os.setresuid(65534, 65534, 65534); os.execv({mount!r}, ['mount', '-V'])"
    subprocess.run([sys.executable, "-I", "-S", "-c", code], stdout=subprocess.DEVNULL, check=True)
    allowed = "NoNewPrivs:\t0" in Path("/proc/self/status").read_text()
    has_lost = allowed and os.geteuid() != 0  # root may trace what has more rights
    assert ("(traced, so without its privilege)" in traced.execprobe.tree()) is has_lost


# ---- how it fails ----


def test_helper_that_is_killed_lets_all_go_on(traced: Recording) -> None:
    with subprocess.Popen(["sh"], stdin=subprocess.PIPE) as shell:
        traced.execprobe.wait_for("sh")
        traced.kill_helper()
        until(lambda: tracer() == 0)
        shell.communicate(b"/bin/true; exit 3\n")
        assert shell.returncode == 3
    subprocess.run(["true"], check=True)
    with pytest.raises(IncompleteLogError):
        traced.execprobe.assert_not_ran("curl")
    traced.recorder.ensure()
    with traced.execprobe.watch() as log:
        subprocess.run(["true"], check=True)
    assert log.programs == ["true"]


def test_helper_that_is_stopped_makes_logs_incomplete() -> None:
    with recording(PTRACE) as made:
        with contextlib.ExitStack() as until_its_end, made.helper_stopped():
            with made.impatient(), pytest.raises(IncompleteLogError):
                made.execprobe.assert_nothing_ran()
            helper = made.helper if made.recorder.source else tracer()
            until_its_end.enter_context(watched_to_its_end(helper))  # it may end as soon as it goes on
        subprocess.run(["true"], check=True)


def test_helper_that_stays_stopped_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that starts something would wait for ever."""
    change_helper(tmp_path, monkeypatch, {"ptrace/watchdog.py": {"PATIENCE = 10 ": "PATIENCE = 1 "}})
    with recording(PTRACE) as traced:
        helper = traced.helper
        goes_on = threading.Timer(20, os.kill, (helper, signal.SIGCONT))  # where it is not ended
        goes_on.start()
        with watched_to_its_end(helper):
            stop(helper)
            subprocess.run(["true"], check=True)
        goes_on.cancel()
        with pytest.raises(IncompleteLogError):
            traced.execprobe.assert_not_ran("curl")


def test_slow_helper_makes_logs_incomplete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = {"def in_flight(self, before: int, root: int) -> int:\n": "{}        time.sleep(1)\n"}
    changes = {"ptrace/probe.py": {old: new.format(old) for old, new in slow.items()}}
    change_helper(tmp_path, monkeypatch, changes)
    with recording(PTRACE) as made:
        subprocess.run(["true"], check=True)
        with made.impatient(), pytest.raises(IncompleteLogError):
            made.execprobe.assert_not_ran("curl")


# ---- the CPU that it runs on ----


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="there is one CPU")
def test_tracer_runs_where_what_it_traces_does_and_only_as_long(traced: Recording) -> None:
    """On a CPU that another takes meanwhile it would keep all that it traces waiting."""
    allowed, helper = os.sched_getaffinity(0), traced.helper
    for cpu in allowed:
        try:
            os.sched_setaffinity(0, {cpu})
            while os.sched_getaffinity(helper) != {cpu}:  # it looks for that now and then
                subprocess.run(["true"], check=True)
        finally:
            os.sched_setaffinity(0, allowed)
    while os.sched_getaffinity(helper) != allowed:  # the watchdog looks for that each second
        time.sleep(0.01)
    assert traced.execprobe.complete


# ---- much at once ----

_TAKE = "    def _take(self, tid: int, status: int) -> None:\n"
_LATE = """
    def _take(self, tid: int, status: int) -> None:
        threads = [one for one in self._tasks.values() if one.tid != one.process.pid and one.process.slots[0].top]
        if status >> 16 in _FORKS and any(one.tid == tid for one in threads):
            return  # nor does the kernel show it once the thread has ended
        if threads and tid not in self._tasks:
            self.late = [*getattr(self, "late", ()), (tid, status)]
            return
        self._take_now(tid, status)
        if status >> 16 == calls.EVENT_EXEC:
            late, self.late = getattr(self, "late", ()), ()
            for one in late:
                self._take_now(*one)

    def _take_now(self, tid: int, status: int) -> None:
"""


def test_exec_while_another_thread_forks_leaves_nothing_stopped(
    programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that an exec ends at its fork does not say what it has forked, and the process lives. Here nothing of
    the fork is seen before the exec."""
    change_helper(tmp_path, monkeypatch, {"ptrace/tracer.py": {_TAKE: _LATE}})
    with recording(PTRACE) as made:
        for _ in range(20):  # on a busy machine the one thread does not always see the other at its stop
            with made.execprobe.watch() as log:
                if runs_while_another_forks(programs):
                    break
        assert sorted(log.programs) == ["cat", "echo", "forkexec"]
        (echo,) = [record for record in log.records if record.program == "echo"]
        assert echo.parent is not None
        assert echo.parent.program == "forkexec"


def runs_while_another_forks(programs: Programs) -> bool:
    command = [programs.forkexec, "/bin/cat"]
    with subprocess.Popen(command, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            assert select.select([process.stdout], [], [], 60)[0]
            assert process.stdout.readline() == b"forked\n"
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(b"runs\n")
            assert select.select([process.stdout], [], [], 60)[0]
            return process.stdout.readline() == b"runs\n"
        finally:
            process.kill()  # the children of a process that has ended are let go


_LAST = """
    def _take(self, tid: int, status: int) -> None:
        task = self._tasks.get(tid)
        if status >> 16 in _FORKS and task is not None and tid != task.process.pid:
            self.late = [(tid, status)]
            return
        is_process = tid in self.tree.processes
        self._take_now(tid, status)
        if status & 0xFF != 0x7F and is_process:
            late, self.late = self.late, []
            for one in late:
                self._take_now(*one)

    def _take_now(self, tid: int, status: int) -> None:
"""


@pytest.mark.parametrize(
    ("command", "codes"), [("exec /bin/true", [None, 0]), ("/bin/true; :", [0, 0])], ids=["is through", "runs"]
)
def test_what_runs_before_its_fork_is_seen_is_not_begun_anew(
    command: str, codes: list[int | None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that ends while another one's fork is not seen yet may have been the one that forked: what was is let go
    on. When the other comes to say so it runs another program, or is through, and nobody has asked for its end yet."""
    change_helper(tmp_path, monkeypatch, {"ptrace/tracer.py": {_TAKE: _LAST}})
    with recording(PTRACE) as made:
        forks = threading.Thread(target=os.system, args=(command,))
        forks.start()
        ends = threading.Thread(target=wait_for_child_of, args=(forks,))
        ends.start()
        ends.join()
        forks.join()
        assert made.source.running(0, 30).count == 0
        assert made.execprobe.programs == ["sh", "true"]
        assert [record.exit_code for record in made.execprobe.records] == codes


def wait_for_child_of(thread: threading.Thread) -> None:
    """Until it has one, which has stopped."""
    while not (child := Path(f"/proc/self/task/{thread.native_id}/children").read_text().strip()):
        time.sleep(0.001)
    while Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] != "t":
        time.sleep(0.001)


@pytest.mark.parametrize("kill", [os.kill, os.killpg])
def test_what_is_killed_while_it_forks_leaves_nothing_stopped(
    traced: Recording, kill: Callable[[int, int], None]
) -> None:
    """Who is killed at a fork does not say what it has forked, which waits to be let go."""
    for number in range(0, 30, 3):
        command = "echo; while :; do (/bin/true) & done"
        with subprocess.Popen(["sh", "-c", command], start_new_session=True, stdout=subprocess.PIPE) as forks:
            assert forks.stdout is not None
            assert forks.stdout.read(1) == b"\n"
            time.sleep(0.0007 * number)  # each at another moment
            kill(forks.pid, signal.SIGKILL)
            assert forks.stdout.read() == b""  # all of them have ended
    assert traced.execprobe.complete
    assert traced.source.running(0, 30).count == 0


@pytest.mark.parametrize("is_read", [False, True], ids=["as they come", "each while a log is read"])
def test_what_is_killed_as_soon_as_it_has_executed_is_an_exec(traced: Recording, is_read: bool) -> None:
    """A SIGKILL may come before the stop of the exec, which then never does: Popen() returns as soon as it can."""
    for number in range(1, 101):
        with subprocess.Popen(["sleep", "60"]) as killed:
            killed.kill()
            assert not is_read or traced.execprobe.count() == number
    assert traced.execprobe.count() == 100
    assert {record.program for record in traced.execprobe.records} <= {"sleep", None}
    assert {record.signal for record in traced.execprobe.records} == {signal.SIGKILL}


_LOOK = "    tid, ended_by = calls.look_at_stop(flags)\n"
_LINGER = """
    if calls._WAITED.unpack(calls._waited)[2] >> 8 == calls.EVENT_EXEC:
        __import__("time").sleep(0.01)
"""


def test_what_is_killed_while_the_stop_of_its_exec_is_looked_at_is_an_exec(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its end comes before that stop is taken."""
    change_helper(tmp_path, monkeypatch, {"ptrace/unseen.py": {_LOOK: _LOOK + _LINGER}})
    with recording(PTRACE) as made:
        for number in range(1, 21):
            with subprocess.Popen(["sleep", "60"]) as killed:
                killed.kill()
            assert made.execprobe.count() == number


def test_what_is_killed_before_it_executes_anything_is_none(traced: Recording) -> None:
    for _ in range(20):
        pid = os.fork()
        if pid == 0:
            signal.pause()
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    traced.execprobe.assert_nothing_ran()


def test_storm_is_whole(traced: Recording, programs: Programs) -> None:
    subprocess.run([programs.storm, programs.minimal, "300"], check=True)
    assert traced.execprobe.counts == {"storm": 1, "minimal": 300}
    assert traced.execprobe.complete
    for record in traced.execprobe.records:
        assert None not in (record.path, record.executable, record.argv, record.cwd, record.ppid, record.exit_code)
        assert record.cwd == os.getcwd()


def test_pools_are_followed(traced: Recording, tmp_path: Path) -> None:
    code = """
import multiprocessing, subprocess, sys
def work(number):
    return subprocess.run(["/bin/true"]).returncode
if __name__ == "__main__":
    for kind in sys.argv[1:]:
        with multiprocessing.get_context(kind).Pool(2) as pool:
            assert pool.map(work, range(10)) == [0] * 10
"""
    script = tmp_path / "pool.py"
    script.write_text(code)
    subprocess.run([sys.executable, script, "fork", "spawn", "forkserver"], check=True)
    assert traced.execprobe.count("true") == 30

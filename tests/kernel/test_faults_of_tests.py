"""What a test does to its own process, and so to the probe's end in it: it is told, or it does no harm."""

from __future__ import annotations

import contextlib
import itertools
import os
import resource
import shutil
import signal
import subprocess
import sys
import textwrap
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from environments import Environment
from programs import Programs
from recording import recording, watched_to_its_end
from users import needs_root

from pytest_execprobe import IncompleteLogError
from pytest_execprobe.source.connect import HelperSettings, start_helper

CROWD = 10_000
pytestmark = [pytest.mark.usefixtures("kernel"), pytest.mark.exec_budget(CROWD + 100), pytest.mark.own_helper]

# What the inner suites use. ``run`` starts a program that needs nothing: neither a file nor a descriptor.
TOOLS = """
import os, select, signal

MINIMAL = {minimal!r}

def run(times=1):
    for _ in range(times):
        os.waitpid(os.posix_spawn(MINIMAL, ["minimal"], {{}}), 0)

def helper(execprobe):
    return execprobe._recorder.source.description["pid"]

def kill_helper(execprobe):
    pidfd = os.pidfd_open(helper(execprobe))
    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    assert select.select([pidfd], [], [], 30)[0]
    os.close(pidfd)
"""


@pytest.fixture
def inner(pytester: pytest.Pytester, programs: Programs) -> pytest.Pytester:
    pytester.makepyfile(tools=TOOLS.format(minimal=str(programs.minimal)))
    return pytester


def result_of(
    inner: pytest.Pytester,
    suite: str,
    *before: str,
    options: tuple[str, ...] = (),
    python: str | Path = sys.executable,
) -> pytest.RunResult:
    """Of a suite in a pytest of its own, which captures nothing: tests here close what it would capture with."""
    inner.makepyfile("from tools import *\n" + textwrap.dedent(suite))
    command = [python, "-m", "pytest", "-s", "-p", "no:cacheprovider", "-p", "no:faulthandler"]
    return inner.run(*before, *command, "--execprobe-timeout=30", *options, timeout=120)


# ---- exceptions that break into reads ----


#: What is removed by the interpreter in passing: a socket that was made just then, with a warning, or an entry of a
#: WeakSet, where an exception is told and goes no further.
AN_ALARM_CAN_STRIKE_THERE = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


class Alarm(BaseException):
    pass


def hit_by_alarms(read: Callable[[], object], before: Callable[[], object], hits: int) -> int:
    """Has alarms break into a read so often, each a little later than the last; returns how often it was begun."""
    took = 0.001  # seconds, about

    def strike(*_: object) -> None:
        raise Alarm

    handler = signal.signal(signal.SIGALRM, strike)
    try:
        for times in itertools.count(1):
            before()
            try:
                began = time.monotonic()
                signal.setitimer(signal.ITIMER_REAL, 1e-5 + took * (times * 0.618 % 1))
                read()
                signal.setitimer(signal.ITIMER_REAL, 0)
                took = max(0.0005, (took + time.monotonic() - began) / 2)
            except Alarm as alarm:
                frames = traceback.extract_tb(alarm.__traceback__)
                hits -= any("/pytest_execprobe/" in frame.filename for frame in frames)
            if hits == 0:
                return times
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
    raise AssertionError


@AN_ALARM_CAN_STRIKE_THERE
@pytest.mark.parametrize("read", ["records", "wait_for"])
def test_alarms_that_break_into_a_hundred_reads(programs: Programs, read: str) -> None:
    """Wherever they do, what ran is in the log, whole and once, and the helper is the same."""
    with recording() as made:
        source = made.source
        reads: dict[str, Callable[[], object]] = {
            "records": lambda: made.execprobe.partial,
            "wait_for": lambda: made.execprobe.wait_for("ls", timeout=0.002),
        }

        def reading() -> None:
            with contextlib.suppress(TimeoutError):
                reads[read]()

        def spawn() -> None:
            os.waitpid(os.posix_spawn(programs.minimal, ["minimal"], {}), 0)

        times = hit_by_alarms(reading, spawn, hits=100)
        assert made.source is source
        for lock in (made.recorder.lock, made.source._lock):  # or no other thread could ever read
            assert repr(lock).startswith("<unlocked")
        assert made.recorder.losses().why == ()
        assert made.execprobe.programs == ["minimal"] * times
        assert {record.exit_code for record in made.execprobe.records} == {0}
        assert len(made.recorder.take_new()) == times


@AN_ALARM_CAN_STRIKE_THERE
def test_a_start_that_alarms_break_into_leaves_no_child() -> None:
    """A test that waits for any child would meet the launcher."""

    def children() -> str:
        return Path("/proc/thread-self/children").read_text()

    def strike(*_: object) -> None:
        raise Alarm

    before, handler = children(), signal.signal(signal.SIGALRM, strike)
    broken = 0
    try:
        for milliseconds in (*range(1, 20), 30, 50, 100, 200, 300):
            try:
                signal.setitimer(signal.ITIMER_REAL, milliseconds / 1000)
                source = start_helper(HelperSettings())
                signal.setitimer(signal.ITIMER_REAL, 0)
                with watched_to_its_end(int(source.description["pid"])):  # or a tracer that ends is found, and no start
                    source.close()
            except Alarm:
                broken += 1
            assert children() == before
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
    assert broken > 10
    with recording() as made:
        subprocess.run(["true"], check=True)
        assert made.execprobe.programs == ["true"]


# ---- forked children that hold its descriptors ----

#: By sys.exit(), os._exit(), SIGSEGV and SIGABRT.
ENDS = (
    "os.dup2(os.open(os.devnull, os.O_WRONLY), 1); sys.exit(3)",
    "os._exit(3)",
    "ctypes.string_at(0)",
    "os.abort()",
)


def test_a_forked_child_ends(inner: pytest.Pytester) -> None:
    """By sys.exit() it is pytest that goes on in the child, and runs the tests that follow: as without the plugin."""
    result = result_of(
        inner,
        f"""
        import ctypes, os, sys, pytest

        PARENT = os.getpid()
        by = pytest.mark.parametrize("end", {ENDS!r}, scope="module")  # those of one end follow each other

        def forks(end):
            if os.getpid() == PARENT and os.fork() == 0:
                run()
                exec(end)
            if os.getpid() == PARENT:
                assert os.wait()[1] != 0

        @by
        @pytest.mark.exec_budget(2)
        @pytest.mark.exec_deny("ls")
        def test_forks(end):
            forks(end)

        @by
        @pytest.mark.exec_budget(2)
        @pytest.mark.exec_deny("ls")
        def test_forks_and_reads(end, execprobe):
            forks(end)
            if os.getpid() == PARENT:
                assert execprobe.programs == ["minimal"]

        @by
        @pytest.mark.exec_budget(0)
        def test_breaks(end):
            if os.getpid() == PARENT:
                run()

        @by
        def test_next(end, execprobe):
            if os.getpid() == PARENT:
                run()
                assert execprobe.programs == ["minimal"]
        """,
    )
    result.assert_outcomes(passed=3 * len(ENDS), failed=len(ENDS))
    assert result.stdout.str().count("\nexec budget exceeded: 1 exec, at most 0 allowed (call phase)") == len(ENDS)


def test_a_forked_child_outlives_its_test_and_crashes(inner: pytest.Pytester) -> None:
    result = result_of(
        inner,
        """
        import os

        read, go = os.pipe()

        def test_leaves(execprobe):
            global child
            child = os.fork()
            if child == 0:
                os.read(read, 1)
                run()
                os.abort()
            execprobe.assert_nothing_ran()

        def test_meanwhile(execprobe):
            run()
            assert execprobe.programs == ["minimal"]

        def test_crashes(execprobe):
            os.write(go, b"!")
            assert os.waitpid(child, 0)[1] != 0
            assert execprobe.programs == ["minimal"]
            assert execprobe.records[0].begun_by.endswith("::test_leaves")

        def test_after(execprobe):
            execprobe.assert_nothing_ran()
        """,
    )
    result.assert_outcomes(passed=4)


# ---- descriptors ----


def test_files_in_the_place_of_all_descriptors_get_nothing(inner: pytest.Pytester) -> None:
    result = result_of(
        inner,
        """
        import os, socket, pytest

        def test_closes(execprobe):
            run()
            os.closerange(3, 1000)
            for number in range(50):
                os.open(f"mine-{number}", os.O_RDWR | os.O_CREAT)
            pairs = [socket.socketpair() for _ in range(10)]
            run()
            try:
                execprobe.assert_not_ran("ls")
            finally:
                for pair in pairs:
                    for end in pair:
                        end.setblocking(False)
                        with pytest.raises(BlockingIOError):
                            end.recv(1)

        @pytest.mark.exec_deny("ls")
        def test_by_a_rule():
            os.closerange(3, 1000)
            for number in range(50):
                os.open(f"mine-{number}", os.O_RDWR | os.O_CREAT)

        def test_next(execprobe):
            run()
            assert execprobe.programs == ["minimal"]
        """,
    )
    result.assert_outcomes(errors=4, passed=1)  # the rule's in two phases, and what ran outside of tests
    result.stdout.fnmatch_lines(["*its connection was closed by the program under test*"])
    files = list(inner.path.glob("mine-*"))
    assert len(files) == 50
    assert {file.stat().st_size for file in files} == {0}


LIMIT = """
import resource
HARD = resource.getrlimit(resource.RLIMIT_NOFILE)[1]

def limit(number):
    resource.setrlimit(resource.RLIMIT_NOFILE, (number, HARD))
"""


def test_a_test_may_open_no_file_more(inner: pytest.Pytester) -> None:
    """Reading a log opens none. With none at all, not even that works, because poll() refuses."""
    result = result_of(
        inner,
        LIMIT
        + """
from pytest_execprobe import IncompleteLogError
import os, pytest

def test_none_more(execprobe):
    limit(len(os.listdir("/proc/self/fd")))
    with pytest.raises(OSError, match="Too many open files"):
        for _ in range(10):
            os.open("/", os.O_RDONLY)
    run()
    assert execprobe.programs == ["minimal"]

def test_still_none(execprobe):
    run(2)
    assert execprobe.programs == ["minimal"] * 2

def test_a_forked_child(execprobe):
    child = os.fork()
    if child == 0:
        status = 1
        try:
            execprobe.assert_nothing_ran()
        except IncompleteLogError:
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    execprobe.assert_nothing_ran()

@pytest.fixture
def limited():
    yield
    limit(1024)

def test_none_at_all(execprobe, limited):
    limit(0)
    execprobe.assert_nothing_ran()  # that shows in memory
    run()
    execprobe.assert_ran("minimal")

def test_no_limit(execprobe):
    run()
    assert execprobe.programs == ["minimal"]
""",
    )
    result.assert_outcomes(passed=4, errors=1)
    result.stdout.fnmatch_lines(["*ERROR at call of test_none_at_all*"])


def test_no_helper_can_be_had_for_want_of_a_descriptor(inner: pytest.Pytester) -> None:
    result = result_of(
        inner,
        LIMIT
        + """
import pytest

def test_loses(execprobe):
    kill_helper(execprobe)
    limit(3)

def test_log(execprobe):
    execprobe.assert_nothing_ran()

@pytest.mark.exec_deny("ls")
def test_rule():
    run()

def test_plain():
    limit(1024)
""",
    )
    result.assert_outcomes(errors=4, passed=2)  # the rule's in two phases, and what ran outside of tests
    result.stdout.fnmatch_lines(["*ProbeUnavailable: execprobe: *Too many open files*", "*cannot tell whether ls ran*"])
    assert "INTERNALERROR" not in result.stdout.str() + result.stderr.str()


def test_a_helper_is_had_where_a_thousand_files_are_open(inner: pytest.Pytester) -> None:
    result = result_of(
        inner,
        LIMIT
        + """
import os, pytest

def test_loses(execprobe):
    kill_helper(execprobe)
    if HARD != resource.RLIM_INFINITY and HARD < 4096:
        pytest.skip("execprobe: this user may not open as many files")
    limit(4096)
    for _ in range(2000):
        os.open("/", os.O_RDONLY)

def test_next(execprobe):
    run()
    assert execprobe.programs == ["minimal"]
""",
    )
    result.assert_outcomes(passed=2)


# ---- namespaces ----


def unshare(*options: str) -> list[str]:
    program = shutil.which("unshare")
    if program is None or subprocess.run([program, *options, "true"], capture_output=True, check=False).returncode:
        pytest.skip(f"execprobe: there can be no unshare {' '.join(options)} here")
    return [program, *options]


@needs_root
@pytest.mark.may_skip
@pytest.mark.parametrize("shift", ["-50", "5000"])
def test_a_child_in_a_time_namespace(programs: Programs, shift: str) -> None:
    with recording() as made:
        with made.execprobe.watch() as log:
            subprocess.run([*unshare("--time", "--monotonic", shift), programs.minimal], check=True)
        with made.execprobe.watch() as after:
            pass
        assert log.programs[-2:] == ["unshare", "minimal"]
        after.assert_nothing_ran()


@needs_root
@pytest.mark.may_skip
def test_all_of_pytest_in_a_time_namespace(inner: pytest.Pytester) -> None:
    """Of BPF the kernel's clock is not this process's; whoever traces has the same."""
    source, away = "def test(execprobe):\n    run()\n", unshare("--time", "--monotonic", "5000")
    result_of(inner, source, *away).assert_outcomes(passed=1)
    result = result_of(inner, source, *away, options=("-rs", "--execprobe-backend=bpf"))
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*Run pytest outside the time namespace*"])


@needs_root
@pytest.mark.may_skip
def test_a_helper_in_a_time_namespace_that_its_client_is_not_in(
    programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pytest_execprobe.source import connect

    command, before = connect.helper_command, unshare("--time", "--monotonic", "-50", "--")
    monkeypatch.setattr(connect, "helper_command", lambda *arguments: [*before, *command(*arguments)])
    with recording() as made:
        with made.execprobe.watch() as log:
            os.waitpid(os.posix_spawn(programs.minimal, ["minimal"], {}), 0)
        assert log.lost is None
        with pytest.raises(IncompleteLogError, match="CLOCK_MONOTONIC is not this process's"):
            log.assert_nothing_ran()


@needs_root
def test_a_test_without_proc(inner: pytest.Pytester) -> None:
    result = result_of(
        inner,
        """
        import ctypes, os, pytest
        from pytest_execprobe import IncompleteLogError

        def test_takes_it_away(execprobe):
            libc = ctypes.CDLL(None)
            assert libc.unshare(0x20000) == 0  # CLONE_NEWNS
            assert libc.mount(b"none", b"/", None, 0x44000, None) == 0  # MS_REC | MS_PRIVATE
            assert libc.umount2(b"/proc", 2) == 0  # MNT_DETACH
            run()
            assert execprobe.programs == ["minimal"]

        def test_a_forked_child(execprobe):
            child = os.fork()
            if child == 0:
                status = 1
                try:
                    execprobe.assert_nothing_ran()
                except IncompleteLogError:
                    status = 0
                finally:
                    os._exit(status)
            assert os.waitpid(child, 0)[1] == 0
            execprobe.assert_nothing_ran()
            kill_helper(execprobe)

        def test_next(execprobe):
            execprobe.assert_nothing_ran()
        """,
    )
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*ProbeUnavailable: execprobe: *'/proc/*"])


# ---- who it is ----


@needs_root
def test_a_test_that_becomes_another_user(inner: pytest.Pytester, installed: Environment) -> None:
    """What has begun goes on; what it takes to begin anew is no longer there, and that is told."""
    result = result_of(
        inner,
        """
        import os, pytest
        from pytest_execprobe import IncompleteLogError

        def run():
            os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)

        def test_becomes(execprobe):
            os.setgroups([])
            os.setresgid(65534, 65534, 0)
            os.setresuid(65534, 65534, 0)  # to be able to come back, at the end
            run()
            assert execprobe.programs == ["true"]
            assert execprobe.records[0].uid == 65534

        def test_next(execprobe):
            execprobe.assert_nothing_ran()
            run()
            assert execprobe.programs == ["true"]

        def test_a_forked_child(execprobe):
            child = os.fork()
            if child == 0:
                status = 1
                try:
                    run()
                    execprobe.assert_nothing_ran()
                except IncompleteLogError:
                    status = 0
                finally:
                    os._exit(status)
            assert os.waitpid(child, 0)[1] == 0
            assert execprobe.programs == ["true"]

        def test_loses_the_helper(execprobe):
            pidfd = os.pidfd_open(helper(execprobe))
            os.seteuid(0)
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            os.seteuid(65534)
            assert select.select([pidfd], [], [], 30)[0]

        def test_gets_none(execprobe):
            execprobe.assert_nothing_ran()

        def test_comes_back():
            os.setresuid(0, 0, 0)
        """,
        python=installed.python,
    )
    result.assert_outcomes(passed=5, errors=1)
    result.stdout.fnmatch_lines(["*ERROR at setup of test_gets_none*", "*ProbeUnavailable: execprobe: *privilege*"])


# ---- children ----


def test_signals_of_children_ignored(inner: pytest.Pytester) -> None:
    result = result_of(
        inner,
        """
        import os, signal, subprocess, pytest

        def test_ignores(execprobe):
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
            with pytest.raises(ChildProcessError):
                run()
            assert execprobe.programs == ["minimal"]
            kill_helper(execprobe)

        def test_with_a_new_helper(execprobe):
            with pytest.raises(ChildProcessError):
                run()
            assert execprobe.programs == ["minimal"]
        """,
    )
    result.assert_outcomes(passed=2)


def test_waiting_for_any_child(inner: pytest.Pytester) -> None:
    result = result_of(
        inner,
        """
        import os, pytest

        def test_waits(execprobe):
            child = os.posix_spawn(MINIMAL, ["minimal"], {})
            assert os.wait() == (child, 0)
            with pytest.raises(ChildProcessError):
                os.wait()
            assert execprobe.programs == ["minimal"]
            kill_helper(execprobe)
            with pytest.raises(ChildProcessError):
                os.wait()

        test_again = test_waits
        """,
    )
    result.assert_outcomes(passed=2)


SUBREAPER = "import ctypes; assert ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) == 0  # PR_SET_CHILD_SUBREAPER\n"


def test_a_test_that_takes_in_orphans(inner: pytest.Pytester) -> None:
    result = result_of(
        inner,
        f"""
        import os, subprocess

        def test_orphan(execprobe):
            {SUBREAPER.strip()}
            subprocess.run(["sh", "-c", f"({{MINIMAL}}; exec {{MINIMAL}}) & exec true"], check=True)
            while True:
                try:
                    os.wait()
                except ChildProcessError:
                    break
            assert sorted(execprobe.programs) == ["minimal", "minimal", "sh", "true"]
        """,
    )
    result.assert_outcomes(passed=1)


def test_an_orphan_older_than_the_probe_that_a_subreaper_has_taken_in(inner: pytest.Pytester) -> None:
    """Not init has it, and nothing leads to it from pytest; it may have been pytest's."""
    (inner.path / "under.py").write_text(
        SUBREAPER + "import subprocess, sys; sys.exit(subprocess.call([sys.executable, *sys.argv[1:]]))"
    )
    inner.makeconftest(
        """
        import os, subprocess

        read, go = os.pipe()
        back, write = os.pipe()
        assert max(read, write) < 10  # as the shell needs them
        script = f"(read line <&{read}; /bin/true; echo >&{write}) &"
        subprocess.run(["sh", "-c", script], pass_fds=(read, write), check=True)
        os.close(write)
        """
    )
    inner.makepyfile(
        """
        import os, conftest

        def test_uses(execprobe):
            os.write(conftest.go, b"go\\n")
            assert os.read(conftest.back, 1) == b"\\n"
            execprobe.assert_not_ran("true")
        """
    )
    result = inner.run(sys.executable, "under.py", "-m", "pytest", "-s", "-p", "no:cacheprovider", timeout=120)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*left behind by parents that have ended*"])


# ---- very many of them ----


def crowd(programs: Programs, size: int) -> tuple[subprocess.Popen[bytes], int]:
    """So many processes that live at once, or as many as there may be; and how many."""
    process = subprocess.Popen([programs.crowd, str(size)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def dismiss(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    process.stdout.close()
    process.wait(120)


def room() -> int:
    """How many processes more there may be, at least, with some left for others."""
    limits = [int(Path("/proc/sys/kernel", name).read_text()) for name in ("pid_max", "threads-max")]
    own = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    limits += [own] if own != resource.RLIM_INFINITY and os.geteuid() != 0 else []
    there = sum(name.isdigit() for name in os.listdir("/proc"))
    memory = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return min(min(limits) // 2 - there, int(memory["MemAvailable"].split()[0]) // 2 // 128)


@pytest.mark.may_skip
@pytest.mark.parametrize("most", [2000, pytest.param(CROWD, marks=pytest.mark.long)])
def test_thousands_of_descendants_at_once(programs: Programs, most: int) -> None:
    size = min(most, room())
    if size < 1000:
        pytest.skip(f"execprobe: there is room for {size} processes here")
    with recording(timeout=60) as made:
        process, there = crowd(programs, size)
        try:
            made.execprobe.assert_count(there + 1, "crowd")
            assert made.execprobe.lost == 0
            with made.execprobe.watch() as meanwhile:
                os.waitpid(os.posix_spawn(programs.minimal, ["minimal"], {}), 0)
            assert meanwhile.programs == ["minimal"]
        finally:
            dismiss(process)
        assert made.execprobe.lost == 0
    assert there == size


@pytest.mark.bpf
def test_more_descendants_than_the_map_holds(programs: Programs) -> None:
    with recording(HelperSettings(procs=500)) as made:
        process, there = crowd(programs, 1000)
        dismiss(process)
        assert there == 1000
        assert made.execprobe.lost is None
        made.execprobe.assert_at_least(450, "crowd")
        with pytest.raises(IncompleteLogError, match="the map of watched processes was full"):
            made.execprobe.assert_at_most(1001, "crowd")


@pytest.mark.bpf
def test_a_crowd_that_was_there_before_is_taken_in(programs: Programs) -> None:
    """What 1,000 adopted processes run counts, and more than the map holds is told."""
    process, there = crowd(programs, 1000)
    try:
        assert there == 1000
        with recording() as made:
            os.waitpid(os.posix_spawn(programs.minimal, ["minimal"], {}), 0)
            assert made.execprobe.programs == ["minimal"]
        with recording(HelperSettings(procs=500)) as made, pytest.raises(IncompleteLogError, match="older than the"):
            made.execprobe.assert_nothing_ran()
    finally:
        dismiss(process)

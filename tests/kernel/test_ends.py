"""How programs end, how long they ran and where, against what the programs and wait() say."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from programs import Programs

from pytest_execprobe import ExecProbe, ExecRecord, IncompleteLogError

pytestmark = pytest.mark.exec_budget(10)


def ended(execprobe: ExecProbe, *command: str, **options: object) -> ExecRecord:
    subprocess.run(command, check=False, **options)  # type: ignore[call-overload]
    return execprobe.records[-1]


@pytest.mark.parametrize("code", [0, 1, 42, 255])
def test_exit_codes(execprobe: ExecProbe, code: int) -> None:
    record = ended(execprobe, "sh", "-c", f"exit {code}")
    assert (record.exit_code, record.signal) == (code, None)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV])
def test_signals(execprobe: ExecProbe, number: signal.Signals) -> None:
    record = ended(execprobe, "sh", "-c", f"kill -{number.value} $$")
    assert (record.exit_code, record.signal) == (None, number)


def test_a_thread_ends_the_process(execprobe: ExecProbe) -> None:
    code = "import os, threading; threading.Thread(target=lambda: os._exit(7)).start(); threading.Event().wait()"
    assert ended(execprobe, sys.executable, "-c", code).exit_code == 7


def test_no_thread_ends_the_process(execprobe: ExecProbe, programs: Programs) -> None:
    """Whose status it is then, the kernel's versions see differently; wait() has the word."""
    status = subprocess.run([programs.leaderless], check=False).returncode
    assert status in (3, 4)
    assert execprobe.records[-1].exit_code == status


def test_what_is_still_running_has_not_ended(execprobe: ExecProbe) -> None:
    with execprobe.watch() as log:
        process = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
        execprobe.wait_for("cat")
    process.communicate()
    (before,), (after,) = log.records, execprobe.records
    assert (before.exit_code, before.duration_ns) == (None, None)  # a closed log never changes
    assert after.exit_code == 0
    assert after.duration_ns is not None
    assert before == after


def test_what_becomes_another_program_does_not_end(execprobe: ExecProbe) -> None:
    subprocess.run(["env", "sh", "-c", "exit 3"], check=False)
    env, sh = execprobe.records
    assert (env.exit_code, env.duration_ns) == (None, None)
    assert sh.exit_code == 3


@pytest.mark.exec_budget(40)
def test_success_is_known_as_soon_as_a_process_was_waited_for(execprobe: ExecProbe) -> None:
    for _ in range(20):
        with execprobe.watch() as log:
            subprocess.run(["true"], check=True)
            log.assert_all_succeeded()
            subprocess.run(["sh", "-c", "true | false; exit 0"], check=True)
            log.assert_all_succeeded()  # both are the shell's own
        log.assert_all_succeeded()


def test_every_descendant_must_succeed(execprobe: ExecProbe) -> None:
    subprocess.run(["sh", "-c", "/bin/false | /bin/true"], check=True)
    with pytest.raises(AssertionError, match="everything must succeed, but false ended with exit status 1"):
        execprobe.assert_all_succeeded()
    execprobe.assert_all_succeeded("sh", "true")
    execprobe.direct.assert_all_succeeded()


def test_signal_is_no_success(execprobe: ExecProbe) -> None:
    subprocess.run(["sh", "-c", "kill -ABRT $$"], check=False)
    with pytest.raises(AssertionError, match="everything must succeed, but sh was ended by SIGABRT"):
        execprobe.assert_all_succeeded()


def test_what_became_another_succeeds_if_that_does(execprobe: ExecProbe) -> None:
    subprocess.run(["env", "true"], check=True)
    execprobe.assert_all_succeeded("env")
    subprocess.run(["env", "env", "false"], check=False)
    with pytest.raises(AssertionError, match=r"but env \(which became false\) ended with exit status 1"):
        execprobe.assert_all_succeeded("env")


def test_what_still_runs_has_not_succeeded(execprobe: ExecProbe) -> None:
    process = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    try:
        with pytest.raises(IncompleteLogError, match="cannot tell whether everything succeeded: #1 had not ended"):
            execprobe.assert_all_succeeded()
    finally:
        process.communicate()
    execprobe.assert_all_succeeded()


def test_failed_attempts_are_no_part_of_it(execprobe: ExecProbe) -> None:
    with pytest.raises(FileNotFoundError):
        subprocess.run(["no-such-program"], check=True)
    execprobe.assert_all_succeeded()


def test_duration(execprobe: ExecProbe) -> None:
    """From the exec to the end: while it is known to run, and before it was waited for."""
    process = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin
    assert process.stdout
    process.stdin.write(b"x")
    process.stdin.flush()
    assert os.read(process.stdout.fileno(), 1) == b"x"
    reading = time.monotonic_ns()  # it has begun before this, and ends after the next
    process.communicate()
    (record,) = execprobe.records
    assert record.duration_ns is not None
    assert reading < record.timestamp_ns + record.duration_ns < time.monotonic_ns()


def test_working_directory(execprobe: ExecProbe, tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*(f"folder {n}" for n in range(20)))
    deep.mkdir(parents=True)
    for folder in (deep, Path("/"), Path("/proc/self").resolve(), Path("/dev/shm")):
        assert ended(execprobe, "true", cwd=folder).cwd == str(folder)


def test_working_directory_through_a_link_is_where_it_leads(execprobe: ExecProbe, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert ended(execprobe, "true", cwd=tmp_path / "link").cwd == str(tmp_path / "real")


@pytest.mark.exec_budget(100)
@pytest.mark.parametrize("backend", [pytest.param("bpf", marks=pytest.mark.bpf), "ptrace"])
def test_a_fork_that_crashes_while_its_test_passes_is_in_the_summary(pytester: pytest.Pytester, backend: str) -> None:
    pytester.makepyfile(
        test_it="""
        import os, pytest

        def forks(work):
            child = os.fork()
            if child == 0:
                work()
                os._exit(0)
            return os.waitpid(child, 0)[1]

        def test_one(execprobe): assert forks(os.abort)
        def test_two(execprobe): assert forks(lambda: os.kill(os.getpid(), 15))
        @pytest.mark.exec_none
        def test_three(): assert forks(os.abort) is None
        """
    )
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--tb=no", f"--execprobe-backend={backend}"]
    done = subprocess.run(command, cwd=pytester.path, capture_output=True, text=True, timeout=120, check=False)
    assert "\ncrashed         1  test_it.py::test_one: a fork of Python by SIGABRT\n=" in done.stdout, done.stdout

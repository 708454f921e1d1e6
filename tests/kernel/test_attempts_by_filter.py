"""Failed execs under ptrace: a seccomp filter shows them, where that is asked for.

A filter stays, so these are runs of their own. Nothing here needs privilege; ``test_under_ptrace.py`` runs it as
an ordinary user as well.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from inner import assert_passed, inner_tests
from recording import watched_to_its_end

pytestmark = [pytest.mark.exec_budget(2_000), pytest.mark.own_helper]

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def run_in(folder: Path, code: str, *options: str, backend: str = "ptrace") -> subprocess.CompletedProcess[str]:
    """Runs a test file, with these options besides."""
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "test_it.py").write_text("import os, subprocess, sys\nimport pytest\n" + textwrap.dedent(code))
    # To import Hypothesis takes longer than all else.
    command = [sys.executable, "-B", "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", "-rA"]
    command += options
    command += [f"--execprobe-backend={backend}", "--execprobe-attempts=seccomp"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return functools.partial(run_in, tmp_path)


def passes(made: subprocess.CompletedProcess[str]) -> bool:
    assert made.returncode == 0, made.stdout + made.stderr
    return True


SUITE = """
import ctypes, errno, struct, threading, time

def test_attempts_have_path_arguments_and_error(execprobe, tmp_path):
    text = tmp_path / "text"
    text.write_text("true")
    text.chmod(0o755)
    for command in (["/nonexistent/x", "a b", ""], ["/etc/passwd"], [text]):
        with pytest.raises(OSError):
            subprocess.run(command)
    subprocess.run(["true"], env={"PATH": "/nonexistent:/usr/bin"})
    assert [(one.path, one.argv, one.error, one.executable) for one in execprobe.attempts] == [
        ("/nonexistent/x", ("/nonexistent/x", "a b", ""), "ENOENT", None),
        ("/etc/passwd", ("/etc/passwd",), "EACCES", None),
        (str(text), (str(text),), "ENOEXEC", None),
        ("/nonexistent/true", ("true",), "ENOENT", None),
    ]
    assert execprobe.programs == ["true"]
    assert all(one.pid != os.getpid() == one.ppid and one.uid == os.getuid() for one in execprobe.attempts)


def in_child(do):
    pid = os.fork()
    if pid == 0:
        try:
            do()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)


def test_attempts_by_descriptor_and_cut_arguments(execprobe):
    file = os.open("/etc/passwd", os.O_RDONLY)
    in_child(lambda: os.execve(file, ["by descriptor"], {}))
    in_child(lambda: os.execv("/nonexistent", ["x" * 5000]))
    in_child(lambda: os.execv("/nonexistent", ["x"] * 60))
    by_file, long, many = execprobe.attempts
    assert (by_file.path, by_file.argv, by_file.error) == (f"/dev/fd/{file}", ("by descriptor",), "EACCES")
    assert (long.argv, long.argv_truncated) == (("x" * 1023,), True)
    assert (many.argv, many.argv_truncated) == (("x",) * 48, True)


def test_none_is_missing(execprobe):
    def work():
        for _ in range(50):
            subprocess.run(["true"], env={"PATH": "/nonexistent:/bin"}, close_fds=False)
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    assert len(execprobe.attempts) == execprobe.count("true") == 200
    for _ in range(100):
        subprocess.Popen(["true"], env={"PATH": "/nonexistent:/bin"}).pid
        before = len(execprobe.attempts)
        assert before == execprobe.count("true") > 200


def test_exec_is_entered_before_it_is_done(execprobe):
    code = "import os, sys, time; print(flush=True); sys.stdin.readline(); os.execv('/bin/true', ['true'])"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as process:
        process.stdout.readline()
        before = time.monotonic_ns()
        process.stdin.write(b"\\n")
        process.stdin.close()
    assert before < execprobe.records[-1].timestamp_ns < time.monotonic_ns()


def test_filters_of_others_find_no_tracer(execprobe):
    number = {"x86_64": 110, "aarch64": 173}[os.uname().machine]  # getppid()
    code = b"".join(
        struct.pack("=HBBI", *one)
        for one in [(0x20, 0, 0, 0), (0x15, 0, 1, number), (6, 0, 0, 0x7FF00000), (6, 0, 0, 0x7FFF0000)]
    )
    kept = ctypes.create_string_buffer(code)
    head = ctypes.create_string_buffer(struct.pack("=H6xQ", 4, ctypes.addressof(kept)))
    pid = os.fork()
    if pid == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(38, 1, 0, 0, 0)
        assert libc.prctl(22, 2, ctypes.c_void_p(ctypes.addressof(head)), 0, 0) == 0
        found = libc.syscall(number), ctypes.get_errno()
        os._exit(found != (-1, errno.ENOSYS))
    assert os.waitpid(pid, 0)[1] == 0


def test_the_helper_is_noted(request):
    armed = request.config.pluginmanager.get_plugin("execprobe-armed")
    with open("helper", "w") as file:
        file.write(str(armed.recorder.description["pid"]))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the suite above has been run, and what that said is in a file."""
    folder = tmp_path_factory.mktemp("filtered")
    (folder / "said").write_text(run_in(folder, SUITE).stdout)
    return folder


@pytest.mark.parametrize("name", inner_tests(SUITE))
def test_with_the_filter(folder: Path, name: str) -> None:
    assert_passed(name, (folder / "said").read_text())


def test_the_run_says_that_there_is_a_filter(folder: Path) -> None:
    assert "failed execs by a seccomp filter, which stays" in (folder / "said").read_text()


def test_helper_ends_with_the_last_that_has_the_filter(folder: Path) -> None:
    with contextlib.suppress(ProcessLookupError), watched_to_its_end(int((folder / "helper").read_text())):
        pass


def test_what_had_ended_before_is_not_waited_for(run: Run, tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(
        "import os, subprocess\n"
        "zombie = subprocess.Popen(['true'])\n"
        "os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)\n"
    )
    made = run(
        """
        def test(execprobe, request):
            recorder = request.config.pluginmanager.get_plugin("execprobe-armed").recorder
            assert not any(recorder.running())
            print("helper", recorder.description["pid"])
        """,
        "-s",
    )
    assert passes(made)
    (helper,) = re.findall(r"helper (\d+)", made.stdout)
    with contextlib.suppress(ProcessLookupError), watched_to_its_end(int(helper)):
        pass


def test_what_is_left_running_can_still_execute(run: Run, tmp_path: Path) -> None:
    ready, done = tmp_path / "ready", tmp_path / "done"
    for fifo in (ready, done):
        os.mkfifo(fifo)
    made = run(
        f"""
        def test(execprobe):
            subprocess.Popen(["sh", "-c", "read line <{ready}; /bin/echo ran >{done}"], start_new_session=True)
        """
    )
    assert passes(made)
    ready.write_text("\n")
    assert done.read_text() == "ran\n"


def test_another_run_in_the_same_process(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import subprocess\ndef test(execprobe):\n    subprocess.run(['true'], env={'PATH': '/nonexistent:/bin'})\n"
        "    assert len(execprobe.attempts) == 1\n"
    )
    options = ["-p", "no:cacheprovider", "--execprobe-backend=ptrace", "--execprobe-attempts=seccomp"]
    code = f"import pytest, subprocess; a, b = (pytest.main({options}) for _ in '12'); subprocess.run(['true'])"
    made = subprocess.run(
        [sys.executable, "-c", code + "; assert a == b == 0"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert passes(made)
    assert made.stdout.count("1 passed") == 2


def test_lost_helper_is_said_with_what_went_with_it(run: Run) -> None:
    made = run(
        """
        import signal, time

        def test(execprobe):
            subprocess.run(["true"], check=True)
            (tracer,) = [line.split()[1] for line in open("/proc/self/status") if line.startswith("TracerPid")]
            pidfd = os.pidfd_open(int(tracer))
            os.kill(int(tracer), signal.SIGKILL)
            import select
            assert select.select([pidfd], [], [], 60)[0]
            with pytest.raises(OSError, match="not implemented"):
                subprocess.run(["true"])
            assert execprobe.attempts == ()
        """
    )
    assert made.returncode != 0
    assert "nothing can be executed without it" in " ".join(made.stdout.split())


def test_untraced_programs_exclude_it(run: Run) -> None:
    made = run("def test(execprobe): pass\n", "--execprobe-untraced=gdb", "--execprobe=require")
    assert made.returncode == 4
    assert "--execprobe-untraced and --execprobe-attempts=seccomp exclude each other" in made.stdout + made.stderr


@pytest.mark.bpf
def test_bpf_shows_them_without_a_filter(run: Run) -> None:
    made = run(
        """
        def test(execprobe):
            subprocess.run(["true"], env={"PATH": "/nonexistent:/bin"})
            assert len(execprobe.attempts) == 1
            assert "Seccomp:\\t0" in open("/proc/self/status").read()
        """,
        backend="bpf",
    )
    assert passes(made)

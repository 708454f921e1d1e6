"""The probe tells what strace tells, and what the programs say of themselves.

Each workload runs twice: alone, and under strace. The second run is seen by both, so that they must agree on every
process; the first one, which nothing slows down, must have gone the same way.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from programs import Programs, Report, parse_report, parse_reports
from truth import Exec, Untraced, attempts_of, processes_of, shapes, strace, without_failures

from pytest_execprobe import ExecLog, ExecProbe, ExecRecord

pytestmark = pytest.mark.exec_budget(2100)

TIMEOUT = 60  # seconds
PYTHON = [sys.executable, "-I", "-S", "-c"]
PYTHON_NAME = os.path.basename(sys.executable)

Compare = Callable[..., ExecLog]


@pytest.fixture
def compare(execprobe: ExecProbe, tmp_path: Path) -> Compare:
    """Runs a command as described above, and returns the log of its first run."""
    outputs = (tmp_path / f"strace-{number}" for number in itertools.count())

    def run_twice(*command: str | Path, cwd: Path | None = None) -> ExecLog:
        with execprobe.watch() as alone:
            run(*command, cwd=cwd)
        if attempts_of(alone) is None:
            traced = strace(command, next(outputs), cwd=cwd, popen=Untraced)
            assert shapes(processes_of(alone)) == shapes(without_failures(traced.processes))
            return alone
        with execprobe.watch() as watched:
            traced = strace(command, next(outputs), cwd=cwd)
        assert processes_of(watched, without=traced.pid) == traced.processes
        assert shapes(processes_of(alone)) == shapes(traced.processes)
        return alone

    return run_twice


def run(*command: str | Path | bytes, cwd: Path | None = None, **options: int | list[int]) -> bytes:
    """The output of a command that must succeed."""
    return subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, check=True, timeout=TIMEOUT, **options).stdout


def assert_failed(log: ExecLog, *expected: Exec) -> None:
    attempts = attempts_of(log)
    assert attempts is None or [Exec(str(record.path), record.error) for record in attempts] == [*expected]


def as_reported(record: ExecRecord) -> Report:
    """What a program should have reported, by its record."""
    return Report(record.pid, record.ppid, record.uid, record.gid, record.executable, record.argv)


def write_script(path: Path, interpreter: str | Path, body: str = "") -> Path:
    path.write_text(f"#!{interpreter}\n{body}\n")
    path.chmod(0o755)
    return path


# ---- ways to start a program ----


def test_subprocess_searches_path(compare: Compare, programs: Programs, tmp_path: Path) -> None:
    (tmp_path / "minimal").write_text("not executable")
    path = f"/nonexistent/one:/nonexistent/two:{tmp_path}:{programs.folder}"
    log = compare(*PYTHON, f"import subprocess; subprocess.run(['minimal'], env={{'PATH': {path!r}}}, check=True)")
    assert log.programs == [PYTHON_NAME, "minimal"]
    assert_failed(
        log,
        Exec("/nonexistent/one/minimal", "ENOENT"),
        Exec("/nonexistent/two/minimal", "ENOENT"),
        Exec(f"{tmp_path}/minimal", "EACCES"),
    )


def test_nothing_that_could_be_run(compare: Compare, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no format that the kernel knows")
    (tmp_path / "text").chmod(0o755)
    write_script(tmp_path / "script", "/nonexistent/interpreter")
    (tmp_path / "loop").symlink_to("loop")
    long_name = 256 * "x"
    code = f"""
import subprocess
for command in ["./text"], ["./script"], ["./loop"], ["./."], ["./text/below"], ["./{long_name}"], [
    "/bin/true", 128 * 1024 * "x"
]:
    try:
        subprocess.run(command)
    except OSError:
        continue
    raise SystemExit(f"{{command}} ran")
"""
    log = compare(*PYTHON, code, cwd=tmp_path)
    assert log.programs == [PYTHON_NAME]
    assert_failed(
        log,
        Exec("./text", "ENOEXEC"),
        Exec("./script", "ENOENT"),
        Exec("./loop", "ELOOP"),
        Exec("./.", "EACCES"),
        Exec("./text/below", "ENOTDIR"),
        Exec(f"./{long_name}", "ENAMETOOLONG"),
        Exec("/bin/true", "E2BIG"),
    )


def test_os_system(compare: Compare, programs: Programs) -> None:
    code = (
        f"import os; raise SystemExit(os.system('{programs.minimal}; {programs.minimal} && exec {programs.minimal}'))"
    )
    log = compare(*PYTHON, code)
    assert log.programs == [PYTHON_NAME, "sh", "minimal", "minimal", "minimal"]


def test_posix_spawn(compare: Compare, programs: Programs) -> None:
    code = f"""
import os
os.environ["PATH"] = "/nonexistent:{programs.folder}"
for pid in os.posix_spawn("{programs.minimal}", ["one"], {{}}), os.posix_spawnp("minimal", ["two"], {{}}):
    assert os.waitpid(pid, 0) == (pid, 0)
"""
    log = compare(*PYTHON, code)
    assert log.programs == [PYTHON_NAME, "minimal", "minimal"]
    assert_failed(log, Exec("/nonexistent/minimal", "ENOENT"))


def test_vfork(compare: Compare, programs: Programs) -> None:
    log = compare(programs.vforks, programs.minimal, "3")
    assert log.programs == ["vforks", "minimal", "minimal", "minimal"]
    assert_failed(log, *[Exec("/nonexistent/program", "ENOENT")] * 3)


def test_pipeline_of_many_stages(compare: Compare, programs: Programs) -> None:
    stages = ["echo many"] + ["cat"] * 20 + [str(programs.minimal)]
    log = compare("/bin/sh", "-c", " | ".join(stages))
    assert log.programs[0] == "sh"
    assert log.counts == {"sh": 1, "cat": 20, "minimal": 1}


def test_parallel_make(compare: Compare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make = shutil.which("make")
    if make is None:
        pytest.skip("there is no make")
    monkeypatch.delenv("MAKEFLAGS", raising=False)  # these tests may be run by a make themselves
    units = [f"unit{number}" for number in range(6)]
    for unit in units:
        (tmp_path / f"{unit}.c").write_text(f"int {unit}(void) {{ return 0; }}\n")
    (tmp_path / "main.c").write_text("int main(void) { return 0; }\n")
    (tmp_path / "Makefile").write_text(
        f"program: main.o {' '.join(f'{unit}.o' for unit in units)}\n"
        "\tgcc -o $@ $^ && test -x $@ && ./$@\n"
        "%.o: %.c\n"
        "\tgcc -c -o $@ $<\n"
    )
    log = compare(make, "--always-make", "--silent", "-j4", cwd=tmp_path)
    assert log.programs[0] == "make"
    assert log.programs[-1] == "program"
    log.assert_count(7, "cc1")
    log.assert_count(8, "gcc")


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")  # xdist's workers have threads
def test_fork_of_the_test_itself(execprobe: ExecProbe, programs: Programs) -> None:
    pid = os.fork()
    if pid == 0:
        try:
            os.execv("/nonexistent/program", ["program"])
        except FileNotFoundError:
            os.execv(programs.minimal, ["program"])
        finally:
            os._exit(1)
    assert os.waitpid(pid, 0) == (pid, 0)
    failed = [] if attempts_of(execprobe) is None else [Exec("/nonexistent/program", "ENOENT")]
    assert processes_of(execprobe) == {pid: [*failed, Exec(str(programs.minimal))]}


# ---- scripts ----


def test_script_through_env(compare: Compare, tmp_path: Path) -> None:
    script = write_script(tmp_path / "script", "/usr/bin/env sh", "exit 0")
    log = compare(script)
    assert log.programs == ["script", "sh"]
    first, second = log.records
    assert first.pid == second.pid
    assert first.path == str(script)
    assert first.interpreter == "/usr/bin/env"
    assert first.executable == os.path.realpath("/usr/bin/env")
    assert first.argv == ("/usr/bin/env", "sh", str(script))
    assert second.executable == os.path.realpath(str(second.path))
    assert second.interpreter is None
    assert second.argv == ("sh", str(script))


def test_script_run_by_a_script(compare: Compare, programs: Programs, tmp_path: Path) -> None:
    inner = write_script(tmp_path / "inner", f"{programs.report} inner's")
    outer = write_script(tmp_path / "outer", f"{inner} outer's")
    log = compare(outer, "argument")
    (record,) = log.records
    assert record.program == "outer"
    assert record.path == str(outer)
    assert record.interpreter == str(programs.report)


def test_script_run_by_a_script_has_the_argv_that_its_interpreter_gets(
    execprobe: ExecProbe, programs: Programs, tmp_path: Path
) -> None:
    inner = write_script(tmp_path / "inner", f"{programs.report} inner's")
    outer = write_script(tmp_path / "outer", f"{inner} outer's")
    report = parse_report(run(outer, "argument"))
    (record,) = execprobe.records
    assert as_reported(record) == report
    assert record.argv == (str(programs.report), "inner's", str(inner), "outer's", str(outer), "argument")


# ---- unusual ways into a program ----


@pytest.mark.parametrize("how", ["second", "orphan"])
def test_thread_becomes_a_program(compare: Compare, programs: Programs, how: str) -> None:
    """Not the first thread does, or the first one has even ended: the process keeps its pid."""
    log = compare(programs.threads, how, programs.report, "argument")
    assert log.programs == ["threads", "report"]
    first, second = log.records
    assert first.pid == second.pid


@pytest.mark.parametrize("how", ["second", "orphan", "race"])
def test_thread_that_became_a_program_is_recorded_as_it_reports(
    execprobe: ExecProbe, programs: Programs, how: str
) -> None:
    for _ in range(20):
        with execprobe.watch() as log:
            report = parse_report(run(programs.threads, how, programs.report, "argument"))
        assert log.programs == ["threads", "report"]
        assert as_reported(log.records[1]) == report


def test_thread_fails_to_become_a_program(execprobe: ExecProbe, programs: Programs) -> None:
    """The attempt is one of the process, not of a process that has the thread's number."""
    assert subprocess.run([programs.threads, "second", "/nonexistent/program"], timeout=TIMEOUT).returncode == 1
    (record,) = execprobe.records
    failed = [] if attempts_of(execprobe) is None else [Exec("/nonexistent/program", "ENOENT")]
    assert processes_of(execprobe) == {record.pid: [Exec(str(programs.threads)), *failed]}


def test_memfd(compare: Compare, programs: Programs) -> None:
    code = f"""
import os
fd = os.memfd_create("in memory")
with open("{programs.minimal}", "rb") as file:
    os.write(fd, file.read())
os.execve(fd, ["anything"], {{}})
"""
    log = compare(*PYTHON, code)
    assert log.programs == [PYTHON_NAME, "memfd:in memory"]
    record = log.records[1]
    assert record.path is not None
    assert record.path.startswith("/dev/fd/")
    assert record.argv == ("anything",)


def test_execveat_relative_to_a_folder(compare: Compare, programs: Programs) -> None:
    log = compare(programs.execat, programs.folder, "nonexistent", "minimal")
    assert log.programs == ["execat", "minimal"]
    attempts = attempts_of(log)
    if attempts is not None:
        (failure,) = attempts
        assert failure.error == "ENOENT"
        assert str(failure.path).startswith("/dev/fd/")
        assert str(failure.path).endswith("/nonexistent")
    assert log.records[1].executable == str(programs.minimal)


@pytest.mark.may_skip
def test_system_call_of_32_bits(compare: Compare, programs: Programs) -> None:
    if platform.machine() != "x86_64":
        pytest.skip(f"int 0x80 is a system call of x86, and this is {platform.machine()}")
    if subprocess.run([programs.int80], timeout=TIMEOUT).returncode != 0:
        pytest.skip("this kernel takes no system calls of 32 bits (CONFIG_IA32_EMULATION)")
    log = compare(programs.int80, programs.minimal)
    assert log.programs == ["int80", "minimal"]


@pytest.mark.may_skip
def test_pid_namespace(compare: Compare, programs: Programs) -> None:
    """What is process 1 to itself has another pid outside."""
    unshare = shutil.which("unshare")
    if unshare is None or os.geteuid() != 0:
        pytest.skip("it takes root and unshare(1) to make a PID namespace")
    log = compare(unshare, "--pid", "--fork", "/bin/sh", "-c", f"test $$ = 1 && {programs.minimal}; exit $?")
    assert log.programs == ["unshare", "sh", "minimal"]


def test_storm_on_all_cpus(compare: Compare, programs: Programs) -> None:
    log = compare(programs.storm, programs.minimal, "300")
    assert log.counts == {"storm": 1, "minimal": 300}


# ---- a daemon ----


@pytest.mark.usefixtures("kernel")
def test_daemon_is_a_stray_of_the_next_test(
    pytester: pytest.Pytester, programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GO", str(pytester.path / "go"))
    monkeypatch.setenv("DONE", str(pytester.path / "done"))
    monkeypatch.setenv("DAEMONISE", str(programs.daemonise))
    monkeypatch.setenv("REPORT", str(programs.report))
    pytester.makepyfile(
        """
        import os
        import subprocess
        from pathlib import Path

        GO, DONE, DAEMONISE, REPORT = map(os.environ.get, ["GO", "DONE", "DAEMONISE", "REPORT"])

        def test_that_leaves_a_daemon_behind(execprobe):
            os.mkfifo(GO)
            os.mkfifo(DONE)
            subprocess.run([DAEMONISE, GO, DONE, REPORT, "from the daemon"], check=True)
            assert execprobe.programs == ["daemonise"]

        def test_that_has_nothing_to_do_with_it(execprobe):
            Path(GO).write_text("go")
            with open(DONE, "rb") as done:
                pid, ppid, _, _, executable, _, *argv, end = done.read().decode().split("\\0")
            assert execprobe.programs == []
            (stray,) = execprobe.strays
            assert stray.program == "report"
            assert (stray.pid, stray.ppid) == (int(pid), int(ppid))
            assert stray.executable == executable == REPORT
            assert stray.argv == (*argv,) == (REPORT, "from the daemon")
            assert stray.begun_by.endswith("::test_that_leaves_a_daemon_behind")
            assert stray.parent.program == "daemonise"

        def test_after_that(execprobe):
            assert execprobe.programs == []
            assert execprobe.strays == ()
        """
    )
    pytester.runpytest_subprocess(timeout=TIMEOUT).assert_outcomes(passed=3)


# ---- what a record says, against what the program says ----


def test_record_is_as_the_program_reports(execprobe: ExecProbe, programs: Programs) -> None:
    report = parse_report(run(programs.report, "one", "two"))
    (record,) = execprobe.records
    assert as_reported(record) == report
    assert record.ppid == os.getpid()
    assert record.path == record.executable == str(programs.report)
    assert record.interpreter is None
    assert record.parent is None
    assert record.depth == 1


def test_links_keep_their_name_and_are_resolved(execprobe: ExecProbe, programs: Programs, tmp_path: Path) -> None:
    (tmp_path / "folder").symlink_to(programs.folder)
    (tmp_path / "applet").symlink_to(Path("folder") / "report")
    report = parse_report(run("./applet", cwd=tmp_path))
    (record,) = execprobe.records
    assert as_reported(record) == report
    assert record.program == "applet"
    assert record.path == "./applet"
    assert record.executable == os.path.realpath(programs.report)


@pytest.mark.may_skip
def test_executable_on_another_mount(execprobe: ExecProbe, programs: Programs) -> None:
    shared_memory = Path("/dev/shm")
    if not shared_memory.is_mount() or os.statvfs(shared_memory).f_flag & os.ST_NOEXEC:
        pytest.skip("no other file system is mounted at /dev/shm, or nothing may be executed there")
    with tempfile.TemporaryDirectory(dir=shared_memory) as folder:
        program = shutil.copy(programs.report, folder)
        report = parse_report(run(program))
    (record,) = execprobe.records
    assert as_reported(record) == report
    assert record.executable == program


def test_program_by_descriptor_is_named_after_its_file(execprobe: ExecProbe, programs: Programs) -> None:
    output = run(*PYTHON, f"import os; os.open({str(programs.report)!r}, 0); os.execv('/proc/self/fd/3', ['anything'])")
    record = execprobe.records[1]
    assert as_reported(record) == parse_report(output)
    assert record.path == "/proc/self/fd/3"
    assert record.program == "report"


@pytest.mark.may_skip
def test_user_and_group(execprobe: ExecProbe, programs: Programs) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can run a program as someone else")
    # Only by a relative path does someone else get at what lies in root's temporary folder.
    output = run("./report", cwd=programs.folder, user=65532, group=65533, extra_groups=[])
    report = parse_report(output)
    (record,) = execprobe.records
    assert as_reported(record) == report
    assert (record.uid, record.gid) == (65532, 65533)


def test_parents_and_depth(execprobe: ExecProbe, programs: Programs, tmp_path: Path) -> None:
    """A fork without an exec between does not count as a parent, and an exec in the same process not as a child."""
    inner = write_script(tmp_path / "inner", "/bin/sh", f"({programs.report} below; :)\nexec {programs.report} instead")
    output = run("/bin/sh", "-c", f"{inner}; {programs.report} beside; :")
    shell, script, below, instead, beside = execprobe.records
    assert [record.parent for record in execprobe.records] == [None, shell, script, shell, shell]
    assert [record.depth for record in execprobe.records] == [1, 2, 3, 2, 2]
    assert script.ppid == beside.ppid == shell.pid
    assert instead.pid == script.pid
    assert [as_reported(record) for record in (below, instead, beside)] == parse_reports(output)


# ---- arguments ----


@pytest.mark.parametrize(
    "arguments",
    [
        [b""],
        [b"", b"", b""],
        [b"two words", b" ", b"\t", b"'\"\\$(x)"],
        [b"line\nline", b"\n", b"\r\n"],
        ["naïve ☃ 🐍".encode(), b"\xff\xfe", b"cut \xe2\x98", b"\x01\x1b[31m\x7f"],
    ],
    ids=["empty", "several-empty", "spaces-and-quotes", "newlines", "not-utf-8"],
)
def test_arguments(execprobe: ExecProbe, programs: Programs, arguments: list[bytes]) -> None:
    report = parse_report(run(programs.report, *arguments))
    (record,) = execprobe.records
    assert record.argv == report.argv
    assert [os.fsencode(argument) for argument in record.argv[1:]] == arguments
    assert not record.argv_truncated


def test_arguments_of_an_attempt(execprobe: ExecProbe) -> None:
    # None of them empty or of one byte: CPython has those in its static data, which need not have been mapped yet, and
    # an exec that fails for want of the program reads no argument.
    with pytest.raises(FileNotFoundError):
        run("/nonexistent/program", "two words", b"\xff\xfe")
    assert execprobe.programs == []
    attempts = attempts_of(execprobe)
    if attempts is None:
        return
    (attempt,) = attempts
    assert attempt.error == "ENOENT"
    assert attempt.argv == ("/nonexistent/program", "two words", "\udcff\udcfe")
    assert attempt.pid != os.getpid()


def test_exec_that_is_only_checked_is_none(execprobe: ExecProbe, programs: Programs) -> None:
    """Nor is it under way for ever: what is read next waits for nothing."""
    execveat = {"x86_64": 322, "aarch64": 281}.get(platform.machine()) or pytest.skip("another machine")
    at_empty_path, at_execve_check = 0x1000, 0x10000
    library, words = ctypes.CDLL(None, use_errno=True), (ctypes.c_char_p * 2)(b"minimal", None)
    file = os.open(programs.minimal, os.O_PATH)
    try:
        checked = library.syscall(execveat, file, b"", words, None, at_empty_path | at_execve_check)
    finally:
        os.close(file)
    if checked != 0:
        pytest.skip("this kernel is older than 6.14")
    execprobe.assert_nothing_ran()
    assert attempts_of(execprobe) in ((), None)


KEPT = 16 * 1024


@pytest.mark.parametrize(
    "arguments",
    [["x" * (128 * 1024 - 1)], ["y" * 1023] * 128, ["z"] * 64 * 1024],
    ids=["one-argument", "kilobytes", "single-letters"],
)
def test_long_arguments_are_cut(execprobe: ExecProbe, programs: Programs, arguments: list[str]) -> None:
    """128 KiB in all; one argument alone can't be longer."""
    report = parse_report(run(programs.report, *arguments))
    (record,) = execprobe.records
    assert record.argv_truncated
    assert record.argv is not None
    *whole, last = record.argv
    assert tuple(whole) == report.argv[: len(whole)]
    assert report.argv[len(whole)].startswith(last)
    assert sum(len(argument) + 1 for argument in record.argv) >= KEPT


def test_arguments_that_just_fit_are_whole(execprobe: ExecProbe, programs: Programs) -> None:
    argument = "x" * (KEPT - len(f"{programs.report}\0") - len("\0"))
    report = parse_report(run(programs.report, argument))
    (record,) = execprobe.records
    assert not record.argv_truncated
    assert record.argv == report.argv == (str(programs.report), argument)

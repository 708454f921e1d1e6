"""``execprobe run`` on the real kernel: what it records, and that the command is as it is without it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import termios
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from environments import Environment
from programs import Programs
from recording import stopped, watched_to_its_end
from users import as_user, needs_root, user

from pytest_execprobe.report import read as reading
from pytest_execprobe.source.client import HelperSource
from pytest_execprobe.source.connect import HelperSettings, hold_helper

__all__ = ["user"]

pytestmark = [pytest.mark.usefixtures("kernel"), pytest.mark.exec_budget(4100), pytest.mark.own_helper]

COMMAND = [sys.executable, "-m", "pytest_execprobe.cli", "run"]
TIMEOUT = 60
STORM = 500

#: What it executes: sh, seq, xargs, three times env and true, and cat.
PIPELINE = "seq 3 | xargs -n 1 env true | cat"
PIPELINE_PROGRAMS = Counter({"sh": 1, "seq": 1, "xargs": 1, "env": 3, "true": 3, "cat": 1})


@pytest.fixture(scope="module")
def helper() -> Iterator[str]:
    """The address of a helper, so that not every run has to start one."""
    source = hold_helper(HelperSettings(attempts="off"))
    try:
        yield f"@{source.description['address']}"
    finally:
        source.close()


def run(*argv: object) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, *map(str, argv)]
    return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)


# ---- what it records ----


def test_a_pipeline(tmp_path: Path) -> None:
    report = tmp_path / "a.json"
    done = run("--report", report, "--", "sh", "-c", PIPELINE)
    assert (done.returncode, done.stdout) == (0, "")
    assert re.fullmatch(
        r"execprobe: 10 execs of 6 programs in \d\.\d\d s, 0 lost\n"
        r"most executed   3  env\n"
        r"                3  true\n"
        r"                1  cat\n"
        r"                1  seq\n"
        r"                1  sh\n"
        r"                1  xargs\n",
        done.stderr,
    )
    (unit,) = reading.read(report).units
    assert unit.programs == PIPELINE_PROGRAMS
    assert unit.complete
    shell = unit.records[0]
    assert (shell.argv, shell.parent, shell.depth, shell._lineage.direct) == (("sh", "-c", PIPELINE), None, 1, True)
    for record in unit.records:
        assert record.exit_code == (None if record.program == "env" else 0)  # which became true
        if record.program == "true":
            assert record._lineage.previous is not None
            assert record._lineage.previous.program == "env"
            assert (record.parent and record.parent.program, record.depth) == ("xargs", 3)


def test_counts_alone_are_the_same(helper: str) -> None:
    assert run("--helper", helper, "sh", "-c", PIPELINE).stderr.startswith("execprobe: 10 execs of 6 programs in ")


def test_every_exec_of_a_storm_is_counted(helper: str, programs: Programs) -> None:
    done = run(
        "--helper",
        helper,
        "--budget",
        STORM + 1,
        "--allow",
        "storm",
        "--allow",
        "minimal",
        programs.storm,
        programs.minimal,
        STORM,
    )
    assert done.returncode == 0, done.stderr
    assert f"execprobe: {STORM + 1:,} execs of 2 programs in " in done.stderr
    assert ", 0 lost\n" in done.stderr


def test_other_forms(helper: str, tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.md", "a.trace.json")]
    assert (
        run(
            "--helper", helper, *(word for path in paths for word in ("--report", path)), "sh", "-c", PIPELINE
        ).returncode
        == 0
    )
    assert "**10** execs" in paths[0].read_text()
    assert "xargs" in paths[1].read_text()


# ---- what it leaves running ----

# Ends with status 5, and leaves a process of a session of its own that says its number, and goes on when the command's
# input ends.
LEAVES = """
import ctypes, os, platform, sys, threading

begun, is_ready = os.pipe()  # closed by an exec

def detach():
    os.setsid()
    print(os.getpid(), flush=True)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1), os.dup2(null, 2)

def go_on():
    os.close(is_ready)
    os.read(0, 1)
    os.execv("/bin/true", ["true"])

def execs():
    detach()
    os.execv("/bin/cat", ["cat"])

def forked():
    detach()
    go_on()

def daemon():
    os.setsid()
    if os.fork() == 0:
        detach()
        go_on()

def thread():
    detach()
    threading.Thread(target=go_on).start()
    ctypes.CDLL(None).syscall({"x86_64": 60, "aarch64": 93}[platform.machine()], 0)  # exit, of this thread alone

if os.fork() == 0:
    globals()[sys.argv[1]]()
    os._exit(0)
os.close(is_ready)
os.read(begun, 1)
os._exit(5)
"""
FORKED = f"forked by {os.path.basename(sys.executable)}, no exec of its own"
#: What is told of it, and what it runs when it goes on.
LEFT = {"execs": ("cat", None), "forked": (FORKED, "true"), "daemon": (FORKED, "true"), "thread": (FORKED, "true")}


def leaving(kind: str) -> list[str]:
    return ["--", sys.executable, "-S", "-c", LEAVES, kind]


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """To read from, and to write to; nothing that reads from it outlives the test."""
    ends = os.pipe()
    yield ends
    for end in ends:
        with contextlib.suppress(OSError):
            os.close(end)


@pytest.mark.parametrize("kind", LEFT)
def test_what_is_left_running_is_told_by_process(helper: str, tmp_path: Path, pipe: tuple[int, int], kind: str) -> None:
    report = tmp_path / "a.json"
    options = ["--helper", helper, "--report", str(report), "--deny", "curl"]
    with started(*options, *leaving(kind), stdin=pipe[0]) as process:
        output, error = process.communicate(timeout=TIMEOUT)
    pid = int(output)
    with watched_to_its_end(pid):
        os.close(pipe[1])
    assert process.returncode == 5
    assert "still running   1 process that it has left behind: " in error
    assert re.search(rf"\n +pid {pid}: {LEFT[kind][0]}, for ", error)
    assert "execprobe: cannot tell whether curl ran\n  why   1 process had not ended when the recording did" in error
    document = reading.read(report)
    assert [one.pid for one in document.runs[0].running] == [pid]
    assert not document.complete


@pytest.mark.parametrize("kind", LEFT)
def test_what_is_left_running_is_waited_for(helper: str, tmp_path: Path, pipe: tuple[int, int], kind: str) -> None:
    report = tmp_path / "a.json"
    options = ["--helper", helper, "--wait", "--report", str(report), "--deny", "true"]
    with started(*options, *leaving(kind), stdin=pipe[0]) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        until_an_orphan(pid)
        assert process.poll() is None
        os.close(pipe[1])
        _, error = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 5
    assert "still running" not in error
    document = reading.read(report)
    assert document.complete
    ran = LEFT[kind][1]
    if ran is not None:
        assert document.programs[ran] == 1
        assert f"execprobe: {ran} must not run, but it ran once\n" in error


def until_an_orphan(pid: int) -> None:
    """Waits until the process that has begun another has ended."""
    while True:
        (parent,) = re.findall(r"^PPid:\t(\d+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
        try:
            if Path(f"/proc/{parent}/cmdline").read_bytes().find(b"def go_on") < 0:
                return
            with watched_to_its_end(int(parent)):
                pass
        except (FileNotFoundError, ProcessLookupError):
            return


def test_control_c_ends_the_wait_and_not_what_is_left(helper: str, tmp_path: Path, pipe: tuple[int, int]) -> None:
    terminal, report = Terminal(), tmp_path / "a.json"
    environment = {**os.environ, "TERM": "xterm", "NO_COLOR": "1", "COLUMNS": "200"}
    options = ["--helper", helper, "--wait", "--report", str(report)]
    streams = {"stdin": pipe[0], "stdout": subprocess.PIPE, "stderr": terminal.slave}
    with started(*options, *leaving("forked"), **streams, preexec_fn=terminal.take, env=environment) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        terminal.until("waiting for what the command has left running (Ctrl-C ends this): 1 process: python")
        os.write(terminal.master, b"\x03")
        process.wait(TIMEOUT)
        shown = terminal.rest()
    with watched_to_its_end(pid):  # it is there
        os.close(pipe[1])
    assert process.returncode == 5
    assert re.search(r"still running   1 process that it has left behind: waited for [\d.]+ s, until SIGINT\n", shown)
    assert f"pid {pid}: {FORKED}, for " in shown
    assert "Traceback" not in shown
    assert [one.pid for one in reading.read(report).runs[0].running] == [pid]


def test_a_helper_that_is_killed_while_it_is_waited(small: HelperSource, pipe: tuple[int, int]) -> None:
    options = ["--helper", f"@{small.description['address']}", "--wait", "--deny", "curl"]
    with started(*options, *leaving("forked"), stdin=pipe[0]) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        until_an_orphan(pid)
        os.kill(helper_of(small), signal.SIGKILL)
        _, error = process.communicate(timeout=TIMEOUT)
    with watched_to_its_end(pid):
        os.close(pipe[1])
    assert process.returncode == 5
    assert "not known       the probe helper was lost: it died" in error
    assert "execprobe: cannot tell whether curl ran\n" in error


# Takes in orphans, and waits for none of them; says whether there were any that had ended.
KEEPS_ZOMBIES = """
import ctypes, os, subprocess, sys
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
status = subprocess.call(sys.argv[1:])
print("zombie" if os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG) else "none")
sys.exit(status)
"""


def test_zombies_are_not_waited_for(helper: str) -> None:
    command = [*COMMAND, "--helper", helper, "--wait=50", "sh", "-c", "env true & exit 3"]
    done = subprocess.run(
        [sys.executable, "-c", KEEPS_ZOMBIES, *command], capture_output=True, text=True, timeout=TIMEOUT, check=False
    )
    assert (done.returncode, done.stdout) == (3, "zombie\n"), done.stderr
    assert "still running" not in done.stderr


@needs_root
@pytest.mark.parametrize("place", ["its helper outside", "all of it"])
def test_what_is_left_in_a_pid_namespace_has_the_number_that_is_seen_there(
    helper: str, tmp_path: Path, pipe: tuple[int, int], place: str
) -> None:
    report = tmp_path / "a.json"
    options = ["--helper", helper] if place == "its helper outside" else []
    command = [*COMMAND, *options, "--report", str(report), *leaving("forked")]
    done = subprocess.run(
        ["unshare", "--pid", "--fork", "--mount-proc", *command],
        stdin=pipe[0],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 5, done.stderr
    assert int(done.stdout) < 100
    assert [one.pid for one in reading.read(report).runs[0].running] == [int(done.stdout)]


@needs_root
def test_what_is_left_in_a_pid_namespace_below_has_the_number_that_is_seen_here(
    helper: str, tmp_path: Path, pipe: tuple[int, int]
) -> None:
    report = tmp_path / "a.json"
    inner = f"{shutil.which('unshare')} --pid --fork sh -c 'read line; true' <&3 >/dev/null 2>&1 & exit 0"
    with started("--helper", helper, "--report", report, "sh", "-c", f"exec 3<&0; {inner}", stdin=pipe[0]) as process:
        _, error = process.communicate(timeout=TIMEOUT)
        pids = [one.pid for one in reading.read(report).runs[0].running]
        assert pids, error
        for pid in pids:
            assert Path(f"/proc/{pid}/comm").read_text() in ("unshare\n", "sh\n")
        os.close(pipe[1])


# ---- the command is as it is without it ----


@pytest.mark.parametrize(
    ("script", "status"), [("exit 0", 0), ("exit 3", 3), ("kill -9 $$", 137), ("kill -INT $$", 130)]
)
def test_its_exit_status(helper: str, script: str, status: int) -> None:
    assert run("--helper", helper, "sh", "-c", script).returncode == status


def test_no_command(helper: str) -> None:
    done = run("--helper", helper, "no-such-command")
    assert (done.returncode, done.stderr) == (127, "execprobe: no-such-command: there is no such command in PATH\n")
    assert run("--helper", helper, "/etc/passwd").returncode == 126


def test_its_input_and_output(helper: str) -> None:
    data = bytes(range(256)) * 1000
    done = subprocess.run(
        [*COMMAND, "--helper", helper, "cat"], input=data, capture_output=True, timeout=TIMEOUT, check=True
    )
    assert done.stdout == data


@contextlib.contextmanager
def started(*argv: object, **options: object) -> Iterator[subprocess.Popen[str]]:
    """A run that waits for what the test does. It is given no time to hang."""
    process = subprocess.Popen(  # type: ignore[call-overload]
        [*COMMAND, *map(str, argv)],
        **{"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options},
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


SIGNALS = ("HUP", "INT", "QUIT", "TERM", "USR1", "USR2")


def test_signals_are_passed_on(helper: str) -> None:
    def heard() -> None:
        """Tests that run in a shell's background ignore some, and what is ignored at first can't be trapped."""
        for name in SIGNALS:
            signal.signal(getattr(signal, f"SIG{name}"), signal.SIG_DFL)

    traps = "; ".join(f"trap 'echo {name}' {name}" for name in SIGNALS)
    waits = f"{traps}; echo ready; until read line; do :; done; exit 9"  # read ends at a trap
    with started("--helper", helper, "sh", "-c", waits, preexec_fn=heard) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        for name in SIGNALS:
            process.send_signal(getattr(signal, f"SIG{name}"))
            assert process.stdout.readline() == f"{name}\n"
        _, error = process.communicate("\n", timeout=TIMEOUT)
    assert process.returncode == 9
    assert error.startswith("execprobe: 1 exec of 1 program")


def test_it_ends_as_the_command_does_by_a_signal(helper: str) -> None:
    with started("--helper", helper, "sh", "-c", "echo ready; exec cat") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        process.wait(TIMEOUT)
    assert process.returncode == 128 + signal.SIGTERM


class Terminal:
    """A pseudo-terminal, and what was shown on it."""

    def __init__(self) -> None:
        self.master, self.slave = os.openpty()
        self.shown = ""

    def take(self) -> None:
        """As the terminal of a session of its own: to be called in the child."""
        os.setsid()
        fcntl.ioctl(self.slave, termios.TIOCSCTTY, 0)

    def _let_go(self) -> None:
        """So that reading ends with the last other process that has it open. All have been started by then."""
        if self.slave >= 0:
            os.close(self.slave)
            self.slave = -1

    def until(self, text: str) -> None:
        self._let_go()
        while text not in self.shown:
            self.shown += os.read(self.master, 4096).decode()  # EIO once they have ended

    def rest(self) -> str:
        self._let_go()
        with contextlib.suppress(OSError):  # EIO: nobody has it open any more
            while data := os.read(self.master, 4096):
                self.shown += data.decode()
        os.close(self.master)
        # Without what was there for a while alone.
        return re.sub(r"\r\x1b\[K[^\r\n]*(?=\r\x1b\[K)|\r\x1b\[K", "", self.shown).replace("\r\n", "\n")


COUNTS_INTERRUPTS = """
import os, signal, sys
caught = []
signal.signal(signal.SIGINT, lambda *_: (caught.append(1), os.write(1, b"caught\\n")))  # print() may be under way
print("ready", flush=True)
sys.stdin.readline()
print("interrupts:", len(caught), flush=True)
sys.exit(5)
"""


def test_control_c_reaches_the_command_once(helper: str) -> None:
    terminal = Terminal()
    streams = {"stdin": terminal.slave, "stdout": terminal.slave, "stderr": terminal.slave}
    environment = {**os.environ, "TERM": "dumb"}
    command = [sys.executable, "-c", COUNTS_INTERRUPTS]
    with started("--helper", helper, *command, **streams, preexec_fn=terminal.take, env=environment) as process:
        terminal.until("ready")
        os.write(terminal.master, b"\x03")
        terminal.until("caught")
        os.write(terminal.master, b"\n")
        terminal.until("interrupts:")
        process.wait(TIMEOUT)
        shown = terminal.rest()
    assert process.returncode == 5
    assert "interrupts: 1\n" in shown
    assert "Traceback" not in shown
    assert "execprobe: 1 exec of 1 program" in shown


def test_control_c_ends_both(helper: str) -> None:
    terminal = Terminal()
    streams = {"stdin": terminal.slave, "stdout": terminal.slave, "stderr": terminal.slave}
    environment = {**os.environ, "TERM": "dumb"}
    with started(
        "--helper", helper, "sh", "-c", "echo ready; exec cat", **streams, preexec_fn=terminal.take, env=environment
    ) as process:
        terminal.until("ready")
        os.write(terminal.master, b"\x03")
        process.wait(TIMEOUT)
        shown = terminal.rest()
    assert process.returncode == 130
    assert re.search(r"execprobe: (1 exec|2 execs) of ", shown)  # cat may not have come to it
    assert "Traceback" not in shown


@pytest.mark.parametrize(("options", "shown"), [([], True), (["--quiet"], False)], ids=["shown", "quiet"])
def test_execs_are_shown_on_a_terminal_as_they_happen(helper: str, options: list[str], shown: bool) -> None:
    """Standard output is the command's, and no terminal."""
    terminal = Terminal()
    environment = {**os.environ, "TERM": "xterm", "NO_COLOR": "1", "COLUMNS": "100"}
    script = "env true; read line; exec echo done"
    with started(
        "--helper", helper, *options, "--", "sh", "-c", script, stderr=terminal.slave, env=environment
    ) as process:
        if shown:
            terminal.until("/true\r\n")  # it is there while the command still runs
        output, _ = process.communicate("\n", timeout=TIMEOUT)
        lines = terminal.rest().splitlines()
    assert (process.returncode, output) == (0, "done\n")
    live = [line for line in lines if line.startswith("+")]
    assert len(live) == (4 if shown else 0)
    if shown:
        assert re.fullmatch(r"\+ +\d+\.\d ms +\d+ +\S*/sh -c 'env true; read line; exec echo done'", live[0])
        assert re.fullmatch(r"\+ +\d+\.\d ms +\d+ sh +\S*/env true", live[1])
    assert any(line.startswith("execprobe: 4 execs of 4 programs") for line in lines)


def test_nothing_moves_where_it_is_piped(helper: str) -> None:
    done = run("--helper", helper, "--color", "auto", "sh", "-c", PIPELINE)
    assert "\x1b" not in done.stderr
    assert "\r" not in done.stderr
    assert "\n+" not in done.stderr


# ---- limits ----


@pytest.mark.parametrize(
    ("options", "status"),
    [
        (["--budget", "10", "--deny", "curl", "--allow", "subtree:sh"], 0),
        (["--budget", "9"], 1),
        (["--deny", "xargs"], 1),
        (["--allow", "subtree:xargs"], 1),
        (["--allow", "/usr/*", "--allow", "/bin/*"], 0),
    ],
)
def test_limits(helper: str, options: list[str], status: int) -> None:
    done = run("--helper", helper, *options, "sh", "-c", PIPELINE)
    assert done.returncode == status, done.stderr


def test_a_failed_command_keeps_its_status(helper: str) -> None:
    done = run("--helper", helper, "--budget", "0", "sh", "-c", "exit 7")
    assert done.returncode == 7
    assert "execprobe: exec budget exceeded: 1 exec, at most 0 allowed\n" in done.stderr


# ---- what is not known never passes ----


@pytest.fixture
def small() -> Iterator[HelperSource]:
    """A helper with a buffer of one page."""
    source = hold_helper(HelperSettings(pages=1))
    try:
        yield source
    finally:
        source.close()


def helper_of(source: HelperSource) -> int:
    return int(source.description["pid"])


@pytest.mark.bpf  # what is traced waits for a helper that is stopped
@pytest.mark.parametrize(
    ("options", "status"),
    [([], 0), (["--deny", "curl"], 2), (["--allow", "sh", "--allow", "storm", "--allow", "minimal"], 2)],
    ids=["no limit", "deny", "allow"],
)
def test_lost_records_never_pass(
    programs: Programs, small: HelperSource, tmp_path: Path, options: list[str], status: int
) -> None:
    report = tmp_path / "a.json"
    script = f"echo ready; read line; {programs.storm} {programs.minimal} {STORM}; echo done"
    options = ["--helper", f"@{small.description['address']}", "--report", str(report), *options]
    with started(*options, "--", "sh", "-c", script) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        with stopped(helper_of(small)):
            process.stdin.write("\n")
            process.stdin.flush()
            assert process.stdout.readline() == "done\n"
        _, error = process.communicate(timeout=TIMEOUT)
    assert process.returncode == status, error
    document = reading.read(report)
    assert not document.complete
    if not document.unknown:
        assert document.lost > STORM // 2
        assert document.execs + document.lost == STORM + 2
        assert f"{document.lost:,} lost\n" in error
    assert ("cannot tell" in error) == (status == 2)


def test_a_helper_that_is_killed(small: HelperSource) -> None:
    options = ["--helper", f"@{small.description['address']}", "--deny", "curl"]
    with started(*options, "--", "sh", "-c", "echo ready; read line; echo done") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        with watched_to_its_end(helper_of(small)):
            os.kill(helper_of(small), signal.SIGKILL)
        output, error = process.communicate("\n", timeout=TIMEOUT)
    assert (process.returncode, output) == (2, "done\n")
    assert "an unknown number lost\n" in error
    assert "not known       the probe helper was lost: it died" in error
    assert "execprobe: cannot tell whether curl ran\n" in error


# ---- no probe ----


@pytest.mark.bpf
def test_without_a_probe_the_command_is_not_run(tmp_path: Path) -> None:
    done = run("--backend", "bpf", "--python", "/bin/false", "touch", tmp_path / "ran")
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(
        r"execprobe: no Python with BCC was found \(/bin/false: .*\)\. Install .* --python or EXECPROBE_PYTHON\. The"
        r" command was not run; with --optional it runs unrecorded\n",
        done.stderr,
    )
    assert not (tmp_path / "ran").exists()


@pytest.mark.bpf
def test_without_a_probe_it_is_run_if_that_is_asked_for() -> None:
    done = run("--optional", "--backend=bpf", "--python", "/bin/false", "sh", "-c", "echo ran; exit 3")
    assert (done.returncode, done.stdout) == (3, "ran\n")
    assert done.stderr.startswith("execprobe: NOT RECORDED: no Python with BCC was found")


@needs_root
def test_without_privilege(installed: Environment, user: str) -> None:
    done = subprocess.run(
        [*as_user(user), installed.python, "-m", "pytest_execprobe.cli", "run", "--backend", "bpf", "echo", "ran"],
        cwd="/",
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    refused = "(has no privilege to probe|refused it without a password)"
    assert re.match(rf"execprobe: .*{refused}.* Run execprobe as root", done.stderr)
    assert done.stderr.endswith(" The command was not run; with --optional it runs unrecorded\n")


@needs_root
def test_without_privilege_it_is_traced(installed: Environment, user: str) -> None:
    run = [*as_user(user, "--no-new-privs"), installed.python, "-m", "pytest_execprobe.cli", "run"]
    environment = {"PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [*run, "sh", "-c", "env true"],
        cwd="/",
        env=environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 0
    assert "3 execs" in done.stderr


# ---- pytest below ----


def test_a_probe_below_is_not_counted(tmp_path: Path) -> None:
    """It has a helper of its own, which is not the command's work."""
    program = (
        "import subprocess; from pytest_execprobe.source.connect import HelperSettings, start_helper;"
        "source = start_helper(HelperSettings()); subprocess.run(['true']); source.close()"
    )
    report = tmp_path / "a.json"
    assert run("--report", report, sys.executable, "-c", program).returncode == 0
    (unit,) = reading.read(report).units
    assert [record.argv and record.argv[-1] for record in unit.records] == [program, "true"]

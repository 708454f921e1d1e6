"""In PID namespaces: logs have the numbers that the test sees, and miss nothing.

The suite below runs in a pytest of its own, once for each arrangement of namespaces. What its programs report of
themselves, and what strace sees from where the test is, are the truth.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from programs import Programs
from recording import recording

from pytest_execprobe import ExecProbe
from pytest_execprobe.errors import ProbeUnavailable
from pytest_execprobe.source.connect import HelperSettings, start_helper
from pytest_execprobe.source.launch import bpf_folder

pytestmark = [
    pytest.mark.usefixtures("kernel"),
    pytest.mark.exec_budget(300),
    pytest.mark.skipif(os.geteuid() != 0, reason="execprobe: it takes root to make PID namespaces"),
]

HERE = Path(__file__).parent

# Runs a command with the address of a helper that runs here, and so sees what the command sees only from outside.
HOLD = """
import subprocess, sys
from pytest_execprobe.source.connect import HelperSettings, hold_helper
source = hold_helper(HelperSettings(attempts="always"))
address = "@" + source.description["address"]
sys.exit(subprocess.call([*sys.argv[1:], "--execprobe-helper=" + address]))
"""
HELPER_HERE = [sys.executable, "-c", HOLD]
NAMESPACE = ["unshare", "--pid", "--fork", "--mount-proc"]
UNDER_AN_INIT = ["sh", "-c", '"$@"; exit $?', "sh"]

PLACES = {
    "no namespace": [],
    "pytest is number 1": NAMESPACE,
    "pytest has an init": [*NAMESPACE, *UNDER_AN_INIT],
    "/proc is that of outside": ["unshare", "--pid", "--fork", *UNDER_AN_INIT],
    "three levels down": [*NAMESPACE * 3, *UNDER_AN_INIT],
    "the helper is outside": [*HELPER_HERE, *NAMESPACE],
    "the helper is outside of an init": [*HELPER_HERE, *NAMESPACE, *UNDER_AN_INIT],
    "the helper is one level down, pytest three": [*NAMESPACE, *HELPER_HERE, *NAMESPACE * 2, *UNDER_AN_INIT],
}

CONFTEST = """
import os, subprocess

REPORT = os.environ["REPORT"]
# Begun before there is a probe, and so adopted: it starts a program, and one whose parent has ended, when it is asked.
shell = subprocess.Popen(
    ["sh", "-c", f"while read line; do {REPORT} child; sh -c '{REPORT} grandchild; exit 0'; done; sleep 0"],
    stdin=subprocess.PIPE, stdout=subprocess.PIPE,
)

def pytest_unconfigure():
    shell.communicate()
"""

SUITE = """
import os, subprocess, sys, threading
from pathlib import Path
from conftest import REPORT, shell
from programs import parse_report, parse_reports
from truth import processes_of, strace

THREADS, DAEMONISE = os.environ["THREADS"], os.environ["DAEMONISE"]
UNSHARE, SH = os.environ["UNSHARE"], "/bin/sh"

def seen(records):
    return sorted((record.pid, record.ppid, *record.argv[1:]) for record in records)

def told(output):
    return sorted((report.pid, report.ppid, *report.argv[1:]) for report in parse_reports(output))

def reports(log):
    return [record for record in log.records if record.program == "report"]

def test_children(execprobe):
    read, write = os.pipe()
    with subprocess.Popen([REPORT, "vfork"], stdout=write) as by_vfork:  # by Python, where that dares to
        pass
    with subprocess.Popen([REPORT, "fork"], stdout=write, preexec_fn=os.getpid) as by_fork:
        pass
    spawned = os.posix_spawn(REPORT, [REPORT, "spawn"], {}, file_actions=[(os.POSIX_SPAWN_DUP2, write, 1)])
    os.waitpid(spawned, 0)
    forked = os.fork()
    if forked == 0:
        try:
            os.dup2(write, 1)
            os.execv(REPORT, [REPORT, "own fork"])
        finally:
            os._exit(1)
    os.waitpid(forked, 0)
    os.close(write)
    with open(read, "rb") as output:
        assert told(output.read()) == seen(execprobe.records)
    assert [record.pid for record in execprobe.records] == [by_vfork.pid, by_fork.pid, spawned, forked]
    assert {record.ppid for record in execprobe.records} == {os.getpid()}
    assert {record.depth for record in execprobe.records} == {1}

def test_threads_of_the_test(execprobe):
    outputs = []
    def run(name):
        outputs.append(subprocess.run([REPORT, name], stdout=subprocess.PIPE, check=True).stdout)
    threads = [threading.Thread(target=run, args=(str(number),)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told(b"".join(outputs)) == seen(execprobe.records)
    assert {record.ppid for record in execprobe.records} == {os.getpid()}

def test_threads_that_become_a_program(execprobe):
    # To wait for the end of its first thread, the program reads /proc by the number that it has for itself.
    waits = ["orphan"] if os.readlink("/proc/self") == str(os.getpid()) else []
    for how in ("second", "race", *waits):
        with subprocess.Popen([THREADS, how, REPORT, how], stdout=subprocess.PIPE) as process:
            output = process.stdout.read()
        (record,) = [record for record in reports(execprobe) if record.argv[1] == how]
        assert told(output) == seen([record])
        assert record.pid == process.pid

def test_grandchildren(execprobe):
    script = f"{REPORT} a; ({REPORT} b; {REPORT} c) & wait; exec {REPORT} d"
    with subprocess.Popen([SH, "-c", script], stdout=subprocess.PIPE) as process:
        output = process.stdout.read()
    found = reports(execprobe)
    assert told(output) == seen(found)
    assert len(found) == 4
    assert found[-1].pid == process.pid == execprobe.records[0].pid
    assert {record.parent for record in found[:3]} == {execprobe.records[0]}
    assert found[-1].parent is None

def test_attempts(execprobe):
    with subprocess.Popen([SH, "-c", "/nonexistent/a; exit 0"], stderr=subprocess.DEVNULL) as process:
        pass
    (attempt,) = execprobe.attempts
    assert (attempt.path, attempt.ppid) == ("/nonexistent/a", process.pid)
    def fail():
        try:
            os.execv("/nonexistent/b", ["b"])
        except FileNotFoundError:
            pass
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    attempt = execprobe.attempts[1]
    assert (attempt.path, attempt.pid, attempt.ppid) == ("/nonexistent/b", os.getpid(), os.getppid())

def test_adopted(execprobe):
    shell.stdin.write(b"go\\n")
    shell.stdin.flush()
    output = b""
    while not output.endswith(b"grandchild\\0"):
        more = os.read(shell.stdout.fileno(), 4096)
        assert more, "the shell has ended"
        output += more
    assert told(output) == seen(reports(execprobe))
    child, inner, grandchild = execprobe.records
    assert (child.ppid, inner.ppid, grandchild.ppid) == (shell.pid, shell.pid, inner.pid)
    assert (child.parent, grandchild.parent) == (None, inner)

def test_a_fork_of_the_test(execprobe):
    child = os.fork()
    if child == 0:
        try:
            output = subprocess.run([REPORT, "of the fork"], stdout=subprocess.PIPE, check=True).stdout
            assert told(output) == seen(execprobe.records)
            assert execprobe.records[0].ppid == os.getpid()
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    assert [record.ppid for record in execprobe.records] == [child]

def test_leaves_a_daemon(execprobe):
    os.mkfifo("go")
    os.mkfifo("done")
    subprocess.run([DAEMONISE, "go", "done", REPORT, "stray"], check=True)
    assert execprobe.programs == ["daemonise"]

def test_stray(execprobe):
    Path("go").write_text("!")
    output = Path("done").read_bytes()
    assert execprobe.programs == []
    assert told(output) == seen(execprobe.strays)
    assert len(execprobe.strays) == 1

def test_namespaces_of_the_test(execprobe):
    script = f"test $$ = 1 && {REPORT} a && ({REPORT} b & wait)"
    for depth in (1, 2, 3):
        with execprobe.watch() as log:
            traced = strace([*[UNSHARE, "--pid", "--fork"] * depth, SH, "-c", script], Path(f"strace-{depth}"))
        assert processes_of(log, without=traced.pid) == traced.processes
        found = [record for record in log.records if record.pid != traced.pid]
        assert [record.program for record in found] == ["unshare"] * depth + ["sh", "report", "report"]
        # unshare and sh wait for their children, and all of them have a number here.
        for record in found[1:-1]:
            assert record.ppid == record.parent.pid
        assert found[-1].ppid not in {record.pid for record in found}  # a shell that was forked, and ran nothing
        assert len({record.pid for record in found}) == len(found)
"""


@pytest.fixture(autouse=True)
def _namespaces() -> None:
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("execprobe: there is no unshare(1) to make PID namespaces with")
    refused = subprocess.run([*NAMESPACE, "true"], capture_output=True, text=True, check=False)
    if refused.returncode != 0:
        pytest.skip(f"execprobe: unshare --pid is refused ({refused.stderr.strip()})")


@pytest.fixture
def suite(pytester: pytest.Pytester, programs: Programs, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """The suite, in a folder of its own."""
    monkeypatch.setenv("PYTHONPATH", str(HERE), prepend=os.pathsep)
    monkeypatch.setenv("REPORT", str(programs.report))
    monkeypatch.setenv("THREADS", str(programs.threads))
    monkeypatch.setenv("DAEMONISE", str(programs.daemonise))
    monkeypatch.setenv("UNSHARE", os.path.realpath(shutil.which("unshare") or ""))
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(SUITE)
    return pytester


def run(pytester: pytest.Pytester, place: list[str], *options: str) -> pytest.RunResult:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rA", "--execprobe-timeout=30", *options]
    return pytester.run(*place, *command, timeout=240)


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_logs_have_the_numbers_that_the_test_sees(suite: pytest.Pytester, place: list[str]) -> None:
    if shutil.which("strace") is None:
        pytest.skip("execprobe: the truth about namespaces of a test comes from strace, and there is none")
    run(suite, place).assert_outcomes(passed=SUITE.count("\ndef test_"))


# Who a child is to the kernel, by many answers, while two others wait for number 1 without a pause.
ASK = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from pytest_execprobe.helper.bpf.probe import BpfProbe, BpfSettings

asked = BpfProbe(sys.argv[2], BpfSettings("off", 8))
children = []
for _ in range(2):
    children.append(os.fork())
    while children[-1] == 0:
        try:
            os.waitid(os.P_PID, 1, os.WEXITED | os.WNOHANG)
        except ChildProcessError:
            pass
try:
    print(asked.kernel_pid(99999), *{asked.kernel_pid(children[0]) for _ in range(5000)}, flush=True)
finally:
    for child in children:
        os.kill(child, signal.SIGKILL)
"""


def test_others_that_wait_meanwhile_do_not_answer_for_the_helper() -> None:
    """It asks for a process by waiting for it, and the kernel side sees all that wait."""
    with recording() as made:
        python = made.source.description["python"]
    command = [*NAMESPACE, *UNDER_AN_INIT, python, "-c", ASK, str(HERE.parents[1]), str(bpf_folder())]
    output = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=100).stdout
    nobody, child = map(int, output.split())
    assert nobody == 0
    assert child > 3


def test_each_of_two_logs_has_the_numbers_of_its_own_test(pytester: pytest.Pytester, execprobe: ExecProbe) -> None:
    """A pytest in a namespace that a test has made: one exec has a number in the log of either."""
    pytester.makepyfile(
        """
        import subprocess
        from pathlib import Path

        def test_inner(execprobe):
            # Here /proc is still that of outside, and names both numbers.
            with subprocess.Popen(["grep", "NSpid", "/proc/self/status"], stdout=subprocess.PIPE, text=True) as grep:
                *_, outer, inner = grep.stdout.read().split()
            assert (inner, outer != inner) == (str(grep.pid), True)
            assert [record.pid for record in execprobe.records] == [int(inner)]
            Path("outer").write_text(outer)
        """
    )
    with execprobe.watch() as log:
        run(pytester, ["unshare", "--pid", "--fork"]).assert_outcomes(passed=1)
    (grep,) = [record for record in log.records if record.program == "grep"]
    assert grep.pid == int((pytester.path / "outer").read_text())
    assert grep.parent is not None
    assert grep.ppid == grep.parent.pid
    assert grep.parent.argv is not None
    assert "pytest" in grep.parent.argv


def test_what_was_left_behind_in_the_namespace_before_is_said(pytester: pytest.Pytester) -> None:
    """Where nothing leads to a process any more: also where only the namespace's own number 1 has taken it in."""
    pytester.makeconftest(
        """
        import os, subprocess

        read, write = os.pipe()
        # What sh leaves behind would read from /dev/null, as sh has it.
        subprocess.run(["sh", "-c", "exec 3<&0; (read line <&3; /bin/true) & exit 0"], stdin=read, stdout=2)

        def pytest_unconfigure():
            os.write(write, b"go\\n")
        """
    )
    pytester.makepyfile(
        """
        import pytest
        from pytest_execprobe import IncompleteLogError

        def test_incomplete(execprobe):
            with pytest.raises(IncompleteLogError, match="left behind by parents that have ended"):
                execprobe.records
        """
    )
    for place in ("pytest has an init", "/proc is that of outside", "the helper is outside of an init"):
        run(pytester, PLACES[place]).assert_outcomes(passed=1)


def test_who_is_outside_of_the_helpers_namespace_is_refused() -> None:
    """It has no number where the helper is: whether it lives is unknown."""
    with helper_in_a_namespace() as address, pytest.raises(ProbeUnavailable, match="PID namespace"):
        start_helper(HelperSettings(address=address))


@contextlib.contextmanager
def helper_in_a_namespace() -> Iterator[str]:
    command = [*NAMESPACE, *HELPER_HERE, "sh", "-c", 'echo "$1"; read line', "sh"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip().removeprefix("--execprobe-helper=")
        process.communicate("done\n", timeout=60)

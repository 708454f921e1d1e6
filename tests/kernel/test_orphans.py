"""Processes of the same user that have lost their parents: whose are they?"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_execprobe.helper import proc
from pytest_execprobe.helper.ptrace import calls
from pytest_execprobe.source.connect import HelperSettings, hold_helper

pytestmark = [pytest.mark.usefixtures("kernel"), pytest.mark.exec_budget(200), pytest.mark.bpf]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Of a helper for all tests here."""
    source = hold_helper(HelperSettings())
    try:
        yield "@" + source.description["address"]
    finally:
        source.close()


DAEMON = "import os, sys; print(os.getpid() if os.fork() == 0 else os._exit(0), flush=True); os.read(0, 1)"


@contextlib.contextmanager
def stranger(*words: str, code: str = DAEMON) -> Iterator[int]:
    """Of other work, which has lost its parent; its number."""
    read, write = os.pipe()
    with subprocess.Popen(
        [sys.executable, "-S", "-c", code, *words], stdin=read, stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        os.close(read)
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        assert process.wait() == 0
    try:
        yield pid
    finally:
        os.close(write)


class Arming:
    """A process that begins to record itself, and does something before."""

    def __init__(self, address: str, before: str, *, load: str = "") -> None:
        code = f"""
import os, subprocess, sys, threading, time
{load}
print(flush=True)
sys.stdin.readline()
{before}
from pytest_execprobe.source.connect import HelperSettings, start_helper
source = start_helper(HelperSettings({"address=sys.argv[1]" if address else ""}))
numbers = [orphan.pid for orphan in source.orphans.listed]
print(source.orphans.count, source.unadopted, *numbers, flush=True)
"""
        pipe = subprocess.PIPE
        self._process = subprocess.Popen([sys.executable, "-c", code, address], stdin=pipe, stdout=pipe, text=True)
        assert self._process.stdout is not None
        self._process.stdout.readline()

    def arm(self) -> tuple[int, int, list[int]]:
        """How many may be its, how many it could not adopt, and the numbers of the former."""
        out, _ = self._process.communicate("\n", timeout=60)
        orphans, unadopted, *numbers = map(int, out.split())
        return orphans, unadopted, numbers


IDLE = "threading.Thread(target=threading.Event().wait, daemon=True).start()"
SPAWNS = "subprocess.run(['true'], check=True)"
LOOKS = "import pytest_execprobe.plugin"


@pytest.mark.parametrize("how", ["shared", "own"])
@pytest.mark.parametrize("before", ["", IDLE], ids=["alone", "with a thread"])
def test_who_has_had_no_child_has_left_no_orphan(address: str, before: str, how: str) -> None:
    arming = Arming(address if how == "shared" else "", before)
    with stranger():
        assert arming.arm() == (0, 0, [])


def test_what_may_be_ones_own_is_named(address: str) -> None:
    arming = Arming(address, SPAWNS)
    with stranger("daemon") as pid:
        orphans, unadopted, numbers = arming.arm()
        assert unadopted == 0
        assert orphans >= 1
        assert pid in numbers


#: Its first thread has ended, which makes it a zombie by its own state, and another goes on.
HEADLESS = """
import ctypes, os, threading
if os.fork():
    os._exit(0)
threading.Thread(target=os.read, args=(0, 1)).start()
print(os.getpid(), flush=True)
ctypes.CDLL(None).syscall({"x86_64": 60, "aarch64": 93}[os.uname().machine], 0)
"""


def test_whose_first_thread_has_ended_may_go_on(address: str) -> None:
    arming = Arming(address, SPAWNS)
    with stranger(code=HEADLESS) as pid:
        while b"\nState:\tZ" not in Path(f"/proc/{pid}/status").read_bytes():
            pass
        assert pid in arming.arm()[2]


#: The first process of a PID namespace can't end before those in it have been waited for: here is one.
INIT = """
import ctypes, os
ready, told = os.pipe()
assert ctypes.CDLL(None).unshare(0x20000000) == 0
init = os.fork()
if init:
    os.read(ready, 1)
    print(init, flush=True)
else:
    os.fork()
    os.write(told, b".")
    os.read(0, 1)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="execprobe: this test makes a PID namespace, as root can")
def test_what_is_about_to_end_executes_nothing(address: str) -> None:
    arming = Arming(address, SPAWNS)
    with stranger(code=INIT) as pid:
        (held,) = (other for other, stat in proc.read_table(lambda: None).items() if stat.parent == pid)
        calls.seize(held)  # only this process can wait for it now
        os.kill(pid, signal.SIGKILL)
        try:
            while Path(f"/proc/{pid}/cmdline").read_bytes():
                pass
            assert b"\nState:\tZ" not in Path(f"/proc/{pid}/status").read_bytes()
            assert pid not in arming.arm()[2]
        finally:
            os.waitpid(held, calls.ALL_CHILDREN)


def test_what_had_begun_before_the_first_child_is_others(address: str) -> None:
    arming = Arming(address, SPAWNS)
    with stranger() as pid:
        assert pid in arming.arm()[2]
    with contextlib.ExitStack() as stack:
        before = stack.enter_context(stranger_after_start(address))
        orphans, _, numbers = before.arming.arm()
        assert before.pid not in numbers
        assert orphans == len(numbers)  # those of others that have begun since


class Staged:
    def __init__(self, arming: Arming, pid: int) -> None:
        self.arming, self.pid = arming, pid


@contextlib.contextmanager
def stranger_after_start(address: str) -> Iterator[Staged]:
    """One that begins after the process, and before that loads the plugin."""
    go, told = os.pipe()
    os.set_inheritable(go, True)
    load = f"print(flush=True); sys.stdin.readline(); {LOOKS}"
    arming = Arming(address, SPAWNS, load=load)
    with stranger() as pid:
        assert arming._process.stdin is not None
        assert arming._process.stdout is not None
        arming._process.stdin.write("\n")
        arming._process.stdin.flush()
        arming._process.stdout.readline()
        yield Staged(arming, pid)
    os.close(go)
    os.close(told)


#: Leaves daemons behind on and on, while it begins to record. Each executes something when it is asked.
FORKS = """
import os, sys, threading, time
from pytest_execprobe.source.connect import HelperSettings, start_helper
from pytest_execprobe.source.events import Exec

waits, go = os.pipe()
ends, done = os.pipe()
os.set_inheritable(done, True)
stop = threading.Event()
daemons = 0

def fork():
    global daemons
    while not stop.is_set() and daemons < 300:
        child = os.fork()
        if child == 0:
            if os.fork() == 0:
                os.close(go)
                os.read(waits, 1)
                os.execv("/bin/true", ["left"])
            os._exit(0)
        os.waitpid(child, 0)
        daemons += 1

thread = threading.Thread(target=fork)
delay = float(sys.argv[2])
if delay >= 0:
    thread.start()
    time.sleep(delay)
    source = start_helper(HelperSettings(address=sys.argv[1]))
else:
    timer = threading.Timer(-delay, thread.start)
    timer.start()
    source = start_helper(HelperSettings(address=sys.argv[1]))
    timer.join()
stop.set()
thread.join()
os.close(go)
os.close(done)
while os.read(ends, 1):
    pass
seen = sum(isinstance(event, Exec) and event.command.argv == ("left",) for event in source.sync(30).events)
print(daemons, seen, source.orphans.count, source.unadopted)
"""


@pytest.mark.exec_budget(20000)
@pytest.mark.parametrize("delay", [0, 0.001, 0.003, 0.01, -0.0005, -0.001, -0.002, -0.003])
def test_thread_that_forks_like_mad_never_leaves_anything_unnoticed(address: str, delay: float) -> None:
    for _ in range(2):
        ran = subprocess.run([sys.executable, "-c", FORKS, address, str(delay)], capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
        daemons, seen, orphans, unadopted = map(int, ran.stdout.split())
        assert seen <= daemons
        assert seen == daemons or orphans + unadopted > 0


# ---- where /proc hides processes ----

# Not by exec: the shell has had a child, and what it becomes would have had that, too.
HIDES = ["unshare", "--mount", "sh", "-c", 'mount -t proc -o hidepid=2 proc /proc && "$@"; exit $?', "sh"]
MAY_NOT_MOUNT = ["setpriv", "--bounding-set=-sys_admin,-sys_ptrace", "--inh-caps=-all", "--"]

#: Has a child when the probe is armed, and what that executes must be in the log.
HIDDEN_SUITE = """
import subprocess
import conftest

def test_it(execprobe):
    subprocess.run(["true"], check=True)
    conftest.child.stdin.close()
    assert conftest.child.wait() == 0
    execprobe.assert_ran("true", times=2)
    assert execprobe.lost == 0
"""
CHILD = """
import subprocess
child = subprocess.Popen(["sh", "-c", "read line; /bin/true; :"], stdin=subprocess.PIPE)
"""


def suite(pytester: pytest.Pytester, prefix: list[str], child: str = CHILD) -> pytest.RunResult:
    pytester.makeconftest(child)
    pytester.makepyfile(test_it=HIDDEN_SUITE)
    return pytester.run(*prefix, sys.executable, "-m", "pytest", "-p", "no:cacheprovider", timeout=120)


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="execprobe: these tests mount, as root can")


@needs_root
def test_helper_mounts_a_proc_of_its_own_that_hides_nothing(pytester: pytest.Pytester) -> None:
    suite(pytester, HIDES).assert_outcomes(passed=1)


@needs_root
def test_where_it_may_not_the_reason_is_said(pytester: pytest.Pytester) -> None:
    result = suite(pytester, [*HIDES, *MAY_NOT_MOUNT])
    result.assert_outcomes(failed=0, errors=1)
    result.stdout.fnmatch_lines(["*/proc hides processes from the probe helper (hidepid)*"])
    assert "left behind by parents" not in result.stdout.str()


@needs_root
def test_who_has_started_nothing_needs_no_proc(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nexecprobe_audit = true\n")
    suite(pytester, [*HIDES, *MAY_NOT_MOUNT]).assert_outcomes(passed=1)


@needs_root
def test_doctor_says_so(pytester: pytest.Pytester) -> None:
    doctor = [sys.executable, "-m", "pytest_execprobe.cli", "doctor"]
    result = pytester.run(*HIDES, *doctor, timeout=120)
    result.stdout.fnmatch_lines(["ok * processes *hidepid*for itself alone*", "This machine can probe*"])

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
from faulty import change_helper, change_source

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


#: Is another process all the time: each ends as soon as it has begun the next.
HOPS = """
import os, select
print(os.getpid(), flush=True)
while not select.select([0], [], [], 0)[0]:
    if os.fork():
        os._exit(0)
"""


def test_what_becomes_another_process_all_the_time_is_not_overlooked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has ended when it is looked at."""
    listed = "    return table, is_whole\n"
    change_helper(tmp_path, monkeypatch, {"proc.py": {listed: f"    __import__('time').sleep(0.005)\n{listed}"}})
    source = hold_helper(HelperSettings())
    try:
        arming = Arming("@" + source.description["address"], SPAWNS)
        with stranger(code=HOPS):
            orphans, unadopted, _ = arming.arm()
            assert orphans + unadopted > 0
    finally:
        source.close()


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
        (held,) = (other for other, stat in proc.read_table(lambda: None)[0].items() if stat.parent == pid)
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


#: Leaves daemons behind on and on, while it begins to record; if it is to ``again``, for the second time. Each executes
#: something when it is asked. For each recording prints how many there were, were seen, and are known to be uncertain.
FORKS = """
import os, sys, threading, time
from pytest_execprobe.source.connect import HelperSettings, start_helper
from pytest_execprobe.source.events import Blind, Exec

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
settings, delay, again = HelperSettings(address=sys.argv[1]), float(sys.argv[2]), sys.argv[3:]
sources = [start_helper(settings)] if again else []
if delay >= 0:
    thread.start()
    time.sleep(delay)
    sources.append(start_helper(settings))
else:
    timer = threading.Timer(-delay, thread.start)
    timer.start()
    sources.append(start_helper(settings))
    timer.join()
stop.set()
thread.join()
os.close(go)
os.close(done)
while os.read(ends, 1):
    pass
for source in sources:
    events = source.sync(30).events
    seen = sum(isinstance(event, Exec) and event.command.argv == ("left",) for event in events)
    blind = sum(isinstance(event, Blind) for event in events)
    print(daemons, seen, source.orphans.count + source.unadopted + blind)
"""


def forks(address: str, delay: float, *again: str) -> None:
    ran = subprocess.run([sys.executable, "-c", FORKS, address, str(delay), *again], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout
    for line in ran.stdout.splitlines():
        daemons, seen, uncertain = map(int, line.split())
        assert seen <= daemons
        assert seen == daemons or uncertain > 0


@pytest.mark.exec_budget(20000)
@pytest.mark.parametrize("delay", [0, 0.001, 0.003, 0.01, -0.0005, -0.001, -0.002, -0.003])
def test_thread_that_forks_like_mad_never_leaves_anything_unnoticed(address: str, delay: float) -> None:
    for _ in range(2):
        forks(address, delay)


_FIRST = "/* Pids are used again, and nothing stale may match. */"
_STALL = """static __always_inline void stall(void)
{
    struct proc somewhere;
#pragma nounroll
    for (int i = 0; i < 16000; i++)
        read_user(&somewhere, sizeof(somewhere), (void *)(u64)i);
}

"""


@pytest.mark.exec_budget(1000)
@pytest.mark.parametrize(
    ("before", "delays", "again"),
    [
        ("        forget_former(task, child_tgid);", (-0.001, -0.002, -0.003, -0.004), []),
        ("    if (!any)\n        forget_former(task, tgid);", (0, 0.001, 0.002, 0.004), ["again"]),
    ],
    ids=["what nobody followed", "what another root has in its tree"],
)
def test_what_is_adopted_while_its_fork_is_not_over_stays_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str, delays: tuple[float, ...], again: list[str]
) -> None:
    """It is in /proc before the kernel says that it was forked. Whoever runs the virtual CPU may have it wait there."""
    change_source(tmp_path, monkeypatch, {_FIRST: _STALL + _FIRST, before: f"        stall();\n{before}"})
    source = hold_helper(HelperSettings())
    try:
        for delay in delays * 2:
            forks("@" + source.description["address"], delay, *again)
    finally:
        source.close()


#: Begins to record with a child, and says how many execs there were of what it was not asked to start.
ADOPTS = """
import subprocess, sys
from pytest_execprobe.source.connect import HelperSettings, start_helper

with subprocess.Popen(["cat"], stdin=subprocess.PIPE):
    source = start_helper(HelperSettings(address=sys.argv[1]))
    print("records", flush=True)
    sys.stdin.readline()
    print(len(source.sync(30).events))
"""


def test_number_of_what_was_adopted_means_nothing_once_another_process_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The helper may put one there whose process has just ended; here it puts what comes next there, too."""
    puts = "            if self._tables"
    more = f"""            for other in range(pid + 1, pid + 400):
                if not os.path.exists("/proc/%d" % other):  # what others run beside would count
                    self._tables["procs"].set(_PID.pack(other), _PROC.pack(*fields), 0)
{puts}"""
    change_helper(tmp_path, monkeypatch, {"bpf/probe.py": {puts: more}})
    source = hold_helper(HelperSettings(backend="bpf"))
    try:
        command = [sys.executable, "-c", ADOPTS, "@" + source.description["address"]]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as adopts:
            assert adopts.stdout is not None
            assert adopts.stdout.readline() == "records\n"
            for _ in range(5):
                subprocess.run(["true"], check=True)
            assert adopts.communicate("\n")[0] == "0\n"
    finally:
        source.close()


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

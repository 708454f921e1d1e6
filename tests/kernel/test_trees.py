"""The process tree as it is drawn, of real processes."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from programs import Programs

from pytest_execprobe import ExecProbe

pytestmark = pytest.mark.exec_budget(20)


def drawn(execprobe: ExecProbe) -> list[str]:
    """The tree alone, without the columns in front, and without where in this file each was spawned."""
    head, *rows, _ = execprobe.tree().splitlines()
    column = head.index("process")
    return [re.sub(r"  \(\S*test_trees\.py:\d+ in \w+\)$", "", row[column:]) for row in rows]


def test_parents_and_what_a_process_became(execprobe: ExecProbe) -> None:
    subprocess.run(["sh", "-c", "env /bin/true; exec /bin/false"], check=False)
    subprocess.run(["/bin/true"], check=True)
    shell = execprobe.records[0].path
    env = execprobe.records[1].path
    assert drawn(execprobe) == [
        "pytest",
        f"├─ {shell} -c 'env /bin/true; exec /bin/false'",
        f"│  └─ {env} /bin/true",
        "│     → /bin/true",
        "│  → /bin/false",
        "└─ /bin/true",
    ]
    ends = [re.search(r"exit \d", row) for row in execprobe.tree().splitlines()]
    assert [end and end[0] for end in ends] == [None, None, None, None, "exit 0", "exit 1", "exit 0", None]


def test_line_that_spawned_it_is_shown(execprobe: ExecProbe) -> None:
    subprocess.run(["sh", "-c", "/bin/true; exec /bin/true"], check=True)
    line = test_line_that_spawned_it_is_shown.__code__.co_firstlineno + 1
    rows = [row for row in execprobe.tree().splitlines() if "test_trees.py" in row]
    assert [row.partition("test_trees.py")[2] for row in rows] == [f":{line} in test_line_that_spawned_it_is_shown)"]


def test_signal_is_shown(execprobe: ExecProbe) -> None:
    subprocess.run(["sh", "-c", "kill -SEGV $$"], check=False)
    assert " SIGSEGV " in execprobe.tree()


def test_daemon_is_where_it_was_forked(execprobe: ExecProbe, programs: Programs, tmp_path: Path) -> None:
    """Its parent has ended, and the kernel says that it is another's child."""
    go, done = tmp_path / "go", tmp_path / "done"
    os.mkfifo(go)
    os.mkfifo(done)
    subprocess.run([programs.daemonise, go, done, "/bin/true"], check=True)
    go.write_text("x")
    done.read_text()
    execprobe.wait_for("true")
    daemon, true = execprobe.records
    assert true.ppid != daemon.pid
    assert [row.partition(str(tmp_path))[0] for row in drawn(execprobe)] == [
        "pytest",
        f"└─ {programs.daemonise} ",
        f"   └─ /bin/true{'  (its parent had ended)' if true.ppid == 1 else ''}",
    ]


def work(_: int) -> int:
    subprocess.run(["/bin/true"], check=True)
    return os.getpid()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_workers_of_a_pool_are_forks(execprobe: ExecProbe) -> None:
    with multiprocessing.get_context("fork").Pool(1) as pool:
        (worker,) = set(pool.map(work, range(2), chunksize=2))
        tree = execprobe.tree()
    rows = drawn(execprobe)
    assert rows == ["pytest", "└─ python  (forked, no exec)", "   ├─ /bin/true", "   └─ /bin/true"]
    (fork,) = (row for row in tree.splitlines() if "(forked, no exec)" in row)
    assert str(worker) in fork.split()


def test_fork_of_a_fork_is_one_with_it(execprobe: ExecProbe) -> None:
    """As a daemon is made: what has forked it is not there any more."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(read)
            if os.fork() == 0:
                signal.alarm(60)
                os.write(write, b"%d" % os.getpid())
                os.execv("/bin/sleep", ["sleep", "60"])
        finally:
            os._exit(0)
    os.close(write)
    os.waitpid(pid, 0)
    daemon = int(os.read(read, 100))
    os.close(read)
    execprobe.wait_for("sleep")
    rows = drawn(execprobe)
    handle = os.pidfd_open(daemon)
    signal.pidfd_send_signal(handle, signal.SIGKILL)
    os.close(handle)
    assert rows[:2] == ["pytest", "└─ python  (forked, no exec)"]
    assert rows[2].startswith("   └─ /bin/sleep 60")


def test_python_below_is_no_fork_of_the_tests(execprobe: ExecProbe, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("import os\nif os.fork() == 0: os.execv('/bin/true', ['true'])\nos.wait()\n")
    subprocess.run([sys.executable, script], check=True)
    rows = drawn(execprobe)
    assert len(rows) == 3
    assert rows[2] == "   └─ /bin/true"

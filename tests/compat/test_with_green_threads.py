"""gevent and eventlet, which put green threads in place of the standard library's: patched in a test's file, in the
middle of a run, and before pytest."""

from __future__ import annotations

import sys
from typing import NamedTuple

import pytest
from inner import LOST, Inner, needs


class Library(NamedTuple):
    """``patch`` patches the standard library by its second line, and has what the suites call the library's."""

    patch: str
    #: What starts a pytest that is patched.
    before: tuple[str, ...]

    @property
    def unpatched(self) -> str:
        return self.patch.replace(self.patch.splitlines()[1], "")


GEVENT = Library(
    """\
import gevent, gevent.monkey
gevent.monkey.patch_all()
from gevent import sleep, spawn, Timeout
wait = lambda task: task.get()
""",
    ("-m", "gevent.monkey", "--module", "pytest"),
)
EVENTLET = Library(
    """\
import eventlet
eventlet.monkey_patch()
from eventlet import sleep, spawn, Timeout
wait = lambda task: task.wait()
""",
    ("-c", "import eventlet, sys; eventlet.monkey_patch(); import pytest; sys.exit(pytest.main())"),
)
# Its authors support no Python from 3.14 on.
MAY_SKIP = [pytest.mark.may_skip] if sys.version_info >= (3, 14) else []


@pytest.fixture(
    params=[
        pytest.param(GEVENT, marks=needs("gevent"), id="gevent"),
        pytest.param(EVENTLET, marks=[needs("eventlet"), *MAY_SKIP], id="eventlet"),
    ]
)
def library(inner: Inner, request: pytest.FixtureRequest) -> Library:
    found: Library = request.param
    if found is EVENTLET and not works(inner, found.patch):
        pytest.skip(f"eventlet does not work with pytest {pytest.__version__} on Python {sys.version.split()[0]}")
    return found


SUITE = """
import os, subprocess, threading, time, pytest
PATCH

def test_passes():
    done = []
    def work():
        subprocess.run(["true"])
        done.append(1)
    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 3

def test_fails():
    subprocess.run(["true"])
    assert False

def test_fork():
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    subprocess.run(["true"])
"""

RULES = """
import os, subprocess, threading, time, pytest
PATCH

@pytest.mark.exec_budget(2)
def test_breaks():
    tasks = [spawn(subprocess.run, ["true"]) for _ in range(3)]
    for task in tasks:
        wait(task)

@pytest.mark.exec_budget(3)
def test_keeps():
    tasks = [spawn(subprocess.run, ["true"]) for _ in range(3)]
    for task in tasks:
        wait(task)

def test_reads_in_green_threads(execprobe):
    def work(n):
        for _ in range(5):
            subprocess.run(["true"])
            assert execprobe.count("true") >= 1
            sleep(0)
    tasks = [spawn(work, n) for n in range(4)]
    for task in tasks:
        wait(task)
    assert execprobe.counts == {"true": 20}

def test_waits_for_what_another_green_thread_runs(execprobe):
    def work():
        sleep(0.2)
        subprocess.run(["uname"])
    task = spawn(work)
    assert execprobe.wait_for("uname", timeout=30).program == "uname"
    wait(task)

def test_a_timeout_breaks_into_a_wait(execprobe):
    subprocess.run(["true"])
    with pytest.raises(Timeout):
        with Timeout(0.3):
            execprobe.wait_for("git", timeout=1000)
    subprocess.run(["uname"])
    assert execprobe.programs == ["true", "uname"]

@pytest.mark.xfail
@pytest.mark.exec_none(phases=["call"])
def test_unknown(request):
    from lose import lose_helper
    lose_helper(request.config)

def test_again(execprobe):  # with a new helper
    subprocess.run(["true"])
    assert execprobe.programs == ["true"]

def test_forked(execprobe):
    child = os.fork()
    if child == 0:
        try:
            subprocess.run(["uname"])
            assert execprobe.programs == ["uname"]
        except BaseException as error:
            print(repr(error))
            os._exit(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert execprobe.programs == ["uname"]
"""


def works(inner: Inner, patch: str) -> bool:
    """Without the probe."""
    inner.suite(test_bare=f"{patch}\ndef test(): wait(spawn(sleep, 0))")
    worked = inner.bare("test_bare.py").ret == 0
    (inner.path / "test_bare.py").unlink()
    return worked


def test_outcomes_stay(inner: Inner, library: Library) -> None:
    inner.suite(test_it=SUITE.replace("PATCH", library.patch))
    run = inner.as_without("--execprobe-budget=3", "--execprobe-audit")
    assert run.outcomes == {"test_passes": ["passed"], "test_fails": ["failed"], "test_fork": ["passed"]}
    assert "test_it.py::test_passes: true 3" in run.summary()


@pytest.mark.parametrize("early", [False, True], ids=["in the file", "before pytest"])
def test_rules(inner: Inner, library: Library, early: bool) -> None:
    inner.suite(test_it=RULES.replace("PATCH", library.unpatched if early else library.patch))
    run = inner.run("-s", before=library.before) if early else inner.run("-s")
    assert run.outcomes == {
        "test_breaks": ["failed"],
        "test_keeps": ["passed"],
        "test_reads_in_green_threads": ["passed"],
        "test_waits_for_what_another_green_thread_runs": ["passed"],
        "test_a_timeout_breaks_into_a_wait": ["passed"],
        "test_unknown": ["error"],
        "test_again": ["passed"],
        "test_forked": ["passed"],
        **LOST,
    }


def test_armed_in_the_middle(inner: Inner, library: Library) -> None:
    """And the library has been patched before the probe was armed."""
    inner.suite(
        test_it=f"""
        import subprocess

        def test_late(request):
            {library.patch.splitlines()[0]}
            {library.patch.splitlines()[1]}
            execprobe = request.getfixturevalue("execprobe")
            with execprobe.watch() as log:
                subprocess.run(["true"])
            assert log.programs == ["true"]

        def test_next(request):
            execprobe = request.getfixturevalue("execprobe")
            subprocess.run(["true"])
            assert execprobe.programs == ["true"]
        """
    )
    assert inner.run().outcomes == {"test_late": ["passed"], "test_next": ["passed"]}

"""A storm of execs on all CPUs at once: what was delivered and what is reported lost is all that there was.

The storm counts by itself what it has started. It lasts EXECPROBE_STORM seconds, 1 if that is not set. In a longer one
switch off the probe that the tests themselves run under, with --execprobe=off: it records all of the storm, too. -rP
shows the figures.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest
from faulty import change_helper
from programs import Programs
from recording import Recording, recording

from pytest_execprobe import IncompleteLogError
from pytest_execprobe.errors import ProbeUnavailable
from pytest_execprobe.helper import wire
from pytest_execprobe.source.client import HelperSource
from pytest_execprobe.source.connect import HelperSettings, hold_helper
from pytest_execprobe.source.events import Batch
from pytest_execprobe.source.launch import HELPER

SECONDS = int(os.environ.get("EXECPROBE_STORM", "1"))
_MANY = 1_000_000_000  # more than any machine starts in that time

pytestmark = [pytest.mark.exec_budget(_MANY), pytest.mark.bpf]


@pytest.fixture(scope="module", autouse=True)
def _probe() -> None:
    """Not the run's own: in a long storm that is to be switched off, because it sees the storm as well."""
    try:
        hold_helper(HelperSettings()).close()
    except ProbeUnavailable as error:
        pytest.skip(str(error))


class Storm(NamedTuple):
    started: int  # by the storm's own count, with the storm itself
    delivered: int
    lost: int | None
    unknown: tuple[str, ...]  # why that is not known, if so
    accounted: int  # execs and ends, delivered or reported lost, also where it is not known whose they were


def storm(made: Recording, programs: Programs, seconds: int, *, read: bool) -> Storm:
    """A storm, and what is known of it. ``read``: by somebody who takes in what is new all the while, as
    ``wait_for()`` does, and not only when it is over."""
    command = [programs.storm, programs.minimal, str(_MANY), str(seconds)]
    accounted = 0
    timeline = made.recorder.timeline

    def add(batch: Batch) -> None:
        nonlocal accounted
        accounted += len(batch.events) + batch.unplaced
        type(timeline).add(timeline, batch)

    timeline.add = add  # type: ignore[method-assign]
    with made.execprobe.watch() as log, subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        if read:
            while process.poll() is None:
                made.recorder.wait(1)
        counted = process.stdout.read()
    assert process.returncode == 0
    evidence = log._window.evidence()
    found = Storm(int(counted) + 1, len(log.partial), log.lost, evidence.why, accounted)
    print(f"in {seconds} s: {found}")
    assert found.accounted == 2 * found.started  # each has ended, too
    if found.lost is not None:
        assert found.delivered + found.lost == found.started
    if evidence.missing is not None:
        assert evidence.surely_lost <= found.started - found.delivered <= evidence.missing
    return found


def assert_calm(made: Recording, programs: Programs) -> None:
    """The storm is over, and has left nothing behind."""
    with made.execprobe.watch() as after:
        subprocess.run([programs.minimal], check=True)
    assert (after.programs, after.lost) == (["minimal"], 0)


def test_default_buffers_lose_nothing(programs: Programs) -> None:
    with recording(timeout=120) as made:
        found = storm(made, programs, SECONDS, read=True)
        assert found.started > 100 * SECONDS
        assert (found.delivered, found.lost) == (found.started, 0), found.unknown
        assert_calm(made, programs)


def assert_told(made: Recording, found: Storm) -> None:
    """Where more is lost than can be told apart, no check is decided by what is left."""
    assert found.delivered <= found.started
    if found.lost is None:
        assert "records more were lost than can be told apart" in str(found.unknown)
        with pytest.raises(IncompleteLogError, match="records more were lost than can be told apart"):
            made.execprobe.assert_not_ran("ls")


def test_what_nobody_reads_is_kept_or_counted(programs: Programs) -> None:
    """The test waits for the storm, and all of it is kept meanwhile by the helper, which has bounds."""
    with recording(timeout=120) as made:
        assert_told(made, storm(made, programs, SECONDS, read=False))
        assert_calm(made, programs)


@pytest.mark.parametrize(
    ("execs", "loose"),
    [(5000, "0"), *(pytest.param(execs, "16 << 20", marks=pytest.mark.long) for execs in (50_000, 200_000))],
)
def test_execs_that_nobody_reads_are_all_kept(
    programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, execs: int, loose: str
) -> None:
    """The helper packs what becomes too much to be kept as it came: from some 20,000 on, or at once."""
    change_helper(tmp_path, monkeypatch, {"backlog.py": {"_LOOSE = 16 << 20": f"_LOOSE = {loose}"}})
    with recording(timeout=120) as made:
        with made.execprobe.watch() as log:
            subprocess.run([programs.storm, programs.minimal, str(execs), "600"], check=True, stdout=subprocess.DEVNULL)
        assert (log.lost, log.count()) == (0, execs + 1)


@pytest.mark.parametrize("pages", [1, 8])
def test_small_buffers_report_all_that_they_lose(programs: Programs, pages: int) -> None:
    with recording(HelperSettings(pages=pages), timeout=120) as made:
        assert_told(made, storm(made, programs, SECONDS, read=True))
        assert_calm(made, programs)


def test_a_helper_without_precedence_loses_and_reports_it(
    programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may starve for seconds, and lose more than can be told apart."""
    change_helper(
        tmp_path, monkeypatch, {"main.py": {"place < bounds.REAL_TIME and privilege.take_precedence()": "False"}}
    )
    with recording(timeout=120) as made:
        assert os.sched_getscheduler(made.helper) == os.SCHED_OTHER
        assert_told(made, storm(made, programs, SECONDS, read=False))
        assert_calm(made, programs)


def test_a_small_limit_that_a_storm_breaks_is_never_kept(programs: Programs) -> None:
    """How many there were is known whatever was lost, and what they were is not."""
    with recording(HelperSettings(pages=1), timeout=120) as made:
        found = storm(made, programs, 1, read=True)
        assert found.lost is not None, found.unknown
        with pytest.raises(AssertionError):
            made.execprobe.assert_at_most(found.started - 1)
        made.execprobe.assert_at_most(found.started)
        if found.lost:
            with pytest.raises(IncompleteLogError):
                made.execprobe.assert_not_ran("ls")


# ---- precedence ----


def test_the_helper_takes_precedence() -> None:
    with recording() as made:
        assert os.sched_getscheduler(made.helper) == os.SCHED_RR | os.SCHED_RESET_ON_FORK
        assert os.sched_getparam(made.helper).sched_priority == 1
    assert os.sched_getscheduler(0) == os.SCHED_OTHER  # its client stays as it was


def test_it_gives_up_precedence_under_load_that_lasts() -> None:
    """And has it again when that is over, though it is an ordinary user by then: where root could see to that, which
    takes CAP_SYS_RESOURCE."""
    if os.geteuid() != 0:
        pytest.skip("execprobe: only root's helper has precedence for certain")
    with recording() as made:
        assert policy(made.helper) == os.SCHED_RR
        subprocess.run(["true"], check=True)
        flood = wire.frame(wire.SYNC, 1, {"timeout": 0}) * 100
        deadline = time.monotonic() + 60
        source = HelperSource(socket.socket(socket.AF_UNIX), os.getpid())
        source._connection.stream.sock.connect("\0" + made.source.description["address"])
        source.register(fresh=True, timeout=30)
        source._connection.stream.sock.setblocking(False)
        while policy(made.helper) != os.SCHED_OTHER and time.monotonic() < deadline:
            with contextlib.suppress(BlockingIOError):
                source._connection.stream.sock.send(flood)
            with contextlib.suppress(BlockingIOError):
                source._connection.stream.sock.recv(1 << 18)
        assert policy(made.helper) == os.SCHED_OTHER
        source.close()
        assert made.execprobe.programs == ["true"]
        (limit,) = re.findall(r"Max realtime priority +(\d+)", Path(f"/proc/{made.helper}/limits").read_text())
        assert int(limit) <= 1  # so no user of it can have more
        while limit == "1" and policy(made.helper) != os.SCHED_RR and time.monotonic() < deadline:
            time.sleep(0.1)
        assert (policy(made.helper) == os.SCHED_RR) == (limit == "1")


def policy(pid: int) -> int:
    return os.sched_getscheduler(pid) & ~os.SCHED_RESET_ON_FORK


def test_what_takes_precedence_does_not_pass_it_on() -> None:
    if os.geteuid() != 0:
        pytest.skip("execprobe: it takes root to ask for precedence")
    code = f"""
import os, sys
sys.path.insert(0, {str(HELPER)!r})
import privilege
assert privilege.take_precedence()
assert os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK == os.SCHED_RR
child = os.fork()
if child == 0:
    os._exit(os.sched_getscheduler(0))
assert os.waitpid(child, 0)[1] == os.SCHED_OTHER
"""
    subprocess.run([sys.executable, "-c", code], check=True)

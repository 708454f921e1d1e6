"""The machine runs out of memory, and the kernel kills somebody. A log is then complete, or says that it is not."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from programs import Programs
from recording import recording

from pytest_execprobe import IncompleteLogError
from pytest_execprobe.source.connect import HelperSettings

pytestmark = pytest.mark.usefixtures("kernel")

# Takes all memory there is, a block at a time. It ends by being killed, or when 64 GiB were not enough.
GLUTTON = [sys.executable, "-c", "kept = [b'x' * (1 << 24) for _ in range(4096)]"]
FIRST, NEVER = 1000, -1000  # to be killed


def set_score(pid: int | str, score: int) -> None:
    Path(f"/proc/{pid}/oom_score_adj").write_text(str(score))


@pytest.fixture(autouse=True)
def spared() -> Iterator[None]:
    """The tests' own process is not killed, nor what it starts unless that is said."""
    before = int(Path("/proc/self/oom_score_adj").read_text())
    set_score("self", NEVER)
    yield
    set_score("self", before)


def test_a_child_is_killed(programs: Programs, helper: HelperSettings) -> None:
    """Memory is short for all, the helper included, and the log has everything."""
    with recording(helper, timeout=300) as made:
        set_score(made.helper, NEVER)
        with made.execprobe.watch() as log:
            glutton = subprocess.Popen(GLUTTON)
            set_score(glutton.pid, FIRST)
            while glutton.poll() is None:
                os.waitpid(os.posix_spawn(str(programs.minimal), ["minimal"], {}), os.WNOHANG)
                select.select([], [], [], 0.2)  # a few execs, and time for the glutton
        assert glutton.returncode == -signal.SIGKILL
        assert log.complete
        (record,) = [record for record in log.records if record.pid == glutton.pid]
        assert record.signal == signal.SIGKILL


def test_the_helper_is_killed(programs: Programs) -> None:
    with recording(timeout=300) as made:
        pidfd = os.pidfd_open(made.helper)
        set_score(made.helper, FIRST)
        with made.execprobe.watch() as log:
            os.waitpid(os.posix_spawn(str(programs.minimal), ["minimal"], {}), 0)
            glutton = subprocess.Popen(GLUTTON)
            set_score(glutton.pid, FIRST // 10)
            try:
                assert select.select([pidfd], [], [], 300)[0], "the helper was not killed"
            finally:
                glutton.kill()
                glutton.wait()
                os.close(pidfd)
            with pytest.raises(IncompleteLogError, match="helper was lost: it died"):
                log.assert_not_ran("ls")
        assert log.lost is None
        assert not log.complete
        with pytest.raises(IncompleteLogError):
            log.programs  # noqa: B018

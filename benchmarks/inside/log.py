"""A log of many records, which answers what it is asked at a socket, so that two sessions can do so in turn."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import time
from typing import Any

from costs import resident_bytes

COMMAND = json.loads(os.environ["BENCH_COMMAND"])
EXECS = int(os.environ["BENCH_EXECS"])
STORMS = int(os.environ["BENCH_STORMS"])
NAMES = [os.path.basename(word) for word in COMMAND if word.startswith("/")]  # of all that runs


def failure(log: Any) -> None:
    with contextlib.suppress(AssertionError):
        log.assert_not_ran(NAMES[-1])
        raise SystemExit("it should have failed")


ASKED = {
    "only ran": lambda log: log.assert_only_ran(*NAMES),
    "counts": lambda log: log.counts,
    "failure": failure,
}


def test(execprobe: Any) -> None:
    before = resident_bytes()
    for n in range(STORMS):
        subprocess.run(COMMAND, check=True, stdout=subprocess.DEVNULL)
        assert execprobe.count() == EXECS // STORMS * (n + 1)
    assert sum(execprobe.counts.values()) == EXECS
    with socket.socket(fileno=int(os.environ["BENCH_SOCKET"])) as sock, sock.makefile("rw") as wire:
        print(resident_bytes() - before, file=wire, flush=True)
        for line in wire:
            subprocess.run([COMMAND[-1]], check=True)  # something new, so that no answer is one that was kept
            begin = time.monotonic_ns()
            ASKED[line.strip()](execprobe)
            print(time.monotonic_ns() - begin, file=wire, flush=True)

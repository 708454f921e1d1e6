"""What a probe costs, as the system tells it."""

from __future__ import annotations

import os
import re
import socket
import struct
import time
from pathlib import Path

_CREDENTIALS = struct.Struct("3i")


def find_helper() -> int:
    """The pid of the helper that this process has a connection to."""
    for entry in os.listdir("/proc/self/fd"):
        try:
            with socket.socket(fileno=os.dup(int(entry))) as sock:
                pid = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))[0]
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (OSError, struct.error):
            continue
        if any(word.endswith(b"/pytest_execprobe/helper") for word in words):
            return pid
    raise LookupError("this process has no connection to a probe helper")


def cpu_ns(helper: int | None) -> int:
    """What this process and the helper have used until now."""
    own = time.process_time_ns()
    return own if helper is None else own + time.clock_gettime_ns(~helper << 3 | 2)  # its clock, by pid: CPUCLOCK_SCHED


def kernel_ns(helper: int) -> int:
    """How long the helper's BPF programs have run. It grows only while the kernel is asked to count that."""
    total = 0
    for file in Path(f"/proc/{helper}/fdinfo").iterdir():
        text = file.read_text()
        ran = re.search(r"^run_time_ns:\s*(\d+)$", text, re.MULTILINE)
        if ran and "prog_type:" in text:
            total += int(ran[1])
    return total


def resident_bytes(pid: int | str = "self") -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

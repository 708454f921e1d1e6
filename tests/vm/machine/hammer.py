"""Reads a large map of BPF's without end, on one CPU: hammer.py CPU. For the system's Python, which has BCC.

While a process is inside such a call, the kernel runs no BPF program of kprobes on its CPU, and since some version none
of raw tracepoints, for anybody. Where the kernel is preemptible it can be preempted there, and others go on.
"""

import ctypes
import os
import platform
import sys
from pathlib import Path

SIZE = 32000  # of a value, for each CPU: to copy it takes most of a call's time

major, minor = platform.release().split(".")[:2]
os.environ["BCC_KERNEL_SOURCE"] = str(Path(__file__).resolve().parents[3] / "bpf")
os.sched_setaffinity(0, {int(sys.argv[1])})

from bcc import BPF, lib  # noqa: E402

program = BPF(
    text=f"struct big {{ char bytes[{SIZE}]; }}; BPF_PERCPU_ARRAY(big, struct big, 1);",
    cflags=[f"-DEXECPROBE_KERNEL_VERSION={int(major) << 16 | int(minor) << 8}"],
)
table = program["big"].map_fd
key = ctypes.byref(ctypes.c_int(0))
value = ctypes.byref(ctypes.create_string_buffer(SIZE * 64))
print("reading", flush=True)
while True:
    lib.bpf_lookup_elem(table, key, value)

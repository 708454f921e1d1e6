#!/usr/bin/python3
"""Counts who executes what, as textbooks teach it, and is wrong on purpose. It is not part of the plugin.

This is the program that everybody writes first, and the one that this project has grown out of: a kprobe on execve, the
name of the current process, a perf buffer, a Counter that is printed at Ctrl-C. It runs, it prints numbers, and they
mean something else than what one takes them for:

- At the entry of execve everything is still the caller's. `bpf_get_current_comm` names who calls, not what is run.
- An entry is an attempt. `execvp` tries each folder of PATH, and every try is counted, also where nothing was there.
- Names are cut after 15 characters, and `execveat`, with which programs without a path are run, is not seen.
- It counts the whole machine, so whatever else runs is in the numbers.
- What finds no room in the buffer is gone. `perf_buffer_poll` says so on standard error at best, and late, and the
  sums at the end look like any others.

tests/vm/machine/test_textbook.py runs it beside `execprobe run`. It takes root, BCC and a kernel with kprobes:

    sudo /usr/bin/python3 examples/textbook.py
"""

import os
import platform
import sys
from collections import Counter
from pathlib import Path

# BCC wants kernel headers. Where there are none, the stand-ins of this project do for a program this small.
major, minor = platform.release().split(".")[:2]
flags = [f"-DEXECPROBE_KERNEL_VERSION={int(major) << 16 | int(minor) << 8}"]
os.environ.setdefault("BCC_KERNEL_SOURCE", str(Path(__file__).resolve().parents[1] / "bpf"))

from bcc import BPF  # noqa: E402

PROGRAM = """
#include <uapi/linux/ptrace.h>

struct data_t {
    u32 pid;
    char comm[16];
};
BPF_PERF_OUTPUT(events);

int trace_exec(struct pt_regs *ctx)
{
    struct data_t data = {};
    data.pid = bpf_get_current_pid_tgid() >> 32;
    bpf_get_current_comm(&data.comm, sizeof(data.comm));
    events.perf_submit(ctx, &data, sizeof(data));
    return 0;
}
"""

b = BPF(text=PROGRAM, cflags=flags)
b.attach_kprobe(event=b.get_syscall_fnname("execve"), fn_name="trace_exec")
counts = Counter()


def handle(_cpu, data, _size):
    event = b["events"].event(data)
    counts[event.comm.decode()] += 1


b["events"].open_perf_buffer(handle)
print("Counting execs... Ctrl-C to end.", file=sys.stderr, flush=True)
try:
    while True:
        b.perf_buffer_poll()
except KeyboardInterrupt:
    pass
print(counts.most_common())

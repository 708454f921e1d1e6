"""What the helper's processes have in common: where they run, how they end, and what there is to say of a failure."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import Collection, Iterable, Tuple

from .errors import ProbeError

#: The inode of the machine's first PID namespace, in every kernel.
FIRST_PID_NAMESPACE = 0xEFFFFFFC


def sees_all() -> bool:
    """Whether /proc hides no processes of other users from this one (hidepid)."""
    return os.path.exists("/proc/1/stat")


def bpf_folder(source: str) -> str:
    """Where a BPF source is: in the package when it was installed, beside it in a checkout. Raises ProbeError."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    for folder in (os.path.join(package, "bpf"), os.path.join(os.path.dirname(package), "bpf")):
        if os.path.isfile(os.path.join(folder, source)):
            return folder
    raise ProbeError("no-source", "its BPF source, bpf/%s, is missing" % source, "reinstall pytest-execprobe")


def close_others(kept: Collection[int]) -> None:
    """Closes all descriptors but these."""
    try:
        found: Iterable[int] = [*map(int, os.listdir("/proc/self/fd"))]
    except FileNotFoundError:  # there is no /proc, and the probe will say what it lacks by that
        found = range(os.sysconf("SC_OPEN_MAX"))
    for descriptor in found:
        if descriptor not in kept:
            with contextlib.suppress(OSError):  # that of the folder, which is closed by now
                os.close(descriptor)


def wake_at(*numbers: int) -> int:
    """A descriptor that becomes readable at one of these signals, which then do nothing else."""
    wakeup, written = os.pipe()
    os.set_blocking(written, False)
    signal.set_wakeup_fd(written, warn_on_full_buffer=False)
    for number in numbers:
        signal.signal(number, lambda *_: None)
    return wakeup


def capture_output() -> int:
    """A file for what BCC's compiler and the verifier write, to both standard outputs: see :func:`explain`."""
    output = os.memfd_create("execprobe-output")
    os.dup2(output, 1)
    os.dup2(output, 2)
    return output


def explain(error: Exception, output: int) -> "Tuple[str, str, str]":
    """The code, reason and remedy of a failed start, with what the compiler or the verifier wrote of an error."""
    text = os.pread(output, 1 << 16, max(0, os.fstat(output).st_size - (1 << 16))).decode("utf-8", "replace")
    lines = [line.strip() for line in text.splitlines() if "error" in line.lower() or "denied" in line.lower()]
    written = ": " + "; ".join(lines[-3:]) if lines else ""
    if isinstance(error, ProbeError):
        return error.code, error.reason + written, error.remedy
    return "helper-failed", "%s: %s" % (type(error).__name__, error) + written, ""

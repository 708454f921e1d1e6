"""What the helper's processes have in common: how they are ended, and what there is to say of what has failed."""

from __future__ import annotations

import os
import signal


def wake_at(*numbers: int) -> int:
    """A descriptor that becomes readable at one of these signals, which then do nothing else."""
    wakeup, written = os.pipe()
    os.set_blocking(written, False)
    signal.set_wakeup_fd(written, warn_on_full_buffer=False)
    for number in numbers:
        signal.signal(number, lambda *_: None)
    return wakeup


def last_words(output: int) -> str:
    """What the compiler or the verifier wrote of an error, ready to follow a reason; empty if nothing."""
    text = os.pread(output, 1 << 16, max(0, os.fstat(output).st_size - (1 << 16))).decode("utf-8", "replace")
    lines = [line.strip() for line in text.splitlines() if "error" in line.lower() or "denied" in line.lower()]
    return ": " + "; ".join(lines[-3:]) if lines else ""

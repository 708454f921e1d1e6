"""What it takes to be watched without privilege: a helper that may trace this process, and that is its only tracer."""

from __future__ import annotations

from collections.abc import Sequence
from select import POLLIN
from typing import NamedTuple

from .._util import originals
from ..errors import ProbeUnavailable
from . import libc
from .launch import is_helper

_ENDING = 2.0  # seconds
_UNTRACED_MOST = 500  # characters, for all are sent in one request
_PR_SET_PTRACER = 0x59616D61  # uapi/linux/prctl.h
_prctl = libc.function("prctl", *[libc.LONG] * 5, returns=libc.LONG)


def untraced_pattern(text: str, others: Sequence[str] = ()) -> str:
    """A program that is to run untraced: its name, or its absolute path, as a glob. Raises ValueError."""
    of_others = text.startswith(("re:", "argv:", "subtree:", "from:", "unowned:"))
    if not text or of_others or ("/" in text and text[0] not in "/*?["):
        raise ValueError("what runs untraced is the name of a program or an absolute path, and may have * ? [ ]")
    if sum(map(len, (text, *others))) > _UNTRACED_MOST:
        raise ValueError(f"what runs untraced is named in {_UNTRACED_MOST} characters in all: * can stand for some")
    return text


class Tracer(NamedTuple):
    """A helper that traces this process already: that of a run in which this one was started."""

    pid: int
    address: str  # of the abstract socket that it serves


def let_trace(pid: int) -> None:
    """Yama lets a process be traced by its ancestors alone, and by whom it names."""
    if _prctl is not None:
        _prctl(_PR_SET_PTRACER, pid, 0, 0, 0)


def outer() -> Tracer | None:
    """Who traces this process; None if nothing does. Raises ProbeUnavailable if it is no helper."""
    while pid := _tracer():
        try:
            words = originals.read_bytes(f"/proc/{pid}/cmdline").decode("utf-8", "surrogateescape").split("\0")
        except OSError:
            words = [""]
        if is_helper(tuple(words)) and "--address" in words[:-1]:
            return Tracer(pid, words[words.index("--address") + 1])
        if words == [""] and has_ended(pid):  # it was just ending: one that was killed has no command line any more
            continue
        raise ProbeUnavailable(
            f"execprobe: this process is traced by {originals.basename(words[0]) or 'another'} (process {pid}), and a"
            " process has one tracer: run it outside of strace or the debugger"
        )
    return None


def has_ended(pid: int) -> bool:
    """Whether a process ends soon."""
    try:
        pidfd = originals.pidfd_open(pid)
    except OSError:
        return True
    try:
        poll = originals.poll()
        poll.register(pidfd, POLLIN)
        return bool(poll.poll(1000 * _ENDING))
    finally:
        originals.close(pidfd)


def _tracer() -> int:
    try:
        lines = originals.read_bytes("/proc/self/status").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(b"TracerPid:")), 0)

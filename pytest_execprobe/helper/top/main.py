"""The privileged half of ``execprobe top``: counts what a probe sees on the whole machine, by program or by user.

It is a program of its own: nothing of it can be reached through the helper that serves tests. It writes lines of JSON
on standard output, each an object with a ``type``:

    attached   once: what it has attached to
    counts     at every interval, if one is asked for, and at the end (``last``): all counts since then
    failed     instead of all that: a code for programs, reason, remedy and near names for people

It ends at SIGINT and SIGTERM, when the time is up that it was given, and with whoever started it: at the end of its
standard input.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import signal
import time
from typing import Any, List, NoReturn, Optional

from .. import bounds, privilege
from ..bpf.attach import kernel_version
from ..bpf.build import import_bcc
from ..errors import ProbeError
from ..process import capture_output, explain, wake_at
from .counter import Counter
from .target import EXEC, Target, parse

_NAMES_MAX = 262144  # of programs or users: some 80 MB of the kernel's memory


def main(argv: Optional[List[str]] = None) -> NoReturn:
    wakeup = wake_at(signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    out, words = os.dup(1), capture_output()
    try:
        _take_place()
        options = _parse(argv)
        uid, gid = privilege.caller()
        counter = Counter(import_bcc(), options.probe, options.by, options.max_names, uid)
        described = dict(counter.describe(), privilege=privilege.give_up(uid, gid, kernel_version()))
    except Exception as error:
        _fail(out, *explain(error, words), getattr(error, "near", []))
    _write(out, type="attached", **described)
    _report(counter, out, wakeup, options)
    os._exit(0)  # not through atexit: the kernel takes the probe down with the process, at once


# ---- what it reads and writes ----


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ProbeError("bad-argument", message, "execprobe top --help says what can be asked for")


def _parse(argv: Optional[List[str]]) -> argparse.Namespace:
    parser = _Parser(prog="execprobe-top", description=__doc__, add_help=False, allow_abbrev=False)
    parser.add_argument("--probe", type=_target, default=Target(EXEC))
    parser.add_argument("--by", choices=("program", "user"), default="program")
    parser.add_argument("--max-names", type=_number(int, 1, _NAMES_MAX), default=10240)
    parser.add_argument("--interval", type=_number(float, 0.1, 3600))
    parser.add_argument("--duration", type=_number(float, 0.1, 1e8))
    options = parser.parse_args(argv)
    for name, value in vars(options).items():
        if isinstance(value, list):  # what some Pythons make of "--by=--", and show to no check
            parser.error("--%s: expected a value, and -- is none" % name.replace("_", "-"))
    return options


def _target(text: str) -> Target:
    try:
        return parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _number(kind: Any, least: float, most: float) -> Any:
    def number(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not least <= value <= most:
            raise argparse.ArgumentTypeError("%r is no number from %g to %g" % (text, least, most))
        return value

    return number


def _take_place() -> None:
    """First of all: what a user starts through sudo is root until it counts."""
    user = bounds.sudo_user()
    if user is not None:
        bounds.take_place(user, bounds.COUNTER)


def _fail(out: int, code: str, reason: str, remedy: str, near: List[str]) -> NoReturn:
    fields = {"type": "failed", "code": code, "reason": reason, "remedy": remedy, "near": near}
    bounds.write_for(out, json.dumps(fields).encode() + b"\n")
    os._exit(1)


def _write(out: int, **fields: Any) -> None:
    data = json.dumps(fields).encode() + b"\n"
    try:
        while data:
            data = data[os.write(out, data) :]
    except OSError:
        os._exit(1)  # no reader is left


def _report(counter: Counter, out: int, wakeup: int, options: argparse.Namespace) -> None:
    """Writes the counts until it is to end, and then once more."""
    poll = select.poll()
    poll.register(wakeup, select.POLLIN)
    poll.register(0, select.POLLIN)
    ends = float("inf") if options.duration is None else time.monotonic() + options.duration
    every = float("inf") if options.interval is None else options.interval
    due = time.monotonic() + every
    while True:
        now = time.monotonic()
        if now >= ends:
            break
        if now >= due:
            _write(out, type="counts", last=False, **counter.counts())
            due = max(due + every, time.monotonic())  # late, if there was no reader: then no line is made up for
        wait = min(due, ends) - time.monotonic()
        ready = dict(poll.poll(None if wait == float("inf") else max(0, wait) * 1000 + 1))
        if wakeup in ready or (0 in ready and not _reads_on()):
            break
    _write(out, type="counts", last=True, **counter.counts())


def _reads_on() -> bool:
    """Whether the other end of standard input is still open. What is written there means nothing."""
    try:
        return bool(os.read(0, 4096))
    except OSError:
        return False

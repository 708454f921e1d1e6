"""Helpers with a fault in them, and connections with a fault on them."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pytest_execprobe.helper import wire
from pytest_execprobe.source import connect, launch, meeting
from pytest_execprobe.source.connect import HelperSettings, hold_helper


def change_helper(folder: Path, patch: pytest.MonkeyPatch, changes: dict[str, dict[str, str]]) -> None:
    """Has helpers started from a copy in which texts of its modules, each there once, are replaced by others."""
    copy = folder / "pytest_execprobe" / "helper"  # it is known by the end of this path
    shutil.copytree(launch.HELPER, copy)  # with what is compiled of the modules that stay as they are
    for module, replacements in changes.items():
        source = (copy / module).read_text()
        for old, new in replacements.items():
            assert source.count(old) == 1, f"{module} has changed, and this test must: {old!r}"
            source = source.replace(old, new)
        (copy / module).write_text(source)
    patch.setattr(launch, "HELPER", copy)


def change_source(folder: Path, patch: pytest.MonkeyPatch, changes: dict[str, str]) -> None:
    """The kernel side with some of its text, each there once, replaced."""
    bpf = folder / "bpf"
    shutil.copytree(connect.bpf_folder(), bpf)
    source = (bpf / "execprobe.c").read_text()
    for old, new in changes.items():
        assert source.count(old) == 1, f"execprobe.c has changed, and this test must: {old!r}"
        source = source.replace(old, new)
    (bpf / "execprobe.c").write_text(source)
    patch.setattr(connect, "bpf_folder", lambda: bpf)
    bpf_alone(patch)


def bpf_alone(patch: pytest.MonkeyPatch) -> None:
    """Or what can't be loaded would pass by the other probe."""

    def refuse(_settings: HelperSettings, _enter: object, why: str | None) -> None:
        pytest.fail(f"BPF is wanted, and can't be had: {why}")

    patch.setattr(connect, "_trace", refuse)


def preempt_programs(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Has the helper do what it does on kernels where that happens."""
    change_helper(folder, patch, {"bpf/attach.py": {"_PREEMPTED = (6, 19)": "_PREEMPTED = (0, 0)"}})
    bpf_alone(patch)


class HangUp(Exception):
    """Has a connection closed, at both ends, after these last bytes."""

    def __init__(self, last: bytes = b"") -> None:
        self.last = last


class Between:
    """Stands between clients and a real helper. ``helper`` is its process id, and ``address`` where to call.

    What the helper says passes through ``said``, and what it is asked through ``asked``, a frame at a time; either
    returns what is passed on, or raises HangUp.
    """

    def __init__(self) -> None:
        self._held = hold_helper(HelperSettings())
        self.helper = int(self._held.description["pid"])
        self.address = "@" + meeting.new_name()
        self.said: Callable[[wire.Frame, bytes], bytes] = lambda _, data: data
        self.asked: Callable[[wire.Frame, bytes], bytes] = lambda _, data: data
        self._place = "\0" + self._held.description["address"]
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind("\0" + self.address[1:])
        self._listener.listen()
        self._stop, self._stopped = os.pipe()
        self._threads: list[threading.Thread] = []
        self._begin(self._accept)

    def close(self) -> None:
        os.close(self._stopped)  # every thread sees the end of this pipe
        for thread in self._threads:
            thread.join(30)
        os.close(self._stop)
        self._listener.close()
        self._held.close()

    def _begin(self, work: Callable[[], None]) -> None:
        self._threads.append(threading.Thread(target=work, daemon=True))
        self._threads[-1].start()

    def _accept(self) -> None:
        while self._listener in select.select([self._listener, self._stop], [], [])[0]:
            client, _ = self._listener.accept()
            self._begin(lambda client=client: self._carry(client))  # type: ignore[misc]

    def _carry(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as helper, contextlib.suppress(OSError):
            helper.connect(self._place)
            requests = wire.Reader(wire.REQUESTS, wire.MAX_REQUEST)
            replies = wire.Reader(wire.REPLIES, wire.MAX_REPLY + (64 << 10))
            while True:
                ready = select.select([client, helper, self._stop], [], [])[0]
                if self._stop in ready:
                    return
                for source, target, reader, which in (
                    (client, helper, requests, "asked"),
                    (helper, client, replies, "said"),
                ):
                    if source not in ready:
                        continue
                    received = source.recv(1 << 16)
                    if not received:
                        return
                    for frame in reader.feed(received):
                        try:
                            target.sendall(getattr(self, which)(frame, wire.raw_frame(*frame)))
                        except HangUp as end:
                            target.sendall(end.last)
                            return


@contextlib.contextmanager
def between() -> Iterator[Between]:
    made = Between()
    try:
        yield made
    finally:
        made.close()

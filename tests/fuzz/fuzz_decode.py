"""Kernel records: whatever bytes come as one, it is an event with fields of the right kinds, or refused."""

from __future__ import annotations

import contextlib

import fuzzing

with fuzzing.instrumented():
    from pytest_execprobe.helper import wire
    from pytest_execprobe.source.events import Blind, Ended, Exec
from fakes import event_of, kernel_record

from pytest_execprobe.source.command import Command

SEEDS = [
    b"\0" + kernel_record(),
    b"\0"
    + kernel_record(interpreter=b"/bin/sh\0", argv=b"/bin/sh\0-e\0/x\0", cwd=b"srv\0/\0", scripts=b"x\0/\0", flags=8),
    b"\0" + kernel_record(wire.KIND_ATTEMPT, error=2, dirfd=5, path=b"x\0", flags=wire.FLAG_ARGV_CUT),
    b"\0" + kernel_record(components=b"memfd:x\0.\0", path=b"/dev/fd/3\0"),
    b"\0" + kernel_record(wire.KIND_EXIT, error=9, previous_at=5),
    b"\0" + kernel_record(wire.KIND_UNFOLLOWED),
    b"\1" + kernel_record()[: wire.HEAD.size],
]
WORDS = [b"/dev/fd/3\0", b"/proc/self/exe\0", b"memfd:x\0", b"\xc3\xbc", b"\0\0", b"/\0", b"..\0"]


def check(data: bytes) -> None:
    given = fuzzing.Bytes(data)
    lost = bool(given.number() & 1)
    record = given.rest
    with contextlib.suppress(wire.WireError):
        event = event_of(record, 1, lost)
        assert event is None or isinstance(event, (Exec, Ended, Blind))
        if isinstance(event, Exec):
            assert event.lost is lost
            command = event.command or Command()
            assert command.argv is None or all(isinstance(word, str) for word in command.argv)
            assert sum(map(len, command.argv or ())) <= len(record)
            assert command.program is None or isinstance(command.program, str)


if __name__ == "__main__":
    fuzzing.run(check, SEEDS, WORDS)

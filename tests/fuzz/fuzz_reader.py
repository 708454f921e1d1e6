"""The client's side of the wire: a stream of frames, cut anywhere, and the events and fields in them."""

from __future__ import annotations

import contextlib

import fuzzing

with fuzzing.instrumented():
    from pytest_execprobe.helper import wire
    from pytest_execprobe.source.decode import Commands, decode

from fakes import kernel_record

SEEDS = [
    bytes([255])
    + wire.raw_frame(
        wire.EVENTS, 1, wire.event(kernel_record()) + wire.event(kernel_record()[: wire.HEAD.size], lost=True)
    ),
    bytes([40]) + wire.raw_frame(wire.PACKED, 1, wire.pack(wire.event(kernel_record()))),
    bytes([7]) + wire.frame(wire.SYNCED, 2, {"at": 5, "in_flight": 0, "unplaced": 1, "skipped": 1, "unplaced_from": 3}),
    bytes([60])
    + wire.frame(
        wire.ARMED, 3, {"root": 1, "armed_at": 2, "pid": 3, "unadopted": 0, "orphans": 1, "listed": [[4, 1.5, "sh"]]}
    ),
    bytes([90]) + wire.frame(wire.FAILED, 0, {"code": "no-bcc", "reason": "why", "remedy": ""}) * 2,
]
WORDS = [wire.HEADER.pack(wire.MAGIC, wire.VERSION, type, 1, 0) for type in sorted(wire.REPLIES)]


def check(data: bytes) -> None:
    pieces = fuzzing.Bytes(data).cut()
    reader = wire.Reader(wire.REPLIES, wire.MAX_REPLY)
    frames = []
    with contextlib.suppress(wire.WireError):
        for piece in pieces:
            frames += reader.feed(piece)
    whole, again = b"".join(pieces), wire.Reader(wire.REPLIES, wire.MAX_REPLY)
    at_once = []
    with contextlib.suppress(wire.WireError):
        at_once = again.feed(whole)
        assert at_once == frames, "the cuts make a difference"
    assert sum(wire.HEADER.size + len(frame.payload) for frame in frames) <= len(whole)
    for frame in frames:
        with contextlib.suppress(wire.WireError):
            if frame.type in (wire.EVENTS, wire.PACKED):
                decode(wire.events_of(frame), 1, Commands())
            else:
                for name in frame.json():
                    wire.number(frame.json(), name, 0, 1 << 64)


if __name__ == "__main__":
    fuzzing.run(check, SEEDS, WORDS)

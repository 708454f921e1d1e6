"""The privileged helper's side of the wire: whoever sends whatever is answered or hung up on, and costs nobody else."""

from __future__ import annotations

import itertools
import socket

import fuzzing

with fuzzing.instrumented():
    from pytest_execprobe.helper import priority, registration, server, wire

from fakes import FakeProbe, kernel_record

_CLAIM, _ARM = wire.frame(wire.CLAIM, 1, {"child": False}), wire.frame(wire.ARM, 2, {"fresh": True})
SEEDS = [
    bytes([255]) + _CLAIM + bytes([255]) + _ARM + bytes([255]) + wire.frame(wire.SYNC, 3, {"timeout": 0}),
    bytes([9]) + _CLAIM[:10] + bytes([255]) + _CLAIM[10:] + _ARM + wire.frame(wire.WAIT, 3, {"timeout": 1.5}),
    bytes([255]) + _CLAIM + _ARM + wire.frame(wire.RUNNING, 3, {"since": 1}),
    bytes([255]) + _CLAIM + _CLAIM + _ARM,
    bytes([255]) + wire.frame(wire.SYNC, 1, {"timeout": -1}) + wire.frame(wire.SYNC, 1, {"timeout": 10**30}),
    bytes([255]) + _CLAIM + wire.frame(wire.ARM, 2, {"fresh": False, "begun": 5, "since": 6, "left": [[7, 8]]}),
]
WORDS = [wire.HEADER.pack(wire.MAGIC, wire.VERSION, type, 1, 2) + b"{}" for type in sorted(wire.REQUESTS)]
WORDS += [b'"timeout": ', b'"fresh": true', b'"left": [[1, 2]]', b'"child": true', b'"since": ', b"1e999", b"NaN"]


class _Fuzzed:
    """A server that is never run: its steps are taken by hand, so that each input meets it alone."""

    def __init__(self) -> None:
        self.probe = FakeProbe()
        self._first, there = socket.socketpair()
        listener = socket.socket(socket.AF_UNIX)
        listener.bind("")  # an abstract address that the kernel chooses
        listener.setblocking(False)
        self.server = server.Server(self.probe, there, listener, {"bcc": "fuzz"}, priority.Precedence(False))
        self.others = set(self.server._clients)

    def meet(self, pieces: list[bytes]) -> None:
        here, there = socket.socketpair()
        here.setblocking(False)
        self.server._admission.let_in(there)
        (client,) = self.server._clients - self.others
        replies = wire.Reader(wire.REPLIES, wire.MAX_REPLY)
        frames = []
        for piece in pieces:
            if client not in self.server._clients:
                break
            here.sendall(piece)
            self.server._read(client)
            while client.requests and not client.out:
                self.server._serve()
            self.probe.submit(*(kernel_record(slot=(root, 1, 5, 1)) for root in self.probe.claims))
            self.server._delivery.collect()
            try:
                while data := here.recv(1 << 16):
                    frames += replies.feed(data)
            except OSError:
                pass  # nothing more, or it has hung up
        for frame in frames:
            if frame.type in (wire.EVENTS, wire.PACKED):
                assert all(len(record) >= wire.HEAD.size for record, _ in wire.split_events(wire.events_of(frame)))
            else:
                frame.json()
        here.close()
        self.server._drop(client)
        self.probe.claims.clear()
        del self.probe.withdrawn[:], self.probe.forgotten[:]
        assert self.server._clients == self.others, "it took somebody else with it"
        assert not self.server._delivery.by_root
        assert self.server._delivery.kept == 0, "what it had not asked for is still kept"


_met: list[_Fuzzed] = []
# It reads /proc, and that is not what is looked at here.
registration.adopt_descendants = lambda *_, **__: registration.Search()


def check(data: bytes) -> None:
    if not _met:
        _met.append(_Fuzzed())
    _met[0].meet(list(itertools.islice(fuzzing.Bytes(data).cut(), 64)))


if __name__ == "__main__":
    fuzzing.run(check, SEEDS, WORDS)

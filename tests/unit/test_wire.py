"""Frames: what is believed of a stream of bytes, and what is not."""

from __future__ import annotations

import itertools
import json
import os
import random
import socket

import pytest
from fakes import event_of, kernel_record

from pytest_execprobe.helper import peers, wire
from pytest_execprobe.source.events import Exec

ALLOWED = frozenset((wire.SYNC, wire.WAIT))


def reader(limit: int = 1000) -> wire.Reader:
    return wire.Reader(ALLOWED, limit)


def header(
    magic: bytes = wire.MAGIC, version: int = wire.VERSION, type: int = wire.SYNC, request: int = 1, length: int = 0
) -> bytes:
    return wire.HEADER.pack(magic, version, type, request, length)


# ---- frames ----


def test_frame_goes_there_and_back() -> None:
    (frame,) = reader().feed(wire.frame(wire.SYNC, 7, {"timeout": 1.5}))
    assert (frame.type, frame.request, frame.json()) == (wire.SYNC, 7, {"timeout": 1.5})


def test_frame_without_fields_is_an_empty_object() -> None:
    (frame,) = reader().feed(wire.frame(wire.SYNC, 7))
    assert frame.json() == {}


def test_several_frames_at_once() -> None:
    stream = b"".join(wire.frame(wire.SYNC, number) for number in range(5))
    assert [frame.request for frame in reader().feed(stream)] == [0, 1, 2, 3, 4]


def test_frames_fed_byte_by_byte() -> None:
    stream = wire.frame(wire.SYNC, 1, {"a": "b" * 50}) + wire.raw_frame(wire.WAIT, 2, b"") + wire.frame(wire.SYNC, 3)
    patient, found = reader(), []
    for at in range(len(stream)):
        found += patient.feed(stream[at : at + 1])
    assert found == reader().feed(stream)
    assert [frame.request for frame in found] == [1, 2, 3]


@pytest.mark.parametrize("seed", range(5))
def test_frames_cut_anywhere(seed: int) -> None:
    dice = random.Random(seed)
    stream = b"".join(wire.raw_frame(wire.SYNC, number, bytes(dice.randrange(99))) for number in range(30))
    patient, found = reader(), []
    while stream:
        size = dice.randrange(200)
        found += patient.feed(stream[:size])
        stream = stream[size:]
    assert [frame.request for frame in found] == [*range(30)]


def test_incomplete_frame_is_waited_for() -> None:
    patient = reader()
    stream = wire.raw_frame(wire.SYNC, 1, b"payload")
    assert patient.feed(stream[:-1]) == []
    assert patient.feed(b"") == []
    assert patient.feed(stream[-1:]) == [wire.Frame(wire.SYNC, 1, b"payload")]


@pytest.mark.parametrize(
    ("head", "complaint"),
    [
        (header(magic=b"HT"), "does not speak this protocol"),
        (header(magic=b"px"), "does not speak this protocol"),
        (header(version=wire.VERSION + 1), f"version {wire.VERSION + 1} of this protocol, not {wire.VERSION}"),
        (header(version=0), "version 0"),
        (header(type=0), "type 0 is not expected"),
        (header(type=255), "type 255 is not expected"),
        (header(type=wire.EVENTS), "is not expected"),
        (header(length=1001), "over the limit of 1000"),
        (header(length=1 << 31), "2147483648 bytes is over the limit"),
        (header(length=(1 << 32) - 1), "over the limit"),
    ],
)
def test_bad_header_is_refused_before_its_payload_comes(head: bytes, complaint: str) -> None:
    with pytest.raises(wire.WireError, match=complaint):
        reader().feed(head)


def test_longest_payload_is_taken() -> None:
    (frame,) = reader().feed(wire.raw_frame(wire.SYNC, 1, bytes(1000)))
    assert len(frame.payload) == 1000


def test_requests_and_replies_are_not_taken_for_each_other() -> None:
    assert not wire.REQUESTS & wire.REPLIES
    for type in wire.REPLIES:
        with pytest.raises(wire.WireError, match="not expected"):
            wire.Reader(wire.REQUESTS, wire.MAX_REQUEST).feed(header(type=type))


# ---- payloads ----


@pytest.mark.parametrize(
    "payload",
    [b"", b"{", b"\xff\xfe", b"{'a': 1}", b"{}{}", b"[" * 100_000, b'{"a": ' + b"9" * 10_000 + b"}"],
    ids=lambda payload: ascii(payload[:8]),
)
def test_payload_that_is_not_json(payload: bytes) -> None:
    with pytest.raises(wire.WireError, match="not JSON"):
        wire.Frame(wire.SYNC, 1, payload).json()


@pytest.mark.parametrize("value", [[], [1], "text", 1, 1.5, True, None])
def test_json_that_is_not_an_object(value: object) -> None:
    with pytest.raises(wire.WireError, match="not a JSON object"):
        wire.Frame(wire.SYNC, 1, json.dumps(value).encode()).json()


@pytest.mark.parametrize("value", [0, 5, 5.5, 10])
def test_number_in_its_bounds(value: float) -> None:
    assert wire.number({"n": value}, "n", 0, 10) == value


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"n": None},
        {"n": "5"},
        {"n": [5]},
        {"n": True},
        {"n": -1},
        {"n": 10.1},
        {"n": 10**400},
        {"n": float("nan")},
        {"n": float("inf")},
        {"n": float("-inf")},
    ],
    ids=lambda fields: ascii(fields)[:20],
)
def test_number_out_of_its_bounds(fields: dict[str, object]) -> None:
    with pytest.raises(wire.WireError, match="'n' must be a number from 0 to 10"):
        wire.number(fields, "n", 0, 10)


# ---- events ----


def received(frames: list[bytes]) -> list[tuple[bytes, bool]]:
    client = wire.Reader(wire.REPLIES, wire.MAX_REPLY)
    parsed = [frame for data in frames for frame in client.feed(data)]
    assert all((frame.type, frame.request) == (wire.EVENTS, 7) for frame in parsed)
    return [event for frame in parsed for event in wire.split_events(frame.payload)]


def test_events_go_there_and_back() -> None:
    events = [(kernel_record(), False), (kernel_record()[: wire.HEAD.size], True), (kernel_record(pid=5), False)]
    frames = [*map(b"".join, wire.event_frames(7, itertools.starmap(wire.event, events)))]
    assert len(frames) == 1
    assert received(frames) == events


def test_no_events_need_no_frame() -> None:
    assert [*wire.event_frames(7, [])] == []
    assert [*wire.split_events(b"")] == []


def test_many_events_are_split_and_no_frame_is_over_the_limit() -> None:
    events = [(kernel_record(pid=pid, argv=b"x" * 20_000 + b"\0"), pid % 3 == 0) for pid in range(200)]
    frames = [*map(b"".join, wire.event_frames(7, itertools.starmap(wire.event, events)))]
    assert 200 * 20_000 / wire._PIECE <= len(frames) <= 40
    assert all(len(frame) <= wire.HEADER.size + wire._PIECE for frame in frames)
    assert received(frames) == events


def test_events_that_fill_a_frame_to_the_byte() -> None:
    half = bytes(wire._PIECE // 2)
    frames = [*map(b"".join, wire.event_frames(7, [half, half, half]))]
    assert [len(frame) - wire.HEADER.size for frame in frames] == [wire._PIECE, wire._PIECE // 2]


def test_event_that_is_a_byte_too_long_for_its_frame_goes_into_the_next() -> None:
    half = bytes(wire._PIECE // 2)
    frames = [*map(b"".join, wire.event_frames(7, [half, half + b"\0"]))]
    assert [len(frame) - wire.HEADER.size for frame in frames] == [wire._PIECE // 2, wire._PIECE // 2 + 1]


def test_what_a_buffer_held_is_cut_between_its_records_and_nothing_is_left_out() -> None:
    one, failed = (wire.event(kernel_record(kind, argv=b"x" * 60_000)) for kind in (wire.KIND_EXEC, wire.KIND_ATTEMPT))
    said = wire.EVENT.pack(2, 24, 0) + bytes(12)  # PERF_RECORD_LOST
    taken = one + said + one + failed + one
    pieces = [*wire.pieces(taken)]
    assert [(piece.number, piece.attempts) for piece in pieces] == [(2, False), (2, True)]
    assert b"".join(piece.data for piece in pieces) == taken
    assert [*wire.pieces(b"")] == []


def test_records_of_one_tree_that_follow_each_other_are_one_run() -> None:
    def of(root: int, kind: int = wire.KIND_EXEC) -> bytes:
        return wire.event(kernel_record(kind, slot=(root, 1, 77, 1)))

    said = wire.EVENT.pack(2, 24, 0) + bytes(12)
    taken = [of(1), of(1, kind=wire.KIND_ATTEMPT), of(2), of(1), said, of(1), said, said, of(3)]
    (piece,) = wire.pieces(b"".join([*taken, said]))
    found = [(root, [*wire.split_events(run.data)], run.number, run.attempts) for root, run in wire.runs(piece)]
    assert [(root, number, attempts) for root, _, number, attempts in found] == [
        (1, 2, True),
        (2, 1, False),
        (1, 1, False),
        (1, 1, False),
        (3, 1, False),
    ]
    assert [wire.event(*one) for _, events, _, _ in found for one in events] == [one for one in taken if one != said]
    assert all(len(events) == number for _, events, number, _ in found)


@pytest.mark.parametrize("kind", [wire.KIND_EXEC, wire.KIND_ATTEMPT])
def test_what_is_in_several_trees_becomes_a_record_for_each(kind: int) -> None:
    """A root that has gone leaves an empty slot before others."""
    slots = [(1, 900, 77, 5), (0, 0, 0, 0), (2, 950, 78, 6), (0, 0, 0, 0), (0, 0, 0, 0), (3, 0, 79, 7)]
    numbers = [(77, 7), (0, 0), (5, 1), (0, 0), (0, 0), (2, wire.NOT_KNOWN)]
    of_each = [
        kernel_record(kind, slot=slot, seen=seen, stopped=stopped)
        for slot, seen, stopped in zip(slots, numbers, [2, 0, 1, 0, 0, 2], strict=True)
        if slot[0]
    ]
    pids, ppids = zip(*numbers, strict=True)
    nested = wire.NESTED.pack(wire.KIND_NESTED, 1 << 2, *itertools.chain(*slots), *pids, *ppids) + of_each[0]
    assert [*wire.unnested(nested)] == [*zip([1, 2, 3], of_each, strict=True)]
    before, after = (wire.event(kernel_record(pid=pid)) for pid in (1, 2))
    (piece,) = wire.pieces(before + wire.event(nested) + after)
    assert piece.number == 3
    runs = [(root, bytes(run.data), run.number, run.attempts) for root, run in wire.runs(piece)]
    attempts = kind == wire.KIND_ATTEMPT
    expected = [(root, wire.event(record), 1, attempts) for root, record in zip([1, 2, 3], of_each, strict=True)]
    assert runs == [(1, before, 1, False), *expected, (1, after, 1, False)]


def test_what_is_no_record_is_skipped() -> None:
    said = wire.EVENT.pack(2, 24, 0) + bytes(12)
    assert [*wire.split_events(said + wire.event(kernel_record()) + said)] == [(kernel_record(), False)]


def test_what_is_packed_is_what_it_was() -> None:
    events = b"".join(wire.event(kernel_record(pid=pid)) for pid in range(500))
    packed = wire.pack(events)
    assert len(packed) < len(events) / 10
    assert wire.events_of(wire.Frame(wire.PACKED, 1, packed)) == events
    assert wire.events_of(wire.Frame(wire.EVENTS, 1, events)) == events


@pytest.mark.parametrize(
    "payload",
    [b"", b"no zlib", wire.pack(b"x" * 1000)[:-1], wire.pack(bytes(wire.MAX_REPLY + 1))],
    ids=["empty", "garbage", "cut", "too long"],
)
def test_what_can_not_be_unpacked(payload: bytes) -> None:
    with pytest.raises(wire.WireError, match="packed"):
        wire.events_of(wire.Frame(wire.PACKED, 1, payload))


WHOLE_EVENT = wire.event(bytes(wire.HEAD.size))


@pytest.mark.parametrize(
    "payload",
    [
        b"\0",
        WHOLE_EVENT[: wire.EVENT.size - 1],
        WHOLE_EVENT[:-1],
        WHOLE_EVENT + b"\0",
        WHOLE_EVENT + WHOLE_EVENT[:-1],
        wire.EVENT.pack(wire.WHOLE, 0, 0),
        wire.EVENT.pack(2, 0, 0),
        wire.EVENT.pack(2, 11, 0),
        wire.EVENT.pack(2, 13, 0),
        wire.event(bytes(wire.HEAD.size - 1)) + bytes(wire.HEAD.size),
        wire.EVENT.pack(wire.WHOLE, len(WHOLE_EVENT), wire.HEAD.size + 1) + bytes(wire.HEAD.size),
        wire.EVENT.pack(wire.HEAD_ALONE, 0xFFFF, wire.HEAD.size) + bytes(wire.HEAD.size),
        wire.EVENT.pack(wire.WHOLE, len(WHOLE_EVENT), (1 << 32) - 1) + bytes(wire.HEAD.size),
    ],
    ids=lambda payload: f"{len(payload)} bytes",
)
def test_events_that_are_cut_short(payload: bytes) -> None:
    with pytest.raises(wire.WireError, match="cut short"):
        list(wire.split_events(payload))


# ---- layout, and the peer ----


def test_record_head_has_the_kernel_sides_layout() -> None:
    assert wire.HEADER.size == 12
    assert (wire.ROOT_AT, wire.COMMAND_AT, wire.HEAD.size) == (64, 96, 136)
    assert wire.ROOT.unpack_from(kernel_record(slot=(11, 2, 3, 4)), wire.ROOT_AT) == (11,)


def test_credentials_are_the_peers() -> None:
    here, there = socket.socketpair()
    with here, there:
        assert peers.credentials(here) == (os.getpid(), os.geteuid(), os.getegid())


ATTEMPT = kernel_record(
    wire.KIND_ATTEMPT, uid=1000, path=b"/no\0", components=b"", cwd=b"", argv=b"no\0secret\0", error=2
)
BORROWED = kernel_record(
    wire.KIND_ATTEMPT, uid=1000, path=b"/no\0", components=b"", cwd=b"", argv=b"no\0secret\0", error=2,
    flags=wire.FLAG_BORROWED,
)  # fmt: skip
EXEC = kernel_record(uid=0, argv=b"git\0secret\0")


@pytest.mark.parametrize(
    ("record", "uid", "whole"),
    [
        (ATTEMPT, 1000, True),
        (ATTEMPT, 1001, False),
        (ATTEMPT, 0, True),
        (BORROWED, 1000, False),
        (BORROWED, 1001, False),
        (BORROWED, 0, True),
        (EXEC, 1000, True),  # /proc shows its arguments to all
        (ATTEMPT[: wire.HEAD.size], 1001, True),  # the rest was lost
    ],
)
def test_arguments_of_what_failed_are_shown_to_their_user(record: bytes, uid: int, whole: bool) -> None:
    if len(record) > wire.HEAD.size:
        record += b"\0" * 4  # as it may be filled up
    shown = wire.shown_to(uid, record)
    assert (shown == record) is whole
    if not whole:
        assert b"secret" not in shown
        event = event_of(shown, 1, lost=False)
        assert isinstance(event, Exec)
        assert (event.command.path, event.error, event.command.argv, event.uid) == ("/no", "ENOENT", None, 1000)

"""Whatever bytes come over the wire, they are read right or refused: frames, events and kernel records."""

from __future__ import annotations

import contextlib
import errno
import itertools
import sys
import tracemalloc

import pytest
from fakes import event_of, exec_event, kernel_record
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_execprobe.helper import wire
from pytest_execprobe.source.decode import arguments_at
from pytest_execprobe.source.events import Blind, Branch, Ended, Event, Exec

fast = settings(deadline=None, max_examples=150)

LIMIT = 200
ALLOWED = frozenset((wire.SYNC, wire.WAIT))
U32, U64 = (1 << 32) - 1, (1 << 64) - 1

frames = st.builds(wire.Frame, st.sampled_from(sorted(ALLOWED)), st.integers(0, U32), st.binary(max_size=LIMIT))
cuts = st.lists(st.integers(0, 4 * LIMIT), max_size=12)


def sent(frame: wire.Frame) -> bytes:
    return wire.raw_frame(frame.type, frame.request, frame.payload)


def pieces(stream: bytes, at: list[int]) -> list[bytes]:
    """A stream, cut at some places, perhaps into empty pieces."""
    edges = [0, *sorted(place % (len(stream) + 1) for place in at), len(stream)]
    return [stream[start:end] for start, end in itertools.pairwise(edges)]


def read(reader: wire.Reader, parts: list[bytes]) -> tuple[list[wire.Frame], bool]:
    """The frames, and whether the stream was refused in the end."""
    found: list[wire.Frame] = []
    try:
        for part in parts:
            found += reader.feed(part)
    except wire.WireError:
        return found, True
    return found, False


# ---- frames ----


@fast
@given(st.lists(frames, max_size=8), cuts)
def test_frames_are_read_the_same_however_they_are_cut(given_frames: list[wire.Frame], at: list[int]) -> None:
    stream = b"".join(map(sent, given_frames))
    assert read(wire.Reader(ALLOWED, LIMIT), pieces(stream, at)) == (given_frames, False)


@fast
@given(st.lists(frames, max_size=4), frames, st.data())
def test_frame_that_is_cut_off_is_waited_for(before: list[wire.Frame], last: wire.Frame, data: st.DataObject) -> None:
    whole = sent(last)
    kept = data.draw(st.integers(0, len(whole) - 1))
    stream = b"".join(map(sent, before)) + whole[:kept]
    reader = wire.Reader(ALLOWED, LIMIT)
    assert read(reader, [stream]) == (before, False)
    assert reader.feed(whole[kept:]) == [last]


bad_headers = st.one_of(
    st.binary(min_size=2, max_size=2).filter(lambda magic: magic != wire.MAGIC).map(lambda magic: (0, magic)),
    st.integers(0, 255).filter(lambda version: version != wire.VERSION).map(lambda version: (2, bytes([version]))),
    st.integers(0, 255).filter(lambda type: type not in ALLOWED).map(lambda type: (3, bytes([type]))),
    st.integers(LIMIT + 1, U32).map(lambda length: (8, length.to_bytes(4, "little"))),
)


@fast
@given(st.lists(frames, max_size=4), frames, bad_headers, st.binary(max_size=50), cuts)
def test_wrong_header_is_refused_and_all_before_it_is_read(
    before: list[wire.Frame], frame: wire.Frame, wrong: tuple[int, bytes], after: bytes, at: list[int]
) -> None:
    place, value = wrong
    header = bytearray(sent(frame)[: wire.HEADER.size])
    header[place : place + len(value)] = value
    good = b"".join(map(sent, before))
    reader = wire.Reader(ALLOWED, LIMIT)
    assert read(reader, pieces(good, at)) == (before, False)
    assert reader.feed(bytes(header[:-1])) == []  # no header is judged before all of it is there
    with pytest.raises(wire.WireError):
        reader.feed(bytes(header[-1:]) + after)


@fast
@given(st.binary(max_size=400), cuts)
def test_garbage_is_refused_or_waited_for_and_cuts_make_no_difference(stream: bytes, at: list[int]) -> None:
    in_pieces, refused = read(wire.Reader(ALLOWED, LIMIT), pieces(stream, at))
    at_once, refused_at_once = read(wire.Reader(ALLOWED, LIMIT), [stream])
    assert refused is refused_at_once
    assert at_once == ([] if refused else in_pieces)


@fast
@given(st.lists(frames, max_size=6), st.data())
def test_one_wrong_byte_never_raises_anything_else(given_frames: list[wire.Frame], data: st.DataObject) -> None:
    stream = bytearray(b"".join(map(sent, given_frames)))
    if stream:
        stream[data.draw(st.integers(0, len(stream) - 1))] = data.draw(st.integers(0, 255))
    found, _ = read(wire.Reader(ALLOWED, LIMIT), [bytes(stream)])
    for frame in found:
        with contextlib.suppress(wire.WireError):
            assert isinstance(frame.json(), dict)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, U32))
def test_nothing_is_allocated_for_what_a_header_merely_announces(length: int) -> None:
    header = wire.HEADER.pack(wire.MAGIC, wire.VERSION, wire.SYNC, 1, length)
    reader = wire.Reader(ALLOWED, U32)
    tracemalloc.start()
    try:
        assert reader.feed(header) == ([] if length else [wire.Frame(wire.SYNC, 1, b"")])
        assert reader.feed(bytes(min(1, max(0, length - 1)))) == []
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 20_000


def test_what_the_reader_keeps_is_no_more_than_came() -> None:
    """Of a long stream of frames that were read, nothing is left."""
    reader = wire.Reader(ALLOWED, LIMIT)
    stream = sent(wire.Frame(wire.SYNC, 1, bytes(LIMIT)))
    for _ in range(1000):
        reader.feed(stream)
    assert len(reader._rest) == 0
    assert sys.getsizeof(reader._rest) < 10 * len(stream)


@fast
@given(st.binary(max_size=100))
def test_payload_is_an_object_or_refused(payload: bytes) -> None:
    frame = wire.Frame(wire.SYNC, 1, payload)
    try:
        fields = frame.json()
    except wire.WireError:
        return
    for name in fields:
        with contextlib.suppress(wire.WireError):
            assert 0 <= wire.number(fields, name, 0, 10) <= 10


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@fast
@given(json_values, st.floats(allow_nan=False), st.floats(allow_nan=False))
def test_number_is_within_its_bounds_or_refused(value: object, low: float, high: float) -> None:
    try:
        number = wire.number({"n": value}, "n", low, high)
    except wire.WireError:
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        assert not (is_number and low <= value <= high)  # type: ignore[operator]
    else:
        assert number is value
        assert low <= number <= high


# ---- events ----

events = st.lists(
    st.tuples(st.integers(0, 3000).map(lambda more: bytes(wire.HEAD.size + more)), st.booleans()), max_size=30
)


@fast
@given(events, st.integers(0, U32), cuts)
def test_events_go_there_and_back(given_events: list[tuple[bytes, bool]], request: int, at: list[int]) -> None:
    stream = b"".join(itertools.chain(*wire.event_frames(request, itertools.starmap(wire.event, given_events))))
    found, refused = read(wire.Reader(wire.REPLIES, wire.MAX_REPLY), pieces(stream, at))
    assert not refused
    assert {(frame.type, frame.request) for frame in found} <= {(wire.EVENTS, request)}
    assert [event for frame in found for event in wire.split_events(frame.payload)] == given_events


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(1, wire._PIECE), max_size=6))
def test_no_frame_of_events_is_over_the_limit_or_could_have_been_one_with_the_next(sizes: list[int]) -> None:
    given_frames = [
        b"".join(frame) for frame in wire.event_frames(1, [bytes([n]) * size for n, size in enumerate(sizes)])
    ]
    lengths = [len(frame) - wire.HEADER.size for frame in given_frames]
    assert all(length <= wire._PIECE for length in lengths)
    assert sum(lengths) == sum(sizes)
    firsts = [sizes[frame[wire.HEADER.size]] for frame in given_frames]
    assert all(one + first > wire._PIECE for one, first in zip(lengths, firsts[1:], strict=False))


@fast
@given(st.binary(max_size=800))
def test_garbage_for_events_is_refused_or_whole(payload: bytes) -> None:
    found: list[tuple[bytes, bool]] = []
    with contextlib.suppress(wire.WireError):
        for record, lost in wire.split_events(payload):
            found.append((record, lost))
    assert sum(wire.EVENT.size + len(record) for record, _ in found) <= len(payload)
    assert all(len(record) >= wire.HEAD.size for record, _ in found)


# ---- kernel records ----

ROOT = 9
names = st.binary(max_size=12).map(lambda name: name.replace(b"\0", b"."))
some_names = st.lists(names, max_size=5)
folders = st.lists(names.filter(lambda name: name not in (b"/", b".", b"..")), max_size=5)


def text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def joined(last_first: list[bytes]) -> str:
    return "/" + "/".join(text(name) for name in reversed(last_first))


def packed(last_first: list[bytes], end: bytes) -> bytes:
    return b"".join(name + b"\0" for name in (*last_first, end))


@fast
@given(st.data())
def test_every_field_of_an_exec_comes_out_as_it_went_in(data: st.DataObject) -> None:
    draw = data.draw
    at, entered, parent_at, previous_at, born = draw(st.tuples(*[st.integers(1, U64)] * 5))
    parent_pid, pid, ppid, uid, gid, top, thread = draw(st.tuples(*[st.integers(0, U32)] * 7))
    parent_at, previous_at = draw(st.sampled_from([(parent_at, previous_at), (0, previous_at), (parent_at, 0), (0, 0)]))
    path, interpreter = draw(names), draw(st.none() | names)
    executable, cwd, argv = draw(folders), draw(folders), draw(some_names)
    whole = draw(st.booleans())
    comm = draw(names)
    flags = draw(st.integers(0, 63)) & ~wire.FLAG_ARGV0_KEPT
    scripts = [] if interpreter is None else draw(st.lists(folders, max_size=2))
    *nested, script = scripts or [[]]
    known_scripts = bool(scripts and flags & wire.FLAG_SCRIPTS_ALL)
    levels = len(scripts) if known_scripts else None
    seen = seen_pid, seen_ppid = draw(st.tuples(st.integers(1, U32 - 1) | st.just(pid), st.integers(0, U32)))
    raw = kernel_record(
        flags=flags,
        at=at,
        entered=entered,
        parent=(parent_pid, parent_at),
        previous_at=previous_at,
        pid=pid,
        ppid=ppid,
        uid=uid,
        gid=gid,
        comm=comm,
        slot=(ROOT, born, top, thread),
        seen=seen,
        path=path + b"\0",
        interpreter=b"" if interpreter is None else interpreter + b"\0",
        components=packed(executable, b"/" if whole else b".."),
        cwd=packed(cwd, b".." if whole else b"/"),
        scripts=b"".join(packed(file, b"/") for file in scripts),
        argv=b"".join(word + b"\0" for word in argv),
    )
    expected = exec_event(
        at=at,
        entered=entered,
        pid=pid,
        branch=Branch(born, top, thread),
        parent=(parent_pid, parent_at) if parent_at else None,
        previous=(pid, previous_at) if previous_at else None,
        seen_pid=None if seen_pid == pid else seen_pid,
        ppid=None if seen_ppid == wire.NOT_KNOWN else seen_ppid,
        uid=uid,
        gid=gid,
        comm=text(comm),
        path=text(path),
        executable=joined(executable) if whole else None,
        cwd=None if whole else joined(cwd),
        interpreter=None if interpreter is None else text(interpreter),
        script=joined(script) if known_scripts else None,
        nested=() if interpreter is None else tuple(map(joined, nested)) if known_scripts else None,
        argv=None if flags & wire.FLAG_ARGV_UNREAD else tuple(map(text, argv)),
        argv_truncated=bool(flags & wire.FLAG_ARGV_CUT),
        arguments_at=1
        if interpreter is None
        else arguments_at(
            None if flags & wire.FLAG_ARGV_UNREAD else tuple(map(text, argv)), text(path), levels, argv0_kept=False
        ),
        entry_unseen=bool(flags & wire.FLAG_ENTRY_UNSEEN),
    )
    assert event_of(raw, ROOT, lost=False) == expected
    # Cut to its head, and marked as lost, it is the same exec, of which only that is known.
    known = exec_event(
        at, entered, pid, expected.branch, parent=expected.parent, previous=expected.previous, lost=True,
        entry_unseen=expected.entry_unseen,
    )  # fmt: skip
    assert event_of(raw[: wire.HEAD.size], ROOT, lost=True) == known
    assert event_of(raw, ROOT, lost=True) == known
    assert event_of(raw, ROOT + 1, lost=False) is None


@fast
@given(
    st.sampled_from([*errno.errorcode, 512, 513, 9999]),
    names,
    st.integers(-200, 200),
    st.lists(names, min_size=1, max_size=4),
    st.integers(0, 5),
)
def test_failed_attempt_comes_out_as_it_went_in(
    error: int, path: bytes, dirfd: int, argv: list[bytes], cut: int
) -> None:
    words = b"".join(word + b"\0" for word in argv)
    words = words[: max(1, len(words) - cut)]
    flags = wire.FLAG_ARGV_CUT if cut else 0
    raw = kernel_record(
        wire.KIND_ATTEMPT, error=error, path=path + b"\0", components=b"", cwd=b"", dirfd=dirfd, argv=words, flags=flags
    )
    event = event_of(raw, 1, lost=False)
    assert isinstance(event, Exec)
    assert event.error is not None
    assert event.error[0] == "E"
    assert event.command.argv is not None
    assert "\0".join(event.command.argv) == text(words[:-1] if words.endswith(b"\0") else words)
    relative = not path.startswith(b"/") and dirfd != -100
    assert event.command.path == (f"/dev/fd/{dirfd}" + (f"/{text(path)}" if path else "") if relative else text(path))
    assert event.command.argv_truncated is bool(cut)


@fast
@given(st.integers(1, U64), st.integers(0, U64), st.integers(0, U32), st.integers(-(1 << 31), (1 << 31) - 1))
def test_end_of_a_process_comes_out_as_it_went_in(at: int, previous_at: int, pid: int, status: int) -> None:
    raw = kernel_record(wire.KIND_EXIT, at=at, previous_at=previous_at, pid=pid, error=status)
    image = (pid, previous_at) if previous_at else None
    assert event_of(raw, 1, lost=False) == Ended(at, pid, Branch(900, 77, 5), image, status)


heads = st.builds(
    lambda kind, flags, lengths, rest: (kind, flags, lengths, rest),
    st.sampled_from([*range(7), U32]),
    st.integers(0, 127),
    st.tuples(*[st.one_of(st.integers(0, 60), st.integers(0, U32))] * 4),
    st.binary(max_size=200),
)


@fast
@given(heads, st.booleans(), st.integers(1, 300))
def test_record_with_any_head_is_refused_or_an_event(
    given_head: tuple[int, int, tuple[int, ...], bytes], lost: bool, kept: int
) -> None:
    kind, flags, lengths, rest = given_head
    fields = [*wire.HEAD.unpack_from(kernel_record())]
    fields[0], fields[-7] = kind, flags
    fields[-4:] = lengths
    raw = wire.HEAD.pack(*fields) + rest
    for record in (raw, raw[:-kept]):
        event: Event | None = None
        with contextlib.suppress(wire.WireError):
            event = event_of(record, 1, lost)
            assert isinstance(event, (Exec, Ended, Blind))
        if isinstance(event, Exec) and not lost:
            assert sum(lengths[:3]) <= lengths[3] <= len(record) - wire.HEAD.size  # what is left are paths of files


@fast
@given(names, some_names, st.data())
def test_record_that_was_cut_anywhere_is_refused(path: bytes, argv: list[bytes], data: st.DataObject) -> None:
    raw = kernel_record(path=path + b"\0", argv=b"".join(word + b"\0" for word in argv))
    cut = raw[: data.draw(st.integers(0, len(raw) - 1))]
    with pytest.raises(wire.WireError):
        event_of(cut, 1, lost=False)
    if len(cut) < wire.HEAD.size:
        with pytest.raises(wire.WireError):
            event_of(cut, 1, lost=True)


@fast
@given(st.binary(max_size=2 * wire.HEAD.size), st.integers(1, 5), st.booleans())
def test_garbage_for_a_record_is_refused_or_an_event_or_not_of_this_tree(raw: bytes, root: int, lost: bool) -> None:
    with contextlib.suppress(wire.WireError):
        assert isinstance(event_of(raw, root, lost), (Exec, Ended, Blind, type(None)))

"""The wire between the plugin and the probe helper: frames, and the layout of a kernel record.

A frame is a header (magic, version, type, request number, payload length) and a payload. Control payloads are
JSON objects, events are kernel records as a perf buffer has them. Every length is bounded before it is believed.
"""

from __future__ import annotations

import struct
import zlib
from json import dumps, loads
from typing import Any, Dict, Iterable, Iterator, List, NamedTuple, Optional, Tuple, Union

VERSION = 8
MAGIC = b"xp"
HEADER = struct.Struct("<2sBBII")

#: What a client may send in one frame, and what a helper may.
MAX_REQUEST = 4096
MAX_REPLY = 1 << 20

# From client to helper. Each is answered by one frame of the same request number (SYNC and WAIT: by any number of
# EVENTS and PACKED and then SYNCED), or by ERROR.
CLAIM = 1  # {"child": bool, "untraced"}   -> CLAIMED: become a root, first step. A child was forked by another root;
#            untraced are names and paths of programs, for helper.probe.Probe.leave
ARM = 2  # {"fresh": bool}                 -> ARMED: the name was taken on, second step. And, of a client that knows
#          what is its, {"begun", "since", "left"}: when itself had begun, in clock ticks since boot, and that of what
#          had begun before ``since`` only those in ``left`` are its, a list of [the kernel's pid, when it had begun]
SYNC = 3  # {"timeout": seconds, "asked"}  -> EVENTS..., SYNCED: all up to when it was asked (ns); without that, to now
WAIT = 4  # {"timeout": seconds}           -> EVENTS..., SYNCED: as soon as there is something new
PAGES = 6  # {}                            -> PAGES_GIVEN: memory that tells whether there is something new
STOP = 7  # as in helper.stopping         -> STOPPING: what is to be killed before it runs
RUNNING = 5  # {"since": ns}               -> PROCESSES: of its tree, in branches that were begun from then on

# From helper to client.
WELCOME = 16  # what the probe is, unasked, once it is ready
FAILED = 17  # {"code", "reason", "remedy"}: there will be no probe, or none for this client
CLAIMED = 18  # {"name"}: the name to take on for a moment
ARMED = 19  # {"root", "armed_at", "pid", "unadopted", "orphans", "listed", "childless", "hidden"}: how many descendants
#             can't be followed, and how many processes may be descendants; ORPHANS_LISTED of these, as [its pid as the
#             client sees it or null, its age in seconds, its command line or null]; whether no descendant was
#             there; and whether processes are hidden from the helper
EVENTS = 20  # records
SYNCED = 21  # {"at", "in_flight", "unplaced", "unplaced_from", "skipped", "unbounded", "seen", "entered"}: the last two
#              are the sums of those counters as long as nothing happens that is not in the answer, or -1
ERROR = 22  # {"reason"}
PROCESSES = 23  # {"count", "listed", "all"}: how many have not ended, the first LISTED of them, and whether it is
#                 certain that there were no more. Each is a list: its pid as the client sees it (0: not known), the
#                 kernel's, when it was forked (0: before the client registered), pid and time of the image that it
#                 runs, whether it has executed that itself, and its name
PAGES_GIVEN = 24  # {"cpus"}, and two descriptors: the counters of that many CPUs, and helper.life. No descriptors where
#                   the client has to ask each time. The counters are its tree's as long as that is as it was before a
#                   SYNC was asked that has been answered
STOPPING = 26  # {}: that is in force
PACKED = 25  # what would be EVENTS, by zlib

REQUESTS = frozenset((CLAIM, ARM, SYNC, WAIT, RUNNING, PAGES, STOP))
REPLIES = frozenset((WELCOME, FAILED, CLAIMED, ARMED, EVENTS, SYNCED, ERROR, PROCESSES, PAGES_GIVEN, PACKED, STOPPING))

LISTED = 256
ORPHANS_LISTED = 5
COMMAND_MAX = 200  # characters
SECCOMP_DATA = 0x7870  # of the filter that has a tracer see each exec begin: other filters have other data

#: bpf/abi.h, struct counters, of one CPU: what helper.probe.Counts has of it.
COUNTERS = struct.Struct("<6Q16xQ56x")
SEEN_AND_ENTERED = struct.Struct("<24xQQ88x")  # of the same
MUTEX = 40  # bytes, of a pthread_mutex_t
LIFE = MUTEX + 8  # with how many clients were let go

# One event in an EVENTS payload, as a perf buffer has it (uapi/linux/perf_event.h): what it is, its size with this, and
# that of the record, of which up to seven bytes are filling. What is neither of these two is skipped.
EVENT = struct.Struct("<I2xHI")
WHOLE = 9  # PERF_RECORD_SAMPLE
HEAD_ALONE = 1 << 16  # all but its head was lost. No type of the kernel's
_WALK = struct.Struct("<I2xH4xI")  # with the record's kind
_ROOT = struct.Struct("<I2xH4xI60xQ")  # and its root
_PIECE = 1 << 17  # bytes: so much is read and sent at once, and copied while it is incomplete

SLOTS = 6  # of a process: in so many trees it can be

# bpf/abi.h, struct head: the process, its slot, its pid and its parent's as the root sees them, and the command.
_PROCESS, _SLOT, _NUMBERS, _COMMAND = "IiQQQQIIIIII", "QQII", "II", "Ii16sIIII"
HEAD = struct.Struct("<" + _PROCESS + _SLOT + _NUMBERS + _COMMAND)
ROOT = struct.Struct("<Q")
ROOT_AT = struct.calcsize("<" + _PROCESS)
#: Of a head what is not the same for each root: stopped, its slot and numbers.
_SHARE = struct.Struct("<I" + _SLOT + _NUMBERS)
_SHARE_AT = ROOT_AT - 4
#: bpf/abi.h, struct nested, which the helper takes from in front of records.
NESTED = struct.Struct("<II" + _SLOT * SLOTS + "I" * 2 * SLOTS)
#: What is the same for execs of one command, and goes on behind the head.
COMMAND = struct.Struct("<" + _COMMAND)
COMMAND_AT = HEAD.size - COMMAND.size
#: Of an event in an EVENTS payload what EVENT has, and the head with no more of the command than flags and data_len.
FIRST = struct.Struct(EVENT.format + _PROCESS + _SLOT + _NUMBERS + "I32xI")

NOT_KNOWN = 0xFFFFFFFF  # of a number of a process

KIND_EXEC = 1
KIND_ATTEMPT = 2
KIND_EXIT = 3
KIND_UNFOLLOWED = 4
KIND_UNMARKED = 5
KIND_UNTRACED = 6  # as an exec's, which has a record of its own

KIND_NESTED = 7  # no record

STOPPED_FOR_THIS, STOPPED_FOR_OTHERS = 1, 2  # roots

FLAG_ARGV_CUT = 1
FLAG_ARGV_UNREAD = 2
FLAG_ENTRY_UNSEEN = 4
FLAG_SCRIPTS_ALL = 8
FLAG_ARGV0_KEPT = 16
FLAG_BORROWED = 32
FLAG_PRIVILEGE_LOST = 64  # of a setuid or setgid program: it was traced, and so has no other rights than its caller

_NUMBER = struct.Struct("<I")
_UID_AT = struct.calcsize("<IiQQQQIII")
_ARGV_LENGTHS = struct.Struct("<II")  # argv_len and data_len, where it ends
_ARGV_LENGTHS_AT = HEAD.size - _ARGV_LENGTHS.size

Buffer = Union[bytes, memoryview]


class WireError(Exception):
    """The peer sent what this protocol does not allow."""


class Frame(NamedTuple):
    type: int
    request: int
    payload: bytes

    def json(self) -> Dict[str, Any]:
        """The payload of a control frame. Raises WireError if it is not a JSON object."""
        try:
            value = loads(self.payload.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise WireError("a frame's payload is not JSON") from error
        if not isinstance(value, dict):
            raise WireError("a frame's payload is not a JSON object")
        return value


def frame(type: int, request: int, payload: Optional[Dict[str, Any]] = None) -> bytes:
    return raw_frame(type, request, dumps(payload or {}).encode("utf-8"))


def failed(code: str, reason: str, remedy: str = "") -> bytes:
    """There is no probe, or none for this client. ``code`` is for programs, the others are for people."""
    return frame(FAILED, 0, {"code": code, "reason": reason[:4000], "remedy": remedy})


def raw_frame(type: int, request: int, payload: bytes) -> bytes:
    return header(type, request, len(payload)) + payload


def header(type: int, request: int, length: int) -> bytes:
    """What is before a payload of this length."""
    return HEADER.pack(MAGIC, VERSION, type, request, length)


def cut(data: bytes, allowed: "frozenset[int]", limit: int) -> Tuple[List[Frame], bytes]:
    """The frames that are whole in a stream of bytes, and the rest of it. Raises WireError.

    ``allowed`` are the frame types that the peer may send and ``limit`` is the longest payload, in bytes.
    """
    frames = []
    at = 0
    while len(data) - at >= HEADER.size:
        magic, version, type, request, length = HEADER.unpack_from(data, at)
        if magic != MAGIC:
            raise WireError("the peer does not speak this protocol")
        if version != VERSION:
            raise WireError("the peer speaks version %d of this protocol, not %d" % (version, VERSION))
        if type not in allowed:
            raise WireError("a frame of type %d is not expected here" % type)
        if length > limit:
            raise WireError("a frame of %d bytes is over the limit of %d" % (length, limit))
        end = at + HEADER.size + length
        if len(data) < end:
            break
        frames.append(Frame(type, request, data[at + HEADER.size : end]))
        at = end
    return frames, data[at:]


class Reader:
    """Cuts what comes piece by piece into frames: :func:`cut` says which."""

    def __init__(self, allowed: "frozenset[int]", limit: int) -> None:
        self._allowed = allowed
        self._limit = limit
        self._rest = b""

    def feed(self, data: bytes) -> List[Frame]:
        """The frames that are complete now. Raises WireError; the stream is of no use after that."""
        frames, self._rest = cut(self._rest + data, self._allowed, self._limit)
        return frames


def event(record: bytes, lost: bool = False) -> bytes:
    """One of EVENTS; ``lost``: it is a head alone."""
    size = EVENT.size + len(record)
    return EVENT.pack(HEAD_ALONE if lost else WHOLE, size, len(record)) + record


class Piece(NamedTuple):
    """Some EVENTS, how many records there are, and whether any of them is of an exec that failed."""

    data: Buffer
    number: int
    attempts: bool


def pieces(taken: bytes) -> Iterator[Piece]:
    """What a perf buffer held, cut between its records: of each nothing is looked at but its size and kind."""
    begin = at = number = 0
    attempts = False
    end, view = len(taken), memoryview(taken)
    walk = _WALK.unpack_from
    while at < end:
        type, size, kind = walk(taken, at)
        if at + size - begin > _PIECE and at > begin:
            yield Piece(view[begin:at], number, attempts)
            begin, number, attempts = at, 0, False
        if type == WHOLE:
            number += 1
            if kind == KIND_ATTEMPT:
                attempts = True
        at += size
    if begin < end:
        yield Piece(view[begin:], number, attempts)


def runs(piece: Piece) -> Iterator[Tuple[int, Piece]]:
    """The records of a piece: the root of those that follow each other and are for one root, and these."""
    data = bytes(piece.data)
    begin = at = number = of = 0
    attempts = False
    while len(data) - at >= EVENT.size + HEAD.size:
        type, size, kind, root = _ROOT.unpack_from(data, at)
        is_record = type == WHOLE and kind != KIND_NESTED
        if number and (root != of or not is_record):
            yield of, Piece(data[begin:at], number, attempts)
            number, attempts = 0, False
        if is_record:
            if number == 0:
                begin, of = at, root
            number += 1
            attempts = attempts or kind == KIND_ATTEMPT
        elif type == WHOLE:
            for its_root, record in unnested(data[at + EVENT.size : at + size]):
                yield its_root, Piece(event(record), 1, _NUMBER.unpack_from(record)[0] == KIND_ATTEMPT)
        at += size
    if number:
        yield of, Piece(data[begin:at], number, attempts)


def unnested(data: bytes) -> Iterator[Tuple[int, bytes]]:
    """The root and the record of each slot, of a record with a struct nested in front of it."""
    _, stopped, *rest = NESTED.unpack_from(data)
    record = data[NESTED.size :]
    for slot in range(SLOTS):
        its_slot, pid, ppid = rest[4 * slot : 4 * slot + 4], rest[4 * SLOTS + slot], rest[5 * SLOTS + slot]
        if its_slot[0]:
            whose = stopped and (STOPPED_FOR_THIS if stopped >> slot & 1 else STOPPED_FOR_OTHERS)
            share = _SHARE.pack(whose, *its_slot, pid, ppid)
            yield its_slot[0], record[:_SHARE_AT] + share + record[_SHARE_AT + _SHARE.size :]


def event_frames(request: int, events: Iterable[Buffer]) -> Iterator[List[Buffer]]:
    """EVENTS frames of these, in parts, and no longer than can be helped."""
    parts: List[Buffer] = []
    size = 0
    for one in events:
        if parts and size + len(one) > _PIECE:
            yield [header(EVENTS, request, size), *parts]
            parts, size = [], 0
        parts.append(one)
        size += len(one)
    if parts:
        yield [header(EVENTS, request, size), *parts]


def pack(events: bytes) -> bytes:
    """A payload of PACKED. Records of a storm are alike: so little is left of them, and soon, at the lowest level."""
    return zlib.compress(events, 1)


def events_of(frame: Frame) -> bytes:
    """The payload of EVENTS, also where it is PACKED. Raises WireError."""
    if frame.type != PACKED:
        return frame.payload
    unpacking = zlib.decompressobj()
    try:
        payload = unpacking.decompress(frame.payload, MAX_REPLY)
    except zlib.error as error:
        raise WireError("what was packed can't be unpacked") from error
    if not unpacking.eof:
        raise WireError("what was packed is over the limit, or cut short")
    return payload


def shown_to(uid: int, record: bytes) -> bytes:
    """A record as this user may see it: of an exec that failed without its arguments, where the process was another
    user's or had another's rights. /proc shows arguments of programs that run, not those."""
    if uid == 0 or _NUMBER.unpack_from(record)[0] != KIND_ATTEMPT or len(record) <= HEAD.size:
        return record
    (flags,) = _NUMBER.unpack_from(record, COMMAND_AT)
    if not flags & FLAG_BORROWED and _NUMBER.unpack_from(record, _UID_AT)[0] == uid:
        return record
    argv_len, data_len = _ARGV_LENGTHS.unpack_from(record, _ARGV_LENGTHS_AT)
    shown = bytearray(record[: HEAD.size + data_len - argv_len])
    _NUMBER.pack_into(shown, COMMAND_AT, flags | FLAG_ARGV_UNREAD)
    _ARGV_LENGTHS.pack_into(shown, _ARGV_LENGTHS_AT, 0, data_len - argv_len)
    return bytes(shown)


def split_events(payload: bytes) -> Iterator[Tuple[bytes, bool]]:
    """The (record, lost) pairs of an EVENTS payload. Raises WireError."""
    at = 0
    while at < len(payload):
        if len(payload) - at < EVENT.size:
            raise WireError("an event is cut short")
        type, size, length = EVENT.unpack_from(payload, at)
        first = at + EVENT.size
        at += size
        if size < EVENT.size or at > len(payload):
            raise WireError("an event is cut short")
        if type in (WHOLE, HEAD_ALONE):
            if not HEAD.size <= length <= at - first:
                raise WireError("an event is cut short")
            yield payload[first : first + length], type == HEAD_ALONE


def whole(fields: Dict[str, Any], name: str, low: int = 0, high: int = 1 << 63) -> int:
    """A checked whole number of a control frame. Raises WireError."""
    return int(number(fields, name, low, high))


def number(fields: Dict[str, Any], name: str, low: float, high: float) -> float:
    """A checked number of a control frame. Raises WireError."""
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise WireError("the field %r must be a number from %s to %s" % (name, low, high))
    return value

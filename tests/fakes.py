"""What the pure tests are made of: records, evidence, a source of events and a probe, none of which needs a kernel."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pytest_execprobe import ExecLog, ExecRecord, IncompleteLogError
from pytest_execprobe._util.text import Style
from pytest_execprobe.errors import SourceLost
from pytest_execprobe.helper import wire
from pytest_execprobe.helper.bpf import probe as helper_probe
from pytest_execprobe.helper.errors import ProbeError
from pytest_execprobe.helper.probe import Claimed, Counts, Enforced, Missed, Page
from pytest_execprobe.helper.probe import Process as Alive
from pytest_execprobe.helper.probe import Running as Listed
from pytest_execprobe.source.command import Command
from pytest_execprobe.source.decode import Commands, decode
from pytest_execprobe.source.events import LAST, Batch, Branch, Ended, Event, Exec, Orphans, Process, Running
from pytest_execprobe.source.stopping import StopError
from pytest_execprobe.timeline.evidence import Evidence, Lost
from pytest_execprobe.timeline.record import Lineage
from pytest_execprobe.timeline.recorder import Recorder

_serial = itertools.count(1)


# ---- records and logs ----


def record(
    program: str | None = "git",
    *args: str,
    path: str | None = "",
    executable: str | None = "",
    argv: tuple[str, ...] | None = (),
    truncated: bool = False,
    interpreter: str | None = None,
    parent: ExecRecord | None = None,
    previous: ExecRecord | None = None,
    lineage_lost: bool = False,
    direct: bool | None = None,
    error: str | None = None,
    cwd: str | None = None,
    pid: int | None = None,
    at: int | None = None,
    script: str | None = None,
    nested: tuple[str | None, ...] | None = (),
    arguments_at: int | None = 1,
) -> ExecRecord:
    """A record of ``/usr/bin/PROGRAM ARGS``, save what is said to be otherwise."""
    serial = next(_serial)
    if path == "":
        path = None if program is None else f"/usr/bin/{program}"
    command = Command(
        path=path,
        executable=path if executable == "" else executable,
        argv=(program or "?", *args) if argv == () else argv,
        argv_truncated=truncated,
        comm=(program or "")[:15],
        cwd=cwd,
        interpreter=interpreter,
        script=script,
        nested=nested,
        arguments_at=arguments_at,
    )
    command.program = program
    return ExecRecord(
        command,
        pid=40000 + serial if pid is None else pid,
        ppid=None,
        parent=parent,
        depth=1 if parent is None else parent.depth + 1,
        uid=1000,
        gid=1000,
        timestamp_ns=serial * 1000 if at is None else at,
        phase="call",
        begun_by=None,
        error=error,
        exit_code=None,
        signal=None,
        duration_ns=None,
        call_site=None,
        _lineage=Lineage(previous, parent is None if direct is None else direct, lost=lineage_lost),
        _identity=(serial, serial),
    )


def altered(record: ExecRecord, **fields: object) -> ExecRecord:
    """The same record with other values, those of its command and its lineage among them."""
    of_command = {name.lstrip("_"): fields.pop(name) for name in list(fields) if name.lstrip("_") in _OF_COMMAND}
    of_lineage = {name: fields.pop(name) for name in list(fields) if name in _OF_LINEAGE}
    command = record._command
    if of_command or "program" in fields:
        command = dataclasses.replace(command, **of_command)  # type: ignore[arg-type]
        command.program = fields.pop("program", record.program)  # type: ignore[assignment]
    lineage = dataclasses.replace(record._lineage, **of_lineage)  # type: ignore[arg-type]
    return dataclasses.replace(record, _command=command, _lineage=lineage, **fields)  # type: ignore[arg-type]


def script(
    *args: str,
    path: str = "/opt/tools/release.sh",
    shebang: Sequence[str] = ("/bin/sh", "-e"),
    file: str | None = "",
    cwd: str | None = None,
    nested: tuple[str | None, ...] | None = (),
) -> ExecRecord:
    """A record of a script, with argv as the kernel makes it: the interpreter's part first. ``file`` is its own,
    resolved; "" for its path."""
    return record(
        path.rpartition("/")[2],
        path=path,
        executable="/usr/bin/dash",
        interpreter=shebang[0],
        argv=(*shebang, path, *args),
        cwd=cwd,
        script=path if file == "" else file,
        nested=nested,
        arguments_at=len(shebang) + 1,
    )


def evidence(*records: ExecRecord, lost: int = 0, unknown: str | tuple[str, ...] = (), **more: object) -> Evidence:
    why = (unknown,) if isinstance(unknown, str) and unknown else tuple(unknown)
    return Evidence(tuple(records), lost=tuple(Lost(5, True) for _ in range(lost)), unknown=why, **more)  # type: ignore[arg-type]


@dataclass
class FixedWindow:
    """A closed window that holds just this."""

    given: Evidence
    label: str = "the call phase"
    start: int = 0
    style: Style = field(default_factory=Style)
    attempts_refused: str | None = None
    closed: bool = True

    def evidence(self) -> Evidence:
        return self.given

    def tally(self) -> tuple[list[Command], Evidence]:
        return self.given.commands, self.given

    def wait(self, timeout: float) -> bool:  # noqa: ARG002
        return False


def log_of(*records: ExecRecord, lost: int = 0, unknown: str | tuple[str, ...] = (), verbosity: int = 0) -> ExecLog:
    return ExecLog(FixedWindow(evidence(*records, lost=lost, unknown=unknown), style=Style(verbosity)))


def outcome(check: Callable[..., None], *args: object, **kwargs: object) -> bool | None:
    """True if a check passes, False if it certainly does not hold, None if that can't be told."""
    try:
        check(*args, **kwargs)
    except AssertionError:
        return False
    except IncompleteLogError:
        return None
    return True


# ---- a source of events ----

_last_tick = 0
# Not the product's clock, which is under test.
_now = functools.partial(time.clock_gettime_ns, time.CLOCK_MONOTONIC)


def tick() -> int:
    """A moment strictly between whatever read the clock before and whatever reads it after."""
    global _last_tick
    before = _now()
    while (now := _now()) <= max(before, _last_tick):
        pass
    while _now() <= now:
        pass
    _last_tick = now
    return now


_OF_LINEAGE = {field.name for field in dataclasses.fields(Lineage)}
_OF_COMMAND = {field.name for field in dataclasses.fields(Command) if field.init}


def exec_event(at: int, entered: int, pid: int, branch: Branch, *, lost: bool = False, **fields: Any) -> Exec:
    """An exec, with the fields of its command among the others."""
    command = Command(**{name: value for name, value in fields.items() if name in _OF_COMMAND})
    others = {name: value for name, value in fields.items() if name not in _OF_COMMAND}
    return Exec(at, entered, pid, branch, command=None if lost else command, **others)


class FakeSource:
    """A source whose tree runs what a test says, and that fails when a test says so."""

    def __init__(self, *, unadopted: int = 0, attempts_refused: str | None = None) -> None:
        self.pid = os.getpid()
        self.description = {"bcc": "0.0", "kernel": "0.0", "entry": ["played"], "route": "played", "privilege": "none"}
        self.armed_at = tick()
        #: Whether its memory shows that nothing has happened.
        self.shows_nothing = False
        self.unadopted = unadopted
        self.orphans = Orphans()
        self.hidden = False
        self.attempts_refused = attempts_refused
        self.closed = False
        self.syncs = 0
        #: Raised as SourceLost by whatever is asked next.
        self.broken: str | None = None
        #: What a wait brings, one a time: a callable, or None to bring what is new. Without any, time is up at once.
        self.waits: list[Callable[[], None] | None] = []
        #: What a forked child gets, or why it gets none.
        self.child: FakeSource | str | None = None
        #: Whether what a forked child had started already was to be adopted, None before one asks.
        self.childs_were_adopted: bool | None = None
        #: Done the next time that everything is asked for, before it is answered: what goes on meanwhile.
        self.meanwhile: Callable[[], object] | None = None
        #: What was to be stopped before it runs, each time that was said, and since when; and why nothing can be.
        self.stopped: list[tuple[tuple[str, ...], int]] = []
        self.stops_refused: str | None = None
        self.in_flight = 0
        self.unplaced = 0
        #: What has not ended, and how many processes besides that are not listed.
        self.running_now: list[Process] = []
        self.unlisted = 0
        #: Since when branches were begun that were asked for.
        self.asked_since: int | None = None
        self._new: list[Event] = []
        self._given: tuple[object, int, int] = (None, 0, 0)  # a mark, events, and those that are not known

    # What happens.

    def stop(self, patterns: Sequence[str], since: int, timeout: float) -> None:  # noqa: ARG002
        if self.stops_refused is not None:
            raise StopError(self.stops_refused)
        if self.broken is not None:
            raise SourceLost(self.broken)
        self.stopped.append((tuple(patterns), since))

    def runs(
        self,
        program: str,
        *args: str,
        by: Exec | None = None,
        same_branch: bool = True,
        error: str | None = None,
        lost: bool = False,
        cut: bool = False,
        argv0: str | None = None,
    ) -> Exec:
        """An exec now, by a new process: a child of the test's own, or of the process that ``by`` runs in."""
        at = tick()
        pid = next(_serial)
        branch = by.branch if by is not None and same_branch else Branch(born=at, top=pid, thread=1)
        path = f"/usr/bin/{program}"
        command = Command(path, path, (argv0 or program, *args), argv_truncated=cut, comm=program)
        event = Exec(
            at=at,
            entered=at,
            pid=pid,
            branch=branch,
            parent=None if by is None else (by.pid, by.at),
            ppid=1,
            error=error,
            command=None if lost else command,
        )
        self._new.append(event)
        return event

    def ends(self, top: Exec) -> None:
        self._new.append(Ended(tick(), top.branch.top, top.branch))

    def exits(self, run: Exec, status: int = 0) -> None:
        """The process of an exec ends, with a status as wait() has it."""
        self._new.append(Ended(tick(), run.pid, run.branch, (run.pid, run.at), status))

    def leaves(self, run: Exec | None = None, *, forked_from: Exec | None = None, comm: str = "") -> Process:
        """A process that has not ended when that is asked for: one that runs what it has executed, or was forked."""
        image = run or forked_from
        process = Process(
            pid=next(_serial) if run is None else run.pid,
            kernel_pid=next(_serial) if run is None else run.pid,
            image=image and (image.pid, image.at),
            comm=comm or (image.command.comm if image and image.command else "")[:15],
            own_exec=run is not None,
            since=tick() if run is None else run.at,
        )
        self.running_now.append(process)
        return process

    def happens(self, *events: Event) -> None:
        self._new += events

    # What is asked of a source.

    def sync(self, timeout: float, taken: object = LAST) -> Batch:  # noqa: ARG002
        self.syncs += 1
        self._forget(taken)
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()
        return self._batch(tick())

    def shows_nothing_new(self, until: int, taken: object) -> bool:  # noqa: ARG002
        return self.shows_nothing

    def wait(self, timeout: float, taken: object = LAST) -> Batch:  # noqa: ARG002
        self._forget(taken)
        if self.waits:
            news = self.waits.pop(0)
            if news is not None:
                news()
        return self._batch(0)

    def running(self, since: int, timeout: float) -> Running:  # noqa: ARG002
        if self.broken is not None:
            raise SourceLost(self.broken)
        self.asked_since = since
        return Running(len(self.running_now) + self.unlisted, tuple(self.running_now), are_all=not self.unlisted)

    def close(self) -> None:
        self.closed = True

    def part(self, timeout: float) -> None:  # noqa: ARG002
        self.close()

    def in_child(self, *, fresh: bool, timeout: float) -> FakeSource:  # noqa: ARG002
        self.close()
        self.childs_were_adopted = not fresh
        if isinstance(self.child, str):
            raise SourceLost(self.child)
        return self.child or FakeSource()

    def _batch(self, complete_to: int) -> Batch:
        if self.broken is not None:
            raise SourceLost(self.broken)
        events, mark = tuple(self._new), object()
        self._given = (mark, len(events), self.unplaced)
        in_flight = self.in_flight if complete_to else 0
        return Batch(events, complete_to, in_flight, self.unplaced, self.armed_at, tick(), mark=mark)

    def _forget(self, taken: object) -> None:
        mark, events, unplaced = self._given
        if taken is mark or taken is LAST:
            del self._new[:events]
            self.unplaced -= unplaced
            self._given = (None, 0, 0)


class FakeRun:
    """A recorder over fake sources, and tests that begin and end."""

    def __init__(self, *sources: FakeSource) -> None:
        self._sources = list(sources)
        self.source = FakeSource() if not sources else sources[0]
        self.recorder = Recorder(self._connect, style=Style(), timeout=1.0)
        self.recorder.ensure()

    def _connect(self) -> FakeSource:
        self.source = self._sources.pop(0) if self._sources else FakeSource()
        return self.source

    def begin(self, name: str = "test_a", *, in_use: bool = True) -> None:
        """Up to the beginning of the call."""
        self.recorder.begin_test(name)
        self.recorder.in_use = in_use
        self.recorder.begin_phase("setup")
        self.recorder.end_phase()
        self.recorder.begin_phase("call")

    def end(self) -> None:
        """From the call's end to the test's."""
        self.recorder.end_phase()
        self.recorder.begin_phase("teardown")
        self.recorder.end_phase()
        self.recorder.end_test()


# ---- kernel records, as bpf/abi.h lays them out ----


def kernel_record(
    kind: int = wire.KIND_EXEC,
    *,
    flags: int = 0,
    at: int = 2000,
    entered: int = 1000,
    parent: tuple[int, int] = (0, 0),
    previous_at: int = 0,
    pid: int = 77,
    ppid: int = 7,
    uid: int = 1000,
    gid: int = 100,
    error: int = 0,
    dirfd: int = -100,
    comm: bytes = b"git",
    slot: tuple[int, int, int, int] = (1, 900, 77, 5),
    seen: tuple[int, int] | None = None,
    path: bytes = b"/usr/bin/git\0",
    interpreter: bytes = b"",
    components: bytes = b"git\0bin\0usr\0/\0",
    cwd: bytes = b"..\0",
    scripts: bytes = b"",
    argv: bytes = b"git\0fetch\0",
    stopped: int = 0,
) -> bytes:
    """``slot`` is (root, born, top, thread), ``parent`` is (pid, at). Paths' components have the last first, and then
    what tells that they are all. ``seen`` is (pid, ppid) as the root sees them, None: as the kernel does."""
    files = components + cwd + scripts
    data = path + interpreter + files + argv
    head = wire.HEAD.pack(
        kind, error, at, entered, parent[1], previous_at, parent[0], pid, ppid, uid, gid, stopped,
        *slot, *(seen or (pid, ppid)), flags, dirfd, comm, len(path), len(interpreter), len(argv), len(data),
    )  # fmt: skip
    return head + data


def event_of(record: bytes, root: int, lost: bool) -> Event | None:
    """The event that a record tells of."""
    events = decode(wire.event(record, lost), root, Commands())
    assert len(events) < 2
    return events[0] if events else None


# ---- a probe ----


@dataclass
class FakeProbe:
    """What the helper's server asks of the probe; a test plays the kernel. Safe to use from two threads."""

    claims: dict[int, bytes] = field(default_factory=dict)
    withdrawn: list[bytes] = field(default_factory=list)
    left: dict[int, list[str]] = field(default_factory=dict)
    stops: dict[int, Enforced] = field(default_factory=dict)
    #: Why nothing can be stopped.
    stops_refused: str | None = None
    forgotten: list[int] = field(default_factory=list)
    #: Execs in flight: (entered, roots of the process).
    entering: list[tuple[int, tuple[int, ...]]] = field(default_factory=list)
    #: Whether all that was submitted can be drained.
    reconciles: bool = True
    #: Called in the middle of a reconciliation.
    on_reconcile: Callable[[], None] | None = None
    #: Whether roots are refused.
    full: bool = False
    #: Whether what makes a process a root was lost again.
    overwritten: bool = False
    #: Processes by the root of their tree; None where there are some that can't be listed.
    living: dict[int, list[Alive] | None] = field(default_factory=dict)
    #: The process that takes the names that are claimed, by the kernel's number.
    claimant: int = field(default_factory=os.getpid)
    #: What the kernel has skipped the probe for since the last look.
    skips: Missed = field(default_factory=lambda: Missed(0, 0, 0))
    #: The memory of its counters.
    page: Page | None = None

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._readable, self._wakeup = os.pipe()
        os.set_blocking(self._readable, False)
        self._submitted: list[bytes] = []
        self._drained: list[bytes] = []
        self._heads: list[bytes] = []
        self._dropped = self._unlisted = self._blind = 0

    def close(self) -> None:
        os.close(self._readable)
        os.close(self._wakeup)

    # The kernel's side.

    def ring(self) -> None:
        os.write(self._wakeup, b"!")

    def submit(self, *records: bytes) -> None:
        with self._lock:
            self._submitted += records
        self.ring()

    @property
    def has_submitted(self) -> bool:
        """What was not drained yet."""
        return bool(self._submitted)

    def drop(self, *heads: bytes, unlisted: int = 0, blind: int = 0) -> None:
        """Records that found no room; of the unlisted ones not even the heads are left."""
        with self._lock:
            self._heads += heads
            self._dropped += len(heads) + unlisted
            self._unlisted += unlisted
            self._blind += blind
        self.ring()

    # The helper's side.

    def fds(self) -> list[int]:
        return [self._readable]

    def drain(self) -> None:
        try:
            while os.read(self._readable, 4096):
                pass
        except BlockingIOError:
            pass
        with self._lock:
            self._drained += self._submitted
            self._submitted = []

    def take(self) -> list[wire.Piece]:
        records, self._drained = self._drained, []
        return [*wire.pieces(b"".join(map(wire.event, records)))]

    def take_dropped(self) -> list[bytes]:
        with self._lock:
            heads, self._heads = self._heads, []
        return heads

    def counts(self) -> Counts:
        with self._lock:
            nothing = Counts(*[0] * 7)
            return nothing._replace(
                dropped=self._dropped, unlisted=self._unlisted, blind=self._blind, entered=len(self.entering)
            )

    def in_flight(self, before: int, root: int) -> int:
        return sum(at <= before and root in roots for at, roots in list(self.entering))

    @property
    def must_stay(self) -> bool:
        return False

    def interrupt_for(self, fd: int) -> None:
        pass

    def want_wakeup(self, wanted: bool) -> None:
        pass

    def reconcile(self) -> Counts | None:
        if self.on_reconcile is not None:
            self.on_reconcile()
        self.drain()
        return self.counts() if self.reconciles else None

    def missed(self) -> Missed:
        found, self.skips = self.skips, Missed(0, 0, 0)
        return found

    def claim(self, name: bytes, root: int, pid: int) -> bool:  # noqa: ARG002
        self.claims[root] = name
        return True

    def leave(self, root: int, patterns: list[str]) -> None:
        self.left[root] = patterns

    def stop(self, root: int, enforced: Enforced) -> None:
        if self.stops_refused is not None and enforced.denials:
            raise ProbeError("busy", self.stops_refused, "wait")
        self.stops[root] = enforced

    def withdraw(self, name: bytes) -> None:
        self.withdrawn.append(name)

    def claimed(self, root: int) -> Claimed | None:
        return Claimed(_now(), self.claimant, self.full, set()) if root in self.claims else None

    def holds(self, pid: int, root: int) -> bool:
        return pid == self.claimant and root in self.claims and not self.overwritten

    def running(self, root: int, since: int) -> Listed | None:
        living = self.living.get(root, [])
        if living is None:
            return None
        return Listed([process for process in living if process.born >= since], are_all=True)

    def forget_root(self, root: int) -> None:
        self.forgotten.append(root)

    def kernel_pid(self, pid: int) -> int:
        return pid

    def adopt(self, pid: int, root: int, top: int) -> bool:  # noqa: ARG002
        return True


class CountingProbe(FakeProbe):
    """It shares the memory of its counters."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._memory, self._seen = os.memfd_create("counters"), 0
        self.page = Page(self._memory, 1)
        self._count(0)

    def _count(self, more: int) -> None:
        self._seen += more
        os.pwrite(self._memory, wire.COUNTERS.pack(*Counts(*[0] * 7)._replace(seen=self._seen)), 0)

    def submit(self, *records: bytes) -> None:
        self._count(len(records))
        super().submit(*records)

    def drop(self, *heads: bytes, unlisted: int = 0, blind: int = 0) -> None:
        self._count(len(heads) + unlisted)
        super().drop(*heads, unlisted=unlisted, blind=blind)

    def counts(self) -> Counts:
        return super().counts()._replace(seen=self._seen)

    def close(self) -> None:
        os.close(self._memory)
        super().close()


def kernel_proc(
    slots: Iterable[tuple[int, int, int, int]],
    *,
    image: tuple[int, int] = (0, 0),
    own_exec: bool = False,
    forked: int = 0,
    comm: bytes = b"",
    seen: Iterable[int] = (),
) -> bytes:
    """A ``struct proc``. ``slots`` are (root, born, top, thread), ``seen`` its pid as the root of each sees it."""
    filled, numbers = [*slots], [*seen]
    filled += [(0, 0, 0, 0)] * (wire.SLOTS - len(filled))
    numbers += [0] * (wire.SLOTS - len(numbers))
    return helper_probe._PROC.pack(
        image[1], 0, image[0], 0, own_exec, 0, *itertools.chain(*filled), forked, 0, comm, *numbers
    )

"""Serves the probe to clients: each watches the tree of its own process, and asks for what happened in it.

Clients pull. What they have not asked for yet is kept here, up to a bound; past it records shrink to their heads
and are counted as lost, so that a client which never reads costs the others nothing.
"""

from __future__ import annotations

import collections
import contextlib
import errno
import os
import selectors
import socket
import struct
import time
from collections import deque
from typing import Any, Callable, Counter, Deque, Dict, Iterator, List, NamedTuple, Optional, Set, Tuple

from . import handshake, identity, wire
from .adoption import AdoptionError, Found, Known, Search, adopt_descendants
from .backlog import Backlog, Outgoing
from .errors import ProbeError
from .life import Life
from .priority import Precedence
from .probe import Claimed, Probe
from .quotas import RUN_LIMITS, Bucket, Limits, User

_QUEUE_BYTES = 128 << 20  # for all clients, and what has been sent to them and is not read
_MAX_TIMEOUT = 3600.0
_READ = 8192  # bytes of requests that are taken in at once: all of them are answered before more are read
_RECHECK = 0.01  # the bell can be missed where an exec's entry was; then this bounds the delay
_NO_INTEREST = 0
_RECONCILING = 0.5  # seconds for what is in the making to be recorded
#: Of one CPU, for refusing connections: in the long run, and seconds at once.
_REFUSING, _REFUSING_AT_ONCE = 0.03, 0.02
_NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_DEAF = 0.1  # seconds
_DRAINED_EVERY = 0.01  # seconds, while something takes longer than that
_KIND = struct.Struct("<I")  # of a record
_BLIND = (wire.KIND_UNFOLLOWED, wire.KIND_UNMARKED)  # each stands for any number of execs
_LATE = 1.0  # seconds, in which the kernel side is through with whatever it was at


class _Pending(NamedTuple):
    request: int
    before: int  # monotonic ns: execs entered up to here must be over
    deadline: float  # time.monotonic()
    news: bool  # a WAIT: answered by whatever is new


class Client:
    def __init__(self, sock: socket.socket, user: User) -> None:
        self.sock = sock
        self.user = user
        self.pid, _, _ = wire.credentials(sock)
        # An open socket is no proof of life: a forked child may hold it. The process itself is watched.
        self.pidfd, self.is_certain = wire.peer_pidfd(sock)
        self.reader = wire.Reader(wire.REQUESTS, wire.MAX_REQUEST)
        self.requests: Deque[wire.Frame] = deque()
        self.is_ready = False  # is in its user's list of those
        self.interest = _NO_INTEREST  # in its socket
        self.out = Outgoing()
        self.has_claimed = False
        self.claim_ends = float("inf")  # time.monotonic()
        self.root = 0
        self.name = b""
        self.armed = False
        self.child = False
        self.pending: Optional[_Pending] = None
        self.reconciling = 0.0  # time.monotonic(), since the counts do not add up; 0 if they do
        self.backlog = Backlog()
        self.kept = 0  # bytes: what is queued, and what was sent and is not read
        self.unplaced = 0
        self.unbounded = False  # more may be lost than the unplaced
        self.passed_over = 0  # of those
        self.settled = 0  # monotonic ns: all that was entered up to here has been delivered, or charged to it as lost


class Server:
    """One probe and its clients.

    ``run()`` returns when all of them have ended or hung up. Forked children of clients don't count: a test may leave
    some behind. Whoever has not said yet what it is does.
    """

    def __init__(
        self,
        probe: Probe,
        first: Optional[socket.socket],
        listener: socket.socket,
        welcome: Dict[str, Any],
        precedence: Precedence,
        limits: Limits = RUN_LIMITS,
    ) -> None:
        self._probe = probe
        self._welcome = welcome
        self._precedence = precedence
        self._limits = limits
        self._selector = selectors.DefaultSelector()
        self._clients: Set[Client] = set()
        self._users: Dict[int, User] = {}
        self._by_root: Dict[int, Client] = {}
        self._last_root = 0
        self._kept = 0  # bytes, of all clients
        self._dropped = 0
        self._unlisted = 0
        self._blind = 0
        probe.missed()  # what was before is nobody's
        self._listener = listener
        self._deaf_until = 0.0  # time.monotonic(), while no connections are accepted
        self._refusals = Bucket(_REFUSING, _REFUSING_AT_ONCE)
        self._brought: Counter[User] = collections.Counter()  # records, since their users were last charged
        self._charged = 0.0  # seconds, to users for their records
        self._left: Deque[Tuple[float, int]] = deque()  # roots that were forgotten, and when
        self._life: Optional[Life] = None
        for fd in probe.fds():
            self._selector.register(fd, selectors.EVENT_READ, self._collect)
        self._selector.register(listener, selectors.EVENT_READ, self._accept)
        if first is not None:
            _, self._uid, _ = wire.credentials(first)
            self._let_in(first)

    def run(self) -> None:
        while self._is_needed():
            self._precedence.review()
            self._listen_again()
            self._serve()
            waiting = [client for client in self._clients if client.pending]
            if waiting:
                # Rung from now on, and looked at once more after that: so the last exec can't slip through between.
                self._probe.want_wakeup(True)
                self._collect()
                for client in waiting:
                    self._for(client.user, lambda: self._answer(client))  # noqa: B023
            waiting = [client for client in waiting if client.pending]
            if not waiting:
                self._probe.want_wakeup(False)
            for key, _ in self._selector.select(self._patience(waiting)):
                key.data()

    def _is_needed(self) -> bool:
        for _ in range(handshake.BACKLOG):
            if not all(client.child for client in self._clients):
                return True
            if not self._accept():  # a client may have connected just before the last one went
                return False
        return False  # strangers connect on and on, and came first

    def _patience(self, waiting: List[Client]) -> Optional[float]:
        """Seconds until there is something to do, if nothing comes from outside. None: never."""
        due = [user.waits() for user in self._users.values() if user.ready]
        due += [max(_RECHECK, client.user.waits()) for client in waiting]
        if self._deaf_until:
            due.append(max(0.0, self._deaf_until - time.monotonic()))
        due += self._precedence.waits()
        if self._limits.claim_time is not None:
            claims = [client.claim_ends for user in self._users.values() for client in user.claims]
            due += [max(0.0, min(claims) - time.monotonic())] if claims else []
        return min(due) if due else None

    def abandon(self, reason: str, code: str = "helper-failed") -> None:
        """Tells every client that the probe is gone."""
        for client in self._clients:
            try:
                client.sock.setblocking(False)
                client.sock.send(wire.frame(wire.FAILED, 0, {"code": code, "reason": reason, "remedy": ""}))
            except OSError:
                pass

    # ---- records ----

    def _collect(self) -> None:
        with self._at_their_expense():
            self._probe.drain()
            self._route()
            counts = self._probe.counts()
            if counts.dropped != self._dropped:
                self._route_dropped()

    @contextlib.contextmanager
    def _at_their_expense(self) -> Iterator[None]:
        """Those pay for what is done in here whose records it brings, each for his part, and nobody else for that."""
        if self._limits.share is None:
            yield
            return
        self._brought.clear()
        before = time.thread_time()
        yield
        spent, total = time.thread_time() - before, sum(self._brought.values())
        for user, number in self._brought.items():
            user.charge_records(spent * number / total)
        self._charged += spent if total else 0.0

    def _route(self) -> None:
        for piece in self._probe.take():
            # Of the only root there has ever been is whatever is recorded.
            for root, run in wire.runs(piece) if self._last_root > 1 else [(1, piece)]:
                client = self._by_root.get(root)
                if root == 0 or (client is not None and not self._queue_whole(client, run)):
                    for record, lost in wire.split_events(bytes(run.data)):
                        self._deliver(record, lost)

    def _queue_whole(self, client: Client, run: wire.Piece) -> bool:
        """Lets a client have some records of its tree as they are, where it may see all of them and there is room."""
        # What is kept for it is kept for its user and for all, and each of these leaves less room for the next record.
        if (run.attempts and client.user.uid != 0) or 3 * len(run.data) > self._room(client):
            return False
        self._queue(client, run.data, run.number)
        return True

    def _route_dropped(self) -> None:
        # The list is emptied after the counts are read: what it lacks of them is known to be unlisted.
        counts = self._probe.counts()
        for head in self._probe.take_dropped():
            self._deliver(head, True)
        unlisted = counts.unlisted - self._unlisted
        if unlisted:
            for client in self._by_root.values():
                client.unplaced += unlisted
                client.unbounded |= counts.blind != self._blind
        self._dropped, self._unlisted, self._blind = counts.dropped, counts.unlisted, counts.blind

    def _deliver(self, record: bytes, lost: bool) -> None:
        # Most are in one tree. This is what takes the helper's time.
        is_in_one = record[wire.OTHER_SLOTS] == wire.NO_OTHERS
        for root in (wire.FIRST_ROOT if is_in_one else wire.SLOT_ROOTS).unpack_from(record, wire.SLOTS_AT):
            client = self._by_root.get(root)
            if client is not None:
                self._keep(client, record, lost)

    def _keep(self, client: Client, record: bytes, lost: bool) -> None:
        record = wire.shown_to(client.user.uid, record)
        # As much as is left, and for heads twice that. So one alone has half of all, many share, and whoever never asks
        # leaves room for the others.
        room = self._room(client)
        if wire.EVENT.size + len(record) > room:
            record, lost = record[: wire.HEAD.size], True
            if wire.EVENT.size + len(record) > room + self._free(client):
                client.unplaced += 1
                client.unbounded |= _KIND.unpack_from(record)[0] in _BLIND
                self._brought[client.user] += 1
                return
        self._queue(client, wire.event(record, lost), 1)

    def _free(self, client: Client) -> int:
        """Bytes."""
        left = _QUEUE_BYTES - self._kept
        return left - client.user.kept if self._limits.room_per_user else left

    def _room(self, client: Client) -> int:
        """For whole records."""
        return self._free(client) - client.kept

    def _queue(self, client: Client, events: wire.Buffer, number: int) -> None:
        self._brought[client.user] += number
        more = client.backlog.add(events)
        client.kept += more
        client.user.kept += more
        self._kept += more

    def _account(self, client: Client) -> None:
        """After every change of what is kept for it."""
        more = client.backlog.size + len(client.out) - client.kept
        client.kept += more
        client.user.kept += more
        self._kept += more

    def _look_for_missed(self) -> None:
        """What the kernel has passed the probe over for was seen by none of its programs."""
        missed = self._probe.missed()
        if missed.forks and self._by_root:
            # What descends from those is followed no more. A new helper looks for what is there.
            raise ProbeDamagedError(
                "the kernel has passed over the probe where a process began (%d times), so that what it has executed is"
                " not known" % missed.forks
            )
        for client in self._by_root.values():
            client.unplaced += missed.execs + missed.exits
            client.passed_over += missed.execs + missed.exits

    # ---- answers ----

    def _answer(self, client: Client) -> None:
        pending = client.pending
        if pending is None:
            return
        expired = time.monotonic() >= pending.deadline
        if pending.news:
            if client.backlog.size or client.unplaced or expired:
                self._finish(client, pending.request, at=0, under_way=0)
            return
        before = self._probe.counts()
        under_way = self._probe.in_flight(pending.before, client.root)
        if under_way and not expired:
            return
        with self._at_their_expense():
            counts = self._probe.reconcile()
            self._route()
        if counts is None and not expired:
            client.reconciling = client.reconciling or time.monotonic()
            if time.monotonic() < client.reconciling + _RECONCILING:
                return  # a program of the probe may have been put aside in the middle, and this process is in its way
        if counts is None or counts.dropped != self._dropped:
            self._route_dropped()
        if counts is None:
            client.unplaced += 1
            client.unbounded = True
        self._look_for_missed()
        # Nothing was under way when this was read, and all that has ended until then is here.
        is_quiet = counts is not None and before.entered == before.ended
        now = (counts.seen, before.entered) if counts is not None and is_quiet else (-1, -1)
        self._finish(client, pending.request, at=pending.before, under_way=under_way, now=now)

    def _finish(self, client: Client, request: int, at: int, under_way: int, now: Tuple[int, int] = (-1, -1)) -> None:
        for frame in client.backlog.frames(request):
            client.out.add(*frame)
        done = {
            "at": at,
            "under_way": under_way,
            "unplaced": client.unplaced,
            "passed_over": client.passed_over,
            "unbounded": client.unbounded,
            # They were entered after this: all before is settled. When, nobody knows.
            "unplaced_from": client.settled if client.unplaced else 0,
            "seen": now[0],
            "entered": now[1],
        }
        if at and not under_way:
            client.settled = at
        client.pending = None
        client.reconciling = 0.0
        client.backlog = Backlog()
        client.unplaced = client.passed_over = 0
        client.unbounded = False
        self._send(client, wire.frame(wire.SYNCED, request, done))

    def _send(self, client: Client, data: bytes) -> None:
        client.out.add(data)
        self._flush(client)

    def _flush(self, client: Client) -> None:
        try:
            client.out.send(client.sock)
        except BlockingIOError:
            pass
        except OSError:
            self._drop(client)
            return
        self._account(client)
        self._attend(client)

    def _attend(self, client: Client) -> None:
        """Waits for what comes next from it. While it does not read, it is not read from, and none of its requests is
        looked at; nor is it read from while it has requests."""
        if client not in self._clients:
            return
        wanted = selectors.EVENT_READ
        if client.out:
            wanted = selectors.EVENT_WRITE
        elif client.requests:
            wanted = _NO_INTEREST
            if not client.is_ready:
                client.is_ready = True
                client.user.ready.append(client)
        if client.interest == wanted:
            return
        if wanted == _NO_INTEREST:
            self._selector.unregister(client.sock)
        elif client.interest == _NO_INTEREST:
            self._selector.register(client.sock, wanted, lambda: self._read(client))
        else:
            self._selector.modify(client.sock, wanted, lambda: self._read(client))
        client.interest = wanted

    # ---- requests ----

    def _read(self, client: Client) -> None:
        if client.out:
            self._flush(client)
            return
        try:
            data = client.sock.recv(_READ)
            if not data:
                self._drop(client)
                return
            client.requests += client.reader.feed(data)
        except BlockingIOError:
            return
        except (OSError, wire.WireError):
            self._drop(client)
            return
        # One at once where nobody else's turn comes before it: this is what a run's helper does all the time.
        if client.requests and len(self._users) == 1:
            self._for(client.user, lambda: self._request_of(client))
        self._attend(client)

    def _serve(self) -> None:
        """One request of each user who has any and whose turn it is, so that nobody waits behind another's flood."""
        for user in list(self._users.values()):
            if user.ready and not user.waits():
                client = user.ready.popleft()
                client.is_ready = False
                if client in self._clients and client.requests and not client.out:
                    self._for(user, lambda: self._request_of(client))  # noqa: B023
                    self._attend(client)
            for client in [client for client in user.claims if client.claim_ends <= time.monotonic()]:
                self._turn_out(client, "the process did not take on the name that it asked for in time")

    def _for(self, user: User, do: Callable[[], None]) -> None:
        """Does this at the user's expense; not at all while he has used up his share."""
        if self._limits.share is None:
            do()
            return
        if user.waits():
            return
        before, charged = time.thread_time(), self._charged
        do()
        user.charge(time.thread_time() - before - (self._charged - charged))

    def _request_of(self, client: Client) -> None:
        try:
            self._request(client, client.requests.popleft())
        except wire.WireError:
            self._drop(client)

    def _request(self, client: Client, frame: wire.Frame) -> None:
        fields = frame.json()
        client.reconciling = 0.0
        client.pending = None  # whoever asks again no longer waits for the last answer
        if frame.type == wire.CLAIM:
            self._claim(client, frame.request, child=fields.get("child") is True)
        elif frame.type == wire.ARM:
            self._arm(client, frame.request, fresh=fields.get("fresh") is True, known=_known(fields))
        elif not client.armed:
            self._send(client, wire.frame(wire.ERROR, frame.request, {"reason": "there is no root yet"}))
        elif frame.type == wire.PAGES:
            self._give_pages(client, frame.request)
        elif frame.type == wire.RUNNING:
            self._list_running(client, frame.request, int(wire.number(fields, "since", 0, 1 << 63)))
        else:
            timeout = wire.number(fields, "timeout", 0, _MAX_TIMEOUT)
            client.pending = _Pending(
                request=frame.request,
                before=time.monotonic_ns(),
                deadline=time.monotonic() + timeout,
                news=frame.type == wire.WAIT,
            )
            self._answer(client)  # most have nothing to wait for, and need no bell

    def _give_pages(self, client: Client, request: int) -> None:
        """Not where several users share the helper: the counters tell of all."""
        page = self._probe.page
        data = wire.frame(wire.PAGES_GIVEN, request, {"cpus": page.cpus if page else 0})
        if page is None or self._limits.share is not None or client.out:
            self._send(client, data)
            return
        try:
            self._life = self._life or Life()
        except OSError:  # there is no memory for it
            self._send(client, data)
            return
        try:
            client.out.add(data[socket.send_fds(client.sock, [data], [page.fd, self._life.fd]) :])
        except OSError:
            self._drop(client)
            return
        self._flush(client)

    def _list_running(self, client: Client, request: int, since: int) -> None:
        """A client can ask for its own tree alone."""
        running = self._probe.running(client.root, since)
        living = [] if running is None else running.listed
        listed = sorted(living, key=lambda process: (process.forked, process.pid))[: wire.LISTED]
        done = {
            "count": 1 if running is None else len(living),
            "all": running is not None and running.are_all,
            "listed": [
                [*process[:2], *process[3:7], process.comm.decode("utf-8", "surrogateescape")] for process in listed
            ],
        }
        self._send(client, wire.frame(wire.PROCESSES, request, done))

    def _claim(self, client: Client, request: int, child: bool) -> None:
        if client.has_claimed:
            raise wire.WireError("a second root on one connection")
        client.has_claimed = True
        client.child = child
        client.user.claiming.append((client, request))
        self._grant_claims(client.user)

    def _grant_claims(self, user: User) -> None:
        if user.is_granting:  # a client went while it was told: the loop below goes on with the next
            return
        user.is_granting = True
        self._forget_late_roots()
        limit, last = self._limits.claims_per_user, self._limits.claim_time
        while user.claiming and (limit is None or len(user.claims) < limit):
            client, request = user.claiming.popleft()
            if client not in self._clients:
                continue  # it has gone meanwhile
            if last is not None:
                client.claim_ends = time.monotonic() + last
            user.claims.add(client)
            self._look_for_missed()  # what was before is not its
            self._last_root += 1
            client.root = self._last_root
            client.name = os.urandom(7).hex().encode()
            self._by_root[client.root] = client
            try:
                granted = self._probe.claim(client.name, client.root, client.pid)
            except ProbeError as error:
                why = {"reason": error.reason, "code": error.code, "remedy": error.remedy}
                self._send(client, wire.frame(wire.ERROR, request, why))
                continue
            if granted:
                self._send(client, wire.frame(wire.CLAIMED, request, {"name": client.name.decode()}))
            else:
                self._refuse(client, request, "too many processes register at once")
        user.is_granting = False

    def _end_claim(self, client: Client) -> None:
        if self._withdraw(client):
            self._grant_claims(client.user)

    def _withdraw(self, client: Client) -> bool:
        if client not in client.user.claims:
            return False
        client.user.claims.discard(client)
        self._probe.withdraw(client.name)
        return True

    def _refuse(self, client: Client, request: int, reason: str) -> None:
        self._send(client, wire.frame(wire.ERROR, request, {"reason": reason}))

    def _arm(self, client: Client, request: int, *, fresh: bool, known: Optional[Known]) -> None:
        claimed = self._probe.claimed(client.root) if client in client.user.claims else None
        self._end_claim(client)
        if claimed is None or claimed.refused:
            reason = (
                "the process's new name did not reach the probe"
                if claimed is None
                else "there is no room to watch this process: it is in %d watched trees already, or too many processes"
                " are watched" % wire.SLOTS
            )
            self._refuse(client, request, reason)
            return
        if not self._may_watch(client, claimed.pid):
            self._forget_root(client)
            self._refuse(client, request, "its new name was taken on by another process")
            return
        if not self._probe.holds(claimed.pid, client.root):
            self._forget_root(client)
            self._refuse(client, request, "it was entered into another tree at the same moment: try again")
            return
        client.armed = True
        found = Search()
        if not fresh:
            try:
                found = self._adopt(client, claimed, known)
            except (AdoptionError, OSError) as error:
                client.armed = False
                self._forget_root(client)
                self._refuse(client, request, str(error))
                return
        armed = {"root": client.root, "armed_at": claimed.armed_at, "pid": claimed.pid}
        self._send(client, wire.frame(wire.ARMED, request, dict(armed, **found._asdict())))

    def _may_watch(self, client: Client, pid: int) -> bool:
        """Whether the process that has taken a client's name, by the kernel's number, is the one that has connected.

        A name is taken on by whoever executes a file of that name, too, and that can be another user's process.
        """
        if self._probe.kernel_pid(client.pid) != pid:
            return False
        return identity.is_connected(pid, client.pidfd, client.is_certain, client.user.uid)

    def _adopt(self, client: Client, claimed: Claimed, known: Optional[Known]) -> Search:
        """Enters what it had started already."""
        begun = drained = time.monotonic()
        limit = self._limits.adoption_time

        def tick() -> None:
            nonlocal drained
            now = time.monotonic()
            if limit is not None and now > begun + limit:
                raise AdoptionError("there are too many processes that it has started before, or it forks on and on")
            if now > drained + _DRAINED_EVERY:
                self._precedence.review()
                self._collect()  # or what others execute meanwhile would fill the buffers
                drained = now

        def adopt(found: Found, root: int, top: int) -> bool:
            return identity.enter(self._probe.adopt, found, root, top, client.user.uid)

        return adopt_descendants(
            adopt, client.root, client.pid, claimed.pid, known, claimed.reapers, self._probe.kernel_pid, tick
        )

    # ---- clients ----

    def _accept(self) -> bool:
        """Accepts one connection. False if there is none."""
        before = time.thread_time()
        try:
            sock, _ = self._listener.accept()
        except OSError as error:
            if error.errno in _NO_ROOM:
                self._pause(_DEAF)  # it would be told again at once, and for ever
            return False
        if not self._admit(sock):
            # Whoever is refused can come again at once, and cost more than he pays. Peers who wait are let in in turn.
            self._refusals.charge(time.thread_time() - before)
            self._pause(self._refusals.waits())
        return True

    def _admit(self, sock: socket.socket) -> bool:
        """Whether there is a new client."""
        clients = len(self._clients)
        if self._limits.share is None:
            self._let_in(sock)
        else:
            user = self._user(wire.credentials(sock)[1])
            if user.waits():
                self._hang_up(sock, "busy", "user %d has exceeded its quota of the helper's time: try again" % user.uid)
            else:
                self._for(user, lambda: self._let_in(sock))
        return len(self._clients) > clients

    def _pause(self, seconds: float) -> None:
        """Accepts no connection for so long."""
        if seconds > 0 and not self._deaf_until:
            self._deaf_until = time.monotonic() + seconds
            self._selector.unregister(self._listener)

    def _hang_up(self, sock: socket.socket, code: str, reason: str) -> None:
        with contextlib.suppress(OSError), sock:
            sock.setblocking(False)
            sock.send(_refusal(code, reason))

    def _listen_again(self) -> None:
        if self._deaf_until and time.monotonic() >= self._deaf_until:
            self._deaf_until = 0.0
            self._selector.register(self._listener, selectors.EVENT_READ, self._accept)

    def _let_in(self, sock: socket.socket) -> None:
        try:
            sock.setblocking(False)
            refusal = self._why_not(sock)
            if refusal is not None:
                self._hang_up(sock, *refusal)
            else:
                self._add(sock)
        except OSError:
            sock.close()  # it has gone

    def _why_not(self, sock: socket.socket) -> Optional[Tuple[str, str]]:
        """Why a peer is not let in: a code, ``busy`` where that passes, and the reason."""
        pid, uid, _ = wire.credentials(sock)
        if pid == 0:
            return "refused", (
                "the helper runs in a PID namespace that this process is not in. Start the helper where pytest runs, or"
                " outside of that"
            )
        if not self._may_call(sock):
            return "refused", "user %d can't use a helper of user %d" % (uid, self._uid)
        if len(self._clients) >= self._limits.clients:
            return "busy", "the helper serves %d processes already, and no more" % self._limits.clients
        limit, user = self._limits.clients_per_user, self._users.get(uid)
        if limit is not None and user is not None and user.clients >= limit:
            return "busy", "the helper serves %d processes of user %d already, and no more" % (limit, uid)
        return None

    def _may_call(self, sock: socket.socket) -> bool:
        return wire.may_call(sock, self._uid)

    def _user(self, uid: int) -> User:
        if uid not in self._users:
            # Those who have gone are remembered until they have paid for what they had.
            self._users = {uid: user for uid, user in self._users.items() if not user.is_idle()}
            self._users[uid] = User(uid, self._limits)
        return self._users[uid]

    def _add(self, sock: socket.socket) -> None:
        client = Client(sock, self._user(wire.credentials(sock)[1]))
        client.user.clients += 1
        self._clients.add(client)
        self._selector.register(client.pidfd, selectors.EVENT_READ, lambda: self._drop(client))
        self._send(client, wire.frame(wire.WELCOME, 0, self._welcome))

    def _turn_out(self, client: Client, reason: str) -> None:
        """Tells it why, as far as it listens, and hangs up."""
        self._send(client, _refusal("busy", reason))
        self._drop(client)

    def _drop(self, client: Client) -> None:
        if client not in self._clients:
            return
        self._clients.discard(client)
        if client.interest != _NO_INTEREST:
            self._selector.unregister(client.sock)
        self._selector.unregister(client.pidfd)
        os.close(client.pidfd)
        client.sock.close()
        client.requests.clear()
        client.backlog, client.out = Backlog(), Outgoing()
        self._account(client)
        client.user.clients -= 1
        # In this order: who takes the name in between would become a root for ever, and to end the claim may give its
        # place to the next.
        had_claim = self._withdraw(client)
        if client.root:
            self._forget_root(client)
        if had_claim:
            self._grant_claims(client.user)

    def _forget_root(self, client: Client) -> None:
        """Nothing that happens in its tree is kept any more."""
        if self._by_root.pop(client.root, None) is not None:
            self._probe.forget_root(client.root)
            self._left.append((time.monotonic(), client.root))

    def _forget_late_roots(self) -> None:
        """Who took on his name just as it was withdrawn has become a root a moment later."""
        while self._left and self._left[0][0] < time.monotonic() - _LATE:
            self._probe.forget_root(self._left.popleft()[1])


class ProbeDamagedError(Exception):
    """The probe is no longer to be relied on."""


def _known(fields: Dict[str, Any]) -> Optional[Known]:
    """What a client says that it knows, of an ARM. Raises WireError."""
    if "since" not in fields:
        return None
    left = fields.get("left")
    if not isinstance(left, list) or not all(isinstance(one, list) and len(one) == 2 for one in left):
        raise wire.WireError("the field 'left' must be a list of pairs")
    numbers = [int(wire.number({"left": number}, "left", 0, 1 << 63)) for one in left for number in one]
    begun, since = (int(wire.number(fields, name, 0, 1 << 63)) for name in ("begun", "since"))
    return Known(begun, since, frozenset(zip(numbers[::2], numbers[1::2])))


def _refusal(code: str, reason: str) -> bytes:
    return wire.frame(wire.FAILED, 0, {"code": code, "reason": reason, "remedy": ""})

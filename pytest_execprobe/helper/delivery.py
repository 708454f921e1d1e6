"""Records, from the probe to the clients in whose trees they are."""

from __future__ import annotations

import struct
from typing import Dict, Optional

from . import wire
from .clients import Client
from .probe import Counts, Probe
from .quotas import Quotas

_QUEUE_BYTES = 128 << 20  # for all clients, and what has been sent to them and is not read
_KIND = struct.Struct("<I")  # of a record
#: Each stands for any number of execs.
_BLIND = (wire.KIND_UNFOLLOWED, wire.KIND_UNMARKED, wire.KIND_UNTRACED)


class ProbeDamagedError(Exception):
    """The probe is no longer to be relied on."""


class Delivery:
    """Keeps what clients have not asked for yet, up to a bound.

    Past it records shrink to their heads, and then are only counted as lost, so that a client which never reads costs
    the others nothing.
    """

    def __init__(self, probe: Probe, quotas: Quotas) -> None:
        self._probe = probe
        self._quotas = quotas
        self._last_root = 0
        self._counts = Counts(0, 0, 0, 0, 0, 0, 0)  # when what was dropped was last delivered
        #: Who is to have records, by the root of its tree.
        self.by_root: Dict[int, Client] = {}
        #: Bytes, of all clients.
        self.kept = 0
        probe.missed()  # what was before is no client's

    def follow(self, client: Client) -> None:
        """Makes it the client of a new root."""
        self.look_for_missed()  # what was before is not this client's
        self._last_root += 1
        client.root = self._last_root
        self.by_root[client.root] = client

    # ---- what the probe has ----

    def collect(self) -> None:
        with self._quotas.shared():
            self._probe.drain()
            self._route()
            if self._probe.counts().dropped != self._counts.dropped:
                self._route_dropped()

    def reconcile(self) -> Optional[Counts]:
        """Collects all that was submitted. None if that can't be reached."""
        with self._quotas.shared():
            counts = self._probe.reconcile()
            self._route()
        return counts

    def charge_losses(self, client: Client, counts: Optional[Counts]) -> None:
        """Of what was reconciled with these counts, for this client."""
        if counts is None or counts.dropped != self._counts.dropped:
            self._route_dropped()
        if counts is None:
            client.unplaced += 1
            client.unbounded = True
        self.look_for_missed()

    def look_for_missed(self) -> None:
        """What the kernel has skipped the probe for was seen by none of its programs."""
        missed = self._probe.missed()
        if missed.forks and self.by_root:
            # What descends from those is followed no more. A new helper looks for what is there.
            raise ProbeDamagedError(
                "the kernel has skipped the probe where a process began (%d times), so that what it has executed is not"
                " known" % missed.forks
            )
        for client in self.by_root.values():
            client.unplaced += missed.execs + missed.exits
            client.skipped += missed.execs + missed.exits

    # ---- whose it is ----

    def _route(self) -> None:
        for piece in self._probe.take():
            # Of the only root there has ever been is whatever is recorded.
            for root, run in wire.runs(piece) if self._last_root > 1 else [(1, piece)]:
                client = self.by_root.get(root)
                if client is not None and not self._queue_whole(client, run):
                    for record, lost in wire.split_events(bytes(run.data)):
                        self._keep(client, record, lost)

    def _queue_whole(self, client: Client, run: wire.Piece) -> bool:
        """Queues some records of its tree as they are, where it may see all of them and there is room."""
        # What is kept for it is kept for its user and for all, and each of these leaves less room for the next record.
        if (run.attempts and client.user.uid != 0) or 3 * len(run.data) > self._free(client) - client.kept:
            return False
        self._queue(client, run.data, run.number)
        return True

    def _route_dropped(self) -> None:
        # The list is emptied after the counts are read: what it lacks of them is known to be unlisted.
        before, self._counts = self._counts, self._probe.counts()
        for head in self._probe.take_dropped():
            client = self.by_root.get(wire.ROOT.unpack_from(head, wire.ROOT_AT)[0])
            if client is not None:
                self._keep(client, head, True)
        unlisted = self._counts.unlisted - before.unlisted
        for client in self.by_root.values() if unlisted else ():
            client.unplaced += unlisted
            client.unbounded |= self._counts.blind != before.blind

    # ---- what is kept ----

    def _keep(self, client: Client, record: bytes, lost: bool) -> None:
        record = wire.shown_to(client.user.uid, record)
        # As much as is left, and for heads twice that. So one alone has half of all, many share, and one that never
        # asks leaves room for the others.
        free = self._free(client)
        room = free - client.kept
        if wire.EVENT.size + len(record) > room:
            record, lost = record[: wire.HEAD.size], True
            if wire.EVENT.size + len(record) > room + free:
                client.unplaced += 1
                client.unbounded |= _KIND.unpack_from(record)[0] in _BLIND
                self._quotas.brought[client.user] += 1
                return
        self._queue(client, wire.event(record, lost), 1)

    def _free(self, client: Client) -> int:
        """Bytes."""
        return _QUEUE_BYTES - self.kept - (client.user.kept if self._quotas.limits.room_per_user else 0)

    def _queue(self, client: Client, events: wire.Buffer, number: int) -> None:
        self._quotas.brought[client.user] += number
        self._grow(client, client.backlog.add(events))

    def account(self, client: Client) -> None:
        """To be called after every change of what is kept for it."""
        self._grow(client, client.backlog.size + len(client.out) - client.kept)

    def _grow(self, client: Client, size: int) -> None:
        client.kept += size
        client.user.kept += size
        self.kept += size

"""How a client becomes a root, in two steps: it claims a name and takes that on, then what has taken it is armed."""

from __future__ import annotations

import os
import time
from collections import deque
from typing import Any, Callable, Deque, Dict, List, Optional, Tuple

from . import identity, wire
from .adoption import AdoptionError, Declared, Found, PassingError, Search, adopt_descendants
from .clients import Client
from .delivery import Delivery
from .errors import ProbeError
from .priority import Precedence
from .probe import Claimed, Probe
from .quotas import Limits, User

_LATE = 1.0  # seconds, in which the kernel side is through with whatever it was at
_COLLECTED_EVERY = 0.01  # seconds, while a search takes longer than that


class Registration:
    def __init__(
        self,
        probe: Probe,
        delivery: Delivery,
        precedence: Precedence,
        limits: Limits,
        send: Callable[[Client, bytes], None],
    ) -> None:
        self._probe = probe
        self._delivery = delivery
        self._precedence = precedence
        self._limits = limits
        self._send = send
        self._left: Deque[Tuple[float, int]] = deque()  # roots that were forgotten, and when

    # ---- the first step ----

    def claim(self, client: Client, request: int, fields: Dict[str, Any]) -> None:
        """Raises WireError."""
        if client.has_claimed:
            raise wire.WireError("a second root on one connection")
        client.has_claimed = True
        client.child = fields.get("child") is True
        client.untraced = _texts(fields, "untraced")
        client.user.claiming.append((client, request))
        self._grant_claims(client.user)

    def _grant_claims(self, user: User) -> None:
        if user.is_granting:  # a client went while it was sent its name: the loop below goes on with the next
            return
        user.is_granting = True
        self._forget_late_roots()
        limit, last = self._limits.claims_per_user, self._limits.claim_time
        while user.claiming and (limit is None or len(user.claims) < limit):
            client, request = user.claiming.popleft()
            if not client.is_open:
                continue
            if last is not None:
                client.claim_ends = time.monotonic() + last
            user.claims.add(client)
            self._delivery.follow(client)
            client.name = os.urandom(7).hex().encode()
            try:
                granted = self._probe.claim(client.name, client.root, client.pid)
                self._probe.leave(client.root, client.untraced)
            except ProbeError as error:
                why = {"reason": error.reason, "code": error.code, "remedy": error.remedy}
                self._send(client, wire.frame(wire.ERROR, request, why))
                continue
            if granted:
                self._send(client, wire.frame(wire.CLAIMED, request, {"name": client.name.decode()}))
            else:
                self._refuse(client, request, "too many processes register at once")
        user.is_granting = False

    def _end_claim(self, client: Client) -> bool:
        """Whether there was one."""
        if client not in client.user.claims:
            return False
        client.user.claims.discard(client)
        self._probe.withdraw(client.name)
        return True

    def _refuse(self, client: Client, request: int, reason: str, *, again: bool = False) -> None:
        """``again``: it may claim once more."""
        self._send(client, wire.frame(wire.ERROR, request, {"reason": reason, "again": again}))

    # ---- the second ----

    def arm(self, client: Client, request: int, fields: Dict[str, Any]) -> None:
        """Raises WireError."""
        known = _known(fields)
        claimed = self._probe.claimed(client.root) if client in client.user.claims else None
        if self._end_claim(client):
            self._grant_claims(client.user)
        if claimed is None:
            self._refuse(client, request, "the process's new name did not reach the probe")
            return
        try:
            self._check(client, claimed)
            nothing_left = claimed.whole or fields.get("fresh") is True
            found = Search() if nothing_left else self._adopt(client, claimed, known)
        except (AdoptionError, OSError) as error:
            if not claimed.refused:
                self.forget(client)
            client.has_claimed = not isinstance(error, PassingError)
            self._refuse(client, request, str(error), again=not client.has_claimed)
            return
        client.armed = True
        armed = {"root": client.root, "armed_at": claimed.armed_at, "pid": claimed.pid}
        self._send(client, wire.frame(wire.ARMED, request, dict(armed, **found._asdict())))

    def _check(self, client: Client, claimed: Claimed) -> None:
        """Raises AdoptionError if a process that has taken a client's name is not watched for it."""
        if claimed.refused:
            raise AdoptionError(
                "there is no room to watch this process: it is in %d watched trees already, or too many processes are"
                " watched" % wire.SLOTS
            )
        if not self._may_watch(client, claimed.pid):
            raise AdoptionError("its new name was taken on by another process")
        if not self._probe.holds(claimed.pid, client.root):
            raise PassingError("it was entered into another tree at the same moment: try again")

    def _may_watch(self, client: Client, pid: int) -> bool:
        """Whether the process that has taken a client's name, by the kernel's number, is the one that has connected.

        A name is taken on by whatever executes a file of that name, too, and that can be another user's process.
        """
        if self._probe.kernel_pid(client.pid) != pid:
            return False
        return identity.is_connected(pid, client.pidfd, client.is_certain, client.user.uid)

    def _adopt(self, client: Client, claimed: Claimed, known: Optional[Declared]) -> Search:
        """Enters what it had started already."""
        begun = collected = time.monotonic()
        limit = self._limits.adoption_time

        def tick() -> None:
            nonlocal collected
            now = time.monotonic()
            if limit is not None and now > begun + limit:
                raise AdoptionError("there are too many processes that it has started before, or it forks on and on")
            if now > collected + _COLLECTED_EVERY:
                self._precedence.review()
                self._delivery.collect()  # or what others execute meanwhile would fill the buffers
                collected = time.monotonic()  # a tracer stays at it for longer than that

        def adopt(found: Found, root: int, top: int) -> bool:
            return identity.enter(self._probe.adopt, found, root, top, client.user.uid)

        return adopt_descendants(
            adopt, client.root, client.pid, claimed.pid, known, claimed.reapers, self._probe.kernel_pid, tick
        )

    # ---- the end ----

    def leave(self, client: Client) -> None:
        """It is closed, and no root any more."""
        # In this order: what takes the name in between would become a root for ever, and the claim may be followed by
        # the next one's.
        had_claim = self._end_claim(client)
        self.forget(client)
        if had_claim:
            self._grant_claims(client.user)

    def forget(self, client: Client) -> None:
        """Nothing that happens in its tree is kept any more."""
        if self._delivery.by_root.pop(client.root, None) is not None:
            self._probe.forget_root(client.root)
            self._left.append((time.monotonic(), client.root))

    def _forget_late_roots(self) -> None:
        """A process that took on its name just as that was withdrawn has become a root a moment later."""
        while self._left and self._left[0][0] < time.monotonic() - _LATE:
            self._probe.forget_root(self._left.popleft()[1])


def _texts(fields: Dict[str, Any], name: str) -> List[str]:
    """Raises WireError."""
    texts = fields.get(name, [])
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise wire.WireError("the field %r must be a list of texts" % name)
    return texts


def _known(fields: Dict[str, Any]) -> Optional[Declared]:
    """What a client says that it knows, of an ARM. Raises WireError."""
    if "since" not in fields:
        return None
    left = fields.get("left")
    if not isinstance(left, list) or not all(isinstance(one, list) and len(one) == 2 for one in left):
        raise wire.WireError("the field 'left' must be a list of pairs")
    numbers = [wire.whole({"left": number}, "left") for one in left for number in one]
    begun, since = (wire.whole(fields, name) for name in ("begun", "since"))
    return Declared(begun, since, frozenset(zip(numbers[::2], numbers[1::2])))

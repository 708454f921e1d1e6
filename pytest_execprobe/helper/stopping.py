"""What a client wants stopped in its own tree: programs that are killed before they run an instruction.

A STOP has the fields ``since``, ``names``, ``files``, ``places`` and ``more``. With ``more`` it is only a part, and
the next goes on with it. When the last is answered by STOPPING, all of it is in force in the place of what was; if by
ERROR, that still is.

- ``names``: of programs, and paths as they are executed: texts.
- ``files``: of each the number of its file system and its own there.
- ``places``: of each the same of a folder, and a name in it.

The numbers are the kernel's own of a probe that watches from there, and those of stat(2) where processes are traced.
Whatever a client says of files that are not its own: it can have nothing killed but what its own tree executes.
"""

from __future__ import annotations

import time
from typing import Any, Dict, List, Set, Tuple

from . import wire
from .clients import Client
from .errors import ProbeError
from .probe import Denial, Enforced, Probe
from .quotas import Limits

#: Of one client.
MOST = 256
#: Bytes of a name or a path.
LONGEST = 255


class Stopping:
    def __init__(self, probe: Probe, limits: Limits) -> None:
        self._probe = probe
        self._limits = limits
        self._clients: Set[Client] = set()  # for which something is stopped
        self._leaving: List[Tuple[Client, int]] = []  # of these, and since when

    def take(self, client: Client, fields: Dict[str, Any]) -> None:
        """A part of what is to be stopped. Raises WireError, and ProbeError where that can't be done."""
        since = wire.whole(fields, "since")
        client.denied += _denials(fields)
        if len(client.denied) > MOST:
            client.denied = []
            raise wire.WireError("more is to be stopped than can be")
        if fields.get("more") is True:
            return
        denials, client.denied = frozenset(client.denied), []
        limit, others = self._limits.stopping_per_user, self._clients - {client}
        if denials and limit is not None and sum(other.user is client.user for other in others) >= limit:
            raise ProbeError("busy", "programs are stopped for %d processes of this user already" % limit, "")
        self._probe.stop(client.root, Enforced(client.user.uid, since, denials))
        self._clients = others | {client} if denials else others

    def leave(self, client: Client) -> None:
        """Its connection is closed, as an exec of its own process closes it: that comes before the new program's first
        instruction. So what it has asked for stays in force as long as an exec is in flight. To be called before its
        root is forgotten."""
        client.denied = []
        if client in self._clients:
            self._leaving.append((client, time.monotonic_ns()))

    @property
    def is_leaving(self) -> bool:
        """Whether any such has an exec in flight."""
        return bool(self._leaving)

    def review(self) -> None:
        """Lets go of those that have none any more."""
        for leaving in [*self._leaving]:
            client, since = leaving
            if self._probe.in_flight(since, client.root) == 0:
                self._leaving.remove(leaving)
                self._clients.discard(client)
                self._probe.stop(client.root, Enforced(client.user.uid, 0, frozenset()))


def _denials(fields: Dict[str, Any]) -> List[Denial]:
    """Raises WireError."""
    names, files, places = (_list(fields, name) for name in ("names", "files", "places"))
    found = [Denial(0, 0, _name(name)) for name in names]
    found += [Denial(_number(device), _number(inode), b"") for device, inode in _several(files, 2)]
    return found + [Denial(_number(device), _number(inode), _name(name)) for device, inode, name in _several(places, 3)]


def _list(fields: Dict[str, Any], name: str) -> List[Any]:
    value = fields.get(name, [])
    if not isinstance(value, list) or len(value) > MOST:
        raise wire.WireError("the field %r must be a list of at most %d" % (name, MOST))
    return value


def _several(values: List[Any], number: int) -> List[List[Any]]:
    if not all(isinstance(value, list) and len(value) == number for value in values):
        raise wire.WireError("a file that is to be stopped is a list of %d" % number)
    return values


def _number(value: object) -> int:
    return wire.whole({"of a file": value}, "of a file", 0, (1 << 64) - 1)


def _name(text: object) -> bytes:
    try:
        name = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else b""
    except UnicodeEncodeError:
        name = b""
    if not 0 < len(name) <= LONGEST or b"\0" in name:
        raise wire.WireError("a name that is to be stopped has from 1 to %d bytes, and no NUL" % LONGEST)
    return name

"""What it takes to look into another user's process: root in a container mostly lacks CAP_SYS_PTRACE."""

from __future__ import annotations

import contextlib
import os
from typing import ContextManager, Iterator, Optional

from .statuses import Ids

_AS_IT_IS = contextlib.nullcontext()
_SYS_PTRACE = 1 << 19  # uapi/linux/capability.h


class Rights:
    """Those of this process, as they are when this is made."""

    def __init__(self) -> None:
        with open("/proc/self/status") as file:
            (line,) = (line for line in file if line.startswith("CapEff:"))
        self._own = os.geteuid(), os.getegid()
        #: Root may trace what it has started, but then not read what of that is another user's.
        self._lacking = self._own[0] == 0 and not int(line.split()[1], 16) & _SYS_PTRACE

    @property
    def suffice(self) -> bool:
        """Whatever is to be read."""
        return not self._lacking

    def to_read(self, ids: Optional[Ids]) -> ContextManager[None]:
        """Has this process read with the rights of another's user meanwhile, where it must and may."""
        if not self._lacking or ids is None or (ids.uid, ids.gid) == self._own:
            return _AS_IT_IS
        return self._borrowed(ids)

    @contextlib.contextmanager
    def _borrowed(self, ids: Ids) -> Iterator[None]:
        # Not the real user: that one could signal this process meanwhile.
        uid, gid = self._own
        try:
            with contextlib.suppress(PermissionError):  # it may not become another user either
                os.setegid(ids.gid)
                os.seteuid(ids.uid)
            yield
        finally:
            os.seteuid(uid)
            os.setegid(gid)

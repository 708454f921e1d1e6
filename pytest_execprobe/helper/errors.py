"""Why there can be no probe."""

from __future__ import annotations


class ProbeError(Exception):
    """No probe can be had. ``code`` is for programs, the reason and the remedy are for people."""

    def __init__(self, code: str, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.remedy = remedy


#: A remedy, where none is known.
REPORT = "please report this with the kernel's version and BCC's"

"""Why there can be no probe."""

from __future__ import annotations

import errno
import os


class ProbeError(Exception):
    """No probe can be had. ``code`` is for programs, the reason and the remedy are for people."""

    def __init__(self, code: str, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        # Whatever needed one more: each map, program, probe and buffer is a file to the kernel.
        self.remedy = _MORE_FILES if os.strerror(errno.EMFILE) in reason else remedy


_MORE_FILES = "raise the limit of open files (ulimit -n): execprobe doctor says to how many"
INSTALL_BCC = "install the distro's BCC: python3-bpfcc on Debian and Ubuntu, python3-bcc on Fedora and RHEL"
NEWER_BCC = "use BCC 0.24 or later, as in Debian 12, Ubuntu 24.04 and Fedora"
#: Where no remedy is known.
REPORT = "please report this with the kernel's version and BCC's"

"""Words in shared memory that change before a client can rely on this process no more: one by the kernel when this
process dies, before it closes any of its files, and one when a client is let go.

So whoever sees them unchanged knows that what this process holds open, such as a probe, was there at that moment, and
that it watched for each client that it had. The first is a robust mutex that is never given back: in the kernel's
``do_exit()``, ``exit_mm()`` marks those as left by a dead owner, and ``exit_files()`` comes after that.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import struct

from . import wire

_PROCESS_SHARED, _ROBUST = 1, 1  # PTHREAD_PROCESS_SHARED, PTHREAD_MUTEX_ROBUST
_F_SEAL_FUTURE_WRITE = 0x10  # uapi/linux/fcntl.h, since Linux 5.1
_LET_GO = struct.Struct("=Q")


class Life:
    """Raises OSError. ``fd`` is to be given to others, who can read it and no more: its first wire.LIFE bytes stay as
    they are while this process lives and has the same clients, but for new ones."""

    def __init__(self) -> None:
        self.fd = os.memfd_create("execprobe-life", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(self.fd, mmap.PAGESIZE)
        self._memory = mmap.mmap(self.fd, mmap.PAGESIZE)
        seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | _F_SEAL_FUTURE_WRITE
        fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, seals)
        libc = ctypes.CDLL(None)
        attributes = ctypes.create_string_buffer(64)
        mutex = ctypes.byref(ctypes.c_char.from_buffer(self._memory))
        for number in (
            libc.pthread_mutexattr_init(attributes),
            libc.pthread_mutexattr_setpshared(attributes, _PROCESS_SHARED),
            libc.pthread_mutexattr_setrobust(attributes, _ROBUST),
            libc.pthread_mutex_init(mutex, attributes),
            libc.pthread_mutex_lock(mutex),
        ):
            if number != 0:
                raise OSError(number, os.strerror(number))

    def let_go(self) -> None:
        """To be called before a client is watched for no more."""
        (number,) = _LET_GO.unpack_from(self._memory, wire.MUTEX)
        _LET_GO.pack_into(self._memory, wire.MUTEX, number + 1)

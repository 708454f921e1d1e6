"""BCC's library without its compiler: maps, programs, and what they are attached to.

``libbcc_bpf`` holds what of ``libbcc`` needs no clang. It is opened in 2 ms, the whole in 25 (0.26.0 on Debian 12).
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from typing import Optional

from ..errors import INSTALL_BCC, NEWER_BCC, ProbeError

_NAMES = ("libbcc_bpf.so.0", "libbcc.so.0")
_MAP_TYPE_ARRAY = 2
_MISSES_AT, _PROGRAM_INFO = 208, 256  # struct bpf_prog_info's recursion_misses, and bytes that it may have
_OnRecord = ctypes.CFUNCTYPE(None, ctypes.py_object, ctypes.c_void_p, ctypes.c_int)
_OnLoss = ctypes.CFUNCTYPE(None, ctypes.py_object, ctypes.c_ulonglong)


class _BufferOptions(ctypes.Structure):  # struct bcc_perf_buffer_opts
    _fields_ = [("pid", ctypes.c_int), ("cpu", ctypes.c_int), ("wakeup_events", ctypes.c_int)]


def open_library() -> ctypes.CDLL:
    """Raises ProbeError."""
    for name in _NAMES:
        try:
            library = ctypes.CDLL(name, use_errno=True)
        except OSError:
            continue
        if not hasattr(library, "bpf_open_perf_buffer_opts"):
            raise ProbeError("old-bcc", "%s is too old" % name, NEWER_BCC)
        c = ctypes
        library.bcc_create_map.argtypes = [c.c_int, c.c_char_p, c.c_int, c.c_int, c.c_int, c.c_int]
        library.bcc_prog_load.argtypes = [
            c.c_int, c.c_char_p, c.c_char_p, c.c_int, c.c_char_p, c.c_uint, c.c_int, c.c_char_p, c.c_uint,
        ]  # fmt: skip
        library.bpf_attach_raw_tracepoint.argtypes = [c.c_int, c.c_char_p]
        library.bpf_attach_tracepoint.argtypes = [c.c_int, c.c_char_p, c.c_char_p]
        library.bpf_attach_kprobe.argtypes = [c.c_int, c.c_int, c.c_char_p, c.c_char_p, c.c_uint64, c.c_int]
        library.bpf_update_elem.argtypes = [c.c_int, c.c_char_p, c.c_char_p, c.c_uint64]
        library.bpf_lookup_elem.argtypes = [c.c_int, c.c_char_p, c.c_char_p]
        library.bpf_delete_elem.argtypes = [c.c_int, c.c_char_p]
        library.bpf_lookup_and_delete.argtypes = [c.c_int, c.c_char_p, c.c_char_p]
        library.bpf_get_first_key.argtypes = [c.c_int, c.c_char_p, c.c_size_t]
        library.bpf_get_next_key.argtypes = [c.c_int, c.c_char_p, c.c_char_p]
        library.bpf_open_perf_buffer_opts.argtypes = [
            _OnRecord, _OnLoss, c.py_object, c.c_int, c.POINTER(_BufferOptions),
        ]  # fmt: skip
        library.bpf_open_perf_buffer_opts.restype = c.c_void_p
        library.perf_reader_fd.argtypes = [c.c_void_p]
        return library
    raise ProbeError(
        "no-bcc",
        "BCC's library, %s, is not there" % _NAMES[-1],
        INSTALL_BCC,
    )


def refusal(library: ctypes.CDLL) -> Optional[OSError]:
    """What the kernel says to the least that BPF is needed for."""
    descriptor = library.bcc_create_map(_MAP_TYPE_ARRAY, b"execprobe", 4, 8, 1, 0)
    if descriptor < 0:
        return last_error()
    os.close(descriptor)
    return None


def last_error() -> OSError:
    number = ctypes.get_errno() or errno.EIO
    return OSError(number, os.strerror(number))


def open_perf_buffer(library: ctypes.CDLL, cpu: int, pages: int, wakeup_events: int) -> int:
    """A perf buffer's descriptor, for one CPU. The library maps it and is never asked to read it. Raises OSError."""
    options = _BufferOptions(pid=-1, cpu=cpu, wakeup_events=wakeup_events)
    reader = library.bpf_open_perf_buffer_opts(_OnRecord(), _OnLoss(), None, pages, ctypes.byref(options))
    if not reader:
        raise last_error()
    return int(library.perf_reader_fd(reader))


def misses(library: ctypes.CDLL, program: int) -> Optional[int]:
    """How often the kernel has skipped a program because it was running on that CPU already; None where it does not
    say. It counts that for raw tracepoints since 5.12."""
    info = ctypes.create_string_buffer(_PROGRAM_INFO)
    size = ctypes.c_uint32(_PROGRAM_INFO)
    result = library.bpf_obj_get_info(program, info, ctypes.byref(size))
    if result != 0 or size.value < _MISSES_AT + 8:
        return None
    return int(struct.unpack_from("=Q", info, _MISSES_AT)[0])

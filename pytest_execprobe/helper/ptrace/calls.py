"""The system calls that tracing takes, and that Python has no functions for."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import signal
import struct
from typing import Any, Dict, Iterable, List, Optional, Tuple

from .machines import Machine, Registers

# uapi/linux/ptrace.h
_PEEKUSER, _CONT, _DETACH, _SYSCALL, _GET_SYSCALL_INFO = 3, 7, 17, 24, 0x420E
_GETEVENTMSG, _GETREGSET, _SETREGSET = 0x4201, 0x4204, 0x4205
_SEIZE, _INTERRUPT, _LISTEN = 0x4206, 0x4207, 0x4208
_NT_PRSTATUS = 1  # uapi/linux/elf.h
EVENT_FORK, EVENT_VFORK, EVENT_CLONE, EVENT_EXEC, EVENT_SECCOMP, EVENT_STOP = 1, 2, 3, 4, 7, 128
#: TRACEFORK, TRACEVFORK, TRACECLONE and TRACEEXEC. Never EXITKILL: what is traced outlives its tracer.
_OPTIONS = 1 << EVENT_FORK | 1 << EVENT_VFORK | 1 << EVENT_CLONE | 1 << EVENT_EXEC
#: TRACESYSGOOD, and TRACESECCOMP: without a filter of the probe's own, those of others are to find no tracer.
_FILTERED = 1 | 1 << EVENT_SECCOMP
#: The signal of a stop at the end of a system call.
CALL_ENDED = signal.SIGTRAP | 0x80
#: For waitpid(): children of clone(), too, that end without SIGCHLD.
ALL_CHILDREN = 0x40000000  # __WALL

# uapi/linux/openat2.h; the number is that of all machines
_OPENAT2, _RESOLVE_IN_ROOT = 437, 16

# uapi/linux/pidfd.h, struct pidfd_info as it was first: what is asked for, and answered; ppid, ruid, rgid
_GET_INFO = 0xC040FF0B
_INFO_IDS = 3  # PIDFD_INFO_PID and PIDFD_INFO_CREDS
_INFO, _INFO_ANSWER = struct.Struct("=Q56x"), struct.Struct("=Q16xIII28x")
_info = bytearray(_INFO.size)

_EINTR = -errno.EINTR & 0xFFFFFFFF  # in the lower half of a word
_PAGE = os.sysconf("SC_PAGE_SIZE")
_REGISTERS_MAX = 512
_PIECES_MAX = 64  # of memory, in one call

# None of these blocks, so that Python's lock need not be given up for them.
_libc = ctypes.PyDLL(None, use_errno=True)
_ptrace = _libc.ptrace
_ptrace.restype = ctypes.c_long
_ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_readv = _libc.process_vm_readv
_readv.restype = ctypes.c_ssize_t
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long
_syscall.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t]
_waitpid = ctypes.PyDLL(None).waitpid  # which blocks, unlike all others; but no other thread would take the lock
_waitid = ctypes.PyDLL(None).waitid  # likewise
_signal_thread = _libc["syscall"]  # a function of its own, for its arguments are others
_signal_thread.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_long, ctypes.c_long]

# Made once, for a stop has to be short. Where nothing says what these take, numbers are ints and what is None, or made
# here, is passed as it is: that takes half as long as to convert each.
_of_stopped = ctypes.PyDLL(None).ptrace
_peek = ctypes.PyDLL(None).ptrace
_peek.restype = ctypes.c_long
_EVERY = os.WEXITED | os.WNOWAIT | ALL_CHILDREN  # what is traced says in any case that it has stopped
_WAITED = struct.Struct("@8xi4xi4xi100x")  # siginfo_t: si_code, si_pid and si_status
_waited = bytearray(_WAITED.size)
_waited_at = (ctypes.c_char * _WAITED.size).from_buffer(_waited)
_status = ctypes.c_int()
_status_at = ctypes.byref(_status)
_message = ctypes.c_ulong()
_message_at = ctypes.byref(_message)
_set: Any = ctypes.create_string_buffer(_REGISTERS_MAX)
_vector = (ctypes.c_ulong * 2)(ctypes.addressof(_set), _REGISTERS_MAX)
_vector_at = ctypes.byref(_vector)
#: The same as numbers, by the bytes of a word.
_unsigned: Dict[int, Any] = {4: (ctypes.c_uint32 * 128).from_buffer(_set), 8: (ctypes.c_uint64 * 64).from_buffer(_set)}
_signed: Dict[int, Any] = {4: (ctypes.c_int32 * 128).from_buffer(_set), 8: (ctypes.c_int64 * 64).from_buffer(_set)}
_memory: Any = ctypes.create_string_buffer(1 << 16)
_memory_at = ctypes.addressof(_memory)
_memory_ref = ctypes.byref(_memory)
_pieces = (ctypes.c_ulong * (2 + 2 * _PIECES_MAX))(_memory_at)
_pieces_at = ctypes.byref(_pieces)
_remote_at = ctypes.byref(_pieces, 2 * ctypes.sizeof(ctypes.c_ulong))


def _error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))


# ---- of a thread that runs ----


def seize(tid: int, *, filtered: bool = False) -> None:
    """From now on it is traced, and so is whatever it forks; ``filtered``: it stops where a seccomp filter says so.
    Raises OSError."""
    if _ptrace(_SEIZE, tid, None, _OPTIONS | (_FILTERED if filtered else 0)) != 0:
        raise _error()


def interrupt(tid: int) -> bool:
    """Has it stop as soon as it is in no system call; False if it has ended."""
    return bool(_ptrace(_INTERRUPT, tid, None, None) == 0)


def is_thread_of(tid: int, pid: int, machine: Machine) -> bool:
    """Whether a process has this thread, also one whose end no one has waited for. No signal is sent; a look into /proc
    would take twice as long, and there has to be one at each fork."""
    return bool(_signal_thread(machine.tgkill, pid, tid, 0) == 0 or ctypes.get_errno() != errno.ESRCH)


def process_info(pid: int) -> Optional[Tuple[int, int, int]]:
    """Its parent, and its real user and group: a third of the time that it takes to read them in /proc/PID/status. None
    where the kernel does not say so, which those before 6.13 do not."""
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        return None
    try:
        _info[:] = _INFO.pack(_INFO_IDS)
        fcntl.ioctl(pidfd, _GET_INFO, _info)
        answered, *ids = _INFO_ANSWER.unpack(_info)
    except OSError:
        return None
    finally:
        os.close(pidfd)
    return (ids[0], ids[1], ids[2]) if answered & _INFO_IDS == _INFO_IDS else None


# ---- of a thread that has stopped ----

# A thread that was killed meanwhile can do nothing of this; its end is reported like any other.


def resume(tid: int, number: int = 0) -> None:
    """It goes on, with this signal."""
    _of_stopped(_CONT, tid, None, number)


def go_to_end_of_call(tid: int) -> None:
    """It goes on, and stops where the system call ends that it is in."""
    _of_stopped(_SYSCALL, tid, None, None)


def call_info(tid: int) -> bytes:
    """A struct ptrace_syscall_info (uapi/linux/ptrace.h); empty if it has been killed."""
    size = _of_stopped(_GET_SYSCALL_INFO, tid, len(_memory), _memory_ref)
    return _memory[: min(size, 88)] if size > 0 else b""


def stay_stopped(tid: int) -> None:
    """It stays as its group-stop has it, until SIGCONT."""
    _of_stopped(_LISTEN, tid, None, None)


def detach(tid: int, number: int = 0) -> None:
    _of_stopped(_DETACH, tid, None, number)


def event_message(tid: int) -> int:
    """The new thread of a fork, or what the thread that has executed was called before; 0 if it has been killed."""
    return _message.value if _of_stopped(_GETEVENTMSG, tid, None, _message_at) == 0 else 0


class State:
    """The registers of a thread that has stopped."""

    def __init__(self, tid: int, layout: Registers, data: bytes) -> None:
        self._tid = tid
        self.layout = layout
        self._data = data

    def __getitem__(self, index: int) -> int:
        word = self.layout.word
        return int.from_bytes(self._data[index * word : (index + 1) * word], "little")

    def signed(self, index: int) -> int:
        word = self.layout.word
        return int.from_bytes(self._data[index * word : (index + 1) * word], "little", signed=True)

    def __setitem__(self, index: int, value: int) -> None:
        word = self.layout.word
        new = (value & (1 << 8 * word) - 1).to_bytes(word, "little")
        self._data = self._data[: index * word] + new + self._data[(index + 1) * word :]

    def write(self) -> None:
        ctypes.memmove(_set, self._data, len(self._data))
        _vector[1] = len(self._data)
        _of_stopped(_SETREGSET, self._tid, _NT_PRSTATUS, _vector_at)


def _fetch(tid: int, machine: Machine) -> Optional[Registers]:
    """Has the registers put where they are read."""
    _vector[1] = _REGISTERS_MAX
    if _of_stopped(_GETREGSET, tid, _NT_PRSTATUS, _vector_at) != 0:
        return None
    return machine.registers.get(_vector[1])


def registers(tid: int, machine: Machine) -> Optional[State]:
    """None if it has been killed, or is of a kind that is not known."""
    layout = _fetch(tid, machine)
    return None if layout is None else State(tid, layout, _set[: _vector[1]])


def stack_pointer(tid: int, machine: Machine) -> Tuple[int, int]:
    """And the bytes of a word; both 0 where there are no :func:`registers`."""
    peeked = machine.peeked
    if peeked is not None:
        at = _peek(_PEEKUSER, tid, peeked.stack * peeked.word, None)
        if at >> 32 > 0:  # a program with shorter words has no stack there
            return at, peeked.word
    layout = _fetch(tid, machine)
    return (0, 0) if layout is None else (_unsigned[layout.word][layout.stack], layout.word)


def is_interrupted(tid: int, machine: Machine) -> bool:
    """Whether the system call that it was in is about to end with EINTR."""
    peeked = machine.peeked
    if peeked is not None and _peek(_PEEKUSER, tid, peeked.result * peeked.word, None) & 0xFFFFFFFF != _EINTR:
        return False
    layout = _fetch(tid, machine)
    return layout is not None and bool(_signed[layout.word][layout.result] == -errno.EINTR)


def read_ahead(pid: int, at: int, size: int) -> bytes:
    """What a process has from there on, up to the first page that can't be read. Less where the kernel gives nothing of
    a piece that it can't read to its end: it has never done so."""
    _pieces[1], _pieces[2], _pieces[3] = size, at, size
    got = _readv(pid, _pieces_at, 1, _remote_at, 1, 0)
    return _memory[:got] if got > 0 else read_memory(pid, [(at, size)])


def read_memory(pid: int, ranges: Iterable[Tuple[int, int]]) -> bytes:
    """What a process has at these places, (address, length), one behind the other, as far as it can be read: up to the
    first page that can't be."""
    split: List[int] = []
    total = 0
    for at, size in ranges:
        while size > 0:
            part = min(size, _PAGE - at % _PAGE)  # where a piece is cut short nothing of it is sure to come
            split += (at, part)
            at, size, total = at + part, size - part, total + part
    if total > len(_memory) or len(split) > 2 * _PIECES_MAX:
        return b""
    _pieces[1 : 2 + len(split)] = [total, *split]
    got = _readv(pid, _pieces_at, 1, _remote_at, len(split) // 2, 0)
    if got > 0:
        return bytes(_memory[:got])
    return _read_by_file(pid, split) if ctypes.get_errno() in (errno.EPERM, errno.ENOSYS) else b""


def _read_by_file(pid: int, split: List[int]) -> bytes:
    """Some profiles of containers let ptrace(2) through, and not process_vm_readv(2): Docker's of 19.03."""
    found = b""
    try:
        fd = os.open("/proc/%d/mem" % pid, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return found
    try:
        for at, size in zip(split[::2], split[1::2]):
            part = os.pread(fd, size, at)
            found += part
            if len(part) < size:
                break
    except (OSError, OverflowError):
        pass
    finally:
        os.close(fd)
    return found


# ---- files ----


def open_in(root: int, path: bytes, flags: int) -> int:
    """What a process finds that has this folder for its root. Raises OSError, before Linux 5.6 always."""
    how = struct.pack("3Q", flags, 0, _RESOLVE_IN_ROOT)
    fd = int(_syscall(_OPENAT2, root, path, how, len(how)))
    if fd < 0:
        raise _error()
    return fd


# ---- stops, as something to wait for ----


def look_at_stop(flags: int) -> Tuple[int, Optional[int]]:
    """Whose the next stop, or end, is, which is yet to be taken; of an end, by which signal it came, 0 by none.

    Whose: 0 if there is none (with WNOHANG), and below that as in await_stop().
    """
    if _waitid(os.P_ALL, 0, _waited_at, _EVERY | flags) < 0:
        return -1, None
    code, tid, status = _WAITED.unpack(_waited)
    if code in (os.CLD_TRAPPED, os.CLD_STOPPED):
        return tid, None
    return tid, 0 if code == os.CLD_EXITED else status


def take_stop(tid: int) -> Tuple[int, int]:
    """A stop that was looked at, as os.waitpid() has it; not its end, which may have come since: (0, 0)."""
    if _waitid(os.P_PID, tid, _waited_at, os.WSTOPPED | os.WNOHANG | ALL_CHILDREN) < 0:
        return 0, 0
    _, stopped, status = _WAITED.unpack(_waited)
    return (stopped, status << 8 | 0x7F) if stopped else (0, 0)


def await_stop() -> Tuple[int, int]:
    """As os.waitpid() has it, which a signal does not end; of any. Below 0 is no thread: a signal has come, or there is
    nothing to wait for."""
    return _waitpid(-1, _status_at, ALL_CHILDREN), _status.value


def stops() -> int:
    """A descriptor that can be read when a thread that is traced has stopped or ended: SIGCHLD, which is blocked from
    now on. Raises OSError."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # a starter may ignore it, and then the kernel sends it for no stop
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    mask = (ctypes.c_ulong * (128 // ctypes.sizeof(ctypes.c_ulong)))(1 << signal.SIGCHLD - 1)
    fd = int(_libc.signalfd(-1, mask, os.O_CLOEXEC | os.O_NONBLOCK))
    if fd < 0:
        raise _error()
    return fd

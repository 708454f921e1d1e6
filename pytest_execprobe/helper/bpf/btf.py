"""Struct offsets of the running kernel, from its own BTF.

The kernel's headers are often missing and sometimes of another kernel, and then every offset in them is
silently wrong. ``/sys/kernel/btf/vmlinux`` is the running kernel's own word. It is read through libbpf, which
BCC brings along.
"""

from __future__ import annotations

import ctypes
from typing import Dict, Iterator, Optional, Tuple

_KIND_STRUCT = 4
_KIND_UNION = 5
_MODIFIERS = (8, 9, 10, 11)  # typedef, volatile, const, restrict

# name of the constant -> where it is: a struct and a path of members in it; or several paths, one for each of the names
# that kernels have had for it
OFFSETS: Dict[str, Tuple[str, str]] = {
    "OFF_TASK_TGID": ("task_struct", "tgid"),
    "OFF_TASK_REAL_PARENT": ("task_struct", "real_parent"),
    "OFF_TASK_SIGNAL": ("task_struct", "signal"),
    "OFF_TASK_MM": ("task_struct", "mm"),
    "OFF_TASK_FS": ("task_struct", "fs"),
    "OFF_TASK_GROUP_LEADER": ("task_struct", "group_leader"),
    "OFF_TASK_EXIT_CODE": ("task_struct", "exit_code"),
    "OFF_TASK_THREAD_PID": ("task_struct", "thread_pid"),
    "OFF_TASK_START_TIME": ("task_struct", "start_time"),
    "OFF_TASK_CRED": ("task_struct", "cred"),
    "OFF_CRED_UID": ("cred", "uid"),
    "OFF_CRED_GID": ("cred", "gid"),
    "OFF_CRED_SUID": ("cred", "suid"),
    "OFF_CRED_SGID": ("cred", "sgid"),
    "OFF_CRED_EUID": ("cred", "euid"),
    "OFF_CRED_EGID": ("cred", "egid"),
    "OFF_PID_LEVEL": ("pid", "level"),
    "OFF_PID_NUMBERS": ("pid", "numbers"),
    "OFF_UPID_NR": ("upid", "nr"),
    "OFF_SIGNAL_LIVE": ("signal_struct", "live"),
    "OFF_SIGNAL_FLAGS": ("signal_struct", "flags"),
    "OFF_SIGNAL_GROUP_EXIT_CODE": ("signal_struct", "group_exit_code"),
    "OFF_FS_PWD": ("fs_struct", "pwd"),
    "OFF_MM_ARG_START": ("mm_struct", "arg_start"),
    "OFF_MM_ARG_END": ("mm_struct", "arg_end"),
    "OFF_MM_EXE_FILE": ("mm_struct", "exe_file"),
    "OFF_BPRM_FILENAME": ("linux_binprm", "filename"),
    "OFF_BPRM_INTERP": ("linux_binprm", "interp"),
    "OFF_BPRM_INTERP_FLAGS": ("linux_binprm", "interp_flags"),
    "OFF_BPRM_EXECUTABLE": ("linux_binprm", "executable"),
    "OFF_FILE_PATH": ("file", "f_path"),
    "OFF_FILE_FLAGS": ("file", "f_flags"),
    "OFF_FILE_INODE": ("file", "f_inode"),
    "OFF_FILE_WORK": ("file", "f_task_work|f_rcuhead|f_u.fu_rcuhead"),
    "OFF_WORK_NEXT": ("callback_head", "next"),
    "OFF_TASK_WORKS": ("task_struct", "task_works"),
    "OFF_PATH_MNT": ("path", "mnt"),
    "OFF_PATH_DENTRY": ("path", "dentry"),
    "OFF_DENTRY_PARENT": ("dentry", "d_parent"),
    "OFF_DENTRY_NAME": ("dentry", "d_name.name"),
    "OFF_DENTRY_LENGTH": ("dentry", "d_name.len"),
    "OFF_DENTRY_INODE": ("dentry", "d_inode"),
    "OFF_INODE_NUMBER": ("inode", "i_ino"),
    "OFF_INODE_SB": ("inode", "i_sb"),
    "OFF_SB_DEVICE": ("super_block", "s_dev"),
    "OFF_VFSMOUNT_ROOT": ("vfsmount", "mnt_root"),
    "OFF_MOUNT_MNT": ("mount", "mnt"),
    "OFF_MOUNT_PARENT": ("mount", "mnt_parent"),
    "OFF_MOUNT_MOUNTPOINT": ("mount", "mnt_mountpoint"),
    "OFF_MOUNT_NS": ("mount", "mnt_ns"),
    "OFF_MNT_NS_NUMBER": ("mnt_namespace", "ns.inum"),
}

# The same, of members that a kernel may be built without: 0 there, which is the place of none of these.
OPTIONAL: Dict[str, Tuple[str, str]] = {"OFF_TASK_IO_URING": ("task_struct", "io_uring")}

# name of the constant -> where a bit of a struct is
BITS: Dict[str, Tuple[str, str]] = {"BIT_SIGNAL_SUBREAPER": ("signal_struct", "is_child_subreaper")}

# name of the constant -> how large a struct is
SIZES: Dict[str, str] = {"SIZE_UPID": "upid"}

# Where the arguments of a wrapped system call are, in the pt_regs that it is given.
REGISTERS: Dict[str, Tuple[Tuple[str, str], ...]] = {
    "x86_64": (
        ("OFF_REGS_ARG1", "di"),
        ("OFF_REGS_ARG2", "si"),
        ("OFF_REGS_ARG3", "dx"),
    ),
}
# On arm64 they are regs[0], regs[1], ... at the start of pt_regs.
ARM64_REGISTERS = (
    ("OFF_REGS_ARG1", 0),
    ("OFF_REGS_ARG2", 8),
    ("OFF_REGS_ARG3", 16),
)


class BtfError(Exception):
    """The running kernel's BTF is missing, or lacks what the probe must know."""


class _Type(ctypes.Structure):
    _fields_ = [("name", ctypes.c_uint32), ("info", ctypes.c_uint32), ("size", ctypes.c_uint32)]


class _MemberInfo(ctypes.Structure):
    _fields_ = [("name", ctypes.c_uint32), ("type", ctypes.c_uint32), ("offset", ctypes.c_uint32)]


class Btf:
    """The kernel's types. Free of state beyond libbpf's own parsed copy."""

    def __init__(self) -> None:
        self._lib = _libbpf()
        self._btf = self._lib.btf__load_vmlinux_btf()
        # Before libbpf 1.0 an error was a small negative number, made a pointer.
        if not self._btf or -4096 < ctypes.c_long(self._btf).value < 0:
            raise BtfError("the kernel has no BTF (/sys/kernel/btf/vmlinux)")

    def close(self) -> None:
        self._lib.btf__free(self._btf)

    def offset(self, struct: str, path: str) -> int:
        """Byte offset of a member, as in ``offset("dentry", "d_name.name")``."""
        return self.bit(struct, path) // 8

    def bit(self, struct: str, path: str) -> int:
        """Offset in bits, of the first of several paths ("a|b.c") that there is."""
        for alternative in path.split("|"):
            bits = self._find(struct, alternative)
            if bits is not None:
                return bits
        raise BtfError("the kernel's struct %s has no member %s" % (struct, path))

    def _find(self, struct: str, path: str) -> Optional[int]:
        type_id = self._struct(struct)
        bits = 0
        for name in path.split("."):
            found = self._member(type_id, name)
            if found is None:
                return None
            more, type_id = found
            bits += more
        return bits

    def optional(self, struct: str, path: str) -> int:
        """The same, in bytes; 0 where there is none."""
        return (self._find(struct, path) or 0) // 8

    def size(self, struct: str) -> int:
        """In bytes."""
        return int(_kind(self._lib.btf__type_by_id(self._btf, self._struct(struct)))[1].size)

    def _struct(self, name: str) -> int:
        type_id: int = self._lib.btf__find_by_name_kind(self._btf, name.encode(), _KIND_STRUCT)
        if type_id <= 0:
            raise BtfError("the kernel's BTF has no struct %s" % name)
        return type_id

    def _member(self, type_id: int, name: str) -> Optional[Tuple[int, int]]:
        for member_name, member_type, bits in self._members(type_id):
            if member_name == name:
                return bits, member_type
            if not member_name:  # an anonymous struct or union: its members are ours
                inside = self._member(member_type, name)
                if inside is not None:
                    return bits + inside[0], inside[1]
        return None

    def _members(self, type_id: int) -> Iterator[Tuple[str, int, int]]:
        address = self._lib.btf__type_by_id(self._btf, type_id)
        kind, info = _kind(address)
        while kind in _MODIFIERS:
            address = self._lib.btf__type_by_id(self._btf, info.size)
            kind, info = _kind(address)
        if kind not in (_KIND_STRUCT, _KIND_UNION):
            return
        bitfields = info.info >> 31
        first = address + ctypes.sizeof(_Type)
        for index in range(info.info & 0xFFFF):
            member = _MemberInfo.from_address(first + index * ctypes.sizeof(_MemberInfo))
            name = self._lib.btf__name_by_offset(self._btf, member.name)
            bits = member.offset & 0xFFFFFF if bitfields else member.offset
            yield (name or b"").decode(), member.type, bits


def _kind(address: int) -> Tuple[int, _Type]:
    info = _Type.from_address(address)
    return (info.info >> 24) & 0x1F, info


def _libbpf() -> ctypes.CDLL:
    for name in ("libbpf.so.1", "libbpf.so.0"):
        try:
            lib = ctypes.CDLL(name, use_errno=True)
        except OSError:
            continue
        if not hasattr(lib, "btf__load_vmlinux_btf"):
            raise BtfError("%s is too old: libbpf 0.5 or later is needed" % name)
        lib.btf__load_vmlinux_btf.restype = ctypes.c_void_p
        lib.btf__free.argtypes = [ctypes.c_void_p]
        lib.btf__find_by_name_kind.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint32]
        lib.btf__type_by_id.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
        lib.btf__type_by_id.restype = ctypes.c_void_p
        lib.btf__name_by_offset.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
        lib.btf__name_by_offset.restype = ctypes.c_char_p
        return lib
    raise BtfError("libbpf, which BCC brings along, is not there (libbpf.so.1)")


def kernel_offsets(machine: str) -> Dict[str, int]:
    """Every OFF_*, BIT_* and SIZE_* constant that bpf/execprobe.c needs, for the running kernel.

    Raises BtfError, naming what is missing.
    """
    btf = Btf()
    try:
        offsets = {name: btf.offset(struct, path) for name, (struct, path) in OFFSETS.items()}
        offsets.update({name: btf.optional(struct, path) for name, (struct, path) in OPTIONAL.items()})
        offsets.update({name: btf.bit(struct, path) for name, (struct, path) in BITS.items()})
        offsets.update({name: btf.size(struct) for name, struct in SIZES.items()})
        for name, register in REGISTERS.get(machine, ()):
            offsets[name] = btf.offset("pt_regs", register)
    finally:
        btf.close()
    if machine == "aarch64":
        offsets.update(ARM64_REGISTERS)
    return offsets

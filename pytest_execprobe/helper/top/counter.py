"""The BPF program of ``execprobe top``, loaded and attached through BCC, and its map."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
import time
from typing import Any, Dict, List, Optional, Tuple

from .. import privilege
from ..bpf import library
from ..bpf.attach import check_privilege, kernel_version
from ..bpf.btf import Btf, BtfError
from ..errors import ProbeError
from ..process import bpf_folder
from .places import Unattached, find
from .target import EXEC, Target

_OFFSETS = {
    "OFF_BPRM_FILENAME": ("linux_binprm", "filename"),
    "OFF_TASK_MM": ("task_struct", "mm"),
    "OFF_TASK_GROUP_LEADER": ("task_struct", "group_leader"),
    "OFF_TASK_COMM": ("task_struct", "comm"),
    "OFF_MM_EXE_FILE": ("mm_struct", "exe_file"),
    "OFF_FILE_PATH": ("file", "f_path"),
    "OFF_PATH_DENTRY": ("path", "dentry"),
    "OFF_DENTRY_NAME": ("dentry", "d_name.name"),
}

_MISSES_COUNTED = (6, 7)  # from this kernel on for all kinds of probes; earlier for raw tracepoints alone


class Counter:
    """The attached program and its map. It takes privilege to be made and none to be read."""

    def __init__(self, bcc: Any, target: Target, by: str, max_names: int, caller: int) -> None:
        """``caller`` is the uid of the user that asks for it: unless that is root, it is only put into files that root
        alone can change."""
        self._bcc = bcc
        self._target = target
        self._by_user = by == "user"
        check_privilege(bcc.lib)
        # Before it is compiled: what is wrong with a name is said at once.
        self._places = find(bcc, target, roots_alone=caller != 0)
        self._bpf = self._compile(max_names)
        self._program = self._attach()
        self._began = time.monotonic()

    def _compile(self, max_names: int) -> Any:
        try:
            btf = Btf()
            try:
                defines = {name: btf.offset(struct, path) for name, (struct, path) in _OFFSETS.items()}
            finally:
                btf.close()
        except BtfError as error:
            remedy = "use a kernel built with CONFIG_DEBUG_INFO_BTF=y, as distro kernels since 5.8 are"
            raise ProbeError("no-btf", str(error), remedy) from error
        major, minor = kernel_version()
        defines.update(EXECPROBE_KERNEL_VERSION=(major << 16) + (minor << 8), NAMES_MAX=max_names)
        flags = ["-D%s=%d" % item for item in sorted(defines.items())]
        flags += ["-DEXECS"] if self._target.kind == EXEC else []
        flags += ["-DBY_USER"] if self._by_user else []
        folder = bpf_folder("top.c")  # no option: no user may have root compile what that user has written
        os.environ["BCC_KERNEL_SOURCE"] = folder
        try:
            return self._bcc.BPF(src_file=os.path.join(folder, "top.c"), cflags=flags)
        except Exception as error:
            remedy = "please report this with the kernel's version and BCC's; if memory is short, lower --max-names"
            raise ProbeError("no-compile", "BCC could not compile the probe: %s" % error, remedy) from error

    def _attach(self) -> int:
        """Returns the program's descriptor."""
        kind, place, name = self._target
        try:
            if kind == EXEC:
                self._bpf.attach_raw_tracepoint(tp=b"sched_process_exec", fn_name=b"on_exec")
                return self._function(b"on_exec", self._bcc.BPF.RAW_TRACEPOINT)
            if kind == "tracepoint":
                self._bpf.attach_tracepoint(tp=("%s:%s" % (place, name)).encode(), fn_name=b"on_tracepoint")
                return self._function(b"on_tracepoint", self._bcc.BPF.TRACEPOINT)
            if kind == "kprobe":
                self._bpf.attach_kprobe(event=name.encode(), fn_name=b"on_probe")
                return self._function(b"on_probe", self._bcc.BPF.KPROBE)
            program = self._function(b"on_probe", self._bcc.BPF.KPROBE)
        except Exception as error:
            raise self._refused(str(error)) from error
        # BCC's Python leaves out the last argument of this, the semaphore's place: what the kernel then took for it
        # would be whatever stood there.
        attach = self._bcc.lib["bpf_attach_uprobe"]
        c = ctypes
        attach.argtypes = [c.c_int, c.c_int, c.c_char_p, c.c_char_p, c.c_uint64, c.c_int, c.c_uint32]
        # The file that was looked at, whatever has its path by now.
        file = b"/proc/self/fd/%d" % self._places.file
        try:
            for offset, semaphore in self._places.offsets:
                event = b"execprobe_0x%x" % offset
                if attach(program, 0, event, file, offset, -1, semaphore) < 0:
                    raise self._refused(os.strerror(ctypes.get_errno()))
        finally:
            os.close(self._places.file)  # the kernel has it now
        return program

    def _function(self, name: bytes, kind: int) -> int:
        return int(self._bpf.load_func(name, kind).fd)

    def _refused(self, why: str) -> Unattached:
        kind, _, name = self._target
        if kind == "kprobe":
            remedy = "name another function: some take no probe, such as those that probes themselves use"
        elif kind in ("uprobe", "usdt"):
            remedy = "name another place: some instructions take no probe, nor do files on some file systems"
        else:
            remedy = "run it as root; in a container, allow bpf(2) and perf_event_open(2) (docker run --privileged)"
        what = "successful execs" if kind == EXEC else "%s %s" % (kind, name)
        return Unattached("refused", "the kernel refused a probe of %s: %s" % (what, why.strip()), remedy)

    # ---- what it knows ----

    def describe(self) -> Dict[str, Any]:
        return {
            "where": self._places.where,
            "pid": os.getpid(),
            "bcc": str(getattr(self._bcc, "__version__", "?")),
            "kernel": platform.release(),
            "python": sys.executable,
            "route": privilege.route(),
        }

    def counts(self) -> Dict[str, Any]:
        """``counts`` has pairs of a name, or of a user's number, and how often, in the seconds that have ``elapsed``.
        ``no_room`` were seen after the map was full, ``missed`` were not seen, None where the kernel does not say."""
        elapsed = time.monotonic() - self._began
        pairs: List[Tuple[Any, int]] = []
        for key, value in self._bpf["found"].items():
            name = int(key.uid) if self._by_user else bytes(key.name).decode("utf-8", "surrogateescape")
            pairs.append((name, int(value.value)))
        return {"elapsed": elapsed, "counts": pairs, "no_room": self._no_room(), "missed": self._missed()}

    def _no_room(self) -> int:
        table = self._bpf["no_room"]
        return sum(int(value) for value in table[table.Key(0)])

    def _missed(self) -> Optional[int]:
        if self._target.kind != EXEC and kernel_version() < _MISSES_COUNTED:
            return None
        return library.misses(self._bcc.lib, self._program)

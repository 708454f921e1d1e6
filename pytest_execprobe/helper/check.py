"""What an interpreter has for the probe: ``python3 -I -B .../helper/check.py``, with ``bpf`` whether bpf(2) is let
through. For ``execprobe doctor``, as JSON on standard output. It needs no privilege and loads nothing into the kernel.

This module alone is read by Pythons that are too old for the rest, as far back as 3.6, so that they can say so.
"""

import ctypes
import errno
import json
import os
import platform
import runpy
import sys
from typing import Any, Dict

OLDEST = (3, 9)

#: The number of bpf(2). Machines that are not listed here go unasked.
_BPF_CALL = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361, "s390x": 351}
_BPF_MAP_CREATE = 0


def describe() -> Dict[str, Any]:
    """``python``, and ``code`` and ``reason`` for why it can't run the helper, or ``bcc`` and ``folder`` where it can;
    then ``modules`` are the folders in which it looks for modules, and ``offsets`` counts what libbpf has found in the
    kernel's BTF, or ``btf`` says why it could not."""
    found: Dict[str, Any] = {"python": platform.python_version()}
    if sys.version_info < OLDEST:
        found.update(code="old-python", reason="the helper needs Python %d.%d or later" % OLDEST)
        return found
    runpy.run_path(os.path.join(os.path.dirname(os.path.abspath(__file__)), "__main__.py"))["_import_siblings"]()
    from importlib import import_module

    build, btf = import_module("execprobe_helper.bpf.build"), import_module("execprobe_helper.bpf.btf")
    try:
        build.look_for_bcc()
        bcc = build.import_bcc()
    except build.ProbeError as error:
        found.update(code=error.code, reason=error.reason)
        return found
    found.update(bcc=str(getattr(bcc, "__version__", "?")), folder=os.path.dirname(str(bcc.__file__)))
    found["modules"] = [folder for folder in sys.path if os.path.exists(folder)]
    try:
        found["offsets"] = len(btf.kernel_offsets(platform.machine()))
    except btf.BtfError as error:
        found["btf"] = str(error)
    return found


def bpf() -> Dict[str, Any]:
    """``error``: the errno's name of a bpf(2) that asks for a map of no type, so that none is ever made. EINVAL is the
    kernel's answer, in older ones only to those who may use it and EPERM to others; ENOSYS where it has none. A filter
    says what it likes. None: this machine was not asked."""
    number = _BPF_CALL.get(platform.machine()) if sys.maxsize > 1 << 32 else None
    if number is None:
        return {"error": None}
    libc = ctypes.CDLL(None, use_errno=True)
    attributes = ctypes.create_string_buffer(72)
    libc.syscall(ctypes.c_long(number), ctypes.c_long(_BPF_MAP_CREATE), attributes, ctypes.c_long(len(attributes)))
    return {"error": errno.errorcode.get(ctypes.get_errno(), str(ctypes.get_errno()))}


if __name__ == "__main__":
    print(json.dumps(bpf() if sys.argv[1:] == ["bpf"] else describe()))

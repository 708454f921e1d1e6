"""Compiles a source by BCC, in a process of its own: clang's memory ends with it, and it has nobody's environment."""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import json
import os
from typing import Any, Callable, Dict, List, Sequence, Tuple

from .. import privilege
from ..apart import Apart
from ..errors import INSTALL_BCC, NEWER_BCC, REPORT, ProbeError
from .unit import Compiled, Map, Program, parse, with_maps

_ONCE = ["-Xclang", "-disable-llvm-passes"]  # BCC has LLVM optimise them once more

#: A program's name and its type.
Wanted = Tuple[str, int]


def look_for_bcc() -> None:
    """Raises ProbeError where there is no bcc at all, and loads nothing."""
    if importlib.util.find_spec("bcc") is None:
        raise _no_bcc("No module named 'bcc'")


def import_bcc() -> Any:
    """The real bcc. PyPI has an unrelated package of this name, which is recognised."""
    try:
        bcc = importlib.import_module("bcc")
    except ImportError as error:
        raise _no_bcc(str(error)) from error
    if not hasattr(bcc, "BPF"):
        raise ProbeError(
            "wrong-bcc",
            "the bcc in %s is PyPI's unrelated package, not the BPF Compiler Collection"
            % os.path.dirname(getattr(bcc, "__file__", None) or "?"),
            "uninstall it there, and install the distro's BCC: python3-bpfcc or python3-bcc",
        )
    if not hasattr(bcc.BPF, "perf_buffer_consume"):
        raise ProbeError(
            "old-bcc",
            "BCC %s is too old" % getattr(bcc, "__version__", "?"),
            NEWER_BCC,
        )
    return bcc


def _no_bcc(why: str) -> ProbeError:
    return ProbeError(
        "no-bcc",
        "this Python has no usable module bcc (%s)" % why,
        INSTALL_BCC,
    )


def build(
    source: str, defines: Callable[[], Dict[str, int]], programs: Sequence[Wanted], *, twice: bool = False
) -> Compiled:
    """Compiles those of the programs that the source has, with these names defined. Raises ProbeError.

    ``twice``: clang optimises them as well, before BCC does: that takes half as long again, and changes little.
    """
    died = ProbeError("no-compile", "BCC ended while it compiled the probe", REPORT)
    looking = Apart(lambda: json.dumps(defines()).encode(), died)  # while BCC is imported

    def work() -> bytes:
        os.environ.clear()  # clang takes folders of headers from there, and what is kept is for others, too
        try:
            return _compile(source, looking, programs, [] if twice else _ONCE).dump()
        except ProbeError:
            raise
        except Exception as error:
            reason = "BCC could not compile the probe: %s: %s" % (type(error).__name__, error)
            raise ProbeError("no-compile", reason, REPORT) from error

    try:
        return parse(Apart(work, died, [looking.fd]).result())
    finally:
        os.close(looking.fd)
        looking.let_go()


def _compile(source: str, looking: Apart, programs: Sequence[Wanted], options: List[str]) -> Compiled:
    bcc = import_bcc()
    defines: Dict[str, int] = json.loads(looking.result().decode())
    privilege.become_nobody(source)
    os.environ["BCC_KERNEL_SOURCE"] = os.path.dirname(source)
    folder = os.path.abspath(os.path.dirname(source))
    # BCC compiles a copy of the source under another name, beside which no header is.
    # What it writes for debuggers is not kept.
    flags = ["-I" + folder, "-g0", *options, *("-D%s=%d" % item for item in sorted(defines.items()))]
    try:
        module = bcc.BPF(src_file=source, cflags=flags)
    except Exception as error:
        raise ProbeError("no-compile", "BCC could not compile the probe: %s" % error, REPORT) from error
    maps, places = _maps(bcc.lib, ctypes.c_void_p(module.module))
    there = {
        bcc.lib.bpf_function_name(module.module, place) for place in range(bcc.lib.bpf_num_functions(module.module))
    }
    made = [
        Program(name, kind, with_maps(module.dump_func(name.encode()), places))
        for name, kind in programs
        if name.encode() in there
    ]
    return Compiled(tuple(maps), tuple(made))


def _maps(lib: Any, module: ctypes.c_void_p) -> Tuple[List[Map], Dict[int, int]]:
    """A module's maps, and by their descriptors, which stand in its programs, where in the list they are."""
    numbers = [
        getattr(lib, "bpf_table_%s_id" % name)
        for name in ("fd", "type", "key_size", "leaf_size", "max_entries", "flags")
    ]
    for function in [*numbers, lib.bpf_table_name]:
        function.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    lib.bpf_table_name.restype = ctypes.c_char_p
    lib.bpf_num_tables.argtypes = [ctypes.c_void_p]
    maps: List[Map] = []
    places: Dict[int, int] = {}
    for place in range(lib.bpf_num_tables(module)):
        descriptor, *fields = [int(number(module, place)) for number in numbers]
        places[descriptor] = place
        maps.append(Map(lib.bpf_table_name(module, place).decode(), *fields))
    return maps, places

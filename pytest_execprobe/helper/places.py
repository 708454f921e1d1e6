"""Whether there is what ``execprobe top`` is to put its probe on, where that is, and what is near it if not."""

from __future__ import annotations

import os
import re
from typing import Any, Iterable, List, NamedTuple, Sequence, Set, Tuple

from . import privilege
from .elf import Elf, ElfError
from .probe import ProbeError
from .target import EXEC, Target, near

_TRACEFS = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")
_SOURCES = "/sys/bus/event_source/devices"
_PLACES_MAX = 64  # of one function or USDT probe
_SHOWN = 6  # names of functions that another stands for


class Unattached(ProbeError):
    """The probe that was asked for can't be had, and others can."""

    def __init__(self, code: str, reason: str, remedy: str, near: Iterable[str] = ()) -> None:
        super().__init__(code, reason, remedy)
        self.near = list(near)


class Places(NamedTuple):
    """``where`` is in words. Of a uprobe the file, and in it the probe's offsets, each with its semaphore's, or 0."""

    where: Sequence[str]
    file: str = ""
    offsets: Sequence[Tuple[int, int]] = ()


def find(bcc: Any, target: Target) -> Places:
    """Raises Unattached."""
    if target.kind == EXEC:
        return Places(["raw tracepoint sched_process_exec"])
    if target.kind == "kprobe":
        return _find_function(target.name)
    if target.kind == "tracepoint":
        return _find_tracepoint("%s:%s" % (target.place, target.name))
    file = _find_file(bcc, target.place)
    try:
        elf = Elf(file)
        if target.kind == "usdt":
            return _find_usdt(file, elf, target.name)
        return _find_symbol(bcc, file, elf, target.name)
    except (ElfError, OSError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise Unattached(
            "no-such-file", "%s can't be probed: %s" % (file, why), "name a program or a library"
        ) from error


# ---- in the kernel ----


def _find_function(name: str) -> Places:
    if not os.path.exists("%s/kprobe/type" % _SOURCES):
        raise Unattached(
            "no-kprobes",
            "this kernel was built without kprobes",
            "use a tracepoint (--probe tracepoint:CATEGORY:NAME), or a kernel with CONFIG_KPROBES, as distros' are",
        )
    functions = list(_kernel_functions())
    times = functions.count(name)
    if times == 1:
        return Places(["kprobe at %s" % name])
    others = near(name, _traceable_functions() or functions)
    if times == 0:
        raise Unattached(
            "no-such-probe",
            "the running kernel has no function %s" % name,
            "name one that it has; they are in /proc/kallsyms, and what the compiler has inlined is not there",
            others,
        )
    raise Unattached(
        "ambiguous",
        "the running kernel has %d functions %s, and a probe by name would see one of them" % (times, name),
        "name a function that calls them, or that they call",
        others,
    )


def _find_tracepoint(name: str) -> Places:
    try:
        privilege.ensure_tracefs()
    except (privilege.PrivilegeError, OSError) as error:
        raise Unattached(
            "no-tracefs",
            "tracefs, where tracepoints are listed, can't be had (%s)" % error,
            "run it as root, or mount it: mount -t tracefs tracefs /sys/kernel/tracing",
        ) from error
    if any(os.path.isfile("%s/events/%s/id" % (folder, name.replace(":", "/"))) for folder in _TRACEFS):
        return Places(["tracepoint %s" % name])
    raise Unattached(
        "no-such-probe",
        "the running kernel has no tracepoint %s" % name,
        "name one that it has; they are in /sys/kernel/tracing/available_events",
        near(name, _lines_of_tracefs("available_events")),
    )


def _kernel_functions() -> Iterable[str]:
    """Each as often as there is one of this name."""
    with open("/proc/kallsyms", encoding="utf-8", errors="replace") as file:
        for line in file:
            _, kind, name = line.split(None, 3)[:3]
            # What begins so is the padding before a function.
            if kind in "tTwW" and not name.startswith("__pfx_"):
                yield name


def _traceable_functions() -> List[str]:
    try:
        privilege.ensure_tracefs()
    except (privilege.PrivilegeError, OSError):
        return []
    return [line.split()[0] for line in _lines_of_tracefs("available_filter_functions")]


def _lines_of_tracefs(name: str) -> List[str]:
    for folder in _TRACEFS:
        try:
            with open("%s/%s" % (folder, name), encoding="utf-8", errors="replace") as file:
                return [line.strip() for line in file if line.strip()]
        except OSError:
            continue
    return []


# ---- in files ----


def _find_file(bcc: Any, place: str) -> str:
    if not os.path.exists("%s/uprobe/type" % _SOURCES):
        raise Unattached(
            "no-uprobes",
            "this kernel was built without uprobes",
            "use a kernel with CONFIG_UPROBES, as distros' are",
        )
    if "/" not in place:
        found = bcc.BPF.find_library(place.encode()) or bcc.BPF.find_exe(place.encode())
        if not found:
            raise Unattached(
                "no-such-file",
                "there is no library or program %s" % place,
                "give its path, or a library's name without lib and .so, such as c",
                near(place, _libraries()),
            )
        place = os.fsdecode(found)
    return os.path.realpath(place)


def _libraries() -> Set[str]:
    """The short names of those that the loader knows."""
    try:
        with open("/etc/ld.so.cache", "rb") as file:
            return {name.decode() for name in re.findall(rb"/lib([A-Za-z0-9_+.-]+?)\.so", file.read())}
    except OSError:
        return set()


def _find_symbol(bcc: Any, file: str, elf: Elf, symbol: str) -> Places:
    functions = elf.functions()
    if symbol in functions.indirect:
        raise Unattached(
            "indirect",
            "%s of %s is chosen anew for each machine: its first call returns the function that all calls go to,"
            " and a probe would see that one alone" % (symbol, file),
            "name the function that is chosen, or one that calls it",
            sorted(name for name in functions.own if symbol in name and name != symbol)[:_SHOWN],
        )
    offsets = functions.own.get(symbol) or _debug_symbol(bcc, file, elf, symbol)
    if not offsets:
        imported = symbol in functions.imported
        raise Unattached(
            "no-such-probe",
            "%s calls %s, which is a function of another library" % (file, symbol)
            if imported
            else "%s has no function %s" % (file, symbol),
            "name the library that has it" if imported else "name one that it has; nm -D --defined-only shows them",
            near(symbol, functions.own),
        )
    return _in_file(symbol, file, [(offset, 0) for offset in sorted(offsets)])


def _debug_symbol(bcc: Any, file: str, elf: Elf, symbol: str) -> Set[int]:
    """Of a function that only a separate file with debug symbols knows. BCC finds those."""
    try:
        _, offset = bcc.BPF._check_path_symbol(os.fsencode(file), symbol.encode(), None, -1)
    except Exception:
        return set()
    return {int(offset)} if elf.is_code(int(offset)) else set()


def _find_usdt(file: str, elf: Elf, wanted: str) -> Places:
    probes = list(elf.usdt())
    names = ["%s:%s" % (one.provider, one.name) for one in probes]
    places = [(one.offset, one.semaphore) for one, name in zip(probes, names) if name == wanted]
    if not places:
        reason = "%s has no USDT probe %s" % (file, wanted)
        raise Unattached(
            "no-such-probe",
            reason if probes else reason + ", nor any other",
            "name one that it has; readelf -n shows them"
            if probes
            else "name a program that was built with them; readelf -n shows those of a file",
            near(wanted, names),
        )
    return _in_file(wanted, file, sorted(set(places)))


def _in_file(name: str, file: str, places: List[Tuple[int, int]]) -> Places:
    if len(places) > _PLACES_MAX:
        what = "%s is in %d places of %s" % (name, len(places), file)
        raise Unattached("too-many", what, "name a probe that is in at most %d" % _PLACES_MAX)
    return Places(["%s at 0x%x" % (file, offset) for offset, _ in places], file, places)

"""Whether there is what ``execprobe top`` is to put its probe on, where that is, and what is near it if not."""

from __future__ import annotations

import contextlib
import os
import re
from typing import Any, Iterable, List, NamedTuple, Sequence, Set, Tuple

from .. import privilege
from ..errors import ProbeError
from .elf import Elf, ElfError
from .opened import Foreign, NotTaken, open_regular
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
    """``where`` is in words. Of a uprobe the file's descriptor, and in that file the probe's offsets, each with its
    semaphore's, or 0. All of them were looked up in what is open there: a path could lead to another file by now."""

    where: Sequence[str]
    file: int = -1
    offsets: Sequence[Tuple[int, int]] = ()


def find(bcc: Any, target: Target, roots_alone: bool) -> Places:
    """With ``roots_alone``, only in files that root alone can change. Raises Unattached."""
    if target.kind == EXEC:
        return Places(["raw tracepoint sched_process_exec"])
    if target.kind == "kprobe":
        return _find_function(target.name)
    if target.kind == "tracepoint":
        return _find_tracepoint("%s:%s" % (target.place, target.name))
    try:
        file = _open_file(bcc, target.place, roots_alone)
        try:
            elf = Elf(file)
            if target.kind == "usdt":
                offsets = _find_usdt(file, elf, target.name)
            else:
                offsets = _find_symbol(file, elf, target.name, roots_alone)
            return _in_file(target.name, file, elf, offsets)
        except BaseException:
            os.close(file)
            raise
    except Foreign as error:
        raise Unattached(
            "not-roots",
            "%s can't be probed: %s" % (target.place, error),
            "name a file that root alone can write to, in folders of which the same is true. Where sudo allows this"
            " user everything: sudo execprobe top",
        ) from error
    except (ElfError, NotTaken, OSError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise Unattached(
            "no-such-file", "%s can't be probed: %s" % (target.place, why), "name a program or a library"
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


def _open_file(bcc: Any, place: str, roots_alone: bool) -> int:
    if not os.path.exists("%s/uprobe/type" % _SOURCES):
        raise Unattached(
            "no-uprobes",
            "this kernel was built without uprobes",
            "use a kernel with CONFIG_UPROBES, as distros' are",
        )
    if "/" in place:
        return open_regular(place, roots_alone)
    library = bcc.BPF.find_library(place.encode())  # it reads the loader's list alone
    if library:
        return open_regular(os.fsdecode(library), roots_alone)
    for folder in filter(os.path.isabs, os.get_exec_path()):
        with contextlib.suppress(NotTaken, OSError):
            file = open_regular(os.path.join(folder, place), roots_alone)
            if os.fstat(file).st_mode & 0o111:
                return file
            os.close(file)
    raise Unattached(
        "no-such-file",
        "there is no library or program %s" % place,
        "give its path, or a library's name without lib and .so, such as c",
        near(place, _libraries()),
    )


def _libraries() -> Set[str]:
    """The short names of those that the loader knows."""
    try:
        with open("/etc/ld.so.cache", "rb") as file:
            return {name.decode() for name in re.findall(rb"/lib([A-Za-z0-9_+.-]+?)\.so", file.read())}
    except OSError:
        return set()


def _find_symbol(file: int, elf: Elf, symbol: str, roots_alone: bool) -> Iterable[Tuple[int, int]]:
    functions = elf.functions()
    if symbol in functions.indirect:
        raise Unattached(
            "indirect",
            "%s of %s is chosen anew for each machine: its first call returns the function that all calls go to,"
            " and a probe would see that one alone" % (symbol, _path(file)),
            "name the function that is chosen, or one that calls it",
            sorted(name for name in functions.own if symbol in name and name != symbol)[:_SHOWN],
        )
    offsets = functions.own.get(symbol) or _debug_symbol(elf, symbol, roots_alone)
    if not offsets:
        imported = symbol in functions.imported
        raise Unattached(
            "no-such-probe",
            "%s calls %s, which is a function of another library" % (_path(file), symbol)
            if imported
            else "%s has no function %s" % (_path(file), symbol),
            "name the library that has it" if imported else "name one that it has; nm -D --defined-only shows them",
            near(symbol, functions.own),
        )
    return [(offset, 0) for offset in offsets]


def _debug_symbol(elf: Elf, symbol: str, roots_alone: bool) -> Set[int]:
    """Of a function that only a separate file with debug symbols knows, where distributions put those."""
    build_id = elf.build_id().hex()
    if not build_id:
        return set()
    try:
        file = open_regular("/usr/lib/debug/.build-id/%s/%s.debug" % (build_id[:2], build_id[2:]), roots_alone)
    except (NotTaken, OSError):
        return set()
    try:
        symbols = Elf(file)
        return elf.functions(symbols).own.get(symbol, set()) if symbols.build_id() == elf.build_id() else set()
    except (ElfError, OSError):
        return set()
    finally:
        os.close(file)


def _find_usdt(file: int, elf: Elf, wanted: str) -> Iterable[Tuple[int, int]]:
    probes = list(elf.usdt())
    names = ["%s:%s" % (one.provider, one.name) for one in probes]
    places = [(one.offset, one.semaphore) for one, name in zip(probes, names) if name == wanted]
    if not places:
        reason = "%s has no USDT probe %s" % (_path(file), wanted)
        raise Unattached(
            "no-such-probe",
            reason if probes else reason + ", nor any other",
            "name one that it has; readelf -n shows them"
            if probes
            else "name a program that was built with them; readelf -n shows those of a file",
            near(wanted, names),
        )
    return places


def _in_file(name: str, file: int, elf: Elf, offsets: Iterable[Tuple[int, int]]) -> Places:
    """What the kernel is to put its breakpoints on must be code, and what it is to count up must be data."""
    places = sorted(set(offsets))
    path = _path(file)
    if len(places) > _PLACES_MAX:
        what = "%s is in %d places of %s" % (name, len(places), path)
        raise Unattached("too-many", what, "name a probe that is in at most %d" % _PLACES_MAX)
    for offset, semaphore in places:
        if not elf.is_code(offset):
            raise ElfError("it is broken: where it says that %s is, there is no code" % name)
        if semaphore and not elf.is_counter(semaphore):
            raise ElfError("it is broken: where it says that the semaphore of %s is, there is no data" % name)
    return Places(["%s at 0x%x" % (path, offset) for offset, _ in places], file, places)


def _path(file: int) -> str:
    return os.readlink("/proc/self/fd/%d" % file)

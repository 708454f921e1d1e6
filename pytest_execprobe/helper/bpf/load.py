"""Loads what was compiled: maps and programs in the kernel, read and attached by bytes and names."""

from __future__ import annotations

import _thread
import ctypes
import errno
import mmap
import os
import re
import struct
from typing import Dict, Iterable, Iterator, List, Optional

from . import library, unit
from .unit import Compiled

_ANY = 0  # uapi/linux/bpf.h, BPF_ANY
_PER_CPU = (5, 6)  # BPF_MAP_TYPE_PERCPU_HASH and _ARRAY
_SLOWEST = "on_exec_paths"  # for the kernel's verifier


class LoadError(Exception):
    """The kernel does not take it; ``forbids``: whatever it is."""

    def __init__(self, what: str, error: OSError) -> None:
        super().__init__("%s: %s" % (what, error.strerror))
        self.forbids = error.errno == errno.EPERM


class LoadedMap:
    """A map, whose keys and values are bytes."""

    def __init__(self, lib: ctypes.CDLL, spec: unit.Map, descriptor: int) -> None:
        self.fd = descriptor
        self.max_entries = spec.max_entries
        self._lib = lib
        self._key_size = spec.key_size
        self._size = spec.value_size
        if spec.type in _PER_CPU:
            self._size = (self._size + 7) // 8 * 8 * possible_cpus()

    def get(self, key: bytes) -> Optional[bytes]:
        """Of a map for each CPU, all their values one behind the other."""
        value = ctypes.create_string_buffer(self._size)
        return value.raw if self._lib.bpf_lookup_elem(self.fd, key, value) == 0 else None

    def set(self, key: bytes, value: bytes, flags: int = _ANY) -> bool:
        return bool(self._lib.bpf_update_elem(self.fd, key, value, flags) == 0)

    def delete(self, key: bytes) -> None:
        self._lib.bpf_delete_elem(self.fd, key)

    def pop(self) -> Optional[bytes]:
        """Of a queue, what came first."""
        value = ctypes.create_string_buffer(self._size)
        return value.raw if self._lib.bpf_lookup_and_delete(self.fd, None, value) == 0 else None

    def map_memory(self) -> mmap.mmap:
        """Of an array that can be mapped, all its values, to be read. From here on only the kernel's programs can write
        to it. Raises OSError."""
        if self._lib.bpf_map_freeze(self.fd) < 0:
            raise library.last_error()
        return mmap.mmap(self.fd, self._size * self.max_entries, prot=mmap.PROT_READ)

    def __iter__(self) -> Iterator[bytes]:
        """Its keys. Where the one that was read last has gone meanwhile the kernel begins anew."""
        key = ctypes.create_string_buffer(self._key_size)
        left = self._lib.bpf_get_first_key(self.fd, key, self._key_size)
        while left == 0:
            yield key.raw
            left = self._lib.bpf_get_next_key(self.fd, key, key)


class Loaded:
    """The maps of all units that were loaded, and their programs."""

    def __init__(self, lib: ctypes.CDLL) -> None:
        self.tables: Dict[str, LoadedMap] = {}
        self.programs: Dict[str, int] = {}  # descriptors
        self._lib = lib

    def load(self, compiled: Compiled, entries: Dict[str, int]) -> None:
        """``entries``: of maps that are to be larger or smaller than they were compiled. Raises LoadError."""
        made: Dict[str, LoadedMap] = {}
        programs: Dict[str, int] = {}
        try:
            numbers = {}
            for place, spec in enumerate(compiled.maps):
                spec = spec._replace(max_entries=entries.get(spec.name, spec.max_entries))
                if spec.name not in self.tables and spec.name not in made:
                    made[spec.name] = LoadedMap(self._lib, spec, self._create(spec))
                numbers[place] = (self.tables.get(spec.name) or made[spec.name]).fd
            self._load_all(compiled, numbers, programs)
        except LoadError:
            # Nothing of it stays: what is compiled instead has maps of these names, too.
            for descriptor in [*programs.values(), *(table.fd for table in made.values())]:
                os.close(descriptor)
            raise
        self.tables.update(made)
        self.programs.update(programs)

    def _create(self, spec: unit.Map) -> int:
        sizes = (spec.key_size, spec.value_size, spec.max_entries, spec.flags)
        descriptor = int(self._lib.bcc_create_map(spec.type, spec.name.encode(), *sizes))
        if descriptor < 0:
            raise LoadError("a map (%s)" % spec.name, library.last_error())
        return descriptor

    def _load_all(self, compiled: Compiled, numbers: Dict[int, int], loaded: Dict[str, int]) -> None:
        """Raises LoadError. What takes the kernel as long as all others it can do on another CPU: no lock is held."""
        here: List[LoadError] = []
        there: List[LoadError] = []
        slowest = [program for program in compiled.programs if program.name == _SLOWEST]

        def load(programs: Iterable[unit.Program], failures: List[LoadError]) -> None:
            try:
                for program in programs:
                    loaded[program.name] = self._load(program, numbers)
            except LoadError as error:
                failures.append(error)

        def load_slowest() -> None:
            try:
                load(slowest, there)
            finally:
                is_over.release()

        is_over = _thread.allocate_lock()
        is_over.acquire()
        try:
            _thread.start_new_thread(load_slowest, ())
        except RuntimeError:  # this user may have no more of them
            load_slowest()
        load((program for program in compiled.programs if program not in slowest), here)
        is_over.acquire()
        for error in (*here, *there):  # whichever came first
            raise error

    def _load(self, program: unit.Program, numbers: Dict[int, int]) -> int:
        code, name = unit.with_maps(program.code, numbers), program.name.encode()
        descriptor = int(self._lib.bcc_prog_load(program.type, name, code, len(code), b"GPL", 0, 0, None, 0))
        if descriptor < 0:
            raise LoadError("a program (%s)" % program.name, library.last_error())
        return descriptor

    # Each raises OSError.

    def let_call(self, table: str, number: int, program: str) -> None:
        """Puts the program into a map of programs, by this number."""
        if not self.tables[table].set(struct.pack("=I", number), struct.pack("=I", self.programs[program])):
            raise library.last_error()

    def attach_raw(self, tracepoint: str, program: str) -> None:
        self._check(self._lib.bpf_attach_raw_tracepoint(self.programs[program], tracepoint.encode()))

    def attach_tracepoint(self, category: str, tracepoint: str, program: str) -> None:
        self._check(self._lib.bpf_attach_tracepoint(self.programs[program], category.encode(), tracepoint.encode()))

    def attach_kprobe(self, function: str, program: str, on_return: bool = False) -> None:
        event = "%s_%s" % ("r" if on_return else "p", re.sub("[+.]", "_", function))
        number = self.programs[program]
        self._check(self._lib.bpf_attach_kprobe(number, on_return, event.encode(), function.encode(), 0, 0))

    def _check(self, result: int) -> None:
        if result < 0:
            raise library.last_error()


def possible_cpus() -> int:
    """One more than the largest number of a CPU that this machine can have."""
    return cpus("possible")[-1] + 1


def cpus(which: str) -> List[int]:
    """Numbers of those that are "possible", or "online"."""
    with open("/sys/devices/system/cpu/%s" % which) as file:
        ranges = [part.split("-") for part in file.read().strip().split(",")]
    return [number for one in ranges for number in range(int(one[0]), int(one[-1]) + 1)]

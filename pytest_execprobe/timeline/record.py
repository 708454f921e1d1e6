"""One exec, as users see it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from .._util import originals
from .._util.hiding import quoted
from .._util.text import printable
from ..source.command import Command
from .site import CallSite

Phase = Literal["setup", "call", "teardown"]


@dataclass(frozen=True, slots=True)
class Lineage:
    """Where an exec stands among the others, besides its parent: what attribution and rules go by."""

    #: What this very process ran before, where it had exec'd already since it was forked (``env X``: ``env``).
    previous: ExecRecord | None = None
    #: Whether the process is a child of the test's own.
    direct: bool = False
    #: Whether it counts for another test or fixture than began its branch.
    shared: bool = False
    #: The phase in which its branch was begun.
    begun_in: Phase | None = None
    #: Whether a lost record hides what is above this one.
    lost: bool = False
    #: Where the test's own process has not forked this one itself, but a fork of it has that executed nothing, as those
    #: of multiprocessing: the fork's kernel pid and the time (ns) at which it was made, ``PID.TIME``.
    fork: str | None = None
    #: Whether it was a rule of this run by which it was stopped before it ran.
    enforced: bool = False


def lineage(
    previous: ExecRecord | None,
    direct: bool,
    shared: bool,
    begun_in: Phase | None,
    lost: bool,
    fork: str | None,
    enforced: bool,
) -> Lineage:
    """Where nothing is previous, few differ, and a log's records share them."""
    make = _first_lineage if previous is None and fork is None else Lineage
    return make(previous, direct, shared, begun_in, lost, fork, enforced)


_first_lineage = functools.cache(Lineage)


@dataclass(frozen=True, eq=False, slots=True, repr=False)
class ExecRecord:
    """One execve or execveat. A field that could not be read is None, never a guess.

    Two records are equal when they are the same exec, whenever they were read.
    """

    _command: Command
    #: Process id, of the thread group, in the PID namespace of the test: in a container what ``Popen.pid`` says.
    pid: int
    #: Process id of the parent at the moment of the exec, likewise: 1 or a subreaper's for an orphan, 0 for one outside
    #: of the namespace; None if it was just ending.
    ppid: int | None
    #: What the process that forked this one was running, or None for the test's own process.
    parent: ExecRecord | None
    #: 1 for what the test's own process spawned, one more for each exec'd ancestor; None if a record above was lost.
    depth: int | None
    #: Real user, in the initial user namespace.
    uid: int
    #: Real group, likewise.
    gid: int
    #: When execve was entered: nanoseconds of CLOCK_MONOTONIC, as ``time.monotonic_ns()``.
    timestamp_ns: int
    #: The phase of the running test, or fixture of wider scope, in which execve was entered; None outside of both.
    phase: Phase | None
    #: The test (node id) or fixture in which this branch of the process tree left the test's process, or None.
    begun_by: str | None
    #: The errno's name of a failed attempt (``"ENOENT"``), None for a success. A few are the kernel's own, which no
    #: program sees: ``ERESTARTNOINTR`` of a thread that lost a race of execve to another one, ``ERESTARTSYS`` and its
    #: like of one that a signal interrupted.
    error: str | None
    #: The exit code, if the log knew the end of the process when it was read or closed, and the process did not become
    #: something else by another exec.
    exit_code: int | None
    #: The number of the signal that ended the process, under the same conditions.
    signal: int | None
    #: From the entry of execve to the end of the process, under the same conditions.
    duration_ns: int | None
    #: Where Python code spawned its branch of the process tree, None where that is not known for certain: C code that
    #: forks by itself, and what was spawned before the probe was there.
    call_site: CallSite | None
    #: Whether it was killed before its first instruction, as a rule with ``enforce=True`` wanted: its ``signal`` is 9.
    stopped: bool = False
    _lineage: Lineage = Lineage()
    _identity: tuple[int, int] = (0, 0)
    #: Whether it is the file that its process, or the one above, was running; None where that is not known.
    _itself: bool | None = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_itself", _executes_itself(self))

    @property
    def program(self) -> str | None:
        """Last component of ``path``, so a link (busybox) keeps its own name. Where the path names a descriptor
        (``/dev/fd/N``, ``/proc/self/exe``) that of the executable, of a script the interpreter's; ``memfd:NAME`` for a
        memfd."""
        return self._command.program

    @property
    def path(self) -> str | None:
        """As it was executed, so possibly relative; of a script the script."""
        return self._command.path

    @property
    def executable(self) -> str | None:
        """Resolved path of the program that was loaded, as ``/proc/PID/exe`` would say; of a script its interpreter."""
        return self._command.executable

    @property
    def argv(self) -> tuple[str, ...] | None:
        """Decoded as UTF-8 with surrogateescape, whatever the locale; of a script with the interpreter first. None of
        what another user's process failed to execute. ``repr()`` of an argument hides its secrets, and so does what
        pytest shows of an assertion about it."""
        return self._command.guarded

    @property
    def argv_truncated(self) -> bool:
        """Whether argv was longer than what is kept: 16 KiB, of failed attempts 48 arguments of up to 1 KiB."""
        return self._command.argv_truncated

    @property
    def comm(self) -> str:
        """The name that the kernel gave the process, at most 15 bytes of the program's."""
        return self._command.comm

    @property
    def cwd(self) -> str | None:
        """Working directory, as ``/proc/PID/cwd`` would say; None of failed attempts."""
        return self._command.cwd

    @property
    def interpreter(self) -> str | None:
        """Of a script the interpreter, as its ``#!`` line (or binfmt_misc) has it, else None. Where that is a script,
        too, the last one, which the kernel has loaded."""
        return self._command.interpreter

    @property
    def script(self) -> str | None:
        """Of a script its own file, resolved, as the kernel has opened it; None for other programs."""
        return self._command.script

    def __eq__(self, other: object) -> bool:
        return self._identity == other._identity if isinstance(other, ExecRecord) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._identity)

    def __repr__(self) -> str:
        error = f" {self.error}" if self.error else ""
        return printable(f"<ExecRecord {self.pid} {line_of(self._command.shown, quoted)}{error}>")

    @property
    def arguments(self) -> tuple[str, ...] | None:
        """What the program was given: argv without argv[0], and without the part of an interpreter, a script's or
        binfmt_misc's.

        None where argv could not be read, or the end of that part is not known: the script's own path stands there
        twice, as it does if that is its first argument.
        """
        at, argv = self._command.arguments_at, self._command.guarded
        return None if argv is None or at is None else argv[at:]

    @property
    def command_line(self) -> str:
        """Path and arguments, shell-quoted, secrets and all; what is not known is an ellipsis."""
        return line_of(self._command, originals.quote)


def line_of(command: Command, quote: Callable[[str], str]) -> str:
    """Path and arguments; what is not known is an ellipsis."""
    words = ["?" if command.path is None else quote(command.path), *map(quote, command.arguments or ())]
    if command.arguments is None or command.argv_truncated:
        words.append("…")
    return " ".join(words)


class _Made:
    """One that is made all at once: a frozen dataclass has each of its fields set by a call, which takes four times as
    long, and there are very many records. What has the same slots can become one."""

    __slots__ = tuple(ExecRecord.__slots__)

    def __init__(
        self, command: Command, pid: int, ppid: int | None, parent: ExecRecord | None, depth: int | None, uid: int,
        gid: int, timestamp_ns: int, phase: Phase | None, begun_by: str | None, error: str | None,
        exit_code: int | None, signal: int | None, duration_ns: int | None, call_site: CallSite | None, stopped: bool,
        lineage: Lineage, identity: tuple[int, int],
    ) -> None:  # fmt: skip
        self._command, self.pid, self.ppid, self.parent, self.depth = command, pid, ppid, parent, depth
        self.uid, self.gid, self.timestamp_ns, self.phase, self.begun_by = uid, gid, timestamp_ns, phase, begun_by
        self.error, self.exit_code, self.signal, self.duration_ns = error, exit_code, signal, duration_ns
        self.call_site, self.stopped, self._lineage, self._identity = call_site, stopped, lineage, identity
        self._itself = _executes_itself(self)
        self.__class__ = ExecRecord  # type: ignore[assignment]


#: As ExecRecord, by the places of its fields.
make_record: Callable[..., ExecRecord] = _Made  # type: ignore[assignment]


def _executes_itself(record: ExecRecord | _Made) -> bool | None:
    """Whether it is the file that its process, or the one above, was running; None where that is not known."""
    command, lineage = record._command, record._lineage
    others = [other._command for other in (record.parent, lineage.previous) if other is not None]
    if command.interpreter is None:
        file, above = command.executable, [other.executable for other in others]
    else:
        file, above = command.script, [other.script for other in others if other.interpreter is not None]
    if file is not None and file in above:
        return True
    return None if lineage.lost or file is None or None in above else False

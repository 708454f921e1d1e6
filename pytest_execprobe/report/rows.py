"""The rows of the process trees in a page: an exec is a list, in the order of ``COLUMNS``. Pure."""

from __future__ import annotations

from typing import Any

from ..log.ends import signal_name
from ..timeline import site
from ..timeline.program import described
from ..timeline.record import ExecRecord
from . import digest
from .lines import Line
from .model import Run

#: Characters of the arguments of an exec that are kept: a page with all of them may be too much for a browser.
_ARGUMENTS = 4096

#: Texts are indices into a list of texts, -1 if there is none; times are nanoseconds from the beginning of the unit's
#: time line.
COLUMNS = (
    "level",  # in the tree of the unit
    "again",  # whether its process has executed something before
    "parent",  # its row, -1 if what started it is not in this tree
    "above",  # what started it, in words, where it has no row
    *("program", "command", "path", "executable", "interpreter", "script", "origin"),
    "odd",  # whether there is something to be said against where it comes from
    "argv",
    "cut",  # characters of the arguments, -1 if their number is not known
    *("cwd", "pid", "ppid", "uid", "gid", "depth", "at", "duration", "became", "exit", "signal", "phase", "begun"),
    "shared",  # whether it counts for another than began it
    *("site", "through", "stopped"),
)


class Texts:
    """Each text once; an argument or a path is often that of many execs."""

    def __init__(self) -> None:
        self.every: list[str] = []
        self._places: dict[str, int] = {}

    def place(self, text: str | None) -> int:
        if text is None:
            return -1
        place = self._places.get(text)
        if place is None:
            place = self._places[text] = len(self.every)
            self.every.append(digest.shown(text))
        return place


class Rows:
    """Makes them for a run. What execs of the same command, or call site, have the same is made once."""

    def __init__(self, run: Run, texts: Texts, became: dict[ExecRecord, ExecRecord]) -> None:
        """``became``: what processes became by their next exec."""
        self._run = run
        self._texts = texts
        self._became = became
        # By id: the document keeps them.
        self._commands: dict[int, list[Any]] = {}
        self._sites: dict[int, tuple[int, int]] = {}

    def row(self, record: ExecRecord, line: Line, parent: int, above: str | None, origin: int) -> list[Any]:
        """Texts get their places in the order of the columns."""
        place, lineage = self._texts.place, record._lineage
        became = self._became.get(record)
        lasted = record.duration_ns
        if lasted is None and became is not None:
            lasted = became.timestamp_ns - record.timestamp_ns
        return [
            line.level,
            int(line.is_later),
            parent,
            place(above),
            *(self._commands.get(id(record._command)) or self._of_command(record)),
            record.pid,
            record.ppid,
            record.uid,
            record.gid,
            record.depth,
            record.timestamp_ns - origin,
            None if lasted is None else max(0, lasted),
            -1 if became is None else place(became.program or "?"),
            record.exit_code,
            -1 if record.signal is None else place(signal_name(record.signal)),
            record.phase,
            place(record.begun_by),
            int(lineage.shared),
            *((-1, -1) if record.call_site is None else self._of_site(record.call_site)),
            int(record.stopped),
        ]

    def _of_command(self, record: ExecRecord) -> list[Any]:
        """From its program to its working directory."""
        place = self._texts.place
        argv, left_out = _arguments(record)
        origin = (self._run.origins or {}).get(record._command.file or "")
        made = self._commands[id(record._command)] = [
            place(record.program or "?"),
            place(digest.cut(described(record), _ARGUMENTS)),
            place(record.path),
            place(record.executable),
            place(record.interpreter),
            place(record.script),
            -1 if origin is None else place(str(origin)),
            int(origin is not None and (origin.owned is False or bool(origin.remarks))),
            None if argv is None else [place(argument) for argument in argv],
            left_out,
            place(record.cwd),
        ]
        return made

    def _of_site(self, call_site: site.CallSite) -> tuple[int, int]:
        known = self._sites.get(id(call_site))
        if known is None:
            place = self._texts.place
            known = self._sites[id(call_site)] = place(site.place(call_site)), place(_stack(call_site))
        return known


def _stack(call_site: site.CallSite) -> str | None:
    """The frames outside of the standard library, if there is more than the one that is named besides."""
    frames = [f"{site.place(frame)}" for frame in call_site.stack]
    return ", by ".join(frames) if len(frames) > 1 else None


def _arguments(record: ExecRecord) -> tuple[list[str] | None, int]:
    """The arguments, as far as there is room for them, and how many characters are left out."""
    argv = record._command.shown.argv
    if argv is None:
        return None, 0
    kept: list[str] = []
    room = _ARGUMENTS
    for argument in argv:
        if room <= 0:
            break
        kept.append(argument[:room])
        room -= len(argument) + 1
    left_out = sum(map(len, argv)) - sum(map(len, kept))
    return kept, -1 if record.argv_truncated else left_out

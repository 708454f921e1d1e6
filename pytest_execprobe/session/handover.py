"""What a process that runs tests for another pytest hands over besides its sums: which tests it has judged, by which
rules, and which execs it has counted, so that the other one, which sees the same processes, counts them no more.

Some runners of tests start a pytest for them (pytest-isolated, pytest-insubprocess), others fork (pytest-fast,
pytest-zygote). In both the process that runs a test judges it; ``takeover`` is the other side.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pytest

from .. import __version__
from .._util import clock, originals
from ..rules.judge import Judge
from ..rules.text import Problem
from ..timeline.entry import Entry
from .offer import status_of
from .settings import Settings

#: What is handed over, among exported totals.
HANDED_OVER = "handed over"
#: At the end of the key of an exec that was stopped before it ran, by whom that is said.
SAID = "!"
_BY_THIS, _BY_OTHERS = 1, 2  # of an exec, who has stopped it


#: By the keys of execs, for each that has been counted the moment (ns) at which it was: it had been entered then.
Counted = dict[str, list[int]]


def add_counted(execs: Counted, more: Mapping[str, Sequence[int]]) -> None:
    for key, moments in more.items():
        execs.setdefault(key, []).extend(moments)


class Handover:
    """Of one process. ``by_reports``: it has no other way than the reports of its tests, which another process logs."""

    def __init__(self, settings: Settings, *, by_reports: bool) -> None:
        self.by_reports = by_reports
        #: Tells this process from others that hand over to the same run.
        self.process = f"{originals.getpid()}-{originals.random_hex(8)}"
        self._rules = rules_of_suite(settings)
        self._ancestors = _ancestors() if by_reports else []
        #: Whether nothing more is to be said of what has run so far.
        self.is_over = False
        self._tests: dict[str, list[Any]] = {}
        self._execs: Counted = {}

    def count(self, entries: Iterable[Entry]) -> list[Entry]:
        """Those execs that are to be in the sums, and judged: not what the other run alone has stopped, whose rules
        have to say so."""
        counted = [entry for entry in entries if entry.event.stopped != _BY_OTHERS]
        now = clock.monotonic_ns()
        for key in map(key_of, counted):
            if key:
                self._execs.setdefault(key, []).append(now)
        return counted

    def judged(self, nodeid: str, meaning: list[object], problems: Iterable[Problem]) -> None:
        """A test has been. ``meaning`` is that of its rules when it began, ``problems`` what its reports failed for."""
        found = [[problem.headline, problem.in_full, problem.undecided] for problem in problems]
        self._tests[nodeid] = [meaning, found]

    def add(self, taken: dict[str, Any]) -> None:
        """What this process has taken over itself."""
        self._tests.update(taken["tests"])
        add_counted(self._execs, taken["execs"])

    def is_of(self, exported: dict[str, Any]) -> bool:
        """Whether this process has exported it, and another is still to have it."""
        return bool(exported.get(HANDED_OVER, {}).get("process") == self.process)

    def export(self) -> dict[str, Any]:
        """What is new, as plain data."""
        exported = {
            "process": self.process,
            "ancestors": self._ancestors,
            "rules": self._rules,
            "over": self.is_over,
            "tests": self._tests,
            "execs": self._execs,
        }
        self._tests, self._execs = {}, {}
        return exported


def key_of(entry: Entry) -> str | None:
    """The same for an exec in whatever tree it is seen: its process, by the kernel's number, and its command. The times
    differ, for each probe reads the clock itself. With SAID, if rules of the process that sees it have stopped it. None
    where the command is not known."""
    command = entry.event.command
    if command is None or command.argv is None:
        return None
    text = "\0".join([command.path or "", *command.argv]).encode("utf-8", "surrogateescape")
    said = SAID if entry.event.stopped == _BY_THIS else ""
    return f"{entry.event.pid}:{originals.sha256(text).hexdigest()[:24]}{said}"


def rules_of_suite(settings: Settings) -> str:
    """All that decides how tests are judged and summed up, besides their own rules: the same text for the same."""
    redaction, baseline = settings.redaction, settings.baseline
    data: list[object] = [
        __version__,
        [rule.meaning for rule in settings.command_line],
        [rule.meaning for rule in settings.ini],
        [settings.enforce, settings.audit, settings.sums_up, settings.gathers, settings.update],
        [pattern.meaning for pattern in settings.ignore],
        None if redaction is None else [redaction.on, [pattern.pattern for pattern in redaction.extra]],
    ]
    if baseline is not None:
        held = originals.read_bytes(baseline.path) if originals.is_file(baseline.path) else b""
        data.append(originals.sha256(held).hexdigest())
    return originals.sha256(originals.json_dumps(data).encode()).hexdigest()


def meaning_of(item: pytest.Item, judge: Judge) -> list[object]:
    """All that decides how a test is judged besides that: its rules, and the hooks that leave records out."""
    codes = [getattr(hook.function, "__code__", None) for hook in item.ihook.pytest_execprobe_record.get_hookimpls()]
    hooks = [[str(code and code.co_filename), code and code.co_firstlineno] for code in codes]
    return [judge.meaning, hooks]


def this_process() -> list[int]:
    """Its number and when it began, in ticks; empty where /proc does not say."""
    return status_of(originals.getpid())[::2]


def _ancestors() -> list[list[int]]:
    found: list[list[int]] = []
    status = status_of(originals.getpid())
    while status and status[1] > 1:
        status = status_of(status[1])
        found += [status[::2]] if status else []
    return found

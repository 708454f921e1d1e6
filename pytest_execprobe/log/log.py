"""The log of a window, and the assertions on it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

from .._util import clock
from .._util.text import printable
from ..errors import IncompleteLogError
from ..source.command import Command
from ..timeline.evidence import Evidence
from ..timeline.record import ExecRecord
from . import checks, text
from .checks import Verdict
from .ends import all_succeeded
from .pattern import Pattern
from .patterns import PatternLike, compile_pattern, natural
from .shells import no_shell

if TYPE_CHECKING:
    from ..timeline.windows import RecordedWindow


class ExecLog:
    """What a window of time saw executed.

    Every read and every assertion on an open log first waits until each exec that was entered before has succeeded or
    failed, so what was just started is there. A closed log never changes.

    Reads of an incomplete log raise IncompleteLogError, except :attr:`complete`, :attr:`lost` and :attr:`partial`.
    Checks raise AssertionError if they certainly do not hold, and IncompleteLogError if that is not known.
    """

    def __init__(self, window: RecordedWindow, *, direct: bool = False) -> None:
        self._window = window
        self._direct = direct

    # ---- reading ----

    @property
    def records(self) -> tuple[ExecRecord, ...]:
        """The successful execs, in the order in which they were entered."""
        __tracebackhide__ = True
        return self._complete("what ran").records

    @property
    def attempts(self) -> tuple[ExecRecord, ...]:
        """The failed execs alone, each with its ``error``. They have losses of their own."""
        __tracebackhide__ = True
        evidence = self._evidence()
        if self._window.attempts_refused is not None:
            raise IncompleteLogError(f"cannot tell which execs failed: {self._window.attempts_refused}")
        if evidence.why:
            self._undecided("which execs failed", evidence)
        if evidence.lost_attempts:
            raise IncompleteLogError(
                f"cannot tell which execs failed: {evidence.lost_attempts} failed attempts found the perf buffer full:"
                " raise --execprobe-buffer-pages"
            )
        return evidence.attempts

    @property
    def programs(self) -> list[str]:
        """The names of what ran, in order."""
        __tracebackhide__ = True
        return [command.program or "?" for command in self._commands("what ran")]

    @property
    def counts(self) -> Counter[str]:
        """How often each program ran."""
        __tracebackhide__ = True
        return Counter([command.program or "?" for command in self._commands("what ran")])

    def count(self, pattern: PatternLike | None = None) -> int:
        """How many execs match; all of them, without a pattern."""
        __tracebackhide__ = True
        compiled = None if pattern is None else compile_pattern(pattern)
        if compiled is None:
            return len(self._commands("how many execs there were"))
        evidence = self._complete("how many execs there were")
        matches = checks.answers(evidence, [compiled])
        if None in matches:
            self._undecided(f"how often {compiled} ran", evidence)
        return matches.count(True)

    @property
    def direct(self) -> ExecLog:
        """The same log, of what the test's own process spawned and not what that spawned in turn."""
        return ExecLog(self._window, direct=True)

    @property
    def strays(self) -> tuple[ExecRecord, ...]:
        """Execs in this window by what earlier tests left behind. They are in no other list."""
        __tracebackhide__ = True
        evidence = self._evidence()
        if evidence.why or evidence.lost_strays:
            self._undecided("what earlier tests left behind", evidence)
        return evidence.strays

    def tree(self) -> str:
        """All of the log as text, as a failing test prints it with ``-vv``."""
        __tracebackhide__ = True
        evidence = self._complete("what ran")
        lines = text.table(evidence, self._window.start, (), replace(self._window.style, verbosity=2))
        return "\n".join([*lines, text.footer(evidence, self._window.label)])

    @property
    def complete(self) -> bool:
        """Whether every exec of the window is in the log."""
        return self._evidence().missing == 0

    @property
    def lost(self) -> int | None:
        """How many execs are not in the log, None if that is not known exactly."""
        evidence = self._evidence()
        return evidence.missing if evidence.missing == evidence.surely_lost else None

    @property
    def partial(self) -> tuple[ExecRecord, ...]:
        """The execs that did arrive, whether or not they are all."""
        return self._evidence().records

    def wait_for(self, pattern: PatternLike, *, times: int = 1, timeout: float = 5.0) -> ExecRecord:
        """Blocks until so many matching execs are in the log, earlier ones counted, and returns the last of them.

        ``timeout`` is in seconds. Raises TimeoutError when they did not come, IncompleteLogError when lost records may
        hide them, and ValueError on a closed log.
        """
        __tracebackhide__ = True
        compiled = compile_pattern(pattern)
        natural(times, "times", least=1)
        if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not 0 <= timeout < math.inf:
            raise ValueError(f"timeout is a number of seconds, not {timeout!r}")
        if self._window.closed:
            raise ValueError(f"the log of {self._window.label} is closed: nothing more can come")
        deadline = clock.monotonic() + timeout
        over = False
        while True:
            evidence = self._evidence()
            matching = checks.answers(evidence, [compiled]).those(True)
            if len(matching) >= times:
                return matching[times - 1]
            if over:
                break
            # Whether time is up or the source was lost, one look more: what is there by now counts.
            remaining = deadline - clock.monotonic()
            over = remaining <= 0 or not self._window.wait(remaining)
        verdict = checks.at_least(evidence, times, compiled)
        if verdict.holds is None:
            self._undecided(verdict.question, evidence)
        said = [f"{printable(verdict.headline)} within {timeout:g} s", *text.hints_of(verdict, evidence)]
        raise TimeoutError("\n".join([*said, self._table(evidence)]))

    # ---- assertions ----

    def assert_nothing_ran(self) -> None:
        """No exec succeeded."""
        __tracebackhide__ = True
        evidence = self._evidence()
        self._decide(evidence, [checks.nothing_ran(evidence)])

    def assert_ran(self, *patterns: PatternLike, times: int | None = None) -> None:
        """Each pattern matches at least one exec, or exactly ``times``."""
        __tracebackhide__ = True
        compiled = _some(patterns, "assert_ran")
        if times is not None:
            natural(times, "times")
        evidence = self._evidence()
        self._decide(evidence, checks.ran(evidence, compiled, times))

    def assert_not_ran(self, *patterns: PatternLike) -> None:
        """No pattern matches any exec, by its path or by its resolved executable."""
        __tracebackhide__ = True
        compiled = _some(patterns, "assert_not_ran")
        evidence = self._evidence()
        self._decide(evidence, checks.not_ran(evidence, compiled))

    def assert_only_ran(self, *patterns: PatternLike) -> None:
        """Every exec matches a pattern. A pattern with a slash must match the resolved executable, where known."""
        __tracebackhide__ = True
        compiled = _some(patterns, "assert_only_ran", instead="assert_nothing_ran()")
        evidence = self._evidence()
        self._decide(evidence, [checks.only_ran(evidence, compiled)])

    def assert_all_succeeded(self, *patterns: PatternLike) -> None:
        """Everything, or what matches, ended with exit status 0. What still runs, or whose end is not known, has not.

        Of a process that executed one program after the other (``env make``) each ended as the process did. Execs that
        failed are no part of it.
        """
        __tracebackhide__ = True
        compiled = list(map(compile_pattern, patterns))
        evidence = self._evidence()
        self._decide(evidence, [all_succeeded(evidence, compiled)])

    def assert_no_shell(self) -> None:
        """The test's own process asked for no shell: spawned none with ``-c``, as ``shell=True`` and ``os.system`` do.

        What its children asked for does not count, nor does a script of a shell's.
        """
        __tracebackhide__ = True
        evidence = self._evidence()
        self._decide(evidence, [no_shell(evidence)])

    def assert_count(self, n: int, pattern: PatternLike | None = None) -> None:
        """Exactly ``n`` execs (that match)."""
        __tracebackhide__ = True
        self._assert_number(checks.exactly, n, pattern)

    def assert_at_most(self, n: int, pattern: PatternLike | None = None) -> None:
        """At most ``n`` execs (that match)."""
        __tracebackhide__ = True
        self._assert_number(checks.at_most, n, pattern)

    def assert_at_least(self, n: int, pattern: PatternLike | None = None) -> None:
        """At least ``n`` execs (that match)."""
        __tracebackhide__ = True
        self._assert_number(checks.at_least, n, pattern)

    def assert_order(self, *patterns: PatternLike) -> None:
        """Some match of the first pattern, later some match of the second, and so on; others may run anywhere.

        The order of processes that run at once is the kernel's, and no proof of a cause.
        """
        __tracebackhide__ = True
        compiled = _some(patterns, "assert_order")
        evidence = self._evidence()
        self._decide(evidence, [checks.order(evidence, compiled)])

    def assert_sequence(self, *patterns: PatternLike | frozenset[PatternLike]) -> None:
        """Exactly these, in this order, and nothing else. The members of a frozenset may come in any order."""
        __tracebackhide__ = True
        steps = [
            [compile_pattern(member) for member in step] if isinstance(step, frozenset) else [compile_pattern(step)]
            for step in patterns
        ]
        if any(not step for step in steps):
            raise ValueError("an empty frozenset is no step of a sequence")
        evidence = self._evidence()
        self._decide(evidence, [checks.sequence(evidence, steps)])

    def __bool__(self) -> NoReturn:
        raise TypeError(
            "a log is neither true nor false: write assert log.programs == [...], log.assert_ran(...) or log.count()"
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._window.label}>"

    # ---- inner workings ----

    def _evidence(self) -> Evidence:
        evidence = self._window.evidence()
        return evidence.only_direct() if self._direct else evidence

    def _complete(self, what: str) -> Evidence:
        __tracebackhide__ = True
        evidence = self._evidence()
        if evidence.missing != 0:
            self._undecided(what, evidence)
        return evidence

    def _commands(self, what: str) -> list[Command]:
        """Those of a log that is complete."""
        __tracebackhide__ = True
        if not self._direct:
            commands, losses = self._window.tally()
            if losses.missing == 0:
                return commands
        return self._complete(what).commands

    def _assert_number(
        self, check: Callable[[Evidence, int, Pattern | None], Verdict], n: int, pattern: PatternLike | None
    ) -> None:
        __tracebackhide__ = True
        natural(n, "n")
        compiled = None if pattern is None else compile_pattern(pattern)
        evidence = self._evidence()
        self._decide(evidence, [check(evidence, n, compiled)])

    def _decide(self, evidence: Evidence, verdicts: Iterable[Verdict]) -> None:
        """Raises for the first check that certainly does not hold, else for the first that is not known."""
        __tracebackhide__ = True
        verdicts = list(verdicts)
        for verdict in verdicts:
            if verdict.holds is False:
                window = self._window
                raise AssertionError(text.failure(verdict, evidence, window.start, window.label, window.style))
        for verdict in verdicts:
            if verdict.holds is None:
                self._undecided(verdict.question, evidence, verdict.open_ends)

    def _undecided(self, question: str, evidence: Evidence, open_ends: Iterable[ExecRecord] = ()) -> NoReturn:
        __tracebackhide__ = True
        window = self._window
        raise IncompleteLogError(
            text.undecided(question, evidence, window.start, window.label, window.style, open_ends)
        )

    def _table(self, evidence: Evidence) -> str:
        window = self._window
        return "\n".join([*text.table(evidence, window.start, (), window.style), text.footer(evidence, window.label)])


def _some(patterns: tuple[PatternLike, ...], what: str, instead: str = "") -> list[Pattern]:
    if not patterns:
        raise TypeError(f"{what}() needs at least one pattern" + (f"; use {instead}" if instead else ""))
    return [compile_pattern(pattern) for pattern in patterns]

"""The log of a window, and the assertions on it."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn, Protocol

from .._util import clock
from .._util.text import FULL, Style, printable
from ..errors import IncompleteLogError
from ..source.command import Command
from ..timeline.evidence import Evidence
from ..timeline.record import ExecRecord, Phase
from . import checks, text
from .arguments import natural, numbers_by_pattern
from .checks import Verdict
from .pattern import Pattern
from .patterns import PatternLike, compile_all, compile_pattern

if TYPE_CHECKING:
    from ..timeline.recorder import Recorder


class Window(Protocol):
    """A stretch of time whose execs can be read."""

    @property
    def label(self) -> str:
        """What it is, as in "2 execs in the call phase"."""

    @property
    def start(self) -> int: ...

    @property
    def style(self) -> Style: ...

    @property
    def attempts_refused(self) -> str | None:
        """Why failed attempts are not recorded, None if they are."""

    @property
    def closed(self) -> bool: ...

    def evidence(self) -> Evidence:
        """What is known, after synchronising with the kernel if the window is still open."""

    def tally(self) -> tuple[list[Command], Evidence]:
        """The commands of all records, and what is missing from it. It makes no record for that."""

    def wait(self, timeout: float) -> bool:
        """Until something new may be there, at most so many seconds; False if nothing can come any more."""


class ExecLog:
    """What a window of time saw executed.

    Every read and every assertion on an open log first waits until each exec that was entered before has succeeded or
    failed, so what was just started is there. A closed log never changes.

    Reads of an incomplete log raise IncompleteLogError, except :attr:`complete`, :attr:`lost` and :attr:`partial`.
    Checks raise AssertionError if they certainly do not hold, and IncompleteLogError if that is not known.
    """

    def __init__(self, window: Window, *, direct: bool = False) -> None:
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
        lines = text.table(evidence, self._window.start, (), FULL)
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

    def _assert_number(self, check: _NumberCheck, n: int, pattern: PatternLike | None) -> None:
        __tracebackhide__ = True
        natural(n, "n")
        compiled = None if pattern is None else compile_pattern(pattern)
        evidence = self._evidence()
        self._decide(evidence, [check(evidence, n, compiled)])

    def _decide(self, evidence: Evidence, verdicts: Iterable[Verdict]) -> None:
        """Raises for the first check that certainly does not hold, else for the first that can't be told."""
        __tracebackhide__ = True
        verdicts = list(verdicts)
        for verdict in verdicts:
            if verdict.holds is False:
                window = self._window
                raise AssertionError(text.failure(verdict, evidence, window.start, window.label, window.style))
        for verdict in verdicts:
            if verdict.holds is None:
                self._undecided(verdict.question, evidence)

    def _undecided(self, question: str, evidence: Evidence) -> NoReturn:
        __tracebackhide__ = True
        window = self._window
        raise IncompleteLogError(text.undecided(question, evidence, window.start, window.label, window.style))

    def _table(self, evidence: Evidence) -> str:
        window = self._window
        return "\n".join([*text.table(evidence, window.start, (), window.style), text.footer(evidence, window.label)])


class _NumberCheck(Protocol):
    def __call__(self, evidence: Evidence, n: int, pattern: Pattern | None) -> Verdict: ...


class Watch:
    """The context manager of :meth:`ExecProbe.watch`."""

    def __init__(
        self,
        recorder: Recorder,
        at_most: int | None,
        per_program: Mapping[PatternLike, int] | None,
        allow: Iterable[PatternLike] | None,
        deny: Iterable[PatternLike] | None,
    ) -> None:
        self._at_most = None if at_most is None else natural(at_most, "at_most")
        self._per_program = {} if per_program is None else numbers_by_pattern(per_program)
        self._allow = None if allow is None else compile_all(allow, "allow")
        self._deny = [] if deny is None else _forbidden(deny)
        self._recorder = recorder
        self._entered = False

    def __del__(self) -> None:
        if not getattr(self, "_entered", True):  # not so if the arguments were wrong
            warnings.warn(
                "watch() watches nothing unless it is entered: with execprobe.watch(...) as log:", stacklevel=2
            )

    def __enter__(self) -> ExecLog:
        self._entered = True
        self._window = self._recorder.open_window("the watch block")
        self._log = ExecLog(self._window)
        return self._log

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        __tracebackhide__ = True
        self._recorder.close_window(self._window)
        if kind is not None:
            return
        evidence = self._window.evidence()
        verdicts: list[Verdict] = []
        verdicts += checks.not_ran(evidence, self._deny)
        if self._allow is not None:
            verdicts.append(checks.only_ran(evidence, self._allow) if self._allow else checks.nothing_ran(evidence))
        verdicts += checks.per_program(evidence, self._per_program)
        if self._at_most is not None:
            verdicts.append(checks.at_most(evidence, self._at_most, None))
        self._log._decide(evidence, verdicts)


class ExecProbe(ExecLog):
    """The ``execprobe`` fixture: the log of what the test's process tree executes.

    While the test is set up it is the log of the set-up so far, and from the call on the log of the call: a fixture
    that checks it after its ``yield`` checks what the test itself ran.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._windows: Mapping[Phase, Window] = recorder.windows
        super().__init__(_CurrentPhase(self._windows))

    def _phase(self, phase: Phase) -> ExecLog:
        if phase not in self._windows:
            raise RuntimeError(f"the test's {phase} has not begun, or was over before the probe was armed")
        return ExecLog(self._windows[phase])

    @property
    def setup(self) -> ExecLog:
        """The log of the test's set-up. Raises RuntimeError if the probe was armed later."""
        return self._phase("setup")

    @property
    def call(self) -> ExecLog:
        """The log of the test's call. Raises RuntimeError before it begins."""
        return self._phase("call")

    @property
    def teardown(self) -> ExecLog:
        """The log of the test's teardown. Raises RuntimeError before it begins."""
        return self._phase("teardown")

    def watch(
        self,
        *,
        at_most: int | None = None,
        per_program: Mapping[PatternLike, int] | None = None,
        allow: Iterable[PatternLike] | None = None,
        deny: Iterable[PatternLike] | None = None,
    ) -> Watch:
        """A narrower window: a context manager that gives the log of its block.

        The limits are checked on leaving the block, unless it raised.

        :param at_most: at most so many execs.
        :param per_program: at most so many execs of each pattern, ``{"git": 2}``.
        :param allow: nothing but these may run; an empty list allows nothing.
        :param deny: none of these may run.
        """
        if self._windows is not self._recorder.windows:
            raise RuntimeError("the test of this execprobe is over: nothing can be watched for it any more")
        return Watch(self._recorder, at_most, per_program, allow, deny)


class _CurrentPhase:
    """The window that ``execprobe`` itself stands for: the call, once there is one, and the set-up before."""

    def __init__(self, windows: Mapping[Phase, Window]) -> None:
        self._windows = windows

    def _window(self) -> Window:
        return self._windows["call" if "call" in self._windows else "setup"]

    @property
    def label(self) -> str:
        return self._window().label

    @property
    def start(self) -> int:
        return self._window().start

    @property
    def style(self) -> Style:
        return self._window().style

    @property
    def attempts_refused(self) -> str | None:
        return self._window().attempts_refused

    @property
    def closed(self) -> bool:
        return self._window().closed

    def evidence(self) -> Evidence:
        return self._window().evidence()

    def tally(self) -> tuple[list[Command], Evidence]:
        return self._window().tally()

    def wait(self, timeout: float) -> bool:
        return self._window().wait(timeout)


def _forbidden(deny: Iterable[PatternLike]) -> list[Pattern]:
    compiled = compile_all(deny, "deny")
    if not compiled:
        raise ValueError("deny is empty, and forbids nothing: leave it out")
    return compiled


def _some(patterns: tuple[PatternLike, ...], what: str, instead: str = "") -> list[Pattern]:
    if not patterns:
        raise TypeError(f"{what}() needs at least one pattern" + (f"; use {instead}" if instead else ""))
    return [compile_pattern(pattern) for pattern in patterns]

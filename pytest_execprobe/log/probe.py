"""The ``execprobe`` fixture: the log of a test, of its phases, and of blocks in it."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

from ..timeline.record import Phase
from . import checks
from .additions import NOTHING, additions
from .checks import Verdict
from .log import ExecLog
from .pattern import Pattern
from .patterns import PatternLike, compile_all, natural, numbers_by_pattern

if TYPE_CHECKING:
    from ..timeline.recorder import Recorder
    from ..timeline.windows import RecordedWindow


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
        self._deny = [] if deny is None else compile_all(deny, "deny")
        if deny is not None and not self._deny:
            raise ValueError("deny is empty, and forbids nothing: leave it out")
        self._recorder = recorder
        self._has_limits = any(limit is not None for limit in (at_most, per_program, allow, deny))
        self._lacks = "watches nothing unless it is entered"

    def __del__(self) -> None:
        if lacks := getattr(self, "_lacks", ""):  # it has none if the arguments were wrong
            warnings.warn(f"watch() {lacks}: with execprobe.watch(...) as log:", stacklevel=2)

    def __enter__(self) -> ExecLog:
        self._lacks = "checks no limit unless its block is left" if self._has_limits else ""
        self._window = self._recorder.open_window("the watch block")
        self._log = ExecLog(self._window)
        return self._log

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        __tracebackhide__ = True
        self._lacks = ""
        self._recorder.close_window(self._window)
        if kind is not None:
            return
        evidence = self._window.evidence()
        verdicts = checks.not_ran(evidence, self._deny)
        if self._allow is not None:
            verdict = checks.only_ran(evidence, self._allow) if self._allow else checks.nothing_ran(evidence)
            verdicts.append(_advised(verdict, self._allow))
        verdicts += checks.per_program(evidence, self._per_program)
        if self._at_most is not None:
            verdicts.append(checks.at_most(evidence, self._at_most, None))
        self._log._decide(evidence, verdicts)


def _advised(verdict: Verdict, allow: Iterable[Pattern]) -> Verdict:
    """With what to write instead, if what nothing allows is right."""
    lacking = additions(verdict.marked) if verdict.holds is False else NOTHING
    if not lacking.programs:
        return verdict
    before = [pattern.text for pattern in allow]
    one = f" (or {[*before, lacking.subtree]!r})" if lacking.subtree else ""
    return replace(verdict, advice=f"watch(allow={[*before, *lacking.as_arguments]!r}){one}")


class ExecProbe(ExecLog):
    """The ``execprobe`` fixture: the log of what the test's process tree executes.

    While the test is set up it is the log of the set-up so far, and from the call on the log of the call: a fixture
    that checks it after its ``yield`` checks what the test itself ran.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._windows: Mapping[Phase, RecordedWindow] = recorder.windows
        super().__init__(cast("RecordedWindow", _CurrentPhase(recorder)))

    def _phase(self, phase: Phase) -> ExecLog:
        if self._windows is self._recorder.windows:
            self._recorder.begin_unseen_call()
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
        self._recorder.begin_unseen_call()
        return Watch(self._recorder, at_most, per_program, allow, deny)


class _CurrentPhase:
    """The window that ``execprobe`` itself stands for: the call, once there is one, and the set-up before."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._windows = recorder.windows

    def __getattr__(self, name: str) -> Any:
        if self._windows is self._recorder.windows:
            self._recorder.begin_unseen_call()
        return getattr(self._windows["call" if "call" in self._windows else "setup"], name)

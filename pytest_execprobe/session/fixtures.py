"""Fixtures of wider scope than a test: spans of their own, with rules of their own."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Sequence
from typing import Any

import pytest

from ..rules.text import Problem
from ..timeline.record import Phase
from ..timeline.spans import Owner, Span
from .run import EndedFixture, ProbedRun, RunningTest, Wide, line_of, marks_of

_XUNIT = re.compile(r"_(?:xunit|unittest)_(?P<what>\w+?)_fixture_(?P<where>.*)")


class Fixtures:
    """Registered in a run that probes."""

    def __init__(self, run: ProbedRun) -> None:
        self._run = run
        self.wide: dict[object, Wide] = {}  # that are set up
        self._set_up: dict[object, Owner] = {}  # likewise
        self._ends: dict[object, tuple[Span, frozenset[str]]] = {}  # that are being ended

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
    ) -> Generator[None, object, object]:
        if fixturedef.scope == "function":
            return (yield)
        key = _id(fixturedef)
        judge = self._run.judge(request.node, "fixtures", key)
        wide = self.wide[fixturedef] = Wide(request.node, key, judge, marks_of(line_of(request.node)))
        before = self._run.enforcement.interrupt(judge, "setup")
        span = self._run.recorder.open_span(_name(fixturedef), "setup", key=key)
        self._set_up[fixturedef] = span.owner
        failed = True
        try:
            self._enforce(span, wide, "setup")
            result = yield
            failed = False
            return result
        finally:
            self._close(span, wide, "setup", before, failed=failed)
            # Finalizers run in reverse, so this one comes before those that the set-up has registered.
            fixturedef.addfinalizer(lambda: self._open_end(fixturedef))

    def _open_end(self, fixturedef: pytest.FixtureDef[Any]) -> None:
        if not self._run.config.pluginmanager.has_plugin("execprobe-fixture-ends"):
            self._run.config.pluginmanager.register(_Ends(self), "execprobe-fixture-ends")
        wide = self.wide[fixturedef]
        before = self._run.enforcement.interrupt(wide.judge, "teardown")
        span = self._run.recorder.open_span(_name(fixturedef), "teardown", key=_id(fixturedef))
        self._ends[fixturedef] = span, before
        set_up = self._set_up.pop(fixturedef)
        if self._run.gathers:
            self._run.strays.gatherer.unit(set_up, "fixture")
            self._run.strays.gatherer.join(span.owner, set_up)
        self._enforce(span, wide, "teardown")

    def close_end(self, fixturedef: pytest.FixtureDef[Any]) -> None:
        ending = self._ends.pop(fixturedef, None)
        if ending is not None:
            span, before = ending
            self._close(span, self.wide.pop(fixturedef), "teardown", before)

    def _enforce(self, span: Span, wide: Wide, phase: Phase) -> None:
        """Raises RuleUndecided. A fixture that has not been set up for that has nothing to end, though pytest before
        8.1 ends it."""
        if not wide.is_refused:
            wide.is_refused = True
            self._run.enforcement.begin_fixture(wide.judge, phase, span.owner.name, span.start, self._run.refusal)
            wide.is_refused = False

    def _close(self, span: Span, wide: Wide, phase: Phase, before: frozenset[str], *, failed: bool = False) -> None:
        """``before``: what was killed before it ran when the span was opened."""
        run = self._run
        run.enforcement.reduce(before)
        run.recorder.close_span(span)
        run.enforcement.resume(before)
        window = run.recorder.window_of(span, f"the {'set-up' if phase == 'setup' else 'end'} of {span.owner.name}")
        fixture = EndedFixture(wide, window, phase, span.owner.id, failed)
        if run.test is not None:
            run.test.fixtures += (fixture,)
        elif run.last is not None:  # the run was broken off, and ends it without a test
            for problem in self.judge(run.last, phase, [fixture]):
                run.strays.late(run.last.item, problem)

    def judge(self, test: RunningTest, phase: Phase, ended: Sequence[EndedFixture]) -> Iterator[Problem]:
        """Those that have been set up or ended in a phase, and those of which the rules have changed."""
        run = self._run
        for wide in dict.fromkeys([*self.wide.values(), *(fixture.wide for fixture in ended)]):
            marks = marks_of(line_of(wide.node))
            if marks != wide.marks:
                wide.marks = marks
                wide.judge = run.judge(wide.node, "fixtures", wide.key, phase).instead_of(wide.judge)
                if wide.set_up is not None and wide.set_up.owner is not None:
                    run.show(test, wide.judge, "setup", wide.set_up)
                    problem = run.judge_belated(test, wide.judge, None, f"set-up of {wide.set_up.owner.name}")
                    if problem is not None:
                        yield problem
        for fixture in ended:
            owner = fixture.window.owner
            where = f"{'set-up' if fixture.phase == 'setup' else 'end'} of {owner and owner.name}"
            problem = run.judge_window(test, fixture.window, fixture.wide.judge, fixture.phase, where)
            if fixture.phase == "setup":
                fixture.wide.set_up = fixture.window
            if run.was_armed:
                run.strays.use("fixtures", fixture.key, fixture.wide.judge, whole=not fixture.failed)
            if run.gathers and owner is not None:
                run.strays.gatherer.unit(owner, "fixture")
                run.gather_window(owner, fixture.phase, fixture.window)
            if problem is not None:
                yield problem


class _Ends:
    """Registered where the first of them ends, for this is called of every fixture, and often."""

    def __init__(self, fixtures: Fixtures) -> None:
        self._fixtures = fixtures

    def pytest_fixture_post_finalizer(self, fixturedef: pytest.FixtureDef[Any]) -> None:
        self._fixtures.close_end(fixturedef)


def _label(fixturedef: pytest.FixtureDef[Any]) -> tuple[str, bool]:
    """What users know a fixture by, and whether it is one to them: to pytest, setup_module() and its kin are, too."""
    xunit = _XUNIT.fullmatch(fixturedef.argname)
    return (f"{xunit['what']} of {xunit['where']}", False) if xunit else (fixturedef.argname, True)


def _id(fixturedef: pytest.FixtureDef[Any]) -> str:
    """Where a fixture stands, its name and its scope; that of a plugin is nowhere."""
    node = getattr(fixturedef, "node", None)
    place = getattr(fixturedef, "baseid", "") if node is None else node.nodeid
    label, is_fixture = _label(fixturedef)
    name = f"{label} ({fixturedef.scope})" if is_fixture else label
    return name if place in ("", ".") else f"{place}::{name}"


def _name(fixturedef: pytest.FixtureDef[Any]) -> str:
    """What messages call a fixture."""
    label, is_fixture = _label(fixturedef)
    return f"fixture {label!r} ({fixturedef.scope})" if is_fixture else label

"""The hooks that conftest files and plugins can implement."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .log.log import ExecLog
    from .timeline.record import ExecRecord, Phase


@pytest.hookspec(firstresult=True)
def pytest_execprobe_record(record: ExecRecord, item: pytest.Item) -> bool | None:
    """Whether an exec counts for the rules of a test.

    Called for each record that a rule is about to judge. ``False`` leaves it out of all rules of the test, and of
    nothing else: the log and the totals have it still. ``True`` keeps it, and ``None`` leaves the decision to other
    implementations; without any, it counts. The first answer that is not ``None`` is taken. What a rule has stopped
    before it ran counts in any case: nothing is killed without a word.

    :param record: what ran.
    :param item: the test whose rules are applied; for a fixture of wider scope the test that set it up or ended it.
    """


@pytest.hookspec
def pytest_execprobe_log(item: pytest.Item, phase: Phase, log: ExecLog) -> None:
    """Called after each phase of each test, in a run that probes: one with an audit or a rule, or in which a test uses
    the fixture. Before the phase's rules are judged, so that it can add marks, and also if the phase has failed.

    :param item: the test.
    :param phase: ``"setup"``, ``"call"`` or ``"teardown"``.
    :param log: the log of the phase, closed. It can be incomplete.
    """

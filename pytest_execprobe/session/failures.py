"""What the report of a test that has failed by itself shows of what ran."""

from __future__ import annotations

from typing import Any

from ..log.text import footer
from ..rules.text import section
from .run import ProbedRun, RunningTest


def show_tree(report: Any, test: RunningTest, run: ProbedRun) -> None:
    """With ``-vv`` the processes of the phase in which it has failed, where nothing else of the report draws them."""
    style, window = run.recorder.style, run.recorder.windows.get(report.when)
    is_recorded = run.was_armed and (run.is_whole or run.recorder.in_use or test.judge.is_any)
    if style.verbosity < 2 or not is_recorded or window is None or window.end is None or report.when in test.problems:
        return
    evidence = window.evidence()
    drawn = section((), evidence, window.start, f"{report.when} phase", style)
    if evidence.records and drawn and footer(evidence, window.label).strip() not in report.longreprtext:
        report.sections.append(drawn)

"""What a recording of a command has come to: its totals on the terminal, and its report. Pure."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from .._util.redaction import in_force
from ..log import checks
from ..report import digest
from ..report.model import Document, Run, Unit
from ..source.client import in_words
from ..timeline.evidence import Evidence
from .recording import Recording
from .terminal import Line
from .totals import number, rest, row, table

_LEFT = 10  # processes that are listed of those that were left behind


def totals(recording: Recording, evidence: Evidence, waited: str | None) -> Iterator[Line]:
    """``waited``: how long for what the command has left running, if that was not long enough."""
    yield (
        ("execprobe: ", "strong"),
        f"{number(recording.execs, 'exec')} of {number(len(recording.programs), 'program')}"
        f" in {recording.seconds:.2f} s, ",
        (f"{checks.lost(evidence)} lost", "dim" if evidence.missing == 0 else "bad"),
    )
    yield from table("most executed", [(count, program, "") for program, count in recording.programs.items()])
    ends = [(count, f"{program}: {how}", "") for (program, how), count in recording.bad_ends.items()]
    yield from table("not exit 0", ends)
    yield from _left_running(recording, waited)
    for why in evidence.why:
        yield row("not known", (why, "bad"))


def _left_running(recording: Recording, waited: str | None) -> Iterator[Line]:
    assert recording.ended is not None
    running, more = recording.still_running()
    count = len(running) + more
    if not count:
        return
    how = (
        "what they execute from now on is not recorded, --wait does that" if waited is None else f"waited for {waited}"
    )
    yield row("still running", f"{checks.processes_word(count)} that it has left behind: {how}")
    for process in running[:_LEFT]:
        yield row("", digest.process(process, recording.ended))
    yield from rest(count - min(_LEFT, len(running)))


def document(
    command: Sequence[str],
    recording: Recording,
    evidence: Evidence,
    *,
    started: str,
    status: int,
    description: dict[str, Any] | None,
    not_checked: str | None,
    variant: str,
) -> Document:
    """The report. ``started`` is by the wall clock, ``description`` the probe's, ``not_checked`` why there is none."""
    assert recording.ended is not None
    running, more = recording.still_running()
    gaps: Counter[str] = Counter()
    for gap in evidence.gaps:
        gaps[gap.why] += gap.most or 0
    run = Run(
        id=secrets.token_hex(8),
        kind="command",
        command=in_force().arguments(tuple(command)),
        started=started,
        start_ns=recording.began,
        end_ns=recording.ended,
        exit_status=status,
        probe="none" if description is None else in_words(description),
        running=running,
        more_running=more,
        variant=variant,
        redacted=in_force().on,
    )
    unit = Unit(
        kind="command",
        name=in_force().join(command),
        outcome="passed" if status == 0 else "failed",
        phases={"call": (recording.began, recording.ended)},
        records=evidence.records,
        lost=recording.lost,
        unknown=evidence.unknown,
        gaps=gaps,
        not_checked=not_checked,
    )
    return Document((run,), (unit,))

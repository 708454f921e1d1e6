"""How processes ended, and whether what ran has succeeded.

A process has one end, and an exec that was replaced by another (``env make``) ends with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from signal import Signals

from ..timeline.evidence import Evidence
from ..timeline.record import ExecRecord
from .checks import Verdict, answers
from .pattern import Match, Pattern, Side

_NAMED = 3  # ends that a headline has


def signal_name(number: int) -> str:
    try:
        return Signals(number).name
    except ValueError:  # a real-time signal, or no signal at all
        return f"signal {number}"


def end_of(record: ExecRecord) -> str:
    """How its process ended, in short: ``exit 1``, ``SIGSEGV``; empty if that is not known, or it became another."""
    if record.signal is not None:
        return signal_name(record.signal)
    return "" if record.exit_code is None else f"exit {record.exit_code}"


def succeeded(record: ExecRecord) -> Match:
    """Whether its process ended with exit status 0; None where that is not known."""
    if record.signal is not None:
        return False
    return None if record.exit_code is None else record.exit_code == 0


def successors(records: Iterable[ExecRecord]) -> dict[ExecRecord, ExecRecord]:
    """What a process became by its next exec, for those that did. Of records of one run."""
    return {record._lineage.previous: record for record in records if record._lineage.previous is not None}


def last(record: ExecRecord, became: dict[ExecRecord, ExecRecord]) -> ExecRecord:
    """What its process executed last, as far as that is among the records that ``became`` is of."""
    while became and record in became:
        record = became[record]
    return record


def all_succeeded(evidence: Evidence, patterns: Sequence[Pattern]) -> Verdict:
    """Everything, or what matches, ended with exit status 0. What still ran, or whose end is not known, may not."""
    became = successors((*evidence.records, *evidence.left_out))
    matches: Iterable[Match] = (
        answers(evidence, patterns, Side.FORBID).every if patterns else (True,) * len(evidence.records)
    )
    failed: list[ExecRecord] = []
    open_ends: list[ExecRecord] = []
    ends: list[ExecRecord] = []
    for record, match in zip(evidence.records, matches, strict=True):
        if match is False or record.exit_code == 0:
            continue
        end = last(record, became)
        success = succeeded(end)
        if success is False and match is True:
            failed.append(record)
            ends.append(end)
        elif success is not True:
            open_ends.append(record)
    wanted = ", ".join(map(str, patterns)) or "everything"
    undecided = evidence.missing != 0 or bool(open_ends)
    return Verdict(
        holds=False if failed else None if undecided else True,
        headline=f"{wanted} must succeed, but {_ended(failed, ends)}",
        question=f"whether {wanted} succeeded",
        marked=(*failed, *ends),
        open_ends=tuple(open_ends),
    )


def _ended(failed: Iterable[ExecRecord], ends: Iterable[ExecRecord]) -> str:
    """Programs and how they ended, each once, at most three of them."""
    said: dict[ExecRecord, str] = {}  # by the end
    for record, end in zip(failed, ends, strict=True):
        program = record.program or "?"
        if record == end or end not in said:
            said[end] = program if record == end else f"{program} (which became {end.program or '?'})"
    every = list(dict.fromkeys(f"{program} {_in_words(end)}" for end, program in said.items()))
    more = [f"{len(every) - _NAMED} more"] if len(every) > _NAMED else []
    return ", ".join([*every[:_NAMED], *more])


def _in_words(record: ExecRecord) -> str:
    if record.signal is not None:
        return f"was ended by {signal_name(record.signal)}"
    return f"ended with exit status {record.exit_code}"

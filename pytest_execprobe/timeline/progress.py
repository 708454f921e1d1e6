"""How far a timeline has come, and what may be missing."""

from __future__ import annotations

from typing import NamedTuple

from ..source.events import Batch, Exec
from .evidence import Gap


class Progress(NamedTuple):
    """How far a timeline has come. It is replaced as a whole, once all that it says is so."""

    #: Up to when everything is known.
    complete_to: int = 0
    gaps: tuple[Gap, ...] = ()
    late: Gap | None = None  # execs that the last synchronisation did not see the end of
    unattributed: tuple[Gap, ...] = ()  # those of the gaps in which ends of processes were lost, too
    held: tuple[Exec, ...] = ()  # came with a batch that does not vouch for what was before them
    settled: tuple[Exec, ...] = ()  # all that was before them is here, but not their span
    placed: int = 0  # how many execs have found their place
    mark: object = None  # of the last batch

    @property
    def has_pending(self) -> bool:
        """Whether the place of an exec is still open, or whether it succeeds."""
        return bool(self.held or self.settled or self.late)

    def after_quiet(self, batch: Batch) -> Progress:
        """When a batch has come in which nothing happened, and nothing is waiting."""
        complete_to = max(self.complete_to, batch.complete_to)
        return Progress(complete_to, self.gaps, None, self.unattributed, placed=self.placed, mark=batch.mark)

    def after(self, batch: Batch, execs: list[Exec], gaps: list[Gap]) -> Progress:
        """When a batch has come with these among its events: they are still to find their place."""
        late = self.late
        if batch.complete_to:
            why = f"{batch.in_flight} execs were still in flight after the wait for them: raise --execprobe-timeout"
            late = Gap(0, batch.complete_to, why, batch.in_flight) if batch.in_flight else None
        unattributed = [_unattributed(batch)] if batch.unplaced else []
        return self._replace(
            complete_to=max(self.complete_to, batch.complete_to),
            gaps=(*self.gaps, *gaps, *unattributed),
            late=late,
            unattributed=(*self.unattributed, *unattributed),
            held=(*self.held, *execs),
            mark=batch.mark,
        )

    def may_have_lost_end(self, start: int, end: int) -> bool:
        """Whether the end of a process that ended then, up to and with the last moment, may be in a lost record."""
        return any(gap.overlaps(start, end + 1) for gap in self.unattributed)


def _unattributed(batch: Batch) -> Gap:
    if batch.skipped == batch.unplaced:
        # It does so on a CPU where it has preempted one of the probe's programs.
        why = f"the kernel skipped the probe {batch.skipped} times, as it can on a busy CPU: run it again"
    else:
        why = f"{batch.unplaced} records more were lost than can be told apart: raise --execprobe-buffer-pages"
    return Gap(batch.unplaced_from, batch.unplaced_to, why, None if batch.unbounded else batch.unplaced)


def parted(execs: tuple[Exec, ...], time: int | None) -> tuple[tuple[Exec, ...], tuple[Exec, ...]]:
    """What was entered before that moment, None for all, and what was not."""
    if time is None:
        return execs, ()
    later = [event for event in execs if event.entered >= time]
    return (tuple([event for event in execs if event.entered < time]), tuple(later)) if later else (execs, ())

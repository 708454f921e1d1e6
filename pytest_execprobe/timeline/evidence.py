"""What is known of a window: the records, and what is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from ..source.command import Command
from ..source.events import Branch
from .kinds import Kinds
from .record import ExecRecord, Phase


@dataclass(frozen=True, eq=False)
class Gap:
    """A stretch of time in which events may be missing, and it is not known whose."""

    start: int
    end: int | None
    why: str
    #: How many execs, at most, whoever's they were; None if that has no bound.
    most: int | None = None
    #: The branch whose they were, if that is known.
    branch: Branch | None = None

    def overlaps(self, start: int, end: int) -> bool:
        return self.start < end and (self.end is None or self.end > start)


@dataclass(frozen=True)
class Lost:
    """An exec of which only this is known: it took place."""

    timestamp_ns: int
    direct: bool
    begun_in: Phase | None = None


@dataclass(frozen=True)
class Evidence:
    """What is known of a window."""

    records: tuple[ExecRecord, ...] = ()
    attempts: tuple[ExecRecord, ...] = ()
    strays: tuple[ExecRecord, ...] = ()
    lost: tuple[Lost, ...] = ()
    lost_attempts: int = 0
    lost_strays: int = 0
    #: Why more may be missing than ``lost`` and ``gaps`` have, if so: then there is no bound.
    unknown: tuple[str, ...] = ()
    #: Losses that may be of this window or not, each with a bound.
    gaps: tuple[Gap, ...] = ()
    #: How many execs are left out by their name.
    ignored: int = 0
    #: Those, and what a hook has left out: no rule looks at them.
    left_out: tuple[ExecRecord, ...] = ()
    #: Whether execs are left out by what they are, so that a lost one may be one of those.
    filtered: bool = False
    _kinds: dict[bool, Kinds] = field(default_factory=dict, init=False, repr=False, compare=False)

    def kinds(self, *, in_tree: bool = False) -> Kinds:
        """The records by their kind."""
        if in_tree not in self._kinds:
            self._kinds[in_tree] = Kinds(self.records, in_tree=in_tree)
        return self._kinds[in_tree]

    @property
    def commands(self) -> list[Command]:
        """Those of the records."""
        return [record._command for record in self.records]

    @property
    def start(self) -> int:
        """When the first record was entered, ns; 0 without any."""
        return self.records[0].timestamp_ns if self.records else 0

    @property
    def missing(self) -> int | None:
        """How many execs, at most, are not in ``records``, None if there is no bound."""
        return None if self.unknown else len(self.lost) + sum(gap.most or 0 for gap in self.gaps)

    @property
    def surely_lost(self) -> int:
        """How many execs, at least, are not in ``records``."""
        return 0 if self.filtered else len(self.lost)

    @property
    def why(self) -> tuple[str, ...]:
        """Why more may be missing than is known to be lost."""
        return tuple(dict.fromkeys([*self.unknown, *(gap.why for gap in self.gaps)]))

    def only_direct(self) -> Evidence:
        """That of the test's own children."""
        of_records: dict[str, Any] = {
            name: tuple(record for record in getattr(self, name) if record._lineage.direct)
            for name in ("records", "attempts", "strays")
        }
        return replace(self, **of_records, lost=tuple(lost for lost in self.lost if lost.direct))

    def begun_in(self, phase: Phase) -> Evidence:
        """What is known to be the work of branches that its own test began in a phase. Those of other tests, or of
        wider fixtures, have begun in a phase of theirs."""
        return replace(
            self,
            records=tuple(
                record for record in self.records if record._lineage.begun_in == phase and not record._lineage.shared
            ),
            lost=tuple(lost for lost in self.lost if lost.begun_in == phase),
            unknown=(),
            gaps=(),
        )

    def without(self, dropped: Callable[[ExecRecord], bool]) -> Evidence:
        """What is left when some records are not to count."""
        records: list[ExecRecord] = []
        left_out = [*self.left_out]
        for record in self.records:
            (left_out if dropped(record) else records).append(record)
        return replace(self, records=tuple(records), left_out=tuple(left_out), filtered=True)

    @staticmethod
    def merged(parts: Iterable[Evidence]) -> Evidence:
        """What is known of several windows together, one after the other."""
        parts = tuple(parts)
        every: dict[str, Any] = {
            name: tuple(one for part in parts for one in getattr(part, name))
            for name in ("records", "attempts", "strays", "lost", "unknown", "gaps", "left_out")
        }
        for name in ("unknown", "gaps"):  # a gap that overlaps several windows is missing in one of them
            every[name] = tuple(dict.fromkeys(every[name]))
        for name in ("lost_attempts", "lost_strays", "ignored"):
            every[name] = sum(getattr(part, name) for part in parts)
        return Evidence(**every, filtered=any(part.filtered for part in parts))


#: What is known of a window in which nothing was executed.
NOTHING = Evidence()

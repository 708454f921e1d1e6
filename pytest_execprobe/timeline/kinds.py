"""Records of one kind, for which every pattern has the same answer: very many execs are of few commands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import compress
from typing import Generic, TypeVar

from .record import ExecRecord

T = TypeVar("T")


class Kinds:
    """Some records, and in what they differ: the command, whether it is what its process was running, and whether
    that is a child of the test's own. ``in_tree``: what is above them in the process tree, and who has spawned that,
    too."""

    def __init__(self, records: Sequence[ExecRecord], *, in_tree: bool) -> None:
        self.records = records
        #: The first record of each kind, in order.
        self.first: list[ExecRecord] = []
        self._of: list[int] = []  # the kind of each record
        numbers: dict[object, int] = {}
        for record in records:
            key: object = (id(record._command), record._itself, record._lineage.direct)
            if in_tree:
                above = (id(record.parent), id(record._lineage.previous), record._lineage.lost)
                key = (key, above, id(record.call_site))
            number = numbers.setdefault(key, len(numbers))
            if number == len(self.first):
                self.first.append(record)
            self._of.append(number)
        numbered = Counter(self._of)
        #: How many records each kind has.
        self.counts = [numbered[number] for number in range(len(self.first))]

    def ask(self, answer: Callable[[ExecRecord], T]) -> Answers[T]:
        """What is the same for all records of a kind."""
        return Answers(self, list(map(answer, self.first)))


class Answers(Generic[T]):
    """An answer for each kind, and so for each record."""

    def __init__(self, kinds: Kinds, of_kinds: list[T]) -> None:
        self.kinds = kinds
        #: By kind.
        self.of_kinds = of_kinds

    def __contains__(self, answer: object) -> bool:
        return answer in self.of_kinds

    @property
    def every(self) -> list[T]:
        """By record."""
        return list(map(self.of_kinds.__getitem__, self.kinds._of))

    def count(self, answer: T) -> int:
        """How many records have it."""
        return sum(number for one, number in zip(self.of_kinds, self.kinds.counts, strict=True) if one == answer)

    def those(self, answer: T) -> tuple[ExecRecord, ...]:
        """The records that have it, in order."""
        kinds = self.kinds
        if answer not in self.of_kinds:
            return ()
        chosen = [one == answer for one in self.of_kinds]
        return tuple(compress(kinds.records, map(chosen.__getitem__, kinds._of)))

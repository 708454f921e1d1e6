"""What to write so that what has run is right, in the form of the place where the rule stands. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from .._util import originals
from .configured import entry, is_toml

#: Where a rule stands: in a file of pytest's configuration, on the command line, or as a marker of something.
Stands = Literal["file", "option", "function", "class", "module", "parameter", "added"]


@dataclass(frozen=True)
class Place:
    """Where a rule stands."""

    stands: Stands
    #: The file's name; of a marker ``on TestRelease, tests/test_release.py:11``.
    where: str
    #: As it is spelt there; a marker's is its own name.
    setting: str

    @property
    def is_text(self) -> bool:
        """Whether patterns are lines there, and not arguments."""
        return self.stands in ("file", "option")


NOWHERE = Place("function", "", "")


@dataclass(frozen=True)
class Change:
    """What to write at a place instead of what stands there."""

    place: Place
    marker: str
    #: The patterns that may run, as they stand there; of a budget its number.
    has: tuple[Any, ...] = ()
    #: What to add to them: names, or patterns.
    adds: tuple[Any, ...] = ()
    #: What would do instead of ``adds``.
    instead: tuple[Any, ...] = ()
    per_program: Mapping[str, int] = field(default_factory=dict)
    #: What else the marker is given, as it stands there.
    rest: str = ""

    @property
    def line(self) -> str:
        """All of it in a line."""
        return f"{self._said} (or {', '.join(map(self._entry, self.instead))})" if self.instead else self._said

    @property
    def _said(self) -> str:
        place, setting = self.place, self.place.setting
        if place.stands == "file" and self.marker == "exec_budget":
            return f"{setting} = {self.has[0]} in {place.where}"
        if place.stands == "file":
            return f"add to {setting} in {place.where}: {', '.join(map(self._entry, self.adds))}"
        if place.stands == "option":
            return self._options
        return f"{self._marker} {place.where}".rstrip()

    @property
    def block(self) -> tuple[str, list[str]]:
        """A title, and below it the lines to paste."""
        place, setting = self.place, self.place.setting
        if place.stands == "file" and self.marker == "exec_budget":
            return f"in {place.where}:", [f"{setting} = {self.has[0]}"]
        if place.stands == "file":
            comma = "," * is_toml(place.where)
            return f"add to {setting} in {place.where}:", [f"    {self._entry(one)}{comma}" for one in self.adds]
        if place.stands == "option":
            return "on the command line:", [self._options]
        return f"{place.where}:", [self._marker]

    def _entry(self, pattern: str) -> str:
        place = self.place
        if place.stands == "option":
            return originals.quote(f"{place.setting}={pattern}")
        return entry(place.where, pattern) if place.stands == "file" else repr(pattern)

    @property
    def _options(self) -> str:
        if self.marker == "exec_budget":
            return f"{self.place.setting}={self.has[0]}"
        return " ".join(["" if self.has else "instead of an empty one", *map(self._entry, self.adds)]).strip()

    @property
    def _marker(self) -> str:
        kwargs = [f"per_program={dict(self.per_program)!r}"] if self.per_program else []
        given = ", ".join([*map(repr, (*self.has, *self.adds)), *kwargs, *filter(None, [self.rest])])
        return _WRITTEN[self.place.stands].format(f"{self.marker}({given})")

    # ---- many of them ----

    @property
    def says(self) -> object:
        """What stands at the place, as far as that is known: there may be several rules in one line."""
        is_budget = self.marker == "exec_budget"
        return (len(self.has), *self.per_program) if is_budget else str(originals.json_dumps(self.has))

    def export(self) -> str:
        """As a text, that is the same for the same change."""
        place = self.place
        parts = [place.stands, place.where, place.setting, self.marker, self.has, self.adds, self.instead]
        return str(originals.json_dumps([*parts, self.per_program, self.rest]))

    @classmethod
    def load(cls, text: str) -> Change:
        """What was exported."""
        stands, where, setting, marker, has, adds, instead, per_program, rest = originals.json_loads(text)
        return cls(
            Place(stands, where, setting), marker, tuple(has), tuple(adds), tuple(instead), dict(per_program), rest
        )


#: How a marker is written there.
_WRITTEN: Mapping[Stands, str] = {
    "function": "@pytest.mark.{}",
    "class": "@pytest.mark.{}",
    "module": "pytestmark = pytest.mark.{}",
    "parameter": "marks=pytest.mark.{}",
    "added": "pytest.mark.{}",
    "file": "{}",
    "option": "{}",
}


def union(changes: Iterable[Change]) -> Iterator[Change]:
    """One for each rule, that has all that was found there."""
    found: dict[object, Change] = {}
    for change in changes:
        key = change.place, change.marker, change.rest, change.says
        before = found.setdefault(key, change)
        if change.marker == "exec_budget":
            has = tuple(map(max, zip(before.has, change.has, strict=False)))
            programs = {**before.per_program, **change.per_program}
            most = {name: max(before.per_program.get(name, 0), n) for name, n in programs.items()}
            found[key] = replace(before, has=has, per_program=most)
        else:
            # Some are lists, which can't be keys.
            adds = {str(originals.json_dumps(one)): one for one in (*before.adds, *change.adds)}
            found[key] = replace(before, adds=tuple(adds.values()))
    yield from found.values()


def to_paste(changes: Iterable[str], rows: int | None) -> list[str]:
    """All that was found not to be allowed, ready to be pasted, at most so many markers. ``changes`` are exported."""
    every = [*union(map(Change.load, changes))]
    wide = [change for change in every if change.place.stands in ("file", "option")]
    markers = [change for change in every if change not in wide]
    shown = [*wide, *markers[:rows]]
    lines = []
    for change in shown:
        title, below = change.block
        lines += [f"{'to allow it':<16}{title}", *below]
    left = len(every) - len(shown)
    return [*lines, f"{'':<16}… {left} more (all with -vv)"] if left else lines

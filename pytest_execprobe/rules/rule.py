"""What a rule says, and how it is made of a marker, an option or a baseline.

Pure: markers, options and pytest's items are read elsewhere.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from ..baseline.model import Baseline, Excess, Section, table_name
from ..log.additions import NOTHING, Additions
from ..log.checks import listed
from ..log.pattern import Pattern
from ..log.patterns import PatternLike, compile_all, compile_pattern, natural, numbers_by_pattern
from ..source.stopping import check
from ..timeline.evidence import Evidence
from ..timeline.record import Phase
from .advice import NOWHERE, Change, Place
from .markers import MARKERS

PHASES: tuple[Phase, ...] = ("setup", "call", "teardown")
CALL: tuple[Phase, ...] = ("call",)


class RuleError(Exception):
    """A rule is not written as it must be. The message says what is right."""


@dataclass(frozen=True)
class Rule:
    """What one marker, option or ini value says."""

    kind: Literal["budget", "allow", "deny", "success", "no shell", "baseline"]
    phases: tuple[Phase, ...]
    direct: bool = False
    at_most: int | None = None
    per_program: tuple[tuple[Pattern, int], ...] = ()
    patterns: tuple[Pattern, ...] = ()
    inherit: bool = True
    #: Whether what it denies is killed before it runs.
    enforce: bool = False
    #: As it is written: ``exec_budget(2)``.
    text: str = ""
    #: Where it stands: ``on TestRelease, tests/test_release.py:11``.
    where: str = ""
    #: Of a baseline: what it does not allow of all that a test has run so far, and the command that accepts it.
    beyond: Callable[[Evidence], list[Excess]] | None = None
    accept: str = ""
    #: The same place, for what is to be written there instead.
    place: Place = NOWHERE

    def changed(
        self,
        marker: str,
        has: Sequence[object],
        lacking: Additions = NOTHING,
        *,
        per_program: Mapping[str, int] | None = None,
    ) -> Change:
        """What to write instead, for the same phases."""
        kwargs: dict[str, object] = {} if self.phases == CALL else {"phases": self.phases}
        if self.direct:
            kwargs["direct"] = True
        rest = ", ".join(f"{key}={value!r}" for key, value in kwargs.items())
        adds = lacking.as_texts if self.place.is_text else lacking.as_arguments
        some: tuple[tuple[Any, ...], tuple[Any, ...]] = (adds, (lacking.subtree,) if lacking.subtree else ())
        adds, instead = reversed(some) if lacking.is_narrow else some
        return Change(self.place, marker, tuple(has), adds, instead, per_program or {}, rest)

    @property
    def meaning(self) -> list[object]:
        """What it says, as plain data, wherever it stands: rules that say the same have the same."""
        per_program = [[pattern.meaning, number] for pattern, number in self.per_program]
        patterns = [pattern.meaning for pattern in self.patterns]
        table = self.text if self.kind == "baseline" else ""
        flags = [self.direct, self.inherit, self.enforce]
        return [self.kind, list(self.phases), self.at_most, per_program, patterns, table, flags]

    def of(self, evidence: Evidence) -> Evidence:
        """The part of it that this rule is about."""
        return evidence.only_direct() if self.direct else evidence


# ---- from markers ----


def make_rule(name: str, args: Sequence[Any], kwargs: Mapping[str, Any], where: str, *, enforce: bool = False) -> Rule:
    """The rule of a marker. ``enforce``: so is each that denies. Raises RuleError."""
    make = _MAKERS[name]
    try:
        inspect.signature(make).bind(*args, **kwargs)  # its messages do not name the function
        rule = make(*args, **kwargs)
        rule = _enforced(rule) if rule.enforce or enforce else rule
        text = written(name, args, kwargs, shortened=True)
        return replace(rule, text=text, where=where, place=Place("function", where, name))
    except (TypeError, ValueError) as error:
        raise RuleError(f"{written(name, args, kwargs)}: {error}. It is written {MARKERS[name][0]}") from None


def written(name: str, args: Iterable[object], kwargs: Mapping[str, object], *, shortened: bool = False) -> str:
    """A marker as it stands in the source; ``shortened``, of many arguments the first alone."""
    given = [listed(map(repr, args))] if args and shortened else [*map(repr, args)]
    return f"{name}({', '.join([*given, *(f'{key}={value!r}' for key, value in kwargs.items())])})"


def _budget(
    at_most: int | None = None,
    *,
    per_program: Mapping[PatternLike, int] | None = None,
    phases: Iterable[Phase] = CALL,
    direct: bool = False,
) -> Rule:
    if at_most is None and per_program is None:
        raise ValueError("a budget is a number, or numbers for programs")
    number = None if at_most is None else natural(at_most, "at_most")
    numbers = () if per_program is None else tuple(numbers_by_pattern(per_program).items())
    return Rule("budget", _phases(phases), _flag(direct, "direct"), number, numbers)


def _allow(*patterns: PatternLike, phases: Iterable[Phase] = CALL, direct: bool = False) -> Rule:
    if not patterns:
        raise ValueError("it needs a pattern; to allow nothing write exec_none()")
    compiled = tuple(map(compile_pattern, patterns))
    return Rule("allow", _phases(phases), _flag(direct, "direct"), patterns=compiled)


def _none(*, phases: Iterable[Phase] = PHASES, direct: bool = False) -> Rule:
    return Rule("allow", _phases(phases), _flag(direct, "direct"))


def _deny(
    *patterns: PatternLike,
    inherit: bool = True,
    enforce: bool = False,
    phases: Iterable[Phase] = PHASES,
    direct: bool = False,
) -> Rule:
    if not patterns and inherit is not False:
        raise ValueError("it needs a pattern, or inherit=False to drop the wider ones")
    compiled, inherits = tuple(map(compile_pattern, patterns)), _flag(inherit, "inherit")
    return Rule(
        "deny",
        _phases(phases),
        _flag(direct, "direct"),
        patterns=compiled,
        inherit=inherits,
        enforce=_flag(enforce, "enforce"),
    )


def _enforced(rule: Rule) -> Rule:
    """Raises ValueError where that can't be."""
    if rule.kind != "deny":
        return rule
    for pattern in rule.patterns:
        check(pattern.text)
    if rule.direct:
        raise ValueError("a rule that is enforced stops programs in the whole tree: leave out direct=True")
    return replace(rule, enforce=True)


def _success(*patterns: PatternLike, phases: Iterable[Phase] = CALL, direct: bool = False) -> Rule:
    compiled = tuple(map(compile_pattern, patterns))
    return Rule("success", _phases(phases), _flag(direct, "direct"), patterns=compiled)


def _no_shell(*, allow: Iterable[PatternLike] = (), phases: Iterable[Phase] = PHASES) -> Rule:
    return Rule("no shell", _phases(phases), patterns=tuple(compile_all(allow, "allow")))


_MAKERS: dict[str, Callable[..., Rule]] = {
    "exec_budget": _budget,
    "exec_allow": _allow,
    "exec_none": _none,
    "exec_deny": _deny,
    "exec_success": _success,
    "exec_no_shell": _no_shell,
}


def _phases(phases: object) -> tuple[Phase, ...]:
    if isinstance(phases, (str, bytes)) or not isinstance(phases, Iterable):
        raise TypeError(f"phases is a tuple such as ('call',), not {phases!r}")
    given = set(phases)
    wrong = given - set(PHASES)
    if wrong or not given:
        raise ValueError(f"phases are some of {', '.join(map(repr, PHASES))}, not {tuple(phases)!r}")
    return in_order(given)


def in_order(phases: set[Phase]) -> tuple[Phase, ...]:
    return tuple(phase for phase in PHASES if phase in phases)


def _flag(value: object, what: str) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{what} is True or False, not {value!r}")
    return value


def baseline_rule(baseline: Baseline, section: Section, name: str, *, accept: str, update: bool) -> Rule:
    """What a baseline says of a test, a fixture or the collection, in all phases together.

    ``name`` is its name there, ``accept`` the command that accepts what is beyond. With ``update`` everything is
    right, and only counted.
    """
    rows = baseline.rows(section, name)
    table = baseline.table(section, name) or table_name(name)
    judged = not update and baseline.has(section)
    return Rule(
        "baseline",
        PHASES,
        text=f'{section}."{table}"',
        where=f"in {baseline.path.name}",
        beyond=functools.partial(baseline.beyond, rows) if judged else lambda _: [],
        accept=accept,
    )

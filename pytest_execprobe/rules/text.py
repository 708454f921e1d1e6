"""What is said of rules that are broken, or that can't be decided: in a test's failure, and in a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain

from .._util.text import Style, printable
from ..errors import RuleBroken, RuleUndecided
from ..log.askers import asked_by
from ..log.checks import lost
from ..log.text import table, undecided
from ..timeline.evidence import Evidence
from ..timeline.record import ExecRecord
from ..timeline.site import CallSite, place
from .judge import RuleFinding

_PLACES = 3  # in code, that are named


@dataclass
class Problem:
    """What rules found, ready to be raised and shown."""

    error: RuleBroken | RuleUndecided
    headline: str
    sections: tuple[tuple[str, str], ...]
    #: All that there is to say, for a report: however little pytest is to write.
    in_report: str
    #: What is said of rules that can't be decided, where another one is broken: an xfail does not excuse them.
    left_open: str = ""
    #: Where Python has spawned the first exec that breaks a rule, if that is known.
    site: CallSite | None = None
    #: What to write if what ran is right, as it travels.
    changes: tuple[str, ...] = ()

    @property
    def undecided(self) -> bool:
        return isinstance(self.error, RuleUndecided)

    @property
    def headlines(self) -> str:
        """That of each rule that is broken, in a line."""
        return "; ".join(line for line in str(self.error).split("\n") if not line.startswith(" "))

    @property
    def in_full(self) -> str:
        """With what are sections where there is a report to hold some."""
        return _joined(str(self.error), self.sections)

    @classmethod
    def of(cls, found: list[RuleFinding], evidence: Evidence, start: int, where: str, style: Style) -> Problem:
        """What is wrong with one window."""

        def said(style: Style) -> tuple[str, tuple[tuple[str, str], ...]]:
            below = None if found[0].holds is None else section(found, evidence, start, where, style)
            text = findings(found, evidence, start, where, style)
            return "\n".join([text, *([] if below else advice(found))]), (below,) if below else ()

        text, sections = said(style)
        whole, parts = said(style if style.rows != 0 else replace(style, verbosity=0))
        error = RuleUndecided(text) if found[0].holds is None else RuleBroken(text)
        rest = [finding for finding in found if finding.holds is None] if found[0].holds is False else []
        left_open = findings(rest, evidence, start, where, style) if rest else ""
        marked = [record for finding in found if finding.holds is False for record in finding.marked]
        site = next((record.call_site for record in marked if record.call_site is not None), None)
        changes = tuple(finding.change.export() for finding in found if finding.holds is False and finding.change)
        return cls(error, text.partition("\n")[0], sections, _joined(whole, parts), left_open, site, changes)

    def and_also(self, other: Problem) -> Problem:
        """Both of them, what is certain first."""
        first, second = (other, self) if self.undecided else (self, other)
        error = type(first.error)(f"{first.error}\n{second.error}")
        left_open = [first.left_open, str(second.error) if second.undecided else second.left_open]
        return Problem(
            error,
            first.headline,
            first.sections + second.sections,
            f"{first.in_report}\n{second.in_report}",
            "" if first.undecided else "\n".join(filter(None, left_open)),
            first.site or second.site,
            first.changes + second.changes,
        )

    def of_what_is_open(self) -> Problem:
        """That part alone, with all that was said."""
        text = f"{self.left_open}\n{self.error}"
        return Problem(
            RuleUndecided(text), text.partition("\n")[0], self.sections, f"{self.left_open}\n{self.in_report}"
        )


def _joined(text: str, sections: tuple[tuple[str, str], ...]) -> str:
    return "\n".join([text, *(part for section in sections for part in section)])


def findings(found: Sequence[RuleFinding], evidence: Evidence, start: int, where: str, style: Style) -> str:
    """What is wrong with a phase: each broken rule and where it stands, else each that can't be decided."""
    lines: list[str] = []
    certain = [finding for finding in found if finding.holds is False]
    for finding in certain:
        lines.append(f"{printable(finding.headline)} ({_place(finding, where)})")
        lines += (f"  rule  {printable(rule.text)} {printable(rule.where)}" for rule in finding.rules)
        lines += spawned_from(finding.marked, style)
        lines += (f"  hint  {hint}" for hint in finding.hints)
    if certain:
        marked = chain.from_iterable(finding.marked for finding in certain)
        lines += (f"  hint  {hint}" for hint in asked_by(marked))
        return "\n".join(lines)
    finding = found[0]
    place = _place(finding, where)
    named = f"what was {place}" if place.startswith("left ") else _NAMED.get(place, f"the {place}")
    known = finding.evidence or evidence
    said = undecided(finding.question, known, start, named, style, finding.open_ends).split("\n")
    rules = [f"  rule  {printable(rule.text)} {printable(rule.where)}" for rule in finding.rules]
    return "\n".join([said[0], *rules, *said[1:]])


def spawned_from(records: Sequence[ExecRecord], style: Style) -> list[str]:
    """A line for each place in code from which Python has spawned some execs; of many the first."""
    sites = dict.fromkeys(record.call_site for record in records if record.call_site is not None)
    places = list(dict.fromkeys(printable(place(site, style.root)) for site in sites))
    more = [f"  from  … {len(places) - _PLACES} more places"] if len(places) > _PLACES else []
    return [*(f"  from  {where}" for where in places[:_PLACES]), *more]


# Places that are not simply "the" something.
_NAMED = {"outside of tests": "what ran outside of tests"}


def _place(finding: RuleFinding, where: str) -> str:
    """Where it was found: ``where``, or all that it is about."""
    if not finding.phases:
        return where
    phases = f"{' and '.join(finding.phases)} phase{'s' if len(finding.phases) > 1 else ''}"
    if where.startswith("left "):
        return f"{phases}, and {where}"
    return phases if where.endswith(" phase") else f"set-up and end of {where.partition(' of ')[2]}"


def section(
    found: Sequence[RuleFinding], evidence: Evidence, start: int, where: str, style: Style
) -> tuple[str, str] | None:
    """The title and the text of a failing test's section about what ran; None with ``-q``."""
    if style.rows == 0:
        return None
    whole = next((finding for finding in found if finding.evidence is not None), None)
    if whole is not None and whole.evidence is not None:
        evidence, where = whole.evidence, _place(whole, where)
        start = min([start, *(record.timestamp_ns for record in evidence.records)])
    ignored = f", {evidence.ignored} ignored" if evidence.ignored else ""
    marked = chain.from_iterable(finding.marked for finding in found)
    lines = [*(table(evidence, start, marked, style) or ["  nothing"]), *advice(found)]
    return f"execs: {where} ({len(evidence.records)}, {lost(evidence)} lost{ignored})", "\n".join(lines)


def advice(found: Sequence[RuleFinding]) -> list[str]:
    """What to write if what ran is right, a line for each rule."""
    every = dict.fromkeys(finding.advice for finding in found if finding.advice)
    return [f"  if this is right: {printable(text)}" for text in every]

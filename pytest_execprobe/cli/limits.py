"""What a command may execute, and what is said where it has executed more, or where that is not known. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from .. import gate
from .._util.ternary import either
from .._util.text import printable
from ..baseline.model import Baseline
from ..log import checks
from ..log.askers import asked_by
from ..log.checks import Verdict, execs
from ..log.pattern import Pattern, Side, any_match
from ..report.digest import cut, may_follow
from ..report.model import Document, ReportedBreach
from ..timeline.evidence import Evidence
from ..timeline.program import STOPPED, described
from ..timeline.record import ExecRecord
from .following import Show
from .inputs import read_budget
from .processes import BadEnd
from .recording import NewExec
from .terminal import CommandError
from .totals import number

_MARKED = 10  # execs that are shown with a limit that they break
_WIDTH = 160  # characters of them


@dataclass(frozen=True)
class Allowed:
    """What the command may execute."""

    at_most: int | None = None
    allow: tuple[Pattern, ...] = ()
    deny: tuple[Pattern, ...] = ()
    #: What was found when it was new: links by which it is known may be gone by the end.
    _denied: set[tuple[Pattern, ExecRecord]] = field(default_factory=set, compare=False)

    @property
    def need_ancestors(self) -> bool:
        """Whether a pattern looks at what is above an exec, so that all of it must be kept."""
        return any(pattern.text.startswith("subtree:") for pattern in (*self.allow, *self.deny))

    def concern(self, record: ExecRecord) -> bool:
        """Whether an exec is, or may be, beyond what the patterns allow. Of others, only their number matters."""
        matches = [pattern.match(record, Side.FORBID) for pattern in self.deny]
        self._denied.update((pattern, record) for pattern, match in zip(self.deny, matches, strict=True) if match)
        if self.allow and any_match(self.allow, record, Side.ALLOW) is not True:
            return True
        return record._lineage.enforced or either(*matches) is not False

    def looking(self, show: Show) -> Show:
        """What shows execs as they come, with a look at whether they are forbidden."""

        def look(news: Sequence[NewExec | BadEnd]) -> None:
            for new in news:
                if isinstance(new, NewExec):
                    self.concern(new.record)
            show(news)

        return look

    def broken(self, evidence: Evidence, ran: int) -> list[Verdict]:
        """The limits that do not hold, or can't be decided: certain ones first. ``ran`` is how many execs are recorded;
        ``evidence`` has at least those of them that concern the limits."""
        verdicts: list[Verdict] = []
        if self.at_most is not None:
            # What is missing must fit into what is left of the budget.
            left = checks.at_most(replace(evidence, records=()), self.at_most - ran, None)
            counted = execs(ran + evidence.surely_lost)
            headline = f"exec budget exceeded: {counted}, at most {self.at_most} allowed"
            verdicts.append(Verdict(left.holds, headline, f"whether at most {execs(self.at_most)} ran"))
        if self.allow:
            verdicts.append(checks.only_ran(evidence, self.allow))
        denied = [*map(self._with_denied, self.deny, checks.not_ran(evidence, self.deny))]
        verdicts += [*denied, *checks.stopped_as_well(evidence, (one for each in denied for one in each.marked))]
        return sorted((verdict for verdict in verdicts if not verdict.holds), key=lambda verdict: verdict.holds is None)

    def _with_denied(self, pattern: Pattern, verdict: Verdict) -> Verdict:
        ran = {record for denied, record in self._denied if denied is pattern}
        marked = sorted(ran.union(verdict.marked), key=lambda record: record.timestamp_ns)
        return checks.denied(pattern, marked) if marked else verdict

    def breaches(self, evidence: Evidence, ran: int, running: int) -> Iterator[ReportedBreach]:
        """The same, in words. ``running`` is how many processes had not ended, which may execute more."""
        if running:
            evidence = replace(evidence, unknown=(*evidence.unknown, may_follow(running)))
        for verdict in self.broken(evidence, ran):
            if verdict.holds is False:
                yield _exceeded(verdict.headline, verdict.marked)
            else:
                yield _undecided(verdict.question, _why(evidence))


def total_of(path: str) -> Baseline:
    """What a budget file limits in all: nothing else in it is about a command. Raises CommandError."""
    budget = read_budget(Path(path))
    total = tuple(sums for sums in budget.sums if not sums.name)
    if not total:
        raise CommandError(f"{path}: has no [total], and nothing else in a budget file is about a command")
    return replace(budget, sections={}, sums=total)


def beyond(document: Document, total: Baseline) -> Iterator[ReportedBreach]:
    """What of a command's execs a budget file does not allow, or leaves open."""
    verdict = gate.judge(document, total, budget_only=True)  # the command's own rules are judged apart
    for finding in verdict.exceeded:
        yield _exceeded(f"{total.path}: {finding.excess.what}", finding.excess.marked)
    questions = [finding.excess.what for finding in verdict.undecided]
    if verdict.incomplete and not verdict.findings:
        questions.append("whether more ran")
    for question in questions:
        yield _undecided(f"{question} than {total.path} allows", verdict.incomplete)


def _exceeded(headline: str, marked: Sequence[ExecRecord]) -> ReportedBreach:
    """What is certain, and the execs that made it so."""
    lines = [cut(described(record), _WIDTH) + STOPPED * record.stopped for record in marked[:_MARKED]]
    if len(marked) > _MARKED:
        lines.append(f"… {len(marked) - _MARKED} more")
    lines += (f"hint  {hint}" for hint in asked_by(marked, of_python=False))
    return _breach(headline, lines, undecided=False)


def _undecided(question: str, why: Iterable[str]) -> ReportedBreach:
    return _breach(f"cannot tell {question}", (f"why   {reason}" for reason in why), undecided=True)


def _breach(headline: str, lines: Iterable[str], *, undecided: bool) -> ReportedBreach:
    headline = printable(headline)
    return ReportedBreach(headline, "\n".join([headline, *(f"  {printable(line)}" for line in lines)]), undecided)


def _why(evidence: Evidence) -> Iterator[str]:
    """What is missing from what is known, and what to change."""
    yield from evidence.why
    if evidence.lost:
        lost = number(len(evidence.lost), "exec")
        yield f"{lost} found the perf buffer full: raise --buffer-pages, or give the helper a CPU"
    if evidence.missing == 0:
        yield (
            "an argv was longer than what is kept (16 KiB), or it, a file or what is above an exec is not known: match"
            " on the program's name"
        )
    elif any(record._lineage.lost for record in evidence.records):
        yield "a record above an exec was lost: raise --buffer-pages, or match without subtree:"

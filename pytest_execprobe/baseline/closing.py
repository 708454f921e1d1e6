"""What there is to say of a baseline when a run is over, and to write."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from .. import gate, summary
from ..ledger import MISSING, Breach
from ..report.document import Document
from ..rules import BEYOND
from ..settings import Settings
from .changes import Seen, Uses
from .limits import SECTIONS, Baseline, Section, portable

_RIGHT = ("passed", "xfailed", "xpassed")


def beyond_sums(document: Document, baseline: Baseline) -> Iterator[Breach]:
    """What is beyond the limits of the run as a whole, and of packages."""
    found: dict[tuple[str, bool | None], list[str]] = {}
    for finding in gate.judge_sums(document, baseline):
        found.setdefault((finding.name, finding.excess.holds), []).append(finding.excess.what)
    for (name, holds), what in found.items():
        if holds is False:
            headline = f"{BEYOND}: {'; '.join(what)} ({name})"
        else:
            headline = f"cannot tell whether {name} is within the baseline: records are missing"
        yield Breach.around(f"baseline of {name}", headline, headline, undecided=holds is None)


def compared(
    baseline: Baseline,
    settings: Settings,
    uses: Uses,
    outcomes: Mapping[str, str],
    gone: Mapping[Section, Sequence[str]],
    beyond: int,
) -> list[str]:
    """The summary of a run that was judged by it. ``beyond`` is how many were beyond it."""
    accept = " ".join(filter(None, ["pytest", settings.baseline_option, "--execprobe-update"]))
    return [
        *summary.compared(baseline.path, beyond, accept),
        *summary.obsolete(gone, uses, baseline),
        *summary.fewer(uses, baseline, outcomes),
    ]


def rewritten(
    baseline: Baseline,
    settings: Settings,
    uses: Uses,
    outcomes: Mapping[str, str],
    gone: Mapping[Section, Sequence[str]],
) -> list[str]:
    """Writes it anew, and returns the summary of that. Raises OSError."""
    from .update import rewrite

    passed = {portable(name) for name, outcome in outcomes.items() if outcome in _RIGHT}
    seen: dict[Section, dict[str, Seen]] = {section: {} for section in SECTIONS}
    left: list[str] = []
    for section in SECTIONS:
        for name, used in uses.get(section, {}).items():
            if MISSING not in used and (section != "tests" or name in passed):
                seen[section][name] = Seen(used)
            elif used or name in baseline.sections.get(section, ()):
                left.append(name)
    changes = rewrite(baseline, seen, gone, only_add=settings.update == "add")
    return summary.updated(baseline.path, changes, left)

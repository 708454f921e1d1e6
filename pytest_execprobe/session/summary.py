"""Every text about a run as a whole. Pure functions over its totals."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .._util.text import printable
from ..baseline.changes import Changes, Seen, Uses, renames
from ..baseline.model import Baseline, Section, few
from ..log.additions import as_text, of_any_python
from ..log.checks import between, execs, times_word
from ..rules.advice import to_paste
from ..rules.configured import listed_in
from .collected import Former
from .settings import Settings
from .totals import MISSING, LateBreach, Totals

_ROWS = 10
_PROGRAMS = 30  # a rule is made of all of them
_ESCAPED = re.compile(r"\\(?:x..|u.{4}|U.{8}|[nrt])")
_NOT_LOOKED_AT = "left out by --execprobe-ignore or a hook"
#: What a process says at its end that a test has forked, and that came back into pytest.
OF_A_COPY = (
    "this process is a copy of the run's, made by os.fork() in a test: it writes no report and no baseline, and judges"
    " nothing but its tests"
)


def session_budget(totals: Totals, limit: int | None, *, filtered: bool = False) -> LateBreach | None:
    """What is wrong with the budget of the run as a whole. ``filtered``: a lost exec may have been an ignored one."""
    if limit is None or totals.is_unchecked:
        return None
    if totals.execs - (totals.lost if filtered else 0) > limit:
        headline = f"session budget exceeded: {execs(totals.execs)}, at most {limit} allowed"
        text = [
            headline,
            f"  most   {_most(totals.programs, _ROWS)}",
            f"  if this is right: --execprobe-session-budget={totals.execs}",
        ]
        return LateBreach.around("session budget", headline, "\n".join(text), undecided=False)
    why = [*totals.unknown]
    if totals.execs + totals.gaps.total() > limit:
        why += totals.gaps
    if totals.execs > limit:
        why.append(f"{execs(totals.lost)} lost, which may have been ignored ones: raise --execprobe-buffer-pages")
    if totals.not_checked:
        why.append(f"{_tests(len(totals.not_checked))} not recorded: {next(iter(totals.not_checked.values()))}")
    if not why:
        return None
    headline = f"cannot tell whether at most {execs(limit)} ran: what would tell was not recorded"
    text = [headline, *(f"  why   {reason}" for reason in why)]
    return LateBreach.around("session budget", headline, "\n".join(text), undecided=True)


def lines(
    totals: Totals, settings: Settings, verbosity: int, stats: Mapping[str, Sequence[Any]] | None = None
) -> list[str]:
    """The summary at the end of a run; nothing where there is nothing to say. ``stats`` are pytest's reports, by what
    they are counted as."""
    rows = None if verbosity >= 2 else 3 if verbosity < 0 else _ROWS
    said: list[str] = []
    if settings.sums_up:
        said += _accounts(totals, settings, rows)
        said += _origins(totals, rows) if verbosity >= 1 else []
    else:
        said += [f"{'not known':<16}{why}" for why in totals.why]
    if totals.unprivileged or (settings.sums_up and totals.are_traced):
        without = f"; without its privilege ran: {_most(totals.unprivileged, rows)}" if totals.unprivileged else ""
        said.append(f"{'probe':<16}ptrace{without}")
    said += _crashed("crashed", totals.crashes, stats or {}, rows)
    said += _crashed("ended by signal", totals.killed, stats or {}, rows)
    if totals.ignored:
        said.append(f"{'ignored':<16}{_most(totals.ignored, rows)}")
    for nodeid, headline in totals.excused.items():
        said.append(f"{'xfailed':<16}{printable(nodeid)}: {headline}")
    for reason, count in Counter(totals.not_checked.values()).items():
        said.append(f"{'NOT CHECKED':<16}{_tests(count)}: {reason}")
    said += _as_rule(totals, settings) if settings.audit and verbosity >= 0 else []
    return [*said, *to_paste(totals.changes, rows)]


def _accounts(totals: Totals, settings: Settings, rows: int | None) -> list[str]:
    programs = totals.programs
    lost = between(0 if settings.ignore else totals.lost, totals.missing)
    said = (
        []
        if totals.is_unchecked
        else [f"{'recorded':<16}{execs(totals.execs)} in {_tests(totals.recorded)} and around them, {lost} lost"]
    )
    said += [f"{'not known':<16}{why}" for why in totals.why]
    if settings.session_budget is not None:
        ran = "NOT CHECKED" if totals.is_unchecked else execs(totals.execs)
        said.append(f"{'session budget':<16}{ran}, at most {settings.session_budget} allowed")
    of_programs = _PROGRAMS if rows == _ROWS else rows
    said += _table("most executed", [(count, program, "") for program, count in programs.items()], of_programs)
    groups = {
        "most by test": totals.tests,
        "besides tests": totals.others,
        "strays of": totals.strays,
        "left running by": totals.late,
    }
    if totals.running or totals.more_running:
        said.append(_running(totals))
    for title, group in groups.items():
        said += _table(title, [(counter.total(), name, _most(counter, 5)) for name, counter in group.items()], rows)
    return said


def _as_rule(totals: Totals, settings: Settings) -> list[str]:
    """What allows all that tests have run, where no rule for all of them does yet."""
    ran = sum((counter for group in (totals.tests, totals.strays) for counter in group.values()), Counter[str]())
    if not ran or settings.allows:
        return []
    if totals.lost or totals.why or totals.not_checked:
        return [f"{'as a rule':<16}none is given, for not all that ran is known"]
    file, section = settings.configured_in
    # What was not printable still is not.
    named = (_ESCAPED.sub("\0", program) for program, _ in ran.most_common())
    patterns = dict.fromkeys(of_any_python(program) or as_text(program) for program in named)
    return [
        f"{'as a rule':<16}in {file}, under {section}:",
        *listed_in(file, "execprobe_allow", [(p, "") for p in patterns]),
    ]


def _origins(totals: Totals, rows: int | None) -> list[str]:
    """What no package owns, or may own, and what is odd about where it lies."""
    from ..origin.origin import here  # few runs ask for it

    found = ((count, path, here().origin(path)) for path, count in totals.files.items())
    odd = [(count, path, str(origin)) for count, path, origin in found if not origin.owned or origin.remarks]
    return _table("of no package", odd, rows)


def _crashed(
    title: str, ended: Mapping[str, Counter[str]], stats: Mapping[str, Sequence[Any]], rows: int | None
) -> list[str]:
    """What crashed where that failed no test: nothing else shows it."""
    failed = {getattr(report, "nodeid", "") for kind in ("failed", "error") for report in stats.get(kind, ())}
    those = {name: counter for name, counter in ended.items() if name not in failed}
    return _table(title, [(counter.total(), name, _times(counter)) for name, counter in those.items()], rows)


def _times(counter: Counter[str]) -> str:
    """Each, and how often if that is more than once."""
    return ", ".join(what if count == 1 else f"{what} {times_word(count)}" for what, count in sorted(counter.items()))


def _running(totals: Totals) -> str:
    """What goes on when the run is over."""
    programs = Counter(str(program or "?") for _, program, _, _ in totals.running)
    count = len(totals.running) + totals.more_running
    processes = "1 process" if count == 1 else f"{count} processes"
    return f"{'still running':<16}{processes}, of which nothing more is recorded: {_most(programs, 5)}"


def _table(title: str, table: list[tuple[int, str, str]], rows: int | None) -> list[str]:
    shown = sorted(table, key=lambda row: (-row[0], row[1]))[:rows]
    width = max((len(str(count)) for count, _, _ in shown), default=0)
    said = []
    for count, name, what in shown:
        said.append(f"{title:<16}{count:>{width}}  {printable(name)}{f': {what}' if what else ''}")
        title = ""
    if len(shown) < len(table):
        said.append(f"{'':<16}… {len(table) - len(shown)} more (all with -vv)")
    return said


# ---- the baseline ----


def tried_again(before: Sequence[str]) -> list[str]:
    """The tests that were beyond a baseline in an earlier try, and not in the last."""
    return _listed("tried again", before, "beyond it in an earlier try; the last one counts")


def fewer(usage: Uses, unseen: Uses, baseline: Baseline, outcomes: Mapping[str, str | None]) -> list[str]:
    """The tests that ran less than the baseline allows, so that an update lowers their rows. It does not lower those of
    fixtures and of the collection, nor ranges, nor those of what is not looked at."""

    def is_lowered(name: str, used: Mapping[str, int]) -> bool:
        if outcomes.get(name) != "passed" or MISSING in used or baseline.table("tests", name) != name:
            return False
        limits = baseline.rows("tests", name).limits.items()
        kept = unseen.get("tests", {}).get(name, {})
        rows = [(max(used.get(key, 0), key in used), limit) for key, limit in limits if key not in kept]
        return any(limit.most is not None and limit.least is None and count < limit.most for count, limit in rows)

    found = [name for name, used in usage.get("tests", {}).items() if is_lowered(name, used)]
    return _listed("less than it", found, "a run with --execprobe-update lowers their rows")


def unseen(unseen: Uses, baseline: Baseline) -> list[str]:
    """The programs that have rows in a baseline, and are not, or not all, looked at: rows count what is."""
    found = {
        key: None
        for section, names in unseen.items()
        for name, keys in names.items()
        for key in keys
        if key in baseline.rows(section, name).limits  # type: ignore[arg-type]
    }
    return _listed("not judged", [*found], f"their rows do not count what is {_NOT_LOOKED_AT}")


def obsolete(gone: Mapping[Section, Sequence[str]], usage: Uses, baseline: Baseline) -> list[str]:
    """The stale tables of a baseline, and what may have become of them."""
    found = []
    for section, names in gone.items():
        seen = {name: Seen(used) for name, used in usage.get(section, {}).items()}
        moved = renames(baseline, section, names, seen)
        found += [f"{name} (renamed to {moved[name]}?)" if name in moved else name for name in names]
    return _listed("obsolete", found, "a run of all tests with --execprobe-update removes them")


def former(former: Former, accept: str) -> list[str]:
    """The tables of a baseline that have names of earlier versions, so that no test is judged by them."""
    names = [name for renamed in former.names.values() for name in renamed]
    remark = f"earlier versions named them so, and no test is judged by them; this renames them: {accept}"
    return [*_listed("old names", names, remark), *not_renamed(former)]


def not_renamed(former: Former) -> list[str]:
    """Those of which no update knows what they are called now."""
    remark = (
        "earlier versions named them so, and no test of this run, or several, can be meant: update with all tests, or"
        " rename them by hand ($TMPDIR and ~ stand for the folders themselves there)"
    )
    return _listed("old names", former.left, remark)


def left_out(packages: Sequence[str]) -> list[str]:
    """Limits of packages that this run says nothing about."""
    return _listed("not judged", [f'packages."{name}"' for name in packages], "this run has collected no test there")


def updated(
    path: Path, changes: Changes, broken_off: Sequence[str], unrecorded: Sequence[str], kept: Sequence[str]
) -> list[str]:
    """What an update has written. ``broken_off`` did not pass, of ``unrecorded`` not all is known, ``kept`` did not run
    as a whole, and that was expected."""
    rows = [row for row in changes.gone if row[1]]
    parts = [
        (changes.new, "row", "new"),
        (changes.raised, "row", "raised"),
        (changes.lowered, "row", "lowered"),
        (rows, "row", "removed"),
        ([table for table in changes.gone if not table[1]], "obsolete table", "removed"),
        (changes.renamed, "table", "renamed"),
    ]
    said = ", ".join(f"{len(those)} {what}{'s' * (len(those) > 1)} {how}" for those, what, how in parts if those)
    lines = [f"{'baseline':<16}{path.name} written: {said}" if said else f"{'baseline':<16}{path.name}: no change"]
    return [
        *lines,
        *_listed(
            "not whole",
            broken_off,
            "they did not pass: what they ran has rows, what they would run besides has none; update again when they"
            " pass",
        ),
        *_listed(
            "not recorded",
            unrecorded,
            "not as a whole: what was recorded of them has rows, what was not has none; update again",
        ),
        *_listed("not lowered", kept, "skipped or expected to fail"),
        *_listed(
            "not lowered", [*dict.fromkeys(row for _, row in changes.kept)], f"{_NOT_LOOKED_AT}: their rows are kept"
        ),
    ]


def _listed(title: str, names: Sequence[str], remark: str) -> list[str]:
    if not names:
        return []
    return [f"{title:<16}{few(map(printable, names))}: {remark}"]


def _most(counter: Counter[str], rows: int | None) -> str:
    most = sorted(counter.items(), key=lambda item: (-item[1], item[0]))
    shown: Iterable[tuple[str, int]] = most if rows is None else most[:rows]
    text = ", ".join(f"{printable(program)} {count}" for program, count in shown)
    return text + (f", … {len(most) - rows} more" if rows is not None and len(most) > rows else "")


def _tests(count: int) -> str:
    return "1 test" if count == 1 else f"{count} tests"

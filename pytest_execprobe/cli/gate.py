"""Holds one or many stored reports (of CI's shards, say) against a budget file, for a release pipeline.

The budget is a baseline, as pytest --execprobe-baseline=FILE --execprobe-update writes it: rows for each test, fixture
and collection, and limits for packages of tests and for everything together, where the file has those.

What is certainly beyond a limit is exceeded, and so is a rule that a run itself has found broken. A report in which
something is missing never passes.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .. import gate
from .._util.names import has_no_place
from .._util.text import printable
from ..files import write_atomically
from ..report.digest import PlacedBreach
from ..report.model import Document
from ..report.redacted import unclear
from .inputs import is_among, merge, read_all, read_budget
from .terminal import CommandError, Line, Terminal, plain
from .totals import number
from .values import REDACT, add_options, whole

SUMMARY = "hold stored reports against a budget"

USAGE = "execprobe gate STORED... --budget FILE.toml [--runs N] [--since OLD] [OPTION]..."
EPILOG = """\
examples:
  execprobe gate shards/ --runs 2 --budget execs.toml
  execprobe gate shards/ --budget execs.toml --since last.json -o gate.md

exit status:
  0    everything is within the budget, and no run has found a rule broken
  1    something is certainly beyond it, or a run has found a rule broken
  2    a report, or the budget, can't be read; or something is missing that
       could be beyond it, such as tests that failed or were not run
"""
_ENDINGS = {".txt": "text", ".json": "json", ".md": "md"}
_MOST = 20  # that are shown of a kind, in text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    inputs = parser.add_argument_group("input")
    inputs.add_argument("stored", nargs="+", metavar="STORED", help="a stored report, or a folder of them")
    add_options(
        inputs,
        [
            ("--budget", "FILE", "the baseline: a TOML file", {"required": True, "type": Path}),
            ("--since", "OLD", "show what is new since an earlier release: its report (.json), or budget (.toml)", {}),
            (
                "--runs",
                "N",
                "how many runs there must be, one of each shard: no two of them may have a test in common",
                {"type": whole(1, 1_000_000)},
            ),
            (
                "--budget-only",
                "",
                "look at the budget alone: not at rules that a run has found broken or undecided, nor at failed tests",
                {},
            ),
            (
                "--allow-deselected",
                "",
                "tests of the budget that all runs have left out (-k, -m, --ignore, by naming others) are not missing",
                {},
            ),
        ],
    )
    output = parser.add_argument_group("output")
    output.add_argument("--format", choices=tuple(_ENDINGS.values()), help="default: by the ending of PATH, else text")
    about = "write it there (.txt, .md, .json), and the verdict alone here"
    output.add_argument("-o", "--output", type=Path, metavar="PATH", help=about)
    add_options(output, [REDACT])


def run(arguments: argparse.Namespace, terminal: Terminal) -> int:
    form = _form(arguments.format, arguments.output)
    baseline = read_budget(arguments.budget)
    given = [*arguments.stored, str(arguments.budget), *([arguments.since] if arguments.since else ())]
    if arguments.output is not None and is_among(arguments.output, given):
        raise CommandError(f"{arguments.output} is what the gate is to read: write its answer to another file")
    with terminal.working("reading the reports") as say:
        document = merge(read_all(arguments.stored, say))
        new = None
        if arguments.since is not None:
            path = Path(arguments.since)
            old = read_budget(path) if path.suffix == ".toml" else merge(read_all([arguments.since], say))
            new = gate.new_since(document, old, baseline)
        say("all of them against the budget")
        verdict = gate.judge(
            document,
            baseline,
            arguments.runs,
            budget_only=arguments.budget_only,
            allow_deselected=arguments.allow_deselected,
        )
        if verdict.undecided:
            verdict = replace(verdict, incomplete=(*verdict.incomplete, *unclear(document)))
        unseen = gate.unseen(document, baseline)
    result = _Result(document, verdict, new, unseen)
    if form == "text":
        lines = list(_text(result))
        text = "".join(f"{plain(line)}\n" for line in lines)
    else:
        text = json.dumps(_data(result), indent=2) + "\n" if form == "json" else _markdown(result)
        lines = [[line] for line in text.splitlines()]
    if arguments.output is not None:
        try:
            write_atomically(arguments.output, text)
        except OSError as error:
            raise CommandError(f"{arguments.output} can't be written: {error.strerror or error}") from None
        lines = [_headline(result)]
    for line in lines:
        terminal.say(*line)
    return int(verdict.status)


def _form(asked: str | None, output: Path | None) -> str:
    if asked is not None or output is None:
        return asked or "text"
    if output.suffix not in _ENDINGS:
        raise CommandError(f"{output}: ends in none of {', '.join(_ENDINGS)}; name the form, --format")
    return _ENDINGS[output.suffix]


@dataclass(frozen=True)
class _Result:
    """What there is to say."""

    document: Document
    verdict: gate.GateVerdict
    new: list[gate.New] | None
    unseen: list[str]

    @property
    def tests(self) -> int:
        return len({unit.name for unit in self.document.units if unit.kind == "test"})

    @property
    def checked(self) -> str:
        execs, runs = self.document.execs, len(self.document.runs)
        return f"{number(execs, 'exec')} in {number(self.tests, 'test')} of {number(runs, 'run')}"


_STYLES = {gate.GateStatus.WITHIN: "good", gate.GateStatus.EXCEEDED: "bad", gate.GateStatus.INCOMPLETE: "bad"}


def _headline(result: _Result) -> Line:
    status = result.verdict.status
    return [(status.name.lower(), _STYLES[status]), f"  {result.checked}"]


# ---- text ----


def _text(result: _Result) -> Iterable[Line]:
    yield _headline(result)
    verdict = result.verdict
    for title, style, groups in (
        ("beyond", "bad", _findings(verdict.exceeded)),
        ("broken", "bad", _rules(verdict.broken_rules)),
        ("unknown", "bad", [*_findings(verdict.undecided), *_rules(verdict.undecided_rules)]),
        ("retried", "warn", _findings(verdict.before)),
    ):
        for name, what in groups:
            yield [(f"  {title:<9}", style), printable(name)]
            for text in what:
                yield [f"             {printable(text)}"]
    for line in _some(verdict.incomplete):
        yield [("  missing  ", "bad"), printable(line)]
    for line in _some(verdict.ignored):
        yield [("  ignored  ", "warn"), printable(line)]
    if result.new is not None:
        for new in result.new:
            names = ", ".join(map(printable, new.names))
            yield [("  new      ", "warn"), f"{printable(new.program)} {new.count} ({names})"]
        if not result.new:
            yield ["  new      no program"]
    for line in _some(result.unseen):
        remark = "an earlier version named it so; an update renames it" if has_no_place(line) else "in no report"
        yield [("  unseen   ", "dim"), f"{printable(line)}: in the budget, and {remark}"]


def _findings(findings: Iterable[gate.BudgetFinding]) -> list[tuple[str, list[str]]]:
    return _grouped((one.name, one.excess.what + (f" ({one.who})" if one.names else "")) for one in findings)


def _rules(rules: Iterable[PlacedBreach]) -> list[tuple[str, list[str]]]:
    return _grouped((_name(rule), rule.breach.headline) for rule in rules)


def _name(rule: PlacedBreach) -> str:
    return gate.TOTAL if rule.unit is None else rule.unit.name


def _grouped(said: Iterable[tuple[str, str]]) -> list[tuple[str, list[str]]]:
    """By name, in order, each text of a name once."""
    grouped: dict[str, dict[str, None]] = {}
    for name, text in said:
        grouped.setdefault(name, {})[text] = None
    return [(name, list(texts)) for name, texts in grouped.items()]


def _some(lines: Iterable[str]) -> list[str]:
    lines = list(lines)
    return [*lines[:_MOST], f"… {len(lines) - _MOST} more"] if len(lines) > _MOST else lines


# ---- JSON ----


def _data(result: _Result) -> dict[str, Any]:
    """What the text says, with its numbers."""
    return {
        "format": "pytest-execprobe gate",
        "version": 1,
        "verdict": result.verdict.status.name.lower(),
        "exit_status": int(result.verdict.status),
        "execs": result.document.execs,
        "tests": result.tests,
        "runs": len(result.document.runs),
        "findings": [
            {
                "name": finding.name,
                "program": finding.excess.key,
                "ran": finding.excess.ran,
                "limit": finding.excess.limit,
                "certain": finding.excess.holds is False,
                "file": finding.unit and finding.unit.file,
                "line": finding.unit and finding.unit.line,
                "text": finding.excess.what,
            }
            for finding in result.verdict.findings
        ],
        "rules": [
            {
                "name": _name(rule),
                "certain": not rule.breach.undecided,
                "file": rule.unit and rule.unit.file,
                "line": rule.unit and rule.unit.line,
                "text": rule.breach.headline,
            }
            for rule in result.verdict.rules
        ],
        "retried": [{"name": finding.name, "text": finding.excess.what} for finding in result.verdict.before],
        "incomplete": list(result.verdict.incomplete),
        "ignored": list(result.verdict.ignored),
        "new": None
        if result.new is None
        else [{"program": new.program, "count": new.count, "names": list(new.names)} for new in result.new],
        "unseen": result.unseen,
    }


# ---- Markdown ----


def _markdown(result: _Result) -> str:
    from ..report.markdown import code

    lines = [f"## Exec budget: {result.verdict.status.name.lower()}", "", result.checked, ""]
    verdict = result.verdict
    for title, groups in (
        ("beyond, or not known to be within", [*_findings(verdict.exceeded), *_findings(verdict.undecided)]),
        ("rules broken, or undecided", [*_rules(verdict.broken_rules), *_rules(verdict.undecided_rules)]),
        ("beyond in an earlier try alone", _findings(verdict.before)),
    ):
        if groups:
            lines += [f"| {title} | what |", "| --- | --- |"]
            lines += [f"| {code(name)} | {'<br>'.join(code(text) for text in what)} |" for name, what in groups]
            lines.append("")
    for title, listed in (
        ("Missing", [code(line) for line in _some(verdict.incomplete)]),
        ("Ignored", [code(line) for line in _some(verdict.ignored)]),
        ("New", [f"{code(new.program)} {new.count}: {', '.join(map(code, new.names))}" for new in result.new or ()]),
        ("In the budget, and in no report", [code(line) for line in _some(result.unseen)]),
    ):
        if listed:
            lines += [f"### {title}", "", *(f"- {line}" for line in listed), ""]
    return "\n".join(lines)

"""Shows stored reports, or writes them in other forms.

A stored report is the JSON that pytest's --execprobe-report=PATH.json or execprobe run --report PATH.json has written.
Several are shown as one, and a run that is in more than one of them is taken once. Of a folder, every *.json below it
is read.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from .terminal import CommandError, Line, Terminal
from .values import REDACT, add_options

if TYPE_CHECKING:
    from ..report.model import Document, Unit
    from ..timeline.record import ExecRecord

SUMMARY = "show stored reports, or write them in other forms"

USAGE = "execprobe report STORED... [-o PATH]... [--format FORM]"
EPILOG = """\
examples:
  execprobe report execs.json                          totals, what ran most, and how it ended
  execprobe report execs.json -o execs.html -o execs.trace.json
  execprobe report shards/ --format md >> "$GITHUB_STEP_SUMMARY"

exit status:
  0    done, whatever the reports say ('execprobe gate' is what judges them)
  2    an input can't be read, or is not a report, or an output can't be written
"""

_FORMS = ("text", "json", "html", "md", "sarif", "trace")
_ENDINGS = {"json": ".json", "html": ".html", "md": ".md", "sarif": ".sarif", "trace": ".trace.json"}
_RUNS = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    inputs = parser.add_argument_group("input")
    inputs.add_argument("stored", nargs="+", metavar="STORED", help="a stored report, or a folder of them")
    output = parser.add_argument_group("output")
    output.add_argument(
        "-o",
        "--output",
        action="append",
        default=[],
        metavar="PATH",
        help="write .json, .html, .md, .sarif or .trace.json, by its ending, whole or not at all; - is standard output;"
        " can be given more than once",
    )
    output.add_argument(
        "--format", choices=_FORMS, metavar="FORM", help=f"of standard output: {', '.join(_FORMS)} (default text)"
    )
    about = "show where what was executed comes from: packages, files of none, what is odd"
    add_options(output, [("--provenance", "", about, {}), REDACT])


def run(arguments: argparse.Namespace, terminal: Terminal) -> int:
    from ..report import forms
    from .inputs import merge, read_all

    paths = [path for path in dict.fromkeys(arguments.output) if path != "-"]
    if arguments.provenance and (paths or (arguments.format or "text") != "text"):
        raise CommandError("--provenance is for text: .html and .json have it in any case")
    if arguments.format is not None and paths and "-" not in arguments.output:
        raise CommandError("--format is for standard output (-o -): a file's form is that of its ending")
    try:
        for path in paths:
            forms.check_available(forms.form_of(path))
        form = forms.FORMS.get(_ENDINGS.get(arguments.format or "", ""))
        if form is not None:
            forms.check_available(form)
        with terminal.working("reading reports") as say:
            document = merge(read_all(arguments.stored, say))
        with terminal.working("writing reports") as say:
            for path in paths:
                say(path)
                forms.write(document, path)
    except (ValueError, forms.FormUnavailable, forms.ReportNotWritten) as error:
        raise CommandError(str(error)) from None
    if paths and "-" not in arguments.output:
        return 0
    if form is not None:
        terminal.put(form.render(document))
    else:
        for line in [*lines(document), *(provenance(document) if arguments.provenance else ())]:
            terminal.say(*line)
    return 0


# ---- as text ----


def lines(document: Document) -> Iterator[Line]:
    """What matters most of a report."""
    from ..report import digest
    from .totals import ROWS, most, rest, row, table

    styles = {digest.Level.GOOD: "good", digest.Level.INCOMPLETE: "warn"}
    verdict = digest.verdict(document)
    yield row("verdict", (verdict.text, styles.get(verdict.level, "bad")))
    yield row("recorded", ", ".join(f"{count} {name}" for name, count in digest.totals(document)))
    title = "started by"
    for run in document.runs[:_RUNS]:
        took = digest.duration(max(0, run.end_ns - run.start_ns))
        yield row(title, f"{digest.cut(digest.started_by(run), 80)}, {run.started}, {took}, {digest.ended(run)}")
        title = ""
    yield from rest(len(document.runs) - _RUNS)
    for reason in digest.missing(document):
        yield row("missing", (reason, "warn"))
    running = [text for run in document.runs for text in digest.running(run)]
    for text in running[:ROWS]:
        yield row("still running", text)
    yield from rest(len(running) - ROWS)
    found = digest.found(document)
    for item in found[:ROWS]:
        title = "excused" if item.excused else "undecided" if item.breach.undecided else "broken"
        text = f"{digest.shown(item.breach.headline)}, in {digest.cut(item.where, 80)}"
        yield row(title, (text, "dim" if item.excused else "bad"))
    yield from rest(len(found) - ROWS)
    yield from table("most executed", [(count, program, "") for program, count in document.programs.items()])
    ran = [unit for unit in document.units if unit.all_records]
    tests = [unit for unit in ran if unit.kind == "test"]
    others = [unit for unit in ran if unit.kind not in ("test", "command")]
    yield from table("most by test", map(_counted, tests))
    yield from table("besides tests", map(_counted, others))
    sites = ((len(records), where, most(Counter(_programs(records)))) for where, records in digest.sites(document))
    yield from table("spawned from", sites)
    bad = Counter(
        (unit.name, program, digest.end_of(record))
        for unit in ran
        for record, program in zip(unit.all_records, _programs(unit.all_records), strict=True)
        if record.signal is not None or record.exit_code
    )
    yield from table(
        "not exit 0", ((count, where, f"{program}, {how}") for (where, program, how), count in bad.items())
    )


def provenance(document: Document) -> Iterator[Line]:
    """Where what was executed comes from, what no package owns first."""
    from .._util.text import printable
    from ..report.origins import table
    from .totals import row

    title = "provenance"
    for path, count, origin in table(document):
        style = "warn" if origin is None or not origin.owned or origin.remarks else "dim"
        said = "not in the report" if origin is None else printable(str(origin))
        yield row(title, f"{count:>5,}  ", (printable(path), "strong"), ": ", (said, style))
        title = ""
    unlisted = sum(run.origins is None for run in document.runs)
    if unlisted:
        yield row(title, (f"of {unlisted} of {len(document.runs)} runs it was not looked up", "warn"))


def _programs(records: Iterable[ExecRecord]) -> list[str]:
    from ..report.digest import shown

    return [shown(record.program or "?") for record in records]


def _counted(unit: Unit) -> tuple[int, str, str]:
    from .totals import most

    return len(unit.all_records), unit.name, most(unit.programs)

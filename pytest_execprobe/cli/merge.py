"""Makes one stored report of several, such as those of the jobs that a test suite is divided among.

A run that is in more than one of them is taken once. Of a folder, every *.json below it is read.
"""

from __future__ import annotations

import argparse

from .terminal import CommandError, Terminal
from .values import REDACT, add_options

SUMMARY = "make one stored report of several"

USAGE = "execprobe merge STORED... -o PATH.json"
EPILOG = """\
examples:
  execprobe merge amd64.json arm64.json -o all.json
  execprobe merge shards/ -o all.json && execprobe gate all.json --budget execs.toml

exit status:
  0    done
  2    an input can't be read, or is not a report, or the output can't be written, which then stays as it was
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    inputs = parser.add_argument_group("input")
    inputs.add_argument("stored", nargs="+", metavar="STORED", help="a stored report, or a folder of them")
    output = parser.add_argument_group("output")
    output.add_argument(
        "-o", "--output", required=True, metavar="PATH", help="the report to write, whole or not at all"
    )
    add_options(output, [REDACT])


def run(arguments: argparse.Namespace, terminal: Terminal) -> int:
    from ..report import forms
    from .inputs import merge, read_all
    from .totals import number

    path = arguments.output
    if not path.endswith(".json") or forms.form_of(path) is not forms.FORMS[".json"]:
        raise CommandError(
            f"{path}: expected a name that ends with .json; other forms are made of it by 'execprobe report'"
        )
    with terminal.working("reading reports") as say:
        read = read_all(arguments.stored, say)
    document = merge(read)
    try:
        with terminal.working("writing the report"):
            forms.write(document, path)
    except forms.ReportNotWritten as error:
        raise CommandError(str(error)) from None
    tests = sum(unit.kind == "test" for unit in document.units)
    twice = sum(len(one.runs) for one in read) - len(document.runs)
    terminal.say(
        "merged ",
        (f"{number(len(read), 'report')}: ", "strong"),
        f"{number(len(document.runs), 'run')}, {number(tests, 'test')}, {number(document.execs, 'exec')}",
        *([f"; {number(twice, 'run')} taken once, though in several"] if twice else []),
        *([("; not everything was recorded", "warn")] if not document.complete else []),
    )
    return 0

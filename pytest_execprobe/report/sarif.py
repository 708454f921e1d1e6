"""A report as SARIF 2.1.0, by which code scanning shows each broken or undecided rule as an alert at its test.

All runs of a report are one run of SARIF, with an invocation for each: GitHub takes one run of a tool from an upload,
at most 5,000 of its results, and 10 MB.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from .. import __version__
from .._util import originals
from ..baseline.model import BEYOND
from . import digest
from .model import Document, Run

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
ROOT = "%SRCROOT%"  # what it stands for, the reader knows: where the sources are

_RESULTS = 5_000
_BYTES = 9_000_000  # of all results, which are compressed when they are uploaded; the head of the file comes on top
_MESSAGE = 4_000
_COMMAND = 2_000

#: Kinds of rules, in the order of the file: what they say, and what helps.
RULES = {
    "exec-allow": (
        "A program ran that is not allowed",
        "exec_allow names the programs that may run, exec_none says that none may, and something else ran.",
        "Find what started it in the tree of the report. If it is right, add it to the rule; else mock it, or call"
        " the library in another way.",
    ),
    "exec-deny": (
        "A program ran that must not",
        "exec_deny names programs that must not run, under whatever name they are executed.",
        "Find what started it in the tree of the report, and take the call out. If it is right for a test, mark"
        " that exec_deny(inherit=False), which drops the wider rules.",
    ),
    "exec-budget": (
        "More programs ran than the budget allows",
        "exec_budget is how many programs may be executed, of all or of one.",
        "Look for a call in a loop, or one whose result could be cached. If the number is right, raise the budget.",
    ),
    "exec-success": (
        "A program failed that must succeed",
        "exec_success requires that programs end with exit status 0, all or those that match.",
        "Find how it ended in the tree of the report. If it may fail, name in the rule those that must not.",
    ),
    "exec-no-shell": (
        "A shell was asked for",
        "exec_no_shell requires that a test's own process asks for no shell (shell=True, os.system).",
        "The message has the list of arguments that does without, or says what in the command needs a shell.",
    ),
    "session-budget": (
        "The run as a whole executed more than it may",
        "execprobe_session_budget is how many programs a whole run may execute.",
        "Compare the tests that ran most with an earlier report. If the number is right, raise the budget.",
    ),
    "baseline": (
        "What ran is not in the baseline",
        "The committed baseline has, for each test, the programs that it runs and how often at most.",
        "Review what is new. If it is right, run with --execprobe-update, and commit the baseline.",
    ),
    "other": (
        "A rule about what runs is broken, or can't be decided",
        "A rule of the run, or of what its tests left behind.",
        "The message says what was found, and the report has all that ran.",
    ),
}
_INCOMPLETE = "incomplete"
_NOTIFICATIONS = {
    _INCOMPLETE: (
        "Not everything was recorded",
        "What is missing from the report may have broken a rule: that there is no alert proves nothing then.",
        "The message says what is missing, why, and what to change.",
    ),
}

# A line that names a rule, below the headline of what it found.
_RULE = re.compile(
    r"  rule  (?:(?:--execprobe-|execprobe_|exec_)(budget|allow|none|deny|success|no_shell)\b"
    r"|(?:tests|fixtures|around)\.)"
)
_KINDS: dict[str | None, str] = {
    **{name: f"exec-{name}" for name in ("budget", "allow", "deny", "success")},
    **{"none": "exec-allow", "no_shell": "exec-no-shell", None: "baseline"},
}
# Headlines of what has no such line.
_HEADLINES = (
    (re.compile(r"session budget "), "session-budget"),
    (re.compile(rf"{BEYOND}|.* the baseline\b|packages\.\"|.+\.toml(:| names | has one name )"), "baseline"),
    (re.compile(r"exec budget |cannot tell whether at most "), "exec-budget"),
    (re.compile(r"unexpected program: |nothing may run|cannot tell whether (only|nothing) "), "exec-allow"),
    (re.compile(r"no shell must |cannot tell whether a shell "), "exec-no-shell"),
    (re.compile(r".* must succeed, but |cannot tell whether .+ succeeded\b"), "exec-success"),
    (re.compile(r".* must not run|cannot tell whether .+ ran\b"), "exec-deny"),
)


def render(document: Document) -> str:
    """SARIF as JSON: a result for each rule that is broken or can't be decided, and a notification for all that was not
    recorded. What decides nothing, in an expected failure or an earlier try, is left out."""
    every = [found for item in digest.found(document) if item.excused is None for found in _each(item)]
    results, more = _fitting(every, document)
    invocations = [_invocation(_alone(document, index)) for index in range(len(document.runs))]
    invocations = invocations or [_invocation(document)]
    if more:
        text = f"{more:,} more broken or undecided rules: the report's other forms have them"
        _notify(invocations[0], [text])
    variants = {run.variant for run in document.runs}
    run: dict[str, Any] = {
        "tool": {"driver": _driver()},
        "originalUriBaseIds": {ROOT: {"description": {"text": "pytest's root directory"}}},
        "columnKind": "unicodeCodePoints",
        "invocations": invocations,
        "results": results,
    }
    if len(variants) == 1 and (variant := variants.pop()):
        # Up to the last slash it is the category: without one, a job of a matrix replaces the alerts of the others.
        run["automationDetails"] = {"id": f"execprobe/{digest.shown(variant)}/"}
    return originals.json_dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}) + "\n"


def _driver() -> dict[str, Any]:
    return {
        "name": "pytest-execprobe",
        "version": __version__,
        "rules": [{**rule, "defaultConfiguration": {"level": "error"}} for rule in _described(RULES)],
        "notifications": [*_described(_NOTIFICATIONS)],
    }


def _described(texts: Mapping[str, tuple[str, str, str]]) -> Iterator[dict[str, Any]]:
    """With all texts, for GitHub takes no rule or notification that lacks one."""
    for id, (short, full, help) in texts.items():
        yield {
            "id": id,
            "shortDescription": {"text": short},
            "fullDescription": {"text": full},
            "help": {"text": help},
        }


# ---- runs ----


def _alone(document: Document, index: int) -> Document:
    """One run of it."""
    return Document((document.runs[index],), tuple(replace(u, run=0) for u in document.units if u.run == index))


def _invocation(document: Document) -> dict[str, Any]:
    """Not successful if something is missing: no alert is no proof then."""
    invocation: dict[str, Any] = {"executionSuccessful": True}
    for run in document.runs:
        invocation["commandLine"] = digest.cut(digest.started_by(run), _COMMAND)
        invocation.update(_facts(run))
    _notify(invocation, digest.missing(document))
    return invocation


def _facts(run: Run) -> Iterator[tuple[str, Any]]:
    if run.exit_status is not None:
        yield "exitCode", run.exit_status
    if re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", run.started, re.ASCII):
        yield "startTimeUtc", run.started


def _notify(invocation: dict[str, Any], texts: Iterable[str]) -> None:
    said = [
        {"descriptor": {"id": _INCOMPLETE}, "level": "error", "message": _message(digest.cut(text, _MESSAGE))}
        for text in texts
    ]
    if said:
        invocation["executionSuccessful"] = False
        invocation.setdefault("toolExecutionNotifications", []).extend(said)


# ---- results ----


@dataclass(frozen=True)
class _Found:
    """What one rule found."""

    item: digest.PlacedBreach
    rule: str
    headline: str
    lines: Sequence[str]


def _each(item: digest.PlacedBreach) -> Iterator[_Found]:
    """What each rule of a breach found: its text can speak of several."""
    lines = digest.shown_lines(item.breach.text)
    found: dict[tuple[str, str], list[str]] = {}
    headline = digest.shown(item.breach.headline)
    for line in lines:
        match = _RULE.match(line)
        if match is not None:
            found.setdefault((_KINDS[match[1]], headline), []).append(line)
        elif not line.startswith(" "):
            headline = line
    rest = [line for line in lines if line.strip() and not _RULE.match(line)]
    if not found:
        headline = digest.shown(item.breach.headline)
        found = {(_kind(item, headline), headline): []}
    headlines = {headline for _, headline in found}
    for (rule, headline), named in found.items():
        yield _Found(item, rule, headline, [*named, *(line for line in rest if line not in headlines)])


def _kind(item: digest.PlacedBreach, headline: str) -> str:
    found = next((rule for pattern, rule in _HEADLINES if pattern.match(headline)), "other")
    of_session = found == "exec-budget" and item.unit is None and item.run.kind == "pytest"
    return "session-budget" if of_session else found


def _fitting(every: Sequence[_Found], document: Document) -> tuple[list[dict[str, Any]], int]:
    """The results of what was found, the most important first, and how many are left out because a reader would."""
    ids = list(RULES)
    runs = {run.id: index for index, run in enumerate(document.runs)}
    counts: Counter[str] = Counter()
    results: list[dict[str, Any]] = []
    room = _BYTES
    for found in every[:_RESULTS]:
        identity = _identity(found)
        counts[identity] += 1
        result = {
            "ruleId": found.rule,
            "ruleIndex": ids.index(found.rule),
            "level": "error",  # also if undecided: a gate lets neither pass
            "message": _message(digest.cut(_text(found), _MESSAGE)),
            "locations": [_location(found.item)],
            # The only one that GitHub goes by. It would else take the line of the test, which its parameters share.
            "partialFingerprints": {"primaryLocationLineHash": f"{identity}:{counts[identity]}"},
            "provenance": {"invocationIndex": runs[found.item.run.id]},
            "properties": {"undecided": found.item.breach.undecided},
        }
        room -= len(originals.json_dumps(result))
        if room < 0:
            break
        results.append(result)
    return results, len(every) - len(results)


def _identity(found: _Found) -> str:
    """The same in each run that finds the same rule broken at the same place, however often what ran."""
    unit = found.item.unit
    place = ("run", re.sub(r"\d+", "", found.headline)) if unit is None else (unit.kind, unit.name)
    named = "\0".join([found.rule, *place]).encode("utf-8", "surrogatepass")
    return originals.sha256(named).hexdigest()[:16]


def _text(found: _Found) -> str:
    """GitHub shows the first sentence where there is little space."""
    return "\n".join(dict.fromkeys([found.headline, f"in {found.item.where}", *found.lines]))


def _location(item: digest.PlacedBreach) -> dict[str, Any]:
    """GitHub refuses a whole file in which one result has no place with a line, so what has none names what it is."""
    unit = item.unit
    file, line = item.place
    if unit is not None and not file and unit.kind in ("test", "fixture") and "::" in unit.name:
        file = unit.name.partition("::")[0]
    artifact = {"uri": _uri(file or item.where), "uriBaseId": ROOT}
    if file and file.startswith("/"):
        artifact = {"uri": f"file://{_uri(file)}"}
    location: dict[str, Any] = {
        "physicalLocation": {"artifactLocation": artifact, "region": {"startLine": max(1, line or 1)}}
    }
    if unit is not None:
        kind = {"kind": "function"} if unit.kind == "test" else {}
        location["logicalLocations"] = [{"fullyQualifiedName": item.where, **kind}]
    return location


def _uri(path: str) -> str:
    try:
        return quote(path.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:  # no path of a file
        return quote(path.encode("utf-8", "surrogatepass"))


def _message(text: str) -> dict[str, str]:
    """Text in which nothing is a placeholder, or a link."""
    return {"text": text.replace("{", "{{").replace("}", "}}").replace("](", "] (")}

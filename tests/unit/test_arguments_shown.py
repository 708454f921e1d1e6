"""Arguments reach a text by one way, which hides their secrets: no module looks at them that need not."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest_execprobe

PACKAGE = Path(pytest_execprobe.__file__).parent

#: What gives arguments as they are, or makes a command line of words.
TRUE = {"argv", "arguments", "command_line", "join_words", "described"}
#: Who may, and why. Whoever prints arguments asks for ``shown`` first (``Command.shown``, ``described``,
#: ``Redaction.join``), and is looked through for planted secrets in tests/plugin/test_secrets_in_runs.py.
WHO = {
    # reads them
    "helper/orphans.py": {"command_line"},
    "helper/ptrace/attempts.py": {"argv"},
    "helper/ptrace/image.py": {"argv"},
    "helper/ptrace/records.py": {"argv"},
    "helper/ptrace/stops.py": {"argv"},
    "source/decode.py": {"argv"},
    # knows what is shown of them
    "_util/redaction.py": {"arguments"},
    "source/command.py": {"argv", "arguments"},
    "timeline/record.py": {"argv", "arguments", "command_line"},
    "timeline/program.py": {"argv"},
    # decides by them
    "source/launch.py": {"argv"},
    "log/matching.py": {"arguments", "argv"},
    "log/text.py": {"argv"},
    "log/askers.py": {"arguments", "argv"},
    "log/shells.py": {"arguments", "argv"},
    # has asked for what is shown
    "log/hints.py": {"argv"},
    "report/rows.py": {"argv"},
    # takes a run's own, to hide its secrets
    "report/assembly.py": {"arguments"},
    "report/redacted.py": {"arguments"},
    "cli/recorded.py": {"arguments"},
    # of this process
    "cli/__init__.py": {"argv"},
    "helper/__main__.py": {"argv"},
    "helper/check.py": {"argv"},
    "session/settings.py": {"argv", "command_line"},
    "session/invocation.py": {"argv", "arguments"},
    # the rules that stand on the command line, and the arguments of a trace's slices
    "session/run.py": {"command_line"},
    "session/strays.py": {"command_line"},
    # tells by a digest of it whether another process has counted an exec; and the rules, likewise
    "session/handover.py": {"argv", "command_line"},
    "report/trace.py": {"arguments"},
}


def test_arguments_are_looked_at_where_it_is_known_what_is_shown_of_them() -> None:
    found: dict[str, set[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        nodes = [*ast.walk(ast.parse(path.read_text()))]
        names = {node.attr for node in nodes if isinstance(node, ast.Attribute)} & TRUE
        if any(isinstance(node, ast.Attribute) and ast.unparse(node) == "shlex.join" for node in nodes):
            names.add("shlex.join")
        if names:
            found[str(path.relative_to(PACKAGE))] = names
    assert {name: names - WHO.get(name, set()) for name, names in found.items() if names - WHO.get(name, set())} == {}
    assert set(WHO) <= set(found), "whoever does not look at them any more needs no leave"

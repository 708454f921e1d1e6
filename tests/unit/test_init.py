"""What ``execprobe init`` makes of a recorded run, and how it gets into a file."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import altered, record

from pytest_execprobe.cli.init import _PLUGIN, _VARIABLE
from pytest_execprobe.cli.insertion import NotInserted, inserted
from pytest_execprobe.cli.proposal import HELPERS, NoProposal, propose
from pytest_execprobe.log.askers import asked_by
from pytest_execprobe.log.pattern import Side
from pytest_execprobe.log.patterns import compile_pattern
from pytest_execprobe.report.model import Document, Run, Unit
from pytest_execprobe.session import place
from pytest_execprobe.timeline.record import ExecRecord


def ran(*command: str | None, phase: str = "call", **fields: object) -> ExecRecord:
    return altered(record(*command), phase=phase, **fields)


def unit(name: str, *records: ExecRecord, **more: object) -> Unit:
    return Unit("test", name, records=records, **{"outcome": "passed", **more})  # type: ignore[arg-type]


def document(*units: Unit, exit_status: int = 0, **more: object) -> Document:
    return Document((Run("1", "pytest", exit_status=exit_status, **more),), units)  # type: ignore[arg-type]


# ---- what is proposed ----


def test_by_frequency_with_the_reason_for_each_line() -> None:
    found = propose(
        document(
            unit("t.py::a", ran("git", "tag"), ran("git", "push"), ran("gpg")),
            unit("t.py::b", ran("git", "tag"), ran("sh", "-c", ":"), ran("sh", "-c", ":")),
        )
    )
    assert found.allow == (("git", "2 tests, 3 execs"), ("sh", "1 test, 2 execs"), ("gpg", "1 test, 1 exec"))
    assert found.budget == (3, "t.py::a runs the most")
    assert found.lines("tox.ini") == [
        "# Proposed by execprobe init, of 2 tests with 6 execs in their calls.",
        "execprobe_allow =",
        "    # 2 tests, 3 execs",
        "    git",
        "    # 1 test, 2 execs",
        "    sh",
        "    # 1 test, 1 exec",
        "    gpg",
        "# t.py::a runs the most",
        "execprobe_budget = 3",
    ]


def test_known_helpers_are_ignored_and_count_for_no_budget() -> None:
    lsb = ran("lsb_release", "-a")
    found = propose(document(unit("a", ran("uname", "-p"), lsb, ran("cut", parent=lsb), ran("git"))))
    assert [pattern for pattern, _ in found.allow] == ["git"]
    assert found.ignore == (
        ("argv:uname -p", "1 test, 1 exec: `uname -p` is what platform.processor() asks, and so does"
         " platform.platform()"),
        ("subtree:argv:lsb_release -a", f"1 test, 2 execs: {asked_by([lsb])[0]}"),
    )  # fmt: skip
    assert found.budget == (1, "a runs the most")


@pytest.mark.parametrize(
    ("pattern", "command"),
    [
        *zip(
            HELPERS,
            [
                "uname -p",
                "lsb_release -a",
                "uname -rs",
                "python3 -c 'from multiprocessing.resource_tracker import main;main(5)'",
                "lscpu --parse=core",
                "file -b /usr/bin/python3.14t",
                "gcc -Wl,-t -o /tmp/tmpz -lfoo",
                "ld -t -o /dev/null -lfoo",
                "ldconfig -p",
                "objdump -p -j .dynamic /opt/libx.so",
                "python /opt/lib/cpuinfo/cpuinfo.py --json",
                "sysctl machdep.cpu hw.cpufrequency",
                "dmesg -a",
                "fc-list --help",
                "fc-list '--format=%{file}\\n'",
                "git maintenance run --auto",
                "git gc --auto",
            ],
            strict=True,
        )
    ],
)
def test_each_helper_is_known_by_who_asks(pattern: str, command: str) -> None:
    one = record(*(word.replace("\\n", r"\n") for word in shlex.split(command)))
    assert compile_pattern(pattern, of_file=True).match(one, Side.ALLOW) is True
    assert len(asked_by([one])) == 1


def test_what_a_rule_for_the_call_sees() -> None:
    one = unit(
        "a",
        ran("make", phase="setup"),
        ran("git"),
        ran("late", phase="teardown", begun_in="call"),
        ran("rm", phase="teardown", begun_in="teardown"),
        strays=(ran("sleep"),),
    )
    found = propose(document(replace(one, records=(*one.records, dropped := ran("dropped")), uncounted=(dropped,))))
    assert sorted(pattern for pattern, _ in found.allow) == ["git", "late", "sleep"]
    assert found.budget == (3, "a runs the most")


def test_nothing_ran() -> None:
    found = propose(document(unit("a")))
    assert (found.allow, found.budget) == ((), None)
    assert found.lines("pytest.ini")[1:] == ["execprobe_allow ="]


def test_pythons_of_a_virtual_environment_are_one() -> None:
    found = propose(document(unit("a", ran("python"), ran("python3.11"), ran("python3-config"))))
    assert found.allow == (
        ("python*", "1 test, 2 execs: python, python3.11"),
        ("python3-config", "1 test, 1 exec"),
    )


def test_tests_that_failed_are_named() -> None:
    found = propose(document(unit("a", ran("git"), outcome="failed"), unit("b", outcome="skipped"), exit_status=1))
    assert (found.failed, found.budget) == (("a",), (1, "a runs the most"))


def test_tests_that_were_skipped_are_counted() -> None:
    found = propose(document(unit("a", ran("git")), *(unit(name, outcome="skipped") for name in "bc")))
    assert (found.skipped, found.failed) == (2, ())


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (document(unit("a", ran("git"), lost=2)), "a: 2 lost"),
        (document(unit("a", ran("git"), unknown=("the helper died",))), "a: the helper died"),
        (document(unit("a", not_checked="no BCC")), "a: not checked: no BCC"),
        (document(unit("a"), unknown=("--lf: only some",)), "--lf: only some"),
        (document(unit("a", ran("git")), exit_status=2), "a run was broken off: its exit status is 2"),
        (document(exit_status=5), "a run had no test"),
        (document(unit("a", ran(None))), "a: the name of a program could not be read"),
    ],
)
def test_nothing_is_proposed_of_what_is_not_known(document: Document, why: str) -> None:
    with pytest.raises(NoProposal, match=re.escape(why)):
        propose(document)


def test_what_stands_there_already_stays() -> None:
    before = {"allow": ["gpg", "git"], "ignore": ["covr"], "budget": ["9"]}
    found = propose(document(unit("a", ran("git"), ran("ls"))), before)
    there = "stands there already"
    assert found.allow == (("gpg", there), ("git", there), ("ls", "1 test, 1 exec"))
    assert found.ignore == (("covr", there),)
    assert found.budget == (9, there)


def test_no_argument_gets_into_a_line() -> None:
    """Patterns of what tests ran are names alone, so no secret can be in them."""
    found = propose(document(unit("a", ran("curl", "--token=hunter2", "https://u:hunter2@host"), ran("sh", "-c", "x"))))
    assert "hunter2" not in "\n".join(found.lines("a.toml"))


def test_the_plugin_that_says_where_pytest_is_configured() -> None:
    assert (place.__name__, place.VARIABLE) == (_PLUGIN, _VARIABLE)


# ---- into a file ----

LINES = ["execprobe_allow =", "    # 1 test", "    git"]
TOML = ["execprobe_allow = [", '    "git",  # 1 test', "]"]


@pytest.mark.parametrize(
    ("name", "section", "text"),
    [
        ("pytest.ini", "[pytest]", "[pytest]\n^"),
        ("tox.ini", "[pytest]", "[tox]\na=b\n[pytest]\nx =\n  1\n  2\n^\n# of y\n[y]\nz=1"),
        ("setup.cfg", "[tool:pytest]", "[tool:pytest] ; ours\r\na = 1\r\n^"),
        ("pyproject.toml", "[tool.pytest.ini_options]", "a=1\n[tool.pytest.ini_options]\nb = [\n'c']\n^\n[d]\n"),
        ("pyproject.toml", "[tool.pytest]", "[tool.pytest]  # ours\n^"),
        ("pytest.toml", "[pytest]", "[pytest]\na = 1\n^"),
    ],
)
def test_lines_are_added_and_nothing_else_is_changed(name: str, section: str, text: str) -> None:
    """At the caret."""
    lines = TOML if name.endswith(".toml") else LINES
    end = "\r\n" if "\r\n" in text else "\n"
    new = text.replace("^", "".join(f"{line}{end}" for line in lines))
    assert inserted(name, text.replace("^", ""), section, lines) == new


@pytest.mark.parametrize(
    ("name", "section", "text", "above"),
    [
        ("pyproject.toml", "[tool.pytest.ini_options]", "", ""),
        ("pyproject.toml", "[tool.pytest.ini_options]", "[project]\r\nname = 'a'\r\n", "\r\n"),
        ("pyproject.toml", "[tool.pytest.ini_options]", "[tool.a]\nb = 1  # [tool.pytest.ini_options]", "\n\n"),
        ("pyproject.toml", "[tool.pytest.ini_options]", "[tool]\na.b = 1\n", "\n"),
        ("pytest.ini", "[pytest]", "# none yet\n[other]\na = 1\n", "\n"),
        ("setup.cfg", "[tool:pytest]", "[metadata]\nname = a\n", "\n"),
    ],
)
def test_a_section_that_is_not_there_is_made(name: str, section: str, text: str, above: str) -> None:
    lines = TOML if name.endswith(".toml") else LINES
    end = "\r\n" if "\r\n" in text else "\n"
    new = "".join(f"{line}{end}" for line in (section, *lines))
    assert inserted(name, text, section, lines) == f"{text}{above}{new}"


def test_a_last_line_without_an_end() -> None:
    assert inserted("pytest.ini", "[pytest]", "[pytest]", LINES[:1]) == "[pytest]\nexecprobe_allow =\n"


@pytest.mark.parametrize(
    ("name", "section", "text", "why"),
    [
        ("pytest.ini", "[pytest]", "[pytest]\n[pytest]\n", "has no [pytest] of its own line"),
        ("pyproject.toml", "[tool.pytest.ini_options]", "[tool.pytest]\nini_options = {}\n", "of its own line"),
        ("pyproject.toml", "[tool.pytest.ini_options]", "tool = {}\n", "can't be read with it"),
        ("pyproject.toml", "[tool.pytest.ini_options]", "tool = 1\n", "can't be read with it"),
        ("pyproject.toml", "[tool.pytest.ini_options]", "tool.\n", "can't be read with it"),
        ("tox.ini", "[pytest]", "[pytest]\nexecprobe_budget = 3\n", "has execprobe_budget already"),
        ("pytest.toml", "[pytest]", "[pytest]\nexecprobe_allow = []\n", "has execprobe_allow already"),
        ("pyproject.toml", "[tool.pytest]", "tool.pytest.addopts = []\n", "has no [tool.pytest] of its own line"),
        ("pyproject.toml", "[tool.pytest]", "[tool.pytest]\na = [\n[1],\n]\n", "can't be read with it"),
        ("pyproject.toml", "[tool.pytest]", "a = '''\n[tool.pytest]\n'''\n", "would change with it"),
    ],
)
def test_what_can_not_be_added_is_left(name: str, section: str, text: str, why: str) -> None:
    with pytest.raises(NotInserted, match=re.escape(why)):
        inserted(name, text, section, TOML if name.endswith(".toml") else LINES)


def test_a_file_that_is_not_there_is_made(tmp_path: Path) -> None:
    from pytest_execprobe.cli.init import _write
    from pytest_execprobe.cli.terminal import Terminal

    _write(tmp_path / "pytest.ini", "[pytest]", LINES, Terminal("never"))
    assert (tmp_path / "pytest.ini").read_text() == "[pytest]\nexecprobe_allow =\n    # 1 test\n    git\n"

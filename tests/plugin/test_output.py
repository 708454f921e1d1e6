"""What a user sees of a failing test, but for pids, times and the width of columns (see tests/unit/test_render.py)."""

from __future__ import annotations

import re

import pytest

SUITE = """
from played import runs

def test_release(execprobe):
    git = runs("git", "fetch")
    runs("curl", "-sS", "https://example.org", by=git)
    for n in range(MORE):
        runs("sh", "-c", f"echo {n}")
    execprobe.assert_not_ran("curl")
"""

DEFAULT = """\
>       execprobe.assert_not_ran("curl")
E       AssertionError: curl must not run, but it ran once
E         # +ms pid parent argv
E         1 T P pytest /usr/bin/git fetch
E       > 2 T P #1 /usr/bin/curl -sS https://example.org
E         2 execs in the call phase, 0 lost

test_it.py:8: AssertionError
"""

TEN_ROWS = """\
E       AssertionError: curl must not run, but it ran once
E         # +ms pid parent argv
E         1 T P pytest /usr/bin/git fetch
E       > 2 T P #1 /usr/bin/curl -sS https://example.org
E         3 T P pytest /usr/bin/sh -c 'echo 0'
E         4 T P pytest /usr/bin/sh -c 'echo 1'
E         5 T P pytest /usr/bin/sh -c 'echo 2'
E         6 T P pytest /usr/bin/sh -c 'echo 3'
E         7 T P pytest /usr/bin/sh -c 'echo 4'
E         8 T P pytest /usr/bin/sh -c 'echo 5'
E         9 T P pytest /usr/bin/sh -c 'echo 6'
E         10 T P pytest /usr/bin/sh -c 'echo 7'
E         … 2 more (all with -vv)
E         12 execs in the call phase, 0 lost
"""

QUIET = """\
>       execprobe.assert_not_ran("curl")
E       AssertionError: curl must not run, but it ran once

test_it.py:8: AssertionError
"""

pytestmark = pytest.mark.usefixtures("played", "wide")


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal that pytest's summary lines fit in."""
    monkeypatch.setenv("COLUMNS", "120")


def output(pytester: pytest.Pytester, *options: str, more: int = 0) -> str:
    """A run's output; of a table's cells each is followed by one space, and times and pids are T and P."""
    pytester.makepyfile(test_it=SUITE.replace("MORE", str(more)))
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", *options)
    result.assert_outcomes(failed=1)
    text = re.sub(r"^(E +)# +\+ms +pid +parent +argv$", r"\1# +ms pid parent argv", result.stdout.str(), flags=re.M)
    row = re.compile(r"^(E +(?:> )?)(\d+) +\d+\.\d +\d+ +(\S+) +(/.*)$", re.M)
    return row.sub(r"\1\2 T P \3 \4", text) + "\n"


def test_by_default(pytester: pytest.Pytester) -> None:
    text = output(pytester)
    assert DEFAULT in text
    assert "FAILED test_it.py::test_release - AssertionError: curl must not run, but it ran once\n" in text


def test_ten_rows_by_default(pytester: pytest.Pytester) -> None:
    assert TEN_ROWS in output(pytester, more=10)


def test_the_tree_with_vv(pytester: pytest.Pytester) -> None:
    text = output(pytester, "-vv", more=10)
    rows = [line for line in text.splitlines() if line.startswith("E  ") and "/usr/bin/sh -c" in line]
    assert len(rows) == 10
    assert re.search(r"^E       > 2 .* │  └─ /usr/bin/curl -sS https://example.org", text, flags=re.M)
    assert "└─ /usr/bin/sh -c 'echo 9'\nE         12 execs in the call phase, 0 lost\n" in text


OWN_FAILURES = """
import pytest
from played import runs

def test_own(execprobe):
    runs("sh", "-c", "x", by=runs("make"))
    assert not "own"

@pytest.fixture
def database(execprobe):
    runs("initdb")
    assert not "own"

def test_in_set_up(database): pass

def test_by_the_log(execprobe):
    runs("git")
    execprobe.assert_nothing_ran()

@pytest.mark.exec_none
def test_with_a_rule():
    runs("gpg")
    assert not "own"

def test_nothing_ran(execprobe):
    assert not "own"

def test_that_asks_for_none():
    runs("curl")
    assert not "own"

@pytest.mark.xfail
def test_expected(execprobe):
    runs("wget")
    assert not "own"
"""


def test_of_what_fails_by_itself_the_tree_with_vv_alone(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(OWN_FAILURES)
    text = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-vv").stdout.str()
    drawn = re.findall(r"- execs: (\S+ phase) \((\d), 0 lost\) -", text)
    assert drawn == [("setup phase", "1"), ("call phase", "2"), ("call phase", "1")]
    assert re.search(r"─ /usr/bin/make$\n.*└─ /usr/bin/sh -c x", text, flags=re.M)
    assert text.count("/usr/bin/initdb") == text.count("/usr/bin/gpg") == 1
    assert "/usr/bin/curl" not in text
    assert "/usr/bin/wget" not in text
    text = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-v").stdout.str()
    assert "/usr/bin/make" not in text
    assert "/usr/bin/initdb" not in text


def test_the_headline_alone_with_q(pytester: pytest.Pytester) -> None:
    assert QUIET in output(pytester, "-q")


def test_a_watch_points_at_the_users_line(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_it="""
        from played import runs

        def test_release(execprobe):
            with execprobe.watch(at_most=1, deny=["curl"]):
                runs("git")
                runs("git")
        """
    )
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    result.stdout.fnmatch_lines(
        [
            "    def test_release(execprobe):",
            '>       with execprobe.watch(at_most=1, deny=["curl"]):',
            "E       AssertionError: at most 1 exec allowed, but 2 ran",
            "E         2 execs in the watch block, 0 lost",
            "test_it.py:4: AssertionError",
        ]
    )


def test_what_can_not_be_decided_is_an_error_that_says_why(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_it="""
        from played import runs, breaks

        def test_release(execprobe):
            runs("git")
            execprobe.assert_ran("git")
            breaks("it died")
            execprobe.assert_not_ran("curl")
        """
    )
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            "*ERROR at call of test_release*",
            "E  *IncompleteLogError: cannot tell whether curl ran: an unknown number of execs is missing from the log",
            "E         why   the probe helper was lost: it died. The next test gets a new one",
            "E         1 exec in the call phase, an unknown number lost",
            "ERROR test_it.py::test_release - *IncompleteLogError*",
        ]
    )


def test_a_broken_rule_has_all_of_it_in_its_failure(pytester: pytest.Pytester, played: object) -> None:  # noqa: ARG001
    """What IDEs and JUnit's file show of a test is the text of its failure, and of an expected one its own, too."""
    pytester.makepyfile(
        """
        import pytest
        from played import runs

        @pytest.mark.exec_deny("curl")
        def test_breaks():
            print("printed")
            runs("curl")

        @pytest.mark.xfail
        @pytest.mark.exec_deny("curl")
        def test_expected():
            runs("curl")
        """
    )
    run = pytester.inline_run("-p", "no:cacheprovider")
    calls = {report.head_line: report for report in run.getreports("pytest_runtest_logreport") if report.when == "call"}
    for name, report in calls.items():
        first, rule, title, head, row = report.longreprtext.rstrip("\n").split("\n")
        assert first == "curl must not run, but it ran once (call phase)"
        assert rule.startswith(f"  rule  exec_deny('curl') on {name}, ")
        assert title.strip("-") == " execs: call phase (1, 0 lost) "
        assert head.split() == ["#", "+ms", "pid", "parent", "argv"]
        assert row.endswith("/usr/bin/curl")
    assert [title for title, _ in calls["test_breaks"].sections] == ["Captured stdout call"]

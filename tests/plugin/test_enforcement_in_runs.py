"""When which rules are enforced, in whole runs; and what comes of what can't be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Played
    from suites import Run

#: Says what is denied when a phase has ended, and between two tests.
TELLS = """
from played import denied

def pytest_execprobe_log(item, phase, log):
    if item.name == "test_it":
        print(f"\\nafter {phase}: {denied()}")

def pytest_runtest_logfinish():
    print(f"\\nbetween: {denied()}")
"""

PHASES = """
@pytest.fixture
def around():
    print("\\nin setup:", denied())
    yield
    print("\\nin teardown:", denied())

{marks}
def test_it(around):
    print("\\nin call:", denied())
"""


@pytest.mark.parametrize(
    ("marks", "told"),
    [
        (["'a', enforce=True"], "[a] [a] [a] [a] [a] [] []"),
        (["'a', enforce=True, phases=('call',)"], "[] [] [a] [] [] [] []"),
        (["'a', enforce=True, phases=('setup', 'call')"], "[a] [] [a] [] [] [] []"),
        (["'a', enforce=True, phases=('setup', 'teardown')"], "[a] [] [] [] [a] [] []"),
        (["'a', 'b', enforce=True", "'c', enforce=True, phases=('call',)"], "[ab] [ab] [abc] [ab] [ab] [] []"),
        (["'a', enforce=True", "'b'"], "[a] [a] [a] [a] [a] [] []"),
        (["'a'"], "[] [] [] [] [] [] []"),
    ],
)
def test_what_is_denied_when(run: Run, marks: list[str], told: str) -> None:
    """It is let go before a phase ends, if what follows does not deny it."""
    lines = "\n".join(f"@pytest.mark.exec_deny({mark})" for mark in marks)
    ran = run(PHASES.format(marks=lines), "-s", conftest=TELLS, passed=1)
    order = ("in setup", "after setup", "in call", "after call", "in teardown", "after teardown", "between")
    found = dict(line.split(": ") for line in ran.text.splitlines() if line.split(":")[0] in order)
    assert " ".join(found[name].replace("'", "").replace(", ", "") for name in order) == told


def test_all_deny_rules_can_be_enforced(run: Run) -> None:
    suite = """
    @pytest.mark.exec_deny("b")
    def test_it():
        assert denied() == ["a", "b", "c"]
    """
    run(suite, "--execprobe-enforce", "--execprobe-deny=a", ini="execprobe_deny = c", passed=1)
    run(suite, "--execprobe-deny=a", ini="execprobe_enforce = true\nexecprobe_deny = c", passed=1)


def test_what_every_test_must_not_run_is_denied_around_tests_too(run: Run) -> None:
    ran = run(
        """
        assert denied() == ["a"]

        @pytest.mark.exec_deny("b", inherit=False)
        def test_it():
            assert denied() == ["b"]
        """,
        "-s",
        "--execprobe-deny=a",
        "--execprobe-enforce",
        conftest=TELLS + "assert denied() == ['a']",
        passed=1,
    )
    assert [line for line in ran.text.splitlines() if "after" in line or "between" in line] == [
        *("after setup: ['b']", "after call: ['b']", "after teardown: []", "between: ['a']")
    ]


def test_for_the_whole_suite_what_can_not_be_had_ends_the_run(run: Run, played: Played) -> None:
    played.stops_refused = "it is full"
    ran = run("def test_it(): pass", "--execprobe-deny=a", "--execprobe-enforce")
    assert ran.ret == pytest.ExitCode.USAGE_ERROR
    assert "cannot enforce what is denied: it is full" in ran.result.stderr.str()


def test_what_a_wider_fixture_may_run_is_its_own_matter(run: Run) -> None:
    suite = """
    @pytest.fixture(scope="session")
    def session():
        assert denied() == ["a"]
        yield
        assert denied() == ["a"]

    @pytest.fixture(scope="module")
    def module(session):
        assert denied() == ["a", "b"]
        yield
        assert denied() == ["a", "b"]

    pytestmark = pytest.mark.exec_deny("b", enforce=True)

    @pytest.mark.exec_deny("c", enforce=True)
    def test_it(module, request):
        assert denied() == ["a", "b", "c"]
        request.getfixturevalue("late")
        assert denied() == ["a", "b", "c"]

    @pytest.fixture(scope="module")
    def late():
        assert denied() == ["a", "b"]
    """
    run(suite, "--execprobe-deny=a", "--execprobe-enforce", passed=1)


@pytest.mark.parametrize("mark", ["", "@pytest.mark.xfail", "@pytest.mark.xfail(raises=Exception)"])
def test_what_can_not_be_had_is_an_error_whatever_is_expected(run: Run, mark: str) -> None:
    suite = f"""
    def test_before():
        cannot("it is full")

    {mark}
    @pytest.mark.exec_deny("a", enforce=True)
    def test_it():
        assert not "reached"

    {mark}
    @pytest.mark.exec_deny("a", enforce=True, phases=("call",))
    def test_call():
        assert not "reached"

    @pytest.mark.exec_deny("a", enforce=True, phases=("teardown",))
    def test_teardown(tmp_path):
        pass
    """
    ran = run(suite, passed=2, errors=3)
    assert "reached" not in ran.text
    assert ran.has(
        """
        __ ERROR at setup of test_it __
        cannot enforce what is denied in the setup phase: it is full
          rule  exec_deny('a', enforce=True) on test_it, test_it.py:8
        __ ERROR at call of test_call __
        cannot enforce what is denied in the call phase: it is full
          rule  exec_deny('a', enforce=True, phases=('call',)) on test_call, test_it.py:13
        __ ERROR at teardown of test_teardown __
        cannot enforce what is denied in the teardown phase: it is full
          rule  exec_deny('a', enforce=True, phases=('teardown',)) on test_teardown, test_it.py:17
        """
    )


def test_of_a_wider_fixture_that_is_its_own_error(run: Run) -> None:
    suite = """
    pytestmark = pytest.mark.exec_deny("a", enforce=True)

    @pytest.fixture(scope="module")
    def wide(request):
        assert not "reached"

    def test_before():
        pass

    @pytest.mark.exec_deny(inherit=False)
    def test_it(request):
        cannot("it is full")
        request.getfixturevalue("wide")
    """
    ran = run(suite, passed=1, errors=1)
    assert "reached" not in ran.text
    assert "cannot enforce what is denied in the set-up of fixture 'wide' (module): it is full" in ran.text


def test_a_mark_that_is_added_holds_from_the_next_phase_on(run: Run) -> None:
    suite = """
    def add(request, **how):
        request.node.add_marker(pytest.mark.exec_deny("a", enforce=True, **how))

    @pytest.fixture
    def in_time(request):
        add(request, phases=("call",))

    def test_in_time(in_time):
        assert denied() == ["a"]

    @pytest.fixture
    def too_late(request):
        add(request)

    def test_too_late(too_late):
        assert not "reached"
    """
    ran = run(suite, "--execprobe-audit", passed=1, errors=1)
    assert "reached" not in ran.text
    assert "cannot enforce what is denied in the setup phase: it was added when that had begun" in ran.text


@pytest.mark.parametrize("how", ["", "enforce=True"])
def test_a_mark_that_is_added_where_there_is_no_probe_is_an_error(run: Run, how: str) -> None:
    suite = f"""
    def test_it(request):
        request.node.add_marker(pytest.mark.exec_deny("a", {how}))
    """
    ran = run(suite, passed=1, errors=1 if how else 0)
    assert ran.ret == (pytest.ExitCode.TESTS_FAILED if how else pytest.ExitCode.OK)
    assert ("cannot enforce what is denied: there was no probe" in ran.text) == bool(how)
    assert "NOT CHECKED     1 test: they were marked while tests ran" in ran.text


def test_without_a_probe_it_is_an_error_by_default_and_by_option(run: Run) -> None:
    suite = """
    @pytest.mark.exec_deny("a", enforce=True)
    def test_it(): assert not "reached"
    def test_other(): pass
    """
    ran = run(suite, "--execprobe=off", passed=1, errors=1)
    assert "there is no probe: switched off by --execprobe=off" in ran.text
    ran = run(suite, "--execprobe=off", "--execprobe-enforce")
    assert ran.ret == pytest.ExitCode.USAGE_ERROR


@pytest.mark.parametrize("where", ["option", "ini", "mark", "direct"])
def test_what_can_not_be_enforced_is_an_error_where_it_stands(run: Run, where: str) -> None:
    mark = {"mark": "@pytest.mark.exec_deny('a*')", "direct": "@pytest.mark.exec_deny('a', direct=True)"}
    suite = f"""
    {mark.get(where, "")}
    def test_it(): pass
    """
    options = ["--execprobe-deny=a*"] if where == "option" else []
    ran = run(suite, "--execprobe-enforce", *options, ini="execprobe_deny = a*" if where == "ini" else "")
    if where in ("option", "ini"):
        assert ran.ret == pytest.ExitCode.USAGE_ERROR
        assert "deny: 'a*' can't be enforced" in ran.result.stderr.str()
    else:
        assert ran.ret == pytest.ExitCode.INTERRUPTED
        why = "can't be enforced" if where == "mark" else "leave out direct=True"
        assert f"test_it.py:4: exec_deny('a{'*' if where == 'mark' else ''}'" in ran.text
        assert why in ran.text

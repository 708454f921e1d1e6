"""Marks that are added while a test runs."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING

import pytest
from suites import Ran

if TYPE_CHECKING:
    from conftest import Played
    from suites import Run


def test_added_by_a_fixture(run: Run) -> None:
    ran = run(
        """
        @pytest.fixture
        def quiet(request):
            request.node.add_marker(pytest.mark.exec_none)

        def test_it(quiet):
            runs("git")

        def test_next(execprobe):
            runs("git")
        """,
        passed=1,
        failed=1,
    )
    assert ran.rules == ["exec_none() added to test_it in the setup phase, test_it.py:6"]


@pytest.mark.parametrize("second", ["2", "pytest.param(2, marks=pytest.mark.exec_none)"], ids=["by a hook", "its own"])
def test_a_mark_of_one_parameter_is_none_of_the_others(run: Run, pytester: pytest.Pytester, second: str) -> None:
    if second == "2":
        pytester.makeconftest(
            "def pytest_collection_modifyitems(items):\n    items[1].add_marker(__import__('pytest').mark.exec_none)\n"
        )
    ran = run(
        f"""
        @pytest.mark.parametrize("n", [1, {second}, 3])
        def test_it(n):
            runs("git")
        """,
        passed=2,
        failed=1,
    )
    assert ["exec_none()" in rule for rule in ran.rules] == [True]


@pytest.mark.parametrize("first", ["of a parameter", "added"])
def test_the_same_mark_on_another_level_is_another_rule(run: Run, first: str) -> None:
    # Of a parameter it relaxes the function's; added to the test, it stands beside that.
    other = "added" if first == "of a parameter" else "of a parameter"
    ran = run(
        f"""
        TWO = pytest.mark.exec_budget(2)

        @pytest.fixture(autouse=True)
        def add(request):
            if "added" in request.node.name:
                request.node.add_marker(TWO)

        def made(how):
            return pytest.param(how, marks=TWO) if how == "of a parameter" else how

        @pytest.mark.exec_budget(1)
        @pytest.mark.parametrize("how", [made({first!r}), made({other!r}), "none"])
        def test_it(how):
            runs("git")
            runs("git")
        """,
        passed=1,
        failed=2,
    )
    assert ran.has(
        """
        FAILED test_it.py::test_it[added] - exec budget exceeded: 2 execs, at most 1 allowed (call phase)
        FAILED test_it.py::test_it[none] - exec budget exceeded: 2 execs, at most 1 allowed (call phase)
        """
    )


def test_one_added_to_a_class_in_one_of_its_tests_holds_in_the_next(run: Run) -> None:
    ran = run(
        """
        class TestAll:
            @pytest.mark.parametrize("number", range(3))
            def test_it(self, request, number, execprobe):
                if number == 1:
                    request.node.parent.add_marker(pytest.mark.exec_none)
                runs("git")
        """,
        passed=1,
        failed=2,
    )
    assert ran.has("FAILED test_it.py::TestAll::test_it[2] - nothing may run, but git ran (call phase)")


def test_added_by_the_test(run: Run) -> None:
    ran = run(
        """
        @pytest.mark.exec_budget(2, phases=("setup", "call"))
        def test_it(request, two):
            runs("git")
            request.node.add_marker(pytest.mark.exec_deny("git"))

        @pytest.fixture
        def two():
            runs("sh")
            runs("sh")
        """,
        failed=1,
    )
    assert ran.has(
        """
        exec budget exceeded: 3 execs, at most 2 allowed (setup and call phases)
          rule  exec_budget(2, phases=('setup', 'call')) on test_it, test_it.py:4
        git must not run, but it ran once (call phase)
          rule  exec_deny('git') added to test_it in the call phase, test_it.py:7
        """
    )


def test_added_one_judges_what_the_test_left_behind(run: Run) -> None:
    ran = run(
        """
        def test_a(request, execprobe):
            global shell
            request.node.add_marker(pytest.mark.exec_deny("curl"))
            shell = runs("sh")
            ends(shell)

        def test_b():
            runs("curl", by=shell)
        """,
        passed=2,
        errors=1,
    )
    assert ran.rules == ["exec_deny('curl') added to test_a in the call phase, test_it.py:6"]


ADDED = """
@pytest.fixture(autouse=True)
def around(request):
    runs("sh")
    {setup}
    yield
    runs("rm")
    {teardown}

class TestIt:
    def test_it(self, request, execprobe):
        runs("git")
        {call}

def test_next(execprobe):
    pass
"""
SAID = {
    "setup": "sh ran (setup phase)",
    "call": "git ran (call phase)",
    "teardown": "rm ran (teardown phase)",
}


#: Marks, and what is said where each is broken.
BROKEN = {
    "exec_none(phases={phases})": "nothing may run, but {ran}",
    "exec_allow('x', phases={phases})": "unexpected program: {ran}",
    "exec_deny('*', phases={phases})": "\\* must not run, but it ran once",
    "exec_budget(0, phases={phases})": "exec budget exceeded: 1 exec, at most 0 allowed",
}


@pytest.mark.parametrize("node", ["", ".parent", ".parent.parent", ".session"])
def test_added_one_judges_each_phase_that_it_covers(
    pytester: pytest.Pytester, played: Played, monkeypatch: pytest.MonkeyPatch, node: str
) -> None:
    """Also of one that had ended, when it was added. What is added to the session would judge the next file, too: it is
    run by itself, with each mark in turn."""
    monkeypatch.setenv("COLUMNS", "160")
    files, said = {}, []
    alone = node == ".session"
    phases = [*itertools.product(SAID, SAID)]
    for mark, (covers, added) in zip(itertools.cycle(BROKEN), phases) if alone else itertools.product(BROKEN, phases):
        written = mark.format(phases=(covers,))
        add = f"request.node.name == 'test_it' and request.node{node}.add_marker(pytest.mark.{written})"
        suite = ADDED.format(**{**dict.fromkeys(SAID, "pass"), added: add})
        files[f"test_{len(said)}"] = f"import pytest\nfrom played import runs\n{suite}"
        what = BROKEN[mark].format(ran=SAID[covers].partition(" (")[0])
        line = {"setup": 7, "call": 15, "teardown": 10}[added]
        where = rf"added to .* in the {added} phase, test_{len(said)}\.py:{line}"
        said.append(rf"(?m)^{what}.* \({covers} phase\)\n  rule  {re.escape(written)} {where}$")
    pytester.makepyfile(**files)
    for one in [[name] for name in files] if alone else [[*files]]:
        ran = Ran(pytester.runpytest_inprocess("-p", "no:cacheprovider", *(f"{name}.py" for name in one)))
        assert [name for name, what in zip(files, said, strict=True) if re.search(what, ran.text)] == one, ran.text
        assert len(ran.rules) == len(one)
        assert ran.ret == 1
    assert len(played.sources) == (len(files) if alone else 1)


def test_added_none_judges_a_set_up_that_has_ended(run: Run) -> None:
    ran = run(
        """
        @pytest.fixture
        def ready():
            runs("sh")

        def test_it(request, ready, execprobe):
            request.node.add_marker(pytest.mark.exec_none())
        """,
        failed=1,
    )
    assert ran.has(
        """
        __ test_it __
        nothing may run, but sh ran (setup phase)
          rule  exec_none() added to test_it in the call phase, test_it.py:9
        -- execs: setup phase (1, 0 lost) --
          # +ms pid parent argv
        > 1 T P pytest /usr/bin/sh
          if this is right: pytest.mark.exec_allow('sh', phases=('setup', 'call', 'teardown')) added to test_it in the call phase, test_it.py:9
        """  # noqa: E501
    )


def test_an_added_budget_counts_what_ran_before(run: Run) -> None:
    source = """
        @pytest.fixture
        def ready():
            runs("sh")

        def test_it(request, ready, execprobe):
            runs("git")
            request.node.add_marker(pytest.mark.exec_budget({at_most}, phases=("setup", "call")))
    """
    run(source.format(at_most=2), passed=1)
    ran = run(source.format(at_most=1), failed=1)
    assert ran.has("exec budget exceeded: 2 execs, at most 1 allowed (setup and call phases)")


def test_what_had_been_judged_before_a_mark_was_added_is_not_reported_again(run: Run) -> None:
    ran = run(
        """
        @pytest.fixture
        def ready(request):
            runs("sh")
            yield
            request.node.add_marker(pytest.mark.exec_deny("curl"))

        @pytest.mark.exec_none
        @pytest.mark.exec_budget(0, phases=("setup", "teardown"))
        def test_it(ready): pass
        """,
        errors=1,
    )
    assert ran.text.count("\nnothing may run, but sh ran (setup phase)\n") == 1
    assert ran.text.count("\nexec budget exceeded: ") == 1


def test_an_added_one_that_cannot_be_decided_is_an_error(run: Run) -> None:
    ran = run(
        """
        @pytest.fixture
        def ready():
            runs("sh", lost=True)

        @pytest.mark.xfail
        def test_it(request, ready, execprobe):
            request.node.add_marker(pytest.mark.exec_deny("sh"))
        """,
        errors=1,
    )
    assert ran.has("cannot tell whether sh ran: 1 exec missing from the log")


def test_one_added_where_the_probe_came_after_the_set_up_is_an_error(run: Run) -> None:
    ran = run(
        """
        def test_it(request):
            request.getfixturevalue("execprobe")
            request.node.add_marker(pytest.mark.exec_deny("sh", phases=("setup",)))
        """
    )
    assert "cannot tell whether sh ran: an unknown number of execs is missing from the log" in ran.text
    assert ran.ret == 1


@pytest.mark.parametrize("added", ["in the test", "in the fixture", "in its end"])
def test_one_added_to_a_module_judges_its_fixtures(run: Run, added: str) -> None:
    """Of which the set-up has been judged by then."""
    add = dict.fromkeys([added], "request.node{}.add_marker(pytest.mark.exec_deny('make'))")
    ran = run(
        f"""
        @pytest.fixture(scope="module")
        def built(request):
            runs("make")
            {add.get("in the fixture", "pass").format("")}
            yield
            {add.get("in its end", "pass").format("")}

        def test_a(built, execprobe): pass

        def test_b(built, request):
            {add.get("in the test", "pass").format(".parent")}

        def test_c(built): pass
        """
    )
    assert ran.text.count("\nmake must not run, but it ran once (set-up of fixture 'built' (module))\n") == 1
    (rule,) = ran.rules
    assert rule.startswith("exec_deny('make') added to the module in the ")
    assert ran.ret == 1
    test = {"in the test": "test_b", "in the fixture": "test_a", "in its end": "test_c"}[added]
    assert re.findall(r"^(?:FAILED|ERROR) test_it\.py::(\w+)", ran.text, re.MULTILINE) == [test]


def test_one_added_does_not_reach_tests_that_are_over(run: Run) -> None:
    run(
        """
        def test_a(execprobe): runs("git")
        def test_b(request, execprobe): request.node.parent.add_marker(pytest.mark.exec_deny("git"))
        def test_c(): runs("git")
        """,
        passed=2,
        failed=1,
    )


def test_one_added_in_a_run_without_a_probe_is_not_checked(run: Run, played: Played) -> None:
    source = """
        @pytest.fixture
        def quiet(request):
            request.node.add_marker(pytest.mark.exec_none)
        def test_a(quiet): pass
        def test_b(): pass
        def test_c(quiet): pass
    """
    ran = run(source, passed=3)
    assert not played.sources
    why = "they were marked while tests ran, in a run without a probe: --execprobe-audit brings one"
    assert ran.has(f"== execprobe ==\nNOT CHECKED     2 tests: {why}\n")
    run(source.replace("(quiet): pass", "(quiet): runs('git')", 1), "--execprobe-audit", failed=1, passed=2)


def test_added_one_that_is_wrong(run: Run) -> None:
    ran = run(
        """
        @pytest.mark.xfail
        def test_it(request, execprobe):
            request.node.add_marker(pytest.mark.exec_budget(-1))
        @pytest.fixture(scope="module")
        def rule(request):
            request.node.add_marker(pytest.mark.exec_success(1))
        def test_of_a_fixture(rule): pass
        """,
        errors=3,
    )
    assert "exec_budget(-1): at_most can't be less than 0: -1. It is written exec_budget(" in ran.text
    assert "exec_success(1): a pattern is a str" in ran.text
    assert "phases.py" not in ran.text


def test_added_one_that_is_wrong_in_a_hook(run: Run) -> None:
    conftest = """
    import pytest
    def pytest_collection_modifyitems(items):
        items[0].add_marker(pytest.mark.exec_budget(-1))
    """
    ran = run("def test_it(): pass\ndef test_next(): runs('git')", conftest=conftest, errors=1, passed=1)
    assert "conftest.py:3: exec_budget(-1): at_most can't be less than 0" in ran.text


def test_mark_added_by_a_wider_fixture(run: Run) -> None:
    source = """
    @pytest.fixture(scope="module", autouse=True)
    def rule(request):
        request.node.add_marker(pytest.mark.exec_deny("curl"))

    @pytest.mark.exec_budget(1)
    def test_first(): runs("curl")

    def test_second(): runs("curl")
    """
    run(source, failed=2)

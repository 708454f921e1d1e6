"""Rules in whole runs: which are applied, what they do to a test's outcome, and what a user sees."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

from pytest_execprobe.rules.markers import MARKERS
from pytest_execprobe.session.strays import Strays

if TYPE_CHECKING:
    from conftest import Played

ROW = re.compile(r"^(E +)?([> ]) (\d+) +\d+\.\d +\d+ +(\S+) +(/.*)$", re.M)


@dataclass
class Ran:
    """What came of an inner run: in its text times and pids are T and P, and each cell is followed by one space."""

    result: pytest.RunResult

    @property
    def ret(self) -> int:
        return int(self.result.ret)

    @property
    def text(self) -> str:
        text = re.sub(r"# +\+ms +pid +parent +argv$", "# +ms pid parent argv", self.result.stdout.str(), flags=re.M)
        text = re.sub(r"^([=_-])\1+ (.*) [=_-]+$", r"\1\1 \2 \1\1", text, flags=re.M)
        return ROW.sub(r"\1\2 \3 T P \4 \5", text) + "\n"

    def has(self, block: str) -> bool:
        """Whether these lines are in the text, one after the other."""
        wanted = dedent(block).strip("\n") + "\n"
        assert f"\n{wanted}" in f"\n{self.text}", f"{wanted}\n--- is not in ---\n{self.text}"
        return True

    @property
    def rules(self) -> list[str]:
        """The rules that are told of as broken, each once."""
        return [*dict.fromkeys(re.findall(r"^  rule  (.*)$", self.text, flags=re.M))]


Run = Callable[..., Ran]


@pytest.fixture
def run(pytester: pytest.Pytester, played: Played, monkeypatch: pytest.MonkeyPatch) -> Run:  # noqa: ARG001
    """Runs a suite of one file, and tells what came of it."""
    monkeypatch.setenv("COLUMNS", "160")  # so that pytest's summary lines fit

    def run(source: str, *options: str, conftest: str = "", ini: str = "", **outcomes: int) -> Ran:
        pytester.makeini(f"[pytest]\n{ini}")
        if conftest:
            pytester.makeconftest(conftest)
        pytester.makepyfile(test_it="import pytest\nfrom played import runs, breaks, ends\n" + dedent(source))
        result = pytester.runpytest_inprocess("-p", "no:cacheprovider", *options)
        if outcomes:
            result.assert_outcomes(**outcomes)
        return Ran(result)

    return run


# ---- what a user sees of each marker ----


def test_budget(run: Run) -> None:
    ran = run(
        """
        @pytest.mark.exec_budget(1)
        def test_release():
            runs("curl", by=runs("git", "fetch"))
        """,
        failed=1,
    )
    assert ran.has(
        """
        == FAILURES ==
        __ test_release __
        exec budget exceeded: 2 execs, at most 1 allowed (call phase)
          rule  exec_budget(1) on test_release, test_it.py:4
        -- execs: call phase (2, 0 lost) --
          # +ms pid parent argv
          1 T P pytest /usr/bin/git fetch
        > 2 T P #1 /usr/bin/curl
          if this is right: exec_budget(2)
        == short test summary info ==
        FAILED test_it.py::test_release - exec budget exceeded: 2 execs, at most 1 allowed (call phase)
        """
    )
    assert ran.ret == pytest.ExitCode.TESTS_FAILED


def test_allow(run: Run) -> None:
    ran = run(
        """
        @pytest.mark.exec_allow("git", "gpg")
        def test_release():
            runs("curl", by=runs("git", "fetch"))
        """,
        failed=1,
    )
    assert ran.has(
        """
        __ test_release __
        unexpected program: curl ran, and only git, gpg may (call phase)
          rule  exec_allow('git', 'gpg') on test_release, test_it.py:4
        -- execs: call phase (2, 0 lost) --
          # +ms pid parent argv
          1 T P pytest /usr/bin/git fetch
        > 2 T P #1 /usr/bin/curl
          if this is right: exec_allow('git', 'gpg', 'curl')
        == short test summary info ==
        FAILED test_it.py::test_release - unexpected program: curl ran, and only git, gpg may (call phase)
        """
    )


def test_none(run: Run) -> None:
    ran = run(
        """
        @pytest.mark.exec_none
        def test_release():
            runs("git")
        """,
        failed=1,
    )
    assert ran.has(
        """
        __ test_release __
        nothing may run, but git ran (call phase)
          rule  exec_none() on test_release, test_it.py:4
        -- execs: call phase (1, 0 lost) --
          # +ms pid parent argv
        > 1 T P pytest /usr/bin/git
          if this is right: exec_allow('git', phases=('setup', 'call', 'teardown'))
        == short test summary info ==
        FAILED test_it.py::test_release - nothing may run, but git ran (call phase)
        """
    )


def test_deny(run: Run) -> None:
    ran = run(
        """
        @pytest.mark.exec_deny("curl", "wget")
        def test_release():
            runs("git")
            runs("curl")
        """,
        failed=1,
    )
    assert ran.has(
        """
        __ test_release __
        curl must not run, but it ran once (call phase)
          rule  exec_deny('curl', 'wget') on test_release, test_it.py:4
        -- execs: call phase (2, 0 lost) --
          # +ms pid parent argv
          1 T P pytest /usr/bin/git
        > 2 T P pytest /usr/bin/curl
        == short test summary info ==
        FAILED test_it.py::test_release - curl must not run, but it ran once (call phase)
        """
    )


def test_with_q_the_rule_alone(run: Run) -> None:
    ran = run("@pytest.mark.exec_none\ndef test_release(): runs('git')", "-q", failed=1)
    assert ran.has(
        """
        __ test_release __
        nothing may run, but git ran (call phase)
          rule  exec_none() on test_release, test_it.py:3
        == short test summary info ==
        """
    )


def test_several_broken_rules_are_one_failure(run: Run) -> None:
    ran = run(
        """
        pytestmark = pytest.mark.exec_deny("curl")

        @pytest.mark.exec_budget(0)
        def test_release():
            runs("curl")
        """,
        failed=1,
    )
    assert ran.has(
        """
        exec budget exceeded: 1 exec, at most 0 allowed (call phase)
          rule  exec_budget(0) on test_release, test_it.py:6
        curl must not run, but it ran once (call phase)
          rule  exec_deny('curl') on the module, test_it.py:4
        -- execs: call phase (1, 0 lost) --
        """
    )


# ---- each marker on each level ----

LEVELS = """
{module}

{class_}
class TestIt:
    {function}
    @pytest.mark.parametrize("n", [
        pytest.param(1, marks=[{parameter}]),
    ])
    def test_it(self, n):
        runs("git")
        runs("curl")
"""

PLACES = {
    "module": ("pytestmark = [{}]", "on the module, test_it.py:4"),
    "class_": ("@{}", "on TestIt, test_it.py:6"),
    "function": ("@{}", "on test_it, test_it.py:8"),
    "parameter": ("{}", "on test_it, test_it.py:10"),
}


def level(place: str, mark: str) -> str:
    marks = dict.fromkeys(PLACES, "") | {"class_": "#", "function": "#"}
    return LEVELS.format(**marks | {place: PLACES[place][0].format(f"pytest.mark.{mark}")})


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("mark", "headline"),
    [
        ("exec_budget(1)", "exec budget exceeded: 2 execs, at most 1 allowed"),
        ("exec_budget(per_program={'git': 0})", "exec budget exceeded: git ran once, at most 0 allowed"),
        ("exec_allow('git')", "unexpected program: curl ran, and only git may"),
        ("exec_none()", "nothing may run, but git, curl ran"),
        ("exec_deny('curl')", "curl must not run, but it ran once"),
    ],
)
def test_broken_on_each_level(run: Run, place: str, mark: str, headline: str) -> None:
    ran = run(level(place, mark), failed=1)
    assert ran.has(f"{headline} (call phase)\n  rule  {mark} {PLACES[place][1]}")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "mark",
    [
        "exec_budget(2)",
        "exec_budget(per_program={'git': 1, 'wget': 0})",
        "exec_allow('git', 'curl')",
        "exec_none(phases=('setup', 'teardown'))",
        "exec_deny('wget')",
    ],
)
def test_kept_on_each_level(run: Run, played: Played, place: str, mark: str) -> None:
    run(level(place, mark), passed=1)
    assert len(played.settings) == 1  # it was probed


@pytest.mark.parametrize(
    ("option", "headline"),
    [
        ("budget=1", "exec budget exceeded: 2 execs, at most 1 allowed"),
        ("allow=git", "unexpected program: curl ran, and only git may"),
        ("deny=curl", "curl must not run, but it ran once"),
    ],
)
def test_for_the_whole_suite(run: Run, option: str, headline: str) -> None:
    source = "def test_it():\n    runs('git')\n    runs('curl')"
    ran = run(source, f"--execprobe-{option}", failed=1)
    assert ran.has(f"{headline} (call phase)\n  rule  --execprobe-{option} on the command line")
    ran = run(source, ini=f"execprobe_{option.replace('=', ' = ')}", failed=1)
    assert ran.has(f"{headline} (call phase)\n  rule  execprobe_{option} in tox.ini")


@pytest.mark.parametrize("option", ["budget=2", "deny=wget"])
def test_kept_by_the_whole_suite(run: Run, option: str) -> None:
    run("def test_it():\n    runs('git')\n    runs('curl')", f"--execprobe-{option}", passed=1)


# ---- the closest level decides ----


GIT_CURL = "exec_allow('git', 'curl')"
BUDGET = "--execprobe-budget=1 on the command line"
DENY = "--execprobe-deny=curl on the command line"


@pytest.mark.parametrize(
    ("marks", "options", "ini", "broken"),
    [
        # (parameter, function, class, module), command line and ini file; the rules that are found broken.
        (("", "", "", ""), "", "execprobe_budget = 1", ["execprobe_budget=1 in tox.ini"]),
        (("", "", "", ""), "--execprobe-budget=9", "execprobe_budget = 1", []),
        (("", "", "", ""), "--execprobe-budget=1", "execprobe_budget = 9", [BUDGET]),
        (("", "", "", "exec_budget(9)"), "--execprobe-budget=1", "", []),
        (("", "", "exec_budget(9)", "exec_budget(1)"), "", "", []),
        (("", "", "exec_budget(1)", "exec_budget(9)"), "", "", ["exec_budget(1) on TestIt, test_it.py:6"]),
        (("", "exec_budget(9)", "exec_budget(1)", ""), "", "execprobe_budget = 1", []),
        (("exec_budget(9)", "exec_budget(1)", "", ""), "", "", []),
        (("exec_budget(1)", "exec_budget(9)", "", ""), "", "", ["exec_budget(1) on test_it, test_it.py:10"]),
        # None is an allow.
        (("", GIT_CURL, "", "exec_none()"), "", "", []),
        (("", "exec_none()", "", GIT_CURL), "", "", ["exec_none() on test_it, test_it.py:8"]),
        (("", "", "", GIT_CURL), "--execprobe-allow=git", "", []),
        # The kinds leave each other alone.
        (("", GIT_CURL, "", "exec_budget(1)"), "", "", ["exec_budget(1) on the module, test_it.py:4"]),
        # A level that says nothing of the call.
        (("", "exec_budget(9, phases=('setup',))", "", ""), "--execprobe-budget=1", "", [BUDGET]),
        # Deny adds up.
        (
            ("", "exec_deny('git')", "", ""),
            "--execprobe-deny=curl",
            "",
            ["exec_deny('git') on test_it, test_it.py:8", DENY],
        ),
        (("", "", "", ""), "--execprobe-deny=curl", "execprobe_deny = git", [DENY, "execprobe_deny=git in tox.ini"]),
        (("", "exec_deny('a', inherit=False)", "exec_deny('git')", ""), "", "execprobe_deny = curl", []),
        (("", "", "exec_deny(inherit=False)", "exec_deny('git')"), "--execprobe-deny=curl", "", []),
        (("", "", "exec_deny(inherit=False, phases=('setup',))", ""), "--execprobe-deny=curl", "", [DENY]),
    ],
)
def test_precedence(run: Run, marks: tuple[str, ...], options: str, ini: str, broken: list[str]) -> None:
    parameter, function, class_, module = (f"pytest.mark.{mark}" if mark else "" for mark in marks)
    source = LEVELS.format(
        module=f"pytestmark = [{module}]",
        class_=f"@{class_}" if class_ else "#",
        function=f"@{function}" if function else "#",
        parameter=parameter,
    )
    ran = run(source, *options.split(), ini=ini, **({"failed": 1} if broken else {"passed": 1}))
    assert ran.rules == broken


def test_several_on_one_level(run: Run) -> None:
    ran = run(
        """
        @pytest.mark.exec_allow("git")
        @pytest.mark.exec_allow("curl")
        def test_allowed():
            runs("git")
            runs("curl")

        @pytest.mark.exec_budget(3)
        @pytest.mark.exec_budget(1)
        def test_budget():
            runs("git")
            runs("curl")
        """,
        passed=1,
        failed=1,
    )
    assert ran.rules == ["exec_budget(1) on test_budget, test_it.py:11"]


# ---- phases= and direct= ----

PHASES = """
@pytest.fixture
def around():
    runs("one")
    yield
    runs("three")

@pytest.mark.{mark}
def test_it(around):
    runs("two")
"""


OVER = "exec budget exceeded: {} allowed ({})"
ONE_OF_0, TWO_OF_1 = "1 exec, at most 0", "2 execs, at most 1"
TEARDOWN = {"passed": 1, "errors": 1}  # the test passes, and its end is an error


@pytest.mark.parametrize(
    ("mark", "outcomes", "said"),
    [
        ("exec_budget(0)", {"failed": 1}, [OVER.format(ONE_OF_0, "call phase")]),
        ("exec_budget(0, phases=('setup',))", {"errors": 1}, [OVER.format(ONE_OF_0, "setup phase")]),
        ("exec_budget(0, phases=('teardown',))", TEARDOWN, [OVER.format(ONE_OF_0, "teardown phase")]),
        # Over several phases together, and once.
        ("exec_budget(1, phases=('setup', 'call'))", {"failed": 1}, [OVER.format(TWO_OF_1, "setup and call phases")]),
        (
            "exec_budget(1, phases=('setup', 'call', 'teardown'))",
            {"failed": 1},
            [OVER.format(TWO_OF_1, "setup and call phases")],
        ),
        (
            "exec_budget(1, phases=('setup', 'teardown'))",
            TEARDOWN,
            [OVER.format(TWO_OF_1, "setup and teardown phases")],
        ),
        ("exec_budget(2, phases=('setup', 'call'))", {"passed": 1}, []),
        ("exec_allow('two')", {"passed": 1}, []),
        (
            "exec_allow('two', phases=('call', 'teardown'))",
            TEARDOWN,
            ["unexpected program: three ran, and only two may (teardown phase)"],
        ),
        ("exec_none(phases=['call'])", {"failed": 1}, ["nothing may run, but two ran (call phase)"]),
        # A test that was not set up does not run, and is torn down.
        (
            "exec_none",
            {"errors": 2},
            ["nothing may run, but one ran (setup phase)", "nothing may run, but three ran (teardown phase)"],
        ),
        ("exec_deny('one')", {"errors": 1}, ["one must not run, but it ran once (setup phase)"]),
        ("exec_deny('three')", TEARDOWN, ["three must not run, but it ran once (teardown phase)"]),
        ("exec_deny('one', 'two', phases=('teardown',))", {"passed": 1}, []),
    ],
)
def test_phases(run: Run, mark: str, outcomes: dict[str, int], said: list[str]) -> None:
    ran = run(PHASES.format(mark=mark), **outcomes)
    assert (
        re.findall(r"^(\S.* \([\w ]+ phases?\))$", ran.text.partition("== short test summary")[0], flags=re.M) == said
    )


@pytest.mark.parametrize(
    ("mark", "holds"),
    [
        ("exec_budget(1, direct=True)", True),
        ("exec_budget(1)", False),
        ("exec_allow('make', direct=True)", True),
        ("exec_allow('make')", False),
        ("exec_deny('sh', direct=True)", True),
        ("exec_deny('make', direct=True)", False),
        ("exec_none(direct=True)", False),
    ],
)
def test_direct(run: Run, mark: str, holds: bool) -> None:
    source = f"@pytest.mark.{mark}\ndef test_it(): runs('sh', by=runs('make'))"
    run(source, **({"passed": 1} if holds else {"failed": 1}))


# ---- a marker that is not written as it must be ----


def test_wrong_marker_is_an_error_of_the_collection(run: Run, played: Played) -> None:
    ran = run(
        """
        @pytest.mark.exec_budget("2")
        def test_a(): pass

        @pytest.mark.parametrize("n", [pytest.param(1, marks=pytest.mark.exec_deny)])
        def test_b(n): pass

        @pytest.mark.parametrize("n", [1, 2])
        @pytest.mark.exec_none(phases="call")
        def test_c(n): pass
        """,
        errors=1,
    )
    wrong = [
        ("test_it.py:4: exec_budget('2'): at_most is a whole number, not '2'.", "exec_budget"),
        ("test_it.py:7: exec_deny(): it needs a pattern, or inherit=False to drop the wider ones.", "exec_deny"),
        ("test_it.py:11: exec_none(phases='call'): phases is a tuple such as ('call',), not 'call'.", "exec_none"),
    ]
    assert ran.has(
        "\n".join(
            [
                "== ERRORS ==",
                "__ ERROR collecting test_it.py __",
                *(f"{reason} It is written {MARKERS[name][0]}" for reason, name in wrong),
                "== short test summary info ==",
            ]
        )
    )
    assert ran.ret == pytest.ExitCode.INTERRUPTED
    assert played.settings == []


@pytest.mark.parametrize(
    ("source", "place"),
    [
        ("pytestmark = pytest.mark.exec_allow\ndef test_it(): pass", "test_it.py:3: exec_allow(): "),
        ("@pytest.mark.exec_allow()\nclass TestIt:\n    def test_it(self): pass", "test_it.py:3: exec_allow(): "),
        (
            "class TestIt:\n    pytestmark = [\n        pytest.mark.exec_allow]\n    def test_it(self): pass",
            "test_it.py:5: ",
        ),
    ],
)
def test_wrong_marker_of_a_class_or_module(run: Run, source: str, place: str) -> None:
    ran = run(source, "--continue-on-collection-errors", errors=1)
    assert f"\n{place}" in ran.text
    # Once, whatever is below it.
    assert ran.text.partition("== short test summary")[0].count("it needs a pattern") == 1


def test_wrong_marker_is_found_without_running_anything(run: Run, played: Played) -> None:
    ran = run("@pytest.mark.exec_budget(-1)\ndef test_it(): pass", "--collect-only", errors=1)
    assert "test_it.py:3: exec_budget(-1): at_most can't be less than 0: -1" in ran.text
    assert played.settings == []


def test_markers_are_known_to_strict_runs(run: Run) -> None:
    run("@pytest.mark.exec_none\ndef test_it(): pass", "--strict-markers", passed=1)


# ---- rules and the test's own outcome ----


def test_own_failure_stays_what_it_is(run: Run) -> None:
    ran = run(
        """
        @pytest.mark.exec_none
        def test_it():
            runs("git")
            assert 1 == 2
        """,
        failed=1,
    )
    assert ran.has(
        """
            @pytest.mark.exec_none
            def test_it():
                runs("git")
        >       assert 1 == 2
        E       assert 1 == 2

        test_it.py:7: AssertionError
        -- execprobe --
        nothing may run, but git ran (call phase)
          rule  exec_none() on test_it, test_it.py:4
        -- execs: call phase (1, 0 lost) --
          # +ms pid parent argv
        > 1 T P pytest /usr/bin/git
          if this is right: exec_allow('git', phases=('setup', 'call', 'teardown'))
        == short test summary info ==
        FAILED test_it.py::test_it - assert 1 == 2
        """
    )


@pytest.mark.parametrize("body", ["raise ValueError('own')", "pytest.fail('own')", "raise KeyError('own') from None"])
def test_so_does_any_exception(run: Run, body: str) -> None:
    ran = run(f"@pytest.mark.exec_none\ndef test_it():\n    runs('git')\n    {body}", failed=1)
    assert re.search(r"^FAILED test_it.py::test_it - .*own", ran.text, flags=re.M)
    assert ran.rules == ["exec_none() on test_it, test_it.py:3"]


def test_own_failure_of_a_fixture(run: Run) -> None:
    ran = run(
        """
        @pytest.fixture
        def fixture():
            runs("git")
            raise ValueError("own")

        @pytest.mark.exec_none
        def test_it(fixture): pass
        """,
        errors=1,
    )
    assert ran.has("ERROR test_it.py::test_it - ValueError: own")
    assert ran.has("-- execprobe --\nnothing may run, but git ran (setup phase)")


SKIPS = [
    "pytest.skip('why')",
    "pytest.importorskip('no_such_module')",
    "import unittest; raise unittest.SkipTest('why')",
]


@pytest.mark.parametrize("skip", SKIPS)
def test_skip_hides_nothing_that_ran(run: Run, skip: str) -> None:
    ran = run(f"@pytest.mark.exec_none\ndef test_it():\n    runs('git')\n    {skip}", failed=1)
    assert ran.has(
        """
        __ test_it __
        nothing may run, but git ran (call phase)
          rule  exec_none() on test_it, test_it.py:3
        -- execs: call phase (1, 0 lost) --
        """
    )


@pytest.mark.parametrize("skip", SKIPS)
def test_skip_where_nothing_is_wrong(run: Run, skip: str) -> None:
    run(f"@pytest.mark.exec_none\ndef test_it():\n    {skip}", skipped=1)


def test_skip_in_a_fixture_hides_nothing(run: Run) -> None:
    ran = run(
        """
        @pytest.fixture
        def fixture():
            runs("git")
            pytest.skip("why")

        @pytest.mark.exec_none
        def test_it(fixture): pass
        """,
        errors=1,
    )
    assert ran.has("ERROR test_it.py::test_it - nothing may run, but git ran (setup phase)")


def test_skipped_by_a_mark(run: Run) -> None:
    run("@pytest.mark.skip\n@pytest.mark.exec_none\ndef test_it(): runs('git')", skipped=1)


@pytest.mark.parametrize(
    ("xfail", "outcomes"),
    [
        ("xfail", {"xfailed": 1}),
        ("xfail(strict=True)", {"xfailed": 1}),
        ("xfail(raises=AssertionError)", {"xfailed": 1}),
        ("xfail(raises=Exception)", {"xfailed": 1}),
        ("xfail(raises=ValueError)", {"failed": 1}),
        ("xfail(False, reason='')", {"failed": 1}),
    ],
)
def test_broken_rule_is_a_failure_that_can_be_expected(run: Run, xfail: str, outcomes: dict[str, int]) -> None:
    ran = run(f"@pytest.mark.{xfail}\n@pytest.mark.exec_none\ndef test_it(): runs('git')", **outcomes)
    said = "xfailed         test_it.py::test_it: nothing may run, but git ran (call phase)"
    assert (said in ran.text) is ("xfailed" in outcomes)  # what was expected may have been something else


def test_what_was_expected_is_the_tests_own_failure(run: Run) -> None:
    ran = run(
        """
        @pytest.mark.xfail(raises=ValueError)
        @pytest.mark.exec_none
        def test_raises():
            runs("git")
            raise ValueError

        @pytest.mark.exec_none
        def test_calls():
            runs("git")
            pytest.xfail("why")
        """,
        xfailed=2,
    )
    assert ran.has(
        """
        == execprobe ==
        xfailed         test_it.py::test_raises: nothing may run, but git ran (call phase)
        xfailed         test_it.py::test_calls: nothing may run, but git ran (call phase)
        """
    )
    assert ran.ret == pytest.ExitCode.OK


@pytest.mark.parametrize("strict", [False, True])
def test_rule_that_is_kept_makes_no_failure_to_expect(run: Run, strict: bool) -> None:
    source = f"@pytest.mark.xfail(strict={strict})\n@pytest.mark.exec_none\ndef test_it(): pass"
    run(source, **({"failed": 1} if strict else {"xpassed": 1}))


UNITTEST = """
import unittest

@pytest.mark.exec_none
class Test(unittest.TestCase):
    def test_it(self):
        runs("git")
        {body}
"""


@pytest.mark.parametrize("body", ["pass", "self.skipTest('why')", "raise unittest.SkipTest('why')"])
def test_unittest(run: Run, body: str) -> None:
    ran = run(UNITTEST.format(body=body), failed=1)
    assert ran.has(
        """
        __ Test.test_it __
        nothing may run, but git ran (call phase)
          rule  exec_none() on Test, test_it.py:6
        -- execs: call phase (1, 0 lost) --
        """
    )
    assert ran.has("FAILED test_it.py::Test::test_it - nothing may run, but git ran (call phase)")


def test_own_failure_of_unittest(run: Run) -> None:
    ran = run(UNITTEST.format(body="self.fail('own')"), failed=1)
    assert ran.has("FAILED test_it.py::Test::test_it - AssertionError: own")
    assert ran.has(
        "-- execprobe --\nnothing may run, but git ran (call phase)\n  rule  exec_none() on Test, test_it.py:6"
    )


def test_setup_of_unittest(run: Run) -> None:
    ran = run(
        """
        import unittest

        @pytest.mark.exec_none
        class Test(unittest.TestCase):
            @classmethod
            def setUpClass(cls): runs("git")
            def setUp(self): runs("sh")
            def test_it(self): pass
        """,
        errors=1,
    )
    # What unittest's own runner does before and after a test is pytest's call.
    assert ran.has(
        "nothing may run, but git ran (set-up of setUpClass of Test)\n  rule  exec_none() on Test, test_it.py:6"
    )


# ---- what can't be decided ----

BREAKS = """
{mark}
@pytest.mark.exec_deny("curl", phases=("call",))
def test_it():
    runs("git")
    breaks("it died")
    {body}
"""


@pytest.mark.parametrize("body", ["pass", "pytest.skip('why')", "pytest.xfail('why')"])
@pytest.mark.parametrize("mark", ["", "@pytest.mark.xfail", "@pytest.mark.xfail(strict=True, raises=Exception)"])
def test_undecided_is_an_error_whatever_was_expected(run: Run, mark: str, body: str) -> None:
    ran = run(BREAKS.format(mark=mark, body=body), errors=2)
    assert ran.has(
        """
        == ERRORS ==
        __ ERROR at call of test_it __
        cannot tell whether curl ran: an unknown number of execs is missing from the log
          rule  exec_deny('curl', phases=('call',)) on test_it, test_it.py:5
          why   the probe helper was lost: it died. The next test gets a new one
        """
    )
    # That nothing is known from then on concerns what it may have left behind, too.
    assert ran.has(
        """
        __ ERROR at teardown of the run (outside of tests) __
        cannot tell what tests left behind, or what ran outside of them
          why   the probe helper was lost: it died. The next test gets a new one
        """
    )
    assert ran.ret == pytest.ExitCode.TESTS_FAILED


@pytest.mark.parametrize("mark", ["@pytest.mark.xfail", "@pytest.mark.xfail(raises=ValueError)"])
def test_expected_failure_does_not_hide_what_is_undecided(run: Run, mark: str) -> None:
    ran = run(BREAKS.format(mark=mark, body="raise ValueError('own')"), errors=2)
    assert ran.has(
        """
        __ ERROR at call of test_it __
        cannot tell whether curl ran: an unknown number of execs is missing from the log
        """
    )


def test_own_failure_and_an_undecided_rule(run: Run) -> None:
    ran = run(BREAKS.format(mark="", body="assert 0"), failed=1, errors=1)
    assert ran.has("FAILED test_it.py::test_it - assert 0")
    assert ran.has("-- execprobe --\ncannot tell whether curl ran: an unknown number of execs is missing from the log")


def test_certain_breach_is_a_failure_whatever_is_missing(run: Run) -> None:
    source = """
    @pytest.mark.exec_deny("curl", phases=("call",))
    def test_it(execprobe):
        runs("curl")
        execprobe.assert_ran("curl")
        breaks("it died")
    """
    ran = run(source, failed=1, errors=1)
    assert ran.has(
        """
        curl must not run, but it ran once (call phase)
          rule  exec_deny('curl', phases=('call',)) on test_it, test_it.py:4
        """
    )


def test_own_undecided_check_stays_first(run: Run) -> None:
    source = """
    @pytest.mark.xfail
    @pytest.mark.exec_deny("git", phases=("call",))
    def test_it(execprobe):
        runs("git")
        execprobe.assert_ran("git")
        breaks("it died")
        execprobe.assert_not_ran("curl")
    """
    ran = run(source, errors=2)
    assert "IncompleteLogError: cannot tell whether curl ran" in ran.text
    assert ran.has("-- execprobe --\ngit must not run, but it ran once (call phase)")
    assert "\nxfailed  " not in ran.text  # for it is an error


def test_the_next_test_has_its_rules_judged(run: Run, played: Played) -> None:
    ran = run(
        """
        pytestmark = pytest.mark.exec_none
        def test_a(): breaks("it died")
        def test_b(): pass
        def test_c(): runs("git")
        """,
        errors=3,  # test_a's call and teardown, and what it may have left behind
        passed=1,
        failed=1,
    )
    assert ran.has("FAILED test_it.py::test_c - nothing may run, but git ran (call phase)")
    assert len(played.sources) == 2


# ---- marks that are added while the test runs ----


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


@pytest.mark.parametrize("node", ["", ".parent", ".parent.parent", ".session"])
@pytest.mark.parametrize(
    ("mark", "headline"),
    [
        ("exec_none(phases={phases})", "nothing may run, but {ran}"),
        ("exec_allow('x', phases={phases})", "unexpected program: {ran_only}"),
        ("exec_deny('*', phases={phases})", "* must not run, but it ran once"),
        ("exec_budget(0, phases={phases})", "exec budget exceeded: 1 exec, at most 0 allowed"),
    ],
)
@pytest.mark.parametrize("covers", ["setup", "call", "teardown"])
@pytest.mark.parametrize("added", ["setup", "call", "teardown"])
def test_added_one_speaks_of_each_phase_that_it_covers(
    run: Run, node: str, mark: str, headline: str, covers: str, added: str
) -> None:
    """Also of one that had ended, when it was added."""
    written = mark.format(phases=(covers,))
    add = f"request.node.name == 'test_it' and request.node{node}.add_marker(pytest.mark.{written})"
    ran = run(ADDED.format(**{**dict.fromkeys(SAID, "pass"), added: add}))
    what = headline.format(ran=SAID[covers].partition(" (")[0], ran_only=SAID[covers].partition(" (")[0])
    assert re.search(rf"^{re.escape(what)}.* \({covers} phase\)$", ran.text, flags=re.M)
    (rule,) = ran.rules
    line = {"setup": 7, "call": 15, "teardown": 10}[added]
    assert re.fullmatch(rf"{re.escape(written)} added to .* in the {added} phase, test_it\.py:{line}", rule)
    assert f"{'ERROR' if 'call' not in (added, covers) else ''}" in ran.text
    assert ran.ret == 1


def test_added_none_speaks_of_a_set_up_that_has_ended(run: Run) -> None:
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
          if this is right: exec_allow('sh', phases=('setup', 'call', 'teardown'))
        """
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


def test_what_had_been_judged_before_a_mark_was_added_is_not_told_of_again(run: Run) -> None:
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
        def test_it(request, execprobe):
            request.node.add_marker(pytest.mark.exec_budget(-1))
        """,
        failed=1,
    )
    assert "exec_budget(-1): at_most can't be less than 0: -1. It is written exec_budget(" in ran.text


# ---- what a test left behind ----

LEAVES = """
@pytest.mark.exec_deny("curl")
def test_leaves():
    global shell
    shell = runs("sh")
    ends(shell)

def test_next():
    {body}
"""


def test_stray_is_judged_by_the_rules_of_its_test(run: Run) -> None:
    ran = run(LEAVES.format(body="runs('curl', by=shell)"), passed=2, errors=1)
    assert re.search(r"^test_it.py \.\. +\[100%\]\n\n== ERRORS ==$", ran.text, flags=re.M)  # no letter after the last
    assert ran.has(
        """
        == ERRORS ==
        __ ERROR at teardown of test_leaves __
        curl must not run, but it ran once (left behind)
          rule  exec_deny('curl') on test_leaves, test_it.py:4
        execs: left behind (1, 0 lost)
          # +ms pid parent argv
        > 1 T P sh /usr/bin/curl  (begun by test_it.py::test_leaves)
        == short test summary info ==
        ERROR test_it.py::test_leaves - curl must not run, but it ran once (left behind)
        """
    )
    assert ran.ret == pytest.ExitCode.TESTS_FAILED


def test_stray_that_no_rule_minds(run: Run) -> None:
    ran = run(LEAVES.format(body="runs('wget', by=shell)"), passed=2)
    assert ran.ret == pytest.ExitCode.OK


def test_stray_is_not_judged_by_the_rules_of_the_test_that_runs(run: Run) -> None:
    run(
        """
        @pytest.mark.exec_budget(1)
        def test_leaves():
            global shell
            shell = runs("sh")
            ends(shell)

        @pytest.mark.exec_none
        def test_next():
            pass

        def test_last(execprobe):
            assert execprobe.records == ()
        """,
        passed=3,
    )


@pytest.mark.parametrize(("phase", "broken"), [("setup", True), ("call", False), ("teardown", False)])
def test_stray_belongs_to_the_phase_in_which_it_was_begun(run: Run, phase: str, broken: bool) -> None:
    source = f"""
    @pytest.fixture
    def shell():
        global begun
        begun = runs("sh")
        ends(begun)

    @pytest.mark.exec_deny("curl", phases=("{phase}",))
    def test_leaves(shell): pass

    def test_next(): runs("curl", by=begun)
    """
    run(source, passed=2, errors=int(broken))


def test_lost_stray_may_have_been_an_ignored_one(run: Run) -> None:
    source = LEAVES.replace('exec_deny("curl")', "exec_budget(1)").format(body="runs('curl', by=shell, lost=True)")
    ran = run(source, passed=2, errors=1)
    assert ran.has("exec budget exceeded: 2 execs, at most 1 allowed (call phase, and left behind)")
    ran = run(source, "--execprobe-ignore=coverage", passed=2, errors=1)
    assert ran.has("cannot tell whether at most 1 exec ran: at most 1 exec missing from the log")


def test_stray_after_the_last_test(run: Run) -> None:
    ran = run(
        """
        import conftest

        @pytest.mark.exec_budget(1)
        def test_leaves():
            conftest.shell = runs("sh")
            ends(conftest.shell)
        """,
        conftest="""
        import pytest
        from played import runs
        shell = None

        @pytest.hookimpl(wrapper=True, tryfirst=True)
        def pytest_runtestloop():
            yield
            runs("sleep", by=shell)
            return True
        """,
        passed=1,
        errors=1,
    )
    assert ran.has("exec budget exceeded: 2 execs, at most 1 allowed (call phase, and left behind)")
    assert ran.ret == pytest.ExitCode.TESTS_FAILED


def test_what_still_runs_counts_for_the_test_that_runs(run: Run) -> None:
    ran = run(
        """
        @pytest.mark.exec_deny("curl")
        def test_leaves_running():
            global shell
            shell = runs("sh")

        @pytest.mark.exec_none
        def test_next():
            runs("curl", by=shell)
        """,
        passed=1,
        failed=1,
    )
    assert ran.rules == ["exec_none() on test_next, test_it.py:9"]


def test_stray_does_not_depend_on_an_xfail(run: Run) -> None:
    source = LEAVES.replace("def test_leaves", "@pytest.mark.xfail\ndef test_leaves").format(
        body="runs('curl', by=shell)"
    )
    ran = run(source, xpassed=1, passed=1, errors=1)
    assert ran.ret == pytest.ExitCode.TESTS_FAILED


# ---- fixtures of wider scope ----

SERVER = """
{mark}
@pytest.fixture(scope="module")
def server():
    runs("server")
    yield
    runs("kill")

def test_a(server): pass
def test_b(server): pass
"""


def test_wider_fixture_is_judged_where_it_was_set_up_and_ended(run: Run) -> None:
    ran = run(SERVER.format(mark="pytestmark = pytest.mark.exec_none"), passed=1, errors=2)
    assert ran.has(
        """
        __ ERROR at setup of test_a __
        nothing may run, but server ran (set-up of fixture 'server' (module))
          rule  exec_none() on the module, test_it.py:4
        -- execs: set-up of fixture 'server' (module) (1, 0 lost) --
          # +ms pid parent argv
        > 1 T P pytest /usr/bin/server
          if this is right: exec_allow('server', phases=('setup', 'call', 'teardown'))
        __ ERROR at teardown of test_b __
        nothing may run, but kill ran (end of fixture 'server' (module))
          rule  exec_none() on the module, test_it.py:4
        """
    )


@pytest.mark.parametrize(
    "mark",
    [
        "exec_budget(0)",  # of the call
        "exec_allow('git')",
        "exec_deny('server', 'kill', phases=('call',))",
        "exec_none(phases=['call'])",
    ],
)
def test_wider_fixture_is_no_call(run: Run, mark: str) -> None:
    run(SERVER.format(mark=f"pytestmark = pytest.mark.{mark}"), passed=2)


def test_wider_fixture_is_not_judged_by_the_rules_of_a_test(run: Run) -> None:
    run(SERVER.format(mark="").replace("def test_a", "@pytest.mark.exec_none\ndef test_a"), passed=2)


def test_a_test_and_its_fixture_both_break_a_rule(run: Run) -> None:
    """Both are told, each with what ran in it."""
    mark = "pytestmark = pytest.mark.exec_none()"
    source = SERVER.format(mark=mark).replace(
        "def test_a(", "@pytest.fixture\ndef own(server): runs('ls')\n\ndef test_a(own, "
    )
    ran = run(source, "-k", "test_a", errors=2)
    assert ran.has(
        "nothing may run, but ls ran (setup phase)\n  rule  exec_none() on the module, test_it.py:4\n"
        "nothing may run, but server ran (set-up of fixture 'server' (module))"
    )
    assert ran.has("== execs: setup phase (1, 0 lost) ==".replace("==", "--"))
    assert ran.has("-- execs: set-up of fixture 'server' (module) (1, 0 lost) --")


def test_budget_of_a_wider_fixture_is_its_own(run: Run) -> None:
    """Its set-up and its end together; and those of a test's phases not with them."""
    mark = "pytestmark = pytest.mark.exec_budget({}, phases=('setup', 'teardown'))"
    ran = run(SERVER.format(mark=mark.format(1)), passed=2, errors=1)
    assert ran.has("exec budget exceeded: 2 execs, at most 1 allowed (set-up and end of fixture 'server' (module))")
    run(SERVER.format(mark=mark.format(2)), passed=2)


def test_wider_fixture_is_judged_by_the_rules_for_the_suite(run: Run) -> None:
    ran = run(SERVER.format(mark=""), "--execprobe-deny=kill", passed=2, errors=1)
    assert ran.has(
        """
        kill must not run, but it ran once (end of fixture 'server' (module))
          rule  --execprobe-deny=kill on the command line
        """
    )


@pytest.mark.parametrize(
    ("scope", "on"), [("class", "on TestIt, test_it.py:6"), ("module", "on the module, test_it.py:4")]
)
def test_rules_of_the_scopes_node_judge_it(run: Run, scope: str, on: str) -> None:
    ran = run(
        f"""
        pytestmark = pytest.mark.exec_none(phases=("setup",))

        @pytest.mark.exec_allow("git", phases=("setup",))
        class TestIt:
            @pytest.fixture(scope="{scope}")
            def server(self):
                runs("server")

            @pytest.mark.exec_allow("server", phases=("setup",))
            def test_it(self, server): pass
        """,
        errors=1,
    )
    assert [rule.partition(") ")[2] for rule in ran.rules] == [on]


def test_fixture_of_a_session_is_judged_by_the_rules_for_the_suite_alone(run: Run) -> None:
    source = SERVER.format(mark="pytestmark = pytest.mark.exec_none").replace('"module"', '"session"')
    run(source, passed=2)
    run(source, "--execprobe-deny=server", passed=1, errors=1)


def test_fixture_that_a_test_asks_for_in_its_call(run: Run) -> None:
    source = SERVER.format(mark="pytestmark = pytest.mark.exec_deny('server')").replace(
        "def test_a(server): pass", "def test_a(request): request.getfixturevalue('server')"
    )
    ran = run(source, failed=1, passed=1)
    assert ran.has(
        "FAILED test_it.py::test_a - server must not run, but it ran once (set-up of fixture 'server' (module))"
    )


def test_what_a_wider_fixture_left_running_counts_for_the_test(run: Run) -> None:
    ran = run(
        """
        @pytest.fixture(scope="module")
        def server():
            return runs("server")

        @pytest.mark.exec_none
        def test_it(server):
            runs("worker", by=server)
        """,
        failed=1,
    )
    assert ran.has("nothing may run, but worker ran (call phase)")


# ---- around the tests ----


@pytest.mark.parametrize(
    ("hook", "where"),
    [
        ("pytest_collection_modifyitems", "collection"),
        ("pytest_runtest_logstart", "outside of tests"),
        ("pytest_runtest_logfinish", "outside of tests"),
        ("pytest_collection_finish", None),
    ],
)
def test_what_runs_around_tests_is_judged_by_what_the_suite_forbids(run: Run, hook: str, where: str | None) -> None:
    conftest = f"from played import runs\ndef {hook}():\n    runs('curl')"
    ran = run("def test_it(): pass", ini="execprobe_deny = curl", conftest=conftest, passed=1, errors=1)
    assert ran.rules == ["execprobe_deny=curl in tox.ini"]
    ran = run("def test_it(): pass", "--execprobe-deny=curl", conftest=conftest, passed=1, errors=1)
    assert "\ncurl must not run, but it ran once (" in ran.text
    assert ran.rules == ["--execprobe-deny=curl on the command line"]
    if where is not None:
        assert ran.has(f"ERROR execprobe::{where} - curl must not run, but it ran once ({where})")
    assert ran.ret == pytest.ExitCode.TESTS_FAILED


@pytest.mark.parametrize("options", [("--execprobe-budget=0",), ("--execprobe-allow=git",)])
def test_nothing_else_judges_it(run: Run, options: tuple[str, ...]) -> None:
    conftest = "from played import runs\ndef pytest_collection_modifyitems(): runs('curl')"
    conftest += "\ndef pytest_runtest_logfinish(): runs('curl')"
    run("pytestmark = pytest.mark.exec_none\ndef test_it(): pass", *options, conftest=conftest, passed=1)


def test_process_that_a_hook_began_counts_for_the_test(run: Run) -> None:
    ran = run(
        """
        import conftest

        @pytest.mark.exec_none
        def test_it(): runs("worker", by=conftest.server)
        """,
        conftest="""
        from played import runs
        server = None
        def pytest_runtest_logstart():
            global server
            server = runs("server")
        """,
        failed=1,
    )
    assert ran.has("nothing may run, but worker ran (call phase)")


# ---- what is ignored ----


def test_ignored_ones_are_in_no_log_and_break_no_rule(run: Run) -> None:
    ran = run(
        """
        @pytest.mark.exec_none
        def test_rule():
            runs("coverage")

        def test_log(execprobe):
            runs("coverage")
            runs("git")
            assert execprobe.programs == ["git"]

        def test_stray():
            global shell
            shell = runs("sh")
            ends(shell)

        def test_last(execprobe):
            runs("coverage", by=shell)
            assert execprobe.strays == ()
        """,
        "--execprobe-ignore=coverage",
        "--execprobe-deny=cov*",
        conftest="from played import runs\ndef pytest_collection_modifyitems(): runs('coverage')",
        passed=4,
    )
    assert ran.has("== execprobe ==\nignored         coverage 4\n")


def test_a_marker_that_forbids_what_is_ignored_is_an_error_of_the_collection(run: Run) -> None:
    source = "@pytest.mark.exec_deny('git', 'curl')\ndef test_it(): runs('curl')"
    ran = run(source, ini="execprobe_ignore = c*l", errors=1)
    assert "curl is forbidden on test_it, test_it.py:3, and execprobe_ignore=c*l has it ignored, so that" in ran.text
    run(source, ini="execprobe_ignore = wget", failed=1)


def test_ignored_ones_are_counted_where_a_rule_is_broken(run: Run) -> None:
    source = "@pytest.mark.exec_none\ndef test_it():\n    runs('git')\n    runs('sh')"
    ran = run(source, ini="execprobe_ignore = sh", failed=1)
    assert ran.has("-- execs: call phase (1, 0 lost, 1 ignored) --")


def test_lost_exec_may_have_been_an_ignored_one(run: Run) -> None:
    source = "@pytest.mark.exec_budget(0)\ndef test_it(): runs('git', lost=True)"
    ran = run(source, failed=1)
    assert ran.has("exec budget exceeded: 1 exec, at most 0 allowed (call phase)")
    ran = run(source, "--execprobe-ignore=sh", errors=1)
    assert ran.has("cannot tell whether at most 0 execs ran: at most 1 exec missing from the log")


# ---- hooks ----


def test_record_hook(run: Run) -> None:
    ran = run(
        """
        @pytest.mark.exec_none
        def test_dropped(): runs("uname")

        @pytest.mark.exec_none
        def test_kept(): runs("git")

        def test_log(execprobe):
            runs("uname")
            assert execprobe.programs == ["uname"]
        """,
        conftest="""
        def pytest_execprobe_record(record, item):
            assert item.name in ("test_dropped", "test_kept")  # no rule, no question
            return False if record.program == "uname" else None
        """,
        passed=2,
        failed=1,
    )
    assert ran.rules == ["exec_none() on test_kept, test_it.py:7"]


def test_first_answer_of_the_record_hook_counts(run: Run) -> None:
    ran = run(
        "@pytest.mark.exec_none\ndef test_it(): runs('git')",
        conftest="""
        import pytest
        @pytest.hookimpl(tryfirst=True)
        def pytest_execprobe_record(record): return True

        class Later:
            def pytest_execprobe_record(self, record): return False

        def pytest_configure(config): config.pluginmanager.register(Later())
        """,
        failed=1,
    )
    assert ran.rules


def test_record_hook_speaks_of_strays_and_totals_have_them_still(run: Run) -> None:
    ran = run(
        LEAVES.format(body="runs('curl', by=shell)"),
        "--execprobe-audit",
        conftest="def pytest_execprobe_record(record): return record.program != 'curl'",
        passed=2,
    )
    assert ran.has("strays of       1  test_it.py::test_leaves: curl 1")


def test_log_hook(run: Run) -> None:
    ran = run(
        """
        @pytest.fixture
        def fixture():
            runs("one")
            yield
            runs("three")

        @pytest.mark.exec_none(phases=["call"])
        def test_it(fixture): runs("two")

        def test_fails(execprobe): assert 0
        """,
        "-s",
        conftest="""
        def pytest_execprobe_log(item, phase, log):
            print("HOOK", item.name, phase, log.programs, log.complete)
        """,
        failed=2,
    )
    assert re.findall(r"HOOK (.*)", ran.text) == [
        "test_it setup ['one'] True",
        "test_it call ['two'] True",
        "test_it teardown ['three'] True",
        "test_fails setup [] True",
        "test_fails call [] True",
        "test_fails teardown [] True",
    ]


# ---- audit, and the budget of the run as a whole ----

SUITE = """
@pytest.fixture(scope="session")
def server():
    runs("server")

def test_release(server):
    runs("git", "fetch")
    runs("git", "tag")
    runs("gpg")

def test_leaves():
    global shell, server_
    shell, server_ = runs("sh"), runs("watch")
    ends(shell)

def test_last():
    runs("sleep", by=shell)
    runs("worker", by=server_)
"""


def test_audit(run: Run, played: Played) -> None:
    conftest = "from played import runs\ndef pytest_collection_modifyitems(): runs('uname')"
    ran = run(SUITE, "--execprobe-audit", conftest=conftest, passed=3)
    assert ran.has(
        """
        == execprobe ==
        recorded        9 execs in 3 tests and around them, 0 lost
        most executed   2  git
                        1  gpg
                        1  server
                        1  sh
                        1  sleep
                        1  uname
                        1  watch
                        1  worker
        most by test    3  test_it.py::test_release: git 2, gpg 1
                        2  test_it.py::test_leaves: sh 1, watch 1
                        1  test_it.py::test_last: worker 1
        besides tests   1  collection: uname 1
                        1  fixture 'server' (session): server 1
        strays of       1  test_it.py::test_leaves: sleep 1
        left running by 1  test_it.py::test_leaves: worker 1
        """
    )
    assert ran.has(
        "execprobe: BCC 0.0 on Linux 0.0; execs by sched_process_exec, their begin by played, failed ones not recorded;"
        " helper played, now none"
    )
    assert ran.ret == pytest.ExitCode.OK
    assert len(played.settings) == 1


def test_audit_by_ini(run: Run) -> None:
    ran = run("def test_it(): runs('git')", ini="execprobe_audit = true", passed=1)
    assert "recorded        1 exec in 1 test and around them, 0 lost" in ran.text


def test_summary_is_silent_without_anything_to_say(run: Run) -> None:
    ran = run("@pytest.mark.exec_budget(1)\ndef test_it(): runs('git')", passed=1)
    assert "== execprobe ==" not in ran.text


@pytest.mark.parametrize(("limit", "ret"), [(9, 0), (8, 1)])
def test_session_budget(run: Run, limit: int, ret: int) -> None:
    conftest = "from played import runs\ndef pytest_collection_modifyitems(): runs('uname')"
    ran = run(SUITE, f"--execprobe-session-budget={limit}", conftest=conftest, passed=3, errors=ret)
    assert f"session budget  9 execs, at most {limit} allowed" in ran.text
    assert ran.ret == ret
    if ret:
        assert ran.has(
            """
            __ ERROR at teardown of the run (session budget) __
            session budget exceeded: 9 execs, at most 8 allowed
              most   git 2, gpg 1, server 1, sh 1, sleep 1, uname 1, watch 1, worker 1
              if this is right: --execprobe-session-budget=9
            """
        )
        assert ran.has("ERROR execprobe::session budget - session budget exceeded: 9 execs, at most 8 allowed")


def test_session_budget_that_can_not_be_decided(run: Run) -> None:
    source = "def test_it():\n    runs('git')\n    breaks('it died')"
    ran = run(source, "--execprobe-session-budget=5", passed=1, errors=1)
    assert ran.has(
        """
        __ ERROR at teardown of the run (session budget) __
        cannot tell whether at most 5 execs ran: what would tell was not recorded
          why   the probe helper was lost: it died. The next test gets a new one
        """
    )
    assert ran.ret == pytest.ExitCode.TESTS_FAILED


@pytest.mark.parametrize("where", ["_add", "_evidence", "_late"])
def test_session_budget_where_an_exception_broke_into_the_sums(
    run: Run, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """A signal's: what had been counted by then, and judged, can't be told from what had not."""
    real = getattr(Strays, where)

    def breaks(*_: object) -> object:
        monkeypatch.setattr(Strays, where, real)
        raise TimeoutError("a signal's handler")

    monkeypatch.setattr(Strays, where, breaks)
    conftest = "from played import runs\ndef pytest_collection_modifyitems(): runs('uname')"
    ran = run("def test_it(): runs('git')", "--execprobe-session-budget=5", conftest=conftest, passed=1, errors=2)
    assert ran.has(
        """
        cannot tell whether at most 5 execs ran: what would tell was not recorded
          why   an exception broke in while the execs of a test were added up
        """
    )


def test_session_budget_where_a_lost_exec_may_be_an_ignored_one(run: Run) -> None:
    options = ("--execprobe-session-budget=0", "--execprobe-ignore=sh")
    ran = run("def test_it(): runs('git', lost=True)", *options, passed=1, errors=1)
    assert "cannot tell whether at most 0 execs ran" in ran.text


# ---- where there can be no probe ----

MIXED = """
def test_plain(): pass

@pytest.mark.exec_none
def test_marked(): pass

def test_uses(execprobe): assert 0
"""
REFUSAL = "execprobe: no BCC. Install it"


def test_auto(run: Run, played: Played) -> None:
    played.refusal = REFUSAL
    ran = run(MIXED, "-rs", passed=2, skipped=1)
    assert ran.has("== execprobe ==\nNOT CHECKED     1 test: execprobe: no BCC. Install it\n")
    assert re.search(r"^SKIPPED .*execprobe: no BCC. Install it$", ran.text, flags=re.M)
    assert ran.has(f"collected 3 items\nexecprobe: no probe: {REFUSAL.removeprefix('execprobe: ')}")
    assert ran.ret == pytest.ExitCode.OK
    assert len(played.settings) == 1


def test_probe_that_another_process_has_kept_away_is_no_reason_to_skip(run: Run, played: Played) -> None:
    """Who could bring that about could have tests pass unchecked."""
    played.refusal, played.obstructed = "execprobe: user 7 has taken its place. Start pytest again", True
    ran = run(MIXED, "-rs", passed=1, errors=4)
    assert "NOT CHECKED" not in ran.text
    assert "SKIPPED" not in ran.text
    assert ran.ret == pytest.ExitCode.TESTS_FAILED
    assert "cannot tell whether nothing ran" in ran.text
    assert "there was no probe: user 7 has taken its place. Start pytest again" in ran.text


def test_junit_says_what_was_not_checked(run: Run, pytester: pytest.Pytester, played: Played) -> None:
    played.refusal = "execprobe: no BCC. Install it"
    run("import pytest\n@pytest.mark.exec_none()\ndef test_it(): pass", "--junit-xml=junit.xml", passed=1)
    written = (pytester.path / "junit.xml").read_text()
    assert '<property name="execprobe_not_checked" value="execprobe: no BCC. Install it"' in written


@pytest.mark.parametrize("option", ["--execprobe-audit", "--execprobe-deny=curl"])
def test_auto_counts_every_test_that_was_to_be_recorded(run: Run, played: Played, option: str) -> None:
    played.refusal = REFUSAL
    ran = run(MIXED, option, "--execprobe=auto", passed=2, skipped=1)
    assert f"NOT CHECKED     3 tests: {REFUSAL}" in ran.text


@pytest.mark.parametrize(
    ("options", "ini"),
    [
        (("--execprobe=require",), ""),
        ((), "execprobe = require"),
        (("--execprobe-deny=curl",), ""),
        ((), "execprobe_budget = 3"),
        (("--execprobe-session-budget=3",), ""),
        (("--execprobe-audit", "--execprobe=require"), ""),
    ],
)
def test_require_ends_the_run_before_any_test(
    run: Run, played: Played, pytester: pytest.Pytester, options: tuple[str, ...], ini: str
) -> None:
    played.refusal = REFUSAL
    ran = run("open('ran', 'w')\ndef test_it(): pass", *options, ini=ini)
    assert ran.ret == pytest.ExitCode.USAGE_ERROR
    assert (
        f"ERROR: {REFUSAL}. The probe is required, by --execprobe=require or by a rule for the whole suite; with"
        " --execprobe=auto the run would go on unchecked"
    ) in ran.result.stderr.str()
    assert not (pytester.path / "ran").exists()


@pytest.mark.parametrize("source", ["def test_it(): runs('git')", "@pytest.mark.exec_none\ndef test_it(): pass"])
def test_require_where_there_is_a_probe(run: Run, played: Played, source: str) -> None:
    run(source, "--execprobe=require", passed=1)
    assert len(played.settings) == 1


def test_off(run: Run, played: Played) -> None:
    ran = run(MIXED, "--execprobe=off", "-rs", passed=2, skipped=1)
    assert played.settings == []
    assert ran.has("== execprobe ==\nNOT CHECKED     1 test: execprobe: switched off by --execprobe=off\n")
    assert re.search(r"^SKIPPED .*execprobe: switched off by --execprobe=off$", ran.text, flags=re.M)
    assert ran.ret == pytest.ExitCode.OK


@pytest.mark.parametrize("option", ["--execprobe-audit", "--execprobe-deny=curl"])
def test_off_with_a_rule_for_the_suite(run: Run, played: Played, option: str) -> None:
    ran = run(MIXED, option, "--execprobe=off", passed=2, skipped=1)
    assert played.settings == []
    assert "NOT CHECKED     3 tests: execprobe: switched off by --execprobe=off" in ran.text


def test_wrong_marker_is_an_error_without_a_probe_too(run: Run) -> None:
    run("@pytest.mark.exec_budget\ndef test_it(): pass", "--execprobe=off", errors=1)


def test_which_settings_the_helper_gets(run: Run, played: Played) -> None:
    run("def test_it(): pass", "--execprobe-audit", "--execprobe-helper=@mine", "--execprobe-attempts=off", passed=1)
    (given,) = played.settings
    assert (given.address, given.attempts) == ("@mine", "off")


def test_nothing_is_collected(run: Run) -> None:
    assert run("", "--execprobe-deny=curl").ret == pytest.ExitCode.NO_TESTS_COLLECTED


# ---- JUnit's file ----


def properties(pytester: pytest.Pytester) -> dict[str, dict[str, str]]:
    """Of each test."""
    cases: dict[str, dict[str, str]] = {}
    for case in ET.parse(pytester.path / "junit.xml").iter("testcase"):
        found = cases.setdefault(case.attrib["name"], {})
        found.update({each.attrib["name"]: each.attrib["value"] for each in case.iter("property")})
    return cases


def test_junit_properties(run: Run, pytester: pytest.Pytester) -> None:
    run(
        """
        @pytest.fixture
        def fixture():
            runs("one")
            yield
            runs("three")

        @pytest.mark.exec_deny("two", phases=("call",))
        def test_breaks(fixture):
            runs("two")
            runs("two")

        @pytest.mark.exec_budget(0)
        def test_exceeds(request):
            request.node.user_properties.append(("own", "kept"))
            runs("git")

        @pytest.mark.exec_budget(5)
        def test_lost(): runs("git", lost=True)

        def test_uses(execprobe): runs("git")

        def test_not_watched(): runs("git")

        def test_unknown(execprobe): breaks("it died")
        """,
        "--junit-xml=junit.xml",
        passed=4,
        failed=2,
        errors=1,  # what was left behind can't be told
    )
    cases = properties(pytester)
    assert cases.pop("outside of tests") == {}
    assert cases == {
        "test_breaks": {"execprobe_execs": "4", "execprobe_lost": "0", "execprobe_unexpected": "two"},
        "test_exceeds": {"own": "kept", "execprobe_execs": "1", "execprobe_lost": "0"},
        "test_lost": {"execprobe_execs": "0", "execprobe_lost": "1"},
        "test_uses": {"execprobe_execs": "1", "execprobe_lost": "0"},
        "test_not_watched": {},
        "test_unknown": {"execprobe_execs": "0", "execprobe_lost": "unknown"},
    }


def test_junit_has_what_was_found_at_the_end(run: Run, pytester: pytest.Pytester) -> None:
    run(LEAVES.format(body="runs('curl', by=shell)"), "--junit-xml=junit.xml", passed=2, errors=1)
    root = ET.parse(pytester.path / "junit.xml")
    (error,) = root.iter("error")
    assert "curl must not run, but it ran once (left behind)" in error.attrib["message"]
    assert "rule  exec_deny('curl') on test_leaves" in (error.text or "")
    suite = next(root.iter("testsuite"))
    assert (suite.attrib["errors"], suite.attrib["failures"]) == ("1", "0")


def test_junit_with_an_audit_has_every_test(run: Run, pytester: pytest.Pytester) -> None:
    run("def test_it(): runs('git')", "--execprobe-audit", "--junit-xml=junit.xml", passed=1)
    assert properties(pytester)["test_it"] == {"execprobe_execs": "1", "execprobe_lost": "0"}


# ---- what is told when a phase is over ----

MEANWHILE = """
import pytest
from played import runs, ends, meanwhile

@pytest.mark.{mark}
def test_it():
    shell = runs("sh")
    ends(shell)
    meanwhile(lambda: runs("ls", by=shell))  # the call is over then, and the teardown has not begun

def test_next(): pass
"""


@pytest.mark.parametrize(
    ("mark", "said"),
    [
        ("exec_deny('ls')", "ls must not run, but it ran once (teardown phase)"),
        # It was begun in the call, so the call's rules speak of it wherever it runs.
        ("exec_deny('ls', phases=('call',))", "ls must not run, but it ran once (left running until teardown)"),
        ("exec_allow('sh')", "unexpected program: ls ran, and only sh may (left running until teardown)"),
        (
            "exec_budget(1)",
            "exec budget exceeded: 2 execs, at most 1 allowed (call phase, and left running until teardown)",
        ),
    ],
)
def test_exec_between_two_phases_escapes_nobody(run: Run, mark: str, said: str) -> None:
    ran = run(MEANWHILE.format(mark=mark), passed=2, errors=1)
    assert ran.text.partition("== short test summary")[0].count(said) == 1


@pytest.mark.parametrize("mark", ["exec_deny('ls', phases=('setup',))", "exec_allow('sh', 'ls')", "exec_budget(2)"])
def test_exec_between_two_phases_breaks_no_other_rule(run: Run, mark: str) -> None:
    run(MEANWHILE.format(mark=mark), passed=2)


def test_exec_after_the_last_phase_is_a_stray(run: Run) -> None:
    """Even if it is told of while that phase is being judged."""
    source = """
    import pytest
    from played import runs, ends, meanwhile

    @pytest.fixture
    def last():
        yield
        shell = runs("sh")
        ends(shell)
        meanwhile(lambda: runs("ls", by=shell))

    @pytest.mark.exec_deny("ls")
    def test_it(last): pass
    """
    ran = run(source, passed=1, errors=1)
    assert ran.has("ls must not run, but it ran once (left behind)")


def test_breach_of_a_test_that_ends_the_run_is_told(pytester: pytest.Pytester, played: Played) -> None:
    assert played.refusal is None
    pytester.makepyfile(
        test_it="""
        import pytest
        from played import runs

        @pytest.mark.exec_none()
        def test_it():
            runs("curl")
            pytest.exit("enough", returncode=0)
        """
    )
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    assert result.ret != pytest.ExitCode.OK
    assert "nothing may run, but curl ran (call phase)" in result.stdout.str()


def test_mark_added_by_a_wider_fixture(run: Run) -> None:
    source = """
    import pytest
    from played import runs

    @pytest.fixture(scope="module", autouse=True)
    def rule(request):
        request.node.add_marker(pytest.mark.exec_deny("curl"))

    @pytest.mark.exec_budget(1)
    def test_first(): runs("curl")

    def test_second(): runs("curl")
    """
    run(source, failed=2)


@pytest.mark.parametrize("raised", ["ValueError('no')", "pytest.skip.Exception('no')"])
def test_record_hook_that_fails_leaves_the_rule_undecided(run: Run, pytester: pytest.Pytester, raised: str) -> None:
    pytester.makeconftest(f"import pytest\ndef pytest_execprobe_record(record, item): raise {raised}")
    source = """
    import pytest
    from played import runs

    @pytest.mark.xfail
    @pytest.mark.exec_deny("curl")
    def test_it(): runs("git")
    """
    ran = run(source, errors=1)
    assert "why   the hook pytest_execprobe_record has failed: " in ran.text


def test_patched_getpid_is_no_fork(run: Run) -> None:
    source = """
    import os, pytest
    from played import runs

    @pytest.mark.exec_budget(1)
    def test_it(monkeypatch):
        monkeypatch.setattr(os, "getpid", lambda: 1)
        runs("git")
    """
    run(source, passed=1)


def test_ignored_is_what_is_so_by_its_own_file(run: Run) -> None:
    """As with allow: ignoring an interpreter ignores no script, and a link in an ignored folder nothing."""
    source = """
    import pytest
    from played import runs

    @pytest.mark.exec_none()
    def test_it(): runs("git")
    """
    run(source, "--execprobe-ignore=/usr/bin/git", passed=1)
    run(source, "--execprobe-ignore=/opt/git", failed=1)

"""What rules make of a test's own outcome, and what JUnit's file has."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

import pytest
from suites import LEAVES

if TYPE_CHECKING:
    from conftest import Played
    from suites import Run


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
          if this is right: @pytest.mark.exec_allow('git', phases=('setup', 'call', 'teardown')) on test_it, test_it.py:4
        == execprobe ==
        to allow it     on test_it, test_it.py:4:
        @pytest.mark.exec_allow('git', phases=('setup', 'call', 'teardown'))
        == short test summary info ==
        FAILED test_it.py::test_it - assert 1 == 2
        """  # noqa: E501
    )


@pytest.mark.parametrize("body", ["raise ValueError('own')", "pytest.fail('own')", "raise KeyError('own') from None"])
def test_so_does_any_exception(run: Run, body: str) -> None:
    ran = run(f"@pytest.mark.exec_none\ndef test_it():\n    runs('git')\n    {body}", failed=1)
    assert re.search(r"^FAILED test_it.py::test_it - .*own", ran.text, flags=re.M)
    assert ran.rules == ["exec_none() on test_it, test_it.py:3"]


def test_an_xfail_that_expects_a_breach_does_not_excuse_what_is_undecided_beside_it(run: Run) -> None:
    ran = run(
        """
        @pytest.mark.xfail
        @pytest.mark.exec_budget(0)
        @pytest.mark.exec_deny("curl")
        def test_it():
            runs("git")
            runs("git", lost=True)
        """,
        errors=1,
    )
    where = "exec_deny('curl') on test_it, test_it.py:6"
    assert ran.has(f"cannot tell whether curl ran: 1 exec missing from the log\n  rule  {where}")
    assert ran.has("exec budget exceeded: 2 execs, at most 0 allowed (call phase)")
    assert ran.ret == 1


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
        @pytest.mark.xfail(raises=(AssertionError, ValueError))
        @pytest.mark.exec_none
        def test_raises():
            runs("git")
            raise ValueError

        @pytest.mark.xfail(raises=ValueError)
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


@pytest.mark.parametrize(
    ("marks", "failed"),
    [
        ("@pytest.mark.xfail(raises=ValueError)", True),
        ("@pytest.mark.xfail(False, reason='why')\n@pytest.mark.xfail(raises=ValueError)", True),
        ("@pytest.mark.xfail(reason='why')\n@pytest.mark.xfail(False, reason='', raises=ValueError)", False),
        ("@pytest.mark.xfail('True', reason='why')", False),
        ("@pytest.mark.xfail('False')\n@pytest.mark.xfail('True', raises=ValueError)", True),
        ("@pytest.mark.xfail(condition=False, reason='x')\n@pytest.mark.xfail(raises=(OSError, ValueError))", True),
    ],
)
def test_an_xfail_of_another_kind_does_not_expect_a_breach(run: Run, marks: str, failed: bool) -> None:
    """Also where the test fails as it was expected to."""
    source = f"{marks}\n@pytest.mark.exec_none\ndef test_it():\n    runs('git')\n    raise ValueError"
    ran = run(source, **{"failed" if failed else "xfailed": 1})
    assert ("FAILED test_it.py::test_it - nothing may run, but git ran (call phase)" in ran.text) is failed


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


def test_breach_of_a_test_that_ends_the_run_is_reported(run: Run) -> None:
    ran = run("""
        @pytest.mark.exec_none()
        def test_it():
            runs("curl")
            pytest.exit("enough", returncode=0)
        """)
    assert ran.ret != pytest.ExitCode.OK
    assert "nothing may run, but curl ran (call phase)" in ran.text

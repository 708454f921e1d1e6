"""unittest.TestCase, whose outcomes do not come to pytest as exceptions."""

from __future__ import annotations

import pytest
from inner import LOST, Inner, needs, pytest_version

PLAIN = """
import subprocess, unittest

class Test(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        subprocess.run(["true"])

    def setUp(self):
        subprocess.run(["true"])

    def test_passes(self):
        pass

    def test_fails(self):
        self.assertEqual(1, 2)

    @unittest.skip("so")
    def test_skipped(self):
        pass

    @unittest.expectedFailure
    def test_expected(self):
        self.assertEqual(1, 2)

    @unittest.expectedFailure
    def test_unexpected(self):
        pass

    def test_skips(self):
        self.skipTest("in the middle")

    def test_error(self):
        raise KeyError("so")

@unittest.skip("all of it")
class Skipped(unittest.TestCase):
    def test(self):
        pass

class NotSetUp(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        raise unittest.SkipTest("so")

    def test(self):
        pass

class Asynchronous(unittest.IsolatedAsyncioTestCase):
    async def test(self):
        subprocess.run(["true"])
"""


def test_outcomes_stay(inner: Inner) -> None:
    inner.suite(test_it=PLAIN)
    run = inner.as_without("--execprobe-budget=1", "--execprobe-audit")
    assert run.outcomes["Test::test_expected"] == ["xfailed"]
    assert "setUpClass of Test: true 1" in run.summary()


RULES = """
import subprocess, unittest, pytest

@pytest.mark.exec_none
class Test(unittest.TestCase):
    def test_passes(self):
        subprocess.run(["true"])

    def test_fails(self):
        subprocess.run(["true"])
        self.assertEqual(1, 2)

    @unittest.expectedFailure
    def test_expected(self):
        subprocess.run(["true"])
        self.assertEqual(1, 2)

    @unittest.expectedFailure
    def test_unexpected(self):
        subprocess.run(["true"])

    def test_skips(self):
        subprocess.run(["true"])
        self.skipTest("after that")

    def test_keeps(self):
        pass

    def test_keeps_and_skips(self):
        self.skipTest("at once")

@pytest.mark.exec_budget(1)
class Asynchronous(unittest.IsolatedAsyncioTestCase):
    async def test_breaks(self):
        subprocess.run(["true"])
        subprocess.run(["true"])

    async def test_keeps(self):
        subprocess.run(["true"])
"""


def test_rules(inner: Inner) -> None:
    inner.suite(test_it=RULES)
    run = inner.run()
    assert run.outcomes == {
        "Test::test_passes": ["failed"],
        "Test::test_fails": ["failed"],
        "Test::test_expected": ["xfailed"],
        "Test::test_unexpected": ["failed"],
        "Test::test_skips": ["failed"],
        "Test::test_keeps": ["passed"],
        "Test::test_keeps_and_skips": ["skipped"],
        "Asynchronous::test_breaks": ["failed"],
        "Asynchronous::test_keeps": ["passed"],
    }
    for name in ("test_passes", "test_skips"):
        assert "nothing may run, but true ran" in run.text(f"Test::{name}")
    own = run.report("Test::test_fails", "failed")
    assert "AssertionError: 1 != 2" in own.text
    assert "nothing may run" in own.sections[0][1]
    assert "Unexpected success" in run.text("Test::test_unexpected")
    assert "Test::test_expected: nothing may run, but true ran" in run.summary()


def test_set_up_of_a_class_and_a_module(inner: Inner) -> None:
    inner.suite(
        test_class="""
        import subprocess, unittest, pytest

        @pytest.mark.exec_deny("uname")
        class Test(unittest.TestCase):
            @classmethod
            def setUpClass(cls):
                subprocess.run(["uname"])

            @classmethod
            def tearDownClass(cls):
                subprocess.run(["uname"])

            def test_first(self):
                pass

            def test_middle(self):
                pass

            def test_zlast(self):
                pass
        """,
        test_module="""
        import subprocess, unittest, pytest

        pytestmark = pytest.mark.exec_deny("uname")

        def setUpModule():
            subprocess.run(["uname"])

        class Test(unittest.TestCase):
            def test_a(self):
                pass

            def test_b(self):
                pass
        """,
    )
    run = inner.run("test_class.py")
    assert run.outcomes == {
        "Test::test_first": ["error"],
        "Test::test_middle": ["passed"],
        "Test::test_zlast": ["passed", "error"],
    }
    assert "uname must not run, but it ran once (set-up of setUpClass of Test)" in run.text("Test::test_first", "error")
    assert "uname must not run, but it ran once (end of setUpClass of Test)" in run.text("Test::test_zlast", "error")
    run = inner.run("test_module.py")
    assert run.outcomes == {"Test::test_a": ["error"], "Test::test_b": ["passed"]}


@pytest.mark.parametrize("end", ["pass", "self.skipTest('so')"])
def test_what_is_unknown_is_an_error(inner: Inner, end: str) -> None:
    inner.suite(
        test_it=f"""
        import unittest, pytest
        from lose import lose_helper

        class Test(unittest.TestCase):
            @pytest.fixture(autouse=True)
            def take(self, execprobe, request):
                self.config, self.execprobe = request.config, execprobe

            @pytest.mark.exec_none(phases=("call",))
            def test_rule(self):
                lose_helper(self.config)
                {end}

            @unittest.expectedFailure
            def test_check(self):
                lose_helper(self.config)
                self.execprobe.assert_not_ran("curl")

            def test_next(self):
                self.execprobe.assert_nothing_ran()
        """
    )
    run = inner.run()
    assert run.outcomes == {
        "Test::test_rule": ["error"],
        "Test::test_check": ["error"],
        "Test::test_next": ["passed"],
        **LOST,
    }
    assert run.ret == pytest.ExitCode.TESTS_FAILED


SUBTESTS = """
import subprocess, unittest, pytest

class Test(unittest.TestCase):
    @pytest.mark.exec_budget(2)
    def test_breaks(self):
        for n in range(3):
            with self.subTest(n=n):
                subprocess.run(["true"])

    @pytest.mark.exec_budget(3)
    def test_keeps(self):
        for n in range(3):
            with self.subTest(n=n):
                subprocess.run(["true"])

    @pytest.mark.exec_none
    def test_both(self):
        with self.subTest("fails"):
            subprocess.run(["true"])
            self.assertEqual(1, 2)
"""


@pytest.mark.skipif(pytest_version() < (9, 0) and needs("pytest_subtests").args[0], reason="there are no subtests")
def test_subtests(inner: Inner) -> None:
    plugins = () if pytest_version() >= (9, 0) else ("pytest_subtests.plugin",)
    inner.suite(test_it=SUBTESTS)
    inner.as_without("--execprobe-audit", "-k", "keeps", plugins=plugins)
    run = inner.run(plugins=plugins)
    assert run.outcomes["Test::test_breaks"][-1] == "failed"
    assert "exec budget exceeded: 3 execs, at most 2 allowed" in run.text("Test::test_breaks")
    assert "failed" not in "".join(run.outcomes["Test::test_keeps"])
    told = [r for r in run.reports if r.nodeid.endswith("test_both") and r.category]
    assert any("1 != 2" in report.text for report in told)
    assert any("nothing may run, but true ran" in report.text + str(report.sections) for report in told)

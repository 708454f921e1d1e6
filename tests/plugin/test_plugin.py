"""How the plugin fits into a run of pytest: phases, outcomes, options, and what it does when no test uses it."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Played


def run(pytester: pytest.Pytester, source: str, *options: str, **outcomes: int) -> pytest.RunResult:
    pytester.makepyfile(test_it=source)
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", *options)
    result.assert_outcomes(**outcomes)
    return result


def test_no_test_uses_it(pytester: pytest.Pytester, played: Played) -> None:
    run(pytester, "def test(request): assert not request.config.pluginmanager.has_plugin('execprobe-armed')", passed=1)
    assert played.settings == []


def test_phases(pytester: pytest.Pytester, played: Played) -> None:
    run(
        pytester,
        """
        import pytest
        from played import runs

        @pytest.fixture
        def before():
            runs("one")

        @pytest.fixture
        def reads(execprobe):
            runs("two")
            assert execprobe.programs == ["one", "two"]     # the set-up so far
            with pytest.raises(RuntimeError, match="call has not begun"):
                execprobe.call
            yield
            runs("five")
            assert execprobe.programs == ["three", "four"]  # the call
            assert execprobe.teardown.programs == ["five"]

        def test_uses(before, reads, execprobe, after):
            runs("three")
            assert execprobe.programs == ["three"]
            runs("four")
            assert execprobe.call.programs == execprobe.programs == ["three", "four"]
            assert execprobe.setup.programs == ["one", "two", "late"]
            assert [record.phase for record in execprobe.setup.records] == ["setup"] * 3
            assert {record.begun_by for record in execprobe.records} == {"test_it.py::test_uses"}
            with pytest.raises(RuntimeError, match="teardown has not begun"):
                execprobe.teardown

        @pytest.fixture
        def after(reads):
            runs("late")

        def test_next(execprobe):
            execprobe.assert_nothing_ran()
        """,
        passed=2,
    )
    assert len(played.settings) == 1


def test_the_fixture_is_overridden_by_plugins_and_conftests(pytester: pytest.Pytester, played: Played) -> None:
    override = """
        import pytest

        @pytest.fixture
        def execprobe(execprobe, request):
            request.node.user_properties.append(("overridden by", "{}"))
            return execprobe
        """
    pytester.syspathinsert()
    pytester.makepyfile(plugin=override.format("plugin"))
    pytester.makeconftest('pytest_plugins = ["plugin"]\n' + textwrap.dedent(override.format("conftest")))
    run(
        pytester,
        """
        def test(execprobe, request):
            execprobe.assert_nothing_ran()
            assert [by for _, by in request.node.user_properties] == ["plugin", "conftest"]
        """,
        passed=1,
    )
    assert len(played.settings) == 1


def test_asked_for_in_the_middle(pytester: pytest.Pytester, played: Played) -> None:
    """What ran in the call before it was asked for was not recorded."""
    run(
        pytester,
        """
        import pytest
        from pytest_execprobe import IncompleteLogError

        def test_uses(request):
            execprobe = request.getfixturevalue("execprobe")
            from played import runs
            runs("git")
            execprobe.assert_ran("git")
            with pytest.raises(IncompleteLogError, match="name execprobe in the test's"):
                execprobe.assert_not_ran("curl")
            with execprobe.watch() as log:
                runs("gpg")
            assert log.programs == ["gpg"]
        """,
        passed=1,
    )
    assert len(played.settings) == 1


def test_unittest(pytester: pytest.Pytester, played: Played) -> None:
    run(
        pytester,
        """
        import unittest, pytest
        from played import runs

        class Test(unittest.TestCase):
            @pytest.fixture(autouse=True)
            def take(self, execprobe):
                self.execprobe = execprobe

            def setUp(self):
                runs("git")

            def test_uses(self):
                runs("gpg")
                assert self.execprobe.programs == ["git", "gpg"]
        """,
        passed=1,
    )
    assert len(played.sources) == 1


XFAILS = """
import pytest
from played import runs, breaks

{mark}
def test_uses(execprobe):
    runs("git")
    execprobe.assert_ran("git")
    breaks("it died")
    {check}
"""


@pytest.mark.parametrize(
    "mark",
    [
        "@pytest.mark.xfail",
        "@pytest.mark.xfail(strict=True)",
        "@pytest.mark.xfail(raises=Exception)",
        "@pytest.mark.xfail(run=True, reason='flaky')",
    ],
)
def test_an_xfail_hides_nothing_unknown(pytester: pytest.Pytester, played: Played, mark: str) -> None:
    result = run(pytester, XFAILS.format(mark=mark, check="execprobe.assert_not_ran('curl')"), errors=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert played.sources


def test_an_xfail_takes_what_certainly_fails(pytester: pytest.Pytester, played: Played) -> None:
    mark = "@pytest.mark.xfail(raises=AssertionError)"
    run(pytester, XFAILS.format(mark=mark, check="execprobe.assert_not_ran('git')"), xfailed=1)
    assert played.sources


@pytest.mark.parametrize(
    "check",
    [
        "with pytest.raises(AssertionError): execprobe.assert_not_ran('curl')",
        "try: execprobe.assert_not_ran('curl')\n    except Exception as error: raise AssertionError from error",
        "try: execprobe.assert_not_ran('curl')\n    finally: assert False",
    ],
)
def test_nor_does_another_exception_around_it(pytester: pytest.Pytester, played: Played, check: str) -> None:
    run(pytester, XFAILS.format(mark="@pytest.mark.xfail", check=check), errors=1)
    assert played.sources


def test_the_next_test_gets_a_new_source(pytester: pytest.Pytester, played: Played) -> None:
    run(
        pytester,
        """
        from played import runs, breaks

        def test_one(execprobe):
            runs("git")
            breaks("it died")
            assert execprobe.lost is None

        def test_two(execprobe):
            runs("gpg")
            assert execprobe.programs == ["gpg"]
        """,
        passed=2,
    )
    assert len(played.sources) == 2


def test_skipped_with_the_reason(pytester: pytest.Pytester, played: Played) -> None:
    played.refusal = "execprobe: no BCC. Install it"
    result = run(
        pytester,
        "def test_uses(execprobe): assert False\ndef test_too(execprobe): assert False\ndef test_not(): pass",
        "-rs",
        passed=1,
        skipped=2,
    )
    result.stdout.fnmatch_lines(["SKIPPED *execprobe: no BCC. Install it"])
    assert len(played.settings) == 1  # not tried again for each test


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--execprobe-attempts=maybe", "one of auto, kprobe, tracepoint, seccomp, off, not 'maybe'"),
        ("--execprobe-buffer-pages=3", "a power of two, not '3'"),
        ("--execprobe-buffer-pages=many", "a power of two, not 'many'"),
        ("--execprobe-timeout=0", "a number of seconds up to 3600, not '0'"),
        ("--execprobe-timeout=soon", "a number of seconds up to 3600, not 'soon'"),
    ],
)
def test_a_wrong_option_is_a_usage_error(pytester: pytest.Pytester, option: str, message: str) -> None:
    pytester.makepyfile("def test(): pass")
    result = pytester.runpytest_inprocess(option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert message in result.stderr.str()


def test_options_come_from_the_ini_file_too(pytester: pytest.Pytester, played: Played) -> None:
    pytester.makeini(
        "[pytest]\nexecprobe_python = /opt/python\nexecprobe_attempts = off\nexecprobe_buffer_pages = 64\n"
    )
    run(pytester, "def test(execprobe): pass", passed=1)
    run(pytester, "def test(execprobe): pass", "--execprobe-buffer-pages=8", passed=1)
    first, second = played.settings
    assert (first.python, first.attempts, first.pages) == ("/opt/python", "off", 64)
    assert (second.python, second.attempts, second.pages) == ("/opt/python", "off", 8)


@pytest.mark.parametrize(("body", "route"), [("execprobe.attempts", "always"), ("execprobe.records", "auto")])
def test_attempts_are_asked_for_where_tests_read_them(
    pytester: pytest.Pytester, played: Played, body: str, route: str
) -> None:
    run(pytester, f"def test(execprobe): {body}", passed=1)
    assert played.settings[0].attempts == route


def test_attempts_are_looked_for_before_the_collection_too(pytester: pytest.Pytester, played: Played) -> None:
    """Where every test is recorded, in the files that are going to be collected."""
    for folder, body in (("one", "execprobe.attempts"), ("two", "execprobe.records"), ("build", "execprobe.attempts")):
        pytester.mkdir(folder).joinpath(f"test_{folder}.py").write_text(f"def test(execprobe): {body}")
    for args in (["one/test_one.py::test"], ["two"], ["two", "one"]):
        assert pytester.runpytest_inprocess("--execprobe-audit", *args).ret == 0
    run(pytester, "def test(): pass", "--execprobe-audit", "two", "test_it.py", passed=2)
    assert [settings.attempts for settings in played.settings] == ["always", "auto", "always", "auto"]


def test_fixtures_wider_than_a_test(pytester: pytest.Pytester, played: Played) -> None:
    run(
        pytester,
        """
        import pytest
        from played import runs

        @pytest.fixture(scope="module")
        def server():
            return runs("server")

        def test_one(execprobe, server):
            execprobe.setup.assert_nothing_ran()
            runs("worker", by=server)
            assert execprobe.programs == ["worker"]
            assert execprobe.records[0].parent.program == "server"

        def test_two(execprobe, server):
            runs("worker", by=server)
            assert execprobe.programs == ["worker"]
            assert execprobe.records[0].begun_by == "fixture 'server' (module)"
        """,
        passed=2,
    )
    assert len(played.sources) == 1


def test_a_faked_clock_is_not_used(pytester: pytest.Pytester, played: Played) -> None:
    run(
        pytester,
        """
        import time, pytest
        from unittest import mock
        from played import runs

        @pytest.fixture
        def frozen():
            with mock.patch("time.monotonic_ns", return_value=0), mock.patch("time.monotonic", return_value=0.0):
                yield

        def test_frozen(frozen, execprobe):
            with execprobe.watch() as log:
                runs("git")
            assert log.programs == execprobe.programs == ["git"]

        def test_next(execprobe):
            runs("gpg")
            assert execprobe.programs == ["gpg"]
        """,
        passed=2,
    )
    assert len(played.sources) == 1


@pytest.mark.parametrize(
    ("watched", "warning"),
    [
        ("execprobe.watch(at_most=0)", "watches nothing unless it is entered"),
        ("execprobe.watch(at_most=0).__enter__()", "checks no limit unless its block is left"),
        ("execprobe.watch().__enter__()", None),
    ],
)
def test_a_watch_that_is_not_entered_or_not_left_warns(
    pytester: pytest.Pytester, played: Played, watched: str, warning: str | None
) -> None:
    result = run(pytester, f"def test(execprobe): {watched}", "-Wdefault", passed=1)
    found = [line for line in result.outlines if "UserWarning" in line]
    assert (f"watch() {warning}:" in found[0]) if warning else not found
    assert played.sources


def test_a_row_says_who_began_what_is_shared(pytester: pytest.Pytester, played: Played) -> None:
    result = run(
        pytester,
        """
        from played import runs

        def test_leaves(execprobe):
            global shell
            shell = runs("sh")

        def test_sees(execprobe):
            runs("sleep", "1", by=shell)
            execprobe.assert_nothing_ran()
        """,
        passed=1,
        failed=1,
    )
    result.stdout.fnmatch_lines(["E *> 1 * sh * /usr/bin/sleep 1  (begun by test_it.py::test_leaves)"])
    assert played.sources

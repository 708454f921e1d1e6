"""Fixtures of wider scope in whole runs, and what runs around tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from suites import Run


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
          if this is right: pytestmark = pytest.mark.exec_allow('server', phases=('setup', 'call', 'teardown')) on the module, test_it.py:4
        __ ERROR at teardown of test_b __
        nothing may run, but kill ran (end of fixture 'server' (module))
          rule  exec_none() on the module, test_it.py:4
        """  # noqa: E501
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
    """Both are reported, each with what ran in it."""
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

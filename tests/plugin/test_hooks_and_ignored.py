"""What does not count for rules: by the hooks, and by --execprobe-ignore."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from suites import LEAVES

from pytest_execprobe.log.patterns import compile_pattern
from pytest_execprobe.session.suite import ignored_in_vain

if TYPE_CHECKING:
    from suites import Run


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


@pytest.mark.parametrize("how", ["pytest_collection_modifyitems(items)", "pytest_itemcollected(item)"])
def test_one_that_was_added_is_an_error_of_its_test(run: Run, how: str) -> None:
    item = "items[0]" if "items" in how else "item"
    add = f"import pytest\ndef {how}: {item}.add_marker(pytest.mark.exec_deny('curl'))"
    ran = run("def test_it(): runs('curl')", ini="execprobe_ignore = c*l", conftest=add, errors=1)
    assert "curl is forbidden added to test_it, conftest.py:2, and execprobe_ignore=c*l has it ignored" in ran.text


def test_one_that_is_added_in_the_call_fails_it(run: Run) -> None:
    source = "def test_it(request):\n    request.node.add_marker(pytest.mark.exec_deny('curl'))\n    runs('curl')"
    ran = run(source, "--execprobe-audit", ini="execprobe_ignore = c*l", errors=1)
    assert "curl is forbidden added to test_it in the call phase" in ran.text


@pytest.mark.parametrize(
    ("forbidden", "ignored", "in_vain"),
    [
        ("curl", "argv:curl", True),
        ("argv:curl -O", "c*l", True),
        ("/usr/bin/curl", "subtree:curl", True),
        ("argv:/usr/bin/curl -O", "subtree:argv:curl", True),
        ("curl", "argv:curl -O", False),
        ("curl", "/usr/bin/curl", False),
        ("curl", "re:curl", False),
        ("subtree:curl", "curl", False),  # what that executes is forbidden, too
        ("/usr/bin/*", "curl", False),
        ("re:curl", "curl", False),
        ("re:curl", "**", True),
        (re.compile("curl .*"), "re:curl .*", True),
        ("re:curl .*", "re:(?-s:curl .*)", False),
        ("re:curl", "subtree:*/*", True),
        ("re:curl", "/*", True),
        ("re:curl", "/opt/*", False),
    ],
)
def test_what_is_forbidden_in_vain(forbidden: str | re.Pattern[str], ignored: str, in_vain: bool) -> None:
    found = ignored_in_vain([(compile_pattern(forbidden), "here")], [(compile_pattern(ignored), f"ignore={ignored}")])
    assert len([*found]) == in_vain


def test_who_ignores_all_limits_nothing(run: Run) -> None:
    ran = run("@pytest.mark.exec_none\ndef test_it(): runs('git')", "--execprobe-ignore=*")
    assert ran.ret == pytest.ExitCode.USAGE_ERROR
    assert "--execprobe-ignore=* ignores every program, so that no rule limits anything" in ran.result.stderr.str()


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


def test_ignored_is_what_is_so_by_its_own_file(run: Run) -> None:
    """As with allow: ignoring an interpreter ignores no script, and a link in an ignored folder nothing."""
    source = """
    @pytest.mark.exec_none()
    def test_it(): runs("git")
    """
    run(source, "--execprobe-ignore=/usr/bin/git", passed=1)
    run(source, "--execprobe-ignore=/opt/git", failed=1)


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


def test_record_hook_applies_to_strays_and_totals_have_them_still(run: Run) -> None:
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


@pytest.mark.parametrize(("when", "outcomes"), [("call", {"failed": 1}), ("teardown", {"passed": 1, "errors": 1})])
@pytest.mark.parametrize("more", ["", "; raise KeyError"])
def test_marks_that_the_log_hook_adds_count(run: Run, when: str, more: str, outcomes: dict[str, int]) -> None:
    """Also those of the last phase, and of a hook that fails."""
    ran = run(
        """
        @pytest.mark.exec_budget(9)
        def test_it(): runs("git")
        """,
        conftest=f"""
        import pytest
        def pytest_execprobe_log(item, phase, log):
            if phase == "{when}": item.add_marker(pytest.mark.exec_none()){more}
        """,
        **outcomes,
    )
    assert "nothing may run, but git ran" in ran.text


@pytest.mark.parametrize("raised", ["ValueError('no')", "pytest.skip.Exception('no')"])
def test_record_hook_that_fails_leaves_the_rule_undecided(run: Run, pytester: pytest.Pytester, raised: str) -> None:
    pytester.makeconftest(f"import pytest\ndef pytest_execprobe_record(record, item): raise {raised}")
    source = """
    @pytest.mark.xfail
    @pytest.mark.exec_deny("curl")
    def test_it(): runs("git")
    """
    ran = run(source, errors=1)
    assert "why   the hook pytest_execprobe_record has failed: " in ran.text

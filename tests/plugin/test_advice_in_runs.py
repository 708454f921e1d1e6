"""Advice in the form of the place where a rule stands, and what the end of a run has to paste."""

from __future__ import annotations

from textwrap import dedent

import pytest
from suites import Run

BREAKS = """
def test_a(): runs("svnadmin")
def test_b(): runs("svn"); runs("svnadmin")
"""


def test_a_rule_in_a_file(run: Run) -> None:
    ran = run(BREAKS, ini="execprobe_allow = git", failed=2)
    assert "\n  if this is right: add to execprobe_allow in tox.ini: svn, svnadmin\n" in ran.text
    assert ran.has(
        """
        == execprobe ==
        to allow it     add to execprobe_allow in tox.ini:
            svnadmin
            svn
        == short test summary info ==
        """
    )


def test_what_is_pasted_is_right(run: Run, pytester: pytest.Pytester) -> None:
    for ini in ("execprobe_allow =\n    git", "execprobe_allow ="):
        lines = run(BREAKS, ini=ini, failed=2).text.partition("tox.ini:\n")[2].partition("==")[0]
        run(BREAKS, ini=f"{ini}\n{lines}", passed=2)
    pytester.path.joinpath("tox.ini").unlink()
    for table in ("tool.pytest.ini_options", "tool.pytest") if pytest.version_tuple >= (9,) else ():
        for before in ("", '    "git",\n'):
            config = f"[{table}]\nexecprobe_allow = [\n{before}{{}}]\n"
            pytester.makepyprojecttoml(config.format(""))
            text = pytester.runpytest_inprocess("-p", "no:cacheprovider").stdout.str()
            lines = text.partition("add to execprobe_allow in pyproject.toml:\n")[2].partition("==")[0]
            pytester.makepyprojecttoml(config.format(lines))
            pytester.runpytest_inprocess("-p", "no:cacheprovider").assert_outcomes(passed=2)


def test_the_file_is_named_from_where_pytest_was_started(run: Run, pytester: pytest.Pytester) -> None:
    """A project can have several of one name, and which one counts depends on what pytest is given."""
    pytester.makepyprojecttoml("[project]\nname = 'a'\n")
    folder = pytester.mkdir("tests")
    run(BREAKS, ini="execprobe_allow = git", failed=2)
    pytester.path.joinpath("test_it.py").rename(folder / "test_it.py")
    pytester.path.joinpath("tox.ini").rename(folder / "tox.ini")
    text = pytester.runpytest_inprocess("-p", "no:cacheprovider", "tests").stdout.str()
    assert "  rule  execprobe_allow=git in tests/tox.ini\n" in text
    assert "\nto allow it     add to execprobe_allow in tests/tox.ini:\n" in text
    folder.joinpath("tox.ini").write_text("[pytest]\n")
    text = pytester.runpytest_inprocess("-p", "no:cacheprovider", "--execprobe-audit", "tests").stdout.str()
    assert "\nas a rule       in tests/tox.ini, under [pytest]:\n" in text


@pytest.mark.parametrize("quiet", ["-q", "-qq"])
def test_advice_is_kept_where_little_is_written(run: Run, quiet: str) -> None:
    ran = run(BREAKS, quiet, ini="execprobe_allow = git")
    assert "\n  if this is right: add to execprobe_allow in tox.ini: svn, svnadmin\n" in ran.text
    watched = "def test_a(execprobe):\n    with execprobe.watch(allow=['git']):\n        runs('svn')\n"
    assert "E         if this is right: watch(allow=['git', 'svn'])" in run(watched, quiet).text


def test_a_rule_on_the_command_line(run: Run) -> None:
    ran = run(BREAKS, "--execprobe-allow=git", failed=2)
    assert "\n  if this is right: --execprobe-allow=svn --execprobe-allow=svnadmin\n" in ran.text
    assert ran.has("to allow it     on the command line:\n--execprobe-allow=svnadmin --execprobe-allow=svn")


def test_a_budget_in_a_file(run: Run) -> None:
    ran = run(BREAKS, ini="execprobe_budget = 0", failed=2)
    assert "\n  if this is right: execprobe_budget = 1 in tox.ini\n" in ran.text
    assert ran.has("to allow it     in tox.ini:\nexecprobe_budget = 2\n== short test summary info ==")


def test_markers_of_each_kind(run: Run) -> None:
    source = """
    pytestmark = pytest.mark.exec_allow("git")

    def test_module(): runs("ls")

    @pytest.mark.exec_none(phases=("call",))
    class TestIt:
        def test_class(self): runs("ls")

    @pytest.mark.parametrize("n", [pytest.param(1, marks=pytest.mark.exec_allow("sh"))])
    def test_parameter(n): runs("ls")
    """
    ran = run(source, failed=3)
    assert ran.has(
        """
        to allow it     on the module, test_it.py:4:
        pytestmark = pytest.mark.exec_allow('git', 'ls')
        to allow it     on TestIt, test_it.py:8:
        @pytest.mark.exec_allow('ls')
        to allow it     on test_parameter, test_it.py:12:
        marks=pytest.mark.exec_allow('sh', 'ls')
        """
    )


def test_several_marks_on_one_level(run: Run) -> None:
    """What is offered is the one that has to do with the least, and says no more than that for others."""
    source = """
    @pytest.mark.exec_allow("git")
    @pytest.mark.exec_allow("ls", phases=("setup", "call"))
    def test_phases(): runs("cat")

    @pytest.mark.exec_allow("git")
    @pytest.mark.exec_allow("ls", direct=True)
    def test_tree(): runs("cat", by=runs("git"))

    @pytest.mark.exec_allow("git")
    @pytest.mark.exec_allow("ls", direct=True)
    def test_direct(): runs("cat")
    """
    assert [line for line in run(source, failed=3).text.split("\n") if line.startswith("  if this is right:")] == [
        "  if this is right: @pytest.mark.exec_allow('git', 'cat') on test_phases, test_it.py:4",
        "  if this is right: @pytest.mark.exec_allow('git', 'cat') on test_tree, test_it.py:8",
        "  if this is right: @pytest.mark.exec_allow('ls', 'cat', direct=True) on test_direct, test_it.py:13",
    ]


def test_patterns_are_offered_as_they_were_meant(run: Run) -> None:
    """With their flags, and a * that is an argument."""
    source = """
    @pytest.mark.exec_budget(per_program={re.compile("GIT", re.I): 0, ("git", "*"): 1})
    def test_a(): runs("git", "*"); runs("git", "*")
    """
    advice = """@pytest.mark.exec_budget(per_program={'re:(?i)GIT': 2, "argv:git '*'": 2})"""
    assert f"  if this is right: {advice} on" in run(f"import re\n{dedent(source)}", failed=1).text


def test_a_subtree_where_one_program_explains_the_rest(run: Run) -> None:
    source = """
    def test_a():
        top = runs("lsb_release")
        runs("cut", by=top)
        runs("tr", by=top)
    """
    ran = run(source, ini="execprobe_allow =", failed=1)
    assert (
        "  if this is right: add to execprobe_allow in tox.ini: subtree:lsb_release (or lsb_release, cut, tr)"
        in ran.text
    )
    assert ran.has("to allow it     add to execprobe_allow in tox.ini:\n    subtree:lsb_release")


def test_ten_patterns_are_named_in_one_line(run: Run) -> None:
    names = [f"program-{n}" for n in range(10)]
    lines = "".join(f"\n    {name}" for name in names)
    ran = run(BREAKS, ini=f"execprobe_allow ={lines}", failed=2)
    some = "program-0, program-1, program-2 and 7 more"
    assert ran.has(f"unexpected program: svnadmin ran, and only {some} may (call phase)")
    assert ran.rules == [f"execprobe_allow={some} in tox.ini"]
    source = f"@pytest.mark.exec_allow(*{names})\ndef test_a(): runs('ls')\n"
    some = "'program-0', 'program-1', 'program-2' and 7 more"
    assert run(source, failed=1).rules == [f"exec_allow({some}) on test_a, test_it.py:3"]


def test_what_an_xfail_excuses_is_not_to_be_allowed(run: Run) -> None:
    ran = run("@pytest.mark.xfail\n@pytest.mark.exec_none\ndef test_a(): runs('ls')\n", xfailed=1)
    assert "to allow it" not in ran.text


def test_audit_as_a_rule_holds(run: Run) -> None:
    ran = run(BREAKS, "--execprobe-audit", passed=2)
    rule = ran.text.partition("as a rule       in tox.ini, under [pytest]:\n")[2].partition("==")[0]
    assert rule == "execprobe_allow =\n    svnadmin\n    svn\n"
    run(BREAKS, ini=rule, passed=2)

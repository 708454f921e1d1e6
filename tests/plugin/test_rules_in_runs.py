"""Rules in whole runs: what a user sees of each, and which are applied."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from pytest_execprobe.rules.markers import MARKERS

if TYPE_CHECKING:
    from conftest import Played
    from suites import Run


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
          if this is right: @pytest.mark.exec_budget(2) on test_release, test_it.py:4
        == execprobe ==
        to allow it     on test_release, test_it.py:4:
        @pytest.mark.exec_budget(2)
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
          if this is right: @pytest.mark.exec_allow('git', 'gpg', 'curl') on test_release, test_it.py:4
        == execprobe ==
        to allow it     on test_release, test_it.py:4:
        @pytest.mark.exec_allow('git', 'gpg', 'curl')
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
          if this is right: @pytest.mark.exec_allow('git', phases=('setup', 'call', 'teardown')) on test_release, test_it.py:4
        == execprobe ==
        to allow it     on test_release, test_it.py:4:
        @pytest.mark.exec_allow('git', phases=('setup', 'call', 'teardown'))
        == short test summary info ==
        FAILED test_it.py::test_release - nothing may run, but git ran (call phase)
        """  # noqa: E501
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
          if this is right: @pytest.mark.exec_allow('git', phases=('setup', 'call', 'teardown')) on test_release, test_it.py:3
        == execprobe ==
        """  # noqa: E501
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


@pytest.mark.parametrize(
    ("file", "mode"),
    [
        *(("tests/conftest.py", mode) for mode in ("prepend", "importlib")),
        *((f"{folder}/__init__.py", "prepend") for folder in ("tests", "tests/inner")),  # pytest 8.0 imports none else
    ],
)
def test_marker_in_the_file_of_a_folder_limits_nothing(
    run: Run, pytester: pytest.Pytester, file: str, mode: str
) -> None:
    """pytest reads no marks there."""
    folder = pytester.mkpydir("tests") / "inner"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "test_inner.py").write_text("def test_inner(): pass\n")
    (pytester.path / file).write_text(
        "import pytest\npytestmark = [pytest.mark.filterwarnings('x'), pytest.mark.exec_none()]\n"
    )
    ran = run("def test_it(): pass", f"--import-mode={mode}", errors=1)
    assert f"\n{file}: pytest reads no marks there, so that exec_none limits nothing: " in ran.text


def test_marker_in_a_file_of_tests_is_read(run: Run, pytester: pytest.Pytester) -> None:
    """Whatever that is called."""
    pytester.mkpydir("tests").joinpath("__init__.py").write_text(
        "import pytest\npytestmark = pytest.mark.exec_none()\ndef test_a(): pass\n"
    )
    pytester.path.joinpath("tests", "test_b.py").write_text("def test_b(): pass\n")
    run("def test_it(): pass", ini="python_files = *.py", passed=3)


def test_markers_are_known_to_strict_runs(run: Run) -> None:
    run("@pytest.mark.exec_none\ndef test_it(): pass", "--strict-markers", passed=1)


def test_a_mark_of_two_modules_stands_in_each(run: Run, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(common="import pytest\nMARKS = [pytest.mark.exec_none()]\n")
    pytester.syspathinsert()
    source = "from common import MARKS\nfrom played import runs\npytestmark = MARKS\ndef test_it(): runs('git')\n"
    pytester.makepyfile(test_a=source, test_b=source)
    ran = run("def test_it(): pass", passed=1, failed=2)
    assert [rule.rpartition(":")[0] for rule in ran.rules] == [
        "exec_none() on the module, test_a.py",
        "exec_none() on the module, test_b.py",
    ]


def test_tests_of_one_name_have_the_rules_of_their_own_class(run: Run) -> None:
    """What rules are read from marks is kept for tests that have the same."""
    ran = run(
        """
        none = pytest.mark.exec_none

        class TestA:
            @pytest.mark.exec_allow("ls")
            def test(self): runs("ls")

        class TestB:
            @none
            def test(self): runs("ls")

        class TestC:
            @none
            def test(self): runs("ls")
        """,
        passed=1,
        failed=2,
    )
    assert len(set(re.findall(r"exec_none\(\) on test, test_it.py:\d+", ran.text))) == 2  # each where its own stands

"""The texts that users see, to the letter."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import replace
from textwrap import dedent

import pytest
from fakes import FixedWindow, altered, evidence, log_of, record, script

from pytest_execprobe import ExecLog, ExecRecord, IncompleteLogError, subtree
from pytest_execprobe._util.text import Style
from pytest_execprobe.log.text import footer
from pytest_execprobe.rules.judge import Judge, RuleFinding
from pytest_execprobe.rules.precedence import deciders
from pytest_execprobe.rules.rule import Rule, make_rule
from pytest_execprobe.rules.text import findings, section
from pytest_execprobe.source.events import Batch, Blind
from pytest_execprobe.timeline.evidence import Evidence, Gap
from pytest_execprobe.timeline.spans import Owner
from pytest_execprobe.timeline.timeline import Timeline


def text(block: str) -> str:
    return dedent(block).strip("\n")


def failure(check: Callable[..., None], *args: object, **kwargs: object) -> str:
    with pytest.raises(AssertionError) as caught:
        check(*args, **kwargs)
    return str(caught.value)


def undecided(check: Callable[..., object], *args: object, **kwargs: object) -> str:
    with pytest.raises(IncompleteLogError) as caught:
        check(*args, **kwargs)
    return str(caught.value)


def fetch_and_curl() -> tuple[ExecRecord, ExecRecord]:
    git = record("git", "fetch", pid=41207, at=12_400_000)
    curl = record("curl", "-sS", "https://example.org", pid=41209, at=31_000_000, parent=git)
    return git, curl


def many(n: int, marked: int = 0) -> list[ExecRecord]:
    """So many gits, the last of them curl."""
    names = ["git"] * (n - marked) + ["curl"] * marked
    return [record(name, str(at), pid=500 + at, at=at * 1_000_000) for at, name in enumerate(names, 1)]


# ---- a failing assertion ----


def test_failure() -> None:
    assert failure(log_of(*fetch_and_curl()).assert_not_ran, "curl") == text(
        """
        curl must not run, but it ran once
          #    +ms    pid  parent  argv
          1   12.4  41207  pytest  /usr/bin/git fetch
        > 2   31.0  41209  #1      /usr/bin/curl -sS https://example.org
          2 execs in the call phase, 0 lost
        """
    )


def test_failure_with_q_is_its_headline() -> None:
    subject = log_of(*fetch_and_curl(), verbosity=-1)
    assert failure(subject.assert_not_ran, "curl") == "curl must not run, but it ran once"


TWELVE = """
curl must not run, but it ran 2 times
  #     +ms    pid  parent  argv
  1     1.0    501  pytest  /usr/bin/git 1
  2     2.0    502  pytest  /usr/bin/git 2
  3     3.0    503  pytest  /usr/bin/git 3
  4     4.0    504  pytest  /usr/bin/git 4
  5     5.0    505  pytest  /usr/bin/git 5
  6     6.0    506  pytest  /usr/bin/git 6
  7     7.0    507  pytest  /usr/bin/git 7
  8     8.0    508  pytest  /usr/bin/git 8
{rows}
> 11   11.0    511  pytest  /usr/bin/curl 11
> 12   12.0    512  pytest  /usr/bin/curl 12
  12 execs in the call phase, 0 lost
"""


def test_failure_shows_ten_rows_and_keeps_the_offending_ones() -> None:
    message = failure(log_of(*many(12, marked=2)).assert_not_ran, "curl")
    assert message == text(TWELVE.format(rows="  … 2 more (all with -vv)"))


def test_failure_with_vv_shows_all_rows() -> None:
    message = failure(log_of(*many(12, marked=2), verbosity=2).assert_not_ran, "curl")
    headline, head, root, *rows, last = message.splitlines()
    assert (headline, last) == (text(TWELVE).splitlines()[0], text(TWELVE).splitlines()[-1])
    assert (head.split(), root.strip()) == (["#", "+ms", "took", "ms", "pid", "ended", "process"], "pytest")
    assert [row[0] for row in rows] == [" "] * 10 + [">"] * 2
    assert rows[9].split() == ["10", "10.0", "510", "├─", "/usr/bin/git", "10"]


def test_ten_rows_are_shown_whole() -> None:
    assert "more" not in failure(log_of(*many(10)).assert_not_ran, "git")
    assert "… 1 more" in failure(log_of(*many(11)).assert_not_ran, "git")


def test_offending_rows_are_ten_at_most_too() -> None:
    lines = failure(log_of(*many(40, marked=30)).assert_not_ran, "curl").splitlines()
    assert sum(line.startswith(">") for line in lines) == 10
    assert lines[-1] == "  40 execs in the call phase, 0 lost"
    assert sum(int(line.split()[1]) for line in lines if line.startswith("  …")) == 30


def test_long_command_lines_are_cut_unless_vv() -> None:
    long = record("git", "x" * 300)
    row = failure(log_of(long).assert_nothing_ran).splitlines()[2]
    assert row.endswith("xxx…")
    assert len(row) < 200
    assert "x" * 300 in failure(log_of(long, verbosity=2).assert_nothing_ran)


def test_columns_grow_with_what_is_in_them() -> None:
    parent = record("a-program-of-an-earlier-test")
    subject = log_of(record("git", pid=4194304, at=123_456_789_000, parent=parent), record("sh", pid=7, at=1_000_000))
    assert failure(subject.assert_nothing_ran) == text(
        """
        nothing must run, but git, sh ran
          #       +ms      pid  parent                        argv
        > 1  123456.8  4194304  a-program-of-an-earlier-test  /usr/bin/git
        > 2       1.0        7  pytest                        /usr/bin/sh
          2 execs in the call phase, 0 lost
        """
    )


def test_nothing_to_show() -> None:
    assert failure(log_of().assert_ran, "git") == text(
        """
        git must run, but it did not run
          0 execs in the call phase, 0 lost
        """
    )


def test_certain_failure_of_an_incomplete_log_says_that_it_is_incomplete() -> None:
    known = failure(log_of(record("curl"), lost=2).assert_not_ran, "curl")
    assert known.splitlines()[-1] == "  1 exec in the call phase, 2 lost"
    unknown = failure(log_of(record("curl"), unknown="it died").assert_not_ran, "curl")
    assert unknown.splitlines()[-1] == "  1 exec in the call phase, an unknown number lost"


@pytest.mark.parametrize(
    ("check", "args", "headline"),
    [
        ("assert_nothing_ran", (), "nothing must run, but git, gpg ran"),
        ("assert_ran", ("curl",), "curl must run, but it did not run"),
        ("assert_not_ran", ("git",), "git must not run, but it ran 2 times"),
        ("assert_only_ran", ("gpg", subtree("sh")), "only gpg, subtree:sh may run, but git ran"),
        ("assert_count", (2,), "2 execs expected, but 3 ran"),
        ("assert_count", (1, "git"), "git must run once, but it ran 2 times"),
        ("assert_at_most", (2,), "at most 2 execs allowed, but 3 ran"),
        ("assert_at_most", (1,), "at most 1 exec allowed, but 3 ran"),
        ("assert_at_most", (1, "git"), "git may run at most once, but it ran 2 times"),
        ("assert_at_least", (4,), "at least 4 execs expected, but 3 ran"),
        ("assert_at_least", (3, "git"), "git must run at least 3 times, but it ran 2 times"),
        ("assert_order", ("gpg", "sh"), "gpg, then sh must run in this order, but sh did not run after #2"),
        ("assert_order", ("sh", "git"), "sh, then git must run in this order, but sh did not run"),
        ("assert_sequence", ("git", "gpg"), "exactly git, gpg must run, in this order, but #3 git ran after them"),
        ("assert_sequence", ("git", "sh", "git"), "exactly git, sh, git must run, in this order, but #2 is gpg"),
        ("assert_sequence", ("git", "gpg", "git", "sh"), "but 3 execs ran, not 4"),
        ("assert_sequence", (frozenset({"gpg", "git"}),), "exactly {git, gpg} must run"),
        ("assert_sequence", (), "exactly nothing must run"),
    ],
)
def test_headlines_say_what_was_asked_and_what_happened(check: str, args: tuple[object, ...], headline: str) -> None:
    subject = log_of(record("git", "tag"), record("gpg"), record("git", "push"))
    assert headline in failure(getattr(subject, check), *args).splitlines()[0]


def test_many_programs_are_not_all_named() -> None:
    subject = log_of(*(record(f"p{number}") for number in range(9)))
    assert failure(subject.assert_nothing_ran).splitlines()[0] == "nothing must run, but p0, p1, p2 and 6 more ran"


def test_only_the_offending_rows_are_marked() -> None:
    lines = failure(log_of(record("git"), record("curl"), record("git")).assert_only_ran, "git").splitlines()
    assert [line.startswith(">") for line in lines[2:5]] == [False, True, False]


# ---- rows ----


def test_parents_are_rows_or_pytest_or_names_or_unknown() -> None:
    earlier = record("pool", pid=300)
    shell = record("sh", "-c", "env git push", pid=301, at=1_000_000)
    env = record("env", "git", "push", pid=302, at=2_000_000, parent=shell)
    git = record("git", "push", pid=302, at=3_000_000, parent=shell, previous=env)
    worker = record("worker", pid=303, at=4_000_000, parent=earlier)
    orphan = record("orphan", pid=304, at=5_000_000, lineage_lost=True)
    assert failure(log_of(shell, env, git, worker, orphan).assert_nothing_ran) == (
        "nothing must run, but sh, env, git and 2 more ran\n"
        "  #    +ms    pid  parent  argv\n"
        "> 1    1.0    301  pytest  /usr/bin/sh -c 'env git push'\n"
        "> 2    2.0    302  #1      /usr/bin/env git push\n"
        "> 3    3.0    302  #1      /usr/bin/git push  (was env)\n"
        "> 4    4.0    303  pool    /usr/bin/worker\n"
        "> 5    5.0    304  ?       /usr/bin/orphan\n"
        "  5 execs in the call phase, 0 lost"
    )


def test_ends_are_shown_where_one_is_known() -> None:
    failed = altered(record("git", pid=301, at=1_000_000), exit_code=128)
    crashed = altered(record("gpg", pid=302, at=2_000_000, parent=failed), signal=11)
    running = record("sleep", pid=303, at=3_000_000)
    assert failure(log_of(failed, crashed, running).assert_not_ran, "gpg") == (
        "gpg must not run, but it ran once\n"
        "  #    +ms    pid  parent  ended     argv\n"
        "  1    1.0    301  pytest  exit 128  /usr/bin/git\n"
        "> 2    2.0    302  #1      SIGSEGV   /usr/bin/gpg\n"
        "  3    3.0    303  pytest            /usr/bin/sleep\n"
        "  3 execs in the call phase, 0 lost"
    )


def test_tree_shows_all_whatever_the_verbosity() -> None:
    assert log_of(*many(30), verbosity=-1).tree() == log_of(*many(30), verbosity=2).tree()
    assert len(log_of(*many(30)).tree().splitlines()) == 33


def test_parent_beyond_the_shown_rows_is_still_its_row() -> None:
    records = many(11)
    records.append(record("curl", parent=records[10]))
    lines = failure(log_of(*records).assert_not_ran, "curl").splitlines()
    assert "#11" in next(line for line in lines if line.startswith("> 12"))


@pytest.mark.parametrize(
    ("subject", "shown"),
    [
        (record("git", "commit", "-m", "two words"), "/usr/bin/git commit -m 'two words'"),
        (record("git", ""), "/usr/bin/git ''"),
        (record("git", "add", "fil", truncated=True), "/usr/bin/git add fil …"),
        (record("git", argv=None), "/usr/bin/git …"),
        (record(None, argv=("git", "push"), executable=None), "? push"),
        (script("v1.2"), "/opt/tools/release.sh v1.2"),
    ],
)
def test_command_lines(subject: ExecRecord, shown: str) -> None:
    assert failure(log_of(subject).assert_nothing_ran).splitlines()[2].endswith(f"  {shown}")


# ---- nothing that a program is called reaches the terminal raw ----

NASTY = [
    "\x1b[2J",
    "\x1b]0;title\x07",
    "a\nb",
    "a\rb",
    "\x00",
    "\x7f",
    "\x9b31m",
    "\udcff",
    "\u202e",
    "\u200b",
    "\ufeff",
]


def is_clean(message: str) -> bool:
    return not any(unicodedata.category(char)[0] == "C" for char in message.replace("\n", ""))


@pytest.mark.parametrize("nasty", NASTY, ids=ascii)
@pytest.mark.parametrize("verbosity", [-1, 0, 2])
def test_arguments_reach_the_terminal_escaped(nasty: str, verbosity: int) -> None:
    subject = log_of(record("git", nasty), verbosity=verbosity)
    message = failure(subject.assert_nothing_ran)
    assert is_clean(message)
    assert len(message.splitlines()) == (1 if verbosity < 0 else 4 + (verbosity == 2))
    message.encode("utf-8")


@pytest.mark.parametrize("nasty", NASTY, ids=ascii)
@pytest.mark.parametrize("verbosity", [-1, 0])
def test_program_names_reach_the_terminal_escaped(nasty: str, verbosity: int) -> None:
    parent = record(nasty)
    subject = log_of(record(nasty, parent=parent, previous=parent), verbosity=verbosity)
    for check in (
        lambda: subject.assert_nothing_ran(),
        lambda: subject.assert_only_ran("git"),
        lambda: subject.assert_sequence("git"),
    ):
        message = failure(check)
        assert is_clean(message)
        assert len(message.splitlines()) == (1 if verbosity < 0 else 4)
        message.encode("utf-8")


@pytest.mark.parametrize("nasty", NASTY, ids=ascii)
def test_tree_and_repr_reach_the_terminal_escaped(nasty: str) -> None:
    subject = record(nasty, nasty)
    assert is_clean(log_of(subject).tree())
    assert is_clean(repr(subject))
    assert "\n" not in repr(subject)


def test_escapes_show_which_byte_it_was() -> None:
    assert r"\x1b[31m \udcff" in failure(log_of(record("git", "\x1b[31m", "\udcff")).assert_nothing_ran).replace(
        "'", ""
    )


def test_text_in_other_scripts_is_left_alone() -> None:
    assert "grüße 世界" in failure(log_of(record("git", "grüße 世界")).assert_nothing_ran)


# ---- what can't be decided ----


def test_undecided_because_of_a_full_buffer() -> None:
    subject = log_of(*fetch_and_curl(), lost=3)
    assert undecided(subject.assert_not_ran, "wget") == text(
        """
        cannot tell whether wget ran: 3 execs missing from the log
          why   3 execs found the perf buffer full: raise --execprobe-buffer-pages, or give the helper a CPU
          #    +ms    pid  parent  argv
          1   12.4  41207  pytest  /usr/bin/git fetch
          2   31.0  41209  #1      /usr/bin/curl -sS https://example.org
          2 execs in the call phase, 3 lost
        """
    )


def test_undecided_for_an_unknown_number() -> None:
    subject = log_of(lost=1, unknown="the probe helper was lost: it died. The next test gets a new one")
    assert undecided(lambda: subject.programs) == text(
        """
        cannot tell what ran: at least 1 exec missing from the log
          why   the probe helper was lost: it died. The next test gets a new one
          why   1 exec found the perf buffer full: raise --execprobe-buffer-pages, or give the helper a CPU
          0 execs in the call phase, at least 1 lost
        """
    )


def test_undecided_for_a_number_with_bounds() -> None:
    why = "22190 records more were lost than can be told apart: raise --execprobe-buffer-pages"
    given = evidence(record("git", pid=7, at=0), lost=2048, gaps=(Gap(0, 9, why, 22190),))
    subject = ExecLog(FixedWindow(given))
    assert undecided(lambda: subject.programs) == text(
        f"""
        cannot tell what ran: at least 2,048, at most 24,238 execs missing from the log
          why   {why}
          why   2048 execs found the perf buffer full: raise --execprobe-buffer-pages, or give the helper a CPU
          #    +ms    pid  parent  argv
          1    0.0      7  pytest  /usr/bin/git
          1 exec in the call phase, at least 2,048, at most 24,238 lost
        """
    )


@pytest.mark.parametrize(
    ("lost", "most", "filtered", "said"),
    [
        (0, 0, False, "0 lost"),
        (3, 0, False, "3 lost"),
        (3, 0, True, "at most 3 lost"),  # those may have been ignored ones
        (0, 5, False, "at most 5 lost"),
        (3, 5, False, "at least 3, at most 8 lost"),
        (3, None, False, "at least 3 lost"),
        (0, None, False, "an unknown number lost"),
    ],
)
def test_how_many_are_lost(lost: int, most: int | None, filtered: bool, said: str) -> None:
    gaps = (Gap(0, 9, "full", most),) if most else ()
    given = evidence(lost=lost, unknown=() if most is not None else "it died", gaps=gaps, filtered=filtered)
    assert footer(given, "the call phase") == f"  0 execs in the call phase, {said}"


def test_undecided_because_argv_was_cut() -> None:
    subject = log_of(record("git"), record("git", "add", "file", truncated=True, pid=500, at=1_000_000))
    message = undecided(subject.assert_not_ran, "re:file-42")
    assert message.splitlines()[:2] == [
        "cannot tell whether re:file-42 ran: what would tell was not recorded",
        "  why   argv of #2 is longer than what is kept (16 KiB): match on the program's name",
    ]


@pytest.mark.parametrize(
    "unresolved", [record("git", executable=None), script(file=None), script(nested=None), script(nested=(None,))]
)
def test_undecided_because_a_file_could_not_be_resolved(unresolved: ExecRecord) -> None:
    message = undecided(log_of(record("git"), unresolved).assert_not_ran, "curl")
    assert message.splitlines()[1].startswith("  why   the file of #2 could not be resolved (it lies too deep, or ")


def test_undecided_because_a_folder_is_named_by_a_descriptor() -> None:
    ran = record("tool", path="/dev/fd/5/tool", executable="/usr/bin/real")
    message = undecided(log_of(record("git"), ran).assert_not_ran, "/opt/*")
    assert message.splitlines()[1] == (
        "  why   the folder of #2 is named by a descriptor, and not known: match on the program's name"
    )


def test_undecided_because_a_path_may_lead_through_a_descriptor() -> None:
    ran = record("5", path="/srv/link/5", executable="/usr/bin/busybox", argv=("sleep", "0"))
    message = undecided(log_of(record("git"), ran).assert_not_ran, "sleep")
    assert message.splitlines()[1].startswith("  why   the path of #2 may lead through a descriptor, and then argv[0] ")


def test_undecided_because_an_option_may_be_anybodys() -> None:
    """Whether it is one of the script, or of the script that is its interpreter."""
    ran = script(nested=("/opt/inner",), shebang=("/bin/sh", "/opt/inner", "-o"))
    message = undecided(log_of(record("git"), ran).assert_not_ran, "argv:inner -o")
    assert message.splitlines()[1] == (
        "  why   which words in argv of #2 are options of #! lines stands nowhere: match on the script's name"
    )


@pytest.mark.parametrize(
    ("ran", "shown"),
    [
        (record("busybox", "0", path="/proc/self/exe", argv=("sleep", "0")), "/proc/self/exe 0  (argv[0]: sleep)"),
        (record("bash", argv=("-bash",)), "/usr/bin/bash  (argv[0]: -bash)"),
        (record("git", "x", argv=("/bin/git", "x")), "/usr/bin/git x"),
        (record("git", argv=("two words",)), "/usr/bin/git  (argv[0]: 'two words')"),
        (record("git", argv=None), "/usr/bin/git …"),
        (script("v1"), "/opt/tools/release.sh v1"),
    ],
)
def test_argv_zero_is_shown_where_it_is_not_what_the_path_says(ran: ExecRecord, shown: str) -> None:
    assert log_of(ran).tree().splitlines()[2].endswith(f"└─ {shown}")


def test_undecided_with_q_is_its_headline() -> None:
    subject = log_of(*fetch_and_curl(), lost=1, verbosity=-1)
    assert undecided(subject.assert_not_ran, "wget") == "cannot tell whether wget ran: 1 exec missing from the log"


@pytest.mark.parametrize(
    ("check", "args", "question"),
    [
        ("assert_nothing_ran", (), "whether nothing ran"),
        ("assert_ran", ("curl",), "whether curl ran"),
        ("assert_only_ran", ("git", "gpg"), "whether only git, gpg ran"),
        ("assert_count", (2,), "whether 2 execs ran"),
        ("assert_at_most", (1,), "whether at most 1 exec ran"),
        ("assert_at_least", (2, "git"), "whether git ran at least 2 times"),
        ("assert_order", ("git", "gpg"), "whether git, then gpg ran in this order"),
        ("assert_sequence", ("git", "gpg"), "whether exactly git, gpg ran, in this order"),
    ],
)
def test_undecided_question_is_what_was_asked(check: str, args: tuple[object, ...], question: str) -> None:
    records = [] if check == "assert_nothing_ran" else [record("git")]
    message = undecided(getattr(log_of(*records, unknown="it died"), check), *args)
    assert message.startswith(f"cannot tell {question}: ")


def test_lost_ancestor_is_given_as_the_reason() -> None:
    message = undecided(log_of(record("git"), record("ssh", lineage_lost=True)).assert_only_ran, "git", subtree("git"))
    assert "  why   " in message
    assert "#2" in message


def _log_after(*events: Blind, **batch: int) -> ExecLog:
    timeline, test = Timeline(), Owner("test_a", is_test=True, began=0)
    timeline.spans.open(test, "call", 0)
    timeline.add(Batch(events, **{"complete_to": 100, **batch}))
    return ExecLog(FixedWindow(timeline.evidence(0, 100, test)))


@pytest.mark.parametrize(
    ("subject", "why", "remedy"),
    [
        (_log_after(in_flight=2), "2 execs were still in flight", "--execprobe-timeout"),
        (_log_after(unplaced=7, unplaced_from=10, unplaced_to=50), "7 records", "--execprobe-buffer-pages"),
        (log_of(lost=1), "perf buffer full", "--execprobe-buffer-pages"),
    ],
    ids=["in flight", "unattributed", "lost"],
)
def test_every_reason_says_what_to_change(subject: ExecLog, why: str, remedy: str) -> None:
    message = undecided(subject.assert_not_ran, "curl")
    reasons = [line for line in message.splitlines() if line.startswith("  why")]
    assert any(why in reason for reason in reasons)
    assert remedy in message


# ---- what rules find ----

HERE = "on TestRelease, tests/test_release.py:11"


def rule(name: str, *args: object, where: str = HERE, **kwargs: object) -> Rule:
    return make_rule(name, args, kwargs, where)


def report(rules: list[Rule], given: Evidence, verbosity: int = 0) -> str:
    """Of the call of a test: what its failure says, and the section below."""
    found = Judge(deciders([rules])).judge("call", given)
    style = Style(verbosity)
    said = findings(found, given, 0, "call phase", style)
    below = section(found, given, 0, "call phase", style)
    return "\n".join([said, *(below or ())])


def test_findings() -> None:
    assert report([rule("exec_budget", 1)], evidence(*fetch_and_curl())) == text(
        """
        exec budget exceeded: 2 execs, at most 1 allowed (call phase)
          rule  exec_budget(1) on TestRelease, tests/test_release.py:11
        execs: call phase (2, 0 lost)
          #    +ms    pid  parent  argv
          1   12.4  41207  pytest  /usr/bin/git fetch
        > 2   31.0  41209  #1      /usr/bin/curl -sS https://example.org
          if this is right: @pytest.mark.exec_budget(2) on TestRelease, tests/test_release.py:11
        """
    )


def test_findings_of_several_rules() -> None:
    rules = [
        rule("exec_budget", 0),
        rule("exec_allow", "gpg", where="on the module, t.py:1"),
        rule("exec_allow", "git", where="on the module, t.py:2"),
        rule("exec_deny", "curl", where="in pytest.ini"),
    ]
    assert report(rules, evidence(*fetch_and_curl())) == text(
        """
        exec budget exceeded: 2 execs, at most 0 allowed (call phase)
          rule  exec_budget(0) on TestRelease, tests/test_release.py:11
        unexpected program: curl ran, and only gpg, git may (call phase)
          rule  exec_allow('gpg') on the module, t.py:1
          rule  exec_allow('git') on the module, t.py:2
        curl must not run, but it ran once (call phase)
          rule  exec_deny('curl') in pytest.ini
        execs: call phase (2, 0 lost)
          #    +ms    pid  parent  argv
        > 1   12.4  41207  pytest  /usr/bin/git fetch
        > 2   31.0  41209  #1      /usr/bin/curl -sS https://example.org
          if this is right: @pytest.mark.exec_budget(2) on TestRelease, tests/test_release.py:11
          if this is right: @pytest.mark.exec_allow('gpg', 'curl') on the module, t.py:1
        """
    )


def test_findings_with_q_have_no_section() -> None:
    assert report([rule("exec_deny", "curl")], evidence(*fetch_and_curl()), verbosity=-1) == text(
        """
        curl must not run, but it ran once (call phase)
          rule  exec_deny('curl') on TestRelease, tests/test_release.py:11
        """
    )


def test_section_shows_ten_rows_or_all_with_vv() -> None:
    given = evidence(*many(12, marked=1))
    by_default = report([rule("exec_deny", "curl")], given).splitlines()
    assert "  … 2 more (all with -vv)" in by_default
    assert by_default[-1].startswith("> 12 ")
    assert "more" not in report([rule("exec_deny", "curl")], given, verbosity=2)


def test_section_says_what_is_missing_and_what_was_ignored() -> None:
    given = replace(evidence(record("curl", pid=7, at=0), lost=2), ignored=3, filtered=True)
    assert (
        report([rule("exec_deny", "curl")], given).splitlines()[2] == "execs: call phase (1, at most 2 lost, 3 ignored)"
    )
    given = replace(given, unknown=("it died",), ignored=0)
    assert report([rule("exec_deny", "curl")], given).splitlines()[2] == "execs: call phase (1, an unknown number lost)"


def test_section_where_nothing_is_known_of_what_ran() -> None:
    assert report([rule("exec_none")], evidence(lost=2)) == text(
        """
        nothing may run, but 2 execs ran (call phase)
          rule  exec_none() on TestRelease, tests/test_release.py:11
        execs: call phase (0, 2 lost)
          nothing
        """
    )


def test_a_budget_over_several_phases_shows_all_of_them() -> None:
    git, curl = fetch_and_curl()
    judge = Judge(deciders([[rule("exec_budget", 1, phases=("setup", "call"))]]))
    assert judge.judge("setup", evidence(git)) == []
    given = evidence(curl)
    found = judge.judge("call", given)
    assert findings(found, given, curl.timestamp_ns, "call phase", Style()).splitlines()[0] == (
        "exec budget exceeded: 2 execs, at most 1 allowed (setup and call phases)"
    )
    title, below = section(found, given, curl.timestamp_ns, "call phase", Style()) or ("", "")
    assert title == "execs: setup and call phases (2, 0 lost)"
    assert [line[:4] for line in below.splitlines()] == ["  # ", "  1 ", "> 2 ", "  if"]


@pytest.mark.parametrize(
    ("where", "place"),
    [
        ("call phase", "the setup and call phases"),
        ("end of fixture 'server' (module)", "the set-up and end of fixture 'server' (module)"),
        ("left behind", "the setup and call phases, and left behind"),
    ],
)
def test_where_an_undecided_budget_is_about(where: str, place: str) -> None:
    judge = Judge(deciders([[rule("exec_budget", 1, phases=("setup", "call"))]]))
    assert judge.judge("setup", evidence(*fetch_and_curl()[:1])) == []
    given = evidence(unknown="it died")
    said = findings(judge.judge("call", given), given, 0, where, Style())
    assert said.splitlines()[-1] == f"  1 exec in {place}, an unknown number lost"


def test_finding_that_can_not_be_decided() -> None:
    found = Judge(deciders([[rule("exec_allow", "git"), rule("exec_deny", "wget")]]))
    given = evidence(*fetch_and_curl()[:1], lost=1, unknown="the probe helper was lost: it died")
    assert findings(found.judge("call", given), given, 0, "call phase", Style()) == text(
        """
        cannot tell whether only git ran: at least 1 exec missing from the log
          rule  exec_allow('git') on TestRelease, tests/test_release.py:11
          why   the probe helper was lost: it died
          why   1 exec found the perf buffer full: raise --execprobe-buffer-pages, or give the helper a CPU
          #    +ms    pid  parent  argv
          1   12.4  41207  pytest  /usr/bin/git fetch
          1 exec in the call phase, at least 1 lost
        """
    )


def test_finding_that_can_not_be_decided_with_q() -> None:
    given = evidence(lost=1)
    found = Judge(deciders([[rule("exec_deny", "wget")]])).judge("call", given)
    assert findings(found, given, 0, "call phase", Style(-1)) == text(
        """
        cannot tell whether wget ran: 1 exec missing from the log
          rule  exec_deny('wget') on TestRelease, tests/test_release.py:11
        """
    )


def test_what_is_certain_is_reported_alone() -> None:
    said = report([rule("exec_deny", "curl"), rule("exec_allow", "git")], evidence(record("curl"), lost=1))
    assert said.startswith("unexpected program: curl ran, and only git may (call phase)\n")
    assert "cannot tell" not in said
    said = report([rule("exec_deny", "wget"), rule("exec_deny", "curl")], evidence(record("curl"), lost=1))
    assert said.startswith("curl must not run, but it ran once (call phase)\n")
    assert "wget" not in said


@pytest.mark.parametrize("nasty", NASTY, ids=ascii)
def test_findings_reach_the_terminal_escaped(nasty: str) -> None:
    given = evidence(record(nasty, nasty))
    for rules in ([rule("exec_none")], [rule("exec_allow", "git")], [rule("exec_deny", [nasty])]):
        assert is_clean(report(rules, given))
    wrong = RuleFinding(False, nasty, nasty, rules=(rule("exec_none", where=nasty),))
    assert is_clean(findings([wrong], given, 0, "call phase", Style()))


def test_footer_counts_what_was_ignored() -> None:
    subject = ExecLog(FixedWindow(replace(evidence(record("git")), ignored=2, filtered=True)))
    assert failure(subject.assert_nothing_ran).splitlines()[-1] == "  1 exec in the call phase, 0 lost, 2 ignored"


def test_style_is_decided_by_verbosity_alone() -> None:
    assert [Style(verbosity).rows for verbosity in (-2, -1, 0, 1, 2, 3)] == [0, 0, 10, 10, None, None]


def test_empty_evidence_is_complete() -> None:
    assert Evidence().missing == 0

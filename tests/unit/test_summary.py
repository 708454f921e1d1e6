"""The texts about a run as a whole, to the letter."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from textwrap import dedent

import pytest

from pytest_execprobe.rules.rule import make_rule
from pytest_execprobe.session import summary
from pytest_execprobe.session.settings import Settings
from pytest_execprobe.session.totals import Totals
from pytest_execprobe.source.client import in_words


def said(totals: Totals, verbosity: int = 0, **settings: object) -> str:
    return "\n".join(summary.lines(totals, Settings(**settings), verbosity))  # type: ignore[arg-type]


def text(block: str) -> str:
    return dedent(block).strip("\n")


def run() -> Totals:
    return Totals(
        tests={
            "test_it.py::test_release": Counter(git=12, gpg=1),
            "test_it.py::test_tag": Counter(git=2),
        },
        others={"collection": Counter(uname=1), "fixture 'server' (session)": Counter(server=1)},
        strays={"test_it.py::test_tag": Counter(sleep=1)},
        late={"test_it.py::test_tag": Counter(worker=2)},
        recorded=7,
    )


# ---- the summary ----


@pytest.mark.parametrize("verbosity", [-1, 0, 2])
def test_nothing_to_say(verbosity: int) -> None:
    assert said(Totals(), verbosity) == ""
    assert said(run(), verbosity) == ""  # it was asked for neither an audit nor a sum


def test_audit() -> None:
    assert said(run(), audit=True) == text(
        """
        recorded        18 execs in 7 tests and around them, 0 lost
        most executed   14  git
                         1  gpg
                         1  server
                         1  sleep
                         1  uname
        most by test    13  test_it.py::test_release: git 12, gpg 1
                         2  test_it.py::test_tag: git 2
        besides tests   1  collection: uname 1
                        1  fixture 'server' (session): server 1
        strays of       1  test_it.py::test_tag: sleep 1
        left running by 2  test_it.py::test_tag: worker 2
        as a rule       in pytest.ini, under [pytest]:
        execprobe_allow =
            git
            gpg
            sleep
        """
    )


def test_audit_is_no_rule_where_there_is_one_or_not_all_is_known() -> None:
    ini = (make_rule("exec_allow", ["git"], {}, "in pytest.ini"),)
    assert "as a rule" not in said(run(), audit=True, ini=ini)
    assert "as a rule" not in said(run(), -1, audit=True)
    for less in ({"lost": 1}, {"unknown": {"it died": None}}, {"not_checked": {"test_b": "no BCC"}}):
        totals = replace(run(), **less)
        assert "as a rule       none is given, for not all that ran is known" in said(totals, audit=True)


def test_audit_as_a_rule_of_names_that_are_no_plain_patterns() -> None:
    totals = Totals(tests={"test_a": Counter({"my tool": 2, "[": 2, r"a\x1b": 1, "#a": 1})}, recorded=1)
    rule = said(totals, audit=True, configured_in=("pyproject.toml", "[tool.pytest]")).partition("as a rule")[2]
    assert rule.splitlines() == [
        "       in pyproject.toml, under [tool.pytest]:",
        "execprobe_allow = [",
        "    \"argv:'my tool'\",",
        "    \"argv:'['\",",
        '    "a?",',
        "    \"argv:'#a'\",",
        "]",
    ]


def test_audit_as_a_rule_has_the_pythons_of_an_environment_as_one() -> None:
    counts = Counter({"python": 3, "git": 2, "python3.11": 1, "pythonic": 1})
    rule = said(Totals(tests={"test_a": counts}, recorded=1), audit=True).partition("as a rule")[2]
    assert rule.splitlines()[2:] == ["    python*", "    git", "    pythonic"]


def test_audit_by_ptrace() -> None:
    traced = in_words({"backend": "ptrace", "kernel": "6.18", "privilege": "user 1000"})
    assert "\nprobe" not in said(run(), audit=True)
    assert said(Totals(recorded=1, probe=traced), audit=True).endswith("\nprobe           ptrace")
    assert said(Totals(recorded=1, probe=traced)) == ""


def test_setuid_programs_that_ran_without_their_privilege() -> None:
    worker, controller = Totals(unprivileged=Counter(sudo=2, mount=1)), Totals(unprivileged=Counter(sudo=1))
    controller.take(worker.export())
    assert said(controller) == "probe           ptrace; without its privilege ran: sudo 3, mount 1"


def test_audit_of_a_run_in_which_nothing_ran() -> None:
    assert said(Totals(recorded=1), audit=True) == "recorded        0 execs in 1 test and around them, 0 lost"


def many(n: int) -> Totals:
    names = [f"program-{number:02}" for number in range(n)]
    return Totals(tests={"test_a": Counter(dict.fromkeys(names, 1))}, recorded=1)


@pytest.mark.parametrize(
    ("verbosity", "shown", "last"),
    [
        (-1, 3, "                … 29 more (all with -vv)"),
        (0, 30, "                … 2 more (all with -vv)"),
        (1, 30, "                … 2 more (all with -vv)"),
        (2, 32, "                1  program-31"),
    ],
)
def test_rows(verbosity: int, shown: int, last: str) -> None:
    lines = said(many(32), verbosity, audit=True).partition("most by test")[0].splitlines()
    table = lines[1:]  # without the sum
    assert sum("  program-" in line for line in table) == shown
    assert table[-1] == last


def test_of_a_test_five_programs_are_shown() -> None:
    assert said(many(7), audit=True).splitlines()[8] == (
        "most by test    7  test_a: program-00 1, program-01 1, program-02 1, program-03 1, program-04 1, … 2 more"
    )


def test_losses() -> None:
    totals = Totals(tests={"test_a": Counter(git=1)}, lost=2, recorded=1)
    assert said(totals, audit=True) == text(
        """
        recorded        3 execs in 1 test and around them, 2 lost
        most executed   1  git
        most by test    1  test_a: git 1
        as a rule       none is given, for not all that ran is known
        """
    )


def test_unknown_losses() -> None:
    totals = Totals(tests={"test_a": Counter(git=1)}, unknown={"it died": None, "too late": None}, recorded=1)
    assert said(totals, audit=True) == text(
        """
        recorded        1 exec in 1 test and around them, an unknown number lost
        not known       it died
        not known       too late
        most executed   1  git
        most by test    1  test_a: git 1
        as a rule       none is given, for not all that ran is known
        """
    )
    assert said(totals) == "not known       it died\nnot known       too late"


def test_losses_between_bounds() -> None:
    totals = Totals(tests={"test_a": Counter(git=1)}, lost=2, gaps=Counter({"it was full": 3}), recorded=1)
    assert said(totals, audit=True).splitlines()[:2] == [
        "recorded        3 execs in 1 test and around them, at least 2, at most 5 lost",
        "not known       it was full",
    ]
    other = Totals()
    other.take(totals.export())
    other.take(Totals(gaps=Counter({"it was full": 1})).export())
    assert (other.lost, other.missing) == (2, 6)


@pytest.mark.parametrize(("limit", "undecided"), [(6, None), (5, True), (3, True), (2, False)])
def test_session_budget_goes_by_the_bounds(limit: int, undecided: bool | None) -> None:
    totals = Totals(tests={"test_a": Counter(git=1)}, lost=2, gaps=Counter({"it was full": 3}), recorded=1)
    breach = summary.session_budget(totals, limit)
    assert (breach and breach.undecided) is undecided


def test_ignored() -> None:
    totals = Totals(ignored=Counter(coverage=3, sh=7))
    assert said(totals) == "ignored         sh 7, coverage 3"
    twelve = Totals(ignored=Counter({f"p{n:02}": 1 for n in range(12)}))
    assert said(twelve).endswith("p09 1, … 2 more")
    assert said(twelve, verbosity=2).endswith("p10 1, p11 1")


def test_not_checked() -> None:
    totals = Totals(not_checked={"test_a": "no BCC", "test_b": "no BCC", "test_c": "switched off"})
    for verbosity in (-1, 0, 2):
        assert said(totals, verbosity) == text(
            """
            NOT CHECKED     2 tests: no BCC
            NOT CHECKED     1 test: switched off
            """
        )


def test_expected_to_fail() -> None:
    totals = Totals(excused={"test_it.py::test_a": "nothing may run, but git ran"})
    assert said(totals) == "xfailed         test_it.py::test_a: nothing may run, but git ran"


def test_session_budget_is_reported_where_it_is_kept() -> None:
    totals = Totals(tests={"test_a": Counter(git=2)}, recorded=1)
    assert said(totals, session_budget=3) == text(
        """
        recorded        2 execs in 1 test and around them, 0 lost
        session budget  2 execs, at most 3 allowed
        most executed   2  git
        most by test    2  test_a: git 2
        """
    )


@pytest.mark.parametrize("group", ["tests", "others", "strays", "late", "ignored", "not_checked", "excused"])
def test_control_characters_reach_no_terminal(group: str) -> None:
    nasty = "a\x1b[31m\nb\x85\u202e\udcff"
    totals = Totals(recorded=1)
    if group == "ignored":
        totals.ignored[nasty] = 1
    elif group in ("not_checked", "excused"):
        getattr(totals, group)[nasty] = "why"
    else:
        getattr(totals, group)[nasty] = Counter({nasty: 1})
    for line in summary.lines(totals, Settings(audit=True), 0):
        assert line.isprintable()
        line.encode("utf-8")


# ---- the session budget ----


def test_session_budget_where_there_is_no_probe() -> None:
    """It is not checked, and says so. Where some tests were recorded it is undecided."""
    totals = Totals(not_checked={"test_a": "no BCC"})
    assert summary.session_budget(totals, 17) is None
    assert "session budget  NOT CHECKED, at most 17 allowed" in said(totals, session_budget=17)
    totals.recorded = 1
    breach = summary.session_budget(totals, 17)
    assert breach is not None
    assert breach.undecided


def test_session_budget_exceeded() -> None:
    breach = summary.session_budget(run(), 17)
    assert breach is not None
    assert (breach.nodeid, breach.undecided) == ("execprobe::session budget", False)
    assert breach.headline == "session budget exceeded: 18 execs, at most 17 allowed"
    assert breach.text == text(
        """
        session budget exceeded: 18 execs, at most 17 allowed
          most   git 14, gpg 1, server 1, sleep 1, uname 1
          if this is right: --execprobe-session-budget=18
        """
    )


def test_session_budget_kept() -> None:
    assert summary.session_budget(run(), 18) is None
    assert summary.session_budget(Totals(), 0) is None


def test_no_session_budget() -> None:
    assert summary.session_budget(run(), None) is None


def test_lost_execs_count_for_the_session_budget() -> None:
    assert summary.session_budget(Totals(lost=2), 2) is None
    assert summary.session_budget(Totals(lost=3), 2) is not None


def test_session_budget_undecided() -> None:
    totals = run()
    totals.unknown["the probe helper was lost: it died"] = None
    totals.not_checked |= {"test_c": "no BCC", "test_d": "no BCC"}
    breach = summary.session_budget(totals, 18)
    assert breach is not None
    assert breach.undecided
    assert breach.text == text(
        """
        cannot tell whether at most 18 execs ran: what would tell was not recorded
          why   the probe helper was lost: it died
          why   2 tests not recorded: no BCC
        """
    )


def test_session_budget_is_certainly_exceeded_whatever_is_missing() -> None:
    totals = run()
    totals.unknown["it died"] = None
    breach = summary.session_budget(totals, 2)
    assert breach is not None
    assert not breach.undecided


def test_session_budget_where_a_lost_exec_may_be_an_ignored_one() -> None:
    totals = Totals(tests={"test_a": Counter(git=2)}, lost=1)
    assert summary.session_budget(totals, 3, filtered=True) is None
    breach = summary.session_budget(totals, 2, filtered=True)
    assert breach is not None
    assert breach.undecided
    assert breach.text == text(
        """
        cannot tell whether at most 2 execs ran: what would tell was not recorded
          why   1 exec lost, which may have been ignored ones: raise --execprobe-buffer-pages
        """
    )
    breach = summary.session_budget(totals, 1, filtered=True)
    assert breach is not None
    assert not breach.undecided


# ---- what the probe is ----


def test_probe() -> None:
    description = {
        "bcc": "0.30.0",
        "kernel": "6.8.0",
        "entry": ["kprobe", "sched_prepare_exec"],
        "attempts": "kprobe",
        "route": "sudo",
        "privilege": "CAP_BPF",
    }
    assert in_words(description) == (
        "BCC 0.30.0 on Linux 6.8.0; execs by sched_process_exec, their begin by kprobe and sched_prepare_exec, failed"
        " ones by kprobe; helper sudo, now CAP_BPF"
    )
    assert "failed ones not recorded" in in_words({**description, "attempts": None})

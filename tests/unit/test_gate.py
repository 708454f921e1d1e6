"""The verdict over stored reports: what is beyond, what is not known, what is new."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from documents import EVERYTHING, left
from fakes import record

from pytest_execprobe.baseline.model import Baseline
from pytest_execprobe.baseline.read import parse_baseline
from pytest_execprobe.gate import TOTAL, GateStatus, judge, new_since, unseen
from pytest_execprobe.report.model import Collection, Document, ReportedBreach, Run, RunsDiffer, Unit, merged

WITHIN, EXCEEDED, INCOMPLETE = GateStatus
A, B = "tests/a/test_a.py::test_a", "tests/b/test_b.py::test_b"


def budget(text: str) -> Baseline:
    return parse_baseline(f"version = 1\n{text}", Path("execs.toml"))


def test_of(name: str, *programs: str, **more: object) -> Unit:
    return Unit("test", name, records=tuple(record(program) for program in programs), **more)  # type: ignore[arg-type]


test_of.__test__ = False  # type: ignore[attr-defined]


def report(*units: Unit, exit_status: int | None = 0, **more: object) -> Document:
    more = {"collection": EVERYTHING, **more}
    run = Run(id=str(id(units)), kind="pytest", exit_status=exit_status, **more)  # type: ignore[arg-type]
    return Document((run,), units)


ROWS = budget(f'[tests."{A}"]\ngit = 2\n[tests."{B}"]\ngit = 1\n')


def found_in(document: Document, baseline: Baseline) -> list[tuple[str, str | None, bool | None]]:
    return [(finding.name, finding.excess.key, finding.excess.holds) for finding in judge(document, baseline).findings]


CURL = record("curl")
PROGRAMS = budget("[total.programs]\ncurl = 0\ngit = 3\n")


def package(name: str) -> Baseline:
    return budget(f'[packages."{name}"]\nat_most = 1\n')


@pytest.mark.parametrize(
    ("units", "baseline", "found"),
    [
        ([test_of(A, "git", "git"), test_of(B)], ROWS, []),
        ([test_of(A, "git"), test_of(B, "git", "git", "curl")], ROWS, [(B, "curl", False), (B, "git", False)]),
        ([test_of(B, "git"), test_of(B, "git")], ROWS, []),  # each try by itself
        ([Unit("test", B, strays=(CURL,))], ROWS, [(B, "curl", False)]),
        # What a hook has left out counts for nothing.
        ([Unit("test", B, records=(record("git"), CURL), uncounted=(CURL,))], ROWS, []),
        ([Unit("test", B, records=(record("git"), CURL), uncounted=(CURL,))], budget("[total]\nat_most = 1\n"), []),
        ([test_of(A, "git", "git"), test_of(B, "git", "git")], PROGRAMS, [(TOTAL, "git", False)]),
        ([Unit("outside", "outside of tests", records=(CURL,))], PROGRAMS, [(TOTAL, "curl", False)]),
        *(
            ([test_of(A, "git", "git"), test_of(B, "git")], package(name), [(name.rstrip("/"), None, False)])
            for name in ("tests/a", "tests/a/", "tests", A)
        ),
        *(([test_of(A, "git", "git"), test_of(B, "git")], package(name), []) for name in ("tests/b", "tests/a/test")),
    ],
)
def test_what_is_beyond(units: list[Unit], baseline: Baseline, found: list[tuple[str, str | None, bool]]) -> None:
    assert found_in(report(*units), baseline) == found
    if baseline is ROWS:
        assert judge(report(*units), ROWS).status is (EXCEEDED if found else WITHIN)


def test_shards_are_one_run() -> None:
    baseline = budget("[total]\nat_most = 3\n")
    one, two = report(test_of(A, "git", "git")), report(test_of(B, "git", "git"))
    assert judge(one, baseline).status is WITHIN
    assert found_in(merged([one, two]), baseline) == [(TOTAL, None, False)]
    assert found_in(merged([one, one]), baseline) == []


def test_names_of_reports_are_taken_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the reports are judged, home may be a folder that the machines which wrote them knew nothing of."""
    monkeypatch.setenv("HOME", "/app")
    baseline = budget('[tests."src/app/t.py::t[/app/x]"]\ngit = 1\n[packages."src/app"]\nat_most = 1\n')
    document = merged([report(test_of("src/app/t.py::t[/app/x]", "git")), report(test_of("src/app/t.py::t"))])
    assert judge(document, baseline).status is WITHIN
    assert unseen(document, baseline) == []


def test_fixtures_and_the_collection_have_rows() -> None:
    baseline = budget('[fixtures."tests::repo (session)"]\ngit = 1\n[around.collection]\nls = 1\n')
    good = report(
        test_of(A),
        Unit("fixture", "tests::repo (session)", records=(record("git"),)),
        Unit("collection", "collection", records=(record("ls"),)),
    )
    assert judge(good, baseline).status is WITHIN
    bad = report(Unit("fixture", "tests::repo (session)", records=(record("ls"),)))
    assert found_in(bad, baseline) == [("tests::repo (session)", "ls", False)]


# ---- an incomplete log can never pass ----


@pytest.mark.parametrize(
    "document",
    [
        report(test_of(A, "git", lost=1)),
        report(test_of(A, "git", unknown=("the helper died",))),
        report(test_of(A, "git", gaps={"it was full": 2})),
        report(test_of(A, "git"), gaps={"it was full": 2}),
        report(test_of(A, not_checked="no probe")),
        report(test_of(A, "git"), unknown=("worker gw1 ended",)),
        report(test_of(A, "git"), exit_status=2),
        report(test_of(A, "git"), exit_status=None),
        Document(),
    ],
)
@pytest.mark.parametrize("baseline", [ROWS, budget("[total]\nat_most = 100\n"), budget("")])
def test_incomplete(document: Document, baseline: Baseline) -> None:
    verdict = judge(document, baseline)
    assert verdict.status is INCOMPLETE
    assert verdict.incomplete


@pytest.mark.parametrize(("limit", "holds"), [(6, []), (5, [None]), (4, [None]), (3, [False])])
def test_a_sum_goes_by_the_bounds_of_what_is_missing(limit: int, holds: list[bool | None]) -> None:
    """Two units can each have been without the two execs that the run is without."""
    units = [test_of(A, "git", gaps={"it was full": 2}), test_of(B, "git", "git", lost=1, gaps={"it was full": 2})]
    document = report(*units, gaps={"it was full": 2})
    verdict = judge(document, budget(f"[total]\nat_most = {limit}\n"))
    assert [finding.excess.holds for finding in verdict.findings] == holds
    assert verdict.status is (EXCEEDED if holds == [False] else INCOMPLETE)
    assert (document.lost, document.lost_at_most) == (1, 3)


def test_what_is_certain_counts_in_an_incomplete_report() -> None:
    assert judge(report(test_of(A, "curl", lost=1)), ROWS).status is EXCEEDED


@pytest.mark.parametrize(
    ("lost", "filtered", "status"),
    [
        (0, False, WITHIN),
        (1, False, INCOMPLETE),
        (2, False, EXCEEDED),  # one at least of those that were lost is beyond it
        (2, True, INCOMPLETE),  # if it was none of those that no count has
        (9, True, INCOMPLETE),
    ],
)
def test_what_was_lost_is_certain_to_count_only_if_nothing_is_left_out_of_counts(
    lost: int, filtered: bool, status: GateStatus
) -> None:
    document = report(test_of(A, "git", lost=lost), filtered=filtered)
    assert not document.runs[0].ignored
    assert judge(document, budget("[total]\nat_most = 2\n")).status is status
    assert judge(merged([document, report(test_of(B))]), budget("[total]\nat_most = 2\n")).status is status


def test_a_run_without_tests_proves_nothing() -> None:
    assert judge(report(exit_status=5), ROWS).incomplete == ("a run had no test",)


def test_a_budget_that_does_not_speak_of_what_is_there() -> None:
    command = Document(
        (Run(id="c", kind="command", exit_status=0),), (Unit("command", "make", records=(record("cc"),)),)
    )
    assert judge(command, ROWS).incomplete == ("execs.toml has no [total], and nothing else in it is about a command",)
    assert judge(command, budget("[total]\nat_most = 1\n")).status is WITHIN
    (why,) = judge(report(test_of(A)), budget("")).incomplete
    assert why.startswith("execs.toml limits nothing")
    misspelt = budget("[packages.tset]\nat_most = 1\n")
    assert judge(report(test_of(A)), misspelt).incomplete == ('packages."tset" matches no test in these reports',)


def test_two_runs_with_one_id() -> None:
    one, other = report(test_of(A, "git")), report(test_of(A, "curl"))
    other = Document(one.runs, other.units)
    assert merged([one, one]) == one
    with pytest.raises(RunsDiffer, match="different runs with the id"):
        merged([one, other])


def test_what_is_forbidden_in_all_is_so_whatever_else_may_run() -> None:
    sh = record("sh")
    ran = report(Unit("test", A, records=(sh, record("id", parent=sh))))
    for more in ('patterns = ["subtree:sh"]', 'everywhere = ["id", "sh"]', '[aliases]\n"i*" = "foo"'):
        assert found_in(ran, budget(f"{more}\n[total.programs]\nid = 0\n")) == [(TOTAL, "id", False)]
    script = record("release.sh", path="/opt/release.sh", executable="/usr/bin/dash", interpreter="/bin/sh")
    assert found_in(report(Unit("test", A, records=(script,))), budget('[total.programs]\n"/usr/bin/dash" = 0\n')) == [
        (TOTAL, "/usr/bin/dash", False)
    ]


# ---- what the runs themselves have found ----

DENIED = ReportedBreach("curl must not run, but it ran once")
OPEN = ReportedBreach("cannot tell whether curl ran", undecided=True)


@pytest.mark.parametrize(
    ("document", "status"),
    [
        (report(test_of(A, breaches=(DENIED,))), EXCEEDED),
        (report(test_of(A, breaches=(OPEN,))), INCOMPLETE),
        (report(test_of(A, breaches=(OPEN, DENIED))), EXCEEDED),
        (report(test_of(A), breaches=(DENIED,)), EXCEEDED),
        (report(test_of(A), breaches=(OPEN,)), INCOMPLETE),
        (report(test_of(A), Unit("collection", "collection", breaches=(DENIED,))), EXCEEDED),
        (report(test_of(A), Unit("outside", "outside of tests", breaches=(OPEN,))), INCOMPLETE),
        (report(test_of(A, outcome="failed")), INCOMPLETE),
        (report(test_of(A, outcome="error")), INCOMPLETE),
        (report(test_of(A), exit_status=1), INCOMPLETE),
        # What the run itself excuses.
        (report(test_of(A, outcome="xfailed", breaches=(DENIED,))), WITHIN),
        (report(test_of(A, outcome="rerun", breaches=(DENIED,)), test_of(A, outcome="passed")), WITHIN),
        (report(test_of(A, outcome="xfailed", breaches=(DENIED,)), exit_status=1), INCOMPLETE),
        (report(test_of(A, breaches=(DENIED,)), exit_status=1), EXCEEDED),
        # But not what it has found when the test had been reported.
        (report(test_of(A, outcome="xfailed", breaches=(replace(DENIED, late=True),))), EXCEEDED),
    ],
)
def test_rules_of_the_runs(document: Document, status: GateStatus) -> None:
    assert judge(document, ROWS).status is status
    assert judge(document, ROWS, budget_only=True).status is WITHIN


def test_the_budget_alone_is_no_excuse_for_what_is_missing() -> None:
    assert judge(report(test_of(A), unknown=("x",)), ROWS, budget_only=True).status is INCOMPLETE
    assert judge(report(test_of(A, not_checked="x")), ROWS, budget_only=True).status is INCOMPLETE
    assert judge(report(test_of(A), exit_status=2), ROWS, budget_only=True).status is INCOMPLETE
    assert judge(report(test_of(A, "curl")), ROWS, budget_only=True).status is EXCEEDED


def test_what_failed_is_named() -> None:
    assert judge(report(test_of(A, outcome="failed"), exit_status=1), ROWS).incomplete == (f"{A}: failed",)
    command = Unit("command", "make", outcome="failed", records=(record("cc"),))
    document = Document((Run(id="c", kind="command", exit_status=7),), (command,))
    assert judge(document, budget("[total]\nat_most = 1\n")).incomplete == ("make: its exit status is 7",)


# ---- tries ----


def test_the_last_try_alone_is_judged_by_its_rows() -> None:
    first, last = test_of(B, "git", "curl", outcome="rerun"), test_of(B, "git", outcome="passed")
    verdict = judge(report(first, last), ROWS)
    assert verdict.status is WITHIN
    assert [(finding.name, finding.excess.key) for finding in verdict.before] == [(B, "curl")]
    assert judge(report(first, replace(last, outcome="failed", records=first.records)), ROWS).exceeded
    assert found_in(report(first, last), budget("[total]\nat_most = 2\n")) == [(TOTAL, None, False)]
    assert found_in(report(first, last), budget('[packages."tests/b"]\nat_most = 2\n')) == [("tests/b", None, False)]


def test_a_try_that_none_has_followed_is_judged() -> None:
    assert judge(report(test_of(B, "curl", outcome="rerun")), ROWS).status is EXCEEDED
    assert judge(merged([report(test_of(B, "curl", outcome="rerun")), report(test_of(B))]), ROWS).exceeded


# ---- how many runs there are, and of what ----


def shard(*units: Unit, **more: object) -> Document:
    return report(*units, started="2026-01-01T00:00:00Z", **more)


def test_one_shard_twice_is_not_two() -> None:
    """Whether it is the same run, a copy under another name, in a merged report, or the same tests once more."""
    one, two = shard(test_of(A)), shard(test_of(B))
    assert judge(merged([one, two]), ROWS, 2).status is WITHIN
    for documents in ([one, one], [one, merged([one])], [merged([one, one]), one]):
        assert judge(merged(documents), ROWS, 2).incomplete == ("of 2 runs, 1 are there",)
    (why,) = judge(merged([one, shard(test_of(A, "git"))]), ROWS, 2).incomplete
    assert why == (
        "runs 1 and 2 (2026-01-01T00:00:00Z and 2026-01-01T00:00:00Z) have tests in common, such as"
        f" {A}: one part of the tests is there twice, and another may be missing (runs of a matrix are distinguished by"
        " --execprobe-variant=NAME)"
    )
    assert judge(merged([one, shard(test_of(A, "git"))]), ROWS).status is WITHIN
    some = judge(merged([shard(test_of(A), test_of(B)), shard(test_of(B))]), ROWS, 2)
    assert some.status is INCOMPLETE


def test_the_same_tests_on_another_platform_are_not_the_same_shard() -> None:
    both = merged([shard(test_of(A), platform="cpython 3.9.1"), shard(test_of(A), platform="cpython 3.13.1")])
    assert judge(both, ROWS, 2).status is WITHIN


def test_the_same_tests_of_another_variant_are_not_the_same_shard() -> None:
    both = merged([shard(test_of(A), variant="django-4.2"), shard(test_of(A), variant="django-5.1")])
    assert judge(both, ROWS, 2).status is WITHIN
    same = merged([shard(test_of(A), variant="django-4.2"), shard(test_of(A), variant="django-4.2")])
    assert judge(same, ROWS, 2).status is INCOMPLETE


def test_what_one_shard_leaves_out_another_has() -> None:
    one, two = shard(test_of(A), left_out=(B,)), shard(test_of(B), left_out=(A,))
    assert judge(merged([one, two]), ROWS, 2).status is WITHIN
    verdict = judge(one, ROWS)
    assert verdict.incomplete == (f"deselected, and no run has them, though the baseline has them: {B}",)
    assert judge(one, ROWS, allow_deselected=True).status is WITHIN
    assert judge(shard(test_of(A), left_out=("tests/c.py::test_c",)), ROWS).status is WITHIN
    wide = budget('[tests."tests/*"]\ngit = 1\n')
    assert judge(one, wide).status is INCOMPLETE


# ---- what was not collected ----

HERE = ("tests", "tests/a", "tests/b")
FILES = ("tests/a/test_a.py", "tests/b/test_b.py")


@pytest.mark.parametrize(
    ("collection", "status"),
    [
        (Collection((".",), folders=(".",)), WITHIN),
        (Collection((".",), FILES, folders=(".", *HERE)), WITHIN),
        (Collection((".",), FILES[:1], folders=(".", *HERE)), WITHIN),
        (None, INCOMPLETE),
        (Collection(), INCOMPLETE),
        (Collection(("tests/a",), FILES[:1], folders=("tests/a",)), INCOMPLETE),
        (Collection((FILES[0],), FILES[:1]), INCOMPLETE),
        (Collection((".",), FILES[:1], folders=(".", *HERE), passed_over=(FILES[1],)), INCOMPLETE),
        (Collection((".",), FILES[:1], folders=(".", *HERE[:2]), passed_over=("tests/b",)), INCOMPLETE),
        (Collection((".",), FILES[:1], folders=(".", *HERE[:2]), passed_over=("tests/bc", "tests")), INCOMPLETE),
        (Collection((".",), FILES[:1], folders=(".", *HERE[:2]), passed_over=("tests/bc",)), WITHIN),
        # It was collected for its examples alone.
        (Collection((".",), FILES[:1], FILES[1:], folders=(".", *HERE)), INCOMPLETE),
        # A file that skips itself is as good as tests that do.
        (Collection((".",), FILES[:1], skipped=FILES[1:], folders=(".", *HERE)), WITHIN),
    ],
)
def test_a_test_that_was_not_collected_is_missing_unless_it_is_gone(
    collection: Collection | None, status: GateStatus
) -> None:
    document = report(test_of(A, "git"), collection=collection)
    verdict = judge(document, ROWS)
    assert verdict.status is status
    assert judge(document, ROWS, allow_deselected=True).status is WITHIN
    if verdict.incomplete:
        (why,) = verdict.incomplete
        assert why.startswith(f"not collected, and no run has them, though the baseline has them: {B} (collected")
        other = shard(test_of(B), collection=collection)
        assert judge(merged([document, other]), ROWS).status is WITHIN, "another run has it"


@pytest.mark.parametrize(
    ("table", "passed_over", "status"),
    [
        ("tests/*", "tests/b", INCOMPLETE),
        ("tests/*", "tests", INCOMPLETE),
        ("tests/*", "tools", WITHIN),
        ("tests/b/test_b.py::test_b[*]", "tests/b", INCOMPLETE),
        ("tests/b/test_b.py::test_b[*]", "tools", WITHIN),
        ("tests/b/test_b.py::b.test_b", "tests/b/test_b.py", INCOMPLETE),
        # A plugin's: whether that was there is not known.
        ("a.py::ruff", "tools", INCOMPLETE),
        *((f"a.py::{some}", "tools", WITHIN) for some in ("*", "*[*]", "t*", "tx*", "c*")),
        ("a.py::r*", "tools", INCOMPLETE),
        # Whether other files were passed over is not known.
        ("tests/b/README.md::README.md", "tools", INCOMPLETE),
    ],
)
def test_tables_of_several_tests_and_of_examples(table: str, passed_over: str, status: GateStatus) -> None:
    rows = budget(f'[tests."a.py::t"]\n[tests."{table}"]\ngit = 1\n')
    document = report(
        test_of("a.py::t"),
        collection=Collection((".",), ("a.py",), folders=(".",), passed_over=(passed_over,), functions=("t", "c*k")),
    )
    assert judge(document, rows).status is status


@pytest.mark.parametrize(
    ("collection", "status"),
    [
        (Collection(("a.py::t[1]",)), INCOMPLETE),
        (Collection(("a.py::tt",)), INCOMPLETE),
        (Collection(("b.py",), ("b.py",)), INCOMPLETE),
        (Collection(("a.py",), ("a.py",)), WITHIN),
        (Collection(("a.py::t",)), WITHIN),
    ],
)
def test_a_table_of_several_tests_of_which_one_is_there(collection: Collection, status: GateStatus) -> None:
    one = report(test_of("a.py::t[1]"), collection=collection)
    assert judge(one, budget('[tests."a.py::t[*]"]\ngit = 1\n')).status is status


@pytest.mark.parametrize("folder", ["~", "a~b", "$TMPDIR"])
def test_a_test_in_a_folder_that_is_called_like_the_sign_of_one(folder: str) -> None:
    """By its name it could be an earlier version's; that a run has left it out is no proof of that."""
    rows = budget(f'[tests."a.py::t"]\n[tests."{folder}/b.py::t"]\ngit = 1\n')
    assert judge(report(test_of("a.py::t"), collection=Collection(("a.py",), ("a.py",))), rows).status is INCOMPLETE
    whole = Collection((".",), ("a.py",), folders=(".",))
    assert judge(report(test_of("a.py::t"), collection=whole), rows).status is WITHIN


def test_a_package_that_was_left_out_on_purpose() -> None:
    rows = budget('[packages."tests/b"]\nat_most = 1\n')
    ignored = Collection((".",), folders=(".", "tests"), passed_over=("tests/b",))
    for document in (
        report(test_of(A), left_out=(B,)),
        report(test_of(A), collection=Collection(("tests/a",), folders=("tests/a",))),
        report(test_of(A), collection=ignored),
    ):
        assert judge(document, rows).incomplete == ('packages."tests/b" matches no test in these reports',)
        assert judge(document, rows, allow_deselected=True).status is WITHIN
    assert judge(report(test_of(A)), rows, allow_deselected=True).status is INCOMPLETE, "there is none"


def test_more_lost_execs_than_can_have_been() -> None:
    document = report(test_of(A, lost=1 << 62))
    assert judge(document, ROWS).status is INCOMPLETE
    assert judge(document, budget("[total]\nat_most = 5\n")).status is EXCEEDED
    assert judge(document, budget("[total]\nat_most = 9_000_000\n")).status is INCOMPLETE


CURL_IGNORED = "curl ran 2 times and was not counted (--execprobe-ignore)"


@pytest.mark.parametrize(
    ("limits", "why"),
    [
        ("[total.programs]\ncurl = 3", "though the baseline limits how often it runs in all"),
        ('[packages.tests]\nprograms = {"subtree:c*" = 1}', "though the baseline limits how often it runs in all"),
        (f'[tests."{A}"]\ncurl = 0\ngit = 1', "though the baseline forbids it"),
        *(
            (f'[total.programs]\n"{key}" = 0', "though the baseline limits how often it runs in all")
            for key in ("c*l", "/usr/bin/curl", "/opt/c*", "subtree:curl", "argv:curl -s *", "subtree:argv:/bin/curl")
        ),
    ],
)
def test_what_a_run_has_ignored_though_the_baseline_forbids_it_or_limits_a_sum(limits: str, why: str) -> None:
    document = report(test_of(A), ignored={"curl": 2, "lsb_release": 1})
    verdict = judge(document, budget(limits))
    assert (verdict.incomplete, verdict.ignored) == ((f"{CURL_IGNORED}, {why}",), ())
    for other in ("at_most = 0", 'programs = {"*" = 0, "/opt/*" = 0, "argv:* -s" = 0, "re:curl" = 0, "x*" = 0}'):
        assert judge(document, budget(f"[total]\n{other}\n")).status is WITHIN


@pytest.mark.parametrize("row", ["curl", '"c*"', '"subtree:curl"', "web"])
def test_rows_of_what_a_run_has_ignored_are_neither_kept_nor_missing(row: str) -> None:
    document = report(test_of(A), ignored={"curl": 2, "git": 1})
    verdict = judge(document, budget(f'[aliases]\ncurl = "web"\n[tests."{A}"]\n{row} = 1\ngit = "any"\n'))
    assert (verdict.status, verdict.incomplete) == (WITHIN, ())
    assert verdict.ignored == (f"{CURL_IGNORED}: its rows are judged without that",)


def test_from_another_root_directory_every_test_seems_to_be_gone() -> None:
    document = report(test_of("a/test_a.py::test_a"))
    verdict = judge(document, ROWS)
    assert judge(document, ROWS, allow_deselected=True) == verdict
    assert verdict.incomplete == (
        f"the baseline matches no test in these reports, such as {A}: was the root directory another one?",
    )


def test_what_was_deselected_is_told_once() -> None:
    one = report(test_of(A), left_out=(B,), collection=Collection(("tests/a",)))
    assert len(judge(one, ROWS).incomplete) == 1


# ---- new, and unseen ----


def test_new_since_a_report_or_a_baseline() -> None:
    now = report(test_of(A, "git", "curl", "jq", "curl"), test_of(B, "curl"))
    then = report(test_of(A, "git"))
    assert [(new.program, new.count, new.names) for new in new_since(now, then, ROWS)] == [
        ("curl", 3, (A, B)),
        ("jq", 1, (A,)),
    ]
    assert [new.program for new in new_since(now, ROWS, ROWS)] == ["curl", "jq"]


def test_new_since_a_baseline_with_patterns() -> None:
    old = budget(f'patterns = ["subtree:make"]\n[tests."{A}"]\n"argv:git push" = 1\n"subtree:make" = 1\n')
    make = record("make")
    ran = (make, record("cc", parent=make), record("git", "push"), record("git", "tag"), record("cc"))
    assert [new.program for new in new_since(report(Unit("test", A, records=ran)), old, old)] == ["cc", "git"]


def test_new_by_aliases() -> None:
    baseline = budget('[aliases]\n"python3.*" = "python"\n')
    now, then = report(test_of(A, "python3.13")), report(test_of(A, "python3.9"))
    assert new_since(now, then, baseline) == []


def test_unseen() -> None:
    assert unseen(report(test_of(A)), ROWS) == [B]
    assert unseen(report(test_of("a::t[1]")), budget('[tests."a::t[*]"]\ngit = 1\n')) == []


@pytest.mark.parametrize(
    ("limits", "status"),
    [("at_most = 9", INCOMPLETE), ("programs = { curl = 0 }", INCOMPLETE), ("at_most = 0", EXCEEDED)],
)
def test_a_command_whose_tree_was_still_running_is_never_within(limits: str, status: GateStatus) -> None:
    verdict = judge(left(), budget(f"[total]\n{limits}\n"))
    assert verdict.status is status
    (why,) = verdict.incomplete
    assert why.startswith("2 processes had not ended when the recording did, and may execute more: ")
    assert bool(verdict.undecided) == (status is INCOMPLETE)
    ended = judge(left(running=()), budget(f"[total]\n{limits}\n"))
    assert ended.status is (EXCEEDED if status is EXCEEDED else WITHIN)
    assert judge(left(running=(), more_running=1), budget(f"[total]\n{limits}\n")).status is status

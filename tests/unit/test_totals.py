"""The sums of a run: what is added up, and how it travels."""

from __future__ import annotations

import json
import marshal
from collections import Counter

from pytest_execprobe.session.totals import LateBreach, Totals


def full() -> Totals:
    """One that has something of everything."""
    return Totals(
        tests={"test_a": Counter(git=2, sh=1), "test_b": Counter(git=1)},
        others={"collection": Counter(uname=1), "fixture 'server' (session)": Counter(server=1)},
        strays={"test_a": Counter(sleep=1)},
        late={"test_a": Counter(worker=3)},
        ignored=Counter({"coverage": 4}),
        files=Counter({"/opt/caf\udce9": 2}),  # in Latin-1
        usage={"tests": {"test_a": {"1": {"git": 2}}}},
        by_chance={"tests": {"test_a": {"1": {"git": 1}}}},
        superseded={"test_b": ["2"]},
        gathered=["{}"],
        collected={"ids": ["test_a"]},
        lost=2,
        unknown={"the helper was lost": None},
        not_checked={"test_c": "no BCC"},
        excused={"test_b": "nothing may run, but git ran"},
        breaches=[
            LateBreach("test_a", ("test_it.py", 3, "test_a"), "curl must not run", "curl must not run\n  rule", False),
            LateBreach.around("collection", "cannot tell", "cannot tell\n  why", undecided=True),
        ],
        probe="BCC 0.30",
        recorded=5,
    )


def test_totals() -> None:
    totals = full()
    # What tests left running was counted where it ran, and is not counted again.
    assert totals.programs == Counter(git=3, sh=1, uname=1, server=1, sleep=1)
    assert totals.execs == 9
    assert totals.missing is None


def test_lost_execs_count_and_have_no_name() -> None:
    totals = Totals(tests={"test_a": Counter(git=1)}, lost=2)
    assert (totals.execs, totals.missing, totals.programs) == (3, 2, Counter(git=1))


def test_ignored_ones_do_not_count() -> None:
    assert Totals(ignored=Counter(git=3)).execs == 0


def test_counting() -> None:
    group: dict[str, Counter[str]] = {}
    for name, program in (("test_a", "git"), ("test_a", "git"), ("test_b", "sh")):
        Totals.count(group, name, program)
    assert group == {"test_a": Counter(git=2), "test_b": Counter(sh=1)}


def test_what_is_exported_is_plain_data() -> None:
    data = full().export()
    marshal.dumps(data)  # what xdist can send, and no subclass of it
    json.dumps(data, ensure_ascii=False).encode()  # nor what is no text
    assert json.loads(json.dumps(data)) == data


def test_exported_and_taken_it_is_the_same() -> None:
    taken = Totals()
    taken.take(json.loads(json.dumps(full().export())))
    assert taken == full()


def test_nothing_is_exported_of_an_empty_one() -> None:
    assert Totals().export() == {}
    taken = full()
    taken.take({})
    assert taken == full()


def test_taking_adds_up() -> None:
    taken = full()
    taken.take(full().export())
    assert taken.tests == {"test_a": Counter(git=4, sh=2), "test_b": Counter(git=2)}
    assert taken.others == {"collection": Counter(uname=2), "fixture 'server' (session)": Counter(server=2)}
    assert taken.strays == {"test_a": Counter(sleep=2)}
    assert taken.late == {"test_a": Counter(worker=6)}
    assert taken.ignored == Counter({"coverage": 8})
    assert (taken.lost, taken.recorded, taken.execs) == (4, 10, 18)
    assert len(taken.breaches) == 4
    # The same reason is given once, and the same test is one.
    assert (taken.unknown, taken.not_checked, taken.excused) == (full().unknown, full().not_checked, full().excused)


def test_what_was_exported_does_not_change_with_the_totals() -> None:
    totals = full()
    data = totals.export()
    before = json.dumps(data)
    totals.take(data)
    Totals.count(totals.tests, "test_a", "git")
    totals.not_checked["test_d"] = "no BCC"
    assert json.dumps(data) == before


def test_probe_that_is_not_sent_again_stays() -> None:
    totals = full()
    totals.take({"recorded": 1})
    assert totals.probe == "BCC 0.30"
    totals.take({"probe": "BCC 0.31"})
    assert totals.probe == "BCC 0.31"


def test_breach_that_is_no_tests_has_a_place_of_its_own() -> None:
    breach = LateBreach.around("collection", "headline", "text", undecided=False)
    assert breach.nodeid == "execprobe::collection"
    assert breach.location == ("execprobe", None, "the run (collection)")


# ---- baselines and reports ----


def test_the_greatest_use_counts_whoever_sends_it() -> None:
    totals, other = Totals(), Totals()
    totals.use("tests", "test_a", {"git": 2, "sh": 1})
    other.use("tests", "test_a", {"git": 1, "ls": 3})
    other.use("around", "collection", {})
    totals.take(other.export())
    totals.take(Totals().export())
    assert totals.used == {"tests": {"test_a": {"git": 2, "sh": 1, "ls": 3}}, "around": {"collection": {}}}


def test_of_a_test_that_was_tried_again_the_last_try_counts() -> None:
    """Also where what the first has left behind comes after it, and in whatever parts that is sent."""
    totals = Totals()
    parts = [Totals() for _ in range(4)]
    parts[0].use("tests", "test_a", {"git": 2, "curl": 1}, {"curl": 1}, attempt="1")
    parts[1].supersede("test_a", "1")
    parts[1].supersede("test_a", "1")
    parts[2].use("tests", "test_a", {"git": 1}, attempt="2")
    parts[3].use("tests", "test_a", {"curl": 5}, {"curl": 5}, attempt="1")
    for part in parts:
        totals.take(part.export())
    assert (totals.used, totals.used_by_chance) == ({"tests": {"test_a": {"git": 1}}}, {})
    assert totals.superseded == {"test_a": ["1"]}


def test_what_was_collected_is_taken_from_anybody() -> None:
    totals = Totals()
    totals.take({"collected": {"ids": ["a"]}})
    totals.take(Totals().export())
    assert totals.collected == {"ids": ["a"]}


def test_parts_of_a_report_are_passed_on_in_order() -> None:
    totals = Totals()
    totals.take({"gathered": ["one"]})
    totals.take({"gathered": ["two"]})
    assert totals.export()["gathered"] == ["one", "two"]


def test_what_has_not_ended_is_added_up() -> None:
    whole = Totals()
    for part in ([[1, "sleep", True, 5]], [[2, None, False, None]]):
        exported = Totals(running=part, more_running=3).export()
        assert json.loads(json.dumps(exported)) == exported
        whole.take(exported)
    assert (whole.running, whole.more_running) == ([[1, "sleep", True, 5], [2, None, False, None]], 6)
    assert "running" not in Totals().export()

"""The process tree as text: whose child is whose, what a process executed, and what there is no room for."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Iterable
from textwrap import dedent

from fakes import altered, log_of, record
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_execprobe import CallSite, ExecRecord
from pytest_execprobe.log import tree

_MS = 1_000_000


def ran(
    *command: str,
    at: float,
    took: float | None = 1,
    exit_code: int | None = 0,
    signal: int | None = None,
    ppid: int | None = None,
    fork: str | None = None,
    shared: bool = False,
    begun_by: str | None = None,
    site: CallSite | None = None,
    **more: object,
) -> ExecRecord:
    made = record(*command, at=int(at * _MS), pid=300 + int(at), **more)  # type: ignore[arg-type]
    return altered(
        made,
        duration_ns=None if took is None else int(took * _MS),
        exit_code=exit_code if signal is None else None,
        signal=signal,
        ppid=ppid,
        fork=fork,
        shared=shared,
        begun_by=begun_by,
        call_site=site,
    )


def shown(*records: ExecRecord, marked: Iterable[ExecRecord] = ()) -> str:
    return "\n".join(line.rstrip() for line in tree.lines(records, 0, marked))


def unmarked(text: str) -> str:
    return "\n".join(line[2:] for line in text.splitlines())


def test_children_are_below_their_parents() -> None:
    make = ran("make", at=1, took=20)
    gcc = ran("gcc", "a.c", at=2, parent=make, exit_code=1)
    cc1 = ran("cc1", "a.c", at=3, parent=gcc, signal=11)
    cp = ran("cp", at=4, parent=make, took=None, exit_code=None)
    git = ran("git", at=5)
    assert shown(make, gcc, cc1, cp, git, marked=[cc1]) == dedent(
        """\
          #  +ms  took ms  pid  ended    process
                                         pytest
          1  1.0     20.0  301  exit 0   ├─ /usr/bin/make
          2  2.0      1.0  302  exit 1   │  ├─ /usr/bin/gcc a.c
        > 3  3.0      1.0  303  SIGSEGV  │  │  └─ /usr/bin/cc1 a.c
          4  4.0           304           │  └─ /usr/bin/cp
          5  5.0      1.0  305  exit 0   └─ /usr/bin/git"""
    )


def test_what_a_process_executed_one_after_the_other_is_one_process() -> None:
    env = ran("env", "make", at=1, took=None, exit_code=None)
    early = ran("uname", at=2, parent=env)
    make = ran("make", at=3, took=9, previous=env)
    gcc = ran("gcc", at=4, parent=make)
    late = ran("date", at=5, parent=env)  # forked before, executed after
    assert unmarked(shown(env, early, make, gcc, late)) == dedent(
        """\
          #  +ms  took ms  pid  ended   process
                                        pytest
          1  1.0      2.0  301          └─ /usr/bin/env make
          2  2.0      1.0  302  exit 0     ├─ /usr/bin/uname
          5  5.0      1.0  305  exit 0     ├─ /usr/bin/date
          3  3.0      9.0       exit 0     → /usr/bin/make
          4  4.0      1.0  304  exit 0     └─ /usr/bin/gcc"""
    )


def test_daemon_stays_where_it_was_forked() -> None:
    shell = ran("sh", at=1)
    daemon = ran("daemon", at=2, parent=shell, ppid=1)
    assert shown(shell, daemon).splitlines()[-1].endswith("   └─ /usr/bin/daemon  (its parent had ended)")


def test_where_pytest_is_process_1_its_children_are_no_orphans() -> None:
    assert "had ended" not in shown(ran("git", at=1, ppid=1))


def test_forks_of_the_tests_process_appear() -> None:
    """Each with what it has started, and with its number where that is known."""
    worker, other = "4711.1500000", "4712.1600000"
    one = ran("git", "tag", at=2, direct=False, fork=worker, ppid=4711)
    two = ran("gpg", at=3, direct=False, fork=other, ppid=1)
    three = ran("git", "push", at=4, direct=False, fork=worker, ppid=4711)
    assert unmarked(shown(one, two, three)) == dedent(
        """\
          #  +ms  took ms   pid  ended   process
                                         pytest
             1.5           4711          ├─ python  (forked, no exec)
          1  2.0      1.0   302  exit 0  │  ├─ /usr/bin/git tag
          3  4.0      1.0   304  exit 0  │  └─ /usr/bin/git push
             1.6                         └─ python  (forked, no exec)
          2  3.0      1.0   303  exit 0     └─ /usr/bin/gpg  (its parent had ended)"""
    )


def test_what_was_begun_before_is_named() -> None:
    server = ran("server", at=1)
    helper = ran("helper", at=9, parent=server, shared=True, begun_by="test_a")
    lost = ran("curl", at=10, lineage_lost=True)
    text = shown(helper, lost)
    assert "server  (begun before)" in text
    assert "└─ /usr/bin/helper  (begun by test_a)" in text
    assert text.splitlines()[-2:][0].endswith("?  (a record above was lost)")


def test_what_is_not_listed_leaves_its_children_to_the_next_above() -> None:
    make = ran("make", at=1)
    ignored = ran("sh", at=2, parent=make)
    gcc = ran("gcc", at=3, parent=ignored)
    assert shown(make, gcc).splitlines()[-1].endswith("  └─ /usr/bin/gcc")


def test_call_site_is_that_of_the_branch() -> None:
    site = CallSite("release.py", 31, "tag")
    shell = ran("sh", at=1, site=site)
    git = ran("git", at=2, parent=shell, site=site)
    lines = shown(shell, git).splitlines()
    assert [line.endswith("(release.py:31 in tag)") for line in lines[2:]] == [True, False]


# ---- many ----


def compiled(number: int, **more: object) -> list[ExecRecord]:
    make = ran("make", at=0)
    found = [make]
    for n in range(number):
        gcc = ran("gcc", f"{n}.c", at=n + 1, parent=make, **more)  # type: ignore[arg-type]
        found += [gcc, ran("as", f"{n}.s", at=n + 1.5, parent=gcc)]
    return found


def test_fifty_are_all_shown() -> None:
    records = compiled(25)
    assert len(shown(*records).splitlines()) == len(records) + 2


def test_alike_siblings_are_folded() -> None:
    text = shown(*compiled(2500))
    assert len(text.splitlines()) == 10
    assert "… 2,497 more like it: gcc, exit 0, 4,994 processes with all below" in text


def test_what_ended_otherwise_is_not_alike() -> None:
    records = compiled(2500)
    records[3001] = altered(records[3001], exit_code=1)
    text = shown(*records)
    assert "gcc 1500.c" in text
    assert "… 2,496 more like it" in text


def test_what_is_marked_is_shown() -> None:
    records = compiled(2500)
    text = shown(*records, marked=[records[4001]])
    assert re.search(r"^> 4002 .* /usr/bin/gcc 2000\.c$", text, re.M)
    many = shown(*records, marked=records[1::2])
    assert "\n>" in many
    assert re.search(r"^> .*… 2,497 more like it", many, re.M)


def test_folded_ones_keep_their_place() -> None:
    records = [ran("git", at=n) for n in range(1, 200)] + [ran("gpg", at=500)]
    rows = shown(*records).splitlines()[2:]
    assert [row.split()[-1] for row in rows[:3]] == ["/usr/bin/git"] * 3
    assert "more like it" in rows[3]
    assert rows[4].endswith("└─ /usr/bin/gpg")


def test_of_many_kinds_some_are_shown() -> None:
    records = [ran(f"tool{n}", at=n) for n in range(1, 2000)]
    text = shown(*records, marked=[records[-1]])
    assert len(text.splitlines()) < 100
    assert "tool1999" in text
    assert re.search(r"… 1,9\d\d processes more, of 1,9\d\d other kinds", text)


def test_depth_is_bounded() -> None:
    chain = [ran("sh", at=0)]
    for n in range(1, 500):
        chain.append(ran(f"sh{n % 7}", at=n, parent=chain[-1]))
    text = shown(*chain)
    assert re.search(r"… 4\d\d processes below$", text)
    assert len(text.splitlines()) < 60


def test_never_too_many_lines() -> None:
    """However little is alike."""
    records: list[ExecRecord] = []
    for n in range(4000):
        parent = records[(n - 1) // 4] if n else None
        records.append(ran(f"tool{n}", at=n, parent=parent))
    assert len(shown(*records).splitlines()) <= 402


def test_fifty_thousand_take_no_longer_than_a_few_seconds() -> None:
    """A bound that no machine exceeds, unless something is quadratic."""
    records = compiled(25_000)
    began = time.process_time()
    assert len(shown(*records).splitlines()) == 10
    assert time.process_time() - began < 10


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_every_exec_is_there_once_below_its_own_parent(data: st.DataObject) -> None:
    """Of a tree that is shown as a whole."""
    records: list[ExecRecord] = []
    for n in range(data.draw(st.integers(1, 30))):
        parent = data.draw(st.none() | st.sampled_from(records)) if records else None
        heirs = [one for one in records if one not in {other._lineage.previous for other in records}]
        previous = data.draw(st.none() | st.sampled_from(heirs)) if heirs and parent is None else None
        parent = previous.parent if previous is not None else parent
        records.append(ran(f"x{n}x", at=n, parent=parent, previous=previous))
    lines = tree.lines(records, 0)[2:]
    found = {int(match[1]): line for line in lines if (match := re.search(r"/usr/bin/x(\d+)x", line))}
    assert len(lines) == len(records) == len(found)
    column = {n: line.index("/usr/bin/") for n, line in found.items()}
    places = {n: place for place, line in enumerate(lines) for n, its in found.items() if its is line}
    number = {one: n for n, one in enumerate(records)}
    for n, one in enumerate(records):
        if one._lineage.previous is not None:
            assert places[number[one._lineage.previous]] < places[n]
        if one.parent is not None:
            above = number[one.parent]
            assert places[above] < places[n]
            assert column[n] > column[above] or one._lineage.previous is not None


def test_tree_of_a_log_is_the_same_text() -> None:
    records = [ran("sh", at=1), ran("git", at=2)]
    first, *_ = log_of(*records).tree().splitlines()
    assert first.split() == ["#", "+ms", "took", "ms", "pid", "ended", "process"]
    assert list(itertools.islice(reversed(log_of(*records).tree().splitlines()), 1)) == [
        "  2 execs in the call phase, 0 lost"
    ]

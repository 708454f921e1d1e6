"""What was there before: descendants, and what may have been one."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
from collections.abc import Callable, Collection

import pytest

from pytest_execprobe.helper import adoption, orphans, proc


def no_tick() -> None:
    pass


def process(parent: int, started: int, session: int = 1) -> proc.Stat:
    return proc.Stat(parent, started, session)


def living(monkeypatch: pytest.MonkeyPatch, helper: int = 0) -> None:
    monkeypatch.setattr(orphans, "_is_helper", lambda pid: pid == helper)
    monkeypatch.setattr(proc, "is_ending", lambda _: False)


def stage(monkeypatch: pytest.MonkeyPatch, table: proc.Table) -> None:
    """Has /proc show these, in the one namespace that there is."""
    living(monkeypatch)
    monkeypatch.setattr(proc, "read_table", lambda *_: (table, True))
    monkeypatch.setattr(proc, "numbers", lambda _: (99,))


def kernels(number: int) -> int:
    return number + 70000


def search(
    adopt: Callable[[adoption.Found, int, int], bool] = lambda *_: True,
    *,
    client: int = 100,
    known: adoption.Declared | None = None,
    reapers: Collection[int] | None = (),
    to_kernels: Callable[[int], int | None] = kernels,
    tick: Callable[[], None] = no_tick,
) -> adoption.Search:
    found = None if reapers is None else {*reapers}
    return adoption.adopt_descendants(adopt, 1, client, kernels(client), known, found, to_kernels, tick)


@pytest.fixture(autouse=True)
def users(monkeypatch: pytest.MonkeyPatch) -> dict[int, int | None]:
    """Of processes that are not the client's user's."""
    others: dict[int, int | None] = {}
    monkeypatch.setattr(proc, "real_user", lambda pid: others.get(pid, 1000))
    return others


def test_orphans_are_what_nothing_leads_to_any_more(
    monkeypatch: pytest.MonkeyPatch, users: dict[int, int | None]
) -> None:
    users.update({203: 0, 209: None})
    living(monkeypatch, helper=300)
    table = {
        1: process(0, 1),
        70: process(1, 10, 70),
        80: process(1, 10, 80),  # the manager of the user's session
        90: process(80, 20, 90),
        100: process(90, 50, 90),  # the client
        110: process(100, 55, 110),  # its child, with a session of its own
        200: process(80, 60, 90),
        201: process(1, 60, 90),
        202: process(1, 40, 90),  # older than the client
        203: process(1, 60, 90),  # another user's
        204: process(90, 60, 90),  # the shell's own
        205: process(1, 60, 90),  # in the tree already
        209: process(1, 60, 90),  # ended meanwhile
        300: process(1, 60, 90),  # a helper
        # By session: of the client's child, of none that is left, its own; of an older process, of a later login.
        400: process(1, 60, 110),
        401: process(1, 60, 399),
        402: process(1, 60, 402),
        403: process(1, 60, 70),
        404: process(70, 57, 404),
        405: process(1, 60, 404),
        406: process(1, 57, 406),  # a session whose leader is an orphan itself
        407: process(1, 60, 406),
        408: process(1, 60, 0),  # put into this container, or pid namespace, from outside
    }
    gone: set[tuple[int, int]] = set()
    found, has_ended = orphans.find(table, 100, {100, 110, 205}, {80}, 50, gone, no_tick)
    assert sorted(found) == [200, 201, 400, 401, 402, 406, 407]
    assert (has_ended, gone) == (True, {(209, 60)})


def test_what_has_a_lower_number_in_the_same_tick_began_before(monkeypatch: pytest.MonkeyPatch) -> None:
    stage(monkeypatch, {})
    table = {number: process(1, 50) for number in (300, 9_699, 9_701, 9_999, 10_000, 10_001)}
    table |= {1: process(0, 1), 9_998: process(1, 51)}
    # The kernel may have begun anew with its numbers in between, but not have come so near again.
    assert orphans.find(table, 10_000, {10_000}, set(), 50, set(), no_tick)[0] == [300, 9_699, 10_001, 9_998]


def test_a_client_from_outside_of_the_pid_namespace_may_have_left_what_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    living(monkeypatch)
    table = {1: process(0, 1), 100: process(0, 50, 0), 200: process(1, 60, 0)}
    assert orphans.find(table, 100, {100}, set(), 50, set(), no_tick)[0] == [200]


def test_descendants_by_the_child_that_they_descend_from() -> None:
    table = {
        1: process(0, 1),
        100: process(1, 50),
        200: process(100, 60),
        201: process(100, 60),
        210: process(200, 60),
        211: process(210, 60),
        300: process(1, 60),
    }
    assert sorted(adoption._descendants(table, [100], set())) == [(200, 200), (201, 201), (210, 200), (211, 200)]


TORN = {  # 200 began after its parent's number had been read, and that is its child's by now
    1: process(0, 1),
    100: process(200, 50),
    200: process(100, 60),
}
WHOLE = {1: process(0, 1), 100: process(1, 50), 200: process(100, 60)}


@pytest.mark.parametrize(
    ("tables", "expected", "entered"),
    [([TORN, WHOLE], 0, [200]), ([WHOLE, TORN, WHOLE], 0, [200]), ([TORN], 1, [])],
    ids=["at first", "later", "each time"],
)
def test_a_table_by_which_a_process_descends_from_itself_is_read_again(
    monkeypatch: pytest.MonkeyPatch, tables: list[proc.Table], expected: int, entered: list[int]
) -> None:
    stage(monkeypatch, {})
    read = [*tables]
    monkeypatch.setattr(proc, "read_table", lambda *_: (read.pop(0) if len(read) > 1 else read[0], True))
    found: list[int] = []
    assert search(lambda entered, *_: not found.append(entered.here)).unadopted == expected
    assert found == entered


ROOT = {1: process(0, 1), 100: process(1, 50)}
LEFT = process(1, 60)


@pytest.mark.parametrize(
    ("tables", "expected"),
    [
        ([(ROOT | {200: LEFT}, True), (ROOT | {300: LEFT}, True)], adoption.Search(orphans=1)),
        ([(ROOT | {200: LEFT}, True), (ROOT, True)], adoption.Search()),
        ([(ROOT | {200: LEFT}, True)] * 2, adoption.Search()),
        ([(ROOT | {number: LEFT}, True) for number in range(200, 210)], adoption.Search(unadopted=1)),
        ([(ROOT | {number: LEFT}, False) for number in (200, 201)] + [(ROOT, False)] * 48, adoption.Search(1)),
        ([(ROOT, False), (ROOT | {300: LEFT}, True)], adoption.Search(orphans=1)),
        ([(ROOT, False)] * 11, adoption.Search()),
    ],
    ids=[
        "it has left another",
        "it has left none",
        "nobody asks for its end",
        "again and again",
        "again and again, then not seen",
        "it was not seen itself",
        "what ends is others'",
    ],
)
def test_who_has_ended_since_it_was_listed_may_have_left_another(
    monkeypatch: pytest.MonkeyPatch, tables: list[tuple[proc.Table, bool]], expected: adoption.Search
) -> None:
    """300 lives, all others in whose place it may be have ended by the time that they are looked at."""
    stage(monkeypatch, {})
    monkeypatch.setattr(orphans, "listed", lambda *_: ())
    monkeypatch.setattr(proc, "read_table", lambda *_: tables.pop(0))
    monkeypatch.setattr(proc, "is_ending", lambda pid: pid != 300)
    assert search()._replace(childless=False) == expected
    assert not tables


@pytest.mark.parametrize("start", [orphans.ancestors, lambda table, pid: orphans._init(table, pid, no_tick)])
def test_no_way_up_goes_round_for_ever(
    monkeypatch: pytest.MonkeyPatch, start: Callable[[proc.Table, int], object]
) -> None:
    monkeypatch.setattr(proc, "numbers", lambda _: (99, 5))
    with pytest.raises(proc.TornError):
        list(start(TORN, 100))  # type: ignore[call-overload]
    with pytest.raises(proc.TornError):
        orphans._is_foreign(TORN | {200: TORN[200]._replace(session=200)}, 200, 1, set(), set())


def nothing_opens(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def opened(*_: object) -> object:
        raise error

    monkeypatch.undo()
    monkeypatch.setattr("builtins.open", opened)


@pytest.mark.parametrize("missing", [FileNotFoundError(), ProcessLookupError()], ids=type)
def test_what_has_ended_is_not_there(monkeypatch: pytest.MonkeyPatch, missing: OSError) -> None:
    nothing_opens(monkeypatch, missing)
    assert proc.numbers("self") == ()
    assert proc.real_user(1) is None
    assert proc.is_ending(1)
    assert not orphans._is_helper(1)


@pytest.mark.parametrize(
    "look",
    [
        lambda: proc.numbers("self"),
        lambda: proc.real_user(1),
        lambda: proc.is_ending(1),
        lambda: orphans._is_helper(1),
        lambda: proc.read_table(no_tick),
    ],
)
def test_what_could_not_be_looked_at_does_not_pass_for_ended(
    monkeypatch: pytest.MonkeyPatch, look: Callable[[], object]
) -> None:
    nothing_opens(monkeypatch, OSError(errno.EMFILE, "Too many open files"))
    with pytest.raises(OSError, match="Too many open files"):
        look()


@pytest.mark.parametrize("child", [False, True])
def test_whether_there_was_a_child_is_said(monkeypatch: pytest.MonkeyPatch, child: bool) -> None:
    table = {1: process(0, 1), 100: process(1, 50), 200: process(1, 60)}
    if child:
        table[210] = process(100, 60)
    stage(monkeypatch, table)
    found = search()
    assert (found.childless, found.orphans) == (not child, 1)


@pytest.mark.parametrize(
    ("known", "left", "entered"),
    [
        (None, 4, []),
        (adoption.Declared(50, 63, frozenset()), 2, []),  # its own tick may be the client's
        (adoption.Declared(50, 40, frozenset()), 4, []),
        (adoption.Declared(51, 63, frozenset()), 4, []),  # of another clock
        (adoption.Declared(50, 63, frozenset({(70201, 61)})), 2, [(70201, 70201), (70210, 70201)]),
        (adoption.Declared(50, 63, frozenset({(70201, 61), (70210, 70)})), 2, [(70201, 70201), (70210, 70201)]),
        (adoption.Declared(50, 63, frozenset({(70201, 62)})), 2, []),  # that has ended, and its number has come back
        (adoption.Declared(51, 63, frozenset({(70201, 61)})), 4, []),
    ],
)
def test_what_a_client_knows_is_believed(
    monkeypatch: pytest.MonkeyPatch, known: adoption.Declared | None, left: int, entered: list[tuple[int, int]]
) -> None:
    table = {
        1: process(0, 1),
        100: process(1, 50),
        200: process(1, 60),
        201: process(1, 61),
        202: process(1, 63),
        203: process(1, 64),
        210: process(201, 70),
    }
    stage(monkeypatch, table)
    found: list[tuple[int, int]] = []
    made = search(lambda one, _, top: not found.append((one.kernels, top)), known=known)
    assert (made.orphans, sorted(found)) == (left, entered)
    assert made.childless == (not entered)


def test_orphans_are_named_the_oldest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    left = {300 - age: process(1, 100 + age) for age in range(7)}
    stage(monkeypatch, {1: process(0, 1), 100: process(1, 50)} | left)
    monkeypatch.setattr(orphans, "_command_line", lambda pid, uid: f"{pid} of {uid}")
    # The client is in a namespace below the helper's, and knows other numbers.
    below = lambda name: (int(name), int(name) + 7) if name.isdigit() and name != "1" else (99,)  # noqa: E731
    monkeypatch.setattr(proc, "numbers", below)
    monkeypatch.setattr(orphans, "_init", lambda *_: {1})
    found = search()
    assert found.orphans == 7
    numbers = [300 - age for age in range(5)]
    assert [(one.pid, one.command) for one in found.listed] == [(pid + 7, f"{pid} of 1000") for pid in numbers]
    ages = [one.age for one in found.listed]
    assert ages == sorted(ages, reverse=True)


@pytest.mark.exec_budget(1)
def test_command_lines_are_cut_and_only_for_who_may_see_them() -> None:
    words = ["sleep", "1 2", "\udcff\n", *["x" * 50] * 5]
    pipe = subprocess.PIPE
    with subprocess.Popen(["/bin/sh", "-c", "echo; read line", *words], stdin=pipe, stdout=pipe) as shell:
        assert shell.stdout is not None
        assert shell.stdout.read(1) == b"\n"  # it is in place
        command = orphans._command_line(shell.pid, os.getuid())
        other = orphans._command_line(shell.pid, os.getuid() + 1)
        assert shell.stdin is not None
        shell.stdin.close()
    assert command is not None
    assert command.startswith("/bin/sh -c 'echo; read line' sleep '1 2' '")
    assert command.endswith("…")
    assert len(command) == 200
    assert other is None
    assert orphans._command_line(shell.pid, os.getuid()) is None


@pytest.mark.parametrize(
    ("reapers", "expected"), [(set(), 0), ({70080}, 1), ({70090}, 1), ({70080, 70090}, 2), ({80}, 0), (None, 2)]
)
def test_orphans_are_with_what_the_kernel_calls_a_reaper(
    monkeypatch: pytest.MonkeyPatch, reapers: set[int] | None, expected: int
) -> None:
    table = {
        1: process(0, 1),
        80: process(1, 10, 80),
        90: process(80, 20, 80),
        100: process(90, 50, 80),
        200: process(80, 60, 80),
        201: process(90, 60, 80),
    }
    stage(monkeypatch, table)
    assert search(reapers=reapers).orphans == expected


# ---- in PID namespaces ----

Numbers = dict[str, tuple[int, ...]]

INIT, CLIENT, CHILD, GRANDCHILD, HELPER = 4000, 4100, 4200, 4300, 4999  # as /proc has them


@pytest.fixture
def above(monkeypatch: pytest.MonkeyPatch) -> Numbers:
    """The /proc of a namespace that is one above the helper's: what each process is called there and below."""
    table = {
        1: process(0, 1),
        INIT: process(1, 40),
        CLIENT: process(INIT, 50),
        CHILD: process(CLIENT, 60),
        GRANDCHILD: process(CHILD, 60),
        HELPER: process(CLIENT, 60),
    }
    numbers = {str(number): (number, number - 3999) for number in table} | {"1": (1,), "self": (HELPER, 1000)}
    stage(monkeypatch, table)
    monkeypatch.setattr(proc, "numbers", lambda name: numbers.get(name, ()))
    monkeypatch.setattr(adoption, "_in_proc", lambda pid: pid + 3999 if str(pid + 3999) in numbers else None)
    return numbers


def adopted(to_kernels: Callable[[int], int | None] = kernels) -> tuple[list[tuple[int, int]], int]:
    """What was entered, as (process, top) to the kernel, and how many could not be."""
    entered: list[tuple[int, int]] = []

    def adopt(found: adoption.Found, root: int, top: int) -> bool:
        assert root == 1
        assert (found.in_proc - 3999, found.here + 70000) == (found.here, found.kernels)
        entered.append((found.kernels, top))
        return True

    unadopted = search(adopt, client=CLIENT - 3999, to_kernels=to_kernels).unadopted
    return sorted(entered), unadopted


OF_CHILD, OF_GRANDCHILD = (CHILD + 66001, CHILD + 66001), (GRANDCHILD + 66001, CHILD + 66001)


def test_numbers_of_another_namespaces_proc_become_the_kernels(above: Numbers) -> None:
    assert above["self"] == (HELPER, 1000)
    assert adopted() == ([OF_CHILD, OF_GRANDCHILD], 0)


def test_what_lies_deeper_has_a_number_here_too(above: Numbers) -> None:
    above[str(CHILD)] += (1,)
    above[str(GRANDCHILD)] += (2, 1)
    assert adopted() == ([OF_CHILD, OF_GRANDCHILD], 0)


def test_a_process_that_has_ended_needs_no_adoption(above: Numbers) -> None:
    del above[str(GRANDCHILD)]
    assert adopted() == ([OF_CHILD], 0)
    above[str(GRANDCHILD)] = (GRANDCHILD, GRANDCHILD - 3999)
    ended = GRANDCHILD - 3999
    assert adopted(lambda number: 0 if number == ended else kernels(number)) == ([OF_CHILD], 0)


def test_a_process_that_the_kernel_does_not_show_is_missing(above: Numbers) -> None:
    silent = GRANDCHILD - 3999
    assert above[str(GRANDCHILD)] == (GRANDCHILD, silent)
    assert adopted(lambda number: None if number == silent else kernels(number)) == ([OF_CHILD], 1)


@pytest.mark.parametrize("answer", [None, 0, 12345])
def test_a_client_that_is_another_to_the_kernel(above: Numbers, answer: int | None) -> None:
    assert above
    assert adopted(lambda _: answer) == ([], 1)


def test_a_client_whose_number_is_anothers_too_in_a_namespace_beside(above: Numbers) -> None:
    above["1"] = (1, CLIENT - 3999)
    assert adopted() == ([OF_CHILD, OF_GRANDCHILD], 0)


def test_number_in_proc_is_asked_for_by_a_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    assert adoption._in_proc(os.getpid()) == os.getpid()
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    assert adoption._in_proc(pid) is None

    def full(_: int) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "pidfd_open", full)
    with pytest.raises(OSError, match="Too many open files"):  # which is not that it has ended
        adoption._in_proc(os.getpid())


def test_proc_of_a_namespace_that_the_helper_is_not_in(above: Numbers) -> None:
    del above["self"]
    assert adopted() == ([], 1)


def test_a_client_that_is_hidden_in_proc(above: Numbers) -> None:
    del above[str(CLIENT)]
    assert adopted() == ([], 1)


def test_where_numbers_can_not_be_translated_nothing_is_adopted(monkeypatch: pytest.MonkeyPatch) -> None:
    table = {1: process(0, 1), 5: process(1, 50), 6: process(5, 60)}
    stage(monkeypatch, table)
    entered: list[int] = []
    found = search(lambda found, *_: not entered.append(found.here), client=5, to_kernels=lambda number: number)
    assert (found.unadopted, found.childless) == (1, False)
    assert entered == []


@pytest.mark.parametrize(
    ("numbers", "reaper", "beside"),
    [
        ({"70": (70, 1), "100": (100, 9)}, 70, 60),  # the client's own, and not number 1 of all
        ({"70": (70, 4), "100": (100, 1)}, 100, 70),  # the client is that itself
        ({"70": (70, 5, 1), "100": (100, 9, 3)}, 70, 60),
        ({"60": (60, 5, 1), "70": (70, 7), "100": (100, 9, 3)}, 60, 70),  # the client was put there from outside
    ],
)
def test_orphans_of_a_namespace_go_to_its_own_number_1(
    monkeypatch: pytest.MonkeyPatch, numbers: dict[str, tuple[int, ...]], reaper: int, beside: int
) -> None:
    table = {
        1: process(0, 1),
        60: process(1, 10),
        70: process(1, 40),
        100: process(70, 50),
        200: process(reaper, 60),
        201: process(beside, 60),
        202: process(1, 60),
    }
    known = {str(number): (number,) for number in table} | numbers
    monkeypatch.setattr(proc, "numbers", lambda name: known.get(name, ()))
    living(monkeypatch)
    assert orphans.find(table, 100, {100}, set(), 50, set(), no_tick)[0] == [200]


# ---- how long it may take ----


class TooLong(Exception):
    """What a test's tick raises."""


@pytest.mark.parametrize("allowed", range(30))
def test_the_whole_search_ends_when_its_time_is_up(monkeypatch: pytest.MonkeyPatch, allowed: int) -> None:
    """Also while it looks through all processes, and for orphans among them."""
    steps = 0
    left = {number: process(1, 60) for number in range(200, 205)}
    table = {1: process(0, 1), 100: process(1, 50), 110: process(100, 55)} | left

    def tick() -> None:
        nonlocal steps
        steps += 1
        if steps > allowed:
            raise TooLong

    def processes(tick: Callable[[], None]) -> tuple[proc.Table, bool]:
        for _ in table:
            tick()
        return table, True

    stage(monkeypatch, table)
    monkeypatch.setattr(proc, "read_table", processes)
    assert 2 * len(table) + 1 + len(table) == 25  # twice read, one child, once looked through for orphans
    expected = pytest.raises(TooLong) if allowed < 25 else contextlib.nullcontext()
    with expected:
        assert search(tick=tick).orphans == 5
    assert steps == min(allowed + 1, 25)


@pytest.mark.parametrize(("more", "is_whole"), [([], True), (["4194305"], False)])
def test_who_has_ended_before_it_was_looked_at_is_missing(
    monkeypatch: pytest.MonkeyPatch, more: list[str], is_whole: bool
) -> None:
    monkeypatch.setattr(os, "listdir", lambda _: ["self", str(os.getpid()), *more])  # a number that none can have
    table, found = proc.read_table(no_tick)
    assert (list(table), found) == ([os.getpid()], is_whole)


def test_looking_through_proc_is_a_step_for_each_process() -> None:
    steps: list[int] = []
    assert len(proc.read_table(lambda: steps.append(1))[0]) <= len(steps)
    assert steps

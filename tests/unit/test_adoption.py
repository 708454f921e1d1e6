"""What was there before: descendants, and what may have been one."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
from collections.abc import Callable

import pytest

from pytest_execprobe.helper import adoption


@pytest.fixture(autouse=True)
def users(monkeypatch: pytest.MonkeyPatch) -> dict[int, int | None]:
    """Of processes that are not the client's user's."""
    others: dict[int, int | None] = {}
    monkeypatch.setattr(adoption, "real_user", lambda pid: others.get(pid, 1000))
    return others


def test_orphans_are_what_nothing_leads_to_any_more(
    monkeypatch: pytest.MonkeyPatch, users: dict[int, int | None]
) -> None:
    users.update({203: 0, 209: None})
    monkeypatch.setattr(adoption, "_may_exec", lambda pid: pid != 300)
    process = adoption._Process
    table = {
        1: process(0, 1, 1),
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
        # By session: of the client's child, of nobody who is left, its own; of an older process, of a later login.
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
    found = sorted(adoption._orphans(table, 100, {100, 110, 205}, {80}, 50))
    assert found == [200, 201, 400, 401, 402, 406, 407]


def test_a_client_from_outside_of_the_pid_namespace_may_have_left_what_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(adoption, "_may_exec", lambda _: True)
    process = adoption._Process
    table = {
        1: process(0, 1, 1),
        100: process(0, 50, 0),
        200: process(1, 60, 0),
    }
    assert adoption._orphans(table, 100, {100}, set(), 50) == [200]


def test_descendants_by_the_child_that_they_descend_from() -> None:
    process = adoption._Process
    table = {
        1: process(0, 1, 1),
        100: process(1, 50, 1),
        200: process(100, 60, 1),
        201: process(100, 60, 1),
        210: process(200, 60, 1),
        211: process(210, 60, 1),
        300: process(1, 60, 1),
    }
    assert sorted(adoption._descendants(table, [100])) == [(200, 200), (201, 201), (210, 200), (211, 200)]


TORN = {  # 200 began after its parent's number had been read, and that is its child's by now
    1: adoption._Process(0, 1, 1),
    100: adoption._Process(200, 50, 1),
    200: adoption._Process(100, 60, 1),
}
WHOLE = {
    1: adoption._Process(0, 1, 1),
    100: adoption._Process(1, 50, 1),
    200: adoption._Process(100, 60, 1),
}


@pytest.mark.parametrize(
    ("tables", "expected", "entered"),
    [([TORN, WHOLE], 0, [200]), ([WHOLE, TORN], 0, [200]), ([TORN], 1, [])],
    ids=["at first", "later", "each time"],
)
def test_a_table_by_which_a_process_descends_from_itself_is_read_again(
    monkeypatch: pytest.MonkeyPatch, tables: list[dict[int, adoption._Process]], expected: int, entered: list[int]
) -> None:
    read = [*tables]
    monkeypatch.setattr(adoption, "_processes", lambda *_: read.pop(0) if len(read) > 1 else tables[-1])
    if tables == [WHOLE, TORN]:
        read.append(WHOLE)
        tables.append(WHOLE)
    monkeypatch.setattr(adoption, "_may_exec", lambda _: True)
    monkeypatch.setattr(adoption, "_numbers", lambda _: (99,))
    found: list[int] = []
    assert (
        adoption.adopt_descendants(
            lambda entered, *_: not found.append(entered.here), 1, 100, 100, None, set()
        ).unadopted
        == expected
    )
    assert found == entered


@pytest.mark.parametrize("start", [adoption._ancestors, adoption._init])
def test_no_way_up_goes_round_for_ever(
    monkeypatch: pytest.MonkeyPatch, start: Callable[[dict[int, adoption._Process], int], object]
) -> None:
    monkeypatch.setattr(adoption, "_numbers", lambda _: (99, 5))
    with pytest.raises(adoption._Torn):
        list(start(TORN, 100))  # type: ignore[call-overload]
    with pytest.raises(adoption._Torn):
        adoption._is_foreign(TORN | {200: TORN[200]._replace(session=200)}, 200, 1, set(), set())


@pytest.mark.parametrize("missing", ["FileNotFoundError", "ProcessLookupError"])
def test_what_has_ended_is_not_there(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    def opened(*_: object) -> object:
        raise {"FileNotFoundError": FileNotFoundError, "ProcessLookupError": ProcessLookupError}[missing]

    monkeypatch.undo()
    monkeypatch.setattr("builtins.open", opened)
    assert adoption._numbers("self") == ()
    assert adoption.real_user(1) is None
    assert adoption.is_zombie(1)
    assert not adoption._may_exec(1)


@pytest.mark.parametrize(
    "look",
    [
        lambda: adoption._numbers("self"),
        lambda: adoption.real_user(1),
        lambda: adoption.is_zombie(1),
        lambda: adoption._may_exec(1),
        lambda: adoption._processes(),
    ],
)
def test_what_could_not_be_looked_at_does_not_pass_for_ended(
    monkeypatch: pytest.MonkeyPatch, look: Callable[[], object]
) -> None:
    def opened(*_: object) -> object:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.undo()
    monkeypatch.setattr("builtins.open", opened)
    with pytest.raises(OSError, match="Too many open files"):
        look()


@pytest.mark.parametrize("child", [False, True])
def test_whether_there_was_a_child_is_told(monkeypatch: pytest.MonkeyPatch, child: bool) -> None:
    process = adoption._Process
    table = {
        1: process(0, 1, 1),
        100: process(1, 50, 1),
        200: process(1, 60, 1),
    }
    if child:
        table[210] = process(100, 60, 1)
    stage(monkeypatch, table)
    found = adoption.adopt_descendants(lambda *_: True, 1, 100, 100, None, set())
    assert (found.childless, found.orphans) == (not child, 1)


def stage(monkeypatch: pytest.MonkeyPatch, table: dict[int, adoption._Process]) -> None:
    monkeypatch.setattr(adoption, "_may_exec", lambda _: True)
    monkeypatch.setattr(adoption, "_processes", lambda *_: table)
    monkeypatch.setattr(adoption, "_numbers", lambda _: (99,))


@pytest.mark.parametrize(
    ("known", "orphans", "entered"),
    [
        (None, 4, []),
        (adoption.Known(50, 63, frozenset()), 2, []),  # its own tick may be the client's
        (adoption.Known(50, 40, frozenset()), 4, []),
        (adoption.Known(51, 63, frozenset()), 4, []),  # of another clock
        (adoption.Known(50, 63, frozenset({(70201, 61)})), 2, [(70201, 70201), (70210, 70201)]),
        (adoption.Known(50, 63, frozenset({(70201, 62)})), 2, []),  # that has ended, and its number has come back
        (adoption.Known(51, 63, frozenset({(70201, 61)})), 4, []),
    ],
)
def test_what_a_client_knows_is_believed(
    monkeypatch: pytest.MonkeyPatch, known: adoption.Known | None, orphans: int, entered: list[tuple[int, int]]
) -> None:
    process = adoption._Process
    table = {
        1: process(0, 1, 1),
        100: process(1, 50, 1),
        200: process(1, 60, 1),
        201: process(1, 61, 1),
        202: process(1, 63, 1),
        203: process(1, 64, 1),
        210: process(201, 70, 1),
    }
    stage(monkeypatch, table)
    found: list[tuple[int, int]] = []
    to_kernels = lambda number: number + 70000  # noqa: E731
    made = adoption.adopt_descendants(
        lambda one, _, top: not found.append((one.kernels, top)), 1, 100, 70100, known, set(), to_kernels
    )
    assert (made.orphans, sorted(found)) == (orphans, entered)
    assert made.childless == (not entered)


def test_orphans_are_named_the_oldest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    process = adoption._Process
    orphans = {300 - age: process(1, 100 + age, 1) for age in range(7)}
    stage(monkeypatch, {1: process(0, 1, 1), 100: process(1, 50, 1)} | orphans)
    monkeypatch.setattr(adoption, "_command_line", lambda pid, uid: f"{pid} of {uid}")
    # The client is in a namespace below the helper's, and knows other numbers.
    below = lambda name: (int(name), int(name) + 7) if name.isdigit() and name != "1" else (99,)  # noqa: E731
    monkeypatch.setattr(adoption, "_numbers", below)
    monkeypatch.setattr(adoption, "_init", lambda *_: {1})
    found = adoption.adopt_descendants(lambda *_: True, 1, 100, 100, None, set())
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
        command = adoption._command_line(shell.pid, os.getuid())
        other = adoption._command_line(shell.pid, os.getuid() + 1)
        assert shell.stdin is not None
        shell.stdin.close()
    assert command is not None
    assert command.startswith("/bin/sh -c 'echo; read line' sleep '1 2' '")
    assert command.endswith("…")
    assert len(command) == 200
    assert other is None
    assert adoption._command_line(shell.pid, os.getuid()) is None


@pytest.mark.parametrize(
    ("reapers", "expected"),
    [(set(), 0), ({70080}, 1), ({70090}, 1), ({70080, 70090}, 2), ({80}, 0), (None, 2)],
)
def test_orphans_are_with_whom_the_kernel_calls_a_reaper(
    monkeypatch: pytest.MonkeyPatch, reapers: set[int] | None, expected: int
) -> None:
    process = adoption._Process
    table = {
        1: process(0, 1, 1),
        80: process(1, 10, 80),
        90: process(80, 20, 80),
        100: process(90, 50, 80),
        200: process(80, 60, 80),
        201: process(90, 60, 80),
    }
    monkeypatch.setattr(adoption, "_may_exec", lambda _: True)
    monkeypatch.setattr(adoption, "_processes", lambda *_: table)
    monkeypatch.setattr(adoption, "_numbers", lambda _: (99,))
    to_kernels = lambda number: number + 70000  # noqa: E731
    assert adoption.adopt_descendants(lambda *_: True, 1, 100, 70100, None, reapers, to_kernels).orphans == expected


# ---- in PID namespaces ----

Numbers = dict[str, tuple[int, ...]]

INIT, CLIENT, CHILD, GRANDCHILD, HELPER = 4000, 4100, 4200, 4300, 4999  # as /proc has them


@pytest.fixture
def proc(monkeypatch: pytest.MonkeyPatch) -> Numbers:
    """The /proc of a namespace that is one above the helper's: what each process is called there and below."""
    process = adoption._Process
    table = {
        1: process(0, 1, 1),
        INIT: process(1, 40, 1),
        CLIENT: process(INIT, 50, 1),
        CHILD: process(CLIENT, 60, 1),
        GRANDCHILD: process(CHILD, 60, 1),
        HELPER: process(CLIENT, 60, 1),
    }
    numbers = {str(number): (number, number - 3999) for number in table} | {"1": (1,), "self": (HELPER, 1000)}
    monkeypatch.setattr(adoption, "_processes", lambda *_: table)
    monkeypatch.setattr(adoption, "_numbers", lambda name: numbers.get(name, ()))
    monkeypatch.setattr(adoption, "_in_proc", lambda pid: pid + 3999 if str(pid + 3999) in numbers else None)
    monkeypatch.setattr(adoption, "_may_exec", lambda _: True)
    return numbers


def adopted(
    to_kernels: Callable[[int], int | None] = lambda number: number + 70000, client: int = CLIENT - 3999
) -> tuple[list[tuple[int, int]], int]:
    """What was entered, as (process, top) to the kernel, and how many could not be."""
    entered: list[tuple[int, int]] = []

    def adopt(found: adoption.Found, root: int, top: int) -> bool:
        assert root == 1
        assert (found.in_proc - 3999, found.here + 70000) == (found.here, found.kernels)
        entered.append((found.kernels, top))
        return True

    unadopted = adoption.adopt_descendants(adopt, 1, client, client + 70000, None, set(), to_kernels).unadopted
    return sorted(entered), unadopted


def test_numbers_of_another_namespaces_proc_become_the_kernels(proc: Numbers) -> None:
    assert proc["self"] == (HELPER, 1000)
    assert adopted() == ([(CHILD + 66001, CHILD + 66001), (GRANDCHILD + 66001, CHILD + 66001)], 0)


def test_what_lies_deeper_has_a_number_here_too(proc: Numbers) -> None:
    proc[str(CHILD)] += (1,)
    proc[str(GRANDCHILD)] += (2, 1)
    assert adopted() == ([(CHILD + 66001, CHILD + 66001), (GRANDCHILD + 66001, CHILD + 66001)], 0)


def test_a_process_that_has_ended_needs_no_adoption(proc: Numbers) -> None:
    del proc[str(GRANDCHILD)]
    assert adopted() == ([(CHILD + 66001, CHILD + 66001)], 0)
    proc[str(GRANDCHILD)] = (GRANDCHILD, GRANDCHILD - 3999)
    ended = GRANDCHILD - 3999
    assert adopted(lambda number: 0 if number == ended else number + 70000) == ([(CHILD + 66001, CHILD + 66001)], 0)


def test_a_process_that_the_kernel_does_not_tell_of_is_missing(proc: Numbers) -> None:
    silent = GRANDCHILD - 3999
    assert proc[str(GRANDCHILD)] == (GRANDCHILD, silent)
    assert adopted(lambda number: None if number == silent else number + 70000) == (
        [(CHILD + 66001, CHILD + 66001)],
        1,
    )


@pytest.mark.parametrize("answer", [None, 0, 12345])
def test_a_client_that_is_somebody_else_to_the_kernel(proc: Numbers, answer: int | None) -> None:
    assert proc
    assert adopted(lambda _: answer) == ([], 1)


def test_a_client_whose_number_is_anothers_too_in_a_namespace_beside(proc: Numbers) -> None:
    proc["1"] = (1, CLIENT - 3999)
    assert adopted() == ([(CHILD + 66001, CHILD + 66001), (GRANDCHILD + 66001, CHILD + 66001)], 0)


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


def test_proc_of_a_namespace_that_the_helper_is_not_in(proc: Numbers) -> None:
    del proc["self"]
    assert adopted() == ([], 1)


def test_a_client_that_is_hidden_in_proc(proc: Numbers) -> None:
    del proc[str(CLIENT)]
    assert adopted() == ([], 1)


def test_where_numbers_can_not_be_translated_nothing_is_adopted(monkeypatch: pytest.MonkeyPatch) -> None:
    process = adoption._Process
    table = {
        1: process(0, 1, 1),
        5: process(1, 50, 1),
        6: process(5, 60, 1),
    }
    monkeypatch.setattr(adoption, "_processes", lambda *_: table)
    monkeypatch.setattr(adoption, "_numbers", lambda _: (99,))
    entered: list[int] = []
    found = adoption.adopt_descendants(lambda found, *_: not entered.append(found.here), 1, 5, 7005, None, set())
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
    process = adoption._Process
    table = {
        1: process(0, 1, 1),
        60: process(1, 10, 1),
        70: process(1, 40, 1),
        100: process(70, 50, 1),
        200: process(reaper, 60, 1),
        201: process(beside, 60, 1),
        202: process(1, 60, 1),
    }
    known = {str(number): (number,) for number in table} | numbers
    monkeypatch.setattr(adoption, "_numbers", lambda name: known.get(name, ()))
    monkeypatch.setattr(adoption, "_may_exec", lambda _: True)
    assert adoption._orphans(table, 100, {100}, set(), 50) == [200]


# ---- how long it may take ----


class TooLong(Exception):
    """What a test's tick raises."""


@pytest.mark.parametrize("allowed", range(30))
def test_the_whole_search_ends_when_its_time_is_up(monkeypatch: pytest.MonkeyPatch, allowed: int) -> None:
    """Also while it looks through all processes, and for orphans among them."""
    steps, process = 0, adoption._Process
    orphans = {number: process(1, 60, 1) for number in range(200, 205)}
    table = {1: process(0, 1, 1), 100: process(1, 50, 1), 110: process(100, 55, 1)} | orphans

    def tick() -> None:
        nonlocal steps
        steps += 1
        if steps > allowed:
            raise TooLong

    def processes(tick: Callable[[], None]) -> dict[int, adoption._Process]:
        for _ in table:
            tick()
        return table

    monkeypatch.setattr(adoption, "_processes", processes)
    monkeypatch.setattr(adoption, "_may_exec", lambda _: True)
    monkeypatch.setattr(adoption, "_numbers", lambda _: (99,))
    assert 2 * len(table) + 1 + len(table) == 25  # twice read, one child, once looked through for orphans
    expected = pytest.raises(TooLong) if allowed < 25 else contextlib.nullcontext()
    with expected:
        assert adoption.adopt_descendants(lambda *_: True, 1, 100, 100, None, set(), tick=tick).orphans == 5
    assert steps == min(allowed + 1, 25)


def test_looking_through_proc_is_a_step_for_each_process() -> None:
    steps: list[int] = []
    assert len(adoption._processes(lambda: steps.append(1))) <= len(steps)
    assert steps

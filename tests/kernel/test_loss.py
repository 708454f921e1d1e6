"""What is not known never passes: a buffer of one page, a helper that is stopped or killed, a map that is full."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest
from programs import Programs
from recording import recording

from pytest_execprobe import ExecLog, ExecProbe, IncompleteLogError, subtree
from pytest_execprobe.source.connect import HelperSettings
from pytest_execprobe.source.events import Exec
from pytest_execprobe.timeline.evidence import Evidence

pytestmark = [pytest.mark.usefixtures("kernel"), pytest.mark.exec_budget(5100), pytest.mark.bpf]

EXECS = 300


def spawn(program: object, times: int) -> None:
    for _ in range(times):
        os.waitpid(os.posix_spawn(str(program), [str(program)], {}), 0)


@pytest.fixture(scope="module")
def starved(programs: Programs) -> Iterator[tuple[ExecLog, ExecLog]]:
    """The log of 300 execs into one page that nobody read meanwhile, and the complete log of two execs after it."""
    with recording(HelperSettings(pages=1)) as made:
        with made.execprobe.watch() as log, made.helper_stopped():
            spawn(programs.minimal, EXECS)
        with made.execprobe.watch() as after:
            spawn(programs.minimal, 2)
        yield log, after


@pytest.fixture(scope="module")
def orphaned(programs: Programs) -> Iterator[tuple[ExecLog, ExecLog]]:
    """The logs of an exec and of nothing, when the helper was killed."""
    with recording() as made:
        with made.execprobe.watch() as log:
            spawn(programs.minimal, 1)
            assert log.programs == ["minimal"]
            with made.execprobe.watch() as nothing:
                made.kill_helper()
        yield log, nothing


def test_every_exec_is_there_or_counted_as_lost(starved: tuple[ExecLog, ExecLog]) -> None:
    log, after = starved
    assert log.lost is not None
    assert log.lost > EXECS // 2
    assert len(log.partial) + log.lost == EXECS
    assert not log.complete
    assert after.programs == ["minimal"] * 2


def test_a_loss_is_counted_for_each_root(programs: Programs) -> None:
    with recording(HelperSettings(pages=1)) as made, contextlib.ExitStack() as sources:
        others = [made.registered_again(sources) for _ in range(2)]
        with made.execprobe.watch() as log, made.helper_stopped():
            spawn(programs.minimal, EXECS)
        found = [[one for one in source.sync(10).events if isinstance(one, Exec)] for source in others]
        assert [len(execs) for execs in found] == [EXECS, EXECS]
        assert [sum(one.lost for one in execs) for execs in found] == [log.lost, log.lost]
        assert log.lost is not None
        assert log.lost > EXECS // 2


def test_reads_refuse(starved: tuple[ExecLog, ExecLog]) -> None:
    log, _ = starved
    for read in (
        lambda: log.records,
        lambda: log.programs,
        lambda: log.counts,
        log.count,
        lambda: log.count("minimal"),
        log.tree,
    ):
        with pytest.raises(IncompleteLogError, match=rf"{log.lost:,} execs missing"):
            read()
    with pytest.raises(IncompleteLogError, match="raise --execprobe-buffer-pages"):
        log.direct.programs  # noqa: B018


Check = Callable[[ExecLog], None]

# (assertion, certainly true, certainly false, not to be told), of 300 execs of minimal, most of which are lost.
STARVED: list[tuple[str, Check | None, Check, Check]] = [
    (
        "assert_ran",
        lambda log: log.assert_ran("minimal"),
        lambda log: log.assert_ran("ls", times=EXECS + 1),
        lambda log: log.assert_ran("ls"),
    ),
    (
        "assert_ran, times",
        None,
        lambda log: log.assert_ran("minimal", times=1),
        lambda log: log.assert_ran("minimal", times=EXECS),
    ),
    ("assert_not_ran", None, lambda log: log.assert_not_ran("minimal"), lambda log: log.assert_not_ran("ls")),
    (
        "assert_not_ran, subtree",
        None,
        lambda log: log.assert_not_ran(subtree("minimal")),
        lambda log: log.assert_not_ran(subtree("ls")),
    ),
    ("assert_only_ran", None, lambda log: log.assert_only_ran("ls"), lambda log: log.assert_only_ran("minimal")),
    (
        "assert_count, pattern",
        None,
        lambda log: log.assert_count(EXECS + 1, "minimal"),
        lambda log: log.assert_count(EXECS, "minimal"),
    ),
    (
        "assert_at_most, pattern",
        lambda log: log.assert_at_most(EXECS, "minimal"),
        lambda log: log.assert_at_most(0, "minimal"),
        lambda log: log.assert_at_most(0, "ls"),
    ),
    (
        "assert_at_least, pattern",
        lambda log: log.assert_at_least(1, "minimal"),
        lambda log: log.assert_at_least(EXECS + 1, "minimal"),
        lambda log: log.assert_at_least(EXECS, "minimal"),
    ),
    (
        "assert_order",
        lambda log: log.assert_order("minimal", "minimal"),
        lambda log: log.assert_order(*["ls"] * (EXECS + 1)),
        lambda log: log.assert_order("minimal", "ls", "minimal"),
    ),
    (
        "assert_sequence",
        None,
        lambda log: log.assert_sequence(*["minimal"] * (EXECS - 1)),
        lambda log: log.assert_sequence(*["minimal"] * EXECS),
    ),
]


@pytest.mark.parametrize(("passes", "fails", "undecided"), [case[1:] for case in STARVED], ids=[c[0] for c in STARVED])
def test_a_check_is_decided_by_what_must_be_true(
    starved: tuple[ExecLog, ExecLog], passes: Check | None, fails: Check, undecided: Check
) -> None:
    log, _ = starved
    if passes is not None:
        passes(log)
    with pytest.raises(AssertionError):
        fails(log)
    with pytest.raises(IncompleteLogError, match=rf"^cannot tell whether .*: {log.lost:,} execs missing"):
        undecided(log)


def test_how_many_there_were_is_known_though_their_names_are_not(starved: tuple[ExecLog, ExecLog]) -> None:
    log, _ = starved
    log.assert_count(EXECS)
    log.assert_at_most(EXECS)
    log.assert_at_least(EXECS)
    with pytest.raises(AssertionError, match=f"nothing must run, but {EXECS} execs ran"):
        log.assert_nothing_ran()
    with pytest.raises(AssertionError, match=f"at most {EXECS - 1} execs allowed, but {EXECS} ran"):
        log.assert_at_most(EXECS - 1)
    with pytest.raises(AssertionError, match=f"{EXECS + 1} execs expected"):
        log.assert_count(EXECS + 1)
    with pytest.raises(AssertionError, match=f"at least {EXECS + 1} execs expected"):
        log.assert_at_least(EXECS + 1)


# The same where not even the number is known: of one exec of minimal, and of nothing.
ORPHANED: list[tuple[str, Check | None, Check | None, Check]] = [
    ("assert_nothing_ran", None, lambda log: log.assert_nothing_ran(), lambda none: none.assert_nothing_ran()),
    ("assert_ran", lambda log: log.assert_ran("minimal"), None, lambda none: none.assert_ran("minimal")),
    ("assert_ran, times", None, lambda log: log.assert_ran("minimal", times=0), lambda n: n.assert_ran("ls", times=0)),
    ("assert_not_ran", None, lambda log: log.assert_not_ran("minimal"), lambda none: none.assert_not_ran("minimal")),
    ("assert_only_ran", None, lambda log: log.assert_only_ran("ls"), lambda none: none.assert_only_ran("ls")),
    ("assert_count", None, lambda log: log.assert_count(0), lambda none: none.assert_count(0)),
    ("assert_at_most", None, lambda log: log.assert_at_most(0), lambda none: none.assert_at_most(5)),
    ("assert_at_least", lambda log: log.assert_at_least(1), None, lambda none: none.assert_at_least(1)),
    ("assert_order", lambda log: log.assert_order("minimal"), None, lambda none: none.assert_order("minimal")),
    ("assert_sequence", None, lambda log: log.assert_sequence("ls"), lambda none: none.assert_sequence("minimal")),
]


@pytest.mark.parametrize(
    ("passes", "fails", "undecided"), [case[1:] for case in ORPHANED], ids=[c[0] for c in ORPHANED]
)
def test_without_a_number_too(
    orphaned: tuple[ExecLog, ExecLog], passes: Check | None, fails: Check | None, undecided: Check
) -> None:
    log, nothing = orphaned
    assert log.lost is None
    assert [record.program for record in log.partial] == ["minimal"]
    assert nothing.partial == ()
    if passes is not None:
        passes(log)
    if fails is not None:
        with pytest.raises(AssertionError):
            fails(log)
    with pytest.raises(
        IncompleteLogError, match=r"an unknown number of execs is missing(.|\n)*helper was lost: it died"
    ):
        undecided(nothing)


def test_the_next_test_gets_a_new_helper(programs: Programs) -> None:
    with recording() as made:
        made.kill_helper()
        assert made.execprobe.lost is None
        made.recorder.end_phase()
        made.recorder.begin_phase("teardown")
        made.recorder.end_phase()
        made.recorder.end_test()
        made.recorder.ensure()
        made.recorder.begin_test("the next")
        made.recorder.begin_phase("setup")
        made.recorder.end_phase()
        made.recorder.begin_phase("call")
        spawn(programs.minimal, 1)
        assert ExecProbe(made.recorder).programs == ["minimal"]
        assert made.execprobe.lost is None


def test_a_stopped_helper_is_waited_for_and_no_longer(programs: Programs) -> None:
    with recording() as made, made.impatient(), made.helper_stopped():
        spawn(programs.minimal, 1)
        with pytest.raises(IncompleteLogError, match="it did not answer in time"):
            made.execprobe.assert_not_ran("ls")


def test_lost_attempts_do_not_taint_execs(programs: Programs) -> None:
    """Attempts are many here and execs few: the buffer is full of the former."""
    with recording(HelperSettings(pages=1, attempts="always")) as made:
        with made.execprobe.watch() as log:
            spawn(programs.minimal, 1)
            assert log.programs == ["minimal"]
            with made.helper_stopped():
                for _ in range(100):
                    with pytest.raises(FileNotFoundError):
                        os.execv("/nonexistent", ["nonexistent"])
        assert log.programs == ["minimal"]
        with pytest.raises(IncompleteLogError, match="failed attempts found the perf buffer full"):
            log.attempts  # noqa: B018


def test_a_full_process_map_is_a_loss() -> None:
    with recording(HelperSettings(procs=4)) as made:
        pipes = [os.pipe() for _ in range(8)]
        children = []
        for read, _ in pipes:
            children.append(subprocess.Popen(["sh", "-c", "read line; exec true"], stdin=read))
            os.close(read)
        for (_, write), child in zip(pipes, children, strict=True):
            os.close(write)
            child.wait()
        assert made.execprobe.lost is None
        made.execprobe.assert_ran("sh")
        with pytest.raises(IncompleteLogError, match="the map of watched processes was full"):
            made.execprobe.assert_not_ran("ls")


def assert_within_bounds(log: ExecLog, ran: int) -> None:
    """What is missing from a log of so many execs lies between what is said, and checks go by that."""
    evidence = log._window.evidence()
    missing = ran - len(log.partial)
    print(f"of {ran} execs {missing} missing: at least {evidence.surely_lost}, at most {evidence.missing}")
    assert evidence.unknown == ()
    assert evidence.missing is not None
    assert evidence.surely_lost <= missing <= evidence.missing
    assert (log.lost, log.complete) == (None, False)
    least, most = ran - missing + evidence.surely_lost, ran - missing + evidence.missing
    log.assert_at_most(most)
    log.assert_at_least(least)
    for n in {max(0, least - 1), most + 1} - {least}:
        with pytest.raises(AssertionError):
            log.assert_count(n)
    for question in (lambda: log.assert_count(ran), lambda: log.assert_not_ran("ls"), lambda: log.programs):
        with pytest.raises(IncompleteLogError, match=f"at most {evidence.missing:,} execs missing"):
            question()


def test_more_losses_than_can_be_listed(programs: Programs) -> None:
    """The list of what was dropped holds 4,096: past that it is known how many more there were, and not whose."""
    with recording(HelperSettings(pages=1)) as made:
        windows = []
        with made.helper_stopped():
            for _ in range(2):  # what is lost without a trace may be of either
                window = made.recorder.open_window("the window")
                subprocess.run([programs.storm, programs.minimal, "2499"], check=True)
                window.end = time.monotonic_ns()
                windows.append(window)
        first, log = map(ExecLog, windows)
        assert_within_bounds(first, 2500)
        assert_within_bounds(log, 2500)
        both = Evidence.merged(window.evidence() for window in windows)
        assert both.missing is not None
        assert both.surely_lost <= 5000 - len(both.records) <= both.missing
        assert len(both.gaps) == 1
        with pytest.raises(IncompleteLogError, match="records more were lost than can be told apart"):
            log.assert_not_ran("ls")
        with made.execprobe.watch() as after:
            spawn(programs.minimal, 1)
        assert after.programs == ["minimal"]


def test_neither_xfail_nor_raises_hides_it(pytester: pytest.Pytester, programs: Programs) -> None:
    pytester.makepyfile(
        f"""
        import os, signal, pytest

        def lose(execprobe):
            helper = execprobe._recorder.source.description["pid"]
            os.kill(helper, signal.SIGSTOP)
            for _ in range({EXECS}):
                os.waitpid(os.posix_spawn({str(programs.minimal)!r}, ["minimal"], {{}}), 0)
            os.kill(helper, signal.SIGCONT)

        @pytest.mark.xfail
        def test_xfail(execprobe):
            lose(execprobe)
            execprobe.assert_not_ran("ls")

        @pytest.mark.xfail(strict=True)
        def test_strict(execprobe):
            lose(execprobe)
            execprobe.assert_not_ran("ls")

        @pytest.mark.xfail(raises=Exception)
        def test_named(execprobe):
            lose(execprobe)
            assert "ls" not in execprobe.programs

        def test_raises(execprobe):
            lose(execprobe)
            with pytest.raises(AssertionError):
                execprobe.assert_not_ran("ls")

        @pytest.mark.xfail(raises=AssertionError)
        def test_certain(execprobe):
            lose(execprobe)
            execprobe.assert_not_ran("minimal")
        """
    )
    result = pytester.runpytest_subprocess("--execprobe-buffer-pages=1", "-p", "no:cacheprovider", timeout=120)
    result.assert_outcomes(errors=4, xfailed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "*ERROR at call of test_strict*",
            "E *pytest_execprobe.IncompleteLogError: cannot tell whether ls ran: * execs missing from the log",
        ]
    )


def test_nor_does_xdist(losing: pytest.Pytester) -> None:
    """The report of an undecided test is the worker's, and the controller shows it."""
    losing.makepyfile(
        """
        import pytest
        from lose import lose_helper

        @pytest.mark.xfail
        def test_killed(execprobe, request):
            lose_helper(request.config)
            execprobe.assert_nothing_ran()

        def test_fine(execprobe):
            execprobe.assert_nothing_ran()
        """
    )
    result = losing.runpytest_subprocess("-p", "xdist.plugin", "-n1", "-p", "no:cacheprovider", timeout=120)
    result.assert_outcomes(errors=1, passed=1)


def test_default_buffers_lose_nothing_in_a_storm(programs: Programs) -> None:
    with recording() as made:
        made_by = subprocess.run([programs.storm, programs.minimal, "4000"], timeout=120, check=False)
        assert made_by.returncode == 0
        made.execprobe.assert_ran("minimal", times=4000)
        assert made.execprobe.lost == 0

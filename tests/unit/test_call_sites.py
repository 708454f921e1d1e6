"""Which call of Python's has made which branch, and what is the user's own code. No probe is needed."""

from __future__ import annotations

import contextlib
import copy
import os
import pickle
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy
import pytest
from fakes import FakeRun, exec_event, record

from pytest_execprobe.source.events import Branch, Process, Running
from pytest_execprobe.timeline import frames, noting
from pytest_execprobe.timeline.calls import Call, Calls
from pytest_execprobe.timeline.frames import call_site
from pytest_execprobe.timeline.site import MOST_FRAMES, CallSite, Frame, place, relative

pytestmark = pytest.mark.exec_budget(10)

SITE, OTHER = CallSite("/a.py", 1, "f"), CallSite("/b.py", 2, "g")
T = 7  # a thread


def calls_of(*noted: Call) -> Calls:
    calls = Calls()
    calls.inbox.extend(noted)
    return calls


def call(
    before: int,
    after: int | None,
    *,
    site: CallSite = SITE,
    thread: int = T,
    outer: Call | None = None,
    pid: int | None = None,
) -> Call:
    made = Call(thread, site, outer, before)
    made.after, made.pid = after, pid
    return made


def branch(born: int, top: int = 100, thread: int = T) -> Branch:
    return Branch(born, top, thread)


def found(calls: Calls, made: Branch, seen: int | None = None) -> CallSite | None:
    one = calls.of(made, seen)
    return None if one is None else one.site_of(made)


# ---- which call ----


@pytest.mark.parametrize(("born", "site"), [(9, None), (10, SITE), (20, SITE), (21, None), (0, None)])
def test_a_branch_is_born_while_its_call_goes_on(born: int, site: CallSite | None) -> None:
    assert found(calls_of(call(10, 20)), branch(born)) is site


def test_threads_that_spawn_at_once_have_each_their_own() -> None:
    calls = calls_of(call(10, 30, site=SITE, thread=1), call(11, 29, site=OTHER, thread=2))
    assert found(calls, branch(15, 100, thread=2)) is OTHER
    assert found(calls, branch(15, 101, thread=1)) is SITE
    assert found(calls, branch(15, 102, thread=3)) is None
    assert found(calls, branch(15, 103, thread=0)) is None  # not known


def test_what_c_code_forks_between_two_calls_is_of_neither() -> None:
    calls = calls_of(call(10, 20), call(30, 40, site=OTHER))
    assert found(calls, branch(25)) is None
    assert found(calls, branch(35)) is OTHER


def test_a_call_that_has_failed_has_nothing_and_takes_nothing() -> None:
    calls = calls_of(call(10, 20), call(21, 40, site=OTHER))
    assert found(calls, branch(22)) is OTHER


def test_the_innermost_of_calls_in_each_other_counts() -> None:
    outer = call(10, 100)
    inner = call(20, 30, site=OTHER, outer=outer)
    calls = calls_of(outer, inner, call(40, 50, site=OTHER, outer=outer))
    assert found(calls, branch(25, 1)) is OTHER
    assert found(calls, branch(60, 2)) is SITE


def test_what_is_forked_within_a_call_is_told_from_its_own_by_the_number() -> None:
    """A handler of forks, or of audit events, may have C code fork by itself."""
    for order in ([101, 102], [102, 101]):
        calls = calls_of(call(10, 100, pid=102))
        sites = {top: found(calls, branch(top - 80, top), seen=top) for top in order}
        assert sites == {101: None, 102: SITE}


def test_where_no_number_tells_two_of_one_call_are_of_none() -> None:
    calls = calls_of(call(10, 100))
    assert found(calls, branch(20, 1)) is SITE
    assert found(calls, branch(30, 2)) is None
    assert found(calls, branch(20, 1)) is None


def test_the_kernels_numbers_are_this_processs_in_the_first_namespace_alone() -> None:
    """A descendant's record does not have its top's number as this process sees it."""
    calls = calls_of(call(10, 100, pid=2))
    assert found(calls, branch(20, top=5002)) is SITE
    calls = calls_of(call(10, 100, pid=2))
    calls.same_numbers = True
    assert found(calls, branch(20, top=5002)) is None


def test_a_call_that_goes_on_has_no_branch_for_certain_yet() -> None:
    going_on = call(10, None)
    calls = calls_of(going_on)
    assert found(calls, branch(15)) is None
    going_on.after = 20
    assert found(calls, branch(15)) is SITE


def test_a_log_that_is_read_while_a_call_goes_on_has_its_site_once_it_is_over() -> None:
    """Another thread reads it: vfork() returns to the one that spawns after the exec. Nothing else happens then."""
    run = FakeRun()
    run.begin()
    window = run.recorder.windows["call"]
    event = run.source.runs("true")
    going_on = call(event.branch.born - 1, None, thread=event.branch.thread)
    run.recorder.timeline.calls.inbox.append(going_on)
    assert [record.call_site for record in window.evidence().records] == [None]
    going_on.after = event.at + 1
    assert [record.call_site for record in window.evidence().records] == [SITE]


def test_one_that_never_said_that_it_is_over_takes_nothing() -> None:
    """An exception broke into its end. What C code forks after that is not its own."""
    stale = call(10, None)
    calls = calls_of(stale, call(20, 30, site=OTHER, outer=stale))
    assert found(calls, branch(25, 1)) is OTHER
    assert found(calls, branch(50, 2)) is None


def test_descendants_have_that_of_their_branch() -> None:
    calls = calls_of(call(10, 20, pid=100))
    made = branch(15, top=100)
    top = exec_event(20, 20, 100, made)
    below = exec_event(30, 30, 200, made)
    for event in (below, top, below):
        one = calls.of_exec(event)
        assert one is not None
        assert one.site_of(made) is SITE


def test_the_test_itself_fails_to_execute() -> None:
    fails = call(10, 20)
    calls = calls_of(fails)
    attempt = exec_event(15, 15, 50, Branch(0, 0, T), error="ENOENT")
    assert calls.of_exec(attempt) is None  # of a call that does not
    fails.is_exec = True
    assert calls.of_exec(attempt) is fails
    assert fails.site_of(attempt.branch) is SITE
    assert calls.of_exec(exec_event(15, 15, 50, Branch(0, 0, T + 1), error="ENOENT")) is None
    assert calls.of_exec(exec_event(25, 25, 50, Branch(0, 0, T), error="ENOENT")) is None


def test_two_probes_of_one_process_have_each_their_own_times() -> None:
    shared = call(10, 20, pid=None)
    first, second = calls_of(shared), calls_of(shared)
    assert found(first, branch(14)) is SITE
    assert found(second, branch(15)) is SITE
    assert found(first, branch(14)) is SITE


# ---- how much is kept ----


def test_calls_that_have_their_branch_are_let_go_of() -> None:
    calls = Calls()
    for number in range(1000):
        calls.inbox.append(call(10 * number + 1, 10 * number + 5))
        assert found(calls, branch(10 * number + 2, top=number + 1)) is SITE
        assert sum(map(len, calls._open.values())) <= 1
    running = Running(1, (Process(3, 3, None, "", False, 22),), True)
    calls.lighten(running, {branch(12, top=2)}, 10**6)
    assert set(calls._made) == {branch(12, top=2), branch(22, top=3)}


def test_what_can_match_no_more_is_forgotten() -> None:
    """Of calls that are over and have no branch, those stay whose process goes on and has executed nothing."""
    lives, failed, late, going_on = call(10, 20), call(30, 40), call(90, 110), call(50, None)
    calls = calls_of(lives, failed, going_on, late)
    calls.lighten(Running(1, (Process(3, 3, None, "", False, 15),), True), set(), 100)
    assert calls._open == {T: [lives, going_on, late]}
    calls.clear()
    assert len(calls) == 0


def test_an_exception_that_breaks_into_the_taking_in_loses_nothing() -> None:
    calls, noted = Calls(), call(10, 20)
    calls.inbox.append(noted)
    calls._open[T] = [noted]  # it has come so far
    assert found(calls, branch(15)) is SITE
    assert calls._open == {T: [noted]}


# ---- whose code ----


def test_whose_code_a_file_is() -> None:
    standard, own, runner, library = frames._STANDARD, frames._OWN, frames._RUNNERS, frames._LIBRARY
    assert frames.kind_of(subprocess.__file__) == standard
    assert frames.kind_of("<frozen importlib._bootstrap>") == standard
    assert frames.kind_of(pytest.__file__) == runner
    assert frames.kind_of(noting.__file__) == runner
    assert frames.kind_of(f"{sysconfig.get_paths()['purelib']}/joblib/parallel.py") == library
    assert frames.kind_of("/usr/lib/python3/dist-packages/apt/cache.py") == library
    assert frames.kind_of("<string>") == library
    assert frames.kind_of(__file__) == own
    assert frames.kind_of("/home/me/release.py") == own


def compiled(file: str, called: object) -> object:
    """A function in a file, that calls something."""
    space = {"called": called}
    exec(compile("def function():\n    return called()\n", file, "exec"), space)
    return space["function"]


def here() -> CallSite | None:
    return call_site(sys._getframe(1))


LIBRARY = "/venv/lib/python3.11/site-packages/joblib/parallel.py"


def test_the_site_is_the_innermost_frame_of_the_users_own_code() -> None:
    function = compiled("/home/me/release.py", compiled("<frozen runpy>", compiled(LIBRARY, here)))
    site = function()  # type: ignore[operator]
    assert (site.file, site.line, site.function) == ("/home/me/release.py", 2, "function")
    assert [frame.file for frame in site.stack] == [LIBRARY, "/home/me/release.py", __file__]


def test_a_file_that_was_found_by_a_roundabout_way_goes_by_the_short_one(tmp_path: Path) -> None:
    """As of ``sys.path.insert(0, f"{folder}/../src")``: annotations and patterns go by where it lies."""

    def spawned_from(file: str) -> CallSite | None:
        names: dict[str, Any] = {"call_site": call_site, "sys": sys}
        exec(compile("def tag(): return call_site(sys._getframe(0))", file, "exec"), names)
        return names["tag"]()

    for folder in ("tests", "src", "elsewhere/deep"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "link").symlink_to("elsewhere/deep")
    short = f"{tmp_path}/src/app.py"
    for long in (f"{tmp_path}/tests/../src/app.py", f"{tmp_path}/./src/app.py", f"{tmp_path}//src/app.py"):
        site = spawned_from(long)
        assert site is not None
        assert (site.file, site.stack[0].file) == (short, short)
    site = spawned_from(f"{tmp_path}/link/../app.py")  # that is elsewhere/app.py
    assert site is not None
    assert site.file == f"{tmp_path}/link/../app.py"


def test_without_any_it_is_the_innermost_outside_of_the_standard_library() -> None:
    sites: list[CallSite | None] = []
    work = compiled(LIBRARY, compiled("<string>", lambda: sites.append(call_site(sys._getframe(1)))))
    thread = threading.Thread(target=work)  # type: ignore[arg-type]
    thread.start()
    thread.join()
    assert sites == [
        CallSite("<string>", 2, "function", (Frame("<string>", 2, "function"), Frame(LIBRARY, 2, "function")))
    ]


LOOP = f"{sysconfig.get_paths()['stdlib']}/asyncio/events.py"


@pytest.mark.parametrize(
    ("inner", "outer", "expected"), [(LIBRARY, "/x/site-packages/plugin.py", LIBRARY), (LOOP, LIBRARY, None)]
)
def test_who_only_runs_an_event_loop_has_not_asked(inner: str, outer: str, expected: str | None) -> None:
    sites: list[CallSite | None] = []
    work = compiled(outer, compiled(LOOP, compiled(inner, lambda: sites.append(call_site(sys._getframe(1))))))
    thread = threading.Thread(target=work)  # type: ignore[arg-type]
    thread.start()
    thread.join()
    (site,) = sites
    assert (site and site.file) == expected
    function = compiled("/home/me/release.py", work)
    function()  # type: ignore[operator]
    assert sites[1] is not None
    assert [frame.file for frame in sites[1].stack] == [
        *filter(None, [expected]),
        outer,
        "/home/me/release.py",
        __file__,
    ]


def test_frames_end_where_pytest_has_called() -> None:
    site = here()
    assert site is not None
    assert site.stack == (Frame(__file__, site.line, "test_frames_end_where_pytest_has_called"),)


def test_they_go_on_where_pytest_is_called_in_between() -> None:
    sites: list[CallSite | None] = []
    spawn = compiled(LIBRARY, lambda: sites.append(call_site(sys._getframe(1))))
    with contextlib.suppress(pytest.fail.Exception):
        pytest.raises(ValueError, spawn)  # type: ignore[call-overload]  # noqa: RUF061
    (site,) = sites
    assert site is not None
    assert [frame.file for frame in site.stack] == [LIBRARY, __file__]
    assert site.function == "test_they_go_on_where_pytest_is_called_in_between"


def as_hook(function: object) -> object:
    """What calls a function as a plugin's."""

    class Hooks:
        @pluggy.HookspecMarker("other")
        def spawn(self) -> None: ...

    plugins = pluggy.PluginManager("other")
    plugins.add_hookspecs(Hooks)
    plugin = ModuleType("plugin")
    plugin.spawn = pluggy.HookimplMarker("other")(function)  # type: ignore[attr-defined,call-overload]
    plugins.register(plugin)
    return plugins.hook.spawn


def test_they_go_on_where_another_program_calls_hooks() -> None:
    (site,) = as_hook(compiled(LIBRARY, here))()  # type: ignore[operator]
    assert [frame.file for frame in site.stack] == [LIBRARY, __file__]


def test_what_pytest_calls_by_itself_has_no_site() -> None:
    """However it was started: what has called pytest did not ask for it."""
    called = as_hook(compiled(subprocess.__file__, lambda: [call_site(sys._getframe(1))]))
    assert compiled("/usr/bin/pytest", compiled(pytest.__file__, called))() == [[None]]  # type: ignore[operator]


def test_no_frame_outside_of_the_standard_library_is_no_site() -> None:
    class Standard:
        f_code = subprocess.run.__code__
        f_lasti = f_lineno = 1
        f_back = None

    assert call_site(Standard()) is None  # type: ignore[arg-type]


def test_equal_stacks_are_one_object() -> None:
    first, second = (here() for _ in range(2))
    assert first is second


def recursion(depth: int) -> CallSite | None:
    return here() if depth == 0 else recursion(depth - 1)


def test_a_recursion_has_so_many_frames_and_no_more() -> None:
    site = recursion(3 * MOST_FRAMES)
    assert site is not None
    assert len(site.stack) == MOST_FRAMES


def test_a_place_in_words() -> None:
    site = CallSite(
        "/src/lib/release.py", 31, "tag", (Frame("/usr/x.py", 1, "g"), Frame("/src/lib/release.py", 31, "tag"))
    )
    assert place(site) == "/src/lib/release.py:31 in tag"
    assert place(site, "/src") == place(site, "/src/") == "lib/release.py:31 in tag"
    assert place(site, "/sr") == place(site, "/src/lib/release.py") == "/src/lib/release.py:31 in tag"
    assert relative(site, "/src").stack == (Frame("/usr/x.py", 1, "g"), Frame("lib/release.py", 31, "tag"))


# ---- how calls are noted ----


@pytest.fixture
def calls() -> Iterator[Calls]:
    before = noting._listeners
    calls = Calls()
    noting.begin(calls)
    yield calls
    noting.end(calls)
    assert noting._listeners == before


def noted(calls: Calls) -> list[tuple[str, int]]:
    """The function of each call's site, and its line in that."""
    return [
        (None if one.site is None else one.site.function, 0 if one.site is None else one.site.line)
        for one in calls.inbox
    ]


def line() -> int:
    return sys._getframe(1).f_lineno


def test_each_way_to_spawn_is_noted(calls: Calls) -> None:
    this = "test_each_way_to_spawn_is_noted"
    lines = []
    lines.append(line()), subprocess.run(["true"], check=True)
    lines.append(line()), subprocess.run(["/bin/true"], check=True, close_fds=False)
    lines.append(line()), os.system("true")
    lines.append(line()), os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)
    lines.append(line()), os.waitpid(os.posix_spawnp("true", ["true"], {}), 0)
    lines.append(line()), os.spawnlp(os.P_WAIT, "true", "true")
    child = (lines.append(line()), os.fork() or os._exit(0))[1]
    os.waitpid(child, 0)
    child, descriptor = (lines.append(line()), os.forkpty())[1]
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    os.close(descriptor)
    with pytest.raises(FileNotFoundError):
        lines.append(line()), os.execv("/no-such-file", ["x"])
    assert noted(calls) == [(this, number) for number in lines]
    assert all(one.after is not None and one.before < one.after for one in calls.inbox)
    assert noting._going_on == {}


def test_what_is_returned_and_raised_is_what_the_function_does(calls: Calls) -> None:
    with pytest.raises(FileNotFoundError, match="No such file") as caught:
        os.posix_spawn("/no-such-file", ["x"], {})
    assert caught.value.filename == "/no-such-file"
    with pytest.raises(TypeError):
        os.posix_spawn()  # type: ignore[call-arg]
    assert os.system("exit 3") == 3 << 8
    assert [one.pid for one in calls.inbox] == [None, None, None]
    child = os.posix_spawn("/bin/true", ["true"], {}, setsigmask=())
    assert calls.inbox[-1].pid == child
    os.waitpid(child, 0)


def test_a_popen_that_raises_before_it_forks_is_none(calls: Calls) -> None:
    with pytest.raises(TypeError):
        subprocess.Popen(["true", None])  # type: ignore[list-item]
    assert all(one.pid is None for one in calls.inbox)


def test_a_handler_of_forks_has_its_own_call(calls: Calls) -> None:
    """One within another: what the inner has made is not the outer's."""
    child = subprocess.Popen(["true"], preexec_fn=lambda: None)
    child.wait()
    outer, inner = calls.inbox
    assert inner.outer is outer
    assert outer.before < inner.before
    assert None not in (inner.after, outer.after)
    assert inner.after <= outer.after  # type: ignore[operator]


def test_a_forked_child_says_its_own_number(calls: Calls) -> None:
    """What C code has forked within the call does not, and is not taken for it even while it alone is known."""
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    (fork,) = calls.inbox
    assert fork.after is not None
    by_c = Branch(fork.before + 1, child + 1, fork.thread)
    own = Branch(fork.after - 1, child, fork.thread)
    assert found(calls, by_c, seen=child + 1) is None
    assert found(calls, own, seen=child) is fork.site is not None
    assert found(calls, by_c) is None


def test_a_child_that_has_not_said_its_number_yet_has_no_site() -> None:
    marks = memoryview(bytearray(8)).cast("I")
    fork = call(10, 20)
    fork.mark = marks, 1
    calls = calls_of(fork)
    assert found(calls, branch(15, top=5), seen=5) is None
    marks[1] = 5
    assert found(calls, branch(15, top=5), seen=5) is SITE
    fork.forget_mark()
    marks[1] = 6
    assert found(calls, branch(15, top=5), seen=5) is SITE
    never = call(30, 40)
    never.mark = marks, 0
    never.forget_mark()
    assert found(calls_of(never), branch(35, top=9), seen=9) is None


def test_marks_are_used_again(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noting, "_MARKS", 2)
    monkeypatch.setattr(noting, "_marks", None)
    children = []
    for _ in range(5):
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
        children.append(child)
    forks = [*calls.inbox]
    sites = [
        found(calls, Branch(one.before + 1, pid, one.thread), seen=pid)
        for one, pid in zip(forks, children, strict=True)
    ]
    assert sites == [one.site for one in forks]
    assert None not in sites
    monkeypatch.setattr(noting, "_marked", {})


def test_a_forked_child_notes_nothing_of_its_own(calls: Calls) -> None:
    child = os.fork()
    if child == 0:
        before = len(calls.inbox)
        os.system("true")
        os._exit(len(calls.inbox) != before or bool(noting._going_on))
    assert os.waitpid(child, 0)[1] == 0


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Where a function that spawns is looked up, in a process in which nothing is noted."""
    module = ModuleType("spawning")
    module.spawn = lambda: 5  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "spawning", module)
    monkeypatch.setattr(
        noting, "_PLACES", (("spawning", "spawn", "pid"), ("spawning", "none", ""), ("missing", "x", ""))
    )
    monkeypatch.setattr(noting, "_listeners", ())
    return module


def test_nothing_is_left_when_nothing_is_followed(module: ModuleType) -> None:
    spawn, calls, other = module.spawn, Calls(), Calls()
    noting.begin(calls)
    noting.begin(calls)
    noting.begin(other)
    held = module.spawn
    assert isinstance(held, noting.Noted)
    assert held() == 5
    assert [one.pid for one in (*calls.inbox, *other.inbox)] == [5, 5]
    assert calls.inbox[0] is other.inbox[0]
    noting.end(calls)
    assert module.spawn is held
    noting.end(other)
    noting.end(other)
    assert module.spawn is spawn
    assert vars(module).keys() >= {"spawn"}
    assert "none" not in vars(module)
    assert held() == 5
    assert len(calls.inbox) == len(other.inbox) == 1


def test_what_others_put_over_it_stays_and_what_they_put_back_notes_nothing(module: ModuleType) -> None:
    calls, another = Calls(), lambda: 6
    noting.begin(calls)
    held, module.spawn = module.spawn, another  # type: ignore[attr-defined]
    noting.end(calls)
    assert module.spawn is another
    module.spawn = held  # type: ignore[attr-defined]
    assert module.spawn() == 5
    assert not calls.inbox
    noting.begin(calls)  # what is in its place already is not put there twice
    assert module.spawn is held
    assert module.spawn() == 5
    assert len(calls.inbox) == 1
    noting.end(calls)
    assert not isinstance(module.spawn, noting.Noted)


@pytest.mark.usefixtures("calls")
def test_a_noted_function_is_as_good_as_the_one_of_c() -> None:
    import posix

    assert isinstance(os.execve, noting.Noted)
    assert (os.execve in os.supports_fd) is (posix.execve in os.supports_fd)
    assert os.system == posix.system
    assert os.system.__name__ == "system"
    assert os.system.__doc__ == posix.system.__doc__

    class Holder:
        run = os.system

    assert Holder().run("true") == 0  # it is no method
    assert pickle.loads(pickle.dumps(os.system))("true") == 0
    assert copy.deepcopy(os.system)("true") == 0


def test_the_record_of_a_test_has_no_site_without_a_call() -> None:
    assert record("git").call_site is None

"""What is stopped before it runs: how a client says it, what the helper makes of that, and what is found in the end."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes import FakeProbe, FakeSource, altered, event_of, evidence, kernel_record, record
from serving import PATIENCE, Helper, eventually, registered

from pytest_execprobe._util.text import Style
from pytest_execprobe.errors import SourceLost
from pytest_execprobe.helper import wire
from pytest_execprobe.helper.bpf import stops as bpf_stops
from pytest_execprobe.helper.errors import ProbeError
from pytest_execprobe.helper.probe import Denial, Enforced
from pytest_execprobe.helper.ptrace import image, statuses
from pytest_execprobe.helper.ptrace import stops as ptrace_stops
from pytest_execprobe.helper.ptrace.tree import Slot, Tree
from pytest_execprobe.helper.quotas import Limits
from pytest_execprobe.helper.stopping import LONGEST, MOST
from pytest_execprobe.log import checks
from pytest_execprobe.log.pattern import ignoring
from pytest_execprobe.log.patterns import compile_pattern
from pytest_execprobe.rules.judge import Judge
from pytest_execprobe.rules.precedence import deciders
from pytest_execprobe.rules.rule import RuleError, make_rule
from pytest_execprobe.source.events import Exec
from pytest_execprobe.source.stopping import Denials, StopError, check, resolve
from pytest_execprobe.timeline.recorder import Recorder

# ---- patterns ----


@pytest.mark.parametrize("text", ["git", "python3.11", "/usr/bin/git", "memfd:x", "x" * LONGEST, "ü" * 127])
def test_names_and_absolute_paths_can_be_enforced(text: str) -> None:
    check(text)


@pytest.mark.parametrize(
    "text", ["git*", "g?t", "[", "re:git", "argv:git", "subtree:git", "bin/git", "./git", "x" * 256, "ü" * 128]
)
def test_others_can_not(text: str) -> None:
    with pytest.raises(ValueError, match="can't be enforced"):
        check(text)


def test_no_other_form_can() -> None:
    with pytest.raises(ValueError, match="unknown form") as caught:
        compile_pattern("no_form:x")
    forms = re.findall(r"\w+:(?=,| and|\.)", str(caught.value).partition("there are ")[2])
    assert {"re:", "from:", "unowned:"} <= set(forms)
    for form in forms:
        with pytest.raises(ValueError, match="can't be enforced"):
            check(f"{form}conftest.py")


def own(path: Path) -> tuple[int, int]:
    return path.stat().st_dev, path.stat().st_ino


def test_a_path_is_a_name_a_file_and_a_place(tmp_path: Path) -> None:
    tool, link = tmp_path / "tool", tmp_path / "link"
    tool.touch()
    link.symlink_to(tool)
    found = resolve(["git", str(link)], by_stat=True)
    assert found == Denials(("git", str(link)), (own(tool),), ((*own(tmp_path), "tool"),))


def test_what_is_not_there_yet_has_its_place(tmp_path: Path) -> None:
    assert resolve([f"{tmp_path}/new"], by_stat=True) == Denials((f"{tmp_path}/new",), (), ((*own(tmp_path), "new"),))
    with pytest.raises(StopError, match=r"there is no folder .*/none: deny it by its name, new"):
        resolve([f"{tmp_path}/none/new"], by_stat=True)


def test_the_kernels_own_numbers_are_read(tmp_path: Path) -> None:
    """On most file systems they are those of stat(2) as well."""
    (tmp_path / "tool").touch()
    found = resolve([f"{tmp_path}/tool"], by_stat=False)
    ((device, inode),) = found.files
    major, minor = os.major(tmp_path.stat().st_dev), os.minor(tmp_path.stat().st_dev)
    assert inode == (tmp_path / "tool").stat().st_ino
    assert device == major << 20 | minor


def test_many_go_in_several_requests() -> None:
    names = tuple(f"name-{number:0200}" for number in range(60))
    parts = [*Denials(names, ((1, 2),), ((1, 2, "x"),)).parts()]
    assert [part["more"] for part in parts] == [True] * (len(parts) - 1) + [False]
    assert len(parts) > 2
    assert [name for part in parts for name in part["names"]] == [*names]
    assert all(len(wire.frame(wire.STOP, 1, {"since": 1 << 62, **part})) < wire.MAX_REQUEST for part in parts)
    assert [*Denials().parts()] == [{"names": [], "files": [], "places": [], "more": False}]


def test_more_than_can_be_denied_is_an_error() -> None:
    names = [f"name-{number}" for number in range(MOST)]
    assert len(resolve(names, by_stat=True).names) == MOST
    with pytest.raises(StopError, match="256 names"):
        resolve([*names, "one-more"], by_stat=True)


# ---- the helper ----


def denials(*names: str) -> frozenset[Denial]:
    return frozenset(Denial(0, 0, name.encode()) for name in names)


def test_probe_is_told_what_a_client_denies(helper: Helper, probe: FakeProbe) -> None:
    client = helper.first.arm()
    client.send(wire.STOP, since=5, names=["git", "h\udc80"], files=[[1, 2]], places=[[3, 4, "x"]])
    client.expect(wire.STOPPING)
    wanted = {Denial(0, 0, b"git"), Denial(0, 0, b"h\x80"), Denial(1, 2, b""), Denial(3, 4, b"x")}
    assert probe.stops == {client.root: Enforced(os.getuid(), 5, frozenset(wanted))}


def test_parts_are_in_force_together(helper: Helper, probe: FakeProbe) -> None:
    client = helper.first.arm()
    client.send(wire.STOP, since=5, names=["a"], more=True)
    client.expect(wire.STOPPING)
    assert probe.stops == {}
    client.send(wire.STOP, since=6, names=["b"], more=False)
    client.expect(wire.STOPPING)
    assert probe.stops[client.root] == Enforced(os.getuid(), 6, denials("a", "b"))
    client.send(wire.STOP, since=7)
    client.expect(wire.STOPPING)
    assert probe.stops[client.root].denials == frozenset()


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"since": -1},
        {"since": 0, "names": "git"},
        {"since": 0, "names": [""]},
        {"since": 0, "names": ["a\0b"]},
        {"since": 0, "names": ["x" * (LONGEST + 1)]},
        {"since": 0, "names": ["\ud800"]},
        {"since": 0, "names": [1]},
        {"since": 0, "names": ["x"] * (MOST + 1)},
        {"since": 0, "files": [[1]]},
        {"since": 0, "files": [[1, -1]]},
        {"since": 0, "files": [[1, 1 << 64]]},
        {"since": 0, "files": [["1", 2]]},
        {"since": 0, "places": [[1, 2]]},
        {"since": 0, "places": [[1, 2, ""]]},
    ],
    ids=str,
)
def test_what_is_no_request_closes_the_connection(helper: Helper, probe: FakeProbe, wrong: dict[str, object]) -> None:
    client = helper.first.arm()
    client.send(wire.STOP, **wrong)
    assert client.receive() is None
    assert not any(enforced.denials for enforced in probe.stops.values())


def test_parts_without_end_close_the_connection(helper: Helper) -> None:
    client = helper.first.arm()
    for _ in range(2):
        client.send(wire.STOP, since=0, names=["x"] * MOST, more=True)
    client.expect(wire.STOPPING)
    assert client.receive() is None


def test_only_a_root_can_deny(helper: Helper) -> None:
    helper.first.welcome().send(wire.STOP, since=0, names=["git"])
    assert helper.first.refused() == "there is no root yet"


def test_probe_that_can_not_is_an_error(helper: Helper, probe: FakeProbe) -> None:
    probe.stops_refused = "there is no room"
    source = registered(helper.first)
    source.description["stops_refused"] = None
    with pytest.raises(StopError, match=r"there is no room\. Fix: wait"):
        source.stop(["git"], 0, PATIENCE)


def test_helper_that_does_not_know_it_is_an_error(helper: Helper) -> None:
    source = registered(helper.first)
    with pytest.raises(StopError, match="the probe helper can't stop programs"):
        source.stop(["git"], 0, PATIENCE)
    source.description["stops_refused"] = "late"
    with pytest.raises(StopError, match="late"):
        source.stop(["git"], 0, PATIENCE)


@pytest.fixture
def limited(probe: FakeProbe) -> Iterator[Helper]:
    made = Helper(probe, limits=Limits(stopping_per_user=2))
    yield made
    made.stop()


def test_a_user_has_a_share(limited: Helper, probe: FakeProbe) -> None:
    first, second, third = limited.first.arm(), limited.connect().arm(), limited.connect().arm()
    for client in (first, second, second):
        client.send(wire.STOP, since=0, names=["git"])
        client.expect(wire.STOPPING)
    third.send(wire.STOP, since=0, names=["git"])
    assert "2 processes of this user already" in third.refused()
    first.send(wire.STOP, since=0)
    first.expect(wire.STOPPING)
    third.send(wire.STOP, since=0, names=["git"])
    third.expect(wire.STOPPING)
    assert [bool(probe.stops[client.root].denials) for client in (first, second, third)] == [False, True, True]


def test_what_is_denied_outlives_a_connection_that_an_exec_closes(helper: Helper, probe: FakeProbe) -> None:
    """And the helper with it, if that was its last client."""
    client = helper.first.arm()
    client.send(wire.STOP, since=0, names=["git"])
    client.expect(wire.STOPPING)
    probe.entering = [(1, (client.root,))]
    client.sock.close()
    assert eventually(lambda: client.root in probe.forgotten)
    assert probe.stops[client.root].denials
    assert helper._thread.is_alive()
    probe.entering = []
    assert helper.has_ended()
    assert not probe.stops[client.root].denials


# ---- the kernel side's maps ----


class FakeMap:
    def __init__(self, room: int = 1000) -> None:
        self.values: dict[bytes, bytes] = {}
        self.room = room

    def get(self, key: bytes) -> bytes | None:
        return self.values.get(key)

    def set(self, key: bytes, value: bytes) -> bool:
        if key not in self.values and len(self.values) >= self.room:
            return False
        self.values[key] = value
        return True

    def delete(self, key: bytes) -> None:
        self.values.pop(key, None)


class Kernel:
    def __init__(self, room: int = 1000) -> None:
        self.denied, self.enforcers, self.wanted = FakeMap(room), FakeMap(), [False]
        self.stops = bpf_stops.Stops(self.denied, self.enforcers, self.wanted.append)  # type: ignore[arg-type]

    def denies(self, root: int) -> set[str]:
        """What is denied by the bit that a root has."""
        bit, _, _ = bpf_stops._ENFORCER.unpack(self.enforcers.values[root.to_bytes(8, "little")])
        return {
            key[16:].rstrip(b"\0").decode()
            for key, bits in self.denied.values.items()
            if bpf_stops._BITS.unpack(bits)[0] & bit
        }


def test_each_root_has_its_own() -> None:
    kernel = Kernel()
    kernel.stops.set(1, Enforced(0, 5, denials("a", "b")))
    kernel.stops.set(2, Enforced(7, 6, denials("b", "c")))
    assert (kernel.denies(1), kernel.denies(2), kernel.wanted[-1]) == ({"a", "b"}, {"b", "c"}, True)
    kernel.stops.set(1, Enforced(0, 5, denials("c")))
    assert (kernel.denies(1), kernel.denies(2)) == ({"c"}, {"b", "c"})
    kernel.stops.set(1, Enforced(0, 5, frozenset()))
    assert kernel.denies(2) == {"b", "c"}
    assert [*kernel.enforcers.values] == [(2).to_bytes(8, "little")]
    assert kernel.wanted[-1]
    kernel.stops.forget(2)
    assert (kernel.denied.values, kernel.enforcers.values, kernel.wanted[-1]) == ({}, {}, False)


def test_what_there_is_no_room_for_leaves_what_was() -> None:
    kernel = Kernel(room=3)
    kernel.stops.set(1, Enforced(0, 5, denials("a", "b")))
    for root in (1, 2):
        with pytest.raises(ProbeError, match="no room"):
            kernel.stops.set(root, Enforced(0, 5, denials("c", "d", "e")))
    assert kernel.denies(1) == {"a", "b"}
    assert len(kernel.denied.values) == 2
    assert len(kernel.enforcers.values) == 1


def test_a_bit_is_no_other_roots_while_the_kernel_may_look_at_it(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(bpf_stops.time, "sleep", slept.append)
    kernel = Kernel()
    for root in range(64):
        kernel.stops.set(root, Enforced(0, 5, denials("a")))
    with pytest.raises(ProbeError, match="64 processes already"):
        kernel.stops.set(64, Enforced(0, 5, denials("a")))
    assert sum(slept) == 0
    kernel.stops.forget(3)
    now = time.monotonic()
    kernel.stops.set(64, Enforced(0, 5, denials("a")))
    assert 0 < slept[-1] <= bpf_stops._LATE
    assert time.monotonic() < now + PATIENCE


def test_where_a_signal_can_be_late_nothing_is_promised(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "realtime").write_text("1\n")
    monkeypatch.setattr(bpf_stops, "_REALTIME", str(tmp_path / "realtime"))
    assert "PREEMPT_RT" in (bpf_stops.stops_refused(is_preempted=False) or "")
    assert bpf_stops.stops_refused(is_preempted=True) is None
    monkeypatch.setattr(bpf_stops, "_REALTIME", str(tmp_path / "none"))
    assert bpf_stops.stops_refused(is_preempted=False) is None


# ---- where execs are traced ----

STATUS = statuses.Status(b"tool", 10, 1000, 1001, (1000, 1001), (11,), False)


def found(
    stops: ptrace_stops.Stops, tree: Tree, path: str = "/opt/tool", argv: bytes = b"tool\0", uid: int = 1000
) -> int:
    read = image.Image(image.Stack(path.encode(), argv), b"/opt/real", b"/", None, (), False, False)
    return stops.found(tree, tree.processes[11], read, STATUS._replace(uid=uid))


@pytest.fixture
def tree() -> Tree:
    """A root with a child that it has forked at 100, and a grandchild."""
    made = Tree()
    made.levels[1] = 0
    root = made.add(10)
    made.enter(root, Slot(1, 0, 0, 0))
    made.fork(made.fork(root, 12, 10, 100), 11, 12, 200)
    return made


@pytest.mark.parametrize(
    ("name", "path", "argv", "is_found"),
    [
        ("tool", "/opt/tool", "x", True),
        ("real", "/opt/tool", "x", True),
        ("/opt/tool", "/opt/tool", "x", True),
        ("/opt/real", "/opt/tool", "x", False),  # the helper is given a place for that
        ("x", "/opt/tool", "x", False),
        ("x", "/proc/self/exe", "x", True),
        ("x", "/proc/7/fd/3", "/bin/x", True),
        ("x", "/dev/fd/3", "-x", True),
        ("x", "/dev/fd/3/x/y", "x", False),
        ("x", "/proc/self/cwd/y", "x", False),
    ],
)
def test_names_of_an_exec(tree: Tree, name: str, path: str, argv: str, is_found: bool) -> None:
    stops = ptrace_stops.Stops()
    stops.set(1, Enforced(0, 0, denials(name)))
    assert found(stops, tree, path, argv.encode() + b"\0") == is_found


def test_branches_that_count(tree: Tree) -> None:
    stops = ptrace_stops.Stops()
    stops.set(1, Enforced(0, 150, denials("tool")))
    assert found(stops, tree) == 1  # its top lives
    del tree.processes[12]
    assert found(stops, tree) == 0
    stops.set(1, Enforced(0, 100, denials("tool")))
    assert found(stops, tree) == 1


def test_none_of_another_user(tree: Tree) -> None:
    stops = ptrace_stops.Stops()
    stops.set(1, Enforced(1000, 0, denials("tool")))
    assert (found(stops, tree, uid=1000), found(stops, tree, uid=0)) == (1, 0)


# ---- what is made of it ----


@pytest.mark.parametrize("stopped", [0, wire.STOPPED_FOR_THIS, wire.STOPPED_FOR_OTHERS])
def test_whose_wish_it_was(stopped: int) -> None:
    event = event_of(kernel_record(stopped=stopped), 1, lost=False)
    assert isinstance(event, Exec)
    assert event.stopped == stopped


GIT = compile_pattern("git")
STOPPED = altered(record("git"), stopped=True, enforced=True)


@pytest.mark.parametrize(
    ("records", "headline"),
    [
        ([record("git")], "git must not run, but it ran once"),
        ([STOPPED], "git must not run, and was stopped before it ran"),
        ([STOPPED] * 3, "git must not run, and was stopped before it ran, 3 times"),
        (
            [STOPPED, record("git"), STOPPED],
            "git must not run, but it ran once, and was stopped before it ran, 2 times",
        ),
    ],
)
def test_a_breach_says_what_was_stopped(records: list[object], headline: str) -> None:
    (verdict,) = checks.not_ran(evidence(*records), [GIT])  # type: ignore[arg-type]
    assert verdict.headline == headline
    assert checks.denied(GIT, records).headline == headline  # type: ignore[arg-type]


def judged(*records: object, enforce: bool = True) -> list[str]:
    rule = make_rule("exec_deny", ["git"], {"enforce": enforce}, "here")
    return [one.headline for one in Judge(deciders([[rule]])).judge("call", evidence(*records))]  # type: ignore[arg-type]


def test_what_was_stopped_by_another_name_is_a_breach() -> None:
    other = altered(record("hard"), stopped=True, enforced=True)
    assert judged(other) == ["hard is a file that must not run, and was stopped before it ran"]
    assert judged(STOPPED) == ["git must not run, and was stopped before it ran"]
    assert judged(altered(record("hard"), stopped=True)) == []  # by another run's rules
    assert judged(record("git")) == ["git must not run, but it ran once; not all of it could be stopped"]
    assert judged(record("git"), enforce=False) == ["git must not run, but it ran once"]


def test_what_was_stopped_is_not_ignored() -> None:
    is_ignored = ignoring([GIT])
    assert is_ignored is not None
    assert is_ignored(record("git"))
    assert is_ignored(altered(record("git"), stopped=True))  # by another run's rules
    assert not is_ignored(STOPPED)


@pytest.mark.parametrize(
    ("kwargs", "why"),
    [({"direct": True}, "leave out direct=True"), ({"enforce": 1}, "enforce is True or False"), ({}, None)],
)
def test_rule(kwargs: dict[str, object], why: str | None) -> None:
    if why is not None:
        with pytest.raises(RuleError, match=why):
            make_rule("exec_deny", ["git"], {"enforce": True, **kwargs}, "here")
    rule = make_rule("exec_deny", ["git"], {}, "here", enforce=True)
    assert (rule.enforce, rule.text) == (True, "exec_deny('git')")
    assert not make_rule("exec_allow", ["git*"], {}, "here", enforce=True).enforce
    with pytest.raises(RuleError, match="can't be enforced"):
        make_rule("exec_deny", ["git*"], {}, "here", enforce=True)


# ---- a run's side ----


@pytest.fixture
def source() -> FakeSource:
    return FakeSource()


@pytest.fixture
def recorder(source: FakeSource) -> Recorder:
    made = Recorder(lambda: source, style=Style(), timeout=1)
    made.ensure()
    return made


def test_it_is_said_once(recorder: Recorder, source: FakeSource) -> None:
    recorder.stop(frozenset(), 5)
    assert source.stopped == []
    for _ in range(2):
        recorder.stop(frozenset({"b", "a"}), 5)
    assert source.stopped == [(("a", "b"), 5)]
    recorder.stop(frozenset({"a", "b"}), 6)
    recorder.stop(frozenset({"a"}), 6)
    recorder.stop(frozenset(), 6)
    assert [patterns for patterns, _ in source.stopped[1:]] == [("a", "b"), ("a",), ()]


def test_of_a_path_it_is_said_again_when_its_file_may_be_another(recorder: Recorder, source: FakeSource) -> None:
    for patterns, said in (frozenset({"a"}), 1), (frozenset({"a", "/b"}), 3):
        recorder.stop(patterns, 5, anew=True)
        recorder.stop(patterns, 5, anew=True)
        assert len(source.stopped) == said
        recorder.stop(patterns, 5)
        assert len(source.stopped) == said


def test_what_is_on_its_way_is_waited_for_before_more_is_denied(recorder: Recorder, source: FakeSource) -> None:
    recorder.stop(frozenset("ab"), 5)
    syncs = source.syncs
    recorder.stop(frozenset("a"), 5)
    assert source.syncs == syncs
    recorder.stop(frozenset("b"), 5)
    assert source.syncs == syncs + 1


def test_a_lost_helper_is_an_error_and_then_nothing_is_in_force(recorder: Recorder, source: FakeSource) -> None:
    recorder.stop(frozenset("a"), 5)
    source.broken = "it died"
    with pytest.raises(StopError, match="lost"):
        recorder.stop(frozenset("b"), 5)
    assert recorder.stopping == frozenset()
    with pytest.raises(StopError, match="lost"):
        recorder.stop(frozenset("b"), 5)


def test_a_refusal_is_an_error_and_the_recorder_goes_on(recorder: Recorder, source: FakeSource) -> None:
    source.stops_refused = "no room"
    with pytest.raises(StopError, match="no room"):
        recorder.stop(frozenset("a"), 5)
    source.stops_refused = None
    recorder.stop(frozenset("a"), 5)
    assert recorder.stopping == {"a"}


def test_source_says_that_it_is_lost(helper: Helper) -> None:
    source = registered(helper.first)
    source.description["stops_refused"] = None
    source.close()
    with pytest.raises(SourceLost):
        source.stop(["git"], 0, PATIENCE)

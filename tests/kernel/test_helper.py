"""The helper itself: what privilege it keeps, what it lets in, and how it ends."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from programs import Programs
from recording import Recording, listener_of_another_user, open_for_reader, recording, watched_to_its_end, workers

from pytest_execprobe import ExecLog, IncompleteLogError
from pytest_execprobe._util.text import Style
from pytest_execprobe.cli.doctor.privilege import OPTIONS
from pytest_execprobe.errors import ProbeObstructed, ProbeUnavailable, SourceLost
from pytest_execprobe.helper import handshake, peers, wire
from pytest_execprobe.source.client import HelperSource
from pytest_execprobe.source.connect import HelperSettings, hold_helper, start_helper
from pytest_execprobe.source.decode import decode
from pytest_execprobe.source.events import Exec
from pytest_execprobe.source.launch import bpf_folder, is_helper
from pytest_execprobe.source.meeting import listen, names, new_name, new_secret
from pytest_execprobe.timeline.recorder import Recorder

pytestmark = [pytest.mark.usefixtures("kernel"), pytest.mark.exec_budget(40), pytest.mark.bpf]

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="execprobe: these tests become other users, as root can")
HELPER = bpf_folder().parent / "pytest_execprobe/helper"


@pytest.fixture
def made() -> Iterator[Recording]:
    with recording() as made:
        yield made


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def test_it_gives_up_every_privilege_once_it_probes(made: Recording) -> None:
    fields = status(made.helper)
    assert fields["Uid"].split() == [str(os.geteuid() or 65534)] * 4
    assert 0 not in map(int, fields["Gid"].split())
    assert fields["Groups"] == ""
    assert {fields[name] for name in ("CapPrm", "CapEff", "CapInh", "CapAmb")} == {"0" * 16}
    assert fields["NoNewPrivs"] == "1"
    assert "no capabilities" in made.source.description["privilege"]


def test_something_else_can_be_done_once_while_it_starts_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    admit = handshake.admit
    monkeypatch.setattr(handshake, "admit", lambda *words: (done.append("let in"), admit(*words))[1])
    deadline = time.monotonic() + 30

    def pieces() -> Iterator[bool]:
        while not done and time.monotonic() < deadline:
            yield True
        done.append("last piece")

    settings = HelperSettings(shared=new_secret(), meanwhile=pieces)
    with contextlib.closing(hold_helper(settings)), contextlib.closing(hold_helper(settings)):
        assert done == ["let in", "last piece"]  # the second was there


def test_it_is_no_child_of_the_test_process(made: Recording) -> None:
    assert int(status(made.helper)["PPid"]) != os.getpid()
    with contextlib.suppress(ChildProcessError):  # a test that waits for any child must not wait for the helper
        assert os.waitpid(-1, os.WNOHANG) != (0, 0)
    assert os.getsid(made.helper) != os.getsid(0)


def test_it_mounts_tracefs_for_itself_alone() -> None:
    mounts = Path("/proc/self/mounts").read_text()
    with recording(HelperSettings(attempts="tracepoint")) as other:
        assert other.source.description["attempts"] == "tracepoint"
        assert Path("/proc/self/mounts").read_text() == mounts


@pytest.mark.parametrize("attempts", ["auto", "always", "tracepoint", "off"])
def test_the_routes_to_failed_attempts(attempts: str) -> None:
    with recording(HelperSettings(attempts=attempts)) as made:
        with contextlib.suppress(FileNotFoundError):
            subprocess.run(["/nonexistent"], check=False)
        subprocess.run(["true"], check=True)
        assert made.execprobe.programs == ["true"]
        if made.recorder.attempts_refused is None:
            attempt = made.execprobe.attempts[0]
            assert (attempt.path, attempt.error, attempt.argv) == ("/nonexistent", "ENOENT", ("/nonexistent",))
        assert (made.recorder.attempts_refused is None) == (made.source.description["attempts"] is not None)
        assert (
            attempts != "off"
            or made.recorder.attempts_refused == "failed attempts are left out, by --execprobe-attempts=off"
        )
        assert attempts not in ("always", "tracepoint") or made.recorder.attempts_refused is None


def test_it_ends_when_its_only_client_closes(made: Recording) -> None:
    with watched_to_its_end(made.helper):
        made.recorder.close()


def ends_with_its_client(program: str, *arguments: str) -> None:
    """A program writes the numbers of its helper and of a child (0: it has none), and is killed."""
    client = subprocess.Popen([sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE, text=True)
    assert client.stdout is not None
    helper, child = map(int, client.stdout.readline().split())
    try:
        with watched_to_its_end(helper):
            client.kill()
            client.wait()
    finally:
        client.stdout.close()
        if child:
            with watched_to_its_end(child):  # or the next helper finds it, and can't know whose it is
                os.kill(child, signal.SIGKILL)


@pytest.mark.parametrize("holder", [False, True], ids=["alone", "with a forked child that holds the socket"])
def test_it_ends_with_its_client_however_that_ends(holder: bool) -> None:
    """The client is a process of its own, is killed, and may leave a child that has all its descriptors."""
    program = f"""
import os, signal, sys
from pytest_execprobe.source.connect import HelperSettings, start_helper
source = start_helper(HelperSettings())
child = 0
if {holder}:
    child = os.fork()
    if child == 0:
        signal.pause()
print(source.description["pid"], child, flush=True)
signal.pause()
"""
    ends_with_its_client(program)


def test_it_ends_with_a_pytest_that_is_killed(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import os, signal

        def test_dies(execprobe):
            print(execprobe._recorder.source.description["pid"], flush=True)
            signal.pause()
        """
    )
    run = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider"], stdout=subprocess.PIPE, text=True
    )
    assert run.stdout is not None
    line = next(line for line in run.stdout if line.strip().isdigit())
    with watched_to_its_end(int(line)):
        run.kill()
        run.wait()
    run.stdout.close()


@needs_root
def test_other_users_are_turned_away(made: Recording) -> None:
    """By it, whose first client was root: what a client thinks of a helper is another matter."""
    address = "\0" + made.source.description["address"]
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.setresuid(12345, 12345, 12345)
            with socket.socket(socket.AF_UNIX) as sock:
                sock.settimeout(10)
                sock.connect(address)
                reader = wire.Reader(wire.REPLIES, wire.MAX_REPLY)
                frames = []
                while data := sock.recv(4096):
                    frames += reader.feed(data)
                refused = [frame.type for frame in frames] == [wire.FAILED]
                code = 0 if refused and "user 12345 can't use" in frames[0].json()["reason"] else 1
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    made.execprobe.assert_nothing_ran()


def test_a_second_client_that_sends_garbage_harms_none(made: Recording) -> None:
    address = "\0" + made.source.description["address"]
    for garbage in (b"GET / HTTP/1.1\r\n\r\n", wire.HEADER.pack(wire.MAGIC, wire.VERSION, wire.SYNC, 1, 1 << 31)):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(10)
            sock.connect(address)
            sock.sendall(garbage)
            while sock.recv(4096):
                pass
    subprocess.run(["true"], check=True)
    assert made.execprobe.programs == ["true"]


def test_too_deep_a_nesting_is_refused_in_words(made: Recording) -> None:
    with contextlib.ExitStack() as sources:
        for _ in range(wire.SLOTS - 1):
            made.registered_again(sources)
        with pytest.raises(SourceLost, match="is in 6 watched trees already"):
            made.registered_again(sources)
    subprocess.run(["true"], check=True)
    assert made.execprobe.programs == ["true"]


@pytest.mark.parametrize("left", [[0, 1, 2, 3, 4], [1, 3], [0], [1], [2], [3], [4], []])
def test_each_root_has_what_is_executed_whichever_others_have_gone(made: Recording, left: list[int]) -> None:
    with contextlib.ExitStack() as sources:
        others = [made.registered_again(sources) for _ in range(wire.SLOTS - 1)]
        for place, source in enumerate(others):
            if place not in left:
                source.close()
        subprocess.run(["true"], check=True)
        for place in left:
            execs = [event for event in others[place].sync(10).events if isinstance(event, Exec)]
            assert [event.command and event.command.program for event in execs] == ["true"]
    assert made.execprobe.programs == ["true"]


@pytest.mark.parametrize("roots", [1, 2])
def test_an_end_has_nothing_of_the_record_before_it(monkeypatch: pytest.MonkeyPatch, roots: int) -> None:
    """Which may be of another user's process: both are made in the same memory of their CPU."""
    heads: list[tuple[Any, ...]] = []

    def look(payload: bytes, *others: Any) -> Any:
        heads.extend(wire.HEAD.unpack_from(record) for record, _ in wire.split_events(payload))
        return decode(payload, *others)

    with recording(HelperSettings(backend="bpf")) as made, contextlib.ExitStack() as sources:
        for _ in range(roots - 1):
            made.registered_again(sources)
        monkeypatch.setattr("pytest_execprobe.source.client.decode", look)
        subprocess.run(["true"], check=True)
        assert made.execprobe.complete
    assert [head[17] for head in heads if head[0] == wire.KIND_EXEC] == [os.getpid()]
    (end,) = [head for head in heads if head[0] == wire.KIND_EXIT]
    assert end[8:12] + end[16:] == (0, 0, 0, 0, 0, 0, 0, 0, bytes(16), 0, 0, 0, 0)


def command_line(pid: int) -> tuple[str, ...]:
    return tuple(Path(f"/proc/{pid}/cmdline").read_text().split("\0")[:-1])


def test_its_own_command_line_is_recognised(programs: Programs) -> None:
    helper = str(HELPER)
    assert is_helper(("/usr/bin/python3", "-I", "-B", helper, "--connect", "pytest-execprobe-01"))
    assert is_helper(("sudo", "-n", "--", "/usr/bin/python3", "-I", "-B", helper, "--connect", "pytest-execprobe-01"))
    assert not is_helper(("/usr/bin/python3", "-I", "-B", str(programs.minimal), "--connect", "pytest-execprobe-01"))
    assert not is_helper(("cat", helper, "--connect"))
    imitated = ("sh", "-c", "id; who", "x", "-I", "-B", helper, "--connect", "pytest-execprobe-01")
    assert not is_helper(imitated)
    assert not is_helper(("sh", *imitated[4:]))
    assert not is_helper(("/usr/bin/python3", "-c", "pass", *imitated[4:]))
    source = start_helper(HelperSettings(attempts="off", pages=64, shared=new_secret()))
    line = command_line(source.description["pid"])
    source.close()
    assert line[6:] == ("--bpf", str(bpf_folder()), "--attempts", "off", "--pages", "64")
    assert is_helper(line)


@pytest.mark.parametrize(
    "settings",
    [
        HelperSettings(),
        HelperSettings(shared=new_secret()),
        HelperSettings(attempts="off", pages=64, shared=new_secret()),
    ],
    ids=["alone", "shared", "with options"],
)
def test_its_command_line_is_what_the_documented_rule_of_sudos_allows(settings: HelperSettings) -> None:
    document = (bpf_folder().parent / "docs/privilege.md").read_text()
    (rule,) = re.findall(r"^tester ALL=\(root\) NOPASSWD: (\S+) \^(.*)\$$", document, re.MULTILINE)
    arguments = rule[1].replace("/opt/venv/lib/python3[.]12/site-packages/pytest_execprobe/bpf", str(bpf_folder()))
    arguments = arguments.replace("/opt/venv/lib/python3[.]12/site-packages/pytest_execprobe/helper", str(HELPER))
    source = start_helper(settings)
    line = " ".join(command_line(source.description["pid"])[1:])
    source.close()
    assert re.fullmatch(arguments, line)
    for more in (" --bpf /tmp/mine", " --procs 99999", " --pages 4096", " --attempts off --attempts off"):
        assert not re.fullmatch(arguments, line + more)
    assert arguments.endswith(OPTIONS)  # as doctor has it


def test_a_buffer_that_cannot_be_had_is_said_so() -> None:
    with pytest.raises(ProbeUnavailable, match="execprobe: "), recording(HelperSettings(pages=3, backend="bpf")):
        pass


def test_a_file_in_the_place_of_the_connection_is_not_written_to(made: Recording, tmp_path: Path) -> None:
    """As after os.closerange(3, ...) in a test that goes on to open files of its own."""
    mine = tmp_path / "mine"
    with mine.open("wb") as file:
        os.dup2(file.fileno(), made.source._connection.stream.sock.fileno())
    subprocess.run(["true"], check=True)
    with pytest.raises(IncompleteLogError, match="its connection was closed by the program under test"):
        made.execprobe.assert_not_ran("ls")
    assert mine.read_bytes() == b""


# ---- one for many ----


def test_processes_that_start_at_once_share_one_and_each_sees_its_own() -> None:
    name = new_secret()
    with workers(5) as group:
        for worker in group:
            assert worker.ask("run ready") == ""
        for worker in group:
            worker.tell(f"record {name}")
        helpers = {worker.answer() for worker in group}
        assert len(helpers) == 1, helpers
        (helper,) = map(int, helpers)
        assert served(name) == [next(names(name))]
        for number, worker in enumerate(group):
            worker.tell(f"run worker-{number}")
        for worker in group:
            worker.answer()
        assert [worker.ask("seen") for worker in group] == [f"worker-{number} 0" for number in range(5)]
        with watched_to_its_end(helper):
            for worker in group:
                worker.end()


def served(secret: str) -> list[str]:
    """The run's names at which a helper listens."""
    lines = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()]
    listening = {words[-1] for words in lines if words[3] == "00010000"}
    return [name for name in itertools.islice(names(secret), 5) if f"@{name}" in listening]


def test_others_do_not_notice_that_the_one_who_started_it_has_ended() -> None:
    name = new_secret()
    with workers(3) as (first, second, third):
        helper = first.ask(f"record {name}")
        assert [second.ask(f"record {name}"), third.ask(f"record {name}")] == [helper, helper]
        with watched_to_its_end(int(helper)):
            first.end()
            assert second.runs_and_sees("b") == "b 0"
            assert third.runs_and_sees("c") == "c 0"
            second.end()
            assert third.runs_and_sees("d") == "d 0"
            assert served(name) == [next(names(name))]
            third.end()


def test_a_connection_that_only_holds_it_keeps_it_and_is_not_watched() -> None:
    settings = HelperSettings(shared=new_secret())
    holder = hold_helper(settings)
    with watched_to_its_end(holder.description["pid"]):
        with workers(1) as (worker,), contextlib.ExitStack() as stack:
            assert worker.ask(f"record {settings.shared}") == str(holder.description["pid"])
            assert worker.runs_and_sees("a") == "a 0"
            # A forked child's connection does not keep it, and shows whether it is there.
            child = HelperSource(socket.socket(socket.AF_UNIX), os.getpid())
            stack.callback(child.close)
            child._connection.stream.sock.connect("\0" + holder.description["address"])
            child.register(fresh=True, timeout=10, child=True)
            worker.end()
            for _ in range(3):  # when the first is answered, the helper knows that the worker has gone
                child.sync(10)
        assert holder.attempts_refused == holder.description["attempts_refused"]
        with recording(settings) as made:
            subprocess.run(["true"], check=True)
            assert made.execprobe.programs == ["true"]
            assert made.helper == holder.description["pid"]
        holder.close()


def test_a_forked_child_does_not_keep_it() -> None:
    program = """
import os, signal, sys
from pytest_execprobe.source.connect import HelperSettings, start_helper
source = start_helper(HelperSettings(shared=sys.argv[1]))
if os.fork() == 0:
    child = source.in_child(fresh=True, timeout=30)
    child.sync(30)
    print(child.description["pid"], os.getpid(), flush=True)
signal.pause()
"""
    ends_with_its_client(program, new_secret())


def test_after_it_was_killed_there_is_a_new_one_at_the_same_name() -> None:
    name = new_secret()
    with workers(2) as (first, second):
        killed = int(first.ask(f"record {name}"))
        assert second.ask(f"record {name}") == str(killed)
        with watched_to_its_end(killed):
            os.kill(killed, signal.SIGKILL)
        first.tell(f"record {name}")
        second.tell(f"record {name}")
        helper = first.answer()
        assert second.answer() == helper != str(killed)
        assert first.runs_and_sees("a") == "a 0"
        assert second.runs_and_sees("b") == "b 0"


class Starting:
    """A helper that was started at a name by this process, and gets no further than its source until it may."""

    def __init__(self, folder: Path, name: str) -> None:
        for path in bpf_folder().iterdir():
            if path.name != "execprobe.c":
                (folder / path.name).symlink_to(path)
        self._header = folder / "header.h"
        os.mkfifo(self._header)
        source = (bpf_folder() / "execprobe.c").read_text()
        (folder / "execprobe.c").write_text(f'#include "{self._header}"\n{source}')
        address, tokens = new_name(), handshake.new_tokens()
        served = listen(name)
        assert served is not None
        proof = os.memfd_create("tokens")
        handshake.put_down(tokens, proof)
        with contextlib.closing(served), socket.socket(socket.AF_UNIX) as listener:
            listener.bind("\0" + address)
            listener.listen()
            listener.settimeout(30)
            command = ["/usr/bin/python3", "-I", "-B", HELPER, "--connect", address, "--bpf", folder]
            subprocess.run(command, stdin=proof, check=True)
            os.close(proof)
            self.first, _ = listener.accept()
            assert handshake.admit(self.first, tokens, served, 30)
        self.pid = peers.credentials(self.first)[0]
        self._pidfd: int | None = None
        with contextlib.suppress(ProcessLookupError):  # it may have ended
            self._pidfd = os.pidfd_open(self.pid)
        self._name = name
        self._pipe: int | None = None

    def end(self) -> None:
        """Whatever has become of it: one that still waits for its source would do so for ever."""
        self.first.close()
        if self._pipe is not None:
            os.close(self._pipe)
        if self._pidfd is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            os.close(self._pidfd)

    def reach_the_source(self) -> None:
        """Waits until it is being read; the helper listens by then."""
        assert self._pidfd is not None, "it has ended"
        self._pipe = open_for_reader(self._header, self._pidfd)

    def go_on(self, header: str = "") -> None:
        assert self._pipe is not None
        again = self._header.with_suffix(".again")
        again.write_text(header)
        again.replace(self._header)  # BCC reads it more than once
        os.write(self._pipe, header.encode())
        os.close(self._pipe)
        self._pipe = None

    def call(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX)
        sock.connect("\0" + self._name)
        return sock


@pytest.fixture
def start_at(tmp_path: Path) -> Iterator[Callable[[str], Starting]]:
    with contextlib.ExitStack() as stack:

        def start(name: str) -> Starting:
            starting = Starting(tmp_path, name)
            stack.callback(starting.end)
            return starting

        yield start


def said(sock: socket.socket) -> tuple[int, dict[str, object]]:
    """The first that the helper says."""
    sock.settimeout(30)
    reader = wire.Reader(wire.REPLIES, wire.MAX_REPLY)
    while data := sock.recv(1 << 16):
        for frame in reader.feed(data):
            return frame.type, frame.json()
    raise AssertionError("it hung up without a word")


@needs_root
def test_one_that_cannot_start_says_so_to_all_who_wait_for_it(start_at: Callable[[str], Starting]) -> None:
    starting = start_at(new_name())
    starting.reach_the_source()
    with starting.call() as second, starting.call() as third:
        starting.go_on("nonsense")
        for sock in (starting.first, second, third):
            type, fields = said(sock)
            assert (type, fields["code"]) == (wire.FAILED, "no-compile")


@needs_root
def test_one_whose_starter_ends_before_it_is_ready_serves_those_who_wait(start_at: Callable[[str], Starting]) -> None:
    starting = start_at(new_name())
    starting.reach_the_source()
    with watched_to_its_end(starting.pid), starting.call() as second:
        starting.first.close()
        starting.go_on()
        type, fields = said(second)
        assert (type, fields.get("pid")) == (wire.WELCOME, starting.pid), fields


@needs_root
def test_one_for_which_none_waits_any_more_ends(start_at: Callable[[str], Starting]) -> None:
    starting = start_at(new_name())
    starting.reach_the_source()
    with watched_to_its_end(starting.pid):
        starting.first.close()
        starting.go_on()


# ---- one that runs already ----


def test_one_that_runs_already_is_used() -> None:
    with workers(1) as (worker,):
        secret = new_secret()
        helper = worker.ask(f"record {secret}")
        with recording(HelperSettings(address="@" + next(names(secret)), python="/nonexistent")) as made:
            assert made.helper == int(helper)
            subprocess.run(["true"], check=True)
            assert made.execprobe.programs == ["true"]
        assert worker.runs_and_sees("a") == "a 0"


@needs_root
@pytest.mark.parametrize("begin", [start_helper, hold_helper])
def test_another_users_listener_is_no_helper(begin: Callable[[HelperSettings], HelperSource]) -> None:
    secret = new_secret()
    first, second, *_ = itertools.islice(names(secret), 3)
    with listener_of_another_user("\0" + first):
        with pytest.raises(
            ProbeObstructed,
            match="the process that listens there is user 65534's, and only one of root's or of this user's, 0",
        ):
            begin(HelperSettings(address="@" + first))
        source = begin(HelperSettings(shared=secret))  # the run goes on to its next name
        assert source.description["address"] == second
        source.close()
    with pytest.raises(ProbeUnavailable, match=r"--execprobe-helper.*Connection refused"):
        begin(HelperSettings(address="@" + first))


@needs_root
def test_a_forked_child_does_not_take_another_users_listener_for_the_helper(made: Recording) -> None:
    """A name in /proc/net/unix can be taken by anyone as soon as its helper has died."""
    made.kill_helper()
    with (
        listener_of_another_user("\0" + made.source.description["address"]),
        pytest.raises(SourceLost, match="the process that listens there is user 65534's"),
    ):
        made.source.in_child(fresh=True, timeout=10)


@pytest.mark.parametrize("shift", [100, -100])
def test_a_helper_with_another_clock_vouches_for_nothing(tmp_path: Path, programs: Programs, shift: int) -> None:
    """Its "all up to now" would be about another time than the windows."""
    shifted = tmp_path / "python3"
    shifted.write_text(f'#!/bin/sh\nexec unshare --time --monotonic {shift} /usr/bin/python3 "$@"\n')
    shifted.chmod(0o755)
    recorder = Recorder(lambda: start_helper(HelperSettings(python=str(shifted))), style=Style(), timeout=10)
    recorder.ensure()
    try:
        recorder.begin_test("test")
        recorder.begin_phase("call")
        window = recorder.open_window("the block")
        subprocess.run([programs.minimal], check=False)
        recorder.close_window(window)
        with pytest.raises(IncompleteLogError, match="its CLOCK_MONOTONIC is not this process's"):
            ExecLog(window).assert_nothing_ran()
    finally:
        recorder.close()

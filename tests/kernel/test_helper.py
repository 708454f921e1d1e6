"""The helper itself: what privilege it keeps, what it lets in, and how it ends."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from programs import Programs
from recording import Recording, recording, watched_to_its_end

from pytest_execprobe import IncompleteLogError
from pytest_execprobe.client import HelperSettings, HelperSource, bpf_folder, is_helper
from pytest_execprobe.errors import ProbeUnavailable, SourceLost
from pytest_execprobe.helper import wire

pytestmark = pytest.mark.usefixtures("kernel")


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


def test_it_ends_when_its_client_hangs_up(made: Recording) -> None:
    with watched_to_its_end(made.helper):
        made.recorder.close()


@pytest.mark.parametrize("holder", [False, True], ids=["alone", "with a forked child that holds the socket"])
def test_it_ends_with_its_client_however_that_ends(holder: bool) -> None:
    """The client is a process of its own, is killed, and may leave a child that has all its descriptors."""
    program = f"""
import os, signal, sys
from pytest_execprobe.client import HelperSettings, start_helper
source = start_helper(HelperSettings())
child = 0
if {holder}:
    child = os.fork()
    if child == 0:
        signal.pause()
print(source.description["pid"], child, flush=True)
signal.pause()
"""
    client = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert client.stdout is not None
    helper, child = map(int, client.stdout.readline().split())
    try:
        with watched_to_its_end(helper):
            client.kill()
            client.wait()
    finally:
        client.stdout.close()
        if child:
            os.kill(child, signal.SIGKILL)


def test_it_ends_with_a_pytest_that_is_killed(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import os, signal

        def test_dies(execprobe):
            print(execprobe._recorder._source.description["pid"], flush=True)
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


def test_other_users_are_turned_away(made: Recording) -> None:
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
                while data := sock.recv(4096):
                    reader.feed(data)
                code = 0  # hung up on
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    made.execprobe.assert_nothing_ran()


def test_a_second_client_that_sends_garbage_harms_nobody(made: Recording) -> None:
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
    """A process can be a root more than once, by further connections: as deep as a pytest inside a pytest would be."""
    with contextlib.ExitStack() as sources:

        def register() -> None:
            source = HelperSource(socket.socket(socket.AF_UNIX), os.getpid())
            sources.callback(source.close)
            source._sock.connect("\0" + made.source.description["address"])
            source.register(fresh=True, timeout=10)

        for _ in range(wire.SLOTS - 1):
            register()
        with pytest.raises(SourceLost, match="is in 6 watched trees already"):
            register()
    subprocess.run(["true"], check=True)
    assert made.execprobe.programs == ["true"]


def test_its_own_command_line_is_recognised(programs: Programs) -> None:
    helper = str(Path(bpf_folder()).parent / "pytest_execprobe/helper")
    assert is_helper(("/usr/bin/python3", "-I", "-B", helper, "--connect", "pytest-execprobe-01"))
    assert is_helper(("sudo", "-n", "--", "/usr/bin/python3", "-I", "-B", helper, "--connect", "pytest-execprobe-01"))
    assert not is_helper(("/usr/bin/python3", "-I", "-B", str(programs.minimal), "--connect", "pytest-execprobe-01"))
    assert not is_helper(("cat", helper, "--connect"))


def test_a_buffer_that_cannot_be_had_is_said_so() -> None:
    with pytest.raises(ProbeUnavailable, match="execprobe: "), recording(HelperSettings(pages=3)):
        pass


def test_a_file_in_the_place_of_the_connection_is_not_written_to(made: Recording, tmp_path: Path) -> None:
    """As after os.closerange(3, ...) in a test that goes on to open files of its own."""
    mine = tmp_path / "mine"
    with mine.open("wb") as file:
        os.dup2(file.fileno(), made.source._sock.fileno())
    subprocess.run(["true"], check=True)
    with pytest.raises(IncompleteLogError, match="its connection was closed by the program under test"):
        made.execprobe.assert_not_ran("ls")
    assert mine.read_bytes() == b""

"""A service that a test runs, and the processes of ordinary users that use it, or misuse it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from users import as_user

from pytest_execprobe.source.launch import HELPER

PYTHON = "/usr/bin/python3"
CAPABILITIES = ("bpf", "perfmon")


@dataclass(frozen=True)
class Service:
    process: subprocess.Popen[str]
    path: str
    said: str
    """Its first line: that it serves, or why it does not."""

    @property
    def serves(self) -> bool:
        return self.said.startswith("execprobe: serving at ")

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Its exit status, and what it has said since."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        rest, _ = self.process.communicate(timeout=30)
        return self.process.returncode, rest


@contextlib.contextmanager
def service(
    folder: Path,
    *options: str,
    prefix: Sequence[str] = (),
    env: dict[str, str] | None = None,
    mode: str = "0666",
    helper: Path = HELPER,
) -> Iterator[Service]:
    """One that all users may use, unless the options say otherwise. ``helper``: of what is installed, for a prefix that
    becomes another user."""
    folder.mkdir(mode=0o755, exist_ok=True)
    path = str(folder / "socket")
    command = [*prefix, PYTHON, "-I", "-B", str(helper), "serve", f"--socket={path}", f"--mode={mode}", *options]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={"PATH": os.environ["PATH"], **(env or {})},
    )
    assert process.stdout is not None
    try:
        yield Service(process, path, process.stdout.readline().strip())
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=30)


def with_capabilities(uid: int, *names: str) -> list[str]:
    """What to put before a command that is to have these capabilities and be this user."""
    added = ",".join(f"+{name}" for name in names)
    caps = [f"--inh-caps={added}", f"--ambient-caps={added}"] if names else []
    bounding = f"--bounding-set=-all{',' + added if added else ''}"
    return ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", *caps, bounding, "--"]


class Person:
    """A process of a user, which does what it is told: a line is an order, and answered by a line."""

    def __init__(self, python: Path, user: str, program: str, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [*as_user(user), str(python), "-c", program, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd="/",
            start_new_session=True,
        )

    def tell(self, order: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(order + "\n")
        self.process.stdin.flush()

    def ask(self, order: str) -> str:
        self.tell(order)
        return self.answer()

    def answer(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.endswith("\n"), "it has ended"
        return line.strip()

    def end(self) -> None:
        """With all that it has forked."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()


@contextlib.contextmanager
def person(python: Path, user: str, program: str, *arguments: str) -> Iterator[Person]:
    made = Person(python, user, program, *arguments)
    try:
        yield made
    finally:
        made.end()


#: Records itself, and runs and reads as it is told.
RECORDS = """
import os, sys
from pytest_execprobe.source.connect import HelperSettings, start_helper
from pytest_execprobe.errors import ProbeUnavailable, SourceLost
from pytest_execprobe.source.events import Exec

source = None
for line in sys.stdin:
    order, _, word = line.strip().partition(" ")
    try:
        if order == "record":
            source = start_helper(HelperSettings(address=sys.argv[1]))
            print("recording", source.unadopted + source.orphans.count, flush=True)
        elif order == "run":
            for name in word.split():
                os.waitpid(os.posix_spawn("/bin/true", [name], {}), 0)
            print("ran", flush=True)
        elif order == "link":  # executes a file of this name
            os.waitpid(os.posix_spawn(word, [word], {}), 0)
            print("ran", flush=True)
        elif order == "seen":
            batch = source.sync(30)
            execs = sorted((event for event in batch.events if isinstance(event, Exec)), key=lambda event: event.at)
            lost = sum(event.lost for event in execs) + batch.unplaced + batch.in_flight
            print(*[event.command.argv[0] for event in execs if event.command and event.command.argv], lost, flush=True)
    except (ProbeUnavailable, SourceLost) as error:
        print(f"{type(error).__name__}: {error}", flush=True)
"""

#: Records itself with the helper of a run.
RUNS = (
    RECORDS.replace("HelperSettings(address=sys.argv[1])", "HelperSettings(**json.loads(sys.argv[1]))")
    .replace("import os, sys", "import json, os, sys")
    .replace(
        """        elif order == "run":""",
        """        elif order == "helper":
            print(source.description["pid"], "@" + source.description["address"], flush=True)
        elif order == "python":
            words = json.loads(word)
            os.waitpid(os.posix_spawn(words[0], [words[0], "-I", "-S", "-c", *words[1:]], {}), 0)
            print("ran", flush=True)
        elif order == "failed":
            events = [event for event in source.sync(30).events if isinstance(event, Exec) and event.error]
            events.sort(key=lambda event: event.at)  # they come by CPU
            events.sort(key=lambda event: event.at)  # each CPU's are for themselves
            print(json.dumps([[event.command.path, event.command.argv] for event in events]), flush=True)
        elif order == "run":""",
    )
)

#: What all who misuse it have in common.
_MISUSE = """
import itertools, os, socket, sys, threading, time
from pytest_execprobe.source.client import HelperSource, _take_name_for_a_moment
from pytest_execprobe.source.connect import HelperSettings, start_helper
from pytest_execprobe.source.events import Exec
from pytest_execprobe.helper import wire

path = sys.argv[1].replace("@", "\\0", 1)

def call():
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(30)
    sock.connect(path)
    return sock

def frames(sock, reader, number):
    found = []
    while len(found) < number:
        data = sock.recv(1 << 18)
        if not data:
            raise ConnectionResetError
        found += reader.feed(data)
    return found

def reader():
    return wire.Reader(wire.REPLIES, wire.MAX_REPLY + (64 << 10))

def ready(*words):
    print(*words, flush=True)

def forever(do):
    def run():
        while True:
            try:
                do()
            except OSError:
                pass
    threading.Thread(target=run, daemon=True).start()
"""

#: Each says that it is at it, with what it has found out, and goes on until it is ended.
MISUSES = {
    "talks garbage": """
junk = [os.urandom(4000), b"GET / HTTP/1.1\\r\\n\\r\\n", wire.raw_frame(wire.SYNC, 1, b"[" * 4000),
        wire.HEADER.pack(wire.MAGIC, wire.VERSION, wire.SYNC, 1, 1 << 31)]
turns = itertools.cycle(junk)
def talk():
    with call() as sock:
        sock.sendall(next(turns))
        while sock.recv(4096):
            pass
for _ in range(4):
    forever(talk)
ready("at it")
""",
    "asks without end": """
def ask():
    source = start_helper(HelperSettings(address=sys.argv[1]))
    sock, flood = source._connection.stream.sock, wire.frame(wire.SYNC, 1, {"timeout": 0}) * 200
    forever(lambda: sock.recv(1 << 18))
    forever(lambda: sock.sendall(flood))
    return source
sources = []
for _ in range(5):
    sources.append(ask())
ready("at it")
""",
    "never reads": """
kept = []
def hoard():
    source = start_helper(HelperSettings(address=path))
    kept.append(source)
    for at in range(300):
        os.waitpid(os.posix_spawn("/bin/true", ["hoarded", "x" * 15000], {}), 0)
    source._connection.stream.sock.sendall(wire.frame(wire.SYNC, 9, {"timeout": 0}) * 200)
hoard()
hoard()
ready("at it")
def more():
    os.waitpid(os.posix_spawn("/bin/true", ["hoarded", "x" * 15000], {}), 0)
forever(more)
""",
    "calls a thousand times": """
held, refused = [], 0
for _ in range(1000):
    sock = call()
    (frame,) = frames(sock, reader(), 1)
    if frame.type == wire.WELCOME:
        held.append(sock)
    else:
        refused += 1
ready("at it", len(held), refused)
forever(lambda: call().close())
""",
    "claims and takes no name": """
held = []
for _ in range(300):  # more than there is room for in the kernel's map
    sock, heard = call(), reader()
    frames(sock, heard, 1)
    sock.sendall(wire.frame(wire.CLAIM, 1, {"child": False}))
    held.append(sock)
ready("at it")
""",
    "registers without end": """
pids = []
for _ in range(60):
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        source = start_helper(HelperSettings(address=path))
        os.write(tell, b"!")
        while True:
            time.sleep(60)
    os.close(tell)
    assert os.read(told, 1), "the child has ended"
    os.close(told)
def again():
    start_helper(HelperSettings(address=path)).close()
forever(again)
ready("at it")
""",
    "fails without end": """
def fail():
    os.execv("/nonexistent", ["x" * 500])
source = start_helper(HelperSettings(address=path))
forever(fail)
forever(fail)
ready("at it")
""",
    "runs a storm": """
def storm():
    os.waitpid(os.posix_spawn("/bin/true", ["stormy"], {}), 0)
source = start_helper(HelperSettings(address=path))
forever(storm)
ready("at it")
""",
}


def misuse(name: str) -> str:
    return _MISUSE + MISUSES[name] + "\nsys.stdin.read()\n"


#: Registers, and does the last step only when it is told: it tells the name that it was given, for others to take on.
LENDS_ITS_NAME = (
    _MISUSE
    + """
sock, heard = call(), reader()
frames(sock, heard, 1)
sock.sendall(wire.frame(wire.CLAIM, 1, {"child": False}))
(claimed,) = frames(sock, heard, 1)
name = claimed.json()["name"]
ready(name)
for line in sys.stdin:
    order = line.strip()
    if order == "child takes it":
        if os.fork() == 0:
            _take_name_for_a_moment(name)
            os._exit(0)
        os.wait()
        ready("taken")
    elif order == "arm":
        sock.sendall(wire.frame(wire.ARM, 2, {"fresh": True}))
        (answer,) = frames(sock, heard, 1)
        ready(answer.type, answer.json().get("reason", ""))
    elif order == "sync":
        sock.sendall(wire.frame(wire.SYNC, 3, {"timeout": 0}))
        (answer,) = frames(sock, heard, 1)
        ready(answer.type, answer.json().get("reason", ""))
"""
)

"""What stops programs is loaded by a process of its own: none waits for it but who enforces, and nothing is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from faulty import bpf_alone, change_helper
from programs import Programs
from recording import Recording, recording, watched_to_its_end

from pytest_execprobe.source.connect import HelperSettings
from pytest_execprobe.source.stopping import StopError

pytestmark = [
    pytest.mark.usefixtures("kernel", "stops"),
    pytest.mark.exec_budget(2_000),
    pytest.mark.bpf,
]

_WORK = '            self._load("STOP")\n'


def children(pid: int) -> list[int]:
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            fields = Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[1]) == pid:
            found.append(int(entry))
    return found


def first_child(pid: int) -> int:
    """Once there is one."""
    until = time.monotonic() + 30
    while not (found := children(pid)):
        assert time.monotonic() < until
        time.sleep(0.001)
    return found[0]


@contextmanager
def waiting(tmp_path: Path, patch: pytest.MonkeyPatch) -> Iterator[tuple[Recording, int]]:
    """A recording whose helper has not loaded it yet, and a descriptor: it goes on when that is closed."""
    fifo = tmp_path / "goes-on"
    os.mkfifo(fifo)
    change_helper(tmp_path, patch, {"bpf/attach.py": {_WORK: f"            open({str(fifo)!r}).read()\n{_WORK}"}})
    bpf_alone(patch)
    with recording(HelperSettings(backend="bpf", pages=8)) as made:
        yield made, os.open(fifo, os.O_WRONLY)


def dies_of(program: str) -> int:
    return -subprocess.run([program], check=False).returncode


def test_only_who_enforces_waits_for_it_and_nothing_is_lost_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, programs: Programs
) -> None:
    name = os.path.basename(programs.minimal)
    with waiting(tmp_path, monkeypatch) as (made, goes_on):
        assert dies_of(programs.minimal) == 0
        assert made.execprobe.programs == [name]
        stopping = threading.Thread(target=made.recorder.stop, args=(frozenset({name}), 0))
        stopping.start()
        for _ in range(500):  # more than there is room for where it is not read
            assert dies_of(programs.minimal) == 0
        assert stopping.is_alive()
        os.close(goes_on)
        stopping.join(60)
        assert dies_of(programs.minimal) == signal.SIGKILL
        assert made.execprobe.counts == {name: 502}
        assert [record.stopped for record in made.execprobe.records[-2:]] == [False, True]


def test_it_holds_nothing_that_others_wait_for_the_end_of_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with waiting(tmp_path, monkeypatch) as (made, goes_on):
        child = first_child(made.helper)
        held = [os.readlink(entry) for entry in Path(f"/proc/{child}/fd").iterdir()]
        assert [one for one in held if one.startswith("socket:") or "perf" in one or "raw_tracepoint" in one] == []
        with watched_to_its_end(child):
            os.close(goes_on)
        assert children(made.helper) == []


def test_it_is_kept_though_the_run_is_over_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or runs that are short would compile it each time, and never to the end."""
    fifo, kept = tmp_path / "goes-on", tmp_path / "kept"
    os.mkfifo(fifo)
    os.mkdir(kept)
    changes = {
        "bpf/attach.py": {
            _WORK: f"            open({str(fifo)!r}).read()\n{_WORK}",
            "Kept(default_folder() if wanted.keeps else None)": "Kept(None)",
            "self._kept.put(name, made)": f"open({str(kept)!r} + '/' + made.programs[0].name, 'wb').write(made.dump())",
        }
    }
    change_helper(tmp_path, monkeypatch, changes)
    bpf_alone(monkeypatch)
    with recording(HelperSettings(backend="bpf")) as made:
        child, goes_on = first_child(made.helper), os.open(fifo, os.O_WRONLY)
        made.kill_helper()
    with watched_to_its_end(child):
        os.close(goes_on)
    assert "on_exec_stop" in os.listdir(kept)


@pytest.mark.parametrize(
    ("instead", "said"),
    [
        ("raise ProbeError('broken', 'it is broken', 'mend it')", "it is broken. Fix: mend it"),
        ("os.kill(os.getpid(), 9)", "the process ended that was to load what stops programs"),
        ("{}['a key']", "KeyError: 'a key'"),
    ],
)
def test_where_it_can_t_be_had_all_but_enforcement_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, programs: Programs, instead: str, said: str
) -> None:
    change_helper(tmp_path, monkeypatch, {"bpf/attach.py": {_WORK: f"            {instead}\n"}})
    bpf_alone(monkeypatch)
    name = os.path.basename(programs.minimal)
    with recording(HelperSettings(backend="bpf")) as made:
        for _ in range(2):
            with pytest.raises(StopError) as raised:
                made.recorder.stop(frozenset({name}), 0)
            assert said in str(raised.value)
        assert dies_of(programs.minimal) == 0
        assert made.execprobe.programs == [name]

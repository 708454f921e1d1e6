"""Who takes in what a root's tree leaves behind: the subreapers above it, which the kernel side alone can see."""

from __future__ import annotations

import os
import subprocess

import pytest
from service import PYTHON

from pytest_execprobe.source.connect import bpf_folder
from pytest_execprobe.source.launch import HELPER

pytestmark = [
    pytest.mark.usefixtures("kernel"),
    pytest.mark.exec_budget(20),
    pytest.mark.skipif(os.geteuid() != 0, reason="execprobe: this loads a probe by itself, as root can"),
]

#: Prints how many the kernel side has found above a process that has this many of its own above it, or None. Arguments:
#: the helper's folder, the kernel side's, and the number.
ABOVE = """
import ctypes, importlib, importlib.util, os, sys
helper, bpf, number = sys.argv[1:]
libc = ctypes.CDLL(None)
for _ in range(int(number)):
    assert libc.prctl(36, 1, 0, 0, 0) == 0  # PR_SET_CHILD_SUBREAPER, which no child inherits
    child = os.fork()
    if child:
        os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
spec = importlib.util.spec_from_file_location("h", helper + "/__init__.py", submodule_search_locations=[helper])
sys.modules["h"] = importlib.util.module_from_spec(spec)
probe = importlib.import_module("h.bpf.probe")
made = probe.BpfProbe(bpf, probe.BpfSettings("off", 8))
assert made.claim(b"becomes-a-root", 1, 0)
libc.prctl(15, b"becomes-a-root", 0, 0, 0)  # PR_SET_NAME
found = made.claimed(1).reapers
print(None if found is None else len(found), flush=True)
os._exit(0)
"""


def found_above(number: int) -> str:
    command = [PYTHON, "-I", "-B", "-c", ABOVE, str(HELPER), str(bpf_folder()), str(number)]
    return subprocess.check_output(command, text=True, timeout=120).strip()


def test_up_to_eight_are_found_and_more_are_too_many() -> None:
    others = int(found_above(0))  # above the tests
    assert found_above(2) == str(2 + others)
    assert found_above(8 - others) == "8"
    assert found_above(9 - others) == "None"

"""The options of a run's helper, which is started with privilege, and what a start has no need of."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pytest_execprobe.helper.main import Options, _parse
from pytest_execprobe.source.launch import HELPER

NEEDED = ["--connect", "name", "--bpf", "/bpf"]


def test_what_is_not_given_has_a_default() -> None:
    assert _parse(NEEDED) == Options(connect="name", bpf="/bpf")
    assert _parse([*NEEDED, "--pages", "8", "--attempts", "off"]) == Options(
        "name", bpf="/bpf", pages=8, attempts="off"
    )
    assert _parse(["--connect", "name", "--backend", "ptrace"]) == Options("name", backend="ptrace")


@pytest.mark.parametrize(
    ("argv", "why"),
    [
        ([], "--connect and --bpf are needed"),
        (["--connect", "name"], "--connect and --bpf are needed"),
        (["--bpf", "/bpf", "--connect"], "--connect and --bpf are needed"),
        ([*NEEDED, "--page", "8"], "there is no option --page"),
        ([*NEEDED, "__class__", "8"], "there is no option __class__"),
        ([*NEEDED, "--pages=8"], "there is no option --pages=8"),
        ([*NEEDED, "--pages", "0"], "--pages: '0' is no whole number from 1 to 1048576"),
        ([*NEEDED, "--pages"], "--pages: '' is no whole number"),
        ([*NEEDED, "--attempts", "some"], "--attempts: 'some' is none of auto, always"),
        ([*NEEDED, "--backend", "perf"], "--backend: 'perf' is none of bpf, ptrace"),
    ],
)
def test_what_is_wrong_is_said(argv: list[str], why: str) -> None:
    with pytest.raises(SystemExit) as raised:
        _parse(argv)
    assert str(raised.value).startswith(f"execprobe-helper: {why}")


@pytest.mark.exec_budget(1)
def test_a_start_loads_nothing_that_it_can_do_without() -> None:
    command = [sys.executable, "-X", "importtime", "-I", "-B", str(HELPER), "--connect"]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stderr
    loaded = {line.rpartition("|")[2].strip() for line in said.splitlines() if line.startswith("import time:")}
    assert "execprobe_helper.server" in loaded
    assert not {"argparse", "platform", "traceback", "shutil", "subprocess"} & loaded

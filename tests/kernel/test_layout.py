"""bpf/abi.h is laid out as Python reads and writes it, by the compiler that makes the probe."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from abi import assertions
from recording import recording

from pytest_execprobe.errors import ProbeUnavailable
from pytest_execprobe.source import connect
from pytest_execprobe.source.connect import HelperSettings

pytestmark = [pytest.mark.usefixtures("kernel"), pytest.mark.exec_budget(20), pytest.mark.bpf]

BPF = HelperSettings(backend="bpf")


def test_the_layout_is_that_of_the_formats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bpf = tmp_path / "bpf"
    shutil.copytree(connect.bpf_folder(), bpf)
    monkeypatch.setattr(connect, "bpf_folder", lambda: bpf)
    header = (bpf / "abi.h").read_text()
    assert header.count("#endif") == 1
    (bpf / "abi.h").write_text(header.replace("#endif", assertions() + "#endif"))
    with recording(BPF) as made:
        assert made.execprobe.complete
    (bpf / "abi.h").write_text(header.replace("#endif", assertions().replace("forks) == 8", "forks) == 9") + "#endif"))
    with pytest.raises(ProbeUnavailable, match="could not compile the probe"), recording(BPF):
        pass

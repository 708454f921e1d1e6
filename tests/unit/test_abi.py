"""bpf/abi.h is laid out as Python reads and writes it, and the kernel side keeps to its own order."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from abi import assertions

from pytest_execprobe.source import connect

BPF = connect.bpf_folder()
COMPILER = shutil.which("clang") or shutil.which("gcc")
TYPES = "typedef unsigned long long u64; typedef unsigned int u32; typedef int s32;\n"


def compiles(text: str, folder: Path) -> bool:
    assert COMPILER is not None
    source = folder / "layout.c"
    source.write_text(f'{TYPES}#include "abi.h"\n{text}')
    command = [COMPILER, "-std=gnu11", "-Werror", "-fsyntax-only", f"-I{BPF}", str(source)]
    return subprocess.run(command, capture_output=True).returncode == 0


@pytest.mark.skipif(COMPILER is None, reason="needs clang or gcc; tests/kernel/test_layout.py asks BCC's clang")
@pytest.mark.exec_budget(40)
def test_the_layout_is_that_of_the_formats(tmp_path: Path) -> None:
    text = assertions()
    assert compiles(text, tmp_path)
    for line in text.splitlines():
        if re.search(r"forks\) == |kind\) == |FLAG_BORROWED", line):
            assert not compiles(text.replace(line, re.sub(r"== (\d+)", r"== 1\1", line)), tmp_path), line


FUNCTION = re.compile(r"^(?:static|int) [^\n;]*\([^\n]*\)\n\{\n.*?^\}", re.M | re.S)


@pytest.mark.parametrize("name", ["execprobe.c", "kread.h"])
def test_no_function_of_the_kernel_side_is_longer_than_40_lines(name: str) -> None:
    functions = FUNCTION.findall((BPF / name).read_text())
    assert len(functions) > 20
    assert [one.partition("\n")[0] for one in functions if one.count("\n") >= 40] == []


def test_only_kread_knows_where_members_of_the_kernels_structs_are() -> None:
    sources = {name: (BPF / name).read_text() for name in ("execprobe.c", "abi.h", "kread.h")}
    assert [name for name, text in sources.items() if re.search(r"\b(OFF|BIT|SIZE)_[A-Z]+_", text)] == ["kread.h"]

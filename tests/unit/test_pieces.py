"""What the plugin imports while its helper starts."""

from __future__ import annotations

import subprocess
import sys

import pytest

PIECES = """
import sys
from pytest_execprobe import plugin
import pytest_execprobe.source.connect

def own():
    return {name for name in sys.modules if name.startswith("pytest_execprobe.")}

before = own()
for _ in plugin._import_the_rest():
    print(len(own() - before))
    before = own()
import pytest_execprobe.session.early, pytest_execprobe.session.phases, pytest_execprobe.session.run
print("left", *own() - before)
"""


@pytest.mark.exec_budget(1)
def test_the_helper_is_let_in_after_each_few_modules() -> None:
    """It is what a run waits for, and can do nothing while it waits for its starter."""
    done = subprocess.run([sys.executable, "-c", PIECES], check=True, stdout=subprocess.PIPE, text=True)
    *pieces, left = done.stdout.splitlines()
    first, *others = map(int, pieces)  # the first is imported while the helper's Python starts
    assert (0 < first < 24, all(0 < number < 16 for number in others)) == (True, True), pieces
    assert left == "left"

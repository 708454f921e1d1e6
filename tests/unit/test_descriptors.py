"""How tests find descriptors that were left open."""

from __future__ import annotations

import gc
import os
from pathlib import Path

from descriptors import opened


class Knot:
    """Python closes its file when it collects it, which can be at any time."""

    def __init__(self, path: Path) -> None:
        self.knot = self
        self.file = os.open(path, os.O_RDONLY)

    def __del__(self) -> None:
        os.close(self.file)


def test_what_is_left_open_is_found_and_what_is_closed_is_not(tmp_path: Path) -> None:
    Knot(tmp_path)
    before = opened()
    gc.collect()
    assert opened() < before
    file = os.open(tmp_path / "..", os.O_RDONLY)  # with the number that has become free
    assert not opened() <= before
    os.close(file)

"""Where pytest is configured, for ``execprobe init``: it loads this as a plugin beside the user's own (``-p``)."""

from __future__ import annotations

from pathlib import Path

import pytest

from .._util import originals
from ..files import write_atomically
from ..rules.configured import FILE, section_of
from .options import in_file, option_named

#: The variable that has the file to write.
VARIABLE = "EXECPROBE_PLACE"
#: The folder whose reports are not named at the end of the run: they are init's, which removes them.
UNNAMED = pytest.StashKey[Path]()
_SETTINGS = ("allow", "ignore", "budget")


def pytest_configure(config: pytest.Config) -> None:
    target = originals.environ.pop(VARIABLE, None)  # before tests run, and before workers are made
    if target is None or hasattr(config, "workerinput"):
        return
    config.stash[UNNAMED] = Path(target).parent
    file = config.inipath
    text = "" if file is None else originals.read_bytes(file).decode(errors="replace")
    place = {
        "file": None if file is None else str(file),
        "root": str(config.rootpath),
        "section": section_of(FILE if file is None else file.name, text),
        "settings": {name: in_file(config, option_named(name)) for name in _SETTINGS},
    }
    write_atomically(Path(target), originals.json_dumps(place))

"""The plugin itself, and what it can use."""

from __future__ import annotations

import platform
import shlex
import sys
from collections.abc import Iterator
from importlib import metadata

from ... import __version__
from ..._util.text import printable
from ...errors import ProbeUnavailable
from ...source.launch import bpf_folder
from .diagnosis import Diagnosis, bad, note, ok

#: Optional distributions, and what is not there without them.
EXTRAS = {"rich": "colour and displays that move", "jinja2": "HTML reports", "tomlkit": "updates of a baseline"}


def installation() -> Iterator[Diagnosis]:
    version = f"pytest-execprobe {__version__}, pytest {version_of('pytest')}, Python {platform.python_version()}"
    try:
        yield ok("plugin", f"{version}; the probe's source is in {bpf_folder()}")
    except ProbeUnavailable as error:
        reinstall = f"{shlex.quote(sys.executable)} -m pip install --force-reinstall pytest-execprobe"
        yield bad("plugin", f"{version}; {str(error).removeprefix('execprobe: ')}", reinstall)
    missing = [name for name in EXTRAS if version_of(name) is None]
    if missing:
        yield note(
            "extras",
            "; ".join(f"without {name}: no {EXTRAS[name]}" for name in missing),
            f"{printable(shlex.quote(sys.executable))} -m pip install {' '.join(missing)}",
        )
    else:
        yield ok("extras", ", ".join(f"{name} {version_of(name)}" for name in EXTRAS))


def version_of(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None

"""Assertions about the programs that a test spawns, to the last grandchild, from a BPF probe on exec."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .errors import IncompleteLogError
    from .log.log import ExecLog
    from .log.pattern import ANY
    from .log.patterns import subtree
    from .log.probe import ExecProbe
    from .timeline.record import ExecRecord
    from .timeline.site import CallSite

__version__ = "0.1.0"

__all__ = ["ANY", "CallSite", "ExecLog", "ExecProbe", "ExecRecord", "IncompleteLogError", "subtree"]

_HOMES = {
    "ANY": "log.pattern",
    "CallSite": "timeline.site",
    "ExecLog": "log.log",
    "ExecProbe": "log.probe",
    "ExecRecord": "timeline.record",
    "IncompleteLogError": "errors",
    "subtree": "log.patterns",
}


def __getattr__(name: str) -> object:
    # pytest imports this package in every run where it is installed: what a run does not use must cost it nothing.
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

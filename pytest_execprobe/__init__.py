"""Assertions about the programs that a test spawns, to the last grandchild, from a BPF probe on exec."""

from __future__ import annotations

from .errors import IncompleteLogError
from .log import ExecLog, ExecProbe
from .patterns import ANY, subtree
from .record import ExecRecord

__version__ = "0.1.0"

__all__ = ["ANY", "ExecLog", "ExecProbe", "ExecRecord", "IncompleteLogError", "subtree"]

# Shown in tracebacks by the name under which users import it.
IncompleteLogError.__module__ = __name__

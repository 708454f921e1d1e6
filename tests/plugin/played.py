"""What an inner suite imports to play its source of events; the fixture ``played`` puts the functions in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

runs: Callable[..., Any]
breaks: Callable[[str], None]
meanwhile: Callable[[Callable[[], Any]], None]
denied: Callable[[], list[str]]
cannot: Callable[[str], None]
ends: Callable[[Any], None]
leaves: Callable[..., Any]
exits: Callable[..., None]

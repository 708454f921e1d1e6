"""The conftest.py files that pytest has loaded."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

import pytest


def conftests(config: pytest.Config) -> Iterator[tuple[str, ModuleType]]:
    """Their paths, and their modules. Other plugins are asked for nothing: an object that stands for another one may
    answer with any exception."""
    for plugin in config.pluginmanager.get_plugins():
        file = vars(plugin).get("__file__") or "" if issubclass(type(plugin), ModuleType) else ""
        if file.endswith("conftest.py"):
            yield file, plugin

"""Directives whose content comes from the code, so that no page says a second time what the code says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import pytest_execprobe
from pytest_execprobe import plugin

_SCHEMA = Path(pytest_execprobe.__file__).parent / "report" / "schema.json"


class _Generated(SphinxDirective, ABC):
    """Parses Markdown that ``lines`` gives."""

    @abstractmethod
    def lines(self) -> Iterator[str]: ...

    def run(self) -> list[nodes.Node]:
        lines, node = list(self.lines()), nodes.Element()
        if not lines:
            raise self.error(f"{self.name} finds nothing in the code")
        self.state.nested_parse(StringList(lines, source="generated"), self.content_offset, node)
        return node.children


@dataclass
class _Parser:
    """Takes down what the plugin adds to pytest's parser."""

    options: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    ini: set[str] = field(default_factory=set)

    def getgroup(self, *_: str) -> _Parser:
        return self

    def addoption(self, flag: str, **more: Any) -> None:
        self.options.append((flag, more))

    def addini(self, name: str, *_: str, **__: Any) -> None:
        self.ini.add(name)


class Options(_Generated):
    """The command-line options and ini values of the plugin."""

    def lines(self) -> Iterator[str]:
        parser = _Parser()
        plugin.pytest_addoption(parser)  # type: ignore[arg-type]
        for flag, more in parser.options:
            value = f"={more['metavar']}" if more.get("metavar") else ""
            yield f"````{{option}} {flag}{value}"
            yield _sentence(more["help"])
            if more["action"] == "append":
                yield "Repeatable."
            ini = f"Ini: `{more['dest']}`." if more["dest"] in parser.ini else "On the command line alone."
            yield from (ini, "````", "")


class Markers(_Generated):
    """The markers, as `pytest --markers` prints them."""

    def lines(self) -> Iterator[str]:
        for line in _printed("pytest", "--markers", "-p", "pytest_execprobe.plugin").splitlines():
            if line.startswith("@pytest.mark.exec_"):
                signature, _, meaning = line.removeprefix("@pytest.mark.").partition("): ")
                yield from (f"````{{describe}} {signature})", _sentence(meaning), "````", "")


class Help(SphinxDirective):
    """What `execprobe COMMAND --help` prints."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        text = _printed("pytest_execprobe.cli", self.arguments[0], "--help")
        return [nodes.literal_block(text, text, language="text")]


class Schema(_Generated):
    """The objects of the JSON Schema of reports, each with its fields."""

    def lines(self) -> Iterator[str]:
        schema = json.loads(_SCHEMA.read_text())
        yield from ("### report", "", schema["description"], "", *_fields(schema))
        for name, definition in schema["$defs"].items():
            yield from (f"### {name}", "", definition.get("description", ""), "")
            yield from _fields(definition) if "properties" in definition else (f"Type: {_type(definition)}.", "")


def _fields(definition: dict[str, Any]) -> Iterator[str]:
    required = definition.get("required", ())
    for name, value in definition["properties"].items():
        optional = "" if name in required else ", optional"
        yield from (f"````{{describe}} {name}: {_type(value)}{optional}", value.get("description", ""), "````", "")


def _type(value: dict[str, Any]) -> str:
    """Of a value, in a few words."""
    if "$ref" in value:
        return str(value["$ref"]).rpartition("/")[2]
    if "const" in value:
        return json.dumps(value["const"])
    if "enum" in value:
        return " | ".join(json.dumps(one) for one in value["enum"])
    if "anyOf" in value or "oneOf" in value:
        return " | ".join(_type(one) for one in value.get("anyOf", value.get("oneOf")))
    kinds = value.get("type", "any")
    if kinds == "array" and isinstance(value.get("items"), dict):
        return f"array of {_type(value['items'])}"
    return " | ".join(kinds) if isinstance(kinds, list) else str(kinds)


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _printed(module: str, *arguments: str) -> str:
    environment = {**os.environ, "COLUMNS": "82", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout


def setup(app: Sphinx) -> dict[str, Any]:
    for name, directive in {"options": Options, "markers": Markers, "help": Help, "schema": Schema}.items():
        app.add_directive(f"execprobe-{name}", directive)
    return {"version": pytest.__version__, "parallel_read_safe": True}

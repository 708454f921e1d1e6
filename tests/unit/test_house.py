"""What may import what: the folders follow the data's way, and nothing knows of what comes after it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest_execprobe

PACKAGE = Path(pytest_execprobe.__file__).parent
MODULES = {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in PACKAGE.rglob("*.py")}
#: Each may import from those before it, and from its own.
ORDER = (
    *("_util", "errors", "helper", "files", "origin", "source", "timeline", "log", "baseline", "rules"),
    *("report", "gate", "hookspecs", "session", "cli", "plugin"),
)
#: All that is used of the helper outside of it: what both sides of the wire must have the same, and what is not to be
#: written twice, for it guards against other users.
OF_THE_HELPER = {
    *(
        "wire",
        "peers",
        "handshake",
        "walk",
        "top.target",
    ),  # in the process of the tests, and in that of the command line
    *("bounds", "privilege", "bpf.attach", "bpf.probe"),  # what ``execprobe doctor`` says of this machine's limits
}
PYTESTS = ("plugin", "hookspecs", "session")


def imports(name: str) -> Iterator[str]:
    """The modules that a module imports, wherever in it, with its own package's as MODULES names them."""
    package = name.split(".")[:-1]
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield str(node.module)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] + (node.module.split(".") if node.module else [])
            for alias in node.names:
                path = ".".join([*above, alias.name])
                yield path if path in MODULES else ".".join(above) if ".".join(above) in MODULES else "__init__"


OWN = {name: {other for other in imports(name) if other in MODULES} for name in MODULES}


def top(name: str) -> str:
    return name.split(".")[0]


def test_nothing_imports_what_comes_after_it() -> None:
    found = {(name, other) for name in OWN if top(name) in ORDER for other in OWN[name] if top(other) in ORDER}
    assert {pair for pair in found if ORDER.index(top(pair[0])) < ORDER.index(top(pair[1]))} == set()
    assert {pair for pair in found if {top(pair[0]), top(pair[1])} == {"session", "cli"}} == set()
    assert {top(name) for name in MODULES} == {*ORDER, "__init__"}


def test_no_module_is_part_of_a_circle() -> None:
    assert len([*TopologicalSorter(OWN).static_order()]) == len(MODULES)


def test_the_helper_stands_alone() -> None:
    used = {other for name in OWN if top(name) != "helper" for other in OWN[name] if top(other) == "helper"}
    assert used == {f"helper.{name}" for name in OF_THE_HELPER}
    assert {other for name in OWN if top(name) == "helper" for other in OWN[name] if top(other) != "helper"} == set()


def test_one_folder_knows_pytest() -> None:
    found = {name for name in MODULES for other in imports(name) if top(other) in ("pytest", "_pytest", "pluggy")}
    assert {name for name in found if top(name) not in PYTESTS} == set()

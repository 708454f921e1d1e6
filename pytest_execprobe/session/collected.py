"""What a run has collected, by which rows of a baseline are known to be obsolete: a row whose test was not run may be
that of a test that was left out this time."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from .._util import originals
from .._util.names import Folders, has_no_place, may_have_more, place_of, renamed, without_parameters
from ..baseline.changes import Uses
from ..baseline.model import SECTIONS, Baseline, Section, covers, is_wildcard, is_within, table_name
from ..baseline.sources import has_examples, may_make, may_make_fixture, may_vary
from .makers import adds_tests, makes_tests, parametrizes
from .options import of_python

if TYPE_CHECKING:
    from ..report.model import Collection


class Collected:
    """Registered as a plugin where there is a baseline."""

    def __init__(self, root: Path, folders: Folders) -> None:
        self._root = root
        self._folders = folders
        self._ids: list[str] = []
        self._shared: dict[str, list[str]] = {}
        self._outside: list[str] = []
        self._inside: dict[Path, bool] = {}
        self._left_out: dict[str, None] = {}
        self._kept: list[str] = []
        self._failed_alone = False
        self._files: list[str] = []
        self._narrowed: list[str] = []
        self._failed: list[str] = []
        self._skipped: list[str] = []
        self._partial = False
        # By what a file was collected: its functions and classes, and its examples, are two collectors of one name.
        self._python: set[str] = set()
        self._others: set[str] = set()
        self._with_examples: set[str] = set()  # at the head of the module
        self._children: dict[str, list[str]] = {}  # of folders
        self._skipped_places: dict[str, None] = {}
        self._places: list[str] = []
        self._open: dict[str, None] = {}
        self._made: list[str] = []  # files of which hooks may make tests
        self._functions: list[str] = []
        self._renames_tests = False

    # ---- what was there, and not collected ----

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_ignore_collect(self, collection_path: Path) -> Generator[None, bool | None, bool | None]:
        ignored = yield
        if ignored and collection_path.name != "__pycache__":
            self._skipped_places[self._relative(collection_path)] = None
        return ignored

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collect_directory(self, path: Path) -> Generator[None, pytest.Collector | None, pytest.Collector | None]:
        found = yield
        if found is None:
            self._skipped_places[self._relative(path)] = None
        return found

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collect_file(self, file_path: Path) -> Generator[None, list[Any], list[Any]]:
        found = yield
        if not found and file_path.suffix == ".py":
            self._skipped_places[self._relative(file_path)] = None
        return found

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_make_collect_report(
        self, collector: pytest.Collector
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        report = yield
        if isinstance(collector, pytest.Directory):
            if type(collector).collect in (pytest.Dir.collect, pytest.Package.collect):
                self._children[collector.nodeid] = [node.nodeid for node in report.result or ()]
            else:  # one of a plugin's or a conftest's, which need not ask about each file
                self._skipped_places[collector.nodeid] = None
        elif isinstance(collector, pytest.File):
            # doctest's collector is a Module, too, and has examples alone.
            is_python = isinstance(collector, pytest.Module) and type(collector).__module__ != "_pytest.doctest"
            (self._python if is_python else self._others).add(collector.nodeid)
            self._made += [collector.nodeid] if is_python and makes_tests(collector) else []
            if is_python and report.passed and ">>>" in (getattr(collector, "obj", None).__doc__ or ""):
                self._with_examples.add(collector.nodeid)
        return report

    # ---- what was ----

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if not report.passed:
            file, inside, _ = report.nodeid.partition("::")
            (self._skipped if report.skipped and not inside else self._failed).append(file)
        elif "::" not in report.nodeid:
            self._files.append(report.nodeid)

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        self._partial = True
        self._left_out.update(dict.fromkeys(item.nodeid for item in items))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> Generator[None, object, object]:
        tests: dict[str, dict[tuple[str, Path], None]] = {}
        for item in items:  # before -k, -m or a shard leave some out
            tests.setdefault(self._name_of(item.nodeid), {})[item.nodeid, item.path] = None
        self._ids = list(tests)
        self._outside = [name for name, those in tests.items() if not all(self._is_inside(path) for _, path in those)]
        self._shared = {
            name: [nodeid if self._is_inside(path) else f"{nodeid} ({path})" for nodeid, path in those]
            for name, those in tests.items()
            if len(those) > 1
        }
        self._open = {
            without_parameters(self._folders.portable(item.nodeid)): None for item in items if parametrizes(item)
        }
        for arg in config.args:
            file, colons, rest = str(arg).partition("::")
            place = self._relative(config.invocation_params.dir / file)
            self._places.append(place + colons + rest)
            if colons:
                self._partial = True
                self._narrowed.append(place)
        self._made += self._python if adds_tests(config) else ()
        given = {word.partition("=")[0].strip() for word in config.getoption("override_ini", None) or ()}
        self._functions = of_python(config, "python_functions")
        self._renames_tests = not given.isdisjoint(("python_functions", "python_classes"))
        if config.getoption("lf", False):  # it leaves tests out while they are collected
            self._partial = True
            self._narrowed += self._files
            # What failed may be no test, such as a session budget: then all are run.
            failed = getattr(config.pluginmanager.get_plugin("lfplugin"), "lastfailed", None)
            names = {str(name) for name in failed or ()}  # in later versions of pytest they are no texts
            self._failed_alone = failed is None or any(item.nodeid in names for item in items)
        before = [(item, item.nodeid) for item in items]
        result = yield
        there = set(map(id, items))  # xdist renames some; a plugin may leave some out without a report
        names = {item.nodeid for item in items}
        left_out = [name for item, name in before if id(item) not in there and name not in names]
        self._left_out.update(dict.fromkeys(left_out))
        self._kept = [item.nodeid for item in items]
        self._ids = list(dict.fromkeys([*self._ids, *map(self._name_of, self._kept)]))
        return result

    def _name_of(self, nodeid: str) -> str:
        return table_name(self._folders.portable(nodeid))

    def _is_inside(self, path: Path) -> bool:
        """Whether a file is in the root directory: the names of others begin where pytest was to look for them."""
        if path not in self._inside:
            places = (path, self._root), (originals.realpath(path), originals.realpath(self._root))
            found = (originals.relpath(file, root).partition("/")[0] != ".." for file, root in places)
            self._inside[path] = any(found)
        return self._inside[path]

    def _relative(self, path: Path) -> str:
        return originals.relpath(path, self._root)

    def export(self, session: pytest.Session) -> dict[str, Any]:
        there = {item.nodeid for item in getattr(session, "items", ())}
        self._left_out.update((name, None) for name in self._kept if name not in there)  # by a later hook
        cut = {*self._narrowed, *self._failed, *self._skipped}
        files = sorted(file for file in set(self._files) if file not in cut)
        return {
            "ids": self._ids,
            "shared": self._shared,
            "outside": self._outside,
            "files": list(map(self._folders.portable, files)),  # others are no text, which xdist does not send
            "collection": self._collection(files),
            "open": [*self._open, *self._made],
            "partial": self._partial or bool(self._left_out),
            "left_out": list(self._left_out),
            "failed_alone": self._failed_alone,
        }

    def _collection(self, files: Sequence[str]) -> dict[str, list[str]]:
        """As the report has it."""
        portable = self._folders.portable
        folders = [place for place in self._files if place in self._children]
        collected = {*self._files, *self._skipped} - {*self._narrowed, *self._failed}
        python = {file for file in files if file in self._python}
        known, unsure = (set[str](), python) if self._renames_tests else (python, set[str]())
        skipped = {place for place in (*self._skipped_places, *self._narrowed, *self._failed, *unsure) if place}
        skipped |= self._with_examples - self._others
        skipped.update(name for folder in folders for name in self._children[folder] if name not in collected)
        found = {
            "places": self._places,
            "files": sorted(known),
            "examples": [file for file in files if file in self._others],
            "skipped": sorted({*self._skipped}),
            "folders": sorted(folders),
            "passed_over": sorted(skipped),
            "functions": self._functions,
        }
        if self._failed_alone:  # it leaves out what is in files and folders while they are collected
            found = {name: found[name] if name == "places" else [] for name in found}
        return {name: list(map(portable, listed)) for name, listed in found.items()}


def collection_in(collected: Mapping[str, Any]) -> Collection | None:
    """What a run has exported of it, None if there is nothing."""
    data = collected.get("collection")
    if data is None:
        return None
    from ..report.model import Collection

    return Collection(**{name: tuple(listed) for name, listed in data.items()})


def obsolete(baseline: Baseline, collected: Mapping[str, Any], usage: Uses, root: Path) -> dict[Section, list[str]]:
    """The stale tables: their file is not there, or was collected and has no such test.

    What was not collected as a whole may have it still.
    """
    from ..report.model import Collection

    ids = collected.get("ids", ())
    known = set(ids)
    calls: dict[str, list[str]] = {}
    for id in ids:
        calls.setdefault(without_parameters(id), []).append(id)
    open_ones = set(collected.get("open", ()))
    collection = collection_in(collected) or Collection()
    tables = [name for section in SECTIONS[:2] for name in baseline.sections.get(section, {})]
    places = {place_of(name) for name in tables}
    # From another root directory all files seem to be gone.
    missing = {place for place in places if not originals.exists(root / place)}
    missing = missing if missing != places else set()

    def is_gone(name: str) -> bool:
        """Whether the file was collected as a whole, and has no such test, whatever the circumstances."""
        function = without_parameters(name)
        place, _, rest = function.partition("::")
        if not collection.has_whole(name) or not open_ones.isdisjoint((place, function)):
            return False
        if function in calls:
            may_be = may_have_more(name, calls[function]) or may_vary(_source(root / place_of(name)), rest)
            return "." in rest or not may_be
        return not (has_examples if "." in rest else may_make)(_source(root / place_of(name)), rest)

    def gone() -> Iterator[tuple[Section, str]]:
        for name in baseline.sections.get("tests", {}):
            in_file = name.partition("::")[0]
            there = name in known or (is_wildcard(name) and ("*" in in_file or any(covers(name, id) for id in ids)))
            file = place_of(name)
            is_file = "." in file.rpartition("/")[2]  # else it may be what a plugin calls its tests
            if not there and not has_no_place(name) and ((is_file and file in missing) or is_gone(name)):
                yield "tests", name
        for name in baseline.sections.get("fixtures", {}):
            place, (_, colons, rest) = place_of(name), name.partition("::")
            kept = not (colons and place) or has_no_place(name) or name in usage.get("fixtures", ())
            if not kept and (place in missing or not _may_define(root / place, rest)):
                yield "fixtures", name

    found: dict[Section, list[str]] = {}
    for section, name in gone():
        found.setdefault(section, []).append(name)
    return found


def of_another_root(baseline: Baseline, root: Path) -> list[str]:
    """The files of tables that are not there, and are in the baseline's own folder: names begin at that one. Where that
    is below the root, they can have been moved there."""
    folder = baseline.path.parent
    if originals.relpath(folder, root).partition("/")[0] != "..":
        return []
    names = (name for section in SECTIONS[:2] for name in baseline.sections.get(section, {}))
    places = dict.fromkeys(name.partition("::")[0] for name in names if not is_wildcard(name) and "::" in name)
    return [name for name in places if not originals.exists(root / name) and originals.exists(folder / name)]


def outside(baseline: Baseline, collected: Mapping[str, Any], root: Path) -> list[str]:
    """Tests that are not in the root directory, where the baseline has others that are: by their names it can't be told
    which are which, so that those of the former seem to be gone as soon as they are not run."""
    names: list[str] = collected.get("outside", [])
    others = {*collected.get("ids", ())} - {*names}
    tables = [name for section in SECTIONS[:2] for name in baseline.sections.get(section, {})]
    is_mixed = others or any("::" in name and originals.exists(root / name.partition("::")[0]) for name in tables)
    return names if is_mixed else []


@dataclass(frozen=True)
class Former:
    """The tables that earlier versions named, and what they are called now."""

    names: Mapping[Section, Mapping[str, str]]
    #: Those of which that is not known: no test, or several, of this run can be theirs.
    left: Sequence[str]


def former(baseline: Baseline, collected: Mapping[str, Any], usage: Uses, folders: Folders, root: Path) -> Former:
    """The tables of a baseline that have names of earlier versions, which replaced folders anywhere in a name."""
    known = {"tests": list(collected.get("ids", ())), "fixtures": list(usage.get("fixtures", ()))}
    names: dict[Section, Mapping[str, str]] = {}
    left: list[str] = []
    for section in SECTIONS[:2]:
        tables = baseline.sections.get(section, {})
        names[section] = renamed(tables, known[section], folders)
        others = (name for name in tables if has_no_place(name) and name not in (*known[section], *names[section]))
        left += (name for name in others if not originals.exists(root / name.partition("::")[0]))
    return Former(names, left)


def idle_packages(
    baseline: Baseline, collected: Mapping[str, Any], usage: Uses, root: Path, python_files: Sequence[str]
) -> tuple[dict[str, str], list[str]]:
    """The limits of packages that match no test: those that no run has tests for, and why; and those of which the tests
    were left out this time, as far as that is known. ``python_files`` are what files of tests are called."""
    tests, fixtures = collected.get("ids", ()), usage.get("fixtures", ())
    wrong: dict[str, str] = {}
    left_out: list[str] = []
    for name in (sums.name for sums in baseline.sums if sums.name):
        if any(is_within(id, table_name(name)) for id in (*tests, *fixtures)):
            continue
        why = _why_none(name, collected, root, python_files)
        if why:
            wrong[name] = why
        else:
            left_out.append(name)
    return wrong, left_out


def _why_none(package: str, collected: Mapping[str, Any], root: Path, python_files: Sequence[str]) -> str:
    """Why no test can be in a package, "" if there may be some that this run has left out."""
    path, colons, rest = package.partition("::")
    place, whole = root / place_of(table_name(package)), collected.get("files", ())
    if not originals.exists(place):
        return "there is no such folder or file"
    if colons:
        if originals.is_folder(place):
            return "" if _may_define(place, rest) else "there is no such fixture"
        plain = "*" not in rest.partition("[")[0]  # in a package's name it stands for nothing else
        may_be = path not in whole or (plain and may_make(_source(place), rest))
        return "" if may_be else "the file has nothing of that name"
    was_searched = any(path == known or known == "." or path.startswith(f"{known}/") for known in whole if known)
    if not was_searched:
        return ""
    if originals.is_file(place):
        return "" if path not in whole and _may_have_tests(place, python_files) else "the file has no test"
    # Of one that a conftest.py or an option leaves out, nothing was collected either.
    return (
        ""
        if any(_may_have_tests(Path(file), python_files) for file in originals.files_below(str(place)))
        else "the folder has no test"
    )


def _source(file: Path) -> str:
    """One that can't be read is no Python either, so that nothing is known of it."""
    try:
        return originals.read_bytes(file).decode(errors="replace")
    except OSError:
        return "("


def _may_have_tests(file: Path, python_files: Sequence[str]) -> bool:
    """Whether it is called as test files are, or has examples that a run with other options takes for tests."""
    if any(fnmatchcase(file.name, pattern.rpartition("/")[2]) for pattern in python_files):
        return True
    try:
        return originals.is_file(file) and b">>>" in originals.read_bytes(file)
    except OSError:
        return True


def _may_define(place: Path, fixture: str) -> bool:
    """Whether a file, or a folder's conftest.py, may define a fixture: pytest does not say which there are.

    What a class has, or pytest makes of setup_module() and its kin, may stand elsewhere.
    """
    name, blank, _ = fixture.partition(" (")
    if not blank or "::" in name:
        return True
    source = _source(place / "conftest.py" if originals.is_folder(place) else place)
    return may_make_fixture(source, name)

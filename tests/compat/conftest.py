from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from inner import Inner
from ready import Ready, made_ready

from pytest_execprobe.errors import ProbeUnavailable
from pytest_execprobe.source.connect import HelperSettings, hold_helper

#: Files about what pytest shows of a run, for which it is all the same who has started its helper: all of their inner
#: runs use one. (In those of the others a helper is started in a process that is not as usual, or ends.)
SHARING = {
    *("added_marks", "anyio", "asyncio", "baselines", "call_sites", "capture", "conftests", "doctest", "failures"),
    *("fixtures", "hooks", "junit", "maxfail", "parameters", "pdb", "randomly", "rerunfailures"),
    *("run_parallel", "subtests", "teamcity", "threads", "unittest"),
    *("warnings_as_errors", "xdist", "xfail"),
}

#: Files in which it matters what there is, or is replaced, when the plugin imports its modules.
IMPORTING = {
    *("conftests", "green_threads", "importlib", "mock", "pyfakefs", "pytester", "socket", "stopped_clocks"),
    *("subprocess", "warnings_as_errors"),
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        has_its_own = any(mark.name == "exec_budget" for mark in item.own_markers)
        if item.path.parent == Path(__file__).parent and not has_its_own:
            item.add_marker(pytest.mark.exec_budget(150))  # the inner runs' and what those run


def pytest_configure(config: pytest.Config) -> None:
    said = "both_probes(long=False): once more with inner runs that are traced, each by its own helper"
    config.addinivalue_line("markers", said)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    mark = metafunc.definition.get_closest_marker("both_probes")
    if mark is not None:
        # The one probe or the other is no matter of pytest's version.
        traced = pytest.param("ptrace", marks=[pytest.mark.beside, *([pytest.mark.long] if mark.kwargs else [])])
        metafunc.parametrize("inner", [None, traced], indirect=True, ids=["auto", "ptrace"])


@pytest.fixture(scope="session")
def held() -> Iterator[str | None]:
    """The address of a helper that is kept for inner runs, for it takes as much time to start as pytest does; None
    where there can be none but by ptrace, which traces its own children alone."""
    try:
        source = hold_helper(HelperSettings(backend="bpf"))
    except ProbeUnavailable:
        yield None
        return
    with contextlib.closing(source):
        yield "@" + source.description["address"]


@pytest.fixture(scope="session")
def ready() -> Iterator[Ready]:
    """With pytest alone."""
    with made_ready() as ready:
        yield ready


@pytest.fixture(scope="session")
def all_ready() -> Iterator[Ready]:
    """With what the plugin imports for a run that probes, too, as this one does."""
    ours = [name for name in sys.modules if name.startswith("pytest_execprobe.") and name != "pytest_execprobe.plugin"]
    with made_ready(*ours) as ready:
        yield ready


@pytest.fixture
def inner(
    kernel: None,  # noqa: ARG001
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    ready: Ready,
) -> Inner:
    name = request.path.stem.removeprefix("test_with_")
    helper: str | None = request.getfixturevalue("held") if name in SHARING else None
    with_ours: Ready = ready if name in IMPORTING else request.getfixturevalue("all_ready")
    return Inner(pytester, monkeypatch, with_ours, ready, getattr(request, "param", None), helper)

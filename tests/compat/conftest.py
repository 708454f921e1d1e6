from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from inner import Inner

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


@pytest.fixture
def inner(
    kernel: None,  # noqa: ARG001
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Inner:
    shares = request.path.stem.removeprefix("test_with_") in SHARING
    helper: str | None = request.getfixturevalue("held") if shares else None
    return Inner(pytester, monkeypatch, getattr(request, "param", None), helper)

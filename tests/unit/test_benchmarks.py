"""What `make bench` makes of its samples: medians, ranges, the tables and the plots."""

from __future__ import annotations

import importlib
import os
import select
import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(FOLDER)


@pytest.fixture
def pairs() -> ModuleType:
    return importlib.import_module("pairs")


@pytest.fixture
def page() -> ModuleType:
    return importlib.import_module("page")


@pytest.fixture
def sides() -> ModuleType:
    return importlib.import_module("sides")


def test_a_figure_is_the_median_with_its_range(pairs: ModuleType) -> None:
    assert pairs.figure([3.0, 1.0, 10.0]) == (3.0, 1.0, 10.0, 3)
    assert pairs.figure([1.0, 2.0]).median == 1.5


def test_ratios_and_differences_are_taken_pair_by_pair(pairs: ModuleType) -> None:
    samples = {"bare": [1.0, 2.0, 4.0], "ours": [2.0, 2.0, 6.0]}  # the ratio of the medians would be 1
    assert pairs.Line("", "s", samples, "ratio").figures() == {"ours": (1.5, 1.0, 2.0, 3)}
    assert pairs.Line("", "s", samples, "beyond").figures() == {"ours": (1.0, 0.0, 2.0, 3)}
    assert pairs.Line("", "s", samples).figures() == {"ours": (2.0, 2.0, 6.0, 3)}
    assert pairs.Line("", "s", samples).bare() == (2.0, 1.0, 4.0, 3)


def test_a_share_is_of_what_comes_beyond_bare(pairs: ModuleType) -> None:
    samples = {"bare": [1.0, 1.0], "ours": [2.0, 3.0], "old": [5.0, 5.0]}
    assert pairs.Line("", "s", samples, "beyond").share("ours", "old") == (0.375, 0.25, 0.5, 2)


@pytest.mark.parametrize(
    ("form", "unit", "samples"),
    [
        ("ratio", "s", {"bare": [1.0], "ours": [2.0], "old": [4.0]}),
        ("plain", "\N{MULTIPLICATION SIGN}", {"ours": [2.0], "old": [4.0]}),
        ("beyond", "s", {"bare": [1.0], "ours": [2.0], "old": [1.0]}),  # nothing that could be a part of it
        ("plain", "s", {"ours": [2.0]}),
    ],
)
def test_no_share_is_made_up(pairs: ModuleType, form: str, unit: str, samples: dict[str, list[float]]) -> None:
    assert pairs.Line("", unit, samples, form).share("ours", "old") is None


def test_each_pair_begins_with_another(pairs: ModuleType) -> None:
    order = []

    def run(name: str) -> dict[str, float]:
        order.append(name)
        return {"line": float(len(order))}

    taken = pairs.interleave(3, {name: lambda name=name: run(name) for name in "abc"}, "abc")
    assert "".join(order) == "abcbcacab"
    assert taken.lines == {"line": {"a": [1.0, 6.0, 8.0], "b": [2.0, 4.0, 9.0], "c": [3.0, 5.0, 7.0]}}


def test_what_fails_is_left_out_with_its_reason(pairs: ModuleType) -> None:
    def fail() -> dict[str, float]:
        if len(calls) > 1:
            raise pairs.Trouble("it is gone")
        calls.append(1)
        return {"line": 1.0}

    calls = [1]
    taken = pairs.interleave(3, {"bare": lambda: {"line": 2.0}, "peer": fail}, ["bare"])
    assert taken.lines == {"line": {"bare": [2.0, 2.0, 2.0]}}
    assert taken.failed == {"peer": "it is gone"}


def test_what_is_needed_may_not_fail(pairs: ModuleType) -> None:
    def fail() -> dict[str, float]:
        raise pairs.Trouble("no probe")

    with pytest.raises(pairs.Trouble, match="no probe"):
        pairs.interleave(1, {"bare": fail}, ["bare"])


def test_what_cannot_be_prepared_is_left_out_unless_it_is_needed(pairs: ModuleType) -> None:
    def make(name: str) -> str:
        if name == "older":
            raise pairs.Trouble("it lost records")
        return name.upper()

    sides = {"ours": "ours", "old": "older"}
    assert pairs.prepare(sides, make, "ours") == ({"ours": "OURS"}, {"old": "it lost records"})
    with pytest.raises(pairs.Trouble):
        pairs.prepare(sides, make, "old")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.0123456, "0.0123"), (1.5, "1.50"), (12.345, "12.3"), (-4.5678, "-4.57"), (123456.7, "123,457")],
)
def test_numbers_have_three_digits_that_count(page: ModuleType, value: float, text: str) -> None:
    assert page.number(value) == text


def test_the_range_of_a_single_sample_is_not_shown(page: ModuleType, pairs: ModuleType) -> None:
    assert page.ranged(pairs.figure([2.0]), "s") == "2.00 s"
    assert page.ranged(pairs.figure([1.0, 2.0, 30.0]), "s") == "2.00 s (1.00 to 30.0)"
    assert page.ranged(pairs.figure([0.066, 1.045, 38.12]), pairs.TIMES) == f"1.04 {pairs.TIMES} (0.07 to 38.12)"


def lines(pairs: ModuleType) -> list[Any]:
    return [
        pairs.Line("storm", "s", {"bare": [1.0], "execprobe": [1.1], "old": [2.0]}, "ratio"),
        pairs.Line("start", "s", {"bare": [1.0], "execprobe": [1.2], "old": [3.0]}, "beyond"),
        pairs.Line("memory", "bytes", {"execprobe": [800.0]}),
    ]


def test_the_table(page: ModuleType, pairs: ModuleType) -> None:
    assert "\n".join(page.table(lines(pairs), "execprobe", "old")).replace(pairs.TIMES, "x") == (
        "|  | bare | execprobe | old | execprobe ÷ old |\n"
        "| --- | --- | --- | --- | --- |\n"
        "| storm | 1.00 s | 1.10 x | 2.00 x |  |\n"
        "| start | 1.00 s | +0.200 s | +2.00 s | 0.10 x |\n"
        "| memory |  | 800 bytes |  |  |"
    )


def test_the_table_without_another_commit(page: ModuleType, pairs: ModuleType) -> None:
    assert page.table(lines(pairs), "execprobe", None)[-1] == "| memory |  | 800 bytes |"


def test_the_table_of_tracers(page: ModuleType, pairs: ModuleType) -> None:
    first = pairs.Line("one CPU", "s", {"bare": [1.0], "execprobe": [1.1], "strace": [38.0]}, "ratio")
    second = pairs.Line("two CPUs", "s", {"bare": [2.0], "execprobe": [2.2]}, "ratio")
    assert "\n".join(page.peers_table([first, second])).replace(pairs.TIMES, "x") == (
        "|  | one CPU | two CPUs |\n"
        "| --- | --- | --- |\n"
        "| bare | 1.00 s | 2.00 s |\n"
        "| execprobe | 1.10 x | 1.10 x |\n"
        "| strace | 38.00 x |  |"
    )


def test_a_plot_has_a_bar_of_each_median_and_a_line_of_its_range(page: ModuleType, pairs: ModuleType) -> None:
    groups = [("a & b", {"<ours>": pairs.figure([1.0]), "strace": pairs.figure([0.5, 1.0, 38.0])})]
    groups.append(("c", {"strace": pairs.figure([3.0, 4.0])}))
    root = ElementTree.fromstring(page.bars("title", groups, 2.0))
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert {"title", "a & b", "c", "<ours>", "strace", "1.00", "3.50 →"} <= set(texts)
    drawn = [rect for rect in root.iter(f"{SVG}rect") if rect.get("height") == str(page._BAR - 2)]
    whole = page._WIDTH - page._LEFT - page._RIGHT
    # The last is cut at the limit.
    assert [float(rect.get("width", "")) for rect in drawn] == [whole / 2, whole / 2, whole]
    ranges = [path.get("d", "") for path in root.iter(f"{SVG}path") if path.get("stroke") == "#000"]
    assert [path.partition(" ")[0] for path in ranges] == [f"M{page._LEFT + whole / 4:g}"]
    assert ranges[0].endswith(f"H{page._LEFT + whole}")


def written(page: ModuleType, pairs: ModuleType, against: str | None, not_run: dict[str, str]) -> Any:
    return page.Page("execprobe", against, ["a machine"], {"storm": ("What it is.", lines(pairs))}, not_run)


def test_the_page_says_where_it_was_measured_and_what_was_not(page: ModuleType, pairs: ModuleType) -> None:
    text = written(
        page, pairs, None, {"run, bpftrace": "/tmp/a/run: status 2\nusage:\nrun: no such option\n  rootdir: /tmp/a\n"}
    ).markdown("performance")
    assert "- a machine\n" in text
    assert "- run, bpftrace: run: no such option\n" in text
    assert "- `storm`: What it is.\n" in text
    assert "## Where the rest goes\n" in text
    assert "](performance.svg)" in text
    assert "against" not in text


def test_another_commit_has_a_plot_of_its_own(page: ModuleType, pairs: ModuleType) -> None:
    written_page = written(page, pairs, "old", {})
    assert list(written_page.plots()) == ["", "-against"]
    assert "](performance-against.svg)" in written_page.markdown("performance")
    assert "Not run" not in written_page.markdown("performance")


# ---- commands ----


@pytest.mark.exec_budget(1)
def test_a_command_has_a_limit(sides: ModuleType, pairs: ModuleType) -> None:
    with pytest.raises(pairs.Trouble, match="not at its end after"):
        sides.execute(["sleep", 1000], limit=0.01)


@pytest.mark.exec_budget(1)
def test_a_command_that_fails_says_why(sides: ModuleType, pairs: ModuleType) -> None:
    with pytest.raises(pairs.Trouble, match=r"status 3\nthis is why"):
        sides.execute(["sh", "-c", "echo this is why >&2; exit 3"])


@pytest.mark.exec_budget(2)
def test_what_a_command_has_started_ends_with_it(sides: ModuleType) -> None:
    with sides.started(["sh", "-c", "sleep 1000 & echo $!; wait"], stdout=subprocess.PIPE) as process:
        child = os.pidfd_open(int(process.stdout.readline()))
    try:
        assert select.select([child], [], [], 60)[0], "it goes on"
    finally:
        os.close(child)


def test_nothing_of_pytest_or_python_is_handed_on(sides: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_ADDOPTS", "-x")
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    environment = sides.environment({"BENCH_KIND": "bare"})
    assert {"PYTEST_ADDOPTS", "PYTHONPATH"}.isdisjoint(environment)
    assert environment["BENCH_KIND"] == "bare"

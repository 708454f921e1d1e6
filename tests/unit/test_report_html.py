"""The page, as far as it can be judged without a browser: it is whole, needs nothing else, and lets nothing out."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
from dataclasses import replace
from html.parser import HTMLParser
from importlib.resources import files
from typing import Any

import pytest
from documents import HOSTILE, START, good, hostile, many, ran, rich, run

from pytest_execprobe import ExecRecord
from pytest_execprobe.origin.origin import Origin
from pytest_execprobe.report import html, rows
from pytest_execprobe.report.model import Document, Unit, merged

VOID = {"meta", "link", "input", "br", "img"}


class Page(HTMLParser):
    """Elements of a page, each with its attributes and the text directly in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None], list[str]]] = []
        self.texts = ""
        self._open: list[list[str]] = [[]]
        self.feed(text)
        assert len(self._open) == 1, "an element is open"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        text: list[str] = []
        self.elements.append((tag, dict(attrs), text))
        if tag not in VOID:
            self._open.append(text)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs), []))

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002
        self._open.pop()

    def handle_data(self, data: str) -> None:
        self._open[-1].append(data)
        self.texts += data

    def all(self, tag: str) -> list[tuple[dict[str, str | None], str]]:
        return [(attributes, "".join(text)) for name, attributes, text in self.elements if name == tag]


DOCUMENTS = {
    "rich": rich(),
    "good": good(),
    "hostile": hostile(),
    "many": many(20, 5),
    "none": Document(),
    "merged": merged([rich(), Document((run(id="cafe"),), many(3, 5).units)]),
}


@pytest.fixture(params=DOCUMENTS.values(), ids=DOCUMENTS)
def document(request: pytest.FixtureRequest) -> Document:
    return request.param


@pytest.mark.parametrize("document", [merged([rich(), Document((run(id="cafe"),), many(3, 5).units)]), hostile()])
def test_rows_of_a_command_are_as_each_would_be_by_itself(document: Document, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though one command is executed in two runs, of which only the one knows where it comes from."""
    first, *others = document.runs
    paths = [record.executable for unit in document.units for record in unit.all_records]
    known = {path: Origin(True, f"package {path}") for path in paths if path is not None}
    units = (*document.units, *(replace(unit, run=0) for unit in document.units))
    document = Document((replace(first, origins=known), *others), units)
    whole = html.data(document)
    row = rows.Rows.row

    def alone(self: rows.Rows, *arguments: Any) -> list[Any]:
        self._commands.clear()
        self._sites.clear()
        return row(self, *arguments)

    monkeypatch.setattr(rows.Rows, "row", alone)
    assert html.data(document) == whole


def test_the_page_is_one_of_html(document: Document) -> None:
    text = html.render(document)
    assert text.startswith("<!DOCTYPE html>\n")
    assert text.encode("utf-8").decode() == text
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", text)


def test_its_policy_allows_its_own_script_and_style_and_nothing_besides(document: Document) -> None:
    page = Page(html.render(document))
    (policy,) = [attributes["content"] for attributes, _ in page.all("meta") if "http-equiv" in attributes]
    assert policy is not None
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["base-uri"] == rules["form-action"] == "'none'"
    assert rules["require-trusted-types-for"] == "'script'"
    assert rules["trusted-types"] == "'none'"
    assert "unsafe" not in policy
    assert "http" not in policy
    (data, _), (script, code) = page.all("script")
    assert data == {"type": "application/json", "id": "data"}
    assert script == {}
    assert rules["script-src"] == f"'{_hash(code)}'"
    ((_, style),) = page.all("style")
    assert rules["style-src"] == f"'{_hash(style)}'"
    # The policy stands before all that it is about.
    assert [tag for tag, _, _ in page.elements].index("meta") < 4


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def test_it_needs_nothing_else(document: Document) -> None:
    page = Page(html.render(document))
    for tag, attributes, _ in page.elements:
        assert not {"src", "srcset", "action", "style", "background"} & set(attributes), tag
        assert not any(name.startswith("on") for name in attributes), tag
        target = attributes.get("href")
        assert target is None or target.startswith("#") or (tag, target) == ("link", "data:,")
    style = page.all("style")[0][1]
    assert "url(" not in style
    assert "@import" not in style


def test_the_data_is_whole_and_can_not_end_its_element(document: Document) -> None:
    text = html.render(document)
    page = Page(text)
    embedded = page.all("script")[0][1]
    assert json.loads(embedded) == json.loads(json.dumps(html.data(document)))
    assert embedded.isascii()
    assert not set("<>&\n") & set(embedded)
    assert text.count("</script") == 2
    assert text.count("<script") == 2


def test_nothing_that_a_test_named_is_an_element() -> None:
    def tags(page: Page) -> set[str]:
        return {tag for tag, _, _ in page.elements}

    page = Page(html.render(hostile()))
    assert tags(page) <= tags(Page(html.render(rich()))) | {"p", "details", "ol"}
    for text in filter(str.isprintable, HOSTILE):
        assert text in page.texts


def test_the_script_makes_elements_of_no_text() -> None:
    script = files("pytest_execprobe.report").joinpath("report.js").read_text(encoding="utf-8")
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|new Function|fetch\(|XMLHttp", script
    )
    assert not re.search(r"</script|<!--", script)
    assert script.startswith("//")
    assert '"use strict"' in script


def test_the_head_says_what_is_wrong() -> None:
    page = Page(html.render(rich()))
    assert "2 rules broken, 1 undecided" in page.texts
    assert "This report is incomplete" in page.texts
    assert "3 execs of one place found the perf buffer full" in page.texts
    assert "This report is incomplete" not in Page(html.render(good())).texts
    assert "every exec recorded" in Page(html.render(good())).texts


@pytest.mark.parametrize(
    ("command", "title"),
    [
        (("/usr/lib/python3/site-packages/pytest/__main__.py", "-q", "a b"), "pytest -q 'a b'"),
        (("/usr/bin/make", "all"), "make all"),
        ((), "pytest"),
        (("",), "''"),
        (("/",), "/"),
    ],
)
def test_the_title_is_short(command: tuple[str, ...], title: str) -> None:
    page = Page(html.render(Document((run(command=command),))))
    assert page.all("title")[0][1] == f"Execs of {title}"


def test_links_lead_to_units() -> None:
    targets = [attributes["href"] for attributes, _ in Page(html.render(rich())).all("a")]
    assert "#unit=tests/test_release.py%3A%3ATestRelease%3A%3Atest_tag" in targets


# ---- the data ----


def tree(*records: ExecRecord, **more: Any) -> list[dict[str, Any]]:
    """The rows of a unit, with texts in place of their numbers."""
    made = html.data(Document((run(),), (Unit("test", "test_a", records=records, **more),)))
    rows = [dict(zip(made["columns"], row, strict=True)) for row in made["units"][0]["records"]]
    for row in rows:
        for name in ("above", "program", "command", "became", "signal"):
            row[name] = made["texts"][row[name]] if row[name] >= 0 else None
    return rows


def nesting(rows: list[dict[str, Any]]) -> list[tuple[int, str, int]]:
    return [(row["level"], row["program"], row["parent"]) for row in rows]


def test_rows_follow_what_started_them() -> None:
    make = ran("make", at=1)
    cc = ran("cc", at=2, parent=make)
    other = ran("git", at=3)
    ld = ran("ld", at=4, parent=cc)
    sh = ran("sh", at=5, parent=make)
    assert nesting(tree(make, cc, other, ld, sh)) == [
        (0, "make", -1),
        (1, "cc", 0),
        (2, "ld", 1),
        (1, "sh", 0),
        (0, "git", -1),
    ]


def test_a_row_below_what_is_not_listed_is_below_the_next_that_is() -> None:
    make = ran("make", at=1)
    ignored = ran("coverage", at=2, parent=make)
    cc = ran("cc", at=3, parent=ignored)
    away = ran("client", at=4, parent=ran("server", at=0))
    rows = tree(make, cc, away)
    assert nesting(rows) == [(0, "make", -1), (1, "cc", 0), (0, "client", -1)]
    assert rows[1]["above"] == f"coverage, pid {ignored.pid}, which is not listed here"
    assert rows[2]["above"].startswith("server, pid ")
    assert rows[0]["above"] == "the test's own process"


def test_a_lost_ancestor_is_no_test() -> None:
    (row,) = tree(ran("sh", at=1, lineage_lost=True))
    assert row["above"] == "not known: a record above it was lost"


def test_a_process_that_execs_again_ends_where_it_does() -> None:
    env = ran("env", at=1)
    rows = tree(env, ran("git", at=3.5, previous=env, pid=env.pid, lasted=1, signal=9))
    assert nesting(rows) == [(0, "env", -1), (0, "git", -1)]
    assert (rows[0]["became"], rows[0]["duration"]) == ("git", 2_500_000)
    assert (rows[1]["became"], rows[1]["duration"], rows[1]["signal"]) == (None, 1_000_000, "SIGKILL")


def test_a_very_deep_tree() -> None:
    records = [ran("sh", at=0)]
    for at in range(1, 3000):
        records.append(ran("sh", at=at, parent=records[-1]))
    assert [row["level"] for row in tree(*records)] == list(range(3000))


def test_long_arguments_are_cut_and_say_so() -> None:
    whole, cut, kept_less = tree(
        ran("sh", "x" * 4000, at=1), ran("sh", *["x" * 1000] * 9, at=2), ran("sh", "x", at=3, truncated=True)
    )
    assert (whole["cut"], kept_less["cut"]) == (0, -1)
    assert 9 * 1000 - 4096 <= cut["cut"] <= 9 * 1000 - 4000
    assert len(cut["command"]) == 4096
    assert len(html.render(Document((run(),), (Unit("test", "t", records=(ran("sh", "x" * 10**6, at=1),)),)))) < 200_000


def test_texts_are_there_once_and_printable() -> None:
    made = html.data(hostile())
    assert len(set(made["texts"])) == len(made["texts"])
    assert all(text.isprintable() or "\xa0" in text for text in made["texts"])


# ---- lines that are no exec of a new process ----


def unit_data(*records: ExecRecord) -> tuple[dict[str, Any], list[str]]:
    made = html.data(Document((run(),), (Unit("test", "test_a", records=records),)))
    return made["units"][0], made["texts"]


def test_a_further_exec_of_a_process_follows_it() -> None:
    env = ran("env", at=1)
    early = ran("uname", at=2, parent=env)
    python = ran("python3", at=3, previous=env, pid=env.pid)
    late = ran("gcc", at=4, parent=python)
    other = ran("git", at=2.5)
    rows = tree(env, early, other, python, late)
    assert nesting(rows) == [(0, "env", -1), (1, "uname", 0), (0, "python3", -1), (1, "gcc", 2), (0, "git", -1)]
    assert [row["again"] for row in rows] == [0, 0, 1, 0, 0]


def test_where_there_are_only_execs_there_are_no_other_lines() -> None:
    unit, _ = unit_data(ran("make", at=1), ran("git", at=2))
    assert (unit["lines"], unit["folds"], unit["stray_lines"], unit["stray_folds"]) == ([], [], [], [])


def test_forks_have_lines_and_no_rows() -> None:
    fork = {"direct": False, "fork": f"4711.{START + 1_500_000}"}
    unit, texts = unit_data(ran("git", at=2, ppid=4711, **fork), ran("gpg", at=3), ran("git", at=4, ppid=4711, **fork))
    assert len(unit["records"]) == 3
    (level, place, at, pid), *rest = unit["lines"]
    assert (level, texts[place], at, pid) == (0, "python  (forked, no exec)", -500_000, 4711)
    assert rest == [0, 1, 2]
    assert [row[0] for row in unit["records"]] == [1, 1, 0]  # gpg began later than the fork


def test_alike_siblings_are_folded_in_their_place() -> None:
    make = ran("make", at=1)
    records = [make]
    for n in range(200):
        records.append(ran("gcc", f"{n}.c", at=2 + n, parent=make, exit_code=int(n == 100)))
        records.append(ran("as", at=2.5 + n, parent=records[-1], exit_code=0))
    unit, texts = unit_data(*records)
    assert len(unit["records"]) == len(records)
    (note,) = (line for line in unit["lines"] if isinstance(line, list))
    assert texts[note[1]] == "… 196 more like it: gcc, exit 0, 392 processes with all below"
    at = unit["lines"].index(note)
    assert at == 7
    assert unit["folds"].count(at) == 392
    shown = [line for line, fold in zip(unit["lines"], unit["folds"], strict=True) if fold < 0 and line != note]
    programs = [texts[unit["records"][line][3 + 1]] for line in shown]
    assert programs == ["make", *["gcc", "as"] * 4]


def test_very_many_take_no_longer_than_some_seconds() -> None:
    make = ran("make", at=1)
    records = [make, *(ran("gcc", f"{n}.c", at=2 + n, parent=make, exit_code=0) for n in range(30_000))]
    began = time.process_time()
    unit, _ = unit_data(*records)
    assert time.process_time() - began < 20
    assert unit["folds"].count(-1) == 5

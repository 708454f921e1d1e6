"""The summary of a CI job: what it says, and that nothing that a test named is taken for markup."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from documents import HOSTILE, good, hostile, many, ran, rich, run
from markdown_it import MarkdownIt

from pytest_execprobe._util.text import printable
from pytest_execprobe.report.markdown import code, render
from pytest_execprobe.report.model import Document, ReportedBreach, Unit

OWN_TAGS = {
    *("h3", "h4", "p", "strong", "em", "blockquote", "ul", "li", "code", "pre", "details", "summary"),
    *("table", "thead", "tbody", "tr", "th", "td"),
}


class Page(HTMLParser):
    """A page as a reader sees it: its elements, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.rows: list[int] = []
        self.codes: list[str] = []
        self._in_code = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attrs)
        if tag == "tr":
            self.rows.append(0)
        if tag in ("td", "th"):
            self.rows[-1] += 1
        if tag == "code":
            self.codes.append("")
            self._in_code = True

    def handle_endtag(self, tag: str) -> None:
        self._in_code = self._in_code and tag != "code"

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._in_code:
            self.codes[-1] += data


def page(markdown: str) -> Page:
    return Page(MarkdownIt("commonmark", {"html": True}).enable("table").render(markdown))


def of(*units: Unit, **more: object) -> str:
    return render(Document((run(**more),), units))


def test_a_report_without_fault() -> None:
    assert render(good()).startswith(
        "### Execs: no rule broken, every exec recorded\n\n**1** exec · **1** program · **1** test\n\n#### Run\n\n"
    )
    assert "WARNING" not in render(good())


def test_what_matters_most_comes_first() -> None:
    text = render(rich())
    order = [
        "### Execs: 2 rules broken, 1 undecided",
        "This report is incomplete",
        "3 execs of one place found the perf buffer full",
        "1 test was not checked",
        "[!CAUTION]",
        "session budget exceeded",
        "if this is right",
        "cannot tell whether curl ran",
        "#### Run",
        "#### Most executed programs",
        "#### Tests that ran most",
        "#### Besides tests",
        "#### Left behind, and ran after its test",
        "#### Not checked",
        "#### Broken without consequence",
        "because it was",
    ]
    shown = page(text).text
    places = [(shown if item[0].islower() or item[0].isdigit() else text).find(item) for item in order]
    assert -1 not in places, order[places.index(-1)]
    assert [text.find(item) for item in order if item[0] in "#["] == sorted(
        text.find(item) for item in order if item[0] in "#["
    )


def test_tables_of_a_rich_report() -> None:
    shown = page(render(rich()))
    assert "tests/test_release.py::TestRelease::test_tag" in shown.codes
    assert "pytest -n 2 tests" in shown.codes
    assert shown.tags <= OWN_TAGS
    assert "\n| <code>tests/test&#95;release.py" in render(rich())


def test_what_did_not_end_with_0_is_there_signals_first() -> None:
    ends = [
        ran("grep", "x", at=1, exit_code=1),
        ran("grep", "y", at=2, exit_code=1),
        ran("git", at=3, exit_code=0),
        ran("convert", at=4, signal=11),
        ran("sleep", at=5),
    ]
    text = render(Document((run(),), (Unit("test", "test_a", records=tuple(ends)),)))
    _, _, section = text.partition("#### Ended otherwise than with exit status 0\n")
    rows = [re.sub(r"</?code>", "", row) for row in section.partition("####")[0].splitlines() if "test" in row]
    assert rows == ["| test&#95;a | convert | SIGSEGV | 1 |", "| test&#95;a | grep | exit 1 | 2 |"]
    assert "Ended otherwise" not in render(good())


def test_what_is_incomplete_is_no_exact_number() -> None:
    git = ran("git", at=1)
    assert "| 1 |" in of(Unit("test", "t", records=(git,)))
    assert "| 1+ |" in of(Unit("test", "t", records=(git,), lost=1))
    assert "**1+** execs" in of(Unit("test", "t", records=(git,)), Unit("test", "u", not_checked="no probe"))


def test_no_hostile_text_is_markup() -> None:
    shown = page(render(hostile()))
    assert shown.tags <= OWN_TAGS
    assert shown.attributes <= {"style"}  # of the alignment of a table's cells
    for text in HOSTILE:
        if text.strip("\u2028\u2029"):
            assert f"test_it.py::test[{printable(text)}]" in shown.text


@pytest.mark.parametrize(
    "text", [*filter(None, HOSTILE), "`", "``` `", "\\", "a\\|b", "*a* _b_ ~~c~~", "&lt;&#60;", "# h"]
)
def test_one_text_in_a_table(text: str) -> None:
    cell = code(text)
    shown = page(f"| a | b |\n| --- | --- |\n| {cell} | x |\n")
    assert shown.rows == [2, 2]
    assert shown.tags == {"table", "thead", "tbody", "tr", "th", "td", "code"}
    assert shown.codes == [printable(text).replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")]


def test_what_github_makes_links_of_has_no_beginning() -> None:
    cell = code("https://example.org www.example.org WWW.example.org someone@example.org @team :tada: #12")
    assert not re.search(r"https?:|www\.|\w@|@\w|:\w+:|(?<!&)#\d", cell, re.IGNORECASE)


@pytest.mark.parametrize(
    "text", ["one\n\ntwo", "<pre>\n</pre>\n\n<b>x", "\n\n\n", "  \n\t\n x", "</details>", "\r\n\r\n"]
)
def test_the_text_of_a_breach_stays_in_its_place(text: str) -> None:
    shown = page(
        of(
            Unit("test", "t", breaches=(ReportedBreach("headline", text),)),
            Unit("test", "u", records=(ran("git", at=1),)),
        )
    )
    assert shown.tags <= OWN_TAGS
    assert "u" in shown.codes
    for line in filter(str.strip, text.split("\n")):
        assert printable(line) in shown.text


@pytest.mark.parametrize("limit", [2_000, 3_000, 10_000, 100_000, 500_000])
@pytest.mark.parametrize("document", [hostile(), many(40, 3), rich()], ids=["hostile", "many", "rich"])
def test_it_is_never_longer_than_its_limit(document: Document, limit: int) -> None:
    text = render(document, limit=limit)
    assert len(text.encode()) <= limit
    assert text.startswith("### Execs: ")
    shown = page(text)
    assert shown.tags <= OWN_TAGS
    assert text.count("<details>") == text.count("</details>")
    whole = render(document)
    assert text == whole or "There is more than fits here" in text


def test_a_huge_report_is_bounded_and_says_what_it_leaves_out() -> None:
    broken = ReportedBreach("broken " * 1000, "line\n" * 100_000)
    many_broken = tuple(replace(unit, breaches=(broken,), strays=unit.records) for unit in many(300, 30).units)
    text = render(Document((run(),), many_broken))
    assert len(text.encode()) < 500_000
    assert "… 275 more broken or undecided rules" in text
    assert "… 285 more tests" in text


def test_a_limit_that_holds_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="a number of bytes from 2000 on"):
        render(good(), limit=1_000)


def test_a_report_of_nothing() -> None:
    assert "No run is in this report." in render(Document())

"""The page in a browser: its search, its trees, its size, and that it runs nothing that a test named."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from documents import HOSTILE, START, good, hostile, many, phases, ran, rich, run
from showing import Shown

from pytest_execprobe.origin.origin import TEMPORARY, Origin
from pytest_execprobe.report.digest import shown as printed
from pytest_execprobe.report.model import Document, ReportedBreach, Unit, merged

# What the browser starts while a test uses it; that it starts at all counts for its fixture.
pytestmark = pytest.mark.exec_budget(40)

TAG = "tests/test_release.py::TestRelease::test_tag"
PING = "tests/test_cache.py::test_ping[a-b]"


def opened(shown: Shown, name: str) -> Any:
    """The item of a unit, open."""
    item = next(item for item in shown.all("#list .unit") if item.find_element("class name", "name").text == name)
    shown.click(item.find_element("css selector", "[data-main]"))
    return item


def rows(shown: Shown, within: Any) -> list[tuple[int, str]]:
    """Level and command of each row that is rendered, from above to below."""
    return [
        (int(row.get_attribute("aria-level")), row.find_element("class name", "command").text)
        for row in shown.all(".rows .row", within)
    ]


# ---- head ----


def test_the_head_tells_what_matters(shown: Shown) -> None:
    shown.open(rich())
    assert shown.one("h1").text == "pytest -n 2 tests"
    assert shown.one(".verdict").text == "2 rules broken, 1 undecided"
    assert shown.one("main > .banner").is_displayed()
    totals = dict(zip(shown.texts(".totals dt"), shown.texts(".totals dd"), strict=True))
    assert totals["execs"] == "12+"
    assert totals["lost"] == "at least 3"
    shown.open(good())
    assert shown.all("main > .banner") == []


def test_a_program_in_the_head_is_searched_for(shown: Shown) -> None:
    shown.open(many(30, 1))
    shown.click(shown.one("button[data-program='git']"))
    assert shown.texts("#program option:checked") == ["git (30)"]
    shown.open(rich())
    shown.click(shown.one("button[data-program='gpg']"))
    assert shown.names() == [TAG]
    assert "program=gpg" in shown.driver.current_url


def test_a_link_of_the_head_opens_its_test(shown: Shown) -> None:
    shown.open(rich())
    shown.click(next(link for link in shown.all(".breaches a") if link.text == TAG))
    shown.wait("return document.querySelector('.panel')")
    assert shown.one(".unit [aria-expanded='true'] .name").text == TAG


# ---- search and filters ----


def test_all_units_are_listed_most_execs_first(shown: Shown) -> None:
    shown.open(rich())
    assert len(shown.names()) == len(rich().units)
    assert shown.names()[:2] == [TAG, PING]
    assert shown.one("#status").text == "8 of 8, 12 execs"


def cleared(shown: Shown) -> bool:
    shown.click(shown.one("#clear"))
    return len(shown.names()) == len(rich().units)


def test_search(shown: Shown) -> None:
    shown.open(rich())
    for text, names in {
        "test_tag": [TAG],
        "TEST_TAG": [TAG],
        "ping test_": [PING],
        "redis-cli": [PING],
        "sleep": [PING],
        "commit": [TAG],
        "--sign test_cache": [],
        "no such thing": [],
    }.items():
        shown.search(text)
        assert shown.names() == names, text
        assert shown.one("#nothing").is_displayed() is (names == []), text
        assert cleared(shown)


def test_each_choice(shown: Shown) -> None:
    shown.open(rich())
    for field, label, names in (
        ("program", "gpg (1)", [TAG]),
        ("program", "true (1)", [PING]),
        ("outcome", "xfailed", ["tests/test_cache.py::test_later"]),
        ("outcome", "error", ["tests/test_cache.py::test_flood"]),
        ("kind", "fixture", ["tests/conftest.py::redis (module)"]),
        ("worker", "gw0", [TAG, "collection"]),
    ):
        shown.choose(field, label)
        assert shown.names() == names, label
        assert cleared(shown)


def test_each_check(shown: Shown) -> None:
    shown.open(rich())
    for field, names in {
        "breaches": {TAG, "tests/test_cache.py::test_flood", "tests/test_cache.py::test_later"},
        "strays": {PING},
        "incomplete": {"tests/test_cache.py::test_flood", "tests/test_cache.py::test_blind", "outside of tests"},
    }.items():
        shown.click(shown.one(f"#{field}"))
        assert set(shown.names()) == names, field
        assert cleared(shown)


def test_runs_are_told_apart(shown: Shown) -> None:
    shown.open(merged([good(), Document((run(id="cafe", command=("pytest", "other")),), many(2, 1).units)]))
    assert len(shown.names()) == 3
    shown.choose("run", "1: pytest -n 2 tests")
    assert shown.names() == ["test_a.py::test_it"]


def test_what_there_is_nothing_to_choose_from_is_not_offered(shown: Shown) -> None:
    shown.open(good())
    hidden = {"kind", "outcome", "worker", "run", "breaches", "strays", "incomplete"}
    assert {field for field in hidden if shown.one(f"#{field}").is_displayed()} == set()
    assert shown.one("#q").is_displayed()


@pytest.mark.parametrize(
    ("order", "key"),
    [
        ("name", lambda unit: unit.name),
        ("most execs", lambda unit: -len(unit.all_records)),
        ("longest", lambda unit: -max(map(max, unit.phases.values()), default=0) + _begin(unit)),
        ("as recorded", lambda _: 0),
    ],
)
def test_each_order(shown: Shown, order: str, key: Callable[[Unit], Any]) -> None:
    document = rich()
    shown.open(document)
    shown.choose("sort", "name")
    shown.choose("sort", order)
    assert shown.names() == [unit.name for unit in sorted(document.units, key=key)]


def _begin(unit: Unit) -> int:
    return min(map(min, unit.phases.values()), default=0)


def test_the_address_keeps_the_search(shown: Shown) -> None:
    document = rich()
    shown.open(document)
    shown.search("test_")
    shown.choose("worker", "gw1")
    shown.choose("sort", "name")
    shown.click(shown.one("#strays"))
    names = shown.names()
    assert names == [PING]
    shown.open(document, "#" + shown.driver.current_url.partition("#")[2])
    assert shown.one("#q").get_attribute("value") == "test_"
    assert shown.names() == names


@pytest.mark.parametrize("address", ["#unit=nothing", "#%", "#program=x&sort=y&run=9", "#nth=2&unit=" + TAG, "#units"])
def test_an_address_that_leads_nowhere_shows_all(shown: Shown, address: str) -> None:
    shown.open(rich(), address)
    assert len(shown.names()) == len(rich().units)


def test_the_link_of_a_test_leads_to_it(shown: Shown) -> None:
    document = many(1000, 2)
    name = document.units[777].name
    again = replace(document.units[10], name=name)
    document = replace(document, units=(*document.units, again))
    shown.open(document)
    shown.search("test_number_777")
    shown.click(shown.all("#list [data-main]")[1])
    link = shown.one(".panel a").get_attribute("href").partition("#")[2]
    assert "nth=2" in link
    shown.open(document, f"#{link}")
    shown.wait("return document.querySelector('.panel')")
    item = shown.one(".unit:has(.panel)")
    assert item.find_element("class name", "name").text == name
    place = shown.run("return arguments[0].getBoundingClientRect().top", item)
    assert 0 <= place < shown.run("return window.innerHeight")
    assert shown.one(".panel a").get_attribute("href").endswith(link)


# ---- trees ----


def test_a_test_shows_its_tree(shown: Shown) -> None:
    shown.open(rich())
    item = opened(shown, TAG)
    assert rows(shown, item) == [
        (1, "/usr/bin/git commit -m 'It'\"'\"'s done'"),
        (2, "hooks/pre-commit"),
        (3, "/usr/bin/env python3 -c pass"),
        (3, "→ /usr/bin/python3 -c pass"),
        (4, "/usr/bin/gpg --sign"),
        (1, "/usr/bin/sh -c true"),
        (1, "? …"),
        (1, "/usr/bin/xargs " + " ".join(["a" * 100] * 80)[: 4096 - len("/usr/bin/xargs ") - 1] + "…"),
    ]
    indents = [cell.value_of_css_property("padding-left") for cell in shown.all(".rows .command", item)]
    assert indents == ["0px", "16px", "32px", "32px", "48px", "0px", "0px", "0px"]
    assert shown.texts(".rows .end")[:4] == ["exit 0", "exit 1", "→ python3", "SIGKILL"]
    assert shown.texts(".axis .band") == ["", "call", ""]


def test_bars_are_where_the_time_line_says(shown: Shown) -> None:
    shown.open(rich())
    item = opened(shown, TAG)
    lane = shown.all(".rows .lane", item)[0].rect
    boxes = [bar.rect for bar in shown.all(".rows .bar", item)]
    # Of 90 ms from 5 on: git from 10 to 70, pre-commit from 14 to 54, gpg from 30 on.
    for box, begin, end in ((boxes[0], 5, 65), (boxes[1], 9, 49), (boxes[4], 25, 90)):
        assert (box["x"] - lane["x"]) / lane["width"] == pytest.approx(begin / 90, abs=0.01)
        assert (box["x"] + box["width"] - lane["x"]) / lane["width"] == pytest.approx(end / 90, abs=0.01)
    assert [bar.get_attribute("class") for bar in shown.all(".rows .bar", item)[:5]] == [
        "bar", "bar bad", "bar", "bar bad", "bar open",
    ]  # fmt: skip


def test_a_row_tells_all(shown: Shown) -> None:
    shown.open(rich())
    item = opened(shown, TAG)
    line = shown.all(".rows .line", item)[0]
    assert "ended: with exit code 0" in line.get_attribute("title")
    assert line.get_attribute("aria-expanded") == "false"
    shown.click(line)
    assert line.get_attribute("aria-expanded") == "true"
    assert shown.texts(".argv li") == ["git", "commit", "-m", "It's done"]
    told = dict(zip(shown.texts(".detail dt"), shown.texts(".detail dd"), strict=True))
    assert told["executable"] == "/usr/bin/git"
    assert told["in folder"] == "/srv/project"
    assert told["parent's pid"] == "1"
    assert told["started by"] == "the test's own process"
    assert told["user, group"] == "1000, 1000"
    assert told["took"] == "60.0 ms"
    shown.click(line)
    assert shown.all(".detail") == []


def test_a_column_says_where_each_program_comes_from(shown: Shown) -> None:
    known = {
        "/usr/bin/git": Origin(True, "git 2.39 (dpkg)"),
        "/usr/bin/gpg": Origin(False, remarks=(TEMPORARY,)),
        "/usr/bin/xargs": Origin(None, why="locked"),
    }
    document = rich()
    shown.open(replace(document, runs=tuple(replace(run, origins=known) for run in document.runs)))
    item = opened(shown, TAG)
    said = [line.find_element("class name", "origin") for line in shown.all(".rows .line", item)]
    assert said[0].text == "git 2.39 (dpkg)"
    assert said[0].is_displayed()
    assert [(cell.text, "odd" in cell.get_attribute("class")) for cell in said if cell.text] == [
        ("git 2.39 (dpkg)", False), ("no package; in a temporary folder", True), ("not known (locked)", False),
    ]  # fmt: skip
    columns = [len(shown.all(":scope > *", line)) for line in shown.all(".line", item)]
    assert set(columns) == {6}
    size = shown.driver.get_window_size()
    shown.driver.set_window_size(420, 900)  # a phone has no room for it
    is_on_a_phone = said[0].is_displayed()
    shown.driver.set_window_size(**size)
    assert not is_on_a_phone
    shown.open(rich())
    assert shown.all(".origin", opened(shown, TAG)) == []


def test_the_parent_of_a_row_is_a_step_away(shown: Shown) -> None:
    shown.open(rich())
    item = opened(shown, TAG)
    shown.click(shown.all(".rows .line", item)[4])
    shown.click(shown.one(".detail .plain"))
    assert "python3 -c pass" in shown.driver.switch_to.active_element.text


def test_strays_stand_apart(shown: Shown) -> None:
    shown.open(rich())
    item = opened(shown, PING)
    trees = shown.all(".tree", item)
    assert [tree.find_element("tag name", "h4").text for tree in trees] == [
        "1 exec",
        "2 strays: left behind detached, and ran from +150 ms on",
    ]
    assert rows(shown, trees[0]) == [(1, "/usr/bin/redis-cli ping")]
    assert rows(shown, trees[1]) == [(1, "/usr/bin/sleep 1"), (2, "/usr/bin/true")]


def test_what_is_missing_does_not_read_as_nothing(shown: Shown) -> None:
    shown.open(rich())
    numbers = dict(zip(shown.names(), shown.texts("#list .number"), strict=True))
    assert numbers["tests/test_cache.py::test_flood"] == "0+ execs"
    assert numbers["tests/test_cache.py::test_blind"] == "not known"
    assert numbers["tests/test_cache.py::test_later"] == "0 execs"
    item = opened(shown, "tests/test_cache.py::test_flood")
    assert "3 execs found the perf buffer full" in item.text
    assert "Nothing ran" not in item.text
    assert "Nothing ran" in opened(shown, "tests/test_cache.py::test_later").text


def test_rows_that_fit_the_search_are_marked_and_stepped_through(shown: Shown) -> None:
    shown.open(many(1, 3000))
    shown.search("number=0-2900")
    opened(shown, shown.names()[0])
    assert shown.one(".found").text.startswith("1 of these fit the search")
    shown.click(shown.all(".found button")[1])
    assert "--number=0-2900" in shown.driver.switch_to.active_element.text
    assert [row.find_element("class name", "command").text for row in shown.all(".row.match")] == [
        "/usr/bin/git --number=0-2900 some/file/or/other.c"
    ]


def test_keys_are_enough(shown: Shown) -> None:
    from selenium.webdriver.common.keys import Keys

    shown.open(rich())
    shown.run("document.getElementById('clear').focus()")

    def focus() -> Any:
        return shown.driver.switch_to.active_element

    focus().send_keys(Keys.TAB)
    assert focus().find_element("class name", "name").text == TAG
    focus().send_keys(Keys.ARROW_DOWN)
    assert focus().find_element("class name", "name").text == PING
    focus().send_keys(Keys.ARROW_UP, Keys.ENTER)
    assert len(shown.all(".panel")) == 1
    for _ in range(2):  # the link is between
        focus().send_keys(Keys.TAB)
    assert "git commit" in focus().text
    focus().send_keys(Keys.ENTER)
    assert len(shown.all(".detail")) == 1
    focus().send_keys(Keys.ARROW_DOWN)
    assert "pre-commit" in focus().text


# ---- size ----


def timed(what: str, do: Callable[[], Any]) -> Any:
    began = time.monotonic()
    result = do()
    print(f"{what}: {(time.monotonic() - began) * 1000:.0f} ms with the driver's part")
    return result


def test_ten_thousand_execs_of_one_test(shown: Shown) -> None:
    timed("open the page", lambda: shown.open(many(1, 10_000, deep=True)))
    item = timed("open the test", lambda: opened(shown, shown.names()[0]))
    assert shown.elements() < 2_000
    timed("search", lambda: shown.search("number=0-9990"))
    item = shown.one("#list .unit")
    timed("unfold", lambda: shown.click(shown.all(".found button", item)[1]))
    shown.wait("return document.activeElement.textContent.includes('--number=0-9990')")
    unfolded = int(shown.one(".row.match", item).get_attribute("aria-setsize"))
    assert unfolded > 1000
    scroller = shown.one(".scroller", item)
    timed("scroll to the end", lambda: shown.run("arguments[0].scrollTop = arguments[0].scrollHeight", scroller))
    last = "return [...document.querySelectorAll('.row')].at(-1)?.getAttribute('aria-posinset') === arguments[0]"
    shown.wait(last, str(unfolded))
    assert "--number=0-9999" in shown.all(".row")[-1].text
    assert shown.elements() < 2_000
    shown.click(shown.all(".row .line")[-1])
    assert shown.texts(".argv li") == ["make", "--number=0-9999", "some/file/or/other.c"]
    timed("search", lambda: shown.search("number=0-77"))
    print(f"searches: {shown.searches()} ms")
    assert shown.one(".found").text.startswith("111 of these fit the search")


def test_ten_thousand_execs_over_a_thousand_tests(shown: Shown) -> None:
    timed("open the page", lambda: shown.open(many(1000, 10)))
    assert shown.elements() < 2_000
    timed("scroll to the end", lambda: shown.run("window.scrollTo(0, document.body.scrollHeight)"))
    shown.wait("return [...document.querySelectorAll('.unit')].at(-1)?.getAttribute('aria-posinset') === '1000'")
    assert shown.names()[-1].endswith("test_number_999")
    assert shown.elements() < 2_000
    item = opened(shown, shown.names()[-1])
    assert len(rows(shown, item)) == 10
    for text, found in (("number=5", 111), ("test_number_12", 11), ("cc1plus", 1000), ("number=500-3", 1)):
        timed(f"search for {text}", lambda text=text: shown.search(text))
        assert shown.one("#status").text.startswith(f"{found:,} of 1,000")
    print(f"searches: {shown.searches()} ms")
    assert shown.elements() < 2_000


def test_a_test_that_was_scrolled_away_is_as_it_was(shown: Shown) -> None:
    shown.open(many(200, 100))
    opened(shown, shown.names()[0])
    shown.run("document.querySelector('.scroller').scrollTop = 2000")
    shown.wait(
        "return [...document.querySelectorAll('.row')].some((row) => row.getAttribute('aria-posinset') === '80')"
    )
    shown.one("#q").click()  # or the test would stay for the sake of the focus
    shown.run("window.scrollTo(0, document.body.scrollHeight)")
    shown.wait("return !document.querySelector('.panel')")
    shown.run("window.scrollTo(0, 0)")
    shown.wait("return document.querySelector('.scroller')?.scrollTop === 2000")


def test_what_has_the_focus_is_not_scrolled_away(shown: Shown) -> None:
    shown.open(many(1000, 1))
    name = shown.names()[3]
    shown.run("document.querySelectorAll('#list [data-main]')[3].focus()")
    shown.run("window.scrollTo(0, document.body.scrollHeight)")
    shown.wait("return [...document.querySelectorAll('.unit')].at(-1)?.getAttribute('aria-posinset') === '1000'")
    assert shown.run("return document.activeElement.querySelector('.name')?.textContent") == name


def test_on_paper_is_more_than_on_the_screen(shown: Shown) -> None:
    shown.open(many(1000, 3))
    opened(shown, shown.names()[0])
    before = len(shown.all(".unit"))
    shown.run("window.dispatchEvent(new Event('beforeprint'))")
    assert len(shown.all(".unit")) == 500
    assert shown.one("#unprinted").text == "… 500 more are not printed: search for less."
    shown.run("window.dispatchEvent(new Event('afterprint'))")
    assert len(shown.all(".unit")) == before
    assert not shown.one("#unprinted").is_displayed()
    assert shown.driver.print_page()


# ---- nothing runs ----


def test_hostile_texts_are_texts(shown: Shown) -> None:
    document = hostile()
    elements = "return [...new Set([...document.querySelectorAll('main *')].map((one) => one.tagName))].sort()"
    shown.open(rich())
    opened(shown, TAG)
    known = set(shown.run(elements))
    shown.open(document)
    for unit in document.units:
        item = shown.run(
            "return [...document.querySelectorAll('#list .unit')]"
            ".find((one) => one.querySelector('.name').title === arguments[0])",
            printed(unit.name),
        )
        shown.click(item.find_element("css selector", "[data-main]"))
        shown.click(shown.all(".rows .line", item)[0])
        arguments = shown.run(
            "return [...arguments[0].querySelectorAll('.argv code')].map((one) => one.textContent)", item
        )
        assert arguments[1:] == [printed(text) for text in HOSTILE]
        shown.click(item.find_element("css selector", "[data-main]"))
    for text in filter(None, HOSTILE):
        shown.search(printed(text))
        assert shown.names(), text
    assert shown.run("return window.hacked") is None
    assert shown.all("img, #injected, main script, iframe, object") == []
    assert set(shown.run(elements)) <= known | {"A", "OL", "P"}


def test_a_hostile_address_is_a_text(shown: Shown) -> None:
    shown.open(
        hostile(), "#q=%3Cimg%20src%3Dx%20onerror%3D%22window.hacked%3D1%22%3E&unit=%3Cscript%3E&program=__proto__"
    )
    assert shown.one("#q").get_attribute("value") == '<img src=x onerror="window.hacked=1">'
    assert shown.run("return window.hacked") is None
    assert shown.all("img") == []


def test_the_policy_stops_what_would_run(shown: Shown) -> None:
    shown.open(good())
    shown.run(
        """
        window.refused = [];
        document.addEventListener("securitypolicyviolation", (event) => window.refused.push(event.effectiveDirective));
        const script = document.createElement("script");
        try { script.textContent = "window.hacked = 1"; } catch { window.refused.push("text"); }
        const markup = "<img src=x onerror='window.hacked = 1'>";
        try { document.body.innerHTML += markup; } catch { window.refused.push("html"); }
        """
    )
    shown.wait("return window.refused.length >= 3")
    assert {"text", "html", "require-trusted-types-for"} <= set(shown.run("return window.refused"))
    assert shown.run("return window.hacked") is None
    assert all("Trusted" in entry["message"] for entry in shown.driver.get_log("browser"))


def test_units_of_every_kind_and_a_breach_of_many_lines(shown: Shown) -> None:
    lines = "\n".join(f"line {number} \x1b[31m" for number in range(500))
    unit = Unit(
        "command",
        "make all",
        outcome="failed",
        records=(ran("make", at=1),),
        breaches=(ReportedBreach("too many", lines),),
    )
    shown.open(Document((run(kind="command", command=("make", "all")),), (unit,)))
    item = opened(shown, "make all")
    assert shown.one(".breach pre", item).text.split("\n")[499] == "line 499 \\x1b[31m"
    shown.click(shown.one(".rows .line", item))
    assert "execprobe" in shown.texts(".detail dd")


# ---- what is not simply an exec of a new process ----


def test_a_further_exec_of_a_process_is_drawn_as_one(shown: Shown) -> None:
    shown.open(rich())
    item = opened(shown, TAG)
    commands = [command for _, command in rows(shown, item)]
    assert "→ /usr/bin/python3 -c pass" in commands
    at = commands.index("→ /usr/bin/python3 -c pass")
    assert commands[at - 1] == "/usr/bin/env python3 -c pass"
    pids = [one.text for one in shown.all(".rows .pid", item)]
    assert (pids[at - 1] != "", pids[at]) == (True, "")


def forks() -> Document:
    fork = {"direct": False, "fork": f"4711.{START}", "ppid": 4711}
    tag, push = (ran("git", what, at=at, lasted=1, **fork) for at, what in ((2, "tag"), (4, "push")))
    other = ran("gpg", at=5, lasted=1)
    return Document((run(),), (Unit("test", "test_pool", phases=phases(0), records=(tag, push, other)),))


def test_a_fork_without_an_exec_is_a_line_and_no_exec(shown: Shown) -> None:
    shown.open(forks())
    item = opened(shown, "test_pool")
    assert rows(shown, item) == [
        (1, "python (forked, no exec)"),
        (2, "/usr/bin/git tag"),
        (2, "/usr/bin/git push"),
        (1, "/usr/bin/gpg"),
    ]
    assert shown.one(".note .pid", item).text == "4711"
    assert shown.one("#status").text == "1 of 1, 3 execs"
    shown.click(shown.all(".rows .line", item)[1])
    started = dict(zip(shown.texts(".detail dt"), shown.texts(".detail dd"), strict=True))["started by"]
    assert started == "a fork of the test's own process, which has executed nothing"


def build(number: int) -> Document:
    """A make, and so many gccs, the one in the middle with a failure."""
    make = ran("make", at=1, lasted=80, exit_code=0)
    records = [make]
    for n in range(number):
        code = int(n == number // 2)
        gcc = ran("gcc", f"{n}.c", at=2 + n / number, parent=make, lasted=1, exit_code=code)
        records += [gcc, ran("as", f"{n}.s", at=2 + (n + 0.5) / number, parent=gcc, lasted=1, exit_code=0)]
    return Document((run(),), (Unit("test", "test_build", phases=phases(0), records=tuple(records)),))


def test_alike_siblings_are_folded_until_they_are_asked_for(shown: Shown) -> None:
    shown.open(build(1000))
    item = opened(shown, "test_build")
    folded = rows(shown, item)
    assert [command for _, command in folded[7:]] == [
        "… 996 more like it: gcc, exit 0, 1,992 processes with all below",
        "/usr/bin/gcc 500.c",
        "/usr/bin/as 500.s",
    ]
    note = shown.one("button.note", item)
    assert note.get_attribute("aria-expanded") == "false"
    shown.click(note)
    assert (2, "/usr/bin/gcc 3.c") in rows(shown, item)
    assert shown.one("button.note", item).get_attribute("aria-expanded") == "true"
    assert shown.run("return document.activeElement.matches('button.note')")
    shown.click(shown.one("button.note", item))
    assert rows(shown, item) == folded


def test_what_is_folded_is_found(shown: Shown) -> None:
    shown.open(build(1000))
    item = opened(shown, "test_build")
    shown.search("777.s")
    item = shown.one("#list .unit")
    assert shown.one(".found", item).text.startswith("1 of these fit the search")
    shown.click(shown.all(".found button", item)[1])
    shown.wait("return document.activeElement.textContent.includes('777.s')")
    assert "777.s" in shown.one(".row.match", item).text


def test_arrows_go_over_every_line(shown: Shown) -> None:
    from selenium.webdriver.common.keys import Keys

    shown.open(forks())
    item = opened(shown, "test_pool")
    shown.run("arguments[0].focus()", shown.one(".note", item))
    for expected in ("git tag", "git push", "gpg"):
        shown.driver.switch_to.active_element.send_keys(Keys.ARROW_DOWN)
        assert expected in shown.driver.switch_to.active_element.text
    for _ in range(3):
        shown.driver.switch_to.active_element.send_keys(Keys.ARROW_UP)
    assert "forked, no exec" in shown.driver.switch_to.active_element.text

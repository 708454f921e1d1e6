"""A report in a browser, and what tests ask of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pytest_execprobe.report.forms import write
from pytest_execprobe.report.model import Document

TIMEOUT = 30  # seconds that nothing takes unless it hangs


class Shown:
    """A report in the browser."""

    def __init__(self, driver: Any, folder: Path) -> None:
        self.driver = driver
        self._folder = folder

    def open(self, document: Document, address: str = "") -> None:
        path = self._folder / "report.html"
        write(document, path)
        self.driver.get("about:blank")  # or another address would be only another place of the same page
        self.driver.get(f"file://{quote(str(path))}{address}")

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def all(self, selector: str, within: Any = None) -> list[Any]:
        return (self.driver if within is None else within).find_elements("css selector", selector)

    def one(self, selector: str, within: Any = None) -> Any:
        (found,) = self.all(selector, within)
        return found

    def texts(self, selector: str) -> list[str]:
        """What elements hold, whether or not there is room to show it."""
        return self.run("return [...document.querySelectorAll(arguments[0])].map((one) => one.textContent)", selector)

    def names(self) -> list[str]:
        """Of the units that are rendered."""
        return self.texts("#list .name")

    def wait(self, script: str, *arguments: Any) -> Any:
        """Until a script gives something."""
        from selenium.webdriver.support.wait import WebDriverWait

        return WebDriverWait(self.driver, TIMEOUT, 0.02).until(lambda _: self.run(script, *arguments))

    def search(self, text: str) -> None:
        """Types, and waits until the list has followed."""
        searches = self.searches()
        field = self.one("#q")
        field.clear()
        field.send_keys(text)
        # A search follows the last key; what was cleared or typed before may or may not have had one of its own.
        self.wait(
            "return document.getElementById('q').value === arguments[0]"
            " && performance.getEntriesByName('search').length > arguments[1]"
            " && new URLSearchParams(location.hash.slice(1)).get('q') === arguments[0]",
            text,
            len(searches),
        )

    def choose(self, field: str, label: str) -> None:
        from selenium.webdriver.support.select import Select

        Select(self.one(f"#{field}")).select_by_visible_text(label)

    def click(self, element: Any) -> None:
        self.run("arguments[0].scrollIntoView({ block: 'center' })", element)
        element.click()

    def searches(self) -> list[float]:
        """How long each search took, in milliseconds."""
        return self.run("return performance.getEntriesByName('search').map((entry) => entry.duration)")

    def elements(self) -> int:
        return self.run("return document.getElementsByTagName('*').length")

    def requests(self) -> list[str]:
        """What was asked for since the last time, other than the report, and pages of the browser's own."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        asked = [
            event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"
        ]
        own = (f"file://{self._folder}/report.html", "data:", "chrome://")
        return [url for url in asked if not url.startswith(own)]

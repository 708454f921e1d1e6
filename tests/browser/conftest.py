"""A browser without a window, one for all tests of a module."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from showing import TIMEOUT, Shown

_DRIVER = "/usr/bin/chromedriver"
_ARGUMENTS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"),
    "--window-size=1300,2400",  # high enough for all of a small report
)


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    browser = shutil.which("chromium")
    if browser is None or not Path(_DRIVER).exists():
        pytest.skip("no browser: apt-get install chromium chromium-driver")
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for argument in (*_ARGUMENTS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    made = webdriver.Chrome(options=options, service=webdriver.ChromeService(_DRIVER))
    made.set_script_timeout(TIMEOUT)
    yield made
    made.quit()


@pytest.fixture
def shown(driver: Any, tmp_path: Path) -> Iterator[Shown]:
    """At the end nothing has gone wrong in the page, and nothing was asked of a network."""
    page = Shown(driver, tmp_path)
    page.requests()
    yield page
    assert driver.get_log("browser") == []
    assert page.requests() == []

"""Translates pytest's hooks, and nothing more.

Until a test that uses the fixture is collected, this module is all there is: no hook runs for a test, and nothing else
of the package is imported.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .armed import Armed
    from .log import ExecProbe

_ROUTES = ("auto", "kprobe", "tracepoint", "off")

# name, metavar, help. On the command line --execprobe-NAME, in ini files execprobe_NAME (with _ for -).
_OPTIONS = (
    ("python", "PATH", "interpreter to run the probe helper, one that has the distro's BCC"),
    ("attempts", "|".join(_ROUTES), "how to see failed execs (default auto: kprobe, or tracepoint if tests need it)"),
    ("buffer-pages", "N", "perf buffer per CPU, in pages, a power of two (default 256)"),
    ("timeout", "SECONDS", "how long a read waits for execs still under way, and for the helper (default 10)"),
)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("execprobe", "assertions about spawned programs")
    for name, metavar, text in _OPTIONS:
        # No default here: an option that is not given must not shadow the ini file.
        group.addoption(f"--execprobe-{name}", metavar=metavar, default=None, help=text)
        parser.addini(f"execprobe_{name.replace('-', '_')}", text)


def pytest_configure(config: pytest.Config) -> None:
    attempts = _option(config, "attempts")
    if attempts is not None and attempts not in _ROUTES:
        raise pytest.UsageError(f"--execprobe-attempts is one of {', '.join(_ROUTES)}, not {attempts!r}")
    pages = _option(config, "buffer-pages")
    if pages is not None and (not pages.isdigit() or int(pages) == 0 or int(pages) & (int(pages) - 1)):
        raise pytest.UsageError(f"--execprobe-buffer-pages is a power of two, not {pages!r}")
    timeout = _option(config, "timeout")
    if timeout is not None:
        try:
            if not 0 < float(timeout) <= 3600:
                raise ValueError
        except ValueError:
            raise pytest.UsageError(f"--execprobe-timeout is a number of seconds up to 3600, not {timeout!r}") from None


def pytest_sessionstart(session: pytest.Session) -> None:
    manager = session.config.pluginmanager
    if manager.has_plugin("dsession"):  # an xdist controller: the probes are its workers', and so are the reports
        from .outcome import Outcome

        manager.register(Outcome(), Outcome.__name__)


def pytest_collection_finish(session: pytest.Session) -> None:
    # As early as it is known to be needed: what is spawned before is adopted.
    if any(_uses_probe(item) for item in session.items):
        _armed(session)


@pytest.fixture
def execprobe(request: pytest.FixtureRequest) -> ExecProbe:
    """The log of the programs that this test's process tree executes, with assertions on it.

    On a machine that can't probe, the test is skipped with the reason.
    """
    return _armed(request.session).probe(request.node)


def _armed(session: pytest.Session) -> Armed:
    from .armed import Armed
    from .client import HelperSettings

    config = session.config
    plugin = config.pluginmanager.get_plugin("execprobe-armed")
    if plugin is None:
        pages = _option(config, "buffer-pages")
        settings = HelperSettings(
            python=_option(config, "python"),
            attempts=_attempts(session),
            pages=int(pages) if pages else None,
        )
        plugin = Armed(config, settings, float(_option(config, "timeout") or 10))
        config.pluginmanager.register(plugin, "execprobe-armed")
    assert isinstance(plugin, Armed)
    return plugin


def _uses_probe(item: pytest.Item) -> bool:
    return "execprobe" in getattr(item, "fixturenames", ())


def _attempts(session: pytest.Session) -> str | None:
    """The helper's route to failed execs.

    Without kprobes they cost every system call of the machine something, so then they are seen only where a test reads
    them, which its source or a conftest.py shows. Where that guess is wrong, reading them says so and how to ask for
    them.
    """
    route = _option(session.config, "attempts") or "auto"
    if route == "auto":
        files = {item.path for item in session.items if _uses_probe(item)}
        plugins = (getattr(plugin, "__file__", None) for plugin in session.config.pluginmanager.get_plugins())
        files |= {Path(file) for file in plugins if file and file.endswith("conftest.py")}
        if any(b".attempts" in file.read_bytes() for file in files if file.is_file()):
            return "always"
    return route


def _option(config: pytest.Config, name: str) -> str | None:
    key = f"execprobe_{name.replace('-', '_')}"
    value = config.getoption(key)
    return value if value is not None else config.getini(key) or None

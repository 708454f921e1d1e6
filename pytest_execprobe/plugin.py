"""Translates pytest's hooks, and nothing more.

Until a test needs the probe, or the settings ask for one, this module and ``settings`` are all there is: no hook runs
for a test, and nothing else of the package is imported.
"""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest

from . import hookspecs
from ._util import imports, originals  # the first: those that follow are imported so
from .helper import handshake, walk, wire  # noqa: F401  (they bind what they use when they are imported)
from .rules.markers import MARKERS
from .session.offer import folder_of, take_offer, take_options
from .session.options import add_options
from .session.settings import SETTINGS, Early, Settings, forget_reports, read_settings, runs_none
from .session.suite import denied, ignored_in_vain, unread
from .source import children

if TYPE_CHECKING:
    from .log.probe import ExecProbe
    from .session.early import EarlyRun
    from .session.marks import Markers
    from .session.phases import Phases
    from .session.reporting import Reporting
    from .source.connect import HelperSettings

children.look()  # before conftests and other plugins can start anything

_SHARED = pytest.StashKey[str]()  # an xdist controller's secret: its workers find one helper by it
_MARKERS = pytest.StashKey["Markers"]()
_EARLY: pytest.StashKey[EarlyRun] = pytest.StashKey()
_sessions: list[pytest.Session] = []  # the innermost last: a test may run pytest itself
#: What a run that probes needs besides, the first of it with the modules that it needs itself, and so on.
_REST = (
    *("source.client", "timeline.evidence", "log.patterns", "baseline.model", "timeline.timeline", "session.early"),
    *("rules.judge", "rules.text", "session.collected", "session.reporting", "session.run", "session.phases"),
)
_WORKER = "EXECPROBE_XDIST_SECRET"  # of an xdist worker's environment, until it has been read: the controller's secret


def pytest_addoption(parser: pytest.Parser) -> None:
    add_options(parser)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    pluginmanager.add_hookspecs(hookspecs)


def pytest_configure(config: pytest.Config) -> None:
    imports.end()  # where it is a conftest that has loaded this
    _configure(config)


@imports.by_python()
def _configure(config: pytest.Config) -> None:
    for signature, meaning in MARKERS.values():
        config.addinivalue_line("markers", f"{signature}: {meaning}")
    take_options(config)
    settings = read_settings(config)
    if _EARLY in config.stash:  # conftests could have changed that since
        settings = replace(settings, start=config.stash[_EARLY].settings.start)
    config.stash[SETTINGS] = settings
    _redact(config, settings)


def _redact(config: pytest.Config, settings: Settings) -> None:
    """Until the end of this run, which can be one within another. Where nothing is set, the module need not be there
    yet."""
    if settings.redaction is not None or f"{__package__}._util.redaction" in sys.modules:
        from ._util.redaction import DEFAULT, put_in_force

        before = put_in_force(settings.redaction or DEFAULT)

        def restore() -> None:
            put_in_force(before)

        config.add_cleanup(restore)


# ---- when to probe ----


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """What conftests run is recorded, too, where the whole run is to be."""
    try:
        _begin(early_config)
    finally:
        imports.end()  # conftests come next


def _begin(early_config: pytest.Config) -> None:
    secret = originals.environ.pop(_WORKER, None)
    early = Early(early_config)
    take_offer(early)
    if folder_of(early_config) is None:  # else they are another's
        forget_reports(early_config)
    if early.runs_nothing or (secret is None and early.distributes):
        return  # at the session's start it is known for certain
    settings = read_settings(early.as_config())
    if not _probes_all(settings):
        return
    _redact(early_config, settings)
    from .session.attempts import route

    attempts = route(early.as_config(), settings.attempts, None)
    armed = _early_run(settings, _helper_of(settings, attempts, secret), is_worker=secret is not None)
    early_config.stash[_EARLY] = armed
    early_config.add_cleanup(armed.close)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    config = session.config
    _sessions.append(session)
    config.add_cleanup(lambda: _sessions.remove(session))
    settings = config.stash[SETTINGS]
    if runs_none(config):
        if settings.reports and not hasattr(config, "workerinput"):
            _reporting(config)  # so that a report says so, and none of an earlier run is taken for this one's
        return
    probes = _probes_all(settings)
    if _is_controller(config):  # the probes are its workers'
        if _EARLY in config.stash:
            config.stash[_EARLY].close()
        reporting = _reporting(config)
        if probes:
            reporting.hold(_helper_settings(config, _attempts(session)))
    elif probes:
        _armed(session).begin_collection()


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    """Of two texts pytest shows more than their ``repr()``."""
    command = sys.modules.get(f"{__package__}.source.command")
    if command is None or not isinstance(left, str) or not isinstance(right, str):
        return None
    return [f"{left!r} {op} {right!r}"] if any(isinstance(text, command.Argument) for text in (left, right)) else None


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """xdist: in the controller, for each worker."""
    settings = node.config.stash[SETTINGS]
    secret = node.workerinput["execprobe_shared"] = _shared_secret(node.config)
    if _probes_all(settings) and node.gateway.spec.popen:
        # What it gets otherwise comes when it has loaded its conftests.
        node.gateway.remote_exec(f"import os; os.environ[{_WORKER!r}] = {secret!r}").waitclose()
    node.workerinput["execprobe_folders"] = settings.folders and settings.folders.export()
    node.workerinput["execprobe_invocation"] = settings.invocation and settings.invocation.export()


@pytest.hookimpl(tryfirst=True)  # before the terminal asks what there is to say
def pytest_collection_finish(session: pytest.Session) -> None:
    config = session.config
    if runs_none(config) or _is_controller(config):
        return
    if "pyfakefs" in sys.modules:  # what is first imported while a test has its file system, it removes when that ends
        list(_import_the_rest())
    settings = config.stash[SETTINGS]
    # As early as it is known to be needed: what is spawned before is adopted.
    if settings.whole_run or any(map(_uses_probe, session.items)) or _any_marked(session.items):
        _armed(session).end_collection()


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """No mark that was added while tests ran, in a run that had no reason to probe, passes without a word."""
    imports.begin()  # tests are over
    config = session.config
    if config.pluginmanager.has_plugin("execprobe-armed") or runs_none(config) or _is_controller(config):
        return
    marked = [item for item in getattr(session, "items", ()) if _any_marked([item])]
    if marked:
        from .session.reporting import EXPORTED
        from .session.totals import LateBreach, Totals

        why = "they were marked while tests ran, in a run without a probe: --execprobe-audit brings one"
        totals = Totals(not_checked={item.nodeid: why for item in marked})
        for item in marked:
            if any(mark.name == "exec_deny" and mark.kwargs.get("enforce") for mark in item.iter_markers()):
                headline = "cannot enforce what is denied: there was no probe"
                text = f"{headline}\n  why   {why.replace('they were', 'it was')}"
                totals.breaches.append(LateBreach(item.nodeid, item.location, headline, text, undecided=True))
        if hasattr(config, "workeroutput"):
            config.workeroutput[EXPORTED] = totals.export()
        else:
            is_new = not config.pluginmanager.has_plugin("execprobe-reporting")
            reporting = _reporting(config)
            reporting.totals.take(totals.export())
            if is_new:  # it hears of no hook that is being called already
                reporting.pytest_sessionfinish(session)


@pytest.fixture
def execprobe() -> ExecProbe:
    """The log of the programs that this test's process tree executes, with assertions on it.

    On a machine that can't probe, the test is skipped with the reason.
    """
    # Not by ``request``, which takes pytest longer to make than all the rest.
    return _armed(_sessions[-1]).probe(_sessions[-1])


def _armed(session: pytest.Session) -> Phases:
    plugin: Phases | None = session.config.pluginmanager.get_plugin("execprobe-armed")
    return plugin or _arm(session)


@imports.by_python()
def _arm(session: pytest.Session) -> Phases:
    config, is_worker = session.config, hasattr(session.config, "workerinput")
    settings, early = config.stash[SETTINGS], config.stash.get(_EARLY, None)
    helper = _helper_settings(config, _attempts(session))
    if early is None and settings.mode != "off":
        early = _early_run(settings, helper, is_worker=is_worker, collects=False)
    from .session.phases import Phases
    from .session.run import ProbedRun

    reporting = None if is_worker else _reporting(config)
    run = ProbedRun(config, settings, helper, _markers(config), reporting, early)
    if folder_of(config) is not None:
        run.strays.hand_over(reporting.handover)  # type: ignore[union-attr]
    plugin = Phases(run, early)
    config.pluginmanager.register(plugin, "execprobe-armed")
    return plugin


@imports.by_python()
def _early_run(settings: Settings, helper: HelperSettings, *, is_worker: bool, collects: bool = True) -> EarlyRun:
    """While the helper starts, what the run needs besides is imported: that takes less time."""
    from .source.connect import start_first_helper

    first = start_first_helper(replace(helper, meanwhile=_import_the_rest))
    from .session.early import EarlyRun

    return EarlyRun(settings, helper, first, is_worker=is_worker, collects=collects)


def _import_the_rest() -> Iterator[bool]:
    """In pieces, each of which takes a few milliseconds: between them the helper is let in, which waits for that."""
    for name in _REST:
        import_module(f"{__package__}.{name}")
        yield True


@imports.by_python()
def _reporting(config: pytest.Config) -> Reporting:
    from .session.reporting import Reporting
    from .session.statuses import Logged

    plugin = config.pluginmanager.get_plugin("execprobe-reporting")
    if plugin is None:
        folder = folder_of(config)
        if folder is None:
            plugin = Reporting(config, config.stash[SETTINGS])
        else:
            from .session.inner import Inner

            plugin = Inner(config, config.stash[SETTINGS], folder)
        config.pluginmanager.register(plugin, "execprobe-reporting")
        config.pluginmanager.register(Logged(plugin.take_report), "execprobe-logged")
    assert isinstance(plugin, Reporting)
    return plugin


def _markers(config: pytest.Config) -> Markers:
    from .session.marks import Markers

    if _MARKERS not in config.stash:
        config.stash[_MARKERS] = Markers(config.invocation_params.dir, enforce=config.stash[SETTINGS].enforce)
    return config.stash[_MARKERS]


def _helper_settings(config: pytest.Config, attempts: str) -> HelperSettings:
    given = getattr(config, "workerinput", {}).get("execprobe_shared")
    shared = _shared_secret(config) if _is_controller(config) else given
    return _helper_of(config.stash[SETTINGS], attempts, shared)


def _helper_of(settings: Settings, attempts: str, shared: str | None) -> HelperSettings:
    from .source.connect import HelperSettings

    return HelperSettings(
        python=settings.python,
        attempts=attempts,
        pages=settings.pages,
        shared=shared,
        address=settings.helper,
        backend=settings.backend,
        untraced=settings.untraced,
        environment=settings.start.environment,
    )


def _shared_secret(config: pytest.Config) -> str:
    from .source.meeting import new_secret

    return config.stash.setdefault(_SHARED, new_secret())


def _probes_all(settings: Settings) -> bool:
    return settings.mode != "off" and (settings.mode == "require" or settings.whole_run)


def _is_controller(config: pytest.Config) -> bool:
    return config.pluginmanager.has_plugin("dsession")


def _uses_probe(item: pytest.Item) -> bool:
    return "execprobe" in getattr(item, "fixturenames", ())


def _any_marked(items: list[pytest.Item]) -> bool:
    above: dict[int, bool] = {}  # looked at once, because every run where the plugin is installed comes here

    def marked(node: pytest.Item | pytest.Collector) -> bool:
        return any(mark.name in MARKERS for mark in node.own_markers) or parent_marked(node)

    def parent_marked(node: pytest.Item | pytest.Collector) -> bool:
        if node.parent is None:
            return False
        if id(node.parent) not in above:
            above[id(node.parent)] = marked(node.parent)
        return above[id(node.parent)]

    return any(map(marked, items))


def _attempts(session: pytest.Session) -> str:
    from .session.attempts import route

    collected = getattr(session, "items", None)  # None, or none, before the collection
    using = [item for item in collected if _uses_probe(item)] if collected else None
    return route(session.config, session.config.stash[SETTINGS].attempts, using)


# ---- markers are checked when they are collected ----


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if report.passed:
        wrong = dict.fromkeys([*unread(collector, report.result), *_wrong_markers(collector, report.result)])
        if wrong:
            report.outcome = "failed"
            report.longrepr = "\n".join(wrong)
            report.result = []
    return report


def _wrong_markers(collector: pytest.Collector, result: list[pytest.Item | pytest.Collector]) -> Iterator[str]:
    marked = [node for node in (collector, *result) if any(mark.name in MARKERS for mark in node.own_markers)]
    if marked:
        from .rules.rule import RuleError

        settings = collector.config.stash[SETTINGS]
        ignore = [*zip(settings.ignore, settings.ignore_spelt, strict=True)]
        for node in marked:
            try:
                levels = _markers(collector.config).levels(node)
            except RuleError as error:
                yield str(error)
            else:
                yield from ignored_in_vain(denied(rule for rules in levels for rule in rules), ignore)


# ---- the header ----


def pytest_report_header(config: pytest.Config) -> str | None:
    return _introduction(config)


def pytest_report_collectionfinish(config: pytest.Config) -> str | None:
    return None if config.option.no_header or config.get_verbosity() < 0 else _introduction(config)


def _introduction(config: pytest.Config) -> str | None:
    """What the probe is, once, as soon as it is known."""
    plugin: Reporting | None = config.pluginmanager.get_plugin("execprobe-reporting")
    return None if plugin is None else plugin.introduce()

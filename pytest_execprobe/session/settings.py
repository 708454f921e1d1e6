"""What users can set: options, ini values, and the names of the markers. Options are read and checked once."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import pytest

from .._util import clock, originals
from . import options
from .options import absolute, blamed_for, choice, flag, given, in_file, number, option_named, single, spelling, wrong
from .suite import denied, denied_by, ignored_in_vain, patterns_of, suite_rules

if TYPE_CHECKING:
    from .._util.names import Folders
    from .._util.redaction import Redaction
    from ..baseline.model import Baseline
    from ..log.pattern import Pattern
    from ..rules.rule import Rule
    from .invocation import Invocation

Mode = Literal["auto", "require", "off"]


@dataclass(frozen=True)
class Start:
    """How pytest was started. It is read when pytest is configured: tests can change all of it."""

    command: tuple[str, ...] = field(default_factory=lambda: tuple(sys.argv))
    environment: Mapping[str, str] = field(default_factory=lambda: dict(originals.environ), repr=False)
    #: Wall clock, ISO 8601 in UTC; and ns of CLOCK_MONOTONIC.
    started: str = field(default_factory=originals.utc_now)
    start_ns: int = field(default_factory=clock.monotonic_ns)


@dataclass(frozen=True)
class Settings:
    """What the user has set."""

    mode: Mode = "auto"
    audit: bool = False
    command_line: tuple[Rule, ...] = ()
    ini: tuple[Rule, ...] = ()
    #: Whether every rule that denies is enforced.
    enforce: bool = False
    session_budget: int | None = None
    baseline: Baseline | None = None
    #: How the baseline is to be rewritten, if it is: all of what has changed, or only what is more.
    update: Literal["all", "add"] | None = None
    reports: tuple[Path, ...] = ()
    variant: str = ""
    #: What has signs in the names that baselines and reports have for tests; None if there is neither.
    folders: Folders | None = None
    ignore: tuple[Pattern, ...] = ()
    #: Each of them as the user has set it.
    ignore_spelt: tuple[str, ...] = ()
    #: What of command lines is hidden where they are shown; None where nothing is set.
    redaction: Redaction | None = None
    helper: str | None = None
    backend: str = "auto"
    untraced: tuple[str, ...] = ()
    python: str | None = None
    attempts: str = "auto"
    pages: int | None = None
    timeout: float = 10.0
    #: The file in which pytest is configured, and its section there.
    configured_in: tuple[str, str] = ("pytest.ini", "[pytest]")
    start: Start = field(default_factory=Start, compare=False)
    #: How pytest was called; None where there is no baseline, whose summary alone says how to call it again.
    invocation: Invocation | None = None

    @property
    def whole_run(self) -> bool:
        """Whether every test is recorded, and what runs around them."""
        asked = self.audit or self.session_budget is not None or self.baseline is not None
        return asked or bool(self.reports or self.rules)

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Those for the whole suite."""
        return (*self.command_line, *self.ini)

    @property
    def enforced(self) -> frozenset[str]:
        """What they have killed before it runs, also around tests."""
        return frozenset(pattern.text for rule in self.rules if rule.enforce for pattern in rule.patterns)

    @property
    def allows(self) -> bool:
        """Whether a rule for the whole suite says what may run."""
        return any(rule.kind == "allow" for rule in self.rules)

    @property
    def sums_up(self) -> bool:
        """Whether the run is summed up."""
        return self.audit or self.session_budget is not None

    @property
    def gathers(self) -> bool:
        """Whether every record is kept until the end of the run."""
        return bool(self.reports or (self.baseline is not None and self.baseline.sums))


def runs_none(config: pytest.Config) -> str | None:
    """The option because of which no test is run, if there is one. Where pytest's plugin for Python is left out
    (``-p no:python``) not all of them need be there: in pytest 8.0 those of fixtures are not."""
    options = {"collectonly": "--collect-only", "showfixtures": "--fixtures"}
    options["show_fixtures_per_test"] = "--fixtures-per-test"
    return next((flag for name, flag in options.items() if getattr(config.option, name, False)), None)


def sets_up_only(config: pytest.Config) -> bool:
    """Whether no test is called; --setup-plan sets this, too."""
    return bool(config.getoption("setuponly", False))


class Early:
    """A config whose conftests are still to be loaded: what the command line says is known, as far as it is without
    the options that these add."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self.option = config.known_args_namespace

    def __getattr__(self, name: str) -> Any:
        return getattr(self._config, name)

    def as_config(self) -> pytest.Config:
        return cast(pytest.Config, self)

    def getoption(self, name: str, default: object = None) -> Any:
        return getattr(self.option, name, default)

    @property
    def args(self) -> list[str]:
        """Where tests are to be collected."""
        root, here = self._config.rootpath, self._config.invocation_params.dir
        tests = self._config.getini("testpaths") if root == here else ()
        found = [str(path) for pattern in tests for path in root.glob(pattern)]
        return self.option.file_or_dir or found or [str(here)]

    @property
    def runs_nothing(self) -> bool:
        """Whether pytest will say something and end, or run no test."""
        says = ("help", "version", "markers", "cacheshow")
        return any(getattr(self.option, name, False) for name in says) or bool(runs_none(self.as_config()))

    @property
    def calls_none(self) -> bool:
        """Whether tests are set up at the most."""
        return self.runs_nothing or any(getattr(self.option, name, False) for name in ("setuponly", "setupplan"))

    @property
    def distributes(self) -> bool:
        """Whether this looks like an xdist controller; it need not become one."""
        tx, processes = getattr(self.option, "tx", None), getattr(self.option, "numprocesses", None)
        return bool(tx or processes) or getattr(self.option, "dist", "no") != "no"


#: Where a run's settings are, from pytest_configure on.
SETTINGS = pytest.StashKey[Settings]()


def read_settings(config: pytest.Config) -> Settings:
    """Raises pytest.UsageError for a wrong value, with those that are right."""
    mode = choice(config, "", options.MODES)
    command_line = tuple(suite_rules(config, from_ini=False))
    ini = tuple(suite_rules(config, from_ini=True))
    ignore = tuple(
        (pattern, f"{spelling(config, 'ignore', from_ini)}={pattern}")
        for from_ini in (False, True)
        for pattern in patterns_of(config, "ignore", given(config, "ignore", from_ini) or (), from_ini)
    )
    session_budget = number(config, "session-budget")
    update: Literal["all", "add"] | None = "all" if flag(config, "update") else None
    if flag(config, "update-add"):
        update = "add"
    baseline = _baseline(config, update)
    forbidden = [*denied((*command_line, *ini)), *(denied_by(baseline) if baseline is not None else ())]
    for why in ignored_in_vain(forbidden, ignore):
        raise pytest.UsageError(why)
    reports = _reports(config, baseline)
    enforce = _enforce(config, mode)
    if mode is None:
        required = enforce or command_line or ini or session_budget is not None or baseline is not None
        mode = "require" if required else "auto"
    backend, attempts = choice(config, "backend", options.BACKENDS), choice(config, "attempts", options.ROUTES)
    return Settings(
        mode=mode,  # type: ignore[arg-type]
        audit=flag(config, "audit"),
        command_line=command_line,
        ini=ini,
        enforce=enforce,
        session_budget=session_budget,
        baseline=baseline,
        update=update,
        reports=reports,
        variant=single(config, "variant") or "",
        folders=_folders(config) if reports or baseline is not None else None,
        ignore=tuple(pattern for pattern, _ in ignore),
        ignore_spelt=tuple(spelt for _, spelt in ignore),
        redaction=_redaction(config),
        helper=_named_or_path(config, "helper", lambda address: not address.startswith("@")),
        backend=backend or "auto",
        untraced=_untraced(config, filtered=backend == "ptrace" and attempts == "seccomp"),
        python=_named_or_path(config, "python", lambda python: "/" in python),  # else looked for in PATH
        attempts=attempts or "auto",
        pages=_pages(config),
        timeout=_timeout(config),
        configured_in=_configured_in(config),
        invocation=None if baseline is None else _invocation(config),
    )


# ---- single values ----


def _enforce(config: pytest.Config, mode: str | None) -> bool:
    if flag(config, "enforce") and mode == "off":
        raise pytest.UsageError(
            f"{blamed_for(config, 'enforce')} has programs killed before they run, and with"
            f" {spelling(config, '')}=off there is nothing that could: take one of them out"
        )
    return flag(config, "enforce")


def _configured_in(config: pytest.Config) -> tuple[str, str]:
    """The file in which pytest is configured, and its section there, as an audit names them."""
    if config.inipath is None or not flag(config, "audit"):
        return Settings.configured_in
    from ..rules.configured import section_of

    text = originals.read_bytes(config.inipath).decode(errors="replace")
    return options.file_of(config), section_of(config.inipath.name, text)


def _named_or_path(config: pytest.Config, name: str, is_path: Callable[[str], bool]) -> str | None:
    """A value that can be a name as well as a path."""
    value = single(config, name)
    if value is None or not is_path(value):
        return value
    return str(absolute(config, value, from_ini=config.getoption(option_named(name).key) is None))


def _redaction(config: pytest.Config) -> Redaction | None:
    """A ``none`` on the command line takes back what the ini file has, and what else is on the command line a ``none``
    in that."""
    values: list[str] = []
    for from_ini in (True, False):
        those = given(config, "redact", from_ini) or []
        if those:
            from .._util.redaction import compile_redaction

            try:
                compile_redaction(those)
            except ValueError as error:
                raise pytest.UsageError(f"{blamed_for(config, 'redact', from_ini)}: {error}") from None
            values = those if "none" in (*values, *those) else [*values, *those]
    return compile_redaction(values) if values else None


# ---- baseline and reports ----


def _baseline(config: pytest.Config, update: str | None) -> Baseline | None:
    value = single(config, "baseline")
    if not value:  # an empty one on the command line takes back the ini file's
        if update is not None:
            raise pytest.UsageError(
                "--execprobe-update needs to know what to write: name it, --execprobe-baseline=PATH"
            )
        if value is None and in_file(config, option_named("baseline")) == [""]:
            raise pytest.UsageError(
                f"{blamed_for(config, 'baseline')} names no file: name one, or take the line out; --execprobe-baseline="
                " takes it back for one run"
            )
        return None
    from ..baseline.model import Baseline
    from ..baseline.read import BaselineError, read_baseline

    path = absolute(config, value, from_ini=config.getoption(option_named("baseline").key) is None)
    if update is not None:
        if find_spec("tomlkit") is None:
            raise pytest.UsageError("--execprobe-update needs tomlkit: pip install 'pytest-execprobe[baseline]'")
        if not originals.exists(path):
            return Baseline(path)
    try:
        baseline = read_baseline(path)
    except BaselineError as error:
        raise pytest.UsageError(f"{blamed_for(config, 'baseline')}: {error}") from None
    if baseline.limits_nothing and update is None:
        raise pytest.UsageError(
            f"{blamed_for(config, 'baseline')}: {path} limits nothing: it has no tables of tests, fixtures, packages or"
            " the total. A run with --execprobe-update writes them"
        )
    return baseline


def _invocation(config: pytest.Config) -> Invocation:
    from .invocation import Invocation

    return Invocation.of(config)


def forget_reports(config: pytest.Config) -> None:
    """Removes the reports of earlier runs, before anything can end this one: a wrong option, a conftest.py that can't
    be imported, a signal. None is to be taken for this run's. ``config`` is as it is before options are checked."""
    given = config.known_args_namespace
    if any(getattr(given, name, False) for name in ("help", "version", "markers")):
        return  # no run
    for from_ini in (False, True):
        with contextlib.suppress(ValueError, TypeError, pytest.UsageError):  # raised when the settings are read
            key = option_named("report").key
            for value in (config.getini(key) if from_ini else getattr(given, key, None)) or ():
                from ..files import remove_file
                from ..report.forms import form_of

                form_of(Path(value))
                path = absolute(config, value, from_ini=from_ini)
                if originals.realpath(path) in options.files_named(config, "baseline"):
                    continue  # refused when the settings are read
                with contextlib.suppress(OSError):  # whether it can be written is reported later
                    remove_file(path)


def _reports(config: pytest.Config, baseline: Baseline | None) -> tuple[Path, ...]:
    paths = []
    for from_ini in (False, True):
        for value in given(config, "report", from_ini) or ():
            from ..report.forms import FormUnavailable, check_available, form_of

            try:
                check_available(form_of(Path(value)))
            except (ValueError, FormUnavailable) as error:
                raise pytest.UsageError(f"{blamed_for(config, 'report', from_ini)}: {error}") from None
            paths.append(absolute(config, value, from_ini=from_ini))
            if baseline is not None and originals.realpath(paths[-1]) == originals.realpath(baseline.path):
                raise pytest.UsageError(
                    f"{blamed_for(config, 'report', from_ini)}: {value} is the baseline, which the report would"
                    " replace: name another file"
                )
    return tuple(paths)


def _folders(config: pytest.Config) -> Folders:
    """Those of now, before a test can change the environment; of an xdist worker those of its controller."""
    from .._util.names import Folders

    given = options.given_by_another(config).get("execprobe_folders")
    grouped = getattr(config.option, "dist", "no") == "loadgroup"
    return Folders.here(grouped=grouped) if given is None else Folders(*given)


def _untraced(config: pytest.Config, *, filtered: bool) -> tuple[str, ...]:
    patterns: list[str] = []
    for from_ini in (False, True):
        for value in given(config, "untraced", from_ini) or ():
            from ..source.tracing import untraced_pattern

            try:
                patterns.append(untraced_pattern(value, patterns))
            except ValueError as error:
                raise pytest.UsageError(f"{blamed_for(config, 'untraced', from_ini)}: {error}, not {value!r}") from None
    if patterns and filtered:
        raise pytest.UsageError(
            "--execprobe-untraced and --execprobe-attempts=seccomp exclude each other under ptrace, where what has the"
            " filter and is not traced can execute nothing: leave one of them out"
        )
    return tuple(patterns)


def _pages(config: pytest.Config) -> int | None:
    value = single(config, "buffer-pages")
    if value is None:
        return None
    if not value.isdecimal() or int(value) == 0 or int(value) & (int(value) - 1):
        raise wrong(config, "buffer-pages", value)
    return int(value)


def _timeout(config: pytest.Config) -> float:
    value = single(config, "timeout")
    if value is None:
        return 10.0
    try:
        seconds = float(value)
    except ValueError:
        seconds = 0
    if not 0 < seconds <= 3600:
        raise wrong(config, "timeout", value)
    return seconds

"""What users can set: options, ini values, and the names of the markers. Options are read and checked once."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import pytest

from .._util import clock, originals

if TYPE_CHECKING:
    from .._util.names import Folders
    from ..baseline.model import Baseline
    from ..log.patterns import Pattern
    from ..rules.rule import Rule
    from .invocation import Invocation

Mode = Literal["auto", "require", "off"]

_MODES = ("auto", "require", "off")
_ROUTES = ("auto", "kprobe", "tracepoint", "off")
_TRUE, _FALSE = ("true", "yes", "on", "1", "t", "y"), ("false", "no", "off", "0", "f", "n")  # as pytest has them


@dataclass(frozen=True)
class _Option:
    """``--execprobe-NAME`` on the command line, ``execprobe_NAME`` (with _ for -) in ini files."""

    name: str
    metavar: str | None  # None: a flag
    accepts: str  #: its values, in words that follow "is"
    help: str
    repeatable: bool = False
    in_ini: bool = True

    @property
    def key(self) -> str:
        return "execprobe" + (f"_{self.name.replace('-', '_')}" if self.name else "")

    @property
    def flag(self) -> str:
        return "--execprobe" + (f"-{self.name}" if self.name else "")


_FLAG = "true or false"
_PATTERNS = "one pattern or several"
_COUNT = "a whole number from 0 on"
_OPTIONS = (
    _Option(
        "",
        "|".join(_MODES),
        f"one of {', '.join(_MODES)}",
        "where probing is impossible: skip what needs it, stop the run, or never probe",
    ),
    _Option("audit", None, _FLAG, "record every test and the collection, and sum up what ran"),
    _Option("allow", "PATTERN", _PATTERNS, "no test may run anything but these in its call", repeatable=True),
    _Option("deny", "PATTERN", _PATTERNS, "none of these may run, in tests or around them", repeatable=True),
    _Option("budget", "N", _COUNT, "at most so many execs in each test's call"),
    _Option("session-budget", "N", _COUNT, "at most so many execs in the whole run"),
    _Option(
        "baseline",
        "PATH",
        "the path of a file",
        "a committed file of exec budgets, by test: nothing may run that it does not have",
    ),
    _Option("update", None, _FLAG, "write the baseline anew from what this run executes", in_ini=False),
    _Option("update-add", None, _FLAG, "as --execprobe-update, but lower and remove nothing", in_ini=False),
    _Option(
        "report",
        "PATH",
        "the path of a file or several",
        "write what ran: .json, .html, .md or .trace.json, by the ending",
        repeatable=True,
    ),
    _Option(
        "variant",
        "NAME",
        "a name",
        "what a report's run is of a matrix, besides its Python and system: django-4.2",
        in_ini=False,
    ),
    _Option(
        "ignore",
        "PATTERN",
        _PATTERNS,
        "programs that no log, rule or count sees; the summary lists them",
        repeatable=True,
    ),
    _Option(
        "helper",
        "ADDRESS",
        "the path of a socket, or @NAME",
        "use a probe helper that is running: the path of its socket, or @NAME",
    ),
    _Option(
        "python",
        "PATH",
        "the path of an interpreter",
        "interpreter to run the probe helper, one that has the distro's BCC",
    ),
    _Option(
        "attempts",
        "|".join(_ROUTES),
        f"one of {', '.join(_ROUTES)}",
        "how to see failed execs (default auto: kprobe, or tracepoint if needed)",
    ),
    _Option("buffer-pages", "N", "a power of two", "perf buffer per CPU, in pages, a power of two (default 512)"),
    _Option(
        "timeout",
        "SECONDS",
        "a number of seconds up to 3600",
        "how long a read waits for execs still under way, and for the helper (default 10)",
    ),
)


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
    session_budget: int | None = None
    baseline: Baseline | None = None
    #: How the baseline is to be written anew, if it is: all of what has changed, or only what is more.
    update: Literal["all", "add"] | None = None
    reports: tuple[Path, ...] = ()
    variant: str = ""
    #: What has signs in the names that baselines and reports have for tests; None if there is neither.
    folders: Folders | None = None
    ignore: tuple[Pattern, ...] = ()
    #: Each of them as the user has set it.
    ignore_spelt: tuple[str, ...] = ()
    helper: str | None = None
    python: str | None = None
    attempts: str = "auto"
    pages: int | None = None
    timeout: float = 10.0
    start: Start = field(default_factory=Start, compare=False)
    #: How pytest was called; None where there is no baseline, whose summary alone says how to call it again.
    invocation: Invocation | None = None

    @property
    def whole_run(self) -> bool:
        """Whether every test is recorded, and what runs around them."""
        asked = self.audit or self.session_budget is not None or self.baseline is not None
        return asked or bool(self.reports or self.command_line or self.ini)

    @property
    def accounts(self) -> bool:
        """Whether the run is summed up."""
        return self.audit or self.session_budget is not None

    @property
    def gathers(self) -> bool:
        """Whether every record is kept until the end of the run."""
        return bool(self.reports or (self.baseline is not None and self.baseline.sums))


def runs_none(config: pytest.Config) -> str | None:
    """The option because of which no test is run, if there is one."""
    options = {"collectonly": "--collect-only", "showfixtures": "--fixtures"}
    options["show_fixtures_per_test"] = "--fixtures-per-test"
    return next((flag for name, flag in options.items() if getattr(config.option, name)), None)


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
        return any(getattr(self.option, name, False) for name in says) or runs_none(self.as_config()) is not None

    @property
    def distributes(self) -> bool:
        """Whether this looks like an xdist controller; it need not become one."""
        tx, processes = getattr(self.option, "tx", None), getattr(self.option, "numprocesses", None)
        return bool(tx or processes) or getattr(self.option, "dist", "no") != "no"


#: Where a run's settings are, from pytest_configure on.
SETTINGS = pytest.StashKey[Settings]()


def add_options(parser: pytest.Parser) -> None:
    group = parser.getgroup("execprobe", "assertions about spawned programs")
    for option in _OPTIONS:
        # No default anywhere here: an option that is not given must not shadow the ini file.
        if option.metavar is None:
            group.addoption(option.flag, dest=option.key, action="store_true", default=None, help=option.help)
        else:
            action = "append" if option.repeatable else "store"
            group.addoption(
                option.flag, dest=option.key, action=action, metavar=option.metavar, default=None, help=option.help
            )
        if not option.in_ini:
            continue
        kind: Literal["linelist", "string"] = "linelist" if option.repeatable else "string"
        # Without a default, what is not there can be told from what is empty.
        parser.addini(option.key, option.help, type=kind, default=None)


def read_settings(config: pytest.Config) -> Settings:
    """Raises pytest.UsageError for a wrong value, with those that are right."""
    mode = _choice(config, "", _MODES)
    command_line = tuple(_suite_rules(config, from_ini=False))
    ini = tuple(_suite_rules(config, from_ini=True))
    ignore = tuple(
        (pattern, f"{_spelt(config, 'ignore', from_ini)}={pattern}")
        for from_ini in (False, True)
        for pattern in _patterns(config, "ignore", _given(config, "ignore", from_ini) or (), from_ini)
    )
    session_budget = _number(config, "session-budget")
    update = _update(config)
    baseline = _baseline(config, update)
    forbidden = [*denied((*command_line, *ini)), *(_denied_by(baseline) if baseline is not None else ())]
    for why in ignored_in_vain(forbidden, ignore):
        raise pytest.UsageError(why)
    reports = _reports(config)
    if mode is None:
        required = command_line or ini or session_budget is not None or baseline is not None
        mode = "require" if required else "auto"
    return Settings(
        mode=mode,  # type: ignore[arg-type]
        audit=_flag(config, "audit"),
        command_line=command_line,
        ini=ini,
        session_budget=session_budget,
        baseline=baseline,
        update=update,
        reports=reports,
        variant=_single(config, "variant") or "",
        folders=_folders(config) if reports or baseline is not None else None,
        ignore=tuple(pattern for pattern, _ in ignore),
        ignore_spelt=tuple(spelt for _, spelt in ignore),
        helper=_address(config),
        python=_python(config),
        attempts=_choice(config, "attempts", _ROUTES) or "auto",
        pages=_pages(config),
        timeout=_timeout(config),
        invocation=None if baseline is None else _invocation(config),
    )


# ---- rules for the whole suite ----


def _suite_rules(config: pytest.Config, from_ini: bool) -> Iterable[Rule]:
    for name, marker in (("budget", "exec_budget"), ("allow", "exec_allow"), ("deny", "exec_deny")):
        values = _given(config, name, from_ini)
        if values is None:
            continue
        from ..rules.rule import RuleError, make_rule

        spelt, blamed = _spelt(config, name, from_ini), _blamed(config, name, from_ini)
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        if name == "allow" and values == ([] if from_ini else [""]):
            marker, values, kwargs = "exec_none", [""], {"phases": ("call",)}
        else:
            _refuse_empty(name, values, blamed)
            number = _whole(config, name, values[-1], from_ini) if name == "budget" else None
            args = [*_patterns(config, name, values, from_ini)] if number is None else [number]
        try:
            rule = make_rule(marker, args, kwargs, "")
        except RuleError as error:  # pragma: no cover - its parts were checked
            raise pytest.UsageError(f"{blamed}: {error}") from None
        yield _renamed(rule, " ".join(f"{spelt}={value}" for value in values), _where(config, from_ini))


def _refuse_empty(name: str, values: list[str], blamed: str) -> None:
    """No rule limits nothing without a word."""
    if not values:
        raise pytest.UsageError(f"{blamed} is empty, and forbids nothing: name a program, or take the line out")
    if name == "allow" and "" in values:
        raise pytest.UsageError(f"{blamed}: an empty pattern allows nothing, and so stands alone: leave out the others")


def ignored_in_vain(forbidden: Iterable[tuple[Pattern, str]], ignore: Iterable[tuple[Pattern, str]]) -> Iterator[str]:
    """What is ignored is in no log, so that no rule can forbid it. Told of names, which can be compared. With each
    pattern where it is forbidden, or how it is spelt."""
    from fnmatch import fnmatchcase

    for pattern, where in forbidden:
        for other, spelt in ignore:
            covered = pattern.name is not None and fnmatchcase(pattern.name, other.text.removeprefix("subtree:"))
            if covered or pattern.text == other.text:
                yield (
                    f"{pattern} is forbidden {where}, and {spelt} has it ignored, so that nothing forbids it: take one"
                    " of them out"
                )


def denied(rules: Iterable[Rule]) -> Iterator[tuple[Pattern, str]]:
    """What rules forbid by name or pattern, and where they stand."""
    return ((pattern, rule.where) for rule in rules if rule.kind == "deny" for pattern in rule.patterns)


def _denied_by(baseline: Baseline) -> Iterator[tuple[Pattern, str]]:
    tables = [rows for section in baseline.sections.values() for rows in section.values()]
    for rows in (*tables, *(sums.programs for sums in baseline.sums)):
        for key, pattern in rows.alone.items():
            if rows.limits[key].most == 0:
                yield pattern, f"in {baseline.path.name}"


def _renamed(rule: Rule, text: str, where: str) -> Rule:
    from dataclasses import replace

    return replace(rule, text=text, where=where)


def _where(config: pytest.Config, from_ini: bool) -> str:
    return f"in {config.inipath.name if config.inipath else 'the ini file'}" if from_ini else "on the command line"


def _patterns(config: pytest.Config, name: str, values: Iterable[str], from_ini: bool) -> Iterable[Pattern]:
    blamed, start = _blamed(config, name, from_ini), _start(config, from_ini)
    for value in values:
        from ..log.patterns import compile_pattern

        if value.startswith(("['", '["')):
            raise pytest.UsageError(
                f"{blamed}: {value} is a list, which there is in TOML alone: write each pattern on a line, or in an"
                " option, of its own"
            )
        try:
            yield compile_pattern(value, start)
        except ValueError as error:
            raise pytest.UsageError(f"{blamed}: {error}") from None


# ---- single values ----


def _option(name: str) -> _Option:
    return next(option for option in _OPTIONS if option.name == name)


def _given(config: pytest.Config, name: str, from_ini: bool) -> list[str] | None:
    """All values that one of the two places has; None where the setting is not there at all."""
    if from_ini:
        return _in_file(config, _option(name))
    value = config.getoption(_option(name).key)
    return list(value) if isinstance(value, list) else None if value is None else [value]


def _in_file(config: pytest.Config, option: _Option) -> list[str] | None:
    """What the ini file has, None for nothing: numbers and booleans of TOML as an ini file would have them."""
    value = _as_written(config, option) if option.in_ini else None
    if value is None:
        return None
    if option.repeatable and isinstance(value, str):
        value = [line.strip() for line in value.splitlines() if line.strip()]
    values = value if isinstance(value, list) else [value]
    one_too_many = isinstance(value, list) and not option.repeatable
    if one_too_many or not all(isinstance(each, (str, int, float)) for each in values):
        raise _wrong(config, option.name, value, from_ini=True)
    texts = [str(each).lower() if isinstance(each, bool) else str(each) for each in values]
    return [] if option.repeatable and texts == ["[]"] else texts  # as TOML writes an empty list


def _as_written(config: pytest.Config, option: _Option) -> Any:
    """A string, or what TOML has for it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a list that is out of place, which is refused here
        try:
            return config.getini(option.key)
        except (TypeError, pytest.UsageError):
            # pytest 9, of TOML's types that are not the one registered; it has no public name for what is written.
            written = getattr(config, "_inicfg", {}).get(option.key)
            if written is None:
                raise
            return written.value


def _single(config: pytest.Config, name: str) -> str | None:
    """The command line's value, else the ini file's; of an empty one in that, None."""
    value: str | None = config.getoption(_option(name).key)
    if value is not None:
        return value
    values = _in_file(config, _option(name))
    return values[-1] or None if values else None


def _wrong(config: pytest.Config, name: str, value: object, from_ini: bool | None = None) -> pytest.UsageError:
    """What to raise for a value that the setting does not take. ``from_ini`` None: it was the one that counted."""
    return pytest.UsageError(f"{_blamed(config, name, from_ini)} is {_option(name).accepts}, not {value!r}")


def _blamed(config: pytest.Config, name: str, from_ini: bool | None = None) -> str:
    """Where a wrong value stands: a setting as the user knows it, of one in a file with that."""
    spelt = _spelt(config, name, from_ini)
    if spelt.startswith("-") or config.inipath is None:
        return spelt
    return f"{originals.relpath(config.inipath, config.invocation_params.dir)}: {spelt}"


def _spelt(config: pytest.Config, name: str, from_ini: bool | None = None) -> str:
    """A setting as the user knows it."""
    option = _option(name)
    if from_ini is None:
        from_ini = config.getoption(option.key) is None
    return option.key if from_ini else option.flag


def _choice(config: pytest.Config, name: str, choices: tuple[str, ...]) -> str | None:
    value = _single(config, name)
    if value is not None and value not in choices:
        raise _wrong(config, name, value)
    return value


def _flag(config: pytest.Config, name: str) -> bool:
    if config.getoption(_option(name).key):
        return True
    for value in _in_file(config, _option(name)) or ():
        if value.lower() not in _TRUE + _FALSE:
            raise _wrong(config, name, value)
        return value.lower() in _TRUE
    return False


def _number(config: pytest.Config, name: str) -> int | None:
    from_ini = config.getoption(_option(name).key) is None
    values = _given(config, name, from_ini)
    return None if values is None else _whole(config, name, values[-1], from_ini)


def _whole(config: pytest.Config, name: str, value: str, from_ini: bool) -> int:
    if not value.isdecimal():
        raise _wrong(config, name, value, from_ini)
    return int(value)


def _address(config: pytest.Config) -> str | None:
    value = _single(config, "helper")
    if value is None or value.startswith("@"):
        return None if value is None else str(value)
    return str(_absolute(config, value, from_ini=config.getoption(_option("helper").key) is None))


def _python(config: pytest.Config) -> str | None:
    """A name is looked for in PATH."""
    value = _single(config, "python")
    if value is None or "/" not in value:
        return None if value is None else str(value)
    return str(_absolute(config, value, from_ini=config.getoption(_option("python").key) is None))


def _absolute(config: pytest.Config, path: str, *, from_ini: bool) -> Path:
    """A path as it was meant where it was written: tests may change the folder before it is used."""
    return _start(config, from_ini) / path


def _start(config: pytest.Config, from_ini: bool) -> Path:
    """The folder from which relative paths are taken."""
    return config.inipath.parent if from_ini and config.inipath is not None else config.invocation_params.dir


# ---- baseline and reports ----


def _update(config: pytest.Config) -> Literal["all", "add"] | None:
    if _flag(config, "update-add"):
        return "add"
    return "all" if _flag(config, "update") else None


def _baseline(config: pytest.Config, update: str | None) -> Baseline | None:
    value = _single(config, "baseline")
    if not value:  # an empty one on the command line takes back the ini file's
        if update is not None:
            raise pytest.UsageError(
                "--execprobe-update needs to know what to write: name it, --execprobe-baseline=PATH"
            )
        if value is None and _in_file(config, _option("baseline")) == [""]:
            raise pytest.UsageError(
                f"{_blamed(config, 'baseline')} names no file: name one, or take the line out; --execprobe-baseline="
                " takes it back for one run"
            )
        return None
    from ..baseline.model import Baseline
    from ..baseline.read import BaselineError, read_baseline

    path = _absolute(config, value, from_ini=config.getoption(_option("baseline").key) is None)
    if update is not None:
        _require("tomlkit", "baseline", "--execprobe-update")
        if not originals.exists(path):
            return Baseline(path)
    try:
        baseline = read_baseline(path)
    except BaselineError as error:
        raise pytest.UsageError(f"{_blamed(config, 'baseline')}: {error}") from None
    if baseline.limits_nothing and update is None:
        raise pytest.UsageError(
            f"{_blamed(config, 'baseline')}: {path} limits nothing: it has no tables of tests, fixtures, packages or"
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
        with contextlib.suppress(ValueError, TypeError, pytest.UsageError):  # told when the settings are read
            values = config.getini(_option("report").key) if from_ini else getattr(given, _option("report").key, None)
            for value in values or ():
                from ..files import remove_file
                from ..report.forms import form_of

                form_of(Path(value))
                with contextlib.suppress(OSError):  # whether it can be written is told later
                    remove_file(_absolute(config, value, from_ini=from_ini))


def _reports(config: pytest.Config) -> tuple[Path, ...]:
    paths = []
    for from_ini in (False, True):
        for value in _given(config, "report", from_ini) or ():
            from ..report.forms import FormUnavailable, check_available, form_of

            try:
                check_available(form_of(Path(value)))
            except (ValueError, FormUnavailable) as error:
                raise pytest.UsageError(f"{_blamed(config, 'report', from_ini)}: {error}") from None
            paths.append(_absolute(config, value, from_ini=from_ini))
    return tuple(paths)


def _folders(config: pytest.Config) -> Folders:
    """Those of now, before a test can change the environment; of an xdist worker those of its controller."""
    from .._util.names import Folders

    given = getattr(config, "workerinput", {}).get("execprobe_folders")
    grouped = getattr(config.option, "dist", "no") == "loadgroup"
    return Folders.here(grouped=grouped) if given is None else Folders(*given)


def _require(module: str, extra: str, what: str) -> None:
    from importlib.util import find_spec

    if find_spec(module) is None:
        raise pytest.UsageError(f"{what} needs {module}: pip install 'pytest-execprobe[{extra}]'")


def _pages(config: pytest.Config) -> int | None:
    value = _single(config, "buffer-pages")
    if value is None:
        return None
    if not value.isdecimal() or int(value) == 0 or int(value) & (int(value) - 1):
        raise _wrong(config, "buffer-pages", value)
    return int(value)


def _timeout(config: pytest.Config) -> float:
    value = _single(config, "timeout")
    if value is None:
        return 10.0
    try:
        seconds = float(value)
    except ValueError:
        seconds = 0
    if not 0 < seconds <= 3600:
        raise _wrong(config, "timeout", value)
    return seconds

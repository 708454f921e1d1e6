"""What users can set, and where a value stands: on the command line, or in an ini file."""

from __future__ import annotations

import contextlib
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from .._util import originals

MODES = ("auto", "require", "off")
BACKENDS = ("auto", "bpf", "ptrace")
ROUTES = ("auto", "kprobe", "tracepoint", "seccomp", "off")
_TRUE, _FALSE = ("true", "yes", "on", "1", "t", "y"), ("false", "no", "off", "0", "f", "n")  # as pytest has them


@dataclass(frozen=True)
class Option:
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
OPTIONS = (
    Option(
        "",
        "|".join(MODES),
        f"one of {', '.join(MODES)}",
        "where probing is impossible: skip what needs it, stop the run, or never probe",
    ),
    Option("audit", None, _FLAG, "record every test and the collection, and sum up what ran"),
    Option("allow", "PATTERN", _PATTERNS, "no test may run anything but these in its call", repeatable=True),
    Option("deny", "PATTERN", _PATTERNS, "none of these may run, in tests or around them", repeatable=True),
    Option("enforce", None, _FLAG, "kill what a deny rule forbids before it runs"),
    Option("budget", "N", _COUNT, "at most so many execs in each test's call"),
    Option("session-budget", "N", _COUNT, "at most so many execs in the whole run"),
    Option(
        "baseline",
        "PATH",
        "the path of a file",
        "a committed file of exec budgets, by test: nothing may run that it does not have",
    ),
    Option("update", None, _FLAG, "rewrite the baseline from what this run executes", in_ini=False),
    Option("update-add", None, _FLAG, "as --execprobe-update, but lower and remove nothing", in_ini=False),
    Option(
        "report",
        "PATH",
        "the path of a file or several",
        "write what ran: .json, .html, .md, .sarif or .trace.json, by the ending",
        repeatable=True,
    ),
    Option(
        "variant",
        "NAME",
        "a name",
        "what a report's run is of a matrix, besides its Python and system: django-4.2",
        in_ini=False,
    ),
    Option(
        "ignore",
        "PATTERN",
        _PATTERNS,
        "programs that no log, rule or count sees; the summary lists them",
        repeatable=True,
    ),
    Option(
        "redact",
        "REGEX",
        "one regular expression or several, or none",
        "hide this in command lines, too, besides what is known for a secret: what its groups match, without any all"
        " of it; none: hide nothing",
        repeatable=True,
    ),
    Option(
        "helper",
        "ADDRESS",
        "the path of a socket, or @NAME",
        "use a probe helper that is running: the path of its socket, or @NAME",
    ),
    Option(
        "backend",
        "|".join(BACKENDS),
        f"one of {', '.join(BACKENDS)}",
        "which probe: BPF, ptrace (without privilege), or BPF where it can be had and else ptrace (default auto)",
    ),
    Option(
        "untraced",
        "PATTERN",
        "the name or the path of a program, or several",
        "programs that don't run under ptrace, as debuggers: they run untraced, and the log says what it lacks by that",
        repeatable=True,
    ),
    Option(
        "python",
        "PATH",
        "the path of an interpreter",
        "interpreter to run the probe helper, one that has the distro's BCC",
    ),
    Option(
        "attempts",
        "|".join(ROUTES),
        f"one of {', '.join(ROUTES)}",
        "how to see failed execs (default auto: kprobe, or tracepoint if needed; under ptrace not, but with seccomp)",
    ),
    Option("buffer-pages", "N", "a power of two", "perf buffer per CPU, in pages, a power of two (default 512)"),
    Option(
        "timeout",
        "SECONDS",
        "a number of seconds up to 3600",
        "how long a read waits for execs still in flight, and for the helper (default 10)",
    ),
)


def add_options(parser: pytest.Parser) -> None:
    group = parser.getgroup("execprobe", "assertions about spawned programs")
    for option in OPTIONS:
        # No default anywhere here: an option that is not given must not shadow the ini file.
        how: dict[str, Any] = {"action": "append" if option.repeatable else "store", "metavar": option.metavar}
        if option.metavar is None:
            how = {"action": "store_true"}
        group.addoption(option.flag, dest=option.key, default=None, help=option.help, **how)
        if option.in_ini:  # likewise: what is not there differs from what is empty
            kind: Literal["linelist", "string"] = "linelist" if option.repeatable else "string"
            parser.addini(option.key, option.help, type=kind, default=None)


#: What a pytest has been given that another one has started for tests of its own run.
GIVEN = pytest.StashKey[dict[str, Any]]()


def given_by_another(config: pytest.Config) -> dict[str, Any]:
    """What an xdist worker has of its controller, or a pytest that was started for tests of the one that did."""
    return getattr(config, "workerinput", None) or config.stash.get(GIVEN, {})


def of_python(config: pytest.Config, key: str) -> list[str]:
    """A setting of pytest's own plugin for tests in Python, of which there are none without it (``-p no:python``)."""
    return [*config.getini(key)] if config.pluginmanager.has_plugin("python") else []


def option_named(name: str) -> Option:
    return next(option for option in OPTIONS if option.name == name)


def given(config: pytest.Config, name: str, from_ini: bool) -> list[str] | None:
    """All values that one of the two places has; None where the setting is not there at all."""
    if from_ini:
        return in_file(config, option_named(name))
    value = config.getoption(option_named(name).key)
    return list(value) if isinstance(value, list) else None if value is None else [value]


def in_file(config: pytest.Config, option: Option) -> list[str] | None:
    """What the ini file has, None for nothing: numbers and booleans of TOML as an ini file would have them."""
    value = _as_written(config, option) if option.in_ini else None
    if value is None:
        return None
    if option.repeatable and isinstance(value, str):
        value = [line.strip() for line in value.splitlines() if line.strip()]
    values = value if isinstance(value, list) else [value]
    one_too_many = isinstance(value, list) and not option.repeatable
    if one_too_many or not all(isinstance(each, (str, int, float)) for each in values):
        raise wrong(config, option.name, value, from_ini=True)
    texts = [str(each).lower() if isinstance(each, bool) else str(each) for each in values]
    if texts in (["True"], ["False"]) and config.inipath is not None and config.inipath.suffix == ".toml":
        texts = [texts[0].lower()]  # a boolean, of which pytest makes this in [tool.pytest.ini_options]
    return [] if option.repeatable and texts == ["[]"] else texts  # as TOML writes an empty list


def _as_written(config: pytest.Config, option: Option) -> Any:
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


def single(config: pytest.Config, name: str) -> str | None:
    """The command line's value, else the ini file's; of an empty one in that, None."""
    value: str | None = config.getoption(option_named(name).key)
    if value is not None:
        return value
    values = in_file(config, option_named(name))
    return values[-1] or None if values else None


def wrong(config: pytest.Config, name: str, value: object, from_ini: bool | None = None) -> pytest.UsageError:
    """What to raise for a value that the setting does not take. ``from_ini`` None: it was the one that counted."""
    return pytest.UsageError(f"{blamed_for(config, name, from_ini)} is {option_named(name).accepts}, not {value!r}")


def blamed_for(config: pytest.Config, name: str, from_ini: bool | None = None) -> str:
    """Where a wrong value stands: a setting as the user knows it, of one in a file with that."""
    spelt = spelling(config, name, from_ini)
    if spelt.startswith("-") or config.inipath is None:
        return spelt
    return f"{file_of(config)}: {spelt}"


def file_of(config: pytest.Config) -> str:
    """The file in which pytest is configured, from where it was started: a project can have several of one name."""
    if config.inipath is None:
        return "the ini file"
    return str(originals.relpath(config.inipath, config.invocation_params.dir))


def spelling(config: pytest.Config, name: str, from_ini: bool | None = None) -> str:
    """A setting as the user knows it."""
    option = option_named(name)
    if from_ini is None:
        from_ini = config.getoption(option.key) is None
    return option.key if from_ini else option.flag


def choice(config: pytest.Config, name: str, choices: tuple[str, ...]) -> str | None:
    value = single(config, name)
    if value is not None and value not in choices:
        raise wrong(config, name, value)
    return value


def flag(config: pytest.Config, name: str) -> bool:
    if config.getoption(option_named(name).key):
        return True
    for value in in_file(config, option_named(name)) or ():
        if value.lower() not in _TRUE + _FALSE:
            raise wrong(config, name, value)
        return value.lower() in _TRUE
    return False


def number(config: pytest.Config, name: str) -> int | None:
    from_ini = config.getoption(option_named(name).key) is None
    values = given(config, name, from_ini)
    return None if values is None else whole(config, name, values[-1], from_ini)


def whole(config: pytest.Config, name: str, value: str, from_ini: bool) -> int:
    if not value.isdecimal():
        raise wrong(config, name, value, from_ini)
    return int(value)


def absolute(config: pytest.Config, path: str, *, from_ini: bool) -> Path:
    """A path as it was meant where it was written: tests may change the folder before it is used."""
    return folder_of(config, from_ini) / path


def files_named(config: pytest.Config, name: str) -> set[str]:
    """Those that one of the two places names, by their real paths, before options are checked: what is no path there is
    refused later."""
    key = option_named(name).key
    found: set[str] = set()
    for from_ini in (False, True):
        with contextlib.suppress(ValueError, TypeError, pytest.UsageError):
            value = config.getini(key) if from_ini else getattr(config.known_args_namespace, key, None)
            found.update({str(originals.realpath(absolute(config, value, from_ini=from_ini)))} if value else ())
    return found


def folder_of(config: pytest.Config, from_ini: bool) -> Path:
    """The folder from which relative paths are taken: of another's options that in which it was started."""
    if from_ini and config.inipath is not None:
        return config.inipath.parent
    given = config.stash.get(GIVEN, None)
    return config.invocation_params.dir if given is None else Path(given["started_in"])

"""What a run takes over of tests that other processes have run for it: see ``handover``.

Only what was judged by the same rules is taken over. Whatever else ran in those processes this run judges itself, as
it sees it too, and a test of which nothing could be taken over counts as not recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import pytest

from .. import __version__
from .._util import originals
from ..timeline.entry import Entry
from .handover import HANDED_OVER, SAID, Counted, add_counted, rules_of_suite, this_process
from .offer import BEGUN, CURRENT, DONE, VARIABLE
from .options import OPTIONS, folder_of
from .settings import Settings

_OURS = ("_pytest.", f"{__name__.partition('.')[0]}.")
_MOST = 32_000  # characters: with a very long variable nothing can be executed
_OTHER_RULES = "it ran in another process, which has judged it by other rules than this run's, or sums up less"


class Takeover:
    """``meaning_of`` is what the rules of a test say."""

    def __init__(self, settings: Settings, meaning_of: Callable[[pytest.Item], list[object]]) -> None:
        self._settings = settings
        self._meaning_of = meaning_of
        self._session: pytest.Session | None = None
        self._items: dict[str, pytest.Item] = {}
        self._rules: str | None = None
        #: Tests that were judged elsewhere, by the same rules; what was found; and why others were not taken over.
        self.tests: set[str] = set()
        self.problems: dict[str, list[tuple[str, str, bool]]] = {}
        self.refused: dict[str, str] = {}
        #: Those that have used rows of a baseline, by the name of the test's table.
        self.tries: dict[str, set[str]] = {}
        self._refused: set[str] = set()  # processes
        self._unseen: set[str] = set()  # processes that this run does not see, and that are not over
        self._execs: Counted = {}  # that have been counted elsewhere, and were not seen here yet
        self._images: set[tuple[int, int]] = set()  # those that were
        self._held: list[Entry] = []
        self._waits = False  # for a process that may still hand over
        self._folder: str | None = None  # which is there once a process has begun to hand over
        self._offer = ""
        self._pid = originals.getpid()

    # ---- the folder ----

    def offer(self, session: pytest.Session) -> None:
        """From now on a pytest that is started may hand over, if anything runs tests that may start one."""
        self._session, config = session, session.config
        if not has_other_runner(config):
            return
        options, folders, invocation = vars(config.option), self._settings.folders, self._settings.invocation
        root = {"root": str(config.rootpath)}
        more: dict[str, object] = {"execprobe_folders": folders and folders.export()}
        more["execprobe_invocation"] = invocation and invocation.export()
        more["test"] = originals.environ.get(CURRENT)  # of a pytest around this one, until this one sets it
        place = originals.abspath(originals.environ.get("TMPDIR") or "/tmp")
        folder = originals.join(place, f"execprobe-{originals.random_hex(16)}")
        given = {option.key: options[option.key] for option in OPTIONS if options.get(option.key) is not None}
        more["run"], more["folder"] = this_process(), folder
        more["started_in"] = str(folder_of(config, from_ini=False))
        offer = originals.json_dumps({"version": __version__, **root, **more, "options": given})
        if len(offer) <= _MOST:  # else there is none, and such a pytest reports by itself
            self._folder, self._offer = folder, offer
            self.show()

    def show(self) -> None:
        if self._folder is not None:
            originals.environ[VARIABLE] = self._offer

    def hide(self) -> None:
        if self._folder is not None:
            try:  # pop() would decode it, and suppress() takes as long
                del originals.environ[VARIABLE]
            except KeyError:
                return

    def end(self) -> None:
        """Removes the folder, and all in it."""
        self.hide()
        folder, self._folder = self._folder, None
        if folder is None or originals.getpid() != self._pid:
            return
        with suppress(OSError):
            for name in originals.listdir(folder):
                originals.unlink(originals.join(folder, name))
            originals.rmdir(folder)

    def found(self) -> Iterable[dict[str, Any]]:
        """What has been left in it since this was last asked."""
        names = self._names()
        done = {name.removesuffix(DONE) for name in names if name.endswith(DONE)}
        begun = {name.removesuffix(BEGUN) for name in names if name.endswith(BEGUN)}
        self._waits = any(originals.exists(f"/proc/{one.partition('-')[0]}") for one in begun - done)
        for one in sorted(done):
            path = originals.join(self._folder or "", one)
            with suppress(OSError, ValueError):
                held = originals.read_bytes(path + DONE)
                originals.unlink(path + DONE)
                with suppress(OSError):  # that it has begun could not be written
                    originals.unlink(path + BEGUN)
                yield originals.json_loads(held)

    def _names(self) -> list[str]:
        """None in a forked child: what is there is its parent's to find."""
        try:
            is_own = self._folder is not None and originals.getpid() == self._pid
            return sorted(originals.listdir(self._folder)) if is_own else []
        except OSError:
            return []

    # ---- what is handed over ----

    def accept(self, exported: dict[str, Any]) -> dict[str, Any]:
        """What of exported totals is to be added to this run's: all, or only what was found wrong late."""
        for name, tries in exported.get("usage", {}).get("tests", {}).items():
            self.tries.setdefault(name, set()).update(tries)
        handed = exported.pop(HANDED_OVER, None)
        if handed is None:
            return exported
        self.refused.update(exported.get("not_checked", {}))
        if self._rules is None:
            self._rules = rules_of_suite(self._settings)
        process = handed["process"]
        same = handed["rules"] == self._rules and process not in self._refused
        if not (same and all(self._is_same(name, meaning) for name, (meaning, _) in handed["tests"].items())):
            self._refused.add(process)
            self.refused.update(dict.fromkeys(handed["tests"], _OTHER_RULES))
            return {name: value for name, value in exported.items() if name == "breaches"}
        self.tests.update(handed["tests"])
        self.problems.update({name: [*map(tuple, found)] for name, (_, found) in handed["tests"].items()})
        add_counted(self._execs, handed["execs"])
        self._unseen.discard(process)
        if handed["ancestors"] and not handed["over"] and this_process() not in handed["ancestors"]:
            self._unseen.add(process)
        return {**exported, HANDED_OVER: handed}

    def _is_same(self, name: str, meaning: object) -> bool:
        if not self._items and self._session is not None:
            self._items = {item.nodeid: item for item in self._session.items}
        item = self._items.get(name)
        # Through JSON, as the other one's has come.
        return item is not None and originals.json_loads(originals.json_dumps(self._meaning_of(item))) == meaning

    @property
    def missing(self) -> list[str]:
        """Why it is not known what ran: processes that this run does not see, and that have not said all."""
        return [
            f"process {name.partition('-')[0]} ended before it had sent all that it recorded" for name in self._unseen
        ]

    # ---- what this run sees ----

    def left(
        self, entries: list[Entry], may_be: Callable[[Entry], bool], key_of: Callable[[Entry], str | None], at_end: bool
    ) -> list[Entry]:
        """Those execs that are this run's to count: not those that another process has counted already, and not yet
        those that one might still. ``may_be`` says whether an exec can be of either."""
        waits = not at_end and self._waits
        if not (self._execs or self._held or waits):
            return entries
        entries, self._held = [*self._held, *entries], []
        kept = []
        for entry in entries:
            if not may_be(entry):
                kept.append(entry)
            elif self._execs and self._take(key_of(entry), entry.event.entered):
                self._images.add(entry.image)
            elif waits:
                self._held.append(entry)
            else:
                kept.append(entry)
        return kept

    def _take(self, key: str | None, entered: int) -> bool:
        """Whether one is that which another process has counted. One that was entered later is not: a process can
        execute the same again, and another can have its number."""
        if key is None:
            return False
        plain, stopped, _ = key.partition(SAID)
        for one in (key, plain) if stopped else (plain, plain + SAID):
            later = [moment for moment in self._execs.get(one, ()) if moment > entered]
            if later:
                self._execs[one].remove(min(later))
                return not stopped or one == key  # what only this run has stopped it must say itself
        return False

    def has_counted(self, entry: Entry) -> bool:
        """Whether another process has counted an exec that was seen here."""
        return entry.image in self._images

    @property
    def holds_any(self) -> bool:
        return bool(self._held)


def has_other_runner(config: pytest.Config) -> bool:
    """Whether anything but pytest and this plugin has a hook around tests, so that another process may run them."""
    hooks = (config.hook.pytest_runtestloop, config.hook.pytest_runtest_protocol)
    plugins = (one.plugin for hook in hooks for one in hook.get_hookimpls())
    names = (getattr(plugin, "__name__", type(plugin).__module__) for plugin in plugins)
    return not all(name.startswith(_OURS) for name in names)

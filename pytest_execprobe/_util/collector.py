"""Python's garbage collector, which looks again and again at many objects that are made at once and are no garbage."""

from __future__ import annotations

import gc
import sys
from functools import partial

from . import originals

# Held by no name that a test could replace.
_is_enabled, _enable, _disable = partial(gc.isenabled), partial(gc.enable), partial(gc.disable)
_count, _frozen, _freeze, _unfreeze = (
    *(partial(gc.get_count), partial(gc.get_freeze_count)),
    *(partial(gc.freeze), partial(gc.unfreeze)),
)
_MANY = 10_000  # objects
_PYTEST = ("/pytest", "/py.test", "/pytest/__main__.py")  # how the path of what runs ends where that is pytest alone


class Postponed:
    """A context in which it does not run, unless it was switched off before.

    Where many objects were made it does not look at them afterwards either, until it looks at the oldest: that they are
    no garbage is known, and to find it out takes as long as a fifth of all else that is done for them.

    An exception can break in anywhere, as that of a signal's handler does: what was not undone then is undone when this
    is left the next time.
    """

    def __init__(self) -> None:
        self._disabled = False
        self._froze = False
        self._spared = 0

    def spare_modules(self) -> None:
        """Has it leave out what is there by now, to the end. To be called before conftests are loaded: that is modules,
        which are no garbage. At the end pytest and Python look at everything again and again, for as long as a helper
        takes to start.

        Not in a program that runs pytest among other things, or in a test: what is there may be anything then.
        """
        path = getattr(sys.modules.get("__main__"), "__file__", None) or ""
        if path.endswith(_PYTEST) and "PYTEST_CURRENT_TEST" not in originals.environ and not _frozen():
            _freeze()
            self._spared = _frozen()

    def __enter__(self) -> None:
        if _is_enabled():
            self._disabled = True  # first, so that it is known what to undo
            _disable()

    def __exit__(self, *_: object) -> None:
        if self._disabled:
            # What others have frozen stays so.
            if _count()[0] > _MANY and (self._froze or _frozen() <= self._spared):
                self._froze = True
                self._spared = 0
                _freeze()
            if self._froze:
                _unfreeze()  # all that was frozen is with the oldest then
                self._froze = False
            _enable()
            self._disabled = False


#: There is one collector, and so one of these.
postponed = Postponed()

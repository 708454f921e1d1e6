"""Python's garbage collector, which looks again and again at many objects that are made at once and are no garbage."""

from __future__ import annotations

import gc
from functools import partial

# Held by no name that a test could replace.
_is_enabled, _enable, _disable = partial(gc.isenabled), partial(gc.enable), partial(gc.disable)


class Postponed:
    """A context in which it does not run, unless it was switched off before.

    An exception can break in anywhere, as that of a signal's handler does: what was not undone then is undone when this
    is left the next time.
    """

    def __init__(self) -> None:
        self._disabled = False

    def __enter__(self) -> None:
        if _is_enabled():
            self._disabled = True  # first, so that it is known what to undo
            _disable()

    def __exit__(self, *_: object) -> None:
        if self._disabled:
            _enable()
            self._disabled = False


#: There is one collector, and so one of these.
postponed = Postponed()

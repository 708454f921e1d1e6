"""Python's garbage collector, which looks again and again at many objects that are made at once and are no garbage."""

from __future__ import annotations

import gc
from functools import partial

# Held by no name that a test could replace.
_is_enabled, _enable, _disable = partial(gc.isenabled), partial(gc.enable), partial(gc.disable)
_count, _frozen, _freeze, _unfreeze = (
    *(partial(gc.get_count), partial(gc.get_freeze_count)),
    *(partial(gc.freeze), partial(gc.unfreeze)),
)
_MANY = 10_000  # objects


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

    def __enter__(self) -> None:
        if _is_enabled():
            self._disabled = True  # first, so that it is known what to undo
            _disable()

    def __exit__(self, *_: object) -> None:
        if self._disabled:
            if _count()[0] > _MANY and (self._froze or not _frozen()):  # what others have frozen stays so
                self._froze = True
                _freeze()
            if self._froze:
                _unfreeze()  # all that was frozen is with the oldest then
                self._froze = False
            _enable()
            self._disabled = False


#: There is one collector, and so one of these.
postponed = Postponed()

"""Forgets what can't be asked for any more, so that a long run takes no more memory than a short one."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import replace

from ..source.events import Image, Running
from .timeline import ENTERED, Timeline


def lighter(timeline: Timeline, since: int, running: Running, listed_at: int) -> Timeline:
    """Another that knows all which can still be asked of this one, to be used from now on in its stead.

    ``since`` is where the first window begins that is not final. ``running`` are the processes of the tree that had
    not ended at ``listed_at``: what comes is the work of those, or of what they or the root fork from then on.
    """
    timeline._take_back()
    known = timeline.known
    if known.has_pending or timeline.blind or timeline.complete_to < listed_at or not running.are_all:
        return timeline  # what comes may be of others
    images = {process.image for process in running.listed}
    # Of a process whose own record has vanished it is not known what has forked it.
    vanished = any(one.own_exec and one.image not in timeline._images for one in running.listed)
    own = [e for image, e in timeline._images.items() if vanished or image in images or e.event.at >= listed_at]
    # What the next exec of a process names: what it ran before, and what has forked it.
    kept = [entry for one in own for entry in (one, one.above) if entry is not None]
    branches = {entry.event.branch for entry in kept}
    # Of a process that runs what is not known here, only this is known of its branch: it was there by then.
    moment = max((one.since or 0 for one in running.listed if one.image not in timeline._images), default=-1)
    new = timeline._log[timeline._taken : known.placed]
    timeline.calls.lighten(running, branches, listed_at)
    return replace(
        timeline,
        known=known._replace(placed=len(new)),
        spans=timeline.spans.lighter(min(since, listed_at), (branch.born for branch in branches), moment),
        _entries=timeline._entries[bisect_left(timeline._entries, since, key=ENTERED) :],
        _log=new,
        _taken=0,
        _images={entry.image: entry for entry in kept},
        _ended={
            branch: at
            for branch, at in timeline._ended.items()
            if branch in branches or branch.born <= moment or at >= listed_at
        },
        _exits={},  # their execs were lost
    )


def remember(timeline: Timeline, older: Timeline, images: Iterable[Image]) -> None:
    """Takes over from another timeline what these images are; what is above them is not known any more."""
    for image in images:
        entry = older._images.get(image)
        if entry is not None and entry.event.command is not None:
            timeline._images[entry.image] = replace(
                entry, above=None, previous=None, above_lost=True, depth=None, _record=None
            )

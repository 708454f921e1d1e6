"""The recorder of a run, armed before there is a session, and before the rest of the plugin is imported."""

from __future__ import annotations

from dataclasses import replace

import pytest

from .._util import clock
from .._util.text import Style
from ..baseline.model import COLLECTION
from ..errors import ProbeUnavailable
from ..log.pattern import ignoring
from ..source import connect
from ..source.client import HelperSource
from ..source.connect import HelperSettings
from ..source.stopping import StopError
from ..timeline.recorder import Recorder
from .settings import Settings


class EarlyRun:
    """A recorder, which the run takes over when the rest of the plugin is there."""

    def __init__(
        self,
        settings: Settings,
        helper: HelperSettings,
        first: HelperSource | ProbeUnavailable,
        *,
        is_worker: bool,
        collects: bool = True,
    ) -> None:
        """``first``: what comes of the first start of a helper; ``collects``: the collection has begun, or will.
        Raises pytest.UsageError if there must be a probe and is none; in an xdist worker not yet."""
        self.settings = settings
        self.recorder = recorder_of(settings, helper, Style(), first)
        #: Why there is no probe.
        self.error: ProbeUnavailable | None = None
        try:
            self.recorder.ensure()
        except ProbeUnavailable as error:
            self.error = error
            if settings.mode == "require" and not is_worker:
                raise pytest.UsageError(required(error)) from None
        if self.error is None and settings.enforced:
            try:
                self.recorder.stop(settings.enforced, clock.monotonic_ns())
            except StopError as error:
                if not is_worker:  # of which each test will say so
                    raise pytest.UsageError(f"execprobe: cannot enforce what is denied: {error}") from None
        self.collection = self.recorder.open_span(COLLECTION, None) if collects else None

    def close(self) -> None:
        self.recorder.close()


def required(error: ProbeUnavailable) -> str:
    """Why the run ends, and how it would go on."""
    return (
        f"{error}. The probe is required, by --execprobe=require or by a rule for the whole suite; with"
        " --execprobe=auto the run would go on unchecked"
    )


def recorder_of(
    settings: Settings, helper: HelperSettings, style: Style, first: HelperSource | ProbeUnavailable | None = None
) -> Recorder:
    """One that starts helpers as they are needed: the later ones with the probe that the first had, whatever a test has
    made of the machine."""

    def start() -> HelperSource:
        nonlocal helper, first
        source, first = first or connect.start_helper(helper), None
        if isinstance(source, ProbeUnavailable):
            raise source
        helper = replace(helper, backend=source.description.get("backend", "bpf"))
        return source

    return Recorder(start, style=style, timeout=settings.timeout, ignores=ignoring(settings.ignore))

"""What can go wrong with a log, and with the probe."""

from __future__ import annotations


class IncompleteLogError(Exception):
    """A check could not be decided, because not everything that ran is in the log.

    Not an AssertionError: neither ``pytest.raises(AssertionError)`` nor an ``xfail`` may turn it into a good
    outcome. The message says how many execs are missing, why, and what to change.
    """

    __module__ = "pytest_execprobe"  # as users import it, and as tracebacks are to show it


class ProbeUnavailable(Exception):
    """There can be no probe on this machine, for this user. The message says why and how to mend it."""


class ProbeObstructed(ProbeUnavailable):
    """There may well be a probe on this machine, and another process was in the way, or none was left. Never a reason
    to skip a test: who could bring this about could have tests pass unchecked."""


class SourceLost(Exception):
    """The helper died, hung up or did not answer: nothing is known from the last synchronisation on."""


class RuleBroken(AssertionError):
    """A rule of a test certainly does not hold. The message is a whole report, and needs no traceback."""

    __module__ = "pytest_execprobe"


class RuleUndecided(IncompleteLogError):
    """Whether a rule of a test holds can't be told. The message is a whole report, and needs no traceback."""

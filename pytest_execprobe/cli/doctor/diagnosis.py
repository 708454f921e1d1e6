"""What a check has found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Diagnosis:
    """``found`` is in plain words, for one line. ``remedy`` is what to run, or do, in one line or several."""

    check: str
    status: Literal["ok", "note", "not ok"]
    found: str
    remedy: str | None = None


@dataclass(frozen=True)
class Examination:
    """All findings, and the versions of what takes part; None: it is not there, or not known."""

    findings: tuple[Diagnosis, ...]
    versions: dict[str, str | None]

    @property
    def ok(self) -> bool:
        """Whether there can be a probe: by the proof alone, which comes last, or by that of ptrace."""
        return self.findings[-1].status == "ok" or self.is_traced

    @property
    def is_traced(self) -> bool:
        """Whether there can be one by ptrace alone."""
        return any(finding.check == "ptrace" and finding.status == "ok" for finding in self.findings)


def ok(check: str, found: str) -> Diagnosis:
    return Diagnosis(check, "ok", found)


def note(check: str, found: str, remedy: str | None = None) -> Diagnosis:
    """It works, but."""
    return Diagnosis(check, "note", found, remedy)


def bad(check: str, found: str, remedy: str) -> Diagnosis:
    """There can be no probe until this is fixed."""
    return Diagnosis(check, "not ok", found, remedy)

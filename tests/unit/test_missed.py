"""What the kernel skipped both of two programs for, out of how often it skipped each."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pytest_execprobe.helper.bpf import library, probe
from pytest_execprobe.helper.bpf.attach import FALLBACKS

PROGRAMS = [name + end for name in FALLBACKS for end in ("", "_fallback")]


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> dict[str, int | None]:
    """By program."""
    numbers: dict[str, int | None] = dict.fromkeys(PROGRAMS, 0)
    monkeypatch.setattr(library, "misses", lambda _, name: numbers[name])
    return numbers


def loaded(*, twice: bool) -> probe.BpfProbe:
    made = object.__new__(probe.BpfProbe)
    made._lib = SimpleNamespace()  # type: ignore[assignment]
    made._looks = {}
    programs = {name: name for name in PROGRAMS}
    made._attached = SimpleNamespace(twice=twice, loaded=SimpleNamespace(programs=programs))  # type: ignore[assignment]
    made.missed()
    return made


def test_a_single_program_misses_what_it_is_skipped_for(counted: dict[str, int | None]) -> None:
    made = loaded(twice=False)
    counted.update(on_exec=2, on_newtask=1)
    assert [made.missed(), made.missed()] == [(1, 2, 0), (0, 0, 0)]
    counted["on_exec"] = None  # older kernels do not tell
    made = loaded(twice=False)
    assert made.missed() == (0, 0, 0)


def test_of_two_programs_each_makes_up_for_the_other(counted: dict[str, int | None]) -> None:
    made = loaded(twice=True)
    counted["on_exec"] = 5
    assert made.missed() == (0, 0, 0)
    made.missed()
    made.missed()
    counted["on_exec_fallback"] = 3
    assert made.missed() == (0, 0, 0)


def test_what_both_are_skipped_for_is_missed(counted: dict[str, int | None]) -> None:
    made = loaded(twice=True)
    counted.update(on_exit=1, on_exit_fallback=1)
    assert made.missed() == (0, 0, 1)


@pytest.mark.parametrize(
    ("first", "second"), [("on_newtask", "on_newtask_fallback"), ("on_newtask_fallback", "on_newtask")]
)
def test_what_is_missed_between_two_readings_is_found_with_the_next_look(
    counted: dict[str, int | None], first: str, second: str
) -> None:
    made = loaded(twice=True)
    counted[first] = 1
    assert made.missed() == (0, 0, 0)
    counted[second] = 1
    assert made.missed().forks == 1


def test_a_kernel_that_must_tell_and_does_not_is_believed_nothing(counted: dict[str, int | None]) -> None:
    made = loaded(twice=True)
    counted["on_exec_fallback"] = None
    with pytest.raises(OSError, match="does not say"):
        made.missed()

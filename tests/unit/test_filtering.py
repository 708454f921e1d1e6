"""The seccomp filter that shows failed execs, run as the kernel would."""

from __future__ import annotations

import pytest

from pytest_execprobe.helper import wire
from pytest_execprobe.helper.ptrace import machines
from pytest_execprobe.source import filtering

X86_64, I386, AARCH64, ARM = 0xC000003E, 0x40000003, 0xC00000B7, 0x40000028
ALLOW, TRACE = 0x7FFF0000, 0x7FF00000 | wire.SECCOMP_DATA


def answer(machine: str, kind: int, number: int) -> int:
    code, at, kept = filtering.program(machine), 0, 0
    while True:
        operation, if_true, if_false, operand = code[at]
        at += 1
        if operation == 0x20:  # load
            kept = {0: number, 4: kind}[operand]
        elif operation == 0x15:  # jump if equal
            at += if_true if kept == operand else if_false
        else:
            return operand


@pytest.mark.parametrize(
    ("machine", "kind", "execs"),
    [
        ("x86_64", X86_64, {59, 322, 0x40000208, 0x40000221}),
        ("x86_64", I386, {11, 358}),
        ("x86_64", ARM, set()),
        ("aarch64", AARCH64, {221, 281}),
        ("aarch64", ARM, {11, 387}),
    ],
)
def test_execs_alone_are_stopped(machine: str, kind: int, execs: set[int]) -> None:
    numbers = [*range(600), *range(0x40000000, 0x40000000 + 600)]
    assert {number for number in numbers if answer(machine, kind, number) == TRACE} == execs
    assert all(answer(machine, kind, number) == ALLOW for number in numbers if number not in execs)
    assert execs <= machines.MACHINES[machine].execs


def test_every_machine_that_is_traced_has_one() -> None:
    assert set(machines.MACHINES) == set(filtering._CALLS)

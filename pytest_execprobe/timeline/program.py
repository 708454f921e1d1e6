"""Under which names an exec is known: pure functions over what was recorded of it."""

from __future__ import annotations

from dataclasses import replace

from .._util import originals
from .._util.paths import base, names_descriptor
from .record import ExecRecord


def called(record: ExecRecord) -> tuple[list[str | None], list[str]]:
    """What else than by its path a program was called, where the path does not tell: names that are certain (None: one
    that is not known), and names that it may have.

    A descriptor does not tell, and neither does the path of a program that executes its own file again: busybox runs
    its tools like that. There argv[0] does. Of a script by a descriptor its own file does.
    """
    if record.path is None:
        return [], []
    by_descriptor = names_descriptor(record.path, record.cwd)
    certain = [record.script] if by_descriptor and record.interpreter is not None else []
    if not _has_argv0(record):
        return certain, []
    itself = True if by_descriptor else record._itself
    argv0 = _argv0(record)
    if argv0 is None:
        return [*certain, None] if itself else certain, []
    # A login shell's begins with a dash, which programs of many names leave out.
    names = [argv0, argv0[1:]] if argv0.startswith("-") else [argv0]
    if itself:
        return [*certain, *names], []
    return certain, [name for name in names if itself is None and base(name) != base(record.path)]


def _has_argv0(record: ExecRecord) -> bool:
    """Whether the program is given its caller's argv[0]. Interpreters are not, but by binfmt_misc with flag P: then the
    path of what they are for stands in front of it."""
    if record.interpreter is None:
        return True
    return record._arguments_at == 3 and record._nested == () and (record.argv or ())[1:2] == (record.path,)


def _argv0(record: ExecRecord) -> str | None:
    """None where it is not known, or not all of it."""
    at = 0 if record.interpreter is None else 2
    if record.argv is None or (record.argv_truncated and len(record.argv) <= at + 1):
        return None
    return record.argv[at] if len(record.argv) > at else ""


def interpreters(record: ExecRecord) -> tuple[list[str | None], list[str]]:
    """What ``#!`` lines say: what certainly stands there (None: something that is not known), and what else may."""
    if record.interpreter is None:
        return [], []
    if record._nested is None or (record._nested and record.argv is None):
        return [record.interpreter, None], []
    # Each nested script's path stands between the interpreter and the script, perhaps with an option behind it.
    levels, at = len(record._nested), record._arguments_at
    between = (record.argv or ())[1 : 1 + 2 * levels if at is None else at - 1] if levels else ()
    if at is not None and len(between) == levels:
        return [record.interpreter, *between], []
    return [record.interpreter], list(between)


def as_interpreter(record: ExecRecord) -> ExecRecord:
    """The exec of a script as that of its interpreter, which the kernel has made of it: with an option, the script and
    its arguments."""
    path = record.interpreter
    command = replace(record._command, path=path, interpreter=None, script=None, nested=(), arguments_at=1)
    command.program = base(path or "")
    return replace(record, _command=command)


def described(record: ExecRecord) -> str:
    """The command line, and argv[0] where that is not what the path says."""
    text = record.command_line
    argv0 = _argv0(record) if _has_argv0(record) else None
    if argv0 is not None and record.argv and record.path is not None and base(argv0) != base(record.path):
        text += f"  (argv[0]: {originals.quote(argv0)})"
    return text


def files(record: ExecRecord) -> list[str | None]:
    """What an exec has loaded or read, by resolved paths; None for each that is there and not known."""
    if record.interpreter is None:
        return [record.executable]
    return [record.executable, record.script, *((None,) if record._nested is None else record._nested)]

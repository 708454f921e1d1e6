"""Under which names an exec is known: pure functions over what was recorded of it."""

from __future__ import annotations

from dataclasses import replace

from .._util.apparent import HIDDEN
from .._util.hiding import quoted
from .._util.paths import LIKE_A_DESCRIPTOR, base, name_of, names_descriptor
from .record import ExecRecord, line_of

#: What is said of an exec that was.
STOPPED = "  (stopped before it ran)"


def called(record: ExecRecord) -> tuple[list[str | None], list[str | None]]:
    """What else than by its path a program was called, where the path does not say: names that are certain, and names
    that it may have (None: one that is not known).

    A descriptor does not say, and neither does the path of a program that executes its own file again: busybox runs
    its tools like that. There argv[0] does. Of a script by a descriptor its own file does.
    """
    if record.path is None:
        return [], []
    by_descriptor = names_descriptor(record.path, record.cwd)
    may_be = not by_descriptor and may_name_descriptor(record)
    file = record._command.file
    certain = [file] if by_descriptor and record.interpreter is not None else []
    possible = [file] if may_be else []
    if not _has_argv0(record):
        return certain, possible
    itself = True if by_descriptor else None if may_be and record._itself is False else record._itself
    argv0 = _argv0(record)
    if argv0 is None:
        return [*certain, None] if itself else certain, [*possible, None] if may_be else possible
    # A login shell's begins with a dash, which programs of many names leave out.
    names = [argv0, argv0[1:]] if argv0.startswith("-") else [argv0]
    if itself:
        return [*certain, *names], possible
    return certain, [*possible, *(name for name in names if itself is None and base(name) != base(record.path))]


def may_name_descriptor(record: ExecRecord) -> bool:
    """Whether the path may lead to a descriptor though it is not written like one: by a link to such a folder, in one
    that execveat() was given, or where /proc lies elsewhere. If the file has this name, it does not."""
    file = record._command.file
    name = base(record.path or "")
    return LIKE_A_DESCRIPTOR.fullmatch(name) is not None and (file is None or name_of(file) != name)


def _has_argv0(record: ExecRecord) -> bool:
    """Whether the program is given its caller's argv[0]. Interpreters are not, but by binfmt_misc with flag P: then the
    path of what they are for stands in front of it."""
    if record.interpreter is None:
        return True
    command = record._command
    return command.arguments_at == 3 and command.nested == () and (command.argv or ())[1:2] == (command.path,)


def _argv0(record: ExecRecord) -> str | None:
    """None where it is not known, or not all of it."""
    at = _argv0_at(record)
    if record._command.argv is None or (record.argv_truncated and len(record._command.argv) <= at + 1):
        return None
    argv0 = record._command.argv[at] if len(record._command.argv) > at else ""
    return None if record._command.redacted and HIDDEN in argv0 else argv0


def _argv0_at(record: ExecRecord) -> int:
    return 0 if record.interpreter is None else 2


def interpreters(record: ExecRecord) -> tuple[list[str | None], list[str | None]]:
    """What ``#!`` lines say: what certainly stands there (None: something that is not known), and what else may."""
    if record.interpreter is None:
        return [], []
    if record._command.nested is None or (record._command.nested and record._command.argv is None):
        return [record.interpreter, None], []
    between, is_certain = _between(record)
    return ([record.interpreter, *between], []) if is_certain else ([record.interpreter], [*between])


def _between(record: ExecRecord) -> tuple[tuple[str, ...], bool]:
    """What stands in argv between the interpreter and the script, and whether that is paths of nested scripts alone:
    each can have an option in front and behind."""
    nested, at = record._command.nested, record._command.arguments_at
    if nested == ():
        return (), True
    levels = len(nested or ())
    last = at - 1 if at is not None else 2 * levels + 2 if nested is not None else None
    between = (record._command.argv or ())[1:last]
    return between, at is not None and nested is not None and len(between) == levels


def has_unclear_arguments(record: ExecRecord) -> bool:
    """Whether it is not known which words of its argv are options of ``#!`` lines."""
    return record._command.argv is not None and (record._command.arguments_at is None or not _between(record)[1])


def as_interpreters(record: ExecRecord) -> list[tuple[ExecRecord, bool]]:
    """The exec of a script as that of each of its interpreters, which the kernel has made of it: with an option, the
    script and its arguments. And whether it certainly is one."""
    if record.interpreter is None:
        return []
    found = [(_as_program(record, record.interpreter, record.executable, 1), True)]
    between, is_certain = _between(record)
    for at, path in enumerate(between, 1):
        nested = record._command.nested or (None,)
        for file in nested[at - 1 : at] if is_certain else dict.fromkeys(nested):
            found.append((_as_program(record, path, file, at + 1), is_certain))
    return found


def _as_program(record: ExecRecord, path: str, file: str | None, arguments_at: int) -> ExecRecord:
    command = replace(
        record._command, path=path, executable=file, interpreter=None, script=None, nested=(), arguments_at=arguments_at
    )
    command.program = base(path)
    return replace(record, _command=command)


def described(record: ExecRecord) -> str:
    """The command line without its secrets, argv[0] where that is not what the path says, and whether ptrace has taken
    rights away."""
    shown = record._command.shown
    text = line_of(shown, quoted)
    argv0 = _argv0(record) if _has_argv0(record) else None
    if argv0 is not None and record._command.argv and record.path is not None and base(argv0) != base(record.path):
        text += f"  (argv[0]: {quoted(''.join((shown.argv or ())[_argv0_at(record) :][:1]))})"
    if record._command.lost_privilege:
        text += "  (traced, so without its privilege)"
    return text


def files(record: ExecRecord) -> list[str | None]:
    """What an exec has loaded or read, by resolved paths; None for each that is there and not known."""
    if record.interpreter is None:
        return [record.executable]
    nested = record._command.nested
    return [record.executable, record.script, *((None,) if nested is None else nested)]

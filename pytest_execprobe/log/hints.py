"""Why something did not run, or ran elsewhere, where the reason is a known one. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from .._util import originals
from .._util.text import printable
from ..timeline.evidence import Evidence
from ..timeline.record import ExecRecord
from .pattern import Pattern
from .shells import BUILTINS, LIKE_SH, PROGRAMS


def did_not_run(pattern: Pattern, evidence: Evidence) -> Iterator[str]:
    """Why nothing, or too little, that matches has run."""
    name = _program(pattern)
    if name in PROGRAMS | BUILTINS and any(map(_is_shell, evidence.kinds().first)):
        way_out = f": call it by its path, or as env {name}" if name in PROGRAMS else ""
        yield f"a shell runs {name} itself, as a builtin, which is no exec{way_out}"
    tried = next(
        (record for record in evidence.attempts if record.error == "ENOEXEC" and pattern.match(record) is True), None
    )
    if tried is not None:
        yield (
            f"{printable(tried.path or '?')} was tried and is no program (ENOEXEC), as a text without #!: bash reads it"
            " itself, which is no exec; dash, env, execvp, find and xargs execute /bin/sh instead: give it a #! line"
        )
    read = next(
        (argv for argv in map(_script_of_sh, evidence.kinds().first) if argv and name in (argv, _base(argv))), None
    )
    if tried is None and read is not None:
        said = f"/bin/sh was executed to read {printable(read)}, which is no exec of that"
        yield f"{said}: give it a #! line, and execute it"


def _program(pattern: Pattern) -> str | None:
    """The name of the one program that a pattern asks for, None if it is no such pattern."""
    text = pattern.text
    if text.startswith("argv:"):
        text = next(iter(originals.split(text.removeprefix("argv:"))), "")
    elif pattern.name is None and not text.startswith("/"):
        return None
    return _base(pattern.name or text)


def _base(path: str) -> str:
    return originals.basename(path)


def _script_of_sh(record: ExecRecord) -> str | None:
    """What /bin/sh was given to read, as it is where a text without #! was to be executed."""
    argv = record._command.shown.argv or ()
    is_sh = record.interpreter is None and argv[:1] == ("/bin/sh",) and len(argv) > 1
    return argv[1] if is_sh and not argv[1].startswith("-") else None


def _is_shell(record: ExecRecord) -> bool:
    names = (record.program, record.executable, record.interpreter)
    return any(_base(name) in LIKE_SH for name in names if name)

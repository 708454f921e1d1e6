"""The lines of a process tree in a page: execs, forks without one, and what is folded as it is like others. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..log import tree
from ..log.tree import Process
from ..timeline.record import ExecRecord


@dataclass(eq=False, slots=True)
class Line:
    """One line. Without a record it says ``text``: of a process that has executed nothing, or of what is folded."""

    level: int
    record: ExecRecord | None = None
    #: What the process that forked this one was running, if that has a line.
    parent: ExecRecord | None = None
    process: Process | None = None
    text: str = ""
    #: Whether its process has a line above this one already.
    is_later: bool = False
    #: The line that stands for it until that is opened.
    fold: Line | None = None


def arrange(records: Iterable[ExecRecord]) -> Iterator[Line]:
    """A line for each exec, below what started it; what a line folds comes after it."""
    tops = tree.grow(list(records))
    processes = tree.every(tops)
    tree.classify(processes)
    folds = tree.folds(processes)
    # Where something was there before, it has no line: what an exec is below, if that has none, its own line says.
    first = [child for top in tops for _, child in top.children]
    root = Process(children=[(0, child) for child in sorted(first, key=lambda child: child.began or 0)])
    todo = list(_below(Line(-1, process=root), root, folds))[::-1]
    while todo:
        line = todo.pop()
        yield line
        process = line.process
        if process is not None and not line.is_later and (process.children or len(process.execs) > 1):
            todo += reversed(list(_below(line, process, folds)))


def _below(line: Line, process: Process, folds: bool) -> Iterator[Line]:
    """The further execs of a process, and its children, each as it began."""
    children = sorted(_children(process, folds), key=lambda child: child[0])
    at = 0
    for number, record in enumerate(process.execs or (None,)):
        if number:
            yield Line(line.level, record, line.parent, process, is_later=True, fold=line.fold)
        while at < len(children) and children[at][0] == number:
            _, child, fold = children[at]
            at += 1
            if child is not None:
                first = child.execs[0] if child.execs else None
                yield Line(line.level + 1, first, record, child, child.label, fold=fold or line.fold)
            elif fold is not None:
                fold.level, fold.fold = line.level + 1, line.fold
                yield fold


def _children(process: Process, folds: bool) -> Iterator[tuple[int, Process | None, Line | None]]:
    """Each with the number of the exec that has forked it and what it is folded into; in front of the first of these
    that line itself."""
    kinds: dict[int, list[Process]] = {}
    for _, child in process.children if folds else ():
        kinds.setdefault(child.kind, []).append(child)
    met: dict[int, int] = {}
    lines: dict[int, Line] = {}
    for at, child in process.children:
        met[child.kind] = met.get(child.kind, 0) + 1
        those = kinds.get(child.kind, [])
        if not tree.is_folded(met[child.kind], len(those)):
            yield at, child, None
            continue
        if child.kind not in lines:
            lines[child.kind] = Line(0, text=tree.folded(those[met[child.kind] - 1 :]))
            yield at, None, lines[child.kind]
        yield at, child, lines[child.kind]

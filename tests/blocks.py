"""The fenced blocks of the documentation, each to be run by a test, or marked with the reason why it is not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]

_FENCE = re.compile(r"^(`{3,})(\{?[\w-]*\}?)")
_NOT_RUN = re.compile(r"<!-- not run: (.+) -->")
_EXCERPT = re.compile(r"`([\w/.]+)`:")


@dataclass(frozen=True)
class Block:
    page: str
    line: int
    language: str
    text: str
    #: Why it is not run.
    not_run: str | None
    #: The file of which its lines are.
    excerpt_of: str | None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def commands(self) -> list[str]:
        """Of a shell: in what a terminal shows those behind a prompt, else every line."""
        lines = self.text.replace("\\\n", " ").splitlines()
        if self.language == "console":
            lines = [line[2:] for line in lines if line.startswith(("$ ", "# "))]
        return [line for line in lines if line and not line.startswith("#")]


def blocks(*languages: str) -> list[Block]:
    """Those to be run in these languages; without any, all of them."""
    found = [block for page in PAGES for block in _of(page)]
    if not languages:
        return found
    return [one for one in found if one.language in languages and not one.not_run and not one.excerpt_of]


def each(blocks: list[Block]) -> pytest.MarkDecorator:
    """A parameter ``block``."""
    return pytest.mark.parametrize("block", blocks, ids=str)


def _of(page: Path) -> Iterator[Block]:
    lines = page.read_text().splitlines()
    name = str(page.relative_to(ROOT))
    at = 0
    while at < len(lines):
        fence = _FENCE.match(lines[at])
        at += 1
        if fence is None:
            continue
        end = lines.index(fence[1], at)
        before = [line for line in lines[: at - 1] if line][-1]
        not_run, excerpt = _NOT_RUN.fullmatch(before), _EXCERPT.fullmatch(before)
        text = "".join(f"{line}\n" for line in lines[at:end])
        yield Block(name, at, fence[2], text, not_run and not_run[1], excerpt and excerpt[1])
        at = end + 1

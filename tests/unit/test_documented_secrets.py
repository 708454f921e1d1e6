"""docs/secrets.md has the rules that the code has."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from pytest_execprobe._util import secret
from pytest_execprobe._util.secret import Known

PAGE = (Path(__file__).parents[2] / "docs" / "secrets.md").read_text()


def row(known: Known) -> str:
    within = f"{' '.join(known.within)} " if known.within else ""
    programs = ", ".join(f"`{name}`" for name in known.programs)
    return f"| {programs} | {', '.join(f'`{within}{form}`' for form in forms(known))} |"


def forms(known: Known) -> Iterator[str]:
    for option in known.options:
        if known.how == secret.ATTACHED:
            yield f"{option}{'=' if option.startswith('--') else ''}SECRET"
        else:
            yield f"{option} {known.how}"
    if not known.options:
        yield "SECRET" if known.how == secret.POSITIONAL else known.how


def test_every_known_program_is_there() -> None:
    table = PAGE.partition("| program | arguments |\n| --- | --- |\n")[2].partition("\n\n")[0]
    assert table.splitlines() == [row(known) for known in secret.KNOWN]


def listed(title: str) -> set[str]:
    """What a line of the page lists, in backticks."""
    (line,) = re.findall(rf"^- {title}[^:]*: ((?:.|\n  )*)", PAGE, re.MULTILINE)
    return set(re.findall(r"`([^`]+)`", line))


def test_every_name_is_there() -> None:
    assert listed("Names that end with one of these") == set(secret.ENDINGS)
    assert listed("Names of which the last word is") == set(secret.LAST)
    assert listed('Names that end with the word "key", after') == {*secret.KEYS}
    assert listed("Headers") == set(secret.HEADERS)
    assert listed("Tokens that begin with") == set(secret.TOKENS)
    assert listed("Options that begin with") == set(secret.NEGATIONS)
    assert listed("Programs whose option password") == set(secret.ASKING)
    assert listed("Programs whose option secret") == set(secret.NAMING)
    assert listed(r"Likewise to programs that read it") == set(secret.FROM_STDIN)

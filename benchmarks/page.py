"""The page of a run: its table, and its plot."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pairs import BARE, TIMES, Figure, Line

#: The rows that other tracers are in.
PEERS = ("run", "traced")
_COLOURS = ("#0b6e99", "#d9822b", "#5c7080", "#8f398f", "#238551", "#c22762", "#9d7b00", "#404854")


# ---- numbers ----


def number(value: float) -> str:
    """Three digits that count, and all before the point."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    decimals = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{min(decimals, 4)}f}"


def ranged(figure: Figure, unit: str = "") -> str:
    """A median with its unit, and what it lies between if there is more than one sample."""
    # A ratio is told to a hundredth, whatever its size.
    tell = (lambda value: f"{value:.2f}") if unit == TIMES else number
    said = f"{tell(figure.median)} {unit}".strip()
    return said if figure.count == 1 else f"{said} ({tell(figure.low)} to {tell(figure.high)})"


# ---- table ----


def table(lines: Sequence[Line], ours: str, against: str | None) -> list[str]:
    """Markdown: of each line bare, what it is with the probe, with another commit's, and this one's part of that."""
    head = ["", "bare", ours, *([] if against is None else [against, f"{ours} ÷ {against}"])]
    rows = [head, ["---"] * len(head)]
    for line in lines:
        bare, figures = line.bare(), line.figures()
        unit, sign = {"ratio": (TIMES, ""), "beyond": (line.unit, "+")}.get(line.form, (line.unit, ""))
        cells = [line.title, "" if bare is None else ranged(bare, line.unit)]
        for series in [ours, *([] if against is None else [against])]:
            cells.append(sign + ranged(figures[series], unit) if series in figures else "")
        if against is not None:
            share = line.share(ours, against)
            cells.append("" if share is None else ranged(share, TIMES))
        rows.append(cells)
    return [f"| {' | '.join(cells)} |" for cells in rows]


def peers_table(lines: Sequence[Line]) -> list[str]:
    """Markdown: a row for each tracer, a column for each workload, ratios to bare."""
    names = list(dict.fromkeys(series for line in lines for series in line.samples if series != BARE))
    bares = [line.bare() for line in lines]
    rows = [["", *(line.title for line in lines)], ["---"] * (len(lines) + 1)]
    rows.append(
        ["bare", *("" if bare is None else ranged(bare, line.unit) for bare, line in zip(bares, lines, strict=True))]
    )
    for name in names:
        figures = [line.figures().get(name) for line in lines]
        rows.append([name, *("" if figure is None else ranged(figure, TIMES) for figure in figures)])
    return [f"| {' | '.join(cells)} |" for cells in rows]


# ---- plot ----

_WIDTH, _LEFT, _RIGHT = 960, 430, 90
_BAR, _GAP, _TOP = 14, 12, 58


def bars(title: str, groups: Sequence[tuple[str, Mapping[str, Figure]]], limit: float) -> str:
    """An SVG of medians as bars from 0 on, with their ranges. What goes beyond the limit is cut, and says so."""
    series = list(dict.fromkeys(name for _, figures in groups for name in figures))
    colours = {name: _COLOURS[at % len(_COLOURS)] for at, name in enumerate(series)}
    height = _TOP + sum(len(figures) * _BAR + _GAP for _, figures in groups) + 30
    width = _WIDTH - _LEFT - _RIGHT

    def at(value: float) -> float:
        return round(_LEFT + width * min(max(value, 0), limit) / limit, 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="10" y="20" font-size="14">{html.escape(title)}</text>',
    ]
    x = 10.0
    for name in series:
        parts.append(f'<rect x="{x:g}" y="31" width="10" height="10" fill="{colours[name]}"/>')
        parts.append(f'<text x="{x + 14:g}" y="40">{html.escape(name)}</text>')
        x += 30 + 6.5 * len(name)
    for tick in _ticks(limit):
        parts.append(f'<path d="M{at(tick):g} {_TOP - 6}V{height - 24}" stroke="{"#777" if tick == 1 else "#ddd"}"/>')
        parts.append(f'<text x="{at(tick):g}" y="{height - 10}" text-anchor="middle">{tick:g}</text>')
    y = _TOP
    for label, figures in groups:
        middle = y + len(figures) * _BAR / 2 + 4
        parts.append(f'<text x="{_LEFT - 8}" y="{middle:g}" text-anchor="end">{html.escape(label)}</text>')
        for name, figure in figures.items():
            parts.extend(_bar(figure, colours[name], y, at, limit))
            y += _BAR
        y += _GAP
    return "\n".join([*parts, "</svg>", ""])


def _bar(figure: Figure, colour: str, y: int, at: Callable[[float], float], limit: float) -> list[str]:
    middle = y + _BAR / 2
    end = at(figure.median)
    parts = [f'<rect x="{_LEFT}" y="{y + 1}" width="{end - _LEFT:g}" height="{_BAR - 2}" fill="{colour}"/>']
    if figure.low < limit and figure.count > 1:
        parts.append(f'<path d="M{at(figure.low):g} {middle:g}H{at(figure.high):g}" stroke="#000"/>')
    said = f"{figure.median:.2f}" + (" →" if figure.median > limit else "")
    parts.append(f'<text x="{max(end, at(figure.high)) + 5:g}" y="{middle + 4:g}">{said}</text>')
    return parts


def _ticks(limit: float) -> list[float]:
    step = next(step for step in (0.1, 0.25, 0.5, 1, 2, 5, 10, 1e9) if limit / step <= 10)
    return [tick * step for tick in range(int(limit / step) + 1)]


# ---- page ----


@dataclass(frozen=True)
class Page:
    """What a run has found, and where."""

    ours: str
    against: str | None
    machine: Sequence[str]
    #: Of each row: its docstring, and its lines.
    rows: Mapping[str, tuple[str, Sequence[Line]]]
    not_run: Mapping[str, str]
    peers: Sequence[str] = PEERS

    def lines(self) -> list[Line]:
        return [line for _, lines in self.rows.values() for line in lines]

    def plots(self) -> dict[str, str]:
        """SVGs, by the end of their name."""
        ratios = [(line.title, line.figures()) for line in self.lines() if line.form == "ratio"]
        plots = {"": bars("With the probe, as a multiple of bare (1 is bare)", ratios, 2.0)} if ratios else {}
        if self.against is not None:
            shares = [(line.title, line.share(self.ours, self.against)) for line in self.lines()]
            groups = [(title, {self.ours: share}) for title, share in shares if share is not None]
            if groups:
                plots["-against"] = bars(f"{self.ours}, as a part of what {self.against} takes", groups, 1.25)
        return plots

    def markdown(self, name: str) -> str:
        """``name``: of the plots, without their ends."""
        said = [
            "# Performance",
            "",
            "Written by `make bench`, with all figures from one run: what is changed here by hand is lost.",
            "",
            *(f"- {line}" for line in self.machine),
            "",
            "Each figure is a median with its range. What is compared was run in turn, each time another first. Bare",
            "has no probe attached and no plugin loaded. A ratio, to bare where nothing else is said, is marked by",
            f"{TIMES}, what comes on top of bare by +; both are taken pair by pair.",
            "",
        ]
        for end in self.plots():
            said += [f"![{'ratios to bare' if not end else 'beside the other commit'}]({name}{end}.svg)", ""]
        others = [line for row, (_, lines) in self.rows.items() if row not in self.peers for line in lines]
        if others:
            said += [*table(others, self.ours, self.against), ""]
        beside = [peers_table(self.rows[row][1]) for row in self.peers if row in self.rows]
        said += ["## Beside other tracers", ""] if beside else []
        for lines in beside:
            said += [*lines, ""]
        if self.not_run:
            said += [
                "## Not run",
                "",
                *(f"- {what}: {_reason(why)}" for what, why in self.not_run.items()),
                "",
            ]
        said += [Path(__file__).with_name("profile.md").read_text(), "## What the rows are", ""]
        said += [f"- `{row}`: {' '.join(text.split())}" for row, (text, _) in self.rows.items()]
        return "\n".join([*said, "", "A row is run by itself by `benchmarks/run.py ROW`.", ""])


def _reason(output: str) -> str:
    """What a command said last, without what it has indented below that."""
    return [line for line in output.splitlines() if line.strip() and not line[0].isspace()][-1].strip()

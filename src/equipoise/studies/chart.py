"""The chart of a study as one SVG file: a panel per task, a dot per seed, a bar for the mean's interval."""

from __future__ import annotations

import math
from collections.abc import Callable
from html import escape

from equipoise.studies.table import Row, Table

PLOT, RIGHT, LINE, HEAD, FOOT = 500, 30, 26, 46, 34  # pixels
BEYOND = 1.0  # spans of the dots that the axis goes on beyond them for an interval; two seeds' is 13 spans wide
BELOW = 7  # pixels from the mean's bar to the dots of its seeds
LETTER, LONGEST = 7, 60  # width of a letter in pixels at most, and letters of a name that are shown
CUT = "An arrow: the interval goes on beyond the axis; its ends are in the table."
STYLE = """
  svg { font: 13px system-ui, sans-serif; } text { fill: #222; } .faint { fill: #666; font-size: 11px; }
  .rule { stroke: #ddd; } .bar { stroke: #2a6fdb; stroke-width: 3; } .mean { fill: #2a6fdb; }
  .seed { fill: #888; fill-opacity: 0.8; } .base { stroke: #aaa; stroke-dasharray: 3 3; } .ground { fill: #fff; }
  @media (prefers-color-scheme: dark) { text { fill: #ddd; } .faint { fill: #aaa; } .rule { stroke: #444; }
    .bar { stroke: #7fb0ff; } .mean { fill: #7fb0ff; } .seed { fill: #999; } .base { stroke: #777; }
    .ground { fill: #161616; } }
"""


def draw(table: Table) -> str:
    """The chart; settings that never finished have a line without dots."""
    left = 28 + LETTER * max((len(_label(row)) for row in table.rows), default=10)
    width, top, parts = left + PLOT + RIGHT, 36, _legend(left)
    for task in table.tasks():
        rows = table.of(task)
        parts += _panel(rows, left, top)
        top += HEAD + LINE * len(rows) + FOOT
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {top}" width="{width}" height="{top}">'
    title = f"<title>{escape(table.title)}</title><style>{STYLE}</style>"
    return "\n".join([head, title, f'<rect class="ground" width="{width}" height="{top}"/>', *parts, "</svg>", ""])


def ticks(low: float, high: float) -> list[float]:
    """Four to ten round numbers between two numbers."""
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough * 0.999)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [round(step * number, 12) for number in range(first, last + 1)]


def reach(rows: list[Row]) -> tuple[float, float]:
    """What the axis has to show: all dots, and of intervals what lies no further beyond them than they lie apart."""
    dots = [v for row in rows for v in (*row.values.values(), row.mean.mean) if math.isfinite(v)]
    if not dots:
        return 0.0, 1.0
    low, high = min(dots), max(dots)
    room = BEYOND * (high - low)
    ends = [v for row in rows for v in (row.mean.low, row.mean.high) if math.isfinite(v)]
    return max(min((low, *ends)), low - room), min(max((high, *ends)), high + room)


def _panel(rows: list[Row], left: int, top: int) -> list[str]:
    numbers = [v for row in rows for v in row.values.values() if math.isfinite(v)]
    ends = reach(rows)
    margin = 0.05 * (ends[1] - ends[0]) or 0.05 * abs(ends[1]) or 0.5
    low, high = ends[0] - margin, ends[1] + margin

    def x(value: float) -> float:
        return round(left + (value - low) / (high - low) * PLOT, 1)

    better = "" if not numbers else "more is better" if rows[0].higher else "less is better"
    parts = [_text(16, top + 14, f"{rows[0].task}: {rows[0].primary}", 'font-weight="bold"'),
             _text(left + PLOT, top + 14, better, 'class="faint" text-anchor="end"')]  # fmt: skip
    bottom = top + HEAD + LINE * len(rows) - 10
    for value in ticks(low, high):
        parts += [_line("rule", x(value), x(value), top + 26, bottom),
                  _text(x(value), bottom + 15, f"{value:g}", 'class="faint" text-anchor="middle"')]  # fmt: skip
    if math.isfinite(rows[0].mean.mean):
        parts.append(_line("base", x(rows[0].mean.mean), x(rows[0].mean.mean), top + 26, bottom))
    for number, row in enumerate(rows):
        y = top + HEAD + LINE * number
        parts.append(_text(left - 12, y + 4, _label(row), 'text-anchor="end"', row.setting))
        if math.isfinite(row.mean.low):
            parts += _bar(row, ends, x, y)
        if math.isfinite(row.mean.mean):
            parts.append(_dot("mean", x(row.mean.mean), y, 5))
        parts += [_dot("seed", x(v), y + BELOW, 3, f"seed {seed}: {v:.4g}") for seed, v in row.values.items()]
    if any(row.mean.low < ends[0] or row.mean.high > ends[1] for row in rows):
        parts.append(_text(left, bottom + 30, CUT, 'class="faint"'))
    return parts


def _bar(row: Row, ends: tuple[float, float], x: Callable[[float], float], y: int) -> list[str]:
    """The interval, with an arrow where it goes on beyond the axis."""
    low, high = max(row.mean.low, ends[0]), min(row.mean.high, ends[1])
    hint = f"95 % interval: {row.mean.low:.4g} to {row.mean.high:.4g}"
    arrows = [_arrow(x(low), -1, y, hint)] * (low > row.mean.low) + [_arrow(x(high), 1, y, hint)] * (
        high < row.mean.high
    )
    return [_line("bar", x(low), x(high), y, y), *arrows]


def _legend(left: int) -> list[str]:
    said = (("seed", 3, 0, "one run"), ("mean", 5, 80, "mean, with its 95 % interval"))
    marks = [_line("bar", left + 70, left + 90, 18, 18), _line("base", left + 262, left + 262, 10, 26)]
    words = [_text(left + at + 14, 22, text, 'class="faint"') for _, _, at, text in said]
    marks += [_dot(kind, left + at, 18, radius) for kind, radius, at, _ in said]
    return [*marks, *words, _text(left + 270, 22, "mean of the first setting", 'class="faint"')]


def _label(row: Row) -> str:
    name = row.setting if len(row.setting) <= LONGEST else row.setting[: LONGEST - 1] + "…"
    return name + (f" ({len(row.failures)} failed)" if row.failures else "")


def _line(kind: str, x1: float, x2: float, y1: float, y2: float) -> str:
    return f'<line class="{kind}" x1="{x1}" x2="{x2}" y1="{y1}" y2="{y2}"/>'


def _arrow(x: float, way: int, y: float, hint: str) -> str:
    return f'<path class="mean" d="M {x} {y - 6} L {x + 11 * way} {y} L {x} {y + 6} Z">{_hint(hint)}</path>'


def _dot(kind: str, x: float, y: float, radius: int, hint: str = "") -> str:
    return f'<circle class="{kind}" cx="{x}" cy="{y}" r="{radius}">{_hint(hint)}</circle>'


def _text(x: float, y: float, text: str, attributes: str, hint: str = "") -> str:
    return f'<text x="{x}" y="{y}" {attributes}>{escape(text)}{_hint(hint)}</text>'


def _hint(text: str) -> str:
    return f"<title>{escape(text)}</title>" if text else ""

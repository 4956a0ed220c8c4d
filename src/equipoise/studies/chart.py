"""The chart of a study as one SVG file: a panel per task, a dot per seed, a bar for the mean's interval."""

from __future__ import annotations

import math
from html import escape

from equipoise.studies.table import Row, Table

WIDTH, LEFT, RIGHT, LINE, HEAD = 720, 190, 30, 24, 46  # pixels
STYLE = """
  svg { font: 13px system-ui, sans-serif; } text { fill: #222; } .faint { fill: #777; font-size: 11px; }
  .rule { stroke: #ddd; } .bar { stroke: #2a6fdb; stroke-width: 3; } .mean { fill: #2a6fdb; } .seed { fill: #888; }
  .base { stroke: #bbb; stroke-dasharray: 3 3; } .ground { fill: #fff; }
  @media (prefers-color-scheme: dark) { text { fill: #ddd; } .faint { fill: #999; } .rule { stroke: #444; }
    .bar { stroke: #7fb0ff; } .mean { fill: #7fb0ff; } .seed { fill: #999; } .base { stroke: #666; }
    .ground { fill: #161616; } }
"""


def draw(table: Table) -> str:
    """The chart; settings that never finished have a line without dots."""
    parts, top = [], 16
    for task in table.tasks():
        rows = table.of(task)
        parts += _panel(rows, top)
        top += HEAD + LINE * len(rows) + 34
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" width="{WIDTH}" height="{top}">'
    title = f"<title>{escape(table.title)}</title><style>{STYLE}</style>"
    return "\n".join([head, title, f'<rect class="ground" width="{WIDTH}" height="{top}"/>', *parts, "</svg>", ""])


def _panel(rows: list[Row], top: int) -> list[str]:
    numbers = [v for row in rows for v in (*row.values.values(), row.mean.low, row.mean.high) if math.isfinite(v)]
    low, high = (min(numbers), max(numbers)) if numbers else (0.0, 1.0)
    margin = 0.05 * (high - low) or 0.5
    low, high = low - margin, high + margin

    def x(value: float) -> str:
        return f"{LEFT + (value - low) / (high - low) * (WIDTH - LEFT - RIGHT):.1f}"

    better = "more is better" if rows[0].higher else "less is better"
    parts = [_text(16, top + 14, f"{rows[0].task}: {rows[0].primary}", "font-weight='bold'"),
             _text(WIDTH - RIGHT, top + 14, better, "class='faint' text-anchor='end'")]  # fmt: skip
    bottom = top + HEAD + LINE * len(rows) - 10
    for step in range(5):
        value = low + (high - low) * step / 4
        parts.append(f'<line class="rule" x1="{x(value)}" x2="{x(value)}" y1="{top + 26}" y2="{bottom}"/>')
        parts.append(_text(float(x(value)), bottom + 15, f"{value:.3g}", "class='faint' text-anchor='middle'"))
    if math.isfinite(rows[0].mean.mean):
        at = x(rows[0].mean.mean)
        parts.append(f'<line class="base" x1="{at}" x2="{at}" y1="{top + 26}" y2="{bottom}"/>')
    for number, row in enumerate(rows):
        y = top + HEAD + LINE * number
        note = f" ({len(row.failures)} failed)" if row.failures else ""
        parts.append(_text(LEFT - 12, y + 4, row.setting + note, "text-anchor='end'"))
        parts += [f'<circle class="seed" cx="{x(v)}" cy="{y}" r="3"/>' for v in row.values.values() if math.isfinite(v)]
        if math.isfinite(row.mean.low):
            parts.append(f'<line class="bar" x1="{x(row.mean.low)}" x2="{x(row.mean.high)}" y1="{y}" y2="{y}"/>')
        if math.isfinite(row.mean.mean):
            parts.append(f'<circle class="mean" cx="{x(row.mean.mean)}" cy="{y}" r="5"/>')
    return parts


def _text(x: float, y: float, text: str, attributes: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" {attributes}>{escape(text)}</text>'

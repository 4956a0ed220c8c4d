"""The timeline of a page: which signals share a chart, what is drawn behind them, and their numbers as plain data."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from equipoise.balancer import Move
from equipoise.diagnosis import Verdict
from equipoise.diagnosis.history import Point
from equipoise.report.page_pictures import thinned
from equipoise.report.page_record import Record
from equipoise.signals import SIGNALS

LOOKS = 1500  # points of a line: more would not be seen
MARKS = 300  # moves in a lane
WIDE = 30.0  # largest over smallest value from which a chart's scale is logarithmic, but for what is a share
SHARES = frozenset({"win_rate", "auc", "sign_real", "memory", "agreement", "swing", "lag", "precision", "coverage",
                    "recall", "skipped", "nonfinite", "adversarial_share", "augmentation", "leak"})  # fmt: skip

# Signals that share a chart stand in one tuple; those that the run does not tell are left out.
GROUPS: tuple[tuple[str, tuple[tuple[str, tuple[str, ...]], ...]], ...] = (
    ("Who is ahead", (
        ("Losses over their ideal values", ("loss_D", "loss_G")),
        ("Real against generated, told apart", ("win_rate", "auc")),
        ("Gap between real and generated logits", ("gap",)),
        ("Memorising", ("memory", "sign_real")),
    )),
    ("How the two move", (
        ("Size of a step over that of the weights", ("step_D", "step_G")),
        ("Gradients", ("gradient_D", "gradient_G", "pull")),
        ("Gradients beside earlier ones", ("heading_D", "heading_G")),
        ("Slope of the discriminator", ("slope_real", "slope_fake")),
        ("Scale of the logits", ("logit_scale",)),
        ("Agreement of the pulls", ("agreement",)),
        ("Largest singular values", ("spectrum_D", "spectrum_G")),
        ("Swinging", ("swing", "swing_size")),
        ("Period of the swing, kimg", ("swing_kimg",)),
        ("Lag of the generator's loss", ("lag",)),
        ("Values that were not finite", ("skipped", "nonfinite")),
    )),
    ("What comes of it", (
        ("Distance from held-out data", ("energy",)),
        ("Fréchet distance", ("frechet",)),
        ("Fidelity and coverage", ("precision", "coverage", "recall")),
        ("Diversity and churn", ("diversity", "churn")),
        ("Nearest training sample", ("nearest",)),
        ("Duality gap", ("duality_gap",)),
        ("Held by another loss", ("adversarial_share", "reconstruction")),
        ("Augmentation shown to the discriminator", ("augmentation", "leak")),
    )),
)  # fmt: skip


class Line(NamedTuple):
    """One line of a chart."""

    name: str
    points: Sequence[Point]
    meaning: str = ""
    balance: str = ""
    style: int = 0  # colour and dashes
    share: bool = False  # of a whole: never on a logarithmic scale


def of_run(record: Record) -> list[tuple[str, list[dict[str, Any]]]]:
    """The charts of one run, under headings: signals in groups, what was turned, and whatever else was recorded."""
    told = {name: points for name, points in record.history.signals.items() if points}
    spans = _spans(record.verdict)
    made, used = [], set()
    for heading, plans in GROUPS:
        charts = []
        for title, names in plans:
            used |= set(names)
            lines = [signal_line(name, told[name], number) for number, name in enumerate(names) if name in told]
            if lines and not _is_idle(lines):
                charts.append(chart(title, lines, [span for span in spans if span["signal"] in names]))
        made.append((heading, charts))
    rest = {name: points for name, points in told.items() if name not in used}
    made.append(("More", [chart(name, [signal_line(name, points)]) for name, points in sorted(rest.items())]))
    made.append(("What was turned", [_dial(name, points) for name, points in turned(record).items()]))
    return [(heading, charts) for heading, charts in made if charts]


def of_runs(records: Sequence[Record]) -> list[tuple[str, list[dict[str, Any]]]]:
    """The charts of several runs: one a signal, one line a run."""
    order = [name for _, plans in GROUPS for _, names in plans for name in names]
    others = sorted({name for record in records for name in record.history.signals} - set(order))
    charts = []
    for name in [*order, *others]:
        told = [(number, record.history.signals.get(name, [])) for number, record in enumerate(records)]
        lines = [signal_line(name, points, number, label(records, number)) for number, points in told if points]
        if lines and not _is_idle(lines):
            charts.append(chart(name, lines, note=_said(name)))
    return [("Signals", charts)] if charts else []


def label(records: Sequence[Record], number: int) -> str:
    """A run's name; its number beside it where others are called the same."""
    name = records[number].name
    return name if sum(record.name == name for record in records) == 1 else f"{name} ({number + 1})"


def turned(record: Record) -> dict[str, list[Point]]:
    """The dials whose position has changed, by a controller or a schedule."""
    return {name: points for name, points in record.history.dials.items() if len({value for _, value in points}) > 1}


def moves(made: Iterable[Move]) -> list[dict[str, Any]]:
    """Moves as the page shows them."""
    return [{"kimg": move.kimg, "text": move.text(), "loop": move.loop, "done": move.done} for move in made]


def lanes(record: Record) -> list[dict[str, Any]]:
    """Findings and moves over the run's length, a lane each: marks with their places in per cent."""
    end = max(record.total_kimg or 0.0, record.history.kimg) or 1.0
    made: list[dict[str, Any]] = []
    for one in record.verdict.findings if record.verdict else ():
        told = [proof.since for proof in one.evidence if proof.since is not None]
        if told:
            since, text = max(told), f"{one.name}: {one.summary}, since {max(told):g} kimg"
            place = {"left": _share(since, end), "width": _share(record.history.kimg - since, end)}
            made.append({"name": one.name, "kind": one.severity.name.lower(),
                         "marks": [{**place, "kind": "bar", "text": text}]})  # fmt: skip
    for actuator in dict.fromkeys(move.actuator for move in record.moves):
        own = thinned([move for move in record.moves if move.actuator == actuator], MARKS)
        marks = [{"left": _share(move.kimg, end), "width": None, "kind": f"move {_way(move)}", "text": move.text()}
                 for move in own]  # fmt: skip
        made.append({"name": actuator, "kind": "moves", "marks": marks})
    return made


def signal_line(name: str, points: Sequence[Point], style: int = 0, label: str = "") -> Line:
    """A signal as a line, with what it means; of several discriminators' too, `mpd/win_rate`."""
    plain = name.rpartition("/")[2]
    known = SIGNALS.get(plain)
    meaning, balance = (known.meaning, known.balance) if known else ("", "")
    return Line(label or name, points, meaning, balance, style, plain in SHARES)


def chart(
    title: str, lines: Sequence[Line], spans: Sequence[Mapping[str, Any]] = (), note: str = "", stepped: bool = False
) -> dict[str, Any]:
    """The data of one chart: moments, and for every line a value or null at each of them."""
    kept = [thinned(line.points, LOOKS) for line in lines]
    moments = sorted({kimg for points in kept for kimg, _ in points})
    values = [value for points in kept for _, value in points]
    columns = [[_short(at[kimg]) if kimg in at else None for kimg in moments] for at in map(dict, kept)]
    return {
        "title": title,
        "note": note,
        "x": [_short(kimg) for kimg in moments],
        "lines": [
            {"name": line.name, "meaning": line.meaning, "balance": line.balance, "style": line.style, "y": column}
            for line, column in zip(lines, columns, strict=True)
        ],
        "log": min(values) > 0 and max(values) > WIDE * min(values) and not any(line.share for line in lines),
        "band": next((band for line in lines if (band := balanced(line.balance))), None),
        "spans": list(spans),
        "stepped": stepped,
    }


def balanced(text: str) -> tuple[float | None, float | None] | None:
    """From where to where a signal is balanced, as `Signal.balance` says it; None for an open end, or if it does not.

    "0.5 to 0.8" is both, "below 2" the upper, "1 or above" the lower, and a number by itself, "about 1", one line.
    """
    if match := re.match(r"([\d.]+) to ([\d.]+)", text):
        return float(match[1]), float(match[2])
    if match := re.match(r"below ([\d.]+)", text):
        return None, float(match[1])
    if match := re.match(r"([\d.]+) or above", text):
        return float(match[1]), None
    if match := re.match(r"(?:about )?([\d.]+)(?:,|$)", text):
        return float(match[1]), float(match[1])
    return None


def _spans(verdict: Verdict | None) -> list[dict[str, Any]]:
    """Since when the signals have stood so that a finding follows, for findings that matter."""
    findings = [one for one in verdict.findings if one.severity > 0] if verdict else []
    return [
        {"signal": proof.signal, "since": proof.since, "severity": one.severity.name.lower(), "name": one.name}
        for one in findings
        for proof in one.evidence
        if proof.since is not None
    ]


def _dial(name: str, points: Sequence[Point]) -> dict[str, Any]:
    return chart(name, [Line(name, points)], stepped=True)


def _said(name: str) -> str:
    known = SIGNALS.get(name.rpartition("/")[2])
    return f"{known.meaning}; balanced: {known.balance}" if known else ""


def _is_idle(lines: Sequence[Line]) -> bool:
    """Whether there is nothing to see: shares of what went wrong that stay at 0."""
    return all(value == 0 for line in lines for _, value in line.points)


def _short(value: float) -> float:
    return float(f"{value:.5g}")


def _way(move: Move) -> str:
    return "up" if move.after > move.before else "down" if move.after < move.before else "still"


def _share(kimg: float, end: float) -> float:
    return round(100 * kimg / end, 2)

"""The page to read: the answer, then arms, differences, classes and amounts as tables, and how it was done."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from equipoise.apps.augment.arms import Setting
from equipoise.apps.augment.verdict import Verdict, percent, points
from equipoise.studies.statistics import Estimate


def markdown(
    facts: dict[str, Any],  # as in report.json
    verdict: Verdict,
    tried: dict[str, dict[Setting, float]],  # by arm and setting: mean accuracy on validation images
    names: tuple[str, ...],  # of the classes
) -> str:
    """The page, as table.md has it."""
    blocks = (
        [f"# Synthetic images for {facts['data']}"],
        verdict.sentences,
        _arms(verdict),
        _differences(verdict),
        _classes(verdict, names),
        _amounts(tried, facts["amounts"]),
        [_method(facts)],
    )
    return "\n\n".join("\n".join(lines) for lines in blocks) + "\n"


def _arms(verdict: Verdict) -> list[str]:
    head = ("trained on", "synthetic per class", "learning rate", "validation", "test, real images")
    rows = [
        (name, its.setting.amount or "-", f"{its.setting.rate:g}", percent(its.validation), spanned(its.accuracy))
        for name, its in verdict.results.items()
    ]
    return _table(head, rows)


def _differences(verdict: Verdict) -> list[str]:
    head = ("compared on the test images", "over the seeds", "over the test images")
    rows = [(f"{d.more} against {d.than}", points(d.seeds), points(d.images)) for d in verdict.differences]
    return _table(head, rows)


def _classes(verdict: Verdict, names: tuple[str, ...]) -> list[str]:
    decisive = verdict.differences[0]
    rows = [
        (name, *(spanned(its.classes[number]) for its in verdict.results.values()), points(verdict.classes[number]))
        for number, name in enumerate(names)
    ]
    return _table(("class", *verdict.results, f"{decisive.more} against {decisive.than}"), rows)


def _amounts(tried: dict[str, dict[Setting, float]], amounts: Sequence[int]) -> list[str]:
    """What the amounts were chosen by."""
    rows = []
    for arm, settings in tried.items():
        best = [max((v for s, v in settings.items() if s.amount == a), default=None) for a in (0, *amounts)]
        rows.append((arm, *("" if one is None else percent(one) for one in best)))
    return _table(("on validation images, at the best rate", "none", *(f"{a} per class" for a in amounts)), rows)


def _method(facts: dict[str, Any]) -> str:
    counts, made = facts["images"], facts["synthetic"]
    return (
        f"{counts['training']:,} images to train on, {counts['validation']:,} to choose by, {counts['test']:,} to test "
        f"on. GAN: {facts['gan']}. Of {made['candidates']:,} candidates {made['copies']:,} were left out as copies of "
        f"training images, and of the others {made['kept']:,} were kept, in each class those that the discriminator "
        f"finds most like real ones; their median stands at percentile {made['median_percentile']:.0f} of held-out "
        f"real images, and within a class they differ from each other {made['variety']:.2f} times as much as real ones "
        f"do. Every arm: the same network, {facts['updates']:,} updates, {facts['settings_tried']} settings "
        f"tried on the validation images with {facts['tuning_seeds']} seeds each, then {facts['seeds']} other seeds on "
        f"the test images, every class as often as any other. Classical: {facts['classical']}. Intervals are 95 % by "
        "Student's t, over the classifier's seeds unless said otherwise. They do not cover another run of the GAN or "
        "another split of the data."
    )


def spanned(found: Estimate) -> str:
    """A share in percent with its interval, as far as there can be shares."""
    low, high = max(0.0, 100 * found.low), min(100.0, 100 * found.high)
    around = "" if math.isnan(found.low) else f" ({low:.1f} to {high:.1f})"
    return f"{100 * found.mean:.1f}{around}"


def _table(head: Sequence[object], rows: Iterable[Sequence[object]]) -> list[str]:
    return [_line(head), _line(["---"] * len(head)), *map(_line, rows)]


def _line(cells: Sequence[object]) -> str:
    return f"| {' | '.join(map(str, cells))} |"

"""A folder as the Hugging Face Hub lays it out: a model card, config.json and a picture of samples beside the files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from equipoise import __version__, images, samples
from equipoise.apps.evaluate.result import LINES
from equipoise.apps.export.subject import Subject
from equipoise.apps.export.text import render
from equipoise.diagnosis import Severity
from equipoise.errors import InputError
from equipoise.networks.layers import count_parameters
from equipoise.report import page_record

PICTURE = "samples.png"


def write(folder: Path, subject: Subject) -> None:
    """Add README.md, config.json and samples.png to a folder that holds generator.py and model.safetensors."""
    images.save_png(folder / PICTURE, _picture(subject))
    (folder / "config.json").write_text(json.dumps(_config(subject), indent=1) + "\n", encoding="utf-8")
    record = page_record.read(subject.run)
    findings = record.verdict.findings if record.verdict else ()
    card = render(
        "card.md.jinja",
        version=__version__,
        subject=subject,
        tags=_tags(subject),
        parameters=count_parameters(subject.generator),
        count=record.data.get("count"),
        troubles=[one.summary for one in findings if one.severity > Severity.GOOD],
        evaluation=_evaluation(subject.run / "evaluation.json") if subject.newest else None,
    )
    (folder / "README.md").write_text(card, encoding="utf-8")


def _picture(subject: Subject) -> Any:
    """The grid that follows a run, of full truncation: a column a class where that fits."""
    grid = samples.Grid(subject.shape, len(subject.classes), subject.latent_dim)
    made = samples.generate(subject.generator, grid.latents, grid.labels).numpy()
    return images.picture(made) if grid.vectors else images.grid(images.to_uint8(made), columns=grid.columns)


def _config(subject: Subject) -> dict[str, Any]:
    """What a program may want to know; generator.py holds the same."""
    network = subject.config.recipe.network
    return {
        "library": f"equipoise {__version__}",
        "recipe": subject.config.recipe.name,
        "network": "own" if subject.config.own_networks else network.name,
        "latent_dim": subject.latent_dim,
        "shape": list(subject.shape),
        "classes": list(subject.classes),
        "kimg": subject.kimg,
    }


def _tags(subject: Subject) -> list[str]:
    kind = "image-generation" if len(subject.shape) == 3 else "vectors"
    return ["gan", "equipoise", kind, "class-conditional" if subject.classes else "unconditional"]


def _evaluation(path: Path) -> dict[str, Any] | None:
    """What `equipoise evaluate` found, as rows; None where it has not been asked."""
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        called, floor = found["features"]["called"], found["floor"]["numbers"]
        rows = [
            (line.format(called), _interval(found["numbers"][name], line), _interval(floor[name], line))
            for name, line in LINES.items()
            if name in found["numbers"]
        ]
        return {
            "rows": rows,
            "generated": found["generated"]["count"],
            "real": found["real"]["count"],
            "against": Path(found["real"]["name"]).name,
            "features": found["features"]["name"],
            "memorisation": found["memorisation"],
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} cannot be read ({error}); evaluate again with --out {path}, or move it aside"
        ) from None


def _interval(measure: list[float | None], line: str) -> str:
    """A value and its interval, to read; a line that says x 1000 is taken at its word."""
    value, low, high = (one if one is None else one * (1000 if "x 1000" in line else 1) for one in measure)
    if value is None:
        return "-"
    return f"{value:.4g}" if low is None or high is None else f"{value:.4g} [{low:.4g}, {high:.4g}]"

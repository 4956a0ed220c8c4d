"""The page of a run, or of several side by side: one HTML file that holds all it needs and asks nobody for anything."""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from equipoise import __version__
from equipoise.diagnosis import Severity
from equipoise.errors import InputError
from equipoise.files import atomic_write
from equipoise.report import page_charts, page_pictures, page_record
from equipoise.report.page_record import Record
from equipoise.report.page_tables import advice, differing, facts, headline, metrics, sentence, settings
from equipoise.signals import SIGNALS

if TYPE_CHECKING:
    from jinja2 import Environment

    from equipoise.report.page_closer import Closer

SECTIONS = ("head", "verdict", "next", "timeline", "samples", "closer", "metrics", "recipe")
MARK = b'<meta name="generator" content="equipoise'  # by which a page of ours is known
LISTED = 500  # moves in the table of all moves


def write(
    folders: Sequence[Path],
    out: Path | None = None,  # default: report.html in the run's folder; of several runs, in the current one
    closer: bool = True,  # load the generator and look at its samples, which takes PyTorch and some seconds
) -> Path:
    """Write the page of a run, or that of several side by side; nothing but such a page is ever overwritten."""
    records = [page_record.read(folder) for folder in folders]
    if not records:
        raise InputError("a page was asked for of no run; name one run folder or more")
    alone = len(records) == 1
    path = out or (folders[0] if alone else Path()) / "report.html"
    _check(path)
    seen = _closer(records[0]) if closer and alone and records[0].pictures else None
    try:
        atomic_write(path, render(records, seen))
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({error.strerror}); give --out a place where you may write"
        ) from None
    return path


def render(records: Sequence[Record], closer: Closer | None = None, live: bool = False) -> str:
    """The whole page as HTML."""
    script = "\n".join([_text("vendored/uPlot.iife.min.js"), _text("templates/page.js")])
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    made = sections(records, closer, live)
    return (
        _environment()
        .get_template("page.html")
        .render(
            title=" · ".join(record.name for record in records),
            version=__version__,
            style="\n".join([_text("vendored/uPlot.min.css"), _text("templates/page.css")]),
            script=script,
            policy=f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
            + ("; connect-src 'self'" if live else ""),
            live=live,
            sections=made,
            stamps={name: stamp(text) for name, text in made.items()},
        )
    )


def sections(records: Sequence[Record], closer: Closer | None = None, live: bool = False) -> dict[str, str]:
    """The parts of the page as HTML, by name."""
    alone = len(records) == 1
    groups = page_charts.of_run(records[0]) if alone else page_charts.of_runs(records)
    numbers = iter(range(sum(len(charts) for _, charts in groups)))
    given = {
        "records": records,
        "names": [page_charts.label(records, number) for number in range(len(records))],
        "alone": alone,
        "live": live,
        "closer": closer,
        "groups": [(heading, [(next(numbers), chart) for chart in charts]) for heading, charts in groups],
        "plain": _plain(records, groups),
        "pictures": [_sampled(record) for record in records],
        "reals": [page_pictures.inlined(record.reals) if record.reals else None for record in records],
        "taken": min(max((len(record.pictures) for record in records), default=0), page_pictures.MOST),
    }
    environment = _environment()
    return {name: environment.get_template(f"{name}.html").render(given).strip() for name in SECTIONS}


def stamp(text: str) -> str:
    """A short name for a text: another one for any other text."""
    return hashlib.sha256(text.encode(errors="backslashreplace")).hexdigest()[:16]


def _plain(records: Sequence[Record], groups: Sequence[tuple[str, list[dict[str, Any]]]]) -> dict[str, Any]:
    """What the page's script draws."""
    moves = page_charts.moves(records[0].moves) if len(records) == 1 else []
    lengths = [record.total_kimg or record.history.kimg for record in records]
    return {
        "charts": [chart for _, charts in groups for chart in charts],
        "moves": moves,
        "end": max(lengths, default=0.0),
        "now": max((record.history.kimg for record in records), default=0.0),
    }


def _sampled(record: Record) -> list[tuple[int, page_pictures.Picture]]:
    """The sample grids that are shown, with their kimg; broken files are left out."""
    found = [(kimg, page_pictures.inlined(path)) for kimg, path in page_pictures.thinned(record.pictures)]
    return [(kimg, picture) for kimg, picture in found if picture is not None]


def _closer(record: Record) -> Closer:
    from equipoise.report import page_closer  # loads PyTorch

    return page_closer.look(record.folder)


def _check(path: Path) -> None:
    """Refuse to overwrite anything but a page of ours."""
    if path.is_dir():
        raise InputError(f"{path} is a folder; give --out the name of a file, such as {path / 'report.html'}")
    if not path.parent.is_dir():
        raise InputError(f"{path} cannot be written, for there is no folder {path.parent}; make it first")
    if path.exists():
        with path.open("rb") as file:
            if MARK not in file.read(2000):
                raise InputError(f"{path} exists already and is no page of ours, so it stays; give another --out")


def _text(name: str) -> str:
    return (resources.files("equipoise.report") / name).read_text(encoding="utf-8").strip()


@functools.cache
def _environment() -> Environment:
    """Templates that escape whatever comes from a run, and refuse names that are not given."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("equipoise.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals |= {"SIGNALS": SIGNALS, "Severity": Severity, "LISTED": LISTED}
    made.globals |= {"facts": facts, "advice": advice, "metrics": metrics, "settings": settings, "differing": differing}
    made.globals |= {"lanes": page_charts.lanes, "headline": headline, "sentence": sentence}
    made.filters |= {"number": number, "size": size, "clock": clock}
    return made


def number(value: Any) -> str:
    """A number to read: four digits that count."""
    return f"{value:.4g}" if isinstance(value, (int, float)) and not isinstance(value, bool) else str(value)


def size(count: int) -> str:
    """Bytes in kB or MB."""
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"


def clock(seconds: float) -> str:
    """A length of time in the two units that matter."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"

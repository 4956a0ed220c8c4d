"""Put a run's training samples and its newest generated ones side by side, and show the latter in the terminal.

    python examples/show_run.py runs/demo

writes runs/demo/reals-and-fakes.png: reals on the left, generated ones on the right.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.style import Style
from rich.text import Text

GAP = 24  # pixels between the two


def side_by_side(run: Path) -> Path:
    """Write the picture and return its path."""
    reals = Image.open(run / "reals.png").convert("RGB")
    fakes = newest(run)
    picture = Image.new("RGB", (reals.width + GAP + fakes.width, max(reals.height, fakes.height)), "white")
    picture.paste(reals, (0, 0))
    picture.paste(fakes, (reals.width + GAP, 0))
    path = run / "reals-and-fakes.png"
    picture.save(path)
    return path


def newest(run: Path) -> Image.Image:
    """The last picture of samples."""
    return Image.open(sorted((run / "samples").glob("fakes-*.png"))[-1]).convert("RGB")


def preview(picture: Image.Image, columns: int) -> Text:
    """A picture as coloured half blocks: each character is two pixels, one above the other."""
    rows = round(picture.height * columns / picture.width / 2) * 2
    colours = np.asarray(picture.resize((columns, rows), Image.Resampling.BOX))  # uint8 [rows, columns, 3]
    text = Text(no_wrap=True)
    for top in range(0, rows, 2):
        for x in range(columns):
            upper, lower = (f"#{bytes(colours[y, x]).hex()}" for y in (top, top + 1))
            text.append("▀", Style(color=upper, bgcolor=lower))
        text.append("\n")
    return text


def main() -> None:
    """Write the picture; draw it too where a terminal can."""
    if len(sys.argv) != 2 or not (Path(sys.argv[1]) / "reals.png").is_file():
        sys.exit("usage: python examples/show_run.py RUN, where RUN is a folder that `equipoise train` made")
    run, console = Path(sys.argv[1]), Console()
    if console.is_terminal and console.encoding.startswith("utf"):
        console.print(preview(newest(run), columns=min(console.width, 90)))
    print(f"Real on the left, generated on the right: {side_by_side(run)}")


if __name__ == "__main__":
    main()

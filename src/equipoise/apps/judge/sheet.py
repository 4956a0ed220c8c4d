"""A picture of what was judged: each image, the training images nearest to it, the generated ones nearest to it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from equipoise import images
from equipoise.apps.judge.answer import Answer, Neighbours

Bytes = NDArray[np.uint8]

LARGE = 48  # pixels: smaller images are enlarged to at least this
MARGIN, LINE = 8, 14  # pixels between parts, and of a line of text
MOST = 100  # images shown
INK = (60, 60, 60)


def sheet(given: Bytes, training: Bytes, fakes: Bytes, found: Sequence[Answer], near: Neighbours) -> Bytes:
    """The picture [height, width, 3]; rows are numbered as the answers are, and tell their percentile."""
    from PIL import Image, ImageDraw

    scale = max(1, -(-LARGE // max(given.shape[2:])))
    rows = [
        [
            _strip(given[i : i + 1], scale),
            _strip(training[near.training[i]], scale),
            _strip(fakes[near.fakes[i]], scale),
        ]
        for i in range(min(MOST, len(given)))
    ]
    height, left = rows[0][0].shape[0] + LINE, MARGIN
    places = [left, *(left + np.cumsum([part.shape[1] + 3 * MARGIN for part in rows[0]]))]
    paper = np.full((LINE + MARGIN + height * len(rows), int(places[-1]), 3), 255, np.uint8)
    for i, row in enumerate(rows):
        top = LINE + MARGIN + i * height
        for place, part in zip(places, row, strict=False):
            paper[top : top + part.shape[0], place : place + part.shape[1]] = part
    picture = Image.fromarray(paper)
    draw = ImageDraw.Draw(picture)
    for place, words in zip(places, ("given", "nearest training images", "nearest generated"), strict=False):
        draw.text((place, 2), words, fill=INK)
    for i, one in enumerate(found[: len(rows)]):
        draw.text((left, LINE + MARGIN + (i + 1) * height - LINE), f"{i + 1}: {one.percentile:.0f} %", fill=INK)
    return np.asarray(picture)


def _strip(row: Bytes, scale: int) -> Bytes:
    """Images side by side in colour."""
    picture = images.grid(row, columns=len(row), scale=scale)
    return picture if picture.shape[2] == 3 else picture[:, :, :1].repeat(3, axis=2)

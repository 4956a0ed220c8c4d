"""The examples do what they say."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

EXAMPLES = Path(__file__).parents[1] / "examples"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_bare_loop_learns_the_ring(capsys: pytest.CaptureFixture[str]) -> None:
    found = load("bare_loop").main(steps=600)
    assert found.hit == 8
    assert found.reverse_kl < 0.1  # nats: a missing mode costs 0.13, a mode of double weight 0.06
    assert found.high_quality > 0.2  # uniform on the square of the ring: 0.02
    assert "500 steps" in capsys.readouterr().out


def test_a_term_in_a_bare_loop_changes_the_update() -> None:
    """Without R1 the same loop moves differently, so the penalty's gradient does reach the discriminator."""
    loop = load("bare_loop")
    plain = loop.R1
    with_r1 = loop.main(steps=20)
    assert loop.main(steps=20) == with_r1
    loop.R1 = lambda gamma: plain(gamma=0.0)
    assert loop.main(steps=20) != with_r1


def run_folder(path: Path) -> Path:
    (path / "samples").mkdir(parents=True)
    for name, grey in (("reals.png", 10), ("samples/fakes-000001.png", 100), ("samples/fakes-000020.png", 200)):
        Image.fromarray(np.full((8, 16), grey, np.uint8)).save(path / name)
    return path


def test_reals_and_the_newest_fakes_stand_side_by_side(tmp_path: Path) -> None:
    show_run = load("show_run")
    picture = np.asarray(Image.open(show_run.side_by_side(run_folder(tmp_path / "run"))))
    assert picture.shape == (8, 16 + show_run.GAP + 16, 3)
    assert (picture[:, :16] == 10).all()
    assert (picture[:, 16:-16] == 255).all()
    assert (picture[:, -16:] == 200).all()


def test_the_preview_has_two_pixels_a_character() -> None:
    upper_red_lower_blue = Image.fromarray(np.array([[[255, 0, 0]] * 3, [[0, 0, 255]] * 3], np.uint8))
    text = load("show_run").preview(upper_red_lower_blue, columns=3)
    assert text.plain == "▀▀▀\n"
    assert {str(span.style) for span in text.spans} == {"#ff0000 on #0000ff"}

"""Pictures of samples: values, places and files."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from equipoise import images
from equipoise.errors import InputError


def test_to_uint8_rounds_and_clips() -> None:
    values = [-2.0, -1.0, 0.0, 0.5 / 127.5 - 1, 1.0, 1.5, float("nan"), float("inf"), float("-inf")]
    assert images.to_uint8(torch.tensor(values)).tolist() == [0, 0, 128, 0, 255, 255, 0, 255, 0]
    assert images.to_uint8(torch.ones(2, 1, 3, 3, dtype=torch.bfloat16, requires_grad=True)).dtype == np.uint8


def test_to_uint8_undoes_the_training_scale_exactly() -> None:
    levels = np.arange(256, dtype=np.uint8)
    assert np.array_equal(images.to_uint8(levels.astype(np.float32) / 127.5 - 1), levels)


def test_grid_places_each_image_row_by_row() -> None:
    cells = np.arange(6, dtype=np.uint8)[:, None, None, None].repeat(4, 2).repeat(4, 3)
    picture = images.grid(cells, columns=3, padding=1, scale=2)
    assert picture.shape == (2 * 9 + 1, 3 * 9 + 1, 1)
    for index in range(6):
        top, left = index // 3 * 9 + 1, index % 3 * 9 + 1
        assert (picture[top : top + 8, left : left + 8] == index).all()
    assert (picture[0] == 255).all()
    assert (picture[:, 9] == 255).all()


def test_grid_enlarges_small_images_only() -> None:
    assert images.grid(np.zeros((1, 3, 8, 8), np.uint8), padding=0).shape == (32, 32, 3)
    assert images.grid(np.zeros((1, 1, 28, 28), np.uint8), padding=0).shape == (56, 56, 1)
    assert images.grid(np.zeros((4, 3, 64, 64), np.uint8), padding=0).shape == (128, 128, 3)


def test_grid_shows_channels_that_are_no_colours_side_by_side() -> None:
    pair = np.stack([np.full((2, 40, 40), 10), np.full((2, 40, 40), 200)], axis=1).astype(np.uint8)
    picture = images.grid(pair, columns=1, padding=0)
    assert picture.shape == (80, 80, 1)
    assert (picture[:, :40] == 10).all()
    assert (picture[:, 40:] == 200).all()


@pytest.mark.parametrize(
    "wrong", [np.zeros((2, 1, 8, 8)), np.zeros((0, 1, 8, 8), np.uint8), np.zeros((8, 8), np.uint8)]
)
def test_grid_refuses_what_it_cannot_show(wrong: np.ndarray) -> None:
    with pytest.raises(InputError, match="to_uint8"):
        images.grid(wrong)


def test_scatter_draws_at_the_place_on_the_reference_axes() -> None:
    square = np.array([[-1.0, -1.0], [1.0, 1.0]])
    picture = images.scatter(np.array([[0.6, 0.3]]), square, size=260).astype(int)  # 100 pixels for each unit
    colour = (picture[:, :, 0] - picture[:, :, 2]) > 60  # the generated points' hue
    rows, columns = np.nonzero(colour)
    assert abs(rows.mean() - (130 - 30)) < 1.5
    assert abs(columns.mean() - (130 + 60)) < 1.5
    same_axes = images.scatter(np.array([[0.6, 0.3], [50.0, 0.0]]), square, size=260).astype(int)
    assert np.array_equal(same_axes[:, :200], picture[:, :200])
    assert ((same_axes[:, 250:, 0] - same_axes[:, 250:, 2]) > 60).any()  # the outlier stands on the border


def test_scatter_leaves_nan_out_and_bears_hopeless_points() -> None:
    nothing = images.scatter(np.full((3, 2), np.nan))
    assert nothing.shape == (512, 512, 3)
    assert images.scatter(np.full((5, 2), 3.0)).shape == (512, 512, 3)
    assert images.scatter(np.array([[np.inf, 0.0], [1.0, 2.0]])).shape == (512, 512, 3)
    with pytest.raises(InputError, match=r"\[N, 2\]"):
        images.scatter(np.zeros((4, 3)))


def test_picture_chooses_by_shape() -> None:
    generator = np.random.default_rng(0)
    assert images.picture(torch.zeros(9, 1, 8, 8)).shape == (104, 104, 1)
    assert images.picture(generator.normal(size=(20, 2)), generator.normal(size=(20, 2))).shape == (512, 512, 3)
    assert images.picture(generator.normal(size=(20, 1))).shape == (512, 512, 3)
    assert images.picture(generator.normal(size=(20, 64)), generator.normal(size=(20, 64))).shape[2] == 3
    with pytest.raises(InputError, match="cannot be drawn"):
        images.picture(np.zeros(4))


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_png_returns_the_same_bytes(tmp_path, channels: int) -> None:
    array = np.random.default_rng(0).integers(0, 256, (5, 7, channels)).astype(np.uint8)
    images.save_png(tmp_path / "a.png", array)
    with Image.open(tmp_path / "a.png") as image:
        assert np.array_equal(np.asarray(image).reshape(array.shape), array)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_png_refuses_floats() -> None:
    assert Image.open(io.BytesIO(images.encode_png(np.zeros((4, 4), np.uint8)))).size == (4, 4)
    with pytest.raises(InputError, match="uint8"):
        images.encode_png(np.zeros((4, 4, 3)))

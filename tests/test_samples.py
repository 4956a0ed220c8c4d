"""Samples: one seed is one sample, whatever stands beside it; the grid keeps its latents and its classes."""

import numpy as np
import pytest
import torch
from torch import nn

from equipoise import samples
from equipoise.data import from_arrays, open_dataset
from equipoise.errors import InputError


class Generator(nn.Module):
    def __init__(self, classes=0, shape=(1, 8, 8)):
        super().__init__()
        torch.manual_seed(0)
        self.latent_dim, self.num_classes, self.shape = 5, classes, shape
        self.layer = nn.Linear(5 + classes, int(np.prod(shape)))
        self.norm = nn.BatchNorm1d(int(np.prod(shape)))

    def forward(self, latents, labels=None):
        if self.num_classes:
            latents = torch.cat([latents, nn.functional.one_hot(labels, self.num_classes).float()], dim=1)
        return self.norm(self.layer(latents)).tanh().reshape(-1, *self.shape)


@pytest.mark.parametrize("classes", [0, 3])
def test_one_seed_is_one_sample(classes):
    generator = Generator(classes)
    many, labels = samples.from_seeds(generator, range(40))
    for seeds in ([7], [39, 7, 7], range(7, 24)):
        few, few_labels = samples.from_seeds(generator, seeds)
        assert torch.equal(few, many[list(seeds)])
        assert classes == 0 or torch.equal(few_labels, labels[list(seeds)])
    assert len({tuple(x.flatten().tolist()) for x in many}) == 40
    assert (labels is None) == (classes == 0)


def test_the_mode_and_the_random_state_stay():
    generator = Generator().train()
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    samples.from_seeds(generator, range(3))
    assert generator.training and torch.equal(torch.rand(2), expected)
    assert int(generator.norm.num_batches_tracked) == 0


def test_a_class_asked_for_is_the_class_given():
    generator = Generator(3)
    assert samples.from_seeds(generator, range(5), label=2)[1].tolist() == [2] * 5
    for label in (3, -1):
        with pytest.raises(InputError, match="classes 0 to 2"):
            samples.from_seeds(generator, range(5), label=label)
    with pytest.raises(InputError, match="without labels"):
        samples.from_seeds(Generator(), range(5), label=0)


def test_truncation_scales_the_latents():
    class Echo(nn.Module):
        latent_dim, num_classes = 5, 0

        def __init__(self):
            super().__init__()
            self.one = nn.Parameter(torch.ones([]))

        def forward(self, latents, labels=None):
            return latents * self.one

    whole, half, none = (samples.from_seeds(Echo(), range(4), truncation=t)[0] for t in (1.0, 0.5, 0.0))
    assert torch.equal(half, whole / 2) and not none.any()
    for wrong in (-0.1, float("nan"), float("inf"), 1e39):
        with pytest.raises(InputError, match="truncation"):
            samples.from_seeds(Echo(), [0], truncation=wrong)


@pytest.mark.parametrize(
    ("classes", "columns", "count"), [(0, 8, 64), (3, 3, 63), (10, 10, 60), (16, 16, 64), (40, 8, 64)]
)
def test_the_grid_has_a_column_a_class_where_that_fits(classes, columns, count):
    grid = samples.Grid((1, 8, 8), classes, 5)
    assert (grid.columns, grid.count, len(grid.latents)) == (columns, count, count)
    assert classes == 0 or (grid.labels == torch.arange(count) % classes).all()
    assert torch.equal(grid.latents, samples.Grid((1, 8, 8), classes, 5).latents)


def test_reals_and_fakes_stand_in_the_same_arrangement():
    images = np.zeros((90, 1, 8, 8), np.uint8)
    labels = np.arange(90) % 3
    images += (labels * 60 + 50).astype(np.uint8)[:, None, None, None]
    dataset = from_arrays(images + np.random.default_rng(0).integers(0, 9, images.shape, dtype=np.uint8), labels)
    grid = samples.Grid((1, 8, 8), 3, 5)
    reals, fakes = grid.reals(dataset, seed=0), grid.fakes(Generator(3), dataset)
    assert reals.shape == fakes.shape == (21 * 34 + 2, 3 * 34 + 2, 1)
    for column in range(3):
        cells = reals[2:-2, 2 + column * 34 : 34 + column * 34]
        assert abs(int(np.median(cells)) - (column * 60 + 54)) <= 2
    assert (grid.reals(dataset, seed=0) == reals).all() and (grid.reals(dataset, seed=1) != reals).any()


def test_few_images_and_short_classes_do():
    images = np.random.default_rng(0).integers(0, 256, (20, 1, 8, 8), dtype=np.uint8)
    assert samples.Grid((1, 8, 8), 0, 5).reals(from_arrays(images), 0).shape == (3 * 34 + 2, 8 * 34 + 2, 1)
    labelled = from_arrays(images, np.array([0] * 17 + [1] * 3))
    assert samples.Grid((1, 8, 8), 2, 5).reals(labelled, 0).shape == (32 * 34 + 2, 2 * 34 + 2, 1)


def test_points_are_drawn_over_the_real_ones():
    ring = open_dataset("ring")
    grid = samples.Grid((2,), 0, 5)
    assert grid.count == samples.POINTS
    assert grid.fakes(Generator(shape=(2,)), ring).shape == grid.reals(ring, 0).shape == (512, 512, 3)

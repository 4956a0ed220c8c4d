"""The speed of a configuration, which leaves the networks that it is measured with as they were."""

import dataclasses

import numpy as np
import torch
from torch import nn

import equipoise
from equipoise import speed
from small_runs import images_file, planned


def test_speed_is_measured_on_a_copy(tmp_path):
    asked = planned(images_file(tmp_path / "images.npz"))
    networks = (
        equipoise.GeneratorAdapter(nn.Linear(4, 2), latent_dim=4),
        equipoise.DiscriminatorAdapter(nn.Linear(2, 1)),
    )
    before = [p.clone() for n in networks for p in n.parameters()]
    points = equipoise.from_arrays(np.random.default_rng(0).normal(size=(64, 2)).astype(np.float32))
    config = dataclasses.replace(asked.config, shape=(2,))
    assert speed.measure_speed(config, points, networks, seconds=0.05) > 0
    assert all(torch.equal(a, b) for a, b in zip(before, [p for n in networks for p in n.parameters()], strict=True))

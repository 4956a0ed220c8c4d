"""Generators to export: as if trained, for no weight is where it started."""

from pathlib import Path

import torch

from equipoise import networks, recipes
from equipoise.apps.export.subject import Subject
from equipoise.config import Config


def stirred(name, shape, classes, options, latent_dim=6):
    """A family's generator with every weight and statistic away from where it started, in evaluation mode."""
    torch.manual_seed(0)
    generator, _ = networks.build(name, shape, latent_dim=latent_dim, num_classes=classes, width=16, options=options)
    with torch.no_grad():
        for key, value in generator.state_dict().items():
            if value.is_floating_point() and not key.endswith(("_u", "_v")):  # the last are spectral norm's
                value.add_(0.2 * (torch.rand_like(value) - 0.4))
    return generator.eval()


def subject(name, shape, classes, options, names=None, latent_dim=6):
    """The same as what is handed over."""
    config = Config(
        source="data.npz",
        recipe=recipes.digits(shape, 100),
        shape=shape,
        class_names=tuple(names or map(str, range(classes))),
    )
    return Subject(stirred(name, shape, classes, options, latent_dim), config, Path("run"), 1.5)

"""Train generative adversarial networks and keep generator and discriminator in balance."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from equipoise.adapters import DiscriminatorAdapter as DiscriminatorAdapter
    from equipoise.adapters import GeneratorAdapter as GeneratorAdapter
    from equipoise.apps.evaluate import evaluate as evaluate
    from equipoise.data import Dataset as Dataset
    from equipoise.data import from_arrays as from_arrays
    from equipoise.data import open_dataset as open_dataset
    from equipoise.ema import EMA as EMA
    from equipoise.errors import EquipoiseError as EquipoiseError
    from equipoise.errors import InputError as InputError
    from equipoise.errors import TrainingFailed as TrainingFailed
    from equipoise.gan import GAN as GAN
    from equipoise.monitor import Monitor as Monitor
    from equipoise.optimisers import Adam as Adam
    from equipoise.readings import Reading as Reading
    from equipoise.recipe import Recipe as Recipe
    from equipoise.schedules import Dial as Dial
    from equipoise.schedules import Schedule as Schedule
    from equipoise.sensors import Meter as Meter
    from equipoise.sensors import sensor as sensor
    from equipoise.step import Step as Step
    from equipoise.tempo import Tempo as Tempo
    from equipoise.terms import Loss as Loss
    from equipoise.terms import Objective as Objective
    from equipoise.turn import Turn as Turn
    from equipoise.wires import wiring as wiring

# Public names and the modules that hold them; each is imported when first used, so that the package loads quickly.
_HOMES = {
    "DiscriminatorAdapter": "adapters",
    "GeneratorAdapter": "adapters",
    "evaluate": "apps.evaluate",
    "Dataset": "data",
    "from_arrays": "data",
    "open_dataset": "data",
    "EMA": "ema",
    "EquipoiseError": "errors",
    "InputError": "errors",
    "TrainingFailed": "errors",
    "GAN": "gan",
    "Adam": "optimisers",
    "Recipe": "recipe",
    "Dial": "schedules",
    "Schedule": "schedules",
    "Meter": "sensors",
    "Monitor": "monitor",
    "Reading": "readings",
    "sensor": "sensors",
    "Step": "step",
    "Tempo": "tempo",
    "Loss": "terms",
    "Objective": "terms",
    "Turn": "turn",
    "wiring": "wires",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'equipoise' has no attribute {name!r}")
    return getattr(importlib.import_module(f"equipoise.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]

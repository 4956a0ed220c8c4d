"""The monitor in Lightning: a callback that steps it after each batch, logs its signals and saves it in checkpoints.

    trainer = lightning.Trainer(callbacks=[MonitorCallback(monitor)])

GANs use manual optimisation there, so `monitor.observe` stands in `training_step`. This module needs Lightning, as
`lightning` or as `pytorch_lightning`; nothing else in the package does.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from equipoise.errors import InputError
from equipoise.monitor import Monitor


def _base() -> Any:
    """Lightning's `Callback`, of the package that the program uses: the two do not accept each other's."""
    names = ["lightning.pytorch", "pytorch_lightning"]
    for name in sorted(names, key=lambda name: name not in sys.modules):
        try:
            return importlib.import_module(name).Callback
        except ImportError:
            continue
    raise InputError("equipoise.lightning needs Lightning, which is not installed: pip install lightning")


class MonitorCallback(_base()):  # type: ignore[misc]  # there is no Lightning where types are checked
    """Steps a monitor after each training batch. Its signals go to the trainer's loggers as `balance/NAME`."""

    def __init__(
        self,
        monitor: Monitor,
        samples: Callable[[Any], int] | None = None,  # of a batch, on one rank; None: the length of its first tensor
    ) -> None:
        super().__init__()
        self.monitor, self.samples = monitor, samples or count

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Count the batch; at a tick, log what was seen."""
        decision = self.monitor.step(self.samples(batch) * trainer.world_size)
        if decision is not None:
            signals = {f"balance/{name}": value for name, value in decision.signals.items()}
            for logger in trainer.loggers:
                logger.log_metrics(signals, step=trainer.global_step)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """What those who steer have left to say."""
        self.monitor.finish()

    def state_dict(self) -> dict[str, Any]:
        """The monitor's, for the checkpoint."""
        return self.monitor.state_dict()

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """From a checkpoint."""
        self.monitor.load_state_dict(state_dict)


def count(batch: Any) -> int:
    """The length of the first tensor in a batch."""
    found = next(_lengths(batch), None)
    if found is None:
        raise InputError("this batch holds no tensor to count samples by: MonitorCallback(monitor, samples=...)")
    return found


def _lengths(batch: Any) -> Iterator[int]:
    if hasattr(batch, "shape"):
        yield int(batch.shape[0])
    elif isinstance(batch, (Mapping, list, tuple)):
        for item in batch.values() if isinstance(batch, Mapping) else batch:
            yield from _lengths(item)

"""The callback steps the monitor, logs its signals, and goes into checkpoints; a stand-in serves for Lightning."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch

from equipoise.errors import InputError
from equipoise.monitor import Monitor


@pytest.fixture
def module(monkeypatch):
    """`equipoise.lightning`, imported anew."""
    if importlib.util.find_spec("lightning") is None:
        parent, inner = ModuleType("lightning"), ModuleType("lightning.pytorch")
        parent.pytorch, inner.Callback = inner, type("Callback", (), {})
        monkeypatch.setitem(sys.modules, "lightning", parent)
        monkeypatch.setitem(sys.modules, "lightning.pytorch", inner)
    monkeypatch.delitem(sys.modules, "equipoise.lightning", raising=False)
    yield importlib.import_module("equipoise.lightning")
    sys.modules.pop("equipoise.lightning", None)


def trained(callback, batches, world_size=2):
    """What a trainer's loggers get over some batches."""
    logged = []
    logger = SimpleNamespace(log_metrics=lambda values, step: logged.append((step, values)))
    trainer = SimpleNamespace(world_size=world_size, loggers=[logger], global_step=7)
    for number, batch in enumerate(batches):
        callback.monitor.observe("D", real_logits=torch.ones(3), fake_logits=torch.zeros(3))
        callback.on_train_batch_end(trainer, None, None, batch, number)
    return logged


def test_it_counts_samples_over_all_ranks_and_logs_at_ticks(module):
    monitor = Monitor()
    logged = trained(module.MonitorCallback(monitor), [[torch.zeros(3, 2), torch.zeros(3)]] * 5)
    assert monitor.samples == 5 * 3 * 2
    ((step, values),) = logged  # the first batch is a tick, the next ones are not
    assert step == 7 and values["balance/win_rate"] == 1.0


@pytest.mark.parametrize(
    "batch", [torch.zeros(4, 2), {"name": "x", "image": torch.zeros(4)}, ["x", (torch.zeros(4), torch.zeros(9))]]
)
def test_batches_of_any_kind(module, batch):
    assert module.count(batch) == 4


def test_a_batch_without_a_tensor_needs_to_be_told(module):
    with pytest.raises(InputError, match="samples="):
        module.count({"name": "x"})
    monitor = Monitor()
    trained(module.MonitorCallback(monitor, samples=lambda batch: 5), [None], world_size=1)
    assert monitor.samples == 5


def test_the_monitor_is_in_the_checkpoint(module):
    first, second = (module.MonitorCallback(Monitor()) for _ in range(2))
    trained(first, [torch.zeros(3)] * 4)
    second.load_state_dict(first.state_dict())
    assert second.monitor.samples == first.monitor.samples == 24
    assert second.monitor.history.signals == first.monitor.history.signals != {}


def test_without_lightning_one_is_told_what_to_install(monkeypatch):
    for name in ("lightning", "lightning.pytorch", "pytorch_lightning"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "equipoise.lightning", raising=False)
    with pytest.raises(InputError, match="pip install lightning"):
        importlib.import_module("equipoise.lightning")

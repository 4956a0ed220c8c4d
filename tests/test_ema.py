"""The moving average against closed forms, and batch normalisation measured anew against slow obvious code."""

import copy
import math

import pytest
import torch
from torch import nn

from equipoise.ema import EMA, recalibrate
from equipoise.errors import InputError

OK, SKIPPED = torch.tensor(1.0), torch.tensor(0.0)


class Generator(nn.Module):
    latent_dim, num_classes = 3, 0

    def __init__(self, norm=False):
        super().__init__()
        self.first = nn.Linear(3, 5)
        self.norm = nn.BatchNorm1d(5, momentum=0.3) if norm else nn.Identity()
        self.last = nn.Linear(5, 2)

    def forward(self, latents, labels=None):
        return self.last(self.norm(self.first(latents)))


def make(norm=False, dtype=torch.float64, **settings):
    torch.manual_seed(0)
    generator = Generator(norm).to(dtype)
    return generator, EMA(generator, **settings)


def follow(ema, samples, ok=OK):
    ema.see(samples)
    ema.update(ok)


def test_the_decay_of_a_batch_of_64_with_a_half_life_of_20_thousand():
    generator, ema = make(halflife_kimg=20.0, ramp=0.0)
    nn.init.ones_(ema.average.first.weight)
    nn.init.zeros_(generator.first.weight)
    follow(ema, 64)
    assert float(ema.average.first.weight[0, 0]) == pytest.approx(0.997784, abs=5e-7)


@pytest.mark.parametrize("batch", [50, 1000])
def test_after_one_half_life_the_first_weights_share_is_a_half(batch):
    generator, ema = make(halflife_kimg=10.0, ramp=0.0)
    nn.init.ones_(ema.average.first.weight)
    nn.init.zeros_(generator.first.weight)
    for _ in range(10_000 // batch):
        follow(ema, batch)
    torch.testing.assert_close(ema.average.first.weight, torch.full((5, 3), 0.5).double(), atol=1e-5, rtol=0)


def test_the_clock_is_real_images_however_many_moves_showed_them():
    """Five discriminator moves of 20 between two updates count as one of 100, and none at all count as none."""
    together, apart = make(halflife_kimg=1.0, ramp=0.0)[1], make(halflife_kimg=1.0, ramp=0.0)[1]
    for ema in (together, apart):
        nn.init.zeros_(ema.live.first.weight)
    follow(together, 100)
    for _ in range(5):
        apart.see(20)
    apart.update(OK)
    torch.testing.assert_close(together.average.first.weight, apart.average.first.weight)
    before = apart.average.first.weight.clone()
    apart.update(OK)
    assert torch.equal(apart.average.first.weight, before)


def test_the_ramp_caps_the_half_life_at_a_share_of_the_images_seen():
    generator, ema = make(halflife_kimg=1.0, ramp=0.5)
    expected = generator.first.weight.detach().clone()
    seen = 0.0
    for step in range(40):
        generator.first.weight.data = torch.full((5, 3), float(step)).double()
        seen += 0.1
        decay = 0.5 ** (0.1 / min(1.0, 0.5 * seen))
        expected = decay * expected + (1 - decay) * step
        follow(ema, 100)
    assert 0.5 * seen > 1.0  # both regimes were passed through
    torch.testing.assert_close(ema.average.first.weight, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("setting", ["made so", "turned so"])
def test_a_half_life_of_0_is_the_live_weights(setting):
    generator, ema = make(halflife_kimg=0.0 if setting == "made so" else 10.0)
    ema.halflife.fill_(0.0)
    for p in generator.parameters():
        p.data.add_(1.0)
    follow(ema, 64)
    for p, q in zip(ema.average.parameters(), generator.parameters(), strict=True):
        assert torch.equal(p, q)
    generator.last.bias.data.add_(1.0)
    ema.update(OK)  # also where no discriminator moved in between
    assert torch.equal(ema.average.last.bias, generator.last.bias)


def test_a_skipped_update_changes_no_bit_and_its_images_count_later():
    generator, ema = make(halflife_kimg=1.0, ramp=0.0, dtype=torch.float32)
    follow(ema, 100)
    nn.init.zeros_(generator.first.weight)
    before = copy.deepcopy(ema.average.state_dict())
    seen = ema.seen.clone()
    follow(ema, 100, SKIPPED)
    assert all(torch.equal(value, before[name]) for name, value in ema.average.state_dict().items())
    assert torch.equal(ema.seen, seen)
    follow(ema, 100)
    torch.testing.assert_close(ema.average.first.weight, before["first.weight"] * 0.5**0.2)
    assert float(ema.seen) == pytest.approx(0.3)


def test_the_average_is_a_frozen_network_of_its_own():
    generator, ema = make(norm=True)
    assert not ema.average.training and not any(p.requires_grad for p in ema.average.parameters())
    ours, theirs = ({t.data_ptr() for t in net.state_dict().values()} for net in (ema.average, generator))
    assert not ours & theirs
    before = ema.average.first.weight.clone()
    generator.first.weight.data.add_(1.0)
    assert torch.equal(ema.average.first.weight, before)


def test_buffers_are_copied_not_averaged():
    generator, ema = make(norm=True)
    generator.norm.running_mean.fill_(7.0)
    generator.norm.num_batches_tracked.fill_(3)
    follow(ema, 64)
    assert torch.equal(ema.average.norm.running_mean, generator.norm.running_mean)
    assert int(ema.average.norm.num_batches_tracked) == 3


def test_restored_mid_run_it_goes_on_in_the_same_bits():
    (g1, first), (g2, second) = (make(halflife_kimg=1.0, dtype=torch.float32) for _ in range(2))
    for _ in range(3):
        follow(first, 64)
    first.see(32)
    second.average.load_state_dict(first.average.state_dict())
    second.load_state_dict({name: tensor.clone() for name, tensor in first.state_dict().items()})
    for generator, ema in ((g1, first), (g2, second)):
        nn.init.ones_(generator.first.weight)
        ema.update(OK)
        follow(ema, 64)
    assert torch.equal(first.average.first.weight, second.average.first.weight)
    assert torch.equal(first.seen, second.seen) and float(first.seen) == pytest.approx(0.288)


@pytest.mark.parametrize(
    "wrong", [{"halflife_kimg": -1.0}, {"ramp": -0.1}, {"halflife_kimg": math.nan}, {"ramp": math.nan}]
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(InputError, match="both must be 0 or more"):
        make(**wrong)


# ------------------------------------------------------------------------------------------------ recalibration


def slow_statistics(generator, batch, batches):
    """The plain mean over batches of each batch's mean and unbiased variance before the norm."""
    source, means, variances = torch.Generator().manual_seed(0), [], []
    for _ in range(batches):
        values = generator.first(torch.randn(batch, 3, generator=source).to(generator.first.weight.dtype))
        means.append(values.mean(0))
        variances.append(values.var(0, unbiased=True))
    return torch.stack(means).mean(0), torch.stack(variances).mean(0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_statistics_are_those_of_the_averaged_weights(dtype):
    generator, ema = make(norm=True, dtype=dtype, halflife_kimg=1.0, ramp=0.0)
    for _ in range(5):
        generator.first.weight.data.mul_(1.5)
        generator.norm.running_mean.fill_(9.0)
        follow(ema, 300)
    mean, variance = slow_statistics(ema.average, 50, 6)
    recalibrate(ema.average, batch=50, batches=6)
    torch.testing.assert_close(ema.average.norm.running_mean, mean.detach(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(ema.average.norm.running_var, variance.detach(), rtol=1e-5, atol=1e-6)


def test_recalibration_leaves_everything_else_as_it_was():
    generator, _ = make(norm=True)
    generator.train()
    generator.last.eval()  # a mixture of modes is not kept, but the network's own is
    state, weights = torch.get_rng_state(), copy.deepcopy(dict(generator.named_parameters()))
    recalibrate(generator, batch=10, batches=2)
    assert torch.equal(torch.get_rng_state(), state)
    assert generator.training and generator.norm.training and generator.norm.momentum == 0.3
    assert all(torch.equal(p, weights[name]) and p.grad is None for name, p in generator.named_parameters())
    generator.eval()
    recalibrate(generator, batch=10, batches=2)
    assert not generator.training and not generator.norm.training


def test_recalibration_twice_gives_the_same_and_does_nothing_without_batch_norm(monkeypatch):
    generator, _ = make(norm=True)
    recalibrate(generator)
    before = generator.norm.running_var.clone()
    recalibrate(generator)
    assert torch.equal(generator.norm.running_var, before)
    plain, _ = make(norm=False)
    monkeypatch.setattr(plain, "forward", lambda *a: pytest.fail("was called"))
    recalibrate(plain)


def test_recalibration_of_a_class_conditional_network_draws_labels():
    asked = []

    class Conditional(Generator):
        def forward(self, latents, labels=None):
            asked.append(labels)
            return super().forward(latents)

    recalibrate(Conditional(norm=True), classes=4, batch=50, batches=2)
    assert set(torch.cat(asked).tolist()) == {0, 1, 2, 3} and asked[0].dtype == torch.int64

"""zCR: both halves by hand, who is reached, and ICR as three terms in one recipe."""

import pytest
import torch

from equipoise.errors import InputError
from equipoise.terms.latent_consistency import ZCRDiscriminator, ZCRGenerator
from plants import batch_of, play, small_step
from test_step import fake_moves, family

ICR = {"bcr": {}, "zcr-discriminator": {}, "zcr-generator": {}}


@pytest.fixture
def one_step(monkeypatch):
    """dz = radius in every coordinate."""
    monkeypatch.setattr(torch, "randn_like", torch.ones_like)


def test_values_by_hand(one_step):
    """G(z) = 3 z and D(x) = 2 sum x on two numbers: D moves by 2 * 2 * 3 * 0.5 = 6, each pixel by 1.5."""
    latents = torch.randn(4, 2, dtype=torch.float64)
    fake, judge = 3 * latents, lambda x: 2 * x.sum(1)
    value = ZCRDiscriminator(20.0, 0.5)(fake, judge(fake), latents, judge, lambda z: 3 * z)
    torch.testing.assert_close(value, torch.full((4,), 20 * 36.0).double())
    value = ZCRGenerator(0.5, 0.5)(fake, latents, lambda z: 3 * z)
    torch.testing.assert_close(value.mean(1), torch.full((4,), -0.5 * 2.25).double())


def test_the_step_has_the_given_deviation():
    seen, latents = [], torch.zeros(20_000, 2)
    torch.manual_seed(0)
    ZCRGenerator(radius=0.05)(latents, latents, lambda z: seen.append(z) or z)
    assert float(seen[0].std()) == pytest.approx(0.05, rel=0.02)


def test_gradients_of_both_halves(one_step):
    """G(z) = a z, D(x) = w sum x: (w a 2 r)^2 pulls w by 8 w (a r)^2 per unit, and -(a r)^2 pushes a by 2 a r^2."""
    a, w, radius = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (3.0, 2.0, 0.5))
    latents = torch.randn(4, 2, dtype=torch.float64)
    fake = (a * latents).detach()
    judge = lambda x: w * x.sum(1)  # noqa: E731
    ZCRDiscriminator(1.0, 0.5)(fake, judge(fake), latents, judge, lambda z: a * z).mean().backward()
    assert a.grad is None and float(w.grad) == pytest.approx(8 * 2.0 * (3.0 * 0.5) ** 2)
    ZCRGenerator(1.0, 0.5)(a * latents, latents, lambda z: a * z).mean().backward()
    assert float(a.grad) == pytest.approx(-2 * 3.0 * 0.25) and radius.grad is None


def test_what_does_not_move_costs_nothing():
    latents = torch.randn(4, 2)
    blind = lambda x: x.new_ones(len(x))  # noqa: E731
    assert ZCRDiscriminator()(latents, blind(latents), latents, blind, lambda z: z).tolist() == [0.0] * 4
    assert ZCRGenerator()(torch.ones(4, 3), latents, lambda z: torch.ones(4, 3)).abs().sum() == 0


@pytest.mark.parametrize("classes", [0, 3])
def test_icr_is_three_terms_in_one_recipe(monkeypatch, classes):
    step = play(small_step(terms=ICR, classes=classes), 2, classes=classes)
    found = step.meter.read()
    assert found["D.zcr-discriminator"].mean > 0 and found["D.bcr"].mean > 0 and found["G.zcr-generator"].mean < 0
    assert found["D.zcr-discriminator"].n == found["G.zcr-generator"].n == 16
    fake_moves(monkeypatch, family("dcgan"), classes, terms=ICR)


def test_the_generators_half_wants_the_discriminators():
    with pytest.raises(InputError, match="switch on zcr-discriminator beside it"):
        small_step(terms={"zcr-generator": {}})
    small_step(terms={"zcr-discriminator": {}})


def test_the_generators_half_reaches_the_generator_only_and_minds_its_weight():
    firsts = []
    for weight in (0.0, 0.5):
        step = small_step(terms={"zcr-generator": {"weight": weight}, "zcr-discriminator": {}})
        torch.manual_seed(5)
        step.move("G", *batch_of(step, 0), step.due("G"))
        firsts.append(step.optimisers["G"].state["first"].clone())
    assert not torch.allclose(*firsts, rtol=0, atol=1e-7)


def test_packs_are_compared_as_packs():
    step = small_step(terms={**ICR, "mode-seeking": {}, "clc": {}}, network={"pack": 2})
    found = play(step, 2).meter.read()
    assert found["D.zcr-discriminator"].n == 8 and found["G.zcr-generator"].n == 8 and found["D.clc"].n == 8


@pytest.mark.parametrize("part", [ZCRDiscriminator, ZCRGenerator])
@pytest.mark.parametrize("radius", [0.0, -1.0, float("nan")])
def test_no_step_is_refused(part, radius):
    with pytest.raises(InputError, match="takes no step"):
        part(radius=radius)


def test_batch_norm_in_the_generator_is_no_hindrance():
    play(small_step(terms=ICR, network={"options": {"norm_G": "batch"}}), 1)

"""The wiring check does not take the right direction for the wrong one, whatever the loss and wherever D answers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import equipoise
from loops_common import LATENT, adam, mlp, noise, reals

Loss = Callable[[Tensor, Tensor], Tensor]  # of D's answers for real and for generated samples

BIASED = {
    "in order": (1.0, 0.0),
    "beyond the targets": (2.0, -4.0),
    "the other way round": (-2.0, 4.0),
    "near": (0.01, 0.0),
}


def squares(logits: Tensor, target: float) -> Tensor:
    return (logits - target).square().mean()


def hinge(real: Tensor, fake: Tensor) -> Tensor:
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def relativistic(real: Tensor, fake: Tensor) -> Tensor:
    return squares(real - fake.mean(), 1) + squares(fake - real.mean(), -1)


def averaged(real: Tensor, fake: Tensor) -> Tensor:
    return (F.softplus(fake.mean() - real) + F.softplus(fake - real.mean())).mean()


LOSSES: dict[str, tuple[Loss, Loss]] = {
    "least squares": (lambda r, f: squares(r, 1) + squares(f, 0), lambda r, f: squares(f, 1)),
    "its third form": (lambda r, f: squares(r, 1) + squares(f, -1), lambda r, f: squares(f, 0)),
    "least squares for D": (lambda r, f: squares(r, 1) + squares(f, 0), lambda r, f: -f.mean()),
    "least squares for G": (hinge, lambda r, f: squares(f, 1)),
    "hinge": (hinge, lambda r, f: -f.mean()),
    "averages": (relativistic, lambda r, f: relativistic(f, r)),
    "averages of one kind": (relativistic, lambda r, f: squares(f - r.mean(), 1)),
    "logistic averages": (averaged, lambda r, f: averaged(f, r)),
    "a hinge over averages": (
        lambda r, f: hinge(r - f.mean(), f - r.mean()),
        lambda r, f: hinge(f - r.mean(), r - f.mean()),
    ),
    "squares of pairs": (lambda r, f: squares(r - f, 1), lambda r, f: squares(f - r, 1)),
    "a hinge over pairs": (lambda r, f: F.relu(1 - r + f).mean(), lambda r, f: F.relu(1 - f + r).mean()),
    "pairs": (lambda r, f: F.softplus(f - r).mean(), lambda r, f: F.softplus(r - f).mean()),
    "drift": (lambda r, f: f.mean() - r.mean() + 1e-3 * r.square().mean(), lambda r, f: -f.mean()),
    "logistic": (lambda r, f: (F.softplus(-r) + F.softplus(f)).mean(), lambda r, f: F.softplus(-f).mean()),
}
TOLD = (
    "least squares",
    "its third form",
    "least squares for D",
    "averages",
    "logistic averages",
    "squares of pairs",
    "pairs",
    "drift",
    "logistic",
)  # wherever the answers are


def watched(loss_d: Loss, loss_g: Loss, weight: float, bias: float) -> equipoise.wiring:
    """The check of a loop whose discriminator is linear and starts out with given weights."""
    torch.manual_seed(0)
    G, D = mlp(LATENT, 2), nn.Linear(2, 1)
    nn.init.constant_(D.weight, weight)
    nn.init.constant_(D.bias, bias)
    opt_G, opt_D = adam(G), adam(D)
    with equipoise.wiring(G, D, opt_G, opt_D) as check:
        for real in reals():
            fake = G(noise())
            opt_D.zero_grad()
            loss_d(D(real), D(fake.detach())).backward()
            opt_D.step()
            opt_G.zero_grad()
            loss_g(D(real).detach(), D(fake)).backward()
            opt_G.step()
    return check


@pytest.mark.parametrize("start", BIASED.values(), ids=BIASED)
@pytest.mark.parametrize("loss", LOSSES)
def test_the_right_direction_is_not_accused(loss: str, start: tuple[float, float]) -> None:
    check = watched(*LOSSES[loss], *start)
    states = {fact.state for fact in check.facts if fact.name == "direction"}
    assert states <= ({"holds"} if loss in TOLD else {"holds", "untold"}), str(check)
    assert not [fact for fact in check.findings if fact.name == "own" and fact.side == "D"], str(check)


@pytest.mark.parametrize("start", BIASED.values(), ids=BIASED)
@pytest.mark.parametrize("loss", TOLD)
def test_a_generator_that_helps_is_found(loss: str, start: tuple[float, float]) -> None:
    """It pulls to D's target for generated samples, or up D's own loss."""
    loss_d = LOSSES[loss][0]
    wrong = {
        "least squares": lambda r, f: squares(f, 0),
        "its third form": lambda r, f: squares(f, -1),
        "least squares for D": lambda r, f: f.mean(),
        "logistic": lambda r, f: F.softplus(f).mean(),
        "averages": loss_d,
        "logistic averages": loss_d,
        "squares of pairs": loss_d,
        "pairs": loss_d,
        "drift": lambda r, f: f.mean(),
    }
    check = watched(loss_d, wrong[loss], *start)
    assert {fact.state for fact in check.facts if fact.name == "direction"} == {"broken"}, str(check)


@pytest.mark.parametrize(("helps", "state"), [(False, "holds"), (True, "broken")])
def test_a_hinge_that_some_have_passed_still_tells(helps: bool, state: str) -> None:
    """About half of the real samples are beyond it, and generated ones are judged better still."""
    check = watched(hinge, lambda r, f: f.mean() if helps else -f.mean(), -1.0, 5.0)
    assert {fact.state for fact in check.facts if fact.name == "direction"} == {state}, str(check)

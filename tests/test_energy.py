"""EBGAN: its loss, its margin, the pulling-away term by hand, and who has to stand beside whom."""

import copy

import pytest
import torch

from equipoise import compatibility
from equipoise.errors import InputError
from equipoise.registry import find
from equipoise.step import frozen
from equipoise.terms.energy import EBGAN, PullingAway, pulling_away
from plants import batch_of, changed, play, small_recipe, small_step, snapshot

AUTO = {"name": "autoencoder", "width": 4, "options": {"code": 8, "norm_G": "none"}}
ENERGY = {"loss": "energy", "network": AUTO}
LOSS = find("loss", "energy").part


def logits(*energies):
    return -torch.tensor(energies, dtype=torch.float64)


def test_values_by_hand():
    """Margin 10, E(x) = 1, E(G(z)) = 4: L_D = 1 + 6 = 7, L_G = 4."""
    real, fake = logits(1.0), logits(4.0)
    assert (LOSS.d(real) + EBGAN(10.0).double()(fake)).tolist() == [7.0] and LOSS.g(fake).tolist() == [4.0]


def test_fakes_past_the_margin_give_no_gradient():
    fake = logits(0.2, 0.5, 3.0).requires_grad_(True)
    value = EBGAN(0.5).double()(fake)
    assert value.tolist() == pytest.approx([0.3, 0.0, 0.0])
    assert torch.autograd.grad(value.sum(), fake)[0].tolist() == [1.0, 0.0, 0.0]
    assert EBGAN(0.7).ideal(0.0) == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ([[1.0, 0.0], [0.0, 2.0]], 0.0),  # orthogonal
        ([[1.0, 2.0], [1.0, 2.0], [3.0, 6.0]], 1.0),  # parallel
        ([[1.0, 0.0], [-5.0, 0.0]], 1.0),  # opposite: squared
        ([[1.0, 0.0], [1.0, 1.0]], 0.5),
        ([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], 1 / 3),
        ([[0.0, 0.0], [1.0, 1.0]], 0.0),  # no direction
        ([[1.0, 1.0]], 0.0),  # nobody to be compared with
    ],
)
def test_pulling_away_by_hand(codes, expected):
    codes = torch.tensor(codes, dtype=torch.float64, requires_grad=True)
    value = pulling_away(codes)
    assert value.shape == (len(codes),) and float(value.mean().detach()) == pytest.approx(expected, abs=1e-12)
    assert torch.autograd.grad(value.sum(), codes)[0].isfinite().all()


def test_pulling_away_against_the_double_sum():
    codes = torch.randn(6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    total = sum(
        float((codes[i] @ codes[j]) / (codes[i].norm() * codes[j].norm())) ** 2
        for i in range(6) for j in range(6) if i != j
    )  # fmt: skip
    assert float(PullingAway(0.1).double()(codes).mean()) == pytest.approx(0.1 * total / 30)
    low = PullingAway(1.0)(codes.to(torch.bfloat16))
    assert low.dtype == torch.float32 and low.mean() == pytest.approx(total / 30, abs=0.02)


def test_pulling_away_reads_the_code_and_reaches_the_generator_alone():
    step = small_step(terms={"ebgan": {}, "pulling-away": {}}, **ENERGY)
    own, other = step.networks["G"], step.networks["D"]
    with frozen(other):
        made = step.turn("G", batch_of(step, 0)[0], None, torch.randn(8, 4).double(), step.due("G"))
        assert made["fake_features"].shape == (8, 8)
        torch.testing.assert_close(made["fake_features"], other.trunk(made["fake"]))
        value = made.call(step.objective.terms["pulling-away"]).mean()
    value.backward(inputs=[*own.parameters(), *other.parameters()])
    assert all(p.grad.abs().sum() > 0 for p in own.parameters() if p.dim() > 1)
    assert all(p.grad is None for p in other.parameters())


def test_pulling_away_spreads_codes():
    codes = torch.randn(8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) + 3
    codes.requires_grad_(True)
    before = float(pulling_away(codes).mean().detach())
    for _ in range(50):
        (slope,) = torch.autograd.grad(pulling_away(codes).sum(), codes)
        codes.data -= 5 * slope
    assert before > 0.8 and float(pulling_away(codes).mean().detach()) < 0.1


# ------------------------------------------------------------------------------------------------ in a whole step


def test_alone_each_half_is_refused():
    for changes in (ENERGY, {"terms": {"ebgan": {}}}, {"terms": {"began": {}}}):
        with pytest.raises(InputError, match="only half of a technique"):
            small_step(**changes)
    with pytest.raises(InputError, match="cannot stand beside"):
        small_step(terms={"ebgan": {}, "began": {}}, **ENERGY)
    with pytest.raises(InputError, match="label-smoothing"):
        small_step(terms={"ebgan": {}, "label-smoothing": {}}, **ENERGY)


@pytest.mark.parametrize("name", ["mlp", "dcgan", "resnet", "normfree"])
def test_an_ordinary_discriminator_is_refused(name):
    """Its logits have no limit: the energy of data would fall for ever."""
    recipe = small_recipe(loss="energy", terms={"ebgan": {}}, network={"name": name, "options": {}})
    with pytest.raises(InputError, match=r"no limit.*set network\.name=autoencoder"):
        compatibility.refuse(recipe)
    compatibility.refuse(recipe.with_values({"network.name": "autoencoder"}))
    assert compatibility.cautions(small_recipe(terms={"ebgan": {}}, **ENERGY)) == []


@pytest.mark.parametrize("shape", [(1, 8, 8), (2,)])
def test_the_players_want_what_they_should(shape):
    """A margin of 0 leaves the fakes out; the discriminator's part of it pushes fakes up, the generator pulls down."""
    step = small_step(shape, terms={"ebgan": {"margin": 1000.0}}, **ENERGY)
    network = step.networks["D"]
    images = torch.randn(8, *shape).double().clamp(-1, 1)
    torch.manual_seed(3)
    latents = torch.randn(8, 4).double()
    energies = []
    for _ in range(2):
        with torch.no_grad():
            energies.append(-network(step.networks["G"](latents)).mean())
        for _ in range(20):
            step.move("D", images, None, step.due("D"))
    assert energies[1] > energies[0]


def test_mixed_precision_and_parts_of_a_batch():
    step = play(small_step(terms={"ebgan": {}}, dtype=torch.float32, mixed=True, accumulate=2, **ENERGY), 3)
    assert step.meter.read()["D.skipped"].mean == 0.0
    with pytest.raises(InputError, match="accumulate=2 would change what pulling-away computes"):
        small_step(terms={"ebgan": {}, "pulling-away": {}}, accumulate=2, **ENERGY)


def test_a_margin_of_zero_changes_no_gradient_and_one_above_does():
    seen = []
    for margin in (0.0, 5.0):
        step = small_step(terms={"ebgan": {"margin": margin}}, **ENERGY)
        alone = copy.deepcopy(step)
        alone.objective.terms.clear()
        before = snapshot(step)
        for one in (step, alone):
            torch.manual_seed(5)
            one.move("D", *batch_of(one, 0), one.due("D"))
        assert changed(before, snapshot(step))
        seen.append(torch.equal(step.optimisers["D"].state["first"], alone.optimisers["D"].state["first"]))
    assert seen == [True, False]

"""Which parts may stand together: one test for each pair that is known to matter.

Three more stand with the part that they are about: extragradient and buffers in test_rules.py, mixed precision and
penalties in test_step.py, labels in the buffers of CLC in test_clc.py.
"""

import math

import pytest
import torch
from torch import nn

from equipoise import build, compatibility, plan
from equipoise.data import open_dataset
from equipoise.ema import EMA
from equipoise.errors import InputError
from equipoise.initialise import is_spectral
from equipoise.networks import build as pair
from equipoise.networks.packing import Packed, packed, unpacked
from equipoise.recipe import Recipe
from equipoise.registry import entries, find
from equipoise.terms import fact
from plants import batch_of, play, small_recipe, small_step
from small_runs import TINY, images_file, planned


def cautions(**changes):
    return " ".join(compatibility.cautions(small_recipe(**changes)))


def test_relativistic_pairing_with_lazy_penalties_is_cautioned():
    assert "every move" in cautions(loss="rpgan", terms={"r1": {"every": 4}, "r2": {}})
    assert cautions(loss="rpgan", terms={"r1": {}, "r2": {}}) == ""


def test_relativistic_losses_with_lecam_may_drift_together():
    """LeCam compares each side's logits with the other's average, so that a constant on all of them changes nothing."""
    real, fake = torch.tensor([1.0, 2.0]), torch.tensor([0.5, -1.0])
    plain, moved = (find("term", "lecam").part(decay=0.0) for _ in range(2))
    torch.testing.assert_close(plain(real, fake), moved(real + 7, fake + 7))


@pytest.mark.parametrize("loss", ["rpgan", "relativistic-average", "relativistic-hinge", "relativistic-least-squares"])
def test_a_loop_on_the_sign_of_d_is_refused_beside_relativistic_losses(loss):
    """CHAIN turns its probability by the sign of D(real), which these losses leave without a zero."""
    with pytest.raises(InputError, match="sign means"):
        compatibility.refuse(small_recipe(loss=loss, terms={"chain": {}}))


@pytest.mark.parametrize(
    ("controller", "setting", "said"),
    [
        ("ada", "loss=rpgan", "sign means nothing; take --controller ada-heldout"),
        ("apa", "loss=wasserstein", "sign means nothing"),
        ("ada", "loss=least-squares", "sign means nothing"),
        ("gap-aware-loop", "loss=wasserstein", "it would never move"),
        ("gap-aware-loop", "loss=dual-contrastive", "it would never move"),
        ("rates-by-wins", "D.lr=0", "D.lr=0 stays 0"),
    ],
)
def test_a_controller_that_has_nothing_to_read_or_to_turn_is_refused(tmp_path, controller, setting, said):
    source = images_file(tmp_path / "images.npz")
    with pytest.raises(InputError, match=said):
        planned(source, (setting, *TINY), balance="act", controller=controller)


@pytest.mark.parametrize("controller", ["ada-heldout", "gap-aware-loop", "steps-by-gap", "autopilot"])
def test_controllers_that_need_no_zero_steer_relativistic_losses(tmp_path, controller):
    source = images_file(tmp_path / "images.npz")
    asked = planned(source, ("loss=rpgan", *TINY), balance="act", controller=controller)
    assert asked.config.controller == controller


@pytest.mark.parametrize("asked", [{"balance": "act", "controller": "ada"}, {"settings": ["ada.p=0.1"]}])
def test_augmentations_of_images_are_refused_for_vectors_before_a_folder_is_made(asked):
    before = torch.get_rng_state()
    with pytest.raises(InputError, match="leave it out for other data"):
        plan.resolve(plan.Request("ring", **asked), open_dataset("ring"))
    assert torch.equal(torch.get_rng_state(), before)


PENALTIES = [entry.name for entry in entries("term") if fact(entry.part, "differentiates")]


@pytest.mark.parametrize("term", PENALTIES)
def test_penalties_with_batch_norm_in_the_discriminator_are_refused(term):
    with pytest.raises(InputError, match="batch normalisation in the discriminator"):
        small_step(terms={term: {}}, network={"options": {"norm_D": "batch"}})


def test_r1_with_minibatch_standard_deviation_is_allowed():
    play(small_step(terms={"r1": {}}, network={"options": {"minibatch_std": True}}), 1)


def test_spectral_norm_with_a_gradient_penalty_is_cautioned():
    assert "lower the weight" in cautions(terms={"wgan-gp": {}}, network={"options": {"norm_D": "spectral"}})


def test_the_spectral_norm_that_a_network_has_by_itself_is_cautioned_too():
    resnet = {"network": {"name": "resnet", "options": {}}}
    assert "network.norm_D=spectral" in cautions(terms={"wgan-lp": {}}, **resnet)
    assert cautions(terms={"wgan-lp": {}}, network={"name": "resnet", "options": {"norm_D": "none"}}) == ""


def test_gradient_normalisation_takes_the_place_of_spectral_norm():
    _, D = build.players(small_recipe(network={"name": "resnet", "options": {"norm_D": "gradient"}}), (1, 8, 8), 0)
    assert D.__class__.__name__ == "GradientNormalised" and not any(map(is_spectral, D.modules()))


def test_the_sign_of_d_falls_with_noise_on_the_images():
    """D(x) = x of images at 1: all judged real; with noise of width 1 the mean sign is 2 Phi(1) - 1 = 0.682689."""
    images, sign = torch.ones(100_000, 1), find("sensor", "D.sign_real").part.function
    torch.manual_seed(0)
    noisy, _ = find("augmentation", "instance-noise").part(std=1.0)(images, None, True)
    assert float(sign(images).mean()) == 1.0 and float(sign(noisy).mean()) == pytest.approx(0.682689, abs=0.01)


def test_an_equalised_learning_rate_under_spectral_norm_changes_only_what_is_stored():
    torch.manual_seed(0)
    _, D = pair("mlp", (4,), latent_dim=2, width=8, init="equalised", options={"norm_D": "spectral"})
    for layer in (m for m in D.modules() if isinstance(m, nn.Linear)):
        assert float(torch.linalg.matrix_norm(layer.weight.detach(), 2)) == pytest.approx(1.0, abs=0.05)


def test_hinge_with_the_gap_aware_rate_is_cautioned():
    assert "ideal value 2" in cautions(loss="hinge", rates={"gap-aware": {}})


def test_wasserstein_with_the_gap_aware_rate_needs_a_width():
    recipe = small_recipe(loss="wasserstein", rates={"gap-aware": {}})
    with pytest.raises(InputError, match=r"set gap-aware\.width"):
        build.rates(recipe, build.objective(recipe))
    small_step(loss="wasserstein", rates={"gap-aware": {"width": 0.5}})


def test_label_smoothing_moves_the_ideal_value_of_the_gap_aware_rate():
    recipe = small_recipe(rates={"gap-aware": {}}, terms={"label-smoothing": {"smoothing": 0.1}})
    (rate,) = build.rates(recipe, build.objective(recipe)).values()
    best = min(
        -(0.9 * math.log(p) + 0.1 * math.log(1 - p)) - math.log(1 - p) for p in (k / 1e4 for k in range(1, 10_000))
    )
    assert rate.target == pytest.approx(best, abs=1e-6) and rate.target == pytest.approx(1.376278, abs=1e-6)


def test_consistency_on_fakes_with_strong_augmentation_is_cautioned():
    assert "leak" in cautions(terms={"bcr": {}}, augmentations={"diffaugment": {}})


def test_top_k_says_to_watch_recall():
    assert "watch recall" in cautions(weightings={"top-k": {}})


def test_lookahead_lets_the_average_follow_the_slow_weights():
    assert small_step(rules={"lookahead": {}}).averaging is False


def test_compiled_discriminators_and_penalties_are_refused():
    class OptimizedModule(nn.Identity):  # the class that torch.compile returns is called so
        pass

    G, D = build.players(small_recipe(), (1, 8, 8), 0)
    D.extra = OptimizedModule()
    with pytest.raises(InputError, match=r"torch\.compile"):
        build.assemble(small_recipe(terms={"r1": {}}), G, D, torch.device("cpu"))


def test_the_average_of_a_generator_with_batch_norm_measures_its_statistics_anew():
    step = play(small_step(network={"options": {"norm_G": "batch"}}), 2)
    assert isinstance(step.ema, EMA)
    from equipoise.ema import recalibrate

    before = {n: b.clone() for n, b in step.ema.average.named_buffers() if "running_var" in n}
    recalibrate(step.ema.average)
    assert any(not torch.equal(b, before[n]) for n, b in step.ema.average.named_buffers() if n in before)


# ------------------------------------------------------------------------------------------------ packing


def test_packs_of_neighbours_and_back():
    images = torch.arange(12 * 3 * 4).reshape(12, 3, 2, 2).float()
    assert packed(images, 3).shape == (4, 9, 2, 2) and torch.equal(unpacked(packed(images, 3), 3), images)
    assert torch.equal(packed(images, 3)[1, 3:6], images[4])
    _, D = pair("mlp", (3, 8, 8), latent_dim=2, width=4, pack=3)
    assert isinstance(D, Packed) and D(torch.randn(12, 3, 8, 8)).shape == (4,)
    with pytest.raises(InputError, match="packs of 3"):
        D(torch.randn(11, 3, 8, 8))


def test_r1_sums_the_gradient_over_the_pack():
    """A linear discriminator of packs: the gradient is its whole weight."""
    step = small_step(network={"pack": 2, "options": {"depth": 1}}, terms={"r1": {"gamma": 2.0}})
    images, labels = batch_of(step, 0)
    turn = step.turn("D", images, labels, torch.randn(8, 4).double(), step.due("D"))
    value = turn.call(step.objective.terms["r1"])
    assert value.shape == (4,) and turn["real"].shape == (4, 2, 8, 8)
    leaf = unpacked(turn["real"].detach(), 2).requires_grad_(True)
    (gradient,) = torch.autograd.grad(step.networks["D"](leaf).sum(), leaf)
    by_hand = gradient.square().sum((1, 2, 3)).reshape(4, 2).sum(1)
    torch.testing.assert_close(value, by_hand)


@pytest.mark.parametrize("changes", [{}, {"loss": "rpgan"}, {"terms": {"wgan-gp": {}}}, {"augmentations": {"ada": {}}},
                                     {"terms": {"lecam": {}, "cr": {}}}, {"accumulate": 2}])  # fmt: skip
def test_packing_goes_with_the_rest(changes):
    found = play(small_step(network={"pack": 2}, **changes), 2).meter.read()
    assert found["D.skipped"].mean == 0 and found["G.skipped"].mean == 0
    assert found["D.loss"].n == 8  # a logit for each pack


def test_packing_refuses_classes_and_odd_batches(tmp_path):
    with pytest.raises(InputError, match="does not divide"):
        small_recipe(network={"pack": 3})
    with pytest.raises(InputError, match="classes differ"):
        build.players(small_recipe(network={"pack": 2}), (1, 8, 8), 3)
    source = images_file(tmp_path / "some.npz", classes=2)
    made = planned(source, settings=(*TINY, "network.pack=2"))
    assert made.config.classes == 0 and "packed" in made.config.origin["network.conditional"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"loss": "multi-hinge"}, "network.head=classes"),
        ({"terms": {"chain": {}}}, "network.norm_D=chain"),
        ({"terms": {"zcr-generator": {}}}, "zcr-discriminator"),
        ({"terms": {"began": {}}}, "energy"),
        ({"loss": "energy", "network": {"name": "autoencoder", "options": {}}}, "ebgan or began"),
    ],
)
def test_half_of_a_technique_says_what_the_other_half_is(changes, words):
    with pytest.raises(InputError, match=f"only half of a technique; switch on {words} beside it"):
        compatibility.refuse(small_recipe(**changes))
    made = compatibility.completed(small_recipe(**changes))
    compatibility.refuse(made)
    assert compatibility.completed(made) == made


def test_cautions_are_said_before_training(tmp_path):
    source = images_file(tmp_path / "some.npz")
    made: plan.Plan = planned(source, settings=(*TINY, "top-k=on"))
    assert any("watch recall" in remark for remark in made.remarks)


def test_presets_set_both_players():
    made = Recipe().with_values({"preset": "biggan"})
    assert (made.G.lr, made.D.lr, made.D.steps, made.G.beta2) == (5e-5, 2e-4, 2.0, 0.999)
    assert Recipe().with_values({"preset": "wgan"}).D.optimiser == "rmsprop"
    with pytest.raises(InputError, match="did you mean biggan"):
        Recipe().with_values({"preset": "bigan"})


def test_weights_are_clipped_after_every_move_of_the_discriminator():
    step = play(small_step(constraints={"weight-clipping": {"limit": 0.01}}), 2)
    assert max(float(p.detach().abs().max()) for p in step.networks["D"].parameters()) <= 0.01
    assert max(float(p.detach().abs().max()) for p in step.networks["G"].parameters()) > 0.01


def test_top_k_by_hand():
    weights = find("weighting", "top-k").part(share=0.5)(torch.tensor([3.0, 1.0, 2.0, 0.0]))
    assert (-torch.tensor([3.0, 1.0, 2.0, 0.0]) * weights).mean() == pytest.approx(-2.5)
    assert find("weighting", "top-k").part(share=0.01)(torch.tensor([1.0, 2.0])).tolist() == [0.0, 2.0]


@pytest.mark.parametrize(("value", "factor"), [(1.455609, 1.414214), (1.316980, 0.316228), (1.663553, 2.0),
                                               (1.109035, 0.1), (1.386294, 1.0)])  # fmt: skip
def test_the_gap_aware_factor(value, factor):
    rate = find("rate", "gap-aware").part(decay=0.0).double()
    rate.aim("non-saturating", 2 * math.log(2))
    assert float(rate(torch.tensor(value).double())) == pytest.approx(factor, rel=1e-5)

"""A loss and its terms put together: values by name, whose they are, when they are due, what they ask for."""

import pytest
import torch
from torch import nn

from equipoise.errors import InputError
from equipoise.registry import find
from equipoise.terms import Loss, Objective, fact
from equipoise.terms.gradient_penalty import R1, R2, WGANGP
from equipoise.turn import Turn
from plants import DiracGAN, Linear, d_turn


class Spread(nn.Module):
    """A term of the generator's with a memory, that looks at the whole batch."""

    role, couples_samples = "G", True

    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros([]))

    def forward(self, fake):
        self.seen += 1
        return -fake.std()


class Pull(nn.Module):
    role, every = "G", 3

    def forward(self, real_score, fake_score):
        return (real_score - fake_score).square()


def objective(**terms):
    return Objective(find("loss", "non-saturating").part, terms).double()


def turn():
    return d_turn(Linear(), torch.ones(4, 2).double(), torch.zeros(4, 2).double())


def test_each_parts_value_per_sample_by_name():
    values = objective(r1=R1(2.0), gp=WGANGP(10.0))(turn(), frozenset({"r1", "gp"}))
    assert {name: value.shape for name, value in values.items()} == dict.fromkeys(("loss", "r1", "gp"), (4,))
    softplus = torch.nn.functional.softplus(torch.tensor([-7.0, 0.0]).double()).sum()
    torch.testing.assert_close(values["loss"], softplus.expand(4))
    torch.testing.assert_close(values["r1"], torch.full((4,), 25.0).double())
    torch.testing.assert_close(values["gp"], torch.full((4,), 160.0).double(), atol=1e-6, rtol=0)


def test_only_what_is_due_is_computed():
    spread = Spread()
    parts = objective(spread=spread, r1=R1())
    assert set(parts(turn(), frozenset())) == {"loss"}
    assert set(parts(Turn("G", "G", fake=torch.ones(2, 2), fake_logits=torch.ones(2)), frozenset({"spread"}))) == {
        "loss",
        "spread",
    }
    assert float(spread.seen) == 1


def test_the_players_sides_of_the_loss():
    parts = Objective(Loss(lambda real_logits: real_logits, lambda fake_logits: -fake_logits))
    fields = {"real_logits": torch.tensor([2.0]), "fake_logits": torch.tensor([5.0])}
    assert parts(Turn("D", "D", **fields), frozenset())["loss"].item() == 2.0
    assert parts(Turn("G", "G", **fields), frozenset())["loss"].item() == -5.0
    assert parts(Turn("texture", "D", **fields), frozenset())["loss"].item() == 2.0  # one of several discriminators


def test_a_lazy_term_is_weighted_by_its_interval():
    every, lazy = objective(r1=R1(2.0)), objective(r1=R1(2.0, every=16))
    due = frozenset({"r1"})
    torch.testing.assert_close(lazy(turn(), due)["r1"], 16 * every(turn(), due)["r1"])


def test_k_lazy_moves_push_as_hard_as_k_eager_ones_where_nothing_moves():
    """With a frozen discriminator: the penalty's gradient, added up over 12 moves."""

    def pushed(every):
        game = DiracGAN("wasserstein", {"r1": {"gamma": 0.7, "every": every}})
        return sum(float(game.gradient("D", move)) for move in range(12))

    assert pushed(4) == pytest.approx(pushed(1), rel=1e-9)


def test_terms_belong_to_a_player_and_are_due_from_move_0_on():
    parts = objective(r1=R1(every=4), r2=R2(), spread=Spread(), pull=Pull())
    assert set(parts.of("D")) == {"r1", "r2"} and set(parts.of("G")) == {"spread", "pull"}
    assert [sorted(parts.due("D", move)) for move in (0, 1, 3, 4, 8)] == [
        ["r1", "r2"], ["r2"], ["r2"], ["r1", "r2"], ["r1", "r2"]]  # fmt: skip
    assert [sorted(parts.due("G", move)) for move in (0, 1, 3)] == [["pull", "spread"], ["spread"], ["pull", "spread"]]


def test_what_an_objective_reads():
    assert not objective().reads("G", "real_logits") and objective().reads("D", "real_logits")
    assert objective(pull=Pull()).reads("G", "real_logits")  # by its score
    assert objective(spread=Spread()).reads("G", "fake") and not objective(spread=Spread()).reads("D", "fake")
    assert Objective(find("loss", "rpgan").part).reads("G", "real_logits")

    class Slope(nn.Module):
        role = "G"

        def forward(self, real_gradient):
            return real_gradient.flatten(1).sum(1)

    assert objective(slope=Slope()).reads("G", "real_logits")  # by its gradient


def test_which_images_must_track_a_gradient():
    parts = objective(r1=R1(), r2=R2(), gp=WGANGP(), pull=Pull())
    for due, differentiates, real, fake in (
        ((), False, False, False),
        (("pull",), False, False, False),
        (("r1",), True, True, False),
        (("r2", "pull"), True, False, True),
        (("gp",), True, False, False),
        (("r1", "r2"), True, True, True),
    ):
        due = frozenset(due)
        assert parts.differentiates(due) is differentiates
        assert (parts.tracks(due, "real"), parts.tracks(due, "fake")) == (real, fake)


def test_what_a_term_does_not_say_has_a_default():
    assert fact(Spread(), "couples_samples") is True and fact(Spread(), "every") == 1 and fact(Spread(), "dials") == ()
    assert fact(lambda real: real, "role") == "D"


def test_batch_norm_is_refused_beside_a_penalty_only():
    norms = ["trunk.1 (BatchNorm2d)"]
    objective().refuse(norms)
    objective(pull=Pull()).refuse(norms)
    objective(r1=R1()).refuse([])
    objective(r1=R1()).refuse(["spread (MinibatchStd)"])  # the published networks combine them
    with pytest.raises(InputError, match=r"r1 and gp take the .* batch normalisation in the discriminator \(trunk.1"):
        objective(r1=R1(), gp=WGANGP()).refuse(norms)


def test_terms_are_saved_and_moved_with_the_objective():
    parts = objective(r1=R1(3.0), spread=Spread())
    assert set(parts.state_dict()) == {"terms.r1.gamma", "terms.spread.seen"}
    other = objective(r1=R1(1.0), spread=Spread())
    other.load_state_dict(parts.state_dict())
    assert float(other.terms["r1"].gamma) == 3.0

"""CLC: values and eigenvalues by hand, and buffers that keep what they should for as long as they should."""

import copy

import pytest
import torch

from equipoise import compatibility
from equipoise.errors import InputError
from equipoise.terms.clc import CLC
from equipoise.turn import Turn
from plants import DiracGAN, batch_of, play, small_recipe, small_step


def feed(term, number, size=2, labels=None):
    """A batch whose reals are `number` and whose fakes are minus that, judged by their value."""
    real = torch.full((size, 1, 2, 2), float(number))
    return term(real, -real, labels, lambda x, y: x.flatten(1).mean(1))


def test_values_by_hand():
    """r = f = 1 on the buffer and weight 10: 20."""
    term = CLC(10.0)
    value = feed(term, 1.0)
    assert value.shape == (2,) and value.tolist() == [20.0, 20.0]
    assert term(torch.ones(2, 1, 2, 2), torch.ones(2, 1, 2, 2), None, lambda x, y: x.new_zeros(2)).tolist() == [0.0] * 2


def test_heads_and_patches_are_averaged_before_the_square():
    one = torch.ones(2, 1, 2, 2)
    value = CLC(1.0)(one, one, None, lambda x, y: [x.flatten(1), 3 * x.flatten(1)])
    assert value.tolist() == [8.0, 8.0]


def test_buffers_fill_in_order_and_are_then_overwritten_at_random():
    term = CLC(batches=3)
    for number in (1, 2, 3):
        feed(term, number)
        assert int(term.filled) == 2 * number
    assert term.reals[:, 0, 0, 0].tolist() == [1, 1, 2, 2, 3, 3] and torch.equal(term.reals, -term.fakes)
    torch.manual_seed(0)
    kinds = set()
    for number in range(4, 40):
        before = term.reals.clone()
        feed(term, number)
        new = term.reals[:, 0, 0, 0] == number
        assert int(term.filled) == 6 and int(new.sum()) == 2 and torch.equal(term.reals[~new], before[~new])
        assert torch.equal(term.reals, -term.fakes)
        kinds.add(tuple(new.nonzero().flatten().tolist()))
    assert len(kinds) > 8  # of 15


def test_the_age_of_what_is_kept_is_geometric():
    """With 1/100 of the places overwritten each time, the mean age in moves comes near 100."""
    torch.manual_seed(0)
    term = CLC(batches=100)
    for number in range(600):
        feed(term, number)
    ages = 599 - term.reals[:, 0, 0, 0]
    assert 75 < float(ages.mean()) < 125 and len(ages) == 200


def test_draws_are_of_what_is_there_each_once_and_of_all_of_it():
    term, seen = CLC(batches=4), []
    judge = lambda x, y: seen.append(x[:, 0].clone()) or x[:, 0]  # noqa: E731
    torch.manual_seed(0)
    for number in range(1, 200):
        batch = torch.tensor([[2.0 * number], [2.0 * number + 1]])
        term(batch, -batch, None, judge)
        assert all(len(set(drawn.tolist())) == 2 and 0 not in drawn for drawn in seen)
    assert torch.equal(seen[-2], -seen[-1])
    ages = {number - int(x) // 2 for number, drawn in enumerate(seen[::2], start=1) for x in drawn}
    assert min(ages) == 0 and max(ages) > 10  # the batch at hand too, and old ones


def test_batches_of_other_sizes():
    term = CLC(batches=2)
    term.prepare((1, 2, 2), 4, 0)
    for number, (size, filled) in enumerate([(3, 3), (3, 6), (3, 8), (3, 8), (8, 8)], start=1):
        feed(term, number, size)
        assert int(term.filled) == filled and (term.reals[:filled] > 0).all()
    with pytest.raises(InputError, match="a batch of 9 does not fit"):
        feed(term, 1, 9)


def test_labels_stay_with_their_images():
    """Images that are their label, in step and by hand."""
    term, asked = CLC(batches=5), []
    torch.manual_seed(0)
    for number in range(20):
        labels = torch.tensor([number % 7, (number + 3) % 7])
        images = labels[:, None].float().expand(2, 4)
        term(images, -images, labels, lambda x, y: asked.append((x[:, 0].abs(), y)) or x.sum(1))
    assert len(asked) == 40 and all(torch.equal(x, y.float()) for x, y in asked)
    assert len({tuple(y.tolist()) for _, y in asked}) > 10


def test_the_room_bounds_the_buffers_in_whole_batches():
    pair = 2 * 4 * 3 * 16 * 16  # bytes of a real and a fake
    for megabytes, samples in ((1e9, 800), (pair * 25 / 2**20, 24), (pair * 1 / 2**20, 8)):
        term = CLC(batches=100, megabytes=megabytes)
        term.prepare((3, 16, 16), 8, 10)
        assert term.reals.shape == term.fakes.shape == (samples, 3, 16, 16) and term.classes.shape == (samples,)


@pytest.mark.parametrize("wrong", [{"batches": 0}, {"megabytes": 0.0}, {"megabytes": float("nan")}])
def test_buffers_that_hold_nothing_are_refused(wrong):
    with pytest.raises(InputError, match="hold nothing"):
        CLC(**wrong)


# ------------------------------------------------------------------------------------------------ in a step


def test_in_a_step_the_buffers_are_laid_out_filled_and_go_on_from_a_checkpoint():
    step = play(small_step(terms={"clc": {"batches": 3}}, classes=3), 4, classes=3)
    term = step.objective.terms["clc"]
    assert term.reals.shape == (24, 1, 8, 8) and int(term.filled) == 24 and term.classes.shape == (24,)
    assert -1 <= float(term.reals.min()) < float(term.reals.max()) <= 1 and len(term.classes.unique()) == 3
    assert step.meter.read()["D.clc"].n == 32
    other = small_step(terms={"clc": {"batches": 3}}, classes=3)
    other.objective.load_state_dict(copy.deepcopy(step.objective.state_dict()))
    assert torch.equal(other.objective.terms["clc"].reals, term.reals)


def test_the_images_kept_are_those_shown_and_the_generator_is_not_reached():
    step = small_step(terms={"clc": {}})
    images, _ = batch_of(step, 0)
    step.move("D", images, None, step.due("D"))
    term = step.objective.terms["clc"]
    torch.testing.assert_close(term.reals[:8].double(), images.double() / 127.5 - 1, atol=1e-6, rtol=0)
    assert not term.fakes.requires_grad and float(term.fakes[:8].abs().sum()) > 0 and int(term.filled) == 8


def test_it_may_be_worked_off_in_parts_and_packs():
    parts = play(small_step(terms={"clc": {"batches": 3}}, accumulate=2), 2)
    assert int(parts.objective.terms["clc"].filled) == 12  # three parts of four
    packs = play(small_step(terms={"clc": {"batches": 3}}, network={"pack": 2}), 2)
    assert packs.objective.terms["clc"].reals.shape == (24, 1, 8, 8) and packs.meter.read()["D.clc"].n == 8


def test_what_else_damps_the_output_is_cautioned():
    assert "keep one" in " ".join(compatibility.cautions(small_recipe(terms={"clc": {}, "logit-drift": {}})))


# ------------------------------------------------------------------------------------------------ Dirac-GAN


class Shifted(DiracGAN):
    """Data at 1 instead of 0, so that D(x) = psi x has something to say of it."""

    def turn(self, role):
        real = torch.ones(1, 1, dtype=torch.float64)
        fake = self.theta.reshape(1, 1)
        fake = fake if role == "G" else fake.detach()
        judge = lambda x, labels=None: self.psi * x.flatten()  # noqa: E731
        return Turn(role, role, real=real, fake=fake, real_logits=judge(real), fake_logits=judge(fake), judge=judge,
                    network=judge, labels=None)  # fmt: skip

    @property
    def norm(self):
        return float(torch.hypot(self.theta - 1, self.psi).detach())


def game(weight):
    played = Shifted("wasserstein", {"clc": {"weight": weight, "batches": 1}})
    played.theta.data.fill_(1.0), played.psi.data.fill_(0.0)
    played.turn("D").call(played.objective.terms["clc"])  # both at 1: the buffer at the equilibrium
    return played


def field(played, theta, psi):
    """Minus the gradients: where the continuous dynamics goes."""
    played.theta.data.fill_(theta), played.psi.data.fill_(psi)
    return torch.stack([-played.gradient("G", 0), -played.gradient("D", 0)])


@pytest.mark.parametrize("weight", [0.1, 0.4, 0.5, 0.6, 2.0])
def test_eigenvalues_of_the_linearised_dynamics(weight):
    """-l/2 +- sqrt(l^2/4 - 1) with l = 4 weight: critical at l = 2."""
    played, h = game(weight), 1e-6
    columns = [
        (field(played, 1 + h * (k == 0), h * (k == 1)) - field(played, 1 - h * (k == 0), -h * (k == 1))) / (2 * h)
        for k in (0, 1)
    ]
    found = torch.linalg.eigvals(torch.stack(columns, 1))
    damping = 4 * weight
    root = torch.sqrt(torch.tensor(complex(damping**2 / 4 - 1), dtype=torch.complex128))
    expected = torch.stack([-damping / 2 - root, -damping / 2 + root])
    # a double root moves by the square root of the differences' error
    order = lambda v: sorted(v.tolist(), key=lambda c: (round(c.real, 2), c.imag))  # noqa: E731
    assert order(found) == pytest.approx(order(expected), abs=1e-6 if weight != 0.5 else 1e-3)


def test_it_calms_the_game_that_wasserstein_leaves_in_orbit():
    plain = Shifted("wasserstein")
    plain.theta.data.fill_(2.0)
    plain.play(1000)
    assert plain.norm == pytest.approx(1.39926, abs=1e-4)
    damped = Shifted("wasserstein", {"clc": {"weight": 0.5, "batches": 20}})
    damped.theta.data.fill_(2.0)
    assert damped.play(400).norm < 1e-6


def test_data_at_0_leave_it_nothing_to_damp_by():
    """D(0) = 0, and the fakes' part is of second order: what the sheet of the Dirac-GAN says of drift on fakes."""
    played = Shifted("wasserstein", {"clc": {"weight": 0.5, "batches": 1}})
    term = played.objective.terms["clc"]
    slope = lambda theta: torch.autograd.grad(  # noqa: E731
        term(torch.zeros(1, 1).double(), torch.full((1, 1), theta).double(), None, lambda x, y: played.psi * x.flatten()
    ).sum(), played.psi)[0]  # fmt: skip
    assert [float(slope(t)) for t in (0.0, 0.01)] == pytest.approx([0.0, 1e-4])

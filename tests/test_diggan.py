"""DigGAN: the gap of slopes by hand, its memory, and that it tells nothing where both slopes are the same."""

import pytest
import torch

from equipoise.errors import InputError
from equipoise.terms.diggan import DigGAN
from plants import DiracGAN, Linear, Quadratic, d_turn, play, small_step


def column(*values):
    return torch.tensor(values, dtype=torch.float64)[:, None]


def turn_of(real, fake):
    """D(x) = x^2 / 2, so that the slope at x is |x|."""
    return d_turn(Quadratic([[1.0]]), column(*real), column(*fake))


def test_values_by_hand():
    """Real 3, fake 1: (1 - 3)^2 = 4."""
    assert turn_of([3.0], [1.0]).call(DigGAN(1.0).double()).tolist() == pytest.approx([4.0])
    assert turn_of([3.0, -2.0], [1.0, 2.0]).call(DigGAN(10.0).double()).tolist() == pytest.approx([40.0, 0.0])


def test_a_linear_discriminator_has_no_gap():
    value = d_turn(Linear(), torch.randn(5, 2).double(), torch.randn(5, 2).double()).call(DigGAN().double())
    assert value.tolist() == [0.0] * 5


def test_norms_are_joined_half_and_half_with_those_remembered():
    """Real slopes 3, 1, 5 and fake 1, 1, 1 in the first place: joint real 3, 2, 3.5; fake 1."""
    term = DigGAN(1.0).double()
    values = [turn_of([x, 0.5], [1.0, 0.5]).call(term) for x in (3.0, 1.0, 5.0)]
    assert [float(v[0].detach()) for v in values] == pytest.approx([4.0, 1.0, 6.25])
    assert [float(v[1].detach()) for v in values] == pytest.approx([0.0] * 3, abs=1e-12)
    assert term.norms[:, 0].tolist() == pytest.approx([3.5, 1.0])
    plain = DigGAN(1.0, memory=0.0).double()
    values = [turn_of([x], [1.0]).call(plain) for x in (3.0, 1.0, 5.0)]
    assert [float(v.detach()) for v in values] == pytest.approx([4.0, 0.0, 16.0])


def test_what_is_remembered_has_no_gradient_and_halves_that_of_the_batch():
    """D(x) = a x^2 / 2 with a = 1: d/da (j_f - j_r)^2 = 2 (j_f - j_r) (1 - m) (f - r), m = 0, then 1/2."""
    discriminator, term = Quadratic([[1.0]]), DigGAN(1.0).double()
    for joint, share in ((-2.0, 1.0), (-2.0, 0.5)):
        discriminator.matrix.grad = None
        d_turn(discriminator, column(3.0), column(1.0)).call(term).sum().backward()
        assert float(discriminator.matrix.grad) == pytest.approx(2 * joint * share * -2.0)


def test_a_place_remembers_its_own_and_smaller_batches_leave_the_rest():
    term = DigGAN(1.0).double()
    term.prepare((1,), 3, 0)
    turn_of([1.0, 2.0, 3.0], [0.0, 0.0, 0.0]).call(term)
    turn_of([3.0], [0.0]).call(term)
    assert term.norms[0].tolist() == pytest.approx([2.0, 2.0, 3.0])


def test_the_gradient_is_finite_where_a_slope_is_0():
    discriminator = Quadratic([[1.0]])
    d_turn(discriminator, column(0.0), column(0.0)).call(DigGAN().double()).sum().backward()
    assert discriminator.matrix.grad.isfinite().all()


def test_the_dirac_gan_is_as_it_was():
    """One slope everywhere: no gap, no damping."""
    assert DiracGAN("non-saturating", {"diggan": {}}).play(1000).norm == pytest.approx(0.281040, abs=1e-6)


def test_it_is_prepared_with_the_step():
    step = play(small_step(terms={"diggan": {}}), 2)
    assert step.objective.terms["diggan"].norms.shape == (2, 8) and step.meter.read()["D.diggan"].n == 16
    assert {"diggan.norms", "diggan.started"} <= set(step.memory())
    play(small_step(terms={"diggan": {}}, network={"pack": 2}), 2)


@pytest.mark.parametrize("memory", [-0.1, 1.0, float("nan")])
def test_a_memory_without_room_for_the_batch_is_refused(memory):
    with pytest.raises(InputError, match="give 0"):
        DigGAN(memory=memory)

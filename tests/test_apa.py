"""APA: what is shown as real, how often, in whose moves, with which labels and gradients; and in whole steps."""

import math

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from equipoise import build, compatibility
from equipoise.augmentations.apa import APA, mixed
from equipoise.errors import InputError
from plants import batch_of, play, small_recipe, small_step, snapshot
from test_step import fake_moves, family

f64 = torch.float64


def batches(count=8, channels=3, size=4):
    source = torch.Generator().manual_seed(0)
    return [torch.randn(count, channels, size, size, dtype=f64, generator=source) for _ in "rf"]


def shown(part, real, fake, labels=None, fake_labels=None):
    """What a D move shows as real."""
    part(fake, fake_labels, False)
    return part(real, labels, True)


def at(p):
    part = APA(0.0)
    part.p.fill_(p)  # a dial may be turned to where the constructor would not start
    return part


@pytest.mark.parametrize("shape", [(8, 2), (8, 1, 5), (8, 3, 4, 4), (8, 1, 2, 3, 4)])
def test_at_p_0_every_bit_passes_and_at_p_1_the_fakes_are_shown(shape):
    real, fake = torch.randn(shape), torch.randn(shape)
    real.flatten()[0] = -0.0
    out, _ = shown(at(0.0), real, fake)
    assert torch.equal(out.view(torch.int32), real.view(torch.int32))
    assert torch.equal(shown(at(1.0), real, fake)[0], fake.roll(1, 0))


@pytest.mark.parametrize("channels", [1, 3])
def test_fakes_are_shown_as_they_are_and_as_often_as_p_says(channels):
    torch.manual_seed(0)
    real, fake = torch.zeros(20000, channels, 2, 2), torch.ones(20000, channels, 2, 2)
    assert torch.equal(APA(0.3)(fake, None, False)[0], fake)
    out, _ = shown(APA(0.3), real, fake)
    assert (out == out[:, :1, :1, :1]).all()  # an image is replaced whole
    assert float(out[:, 0, 0, 0].mean()) == pytest.approx(0.3, abs=3 * math.sqrt(0.3 * 0.7 / 20000))


def test_no_image_meets_itself_in_a_pair():
    real, fake = batches()
    out, _ = shown(at(1.0), real, fake)
    assert not any(torch.equal(out[i], fake[i]) for i in range(8)) and torch.equal(out[1:], fake[:-1])


def test_labels_come_with_the_images():
    torch.manual_seed(0)
    real, fake = batches(64)
    labels, fake_labels = torch.arange(64), torch.arange(100, 164)
    out, known = shown(APA(0.5), real, fake, labels, fake_labels)
    for i in range(64):
        replaced = torch.equal(out[i], fake[i - 1])
        assert replaced != torch.equal(out[i], real[i])
        assert int(known[i]) == (100 + (i - 1) % 64 if replaced else i)
    assert {bool((known >= 100).any()), bool((known < 100).any())} == {True}
    assert shown(APA(0.5), real, fake)[1] is None


def test_reals_are_mixed_once_and_only_in_batches_of_the_fakes_size():
    real, fake = batches()
    part = at(1.0)
    assert torch.equal(part(real, None, True)[0], real)  # before any fakes
    shown(part, real, fake)
    for again in (real, torch.cat([real, real])):  # judged once more by a term
        assert torch.equal(part(again, None, True)[0], again)
    assert torch.equal(shown(part, torch.cat([real, real]), fake)[0], torch.cat([real, real]))
    assert torch.equal(shown(part, real[:3], fake)[0], real[:3])


@pytest.mark.parametrize("told", [True, False])
def test_the_generators_moves_show_reals_as_they_are(told):
    real, fake = batches()
    made = fake.requires_grad_() * 1.0
    part = at(1.0)
    if told:
        part.begin("G")
        fake = fake.detach()
    out, _ = shown(part, real, fake if told else made)
    assert torch.equal(out, real)
    if told:  # a rule may let D's fakes track the generator
        part.begin("D")
        out, _ = shown(part, real, made)
        assert torch.equal(out, made.roll(1, 0)) and not out.requires_grad
        part(made, None, False)
        part.begin("G")  # and nothing is left over for the move after
        assert torch.equal(part(real, None, True)[0], real)


@pytest.mark.parametrize("channels", [1, 3])
def test_gradients_and_their_gradients(channels):
    real, fake = batches(4, channels)
    real.requires_grad_()
    none = torch.zeros(4, dtype=torch.bool)
    assert gradcheck(lambda x: mixed(x, None, fake, None, none)[0], real, fast_mode=True)
    assert gradgradcheck(lambda x: mixed(x, None, fake, None, none)[0].sin(), real, fast_mode=True)
    assert gradcheck(lambda x: APA(0.9)(x, None, False)[0], fake.requires_grad_(), fast_mode=True)


def test_a_penalty_on_reals_sees_the_slope_at_the_image_shown():
    real, fake = batches(4)
    real.requires_grad_()
    chosen = torch.tensor([True, False, True, False])
    out, _ = mixed(real, None, fake, None, chosen)
    (slope,) = torch.autograd.grad((out**3).sum() / 3, real, create_graph=True)
    expected = torch.where(chosen[:, None, None, None], fake.roll(1, 0), real.detach())
    torch.testing.assert_close(slope.detach(), expected**2)
    (second,) = torch.autograd.grad(slope.sum(), real)
    torch.testing.assert_close(second, 2 * expected)


@pytest.mark.parametrize("p", [1.0, -0.1, math.nan])
def test_shares_that_cannot_work_are_refused(p):
    with pytest.raises(InputError, match="no real image"):
        APA(p)


@pytest.mark.parametrize("term", ["cr", "bcr"])
def test_terms_that_compare_an_image_with_its_copy_are_refused(term):
    with pytest.raises(InputError, match="cannot stand beside"):
        compatibility.refuse(small_recipe(terms={term: {}}, augmentations={"apa": {}}))


# ------------------------------------------------------------------------------------------------ in whole steps


def looked_at(step, role, labels=None, due=frozenset()):
    """A turn with its images, what the discriminator was shown (pass by pass, one after the other), and labels."""
    seen = []
    hook = step.networks["D"].register_forward_pre_hook(lambda m, args: seen.append(args))
    with torch.random.fork_rng():
        turn = step.turn(role, batch_of(step, 0)[0], labels, torch.randn(8, 4).double(), due)
    hook.remove()
    return turn, torch.cat([args[0].detach() for args in seen]), [args[1] for args in seen]


@pytest.mark.parametrize("norm", ["none", "batch"])  # batch norm: reals and fakes are judged apart
@pytest.mark.parametrize("others", [{}, {"instance-noise": {"std": 0.0}}])
@pytest.mark.parametrize("place", ["first", "last"])
def test_in_ds_turn_fakes_are_shown_as_real_and_in_gs_they_are_not(norm, others, place):
    parts = {"apa": {}} | others if place == "first" else others | {"apa": {}}
    terms = {"r2": {}} if norm == "none" else {}
    step = small_step(network=family("mlp", norm_D=norm), loss="rpgan", augmentations=parts, terms=terms)
    step.parts()["apa"].p.fill_(1.0)
    for _ in range(2):
        turn, seen, _ = looked_at(step, "D", due=step.due("D"))
        shown = [turn["fake"].roll(1, 0), turn["fake"]]
        assert torch.equal(seen, torch.cat(shown if norm == "none" else shown[::-1]).detach())
        turn, seen, _ = looked_at(step, "G")
        assert torch.equal(seen, torch.cat([turn["real"], turn["fake"]]).detach())


def test_with_labels_packs_parts_of_a_batch_and_other_rules():
    step = small_step(classes=3, network=family("mlp"), augmentations={"apa": {}})
    step.parts()["apa"].p.fill_(1.0)
    labels = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])
    turn, seen, known = looked_at(step, "D", labels)
    assert torch.equal(known[0], torch.cat([labels.roll(1), labels]))
    assert torch.equal(seen[:8], turn["fake"].roll(1, 0))
    for changes in ({"accumulate": 2}, {"rules": {"consensus": {}}}, {"rules": {"extragradient": {}}},
                    {"rules": {"unrolled": {"steps": 2}}}, {"terms": {"wgan-gp": {}, "dragan": {}}},
                    {"network": {"pack": 2}}):  # fmt: skip
        step = small_step(augmentations={"apa": {"p": 0.5}}, **changes)
        step.round(1, lambda step=step: batch_of(step, 0))
        assert not step.alarm["D"] and not step.alarm["G"] and step.parts()["apa"]._fakes is None


def test_no_state_is_kept_and_the_same_seed_gives_the_same_bits():
    steps = [play(small_step(augmentations={"apa": {"p": 0.5}}), 2) for _ in range(2)]
    plain = play(small_step(), 2)
    a, b, c = (snapshot(step) for step in (*steps, plain))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not all(torch.equal(a[name], c[name]) for name in c)
    assert not [name for name in steps[0].memory() if name.startswith("apa")]
    assert "apa.p" in build.dials(steps[0], small_recipe())


@pytest.mark.parametrize("classes", [0, 3])
def test_no_host_read(monkeypatch, classes):
    fake_moves(monkeypatch, family("dcgan"), classes, augmentations={"apa": {}}, terms={"r1": {}}, loss="rpgan")

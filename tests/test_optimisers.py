"""Adam against torch.optim.Adam and closed forms, and what it does with gradients it must refuse."""

import math

import pytest
import torch
from torch import nn

from equipoise.errors import InputError
from equipoise.optimisers import Adam


def network(dtype=torch.float64, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 1), nn.Flatten(), nn.Linear(72, 1)).to(dtype)


def gradients(net, seed, scale=1.0):
    source = torch.Generator().manual_seed(seed)
    for p in net.parameters():
        p.grad = torch.randn(p.shape, generator=source, dtype=p.dtype) * scale


def bits(*tensors):
    return [t.detach().clone().contiguous().view(torch.uint8) for t in tensors]


def same_bits(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def everything(net, optimiser):
    return bits(*net.parameters(), *optimiser.state.values())


@pytest.mark.parametrize("betas", [(0.0, 0.9), (0.0, 0.99), (0.5, 0.999), (0.9, 0.999), (0.0, 0.0), (-0.5, 0.9)])
@pytest.mark.parametrize("channels_last", [False, True])
def test_equals_torch_adam(betas, channels_last):
    ours, theirs = network(), network()
    if channels_last:
        ours, theirs = (net.to(memory_format=torch.channels_last) for net in (ours, theirs))
    optimiser = Adam(ours.parameters(), 1e-2, *betas)
    settings = [
        float(x) for x in (optimiser.lr, optimiser.beta1, optimiser.beta2, optimiser.eps)
    ]  # as float32 has them
    if betas[0] >= 0:
        reference = torch.optim.Adam(theirs.parameters(), settings[0], tuple(settings[1:3]), settings[3])
    else:
        reference = SlowAdam(theirs.parameters(), *settings)
    for step in range(120):
        gradients(ours, step, 10.0 ** (step % 5 - 2))
        gradients(theirs, step, 10.0 ** (step % 5 - 2))
        before = [p.detach().clone() for p in ours.parameters()]
        norm = math.sqrt(sum(float(p.grad.square().sum()) for p in theirs.parameters()))
        assert float(optimiser.step()) == 1.0
        reference.step()
        assert float(optimiser.norm) == pytest.approx(norm, rel=1e-12)
        moved = math.sqrt(
            sum(float((p.detach() - b).square().sum()) for p, b in zip(ours.parameters(), before, strict=True))
        )
        assert float(optimiser.update_norm) == pytest.approx(moved, rel=1e-9)
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=0, atol=1e-10)


class SlowAdam:
    """Adam written out, with debiasing by the sum of the weights that each moment has gathered."""

    def __init__(self, parameters, lr, beta1, beta2, eps):
        self.parameters, self.eps = list(parameters), eps
        self.lr, self.beta1, self.beta2 = lr, beta1, beta2
        self.history, self.betas = [], []

    def step(self):
        self.history.append([p.grad.clone() for p in self.parameters])
        self.betas.append((self.beta1, self.beta2))
        w1, w2 = ([self._weight(side, k) for k in range(len(self.betas))] for side in (0, 1))
        for i, p in enumerate(self.parameters):
            m = sum(w * g[i] for w, g in zip(w1, self.history, strict=True)) / sum(w1)
            v = sum(w * g[i] ** 2 for w, g in zip(w2, self.history, strict=True)) / sum(w2)
            p.data -= self.lr * m / (v.sqrt() + self.eps)

    def _weight(self, side, k):
        """What the gradient of step k weighs now: (1 - beta_k) times all later betas."""
        return (1 - self.betas[k][side]) * math.prod(b[side] for b in self.betas[k + 1 :])


def test_settings_filled_in_mid_run_act_at_once_and_the_debiasing_stays_exact():
    """torch's own debiasing by 1 - beta^t would be wrong here, since beta has moved."""
    ours, theirs = network(), network()
    optimiser, slow = Adam(ours.parameters(), 0.125, 0.5, 0.75), SlowAdam(theirs.parameters(), 0.125, 0.5, 0.75, 0.0)
    slow.eps = float(optimiser.eps)
    for step, (lr, beta1, beta2) in enumerate(
        [(0.125, 0.5, 0.75), (0.25, 0.5, 0.875), (0.0625, 0.0, 0.96875), (0.5, 0.75, 0.5), (0.5, 0.75, 0.984375)] * 2
    ):
        optimiser.lr.fill_(lr), optimiser.beta1.fill_(beta1), optimiser.beta2.fill_(beta2)
        slow.lr, slow.beta1, slow.beta2 = lr, beta1, beta2
        gradients(ours, step)
        gradients(theirs, step)
        optimiser.step()
        slow.step()
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=0, atol=1e-12)


def test_a_constant_gradient_moves_by_lr_whatever_beta2_does():
    p = nn.Parameter(torch.zeros(3, dtype=torch.float64))
    optimiser = Adam([p], lr=0.5, beta1=0.5, beta2=0.9)
    for step in range(50):
        optimiser.beta2.fill_(0.9 + 0.09 * step / 49)
        p.grad = torch.tensor([4.0, -1.0, 0.25]).double()
        optimiser.step()
    torch.testing.assert_close(p.detach(), torch.tensor([-25.0, 25.0, -25.0]).double(), rtol=0, atol=2e-6)


def test_a_missing_gradient_counts_as_zero():
    ours, theirs = network(), network()
    optimiser, explicit = Adam(ours.parameters(), 0.01, 0.5, 0.9), Adam(theirs.parameters(), 0.01, 0.5, 0.9)
    for step in range(6):
        gradients(ours, step)
        gradients(theirs, step)
        if step % 2:
            ours[0].weight.grad, theirs[0].weight.grad = None, torch.zeros_like(theirs[0].weight)
        optimiser.step(), explicit.step()
        assert all(p.grad is None for p in ours.parameters())
    assert same_bits(everything(ours, optimiser), everything(theirs, explicit))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("after", [0, 3])
def test_a_non_finite_gradient_changes_no_bit(bad, after):
    net = network(torch.float32)
    optimiser = Adam(net.parameters(), 0.01, 0.5, 0.9, clip=1.0)
    for step in range(after):
        gradients(net, step)
        optimiser.step()
    before = everything(net, optimiser)
    gradients(net, 99)
    net[1].weight.grad[1, 2] = bad
    assert float(optimiser.step()) == 0.0
    assert same_bits(everything(net, optimiser), before)
    assert not math.isfinite(float(optimiser.norm)) and float(optimiser.update_norm) == 0.0
    gradients(net, 100)
    assert float(optimiser.step()) == 1.0
    assert all(p.isfinite().all() for p in net.parameters()) and optimiser.state["first"].isfinite().all()


def test_after_a_refusal_the_run_goes_on_as_if_it_had_not_been():
    nets = [network(torch.float32) for _ in range(2)]
    pair = [Adam(net.parameters(), 0.01, 0.5, 0.9) for net in nets]
    for step in range(6):
        for net, optimiser in zip(nets, pair, strict=True):
            gradients(net, step)
            optimiser.step()
        if step == 2:
            gradients(nets[0], 77, math.nan)
            pair[0].step()
    assert same_bits(everything(nets[0], pair[0]), everything(nets[1], pair[1]))


def test_a_gradient_whose_square_overflows_is_refused_or_survived():
    p = nn.Parameter(torch.ones(4))
    optimiser = Adam([p], lr=0.1)
    p.grad = torch.full((4,), 1e25)
    optimiser.step()
    assert optimiser.state["second"].isfinite().all()
    p.grad = torch.ones(4)
    assert float(optimiser.step()) == 1.0
    assert (p.detach() < 1).all()  # not stuck behind an infinite second moment


@pytest.mark.parametrize(
    ("clip", "norm", "factor"), [(1.0, 5.0, 0.2), (5.0, 5.0, 1.0), (7.0, 5.0, 1.0), (0.0, 5.0, 1.0)]
)
def test_clipping_scales_the_whole_gradient(clip, norm, factor):
    a, b = nn.Parameter(torch.zeros(1).double()), nn.Parameter(torch.zeros(1).double())
    optimiser = Adam([a, b], lr=0.1, beta1=0.0, beta2=0.5, clip=clip)
    a.grad, b.grad = torch.tensor([3.0]).double(), torch.tensor([4.0]).double()
    optimiser.step()
    assert float(optimiser.norm) == pytest.approx(norm)  # before clipping
    torch.testing.assert_close(optimiser.state["first"], factor * torch.tensor([3.0, 4.0]).double(), rtol=1e-7, atol=0)


def test_clipping_a_zero_gradient_gives_zero():
    p = nn.Parameter(torch.ones(2))
    optimiser = Adam([p], lr=0.1, clip=1.0)
    p.grad = torch.zeros(2)
    assert float(optimiser.step()) == 1.0
    assert p.tolist() == [1.0, 1.0]


def test_restored_mid_run_it_goes_on_in_the_same_bits():
    straight, resumed = network(torch.float32), network(torch.float32)
    first = Adam(straight.parameters(), 0.01, 0.5, 0.99)
    for step in range(4):
        gradients(straight, step)
        first.step()
    resumed.load_state_dict(straight.state_dict())
    second = Adam(resumed.parameters(), 0.01, 0.5, 0.99)
    state = {name: tensor.clone() for name, tensor in first.state_dict().items()}
    second.load_state_dict(state)
    for tensor in state.values():
        tensor.fill_(math.nan)  # what was loaded was copied, not adopted
    for step in range(4, 8):
        for net, optimiser in ((straight, first), (resumed, second)):
            gradients(net, step)
            optimiser.step()
    assert same_bits(everything(straight, first), everything(resumed, second))


def test_the_gradients_handed_in_are_neither_kept_nor_changed():
    p = nn.Parameter(torch.ones(3))
    optimiser = Adam([p], lr=0.1, beta2=0.5, clip=0.1)
    handed = torch.tensor([1.0, 2.0, 3.0])
    p.grad = handed
    optimiser.step()
    assert handed.tolist() == [1.0, 2.0, 3.0] and p.grad is None
    handed.fill_(100.0)
    assert optimiser.gradient.tolist() == [1.0, 2.0, 3.0]


def test_only_trainable_parameters_once_each():
    net = network()
    net[0].weight.requires_grad_(False)
    optimiser = Adam([*net.parameters(), net[1].weight])
    assert [id(p) for p in optimiser.parameters] == [id(p) for p in list(net.parameters())[1:]]


def test_odd_strides_are_followed():
    """Transposed, sliced and single-cell parameters, whose memory is no plain row order."""
    base = torch.randn(6, 8).double()
    odd = [
        nn.Parameter(base.t().detach()),
        nn.Parameter(torch.randn(4, 6).double()[:, ::2]),
        nn.Parameter(torch.zeros(1, 1, 1).double()),
    ]
    plain = [nn.Parameter(p.detach().clone(memory_format=torch.contiguous_format)) for p in odd]
    pair = [Adam(odd, 0.1, 0.5, 0.5), Adam(plain, 0.1, 0.5, 0.5)]
    for step in range(3):
        for parameters, optimiser in zip((odd, plain), pair, strict=True):
            source = torch.Generator().manual_seed(step)
            for p in parameters:
                p.grad = torch.randn(p.shape, generator=source, dtype=torch.float64)
            optimiser.step()
    for p, q in zip(odd, plain, strict=True):
        torch.testing.assert_close(p, q, rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    "wrong",
    [{"lr": -1.0}, {"lr": math.nan}, {"beta1": 1.0}, {"beta1": math.nan}, {"beta2": 1.0}, {"beta2": -0.1}, {"eps": 0.0},
     {"eps": math.nan}, {"clip": -1.0}, {"clip": math.nan}],
)  # fmt: skip
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(InputError, match="lr and clip must be 0 or more"):
        Adam(network().parameters(), **wrong)


def test_a_network_without_parameters_is_refused():
    with pytest.raises(InputError, match="nothing to optimise"):
        Adam(nn.ReLU().parameters())


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_skips_the_update_whatever_the_gradient(loss):
    p = torch.nn.Parameter(torch.ones(3))
    optimiser = Adam([p], lr=0.1)
    p.grad = torch.ones(3)
    assert float(optimiser.step(torch.tensor(loss))) == 0.0 and p.detach().tolist() == [1.0, 1.0, 1.0]
    p.grad = torch.ones(3)
    assert float(optimiser.step(torch.tensor(2.0))) == 1.0 and p.detach().tolist() != [1.0, 1.0, 1.0]


def test_a_paced_parameter_moves_as_one_stored_in_other_units():
    own, twin = (torch.nn.Parameter(torch.tensor([1.0, -2.0])) for _ in range(2))
    other = torch.nn.Parameter(torch.tensor([4.0]))
    paced, plain = Adam([other, own], lr=0.1), Adam([twin], lr=0.1)
    paced.pace(own, 50.0)
    with torch.no_grad():
        own.mul_(50.0)
    for _ in range(5):
        ((own / 50).square().sum() + other.sum()).backward()
        twin.square().sum().backward()
        paced.step()
        plain.step()
    assert torch.allclose(own / 50, twin, atol=1e-5) and float(other.detach()) == pytest.approx(3.5, abs=1e-4)
    ones, fifty = paced.preconditioner()[0], paced.preconditioner()[1]
    assert torch.allclose(fifty, 50 * paced._views(paced.scale())[1]) and torch.allclose(ones, paced.scale()[:1])

"""The contract's effects: in a linear case a part that is switched on moves the weights by what its formula says.

The formulas are written out here in plain tensors, apart from the package's own; autograd differentiates them. The
discriminator is w.x, the generator V z, and a move is one plain step. A part wired in without effect would be found.
Update rules have theirs in test_contract_values.py, a whole round of a bilinear game.
"""

import copy
import math

import pytest
import torch
from torch import nn

from contract import PARTS, named, recipe_of
from equipoise import build
from equipoise.networks import chain
from equipoise.registry import find
from plants import small_recipe

KINDS = ("loss", "term", "augmentation", "weighting", "constraint", "rate", "optimiser", "preset", "schedule", "sensor")
LR, SHARE = 0.1, 0.75  # of plain steps; what every uniform draw gives here
VECTOR, IMAGE = (2,), (1, 4, 4)


def softplus(v):
    return torch.log(1 + torch.exp(v))


def relu(v):
    return (v + v.abs()) / 2


def sigmoid(v):
    return 1 / (1 + torch.exp(-v))


# ------------------------------------------------------------------------------------------------ the linear pair


class Maker(nn.Module):
    """G(z) = V z."""

    num_classes, latent_dim = 0, 3

    def __init__(self, shape):
        super().__init__()
        self.shape, self.map = shape, nn.Linear(3, math.prod(shape), bias=False).double()

    def forward(self, latents, labels=None):
        return self.map(latents).reshape(-1, *self.shape)


class Judge(nn.Module):
    """D(x) = w.x, with two such outputs for margins; curved, s + s^2 / 2 of it; or with CHAIN's layer in between."""

    num_classes = 0

    def __init__(self, shape, outputs=1, curved=False, chained=False):
        super().__init__()
        self.curved, size = curved, math.prod(shape)
        self.trunk = nn.Sequential(nn.Linear(size, 2, bias=False), chain.AdaptiveRMSNorm(2)) if chained else nn.Identity()
        self.output = nn.Linear(2 if chained else size, outputs, bias=False)
        self.double()
        if chained:
            chain.join(self)

    def forward(self, images, labels=None):
        s = self.output(self.trunk(images.flatten(1))).squeeze(1)
        return s + s.square() / 2 if self.curved else s


class World:
    """What a formula may look at: weights to differentiate by, images, latents, and normal draws in their order."""

    def __init__(self, step, images, drawn, role):
        self.networks = {r: copy.deepcopy(net).requires_grad_(r == role) for r, net in step.networks.items()}
        self.weights = [p for p in self.networks[role].parameters()]
        self.V, self.role = self.networks["G"].map.weight, role
        self.D, self.G = self.networks["D"], self.networks["G"]
        self.z, *self.rest = drawn
        self.x, self.y = images, self.G(self.z)
        self.normal = iter(self.rest)

    def shown(self, augmentations):
        """The logits of both, fakes first."""
        for change in augmentations:
            self.y = change(self, self.y, False)
            self.x = change(self, self.x, True) if self.role == "D" else self.x
        self.r, self.f = self.D(self.x), self.D(self.y)

    def slope(self, points):
        """|grad D|^2 at points, per sample."""
        points = points.detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(self.D(points).sum(), points, create_graph=True)
        return gradient.square().flatten(1).sum(1)


# ------------------------------------------------------------------------------------------------ formulas

LOG2 = math.log(2)


def averaged(shape):
    """A relativistic average loss of the logits less the other side's mean."""
    return lambda r, f: (shape(r - f.mean()) + shape(-(f - r.mean()))) / 2


def both_ways(shape):
    one = averaged(shape)
    return one, lambda r, f: one(f, r)


def against_all(r, f):
    gaps = torch.exp(f[None, :] - r[:, None])  # [real, fake]
    return torch.log(1 + gaps.sum(1)).mean() + torch.log(1 + gaps.sum(0)).mean()


def logistic(r, f):
    return softplus(-r) + softplus(f)


LOSSES = {
    "minimax": (logistic, lambda r, f: torch.log(1 - sigmoid(f))),
    "non-saturating": (logistic, lambda r, f: -torch.log(sigmoid(f))),
    "hinge": (lambda r, f: relu(1 - r) + relu(1 + f), lambda r, f: -f),
    "least-squares": (lambda r, f: (r - 1) ** 2 / 2 + f**2 / 2, lambda r, f: (f - 1) ** 2 / 2),
    "wasserstein": (lambda r, f: f - r, lambda r, f: -f),
    "rpgan": (lambda r, f: softplus(f - r), lambda r, f: softplus(r - f)),
    "relativistic-average": both_ways(lambda v: softplus(-v)),
    "relativistic-hinge": both_ways(lambda v: relu(1 - v)),
    "relativistic-least-squares": both_ways(lambda v: (v - 1) ** 2),
    "dual-contrastive": (against_all, lambda r, f: -against_all(r, f)),
    "energy": (lambda r, f: -r, lambda r, f: -f),
    "multi-hinge": (lambda r, f: relu(1 - r[:, 0]) + relu(1 + f[:, 1]), lambda r, f: relu(1 - f[:, 0])),
    "f-kl": (lambda r, f: -r + torch.exp(f - 1), lambda r, f: -f),
    "f-reverse-kl": (lambda r, f: torch.exp(-r) + f - 1, lambda r, f: torch.exp(-f)),
    "f-pearson": (lambda r, f: -r + f**2 / 4 + f, lambda r, f: -f),
    "f-hellinger": (lambda r, f: torch.exp(-r) + torch.exp(f) - 2, lambda r, f: torch.exp(-f) - 1),
    "f-jensen-shannon": (lambda r, f: logistic(r, f) - 2 * LOG2, lambda r, f: softplus(-f) - LOG2),
    "f-gan": (logistic, lambda r, f: softplus(-f)),
}


def one_sided(w):
    return 10 * relu(w.slope(w.x).sqrt() - 1) ** 2


def moved(x):
    """A pixel up and to the left, reflected at the border."""
    return x[..., [1, 2, 3, 2], :][..., [1, 2, 3, 2]]


def lecam(w):
    return 0.3 * (relu(w.r - w.f.mean().detach()) ** 2 + relu(w.r.mean().detach() - w.f) ** 2)


def brownian(w):
    first, second = next(w.normal)
    return 0.1 / 2 * w.r**2 * first + 0.01 * (w.r**4 / 4 + w.f**2 * w.r**2 / 2) * second


def means_to_zero(w):
    features = [w.D.trunk[0](batch.flatten(1)).mean(0) for batch in (w.x, w.y)]
    return 20 * 0.1 * sum((mean**2).sum() for mean in features)


def lengths(w):
    pulled = next(w.normal).flatten(1) / 4 @ w.V  # J^T y, y over the root of 16 pixels
    size = (pulled**2).sum(1).sqrt()
    return 2 * (size - size.mean().detach()) ** 2


def apart(w):
    others = next(w.normal)
    ratio = (w.y - w.G(others)).abs().mean() / (w.z - others).abs().mean()
    return 1 / (ratio + 1e-5)


def cosines(w):
    h = w.y.flatten(1)
    squares = torch.nn.functional.cosine_similarity(h[:, None], h[None], dim=2) ** 2
    return 0.1 * (squares.sum() - len(h)) / (len(h) * (len(h) - 1))


def filters(w):
    products = w.V @ w.V.T
    return 1e-4 * ((products * (1 - torch.eye(len(products)))) ** 2).sum()


def step_aside(w):
    return w.G(w.z + 0.05 * next(w.normal))


TERMS = {  # whose they are, the formula with the defaults, settings besides
    "r1": ("D", lambda w: w.slope(w.x) / 2),
    "r2": ("D", lambda w: w.slope(w.y) / 2),
    "wgan-gp": ("D", lambda w: 10 * (w.slope(w.x).sqrt() - 1) ** 2),
    "wgan-lp": ("D", one_sided),
    "0-gp": ("D", lambda w: 10 * w.slope(w.x)),
    "dragan": ("D", lambda w: 10 * (w.slope(w.x).sqrt() - 1) ** 2),
    "approximate-r1": ("D", lambda w: w.D(next(w.normal)) ** 2 / 2),
    "roth": ("D", lambda w: 0.05 * (sigmoid(-w.r) ** 2 * w.slope(w.x) + sigmoid(w.f) ** 2 * w.slope(w.y))),
    "diggan": ("D", lambda w: 1000 * (w.slope(w.y).sqrt() - w.slope(w.x).sqrt()) ** 2),
    "cr": ("D", lambda w: 10 * (w.r - w.D(moved(w.x))) ** 2, {"shift": 0.25}),
    "bcr": ("D", lambda w: 10 * ((w.r - w.D(moved(w.x))) ** 2 + (w.f - w.D(moved(w.y))) ** 2), {"shift": 0.25}),
    "lecam": ("D", lecam),
    "label-smoothing": ("D", lambda w: 0.1 * w.r),
    "logit-drift": ("D", lambda w: 0.001 * w.r**2),
    "brownian": ("D", brownian),
    "chain": ("D", means_to_zero),
    "clc": ("D", lambda w: 10 * (w.r**2 + w.f**2)),  # all that the buffers hold is this batch
    "zcr-discriminator": ("D", lambda w: 20 * (w.f - w.D(step_aside(w))) ** 2),
    "ebgan": ("D", lambda w: relu(0.5 + w.f)),
    "began": ("D", lambda w: 0.5 * w.f, {"start": 0.5}),
    "path-length": ("G", lengths),
    "feature-matching": ("G", lambda w: (w.x.mean(0) - w.y.mean(0)).abs().mean()),
    "mode-seeking": ("G", apart),
    "orthogonal": ("G", filters),
    "pulling-away": ("G", cosines),
    "zcr-generator": ("G", lambda w: -0.5 * (w.y - step_aside(w)) ** 2),
}


def kernel(x, matrix):
    return (matrix @ x) @ matrix.T


def blurred(w, x, real):
    """A Gaussian of half a pixel, whose third neighbour is beyond its reach of two, with the border reflected."""
    rows = torch.zeros(4, 4).double()
    for row in range(4):
        for offset in range(-2, 3):
            place = abs(row + offset)
            rows[row, place if place < 4 else 6 - place] += math.exp(-(offset**2) / 2 / 0.5**2)
    return kernel(x, rows / rows.sum(1, keepdim=True))


def coloured(w, x, real):
    """Brightness + 0.25, no saturation of grey, contrast 1.25, down and right by a pixel, a hole in the lower right."""
    x = x + SHARE - 0.5
    mean = x.mean((1, 2, 3), keepdim=True)
    x = (x - mean) * (0.5 + SHARE) + mean
    there = torch.zeros_like(x)
    there[..., 1:, 1:] = x[..., :-1, :-1]
    return hole(w, there, real)


def hole(w, x, real):
    inside = torch.ones(4, 4).double()
    inside[2:, 2:] = 0
    return x * inside


def diffused(w, x, real):
    """Two steps of the rates 1e-4 and 2e-2, and noise of 0.05."""
    kept = (1 - 1e-4) * (1 - 2e-2)
    return math.sqrt(kept) * x + math.sqrt(1 - kept) * 0.05 * next(w.normal)


AUGMENTATIONS = {
    "instance-noise": (lambda w, x, real: x + 0.1 * next(w.normal), {}),
    "diffusion": (diffused, {"steps_min": 2, "steps_max": 2}),
    "apa": (lambda w, x, real: w.y.roll(1, 0).detach() if real else x, {"p": 0.8}),
    "blur": (blurred, {"sigma": 0.125}),
    "diffaugment": (coloured, {}),
    "ada": (hole, {"preset": "cutout", "p": 1.0}),
}


def steps(direction):
    """A walk along directions, optimistic or not."""
    return {"": lambda g, **b: direction(g, **b),
            "optimistic": lambda g, **b: direction(g, **b) if len(g) == 1 else
            2 * direction(g, **b) - direction(g[:-1], **b)}  # fmt: skip


def debiased(values, beta):
    weights = [beta ** (len(values) - 1 - i) for i in range(len(values))]
    return sum(x * v for x, v in zip(weights, values, strict=True)) / sum(weights)


def adam(g, beta1, beta2):
    return debiased(g, beta1) / (debiased([x**2 for x in g], beta2).sqrt() + 1e-8)


def sgd(g, beta1, beta2):
    return sum(beta1 ** (len(g) - 1 - i) * x for i, x in enumerate(g))


OPTIMISERS = {
    "adam": steps(adam)[""],
    "optimistic-adam": steps(adam)["optimistic"],
    "rmsprop": lambda g, beta1, beta2: adam(g, 0.0, beta2),
    "sgd": steps(sgd)[""],
    "optimistic-sgd": steps(sgd)["optimistic"],
}
PRESETS = {  # optimiser, beta1, beta2, learning rates of G and D
    "dcgan": ("adam", 0.5, 0.999, 2e-4, 2e-4), "wgan": ("rmsprop", 0.0, 0.99, 5e-5, 5e-5),
    "wgan-gp": ("adam", 0.0, 0.9, 2e-4, 2e-4), "sngan": ("adam", 0.0, 0.9, 2e-4, 2e-4),
    "ttur": ("adam", 0.0, 0.9, 1e-4, 4e-4), "biggan": ("adam", 0.0, 0.999, 5e-5, 2e-4),
    "stylegan2": ("adam", 0.0, 0.99, 2.5e-3, 2.5e-3), "r3gan": ("adam", 0.0, 0.9, 2e-4, 2e-4),
}  # fmt: skip
SCHEDULES = {"constant": 1.0, "linear": 0.75, "cosine": 0.5 + math.sqrt(2) / 4}  # a quarter into the run
SENSORS = {
    "D.real_score": lambda r, f: r, "D.fake_score": lambda r, f: f,
    "D.sign_real": lambda r, f: r / r.abs(), "D.sign_fake": lambda r, f: f / f.abs(),
    "D.win_rate": lambda r, f: (r > f).double(),
}  # fmt: skip


def slowed(loss):
    """A twentieth of the distance from 2 log 2, in units of a tenth of it; 0.1 to that power below, 2 above."""
    share = (0.05 * (loss - 2 * LOG2)) / (0.2 * LOG2)
    return 2 ** min(share, 1) if share > 0 else 0.1 ** min(-share, 1)


def best_half(values, f):
    return values[f.argsort(descending=True)[: len(f) // 2]]


EFFECTS = {
    "loss": LOSSES, "term": TERMS, "augmentation": AUGMENTATIONS, "optimiser": OPTIMISERS, "preset": PRESETS,
    "schedule": SCHEDULES, "sensor": SENSORS, "weighting": {"top-k": best_half},
    "constraint": {"weight-clipping": lambda weight: weight.clamp(-0.01, 0.01)}, "rate": {"gap-aware": slowed},
}  # fmt: skip


def test_every_part_that_moves_weights_has_its_effect_here():
    found = {f"{kind}:{name}" for kind, table in EFFECTS.items() for name in table}
    assert found == {named(entry) for entry in PARTS if entry.kind in KINDS}


# ------------------------------------------------------------------------------------------------ the moves


def recipe_for(entry):
    """The part, what it wants beside it, the settings above, and plain steps unless it says how to step."""
    recipe = recipe_of(entry)
    own = {"term": TERMS, "augmentation": AUGMENTATIONS}.get(entry.kind, {}).get(entry.name, ())[-1:]
    for name, value in (own[0] if own and isinstance(own[0], dict) else {}).items():
        recipe = recipe.with_values({f"{entry.name}.{name}": value})
    if entry.kind == "preset":
        return recipe
    plain = {f"{role}.{key}": value for role in "GD" for key, value in (("lr", LR), ("beta1", 0.5))}
    if entry.kind != "optimiser":
        plain |= {f"{role}.{key}": value for role in "GD" for key, value in (("optimiser", "sgd"), ("beta1", 0.0))}
    return recipe.with_values(plain)


def linear_step(entry, recipe):
    needs_image = entry.kind == "augmentation" and entry.name not in ("instance-noise", "diffusion", "apa")
    shape = IMAGE if needs_image or entry.name in ("cr", "bcr", "path-length") else VECTOR
    torch.manual_seed(2)
    pair = Maker(shape), Judge(shape, 2 if recipe.loss == "multi-hinge" else 1, entry.name == "diggan",
                               entry.name == "chain")  # fmt: skip
    for parameter in (p for net in pair for p in net.parameters()):
        parameter.data = torch.randn_like(parameter) + 0.5  # slopes above 1
    return build.assemble(recipe, *pair, torch.device("cpu")), torch.randn(6, *shape).double()


def patched(patch):
    """Uniform draws are three quarters, whole numbers lie as far up; normal ones are remembered."""
    drawn, source = [], torch.Generator().manual_seed(3)

    def normal(shape):
        drawn.append(torch.empty(*shape, dtype=torch.float64).normal_(generator=source))
        return drawn[-1]

    patch.setattr(torch, "randn", lambda *n, **_: normal(n))
    patch.setattr(torch, "randn_like", lambda x: normal(x.shape))
    patch.setattr(torch, "rand", lambda *n, dtype=None, **_: torch.full(
        n if isinstance(n[0], int) else tuple(n[0]), SHARE, dtype=dtype or torch.float32))  # fmt: skip
    patch.setattr(torch, "rand_like", lambda x: torch.full_like(x, SHARE))
    patch.setattr(torch, "randint", lambda low, high, shape, **_: torch.full(
        tuple(shape), low + int(SHARE * (high - low))))  # fmt: skip
    return drawn


def said(world, recipe, without=""):
    """The value of a player's objective by the formulas above."""
    world.shown([AUGMENTATIONS[name][0] for name in recipe.augmentations if name != without])
    value = LOSSES[recipe.loss][world.role == "G"](world.r, world.f)
    if world.role == "G" and "top-k" in recipe.weightings and without != "top-k":
        value = best_half(value, world.f)
    value = value.mean()
    for name in sorted(recipe.terms):
        if TERMS[name][0] == world.role and name != without:
            value = value + TERMS[name][1](world).mean()
    return value


def gradient(world, recipe, without=""):
    return torch.autograd.grad(said(world, recipe, without), world.weights, allow_unused=True)


def move(step, role, images, monkeypatch):
    """One move, and the world before it."""
    with monkeypatch.context() as patch:
        drawn = patched(patch)
        before = copy.deepcopy(step.networks)
        step.move(role, images, None, step.due(role))
    step.networks, after = before, step.networks
    world = World(step, images, drawn, role)
    step.networks = after
    change = [p.detach() - q for p, q in zip(after[role].parameters(), before[role].parameters(), strict=True)]
    return change, world, drawn


def agree(found, expected):
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other.detach(), rtol=1e-6, atol=1e-9)


def entry_of(kind, name):
    return find(kind, name)


@pytest.mark.parametrize("role", ["D", "G"])
@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in ("loss", "term", "augmentation", "weighting")
                                            for name in EFFECTS[kind]])  # fmt: skip
def test_a_plain_step_follows_the_formula(kind, name, role, monkeypatch):
    recipe = recipe_for(find(kind, name))
    step, images = linear_step(find(kind, name), recipe)
    change, world, drawn = move(step, role, images, monkeypatch)
    again = World(types_of(step, world), images, drawn, role)
    agree(change, [-LR * (torch.zeros_like(p) if g is None else g)
                   for p, g in zip(world.weights, gradient(world, recipe), strict=True)])  # fmt: skip
    concerned = {"term": TERMS.get(name, ("D",))[0] == role, "weighting": role == "G", "loss": False}
    if concerned.get(kind, name != "apa" or role == "D"):  # switched off, the formula says something else
        without = gradient(again, recipe, without=name)
        assert max(float((c + LR * g).abs().max()) for c, g in zip(change, without, strict=True) if g is not None) > 1e-6


def types_of(step, world):
    """The networks as they were before the move."""
    made = copy.copy(step)
    made.networks = world.networks
    return made


def walk(step, recipe, role, images, monkeypatch, moves=2):
    """What the player did in some moves, and its gradients by the formulas; each flat."""
    changes, gradients, losses = [], [], []
    for _ in range(moves):
        change, world, _ = move(step, role, images, monkeypatch)
        value = said(world, recipe)
        found = torch.autograd.grad(value, world.weights)
        changes, gradients, losses = ([*one, other] for one, other in (
            (changes, flat(change)), (gradients, flat(found)), (losses, float(value.detach()))))  # fmt: skip
    return changes, gradients, losses


def flat(tensors):
    return torch.cat([t.flatten() for t in tensors])


@pytest.mark.parametrize("role", ["D", "G"])
@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in ("optimiser", "preset") for name in EFFECTS[kind]])
def test_two_steps_follow_the_optimiser(kind, name, role, monkeypatch):
    recipe = recipe_for(find(kind, name))
    step, images = linear_step(find(kind, name), recipe)
    changes, gradients, _ = walk(step, recipe, role, images, monkeypatch)
    optimiser, beta1, beta2, *rates = PRESETS[name] if kind == "preset" else (name, 0.5, 0.99, LR, LR)
    for number, change in enumerate(changes):
        expected = OPTIMISERS[optimiser](gradients[: number + 1], beta1=beta1, beta2=beta2)
        torch.testing.assert_close(change, -rates[role == "D"] * expected, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_scales_the_step(name, monkeypatch):
    recipe = recipe_for(find("schedule", name))
    step, images = linear_step(find("schedule", name), recipe)
    for dial in build.dials(step, recipe).values():
        dial.turn(250, 1000)
    (change,), (slope,), _ = walk(step, recipe, "D", images, monkeypatch, moves=1)
    torch.testing.assert_close(change, -LR * SCHEDULES[name] * slope, rtol=1e-6, atol=0)


def test_the_rate_scales_the_step_by_the_loss(monkeypatch):
    recipe = recipe_for(find("rate", "gap-aware"))
    step, images = linear_step(find("rate", "gap-aware"), recipe)
    (change,), (slope,), (loss,) = walk(step, recipe, "D", images, monkeypatch, moves=1)
    assert abs(slowed(loss) - 1) > 0.05
    torch.testing.assert_close(change, -LR * slowed(loss) * slope, rtol=1e-6, atol=0)


def test_the_constraint_bounds_what_the_step_leaves(monkeypatch):
    entry = find("constraint", "weight-clipping")
    step, images = linear_step(entry, recipe_for(entry))
    free, _ = linear_step(entry, recipe_for(find("loss", "non-saturating")))
    for one in (step, free):
        move(one, "D", images, monkeypatch)
    weights = [flat(p.detach() for p in one.networks["D"].parameters()) for one in (step, free)]
    assert (weights[1].abs() > 0.01).any()
    torch.testing.assert_close(weights[0], EFFECTS["constraint"][entry.name](weights[1]), rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", SENSORS)
def test_a_reading_is_of_this_move(name, monkeypatch):
    recipe = recipe_for(find("sensor", name))
    step, images = linear_step(find("sensor", name), recipe)
    _, world, _ = move(step, "D", images, monkeypatch)
    world.shown([])
    read = step.meter.read()[name]
    assert read.n == 6 and read.mean == pytest.approx(float(SENSORS[name](world.r, world.f).mean()), rel=1e-6)

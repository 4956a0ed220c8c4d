"""The formulas of the registered parts in plain tensors, apart from the package's own, for test_contract_effects.py.

A formula looks at a world: `r` and `f` are the logits of reals `x` and fakes `y`, `z` the latents, `D` and `G` the
networks, `V` the generator's weight, `slope(x)` the squared norm of D's gradient, `normal` the normal draws in order.
"""

import math

import torch

SHARE = 0.75  # what every uniform draw gives


def flat(tensors):
    return torch.cat([t.flatten() for t in tensors])


def softplus(v):
    return torch.log(1 + torch.exp(v))


def relu(v):
    return (v + v.abs()) / 2


def sigmoid(v):
    return 1 / (1 + torch.exp(-v))


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


def optimistic(direction):
    """Twice the direction less the one before; the first step is plain."""
    return lambda g, **betas: (2 * direction(g, **betas) - direction(g[:-1], **betas) if len(g) > 1 else
                               direction(g, **betas))  # fmt: skip


def debiased(values, beta):
    weights = [beta ** (len(values) - 1 - i) for i in range(len(values))]
    return sum(x * v for x, v in zip(weights, values, strict=True)) / sum(weights)


def adam(g, beta1, beta2):
    return debiased(g, beta1) / (debiased([x**2 for x in g], beta2).sqrt() + 1e-8)


def sgd(g, beta1, beta2):
    return sum(beta1 ** (len(g) - 1 - i) * x for i, x in enumerate(g))


OPTIMISERS = {
    "adam": adam,
    "optimistic-adam": optimistic(adam),
    "rmsprop": lambda g, beta1, beta2: adam(g, 0.0, beta2),
    "sgd": sgd,
    "optimistic-sgd": optimistic(sgd),
}
PRESETS = {  # optimiser, beta1, beta2, learning rates of G and D
    "dcgan": ("adam", 0.5, 0.999, 2e-4, 2e-4), "wgan": ("rmsprop", 0.0, 0.99, 5e-5, 5e-5),
    "wgan-gp": ("adam", 0.0, 0.9, 2e-4, 2e-4), "sngan": ("adam", 0.0, 0.9, 2e-4, 2e-4),
    "ttur": ("adam", 0.0, 0.9, 1e-4, 4e-4), "biggan": ("adam", 0.0, 0.999, 5e-5, 2e-4),
    "stylegan2": ("adam", 0.0, 0.99, 2.5e-3, 2.5e-3), "r3gan": ("adam", 0.0, 0.9, 2e-4, 2e-4),
}  # fmt: skip
SCHEDULES = {"constant": 1.0, "linear": 0.75, "cosine": 0.5 + math.sqrt(2) / 4}  # a quarter into the run
SENSORS = {
    "D.real_score": lambda w: w.r, "D.fake_score": lambda w: w.f,
    "D.sign_real": lambda w: w.r / w.r.abs(), "D.sign_fake": lambda w: w.f / w.f.abs(),
    "D.win_rate": lambda w: (w.r > w.f).double(), "D.auc": lambda w: (w.r[:, None] > w.f).double(),
    "G.pull": lambda w: sigmoid(-w.f) * flat(w.D.parameters()).norm(), "G.agreement": lambda w: torch.ones(6),
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

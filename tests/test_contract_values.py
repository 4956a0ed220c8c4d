"""The contract's values: for each registered part a number worked out by hand, and none without.

Whoever registers a part gives it a line here. Draws are replaced by ones where a value depends on them.
"""

import math

import pytest
import torch
from torch import nn

from contract import PARTS, named
from equipoise import build, optimisers
from equipoise.initialise import fixup_factor, initialise
from equipoise.networks import chain
from equipoise.networks.layers import count_parameters
from equipoise.recipe import Recipe
from equipoise.registry import find
from equipoise.schedules import Schedule
from equipoise.turn import Turn, parameters
from plants import Linear, Quadratic, d_turn, small_recipe
from test_rules import dirac

LOSSES = {  # logits of a real and of a fake image; the discriminator's and the generator's loss
    "minimax": (1.0, 0.0, 1.006409, -0.693147),  # softplus(-1) + softplus(0); -softplus(0)
    "non-saturating": (1.0, 0.0, 1.006409, 0.693147),
    "hinge": (0.5, 0.5, 2.0, -0.5),
    "least-squares": (3.0, -1.0, 2.5, 2.0),  # (4 + 1) / 2; 4 / 2
    "wasserstein": (1.5, -0.5, -2.0, 0.5),
    "rpgan": (1.0, 0.0, 0.313262, 1.313262),
    "relativistic-average": (1.0, 0.0, 0.313262, 1.313262),
    "relativistic-hinge": (1.0, 0.0, 0.0, 2.0),
    "relativistic-least-squares": (1.0, 0.0, 0.0, 4.0),
    "dual-contrastive": ([0.0] * 4, [0.0] * 4, 3.218876, -3.218876),  # twice log(1 + 4)
    "energy": (-1.0, -4.0, 1.0, 4.0),
    "multi-hinge": ([[0.5, 0.0]], [[-0.5, 0.25]], 1.75, 1.5),  # (1 - 0.5) + (1 + 0.25); 1 + 0.5
    "f-kl": (2.0, 1.0, -1.0, -1.0),  # -2 + exp(0)
    "f-reverse-kl": (0.0, 0.5, 0.5, 0.606531),  # exp(0) + 0.5 - 1; exp(-0.5)
    "f-pearson": (1.0, 2.0, 2.0, -2.0),  # -1 + 4 / 4 + 2
    "f-hellinger": (math.log(2), math.log(3), 1.5, -2 / 3),  # (1/2 - 1) + (3 - 1); 1/3 - 1
    "f-jensen-shannon": (1.0, 0.0, -0.379885, 0.0),  # 1.006409 - 2 log 2
    "f-gan": (1.0, 0.0, 1.006409, 0.693147),
}


def loss(name):
    """Both sides called by hand: the two margins of multi-hinge are no positions to average over."""
    sides, shape = find("loss", name).part, (-1, 2) if name == "multi-hinge" else (-1,)
    real, fake = (torch.tensor(x, dtype=torch.float64).reshape(shape) for x in LOSSES[name][:2])
    fields = {"real_logits": real, "fake_logits": fake}
    return [float(side(**{n: fields[n] for n in parameters(side)}).mean()) for side in (sides.d, sides.g)]


# ------------------------------------------------------------------------------------------------ terms


def term(name, **settings):
    return find("term", name).part(**settings).double()


def on(points, *others):
    return torch.tensor([points, *others], dtype=torch.float64)


def slope(name, **settings):
    """On D(x) = 3 x + 4 y, whose gradient has norm 5 everywhere; reals and fakes at 0."""
    return float(d_turn(Linear(), torch.zeros(2, 2).double(), torch.zeros(2, 2).double())
                 .call(term(name, **settings)).mean().detach())  # fmt: skip


def says(part, **fields):
    """What a term says of fields given by hand."""
    return float(Turn("D", "D", **fields).call(part).mean().detach())


def score(part, r, f):
    return says(part, real_logits=on(r).flatten(), fake_logits=on(f).flatten())


def consistent(name):
    """D(x) = x_0 - x_1 of images of two pixels, (1, 0), which T mirrors: (1 - -1)^2 = 4 for each kind of image."""
    part = term(name, weight=10.0, shift=0.0, flip=True)
    image = on([[[1.0, 0.0]]])
    judge = lambda x: x[..., 0].flatten() - x[..., 1].flatten()  # noqa: E731
    return says(part, real=image, fake=image, real_logits=judge(image), fake_logits=judge(image), judge=judge)


def path_length(monkeypatch):
    """G(z) = 2 z and noise of norms 1 and 3: lengths 2 and 6 about their mean 4."""
    monkeypatch.setattr(torch, "randn_like", lambda x: on([1.0, 0.0], [0.0, 3.0]))
    return says(term("path-length", weight=2.0), latents=on([0.0, 0.0], [0.0, 0.0]), generate=lambda z: 2 * z)


def the_chain():
    """Means (1, 2) of the reals' features and (0, 1) of the fakes': 20 (0 + 0.1) (1 + 4 + 0 + 1)."""
    network = chain.join(nn.Sequential(nn.Linear(2, 2, bias=False), chain.AdaptiveRMSNorm(2)).double())
    network[0].weight.data = torch.eye(2).double()
    for batch in (on([1.0, 1.0], [1.0, 3.0]), on([1.0, 0.0], [-1.0, 2.0])):
        network(batch)
    return says(term("chain"), network=network, real_logits=on(0.0, 0.0))


def began():
    """E(x) = 1, E(G(z)) = 0.2 and k = 0: k becomes 0.0003, which then counts the fakes' energy."""
    part = term("began")
    return [score(part, -1.0, -0.2), float(part.k), score(part, -1.0, -0.2)]


def matched():
    """|1 - 0| and |2 - 4|, averaged over the two features."""
    part = term("feature-matching")
    return says(part, real_features=on([0.0, 2.0], [2.0, 2.0]), fake_features=on([0.0, 3.0], [0.0, 5.0]))


def seeking(monkeypatch):
    """Images 0.2 apart for latents 0.5 apart: 1 / (0.4 + 1e-5)."""
    monkeypatch.setattr(torch, "randn_like", lambda z: torch.full_like(z, 0.5))
    latents = on([0.0, 0.0])
    return says(term("mode-seeking"), fake=0.4 * latents, latents=latents, generate=lambda z: 0.4 * z)


def filters():
    network = nn.Linear(2, 2, bias=False).double()
    network.weight.data = on([1.0, 1.0], [0.0, 1.0])  # W W^T = [[2, 1], [1, 1]]
    return says(term("orthogonal", weight=1e-4), network=network)


def neighbours(name):
    """G(z) = z at 0 and a step of 0.05 in both latents: D = 3 x + 4 y moves by 0.35, each pixel by 0.05."""
    fields = {"fake": on([0.0, 0.0]), "fake_logits": on(0.0).flatten(), "latents": on([0.0, 0.0])}
    return says(term(name), judge=Linear(), generate=lambda z: z, **fields)


def seen_before():
    """All that the buffers hold is this batch: 10 (3^2 + 4^2)."""
    network = Linear()
    return says(term("clc"), real=on([1.0, 0.0], [1.0, 0.0]), fake=on([0.0, 1.0], [0.0, 1.0]), labels=None,
                network=network)  # fmt: skip


def pulled():
    """Codes at right angles have no cosine, equal ones 1."""
    part = term("pulling-away", weight=0.1)
    return [says(part, fake_features=on([1.0, 0.0], [0.0, 2.0])), says(part, fake_features=on([1.0, 1.0], [2.0, 2.0]))]


def dig():
    """D(x) = x^2 / 2 at 3 and 1: (1 - 3)^2."""
    turn = d_turn(Quadratic([[1.0]]), on([3.0]), on([1.0]))
    return float(turn.call(term("diggan", weight=1.0)).detach())


# ------------------------------------------------------------------------------------------------ the others


def shown(name, images, fakes=None, **settings):
    part = find("augmentation", name).part(**settings).double()
    if fakes is not None:
        part(fakes, None, False)
    return part(images, None, True)[0]


def impulse():
    """A Gaussian of one pixel's width: next to the peak exp(-1/2) of it, diagonally exp(-1)."""
    image = torch.zeros(1, 1, 8, 8).double()
    image[..., 4, 4] = 1
    blurred = shown("blur", image, sigma=0.125)[0, 0]
    flat = shown("blur", torch.ones(1, 1, 8, 8).double(), sigma=0.125)
    return [float(blurred[4, 5] / blurred[4, 4]), float(blurred[5, 5] / blurred[4, 4]), float(flat.mean())]


def two_steps(name):
    """From w = 1 along the gradients 2 and 1 with lr 0.1, beta1 0.5, beta2 0.99."""
    weight = nn.Parameter(torch.ones([], dtype=torch.float64))
    made = optimisers.make(name, [weight], lr=0.1, beta1=0.5, beta2=0.99)
    found = []
    for gradient in (2.0, 1.0):
        weight.grad = torch.tensor(gradient, dtype=torch.float64)
        made.step()
        found.append(float(weight.detach()))
    return found


def game(**rule):
    """One round of x y from (1, 1) at lr 0.1: the discriminator's and the generator's weight."""
    step = dirac(rule, "wasserstein", 0.1)
    step.round(1, lambda: (torch.zeros(1, 1, dtype=torch.float64), None))
    return [float(next(step.networks[role].parameters()).detach()) for role in "DG"]


def sizes(name, **options):
    """Parameters of G and D for 8x8 grey images, 4 latents and width 4 (8 for the MLP's two layers)."""
    network = {"name": name, "width": 8 if name == "mlp" else 4, "options": options}
    return [count_parameters(net) for net in build.players(small_recipe(network=network), (1, 8, 8), 0)]


def layer(name):
    """A layer from 64 to 32 features, initialised."""
    torch.manual_seed(0)
    made = nn.Sequential(nn.Linear(64, 32))
    initialise(made, name)
    return made[0].weight.detach()


def spread(weight):
    return round(float(weight.std()), 2)


def blocks(name):
    """A residual branch's last layer is 0 and its first is not; and the factor for 8 blocks of 3 layers."""
    network = {"name": "resnet", "width": 4, "init": name, "options": {"norm_D": "none"}}
    _, made = build.players(small_recipe(network=network), (1, 8, 8), 0)
    branch = made.blocks[0].residual_layers
    return [
        float(branch[-1].weight.detach().abs().max()),
        float(branch[0].weight.detach().abs().max()) > 0,
        fixup_factor(8, 3),
    ]


def reading(name):
    """Reals judged 2, -1, 1 and fakes 1, 0, -3; the generator's images are pulled along (3, 4) and (0, 1)."""
    turn = Turn(
        "D", "D", real_logits=on(2.0, -1.0, 1.0), fake_logits=on(1.0, 0.0, -3.0), pull=on([3.0, 4.0], [0.0, 1.0])
    )
    return float(find("sensor", name).part(turn).mean())


def decided(name, *paths):
    """Values of a recipe for 32x32 images on a CPU."""
    made = find("recipe", name).part((3, 32, 32), 50_000).values()
    return [made[path] for path in paths]


def settings(name):
    made = Recipe().with_values({"preset": name})
    return [made.D.optimiser, made.D.beta1, made.D.beta2, made.G.lr, made.D.lr, made.D.steps]


def clipped():
    network = nn.Linear(3, 1, bias=False)
    network.weight.data = torch.tensor([[0.5, -0.02, 0.003]])
    find("constraint", "weight-clipping").part(limit=0.01)(network)
    return network.weight.detach().flatten().tolist()


def paced(value):
    rate = find("rate", "gap-aware").part(decay=0.0).double()
    rate.aim("non-saturating", 2 * math.log(2))
    return float(rate(torch.tensor(value).double()))


ONES = {  # draws of ones or, of a share, of one half; whole numbers from the middle
    "randint": lambda low, high, shape, **_: torch.full(tuple(shape), (low + high) // 2),
    "randn_like": lambda x: torch.ones_like(x),
    "randn": lambda *n, **_: torch.ones(*n, dtype=torch.float64),
    "rand_like": lambda x: torch.full_like(x, 0.5),
    "rand": lambda *n, **_: torch.full(n if isinstance(n[0], int) else tuple(n[0]), 0.49, dtype=torch.float64),
}

VALUES = {
    **{f"loss:{name}": (lambda m, name=name: loss(name), list(LOSSES[name][2:])) for name in LOSSES},
    "term:r1": (lambda m: slope("r1", gamma=2.0), 25.0),
    "term:r2": (lambda m: slope("r2", gamma=2.0), 25.0),
    "term:wgan-gp": (lambda m: slope("wgan-gp", weight=10.0), 160.0),
    "term:wgan-lp": (lambda m: slope("wgan-lp", weight=10.0), 160.0),
    "term:0-gp": (lambda m: slope("0-gp", weight=10.0), 250.0),
    "term:dragan": (lambda m: slope("dragan", weight=10.0), 160.0),
    "term:approximate-r1": (lambda m: slope("approximate-r1", gamma=2.0), 49.0),  # (3 + 4)^2: the noise is (1, 1)
    "term:roth": (lambda m: slope("roth", gamma=1.0), 6.25),  # (1/4 + 1/4) 25 / 2
    "term:diggan": (lambda m: dig(), 4.0),
    "term:cr": (lambda m: consistent("cr"), 40.0),
    "term:bcr": (lambda m: consistent("bcr"), 80.0),
    "term:lecam": (lambda m: score(term("lecam", weight=0.3), 1.0, -1.0), 2.4),  # 0.3 (4 + 4)
    "term:path-length": (path_length, 8.0),
    # the best logit of a real image at 0.1 is log 9, where the loss is softplus(-log 9) + 0.1 log 9 = 0.325083
    "term:label-smoothing": (lambda m: score(term("label-smoothing"), math.log(9), 0.0), 0.325083 - math.log(10 / 9)),
    "term:logit-drift": (lambda m: score(term("logit-drift"), 30.0, 0.0), 0.9),
    # 0.1/2 4 + 0.01 (16/4 + 1 4/2)
    "term:brownian": (lambda m: score(term("brownian"), 2.0, 1.0), 0.26),
    "term:chain": (lambda m: the_chain(), 12.0),
    "term:clc": (lambda m: seen_before(), 250.0),
    "term:feature-matching": (lambda m: matched(), 1.5),
    "term:mode-seeking": (seeking, 2.499938),
    "term:orthogonal": (lambda m: filters(), 2e-4),
    "term:zcr-discriminator": (lambda m: neighbours("zcr-discriminator"), 2.45),  # 20 0.35^2
    "term:zcr-generator": (lambda m: neighbours("zcr-generator"), -0.00125),  # 0.5 0.05^2
    "term:ebgan": (lambda m: score(term("ebgan", margin=10.0), -1.0, -4.0), 6.0),
    "term:began": (lambda m: began(), [0.0, 0.0003, -0.00006]),
    "term:pulling-away": (lambda m: pulled(), [0.0, 0.1]),
    # the middle 4x4 of 8x8 is cut out
    "augmentation:ada": (lambda m: float(shown("ada", torch.ones(1, 1, 8, 8).double(), preset="cutout", p=1.0).sum()),
                         48.0),
    "augmentation:diffaugment": (lambda m: float(shown("diffaugment", torch.ones(1, 1, 8, 8).double(),
                                                       policy="cutout").sum()), 48.0),
    # every real gives way to the fake before it
    "augmentation:apa": (lambda m: shown("apa", on(1.0, 2.0, 3.0), on(4.0, 5.0, 6.0), p=0.5).tolist(), [6.0, 4.0, 5.0]),
    "augmentation:blur": (lambda m: impulse(), [0.606531, 0.367879, 1.0]),
    # t = 1 of 2, uniform at a share of 0.49: sqrt(1 - 0.0001) and sqrt(0.0001) 0.05
    "augmentation:diffusion": (
        lambda m: (m.setattr(torch, "rand", lambda *n, **_: torch.tensor([[0.5], [0.49]])),
                   float(shown("diffusion", on([1.0]), draw="uniform", steps_min=2, steps_max=2)))[1],
        0.999950 + 0.0005),
    "augmentation:instance-noise": (lambda m: shown("instance-noise", on(0.5)).tolist(), [0.6]),
    "weighting:top-k": (lambda m: -float((on(3.0, 1.0, 2.0, 0.0) * find("weighting", "top-k").part(share=0.5)(
        on(3.0, 1.0, 2.0, 0.0))).mean()), -2.5),
    "constraint:weight-clipping": (lambda m: clipped(), [0.01, -0.01, 0.003]),
    # half the width below and above 2 log 2: 0.1^0.5 and 2^0.5; beyond it 0.1 and 2
    "rate:gap-aware": (lambda m: [paced(2 * math.log(2) * share) for share in (0.95, 1.05, 0.8, 1.2)],
                       [0.316228, 1.414214, 0.1, 2.0]),
    "rule:simultaneous": (lambda m: game(simultaneous={}), [0.9, 1.1]),
    "rule:alternating": (lambda m: game(alternating={}), [0.9, 1.09]),
    "rule:extragradient": (lambda m: game(extragradient={}), [0.89, 1.09]),
    "rule:consensus": (lambda m: game(consensus={"weight": 1.0}), [0.8, 1.0]),
    "rule:lookahead": (lambda m: game(lookahead={"every": 1}), [0.95, 1.045]),
    # psi_3 = 0.9 - 0.3 theta, so G moves along 0.9 - 2 0.3
    "rule:unrolled": (lambda m: game(unrolled={"steps": 3}), [0.9, 1.03]),
    # v = (0.99 0.04 + 0.01) / 0.0199 = 2.492462, its root 1.578753; m = (0.5 1 + 0.5) / 0.75
    "optimiser:adam": (lambda m: two_steps("adam"), [0.9, 0.9 - 0.1 * 0.844548]),
    "optimiser:optimistic-adam": (lambda m: two_steps("optimistic-adam"), [0.9, 0.9 - 0.1 * (2 * 0.844548 - 1)]),
    "optimiser:rmsprop": (lambda m: two_steps("rmsprop"), [0.9, 0.9 - 0.1 * 0.633411]),
    "optimiser:sgd": (lambda m: two_steps("sgd"), [0.8, 0.6]),
    "optimiser:optimistic-sgd": (lambda m: two_steps("optimistic-sgd"), [0.8, 0.8 - 0.1 * (2 * 2 - 2)]),
    "preset:dcgan": (lambda m: settings("dcgan"), ["adam", 0.5, 0.999, 2e-4, 2e-4, 1.0]),
    "preset:wgan": (lambda m: settings("wgan"), ["rmsprop", 0.0, 0.99, 5e-5, 5e-5, 5.0]),
    "preset:wgan-gp": (lambda m: settings("wgan-gp"), ["adam", 0.0, 0.9, 2e-4, 2e-4, 5.0]),
    "preset:sngan": (lambda m: settings("sngan"), ["adam", 0.0, 0.9, 2e-4, 2e-4, 5.0]),
    "preset:ttur": (lambda m: settings("ttur"), ["adam", 0.0, 0.9, 1e-4, 4e-4, 1.0]),
    "preset:biggan": (lambda m: settings("biggan"), ["adam", 0.0, 0.999, 5e-5, 2e-4, 2.0]),
    "preset:stylegan2": (lambda m: settings("stylegan2"), ["adam", 0.0, 0.99, 2.5e-3, 2.5e-3, 1.0]),
    "preset:r3gan": (lambda m: settings("r3gan"), ["adam", 0.0, 0.9, 2e-4, 2e-4, 1.0]),
    "schedule:constant": (lambda m: Schedule("constant").factor(250, 1000), 1.0),
    "schedule:linear": (lambda m: Schedule("linear").factor(250, 1000), 0.75),
    "schedule:cosine": (lambda m: Schedule("cosine").factor(250, 1000), 0.853553),  # (1 + cos(pi / 4)) / 2
    "network:mlp": (lambda m: sizes("mlp", depth=2), [40 + 72 + 576, 520 + 72 + 9]),
    "network:dcgan": (lambda m: sizes("dcgan"), [256 + 8 + 65, 68 + 65]),
    "network:autoencoder": (lambda m: sizes("autoencoder"), [256 + 8 + 65, 68 + 1040 + 1088 + 65]),  # a code of 16
    # a start, a block of 3x3, 3x3 and 1x1 with its norms, a norm and a 3x3; three blocks, the last two without 1x1
    "network:resnet": (lambda m: sizes("resnet"), [320 + 148 + 148 + 20 + 16 + 8 + 37, 196 + 2 * 296 + 5]),
    # blocks of 8 and 4 channels: 144 + 2320 + 128 and 40 + 584 + 32, two of each
    "network:normfree": (lambda m: sizes("normfree"), [32 + 128 + 2 * 2592 + 32 + 2 * 656 + 4,
                                                       8 + 2 * 656 + 32 + 2 * 2592 + 128 + 9]),
    "initialisation:dcgan-normal": (lambda m: spread(layer("dcgan-normal")), 0.02),
    "initialisation:xavier": (lambda m: round(float(layer("xavier").abs().max()), 3), 0.25),  # sqrt(6 / 96)
    "initialisation:kaiming": (lambda m: spread(layer("kaiming")), 0.17),  # 1.386750 / 8
    "initialisation:orthogonal": (lambda m: float((layer("orthogonal") @ layer("orthogonal").T).square().sum()), 32.0),
    "initialisation:equalised": (lambda m: spread(layer("equalised")), 0.17),  # N(0, 1) times 1.386750 / 8
    "initialisation:magnitude-preserving": (lambda m: layer("magnitude-preserving").norm(dim=1).tolist(),
                                            [1.386733] * 32),  # 1.386750 8 / (8 + 1e-4)
    "initialisation:zero-residual": (lambda m: blocks("xavier+zero-residual"), [0.0, 1, 0.594604]),
    "initialisation:fixup": (lambda m: blocks("fixup"), [0.0, 1, 0.594604]),  # 8^(-1/4)
    "sensor:D.real_score": (lambda m: reading("D.real_score"), 2 / 3),
    "sensor:D.fake_score": (lambda m: reading("D.fake_score"), -2 / 3),
    "sensor:D.sign_real": (lambda m: reading("D.sign_real"), 1 / 3),
    "sensor:D.sign_fake": (lambda m: reading("D.sign_fake"), 0.0),
    "sensor:D.win_rate": (lambda m: reading("D.win_rate"), 2 / 3),
    "sensor:D.auc": (lambda m: reading("D.auc"), 6.5 / 9),  # 3 + 1 + 2.5 of 3 each
    "sensor:G.pull": (lambda m: reading("G.pull"), 3.0),
    "sensor:G.agreement": (lambda m: reading("G.agreement"), 0.8),
    "recipe:baseline": (lambda m: decided("baseline", "loss", "terms.r1.gamma", "terms.r2.gamma", "D.beta2"),
                        ["rpgan", 5.0, 5.0, 0.99]),
    "recipe:dcgan": (lambda m: decided("dcgan", "loss", "G.lr", "G.beta1", "network.latent_dim"),
                     ["non-saturating", 2e-4, 0.5, 100]),
    "recipe:wgan-gp": (lambda m: decided("wgan-gp", "loss", "terms.wgan-gp.weight", "D.steps", "D.beta2"),
                       ["wasserstein", 10.0, 5.0, 0.9]),
    "recipe:sngan": (lambda m: decided("sngan", "loss", "network.options.norm_D", "D.steps", "D.beta2"),
                     ["hinge", "spectral", 2.0, 0.9]),
    "recipe:ring": (lambda m: decided("ring", "network.name", "terms.r1.gamma", "G.lr", "D.lr"),
                    ["mlp", 0.1, 4e-3, 2e-3]),
    "recipe:grid": (lambda m: decided("grid", "network.name", "terms.r1.gamma", "batch"), ["mlp", 0.01, 256]),
    "recipe:digits": (lambda m: decided("digits", "network.name", "terms.r1.gamma", "G.lr"), ["mlp", 0.3, 1e-3]),
    "recipe:stacked": (lambda m: decided("stacked", "network.name", "terms.r1.gamma", "kimg"), ["mlp", 0.3, 60.0]),
}  # fmt: skip


def test_every_registered_part_has_a_value():
    assert set(VALUES) == set(map(named, PARTS))


@pytest.mark.parametrize("name", VALUES)
def test_the_value(name, monkeypatch):
    measure, expected = VALUES[name]
    for function, draw in ONES.items():
        if name.startswith(("term", "augmentation")):
            monkeypatch.setattr(torch, function, draw)
    found = measure(monkeypatch)
    for one, other in zip(*([x] if not isinstance(x, list) else x for x in (found, expected)), strict=True):
        assert one == (other if isinstance(other, str) else pytest.approx(other, rel=2e-6, abs=1e-6))

"""Games small enough to know the answer of, played through the package's own objectives."""

import dataclasses

import torch
from torch import nn

from equipoise import build
from equipoise.recipe import Network, Recipe
from equipoise.registry import find
from equipoise.terms import Objective
from equipoise.turn import Turn

LINEAR = (3.0, 4.0)  # the weights of the linear discriminator: its gradient has norm 5 everywhere


class Linear(nn.Module):
    """D(x) = w.x on vectors [N, d]."""

    def __init__(self, weight=LINEAR):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight, dtype=torch.float64))

    def forward(self, images, labels=None):
        return images @ self.weight


class Quadratic(nn.Module):
    """D(x) = x.Ax / 2 on vectors [N, d], with A symmetric: its gradient is Ax."""

    def __init__(self, matrix):
        super().__init__()
        self.matrix = nn.Parameter(torch.as_tensor(matrix, dtype=torch.float64))

    def forward(self, images):
        return (images @ self.matrix * images).sum(1) / 2


def d_turn(discriminator, real, fake):
    """The turn of a discriminator of vectors, with gradients tracked at its images."""
    real, fake = (x.detach().requires_grad_(True) for x in (real, fake))
    return Turn("D", "D", real=real, fake=fake, real_logits=discriminator(real), fake_logits=discriminator(fake),
                judge=discriminator)  # fmt: skip


class DiracGAN:
    """Mescheder et al. 2018 (arXiv:1801.04406): data is a point at 0, G a point at theta, D(x) = psi x.

    Plain gradient steps. `norm` is the distance of (theta, psi) from the equilibrium.
    """

    def __init__(self, loss, terms=None, lr_G=0.1, lr_D=0.1):
        parts = {name: find("term", name).part(**settings) for name, settings in (terms or {}).items()}
        self.objective = Objective(find("loss", loss).part, parts).double()
        self.theta, self.psi = (torch.ones([], dtype=torch.float64, requires_grad=True) for _ in range(2))
        self.lr = {"D": lr_D, "G": lr_G}

    def turn(self, role):
        real = torch.zeros(1, 1, dtype=torch.float64, requires_grad=True)
        fake = self.theta.reshape(1, 1)
        fake = fake if role == "G" else fake.detach().requires_grad_(True)
        judge = lambda x: self.psi * x.flatten()  # noqa: E731
        return Turn(role, role, real=real, fake=fake, real_logits=judge(real), fake_logits=judge(fake), judge=judge)

    def gradient(self, role, move):
        values = self.objective(self.turn(role), self.objective.due(role, move))
        (gradient,) = torch.autograd.grad(
            sum(v.mean() for v in values.values()), self.psi if role == "D" else self.theta
        )
        return gradient

    def play(self, steps, simultaneous=False):
        for move in range(steps):
            pending = []
            for role, point in (("D", self.psi), ("G", self.theta)):
                change = self.lr[role] * self.gradient(role, move)
                if simultaneous:
                    pending.append((point, change))
                else:
                    point.data -= change
            for point, change in pending:
                point.data -= change
        return self

    @property
    def norm(self):
        return float(torch.hypot(self.theta, self.psi).detach())


# ------------------------------------------------------------------------------------------------ small whole steps


def small_recipe(**changes):
    """A recipe whose networks have a few hundred parameters."""
    network = {"name": "mlp", "width": 8, "latent_dim": 4, "options": {"depth": 2}} | changes.pop("network", {})
    return dataclasses.replace(Recipe(network=Network(**network), batch=8, mixed=False), **changes)


def small_step(shape=(1, 8, 8), classes=0, dtype=torch.float64, seed=0, sensing=True, **changes):
    """A step on the CPU, seeded, in double precision unless told otherwise."""
    recipe = small_recipe(**changes)
    torch.manual_seed(seed)
    pair = [net.to(dtype) for net in build.players(recipe, shape, classes)]
    return build.assemble(recipe, *pair, torch.device("cpu"), sensing=sensing)


def batch_of(step, number, size=8, shape=(1, 8, 8), classes=0):
    """Images of bytes and labels that depend on the number of the batch alone."""
    source = torch.Generator().manual_seed(1000 + number)
    images = torch.randint(256, (size, *shape), generator=source, dtype=torch.uint8)
    return images, torch.randint(classes, (size,), generator=source) if classes else None


def play(step, rounds, seed=5, **batches):
    """Alternate whole moves, D first, each on a fresh batch."""
    torch.manual_seed(seed)
    for number in range(rounds):
        for offset, role in enumerate(("D", "G")):
            step.move(role, *batch_of(step, 2 * number + offset, **batches), step.due(role))
            step.moves[role] += 1
    return step


def snapshot(step):
    """The bits of everything that a move may change and a skipped one must not: by name, as copies."""
    named = {"G": step.networks["G"], "D": step.networks["D"], "average": step.ema.average, "objective": step.objective}
    found = {f"{owner}.{name}": t for owner, module in named.items() for name, t in module.state_dict().items()}
    for role, optimiser in step.optimisers.items():
        found |= {f"{role}.{name}": t for name, t in optimiser.state_dict().items()}
    return {name: t.detach().clone() for name, t in (found | {"ema.seen": step.ema.seen}).items()}


def changed(before, after):
    """The names whose bits differ."""

    def bits(tensor):
        return tensor.reshape(-1).view(torch.uint8)

    return {name for name in before if not torch.equal(bits(before[name]), bits(after[name]))}

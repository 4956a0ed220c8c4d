"""Complete runs by name. Each is a function of the data's shape and size and of the device; its docstring gives paper
and cost."""

from __future__ import annotations

from equipoise.recipe import Network, Player, Recipe
from equipoise.registry import register
from equipoise.schedules import Schedule

Shape = tuple[int, ...]


@register(
    "recipe", paper="arXiv:2501.05441", claim="the default for images: norm-free pair, relativistic pairing, R1 + R2"
)
def baseline(shape: Shape, count: int, device: str = "cpu") -> Recipe:
    """R3GAN's recipe (Huang et al. 2024): rpgan, R1 + R2 every step, burn-in of lr, gamma, beta2 and EMA.

    On a CPU, where runs are short, the pair is small and reads patches of 2x2 pixels at once, batches are small, the
    learning rate ten times the paper's and the penalty strong: about 60 images/s at 32x32 on two cores, digits legible
    after 10 kimg. Gamma grows with the number of pixels, over which the penalty sums.
    """
    area = (shape[-1] / 32) ** 2
    if device == "cpu":
        lr, gamma, batch, kimg = 2e-3, 5.0 * area, 16, 200.0
        network = Network("normfree", width=48, latent_dim=64, options={"depth": 1, "patch": 2 if shape[-1] > 8 else 1})
    else:
        lr, gamma, batch, kimg = 2e-4, 0.5 * area, 128, 5000.0
        network = Network("normfree", width=128, latent_dim=64)
    player = Player(lr=lr, beta1=0.0, beta2=0.99)
    return Recipe(
        name="baseline",
        network=network,
        loss="rpgan",
        terms={"r1": {"gamma": gamma}, "r2": {"gamma": gamma}},
        G=player,
        D=player,
        schedules=_burn_in(),
        ema_kimg=10.0 if device == "cpu" else 500.0,
        batch=batch,
        kimg=kimg,
    )


def _burn_in() -> dict[str, Schedule]:
    """R3GAN's burn-in as factors of the final or initial value, over the whole run: Table of its appendix."""
    return {
        "lr": Schedule("cosine", start=1.0, end=0.25),
        "r1.gamma": Schedule("cosine", start=1.0, end=0.1),
        "r2.gamma": Schedule("cosine", start=1.0, end=0.1),
        "beta2": Schedule("cosine", start=0.9 / 0.99, end=1.0),
        "ema.halflife_kimg": Schedule("cosine", start=0.0, end=1.0),
    }


@register("recipe", paper="arXiv:1511.06434", claim="small and plain; the classic")
def dcgan(shape: Shape, count: int, device: str = "cpu") -> Recipe:
    """DCGAN (Radford et al. 2016): non-saturating, Adam 2e-4 with beta1 0.5, batch norm in both networks."""
    player = Player(lr=2e-4, beta1=0.5, beta2=0.999)
    return Recipe(
        name="dcgan",
        network=Network("dcgan", width=64, latent_dim=100),
        loss="non-saturating",
        G=player,
        D=player,
        ema_kimg=5.0,
        batch=64,
        channels_last=True,
        kimg=1000.0,
    )


@register(
    "recipe", "wgan-gp", paper="arXiv:1704.00028", claim="slow and steady: five discriminator steps, gradient penalty"
)
def wgan_gp(shape: Shape, count: int, device: str = "cpu") -> Recipe:
    """WGAN-GP (Gulrajani et al. 2017): five discriminator steps with a penalty each, lr falling to zero."""
    player = Player(lr=2e-4, beta1=0.0, beta2=0.9)
    return Recipe(
        name="wgan-gp",
        network=Network("resnet", width=32 if device == "cpu" else 128, latent_dim=128, options={"norm_D": "none"}),
        channels_last=True,
        loss="wasserstein",
        terms={"wgan-gp": {"weight": 10.0}},
        G=player,
        D=Player(lr=2e-4, beta1=0.0, beta2=0.9, steps=5.0),
        schedules={"lr": Schedule("linear")},
        batch=64,
        kimg=2000.0,
    )


@register("recipe", paper="arXiv:1802.05957", claim="spectral normalisation and hinge: quick steps, no penalty")
def sngan(shape: Shape, count: int, device: str = "cpu") -> Recipe:
    """SN-GAN (Miyato et al. 2018) with the hinge loss; two discriminator steps instead of five, as BigGAN has it."""
    return Recipe(
        name="sngan",
        network=Network("resnet", width=32 if device == "cpu" else 128, latent_dim=128, options={"norm_D": "spectral"}),
        channels_last=True,
        loss="hinge",
        G=Player(lr=2e-4, beta1=0.0, beta2=0.9),
        D=Player(lr=2e-4, beta1=0.0, beta2=0.9, steps=2.0),
        schedules={"lr": Schedule("linear", begin=0.5)},
        ema_kimg=10.0,
        batch=64,
        kimg=2000.0,
    )


@register("recipe", claim="vectors and two-dimensional mixtures, seconds on a CPU")
def ring(shape: Shape, count: int, device: str = "cpu") -> Recipe:
    """An MLP pair for vectors: non-saturating with R1 0.1, lr 4e-3 and 2e-3 falling to zero."""
    return Recipe(
        name="ring",
        network=Network("mlp", width=48, latent_dim=4),
        loss="non-saturating",
        terms={"r1": {"gamma": 0.1}},
        G=Player(lr=4e-3, beta1=0.5, beta2=0.99),
        D=Player(lr=2e-3, beta1=0.5, beta2=0.99),
        schedules={"lr": Schedule("linear", begin=0.5)},
        ema_kimg=2.0,
        batch=64,
        kimg=160.0,
    )


@register("recipe", claim="8x8 digits, readable after ten seconds of one core")
def digits(shape: Shape, count: int, device: str = "cpu") -> Recipe:
    """An MLP pair for very small images: non-saturating, lazy R1, equal learning rates."""
    player = Player(lr=1e-3, beta1=0.0, beta2=0.99)
    return Recipe(
        name="digits",
        network=Network("mlp", width=256, latent_dim=64),
        loss="non-saturating",
        terms={"r1": {"gamma": 0.3, "every": 8}},
        G=player,
        D=player,
        schedules={"lr": Schedule("linear", begin=0.5)},
        ema_kimg=10.0,
        batch=64,
        kimg=300.0,
    )


@register("recipe", claim="25 Gaussians on a grid: dropped modes show within seconds")
def grid(shape: Shape, count: int, device: str = "cpu") -> Recipe:
    """An MLP pair for many small modes: non-saturating with a weak lazy R1, large batches, equal learning rates.

    About 15 s on one core: all 25 modes and an overlap of .5; the real points reach .95.
    """
    player = Player(lr=3e-3, beta1=0.5, beta2=0.99)
    return Recipe(
        name="grid",
        network=Network("mlp", width=128, latent_dim=4),
        loss="non-saturating",
        terms={"r1": {"gamma": 0.01, "every": 4}},
        G=player,
        D=player,
        schedules={"lr": Schedule("linear", begin=0.5)},
        ema_kimg=10.0,
        batch=256,
        kimg=400.0,
    )


@register("recipe", claim="three digits as colours, a thousand modes")
def stacked(shape: Shape, count: int, device: str = "cpu") -> Recipe:
    """An MLP pair for `stacked:digits`: the recipe `digits`, less long.

    60 kimg, about 15 s on one core: an overlap of .62 and 986 of the 1,000 modes; real triples reach .92.
    """
    player = Player(lr=1e-3, beta1=0.0, beta2=0.99)
    return Recipe(
        name="stacked",
        network=Network("mlp", width=256, latent_dim=64),
        loss="non-saturating",
        terms={"r1": {"gamma": 0.3, "every": 8}},
        G=player,
        D=player,
        schedules={"lr": Schedule("linear", begin=0.5)},
        ema_kimg=10.0,
        batch=64,
        kimg=60.0,
    )


def suggested(shape: Shape, count: int) -> tuple[str, str]:
    """The recipe for data of this shape when none is named, and why."""
    if len(shape) == 1:
        return "ring", f"vectors of {shape[0]} numbers"
    if shape[-1] <= 8:
        return "digits", f"{shape[-1]}x{shape[-1]} images are small enough for plain MLPs"
    return "baseline", f"{count} images of {shape[-1]}x{shape[-1]}"

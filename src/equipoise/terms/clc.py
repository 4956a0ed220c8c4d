"""CLC (Xu et al. 2020, https://arxiv.org/abs/1909.13188): damp what the discriminator says of images it saw before.

Seen as a control loop, the game has its poles on the imaginary axis; feeding the discriminator's output back against
itself moves them to the left. What it says of past images changes slowly, so that they make a calm output to feed back.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from equipoise.errors import InputError
from equipoise.registry import register
from equipoise.terms import Regulariser
from equipoise.turn import score


@register(
    "term",
    "clc",
    paper="arXiv:1909.13188",
    formula="weight (D(x')² + D(G(z)')²), primes from replay buffers",
    claim="damps rotation by the discriminator's own output, where real images lie away from 0",
    treats="OSC",
    cost="two forwards and backwards of the discriminator, and a copy of the buffers in every move: with few and small "
    "weights several times the step",
    cautions={
        "ada": "clc holds logits near 0 and so their signs near even, which ada reads; lower ada's target",
        "apa": "clc holds logits near 0 and so their signs near even, which apa reads; lower apa's target",
        "logit-drift": "both damp what D says of real images; keep one",
    },
)
class CLC(Regulariser):
    """weight (D(x')^2 + D(G(z)')^2) with x' and G(z)' drawn from what D saw in about `batches` of its last moves.

    A batch joins the buffers and then as many samples are drawn from them, each once; full buffers have random places
    overwritten. Labels stay with their images. The images are judged as they were stored, without augmentation. The
    published weight belongs to the Wasserstein loss without clipping; where the logits have a scale of their own (hinge
    asks for +-1) a weight of 10 leaves little of it. In the Dirac-GAN with data at 1 and the Wasserstein loss the
    eigenvalues are -l/2 +- sqrt(l^2/4 - 1) with l = 4 weight: critical damping at weight 1/2.

    The buffers are laid out by `prepare` or, where nobody calls it, by the first batch. They are saved with a
    checkpoint, and while a move goes on there is a copy of them in case it has to be undone.
    """

    dials = ("weight",)
    weight: Tensor
    reals: Tensor
    fakes: Tensor
    classes: Tensor
    filled: Tensor

    def __init__(
        self,
        weight: float = 10.0,  # 0.1 to 10
        batches: int = 100,  # how many the buffers hold, if there is room
        megabytes: float = 256.0,  # room for both buffers; they hold fewer batches where that is little, but always one
        every: int = 1,  # moves of the discriminator
    ) -> None:
        super().__init__("weight", weight, every)
        if batches < 1 or not megabytes > 0:
            raise InputError(
                f"batches={batches}, megabytes={megabytes}: buffers that hold nothing damp nothing; "
                "give a whole number from 1 and some room, or drop clc"
            )
        self.batches, self.megabytes = batches, megabytes
        self.register_buffer("reals", torch.zeros(0))  # [samples, C, ...]
        self.register_buffer("fakes", torch.zeros(0))  # the same
        self.register_buffer("classes", torch.zeros(0, dtype=torch.long))  # [samples], of both; [0] without classes
        self.register_buffer("filled", torch.zeros([], dtype=torch.long))  # how many samples are there

    def prepare(self, shape: tuple[int, ...], batch: int, classes: int) -> None:
        """Lay out the buffers: whole batches of samples of this shape, with labels if there are classes."""
        room = int(self.megabytes * 2**20 / (2 * self.reals.element_size() * math.prod(shape)))
        samples = batch * max(1, min(self.batches, room // batch))
        self.reals, self.fakes = (self.reals.new_zeros(samples, *shape) for _ in range(2))
        self.classes = self.classes.new_zeros(samples if classes else 0)

    def forward(self, real: Tensor, fake: Tensor, labels: Tensor | None, network: nn.Module) -> Tensor:
        if len(self.reals) == 0:
            self.prepare(tuple(real.shape[1:]), len(real), 0 if labels is None else 1)
        places = self._store(real, fake, labels)
        known = None if labels is None else self.classes[places]
        reals, fakes = (score(network(kept[places].to(real.dtype), known)) for kept in (self.reals, self.fakes))
        return self.weight * (reals.square() + fakes.square())

    @torch.no_grad()
    def _store(self, real: Tensor, fake: Tensor, labels: Tensor | None) -> Tensor:
        """Keep a batch, and draw as many places of the buffers that hold something. Packs are kept apart."""
        shape = self.reals.shape[1:]
        new = {"reals": real.reshape(-1, *shape), "fakes": fake.reshape(-1, *shape)}
        if labels is not None:
            new["classes"] = labels
        size = len(new["reals"])
        if size > len(self.reals):
            raise InputError(
                f"a batch of {size} does not fit in buffers laid out for {len(self.reals)}; call prepare with its size"
            )
        places = torch.arange(len(self.reals), device=self.reals.device)
        free = len(places) - self.filled
        appended = self.filled.clamp(max=len(places) - size) + places[:size]
        into = torch.where(free > 0, appended, self._shuffled(places)[:size])
        for name, batch in new.items():
            kept: Tensor = getattr(self, name)
            kept.index_copy_(0, into, batch.to(kept))
        self.filled.add_(torch.minimum(free, torch.full_like(free, size)))
        return self._shuffled(places)[:size]

    def _shuffled(self, places: Tensor) -> Tensor:
        """The places in random order, the empty ones last."""
        order = torch.rand(len(places), device=places.device, dtype=torch.float32)
        return torch.where(places < self.filled, order, 2.0).argsort()

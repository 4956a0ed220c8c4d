"""Update rules: how the moves of the two players interleave, and what is done with both gradients at once.

A rule plays one round: the discriminator's moves that are due and one move of the generator. Without any, moves
alternate. It is pure tensor code around `Step.differentiate` and `Step.apply`; what it remembers is a state dict.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from equipoise.errors import InputError
from equipoise.registry import register

if TYPE_CHECKING:
    from equipoise.step import Pending, Step

Batch = tuple[Tensor, Tensor | None]  # images and labels
Draw = Callable[[], Batch]  # the next batch of real samples


class Rule(nn.Module):
    """One way to play a round. `bind` is called once, with the step it is to play."""

    wraps = False  # whether it works on top of another rule

    def bind(self, step: Step) -> None:
        """Take what is needed of the step; refuse what cannot work."""

    def forward(self, step: Step, moves: int, draw: Draw) -> None:
        """Play a round: `moves` moves of the discriminator and one of the generator."""
        raise NotImplementedError

    def memory(self) -> dict[str, Tensor]:
        """What must be saved so that a run goes on in the same bits."""
        return {}


@register("rule", paper="arXiv:1406.2661", claim="one after the other, each against the other's newest weights",
          formula="phi' = phi - lr dL_D(theta, phi); theta' = theta - lr dL_G(theta, phi')",
          treats="", cost="none")  # fmt: skip
class Alternating(Rule):
    """The discriminator's moves, then the generator's against the discriminator as it is then."""

    def forward(self, step: Step, moves: int, draw: Draw) -> None:
        drawn = _lead(step, moves, draw)
        step.move("G", *_for_generator(step, drawn, draw), step.due("G"))
        step.moves["G"] += 1


def _lead(step: Step, moves: int, draw: Draw) -> Batch | None:
    """The discriminator's moves by itself; returns the last batch it saw."""
    drawn = None
    for _ in range(moves):
        drawn = draw()
        step.move("D", *drawn, step.due("D"))
        step.moves["D"] += 1
    return drawn


def _for_generator(step: Step, drawn: Batch | None, draw: Draw) -> Batch:
    """The batch of a generator's move: a fresh one where its objective looks at reals, else only its labels count."""
    return draw() if drawn is None or step.objective.compares("G") else drawn


class _Joint(Rule):
    """Rules that take both gradients at one point. Of several discriminator moves the last is the joint one."""

    def forward(self, step: Step, moves: int, draw: Draw) -> None:
        if moves == 0:  # the generator's turn alone
            step.move("G", *draw(), step.due("G"))
            step.moves["G"] += 1
            return
        _lead(step, moves - 1, draw)
        drawn = draw()
        self.together(step, drawn, _for_generator(step, drawn, draw))
        for role in ("D", "G"):
            step.moves[role] += 1

    def together(self, step: Step, d_batch: Batch, g_batch: Batch) -> None:
        """The joint move of both."""
        raise NotImplementedError


def _both(step: Step, d_batch: Batch, g_batch: Batch) -> list[Pending]:
    return [step.differentiate("D", *d_batch, step.due("D")), step.differentiate("G", *g_batch, step.due("G"))]


def _apply(step: Step, pending: list[Pending]) -> None:
    for one in reversed(pending):  # so that a refused move leaves the buffers as they were before the first of them
        step.apply(one)


@register("rule", paper="arXiv:1801.04406", claim="both at once: the reference of theory",
          formula="(theta, phi)' = (theta, phi) - lr (dL_G, dL_D)(theta, phi)",
          treats="", cost="none")  # fmt: skip
class Simultaneous(_Joint):
    """Both gradients at the same weights; on a bilinear game it spirals outward where alternating orbits."""

    def together(self, step: Step, d_batch: Batch, g_batch: Batch) -> None:
        _apply(step, _both(step, d_batch, g_batch))


@register("rule", paper="arXiv:1802.10551", claim="looks a step ahead and moves by what it sees there: no rotation",
          formula="w' = w - lr F(w); w'' = w - lr F(w')", treats="OSC", cost="every gradient twice")  # fmt: skip
class Extragradient(_Joint):
    """Extragradient, with Adam ExtraAdam (Gidel et al. 2019): both players extrapolate, then step from where they were.

    Both halves see the same real images and labels, with fresh latents; the optimisers' moments follow both, as in the
    paper. Buffers (spectral norm's vectors, batch norm's statistics) advance once a round, not twice: those of the
    extrapolation are put back.
    """

    def together(self, step: Step, d_batch: Batch, g_batch: Batch) -> None:
        saved = [p.detach().clone() for p in _parameters(step)]
        pending = _both(step, d_batch, g_batch)
        for one in reversed(pending):
            step.optimisers[one.role].step(one.total)
        step.restore(pending[0].before)
        pending = _both(step, d_batch, g_batch)
        with torch.no_grad():
            torch._foreach_copy_(_parameters(step), saved)
        _apply(step, pending)


def _parameters(step: Step) -> list[Tensor]:
    return [p for optimiser in step.optimisers.values() for p in optimiser.parameters]


@register("rule", paper="arXiv:1705.10461", claim="pulls both players towards where neither moves: no rotation",
          formula="w' = w - lr (v + weight d(|v|^2 / 2)/dw), v = (dL_G, dL_D)", treats="OSC",
          cost="a double backward of the whole game",
          cautions={"wgan-gp": "consensus differentiates a gradient penalty a third time, which is slow"})  # fmt: skip
class Consensus(_Joint):
    """Consensus optimisation (Mescheder et al. 2017): the squared norm of both gradients is minimised by both players.

    With a large weight any stationary point attracts, bad ones too; the term is biased by the noise of small batches.
    The penalty takes the loss and the terms that are due.
    """

    dials = ("weight",)
    weight: Tensor

    def __init__(
        self,
        weight: float = 0.1,  # 0 to 10
    ) -> None:
        super().__init__()
        if not weight >= 0:
            raise InputError(f"consensus.weight={weight} would push the players apart; give 0 or more")
        self.register_buffer("weight", torch.tensor(float(weight)))

    def together(self, step: Step, d_batch: Batch, g_batch: Batch) -> None:
        if step.accumulate > 1:
            raise InputError("consensus takes the norm of a whole batch's gradient; set accumulate=1")
        pending, norms = [], []
        for role, batch in (("D", d_batch), ("G", g_batch)):
            one, total = step.undifferentiated(role, *batch, step.due(role))  # type: ignore[arg-type]
            own = step.optimisers[one.role].parameters
            gradients = torch.autograd.grad(total, own, create_graph=True, allow_unused=True)
            norms += [g.square().sum() for g in gradients if g is not None]
            for parameter, gradient in zip(own, gradients, strict=True):
                parameter.grad = None if gradient is None else gradient.detach().clone()
            pending.append(one)
        penalty = self.weight / 2 * torch.stack(norms).sum()
        penalty.backward(inputs=[p for p in _parameters(step) if p.requires_grad])
        _apply(step, pending)


@register("rule", paper="arXiv:2006.14567", claim="every few rounds both players go back half-way",
          formula="every k rounds: slow += share (fast - slow); fast = slow", treats="OSC",
          cost="a copy of the weights")  # fmt: skip
class Lookahead(Rule):
    """Lookahead-minimax (Chavdarova et al. 2021): both players are pulled back at the same moment, on any other rule.

    Rounds are counted by the generator's moves. The optimisers' moments stay with the fast weights. The generator's
    moving average follows the slow weights, as published.
    """

    wraps = True
    dials = ("share",)
    share: Tensor

    def __init__(
        self,
        every: int = 5,  # generator moves
        share: float = 0.5,  # of the way that the slow weights go: above 0 to 1
    ) -> None:
        super().__init__()
        if every < 1 or not 0 < share <= 1:
            raise InputError(f"lookahead.every={every}, share={share}: give whole rounds from 1, and a share up to 1")
        self.every = int(every)
        self.register_buffer("share", torch.tensor(float(share)))
        self.inner: Rule = Alternating()
        self.slow: list[Tensor] = []

    def bind(self, step: Step) -> None:
        self.inner.bind(step)
        self.slow = [p.detach().clone() for p in _parameters(step)]
        step.averaging = False  # the average moves with the slow weights, here

    def forward(self, step: Step, moves: int, draw: Draw) -> None:
        self.inner(step, moves, draw)
        if step.moves["G"] % self.every == 0:
            with torch.no_grad():
                fast = _parameters(step)
                share = self.share.to(self.slow[0].dtype)
                torch._foreach_add_(self.slow, torch._foreach_mul(torch._foreach_sub(fast, self.slow), share))
                torch._foreach_copy_(fast, self.slow)
            step.average()

    def memory(self) -> dict[str, Tensor]:
        return {f"slow.{number}": tensor for number, tensor in enumerate(self.slow)} | self.inner.memory()


@register("rule", paper="arXiv:1611.02163", claim="G reckons with D's next steps",
          formula="dL_G(theta, phi_K(theta)), phi_(k+1) = phi_k - lr dL_D(theta, phi_k)", treats="GC OSC",
          cost="K discriminator steps with their graph in every generator move")  # fmt: skip
class Unrolled(Rule):
    """Unrolled GAN (Metz et al. 2017): the generator's gradient flows through `steps` steps of the discriminator.

    The inner steps are the discriminator optimiser's, with its second moment held still and without its momentum; they
    leave nothing behind. The paper unrolls Adam with its moments.
    """

    def __init__(
        self,
        steps: int = 5,  # of the discriminator, 1 to 10
    ) -> None:
        super().__init__()
        if steps < 1:
            raise InputError(f"unrolled.steps={steps} unrolls nothing; give 1 to 10, or leave the rule out")
        self.steps = int(steps)

    def bind(self, step: Step) -> None:
        if step.accumulate > 1:
            raise InputError("unrolled looks through the whole batch's discriminator steps; set accumulate=1")

    def forward(self, step: Step, moves: int, draw: Draw) -> None:
        _lead(step, moves, draw)
        step.apply(step.unrolled(*draw(), step.due("G"), self.steps))
        step.moves["G"] += 1

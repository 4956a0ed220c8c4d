"""Discriminator start-up by readiness: D trains alone until it can judge, then the adversarial weight fades in.

    start = Readiness()
    monitor = equipoise.Monitor(start, mode="act", anchored=True)
    loss = reconstruction + start.weight * adversarial

Published recipes wait for a number of steps instead (VQGAN's `disc_start`), which suits one data set and batch size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from equipoise.actuator import Actuator, Turnable
from equipoise.balancer import Move, named, whole
from equipoise.diagnosis import History
from equipoise.errors import InputError

LARGEST = 0.25  # of the fade at one look, so that looks far apart make no jump
KEPT = ("phase", "position", "good", "last", "complain", "on_kimg", "missing")  # what is remembered beside the weight


class Readiness:
    """`alone` until D is ready at several looks in a row, `fading` while the weight rises, then `on` for good.

    Ready is a D with an advantage (2 AUC - 1, by the logits' means and deviations) on real samples that it is not
    trained on, and with logits of a sane scale. A D that only knows its training samples by heart does not count. Until
    the monitor's first call, and in modes that do not act, `weight` is 1.
    """

    def __init__(
        self,
        *,
        advantage: float = 0.3,  # 0 blind, 1 never wrong; a blind D reads 0 give or take 0.1 on a hundred samples
        scale: float = 10.0,  # largest deviation of the logits: at 10 a logistic loss has 5e-5 of its slope left
        looks: int = 3,  # in a row, at which D must be ready
        fade_kimg: float = 10.0,  # thousands of real samples from weight 0 to 1
        patience_kimg: float = 50.0,  # after which it is said that D is not ready, and again at each doubling
        heldout: bool = True,  # False where samples never repeat: then training samples will do
        device: torch.device | str = "cpu",  # of the weight
    ) -> None:
        whole_looks = looks >= 1 and looks % 1 == 0
        if not 0 < advantage < 1 or not scale > 0 or not whole_looks or not fade_kimg > 0 or not patience_kimg > 0:
            raise InputError(
                f"readiness at advantage={advantage}, scale={scale}, looks={looks}, fade_kimg={fade_kimg} and "
                f"patience_kimg={patience_kimg} cannot work: advantage must lie between 0 and 1, looks be a whole "
                "number above 0, and the rest above 0"
            )
        self.advantage, self.scale, self.looks, self.fade_kimg = advantage, scale, looks, fade_kimg
        self.heldout = heldout
        self.name, self.player = "readiness", ""  # one of several discriminators; their mean otherwise
        self.begun = False  # whether it has said that D starts alone
        self.weight = torch.ones([], device=device)  # of the adversarial loss in G's
        self.phase, self.position, self.good = "alone", 0.0, 0
        self.last, self.complain = 0.0, patience_kimg
        self.on_kimg: float | None = None  # when the weight began to rise
        self.missing = "the monitor has not looked yet"  # why D is not ready
        self.others: list[str] = []  # who was observed where the player was not
        self._actuator = Actuator("adversarial weight", lambda: self.position, lambda x: None, 0.0, 1.0)

    def of(self, player: str) -> Readiness:
        """This, judging one of several discriminators; by itself it judges their mean."""
        self.name, self.player = f"readiness of {named(player)}", player
        return self

    def actuators(self) -> Sequence[Turnable]:
        """The weight."""
        return (self._actuator,)

    def begin(self, act: bool) -> list[Move]:
        """D alone."""
        self.begun = True
        return [self._moved(0.0, 1.0, 0.0, "since D starts alone", act)]

    def decide(self, kimg: float, history: History, act: bool) -> list[Move]:
        """Judge D while it is alone; afterwards raise the weight."""
        dt, self.last = kimg - self.last, kimg
        joined = [] if self.begun else self.begin(act)  # in the middle of a run
        if self.phase == "on":
            return []
        why = "since D is ready"
        if self.phase == "alone":
            own = history.of(self.player) if self.player else history
            seen = history.players() or ["D"]
            self.others = [] if not self.player or self.player in seen else seen
            if not self._ready(kimg, own):
                return joined + self._complaint(kimg, act)
            self.phase, self.on_kimg = "fading", kimg
            whose, found = "held-out" if self.heldout else "real", self.judged(kimg, own)
            why = f"since D has an advantage of {found:.2f} on {whose} samples"
        before, began = self.position, self.position == 0
        after = min(1.0, before + min(LARGEST, dt / self.fade_kimg))
        self.phase = "on" if after == 1.0 else "fading"
        return [*joined, self._moved(kimg, before, after, why, act, said=began or after == 1.0)]

    def finish(self, kimg: float, history: History, act: bool) -> list[Move]:
        """Say so if D never was ready."""
        return [self._not_ready(kimg, act)] if self.phase == "alone" else []

    def _ready(self, kimg: float, history: History) -> bool:
        self.missing = self._lacks(kimg, history)
        self.good = 0 if self.missing else self.good + 1
        return self.good >= self.looks

    def _complaint(self, kimg: float, act: bool) -> list[Move]:
        if kimg < self.complain:
            return []
        self.complain *= 2
        return [self._not_ready(kimg, act)]

    def judged(self, kimg: float, history: History) -> float:
        """D's advantage at a look; nan where it is not told.

        Of normal logits with a gap g in pooled deviations the area under the curve is Phi(g / sqrt 2), so that
        2 AUC - 1 is erf(g / 2); held-out samples keep 1 - `memory` of the gap.
        """
        gap, memory = _newest(history, "gap", kimg), _newest(history, "memory", kimg)
        return math.erf(gap * (1 - (memory if self.heldout else 0.0)) / 2)

    def _lacks(self, kimg: float, history: History) -> str:
        """What D lacks at this look; empty if nothing."""
        gap, scale = _newest(history, "gap", kimg), _newest(history, "logit_scale", kimg)
        if self.others:
            return f"it was not observed under the name {self.player}, but {' and '.join(self.others)} were"
        if math.isnan(gap) or math.isnan(scale):
            return "no finite logits of it were observed"
        if not math.erf(gap / 2) >= self.advantage:
            return f"its advantage is {math.erf(gap / 2):.2f}, and {self.advantage:g} is needed"
        if self.heldout and math.isnan(_newest(history, "memory", kimg)):
            return "no heldout_logits were observed (where samples never repeat, say heldout=False)"
        if not self.judged(kimg, history) >= self.advantage:
            return f"on held-out samples its advantage is {self.judged(kimg, history):.2f}: it knows its own by heart"
        return "" if scale <= self.scale else f"its logits have a scale of {scale:.3g}, and {self.scale:g} is the most"

    def _not_ready(self, kimg: float, act: bool) -> Move:
        why = f"D is not ready to judge: {self.missing}"
        return Move(kimg, self.name, self._actuator.name, self.position, self.position, why, act)

    def _moved(self, kimg: float, before: float, after: float, why: str, act: bool, said: bool = True) -> Move:
        self.position = after
        if act:
            self.weight.fill_(after)
        return Move(kimg, self.name, self._actuator.name, before, after, why, act, said)

    def state_dict(self) -> dict[str, Any]:
        """Memory and weight as plain data."""
        return {"weight": float(self.weight), **{name: getattr(self, name) for name in KEPT}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self.weight.fill_(whole("a Readiness", state, "weight", *KEPT)["weight"])
        self.begun = True
        for name in KEPT:
            setattr(self, name, state[name])


def _newest(history: History, name: str, kimg: float) -> float:
    """A signal's reading at this very look; nan where it has none."""
    points = history.signals.get(name, [])
    return points[-1][1] if points and points[-1][0] >= kimg else math.nan

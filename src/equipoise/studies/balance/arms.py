"""The arms of the proving ground: what is done about a cell, without knowing its task or scenario."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from equipoise.autopilot import FORM, PARTS
from equipoise.registry import entries

Cfg = Mapping[str, Any]
HEALTHY = {"init_std_g": 1.0, "init_std_d": 1.0, "n_dis": 1, "beta2": 0.99, "ema": 0.998, "aug": 0.0, "decay": True}


def _act(cfg: Cfg) -> dict[str, Any]:
    return {"balance": "act"}


@dataclass(frozen=True)
class Arm:
    """A change of the settings, the same for all cells."""

    name: str
    says: str
    change: Callable[[Cfg], dict[str, Any]]
    without: tuple[str, ...] = ()  # parts of the autopilot
    controller: str = "autopilot"  # who steers where the change says balance="act"

    def applied(self, cfg: Cfg) -> dict[str, Any]:
        """The settings under this arm."""
        return dict(cfg) | self.change(cfg)

    @property
    def steers(self) -> bool:
        """Whether something is turned during the run."""
        return self.change is _act

    @property
    def form(self) -> int:
        """Of the rules that steer, which change as the autopilot is worked on; 0 for what has none."""
        return FORM if self.steers and self.controller == "autopilot" else 0

    def fits(self, cfg: Cfg) -> bool:
        """Whether it can be tried on these settings: geometry and colour of vectors cannot be augmented."""
        return isinstance(cfg["shape"], list) or not self.controller.startswith("ada")


ARMS = {
    arm.name: arm
    for arm in (
        Arm("untouched", "as it is", lambda cfg: {}),
        Arm("autopilot", "balance=act", _act),
        Arm("static", "the best single recipe: relativistic pairing, R1 = R2 = 0.1, beta1 0",
            lambda cfg: {"loss": "rpgan", "r1": 0.1, "r2": 0.1, "beta1": 0.0}),
        Arm("favourites", "the settings ignored: rates 3e-3, beta1 0, one D step, decay, and the best single recipe",
            lambda cfg: HEALTHY | {"loss": "rpgan", "r1": 0.1, "r2": 0.1, "beta1": 0.0, "lr_g": 3e-3, "lr_d": 3e-3}),
        Arm("r1", "R1 of 0.1", lambda cfg: {"r1": 0.1}),
        Arm("r1 0.5", "R1 of 0.5", lambda cfg: {"r1": 0.5}),
        Arm("r1 2", "R1 of 2", lambda cfg: {"r1": 2.0}),
        Arm("no momentum", "beta1 0", lambda cfg: {"beta1": 0.0}),
        Arm("two rates", "D's rate four times G's", lambda cfg: {"lr_d": 4 * cfg["lr_g"]}),
        Arm("one D step", "n_dis 1", lambda cfg: {"n_dis": 1}),
        Arm("decay", "rates to 0 over the second half", lambda cfg: {"decay": True}),
        Arm("augmentation", "p of 0.3, or noise of 0.3 of the data's rms", lambda cfg: {"aug": 0.3}),
        *(Arm(f"autopilot without {part}", "the autopilot's twin", _act, (part,)) for part in PARTS),
        *(Arm(f"preset {one.name}", one.claim, _act, controller=one.name)
          for one in entries("controller") if one.name != "autopilot"),
    )
}  # fmt: skip

"""The classifiers that have been fitted, a line each; what has a line is not fitted again."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from equipoise.apps.augment.arms import Setting
from equipoise.errors import InputError
from equipoise.files import atomic_write


@dataclass(frozen=True)
class Fit:
    """One classifier."""

    stage: str  # validation: to choose by; test: once for what was chosen
    arm: str
    amount: int
    rate: float
    seed: int

    @property
    def setting(self) -> Setting:
        """What validation chooses."""
        return Setting(self.amount, self.rate)


class Rows:
    """Which images each classifier recognised."""

    def __init__(self, path: Path) -> None:
        self.path, self.found = path, dict[Fit, NDArray[np.bool_]]()
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.is_file() else []
        for number, line in enumerate(lines, 1):
            if not line.endswith("}\n") and number == len(lines):  # a crash may have left less
                break
            try:
                record = json.loads(line)
                self.found[Fit(**record["fit"])] = np.array(list(record["correct"])) == "1"
            except (ValueError, KeyError, TypeError) as error:
                raise InputError(
                    f"line {number} of {path} cannot be read ({error}); remove it, and its classifier is fitted again"
                ) from None
        atomic_write(path, "".join(_line(fit, correct) for fit, correct in self.found.items()))

    def add(self, fit: Fit, correct: NDArray[np.bool_]) -> None:
        """Remember a result, [N]."""
        self.found[fit] = correct
        with self.path.open("a", encoding="utf-8") as file:
            file.write(_line(fit, correct))

    def of(self, stage: str, arm: str) -> dict[Setting, NDArray[np.bool_]]:
        """An arm's results by setting, [seeds, N] each, in the order of the seeds."""
        found: dict[Setting, list[NDArray[np.bool_]]] = {}
        for fit, correct in sorted(self.found.items(), key=lambda item: item[0].seed):
            if (fit.stage, fit.arm) == (stage, arm):
                found.setdefault(fit.setting, []).append(correct)
        return {setting: np.stack(results) for setting, results in found.items()}


def _line(fit: Fit, correct: NDArray[np.bool_]) -> str:
    seen = "".join("1" if one else "0" for one in correct)
    return json.dumps({"fit": asdict(fit), "accuracy": round(float(correct.mean()), 5), "correct": seen}) + "\n"

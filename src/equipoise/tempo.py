"""Who moves next: discriminator moves per generator move, as a real number."""

from __future__ import annotations

import math

from equipoise.errors import InputError


class Tempo:
    """Spread `ratio` discriminator moves per generator move as evenly as whole moves allow.

    Before each generator move, `moves()` says how many times the discriminator moves: 5 for a ratio of 5; 1, 2, 1, 2,
    ... for 1.5; 1, 0, 1, 0, ... for 0.5. The fraction owed is the whole memory.
    """

    def __init__(
        self,
        ratio: float = 1.0,  # above 0
        left: float = math.inf,  # moves that the discriminator may make in all
    ) -> None:
        if not 0 < ratio < math.inf:
            raise InputError(f"D.steps={ratio}: the discriminator's steps per generator step must be a number above 0")
        self.ratio, self.left = float(ratio), left
        self.owed = max(0.0, 1.0 - ratio)  # the first generator move finds a discriminator that has moved

    def moves(self) -> int:
        """The discriminator's moves before the next generator move."""
        self.owed += self.ratio
        whole = int(min(self.owed + 1e-9, self.left))
        self.owed -= whole
        self.left -= whole
        return whole

"""Facts about two steps of anybody's adversarial loop: is everything connected as it should be?

It asks nothing of the networks and imports nothing of the rest of the package. `listening` hooks into a loop and fills
a `Record` with `events`; `origins` follows what every tensor depends on; `steps`, `leftovers`, `clipping`, `holding`,
`gradients`, `reaching`, `terms`, `judging`, `directions`, `values` and `averages` turn the record into facts.
"""

from equipoise.wires.check import Miswired as Miswired
from equipoise.wires.check import Wiring as wiring
from equipoise.wires.fact import Fact as Fact

__all__ = ["Fact", "Miswired", "wiring"]

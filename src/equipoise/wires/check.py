"""The check itself: a context around two steps of anybody's loop, and a list of facts afterwards."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import Any

from equipoise.errors import EquipoiseError
from equipoise.wires import (
    clipping,
    directions,
    gradients,
    holding,
    judging,
    leftovers,
    reaching,
    steps,
    terms,
    values,
)
from equipoise.wires.averages import Average
from equipoise.wires.events import Outside
from equipoise.wires.fact import Fact, aligned
from equipoise.wires.listening import listening
from equipoise.wires.players import Networks, sides_of, weights_of
from equipoise.wires.record import Record

ORDER = ("broken", "note", "untold", "holds")


class Miswired(EquipoiseError):
    """A loop that does something else than was meant."""


class Wiring:
    """`with wiring(G, D, opt_G, opt_D) as check:`, two iterations of the loop inside, and `check.facts` after.

    Within, every function of PyTorch's is watched; the loop computes the same numbers, and nothing is left behind.
    """

    def __init__(
        self,
        generators: Networks,  # one network, or several as a list or by name
        discriminators: Networks,  # the same
        opt_g: Any,  # one optimiser for all, or one or several for each; what has `step` and `param_groups` will do
        opt_d: Any,
        ema: Any = None,  # the averaged generator, or those of all; what holds it as `average`, `ema_model` or `module`
    ) -> None:
        self.sides = sides_of(generators, discriminators, opt_g, opt_d)
        self.facts: list[Fact] = []  # the broken ones first; empty until the context has ended
        self._ema = ema
        self._stack = ExitStack()
        self._record = Record(self.sides, [])

    def __enter__(self) -> Wiring:
        self._record = Record(self.sides, weights_of(self.sides))
        self._average = (
            Average(self._ema, [side for side in self.sides if side.role == "G"]) if self._ema is not None else None
        )
        with ExitStack() as stack:
            if "torch._dynamo" in sys.modules:
                from torch.compiler import set_stance

                stack.enter_context(set_stance("force_eager"))  # compiled code cannot be followed
            stack.enter_context(listening(self._record))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
        if kind is None:
            self.facts = sorted(self._collect(), key=lambda fact: ORDER.index(fact.state))

    def _collect(self) -> Iterator[Fact]:
        record = self._record
        generators, judges = ([side for side in self.sides if side.role == role] for role in "GD")
        for side in self.sides:
            yield from steps.own(record, side)
            yield from leftovers.stale(record, side)
            yield from steps.outside(record, side)
            yield from reaching.reached(record, side)
            yield from terms.terms(record, side)
            yield from values.modes(record, side)
            yield from judging.logits(record, side)
        for judge in judges:
            yield from judging.inputs(record, judge)
            yield from judging.shapes(record, judge)
            for side in generators:
                yield from gradients.adversarial(record, side, judge)
                yield from directions.direction(record, side, judge)
        yield from holding.optimisers(record)
        yield from clipping.clipping(record)
        yield from values.finite(record)
        yield from values.scaler(record)
        if self._average is None:
            yield Fact("ema", "", "untold", "no averaged generator was given: wiring(..., ema=...)")
        else:
            changed = {id(weight.tensor) for event in record.all(Outside) for weight in event.weights}
            yield from self._average.facts({id(tensor) for side in self.sides for tensor in side.holds()}, changed)

    @property
    def findings(self) -> list[Fact]:
        """What is broken."""
        return [fact for fact in self.facts if fact.state == "broken"]

    @property
    def exit_code(self) -> int:
        """0 if nothing is broken, 1 if something is, or if the loop did not run to its end."""
        return int(bool(self.findings) or not self.facts)

    def raise_for_errors(self) -> None:
        """Raise `Miswired`, with all findings in its message, if there are any."""
        if self.findings:
            raise Miswired("\n".join(aligned(self.findings)))

    def __str__(self) -> str:
        seen = ", ".join(f"{len(self._record.steps(side))} of {side.called}" for side in self.sides)
        lines = aligned(self.facts) or ["nothing to tell: the loop has not run to its end"]
        return "\n".join([f"steps seen: {seen}", *lines])

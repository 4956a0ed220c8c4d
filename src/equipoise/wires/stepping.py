"""Gradients and steps: which backward passes each weight's `.grad` is the sum of, and what a step then changes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor

from equipoise.wires.events import Differentiation, Outside, Scaling, Step
from equipoise.wires.origins import Origins
from equipoise.wires.players import Side, Weight, held_by
from equipoise.wires.record import Record
from equipoise.wires.scaling import Scalers, replaced
from equipoise.wires.where import NOWHERE, caller


class Steps:
    """Hooks on every weight and every optimiser."""

    def __init__(self, record: Record, mode: Origins, scalers: Scalers) -> None:
        self.record, self.mode, self.scalers = record, mode, scalers
        self.pending: list[Step] = []
        self.quiet_before = False
        self.running: list[Any] = []  # the optimisers that are stepping, one within the other
        self.before = {weight: weight.tensor.detach().clone() for weight in record.weights}

    @contextmanager
    def listening(self) -> Iterator[None]:
        with ExitStack() as stack:
            for weight in self.record.weights:
                for handle in self._on_weight(weight):
                    stack.callback(handle.remove)
            for optimiser in {id(one): one for side in self.record.sides for one in side.optimisers}.values():
                sides = [side for side in self.record.sides if any(optimiser is one for one in side.optimisers)]
                for one in (optimiser, *within(optimiser)):
                    stack.enter_context(self._on_steps(sides, optimiser, one))
            yield
        self._note_outside()

    # ------------------------------------------------------------------------------------------------ gradients

    def _on_weight(self, weight: Weight) -> list[Any]:
        tensor, trained = weight.tensor, weight.tensor.requires_grad
        if not (tensor.is_floating_point() and tensor.is_leaf):
            return []
        tensor.requires_grad_(True)  # hooks may be set on such only, and stay when it is frozen again
        handles = [
            tensor.register_hook(functools.partial(self._before_gradient, weight)),
            tensor.register_post_accumulate_grad_hook(lambda _: self._after_gradient(weight)),
        ]
        tensor.requires_grad_(trained)
        return handles

    def _before_gradient(self, weight: Weight, gradient: Tensor) -> None:
        if is_empty(weight):
            weight.ledger = ()
        event = self.record.current
        if event is not None and event.kind == "backward":  # before the loop's own hooks, which may step at once
            self._note_gradient(weight, event)

    def _after_gradient(self, weight: Weight) -> None:
        event = self.record.current
        if event is None:  # a backward pass that was started where nothing was watched
            event = self.record.add(
                Differentiation(place=NOWHERE, kind="backward", origin=frozenset(), finite=True, reachable=set(),
                                through={}, terms=[])
            )  # fmt: skip
        if weight not in event.written:
            self._note_gradient(weight, event)

    def _note_gradient(self, weight: Weight, event: Differentiation) -> None:
        event.written.add(weight)
        weight.trained = True
        weight.ledger = (*(one for one in weight.ledger if one is not event), event)

    # ------------------------------------------------------------------------------------------------ steps

    @contextmanager
    def _on_steps(self, sides: list[Side], optimiser: Any, doer: Any) -> Iterator[None]:
        """Hooks on one optimiser, which may be that of several sides, or on one that does its work for it."""
        before = functools.partial(self._before_step, sides, optimiser)
        after = functools.partial(self._after_step, optimiser)
        if isinstance(doer, torch.optim.Optimizer):
            handles = [doer.register_step_pre_hook(before), doer.register_step_post_hook(after)]
            try:
                yield
            finally:
                for handle in handles:
                    handle.remove()
        else:
            with replaced(doer, "step", lambda own: functools.partial(_hooked, own, before, after)):
                yield

    def _before_step(
        self, sides: list[Side], optimiser: Any, hooked: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        self.running.append(optimiser)
        if self._within(optimiser, 2):
            return None
        closures = [value for value in [*args, *kwargs.values()] if callable(value) and value is not hooked]
        if not closures:
            self._look(sides, optimiser)
        self.quiet_before = self.mode.hush(True)
        if not closures:
            return None

        def swap(value: Any) -> Any:
            return self._watched(sides, optimiser, value) if any(value is one for one in closures) else value

        return tuple(map(swap, args)), {name: swap(value) for name, value in kwargs.items()}

    def _watched(self, sides: list[Side], optimiser: Any, closure: Callable[..., Any]) -> Callable[..., Any]:
        """A closure of a step: its work belongs to the loop, and after it the gradients are there."""

        def run(*args: Any, **kwargs: Any) -> Any:
            with self.mode.quiet(False):
                result = closure(*args, **kwargs)
                self._look(sides, optimiser)
            return result

        return run

    def _look(self, sides: list[Side], optimiser: Any) -> None:
        """What the sides of an optimiser are about to step along."""
        before = {step.side: step.consumed() | step.earlier for step in self.pending}
        with self.mode.quiet():
            if not before:
                self._note_outside()
            self.pending = [self._about(side, optimiser) for side in sides]
        for step in self.pending:
            step.earlier = before.get(step.side, set())

    def _about(self, side: Side, optimiser: Any) -> Step:
        weights = [weight for weight in self.record.weights if side in weight.optimisers]
        if len(side.optimisers) > 1:
            own = set(map(id, held_by(optimiser)))
            weights = [weight for weight in weights if id(weight.tensor) in own]
        there = [weight for weight in weights if weight.tensor.grad is not None]
        full = {weight: weight.ledger for weight in there if weight.ledger}
        found_inf = getattr(optimiser, "found_inf", None)
        return Step(
            place=caller(),
            side=side,
            optimiser=optimiser,
            ledgers=full,
            held=weights,
            frozen={weight for weight in weights if not weight.tensor.requires_grad},
            unsound=[weight for weight in full if not is_finite(weight)],
            zero=all(is_empty(weight) for weight in full),
            scaled_by=self.scalers.stepping,
            unscaled=self._unscaled(optimiser, full),
            unknown=any(not weight.ledger and not is_empty(weight) for weight in there),
            rates=[float(group.get("lr", 1)) for group in getattr(optimiser, "param_groups", [])],
            skipped=found_inf is not None and bool(torch.as_tensor(found_inf).any()),
        )

    def _unscaled(self, optimiser: Any, full: dict[Weight, tuple[Differentiation, ...]]) -> bool:
        """Whether a scaler divided the gradients by its scale since the last backward pass."""
        last = max((event.when for ledger in full.values() for event in ledger), default=-1)
        calls = [one for one in self.record.all(Scaling) if one.what == "unscale_" and one.when > last]
        return any(one.optimiser is optimiser for one in calls)

    def _within(self, optimiser: Any, times: int) -> bool:
        """Whether this is a step of an optimiser that does another's work, whose own step has been looked at."""
        return sum(one is optimiser for one in self.running) >= times

    def _after_step(self, optimiser: Any, hooked: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.running.pop()
        if self._within(optimiser, 1):
            return
        self.mode.hush(self.quiet_before)
        steps, self.pending = self.pending, []
        with self.mode.quiet():
            changed = self._changes() if steps else set()
            for step in steps:
                others = {one.side for one in steps} - {step.side}
                step.changed = {weight for weight in changed if not others & set(weight.optimisers)}
                step.broke = [weight for weight in step.changed if not bool(torch.isfinite(weight.tensor).all())]
                self.record.add(step)

    def _note_outside(self) -> None:
        changed = self._changes()
        if changed:
            self.record.add(Outside(place=NOWHERE, weights=changed))

    def _changes(self) -> set[Weight]:
        """The weights that differ from when this was last asked."""
        changed = set()
        for weight, old in self.before.items():
            now = weight.tensor.detach()
            if not bool(((now == old) | (now.isnan() & old.isnan())).all()):
                changed.add(weight)
                self.before[weight] = now.clone()
        return changed


def within(optimiser: Any) -> list[Any]:
    """The optimisers that another keeps to do its work, as one that looks ahead or for flat minima has them."""
    held = set(map(id, held_by(optimiser)))
    kept = [one for one in getattr(optimiser, "__dict__", {}).values() if isinstance(one, torch.optim.Optimizer)]
    return [one for one in kept if one is not optimiser and held & set(map(id, held_by(one)))]


def is_empty(weight: Weight) -> bool:
    """Whether there is no gradient, or one of zeros."""
    gradient = weight.gradient
    return gradient is None or not bool(gradient.any())


def is_finite(weight: Weight) -> bool:
    """Whether there is no gradient, or one of finite numbers."""
    gradient = weight.gradient
    return gradient is None or bool(torch.isfinite(gradient).all())


def _hooked(
    own: Callable[..., Any], before: Callable[..., Any], after: Callable[..., Any], *args: Any, **kwargs: Any
) -> Any:
    """A step between two hooks, for optimisers that know of none."""
    before(None, (), {})
    result = own(*args, **kwargs)
    after(None, (), {})
    return result

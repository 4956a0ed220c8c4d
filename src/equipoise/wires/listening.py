"""Everything that listens while the loop runs, and is taken away when it ends: hooks, and the methods of GradScaler."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from equipoise.wires.events import (
    Call,
    Differentiation,
    Outside,
    Pull,
    Record,
    Scaling,
    Step,
    tensors_in,
)
from equipoise.wires.origins import Origins, notes
from equipoise.wires.players import Side, Weight
from equipoise.wires.where import NOWHERE, caller


@contextmanager
def listening(record: Record) -> Iterator[Origins]:
    """Watch everything within; afterwards nothing is left on networks, optimisers or PyTorch."""
    mode = Origins(record)
    ear = Ear(record, mode)
    with ExitStack() as stack:
        for module in {module for side in record.sides for net in side.networks.values() for module in net.modules()}:
            for handle in ear.on_module(module):
                stack.callback(handle.remove)
        for weight in record.weights:
            for handle in ear.on_weight(weight):
                stack.callback(handle.remove)
        for side in record.sides:
            stack.enter_context(ear.on_steps(side))
        stack.enter_context(ear.on_scalers())
        stack.callback(ear.release)
        with mode:
            yield mode


class Ear:
    """The hooks, and what they must remember from one to the next."""

    def __init__(self, record: Record, mode: Origins) -> None:
        self.record, self.mode = record, mode
        self.running: list[Call] = []  # the outermost forward pass in progress, if any
        self.depth = 0
        self.scaler: object | None = None  # the one whose `step` is in progress
        self.pending: Step | None = None
        self.quiet_before = False
        self.handles: list[Any] = []  # of hooks on tensors
        self.names = {
            module: f"{network}.{key}" if key else network
            for side in record.sides
            for network, net in side.networks.items()
            for key, module in net.named_modules()
        }
        self.before = {weight: weight.tensor.detach().clone() for weight in record.weights}

    def release(self) -> None:
        """Take the hooks off the tensors of the loop that are still there."""
        for handle in self.handles:
            handle.remove()

    # ------------------------------------------------------------------------------------------------ forward

    def on_module(self, module: nn.Module) -> list[Any]:
        return [
            module.register_forward_pre_hook(self._enter, with_kwargs=True),
            module.register_forward_hook(self._leave, with_kwargs=True, always_call=True),
        ]

    def _enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.depth += 1
        if self.depth > 1:
            return
        with self.mode.quiet():
            inputs = [tensor for tensor in tensors_in([args, kwargs]) if tensor.is_floating_point()]
            call = Call(
                place=caller(),
                sides=[s for s in self.record.sides if any(module in n.modules() for n in s.networks.values())],
                network=self.names[module],
                training=module.training,
                asleep=[n for n, m in module.named_modules() if restless(m) and not m.training],
                inputs=self.mode.origin(inputs),
                storages=frozenset(tensor.untyped_storage().data_ptr() for tensor in inputs if tensor.numel()),
                rows=next((self.mode.rows[tensor] for tensor in inputs if tensor in self.mode.rows), ()),
            )
            self.running.append(self.record.add(call))
            self.mode.inside = True
            if call.of("D") and inputs and inputs[0].requires_grad:
                self.handles.append(inputs[0].register_hook(functools.partial(self._slope, call)))

    def _leave(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        self.depth -= 1
        if self.depth > 0:
            return
        call, self.mode.inside = self.running.pop(), False
        with self.mode.quiet():
            outputs = [tensor for tensor in tensors_in(result) if tensor.is_floating_point()]
            self.mode.mark(outputs, call)
            for number, tensor in enumerate(outputs):
                if tensor.grad_fn is None:
                    continue
                notes(tensor.grad_fn).append(call)
                if call.of("D"):
                    self.handles.append(tensor.register_hook(functools.partial(self._pull, call, number)))
                elif number == 0:
                    self.handles.append(tensor.register_hook(functools.partial(self._slope, call)))

    def _slope(self, call: Call, gradient: Tensor) -> None:
        if self.record.current is not None:
            call.slopes[self.record.current] = gradient.detach().clone()

    def _pull(self, call: Call, number: int, gradient: Tensor) -> None:
        """Remember which way a loss pulls a discriminator's output, for real and generated samples apart."""
        if self.record.current is None:
            return
        with self.mode.quiet():
            gradient = gradient.detach().double()
            counts = [count for count, _ in call.rows]
            whole = not gradient.dim() or sum(counts) != gradient.shape[0]
            parts = [gradient] if whole else gradient.split(counts)
            kinds = [call.generated] if whole else [generated for _, generated in call.rows]
            for part, generated in zip(parts, kinds, strict=True):
                pull = call.pulls.setdefault((self.record.current, number, generated), Pull(0.0, 0.0))
                pull.total += float(part.sum())
                pull.size += float(part.abs().sum())

    # ------------------------------------------------------------------------------------------------ gradients

    def on_weight(self, weight: Weight) -> list[Any]:
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

    def _after_gradient(self, weight: Weight) -> None:
        event = self.record.current
        if event is None:  # a backward pass that was started where nothing was watched
            event = self.record.add(
                Differentiation(place=NOWHERE, kind="backward", origin=frozenset(), finite=True, reachable=set(),
                                through={}, terms=[])
            )  # fmt: skip
        event.written.add(weight)
        weight.trained = True
        weight.ledger = (*(one for one in weight.ledger if one is not event), event)

    # ------------------------------------------------------------------------------------------------ steps

    @contextmanager
    def on_steps(self, side: Side) -> Iterator[None]:
        before, after = functools.partial(self._before_step, side), functools.partial(self._after_step, side)
        if isinstance(side.optimiser, torch.optim.Optimizer):
            handles = [side.optimiser.register_step_pre_hook(before), side.optimiser.register_step_post_hook(after)]
            try:
                yield
            finally:
                for handle in handles:
                    handle.remove()
        else:
            with replaced(side.optimiser, "step", lambda own: functools.partial(_hooked, own, before, after)):
                yield

    def _before_step(
        self, side: Side, optimiser: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        closures = [value for value in [*args, *kwargs.values()] if callable(value) and value is not optimiser]
        if not closures:
            self._look(side)
            self.quiet_before = self.mode.hush(True)
            return None
        self.quiet_before = self.mode.hush(True)

        def watched(closure: Callable[..., Any]) -> Callable[..., Any]:
            def run(*inner: Any, **more: Any) -> Any:
                with self.mode.quiet(False):
                    result = closure(*inner, **more)
                    self._look(side)
                return result

            return run

        def swap(value: Any) -> Any:
            return watched(value) if any(value is one for one in closures) else value

        return tuple(map(swap, args)), {name: swap(value) for name, value in kwargs.items()}

    def _look(self, side: Side) -> None:
        """What a side is about to step along."""
        with self.mode.quiet():
            self._note_outside()
            weights = [weight for weight in self.record.weights if side in weight.optimisers]
            full = {weight: weight.ledger for weight in weights if not is_empty(weight)}
            found_inf = getattr(side.optimiser, "found_inf", None)
            unscaled = any(
                s.what == "unscale_" and s.optimiser is side.optimiser for s in self.record.all(Scaling)
                if s.when > max((e.when for ledger in full.values() for e in ledger), default=-1)
            )  # fmt: skip
            self.pending = Step(
                place=caller(),
                side=side,
                ledgers=full,
                frozen={weight for weight in weights if not weight.tensor.requires_grad},
                unsound=[w for w in full if not bool(torch.isfinite(w.tensor.grad).all())],  # type: ignore[arg-type]
                scaled_by=self.scaler,
                unscaled=unscaled,
                rates=[float(group.get("lr", 1)) for group in getattr(side.optimiser, "param_groups", [])],
                skipped=found_inf is not None and bool(torch.as_tensor(found_inf).any()),
            )

    def _after_step(self, side: Side, optimiser: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.mode.hush(self.quiet_before)
        step, self.pending = self.pending, None
        with self.mode.quiet():
            if step is None:
                return
            step.changed = self._changes()
            step.broke = [weight for weight in step.changed if not bool(torch.isfinite(weight.tensor).all())]
            self.record.add(step)

    def _note_outside(self) -> None:
        changed = self._changes()
        if changed:
            self.record.add(Outside(place=caller(), weights=changed))

    def _changes(self) -> set[Weight]:
        """The weights that differ from when this was last asked."""
        changed = set()
        for weight, old in self.before.items():
            now = weight.tensor.detach()
            if not bool(((now == old) | (now.isnan() & old.isnan())).all()):
                changed.add(weight)
                self.before[weight] = now.clone()
        return changed

    # ------------------------------------------------------------------------------------------------ scaler

    @contextmanager
    def on_scalers(self) -> Iterator[None]:
        with ExitStack() as stack:
            for what in ("scale", "unscale_", "step", "update"):
                stack.enter_context(
                    replaced(torch.amp.GradScaler, what, lambda own, what=what: self._scaling(own, what))  # type: ignore[misc]
                )
            yield

    def _scaling(self, own: Callable[..., Any], what: str) -> Callable[..., Any]:
        @functools.wraps(own)
        def call(scaler: Any, *args: Any, **kwargs: Any) -> Any:
            if not scaler.is_enabled() or self.scaler is not None:
                return own(scaler, *args, **kwargs)
            first = args[0] if args else kwargs.get("optimizer")
            optimiser = getattr(first, "optimizer", first) if what in ("unscale_", "step") else None
            event = self.record.add(Scaling(place=caller(), scaler=scaler, what=what, optimiser=optimiser))
            if what == "scale":
                result = own(scaler, *args, **kwargs)
                self.mode.mark(list(tensors_in(result)), event)
                return result
            self.scaler = scaler
            try:
                with self.mode.quiet():
                    return own(scaler, *args, **kwargs)
            finally:
                self.scaler = None

        return call


def restless(module: nn.Module) -> bool:
    """Whether a layer does something else in eval mode."""
    if isinstance(module, nn.modules.batchnorm._NormBase):
        return bool(module.track_running_stats)
    return isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0


def is_empty(weight: Weight) -> bool:
    """Whether there is no gradient, or one of zeros."""
    gradient = weight.tensor.grad
    return gradient is None or not bool(gradient.any())


def _hooked(
    own: Callable[..., Any], before: Callable[..., Any], after: Callable[..., Any], *args: Any, **kwargs: Any
) -> Any:
    """A step between two hooks, for optimisers that know of none."""
    before(None, (), {})
    result = own(*args, **kwargs)
    after(None, (), {})
    return result


@contextmanager
def replaced(owner: Any, name: str, change: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Iterator[None]:
    """An attribute is another one for a while."""
    there = name in vars(owner)
    own = getattr(owner, name)
    setattr(owner, name, change(own))
    try:
        yield
    finally:
        if there:
            setattr(owner, name, own)
        else:
            delattr(owner, name)

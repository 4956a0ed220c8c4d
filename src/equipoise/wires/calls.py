"""The players' forward passes: what goes in and out, in which mode, and which way losses pull what came out."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import BackwardCFunction
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.nn.utils.spectral_norm import SpectralNorm

from equipoise.wires.answers import VIEWS
from equipoise.wires.batches import extent, margin, repeated, split
from equipoise.wires.events import Answer, Call, Number, Pull
from equipoise.wires.graphs import before, explore, notes
from equipoise.wires.origins import Origins
from equipoise.wires.record import Record
from equipoise.wires.tensors import plain_in, print_of, readable, tensors_in, wrapped
from equipoise.wires.where import caller

MOST = 1000  # gradients at an output that are kept one by one
BOUNDS = {"TanhBackward": (-1.0, 1.0), "SigmoidBackward": (0.0, 1.0)}  # by the node of a generator's last operation


@dataclass
class Frame:
    """A forward pass that has not ended."""

    kind: str  # "call"; "layer" of one; "passed", where only what it calls counts
    call: Call | None = None  # none within a transform of torch.func's
    seen: dict[bool, tuple[float, float]] = field(default_factory=dict)  # ranges of what went in, by generated or not


class Calls:
    """Hooks on every module of every player; only the outermost forward pass of each counts."""

    def __init__(self, record: Record, mode: Origins) -> None:
        self.record, self.mode = record, mode
        self.frames: list[Frame] = []
        self.losses: set[nn.Module] = set()  # those that answer with losses: what they call are the networks
        self.handles: list[Any] = []
        networks = [(name, net) for side in record.sides for name, net in side.networks.items()]
        self.parts = {name: set(net.modules()) for name, net in networks}
        self.names = {
            module: (network, f"{network}.{key}" if key else network)
            for network, net in networks
            for key, module in net.named_modules()
        }

    @contextmanager
    def listening(self) -> Iterator[None]:
        for module in self.names:
            self.handles.append(module.register_forward_pre_hook(self._enter, with_kwargs=True))
            self.handles.append(module.register_forward_hook(self._leave, with_kwargs=True, always_call=True))
        try:
            yield
        finally:
            for handle in self.handles:
                handle.remove()

    @property
    def around(self) -> Frame | None:
        """The forward pass that is running, within all others."""
        return next((frame for frame in reversed(self.frames) if frame.kind == "call"), None)

    def _enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        frame = Frame(self._kind(module))
        self.frames.append(frame)
        if frame.kind != "call":
            return
        with self.mode.quiet():
            self.mode.inside = True
            given = [tensor for tensor in tensors_in([args, kwargs]) if tensor.is_floating_point()]
            if not any(map(wrapped, given)):  # else of a transform of torch.func's only the result can be followed
                self._begin(frame, module, given, [args, kwargs])

    def _kind(self, module: nn.Module) -> str:
        """What becomes of a forward pass that begins: one of another network within a call is a call, too."""
        around = self.around
        if self.record.current is not None:  # a checkpoint that is computed anew within a backward
            return "passed"
        if around is not None and (around.call is None or module in self.parts[around.call.root]):
            return "layer"
        return "passed" if module in self.losses else "call"

    def _begin(self, frame: Frame, module: nn.Module, given: list[Tensor], arguments: list[Any]) -> None:
        inputs = [tensor for tensor in given if readable(tensor)]
        root, network = self.names[module]
        call = Call(
            place=caller(),
            sides=[s for s in self.record.sides if any(module in n.modules() for n in s.networks.values())],
            root=root,
            network=network,
            training=module.training,
            asleep=[n for n, m in module.named_modules() if restless(m) and not m.training],
            inputs=self.mode.origin(given),
            storages=frozenset(tensor.untyped_storage().data_ptr() for tensor in inputs if tensor.numel()),
            drawn=any(tensor in self.mode.noise for tensor in inputs),
            given=tuple(print_of(tensor) for tensor in tensors_in(arguments)) + plain_in(arguments),
            sums=frozenset(float(tensor.detach().double().sum()) for tensor in inputs),
            rows=next((self.mode.rows[tensor] for tensor in inputs if tensor in self.mode.rows), ()),
            kinds=tuple((self._made(tensor), tensor.shape) for tensor in inputs),
        )
        self.mode.root, frame.call = root, self.record.add(call)
        if call.of("D") and inputs:
            call.repeated = repeated(inputs, call.rows)
            call.ranges = {made: extent(parts) for made, parts in split(call, inputs[0].detach()).items()}
            if call.mixed and not call.rows and len({tensor.shape for tensor in inputs}) == 1:
                frame.seen = {self._made(tensor): extent(tensor.detach()) for tensor in inputs}
            self._hook(inputs[0], functools.partial(self._slope, call))
            for node in before(inputs, lambda note: isinstance(note, Call) and note.of("G")):
                if isinstance(node, BackwardCFunction):
                    self.handles.append(node.register_hook(self._turned))

    def _leave(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        frame, around = self.frames.pop(), self.around
        if frame.kind == "layer" and around is not None and around.call is not None:
            self._leave_layer(around.call, result)
        if frame.kind != "call":
            return
        self.mode.inside = around is not None
        if around is not None and around.call is not None:
            self.mode.root = around.call.root
        if frame.call is not None:
            self._end(frame.call, frame.seen, module, result)

    def _end(self, call: Call, seen: dict[bool, tuple[float, float]], module: nn.Module, result: Any) -> None:
        with self.mode.quiet():
            outputs = [tensor for tensor in tensors_in(result) if readable(tensor)]
            kinds = self._kinds(call, outputs)
            call.ranges = seen or call.ranges if kinds else call.ranges
            self.mode.mark(outputs, call)
            if _gives_losses(module, call, outputs):
                self.losses.add(module)
            for place, tensor in enumerate(outputs):
                made = kinds[place] if kinds else None
                among = kinds[:place].count(kinds[place]) if kinds else place
                number = among, tensor.dim(), tensor.dim() > 1 and tensor.shape[1] == 1
                if tensor.grad_fn is not None:
                    notes(tensor.grad_fn).extend([call, Answer(place=call.place, call=call, number=number)])
                    call.bound = call.bound or _bound(tensor)
                if call.of("G") and place == 0:
                    call.span = extent(tensor.detach())
                if call.of("D") and module not in self.losses:
                    for kind, part in (
                        split(call, tensor.detach()) if made is None else {made: tensor.detach()}
                    ).items():
                        call.answers[number, kind] = part.double().flatten()[:: _stride(part)].tolist()
                    self._hook(tensor, functools.partial(self._pull, call, number, made, tensor.detach().clone()))
                elif among == 0 and not call.of("D"):
                    self._hook(tensor, functools.partial(self._slope, call))

    def _leave_layer(self, call: Call, result: Any) -> None:
        """What comes out of a layer belongs to the call, too: a hook may take it from there."""
        with self.mode.quiet():
            outputs = [tensor for tensor in tensors_in(result) if readable(tensor)]
            self.mode.mark(outputs, call)
            for node in (tensor.grad_fn for tensor in outputs if tensor.grad_fn is not None):
                notes(node).append(call)

    def _kinds(self, call: Call, outputs: list[Tensor]) -> list[bool]:
        """Which outputs are for generated samples, if a call took both and answered for each by itself; else nothing.

        Then there are as many of the one kind as of the other, and of the same shapes, in the same order.
        """
        kinds = [self._made(tensor) for tensor in outputs] if call.mixed and not call.rows else []
        shapes = [
            [tensor.shape for tensor, made in zip(outputs, kinds, strict=False) if made == one] for one in (False, True)
        ]
        return kinds if shapes[0] == shapes[1] else []

    def _made(self, tensor: Tensor) -> bool:
        return any(isinstance(event, Call) and event.of("G") for event in self.mode.origin([tensor]))

    def _hook(self, tensor: Tensor, hook: Any) -> None:
        if tensor.requires_grad:
            self.handles.append(tensor.register_hook(hook))

    def _slope(self, call: Call, gradient: Tensor | None) -> None:  # None at a part of a batch that a loss leaves out
        if self.record.current is not None and gradient is not None:
            call.slopes[self.record.current] = gradient.detach().clone()

    def _turned(self, passed: tuple[Tensor | None, ...], came: tuple[Tensor | None, ...]) -> None:
        """Whether a function of the loop's own between G and D turned the gradient round, or took all of it away."""
        event = self.record.current
        with self.mode.quiet():
            for ours, theirs in zip(passed, came, strict=False):
                if event is not None and ours is not None and theirs is not None and ours.shape == theirs.shape:
                    cosine = torch.cosine_similarity(ours.flatten(), theirs.flatten(), dim=0)
                    event.reversed |= bool(cosine < -0.999) or bool(theirs.any() and not ours.any())

    def _pull(self, call: Call, number: Number, kind: bool | None, output: Tensor, gradient: Tensor | None) -> None:
        """Remember which way a loss pulls a discriminator's output, for real and generated samples apart."""
        if self.record.current is None or gradient is None:
            return
        with self.mode.quiet():
            both = margin(output, gradient.detach().double())
            outputs, parts = (split(call, batch) if kind is None else {kind: batch} for batch in both)
            for made, part in parts.items():
                points = torch.stack([outputs[made].double().flatten(), part.flatten()], 1)[:: _stride(part)].tolist()
                pull = Pull(float(part.sum()), float(part.abs().sum()), [(at, slope) for at, slope in points])
                call.pulls.setdefault((self.record.current, number, made), Pull()).add(pull)


def _bound(tensor: Tensor) -> tuple[float, float] | None:
    """What the operation that gave a tensor, whatever its shape is now, keeps it within."""
    nodes = explore([tensor.grad_fn], VIEWS) if tensor.grad_fn is not None else set()
    found = [BOUNDS.get(node.name().rstrip("0123456789")) for node in nodes]
    return next((bound for bound in found if bound is not None), None)


def _stride(part: Tensor) -> int:
    return max(1, part.numel() // MOST)


def _gives_losses(module: nn.Module, call: Call, outputs: list[Tensor]) -> bool:
    """Whether a network of parts answers a batch with single numbers only."""
    batches = [shape for _, shape in call.kinds if shape and shape[0] > 1]
    parts = any(True for _ in module.children()) and not module._parameters
    return bool(batches and outputs and parts) and all(tensor.numel() == 1 for tensor in outputs)


def restless(module: nn.Module) -> bool:
    """Whether a layer does something else in eval mode."""
    if isinstance(module, nn.modules.batchnorm._NormBase):
        return bool(module.track_running_stats)
    if isinstance(module, nn.modules.dropout._DropoutNd):
        return module.p > 0
    return isinstance(module, _SpectralNorm) or any(
        isinstance(hook, SpectralNorm) for hook in module._forward_pre_hooks.values()
    )

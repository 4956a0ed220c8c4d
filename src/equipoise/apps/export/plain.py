"""A generator as plain PyTorch code: layers of torch.nn, a forward pass line by line, and weights by name.

torch.fx follows the forward pass through whatever modules there are down to torch's own layers, so that every network
that it can follow is written out, and none has to be known here. Spectral norms are folded into the weights.
"""

from __future__ import annotations

import ast
import copy
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.nn.utils import parametrize

from equipoise.adapters import GeneratorAdapter
from equipoise.errors import InputError
from equipoise.networks.layers import Upsample
from equipoise.networks.protocols import num_classes

INFIX = {"add": "+", "sub": "-", "mul": "*", "truediv": "/", "matmul": "@", "pow": "**"}
SIDES = ("kernel_size", "stride", "padding", "output_padding", "dilation")
INPUTS = ("latents", "labels")
NAMES = ("x", "h", "y", "u", "v", "w", "p", "q", "r", "s")  # of what is computed, each free again when it is not needed


@dataclass(frozen=True)
class Plain:
    """What a source file of a generator is made of."""

    layers: dict[str, str]  # what each attribute is made by, such as nn.Linear(4, 8)
    lines: list[str]  # of `forward(self, latents, labels)`
    weights: dict[str, Tensor]  # a state dict for these attributes


def plain(generator: nn.Module) -> Plain:
    """The generator in evaluation mode as layers, lines and weights; InputError where its code cannot be followed."""
    network = _simplified(generator)
    parameters = list(inspect.signature(network.forward).parameters)
    try:
        graph = _Tracer().trace(network, None if num_classes(generator) else dict.fromkeys(parameters[1:]))
        _drop_identities(network, graph)
        layers, weights = _layers(network, graph)
        return Plain(layers, list(_lines(graph)), weights)
    except (fx.proxy.TraceError, TypeError, ValueError, AttributeError, RuntimeError, NotImplementedError) as error:
        if isinstance(error, InputError):
            raise
        detail = " ".join(str(error).split())[:200]
        raise InputError(
            f"{type(generator).__name__} cannot be written as plain code, for torch.fx cannot follow it ({detail}); "
            "keep its forward free of decisions on values and shapes"
        ) from None


class _Tracer(fx.Tracer):
    """Stops at torch's own layers, and at classes that change nothing about how one computes."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return _base(m) is not None


def _base(module: nn.Module) -> type[nn.Module] | None:
    """The class of torch.nn that says how this module computes; None where no such class does."""
    known = (kind for kind in type(module).__mro__ if kind.__module__.startswith("torch.nn.modules"))
    base: Any = next(known, nn.Module)
    containers = (nn.Sequential, nn.ModuleList, nn.ModuleDict, nn.Module)
    overridden = type(module).forward is not base.forward
    return None if base in containers or overridden else base


class _Open(nn.Module):
    """An adapter without its checks, which look at tensors that are not there while the code is followed."""

    def __init__(self, adapter: GeneratorAdapter) -> None:
        super().__init__()
        self.module, self.generate, self.conditional = adapter.module, adapter.generate, bool(adapter.num_classes)

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.generate(self.module, latents, labels if self.conditional else None)


def _simplified(generator: nn.Module) -> nn.Module:
    """A copy with its parametrisations worked out, and torch's layer for each of ours that is the same."""
    network = copy.deepcopy(generator).cpu().float().eval().requires_grad_(False)
    for layer in list(network.modules()):
        if parametrize.is_parametrized(layer):
            _fold(layer)
        for name, child in layer.named_children():
            if isinstance(child, Upsample):
                setattr(layer, name, nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False))
    return _Open(network) if isinstance(network, GeneratorAdapter) else network


def _fold(layer: Any) -> None:
    """Put what a layer's parametrisations give in their place.

    PyTorch's own way, `remove_parametrizations`, changes a class that the copy shares with the original.
    """
    values = {name: getattr(layer, name).detach() for name in layer.parametrizations}
    layer.__class__ = parametrize.type_before_parametrizations(layer)
    del layer.parametrizations
    for name, value in values.items():
        layer.register_parameter(name, nn.Parameter(value, requires_grad=False))


def _drop_identities(network: nn.Module, graph: fx.Graph) -> None:
    for node in graph.nodes:
        if node.op == "call_module" and isinstance(_get(network, str(node.target)), (nn.Identity, nn.Dropout)):
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)


def _layers(network: nn.Module, graph: fx.Graph) -> tuple[dict[str, str], dict[str, Tensor]]:
    """The attributes that the code names, in its order, and their weights."""
    made: dict[str, str] = {}
    weights: dict[str, Tensor] = {}
    for node in graph.nodes:
        if node.op not in ("call_module", "get_attr"):
            continue
        name, part = _attribute(node), _get(network, str(node.target))
        if isinstance(part, Tensor):
            made[name] = f"nn.Parameter(torch.empty({tuple(part.shape)}), requires_grad=False)"
            weights[name] = part.contiguous().clone()
        else:
            base = _base(part)
            assert base is not None  # or it would not have been a leaf
            made[name] = _constructor(base, part.extra_repr())
            weights |= {f"{name}.{key}": value.contiguous().clone() for key, value in part.state_dict().items()}
    return made, weights


def _constructor(base: type[nn.Module], said: str) -> str:
    """A layer's constructor by what it says of itself, without what is the default anyway.

    A batch norm without scale has no shift either; that it says so is news in PyTorch 2.13, which older ones refuse.
    """
    call = ast.parse(f"{base.__name__}({said})", mode="eval").body
    assert isinstance(call, ast.Call)
    given = {str(one.arg): ast.literal_eval(one.value) for one in call.keywords}
    if given.get("affine") is False:
        given.pop("bias", None)
    positional, keywords = [ast.unparse(one) for one in call.args], []
    for name, parameter in list(inspect.signature(base).parameters.items())[len(positional) :]:
        if name not in given:
            continue
        value = given[name]
        if name in SIDES and isinstance(value, tuple) and len(set(value)) == 1:
            value = value[0]  # the same along each axis
        if parameter.default is inspect.Parameter.empty:
            positional.append(repr(value))
        elif value != parameter.default:
            keywords.append(f"{name}={value!r}")
    return f"nn.{base.__name__}({', '.join(positional + keywords)})"


def _lines(graph: fx.Graph) -> Iterator[str]:
    """The forward pass, a line each; a value that is needed no longer gives its name to what is computed from it."""
    last = {used: node for node in graph.nodes for used in node.all_input_nodes}
    text: dict[Any, str] = {}  # what each node is written as
    free, inputs = list(NAMES), iter(INPUTS)
    for node in graph.nodes:
        if node.op == "placeholder":
            text[node] = next(inputs)
        elif node.op == "get_attr":
            text[node] = f"self.{_attribute(node)}"
        elif node.op == "output":
            yield f"return {_written(node.args[0], text)}"
        elif node.users:
            expression = _expression(node, text)
            free = [text[used] for used in node.all_input_nodes if last[used] is node and text[used] in NAMES] + free
            text[node] = free.pop(0)
            yield f"{text[node]} = {expression}"


def _expression(node: fx.Node, text: dict[Any, str]) -> str:
    """A call as source code."""
    target: Any = node.target
    if node.op == "call_module":
        return f"self.{_attribute(node)}({_arguments(node, text)})"
    if node.op == "call_method":
        return f"{_written(node.args[0], text)}.{target}({_arguments(node, text, skip=1)})"
    name = str(target.__name__)
    if target.__module__ == "_operator":
        arguments = [_written(value, text) for value in node.args]
        if name == "getitem":
            return f"{arguments[0]}[{_index(node.args[1], text)}]"
        if name == "neg":
            return f"-{arguments[0]}"
        if name in INFIX:
            return f"{arguments[0]} {INFIX[name]} {arguments[1]}"
    place = next((place for place, home in (("torch", torch), ("F", F)) if getattr(home, name, None) is target), None)
    if place is None:
        raise InputError(f"the generator calls {name}, which is no function of torch, so it cannot be written out")
    return f"{place}.{name}({_arguments(node, text)})"


def _arguments(node: fx.Node, text: dict[Any, str], skip: int = 0) -> str:
    """What is handed over; keywords that say what is the default anyway are left out."""
    defaults: dict[str, Any] = {}
    if node.op == "call_function" and inspect.isfunction(node.target):
        defaults = {key: value.default for key, value in inspect.signature(node.target).parameters.items()}
    said = [_written(value, text) for value in node.args[skip:]]
    said += [
        f"{key}={_written(value, text)}"
        for key, value in node.kwargs.items()
        if key not in defaults or isinstance(value, fx.Node) or value != defaults[key]
    ]
    return ", ".join(said)


def _written(value: Any, text: dict[Any, str]) -> str:
    if isinstance(value, fx.Node):
        return text[value]
    if isinstance(value, (list, tuple)):
        inner = ", ".join(_written(item, text) for item in value)
        return f"[{inner}]" if isinstance(value, list) else f"({inner}{',' if len(value) == 1 else ''})"
    return repr(value)


def _index(value: Any, text: dict[Any, str]) -> str:
    if isinstance(value, tuple):
        return ", ".join(_index(item, text) for item in value)
    if isinstance(value, slice):
        ends = ["" if end is None else _written(end, text) for end in (value.start, value.stop, value.step)]
        return ":".join(ends if ends[2] else ends[:2])
    return _written(value, text)


def _attribute(node: fx.Node) -> str:
    """trunk.0.weight as an attribute's name."""
    return str(node.target).replace(".", "_")


def _get(network: nn.Module, path: str) -> Any:
    value: Any = network
    for name in path.split("."):
        value = getattr(value, name)
    return value

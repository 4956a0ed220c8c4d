"""Weight initialisation and parametrisation by name: every network takes every one of them."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.utils import parametrize

from equipoise.errors import InputError
from equipoise.registry import find, register, suggest

SLOPE = 0.2  # of the leaky ReLU that the gains below suppose
NORMS = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)


def initialise(module: nn.Module, name: str, **options: Any) -> None:
    """Re-initialise a network in place by name; several names joined by "+" are applied in that order.

    Draws from torch's default generator. Spectral norm keeps its place: the weight beneath it is drawn anew and its
    singular vectors follow. Raises InputError for an unknown name or option, or where the network lacks what it needs.
    """
    names = name.split("+")
    if options and len(names) > 1:
        raise InputError(
            f"options {sorted(options)} fit one initialisation and {name!r} names several; call each by itself."
        )
    for one in names:
        part = find("initialisation", one.strip()).part
        known = list(inspect.signature(part).parameters)[1:]
        for option in options:
            if option not in known:
                raise InputError(f"the initialisation {one!r} has no option {option!r}{suggest(option, known)}")
        part(module, **options)


@register(
    "initialisation", "dcgan-normal", paper="arXiv:1511.06434", claim="weights N(0, 0.02^2), for nets with batch norm"
)
def dcgan_normal(module: nn.Module, std: float = 0.02) -> None:
    """Weights N(0, std^2), normalisation scales N(1, std^2), biases 0."""
    _draw(module, lambda layer, weight: nn.init.normal_(weight, std=std))
    for layer in module.modules():
        if isinstance(layer, NORMS) and layer.weight is not None:
            nn.init.normal_(layer.weight, mean=1.0, std=std)


@register(
    "initialisation", "xavier", claim="keeps the variance both ways through linear layers; the SN-GAN family's own"
)
def xavier(module: nn.Module, gain: float = 1.0) -> None:
    """Uniform with std gain * sqrt(2 / (fan_in + fan_out)) (Glorot & Bengio 2010)."""

    def draw(layer: nn.Module, weight: Tensor) -> None:
        bound = gain * math.sqrt(6 / sum(fans(layer)))
        nn.init.uniform_(weight, -bound, bound)

    _draw(module, draw)


@register(
    "initialisation", "kaiming", paper="arXiv:1502.01852", claim="keeps the variance forwards through leaky ReLUs"
)
def kaiming(module: nn.Module, slope: float = SLOPE) -> None:
    """N(0, 2 / ((1 + slope^2) fan_in)) (He et al. 2015)."""
    _draw(module, partial(_scaled_normal, gain=leaky_gain(slope)))


@register("initialisation", "orthogonal", paper="arXiv:1312.6120", claim="every singular value 1; BigGAN's own")
def orthogonal(module: nn.Module, gain: float = 1.0) -> None:
    """W W^T = gain^2 I for the matrix (out, in * cells), or W^T W where it is tall (Saxe et al. 2014)."""

    def draw(layer: nn.Module, weight: Tensor) -> None:
        matrix = weight.transpose(0, 1) if isinstance(layer, _ConvTransposeNd) and layer.groups == 1 else weight
        weight_as_drawn = nn.init.orthogonal_(torch.empty(matrix.shape, dtype=weight.dtype, device=weight.device), gain)
        matrix.copy_(weight_as_drawn)

    _draw(module, draw)


class Scale(nn.Module):
    """Multiply a stored weight by a constant whenever it is used."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.scale

    def extra_repr(self) -> str:
        return f"{self.scale:.6g}"


@register(
    "initialisation",
    "equalised",
    paper="arXiv:1710.10196",
    claim="one learning rate suits every layer, whatever its fan-in",
)
def equalised(module: nn.Module, gain: float | None = None) -> None:
    """Store N(0, 1) and use it times gain / sqrt(fan_in) (Karras et al. 2018); the gain is by default kaiming's.

    Weights under spectral norm are only stored at unit size: the norm divides any factor out again. The networks want
    learning rates of the order of 1e-3 after this, not 1e-4. The parameters are new ones, so make the optimiser after.
    """
    gain = leaky_gain(SLOPE) if gain is None else gain
    _draw(module, lambda layer, weight: nn.init.normal_(weight))
    for layer in list(module.modules()):
        if isinstance(layer, (_ConvNd, nn.Linear)) and not is_spectral(layer):
            parametrize.register_parametrization(layer, "weight", Scale(gain / math.sqrt(fans(layer)[0])))


class UnitFilters(nn.Module):
    """Use each output's filter at norm `gain`, whatever the size it is stored at; `unit` stores it at unit RMS.

    A learned `strength`, 1 at first, multiplies all filters of the layer on request.
    """

    def __init__(self, layer: nn.Module, gain: float, learned: bool = False) -> None:
        super().__init__()
        self.axis, self.gain = (1 if isinstance(layer, _ConvTransposeNd) else 0), gain
        self.strength = nn.Parameter(_stored(layer).new_ones([])) if learned else None

    def forward(self, weight: Tensor) -> Tensor:
        filters = self.gain * weight / self._norm(weight)
        return filters if self.strength is None else self.strength * filters

    @torch.no_grad()
    def unit(self, stored: Tensor) -> None:
        """Overwrite a stored weight by its filters at unit root mean square."""
        stored.mul_(math.sqrt(stored.numel() / stored.shape[self.axis]) / self._norm(stored))

    def _norm(self, weight: Tensor) -> Tensor:
        axes = [axis for axis in range(weight.dim()) if axis != self.axis]
        norm: Tensor = torch.linalg.vector_norm(weight, dim=axes, keepdim=True)
        return norm + 1e-4

    def extra_repr(self) -> str:
        return f"{self.gain:.6g}"


def projections(network: nn.Module) -> list[Callable[[], None]]:
    """What is to be done to a network's stored weights after every update: nothing, but for unit filters."""
    lists = [m for m in network.modules() if isinstance(m, parametrize.ParametrizationList)]
    return [partial(step.unit, many.original) for many in lists for step in many if isinstance(step, UnitFilters)]


@register(
    "initialisation",
    "magnitude-preserving",
    paper="arXiv:2312.02696",
    claim="weights cannot grow, so a learning rate keeps its meaning through the run",
)
def magnitude_preserving(module: nn.Module, gain: float | None = None) -> None:
    """Store filters at unit root mean square, use them at norm `gain`, and project back after every update.

    EDM2's weights (Karras et al. 2024, arXiv:2312.02696) on these networks, whose activations are plain leaky ReLUs:
    the gain is by default kaiming's, which keeps the second moment (1.386750 at slope 0.2); 1.546460 would keep the
    standard deviation where the mean is taken away after each activation. A transposed convolution of stride s sums
    over s^d times fewer inputs, which its gain makes up for, and the last layers of L residual branches have gain
    1 / sqrt(L), so that a network without normalisation keeps its scale. The layer called `output` has a learned factor
    besides, as in EDM2: weights of a fixed size could not give logits theirs. A learning rate is the relative change of
    a weight per step: of the order of 1e-3 to 1e-2, and falling, since no growing weight slows the learning down.
    Weights under spectral norm are stored at unit size only, since the norm divides any factor out again.
    """
    gain = leaky_gain(SLOPE) if gain is None else gain
    _draw(module, lambda layer, weight: nn.init.normal_(weight))
    shown: list[Any] = [
        block.residual_layers for block in module.modules() if getattr(block, "residual_layers", None) is not None
    ]
    last = [branch[-1] for branch in shown]
    for name, layer in list(module.named_modules()):
        if isinstance(layer, (_ConvNd, nn.Linear)) and not is_spectral(layer):
            strides = math.prod(layer.stride) if isinstance(layer, _ConvTransposeNd) else 1
            own = len(last) ** -0.5 if any(layer is one for one in last) else gain
            unit = UnitFilters(layer, own * math.sqrt(strides), learned=name.rpartition(".")[2] == "output")
            parametrize.register_parametrization(layer, "weight", unit)
            unit.unit(_stored(layer))


@register(
    "initialisation", "zero-residual", paper="arXiv:1706.02677", claim="every residual block starts as its shortcut"
)
def zero_residual(module: nn.Module) -> None:
    """Zero the last layer of each residual branch and leave the rest: an addition, as in "orthogonal+zero-residual"."""
    for branch in residual_branches(module, "zero-residual"):
        last = branch[-1]
        if is_spectral(last):
            raise InputError(
                "zero-residual and fixup set the last layer of each residual branch to 0 and spectral norm divides by"
                " its largest singular value, which is 0 then; take norm_D='none' or another initialisation."
            )
        if any(isinstance(step, UnitFilters) for step in _parametrisations(last)):
            raise InputError(
                "zero-residual sets the last layer of each residual branch to 0, and magnitude-preserving gives every"
                " filter a fixed size; take one of them."
            )
        _assign(last, lambda layer, weight: nn.init.zeros_(weight))


@register("initialisation", "fixup", paper="arXiv:1901.09321", claim="trains deep residual nets without normalisation")
def fixup(module: nn.Module, slope: float = SLOPE) -> None:
    """The last layer of each of L residual branches 0, its others kaiming times L^(-1/(2m - 2)), m layers per branch.

    Layers outside the branches are linear here, so they get gain 1 (Zhang, Dauphin & Ma 2019).
    """
    _draw(module, partial(_scaled_normal, gain=1.0))
    branches = residual_branches(module, "fixup")
    for branch in branches:
        gain = leaky_gain(slope) * fixup_factor(len(branches), len(branch))
        for layer in branch[:-1]:
            _assign(layer, partial(_scaled_normal, gain=gain))
    zero_residual(module)


def leaky_gain(slope: float) -> float:
    """The factor that keeps the second moment through a leaky ReLU: sqrt(2 / (1 + slope^2)), 1.386750 at 0.2."""
    return math.sqrt(2 / (1 + slope**2))


def fixup_factor(blocks: int, layers: int) -> float:
    """L^(-1/(2m - 2)) for L residual blocks of m layers; 1 where the zeroed layer is the only one."""
    return float(blocks ** (-1 / (2 * layers - 2))) if layers > 1 else 1.0


def fans(layer: nn.Module) -> tuple[float, float]:
    """(fan_in, fan_out): how many inputs an output sums over, and how many outputs an input reaches.

    A transposed convolution of stride s spreads its k cells over s^d outputs, so each sums in * k / s^d of them.
    """
    if isinstance(layer, _ConvNd):
        cells = math.prod(layer.kernel_size)
        strides = math.prod(layer.stride) if isinstance(layer, _ConvTransposeNd) else 1
        return layer.in_channels / layer.groups * cells / strides, layer.out_channels / layer.groups * cells
    assert isinstance(layer, nn.Linear)
    return layer.in_features, layer.out_features


def is_spectral(layer: nn.Module) -> bool:
    """Whether the layer's weight is divided by its largest singular value."""
    return any(type(step).__name__ == "_SpectralNorm" for step in _parametrisations(layer))


def residual_branches(module: nn.Module, wanted_by: str) -> list[list[nn.Module]]:
    """The weighted layers of each residual branch, first to last; a block shows them as its `residual_layers`."""
    shown = (getattr(block, "residual_layers", None) for block in module.modules())
    found = [list(branch) for branch in shown if branch is not None]
    if not found:
        raise InputError(
            f"the initialisation {wanted_by!r} is about residual branches and {type(module).__name__} has none; choose"
            " another one, or give your blocks an attribute `residual_layers` that lists the layers of their branch."
        )
    return found


Draw = Callable[[nn.Module, Tensor], object]  # fills the stored weight of the layer in place


def _draw(module: nn.Module, draw: Draw) -> None:
    """Fill the weights of all layers by `draw`, zero their biases, and reset what else can reset itself."""
    for layer in list(module.modules()):
        reset = getattr(layer, "reset_parameters", None)
        if isinstance(layer, (_ConvNd, nn.Linear)):
            _drop_scale(layer)
            _assign(layer, draw)
        elif (isinstance(layer, nn.Embedding) or hasattr(layer, "std")) and parametrize.is_parametrized(layer):
            _assign(layer, lambda layer, weight: nn.init.normal_(weight, std=getattr(layer, "std", 1.0)))
        elif callable(reset):
            reset()


def _assign(layer: nn.Module, draw: Draw) -> None:
    with torch.no_grad():
        draw(layer, _stored(layer))
        bias = getattr(layer, "bias", None)
        if isinstance(bias, Tensor):
            bias.zero_()
    if is_spectral(layer):
        _settle(layer)


def _drop_scale(layer: nn.Module) -> None:
    """Take an earlier equalised learning rate off again."""
    steps = _parametrisations(layer)
    if steps and all(isinstance(step, (Scale, UnitFilters)) for step in steps):
        parametrize.remove_parametrizations(layer, "weight")


def _settle(layer: nn.Module, iterations: int = 15) -> None:
    """Bring the singular vectors of spectral norm to a new weight: in training mode each reading is one iteration."""
    was_training = layer.training
    layer.train()
    with torch.no_grad():
        for _ in range(iterations):
            layer.weight  # noqa: B018
    layer.train(was_training)


def _scaled_normal(layer: nn.Module, weight: Tensor, gain: float) -> None:
    nn.init.normal_(weight, std=gain / math.sqrt(fans(layer)[0]))


def _parametrisations(layer: Any) -> list[nn.Module]:
    return list(layer.parametrizations["weight"]) if parametrize.is_parametrized(layer, "weight") else []


def _stored(layer: Any) -> Tensor:
    """The parameter beneath whatever parametrisation the weight has."""
    parametrised = parametrize.is_parametrized(layer, "weight")
    stored: Tensor = layer.parametrizations["weight"].original if parametrised else layer.weight
    return stored

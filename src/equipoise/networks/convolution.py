"""Convolutions whose second derivatives take what their first do.

A gradient penalty differentiates the gradient of a convolution. On CUDA, PyTorch does that with convolutions over the
batch whose kernels are as large as the images, and group by group: ten times the time that the arithmetic asks for. A
convolution is linear in images and in weights, so that its derivatives of any order are three operations, each of which
has the two others as its derivatives. With the sum s = <g, convolve(x, w)>, they are ds/dg, ds/dx and ds/dw.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class Layout(NamedTuple):
    """What a convolution is beside its weights."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int


class _Operation(torch.autograd.Function):
    """Of two tensors and a layout; what else it takes is a size."""

    generate_vmap_rule = True

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:2])
        ctx.layout = inputs[2]


class Convolve(_Operation):
    """ds/dg: images [N, C, ...] and weights [F, C / groups, ...] to [N, F, ...]."""

    @staticmethod
    def forward(x: Tensor, w: Tensor, layout: Layout) -> Tensor:
        return torch.convolution(x, w, None, *layout[:3], False, (0,) * len(layout.stride), layout.groups)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, w = ctx.saved_tensors
        to_images, to_weights = ctx.needs_input_grad[:2]
        return (
            _made(ToImages, g, w, ctx.layout, x.shape[2:]) if to_images else None,
            _made(ToWeights, x, g, ctx.layout, w.shape[2:]) if to_weights else None,
            None,
        )


class ToImages(_Operation):
    """ds/dx: gradients [N, F, ...] and weights to [N, C, ...], a transposed convolution."""

    @staticmethod
    def forward(g: Tensor, w: Tensor, layout: Layout, size: torch.Size) -> Tensor:
        least = (
            (out - 1) * stride - 2 * padding + dilation * (kernel - 1) + 1
            for out, kernel, stride, padding, dilation in zip(g.shape[2:], w.shape[2:], *layout[:3], strict=True)
        )
        missing = [side - reached for side, reached in zip(size, least, strict=True)]  # cells that a stride passed over
        return torch.convolution(g, w, None, *layout[:3], True, missing, layout.groups)

    @staticmethod
    def backward(ctx: Any, x: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        g, w = ctx.saved_tensors
        to_gradients, to_weights = ctx.needs_input_grad[:2]
        return (
            _made(Convolve, x, w, ctx.layout) if to_gradients else None,
            _made(ToWeights, x, g, ctx.layout, w.shape[2:]) if to_weights else None,
            None,
            None,
        )


class ToWeights(_Operation):
    """ds/dw: images and gradients to [F, C / groups, ...]."""

    @staticmethod
    def forward(x: Tensor, g: Tensor, layout: Layout, size: torch.Size) -> Tensor:
        like = x.new_empty(1).expand(g.shape[1], x.shape[1] // layout.groups, *size)  # only its shape is read
        derivatives: list[Tensor] = torch.ops.aten.convolution_backward(
            g, x, like, None, *layout[:3], False, (0,) * len(size), layout.groups, (False, True, False)
        )
        return derivatives[1]

    @staticmethod
    def backward(ctx: Any, w: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x, g = ctx.saved_tensors
        to_images, to_gradients = ctx.needs_input_grad[:2]
        return (
            _made(ToImages, g, w, ctx.layout, x.shape[2:]) if to_images else None,
            _made(Convolve, x, w, ctx.layout) if to_gradients else None,
            None,
            None,
        )


def _made(operation: Any, *given: Any) -> Tensor:
    made: Tensor = operation.apply(*given)
    return made


def convolve(
    x: Tensor,  # [N, C, ...], 1 to 3 spatial dimensions
    w: Tensor,  # [F, C / groups, ...]
    bias: Tensor | None,  # [F]
    layout: Layout,
) -> Tensor:
    """The convolution [N, F, ...], in derivatives of any order by these three operations."""
    made = _made(Convolve, x, w, layout)
    return made if bias is None else made + bias.reshape(-1, *[1] * (x.dim() - 2))


class _Quick:
    """A convolution layer that takes this way where it is the quicker one.

    That is in float32 on CUDA, where a penalty may be on its way. What is judged in bfloat16 is differentiated once; a
    CPU gains nothing. Padding other than with a number of zeros is left to PyTorch.
    """

    stride: Any
    padding: Any
    padding_mode: Any
    dilation: Any
    groups: int

    def quick(self, input: Tensor) -> bool:
        """Whether it takes this way for such images."""
        plain = self.padding_mode == "zeros" and not isinstance(self.padding, str)
        once = torch.is_autocast_enabled("cuda") or not torch.is_grad_enabled()
        return plain and input.is_cuda and not once

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:  # named by torch
        if self.quick(input) and input.dim() == weight.dim():  # a batch
            return convolve(input, weight, bias, Layout(self.stride, self.padding, self.dilation, self.groups))
        made: Tensor = super()._conv_forward(input, weight, bias)  # type: ignore[misc]  # of the layer beside it
        return made


class Conv1d(_Quick, nn.Conv1d):
    """nn.Conv1d with quick second derivatives."""


class Conv2d(_Quick, nn.Conv2d):
    """nn.Conv2d with quick second derivatives."""


class Conv3d(_Quick, nn.Conv3d):
    """nn.Conv3d with quick second derivatives."""

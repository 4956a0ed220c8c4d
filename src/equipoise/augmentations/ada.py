"""ADA's 18 transforms (Karras et al. 2020, arXiv:2006.06676, appendix B), each with its chance for each image."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from equipoise.augmentations._colour import colour, draw_colour
from equipoise.augmentations._filter import draw_gains, equalise
from equipoise.augmentations._geometry import draw_blit, draw_geom, warp
from equipoise.augmentations._images import beside, in_full_precision, maybe, per_image, square_mask, strength
from equipoise.errors import InputError
from equipoise.registry import register, suggest

GROUPS = {  # in the order they are applied
    "blit": ("flip", "rotate90", "shift"),
    "geom": ("scale", "rotate", "stretch", "translate"),
    "color": ("brightness", "contrast", "lumaflip", "hue", "saturation"),
    "filter": ("band1", "band2", "band3", "band4"),
    "noise": ("noise",),
    "cutout": ("cutout",),
}
PRESETS = {
    "bg": "blit,geom",
    "bgc": "blit,geom,color",
    "bgcf": "blit,geom,color,filter",
    "bgcfn": "blit,geom,color,filter,noise",
    "bgcfnc": "blit,geom,color,filter,noise,cutout",
    "r3gan": "blit,geom,color*0.5,cutout",  # Huang et al. 2024, arXiv:2501.05441
}
TRANSFORMS = tuple(name for group in GROUPS.values() for name in group)


def multipliers(
    preset: str,  # names of presets, groups and transforms, joined by commas, each with `*factor` where it is not 1
) -> dict[str, float]:
    """Each transform's multiplier of p, in the order they are applied; what comes later in the text wins."""
    found: dict[str, float] = {}
    for part in preset.split(","):
        name, star, factor = (piece.strip() for piece in part.partition("*"))
        try:
            weight = float(factor) if star else 1.0
        except ValueError:
            weight = -1.0
        if not 0 <= weight < float("inf"):
            raise InputError(
                f"ada cannot read {part.strip()!r}; write a name, or name*factor with a factor of 0 or more"
            )
        if name in PRESETS:
            found |= {one: weight * its for one, its in multipliers(PRESETS[name]).items()}
        elif name in GROUPS or name in TRANSFORMS:
            found |= dict.fromkeys(GROUPS.get(name, (name,)), weight)
        else:
            raise InputError(
                f"ada has no preset or transform {name!r}{suggest(name, [*PRESETS, *GROUPS, *TRANSFORMS])}"
            )
    return {name: found[name] for name in TRANSFORMS if found.get(name)}


class Draw(NamedTuple):
    """What to do to N images; None where no transform of the group is in use."""

    blit: Tensor | None  # [N, 3, 3]
    geom: Tensor | None  # [N, 3, 3]
    colour: Tensor | None  # [N, 4, 4]
    gains: Tensor | None  # [N, 4]
    deviation: Tensor | None  # [N]: of the noise
    noise: Tensor | None  # [N, C, H, W], of deviation 1
    hole: Tensor | None  # [N, 2]: centre of the cutout in shares of height and width; beyond the image: none


@register(
    "augmentation",
    "ada",
    paper="arXiv:2006.06676",
    formula="18 transforms of reals and fakes, each with probability p times its own",
    claim="keeps the discriminator from memorising little data, as strongly as it takes",
    treats="DF DO",
    cost="a tenth of a step (dcgan with r1 at 32x32 on a CPU)",
)
class ADA(nn.Module):
    """ADA's transforms (Karras et al. 2020, arXiv:2006.06676) of reals and fakes, with probability p for each image.

    Images `[N, C, H, W]` in about [-1, 1] with C = 1 or 3, or any C without color. Each transform has the probability p
    times its own multiplier, 1 unless the preset says otherwise. The generator learns the data without the transforms
    as long as p stays below about 0.8. At p=0 images pass to the bit. `forward` draws and changes; to show other images
    the same changes, keep what `draw` returns and `change` them by it.

    Geometry is one resampling and colour one matrix, however many transforms come together; images that only flips,
    quarter turns and whole translations meet are copied, not resampled.
    """

    dials = ("p",)
    p: Tensor

    def __init__(
        self,
        preset: str = "bgc",  # bg | bgc | bgcf | bgcfn | bgcfnc | r3gan, or e.g. "blit,color*0.5,hue*0"
        p: float = 0.2,  # 0 to 1: chance of each transform for each image; a loop may start from 0
    ) -> None:
        super().__init__()
        self.multipliers = multipliers(preset)
        self.register_buffer("p", strength("ada", p))

    def forward(self, images: Tensor, labels: Tensor | None, is_real: bool) -> tuple[Tensor, Tensor | None]:
        return in_full_precision("ada", lambda full: self.change(full, self.draw(full)), images), labels

    def draw(self, images: Tensor) -> Draw:
        """What to do to each of these images; only their shape, type and device are read."""
        like, size = per_image(images), (images.shape[2], images.shape[3])
        chances = {name: self.p.to(like.dtype) * multiplier for name, multiplier in self.multipliers.items()}
        used = {group for group, names in GROUPS.items() if any(name in chances for name in names)}
        return Draw(
            blit=draw_blit(like, size, chances) if "blit" in used else None,
            geom=draw_geom(like, size, chances) if "geom" in used else None,
            colour=draw_colour(like, chances) if "color" in used else None,
            gains=draw_gains(like, chances) if "filter" in used else None,
            deviation=maybe(torch.randn_like(like).abs() * 0.1, 0.0, chances["noise"]) if "noise" in used else None,
            noise=torch.randn(images.shape, dtype=like.dtype, device=like.device) if "noise" in used else None,
            hole=_draw_hole(like, chances["cutout"]) if "cutout" in used else None,
        )

    def change(self, images: Tensor, drawn: Draw) -> Tensor:
        """Do to images what was drawn."""
        if drawn.blit is not None or drawn.geom is not None:
            images = warp(images, drawn.blit, drawn.geom)
        if drawn.colour is not None:
            images = colour(images, drawn.colour)
        if drawn.gains is not None:
            images = equalise(images, drawn.gains)
        if drawn.deviation is not None and drawn.noise is not None:
            deviation = beside(drawn.deviation)
            images = torch.where(deviation > 0, images + drawn.noise * deviation, images)
        return images if drawn.hole is None else cut_out(images, drawn.hole)


def _draw_hole(like: Tensor, chance: Tensor) -> Tensor:
    centre = torch.stack([torch.rand_like(like), torch.rand_like(like)], 1)
    return centre.masked_fill((torch.rand_like(like) >= chance)[:, None], 2.0)


def cut_out(
    images: Tensor,  # [N, C, H, W]
    centre: Tensor,  # [N, 2]: in shares of height and width
) -> Tensor:
    """Set a rectangle of half the size each way to zero: the pixels whose centres are in it."""
    height, width = images.shape[2:]
    top, left = centre[:, 0] * height - height / 4 - 0.5, centre[:, 1] * width - width / 4 - 0.5
    return images.masked_fill(square_mask(images, top, left, height / 2, width / 2), 0.0)

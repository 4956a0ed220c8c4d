"""DiffAugment and ADA: exact where they copy, near slow versions elsewhere, right in rates and gradients."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.autograd import gradcheck, gradgradcheck
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from equipoise.augmentations import _colour, _filter, _geometry, _resample, compose, unchanged
from equipoise.augmentations import diffaugment as da
from equipoise.augmentations._images import take
from equipoise.augmentations._matrices import is_identity, product
from equipoise.augmentations.ada import ADA, GROUPS, PRESETS, TRANSFORMS, cut_out, multipliers
from equipoise.augmentations.diffaugment import DiffAugment
from equipoise.errors import InputError
from equipoise.registry import find
from plants import batch_of, changed, small_step, snapshot

ALL = "bgcfnc"
BOTH = [
    pytest.param(lambda p=1.0: ADA(ALL, p), id="ada"),
    pytest.param(lambda p=1.0: DiffAugment(p=p), id="diffaugment"),
]
f64 = torch.float64


def noise(*shape, dtype=f64, seed=0):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def shown(augmentation, images):
    return augmentation(images, None, True)[0]


def bits(tensor):
    return tensor.contiguous().reshape(-1).view(torch.uint8)


def many(count, size=32, channels=3):
    """Images of which only the shape is real."""
    return torch.zeros(1, dtype=f64).expand(count, channels, size, size)


def turned(degrees, count=1):
    angle = torch.full((count,), math.radians(degrees), dtype=f64)
    return _geometry.turning(angle.cos(), angle.sin())


# ------------------------------------------------------------------------------------------------ both of them


@pytest.mark.parametrize("make", BOTH)
@pytest.mark.parametrize("dtype", [torch.float32, f64, torch.bfloat16])
@pytest.mark.parametrize("channels", [1, 3])
def test_at_p_0_every_bit_passes(make, dtype, channels):
    images = noise(16, channels, 8, 8).to(dtype)
    images[:, :, 0] = -0.0
    labels = torch.arange(16)
    out, kept = make(0.0)(images, labels, True)
    assert torch.equal(bits(out), bits(images)) and out.dtype == dtype and kept is labels


@pytest.mark.parametrize("make", BOTH)
@pytest.mark.parametrize("channels", [1, 3])
def test_gradients_and_their_gradients(make, channels):
    torch.manual_seed(0)
    augmentation, images = make(0.7), noise(2, channels, 5, 5).requires_grad_()
    drawn = augmentation.draw(images)
    assert gradcheck(lambda x: augmentation.change(x, drawn), images, fast_mode=True)
    assert gradgradcheck(lambda x: augmentation.change(x, drawn).sin(), images, fast_mode=True)


@pytest.mark.parametrize("make", BOTH)
def test_a_draw_can_be_replayed_and_follows_the_seed(make):
    augmentation, images = make(), noise(8, 3, 16, 16)
    drawn = augmentation.draw(images)
    first = augmentation.change(images, drawn)
    assert torch.equal(augmentation.change(images, drawn), first)
    outs = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        outs.append(shown(augmentation, images))
    assert torch.equal(outs[0], outs[1]) and not torch.equal(outs[0], outs[2])


@pytest.mark.parametrize("make", BOTH)
@pytest.mark.parametrize("size", [(8, 8), (9, 9), (32, 32), (64, 64), (8, 12), (2, 2)])
@pytest.mark.parametrize("channels", [1, 3])
def test_sizes_and_memory_formats(make, size, channels):
    images, out = noise(4, channels, *size, dtype=torch.float32), []
    for memory in (torch.contiguous_format, torch.channels_last):
        torch.manual_seed(0)
        given = images.contiguous(memory_format=memory)
        out.append(shown(make(), given))
        assert out[-1].shape == given.shape and out[-1].isfinite().all()
        assert out[-1].is_contiguous(memory_format=memory)
    assert torch.allclose(*out, atol=1e-5)


@pytest.mark.parametrize("make", BOTH)
def test_autocast_changes_nothing(make):
    images, out = noise(4, 3, 16, 16, dtype=torch.float32), []
    for mixed in (False, True):
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            out.append(shown(make(), images))
    assert out[1].dtype == torch.float32 and torch.equal(*out)
    assert shown(make(), images.bfloat16()).dtype == torch.bfloat16


class Watch(TorchDispatchMode):
    """Fails where a tensor is made of numbers on the host, or brought from one device to another."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        assert "lift_fresh" not in str(func), "a table on the host would be copied to the device"
        assert len({t.device for t in tree_leaves((args, kwargs, out)) if isinstance(t, torch.Tensor)}) <= 1
        return out


def twice(augmentation, images, drawn=None):
    drawn = augmentation.draw(images) if drawn is None else drawn
    (slope,) = torch.autograd.grad(augmentation.change(images, drawn).sin().sum(), images,
                                   create_graph=True)  # fmt: skip
    return torch.autograd.grad(slope.square().sum(), images)


@pytest.mark.parametrize("make", BOTH)
def test_nothing_is_read_from_the_device_or_brought_to_it(make):
    with FakeTensorMode():
        augmentation, images = make(), torch.randn(4, 3, 8, 8, requires_grad=True)
        augmentation.p.constant = None  # else the number just written would be remembered
        twice(augmentation, images)
        shown(augmentation, images)
        with pytest.raises(DataDependentOutputException):
            float(augmentation.p)
    for device in ("cpu", "meta"):
        augmentation = make().to(device)
        with Watch():
            twice(augmentation, torch.randn(4, 3, 8, 8, device=device, requires_grad=True))
    for unfit in (lambda: torch.tensor([1.0]), lambda: torch.zeros([]) + torch.zeros(2, device="meta")):
        with pytest.raises(AssertionError), Watch():
            unfit()


@pytest.mark.parametrize("name", ["ada", "diffaugment"])
def test_penalties_reach_the_discriminator_through_augmentations(name):
    """The gradient of R1 with respect to D's weights is that of finite differences under the same draw."""
    step = small_step((3, 8, 8), terms={"r1": {"gamma": 1.0}}, augmentations={name: {}})
    step.augmentations[name].p.fill_(0.8)
    images, _ = batch_of(step, 0, shape=(3, 8, 8))
    latents, weight = noise(8, 4), next(p for p in step.networks["D"].parameters() if p.dim() > 1)

    def penalty():
        torch.manual_seed(1)
        turn = step.turn("D", images, None, latents, step.due("D"))
        return step.objective(turn, step.due("D"))["r1"].mean()

    (slope,) = torch.autograd.grad(penalty(), weight)
    assert slope.isfinite().all() and (slope != 0).any()
    direction, values = noise(*weight.shape), []
    for sign in (1, -1):
        weight.data += sign * 1e-6 * direction
        values.append(float(penalty().detach()))
        weight.data -= sign * 1e-6 * direction
    assert (values[0] - values[1]) / 2e-6 == pytest.approx(float((slope * direction).sum()), rel=1e-5)


@pytest.mark.parametrize("name", ["ada", "diffaugment"])
def test_whole_moves_through_augmentations(name):
    step = small_step((1, 8, 8), terms={"r1": {}, "r2": {}}, augmentations={name: {}})
    before = snapshot(step)
    for role in ("D", "G"):
        step.move(role, *batch_of(step, 0), step.due(role))
        assert float(step.optimisers[role].norm) > 0 and not step.alarm[role]
    assert any(key.startswith("G.") for key in changed(before, snapshot(step)))


def test_composition():
    images, labels = noise(2, 1, 4, 4), torch.arange(2)
    assert compose([]) is unchanged and unchanged(images, labels, True) == (images, labels)
    add, double = (lambda x, y, r: (x + 1, y + 1)), (lambda x, y, r: (x * 2 if r else x, y))
    for is_real, expected in ((True, (images + 1) * 2), (False, images + 1)):
        out, kept = compose([add, double])(images, labels, is_real)
        assert torch.equal(out, expected) and torch.equal(kept, labels + 1)


@pytest.mark.parametrize(("name", "settings", "message"), [
    ("ada", {"p": 1.5}, "p=1.5"),
    ("ada", {"p": float("nan")}, "p=nan"),
    ("ada", {"preset": "bgd"}, "did you mean"),
    ("ada", {"preset": "hue*-1"}, "factor of 0 or more"),
    ("ada", {"preset": "hue*much"}, "factor of 0 or more"),
    ("diffaugment", {"policy": "colour"}, "did you mean color"),
    ("diffaugment", {"p": -0.1}, "p=-0.1"),
])  # fmt: skip
def test_settings_that_cannot_work(name, settings, message):
    with pytest.raises(InputError, match=message.replace("*", r"\*")):
        find("augmentation", name).part(**settings)


@pytest.mark.parametrize("make", BOTH)
def test_data_that_cannot_be_augmented(make):
    for data in (noise(4, 2), noise(4, 3, 8), torch.zeros(2, 3, 8, 8, dtype=torch.uint8), noise(2, 3, 1, 1)):
        with pytest.raises(InputError, match="leave it out"):
            shown(make(), data)


def test_colour_of_two_channels_is_refused_and_geometry_of_them_is_not():
    with pytest.raises(InputError, match="2 channels"):
        shown(ADA("bgc", 1.0), noise(2, 2, 8, 8))
    assert shown(ADA("bg", 1.0), noise(2, 2, 8, 8)).shape == (2, 2, 8, 8)


# ------------------------------------------------------------------------------------------------ DiffAugment


def test_diffaugments_constants():
    assert (da.shift(32), da.half(32)) == (4, 16) and (da.shift(28), da.half(28)) == (4, 14)
    drawn = DiffAugment().draw(many(20000))
    limits = {"brightness": (-0.5, 0.5), "saturation": (0, 2), "contrast": (0.5, 1.5)}
    for name, (low, high) in limits.items():
        chosen, value = drawn[name]
        assert chosen.all() and low <= value.min() < low + 0.01 and high - 0.01 < value.max() <= high
        assert float(value.mean()) == pytest.approx((low + high) / 2, abs=4 * (high - low) / math.sqrt(12 * 20000))
    for name, low, high in (("translation", -4, 4), ("cutout", -8, 24)):
        for axis in (0, 1):
            values, counts = drawn[name][1][:, axis].unique(return_counts=True)
            assert values.tolist() == list(range(low, high + 1))
            mean = 20000 / len(values)
            assert (counts - mean).abs().max() < 5 * math.sqrt(mean)
    assert drawn["translation"][1].std(0).min() > 0 and abs(np.corrcoef(drawn["translation"][1].T)[0, 1]) < 0.03


def test_diffaugments_operations_against_slow_versions():
    images, one = noise(2, 3, 32, 32), torch.ones(2, 1, dtype=f64)
    assert torch.allclose(da.saturation(images, one), images) and torch.allclose(da.contrast(images, one), images)
    half = torch.tensor([[0.5], [-0.25]], dtype=f64)
    assert torch.equal(da.brightness(images, half)[1], images[1] - 0.25)
    grey, flat = da.saturation(images, 0 * one), da.contrast(images, 0 * one)
    assert torch.allclose(grey[:, 0], images.mean(1)) and torch.allclose(grey[:, 2], images.mean(1))
    assert torch.allclose(flat[1], images[1].mean().expand(3, 32, 32))
    image = images[:1].clone().requires_grad_()
    (slope,) = torch.autograd.grad(da.brightness(image, half[:1]).sum(), image)
    assert (slope == 1).all()
    moved = da.translation(images, torch.tensor([[2.0, -3.0], [0.0, 4.0]], dtype=f64))
    slow = torch.zeros_like(images)
    slow[0, :, 2:, :-3] = images[0, :, :-2, 3:]
    slow[1, :, :, 4:] = images[1, :, :, :-4]
    assert torch.equal(moved, slow)


def test_diffaugments_cutout():
    ones = torch.ones(4, 1, 32, 32, dtype=f64)
    out = da.cutout(ones, torch.tensor([[0, 0], [16, 16], [-8, -8], [24, 3]], dtype=f64))
    assert (out == 0).sum((1, 2, 3)).tolist() == [256, 256, 64, 128]
    assert (out[2, 0, :8, :8] == 0).all() and (out[3, 0, 24:, 3:19] == 0).all()
    odd = DiffAugment("cutout").draw(many(2000, size=9))["cutout"][1]  # side 5, centre on any of the 9 pixels
    assert odd.min() == -2 and odd.max() == 6


def test_a_policy_names_its_operations():
    assert DiffAugment("cutout, color").operations == ("brightness", "saturation", "contrast", "cutout")
    drawn = DiffAugment(p=0.3).draw(many(20000))
    for chosen, _ in drawn.values():
        assert float(chosen.to(f64).mean()) == pytest.approx(0.3, abs=3 * math.sqrt(0.3 * 0.7 / 20000))


# ------------------------------------------------------------------------------------------------ ADA: chances


def happened(name, drawn):
    """Which images a draw of this transform alone changes."""
    if name in GROUPS["blit"]:
        return ~is_identity(drawn.blit)
    if name in GROUPS["geom"]:
        return ~is_identity(drawn.geom)
    if name in GROUPS["color"]:
        return ~is_identity(drawn.colour)
    if name in GROUPS["filter"]:
        return (drawn.gains != 1).any(1)
    return drawn.deviation > 0 if name == "noise" else drawn.hole[:, 0] <= 1


@pytest.mark.parametrize("name", TRANSFORMS)
def test_each_transform_happens_as_often_as_it_should(name):
    torch.manual_seed(1)
    count = 20000
    drawn = ADA(f"{name}*0.5", 0.6).draw(many(count, *((2, 1) if name == "noise" else (32, 3))))
    share = 0.3 * {"flip": 1 / 2, "rotate90": 3 / 4, "shift": 63 / 64, "lumaflip": 1 / 2}.get(name, 1)
    assert float(happened(name, drawn).to(f64).mean()) == pytest.approx(
        share, abs=3 * math.sqrt(share * (1 - share) / count)
    )


def spread(values, deviation):
    """Normal with mean 0: the first two moments within 4 of their own deviations."""
    n = len(values)
    assert float(values.mean()) == pytest.approx(0, abs=4 * deviation / math.sqrt(n))
    assert float(values.std()) == pytest.approx(deviation, rel=4 / math.sqrt(2 * n))


def test_the_numbers_drawn():
    torch.manual_seed(2)
    n, draw = 20000, lambda name: ADA(name, 1.0).draw(many(20000))
    shift = draw("shift").blit[:, :2, 2]
    assert shift.unique().tolist() == list(range(-4, 5))
    assert float((shift.abs() == 4).to(f64).mean()) == pytest.approx(1 / 8, abs=0.007)  # U(-4, 4) beyond 3.5, rounded
    scale = draw("scale").geom
    spread(scale[:, 0, 0].log2(), 0.2)
    assert torch.equal(scale[:, 0, 0], scale[:, 1, 1])
    stretch = draw("stretch").geom
    spread(stretch[:, 0, 0].log2(), 0.2)
    assert torch.allclose(stretch[:, 0, 0] * stretch[:, 1, 1], torch.ones(n, dtype=f64))
    for axis in (0, 1):
        spread(draw("translate").geom[:, axis, 2], 4.0)
    spread(draw("brightness").colour[:, 0, 3], 0.2)
    spread(draw("contrast").colour[:, :3, :3].sum(2)[:, 0].log2(), 0.5)
    saturation = draw("saturation").colour
    spread((saturation[:, 0, 0] - saturation[:, 0, 1]).log2(), 1.0)
    hue = draw("hue").colour[:, :3, :3]
    assert float(hue.diagonal(dim1=1, dim2=2).mean()) == pytest.approx(1 / 3, abs=0.02)  # (1 + 2 cos)/3, uniform angle
    angle = torch.atan2((hue[:, 1, 0] - hue[:, 0, 1]) * math.sqrt(3), hue.diagonal(dim1=1, dim2=2).sum(1) - 1)
    assert float(angle.std()) == pytest.approx(2 * math.pi / math.sqrt(12), rel=0.02)
    level = ADA("noise", 1.0).draw(many(n, 2, 1)).deviation
    assert float(level.square().mean().sqrt()) == pytest.approx(0.1, rel=0.02)
    hole = draw("cutout").hole
    assert hole.min() >= 0 and hole.max() <= 1 and float(hole.mean()) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(("p", "each"), [(1.0, 1.0), (0.75, 0.5), (0.0, 0.0), (1.7, 1.0)])
def test_two_rotations_share_one_chance(p, each):
    torch.manual_seed(0)
    matrices = _geometry._rotation(torch.zeros(20000, dtype=f64), torch.tensor(p))
    assert float((~is_identity(matrices)).to(f64).mean()) == pytest.approx(each, abs=0.011)


def test_presets():
    assert len(TRANSFORMS) == 18 and list(multipliers(ALL)) == list(TRANSFORMS)
    assert list(multipliers("bgc")) == [*GROUPS["blit"], *GROUPS["geom"], *GROUPS["color"]]
    assert multipliers("bgc, hue*0, color*0.5, lumaflip*0.25")["lumaflip"] == 0.25
    assert "hue" not in multipliers("bgc,hue*0") and multipliers("cutout,flip") == {"flip": 1.0, "cutout": 1.0}
    r3gan = multipliers("r3gan")
    assert r3gan["hue"] == 0.5 and r3gan["rotate"] == r3gan["cutout"] == 1 and "band1" not in r3gan
    assert set(multipliers("r3gan*0.5").values()) == {0.5, 0.25}
    for preset in PRESETS:
        images = noise(4, 3, 8, 8)
        assert not torch.equal(shown(ADA(preset, 1.0), images), images)


# ------------------------------------------------------------------------------------------------ ADA: geometry


def slow_blit(image, flip, quarters, down, right):
    """[C, H, W] by the book: flip, turn, then move what a reflected border shows."""
    image = torch.rot90(image.flip(2) if flip else image, -quarters, (1, 2))
    pads = [(0, 0), (4, 4), (4, 4)]
    wide = torch.from_numpy(np.pad(image.numpy(), pads, mode="reflect"))
    return wide.roll((down, right), (1, 2))[:, 4:-4, 4:-4]


@pytest.mark.parametrize("flip", [0, 1])
@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
@pytest.mark.parametrize("size", [7, 8])
def test_copied_pixels_are_those_of_flip_rot90_and_roll(flip, quarters, size):
    image, one = noise(3, size, size), torch.ones(1, dtype=f64)
    cos, sin = ((quarters == k) * one - (quarters == k + 2) * one for k in (0, 1))
    inverse = product(
        _geometry.scaling(one * (1 - 2 * flip), 1.0),
        _geometry.turning(cos, sin).mT,
        _geometry.moving(-2 * one, 3 * one),
    )
    slow = slow_blit(image, flip, quarters, down=-3, right=2)
    assert torch.equal(_geometry.warp(image[None], inverse, None)[0], slow)
    nothing = torch.eye(3, dtype=f64)[None]
    assert torch.equal(_geometry.warp(image[None], inverse, nothing)[0], slow)  # no resampling where none is needed
    drawn = _geometry.draw_blit(
        torch.zeros(500, dtype=f64), (size, size), dict.fromkeys(GROUPS["blit"], torch.ones([]))
    )
    whole = drawn[:, :2, :2].abs().sum(2)
    assert (whole == 1).all() and len({tuple(m.flatten().tolist()) for m in drawn[:, :2, :2]}) == 8


def test_oblong_images_are_not_turned_on_their_side():
    drawn = _geometry.draw_blit(torch.zeros(200, dtype=f64), (8, 12), {"rotate90": torch.ones([])})
    assert (drawn[:, 0, 1] == 0).all() and (drawn[:, 0, 0] == -1).any()


def test_the_filters_of_resampling():
    taps, k = np.array(_resample.SYM6), np.arange(12)
    assert taps.sum() == pytest.approx(math.sqrt(2), abs=1e-12)
    for shift in range(6):
        assert taps[2 * shift :] @ taps[: 12 - 2 * shift] == pytest.approx(float(shift == 0), abs=1e-11)
    for power in range(6):
        assert ((-1.0) ** k * k**power * taps).sum() == pytest.approx(0, abs=2e-9)
    like, first = torch.zeros([], dtype=f64), _resample.FIRST
    up, down = _resample.upsampling(20, like), _resample.downsampling(20, like)
    again = down[:, first : first + 40] @ up
    assert torch.allclose(again[4:-4], torch.eye(20, dtype=f64)[4:-4], atol=1e-11)
    for n in (2, 5, 9):
        at = torch.arange(-25, 30)
        assert _resample.fold(at, n).tolist() == np.pad(np.arange(n), (25, 30 - n), mode="reflect").tolist()


def wave(x, y):
    return torch.sin(0.35 * x + 0.2 * y) + torch.cos(0.3 * y - 0.1 * x)


@pytest.mark.parametrize("inverse", [
    turned(0), turned(90), turned(180), turned(31), _geometry.moving(*torch.tensor([[2.3], [-1.6]], dtype=f64)),
    _geometry.scaling(*torch.tensor([[0.8], [1.1]], dtype=f64)),
    product(turned(20), _geometry.scaling(torch.tensor([1.2], dtype=f64), 0.9), turned(-50)),
])  # fmt: skip
def test_resampling_shows_the_picture_where_the_matrix_says(inverse):
    size, middle = 40, 19.5
    at = torch.arange(size, dtype=f64) - middle
    y, x = torch.meshgrid(at, at, indexing="ij")
    source = torch.einsum("ij,jhw->ihw", inverse[0], torch.stack([x, y, torch.ones_like(x)]))
    inside = source[:2].abs().amax(0) < middle - 4
    inside[:3] = inside[-3:] = inside[:, :3] = inside[:, -3:] = False
    error = _resample.resample(wave(x, y)[None, None], inverse)[0, 0] - wave(source[0], source[1])
    assert inside.sum() > 400 and error[inside].abs().max() < 0.009
    assert error[inside].square().mean().sqrt() < 0.004


def test_a_quarter_turn_by_resampling_is_nearly_rot90():
    x = torch.arange(32, dtype=f64)
    picture = wave(x[None] - 15.5, x[:, None] - 15.5)[None, None]
    assert torch.equal(_geometry.copy_pixels(picture, turned(90).round()), torch.rot90(picture, 1, (2, 3)))
    difference = _resample.resample(picture, turned(90)) - torch.rot90(picture, 1, (2, 3))
    assert difference[..., 3:-3, 3:-3].abs().max() < 0.009 and difference.abs().max() < 0.1


def test_looking_up_is_a_bilinear_mean_of_four_pixels():
    images = noise(2, 3, 5, 7)
    y, x = 4 * torch.rand(2, 6, 6, dtype=f64), 6 * torch.rand(2, 6, 6, dtype=f64)
    y0, x0, slow = y.floor().clamp(max=3), x.floor().clamp(max=5), 0
    for dy in (0, 1):
        for dx in (0, 1):
            share = (1 - (y - y0 - dy).abs()) * (1 - (x - x0 - dx).abs())
            slow = slow + share[:, None] * take(images, (y0 + dy).long(), (x0 + dx).long())
    assert torch.allclose(_resample.look_up(images, y, x), slow)
    assert torch.allclose(_resample.look_up_slowly(images, y, x), slow)
    images = images[:1, :1, :3, :3].clone().requires_grad_()
    y, x = 2 * torch.rand(2, 1, 2, 2, dtype=f64)
    assert gradcheck(lambda z: _resample.look_up(z, y, x), images)
    assert gradgradcheck(lambda z: _resample.look_up(z, y, x).exp(), images)


def test_copied_and_continuous_transforms_meet_in_one_resampling():
    x = torch.arange(32, dtype=f64) - 15.5
    picture, stretch = wave(x[None], x[:, None])[None, None], _geometry.scaling(torch.tensor([0.7], dtype=f64), 0.9)
    blit = product(turned(90).round(), _geometry.moving(*torch.tensor([[3.0], [0.0]], dtype=f64)))
    one_by_one = _resample.resample(_geometry.copy_pixels(picture, blit), stretch)
    at_once = _geometry.warp(picture, blit, stretch)
    assert (at_once - one_by_one)[..., 5:-5, 5:-5].abs().max() < 0.02
    reverse = _geometry.copy_pixels(_resample.resample(picture, stretch), blit)
    assert (at_once - reverse)[..., 5:-5, 5:-5].abs().max() > 0.5


def test_transforms_come_in_order():
    """The first transform's inverse stands leftmost: a pixel is led back through the last one first."""
    like, always, size = torch.zeros(5, dtype=f64), torch.ones([]), (32, 32)
    for draw, names in (
        (_geometry.draw_blit, GROUPS["blit"]),
        (_geometry.draw_geom, ("scale", "stretch", "translate")),
    ):
        torch.manual_seed(0)
        whole = draw(like, size, dict.fromkeys(names, always))
        torch.manual_seed(0)
        assert torch.allclose(whole, product(*(draw(like, size, {name: always}) for name in names)))
    torch.manual_seed(0)
    whole = _geometry.draw_geom(like, size, {"rotate": always, "stretch": always})
    torch.manual_seed(0)
    before, stretch = _geometry._rotation(like, always), _geometry.draw_geom(like, size, {"stretch": always})
    assert torch.allclose(whole, product(before, stretch, _geometry._rotation(like, always)))


# ------------------------------------------------------------------------------------------------ ADA: colour


def test_colour_matrices_against_slow_versions():
    image, two = noise(1, 3, 4, 4), torch.tensor([2.0], dtype=f64)
    one, none = two / 2, two * 0
    assert torch.allclose(_colour.colour(image, _colour.brighten(two)), image + 2)
    assert torch.allclose(_colour.colour(image, _colour.recolour(two, two, none)), image * 2)
    grey = image.mean(1, keepdim=True)
    assert torch.allclose(_colour.colour(image, _colour.recolour(-one, one, none)), image - 2 * grey)
    assert torch.allclose(_colour.colour(image, _colour.recolour(one, 2 * two, none)), grey + 4 * (image - grey))
    third = _colour.recolour(one, one, one * 2 * math.pi / 3)
    assert torch.allclose(_colour.colour(image, third), image.roll(1, 1))  # a third of a turn: red becomes green


def test_what_colour_transforms_keep():
    one, none, eye = torch.ones(1, dtype=f64), torch.zeros(1, dtype=f64), torch.eye(4, dtype=f64)[None]
    flip = _colour.recolour(-one, one, none)
    assert torch.allclose(flip @ flip, eye) and torch.allclose(_colour.recolour(one, one, one * 2 * math.pi), eye)
    assert is_identity(_colour.recolour(one, one, none))
    image = noise(1, 3, 4, 4)
    for kept in (_colour.recolour(one, one * 3, none), _colour.recolour(one, one, one)):
        assert torch.allclose(_colour.colour(image, kept).mean(1), image.mean(1))
    turn = _colour.recolour(one, one, one)[0, :3, :3]
    assert torch.allclose(turn @ turn.T, eye[0, :3, :3]) and float(turn.det()) == pytest.approx(1)


def test_colour_comes_in_order_and_grey_images_as_grey_colour_images():
    torch.manual_seed(0)
    drawn, image = ADA("color", 1.0).draw(many(6)).colour, noise(6, 1, 4, 4)
    three = _colour.colour(image.expand(-1, 3, -1, -1), drawn)
    assert torch.allclose(three, _colour.colour(image, drawn).expand(-1, 3, -1, -1))
    like, always = torch.zeros(1, dtype=f64), dict.fromkeys(GROUPS["color"], torch.ones([]))
    torch.manual_seed(0)
    whole = _colour.draw_colour(like, always)
    torch.manual_seed(0)
    single = [_colour.draw_colour(like, {name: always[name]}) for name in GROUPS["color"]]
    picture = noise(1, 3, 4, 4)
    step_by_step = picture
    for matrix in single:
        step_by_step = _colour.colour(step_by_step, matrix)
    assert torch.allclose(_colour.colour(picture, whole), step_by_step)


# ------------------------------------------------------------------------------------------------ ADA: filter, cutout


def bank():
    """The four bands' kernels, lowest first, by convolution of the sym2 wavelet's filter with its mirror image."""
    root = math.sqrt(3)
    sym2 = np.array([1 + root, 3 + root, 3 - root, 1 - root]) / (4 * math.sqrt(2))
    low, bands = np.convolve(sym2, sym2[::-1]) / 2, [np.ones(1)]
    high = low * (-1.0) ** np.arange(-3, 4)
    for _ in range(3):
        spaced = [np.kron(band, [1, 0])[:-1] for band in bands]
        bands = [np.convolve(band, low) for band in spaced] + [high]
    return [np.pad(band, (43 - len(band)) // 2) for band in bands]


@pytest.mark.parametrize("size", [5, 8, 33])
def test_the_equaliser_against_convolution(size):
    gains, line = torch.tensor([[0.5, 2.0, 1.5, 0.25]], dtype=f64), noise(size)
    kernel = sum(gain * band for gain, band in zip(gains[0].numpy(), bank(), strict=True))
    slow = np.convolve(np.pad(line.numpy(), 21, mode="reflect"), kernel, mode="valid")
    assert np.allclose(_filter.equaliser(gains, size)[0] @ line, slow)
    image = noise(1, 2, size, size + 1)
    rows, columns = (_filter.equaliser(gains, n)[0] for n in (size, size + 1))
    assert torch.allclose(_filter.equalise(image, gains), rows @ image @ columns.T)


def test_unit_gains_change_nothing_and_bands_are_where_they_should_be():
    ones = torch.ones(1, 4, dtype=f64)
    assert torch.allclose(_filter.equaliser(ones, 32), torch.eye(32, dtype=f64)[None])
    at = torch.arange(65, dtype=f64)
    for band, frequency in enumerate((1 / 32, 3 / 16, 3 / 8, 7 / 8)):  # in shares of the highest
        line = torch.cos(math.pi * frequency * at)
        share = [float((_filter.equaliser(one[None], 65)[0] @ line)[0]) for one in torch.eye(4, dtype=f64)]
        assert sum(share) == pytest.approx(1) and share[band] == max(share) > 0.6


def test_gains_keep_the_expected_power():
    torch.manual_seed(0)
    for band in range(4):
        gains = ADA(f"band{band + 1}", 1.0).draw(many(50)).gains
        power = (gains.square() * torch.tensor([10, 1, 1, 1]) / 13).sum(1)
        assert torch.allclose(power, torch.ones(50, dtype=f64))
        ratio = gains / gains[:, [(band + 1) % 4]]
        assert ((ratio - 1).abs() > 1e-6).sum() == 50 and ((ratio - 1).abs() > 1e-6).any(0).tolist().index(True) == band
    spread((ADA("band2", 1.0).draw(many(20000)).gains[:, [1, 0]].log2() @ torch.tensor([1.0, -1.0], dtype=f64)), 1.0)


def test_noise_and_cutout():
    torch.manual_seed(0)
    augmentation, images = ADA("noise", 0.5), torch.zeros(400, 1, 16, 16, dtype=f64)
    drawn = augmentation.draw(images)
    ratio = augmentation.change(images, drawn).flatten(1).std(1) / drawn.deviation
    assert torch.allclose(ratio[drawn.deviation > 0], torch.ones([], dtype=f64), atol=0.2)
    centres = torch.tensor([[0.5, 0.5], [0.0, 0.0], [2.0, 2.0], [0.25, 0.99]], dtype=f64)
    holes = cut_out(torch.ones(4, 3, 32, 32, dtype=f64), centres) == 0
    assert holes[:, 0].sum((1, 2)).tolist() == [256, 64, 0, 16 * 8]
    assert holes[0, 2, 8:24, 8:24].all() and holes[1, 1, :8, :8].all()


def test_p_is_read_from_the_device_at_each_call():
    augmentation, images = ADA("flip", 0.0), noise(64, 1, 4, 4)
    assert torch.equal(shown(augmentation, images), images)
    augmentation.p.fill_(1.0)
    assert not torch.equal(shown(augmentation, images), images)
    assert list(nn.ModuleList([augmentation]).state_dict()) == ["0.p"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("make", BOTH)
def test_on_cuda_as_on_the_cpu_and_whole_in_a_graph(make, deterministic):
    augmentation, images = make(0.5), noise(8, 3, 16, 16, dtype=torch.float32)
    drawn = augmentation.draw(images)
    there = tree_map(lambda t: t.cuda() if isinstance(t, torch.Tensor) else t, drawn)
    torch.use_deterministic_algorithms(deterministic)
    try:
        outs = [twice(augmentation, im.requires_grad_(), d)[0] for im, d in ((images, drawn), (images.cuda(), there))]
    finally:
        torch.use_deterministic_algorithms(False)
    size = outs[0].abs().max()  # second derivatives of float32: up to some hundreds
    assert (outs[0] - outs[1].cpu()).abs().max() < 3e-5 * size
    augmentation, images = augmentation.cuda(), images.detach().cuda().requires_grad_()
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        twice(augmentation, images)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        (captured,) = twice(augmentation, images)
    graph.replay()
    first = captured.clone()
    graph.replay()
    assert first.isfinite().all() and not torch.equal(first, captured)  # a new draw each time

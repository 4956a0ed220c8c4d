"""Each mode and format against the pixels it stands for."""

import io

import numpy as np
import pytest
from PIL import Image

from equipoise.data.decode import Unreadable, decode, extensions, look, quietly

RAMP = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4  # grey 8x8


def packed(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def colour(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)


def test_plain_images_are_unchanged() -> None:
    pixels, done = decode(packed(Image.fromarray(RAMP)), 8, 1)
    assert np.array_equal(pixels, RAMP[None]) and done == ()
    pixels, done = decode(packed(Image.fromarray(colour())), 8, 3)
    assert np.array_equal(pixels, colour().transpose(2, 0, 1)) and done == ()


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    wide = np.linspace(0, 65535, 64).reshape(8, 8).astype(np.uint16)
    data = packed(Image.fromarray(wide))
    assert look(data).grey
    pixels, done = decode(data, 8, 1)
    assert np.array_equal(pixels[0], np.rint(wide / 257).astype(np.uint8))
    assert "16 bits scaled to 8" in done


def test_floats_in_unit_range() -> None:
    values = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    pixels, _ = decode(packed(Image.fromarray(values), "TIFF"), 8, 1)
    assert np.array_equal(pixels[0], np.rint(values * 255).astype(np.uint8))


@pytest.mark.parametrize("bad", [np.nan, -3.0, 300.0])
def test_floats_out_of_range_are_refused(bad: float) -> None:
    values = np.full((8, 8), 0.5, np.float32)
    values[0, 0] = bad
    with pytest.raises(Unreadable):
        decode(packed(Image.fromarray(values), "TIFF"), 8, 1)


def test_transparency_lies_on_white() -> None:
    rgba = np.zeros((8, 8, 4), np.uint8)
    rgba[:4, :, 3] = 255  # opaque black above, nothing below
    rgba[4:, :, 0] = 200
    pixels, done = decode(packed(Image.fromarray(rgba)), 8, 3)
    assert (pixels[:, :4] == 0).all() and (pixels[:, 4:] == 255).all()
    assert done == ("transparency put on white",)
    grey = Image.fromarray(np.stack([RAMP, np.full_like(RAMP, 128)], -1), "LA")
    pixels, _ = decode(packed(grey), 8, 1)
    opacity = 128 / 255
    assert np.abs(pixels[0] - (RAMP * opacity + 255 * (1 - opacity))).max() <= 1


def test_palette_with_transparency() -> None:
    image = Image.new("P", (8, 8), 0)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.paste(1, (0, 0, 8, 4))
    data = packed(image, transparency=0)
    assert look(data).mode == "P" and not look(data).grey
    pixels, done = decode(data, 8, 3)
    assert (pixels[:, :4] == np.array([0, 0, 255])[:, None, None]).all()  # blue
    assert (pixels[:, 4:] == 255).all()  # the transparent red shows the white behind
    assert "transparency put on white" in done


def test_a_grey_palette_is_grey() -> None:
    assert look(packed(Image.fromarray(RAMP), "GIF")).grey


def test_cmyk() -> None:
    image = Image.new("CMYK", (8, 8), (0, 255, 255, 0))  # magenta and yellow: red
    pixels, done = decode(packed(image, "TIFF"), 8, 3)
    assert np.array_equal(pixels[:, 0, 0], [255, 0, 0]) and done == ("CMYK made RGB",)
    pixels, _ = decode(packed(image, "JPEG", quality=100), 8, 3)
    assert np.abs(pixels[:, 4, 4].astype(int) - [255, 0, 0]).max() <= 3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(orientation: int) -> None:
    turned = {
        1: RAMP, 2: RAMP[:, ::-1], 3: RAMP[::-1, ::-1], 4: RAMP[::-1],
        5: RAMP.T, 6: np.rot90(RAMP, -1), 7: RAMP[::-1, ::-1].T, 8: np.rot90(RAMP),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels, done = decode(packed(Image.fromarray(RAMP), exif=exif), 8, 1)
    assert np.array_equal(pixels[0], turned)
    assert ("turned upright by EXIF" in done) == (orientation != 1)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_the_first_frame_of_an_animation(kind: str) -> None:
    first, second = (Image.new("RGB", (8, 8), one) for one in ("black", "white"))
    options = {"lossless": True} if kind == "WEBP" else {}
    pixels, done = decode(packed(first, kind, save_all=True, append_images=[second], **options), 8, 3)
    assert (pixels == 0).all() and "first of several frames taken" in done


def test_centre_crop_and_scaling() -> None:
    wide = np.zeros((8, 24), np.uint8)
    wide[:, 8:16] = RAMP
    pixels, done = decode(packed(Image.fromarray(wide)), 8, 1)
    assert np.array_equal(pixels[0], RAMP) and done == ("centre-cropped to a square",)
    stripes = np.tile(np.array([0, 255], np.uint8), (64, 32))  # aliases to a flat picture only when antialiased
    pixels, done = decode(packed(Image.fromarray(stripes)), 8, 1)
    assert np.abs(pixels.astype(int) - 127).max() < 30 and done == ("scaled down to 8",)
    _, done = decode(packed(Image.fromarray(RAMP)), 16, 1)
    assert done == ("enlarged to 16",)


def test_a_large_jpeg_decoded_small_stays_close() -> None:
    smooth = Image.fromarray(colour()).resize((640, 640), Image.Resampling.BICUBIC)
    pixels, _ = decode(packed(smooth, "JPEG", quality=95), 16, 3)
    slow = np.asarray(smooth.resize((16, 16), Image.Resampling.LANCZOS)).transpose(2, 0, 1)
    assert np.abs(pixels.astype(int) - slow).mean() < 2


def test_grey_and_colour_on_request() -> None:
    pixels, done = decode(packed(Image.fromarray(RAMP)), 8, 3)
    assert np.array_equal(pixels, np.repeat(RAMP[None], 3, axis=0)) and done == ("grey made colour",)
    pixels, done = decode(packed(Image.fromarray(colour())), 8, 1)
    assert np.abs(pixels[0] - colour() @ [0.299, 0.587, 0.114]).max() <= 1 and done == ("colour made grey",)


def test_what_is_unreadable_says_why() -> None:
    whole = packed(Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)))
    with pytest.raises(Unreadable, match="empty"):
        look(b"")
    with pytest.raises(Unreadable, match="not an image"):
        look(b"hello")
    with pytest.raises(Unreadable, match="truncated"):
        decode(whole[: len(whole) // 2], 8, 1)


def test_decompression_bombs_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    with quietly(), pytest.raises(Unreadable, match="50 pixels"):
        look(packed(Image.fromarray(RAMP)))


def test_nothing_that_runs_another_program_is_opened() -> None:
    assert ".png" in extensions() and ".eps" not in extensions()
    with pytest.raises(Unreadable):
        look(packed(Image.fromarray(colour()), "EPS"))

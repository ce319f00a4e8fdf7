"""Pictures of every size and mode on the canvas, against Pillow's own operations and plain arithmetic."""

import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from ssl_jax.data.encoded_images import decode
from ssl_jax.data.image_source import Canvas, ImageArrays

RNG = np.random.default_rng(0)
LUMA = [0.299, 0.587, 0.114]  # ITU-R 601


def scene(height: int, width: int, channels: int = 3) -> np.ndarray:
    """Smooth, and different in every corner and channel."""
    y, x = np.mgrid[:height, :width]
    waves = [128 + 60 * np.sin(x / (9 + c) + c) + 60 * np.cos(y / (13 - c)) for c in range(channels)]
    return np.stack(waves, -1).clip(0, 255).astype(np.uint8)


def encoded(image: Image.Image, format: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def picture(example) -> np.ndarray:
    """What lies within the extent; nothing may lie beside it."""
    height, width = example["extent"]
    inside = example["image"][:height, :width]
    outside = example["image"].copy()
    outside[:height, :width] = 0
    assert not outside.any()
    return inside


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "GIF", "WEBP"])
def test_small_pictures_keep_their_pixels_in_the_corner(format):
    pixels = scene(5, 9, 1)
    options = {"lossless": True} if format == "WEBP" else {}
    data = encoded(Image.fromarray(pixels[..., 0]), format, **options)
    for channels in (1, 3):
        example = decode(data, Canvas(12, channels), 4)
        assert (example["image"].shape, example["image"].dtype) == ((12, 12, channels), np.uint8)
        assert (example["extent"].dtype, example["label"].dtype, example["label"]) == (np.int32, np.int32, 4)
        np.testing.assert_allclose(picture(example).astype(int), np.repeat(pixels, channels, -1), atol=1)


@pytest.mark.parametrize(
    ("size", "extent"),
    [
        ((40, 60), (16, 24)),
        ((60, 40), (24, 16)),
        ((24, 24), (24, 24)),
        ((1000, 1), (24, 1)),
        ((1, 1), (1, 1)),
        ((25, 7), (24, 7)),
    ],
)
def test_the_longer_side_is_shrunk_to_the_canvas(size, extent):
    pixels = scene(*size)
    example = decode(encoded(Image.fromarray(pixels)), Canvas(24, 3), 0)
    assert tuple(example["extent"]) == extent
    reference = Image.fromarray(pixels).resize(extent[::-1], Image.Resampling.BICUBIC)
    np.testing.assert_allclose(picture(example).astype(int), np.asarray(reference), atol=4)


def test_shrinking_averages_and_does_not_pick():
    """A fine chequerboard becomes gray; picking single pixels would leave black and white."""
    board = (np.indices((512, 512)).sum(0) % 2 * 255).astype(np.uint8)
    gray = picture(decode(encoded(Image.fromarray(board)), Canvas(32, 1), 0))
    assert np.abs(gray.astype(int) - 127).max() <= 3


@pytest.mark.parametrize(("canvas", "channels"), [(256, 3), (100, 3), (40, 3), (100, 1), (40, 1)])
def test_a_jpeg_decoded_small_looks_like_one_decoded_whole(canvas, channels):
    data = encoded(Image.fromarray(scene(300, 400)), "JPEG", quality=95)
    example = decode(data, Canvas(canvas, channels), 0)
    assert tuple(example["extent"]) == (canvas * 3 // 4, canvas)
    size = (canvas, canvas * 3 // 4)
    whole = Image.open(io.BytesIO(data)).convert("RGB" if channels == 3 else "L")
    reference = np.asarray(whole.resize(size, Image.Resampling.LANCZOS)).reshape(*size[::-1], channels)
    difference = np.abs(picture(example).astype(int) - reference)
    assert difference.mean() < 1.5
    assert difference.max() <= 12


def test_transparent_pixels_lie_over_white():
    colour, alpha = scene(8, 8), RNG.integers(0, 256, (8, 8, 1), np.uint8)
    over_white = (colour * (alpha / 255) + 255 * (1 - alpha / 255)).round()
    data = encoded(Image.fromarray(np.concatenate([colour, alpha], -1)))
    np.testing.assert_allclose(picture(decode(data, Canvas(8, 3), 0)), over_white, atol=1)
    np.testing.assert_allclose(picture(decode(data, Canvas(8, 1), 0))[..., 0], over_white @ LUMA, atol=2)
    gray = Image.merge("LA", [Image.fromarray(colour[..., 0]), Image.fromarray(alpha[..., 0])])
    np.testing.assert_allclose(picture(decode(encoded(gray), Canvas(8, 1), 0)), over_white[..., :1], atol=1)


def test_palettes_are_looked_up_and_may_have_a_transparent_colour():
    palette = Image.fromarray(RNG.integers(0, 3, (6, 6), np.uint8)).convert("P")
    palette.putpalette([10, 20, 30, 200, 100, 50, 0, 255, 0])
    colours = np.array([[10, 20, 30], [200, 100, 50], [0, 255, 0]])
    indices = np.asarray(palette)
    for format in ("PNG", "GIF"):
        found = picture(decode(encoded(palette, format), Canvas(6, 3), 0))
        np.testing.assert_array_equal(found, colours[indices])
        colours_on_white = np.where(np.arange(3)[:, None] == 1, 255, colours)
        found = picture(decode(encoded(palette, format, transparency=1), Canvas(6, 3), 0))
        np.testing.assert_array_equal(found, colours_on_white[indices])


def test_palettes_are_shrunk_by_colour_and_not_by_number():
    """Halfway between colours 0 and 2 lies gray, not colour 1."""
    palette = Image.fromarray((np.indices((64, 64)).sum(0) % 2 * 2).astype(np.uint8)).convert("P")
    palette.putpalette([0, 0, 0, 255, 0, 0, 255, 255, 255])
    found = picture(decode(encoded(palette), Canvas(8, 3), 0))
    assert np.abs(found.astype(int) - 127).max() <= 3


def test_other_modes():
    bits = Image.fromarray(np.eye(6, dtype=bool))
    np.testing.assert_array_equal(picture(decode(encoded(bits), Canvas(6, 1), 0))[..., 0], 255 * np.eye(6))
    deep = np.array([[0, 255, 256, 32768, 65535]], np.uint16)
    for format in ("PNG", "TIFF"):
        found = picture(decode(encoded(Image.fromarray(deep), format), Canvas(5, 1), 0))
        np.testing.assert_array_equal(found[..., 0], [[0, 0, 1, 128, 255]])
    colour = Image.fromarray(scene(16, 16))
    cmyk = picture(decode(encoded(colour.convert("CMYK"), "JPEG", quality=100), Canvas(16, 3), 0))
    np.testing.assert_allclose(cmyk.astype(int), np.asarray(colour), atol=8)
    with pytest.raises(ValueError, match=r"mode 'F' have no known range"):
        decode(encoded(Image.fromarray(np.ones((2, 2), np.float32)), "TIFF"), Canvas(2, 1), 0)


def test_the_first_frame_is_the_picture():
    frames = [Image.fromarray(np.full((4, 4), value, np.uint8)) for value in (50, 200)]
    for format in ("GIF", "TIFF"):
        data = encoded(frames[0], format, save_all=True, append_images=frames[1:])
        assert (picture(decode(data, Canvas(4, 1), 0)) == 50).all()


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_stand_upright(format, orientation):
    image = Image.fromarray(scene(32, 48))
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(image, format, exif=exif, **({"quality": 98} if format == "JPEG" else {}))
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert upright.size == ((48, 32) if orientation < 5 else (32, 48))
    found = picture(decode(data, Canvas(48, 3), 0))
    np.testing.assert_array_equal(found, np.asarray(upright))
    small = picture(decode(data, Canvas(12, 3), 0))
    reference = np.asarray(upright.resize((12, 8) if orientation < 5 else (8, 12), Image.Resampling.BICUBIC))
    np.testing.assert_allclose(small.astype(int), reference, atol=6)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("canvas", [Canvas(9, 1), Canvas(12, 3), Canvas(4, 1), Canvas(4, 3)])
def test_pictures_in_memory_are_like_those_of_pillow(canvas, channels):
    """Whether they fit the canvas as they are or have to be converted."""
    pixels = scene(5, 9, channels)
    source = ImageArrays("scenes", pixels[None], np.array([4]), ("a",) * 5, canvas)
    wanted = canvas.fit(Image.fromarray(pixels[..., 0] if channels == 1 else pixels), 4)
    assert source[0].keys() == wanted.keys()
    for name, values in source[0].items():
        np.testing.assert_array_equal(values, wanted[name])
        assert values.dtype == wanted[name].dtype

"""Resampling: crops, resizing and turning against Pillow, NumPy and torchvision."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ssl_jax.transforms.images import plain_view, rotate90
from ssl_jax.transforms.resampling import blur, resize_weights, rotate, separable

GOLDEN = dict(np.load(Path(__file__).parent / "golden_images.npz"))
IMAGE = GOLDEN["image/colours"]
PILLOW = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}

jitted_weights = jax.jit(resize_weights, static_argnums=(2, 3, 4))
jitted_blur = jax.jit(blur, static_argnums=2)
jitted_turn = jax.jit(rotate)
jitted_plain_view = jax.jit(plain_view, static_argnames=("size", "crop", "interpolation"))


def planes(images):
    """[..., height, width, channels] to the [..., height, channels, width] of the module, and back."""
    return jnp.swapaxes(jnp.asarray(images), -1, -2)


def pixels(height, width, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def pillow_resize(image, box, size, interpolation):
    """Crops (top, left, height, width) and then resizes each channel, in floating point."""
    top, left, height, width = box
    crop = image[top : top + height, left : left + width].astype(np.float32)
    channels = [
        Image.fromarray(crop[..., i]).resize((size, size), PILLOW[interpolation])
        for i in range(image.shape[-1])
    ]
    return np.stack(channels, -1)


@functools.partial(jax.jit, static_argnums=(2, 3))
def resize(image, box, size, interpolation, mirrored=False, shift=(0, 0)):
    rows = resize_weights(box[0], box[2], size, image.shape[0], interpolation, shift=shift[0])
    columns = resize_weights(
        box[1], box[3], size, image.shape[1], interpolation, mirrored=mirrored, shift=shift[1]
    )
    return planes(separable(planes(image).astype(jnp.float32), rows, columns))


@pytest.mark.parametrize("interpolation", PILLOW)
@pytest.mark.parametrize("size", [5, 16, 23])
@pytest.mark.parametrize(
    "box",
    [
        (0, 0, 20, 26),
        (3, 5, 11, 7),
        (0, 0, 1, 1),
        (19, 25, 1, 1),
        (2, 1, 16, 16),
        (0, 9, 20, 2),
        (4, 0, 3, 26),
    ],
)
def test_crop_and_resize_are_pillows(interpolation, size, box):
    image = pixels(20, 26)
    ours = resize(image, box, size, interpolation)
    np.testing.assert_allclose(ours / 255, pillow_resize(image, box, size, interpolation) / 255, atol=1e-5)


def test_mirrored_and_then_shifted():
    image, box = pixels(20, 26), (3, 5, 11, 7)
    straight = np.asarray(resize(image, box, 9, "bicubic"))
    np.testing.assert_allclose(resize(image, box, 9, "bicubic", mirrored=True), straight[:, ::-1], atol=1e-3)
    shifted = np.asarray(resize(image, box, 9, "bicubic", mirrored=True, shift=(-2, 3)))
    np.testing.assert_allclose(shifted[:-2, 3:], straight[2:, ::-1][:, :-3], atol=1e-3)
    assert not shifted[-2:].any()
    assert not shifted[:, :3].any()


@given(st.integers(1, 30), st.sampled_from(list(PILLOW)), st.integers(0, 29))
def test_weights_add_up_to_one_within_the_crop(length, interpolation, start):
    start = min(start, 30 - length)
    weights = np.asarray(jitted_weights(start, length, 7, 30, interpolation))
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-5)
    assert not weights[:, :start].any()
    assert not weights[:, start + length :].any()


@pytest.mark.parametrize(
    ("sigma", "radius", "size"), [(0.1, 1, 5), (0.7, 3, 16), (2.0, 11, 224), (2.0, 4, 5)]
)
def test_blur_is_a_reflecting_convolution(sigma, radius, size):
    image = np.random.default_rng(0).random((size, size + 2, 1)).astype(np.float32)
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)

    def along(line):
        return np.convolve(np.pad(line, radius, mode="reflect"), taps / taps.sum(), mode="valid")

    expected = np.apply_along_axis(along, 1, np.apply_along_axis(along, 0, image))
    ours = planes(jitted_blur(planes(image), jnp.float32(sigma), radius))
    np.testing.assert_allclose(ours, expected, atol=1e-6)


def test_a_blur_of_sigma_0_is_no_blur():
    np.testing.assert_array_equal(jitted_blur(planes(IMAGE), jnp.float32(0), 3), planes(IMAGE))


def golden(operation):
    """[(parameters, what torchvision made of IMAGE)] of one operation."""
    found = [
        (name.split("/")[1], array) for name, array in GOLDEN.items() if name.startswith(f"{operation}/")
    ]
    assert found
    return [([float(number) for number in parameters.split(",")], array) for parameters, array in found]


def test_blur_is_torchvisions():
    for (radius, sigma), expected in golden("blur"):
        ours = planes(jitted_blur(planes(IMAGE), jnp.float32(sigma), int(radius)))
        np.testing.assert_allclose(ours, expected, atol=1e-6)


def test_shifting_is_torchvisions():
    height, width, _ = IMAGE.shape
    for (down, right), expected in golden("shift"):
        rows = jitted_weights(0, height, height, height, "bilinear", shift=int(down))
        columns = jitted_weights(0, width, width, width, "bilinear", shift=int(right))
        np.testing.assert_allclose(planes(separable(planes(IMAGE), rows, columns)), expected, atol=1e-6)


def test_turning_is_torchvisions():
    for (angle,), expected in golden("turn"):
        ours = planes(jitted_turn(planes(IMAGE[:, :9]), jnp.float32(angle)))
        np.testing.assert_allclose(ours, expected, atol=1e-5)


@pytest.mark.parametrize("quarter", [-2, -1, 0, 1, 2])
def test_turning_by_quarters_is_numpys(quarter):
    for size in (6, 7):
        image = pixels(size, size) / np.float32(255)
        ours = planes(jitted_turn(planes(image), jnp.float32(90 * quarter)))
        np.testing.assert_allclose(ours, np.rot90(image, quarter), atol=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_rotate90_is_numpys(channels):
    images = np.stack([pixels(5, 5, channels, seed) for seed in range(4)])
    turned = jax.jit(rotate90)(images, jnp.arange(4))
    assert turned.dtype == images.dtype
    for turns in range(4):
        np.testing.assert_array_equal(turned[turns], np.rot90(images[turns], turns))


@pytest.mark.parametrize("interpolation", PILLOW)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_plain_view_of_the_wanted_size_is_the_image(interpolation, channels):
    images = np.stack([pixels(13, 13, channels, seed) for seed in range(3)])
    views = jitted_plain_view(images, np.full((3, 2), 13, np.int32), 13, interpolation=interpolation)
    np.testing.assert_array_equal(views, jax.jit(lambda images: images.astype(jnp.float32) / 255)(images))
    np.testing.assert_allclose(views, images.astype(np.float32) / 255, rtol=1e-7, err_msg="XLA's division")


@pytest.mark.parametrize("interpolation", PILLOW)
def test_a_plain_view_is_the_central_square(interpolation):
    """An extent of 20 x 30 on a canvas of 32: 0.8 of the shorter side are 16 pixels from (2, 7)."""
    images = pixels(32, 32)[None]
    view = jitted_plain_view(images, np.array([[20, 30]], np.int32), 10, 0.8, interpolation)[0]
    expected = np.clip(pillow_resize(images[0], (2, 7, 16, 16), 10, interpolation) / 255, 0, 1)
    np.testing.assert_allclose(view, expected, atol=1e-5)


def test_a_plain_view_never_reads_beyond_the_extent():
    images, extents = np.stack([pixels(16, 16)] * 2), np.array([[9, 12]] * 2, np.int32)
    images[1, 9:] = images[1, :, 12:] = 255 - images[1, :1, :1]
    views = jitted_plain_view(images, extents, 8)
    np.testing.assert_array_equal(views[0], views[1])
    assert np.isfinite(jitted_plain_view(images, np.zeros((2, 2), np.int32), 8)).all(), (
        "rows that fill up a batch"
    )

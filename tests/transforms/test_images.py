"""Random views: what is drawn, by statistics with fixed keys, and what comes of it."""

import dataclasses
import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from PIL import Image
from scipy import stats

from ssl_jax.errors import UserError
from ssl_jax.transforms.images import ViewConfig, apply_view, draw_box, draw_view, random_view, random_views

SURPRISE = 1e-4  # keys are fixed; a right implementation fails a test with one key in ten thousand
DRAWS = 20_000
OFF = {"flip": 0, "jitter": 0, "grayscale": 0, "blur": 0}
NOTHING = ViewConfig(size=16, crop_area=(1, 1), crop_ratio=(1, 1), **OFF)
EVERYTHING = ViewConfig(size=24, solarise=0.2, translate=0.1, rotate=15)


@functools.cache
def drawn(config, extent=(1000, 1000), channels=3):
    """`DRAWS` views, as NumPy arrays."""
    keys = jax.random.split(jax.random.key(0), DRAWS)
    draw = jax.vmap(lambda key: draw_view(key, jnp.array(extent), channels, config))
    return jax.tree.map(np.asarray, jax.jit(draw)(keys))


def check_uniform(values, low, high, rounding=1e-6):
    assert values.min() >= low - rounding
    assert values.max() <= high + rounding
    assert stats.kstest(values, stats.uniform(low, high - low).cdf).pvalue > SURPRISE


def check_rate(hits, probability):
    assert stats.binomtest(int(hits.sum()), hits.size, probability).pvalue > SURPRISE


def batch(count, canvas, channels=3, seed=0):
    images = np.random.default_rng(seed).integers(0, 256, (count, canvas, canvas, channels), dtype=np.uint8)
    return jnp.asarray(images), jnp.full((count, 2), canvas, jnp.int32)


@functools.cache
def viewer(config):
    return jax.jit(functools.partial(random_views, config=config))


def test_area_and_ratio_of_crops():
    """Where every draw fits, both are uniform, the ratio on a logarithmic scale."""
    config = ViewConfig(crop_area=(0.08, 0.45), crop_ratio=(0.5, 4 / 3))
    box = drawn(config, (4000, 4000)).box
    check_uniform(box.height * box.width / 4000**2, 0.08, 0.45, rounding=1e-3)
    check_uniform(np.log(box.width / box.height), math.log(0.5), math.log(4 / 3), rounding=1e-3)


def test_crops_that_do_not_fit_are_drawn_again():
    """The whole distribution beside that of a loop written from torchvision's RandomResizedCrop."""
    config, (height, width) = ViewConfig(), (90, 120)
    box, rng = drawn(config, (height, width)).box, np.random.default_rng(1)
    expected = []
    for _ in range(DRAWS):
        for _ in range(10):
            area = height * width * rng.uniform(*config.crop_area)
            ratio = math.exp(rng.uniform(*np.log(config.crop_ratio)))
            w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < w <= width and 0 < h <= height:
                expected.append((rng.integers(0, height - h + 1), rng.integers(0, width - w + 1), h, w))
                break
    for ours, theirs in zip(box, np.array(expected).T, strict=True):
        assert stats.ks_2samp(ours, theirs).pvalue > SURPRISE
    assert (box.top >= 0).all()
    assert (box.left >= 0).all()
    assert (box.top + box.height).max() == height
    assert (box.left + box.width).max() == width


def test_places_of_crops_are_uniform():
    box = drawn(ViewConfig(crop_area=(0.25, 0.25), crop_ratio=(1, 1)), (20, 20)).box
    assert set(box.height) == set(box.width) == {10}
    counts = np.zeros((11, 11))
    np.add.at(counts, (box.top, box.left), 1)
    assert stats.chisquare(counts.ravel()).pvalue > SURPRISE


@pytest.mark.parametrize(
    ("extent", "ratio", "expected"),
    [
        ((90, 10), (0.75, 4 / 3), (38, 0, 13, 10)),
        ((10, 90), (0.75, 4 / 3), (0, 38, 10, 13)),
        ((10, 12), (1, 1), (0, 1, 10, 10)),
        ((1, 50), (0.75, 4 / 3), (0, 24, 1, 1)),
        ((8, 8), (0.5, 2), (0, 0, 8, 8)),
    ],
)
def test_without_a_fitting_draw_the_crop_is_central(extent, ratio, expected):
    """An area of 1 fits a picture that is not square at no ratio, and one that is square only at ratio 1."""
    config = ViewConfig(crop_area=(1, 1), crop_ratio=ratio)
    assert tuple(map(int, draw_box(jnp.full(40, 0.4), jnp.array(extent), config))) == expected


def test_rates():
    view = drawn(ViewConfig(flip=0.3, jitter=0.7, grayscale=0.25, blur=0.6, solarise=0.15))
    check_rate(view.flip, 0.3)
    check_rate(view.jitter.brightness != 1, 0.7)
    check_rate(view.grayscale, 0.25)
    check_rate(view.sigma > 0, 0.6)
    check_rate(view.solarise, 0.15)
    hits = np.stack([view.flip, view.jitter.hue != 0, view.grayscale, view.sigma > 0, view.solarise]).astype(
        float
    )
    correlation = np.corrcoef(hits)[np.triu_indices(5, 1)]
    assert np.abs(correlation).max() < 4.5 / math.sqrt(DRAWS), "drawn independently"


def test_strengths():
    config = ViewConfig(brightness=0.8, contrast=0.4, saturation=1.5, hue=0.2)
    jitter, sigma = drawn(config).jitter, drawn(config).sigma
    applied = jitter.hue != 0
    for factor, low, high in (
        (jitter.brightness, 0.2, 1.8),
        (jitter.contrast, 0.6, 1.4),
        (jitter.saturation, 0, 2.5),
        (jitter.hue, -0.2, 0.2),
    ):
        check_uniform(factor[applied], low, high)
        assert set(factor[~applied]) == {0 if factor is jitter.hue else 1}
    check_uniform(sigma[sigma > 0], 0.1, 2.0)


def test_every_order_of_the_jitter_is_equally_likely():
    rank = drawn(ViewConfig()).jitter.rank
    counts = [np.all(rank == order, axis=1).sum() for order in itertools.permutations(range(4))]
    assert sum(counts) == DRAWS
    assert stats.chisquare(counts).pvalue > SURPRISE


def test_shifts_and_angles():
    view = drawn(ViewConfig(size=20, translate=0.125, rotate=30))
    check_uniform(view.angle, -30, 30)
    for shift in view.shift.T:
        values, counts = np.unique(shift, return_counts=True)
        np.testing.assert_array_equal(values, [-2, -1, 0, 1, 2])
        assert stats.chisquare(counts, DRAWS * np.array([0.2] * 5)).pvalue > SURPRISE


def test_what_is_off_is_not_compiled():
    assert drawn(NOTHING)[1:] == (None,) * 7
    view = drawn(ViewConfig(), channels=1)
    assert view.grayscale is view.jitter.saturation is view.jitter.hue is None
    rng, (images, extents) = jax.random.key(0), batch(2, 24)

    def work(config):
        return len(str(jax.make_jaxpr(functools.partial(random_views, config=config))(rng, images, extents)))

    config = dataclasses.replace(NOTHING, size=24, jitter=0.8)
    for switch in ("jitter", "brightness", "contrast", "saturation", "hue"):
        assert work(dataclasses.replace(config, **{switch: 0})) < work(config)
    for switch in ("grayscale", "blur", "solarise", "rotate"):
        assert work(dataclasses.replace(config, **{switch: 0.5})) > work(config)


def test_with_everything_off_a_view_is_the_image():
    images, extents = batch(3, 16)
    views = viewer(NOTHING)(jax.random.key(0), images, extents)
    np.testing.assert_allclose(views, np.asarray(images) / np.float32(255), rtol=1e-7)


def test_a_view_of_1_channel_with_colour_settings():
    config = ViewConfig(
        size=16,
        jitter=1,
        brightness=0,
        contrast=0,
        grayscale=1,
        crop_area=(1, 1),
        crop_ratio=(1, 1),
        blur=0,
        flip=0,
    )
    images, extents = batch(2, 16, channels=1)
    views = viewer(config)(jax.random.key(0), images, extents)
    np.testing.assert_allclose(views, np.asarray(images) / np.float32(255), rtol=1e-7)


def test_grey_views_are_grey_and_keep_their_channels():
    images, extents = batch(4, 16)
    views = viewer(dataclasses.replace(NOTHING, grayscale=1))(jax.random.key(0), images, extents)
    assert views.shape == (4, 16, 16, 3)
    np.testing.assert_allclose(views, np.repeat(views[..., :1], 3, -1))
    np.testing.assert_allclose(
        views[..., 0], np.asarray(images) @ np.array([0.299, 0.587, 0.114]) / 255, atol=1e-6
    )


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_drawn_crops_and_flips_come_out_as_pillow_makes_them(interpolation):
    config = dataclasses.replace(
        NOTHING, crop_area=(0.08, 1), crop_ratio=(0.5, 2), flip=0.5, interpolation=interpolation
    )
    images, _ = batch(8, 40)
    extents = jnp.tile(jnp.array([[30, 40], [40, 25]]), (4, 1))
    rng = jax.random.key(3)
    views = viewer(config)(rng, images, extents)
    keys = jax.random.split(rng, 8)
    draws = jax.jit(jax.vmap(lambda key, extent: draw_view(key, extent, 3, config)))(keys, extents)
    assert 0 < draws.flip.sum() < 8
    for i, image in enumerate(np.asarray(images)):
        top, left, height, width = (int(side[i]) for side in draws.box)
        assert top + height <= extents[i, 0]
        assert left + width <= extents[i, 1]
        for channel in range(3):
            crop = Image.fromarray(image[top : top + height, left : left + width, channel].astype(np.float32))
            expected = crop.resize((16, 16), Image.Resampling[interpolation.upper()])
            expected = np.clip(np.asarray(expected) / 255, 0, 1)[:, :: -1 if draws.flip[i] else 1]
            np.testing.assert_allclose(views[i, ..., channel], expected, atol=1e-5)


def test_the_order_of_operations_is_byols():
    """Grey after the jitter, which would colour nothing grey but shift nothing either; then blur, then solarising."""
    config = dataclasses.replace(NOTHING, jitter=1, grayscale=1, blur=1, solarise=1)
    images, extents = batch(1, 16)
    view = draw_view(jax.random.key(0), extents[0], 3, config)
    apply = jax.jit(apply_view, static_argnums=2)

    def only(**kept):
        return apply(
            images[0],
            view._replace(**{name: None for name in view._fields[1:] if name not in kept} | kept),
            config,
        )

    jittered = np.asarray(only(jitter=view.jitter))
    grey = np.repeat(jittered @ np.float32([0.299, 0.587, 0.114])[:, None], 3, -1)
    taps = np.exp(-0.5 * (np.arange(-1, 2) / float(view.sigma)) ** 2)
    taps /= taps.sum()
    blurred = grey
    for axis in (0, 1):
        padded = np.pad(blurred, [(1, 1) if i == axis else (0, 0) for i in range(3)], mode="reflect")
        blurred = sum(tap * np.take(padded, range(i, i + 16), axis) for i, tap in enumerate(taps))
    expected = np.where(blurred < 0.5, blurred, 1 - blurred)
    np.testing.assert_allclose(apply(images[0], view, config), expected, atol=1e-5)


@pytest.mark.parametrize("config", [ViewConfig(size=16), EVERYTHING], ids=["simclr", "everything"])
def test_pixels_beyond_the_extent_never_enter(config):
    images, _ = batch(16, 24)
    extents = jnp.tile(jnp.array([[17, 24], [24, 9], [5, 6], [1, 1]]), (4, 1))
    position, ends = np.arange(24), np.asarray(extents)[..., None, None]
    outside = (position[None, :, None] >= ends[:, 0]) | (position >= ends[:, 1])
    other = jnp.where(outside[..., None], 255 - images, images)
    rng = jax.random.key(0)
    np.testing.assert_array_equal(viewer(config)(rng, images, extents), viewer(config)(rng, other, extents))


@given(
    st.integers(0, 2**31 - 1),
    st.sampled_from([1, 3]),
    st.integers(0, 24),
    st.integers(0, 24),
    st.sampled_from(["random", 0, 255]),
)
def test_views_are_finite_and_between_0_and_1(seed, channels, height, width, content):
    """Extents of 0 are rows that only fill up a batch."""
    images, _ = batch(16, 24, channels, seed % 1000)
    images = images if content == "random" else jnp.full_like(images, content)
    rng, extents = jax.random.key(seed), jnp.full((16, 2), jnp.array([height, width]))
    views = np.asarray(viewer(EVERYTHING)(rng, images, extents))
    assert views.shape == (16, 24, 24, channels)
    assert views.dtype == np.float32
    assert np.isfinite(views).all()
    assert views.min() >= 0
    assert views.max() <= 1
    if content == "random" and min(height, width) > 1:
        assert (views != viewer(EVERYTHING)(jax.random.key(seed + 1), images, extents)).any()


def test_examples_have_views_of_their_own():
    images, extents = batch(16, 24)
    views = np.asarray(viewer(EVERYTHING)(jax.random.key(0), jnp.tile(images[:1], (16, 1, 1, 1)), extents))
    assert len({view.tobytes() for view in views}) == 16


def test_a_view_depends_on_its_key_and_image_alone():
    images, extents = batch(16, 24)
    rng = jax.random.key(5)
    views = viewer(EVERYTHING)(rng, images, extents)
    alone = jax.jit(functools.partial(random_view, config=EVERYTHING))
    for i, key in enumerate(jax.random.split(rng, 16)):
        np.testing.assert_allclose(alone(key, images[i], extents[i]), views[i], atol=1e-5)


def test_views_are_the_same_on_eight_devices():
    images, extents = batch(16, 24)
    rng = jax.random.key(0)
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    rows = NamedSharding(mesh, PartitionSpec("data"))
    on_mesh = viewer(EVERYTHING)(
        jax.device_put(rng, NamedSharding(mesh, PartitionSpec())), *jax.device_put((images, extents), rows)
    )
    assert len(on_mesh.sharding.device_set) == 8
    np.testing.assert_allclose(on_mesh, viewer(EVERYTHING)(rng, images, extents), atol=5e-6)


@pytest.mark.parametrize(
    "wrong",
    [
        {"size": 0},
        {"flip": 1.1},
        {"jitter": -0.1},
        {"blur": math.nan},
        {"hue": 0.6},
        {"brightness": -1},
        {"contrast": math.inf},
        {"crop_area": (0, 1)},
        {"crop_area": (0.5, 0.2)},
        {"crop_area": (0.5, 1.5)},
        {"crop_ratio": (0, 1)},
        {"blur_sigma": (2, 1)},
        {"blur_sigma": (0, 1)},
        {"translate": 2},
        {"rotate": 270},
        {"interpolation": "nearest"},
    ],
    ids=str,
)
def test_wrong_settings_are_named(wrong):
    with pytest.raises(UserError, match=rf"(views|ViewConfig)\.{next(iter(wrong))}"):
        ViewConfig(**wrong)

"""Colours: torchvision's golden vectors, Pillow's grey, and what 1 channel leaves out."""

import itertools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from ssl_jax.transforms.colour import Jitter, jitter_colours, luma, solarise

GOLDEN = dict(np.load(Path(__file__).parent / "golden_images.npz"))
IMAGE = GOLDEN["image/colours"]
OPERATIONS = ("brightness", "contrast", "saturation", "hue")
FACTORS = {"brightness": 1.4, "contrast": 0.3, "saturation": 1.7, "hue": -0.15}
NOTHING = {"brightness": 1.0, "contrast": 1.0, "saturation": 1.0, "hue": 0.0}


def golden(operation):
    """[(parameters, what torchvision made of IMAGE)] of one operation."""
    found = [
        (name.split("/")[1], array) for name, array in GOLDEN.items() if name.startswith(f"{operation}/")
    ]
    assert found
    return found


def planes(image):
    return jnp.swapaxes(jnp.asarray(image), -1, -2)


def draw(order=OPERATIONS, only=OPERATIONS, **factors):
    """A jitter with these factors, of operations in this order; those that are not in `only` are off."""
    values = {
        name: jnp.float32(value) if name in only else None for name, value in (NOTHING | factors).items()
    }
    return Jitter(**values, rank=jnp.array([order.index(name) for name in OPERATIONS], jnp.int32))


@jax.jit
def jittered(image, jitter):
    return planes(jitter_colours(planes(image), jitter))


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_each_operation_is_torchvisions(operation, alone):
    """With the others compiled but neutral, and with the others off."""
    for factor, expected in golden(operation):
        jitter = draw(only=(operation,) if alone else OPERATIONS, **{operation: float(factor)})
        np.testing.assert_allclose(jittered(IMAGE, jitter), expected, atol=1e-5, err_msg=factor)


def test_every_order_is_torchvisions():
    results = []
    for order, expected in golden("jitter"):
        results.append(np.asarray(jittered(IMAGE, draw(tuple(order.split(",")), **FACTORS))))
        np.testing.assert_allclose(results[-1], expected, atol=1e-5, err_msg=order)
    assert len(results) == 24
    assert len({result.tobytes() for result in results}) == 24, "the orders differ"


def test_a_batch_of_all_orders_at_once():
    orders = list(itertools.permutations(OPERATIONS))
    draws = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(draw(order, **FACTORS) for order in orders))
    results = jax.jit(jax.vmap(jitter_colours, in_axes=(None, 0)))(planes(IMAGE), draws)
    for order, result in zip(orders, results, strict=True):
        np.testing.assert_allclose(planes(result), GOLDEN["jitter/" + ",".join(order)], atol=1e-5)


@pytest.mark.parametrize("only", [("brightness", "hue"), ("contrast", "saturation"), ("saturation", "hue")])
def test_without_some_operations_the_others_keep_their_order(only):
    for order in itertools.permutations(OPERATIONS):
        expected = jittered(IMAGE, draw(order, **{name: FACTORS[name] for name in only}))
        np.testing.assert_allclose(jittered(IMAGE, draw(order, only, **FACTORS)), expected, atol=1e-6)


def test_neutral_factors_change_nothing():
    np.testing.assert_array_equal(jittered(IMAGE, draw()), IMAGE)


def test_grey_is_pillows():
    image = np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    expected = np.asarray(Image.fromarray(image).convert("L"), np.float32)
    ours = planes(luma(planes(image.astype(np.float32))))[..., 0]
    np.testing.assert_allclose(ours, expected, atol=0.5 + 1e-3)
    np.testing.assert_allclose(ours, image @ np.array([0.299, 0.587, 0.114]), rtol=1e-6)


def test_with_1_channel_only_brightness_and_contrast_act():
    grey = IMAGE[..., :1]
    only = draw(only=("brightness", "contrast"), **FACTORS)
    bright = np.clip(grey * 1.4, 0, 1)
    expected = np.clip(0.3 * bright + 0.7 * bright.mean(), 0, 1)
    np.testing.assert_allclose(jittered(grey, only), expected, atol=1e-6)
    np.testing.assert_array_equal(planes(luma(planes(grey))), grey)


def test_solarising_is_torchvisions():
    ((_, expected),) = golden("solarise")
    np.testing.assert_array_equal(solarise(jnp.asarray(IMAGE)), expected)
    np.testing.assert_array_equal(solarise(jnp.array([0.0, 0.25, 0.5, 0.75, 1.0])), [0, 0.25, 0.5, 0.25, 0])

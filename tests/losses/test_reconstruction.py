"""Errors of reconstructions against NumPy, and what a weight of 0 leaves out."""

import numpy as np
import pytest

from ssl_jax.losses.reconstruction import pixel_cross_entropy, squared_error

chance = np.random.default_rng(0)
IMAGES = chance.random((5, 4, 3, 2), np.float32)
LOGITS = chance.normal(size=IMAGES.shape).astype(np.float32) * 4
WEIGHTS = np.array([1, 0, 1, 1, 0], np.float32)


@pytest.mark.parametrize("loss", [squared_error, pixel_cross_entropy])
def test_means_over_pixels_of_the_images_that_count(loss):
    if loss is squared_error:
        each = (LOGITS.astype(np.float64) - IMAGES) ** 2
    else:
        probability = 1 / (1 + np.exp(-LOGITS.astype(np.float64)))
        each = -IMAGES * np.log(probability) - (1 - IMAGES) * np.log(1 - probability)
    total, weight = loss(LOGITS, IMAGES, WEIGHTS)
    assert float(total) == pytest.approx(each.mean((1, 2, 3))[WEIGHTS > 0].sum(), rel=1e-5)
    assert float(weight) == 3


def test_cross_entropy_is_finite_where_pixels_are_certain():
    total, _ = pixel_cross_entropy(
        np.array([[-200.0, 200.0]], np.float32), np.array([[0.0, 1.0]]), np.ones(1)
    )
    assert float(total) == 0

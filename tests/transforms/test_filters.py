"""The filters against SciPy's."""

import jax
import numpy as np
from scipy import ndimage

from ssl_jax.transforms.filters import mean_filter, median_filter


def test_median_and_mean_are_those_of_scipy():
    images = np.random.default_rng(0).random((3, 6, 5, 2), np.float32)
    size = (1, 3, 3, 1)
    median, mean = jax.jit(lambda x: (median_filter(x), mean_filter(x)))(images)
    np.testing.assert_allclose(median, ndimage.median_filter(images, size, mode="nearest"), rtol=1e-6)
    np.testing.assert_allclose(mean, ndimage.uniform_filter(images, size, mode="nearest"), rtol=1e-4)

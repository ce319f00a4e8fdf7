"""Inputs and checks that the tests of several losses share."""

import jax
import numpy as np


def unit(x):
    """Rows at unit length, in double precision."""
    x = np.asarray(x, np.float64)
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def projections(batch=16, width=8, seed=0, noise=0.3):
    """Two noisy views of random vectors, float32 [batch, width]."""
    rng = np.random.default_rng(seed)
    first = rng.normal(size=(batch, width))
    return first.astype(np.float32), (first + noise * rng.normal(size=first.shape)).astype(np.float32)


def value(mean):
    """A mean as a number."""
    return float(mean.sum / mean.weight)


def check_gradient(loss, reference, x, step=1e-5, **tolerance):
    """The gradient of `loss` by its argument equals the slope of the reference, which is in double precision."""

    def mean(x):
        terms = loss(x)
        return terms.sum / terms.weight

    gradient = jax.jit(jax.grad(mean))(x)
    slopes = np.empty(x.shape)
    for place in np.ndindex(x.shape):
        moved = np.zeros(x.shape)
        moved[place] = step
        slopes[place] = (reference(x + moved) - reference(x - moved)) / (2 * step)
    np.testing.assert_allclose(gradient, slopes, **tolerance)

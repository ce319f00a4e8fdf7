"""NT-Xent and BYOL's regression against NumPy written from the papers, on one device and on eight."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from ssl_jax.losses.joint_embedding import cosine_regression, nt_xent
from ssl_jax.training.sharding import MeshConfig, make_mesh


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def nt_xent_of_the_paper(first, second, temperature):
    """arXiv:2002.05709, algorithm 1, pair by pair: views 2k and 2k + 1 belong together."""
    z = unit(np.stack([first, second], 1).reshape(2 * len(first), -1).astype(np.float64))
    similarity = z @ z.T

    def loss(i, j):
        others = [np.exp(similarity[i, k] / temperature) for k in range(len(z)) if k != i]
        return -np.log(np.exp(similarity[i, j] / temperature) / sum(others))

    pairs = range(len(first))
    return sum(loss(2 * k, 2 * k + 1) + loss(2 * k + 1, 2 * k) for k in pairs) / len(z)


def projections(batch=16, width=8, seed=0, noise=0.3):
    rng = np.random.default_rng(seed)
    first = rng.normal(size=(batch, width))
    return first.astype(np.float32), (first + noise * rng.normal(size=first.shape)).astype(np.float32)


def mean(pair):
    return float(pair[0] / pair[1])


@pytest.mark.parametrize("temperature", [0.05, 0.5, 1.0])
@pytest.mark.parametrize("batch", [2, 16])
def test_nt_xent_is_the_papers(batch, temperature):
    first, second = projections(batch)
    ours = nt_xent(first, second, jnp.ones(batch), temperature=temperature)
    assert mean(ours) == pytest.approx(nt_xent_of_the_paper(first, second, temperature), rel=2e-6, abs=1e-6)


def test_gradient_is_the_slope_of_the_papers_formula():
    first, second = projections(4, 3)
    grads = jax.grad(lambda z: mean_of(z, second))(first)
    for i, j in np.ndindex(first.shape):
        step = np.zeros_like(first, np.float64)
        step[i, j] = 1e-5
        rise = nt_xent_of_the_paper(first + step, second, 0.5) - nt_xent_of_the_paper(
            first - step, second, 0.5
        )
        assert grads[i, j] == pytest.approx(rise / 2e-5, abs=2e-6)


def mean_of(first, second, temperature=0.5, weights=None):
    total, weight = nt_xent(
        first, second, jnp.ones(len(first)) if weights is None else weights, temperature=temperature
    )
    return total / weight


def test_examples_that_fill_up_a_batch_are_no_negatives():
    first, second = projections(16)
    weights = jnp.arange(16) < 11
    grads = jax.grad(mean_of)(jnp.asarray(first), second, weights=weights.astype(jnp.float32))
    ours = mean_of(first, second, weights=weights.astype(jnp.float32))
    assert float(ours) == pytest.approx(nt_xent_of_the_paper(first[:11], second[:11], 0.5), rel=1e-6)
    assert (np.asarray(grads)[11:] == 0).all()
    assert (np.asarray(grads)[:11] != 0).any(1).all()


@pytest.mark.parametrize("temperature", [0.05, 0.5])
def test_eight_devices_give_loss_and_gradient_of_one(temperature):
    first, second = projections(64, 32)
    mesh = make_mesh(MeshConfig())
    along = NamedSharding(mesh, PartitionSpec(("data", "fsdp")))
    both = jax.jit(jax.value_and_grad(lambda pair: mean_of(*pair, temperature)))
    alone, grads = both((first, second))
    with jax.set_mesh(mesh):
        spread, spread_grads = both(jax.device_put((first, second), along))
    assert float(spread) == pytest.approx(float(alone), rel=1e-6)
    for ours, wanted in zip(spread_grads, grads, strict=True):
        assert len(ours.sharding.device_set) == 8
        np.testing.assert_allclose(ours, wanted, rtol=0, atol=1e-6 * np.abs(wanted).max())


def test_a_small_temperature_in_bfloat16_errs_by_its_inputs_only():
    """Half-precision logits would be wrong by up to 2^-9 / 0.05 = 4 %; the loss of the rounded inputs is exact."""
    first, second = (x.astype(jnp.bfloat16) for x in map(jnp.asarray, projections(64, 32, noise=1.0)))
    ours = float(mean_of(first, second, 0.05))
    rounded = [np.asarray(x, np.float64) for x in (first, second)]
    assert ours == pytest.approx(nt_xent_of_the_paper(*rounded, 0.05), rel=1e-6)
    assert np.isfinite(ours)
    grads = jax.grad(mean_of)(first, second, 0.05)
    exact = jax.grad(mean_of)(first.astype(jnp.float32), second.astype(jnp.float32), 0.05)
    np.testing.assert_allclose(np.asarray(grads, np.float32), exact, atol=2**-8 * float(jnp.abs(exact).max()))


def test_extremes_are_finite():
    same = jnp.ones((8, 4))
    for first, second in ((same, same), (same, -same), (0 * same, 0 * same)):
        value, grads = jax.value_and_grad(mean_of)(first, second, 0.01)
        assert np.isfinite(value)
        assert np.isfinite(grads).all()


def test_cosine_regression_is_the_distance_of_unit_vectors_and_leaves_the_target_alone():
    first, second = projections(16)
    weights = jnp.asarray(np.random.default_rng(1).integers(0, 2, 16).astype(np.float32))
    distance = np.square(unit(first.astype(np.float64)) - unit(second.astype(np.float64))).sum(-1)
    total, weight = cosine_regression(first, second, weights)
    assert float(total) == pytest.approx((distance * np.asarray(weights)).sum(), rel=1e-5)
    assert float(weight) == weights.sum()
    into = jax.grad(lambda pair: cosine_regression(*pair, weights)[0])((first, second))
    assert (np.asarray(into[1]) == 0).all()
    assert (np.asarray(into[0]) != 0).any()

"""NT-Xent and InfoNCE with a queue against NumPy written from the papers, on one device and on eight."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from ssl_jax.losses import joint_embedding
from ssl_jax.losses.joint_embedding import Queue, enqueue
from ssl_jax.training.sharding import MeshConfig, make_mesh
from tests.losses.joint_embedding.numerics import check_gradient, projections, unit, value

info_nce, nt_xent = jax.jit(joint_embedding.info_nce), jax.jit(joint_embedding.nt_xent)
random_queue = jax.jit(joint_embedding.random_queue, static_argnums=(1, 2))


def nt_xent_of_the_paper(first, second, temperature):
    """arXiv:2002.05709, algorithm 1, pair by pair: views 2k and 2k + 1 belong together."""
    z = unit(np.stack([first, second], 1).reshape(2 * len(first), -1))
    similarity = z @ z.T

    def loss(i, j):
        others = [np.exp(similarity[i, k] / temperature) for k in range(len(z)) if k != i]
        return -np.log(np.exp(similarity[i, j] / temperature) / sum(others))

    pairs = range(len(first))
    return sum(loss(2 * k, 2 * k + 1) + loss(2 * k + 1, 2 * k) for k in pairs) / len(z)


def info_nce_of_the_paper(queries, keys, queue, temperature):
    """arXiv:1911.05722, equation 1, with the positive key in the denominator beside those of the queue."""
    queries, keys, queue = unit(queries), unit(keys), np.asarray(queue, np.float64)
    losses = []
    for query, key in zip(queries, keys, strict=True):
        terms = np.exp(np.concatenate([[query @ key], queue @ query]) / temperature)
        losses.append(-np.log(terms[0] / terms.sum()))
    return np.mean(losses)


@jax.jit
def mean_of(first, second, temperature=0.5, weights=None):
    total, weight = nt_xent(
        first, second, jnp.ones(len(first)) if weights is None else weights, temperature=temperature
    )
    return total / weight


gradient_of_mean = jax.jit(jax.grad(mean_of))


@pytest.mark.parametrize("temperature", [0.05, 0.5, 1.0])
@pytest.mark.parametrize("batch", [2, 16])
def test_nt_xent_is_the_papers(batch, temperature):
    first, second = projections(batch)
    ours = nt_xent(first, second, jnp.ones(batch), temperature=temperature)
    assert value(ours) == pytest.approx(nt_xent_of_the_paper(first, second, temperature), rel=2e-6, abs=1e-6)


def test_gradient_of_nt_xent_is_the_slope_of_the_papers_formula():
    first, second = projections(4, 3)
    check_gradient(
        lambda z: nt_xent(z, second, jnp.ones(4), temperature=0.5),
        lambda z: nt_xent_of_the_paper(z, second, 0.5),
        first,
        atol=2e-6,
    )


def test_examples_that_fill_up_a_batch_are_no_negatives():
    first, second = projections(16)
    weights = jnp.arange(16) < 11
    grads = gradient_of_mean(jnp.asarray(first), second, weights=weights.astype(jnp.float32))
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
    grads = gradient_of_mean(first, second, 0.05)
    exact = gradient_of_mean(first.astype(jnp.float32), second.astype(jnp.float32), 0.05)
    np.testing.assert_allclose(np.asarray(grads, np.float32), exact, atol=2**-8 * float(jnp.abs(exact).max()))


def test_extremes_are_finite():
    of_pairs = jax.jit(jax.value_and_grad(mean_of))
    of_queue = jax.jit(
        jax.value_and_grad(
            lambda query, key, queue: info_nce(query, key, queue, jnp.ones(8), temperature=0.01).sum
        )
    )
    same = jnp.ones((8, 4))
    for first, second in ((same, same), (same, -same), (0 * same, 0 * same)):
        loss, grads = of_pairs(first, second, 0.01)
        assert np.isfinite(loss)
        assert np.isfinite(grads).all()
        queue = Queue(same / 2, jnp.int32(0))
        loss, grads = of_queue(first, second, queue)
        assert np.isfinite(loss)
        assert np.isfinite(grads).all()


@pytest.mark.parametrize("temperature", [0.07, 0.2, 1.0])
def test_info_nce_is_the_papers(temperature):
    queries, keys = projections(6)
    queue = random_queue(jax.random.key(0), 12, 8)
    ours = info_nce(queries, keys, queue, jnp.ones(6), temperature=temperature)
    wanted = info_nce_of_the_paper(queries, keys, queue.keys, temperature)
    assert value(ours) == pytest.approx(wanted, rel=2e-6, abs=1e-6)


def test_gradient_of_info_nce_is_the_slope_of_the_papers_formula_and_goes_into_queries_only():
    queries, keys = projections(4, 3)
    queue = random_queue(jax.random.key(0), 6, 3)
    check_gradient(
        lambda z: info_nce(z, keys, queue, jnp.ones(4), temperature=0.2),
        lambda z: info_nce_of_the_paper(z, keys, queue.keys, 0.2),
        queries,
        atol=2e-6,
    )
    into = jax.grad(
        lambda keys, negatives: (
            info_nce(queries, keys, queue._replace(keys=negatives), jnp.ones(4), temperature=0.2).sum
        ),
        argnums=(0, 1),
    )(keys, queue.keys)
    assert all((np.asarray(grad) == 0).all() for grad in into)


def test_a_query_of_weight_0_counts_for_nothing():
    queries, keys = projections(6)
    queue = random_queue(jax.random.key(0), 12, 8)
    weights = jnp.array([1.0, 1, 1, 1, 0, 0])

    def loss(queries, weights):
        return info_nce(queries, keys[: len(queries)], queue, weights, temperature=0.2)

    assert value(loss(queries, weights)) == pytest.approx(value(loss(queries[:4], jnp.ones(4))), rel=1e-6)
    grads = np.asarray(jax.grad(lambda z: loss(z, weights).sum)(queries))
    assert (grads[4:] == 0).all()
    assert (grads[:4] != 0).any(1).all()


def test_a_queue_starts_with_random_unit_vectors():
    queue = random_queue(jax.random.key(3), 512, 16)
    np.testing.assert_allclose(np.linalg.norm(queue.keys, axis=1), 1, rtol=1e-6)
    assert np.abs(np.asarray(queue.keys).mean(0)).max() < 0.06  # 5 standard deviations
    assert int(queue.oldest) == 0
    assert not np.array_equal(queue.keys, random_queue(jax.random.key(4), 512, 16).keys)


def test_the_oldest_keys_are_overwritten_in_turn():
    queue = random_queue(jax.random.key(0), 6, 4)
    before = np.asarray(queue.keys)
    batches = [projections(2, 4, seed=seed)[0] for seed in range(4)]
    for batch in batches:
        queue = jax.jit(enqueue)(queue, batch, jnp.ones(2))
    np.testing.assert_allclose(
        queue.keys, unit(np.concatenate([batches[3], batches[1], batches[2]])), rtol=1e-5
    )
    assert int(queue.oldest) == 2
    kept = enqueue(queue, batches[0], jnp.array([1.0, 0.0]))
    np.testing.assert_allclose(kept.keys[2], unit(batches[0][0]), rtol=1e-5)
    np.testing.assert_array_equal(kept.keys[3], queue.keys[3])
    assert not np.array_equal(queue.keys, before)


def test_a_batch_larger_than_the_queue_is_refused():
    with pytest.raises(ValueError, match="a queue of 6 keys cannot take in 7"):
        enqueue(random_queue(jax.random.key(0), 6, 4), jnp.ones((7, 4)), jnp.ones(7))

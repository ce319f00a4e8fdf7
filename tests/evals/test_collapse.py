import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from ssl_jax.evals import collapse

alignment, collapse_metrics = jax.jit(collapse.alignment), jax.jit(collapse.collapse_metrics)
effective_rank, uniformity = jax.jit(collapse.effective_rank), jax.jit(collapse.uniformity)


def unit(z):
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def embeddings(batch=40, width=12, seed=0):
    """Correlated, off centre, of unequal spread."""
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(batch, width)) * np.logspace(0, -1.5, width) @ rng.normal(size=(width, width))
    return (mixed + 0.3 * rng.normal(size=width)).astype(np.float32)


def rank_reference(z):
    values = np.linalg.svd(z.astype(np.float64), compute_uv=False)
    shares = values / values.sum() + 1e-7
    return np.exp(-(shares * np.log(shares)).sum())


def uniformity_reference(z):
    z = unit(z.astype(np.float64))
    pairs = [np.exp(-2 * ((z[i] - z[j]) ** 2).sum()) for i in range(len(z)) for j in range(i)]
    return np.log(np.mean(pairs))


def mean(pair):
    return float(pair[0] / pair[1])


def metrics(z, weights=None):
    weights = jnp.ones(len(z)) if weights is None else weights
    found = jax.jit(lambda z, w: {**collapse_metrics(z, w), "uniformity": uniformity(z, w)})(z, weights)
    assert {float(weight) for _, weight in found.values()} == {float(weights.sum())}
    return {name: mean(pair) for name, pair in found.items()}


@pytest.mark.parametrize(("batch", "width"), [(40, 12), (12, 40), (16, 16)])
def test_figures_are_the_papers(batch, width):
    z = embeddings(batch, width)
    found = metrics(z)
    assert found["embedding_std"] == pytest.approx(unit(z).std(0).mean(), rel=1e-5)
    assert found["effective_rank"] == pytest.approx(rank_reference(z), rel=2e-3)
    assert found["uniformity"] == pytest.approx(uniformity_reference(z), rel=1e-5)


def test_alignment_is_the_papers():
    z1, z2 = embeddings(seed=1), embeddings(seed=2)
    total, weight = alignment(z1, z2, jnp.ones(40))
    assert float(total) == pytest.approx(np.square(unit(z1) - unit(z2)).sum(), rel=1e-5)
    assert float(weight) == 40
    assert mean(alignment(z1, 3 * z1, jnp.ones(40))) == pytest.approx(0, abs=1e-6)
    assert mean(alignment(z1, -z1, jnp.ones(40))) == pytest.approx(4, rel=1e-5)


def test_rows_of_weight_0_are_as_if_left_out():
    z, other, keep = embeddings(), embeddings(seed=3), np.arange(40) % 3 > 0
    weights = jnp.asarray(keep, jnp.float32)
    found, expected = metrics(z, weights), metrics(z[keep])
    assert found == pytest.approx(expected, rel=1e-4)
    assert float(alignment(z, other, weights)[0]) == pytest.approx(
        float(alignment(z[keep], other[keep], jnp.ones(keep.sum()))[0]), rel=1e-5
    )
    assert found != pytest.approx(metrics(z), rel=1e-2)


def test_whole_weights_repeat_an_example():
    z, weights = embeddings(20), np.arange(20) % 3
    found, repeated = metrics(z, jnp.asarray(weights, jnp.float32)), metrics(np.repeat(z, weights, axis=0))
    for name in ("embedding_std", "effective_rank"):
        assert found[name] == pytest.approx(repeated[name], rel=1e-4)


def test_collapse_is_told_from_health():
    rng = np.random.default_rng(0)
    width = 64
    noise = rng.normal(size=(256, width)).astype(np.float32)
    healthy = metrics(noise)
    assert healthy["embedding_std"] == pytest.approx(width**-0.5, rel=0.01)
    assert healthy["effective_rank"] > 0.9 * width
    assert healthy["uniformity"] < -3.5

    point = metrics(np.ones(width, np.float32) + 1e-6 * noise)
    assert point["embedding_std"] < 0.001 * width**-0.5
    assert point["effective_rank"] < 1.01
    assert point["uniformity"] > -0.001

    plane = metrics(noise[:, :2] @ rng.normal(size=(2, width)).astype(np.float32))
    assert 1.5 < plane["effective_rank"] < 2.01
    assert (
        plane["embedding_std"] > 0.8 * width**-0.5
    )  # blind to a collapse of dimensions, which the rank sees


def test_of_many_wide_embeddings_the_rank_is_that_of_the_first(monkeypatch):
    monkeypatch.setattr(collapse, "RANKED", 16)
    wide = np.concatenate([embeddings(20)] * 2, axis=1)
    narrow = wide[:, :16]
    for z, expected in ((wide, wide[:16]), (narrow, narrow)):
        found = jax.jit(lambda z: collapse.effective_rank(z, jnp.ones(20)))(z)
        assert float(found) == pytest.approx(rank_reference(expected), rel=2e-3)


@pytest.mark.parametrize("scale", [1e-15, 1.0, 1e15])
def test_rank_does_not_depend_on_the_scale(scale):
    z = embeddings()
    assert float(effective_rank(z * np.float32(scale), jnp.ones(40))) == pytest.approx(
        rank_reference(z), rel=2e-3
    )


def test_nothing_weighs_nothing():
    z = embeddings()
    for pair in [*collapse_metrics(z, jnp.zeros(40)).values(), uniformity(z, jnp.zeros(40))]:
        assert [float(x) for x in pair] == [0, 0]
    single = jnp.zeros(40).at[3].set(1)
    assert [float(x) for x in uniformity(z, single)] == [0, 0]
    assert [float(x) for x in alignment(z, z, jnp.zeros(40))] == [0, 0]
    assert all(np.isfinite(mean(pair)) for pair in collapse_metrics(jnp.zeros((8, 4)), jnp.ones(8)).values())


def test_bfloat16_is_measured_in_float32():
    z = jnp.asarray(embeddings(), jnp.bfloat16)
    found, expected = metrics(z), metrics(np.asarray(z, np.float32))
    assert found == pytest.approx(expected, rel=1e-6)


def test_devices_do_not_matter():
    z, weights = embeddings(), jnp.ones(40).at[5].set(0)
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    sharded = [jax.device_put(x, NamedSharding(mesh, P("data"))) for x in (z, weights)]
    assert metrics(*sharded) == pytest.approx(metrics(z, weights), rel=1e-5)

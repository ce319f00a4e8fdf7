"""Likelihoods, divergences and bounds against SciPy, Monte Carlo, and a model whose likelihood is known."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from ssl_jax.losses import variational
from ssl_jax.losses.variational import bits_per_dim, kl_weight, log_importance_weights, sample_gaussian

bernoulli_log_likelihood = jax.jit(variational.bernoulli_log_likelihood)
elbo, negative_elbo = jax.jit(variational.elbo), jax.jit(variational.negative_elbo)
gaussian_kl = jax.jit(variational.gaussian_kl)
gaussian_log_likelihood = jax.jit(variational.gaussian_log_likelihood)
importance_weighted_bound = jax.jit(variational.importance_weighted_bound)


def normal(shape, seed=0, scale=1.0):
    return (scale * np.random.default_rng(seed).normal(size=shape)).astype(np.float32)


def test_kl_is_the_mean_log_ratio_of_draws():
    """Within four standard errors of 200,000 draws, in each of eight dimensions."""
    mean, log_variance, draws = normal(8), normal(8, 1), 200_000
    scale = np.exp(np.float64(log_variance) / 2)
    z = mean + scale * np.random.default_rng(2).normal(size=(draws, 8))
    ratios = stats.norm.logpdf(z, mean, scale) - stats.norm.logpdf(z)
    error = ratios.std(0) / np.sqrt(draws)
    ours = np.asarray(gaussian_kl(jnp.asarray(mean), jnp.asarray(log_variance)))
    assert (np.abs(ours - ratios.mean(0)) < 4 * error).all()


def test_kl_keeps_its_digits_near_the_prior_and_is_never_negative():
    """It is log_variance^2 / 4 there, which is far below the rounding of exp(v) - 1 - v."""
    v = jnp.array([-1e-2, -1e-4, 0.0, 1e-4, 1e-2])
    ours = gaussian_kl(jnp.zeros(5), v)
    v = np.float64(v)
    np.testing.assert_allclose(ours, (np.expm1(v) - v) / 2, atol=2e-9)
    assert (ours >= 0).all()
    assert np.isfinite(gaussian_kl(jnp.zeros(2), jnp.array([-80.0, 80.0]))).all()


def test_likelihoods_are_scipys():
    x, mean, log_variance = normal(50), normal(50, 1), normal(50, 2)
    ours = gaussian_log_likelihood(*map(jnp.asarray, (x, mean, log_variance)))
    wanted = stats.norm.logpdf(np.float64(x), mean, np.exp(np.float64(log_variance) / 2))
    np.testing.assert_allclose(ours, wanted, rtol=1e-5, atol=1e-6)

    bits, logits = np.arange(50) % 2, normal(50, 3, scale=3.0)
    ours = bernoulli_log_likelihood(jnp.asarray(bits), jnp.asarray(logits))
    wanted = stats.bernoulli.logpmf(bits, 1 / (1 + np.exp(-np.float64(logits))))
    np.testing.assert_allclose(ours, wanted, rtol=1e-5, atol=1e-6)
    grey = bernoulli_log_likelihood(jnp.full(50, 0.25), jnp.asarray(logits))
    each = [bernoulli_log_likelihood(jnp.full(50, bit), jnp.asarray(logits)) for bit in (0.0, 1.0)]
    np.testing.assert_allclose(grey, 0.75 * each[0] + 0.25 * each[1], rtol=1e-5, atol=1e-6)


def test_extreme_logits_are_finite():
    both = jax.vmap(jax.value_and_grad(bernoulli_log_likelihood, argnums=1))
    value, slope = both(jnp.array([0.0, 1.0, 0.0, 1.0]), jnp.array([1e4, 1e4, -1e4, -1e4]))
    np.testing.assert_allclose(value, [-1e4, 0, 0, -1e4])
    np.testing.assert_allclose(slope, [-1, 0, 0, 1])


def test_draws_have_their_mean_and_deviation_and_carry_gradients():
    mean, log_variance = jnp.array([-1.0, 3.0]), jnp.array([0.5, -2.0])
    draws = jnp.ones((50_000, 1))
    z = np.asarray(sample_gaussian(jax.random.key(0), mean[None] * draws, log_variance[None] * draws))
    for column, m, v in zip(z.T, mean, log_variance, strict=True):
        assert stats.kstest(column, stats.norm(float(m), float(np.exp(v / 2))).cdf).pvalue > 1e-3

    def one(mean, log_variance):
        return sample_gaussian(jax.random.key(1), mean, log_variance).sum()

    slopes = jax.grad(one, argnums=(0, 1))(mean, log_variance)
    noise = jax.random.normal(jax.random.key(1), (2,))
    np.testing.assert_allclose(slopes[0], 1)
    np.testing.assert_allclose(slopes[1], noise * jnp.exp(log_variance / 2) / 2, rtol=1e-6)


BATCH, DATA, CODE = 6, 5, 2


def linear_gaussian(seed=0):
    """z ~ N(0, 1), x ~ N(W z, s^2) with orthogonal columns in W, so that the posterior is diagonal.

    Returns x, W, s, the posterior's (mean, log_variance) of each x, and log p(x), in double precision.
    """
    rng = np.random.default_rng(seed)
    w = np.linalg.qr(rng.normal(size=(DATA, CODE)))[0] * np.array([1.5, 0.7])
    s = 0.8
    x = rng.normal(size=(BATCH, CODE)) @ w.T + s * rng.normal(size=(BATCH, DATA))
    variance = 1 / (1 + np.square(w).sum(0) / s**2)
    mean = x @ w / s**2 * variance
    log_p = stats.multivariate_normal(np.zeros(DATA), w @ w.T + s**2 * np.eye(DATA)).logpdf(x)
    return x, w, s, (mean, np.broadcast_to(np.log(variance), mean.shape)), log_p


@functools.partial(jax.jit, static_argnames="samples")
def weigh(rng, q, x, w, s, samples):
    """(log likelihoods, log importance weights), each [samples, batch]."""
    mean, log_variance = q
    many = (samples, *mean.shape)
    z = sample_gaussian(rng, jnp.broadcast_to(mean, many), jnp.broadcast_to(log_variance, many))
    restored = jnp.einsum("sbc,dc->sbd", z, w)
    shape = restored.shape
    pixels = gaussian_log_likelihood(jnp.broadcast_to(x, shape), restored, jnp.full(shape, 2 * jnp.log(s)))
    likelihood = pixels.sum(-1)
    return likelihood, log_importance_weights(likelihood, z, mean, log_variance)


def test_with_the_exact_posterior_every_weight_is_the_likelihood_itself():
    x, w, s, posterior, log_p = linear_gaussian()
    posterior = tuple(map(jnp.float32, posterior))
    likelihood, log_weights = weigh(jax.random.key(0), posterior, jnp.float32(x), jnp.float32(w), s, 400)
    np.testing.assert_allclose(log_weights, np.broadcast_to(log_p, (400, BATCH)), rtol=1e-5)
    np.testing.assert_allclose(importance_weighted_bound(log_weights), log_p, rtol=1e-5)
    bounds = elbo(likelihood, gaussian_kl(*posterior)[None])
    error = np.asarray(bounds).std(0) / 20
    assert (np.abs(np.asarray(bounds).mean(0) - log_p) < 4 * error).all()


def test_elbo_is_below_the_importance_weighted_bound_which_rises_to_the_likelihood():
    """With a wrong posterior, over 40,000 draws in groups of 1, 5, 50 and 1,000."""
    x, w, s, (mean, log_variance), log_p = linear_gaussian()
    q = jnp.float32(mean + 0.3), jnp.float32(log_variance + 0.4)
    likelihood, log_weights = weigh(jax.random.key(1), q, jnp.float32(x), jnp.float32(w), s, 40_000)
    bounds = [elbo(likelihood, gaussian_kl(*q)[None])]
    for group in (1, 5, 50, 1000):
        bounds.append(importance_weighted_bound(log_weights.reshape(-1, group, BATCH).swapaxes(0, 1)))
    means = np.array([np.asarray(bound, np.float64).mean(0) for bound in bounds])
    errors = np.array([np.asarray(bound, np.float64).std(0) / np.sqrt(len(bound)) for bound in bounds])
    assert (np.abs(means[0] - means[1]) < 4 * (errors[0] + errors[1])).all()
    assert (np.diff(means[1:], axis=0) > 0).all()
    assert (means[1] < log_p - 0.05).all()
    assert (means < log_p[None] + 4 * errors).all()
    assert (np.abs(means[-1] - log_p) < 0.01).all()
    # The exact gap of the ELBO is the divergence of q from the posterior.
    ratio = np.exp(0.4)
    gap = (ratio - 1 - 0.4 + 0.09 / np.exp(log_variance)).sum(-1) / 2
    assert (np.abs(log_p - means[0] - gap) < 4 * errors[0]).all()


def test_negative_elbo_adds_up_and_leaves_out_what_has_no_weight():
    likelihood, kl = normal(4), np.abs(normal((4, 3), 1))
    kept = np.array([True, False, True, True])
    terms = negative_elbo(jnp.asarray(likelihood), jnp.asarray(kl), jnp.asarray(kept, jnp.float32))
    loss = sum(float(total / weight) for total, weight in terms.values())
    bound = elbo(jnp.asarray(likelihood), jnp.asarray(kl))[kept]
    assert loss == pytest.approx(-float(bound.mean()), rel=1e-6)
    double = negative_elbo(jnp.asarray(likelihood), jnp.asarray(kl), jnp.asarray(kept, jnp.float32), beta=2.0)
    assert float(double["kl_loss"][0]) == pytest.approx(2 * float(terms["kl_loss"][0]))
    empty = negative_elbo(jnp.asarray(likelihood), jnp.asarray(kl), jnp.zeros(4))
    assert all(float(total) == 0 for total, _ in empty.values())


def test_free_bits_hold_each_dimension_at_its_mean_over_the_batch():
    """Dimension 0 is below 0.5 in the mean though not in every example, dimension 1 above."""
    kl = jnp.array([[0.9, 0.2], [0.0, 2.0]])
    weights, likelihood = jnp.ones(2), jnp.zeros(2)

    def loss(kl):
        total, weight = negative_elbo(likelihood, kl, weights, free_nats=0.5)["kl_loss"]
        return total / weight

    value, slope = jax.value_and_grad(loss)(kl)
    assert float(value) == pytest.approx(0.5 + 1.1)
    np.testing.assert_allclose(slope, [[0, 0.5], [0, 0.5]])


def test_the_weight_of_the_divergence_rises_to_beta():
    weights = [float(kl_weight(step, beta=4.0, warmup_steps=8)) for step in range(1, 20)]
    assert weights[0] == 0.5
    assert weights[7:] == [4.0] * 12
    assert np.diff(weights[:8]) == pytest.approx(0.5)
    assert float(kl_weight(1, beta=4.0, warmup_steps=0)) == 4.0


def test_bits_of_8_bit_data_count_its_levels():
    """A model of uniform bytes, seen within [0, 1], needs 8 bits of each; one sure of its level none."""
    rng = np.random.default_rng(0)
    y = (rng.integers(0, 256, 784) + rng.uniform(size=784)) / 256
    uniform = -stats.uniform.logpdf(y).sum()
    assert float(bits_per_dim(jnp.float32(uniform), 784, levels=256)) == pytest.approx(8)
    level = np.floor(y * 256) / 256
    sure = -stats.uniform(level, 1 / 256).logpdf(y).sum()
    assert float(bits_per_dim(jnp.float32(sure), 784, levels=256)) == pytest.approx(0, abs=1e-5)
    coins = -784 * np.log(0.5)
    assert float(bits_per_dim(jnp.float32(coins), 784)) == pytest.approx(1)

"""Likelihoods, divergences and bounds of variational autoencoders, in nats (arXiv:1312.6114).

Likelihoods and divergences are per pixel or per dimension of the code; a caller sums them.
"""

import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax.method import Mean

LOG_2PI = float(np.log(2 * np.pi))


def sample_gaussian(rng: jax.Array, mean: jax.Array, log_variance: jax.Array) -> jax.Array:
    """A sample of a diagonal Gaussian with gradients for its parameters (arXiv:1312.6114, 2.4); all are `[...]`."""
    return mean + jnp.exp(log_variance / 2) * jax.random.normal(rng, mean.shape, mean.dtype)


def gaussian_kl(mean: jax.Array, log_variance: jax.Array) -> jax.Array:
    """KL divergence of N(mean, exp(log_variance)) from N(0, 1) in each dimension (arXiv:1312.6114, appendix B).

    Args:
      mean: [..., width], any float type; computed in float32.
      log_variance: [..., width], likewise.

    Returns:
      float32 [..., width], nats.

    Example:
      >>> print(gaussian_kl(jnp.array([0.0, 2.0]), jnp.array([0.0, 0.0])))
      [0. 2.]
    """
    mean, log_variance = mean.astype(jnp.float32), log_variance.astype(jnp.float32)
    # expm1: exp(v) - 1 - v loses its digits near a variance of 1.
    return (jnp.square(mean) + jnp.expm1(log_variance) - log_variance) / 2


def gaussian_log_likelihood(x: jax.Array, mean: jax.Array, log_variance: jax.Array) -> jax.Array:
    """log N(x; mean, exp(log_variance)) of each element; float32, the shape of all three.

    Example:
      >>> print(round(float(gaussian_log_likelihood(jnp.array(0.0), jnp.array(0.0), jnp.array(0.0))), 4))
      -0.9189
    """
    x, mean, log_variance = (a.astype(jnp.float32) for a in (x, mean, log_variance))
    return -(LOG_2PI + log_variance + jnp.square(x - mean) * jnp.exp(-log_variance)) / 2


def bernoulli_log_likelihood(x: jax.Array, logits: jax.Array) -> jax.Array:
    """log p(x) of each pixel, which is 1 with probability sigmoid(logit); float32, the shape of both.

    For a grey pixel x between 0 and 1 the value is the expectation over pixels that are 1 with probability x. It is not
    the likelihood of the grey level, and must not be converted to bits per dimension of 8-bit data.

    Example:
      >>> print(round(float(bernoulli_log_likelihood(jnp.array(1.0), jnp.array(0.0))), 4))
      -0.6931
    """
    x, logits = x.astype(jnp.float32), logits.astype(jnp.float32)
    return x * logits - jax.nn.softplus(logits)


def elbo(log_likelihood: jax.Array, kl: jax.Array) -> jax.Array:
    """The evidence lower bound log p(x|z) - KL(q(z|x) || p(z)) (arXiv:1312.6114, equation 3).

    Args:
      log_likelihood: [...] of an example, by one sample of its code.
      kl: [..., width], as of `gaussian_kl`.

    Example:
      >>> print(elbo(jnp.array([-3.0]), jnp.array([[0.5, 1.0]])))
      [-4.5]
    """
    return log_likelihood - kl.sum(-1)


def negative_elbo(
    log_likelihood: jax.Array,
    kl: jax.Array,
    weights: jax.Array,
    *,
    beta: jax.Array | float = 1.0,
    free_nats: float = 0.0,
) -> dict[str, Mean]:
    """The negative ELBO as two named means, `reconstruction_loss` and `kl_loss`, whose sum is minimised.

    Args:
      log_likelihood: [batch].
      kl: [batch, width] of each dimension of the code.
      weights: [batch] float32, 0 for examples that do not count.
      beta: weight of the KL divergence, 1 for the ELBO (beta-VAE, Higgins et al. 2017). `kl_weight` warms it up.
      free_nats: "free bits" (arXiv:1606.04934): a dimension whose KL divergence, averaged over the batch, is below this
        value counts as this value and has no gradient, so that no dimension is switched off early.

    Example:
      >>> terms = negative_elbo(jnp.array([-3.0]), jnp.array([[0.1, 1.0]]), jnp.ones(1), free_nats=0.5)
      >>> print({name: float(total / weight) for name, (total, weight) in terms.items()})
      {'reconstruction_loss': 3.0, 'kl_loss': 1.5}
    """
    total = weights.sum()
    mean = (kl * weights[:, None]).sum(0) / jnp.where(total > 0, total, 1)
    return {
        "reconstruction_loss": Mean.of(-log_likelihood, weights),
        "kl_loss": Mean(beta * jnp.maximum(mean, free_nats).sum() * total, total),
    }


def kl_weight(step: jax.Array | int, *, beta: float, warmup_steps: int) -> jax.Array:
    """The weight of the KL divergence, which rises linearly to `beta` at step `warmup_steps` (arXiv:1602.02282).

    A loss does not know its step: keep the weight in the extras of a method, start with that of step 1, and set it in
    `after_update` to that of `step + 1`.

    Args:
      step: counts from 1.
      beta: the weight after the warm-up.
      warmup_steps: length of the warm-up.

    Example:
      >>> print([float(kl_weight(step, beta=2.0, warmup_steps=4)) for step in (1, 2, 4, 9)])
      [0.5, 1.0, 2.0, 2.0]
    """
    return beta * jnp.minimum(jnp.asarray(step, jnp.float32) / max(warmup_steps, 1), 1.0)


def log_importance_weights(
    log_likelihood: jax.Array, z: jax.Array, mean: jax.Array, log_variance: jax.Array
) -> jax.Array:
    """log p(x|z) + log p(z) - log q(z|x) of samples z of q, with p(z) = N(0, 1).

    Args:
      log_likelihood: [samples, batch], log p(x|z).
      z: [samples, batch, width].
      mean: [batch, width], of q.
      log_variance: [batch, width], of q.

    Returns:
      float32 [samples, batch].
    """
    # log p(z) - log q(z|x), where the two constants cancel.
    z, mean, log_variance = (a.astype(jnp.float32) for a in (z, mean[None], log_variance[None]))
    odds = (jnp.square(z - mean) * jnp.exp(-log_variance) + log_variance - jnp.square(z)) / 2
    return log_likelihood + odds.sum(-1)


def importance_weighted_bound(log_weights: jax.Array) -> jax.Array:
    """log of the mean importance weight, a lower bound of log p(x) (arXiv:1509.00519, equation 8).

    Its expectation grows with the number of samples; with one sample it is the ELBO.

    Args:
      log_weights: [samples, ...], as of `log_importance_weights`.

    Returns:
      [...], nats.

    Example:
      >>> print(round(float(importance_weighted_bound(jnp.log(jnp.array([1.0, 3.0])))), 4))  # log 2
      0.6931
    """
    return jax.nn.logsumexp(log_weights, axis=0) - float(np.log(log_weights.shape[0]))


def bits_per_dim(nats: jax.Array, dims: int, *, levels: int = 1) -> jax.Array:
    """Bits per pixel and channel of a negative log-likelihood.

    A density gives the 256 values of an 8-bit pixel no probability. Uniform noise as wide as a level makes the pixels
    continuous ("dequantisation"): the mean log-density of y = x + u, in units of levels, is a lower bound of log P(x)
    (arXiv:1511.01844, 3.1). A model is given y / 256 within [0, 1] instead, where densities are 256 times as high per
    dimension; adding log2(256) = 8 bits corrects this, so that the result is that of the 8-bit data.

    Args:
      nats: [...] of whole examples: minus the log-likelihood, or minus a bound of it.
      dims: number of pixels times channels.
      levels: by which the data was divided before the density was taken: 256 for 8-bit data within [0, 1]; 1 for a
        probability of the discrete data itself, and for binary data.

    Example:
      >>> print(float(bits_per_dim(jnp.array(0.0), 784, levels=256)))  # a uniform density
      8.0
    """
    return nats / float(dims * np.log(2)) + float(np.log2(levels))

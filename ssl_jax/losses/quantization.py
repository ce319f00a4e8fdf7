"""Losses and figures of discrete codes: what keeps vectors at their codes, and the codes in use."""

import jax
import jax.numpy as jnp

from ssl_jax.method import Mean
from ssl_jax.placement import along_batch

PROBABILITY = 1e-30
"""Least probability in a logarithm: what is impossible adds nothing to an entropy, and has a finite gradient."""


def commitment_loss(x: jax.Array, quantized: jax.Array, weights: jax.Array) -> Mean:
    """Squared distance of vectors to their codes, moving the vectors (arXiv:1711.00937, equation 3, third term).

    The mean over channels, as in the authors' code, where the paper's norm is their sum. The paper weighs it by
    beta 0.25.

    Args:
      x, quantized: [..., width], any float type; computed in float32. weights: [...] float32.

    Example:
      >>> total, weight = commitment_loss(jnp.array([[1.0, 3.0]]), jnp.array([[0.0, 3.0]]), jnp.ones(1))
      >>> print(float(total), float(weight))
      0.5 1.0
    """
    distance = jnp.square(x.astype(jnp.float32) - jax.lax.stop_gradient(quantized).astype(jnp.float32))
    return Mean.of(distance.mean(-1), weights)


def codebook_loss(x: jax.Array, quantized: jax.Array, weights: jax.Array) -> Mean:
    """The same distance, moving the codes (arXiv:1711.00937, equation 3, second term).

    Args:
      x: [..., width].
      quantized: [..., width], looked up in a codebook that is a parameter, without the straight-through gradient.
      weights: [...] float32.
    """
    return commitment_loss(quantized, x, weights)


def perplexity(counts: jax.Array) -> jax.Array:
    """exp of the entropy of the codes: how many would be in use if all were used alike; 1 to K, and 1 without a count.

    Args:
      counts: [codes], of the global batch, or of a data set.

    Example:
      >>> print(round(float(perplexity(jnp.array([5.0, 5.0, 0.0]))), 4))
      2.0
    """
    total = counts.sum()
    shares = counts / jnp.where(total > 0, total, 1)
    return jnp.exp(entropy(shares))


def entropy(probabilities: jax.Array, axis: int = -1) -> jax.Array:
    """Of `probabilities [..., outcomes]`, in nats.

    Example:
      >>> print(round(float(entropy(jnp.array([0.5, 0.5, 0.0]))), 4))
      0.6931
    """
    return -jnp.sum(probabilities * jnp.log(jnp.maximum(probabilities, PROBABILITY)), axis=axis)


def entropy_penalty(
    x: jax.Array, weights: jax.Array, *, temperature: float, diversity: float = 1.0
) -> dict[str, Mean]:
    """Lookup-free codes that are each certain, and all used (MAGVIT-v2, arXiv:2310.05737, 3.1).

    A vector x has the code c, of -1 and 1, with probability softmax(-|x - c|^2 / temperature) over all codes, which is
    a product over bits: bit i is 1 with probability sigmoid(4 x_i / temperature). The entropy of a vector's code is
    thereby the sum over its bits, and that of the batch's average code, which is no product, comes from the
    probabilities of the first and the second half of the bits: one matrix product gives those of all 2^bits codes,
    exactly, where the paper approximates them for 2^18.

    Args:
      x: [..., bits], before the sign is taken; any float type, computed in float32.
      weights: [...] float32, 0 for what does not count.
      temperature: above 0.
      diversity: weight of the second term.

    Returns:
      named means: `code_entropy_loss`, the mean entropy of a code, and `code_diversity_loss`, minus
      `diversity` times the entropy of the average code, 0 to bits x log 2 nats. Their sum is the paper's loss.
    """
    bits = x.shape[-1]
    rows = along_batch(x.astype(jnp.float32).reshape(-1, bits)) * (4 / temperature)
    counts = weights.reshape(-1)
    total = counts.sum()
    one, zero = jax.nn.sigmoid(rows), jax.nn.sigmoid(-rows)
    # log sigmoid rather than the logarithm of a rounded probability.
    certain = -(one * jax.nn.log_sigmoid(rows) + zero * jax.nn.log_sigmoid(-rows)).sum(-1)

    def joint(chosen: slice) -> jax.Array:
        """[rows, 2^bits of the slice], probabilities of what these bits are together."""
        together = jnp.ones((rows.shape[0], 1))
        for p, q in zip(one[:, chosen].T, zero[:, chosen].T, strict=True):
            together = jnp.concatenate([together * q[:, None], together * p[:, None]], axis=-1)
        return together

    half = bits // 2
    first, second = joint(slice(half)), joint(slice(half, bits))
    average = jnp.matmul((first * counts[:, None]).T, second, precision=jax.lax.Precision.HIGHEST)
    average = average / jnp.where(total > 0, total, 1)
    return {
        "code_entropy_loss": Mean.of(certain, counts),
        "code_diversity_loss": Mean(-diversity * entropy(average.reshape(-1)) * total, total),
    }

"""Losses and metrics of discrete codes: the distance between vectors and their codes, and how evenly codes are used."""

import jax
import jax.numpy as jnp

from ssl_jax.method import Mean
from ssl_jax.placement import along_batch

PROBABILITY = 1e-30
"""Lower bound of probabilities in logarithms, so that a probability of 0 adds 0 to an entropy and has a finite
gradient."""


def commitment_loss(x: jax.Array, quantized: jax.Array, weights: jax.Array) -> Mean:
    """Squared distance of vectors to their codes, with a gradient for the vectors (arXiv:1711.00937, eq. 3, term 3).

    It is the mean over channels, as in the authors' code; the norm in the paper is the sum. The paper weighs the loss
    by beta = 0.25.

    Args:
      x: [..., width], any float type; computed in float32.
      quantized: [..., width], the vectors of the codes.
      weights: [...] float32, 0 for padding.

    Example:
      >>> total, weight = commitment_loss(jnp.array([[1.0, 3.0]]), jnp.array([[0.0, 3.0]]), jnp.ones(1))
      >>> print(float(total), float(weight))
      0.5 1.0
    """
    distance = jnp.square(x.astype(jnp.float32) - jax.lax.stop_gradient(quantized).astype(jnp.float32))
    return Mean.of(distance.mean(-1), weights)


def codebook_loss(x: jax.Array, quantized: jax.Array, weights: jax.Array) -> Mean:
    """The same distance, with a gradient for the codes (arXiv:1711.00937, eq. 3, term 2).

    Args:
      x: [..., width].
      quantized: [..., width], looked up in a codebook that is a parameter, without the straight-through gradient.
      weights: [...] float32, 0 for padding.
    """
    return commitment_loss(quantized, x, weights)


def perplexity(counts: jax.Array) -> jax.Array:
    """exp of the entropy of the codes: the number of equally frequent codes with the same entropy.

    Args:
      counts: [codes], how often each code was chosen in the global batch, or in a data set.

    Returns:
      A scalar from 1 to the number of codes; 1 if all counts are 0.

    Example:
      >>> print(round(float(perplexity(jnp.array([5.0, 5.0, 0.0]))), 4))
      2.0
    """
    total = counts.sum()
    shares = counts / jnp.where(total > 0, total, 1)
    return jnp.exp(entropy(shares))


def entropy(probabilities: jax.Array) -> jax.Array:
    """Entropy of `probabilities [..., outcomes]` over the outcomes, in nats.

    Example:
      >>> print(round(float(entropy(jnp.array([0.5, 0.5, 0.0]))), 4))
      0.6931
    """
    return -jnp.sum(probabilities * jnp.log(jnp.maximum(probabilities, PROBABILITY)), axis=-1)


def entropy_penalty(x: jax.Array, weights: jax.Array, *, temperature: float) -> dict[str, Mean]:
    """Makes each lookup-free code certain, and all codes equally frequent (MAGVIT-v2, arXiv:2310.05737, section 3.1).

    A vector x has the code c, of -1 and 1, with probability softmax(-|x - c|^2 / temperature) over all codes. This is a
    product over bits: bit i is 1 with probability sigmoid(4 x_i / temperature). So the entropy of the code of a vector
    is the sum of the entropies of its bits. The distribution of codes averaged over the batch is no product over bits.
    One matrix product of the probabilities of the first and the second half of the bits gives it exactly for all 2^bits
    codes; the paper approximates it for 2^18.

    Args:
      x: [..., bits], before the sign is taken; any float type, computed in float32.
      weights: [...] float32, 0 for padding.
      temperature: above 0.

    Returns:
      Named means: `code_entropy_loss`, the mean entropy of a code, and `code_diversity_loss`, minus the entropy of the
      average distribution of codes; each entropy is from 0 to bits x log 2 nats. Their sum is the paper's loss.
    """
    bits = x.shape[-1]
    rows = along_batch(x.astype(jnp.float32).reshape(-1, bits)) * (4 / temperature)
    counts = weights.reshape(-1)
    total = counts.sum()
    one, zero = jax.nn.sigmoid(rows), jax.nn.sigmoid(-rows)
    # log sigmoid rather than the logarithm of a rounded probability.
    certain = -(one * jax.nn.log_sigmoid(rows) + zero * jax.nn.log_sigmoid(-rows)).sum(-1)

    def joint(chosen: slice) -> jax.Array:
        """[rows, 2^bits of the slice], the joint probabilities of these bits."""
        together = jnp.ones((rows.shape[0], 1), jnp.float32)
        for p, q in zip(one[:, chosen].T, zero[:, chosen].T, strict=True):
            together = jnp.concatenate([together * q[:, None], together * p[:, None]], axis=-1)
        return together

    half = bits // 2
    first, second = joint(slice(half)), joint(slice(half, bits))
    average = jnp.matmul((first * counts[:, None]).T, second, precision=jax.lax.Precision.HIGHEST)
    average = average / jnp.where(total > 0, total, 1)
    return {
        "code_entropy_loss": Mean.of(certain, counts),
        "code_diversity_loss": Mean(-entropy(average.reshape(-1)) * total, total),
    }

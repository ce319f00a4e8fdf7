"""Metrics that show whether embeddings have collapsed, without labels, for the compiled evaluation step.

Embeddings are float `[batch, width]`, weights float32 `[batch]`: 1 for an example, 0 for a row that only fills up the
last batch. Every metric is a `Mean`. Alignment is a mean over examples. The others describe a whole batch and have the
weight of its examples, so that their mean over batches is reported: it is comparable between runs with evaluation
batches of one size.
"""

import jax
import jax.numpy as jnp

from ssl_jax.method import Mean

EPSILON = 1e-12
RANKED = 512
"""Examples of a batch of which `effective_rank` is computed, if both batch and width are larger: the eigenvalues of a
matrix of thousands take a TPU's compiler more than half an hour, and each chip computes all of them."""


def collapse_metrics(z: jax.Array, weights: jax.Array) -> dict[str, Mean]:
    """Metrics of a batch of embeddings, which a collapse takes to 0 and to 1.

    Returns:
      `embedding_std`: standard deviation of each dimension over the l2-normalised embeddings, averaged over the
      dimensions; 1 / sqrt(width) where they fill the sphere evenly (arXiv:2011.10566, figure 2). `effective_rank`: see
      the function of this name; at most min(batch, width), and at most `RANKED` where both are larger.
    """
    count = weights.sum()
    return {
        "embedding_std": Mean(_embedding_std(z, weights) * count, count),
        "effective_rank": Mean(effective_rank(z, weights) * count, count),
    }


def effective_rank(z: jax.Array, weights: jax.Array) -> jax.Array:
    """exp of the entropy of the singular values of `z`, normalised to sum to 1 (RankMe, arXiv:2210.02885).

    `z` is neither centred nor normalised, as in the paper: embeddings that are all alike have rank 1. The singular
    values are roots of the eigenvalues of the smaller of the two second-moment matrices; those below float32's
    resolution (about 0.4 % of the largest at 128 wide) count as 0. 0 for a batch without weight or of zeros.

    Where batch and width are larger than `RANKED`, it is that of the first `RANKED` embeddings.
    """
    if min(z.shape) > RANKED:
        z, weights = z[:RANKED], weights[:RANKED]
    rows = z.astype(jnp.float32) * jnp.sqrt(weights)[:, None]
    rows = rows / jnp.maximum(jnp.abs(rows).max(), EPSILON)
    moment = _product(rows, rows) if z.shape[0] < z.shape[1] else _product(rows.T, rows.T)
    eigenvalues = jnp.linalg.eigvalsh(moment, symmetrize_input=False)
    resolution = eigenvalues[-1] * max(z.shape) * jnp.finfo(jnp.float32).eps
    values = jnp.where(eigenvalues > resolution, jnp.sqrt(jnp.maximum(eigenvalues, 0)), 0)
    shares = values / jnp.maximum(values.sum(), EPSILON)
    entropy = -jax.scipy.special.xlogy(shares, shares).sum()
    return jnp.where(eigenvalues[-1] > 0, jnp.exp(entropy), 0)


def alignment(z1: jax.Array, z2: jax.Array, weights: jax.Array) -> Mean:
    """Squared distance of the l2-normalised embeddings of two views, 0 to 4 (arXiv:2005.10242, alpha = 2)."""
    distance = jnp.square(_unit(z1) - _unit(z2)).sum(-1)
    return Mean.of(distance, weights)


def uniformity(z: jax.Array, weights: jax.Array) -> Mean:
    """log of the mean of exp(-2 |zi - zj|^2) over the pairs of different examples (arXiv:2005.10242, t = 2).

    Of l2-normalised embeddings; 0 after a collapse, near -4 where they fill a sphere of many dimensions. A batch of
    fewer than two examples has no pair, and no weight.
    """
    z = _unit(z)
    similarity = jnp.clip(_product(z, z), -1, 1)
    pairs = weights[:, None] * weights[None] * (1 - jnp.eye(len(z), dtype=jnp.float32))
    total = pairs.sum()
    mean = (jnp.exp(-4 * (1 - similarity)) * pairs).sum() / jnp.maximum(total, EPSILON)
    count = jnp.where(total > 0, weights.sum(), 0)
    return Mean(jnp.log(jnp.where(total > 0, mean, 1)) * count, count)


def _embedding_std(z: jax.Array, weights: jax.Array) -> jax.Array:
    z, weights = _unit(z), weights[:, None]
    count = jnp.maximum(weights.sum(), EPSILON)
    mean = (z * weights).sum(0, keepdims=True) / count
    return jnp.sqrt((jnp.square(z - mean) * weights).sum(0) / count).mean()


def _product(a: jax.Array, b: jax.Array) -> jax.Array:
    """a @ b.T in full float32, which a TPU does not do by itself."""
    return jnp.einsum("ik,jk->ij", a, b, precision="highest")


def _unit(z: jax.Array) -> jax.Array:
    z = z.astype(jnp.float32)
    return z / jnp.maximum(jnp.linalg.norm(z, axis=-1, keepdims=True), EPSILON)

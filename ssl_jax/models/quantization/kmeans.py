"""Random vectors of a batch, and k-means from them: how a codebook is initialised."""

import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax.errors import UserError
from ssl_jax.models.quantization.codebook import count_and_sum, nearest


def sample_vectors(rng: jax.Array, x: jax.Array, number: int, weights: jax.Array | None = None) -> jax.Array:
    """Draws vectors of a batch, without drawing one twice if there are enough and all have weight.

    The batch is cut into `number` stretches of equal length, and one vector is drawn from each.

    Args:
      rng: a key.
      x: `[..., width]`.
      number: of vectors.
      weights: `[...]`, 0 for padding, which is not drawn; None for 1 everywhere.

    Returns:
      float32 `[number, width]`.
    """
    rows = x.reshape(-1, x.shape[-1])
    offset_rng, within_rng = jax.random.split(rng)
    total = rows.shape[0]
    # Bounds of the stretches as integers, in NumPy's 64 bits: total * number may not fit into 32.
    bounds = (np.arange(number + 1, dtype=np.int64) * total // number).astype(np.int32)
    low, high = bounds[:-1], np.maximum(bounds[1:], bounds[:-1] + 1)
    index = jax.random.randint(within_rng, (number,), low, high, jnp.int32)
    index = (index + jax.random.randint(offset_rng, (), 0, total, jnp.int32)) % total
    if weights is not None:
        # The vector of rank `index * count / total` among the `count` vectors that have weight.
        ranks = jnp.cumsum(weights.reshape(-1) > 0, dtype=jnp.int32)
        share = index.astype(jnp.float32) / total
        rank = jnp.minimum((share * ranks[-1].astype(jnp.float32)).astype(jnp.int32), ranks[-1] - 1)
        index = jnp.searchsorted(ranks, rank, side="right").clip(0, total - 1)
    return rows[index].astype(jnp.float32)


def kmeans(
    rng: jax.Array, x: jax.Array, number: int, rounds: int, weights: jax.Array | None = None
) -> tuple[jax.Array, jax.Array]:
    """Lloyd's algorithm from random vectors of the batch. A centre that is nearest to no vector stays where it is.

    Args:
      rng: a key.
      x: `[..., width]`.
      number: of centres.
      rounds: of the algorithm.
      weights: `[...]`, 0 for padding; None for 1 everywhere.

    Returns:
      float32 centres `[number, width]`, and counts `[number]` of the vectors nearest to each.

    Raises:
      UserError: there are fewer vectors than centres.
    """
    vectors = x.size // x.shape[-1]
    if vectors < number:
        raise UserError(
            f"codebook: k-means of {number} codes on the {vectors} vectors of a batch, which must be as many at least; "
            "use a larger batch (per micro-batch), fewer codes, or --codebook.kmeans 0."
        )
    x = jax.lax.stop_gradient(x)

    def improve(_: int, centres: jax.Array) -> jax.Array:
        counts, sums = count_and_sum(x, nearest(centres, x), number, weights)
        return jnp.where(counts[:, None] > 0, sums / jnp.where(counts > 0, counts, 1)[:, None], centres)

    centres = jax.lax.fori_loop(0, rounds, improve, sample_vectors(rng, x, number, weights))
    return centres, count_and_sum(x, nearest(centres, x), number, weights)[0]

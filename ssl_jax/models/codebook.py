"""Vector quantisation: each vector becomes the nearest of a codebook (VQ-VAE, arXiv:1711.00937).

The codebook is `[codes, width]`, of any vectors `[..., width]`; how it is learnt is told in
ssl_jax/models/codebook_state.py. Vectors and codes are those of the global batch, as one array; so are all counts.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax.errors import UserError
from ssl_jax.models.quantizers import check_width
from ssl_jax.placement import along_batch, batch_parts, whole

DISTANCES = 2**21
"""Distances of vectors to codes that a device holds at a time: 8 MiB, instead of 8 GiB for 262,144 vectors and 8,192
codes. With twice as many, a CPU finds the least of them outside of its caches, in twice the time."""


@dataclasses.dataclass(frozen=True)
class CodebookConfig:
    """A codebook, and how it moves; the defaults are those of VQ-VAE's released code, but for the two ways to use all
    codes."""

    codes: int = 512
    """Vectors in the codebook."""
    width: int = 64
    """Channels of each."""
    decay: float = 0.99
    """Share of the moving averages that a step leaves; of a codebook moved by gradients, of its counts."""
    smoothing: float = 1e-5
    """Laplace smoothing of the moving averages: added to the count of each code before its vectors' sum is divided by
    it."""
    kmeans: int = 10
    """Rounds of k-means on the first batch, which the codebook starts from; 0 starts from random vectors."""
    restart_below: float = 0.03
    """A code chosen by less than this share of the average code's vectors is dead, and starts again as a random vector
    of the batch; 0 for never."""

    def __post_init__(self) -> None:
        if self.codes < 2 or self.width < 1:
            raise UserError(
                f"codebook.codes {self.codes} of codebook.width {self.width}: a codebook needs at least 2 codes, "
                "or every image has the same, and at least 1 channel."
            )
        if not 0 <= self.decay < 1:
            raise UserError(
                f"codebook.decay {self.decay} must be at least 0 and below 1; 1 would never move the codebook."
            )
        if not self.smoothing > 0:
            raise UserError(f"codebook.smoothing {self.smoothing} must be above 0, such as 1e-5.")
        if self.kmeans < 0:
            raise UserError(f"codebook.kmeans {self.kmeans} must be 0 or more rounds.")
        if not 0 <= self.restart_below < 1:
            raise UserError(
                f"codebook.restart_below {self.restart_below} must be at least 0 and below 1, the share of an "
                "average code."
            )


def random_vectors(rng: jax.Array, codes: int, width: int) -> jax.Array:
    """float32 `[codes, width]`, uniform between -1 / codes and 1 / codes: a codebook without a batch to start from."""
    return jax.random.uniform(rng, (codes, width), minval=-1 / codes, maxval=1 / codes)


def nearest(codebook: jax.Array, x: jax.Array) -> jax.Array:
    """The number of the vector of the codebook that is nearest to each of `x`; the first of equally near ones.

    Distances are computed for so many vectors at a time that `DISTANCES` of them are in memory. They have no gradient.

    Args:
        codebook: `[codes, width]`.
        x: `[..., width]`, any float type; computed in float32.

    Returns:
        int32 `[...]`.

    Raises:
        UserError: the widths differ.
    """
    codes, width = codebook.shape
    check_width("a codebook", x, width, "codebook.width")
    codebook = whole(jax.lax.stop_gradient(codebook.astype(jnp.float32)))
    rows = jax.lax.stop_gradient(x.astype(jnp.float32)).reshape(-1, width)
    # |x - e|^2 / 2 without |x|^2 / 2, which is the same for all codes.
    halves = jnp.sum(jnp.square(codebook), axis=-1) / 2

    def choose(rows: jax.Array) -> jax.Array:
        # In full precision: bfloat16 would often choose another code than the nearest.
        products = jnp.matmul(along_batch(rows), codebook.T, precision=jax.lax.Precision.HIGHEST)
        distances = halves[None] - products
        least = distances.min(-1, keepdims=True)
        # By comparisons: XLA does not vectorise argmin on CPUs. NaN, which equals nothing, is given the last code.
        number = jax.lax.broadcasted_iota(jnp.int32, distances.shape, 1)
        return jnp.min(jnp.where(distances == least, number, codes - 1), axis=-1)

    devices = batch_parts()
    parts = -(-rows.shape[0] // (devices * max(1, DISTANCES // codes)))
    # Every device has the same number of rows of each part, its own: part p takes every `parts`-th row.
    each = devices * -(-rows.shape[0] // (parts * devices))
    padded = jnp.pad(rows, ((0, each * parts - rows.shape[0]), (0, 0)))
    chosen = jax.lax.map(choose, padded.reshape(each, parts, width).swapaxes(0, 1))
    return chosen.swapaxes(0, 1).reshape(-1)[: rows.shape[0]].reshape(x.shape[:-1])


def look_up(codebook: jax.Array, codes: jax.Array) -> jax.Array:
    """`[..., width]`, the vectors of `codes [...]`, with a gradient into the codebook."""
    return whole(codebook)[codes]


def tally(
    x: jax.Array, codes: jax.Array, size: int, weights: jax.Array | None = None
) -> tuple[jax.Array, jax.Array]:
    """Counts `[size]` and sums `[size, width]` of the vectors of each code, float32, over the global batch.

    Args:
        x: `[..., width]`. codes: int32 `[...]`, below `size`. weights: `[...]`, 0 for what does not count.
    """
    weights = jnp.ones(codes.shape) if weights is None else weights.astype(jnp.float32)
    counted = weights.reshape(-1)
    rows = x.astype(jnp.float32).reshape(-1, x.shape[-1]) * counted[:, None]
    flat = codes.reshape(-1)
    return (
        jax.ops.segment_sum(counted, flat, num_segments=size),
        jax.ops.segment_sum(rows, flat, num_segments=size),
    )


def draw(rng: jax.Array, x: jax.Array, number: int, weights: jax.Array | None = None) -> jax.Array:
    """float32 `[number, width]`, random ones of the vectors `x [..., width]`.

    One is drawn from each of `number` stretches of the batch, so that none is drawn twice if there are enough and all
    of them count.

    Args:
        weights: `[...]`, 0 for vectors that are not drawn.
    """
    rows = x.reshape(-1, x.shape[-1])
    start_rng, within_rng = jax.random.split(rng)
    total = rows.shape[0]
    # Bounds of the stretches as integers, in NumPy's 64 bits: total * number may not fit into 32.
    bounds = (np.arange(number + 1, dtype=np.int64) * total // number).astype(np.int32)
    low, high = bounds[:-1], np.maximum(bounds[1:], bounds[:-1] + 1)
    place = jax.random.randint(within_rng, (number,), low, high)
    place = (place + jax.random.randint(start_rng, (), 0, total)) % total
    if weights is not None:
        # Of those that count: the rank `place * count / total` among them.
        ranks = jnp.cumsum(weights.reshape(-1) > 0)
        share = place.astype(jnp.float32) / total
        rank = jnp.minimum((share * ranks[-1]).astype(jnp.int32), ranks[-1] - 1)
        place = jnp.searchsorted(ranks, rank, side="right").clip(0, total - 1)
    return rows[place].astype(jnp.float32)


def kmeans(
    rng: jax.Array, x: jax.Array, number: int, rounds: int, weights: jax.Array | None = None
) -> tuple[jax.Array, jax.Array]:
    """Lloyd's algorithm from random vectors of the batch. A centre that no vector is nearest to stays where it is.

    Args:
        x: `[..., width]`. number: of centres. rounds: of the algorithm. weights: `[...]`, 0 for what does not count.

    Returns:
        Centres `[number, width]`, and counts `[number]` of the vectors nearest to each; float32.

    Raises:
        UserError: fewer vectors than centres.
    """
    vectors = x.size // x.shape[-1]
    if vectors < number:
        raise UserError(
            f"codebook: k-means of {number} codes on the {vectors} vectors of a batch, which must be as many at least; "
            "use a larger batch (per micro-batch), fewer codes, or --codebook.kmeans 0."
        )
    x = jax.lax.stop_gradient(x)

    def improve(_: int, centres: jax.Array) -> jax.Array:
        counts, sums = tally(x, nearest(centres, x), number, weights)
        return jnp.where(counts[:, None] > 0, sums / jnp.where(counts > 0, counts, 1)[:, None], centres)

    centres = jax.lax.fori_loop(0, rounds, improve, draw(rng, x, number, weights))
    return centres, tally(x, nearest(centres, x), number, weights)[0]

"""Contrastive losses: an example is told apart from negatives, which are other examples of the batch or of a queue."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from ssl_jax.losses.joint_embedding.vectors import normalise
from ssl_jax.method import Mean
from ssl_jax.placement import along_batch, whole


def nt_xent(first: jax.Array, second: jax.Array, weights: jax.Array, *, temperature: float) -> Mean:
    """Normalised temperature-scaled cross-entropy (SimCLR, arXiv:2002.05709, equation 1).

    Each of the 2N views has to recognise the other view of its image among the 2N - 1 other views of the global batch.
    The loss is the mean over all 2N views, as in the paper's algorithm 1, lightly and solo-learn;
    google-research/simclr adds the means of the two directions, which is twice that.

    Args:
      first: [batch, width] projections of one view of each image, any float type; computed in float32.
      second: [batch, width] projections of the other view.
      weights: [batch] float32, 1 for images that count; an image of weight 0 is no negative either.
      temperature: above 0; similarities are divided by it.

    Example:
      >>> total, weight = nt_xent(jnp.eye(2), jnp.eye(2), jnp.ones(2), temperature=1.0)
      >>> print(round(float(total / weight), 4))  # log(e + 2) - 1
      0.5514
    """
    batch = first.shape[0]
    # The two views of an image stay neighbours, hence on their device; only the keys are gathered.
    views = along_batch(jnp.stack([normalise(first), normalise(second)], axis=1).reshape(2 * batch, -1))
    # In full precision: half precision errs by 2^-9 of a similarity, which a small temperature multiplies.
    similarities = jnp.matmul(views, whole(views).T, precision=jax.lax.Precision.HIGHEST) / temperature
    counts = jnp.repeat(weights, 2)
    image = jnp.arange(2 * batch, dtype=jnp.int32) // 2
    negatives = (counts > 0)[None, :] & (image[:, None] != image[None, :])
    pairs = views.reshape(batch, 2, -1)
    positives = jnp.repeat(jnp.sum(pairs[:, 0] * pairs[:, 1], axis=-1) / temperature, 2)
    # log(1 + sum exp(negative - positive)) rather than a difference of two logarithms: exact for small losses too.
    losses = jax.nn.softplus(jax.nn.logsumexp(similarities, axis=1, where=negatives) - positives)
    return Mean.of(jnp.where(counts > 0, losses, 0), counts)


class Queue(NamedTuple):
    """Keys of earlier batches, the negatives of `info_nce`.

    Attributes:
      keys: float32 [size, width], of unit length.
      oldest: int32 scalar, the row that the next key overwrites.
    """

    keys: jax.Array
    oldest: jax.Array


def random_queue(rng: jax.Array, size: int, width: int) -> Queue:
    """A queue of `size` random unit vectors, as MoCo starts.

    Example:
      >>> print(random_queue(jax.random.key(0), 6, 4).keys.shape)
      (6, 4)
    """
    return Queue(normalise(jax.random.normal(rng, (size, width))), jnp.zeros((), jnp.int32))


def enqueue(queue: Queue, keys: jax.Array, weights: jax.Array) -> Queue:
    """The queue with its oldest keys overwritten by those of a batch (MoCo, arXiv:1911.05722, 3.2).

    Args:
      queue: of at least as many keys as the batch.
      keys: [batch, width], any float type and length; they are normalised and get no gradient.
      weights: [batch]; a key of weight 0 leaves the key in its place as it is.

    Raises:
      ValueError: the batch is larger than the queue.

    Example:
      >>> queue = Queue(jnp.eye(4), jnp.int32(2))
      >>> queue = enqueue(queue, jnp.full((2, 4), 3.0), jnp.array([1.0, 0.0]))
      >>> print(queue.keys[2:], queue.oldest)
      [[0.5 0.5 0.5 0.5]
       [0.  0.  0.  1. ]] 0
    """
    size, batch = queue.keys.shape[0], keys.shape[0]
    if batch > size:
        raise ValueError(f"a queue of {size} keys cannot take in {batch} at a time; make it larger.")
    rows = (queue.oldest + jnp.arange(batch, dtype=jnp.int32)) % size
    keys = whole(normalise(jax.lax.stop_gradient(keys)))
    keys = jnp.where(weights[:, None] > 0, keys, queue.keys[rows])
    updated = queue.keys.at[rows].set(keys, unique_indices=True)
    return Queue(updated, (queue.oldest + batch) % size)


def info_nce(
    queries: jax.Array, keys: jax.Array, queue: Queue, weights: jax.Array, *, temperature: float
) -> Mean:
    """Cross-entropy of recognising each query's key among the keys of a queue (MoCo, arXiv:1911.05722, equation 1).

    The other keys of the batch are no negatives, as in the paper. No gradient goes into keys and queue.

    Args:
      queries: [batch, width] projections of one view of each image, any float type; computed in float32.
      keys: [batch, width] projections of the other view by the momentum encoder.
      queue: the negatives.
      weights: [batch] float32, 0 for images that do not count.
      temperature: above 0; similarities are divided by it.

    Example:
      >>> queue = Queue(jnp.array([[0.0, 1.0], [0.0, 1.0]]), jnp.int32(0))
      >>> query = jnp.array([[1.0, 0.0]])
      >>> total, weight = info_nce(query, query, queue, jnp.ones(1), temperature=1.0)
      >>> print(round(float(total / weight), 4))  # log(e + 2) - 1
      0.5514
    """
    queries, keys = along_batch(normalise(queries)), normalise(jax.lax.stop_gradient(keys))
    positives = jnp.sum(queries * keys, axis=-1) / temperature
    negatives = whole(jax.lax.stop_gradient(queue.keys))
    # In full precision, and as log(1 + sum exp(negative - positive)): see `nt_xent`.
    similarities = jnp.matmul(queries, negatives.T, precision=jax.lax.Precision.HIGHEST) / temperature
    losses = jax.nn.softplus(jax.nn.logsumexp(similarities, axis=1) - positives)
    return Mean.of(jnp.where(weights > 0, losses, 0), weights)

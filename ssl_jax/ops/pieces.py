"""Batches computed some examples at a time: for one CPU, whose caches a few examples fit."""

from collections.abc import Callable

import jax

from ssl_jax.placement import batch_parts, platform


def on_one_cpu() -> bool:
    """Whether all examples are on one device, a CPU; not known, and so False, where no mesh is set."""
    return platform() == "cpu" and batch_parts() == 1


def count_pieces(batch: int, example: int, most: int) -> int:
    """The smallest number of equal pieces of a batch that are not above a size; one example each if all are.

    Args:
      batch: number of examples.
      example: bytes of one.
      most: bytes of a piece.
    """
    return next(
        n for n in range(1, batch + 1) if batch % n == 0 and (n == batch or batch // n * example <= most)
    )


def cut(x: jax.Array, pieces: int) -> jax.Array:
    """`[batch, ...]` to `[pieces, batch / pieces, ...]`."""
    return x.reshape(pieces, len(x) // pieces, *x.shape[1:])


def joined(x: jax.Array) -> jax.Array:
    """The inverse of `cut`."""
    return x.reshape(-1, *x.shape[2:])


def by_pieces(function: Callable[[jax.Array], jax.Array], x: jax.Array, example: int, most: int) -> jax.Array:
    """`function(x)` of a batch whose examples it treats alike; on one CPU, of one piece after the other.

    Args:
      function: `[batch, ...] -> [batch, ...]`.
      x: the batch.
      example: bytes of what it makes of one example on the way.
      most: bytes of a piece.
    """
    pieces = count_pieces(len(x), example, most)
    if pieces == 1 or not on_one_cpu():
        return function(x)
    return joined(jax.lax.map(function, cut(x, pieces)))

"""Cross-entropy over a vocabulary, without ever holding all logits in memory.

The logits of a batch are the largest array of a language model: 8 rows of 1,024 tokens of GPT-2 have 1.6 GB of them,
and their gradient as much again. Where there are that many, they are computed for a tile of tokens at a time, and the
tile's share of the gradient in the same pass, while its logits are at hand, so that no product is done twice.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ssl_jax.method import Mean
from ssl_jax.ops.affine import OutputLayer
from ssl_jax.ops.reductions import is_argmax
from ssl_jax.placement import along_batch, batch_parts, in_parts, whole_rows

TILED_FROM = 2**27
"""Logits per device from which on they are computed in tiles; fewer are faster in one piece."""
TILE = 2**27
"""Logits of a tile, at most."""
LANES = 128
"""The number of tokens of a tile is a multiple of it, as TPUs want."""


class TokenPredictions(NamedTuple):
    """How well tokens are predicted.

    Attributes:
      cross_entropy: in nats, per token.
      right: bool, in the shape of the labels: whether the largest logit is that of the label; of equal logits the first
        counts. Also where the weight is 0.
    """

    cross_entropy: Mean
    right: jax.Array


def predict_tokens(output: OutputLayer, labels: jax.Array, weights: jax.Array) -> TokenPredictions:
    """Cross-entropy and correctness of predicted tokens.

    Args:
      output: of a model, with hidden states `[batch, ..., width]`.
      labels: int32 `[batch, ...]`.
      weights: float32 `[batch, ...]`, 0 where nothing is predicted. They are data: no gradient goes to them.

    Example:
      >>> output = OutputLayer(hidden=jnp.ones((1, 1)), table=jnp.array([[2.0], [0.0], [0.0]]))
      >>> (total, weight), right = predict_tokens(output, jnp.array([0]), jnp.ones(1))
      >>> print(round(float(total), 4), float(weight), right)
      0.2395 1.0 [ True]
    """
    if labels.size * output.table.shape[0] > TILED_FROM * batch_parts():
        weights = jax.lax.stop_gradient(weights)
        total, right = _tiled(*output, labels, weights)
        return TokenPredictions(Mean(total, weights.sum()), right)
    logits = output.logits()
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return TokenPredictions(Mean.of(losses, weights), is_argmax(logits, labels))


@jax.custom_vjp
def _tiled(
    hidden: jax.Array, table: jax.Array, bias: jax.Array | None, labels: jax.Array, weights: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """(sum of the weighted losses, whether each token is right)."""
    total, right, _ = _by_tiles(hidden, table, bias, labels, weights, differentiate=False)
    return total, right


def _forward(
    hidden: jax.Array, table: jax.Array, bias: jax.Array | None, labels: jax.Array, weights: jax.Array
) -> tuple[tuple[jax.Array, jax.Array], tuple]:
    total, right, gradients = _by_tiles(hidden, table, bias, labels, weights, differentiate=True)
    return (total, right), (gradients, labels.shape)


def _backward(saved: tuple, g: tuple[jax.Array, jax.Array]) -> tuple:
    """The loss is a sum, so that its gradients are those of the forward pass times one number.

    The devices' shares of the table's gradient are added up here, as the last thing, so that the compiler can add those
    of the table's other uses to them before.
    """
    (hidden, table, bias), shape = saved
    factor = g[0]
    return (
        (factor * hidden).astype(hidden.dtype),
        (factor * table).sum(0),
        None if bias is None else (factor * bias).sum(0),
        np.zeros(shape, jax.dtypes.float0),
        jnp.zeros(shape, jnp.float32),
    )


_tiled.defvjp(_forward, _backward)


def _by_tiles(
    hidden: jax.Array,
    table: jax.Array,
    bias: jax.Array | None,
    labels: jax.Array,
    weights: jax.Array,
    *,
    differentiate: bool,
) -> tuple[jax.Array, jax.Array, tuple[jax.Array, jax.Array, jax.Array | None] | None]:
    """(sum of the weighted losses, whether each token is right, its gradients by hidden states, table and bias).

    Each device takes the tokens of its own examples. The gradients by table and bias have its share in front:
    `[parts, vocab, width]` and `[parts, vocab]`.
    """
    shape, dtype = labels.shape, hidden.dtype
    vocab, width = table.shape
    parts = batch_parts()
    rows = labels.size // parts
    tiles = -(-rows // max(LANES, TILE // vocab // LANES * LANES))
    length = -(-rows // tiles // LANES) * LANES if tiles > 1 else rows

    def cut(x: jax.Array, *rest: int) -> jax.Array:
        """`[*shape, *rest]` to `[tiles, parts, length, *rest]`, filled up with zeros."""
        x = in_parts(x.reshape(parts, rows, *rest))
        x = jnp.pad(x, ((0, 0), (0, tiles * length - rows), *((0, 0) for _ in rest)))
        return x.reshape(parts, tiles, length, *rest).swapaxes(0, 1)

    def join(x: jax.Array, *rest: int) -> jax.Array:
        """The inverse of `cut`."""
        x = x.swapaxes(0, 1).reshape(parts, tiles * length, *rest)[:, :rows]
        return along_batch(x.reshape(*shape, *rest))

    kernel = whole_rows(table.astype(dtype))  # cast before it is gathered

    def tile(sums: tuple, part: tuple) -> tuple[tuple, tuple]:
        x, label, weight = map(in_parts, part)
        # Stored in the dtype of the computation, as the plain formula has them, and read as float32.
        logits = jnp.einsum("prd,vd->prv", x, kernel).astype(jnp.float32)
        if bias is not None:
            logits += bias[None, None]
        token = jax.lax.broadcasted_iota(jnp.int32, logits.shape, 2)
        is_label = token == label[..., None]
        own = jnp.where(is_label, logits, 0).sum(-1)
        highest = logits.max(-1)
        log_normaliser = highest + jnp.log(jnp.exp(logits - highest[..., None]).sum(-1))
        total, *table_sums = sums
        total += ((log_normaliser - own) * weight).sum(-1)
        right = jnp.where(logits == highest[..., None], token, vocab).min(-1) == label
        if not differentiate:
            return (total,), (right,)
        slopes = (jnp.exp(logits - log_normaliser[..., None]) - is_label) * weight[..., None]
        rounded = slopes.astype(dtype)
        by_table = table_sums[0] + jnp.einsum("prv,prd->pvd", rounded, x, preferred_element_type=jnp.float32)
        by_bias = () if bias is None else (table_sums[1] + slopes.sum(1),)
        return (total, by_table, *by_bias), (right, jnp.einsum("prv,vd->prd", rounded, kernel))

    sums = [(parts,), *([(parts, vocab, width)] if differentiate else [])]
    if differentiate and bias is not None:
        sums.append((parts, vocab))
    zeros = tuple(in_parts(jnp.zeros(one, jnp.float32)) for one in sums)
    sums, (right, *by_hidden) = jax.lax.scan(tile, zeros, (cut(hidden, width), cut(labels), cut(weights)))
    total = sums[0].sum(0)
    if not differentiate:
        return total, join(right), None
    _, by_table, *by_bias = sums
    return total, join(right), (join(by_hidden[0], width), by_table, by_bias[0] if by_bias else None)

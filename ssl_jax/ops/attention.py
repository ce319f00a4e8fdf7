"""The two halves of attention after its logits: the softmax, and the weighted sum of the values."""

import jax
import jax.numpy as jnp

from ssl_jax.ops.dropout import dropout
from ssl_jax.ops.operation import Operation
from ssl_jax.ops.recompute import recompute

_MASKED = -1e30


@Operation
def masked_softmax(logits: jax.Array, mask: jax.Array | None = None) -> jax.Array:
    """Softmax over the last axis, with zeros where the mask is False, also in a row without any True.

    Args:
      logits: float32 `[..., keys]`.
      mask: boolean, broadcastable to the logits; None for all True.
    """
    if mask is None:
        return jax.nn.softmax(logits, axis=-1)
    return jnp.where(mask, jax.nn.softmax(jnp.where(mask, logits, _MASKED), axis=-1), 0)


@masked_softmax.fast_form
def _fast_masked_softmax(logits: jax.Array, mask: jax.Array | None = None) -> jax.Array:
    return _softmax(logits if mask is None else jnp.where(mask, logits, _MASKED))


@jax.custom_jvp
def _softmax(logits: jax.Array) -> jax.Array:
    # Masked logits stay far below this bound, so that they vanish even where there are no others.
    peak = jnp.maximum(logits.max(-1, keepdims=True), _MASKED / 2)
    weights = jnp.exp(logits - peak)
    return weights / jnp.maximum(weights.sum(-1, keepdims=True), jnp.finfo(weights.dtype).tiny)


@_softmax.defjvp
def _softmax_jvp(primals: tuple, tangents: tuple) -> tuple[jax.Array, jax.Array]:
    # In terms of the output, so that the backward pass reads nothing else.
    [logits], [dlogits] = primals, tangents
    weights = _softmax(logits)
    return weights, weights * (dlogits - (weights * dlogits).sum(-1, keepdims=True))


@Operation
def weighted_sum(
    weights: jax.Array, values: jax.Array, rate: float = 0.0, key: jax.Array | None = None
) -> jax.Array:
    """Values summed by attention weights, after dropout of the weights.

    Args:
      weights: `[batch, heads, query, key]`.
      values: `[batch, key, heads, head_dim]`.
      rate: of dropout.
      key: of dropout; None for none.

    Returns:
      `[batch, query, heads, head_dim]`.
    """
    return jnp.einsum("bhqk,bkhd->bqhd", dropout(weights, rate, key), values)


# The weights are stored for the backward pass once, not again after dropout.
weighted_sum.fast_form(recompute(weighted_sum.plain, static_argnums=2))

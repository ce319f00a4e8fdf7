"""Selection of the next token from its logits: pure functions of (key, logits)."""

from dataclasses import dataclass
from typing import Annotated

import jax
import jax.numpy as jnp

from ssl_jax.domains import NonNegativeInt, PositiveShare, Settings, numbers
from ssl_jax.ops.selection import mass_threshold


@dataclass(frozen=True)
class SamplingConfig(Settings):
    """The distribution of the next token.

    The logits are divided by the temperature, then truncated to the `top_k` largest, then to the nucleus, in the order
    of transformers' `generate`. Of equal logits, the one with the smaller id counts as larger.
    """

    temperature: Annotated[float, numbers(0, 1e6)] = 1.0
    """Divisor of the logits: values below 1 make likely tokens likelier. 0 selects the most likely token (greedy)."""
    top_k: NonNegativeInt = 0
    """Number of most likely tokens that are kept (arXiv:1805.04833); 0 for all."""
    top_p: PositiveShare = 1.0
    """Keeps the smallest set of tokens whose total probability reaches this value, the nucleus (arXiv:1904.09751); 1
    for all."""


GREEDY = SamplingConfig(temperature=0.0)


def nucleus(logits: jax.Array, top_p: float) -> jax.Array:
    """The tokens in the nucleus (arXiv:1904.09751), including the token with which the sum reaches `top_p`.

    Args:
      logits: float32 `[..., vocab]`.
      top_p: above 0 and at most 1.

    Returns:
      bool `[..., vocab]`. If only some of several tokens of equal probability are needed, the first ones are kept.
    """
    probabilities = jax.nn.softmax(logits, axis=-1)
    crossing = mass_threshold(probabilities, top_p)
    before = jnp.where(probabilities > crossing, probabilities, 0.0).sum(-1, keepdims=True)
    equal = probabilities == crossing
    needed = jnp.where(crossing > 0, jnp.maximum(jnp.ceil((top_p - before) / crossing), 1), jnp.inf)
    return (probabilities > crossing) | (equal & (equal.cumsum(-1) <= needed))


def sample(key: jax.Array, logits: jax.Array, config: SamplingConfig) -> jax.Array:
    """Draws a token for each row.

    Args:
      key: one key, or `[batch]`, one key per row.
      logits: float32 `[batch, vocab]`.
      config: distribution. A temperature of 0 uses no key.

    Returns:
      int32 `[batch]`.
    """
    if config.temperature == 0:
        return jnp.argmax(logits, axis=-1).astype(jnp.int32)
    keys = jax.random.split(key, logits.shape[0]) if key.ndim == 0 else key
    logits, ids = logits / config.temperature, None
    if 0 < config.top_k < logits.shape[-1]:
        logits, ids = jax.lax.top_k(logits, config.top_k)
    if config.top_p < 1:
        logits = jnp.where(nucleus(logits, config.top_p), logits, -jnp.inf)
    chosen = jax.vmap(jax.random.categorical)(keys, logits)
    if ids is not None:
        chosen = jnp.take_along_axis(ids, chosen[:, None], axis=-1)[:, 0]
    return chosen.astype(jnp.int32)

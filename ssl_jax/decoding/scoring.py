"""Log-likelihoods of given continuations of prompts."""

import functools

import jax
import jax.numpy as jnp

from ssl_jax.decoding.decoder import Decoder
from ssl_jax.method import Tree


@functools.partial(jax.jit, static_argnums=0)
def continuation_log_likelihood(
    decoder: Decoder,
    params: Tree,
    prompts: jax.Array,
    prompt_lengths: jax.Array,
    continuations: jax.Array,
    continuation_lengths: jax.Array,
) -> jax.Array:
    """Log-likelihoods of continuations, token by token; their sum is that of the continuation.

    Args:
      decoder: decoder of the model.
      params: parameters of the model, or the result of `prepare`.
      prompts: int `[batch, length]`, padded on the right.
      prompt_lengths: int `[batch]`, at least 1.
      continuations: int `[batch, new]`, padded on the right.
      continuation_lengths: int `[batch]`.

    Returns:
      float32 `[batch, new]`, in nats, each token given the prompt and the tokens before it; 0 for padding.
    """
    params = decoder.prepare(params)
    new = continuations.shape[1]
    first, memory = decoder.start(params, prompts, prompt_lengths, new - 1)
    logits = first[:, None]
    if new > 1:
        rest, _ = decoder.extend(params, continuations[:, :-1], memory)
        logits = jnp.concatenate([logits, rest], axis=1)
    chosen = jnp.take_along_axis(logits, continuations[:, :, None], axis=2)[:, :, 0]
    present = jnp.arange(new, dtype=jnp.int32)[None] < continuation_lengths[:, None]
    return jnp.where(present, chosen - jax.nn.logsumexp(logits, axis=2), 0.0)

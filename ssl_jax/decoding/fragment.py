"""Generation with MASS (arXiv:1905.02450): predicts the masked tokens of its prompt, one token per mask."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ssl_jax.decoding.decoder import Decoder, source_decoder
from ssl_jax.decoding.kernel_first import kernels_first
from ssl_jax.method import Tree
from ssl_jax.models.attention import Cache
from ssl_jax.models.encoder_decoder import EncoderDecoder
from ssl_jax.models.transformer import empty_cache


class FragmentState(NamedTuple):
    """The state of the decoder.

    Attributes:
      cache: keys and values of the tokens read.
      context_present: bool `[batch, source]`, False for padding and masks of the prompt.
      first: int `[batch]`, position of the first input: the token before the fragment.
      size: int `[batch]`, number of tokens of the fragment.
    """

    cache: Cache
    context_present: jax.Array
    first: jax.Array
    size: jax.Array


@functools.cache
def fragment_decoder(model: EncoderDecoder, mask: int, end: int) -> Decoder:
    """The decoder of MASS, which starts at the token before the first mask of its prompt, at that token's position.

    Cross-attention does not attend to masks. After one token per mask it predicts `end`, because training does not
    teach the model to end. A prompt without masks is continued at its end, up to the model's last position.

    Args:
      model: encoder-decoder.
      mask: mask token.
      end: end-of-text token.
    """

    def start(
        params: Tree, prompts: jax.Array, lengths: jax.Array, room: int
    ) -> tuple[jax.Array, FragmentState]:
        present = jnp.arange(prompts.shape[1], dtype=jnp.int32)[None] < lengths[:, None]
        masked = present & (prompts == mask)
        first = jnp.where(masked.any(1), jnp.maximum(masked.argmax(1) - 1, 0), lengths - 1)
        size = jnp.where(masked.any(1), masked.sum(1), model.config.positions - lengths)
        context = model.apply({"params": params}, prompts, present, method="encode")
        cache = empty_cache(model.config.decoder, prompts.shape[0], 1 + room)
        before = jnp.take_along_axis(prompts, first[:, None], axis=1)
        logits, state = extend(params, before, FragmentState(cache, present & ~masked, first, size), context)
        return logits[:, 0], state

    def extend(
        params: Tree, tokens: jax.Array, state: FragmentState, context: jax.Array | None = None
    ) -> tuple[jax.Array, FragmentState]:
        read = state.cache.length[:, None] + jnp.arange(tokens.shape[1], dtype=jnp.int32)[None]
        positions = jnp.minimum(state.first[:, None] + read, model.config.positions - 1)
        with kernels_first():
            hidden, cache = model.apply(
                {"params": params},
                tokens,
                context,
                state.context_present,
                positions,
                cache=state.cache,
                method="decode",
            )
        logits = model.apply({"params": params}, hidden, method="logits")
        others = jnp.where(jnp.arange(logits.shape[-1], dtype=jnp.int32) == end, 0.0, -jnp.inf).astype(
            logits.dtype
        )
        logits = jnp.where((read >= state.size[:, None])[..., None], others, logits)
        return logits, state._replace(cache=cache)

    prepare = source_decoder(model, mask).prepare
    return Decoder(prepare, start, extend, model.config.positions, reads_source=True, blanks=(mask,))

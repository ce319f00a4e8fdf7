"""How MASS writes (arXiv:1905.02450): in the place of the masks of its prompt, one token for each."""

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


class FragmentMemory(NamedTuple):
    """What the decoder knows of the fragment so far.

    Attributes:
        cache: of the tokens read.
        context_present: bool `[batch, source]`, the tokens of the prompt that are not masked.
        first: int `[batch]`, the position of the first token read, the one before the fragment.
        size: int `[batch]`, tokens of the fragment.
    """

    cache: Cache
    context_present: jax.Array
    first: jax.Array
    size: jax.Array


@functools.cache
def fragment_decoder(model: EncoderDecoder, mask: int, end: int) -> Decoder:
    """An encoder-decoder that continues its prompt from the token before the first mask, in that token's place.

    It does not look at masks. After one token for each mask it writes `end`, the end-of-text token, which training does
    not teach it. A prompt without masks is continued from its end, up to the model's last position.
    """

    def start(
        params: Tree, prompts: jax.Array, lengths: jax.Array, room: int
    ) -> tuple[jax.Array, FragmentMemory]:
        present = jnp.arange(prompts.shape[1])[None] < lengths[:, None]
        masked = present & (prompts == mask)
        first = jnp.where(masked.any(1), jnp.maximum(masked.argmax(1) - 1, 0), lengths - 1)
        size = jnp.where(masked.any(1), masked.sum(1), model.config.positions - lengths)
        context = model.apply({"params": params}, prompts, present, method="encode")
        cache = empty_cache(model.config.decoder, prompts.shape[0], 1 + room)
        before = jnp.take_along_axis(prompts, first[:, None], axis=1)
        logits, memory = extend(
            params, before, FragmentMemory(cache, present & ~masked, first, size), context
        )
        return logits[:, 0], memory

    def extend(
        params: Tree, tokens: jax.Array, memory: FragmentMemory, context: jax.Array | None = None
    ) -> tuple[jax.Array, FragmentMemory]:
        read = memory.cache.length[:, None] + jnp.arange(tokens.shape[1])[None]
        positions = jnp.minimum(memory.first[:, None] + read, model.config.positions - 1)
        with kernels_first():
            hidden, cache = model.apply(
                {"params": params},
                tokens,
                context,
                memory.context_present,
                positions,
                cache=memory.cache,
                method="decode",
            )
        logits = model.apply({"params": params}, hidden, method="logits")
        others = jnp.where(jnp.arange(logits.shape[-1]) == end, 0.0, -jnp.inf).astype(logits.dtype)
        logits = jnp.where((read >= memory.size[:, None])[..., None], others, logits)
        return logits, memory._replace(cache=cache)

    prepare = source_decoder(model, mask).prepare
    return Decoder(prepare, start, extend, model.config.positions, reads_source=True, blanks=(mask,))

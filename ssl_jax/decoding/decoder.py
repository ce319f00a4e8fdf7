"""The interface between models and text generation.

A `Decoder` is a few pure functions; `generate`, `beam_search` and scoring use nothing else of a model. The constructors
return the same object for the same model, so that compiled programs are reused.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax.decoding.kernel_first import kernels_first, transpose_kernels
from ssl_jax.method import Tree
from ssl_jax.models.attention import Cache, forget_padding
from ssl_jax.models.encoder_decoder import EncoderDecoder
from ssl_jax.models.gpt2 import Gpt2
from ssl_jax.models.transformer import empty_cache


class DecodingState(NamedTuple):
    """The state of a decoder after the tokens read so far, a pytree with leading axis `[batch]` except for scalars.

    Attributes:
      cache: keys and values of the tokens read.
      source_present: bool `[batch, source]`, False for padding of the source text; None without a source.
    """

    cache: Cache
    source_present: jax.Array | None = None


class Decoder(NamedTuple):
    """A model as functions for generation.

    Attributes:
      prepare: `params -> params` in the layout of `start` and `extend`. It copies the weights; prepared weights are
        returned unchanged.
      start: `(params, prompts [batch, length], lengths [batch], room) -> (logits [batch, vocab], state)`: reads
        prompts, padded on the right, and predicts the next token of each. The state has capacity for `room` more
        tokens.
      extend: `(params, tokens [batch, new], state) -> (logits [batch, new, vocab], state)`: reads tokens, and predicts
        the next token after each.
      positions: largest number of tokens of a text; with a source, of either text.
      reads_source: whether the prompt is a source text and the output is a separate text (an encoder-decoder).
        Otherwise the output continues the prompt.
      blanks: tokens that mark gaps in a source text: the n-th token for the n-th gap, the last token for all further
        gaps.
      vocab_size: number of the tokenizer's ids, if it is known. A model may have more rows in its embedding table: its
        unused ids, which are all others except `blanks`, are never generated.
    """

    prepare: Callable[[Tree], Tree]
    start: Callable[[Tree, jax.Array, jax.Array, int], tuple[jax.Array, DecodingState]]
    extend: Callable[[Tree, jax.Array, DecodingState], tuple[jax.Array, DecodingState]]
    positions: int
    reads_source: bool
    blanks: tuple[int, ...] = ()
    vocab_size: int | None = None

    def without_unused(self, logits: jax.Array) -> jax.Array:
        """Logits or log-probabilities `[..., vocab]`, minus infinity for unused ids."""
        if self.vocab_size is None:
            return logits
        ids = np.arange(logits.shape[-1])
        used = (ids < self.vocab_size) | np.isin(ids, self.blanks)
        return logits if used.all() else jnp.where(used, logits, -jnp.inf)

    def step(self, params: Tree, tokens: jax.Array, state: DecodingState) -> tuple[jax.Array, DecodingState]:
        """Reads one token per row.

        Args:
          params: prepared parameters.
          tokens: int `[batch]`.
          state: state after the previous tokens.

        Returns:
          logits `[batch, vocab]` of the next token, and the new state.
        """
        logits, state = self.extend(params, tokens[:, None], state)
        return logits[:, 0], state


def prepare(decoder: Decoder, params: Tree) -> Tree:
    """`decoder.prepare(params)`, for callers that generate more than once with the same parameters."""
    prepared = jax.eval_shape(decoder.prepare, params)
    if jax.tree.structure(prepared) == jax.tree.structure(params):
        return params  # a compiled program would copy them
    return _prepare(decoder, params)


@functools.partial(jax.jit, static_argnums=0)
def _prepare(decoder: Decoder, params: Tree) -> Tree:
    return decoder.prepare(params)


@functools.cache
def causal_decoder(model: Gpt2) -> Decoder:
    """The decoder of GPT-2, which continues its prompt."""

    def ready(params: Tree) -> Tree:
        return {**params, "layers": transpose_kernels(params["layers"], model.config.transformer)}

    def read(
        params: Tree, tokens: jax.Array, cache: Cache, positions: jax.Array | None = None
    ) -> tuple[jax.Array, Cache]:
        with kernels_first():
            return model.apply({"params": params}, tokens, None, positions, cache=cache)

    def predict(params: Tree, hidden: jax.Array) -> jax.Array:
        return model.apply({"params": params}, hidden, method="logits")

    def start(
        params: Tree, prompts: jax.Array, lengths: jax.Array, room: int
    ) -> tuple[jax.Array, DecodingState]:
        batch, length = prompts.shape
        cache = empty_cache(model.config.transformer, batch, length + room)
        hidden, cache = read(params, prompts, cache)
        last = jnp.take_along_axis(hidden, lengths[:, None, None] - 1, axis=1)[:, 0]
        return predict(params, last), DecodingState(forget_padding(cache, lengths))

    def extend(params: Tree, tokens: jax.Array, state: DecodingState) -> tuple[jax.Array, DecodingState]:
        positions = state.cache.length[:, None] + jnp.arange(tokens.shape[1], dtype=jnp.int32)[None]
        # Padding behind the last token may be beyond the table: its NaN would reach all tokens of the row.
        positions = jnp.minimum(positions, model.config.positions - 1)
        hidden, cache = read(params, tokens, state.cache, positions)
        return predict(params, hidden), DecodingState(cache)

    return Decoder(ready, start, extend, model.config.positions, reads_source=False)


@functools.cache
def source_decoder(model: EncoderDecoder, start_token: int, blanks: tuple[int, ...] = ()) -> Decoder:
    """The decoder of an encoder-decoder, which maps its prompt to a new text.

    Args:
      model: encoder-decoder.
      start_token: first input of the decoder.
      blanks: see `Decoder`.
    """

    def ready(params: Tree) -> Tree:
        layers = transpose_kernels(params["decoder"]["layers"], model.config.decoder)
        return {**params, "decoder": {**params["decoder"], "layers": layers}}

    def start(
        params: Tree, prompts: jax.Array, lengths: jax.Array, room: int
    ) -> tuple[jax.Array, DecodingState]:
        batch, length = prompts.shape
        present = jnp.arange(length, dtype=jnp.int32)[None] < lengths[:, None]
        context = model.apply({"params": params}, prompts, present, method="encode")
        cache = empty_cache(model.config.decoder, batch, 1 + room)
        first = jnp.full((batch, 1), start_token, jnp.int32)
        logits, state = _extend(params, first, DecodingState(cache, present), context)
        return logits[:, 0], state

    def _extend(
        params: Tree, tokens: jax.Array, state: DecodingState, context: jax.Array | None = None
    ) -> tuple[jax.Array, DecodingState]:
        with kernels_first():
            hidden, cache = model.apply(
                {"params": params},
                tokens,
                context,
                state.source_present,
                cache=state.cache,
                method="decode",
            )
        logits = model.apply({"params": params}, hidden, method="logits")
        return logits, state._replace(cache=cache)

    return Decoder(ready, start, _extend, model.config.positions, reads_source=True, blanks=blanks)

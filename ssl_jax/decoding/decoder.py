"""What a model must offer to write text: the contract between models and generation.

A `Decoder` is a few pure functions; `generate`, `beam_search` and scoring know nothing else of a model. Constructors
give the same object for the same model, so that what was compiled is found again.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ssl_jax.decoding.kernel_first import kernels_first, lay_out
from ssl_jax.method import Tree
from ssl_jax.models.attention import Cache, forget_padding
from ssl_jax.models.encoder_decoder import EncoderDecoder
from ssl_jax.models.gpt2 import Gpt2
from ssl_jax.models.transformer import empty_cache


class Memory(NamedTuple):
    """What a decoder knows of the text so far: a pytree, its own but for the axis of rows.

    Attributes:
        cache: of the tokens read.
        source_present: bool `[batch, source]`, which tokens of a source text there are; None without a source.
    """

    cache: Cache
    source_present: jax.Array | None = None


class Decoder(NamedTuple):
    """How a model writes.

    Attributes:
        prepare: `params -> params` as `start` and `extend` want them. Costs a copy of the weights; what is prepared
            already is returned as it is.
        start: `(params, prompts [batch, length], lengths [batch], room) -> (logits [batch, vocab], memory)`: reads
            prompts, padded on the right, and predicts the token after each. `room` more tokens can be read.
        extend: `(params, tokens [batch, new], memory) -> (logits [batch, new, vocab], memory)`: reads tokens, and
            predicts the one after each of them.
        positions: the most tokens of a text; with a source, of either of the two.
        reads_source: the prompt is a source text, and what is written stands by itself (an encoder-decoder).
            Otherwise what is written continues the prompt.
        blanks: tokens that stand in a source text for something missing: the n-th for the n-th gap, the last for all
            that follow.
    """

    prepare: Callable[[Tree], Tree]
    start: Callable[[Tree, jax.Array, jax.Array, int], tuple[jax.Array, Memory]]
    extend: Callable[[Tree, jax.Array, Memory], tuple[jax.Array, Memory]]
    positions: int
    reads_source: bool
    blanks: tuple[int, ...] = ()

    def step(self, params: Tree, tokens: jax.Array, memory: Memory) -> tuple[jax.Array, Memory]:
        """Reads one token a row, `[batch]`: logits `[batch, vocab]` of the next one, and the memory."""
        logits, memory = self.extend(params, tokens[:, None], memory)
        return logits[:, 0], memory


def prepare(decoder: Decoder, params: Tree) -> Tree:
    """`decoder.prepare(params)`, for callers that write more than once with the same parameters."""
    prepared = jax.eval_shape(decoder.prepare, params)
    if jax.tree.structure(prepared) == jax.tree.structure(params):
        return params  # a compiled program would copy them
    return _prepare(decoder, params)


@functools.partial(jax.jit, static_argnums=0)
def _prepare(decoder: Decoder, params: Tree) -> Tree:
    return decoder.prepare(params)


@functools.cache
def causal_decoder(model: Gpt2) -> Decoder:
    """GPT-2 continues its prompt."""

    def ready(params: Tree) -> Tree:
        return {**params, "layers": lay_out(params["layers"], model.config.transformer)}

    def read(params: Tree, tokens: jax.Array, cache: Cache) -> tuple[jax.Array, Cache]:
        with kernels_first():
            return model.apply({"params": params}, tokens, cache=cache)

    def predict(params: Tree, hidden: jax.Array) -> jax.Array:
        return model.apply({"params": params}, hidden, method="logits")

    def start(params: Tree, prompts: jax.Array, lengths: jax.Array, room: int) -> tuple[jax.Array, Memory]:
        batch, length = prompts.shape
        cache = empty_cache(model.config.transformer, batch, length + room)
        hidden, cache = read(params, prompts, cache)
        last = jnp.take_along_axis(hidden, lengths[:, None, None] - 1, axis=1)[:, 0]
        return predict(params, last), Memory(forget_padding(cache, lengths))

    def extend(params: Tree, tokens: jax.Array, memory: Memory) -> tuple[jax.Array, Memory]:
        hidden, cache = read(params, tokens, memory.cache)
        return predict(params, hidden), Memory(cache)

    return Decoder(ready, start, extend, model.config.positions, reads_source=False)


@functools.cache
def source_decoder(model: EncoderDecoder, start_token: int, blanks: tuple[int, ...] = ()) -> Decoder:
    """An encoder-decoder writes anew what it makes of its prompt; the first token that its decoder reads is
    `start_token`."""

    def ready(params: Tree) -> Tree:
        layers = lay_out(params["decoder"]["layers"], model.config.decoder)
        return {**params, "decoder": {**params["decoder"], "layers": layers}}

    def start(params: Tree, prompts: jax.Array, lengths: jax.Array, room: int) -> tuple[jax.Array, Memory]:
        batch, length = prompts.shape
        present = jnp.arange(length)[None] < lengths[:, None]
        context = model.apply({"params": params}, prompts, present, method="encode")
        cache = empty_cache(model.config.decoder, batch, 1 + room)
        first = jnp.full((batch, 1), start_token, jnp.int32)
        logits, memory = _extend(params, first, Memory(cache, present), context)
        return logits[:, 0], memory

    def _extend(
        params: Tree, tokens: jax.Array, memory: Memory, context: jax.Array | None = None
    ) -> tuple[jax.Array, Memory]:
        with kernels_first():
            hidden, cache = model.apply(
                {"params": params},
                tokens,
                context,
                memory.source_present,
                cache=memory.cache,
                method="decode",
            )
        logits = model.apply({"params": params}, hidden, method="logits")
        return logits, memory._replace(cache=cache)

    return Decoder(ready, start, _extend, model.config.positions, reads_source=True, blanks=blanks)

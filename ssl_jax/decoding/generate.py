"""Text generation: prompts are read in one call, then one compiled loop generates one token per row at a time.

The output of a row depends only on its prompt and on (key, row, position), not on the other rows of the batch. Two
programs are compiled for each shape of the prompts: one reads them, one generates. `generate` runs the second until the
end, `stream` a few tokens at a time.

A model that continues its prompt writes past its context, too: it then reads the last `positions` tokens of the text
anew for every token, as nanoGPT does. No cache can be kept there, because every token has another position in the next
window. So one token takes as long as reading a whole context.
"""

import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax.decoding.decoder import Decoder, DecodingState, prepare
from ssl_jax.decoding.prompts import pad_right
from ssl_jax.decoding.sampling import GREEDY, SamplingConfig, sample
from ssl_jax.errors import UserError
from ssl_jax.method import Tree


class Generated(NamedTuple):
    """Generated texts.

    Attributes:
      tokens: int32 `[batch, new]`, without the prompts; the end-of-text token is repeated after a text.
      lengths: int32 `[batch]`, number of tokens before the end-of-text token.
    """

    tokens: np.ndarray
    lengths: np.ndarray


class _LoopState(NamedTuple):
    """The state of the loop.

    Attributes:
      tokens: int `[batch]`, last token of each row.
      ended: bool `[batch]`, whether the row has ended.
      generated: number of generated tokens per row.
      state: state of the decoder; a window of the text where that is longer than the context.
    """

    tokens: jax.Array
    ended: jax.Array
    generated: jax.Array
    state: "DecodingState | _Window"


class _Window(NamedTuple):
    """The end of each text, padded on the right: tokens `[batch, positions]`, and their numbers `[batch]`."""

    tokens: jax.Array
    lengths: jax.Array

    def followed_by(self, new: jax.Array) -> "_Window":
        """The window with one token more in each row; a full row loses its first token."""
        positions = self.tokens.shape[1]
        full = self.lengths == positions
        tokens = jnp.where(full[:, None], jnp.roll(self.tokens, -1, axis=1), self.tokens)
        place = jnp.where(full, positions - 1, self.lengths)
        at_place = jnp.arange(positions, dtype=jnp.int32)[None] == place[:, None]
        return _Window(
            jnp.where(at_place, new[:, None], tokens), jnp.where(full, positions, self.lengths + 1)
        )


def generate(
    decoder: Decoder,
    params: Tree,
    prompts: np.ndarray,
    lengths: np.ndarray,
    *,
    max_new_tokens: int,
    end: int | None,
    sampling: SamplingConfig = GREEDY,
    key: jax.Array | None = None,
    rows: Sequence[int] | None = None,
) -> Generated:
    """Generates a text after each prompt, until the end-of-text token or `max_new_tokens`.

    Args:
      decoder: decoder of the model.
      params: parameters of the model, or the result of `prepare(decoder, params)`, which saves time if used repeatedly.
      prompts: int `[batch, length]`, padded on the right (see `pad_right` and `move_padding_right`).
      lengths: int `[batch]`, at least 1.
      max_new_tokens: at least 1; more than the context has room for only if the text continues its prompt.
      end: end-of-text token; None for none.
      sampling: greedy by default.
      key: key of the random choices; not used by greedy decoding.
      rows: int `[batch]`, index of each row for its random choices; None for 0, 1, ...

    Raises:
      UserError: as `check_context_length`.
    """
    chunks = list(
        stream(
            decoder,
            params,
            prompts,
            lengths,
            max_new_tokens=max_new_tokens,
            end=end,
            sampling=sampling,
            key=key,
            rows=rows,
            chunk=max(max_new_tokens - 1, 1),
        )
    )
    tokens = np.concatenate(chunks, axis=1)
    missing = max_new_tokens - tokens.shape[1]
    if missing:
        tokens = np.pad(tokens, ((0, 0), (0, missing)), constant_values=end)
    ended = np.zeros(tokens.shape, bool) if end is None else tokens == end
    lengths = np.where(ended.any(1), ended.argmax(1), tokens.shape[1])
    return Generated(tokens, lengths.astype(np.int32))


def stream(
    decoder: Decoder,
    params: Tree,
    prompts: np.ndarray,
    lengths: np.ndarray,
    *,
    max_new_tokens: int,
    end: int | None,
    sampling: SamplingConfig = GREEDY,
    key: jax.Array | None = None,
    rows: Sequence[int] | None = None,
    chunk: int = 1,
) -> Iterator[np.ndarray]:
    """Like `generate`, but yields tokens as they are generated.

    Yields:
      int32 `[batch, new]`: one token per row first, then up to `chunk` tokens at a time.
    """
    prompts, lengths = np.asarray(prompts, np.int32), np.asarray(lengths, np.int32)
    check_context_length(decoder, lengths, max_new_tokens)
    # With a cache, the model reads each token but the last one once, as long as it has positions for them.
    positions = decoder.positions
    cached = (
        max_new_tokens if decoder.reads_source else min(max_new_tokens, positions - int(max(lengths)) + 1)
    )
    rows = np.arange(len(prompts)) if rows is None else np.asarray(rows)
    key = jax.random.key(0) if key is None else key
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, rows)
    params = prepare(decoder, params)
    how = (decoder, sampling, end)
    loop = _prefill(*how, cached - 1, params, prompts, lengths, keys)
    written = [np.asarray(loop.tokens)[:, None]]
    yield written[-1]
    for tokens, loop in _chunks(how, params, loop, keys, cached - 1, chunk):  # noqa: B007, B020
        written.append(tokens)
        yield tokens
    if max_new_tokens == cached:
        return
    texts = zip(prompts, lengths, np.concatenate(written, axis=1), strict=True)
    last = [[*prompt[:length], *tokens][-positions:] for prompt, length, tokens in texts]
    loop = loop._replace(state=_Window(*map(jnp.asarray, pad_right(last, positions))))
    for tokens, _ in _chunks(how, params, loop, keys, max_new_tokens - cached, chunk):
        yield tokens


def _chunks(
    how: tuple, params: Tree, loop: _LoopState, keys: jax.Array, left: int, chunk: int
) -> Iterator[tuple[np.ndarray, _LoopState]]:
    """Up to `left` tokens per row, until all rows have ended: at most `chunk` at a time, and the state after them."""
    while left and not np.asarray(loop.ended).all():
        most = min(chunk, left)
        tokens, count, loop = _decode_chunk(*how, chunk, params, loop, keys, most)
        yield np.asarray(tokens)[:, : int(count)], loop
        left -= most


def check_context_length(
    decoder: Decoder, lengths: np.ndarray, max_new_tokens: int, *, slides: bool = True
) -> None:
    """Checks that prompts are neither empty nor longer than the context, and that what is written fits into it.

    Args:
      decoder: of the model.
      lengths: int `[batch]`, tokens of each prompt.
      max_new_tokens: how many tokens are written at most.
      slides: whether a text that continues its prompt may become longer than the context, as `stream` writes it.

    Raises:
      UserError: otherwise.
    """
    if max_new_tokens < 1:
        raise UserError(f"max_new_tokens {max_new_tokens} must be at least 1.")
    if min(lengths) < 1:
        raise UserError("a prompt is empty: give it at least one token, such as the one that begins a text.")
    longest, positions = int(max(lengths)), decoder.positions
    if longest > positions:
        raise UserError(
            f"a prompt of {longest} tokens is longer than the model's context of {positions} tokens: shorten it."
        )
    if slides and not decoder.reads_source:
        return
    needed = max_new_tokens if decoder.reads_source else longest + max_new_tokens
    if needed > positions:
        prompt = "" if decoder.reads_source else f"a prompt of {longest} tokens and "
        raise UserError(
            f"{prompt}{max_new_tokens} new tokens are more than the model's context of {positions} tokens: "
            f"use at most {positions - needed + max_new_tokens} new tokens, or shorten the prompt."
        )


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _prefill(
    decoder: Decoder,
    sampling: SamplingConfig,
    end: int | None,
    room: int,
    params: Tree,
    prompts: jax.Array,
    lengths: jax.Array,
    keys: jax.Array,
) -> _LoopState:
    """Reads the prompts and generates the first token."""
    logits, state = decoder.start(params, prompts, lengths, room)
    tokens = _choose(sampling, keys, jnp.zeros((), jnp.int32), decoder.without_unused(logits))
    return _LoopState(tokens, _is_end(tokens, end), jnp.ones((), jnp.int32), state)


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3), donate_argnums=5)
def _decode_chunk(
    decoder: Decoder,
    sampling: SamplingConfig,
    end: int | None,
    chunk: int,
    params: Tree,
    loop: _LoopState,
    keys: jax.Array,
    most: jax.Array,
) -> tuple[jax.Array, jax.Array, _LoopState]:
    """Generates at most `most` tokens per row, or until all rows have ended.

    Returns:
      tokens `[batch, chunk]`, the number of them that are valid, and the state of the loop.
    """
    batch = loop.tokens.shape[0]
    out = jnp.full((batch, chunk), 0 if end is None else end, jnp.int32)

    def unfinished(carry: tuple) -> jax.Array:
        count, _, loop = carry
        return (count < most) & ~loop.ended.all()

    def one(carry: tuple) -> tuple:
        count, out, loop = carry
        logits, state = _next(decoder, params, loop.tokens, loop.state)
        tokens = _choose(sampling, keys, loop.generated, decoder.without_unused(logits))
        if end is not None:
            tokens = jnp.where(loop.ended, end, tokens)
        out = jax.lax.dynamic_update_slice_in_dim(out, tokens[:, None], count, axis=1)
        if isinstance(state, _Window):
            state = state.followed_by(tokens)
        ended = loop.ended | _is_end(tokens, end)
        return count + 1, out, _LoopState(tokens, ended, loop.generated + 1, state)

    count, out, loop = jax.lax.while_loop(unfinished, one, (jnp.zeros((), jnp.int32), out, loop))
    return out, count, loop


def _next(
    decoder: Decoder, params: Tree, tokens: jax.Array, state: DecodingState | _Window
) -> tuple[jax.Array, DecodingState | _Window]:
    """Logits `[batch, vocab]` after the last tokens, which a window has already."""
    if isinstance(state, _Window):
        return decoder.start(params, state.tokens, state.lengths, 0)[0], state
    return decoder.step(params, tokens, state)


def _choose(sampling: SamplingConfig, keys: jax.Array, position: jax.Array, logits: jax.Array) -> jax.Array:
    keys = jax.vmap(jax.random.fold_in, (0, None))(keys, position)
    return sample(keys, logits, sampling)


def _is_end(tokens: jax.Array, end: int | None) -> jax.Array:
    return jnp.zeros(tokens.shape, bool) if end is None else tokens == end

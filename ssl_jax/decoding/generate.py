"""Writing text: prompts are read at once, then one compiled loop writes a token a row at a time.

What a row becomes is a function of its own prompt and of (key, row, position), never of its neighbours in the batch.
Two programs are compiled for each shape of the prompts: one reads them, one writes. `generate` runs the second to
the end, `stream` for a few tokens at a time.
"""

import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax.decoding.decoder import Decoder, Memory, prepare
from ssl_jax.decoding.sampling import GREEDY, SamplingConfig, sample
from ssl_jax.errors import UserError
from ssl_jax.method import Tree


class Generated(NamedTuple):
    """What was written.

    Attributes:
        tokens: int32 `[batch, new]`, without the prompts; after a row's end, its end is repeated.
        lengths: int32 `[batch]`, how many of them come before the end-of-text token.
    """

    tokens: np.ndarray
    lengths: np.ndarray


class _Writing(NamedTuple):
    """Where the loop is: the last token of each row `[batch]`, which rows have ended, how many tokens are written."""

    tokens: jax.Array
    ended: jax.Array
    written: jax.Array
    memory: Memory


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
    """Writes after each prompt until its end-of-text token, at most `max_new_tokens`.

    Args:
        decoder: of the model.
        params: of the model, or what `prepare(decoder, params)` made of them, which saves time where one writes often.
        prompts: int `[batch, length]`, padded on the right (`padded` and `flush_left` make them so).
        lengths: int `[batch]`, at least 1.
        max_new_tokens: at least 1.
        end: the end-of-text token; None for none.
        sampling: greedy if not given.
        key: of the random choices; not needed by greedy ones.
        rows: int `[batch]`, the number of each row that its choices are drawn with; None for 0, 1, ...

    Raises:
        UserError: for an empty prompt, or one that leaves no room for `max_new_tokens`.
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
    """`generate` while it is written: int32 `[batch, new]` of one token, then of up to `chunk` tokens at a time."""
    prompts, lengths = np.asarray(prompts, np.int32), np.asarray(lengths, np.int32)
    check_room(decoder, lengths, max_new_tokens)
    rows = np.arange(len(prompts)) if rows is None else np.asarray(rows)
    key = jax.random.key(0) if key is None else key
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, rows)
    params = prepare(decoder, params)
    how = (decoder, sampling, end)
    writing = _begin(*how, max_new_tokens - 1, params, prompts, lengths, keys)
    yield np.asarray(writing.tokens)[:, None]
    left = max_new_tokens - 1
    while left and not np.asarray(writing.ended).all():
        most = min(chunk, left)
        tokens, count, writing = _write(*how, chunk, params, writing, keys, most)
        yield np.asarray(tokens)[:, : int(count)]
        left -= most


def check_room(decoder: Decoder, lengths: np.ndarray, max_new_tokens: int) -> None:
    """Raises UserError if a prompt is empty, or does not leave room for so many new tokens."""
    if max_new_tokens < 1:
        raise UserError(f"max_new_tokens {max_new_tokens} must be at least 1.")
    if min(lengths) < 1:
        raise UserError("a prompt is empty: give it at least one token, such as the one that begins a text.")
    longest, positions = int(max(lengths)), decoder.positions
    if longest > positions:
        raise UserError(
            f"a prompt of {longest} tokens is longer than the model's context of {positions} tokens: shorten it."
        )
    needed = max_new_tokens if decoder.reads_source else longest + max_new_tokens
    if needed > positions:
        prompt = "" if decoder.reads_source else f"a prompt of {longest} tokens and "
        raise UserError(
            f"{prompt}{max_new_tokens} new tokens are more than the model's context of {positions} tokens: "
            f"ask for at most {positions - needed + max_new_tokens} new tokens, or shorten the prompt."
        )


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _begin(
    decoder: Decoder,
    sampling: SamplingConfig,
    end: int | None,
    room: int,
    params: Tree,
    prompts: jax.Array,
    lengths: jax.Array,
    keys: jax.Array,
) -> _Writing:
    """Reads the prompts and writes the first token."""
    logits, memory = decoder.start(params, prompts, lengths, room)
    tokens = _choose(sampling, keys, jnp.zeros((), jnp.int32), logits)
    return _Writing(tokens, _is_end(tokens, end), jnp.ones((), jnp.int32), memory)


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3), donate_argnums=5)
def _write(
    decoder: Decoder,
    sampling: SamplingConfig,
    end: int | None,
    chunk: int,
    params: Tree,
    writing: _Writing,
    keys: jax.Array,
    most: jax.Array,
) -> tuple[jax.Array, jax.Array, _Writing]:
    """Writes until all rows have ended, at most `most` tokens: `[batch, chunk]`, how many, and where the loop is."""
    batch = writing.tokens.shape[0]
    out = jnp.full((batch, chunk), 0 if end is None else end, jnp.int32)

    def unfinished(carry: tuple) -> jax.Array:
        count, _, writing = carry
        return (count < most) & ~writing.ended.all()

    def one(carry: tuple) -> tuple:
        count, out, writing = carry
        logits, memory = decoder.step(params, writing.tokens, writing.memory)
        tokens = _choose(sampling, keys, writing.written, logits)
        if end is not None:
            tokens = jnp.where(writing.ended, end, tokens)
        out = jax.lax.dynamic_update_slice_in_dim(out, tokens[:, None], count, axis=1)
        ended = writing.ended | _is_end(tokens, end)
        return count + 1, out, _Writing(tokens, ended, writing.written + 1, memory)

    count, out, writing = jax.lax.while_loop(unfinished, one, (jnp.zeros((), jnp.int32), out, writing))
    return out, count, writing


def _choose(sampling: SamplingConfig, keys: jax.Array, position: jax.Array, logits: jax.Array) -> jax.Array:
    keys = jax.vmap(jax.random.fold_in, (0, None))(keys, position)
    return sample(keys, logits, sampling)


def _is_end(tokens: jax.Array, end: int | None) -> jax.Array:
    return jnp.zeros(tokens.shape, bool) if end is None else tokens == end

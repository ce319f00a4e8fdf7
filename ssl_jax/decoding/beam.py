"""Beam search in one compiled loop, with the scores and stopping rules of transformers' `generate(num_beams=...)`.

At each step the best `2 * beams` continuations of a prompt's open beams are looked at. Of the first `beams` of them,
those that end are finished, and compete with the finished ones so far by their log-likelihood over
length ** length_penalty; the best that do not end stay open. Two candidates a beam are enough, since only one
continuation of a beam ends it.
"""

import functools
from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax.decoding.decoder import Decoder, Memory, prepare
from ssl_jax.decoding.generate import check_room
from ssl_jax.errors import UserError
from ssl_jax.method import Tree

_NEVER = -1e9
"""Added to scores that must not be chosen, as in transformers: finite, so that ties among them do not give NaN."""


@dataclass(frozen=True)
class BeamConfig:
    """How to search."""

    beams: int = 4
    """Texts kept open at a time."""
    length_penalty: float = 1.0
    """Finished texts compete by log-likelihood / length ** length_penalty: above 0 favours long ones, 0 is none."""
    early_stopping: bool | Literal["never"] = False
    """When a prompt is done. True: as soon as there are `beams` finished texts. False: when no open one would be better
    than the worst of them if it ended here. "never": when none can become better, whatever its length."""
    min_new_tokens: int = 0
    """Tokens that must come before the end-of-text token."""

    def __post_init__(self) -> None:
        if self.beams < 1:
            raise UserError(f"beams {self.beams} must be at least 1.")
        if self.min_new_tokens < 0:
            raise UserError(f"min_new_tokens {self.min_new_tokens} must be at least 0.")


class Found(NamedTuple):
    """The best text of each prompt.

    Attributes:
        tokens: int32 `[batch, new]`; after a text's end, its end is repeated.
        lengths: int32 `[batch]`, how many of them come before the end-of-text token.
        scores: float32 `[batch]`, log-likelihood over length ** length_penalty.
    """

    tokens: np.ndarray
    lengths: np.ndarray
    scores: np.ndarray


class _Search(NamedTuple):
    """Where the search is.

    Attributes:
        tokens: int `[batch, beams, new]`, of the open texts. scores `[batch, beams]`: their log-likelihoods.
        origin: int `[batch, beams]`, which of the beams before this step each has grown from.
        done_tokens, done_scores, done: the same of the finished texts; `done` is False where there is none yet.
        hopeful: bool `[batch]`, an open text could still beat a finished one.
        written: how many tokens the open texts have.
        stuck: no continuation was left open.
    """

    tokens: jax.Array
    scores: jax.Array
    origin: jax.Array
    done_tokens: jax.Array
    done_scores: jax.Array
    done: jax.Array
    hopeful: jax.Array
    written: jax.Array
    stuck: jax.Array


def beam_search(
    decoder: Decoder,
    params: Tree,
    prompts: np.ndarray,
    lengths: np.ndarray,
    *,
    max_new_tokens: int,
    end: int | None,
    config: BeamConfig,
) -> Found:
    """The likeliest text after each prompt that beam search finds. See `generate` for the arguments and errors."""
    prompts, lengths = np.asarray(prompts, np.int32), np.asarray(lengths, np.int32)
    check_room(decoder, lengths, max_new_tokens)
    params = prepare(decoder, params)
    tokens, scores = map(np.asarray, _search(decoder, config, end, max_new_tokens, params, prompts, lengths))
    ended = np.zeros(tokens.shape, bool) if end is None else tokens == end
    counts = np.where(ended.any(1), ended.argmax(1), max_new_tokens)
    return Found(tokens, counts.astype(np.int32), scores)


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _search(
    decoder: Decoder,
    config: BeamConfig,
    end: int | None,
    most: int,
    params: Tree,
    prompts: jax.Array,
    lengths: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    batch, beams = prompts.shape[0], config.beams
    logits, memory = decoder.start(params, prompts, lengths, most - 1)
    logits, memory = jax.tree.map(lambda x: jnp.repeat(x, beams, axis=0) if x.ndim else x, (logits, memory))
    empty = jnp.full((batch, beams, most), 0 if end is None else end, jnp.int32)
    never = jnp.full((batch, beams), _NEVER)
    search = _Search(
        tokens=empty,
        scores=never.at[:, 0].set(0.0),  # the beams are equal still: only one of them may grow
        origin=jnp.zeros((batch, beams), jnp.int32),
        done_tokens=empty,
        done_scores=never,
        done=jnp.zeros((batch, beams), bool),
        hopeful=jnp.ones(batch, bool),
        written=jnp.zeros((), jnp.int32),
        stuck=jnp.zeros((), bool),
    )
    search = _grow(config, end, logits, search)

    def unfinished(carry: tuple) -> jax.Array:
        search, _ = carry
        full = search.done.all() if config.early_stopping is True else False
        return search.hopeful.any() & ~jnp.asarray(full) & ~search.stuck

    def step(carry: tuple) -> tuple:
        search, memory = carry
        rows = (jnp.arange(batch)[:, None] * beams + search.origin).reshape(-1)
        newest = jax.lax.dynamic_index_in_dim(search.tokens, search.written - 1, axis=2, keepdims=False)
        logits, memory = decoder.step(params, newest.reshape(-1), _reorder(memory, rows))
        return _grow(config, end, logits, search), memory

    search, _ = jax.lax.while_loop(unfinished, step, (search, memory))
    return search.done_tokens[:, 0], search.done_scores[:, 0]


def _reorder(memory: Memory, rows: jax.Array) -> Memory:
    """The memory with its rows taken from `rows [batch * beams]`; what all beams of a prompt share stays in place."""
    layers = tuple(
        part._replace(keys=part.keys[rows], values=part.values[rows]) for part in memory.cache.layers
    )
    return memory._replace(cache=memory.cache._replace(layers=layers))


def _grow(config: BeamConfig, end: int | None, logits: jax.Array, search: _Search) -> _Search:
    """Every open text by one token, from logits `[batch * beams, vocab]`."""
    [batch, beams, most], vocab = search.tokens.shape, logits.shape[-1]
    length = search.written + 1
    log_probabilities = jax.nn.log_softmax(logits).reshape(batch, beams, vocab)
    if end is not None:
        too_early = (jnp.arange(vocab) == end) & (search.written < config.min_new_tokens)
        log_probabilities = jnp.where(too_early[None, None], -jnp.inf, log_probabilities)
    scores = (log_probabilities + search.scores[:, :, None]).reshape(batch, beams * vocab)
    scores, candidates = jax.lax.top_k(scores, 2 * beams)
    origin, newest = candidates // vocab, (candidates % vocab).astype(jnp.int32)
    tokens = jax.lax.dynamic_update_slice_in_dim(
        _take(search.tokens, origin), newest[:, :, None], search.written, axis=2
    )
    ends = jnp.broadcast_to(length == most, newest.shape)
    if end is not None:
        ends |= newest == end

    open_scores, chosen = jax.lax.top_k(scores + _NEVER * ends, beams)
    open_tokens, open_origin = _take(tokens, chosen), _take(origin, chosen)

    finishing = ends & (jnp.arange(2 * beams) < beams)[None]
    closed = ~search.hopeful
    if config.early_stopping is True:
        closed |= search.done.all(-1)
    final = scores / length.astype(jnp.float32) ** config.length_penalty
    final += _NEVER * closed[:, None] + _NEVER * ~finishing
    done_scores, chosen = jax.lax.top_k(jnp.concatenate([search.done_scores, final], axis=1), beams)
    done_tokens = _take(jnp.concatenate([search.done_tokens, tokens], axis=1), chosen)
    done = _take(jnp.concatenate([search.done, finishing], axis=1), chosen)

    longest = jnp.float32(most) if _may_grow(config) else length.astype(jnp.float32)
    best = open_scores[:, :1] / longest**config.length_penalty
    worst = jnp.where(done, done_scores.min(1, keepdims=True), _NEVER)
    return _Search(
        tokens=open_tokens,
        scores=open_scores,
        origin=open_origin,
        done_tokens=done_tokens,
        done_scores=done_scores,
        done=done,
        hopeful=search.hopeful & (best > worst).any(-1),
        written=length,
        stuck=ends.all(),
    )


def _may_grow(config: BeamConfig) -> bool:
    """Whether the best that an open text can become is judged as if it went on to the last token."""
    return config.early_stopping == "never" and config.length_penalty > 0


def _take(x: jax.Array, index: jax.Array) -> jax.Array:
    """`x [batch, beams, ...]` at `index [batch, chosen]`."""
    return jnp.take_along_axis(x, index.reshape(index.shape + (1,) * (x.ndim - 2)), axis=1)

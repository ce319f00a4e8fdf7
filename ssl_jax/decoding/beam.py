"""Beam search in one compiled loop, with the scores and stopping rules of transformers' `generate(num_beams=...)`.

At each step, the best `2 * beams` continuations of a prompt's open beams are considered. Of the first `beams` of these,
those that end are finished. They compete with the earlier finished texts by log-likelihood / length ** length_penalty.
The best continuations that do not end stay open. Two candidates per beam are enough, because only one continuation of a
beam ends it.
"""

import functools
from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax.decoding.decoder import Decoder, DecodingState, prepare
from ssl_jax.decoding.generate import check_context_length
from ssl_jax.domains import Beams, LengthPenalty, NonNegativeInt, Settings
from ssl_jax.method import Tree

_EXCLUDED = -1e9
"""Added to scores that must not be chosen, as in transformers. It is finite, so that sums do not give NaN."""


@dataclass(frozen=True)
class BeamConfig(Settings):
    """Settings of beam search."""

    beams: Beams = 4
    """Number of open texts per prompt."""
    length_penalty: LengthPenalty = 1.0
    """Finished texts compete by log-likelihood / length ** length_penalty: values above 0 favour long texts, 0 is no
    penalty."""
    early_stopping: bool | Literal["never"] = False
    """When a prompt is done. True: when it has `beams` finished texts. False: when no open text would be better than
    the worst of them if it ended now. "never": when no open text can become better, whatever its length."""
    min_new_tokens: NonNegativeInt = 0
    """Number of tokens before the end-of-text token is allowed."""


class BeamSearchResult(NamedTuple):
    """The best text of each prompt.

    Attributes:
      tokens: int32 `[batch, new]`; the end-of-text token is repeated after a text.
      lengths: int32 `[batch]`, number of tokens before the end-of-text token.
      scores: float32 `[batch]`, log-likelihood / length ** length_penalty.
    """

    tokens: np.ndarray
    lengths: np.ndarray
    scores: np.ndarray


class _Search(NamedTuple):
    """The state of the search.

    Attributes:
      tokens: int `[batch, beams, new]`, the open texts.
      scores: `[batch, beams]`, log-likelihoods of the open texts.
      origin: int `[batch, beams]`, index of the previous step's beam that each open text continues.
      finished_tokens: int `[batch, beams, new]`, the finished texts.
      finished_scores: `[batch, beams]`, scores of the finished texts.
      finished: bool `[batch, beams]`, False for unused slots of finished texts.
      improvable: bool `[batch]`, whether an open text could still be better than a finished one.
      generated: number of tokens of the open texts.
      exhausted: whether no open text is left.
    """

    tokens: jax.Array
    scores: jax.Array
    origin: jax.Array
    finished_tokens: jax.Array
    finished_scores: jax.Array
    finished: jax.Array
    improvable: jax.Array
    generated: jax.Array
    exhausted: jax.Array


def beam_search(
    decoder: Decoder,
    params: Tree,
    prompts: np.ndarray,
    lengths: np.ndarray,
    *,
    max_new_tokens: int,
    end: int | None,
    config: BeamConfig,
) -> BeamSearchResult:
    """Finds the text of highest score after each prompt by beam search.

    Args:
      decoder: decoder of the model.
      params: parameters of the model, or the result of `prepare(decoder, params)`.
      prompts: int `[batch, length]`, padded on the right.
      lengths: int `[batch]`, at least 1.
      max_new_tokens: at least 1.
      end: end-of-text token; None for none.
      config: settings.

    Raises:
      UserError: a prompt is empty, or too long for `max_new_tokens` more tokens.
    """
    prompts, lengths = np.asarray(prompts, np.int32), np.asarray(lengths, np.int32)
    check_context_length(decoder, lengths, max_new_tokens, slides=False)
    params = prepare(decoder, params)
    tokens, scores = map(np.asarray, _search(decoder, config, end, max_new_tokens, params, prompts, lengths))
    ended = np.zeros(tokens.shape, bool) if end is None else tokens == end
    counts = np.where(ended.any(1), ended.argmax(1), max_new_tokens)
    return BeamSearchResult(tokens, counts.astype(np.int32), scores)


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

    def log_probabilities(logits: jax.Array) -> jax.Array:
        return decoder.without_unused(jax.nn.log_softmax(logits))

    logits, state = decoder.start(params, prompts, lengths, most - 1)
    logits, state = jax.tree.map(lambda x: jnp.repeat(x, beams, axis=0) if x.ndim else x, (logits, state))
    empty = jnp.full((batch, beams, most), 0 if end is None else end, jnp.int32)
    excluded = jnp.full((batch, beams), _EXCLUDED, jnp.float32)
    search = _Search(
        tokens=empty,
        scores=excluded.at[:, 0].set(0.0),  # the beams are still equal, so only one of them may be continued
        origin=jnp.zeros((batch, beams), jnp.int32),
        finished_tokens=empty,
        finished_scores=excluded,
        finished=jnp.zeros((batch, beams), bool),
        improvable=jnp.ones(batch, bool),
        generated=jnp.zeros((), jnp.int32),
        exhausted=jnp.zeros((), bool),
    )
    search = _grow(config, end, log_probabilities(logits), search)

    def unfinished(carry: tuple) -> jax.Array:
        search, _ = carry
        full = search.finished.all() if config.early_stopping is True else False
        return search.improvable.any() & ~jnp.asarray(full) & ~search.exhausted

    def step(carry: tuple) -> tuple:
        search, state = carry
        rows = (jnp.arange(batch, dtype=jnp.int32)[:, None] * beams + search.origin).reshape(-1)
        newest = jax.lax.dynamic_index_in_dim(search.tokens, search.generated - 1, axis=2, keepdims=False)
        logits, state = decoder.step(params, newest.reshape(-1), _reorder(state, rows))
        return _grow(config, end, log_probabilities(logits), search), state

    search, _ = jax.lax.while_loop(unfinished, step, (search, state))
    return search.finished_tokens[:, 0], search.finished_scores[:, 0]


def _reorder(state: DecodingState, rows: jax.Array) -> DecodingState:
    """The state with rows taken from `rows [batch * beams]`; arrays shared by all beams of a prompt are not copied."""
    layers = tuple(
        part._replace(keys=part.keys[rows], values=part.values[rows]) for part in state.cache.layers
    )
    return state._replace(cache=state.cache._replace(layers=layers))


def _grow(config: BeamConfig, end: int | None, log_probabilities: jax.Array, search: _Search) -> _Search:
    """Extends every open text by one token, from log-probabilities `[batch * beams, vocab]`."""
    [batch, beams, most], vocab = search.tokens.shape, log_probabilities.shape[-1]
    length = search.generated + 1
    log_probabilities = log_probabilities.reshape(batch, beams, vocab)
    if end is not None:
        too_early = (jnp.arange(vocab, dtype=jnp.int32) == end) & (search.generated < config.min_new_tokens)
        log_probabilities = jnp.where(too_early[None, None], -jnp.inf, log_probabilities)
    scores = (log_probabilities + search.scores[:, :, None]).reshape(batch, beams * vocab)
    scores, candidates = jax.lax.top_k(scores, 2 * beams)
    origin, newest = candidates // vocab, (candidates % vocab).astype(jnp.int32)
    tokens = jax.lax.dynamic_update_slice_in_dim(
        _take(search.tokens, origin), newest[:, :, None], search.generated, axis=2
    )
    ends = jnp.broadcast_to(length == most, newest.shape)
    if end is not None:
        ends |= newest == end

    open_scores, chosen = jax.lax.top_k(scores + _EXCLUDED * ends, beams)
    open_tokens, open_origin = _take(tokens, chosen), _take(origin, chosen)

    finishing = ends & (jnp.arange(2 * beams, dtype=jnp.int32) < beams)[None]
    closed = ~search.improvable
    if config.early_stopping is True:
        closed |= search.finished.all(-1)
    final = scores / length.astype(jnp.float32) ** config.length_penalty
    final += _EXCLUDED * closed[:, None] + _EXCLUDED * ~finishing
    finished_scores, chosen = jax.lax.top_k(jnp.concatenate([search.finished_scores, final], axis=1), beams)
    finished_tokens = _take(jnp.concatenate([search.finished_tokens, tokens], axis=1), chosen)
    finished = _take(jnp.concatenate([search.finished, finishing], axis=1), chosen)

    longest = jnp.float32(most) if _may_grow(config) else length.astype(jnp.float32)
    best = open_scores[:, :1] / longest**config.length_penalty
    worst = jnp.where(finished, finished_scores.min(1, keepdims=True), _EXCLUDED)
    return _Search(
        tokens=open_tokens,
        scores=open_scores,
        origin=open_origin,
        finished_tokens=finished_tokens,
        finished_scores=finished_scores,
        finished=finished,
        improvable=search.improvable & (best > worst).any(-1),
        generated=length,
        exhausted=ends.all(),
    )


def _may_grow(config: BeamConfig) -> bool:
    """Whether the best score that an open text can reach is computed for the largest length."""
    return config.early_stopping == "never" and config.length_penalty > 0


def _take(x: jax.Array, index: jax.Array) -> jax.Array:
    """`x [batch, beams, ...]` at `index [batch, chosen]`."""
    return jnp.take_along_axis(x, index.reshape(index.shape + (1,) * (x.ndim - 2)), axis=1)

"""The state of a learnt codebook: initialised by k-means, updated once per step, with dead codes replaced.

There are two ways to learn a codebook.

- By moving averages: each code becomes the average of the vectors that chose it (VQ-VAE, arXiv:1711.00937, appendix
  A.1). `ema_update` does this.
- By the gradient of `ssl_jax.losses.quantization.codebook_loss`. A loss cannot set a parameter to a k-means centre or
  to a vector of the batch. So the codebook is the sum of `CodebookState.vectors`, which such jumps change, and of a
  parameter that is 0 at first, which the gradient changes. `restart_update` replaces dead codes.

Either way the state belongs to the extras of a method. The loss calls `accumulate` to collect which codes the batch
chose, and `after_update` updates the vectors once. They do not change in between, so that a step uses the same codebook
however its batch is cut into micro-batches. An evaluation calls neither function.

    def loss(params, extras, batch, rng):
        x = encoder(params, batch["image"])
        state = initialize_from_batch(config, extras["codebook"], rng, x)
        codes = nearest(state.vectors, x)
        state = accumulate(config, state, rng, x, codes)
        reconstruction = decoder(params, straight_through(look_up(state.vectors, codes), x))
        ...

    def after_update(params, extras, step):
        return {**extras, "codebook": ema_update(config, extras["codebook"])}
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from ssl_jax.models.quantization.codebook import CodebookConfig, count_and_sum, random_vectors
from ssl_jax.models.quantization.kmeans import kmeans, sample_vectors


class StepStatistics(NamedTuple):
    """Statistics of the vectors of one optimiser step, which may be several micro-batches; all float32.

    Attributes:
      counts: `[codes]`, how many vectors chose each code.
      sums: `[codes, width]`, the sum of these vectors.
      candidates: `[codes, width]`, random vectors of the batch, which replace dead codes.
    """

    counts: jax.Array
    sums: jax.Array
    candidates: jax.Array


class CodebookState(NamedTuple):
    """The state of a codebook; all float32 but `initialized`.

    Attributes:
      vectors: `[codes, width]`, to which a parameter is added if the codebook is learnt by gradients.
      counts: `[codes]`, moving average of how many vectors of a step chose each code.
      sums: `[codes, width]`, moving average of the sums of these vectors.
      statistics: of the current step.
      initialized: bool, whether k-means has run or is turned off.
    """

    vectors: jax.Array
    counts: jax.Array
    sums: jax.Array
    statistics: StepStatistics
    initialized: jax.Array


def init_state(rng: jax.Array, config: CodebookConfig) -> CodebookState:
    """A codebook of random vectors before its first batch, with a count of 1 for each code."""
    vectors = random_vectors(rng, config.codes, config.width)
    return CodebookState(
        vectors,
        jnp.ones(config.codes, jnp.float32),
        vectors,
        _empty_statistics(vectors),
        jnp.array(config.kmeans == 0),
    )


def _empty_statistics(vectors: jax.Array) -> StepStatistics:
    return StepStatistics(
        jnp.zeros(vectors.shape[0], jnp.float32), jnp.zeros_like(vectors), jnp.zeros_like(vectors)
    )


def initialize_from_batch(
    config: CodebookConfig,
    state: CodebookState,
    rng: jax.Array,
    x: jax.Array,
    weights: jax.Array | None = None,
) -> CodebookState:
    """The codebook of k-means on `x`, if this is the first batch (or micro-batch) and k-means is not turned off.

    The moving averages become those of this batch, with a count of at least 1 for each code.

    Args:
      config: of the codebook.
      state: of the codebook.
      rng: a key.
      x: `[..., width]`.
      weights: `[...]`, 0 for padding; None for 1 everywhere.

    Raises:
      UserError: `x` has fewer vectors than the codebook has codes.
    """
    if not config.kmeans:
        return state

    def from_batch() -> CodebookState:
        centres, counts = kmeans(rng, x, config.codes, config.kmeans, weights)
        counts = jnp.maximum(counts, 1)
        return state._replace(
            vectors=centres, counts=counts, sums=centres * counts[:, None], initialized=jnp.array(True)
        )

    return jax.lax.cond(state.initialized, lambda: state, from_batch)


def accumulate(
    config: CodebookConfig,
    state: CodebookState,
    rng: jax.Array,
    x: jax.Array,
    codes: jax.Array,
    weights: jax.Array | None = None,
) -> CodebookState:
    """Adds a batch to the statistics of the step. The codebook itself does not change.

    Args:
      config: of the codebook.
      state: of the codebook.
      rng: a key, by which candidates for dead codes are drawn.
      x: `[..., width]`.
      codes: int32 `[...]`, the code that each vector chose.
      weights: `[...]`, 0 for padding; None for 1 everywhere.
    """
    x = jax.lax.stop_gradient(x)
    statistics = state.statistics
    counts, sums = count_and_sum(x, codes, config.codes, weights)
    candidates = statistics.candidates
    if config.restart_below:
        sample_rng, take_rng = jax.random.split(rng)
        # Every vector of the step has the same probability, in whichever micro-batch it is.
        here = counts.sum()
        take = (
            jax.random.uniform(take_rng, (config.codes, 1), jnp.float32) * (statistics.counts.sum() + here)
            < here
        )
        candidates = jnp.where(take, sample_vectors(sample_rng, x, config.codes, weights), candidates)
    return state._replace(
        statistics=StepStatistics(statistics.counts + counts, statistics.sums + sums, candidates)
    )


def ema_update(config: CodebookConfig, state: CodebookState) -> CodebookState:
    """The codebook after an optimiser step: each code is the average of its vectors (arXiv:1711.00937, eq. 6 to 8).

    Counts are smoothed as in the authors' code: (N + e) / (n + K e) n for a count N of K codes with n in all. A code
    whose count falls below `config.restart_below` is replaced by a vector of the batch. Its moving averages become
    those of an average code at that vector: its old sums do not pull it back, and it has time to find vectors before
    it can be replaced again. A step without vectors changes nothing.
    """
    statistics = state.statistics
    counts = _moving_average(config, state.counts, statistics.counts)
    sums = _moving_average(config, state.sums, statistics.sums)
    total = counts.sum()
    smoothed = (counts + config.smoothing) / (total + config.codes * config.smoothing) * total
    updated = state._replace(vectors=sums / smoothed[:, None], counts=counts, sums=sums)
    return _end_step(_replace_dead_codes(config, updated, statistics.candidates), state)


def restart_update(config: CodebookConfig, state: CodebookState, learnt: jax.Array) -> CodebookState:
    """The state of a codebook `state.vectors + learnt` after an optimiser step: dead codes are replaced, as above.

    Args:
      config: of the codebook.
      state: of the codebook.
      learnt: `[codes, width]`, the parameter after the step. A dead code is replaced such that its sum with the
        parameter is a vector of the batch.
    """
    counted = state._replace(counts=_moving_average(config, state.counts, state.statistics.counts))
    return _end_step(_replace_dead_codes(config, counted, state.statistics.candidates - learnt), state)


def _moving_average(config: CodebookConfig, old: jax.Array, new: jax.Array) -> jax.Array:
    return config.decay * old + (1 - config.decay) * new


def _replace_dead_codes(config: CodebookConfig, state: CodebookState, vectors: jax.Array) -> CodebookState:
    """Replaces dead codes by `vectors [codes, width]`, each with the count of an average code."""
    if not config.restart_below:
        return state
    average = state.counts.sum() / config.codes
    dead = state.counts < config.restart_below * average
    return state._replace(
        vectors=jnp.where(dead[:, None], vectors, state.vectors),
        counts=jnp.where(dead, average, state.counts),
        sums=jnp.where(dead[:, None], average * vectors, state.sums),
    )


def _end_step(updated: CodebookState, before: CodebookState) -> CodebookState:
    """The updated state with empty statistics; the state before if the step had no vectors."""
    updated = updated._replace(statistics=_empty_statistics(updated.vectors))
    return jax.tree.map(
        lambda new, old: jnp.where(before.statistics.counts.sum() > 0, new, old), updated, before
    )

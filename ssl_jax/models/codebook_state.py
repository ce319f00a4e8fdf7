"""How a codebook is learnt: from a start by k-means, in one of two ways, with dead codes brought back to life.

- As a moving average of the vectors that choose each code (VQ-VAE, arXiv:1711.00937, appendix A.1), by `ema_update`.
- By the gradient of `ssl_jax.losses.quantization.codebook_loss`. No loss can set a parameter to a k-means centre or to
  a vector of the batch. So the codebook is the sum of what the state says, which such jumps change, and of a parameter
  that begins at 0, which the gradient moves; `restart_update` brings dead codes back.

Either way its state is a `Codebook` in the extras of a method. The loss notes with `observe` which codes the batch has
chosen, and `after_update` moves the state once. Between the two it does not move, so that a step gives the same
codebook however its batch is cut into micro-batches. An evaluation calls neither of them.

    def loss(params, extras, batch, rng):
        x = encoder(params, batch["image"])
        codebook = start(config, extras["codebook"], rng, x)
        codes = nearest(codebook.vectors, x)
        codebook = observe(config, codebook, rng, x, codes)
        restored = decoder(params, straight_through(look_up(codebook.vectors, codes), x))
        ...

    def after_update(params, extras, step):
        return {**extras, "codebook": ema_update(config, extras["codebook"])}
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from ssl_jax.models.codebook import CodebookConfig, draw, kmeans, random_vectors, tally


class Seen(NamedTuple):
    """What an optimiser step has seen so far.

    counts: `[codes]`, vectors that chose each code. sums: `[codes, width]`, of these vectors. candidates: `[codes,
    width]`, random vectors of the batch.
    """

    counts: jax.Array
    sums: jax.Array
    candidates: jax.Array


class Codebook(NamedTuple):
    """A codebook's state; all float32 but `started`.

    vectors: `[codes, width]`, to which a parameter is added if gradients move the codebook. counts: `[codes]`, moving
    average of the vectors a step that chose each code. sums: `[codes, width]`, moving average of their sums, for
    `ema_update`. seen: what the update will add to the averages. started: bool, whether k-means has been or is not
    wanted.
    """

    vectors: jax.Array
    counts: jax.Array
    sums: jax.Array
    seen: Seen
    started: jax.Array


def init_codebook(rng: jax.Array, config: CodebookConfig) -> Codebook:
    """A codebook before its first batch, each vector as if seen once."""
    vectors = random_vectors(rng, config.codes, config.width)
    return Codebook(
        vectors, jnp.ones(config.codes), vectors, _nothing(vectors), jnp.array(config.kmeans == 0)
    )


def _nothing(vectors: jax.Array) -> Seen:
    return Seen(jnp.zeros(vectors.shape[0]), jnp.zeros_like(vectors), jnp.zeros_like(vectors))


def start(
    config: CodebookConfig,
    codebook: Codebook,
    rng: jax.Array,
    x: jax.Array,
    weights: jax.Array | None = None,
) -> Codebook:
    """The codebook, by k-means of `x [..., width]` if this is its first batch (or micro-batch) and k-means is wanted.

    The averages are then as if they had seen this batch before, and each code at least once.
    """
    if not config.kmeans:
        return codebook

    def from_batch() -> Codebook:
        centres, counts = kmeans(rng, x, config.codes, config.kmeans, weights)
        counts = jnp.maximum(counts, 1)
        return codebook._replace(
            vectors=centres, counts=counts, sums=centres * counts[:, None], started=jnp.array(True)
        )

    return jax.lax.cond(codebook.started, lambda: codebook, from_batch)


def observe(
    config: CodebookConfig,
    codebook: Codebook,
    rng: jax.Array,
    x: jax.Array,
    codes: jax.Array,
    weights: jax.Array | None = None,
) -> Codebook:
    """Notes which vectors chose which codes, and draws some of them for dead codes. The codebook does not move.

    Args:
        x: `[..., width]`. codes: int32 `[...]`, `nearest(codebook.vectors, x)`. weights: `[...]`, 0 for what does not
            count, such as padding.
    """
    x = jax.lax.stop_gradient(x)
    seen = codebook.seen
    counts, sums = tally(x, codes, config.codes, weights)
    candidates = seen.candidates
    if config.restart_below:
        draw_rng, take_rng = jax.random.split(rng)
        # Every vector of the step with the same chance, whichever micro-batch it is in.
        here = counts.sum()
        take = jax.random.uniform(take_rng, (config.codes, 1)) * (seen.counts.sum() + here) < here
        candidates = jnp.where(take, draw(draw_rng, x, config.codes, weights), candidates)
    return codebook._replace(seen=Seen(seen.counts + counts, seen.sums + sums, candidates))


def ema_update(config: CodebookConfig, codebook: Codebook) -> Codebook:
    """The codebook after an optimiser step: each code the average of its vectors (arXiv:1711.00937, equations 6 to 8).

    Counts are smoothed as in the authors' code: (N + e) / (n + K e) n for a count N of K codes with n in all. A code
    that falls below `config.restart_below` starts again as one of the batch's vectors, and its averages as those of an
    average code there, so that nothing pulls it back, and it has time to find vectors before it can fall again.
    A step that has observed nothing changes nothing.
    """
    seen = codebook.seen
    counts = _average(config, codebook.counts, seen.counts)
    sums = _average(config, codebook.sums, seen.sums)
    total = counts.sum()
    smoothed = (counts + config.smoothing) / (total + config.codes * config.smoothing) * total
    moved = codebook._replace(vectors=sums / smoothed[:, None], counts=counts, sums=sums)
    return _finished(_restarted(config, moved, seen.candidates), codebook)


def restart_update(config: CodebookConfig, codebook: Codebook, learnt: jax.Array) -> Codebook:
    """The state of a codebook `codebook.vectors + learnt` after an optimiser step: dead codes start again, as above.

    Args:
        learnt: `[codes, width]`, the parameter after the step. A code that starts again does so where the sum with it
            is a vector of the batch.
    """
    counted = codebook._replace(counts=_average(config, codebook.counts, codebook.seen.counts))
    return _finished(_restarted(config, counted, codebook.seen.candidates - learnt), codebook)


def _average(config: CodebookConfig, old: jax.Array, new: jax.Array) -> jax.Array:
    return config.decay * old + (1 - config.decay) * new


def _restarted(config: CodebookConfig, codebook: Codebook, vectors: jax.Array) -> Codebook:
    """With `vectors [codes, width]` in place of dead codes, each as if seen as often as an average code."""
    if not config.restart_below:
        return codebook
    even = codebook.counts.sum() / config.codes
    dead = codebook.counts < config.restart_below * even
    return codebook._replace(
        vectors=jnp.where(dead[:, None], vectors, codebook.vectors),
        counts=jnp.where(dead, even, codebook.counts),
        sums=jnp.where(dead[:, None], even * vectors, codebook.sums),
    )


def _finished(moved: Codebook, before: Codebook) -> Codebook:
    """The moved codebook, ready for the next step; the one before if this step has seen nothing."""
    moved = moved._replace(seen=_nothing(moved.vectors))
    return jax.tree.map(lambda new, old: jnp.where(before.seen.counts.sum() > 0, new, old), moved, before)

"""Policy gradients for texts that are written token by token, and the rewards of an adversarial summariser.

Arrays of a text are `[batch, length]`. `present` is 1 for the tokens of a text, the token that ends it included, and 0
after that: no loss and no reward depends on what stands there.
"""

import jax
import jax.numpy as jnp

from ssl_jax.method import Mean


def reinforce(log_probs: jax.Array, advantages: jax.Array, present: jax.Array, weights: jax.Array) -> Mean:
    """A loss with the gradient of minus the expected reward (REINFORCE, Williams 1992).

    The advantages, which are rewards minus a baseline, have no gradient. The value of the loss means nothing; the mean
    of its gradient over sampled texts is that of the expected sum of rewards, if the advantage of a token holds the
    rewards that come after it.

    Args:
      log_probs: [batch, length], of the tokens that were drawn.
      advantages: [batch, length].
      present: [batch, length].
      weights: [batch] float32, 0 for examples that do not count.

    Example:
      >>> log_probs, advantages = jnp.log(jnp.array([[0.5, 0.5]])), jnp.array([[1.0, 3.0]])
      >>> total, weight = reinforce(log_probs, advantages, jnp.array([[1.0, 0.0]]), jnp.ones(1))
      >>> print(round(float(total), 4), float(weight))
      0.6931 1.0
    """
    terms = -jax.lax.stop_gradient(advantages) * log_probs * jnp.float32(present)
    return Mean.of(terms.sum(-1), weights)


def discounted_returns(rewards: jax.Array, present: jax.Array, discount: float) -> jax.Array:
    """The mean of the rewards at and after each token, later ones weighted by `discount` per token.

    A mean and not a sum as in arXiv:1810.02851, so that a longer text has no higher return for its length alone.

    Args:
      rewards: [batch, length].
      present: [batch, length].
      discount: from 0 to 1.

    Returns:
      [batch, length], 0 where no token is present.

    Example:
      >>> print(discounted_returns(jnp.array([[0.0, 1.0, 9.0]]), jnp.array([[1.0, 1.0, 0.0]]), 0.5))
      [[0.33333334 1.         0.        ]]
    """
    present = jnp.float32(present)

    def back(carry: tuple[jax.Array, jax.Array], step: tuple[jax.Array, jax.Array]) -> tuple:
        total, weight = (own + discount * later for own, later in zip(step, carry, strict=True))
        return (total, weight), (total, weight)

    steps = (rewards * present).T, present.T
    zero = jnp.zeros(rewards.shape[0], jnp.float32)
    _, (total, weight) = jax.lax.scan(back, (zero, zero), steps, reverse=True)
    return (total / jnp.maximum(weight, 1e-6)).T * present


def prefix_rewards(logits: jax.Array, present: jax.Array, weights: jax.Array) -> jax.Array:
    """Rewards from a critic of prefixes, centred: 2D - 1 minus its mean over the batch (arXiv:1810.02851, section 4.2).

    Args:
      logits: [batch, length], of the probability D that a prefix is real.
      present: [batch, length].
      weights: [batch] float32, 0 for examples that do not count in the mean.

    Returns:
      [batch, length], without gradient, 0 where no token is present.
    """
    return centred(jnp.tanh(jax.lax.stop_gradient(logits) / 2), present, weights)  # 2 sigmoid(x) - 1


def centred(rewards: jax.Array, present: jax.Array, weights: jax.Array) -> jax.Array:
    """Rewards [batch, length] minus their mean over all tokens that count, 0 where no token is present.

    Args:
      rewards: [batch, length].
      present: [batch, length].
      weights: [batch] float32, 0 for examples that do not count in the mean.
    """
    counts = jnp.float32(present) * weights[:, None]
    mean = (rewards * counts).sum() / jnp.maximum(counts.sum(), 1)
    return (rewards - mean) * jnp.float32(present)


def repeated_ngrams(tokens: jax.Array, present: jax.Array, length: int) -> jax.Array:
    """Whether the n-gram that ends at each token occurs earlier in the text.

    Args:
      tokens: [batch, length] int32.
      present: [batch, length].
      length: tokens of an n-gram.

    Returns:
      float32 [batch, length], 1 at the last token of a repeated n-gram.

    Example:
      >>> print(repeated_ngrams(jnp.array([[5, 6, 5, 6, 6]]), jnp.ones((1, 5)), 2))
      [[0. 0. 0. 1. 0.]]
    """
    places = jnp.arange(tokens.shape[1], dtype=jnp.int32)
    earlier = (places[:, None] > places[None, :])[None]
    return _same_ngram(tokens, present, tokens, present, length, earlier)


def copied_ngrams(
    tokens: jax.Array, present: jax.Array, source: jax.Array, source_present: jax.Array, length: int
) -> jax.Array:
    """Whether the n-gram that ends at each token occurs in the source: float32 [batch, length], 1 where it does.

    Args:
      tokens: [batch, length] int32.
      present: [batch, length].
      source: [batch, source] int32.
      source_present: [batch, source].
      length: tokens of an n-gram.
    """
    return _same_ngram(tokens, present, source, source_present, length, jnp.ones((1, 1, 1), bool))


def _same_ngram(
    tokens: jax.Array,
    present: jax.Array,
    others: jax.Array,
    others_present: jax.Array,
    length: int,
    where: jax.Array,
) -> jax.Array:
    """1 at each token whose n-gram ends at some place of `others` for which `where [1, tokens, others]` holds."""
    there = (jnp.float32(present) > 0)[:, :, None] & (jnp.float32(others_present) > 0)[:, None, :]
    same = (tokens[:, :, None] == others[:, None, :]) & there
    run = same
    for back in range(1, length):
        run = run & jnp.pad(same, ((0, 0), (back, 0), (back, 0)))[:, : same.shape[1], : same.shape[2]]
    return (run & where).any(-1).astype(jnp.float32)

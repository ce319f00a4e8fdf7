"""Losses over words and sentences, each a `Mean` over its examples."""

import jax

from ssl_jax.losses.classification import cross_entropy
from ssl_jax.method import Mean


def masked_language_model(logits: jax.Array, labels: jax.Array, weights: jax.Array) -> Mean:
    """Cross-entropy of the original tokens at the predicted positions (BERT, arXiv:1810.04805, section 3.1).

    Predictions may be gathered, [batch, predictions, vocab], or dense, [batch, length, vocab], with weights of 0 where
    nothing is predicted. Only the weights decide what counts: label 0 is a token like any other.

    Args:
      logits: [..., vocab], any float type; the loss is computed in float32.
      labels: [...] int32 tokens.
      weights: [...] float32, 0 where nothing is predicted.

    Example:
      >>> logits = jnp.array([[[2.0, 0.0, 0.0], [5.0, 1.0, 1.0]]])
      >>> total, weight = masked_language_model(logits, jnp.array([[0, 2]]), jnp.array([[1.0, 0.0]]))
      >>> print(round(float(total), 4), float(weight))
      0.2395 1.0
    """
    return cross_entropy(logits, labels, weights)


def next_sentence(logits: jax.Array, labels: jax.Array, weights: jax.Array) -> Mean:
    """Cross-entropy of whether the second segment follows the first (BERT, arXiv:1810.04805, section 3.1).

    Args:
      logits: [batch, 2].
      labels: [batch] int32, 0 for the true continuation and 1 for a random one, as in google-research/bert.
      weights: [batch] float32, 0 for examples that do not count.

    Example:
      >>> total, weight = next_sentence(jnp.array([[0.0, 0.0]]), jnp.array([1]), jnp.array([1.0]))
      >>> print(round(float(total), 4), float(weight))
      0.6931 1.0
    """
    return cross_entropy(logits, labels, weights)


def sentence_order(logits: jax.Array, labels: jax.Array, weights: jax.Array) -> Mean:
    """Cross-entropy of whether two neighbouring segments are swapped (ALBERT, arXiv:1909.11942, section 3.1).

    Args:
      logits: [batch, 2].
      labels: [batch] int32, 0 for in order and 1 for swapped, as in google-research/albert.
      weights: [batch] float32, 0 for examples that do not count.

    Example:
      >>> total, weight = sentence_order(jnp.array([[0.0, 0.0]]), jnp.array([0]), jnp.array([1.0]))
      >>> print(round(float(total), 4), float(weight))
      0.6931 1.0
    """
    return cross_entropy(logits, labels, weights)

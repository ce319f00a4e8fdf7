"""CBOW: predict a word from the mean of the vectors of the words around it (Mikolov et al. 2013, arXiv:1301.3781).

With noise words, it is told from these by logistic regression (negative sampling, arXiv:1310.4546, section 2.2);
without, its probability among all words is learnt. As in word2vec.c, the mean goes forward, but the gradient of the
mean goes back to each word around undivided; the derivative of the mean would be smaller by the number of these words.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ssl_jax.losses.classification import cross_entropy
from ssl_jax.losses.metrics import accuracy
from ssl_jax.method import Aux, Batch, Extras, Mean, Method, Tree


class Cbow(NamedTuple):
    """CBOW.

    Attributes:
      method: the objective, on batches of `ssl_jax.data.cbow_rows.batch_shapes`. Its parameters are the vectors of
        words, `input/embedding [words, width]`, and those that predict words, `output/embedding`.
      contexts: `(params, extras, batch) -> float32 [batch, length, width]`, the mean vector around each word.
    """

    method: Method
    contexts: Callable[[Tree, Extras, Batch], jax.Array]


def cbow(words: int, width: int, window: int) -> Cbow:
    """CBOW on batches with noise words, or over the whole vocabulary if the batch has none.

    Args:
      words: number of ids.
      width: of the vectors.
      window: words on each side, at most.
    """

    def init(rng: jax.Array, batch: Batch) -> dict[str, Tree]:
        first = jax.random.uniform(rng, (words, width), jnp.float32, -0.5 / width, 0.5 / width)
        return {"params": {"input": {"embedding": first}, "output": {"embedding": jnp.zeros_like(first)}}}

    def contexts(params: Tree, extras: Extras, batch: Batch) -> jax.Array:
        return around(params["input"]["embedding"], batch, window)[0]

    def losses(params: Tree, batch: Batch) -> tuple[dict[str, Mean], dict[str, Mean]]:
        context, count = around(params["input"]["embedding"], batch, window)
        tokens, output = batch["tokens"], params["output"]["embedding"]
        weights = (count > 0) * batch["example_weight"][:, None]
        if "negatives" not in batch:
            logits = context @ output.T
            return {"word_loss": cross_entropy(logits, tokens, weights)}, {
                "word_accuracy": accuracy(logits, tokens, weights)
            }
        return {"noise_loss": Mean.of(noise_losses(context, output, tokens, batch["negatives"]), weights)}, {}

    def loss(params: Tree, extras: Extras, batch: Batch, rng: jax.Array) -> tuple[dict[str, Mean], Aux]:
        minimised, metrics = losses(params, batch)
        return minimised, Aux(metrics, extras)

    def evaluate(params: Tree, extras: Extras, batch: Batch, rng: jax.Array) -> dict[str, Mean]:
        minimised, metrics = losses(params, batch)
        return {**minimised, **metrics}

    return Cbow(Method(init, loss, evaluate), contexts)


def around(embedding: jax.Array, batch: Batch, window: int) -> tuple[jax.Array, jax.Array]:
    """(mean vector of the words around each word `[batch, length, width]`, their number `[batch, length]`).

    The words around are those of the same sentence within the word's window. The gradient of each is that of the mean,
    undivided.
    """
    segments, own = batch["segment_ids"], batch["window"]
    vectors = embedding[batch["tokens"]]
    total, count = jnp.zeros_like(vectors), jnp.zeros(segments.shape, jnp.float32)
    for distance in range(1, window + 1):
        for shift in (distance, -distance):
            other = _shifted(segments, shift)
            counted = ((other == segments) & (segments > 0) & (own >= distance)).astype(jnp.float32)
            total = total + _shifted(vectors, shift) * counted[..., None]
            count = count + counted
    mean = total / jnp.maximum(count, 1)[..., None]
    return total + jax.lax.stop_gradient(mean - total), count


def noise_losses(context: jax.Array, output: jax.Array, tokens: jax.Array, negatives: jax.Array) -> jax.Array:
    """-log of the probability that each word is told from its noise words, `[batch, length]`.

    A noise word that is the word itself does not count.

    Args:
      context: `[batch, length, width]`.
      output: `[words, width]`.
      tokens: int32 `[batch, length]`.
      negatives: int32 `[batch, length, negatives]`.
    """
    right = jnp.einsum("blw,blw->bl", context, output[tokens])
    wrong = jnp.einsum("blw,blnw->bln", context, output[negatives])
    noise = jax.nn.softplus(wrong) * (negatives != tokens[..., None])
    return jax.nn.softplus(-right) + noise.sum(-1)


def _shifted(x: jax.Array, by: int) -> jax.Array:
    """x[:, i - by] at place i, and 0 where that is outside of the row."""
    filled = [(0, 0), (max(by, 0), max(-by, 0)), *[(0, 0)] * (x.ndim - 2)]
    padded = jnp.pad(x, filled)
    return padded[:, : x.shape[1]] if by > 0 else padded[:, -x.shape[1] :]

"""CBOW: predict a word from the mean of the vectors of the words around it (Mikolov et al. 2013, arXiv:1301.3781).

With noise words, it is told from these by logistic regression (negative sampling, arXiv:1310.4546, section 2.2);
without, its probability among all words is learnt. As in word2vec.c and in gensim, the mean goes forward, but the
gradient of the mean goes back to each word around undivided; the derivative of the mean would be smaller by the number
of these words.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ssl_jax.data.cbow_rows import BLOCK
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
        weights = jnp.where(count > 0, batch["example_weight"][:, None], 0)
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
    segments, own = batch["segment_ids"], jnp.minimum(batch["window"], window)
    # A product of matrices for each block of words with its neighbours: the gradient of a sum of shifted rows takes 30
    # times as long on a CPU.
    size = max(BLOCK, window)
    places = jnp.arange(-window, size + window, dtype=jnp.int32)
    distance = jnp.abs(places[window : window + size, None] - places[None])[None, None]
    sentence, others = (
        _blocks(segments, size)[..., None],
        _with_neighbours(segments, size, window)[:, :, None],
    )
    near = (distance > 0) & (distance <= _blocks(own, size)[..., None])
    counted = (near & (sentence == others) & (sentence > 0)).astype(jnp.float32)
    vectors = _with_neighbours(embedding[batch["tokens"]], size, window)
    total = _joined(jnp.einsum("bnij,bnjw->bniw", counted, vectors), segments.shape[1])
    count = _joined(counted.sum(-1), segments.shape[1])
    mean = total / jnp.maximum(count, 1)[..., None]
    return total + jax.lax.stop_gradient(mean - total), count


def noise_losses(context: jax.Array, output: jax.Array, tokens: jax.Array, negatives: jax.Array) -> jax.Array:
    """-log of the probability that each word is told from its noise words, `[batch, length]`.

    A noise word that is the word itself does not count.

    Args:
      context: `[batch, length, width]`.
      output: `[words, width]`.
      tokens: int32 `[batch, length]`.
      negatives: int32 `[batch, blocks, negatives]`, of the `BLOCK` words of each block.
    """
    right = jnp.einsum("blw,blw->bl", context, output[tokens])
    wrong = jnp.einsum("bniw,bnkw->bnik", _blocks(context, BLOCK), output[negatives])
    other = negatives[:, :, None] != _blocks(tokens, BLOCK)[..., None]
    noise = jnp.where(other, jax.nn.softplus(wrong), 0)
    return jax.nn.softplus(-right) + _joined(noise.sum(-1), tokens.shape[1])


def _blocks(x: jax.Array, size: int) -> jax.Array:
    """`[batch, length, ...]` as `[batch, blocks, size, ...]`, with 0 after the end."""
    padding = [(0, 0), (0, -x.shape[1] % size), *[(0, 0)] * (x.ndim - 2)]
    return jnp.pad(x, padding).reshape(x.shape[0], -1, size, *x.shape[2:])


def _joined(blocks: jax.Array, length: int) -> jax.Array:
    """The inverse of `_blocks`."""
    return blocks.reshape(blocks.shape[0], -1, *blocks.shape[3:])[:, :length]


def _with_neighbours(x: jax.Array, size: int, reach: int) -> jax.Array:
    """Blocks as of `_blocks`, each with the last `reach` places of the one before and the first ones of the next."""
    blocks = _blocks(x, size)
    rest = [(0, 0)] * (x.ndim - 1)
    before = jnp.pad(blocks[:, :-1, size - reach :], [(0, 0), (1, 0), *rest])
    after = jnp.pad(blocks[:, 1:, :reach], [(0, 0), (0, 1), *rest])
    return jnp.concatenate([before, blocks, after], 2)

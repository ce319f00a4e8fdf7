"""The losses of wav2vec 2.0, CPC and HuBERT: which frame is the true one among others, and which unit a frame has.

Similarities are computed between all places of an utterance by one matrix product, and looked up for the places that
were drawn: to gather the vectors of 100 negatives of each place would move a hundred times as many numbers.
"""

import jax
import jax.numpy as jnp

from ssl_jax.losses.quantization import entropy
from ssl_jax.method import Mean
from ssl_jax.ops.reductions import is_argmax

EPSILON = 1e-8
"""Smallest length of a vector in a cosine, as in PyTorch."""


def masked_contrast(
    predictions: jax.Array,
    targets: jax.Array,
    codes: jax.Array,
    negatives: jax.Array,
    weights: jax.Array,
    temperature: float,
) -> tuple[Mean, Mean]:
    """wav2vec 2.0's contrastive loss (arXiv:2006.11477, equation 3): the quantised frame among those of other places.

    A negative with the same codes as the positive does not count, as in the authors' code.

    Args:
      predictions: `[batch, places, width]`, what the model says of each masked frame.
      targets: `[batch, places, width]`, the quantised frames, from features that were not masked.
      codes: int32 `[batch, places, groups]`, the codes of the targets.
      negatives: int32 `[batch, places, negatives]`, places of the same row; `ssl_jax.transforms.span_masks`.
      weights: float32 `[batch, places]`, 0 for places without a masked frame.
      temperature: divides the cosines.

    Returns:
      The loss, and the share of places whose positive is more similar than all negatives that count.
    """
    cosines = jnp.einsum("bpw,bqw->bpq", unit(predictions), unit(targets), precision="highest") / temperature
    equal = (codes[:, :, None] == codes[:, None]).all(-1)
    own = jnp.diagonal(cosines, axis1=1, axis2=2)
    others = jnp.take_along_axis(jnp.where(equal, -jnp.inf, cosines), negatives, axis=2)
    return _contrast(own, others, weights)


def future_contrast(
    predictions: jax.Array, targets: jax.Array, negatives: jax.Array, lengths: jax.Array, weights: jax.Array
) -> tuple[Mean, Mean]:
    """CPC's loss (arXiv:1807.03748, equation 4): the frame k steps ahead among other frames of the utterance.

    Scores are means of products, as in facebookresearch/CPC_audio; the loss is the mean over k and places. A negative
    that is the positive itself does not count. Places whose future k steps ahead is not in the utterance do not either.

    Args:
      predictions: `[steps, batch, frames, width]`; those at [k - 1, :, t] are of frame t + k.
      targets: `[batch, frames, width]`.
      negatives: int32 `[batch, frames, negatives]`, true frames of the same row; one draw serves all k.
      lengths: int32 `[batch]`, true frames of each row.
      weights: float32 `[batch]`, 0 for rows that do not count.

    Returns:
      The loss, and the share of places whose positive has the highest score.
    """
    steps, _, frames, width = predictions.shape
    scores = jnp.einsum(
        "kbtw,bsw->kbts", predictions.astype(jnp.float32), targets.astype(jnp.float32), precision="highest"
    )
    scores = scores / width
    ahead = jnp.arange(frames, dtype=jnp.int32)[None] + jnp.arange(1, steps + 1, dtype=jnp.int32)[:, None]
    inside = jnp.minimum(ahead, frames - 1)
    own = jnp.take_along_axis(scores, inside[:, None, :, None], axis=3)[..., 0]
    others = jnp.take_along_axis(scores, negatives[None], axis=3)
    others = jnp.where(negatives[None] == ahead[:, None, :, None], -jnp.inf, others)
    counted = jnp.float32(ahead[:, None] < lengths[None, :, None]) * weights[None, :, None]
    return _contrast(own, others, counted)


def _contrast(own: jax.Array, others: jax.Array, weights: jax.Array) -> tuple[Mean, Mean]:
    """log(1 + sum exp(negative - positive)), exact where a difference of logarithms loses digits; and the accuracy."""
    differences = others - own[..., None]
    logits = jnp.concatenate([jnp.zeros_like(own)[..., None], differences], axis=-1)
    return (
        Mean.of(jax.nn.logsumexp(logits, axis=-1), weights),
        Mean.of((differences < 0).all(-1), weights),
    )


def code_diversity(probabilities: jax.Array, weights: jax.Array) -> tuple[Mean, jax.Array]:
    """wav2vec 2.0's diversity loss (arXiv:2006.11477, equation 4, as in the authors' code): (G V - perplexity) / (G V).

    Args:
      probabilities: float32 `[..., groups, codes]`, softmax of the logits, without Gumbel noise and temperature.
      weights: float32 `[...]`, 0 for frames that do not count.

    Returns:
      The loss, and the perplexity, which is summed over the groups: at most G V. It is that of the distribution
      averaged over the frames of the global batch.

    Example:
      >>> mean, perplexity = code_diversity(jnp.full((3, 2, 4), 0.25), jnp.ones(3))
      >>> print(float(mean.sum), float(mean.weight), float(perplexity))
      0.0 3.0 8.0
    """
    groups, codes = probabilities.shape[-2:]
    total = weights.sum()
    average = (probabilities * weights[..., None, None]).reshape(-1, groups, codes).sum(0)
    perplexity = jnp.exp(entropy(average / jnp.where(total > 0, total, 1))).sum()
    size = groups * codes
    return Mean((size - perplexity) / size * total, total), perplexity


def feature_penalty(features: jax.Array, weights: jax.Array) -> Mean:
    """The mean square of the convolutional features of true frames (fairseq, features_pen).

    Args:
      features: `[batch, frames, width]`, before the normalisation.
      weights: float32 `[batch, frames]`, 0 for padding.
    """
    return Mean.of(jnp.square(features.astype(jnp.float32)).mean(-1), weights)


def unit_logits(predictions: jax.Array, embeddings: jax.Array, temperature: float) -> jax.Array:
    """HuBERT's logits of the units (arXiv:2106.07447, equation 3): cosines to embeddings of units, by a temperature.

    Args:
      predictions: `[..., width]`.
      embeddings: `[units, width]`.
      temperature: divides the cosines.

    Returns:
      float32 `[..., units]`.
    """
    return jnp.matmul(unit(predictions), unit(embeddings).T, precision="highest") / temperature


def unit_prediction(logits: jax.Array, units: jax.Array, weights: jax.Array) -> tuple[Mean, Mean]:
    """HuBERT's loss (arXiv:2106.07447, equation 1): cross-entropy of the unit of each frame; and the accuracy.

    Args:
      logits: float32 `[..., units]`.
      units: int32 `[...]`, the true ones.
      weights: float32 `[...]`: 1 for masked frames, and 0 for others and padding.
    """
    own = jnp.take_along_axis(logits, units[..., None], axis=-1)[..., 0]
    loss = jax.nn.logsumexp(logits, axis=-1) - own
    return Mean.of(loss, weights), Mean.of(is_argmax(logits, units), weights)


def unit(x: jax.Array) -> jax.Array:
    """`x [..., width]` in float32, of length 1; vectors shorter than 1e-8 are divided by that."""
    x = x.astype(jnp.float32)
    return x * jax.lax.rsqrt(jnp.maximum(jnp.square(x).sum(-1, keepdims=True), EPSILON**2))

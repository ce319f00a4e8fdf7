"""What methods on speech have in common: normalised features of waveforms, and representations of utterances."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ssl_jax.method import Batch, Extras, Mean, Method, Tree
from ssl_jax.transforms.speech_features import (
    FeatureConfig,
    frame_mask,
    normalise_globally,
    normalise_utterance,
    raw_features,
)

Layers = Callable[[Tree, Extras, Batch], Mapping[str, jax.Array]]
"""`(params, extras, batch) -> {name: [batch, frames, width]}`, representations of the frames, the last one the best
known; a frame stands for `stride` frames of 10 ms."""

VectorMetrics = Callable[[jax.Array, jax.Array], Mapping[str, Mean]]
"""`([batch, width], example weights) -> metrics` of the utterances, such as signs of a collapse."""

MOST_FRAMES = 1e6
"""Frames after which the statistics are an average over about as many, so that float32 resolves each addition."""
SEGMENTS = 4
"""Parts of an utterance whose means represent it."""
USUAL = {"log_mel": (12.0, 16.0), "mfcc": (0.0, 400.0)}
"""Mean and variance of speech in 16 bits, about, before any has been seen."""


class SpeechMethod(NamedTuple):
    """A method on batches of `ssl_jax.data.speech.batch_shapes`.

    Attributes:
      method: what is trained.
      layers: representations of the frames by the frozen model.
      stride: frames of 10 ms that a represented frame stands for.
    """

    method: Method
    layers: Layers
    stride: int = 1


class Frames(NamedTuple):
    """Features of a batch.

    Attributes:
      features: float32 `[batch, frames, width]`, normalised; 0 where not true.
      mask: bool `[batch, frames]`, the true frames.
      extras: with the statistics of the features, brought up to date.
    """

    features: jax.Array
    mask: jax.Array
    extras: Extras


def initial_statistics(config: FeatureConfig) -> dict[str, jax.Array]:
    """The statistics of features before any speech has been seen: `count` scalar, `mean` and `variance` `[width]`."""
    mean, variance = USUAL[config.kind]
    plain = config.width // (1 + config.deltas)
    means = jnp.where(jnp.arange(config.width, dtype=jnp.int32) < plain, jnp.float32(mean), jnp.float32(0))
    return {
        "count": jnp.ones((), jnp.float32),
        "mean": means,
        "variance": jnp.full(config.width, variance, jnp.float32),
    }


def features_of(
    config: FeatureConfig,
    rate: int,
    waveform: jax.Array,
    samples: jax.Array,
    extras: Extras,
    *,
    learn: bool = False,
) -> Frames:
    """The normalised features of a batch.

    With global normalisation, mean and variance are those of all true frames that have been trained on, which
    `extras["statistics"]` holds: they need no pass over the data before the run.

    Args:
      config: of the features.
      rate: samples per second.
      waveform: float32 `[batch, samples]`.
      samples: int `[batch]`.
      extras: of the method; with `statistics` for global normalisation.
      learn: whether the batch counts for the statistics.
    """
    raw = raw_features(config, waveform, samples, rate)
    mask = frame_mask(samples, raw.shape[1], rate)
    if config.normalise == "utterance":
        return Frames(normalise_utterance(raw, mask), mask, extras)
    if config.normalise == "none":
        return Frames(raw * jnp.float32(mask)[..., None], mask, extras)
    if learn:
        extras = {**extras, "statistics": _with_batch(extras["statistics"], raw, mask)}
    known = jax.lax.stop_gradient(extras["statistics"])
    mean, scale = _mean_and_scale(known)
    return Frames(normalise_globally(raw, mask, mean, scale), mask, extras)


def denormalised(features: jax.Array, statistics: Mapping[str, jax.Array]) -> jax.Array:
    """Features `[batch, frames, width]` as they were before the global normalisation of `features_of`."""
    mean, scale = _mean_and_scale(statistics)
    return features * scale + mean


def _mean_and_scale(statistics: Mapping[str, jax.Array]) -> tuple[jax.Array, jax.Array]:
    """Mean and standard deviation, `[1, 1, width]`; a constant feature has a small one."""
    return statistics["mean"][None, None], jnp.sqrt(statistics["variance"] + 1e-5)[None, None]


def _with_batch(known: Mapping[str, jax.Array], raw: jax.Array, mask: jax.Array) -> dict[str, jax.Array]:
    """The statistics after the frames of a batch (Chan et al. 1983, doi:10.1080/00031305.1983.10483115)."""
    weights = jnp.float32(mask)[..., None]
    new = weights.sum()
    safe = jnp.maximum(new, 1)
    mean = (raw * weights).sum((0, 1)) / safe
    variance = (jnp.square(raw - mean[None, None]) * weights).sum((0, 1)) / safe
    share = new / (known["count"] + new)
    between = mean - known["mean"]
    return {
        "count": jnp.minimum(known["count"] + new, MOST_FRAMES),
        "mean": known["mean"] + share * between,
        "variance": (1 - share) * known["variance"]
        + share * variance
        + share * (1 - share) * jnp.square(between),
    }


def pooled(frames: jax.Array, mask: jax.Array, segments: int = SEGMENTS) -> jax.Array:
    """An utterance as the means of its frames in so many parts of equal length, float32 `[batch, segments * width]`.

    Args:
      frames: `[batch, frames, width]`.
      mask: bool `[batch, frames]`, the true frames; a part without one is 0.
      segments: parts.
    """
    count = jnp.maximum(mask.sum(1, dtype=jnp.int32), 1)[:, None]
    part = jnp.arange(frames.shape[1], dtype=jnp.int32)[None] * segments // count
    chosen = (part[..., None] == jnp.arange(segments, dtype=jnp.int32)[None, None]) & mask[..., None]
    weights = jnp.float32(chosen) / jnp.float32(jnp.maximum(chosen.sum(1, keepdims=True, dtype=jnp.int32), 1))
    means = jnp.einsum("bfs,bfw->bsw", weights, frames.astype(jnp.float32), precision="highest")
    return means.reshape(len(frames), -1)

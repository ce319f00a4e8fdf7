"""Mockingjay: runs of masked frames are reconstructed from both sides (arXiv:1910.12638); TERA masks filters as well.

TERA (arXiv:2007.06028) also hides a block of neighbouring filters in all frames, adds noise to the features, and counts
the error of all frames. Each of these is an option.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp

from ssl_jax.domains import PositiveInt, PositiveShare, Probability, Settings, integers
from ssl_jax.method import Aux, Batch, Extras, Mean, Method, Tree
from ssl_jax.methods.speech import SpeechMethod, VectorMetrics, features_of, initial_statistics, pooled
from ssl_jax.models.speech_transformer import SpeechTransformer
from ssl_jax.transforms.frame_masks import corrupt_masked, run_mask, stripes
from ssl_jax.transforms.speech_features import FeatureConfig
from ssl_jax.transforms.waveforms import WaveformAugmentation, augment


@dataclass(frozen=True)
class MaskConfig(Settings):
    """What is hidden of an utterance, and where its error counts."""

    share: PositiveShare = 0.15
    """Share of the frames that are masked."""
    run: PositiveInt = 7
    """Frames of a run."""
    filters: Annotated[int, integers(0, 512)] = 0
    """Largest number of neighbouring filters that are hidden in all frames (TERA); 0 for none."""
    noise: Probability = 0.0
    """Probability that an utterance gets Gaussian noise of variance 0.2 on its features (TERA)."""
    everywhere: bool = False
    """Whether the error of all true frames counts (TERA), in place of that of masked frames alone."""


class Corrupted(NamedTuple):
    """Corrupted features, and the frames whose error counts.

    Attributes:
      features: `[batch, frames, width]`.
      counted: bool `[batch, frames]`.
    """

    features: jax.Array
    counted: jax.Array


class Mockingjay(NamedTuple):
    """Masked reconstruction.

    Attributes:
      speech: the method and its representations.
      show: `(params, extras, batch) -> {"features", "masked", "reconstruction", "true"}`, `[batch, frames, width]` each
        and the bool `[batch, frames]` of true frames, with the masks of a fixed key.
    """

    speech: SpeechMethod
    show: Callable[[Tree, Extras, Batch], dict[str, jax.Array]]


def corrupt_frames(rng: jax.Array, features: jax.Array, mask: jax.Array, config: MaskConfig) -> Corrupted:
    """Corrupts the true frames of a batch; each utterance has its own key."""

    def one(rng: jax.Array, frames: jax.Array, true: jax.Array) -> tuple[jax.Array, jax.Array]:
        chosen, change, filters, noise = jax.random.split(rng, 4)
        count = true.sum(dtype=jnp.int32)
        masked = run_mask(chosen, count, len(frames), share=config.share, run=config.run)
        shown = corrupt_masked(change, frames, masked, count)
        if config.filters:
            size = frames.shape[1]
            hidden = stripes(filters, size, size, count=1, widest=min(config.filters, size))
            shown = jnp.where(hidden[None], 0.0, shown)
        if config.noise:
            coin, drawn = jax.random.split(noise)
            added = 0.2**0.5 * jax.random.normal(drawn, frames.shape, jnp.float32)
            noisy = (jax.random.uniform(coin, (), jnp.float32) < config.noise) & true[:, None]
            shown = shown + jnp.where(noisy, added, 0.0)
        return shown, true if config.everywhere else masked

    return Corrupted(*jax.vmap(one)(jax.random.split(rng, len(features)), features, mask))


def masked_reconstruction(
    network: SpeechTransformer,
    features: FeatureConfig,
    augmentation: WaveformAugmentation,
    masks: MaskConfig,
    *,
    rate: int,
    vector_metrics: VectorMetrics,
) -> Mockingjay:
    """The absolute error of the reconstructed features, over the masked frames.

    Metrics: `reconstruction_loss`; `zero_error`, that of the mean of all speech as the reconstruction; and those
    of the mean of the last layer over each corrupted utterance.

    Args:
      network: reconstructs features.
      features: of the frames.
      augmentation: of the training waveforms.
      masks: what is hidden.
      rate: samples per second.
      vector_metrics: of the utterances.
    """

    def init(rng: jax.Array, batch: Batch) -> dict[str, Tree]:
        blank, mask = jnp.zeros((1, 2, features.width), jnp.float32), jnp.ones((1, 2), bool)
        return {
            "params": network.init(rng, blank, mask)["params"],
            "statistics": initial_statistics(features),
        }

    def terms(
        params: Tree, frames: jax.Array, mask: jax.Array, batch: Batch, rng: jax.Array, train: bool
    ) -> tuple[dict, dict]:
        masking, dropping = jax.random.split(rng)
        corrupted = corrupt_frames(masking, frames, mask, masks)
        found = network.apply(
            {"params": params},
            corrupted.features,
            mask,
            deterministic=not train,
            rngs={"dropout": dropping} if train else None,
        )
        counted = jnp.float32(corrupted.counted) * batch["example_weight"][:, None]
        error = jnp.abs(found.features - frames).mean(-1)
        state = pooled(jax.lax.stop_gradient(found.layers[-1]), mask, 1)
        metrics = {
            "zero_error": Mean.of(jnp.abs(frames).mean(-1), counted),
            **vector_metrics(state, batch["example_weight"]),
        }
        return {"reconstruction_loss": Mean.of(error, counted)}, metrics

    def loss(params: Tree, extras: Extras, batch: Batch, rng: jax.Array) -> tuple[dict, Aux]:
        changing, masking = jax.random.split(rng)
        waveform, samples = augment(changing, batch["waveform"], batch["samples"], augmentation, rate)
        seen = features_of(features, rate, waveform, samples, extras, learn=True)
        losses, metrics = terms(params, seen.features, seen.mask, batch, masking, True)
        return losses, Aux(metrics, seen.extras)

    def evaluate(params: Tree, extras: Extras, batch: Batch, rng: jax.Array) -> dict[str, Mean]:
        seen = features_of(features, rate, batch["waveform"], batch["samples"], extras)
        losses, metrics = terms(params, seen.features, seen.mask, batch, rng, False)
        return losses | metrics

    def layers(params: Tree, extras: Extras, batch: Batch) -> dict[str, jax.Array]:
        seen = features_of(features, rate, batch["waveform"], batch["samples"], extras)
        found = network.apply({"params": params}, seen.features, seen.mask)
        return {f"layer {number}": states for number, states in enumerate(found.layers, 1)}

    def show(params: Tree, extras: Extras, batch: Batch) -> dict[str, jax.Array]:
        seen = features_of(features, rate, batch["waveform"], batch["samples"], extras)
        corrupted = corrupt_frames(jax.random.key(0), seen.features, seen.mask, masks)
        found = network.apply({"params": params}, corrupted.features, seen.mask)
        return {
            "features": seen.features,
            "masked": corrupted.features,
            "reconstruction": found.features,
            "true": seen.mask,
        }

    return Mockingjay(SpeechMethod(Method(init, loss, evaluate), layers), show)

"""Autoregressive predictive coding: a frame some steps ahead is predicted from the past (arXiv:1904.03240).

With a codebook in the network, all that it predicts from passes through discrete codes (VQ-APC, arXiv:2005.08392).
"""

import jax
import jax.numpy as jnp

from ssl_jax.losses.quantization import perplexity
from ssl_jax.method import Aux, Batch, Extras, Mean, Method, Represent, Tree
from ssl_jax.methods.speech import SpeechMethod, VectorMetrics, features_of, initial_statistics, pooled
from ssl_jax.models.gru import PredictiveGru
from ssl_jax.transforms.speech_features import FeatureConfig
from ssl_jax.transforms.waveforms import WaveformAugmentation, augment


def predictive_coding(
    network: PredictiveGru,
    features: FeatureConfig,
    augmentation: WaveformAugmentation,
    *,
    rate: int,
    ahead: int,
    temperature: float = 0.5,
    vector_metrics: VectorMetrics,
) -> SpeechMethod:
    """The absolute error of the frame `ahead` steps later, over pairs of true frames alone.

    Metrics: `prediction_loss`; `copy_error`, that of the current frame as the prediction; and those of the
    mean of the last layer over each utterance. With a codebook, `code_perplexity` of a batch.

    Args:
      network: predicts features.
      features: of the frames.
      augmentation: of the training waveforms.
      rate: samples per second.
      ahead: frames.
      temperature: of the Gumbel-softmax that draws codes in training, where the network has a codebook.
      vector_metrics: of the utterances.
    """

    def init(rng: jax.Array, batch: Batch) -> dict[str, Tree]:
        blank = jnp.zeros((1, ahead + 1, features.width), jnp.float32)
        return {"params": network.init(rng, blank)["params"], "statistics": initial_statistics(features)}

    def terms(
        params: Tree, frames: jax.Array, mask: jax.Array, batch: Batch, key: jax.Array | None = None
    ) -> tuple[dict, dict]:
        found = network.apply({"params": params}, frames, jnp.float32(temperature), key)
        pairs = jnp.float32(mask[:, ahead:]) * batch["example_weight"][:, None]
        target = frames[:, ahead:]
        error = jnp.abs(found.prediction[:, :-ahead] - target).mean(-1)
        copied = jnp.abs(frames[:, :-ahead] - target).mean(-1)
        state = pooled(jax.lax.stop_gradient(found.layers[-1]), mask, 1)
        metrics = {"copy_error": Mean.of(copied, pairs), **vector_metrics(state, batch["example_weight"])}
        if found.codes is not None:
            true = jnp.float32(mask) * batch["example_weight"][:, None]
            counts = jnp.einsum(
                "bf,bfc->c", true, jax.nn.one_hot(found.codes, network.codes, dtype=jnp.float32)
            )
            metrics["code_perplexity"] = Mean(perplexity(counts) * true.sum(), true.sum())
        return {"prediction_loss": Mean.of(error, pairs)}, metrics

    def loss(params: Tree, extras: Extras, batch: Batch, rng: jax.Array) -> tuple[dict, Aux]:
        waveform, samples = augment(rng, batch["waveform"], batch["samples"], augmentation, rate)
        seen = features_of(features, rate, waveform, samples, extras, learn=True)
        key = jax.random.fold_in(rng, 1) if network.codes else None
        losses, metrics = terms(params, seen.features, seen.mask, batch, key)
        return losses, Aux(metrics, seen.extras)

    def evaluate(params: Tree, extras: Extras, batch: Batch, rng: jax.Array) -> dict[str, Mean]:
        seen = features_of(features, rate, batch["waveform"], batch["samples"], extras)
        losses, metrics = terms(params, seen.features, seen.mask, batch)
        return losses | metrics

    def layers(params: Tree, extras: Extras, batch: Batch) -> dict[str, jax.Array]:
        seen = features_of(features, rate, batch["waveform"], batch["samples"], extras)
        found = network.apply({"params": params}, seen.features)
        return {f"layer {number}": states for number, states in enumerate(found.layers, 1)}

    return SpeechMethod(Method(init, loss, evaluate), layers)


def predictive_units(network: PredictiveGru, features: FeatureConfig, *, rate: int) -> Represent:
    """The codes of a network with a codebook: `(params, extras, batch) -> int32 [batch, frames]`, -1 for padding.

    Args: see `predictive_coding`.
    """

    def units(params: Tree, extras: Extras, batch: Batch) -> jax.Array:
        seen = features_of(features, rate, batch["waveform"], batch["samples"], extras)
        return jnp.where(seen.mask, network.apply({"params": params}, seen.features).codes, -1)

    return units

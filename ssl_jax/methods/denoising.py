"""Restoring spoilt text: an encoder reads the source, a decoder writes what the noise asks for.

With the noise of BART (arXiv:1910.13461) the target is the whole original, with that of MASS (arXiv:1905.02450) the
masked fragment, with that of T5 (arXiv:1910.10683) the missing spans; the method is the same.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ssl_jax.losses.classification import cross_entropy
from ssl_jax.losses.metrics import accuracy, all_right
from ssl_jax.method import Aux, Batch, Evaluate, Mean, Method, Tree
from ssl_jax.models.encoder_decoder import EncoderDecoder, EncoderDecoderConfig
from ssl_jax.transforms.denoising import Denoising

Noise = Callable[[jax.Array, Batch], Denoising]
"""`(rng, batch) -> Denoising` of a whole batch of `ssl_jax.data.passages`, each row spoilt from a key of its own."""


class DenoisingTask(NamedTuple):
    """The method, and its figures on held-out data: noise from the evaluation's key, no dropout."""

    method: Method
    evaluate: Evaluate


def denoising(config: EncoderDecoderConfig, noise: Noise) -> DenoisingTask:
    """Cross-entropy of the targets with weights, the decoder reading the true tokens before each (teacher forcing).

    Figures: `token_loss` (nats) and `token_accuracy` per target token, `exact_accuracy`, the share of rows whose target
    tokens are all right.
    """
    model = EncoderDecoder(config)

    def apply(params: Tree, spoilt: Denoising, dropout_rng: jax.Array | None) -> jax.Array:
        return model.apply(
            {"params": params},
            spoilt.source,
            spoilt.source_present,
            spoilt.inputs,
            spoilt.positions,
            context_present=spoilt.context_present,
            deterministic=dropout_rng is None,
            rngs=None if dropout_rng is None else {"dropout": dropout_rng},
        )

    def init(rng: jax.Array, batch: Batch) -> dict[str, Tree]:
        spoilt = noise(rng, batch)
        return dict(model.init(rng, spoilt.source, spoilt.source_present, spoilt.inputs, spoilt.positions))

    def figures(
        params: Tree, batch: Batch, noise_rng: jax.Array, dropout_rng: jax.Array | None
    ) -> tuple[dict[str, Mean], dict[str, Mean]]:
        spoilt = noise(noise_rng, batch)
        examples = batch.get("example_weight", jnp.ones(batch["tokens"].shape[0]))
        weights = spoilt.weights * examples[:, None]
        predicted = apply(params, spoilt, dropout_rng), spoilt.targets, weights
        metrics = {"token_accuracy": accuracy(*predicted), "exact_accuracy": all_right(*predicted)}
        return {"token_loss": cross_entropy(*predicted)}, metrics

    def loss(
        params: Tree, extras: Mapping[str, Tree], batch: Batch, rng: jax.Array
    ) -> tuple[dict[str, Mean], Aux]:
        noise_rng, dropout_rng = jax.random.split(rng)
        losses, metrics = figures(params, batch, noise_rng, dropout_rng)
        return losses, Aux(metrics, extras)

    def evaluate(params: Tree, extras: Mapping[str, Tree], batch: Batch, rng: jax.Array) -> dict[str, Mean]:
        losses, metrics = figures(params, batch, rng, None)
        return {**losses, **metrics}

    return DenoisingTask(Method(init, loss), evaluate)

"""Denoising text: an encoder reads the corrupted source, a decoder predicts what the noise asks for.

With the noise of BART (arXiv:1910.13461) the target is the whole original, with that of MASS (arXiv:1905.02450) the
masked fragment, with that of T5 (arXiv:1910.10683) the missing spans; the method is the same.
"""

from collections.abc import Callable

import jax

from ssl_jax.losses.metrics import all_right
from ssl_jax.losses.vocabulary import predict_tokens
from ssl_jax.method import Aux, Batch, Extras, Mean, Method, Tree
from ssl_jax.models.encoder_decoder import EncoderDecoder, EncoderDecoderConfig
from ssl_jax.ops.affine import OutputLayer
from ssl_jax.transforms.denoising import Denoising

Noise = Callable[[jax.Array, Batch], Denoising]
"""`(rng, batch) -> Denoising` of a whole batch of `ssl_jax.data.passages`, each row corrupted from a key of its own."""


def denoising(config: EncoderDecoderConfig, noise: Noise) -> Method:
    """Cross-entropy of the targets; the decoder reads the true tokens before each of them (teacher forcing).

    Its evaluation takes the noise from the evaluation's key and has no dropout.

    Metrics: `token_loss` (nats) and `token_accuracy` per target token, `exact_accuracy`, the share of rows whose target
    tokens are all predicted correctly.
    """
    model = EncoderDecoder(config)

    def apply(params: Tree, corrupted: Denoising, dropout_rng: jax.Array | None) -> OutputLayer:
        return model.apply(
            {"params": params},
            corrupted.source,
            corrupted.source_present,
            corrupted.inputs,
            corrupted.positions,
            context_present=corrupted.context_present,
            deterministic=dropout_rng is None,
            method="predict",
            rngs=None if dropout_rng is None else {"dropout": dropout_rng},
        )

    def init(rng: jax.Array, batch: Batch) -> dict[str, Tree]:
        corrupted = noise(rng, batch)
        return dict(
            model.init(rng, corrupted.source, corrupted.source_present, corrupted.inputs, corrupted.positions)
        )

    def losses_and_metrics(
        params: Tree, batch: Batch, noise_rng: jax.Array, dropout_rng: jax.Array | None
    ) -> tuple[dict[str, Mean], dict[str, Mean]]:
        corrupted = noise(noise_rng, batch)
        examples = batch["example_weight"]
        weights = corrupted.weights * examples[:, None]
        predicted = predict_tokens(apply(params, corrupted, dropout_rng), corrupted.targets, weights)
        metrics = {
            "token_accuracy": Mean.of(predicted.right, weights),
            "exact_accuracy": all_right(predicted.right, weights),
        }
        return {"token_loss": predicted.cross_entropy}, metrics

    def loss(params: Tree, extras: Extras, batch: Batch, rng: jax.Array) -> tuple[dict[str, Mean], Aux]:
        noise_rng, dropout_rng = jax.random.split(rng)
        losses, metrics = losses_and_metrics(params, batch, noise_rng, dropout_rng)
        return losses, Aux(metrics, extras)

    def evaluate(params: Tree, extras: Extras, batch: Batch, rng: jax.Array) -> dict[str, Mean]:
        losses, metrics = losses_and_metrics(params, batch, rng, None)
        return {**losses, **metrics}

    return Method(init, loss, evaluate)

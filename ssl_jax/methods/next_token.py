"""Next-token prediction as a method: the objective of GPT-2 and of every causal language model."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from ssl_jax.decoding.decoder import Decoder, causal_decoder
from ssl_jax.losses.vocabulary import TokenPredictions, predict_tokens
from ssl_jax.method import Aux, Batch, Extras, Mean, Method, Tree
from ssl_jax.models.gpt2 import Gpt2, Gpt2Config


class NextToken(NamedTuple):
    """Next-token prediction.

    Attributes:
      method: the objective; its evaluation has no dropout.
      decoder: how the model generates text.
    """

    method: Method
    decoder: Decoder


def next_token(config: Gpt2Config) -> NextToken:
    """Cross-entropy of the next token, in nats, on batches of `ssl_jax.data.next_token.batch_shapes`.

    The evaluation adds `next_token_accuracy` and `bits_per_byte` of the text that the targets stand for, which, unlike
    a loss per token, does not depend on the tokenizer; its batches hold `bytes` as well.
    """
    model = Gpt2(config)

    def init(rng: jax.Array, batch: Batch) -> dict[str, Tree]:
        return dict(model.init(rng, batch["tokens"], batch["segment_ids"], batch["positions"]))

    def predict(params: Tree, batch: Batch, rng: jax.Array | None) -> tuple[TokenPredictions, jax.Array]:
        """How well the targets are predicted, and their weights `[batch, length]`."""
        hidden, _ = model.apply(
            {"params": params},
            batch["tokens"],
            batch["segment_ids"],
            batch["positions"],
            deterministic=rng is None,
            rngs=None if rng is None else {"dropout": rng},
        )
        output = model.apply({"params": params}, hidden, method="output")
        weights = batch["weights"] * batch["example_weight"][:, None]
        return predict_tokens(output, batch["targets"], weights), weights

    def loss(params: Tree, extras: Extras, batch: Batch, rng: jax.Array) -> tuple[dict[str, Mean], Aux]:
        predicted, _ = predict(params, batch, rng)
        return {"next_token_loss": predicted.cross_entropy}, Aux({}, extras)

    def evaluate(params: Tree, extras: Extras, batch: Batch, rng: jax.Array) -> dict[str, Mean]:
        predicted, weights = predict(params, batch, None)
        nats, count = predicted.cross_entropy
        return {
            "next_token_loss": Mean(nats, count),
            "bits_per_byte": Mean(nats / jnp.log(2.0), jnp.sum(batch["bytes"].astype(jnp.float32) * weights)),
            "next_token_accuracy": Mean.of(predicted.right, weights),
        }

    return NextToken(Method(init, loss, evaluate), causal_decoder(model))

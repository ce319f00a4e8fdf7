"""Answers of functions that only the examples before them tell, as GPT-3 learns tasks in context (arXiv:2005.14165)."""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ssl_jax.losses.classification import cross_entropy
from ssl_jax.losses.metrics import accuracy
from ssl_jax.method import Aux, Batch, Evaluate, Mean, Method, Represent, Tree
from ssl_jax.models.gpt2 import Gpt2, Gpt2Config

SHOTS = (0, 1, 2, 4, 8, 16, 32)
"""Numbers of examples that an evaluation reports accuracy after."""


class InContext(NamedTuple):
    """The method, and what it gets right.

    evaluate: accuracy of whole answers by family, by whether the query was shown, and by the number of examples
        before it. correct: as `represent`, float `[batch, pairs]`, 1 where all of answer k is right.
    """

    method: Method
    evaluate: Evaluate
    correct: Represent


def batch_shapes(batch_size: int, length: int) -> dict[str, jax.ShapeDtypeStruct]:
    """What a batch holds; see `ssl_jax.data.functions.FunctionSequences`."""
    rows = jax.ShapeDtypeStruct((batch_size, length), jnp.int32)
    return {"tokens": rows, "answers": rows, "label": jax.ShapeDtypeStruct((batch_size,), jnp.int32)}


def in_context(config: Gpt2Config, families: Mapping[str, int]) -> InContext:
    """Next-token prediction of the answers alone.

    The queries are drawn at random and the separators are where they always are: a loss on them teaches nothing that
    the answers need, and its noise is in the way. What the model reads is not affected.

    families: names in the order of a batch's `label`, with the pairs of a sequence.
    """
    model, most_pairs = Gpt2(config), max(families.values())

    def init(rng: jax.Array, batch: Batch) -> dict[str, Tree]:
        tokens = jnp.zeros(batch["tokens"].shape, jnp.int32)[:, :-1]
        return dict(model.init(rng, tokens))

    def predict(params: Tree, batch: Batch, rng: jax.Array | None) -> tuple[jax.Array, jax.Array]:
        """(logits `[batch, length - 1, vocab]`, the tokens they are of)"""
        dropout = {"deterministic": rng is None, "rngs": None if rng is None else {"dropout": rng}}
        hidden, _ = model.apply({"params": params}, batch["tokens"][:, :-1], **dropout)
        return model.apply({"params": params}, hidden, method="logits"), batch["tokens"][:, 1:]

    def right(logits: jax.Array, tokens: jax.Array, numbers: jax.Array) -> jax.Array:
        """Greedy decoding writes answer k: all its tokens have the largest logit, given those before them."""
        wrong = (logits.argmax(-1) != tokens)[:, None]
        of_pair = numbers[:, None] == jnp.arange(1, most_pairs + 1)[None, :, None]
        return 1.0 - (wrong & of_pair).any(-1)

    def correct(params: Tree, extras: Mapping[str, Tree], batch: Batch) -> jax.Array:
        return right(*predict(params, batch, None), batch["answers"][:, 1:])

    def answer_loss(logits: jax.Array, tokens: jax.Array, batch: Batch) -> tuple[Mean, Mean]:
        weights = (batch["answers"][:, 1:] > 0).astype(jnp.float32)
        if "example_weight" in batch:
            weights *= batch["example_weight"][:, None]
        return cross_entropy(logits, tokens, weights), accuracy(logits, tokens, weights)

    def loss(
        params: Tree, extras: Mapping[str, Tree], batch: Batch, rng: jax.Array
    ) -> tuple[dict[str, Mean], Aux]:
        total, right_tokens = answer_loss(*predict(params, batch, rng), batch)
        return {"answer_loss": total}, Aux({"token_accuracy": right_tokens}, extras)

    def evaluate(params: Tree, extras: Mapping[str, Tree], batch: Batch, rng: jax.Array) -> dict[str, Mean]:
        logits, tokens = predict(params, batch, None)
        answers_right = right(logits, tokens, batch["answers"][:, 1:])
        total, right_tokens = answer_loss(logits, tokens, batch)
        figures = {"answer_loss": total, "token_accuracy": right_tokens}
        return figures | by_shots(answers_right, batch, families)

    return InContext(Method(init, loss), evaluate, correct)


def by_shots(right: jax.Array, batch: Batch, families: Mapping[str, int]) -> dict[str, Mean]:
    """Accuracy of queries that no example has shown (`new`) and of those that one has (`shown`), by family and shots.

    right: `[batch, pairs]`, whether answer k is right. batch: with the `shown` of `FunctionSequences.with_ideal`.
    """
    figures = {}
    for label, (family, pairs) in enumerate(families.items()):
        own = batch["example_weight"] * (batch["label"] == label)
        for shown, name in enumerate(("new", "shown")):
            for shots in SHOTS:
                if shots < pairs and shots >= shown:  # nothing has been shown before the first pair
                    weights = own * (batch["shown"][:, shots] == shown)
                    figure = f"{family}_{name}_{shots}_shot_accuracy"
                    figures[figure] = (right[:, shots] * weights).sum(), weights.sum()
    return figures

"""In-context learning of functions from examples, as GPT-3 learns tasks from its prompt (arXiv:2005.14165)."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ssl_jax.losses.classification import cross_entropy
from ssl_jax.losses.metrics import accuracy
from ssl_jax.method import Aux, Batch, Extras, Mean, Method, Represent, Tree
from ssl_jax.models.gpt2 import Gpt2, Gpt2Config

SHOTS = (0, 1, 2, 4, 8, 16, 32)
"""Numbers of examples after which an evaluation reports the accuracy."""


class InContext(NamedTuple):
    """In-context learning.

    Attributes:
      method: its evaluation gives the accuracy by family, by whether the query was shown, and by the number of examples
        before it.
      correct: `(params, extras, batch) -> [batch, pairs]`, whether the most likely token is answer k.
    """

    method: Method
    correct: Represent


def in_context(config: Gpt2Config, families: Sequence[str]) -> InContext:
    """Next-token prediction of the answers only, which are every second token.

    Queries are drawn at random, so a loss on them teaches nothing about the answers and only adds noise. The model
    reads them all the same.

    A query and its answer share one position, that of their pair. The model then need not learn first, from
    neighbouring positions, which value belongs to which query.

    Args:
      config: of the model.
      families: names in the order of a batch's `label`.
    """
    model = Gpt2(config)

    def init(rng: jax.Array, batch: Batch) -> dict[str, Tree]:
        return dict(model.init(rng, jnp.zeros(batch["tokens"].shape, jnp.int32)[:, :-1]))

    def predict(params: Tree, batch: Batch, rng: jax.Array | None) -> jax.Array:
        """Logits of the answers `[batch, pairs, vocab]`, each predicted where its query is read."""
        dropout = {"deterministic": rng is None, "rngs": None if rng is None else {"dropout": rng}}
        tokens = batch["tokens"][:, :-1]
        pairs = jnp.broadcast_to((jnp.arange(tokens.shape[1], dtype=jnp.int32) + 1) // 2, tokens.shape)
        hidden, _ = model.apply({"params": params}, tokens, positions=pairs, **dropout)
        return model.apply({"params": params}, hidden[:, 1::2], method="logits")

    def answers(batch: Batch) -> tuple[jax.Array, jax.Array]:
        """The right ones `[batch, pairs]`, and their weights."""
        right = batch["tokens"][:, 2::2]
        examples = batch["example_weight"]
        return right, jnp.broadcast_to(examples[:, None], right.shape)

    def correct(params: Tree, extras: Extras, batch: Batch) -> jax.Array:
        return predict(params, batch, None).argmax(-1).astype(jnp.int32) == answers(batch)[0]

    def loss(params: Tree, extras: Extras, batch: Batch, rng: jax.Array) -> tuple[dict[str, Mean], Aux]:
        logits = predict(params, batch, rng)
        metrics = {"answer_accuracy": accuracy(logits, *answers(batch))}
        return {"answer_loss": cross_entropy(logits, *answers(batch))}, Aux(metrics, extras)

    def evaluate(params: Tree, extras: Extras, batch: Batch, rng: jax.Array) -> dict[str, Mean]:
        logits = predict(params, batch, None)
        metrics = {
            "answer_loss": cross_entropy(logits, *answers(batch)),
            "answer_accuracy": accuracy(logits, *answers(batch)),
        }
        right = (logits.argmax(-1).astype(jnp.int32) == answers(batch)[0]).astype(jnp.float32)
        return metrics | by_shots(right, batch, families)

    return InContext(Method(init, loss, evaluate), correct)


def by_shots(right: jax.Array, batch: Batch, families: Sequence[str]) -> dict[str, Mean]:
    """Accuracy of queries that no example has shown (`new`) and of those that one has (`shown`), by family and shots.

    Args:
      right: float `[batch, pairs]`, whether answer k is correct.
      batch: with the `shown` of `FunctionSequences.with_ideal`.
      families: names in the order of the batch's `label`.
    """
    metrics = {}
    for label, family in enumerate(families):
        own = batch["example_weight"] * (batch["label"] == label).astype(jnp.float32)
        for shown, name in enumerate(("new", "shown")):
            for shots in SHOTS:
                if shown <= shots < right.shape[1]:  # nothing has been shown before the first pair
                    weights = own * (batch["shown"][:, shots] == shown).astype(jnp.float32)
                    metrics[f"{family}_{name}_{shots}_shot_accuracy"] = Mean.of(right[:, shots], weights)
    return metrics

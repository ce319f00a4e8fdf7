"""Fine-tuning of BERT as a method: classes and scores of sentences and pairs, tags of words, answers in a text.

The losses are those of the paper (Devlin et al. 2018, arXiv:1810.04805, section 4): cross-entropy of classes and of
tags, squared error of scores, and the mean of the cross-entropies of an answer's first and last token. The ends of an
answer are chosen among all tokens of a row but its padding, so that no result depends on how far rows are padded;
google-research/bert and transformers choose among the padding as well.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from ssl_jax.losses.classification import cross_entropy
from ssl_jax.losses.metrics import accuracy
from ssl_jax.method import Aux, Batch, Extras, Mean, Method, Tree
from ssl_jax.models.bert import BertConfig
from ssl_jax.models.heads import QuestionAnswerer, SequenceClassifier, TokenClassifier
from ssl_jax.ops.reductions import is_argmax

Task = Literal["class", "score", "tags", "answer"]

NOWHERE = -1e9
"""Logit of a token at which no answer can start or end."""


class FineTuning(NamedTuple):
    """Fine-tuning on one task.

    Attributes:
      method: its evaluation is without dropout. Losses and metrics, by task: `class_loss` and `class_accuracy`;
        `score_loss`; `tag_loss` and `tag_accuracy`, per word; `answer_loss`, and `answer_accuracy`, the share of the
        rows in which both ends are right.
      predict: `(params, extras, batch) -> {name: [batch, ...]}`, what metrics of a whole data set are computed of:
        - class: float32 `logits [batch, classes]`;
        - score: float32 `score [batch]`;
        - tags: int32 `tags [batch, length]`;
        - answer: float32 `start` and `end [batch, length]`, logits, which are very low where there is padding.
    """

    method: Method
    predict: Callable[[Tree, Extras, Batch], dict[str, jax.Array]]


def fine_tuning(config: BertConfig, task: Task, classes: int = 1, head_dropout: float = 0.1) -> FineTuning:
    """A pretrained encoder with one new dense layer, on batches of `ssl_jax.data.fine_tuning_rows.batch_shapes`.

    Labels that are not known (-1, or NaN for a score) do not count.

    Args:
      config: of the encoder.
      task: what is predicted.
      classes: number of classes or of tags.
      head_dropout: dropout rate of the input of the new layer; a question answerer has none.
    """
    model, losses_of = _MODELS[task](config, classes, head_dropout), _LOSSES[task]

    def apply(params: Tree, batch: Batch, rng: jax.Array | None) -> Any:
        outputs = model.apply(
            {"params": params},
            batch["tokens"],
            batch["token_type_ids"],
            batch["segment_ids"],
            deterministic=rng is None,
            rngs=None if rng is None else {"dropout": rng},
        )
        if task != "answer":
            return outputs
        present = batch["segment_ids"] > 0
        return tuple(jnp.where(present, logits, NOWHERE) for logits in outputs)

    def init(rng: jax.Array, batch: Batch) -> dict[str, Tree]:
        return dict(model.init(rng, batch["tokens"], batch["token_type_ids"], batch["segment_ids"]))

    def loss(params: Tree, extras: Extras, batch: Batch, rng: jax.Array) -> tuple[dict[str, Mean], Aux]:
        losses, metrics = losses_of(apply(params, batch, rng), batch)
        return losses, Aux(metrics, extras)

    def evaluate(params: Tree, extras: Extras, batch: Batch, rng: jax.Array) -> dict[str, Mean]:
        losses, metrics = losses_of(apply(params, batch, None), batch)
        return {**losses, **metrics}

    def predict(params: Tree, extras: Extras, batch: Batch) -> dict[str, jax.Array]:
        outputs = apply(params, batch, None)
        match task:
            case "class":
                return {"logits": outputs}
            case "score":
                return {"score": outputs[:, 0]}
            case "tags":
                return {"tags": jnp.argmax(outputs, axis=-1).astype(jnp.int32)}
            case "answer":
                return {"start": outputs[0], "end": outputs[1]}

    return FineTuning(Method(init, loss, evaluate), predict)


Measured = tuple[dict[str, Mean], dict[str, Mean]]
"""(losses, metrics)."""


def _class_losses(logits: jax.Array, batch: Batch) -> Measured:
    labels, weights = _known(batch["label"], batch["example_weight"])
    measured = logits, labels, weights
    return {"class_loss": cross_entropy(*measured)}, {"class_accuracy": accuracy(*measured)}


def _score_losses(outputs: jax.Array, batch: Batch) -> Measured:
    scores = batch["label"]
    known = jnp.isfinite(scores)
    # The unknown score is replaced before it is used: a NaN that is only masked would still reach the gradient.
    errors = jnp.square(outputs[:, 0] - jnp.where(known, scores, 0.0))
    return {"score_loss": Mean.of(errors, known.astype(jnp.float32) * batch["example_weight"])}, {}


def _tag_losses(logits: jax.Array, batch: Batch) -> Measured:
    labels, weights = _known(batch["label"], batch["example_weight"][:, None])
    measured = logits, labels, weights
    return {"tag_loss": cross_entropy(*measured)}, {"tag_accuracy": accuracy(*measured)}


def _answer_losses(logits: tuple[jax.Array, jax.Array], batch: Batch) -> Measured:
    start, weights = _known(batch["start"], batch["example_weight"])
    end, _ = _known(batch["end"], batch["example_weight"])
    first, last = (
        cross_entropy(ends, labels, weights) for ends, labels in zip(logits, (start, end), strict=True)
    )
    right = is_argmax(logits[0], start) & is_argmax(logits[1], end)
    loss = Mean((first.sum + last.sum) / 2, first.weight)
    return {"answer_loss": loss}, {"answer_accuracy": Mean.of(right, weights)}


def _known(labels: jax.Array, weights: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(labels, weights) with any class and a weight of 0 where the label is -1."""
    return jnp.maximum(labels, 0), weights * (labels >= 0).astype(jnp.float32)


_MODELS = {
    "class": SequenceClassifier,
    "score": lambda config, classes, dropout: SequenceClassifier(config, 1, dropout),
    "tags": TokenClassifier,
    "answer": lambda config, classes, dropout: QuestionAnswerer(config),
}
_LOSSES = {"class": _class_losses, "score": _score_losses, "tags": _tag_losses, "answer": _answer_losses}

"""BERT's pretraining as a method: masked words and a task on pairs of segments (arXiv:1810.04805).

With sentence order as the second task it is ALBERT's pretraining (arXiv:1909.11942), without a second task RoBERTa's
(arXiv:1907.11692).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax

from ssl_jax.data.pretraining_text import PairTask
from ssl_jax.data.tokenizers import SpecialTokens
from ssl_jax.losses.language import masked_language_model, next_sentence, sentence_order
from ssl_jax.losses.metrics import accuracy
from ssl_jax.method import Aux, Batch, Extras, Mean, Method, Tree
from ssl_jax.models.bert import BertConfig, BertPretraining
from ssl_jax.transforms.masking import MaskingConfig, mask_batch

PAIR_LOSSES = {"nsp": next_sentence, "sop": sentence_order}


class Pretraining(NamedTuple):
    """BERT's pretraining.

    Attributes:
      method: its evaluation is on the same tasks without dropout. Metrics: `mlm_loss` (nats) and `mlm_accuracy` per
        masked word, and `TASK_loss` and `TASK_accuracy` of the task on pairs.
      predict: `(params, batch, positions) -> logits [batch, predictions, vocab]`, for looking at predictions.
    """

    method: Method
    predict: Callable[[Tree, Batch, jax.Array], jax.Array]


def pretraining(
    config: BertConfig, *, masking: MaskingConfig, pair_task: PairTask, special: SpecialTokens
) -> Pretraining:
    """Masked words and a task on pairs of segments, on batches of `ssl_jax.data.pretraining_text.bert_batch_shapes`.

    Args:
      config: of the model.
      masking: which words are masked, and how.
      pair_task: `nsp` (next sentence), `sop` (sentence order) or `none`.
      special: ids of the special tokens.
    """
    model = BertPretraining(config)

    def init(rng: jax.Array, batch: Batch) -> dict[str, Tree]:
        return dict(model.init(rng, batch["tokens"], batch["token_type_ids"], batch["segment_ids"]))

    def losses_and_metrics(
        params: Tree, batch: Batch, masks_rng: jax.Array, dropout_rng: jax.Array | None
    ) -> tuple[dict[str, Mean], dict[str, Mean]]:
        masked = mask_batch(
            masks_rng,
            batch["tokens"],
            batch["segment_ids"],
            batch.get("words"),
            config=masking,
            mask_id=special.mask,
            special_ids=(special.cls, special.sep),
            vocab_size=batch["vocab_size"],
        )
        predicted = model.apply(
            {"params": params},
            masked.tokens,
            batch["token_type_ids"],
            batch["segment_ids"],
            batch.get("positions"),
            predict_positions=masked.positions,
            deterministic=dropout_rng is None,
            rngs=None if dropout_rng is None else {"dropout": dropout_rng},
        )
        examples = batch["example_weight"]
        weights = masked.weights * examples[:, None]
        losses = {"mlm_loss": masked_language_model(predicted.token_logits, masked.labels, weights)}
        metrics = {"mlm_accuracy": accuracy(predicted.token_logits, masked.labels, weights)}
        if pair_task != "none":
            pair = (predicted.pair_logits, batch["label"], examples)
            losses[f"{pair_task}_loss"] = PAIR_LOSSES[pair_task](*pair)
            metrics[f"{pair_task}_accuracy"] = accuracy(*pair)
        return losses, metrics

    def loss(params: Tree, extras: Extras, batch: Batch, rng: jax.Array) -> tuple[dict[str, Mean], Aux]:
        masks_rng, dropout_rng = jax.random.split(rng)
        losses, metrics = losses_and_metrics(params, batch, masks_rng, dropout_rng)
        return losses, Aux(metrics, extras)

    def evaluate(params: Tree, extras: Extras, batch: Batch, rng: jax.Array) -> dict[str, Mean]:
        losses, metrics = losses_and_metrics(params, batch, rng, None)
        return {**losses, **metrics}

    def predict(params: Tree, batch: Batch, positions: jax.Array) -> jax.Array:
        inputs = (batch["tokens"], batch["token_type_ids"], batch["segment_ids"], batch.get("positions"))
        return model.apply({"params": params}, *inputs, predict_positions=positions).token_logits

    return Pretraining(Method(init, loss, evaluate), predict)

"""What a masked language model shows at its end: its accuracy beside n-gram baselines, and words it filled in."""

from collections.abc import Callable

import jax
import numpy as np

from ssl_jax.data.pretraining_text import PretrainingText
from ssl_jax.evals.masked_words import mask_words, maskable_tokens, read_guesses
from ssl_jax.evals.ngram_baselines import leading_documents, masked_token_baselines
from ssl_jax.method import Batch, Tree
from ssl_jax.training.experiment import Report

COUNTED_TOKENS = 20_000_000
"""The baselines are counted in this much of the training text at most."""
BASELINES = {
    "most_frequent": "n-gram baseline: the most frequent token",
    "left_bigram": "n-gram baseline: the most frequent token after the left neighbour",
    "two_sided": "n-gram baseline: the most frequent token between the two neighbours",
}

Predict = Callable[[Tree, Batch, jax.Array], jax.Array]
"""`(params, batch, positions [batch, predictions]) -> logits [batch, predictions, vocab]`."""


def report_masked_words(report: Report, predict: Predict) -> None:
    """Prints the held-out accuracy among n-gram baselines on the same rows, and masked words with the best guesses.

    Args:
      report: of a run with the metric `mlm_accuracy`, on rows of the current phase.
      predict: the model.
    """
    text: PretrainingText = report.data.details
    rows = list(report.heldout["heldout"])
    tokens, segment_ids = (np.stack([row[name] for row in rows]) for name in ("tokens", "segment_ids"))
    baselines = masked_token_baselines(
        leading_documents(text.training_corpus, COUNTED_TOKENS),
        tokens,
        maskable_tokens(tokens, segment_ids, text.tokenizer.special),
    )
    accuracies = {BASELINES[name]: accuracy for name, accuracy in baselines.items()}
    short = {name: label.removeprefix("n-gram baseline: ") for name, label in BASELINES.items()}
    report.baselines["mlm_accuracy"] = {short[name]: accuracy for name, accuracy in baselines.items()}
    accuracies["model"] = report.metrics["heldout"]["mlm_accuracy"]
    report.log("\nheld-out accuracy on masked words, beside n-gram baselines of the training text:")
    for name, accuracy in sorted(accuracies.items(), key=lambda row: row[1]):
        report.log(f"  {accuracy:6.1%}  {name}")
    masked = mask_words(rows, text.tokenizer)
    if masked is not None:
        logits = report.compute(predict, report.variables["params"], masked.batch, masked.positions)
        report.log("\nmasked words of held-out text, with the original word and the model's guesses:")
        for word in read_guesses(masked, logits, text.tokenizer):
            report.log(f"  {word.context}")
            guesses = ", ".join(f"{guess} {share:.0%}" for guess, share in word.guesses)
            report.log(f"      {word.original}: {guesses}")
    report.log("")

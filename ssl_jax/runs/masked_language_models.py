"""Masked language models opened to score whole words: runs of BERT and ALBERT."""

from collections.abc import Mapping
from typing import NamedTuple

from ssl_jax.data.tokenizer_files import find_tokenizer
from ssl_jax.data.tokenizers import Tokenizer
from ssl_jax.evals.whole_word_masking import Compute, word_ranks
from ssl_jax.method import Tree
from ssl_jax.methods.bert import pretraining
from ssl_jax.runs.opening import OpenedRun, open_run
from ssl_jax.runs.reference import RunReference
from ssl_jax.training.mapping import MapFunction, batch_of_all_devices, map_examples

EXPERIMENTS = ("experiments.bert", "experiments.albert")
BATCH = 64
"""Rows that are computed at once, at least; a multiple of the number of devices."""


class MaskedLanguageModel(NamedTuple):
    """A run whose model predicts masked words.

    Attributes:
      run: the run, whose checkpoints `run.restore(step)` reads.
      tokenizer: of the run.
      length: tokens of the longest rows that it was trained on.
      ranks: what is computed of every row; see `word_ranks`.
    """

    run: OpenedRun
    tokenizer: Tokenizer
    length: int
    ranks: MapFunction

    def compute(self, variables: Mapping[str, Tree]) -> Compute:
        """Computes the ranks of words, for `WholeWords.ranks`; compiled once for all checkpoints of the run.

        Args:
          variables: of a checkpoint, `{"params": ..., **extras}`.
        """
        batch_size = batch_of_all_devices(BATCH, self.run.mesh)
        return lambda dataset: map_examples(
            self.ranks, variables, dataset, mesh=self.run.mesh, batch_size=batch_size
        )


def open_masked_language_model(reference: RunReference) -> MaskedLanguageModel:
    """Opens a run of BERT or ALBERT. Its data is not opened.

    Raises:
      UserError: it is not a run folder, is a run of another experiment, or has no such checkpoint.
    """
    return masked_language_model(open_run(reference, EXPERIMENTS))


def masked_language_model(run: OpenedRun) -> MaskedLanguageModel:
    """The model of an opened run of BERT or ALBERT."""
    tokenizer, config = find_tokenizer(run.folder).open(), run.config
    tasks = pretraining(
        config.model, masking=config.masking, pair_task=config.pair_task, special=tokenizer.special
    )
    length = max(phase.length for phase in config.phases)
    return MaskedLanguageModel(run, tokenizer, length, word_ranks(tasks.predict, tokenizer.vocab_size))

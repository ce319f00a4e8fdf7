"""CBOW: word vectors from predicting a word by the words around it (Mikolov et al. 2013, arXiv:1301.3781, 1310.4546).

    python -m experiments.cbow                            # offline
    python -m experiments.cbow --data.source news.txt     # a sentence a line, a blank line between documents
    python -m experiments.cbow --data.source news.txt --similarity ws353.tsv --analogies questions-words.txt
    python -m experiments.cbow --negatives 0              # probabilities of all words instead of noise words

A word is predicted from the mean of the vectors of up to 5 words on each side. Sampling and gradient are those of
word2vec.c; updates are of whole batches, by Adam, where word2vec.c makes one for each word. The report has the share of
held-out middle words that are predicted, beside counts of the neighbours, the nearest neighbours of `--words`, and
the agreement with people on the files that are given. vectors.txt has the vectors in word2vec's text format.
"""

from dataclasses import dataclass, field
from typing import Annotated

from ssl_jax.cli import main
from ssl_jax.data.cbow_rows import Sampling, batch_shapes
from ssl_jax.data.cbow_text import WordsConfig, open_cbow_text
from ssl_jax.data.tokenizer_files import preprocessing
from ssl_jax.domains import Length, NonEmptyText, NonNegativeInt, PositiveInt, Probability, Text, integers
from ssl_jax.methods.cbow import cbow
from ssl_jax.recipes.base import RunConfig, make_experiment, one_phase
from ssl_jax.reports.word_vectors import report_word_vectors
from ssl_jax.training.experiment import Data, Experiment, TrainConfig
from ssl_jax.training.optimizers import OptimizerConfig
from ssl_jax.training.schedules import ScheduleConfig


@dataclass(frozen=True)
class Config(RunConfig):
    """Word vectors."""

    steps: PositiveInt = 1500
    """Optimiser steps of the whole run."""
    vocab_size: Annotated[int, integers(105, 2**24)] = 10_104
    """Ids: 104 special tokens and the most frequent words."""
    width: PositiveInt = 100
    """Of the vectors."""
    window: PositiveInt = 5
    """Words on each side, at most; each number up to this is equally frequent."""
    negatives: NonNegativeInt = 5
    """Noise words of each word; 0 for the softmax over all words."""
    subsample: Probability = 1e-3
    """Share of the text above which occurrences of a word are left out at random; 0 for never."""
    length: Length = 256
    """Words per row."""
    words: tuple[NonEmptyText, ...] = (
        "array",
        "function",
        "three",
        "returns",
        "file",
        "error",
        "axis",
        "red",
    )
    """Words whose nearest neighbours are shown, where they are known."""
    similarity: tuple[NonEmptyText, ...] = ()
    """.tsv files with the columns word1, word2 and score, the similarity that people see."""
    analogies: Text = ""
    """A file of analogies in word2vec's layout: `: SECTION`, and lines of four words."""
    data: WordsConfig = field(default_factory=WordsConfig)
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(name="adamw", weight_decay=0.0, clip_norm=0.0, epsilon=1e-8)
    )
    schedule: ScheduleConfig = field(
        default_factory=lambda: ScheduleConfig(learning_rate=0.03, warmup_steps=0)
    )
    train: TrainConfig = field(
        default_factory=lambda: TrainConfig(
            batch_size=32, log_every=50, eval_every=500, save_every=500, keep_every=500
        )
    )


PRESETS = {"tiny": Config()}


def build(config: Config) -> Experiment:
    """Two tables of vectors, rows of words with noise, and what the vectors know."""
    model = cbow(config.vocab_size, config.width, config.window)
    sampling = Sampling(config.window, config.negatives, config.subsample)

    def open_data(folder) -> Data:  # noqa: ANN001
        text = open_cbow_text(
            config.data,
            folder,
            vocab_size=config.vocab_size,
            length=config.length,
            sampling=sampling,
            batch_size=config.train.batch_size,
            seed=config.train.seed,
        )
        return Data(
            train=(text.train,),
            heldout=({"heldout": text.heldout},),
            identity=text.fingerprints,
            details=text,
            preprocessing=preprocessing(text.tokenizer),
        )

    return make_experiment(
        config,
        model.method,
        phases=one_phase(
            config,
            batch_shapes(config.train.batch_size, config.length, config.negatives),
            "words",
            config.length,
        ),
        open_data=open_data,
        headline=("noise_loss",) if config.negatives else ("word_loss", "word_accuracy"),
        report=lambda report: report_word_vectors(
            report,
            model.contexts,
            window=config.window,
            noise=config.negatives > 0,
            words=config.words,
            similarity_files=config.similarity,
            analogy_file=config.analogies,
        ),
    )


if __name__ == "__main__":
    main(PRESETS, build)

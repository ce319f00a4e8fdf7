"""CBOW: word vectors from predicting a word by the words around it (Mikolov et al. 2013, arXiv:1301.3781, 1310.4546).

    python -m experiments.cbow                            # offline
    python -m experiments.cbow --data.source news.txt     # a sentence a line, a blank line between documents
    python -m experiments.cbow --data.source news.txt --similarity ws353.tsv --analogies questions-words.txt
    python -m experiments.cbow --negatives 0              # probabilities of all words instead of noise words

A word is predicted from the mean of the vectors of up to 5 words on each side. Sampling and gradient are those of
word2vec.c; updates are of whole batches, by Adam, where word2vec.c makes one for each word. The report has the share of
held-out middle words that are predicted, beside counts of the neighbours, the nearest neighbours of `--words`, and
the agreement with people on the files that are given. vectors.txt has the vectors in word2vec's text format.

The default (seed 0, 2 AMD cores, 27 November 2026, 64 s of processor time) fills in 7.9 % of 5,002 held-out words; the
most frequent word between the same two neighbours is right for 28.5 %: a mean of vectors does not know where a word
stands. Neighbours of "will" are should, may, can, must, of "array" ndarray, arrays, isometry. On the Brown corpus and
the State of the Union speeches, 8 epochs, beside gensim 4.4 with the same settings (benchmarks/word_vectors.py, 26
November 2026): Spearman 0.35 and 0.34 on WordSim-353, 0.14 and 0.13 on SimLex-999, 0.41 and 0.46 on MEN, analogies 12.1
and 17.0 %. It runs at 0.43 times gensim's speed on 2 cores: each step of 2,048 words reads and writes both tables of
10,000 vectors whole, where word2vec.c writes the rows of its words alone.
"""

from dataclasses import dataclass, field, replace
from typing import Annotated

import jax

from ssl_jax.cli import main
from ssl_jax.data.cbow_rows import Sampling, batch_shapes
from ssl_jax.data.cbow_text import WordsConfig, open_cbow_text
from ssl_jax.data.tokenizer_files import preprocessing
from ssl_jax.domains import Length, NonEmptyText, NonNegativeInt, PositiveInt, Probability, Text, integers
from ssl_jax.methods.cbow import cbow
from ssl_jax.recipes.base import RunConfig, make_experiment, one_phase
from ssl_jax.reports.word_vectors import open_word_tests, report_word_vectors
from ssl_jax.runs.word_vectors import WordVectors
from ssl_jax.training.distributed import announce
from ssl_jax.training.experiment import Data, Experiment, Inference, TrainConfig
from ssl_jax.training.optimizers import OptimizerConfig
from ssl_jax.training.schedules import ScheduleConfig


@dataclass(frozen=True)
class Config(RunConfig):
    """Word vectors."""

    steps: PositiveInt = 6000
    """Optimiser steps of the whole run."""
    vocab_size: Annotated[int, integers(105, 2**24)] = 10_104
    """Ids: 104 special tokens and the most frequent words; the log says how many words a smaller text has."""
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
    words: tuple[NonEmptyText, ...] = ()
    """Words whose nearest neighbours are shown; none for some frequent ones."""
    similarity: tuple[NonEmptyText, ...] = ()
    """.tsv files with the columns word1, word2 and score, the similarity that people see."""
    analogies: Text = ""
    """A file of analogies in word2vec's layout: `: SECTION`, and lines of four words."""
    bert: Text = ""
    """A run of experiments.bert or experiments.albert that fills the same blanks: RUN or RUN@STEP; empty for none."""
    data: WordsConfig = field(default_factory=WordsConfig)
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(name="sgd", beta1=0.0, weight_decay=0.0, clip_norm=0.5)
    )
    schedule: ScheduleConfig = field(
        default_factory=lambda: ScheduleConfig(learning_rate=0.05, warmup_steps=0)
    )
    """learning_rate is word2vec.c's alpha: of each word. That of the mean over a batch is larger by its words."""
    train: TrainConfig = field(
        default_factory=lambda: TrainConfig(
            batch_size=8, log_every=100, eval_every=2000, save_every=2000, keep_every=2000
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
        epochs = config.steps * config.train.batch_size / text.rows
        different = text.tokenizer.vocab_size - text.tokenizer.special.first_regular
        announce(
            f"{config.data.source}: {int(text.counts.sum()):,} training words, {different:,} different ones; "
            f"{config.steps:,} steps are {epochs:.1f} epochs of {text.rows:,} rows"
        )
        tests = open_word_tests(
            text,
            config.data,
            words=config.words,
            similarity_files=config.similarity,
            analogy_file=config.analogies,
            bert=config.bert,
        )
        return Data(
            train=(text.train,),
            heldout=({"heldout": text.heldout},),
            identity=text.fingerprints,
            details=tests,
            preprocessing=preprocessing(text.tokenizer),
        )

    rate = config.schedule.learning_rate * config.train.batch_size * config.length
    return make_experiment(
        replace(config, schedule=replace(config.schedule, learning_rate=rate)),
        model.method,
        phases=one_phase(
            config,
            batch_shapes(config.train.batch_size, config.length, config.negatives),
            "words",
            config.length,
        ),
        open_data=open_data,
        inference=Inference(
            text=lambda params, tokenizer, mesh: WordVectors(
                jax.device_get(params["input"]["embedding"]), tokenizer
            )
        ),
        not_exported="Its report writes vectors.txt, in word2vec's text format, which gensim and others read.",
        headline=("noise_loss",) if config.negatives else ("word_loss", "word_accuracy"),
        report=lambda report: report_word_vectors(report, model.contexts, sampling, config.length),
    )


if __name__ == "__main__":
    main(PRESETS, build)

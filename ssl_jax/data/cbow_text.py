"""Opens text for CBOW: a vocabulary of words, the tokenised corpus, held-out documents, and data sets of rows."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import grain
import numpy as np
from etils import epath

from ssl_jax.data.cbow_rows import CbowRows, Sampling, word_counts
from ssl_jax.data.corpus import HELDOUT_SEED, TokenizedCorpus, document_hash, split, tokenize_corpus
from ssl_jax.data.endless_rows import EndlessRows
from ssl_jax.data.pretraining_text import TextConfig
from ssl_jax.data.sources import Source
from ssl_jax.data.tokenizer_files import open_run_tokenizer
from ssl_jax.data.tokenizers import Tokenizer
from ssl_jax.data.word_vocabulary import train_words
from ssl_jax.domains import PositiveInt
from ssl_jax.errors import UserError


@dataclass(frozen=True)
class WordsConfig(TextConfig):
    """The corpus and its words. With `tokenizer` train, the words are counted in the corpus."""

    min_count: PositiveInt = 5
    """Words that occur less often are left out."""

    def check_relations(self) -> None:
        super().check_relations()
        if self.format == "verbatim" or self.tokenizer in ("bytes", "characters"):
            raise UserError(
                f"data.format {self.format}, data.tokenizer {self.tokenizer}: words are counted in sentences, without "
                "spaces; expected the format lines or raw, and the tokenizer train or the path of a vocab.txt."
            )


class CbowText(NamedTuple):
    """An opened corpus.

    Attributes:
      train, heldout: data sets of rows; those of held-out documents leave out no frequent word.
      rows: number of training rows of an epoch.
      tokenizer: of the words.
      training_corpus: tokenised training documents.
      counts: of the words in these, int64 `[words]`.
      heldout_sentences: `() -> sentences` of the held-out documents, which are in a random order.
      fingerprints: of the tokenizer and both corpora, by name.
    """

    train: grain.MapDataset
    heldout: grain.MapDataset
    rows: int
    tokenizer: Tokenizer
    training_corpus: TokenizedCorpus
    counts: np.ndarray
    heldout_sentences: Callable[[], Iterator[str]]
    fingerprints: dict[str, str]


def open_cbow_text(
    config: WordsConfig,
    folder: epath.Path,
    *,
    vocab_size: int,
    length: int,
    sampling: Sampling,
    batch_size: int,
    seed: int,
) -> CbowText:
    """Opens a corpus for CBOW.

    Args:
      config: settings of the corpus.
      folder: run folder, for the vocabulary.
      vocab_size: rows of the model's tables.
      length: words per row.
      sampling: how words are chosen.
      batch_size: rows per batch; the corpus must have at least as many.
      seed: determines the order of the rows.

    Raises:
      UserError: a source is missing, empty or too small for a batch; the vocabulary is too large or has parts of words.
    """
    source = config.open(config.source)
    words = lambda: train_words(  # noqa: E731
        _sentences(source), vocab_size, min_count=config.min_count, lowercase=config.lowercase
    )
    tokenizer = open_run_tokenizer(config, folder, words)
    if tokenizer.vocab_size > vocab_size or not tokenizer.starts_word.all():
        raise UserError(
            f"data.tokenizer {config.tokenizer}: expected at most {vocab_size} whole words; give train, vocab.txt of "
            "another run of experiments.cbow, or a larger --vocab_size."
        )
    training, other = tokenize_corpus(source, tokenizer), source
    if config.heldout_source:
        other = config.open(config.heldout_source)
        heldout = tokenize_corpus(other, tokenizer)
    else:
        training, heldout = split(training, config.heldout_share, HELDOUT_SEED)
    first = tokenizer.special.first_regular
    counts = word_counts(training, vocab_size, first)
    rows = CbowRows(training, counts, length=length, sampling=sampling, first_word=first)
    if len(rows) < batch_size:
        raise UserError(
            f"data.source {config.source}: makes {len(rows)} rows of {length} words, fewer than one batch; give more "
            f"text, or a --train.batch_size of at most {len(rows)}."
        )
    whole = CbowRows(
        heldout, counts, length=length, sampling=sampling._replace(subsample=0.0), first_word=first
    )
    tests = grain.MapDataset.range(len(whole)).seed(HELDOUT_SEED).shuffle()[: config.heldout_rows]
    return CbowText(
        train=EndlessRows(rows, seed, at_once=True),
        heldout=tests.random_map(whole),
        rows=len(rows),
        tokenizer=tokenizer,
        training_corpus=training,
        counts=counts,
        heldout_sentences=lambda: _sentences_of(other, heldout),
        fingerprints={
            "tokenizer": tokenizer.fingerprint,
            "corpus": training.fingerprint,
            "heldout_corpus": heldout.fingerprint,
        },
    )


def _sentences_of(source: Source, corpus: TokenizedCorpus) -> Iterator[str]:
    """The sentences of those documents of a source that are in a corpus."""
    wanted = {*corpus.hashes.tolist()}
    for index in np.random.default_rng(HELDOUT_SEED).permutation(len(source)):
        document = source[int(index)]
        if int.from_bytes(document_hash(document), "little") in wanted:
            yield from document


def _sentences(source: Source) -> Iterator[str]:
    for index in range(len(source)):
        yield from source[index]

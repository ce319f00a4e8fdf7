"""Opens text for pretraining: tokenizer, tokenised corpus, held-out documents and infinite data sets of rows."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple, Protocol

import grain
import jax
import numpy as np
from etils import epath

from ssl_jax.data.characters import Characters, train_characters
from ssl_jax.data.corpus import HELDOUT_SEED, TokenizedCorpus, split, tokenize_corpus
from ssl_jax.data.endless_rows import EndlessRows, StackedRows
from ssl_jax.data.packing import PackedDocuments
from ssl_jax.data.pairs import SegmentPairs
from ssl_jax.data.passages import Passages, PreparedPassages
from ssl_jax.data.prepared.manifest import PREPARED
from ssl_jax.data.prepared.reading import Prepared
from ssl_jax.data.sentence_rows import SentenceRows
from ssl_jax.data.sources import Joined, Source
from ssl_jax.data.text_config import CorpusConfig, TextConfig
from ssl_jax.data.tokenizer_files import (
    TRAINED,
    find_tokenizer,
    open_run_tokenizer,
    preprocessing,
)
from ssl_jax.data.tokenizers import Tokenizer, train_sentencepiece
from ssl_jax.errors import UserError

PairTask = Literal["nsp", "sop", "none"]

SHOWN_UNKNOWN = 10
"""Characters without a token that are printed."""


class PretrainingText(NamedTuple):
    """An opened corpus.

    Attributes:
      train: a data set of rows for each length.
      heldout: the same of the held-out documents.
      identity: what must not change when a run is continued.
      preprocessing: settings that determine the text of the ids.
      tokenizer: tokenizer of the run.
      heldout_source: the documents of which those of `heldout_corpus` are some; see `original_text`.
      training_corpus: tokenised training documents; of a prepared folder a sample.
      heldout_corpus: tokenised held-out documents.
    """

    train: tuple[grain.MapDataset, ...]
    heldout: tuple[grain.MapDataset, ...]
    identity: dict[str, str]
    preprocessing: dict[str, str]
    tokenizer: Tokenizer
    heldout_source: Source
    training_corpus: TokenizedCorpus
    heldout_corpus: TokenizedCorpus


class Rows(Protocol):
    """Examples by number. An example depends only on its number and the random numbers of `rng`."""

    def __len__(self) -> int: ...

    def __call__(self, row: int, rng: np.random.Generator) -> dict[str, np.ndarray]: ...


MakeRows = Callable[[TokenizedCorpus | Prepared, int, Tokenizer], Rows]
"""`(corpus, length, tokenizer) -> Rows` with `length` tokens."""


def bert_rows(pair_task: PairTask, *, sentences: bool = False) -> MakeRows:
    """Rows for BERT: segment pairs; if there is no task on pairs, packed documents or a sentence for each row."""

    def make(corpus: TokenizedCorpus | Prepared, length: int, tokenizer: Tokenizer) -> Rows:
        shape = (length, tokenizer.special, tokenizer.starts_word)
        if isinstance(corpus, Prepared):
            if pair_task != "none":
                return corpus.pairs(length, pair_task)
            return PackedDocuments(corpus.stream("packed", length), *shape)
        if pair_task != "none":
            return SegmentPairs(corpus, *shape, pair_task)
        return SentenceRows(corpus, *shape) if sentences else PackedDocuments(corpus, *shape)

    return make


def bert_batch_shapes(pair_task: PairTask, batch_size: int, length: int) -> dict[str, jax.ShapeDtypeStruct]:
    """Shape and dtype of each array of a batch of `bert_rows`, all int32.

    `[batch, length]`: `tokens`; `token_type_ids`; `segment_ids`, 0 for padding, otherwise the index of the packed
    document from 1; `words`, the index of the word in the row; `positions`, if there is no task on pairs. `[batch]`:
    `vocab_size`, the number of the tokenizer's ids; `label` of the task on pairs.
    """
    alone = pair_task == "none"
    names = ("tokens", "token_type_ids", "segment_ids", "words", *(("positions",) if alone else ()))
    shapes = dict.fromkeys(names, (batch_size, length))
    shapes |= dict.fromkeys(("vocab_size",) if alone else ("vocab_size", "label"), (batch_size,))
    return {name: jax.ShapeDtypeStruct(shape, np.int32) for name, shape in shapes.items()}


def passage_rows(
    corpus: TokenizedCorpus | Prepared, length: int, tokenizer: Tokenizer
) -> Passages | PreparedPassages:
    """Rows for sequence-to-sequence models: whole sentences of one document."""
    if isinstance(corpus, Prepared):
        return corpus.passages(length)
    return Passages(corpus, length, tokenizer.special, tokenizer.starts_word)


def open_pretraining_text(
    config: TextConfig,
    folder: epath.Path,
    *,
    make_rows: MakeRows,
    vocab_size: int,
    lengths: Sequence[int],
    batch_size: int,
    seed: int,
    reserved: int = 0,
    make_heldout_rows: MakeRows | None = None,
    joined: bool = False,
) -> PretrainingText:
    """Opens a corpus for pretraining, with the tokenizer of the run; see `open_run_tokenizer`.

    Args:
      config: settings of the corpus and the tokenizer.
      folder: run folder, for the tokenizer's files.
      make_rows: makes the examples.
      vocab_size: rows of the model's embedding table: the size of a trained tokenizer, and the largest size of others.
      lengths: tokens per row, for each phase of the run.
      batch_size: rows per batch; the corpus must have at least as many.
      seed: determines the order of the rows.
      reserved: number of last ids that are not pieces of text (T5's sentinels).
      make_heldout_rows: makes the examples of evaluations, all of which are read; None for `heldout_rows` random
        examples of `make_rows`.
      joined: tokenise whole documents instead of sentences.

    Raises:
      UserError: a source is missing, empty or too small for a batch, or the vocabulary is too large.
    """

    def open_text(spec: str) -> Source:
        source = config.open(spec)
        keeps_lines = config.format == "verbatim" and spec != "pydocs"
        return Joined(source, "" if keeps_lines else " ") if joined else source

    if config.source.startswith(PREPARED):
        read = _open_prepared(config)
        tokenizer = _tokenizer(config, vocab_size, reserved, lambda: read.tokenizer, folder)
        read.check_tokenizer(tokenizer)
        training = read.sample()
        heldout, heldout_source = read.heldout()
    else:
        source = open_text(config.source)
        tokenizer = _tokenizer(
            config, vocab_size, reserved, lambda: _train(config, vocab_size - reserved, source), folder
        )
        training = _tokenize(source, tokenizer)
        if config.heldout_source:
            heldout_source = open_text(config.heldout_source)
            heldout = _tokenize(heldout_source, tokenizer)
        else:
            heldout_source = source
            training, heldout = split(training, config.heldout_share, HELDOUT_SEED)
        read = training

    def training_rows(length: int) -> grain.MapDataset:
        make = make_rows(read, length, tokenizer)
        if len(make) < batch_size:
            raise UserError(
                f"data.source {config.source}: makes {len(make)} rows of {length} tokens, fewer than one batch; give "
                f"more text, or a --train.batch_size of at most {len(make)}."
            )
        if isinstance(make, StackedRows):
            return EndlessRows(make, seed, at_once=isinstance(read, TokenizedCorpus))
        return grain.MapDataset.range(len(make)).seed(seed).shuffle().repeat().random_map(make)

    def heldout_rows(length: int) -> grain.MapDataset:
        if make_heldout_rows:
            make = make_heldout_rows(heldout, length, tokenizer)
            return grain.MapDataset.range(len(make)).seed(HELDOUT_SEED).random_map(make)
        make = make_rows(heldout, length, tokenizer)
        shuffled = grain.MapDataset.range(len(make)).seed(HELDOUT_SEED).shuffle()
        return shuffled[: config.heldout_rows].random_map(make)

    return PretrainingText(
        train=tuple(training_rows(length) for length in lengths),
        heldout=tuple(heldout_rows(length) for length in lengths),
        identity={
            "tokenizer": tokenizer.fingerprint,
            "corpus": read.fingerprint,
            "heldout_corpus": heldout.fingerprint,
        },
        preprocessing=preprocessing(tokenizer),
        tokenizer=tokenizer,
        heldout_source=heldout_source,
        training_corpus=training,
        heldout_corpus=heldout,
    )


def open_pretraining_tokenizer(config: CorpusConfig, vocab_size: int, folder: epath.Path) -> Tokenizer:
    """The tokenizer that `open_pretraining_text` has in a folder, without opening a corpus unless it must be trained.

    Args:
      config: settings of the corpus and the tokenizer.
      vocab_size: rows of the model's embedding table.
      folder: run folder, for the tokenizer's files.

    Raises:
      UserError: as `open_pretraining_text`.
    """

    def make() -> Tokenizer:
        if config.source.startswith(PREPARED):
            return _open_prepared(config).tokenizer
        return _train(config, vocab_size, config.open(config.source))

    return _tokenizer(config, vocab_size, 0, make, folder)


def _open_prepared(config: CorpusConfig) -> Prepared:
    """The prepared folder that a configuration names.

    Raises:
      UserError: it cannot be read, or settings do not fit it.
    """
    prepared = Prepared(config.source.removeprefix(PREPARED))
    if config.heldout_source:
        raise UserError(
            f"data.heldout_source {config.heldout_source}: a prepared folder has its own held-out documents; leave it "
            "out, or prepare the folder with --heldout_source."
        )
    if config.tokenizer in TRAINED and prepared.tokenizer.special != config.special:
        file = find_tokenizer(epath.Path(config.source.removeprefix(PREPARED)))
        raise UserError(
            f"data.tokenizer {config.tokenizer}: the tokenizer of {config.source} was not trained here, and its "
            f"special tokens are others; give --data.tokenizer {file.path}."
        )
    return prepared


def _tokenize(source: Source, tokenizer: Tokenizer) -> TokenizedCorpus:
    """The tokenised corpus; prints which characters the tokenizer does not know, if it is one of characters."""
    corpus = tokenize_corpus(source, tokenizer, progress=TokenizingProgress(f"tokenising {source.name}"))
    if isinstance(tokenizer, Characters) and (corpus.tokens == tokenizer.special.unk).any():
        unknown = sum((tokenizer.unknown("".join(document)) for document in _documents(source)), Counter())
        most = ", ".join(
            f"{character!r} {count:,}" for character, count in unknown.most_common(SHOWN_UNKNOWN)
        )
        print(
            f"{source.name}: {unknown.total():,} of {len(corpus.tokens):,} characters are not in the vocabulary and "
            f"become [UNK]; they are {len(unknown):,} different ones, the most frequent {most}.",
            flush=True,
        )
    return corpus


def _train(config: CorpusConfig, pieces: int, source: Source) -> Tokenizer:
    """Trains a tokenizer of so many ids on a corpus."""
    if config.tokenizer == "characters":
        return train_characters(
            (sentence for document in _documents(source) for sentence in document), pieces
        )
    config.check_verbatim(None)
    return train_sentencepiece(
        _shuffled(source), pieces, lowercase=config.lowercase, byte_fallback=config.byte_fallback
    )


def _tokenizer(
    config: CorpusConfig, vocab_size: int, reserved: int, train: Callable[[], Tokenizer], folder: epath.Path
) -> Tokenizer:
    tokenizer = open_run_tokenizer(config, folder, train)
    config.check_verbatim(tokenizer)
    needed = tokenizer.vocab_size + reserved
    if needed > vocab_size:
        beside = f", and {reserved} ids are reserved beside them" if reserved else ""
        raise UserError(
            f"data.tokenizer {config.tokenizer}: has {tokenizer.vocab_size} pieces{beside}, more than model.vocab_size "
            f"{vocab_size}; give --model.vocab_size {needed}."
        )
    return tokenizer


def _documents(source: Source) -> Iterator[list[str]]:
    return (source[index] for index in range(len(source)))


def _shuffled(source: Source) -> Iterator[str]:
    """Yields the sentences of the documents in random order, because tokenizer training reads only the beginning."""
    for index in np.random.default_rng(HELDOUT_SEED).permutation(len(source)):
        yield from source[int(index)]


class TokenizingProgress:
    """Prints the progress of a long tokenisation at intervals."""

    def __init__(self, what: str, every_seconds: float = 5.0) -> None:
        self._what, self._every, self._next = what, every_seconds, time.monotonic() + every_seconds

    def __call__(self, done: int, total: int) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + self._every
            print(f"{self._what}: {done:,} of {total:,} documents", flush=True)

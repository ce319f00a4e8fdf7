"""Opens text for pretraining: tokenizer, tokenised corpus, held-out documents and infinite data sets of rows."""

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import grain
import jax
import numpy as np
from etils import epath

from ssl_jax.data.characters import Characters, train_characters
from ssl_jax.data.corpus import TokenizedCorpus, split, tokenize_corpus
from ssl_jax.data.packing import PackedDocuments
from ssl_jax.data.pairs import SegmentPairs
from ssl_jax.data.passages import Passages
from ssl_jax.data.sentence_rows import SentenceRows
from ssl_jax.data.sources import Source, TextFormat, open_source
from ssl_jax.data.tokenizer_files import TokenizerConfig, open_run_tokenizer, preprocessing
from ssl_jax.data.tokenizers import Tokenizer, train_sentencepiece
from ssl_jax.domains import NonEmptyText, PositiveInt, ProperShare, Text
from ssl_jax.errors import UserError

PairTask = Literal["nsp", "sop", "none"]

HELDOUT_SEED = 0
"""The held-out rows are the same for all seeds of a run, so that runs can be compared."""

SHOWN_UNKNOWN = 10
"""Characters without a token that are printed."""


@dataclass(frozen=True)
class TextConfig(TokenizerConfig):
    """The corpus and its tokenizer."""

    source: NonEmptyText = "pydocs"
    """pydocs (documentation inside the installed Python packages); tfds:name/config[:split]; a text file, folder or
    glob pattern; a .tsv file."""
    format: TextFormat = "lines"
    """Of text files. lines: one sentence per line, a blank line between documents; raw: prose, split into sentences by
    rules; verbatim: the text as it is, with its line breaks, of tfds: and .tsv too. lines and raw join lines by spaces;
    verbatim needs a tokenizer that changes nothing: bytes, characters, or a byte-level BPE."""
    separator: Text = ""
    """Of verbatim text files: what ends a document, such as "\\n\\n", where \\n is a line break. It remains part
    of the text. Empty: each file is a document."""
    column: NonEmptyText = "text"
    """Column of a .tsv file."""
    heldout_source: Text = ""
    """Another source to evaluate on, such as a validation split; empty: whole documents of the corpus are held out."""
    heldout_share: ProperShare = 0.05
    """Share of the documents to hold out if heldout_source is empty."""
    heldout_rows: PositiveInt = 512
    """Largest number of rows in an evaluation."""

    def check_relations(self) -> None:
        super().check_relations()
        if self.separator and self.format != "verbatim":
            raise UserError(
                f"data.separator {self.separator!r}: is of data.format verbatim, not of {self.format}, whose documents "
                "blank lines separate; leave it out, or give --data.format verbatim."
            )

    def open(self, spec: str) -> Source:
        """Opens one of the sources; see `open_source`."""
        return open_source(spec, self.format, self.column, self.separator.replace("\\n", "\n"))

    def check_verbatim(self, tokenizer: Tokenizer | None) -> None:
        """Checks that a tokenizer, None for a SentencePiece yet to be trained, keeps what is to be kept.

        Raises:
          UserError: otherwise.
        """
        if self.format == "verbatim" and not (tokenizer and tokenizer.keeps_text):
            kind = tokenizer.kind if tokenizer else "SentencePiece, which --data.tokenizer train trains,"
            raise UserError(
                f"data.format verbatim: a tokenizer of the kind {kind} changes the text before it splits it (white "
                "space, line breaks, case or characters). Give --data.tokenizer bytes, characters, or the "
                "tokenizer.json of a byte-level BPE without normalisation, or another data.format."
            )


class PretrainingText(NamedTuple):
    """An opened corpus.

    Attributes:
      train: a data set of rows for each length.
      heldout: the same of the held-out documents.
      identity: what must not change when a run is continued.
      preprocessing: settings that determine the text of the ids.
      tokenizer: tokenizer of the run.
      heldout_source: the documents of which those of `heldout_corpus` are some; see `original_text`.
      training_corpus: tokenised training documents.
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


class Joined:
    """A source with one text per document: its sentences, joined.

    It is for language models with byte-level BPE, in which a word has different tokens with and without a space before
    it.

    Args:
      source: the documents.
      joint: what is put between sentences; nothing where they have the line breaks at their ends.
    """

    def __init__(self, source: Source, joint: str = " "):
        self._source, self._joint, self.name = source, joint, source.name
        self.fingerprint = hashlib.sha256(f"joined {source.fingerprint}".encode()).hexdigest()

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> list[str]:
        return [self._joint.join(self._source[index])]


class Rows(Protocol):
    """Examples by number. An example depends only on its number and the random numbers of `rng`."""

    def __len__(self) -> int: ...

    def __call__(self, row: int, rng: np.random.Generator) -> dict[str, np.ndarray]: ...


MakeRows = Callable[[TokenizedCorpus, int, Tokenizer], Rows]
"""`(corpus, length, tokenizer) -> Rows` with `length` tokens."""


def bert_rows(pair_task: PairTask, *, sentences: bool = False) -> MakeRows:
    """Rows for BERT: segment pairs; if there is no task on pairs, packed documents or a sentence for each row."""

    def make(corpus: TokenizedCorpus, length: int, tokenizer: Tokenizer) -> Rows:
        shape = (corpus, length, tokenizer.special, tokenizer.starts_word)
        if pair_task != "none":
            return SegmentPairs(*shape, pair_task)
        return SentenceRows(*shape) if sentences else PackedDocuments(*shape)

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


def passage_rows(corpus: TokenizedCorpus, length: int, tokenizer: Tokenizer) -> Passages:
    """Rows for sequence-to-sequence models: whole sentences of one document."""
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

    source = open_text(config.source)
    tokenizer = _tokenizer(config, vocab_size, reserved, lambda: source, folder)
    corpus = _tokenize(source, tokenizer)
    if config.heldout_source:
        heldout_source = open_text(config.heldout_source)
        training, heldout = corpus, _tokenize(heldout_source, tokenizer)
    else:
        heldout_source = source
        training, heldout = split(corpus, config.heldout_share, HELDOUT_SEED)

    def training_rows(length: int) -> grain.MapDataset:
        make = make_rows(training, length, tokenizer)
        if len(make) < batch_size:
            raise UserError(
                f"data.source {config.source}: makes {len(make)} rows of {length} tokens, fewer than one batch; give "
                f"more text, or a --train.batch_size of at most {len(make)}."
            )
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
            "corpus": training.fingerprint,
            "heldout_corpus": heldout.fingerprint,
        },
        preprocessing=preprocessing(tokenizer),
        tokenizer=tokenizer,
        heldout_source=heldout_source,
        training_corpus=training,
        heldout_corpus=heldout,
    )


def open_pretraining_tokenizer(config: TextConfig, vocab_size: int, folder: epath.Path) -> Tokenizer:
    """The tokenizer that `open_pretraining_text` has in a folder, without opening a corpus unless it must be trained.

    Args:
      config: settings of the corpus and the tokenizer.
      vocab_size: rows of the model's embedding table.
      folder: run folder, for the tokenizer's files.

    Raises:
      UserError: as `open_pretraining_text`.
    """
    return _tokenizer(config, vocab_size, 0, lambda: config.open(config.source), folder)


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


def _tokenizer(
    config: TextConfig, vocab_size: int, reserved: int, source: Callable[[], Source], folder: epath.Path
) -> Tokenizer:
    def train() -> Tokenizer:
        if config.tokenizer == "characters":
            texts = (sentence for document in _documents(source()) for sentence in document)
            return train_characters(texts, vocab_size - reserved)
        config.check_verbatim(None)
        return train_sentencepiece(
            _shuffled(source()),
            vocab_size - reserved,
            lowercase=config.lowercase,
            byte_fallback=config.byte_fallback,
        )

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

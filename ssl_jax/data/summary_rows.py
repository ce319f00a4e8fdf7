"""Rows for learning to summarise without pairs: an article, and a random sentence of another source."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import grain
import jax
import numpy as np
from etils import epath

from ssl_jax.data.corpus import HELDOUT_SEED, TokenizedCorpus, split, tokenize_corpus
from ssl_jax.data.pretraining_text import TokenizingProgress
from ssl_jax.data.sources import Source, TextFormat
from ssl_jax.data.summaries import open_test, open_unpaired
from ssl_jax.data.tokenizer_files import TokenizerConfig, open_run_tokenizer, preprocessing
from ssl_jax.data.tokenizers import SpecialTokens, Tokenizer, train_sentencepiece
from ssl_jax.domains import NonEmptyText, PositiveInt, ProperShare, Text
from ssl_jax.errors import UserError


@dataclass(frozen=True)
class SummaryTextConfig(TokenizerConfig):
    """Articles and sentences, never paired, and their tokenizer."""

    articles: NonEmptyText = "pydocs"
    """pydocs (bodies of docstrings); tfds:xsum, tfds:gigaword or tfds:cnn_dailymail; or another source of text: a file,
    a folder or a glob pattern, or tfds:NAME with a field text."""
    sentences: NonEmptyText = "pydocs"
    """What codes should read like: pydocs (summary lines of other docstrings), one of the data sets above (summaries of
    other articles), or another source of text, such as a file of headlines."""
    test: Text = ""
    """A .tsv file with the columns article and summary, for evaluation alone; empty: the test part of a data set with
    summaries, else none."""
    format: TextFormat = "lines"
    """Of text files. lines: one sentence per line, a blank line between documents; raw: prose."""
    heldout_share: ProperShare = 0.05
    """Share of the sentences, and without test pairs of the articles, to hold out."""
    heldout_rows: PositiveInt = 256
    """Largest number of articles in an evaluation, and of test pairs in the report at the end."""


class TestPair(NamedTuple):
    """An article with its summary, for evaluation.

    Attributes:
      article: its text.
      summary: its text.
      tokens: int `[tokens]`, of the article.
    """

    article: str
    summary: str
    tokens: np.ndarray


class SummaryText(NamedTuple):
    """Opened articles and sentences.

    Attributes:
      train: endless rows.
      heldout: finite rows, of the articles of `validation` if there are any.
      validation: pairs for metrics and samples along the way; empty without test pairs.
      test: other pairs, for the report.
      test_rows: as `heldout`, of the articles of `test`.
      sentences: the sentences of training, of which n-grams are counted.
      heldout_sentences: others, of the same source.
      tokenizer: of the run.
      identity: what must not change when a run is continued.
      preprocessing: settings that determine the text of the ids.
    """

    train: grain.MapDataset
    heldout: grain.MapDataset
    validation: list[TestPair]
    test: list[TestPair]
    test_rows: grain.MapDataset | None
    sentences: TokenizedCorpus
    heldout_sentences: TokenizedCorpus
    tokenizer: Tokenizer
    identity: dict[str, str]
    preprocessing: dict[str, str]


def batch_shapes(batch_size: int, length: int, code_length: int) -> dict[str, jax.ShapeDtypeStruct]:
    """Shape and dtype of each array of a batch; see `SummaryRows`."""
    article, sentence = (batch_size, length), (batch_size, code_length)
    return {
        "tokens": jax.ShapeDtypeStruct(article, np.int32),
        "present": jax.ShapeDtypeStruct(article, np.bool_),
        "sentence": jax.ShapeDtypeStruct(sentence, np.int32),
        "sentence_present": jax.ShapeDtypeStruct(sentence, np.bool_),
        "vocab_size": jax.ShapeDtypeStruct((batch_size,), np.int32),
    }


class Articles:
    """Token ids of the documents of a corpus, by number."""

    def __init__(self, corpus: TokenizedCorpus):
        self._corpus = corpus

    def __len__(self) -> int:
        return len(self._corpus.hashes)

    def __getitem__(self, index: int) -> np.ndarray:
        return self._corpus.document(index)


class SummaryRows:
    """Examples by number: an article, and a sentence that depends on the random numbers of the call.

    An example has int32 `tokens [length]` ([BOS], the beginning of the article, [EOS], padding) and `sentence
    [code_length]` (a whole sentence, [EOS], padding), bool `present` and `sentence_present`, and int32 `vocab_size`.

    Args:
      articles: token ids of each.
      sentences: token ids of each; at most `code_length - 1`.
      length, code_length: of the rows.
      tokenizer: for its special tokens and its size.
    """

    def __init__(
        self,
        articles: Sequence[np.ndarray] | Articles,
        sentences: Sequence[np.ndarray] | Articles,
        length: int,
        code_length: int,
        tokenizer: Tokenizer,
    ):
        self._articles, self._sentences = articles, sentences
        self._length, self._code_length = length, code_length
        self._special, self._vocab = tokenizer.special, tokenizer.vocab_size

    def __len__(self) -> int:
        return len(self._articles)

    def __call__(self, row: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        special = self._special
        article = self._articles[row][: self._length - 2]
        sentence = self._sentences[int(rng.integers(len(self._sentences)))]
        tokens, present = _row([special.cls, *article, special.sep], self._length, special)
        words, there = _row([*sentence, special.sep], self._code_length, special)
        return {
            "tokens": tokens,
            "present": present,
            "sentence": words,
            "sentence_present": there,
            "vocab_size": np.asarray(self._vocab, np.int32),
        }


def _row(ids: Sequence[int], length: int, special: SpecialTokens) -> tuple[np.ndarray, np.ndarray]:
    tokens = np.full(length, special.pad, np.int32)
    tokens[: len(ids)] = ids
    return tokens, np.arange(length) < len(ids)


def open_summary_text(
    config: SummaryTextConfig,
    folder: epath.Path,
    *,
    vocab_size: int,
    length: int,
    code_length: int,
    batch_size: int,
    seed: int,
) -> SummaryText:
    """Opens articles and sentences, with the tokenizer of the run.

    Articles that are not longer than a code, and sentences that are longer than one, are left out.

    Args:
      config: settings of the text and the tokenizer.
      folder: run folder, for the tokenizer's files.
      vocab_size: rows of the model's embedding table.
      length: tokens of an article's row.
      code_length: tokens of a code, [EOS] included.
      batch_size: rows per batch.
      seed: determines the order of the rows.

    Raises:
      UserError: a source is missing or empty, both are the same, sentences are longer than articles, or too few are
        left.
    """
    sources = open_unpaired(config.articles, config.sentences, config.format)
    tokenizer = _tokenizer(config, vocab_size, sources, folder)
    articles, sentences = (
        tokenize_corpus(source, tokenizer, progress=TokenizingProgress(f"tokenising {source.name}"))
        for source in sources
    )
    if np.median(sentences.document_lengths) >= np.median(articles.document_lengths):
        raise UserError(
            f"data.sentences {config.sentences}: half of them have {np.median(sentences.document_lengths):.0f} tokens "
            f"or more, and half of the articles {np.median(articles.document_lengths):.0f} or less; sentences must be "
            "shorter than articles. Have the two been swapped?"
        )
    articles = articles.select(articles.document_lengths >= code_length)
    sentences = sentences.select(sentences.document_lengths < code_length)
    for name, spec, left in (
        ("articles", config.articles, articles),
        ("sentences", config.sentences, sentences),
    ):
        if len(left.hashes) < batch_size:
            limit = "as long as" if name == "articles" else "shorter than"
            raise UserError(
                f"data.{name} {spec}: {len(left.hashes)} {name} are {limit} a code of {code_length} tokens, fewer than "
                f"one batch; give more text, another --code_length or a smaller --train.batch_size."
            )
    sentences, heldout_sentences = split(sentences, config.heldout_share, HELDOUT_SEED)
    pairs = _pairs(config, tokenizer, code_length)
    validation, test = pairs[::2], pairs[1::2]
    if pairs:
        heldout_articles: Sequence[np.ndarray] | Articles = [pair.tokens for pair in validation]
    else:
        articles, heldout = split(articles, config.heldout_share, HELDOUT_SEED)
        heldout_articles = Articles(heldout.select(np.arange(min(len(heldout.hashes), config.heldout_rows))))

    def finite(of: Sequence[np.ndarray] | Articles) -> grain.MapDataset:
        rows = SummaryRows(of, Articles(heldout_sentences), length, code_length, tokenizer)
        return grain.MapDataset.range(len(rows)).seed(HELDOUT_SEED).random_map(rows)

    rows = SummaryRows(Articles(articles), Articles(sentences), length, code_length, tokenizer)
    return SummaryText(
        train=grain.MapDataset.range(len(rows)).seed(seed).shuffle().repeat().random_map(rows),
        heldout=finite(heldout_articles),
        validation=validation,
        test=test,
        test_rows=finite([pair.tokens for pair in test]) if test else None,
        sentences=sentences,
        heldout_sentences=heldout_sentences,
        tokenizer=tokenizer,
        identity={
            "tokenizer": tokenizer.fingerprint,
            "articles": articles.fingerprint,
            "sentences": sentences.fingerprint,
        },
        preprocessing=preprocessing(tokenizer),
    )


def _pairs(config: SummaryTextConfig, tokenizer: Tokenizer, code_length: int) -> list[TestPair]:
    """Validation and test pairs, alternately."""
    found = open_test(config.test, config.articles, 2 * config.heldout_rows)
    texts = [" ".join(article) for article, _ in found]
    pairs = [
        TestPair(text, summary, np.asarray(tokens, np.int32))
        for text, (_, summary), tokens in zip(texts, found, tokenizer.encode_batch(texts), strict=True)
        if len(tokens) >= code_length
    ]
    if found and len(pairs) < 4:
        raise UserError(
            f"data.test {config.test or config.articles}: {len(pairs)} of its articles are as long as a code of "
            f"{code_length} tokens; at least 4 are needed."
        )
    return pairs


def _tokenizer(
    config: SummaryTextConfig, vocab_size: int, sources: Sequence[Source], folder: epath.Path
) -> Tokenizer:
    def texts() -> Iterator[str]:
        orders = [np.random.default_rng(HELDOUT_SEED).permutation(len(source)) for source in sources]
        for place in range(max(map(len, orders))):
            for source, order in zip(sources, orders, strict=True):
                if place < len(order):
                    yield from source[int(order[place])]

    tokenizer = open_run_tokenizer(
        config,
        folder,
        lambda: train_sentencepiece(
            texts(), vocab_size, lowercase=config.lowercase, byte_fallback=config.byte_fallback
        ),
    )
    if tokenizer.vocab_size > vocab_size:
        raise UserError(
            f"data.tokenizer {config.tokenizer}: has {tokenizer.vocab_size} pieces, more than model.vocab_size "
            f"{vocab_size}; give --model.vocab_size {tokenizer.vocab_size}."
        )
    return tokenizer

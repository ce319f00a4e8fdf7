"""Rows for CBOW: stretches of text without rare and with fewer frequent words, a window and noise words for each word.

The random choices are those of word2vec.c: frequent words are left out *before* windows are laid, so that a window
reaches further; a window has 1 to `window` words on each side, equally often; noise words are drawn by their count to
the power of 3/4. The words of a block have the same noise words (Ji et al. 2016, arXiv:1604.04661), so that a step
reads and writes fewer vectors and multiplies matrices.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from ssl_jax.data.corpus import TokenizedCorpus, token_counts
from ssl_jax.data.stacking import stacked
from ssl_jax.data.stream import Stream
from ssl_jax.errors import UserError

NOISE_POWER = 0.75
BLOCK = 16
"""Words of a row, one after the other, that have the same noise words."""
_FILLED = 0.95
"""Share of a row that is filled on average, so that few rows have more words than fit, whose last ones are left out."""


class Sampling(NamedTuple):
    """How words are chosen.

    Attributes:
      window: words on each side of a word, at most.
      negatives: noise words of a word; 0 for none.
      subsample: share of a text above which a word is left out sometimes; 0 for never.
    """

    window: int
    negatives: int
    subsample: float


def batch_shapes(batch_size: int, length: int, negatives: int) -> dict[str, jax.ShapeDtypeStruct]:
    """Shape and dtype of each array of a batch, all int32.

    `[batch, length]`: `tokens`; `segment_ids`, the number of the sentence in the row from 1, 0 for padding; `window`,
    words on each side. `[batch, blocks, negatives]`: `negatives`, unless there are none.
    """
    shapes = dict.fromkeys(("tokens", "segment_ids", "window"), (batch_size, length))
    if negatives:
        shapes["negatives"] = (batch_size, -(-length // BLOCK), negatives)
    return {name: jax.ShapeDtypeStruct(shape, np.int32) for name, shape in shapes.items()}


def word_counts(corpus: TokenizedCorpus, vocab_size: int, first_word: int) -> np.ndarray:
    """How often each word occurs, int64 `[vocab_size]`; 0 for special tokens."""
    counts = token_counts(corpus, vocab_size)
    counts[:first_word] = 0
    return counts


def kept_shares(counts: np.ndarray, subsample: float) -> np.ndarray:
    """The probability with which an occurrence of each word is kept: sqrt(t / f) + t / f of its share f of the text.

    This is what word2vec.c does; the paper (arXiv:1310.4546, section 2.3) has sqrt(t / f).
    """
    if not subsample:
        return np.ones(len(counts))
    ratio = subsample * counts.sum() / np.maximum(counts, 1)
    return np.minimum(np.sqrt(ratio) + ratio, 1.0)


def noise_distribution(counts: np.ndarray) -> np.ndarray:
    """The probability of each word to be a noise word."""
    powers = counts**NOISE_POWER
    return powers / powers.sum()


class CbowRows:
    """Rows of kept words. An epoch has `len(rows)` rows; the loader shuffles them.

    Args:
      corpus: the documents; tokens below `first_word` are no words and are left out.
      counts: of the training text; see `word_counts`.
      length: words per row.
      sampling: how words are chosen.
      first_word: id of the first word.
      seed: determines the order of the documents.

    Raises:
      UserError: the corpus has no word.
    """

    def __init__(
        self,
        corpus: TokenizedCorpus,
        counts: np.ndarray,
        *,
        length: int,
        sampling: Sampling,
        first_word: int,
        seed: int = 0,
    ):
        self._stream, self._length, self._sampling = Stream(corpus, seed), length, sampling
        self._kept = kept_shares(counts, sampling.subsample)
        self._kept[:first_word] = 0
        self._noise = np.cumsum(noise_distribution(counts)) if sampling.negatives else None
        own = word_counts(corpus, len(counts), first_word)
        kept = float(self._kept @ own)
        if kept < 1:
            raise UserError(
                f"data source {corpus.name!r}: no word is kept; give more text or a larger subsample."
            )
        self._stretch = max(1, round(_FILLED * length * corpus.document_lengths.sum() / kept))

    def __len__(self) -> int:
        return self._stream.rows(self._stretch)

    def __call__(self, row: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """A row; see `batch_shapes`."""
        corpus, parts, begins = self._stream.corpus, [], []
        for piece in self._stream.row(row, self._stretch):
            sentences = corpus.first_sentence[piece.document], corpus.end_sentence[piece.document]
            offsets = corpus.sentence_offsets[sentences[0] : sentences[1] + 1]
            # The stream has one position after each document, where no word is.
            start, stop = offsets[0] + piece.start, min(offsets[0] + piece.stop, offsets[-1])
            parts.append(corpus.tokens[start:stop])
            first = np.zeros(max(0, stop - start), np.int32)
            first[:1] = 1
            first[offsets[np.searchsorted(offsets, start) : np.searchsorted(offsets, stop)] - start] = 1
            begins.append(first)
        words, sentence = np.concatenate(parts), np.cumsum(np.concatenate(begins))
        kept = np.flatnonzero(rng.random(len(words)) < self._kept[words])[: self._length]
        tokens, segment_ids = np.zeros((2, self._length), np.int32)
        tokens[: len(kept)] = words[kept]
        segment_ids[: len(kept)] = 1 + np.cumsum(np.diff(sentence[kept], prepend=sentence[kept[:1]]) != 0)
        made = {
            "tokens": tokens,
            "segment_ids": segment_ids,
            "window": rng.integers(1, self._sampling.window + 1, self._length, dtype=np.int32),
        }
        if self._noise is not None:
            drawn = rng.random((-(-self._length // BLOCK), self._sampling.negatives))
            made["negatives"] = np.searchsorted(self._noise, drawn, side="right").astype(np.int32)
        return made

    def stack(self, rows: np.ndarray, rngs: Sequence[np.random.Generator]) -> dict[str, np.ndarray]:
        """Several rows, stacked."""
        return stacked([self(int(row), rng) for row, rng in zip(rows, rngs, strict=True)])

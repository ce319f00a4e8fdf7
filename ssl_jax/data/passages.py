"""Rows for sequence-to-sequence pretraining: as many whole consecutive sentences of one document as fit.

Sentences are not divided, because noise permutes whole sentences (BART, arXiv:1910.13461). Rows never mix documents, so
that the rest of a row helps to predict its corrupted parts.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax.data.corpus import TokenizedCorpus
from ssl_jax.data.prepared.documents import decode_text
from ssl_jax.data.tokenizers import SpecialTokens
from ssl_jax.errors import UserError


def batch_shapes(batch_size: int, length: int) -> dict[str, jax.ShapeDtypeStruct]:
    """Shape and dtype of each array of a batch of `Passages`: `[batch, length]`, `present` bool, the others int32.

    `vocab_size`, the number of the tokenizer's ids, is `[batch]`.
    """
    names = ("tokens", "present", "words", "sentences")
    types = {name: jnp.bool_ if name == "present" else jnp.int32 for name in names}
    shapes = {name: jax.ShapeDtypeStruct((batch_size, length), dtype) for name, dtype in types.items()}
    return {**shapes, "vocab_size": jax.ShapeDtypeStruct((batch_size,), jnp.int32)}


class Passages:
    """Rows `[BOS] sentence sentence ... [EOS]` and padding, of a fixed length, from a tokenised corpus.

    A document is cut from its beginning; each row takes whole sentences while they fit. So each token of each document
    is in exactly one row. A sentence longer than a row is cut into pieces that fill rows. Its last piece begins a row,
    where it counts as a sentence.

    An epoch has `len(passages)` rows, the same in every epoch; the loader shuffles them.

    Args:
      corpus: the documents.
      length: tokens per row, including [BOS] and [EOS]; at least 3.
      special: ids of the special tokens; [BOS] and [EOS] are its `cls` and `sep`.
      starts_word: bool `[vocab_size]`, whether a token begins a word.

    Attributes:
      cut: number of sentences that were cut.

    Raises:
      UserError: the corpus has no document, or the length is below 3.
    """

    def __init__(self, corpus: TokenizedCorpus, length: int, special: SpecialTokens, starts_word: np.ndarray):
        if length < 3:
            raise UserError(
                f"a length of {length} is too short for rows of text; expected at least 3 tokens."
            )
        if len(corpus.hashes) == 0:
            raise UserError(f"data source {corpus.name!r}: this split holds no document. Give more text.")
        self._corpus, self._length, self._special, self._starts_word = corpus, length, special, starts_word
        self._begins, self._ends, self.cut = _cut(corpus, length - 2)

    def __len__(self) -> int:
        return len(self._begins)

    def text(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        """The text of a row: the lengths of its sentences, or of their pieces, and its tokens."""
        begin, end = int(self._begins[row]), int(self._ends[row])
        offsets = self._corpus.sentence_offsets
        inside = offsets[np.searchsorted(offsets, begin, side="right") : np.searchsorted(offsets, end)]
        return np.diff(inside, prepend=begin, append=end), self._corpus.tokens[begin:end]

    def __call__(self, row: int, rng: np.random.Generator | None = None) -> dict[str, np.ndarray]:
        """A row in the format of `ssl_jax.transforms.denoising`, all `[length]`. `rng` is not used.

        - `tokens`, int32.
        - `present`, bool: False for padding.
        - `words`, int32: index of the word in the row, -1 for [BOS], [EOS] and padding. Each sentence begins a word.
        - `sentences`, int32: index of the sentence in the row, -1 likewise.
        - `vocab_size`, int32 `[]`: number of the tokenizer's ids.
        """
        begin, end = int(self._begins[row]), int(self._ends[row])
        text = slice(1, end - begin + 1)
        tokens = np.full(self._length, self._special.pad, np.int32)
        tokens[0], tokens[text.stop] = self._special.cls, self._special.sep
        tokens[text] = self._corpus.tokens[begin:end]
        present = np.arange(self._length) <= text.stop
        words, sentences = np.full((2, self._length), -1, np.int32)
        owner = np.searchsorted(self._corpus.sentence_offsets, np.arange(begin, end), side="right")
        sentences[text] = owner - owner[0]
        starts = self._starts_word[tokens[text]] | (np.diff(owner, prepend=-1) > 0)
        words[text] = np.cumsum(starts) - 1
        return {
            "tokens": tokens,
            "present": present,
            "words": words,
            "sentences": sentences,
            "vocab_size": np.asarray(len(self._starts_word), np.int32),
        }


class PreparedPassages:
    """Rows of `Passages` that were prepared, in the order of the files.

    Args:
      records: of `encode_text`, a row each.
      dtype: of the tokens.
      length, special, starts_word: as for `Passages`.
    """

    def __init__(
        self,
        records: Sequence[bytes],
        dtype: type,
        length: int,
        special: SpecialTokens,
        starts_word: np.ndarray,
    ):
        self._records, self._dtype, self._shape = records, dtype, (length, special, starts_word)

    def __len__(self) -> int:
        return len(self._records)

    def __call__(self, row: int, rng: np.random.Generator | None = None) -> dict[str, np.ndarray]:
        """A row, see `Passages`: the only one of a corpus of its sentences. `rng` is not used."""
        return Passages(decode_text([self._records[row]], self._dtype, ""), *self._shape)(0)


def _cut(corpus: TokenizedCorpus, capacity: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Cuts documents into rows.

    Returns:
      the begin and the end of each row in `corpus.tokens`, in the order of the documents, and the number of cut
      sentences.
    """
    offsets = corpus.sentence_offsets
    begin, stop = offsets[corpus.first_sentence], offsets[corpus.end_sentence]
    document = np.arange(len(begin))
    documents, begins, ends = [], [], []
    cut = 0
    while len(begin):  # makes the next row of each unfinished document
        end = np.minimum(offsets[np.searchsorted(offsets, begin + capacity, side="right") - 1], stop)
        too_long = end <= begin
        end = np.where(too_long, begin + capacity, end)
        at_sentence = offsets[np.searchsorted(offsets, begin)] == begin
        cut += int((too_long & at_sentence).sum())  # counted where the sentence begins
        documents.append(document)
        begins.append(begin)
        ends.append(end)
        left = end < stop
        document, begin, stop = document[left], end[left], stop[left]
    order = np.argsort(np.concatenate(documents), kind="stable")
    return np.concatenate(begins)[order], np.concatenate(ends)[order], cut

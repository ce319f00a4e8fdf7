"""Rows of a fixed length filled with whole documents one after the other (RoBERTa, arXiv:1907.11692).

Documents do not see each other: a row numbers the documents in it (`sequence`), attention is masked to equal numbers,
and positions restart with each.
"""

import numpy as np

from ssl_jax.data.corpus import TokenizedCorpus
from ssl_jax.data.tokenizers import SpecialTokens
from ssl_jax.errors import UserError


class PackedDocuments:
    """Rows `[CLS] ... [SEP] ... [SEP] ...` from a tokenised corpus.

    All documents, in an order drawn from `seed` and each followed by [SEP], make one stream; row r is [CLS] and the
    stream's tokens `r * (length - 1)` up to `(r + 1) * (length - 1)`. So the rows hold every token of every document
    exactly once, and only the last row has padding. A document goes on in the next row where one is full; what stands
    there is a sequence of its own, which does not see the beginning.

    `len(packed)` rows make an epoch, the same in every epoch; the loader shuffles them.

    Raises:
      UserError: the corpus holds no document, or the length is below 2.
    """

    def __init__(
        self,
        corpus: TokenizedCorpus,
        length: int,
        special: SpecialTokens,
        starts_word: np.ndarray,
        seed: int = 0,
    ):
        if length < 2:
            raise UserError(
                f"a sequence length of {length} is too short for packed rows; expected at least 2."
            )
        if len(corpus.hashes) == 0:
            raise UserError(f"data source {corpus.name!r}: this split holds no document. Give more text.")
        order = np.random.default_rng(seed).permutation(len(corpus.hashes))
        self._corpus = corpus.select(order)
        self._stream = np.concatenate([[0], np.cumsum(self._corpus.document_lengths + 1)])
        self._length, self._special, self._starts_word = length, special, starts_word

    def __len__(self) -> int:
        return -(-int(self._stream[-1]) // (self._length - 1))

    def __call__(self, row: int, rng: np.random.Generator | None = None) -> dict[str, np.ndarray]:
        """Row: int32 `tokens`, `segments` (zeros), `sequence`, `positions`, `words` `[length]`. It needs no `rng`."""
        begin = row * (self._length - 1)
        end = min(begin + self._length - 1, int(self._stream[-1]))
        first, last = np.searchsorted(self._stream, [begin, end - 1], side="right") - 1
        pieces = [self._piece(document, begin, end) for document in range(first, last + 1)]
        lengths = np.array([len(piece) for piece in pieces])
        lengths[0] += 1  # [CLS]
        ends = np.cumsum(lengths)
        begins = ends - lengths

        tokens = np.full(self._length, self._special.pad, np.int32)
        sequence, positions = np.zeros_like(tokens), np.zeros_like(tokens)
        tokens[0] = self._special.cls
        tokens[1 : ends[-1]] = np.concatenate(pieces)
        sequence[: ends[-1]] = np.repeat(np.arange(len(pieces)) + 1, lengths)
        positions[: ends[-1]] = np.arange(ends[-1]) - np.repeat(begins, lengths)
        starts = self._starts_word[tokens]
        starts[np.maximum(begins, 1)] = True
        special = np.isin(tokens, (self._special.pad, self._special.cls, self._special.sep))
        words = np.where(special, -1, np.cumsum(starts & ~special) - 1)
        return {
            "tokens": tokens,
            "segments": np.zeros_like(tokens),
            "sequence": sequence,
            "positions": positions,
            "words": words.astype(np.int32),
        }

    def _piece(self, document: int, begin: int, end: int) -> np.ndarray:
        """What the stream holds of a document and its [SEP] between two places."""
        start, stop = int(self._stream[document]), int(self._stream[document + 1])
        text = self._corpus.document(document)[max(begin - start, 0) : end - start]
        return np.append(text, self._special.sep) if stop <= end else text

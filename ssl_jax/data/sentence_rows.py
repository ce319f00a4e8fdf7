"""Rows of one sentence each, for BERT on short texts of several languages."""

import numpy as np

from ssl_jax.data.corpus import TokenizedCorpus
from ssl_jax.data.passages import Passages
from ssl_jax.data.ragged import ranges
from ssl_jax.data.special_tokens import SpecialTokens


class SentenceRows:
    """Rows `[CLS] sentence [SEP]` and padding, with the arrays of `PackedDocuments`.

    A sentence longer than a row is cut into pieces that fill rows. So each token of each document is in exactly one
    row. An epoch has `len(rows)` rows, the same in every epoch; the loader shuffles them.

    Args:
      corpus: the documents.
      length: tokens per row, at least 3.
      special: ids of the special tokens.
      starts_word: bool `[vocab_size]`, whether a token begins a word.

    Raises:
      UserError: the corpus has no document, or the length is below 3.
    """

    def __init__(self, corpus: TokenizedCorpus, length: int, special: SpecialTokens, starts_word: np.ndarray):
        sentences = ranges(corpus.first_sentence, corpus.end_sentence - corpus.first_sentence)
        apart = corpus._replace(
            first_sentence=sentences, end_sentence=sentences + 1, hashes=np.zeros(len(sentences), np.uint64)
        )
        self._sentences = Passages(apart, length, special, starts_word)

    def __len__(self) -> int:
        return len(self._sentences)

    def __call__(self, row: int, rng: np.random.Generator | None = None) -> dict[str, np.ndarray]:
        """A row: int32 `tokens`, `token_type_ids` (zeros), `segment_ids` (0 for padding, otherwise 1), `positions` and
        `words`, all `[length]`, and `vocab_size []`. `rng` is not used.
        """
        arrays = self._sentences(row)
        tokens = arrays["tokens"]
        return {
            "tokens": tokens,
            "token_type_ids": np.zeros_like(tokens),
            "segment_ids": arrays["present"].astype(np.int32),
            "positions": np.arange(len(tokens), dtype=np.int32),
            "words": arrays["words"],
            "vocab_size": arrays["vocab_size"],
        }

"""The representation of texts by vectors of their words: CBOW."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ssl_jax.data.tokenizers import Tokenizer
from ssl_jax.runs.text_features import Pooling


class WordVectors(NamedTuple):
    """A table of vectors that represents texts, with the interface of `ssl_jax.runs.text_features.TextEncoder`.

    Attributes:
      vectors: float32 `[ids, width]`.
      tokenizer: of the words.
    """

    vectors: np.ndarray
    tokenizer: Tokenizer

    def embed(self, texts: Sequence[str], pooling: Pooling, batch_size: int) -> np.ndarray:
        """The vectors of texts, float32 `[texts, width]`, in their order.

        Words that the vocabulary does not have are left out; a text without any other is 0. A text of a single word
        has the vector of this word. No text is too long.

        Args:
          texts: at least one.
          pooling: the mean of the words, or the first or the last word.
          batch_size: of no importance here.
        """
        found = np.zeros((len(texts), self.vectors.shape[1]), np.float32)
        for number, ids in enumerate(self.tokenizer.encode_batch(list(texts))):
            known = np.array([token for token in ids if token >= self.tokenizer.special.first_regular], int)
            chosen = {"mean": known, "first": known[:1], "last": known[-1:]}[pooling]
            if len(chosen):
                found[number] = self.vectors[chosen].mean(0)
        return found

"""What counting predicts of the next token: the figures that a language model's loss is read against."""

from typing import NamedTuple

import numpy as np

from ssl_jax.data.corpus import TokenizedCorpus
from ssl_jax.data.tokenizers import SpecialTokens


class _Order(NamedTuple):
    """Counts of the n-grams of one length.

    Attributes:
      grams: int64 `[grams]`, numbers of the n-grams, ascending; see `_numbers`.
      counts: `[grams]`.
      contexts: int64 `[contexts]`, numbers of what precedes the last token, ascending.
      totals: `[contexts]`, sum of the counts after each.
      followers: `[contexts]`, number of different tokens after each.
      discount: taken off every count, between 0 and 1.
    """

    grams: np.ndarray
    counts: np.ndarray
    contexts: np.ndarray
    totals: np.ndarray
    followers: np.ndarray
    discount: float


class NGrams:
    """Interpolated Kneser-Ney n-grams (Kneser and Ney 1995; Chen and Goodman 1998, section 2.7).

    The longest n-grams are counted as they occur, shorter ones by how many different tokens precede them. From every
    count a discount n1 / (n1 + 2 n2) is taken, with n1 and n2 the numbers of n-grams counted once and twice, and given
    to the next shorter context; below the single tokens are all `vocab_size` tokens alike.

    Args:
      corpus: training text. Each document begins after [BOS] and ends with [EOS], which is predicted too.
      order: the longest n-gram. `vocab_size ** order` must be below 2^63.
    """

    def __init__(self, corpus: TokenizedCorpus, order: int, vocab_size: int, special: SpecialTokens):
        self._order, self._size, self._special = order, vocab_size, special
        numbers = self._numbers(corpus)
        grams, counts = np.unique(numbers, return_counts=True)
        self._tables = [_order(grams, counts, vocab_size)]
        for length in range(order - 1, 0, -1):
            # Each n-gram of the next length is one different token before its end.
            grams, counts = np.unique(grams % vocab_size**length, return_counts=True)
            self._tables.insert(0, _order(grams, counts, vocab_size))

    def nats(self, corpus: TokenizedCorpus) -> np.ndarray:
        """-ln of the probability of every token and [EOS] of all documents, float64 `[tokens + documents]`."""
        numbers = self._numbers(corpus)
        probabilities = np.full(len(numbers), 1 / self._size)
        for length, table in enumerate(self._tables, start=1):
            gram = numbers % self._size**length
            context = gram // self._size
            count = _look_up(table.grams, table.counts, gram)
            total = _look_up(table.contexts, table.totals, context)
            followers = _look_up(table.contexts, table.followers, context)
            kept = np.maximum(count - table.discount, 0) + table.discount * followers * probabilities
            probabilities = np.where(total > 0, kept / np.maximum(total, 1), probabilities)
        return -np.log(probabilities)

    def _numbers(self, corpus: TokenizedCorpus) -> np.ndarray:
        """The n-gram that ends at each token and [EOS], as a number whose digits are the tokens: int64."""
        before = [self._special.cls] * (self._order - 1)
        numbers = []
        for index in range(len(corpus.hashes)):
            text = np.concatenate([before, corpus.document(index), [self._special.sep]]).astype(np.int64)
            windows = np.lib.stride_tricks.sliding_window_view(text, self._order)
            numbers.append(windows @ self._size ** np.arange(self._order - 1, -1, -1))
        return np.concatenate(numbers)


def _order(grams: np.ndarray, counts: np.ndarray, size: int) -> _Order:
    contexts, first, followers = np.unique(grams // size, return_index=True, return_counts=True)
    once, twice = (counts == 1).sum(), (counts == 2).sum()
    discount = once / (once + 2 * twice) if once and twice else 0.5
    return _Order(grams, counts, contexts, np.add.reduceat(counts, first), followers, float(discount))


def _look_up(keys: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The value of each wanted key, 0 for those that are not there."""
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[place] == wanted, values[place], 0)

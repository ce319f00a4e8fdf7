"""n-gram baselines: what counts of neighbouring tokens in the training text predict.

A metric of a language model is read beside one of these: `KneserNey` beside the bits per byte of a causal model,
`masked_token_baselines` beside the accuracy of a masked one, and `InfillingBaseline` beside that of a model which
denoises text.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ssl_jax.data.corpus import TokenizedCorpus
from ssl_jax.data.tokenizers import SpecialTokens

_NONE = 0  # stands before, between and after documents; the id of padding, which no text holds


def leading_documents(corpus: TokenizedCorpus, most_tokens: int) -> TokenizedCorpus:
    """The first documents of a corpus, with fewer than so many tokens together; at least one document."""
    ends = np.cumsum(corpus.document_lengths)
    return corpus.select(np.arange(max(1, np.searchsorted(ends, most_tokens))))


class MostFrequent:
    """The most frequent value of each key; of equally frequent ones the smallest.

    Args:
      keys, values: int64 `[examples]`.
      size: number of different values; all are below it.
    """

    def __init__(self, keys: np.ndarray, values: np.ndarray, size: int):
        pairs, counts = np.unique(keys * size + values, return_counts=True)
        order = np.lexsort((-counts, pairs // size))
        self._keys, first = np.unique(pairs[order] // size, return_index=True)
        self._values = pairs[order][first] % size

    def predict(self, keys: np.ndarray, default: np.ndarray) -> np.ndarray:
        """The most frequent value of each of these keys, and the default where a key is new; all of one shape."""
        place = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        return np.where(self._keys[place] == keys, self._values[place], default)


def masked_token_baselines(
    corpus: TokenizedCorpus, tokens: np.ndarray, predicted: np.ndarray
) -> dict[str, float]:
    """Accuracies of n-gram baselines on masked tokens.

    Args:
      corpus: training text, whose tokens are counted.
      tokens: held-out rows, int `[rows, length]`, nothing masked.
      predicted: bool `[rows, length]`, the positions to predict; never the first or last of a row.

    Returns:
      `most_frequent`: the most frequent token everywhere. `left_bigram`: the most frequent token after the true left
      neighbour, or `most_frequent` where that neighbour is new. `two_sided`: the most frequent token between the same
      two true neighbours, or `left_bigram` where they are new.
    """
    text = _stream(corpus)
    size = int(max(text.max(), tokens.max())) + 1
    most_frequent = int(np.bincount(text[text != _NONE]).argmax())

    left, middle, right = text[:-2], text[1:-1], text[2:]
    inside = middle != _NONE
    after = MostFrequent(left[inside], middle[inside], size)
    between = MostFrequent(left[inside] * size + right[inside], middle[inside], size)

    rows, columns = np.nonzero(predicted)
    tokens = tokens.astype(np.int64)
    truth, before, behind = (tokens[rows, columns + shift] for shift in (0, -1, 1))
    by_left = after.predict(before, np.full_like(truth, most_frequent))
    by_both = between.predict(before * size + behind, by_left)
    return {
        "most_frequent": float(np.mean(truth == most_frequent)),
        "left_bigram": float(np.mean(truth == by_left)),
        "two_sided": float(np.mean(truth == by_both)),
    }


def _stream(corpus: TokenizedCorpus) -> np.ndarray:
    """All documents, with `_NONE` before, between and after them."""
    pieces = [np.array([_NONE], np.int64)]
    for index in range(len(corpus.hashes)):
        pieces += [corpus.document(index), pieces[0]]
    return np.concatenate(pieces)


class InfillingBaseline:
    """Fills blanks in text by the most frequent token between, or after, the neighbours of each.

    Args:
      text: int `[tokens]`, training rows one after the other, without padding.
      size: number of different tokens.
    """

    def __init__(self, text: np.ndarray, size: int):
        text = text.astype(np.int64)
        left, middle, right = text[:-2], text[1:-1], text[2:]
        self._size = size
        self._most_frequent = int(np.bincount(text).argmax())
        self._after = MostFrequent(left, middle, size)
        self._between = MostFrequent(left * size + right, middle, size)

    def next_tokens(self, left: np.ndarray) -> np.ndarray:
        """The most frequent token after each of `left [...]`; the most frequent of all after one that is new."""
        return self._after.predict(left.astype(np.int64), np.full(left.shape, self._most_frequent))

    def fill(self, source: Sequence[int], blank: np.ndarray) -> list[int]:
        """The text with one token in every blank place: the most frequent one between its neighbours.

        It is the most frequent one after the left neighbour where the two neighbours were never counted together, or
        where another blank follows.

        Args:
          source: tokens.
          blank: bool `[tokens]`, the places to fill.
        """
        filled = np.array(source, np.int64)
        for place in np.flatnonzero(blank):
            left = filled[max(place - 1, 0)][None]
            guess = self.next_tokens(left)
            if place + 1 < len(filled) and not blank[place + 1]:
                guess = self._between.predict(left * self._size + filled[place + 1], guess)
            filled[place] = guess[0]
        return filled.tolist()


class _Order(NamedTuple):
    """Counts of the n-grams of one length.

    Attributes:
      grams: int64 `[grams]`, numbers of the n-grams, ascending; see `KneserNey._numbers`.
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


class KneserNey:
    """Interpolated Kneser-Ney n-grams (Kneser and Ney 1995; Chen and Goodman 1998, section 2.7).

    The longest n-grams are counted as they occur, shorter ones by how many different tokens precede them. From every
    count a discount n1 / (n1 + 2 n2) is taken, with n1 and n2 the numbers of n-grams counted once and twice, and given
    to the next shorter context; below the unigrams, all `vocab_size` tokens are equally probable.

    Args:
      corpus: training text. Each document begins after [BOS] and ends with [EOS], which is predicted too.
      order: the length of the longest n-gram. `vocab_size ** order` must be below 2^63.
      vocab_size: number of different tokens.
      special: ids of [BOS] and [EOS].
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

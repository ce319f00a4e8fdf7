"""Counts of pieces in the training text: how frequent whole words are, and what n-grams predict in their place."""

from collections.abc import Mapping, Sequence

import grain
import numpy as np

from ssl_jax.data.corpus import TokenizedCorpus
from ssl_jax.data.tokenizers import Tokenizer
from ssl_jax.evals.ngram_baselines import MostFrequent

_BASE = np.uint64(0x9E3779B97F4A7C15)


class WordNgrams:
    """The n-gram baseline of whole words and the frequencies of words, on the rows of `WholeWords`.

    Args:
      corpus: training text, whose pieces are counted.
      tokenizer: of the text.
    """

    def __init__(self, corpus: TokenizedCorpus, tokenizer: Tokenizer):
        self._text = _sentences(corpus, tokenizer.special.sep)
        self._special, self._starts = tokenizer.special, tokenizer.starts_word
        self._size = size = tokenizer.vocab_size
        self._most_frequent = int(np.bincount(self._text[self._text != self._special.sep]).argmax())
        left, middle, right = self._text[:-2], self._text[1:-1], self._text[2:]
        inside = middle != self._special.sep
        self._after = MostFrequent(left[inside], middle[inside], size)
        self._between = MostFrequent(left[inside] * size + right[inside], middle[inside], size)

    def ranks(self, dataset: grain.MapDataset) -> np.ndarray:
        """0 where the baseline predicts the word, else 1, for every row; a `Compute` of `WholeWords.ranks`.

        The pieces are predicted from left to right: each is the most frequent one after the true or the predicted left
        neighbour, the last one the most frequent one between its two neighbours.
        """
        found = np.ones(len(dataset), np.int64)
        for number, (tokens, positions, labels) in enumerate(_rows(dataset)):
            left, right = self._neighbours(tokens, positions)
            guesses = []
            for _ in labels:
                guess = self._after.predict(np.array([left]), np.array([self._most_frequent]))
                if len(guesses) == len(labels) - 1:
                    guess = self._between.predict(np.array([left * self._size + right]), guess)
                left = int(guess[0])
                guesses.append(left)
            found[number] = guesses != labels.tolist()
        return found

    def counts(self, dataset: grain.MapDataset) -> np.ndarray:
        """How often the word of each row is in the training text, with these pieces and as a whole word."""
        words = [tuple(labels.tolist()) for _, _, labels in _rows(dataset)]
        counts = self._count(list(dict.fromkeys(words)))
        return np.array([counts[word] for word in words], np.int64)

    def _neighbours(self, tokens: np.ndarray, positions: np.ndarray) -> tuple[int, int]:
        left, right = int(tokens[positions[0] - 1]), int(tokens[positions[-1] + 1])
        return self._special.sep if left == self._special.cls else left, right

    def _count(self, words: Sequence[tuple[int, ...]]) -> Mapping[tuple[int, ...], int]:
        counts: dict[tuple[int, ...], int] = {}
        ends = np.append(self._starts[self._text], True)  # a word ends before a piece that begins one
        for length in {len(word) for word in words}:
            some = [word for word in words if len(word) == length]
            wanted = _hash_of(np.array(some, np.int64))
            order = np.argsort(wanted)
            wanted = wanted[order]
            windows = np.lib.stride_tricks.sliding_window_view(self._text, length)
            found = _hash_of(windows)[ends[length : length + len(windows)]]
            place = np.minimum(np.searchsorted(wanted, found), len(wanted) - 1)
            hits = np.bincount(place[wanted[place] == found], minlength=len(wanted))
            counts |= {some[i]: int(count) for i, count in zip(order, hits, strict=True)}
        return counts


def _sentences(corpus: TokenizedCorpus, separator: int) -> np.ndarray:
    """The pieces of all sentences, int64, with the separator before, between and after them."""
    parts = [np.array([separator], np.int64)]
    for first, end in zip(corpus.first_sentence, corpus.end_sentence, strict=True):
        offsets = corpus.sentence_offsets[first : end + 1]
        document = corpus.tokens[offsets[0] : offsets[-1]].astype(np.int64)
        parts.append(np.insert(document, offsets[1:] - offsets[0], separator))
    return np.concatenate(parts)


def _hash_of(words: np.ndarray) -> np.ndarray:
    """A 64-bit polynomial hash of each row of `words [words, length]`."""
    result = np.zeros(len(words), np.uint64)
    for column in words.T:
        result = result * _BASE + column.astype(np.uint64) + np.uint64(1)
    return result


def _rows(dataset: grain.MapDataset) -> Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """(tokens, positions, labels) of each row, without what fills up the positions and the labels."""
    rows = []
    for number in range(len(dataset)):
        row = dataset[number]
        real = row["labels"] >= 0
        rows.append((row["tokens"], row["predict_positions"][real], row["labels"][real]))
    return rows

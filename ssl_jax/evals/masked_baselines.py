"""What counting alone predicts of a missing token: the figures that masked-language-model accuracy is read against."""

import numpy as np

from ssl_jax.data.corpus import TokenizedCorpus

_NONE = 0  # stands beyond both ends of a document; the id of padding, which no text holds


def count_baselines(corpus: TokenizedCorpus, tokens: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """Accuracy of predictions by counts over a training corpus.

    - `most_frequent`: always the commonest token.
    - `left_bigram`: the commonest token after the true left neighbour; the commonest of all where it is new.
    - `two_sided`: the commonest token between the same two true neighbours; as `left_bigram` where they are new.

    Args:
      corpus: training text.
      tokens: held-out rows, int `[rows, length]`, nothing masked.
      predicted: bool `[rows, length]`, the positions to predict; never the first or last of a row.
    """
    text = _stream(corpus)
    size = int(max(text.max(), tokens.max())) + 1
    most_frequent = int(np.bincount(text[text != _NONE]).argmax())

    left, middle, right = text[:-2], text[1:-1], text[2:]
    inside = middle != _NONE
    after = Commonest(left[inside], middle[inside], size)
    between = Commonest(left[inside] * size + right[inside], middle[inside], size)

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


class Commonest:
    """The commonest value of each key; the smallest of equally common ones.

    keys, values: int64 `[examples]`. size: number of different values.
    """

    def __init__(self, keys: np.ndarray, values: np.ndarray, size: int):
        pairs, counts = np.unique(keys * size + values, return_counts=True)
        order = np.lexsort((-counts, pairs // size))
        self._keys, first = np.unique(pairs[order] // size, return_index=True)
        self._values = pairs[order][first] % size

    def predict(self, keys: np.ndarray, default: np.ndarray) -> np.ndarray:
        """Of each key its commonest value; the default where the key is new."""
        place = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        return np.where(self._keys[place] == keys, self._values[place], default)

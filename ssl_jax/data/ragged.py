"""Lists of different lengths as flat arrays, and rows of tokens that are padded when they are read."""

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ssl_jax.errors import UserError


class Ragged(NamedTuple):
    """Lists of numbers, one after another.

    Attributes:
      values: int32 `[all values]`.
      offsets: int64 `[lists + 1]`; list i is `values[offsets[i] : offsets[i + 1]]`.
    """

    values: np.ndarray
    offsets: np.ndarray

    @classmethod
    def of(cls, lists: Sequence[Sequence[int]]) -> "Ragged":
        """From lists of integers."""
        offsets = offsets_of(np.fromiter(map(len, lists), np.int64, len(lists)))
        values = np.fromiter(itertools.chain.from_iterable(lists), np.int32, int(offsets[-1]))
        return cls(values, offsets)

    @property
    def lengths(self) -> np.ndarray:
        """Int64 `[lists]`."""
        return np.diff(self.offsets)

    def take(self, lists: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """The values of parts of lists, one after another.

        Args:
          lists: int `[parts]`, the list of each part.
          starts: int `[parts]`, where it starts within the list.
          lengths: int `[parts]`.
        """
        return self.values[ranges(self.offsets[lists] + starts, lengths)]


def offsets_of(lengths: np.ndarray) -> np.ndarray:
    """Where lists of these lengths begin, and where the last one ends, int64 `[lists + 1]`."""
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])


def ranges(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The numbers starts[0], starts[0] + 1, ..., lengths[0] of them, then those from starts[1], and so on.

    Example:
      >>> ranges(np.array([5, 20]), np.array([3, 2])).tolist()
      [5, 6, 7, 20, 21]
    """
    offsets = offsets_of(lengths)
    return np.repeat(np.asarray(starts, np.int64) - offsets[:-1], lengths) + np.arange(offsets[-1])


class Rows:
    """Rows of tokens for BERT, `[CLS] A [SEP]` or `[CLS] A [SEP] B [SEP]`, padded when they are read.

    `rows(i)` is a row of `length` tokens, a function of i alone; use `grain.MapDataset.range(len(rows)).map(rows)`.

    Args:
      tokens: the rows without padding.
      second: int `[rows]`, the position at which B starts; the length of the row if there is no B.
      length: tokens of a padded row.
      pad: id of the padding token.
      labels: by name, arrays with an entry for each row.
      token_labels: by name, arrays with an entry for each of `tokens.values`; padding has -1.

    Attributes:
      lengths: int64 `[rows]`, tokens of each row without padding.
      length: tokens of a padded row.
    """

    def __init__(
        self,
        tokens: Ragged,
        second: np.ndarray,
        length: int,
        pad: int,
        labels: Mapping[str, np.ndarray],
        token_labels: Mapping[str, np.ndarray] | None = None,
    ):
        self._tokens, self._second, self._pad = tokens, second, pad
        self._labels, self._token_labels = labels, token_labels or {}
        self.length, self.lengths = length, tokens.lengths

    def __len__(self) -> int:
        return len(self.lengths)

    def __call__(self, row: int, rng: np.random.Generator | None = None) -> dict[str, np.ndarray]:
        """A row: int32 `tokens`, `token_type_ids` (1 in B), `segment_ids` (0 for padding, otherwise 1), all `[length]`,
        and the labels. `rng` is not used.
        """
        return {
            name: np.asarray(values[0]) for name, values in self.batch(np.array([row]), self.length).items()
        }

    def batch(self, rows: np.ndarray, length: int) -> dict[str, np.ndarray]:
        """Several rows, stacked.

        Args:
          rows: int `[batch]`.
          length: tokens of a padded row, at least the largest of `lengths[rows]`.
        """
        lengths = self.lengths[rows]
        if len(rows) and lengths.max() > length:
            raise ValueError(f"a row of {lengths.max()} tokens does not fit into {length}")
        position = np.arange(length)
        present = position < lengths[:, None]
        source = ranges(self._tokens.offsets[rows], lengths)

        def padded(values: np.ndarray, padding: int) -> np.ndarray:
            result = np.full(present.shape, padding, np.int32)
            result[present] = values[source]
            return result

        return {
            "tokens": padded(self._tokens.values, self._pad),
            "token_type_ids": (present & (position >= self._second[rows][:, None])).astype(np.int32),
            "segment_ids": present.astype(np.int32),
            **{name: values[rows] for name, values in self._labels.items()},
            **{name: padded(values, -1) for name, values in self._token_labels.items()},
        }

    def resized(self, length: int) -> "Rows":
        """The same rows with another padding.

        Raises:
          UserError: a row is longer.
        """
        if len(self) and self.lengths.max() > length:
            raise UserError(
                f"a length of {length} tokens: a row has {self.lengths.max()}; expected at least that."
            )
        return Rows(self._tokens, self._second, length, self._pad, self._labels, self._token_labels)

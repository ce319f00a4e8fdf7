"""Batches of rows of similar length, padded to one of a few lengths, each of which is compiled once."""

import functools
from collections.abc import Sequence

import numpy as np

from ssl_jax.data.ragged import Rows
from ssl_jax.errors import UserError

LENGTHS = (32, 64, 128, 256, 384, 512)
"""Usual lengths of padded rows."""


def lengths_up_to(longest: int) -> tuple[int, ...]:
    """The usual lengths below the longest one, and that.

    Example:
      >>> lengths_up_to(100)
      (32, 64, 100)
    """
    return (*(length for length in LENGTHS if length < longest), longest)


def padded_length(lengths: np.ndarray, choices: Sequence[int] = LENGTHS) -> int:
    """The smallest of the lengths that all rows fit into.

    Args:
      lengths: int `[rows]`.
      choices: lengths of padded rows.

    Raises:
      UserError: a row is longer than all of them.
    """
    longest = int(lengths.max(initial=0))
    fitting = [choice for choice in sorted(choices) if choice >= longest]
    if not fitting:
        raise UserError(
            f"lengths {', '.join(map(str, choices))}: a row has {longest} tokens; expected a length of at least that."
        )
    return fitting[0]


class BucketedBatches:
    """Examples for training, in an endless order in which the rows of a batch have similar lengths.

    Example i belongs to batch i // batch_size, and depends only on i and the seed: use
    `grain.MapDataset.range(steps * batch_size).map(examples)`. In each epoch, rows are shuffled and divided into
    batches by length. The rows of a length that do not fill a batch join those of the next length. Those left at the
    end are completed by other rows of the epoch, so that each row occurs at least once.

    Args:
      rows: the rows.
      choices: lengths of padded rows; the longest row must fit into the largest.
      batch_size: rows of a batch.
      seed: of the order.

    Attributes:
      batches: number of batches of an epoch.

    Raises:
      UserError: a row is longer than all lengths.
    """

    def __init__(self, rows: Rows, choices: Sequence[int], batch_size: int, seed: int):
        padded_length(rows.lengths, choices)
        self._rows, self._batch_size, self._seed = rows, batch_size, seed
        self._choices = np.array(sorted(choices))
        self._bucket = np.searchsorted(self._choices, rows.lengths)
        self.batches = -(-len(rows) // batch_size)
        self._epoch = functools.lru_cache(maxsize=4)(self._shuffled)  # batches of two epochs are read at once

    def __call__(self, example: int) -> dict[str, np.ndarray]:
        """An example: a row of `rows`, as long as the others of its batch."""
        number, within = divmod(int(example), self._batch_size)
        epoch, batch = divmod(number, self.batches)
        lengths, order = self._epoch(epoch)
        values = self._rows.batch(order[batch, within : within + 1], int(lengths[batch]))
        return {name: np.asarray(value[0]) for name, value in values.items()}

    def _shuffled(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """The length of each batch of an epoch, and its rows `[batches, batch]`."""
        rng = np.random.default_rng((self._seed, epoch))
        shuffled = rng.permutation(len(self._rows))
        by_length = shuffled[np.argsort(self._bucket[shuffled], kind="stable")]
        missing = self.batches * self._batch_size - len(by_length)
        order = np.concatenate([by_length, np.resize(shuffled, missing)]).reshape(self.batches, -1)
        lengths = self._choices[self._bucket[order].max(axis=1)]
        batches = rng.permutation(self.batches)
        return lengths[batches], order[batches]

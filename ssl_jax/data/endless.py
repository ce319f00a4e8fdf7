"""What data sets have in common that have no end and are read by the batch."""

import abc
import sys

import grain
import numpy as np

Example = dict[str, np.ndarray]


class Endless(grain.MapDataset):
    """Examples without end, of which one is read as a batch of one.

    Attributes:
      at_once: see `ssl_jax.training.loading.Stacked`.
    """

    at_once: bool

    def __len__(self) -> int:
        return sys.maxsize

    def __getitem__(self, index: int | slice) -> "Example | grain.MapDataset":
        if isinstance(index, slice):
            return self.slice(index)
        return {name: np.asarray(array[0]) for name, array in self.stack(np.array([index])).items()}

    @abc.abstractmethod
    def stack(self, places: np.ndarray) -> Example:
        """The examples at these places, stacked."""

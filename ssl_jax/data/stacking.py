"""Several examples as one batch."""

from collections.abc import Mapping, Sequence

import numpy as np


def stacked(examples: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Each array of the examples with a leading axis for them.

    Args:
      examples: at least one, all with the same names and shapes.
    """
    return {name: np.stack([example[name] for example in examples]) for name in examples[0]}

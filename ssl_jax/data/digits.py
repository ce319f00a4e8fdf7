"""The 1,797 handwritten digits of scikit-learn: real images that need no download and load in milliseconds."""

from importlib.util import find_spec
from pathlib import Path

import jax
import numpy as np

from ssl_jax.errors import UserError

HELDOUT_EVERY = 6


def batch_shapes(batch_size: int) -> dict[str, jax.ShapeDtypeStruct]:
    """Shape and dtype of each array of a batch of `Digits`."""
    return {
        "image": jax.ShapeDtypeStruct((batch_size, 64), np.float32),
        "label": jax.ShapeDtypeStruct((batch_size,), np.int32),
    }


class Digits:
    """A random-access source of {"image": float32 `[64]` in [0, 1], "label": int32 `[]`}.

    Args:
      heldout: True for the held-out images, every sixth one; False for the training images.

    Raises:
      UserError: scikit-learn, which has the images, is not installed.
    """

    def __init__(self, *, heldout: bool) -> None:
        # The file behind `sklearn.datasets.load_digits`; importing that takes a second.
        package = find_spec("sklearn")
        if package is None:  # as in the environment of ssl_jax.prepare
            raise UserError(
                "data source 'digits': is part of scikit-learn, which is not installed here. Install what "
                "requirements.txt lists, or give another --data.source."
            )
        file = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
        table = np.loadtxt(file, dtype=np.float32, delimiter=",")
        images, labels = table[:, :-1], table[:, -1]
        chosen = (np.arange(len(labels)) % HELDOUT_EVERY == 0) == heldout
        self._images = images[chosen] / 16
        self._labels = labels[chosen].astype(np.int32)

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        return {"image": self._images[index], "label": self._labels[index]}

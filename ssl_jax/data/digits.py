"""The 1,797 handwritten digits that scikit-learn carries: real images, offline, in milliseconds."""

import numpy as np
from sklearn.datasets import load_digits

HELDOUT_EVERY = 6


class Digits:
    """A random-access source of {"image": float32 [64] in [0, 1], "label": int32}.

    heldout: the sixth that is never trained on, instead of the rest.
    """

    def __init__(self, *, heldout: bool) -> None:
        images, labels = load_digits(return_X_y=True)
        chosen = (np.arange(len(labels)) % HELDOUT_EVERY == 0) == heldout
        self._images = (images[chosen] / 16).astype(np.float32)
        self._labels = labels[chosen].astype(np.int32)

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        return {"image": self._images[index], "label": self._labels[index]}

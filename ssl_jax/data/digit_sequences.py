"""The embedded digits as sequences: the grey levels of their pixels, row by row."""

import numpy as np

from ssl_jax.data.digits import Digits
from ssl_jax.data.labelled_text import LabelledText

LEVELS = "abcd"
"""One symbol for each grey level, from background to ink."""


def digit_sequences() -> tuple[list[LabelledText], list[LabelledText]]:
    """The (training, held-out) digits as sequences of 56 letters.

    The leftmost of the eight columns is left out: it is empty in 99 % of the images, and 64 symbols with [CLS] and
    [SEP] would not fit into the 64 positions of the small BERT.
    """
    return _sequences(heldout=False), _sequences(heldout=True)


def _sequences(*, heldout: bool) -> list[LabelledText]:
    digits = Digits(heldout=heldout)
    examples = []
    for number in range(len(digits)):
        digit = digits[number]
        pixels = digit["image"].reshape(8, 8)[:, 1:].ravel()
        levels = np.minimum((pixels * len(LEVELS)).astype(int), len(LEVELS) - 1)
        part = "held-out" if heldout else "training"
        text = "".join(LEVELS[level] for level in levels)
        examples.append(LabelledText(text, label=str(digit["label"]), place=f"{part} digit {number}"))
    return examples

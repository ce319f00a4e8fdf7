"""The inverses of the noises for sequence-to-sequence pretraining: the text of a source and the decoder's output.

There is one for each noise: `whole_text` for `noise_batch` (BART), `filled_fragment` for `mask_fragment_batch` (MASS)
and `filled_spans` for `corrupt_spans_batch` (T5). They process one row, on the host, in NumPy, and accept any output of
a model. From the targets of a row, they return the original row.

Example:
  >>> source, blank = np.array([10, 99, 13, 98, 3]), np.array([False, True, False, True, False])
  >>> filled_spans(source, blank, np.array([99, 11, 12, 98, 14, 97]), sentinels=(99, 98, 97))
  [10, 11, 12, 13, 14, 3]
"""

from collections.abc import Callable, Sequence

import numpy as np

Inverse = Callable[[np.ndarray, np.ndarray, np.ndarray], list[int]]
"""`(source, blank, written) -> text`.

Args:
  source: int `[tokens]`, the corrupted input of the encoder, without padding.
  blank: bool `[tokens]`, True for tokens of the source that mark a gap.
  written: int `[new]`, the output of the decoder, without padding.
"""


def whole_text(source: np.ndarray, blank: np.ndarray, written: np.ndarray) -> list[int]:
    """For BART, whose decoder predicts the whole text; see `Inverse`."""
    return written.tolist()


def filled_fragment(source: np.ndarray, blank: np.ndarray, written: np.ndarray) -> list[int]:
    """For MASS, whose decoder predicts one token per mask, in order; see `Inverse`.

    Masks without a token are removed, and tokens without a mask are ignored.
    """
    places = np.flatnonzero(blank)
    filled = source.copy()
    filled[places[: len(written)]] = written[: len(places)]
    return np.delete(filled, places[len(written) :]).tolist()


def filled_spans(
    source: np.ndarray, blank: np.ndarray, written: np.ndarray, *, sentinels: Sequence[int]
) -> list[int]:
    """For T5, whose decoder predicts each sentinel followed by its span; see `Inverse`.

    If the decoder does not predict a sentinel, its span is empty. Sentinels that the source does not have, such as the
    final one, are ignored; the text after them belongs to the previous span.

    Args:
      source, blank, written: see `Inverse`.
      sentinels: all sentinels.
    """
    spans: dict[int, list[int]] = {token: [] for token in source[blank].tolist()}
    span: list[int] = []
    for token in written.tolist():
        if token in spans:
            span = spans[token]
        elif token not in sentinels:
            span.append(token)
    pieces = zip(source.tolist(), blank, strict=True)
    return [token for place, hidden in pieces for token in (spans[place] if hidden else [place])]

"""The inverses of the noises for sequence-to-sequence pretraining: whole text from a source and what a decoder wrote.

One for each noise: `whole_text` for `noise_batch` (BART), `filled_fragment` for `mask_fragment_batch` (MASS) and
`filled_spans` for `corrupt_spans_batch` (T5). They work on one row, on the host, in NumPy, and accept whatever a model
writes. From its own targets a row comes back as it was:

    >>> source, blank = np.array([10, 99, 13, 98, 3]), np.array([False, True, False, True, False])
    >>> filled_spans(source, blank, np.array([99, 11, 12, 98, 14, 97]), sentinels=(99, 98, 97))
    [10, 11, 12, 13, 14, 3]
"""

from collections.abc import Callable, Sequence

import numpy as np

Inverse = Callable[[np.ndarray, np.ndarray, np.ndarray], list[int]]
"""`(source, blank, written) -> text`.

Args:
  source: int `[tokens]`, the corrupted row that the encoder reads, without padding.
  blank: bool `[tokens]`, the tokens of the source that stand for missing text.
  written: int `[new]`, the tokens that the decoder wrote, without padding.
"""


def whole_text(source: np.ndarray, blank: np.ndarray, written: np.ndarray) -> list[int]:
    """For BART, whose decoder writes the whole text; see `Inverse`."""
    return written.tolist()


def filled_fragment(source: np.ndarray, blank: np.ndarray, written: np.ndarray) -> list[int]:
    """For MASS, whose decoder writes a token for each mask, in order; see `Inverse`.

    Masks without a token are left out, and so are tokens without a mask.
    """
    places = np.flatnonzero(blank)
    filled = source.copy()
    filled[places[: len(written)]] = written[: len(places)]
    return np.delete(filled, places[len(written) :]).tolist()


def filled_spans(
    source: np.ndarray, blank: np.ndarray, written: np.ndarray, *, sentinels: Sequence[int]
) -> list[int]:
    """For T5, whose decoder writes each sentinel and then the tokens of its span; see `Inverse`.

    The span of a sentinel that the decoder does not write is empty. Sentinels that the source does not have, such as
    the final one, are left out with what follows them.

    Args:
      source, blank, written: see `Inverse`.
      sentinels: all sentinels.
    """
    spans: dict[int, list[int]] = {}
    span: list[int] = []
    for token in written.tolist():
        if token in sentinels:
            span = spans.setdefault(token, [])
        else:
            span.append(token)
    pieces = zip(source.tolist(), blank, strict=True)
    return [token for place, hidden in pieces for token in (spans.get(place, []) if hidden else [place])]

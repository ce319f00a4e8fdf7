"""Overlapping windows over texts that are longer than a row, so that every token has context on both sides."""

from typing import NamedTuple

import numpy as np

from ssl_jax.data.ragged import offsets_of, ranges
from ssl_jax.errors import UserError


class Windows(NamedTuple):
    """Parts of texts, in the order of texts.

    Attributes:
      text: int64 `[windows]`, index of the text.
      start: int64 `[windows]`, first token.
      stop: int64 `[windows]`, after the last token.
    """

    text: np.ndarray
    start: np.ndarray
    stop: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each window, int64 `[windows]`."""
        return self.stop - self.start


def check_step(step: int, capacity: int) -> None:
    """Checks that windows skip no token.

    Args:
      step: tokens from the start of a window to the start of the next.
      capacity: tokens of a window.

    Raises:
      UserError: a window has no room, or the step is larger than a window.
    """
    if capacity < 1:
        raise UserError(
            "the rows are too short: beside the special tokens and the question there is no room for text; give a "
            "larger length."
        )
    if not 1 <= step <= capacity:
        raise UserError(
            f"a step of {step} tokens between windows of {capacity} tokens skips text; expected 1 to {capacity}. "
            "(The step is what is new in each window, as in BERT's run_squad; other programs state the overlap.)"
        )


def cut_windows(lengths: np.ndarray, capacity: np.ndarray | int, step: int) -> Windows:
    """Windows that start every `step` tokens, until one reaches the end of the text. A short text has one window.

    Args:
      lengths: int `[texts]`, tokens of each text.
      capacity: tokens of a window, one number or one for each text.
      step: at most the capacity; see `check_step`.
    """
    lengths = np.asarray(lengths, np.int64)
    capacity = np.broadcast_to(np.asarray(capacity, np.int64), lengths.shape)
    counts = 1 + -(-np.maximum(lengths - capacity, 0) // step)
    text = np.repeat(np.arange(len(lengths)), counts)
    start = step * (np.arange(len(text)) - np.repeat(offsets_of(counts)[:-1], counts))
    return Windows(text, start, np.minimum(start + capacity[text], lengths[text]))


def has_most_context(windows: Windows, lengths: np.ndarray) -> np.ndarray:
    """Whether a token of a window has more context there than in any other window of its text.

    Context is the smaller of the numbers of tokens to the left and to the right, plus a hundredth of the length of the
    window, as in BERT's run_squad; of equal ones the first counts.

    Args:
      windows: of the texts.
      lengths: int `[texts]`, tokens of each text.

    Returns:
      Bool `[tokens of all windows]`, one window after another; true for exactly one of the copies of each token.
    """
    window = np.repeat(np.arange(len(windows.text)), windows.lengths)
    place = ranges(windows.start, windows.lengths)
    token = offsets_of(lengths)[windows.text[window]] + place
    left, right = place - windows.start[window], windows.stop[window] - 1 - place
    context = np.minimum(left, right) + 0.01 * windows.lengths[window]
    most = np.full(int(np.sum(lengths)), -np.inf)
    np.maximum.at(most, token, context)
    candidates = np.flatnonzero(context == most[token])
    _, first = np.unique(token[candidates], return_index=True)
    chosen = np.zeros(len(token), bool)
    chosen[candidates[first]] = True
    return chosen

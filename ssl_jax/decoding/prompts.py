"""Prompts of different lengths as one array, padded on the right, as generation reads them."""

from collections.abc import Sequence

import numpy as np


def bucket_length(length: int, limit: int) -> int:
    """The padded length of a prompt: the next power of two, at least 16 and at most `limit`.

    Programs are compiled once per shape. Prompts of any length up to `limit` then have only a few shapes.
    """
    return min(max(16, 1 << (length - 1).bit_length()), max(limit, length))


def pad_right(prompts: Sequence[Sequence[int]], length: int, pad: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Pads lists of tokens on the right: int32 `[batch, length]`, and their lengths int32 `[batch]`."""
    rows = np.full((len(prompts), length), pad, np.int32)
    for row, prompt in zip(rows, prompts, strict=True):
        row[: len(prompt)] = prompt
    return rows, np.array([len(prompt) for prompt in prompts], np.int32)


def move_padding_right(tokens: np.ndarray, present: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Moves padding from the left, or from anywhere, to the right.

    Args:
      tokens: int `[batch, length]`.
      present: `[batch, length]`, zero for padding (an attention mask).

    Returns:
      tokens of the same shape with padding last, and the number of other tokens, int32 `[batch]`.
    """
    present = np.asarray(present) != 0
    order = np.argsort(~present, axis=1, kind="stable")
    return np.take_along_axis(np.asarray(tokens), order, axis=1), present.sum(1).astype(np.int32)

"""Prompts of different lengths as one array, padded on the right as generation reads them."""

from collections.abc import Sequence

import numpy as np


def bucket(length: int, limit: int) -> int:
    """The length that `length` is padded to: the next power of two from 16 on, at most `limit`.

    Programs are compiled once per shape; prompts of any length up to `limit` then have a few shapes only.
    """
    return min(max(16, 1 << (length - 1).bit_length()), max(limit, length))


def padded(prompts: Sequence[Sequence[int]], length: int, pad: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Token lists as int32 `[batch, length]`, padded on the right, and their lengths int32 `[batch]`."""
    rows = np.full((len(prompts), length), pad, np.int32)
    for row, prompt in zip(rows, prompts, strict=True):
        row[: len(prompt)] = prompt
    return rows, np.array([len(prompt) for prompt in prompts], np.int32)


def flush_left(tokens: np.ndarray, present: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Prompts padded on the left, or anywhere, as if they were padded on the right.

    Args:
        tokens: int `[batch, length]`.
        present: `[batch, length]`, zero for padding (an attention mask).

    Returns:
        tokens of the same shape, those that are present first, in their order; and their number, int32 `[batch]`.
    """
    present = np.asarray(present) != 0
    order = np.argsort(~present, axis=1, kind="stable")
    return np.take_along_axis(np.asarray(tokens), order, axis=1), present.sum(1).astype(np.int32)

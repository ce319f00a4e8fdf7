"""How much of corrupted text came back when it was denoised."""

from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import NamedTuple

import numpy as np

Tokens = Sequence[int]


class Recovery(NamedTuple):
    """Shares of a set of rows.

    Attributes:
      exact: rows that equal their original, token for token.
      tokens: tokens that stand where they belong: those that an alignment of denoised and original text matches, of
        the longer of the two.
      hidden: of the original tokens that the corrupted text does not show in their order, those that came back.
    """

    exact: float
    tokens: float
    hidden: float


def recovery(shown: Sequence[Tokens], denoised: Sequence[Tokens], originals: Sequence[Tokens]) -> Recovery:
    """Compares denoised rows with their originals; no row holds special tokens.

    Args:
      shown: of each row the tokens that the corrupted text has.
      denoised: the rows as a model or a baseline writes them.
      originals: the rows as they were.

    Example:
      >>> recovery([[1, 4]], [[1, 2, 4]], [[1, 2, 3, 4]])
      Recovery(exact=0.0, tokens=0.75, hidden=0.5)
    """
    exact = tokens = longest = hidden = found = 0
    for left, written, original in zip(shown, denoised, originals, strict=True):
        kept, right = _matched(left, original), _matched(written, original)
        exact += list(written) == list(original)
        tokens += int(right.sum())
        longest += max(len(written), len(original))
        hidden += int((~kept).sum())
        found += int((right & ~kept).sum())
    return Recovery(exact / len(originals), tokens / max(longest, 1), found / max(hidden, 1))


def _matched(tokens: Tokens, original: Tokens) -> np.ndarray:
    """bool `[original]`: the tokens of the original that an alignment finds in `tokens`."""
    matched = np.zeros(len(original), bool)
    matcher = SequenceMatcher(None, list(tokens), list(original), autojunk=False)
    for block in matcher.get_matching_blocks():
        matched[block.b : block.b + block.size] = True
    return matched

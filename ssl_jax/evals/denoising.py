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
      undone: the share of the corruption that is undone: 1 less the edits from the denoised text to the original,
        divided by those from the tokens that the corrupted text shows. An edit inserts, deletes or replaces a token.
        Text that is left as it was corrupted has 0, text that is farther from the original less.
    """

    exact: float
    tokens: float
    hidden: float
    undone: float


def recovery(shown: Sequence[Tokens], denoised: Sequence[Tokens], originals: Sequence[Tokens]) -> Recovery:
    """Compares denoised rows with their originals; no row holds special tokens.

    Args:
      shown: of each row the tokens that the corrupted text has.
      denoised: the rows as a model or a baseline writes them.
      originals: the rows as they were.

    Example:
      >>> recovery([[1, 4]], [[1, 2, 4]], [[1, 2, 3, 4]])
      Recovery(exact=0.0, tokens=0.75, hidden=0.5, undone=0.5)
    """
    exact = tokens = longest = hidden = found = before = after = 0
    for left, written, original in zip(shown, denoised, originals, strict=True):
        kept, right = _matched(left, original), _matched(written, original)
        exact += list(written) == list(original)
        tokens += int(right.sum())
        longest += max(len(written), len(original))
        hidden += int((~kept).sum())
        found += int((right & ~kept).sum())
        before += edits(left, original)
        after += edits(written, original)
    return Recovery(
        exact / len(originals),
        tokens / max(longest, 1),
        found / max(hidden, 1),
        (before - after) / max(before, 1),
    )


def edits(tokens: Tokens, original: Tokens) -> int:
    """The least number of insertions, deletions and replacements that turn `tokens` into `original` (Levenshtein 1966).

    Example:
      >>> edits([1, 4], [1, 2, 3, 4]), edits([1, 5, 4], [1, 2, 3, 4]), edits([1, 2, 3, 4, 4], [1, 2, 3, 4])
      (2, 2, 1)
    """
    original = np.asarray(original, np.int64)
    places = np.arange(len(original) + 1)
    row = places  # edits from the first tokens, none yet, to each beginning of the original
    for token in tokens:
        least = np.minimum(row[1:] + 1, row[:-1] + (original != token))
        least = np.concatenate([row[:1] + 1, least])
        row = np.minimum.accumulate(least - places) + places  # any number of insertions after one of these
    return int(row[-1])


def _matched(tokens: Tokens, original: Tokens) -> np.ndarray:
    """bool `[original]`: the tokens of the original that an alignment finds in `tokens`."""
    matched = np.zeros(len(original), bool)
    matcher = SequenceMatcher(None, list(tokens), list(original), autojunk=False)
    for block in matcher.get_matching_blocks():
        matched[block.b : block.b + block.size] = True
    return matched

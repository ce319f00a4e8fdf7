"""Which characters of a text each of its tokens stands for."""

import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Encoded(NamedTuple):
    """The tokens of a text.

    Attributes:
      ids: of the tokens.
      offsets: int `[tokens, 2]`, where the characters of each token start and end in the text as it was given. White
        space is not part of a token; a token that stands for white space alone is empty. Tokens that divide one
        character (an emoji into bytes, a ligature into letters) all have this character.
    """

    ids: list[int]
    offsets: np.ndarray


def encoded(text: str, ids: list[int], offsets: Sequence[tuple[int, int]], only_space: np.ndarray) -> Encoded:
    """The tokens of a text, from the offsets that a tokenizer's library gives.

    Libraries count a space before a word as a part of the word, give a character that became several tokens to the last
    of them, and leave out the accents that they removed.

    Args:
      text: what was tokenised.
      ids: of the tokens.
      offsets: by the library, in characters.
      only_space: bool `[tokens]`, whether a token stands for white space alone.
    """
    spans = np.array(offsets, np.int64).reshape(-1, 2)
    starts, ends = spans[:, 0], spans[:, 1]
    space = np.fromiter(map(str.isspace, text), bool, len(text))
    places = np.arange(len(text) + 1)
    if space.any():
        # Of each place, the nearest one after which (and before which) there is no white space.
        following = np.minimum.accumulate(np.where(np.append(~space, True), places, len(text))[::-1])[::-1]
        preceding = np.maximum.accumulate(np.where(np.append(True, ~space), places, 0))
        starts = np.where(only_space, ends, np.minimum(following[starts], np.maximum(starts, ends)))
        ends = np.maximum(starts, preceding[ends])
    ends = np.where((ends == starts) & ~only_space, np.minimum(starts + 1, len(text)), ends)
    if not text.isascii():
        ends = _with_marks(text, starts, ends)
    return Encoded(ids, np.stack([starts, ends], axis=1))


def _with_marks(text: str, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """The ends, moved behind the combining marks that follow a token and belong to no token."""
    marks = {character for character in set(text) if unicodedata.category(character) in ("Mn", "Me")}
    if not marks:
        return ends
    place = np.arange(len(text) + 1)
    is_mark = np.append(np.fromiter((character in marks for character in text), bool, len(text)), False)
    after = np.minimum.accumulate(np.where(is_mark, len(text), place)[::-1])[::-1]
    next_start = np.append(starts[1:], len(text))
    return np.where(ends > starts, np.maximum(ends, np.minimum(after[ends], next_start)), ends)

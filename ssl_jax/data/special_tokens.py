"""Ids of the tokens that stand for no text, in the layouts of the tokenizers that ssl_jax knows."""

from typing import NamedTuple


class SpecialTokens(NamedTuple):
    """Ids of the tokens that no text produces; ids from `first_regular` on are ordinary.

    In the byte-level vocabularies of other libraries, whose ids come from their files, a special token may also stand
    after `first_regular`, and one id may have several of these parts.
    """

    pad: int
    unk: int
    cls: int
    sep: int
    mask: int
    first_regular: int


PIECES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
SENTENCEPIECE = SpecialTokens(0, 1, 2, 3, 4, 5)
WORDPIECE = SpecialTokens(0, 100, 101, 102, 103, 104)

"""Ids of special tokens in the layouts of the supported tokenizers."""

from typing import NamedTuple


class SpecialTokens(NamedTuple):
    """Ids of the special tokens, which are never produced by encoding text.

    In vocabularies of other libraries, whose ids come from their files, special tokens may also be at or above
    `first_regular`, and one id may have several of these roles.

    Attributes:
      pad: padding.
      unk: unknown token.
      cls: begins a row.
      sep: ends a segment or a document.
      mask: mask token.
      first_regular: first id of an ordinary token.
    """

    pad: int
    unk: int
    cls: int
    sep: int
    mask: int
    first_regular: int

    @property
    def has_mask(self) -> bool:
        """Whether the mask token has no other role; a vocabulary that was not made for masking has none of its own."""
        return self.mask not in (self.pad, self.unk, self.cls, self.sep)


PIECES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
SENTENCEPIECE = SpecialTokens(0, 1, 2, 3, 4, 5)
WORDPIECE = SpecialTokens(0, 100, 101, 102, 103, 104)

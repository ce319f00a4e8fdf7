"""The artificial language of multilingual experiments: the text of another language, with other ids.

See K et al. 2020 (arXiv:1912.07840). Special tokens and [UNK] keep their ids.
"""

from collections.abc import Sequence

import numpy as np
from etils import epath

from ssl_jax.data.offsets import Encoded
from ssl_jax.data.special_tokens import SpecialTokens
from ssl_jax.data.tokenizers import Tokenizer
from ssl_jax.errors import UserError


def shifted(tokens: np.ndarray, shift: int, special: SpecialTokens) -> np.ndarray:
    """Token ids in a shifted language: those of pieces are larger by `shift`.

    Example:
      >>> from ssl_jax.data.special_tokens import SENTENCEPIECE
      >>> shifted(np.array([2, 7, 3, 0]), 100, SENTENCEPIECE).tolist()
      [2, 107, 3, 0]
    """
    return np.where(tokens >= special.first_regular, tokens + shift, tokens).astype(tokens.dtype)


class ShiftedTokenizer:
    """A `Tokenizer` of a shifted language. Its files, fingerprint and number of pieces are those of the one below it.

    Args:
      tokenizer: of the text.
      shift: added to the ids of its pieces.
    """

    def __init__(self, tokenizer: Tokenizer, shift: int):
        self._tokenizer, self._shift = tokenizer, shift
        self.vocab_size, self.special, self.kind = tokenizer.vocab_size, tokenizer.special, tokenizer.kind
        self.fingerprint = tokenizer.fingerprint
        self.folds_case, self.byte_fallback = tokenizer.folds_case, tokenizer.byte_fallback
        self.keeps_text = tokenizer.keeps_text
        # By id, up to the largest one.
        self.starts_word = np.concatenate([np.resize(tokenizer.starts_word, shift), tokenizer.starts_word])

    def encode(self, text: str) -> list[int]:
        return self._add(self._tokenizer.encode(text))

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        return [self._add(ids) for ids in self._tokenizer.encode_batch(texts)]

    def encode_with_offsets(self, texts: Sequence[str]) -> list[Encoded]:
        found = self._tokenizer.encode_with_offsets(texts)
        return [Encoded(self._add(one.ids), one.offsets) for one in found]

    def decode(self, ids: Sequence[int]) -> str:
        return self._tokenizer.decode(self._subtract(ids))

    def pieces(self, ids: Sequence[int]) -> list[str]:
        return self._tokenizer.pieces(self._subtract(ids))

    def piece_bytes(self, ids: Sequence[int]) -> list[bytes]:
        return self._tokenizer.piece_bytes(self._subtract(ids))

    def save(self, folder: epath.Path) -> epath.Path:
        return self._tokenizer.save(folder)

    def to_json(self) -> str:
        raise UserError("the tokenizer of a shifted language has no form in the tokenizers library.")

    def _add(self, ids: Sequence[int]) -> list[int]:
        first = self.special.first_regular
        return [token + self._shift if token >= first else token for token in ids]

    def _subtract(self, ids: Sequence[int]) -> list[int]:
        return [int(token) - self._shift if token >= self._shift else int(token) for token in ids]

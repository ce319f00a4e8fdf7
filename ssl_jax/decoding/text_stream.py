"""Decodes tokens to text during generation."""

import codecs
from collections.abc import Iterable, Sequence

from ssl_jax.data.tokenizers import Tokenizer


class TextStream:
    """Decodes tokens incrementally. A character that spans several tokens is returned with its last token.

    Args:
      tokenizer: tokenizer of the model.
      before: the text that the tokens continue. If it is empty or ends with a space, the space before the first word is
        omitted.
      blanks: tokens that mark gaps, see `Decoder`. Those that the tokenizer does not know are decoded as " <n>".
    """

    def __init__(self, tokenizer: Tokenizer, before: str, blanks: Sequence[int] = ()) -> None:
        self._tokenizer, self._decoder = tokenizer, codecs.getincrementaldecoder("utf-8")(errors="replace")
        known = range(tokenizer.vocab_size)
        self._names = {token: f" <{n}>".encode() for n, token in enumerate(blanks) if token not in known}
        self._drop_space = not before or before[-1].isspace()

    def __call__(self, tokens: Iterable[int], *, last: bool = False) -> str:
        """The text of these tokens.

        Args:
          tokens: the tokens after those of the previous calls.
          last: whether no more tokens follow; an incomplete character is then decoded as �.
        """
        tokens = list(tokens)
        pieces = iter(self._tokenizer.piece_bytes([token for token in tokens if token not in self._names]))
        joined = b"".join(self._names[token] if token in self._names else next(pieces) for token in tokens)
        text = self._decoder.decode(joined, final=last)
        if text and self._drop_space:
            text, self._drop_space = text.removeprefix(" "), False
        return text

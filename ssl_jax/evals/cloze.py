"""Facts as sentences with a blank: the rank of the right word (Petroni et al. 2019, arXiv:1909.01066)."""

from typing import NamedTuple

import numpy as np

from ssl_jax.data.tokenizers import Tokenizer
from ssl_jax.data.tsv import Tsv
from ssl_jax.errors import UserError
from ssl_jax.evals.whole_word_masking import Compute, WholeWords

BLANK = "[MASK]"


class ClozeScore(NamedTuple):
    """How a model fills the blanks.

    Attributes:
      precision: share of the answers that are the most probable piece.
      mean_reciprocal_rank: mean of 1 / the place of the answer among all pieces, from 1.
    """

    precision: float
    mean_reciprocal_rank: float


class ClozeText(NamedTuple):
    """A text with its blank filled.

    Attributes:
      text: with the answer in the place of the blank.
      start, stop: where the answer is, in characters.
    """

    text: str
    start: int
    stop: int


def read_cloze(file: str) -> list[ClozeText]:
    """The rows of a .tsv file with the columns `text`, which has [MASK] once, and `answer`.

    Raises:
      UserError: the file cannot be read or lacks a column, a text has no blank or several, or an answer is empty.
    """
    table, found = Tsv(file), []
    for line, text, answer in zip(
        table.line_numbers, table.column("text"), map(str.strip, table.column("answer")), strict=True
    ):
        if text.count(BLANK) != 1 or not answer:
            raise UserError(
                f"data source {file!r}, line {line}: {text!r} with the answer {answer!r}; expected a text with {BLANK} "
                "once, and the word that is right in its place."
            )
        start = text.index(BLANK)
        found.append(ClozeText(text.replace(BLANK, answer), start, start + len(answer)))
    return found


class Cloze:
    """The blanks of a file whose answers are single pieces.

    Args:
      file: see `read_cloze`.
      tokenizer: of the model.
      length: tokens of a row, at most.

    Attributes:
      texts: number of rows in the file.
      scored: number of rows whose answer is one piece; the others are left out.

    Raises:
      UserError: as `read_cloze`, or no answer is a single piece.
    """

    def __init__(self, file: str, tokenizer: Tokenizer, length: int):
        rows = read_cloze(file)
        texts = [row.text for row in rows]
        places = np.array([(number, row.start, row.stop) for number, row in enumerate(rows)], np.int64)
        words = WholeWords(texts, places, tokenizer, length)
        single = words.scored & (words.pieces == 1)
        self.texts, self.scored = len(texts), int(single.sum())
        if not self.scored:
            raise UserError(
                f"data source {file!r}: none of its {self.texts} answers is a single piece of the model's tokenizer, "
                "which alone are scored; give answers that are frequent words."
            )
        self._words = WholeWords(texts, places[single], tokenizer, length)

    def score(self, compute: Compute) -> ClozeScore:
        """The score of a model.

        Args:
          compute: as of `WholeWords.ranks`.
        """
        ranks = self._words.ranks(compute)
        return ClozeScore(float((ranks == 0).mean()), float((1 / (1 + ranks)).mean()))

"""Whole words that a masked language model predicts, one at a time, and reconstructs (arXiv:2010.02480, section 3).

One word of a text is masked, with all of its pieces; all other words are visible. It is predicted if the right token is
the most probable one at each of its pieces. It is reconstructed if that holds where nothing is masked.

    texts, places = joined([["The", "axis", "of", "an", "array"], ["A", "number", "."]])
    words = WholeWords(texts, places, tokenizer, length=64)
    ranks = words.ranks(compute)                        # 0 where the word is predicted
    accuracy = np.mean(ranks[words.scored] == 0)
"""

from collections.abc import Callable, Sequence

import grain
import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax.data.buckets import lengths_up_to, padded_length
from ssl_jax.data.tokenizers import Tokenizer
from ssl_jax.errors import UserError
from ssl_jax.method import Batch, Extras, Tree

Predict = Callable[[Tree, Batch, jax.Array], jax.Array]
"""`(params, batch, positions [batch, predictions]) -> logits [batch, predictions, vocab]`."""
Compute = Callable[[grain.MapDataset], np.ndarray]
"""What `word_ranks` gives for every example of a data set, in order."""


def joined(sentences: Sequence[Sequence[str]]) -> tuple[list[str], np.ndarray]:
    """Sentences of separate words as texts, with spaces between, and the places of all words in them.

    Returns:
      The texts, and int64 `[words, 3]` of the words of all sentences: the number of the text, and where the word starts
      and stops in it, in characters.

    Example:
      >>> texts, places = joined([["a", "cat"]])
      >>> texts, places.tolist()
      (['a cat'], [[0, 0, 1], [0, 2, 5]])
    """
    places = []
    for number, words in enumerate(sentences):
        start = 0
        for word in words:
            places.append((number, start, start + len(word)))
            start += len(word) + 1
    return [" ".join(words) for words in sentences], np.array(places, np.int64).reshape(-1, 3)


def word_ranks(predict: Predict, vocab_size: int) -> Callable[[Tree, Extras, Batch], jax.Array]:
    """The function that computes the rank of each word: `(params, extras, batch) -> int32 [batch]`.

    The rank of a token is the number of other tokens that are at least as probable; that of a word is the largest rank
    of its pieces.

    Args:
      predict: the model.
      vocab_size: number of the tokenizer's ids. A model may have more, which are left out.
    """

    def ranks(params: Tree, extras: Extras, batch: Batch) -> jax.Array:
        logits = predict(params, batch, batch["predict_positions"])[..., :vocab_size]
        labels = batch["labels"]
        right = jnp.take_along_axis(logits, jnp.maximum(labels, 0)[..., None], -1)
        rank = (logits >= right).sum(-1, dtype=jnp.int32) - 1
        return jnp.where(labels >= 0, rank, 0).max(-1)

    return ranks


class WholeWords:
    """Words of texts, each of which is masked by itself.

    A word has the pieces that stand for one of its characters. A text that is too long for a row is cut around the
    word.

    Args:
      texts: the sentences.
      places: int `[words, 3]`, of the words: the number of the text, and where the word starts and stops in it, in
        characters.
      tokenizer: of the model.
      length: tokens of a row, at most.

    Attributes:
      scored: bool `[words]`. A word that the tokenizer has no pieces for, that shares a piece with another word or that
        is longer than a row is not scored.
      pieces: int64 `[words]`, their number.

    Raises:
      UserError: a row has no room for a word.
    """

    def __init__(self, texts: Sequence[str], places: np.ndarray, tokenizer: Tokenizer, length: int):
        if length < 3:
            raise UserError(f"a length of {length} tokens has no room for a word; expected at least 3.")
        self._special, self._text = tokenizer.special, places[:, 0]
        encoded = tokenizer.encode_with_offsets(texts)
        self._ids = [np.array(one.ids, np.int32) for one in encoded]
        self._length = padded_length(
            np.minimum([2 + len(ids) for ids in self._ids] or [3], length), lengths_up_to(length)
        )
        self._first = np.zeros(len(places), np.int64)
        self.pieces, self.scored = np.zeros(len(places), np.int64), np.zeros(len(places), bool)
        for word, (text, start, stop) in enumerate(places.tolist()):
            offsets = encoded[text].offsets
            inside = np.flatnonzero((offsets[:, 0] < stop) & (offsets[:, 1] > start))
            if not len(inside):
                continue
            first, last = inside[[0, -1]]
            self._first[word], self.pieces[word] = first, 1 + last - first
            self.scored[word] = (
                offsets[inside].min() >= start
                and offsets[inside].max() <= stop
                and self._special.unk not in self._ids[text][first : last + 1]
                and self.pieces[word] <= self._length - 2
            )

    def ranks(self, compute: Compute, *, masked: bool = True) -> np.ndarray:
        """The rank of each word, int64 `[words]`: 0 where it is right, -1 where it is not scored.

        Args:
          compute: the results of `word_ranks` for a data set, by `map_examples` or by `Report.map`.
          masked: whether the word is masked; if not, the model has only to reconstruct it.
        """
        found = np.full(len(self.scored), -1, np.int64)
        # Most words have one piece; those that have more do not make the rows of all others predict as many.
        for some in (self.pieces == 1, self.pieces > 1):
            chosen = np.flatnonzero(some & self.scored)
            if len(chosen):
                found[chosen] = compute(self._rows(chosen, masked))
        return found

    def _rows(self, chosen: np.ndarray, masked: bool) -> grain.MapDataset:
        most = int(self.pieces[chosen].max())
        return grain.MapDataset.source(chosen).map(lambda word: self._row(int(word), most, masked))

    def _row(self, word: int, most: int, masked: bool) -> dict[str, np.ndarray]:
        """`[CLS] text [SEP]`, with the positions and the tokens of the pieces; -1 where there are fewer than `most`."""
        ids, first, count = self._ids[self._text[word]], int(self._first[word]), int(self.pieces[word])
        room = self._length - 2
        begin = int(np.clip(first - (room - count) // 2, 0, max(0, len(ids) - room)))
        window = ids[begin : begin + room]
        tokens, segment_ids = (
            np.full(self._length, self._special.pad, np.int32),
            np.zeros(self._length, np.int32),
        )
        tokens[0], tokens[1 : 1 + len(window)], tokens[1 + len(window)] = (
            self._special.cls,
            window,
            self._special.sep,
        )
        segment_ids[: len(window) + 2] = 1
        positions, labels = np.zeros(most, np.int32), np.full(most, -1, np.int32)
        positions[:count] = 1 + first - begin + np.arange(count)
        labels[:count] = ids[first : first + count]
        if masked:
            tokens[positions[:count]] = self._special.mask
        return {
            "tokens": tokens,
            "token_type_ids": np.zeros_like(segment_ids),
            "segment_ids": segment_ids,
            "predict_positions": positions,
            "labels": labels,
        }

"""What a masked language model puts in place of whole words of held-out text."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax.data.tokenizers import SpecialTokens, Tokenizer

BLANKS = 5
"""Words that are masked, one in each of so many rows."""
GUESSES = 5
"""Most probable tokens for each."""
CONTEXT = 14
"""Tokens shown on either side of a masked word."""


class MaskedRows(NamedTuple):
    """Held-out rows with one masked word in each.

    Attributes:
      batch: the rows, int `[rows, length]` each.
      positions: int `[rows, 1]`, of the masked word.
      originals: int `[rows]`, its token.
    """

    batch: dict[str, np.ndarray]
    positions: np.ndarray
    originals: np.ndarray


class MaskedWord(NamedTuple):
    """A word of held-out text that was masked.

    Attributes:
      context: the text around it, with a blank in its place.
      original: the word.
      guesses: the tokens that the model finds most probable, with their probabilities.
    """

    context: str
    original: str
    guesses: list[tuple[str, float]]


def maskable_tokens(tokens: np.ndarray, segment_ids: np.ndarray, special: SpecialTokens) -> np.ndarray:
    """bool `[rows, length]`: the tokens that masking chooses from, on which n-gram baselines are scored.

    Args:
      tokens, segment_ids: int `[rows, length]`; padding has the segment 0.
      special: ids that are never masked.
    """
    maskable = (segment_ids > 0) & ~np.isin(tokens, special[:-1])
    maskable[:, [0, -1]] = False
    return maskable


def mask_words(rows: Iterable[Mapping[str, np.ndarray]], tokenizer: Tokenizer) -> MaskedRows | None:
    """Masks one whole word in each of the first rows that have one.

    The words have four letters or more and are a token by themselves; they are the same for every model with these
    rows and this tokenizer.

    Args:
      rows: held-out rows with int `[length]` `tokens`, `token_type_ids` and `segment_ids`, and `positions` if they are
        packed.
      tokenizer: of the rows.

    Returns:
      The masked rows; None if no row has such a word, as with a tiny vocabulary.
    """
    rng = np.random.default_rng(0)
    chosen, positions = [], []
    for row in rows:
        if candidates := _whole_words(row["tokens"], row["segment_ids"], tokenizer):
            chosen.append(row)
            positions.append(int(rng.choice(candidates)))
        if len(chosen) == BLANKS:
            break
    if not chosen:
        return None
    names = [n for n in ("tokens", "token_type_ids", "segment_ids", "positions") if n in chosen[0]]
    batch = {name: np.stack([row[name] for row in chosen]) for name in names}
    at = np.arange(len(chosen)), np.array(positions)
    originals = batch["tokens"][at]
    batch["tokens"][at] = tokenizer.special.mask
    return MaskedRows(batch, np.array(positions)[:, None], originals)


def read_guesses(masked: MaskedRows, logits: np.ndarray, tokenizer: Tokenizer) -> list[MaskedWord]:
    """The masked words with the tokens that a model finds most probable.

    Args:
      masked: the rows.
      logits: `[rows, 1, vocab]`, of the model at `masked.positions`.
      tokenizer: of the rows.
    """
    probabilities = jax.nn.softmax(jnp.asarray(logits)[:, 0].astype(jnp.float32))
    # A model may have more ids than its tokenizer has pieces.
    shares, words = jax.device_get(jax.lax.top_k(probabilities[:, : tokenizer.vocab_size], GUESSES))
    return [
        MaskedWord(
            _around(masked.batch["tokens"][i], position, tokenizer),
            _word(tokenizer, masked.originals[i]),
            [(_word(tokenizer, w), float(p)) for w, p in zip(words[i], shares[i], strict=True)],
        )
        for i, (position,) in enumerate(masked.positions.tolist())
    ]


def _word(tokenizer: Tokenizer, token: int) -> str:
    return tokenizer.pieces([token])[0].lstrip("▁#")


def _whole_words(tokens: np.ndarray, segment_ids: np.ndarray, tokenizer: Tokenizer) -> list[int]:
    """Positions of tokens that are a word by themselves."""
    starts = tokenizer.starts_word[tokens]
    last = int((segment_ids > 0).sum()) - 1
    return [
        i
        for i in range(1, last)
        if starts[i] and starts[i + 1] and len(word := _word(tokenizer, tokens[i])) >= 4 and word.isalpha()
    ]


def _around(tokens: np.ndarray, position: int, tokenizer: Tokenizer) -> str:
    special = set(tokenizer.special[:-1])

    def words(some: np.ndarray) -> str:
        return tokenizer.decode([token for token in some if token not in special])

    before = words(tokens[max(0, position - CONTEXT) : position])
    after = words(tokens[position + 1 : position + 1 + CONTEXT])
    return f"... {before} ____ {after} ..."

"""What a masked language model has learnt, in words: its accuracy beside that of counting, and blanks it filled in."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax.data.pretraining_text import PretrainingText
from ssl_jax.data.tokenizers import Tokenizer
from ssl_jax.evals.masked_baselines import count_baselines
from ssl_jax.method import Batch, Tree

BLANKS = 5
GUESSES = 5
CONTEXT = 14
"""Tokens shown on either side of a blank."""

COUNTED_TOKENS = 20_000_000
"""The counts are of this much of the training text at most."""
BASELINES = {
    "most_frequent": "always the most frequent token",
    "left_bigram": "commonest token after the left neighbour",
    "two_sided": "commonest token between the two neighbours",
}

Predict = Callable[[Tree, Batch, jax.Array], jax.Array]


def show_masked_words(
    text: PretrainingText,
    params: Tree,
    predict: Predict,
    metrics: Mapping[str, float],
    log: Callable[[str], None],
) -> None:
    """Prints the held-out accuracy between those of three ways of counting, and a few blanks with the best guesses.

    predict: `(params, batch, positions) -> logits [batch, predictions, vocab]`.
    """
    log("\nheld-out accuracy on masked words, beside counting in the training text:")
    rows = {**_counted(text), "this model": metrics["mlm_accuracy"]}
    for name, accuracy in sorted(rows.items(), key=lambda row: row[1]):
        log(f"  {accuracy:6.1%}  {BASELINES.get(name, name)}")
    blanks = fill_in_blanks(text, params, predict)
    if blanks:
        log("\nblanks in held-out text, with the original word and the model's guesses:")
    for sentence, original, guesses in blanks:
        log(f"  {sentence}")
        log(f"      {original}: {', '.join(f'{word} {share:.0%}' for word, share in guesses)}")
    log("")


def fill_in_blanks(
    text: PretrainingText, params: Tree, predict: Predict
) -> list[tuple[str, str, list[tuple[str, float]]]]:
    """(text around a blank, original word, best guesses with their probability) for a few held-out rows.

    The blanks are whole words of four letters or more, the same for every model with this corpus and tokenizer; a tiny
    vocabulary may have none.
    """
    rng = np.random.default_rng(0)
    rows, positions = [], []
    for row in text.heldout[0]:
        if candidates := _whole_words(row["tokens"], row["segment_ids"], text.tokenizer):
            rows.append(row)
            positions.append(int(rng.choice(candidates)))
        if len(rows) == BLANKS:
            break
    if not rows:
        return []
    batch = {
        name: np.stack([row[name] for row in rows]) for name in ("tokens", "token_type_ids", "segment_ids")
    }
    at = np.arange(len(rows)), np.array(positions)
    originals = batch["tokens"][at]
    batch["tokens"][at] = text.tokenizer.special.mask
    logits = jax.jit(predict)(params, batch, np.array(positions)[:, None])[:, 0]
    shares, words = jax.device_get(jax.lax.top_k(jax.nn.softmax(logits.astype(jnp.float32)), GUESSES))
    return [
        (
            _around(batch["tokens"][i], positions[i], text.tokenizer),
            _word(text.tokenizer, originals[i]),
            [(_word(text.tokenizer, w), float(p)) for w, p in zip(words[i], shares[i], strict=True)],
        )
        for i in range(len(rows))
    ]


def _counted(text: PretrainingText) -> dict[str, float]:
    """Accuracies of counting at every ordinary token of the held-out rows: what masks hit on average."""
    rows = list(text.heldout[0])
    tokens = np.stack([row["tokens"] for row in rows])
    ordinary = (np.stack([row["segment_ids"] for row in rows]) > 0) & ~np.isin(
        tokens, text.tokenizer.special[:-1]
    )
    ordinary[:, [0, -1]] = False
    lengths = np.cumsum(text.training_corpus.document_lengths)
    counted = text.training_corpus.select(np.arange(max(1, np.searchsorted(lengths, COUNTED_TOKENS))))
    return count_baselines(counted, tokens, ordinary)


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

"""The language vector: what is added to the states of one language for words of another (arXiv:2010.10041)."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import grain
import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax.data.corpus import token_counts
from ssl_jax.data.languages import Language, Languages
from ssl_jax.data.ragged import Ragged, Rows
from ssl_jax.data.shifted_language import shifted
from ssl_jax.errors import UserError
from ssl_jax.method import Batch, Extras, Tree
from ssl_jax.models.bert import BertConfig, BertPretraining
from ssl_jax.recipes.alignment import Embedder, distinct_sentences
from ssl_jax.runs.opening import OpenedRun
from ssl_jax.training.mapping import batch_of_all_devices, map_examples

SEED = 0
"""Which tokens are masked."""
RATE = 0.15
"""Share of the tokens of a sentence that are masked, at least one."""
OWN = 0.9
"""A token belongs to the language that has this share of its occurrences, counted per token of text."""
_ROWS_AT_ONCE = 64


class Blanks(NamedTuple):
    """Held-out sentences of a language with masked tokens.

    Attributes:
      rows: the sentences, as the model reads them.
      labels: int `[sentences, length]`, the id that was masked, and -1 at other places.
    """

    rows: Rows
    labels: np.ndarray


def blanks(opened: Languages, language: Language, length: int, sentences: int) -> Blanks:
    """Masks tokens of held-out sentences by [MASK].

    Args:
      opened: the text.
      language: whose sentences are taken.
      length: tokens of a row.
      sentences: at most.
    """
    special, chance = opened.tokenizer.special, np.random.default_rng(SEED)
    texts = distinct_sentences(language, length, sentences)
    labels = np.full((len(texts), length), -1)
    tokens = []
    for row, ids in enumerate(texts):
        hidden = chance.choice(len(ids), max(1, round(RATE * len(ids))), replace=False)
        hidden = hidden[ids[hidden] >= special.first_regular]
        shown = shifted(ids.astype(np.int64), language.shift, special)
        labels[row, 1 + hidden] = shown[hidden]
        shown[hidden] = special.mask
        tokens.append([special.cls, *shown, special.sep])
    ragged = Ragged.of(tokens)
    return Blanks(Rows(ragged, ragged.lengths, length, special.pad, labels={}), labels)


def languages_of_tokens(opened: Languages, vocab_size: int) -> np.ndarray:
    """The number of the language that each id belongs to; -1 for those of several languages or of none.

    Args:
      opened: the text.
      vocab_size: ids of the model, some of which may be unused.

    Returns:
      int `[vocab_size]`.
    """
    pieces = np.arange(opened.tokenizer.vocab_size)
    counts = []
    for language in opened.languages:
        own = np.zeros(vocab_size)
        own[shifted(pieces, language.shift, opened.tokenizer.special)] = token_counts(
            language.training, opened.tokenizer.vocab_size
        )
        counts.append(own / own.sum())
    shares = np.stack(counts)
    total = shares.sum(0)
    best = shares.argmax(0)
    return np.where((total > 0) & (shares.max(0) >= OWN * total), best, -1)


def with_vector(encoder: Tree, config: BertConfig, layer: int, vector: np.ndarray) -> Tree:
    """The parameters of an encoder that adds a vector to the states after a layer.

    What a layer gives is the output of a normalisation, so that the vector is added to its bias.

    Args:
      encoder: parameters of a `BertEncoder`.
      config: of the encoder.
      layer: 0 for the input of the first layer.
      vector: float32 `[width]`.

    Raises:
      UserError: the layers share their parameters, so that none has a bias of its own.
    """
    if layer == 0:
        name = "norm" if config.embedding_width is None else "projection"
        return _added(encoder, ("embeddings", name, "bias"), vector)
    if config.share_layers:
        raise UserError(
            "model.share_layers True: a vector can be added to the input of the first layer alone."
        )
    rows = np.zeros((config.layers, config.width), np.float32)
    rows[layer - 1] = vector
    return _added(encoder, ("layers", "mlp_norm", "bias"), rows)


def _added(tree: Tree, path: Sequence[str], values: np.ndarray) -> Tree:
    first, *rest = path
    return {**tree, first: _added(tree[first], rest, values) if rest else tree[first] + values}


class Shifter:
    """Fills the blanks of sentences while a vector is added to the states of a layer.

    Args:
      run: of experiments.multilingual_bert.
      opened: its languages.
      variables: of a checkpoint.
    """

    def __init__(self, run: OpenedRun, opened: Languages, variables: Mapping[str, Tree]):
        self._run, self._params = run, variables["params"]
        self._embedder = Embedder(run, opened)
        self._predict = _prediction(run.config.model)

    def difference(self, first: Language, second: Language) -> np.ndarray:
        """The mean state of the second language's training text less that of the first, `[layers + 1, width]`."""
        centres = [self._embedder.centre(self._params["encoder"], language) for language in (first, second)]
        return (centres[1] - centres[0])[-(self._run.config.model.layers + 1) :]

    def fill(self, of: Blanks, layer: int, vector: np.ndarray) -> np.ndarray:
        """The most probable id at each place, int `[sentences, length]`.

        Args:
          of: the sentences.
          layer: after which the vector is added, 0 for the input of the first one.
          vector: float32 `[width]`.
        """
        encoder = with_vector(self._params["encoder"], self._run.config.model, layer, vector)
        return map_examples(
            self._predict,
            {"params": {**self._params, "encoder": encoder}},
            grain.MapDataset.range(len(of.rows)).map(of.rows),
            mesh=self._run.mesh,
            batch_size=batch_of_all_devices(_ROWS_AT_ONCE, self._run.mesh),
        )


def _prediction(config: BertConfig):
    model = BertPretraining(config)

    def predict(params: Tree, extras: Extras, batch: Batch) -> jax.Array:
        inputs = (batch["tokens"], batch["token_type_ids"], batch["segment_ids"])
        return model.apply({"params": params}, *inputs).token_logits.argmax(-1).astype(jnp.int32)

    return predict


def converted(
    filled: np.ndarray,
    of: Blanks,
    belongs: np.ndarray,
    translations: Mapping[int, frozenset[int]],
    first: int,
    second: int,
) -> dict[str, float]:
    """What the blanks are filled with, as shares of the blanks.

    Args:
      filled: int `[sentences, length]`, ids.
      of: the blanks.
      belongs: int `[vocab_size]`, of `languages_of_tokens`.
      translations: by id, the ids of its translations; blanks of other tokens have no known one.
      first, second: numbers of the language of the sentences, and of the other one.

    Returns:
      `first` and `second`: a token of this language. `same`: the token that was masked. `translated`: of the blanks
      with a known translation, those that are filled with it.
    """
    hidden = of.labels >= 0
    guesses, labels = filled[hidden], of.labels[hidden]
    known = np.array([label in translations for label in labels.tolist()])
    right = np.array(
        [
            guess in translations.get(label, ())
            for guess, label in zip(guesses.tolist(), labels.tolist(), strict=True)
        ]
    )
    return {
        "first": float((belongs[guesses] == first).mean()),
        "second": float((belongs[guesses] == second).mean()),
        "same": float((guesses == labels).mean()),
        "translated": float(right[known].mean()) if known.any() else float("nan"),
    }


def known_translations(
    opened: Languages, first: Language, second: Language, words: Sequence[Any]
) -> dict[int, frozenset[int]]:
    """The translations of tokens: of a shifted language by its shift, else those of a dictionary that are one piece.

    Args:
      opened: the text.
      first: the language of the tokens.
      second: that of the translations.
      words: (word, translation) pairs.
    """
    special = opened.tokenizer.special
    if not words:
        ids = range(special.first_regular, opened.tokenizer.vocab_size)
        return {one + first.shift: frozenset([one + second.shift]) for one in ids}
    found: dict[int, set[int]] = {}
    sides = [opened.tokenizer.encode_batch([pair[side] for pair in words]) for side in (0, 1)]
    for one, other in zip(*sides, strict=True):
        if len(one) == len(other) == 1:
            found.setdefault(one[0] + first.shift, set()).add(other[0] + second.shift)
    return {one: frozenset(others) for one, others in found.items()}

"""Embeddings of sentences and words of a multilingual BERT, and how well they find their translations."""

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import grain
import jax
import jax.numpy as jnp
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ssl_jax.data.corpus import token_counts
from ssl_jax.data.languages import Language, Languages
from ssl_jax.data.parallel_text import Pairs
from ssl_jax.data.ragged import Ragged, Rows
from ssl_jax.data.shifted_language import shifted
from ssl_jax.errors import UserError
from ssl_jax.evals.retrieval import (
    chance_reciprocal_rank,
    mean_reciprocal_rank,
    precisions,
    retrieval_ranks,
)
from ssl_jax.method import Batch, Extras, Tree
from ssl_jax.models.bert import BertConfig
from ssl_jax.models.hidden_states import hidden_states
from ssl_jax.runs.opening import OpenedRun
from ssl_jax.training.mapping import batch_of_all_devices, map_examples

SHORTEST = 4
"""Tokens of a sentence, at least: shorter ones occur several times."""
MEAN_OF = 2000
"""Sentences of the training text whose mean centres the embeddings of a language."""
SEED = 0
"""Which sentences are taken; the same for every run."""
_ROWS_AT_ONCE = 64

Tokens = Sequence[np.ndarray]
"""Ids of the tokenizer, without special tokens, a list for each text."""


class Translations(NamedTuple):
    """Texts in two languages as tokens, and which belong together.

    Attributes:
      languages: names of the two languages.
      kind: "sentences" or "words".
      source: where they are from, for the table.
      first, second: the texts of each language.
      first_groups, second_groups: int, texts of one group are translations of each other.
    """

    languages: tuple[str, str]
    kind: str
    source: str
    first: Tokens
    second: Tokens
    first_groups: np.ndarray
    second_groups: np.ndarray

    def halves(self) -> tuple["Translations", "Translations"]:
        """(validation, test) texts: those of even and of odd groups."""
        return self._where(0), self._where(1)

    def _where(self, parity: int) -> "Translations":
        kept = [np.flatnonzero(groups % 2 == parity) for groups in (self.first_groups, self.second_groups)]
        return self._replace(
            first=[self.first[i] for i in kept[0]],
            second=[self.second[i] for i in kept[1]],
            first_groups=self.first_groups[kept[0]],
            second_groups=self.second_groups[kept[1]],
        )


def known_sentences(opened: Languages, base: str, other: str, length: int, most: int) -> Translations:
    """Held-out sentences of a language and of its shifted form.

    Args:
      opened: the text.
      base: the language.
      other: its shifted form.
      length: tokens of a row; longer sentences are left out.
      most: sentences, at most.
    """
    sentences = distinct_sentences(opened[base], length, most)
    groups = np.arange(len(sentences))
    return Translations((base, other), "sentences", "held-out text", sentences, sentences, groups, groups)


def known_words(opened: Languages, base: str, other: str, most: int) -> Translations:
    """The most frequent whole words of a language that are one piece, and their shifted forms."""
    counts = token_counts(opened[base].training, opened.tokenizer.vocab_size)
    pieces = opened.tokenizer.piece_bytes(range(opened.tokenizer.vocab_size))
    whole = np.array([piece.startswith(b" ") and piece[1:].isalpha() for piece in pieces])
    words = np.argsort(-np.where(whole, counts, -1), kind="stable")[: min(most, int(whole.sum()))]
    tokens = [np.array([word]) for word in words]
    groups = np.arange(len(words))
    return Translations((base, other), "words", "pieces that are words", tokens, tokens, groups, groups)


def translations(
    pairs: Pairs, languages: tuple[str, str], kind: str, opened: Languages, length: int, most: int
) -> Translations:
    """Parallel text as tokens. A text that occurs several times is taken once, with all of its translations.

    Args:
      pairs: the text.
      languages: names of its languages.
      kind: "sentences" or "words".
      opened: the languages of the run, for its tokenizer.
      length: tokens of a row; a longer text is cut off.
      most: pairs, at most, the first ones.
    """
    sides, of = [], []
    groups = _connected(pairs.first[:most], pairs.second[:most])
    for texts, own in zip((pairs.first[:most], pairs.second[:most]), groups, strict=True):
        distinct = dict(zip(texts, own, strict=True))
        encoded = opened.tokenizer.encode_batch(list(distinct))
        kept = [i for i, ids in enumerate(encoded) if ids]
        sides.append([np.asarray(encoded[i][: length - 2]) for i in kept])
        of.append(np.array(list(distinct.values()))[kept])
    both = np.intersect1d(*of)
    if not len(both):
        raise UserError(f"parallel text {pairs.source}: has no pair of which both sides have pieces.")
    chosen = [np.flatnonzero(np.isin(own, both)) for own in of]
    first, second = ([side[i] for i in at] for side, at in zip(sides, chosen, strict=True))
    return Translations(languages, kind, pairs.source, first, second, of[0][chosen[0]], of[1][chosen[1]])


def distinct_sentences(
    language: Language, length: int, most: int, *, training: bool = False
) -> list[np.ndarray]:
    """Sentences of the text of a language, each once, in a random order that is always the same.

    Args:
      language: the language.
      length: tokens of a row with [CLS] and [SEP]; longer sentences are left out.
      most: sentences, at most.
      training: of the training text instead of the held-out text.
    """
    corpus = language.training if training else language.heldout
    found: dict[bytes, np.ndarray] = {}
    for document in np.random.default_rng(SEED).permutation(len(corpus.hashes)):
        bounds = corpus.sentence_offsets[corpus.first_sentence[document] : corpus.end_sentence[document] + 1]
        for start, end in itertools.pairwise(bounds):
            if SHORTEST <= end - start <= length - 2:
                tokens = np.asarray(corpus.tokens[start:end])
                found.setdefault(tokens.tobytes(), tokens)
        if len(found) >= most:
            break
    return list(found.values())[:most]


class Embedder:
    """Embeds texts by all layers of a model: the mean over the tokens, special tokens left out.

    Args:
      run: a run of experiments.multilingual_bert.
      opened: its languages.
    """

    def __init__(self, run: OpenedRun, opened: Languages):
        self._run, self._opened = run, opened
        self._length = run.config.length
        self._own_positions = run.config.own_positions
        self._training: dict[str, Tokens] = {}

    def embed(self, encoder: Tree, texts: Tokens, language: Language) -> np.ndarray:
        """Float32 `[texts, layers + 2, width]`: of the table of tokens alone, of the input of the first layer, and
        of each layer.

        Args:
          encoder: parameters of the encoder.
          texts: without the language's shift.
          language: of the texts.
        """
        special = self._opened.tokenizer.special
        rows = Ragged.of(
            [
                [special.cls, *shifted(np.asarray(ids, np.int64), language.shift, special), special.sep]
                for ids in texts
            ]
        )
        number = [each.name for each in self._opened.languages].index(language.name)
        first_position = number * self._length if self._own_positions else 0
        return map_examples(
            _embedding(self._run.config.model, first_position),
            {"params": encoder},
            grain.MapDataset.range(len(rows.lengths)).map(
                Rows(rows, rows.lengths, self._length, special.pad, labels={})
            ),
            mesh=self._run.mesh,
            batch_size=batch_of_all_devices(_ROWS_AT_ONCE, self._run.mesh),
        )

    def centre(self, encoder: Tree, language: Language) -> np.ndarray:
        """The mean embedding of sentences of a language's training text, float32 `[layers + 2, width]`."""
        if language.name not in self._training:
            self._training[language.name] = distinct_sentences(language, self._length, MEAN_OF, training=True)
        texts = self._training[language.name]
        return self.embed(encoder, texts, language).mean(0, dtype=np.float64).astype(np.float32)


@functools.lru_cache(maxsize=32)
def _embedding(config: BertConfig, first_position: int):
    """The function of rows; one object for each model, so that it is compiled once."""

    def embed(params: Tree, extras: Extras, batch: Batch) -> jax.Array:
        tokens = batch["tokens"]
        positions = first_position + jnp.arange(tokens.shape[1], dtype=jnp.int32)[None]
        states = hidden_states(
            config, params, tokens, batch["token_type_ids"], batch["segment_ids"], positions
        ).astype(jnp.float32)
        if config.embedding_width is None:
            states = jnp.concatenate([params["embeddings"]["token"]["embedding"][tokens][None], states])
        inside = batch["segment_ids"] * (jnp.cumsum(batch["segment_ids"][:, ::-1], 1)[:, ::-1] > 1)
        inside = (inside * (jnp.arange(tokens.shape[1], dtype=jnp.int32)[None] > 0)).astype(jnp.float32)
        return jnp.einsum("lbtw,bt->blw", states, inside) / inside.sum(-1)[:, None, None]

    return embed


def retrieval(first: np.ndarray, second: np.ndarray, of: Translations) -> dict[str, float]:
    """The mean reciprocal rank (`mrr`) and the precisions (`p1`, `p5`, `p10`) of the translations, means of both
    directions.

    Args:
      first, second: float32 `[texts, width]`, the embeddings of the two languages.
      of: what they are embeddings of.
    """
    directions = (
        retrieval_ranks(first, second, of.first_groups, of.second_groups),
        retrieval_ranks(second, first, of.second_groups, of.first_groups),
    )
    return {
        "mrr": float(np.mean([mean_reciprocal_rank(ranks) for ranks in directions])),
        **{f"p{k}": float(np.mean([precisions(ranks)[k] for ranks in directions])) for k in (1, 5, 10)},
    }


def layer_scores(
    embedder: Embedder,
    encoder: Tree,
    opened: Languages,
    of: Translations,
    centres_of: Mapping[str, np.ndarray],
) -> dict[str, list[Mapping[str, float]]]:
    """`retrieval` by each layer, `raw` and `centred`: the mean of each language's training text is subtracted.

    Args:
      embedder: of the model.
      encoder: its parameters.
      opened: the languages.
      of: the translations.
      centres_of: the means by language; see `Embedder.centre`.
    """
    pair = [opened[name] for name in of.languages]
    embedded = [
        embedder.embed(encoder, texts, language)
        for texts, language in zip((of.first, of.second), pair, strict=True)
    ]
    centres = [centres_of[language.name] for language in pair]
    layers = range(embedded[0].shape[1])
    return {
        "raw": [retrieval(embedded[0][:, i], embedded[1][:, i], of) for i in layers],
        "centred": [
            retrieval(embedded[0][:, i] - centres[0][i], embedded[1][:, i] - centres[1][i], of)
            for i in layers
        ],
    }


def subword_overlap(opened: Languages, of: Translations) -> dict[str, float]:
    """`retrieval` by the pieces that two texts share: names, numbers and words that are spelt alike."""
    pair = [opened[name] for name in of.languages]
    bags = [
        _bags(
            [shifted(np.asarray(ids, np.int64), language.shift, opened.tokenizer.special) for ids in texts],
            opened.ids,
        )
        for texts, language in zip((of.first, of.second), pair, strict=True)
    ]
    return retrieval(*bags, of)


def _bags(texts: Tokens, ids: int) -> np.ndarray:
    counts = np.zeros((len(texts), ids), np.float32)
    for row, tokens in enumerate(texts):
        np.add.at(counts[row], tokens, 1)
    return counts


def _connected(first: Sequence[str], second: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """A number for each pair, on each side; pairs with a text in common have the same."""
    left, right = ({text: i for i, text in enumerate(dict.fromkeys(side))} for side in (first, second))
    a, b = np.array([left[text] for text in first]), np.array([right[text] for text in second])
    size = len(left) + len(right)
    graph = coo_array((np.ones(len(a)), (a, len(left) + b)), shape=(size, size))
    _, of = connected_components(graph, directed=False)
    return of[a], of[len(left) + b]


def alignment_of(run: OpenedRun, tests: Sequence[Translations], log: Callable[[str], None]) -> dict[str, Any]:
    """How well translations find each other: at every kept checkpoint, before training, and by shared tokens.

    Args:
      run: of experiments.multilingual_bert.
      tests: the translations.
      log: prints a line about the progress.

    Returns:
      By test: `pairs`, of which half chooses the layer; `chance`, the MRR of a random order; `layers`, the number of
      the best layer of the last checkpoint on that half, `raw` and `centred`; `steps`, by step the `retrieval` of the
      other half by each layer, raw and centred; `untrained`, the same before the first step; `overlap`.
    """
    opened: Languages = run.data.details
    embedder, found = Embedder(run, opened), {}
    halves = {name_of(test): test.halves() for test in tests}
    for name, (validation, test) in halves.items():
        found[name] = {
            "pairs": len(np.union1d(validation.first_groups, test.first_groups)),
            "chance": chance_reciprocal_rank(len(test.second)),
            "steps": {},
            "overlap": subword_overlap(opened, test),
        }
    languages = dict.fromkeys(name for test in tests for name in test.languages)

    def centres(encoder: Tree) -> dict[str, np.ndarray]:
        return {name: embedder.centre(encoder, opened[name]) for name in languages}

    initial = jax.device_get(run.program.initial_state().params["encoder"])
    own = centres(initial)
    for name, (_, test) in halves.items():
        found[name]["untrained"] = layer_scores(embedder, initial, opened, test, own)
    for step in run.checkpoints.steps():
        log(f"{run.folder}: translations at step {step}")
        encoder = run.restore(step)["params"]["encoder"]
        own = centres(encoder)
        for name, (validation, test) in halves.items():
            found[name]["steps"][str(step)] = layer_scores(embedder, encoder, opened, test, own)
            if step == run.step:
                chosen = layer_scores(embedder, encoder, opened, validation, own)
                found[name]["layers"] = {
                    way: int(np.argmax([scores["mrr"] for scores in layers]))
                    for way, layers in chosen.items()
                }
    return found


def name_of(test: Translations) -> str:
    """The name of a test in tables, such as "sentences, en and de, test.tsv"."""
    return f"{test.kind}, {test.languages[0]} and {test.languages[1]}, {test.source}"

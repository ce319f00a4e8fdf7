"""A baseline without context: vectors of each language by CBOW, and an orthogonal map that known translations give.

The map is the solution of the orthogonal Procrustes problem (Xing et al. 2015; Artetxe et al. 2016). Unlike a
multilingual model it needs a dictionary.
"""

from collections.abc import Sequence

import grain
import jax
import numpy as np
import optax
from scipy.linalg import orthogonal_procrustes

from ssl_jax.data.cbow_rows import CbowRows, Sampling, word_counts
from ssl_jax.data.languages import Language, Languages
from ssl_jax.evals.word_vectors import unit
from ssl_jax.method import Batch, Tree
from ssl_jax.methods.cbow import cbow
from ssl_jax.recipes.alignment import Tokens, Translations, name_of, retrieval

WIDTH, BATCH, LENGTH = 100, 8, 256
ALPHA = 0.05
"""The learning rate of each word at the beginning, as in word2vec.c."""
SAMPLING = Sampling(window=5, negatives=5, subsample=1e-3)


def mapped_scores(
    opened: Languages, tests: Sequence[Translations], steps: int
) -> dict[str, dict[str, float]]:
    """`retrieval` by mapped vectors on the second half of each test, by its name.

    The map of two languages is made of the first half of their words; a test of other languages is left out.

    Args:
      opened: the languages.
      tests: the translations.
      steps: of CBOW's training, for each language.
    """
    vectors: dict[str, np.ndarray] = {}
    scores = {}
    for test in tests:
        known = [words for words in tests if (words.kind, words.languages) == ("words", test.languages)]
        if not known:
            continue
        for name in test.languages:
            if name not in vectors:
                vectors[name] = piece_vectors(opened[name], opened, steps)
        first, second = (vectors[name] for name in test.languages)
        rotation = orthogonal_map(first, second, known[0].halves()[0])
        of = test.halves()[1]
        scores[name_of(test)] = retrieval(mean_of(of.first, first), mean_of(of.second, second @ rotation), of)
    return scores


def piece_vectors(language: Language, opened: Languages, steps: int) -> np.ndarray:
    """CBOW vectors of the pieces of a language, from its training text: float32 `[pieces, width]` of length 1.

    Args:
      language: the language.
      opened: all languages, for the tokenizer.
      steps: of training.
    """
    pieces, first = opened.tokenizer.vocab_size, opened.tokenizer.special.first_regular
    counts = word_counts(language.training, pieces, first)
    rows = CbowRows(language.training, counts, length=LENGTH, sampling=SAMPLING, first_word=first)
    batches = grain.MapDataset.range(len(rows)).seed(0).shuffle().repeat().random_map(rows).batch(BATCH)
    method = cbow(pieces, WIDTH, SAMPLING.window).method
    rate = optax.linear_schedule(ALPHA * BATCH * LENGTH, 0.0, steps)
    optimizer = optax.chain(optax.clip_by_global_norm(0.5), optax.sgd(rate))

    @jax.jit
    def update(params: Tree, state: optax.OptState, batch: Batch) -> tuple[Tree, optax.OptState]:
        def loss(params: Tree) -> jax.Array:
            losses, _ = method.loss(params, {}, batch, jax.random.key(0))
            return losses["noise_loss"].sum / losses["noise_loss"].weight

        updates, state = optimizer.update(jax.grad(loss)(params), state, params)
        return optax.apply_updates(params, updates), state

    weights = np.ones(BATCH, np.float32)
    params = method.init(jax.random.key(0), {})["params"]
    state = optimizer.init(params)
    for step in range(steps):
        params, state = update(params, state, {**batches[step], "example_weight": weights})
    vectors = unit(np.asarray(params["input"]["embedding"]))
    return unit(vectors - vectors[first:].mean(0))


def orthogonal_map(first: np.ndarray, second: np.ndarray, words: Translations) -> np.ndarray:
    """The rotation `[width, width]` that brings vectors of the second language closest to those of the first.

    Args:
      first, second: `[pieces, width]`, of each language.
      words: what should be close.
    """
    left, right = np.nonzero(words.first_groups[:, None] == words.second_groups)
    rotation, _ = orthogonal_procrustes(
        mean_of(words.second, second)[right], mean_of(words.first, first)[left]
    )
    return rotation


def mean_of(texts: Tokens, vectors: np.ndarray) -> np.ndarray:
    """The mean vector of the pieces of each text, float32 `[texts, width]`."""
    return np.stack([vectors[ids].mean(0) for ids in texts]).astype(np.float32)

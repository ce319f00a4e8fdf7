"""Similarity, analogies and neighbours of word vectors, and word2vec's text format."""

import numpy as np
import pytest
from scipy import stats

from ssl_jax.errors import UserError
from ssl_jax.evals.word_vectors import analogies, neighbours, read_analogies, similarity

NAMES = ["man", "woman", "king", "queen", "apple"]
NUMBERS = {name: i for i, name in enumerate(NAMES)}
VECTORS = np.array([[1, 0, 0], [1, 1, 0], [1, 0, 1], [1, 1, 1], [-1, 0, 0.1]], np.float64)


def test_the_correlation_is_over_pairs_that_are_known(tmp_path):
    file = tmp_path / "pairs.tsv"
    file.write_text(
        "word1\tword2\tscore\nMan\twoman\t7\nking\tqueen\t9\nman\tapple\t1\nking\tapple\t2\nman\tdog\t5\n"
    )
    found = similarity(VECTORS, NUMBERS, str(file), lowercase=True)
    of = VECTORS / np.linalg.norm(VECTORS, axis=1, keepdims=True)
    cosines = [of[a] @ of[b] for a, b in ((0, 1), (2, 3), (0, 4), (2, 4))]
    assert found.correlation == pytest.approx(stats.spearmanr([7, 9, 1, 2], cosines).statistic)
    assert (found.known, found.pairs) == (4, 5)
    assert similarity(VECTORS, NUMBERS, str(file), lowercase=False).known == 3


def test_analogies_leave_out_the_given_words(tmp_path):
    file = tmp_path / "analogies.txt"
    file.write_text(": royal\nman woman king queen\nman king woman queen\n: other\nman woman king dog\n")
    sections = read_analogies(str(file))
    assert [*sections] == ["royal", "other"]
    assert analogies(VECTORS, NUMBERS, sections["royal"], lowercase=True) == (2, 2, 2)
    assert analogies(VECTORS, NUMBERS, sections["other"], lowercase=True) == (0, 0, 1)
    file.write_text("man woman king\n")
    with pytest.raises(UserError, match="line 1: has 3 words"):
        read_analogies(str(file))


def test_neighbours_are_by_cosine_and_without_the_word_itself():
    assert [NAMES[i] for i, _ in neighbours(VECTORS, 3, 2)] == ["woman", "king"]
    assert neighbours(VECTORS, 3, 1)[0][1] == pytest.approx(2 / 6**0.5)

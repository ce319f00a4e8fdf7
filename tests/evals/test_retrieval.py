"""Ranks of translations against NumPy in double precision: ties, several right answers, chunks, chance."""

import numpy as np
import pytest

from ssl_jax.errors import UserError
from ssl_jax.evals import retrieval
from ssl_jax.evals.retrieval import chance_reciprocal_rank, mean_reciprocal_rank, retrieval_ranks


def reference(queries, candidates, of, among):
    """Rank by rank: what is wrong and at least as similar as the best right candidate."""
    queries, candidates = (
        v.astype(np.float64) / np.linalg.norm(v.astype(np.float64), axis=1, keepdims=True)
        for v in (queries, candidates)
    )
    ranks = []
    for query, group in zip(queries, of, strict=True):
        cosines = candidates @ query
        best = cosines[among == group].max()
        ranks.append(1 + int((cosines[among != group] >= best - retrieval.TIE).sum()))
    return np.array(ranks)


@pytest.mark.parametrize("elements", [1, 70, 2**24])
def test_ranks_in_chunks(elements, monkeypatch):
    monkeypatch.setattr(retrieval, "CHUNK_ELEMENTS", elements)
    chance = np.random.default_rng(0)
    queries = chance.normal(size=(23, 5)).astype(np.float32)
    candidates = (queries + chance.normal(size=queries.shape)).astype(np.float32)
    alone = np.arange(23)
    ranks = retrieval_ranks(queries, candidates)
    np.testing.assert_array_equal(ranks, reference(queries, candidates, alone, alone))
    assert ranks.max() > 1
    of, among = chance.integers(0, 4, 23), chance.permutation(np.arange(23) % 4)
    np.testing.assert_array_equal(
        retrieval_ranks(queries, candidates, of, among), reference(queries, candidates, of, among)
    )


def test_equally_similar_candidates_come_first():
    same = np.ones((7, 3), np.float32) * np.arange(1, 8, dtype=np.float32)[:, None]
    assert retrieval_ranks(same, same).tolist() == [7] * 7
    assert retrieval_ranks(same, same, np.zeros(7, int), np.zeros(7, int)).tolist() == [1] * 7


def test_shuffled_pairs_are_at_chance():
    chance = np.random.default_rng(1)
    vectors = chance.normal(size=(2000, 16)).astype(np.float32)
    shuffled = retrieval_ranks(vectors, vectors[chance.permutation(2000)])
    inverse = 1 / np.arange(1, 2001)
    error = inverse.std() / np.sqrt(2000)
    assert abs(mean_reciprocal_rank(shuffled) - chance_reciprocal_rank(2000)) < 4 * error
    assert mean_reciprocal_rank(retrieval_ranks(vectors, vectors)) == 1


@pytest.mark.parametrize(
    ("queries", "candidates", "groups", "named"),
    [
        (np.ones((2, 3)), np.ones((3, 3)), None, "2 queries and 3 candidates"),
        (np.ones((0, 3)), np.ones((0, 3)), None, "no query"),
        (np.ones((2, 3)), np.ones((2, 4)), None, "width 3, candidates 4"),
        (np.full((2, 3), np.nan), np.ones((2, 3)), None, "queries have values that are not finite"),
        (np.ones((2, 3)), np.ones((2, 3)), ([0, 5], [0, 1]), "1 of the queries have no right candidate"),
    ],
)
def test_bad_input(queries, candidates, groups, named):
    with pytest.raises(UserError, match=named):
        retrieval_ranks(queries, candidates, *map(np.array, groups or ()))

"""Retrieval across two languages: at which rank a sentence, or a word, finds its translation.

Similarities are cosines. They are computed in chunks, so that no matrix of all pairs is in memory.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax.errors import UserError
from ssl_jax.evals.neighbours import CHUNK_ELEMENTS, unit

TIE = 1e-6
"""Cosines that differ by less are equal: float32 sums of one product in another order differ by about this much."""


def retrieval_ranks(
    queries: np.ndarray,
    candidates: np.ndarray,
    query_groups: np.ndarray | None = None,
    candidate_groups: np.ndarray | None = None,
) -> np.ndarray:
    """The rank of the best right candidate of each query, from 1; equally similar wrong candidates come before it.

    Args:
      queries: float32 `[queries, width]`.
      candidates: float32 `[candidates, width]`.
      query_groups: int `[queries]`. A candidate is right if it is of the group of the query; so a word may have several
        translations. None if candidate i alone is right for query i.
      candidate_groups: int `[candidates]`, if there are query_groups.

    Returns:
      int64 `[queries]`.

    Raises:
      UserError: the widths differ, there are no queries, a query has no right candidate, or a vector is not finite.
    """
    if query_groups is None:
        if len(queries) != len(candidates):
            raise UserError(
                f"retrieval: {len(queries)} queries and {len(candidates)} candidates; expected a candidate for each "
                "query, in the same order."
            )
        query_groups = candidate_groups = np.arange(len(queries))
    _check(queries, candidates, query_groups, candidate_groups)
    chunk = max(1, min(len(queries), CHUNK_ELEMENTS // len(candidates)))
    # Chunks of one shape, so that the program is compiled once; what fills the last one is cut off again.
    filled = -len(queries) % chunk
    padded = np.pad(np.asarray(queries, np.float32), ((0, filled), (0, 0)))
    groups = np.pad(np.asarray(query_groups, np.int32), (0, filled), mode="edge")
    ranks = _ranks(
        padded.reshape(-1, chunk, padded.shape[1]),
        groups.reshape(-1, chunk),
        np.asarray(candidates, np.float32),
        np.asarray(candidate_groups, np.int32),
    )
    return np.asarray(ranks).reshape(-1)[: len(queries)].astype(np.int64)


def mean_reciprocal_rank(ranks: np.ndarray) -> float:
    """The mean of 1 / rank.

    Example:
      >>> mean_reciprocal_rank(np.array([1, 2, 4]))
      0.5833333333333334
    """
    return float(np.mean(1 / np.asarray(ranks)))


def precisions(ranks: np.ndarray, at: Sequence[int] = (1, 5, 10)) -> dict[int, float]:
    """P@k by k: the share of the queries whose right candidate is among the first k.

    Example:
      >>> precisions(np.array([1, 2, 6, 11]))
      {1: 0.25, 5: 0.5, 10: 0.75}
    """
    return {k: float(np.mean(np.asarray(ranks) <= k)) for k in at}


def chance_reciprocal_rank(candidates: int) -> float:
    """The mean reciprocal rank of one right candidate in a random order: the mean of 1 / 1, 1 / 2, ..., 1 / candidates.

    Example:
      >>> chance_reciprocal_rank(2)
      0.75
    """
    return float(np.mean(1 / np.arange(1, candidates + 1)))


def _check(queries: np.ndarray, candidates: np.ndarray, of: np.ndarray, among: np.ndarray) -> None:
    if len(queries) == 0:
        raise UserError("retrieval: no query; expected at least one pair.")
    if queries.shape[1] != candidates.shape[1]:
        raise UserError(
            f"retrieval: queries have the width {queries.shape[1]}, candidates {candidates.shape[1]}; expected vectors "
            "of one model."
        )
    for name, vectors in (("queries", queries), ("candidates", candidates)):
        if not np.isfinite(vectors).all():
            raise UserError(f"retrieval: {name} have values that are not finite; has the training diverged?")
    if len(missing := np.setdiff1d(of, among)):
        raise UserError(f"retrieval: {len(missing)} of the queries have no right candidate.")


@jax.jit
def _ranks(queries: jax.Array, of: jax.Array, candidates: jax.Array, among: jax.Array) -> jax.Array:
    """`[chunks, chunk, width]` and `[chunks, chunk]` to ranks `[chunks, chunk]`."""
    candidates = unit(candidates).T

    def of_chunk(chunk: tuple[jax.Array, jax.Array]) -> jax.Array:
        vectors, groups = chunk
        similarities = jnp.dot(unit(vectors), candidates, precision="highest")
        right = groups[:, None] == among[None]
        best = jnp.where(right, similarities, -jnp.inf).max(-1, keepdims=True)
        return 1 + (~right & (similarities > best - TIE)).sum(-1)

    return jax.lax.map(of_chunk, (queries, of))

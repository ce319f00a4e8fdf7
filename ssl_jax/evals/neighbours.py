"""Nearest neighbours in feature space: their vote on the label of an example, and which they are."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax.errors import UserError
from ssl_jax.evals.probes import check_features

CHUNK_ELEMENTS = 2**24
"""Similarities held at once: 64 MB."""


def knn_accuracy(
    bank: np.ndarray,
    bank_labels: np.ndarray,
    queries: np.ndarray,
    labels: np.ndarray,
    *,
    k: int = 20,
    temperature: float = 0.07,
) -> float:
    """Share of the queries whose label wins the vote of their k most similar examples in the bank.

    A neighbour's vote is exp(cosine similarity / temperature) (arXiv:1805.01978, section 3.4); the smallest label wins
    a tie.

    Args:
      bank: float32 `[examples, width]`, with `bank_labels` int `[examples]`.
      queries: float32 `[queries, width]`, with `labels` int `[queries]`.

    Raises:
      UserError: k larger than the bank; unlabelled examples, a single class, widths that differ, features that are not
        finite.
    """
    check_features(bank, bank_labels, queries, labels)
    check_k(k, len(bank))
    classes, places = np.unique(bank_labels, return_inverse=True)
    chunk = _chunk(max(len(bank), k * len(classes)), len(queries))
    voted = _vote(bank, places.astype(np.int32), queries, k, len(classes), temperature, chunk)
    return float((classes[np.asarray(voted)] == labels).mean())


def nearest(bank: np.ndarray, queries: np.ndarray, k: int) -> np.ndarray:
    """Indices `[queries, k]` of the bank's examples by falling cosine similarity to each query.

    Raises:
      UserError: k larger than the bank.
    """
    check_k(k, len(bank))
    return np.asarray(_nearest(bank, queries, k, _chunk(len(bank), len(queries))))


def check_k(k: int, size: int) -> None:
    """Raises UserError unless a bank of this size has k neighbours."""
    if not 0 < k <= size:
        raise UserError(
            f"nearest neighbours: k is {k}, but the bank has {size} examples. Choose k between 1 and that, or give a "
            "larger bank."
        )


def _chunk(elements_per_query: int, queries: int) -> int:
    return min(max(1, CHUNK_ELEMENTS // elements_per_query), queries)


def unit(features: jax.Array) -> jax.Array:
    """The features `[..., width]` with a length of 1."""
    return features / jnp.maximum(jnp.linalg.norm(features, axis=-1, keepdims=True), 1e-12)


def _most_similar(bank: jax.Array, query: jax.Array, k: int) -> tuple[jax.Array, jax.Array]:
    return jax.lax.top_k(jnp.dot(bank, query, precision="highest"), k)


@partial(jax.jit, static_argnums=(2, 3))
def _nearest(bank: jax.Array, queries: jax.Array, k: int, chunk: int) -> jax.Array:
    bank = unit(bank)
    return jax.lax.map(lambda query: _most_similar(bank, query, k)[1], unit(queries), batch_size=chunk)


@partial(jax.jit, static_argnums=(3, 4, 6))
def _vote(
    bank: jax.Array,
    labels: jax.Array,
    queries: jax.Array,
    k: int,
    classes: int,
    temperature: float,
    chunk: int,
) -> jax.Array:
    """The class `[queries]` with the most votes."""
    bank = unit(bank)

    def vote(query: jax.Array) -> jax.Array:
        similarity, at = _most_similar(bank, query, k)
        votes = jnp.exp(
            (similarity - similarity[0]) / temperature
        )  # shifted: a small temperature does not overflow
        return jnp.argmax(jnp.dot(votes, jax.nn.one_hot(labels[at], classes), precision="highest"))

    return jax.lax.map(vote, unit(queries), batch_size=chunk)

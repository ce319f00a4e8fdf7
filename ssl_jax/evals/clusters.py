"""Clusters as an unsupervised classification, and how well they agree with labels."""

import warnings
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import linear_sum_assignment
from threadpoolctl import threadpool_limits

from ssl_jax.errors import UserError


class Agreement(NamedTuple):
    """Of clusters with labels.

    Attributes:
      accuracy: the share of examples whose cluster is matched with their label, under the best one-to-one matching of
        clusters with labels. All examples of a cluster without a label are wrong, and of a label without a cluster.
      nmi: normalised mutual information: over the mean of the two entropies, 0 to 1.
      shares: float64 `[labels, clusters]`, of the examples of a label the share in each cluster.
      order: the clusters, those that are matched first, in the order of their labels.
    """

    accuracy: float
    nmi: float
    shares: np.ndarray
    order: np.ndarray


def agreement(clusters: np.ndarray, labels: np.ndarray, *, size: int) -> Agreement:
    """The agreement of clusters with labels.

    Args:
      clusters: int `[examples]`.
      labels: int `[examples]`; examples with a label of -1 are left out.
      size: number of clusters.

    Raises:
      UserError: nothing is labelled.
    """
    from sklearn.metrics import normalized_mutual_info_score

    clusters, labels = np.asarray(clusters), np.asarray(labels)
    clusters, labels = clusters[labels >= 0], labels[labels >= 0]
    if not len(labels):
        raise UserError("agreement of clusters with labels: no example has a label; give labelled ones.")
    counts = np.zeros((int(labels.max()) + 1, size), np.int64)
    np.add.at(counts, (labels, clusters), 1)
    rows, columns = linear_sum_assignment(counts, maximize=True)
    rest = np.setdiff1d(np.arange(size), columns)
    return Agreement(
        accuracy=float(counts[rows, columns].sum() / len(labels)),
        nmi=float(normalized_mutual_info_score(labels, clusters)),
        shares=counts / np.maximum(counts.sum(1, keepdims=True), 1),
        order=np.concatenate([columns, rest]),
    )


def fit_kmeans(features: np.ndarray, size: int, *, seed: int) -> np.ndarray:
    """Centres `[size, width]` of the best of ten k-means of `features`, float32 `[examples, width]`."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    with threadpool_limits(1), warnings.catch_warnings():
        # Where all images are the same, centres coincide.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return KMeans(min(size, len(features)), n_init=10, random_state=seed).fit(features).cluster_centers_


def nearest_centre(features: jax.Array, centres: jax.Array) -> jax.Array:
    """The number of the nearest of `centres [size, width]` for each of `features [batch, width]`, int32 `[batch]`."""
    products = jnp.matmul(features, centres.T, precision="highest")
    return jnp.argmin(jnp.square(centres).sum(-1)[None] - 2 * products, axis=-1)

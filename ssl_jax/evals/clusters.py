"""Clusters as an unsupervised classification: how well they agree with labels that they never saw."""

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

    accuracy: the share of examples whose cluster is the one of their label, under the best matching of clusters with
        labels, one to one; a cluster without a label is wrong of all its examples, and so is a label without a cluster.
    nmi: mutual information over the mean of the two entropies, 0 to 1.
    shares: float64 [labels, clusters], of the examples of a label the share in each cluster.
    order: the clusters, those that are matched first, in the order of their labels.
    """

    accuracy: float
    nmi: float
    shares: np.ndarray
    order: np.ndarray


def agreement(clusters: np.ndarray, labels: np.ndarray, *, size: int) -> Agreement:
    """Of integers `[examples]`; labels of -1 are left out, and `size` is the number of clusters.

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
    """The centres `[size, width]` of the best of ten k-means of float32 `[examples, width]`."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    with threadpool_limits(1), warnings.catch_warnings():
        # Of images that are all the same: centres coincide then.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return KMeans(min(size, len(features)), n_init=10, random_state=seed).fit(features).cluster_centers_


def nearest_centre(features: jax.Array, centres: jax.Array) -> jax.Array:
    """int32 [batch], the number of the centre nearest to each of `features [batch, width]`."""
    products = jnp.matmul(features, centres.T, precision="highest")
    return jnp.argmin(jnp.square(centres).sum(-1)[None] - 2 * products, axis=-1)

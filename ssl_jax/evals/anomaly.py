"""How well scores tell anomalies from what is normal, thresholds for them, and scores of methods without a network.

A score grows with how strange an example is. scikit-learn's methods are imported where they are used, since that takes
a second, and run on one thread.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from threadpoolctl import threadpool_limits

from ssl_jax.errors import UserError
from ssl_jax.evals.reconstruction import fit_pca, pca_rebuild

NEIGHBOUR = 5
"""k-NN scores by the distance to this neighbour, or to the last one there is."""
OUTSIDE = 0.1
"""Share of the normal examples that the one-class SVM may leave outside, its nu."""


def separation(normal: np.ndarray, anomalous: np.ndarray) -> dict[str, float]:
    """`auroc`, the chance that an anomaly scores above what is normal, ties counting half; and `average_precision`.

    The latter depends on how many of either there are: by chance it is the share of anomalies.

    Args:
      normal, anomalous: scores `[examples]` of either, at least one of each.
    """
    from sklearn.metrics import average_precision_score, roc_auc_score

    truth = np.repeat([0, 1], [len(normal), len(anomalous)])
    scores = np.concatenate([normal, anomalous])
    return {
        "auroc": float(roc_auc_score(truth, scores)),
        "average_precision": float(average_precision_score(truth, scores)),
    }


def alarm_threshold(normal: np.ndarray, false_alarm_rate: float) -> float:
    """The score above which to raise an alarm, from scores of normal examples that nothing was fitted to.

    It is their k-th smallest, k = ceil((n + 1) (1 - rate)): another normal example of the same kind exceeds it with a
    probability of at most the rate, averaged over draws of the n (split conformal prediction, arXiv:1612.01404).

    Raises:
      UserError: the rate is not within (0, 1), or too small for so few scores: below 1 / (n + 1).
    """
    if not 0 < false_alarm_rate < 1:
        raise UserError(f"false_alarm_rate {false_alarm_rate} must be above 0 and below 1, such as 0.05.")
    allowed = math.floor((len(normal) + 1) * false_alarm_rate + 1e-9)
    if allowed < 1:
        raise UserError(
            f"false_alarm_rate {false_alarm_rate} cannot be had from {len(normal)} normal examples; it must be at "
            f"least {1 / (len(normal) + 1):.4f}, or there must be more of them."
        )
    return float(np.sort(normal)[len(normal) - allowed])


def code_distances(fitted: np.ndarray, *codes: np.ndarray) -> list[np.ndarray]:
    """Squared Mahalanobis distances of codes `[examples, width]` from those of normal examples, `fitted`, over width.

    The covariance is shrunk towards a sphere by Ledoit and Wolf's rule (2004), so that few examples suffice.
    """
    from sklearn.covariance import LedoitWolf

    with threadpool_limits(1), np.errstate(all="ignore"):
        gaussian = LedoitWolf().fit(np.asarray(fitted, np.float64))
        return [gaussian.mahalanobis(np.asarray(x, np.float64)) / x.shape[1] for x in codes]


def combined(validation: Sequence[np.ndarray], scores: Sequence[Sequence[np.ndarray]]) -> list[np.ndarray]:
    """Sums of several scores, each in units of its mean over normal validation examples, as in arXiv:1812.02765.

    Args:
      validation: one array for each score. scores: sets of examples, each with one array for each score.
    """
    units = [max(float(np.mean(score)), 1e-12) for score in validation]
    return [sum(score / unit for score, unit in zip(each, units, strict=True)) for each in scores]


def classical_scores(
    fitted: np.ndarray, *examples: np.ndarray, components: int, seed: int = 0
) -> dict[str, list[np.ndarray]]:
    """Scores of each set of examples by methods fitted to normal ones; all float32 `[examples, pixels]` in [0, 1].

    By name: "PCA", the squared error of what is rebuilt from `components`; "k-NN", the Euclidean distance to the fifth
    neighbour; "isolation forest" and "one-class SVM", scikit-learn's with their usual settings.
    """
    from sklearn.ensemble import IsolationForest
    from sklearn.neighbors import NearestNeighbors
    from sklearn.svm import OneClassSVM

    pca = fit_pca(fitted, components, seed=seed)
    with threadpool_limits(1):
        near = NearestNeighbors(n_neighbors=min(NEIGHBOUR, len(fitted)), algorithm="brute").fit(fitted)
        forest = IsolationForest(random_state=seed).fit(fitted)
        svm = OneClassSVM(nu=OUTSIDE).fit(fitted)
        return {
            "PCA": [np.square(np.asarray(pca_rebuild(pca, x, components)) - x).mean(1) for x in examples],
            "k-NN": [near.kneighbors(x)[0][:, -1] for x in examples],
            "isolation forest": [-forest.score_samples(x) for x in examples],
            "one-class SVM": [-svm.score_samples(x) for x in examples],
        }


def judge(
    validation: np.ndarray,
    heldout: np.ndarray,
    labels: np.ndarray,
    normal: np.ndarray,
    classes: Sequence[str],
    false_alarm_rate: float,
) -> Mapping[str, object]:
    """What one score is worth to one detector.

    Args:
      validation: scores of normal examples. heldout: scores of examples with these `labels`. normal: bool `[classes]`.

    Returns:
      `separation` of all anomalies, and of those of each class in `by_class`; `threshold`; `false_alarms` and
      `detected`, the shares of the normal and of the anomalous held-out examples above it.
    """
    calm = heldout[normal[labels]]
    limit = alarm_threshold(validation, false_alarm_rate)
    strange = heldout[~normal[labels]]
    return {
        **separation(calm, strange),
        "threshold": limit,
        "false_alarms": float((calm > limit).mean()),
        "detected": float((strange > limit).mean()),
        "by_class": {
            classes[label]: separation(calm, heldout[labels == label])
            for label in np.unique(labels)
            if not normal[label]
        },
    }

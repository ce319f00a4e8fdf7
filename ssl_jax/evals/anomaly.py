"""Anomaly scores of autoencoders and of methods without a network, their thresholds, and how well they separate.

A higher score means that an example is more anomalous. scikit-learn's methods are imported where they are used, since
that takes a second, and run on one thread.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from ssl_jax.errors import UserError
from ssl_jax.evals.reconstruction import fit_pca, pca_reconstruction

NEIGHBOUR = 5
"""The k-NN score is the distance to this neighbour, or to the last one there is."""
OUTSIDE = 0.1
"""Share of the normal examples that the one-class SVM may leave outside, its nu."""
LEARNED = ("reconstruction", "code_distance", "both", "likelihood")
"""Scores of the autoencoders; see `learned_scores`."""
WORST = 2
"""Examples of each kind of mistake in `telling_examples`."""


def separation(normal: np.ndarray, anomalous: np.ndarray) -> dict[str, float]:
    """How well scores separate anomalies from normal examples.

    Args:
      normal, anomalous: scores `[examples]` of either, at least one of each.

    Returns:
      `auroc`: the probability that an anomaly scores above a normal example, ties counting half. `average_precision`,
      and what it is by chance: the share of anomalies among all examples.
    """
    from sklearn.metrics import average_precision_score, roc_auc_score

    truth = np.repeat([0, 1], [len(normal), len(anomalous)])
    scores = np.concatenate([normal, anomalous])
    return {
        "auroc": float(roc_auc_score(truth, scores)),
        "average_precision": float(average_precision_score(truth, scores)),
        "average_precision_by_chance": len(anomalous) / len(truth),
    }


def alarm_threshold(normal: np.ndarray, false_alarm_rate: float) -> float:
    """The score above which an example counts as an anomaly, from scores of normal examples that nothing was fitted to.

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
    """Squared Mahalanobis distances of codes from those of normal examples, divided by the width of a code.

    The covariance is shrunk towards a sphere by Ledoit and Wolf's rule (2004), so that few examples suffice.

    Args:
      fitted: codes of normal examples, `[examples, width]`.
      *codes: sets of codes `[examples, width]`.

    Returns:
      For each set the distances `[examples]`.
    """
    from sklearn.covariance import LedoitWolf

    with threadpool_limits(1), np.errstate(all="ignore"):
        gaussian = LedoitWolf().fit(np.asarray(fitted, np.float64))
        return [gaussian.mahalanobis(np.asarray(x, np.float64)) / x.shape[1] for x in codes]


def combined(validation: Sequence[np.ndarray], scores: Sequence[Sequence[np.ndarray]]) -> list[np.ndarray]:
    """Sums of several scores, each in units of its mean over normal validation examples, as in arXiv:1812.02765.

    Args:
      validation: for each score an array `[examples]`.
      scores: for each set of examples, an array `[examples]` for each score.

    Returns:
      For each set the sums `[examples]`.
    """
    units = [max(float(np.mean(score)), 1e-12) for score in validation]
    return [sum(score / unit for score, unit in zip(each, units, strict=True)) for each in scores]


class Examined(NamedTuple):
    """What a detector of two autoencoders finds in examples.

    Attributes:
      error: `[examples]`, mean squared error of the plain one's reconstruction.
      bound: `[examples]`, minus the variational one's bound of the log-likelihood.
      code: `[examples, width]`, of the plain one.
    """

    error: np.ndarray
    bound: np.ndarray
    code: np.ndarray


def learned_scores(
    fitted: Examined, validation: Examined, *examples: Examined
) -> dict[str, tuple[np.ndarray, ...]]:
    """The scores of autoencoders.

    Args:
      fitted: normal examples, whose codes distances are measured from.
      validation: normal examples that nothing was fitted to.
      *examples: other sets of examples.

    Returns:
      By the names in `LEARNED`, scores `[examples]` of `validation` and of each other set: the plain autoencoder's
      error, the distance of its code, the sum of the two (see `combined`), and minus the variational one's bound.
    """
    sets = (validation, *examples)
    errors = [found.error for found in sets]
    distances = code_distances(fitted.code, *(found.code for found in sets))
    both = combined((errors[0], distances[0]), list(zip(errors, distances, strict=True)))
    bounds = [found.bound for found in sets]
    return {
        name: tuple(scores) for name, scores in zip(LEARNED, (errors, distances, both, bounds), strict=True)
    }


def classical_scores(
    fitted: np.ndarray, *examples: np.ndarray, components: int, seed: int = 0
) -> dict[str, tuple[np.ndarray, ...]]:
    """The scores of methods without a network.

    Args:
      fitted: normal examples that all methods are fitted to, float32 `[examples, pixels]` in [0, 1].
      *examples: sets of examples of this form.
      components: of PCA.
      seed: of PCA and of the isolation forest.

    Returns:
      By method, scores `[examples]` of each set: "PCA", the squared error of its reconstruction; "k-NN", the Euclidean
      distance to the fifth neighbour; "isolation forest" and "one-class SVM", scikit-learn's with their usual settings.
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
            "PCA": tuple(
                np.square(np.asarray(pca_reconstruction(pca, x, components)) - x).mean(1) for x in examples
            ),
            "k-NN": tuple(near.kneighbors(x)[0][:, -1] for x in examples),
            "isolation forest": tuple(-forest.score_samples(x) for x in examples),
            "one-class SVM": tuple(-svm.score_samples(x) for x in examples),
        }


def detection_metrics(
    validation: np.ndarray,
    heldout: np.ndarray,
    labels: np.ndarray,
    normal: np.ndarray,
    classes: Sequence[str],
    false_alarm_rate: float,
) -> Mapping[str, object]:
    """The metrics of one score of one detector.

    Args:
      validation: scores `[examples]` of normal examples, which the threshold is set by.
      heldout: scores `[heldout]` of normal examples and anomalies.
      labels: int `[heldout]`.
      normal: bool `[classes]`, the classes that are normal to the detector.
      classes: their names.
      false_alarm_rate: of `alarm_threshold`.

    Returns:
      what `separation` gives; `threshold`; `false_alarms` and `detected`, the shares of the
      normal and of the anomalous held-out examples above it; `by_class`, the separation of each class of anomalies.
    """
    usual, anomalous = heldout[normal[labels]], heldout[~normal[labels]]
    threshold = alarm_threshold(validation, false_alarm_rate)
    return {
        **separation(usual, anomalous),
        "threshold": threshold,
        "false_alarms": float((usual > threshold).mean()),
        "detected": float((anomalous > threshold).mean()),
        "by_class": {
            classes[label]: separation(usual, heldout[labels == label])
            for label in np.unique(labels)
            if not normal[label]
        },
    }


def telling_examples(scores: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """The best and the worst examples of a score.

    Args:
      scores: `[examples]`.
      normal: bool `[examples]`, at least one of either kind.

    Returns:
      Indices: the normal example of least score, the `WORST` normal ones of greatest score, the `WORST` anomalies of
      least score, and the anomaly of greatest score. Where there are few, one is repeated.
    """
    order = np.argsort(scores, kind="stable")
    usual, anomalous = order[normal[order]], order[~normal[order]]
    return np.concatenate(
        [
            usual[:1],
            np.resize(usual[::-1][:WORST], WORST),
            np.resize(anomalous[:WORST], WORST),
            anomalous[-1:],
        ]
    )

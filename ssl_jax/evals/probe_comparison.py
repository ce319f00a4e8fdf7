"""Several frozen representations of the same examples, compared by linear probes and nearest neighbours."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from ssl_jax.errors import UserError
from ssl_jax.evals.neighbours import check_k, knn_accuracy
from ssl_jax.evals.pictures import draw_bars
from ssl_jax.evals.probes import Repeated, check_features, few_label_probe, label_subset, linear_probe
from ssl_jax.evals.sgd_probe import sgd_probe

NEIGHBOURS = 20
REPEATS = 5
"""Draws of the few labels."""
LBFGS_PRODUCTS = 10**9
"""L-BFGS is for up to this many examples x width x classes, some ten seconds a fit on one core."""
DEVIATION = "_sd"
"""Ends the name of a standard deviation over draws, which follows the metric itself."""

Metrics = dict[str, dict[str, float]]
"""By representation, then by metric."""


Spread = Callable[[Callable[[str], dict[str, float]], Iterable[str]], Metrics]
"""`(function, names) -> {name: function(name)}`."""


def one_by_one(function: Callable[[str], dict[str, float]], names: Iterable[str]) -> Metrics:
    """The result of a function for each name."""
    return {name: function(name) for name in names}


class Comparison(NamedTuple):
    """Accuracies of classifiers on several frozen representations.

    Attributes:
      metrics: by representation, then by metric:

        - `linear_probe`: on all labels, by `linear_probe`, or by `sgd_probe` where that would take long;
        - `probe_10_per_class`, `probe_1_percent` and so on: by `few_label_probe`, mean of 5 draws of the labels;
        - `knn`: the vote of the k nearest training examples;
        - `knn_10_per_class`: likewise among the few labelled ones, of the same draws. k is at most half of the labels
          of a class there: a query at the rim of its class has no more neighbours of its own to win by.

        A metric over draws has its standard deviation beside it, named `..._sd`. Without labelled examples of two
        classes there is nothing to measure, and no representation.
      fitted: number of labelled examples that classifiers are fitted to.
      scored: number of labelled examples that they are scored on.
      majority: share of the most frequent class among the latter.
      skipped: why a metric was left out, by its name.
    """

    metrics: Metrics
    fitted: int
    scored: int
    majority: float
    skipped: dict[str, str]


def compare_representations(
    features: Mapping[str, tuple[np.ndarray, np.ndarray]],
    train_labels: np.ndarray,
    test_labels: np.ndarray,
    *,
    per_class: int = 10,
    shares: Sequence[float] = (0.01, 0.1),
    k: int | None = None,
    rows: int = 10_000,
    seed: int = 0,
    spread: Spread = one_by_one,
) -> Comparison:
    """Fits classifiers on the features of the training examples and scores them on those of the test examples.

    Metrics of few labels are skipped where some class does not have as many labels, where a share of them is less than
    one example, and where there are so many classes that L-BFGS would take long.

    Args:
      features: by representation ("trained", "random init", "raw pixels"), float32 `[examples, width]` of the training
        examples and `[tests, width]` of the test examples.
      train_labels: int `[examples]`; unlabelled examples (-1) are left out.
      test_labels: int `[tests]`, likewise.
      per_class: labels of each class, as one choice of few labels.
      shares: of the labels, as other choices of few labels.
      k: of the nearest-neighbour vote; None for `NEIGHBOURS`, or for all examples where there are fewer.
      rows: training examples that are used, at most: a seeded choice.
      seed: of that choice and of the few labels.
      spread: calls a function for each representation, and may do so in several processes.

    Raises:
      UserError: k is larger than the number of training examples; features are not finite, or of different widths.
    """
    train_labels, test_labels = np.asarray(train_labels), np.asarray(test_labels)
    fit, score = np.flatnonzero(train_labels >= 0), np.flatnonzero(test_labels >= 0)
    if len(np.unique(train_labels[fit])) < 2 or not len(score):
        return Comparison({}, 0, 0, 0.0, {})
    if len(fit) > rows:
        fit = np.sort(np.random.default_rng(seed).permutation(fit)[:rows])
    k = min(NEIGHBOURS, len(fit)) if k is None else k
    check_k(k, len(fit))  # here, since the probes that come before take long
    train_labels, test_labels = train_labels[fit], test_labels[score]
    width = max(train.shape[1] for train, _ in features.values())
    subsets, skipped = _possible_subsets(train_labels, width, per_class, shares, seed)

    def measure(name: str) -> dict[str, float]:
        train, test = features[name]
        return _measure(
            (np.asarray(train)[fit], train_labels, np.asarray(test)[score], test_labels), subsets, k, seed
        )

    metrics = spread(measure, features)
    majority = np.unique(test_labels, return_counts=True)[1].max() / len(test_labels)
    return Comparison(metrics, len(fit), len(score), float(majority), skipped)


def metric_names(metrics: Metrics) -> list[str]:
    """The names of all metrics, without the standard deviations."""
    names = dict.fromkeys(name for row in metrics.values() for name in row)
    return [name for name in names if not name.endswith(DEVIATION)]


def metric_title(name: str) -> str:
    """The name of a metric as people read it.

    Example:
      >>> metric_title("probe_10_per_class"), metric_title("linear_probe"), metric_title("knn")
      ('probe 10/class', 'probe all labels', 'k-NN all labels')
    """
    kind, _, rest = name.replace("linear_probe", "probe").replace("knn", "k-NN").partition("_")
    amount = rest.replace("_per_class", "/class").replace("_percent", " %") or "all labels"
    return f"{kind} {amount}"


def draw_metrics(metrics: Metrics) -> Figure:
    """The metrics of a `Comparison` as bars, with whiskers for the standard deviations."""
    names = metric_names(metrics)
    shown, deviations = (
        {
            name: {metric_title(n).replace(" ", "\n", 1): row[n + suffix] for n in names if n + suffix in row}
            for name, row in metrics.items()
        }
        for suffix in ("", DEVIATION)
    )
    return draw_bars(
        shown,
        deviations=deviations,
        title="accuracy on frozen features (whiskers: standard deviation over draws of the labels)",
    )


def _possible_subsets(
    labels: np.ndarray, width: int, per_class: int, shares: Sequence[float], seed: int
) -> tuple[dict[str, dict[str, float]], dict[str, str]]:
    """(the arguments of `label_subset` by name, why others are skipped by the name of their metric)."""
    wanted = {f"{per_class}_per_class": {"per_class": per_class}}
    wanted |= {f"{100 * share:g}_percent": {"share": share} for share in shares}
    possible, skipped = {}, {}
    for name, options in wanted.items():
        try:
            chosen = label_subset(labels, **options, seed=seed)
        except UserError as error:
            skipped[f"probe_{name}"] = str(error)
            continue
        classes = len(np.unique(labels))
        if len(chosen) * width * classes <= LBFGS_PRODUCTS:
            possible[name] = options
        else:
            skipped[f"probe_{name}"] = f"{len(chosen)} labels of {classes} classes take too long"
    return possible, skipped


def _measure(
    data: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    subsets: Mapping[str, dict[str, float]],
    k: int,
    seed: int,
) -> dict[str, float]:
    """The metrics of one representation; data: see `check_features`."""
    check_features(*data)
    train, labels, test, test_labels = data
    metrics = {}
    for name, options in subsets.items():
        found = few_label_probe(*data, **options, repeats=REPEATS, seed=seed)
        metrics |= _over_draws(f"probe_{name}", found)
    quick = train.size * len(np.unique(labels)) <= LBFGS_PRODUCTS
    metrics["linear_probe"] = (linear_probe if quick else sgd_probe)(*data, seed=seed).accuracy
    for name, options in subsets.items():
        if count := options.get("per_class"):
            few = [label_subset(labels, **options, seed=seed + repeat) for repeat in range(REPEATS)]
            few_k = min(k, max(1, count // 2))
            votes = [knn_accuracy(train[s], labels[s], test, test_labels, k=few_k) for s in few]
            metrics |= _over_draws(f"knn_{name}", Repeated.of(votes))
    metrics["knn"] = knn_accuracy(*data, k=k)
    return metrics


def _over_draws(name: str, found: Repeated) -> dict[str, float]:
    return {name: found.mean, name + DEVIATION: found.deviation}

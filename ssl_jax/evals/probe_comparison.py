"""Several frozen representations of the same examples, compared by linear probes and nearest neighbours."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ssl_jax.evals.neighbours import check_k, knn_accuracy
from ssl_jax.evals.pictures import draw_bars
from ssl_jax.evals.probes import Repeated, check_features, few_label_probe, label_subset, linear_probe
from ssl_jax.evals.sgd_probe import sgd_probe

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NEIGHBOURS = 20
REPEATS = 5
"""Draws of the few labels."""
LBFGS_PRODUCTS = 10**9
"""L-BFGS is for up to this many examples x width x classes, some ten seconds a fit on one core."""
DEVIATION = "_sd"
"""Ends the name of a standard deviation over draws, which follows the metric itself."""
LABELS = "_labels"
"""Ends the name of the number of labels that a metric is fitted to."""

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
        - `probe_10_per_class`, `probe_1_percent` and so on: by `few_label_probe`, mean of 5 draws of the labels, as
          many of each class; 1 % is of all training images, as in the literature (13 a class of ImageNet, 50 of
          CIFAR-10);
        - `knn`: the vote of the k nearest training examples;
        - `knn_10_per_class`: likewise among the few labelled ones, of the same draws. k is at most half of the labels
          of a class there: a query at the rim of its class has no more neighbours of its own to win by.

        A metric over draws has its standard deviation beside it, named `..._sd`, and every metric the number of labels
        that it is fitted to, named `..._labels`. Without labelled examples of two
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
    total: int | None = None,
    seed: int = 0,
    spread: Spread = one_by_one,
    log: Callable[[str], None] = lambda line: None,
) -> Comparison:
    """Fits classifiers on the features of the training examples and scores them on those of the test examples.

    Metrics of few labels are skipped where some class does not have as many labels, where a share of them is less than
    one example of each class, and where there are so many classes that L-BFGS would take long.

    Args:
      features: by representation ("trained", "random init", "raw pixels"), float32 `[examples, width]` of the training
        examples and `[tests, width]` of the test examples.
      train_labels: int `[examples]`; unlabelled examples (-1) are left out.
      test_labels: int `[tests]`, likewise.
      per_class: labels of each class, as one choice of few labels.
      shares: of all examples, as other choices of few labels, balanced by class.
      k: of the nearest-neighbour vote; None for `NEIGHBOURS`, or for all examples where there are fewer.
      rows: training examples that are used, at most: a seeded choice.
      total: of the whole training set, which `shares` are of; None for the labelled ones of `train_labels`.
      seed: of that choice and of the few labels.
      spread: calls a function for each representation, and may do so in several processes.
      log: prints a line before each representation.

    Raises:
      UserError: k is larger than the number of training examples; features are not finite, or of different widths.
    """
    train_labels, test_labels = np.asarray(train_labels), np.asarray(test_labels)
    fit, score = np.flatnonzero(train_labels >= 0), np.flatnonzero(test_labels >= 0)
    if len(np.unique(train_labels[fit])) < 2 or not len(score):
        return Comparison({}, 0, 0, 0.0, {})
    total = len(fit) if total is None else total
    if len(fit) > rows:
        fit = np.sort(np.random.default_rng(seed).permutation(fit)[:rows])
    k = min(NEIGHBOURS, len(fit)) if k is None else k
    check_k(k, len(fit))  # here, since the probes that come before take long
    train_labels, test_labels = train_labels[fit], test_labels[score]
    width = max(train.shape[1] for train, _ in features.values())
    subsets, skipped = _possible_subsets(train_labels, total, width, per_class, shares)
    places = list(features)

    def measure(name: str) -> dict[str, float]:
        train, test = features[name]
        log(
            f"fitting probes to {name} ({places.index(name) + 1} of {len(places)}): {train.shape[1]} numbers an example"
        )
        return _measure(
            (np.asarray(train)[fit], train_labels, np.asarray(test)[score], test_labels), subsets, k, seed
        )

    metrics = spread(measure, features)
    majority = np.unique(test_labels, return_counts=True)[1].max() / len(test_labels)
    return Comparison(metrics, len(fit), len(score), float(majority), skipped)


def metric_names(metrics: Metrics) -> list[str]:
    """The names of all metrics, without the standard deviations and the numbers of labels."""
    names = dict.fromkeys(name for row in metrics.values() for name in row)
    return [name for name in names if not name.endswith((DEVIATION, LABELS))]


def metric_labels(metrics: Metrics, name: str) -> str:
    """How many labels a metric is fitted to, as people read it.

    Example:
      >>> metric_labels({"trained": {"knn": 0.9, "knn_labels": 5000}}, "knn")
      '5,000 labels'
    """
    count = next((row[name + LABELS] for row in metrics.values() if name + LABELS in row), None)
    return "" if count is None else f"{count:,} labels"


def metric_title(name: str) -> str:
    """The name of a metric as people read it.

    Example:
      >>> metric_title("probe_10_per_class"), metric_title("linear_probe"), metric_title("knn")
      ('probe 10/class', 'probe', 'k-NN')
    """
    kind, _, rest = name.replace("linear_probe", "probe").replace("knn", "k-NN").partition("_")
    amount = rest.replace("_per_class", "/class").replace("_percent", " %")
    return f"{kind} {amount}".strip()


def draw_metrics(metrics: Metrics) -> "Figure":
    """The metrics of a `Comparison` as bars, with whiskers for the standard deviations."""
    names = metric_names(metrics)
    shown, deviations = (
        {
            name: {
                f"{metric_title(n)}\n{metric_labels(metrics, n)}": row[n + suffix]
                for n in names
                if n + suffix in row
            }
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
    labels: np.ndarray, total: int, width: int, per_class: int, shares: Sequence[float]
) -> tuple[dict[str, int], dict[str, str]]:
    """(labels of each class by name, why others are skipped by the name of their metric)."""
    values, counts = np.unique(labels, return_counts=True)
    classes = len(values)
    wanted = {f"{per_class}_per_class": per_class}
    wanted |= {f"{100 * share:g}_percent": round(share * total / classes) for share in shares}
    possible, skipped = {}, {}
    for name, each in wanted.items():
        if not each:
            reason = (
                f"it would be less than one of the {total:,} training examples for each of {classes} classes"
            )
        elif each > counts.min():
            reason = (
                f"{each} examples of each class are needed, and of class {values[counts.argmin()]} there are "
                f"{counts.min()} among the {len(labels):,} that probes are fitted to"
            )
        elif each * classes * width * classes > LBFGS_PRODUCTS:
            reason = f"{each * classes:,} labels of {classes} classes take too long"
        else:
            possible[name] = each
            continue
        skipped[f"probe_{name}"] = reason
    return possible, skipped


def _measure(
    data: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    subsets: Mapping[str, int],
    k: int,
    seed: int,
) -> dict[str, float]:
    """The metrics of one representation; data: see `check_features`."""
    check_features(*data)
    train, labels, test, test_labels = data
    metrics, classes = {}, len(np.unique(labels))
    for name, each in subsets.items():
        found = few_label_probe(*data, per_class=each, repeats=REPEATS, seed=seed)
        metrics |= _over_draws(f"probe_{name}", found, each * classes)
    quick = train.size * classes <= LBFGS_PRODUCTS
    metrics["linear_probe"] = (linear_probe if quick else sgd_probe)(*data, seed=seed).accuracy
    metrics["linear_probe" + LABELS] = len(labels)
    for name, each in subsets.items():
        if name.endswith("_per_class"):
            few = [label_subset(labels, per_class=each, seed=seed + repeat) for repeat in range(REPEATS)]
            few_k = min(k, max(1, each // 2))
            votes = [knn_accuracy(train[s], labels[s], test, test_labels, k=few_k) for s in few]
            metrics |= _over_draws(f"knn_{name}", Repeated.of(votes), each * classes)
    metrics["knn"] = knn_accuracy(*data, k=k)
    metrics["knn" + LABELS] = len(labels)
    return metrics


def _over_draws(name: str, found: Repeated, labels: int) -> dict[str, float]:
    return {name: found.mean, name + DEVIATION: found.deviation, name + LABELS: labels}

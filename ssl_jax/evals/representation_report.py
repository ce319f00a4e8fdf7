"""How much labels profit from a frozen representation, beside others: what an experiment says at its end."""

import json
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from etils import epath

from ssl_jax.errors import UserError
from ssl_jax.evals.neighbours import check_k, knn_accuracy
from ssl_jax.evals.pictures import draw_bars
from ssl_jax.evals.probes import Repeated, check_features, few_label_probe, label_subset, linear_probe
from ssl_jax.evals.sgd_probe import sgd_probe
from ssl_jax.evals.tables import aligned

NEIGHBOURS = 20
REPEATS = 5
"""Draws of the few labels."""
LBFGS_PRODUCTS = 10**9
"""L-BFGS is for up to this many examples x width x classes, some ten seconds a fit on one core."""
DEVIATION = "_sd"

Metrics = dict[str, dict[str, float]]


def compare(
    banks: Mapping[str, tuple[np.ndarray, np.ndarray]],
    train_labels: np.ndarray,
    test_labels: np.ndarray,
    *,
    per_class: int = 10,
    shares: Sequence[float] = (0.01, 0.1),
    k: int | None = None,
    rows: int = 10_000,
    seed: int = 0,
    log: Callable[[str], None],
) -> Metrics:
    """Accuracies on the test examples of classifiers on several frozen representations of the same examples.

    banks: by name ("trained", "random encoder", "raw input"), training features float32 `[examples, width]` and test
    features `[tests, width]`. labels: int; unlabelled examples (-1) are left out.

    By name, then by figure:

    - `linear_probe`: `linear_probe` on all labels, or `sgd_probe` where that would take long;
    - `probe_10_per_class`, `probe_1_percent` and so on: `few_label_probe`, mean of 5 draws of the labels;
    - `knn`: the vote of the k nearest training examples: by default `NEIGHBOURS`, or all where there are fewer;
    - `knn_10_per_class`: likewise among the labelled few, of the same draws. k is at most half of `per_class` there:
      a query at the rim of its class has no more neighbours of its own to win by.

    A figure over draws has its standard deviation beside it, named `..._sd`. A number of labels that some class does
    not have, or a share that is less than one example, is said and left out; so are few labels of so many classes that
    L-BFGS would take long. At most `rows` training examples are used, a seeded choice. Without labels there is nothing
    to measure: it says so and returns {}.

    Raises:
      UserError: k larger than the number of training examples; features that are not finite or of different widths.
    """
    train_labels, test_labels = np.asarray(train_labels), np.asarray(test_labels)
    fit, score = np.flatnonzero(train_labels >= 0), np.flatnonzero(test_labels >= 0)
    if len(np.unique(train_labels[fit])) < 2 or not len(score):
        log("no probes: there are no labelled examples of two classes or more to fit and to score them with")
        return {}
    if len(fit) > rows:
        fit = np.sort(np.random.default_rng(seed).permutation(fit)[:rows])
    k = min(NEIGHBOURS, len(fit)) if k is None else k
    check_k(k, len(fit))  # here, since the probes that come before take long
    train_labels, test_labels = train_labels[fit], test_labels[score]
    width = max(train.shape[1] for train, _ in banks.values())
    subsets = _possible_subsets(train_labels, width, per_class, shares, seed, log)
    metrics = {}
    for name, (train, test) in banks.items():
        data = np.asarray(train)[fit], train_labels, np.asarray(test)[score], test_labels
        metrics[name] = _measure(data, subsets, k, seed)
    commonest = np.unique(test_labels, return_counts=True)[1].max() / len(test_labels)
    log(
        f"frozen features, {len(fit)} labelled examples to fit, {len(score)} to score; always the commonest class: "
        f"{commonest:.1%}"
    )
    for line in table(metrics):
        log(line)
    return metrics


def table(metrics: Metrics) -> list[str]:
    """Lines of an aligned table of percentages: a line for each name, a column for each figure."""
    columns = _metric_names(metrics)
    body = [[name, *(_cell(row, column) for column in columns)] for name, row in metrics.items()]
    return aligned([["", *(_title(column) for column in columns)], *body])


def write(metrics: Metrics, folder: epath.Path, *, bars: bool = True) -> None:
    """Writes folder/probes.json and, as bars, folder/plots/probes.png; nothing where there are no figures."""
    if not metrics:
        return
    folder = epath.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "probes.json").write_text(json.dumps(metrics, indent=1) + "\n")
    if not bars:
        return
    names = _metric_names(metrics)
    shown, deviations = (
        {
            name: {_title(n).replace(" ", "\n", 1): row[n + suffix] for n in names if n + suffix in row}
            for name, row in metrics.items()
        }
        for suffix in ("", DEVIATION)
    )
    draw_bars(
        shown,
        folder / "plots" / "probes.png",
        deviations=deviations,
        title="accuracy on frozen features (whiskers: standard deviation over draws of the labels)",
    )


def _possible_subsets(
    labels: np.ndarray,
    width: int,
    per_class: int,
    shares: Sequence[float],
    seed: int,
    log: Callable[[str], None],
) -> dict[str, dict[str, float]]:
    """By name, the arguments of `label_subset` that every class has enough labels for, and L-BFGS the time."""
    wanted = {f"{per_class}_per_class": {"per_class": per_class}}
    wanted |= {f"{100 * share:g}_percent": {"share": share} for share in shares}
    possible = {}
    for name, options in wanted.items():
        try:
            chosen = label_subset(labels, **options, seed=seed)
        except UserError as error:
            log(f"no {_title(f'probe_{name}')}: {error}")
            continue
        if len(chosen) * width * len(np.unique(labels)) <= LBFGS_PRODUCTS:
            possible[name] = options
        else:
            log(
                f"no {_title(f'probe_{name}')}: {len(chosen)} labels of {len(np.unique(labels))} classes take too long"
            )
    return possible


def _measure(
    data: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    subsets: Mapping[str, dict[str, float]],
    k: int,
    seed: int,
) -> dict[str, float]:
    check_features(*data)
    train, labels, test, test_labels = data
    metrics = {}
    for name, options in subsets.items():
        found = few_label_probe(*data, **options, repeats=REPEATS, seed=seed)
        metrics |= _repeated(f"probe_{name}", found)
    quick = train.size * len(np.unique(labels)) <= LBFGS_PRODUCTS
    metrics["linear_probe"] = (linear_probe if quick else sgd_probe)(*data, seed=seed).accuracy
    for name, options in subsets.items():
        if count := options.get("per_class"):
            few = [label_subset(labels, **options, seed=seed + repeat) for repeat in range(REPEATS)]
            few_k = min(k, max(1, count // 2))
            votes = [knn_accuracy(train[s], labels[s], test, test_labels, k=few_k) for s in few]
            metrics |= _repeated(f"knn_{name}", Repeated.of(votes))
    metrics["knn"] = knn_accuracy(*data, k=k)
    return metrics


def _repeated(name: str, found: Repeated) -> dict[str, float]:
    return {name: found.mean, name + DEVIATION: found.deviation}


def _metric_names(metrics: Metrics) -> list[str]:
    return [
        name
        for name in dict.fromkeys(n for row in metrics.values() for n in row)
        if not name.endswith(DEVIATION)
    ]


def _title(figure: str) -> str:
    """probe_10_per_class -> probe, 10/class."""
    kind, _, rest = figure.replace("linear_probe", "probe").replace("knn", "k-NN").partition("_")
    amount = rest.replace("_per_class", "/class").replace("_percent", " %") or "all labels"
    return f"{kind} {amount}"


def _cell(row: Mapping[str, float], column: str) -> str:
    if column not in row:
        return "-"
    deviation = row.get(column + DEVIATION)
    return f"{100 * row[column]:.1f}" + ("" if deviation is None else f" ± {100 * deviation:.1f}")

"""Comparisons of representations against the probes they are made of, and what is left out of them."""

import numpy as np
import pytest

from ssl_jax.errors import UserError
from ssl_jax.evals import probe_comparison
from ssl_jax.evals.neighbours import knn_accuracy
from ssl_jax.evals.probe_comparison import compare_representations, draw_metrics
from ssl_jax.evals.probes import few_label_probe, label_subset, linear_probe


def problem(train=200, test=100, classes=4):
    """(features, labels, labels): a representation that separates the classes well, and one that hardly does."""
    rng = np.random.default_rng(0)
    labels = np.arange(train + test) % classes
    features = {}
    for name, strength in (("trained", 2.5), ("random init", 0.7)):
        rows = (rng.normal(size=(train + test, 8)) + strength * np.eye(classes, 8)[labels]).astype(np.float32)
        features[name] = rows[:train], rows[train:]
    return features, labels[:train], labels[train:]


@pytest.fixture(scope="module")
def compared():
    return compare_representations(*problem(), seed=3)


def test_metrics_are_those_of_the_probes(compared):
    metrics = compared.metrics
    features, labels, test_labels = problem()
    train, test = features["trained"]
    data = train, labels, test, test_labels
    few = few_label_probe(*data, per_class=10, seed=3)
    share = few_label_probe(*data, per_class=5, seed=3)
    votes = []
    for seed in range(3, 8):
        chosen = label_subset(labels, per_class=10, seed=seed)
        votes.append(knn_accuracy(train[chosen], labels[chosen], test, test_labels, k=5))
    assert metrics["trained"] == pytest.approx(
        {
            "probe_10_per_class": few.mean,
            "probe_10_per_class_sd": few.deviation,
            "probe_10_per_class_labels": 40,
            "probe_10_percent": share.mean,
            "probe_10_percent_sd": share.deviation,
            "probe_10_percent_labels": 20,
            "linear_probe_labels": 200,
            "knn_labels": 200,
            "knn_10_per_class_labels": 40,
            "linear_probe": linear_probe(*data, seed=3).accuracy,
            "knn": knn_accuracy(*data, k=20),
            "knn_10_per_class": np.mean(votes),
            "knn_10_per_class_sd": np.std(votes, ddof=1),
        }
    )
    assert metrics["trained"].keys() == metrics["random init"].keys()
    for name in ("probe_10_per_class", "linear_probe", "knn", "knn_10_per_class"):
        assert metrics["trained"][name] > metrics["random init"][name] + 0.1


def test_counts_and_what_is_skipped(compared):
    assert (compared.fitted, compared.scored, compared.majority) == (200, 100, 0.25)
    assert list(compared.skipped) == ["probe_1_percent"]
    reason = compared.skipped["probe_1_percent"]
    assert reason == "it would be less than one of the 200 training examples for each of 4 classes"


def test_shares_are_of_the_whole_training_set_and_balanced():
    features, labels, test_labels = problem()
    rng = np.random.default_rng(0)
    labels = np.where(rng.random(200) < 0.3, 0, labels)  # one class has more images than the others
    lines = []
    found = compare_representations(features, labels, test_labels, total=1300, seed=0, log=lines.append)
    row = found.metrics["trained"]
    assert row["probe_1_percent_labels"] == 4 * 3  # 13 images, 3.25 a class
    expected = few_label_probe(
        features["trained"][0], labels, features["trained"][1], test_labels, per_class=3
    )
    assert row["probe_1_percent"] == expected.mean
    assert np.bincount(labels).min() < 200 / 4
    few = compare_representations(features, labels, test_labels, total=2000, rows=190, seed=0)
    assert few.skipped["probe_10_percent"].startswith("50 examples of each class are needed, and of class ")
    assert few.skipped["probe_10_percent"].endswith(" among the 190 that probes are fitted to")
    assert lines == [
        "fitting probes to trained (1 of 2): 8 numbers an example",
        "fitting probes to random init (2 of 2): 8 numbers an example",
    ]


def test_bars_are_the_metrics(compared):
    (axes,) = draw_metrics(compared.metrics).axes
    heights = sorted(patch.get_height() for patch in axes.patches)
    rows = compared.metrics.values()
    wanted = sorted(
        value for row in rows for name, value in row.items() if not name.endswith(("_sd", "_labels"))
    )
    assert heights == wanted
    assert [label.get_text() for label in axes.get_legend().get_texts()] == ["trained", "random init"]


@pytest.mark.parametrize(
    ("train_labels", "test_labels"),
    [
        (np.full(200, -1), np.full(100, -1)),
        (np.arange(200) % 4, np.full(100, -1)),
        (np.zeros(200, int), None),
    ],
)
def test_without_labels_there_is_nothing_to_measure(train_labels, test_labels):
    features, _, labels = problem()
    found = compare_representations(features, train_labels, labels if test_labels is None else test_labels)
    assert found.metrics == {}


def test_unlabelled_examples_are_left_out():
    features, labels, test_labels = problem()
    gaps = np.arange(200) % 7 == 0, np.arange(100) % 3 == 0
    kept = {name: (train[~gaps[0]], test[~gaps[1]]) for name, (train, test) in features.items()}
    options = {"per_class": 4, "shares": (), "seed": 0}
    expected = compare_representations(kept, labels[~gaps[0]], test_labels[~gaps[1]], **options)
    found = compare_representations(
        features, np.where(gaps[0], -1, labels), np.where(gaps[1], -1, test_labels), **options
    )
    assert found == expected


def test_rows_are_capped_by_a_seeded_choice():
    options = {"per_class": 3, "shares": (), "rows": 60}
    first = compare_representations(*problem(), **options, seed=0)
    assert first.fitted == 60
    assert compare_representations(*problem(), **options, seed=0) == first
    assert compare_representations(*problem(), **options, seed=1) != first


def test_large_features_are_probed_by_sgd(monkeypatch):
    features, labels, test_labels = problem(train=1200)
    del features["random init"]
    monkeypatch.setattr(probe_comparison, "LBFGS_PRODUCTS", 500 * 8 * 4)
    exact = linear_probe(features["trained"][0], labels, features["trained"][1], test_labels).accuracy
    found = compare_representations(features, labels, test_labels, per_class=200, shares=(0.01,), seed=0)
    assert found.skipped == {"probe_200_per_class": "800 labels of 4 classes take too long"}
    assert found.metrics["trained"]["linear_probe"] == pytest.approx(exact, abs=0.03)
    assert "probe_1_percent" in found.metrics["trained"]


def test_a_diverged_encoder_is_a_user_error():
    features, labels, test_labels = problem()
    features["trained"][0][0] = np.nan
    with pytest.raises(UserError, match="not finite"):
        compare_representations(features, labels, test_labels, seed=0)

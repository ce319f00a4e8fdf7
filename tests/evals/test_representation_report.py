import json

import matplotlib.image
import numpy as np
import pytest

from ssl_jax.errors import UserError
from ssl_jax.evals import representation_report
from ssl_jax.evals.neighbours import knn_accuracy
from ssl_jax.evals.probes import few_label_probe, label_subset, linear_probe
from ssl_jax.evals.representation_report import compare, table, write


def problem(train=200, test=100, classes=4):
    """(banks, labels, labels): a representation that knows the class well, and one that hardly does."""
    rng = np.random.default_rng(0)
    labels = np.arange(train + test) % classes
    banks = {}
    for name, strength in (("trained", 2.5), ("random encoder", 0.7)):
        features = rng.normal(size=(train + test, 8)) + strength * np.eye(classes, 8)[labels]
        banks[name] = features[:train].astype(np.float32), features[train:].astype(np.float32)
    return banks, labels[:train], labels[train:]


@pytest.fixture(scope="module")
def compared():
    said = []
    return compare(*problem(), seed=3, log=said.append), said


def test_figures_are_the_probes(compared):
    metrics, _ = compared
    banks, labels, test_labels = problem()
    train, test = banks["trained"]
    data = train, labels, test, test_labels
    few = few_label_probe(*data, per_class=10, seed=3)
    share = few_label_probe(*data, share=0.1, seed=3)
    votes = []
    for seed in range(3, 8):
        chosen = label_subset(labels, per_class=10, seed=seed)
        votes.append(knn_accuracy(train[chosen], labels[chosen], test, test_labels, k=5))
    assert metrics["trained"] == pytest.approx(
        {
            "probe_10_per_class": few.mean,
            "probe_10_per_class_sd": few.deviation,
            "probe_10_percent": share.mean,
            "probe_10_percent_sd": share.deviation,
            "linear_probe": linear_probe(*data, seed=3).accuracy,
            "knn": knn_accuracy(*data, k=20),
            "knn_10_per_class": np.mean(votes),
            "knn_10_per_class_sd": np.std(votes, ddof=1),
        }
    )
    assert metrics["trained"].keys() == metrics["random encoder"].keys()
    for name in ("probe_10_per_class", "linear_probe", "knn", "knn_10_per_class"):
        assert metrics["trained"][name] > metrics["random encoder"][name] + 0.1


def test_it_is_said_in_an_aligned_table(compared):
    metrics, said = compared
    assert said[0].startswith(
        "no probe 1 %: labels are missing for a probe: class 0 has 50 labelled examples"
    )
    assert said[1].startswith("frozen features, 200 labelled examples to fit, 100 to score")
    assert said[1].endswith("25.0%")
    lines = said[2:]
    assert lines == table(metrics)
    assert len({len(line) for line in lines}) == 1
    assert "probe all labels" in lines[0]
    assert lines[1].split()[0] == "trained"
    assert f"{100 * metrics['trained']['probe_10_per_class']:.1f} ± " in lines[1]


def test_written_to_the_run_folder(compared, tmp_path):
    metrics, _ = compared
    write(metrics, tmp_path / "run")
    assert json.loads((tmp_path / "run" / "probes.json").read_text()) == metrics
    pixels = matplotlib.image.imread(tmp_path / "run" / "plots" / "probes.png")
    assert min(pixels.shape[:2]) > 300
    assert pixels[..., :3].std() > 0.1


@pytest.mark.parametrize(
    ("train_labels", "test_labels"),
    [
        (np.full(200, -1), np.full(100, -1)),
        (np.arange(200) % 4, np.full(100, -1)),
        (np.zeros(200, int), None),
    ],
)
def test_without_labels_it_says_so(train_labels, test_labels, tmp_path):
    banks, _, labels = problem()
    said = []
    found = compare(
        banks, train_labels, labels if test_labels is None else test_labels, seed=0, log=said.append
    )
    assert found == {}
    assert len(said) == 1
    assert "no labelled examples" in said[0]
    write(found, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_unlabelled_examples_are_left_out():
    banks, labels, test_labels = problem()
    gaps = np.arange(200) % 7 == 0, np.arange(100) % 3 == 0
    kept = {name: (train[~gaps[0]], test[~gaps[1]]) for name, (train, test) in banks.items()}
    options = {"per_class": 4, "shares": (), "seed": 0, "log": lambda line: None}
    expected = compare(kept, labels[~gaps[0]], test_labels[~gaps[1]], **options)
    found = compare(banks, np.where(gaps[0], -1, labels), np.where(gaps[1], -1, test_labels), **options)
    assert found == expected


def test_rows_are_capped_by_a_seeded_choice():
    options = {"per_class": 3, "shares": (), "rows": 60}
    said = []
    first = compare(*problem(), **options, seed=0, log=said.append)
    assert "60 labelled examples to fit" in said[0]
    assert compare(*problem(), **options, seed=0, log=said.append) == first
    assert compare(*problem(), **options, seed=1, log=said.append) != first


def test_large_banks_are_probed_by_sgd(monkeypatch):
    banks, labels, test_labels = problem(train=1200)
    del banks["random encoder"]
    monkeypatch.setattr(representation_report, "LBFGS_PRODUCTS", 500 * 8 * 4)
    said = []
    exact = linear_probe(banks["trained"][0], labels, banks["trained"][1], test_labels).accuracy
    found = compare(banks, labels, test_labels, per_class=200, shares=(0.01,), seed=0, log=said.append)
    assert "no probe 200/class: 800 labels of 4 classes take too long" in said
    assert found["trained"]["linear_probe"] == pytest.approx(exact, abs=0.03)
    assert "probe_1_percent" in found["trained"]


def test_a_diverged_encoder_is_a_user_error():
    banks, labels, test_labels = problem()
    banks["trained"][0][0] = np.nan
    with pytest.raises(UserError, match="not finite"):
        compare(banks, labels, test_labels, seed=0, log=lambda line: None)

"""Probes of a report: whose features they see, the table and the files, and images without labels."""

import json

import grain
import jax.numpy as jnp
import matplotlib.image
import numpy as np

from ssl_jax.evals.probe_comparison import Comparison
from ssl_jax.reports.probes import log_comparison, probed_features, report_comparison
from ssl_jax.training.experiment import Data
from tests.reports.helpers import make_report


def labelled(count):
    def example(index):
        return {"x": np.float32([index, 1]), "label": np.int32(index % 2)}

    return grain.MapDataset.range(count).map(example)


def encode(params, extras, batch):
    return (params["scale"] * batch["x"]).astype(jnp.bfloat16)


def pixels(params, extras, batch):
    return batch["x"]


def test_features_of_the_trained_and_of_the_initial_model_and_of_the_pixels(tmp_path):
    data = Data((), (), {}, labelled={"train": labelled(20), "heldout": labelled(6)})
    lines = []
    report = make_report(
        tmp_path,
        log=lines.append,
        variables={"params": {"scale": jnp.float32(2)}},
        data=data,
        initial_variables=lambda: {"params": {"scale": jnp.float32(-1)}},
    )
    probed = probed_features(
        report, {"code": encode}, random_init=encode, pixels=pixels, examples=100, seed=0
    )
    assert list(probed.features) == ["code", "random init", "raw pixels"]
    for name, scale in (("code", 2), ("random init", -1), ("raw pixels", 1)):
        for side, count in zip(probed.features[name], (20, 6), strict=True):
            assert side.dtype == np.float32
            np.testing.assert_array_equal(side, scale * np.stack([np.arange(count), np.ones(count)], 1))
    np.testing.assert_array_equal(probed.train_labels, np.arange(20) % 2)
    few = probed_features(report, {"code": encode}, pixels=pixels, examples=5, seed=0)
    assert (few.train_labels.shape, few.test_labels.shape) == ((5,), (6,))  # all held-out images are scored

    metrics = report_comparison(report, probed, probed.features, examples=100, seed=0)
    assert json.loads((tmp_path / "probes.json").read_text()) == metrics
    assert min(matplotlib.image.imread(tmp_path / "plots" / "probes.png").shape[:2]) > 300
    assert any(line.split()[:2] == ["random", "init"] for line in lines)


def test_images_without_labels(tmp_path):
    lines = []
    report = make_report(tmp_path, log=lines.append)
    assert probed_features(report, {"code": encode}, examples=9, seed=0) is None
    assert lines == ["no probes: these images have no labels; --data.probe_source names others that have"]


def test_the_table_and_what_is_left_out():
    metrics = {
        "trained": {
            "probe_10_per_class": 0.75,
            "probe_10_per_class_sd": 0.0125,
            "probe_10_per_class_labels": 100,
            "knn": 0.5,
            "knn_labels": 5000,
        },
        "raw pixels": {"knn": 0.25},
    }
    lines = []
    log_comparison(Comparison(metrics, 200, 100, 0.25, {"probe_1_percent": "too few"}), lines.append)
    assert lines[0] == "no probe 1 %: too few"
    assert lines[1].startswith("accuracy on frozen features, of all 100 labelled held-out examples")
    assert lines[1].endswith("25.0%")
    assert lines[2].split() == ["probe", "10/class", "k-NN"]
    assert lines[3].split() == ["fitted", "to", "100", "labels", "5,000", "labels"]
    assert [line.split("  ")[1] for line in lines[4:]] == ["trained", "raw pixels"]
    assert lines[4].endswith("75.0 ± 1.2           50.0")
    assert lines[5].endswith("-           25.0")
    assert len({len(line) for line in lines[2:]}) == 1


def test_no_metrics_are_a_line():
    lines = []
    log_comparison(Comparison({}, 0, 0, 0.0, {}), lines.append)
    assert len(lines) == 1
    assert "no labelled examples of two classes" in lines[0]

"""Metrics of a whole held-out set beside the means: every example once, in order, on any number of devices."""

import grain
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath

from ssl_jax.replay import replay
from ssl_jax.runs.opening import OpenedRun
from ssl_jax.training import metrics as log
from ssl_jax.training.checkpoints import Checkpoints
from ssl_jax.training.evaluate import Evaluator
from ssl_jax.training.experiment import Score
from ssl_jax.training.sharding import make_mesh
from tests.training import toys

HELDOUT = 37  # two batches of 16 and a short one


def predict(params, extras, batch):
    return {"restored": batch["x"] @ params["w"], "first": jnp.argmax(batch["weight"], -1).astype(jnp.int32)}


def spread(data, split, predictions):
    assert split == "heldout"
    assert predictions["restored"].shape == (HELDOUT, toys.FEATURES)
    expected = [toys.example(i)["weight"].argmax() for i in range(HELDOUT)]
    np.testing.assert_array_equal(predictions["first"], expected)  # its dtype and order as well
    assert predictions["first"].dtype == np.int32
    return {"median": float(np.median(predictions["restored"])), "undefined": float("nan")}


def experiment(**fields):
    made = toys.experiment(heldout=grain.MapDataset.range(HELDOUT).map(toys.example))
    return made._replace(**{"score": Score(predict, spread), **fields})


def test_they_are_logged_with_the_means_and_replayed(tmp_path):
    scored = experiment()
    toys.train(scored, tmp_path / "run")
    lines = [line for line in log.read(epath.Path(tmp_path / "run")) if "split" in line]
    assert [line["step"] for line in lines] == [10, 20]
    assert all({"error", "median"} <= line.keys() for line in lines)
    assert not any("undefined" in line for line in lines)
    assert lines[0]["median"] != lines[1]["median"]

    folder = epath.Path(tmp_path / "run")
    run = OpenedRun(folder, 20, {}, None, scored, Checkpoints(folder / "checkpoints"), make_mesh(scored.mesh))
    replayed = replay(run, lambda line: None)
    assert replayed.code == 0
    assert {found.name for found in replayed.comparisons} >= {"error", "median"}
    assert all(found.difference == 0 for found in replayed.comparisons)


def test_the_means_are_those_without_a_score(tmp_path):
    scored = experiment()
    plain, data = scored._replace(score=None), scored.open_data(epath.Path(tmp_path))
    mesh = make_mesh(scored.mesh)
    variables = {"w": jnp.ones((toys.FEATURES, toys.FEATURES))}, {"mean": jnp.zeros(toys.FEATURES)}
    found, expected = (Evaluator(each, mesh)(*variables, data, "heldout") for each in (scored, plain))
    assert found.pop("median") == pytest.approx(
        np.median([toys.example(i)["x"].sum() for i in range(HELDOUT)]), rel=1e-6
    )
    assert found == expected


def test_two_metrics_of_one_name_are_refused(tmp_path):
    scored = experiment(score=Score(predict, lambda *_: {"error": 1.0}))
    data = scored.open_data(epath.Path(tmp_path))
    variables = {"w": jnp.ones((toys.FEATURES, toys.FEATURES))}, {"mean": jnp.zeros(toys.FEATURES)}
    with pytest.raises(ValueError, match="error: metrics of `score` that are among the means already"):
        Evaluator(scored, make_mesh(scored.mesh))(*variables, data, "heldout")
